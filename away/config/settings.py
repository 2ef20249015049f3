"""What can be set for a gateway, and what each value must be.

One table for all sources: a key means the same in TOML, in the environment and in Python. The
checks are pure; whether a file is there is looked at when its gateway is used.
"""

from __future__ import annotations

import keyword
import math
import os
import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, Self

from away.config.secret import Secret
from away.config.urls import normal_url
from away.exceptions import ConfigError
from away.names import nearest, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

__all__ = [
    "CREDENTIALS",
    "DEFAULTS",
    "EMBEDDED",
    "KEYS",
    "PROJECT",
    "RESERVED",
    "SECRETS",
    "SUPPLIED",
    "USER",
    "ProjectText",
    "Setting",
    "Source",
    "check",
    "check_name",
    "is_name",
    "suggestion",
]

# Whose word a source is. SUPPLIED: Away's own, where nobody said anything. PROJECT: files that came
# with a project, which somebody else may have written. USER: the user, in files or environment of
# their own or in the running program.
SUPPLIED, PROJECT, USER = "supplied", "project", "user"

# The origin of what such a gateway announced, and of nothing else.
EMBEDDED = "the running embedded gateway"

# `local` is whatever embedded gateway runs; `away.remote.aio` is kept for the asynchronous twins.
RESERVED = ("local", "aio")

DEFAULTS: Mapping[str, object] = {
    "timeout": 120.0,
    "connect_timeout": 5.0,
    "user": "admin",
    "namespace": "",
    "catalogue": "auto",
    # Long enough for a day's imports to be quick, short enough for names to be of today.
    "catalogue_max_age": 3600.0,
}

# Which list of functions an import believes: one kept on disk, or a new one.
CATALOGUES = ("auto", "cached", "fresh")

# A DNS label (RFC 1123), as namespaces are.
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_TEXT_SHOWN = 60


class Setting(NamedTuple):
    """One value as a source gave it."""

    value: object
    where: str
    """Such as ``environment AWAY_GATEWAY_X_URL`` or ``/p/pyproject.toml line 12``."""
    trust: str
    folder: Path
    """Where a relative path begins; for a project's file also where it ends."""

    def __repr__(self) -> str:
        """Leave out the value, which may be a password or a variable of a function."""
        return f"<Setting from {self.where}>"


class ProjectText(str):
    """A text that a project's file gave; ``where`` is the file and line, for who has to know it."""

    __slots__ = ("where",)
    where: str

    def __new__(cls, text: str, where: str = "a project's file") -> Self:
        """Make one."""
        made = super().__new__(cls, text)
        made.where = where
        return made

    def __reduce__(self) -> tuple[type[Self], tuple[str]]:
        """Pickle it without the place, which is a path of this machine."""
        return type(self), (str(self),)


class Source(NamedTuple):
    """The gateways that one place configures, by name and key, unchecked."""

    gateways: Mapping[str, Mapping[str, Setting]]
    where: Mapping[str, str]
    """Where each gateway is first named."""
    publish: Mapping[str, Mapping[str, Mapping[str, Setting]]] = {}
    """Options of publishing, by gateway and function; those for all its functions have no name."""
    mounts: Mapping[str, Setting] = {}
    """What is mounted under which names."""
    calls: Mapping[str, Mapping[str, Mapping[str, Setting]]] = {}
    """How calls are made, by gateway and function, as the function's table is called."""


class _NotSo(Exception):
    """What a value must be, as the end of the sentence "… must be …"."""


def check(key: str, setting: Setting, gateway: str) -> object:
    """Return a setting's value in the type that its key has.

    Raises:
        ConfigError: The value is of another type, or not one that the key can have.
    """
    try:
        return KEYS[key](setting.value)
    except _NotSo as problem:
        shown = "" if key in _NEVER_SHOWN else f", not {_show(setting.value)}"
        raise ConfigError(
            f"{key} of gateway {gateway!r} must be {problem}{shown} ({setting.where})"
        ) from None
    except ConfigError as problem:
        raise ConfigError(f"{key} of gateway {gateway!r}: {problem} ({setting.where})") from None


def check_name(name: str, where: str, *, reserved: Iterable[str] = RESERVED) -> None:
    """Refuse a name that no ``from away.remote.NAME import …`` could say.

    Raises:
        ConfigError: The name is reserved, no identifier, a keyword, or not in lower case.
    """
    shown = repr(printable(name[:_TEXT_SHOWN]))
    if name in reserved:
        meaning = "the running embedded gateway" if name == "local" else "Away's own module"
        raise ConfigError(f"{shown} is kept for {meaning}; choose another name ({where})")
    if not is_name(name):
        raise ConfigError(
            f"{shown} cannot be a gateway's name, which is a Python identifier in lower case that"
            f" begins with a letter; choose another name ({where})"
        )


@lru_cache(maxsize=256)
def is_name(name: str) -> bool:
    """Tell whether a gateway can have that name, reserved ones included."""
    return (
        name.isidentifier()
        and not keyword.iskeyword(name)
        and name == name.lower()
        # The import system itself looks up names that begin so.
        and not name.startswith("_")
        and (name.isascii() or _is_normal(name))
    )


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return the end of a sentence that tells what was meant, or what there is."""
    known = sorted(known)
    near = nearest(name, known, most=1)
    if near:
        return f"the nearest known is {near[0]!r}"
    return f"known are {', '.join(map(repr, known))}" if known else "none is known"


def _is_normal(name: str) -> bool:
    import unicodedata

    # Python reads identifiers so (PEP 3131); another spelling could never be imported.
    return unicodedata.normalize("NFKC", name) == name


def _url(value: object) -> str:
    text = _text(value)
    if "://" not in text and "@" not in text:
        raise _NotSo("a URL that begins with http:// or https://")
    return normal_url(text)


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise _NotSo("a text without control characters that is not empty")
    return value.strip()


def _word(value: object) -> str:
    text = _text(value)
    # The '@' of an image's digest is the only one that does not part a password from a host.
    if " " in text or "@" in text.replace("@sha256:", "", 1):
        raise _NotSo("a text without spaces and without a user or password")
    return text


def _user(value: object) -> str:
    text = _text(value)
    if ":" in text:
        # HTTP's basic authentication splits at the first colon (RFC 7617).
        raise _NotSo("a text without ':'")
    return text


def _secret(value: object) -> Secret:
    if isinstance(value, Secret):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value:
        raise _NotSo("a text that is not empty")
    return Secret(value)


def _path(value: object) -> str:
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if not isinstance(value, str) or not value or "\0" in value:
        raise _NotSo("the path of a file, as text")
    return value


def _hosts(value: object) -> tuple[str, ...]:
    given = value.split(",") if isinstance(value, str) else value
    if not isinstance(given, list | tuple) or not given:
        raise _NotSo("a list of HOST or HOST:PORT")
    hosts = tuple(_word(each) for each in given)
    if any("/" in each for each in hosts):
        raise _NotSo("a list of HOST or HOST:PORT, without a scheme or a path")
    return hosts


def _variable(value: object) -> str:
    if not isinstance(value, str) or not _VARIABLE.match(value):
        raise _NotSo("the name of an environment variable")
    return value


def _seconds(value: object) -> float:
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if not 0 < number < math.inf:
        raise _NotSo("a positive number of seconds")
    return float(number)


def _age(value: object) -> float:
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if not number >= 0:
        raise _NotSo("a number of seconds from 0 up")
    return float(number)


def _catalogue(value: object) -> str:
    if value not in CATALOGUES:
        raise _NotSo(" or ".join(map(repr, CATALOGUES)))
    return str(value)


def _namespace(value: object) -> str:
    if not isinstance(value, str) or not _LABEL.match(value):
        raise _NotSo("a namespace: lower case letters, digits and '-', at most 63")
    return value


# Every key. Options of publishing have a table of their own (:mod:`away.config.publish_settings`).
KEYS: Mapping[str, Callable[[object], object]] = {
    "url": _url,
    "user": _user,
    "password": _secret,
    "password_file": _path,
    "password_env": _variable,
    "token": _secret,
    "token_file": _path,
    "token_env": _variable,
    "timeout": _seconds,
    "connect_timeout": _seconds,
    "ca_bundle": _path,
    "registry": _word,
    "base_image": _word,
    "image_builder": _word,
    "inside_registry": _word,
    "insecure_registries": _hosts,
    "namespace": _namespace,
    "inside_url": _url,
    "catalogue": _catalogue,
    "catalogue_max_age": _age,
}
# Each way to give one secret; a source gives one of these.
SECRETS = ("password", "password_file", "password_env", "token", "token_file", "token_env")
# What is meant for one server only, and is forgotten when a later source names another server.
CREDENTIALS = ("user", *SECRETS, "ca_bundle")
# A URL may hold a password by mistake, and a name of a variable may be the password itself.
_NEVER_SHOWN = (
    "url",
    "inside_url",
    "registry",
    "inside_registry",
    "insecure_registries",
    "base_image",
    *SECRETS,
)


def _show(value: object) -> str:
    if isinstance(value, str | int | float):
        text = printable(repr(value))
        return text if len(text) <= _TEXT_SHOWN else f"{text[:_TEXT_SHOWN]}…"
    return f"a {type(value).__name__}"
