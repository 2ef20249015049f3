"""Many calls in one envelope: what a map sends to a function that Away published, and its answer.

A request holds the arguments of each call, the seconds in which calls may begin, and how many may
run at once where the function is a coroutine function. The answer holds for each call the very
envelope that it would have had alone, in order, and may hold fewer than were asked for: the rest did
not run, and is sent again. It also says how long the calls took, by which the sender chooses how many
it sends next. What is older knows no such envelope and refuses it with nothing run.

This module makes and reads the envelope around calls; the calls' own envelopes are the package's.
"""

from __future__ import annotations

import math
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, NamedTuple

from away.exceptions import ProtocolMismatch
from away.protocol import values
from away.protocol.refusals import MAX_DEPTH

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "BEGIN",
    "Answers",
    "Batch",
    "join_answers",
    "join_calls",
    "pack_calls",
    "read_answers",
    "read_batch",
]

# What every batch begins with: a runtime tells by it a batch from a call, of which nothing is read.
BEGIN = b'{"batch": ['
# Calls may begin for so long at most, whatever a request says: a client waits no longer for an answer.
MAX_BUDGET_SECONDS = 60.0
# More calls at once than this are no quicker on one event loop.
MAX_AT_ONCE = 1024

# A sender never takes so many, and each costs memory before the first one runs.
MOST_CALLS = 65_536

# batch → call → args or kwargs, and then each argument's own levels
_REQUEST_LEVELS = MAX_DEPTH + 3
# batch → call → error → args → value, as deep as an error alone
_ANSWER_LEVELS = MAX_DEPTH + 52
_DILL = {"dill"}


class Batch(NamedTuple):
    """Calls as the runtime gets them.

    Attributes:
        calls: Each a list of arguments and keywords, or the dict of an unsafe call's envelope.
        budget: Seconds in which calls may begin.
        at_once: How many may run at once.
    """

    calls: list[Any]
    budget: float
    at_once: int


class Answers(NamedTuple):
    """Answers as the caller gets them: each a call's own envelope, and the seconds they all took."""

    envelopes: list[dict[str, Any]]
    seconds: float


def pack_calls(calls: Sequence[tuple[Any, ...]], budget: float, at_once: int) -> bytes:
    """Write calls that go without a pickle.

    Args:
        calls: The arguments of each.
        budget: Seconds in which calls may begin.
        at_once: How many may run at once.

    Raises:
        Refused: An argument of some call cannot travel.

    Example:
        >>> pack_calls([(1,), (2, "x")], 0.5, 4)
        b'{"batch": [[[1], {}], [[2, "x"], {}]], "budget": 0.5, "at_once": 4}'
    """
    envelope: dict[str, Any] = {"batch": [*zip(calls, repeat({}))]}  # without end
    envelope |= {"budget": float(budget), "at_once": at_once}
    written = values.write_plain([*chain.from_iterable(calls)], envelope)
    if written is not None:
        return written
    envelope["batch"] = [[list(args), {}] for args in calls]
    return values.write(envelope, levels=_REQUEST_LEVELS)


def join_calls(envelopes: list[bytes], budget: float, at_once: int) -> bytes:
    """Write calls that have envelopes already, which is how unsafe ones go: each its own pickle."""
    end = f'], "budget": {float(budget)!r}, "at_once": {at_once}}}'
    return BEGIN + b", ".join(envelopes) + end.encode()


def read_batch(body: bytes) -> Batch:
    """Read a request; nothing of an unsafe call's pickle is looked at.

    Raises:
        ProtocolMismatch: It is no batch, is nested too deeply, has too many calls, or no sound numbers.

    Example:
        >>> read_batch(b'{"batch": [[[1], {}]], "budget": 0.5, "at_once": 4}')
        Batch(calls=[[[1], {}]], budget=0.5, at_once=4)
    """
    found = values.read(body, levels=lambda _: _REQUEST_LEVELS)
    if type(found) is not dict or found.keys() != {"batch", "budget", "at_once"}:
        raise ProtocolMismatch("the batch has other keys than this version of Away knows")
    calls, budget, at_once = found["batch"], found["budget"], found["at_once"]
    if type(budget) not in (int, float) or not 0 <= budget < math.inf:
        raise ProtocolMismatch("the batch has a budget that is no number of seconds")
    if type(at_once) is not int or at_once < 1:
        raise ProtocolMismatch("the batch does not say how many of it may run at once")
    if type(calls) is list and len(calls) > MOST_CALLS:
        raise ProtocolMismatch(f"the batch has {len(calls)} calls, and {MOST_CALLS} are the most")
    if type(calls) is not list or not all(map(_is_call, calls)):
        raise ProtocolMismatch("the batch has a call in no known form")
    return Batch(calls, min(float(budget), MAX_BUDGET_SECONDS), min(at_once, MAX_AT_ONCE))


def _is_call(call: Any) -> bool:
    if type(call) is dict:
        return call.keys() == _DILL
    if type(call) is not list or len(call) != 2:
        return False
    args, kwargs = call
    if type(args) is not list or type(kwargs) is not dict:
        return False
    return not kwargs or not set(map(type, kwargs)) - {str}


def join_answers(envelopes: list[bytes], seconds: float) -> bytes:
    """Write an answer from those of the calls.

    Example:
        >>> join_answers([b'{"value": 3}', b'{"value": 4}'], 0.25)
        b'{"batch": [{"value": 3}, {"value": 4}], "seconds": 0.250000}'
    """
    return BEGIN + b", ".join(envelopes) + f'], "seconds": {seconds:.6f}}}'.encode()


def read_answers(body: bytes, most: int) -> Answers | None:
    """Read an answer.

    Args:
        body: The body of the answer.
        most: How many calls were asked for.

    Returns:
        The envelopes of calls; None for an answer that is no batch, such as an error.

    Raises:
        ProtocolMismatch: Not Away's JSON, more answers than were asked for, or none at all.

    Example:
        >>> read_answers(b'{"batch": [{"value": 3}], "seconds": 0.25}', 2)
        Answers(envelopes=[{'value': 3}], seconds=0.25)
    """
    if not body.startswith(BEGIN):
        return None
    found = values.read(body, levels=lambda _: _ANSWER_LEVELS)
    envelopes, seconds = found.get("batch"), found.get("seconds")
    if (
        found.keys() != {"batch", "seconds"}
        or type(envelopes) is not list
        or set(map(type, envelopes)) != {dict}
        or type(seconds) not in (int, float)
        or not 0 <= seconds < math.inf
    ):
        raise ProtocolMismatch(
            "the answer to a batch has another form than this version of Away knows"
        )
    if len(envelopes) > most:
        raise ProtocolMismatch(f"the answer to a batch of {most} has {len(envelopes)} answers")
    return Answers(envelopes, float(seconds))
