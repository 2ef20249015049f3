"""What is really there: modules that the names of mounts would hide, found without importing them."""

from __future__ import annotations

import keyword
import sys
from typing import TYPE_CHECKING

from away.exceptions import ConfigError
from away.hooks.finder import GatewayFinder
from away.names import printable

if TYPE_CHECKING:
    from collections.abc import Iterable
    from importlib.machinery import ModuleSpec
    from types import ModuleType

__all__ = ["check_name", "is_ours", "place_of_real"]


def check_name(name: str) -> None:
    """Refuse a name that no import statement could say, or that is Python's or Away's own.

    Raises:
        ConfigError: It is one of these.
    """
    shown = printable(str(name)[:80])
    parts = name.split(".") if isinstance(name, str) else [""]
    if not all(part.isidentifier() and not keyword.iskeyword(part) for part in parts):
        raise ConfigError(
            f"{shown!r} cannot be imported, so that nothing can be mounted there; a name is"
            " identifiers with dots between them"
        )
    if parts[0] == "away":
        raise ConfigError(f"{shown!r} is below Away's own package; mount under another name")
    if parts[0] in sys.stdlib_module_names:
        raise ConfigError(
            f"{shown!r} is in Python's standard library, or below it ({place_of_real(parts[0])}); mount"
            " under another name"
        )


def place_of_real(name: str) -> str:
    """Say which real module has a name, without importing it; an empty text where none has.

    Raises:
        ConfigError: What stands above it is a module and no package.
    """
    path: Iterable[str] | None = None
    parts = name.split(".")
    for depth in range(1, len(parts) + 1):
        each = ".".join(parts[:depth])
        found = _real(each, path)
        if found is None:
            return ""
        place, path = found
        if depth == len(parts):
            return f"the module {place}"
        if path is None:
            raise ConfigError(
                f"nothing can be mounted as {name}, since {each} is the module {place} and no package"
            )
    raise AssertionError("a name has one part at least")


def _real(name: str, path: Iterable[str] | None) -> tuple[str, Iterable[str] | None] | None:
    """Return place and search path of a real module, or None where there is none."""
    module = sys.modules.get(name)
    if module is not None:
        if is_ours(module):
            return None
        place = getattr(module, "__file__", None)
        locations = getattr(module, "__path__", None)
        return place or _folder(locations) or "that this process made itself", locations
    if path is None and "." in name:
        return None
    try:
        spec = _spec_by_others(name, path)
    except KeyError:
        # A folder without __init__.py looks for its parent among what was imported, and that was not.
        return f"folder {name.rpartition('.')[2]} in {_folder(path)}", ()
    if spec is None:
        return None
    locations = spec.submodule_search_locations
    return (spec.origin if spec.has_location else None) or _folder(locations) or name, locations


def is_ours(module: ModuleType) -> bool:
    """Tell whether a module is one that this hook made."""
    return type(getattr(module, "__loader__", None)).__module__.startswith("away.hooks.")


def _spec_by_others(name: str, path: Iterable[str] | None) -> ModuleSpec | None:
    """Ask all other finders, as an import does."""
    for each in sys.meta_path:
        find_spec = getattr(each, "find_spec", None)
        if find_spec is None or isinstance(each, GatewayFinder):
            continue
        spec: ModuleSpec | None = find_spec(name, path)
        if spec is not None:
            return spec
    return None


def _folder(locations: Iterable[str] | None) -> str:
    first = next(iter(locations or ()), "")
    return f"{first}, a folder without __init__.py" if first else ""
