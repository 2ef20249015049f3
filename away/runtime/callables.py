"""The one function behind an executor that sends its callables: it runs whatever it is sent.

It is published by :class:`away.Executor` with ``by_value=True``, and nowhere else. Whoever can call it
can run any code, which is what it is for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["call_each", "run_pickled"]


def run_pickled(function: bytes, arguments: bytes) -> Any:
    """Call a callable that comes as a pickle, with arguments and keywords that come as another."""
    import dill  # reads what Python's own pickler wrote as well

    args, kwargs = dill.loads(arguments)
    value = dill.loads(function)(*args, **kwargs)
    if hasattr(value, "__await__"):
        import asyncio

        return asyncio.run(_awaited(value))
    return list(value) if hasattr(value, "__next__") else value


async def _awaited(value: Any) -> Any:
    return await value


def call_each(function: Callable[..., Any], chunk: Iterable[tuple[Any, ...]]) -> list[Any]:
    """Call a function with each of several tuples of arguments, and return what it gave."""
    return [function(*args) for args in chunk]
