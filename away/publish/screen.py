"""What a person sees of publishes: live on a terminal, plain lines in a pipe, nothing when asked.

One publish is a heading and a line a step. Several at once are one live line each on a terminal, and
lines that begin with the function's name in a pipe. A stream that is closed never ends a publish, and
rich is imported where a terminal is, and nowhere else.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, TextIO

from away.names import printable
from away.publish.progress import Progress, interruption

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from away.publish.progress import Step

__all__ = ["Screen", "screen_of", "shown"]

# What costs nothing and changes nothing is not worth a heading: an unchanged function has no others.
QUIET = ("capture", "compare")
# In a pipe, as in the log of a CI job, a long upload shows that it lives by a line now and then.
SAY_EVERY_SECONDS = 10.0
FRAMES_PER_SECOND = 8
# What a name may take of a line that has more to say.
NAME_COLUMNS = 40


class shown:  # noqa: N801 - used as a context manager, by its verb
    """Show the steps of publishing a function: ``with shown(name, gateway) as progress:``.

    Args:
        name: The function, for the heading.
        gateway: Where it goes.
        verbose: False for silence.
        stream: Where to write; standard error if it is left out, so that output stays the script's.
        screen: Where others are shown beside it; that of the stream if it is left out.
        check: Is called before each step; raises to end the publish there.
    """

    def __init__(
        self,
        name: str,
        gateway: str,
        *,
        verbose: bool,
        stream: TextIO | None = None,
        screen: Screen | None = None,
        check: Callable[[], None] | None = None,
    ) -> None:
        self.name = printable(name)
        self.gateway = gateway
        self.verbose = verbose
        self.stream = stream or sys.stderr
        self.screen = screen or Screen(None)
        self.shared = screen is None
        self.progress = Progress(self if self.verbose else None, check=check)
        self.kept: list[str] = []
        self.headed = False
        self.last_line = ""
        self.ended_as = ""
        self.said_at = time.monotonic()

    def __enter__(self) -> Progress:
        if self.verbose:
            if self.shared:
                self.screen = screen_of(self.stream)
            self.screen.join(self)
        return self.progress

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if not self.verbose:
            return
        if kind is not None and self.headed and not self.screen.kept:
            self.write(self.failure(kind))
        self.ended_as = self.ended_as or ("failed" if kind else "")
        self.screen.leave(self)

    def failure(self, kind: type[BaseException]) -> str:
        """Say in a line what ended the publish, as far as it is known here."""
        if issubclass(kind, KeyboardInterrupt):
            return f"  interrupted: {interruption(self.progress.current, self.name)}"
        return f"  {self.progress.now()}: failed"

    # ------------------------------------------------------------ what the progress tells

    def begun(self, name: str) -> None:
        """Show the heading once something is done that takes time."""
        self.last_line = ""
        if name in QUIET:
            return
        if not self.headed:
            self.headed = True
            if self.screen.plural:
                self.write(f"publishing on {self.gateway}")
            else:
                self.write(f"publishing {self.name} on {self.gateway}")
            for line in self.kept:
                self.write(line)
        self.screen.wake()

    def ended(self, step: Step) -> None:
        """Show a line for a step that was worth one; what it printed is not the next one's."""
        self.last_line = ""
        said = self.progress.over(step)
        if not said:
            return
        if self.headed:
            self.write(f"  {said}")
        else:
            self.kept.append(f"  {said}")

    def sent(self) -> None:
        """Show in a pipe now and then how far an upload is; a terminal looks by itself."""
        now = time.monotonic()
        if not self.screen.terminal and now - self.said_at >= SAY_EVERY_SECONDS:
            self.said_at = now
            self.write(f"  {self.progress.now()}")

    def detail(self, text: str) -> None:
        """Show a line of a build: the last one on a terminal, all of them in a pipe."""
        self.last_line = printable(text.strip())
        if self.last_line and not self.screen.terminal:
            self.write(f"  | {self.last_line}")

    # ------------------------------------------------------------ what is written

    def write(self, line: str) -> None:
        """Write a line; where others are shown beside it, with its name, or not at all."""
        if not self.screen.has_rows():
            self.screen.write(f"{self.name}: {line.lstrip()}" if self.screen.plural else line)

    def verdict(self, text: str, short: str = "") -> None:
        """Write the last lines: what is to be known, and what came of it.

        Args:
            text: The lines.
            short: The same for a row that has the name already.
        """
        self.ended_as = short or text.rpartition("\n")[2]
        if not self.verbose or self.screen.has_rows(ended=True):
            return
        notes = text.split("\n")
        last = notes.pop()
        for note in notes:
            self.write(note)
        self.screen.write(last)

    def failed(self, error: Exception) -> None:
        """Show that the publish has failed, where others go on."""
        self.ended_as = f"failed ({getattr(error, 'step', '') or type(error).__name__})"
        if self.verbose and self.screen.plural:
            self.write(self.ended_as)
        elif self.verbose and self.headed:
            self.write(f"  {self.progress.now()}: failed")

    def row(self) -> tuple[str, str, str]:
        """Return what the terminal's line shows: the name, what is under way, the seconds."""
        if self.ended_as:
            return self.name, self.ended_as, ""
        said = self.progress.now()
        if not self.progress.begun_at:
            return self.name, said, ""
        seconds = f"{self.progress.clock() - self.progress.begun_at:.0f} s"
        return self.name, f"{said}  {self.last_line}" if self.last_line else said, seconds


class Screen:
    """A stream that publishes are shown on, one or several at once.

    Args:
        stream: Where to write.
        plural: True from the start where several are to come; else once a second one joins.

    Attributes:
        terminal: Whether a person looks at it.
        active: How many use it that found it by :func:`screen_of`.
    """

    def __init__(self, stream: TextIO | None, *, plural: bool = False) -> None:
        self.stream = stream
        self.plural = plural
        self.kept = plural  # whether rows stay until all are over
        self.terminal = is_terminal(stream)
        self.rows: list[shown] = []
        self.active = 0
        self.live: Any = None
        self.lock = threading.RLock()  # guards rows, live, and the order of lines

    def join(self, row: shown) -> None:
        """Show one more publish."""
        with self.lock:
            if row not in self.rows:
                self.rows.append(row)
            self.plural = self.plural or len(self.rows) > 1

    def leave(self, row: shown) -> None:
        """Show a publish no more; the last one ends what moves."""
        with self.lock:
            if self.kept:
                return
            self.rows.remove(row)
            self.active -= 1
            if not self.rows:
                self.plural = False
                self.stop()

    def has_rows(self, *, ended: bool = False) -> bool:
        """Tell whether each publish has a live line, so that none of them writes its steps."""
        if not (self.terminal and self.plural):
            return False
        return self.kept or not ended

    def close(self) -> None:
        """End the showing of several, whose last state stays on the screen."""
        with self.lock:
            self.stop()
            self.rows.clear()
            self.kept = self.plural = False

    # ------------------------------------------------------------ writing

    def write(self, text: str) -> None:
        """Write lines, above what moves; a closed or broken stream never ends a publish."""
        with self.lock:
            if self.live is not None:
                from rich.text import Text

                self.live.console.print(Text(text), soft_wrap=True)
            elif self.stream is not None:
                try:
                    print(text, file=self.stream, flush=True)
                except (OSError, ValueError):
                    self.stream = None

    def wake(self) -> None:
        """On a terminal, begin to show what is under way."""
        with self.lock:
            if not self.terminal or self.live is not None or self.stream is None:
                return
            from rich.console import Console
            from rich.live import Live

            patient: Any = Patient(self.stream)
            console = Console(file=patient, highlight=False)
            self.live = Live(
                console=console,
                get_renderable=lambda: self.render(console.width),
                refresh_per_second=FRAMES_PER_SECOND,
                transient=not self.kept,
                # What the user's program prints meanwhile goes where it always goes.
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self.live.start()

    def stop(self) -> None:
        """End what moves."""
        live, self.live = self.live, None
        if live is not None:
            live.stop()

    def render(self, columns: int) -> Any:
        """Draw the lines of all publishes as they are now, on so many columns."""
        from rich.cells import cell_len
        from rich.spinner import Spinner
        from rich.table import Table
        from rich.text import Text

        encoding = (getattr(self.stream, "encoding", None) or "").lower()
        rows = list(self.rows)
        told = [row.row() for row in rows]
        if not self.plural:
            told = [("", *each[1:]) for each in told]
        names, middle, times = widths([[cell_len(text) for text in each] for each in told], columns)
        grid = Table.grid(padding=(0, 1))
        grid.add_column(width=1)
        if self.plural:
            grid.add_column(no_wrap=True, overflow="ellipsis", width=names)
        grid.add_column(no_wrap=True, overflow="ellipsis", width=middle)
        grid.add_column(no_wrap=True, justify="right", width=times)
        for row, (name, said, seconds) in zip(rows, told, strict=True):
            mark: Any = Text(" ")
            if not row.ended_as:
                mark = Spinner("dots" if "utf" in encoding else "line")
                mark.start_time = 0.0
            cells = [Text(said), Text(seconds)]
            grid.add_row(mark, *([Text(name), *cells] if self.plural else cells))
        return grid


def widths(lengths: Sequence[Sequence[int]], columns: int) -> tuple[int, int, int]:
    """Divide a line: names and times stay whole, and what is said between them is cut.

    Args:
        lengths: How long the name, what is said, and the time of each row are.
        columns: How long a line may be.
    """
    names, said, times = (max((each[at] for each in lengths), default=0) for at in range(3))
    names, times = max(1, min(names, NAME_COLUMNS)), max(1, times)
    # The mark before them, and a blank behind each.
    left = columns - 2 - (names + 1) - (times + 1)
    return names, max(1, min(said, left)), times


class Patient:
    """A stream whose end nobody notices: rich's own thread would complain of it.

    Args:
        stream: What to write to while it takes what is written.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write, unless nobody reads any more."""
        try:
            return self.stream.write(text)
        except (OSError, ValueError):
            return len(text)

    def flush(self) -> None:
        """Flush, unless nobody reads any more."""
        try:
            self.stream.flush()
        except (OSError, ValueError):
            return

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def is_terminal(stream: TextIO | None) -> bool:
    """Tell whether a person looks at a stream; a closed one is nobody's."""
    try:
        looked_at = stream is not None and stream.isatty()
    except (OSError, ValueError):
        return False
    # A terminal that cannot move its cursor is served as a pipe is.
    return looked_at and os.environ.get("TERM", "") not in ("", "dumb", "unknown")


# The screens that are in use, so that publishes that run at once share the terminal.
_screens: list[Screen] = []
_screens_lock = threading.Lock()


def screen_of(stream: TextIO | None) -> Screen:
    """Return the screen that all publishes to a stream share while one of them runs."""
    with _screens_lock:
        _screens[:] = [each for each in _screens if each.active]
        found = next((each for each in _screens if each.stream is stream), None)
        if found is None:
            found = Screen(stream)
            _screens.append(found)
        found.active += 1
        return found
