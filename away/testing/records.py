"""What was called in a test: each call with its arguments and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from away.names import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["RecordedCall", "call_text", "no_call", "one_call", "some_call"]

# So many calls fit an assertion's text that a person still reads.
MOST_SHOWN = 8


class RecordedCall(NamedTuple):
    """One call as it reached the fake gateway.

    Attributes:
        gateway: The gateway, as the test named it.
        function: The function's name at the gateway.
        args: The positional arguments, as they were sent.
        kwargs: The keyword arguments.
        result: What the function returned; the list of a generator's items.
        error: What it raised, or the failure that the test asked for; None where it succeeded.
    """

    gateway: str
    function: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    result: Any = None
    error: BaseException | None = None


def call_text(function: str, args: Iterable[Any], kwargs: Mapping[str, Any]) -> str:
    """Write a call as it stands in source."""
    shown = [*map(repr, args), *(f"{key}={value!r}" for key, value in kwargs.items())]
    return f"{function}({', '.join(shown)})"


def some_call(
    calls: list[RecordedCall],
    function: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    known: Iterable[str],
) -> RecordedCall:
    """Return the last call with exactly these arguments.

    Raises:
        AssertionError: There was none; the text lists those that there were.
    """
    found = [each for each in calls if (each.args, each.kwargs) == (args, kwargs)]
    if found:
        return found[-1]
    raise AssertionError(
        f"{call_text(function, args, kwargs)} was not called; {_those(calls, function, known)}"
    )


def one_call(calls: list[RecordedCall], function: str, known: Iterable[str]) -> RecordedCall:
    """Return the only call.

    Raises:
        AssertionError: There was another number of them.
    """
    if len(calls) == 1:
        return calls[0]
    raise AssertionError(
        f"{function} was called {len(calls)} times and not once; {_those(calls, function, known)}"
    )


def no_call(calls: list[RecordedCall]) -> None:
    """See that there is no call.

    Raises:
        AssertionError: There are some; the text lists them.
    """
    if calls:
        shown = [call_text(each.function, each.args, each.kwargs) for each in calls[:MOST_SHOWN]]
        more = f" and {len(calls) - len(shown)} more" if len(calls) > len(shown) else ""
        raise AssertionError(f"nothing was to be called; calls were {', '.join(shown)}{more}")


def _those(calls: list[RecordedCall], function: str, known: Iterable[str]) -> str:
    if calls:
        shown = [call_text(each.function, each.args, each.kwargs) for each in calls[-MOST_SHOWN:]]
        more = f" after {len(calls) - len(shown)} others" if len(calls) > len(shown) else ""
        return f"calls were {', '.join(shown)}{more}"
    others = sorted(known)
    if function in others:
        return "it was not called at all"
    near = nearest(function, others, most=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"no function of that name is faked{hint}"
