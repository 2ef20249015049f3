"""What a project's file may mount: for whose imports, and with whose code behind it.

A clone's file could else take the place of any module that a program tries on the chance, such as an
optional dependency of an installed package, and be sent what that package was to encode. So such a
mount is there for the project's own code. It could hold a real module of that name as well.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from away.config.project_code import is_projects_file, is_projects_module
from away.exceptions import ConfigError
from away.hooks.finder import GatewayFinder
from away.hooks.real_modules import place_of_real
from away.names import printable

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["may_see", "refuse_strangers", "stands_in"]

_PYTHONS = sys.stdlib_module_names - {"__main__"}
# What imports a mount that it was told by name: a pickle of the module, and away.hooks.load.
_BY_NAME = {"away.hooks.modules", "away.hooks.mounts"}


def may_see(fullname: str, folder: str, *, only_asked: bool) -> bool:
    """Tell whether the import under way may have what a project's file mounts.

    Args:
        fullname: The name that is imported.
        folder: The project's folder.
        only_asked: Whether it was only asked if there is such a module.

    Raises:
        ModuleNotFoundError: It may not, and no other finder is left to be asked.
    """
    if stands_in(folder):
        return True
    if only_asked or not isinstance(sys.meta_path[-1], GatewayFinder):
        return False
    raise ModuleNotFoundError(
        f"No module named {fullname!r}; the project's file mounts it for code in {folder} alone; call"
        " away.hooks.mount_configured() first to have it everywhere",
        name=fullname,
    )


def stands_in(folder: str) -> bool:
    """Tell whether the import under way was asked for by code of a project's folder.

    What was typed, at a prompt, in a notebook or after ``-c``, counts as code of the working folder,
    from which Python itself imports there.

    Args:
        folder: The project's folder.
    """
    frame = _asker()
    if frame is None:
        return False
    if _name(frame) in _BY_NAME:
        return True
    if _is_typed(frame):
        here = str(Path.cwd() / "typed")
        return not sys.flags.safe_path and is_projects_file(here, folder)
    name = frame.f_code.co_filename
    # What was compiled from a text has a name of its maker's choice, such as "<string>".
    return Path(name).is_absolute() and is_projects_file(name, folder)


def _asker() -> FrameType | None:
    """Return the frame whose line imports; None where that cannot be told for certain."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the documented way to look at a caller
    while frame is not None and not _name(frame).startswith("importlib."):
        frame = frame.f_back
    while frame is not None and _name(frame).startswith("importlib._"):
        if frame.f_code.co_name in ("create_module", "exec_module"):
            return None  # compiled code imports, which has no frame
        frame = frame.f_back
    if frame is None or _name(frame).partition(".")[0] not in _PYTHONS:
        return frame if frame is not None and _imports(frame) else None
    # Python's own library imports what it was told to: import_module, a pickle, mock.patch.
    while frame is not None and _name(frame).partition(".")[0] in _PYTHONS:
        frame = frame.f_back
    return frame


def _imports(frame: FrameType) -> bool:
    """Tell an import statement from a call of compiled code, which has no frame of its own."""
    import opcode

    at = frame.f_lasti
    return at >= 0 and frame.f_code.co_code[at] == opcode.opmap["IMPORT_NAME"]


def _is_typed(frame: FrameType) -> bool:
    main = sys.modules.get("__main__")
    return main is not None and frame.f_globals is vars(main) and "__file__" not in vars(main)


def _name(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__"))


def refuse_strangers(name: str, local: str, folder: str) -> None:
    """Refuse a local module that a project's file names, and that is no code of the project's.

    Args:
        name: The mount's name.
        local: The module's name.
        folder: The project's folder.

    Raises:
        ConfigError: It is there, and is others' code.
    """
    if place_of_real(local) and not is_projects_module(local, folder):
        raise ConfigError(
            f"local= of {name} comes from the project and names {printable(local)!r}, which is no code"
            f" of the project's in {folder}; name a module of its own, or mount it in your own"
            " config.toml"
        )
