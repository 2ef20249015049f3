"""The blocking driver: pumps conversations over the connection pools of a requests adapter.

It goes past ``requests.Session`` and past urllib3's own round of a request, which between them cost
more than the request itself: pools, proxies and TLS are theirs, and an answer is read by http.client.
Importing this module imports requests and urllib3: do it at the first request. What a conversation
decides is not decided here.
"""

from __future__ import annotations

import http.client
import io
import queue
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    ClosedPoolError,
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
)

from away.connection.answers import (
    MAX_ANSWER_BYTES,
    MAX_REFUSAL_BYTES,
    POURED,
    SinkFailed,
    check_answered,
    decoded,
    poured,
)
from away.connection.messages import (
    CALL_ID,
    PROTOCOL_HEADER,
    QUIET_HEAD_SECONDS,
    Headers,
    Reply,
    Send,
)
from away.connection.route import host_of
from away.connection.transport_errors import (
    ConnectFailed,
    ConnectTimedOut,
    CutShort,
    NoAnswer,
    NotHttp,
    ReadTimedOut,
    Silent,
    TlsFailed,
    TooLarge,
    TransportError,
)
from away.names import printable

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Generator, Iterable, Iterator

    from away.connection.access import Access
    from away.connection.messages import Conversation, Deadline, Sink
    from away.connection.route import Route

__all__ = ["IDLE_SECONDS", "SyncDriver", "cut"]

T = TypeVar("T")

# Servers close idle connections after 5 s (Node, uvicorn) or more (Go's gateway: never): one that
# was idle for longer is not used again, so that no call goes out as the server hangs up.
IDLE_SECONDS = 4.0
# More connections than this are closed after their call.
POOL_SIZE = 128
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


# ---------------------------------------------------------------- a connection


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


class _Response(http.client.HTTPResponse):
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


def _answer_from(connection: _Kept, sock: socket.socket, **options: Any) -> _Response:
    """Stand in for a connection's class of answers, which http.client calls with a socket."""
    return _Response(_Reader(sock, connection), **options)


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


class _Plain(_Kept, HTTPConnection):
    response_class = _answer_from  # type: ignore[assignment]  # called, not derived from


class _Secure(_Kept, HTTPSConnection):
    response_class = _answer_from  # type: ignore[assignment]  # called, not derived from
    _go = RECORD_BYTES


# The connection that each thread uses now, so that another one can cut it off.
_at_work: dict[int, Any] = {}


def cut(threads: Iterable[int]) -> None:
    """End what some threads wait for, as if the other side had hung up.

    Args:
        threads: Their identities, as :func:`threading.get_ident` gives them.
    """
    import socket

    for each in threads:
        sock = getattr(_at_work.get(each), "sock", None)
        if sock is not None:
            try:
                # Of the plain socket: TLS's own would take its state away from under the reader.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
            except OSError:
                pass  # it has ended by itself


# ---------------------------------------------------------------- pools of them


class _Idle(queue.LifoQueue[Any]):
    """Idle connections, the last one first, under no lock: what a deque does cannot be interrupted.

    A ``Condition`` is taken in Python. A Ctrl-C just then left urllib3's own queue locked for ever,
    and every later call and the end of the process waited for it.
    """

    def __init__(self, maxsize: int = 0) -> None:
        self.maxsize = maxsize
        self._connections: deque[Any] = deque()

    def qsize(self) -> int:
        return len(self._connections)

    def empty(self) -> bool:
        return not self._connections

    def full(self) -> bool:
        return 0 < self.maxsize <= len(self._connections)

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:  # noqa: ARG002
        # Two threads may both find room for the last one; one connection more does no harm.
        if self.full():
            raise queue.Full
        self._connections.append(item)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:  # noqa: ARG002
        try:
            return self._connections.pop()
        except IndexError:
            raise queue.Empty from None


class _Pool(HTTPConnectionPool):
    """Connections to one host, with a shorter round of a request than urllib3's ``urlopen``."""

    ConnectionCls = _Plain
    QueueCls = _Idle

    def open(
        self, send: Send, target: str, headers: Any, confirm: Callable[[], None] | None = None
    ) -> tuple[Any, _Response]:
        """Send a request and read the head of its answer.

        Args:
            send: The request.
            target: What to ask for.
            headers: Its header fields, credentials included.
            confirm: What raises unless a connection that was opened may be sent them.

        Returns:
            The connection, which is to be given to :meth:`finish`, and the answer.

        Raises:
            TransportError: One of its kinds says how far it came.
        """
        request = send.request
        left = send.deadline.remaining()
        if left <= 0.0:
            raise ReadTimedOut
        connection: Any = self._get_conn()
        _at_work[threading.get_ident()] = connection
        connection.deadline = send.deadline
        connection.quiet = None
        connection.timeout = min(send.connect_timeout, left)
        try:
            if confirm is not None and not connection.confirmed:
                connection.close()
            if connection.sock is None:
                connection.confirmed = False
                self._connect(connection)
                if confirm is not None:
                    confirm()
                    connection.confirmed = True
            try:
                connection.request(request.method, target, body=request.body, headers=headers)
            except (BrokenPipeError, ConnectionResetError):
                # A server may answer and hang up before it has read all.
                pass
            if send.quiet is not None:
                connection.quiet = max(send.quiet, QUIET_HEAD_SECONDS)
            # Past urllib3's own, which wraps the answer in a second one.
            response: Any = http.client.HTTPConnection.getresponse(connection)
            return connection, response
        except BaseException as error:
            self.finish(connection, whole=False)
            if isinstance(error, TimeoutError) and connection.quiet is not None:
                raise Silent from error
            if isinstance(error, (OSError, http.client.HTTPException)):
                raise _broken(error) from error
            raise

    def _connect(self, connection: Any) -> None:
        """Connect, through the proxy if there is one, and prove who is there."""
        proxy = self.proxy
        try:
            if proxy is not None and self.scheme == "https":
                self._prepare_proxy(connection)
            if connection.sock is None:
                connection.connect()
            return
        except (HTTPError, OSError, http.client.HTTPException) as error:
            found = _not_connected(error)
            if proxy is not None and isinstance(found, ConnectFailed):
                found = ConnectFailed(
                    f"the proxy {proxy.host}:{proxy.port} does not let through: {found.detail}"
                )
            # urllib3's own errors hold the connection, which knows the proxy's log-in.
            found.__cause__ = error.__cause__ if isinstance(error, HTTPError) else error
        raise found

    def finish(self, connection: Any, *, whole: bool) -> None:
        """Take a connection back, closed unless its answer was read to the end."""
        _at_work.pop(threading.get_ident(), None)
        kept = self.pool
        if not whole or (kept is not None and kept.full()):
            connection.close()
        if kept is None or not kept.full():
            self._put_conn(connection)


class _SecurePool(_Pool, HTTPSConnectionPool):
    ConnectionCls = _Secure  # type: ignore[assignment]  # as in urllib3's own pair of pools


_POOLS = {"http": _Pool, "https": _SecurePool}


class _Adapter(HTTPAdapter):
    """requests' owner of pools and proxies, with pools of ours."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **options)
        manager.pool_classes_by_scheme = _POOLS
        return manager


# ---------------------------------------------------------------- the driver


class SyncDriver:
    """Pump conversations in the calling thread; safe to share between threads.

    Args:
        access: The gateway's URL and login.
        route: Proxies and trust.
    """

    def __init__(self, access: Access, route: Route) -> None:
        self._access = access
        self._route = route
        self._lock = threading.Lock()  # guards the making and dropping of what follows
        self._adapter: _Adapter | None = None
        # "scheme://host:port" → its pool, and whether whole URLs are asked for (a plain proxy)
        self._pools: dict[str, tuple[_Pool, bool]] = {}

    def run(self, conversation: Conversation[T]) -> T:
        """Pump a conversation to its end and return what it returns."""
        try:
            step = next(conversation)
            while True:
                if isinstance(step, Send):
                    try:
                        reply = self.send(step)
                    except TransportError as error:
                        step = conversation.throw(error)
                    except SinkFailed as stop:
                        step = conversation.throw(stop.error)
                    else:
                        step = conversation.send(reply)
                else:
                    time.sleep(step.seconds)
                    step = conversation.send(None)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            conversation.close()

    def send(self, send: Send) -> Reply:
        """Send one request and read the whole answer.

        Raises:
            TransportError: One of its kinds says how far it came.
            SinkFailed: What was to take the body raised something.
        """
        pool, connection, response = self._open(send)
        whole = poured_out = False
        into = send.request.into
        try:
            if send.quiet is not None:
                connection.quiet = send.quiet
                body = b"".join(_until_quiet(response))
            elif into is None:
                body = response.whole()
            elif response.status in POURED:
                response.pour(into)
                body, poured_out = b"", True
            else:
                body = response.whole(MAX_REFUSAL_BYTES)
            headers = Headers(response.getheaders())
            if headers.get(PROTOCOL_HEADER) is not None:
                check_answered(send.request.headers.get(CALL_ID), headers.get(CALL_ID))
            whole = send.quiet is None and not response.overrun
        except TimeoutError as error:
            raise ReadTimedOut from error
        except (OSError, http.client.HTTPException) as error:
            raise CutShort(str(error)) from error
        finally:
            response.close()
            pool.finish(connection, whole=whole)
        encoding = headers.get("content-encoding")
        if encoding is not None and not poured_out:
            body = decoded(body, encoding)
        return Reply(response.status, headers, body)

    def stream(self, send: Send) -> Generator[Reply | bytes, None, None]:
        """Give the reply's head, then the body's pieces as they come; a cut is their end."""
        pool, connection, response = self._open(send)
        try:
            call_id = send.request.headers.get(CALL_ID)
            yield Reply(response.status, Headers(response.getheaders()), call_id=call_id)
            yield from _until_quiet(response)
        finally:
            response.close()
            pool.finish(connection, whole=False)

    def close(self) -> None:
        """Close idle connections; the next request opens new ones."""
        with self._lock:
            adapter, self._adapter = self._adapter, None
            self._pools = {}
        if adapter is not None:
            adapter.close()

    def abandon(self) -> None:
        """Forget, in a forked child, all that belongs to the parent, without a word to the server."""
        self._lock = threading.Lock()
        self._adapter = None
        self._pools = {}
        _at_work.clear()

    def _open(self, send: Send) -> tuple[_Pool, Any, _Response]:
        pool, target = self._pool_for(send.request.path)
        headers = self._access.headers_for(send.request)
        access = self._access
        ours = send.request.auth is True and "Authorization" in headers
        confirm = access.confirm if ours and access.announced else None
        if pool.proxy_headers and pool.scheme == "http":
            headers = {**headers, **pool.proxy_headers}
        try:
            return pool, *pool.open(send, target, headers, confirm)
        except ClosedPoolError:
            # Another thread closed the connection between the two lines above.
            pool, target = self._pool_for(send.request.path)
            return pool, *pool.open(send, target, headers, confirm)

    def _pool_for(self, path: str) -> tuple[_Pool, str]:
        """Return the pool that leads to a path's host, and what to ask for there."""
        access = self._access
        if not path.isascii():
            raise ConnectFailed("its URL cannot be used")
        if path.startswith("/"):
            origin, target = access.origin, access.prefix + path
        else:
            scheme, _, rest = path.partition("://")
            authority, _, tail = rest.partition("/")
            origin, target = f"{scheme}://{authority}", f"/{tail}"
        found = self._pools.get(origin)
        if found is None:
            found = self._make_pool(origin)
        pool, whole = found
        return pool, origin + target if whole else target

    def _make_pool(self, origin: str) -> tuple[_Pool, bool]:
        scheme, host, port = host_of(origin)
        proxy = self._route.proxy(scheme, host, port)
        tls = {"ssl_context": self._route.tls()} if scheme == "https" else {}
        with self._lock:
            if self._adapter is None:
                self._adapter = _Adapter(pool_connections=8, pool_maxsize=POOL_SIZE)
            manager = self._adapter.poolmanager
            if proxy is not None:
                trust = {}
                if proxy.lower().startswith("https:"):
                    trust = {"proxy_ssl_context": self._route.tls()}
                manager = self._adapter.proxy_manager_for(proxy, **trust)
            pool = manager.connection_from_host(host, port, scheme, pool_kwargs=tls or None)
            found = pool, proxy is not None and scheme == "http"
            self._pools[origin] = found
        return found


def _until_quiet(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """Give the pieces of an answer; that it is quiet, cut or past the deadline is its end."""
    while True:
        try:
            piece = response.read1(PIECE_BYTES)
        except (OSError, http.client.HTTPException):
            return
        if not piece:
            return
        yield piece


# ---------------------------------------------------------------- what went wrong


def _not_connected(error: Exception) -> TransportError:
    """Say why there is no connection."""
    import ssl

    if isinstance(error, NameResolutionError):
        return ConnectFailed("its host has no address")
    if isinstance(error, NewConnectionError):
        why = error.__cause__
        return ConnectFailed(_reason(why), refused=isinstance(why, ConnectionRefusedError))
    if isinstance(error, (ConnectTimeoutError, TimeoutError)):
        return ConnectTimedOut()
    if isinstance(error, (ssl.SSLError, ssl.CertificateError)):
        return TlsFailed(_reason(error))
    return ConnectFailed(_reason(error))


def _broken(error: Exception) -> TransportError:
    """Say what ended a connection before the head of an answer was there."""
    if isinstance(error, TimeoutError):
        return ReadTimedOut()
    if isinstance(error, (OSError, http.client.IncompleteRead)):
        return NoAnswer(_reason(error))
    if isinstance(error, http.client.BadStatusLine):
        return NotHttp(f"it begins with {printable(str(error).strip())[:60]!r}")
    return NotHttp(printable(str(error))[:100] or type(error).__name__)


def _reason(error: object) -> str:
    """Give an error's reason as a clause, without addresses of objects."""
    for name in ("verify_message", "reason", "strerror"):
        text = getattr(error, name, None)
        if isinstance(text, str) and text:
            return printable(text.replace("_", " ") if text.isupper() else text).lower()
    return printable(str(error))[:200] or type(error).__name__
