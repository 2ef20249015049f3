"""What a call brought beside its value: status, header fields, times.

A response is made of a conversation that is looked on at, so that calls whose response nobody wants
cost nothing more.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from away.connection.conversations import Headers, Reply, Send, TransportError
from away.connection.watching import watched

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from away.connection.conversations import Conversation, Wait
    from away.signatures import Kind

__all__ = ["Response", "responding"]

T = TypeVar("T")

# What OpenFaaS's watchdog and Away's runtime say of the time that a call took in the function.
DURATION_HEADER = "X-Duration-Seconds"


@dataclass(frozen=True, slots=True)
class Response(Generic[T]):
    """What a call gave, and what is known of how.

    Attributes:
        value: What the call returns.
        status: The HTTP status of the function's answer.
        headers: Its header fields; names are found in any case.
        duration: Seconds that the whole call took, with what was tried again.
        function_duration: Seconds that it took in the function, where the function's side says so:
            Away's runtime and OpenFaaS's of-watchdog do.
        call_id: The call's X-Call-Id, by which the function's and the gateway's logs know it.
        attempts: How often a request was sent to the function; more than one where something was
            tried again, or the first one asked which language the function speaks.
    """

    value: T
    status: int
    headers: Headers
    duration: float
    function_duration: float | None
    call_id: str | None
    attempts: int


def responding(conversation: Conversation[Any], kind: Kind) -> Conversation[Response[Any]]:
    """Have a call's conversation, and return its response in place of the value alone.

    Args:
        conversation: The call.
        kind: Of which kind the function is: a generator's items become an iterator of its kind.

    Raises:
        Exception: What the call raises, with a note that says the status, the call's id and the times.
    """
    begun = time.perf_counter()
    replies: list[Reply | TransportError] = []

    def look(step: Send | Wait, outcome: Reply | TransportError | None) -> None:
        # Others than the function may be asked too: the gateway, whether Away published it.
        if isinstance(step, Send) and step.request.path.startswith("/function/"):
            assert outcome is not None, "what is sent comes to something"
            replies.append(outcome)

    try:
        value = yield from watched(conversation, look)
    except Exception as error:
        note = _note(replies, time.perf_counter() - begun)
        if note:
            error.add_note(note)
        raise
    last = replies[-1]
    assert isinstance(last, Reply), "a value comes of an answer"
    return Response(
        _given_by(kind, value),
        last.status,
        last.headers,
        time.perf_counter() - begun,
        _seconds(last),
        last.call_id,
        len(replies),
    )


def _given_by(kind: Kind, value: Any) -> Any:
    if kind == "generator":
        return iter(value)
    return _each(value) if kind == "async generator" else value


async def _each(items: Iterable[T]) -> AsyncIterator[T]:
    for item in items:
        yield item


def _seconds(reply: Reply) -> float | None:
    """Return what the function's side says of the time that it took; it is others' text."""
    said = reply.headers.get(DURATION_HEADER)
    try:
        seconds = float(said) if said is not None else -1.0
    except ValueError:
        return None
    return seconds if 0.0 <= seconds < 1e9 else None


def _note(replies: list[Reply | TransportError], duration: float) -> str:
    last = replies[-1] if replies else None
    if not isinstance(last, Reply):
        return ""
    seconds = _seconds(last)
    inside = "" if seconds is None else f", {seconds:.3f} s of them in the function"
    return f"the call: status {last.status}, X-Call-Id {last.call_id}, {duration:.3f} s{inside}"
