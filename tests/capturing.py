"""Runs the scripts of :mod:`capture_kinds`, and calls what was captured of them.

As a program it has two modes. ``capture FOLDER`` runs each script in a process of its own, as
``__main__``, and writes what was captured. ``call FOLDER`` loads each payload, in a process that
has only the packed files, and calls it. A process is a fork of one that has imported what all need.
The scripts import it for ``publish``, which captures at the decoration.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from away.secret_texts import remember as remember

captured: list[Any] = []


def publish(function: Any) -> Any:
    """Capture a function at its decoration and leave a proxy, as the builder does."""
    if os.environ.get("AWAY_RUNTIME") == "1":
        return function
    from away.capture import capture

    captured.append(capture(function, name="published"))
    return stub(function)


def stub(function: Any) -> Any:
    """Make a proxy of a function on a gateway that is never asked."""
    from away.connection import FaasConnection
    from away.functions import RemoteFunction

    return RemoteFunction(FaasConnection("gw.example"), "published", local=function)


def in_forks(work: Callable[[Path], dict[str, Any]], folders: list[Path], result: str) -> None:
    """Do the work for each folder in a fork, and write what it gives beside it."""
    for folder in folders:
        child = os.fork()
        if child == 0:
            try:
                given = work(folder)
            except BaseException as error:
                given = {
                    "error": f"{type(error).__name__}: {error}",
                    "path": getattr(error, "path", ""),
                    "traceback": traceback.format_exc(),
                }
            (folder / result).write_text(json.dumps(given))
            os._exit(0)
        os.waitpid(child, 0)


def capture_in(folder: Path) -> dict[str, Any]:
    """Run a folder's script and capture its function."""
    os.chdir(folder / "source")
    sys.path[:0] = [str(folder / "source")]
    sys.modules["capturing"] = sys.modules["__main__"]
    space = runpy.run_path("main.py", run_name="__main__")
    from away.capture import capture

    one = captured[-1] if captured else capture(space["function"], name="published")
    where = folder / "function"
    for file in one.files:
        target = where / "modules" / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.data)
    where.mkdir(exist_ok=True)
    (where / "payload.away").write_bytes(one.payload)
    return {
        "form": one.form,
        "entry": one.entry,
        "kind": one.description.kind,
        "identity": one.identity,
        "files": [file.path for file in one.files],
        "requirements": [each.spec for each in one.requirements],
        "warnings": list(one.warnings),
        "listing": one.listing(),
    }


def call_in(folder: Path) -> dict[str, Any]:
    """Load a folder's payload as a function's image does, and call it."""
    from away.runtime import payload

    sys.modules["capturing"] = sys.modules["__main__"]
    said = json.loads((folder / "call.json").read_text())
    args, kwargs, twice = eval(said["call"])
    where = folder / "function"
    layout = payload.Layout(where / "payload.away", where / "modules", where / "requirements")
    header, body = payload.read(layout)
    payload.prepare_imports(layout, header)
    function = payload.load(header, body)
    if twice:
        function(*args, **kwargs)
    return {"value": repr(finished(function(*args, **kwargs)))}


def finished(value: Any) -> Any:
    """Await or exhaust what a call gave."""
    import asyncio
    import inspect

    if inspect.isawaitable(value):
        return asyncio.run(value)
    if inspect.isasyncgen(value):

        async def collect() -> list[Any]:
            return [each async for each in value]

        return asyncio.run(collect())
    return list(value) if inspect.isgenerator(value) else value


def main() -> None:
    mode, root = sys.argv[1], Path(sys.argv[2])
    folders = sorted(each for each in root.iterdir() if each.is_dir())
    import dill  # noqa: F401

    if mode == "capture":
        import away.capture.pickler
        import away.functions  # noqa: F401

        in_forks(capture_in, folders, "captured.json")
    else:
        in_forks(call_in, folders, "called.json")


if __name__ == "__main__":
    main()
