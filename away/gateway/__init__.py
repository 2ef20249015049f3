"""The embedded gateway: OpenFaaS's API on a laptop that has nothing but Python.

``away up`` runs one in the foreground (:func:`serve`); :func:`run` gives one to a block of code, in a
process and with a state of its own::

    with away.gateway.run() as faas:
        faas.functions()

It runs functions as processes of this user, without containers, or with ``provider="docker"`` as
containers of this machine's engine: it is for developing and testing on a machine of one's own. What
it needs is imported when it starts.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from away.exceptions import ConfigError, GatewayUnreachable

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterable, Iterator

    from away.connection import FaasConnection
    from away.gateway.serving import Started

__all__ = ["default_state", "run", "serve"]

# A cold interpreter on a busy machine takes seconds to import aiohttp.
START_SECONDS = 60.0
# What a gateway needs to stop its functions: their grace, and some.
STOP_SECONDS = 20.0


@contextmanager
def run(
    *,
    state: str | Path | None = None,
    port: int = 0,
    password: str | None = None,
    allowed_hosts: Iterable[str] = (),
    python: str | None = None,
    announce: bool = True,
    provider: str = "process",
) -> Iterator[FaasConnection]:
    """Run an embedded gateway for the length of a block.

    Args:
        state: The folder for its functions; without one they are gone at the block's end.
        port: The loopback port to listen on; 0 for a free one.
        password: Its password; without one it makes its own.
        allowed_hosts: Host names that it answers to beside loopback's.
        python: The interpreter that runs the gateway and its functions; this one without.
        announce: Whether ``away.remote.local`` finds it: in this process before any other, in
            other processes of this user if no gateway is found so already.
        provider: What runs functions: ``process``, or ``docker`` for containers of this machine's
            engine, whose images are real ones; no container is left at the block's end.

    Yields:
        A connection to it.

    Raises:
        ConfigError: It cannot start: its port is taken, its state cannot be written, no container
            engine answers.
        GatewayUnreachable: It did not start, for a reason that it could not tell.

    Example:
        >>> import away.gateway
        >>> with away.gateway.run() as faas:  # doctest: +SKIP
        ...     faas.functions()
        []
    """
    import shutil
    import tempfile

    from away.gateway.announcement import found_first

    folder = Path(state) if state is not None else Path(tempfile.mkdtemp(prefix="away-gateway-"))
    options = {
        "state": str(folder.absolute()),
        "port": port,
        "password": password,
        "allowed_hosts": list(allowed_hosts),
        "announce": announce,
        "provider": provider,
        # Ours to remove, and the gateway's if we are killed.
        "temporary": state is None,
    }
    try:
        process, url, user, found = _start(options, python)
        _forget_lists(url)
        try:
            here = found_first(folder.absolute()) if announce else nullcontext()
            with _connection(url, user, found) as connection, here:
                yield connection
        finally:
            _stop(process)
            if state is None:
                _forget_lists(url)
    finally:
        if state is None:
            shutil.rmtree(folder, ignore_errors=True)


def serve(
    *,
    port: int | None = None,
    state: str | Path | None = None,
    password_file: str | Path | None = None,
    allowed_hosts: Iterable[str] = (),
    announce: bool = True,
    provider: str = "process",
    ready: Callable[[Started], object] | None = None,
) -> None:
    """Run an embedded gateway in this process until SIGINT or SIGTERM.

    Args:
        port: The loopback port; without one 8080, or a free one where that is taken.
        state: The folder for its functions; :func:`default_state` without one.
        password_file: A file with the password; without one the state keeps its own.
        allowed_hosts: Host names that it answers to beside loopback's.
        announce: Whether ``away.remote.local`` finds it.
        provider: What runs functions: ``process``, or ``docker`` for containers.
        ready: Called once it answers, with its announcement and sentences for its user.

    Raises:
        ConfigError: It cannot start; the message says why and what to do.
    """
    import asyncio

    from away import __version__
    from away.gateway import serving

    options = serving.Options(
        state=Path(state).absolute() if state is not None else default_state(),
        version=__version__,
        port=port,
        password=_read_password(password_file),
        allowed_hosts=tuple(allowed_hosts),
        announce=announce,
        extra_path=_extra_path(),
        provider=provider,
    )

    def started(found: Started) -> None:
        _forget_lists(found.announcement.url)
        if ready is not None:
            ready(found)

    async def main() -> None:
        await serving.serve(options, asyncio.Event(), started)

    try:
        asyncio.run(main())
    except serving.StartFailed as error:
        raise ConfigError(str(error)) from error


def default_state() -> Path:
    """Return the folder in which ``away up`` keeps functions without ``--state``."""
    import platformdirs

    return Path(platformdirs.user_state_dir("away"), "gateway")


def _read_password(path: str | Path | None) -> str | None:
    import stat

    if path is None:
        return None
    try:
        with Path(path).open() as file:
            mode = os.fstat(file.fileno()).st_mode
            password = file.read().strip("\r\n")
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise ConfigError(f"the password file {path} cannot be read: {reason}") from None
    if not password:
        raise ConfigError(f"the password file {path} is empty; write the password into it")
    if stat.S_ISREG(mode) and mode & 0o066:
        raise ConfigError(
            f"the password file {path} is open to other users; make it yours alone by chmod 600"
        )
    return password


def _extra_path() -> tuple[str, ...]:
    """List where this process finds installed packages, which isolated mode may leave out.

    So that what ``pip install --user`` or PYTHONPATH brought is there for the gateway and functions;
    the user's own folders are not, which functions must not depend on.
    """
    import sys

    found = (each for each in sys.path if each.endswith(("site-packages", "dist-packages")))
    return tuple(dict.fromkeys(os.path.abspath(each) for each in found))  # noqa: PTH100


def _start(
    options: dict[str, Any], python: str | None
) -> tuple[subprocess.Popen[bytes], str, str, str]:
    """Start the gateway's process and wait until it is ready; its options go through a pipe."""
    import json
    import subprocess
    import sys

    options = {**options, "extra_path": _extra_path()}
    process = subprocess.Popen(
        [python or sys.executable, "-I", str(Path(__file__).with_name("__main__.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # Ctrl-C at the terminal is for the block, whose end stops the gateway.
        start_new_session=True,
    )
    assert process.stdin is not None
    try:
        process.stdin.write(json.dumps(options).encode() + b"\n")
        process.stdin.flush()
        line = _first_line(process, START_SECONDS)
        answer = json.loads(line) if line else {}
        if "failed" in answer:
            raise ConfigError(str(answer["failed"]))
        if "url" not in answer:
            raise GatewayUnreachable(
                "the embedded gateway did not start; its standard error says why"
            )
    except BrokenPipeError:
        _stop(process)
        raise GatewayUnreachable(
            "the embedded gateway did not start; its standard error says why"
        ) from None
    except BaseException:
        _stop(process)
        raise
    return process, str(answer["url"]), str(answer["user"]), str(answer["password"])


def _first_line(process: subprocess.Popen[bytes], seconds: float) -> bytes:
    """Read the first line of a process's output; nothing when it ends or takes too long."""
    import select
    import time

    assert process.stdout is not None
    until, line = time.monotonic() + seconds, b""
    while not line.endswith(b"\n"):
        left = until - time.monotonic()
        if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
            return b""
        piece = os.read(process.stdout.fileno(), 65536)
        if not piece:
            return b""
        line += piece
    return line


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the gateway by closing the pipe that it listens to, or by force."""
    import subprocess

    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.close()
    except BrokenPipeError:
        pass
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()


def _forget_lists(url: str) -> None:
    """Forget what was kept of another gateway's functions that had this address before."""
    from away.connection.catalogue_file import forget_lists

    forget_lists(url)


def _connection(url: str, user: str, password: str) -> FaasConnection:
    # The client is no part of the gateway: only this convenience knows both.
    from away.connection import FaasConnection

    return FaasConnection(url, user=user, password=password)
