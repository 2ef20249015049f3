"""References to remote functions: one connection a gateway for everything that was unpickled.

A reference knows the URL alone; the credentials are those of the process that reads it.
"""

from __future__ import annotations

import os

from away.connection import FaasConnection

__all__ = ["referenced_connection"]

# By URL; guarded by the dict's own atomicity.
_connections: dict[str, FaasConnection] = {}


def referenced_connection(url: str) -> FaasConnection:
    """Return the connection that serves all references to a gateway.

    Args:
        url: The gateway's URL. Inside a container that runs a published function, the URL of the
            gateway that it was published on stands for the one by which the container reaches it.
    """
    if os.environ.get("AWAY_OUTSIDE_URL") == url:
        url = os.environ.get("AWAY_INSIDE_URL") or url
    found = _connections.get(url)
    return found or _connections.setdefault(url, FaasConnection(url))
