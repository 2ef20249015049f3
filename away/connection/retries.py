"""Which outcomes are tried again, how often, and after which pauses: a table, and who keeps count."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from away.connection.messages import PROTOCOL_HEADER, Reply
from away.connection.transport_errors import ConnectFailed, CutShort, NoAnswer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from away.connection.messages import Deadline
    from away.connection.transport_errors import TransportError

__all__ = ["RETRIES", "Attempts", "Retry", "Updates", "event_of"]


class Updates(Protocol):
    """What is known of this process's own updates of one function."""

    def running(self) -> bool:
        """Whether one runs, or ended a moment ago: the gateway may not know the function."""

    def holding(self) -> bool:
        """Whether one runs at a gateway that loses what is sent meanwhile."""

    def happened_within(self, seconds: float) -> bool:
        """Whether one ran at any moment of the last so many seconds."""


class Retry(NamedTuple):
    """When an outcome is tried again.

    Attributes:
        outcome: What happened, for people.
        condition: ``always`` where nothing can have run; ``repeatable`` where the caller said that
            the request may be repeated; ``updating`` while this process updates that function.
        lasts: Seconds after the first outcome of this kind in which it is tried again.
        most: How often at most.
        first_pause: Seconds before the first repetition; each further pause doubles.
        longest_pause: Seconds that no pause exceeds.
    """

    outcome: str
    condition: Literal["always", "repeatable", "updating"]
    lasts: float
    most: int
    first_pause: float
    longest_pause: float


# An outcome that is not here is never tried again. A platform 500 is also what a function gives that
# was killed in mid-call, and a connection closed without an answer is what a gateway's limit of time
# looks like: after either the function may have run.
RETRIES: Mapping[str, Retry] = {
    "refused": Retry("the connection was refused", "always", 2.0, 100, 0.05, 0.4),
    "unknown": Retry("the gateway knows no such function", "updating", 60.0, 1000, 0.05, 0.5),
    "busy": Retry("Away's runtime is full or ending (503)", "always", 5.0, 100, 0.05, 0.5),
    "unreachable": Retry("the function does not listen (500, 503)", "repeatable", 10.0, 60, 0.1, 1),
    "no answer": Retry("closed without an answer", "repeatable", 10.0, 1, 0.05, 0.05),
    "cut short": Retry("closed in mid-answer", "repeatable", 10.0, 1, 0.05, 0.05),
}


# Of an attempt with less time than this, one would learn that it had none, and no longer why the one
# before it failed.
LEAST_SECONDS = 0.05


def event_of(outcome: Reply | TransportError) -> str | None:
    """Name the row of :data:`RETRIES` that an outcome falls under, if any."""
    if isinstance(outcome, Reply):
        if outcome.status == 404 and outcome.found_no_function:
            return "unknown"
        if outcome.status == 503 and outcome.headers.get(PROTOCOL_HEADER) is not None:
            return "busy"
        if outcome.status in (500, 503) and outcome.is_platforms:
            return "unreachable"
        return None
    if isinstance(outcome, ConnectFailed):
        return "refused" if outcome.refused else None
    if isinstance(outcome, NoAnswer):
        return "no answer"
    return "cut short" if isinstance(outcome, CutShort) else None


class Attempts:
    """Decide, outcome by outcome, whether a request is tried again and after which pause."""

    __slots__ = ("_deadline", "_patient", "_repeatable", "_tried", "_updates")

    def __init__(
        self,
        deadline: Deadline,
        *,
        repeatable: bool,
        updates: Updates | None,
        patient: bool = True,
    ) -> None:
        self._deadline = deadline
        self._patient = patient
        self._repeatable = repeatable
        self._updates = updates
        # event → how often it was tried again already, and when it came first
        self._tried: dict[str, tuple[int, float]] = {}

    def pause(self, outcome: Reply | TransportError) -> float | None:
        """Return the seconds to wait before trying again; None if this outcome is the last."""
        event = event_of(outcome)
        if event is None or not self._allows(rule := RETRIES[event]):
            return None
        if event == "refused" and not self._patient:
            return None
        now = self._deadline.elapsed()
        count, first = self._tried.get(event, (0, now))
        pause = min(rule.first_pause * 2.0 ** min(count, 30), rule.longest_pause)
        lasts_too_long = now - first + pause > rule.lasts
        too_late = pause + LEAST_SECONDS >= self._deadline.remaining()
        if count >= rule.most or lasts_too_long or too_late:
            return None
        self._tried[event] = (count + 1, first)
        return pause

    def _allows(self, rule: Retry) -> bool:
        if rule.condition == "updating":
            return self._updates is not None and self._updates.running()
        return rule.condition == "always" or self._repeatable
