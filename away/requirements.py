"""Imports and where they come from: Python itself, an installed distribution, the user's own files.

What is installed is pinned to the version that runs here. Nothing is imported to find out, and the
list of all distributions is not read (a second where there are hundreds): the distribution that
has the module's file in its RECORD is asked for by that file, so that ``yaml`` gives ``PyYAML`` and
each part of a namespace package its own distribution.
"""

from __future__ import annotations

import importlib.util
import json
import re
import sys
import sysconfig
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple
from urllib.parse import unquote, urlsplit

from away.exceptions import CaptureRefused
from away.names import printable
from away.secret_texts import remember

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from importlib.machinery import ModuleSpec

__all__ = ["Origin", "Requirement", "listed", "module_file", "origin", "requirement"]

Kind = Literal["standard", "away", "installed", "local", "absent"]

_SITES = frozenset({"site-packages", "dist-packages"})

# A requirement by the grammar of PEP 508, in one line and without what pip's files of requirements
# would read as an option, a variable or a comment.
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_CLAUSE = r"(?:===?|~=|!=|<=|>=|<|>) *[A-Za-z0-9.*+!_-]+"
_CLAUSES = rf"{_CLAUSE}(?: *, *{_CLAUSE})*(?: *,)?"
_MARKER = r" *; *(?! )(?:(?! -)[A-Za-z0-9 _.,'\"()<>=!~+*/-])+"
_REQUIREMENT = re.compile(
    rf" *(?P<name>{_NAME}) *(?:\[ *(?:{_NAME}(?: *, *{_NAME})*)? *\] *)?"
    rf"(?:(?P<versions>{_CLAUSES}|\( *{_CLAUSES} *\))?(?:{_MARKER})?|@ *(?P<address>[^ ]+)(?: +{_MARKER})?) *\Z"
)
_EXACT = re.compile(r"===? *([A-Za-z0-9.!+_-]+)\Z")
# An address without a login, a query or a variable; a fragment has the file's hash and nothing else.
_ADDRESS = re.compile(
    r"https?://(?:\[[0-9A-Fa-f:]+\]|[A-Za-z0-9._-]+)(?::[0-9]+)?/[A-Za-z0-9._~%!+,=/-]*\.whl"
    r"(?:#sha(?:256|384|512)=[0-9a-f]+)?\Z"
)
# Longer than any requirement that somebody wrote.
_MAX_LENGTH = 2000


class Requirement(NamedTuple):
    """A distribution that a function needs, at the version that is installed here.

    Attributes:
        name: The distribution's name, as ``PyYAML``.
        version: Its version, or an empty string where the user listed a range or an address.
        why: What needs it, as a clause.
        spec: What to ask an installer for, as ``PyYAML==6.0.3``.
    """

    name: str
    version: str
    why: str
    spec: str


class Origin(NamedTuple):
    """Where a top-level module comes from.

    Attributes:
        kind: ``standard``, ``away``, ``installed``, ``local`` or ``absent``.
        name: The top-level name.
        file: The module's file, or the package's ``__init__``; None for a namespace package.
        folders: The folders of a package: one, or the portions of a namespace package.
        shadows: True for a file of the user's that hides a module of the standard library.
    """

    kind: Kind
    name: str
    file: Path | None = None
    folders: tuple[Path, ...] = ()
    shadows: bool = False


# ------------------------------------------------------------------ where a module comes from


def origin(name: str) -> Origin:
    """Tell where the top-level module of a dotted name comes from, without importing it."""
    top = name.partition(".")[0]
    if top == "away":
        return Origin("away", top)
    file, folders = _places(top)
    standard = top in sys.stdlib_module_names or top in sys.builtin_module_names
    if file is None and not folders:
        return Origin("standard" if standard else "absent", top)
    where = file if file is not None else folders[0]
    if _is_standard(where):
        return Origin("standard", top, file, folders)
    if file is None:
        folders = tuple(each for each in folders if not _is_installed(each)) or folders
        where = folders[0]
    if _is_installed(where):
        return Origin("standard" if standard else "installed", top, file, folders)
    return Origin("local", top, file, folders, shadows=standard)


def _places(top: str) -> tuple[Path | None, tuple[Path, ...]]:
    module = sys.modules.get(top)
    spec: ModuleSpec | None = getattr(module, "__spec__", None)
    if spec is None and module is None:
        try:
            spec = importlib.util.find_spec(top)
        except (ImportError, ValueError):
            return None, ()
    if spec is None:
        found = getattr(module, "__file__", None)
        return (Path(found).absolute() if found else None), ()
    folders = tuple(Path(each).absolute() for each in spec.submodule_search_locations or ())
    has_file = spec.has_location and spec.origin
    return (Path(str(spec.origin)).absolute() if has_file else None), folders


@lru_cache(maxsize=1)
def _standard_folders() -> tuple[Path, ...]:
    paths = sysconfig.get_paths()
    return tuple({Path(paths[key]).resolve() for key in ("stdlib", "platstdlib")})


def _is_standard(path: Path) -> bool:
    resolved = path.resolve()
    return not _is_installed(resolved) and any(
        resolved.is_relative_to(each) for each in _standard_folders()
    )


def _is_installed(path: Path) -> bool:
    return not _SITES.isdisjoint(path.parts)


def module_file(name: str, found: Origin | None = None) -> Path | None:
    """Find the file of a dotted name below its top-level package, without importing it.

    Returns:
        The module's file or the package's ``__init__``, or None where the name is no module with
        a file: an attribute, or a namespace package.
    """
    found = found or origin(name)
    parts = name.split(".")[1:]
    if not parts:
        return found.file
    for folder in found.folders:
        base = folder.joinpath(*parts)
        for candidate in (base / "__init__.py", base.with_name(base.name + ".py")):
            if candidate.is_file():
                return candidate
        if base.parent.is_dir():
            for extension in sorted(base.parent.glob(f"{base.name}.*")):
                if extension.suffix in {".so", ".pyd"}:
                    return extension
    return None


# ------------------------------------------------------------------ the distribution of a module


class _Distribution(NamedTuple):
    name: str
    version: str
    direct_url: str


def requirement(
    name: str, why: str, *, users: Iterable[Requirement] = (), found: Origin | None = None
) -> Requirement | None:
    """Pin the distribution that an installed module belongs to.

    Args:
        name: The dotted name of an installed module.
        why: What needs it, as a clause.
        users: What the user listed, which goes before what is found here.
        found: The module's origin, where it is known already.

    Returns:
        The requirement; None for a project that was installed from a folder of this machine: its
        files are then packed as the user's own.

    Raises:
        CaptureRefused: No installer could find what runs here: a local version, an installation
            from version control or an archive, or files that belong to no distribution.
    """
    found = found or origin(name)
    file = module_file(name, found) or found.file
    distribution = None if file is None else _distribution_of(file)
    chosen = {_normal(each.name): each for each in users}
    if distribution is None:
        if _normal(found.name) in chosen:
            return chosen[_normal(found.name)]
        raise CaptureRefused(
            f"{why}, and {found.name} belongs to no installed distribution that could be asked for"
            " elsewhere; list what provides it in requirements=",
            path=name,
        )
    mine = chosen.get(_normal(distribution.name))
    if mine is not None:
        return mine
    if distribution.direct_url:
        source = json.loads(distribution.direct_url)
        if "dir_info" in source:
            return None
        raise CaptureRefused(
            f"{why}, and {distribution.name} {distribution.version} was installed from an address"
            " of its own instead of a package index; list it in requirements=, as"
            f" '{distribution.name} @ https://HOST/….whl' or '{distribution.name}==VERSION'",
            path=name,
        )
    if "+" in distribution.version:
        raise CaptureRefused(
            f"{why}, and {distribution.name} {distribution.version} is a local build that no"
            f" package index has; list a version that one has, '{distribution.name}==VERSION', in"
            " requirements=, or that very version with a base_image= that has it",
            path=name,
        )
    return Requirement(
        distribution.name,
        distribution.version,
        why,
        f"{distribution.name}=={distribution.version}",
    )


def listed(specs: Iterable[str]) -> tuple[Requirement, ...]:
    """Read the requirements that the user listed (PEP 508).

    An address is that of a wheel: anything else, such as a folder, an archive of sources or a
    repository, would run its own code on this machine to say what it is.

    >>> [each.version for each in listed(["numpy==2.1.0", "pandas>=2"])]
    ['2.1.0', '']

    Raises:
        CaptureRefused: An entry is no requirement, or has an address that is not taken.
    """
    found = []
    for spec in specs:
        match = _REQUIREMENT.match(spec) if len(spec) <= _MAX_LENGTH else None
        if match is None and "://" not in spec and "@" not in spec:
            raise CaptureRefused(
                f"{printable(spec[:80])!r} in requirements= is no requirement; write it as"
                " 'name==version', and pack a folder of yours with include="
            )
        if match is None or match["address"] is not None:
            _check_address(spec, match)
        assert match is not None, "what has no form was refused"
        exact = _EXACT.match((match["versions"] or "").strip("() "))
        version = exact[1] if exact and ";" not in spec else ""
        found.append(Requirement(match["name"], version, "listed in requirements=", spec.strip()))
    return tuple(found)


def _check_address(spec: str, match: re.Match[str] | None) -> None:
    """Refuse an address by which pip would do more than to fetch a wheel.

    The sentence does not repeat it: it may have a login.
    """
    address = (match["address"] if match else "") or ""
    for secret in re.findall(r"//[^/@]*:([^/@]+)@|//([^/:@]{8,})@", spec):
        for each in filter(None, secret):
            remember(each)
            remember(unquote(each))
    named = re.match(rf"\s*({_NAME})\s*(?:\[[^\]]*\]\s*)?@", spec)
    name = named[1] if named else "an entry"
    parts = urlsplit(address) if _ADDRESS.match(address) else None
    if parts is not None:
        own = parts.hostname or ""
        if parts.scheme == "https" or own in ("localhost", "::1") or own.startswith("127."):
            return
        why = "has an address of plain http, where anybody on the way can change what comes"
    elif "@" in address.partition("//")[2].partition("/")[0] or re.search(r"//[^/@]*@", spec):
        why = "has a login in its address, which would be read in the image by everybody"
    else:
        why = (
            "has an address that is no wheel's: a folder, a repository or an archive of sources"
            " would run code of its own on this machine"
        )
    raise CaptureRefused(
        f"{printable(name)} in requirements= {why}; write 'name==version', or 'name @"
        " https://HOST/….whl' with the address of a wheel, without a login and a query (pip knows"
        " other indexes and their logins by its own configuration), or pack its folder with include="
    )


def _normal(name: str) -> str:
    """Normalise a distribution's name as the simple index does (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _distribution_of(file: Path) -> _Distribution | None:
    site = next((each for each in file.parents if each.name in _SITES), None)
    if site is None:
        return None
    # An installation changes the folder's time stamp, and with it the key.
    return _look_up(site, file.relative_to(site).as_posix(), site.stat().st_mtime_ns)


@lru_cache(maxsize=1024)
def _look_up(site: Path, relative: str, _stamp: int) -> _Distribution | None:
    for folder in _candidates(site, relative):
        try:
            record = (folder / "RECORD").read_text(encoding="utf-8")
        except OSError:
            continue
        # A record's line is path,hash,size; a path with a comma is quoted.
        if f"\n{relative}," in f"\n{record}" or f'"{relative}",' in record:
            return _read(folder)
    return _look_up_otherwise(site, relative)


def _candidates(site: Path, relative: str) -> Iterator[Path]:
    """Give the folders of metadata, those first whose name is the module's."""
    top = _normal(relative.partition("/")[0].partition(".")[0])
    folders = sorted(site.glob("*.dist-info"))
    likely = [each for each in folders if _normal(each.name.partition("-")[0]) == top]
    yield from likely
    yield from (each for each in folders if each not in likely)


def _read(folder: Path) -> _Distribution:
    fields: dict[str, str] = {}
    with (folder / "METADATA").open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if not line.strip():
                break
            key, _, value = line.partition(":")
            fields.setdefault(key.lower(), value.strip())
    try:
        direct_url = (folder / "direct_url.json").read_text(encoding="utf-8")
    except OSError:
        direct_url = ""
    return _Distribution(fields["name"], fields["version"], direct_url)


def _look_up_otherwise(site: Path, relative: str) -> _Distribution | None:
    """Ask for what has no RECORD, as the distributions of Debian's packages."""
    import importlib_metadata

    top = relative.partition("/")[0].removesuffix(".py")
    for each in importlib_metadata.distributions(path=[str(site)]):
        tops = (each.read_text("top_level.txt") or "").split()
        name = each.metadata["Name"]
        if top in tops or (not tops and name and _normal(name) == _normal(top)):
            return _Distribution(name, each.version, each.read_text("direct_url.json") or "")
    return None
