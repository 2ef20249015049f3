"""Many calls as one conversation: bound, packed, sent, and each read as if it had come alone.

Whether a request is repeated and what an answer means is decided where it is for a single call; what
is decided here is only how a batch's answer falls apart into those of its calls.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, NamedTuple

import away.protocol as protocol
import away.protocol.batches as batches
from away.calls import PROTOCOL_HEADERS, Dialect
from away.exceptions import (
    AnswerLost,
    AwayError,
    CallTimedOut,
    CannotTravel,
    FunctionNotFound,
    FunctionNotReady,
    ProtocolMismatch,
)
from away.protocol.values import Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from away.calls import Caller
    from away.connection.conversations import Conversation, Deadline, Reply

__all__ = ["Done", "Failed", "Input", "Lost", "Split", "batch_call", "can_batch", "for_each"]

# The arguments of one call.
Input = tuple[Any, ...]

# A body beyond what the function takes, of which each call alone may be well.
_TOO_LARGE = 413


class Failed:
    """The result of a call that raised."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __repr__(self) -> str:
        return f"Failed({self.error!r})"


class Done(NamedTuple):
    """What came of a batch: results of the first calls in order, the others not having run.

    Attributes:
        results: Values, and :class:`Failed` where a call raised.
        seconds: How long they took in the function; None where nothing ran.
        bytes: The size of the request's body.
    """

    results: list[Any]
    seconds: float | None
    bytes: int


class Lost(NamedTuple):
    """The error of the whole request, which carried so many of the first calls."""

    error: BaseException
    calls: int


class Split(NamedTuple):
    """Nothing of a batch ran, or it may be repeated: its calls are to go in smaller requests."""

    singly: bool


def can_batch(caller: Caller) -> bool:
    """Tell whether a function takes batches, as far as is known."""
    return caller.speaks_protocol and caller.manner.dialect != Dialect.PACKED and caller.batches


def batch_call(
    caller: Caller, inputs: Sequence[Input], budget: float, at_once: int
) -> Conversation[Done | Split | Lost]:
    """Call a function with many inputs in one request.

    Args:
        caller: Calls the function; it is known to speak the protocol.
        inputs: The arguments of each call, bound already.
        budget: Seconds in which calls may begin.
        at_once: How many may run at once, if the function is a coroutine function.

    Returns:
        The results of the first calls, one at least; that they are to be sent otherwise; or the
        error that a call would raise whose request came to the same end.
    """
    seconds = caller.timeout()
    if seconds is None:
        seconds = caller.connection.timeout
    # The last call that begins within the budget has all of a call's time.
    limit = None if seconds is None else seconds + (budget if len(inputs) > 1 else 0.0)
    deadline = caller.connection.deadline(limit)
    body, count = _packed(caller, inputs, budget, at_once)
    if isinstance(body, Failed):
        return Done([body], None, 0)
    try:
        return (yield from _exchanged(caller, count, body, deadline))
    except Exception as error:  # one of Away's, or what the function's runtime says of all calls
        mixed = isinstance(error, AnswerLost | CallTimedOut | FunctionNotReady)
        if mixed and count > 1 and caller.manner.idempotent:
            # One call of them may be to blame: alone, the others have their results.
            return Split(singly=True)
        return Lost(error, count)


def _exchanged(
    caller: Caller, count: int, body: bytes, deadline: Deadline
) -> Conversation[Done | Split]:
    try:
        reply = yield from caller.send(body, PROTOCOL_HEADERS, deadline)
    except FunctionNotFound as error:
        if caller.manner.implicit:
            raise
        return Done([(str(error), error.status or 404)] * count, None, len(body))
    if reply.status == _TOO_LARGE and count > 1:
        return Split(singly=False)
    caller.check_envelope(reply)
    try:
        found = batches.read_answers(reply.body, count)
        if found is None:
            return _refused(caller, reply)
        results = _results(caller, found.envelopes, reply)
    except ProtocolMismatch as error:
        raise caller.broken(f"broke the protocol: {error}", reply) from error
    return Done(results, found.seconds, len(body))


def _refused(caller: Caller, reply: Reply) -> Split:
    """Judge an answer that is no batch: a runtime that is older than batches refuses them."""
    answer = protocol.read_answer(reply.body, allow_unsafe=False)
    if answer.kind != "error":
        raise ProtocolMismatch("a batch of calls was answered by a single value")
    if answer.refused and isinstance(answer.value, ProtocolMismatch):
        caller.batches = False
        return Split(singly=True)
    caller.notice_absence(answer)
    raise caller.located(answer.value, reply)


def _packed(
    caller: Caller, inputs: Sequence[Input], budget: float, at_once: int
) -> tuple[bytes | Failed, int]:
    """Return the request's body and how many inputs it has: those before the first that cannot travel.

    Where that is the very first one, the error of it.
    """
    if caller.manner.safe_args:
        try:
            return batches.pack_calls(inputs, budget, at_once), len(inputs)
        except Refused:
            pass
    envelopes: list[bytes] = []
    for args in inputs:
        try:
            envelopes.append(caller.pack(args, {}))
        except CannotTravel as error:
            if not envelopes:
                return Failed(error), 1
            break
    count = len(envelopes)
    if caller.manner.safe_args:
        return batches.pack_calls(inputs[:count], budget, at_once), count
    return batches.join_calls(envelopes, budget, at_once), count


def _results(caller: Caller, envelopes: list[dict[str, Any]], reply: Reply) -> list[Any]:
    if not caller.manner.implicit or caller.types is not None:
        return [_result(caller, each, reply) for each in envelopes]
    # Nearly all are values, of which each is looked at no further.
    return [
        each["value"] if "value" in each and len(each) == 1 else _result(caller, each, reply)
        for each in envelopes
    ]


def _result(caller: Caller, envelope: dict[str, Any], reply: Reply) -> Any:
    """Make one call's result of its envelope, as a call alone would."""
    try:
        answer = protocol.answer_of(envelope, allow_unsafe=not caller.manner.safe_args)
    except ProtocolMismatch as error:
        return Failed(caller.broken(f"broke the protocol: {error}", reply))
    try:
        if not caller.manner.implicit:
            status = 200 if answer.kind != "error" else 400 if answer.refused else 500
            return caller.stated(answer, reply, status)
        if answer.kind == "error":
            return Failed(caller.located(answer.value, reply))
        return caller.fitting(answer.value, reply)
    except ProtocolMismatch as error:  # it is not what a stub's annotations say
        return Failed(error)


def for_each(error: BaseException, count: int) -> list[Failed]:
    """Make as many errors of one: each call raises its own, so that notes of one are not all's."""
    return [Failed(error)] + [Failed(_copied(error)) for _ in range(count - 1)]


def _copied(error: BaseException) -> BaseException:
    if not isinstance(error, AwayError):
        return error
    copied = copy.copy(error)
    copied.__cause__ = error.__cause__
    if "__notes__" in copied.__dict__:
        copied.__notes__ = [*copied.__notes__]
    return copied
