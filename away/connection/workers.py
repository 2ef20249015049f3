"""Threads that have conversations for those who want a future instead of waiting.

They are started as they are needed, wait for more to do, and end with the connection that they are
for, or with the program: it waits for what was begun and what is queued, as it does for those of
:mod:`concurrent.futures`, unless Ctrl-C ended it. Then the connections of these threads are closed.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from away.connection.messages import Reply
from away.connection.watching import watched
from away.exceptions import AnswerLost

if TYPE_CHECKING:
    from collections.abc import Callable

    from away.connection import FaasConnection
    from away.connection.messages import Conversation, Send, Wait
    from away.connection.transport_errors import TransportError

__all__ = ["MOST_THREADS", "Workers"]

T = TypeVar("T")

# As many as calls that a map has in flight: more threads on one interpreter only get in each other's way.
MOST_THREADS = 64
# A call that was about to be sent as the others were cut is cut at the next look.
_LOOK_SECONDS = 0.02


class Workers:
    """A pool of threads, each with one conversation at a time.

    Args:
        most: How many threads there are at most; what is submitted beyond waits for one of them.
    """

    def __init__(self, most: int = MOST_THREADS) -> None:
        self._most = most
        self._lock = threading.Lock()  # guards the making and dropping of what follows
        self._crew: _Crew | None = None
        # crews that were closed and may not have ended
        self._leaving: weakref.WeakSet[_Crew] = weakref.WeakSet()
        _all.add(self)

    def submit(self, connection: FaasConnection, begin: Callable[[], Conversation[T]]) -> Future[T]:
        """Have a conversation in a thread.

        Args:
            connection: What pumps it.
            begin: Makes the conversation, in that thread.

        Returns:
            A future of what it returns or raises; it can be cancelled until the conversation begins,
            also while it is made.
        """
        with self._lock:
            if self._crew is None:
                self._crew = _Crew(self._most)
            return self._crew.submit(connection, begin)

    def close(self, *, wait: bool = True, cancel: bool = True, cut: bool = False) -> None:
        """End the threads. Used again, it starts new ones.

        Args:
            wait: Whether to return only when they have ended.
            cancel: Whether what has not begun is cancelled, and done otherwise.
            cut: Whether what runs is cut off, and waited for otherwise. What interrupts the waiting,
                such as Ctrl-C, cuts it off as well.
        """
        with self._lock:
            crew, self._crew = self._crew, None
        if crew is not None:
            self._leaving.add(crew)
            crew.close(wait=wait, cancel=cancel, cut=cut)

    def join(self) -> None:
        """Wait for threads that were closed without it; what interrupts the waiting cuts them off."""
        for crew in list(self._leaving):
            crew.close(wait=True, cancel=False, cut=False)

    def abandon(self) -> None:
        """Forget, in a forked child, the threads that only the parent has."""
        self._lock = threading.Lock()
        self._crew = None
        self._leaving = weakref.WeakSet()

    def end_with_the_program(self) -> None:
        """Cut off what runs, since nobody waits for it any more."""
        self.close(cut=True)


class _Crew:
    """The threads from their start to their end."""

    def __init__(self, most: int) -> None:
        self.threads: set[threading.Thread] = set()
        self._is_cut = threading.Event()
        # futures of what has not begun
        self._pending: weakref.WeakSet[Future[Any]] = weakref.WeakSet()
        # A thread keeps its initializer, which therefore keeps no crew: one that is dropped ends.
        self._pool = ThreadPoolExecutor(
            most, thread_name_prefix="away-call", initializer=_enlist, initargs=(self.threads,)
        )
        _watch_the_end()

    def submit(self, connection: FaasConnection, begin: Callable[[], Conversation[T]]) -> Future[T]:
        future: Future[T] = Future()
        self._pending.add(future)
        self._pool.submit(self._work, future, connection, begin).add_done_callback(
            lambda work: work.cancelled() and future.cancel()
        )
        return future

    def _work(
        self, future: Future[T], connection: FaasConnection, begin: Callable[[], Conversation[T]]
    ) -> None:
        """Have a conversation for a future, which is pending until it begins."""
        failed: BaseException | None = None
        if not future.cancelled():
            try:
                # It may publish a function first.
                conversation = begin()
            except BaseException as error:  # whatever it is, the future says it
                failed = error
        if not future.set_running_or_notify_cancel():
            return
        self._pending.discard(future)
        try:
            if failed is not None:
                raise failed
            future.set_result(self._have(connection, conversation))
        except BaseException as error:  # whatever it is, the future says it
            future.set_exception(error)
        finally:
            # As in concurrent.futures: an error's frames shall not keep its future.
            del future, failed

    def _have(self, connection: FaasConnection, conversation: Conversation[T]) -> T:
        def look(_step: Send | Wait, outcome: Reply | TransportError | None) -> None:
            if self._is_cut.is_set() and not isinstance(outcome, Reply):
                raise AnswerLost(
                    f"the connection to {connection.url} was closed here while a call of it ran; the"
                    " function may have run: look before repeating it",
                    gateway=connection.url,
                )

        return connection.run(watched(conversation, look))

    def close(self, *, wait: bool, cancel: bool, cut: bool) -> None:
        self._pool.shutdown(wait=False, cancel_futures=cancel)
        if cancel:
            for future in list(self._pending):
                future.cancel()
        try:
            if cut:
                self._cut()
            if wait:
                for thread in self._others():
                    thread.join()
        except BaseException:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._cut()
            raise

    def _others(self) -> list[threading.Thread]:
        """List the threads that can be waited for: a callback runs in one of them."""
        return [each for each in list(self.threads) if each is not threading.current_thread()]

    def _cut(self) -> None:
        self._is_cut.set()
        if "away.connection.sync" not in sys.modules:
            return  # nothing was sent by sockets yet
        from away.connection.sync import cut

        while living := [each for each in self._others() if each.is_alive()]:
            cut(each.ident for each in living if each.ident is not None)
            living[0].join(_LOOK_SECONDS)


def _enlist(threads: set[threading.Thread]) -> None:
    threads.add(threading.current_thread())


# All that live in this process, so that its end can reach them.
_all: weakref.WeakSet[Workers] = weakref.WeakSet()
_end_is_watched = False


def _watch_the_end() -> None:
    """Have forks and the end of the program reach the threads, before it waits for them; done once.

    Threads that are no daemons are waited for before :mod:`atexit` has its turn. The interpreter's own
    pool of threads is told by this function of :mod:`threading`, which has no public name; without it
    the program waits for what runs.
    """
    global _end_is_watched
    if _end_is_watched:
        return
    _end_is_watched = True
    register = getattr(threading, "_register_atexit", None)
    if register is not None:
        register(_after_ctrl_c)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_after_fork)


def _after_fork() -> None:
    for each in list(_all):
        each.abandon()


def _after_ctrl_c() -> None:
    if getattr(sys, "last_type", None) is KeyboardInterrupt:
        for each in list(_all):
            each.end_with_the_program()
