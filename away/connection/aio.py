"""The asynchronous driver: pumps the same conversations over one aiohttp session a running loop.

Importing this module imports asyncio and aiohttp: do it at the first request. What a conversation
decides is not decided here.
"""

# ruff: noqa: ASYNC109  # aiohttp names the parameter of a method that is overridden
from __future__ import annotations

import asyncio
import contextlib
import io
import select
import threading
import weakref
from typing import TYPE_CHECKING, Any, TypeVar

import aiohttp
from yarl import URL

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
    WrongAnswer,
)
from away.names import printable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable

    from aiohttp.client_reqrep import ClientRequest
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace
    from multidict import CIMultiDictProxy

    from away.connection.access import Access
    from away.connection.lanes import Lane
    from away.connection.messages import Conversation, Sink
    from away.connection.route import Route

__all__ = ["AioDriver"]

T = TypeVar("T")

# As in the blocking driver: servers close idle connections after 5 s or more.
IDLE_SECONDS = 4.0
# aiohttp's own limit of 100 open connections; further calls wait for one within their deadline.
MAX_CONNECTIONS = 100
# http.client's limit for a line; a gateway's Location or a function's cookie passes 8 kB at times.
MAX_LINE_BYTES = 65536
KEPT_PLACES = 512
# aiohttp writes bytes in one go, and warns beyond 1 MiB that this stops the loop; files go by pieces.
WRITTEN_BYTES = 1 << 20
# A deadline beyond it is none; aiohttp rounds up above its threshold, which ours never are.
FOREVER_SECONDS = 1e9
# aiohttp would name a type for every body of bytes; requests does not.
_NO_TYPE = ("Content-Type",)


class _Connector(aiohttp.TCPConnector):
    """A pool that looks at a kept-alive connection before it is used again."""

    def __init__(self, access: Access, **options: Any) -> None:
        super().__init__(**options)
        self._access = access
        # id → transport, what asks its descriptor, and whether the embedded gateway was seen to live
        # once it was open; swept of closed ones when it has grown.
        self.known: dict[int, tuple[asyncio.BaseTransport, Callable[[], bool], bool]] = {}

    async def connect(
        self, req: ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        access = self._access
        ours = access.announced and "Authorization" in req.headers
        # Another's login, such as a registry's, is no business of the gateway's.
        confirm = ours and access.is_server(str(req.url.origin()))
        while True:
            connection = await super().connect(req, traces, timeout)
            transport = connection.transport
            if transport is None:
                return connection
            known = self.known.get(id(transport))
            if known is None:
                if confirm:
                    try:
                        self._access.confirm()
                    except BaseException:
                        connection.close()
                        raise
                self._learn(transport, confirm)
                return connection
            if confirm and not known[2]:
                connection.close()
                continue
            if not known[1]():
                return connection
            # The server closed it, or said something out of turn: let the loop read what it is.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            transport = connection.transport
            if transport is not None and not transport.is_closing():
                return connection
            connection.close()

    def _learn(self, transport: asyncio.BaseTransport, confirmed: bool) -> None:
        if len(self.known) >= 2 * MAX_CONNECTIONS:
            self.known = {key: it for key, it in self.known.items() if not it[0].is_closing()}
        self.known[id(transport)] = transport, _readable(transport), confirmed

    def __del__(self, *_: Any) -> None:
        """Say nothing: sessions are disposed of by their loop's end or by :func:`_dispose`."""


def _readable(transport: asyncio.BaseTransport) -> Callable[[], bool]:
    """Return what tells whether there is something to read, as there is on a closed connection."""
    sock = transport.get_extra_info("socket")
    if sock is None:
        return lambda: True
    descriptor = sock.fileno()
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return lambda: bool(poll.poll(0))
    return lambda: bool(select.select([descriptor], [], [], 0)[0])


class _LoopSession:
    """One loop's session, with the generator by which the loop closes it."""

    def __init__(self, access: Access) -> None:
        self.connector = _Connector(access, limit=MAX_CONNECTIONS, keepalive_timeout=IDLE_SECONDS)
        self.session = aiohttp.ClientSession(
            connector=self.connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            max_line_size=MAX_LINE_BYTES,
            max_field_size=MAX_LINE_BYTES,
            trust_env=False,
            auto_decompress=False,
            requote_redirect_url=False,
        )
        # aiohttp would send GET, PUT and DELETE again by itself when a kept-alive connection ends
        # without an answer; its test client switches that off by the same attribute.
        self.session._retry_connection = False  # noqa: SLF001
        self.life = self._live()

    async def _live(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            await self.session.close()
            for _ in range(3):
                # Transports tell their end by call_soon; TLS needs one turn more.
                await asyncio.sleep(0)


class AioDriver:
    """Pump conversations on the running event loop; safe for several loops, also one by one.

    Args:
        access: The gateway's URL and login.
        route: Proxies and trust.
    """

    def __init__(self, access: Access, route: Route) -> None:
        self._access = access
        self._route = route
        self._lock = threading.Lock()  # guards _sessions
        self._sessions: dict[asyncio.AbstractEventLoop, _LoopSession] = {}
        # path → whole URL, proxy, what TLS is checked by
        self._places: dict[str, tuple[URL, str | None, Any]] = {}
        weakref.finalize(self, _dispose_all, self._sessions)

    async def run(self, conversation: Conversation[T], lane: Lane | None = None) -> T:
        """Pump a conversation to its end and return what it returns.

        Args:
            conversation: What is to be said.
            lane: What requests go through that it can carry, one at a time; see :meth:`lane`.
        """
        try:
            step = next(conversation)
            while True:
                if isinstance(step, Send):
                    try:
                        if lane is not None and self._fits(step):
                            reply = await lane.send(step)
                        else:
                            reply = await self.send(step)
                    except TransportError as error:
                        step = conversation.throw(error)
                    except SinkFailed as stop:
                        step = conversation.throw(stop.error)
                    else:
                        step = conversation.send(reply)
                else:
                    await asyncio.sleep(step.seconds)
                    step = conversation.send(None)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            conversation.close()

    async def send(self, send: Send) -> Reply:
        """Send one request and read the whole answer.

        Raises:
            TransportError: One of its kinds says how far it came.
            SinkFailed: What was to take the body raised something.
        """
        response = await self._open(send)
        into, most = send.request.into, send.request.most or MAX_ANSWER_BYTES
        poured_out = False
        try:
            if send.quiet is not None:
                body = await _until_quiet(response, send.quiet)
            elif into is None:
                content = response.content
                body = await content.readany()
                if not content.at_eof():
                    body = await _whole(response, body, most)
            elif response.status in POURED:
                await _pour(response, into)
                body, poured_out = b"", True
            else:
                body = await _whole(response, b"", MAX_REFUSAL_BYTES)
            headers = response.headers
            if PROTOCOL_HEADER in headers:
                check_answered(send.request.headers.get(CALL_ID), _joined(headers, CALL_ID))
        except TimeoutError as error:
            raise ReadTimedOut from error
        except (aiohttp.ClientError, OSError) as error:
            raise CutShort(str(error)) from error
        except WrongAnswer:
            # The response gave its connection back as its last byte came.
            response._protocol.close()  # type: ignore[union-attr]  # noqa: SLF001
            raise
        finally:
            # One that was read to its end has given its connection back already.
            if not response.closed:
                response.close()
        if "Content-Encoding" in headers and not poured_out:
            body = decoded(body, ", ".join(headers.getall("Content-Encoding")), most)
        return Reply(response.status, Headers(headers.items()), body)

    def lane(self) -> Lane | None:
        """Make a connection of one's own for many calls; None where the gateway needs more than that.

        It belongs to the running loop, and whoever asked for it closes it.
        """
        base, proxy, _ = self._place("/function/")
        if base.scheme != "http" or proxy is not None or base.host is None or base.port is None:
            return None
        from away.connection.lanes import Lane

        return Lane(base.host, base.port, self._access.prefix, host_field(base))

    def _fits(self, send: Send) -> bool:
        """Tell whether a request is one for a lane: a plain call, without our login."""
        request = send.request
        return (
            send.quiet is None
            and request.into is None
            and request.auth is False
            and request.path.startswith("/")
            and (request.body is None or isinstance(request.body, bytes))
            and request.method == "POST"
        )

    async def stream(self, send: Send) -> AsyncGenerator[Reply | bytes, None]:
        """Give the reply's head, then the body's pieces as they come; a cut is their end."""
        response = await self._open(send)
        try:
            yield Reply(
                response.status,
                Headers(response.headers.items()),
                call_id=send.request.headers.get(CALL_ID),
            )
            while True:
                try:
                    piece = await response.content.readany()
                except (aiohttp.ClientError, OSError, TimeoutError):
                    return
                if not piece:
                    return
                yield piece
        finally:
            response.close()

    async def aclose(self) -> None:
        """Close the running loop's connections, and those of loops that ended."""
        loop = asyncio.get_running_loop()
        with self._lock:
            own = self._sessions.pop(loop, None)
        if own is not None:
            await own.life.aclose()
        self._sweep()

    def close(self) -> None:
        """Close all connections of all loops, as far as each loop lets us."""
        with self._lock:
            sessions = dict(self._sessions)
            self._sessions.clear()
        _dispose_all(sessions)

    def abandon(self) -> None:
        """Forget, in a forked child, all that belongs to the parent, without a word to the server."""
        self._lock = threading.Lock()
        sessions = list(self._sessions.values())
        self._sessions.clear()
        for session in sessions:
            _dispose(session)

    def _current(self) -> aiohttp.ClientSession | None:
        """Return the running loop's session, if it has one that is open."""
        found = self._sessions.get(asyncio.get_running_loop())
        return None if found is None or found.session.closed else found.session

    async def _begin(self) -> aiohttp.ClientSession:
        self._sweep()
        made = _LoopSession(self._access)
        # Begun here, the generator is known to the loop, whose shutdown_asyncgens() ends it;
        # asyncio.run calls that.
        await anext(made.life)
        with self._lock:
            self._sessions[asyncio.get_running_loop()] = made
        return made.session

    def _sweep(self) -> None:
        """Drop what loops left that were closed without shutdown_asyncgens()."""
        with self._lock:
            ended = [loop for loop in self._sessions if loop.is_closed()]
            sessions = [self._sessions.pop(loop) for loop in ended]
        for session in sessions:
            _dispose(session)

    async def _open(self, send: Send) -> aiohttp.ClientResponse:
        request = send.request
        base, proxy, tls = self._place(request.path)
        session = self._current() or await self._begin()
        left = send.deadline.remaining()
        if left <= 0.0:
            raise ReadTimedOut
        limit = aiohttp.ClientTimeout(
            total=left if left < FOREVER_SECONDS else None,
            # A little less than the whole, so that it is seen which of the two was reached.
            sock_connect=min(send.connect_timeout, max(left - 0.01, 0.001)),
            sock_read=None if send.quiet is None else max(send.quiet, QUIET_HEAD_SECONDS),
            ceil_threshold=FOREVER_SECONDS,
        )
        body: Any = request.body
        if isinstance(body, bytes):
            if len(body) > WRITTEN_BYTES:
                body = io.BytesIO(body)
        elif body is not None:
            body = _stream_of(body)
        headers = self._access.headers_for(request)
        try:
            response = await session.request(
                request.method,
                base,
                data=body,
                headers=headers,
                skip_auto_headers=None if "Content-Type" in headers else _NO_TYPE,
                allow_redirects=False,
                timeout=limit,
                proxy=proxy,
                ssl=tls,
            )
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            failure = _translated(error)
            if send.quiet is not None and isinstance(failure, ReadTimedOut):
                raise Silent from error
            # aiohttp's own errors carry the request's headers and the proxy's URL, with the logins
            # in them: only what the operating system said is passed on.
            library = isinstance(error, aiohttp.ClientError)
            failure.__cause__ = getattr(error, "os_error", None) if library else error
        else:
            if response.status >= 200:
                return response
            response.close()
            failure = NotHttp("it changes to a protocol that nobody asked for")
        raise failure

    def _place(self, path: str) -> tuple[URL, str | None, Any]:
        """Return the URL of a path, the proxy to it and what TLS is checked by."""
        found = self._places.get(path)
        if found is None:
            whole = self._access.url_of(path)
            scheme, host, port = host_of(whole)
            url = URL(whole, encoded=True)
            proxy = self._route.proxy(scheme, host, port)
            secure = scheme == "https" or (proxy or "").lower().startswith("https:")
            if len(self._places) >= KEPT_PLACES:
                self._places = {}
            found = self._places[path] = url, proxy, self._route.tls() if secure else True
        return found


def host_field(url: URL) -> str:
    """Write a URL's host and port as the Host field has them, the usual port left out."""
    host = url.raw_host or ""
    host = f"[{host}]" if ":" in host else host
    return host if url.is_default_port() else f"{host}:{url.port}"


async def _stream_of(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def _whole(
    response: aiohttp.ClientResponse, begun: bytes, most: int = MAX_ANSWER_BYTES
) -> bytes:
    """Read the rest of a body of which some came already."""
    length = response.content_length
    if length is not None and length > most and response.method != "HEAD":
        raise TooLarge(f"it has {length} bytes, and {most} are read at most")
    pieces, count = [begun], len(begun)
    while piece := await response.content.readany():
        count += len(piece)
        if count > most:
            raise TooLarge(f"it has more than {most} bytes")
        pieces.append(piece)
    return b"".join(pieces)


async def _pour(response: aiohttp.ClientResponse, sink: Sink) -> None:
    """Hand a body over piece by piece, to its end."""
    poured(sink, Reply(response.status, Headers(response.headers.items())))
    while piece := await response.content.readany():
        poured(sink, piece)


def _joined(headers: CIMultiDictProxy[str], name: str) -> str | None:
    """Return all of a field that may stand there several times."""
    values = headers.getall(name, None)
    return None if values is None else ", ".join(values)


async def _until_quiet(response: aiohttp.ClientResponse, quiet: float) -> bytes:
    pieces = []
    # Quiet, cut by the gateway's limit of time, or past the deadline: the end, all three.
    with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
        while True:
            async with asyncio.timeout(quiet):
                piece = await response.content.readany()
            if not piece:
                break
            pieces.append(piece)
    return b"".join(pieces)


def _translated(error: BaseException) -> TransportError:
    """Say by one of our own kinds what aiohttp met before the head of an answer was there."""
    if isinstance(error, aiohttp.ClientHttpProxyError):
        # Its own text has the proxy's URL, log-in included.
        return ConnectFailed(f"the proxy does not let through: it answered {error.status}")
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return ConnectFailed(f"the proxy does not let through: {_reason(error.os_error)}")
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return TlsFailed(_reason(error.certificate_error))
    if isinstance(error, aiohttp.ClientSSLError):
        return TlsFailed(_reason(getattr(error, "os_error", error)))
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return ConnectFailed("its host has no address")
    if isinstance(error, aiohttp.ClientConnectorError):
        why = error.os_error
        return ConnectFailed(_reason(why), refused=_is_refused(why))
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return ConnectTimedOut()
    if isinstance(error, TimeoutError):
        return ReadTimedOut()
    if isinstance(error, aiohttp.ClientResponseError):
        return NotHttp(_one_line(error.message))
    if isinstance(error, aiohttp.InvalidURL):
        return ConnectFailed("its URL cannot be used")
    return NoAnswer(_reason(error))


def _is_refused(error: OSError) -> bool:
    if isinstance(error, ConnectionRefusedError):
        return True
    # Several addresses of one host: aiohttp joins their errors into one OSError without a class.
    return "refused" in str(error).lower() or "Connect call failed" in str(error)


def _reason(error: BaseException) -> str:
    for name in ("verify_message", "reason", "strerror"):
        text = getattr(error, name, None)
        if isinstance(text, str) and text:
            return printable(text.replace("_", " ") if text.isupper() else text).lower()
    return _one_line(str(error)) or type(error).__name__


def _one_line(text: str) -> str:
    return printable(" ".join(text.split()))[:200]


def _dispose_all(sessions: dict[asyncio.AbstractEventLoop, _LoopSession]) -> None:
    """Close sessions from outside of their loops: by the loop where it runs, else without it."""
    for loop, session in list(sessions.items()):
        if loop.is_running():
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(_close_later, loop, session)
                continue
        _dispose(session)
    sessions.clear()


_closing: set[asyncio.Task[None]] = set()


def _close_later(loop: asyncio.AbstractEventLoop, session: _LoopSession) -> None:
    task = loop.create_task(_aclose(session))
    _closing.add(task)
    task.add_done_callback(_closing.discard)


async def _aclose(session: _LoopSession) -> None:
    await session.life.aclose()


def _dispose(session: _LoopSession) -> None:
    """Close the sockets of a session whose loop can do nothing more for it, without warnings.

    Only descriptors are closed. The loop's selector is not told: it is closed, or shared with the
    parent of a forked child, whose connections must live on.
    """
    session.session.detach()
    for transport in [transport for transport, *_ in session.connector.known.values()]:
        inner: Any = transport
        protocol = getattr(inner, "_ssl_protocol", None)
        if protocol is not None:
            inner._closed = True  # noqa: SLF001  # asyncio has no public word for this
            inner = getattr(protocol, "_transport", None)
        sock = getattr(inner, "_sock", None)
        if sock is not None:
            inner._sock = None  # noqa: SLF001  # else its finalizer warns and closes again
            sock.close()
