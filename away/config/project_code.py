"""Which code is a project's own: what a file of settings that came with it may name and serve.

A project's folder often holds an environment too, which its author did not write: what is installed
there counts as others' code, as Python's own library does.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

__all__ = ["is_projects_file", "is_projects_module"]

_INSTALLED = frozenset({"site-packages", "dist-packages"})


def is_projects_module(name: str, folder: str) -> bool:
    """Tell whether a module is code of a project's own, without running it.

    Args:
        name: The module's name; what its topmost package is decides.
        folder: The project's folder.
    """
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names:
        return False
    places = _places(top)
    return bool(places) and all(is_projects_file(each, folder) for each in places)


def is_projects_file(path: str, folder: str) -> bool:
    """Tell whether a file or folder is a project's own, symbolic links followed."""
    real, top = os.path.realpath(path), os.path.realpath(folder)
    if not _lies_below(real, top) or _INSTALLED & set(Path(real).parts):
        return False
    # An environment around the project, such as /usr around /usr/src, says nothing of what is in it.
    environments = {os.path.realpath(each) for each in (sys.prefix, sys.base_prefix)}
    return not any(_lies_below(each, top) and _lies_below(real, each) for each in environments)


def _lies_below(path: str, folder: str) -> bool:
    return path.startswith(folder.rstrip(os.sep) + os.sep)


def _places(top: str) -> list[str]:
    module = sys.modules.get(top)
    spec = getattr(module, "__spec__", None) or (None if module else _spec_by_others(top))
    places = [getattr(module, "__file__", None)]
    if spec is not None:
        places.append(spec.origin if spec.has_location else None)
        places += spec.submodule_search_locations or ()
    return [each for each in places if each is not None]


def _spec_by_others(top: str) -> ModuleSpec | None:
    """Ask all finders but Away's, which may be reading the configuration just now."""
    for each in sys.meta_path:
        find_spec = getattr(each, "find_spec", None)
        if find_spec is None or type(each).__module__.startswith("away."):
            continue
        spec: ModuleSpec | None = find_spec(top, None)
        if spec is not None:
            return spec
    return None
