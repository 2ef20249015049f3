"""What can be known beforehand of how a function will load in its image.

Whether what was packed loads where nothing else is can be tried; of requirements that the base image
has, those that are installed here stand for them. It is tried with the Python that publishes, so of
an image with another minor version only the form of what was captured can be judged.
"""

from __future__ import annotations

import re
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from away.exceptions import PublishFailed
from away.names import printable
from away.publish.compiled import MINOR
from away.syntax_trees import parse

if TYPE_CHECKING:
    import importlib.metadata
    from collections.abc import Iterable, Iterator

    from away.capture import Captured
    from away.publish.builders import Base

__all__ = ["check_python", "installed_here", "python_of"]

# What Away's runtime, which is packed too, is written for.
OLDEST = (3, 11)
_VERSION = re.compile(r"(\d{1,3})\.(\d{1,3})(?![\d])")


def python_of(base: Base, given: str | None) -> str:
    """Return a base image's minor version of Python: its own word, else the user's.

    Args:
        base: What is known of the image.
        given: The ``python=`` of the user.

    Returns:
        The version; an empty text where nobody says it.

    Raises:
        PublishFailed: The user says another one than the image, or what is none.
    """
    if not given:
        return base.python
    wanted = ".".join(map(str, version_of(given)))
    if _VERSION.match(base.python) is None:
        return wanted
    if version_of(base.python) != version_of(given):
        raise PublishFailed(
            f"the base image {printable(base.name)} has Python {printable(base.python)}, and"
            f" python={printable(given)!r} says another; leave python= out, which counts where an"
            f" image does not say it, or pass a base_image= with Python {wanted}",
            step="base image",
            hint="leave python= out",
        )
    return wanted


def check_python(captured: Captured, base: str, python: str) -> None:
    """Check that a function runs on an image's minor version of Python, as far as can be told.

    A function that is packed as source carries over to another minor version, if that version can
    read the source. What goes by value does not: bytecode of another minor version does not fail,
    it crashes the process when called.

    Args:
        captured: The function.
        base: The image's name.
        python: Its minor version.

    Raises:
        PublishFailed: It does not run there; the message names both versions.
    """
    theirs = version_of(python)
    if theirs < OLDEST:
        raise other_python(
            base,
            python,
            f"Away's runtime needs Python {OLDEST[0]}.{OLDEST[1]} or later; pass another base_image=",
        )
    if theirs == version_of(MINOR):
        return
    shown = printable(captured.entry)
    by_value = captured.form == "dill"
    if by_value or not captured.description.safe:
        how = "by value" if by_value else "pickles (safe_args=False)"
        raise other_python(
            base,
            python,
            f"this is Python {MINOR}, and {shown} {'travels' if by_value else 'takes'}"
            f" {how}, whose bytecode Python {printable(python)} cannot run; pass a base_image= with"
            f" Python {MINOR}, publish with Python {printable(python)}, or move the function into a"
            " module, which is packed as source",
        )
    for file in captured.files if theirs < version_of(MINOR) else ():
        if file.path.endswith(".py") and (line := newer_syntax(file.data, theirs)) is not None:
            raise other_python(
                base,
                python,
                f"{printable(file.path)}, line {line}, is written in Python {MINOR}'s syntax, which"
                f" it cannot read; pass a base_image= with Python {MINOR}",
            )


def version_of(python: str) -> tuple[int, int]:
    """Read a minor version.

    Raises:
        PublishFailed: It is none.
    """
    found = _VERSION.match(python)
    if found is None:
        raise PublishFailed(
            f"{printable(repr(python))} is no minor version of Python; pass python= as '{MINOR}'",
            step="base image",
        )
    return int(found[1]), int(found[2])


def other_python(base: str, python: str, why: str) -> PublishFailed:
    """Make the error for a base image whose Python cannot run the function."""
    return PublishFailed(
        f"the base image {printable(base)} has Python {printable(python)}, and {why}",
        step="base image",
        hint=f"pass a base_image= with Python {MINOR}",
    )


def newer_syntax(source: bytes, version: tuple[int, int]) -> int | None:
    """Return the line of what an older Python cannot read in a source that this one can.

    The parser tells most of that by itself (its ``feature_version``), though not everything.
    """
    try:
        parse(source)
    except (SyntaxError, ValueError):
        return None  # no source at all, or a template
    try:
        parse(source, feature_version=version)
    except SyntaxError as error:
        return error.lineno or 1
    return None


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
