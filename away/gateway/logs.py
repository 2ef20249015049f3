"""What functions write: the newest lines of each, bounded in number and in bytes."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from datetime import UTC, datetime
from typing import NamedTuple

__all__ = ["Line", "Log", "as_json"]

# What stays of a function's output: it may print 100 MB a minute, and nobody reads that back.
MAX_LINES = 10_000
MAX_BYTES = 2 * 1024 * 1024
MAX_LINE_BYTES = 16 * 1024
# What a line costs beside its text, so that a flood of empty ones is bounded too.
LINE_OVERHEAD = 100
# After so much work for one pipe it rests, so that one function which prints without end leaves most
# of the event loop's time to the calls of the others.
WORK_SECONDS = 0.001
RESTS_PER_WORK = 4.0


class Line(NamedTuple):
    """One line of output."""

    time: datetime
    instance: str
    text: str


class Log:
    """The newest lines of one function. Lines are numbered, so that a reader knows what it missed."""

    def __init__(self) -> None:
        self._lines: deque[Line] = deque()
        self._bytes = 0
        self._next = 0
        self._grown = asyncio.Event()
        self._closed = False

    def add(self, instance: str, text: bytes, moment: datetime) -> None:
        """Keep a line, cut to the longest that is kept, and drop the oldest as needed."""
        if len(text) > MAX_LINE_BYTES:
            text = text[:MAX_LINE_BYTES] + " …".encode()
        line = Line(moment, instance, text.decode("utf-8", "replace"))
        self._lines.append(line)
        self._bytes += len(line.text) + LINE_OVERHEAD
        while len(self._lines) > MAX_LINES or self._bytes > MAX_BYTES:
            self._bytes -= len(self._lines.popleft().text) + LINE_OVERHEAD
        self._next += 1
        if not self._grown.is_set():
            self._grown.set()

    def lines(self, since: datetime | None = None, tail: int | None = None) -> list[Line]:
        """Return the lines from a time on, the last ``tail`` of them."""
        found = [line for line in self._lines if since is None or line.time >= since]
        return found if tail is None else found[-tail:] if tail else []

    @property
    def next(self) -> int:
        """The number that the next line will have."""
        return self._next

    async def following(self, number: int) -> list[Line]:
        """Wait for lines from a number on, and return those of them that are still kept.

        None come any more once the log is closed.
        """
        while self._next <= number and not self._closed:
            self._grown.clear()
            await self._grown.wait()
        missing = min(self._next - number, len(self._lines))
        return list(self._lines)[-missing:] if missing > 0 else []

    def close(self) -> None:
        """Let nobody wait for more."""
        self._closed = True
        self._grown.set()

    def feed(self, instance: str) -> Feed:
        """Return a protocol for a pipe whose lines are kept here."""
        return Feed(self, instance)


class Feed(asyncio.Protocol):
    """Cuts what comes through a pipe into lines of a log."""

    def __init__(self, log: Log, instance: str) -> None:
        self._log = log
        self.instance = instance
        self._begun = bytearray()
        self._worked = 0.0
        self._transport: asyncio.ReadTransport | None = None
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the pipe's transport."""
        assert isinstance(transport, asyncio.ReadTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Keep what came, and rest after much of it."""
        started = time.perf_counter()
        self._keep(data)
        self._worked += time.perf_counter() - started
        if self._worked > WORK_SECONDS and self._transport is not None:
            self._transport.pause_reading()
            asyncio.get_running_loop().call_later(
                self._worked * RESTS_PER_WORK, self._transport.resume_reading
            )
            self._worked = 0.0

    def _keep(self, data: bytes) -> None:
        """Keep the whole lines, and the beginning of the last as far as it will be kept."""
        if b"\n" not in data:
            self._begin(data)
            return
        moment = datetime.now(UTC)
        first, *lines = data.split(b"\n")
        self._begin(first)
        self._log.add(self.instance, bytes(self._begun).rstrip(b"\r"), moment)
        self._begun = bytearray(lines.pop()[: MAX_LINE_BYTES + 1])
        for line in lines[-MAX_LINES:]:
            self._log.add(self.instance, line.rstrip(b"\r"), moment)

    def _begin(self, data: bytes) -> None:
        room = MAX_LINE_BYTES + 1 - len(self._begun)
        self._begun += data[: max(0, room)]

    def connection_lost(self, exc: Exception | None) -> None:
        """Keep a last line that has no end."""
        if self._begun:
            self._log.add(self.instance, bytes(self._begun), datetime.now(UTC))
        if not self.ended.done():
            self.ended.set_result(exc)


def as_json(line: Line, name: str, namespace: str) -> bytes:
    """Write a line as OpenFaaS's log API does: one JSON object, in Go's spelling of JSON."""
    time = line.time.strftime("%Y-%m-%dT%H:%M:%S.%f")
    fields = {
        "name": name,
        "namespace": namespace,
        "instance": line.instance,
        "timestamp": f"{time}Z",
        "text": line.text,
    }
    return go_json(fields).encode() + b"\n"


def go_json(value: object) -> str:
    """Write JSON as Go's encoder does, which escapes what would end a script element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    # Lone surrogates have no UTF-8.
    return text.encode("utf-8", "replace").decode()
