"""The life of a runtime: listen, load the function, serve, drain."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING

from away.exceptions import AwayError, ConfigError, FunctionNotReady
from away.names import printable
from away.runtime import output, payload, settings
from away.runtime.calls import Calls
from away.runtime.server import Server

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["main"]

# What is left for the function's own exit handlers once all calls are answered.
_EXIT_SECONDS = 2.0


def main() -> int:
    """Serve until SIGTERM or SIGINT; return the process's exit status."""
    if os.getpid() == 1:
        from away.runtime.process_one import supervise

        supervise()
    output.install()
    unreadable: ConfigError | None = None
    try:
        said = settings.from_environment(os.environ)
    except ConfigError as error:
        said, unreadable = settings.readable(os.environ), error
    calls = Calls(
        max_inflight=said.max_inflight,
        queue_seconds=said.queue_seconds,
        deployment=said.deployment,
    )
    try:
        server = Server(calls, said)
    except OSError as error:
        output.log(
            f"away: cannot listen on {said.host}:{said.port}: {error}; set PORT to a free one"
        )
        return 1
    life = _Life(server, said)
    # Listening comes before loading: a call that comes meanwhile waits instead of failing.
    server.start()
    version = ".".join(map(str, sys.version_info[:3]))
    output.log(f"away: listening on port {server.port} (Python {version})")
    if unreadable is None:
        _load(calls)
    else:
        _refuse(calls, unreadable)
    life.wait()
    return 0


def _load(calls: Calls) -> None:
    """Load the function, in the main thread, where modules may install signal handlers."""
    layout = payload.locate(os.environ)
    try:
        # Here, where its failing is answered.
        from away.runtime import standins

        header, body = payload.read(layout)
        calls.know(header)
        payload.prepare_imports(layout, header)
        standins.install()
        function = payload.load(header, body)
    except AwayError as error:
        _refuse(calls, error)
        return
    except Exception as error:  # a fault of this runtime's, or of what its image does to Python
        refusal = FunctionNotReady(
            "the runtime could not make ready for the function:"
            f" {type(error).__name__}: {printable(str(error)[:1_000])}; look at what its image and its"
            " environment change of Python, and publish it again"
        )
        refusal.__cause__ = error
        _refuse(calls, refusal)
        return
    output.log(f"away: {printable(header.entry)} is loaded")
    calls.serve(function)


def _refuse(calls: Calls, error: AwayError) -> None:
    """Keep serving: the answers, and the log, are how the publisher gets to know."""
    output.log(f"away: {error}")
    if error.__cause__ is not None:
        import traceback

        output.log("".join(traceback.format_exception(error.__cause__)))
    calls.refuse(error)


class _Life:
    """The way to the end: from a signal through draining to exit."""

    def __init__(self, server: Server, said: settings.Settings) -> None:
        self._server = server
        self._grace = said.grace_seconds
        self._stopping = False
        self._serving = False
        self._drained = False
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        os.register_at_fork(after_in_child=_default_signals)

    def wait(self) -> None:
        """Wait for a signal, and then for the calls that were running."""
        self._serving = True
        # Python runs handlers between two steps of the main thread. One that waits for a lock may
        # have begun to just before the signal came; a byte in a pipe is never too late.
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        while not self._drained:
            os.read(self._wake_read, 64)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if not self._stopping:
            self._stopping = True
            # In a thread: the main one may be in the function's module, which takes its time.
            threading.Thread(target=self._drain, name="away-drain", daemon=True).start()

    def _drain(self) -> None:
        left = self._server.drain(self._grace)
        if left:
            output.log(f"away: stopped with {left} calls running after {self._grace:g} s")
        if left or not self._serving:
            # A main thread that is still inside the function's module would not hear of it.
            os._exit(0)
        self._drained = True
        os.write(self._wake_write, b".")
        # Threads that the function left behind could keep the process from its end.
        time.sleep(_EXIT_SECONDS)
        os._exit(0)


def _default_signals() -> None:
    """Give a forked child back the signals' usual meaning: it is not the server."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
