"""Pools of the blocking driver's connections: who has which, how each is opened, and what broke it.

Pools, proxies and TLS are urllib3's, owned by a requests adapter. Importing this module imports both.
"""

from __future__ import annotations

import http.client
import queue
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
)

from away.connection.kept_connections import Plain, Secure
from away.connection.messages import QUIET_HEAD_SECONDS
from away.connection.transport_errors import (
    ConnectFailed,
    ConnectTimedOut,
    NoAnswer,
    NotHttp,
    ReadTimedOut,
    Silent,
    TlsFailed,
)
from away.names import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from away.connection.kept_connections import Response
    from away.connection.messages import Send
    from away.connection.transport_errors import TransportError

__all__ = ["Adapter", "Pool", "at_work", "cut"]

# The connection that each thread uses now, so that another one can cut it off.
at_work: dict[int, Any] = {}


def cut(threads: Iterable[int]) -> None:
    """End what some threads wait for, as if the other side had hung up.

    Args:
        threads: Their identities, as :func:`threading.get_ident` gives them.
    """
    import socket

    for each in threads:
        sock = getattr(at_work.get(each), "sock", None)
        if sock is not None:
            try:
                # Of the plain socket: TLS's own would take its state away from under the reader.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
            except OSError:
                pass  # it has ended by itself


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


class Pool(HTTPConnectionPool):
    """Connections to one host, with a shorter round of a request than urllib3's ``urlopen``."""

    ConnectionCls = Plain
    QueueCls = _Idle

    def open(
        self, send: Send, target: str, headers: Any, confirm: Callable[[], None] | None = None
    ) -> tuple[Any, Response]:
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
        at_work[threading.get_ident()] = connection
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
        at_work.pop(threading.get_ident(), None)
        kept = self.pool
        if not whole or (kept is not None and kept.full()):
            connection.close()
        if kept is None or not kept.full():
            self._put_conn(connection)


class _SecurePool(Pool, HTTPSConnectionPool):
    ConnectionCls = Secure  # type: ignore[assignment]  # as in urllib3's own pair of pools


_POOLS = {"http": Pool, "https": _SecurePool}


class Adapter(HTTPAdapter):
    """requests' owner of pools and proxies, with pools of ours."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Make the owner of pools to hosts that no proxy leads to."""
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        """Return the owner of pools through a proxy."""
        manager = super().proxy_manager_for(proxy, **options)
        manager.pool_classes_by_scheme = _POOLS
        return manager


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
