"""One function called with many inputs: ``f.map``, ``f.starmap`` and their async twins.

Inputs are read lazily, in the thread that iterates, a bounded window ahead of what was given out.
Calls run side by side; for a function that Away published they travel in batches whose size follows
from how long they take. Each result and each error is what a call alone would have given.

How one call or batch is spoken is :mod:`away.calls`' and :mod:`away.mapping.batch_calls`'.
"""

from __future__ import annotations

from operator import length_hint
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Iterator

    from away.functions import RemoteFunction
    from away.mapping.batch_calls import Input

__all__ = ["MapOptions", "map_async", "map_sync", "mapped", "starmapped"]

OnError = Literal["raise", "return", "skip"]
Batch = Literal["auto"] | bool | int

# As many connections as the async driver opens to a gateway.
MOST_CONCURRENCY = 100
DEFAULT_CONCURRENCY = 64


class MapOptions(NamedTuple):
    """How a map goes; see :meth:`away.functions.RemoteFunction.map`."""

    concurrency: int = DEFAULT_CONCURRENCY
    ordered: bool = True
    on_error: OnError = "raise"
    batch: Batch = "auto"
    progress: bool | None = None

    def checked(self) -> MapOptions:
        """Return these options.

        Raises:
            TypeError, ValueError: One of them is none that a map has.
        """
        if not _is_count(self.concurrency):
            raise ValueError(
                f"concurrency is a number of calls from 1 up, not {self.concurrency!r}"
            )
        if self.on_error not in ("raise", "return", "skip"):
            raise ValueError(f"on_error is 'raise', 'return' or 'skip', not {self.on_error!r}")
        # By type: 0 is equal to False.
        if not (self.batch == "auto" or isinstance(self.batch, bool) or _is_count(self.batch)):
            raise ValueError(f"batch is 'auto', False or a number from 1 up, not {self.batch!r}")
        if self.progress is not None and not isinstance(self.progress, bool):
            raise ValueError(f"progress is True, False or None, not {self.progress!r}")
        return self

    @property
    def fixed_batch(self) -> int:
        """The size of batches that the caller chose; 0 where it follows from the time of calls."""
        return 0 if self.batch == "auto" or isinstance(self.batch, bool) else self.batch


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def mapped(iterable: Any, more: tuple[Any, ...]) -> tuple[Any, int | None]:
    """Return the inputs of a map over one or several iterables, and how many there are if known.

    Raises:
        TypeError: One of them cannot be iterated.
    """
    sources = (iterable, *more)
    if any(hasattr(each, "__aiter__") for each in sources):
        return _zipped(sources), None
    # Made before its length is asked for, so that what is no iterable is an error at once.
    inputs: Any = zip(*sources, strict=False)
    counts = [_count(each) for each in sources]
    known = [each for each in counts if each is not None]
    return inputs, min(known) if known else None


def starmapped(iterable: Any) -> tuple[Any, int | None]:
    """Return the inputs of a map over an iterable of argument lists, and how many if known."""
    if hasattr(iterable, "__aiter__"):
        return (tuple(each) async for each in iterable), None
    return map(tuple, iterable), _count(iterable)


def _count(iterable: Any) -> int | None:
    found = length_hint(iterable, -1)
    return found if found >= 0 else None


async def _zipped(sources: tuple[Any, ...]) -> AsyncIterator[Input]:
    """Join iterables of both kinds, to the end of the shortest."""
    iterators = [
        (each.__aiter__(), True) if hasattr(each, "__aiter__") else (iter(each), False)
        for each in sources
    ]
    done = object()
    while True:
        args = []
        for iterator, is_async in iterators:
            each = await anext(iterator, done) if is_async else next(iterator, done)
            if each is done:
                return
            args.append(each)
        yield tuple(args)


def map_sync(
    function: RemoteFunction[Any, Any],
    inputs: Iterable[Input],
    options: MapOptions = MapOptions(),  # noqa: B008  # a value
    *,
    total: int | None = None,
) -> Iterator[Any]:
    """Call a function with each input and give the results.

    Args:
        function: What is called, of whatever kind.
        inputs: The arguments of each call; read lazily, in the thread that iterates.
        options: How.
        total: How many inputs there are, where that is known, for the bar.

    Returns:
        An iterator of results. It begins with the first one that is asked for, and ends what is
        under way when it is closed or forgotten.

    Raises:
        ValueError: An option is none that a map has.
        TypeError: The inputs cannot be iterated here.
    """
    from away.mapping.reading import read_sync

    options.checked()
    if hasattr(inputs, "__aiter__"):
        raise TypeError(
            f"`{function.__name__}.map` iterates where it is called, and was given an asynchronous"
            f" iterable; use `async for … in {function.__name__}.aio.map(…)`"
        )
    return read_sync(function, iter(inputs), options, total)


def map_async(
    function: RemoteFunction[Any, Any],
    inputs: Iterable[Input] | AsyncIterable[Input],
    options: MapOptions = MapOptions(),  # noqa: B008  # a value
    *,
    total: int | None = None,
) -> AsyncGenerator[Any, None]:
    """Call a function with each input on the running event loop; see :func:`map_sync`.

    Args:
        function: What is called, of whatever kind.
        inputs: The arguments of each call; an asynchronous iterable is waited for.
        options: How.
        total: How many inputs there are, where that is known, for the bar.

    Returns:
        An asynchronous generator; its ``aclose()`` ends what is under way.
    """
    from away.mapping.reading import read_async

    return read_async(function, inputs, options.checked(), total)
