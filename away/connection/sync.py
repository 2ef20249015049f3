"""The blocking driver: pumps conversations over the connection pools of a requests adapter.

It goes past ``requests.Session``, whose cookies, hooks, redirects and environment look-ups cost more
than the request itself. Importing this module imports requests and urllib3: do it at the first
request. What a conversation decides is not decided here.
"""

from __future__ import annotations

import http.client
import io
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, Retry, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    DecodeError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)

from away.connection.conversations import (
    CALL_ID,
    ConnectFailed,
    ConnectTimedOut,
    CutShort,
    Headers,
    NoAnswer,
    NotHttp,
    ReadTimedOut,
    Reply,
    Send,
    TlsFailed,
    TransportError,
)

if TYPE_CHECKING:
    import socket
    from collections.abc import Generator, Iterator

    from urllib3.response import BaseHTTPResponse

    from away.connection.access import Access
    from away.connection.conversations import Conversation, Deadline
    from away.connection.route import Route

__all__ = ["IDLE_SECONDS", "SyncDriver"]

T = TypeVar("T")

# Servers close idle connections after 5 s (Node, uvicorn) or more (Go's gateway: never): one that
# was idle for longer is not used again, so that no call goes out as the server hangs up.
IDLE_SECONDS = 4.0
POOL_SIZE = 64
PIECE_BYTES = 65536
# Beyond this a copy costs more than a second packet.
JOINED_BYTES = 65536
# Sockets cannot wait longer than about this: a deadline beyond it is none.
FOREVER_SECONDS = 1e9
_NO_RETRIES = Retry(total=False, redirect=False)


class _Limits(Timeout):
    """urllib3's limits of time without its own arithmetic: a deadline does that."""

    def __init__(self, connect: float, read: float | None) -> None:
        self._limits = connect, read

    def clone(self) -> _Limits:
        return self

    def start_connect(self) -> float:
        return 0.0

    @property
    def connect_timeout(self) -> float:
        return self._limits[0]

    @property
    def read_timeout(self) -> float | None:
        return self._limits[1]

    def __repr__(self) -> str:
        return f"_Limits{self._limits}"


class _Now(threading.local):
    """What the request of this thread is bound by; urllib3 hands no such thing to a connection."""

    deadline: Deadline | None = None
    quiet: float | None = None
    connected: bool = False


_now = _Now()


class _Reader(io.RawIOBase):
    """A socket's bytes, where each wait is cut to what is left of the whole call's time."""

    def __init__(self, sock: socket.socket, connection: _Kept) -> None:
        self._sock = sock
        # Holds the socket open while the answer is read, as http.client relies on.
        self._hold = sock.makefile("rb", buffering=0)
        self._connection = connection
        self._deadline = _now.deadline
        self.ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._deadline is not None:
            left = self._deadline.remaining()
            if _now.quiet is not None:
                left = min(left, _now.quiet)
            if left <= 0.0:
                raise TimeoutError("the deadline passed")
            self._sock.settimeout(left if left < FOREVER_SECONDS else None)
        count = self._sock.recv_into(buffer)
        self._connection.used = time.monotonic()
        if not count:
            self.ended = True
        return count

    def close(self) -> None:
        self._hold.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """An answer whose head has to be whole: http.client takes a closed connection for its end."""

    def __init__(self, source: _Source, **options: Any) -> None:
        self._reader = source.reader
        super().__init__(source, **options)  # type: ignore[arg-type]  # it calls makefile only

    def begin(self) -> None:
        super().begin()
        if self._reader.ended:
            raise http.client.RemoteDisconnected("the connection was closed within the head")


class _Source:
    """What http.client takes for a socket: all that it asks of it is a file."""

    def __init__(self, reader: _Reader) -> None:
        self.reader = reader

    def makefile(self, *_mode: Any) -> io.BufferedReader:
        return io.BufferedReader(self.reader)


class _Kept:
    """A kept-alive connection: checked before each reuse, too old after some idle seconds."""

    used = 0.0
    sock: socket.socket | None
    _held: list[bytes] | None = None

    @property
    def is_connected(self) -> bool:
        fresh = time.monotonic() - self.used < IDLE_SECONDS
        return fresh and bool(super().is_connected)  # type: ignore[misc]  # of the class beside it

    def connect(self) -> None:
        _now.connected = False
        super().connect()  # type: ignore[misc]
        self._connected()

    def request(self, *args: Any, **options: Any) -> None:
        if self.sock is not None:
            self._connected()
        self._held = []
        try:
            super().request(*args, **options)  # type: ignore[misc]
            self._let_go()
        finally:
            self._held = None

    def send(self, data: Any) -> None:
        """Keep a head back until its body is there: one packet, and one wake-up of the server."""
        held = self._held
        if held is None or self.sock is None or not isinstance(data, bytes):
            super().send(data)  # type: ignore[misc]
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
            super().send(data)  # type: ignore[misc]

    def _connected(self) -> None:
        """From here on it is the call's deadline that counts, also while sending."""
        _now.connected = True
        if _now.deadline is not None and self.sock is not None:
            left = _now.deadline.remaining()
            limit = max(left, 0.001) if left < FOREVER_SECONDS else None
            self.sock.settimeout(limit)
            self.timeout = limit


def _answer_from(connection: _Kept, sock: socket.socket, **options: Any) -> _Response:
    """Stand in for a connection's class of answers, which http.client calls with a socket."""
    return _Response(_Source(_Reader(sock, connection)), **options)


class _Plain(_Kept, HTTPConnection):
    response_class = _answer_from  # type: ignore[assignment]  # called, not derived from


class _Secure(_Kept, HTTPSConnection):
    response_class = _answer_from  # type: ignore[assignment]  # called, not derived from


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _Secure


_POOLS = {"http": _PlainPool, "https": _SecurePool}


class _Adapter(HTTPAdapter):
    """requests' owner of pools and proxies, with connections of ours."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **options)
        manager.pool_classes_by_scheme = _POOLS
        return manager


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
        self._pools: dict[str, tuple[HTTPConnectionPool, bool]] = {}

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
        """
        response = self._open(send)
        try:
            if send.quiet is None:
                body = response.read()
            else:
                _now.quiet = send.quiet
                body = b"".join(self._until_quiet(response))
        except ReadTimeoutError as error:
            raise ReadTimedOut from error
        except DecodeError as error:
            raise NotHttp("its body is not encoded as its head says") from error
        except (HTTPError, OSError, http.client.HTTPException) as error:
            raise CutShort(str(error)) from error
        finally:
            _now.deadline = _now.quiet = None
            # Whole answers went back into the pool by themselves; from others nothing can follow.
            response.release_conn() if _is_whole(response) else response.close()
        return Reply(response.status, Headers(response.headers.iteritems()), body)

    def stream(self, send: Send) -> Generator[Reply | bytes, None, None]:
        """Give the reply's head, then the body's pieces as they come; a cut is their end."""
        response = self._open(send)
        deadline = _now.deadline
        try:
            yield Reply(
                response.status,
                Headers(response.headers.iteritems()),
                call_id=send.request.headers.get(CALL_ID),
            )
            pieces = _pieces(response)
            while True:
                _now.deadline = deadline
                try:
                    piece = next(pieces, b"")
                except (HTTPError, OSError, http.client.HTTPException):
                    return
                if not piece:
                    return
                yield piece
        finally:
            _now.deadline = None
            response.close()

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

    def _open(self, send: Send) -> BaseHTTPResponse:
        request = send.request
        pool, target = self._pool_for(request.path)
        headers = self._access.headers_for(request)
        left = send.deadline.remaining()
        if left <= 0.0:
            raise ReadTimedOut
        _now.deadline = send.deadline
        _now.connected = False
        connect = min(send.connect_timeout, left)
        try:
            return pool.urlopen(
                request.method,
                target,
                request.body,
                headers,
                _NO_RETRIES,
                redirect=False,
                assert_same_host=False,
                timeout=_Limits(connect, left if left < FOREVER_SECONDS else None),
                preload_content=False,
            )
        except BaseException as error:
            _now.deadline = None
            if isinstance(error, (HTTPError, OSError, http.client.HTTPException)):
                raise _translated(error, connected=_now.connected) from error
            raise

    def _pool_for(self, path: str) -> tuple[HTTPConnectionPool, str]:
        """Return the pool that leads to a path's host, and what to ask for there."""
        access = self._access
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

    def _make_pool(self, origin: str) -> tuple[HTTPConnectionPool, bool]:
        parts = urlsplit(origin)
        host, scheme = parts.hostname or "", parts.scheme
        port = parts.port or (443 if scheme == "https" else 80)
        proxy = self._route.proxy(scheme, host, port)
        needs_tls = scheme == "https" or (proxy or "").lower().startswith("https:")
        options = {"ssl_context": self._route.tls()} if needs_tls else {}
        with self._lock:
            if self._adapter is None:
                self._adapter = _Adapter(pool_connections=8, pool_maxsize=POOL_SIZE)
            manager = self._adapter.poolmanager
            if proxy is not None:
                if scheme == "http" and needs_tls:
                    options = {"proxy_ssl_context": options["ssl_context"]}
                manager = self._adapter.proxy_manager_for(proxy)
            pool = manager.connection_from_host(host, port, scheme, pool_kwargs=options or None)
            found = pool, proxy is not None and scheme == "http"
            self._pools[origin] = found
        return found

    def _until_quiet(self, response: BaseHTTPResponse) -> Iterator[bytes]:
        try:
            yield from _pieces(response)
        except (HTTPError, OSError, http.client.HTTPException):
            # Quiet, cut by the gateway's limit of time, or past the deadline: the end, all three.
            return


def _pieces(response: BaseHTTPResponse) -> Iterator[bytes]:
    if getattr(response, "chunked", False):
        yield from response.read_chunked(decode_content=True)
        return
    while piece := response.read1(PIECE_BYTES):
        yield piece


def _is_whole(response: BaseHTTPResponse) -> bool:
    return bool(response.closed) or response.connection is None


def _translated(error: Exception, *, connected: bool) -> TransportError:
    """Say by one of our own kinds what urllib3 met before the head of an answer was there."""
    cause = error.args[1] if isinstance(error, ProtocolError) and len(error.args) > 1 else error
    if isinstance(error, ProxyError):
        return ConnectFailed(f"the proxy does not let through: {_reason(error.original_error)}")
    if not connected:
        return _not_connected(error, cause)
    if isinstance(error, ReadTimeoutError) or isinstance(cause, TimeoutError):
        return ReadTimedOut()
    if isinstance(cause, OSError):
        return NoAnswer(_reason(cause))
    if isinstance(error, SSLError):
        return NoAnswer(_reason(error))
    if isinstance(cause, http.client.IncompleteRead):
        return NoAnswer("the connection was closed within the head")
    return NotHttp(_garbage(cause))


def _not_connected(error: Exception, cause: object) -> TransportError:
    if isinstance(error, NameResolutionError):
        return ConnectFailed("its host has no address")
    if isinstance(error, NewConnectionError):
        why = error.__cause__
        return ConnectFailed(_reason(why), refused=isinstance(why, ConnectionRefusedError))
    if isinstance(error, (ConnectTimeoutError, ReadTimeoutError)) or isinstance(
        cause, TimeoutError
    ):
        return ConnectTimedOut()
    if isinstance(error, SSLError):
        return TlsFailed(_reason(error.args[0] if error.args else error))
    return ConnectFailed(_reason(cause))


def _reason(error: object) -> str:
    """Give an error's reason as a clause, without addresses of objects."""
    from away.names import printable

    for name in ("verify_message", "reason", "strerror"):
        text = getattr(error, name, None)
        if isinstance(text, str) and text:
            return printable(text.replace("_", " ") if text.isupper() else text).lower()
    return printable(str(error))[:200] or type(error).__name__


def _garbage(error: object) -> str:
    from away.names import printable

    if isinstance(error, http.client.BadStatusLine):
        return f"it begins with {printable(str(error).strip())[:60]!r}"
    return printable(str(error))[:100] or type(error).__name__
