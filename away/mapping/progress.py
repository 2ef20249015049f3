"""What a person sees of a long map: a bar on a terminal or in a notebook, and nothing anywhere else.

It has no thread of its own: whoever reads results moves it on.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Bar"]

# What is done sooner needs no bar.
SHOWN_FROM_SECONDS = 1.0
_EVERY_SECONDS = 0.1


class _Screen(Protocol):
    def show(self, done: int) -> None: ...
    def end(self) -> None: ...


class Bar:
    """A bar that appears when a map takes long.

    Args:
        name: What is mapped.
        total: How many results there will be, as far as that is known.
        progress: True to show it at once and anywhere, False never, None where a person looks.
        clock: Tells seconds.

    Attributes:
        tick_seconds: How often it wants to be moved though nothing came; None for never.
    """

    def __init__(
        self,
        name: str,
        total: int | None,
        progress: bool | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._total = total
        self._clock = clock
        self._done = 0
        self._screen: _Screen | None = None
        wanted = progress if progress is not None else _someone_looks()
        self.tick_seconds = _EVERY_SECONDS if wanted else None
        self._next = clock() + (0.0 if progress else SHOWN_FROM_SECONDS)

    def move(self, count: int = 0) -> None:
        """Take note of further results."""
        self._done += count
        if self.tick_seconds is None:
            return
        now = self._clock()
        if now < self._next:
            return
        self._next = now + _EVERY_SECONDS
        if self._screen is None:
            make = _Notebook if _in_notebook() else _Terminal
            self._screen = make(self._name, self._total)
        self._screen.show(self._done)

    def end(self) -> None:
        """Leave the bar as it is, and the cursor below it."""
        screen, self._screen, self.tick_seconds = self._screen, None, None
        if screen is not None:
            screen.show(self._done)
            screen.end()


def _in_notebook() -> bool:
    return "ipykernel" in sys.modules


def _someone_looks() -> bool:
    if _in_notebook():
        return True
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):  # no stderr, or a closed one
        return False


class _Terminal:
    """A line of rich's on stderr; rich is imported here and nowhere sooner."""

    def __init__(self, name: str, total: int | None) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._progress.add_task(name, total=total)
        self._progress.start()

    def show(self, done: int) -> None:
        self._progress.update(self._task, completed=done)
        self._progress.refresh()

    def end(self) -> None:
        self._progress.stop()


class _Notebook:
    """HTML's own bar in the cell, which needs no widgets."""

    def __init__(self, name: str, total: int | None) -> None:
        import html

        self._name = html.escape(name)
        self._total = total
        self._handle: Any = None

    def show(self, done: int) -> None:
        from importlib import import_module

        shown: Any = import_module("IPython.display")
        of = f" of {self._total:,}" if self._total is not None else ""
        full = f' max="{self._total}" value="{done}"' if self._total is not None else ""
        text = shown.HTML(f"<progress{full}></progress> <code>{self._name}</code> {done:,}{of}")
        if self._handle is None:
            self._handle = shown.display(text, display_id=True)
        elif self._handle is not None:
            self._handle.update(text)

    def end(self) -> None:
        pass
