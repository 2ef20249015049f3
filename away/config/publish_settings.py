"""Options of publishing in TOML: ``[gateways.NAME.publish]`` and ``[gateways.NAME.functions.FUNCTION]``.

What each option means is :class:`away.publish.Options`' business; here is which of them can stand in a
file, of which type, and how those of several tables are laid over each other. Values of secrets cannot
stand in a file: names can, and the files that hold them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from away.config.settings import Setting, suggestion
from away.exceptions import ConfigError
from away.names import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

__all__ = ["PUBLISH_KEYS", "check_key", "laid_over", "option_value"]


class _NotSo(Exception):
    """What a value must be, as the end of the sentence "… must be …"."""


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise _NotSo("a text without control characters that is not empty")
    return value.strip()


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise _NotSo("a list of texts")
    return tuple(_text(each) for each in value)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise _NotSo("true or false")
    return value


def _seconds(value: object) -> float:
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if not 0 < number < math.inf:
        raise _NotSo("a positive number of seconds")
    return float(number)


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise _NotSo("a whole number from 1 up")
    return value


def _map(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping) or not all(isinstance(each, str) for each in value.values()):
        raise _NotSo("a table of texts, in quotes")
    return dict(value)


def _secrets(value: object) -> tuple[str, ...] | dict[str, str]:
    if isinstance(value, list):
        return _texts(value)
    if not isinstance(value, Mapping):
        raise _NotSo('a list of names, or a table of NAME = {file = "PATH"}')
    found = {}
    for name, source in value.items():
        if not isinstance(source, Mapping) or set(source) != {"file"}:
            raise _NotSo(
                f'a table of NAME = {{file = "PATH"}}, also for {printable(name)!r}: the value of a'
                " secret does not stand in a file of settings"
            )
        found[str(name)] = _text(source["file"])
    return found


PUBLISH_KEYS: Mapping[str, Callable[[object], object]] = {
    "annotations": _map,
    "base_image": _text,
    "check": _flag,
    "compile": _flag,
    "constraints": _texts,
    "dockerfile": _text,
    "enable_dev_building": _flag,
    "env": _map,
    "image_builder": _text,
    "include": _texts,
    "inside_registry": _text,
    "labels": _map,
    "limits": _map,
    "max_inflight": _count,
    "module_imports": _texts,
    "platform": _text,
    "publish_timeout": _seconds,
    "python": _text,
    "read_only_root": _flag,
    "registry": _text,
    "registry_prefix": _text,
    "requests": _map,
    "requirements": _texts,
    "secrets": _secrets,
    "system_packages": _texts,
    "timeout": _seconds,
}
# Options of publish that no file sets, and why.
_NOT_IN_FILES = {
    "name": "it stands in the code that publishes",
    "namespace": "set the gateway's own namespace",
    "overwrite": "it stands in the code that publishes",
    "registry_auth": "passwords of registries come from the environment or Docker's config.json",
    "safe_args": "it stands in the code that publishes, for everyone to see",
    "verbose": "it stands in the code that publishes",
}


def check_key(key: str, of: str, where: str, others: Iterable[str] = ()) -> None:
    """Refuse an option that there is not, or that no file can set.

    Args:
        key: Its name.
        of: Whose option it is, for errors.
        where: File and line.
        others: What else can stand there.

    Raises:
        ConfigError: It is such.
    """
    if key in _NOT_IN_FILES:
        raise ConfigError(f"{key} of {of} cannot be set in a file: {_NOT_IN_FILES[key]} ({where})")
    if key not in PUBLISH_KEYS:
        known = (*PUBLISH_KEYS, *others)
        raise ConfigError(
            f"unknown option {printable(key)!r} of {of}; {suggestion(key, known)} ({where})"
        )


def option_value(key: str, setting: Setting, of: str, find: Callable[[str, str], Path]) -> object:
    """Return an option's value in the type that publish takes.

    Args:
        key: The option.
        setting: What a file says.
        of: Whose option it is, for errors.
        find: Returns the path that a text in that file means.

    Raises:
        ConfigError: The value is not one that the option can have.
    """
    try:
        value = PUBLISH_KEYS[key](setting.value)
    except _NotSo as problem:
        raise ConfigError(f"{key} of {of} must be {problem} ({setting.where})") from None
    if key == "include" and isinstance(value, tuple):
        return tuple(find("include", each) for each in value)
    if key == "dockerfile":
        return find("dockerfile", str(value))
    if key == "secrets" and isinstance(value, Mapping):
        return {name: find(f"secrets.{name}", path) for name, path in value.items()}
    return value


def laid_over(tables: Iterable[Mapping[str, Setting]]) -> dict[str, Setting]:
    """Lay tables of options with their values over each other, the weakest first.

    Mappings (variables, labels and the like) add up key by key; of anything else the last one counts.
    """
    found: dict[str, Setting] = {}
    for table in tables:
        for key, setting in table.items():
            before = found.get(key)
            both = before is not None and PUBLISH_KEYS[key] is _map
            if both and before is not None:
                setting = setting._replace(value={**before.value, **setting.value})  # type: ignore[dict-item]
            found[key] = setting
    return found
