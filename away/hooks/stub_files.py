"""Where stub files lie: in a project's folder of typings, or in the environment (PEP 561).

``typings/away/remote/GATEWAY.pyi`` without any ``__init__.pyi`` beside it adds to the real package
instead of hiding it, for mypy with ``mypy_path`` and for pyright as it comes. The partial package
``away-stubs`` in the environment is found by both without any configuration. Only files that begin
with the mark of ``away stubs`` are ever replaced or removed.
"""

from __future__ import annotations

import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from away.exceptions import ConfigError
from away.hooks.listing import Listing
from away.hooks.plain_files import is_plain, refuse_links, replace
from away.hooks.pyi import MARK, Difference, differences, head, stub_text
from away.hooks.selection import selection_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from away.config.mount_settings import MountSettings
    from away.connection.catalogue import FunctionInfo

__all__ = ["Place", "check", "environment", "folder", "gateways", "texts", "uninstall", "write"]

# PEP 561: the stubs do not have all modules of the package, which itself is asked for the others.
PARTIAL = "partial\n"


class Place(NamedTuple):
    """Where stubs are kept: below a folder of typings, or as a partial package of the environment."""

    root: Path
    is_package: bool

    def path(self, name: str) -> Path:
        """Return where a module's stub lies, by its path such as ``away/remote/gw.pyi``."""
        package, _, rest = name.partition("/")
        return self.root / (f"{package}-stubs" if self.is_package else package) / rest


def folder(root: Path) -> Place:
    """Return the place in a project's folder of typings."""
    return Place(root, is_package=False)


def environment() -> Place:
    """Return the place in the environment of this Python, beside the installed packages."""
    # Where it really lies: an environment may be a link, and what runs in it is trusted anyway.
    return Place(Path(sysconfig.get_path("purelib")).resolve(), is_package=True)


def texts(
    gateway: str, infos: Sequence[FunctionInfo], mounts: Iterable[MountSettings] = ()
) -> dict[str, str]:
    """Write the stubs of a gateway.

    Args:
        gateway: Its configured name.
        infos: What it lists.
        mounts: The configured mounts; those of this gateway have stubs under their own names.

    Returns:
        Texts by path: ``away/remote/GATEWAY.pyi``, that of coroutine functions below
        ``away/remote/aio``, and of a mount such as ``acme/models.pyi``.
    """
    found = {}
    for aio in (False, True):
        where = f"away/remote/{'aio/' if aio else ''}{gateway}"
        found.update(_texts_at(where, gateway, infos, aio=aio))
    for mount in mounts:
        of, _, module = mount.gateway.partition(".")
        if of != gateway or not all(each.isidentifier() for each in mount.name.split(".")):
            continue
        chosen = selection_of(mount.functions, mount.labels)
        listed = [info for info in infos if module or chosen(info)]
        at = mount.name.replace(".", "/")
        made = _texts_at(at, gateway, listed, aio=mount.aio)
        if not module:
            found.update(made)
        elif f"{at}/{module}.pyi" in made:
            found[f"{at}.pyi"] = made[f"{at}/{module}.pyi"]
    return found


def _texts_at(
    where: str, gateway: str, infos: Sequence[FunctionInfo], *, aio: bool
) -> dict[str, str]:
    listing = Listing(infos)
    by_name = {info.name: info for info in infos}
    named = {name: by_name[listing.named(name)[0]] for name in listing.python_names()}
    modules = {name: info.module for name, info in named.items() if info.module is not None}
    functions = {name: info.description for name, info in named.items() if name not in modules}
    whole = stub_text(functions, gateway=gateway, modules=modules, aio=aio)
    found = {f"{where}{'/__init__' if modules else ''}.pyi": whole}
    for name, module in modules.items():
        found[f"{where}/{name}.pyi"] = stub_text(
            module.functions,
            gateway=gateway,
            constants=module.constants,
            doc=module.doc,
            aio=aio,
        )
    return found


def write(place: Place, gateway: str, files: Mapping[str, str]) -> list[Path]:
    """Write a gateway's stubs, and remove those that it had before and has no more.

    Returns:
        The files written, in order.

    Raises:
        ConfigError: A file there is not one of ours, a symbolic link leads elsewhere, or nothing can
            be written there.
    """
    wanted = {place.path(name): text for name, text in _kept(place, files).items()}
    marker = [place.path("away/py.typed")] if place.is_package else []
    for path in (*wanted, *marker):
        refuse_links(path, place.root)
    for path in wanted:
        if path.exists() and not _is_ours(path):
            raise ConfigError(
                f"{path} was not written by away stubs; move it away, or write elsewhere with -o"
            )
    try:
        for path in set(_stubs_of(place, gateway)) - set(wanted):
            path.unlink()
        for path, text in wanted.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            replace(path, text)
        for path in marker:
            replace(path, PARTIAL)
    except OSError as error:
        raise ConfigError(
            f"the stubs cannot be written to {place.root}: {error.strerror}; write them elsewhere"
            " with -o"
        ) from error
    return sorted(wanted)


def gateways(place: Place) -> list[str]:
    """List the gateways that have stubs in a place, sorted.

    Raises:
        ConfigError: None has.
    """
    start, end = head("\0").split("\0")
    lines = (_first_line(path) for path in _stubs_in(place))
    named = {line[len(start) :].partition(end)[0] for line in lines if line.startswith(start)}
    found = sorted(name for name in named if name.isidentifier())
    if not found:
        raise ConfigError(f"there are no stubs in {place.root}; write them with away stubs")
    return found


def check(place: Place, gateway: str, files: Mapping[str, str]) -> list[tuple[Path, Difference]]:
    """List the functions that no longer are what the stubs in a place say.

    Raises:
        ConfigError: The gateway has no stubs there, or one of them cannot be read.
    """
    standing = list(_stubs_of(place, gateway))
    if not standing:
        raise ConfigError(
            f"there are no stubs of the gateway {gateway!r} in {place.root}; write them with away"
            f" stubs {gateway}"
        )
    names = {place.path(name): name for name in _kept(place, files)}
    found = []
    for path in standing:
        now = files[names[path]] if path in names else _elsewhere(path, names, files)
        try:
            changed = differences(path.read_text(encoding="utf-8"), now)
        except (SyntaxError, ValueError) as error:
            raise ConfigError(
                f"{path} cannot be read: {error}; write it again with away stubs {gateway}"
            ) from error
        found += [(path, each) for each in changed]
    return found


def _elsewhere(path: Path, names: Mapping[Path, str], files: Mapping[str, str]) -> str:
    """Return what stands for a file now that the gateway has gained or lost its first module."""
    is_folder = path.name == "__init__.pyi"
    other = path.parent.with_suffix(".pyi") if is_folder else path.with_suffix("") / "__init__.pyi"
    return files[names[other]] if other in names else ""


def _kept(place: Place, files: Mapping[str, str]) -> Mapping[str, str]:
    """Leave out of an environment what is no part of Away's own package: stubs of mounts."""
    if not place.is_package:
        return files
    return {name: text for name, text in files.items() if name.startswith("away/")}


def uninstall() -> list[Path]:
    """Remove the stubs that were installed into the environment, and nothing else."""
    package = environment().path("away/py.typed").parent
    removed = [path for path in sorted(package.rglob("*.pyi")) if _is_ours(path)]
    for path in removed:
        path.unlink()
    if removed and not any(package.rglob("*.pyi")):
        marker = package / "py.typed"
        if marker.is_file():
            marker.unlink()
            removed.append(marker)
    for each in sorted((each for each in package.rglob("*") if each.is_dir()), reverse=True):
        _remove_if_empty(each)
    _remove_if_empty(package)
    return removed


def _remove_if_empty(path: Path) -> None:
    if path.is_dir() and not any(path.iterdir()):
        path.rmdir()


def _stubs_of(place: Place, gateway: str) -> Iterator[Path]:
    """Yield the stubs of ours that a gateway has in a place."""
    for path in _stubs_in(place):
        if _first_line(path).startswith(head(gateway)):
            yield path


def _stubs_in(place: Place) -> list[Path]:
    """List all stubs in a place, whoever wrote them."""
    top = place.path("away/remote") if place.is_package else place.root
    return sorted(top.rglob("*.pyi"))


def _is_ours(path: Path) -> bool:
    return _first_line(path).startswith(MARK)


def _first_line(path: Path) -> str:
    if not is_plain(path):
        return ""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.readline()
    except OSError:
        return ""
