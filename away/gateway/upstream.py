"""The gateway's half of a call to a function: HTTP/1.1 over a pooled connection.

A client of its own since this is the path of every call: it sends a small request in one write, keeps
an answer's headers as they came, and knows when an answer was cut short, which the gateway must not
pass on as a whole one.
"""

from __future__ import annotations

import asyncio
import re
import socket
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["Answer", "Broken", "NotListening", "Pool", "Wire"]

Headers = list[tuple[bytes, bytes]]

# Go's limit for an answer's head.
MAX_HEAD_BYTES = 10 << 20
# Reading stops above this much that nobody has taken yet.
HIGH_WATER = 512 * 1024
# Servers drop idle connections after some seconds (gunicorn after two): we do so before them.
IDLE_SECONDS = 1.5
CONNECT_SECONDS = 5.0
NO_BODY = (204, 304)
# A body's length fits 63 bits, as in Go: int() would take signs, spaces and underscores, and refuse
# thousands of digits.
_LENGTH = re.compile(rb"[0-9]{1,18}")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?", re.DOTALL)


class NotListening(Exception):
    """The function's port refused the connection: nothing was sent."""


class Broken(Exception):
    """The connection ended, or said what is not HTTP, before the answer was whole."""


class Wire(asyncio.Protocol):
    """One connection to a function."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self.buffer = bytearray()
        self.closed = False
        self.idle_since = 0.0
        self._transport: asyncio.Transport | None = None
        self._socket: socket.socket | None = None
        self._reading: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._paused_writing = False
        self._paused_reading = False

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Keep what came, and wake who waits for it."""
        self.buffer += data
        if len(self.buffer) > HIGH_WATER and self._transport is not None:
            self._paused_reading = True
            self._transport.pause_reading()
        _wake(self._reading)

    def eof_received(self) -> bool:
        """Note the end; the transport closes itself."""
        self.closed = True
        _wake(self._reading)
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's call
        """Note the end."""
        self.closed = True
        _wake(self._reading)
        _wake(self._room)

    def pause_writing(self) -> None:
        """Let who writes wait."""
        self._paused_writing = True

    def resume_writing(self) -> None:
        """Let who writes go on."""
        self._paused_writing = False
        _wake(self._room)

    # What a call does

    async def more(self) -> None:
        """Wait for more bytes.

        Raises:
            Broken: There will be none.
        """
        if self.closed:
            raise Broken("the function closed the connection")
        if self._paused_reading and self._transport is not None:
            self._paused_reading = False
            self._transport.resume_reading()
        self._reading = asyncio.get_running_loop().create_future()
        try:
            await self._reading
        finally:
            self._reading = None

    def send(self, data: bytes) -> None:
        """Send bytes without waiting for room."""
        if self._transport is not None and not self.closed:
            self._transport.write(data)

    async def drain(self) -> None:
        """Wait until there is room for more to send."""
        if self._paused_writing and not self.closed:
            self._room = asyncio.get_running_loop().create_future()
            try:
                await self._room
            finally:
                self._room = None

    def usable(self, now: float) -> bool:
        """Tell whether a kept connection can take another request: still open, silent, young."""
        if self.closed or self.buffer or now - self.idle_since > IDLE_SECONDS:
            return False
        assert self._transport is not None
        # What the event loop has not seen yet, the kernel may know already.
        peeked = self._transport.get_extra_info("socket")
        try:
            socket.socket.recv(peeked._sock, 1, socket.MSG_PEEK | socket.MSG_DONTWAIT)  # noqa: SLF001
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def close(self) -> None:
        """Drop the connection at once."""
        self.closed = True
        if self._transport is not None:
            self._transport.abort()


class Answer:
    """An answer whose head has come; its body is read piece by piece."""

    def __init__(self, wire: Wire, head: bytes, method: str) -> None:
        self._wire = wire
        line, *lines = head.split(b"\r\n")
        version, _, rest = line.partition(b" ")
        code, _, reason = rest.partition(b" ")
        if not version.startswith(b"HTTP/1.") or not (len(code) == 3 and code.isdigit()):
            raise Broken("the function answered something that is not HTTP")
        self.status = int(code)
        self.reason = reason.decode("latin-1").strip()
        self.headers: Headers = []
        self.length: int | None = None
        self.chunked = False
        self.keeps = version != b"HTTP/1.0"
        for each in lines:
            self._take_header(each)
        if method == "HEAD" or self.status in NO_BODY or self.status < 200:
            self.chunked, self.bodiless = False, True
        else:
            self.bodiless = False
            self.keeps = self.keeps and (self.chunked or self.length is not None)
        self.whole = self.bodiless or (self.length == 0 and not self.chunked)

    def _take_header(self, line: bytes) -> None:
        name, colon, value = line.partition(b":")
        if not colon or not name.strip():
            raise Broken("the function answered a malformed header")
        name, value = name.strip(), value.strip()
        lower = name.lower()
        if lower == b"content-length":
            if not _LENGTH.fullmatch(value):
                raise Broken("the function answered a malformed Content-Length")
            self.length = int(value)
        elif lower == b"transfer-encoding":
            self.chunked = b"chunked" in value.lower()
            return
        elif lower == b"connection":
            self.keeps = b"close" not in value.lower()
            return
        self.headers.append((name, value))

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes.

        Raises:
            Broken: It ended before it was whole.
        """
        if self.whole:
            return
        if self.chunked:
            async for piece in self._chunks():
                yield piece
        elif self.length is not None:
            async for piece in self._exactly(self.length):
                yield piece
        else:
            async for piece in self._until_the_end():
                yield piece
        self.whole = True

    async def _exactly(self, length: int) -> AsyncIterator[bytes]:
        assert length >= 0, "a length is counted down to nothing"
        wire = self._wire
        while length:
            if not wire.buffer:
                await wire.more()
                continue
            piece = bytes(wire.buffer[:length])
            del wire.buffer[: len(piece)]
            length -= len(piece)
            yield piece

    async def _until_the_end(self) -> AsyncIterator[bytes]:
        wire = self._wire
        while True:
            if wire.buffer:
                piece = bytes(wire.buffer)
                wire.buffer.clear()
                yield piece
            try:
                await wire.more()
            except Broken:
                if not wire.buffer:
                    return

    async def _chunks(self) -> AsyncIterator[bytes]:
        while size := await self._chunk_size():
            async for piece in self._exactly(size):
                yield piece
            if await self._line():
                raise Broken("the function answered a malformed chunk")
        while await self._line():
            pass  # trailers

    async def _chunk_size(self) -> int:
        found = _CHUNK_SIZE.fullmatch(await self._line())
        if found is None:
            raise Broken("the function answered a malformed chunk")
        return int(found[1], 16)

    async def _line(self) -> bytes:
        wire = self._wire
        while (end := wire.buffer.find(b"\r\n")) < 0:
            if len(wire.buffer) > 65536:
                raise Broken("the function answered a malformed chunk")
            await wire.more()
        line = bytes(wire.buffer[:end])
        del wire.buffer[: end + 2]
        return line


class Pool:
    """The connections to one function's port."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self._idle: list[Wire] = []
        self._closed = False

    async def wire(self) -> tuple[Wire, bool]:
        """Return a connection, and whether it was used before.

        Raises:
            NotListening: Nothing took the connection.
        """
        now = time.monotonic()
        while self._idle:
            wire = self._idle.pop()
            if wire.usable(now):
                return wire, True
            wire.close()
        return await self._connect(), False

    async def _connect(self) -> Wire:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, wire = await loop.create_connection(
                    lambda: Wire(self.host, self.port), self.host, self.port
                )
        except (OSError, TimeoutError) as error:
            raise NotListening(str(error)) from error
        return wire

    def keep(self, wire: Wire) -> None:
        """Take a connection back that is ready for another request."""
        if self._closed or wire.closed:
            wire.close()
            return
        wire.idle_since = time.monotonic()
        self._idle.append(wire)

    def drop_old(self) -> None:
        """Close what has been idle for too long."""
        now = time.monotonic()
        old = [each for each in self._idle if now - each.idle_since > IDLE_SECONDS]
        self._idle = [each for each in self._idle if now - each.idle_since <= IDLE_SECONDS]
        for wire in old:
            wire.close()

    def close(self) -> None:
        """Close what is idle, and whatever comes back."""
        self._closed = True
        for wire in self._idle:
            wire.close()
        self._idle.clear()


async def read_answer(wire: Wire, method: str) -> Answer:
    """Read an answer's head; interim ones (1xx) are passed over.

    Raises:
        Broken: There was none, or none that is HTTP.
    """
    while True:
        searched = 0
        while (end := wire.buffer.find(b"\r\n\r\n", searched)) < 0:
            if len(wire.buffer) > MAX_HEAD_BYTES:
                raise Broken("the function's answer has too long a head")
            searched = max(0, len(wire.buffer) - 3)
            await wire.more()
        head = bytes(wire.buffer[:end])
        del wire.buffer[: end + 4]
        answer = Answer(wire, head, method)
        if answer.status == 101:
            raise Broken("the function switched to another protocol, which is not passed on")
        if answer.status >= 200:
            return answer


def _wake(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)
