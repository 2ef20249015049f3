"""Running a function of any kind to its end, whatever it does on the way.

What a function raises is a result like any other: SystemExit and KeyboardInterrupt too, which would
otherwise end a thread, the event loop or the process under the other calls.
"""

from __future__ import annotations

from types import AsyncGeneratorType, GeneratorType
from typing import TYPE_CHECKING, Any, NamedTuple

from away.exceptions import CannotTravel

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

    from away.runtime.event_loop import EventLoop

__all__ = ["Result", "run", "run_on_loop", "text_of", "traceback_text"]

# A generator's items are collected before they are sent; one without end must be an error and not
# take the machine's memory. Ten million small items are some hundred megabytes already.
_MAX_ITEMS = 10_000_000


class Result(NamedTuple):
    """How a call ended: with a value, with a generator's items, or with an exception."""

    value: Any = None
    items: bool = False
    error: BaseException | None = None
    # the function was never entered: its arguments did not fit
    refused: bool = False


def run(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    context: Context,
    loop: EventLoop,
) -> Result:
    """Run a function of any kind to its end; what it raises, SystemExit too, is in the result."""
    try:
        value = context.run(function, *args, **kwargs)
    except BaseException as error:  # a foreign function runs here
        refused = _is_refused(error, function, args, kwargs)
        return Result(error=_trimmed(error), refused=refused)
    try:
        return _settle(value, context, loop)
    except BaseException as error:  # and here
        return Result(error=_trimmed(error))


async def run_on_loop(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Result:
    """Run a coroutine function or an asynchronous generator to its end on the running loop.

    Nothing that it raises leaves this coroutine: out of a task, SystemExit would end the loop.
    """
    try:
        value = function(*args, **kwargs)
    except BaseException as error:  # a foreign function runs here
        return Result(error=_trimmed(error), refused=_is_refused(error, function, args, kwargs))
    try:
        if type(value) is AsyncGeneratorType:
            return Result(await _collect_async(value), items=True)
        settled = await value
        if type(settled) is GeneratorType:
            return Result(_collect(settled), items=True)
        return Result(settled)
    except BaseException as error:  # and here
        return Result(error=_trimmed(error))


def _settle(value: Any, context: Context, loop: EventLoop) -> Result:
    """Bring a generator or a coroutine to its end."""
    if type(value) is GeneratorType:
        return Result(context.run(_collect, value), items=True)
    if type(value) is AsyncGeneratorType:
        return Result(loop.run(lambda: _collect_async(value), context), items=True)
    if hasattr(type(value), "__await__"):
        settled = loop.run(lambda: value, context)
        if type(settled) is GeneratorType:
            return Result(context.run(_collect, settled), items=True)
        return Result(settled)
    return Result(value)


def _collect(generator: GeneratorType[Any, Any, Any]) -> list[Any]:
    items = []
    for item in generator:
        items.append(item)
        if len(items) > _MAX_ITEMS:
            generator.close()
            raise _endless()
    return items


async def _collect_async(generator: AsyncGeneratorType[Any, Any]) -> list[Any]:
    items = []
    async for item in generator:
        items.append(item)
        if len(items) > _MAX_ITEMS:
            await generator.aclose()
            raise _endless()
    return items


def _endless() -> CannotTravel:
    return CannotTravel(
        f"the function's result has more than {_MAX_ITEMS:,} items, and they travel in one piece;"
        " give them in parts"
    )


def _is_refused(
    error: BaseException,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> bool:
    """Tell a call that did not fit the function's parameters from an error inside of it.

    A traceback without a frame of the function means that its body was not entered. Only then is
    its signature looked at, since a function written in C leaves no frame either.
    """
    traceback = error.__traceback__
    if type(error) is not TypeError or traceback is None or traceback.tb_next is not None:
        return False
    import inspect

    try:
        inspect.signature(function).bind(*args, **kwargs)
    except TypeError:
        return True
    except Exception:  # a foreign __signature__
        return False
    return False


def _trimmed(error: BaseException) -> BaseException:
    """Cut the runtime's own frames off the head of a traceback."""
    traceback = error.__traceback__
    while traceback is not None and _is_ours(traceback.tb_frame.f_globals.get("__name__")):
        traceback = traceback.tb_next
    error.__traceback__ = traceback
    return error


def _is_ours(module: object) -> bool:
    return isinstance(module, str) and module.startswith("away.runtime.")


def text_of(error: BaseException) -> str:
    """Return an exception's text, also where making it fails."""
    try:
        return str(error)
    except BaseException as other:  # a foreign __str__
        return f"(its text cannot be made: {type(other).__name__})"


def traceback_text(error: BaseException) -> str:
    """Return an exception with its traceback as Python prints it."""
    import traceback

    try:
        return "".join(traceback.format_exception(error))
    except BaseException as other:  # a foreign __str__, or a chain too deep to print
        return f"{type(error).__name__}, whose traceback cannot be made: {type(other).__name__}"
