"""Requirements fetched while the base image is still read, for whatever C library it will turn out to have.

Which glibc an image has is known when its layers have been read through, which takes as long as pip
does. So pip is asked for the newest glibc meanwhile. What it finds is what it would find for an older
one as well, if all of that runs there: of fewer wheels the best ones are the same, as long as they are
among them.
"""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from away.publish.resolution import Target, installed_versions, platforms, run_pip

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterable

    from away.publish.pins import Pin

__all__ = ["Early", "runs_on"]

# Newer than any glibc there is.
_NEWEST_GLIBC = (2, 60)

# What is being fetched in this process: functions of one file are published side by side.
_fetching: set[tuple[object, ...]] = set()
_changing = threading.Lock()


class Early:
    """One set of wheels that may come in time.

    Args:
        pins: The distributions.
        cache: The folder in which layers are kept; None where there is none.
    """

    def __init__(self, pins: tuple[Pin, ...], cache: Path | None) -> None:
        self.pins = pins
        self.cache = cache
        self.guess: Target | None = None
        self.failed = ""
        self.folder: tempfile.TemporaryDirectory[str] | None = None
        self.thread: threading.Thread | None = None
        self.process: subprocess.Popen[str] | None = None
        self.ended = False

    def begin(self, architecture: str, python: str) -> None:
        """Begin to fetch for an image of which no more is known yet.

        Args:
            architecture: Its processor.
            python: Its Python's minor version.
        """
        if not self.pins or self.cache is None or self.guess is not None:
            return
        guess = Target(architecture, python, _NEWEST_GLIBC)
        with _changing:
            if self.key(guess) in _fetching:
                return
            _fetching.add(self.key(guess))
        self.guess = guess
        self.folder = tempfile.TemporaryDirectory(dir=self.cache, prefix="wheels-")
        self.thread = threading.Thread(target=self.fetch, name="away wheels", daemon=True)
        self.thread.start()

    def key(self, guess: Target) -> tuple[object, ...]:
        """Return what makes two sets one."""
        return (self.pins, guess, self.cache)

    def fetch(self) -> None:
        """Have pip fetch; whatever comes of it is judged by :meth:`take`."""
        assert self.folder is not None, "it was begun"
        assert self.guess is not None, "it was begun"
        names = {each.name for each in self.pins}
        here = installed_versions().items()
        others = [f"{name}=={have}" for name, have in here if have and name not in names]
        try:
            self.failed = run_pip(
                self.pins, others, self.guess, Path(self.folder.name), started=self.started
            )
        except OSError as error:
            self.failed = str(error)

    def started(self, process: subprocess.Popen[str]) -> None:
        """Take note of the process, which is of no use once this has ended."""
        self.process = process
        if self.ended:
            process.kill()

    def take(self, pins: tuple[Pin, ...], target: Target) -> list[Path]:
        """Return the wheels, if they are those that pip would fetch for a target; else nothing.

        Args:
            pins: What turned out to be missing.
            target: What it turned out to be for.
        """
        if self.thread is None or self.guess is None or self.folder is None:
            return []
        if pins != self.pins or target._replace(glibc=self.guess.glibc) != self.guess:
            return []
        self.thread.join()
        if self.failed or target.is_musl:
            return []
        found = sorted(Path(self.folder.name).glob("*.whl"))
        return found if runs_on((each.name for each in found), target) else []

    def end(self) -> None:
        """Let go of what was fetched, and stop what is not done."""
        self.ended = True
        if self.thread is None or self.guess is None or self.folder is None:
            return
        if self.process is not None:
            self.process.kill()
        self.thread.join()
        self.thread = None
        self.folder.cleanup()
        with _changing:
            _fetching.discard(self.key(self.guess))


def runs_on(wheels: Iterable[str], target: Target) -> bool:
    """Tell whether all that wheels' names say of platforms holds for a target."""
    known = {"any", *platforms(target)}
    # NAME-VERSION[-BUILD]-PYTHON-ABI-PLATFORM.whl, where the last may be several (PEP 425)
    tags = (name.removesuffix(".whl").rpartition("-")[2].split(".") for name in wheels)
    return all(known.issuperset(each) for each in tags)
