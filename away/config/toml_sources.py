"""Gateways in TOML: the user's own file, and the files of the project around the working folder.

The user's file is ``away/config.toml`` in the platform's folder for configuration. The project's
are ``pyproject.toml``, where ``[tool.away]`` counts, and ``away.toml``, in the nearest folder.
*Nearest* is the first folder, from the working folder upwards, in which one of the two has
something for Away: a pyproject.toml without ``[tool.away]`` is passed by, an away.toml never is, so
that an empty one keeps out what stands further up. Of two in the same folder away.toml is the later
source. Only that folder counts: nothing is collected on the way.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from away.config.call_settings import CALL_KEYS, alone
from away.config.files import TomlFile, follows_xdg, home, read_toml
from away.config.publish_settings import PUBLISH_KEYS, check_key
from away.config.secret import Secret
from away.config.settings import KEYS, PROJECT, USER, Setting, Source, check_name, suggestion
from away.exceptions import ConfigError, NameRefused
from away.names import function_name, printable
from away.user_lines import warn_at_user_line

if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any

__all__ = ["from_toml", "project_sources", "user_file", "user_source"]

USER_FILE = "config.toml"
_PYPROJECT = "pyproject.toml"
_PROJECT = "away.toml"
# Tables that Away knows; what further rooms want to have set gets a table of its own here.
_TABLES = ("gateways", "mounts")
# Projects' files whose passwords were warned of.
_warned: set[Path] = set()
# Tables within a gateway's.
_PUBLISHING = ("publish", "functions")


def user_file(environ: Mapping[str, str]) -> Path | None:
    """Return where the user's own file would be, or None where the user has no folder."""
    # The XDG base directory rules, for an environment that need not be this process's.
    chosen = environ.get("XDG_CONFIG_HOME", "")
    if os.path.isabs(chosen):  # noqa: PTH117 - at each import of a gateway
        return _below(chosen, "away")
    if follows_xdg():
        at_home = home(environ)
        return _below(str(at_home), ".config", "away") if at_home else None
    import platformdirs

    folder = platformdirs.user_config_path("away", appauthor=False)
    ours, theirs = home(os.environ), home(environ)
    if ours and theirs and folder.is_relative_to(ours):
        folder = theirs / folder.relative_to(ours)
    # Relative where there is no home, and then a cloned repository could hold it.
    return folder / USER_FILE if folder.is_absolute() else None


@lru_cache(maxsize=16)
def _below(folder: str, *parts: str) -> Path:
    return Path(folder, *parts, USER_FILE)


def user_source(environ: Mapping[str, str]) -> list[Source]:
    """Return what the user's own file configures."""
    path = user_file(environ)
    file = read_toml(path) if path else None
    return [from_toml(file, (), USER)] if file else []


def project_sources(cwd: Path) -> list[Source]:
    """Return what the nearest project's files configure, the earlier source first."""
    for folder, paths in _folders(cwd):
        # At each import of a gateway, and mostly of folders that have neither file.
        if not any(map(os.path.lexists, paths)):
            continue
        found = []
        if pyproject := _read_pyproject(folder / _PYPROJECT):
            found.append(from_toml(pyproject, ("tool", "away"), PROJECT))
        away = folder / _PROJECT
        if not _is_a_strangers(away) and (file := read_toml(away)):
            _refuse_a_link_out(away)
            found.append(from_toml(file, (), PROJECT))
        if found:
            return found
    return []


@lru_cache(maxsize=16)
def _folders(cwd: Path) -> tuple[tuple[Path, tuple[str, ...]], ...]:
    """List the folders that a project's files may be in, and where they would be."""
    return tuple(
        (folder, tuple(f"{folder}/{name}" for name in (_PYPROJECT, _PROJECT)))
        for folder in (cwd, *cwd.parents)
    )


def from_toml(file: TomlFile, above: tuple[str, ...], trust: str) -> Source:
    """Read the gateways of one file.

    Args:
        file: The file.
        above: The path of the table that holds ``gateways``.
        trust: Whose word the file is.

    Raises:
        ConfigError: A table or key that Away does not know, or a name no gateway can have.
    """
    tables = _table(file, above)
    for name in tables:
        if name not in _TABLES:
            table = ".".join((*above, printable(name)))
            raise ConfigError(
                f"Away knows no table {table!r}; {suggestion(name, _TABLES)}"
                f" ({file.where(*above, name)})"
            )
    path = (*above, "gateways")
    names = _table(file, path)
    gateways = [name for name in names if not _is_of_local_functions(name, names[name])]
    for name in gateways:
        check_name(name, file.where(*path, name))
    return Source(
        {name: _settings(file, (*path, name), trust) for name in gateways},
        {name: file.where(*path, name) for name in gateways},
        {name: _publishing(file, (*path, name), trust) for name in names},
        {
            name: Setting(value, file.where(*above, "mounts", name), trust, file.path.parent)
            for name, value in _table(file, (*above, "mounts")).items()
        },
        {name: _calls(file, (*path, name), trust) for name in names},
    )


def _is_of_local_functions(name: str, table: object) -> bool:
    """Tell whether a table says of ``local`` only what it may: where it is, nobody configures."""
    return (
        name == "local"
        and isinstance(table, dict)
        and 0 < len(table.keys() & _PUBLISHING) == len(table)
    )


def _settings(file: TomlFile, path: tuple[str, ...], trust: str) -> dict[str, Setting]:
    table = _table(file, path)
    settings = {}
    for key, value in table.items():
        where = file.where(*path, key)
        if key in _PUBLISHING:
            continue
        if key not in KEYS:
            raise ConfigError(
                f"unknown key {printable(key)!r} of gateway {path[-1]!r};"
                f" {suggestion(key, (*KEYS, *_PUBLISHING))} ({where})"
            )
        if key in ("password", "token") and isinstance(value, str) and value:
            value = Secret(value)
            if trust == PROJECT:
                _warn_of_secret(file.path, f"{key} of gateway {path[-1]!r}", key, where)
        settings[key] = Setting(value, where, trust, file.path.parent)
    return settings


def _warn_of_secret(path: Path, what: str, key: str, where: str) -> None:
    """Warn once of a password that everybody has who has the project's files."""
    if path in _warned:
        return
    _warned.add(path)
    warn_at_user_line(
        f"the {what} stands in a project's file, which others read; keep it in your own"
        f" {USER_FILE} or the environment, or name where it is by {key}_env or {key}_file ({where})",
        UserWarning,
    )


def _publishing(file: TomlFile, path: tuple[str, ...], trust: str) -> dict[str, dict[str, Setting]]:
    """Read a gateway's options of publishing: for all its functions, and for single ones."""
    gateway = f"gateway {path[-1]!r}"
    found = {"": _options(file, (*path, "publish"), trust, f"publish of {gateway}")}
    for name in _table(file, (*path, "functions")):
        place = (*path, "functions", name)
        try:
            function = function_name(name)
        except NameRefused as error:
            raise ConfigError(f"{error} ({file.where(*place)})") from None
        if function in found:
            raise ConfigError(
                f"{gateway} has the function {function!r} twice, in both spellings; join the two"
                f" tables ({file.where(*place)})"
            )
        of = f"function {function!r} of {gateway}"
        keys = _table(file, place)
        # With a name it is about calls of another function: nothing is published under this one.
        of_calls = set(CALL_KEYS) if "name" in keys else set(CALL_KEYS) - set(PUBLISH_KEYS)
        found[function] = _options(file, place, trust, of, besides=of_calls)
        alone(keys, of, file.where(*place))
    return {name: options for name, options in found.items() if options}


def _calls(file: TomlFile, path: tuple[str, ...], trust: str) -> dict[str, dict[str, Setting]]:
    """Read how calls of a gateway's single functions are made."""
    found = {
        name: {
            key: Setting(value, file.where(*path, "functions", name, key), trust, file.path.parent)
            for key, value in _table(file, (*path, "functions", name)).items()
            if key in CALL_KEYS
        }
        for name in _table(file, (*path, "functions"))
    }
    return {name: settings for name, settings in found.items() if settings}


def _options(
    file: TomlFile,
    path: tuple[str, ...],
    trust: str,
    of: str,
    *,
    besides: Collection[str] = (),
) -> dict[str, Setting]:
    options = {}
    for key, value in _table(file, path).items():
        if key in besides:
            continue
        where = file.where(*path, key)
        check_key(key, of, where, besides)
        options[key] = Setting(value, where, trust, file.path.parent)
    return options


def _table(file: TomlFile, path: tuple[str, ...]) -> Mapping[str, Any]:
    table: Mapping[str, Any] = file.tables
    for depth, name in enumerate(path, 1):
        table = table.get(name, {})
        if not isinstance(table, Mapping):
            shown = ".".join(path[:depth])
            raise ConfigError(
                f"{shown} is a table: write [{shown}] with its keys below"
                f" ({file.where(*path[:depth])})"
            )
    return table


def _read_pyproject(path: Path) -> TomlFile | None:
    """Read a pyproject.toml that has something for Away; most have not, and are not even parsed."""
    file = None if _is_a_strangers(path) else read_toml(path, mention=b"away")
    tool = file.tables.get("tool") if file else None
    if not isinstance(tool, dict) or "away" not in tool:
        return None
    _refuse_a_link_out(path)
    return file


def _refuse_a_link_out(path: Path) -> None:
    """Refuse a project's file that is a link to another project's, with that one's passwords."""
    if path.is_symlink() and not path.resolve().is_relative_to(path.parent.resolve()):
        raise ConfigError(
            f"{path} is a symbolic link that leads out of its folder, and a project is configured"
            " by files of its own; put a file there instead"
        )


def _is_a_strangers(path: Path) -> bool:
    """Tell whether somebody else put a file where everybody may, as in ``/tmp``."""
    if not hasattr(os, "getuid"):
        return False
    try:
        folder, file = path.parent.stat(), path.lstat()
    except OSError:
        return False
    return bool(folder.st_mode & stat.S_IWOTH) and file.st_uid not in (0, os.getuid())
