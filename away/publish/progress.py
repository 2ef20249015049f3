"""What a person sees of the steps of a publish: live on a terminal, plain lines in a pipe.

It knows steps by their names and times, and nothing of what they do.
"""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Progress", "Step", "shown"]


class Step(NamedTuple):
    """One step that was taken, and the seconds that it took."""

    name: str
    seconds: float


class Progress:
    """The steps of one publish, in order.

    Args:
        show: Is told of a step when it begins and, with its seconds, when it has ended.
        clock: Gives the time in seconds.
    """

    def __init__(
        self,
        show: Callable[[str, float | None], None] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.show = show
        self.clock = clock
        self.steps: list[Step] = []
        self.current = ""

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a step; the name stays the current one where it fails."""
        self.current = name
        if self.show:
            self.show(name, None)
        begun = self.clock()
        try:
            yield
        finally:
            self.steps.append(Step(name, self.clock() - begun))
        if self.show:
            self.show(name, self.steps[-1].seconds)


class shown:  # noqa: N801 - used as a context manager, by its verb
    """Show the steps of publishing a function: ``with shown(name, gateway) as progress:``.

    Args:
        name: The function, for the heading.
        gateway: Where it goes.
        verbose: False for silence.
        stream: Where to write; standard error if it is left out, so that output stays the script's.
    """

    def __init__(
        self, name: str, gateway: str, *, verbose: bool, stream: TextIO | None = None
    ) -> None:
        self.heading = f"{name} on {gateway}"
        self.stream = stream or sys.stderr
        self.verbose = verbose and self.stream is not None
        self.status: Any = None
        self.begun = False
        self.progress = Progress(self.show if self.verbose else None)

    def __enter__(self) -> Progress:
        return self.progress

    def __exit__(self, *error: object) -> None:
        self.stop()
        if self.verbose and error[0] is not None and self.begun:
            self.write(f"  {self.progress.current}: failed")

    def show(self, name: str, seconds: float | None) -> None:
        """Show that a step begins or has ended."""
        # What costs nothing and changes nothing is not worth a line: the verdict says it.
        if name in QUIET:
            return
        if not self.begun:
            self.begun = True
            self.write(f"publishing {self.heading}")
        if seconds is None:
            self.spin(name)
        else:
            self.stop()
            self.write(f"  {name} {seconds:.2f} s")

    def spin(self, name: str) -> None:
        """On a terminal, show the step that is under way."""
        if not self.is_terminal():
            return
        from rich.console import Console
        from rich.text import Text

        self.status = Console(file=self.stream).status(Text(name))
        self.status.start()

    def is_terminal(self) -> bool:
        """Tell whether a person looks at the stream; a closed one is nobody's."""
        try:
            return self.stream.isatty()
        except ValueError:
            return False

    def stop(self) -> None:
        """End what moves on the terminal."""
        status, self.status = self.status, None
        if status is not None:
            status.stop()

    def verdict(self, text: str) -> None:
        """Write the last line: what came of it."""
        self.stop()
        if self.verbose:
            self.write(text)

    def write(self, line: str) -> None:
        """Write a line; a closed or broken stream never ends a publish."""
        try:
            print(line, file=self.stream, flush=True)
        except (OSError, ValueError):
            self.verbose = False


# Steps of an unchanged function, which takes no others.
QUIET = ("capture", "compare")
