"""What a gateway says of itself: where functions run behind it, and for which processor."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from away.connection.conversations import Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from away.connection.conversations import Conversation, Reply

__all__ = ["Target", "ask_target"]


class Target(NamedTuple):
    """A gateway's provider.

    Attributes:
        provider: ``faasd``, ``faas-netes`` and the like; ``away`` for an embedded gateway; an empty
            text where the gateway does not say, or its provider is down.
        orchestration: ``containerd``, ``kubernetes``; ``process`` or ``docker`` for an embedded one.
        architecture: The processor by whatever name the gateway uses; often an empty text.
        release: The provider's version.
    """

    provider: str
    orchestration: str
    architecture: str
    release: str

    @property
    def is_embedded(self) -> bool:
        """Whether it is an embedded gateway, on this machine."""
        return self.provider == "away"

    @property
    def runs_processes(self) -> bool:
        """Whether functions run as processes of this machine, with its own Python."""
        return self.is_embedded and self.orchestration != "docker"


def ask_target(ask: Callable[[Request], Conversation[Reply]]) -> Conversation[Target]:
    """Ask a gateway what it is; one that does not say is taken for any OpenFaaS."""
    reply = yield from ask(Request("GET", "/system/info", {}, None, True))
    try:
        found = json.loads(reply.body) if reply.status == 200 else {}
    except (ValueError, RecursionError):
        found = {}
    provider = _object(found, "provider")
    return Target(
        str(provider.get("provider") or ""),
        str(provider.get("orchestration") or ""),
        str((found if isinstance(found, dict) else {}).get("arch") or ""),
        str(_object(provider, "version").get("release") or ""),
    )


def _object(found: Any, key: str) -> dict[str, Any]:
    value = found.get(key) if isinstance(found, dict) else None
    return value if isinstance(value, dict) else {}
