"""Gateways in the environment: ``AWAY_GATEWAY_<NAME>_<KEY>``, and faas-cli's OPENFAAS_URL.

A variable is split at the longest key that it ends with, so the gateway ``my_url`` has its URL in
``AWAY_GATEWAY_MY_URL_URL``, and ``AWAY_GATEWAY_X_PASSWORD_FILE`` is the file of ``x``. NAME is read
in lower case. An empty variable is one that is not set.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from away.config.secret import Secret
from away.config.settings import KEYS, RESERVED, USER, Setting, Source, check_name
from away.exceptions import ConfigError
from away.names import printable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["PREFIX", "environment_source", "said_of_all", "split_variable"]

PREFIX = "AWAY_GATEWAY_"
OPENFAAS_URL = "OPENFAAS_URL"
# What holds for all gateways in one run of a program, over what files say of single ones.
_OF_ALL = {"catalogue": "AWAY_CATALOGUE", "catalogue_max_age": "AWAY_CATALOGUE_MAX_AGE"}

# A variable need not name another one.
_SUFFIXES = tuple(
    sorted((key.upper() for key in KEYS if not key.endswith("_env")), key=len, reverse=True)
)


def environment_source(environ: Mapping[str, str], cwd: Path) -> Source:
    """Return what the environment configures.

    Raises:
        ConfigError: A variable begins as Away's do and names no key, or no possible gateway.
    """
    gateways: dict[str, dict[str, Setting]] = {}
    where: dict[str, str] = {}
    # OPENFAAS_URL first, since AWAY_GATEWAY_DEFAULT_URL says it more exactly.
    if url := environ.get(OPENFAAS_URL, "").strip():
        where["default"] = f"environment {OPENFAAS_URL}"
        # faas-cli takes a bare host for http as well.
        url = url if "://" in url or "@" in url else f"http://{url}"
        gateways["default"] = {"url": Setting(url, where["default"], USER, cwd)}
    # Published functions find their own gateway by a variable, where none is announced.
    reserved = RESERVED[1:] if environ.get("AWAY_RUNTIME") == "1" else RESERVED
    for variable in sorted([each for each in environ if each.startswith(PREFIX)]):
        text = environ[variable]
        if not text:
            continue
        origin = f"environment {variable}"
        name, key = split_variable(variable)
        check_name(name, origin, reserved=reserved)
        where.setdefault(name, origin)
        gateways.setdefault(name, {})[key] = Setting(_value(key, text), origin, USER, cwd)
    return Source(gateways, where)


def said_of_all(environ: Mapping[str, str], cwd: Path) -> dict[str, Setting]:
    """Return what the environment says of every gateway."""
    return {
        key: Setting(_value(key, text), f"environment {variable}", USER, cwd)
        for key, variable in _OF_ALL.items()
        if (text := environ.get(variable))
    }


@lru_cache(maxsize=512)
def split_variable(variable: str) -> tuple[str, str]:
    """Split a variable into a gateway's name and a key.

    >>> split_variable("AWAY_GATEWAY_MY_URL_URL")
    ('my_url', 'url')

    Raises:
        ConfigError: It ends with no key, or has no name before it.
    """
    rest = variable.removeprefix(PREFIX)
    for suffix in _SUFFIXES:
        if rest == suffix:
            raise ConfigError(
                f"environment {variable} names no gateway; write {PREFIX}<NAME>_{suffix}"
            )
        if rest.endswith(f"_{suffix}"):
            return rest.removesuffix(f"_{suffix}").lower(), suffix.lower()
    raise ConfigError(
        f"environment {printable(variable)} ends with nothing that can be set for a gateway;"
        f" {_nearest_variable(rest)}"
    )


def _nearest_variable(rest: str) -> str:
    from difflib import SequenceMatcher

    parts = rest.split("_")
    likeness, name, suffix = max(
        (SequenceMatcher(None, "_".join(parts[at:]).upper(), suffix).ratio(), parts[:at], suffix)
        for at in range(len(parts))
        for suffix in _SUFFIXES
    )
    # Below that difflib's own get_close_matches finds nothing alike either.
    if likeness < 0.6 or not name:
        return f"known are {PREFIX}<NAME>_ with {', '.join(sorted(_SUFFIXES))}"
    return f"the nearest known is {printable('_'.join([PREFIX.rstrip('_'), *name, suffix]))}"


def _value(key: str, text: str) -> object:
    if key in ("password", "token"):
        return Secret(text)
    if key in ("timeout", "connect_timeout", "catalogue_max_age"):
        try:
            return float(text)
        except ValueError:
            return text
    return text
