"""The gateway's own process, as :func:`away.gateway.run` starts it.

Options come as one line of JSON on standard input, which then stays open: its end is the end of who
started us, however that came about. One line of JSON on standard output says that the gateway is
ready, with its password, or why it cannot start.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any


def main() -> int:
    """Run a gateway for another process; return the exit status."""
    options = json.loads(sys.stdin.buffer.readline())
    # Isolated mode keeps the user's folders away; what is needed beyond its path comes last.
    ours = str(Path(__file__).parents[2])
    sys.path += [each for each in (*options["extra_path"], ours) if each not in sys.path]
    import asyncio

    from away.gateway import serving

    try:
        asyncio.run(_serve(options))
    except serving.StartFailed as error:
        _say({"failed": str(error)})
        return 1
    if options["temporary"]:
        shutil.rmtree(options["state"], ignore_errors=True)
    return 0


async def _serve(options: dict[str, Any]) -> None:
    import asyncio

    from away import __version__
    from away.gateway import serving

    stop = asyncio.Event()
    # Nothing more is sent: the pipe becomes readable when its other end is closed.
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), stop.set)
    wanted = serving.Options(
        state=Path(options["state"]),
        version=__version__,
        port=options["port"],
        password=options["password"],
        allowed_hosts=tuple(options["allowed_hosts"]),
        announce=options["announce"],
        extra_path=tuple(options["extra_path"]),
        parent=os.getppid(),
        provider=options["provider"],
        temporary=options["temporary"],
    )

    def ready(started: serving.Started) -> None:
        found = started.announcement
        _say({"url": found.url, "user": found.user, "password": found.password})

    await serving.serve(wanted, stop, ready)


def _say(message: dict[str, str]) -> None:
    os.write(1, json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main())
