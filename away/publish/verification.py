"""What is installed here of a function's requirements, for loading its payload as the image will.

Whether what was packed loads where nothing else is can be tried beforehand; of requirements that the
base image has, those that are installed here stand for them.
"""

from __future__ import annotations

import re
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import importlib.metadata
    from collections.abc import Iterable, Iterator

__all__ = ["installed_here"]


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
    import importlib.metadata

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
