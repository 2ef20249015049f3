"""Threads of which one, the leader, waits for all connections and answers what is quick itself.

A thread a connection costs each call several changes of the interpreter's lock between threads,
which take longer than a quick function; one loop for all would stand still under a function that
waits. So the leader answers by itself as long as calls are quick, and gives the lead to another
thread before whatever may take time: a function that was slow lately, a client that sends slowly.
Where a call turns out slow, a watcher takes the lead from it.
"""

from __future__ import annotations

import select
import sys
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from away.runtime.output import log

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Lead"]

# The leader is relieved once it is at the same piece of work at two of the watcher's looks: other
# calls wait no longer than for the interpreter's own switch of threads, which takes as long.
_LOOK_SECONDS = 0.005
# So many looks at which nothing happened send the watcher to sleep: an idle container stays idle.
_QUIET_LOOKS = 200
# Calls longer than this, in the mean of the last ones, are begun with the lead given away: that
# costs some 20 µs, and calls that wait for something then wait side by side.
_QUICK_SECONDS = 0.000_25
# How much of the mean is the last call, and the most that it counts for: the machine may have been
# busy elsewhere.
_WEIGHT = 1 / 16
_MOST_SECONDS = 4 * _QUICK_SECONDS
# Threads kept for the next slow call.
_MOST_SPARE = 12
_EVENTS = 64


class Lead:
    """Wait for connections to become readable, each once, and serve them.

    Args:
        serve: Called with a readable descriptor, from one thread at a time for each; what it wants
            to hear of again it hands to :meth:`wait_again`.
    """

    def __init__(self, serve: Callable[[int], None]) -> None:
        self._serve = serve
        self._selector: _Epoll | _Kqueue = _Epoll() if sys.platform == "linux" else _Kqueue()
        # what the selector gave out and no thread has taken yet
        self._ready: deque[int] = deque()
        self._leader = _Worker()
        self._spare: list[_Worker] = []
        # guards who leads, and _spare
        self._handing = threading.Lock()
        # set while the watcher looks
        self._watched = threading.Event()
        self._watcher: threading.Thread | None = None
        # Slow until shown otherwise: the first calls may wait for the function to be loaded.
        self._mean = _MOST_SECONDS

    def start(self) -> None:
        """Begin, in threads of their own."""
        self._start(self._leader)

    def wait_for(self, descriptor: int) -> None:
        """Serve a descriptor that is new here once it is readable."""
        self._selector.add(descriptor)

    def wait_again(self, descriptor: int) -> None:
        """Serve a descriptor once more."""
        self._selector.again(descriptor)

    def step_back(self) -> None:
        """Give the lead to another thread if this one has it, since it may wait for long now."""
        leader = self._leader
        if leader.thread == threading.get_ident():
            self._relieve(leader)

    def took(self, seconds: float) -> None:
        """Take note of how long a call took."""
        self._mean += (min(seconds, _MOST_SECONDS) - self._mean) * _WEIGHT

    def close(self) -> None:
        """Let go of the selector, in a child of this process."""
        self._selector.close()

    def _start(self, worker: _Worker) -> None:
        threading.Thread(target=self._work, args=(worker,), name="away-call", daemon=True).start()

    def _work(self, worker: _Worker) -> None:
        worker.thread = threading.get_ident()
        while True:
            self._lead(worker)
            with self._handing:
                if len(self._spare) >= _MOST_SPARE:
                    return
                self._spare.append(worker)
            worker.wake.acquire()

    def _lead(self, worker: _Worker) -> None:
        """Serve what is ready, as long as no other thread leads."""
        ready, serve = self._ready, self._serve
        while self._leader is worker:
            try:
                descriptor = ready.popleft()
            except IndexError:
                self._take(self._selector.wait(), worker)
                continue
            worker.steps += 1
            if self._mean > _QUICK_SECONDS:
                self._relieve(worker)
            elif not self._watched.is_set():
                self._watch_again()
            try:
                serve(descriptor)
            finally:
                worker.steps += 1

    def _take(self, found: list[int], worker: _Worker) -> None:
        with self._handing:
            if self._leader is worker:
                self._ready.extend(found)
                return
        # Relieved meanwhile: the new leader waits by itself, and does not look at what lies here.
        for descriptor in found:
            self._selector.again(descriptor)

    def _relieve(self, leader: _Worker) -> None:
        """Let another thread lead; where none can be had, the leader goes on."""
        with self._handing:
            if self._leader is not leader:
                return
            if self._spare:
                self._leader = self._spare.pop()
                self._leader.wake.release()
                return
            self._leader = _Worker()
            try:
                self._start(self._leader)
            except RuntimeError as error:
                self._leader = leader
                log(f"away: calls wait for each other, no thread can be started: {error}")

    def _watch_again(self) -> None:
        self._watched.set()
        if self._watcher is None:
            self._watcher = threading.Thread(target=self._watch, name="away-watch", daemon=True)
            try:
                self._watcher.start()
            except RuntimeError:
                self._watcher = None
                self._watched.clear()

    def _watch(self) -> None:
        """Relieve a leader that is kept by what it does."""
        seen: tuple[_Worker, int] | None = None
        quiet = 0
        while True:
            time.sleep(_LOOK_SECONDS)
            leader = self._leader
            now = (leader, leader.steps)
            if now != seen:
                seen, quiet = now, 0
            elif leader.steps % 2:
                self._relieve(leader)
            else:
                quiet += 1
                if quiet > _QUIET_LOOKS:
                    quiet = 0
                    self._watched.clear()
                    # Whoever began before it was cleared has not seen that it is.
                    if (self._leader, self._leader.steps) == now:
                        self._watched.wait()


class _Worker:
    """A thread, as the others see it."""

    def __init__(self) -> None:
        self.thread = 0
        # how often it began and ended a piece of work: odd while it is at one
        self.steps = 0
        self.wake = threading.Lock()
        self.wake.acquire()


class _Epoll:
    """Linux's way to wait for many descriptors; each is given out once and then waited for anew."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._what = select.EPOLLIN | select.EPOLLONESHOT

    def add(self, descriptor: int) -> None:
        self._epoll.register(descriptor, self._what)

    def again(self, descriptor: int) -> None:
        self._epoll.modify(descriptor, self._what)

    def wait(self) -> list[int]:
        return [descriptor for descriptor, _ in self._epoll.poll(-1, _EVENTS)]

    def close(self) -> None:
        self._epoll.close()


class _Kqueue:
    """The same where a function's process runs on macOS, with the embedded gateway."""

    def __init__(self) -> None:
        self._queue = select.kqueue()  # type: ignore[attr-defined,unused-ignore]

    def add(self, descriptor: int) -> None:
        flags = select.KQ_EV_ADD | select.KQ_EV_ONESHOT  # type: ignore[attr-defined,unused-ignore]
        event = select.kevent(descriptor, select.KQ_FILTER_READ, flags)  # type: ignore[attr-defined,unused-ignore]
        self._queue.control([event], 0)

    again = add

    def wait(self) -> list[int]:
        return [event.ident for event in self._queue.control(None, _EVENTS)]

    def close(self) -> None:
        self._queue.close()
