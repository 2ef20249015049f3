"""The modules that a function needs: the user's own as files to pack, the others as requirements.

A local module is packed as source, with the whole top-level package that it belongs to, data files
included. Its imports are read from the source and followed; nothing is imported here.
"""

from __future__ import annotations

import ast
import os
import re
from fnmatch import fnmatch
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from away.capture.bytecode import Import
from away.capture.callables import MAIN_NAMES
from away.capture.declared_secrets import know_declared, may_declare
from away.capture.keys import holds_key, looks_like_key
from away.capture.leaks import line_of_secret
from away.capture.named_texts import never_runs, read_texts
from away.exceptions import CaptureRefused
from away.names import printable
from away.requirements import Requirement, module_file, origin, requirement
from away.secret_texts import declared, known, known_files, name_of
from away.syntax_trees import parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from away.requirements import Origin

__all__ = [
    "Needs",
    "PackedFile",
    "gather",
    "importable",
    "imports_of",
    "is_local",
    "needs_client",
    "walk",
]

_FOLDERS = frozenset({"__pycache__", "CVS", "_darcs", "node_modules"})
_LEFT_OUT = ("*.pyc", "*.pyo", "*.swp", "*~")
_COMPILED = frozenset({".so", ".pyd", ".dylib"})

# A layer of more than this is a folder of data that lies beside a module, not a package.
MAX_PACKED_BYTES = 64 * 1024 * 1024
MAX_PACKED_FILES = 10_000

# How the note of a module that is not here ends, without which the function fails there.
NOT_PACKED = ", so it is not packed"

# What is in every image, so that code may import it there without the client.
_AWAY_EVERYWHERE = frozenset(
    {"", "exceptions", "names", "protocol", "runtime", "secret", "secrets"}
)
_STAND_INS = frozenset({"builder", "FaasConnection", "configure"})


class PackedFile(NamedTuple):
    """A file that goes along, by its path below a folder of ``sys.path``."""

    path: str
    data: bytes

    def __repr__(self) -> str:
        return f"<PackedFile {self.path}, {len(self.data)} bytes>"


class Needs(NamedTuple):
    """What the modules that a function needs amount to.

    Attributes:
        files: Files to pack.
        requirements: Distributions to pin.
        gateways: Names of gateways that are imported from.
        client: Whether Away's client is needed.
        warnings: What the user may want to know.
        texts: Texts of modules that are single files, each after where it stands.
    """

    files: tuple[PackedFile, ...]
    requirements: tuple[Requirement, ...]
    gateways: tuple[str, ...]
    client: bool
    warnings: tuple[str, ...]
    texts: tuple[tuple[str, str], ...] = ()


def is_local(name: str) -> bool:
    """Tell whether a module is one of the user's own files, which can be packed by its name."""
    found = origin(name)
    if found.kind != "local":
        return False
    return found.file is None or found.file.suffix == ".py"


def importable(module: str) -> bool:
    """Tell whether a module will be found by its name where the function runs."""
    if module in MAIN_NAMES:
        return False
    found = origin(module)
    return found.kind in {"standard", "installed", "away"} or is_local(module)


def needs_client(name: str) -> bool:
    """Tell whether a body that uses a module or public name of Away's needs the client there."""
    top, _, rest = name.partition(".")
    return top == "away" and rest.partition(".")[0] not in _AWAY_EVERYWHERE


def gather(
    wanted: Mapping[str, str],
    *,
    users: Iterable[Requirement] = (),
    secrets: Iterable[str] = (),
    included: Mapping[str, Path] | None = None,
    entry: str = "",
) -> Needs:
    """Follow the modules that a function needs to all that they need.

    Args:
        wanted: Dotted names of modules, each with a clause that says what needs it. A name may be
            an attribute of a module instead, as the ``b`` of ``from a import b``.
        users: The requirements that the user listed.
        secrets: Secrets that no packed file may hold.
        included: Files that the user listed, by the paths that they are packed under; what those
            of Python import is followed too.
        entry: ``module:qualname`` of the function, of whose module only what it reaches names files.

    Raises:
        CaptureRefused: A module that cannot be packed or pinned, or a file with a secret.
    """
    return _Gathering(tuple(users), frozenset(secrets), entry).run(wanted, included or {})


class _Gathering:
    """One walk over modules; used once."""

    def __init__(self, users: tuple[Requirement, ...], secrets: frozenset[str], entry: str) -> None:
        self.module, _, self.function = entry.partition(":")
        self.users = users
        self.secrets = secrets
        self.seen: set[str] = set()
        self.local: dict[str, Origin] = {}
        self.places: dict[str, Path] = {}
        self.requirements: dict[str, Requirement] = {each.name.lower(): each for each in users}
        self.gateways: set[str] = set()
        self.client = False
        self.warnings: list[str] = []
        self.texts: list[tuple[str, str]] = []

    def run(self, wanted: Mapping[str, str], included: Mapping[str, Path]) -> Needs:
        waiting = [Wanted(name, why) for name, why in sorted(wanted.items())]
        for path, file in included.items():
            waiting.extend(_imports_of_included(path, file))
        while waiting:
            waiting.extend(self.visit(waiting.pop()))
        files = [file for name in sorted(self.local) for file in self.pack(self.local[name])]
        packed = {file.path for file in files}
        files += [self.read(path, file) for path, file in included.items() if path not in packed]
        self.check(files)
        return Needs(
            tuple(files),
            tuple(sorted(self.requirements.values(), key=lambda each: each.name.lower())),
            tuple(sorted(self.gateways)),
            self.client,
            tuple(dict.fromkeys(self.warnings)),
            tuple(self.texts),
        )

    def visit(self, wanted: Wanted) -> list[Wanted]:
        """Put one module where it belongs, and return what it imports itself."""
        if wanted.name in self.seen:
            return []
        self.seen.add(wanted.name)
        found = origin(wanted.name)
        if found.kind == "away":
            self.note_away(wanted.name)
        elif found.kind == "absent":
            if not wanted.optional and not self.is_listed(found.name):
                so = "; a requirement that you listed may bring it" if self.users else NOT_PACKED
                self.warnings.append(f"{wanted.why}, and {found.name} is not installed here{so}")
        elif found.kind == "installed" and not _is_namespace(wanted.name, found):
            required = self.require(wanted, found)
            if required is None:
                return self.enter(wanted, found)
        elif found.kind == "local":
            return self.enter(wanted, found)
        return []

    def is_listed(self, module: str) -> bool:
        """Tell whether the user listed a distribution of a module's name, which is packed then."""
        return _spelt(module) in {_spelt(each.name) for each in self.users}

    def note_away(self, name: str) -> None:
        _, _, rest = name.partition(".")
        part, _, below = rest.partition(".")
        if part == "remote":
            gateway = below.partition(".")[0]
            if gateway == "aio":
                gateway = below.partition(".")[2].partition(".")[0]
            if gateway:
                self.gateways.add(gateway)
            self.client = True
        elif part not in _AWAY_EVERYWHERE | _STAND_INS:
            self.client = True

    def require(self, wanted: Wanted, found: Origin) -> Requirement | None:
        try:
            required = requirement(wanted.name, wanted.why, users=self.users, found=found)
        except CaptureRefused:
            if wanted.optional:
                return Unneeded
            raise
        if required is not None:
            self.requirements.setdefault(required.name.lower(), required)
        return required

    def enter(self, wanted: Wanted, found: Origin) -> list[Wanted]:
        """Note a module of the user's to be packed, and read what it imports."""
        if found.shadows:
            raise CaptureRefused(
                f"{wanted.why}, which here is {found.file or found.folders[0]} and hides Python's"
                f" own module {found.name}; rename that file",
                path=wanted.name,
            )
        file = module_file(wanted.name, found)
        if file is not None and file.suffix != ".py":
            raise _not_source(wanted, file)
        self.local.setdefault(found.name, found)
        # Importing a.b.c runs a, a.b and a.b.c, each with imports of its own.
        parents = [Wanted(each, wanted.why, wanted.optional) for each in _parents(wanted.name)]
        if file is None:
            return parents
        if not found.folders:
            shown = _shown(wanted.name, file)
            texts = read_texts(file, self.function if wanted.name == self.module else "")
            self.texts += [(f"{shown}, line {line},", text) for line, text in texts]
        return parents + _imports_of_module(wanted, file)

    def pack(self, found: Origin) -> Iterator[PackedFile]:
        """Read the files of one top-level module or package, sorted by path."""
        if not found.folders and found.file is not None:
            yield self.read(f"{found.name}.py", found.file)
            return
        listed: dict[str, Path] = {}
        for folder in found.folders:
            for path in walk(folder, self.warnings):
                listed.setdefault(f"{found.name}/{path.relative_to(folder).as_posix()}", path)
        _check_size(found, listed)
        for name in sorted(listed):
            if listed[name].suffix in _COMPILED:
                raise _not_source(Wanted(found.name, f"{found.name} is packed"), listed[name])
            yield self.read(name, listed[name])

    def read(self, path: str, place: Path) -> PackedFile:
        self.places[path] = place
        return PackedFile(path, place.read_bytes())

    def check(self, files: list[PackedFile]) -> None:
        for file in files:
            if file.path.endswith(".py") and may_declare(file.data):
                package = file.path.rpartition("/")[0].replace("/", ".")
                know_declared(self.places[file.path], package)
        secrets, secret_files = self.secrets | known(), known_files()
        for file in files if secrets or secret_files else ():
            if secret_files and os.path.realpath(self.places[file.path]) in secret_files:
                raise CaptureRefused(
                    f"{file.path} is a file that a secret is made of, and would be packed; leave it"
                    " out of include=, or keep it outside of the package, and read the secret there"
                    " with away.secret('NAME')",
                    path=file.path,
                )
            line = line_of_secret(file.data, python=file.path.endswith(".py"), secrets=secrets)
            if line is not None:
                raise _holds_secret(file, line, secrets)


class Wanted(NamedTuple):
    """A module that something needs."""

    name: str
    why: str
    optional: bool = False


# An import that may fail, of what cannot be pinned: as good as absent.
Unneeded = Requirement("", "", "", "")


def _imports_of_module(wanted: Wanted, file: Path) -> list[Wanted]:
    """Return what a module imports, with the clauses that say so."""
    package = wanted.name if file.name == "__init__.py" else wanted.name.rpartition(".")[0]
    found = []
    for each in read_imports(file):
        name = _absolute(each, package)
        why = f"{_shown(wanted.name, file)}, line {each.line}, imports {name}"
        optional = each.optional or wanted.optional
        found.append(Wanted(name, why, optional))
        found.extend(Wanted(f"{name}.{part}", why, optional) for part in each.names if part != "*")
    return found


def _imports_of_included(path: str, file: Path) -> list[Wanted]:
    """Return what a listed file imports; of one in a mere folder, nothing that must be had."""
    *packages, name = path.removesuffix(".py").split("/")
    parts = packages if name == "__init__" else [*packages, name]
    if not path.endswith(".py") or not all(each.isidentifier() for each in parts) or not parts:
        return []
    folders = list(file.parents)[: len(packages)]
    loose = not all((folder / "__init__.py").is_file() for folder in folders)
    return _imports_of_module(Wanted(".".join(parts), "", loose), file)


def _holds_secret(file: PackedFile, line: int, secrets: Iterable[str]) -> CaptureRefused:
    """Say what of a file is secret, and what to do by what it is."""
    python = file.path.endswith(".py")
    what, way = (
        "a password or token that this process knows",
        "name the gateway in the configuration and use FaasConnection.named('…') in its place",
    )
    for secret in sorted(secrets):
        name = name_of(secret)
        if name and line_of_secret(file.data, python=python, secrets=(secret,)) == line:
            what = f"the value of the secret {printable(name)!r}{declared(secret)}"
            way = (
                f"take it from the environment, or from a file by secrets={{{name!r}: Path('FILE')}},"
                " and leave that file out of include="
            )
            break
    return CaptureRefused(
        f"{file.path}, line {line}, holds {what}, and the file would be packed; {way}",
        path=f"{file.path}:{line}",
    )


def _is_namespace(name: str, found: Origin) -> bool:
    """Tell a folder that several distributions share, of which none need be named, from a module."""
    return found.file is None and module_file(name, found) is None


def _not_source(wanted: Wanted, file: Path) -> CaptureRefused:
    return CaptureRefused(
        f"{wanted.why}, and {file} is compiled for this machine and this Python, so it cannot be"
        " packed; build a wheel of it and list that distribution in requirements=",
        path=wanted.name,
    )


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts))]


def _absolute(found: Import, package: str) -> str:
    if not found.level:
        return found.module
    base = package.split(".")
    base = base[: len(base) - found.level + 1]
    return ".".join([*base, *([found.module] if found.module else [])])


def _shown(name: str, file: Path) -> str:
    """Name a file by its place in its package, which is where it will be in the image."""
    parts = name.split(".")
    return "/".join([*parts, "__init__.py"] if file.name == "__init__.py" else parts) + (
        "" if file.name == "__init__.py" else ".py"
    )


def walk(folder: Path, warnings: list[str]) -> Iterator[Path]:
    """Give the files of a folder that may be packed, sorted: no hidden ones, no caches, no keys."""
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(
            each
            for each in folders
            if not each.startswith(".") and each not in _FOLDERS and not each.endswith(".egg-info")
        )
        for name in sorted(names):
            path = Path(where, name)
            if looks_like_key(path):
                if not name.startswith("."):
                    warnings.append(f"{printable(str(path))} looks like a key and is left out")
            elif not (
                any(
                    each.startswith(".") or fnmatch(each, out)
                    for each in _names(path)
                    for out in _LEFT_OUT
                )
                or not path.is_file()
            ):
                if holds_key(path):
                    warnings.append(f"{printable(str(path))} holds a private key and is left out")
                else:
                    yield path


def _names(path: Path) -> tuple[str, str]:
    """Return a file's own name and that of what it links to, which may be a key's."""
    return path.name, path.resolve().name if path.is_symlink() else path.name


def _check_size(found: Origin, listed: Mapping[str, Path]) -> None:
    size = sum(path.stat().st_size for path in listed.values())
    if size > MAX_PACKED_BYTES or len(listed) > MAX_PACKED_FILES:
        largest = max(listed, key=lambda name: listed[name].stat().st_size)
        raise CaptureRefused(
            f"the package {found.name} in {found.folders[0]} has {len(listed)} files of"
            f" {size / 1e6:.0f} MB together, the largest {largest}, and {MAX_PACKED_FILES} files"
            f" of {MAX_PACKED_BYTES / 1e6:.0f} MB can be packed; keep data outside the package",
            path=found.name,
        )


# ------------------------------------------------------------------ imports of a source file


def read_imports(file: Path) -> tuple[Import, ...]:
    """List the imports of a source file; a file that does not parse has none."""
    state = file.stat()
    return _read_imports(file, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=1024)
def _read_imports(file: Path, _stamp: int, _size: int) -> tuple[Import, ...]:
    try:
        tree = parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return ()
    return tuple(imports_of(tree))


def imports_of(node: ast.AST, *, optional: bool = False) -> Iterator[Import]:
    """Give the imports in a syntax tree that may run where it is imported or called.

    What stands under ``if TYPE_CHECKING`` or ``if __name__ == "__main__"`` never runs there; what
    stands in a ``try`` that catches an ImportError is optional.
    """
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield Import(alias.name, (), 0, node.lineno, optional)
    elif isinstance(node, ast.ImportFrom):
        names = tuple(alias.name for alias in node.names)
        yield Import(node.module or "", names, node.level, node.lineno, optional)
    elif isinstance(node, ast.Call) and (literal := _imported_by_call(node)):
        yield Import(literal, (), 0, node.lineno, optional)
    if isinstance(node, ast.If) and never_runs(node.test):
        children: list[ast.AST] = list(node.orelse)
    else:
        children = list(ast.iter_child_nodes(node))
    if isinstance(node, ast.Try) and any(_catches_import_error(each) for each in node.handlers):
        optional = True
    for child in children:
        yield from imports_of(child, optional=optional)


def _imported_by_call(node: ast.Call) -> str | None:
    called = (
        node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    )
    if called not in {"import_module", "__import__"} or len(node.args) != 1:
        return None
    value = getattr(node.args[0], "value", None)
    return value if isinstance(value, str) and not value.startswith(".") else None


def _catches_import_error(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    types = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    names = {getattr(each, "id", getattr(each, "attr", "")) for each in types}
    return not names.isdisjoint({"ImportError", "ModuleNotFoundError", "Exception"})


def _spelt(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()
