"""What the environment says about how to serve, read once at the start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from away.exceptions import ConfigError
from away.protocol import MAX_BODY_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Settings", "from_environment", "readable"]


class Settings(NamedTuple):
    """How to serve; each field is an environment variable (see :func:`from_environment`)."""

    host: str = "0.0.0.0"  # noqa: S104 - in a container the gateway comes from outside
    port: int = 8080
    # A body is held in memory whole, once as bytes and once as values.
    max_body_bytes: int = MAX_BODY_BYTES
    # Calls that run at once; 0 is no limit.
    max_inflight: int = 0
    # How long a call beyond max_inflight waits for its turn before it is told to come back.
    queue_seconds: float = 5.0
    # A request's head has to be complete this long after its first byte: nobody types it.
    head_seconds: float = 10.0
    # The whole request has to be, this long after its first byte, and a client that takes nothing
    # of its answer for as long is given up: what dribbles (slowloris) holds a thread no longer. An
    # upload may pause in between, as long as no other connection needs its place.
    read_seconds: float = 120.0
    # Longer than gateways keep an idle connection, so that the server is not the first to close
    # one just as a request goes out on it.
    idle_seconds: float = 180.0
    # A thread each. Containers often have 1,024 file descriptors, of which the function wants some.
    max_connections: int = 512
    # faasd and Kubernetes kill 30 s after SIGTERM.
    grace_seconds: float = 20.0
    # Which deployment of the function this is; whoever waits for one to be done asks for it.
    deployment: str = ""


_VARIABLES = {
    "AWAY_BIND": "host",
    "PORT": "port",
    "AWAY_MAX_BODY_BYTES": "max_body_bytes",
    "AWAY_MAX_INFLIGHT": "max_inflight",
    "AWAY_QUEUE_SECONDS": "queue_seconds",
    "AWAY_HEAD_SECONDS": "head_seconds",
    "AWAY_READ_SECONDS": "read_seconds",
    "AWAY_IDLE_SECONDS": "idle_seconds",
    "AWAY_MAX_CONNECTIONS": "max_connections",
    "AWAY_GRACE": "grace_seconds",
    "AWAY_DEPLOYMENT": "deployment",
}


def from_environment(environ: Mapping[str, str]) -> Settings:
    """Read the settings: PORT, AWAY_MAX_INFLIGHT, AWAY_MAX_BODY_BYTES, AWAY_GRACE and others.

    Raises:
        ConfigError: A variable does not hold a number that is zero or more.
    """
    defaults = Settings()
    found: dict[str, Any] = {}
    for variable, field in _VARIABLES.items():
        text = environ.get(variable, "").strip()
        if not text:
            continue
        kind = type(getattr(defaults, field))
        found[field] = text if kind is str else _number(variable, text, kind)
    return defaults._replace(**found)


def readable(environ: Mapping[str, str]) -> Settings:
    """Read the settings that can be read, for a runtime that serves but to say which cannot."""
    said = dict(environ)
    for variable in _VARIABLES:
        try:
            from_environment({variable: said.get(variable, "")})
        except ConfigError:
            del said[variable]
    return from_environment(said)


def _number(variable: str, text: str, kind: type[int | float]) -> int | float:
    try:
        number = kind(text)
    except ValueError:
        number = -1
    # not (>=) refuses nan as well
    if not 0 <= number < 1e15:
        what = "whole number" if kind is int else "number"
        raise ConfigError(f"{variable}={text!r} is not a {what} from 0 up; correct the environment")
    return number
