"""The files that every published function shares: Away's runtime, PyYAML, dill, the client.

What they hold decides their identity, never a date or a folder of this machine. This module knows
neither layers nor registries.
"""

from __future__ import annotations

import functools
import hashlib
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from away.exceptions import PublishFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from away.capture import Captured

__all__ = ["Part", "client_part", "dill_part", "parts_for", "runtime_part", "yaml_part"]

# What of Away runs beside a function: its runtime and what that imports.
RUNTIME = (
    "__init__.py",
    "exceptions.py",
    "hidden_modules.py",
    "names.py",
    "secret_texts.py",
    "secrets.py",
    "protocol/*.py",
    "runtime/*.py",
)
# What of Away calls another function from there: everything but what runs on the user's machine.
NOT_CLIENT = (
    "capture/*.py",
    "executor/*.py",
    "gateway/*.py",
    "gateway/providers/*.py",
    "publish/*.py",
    "publish/builders/*.py",
    "testing/*.py",
    "notebook.py",
    "requirements.py",
    "cli.py",
    "command_options.py",
    "declarations.py",
    "described.py",
    "failures.py",
    "hooks/annotation_texts.py",
    "hooks/plain_files.py",
    "hooks/pyi.py",
    "hooks/stub_files.py",
    "outcomes.py",
    "publish_commands.py",
    "secret_commands.py",
    "stub_commands.py",
    "terminal.py",
    "__main__.py",
)
# Read by the configuration, which the client needs; of the gateway these two alone.
CLIENT_TOO = ("gateway/__init__.py", "gateway/announcement.py")

File = tuple[str, bytes]


class Part(NamedTuple):
    """A set of files below the library folder.

    Attributes:
        name: What it is, for people.
        identity: The hash of all of its files.
        files: Paths and contents.
        origin: The folder of the installed package that it was taken from, if it is one.
    """

    name: str
    identity: str
    files: tuple[File, ...]
    origin: Path | None = None

    def __repr__(self) -> str:
        return f"<Part {self.name}: {len(self.files)} files>"


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
    """Read PyYAML's pure files: what is compiled, and what wraps that, is for this machine alone."""
    return package_part("PyYAML", "yaml", lambda path: path.name != "cyaml.py")


@functools.cache
def dill_part() -> Part:
    """Read dill without its tests, which are a third of it."""
    return package_part("dill", "dill", lambda path: "tests" not in path.parts[-3:-1])


def package_part(label: str, name: str, wanted: Callable[[Path], bool]) -> Part:
    """Read the Python files of an installed package without importing it.

    Raises:
        PublishFailed: It is not installed as files.
    """
    spec = PathFinder.find_spec(name)
    root = Path(spec.origin).parent if spec and spec.origin else None
    if root is None or not root.is_dir():
        raise PublishFailed(
            f"the package {name} goes into every image and is not installed here as files;"
            f" install it with pip",
            step="layers",
        )
    paths = [path for path in root.rglob("*.py") if wanted(path)]
    files = [(f"{name}/{path.relative_to(root).as_posix()}", path.read_bytes()) for path in paths]
    return part(label, files)._replace(origin=root)
