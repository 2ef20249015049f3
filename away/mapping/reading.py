"""Reading the results of a map: inputs are topped up, results given out, errors dealt with as asked.

The blocking and the asynchronous reader differ in how they wait, and in nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable
from queue import Empty
from typing import TYPE_CHECKING, Any

from away.mapping.background import Background, Crashed
from away.mapping.batch_calls import Failed
from away.mapping.feed import Feed
from away.mapping.inputs import Inputs
from away.mapping.order import Order
from away.mapping.pace import Pace
from away.mapping.progress import Bar
from away.mapping.workers import Workers

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator

    from away.functions import RemoteFunction
    from away.mapping import MapOptions
    from away.mapping.batch_calls import Input
    from away.mapping.workers import Piece

__all__ = ["read_async", "read_sync"]

# As many connections as the async driver opens; kept as in away.connection.aio, which is imported late.
_MOST_REQUESTS = 100


class _Given:
    """What has been read and given out, and what becomes of a result.

    Args:
        inputs: The inputs.
        options: How the map goes.
        wrap: Makes of a call's value what a call of the function gives.
    """

    def __init__(
        self, inputs: Inputs | Feed, options: MapOptions, wrap: Callable[[Any], Any] | None
    ) -> None:
        self.pace = Pace(min(options.concurrency, _MOST_REQUESTS), options.fixed_batch)
        self.inputs = inputs
        # results that were taken out of their queue
        self.taken = 0
        self._on_error = options.on_error
        self._wrap = wrap
        # How many results are given out between two looks at the inputs.
        self._step = max(1, options.concurrency // 4)

    @property
    def missing(self) -> int:
        """How many inputs have no result given out yet."""
        return self.inputs.count - self.taken

    @property
    def is_done(self) -> bool:
        """Whether all results are out."""
        return self.inputs.is_all and self.missing <= 0

    def top_up(self) -> list[Piece]:
        """Read inputs for the room that there is."""
        room = self.pace.ahead - self.missing
        if self.inputs.is_all or room < min(self._step, self.pace.ahead):
            return []
        return self.inputs.read(room, self.pace.size)

    def parts(self, results: list[Any]) -> Iterator[list[Any]]:
        """Give results in parts, between which inputs are topped up; each ready to be given out."""
        step = max(self._step, self.pace.size)
        for begin in range(0, len(results), step):
            part = results[begin : begin + step] if len(results) > step else results
            self.taken += len(part)
            # Most parts hold no failure and need no wrapping: then they are what they are.
            if Failed in set(map(type, part)):
                yield from self._judged(part)
            else:
                yield part if self._wrap is None else [*map(self._wrap, part)]

    def _judged(self, part: list[Any]) -> Iterator[list[Any]]:
        good: list[Any] = []
        for result in part:
            if type(result) is not Failed:
                good.append(result if self._wrap is None else self._wrap(result))
            elif self._on_error == "raise" or not isinstance(result.error, Exception):
                yield good
                raise result.error
            elif self._on_error == "return":
                good.append(result.error)
        yield good

    def finish(self) -> None:
        """Raise what the inputs raised, now that all before it is given out."""
        if self.inputs.error is not None:
            raise self.inputs.error


def read_sync(
    function: RemoteFunction[Any, Any],
    inputs: Iterator[Input],
    options: MapOptions,
    total: int | None,
) -> Iterator[Any]:
    """Give the results of a map whose workers are in a thread of their own."""
    is_generator = function.kind.endswith("generator")
    given = _Given(Inputs(inputs), options, _iterated if is_generator else None)
    bar = Bar(function.__name__, total, options.progress)
    background = Background(
        function,
        given.pace,
        ordered=options.ordered,
        batches=options.batch is not False,
        stop_at_error=options.on_error == "raise",
    )
    try:
        background.start()
        while True:
            pieces = given.top_up()
            if pieces or given.inputs.is_all:
                background.put(pieces, given.inputs.is_all)
            if given.is_done:
                break
            for part in given.parts(_next(background, bar)):
                yield from part
                bar.move(len(part))
                if pieces := given.top_up():
                    background.put(pieces, given.inputs.is_all)
    finally:
        background.stop()
        bar.end()
    given.finish()


def _next(background: Background, bar: Bar) -> list[Any]:
    """Wait for results, in the meantime moving the bar."""
    while True:
        try:
            found = background.results.get(timeout=bar.tick_seconds)
        except Empty:
            bar.move()
            continue
        if isinstance(found, Crashed):
            raise found.error
        return found


def _iterated(value: Any) -> Any:
    """Give a generator's items as a call of it does, and what else came as it is."""
    return iter(value) if type(value) is list else value


async def _given_out(items: list[Any]) -> AsyncIterator[Any]:
    for item in items:
        yield item


def _async_iterated(value: Any) -> Any:
    return _given_out(value) if type(value) is list else value


async def read_async(
    function: RemoteFunction[Any, Any],
    inputs: Iterable[Input] | AsyncIterable[Input],
    options: MapOptions,
    total: int | None,
) -> AsyncGenerator[Any, None]:
    """Give the results of a map whose workers are on the running event loop."""
    is_generator = function.kind.endswith("generator")
    source = Feed(inputs) if isinstance(inputs, AsyncIterable) else Inputs(inputs)
    given = _Given(source, options, _async_iterated if is_generator else None)
    bar = Bar(function.__name__, total, options.progress)
    mail = _Mailbox(options.ordered)
    workers = Workers(
        function,
        given.pace,
        batches=options.batch is not False,
        stop_at_error=options.on_error == "raise",
        deliver=mail.deliver,
        fail=mail.fail,
    )
    try:
        if isinstance(source, Feed):
            source.start(workers.put, mail.ring, lambda: given.missing < given.pace.ahead)
        while True:
            pieces = given.top_up()
            if pieces or given.inputs.is_all:
                workers.put(pieces, given.inputs.is_all)
            if given.is_done:
                break
            for part in given.parts(await mail.take(bar)):
                for result in part:
                    yield result
                bar.move(len(part))
                if pieces := given.top_up():
                    workers.put(pieces, given.inputs.is_all)
    finally:
        await source.aclose()
        await workers.close()
        bar.end()
    given.finish()


class _Mailbox:
    """Results that have come on this event loop, and who waits for them."""

    def __init__(self, ordered: bool) -> None:
        self._order = Order(ordered)
        self._come: list[Any] = []
        self._error: BaseException | None = None
        self._bell = asyncio.Event()

    def deliver(self, start: int, results: list[Any]) -> None:
        ready = self._order.add(start, results)
        if ready:
            self._come += ready
            self._bell.set()

    def fail(self, error: BaseException) -> None:
        self._error = error
        self._bell.set()

    def ring(self) -> None:
        """Have whoever waits look again."""
        self._bell.set()

    async def take(self, bar: Bar) -> list[Any]:
        """Wait until something came, in the meantime moving the bar."""
        while not self._bell.is_set():
            try:
                async with asyncio.timeout(bar.tick_seconds):
                    await self._bell.wait()
            except TimeoutError:
                bar.move()
        self._bell.clear()
        if self._error is not None:
            raise self._error
        come, self._come = self._come, []
        return come
