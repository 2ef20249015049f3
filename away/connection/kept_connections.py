"""One kept-alive connection of the blocking driver, and the answer that is read from it.

urllib3's connection with the time of the whole call at each of its waits, and http.client's answer
where head and body have to be whole. Importing this module imports urllib3.
"""

from __future__ import annotations

import http.client
import io
import time
from typing import TYPE_CHECKING, Any

from urllib3.connection import HTTPConnection, HTTPSConnection

from away.connection.answers import MAX_ANSWER_BYTES, poured
from away.connection.messages import Reply
from away.connection.transport_errors import TooLarge

if TYPE_CHECKING:
    import socket

    from away.connection.messages import Deadline, Sink

__all__ = ["IDLE_SECONDS", "PIECE_BYTES", "Plain", "Response", "Secure"]

# Servers close idle connections after 5 s (Node, uvicorn) or more (Go's gateway: never): one that
# was idle for longer is not used again, so that no call goes out as the server hangs up.
IDLE_SECONDS = 4.0
PIECE_BYTES = 65536
# An answer of more than this is read by pieces, so that a length alone takes no memory.
READ_BYTES = 1 << 20
# One record of TLS (RFC 8446): beyond it a single send() waits several times.
RECORD_BYTES = 16384
# Answers before the answer, such as 103 Early Hints (RFC 8297).
MAX_INTERIM = 100
# Beyond this a copy costs more than a second packet.
JOINED_BYTES = 65536
# Sockets cannot wait longer than about this: a deadline beyond it is none.
FOREVER_SECONDS = 1e9


class _Reader(io.RawIOBase):
    """A socket's bytes, where each wait is cut to what is left of the whole call's time."""

    def __init__(self, sock: socket.socket, connection: _Kept) -> None:
        self._sock = sock
        self._hold: io.RawIOBase | None = None
        self._connection = connection
        self.ended = False
        self.mute = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self.mute:
            return None
        connection = self._connection
        self._sock.settimeout(connection.patience())
        count = self._sock.recv_into(buffer)
        connection.used = time.monotonic()
        if not count:
            self.ended = True
        return count

    def makefile(self, *_mode: Any) -> io.BufferedReader:
        """Stand in for a socket: a file is all that http.client asks of one."""
        return io.BufferedReader(self)

    def hold(self) -> None:
        """Keep the socket open after its connection is closed, until all is read."""
        self._hold = self._sock.makefile("rb", buffering=0)

    def close(self) -> None:
        if self._hold is not None:
            self._hold.close()
        super().close()


class Response(http.client.HTTPResponse):
    """An answer whose head and body have to be whole, where http.client takes what there is.

    Attributes:
        overrun: Whether the server said more than the answer, so that nothing that comes next on
            its connection can be trusted.
    """

    overrun = False

    def __init__(self, reader: _Reader, **options: Any) -> None:
        self._reader = reader
        super().__init__(reader, **options)  # type: ignore[arg-type]  # it calls makefile only

    def begin(self) -> None:
        """Read the head to its end, which has to be there and to say where the body ends."""
        super().begin()
        if self._reader.ended:
            raise http.client.RemoteDisconnected("the connection was closed within the head")
        if self.length is None or self.chunked:
            self._check_framing()
        if self.will_close:
            # http.client closes the connection now, and lets its files live on.
            self._reader.hold()

    def whole(self, most: int = MAX_ANSWER_BYTES) -> bytes:
        """Read the body to its end, which has to be there."""
        length: int | None = self.length
        if length is not None and not self.chunked:
            if length <= READ_BYTES:
                return self.read()
            if length > most:
                raise TooLarge(f"it has {length} bytes, and {most} are read at most")
        pieces, count = [], 0
        while piece := self.read(READ_BYTES):
            count += len(piece)
            if count > most:
                raise TooLarge(f"it has more than {most} bytes")
            pieces.append(piece)
        if length is not None and count < length:
            raise http.client.IncompleteRead(b"", length - count)
        return b"".join(pieces)

    def pour(self, sink: Sink) -> None:
        """Hand the body over piece by piece, to its end, which has to be there."""
        poured(sink, Reply(self.status, self.getheaders()))
        length: int | None = self.length
        count = 0
        while piece := self.read(PIECE_BYTES):
            count += len(piece)
            poured(sink, piece)
        if length is not None and count < length:
            raise http.client.IncompleteRead(b"", length - count)

    def _read_status(self) -> tuple[str, int, str]:
        """Read the status of the answer itself, past those that only announce it (RFC 9110, 15.2)."""
        for _ in range(MAX_INTERIM):
            found: tuple[str, int, str] = super()._read_status()  # type: ignore[misc]
            if found[1] >= 200:
                return found
            if found[1] == 101:
                raise http.client.HTTPException("it changes to a protocol that nobody asked for")
            http.client.parse_headers(self.fp)
        raise http.client.HTTPException("it announces its answer and does not give it")

    def _check_framing(self) -> None:
        """Refuse a head that leaves it open where the body ends."""
        encoding, length = self.headers["transfer-encoding"], self.headers["content-length"]
        if length is not None and self.length is None:
            raise http.client.HTTPException("its Content-Length is no length, or not the only one")
        if encoding is not None and not self.chunked:
            raise http.client.HTTPException("it has a Transfer-Encoding that nobody asked for")

    def _read_next_chunk_size(self) -> int:
        size: int = super()._read_next_chunk_size()  # type: ignore[misc]
        if size < 0:
            raise http.client.HTTPException("it has a chunk of less than nothing")
        return size

    def _close_conn(self) -> None:
        if self.fp is not None and not self.will_close:
            self._reader.mute = True
            self.overrun = bool(self.fp.peek(1))
        super()._close_conn()  # type: ignore[misc]


def _answer_from(connection: _Kept, sock: socket.socket, **options: Any) -> Response:
    """Stand in for a connection's class of answers, which http.client calls with a socket."""
    return Response(_Reader(sock, connection), **options)


class _Kept:
    """A kept-alive connection: checked before each reuse, too old after some idle seconds.

    Attributes:
        deadline: Of the call that uses it now.
        quiet: Seconds after which the call does not wait for more, if it said so.
        used: When bytes last came.
        confirmed: Whether the embedded gateway was seen to live once it was open.
    """

    # urllib3's own only look for markers of its own in names and values.
    putrequest = http.client.HTTPConnection.putrequest
    putheader = http.client.HTTPConnection.putheader

    deadline: Deadline
    quiet: float | None = None
    used = 0.0
    confirmed = False
    sock: socket.socket | None
    timeout: float | None
    _held: list[bytes] | None = None
    # What is sent in one go: the time that is left is looked at before each.
    _go = 1 << 20
    _pushed = False

    @property
    def is_connected(self) -> bool:
        fresh = time.monotonic() - self.used < IDLE_SECONDS
        return fresh and bool(super().is_connected)  # type: ignore[misc]  # of the class beside it

    def patience(self) -> float | None:
        """Return how long the socket may wait now.

        Raises:
            TimeoutError: Not at all.
        """
        left = self.deadline.remaining()
        if self.quiet is not None and self.quiet < left:
            return self.quiet
        if left <= 0.0:
            raise TimeoutError("the deadline passed")
        return left if left < FOREVER_SECONDS else None

    def request(self, *args: Any, **options: Any) -> None:
        """Send a request; while sending it is the call's deadline that counts."""
        if self.sock is not None:
            self.timeout = self.patience()
        self._held, self._pushed = [], False
        try:
            super().request(*args, **options)  # type: ignore[misc]
            self._let_go()
        finally:
            self._held = None

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]
        if self.sock is not None:
            self.timeout = self.patience()
            self.sock.settimeout(self.timeout)

    def send(self, data: Any) -> None:
        """Keep a head back until its body is there: one packet, and one wake-up of the server."""
        held = self._held
        if self.sock is None or not isinstance(data, bytes):
            super().send(data)  # type: ignore[misc]
            return
        if held is None:
            self._push(data)
            return
        held.append(data)
        if len(held) > 1 or len(data) > JOINED_BYTES:
            self._let_go()

    def _let_go(self) -> None:
        held, self._held = self._held, None
        if not held:
            return
        if sum(map(len, held)) <= JOINED_BYTES:
            held = [b"".join(held)]
        for data in held:
            self._push(data)

    def _push(self, data: bytes) -> None:
        """Send bytes within the deadline, which a socket knows for a single wait only."""
        if len(data) <= RECORD_BYTES and not self._pushed:
            self._pushed = True
            super().send(data)  # type: ignore[misc]
            return
        view = memoryview(data)
        for at in range(0, len(data), self._go):
            assert self.sock is not None, "it is open while something is sent"
            self.sock.settimeout(self.patience())
            super().send(view[at : at + self._go])  # type: ignore[misc]


class Plain(_Kept, HTTPConnection):
    """A kept-alive connection without TLS."""

    response_class = _answer_from  # type: ignore[assignment]  # called, not derived from


class Secure(_Kept, HTTPSConnection):
    """A kept-alive connection by TLS."""

    response_class = _answer_from  # type: ignore[assignment]  # called, not derived from
    _go = RECORD_BYTES
