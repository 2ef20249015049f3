"""The thread in which the workers of a sync map have an event loop of their own, while it iterates.

It begins with the first result that is asked for and has ended, with its connections, when the
iteration has: by its end, an error, Ctrl-C, ``close()``, or since nobody holds the iterator any more.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from away.mapping.order import Order
from away.mapping.workers import Workers

if TYPE_CHECKING:
    from away.functions import RemoteFunction
    from away.mapping.pace import Pace
    from away.mapping.workers import Piece

__all__ = ["Background", "Crashed"]

# The end takes some milliseconds; who pressed Ctrl-C waits no longer than this for what hangs, such
# as a resolver of names, which then ends by itself.
_END_SECONDS = 0.8


class Crashed:
    """What the thread says in place of results when it can give no more."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


class Background:
    """Workers in a thread.

    Args:
        function: What they call.
        pace: Chooses sizes; read here and there.
        ordered: Whether results keep the order of their inputs.
        batches: Whether calls may go in batches.
        stop_at_error: Whether nothing is begun behind a call that raised.

    Attributes:
        results: Lists of results, or a :class:`Crashed`.
    """

    def __init__(
        self,
        function: RemoteFunction[Any, Any],
        pace: Pace,
        *,
        ordered: bool,
        batches: bool,
        stop_at_error: bool,
    ) -> None:
        self.results: SimpleQueue[list[Any] | Crashed] = SimpleQueue()
        self._function = function
        self._pace = pace
        self._options: dict[str, Any] = {"batches": batches, "stop_at_error": stop_at_error}
        self._order = Order(ordered)
        # What has come since the loop's last turn, to wake the reader once for all of it.
        self._come: list[Any] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._workers: Workers | None = None
        self._stop: asyncio.Event | None = None
        self._begun = threading.Event()
        self._process = os.getpid()
        self._thread = threading.Thread(target=self._live, name="away-map", daemon=True)

    def start(self) -> None:
        """Begin, and return once the workers are there."""
        # Imported here and now: on the loop, workers would wait for it.
        _ = self._function.connection.aio_driver
        # A daemon, so that an iterator that nobody closes keeps no program from ending; this is
        # called as the program ends, while threads still run.
        atexit.register(self.stop)
        self._thread.start()
        self._begun.wait()

    def put(self, pieces: list[Piece], is_all: bool) -> None:
        """Give further inputs to the workers.

        Raises:
            RuntimeError: This is a forked child, where the thread is not.
        """
        if os.getpid() != self._process:
            raise RuntimeError(
                "this map was begun before the process forked, and its results reach the parent"
                " alone; call map in the child anew"
            )
        if self._loop is not None and self._workers is not None:
            self._loop.call_soon_threadsafe(self._workers.put, pieces, is_all)

    def stop(self) -> None:
        """End the workers and the thread; what is under way is broken off."""
        atexit.unregister(self.stop)
        if os.getpid() != self._process or self._loop is None:
            return
        assert self._stop is not None, "a loop that runs can be stopped"
        try:
            self._loop.call_soon_threadsafe(self._stop.set)
        except RuntimeError:
            pass  # the loop has ended already
        if threading.current_thread() is not self._thread:
            self._thread.join(_END_SECONDS)

    # ------------------------------------------------------------ in the thread

    def _live(self) -> None:
        try:
            asyncio.run(self._work())
        except BaseException as error:  # the reader must hear of it, whatever it is
            self.results.put(Crashed(error))
        finally:
            self._begun.set()

    async def _work(self) -> None:
        self._stop = asyncio.Event()
        self._workers = Workers(
            self._function, self._pace, deliver=self._deliver, fail=self._fail, **self._options
        )
        self._loop = asyncio.get_running_loop()
        self._begun.set()
        try:
            await self._stop.wait()
        finally:
            await self._workers.close()
            await self._function.connection.aio.close()

    def _deliver(self, start: int, results: list[Any]) -> None:
        ready = self._order.add(start, results)
        if ready:
            if not self._come:
                assert self._loop is not None, "workers work on the loop"
                self._loop.call_soon(self._hand_over)
            self._come += ready

    def _hand_over(self) -> None:
        come, self._come = self._come, []
        self.results.put(come)

    def _fail(self, error: BaseException) -> None:
        self.results.put(Crashed(error))
