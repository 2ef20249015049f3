"""One gateway that a test plays, and the ways to say which."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import away.config as config
from away.connection import FaasConnection

if TYPE_CHECKING:
    from away.testing.functions import FakeFunction

__all__ = ["Gateway", "Played", "name_of", "spellings", "url_of"]

# A configured name, a URL, or a connection.
Gateway: TypeAlias = str | FaasConnection


class Played:
    """What a gateway is known by, and its functions; those of a module as ``module/function``."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.known_as: set[str] = set()
        self.functions: dict[str, FakeFunction] = {}


def name_of(gateway: Gateway) -> str:
    """Return the name by which a gateway is played: its configured one, else its URL.

    Raises:
        TypeError: It is no gateway.
    """
    if isinstance(gateway, FaasConnection):
        return gateway.name or gateway.url
    if not isinstance(gateway, str):
        raise TypeError(f"gateway= is a name, a URL or a connection, not {type(gateway).__name__}")
    return url_of(gateway) if "://" in gateway else gateway


def url_of(gateway: Gateway) -> str:
    """Return a gateway's URL in its one spelling; of a name, that of the configuration."""
    if isinstance(gateway, FaasConnection):
        return gateway.url
    return config.normal_url(gateway, 8080) if "://" in gateway else config.resolve(gateway).url


def spellings(name: str) -> tuple[str, str]:
    """Return the names that a function called so may have at the gateway."""
    return name, name.replace("_", "-")
