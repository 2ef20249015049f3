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
from away.hooks.pyi import MARK, Difference, differences, stub_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from away.connection.catalogue import FunctionInfo

__all__ = ["Place", "check", "environment", "folder", "texts", "uninstall", "write"]

# PEP 561: the stubs do not have all modules of the package, which itself is asked for the others.
PARTIAL = "partial\n"


class Place(NamedTuple):
    """A folder that holds stubs: of ``away.remote``, below ``root``."""

    root: Path
    remote: Path
    is_package: bool


def folder(root: Path) -> Place:
    """Return the place in a project's folder of typings."""
    return Place(root, root / "away" / "remote", is_package=False)


def environment() -> Place:
    """Return the place in the environment of this Python, beside the installed packages."""
    root = Path(sysconfig.get_path("purelib"))
    return Place(root, root / "away-stubs" / "remote", is_package=True)


def texts(gateway: str, infos: Sequence[FunctionInfo]) -> dict[str, str]:
    """Write the stubs of a gateway.

    Args:
        gateway: Its configured name.
        infos: What it lists.

    Returns:
        Texts by path below ``away/remote``, those of coroutine functions below ``aio`` among them.
    """
    listing = Listing(infos)
    by_name = {info.name: info for info in infos}
    named = {name: by_name[listing.named(name)[0]] for name in listing.python_names()}
    modules = {name: info.module for name, info in named.items() if info.module is not None}
    functions = {name: info.description for name, info in named.items() if name not in modules}
    found = {}
    for before, aio in (("", False), ("aio/", True)):
        of_gateway = stub_text(functions, gateway=gateway, modules=modules, aio=aio)
        found[f"{before}{gateway}{'/__init__' if modules else ''}.pyi"] = of_gateway
        for name, module in modules.items():
            found[f"{before}{gateway}/{name}.pyi"] = stub_text(
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
        ConfigError: A file there is not one of ours, or nothing can be written there.
    """
    wanted = {place.remote / name: text for name, text in files.items()}
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
            path.write_text(text, encoding="utf-8")
        if place.is_package:
            (place.remote.parent / "py.typed").write_text(PARTIAL)
    except OSError as error:
        raise ConfigError(
            f"the stubs cannot be written to {place.root}: {error.strerror}; write them elsewhere"
            " with -o"
        ) from error
    return sorted(wanted)


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
    found = []
    for path in standing:
        now = files.get(path.relative_to(place.remote).as_posix(), _elsewhere(path, place, files))
        try:
            changed = differences(path.read_text(encoding="utf-8"), now)
        except (SyntaxError, ValueError) as error:
            raise ConfigError(
                f"{path} cannot be read: {error}; write it again with away stubs {gateway}"
            ) from error
        found += [(path, each) for each in changed]
    return found


def _elsewhere(path: Path, place: Place, files: Mapping[str, str]) -> str:
    """Return what stands for a file now that the gateway has gained or lost its first module."""
    name = path.relative_to(place.remote).with_suffix("").as_posix()
    return files.get(f"{name}/__init__.pyi", files.get(f"{name.removesuffix('/__init__')}.pyi", ""))


def uninstall() -> list[Path]:
    """Remove the stubs that were installed into the environment, and nothing else."""
    package = environment().remote.parent
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
    for above in (place.remote, place.remote / "aio"):
        for path in (above / f"{gateway}.pyi", *sorted((above / gateway).glob("*.pyi"))):
            if path.is_file() and _is_ours(path):
                yield path


def _is_ours(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.readline().startswith(MARK)
    except OSError:
        return False
