"""Whether what was packed loads where nothing else is: tried while the image is being pushed.

The interpreter that tries it starts before the first request of the push and is asked for its
verdict before the gateway is: so the one sure test that nothing is missing costs next to no time.
"""

from __future__ import annotations

import importlib.metadata
import re
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from away.connection.conversations import Wait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from away.connection.conversations import Conversation

__all__ = ["Verification", "installed_here"]

_PAUSE_SECONDS = 0.002


class Verification:
    """A check that runs beside a conversation.

    It waits for another process and does nothing else, so it has a thread: the conversation is
    pumped by one driver or the other, and neither is kept from its sockets.

    Args:
        check: Raises for a payload that does not load.
    """

    def __init__(self, check: Callable[[], None]) -> None:
        self.check = check
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self.run, name="away payload check", daemon=True)
        self.thread.start()

    def run(self) -> None:
        """Run the check and keep what it raised."""
        try:
            self.check()
        except BaseException as error:  # raised again in the conversation
            self.error = error

    def verdict(self) -> Conversation[None]:
        """Wait for the check and raise what it raised."""
        while self.thread.is_alive():
            yield Wait(_PAUSE_SECONDS)
        if self.error is not None:
            raise self.error


# ---------------------------------------------------------------- requirements, as they are here


@contextmanager
def installed_here(names: Iterable[str], cache: Path) -> Iterator[Path]:
    """Give a folder with some installed distributions and what they need, and nothing else.

    They are links to where they are installed: what the image will have of them, without what
    happens to be installed beside them.
    """
    with tempfile.TemporaryDirectory(dir=cache, prefix="site-") as name:
        folder = Path(name)
        for distribution in with_needs(names):
            for file in distribution.files or ():
                link(folder, Path(str(distribution.locate_file(""))), file.parts)
        yield folder


def with_needs(names: Iterable[str]) -> Iterator[importlib.metadata.Distribution]:
    """Give installed distributions and, in their turn, those that they need and that are there."""
    todo, seen = list(names), set()
    while todo:
        name = re.sub(r"[-_.]+", "-", todo.pop()).lower()
        if name in seen:
            continue
        seen.add(name)
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        yield found
        # Extras are left out: they would bring half of what is installed, test tools first.
        needs = [need for need in found.requires or () if "extra ==" not in need]
        wanted = [re.match(r"[A-Za-z0-9._-]+", need) for need in needs]
        todo += [each.group() for each in wanted if each]


def link(folder: Path, site: Path, parts: tuple[str, ...]) -> None:
    """Link the top of a distribution's file: its package, or its module."""
    if ".." in parts or parts[-1].endswith(".pth"):
        return
    depth = 1
    # A namespace package is shared by distributions: the link is to the part of this one.
    while depth < len(parts) and not (site.joinpath(*parts[:depth]) / "__init__.py").exists():
        depth += 1
    place = folder.joinpath(*parts[:depth])
    if not place.exists() and site.joinpath(*parts[:depth]).exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(site.joinpath(*parts[:depth]))
