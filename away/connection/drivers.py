"""The drivers of one connection: made when first needed, closed together, left alone after a fork.

Which of them pumps a conversation is the connection's to say, and what is said to the gateway is the
conversation's.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING

from away.connection.catalogue import renew_after_fork
from away.hidden_modules import refuse_if_hidden

if TYPE_CHECKING:
    from away.connection.access import Access
    from away.connection.aio import AioDriver
    from away.connection.route import Route
    from away.connection.sync import SyncDriver
    from away.connection.workers import Workers

__all__ = ["Drivers"]


class Drivers:
    """What pumps the conversations of one connection.

    Args:
        access: The gateway's URL and login.

    Attributes:
        sync: Pumps them in the calling thread; None until it is made.
        aio: Pumps them on the running event loop; None until it is made.
        workers: Threads that have them for others; None until they are made.
    """

    __slots__ = ("__weakref__", "_access", "_lock", "_route", "aio", "sync", "workers")

    def __init__(self, access: Access) -> None:
        self._access = access
        self._lock = threading.Lock()  # guards the making of what follows
        self._route: Route | None = None
        self.sync: SyncDriver | None = None
        self.aio: AioDriver | None = None
        self.workers: Workers | None = None
        _of_all_connections.add(self)

    def make_sync(self, ca_bundle: str | None) -> SyncDriver:
        """Return the sync driver, made unless another thread has just made it."""
        # Imported before the lock is taken: an import may wait for another thread's.
        try:
            from away.connection.sync import SyncDriver
        except (ImportError, AttributeError):
            refuse_if_hidden()
            raise
        with self._lock:
            if self.sync is None:
                _watch_forks()
                self.sync = SyncDriver(self._access, self._the_route(ca_bundle))
            return self.sync

    def make_aio(self, ca_bundle: str | None) -> AioDriver:
        """Return the async driver, made unless another thread has just made it."""
        try:
            from away.connection.aio import AioDriver
        except (ImportError, AttributeError):
            refuse_if_hidden()
            raise
        with self._lock:
            if self.aio is None:
                _watch_forks()
                self.aio = AioDriver(self._access, self._the_route(ca_bundle))
            return self.aio

    def make_workers(self) -> Workers:
        """Return the threads, made unless another thread has just made them."""
        from away.connection.workers import Workers

        with self._lock:
            if self.workers is None:
                self.workers = Workers()
            return self.workers

    def _the_route(self, ca_bundle: str | None) -> Route:
        if self._route is None:
            from away.connection.route import Route

            self._route = Route(ca_bundle)
        return self._route

    def close(self) -> None:
        """Close what is open of each; they open anew when they are used again."""
        if self.workers is not None:
            self.workers.close()
        if self.sync is not None:
            self.sync.close()
        if self.aio is not None:
            self.aio.close()

    def abandon(self) -> None:
        """Leave all that is open to the parent, in a forked child."""
        if self.aio is not None:
            self.aio.abandon()
        if self.sync is not None:
            self.sync.abandon()
        self._lock = threading.Lock()


_of_all_connections: weakref.WeakSet[Drivers] = weakref.WeakSet()
_forks_watched = False


def _watch_forks() -> None:
    """Have a forked child leave its parent's connections alone; done once, at the first driver."""
    global _forks_watched
    if not _forks_watched and hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_after_fork)
        _forks_watched = True


def _after_fork() -> None:
    renew_after_fork()
    for drivers in list(_of_all_connections):
        drivers.abandon()
