"""The blocking driver: pumps conversations over the connection pools of a requests adapter.

It goes past ``requests.Session`` and past urllib3's own round of a request, which between them cost
more than the request itself: pools, proxies and TLS are theirs, and an answer is read by http.client.
Importing this module imports requests and urllib3: do it at the first request. What a conversation
decides is not decided here.
"""

from __future__ import annotations

import http.client
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar

from urllib3.exceptions import ClosedPoolError

from away.connection.answers import (
    MAX_ANSWER_BYTES,
    MAX_REFUSAL_BYTES,
    POURED,
    SinkFailed,
    check_answered,
    decoded,
)
from away.connection.kept_connections import IDLE_SECONDS, PIECE_BYTES
from away.connection.messages import CALL_ID, PROTOCOL_HEADER, Headers, Reply, Send
from away.connection.pools import Adapter, at_work, cut
from away.connection.route import host_of
from away.connection.transport_errors import (
    ConnectFailed,
    CutShort,
    ReadTimedOut,
    TransportError,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from away.connection.access import Access
    from away.connection.kept_connections import Response
    from away.connection.messages import Conversation
    from away.connection.pools import Pool
    from away.connection.route import Route

__all__ = ["IDLE_SECONDS", "SyncDriver", "cut"]

T = TypeVar("T")

# More connections than this are closed after their call.
POOL_SIZE = 128


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
        self._adapter: Adapter | None = None
        # "scheme://host:port" → its pool, and whether whole URLs are asked for (a plain proxy)
        self._pools: dict[str, tuple[Pool, bool]] = {}

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
        into, most = send.request.into, send.request.most or MAX_ANSWER_BYTES
        try:
            if send.quiet is not None:
                connection.quiet = send.quiet
                body = b"".join(_until_quiet(response))
            elif into is None:
                body = response.whole(most)
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
            body = decoded(body, encoding, most)
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
        at_work.clear()

    def _open(self, send: Send) -> tuple[Pool, Any, Response]:
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

    def _pool_for(self, path: str) -> tuple[Pool, str]:
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

    def _make_pool(self, origin: str) -> tuple[Pool, bool]:
        scheme, host, port = host_of(origin)
        proxy = self._route.proxy(scheme, host, port)
        tls = {"ssl_context": self._route.tls()} if scheme == "https" else {}
        with self._lock:
            if self._adapter is None:
                self._adapter = Adapter(pool_connections=8, pool_maxsize=POOL_SIZE)
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
