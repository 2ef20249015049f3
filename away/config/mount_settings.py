"""Mounts in TOML: which names of the user's own stand for a gateway's functions.

``"acme.models" = "prod"`` below ``[tool.away.mounts]`` of pyproject.toml, or ``[mounts]`` of the other
files; instead of the gateway's name a table says more. Checked here is what can be told from the text
alone; whether a name is free, and who may import it, is the import hook's to find out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from away.config.settings import PROJECT, suggestion
from away.exceptions import ConfigError
from away.names import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from away.config.settings import Setting

__all__ = ["MountSettings", "mount_settings"]


class MountSettings(NamedTuple):
    """One mount as a file says it; :func:`away.hooks.mount` says what each means."""

    name: str
    gateway: str
    where: str
    functions: tuple[str, ...] | None = None
    labels: Mapping[str, str] | None = None
    aio: bool = False
    local: str | None = None
    fallback: bool = False
    offload: int | None = None
    project: str | None = None
    """The project's folder, where a file of the project says it and not the user."""


def mount_settings(name: str, setting: Setting) -> MountSettings:
    """Read what a file says of one mount.

    Args:
        name: The name that is mounted.
        setting: A gateway's name, or a table with one.

    Raises:
        ConfigError: It is neither, or a key or value is not one that a mount can have.
    """
    shown = f"mount {printable(name)!r}"
    project = str(setting.folder) if setting.trust == PROJECT else None
    if isinstance(setting.value, str) and setting.value:
        return MountSettings(name, setting.value, setting.where, project=project)
    if not isinstance(setting.value, Mapping):
        raise ConfigError(
            f"{shown} is the name of a gateway, or a table with gateway = …, and not"
            f" {setting.value!r} ({setting.where})"
        )
    table = setting.value
    if "gateway" not in table:
        inner = next(iter(table), "models")
        raise ConfigError(
            f'{shown} has no gateway; write gateway = "…", or in quotes "{printable(name)}.'
            f'{printable(inner)}" = "…" if that is the name to mount ({setting.where})'
        )
    found: dict[str, Any] = {}
    for key, value in table.items():
        if key not in _KEYS:
            near = suggestion(key, _KEYS)
            raise ConfigError(
                f"unknown key {printable(key)!r} of {shown}; {near} ({setting.where})"
            )
        what, read = _KEYS[key]
        found[key] = read(value)
        if found[key] is None:
            raise ConfigError(f"{key} of {shown} must be {what}, not {value!r} ({setting.where})")
    return MountSettings(name, where=setting.where, project=project, **found)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _texts(value: object) -> tuple[str, ...] | None:
    each = [value] if isinstance(value, str) else value
    if not isinstance(each, list) or not each or not all(map(_text, each)):
        return None
    return tuple(each)


def _labels(value: object) -> Mapping[str, str] | None:
    if isinstance(value, str):
        pairs = [each.partition("=") for each in value.split(",")]
        value = {key.strip(): text.strip() for key, mark, text in pairs if mark}
        if len(value) != len(pairs):
            return None
    if not isinstance(value, Mapping) or not value:
        return None
    return dict(value) if all(isinstance(each, str) for each in value.values()) else None


def _truth(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _count(value: object) -> int | None:
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return value if is_count and isinstance(value, int) else None


# Each key, what its value must be in words, and what reads it; None says that it is not that.
_KEYS: Mapping[str, tuple[str, Callable[[object], object]]] = {
    "gateway": ("the name of a gateway", _text),
    "functions": ("a pattern such as 'model_*', or a list of some", _texts),
    "labels": ("a table of texts, or a text such as 'team=ml,tier=gold'", _labels),
    "aio": ("true or false", _truth),
    "local": ("the name of a module", _text),
    "fallback": ("true or false", _truth),
    "offload": ("a number of calls, from 0 up", _count),
}
