"""Which files make up the layers of a published function, and where what was made is kept.

Away's runtime, PyYAML, dill and the client are the same for every function, so they are layers of
their own that a registry gets once. What they hold decides their identity, never a date or a folder
of this machine. This module knows nothing of registries and deployments.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from away.exceptions import PublishFailed
from away.publish.image import Layer, make_layer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from away.capture import Captured

__all__ = [
    "FUNCTION_FOLDER",
    "LIBRARY_FOLDER",
    "MODULES_FOLDER",
    "REQUIREMENTS_FOLDER",
    "Part",
    "cache_folder",
    "function_layer",
    "parts_for",
    "private_folder",
    "shared_layer",
    "unpacked",
]

LIBRARY_FOLDER = "opt/away/lib"
REQUIREMENTS_FOLDER = "opt/away/requirements"
FUNCTION_FOLDER = "opt/away/function"
MODULES_FOLDER = f"{FUNCTION_FOLDER}/modules"

# What of Away runs beside a function: its runtime and what that imports.
RUNTIME = (
    "__init__.py",
    "exceptions.py",
    "names.py",
    "secret_texts.py",
    "secrets.py",
    "protocol/*.py",
    "runtime/*.py",
)
# What of Away calls another function from there: everything but what runs on the user's machine.
NOT_CLIENT = (
    "capture/*.py",
    "gateway/*.py",
    "gateway/providers/*.py",
    "publish/*.py",
    "requirements.py",
    "cli.py",
    "declarations.py",
    "terminal.py",
    "__main__.py",
)
# Read by the configuration, which the client needs; of the gateway these two alone.
CLIENT_TOO = ("gateway/__init__.py", "gateway/announcement.py")

File = tuple[str, bytes]


class Part(NamedTuple):
    """A set of files below the library folder; ``identity`` is the hash of all of them."""

    name: str
    identity: str
    files: tuple[File, ...]


def parts_for(captured: Captured) -> tuple[Part, ...]:
    """Return the shared parts that a captured function needs, the most widely shared first."""
    needed = [runtime_part(), yaml_part()]
    if captured.needs_dill:
        needed.append(dill_part())
    if captured.needs_client:
        needed.append(client_part())
    return tuple(needed)


def part(name: str, files: Iterable[File]) -> Part:
    """Make a part of files, sorted, with the hash of their names and contents."""
    found = tuple(sorted(files))
    total = hashlib.sha256()
    for path, data in found:
        total.update(f"{path}\0{len(data)}\0".encode())
        total.update(data)
    return Part(name, total.hexdigest(), found)


@functools.cache
def runtime_part() -> Part:
    """Read the runtime: Away's own files that a container needs."""
    return part("away's runtime", away_files(RUNTIME))


@functools.cache
def client_part() -> Part:
    """Read the rest of the client, for a function that calls another one."""
    packed = {path for path, _ in runtime_part().files}
    packed |= {path for path, _ in away_files(NOT_CLIENT)}
    rest = [file for file in away_files(("*.py", "*/*.py", "*/*/*.py")) if file[0] not in packed]
    return part("away's client", [*rest, *away_files(CLIENT_TOO)])


def away_files(patterns: Iterable[str]) -> list[File]:
    """Read the files of this package that patterns name."""
    root = Path(__file__).resolve().parents[1]
    found = {path for pattern in patterns for path in root.glob(pattern) if path.is_file()}
    return [(f"away/{path.relative_to(root).as_posix()}", path.read_bytes()) for path in found]


@functools.cache
def yaml_part() -> Part:
    """Read PyYAML's pure files: the compiled ones are for this machine alone, and optional."""
    return part("PyYAML", package_files("yaml", lambda path: path.parent.name == "yaml"))


@functools.cache
def dill_part() -> Part:
    """Read dill without its tests, which are a third of it."""
    return part("dill", package_files("dill", lambda path: "tests" not in path.parts[-3:-1]))


def package_files(name: str, wanted: Callable[[Path], bool]) -> list[File]:
    """Read the Python files of an installed package without importing it.

    Raises:
        PublishFailed: It is not installed as files.
    """
    spec = importlib.util.find_spec(name)
    root = Path(spec.origin).parent if spec and spec.origin else None
    if root is None or not root.is_dir():
        raise PublishFailed(
            f"the package {name} goes into every image and is not installed here as files;"
            f" install it with pip",
            step="layers",
        )
    found = sorted(path for path in root.rglob("*.py") if wanted(path))
    return [(f"{name}/{path.relative_to(root).as_posix()}", path.read_bytes()) for path in found]


# ---------------------------------------------------------------- layers of them

_layers: dict[tuple[str, bool], Layer] = {}


def shared_layer(shared: Part, *, docker: bool) -> Layer:
    """Make the layer of a shared part, once in a process."""
    key = (shared.identity, docker)
    if key not in _layers:
        files = ((f"{LIBRARY_FOLDER}/{path}", data) for path, data in shared.files)
        _layers[key] = make_layer(files, docker=docker, comment=shared.name)
    return _layers[key]


def function_layer(captured: Captured, *, docker: bool) -> Layer:
    """Make the layer of the function itself: its payload and the modules packed with it."""
    files = [(f"{FUNCTION_FOLDER}/payload.away", captured.payload)]
    files += [(f"{MODULES_FOLDER}/{each.path}", each.data) for each in captured.files]
    # The folder is the working folder of the process, so it has to be there even when empty.
    return make_layer(files, docker=docker, comment="function", folders=(MODULES_FOLDER,))


# ---------------------------------------------------------------- folders of this user


def cache_folder() -> Path | None:
    """Return the folder for what can be made again; None where this user can write nowhere."""
    import platformdirs

    wanted = Path(platformdirs.user_cache_dir("away", appauthor=False))
    # Without a home, or with one that cannot be written, a temporary folder does as well.
    temporary = Path(tempfile.gettempdir()) / f"away-{getattr(os, 'getuid', lambda: 'user')()}"
    return next((each for each in (wanted, temporary) if private_folder(each)), None)


def private_folder(folder: Path) -> bool:
    """Make a folder that only this user can write to; False if that is not what is there."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except (OSError, ValueError):
        return False
    others = stat.S_IWGRP | stat.S_IWOTH
    owned = not hasattr(os, "getuid") or (
        found.st_uid == os.getuid() and not found.st_mode & others
    )
    return stat.S_ISDIR(found.st_mode) and owned and os.access(folder, os.W_OK | os.X_OK)


def unpacked(parts: Iterable[Part], cache: Path) -> Path:
    """Write parts as files into one folder of the cache, as an image has them, and return it."""
    chosen = tuple(parts)
    total = hashlib.sha256("".join(each.identity for each in chosen).encode()).hexdigest()
    target = cache / f"lib-{total[:24]}"
    if target.is_dir():
        return target
    made = Path(tempfile.mkdtemp(dir=cache, prefix="new-"))
    try:
        for path, data in (file for each in chosen for file in each.files):
            place = made / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
        made.rename(target)
    except OSError:
        # Another process was first, and its folder is the same; anything else shows up on use.
        shutil.rmtree(made, ignore_errors=True)
    return target
