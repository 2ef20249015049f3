"""One connection a gateway for all modules that show it: its own, the async one, and mounts.

They would agree about the list without this too, which connections to one gateway share; what they
have in common by it are open sockets and one login.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from away.config import GatewayConfig
    from away.connection import FaasConnection

__all__ = ["connection_of"]

# By the gateway's name, with the configuration that each was made from. Two threads may make two at
# once: the one that is kept serves who comes later, and the other one works as well.
_kept: dict[str, tuple[GatewayConfig, FaasConnection]] = {}


def connection_of(gateway: str, settings: GatewayConfig) -> FaasConnection:
    """Return the connection to a gateway as it is configured now.

    Args:
        gateway: Its configured name.
        settings: Its configuration.

    Raises:
        ConfigError: What is configured cannot be used.
    """
    from away.connection import FaasConnection

    kept = _kept.get(gateway)
    if kept is None or kept[0] != settings:
        kept = _kept[gateway] = settings, FaasConnection.configured(settings)
    return kept[1]
