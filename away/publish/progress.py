"""The steps of a publish as numbers: names, times, bytes that were sent.

It knows nothing of what the steps do, and nothing of where a person sees them: that is
:mod:`away.publish.screen`'s.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Listener", "Progress", "Step", "Words", "interruption", "size_of"]


class Step(NamedTuple):
    """One step that was taken, and the seconds that it took without the steps within it."""

    name: str
    seconds: float


class Words(NamedTuple):
    """What a step is called once it is over and while it is under way, and when that is told.

    Attributes:
        over: ``uploaded``.
        under_way: ``uploading``.
        told_from: Seconds from which it is told of: what costs nothing is not worth a line.
    """

    over: str
    under_way: str
    told_from: float = 0.5


WORDS = {
    "capture": Words("captured", "capturing", 0.0),
    "compare": Words("compared", "asking the gateway"),
    "registry": Words("reached the registry", "asking the registry"),
    "base image": Words("read the base image", "reading the base image"),
    "requirements": Words("resolved", "resolving requirements", 0.1),
    "layers": Words("packed", "packing"),
    "build": Words("built", "building", 0.0),
    "push": Words("uploaded", "uploading"),
    "checks": Words("checked", "checking"),
    "deploy": Words("deployed", "deploying", 0.0),
    "ready": Words("ready", "waiting for its answer", 0.0),
}


class Listener(Protocol):
    """Is told of a publish as it goes on."""

    def begun(self, name: str) -> None:
        """Take note that a step begins."""

    def ended(self, step: Step) -> None:
        """Take note that a step is over and went well."""

    def sent(self) -> None:
        """Take note that bytes were sent."""

    def detail(self, text: str) -> None:
        """Take note of a line that something under way prints."""


class Progress:
    """The steps of one publish, in order.

    Args:
        listener: Is told of all that happens.
        clock: Gives the time in seconds.
        check: Is called before each step and as bytes are sent; raises to end the publish there.

    Attributes:
        steps: The steps that were taken.
        current: The step under way; where one failed, that one.
        begun_at: When the first step began; 0 where none has.
        open: The steps under way, the inner ones last.
        bytes_sent: What was uploaded so far.
        bytes_total: What is to be uploaded altogether, as far as that is known.
    """

    def __init__(
        self,
        listener: Listener | None = None,
        clock: Callable[[], float] = time.perf_counter,
        check: Callable[[], None] | None = None,
    ) -> None:
        self.listener = listener
        self.clock = clock
        self.check = check
        self.steps: list[Step] = []
        self.current = ""
        self.bytes_sent = 0
        self.bytes_total = 0
        self.begun_at = 0.0
        self.open: list[str] = []
        self.within = 0.0  # seconds of the steps within the one that is open

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a step; the name stays the current one where it fails."""
        if self.check:
            self.check()
        self.open.append(name)
        self.current = name
        before, self.within = self.within, 0.0
        if self.listener:
            self.listener.begun(name)
        begun = self.clock()
        self.begun_at = self.begun_at or begun
        try:
            yield
        finally:
            seconds = self.clock() - begun
            self.steps.append(Step(name, seconds - self.within))
            self.within = before + seconds
            self.open.pop()
        if self.listener:
            self.listener.ended(self.steps[-1])
        # Between two steps the last one's name is still the best answer to what went wrong.
        self.current = self.open[-1] if self.open else name

    def total(self, count: int) -> None:
        """Add to the bytes that are to be uploaded; a number below zero for what need not be."""
        self.bytes_total = max(0, self.bytes_total + count)

    def sent(self, count: int) -> None:
        """Add to the bytes that were uploaded; below zero where they have to be sent again."""
        if self.check:
            self.check()
        self.bytes_sent = max(0, self.bytes_sent + count)
        if self.listener:
            self.listener.sent()

    def detail(self, text: str) -> None:
        """Tell a line that something under way prints, as the build of an image does."""
        if self.listener:
            self.listener.detail(text)

    def now(self) -> str:
        """Say in words what is under way."""
        if not self.open and self.current in ("", "capture"):
            return "waiting for its turn"
        words = WORDS.get(self.current)
        said = words.under_way if words else self.current
        if self.current != "push" or not self.bytes_total:
            return said
        # A total is known piece by piece, and never less than what went out already.
        total = max(self.bytes_total, self.bytes_sent)
        amount, unit = size_of(total).split()
        return f"{said} {self.bytes_sent / UNITS[unit]:.{places(amount)}f} of {amount} {unit}"

    def over(self, step: Step) -> str:
        """Say in words what a step was; nothing where it is not worth a line."""
        words = WORDS.get(step.name, Words(step.name, step.name, 0.0))
        said = words.over
        if step.name == "push" and self.bytes_sent:
            return f"{said} {size_of(self.bytes_sent)} {step.seconds:.2f} s"
        return f"{said} {step.seconds:.2f} s" if step.seconds >= words.told_from else ""


UNITS = {"bytes": 1, "kB": 1_000, "MB": 1_000_000, "GB": 1_000_000_000}


def size_of(count: int) -> str:
    """Write a number of bytes as people read it: three digits at least where there are more."""
    unit = next((each for each in reversed(UNITS) if count >= UNITS[each]), "bytes")
    amount = count / UNITS[unit]
    if unit == "bytes":
        return f"{count} bytes"
    return f"{amount:.1f} {unit}" if amount < 100 else f"{amount:.0f} {unit}"


def places(amount: str) -> int:
    """Return how many decimal places a number is written with."""
    return len(amount.partition(".")[2])


def interruption(step: str, name: str) -> str:
    """Say what an interrupted publish has changed and what not.

    Args:
        step: The step that was under way; an empty text where none had begun.
        name: The function.
    """
    if step in ("deploy", "ready"):
        return f"{name} was being deployed: the gateway may go on with it, and nothing was put back"
    if step in ("push", "checks"):
        return f"{name} was not deployed; what was uploaded of it stays at the registry"
    return f"{name} was not deployed"
