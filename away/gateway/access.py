"""Who may speak to the gateway: the checks that every request passes before anything else.

It listens on loopback, where every page in a browser of this machine can send requests. A page of
another site that resolves its own name to 127.0.0.1 is told by the Host header, a cross-site request
by Origin or Sec-Fetch-Site; neither can be forged by a page (Fetch standard, forbidden header names).
"""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from multidict import MultiMapping

__all__ = ["Access", "host_name", "is_loopback"]

# What a browser says of a request that no other site made (Fetch Metadata).
OWN_SITE = ("none", "same-origin")


class Access:
    """The rules of one gateway.

    Args:
        user: The name of its only user.
        password: Its password.
        allowed_hosts: Names under which it may be called beside loopback's own.
    """

    def __init__(self, user: str, password: str, allowed_hosts: Iterable[str] = ()) -> None:
        self._credentials = f"{user}:{password}".encode()
        self.allowed_hosts = frozenset(each.lower().rstrip(".") for each in allowed_hosts)

    def __repr__(self) -> str:
        return f"Access(allowed_hosts={sorted(self.allowed_hosts)})"

    def refusal(self, hosts: list[str], headers: MultiMapping[str]) -> str | None:
        """Return why a request is refused, in one sentence, or None.

        Args:
            hosts: Every Host header of the request.
            headers: Its headers, matched in any case.
        """
        if len(hosts) != 1:
            return "a request needs one Host header"
        name = host_name(hosts[0])
        if not (is_loopback(name) or name in self.allowed_hosts):
            return (
                f"the gateway does not answer to the host name {name[:200]!r};"
                f" start it with --allow-host NAME to let it"
            )
        own = _origins(hosts[0].lower())
        # Each of them: a function may read another one of two than we do.
        if any(each.lower() not in own for each in headers.getall("Origin", [])):
            return "the gateway takes no requests from pages of other origins"
        if any(each.lower() not in OWN_SITE for each in headers.getall("Sec-Fetch-Site", [])):
            return "the gateway takes no requests from pages of other sites"
        return None

    def admits(self, authorization: str | None) -> bool:
        """Tell whether an Authorization header opens the gateway: basic, and nothing else."""
        scheme, _, encoded = (authorization or "").partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            given = base64.b64decode(encoded.strip(), validate=True)
        except (binascii.Error, ValueError):
            return False
        return hmac.compare_digest(given, self._credentials)


def host_name(host: str) -> str:
    """Return the name in a Host header, in lower case, without port, brackets and last dot."""
    name = host.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.rpartition(":")[0].rstrip(".") if ":" in name else name.rstrip(".")


def is_loopback(name: str) -> bool:
    """Tell whether a name can only mean this machine."""
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _origins(host: str) -> tuple[str, str]:
    # https where something in front of the gateway adds TLS under an allowed name.
    return f"http://{host}", f"https://{host}"
