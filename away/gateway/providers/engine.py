"""The container engine: found, asked whether functions can run in it, and its errors as sentences.

The gateway reaches containers by their addresses on the engine's bridge and containers reach it by the
bridge's own, so the engine has to be one of this machine whose bridge is a network of this machine.
"""

from __future__ import annotations

import ipaddress
import os
from typing import Any

import aiodocker
import aiohttp
from aiodocker.exceptions import DockerError

from away.gateway.access import is_loopback

__all__ = ["BRIDGE", "Engine", "EngineUnusable", "open_engine", "reason"]

# What any answer of an engine that works takes, and a busy one some more.
ANSWER_SECONDS = 30.0
# The network that containers are on which ask for no other.
BRIDGE = "bridge"


class EngineUnusable(Exception):
    """Functions cannot run in the engine; the text says why and what to do, in one sentence."""


class Engine:
    """A container engine of this machine.

    Args:
        docker: The client for its API.
        where: Its address as this user knows it, such as ``unix:///var/run/docker.sock``.
        processors: How many it has.
        bridge: The address that this machine has on the network of its containers.
    """

    def __init__(self, docker: aiodocker.Docker, where: str, processors: int, bridge: str) -> None:
        self.docker = docker
        self.where = where
        self.processors = processors
        self.bridge = bridge

    async def close(self) -> None:
        """Close the connections to it."""
        await _close(self.docker)


async def open_engine() -> Engine:
    """Find the engine as Docker's own tools do, and see that functions can run in it.

    It is named by DOCKER_CONTEXT, Docker's configuration or DOCKER_HOST; else its usual sockets are
    tried.

    Raises:
        EngineUnusable: None answers, it is another machine's, or it has no bridge.
    """
    docker, where = await _client()
    try:
        info = await docker.system.info()
        return Engine(docker, where, int(info.get("NCPU") or 1), await _bridge(docker, where))
    except (DockerError, aiohttp.ClientError, TimeoutError, OSError) as error:
        await _close(docker)
        raise EngineUnusable(_no_answer(where, reason(error))) from error
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        # The client takes answers for what the engine's are.
        await _close(docker)
        why = "what answers there does not speak its language"
        raise EngineUnusable(_no_answer(where, why)) from error
    except BaseException:
        await _close(docker)
        raise


def reason(error: BaseException) -> str:
    """Say what the engine answered, or why it did not, as part of a sentence."""
    if isinstance(error, DockerError):
        # The client's own sentence repeats the address.
        below = error.__context__
        known = isinstance(below, aiohttp.ClientConnectorError) and below.strerror
        text = known or error.message
    else:
        text = "it took too long to answer" if isinstance(error, TimeoutError) else str(error)
    return " ".join(text.split()).rstrip(".") or type(error).__name__


async def _client() -> tuple[aiodocker.Docker, str]:
    """Return a client with as many connections as it takes: each container holds some."""
    if (named := os.environ.get("DOCKER_HOST", "")).startswith("ssh:"):
        raise EngineUnusable(_elsewhere(named))
    try:
        found = aiodocker.Docker()
    except AssertionError:
        raise EngineUnusable(
            _no_answer("/var/run/docker.sock", "there is no such socket and DOCKER_HOST is not set")
        ) from None
    except (ValueError, DockerError, OSError) as error:
        where = os.environ.get("DOCKER_HOST") or "the context of Docker's configuration"
        raise EngineUnusable(_no_answer(where, reason(error))) from error
    connector, host = found.connector, found.docker_host
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
    if isinstance(connector, aiohttp.UnixConnector):
        path = connector.path
        await found.close()
        mine: aiohttp.BaseConnector = aiohttp.UnixConnector(path, limit=0)
        return aiodocker.Docker("unix://localhost", mine, timeout=timeout), f"unix://{path}"
    await found.close()
    name = host.partition("://")[2].partition("/")[0].rpartition(":")[0].strip("[]")
    if not (host.startswith(("tcp://", "http://")) and is_loopback(name)):
        raise EngineUnusable(_elsewhere(os.environ.get("DOCKER_HOST") or host))
    mine = aiohttp.TCPConnector(limit=0)
    return aiodocker.Docker(host, mine, timeout=timeout), host


async def _close(docker: aiodocker.Docker) -> None:
    await docker.close()
    # It leaves alone what it was given.
    await docker.connector.close()


async def _bridge(docker: aiodocker.Docker, where: str) -> str:
    """Return the gateway's address on the bridge: as stated, else the network's first (Docker's rule)."""
    try:
        network = await (await docker.networks.get(BRIDGE)).show()
    except DockerError as error:
        if error.status != 404:
            raise
        raise EngineUnusable(
            f"the engine at {where} has no network {BRIDGE!r}, on which functions and gateway meet;"
            " start it without the option that takes the bridge away"
        ) from error
    for each in _configured(network):
        try:
            if each.get("Gateway"):
                return str(ipaddress.IPv4Address(each["Gateway"]))
            return str(next(ipaddress.IPv4Network(each["Subnet"], strict=False).hosts()))
        except (ValueError, KeyError, StopIteration):
            continue  # of the sixth version, or of another kind
    raise EngineUnusable(
        f"the network {BRIDGE!r} of the engine at {where} has no IPv4 address, by which functions"
        " and gateway meet; give it one in the engine's configuration"
    )


def _configured(network: dict[str, Any]) -> list[dict[str, Any]]:
    return (network.get("IPAM") or {}).get("Config") or []


def _no_answer(where: str, why: str) -> str:
    return (
        f"no container engine answers at {where}: {why}; start Docker, let this user use its socket"
        " (group docker), or name another in DOCKER_HOST, or run functions as processes without"
        " --provider docker"
    )


def _elsewhere(where: str) -> str:
    return (
        f"the container engine {where} is not one of this machine, so functions and this gateway"
        " could not reach each other; use Docker Engine on this machine, or publish to an OpenFaaS"
        " there"
    )
