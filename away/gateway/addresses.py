"""The gateway's addresses in a function's environment, which follow the gateway where it moves.

What a function calls others through, AWAY_INSIDE_URL and AWAY_GATEWAY_NAME_URL, is rewritten where it
means the gateway itself: when the gateway has another port than before, and for a container, to whose
loopback the gateway does not listen. AWAY_OUTSIDE_URL is by which what was packed knows the gateway,
and stays.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from away.gateway.access import is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping

    from away.gateway.deploy_request import Deployment

__all__ = ["inside", "moved"]


def moved(deployment: Deployment, url: str, inside_host: str = "") -> Deployment:
    """Return a deployment for a gateway that listens elsewhere than when it was deployed.

    Args:
        deployment: As it was kept.
        url: The gateway's URL now.
        inside_host: The host under which containers know the gateway, if they do.
    """
    before = deployment.gateway_url
    if before in ("", url):
        return deployment
    hosts = {inside_host} - {""}
    variables = _rewritten(deployment.env_vars, before, url, hosts)
    return replace(deployment, env_vars=variables, gateway_url=url)


def inside(variables: Mapping[str, str], url: str, inside_url: str) -> dict[str, str]:
    """Return an environment in which the gateway stands by the URL that it has in containers."""
    return _rewritten(variables, url, inside_url, set())


def _rewritten(
    variables: Mapping[str, str], before: str, url: str, hosts: set[str]
) -> dict[str, str]:
    return {
        name: url if _calls_through(name) and _is_same(value, before, hosts) else value
        for name, value in variables.items()
    }


def _calls_through(variable: str) -> bool:
    return variable == "AWAY_INSIDE_URL" or (
        variable.startswith("AWAY_GATEWAY_") and variable.endswith("_URL")
    )


def _is_same(value: str, url: str, hosts: set[str]) -> bool:
    """Tell whether a value is the URL of a gateway of this machine, by any name of loopback's."""
    try:
        given, own = urlsplit(value), urlsplit(url)
        host = given.hostname or ""
        return (
            (given.scheme, given.port) == (own.scheme, own.port)
            and (is_loopback(host) or host in hosts)
            and given.path in ("", "/")
        )
    except ValueError:
        return False
