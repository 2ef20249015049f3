"""How calls of a single function are made: ``[gateways.NAME.functions.FUNCTION]``.

The table stands beside options of publishing (:mod:`away.config.publish_settings`); ``timeout`` is both.
``name`` lets a function be imported as FUNCTION that goes by another name at the gateway. A packer is
a dotted path that is imported at the first call.

A project's file may not do more than the project's code could: its packers lie in the project's own
folder, or are harmless ones of Python's.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from away.config.project_code import is_projects_module
from away.config.settings import PROJECT, Setting
from away.exceptions import ConfigError, NameRefused
from away.names import check_callable_name, function_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["CALL_KEYS", "CallSettings", "DottedPath", "alone", "joined", "renames", "settings_of"]

PROTOCOLS = ("auto", "list", "protocol")
# What a project's file may name of modules that are not the project's: they only make values.
HARMLESS = {
    "builtins": {"bool", "bytes", "float", "int", "len", "list", "repr", "str", "tuple"},
    "json": {"dumps", "loads"},
}


class DottedPath:
    """A function that a file of settings names, imported when it is first called.

    Args:
        text: ``package.module:function``, or with a dot in place of the colon.
        of: What the setting is called, for errors.
        where: The file and line.
        folder: The project's folder, where a project's file names it.
    """

    __slots__ = ("_found", "folder", "of", "text", "where")

    def __init__(self, text: str, of: str, where: str, folder: str | None = None) -> None:
        self.text = text
        self.of = of
        self.where = where
        self.folder = folder
        self._found: Callable[[Any], Any] | None = None

    def __call__(self, value: Any) -> Any:
        """Call what it names."""
        if self._found is None:
            self._found = self.load()
        return self._found(value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DottedPath) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return self.text

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the name: whoever reads it has the module, or says that it lacks it."""
        return DottedPath, (self.text, self.of, self.where, self.folder)

    def _key(self) -> tuple[str, str, str | None]:
        return self.text, self.where, self.folder

    def load(self) -> Callable[[Any], Any]:
        """Import what it names.

        Raises:
            ConfigError: It is not there, cannot be called, or is not the project's to name.
        """
        import importlib

        module, _, attribute = _split(self.text)
        self._refuse_strangers(module, attribute)
        try:
            found: Any = importlib.import_module(module)
            for part in attribute.split("."):
                found = getattr(found, part)
        except (ImportError, AttributeError) as error:
            raise ConfigError(
                f"{self.of} names {self.text!r}, which cannot be imported: {error} ({self.where})"
            ) from error
        if not callable(found):
            raise ConfigError(
                f"{self.of} names {self.text!r}, which is a {type(found).__name__} and cannot be"
                f" called ({self.where})"
            )
        return found  # type: ignore[no-any-return]  # any function of the user's

    def _refuse_strangers(self, module: str, attribute: str) -> None:
        if self.folder is None or attribute in HARMLESS.get(module, ()):
            return
        if not is_projects_module(module, self.folder):
            raise ConfigError(
                f"{self.of} comes from the project and names {self.text!r}, which is no code of the"
                f" project's in {self.folder}; name a function of its own, or set it in your own"
                f" config.toml ({self.where})"
            )


class CallSettings(NamedTuple):
    """How calls of one function are made; None for what nobody said."""

    timeout: float | None = None
    idempotent: bool | None = None
    protocol: str | None = None
    pack_args: DottedPath | None = None
    unpack_args: DottedPath | None = None
    name: str | None = None
    where: str = ""
    """Where all that is said."""

    def __repr__(self) -> str:
        said = {key: value for key, value in self._asdict().items() if value is not None}
        said.pop("where")
        return repr(said)


class _NotSo(Exception):
    """What a value must be, as the end of the sentence "… must be …"."""


def _seconds(value: object) -> float:
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if not 0 < number < math.inf:
        raise _NotSo("a positive number of seconds")
    return float(number)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise _NotSo("true or false")
    return value


def _protocol(value: object) -> str:
    if value not in PROTOCOLS:
        raise _NotSo(" or ".join(map(repr, PROTOCOLS)))
    return str(value)


def _path(value: object) -> str:
    module, mark, attribute = _split(value) if isinstance(value, str) else ("", "", "")
    parts = [*module.split("."), *attribute.split(".")]
    if not mark or not all(part.isidentifier() for part in parts):
        raise _NotSo("a function as 'package.module:function'")
    return str(value)


def _name(value: object) -> str:
    try:
        return check_callable_name(value if isinstance(value, str) else "")
    except NameRefused:
        raise _NotSo("a function's name as the gateway has it") from None


CALL_KEYS: Mapping[str, Callable[[object], object]] = {
    "idempotent": _flag,
    "name": _name,
    "pack_args": _path,
    "protocol": _protocol,
    "timeout": _seconds,
    "unpack_args": _path,
}


def alone(table: Iterable[str], of: str, place: str) -> None:
    """Refuse options of publishing beside a name: they stand with the function of that name.

    Args:
        table: The keys.
        of: Whose they are, for errors.
        place: File and line.

    Raises:
        ConfigError: There are some.
    """
    keys = set(table)
    more = sorted(keys - set(CALL_KEYS))
    if "name" in keys and more:
        raise ConfigError(
            f"{more[0]} of {of} stands beside name, which says that another function is meant; write"
            f" it in the table of that one ({place})"
        )


def joined(name: str, gateway: str, tables: Iterable[Mapping[str, Setting]]) -> CallSettings:
    """Join what several sources say of one function's calls, the weakest first.

    Raises:
        ConfigError: A value cannot be used; the sentence says where it stands.
    """
    of = f"function {name!r} of gateway {gateway!r}"
    merged: dict[str, Setting] = {}
    for table in tables:
        merged.update(table)
    found: dict[str, Any] = {}
    for key, setting in merged.items():
        try:
            found[key] = CALL_KEYS[key](setting.value)
        except _NotSo as problem:
            raise ConfigError(f"{key} of {of} must be {problem} ({setting.where})") from None
        if key in ("pack_args", "unpack_args"):
            folder = str(setting.folder) if setting.trust == PROJECT else None
            found[key] = DottedPath(found[key], f"{key} of {of}", setting.where, folder)
    if "unpack_args" in found and "pack_args" not in found:
        raise ConfigError(
            f"unpack_args of {of} needs pack_args beside it ({merged['unpack_args'].where})"
        )
    if "pack_args" in found and found.get("protocol", "auto") != "auto":
        raise ConfigError(
            f"pack_args of {of} stands beside protocol, which says how arguments travel as well;"
            f" leave one out ({merged['pack_args'].where})"
        )
    places = dict.fromkeys(each.where for each in merged.values())
    return CallSettings(**found, where=", ".join(places))


def renames(calls: Mapping[str, CallSettings]) -> dict[str, str]:
    """Return the Python names that stand for functions of other names at the gateway."""
    return {key: each.name for key, each in calls.items() if each.name is not None}


def settings_of(calls: Mapping[str, CallSettings], function: str) -> CallSettings | None:
    """Return what is said of a function by its own name, or by the one that it is imported as."""
    for each in calls.values():
        if each.name == function:
            return each
    for key, each in calls.items():
        if each.name is None and _same(key, function):
            return each
    return None


def _same(key: str, function: str) -> bool:
    try:
        return key == function or function_name(key) == function_name(function)
    except NameRefused:
        return False


def _split(text: str) -> tuple[str, str, str]:
    return text.partition(":") if ":" in text else text.rpartition(".")
