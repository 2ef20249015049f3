"""Workers on an event loop: each takes what waits, calls the function with it, hands results on.

Every worker is one coroutine, which has one request under way. Nothing here waits for whoever reads
the results: how far ahead inputs are read is that one's choice.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any

from away.exceptions import GatewayError
from away.mapping.batch_calls import (
    Done,
    Failed,
    Input,
    Lost,
    Split,
    batch_call,
    can_batch,
    for_each,
)

if TYPE_CHECKING:
    from away.connection.lanes import Lane
    from away.functions import RemoteFunction
    from away.mapping.pace import Pace
    from away.placement import Placement

__all__ = ["Workers"]

# Inputs, and the place of the first one among all.
Piece = tuple[int, list[Input]]
# Pumps a conversation, over the connection of the worker that asks.
Run = Callable[..., Coroutine[Any, Any, Any]]


class Workers:
    """Call one function with what is put in; made on the event loop where they work.

    Args:
        function: What is called.
        pace: Chooses how many calls go in a request, and how many requests are under way.
        batches: Whether calls may go in batches at all.
        stop_at_error: Whether nothing is begun behind a call that raised.
        deliver: Takes results with the place of their first; in any order, each once.
        fail: Takes what ended the workers where that is no call's own.
    """

    def __init__(
        self,
        function: RemoteFunction[Any, Any],
        pace: Pace,
        *,
        batches: bool,
        stop_at_error: bool,
        deliver: Callable[[int, list[Any]], None],
        fail: Callable[[BaseException], None],
    ) -> None:
        self._function = function
        self._caller = function._caller  # noqa: SLF001  # what a call of it is made by
        self._driver = function.connection.aio_driver
        self._pace = pace
        self._batches = batches
        self._stop_at_error = stop_at_error
        self._deliver = deliver
        self._fail = fail
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Piece] = deque()
        self._tasks: list[asyncio.Task[None]] = []
        self._idle: list[asyncio.Future[None]] = []
        self._at_work = 0
        self._is_all = False
        # The places of inputs that are sent alone, since their batch was lost.
        self._alone: set[int] = set()
        # Nothing behind this place is begun any more.
        self._last: int | None = None
        self._closed = False

    def put(self, pieces: list[Piece], is_all: bool) -> None:
        """Take further inputs; ``is_all`` says that no more will come."""
        self._is_all = is_all
        self._waiting.extend(pieces)
        self._wake()

    async def close(self) -> None:
        """End everything that is under way."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # Transports tell their end by call_soon.
        await asyncio.sleep(0)

    # ------------------------------------------------------------ who works

    def _wake(self) -> None:
        """Set as many to work as there is work for, and as many as may."""
        wanted = min(len(self._waiting), self._pace.requests - self._at_work)
        for _ in range(wanted):
            if self._idle:
                self._idle.pop().set_result(None)
            else:
                self._tasks.append(self._loop.create_task(self._work()))
            self._at_work += 1

    async def _work(self) -> None:
        lane: Lane | None = None
        try:
            lane = self._driver.lane()
            run: Run = partial(self._driver.run, lane=lane) if lane else self._driver.run
            while True:
                while self._at_work <= self._pace.requests and (piece := self._next()):
                    await self._do(*piece, run)
                self._at_work -= 1
                rest = self._loop.create_future()
                self._idle.append(rest)
                # Another one may have to do what this one must not any more, and the other way round.
                self._wake()
                await rest
        except BaseException as error:  # a fault of ours must not leave the reader waiting
            if self._closed:
                raise
            self._fail(error)
        finally:
            if lane is not None:
                lane.close()

    def _next(self) -> Piece | None:
        """Take what one request shall carry."""
        waiting = self._waiting
        while True:
            if not waiting:
                return None
            start, inputs = waiting.popleft()
            if self._last is None or start < self._last:
                break
        if start in self._alone:
            self._alone.discard(start)
            return start, inputs
        size = self._size(len(inputs))
        if len(inputs) < size and waiting:
            inputs = [*inputs]
        while len(inputs) < size and waiting and waiting[0][0] == start + len(inputs):
            if waiting[0][0] in self._alone:
                break
            inputs += waiting.popleft()[1]
        if len(inputs) > size:
            waiting.appendleft((start + size, inputs[size:]))
            inputs = inputs[:size]
            self._wake()
        return start, inputs

    def _size(self, first: int) -> int:
        """Return how many inputs go in a request, of which a first few are taken already."""
        if not self._sends_batches():
            return 1
        if not self._is_all or self._pace.size == 1:
            return self._pace.size
        return self._pace.share(first + sum(len(inputs) for _, inputs in self._waiting))

    # ------------------------------------------------------------ what is done

    async def _do(self, start: int, inputs: list[Input], run: Run) -> None:
        fitted = self._pace.fits
        done = await (self._batch(inputs, run) if self._sends_batches() else self._one(inputs, run))
        if isinstance(done, Lost):
            if self._is_full(done.error) and self._pace.full(fitted, self._at_work):
                self._waiting.appendleft((start, inputs))
                return
            results: list[Any] = [*for_each(done.error, done.calls)]
        elif isinstance(done, Done):
            results = done.results
            self._took(done, inputs)
        else:
            self._split(start, inputs, singly=done.singly)
            return
        if len(results) < len(inputs):
            self._waiting.appendleft((start + len(results), inputs[len(results) :]))
            self._wake()
        self._note(start, results)
        self._deliver(start, results)

    async def _one(self, inputs: list[Input], run: Run) -> Done | Lost:
        """Call once, as anyone would."""
        function = self._function
        try:
            if function.placement is not None:
                return Done([await self._placed(function.placement, inputs[0])], None, 0)
            return Done([await run(function.conversation(inputs[0], {}))], None, 0)
        except asyncio.CancelledError as error:
            if self._closed:
                raise
            return Lost(error, 1)  # the function's own
        except BaseException as error:  # what a call raises, whatever that is
            return Lost(error, 1)

    async def _placed(self, placement: Placement, args: Input) -> Any:
        """Let a function that may run here choose where, call by call."""
        if self._function.kind.endswith("generator"):
            return [
                each async for each in placement.call(self._function, args, {}, "async generator")
            ]
        return await placement.call(self._function, args, {}, "async")

    async def _batch(self, inputs: list[Input], run: Run) -> Done | Lost | Split:
        bound = self._bound(inputs)
        if isinstance(bound, Failed):
            watch = self._caller.watch
            # Alone it is judged by what the function is now.
            old = watch is not None and watch.may_be_old()
            return await self._one(inputs[:1], run) if old else Lost(bound.error, 1)
        pace = self._pace
        done: Done | Lost | Split = await run(
            batch_call(self._caller, bound, pace.budget, pace.at_once)
        )
        return done

    def _took(self, done: Done, inputs: list[Input]) -> None:
        self._pace.fitted()
        if done.bytes:
            self._pace.weighed(len(inputs), done.bytes)
        if done.seconds is not None:
            self._pace.took(len(done.results), done.seconds)

    def _split(self, start: int, inputs: list[Input], *, singly: bool) -> None:
        """Put a batch back, to go in smaller ones or each call alone."""
        self._pace.split(len(inputs), singly=singly)
        if singly and can_batch(self._caller):
            self._waiting.extendleft(
                (place, [each]) for place, each in reversed([*enumerate(inputs, start)])
            )
            self._alone.update(range(start, start + len(inputs)))
        else:
            self._waiting.appendleft((start, inputs))
        self._wake()

    def _sends_batches(self) -> bool:
        watch = self._caller.watch
        # Arguments that may not fit what is known are each looked into.
        if watch is not None and watch.in_doubt:
            return False
        return self._batches and self._function.placement is None and can_batch(self._caller)

    def _bound(self, inputs: list[Input]) -> list[Input] | Failed:
        """Return the inputs before the first that does not fit the signature; that one's error alone."""
        caller, bind = self._caller, self._caller.bind
        if bind is None:
            return inputs
        bound: list[Input] = []
        try:
            for args in inputs:
                bind(*args)
                bound.append(args if caller.types is None else caller.prepared(args, {})[0])
        except TypeError as error:
            return bound or Failed(error)
        return bound

    def _is_full(self, error: BaseException) -> bool:
        """Tell whether a function of Away's said that too many calls run; nothing ran then."""
        return (
            isinstance(error, GatewayError) and error.status == 503 and self._caller.speaks_protocol
        )

    def _note(self, start: int, results: list[Any]) -> None:
        """Say on each error which input it is of, and begin nothing behind it if that is asked for."""
        for index, result in enumerate(results, start):
            if type(result) is Failed:
                result.error.add_note(f"raised for input {index} of the map (the first is 0)")
                if self._stop_at_error and (self._last is None or index < self._last):
                    self._last = index
