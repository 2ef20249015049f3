"""What the user lists to go along: packages that nobody sees imported, data files, folders.

Files land where they are here, seen from the folder that the function's modules are imported from
(for a script, the folder that it is in), so that code finds them by the paths that it uses here. That
folder is the working folder there.
"""

from __future__ import annotations

import os
import re
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from away.capture.callables import MAIN_NAMES, inner_function
from away.capture.entry import project_of
from away.capture.keys import holds_key, is_key_folder, looks_like_key
from away.capture.modules import MAX_PACKED_BYTES, MAX_PACKED_FILES, walk
from away.exceptions import CaptureRefused
from away.names import printable
from away.requirements import origin

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from os import PathLike

__all__ = [
    "Place",
    "find_included",
    "listed_modules",
    "notes_on_files",
    "place_of",
    "place_of_module",
    "refuse_absent",
]

# A text that may be the name of a data file: short, on one line, with a suffix.
_FILE_NAME = re.compile(r"[\w. /\\-]{0,100}[\w-]\.[A-Za-z][A-Za-z0-9]{0,7}\Z")
_SOURCES = (".py", ".pyc", ".pyi")
_MODULE_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*\Z")


class Place(NamedTuple):
    """Where a function is from.

    Attributes:
        root: The folder that its modules are imported from; files keep their places below it.
        folder: The folder of its file, which relative paths start from.
        project: The folder that nothing may lead out of.
    """

    root: Path
    folder: Path
    project: Path


def place_of(function: Callable[..., Any]) -> Place:
    """Find where a function, or a module published whole, is from.

    Without a file, as in a notebook, the working folder counts.
    """
    whole = getattr(function, "module", None)
    if isinstance(whole, types.ModuleType):
        return place_of_module(whole)
    inner = inner_function(function)
    code = getattr(inner, "__code__", None)
    if not isinstance(code, types.CodeType) or code.co_filename.startswith("<"):
        here = Path.cwd()
        return Place(here, here, here)
    file = Path(code.co_filename).absolute()
    return _place_of_file(file, getattr(inner, "__globals__", {}))


def place_of_module(module: types.ModuleType) -> Place:
    """Find where a module is from; as :func:`place_of` does of a function."""
    return _place_of_file(Path(getattr(module, "__file__", None) or "").absolute(), vars(module))


def _place_of_file(file: Path, namespace: Mapping[str, Any]) -> Place:
    if not file.is_file():
        here = Path.cwd()
        return Place(here, here, here)
    root = file.parent
    # Of a.b.c in a/b/c.py, as of `python -m a.b.c`, the folder above a; of a script its own.
    for _ in range(depth_of(namespace, file)):
        root = root.parent
    project = project_of(file)
    return Place(root, file.parent, project if root.is_relative_to(project) else root)


def depth_of(namespace: Mapping[str, Any], file: Path) -> int:
    """Tell how many packages the module with those globals is in."""
    name = namespace.get("__name__")
    if name in MAIN_NAMES:
        name = getattr(namespace.get("__spec__"), "name", None)
    if not isinstance(name, str) or name in MAIN_NAMES:
        return 0
    parts = name.split(".")
    packages = parts if file.name == "__init__.py" else parts[:-1]
    above = [each.name for each in file.parents][: len(packages)]
    return len(packages) if above == packages[::-1] else 0


def listed_modules(names: Iterable[str]) -> dict[str, str]:
    """Read what the user lists in ``module_imports=``.

    Returns:
        The modules, each with the clause that says what needs it.

    Raises:
        CaptureRefused: An entry is no module's name.
    """
    found = {}
    for name in names:
        if not isinstance(name, str) or _MODULE_NAME.match(name) is None:
            raise CaptureRefused(
                f"{name!r} in module_imports= is no module's name; write it as in an import, like"
                " 'package.module', and files in include="
            )
        found[name] = f"module_imports= lists {name}"
    return found


def refuse_absent(modules: Iterable[str]) -> None:
    """Refuse a listed module that is nowhere: whoever lists it needs it."""
    for name in modules:
        if origin(name).kind == "absent":
            raise CaptureRefused(
                f"module_imports= lists {name}, which is not installed here and is no module of"
                " yours; correct the name, or list what provides it in requirements=",
                path=name,
            )


def find_included(
    paths: Iterable[str | PathLike[str]], place: Place, warnings: list[str]
) -> dict[str, Path]:
    """Find the files of what the user lists in ``include=``.

    Args:
        paths: Files and folders; relative ones start from the folder of the function's file.
        place: Where the function is from.
        warnings: Is added to, where something inside a folder is left out.

    Returns:
        The files by their paths below the folder that modules are imported from, sorted.

    Raises:
        CaptureRefused: One does not exist, leads out of the project or has no place below that
            folder, is a key, or all of them are too large together.
    """
    found: dict[str, Path] = {}
    for given in paths:
        shown = printable(os.fspath(given))
        top = Path(os.path.normpath(place.folder / given))
        below = position(top, place, shown)
        if top.is_dir() and not is_key_folder(below):
            for file in walk(top, warnings):
                inner = file.relative_to(top)
                inside(file, place, f"{shown} in include= has {_shown(inner)}, which")
                found[(below / inner).as_posix()] = file
        elif looks_like_key(top) or is_key_folder(below) or holds_key(top):
            raise CaptureRefused(
                f"{shown} in include= looks like a key or a login, which never goes into an image;"
                " create a secret of it and read that with away.secret('NAME')",
                path=shown,
            )
        else:
            found[below.as_posix()] = top
    check_size(found)
    return dict(sorted(found.items()))


def position(top: Path, place: Place, shown: str) -> Path:
    """Return where something belongs below the folder that modules are imported from."""
    if not top.is_file() and not top.is_dir():
        what = "is neither a file nor a folder" if top.exists() else "does not exist"
        raise CaptureRefused(
            f"{shown} in include= {what}: {_shown(top)}; paths start from {_shown(place.folder)},"
            " where the function is",
            path=shown,
        )
    inside(top, place, f"{shown} in include=")
    if not top.is_relative_to(place.root):
        raise CaptureRefused(
            f"{shown} in include= is not below {_shown(place.root)}, the folder that the function's"
            " modules are imported from, so that it has no place beside them; move it there",
            path=shown,
        )
    return top.relative_to(place.root)


def inside(file: Path, place: Place, shown: str) -> None:
    """Refuse what leads out of the project, by its name or by a link."""
    if file.is_relative_to(place.project) and file.resolve().is_relative_to(
        place.project.resolve()
    ):
        return
    raise CaptureRefused(
        f"{shown} leads out of the project in {_shown(place.project)}, and nothing outside of it is"
        " packed; copy it into the project",
        path=shown.partition(" ")[0],
    )


def _shown(path: Path) -> str:
    """Return a path for people."""
    return printable(str(path))


def check_size(files: Mapping[str, Path]) -> None:
    """Refuse more than a layer of a function should hold."""
    sizes = {name: path.stat().st_size for name, path in files.items()}
    total = sum(sizes.values())
    if total > MAX_PACKED_BYTES or len(files) > MAX_PACKED_FILES:
        largest = max(sizes, key=lambda name: sizes[name])
        raise CaptureRefused(
            f"include= lists {len(files)} files of {total / 1e6:.0f} MB together, the largest"
            f" {largest}, and {MAX_PACKED_FILES} files of {MAX_PACKED_BYTES / 1e6:.0f} MB can be"
            " packed; put large data into the base image or a store",
            path=largest,
        )


def notes_on_files(
    texts: Iterable[tuple[str, object]],
    folders: Iterable[Path],
    packed: Collection[str],
    secret: Collection[str] = (),
) -> list[str]:
    """Tell of data files beside the code that it names and that do not go along.

    Args:
        texts: Texts of the code, each after what has it: ``tools.py, line 3,``.
        folders: Where a file of such a name may be: beside the code, and below the module root.
        packed: The paths that are packed.
        secret: The real paths of files with secrets, of which nothing is told: none is to be packed.

    Returns:
        A note for each file, at most three.
    """
    notes: dict[str, str] = {}
    places = list(dict.fromkeys(folders))
    for where, text in texts:
        if not isinstance(text, str) or _FILE_NAME.match(text) is None:
            continue
        name = os.path.normpath(text)
        if name.endswith(_SOURCES) or name.startswith("..") or Path(name).is_absolute():
            continue
        if any(path == name or path.endswith(f"/{name}") for path in packed):
            continue
        there = [folder / name for folder in places if (folder / name).is_file()]
        if there and not any(os.path.realpath(each) in secret for each in there):
            notes.setdefault(
                name,
                f"{where} names {name}, a file beside it that does not go along; if it is read"
                f" there, pass include=[{name!r}]",
            )
    return list(notes.values())[:3]
