"""What a function prints, as log lines that begin with their call's id.

One log takes the output of all calls, of which many run at once: without the id a line belongs to
nobody. ``sys.stdout`` and ``sys.stderr`` are replaced; which call prints is a context variable, so
it is known in threads and coroutines of the call too. Lines are written whole, each with one write.
What is written past Python (a C library, a subprocess) comes without the id.
"""

from __future__ import annotations

import io
import os
import sys
import threading
from contextvars import ContextVar

__all__ = ["CallOutput", "LogStream", "current_call", "install", "log"]

# A line is written when it ends, or when it is this long: a function that prints a hundred
# megabytes without a line break must not be held in memory.
_MAX_LINE = 65_536

current_call: ContextVar[CallOutput | None] = ContextVar("current_call", default=None)


class CallOutput:
    """One call, as the log sees it: its id, and what it printed since the last line break."""

    __slots__ = ("call_id", "started")

    def __init__(self, call_id: str) -> None:
        self.call_id = call_id
        # file descriptor → the begun line
        self.started: dict[int, list[str]] = {}


class LogStream(io.TextIOBase):
    """A text stream to a file descriptor, line by line, each with the call that wrote it."""

    def __init__(self, descriptor: int, binary: io.BufferedIOBase | None = None) -> None:
        self._descriptor = descriptor
        self._binary = binary
        # Re-entrant: a finalizer may print while a line is being put together.
        self._lock = threading.RLock()
        # what is printed outside of any call, such as while the function's module is imported
        self._outside = CallOutput("")

    @property
    def buffer(self) -> io.BufferedIOBase:
        """The bytes stream below; what is written there has no call id."""
        if self._binary is None:
            raise AttributeError("the log has no bytes stream")
        return self._binary

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """UTF-8, whatever the container's locale."""
        return "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]
        """Lone surrogates are written as escapes: a print never fails."""
        return "backslashreplace"

    def fileno(self) -> int:
        """Return the descriptor, for faulthandler and subprocesses."""
        return self._descriptor

    def writable(self) -> bool:
        """Return True."""
        return True

    def isatty(self) -> bool:
        """Return False: a log is no terminal."""
        return False

    def write(self, text: str) -> int:
        """Write text; the end of it that has no line break yet waits for one."""
        call = current_call.get() or self._outside
        with self._lock:
            # By pieces, since each line grows by its prefix.
            for start in range(0, len(text), _MAX_LINE):
                self._write(call, text[start : start + _MAX_LINE])
        return len(text)

    def _write(self, call: CallOutput, text: str) -> None:
        started = call.started.setdefault(self._descriptor, [])
        whole, line_break, rest = text.rpartition("\n")
        if line_break:
            self._emit(call, "".join((*started, whole)))
            started.clear()
        if rest:
            started.append(rest)
            # join now and then: one-character writes would make a list of thousands
            if len(started) > 64 or len(rest) >= _MAX_LINE:
                started[:] = ["".join(started)]
                if len(started[0]) >= _MAX_LINE:
                    self._emit(call, started.pop())

    def _emit(self, call: CallOutput, lines: str) -> None:
        if call.call_id:
            prefix = f"call={call.call_id} "
            lines = prefix + lines.replace("\n", "\n" + prefix)
        write_all(self._descriptor, (lines + "\n").encode("utf-8", "backslashreplace"))

    def finish(self, call: CallOutput) -> None:
        """End the line that a call has begun."""
        if call.started.get(self._descriptor):
            with self._lock:
                started = call.started.pop(self._descriptor, None)
                if started:
                    self._emit(call, "".join(started))

    def after_fork(self) -> None:
        """Replace a lock that a thread held which the child does not have."""
        self._lock = threading.RLock()


def write_all(descriptor: int, data: bytes) -> None:
    """Write all bytes; a log that nobody reads any more is no reason to fail a call."""
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(descriptor, view) :]
    except OSError:
        pass


def install() -> None:
    """Make ``sys.stdout`` and ``sys.stderr`` log streams, where the process has them."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        try:
            descriptor = stream.fileno()
        except (AttributeError, OSError, ValueError):
            continue
        stream.flush()
        log_stream = LogStream(descriptor, getattr(stream, "buffer", None))
        os.register_at_fork(after_in_child=log_stream.after_fork)
        setattr(sys, name, log_stream)


def finish(call: CallOutput) -> None:
    """End the lines that a call has begun in either stream."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, LogStream):
            stream.finish(call)


def log(text: str, call: CallOutput | None = None) -> None:
    """Write lines of the runtime's own to stderr, under a call's id where it is about one."""
    if sys.stderr is None:
        return
    token = current_call.set(call)
    try:
        sys.stderr.write(text.rstrip("\n") + "\n")
    finally:
        current_call.reset(token)
