"""The one event loop of a runtime, in a thread of its own, for functions that are async.

asyncio costs as much start as all the rest, so this module imports it only when a loop is made.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from away.runtime.output import log

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable
    from contextvars import Context

__all__ = ["EventLoop"]


class EventLoop:
    """Run awaitables on one loop, from many threads; the loop starts with the first of them."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._starting = threading.Lock()

    def run(self, work: Callable[[], Awaitable[Any]], context: Context) -> Any:
        """Wait for a coroutine to end and return its value, or raise its exception.

        Args:
            work: Makes what is awaited; called on the loop.
            context: The call's context variables.
        """
        loop = self.start()
        done = threading.Lock()
        done.acquire()
        outcome: dict[str, Any] = {}

        async def guarded() -> None:
            # Nothing may leave a task: asyncio takes SystemExit and KeyboardInterrupt out of it
            # and through run_forever, which would end the loop under all other calls.
            try:
                outcome["value"] = await work()
            except BaseException as error:  # a foreign function runs here
                outcome["error"] = error

        def begin() -> None:
            # The loop keeps only weak references to tasks; this one is kept until it is done.
            task = outcome["task"] = loop.create_task(guarded(), context=context)
            task.add_done_callback(lambda _task: done.release())

        loop.call_soon_threadsafe(begin)
        done.acquire()
        if "value" in outcome:
            return outcome["value"]
        # A task cancelled before its first step has neither.
        raise outcome.get("error") or RuntimeError("the call was cancelled before it began")

    def start(self) -> asyncio.AbstractEventLoop:
        """Return the loop, started if it was not."""
        if self._loop is None:
            with self._starting:
                if self._loop is None:
                    import asyncio

                    loop = asyncio.new_event_loop()
                    threading.Thread(
                        target=_run_always, args=(loop,), name="away-event-loop", daemon=True
                    ).start()
                    self._loop = loop
        return self._loop


def _run_always(loop: asyncio.AbstractEventLoop) -> None:
    """Run a loop, also after a task of the function's own ended it with SystemExit or stop()."""
    import asyncio

    asyncio.set_event_loop(loop)
    while not loop.is_closed():
        try:
            loop.run_forever()
        except BaseException as error:  # a foreign function runs here
            log(f"away: a task of the function ended its event loop: {type(error).__name__}")
