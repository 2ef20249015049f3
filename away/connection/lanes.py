"""Lanes: one plain HTTP/1.1 connection each, for whoever sends thousands of calls one after another.

A general client looks up a pool, a proxy, cookies, redirects and a timer anew for each request, which
costs more than a short call itself. A lane has one request under way, to one gateway, over a
connection of its own, and knows nothing but that. Where a gateway is reached by TLS or by a proxy, or a
request carries a login or a stream, there is no lane and the async driver serves.

What happened is told in the same words as by the drivers, so that conversations decide the same.
"""

from __future__ import annotations

import asyncio
import re
import socket
import time
from typing import TYPE_CHECKING, Any

from away.connection.answers import MAX_ANSWER_BYTES, check_answered, decoded
from away.connection.messages import CALL_ID, PROTOCOL_HEADER, Headers, Reply
from away.connection.transport_errors import (
    ConnectFailed,
    ConnectTimedOut,
    CutShort,
    NoAnswer,
    NotHttp,
    ReadTimedOut,
    TooLarge,
    TransportError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from away.connection.messages import Send

__all__ = ["Lane", "read_head"]

# As in the drivers: servers close idle connections after 5 s or more.
IDLE_SECONDS = 4.0
# As http.client's: a line of 64 KiB, and as many lines as it takes.
MAX_HEAD_BYTES = 1 << 18
MAX_FIELDS = 200
MAX_CHUNK_LINE = 1024

_STATUS_LINE = re.compile(r"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: .*)?")
_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROLS = re.compile(r"[\r\n\0]")
_LENGTH = re.compile(r"[0-9]{1,18}")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?")


def read_head(text: bytes) -> tuple[int, bool, list[tuple[str, str]]]:
    r"""Read a status line and header fields, without the empty line that ends them.

    Returns:
        The status, whether the server speaks HTTP/1.1, and the fields.

    Raises:
        NotHttp: It is none of that.

    Example:
        >>> read_head(b"HTTP/1.1 200 OK\r\nX-A: 1")
        (200, True, [('X-A', '1')])
    """
    first, *lines = text.decode("latin-1").split("\r\n")
    found = _STATUS_LINE.fullmatch(first)
    if found is None:
        raise NotHttp("its answer does not begin with HTTP's status line")
    if len(lines) > MAX_FIELDS:
        raise NotHttp(f"its answer has more than {MAX_FIELDS} header fields")
    fields = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or _FIELD_NAME.fullmatch(name) is None or _CONTROLS.search(value):
            raise NotHttp("a line of its answer's head is not a header field")
        fields.append((name, value.strip(" \t")))
    return int(found[2]), found[1] == "1", fields


class Lane(asyncio.Protocol):
    """One connection to a gateway, opened when it is first needed and again whenever it is closed.

    Args:
        host: The gateway's host.
        port: Its port.
        prefix: What stands before each path.
        authority: What the Host field says.
    """

    def __init__(self, host: str, port: int, prefix: str, authority: str) -> None:
        self._host = host
        self._port = port
        self._prefix = prefix
        self._authority = authority
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._answer: asyncio.Future[Reply] | None = None
        self._head: tuple[int, list[tuple[str, str]]] | None = None
        # Of the body: its length, None where the connection's end ends it, -1 where it is chunked.
        self._length: int | None = 0
        self._chunks: list[bytes] = []
        self._chunk_bytes = 0
        self._keeps = True
        self._idle_since = 0.0
        # One timer looks at the deadline of whatever is under way, and is seldom set anew.
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None

    async def send(self, send: Send) -> Reply:
        """Send one request and read the whole answer.

        Raises:
            TransportError: One of its kinds says how far it came.
        """
        request = send.request
        body = request.body or b""
        assert isinstance(body, bytes), "who has a stream to send uses the driver"
        left = send.deadline.remaining()
        if left <= 0.0:
            raise ReadTimedOut
        if not self._is_usable():
            await self._open(send.connect_timeout, left)
        transport = self._transport
        assert transport is not None, "an open lane has a transport"
        self._answer = answer = self._loop.create_future()
        self._watch(left)
        head = self._head_of(request.method, request.path, request.headers, len(body))
        transport.write(head + body)
        try:
            reply = await answer
        except BaseException:
            # Broken off, or broken: what still comes on it belongs to nobody.
            self.close()
            raise
        finally:
            self._answer = None
        if not self._keeps:
            self.close()
        self._idle_since = time.monotonic()
        return self._judged(reply, request.headers.get(CALL_ID))

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _judged(self, reply: Reply, sent: str | None) -> Reply:
        headers = reply.headers
        if headers.get(PROTOCOL_HEADER) is not None:
            try:
                check_answered(sent, headers.get(CALL_ID))
            except TransportError:
                self.close()
                raise
        encoding = headers.get("Content-Encoding")
        if encoding is not None:
            reply.body = decoded(reply.body, encoding)
        return reply

    # ------------------------------------------------------------ the connection

    def _is_usable(self) -> bool:
        transport = self._transport
        if transport is None:
            return False
        idle = time.monotonic() - self._idle_since
        if transport.is_closing() or self._buffer or idle > IDLE_SECONDS:
            self.close()
            return False
        return True

    async def _open(self, connect_timeout: float, left: float) -> None:
        # A little less than the whole, so that it is seen which of the two was reached.
        limit = min(connect_timeout, max(left - 0.01, 0.001))
        self._forget()
        try:
            async with asyncio.timeout(limit):
                await self._loop.create_connection(lambda: self, self._host, self._port)
        except TimeoutError as error:
            raise ConnectTimedOut from error
        except socket.gaierror as error:
            raise ConnectFailed("its host has no address") from error
        except OSError as error:
            refused = isinstance(error, ConnectionRefusedError) or "refused" in str(error).lower()
            said = (error.strerror or str(error) or type(error).__name__).lower()
            raise ConnectFailed(said, refused=refused) from error

    def _forget(self) -> None:
        self._buffer.clear()
        self._head = None
        self._chunks = []
        self._chunk_bytes = 0

    def _head_of(self, method: str, path: str, fields: Mapping[str, str], length: int) -> bytes:
        lines = "".join([f"{name}: {value}\r\n" for name, value in fields.items()])
        return (
            f"{method} {self._prefix}{path} HTTP/1.1\r\nHost: {self._authority}\r\n"
            f"{lines}Content-Length: {length}\r\n\r\n"
        ).encode()

    def _watch(self, left: float) -> None:
        if left == float("inf"):
            self._deadline = left
            return
        self._deadline = self._loop.time() + left
        if self._timer is None or self._timer.when() > self._deadline:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(self._deadline, self._look)

    def _look(self) -> None:
        """See whether the deadline of what is under way has passed; set for an earlier one, look again."""
        self._timer = None
        if self._answer is None or self._answer.done() or self._deadline == float("inf"):
            return
        if self._loop.time() >= self._deadline:
            self._answer.set_exception(ReadTimedOut())
        else:
            self._timer = self._loop.call_at(self._deadline, self._look)

    # ------------------------------------------------------------ what asyncio tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection."""
        assert isinstance(transport, asyncio.Transport), "a stream has such a transport"
        self._transport = transport
        sock: Any = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connection_lost(self, exc: Exception | None) -> None:
        """Say that no answer will come, where one is waited for."""
        self._transport = None
        if self._answer is None or self._answer.done():
            return
        if self._head is not None and self._length is None and exc is None:
            self._finish(bytes(self._buffer))
        elif self._head is None:
            self._answer.set_exception(NoAnswer(str(exc or "")))
        else:
            self._answer.set_exception(CutShort(str(exc or "")))

    def data_received(self, data: bytes) -> None:
        """Take bytes of the answer."""
        self._buffer += data
        if self._answer is None or self._answer.done():
            # Out of turn: whose it is nobody knows, so the connection is not used again.
            self.close()
            return
        try:
            self._read()
        except TransportError as error:
            self._answer.set_exception(error)

    # ------------------------------------------------------------ reading the answer

    def _read(self) -> None:
        while self._head is None:
            end = self._buffer.find(b"\r\n\r\n")
            if max(end, len(self._buffer) if end < 0 else 0) > MAX_HEAD_BYTES:
                raise NotHttp("the head of its answer has no end")
            if end < 0:
                if b"\n\n" in self._buffer:
                    raise NotHttp("the lines of its answer's head end without a carriage return")
                return
            self._begin(*read_head(bytes(self._buffer[:end])))
            del self._buffer[: end + 4]
        length = self._length
        if length == -1:
            self._read_chunks()
        elif length is None:
            if len(self._buffer) > MAX_ANSWER_BYTES:
                raise TooLarge(f"it has more than {MAX_ANSWER_BYTES} bytes")
        elif len(self._buffer) >= length:
            body = (
                bytes(self._buffer) if len(self._buffer) == length else bytes(self._buffer[:length])
            )
            del self._buffer[:length]
            self._finish(body)

    def _begin(self, status: int, persists: bool, fields: list[tuple[str, str]]) -> None:
        """Learn from a head how its body is framed; one that only says 'wait' is passed over."""
        if status < 200:
            if status == 101:
                raise NotHttp("it changes to a protocol that nobody asked for")
            return
        lengths: set[str] = set()
        codings, options = [], ""
        for name, value in fields:
            lower = name.lower()
            if lower == "content-length":
                lengths.update(each.strip() for each in value.split(","))
            elif lower == "transfer-encoding":
                codings.append(value.lower())
            elif lower == "connection":
                options += f",{value.lower()}"
        said = {each.strip() for each in options.split(",")}
        self._keeps = "close" not in said and (persists or "keep-alive" in said)
        self._head = status, fields
        if status in (204, 304):
            self._length = 0
        elif codings:
            if codings != ["chunked"] or lengths:
                raise NotHttp("its answer does not say plainly how long it is")
            self._length = -1
        elif lengths:
            (length,) = lengths if len(lengths) == 1 else ("",)
            if _LENGTH.fullmatch(length) is None:
                raise NotHttp("its answer's Content-Length is not a number")
            self._length = int(length)
            if self._length > MAX_ANSWER_BYTES:
                raise TooLarge(f"it has {length} bytes, and {MAX_ANSWER_BYTES} are read at most")
        else:
            self._length = None
            self._keeps = False

    def _read_chunks(self) -> None:
        buffer = self._buffer
        while True:
            end = buffer.find(b"\r\n", 0, MAX_CHUNK_LINE)
            if end < 0:
                if len(buffer) >= MAX_CHUNK_LINE:
                    raise CutShort("a chunk of its answer has no length")
                return
            found = _CHUNK_SIZE.fullmatch(bytes(buffer[:end]))
            if found is None:
                raise CutShort("a chunk of its answer has no length")
            size = int(found[1], 16)
            if self._chunk_bytes + size > MAX_ANSWER_BYTES:
                raise TooLarge(f"it has more than {MAX_ANSWER_BYTES} bytes")
            if size == 0:
                self._read_trailers(end + 2)
                return
            if len(buffer) < end + 2 + size + 2:
                return
            if buffer[end + 2 + size : end + 4 + size] != b"\r\n":
                raise CutShort("a chunk of its answer has another length than it says")
            self._chunks.append(bytes(buffer[end + 2 : end + 2 + size]))
            self._chunk_bytes += size
            del buffer[: end + 4 + size]

    def _read_trailers(self, begin: int) -> None:
        """Pass over the fields behind the last chunk, to the empty line."""
        buffer = self._buffer
        while True:
            end = buffer.find(b"\r\n", begin)
            if end < 0:
                if len(buffer) > MAX_HEAD_BYTES:
                    raise CutShort("what follows its answer's last chunk has no end")
                return
            if end == begin:
                break
            begin = end + 2
        del buffer[: begin + 2]
        self._finish(b"".join(self._chunks))

    def _finish(self, body: bytes) -> None:
        assert self._head is not None, "an answer has a head"
        assert self._answer is not None, "an answer is waited for"
        status, fields = self._head
        unsent = self._transport is not None and self._transport.get_write_buffer_size()
        if self._buffer or unsent:
            # More than the answer: of whom, nobody knows. Or less than the request: it was early.
            self._keeps = False
        self._head = None
        self._chunks, self._chunk_bytes = [], 0
        self._answer.set_result(Reply(status, Headers(fields), body))
