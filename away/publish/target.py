"""What a gateway says of itself: where functions run behind it, by whose rules, for which processor.

The names are those that the providers give at ``/system/info``: ``faasd`` and ``faasd-ce``
(github.com/openfaas/faasd, pkg/provider/handlers/info.go), ``faas-netes-ce``
(github.com/openfaas/faas-netes, pkg/handlers/info.go), and ``away`` for an embedded gateway.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from away.connection.conversations import Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from away.connection.conversations import Conversation, Reply
    from away.publish.options import Options

__all__ = ["Family", "Target", "ask_target", "dropped"]

Family = Literal["faasd", "kubernetes", "process", "docker", "unknown"]
# Other names of processors than Go's, as uname and gateways give them.
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i386": "386"}
_KUBERNETES_PROVIDERS = ("faas-netes", "openfaas-operator")


class Target(NamedTuple):
    """A gateway's provider.

    Attributes:
        provider: ``faasd``, ``faas-netes`` and the like; ``away`` for an embedded gateway; an empty
            text where the gateway does not say, or its provider is down.
        orchestration: ``containerd``, ``kubernetes``; ``process`` or ``docker`` for an embedded one.
        architecture: The processor by whatever name the gateway uses; often an empty text.
        release: The provider's version.
        served_by: The gateway's X-Served-By, ``openfaas-ce/0.27`` of the Community Edition.
        licence: The provider's X-OpenFaaS-EULA, ``openfaas-ce`` of faasd's Community Edition.
    """

    provider: str
    orchestration: str
    architecture: str
    release: str
    served_by: str = ""
    licence: str = ""

    @property
    def is_embedded(self) -> bool:
        """Whether it is an embedded gateway, on this machine."""
        return self.provider == "away"

    @property
    def runs_processes(self) -> bool:
        """Whether functions run as processes of this machine, with its own Python."""
        return self.is_embedded and self.orchestration != "docker"

    @property
    def family(self) -> Family:
        """By whose rules functions run."""
        if self.is_embedded:
            return "process" if self.runs_processes else "docker"
        if self.orchestration == "kubernetes" or self.provider.startswith(_KUBERNETES_PROVIDERS):
            return "kubernetes"
        if self.orchestration == "containerd" or self.provider.startswith("faasd"):
            return "faasd"
        return "unknown"

    @property
    def is_community(self) -> bool:
        """Whether it is a Community Edition, which limits functions, namespaces and images.

        faasd 0.19.0 and older are free of limits behind a gateway of that edition, so of faasd the
        provider's own word counts.
        """
        if self.family == "kubernetes":
            return self.provider.endswith("-ce") or self.served_by.startswith("openfaas-ce")
        community = self.provider.endswith("-ce") or self.licence == "openfaas-ce"
        return self.family == "faasd" and community

    @property
    def processor(self) -> str:
        """The processor by Go's name, ``amd64``; an empty text where the gateway does not say."""
        name = self.architecture.lower()
        return _ARCHITECTURES.get(name, name)

    @property
    def label(self) -> str:
        """What to call it in a sentence."""
        edition = " Community Edition" if self.is_community else ""
        names = {
            "faasd": "faasd",
            "kubernetes": "OpenFaaS on Kubernetes",
            "process": "the embedded gateway",
            "docker": "the embedded gateway with Docker",
        }
        return f"{names.get(self.family, 'the gateway')}{edition}"


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
        str(reply.headers.get("X-Served-By") or ""),
        str(reply.headers.get("X-OpenFaaS-EULA") or ""),
    )


def _object(found: Any, key: str) -> dict[str, Any]:
    value = found.get(key) if isinstance(found, dict) else None
    return value if isinstance(value, dict) else {}


# ---------------------------------------------------------------- what is taken and not done

# Options that a provider takes and never looks at. faasd: measured, 0.19.0, and the same in the
# source of 0.19.7. The Community Edition of faas-netes empties the node selector (handlers/update.go).
_DROPPED: dict[str, tuple[str, ...]] = {
    "faasd": ("limits.cpu", "requests", "constraints", "read_only_root"),
    "process": ("limits", "requests", "constraints", "read_only_root"),
    "docker": ("requests.cpu", "constraints"),
    "kubernetes Community Edition": ("constraints",),
}
_INSTEAD = {
    "limits": "it may take any memory and processor",
    "limits.cpu": "it may take all cores",
    "requests": "nothing is reserved for it",
    "requests.cpu": "nothing of the processor is reserved for it",
    "constraints": "it runs where the provider puts it",
    "read_only_root": "its root file system can be written",
}


def dropped(target: Target, options: Options) -> tuple[str, ...]:
    """Say of each option that a provider takes and silently does not honour, what comes of it."""
    edition = " Community Edition" if target.is_community else ""
    unknown = _DROPPED.get(target.family) or _DROPPED.get(f"{target.family}{edition}", ())
    notes = []
    for name in unknown:
        option, _, key = name.partition(".")
        given = getattr(options, option)
        if given and (not key or key in given):
            shown = f"{option}[{key!r}]" if key else f"{option}="
            notes.append(
                f"{target.label} takes {shown} and does not honour it: {_INSTEAD[name]}; leave it out,"
                " or publish to a gateway that does"
            )
    return tuple(notes)
