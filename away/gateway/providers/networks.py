"""The networks of the engine's containers: who may use the address that the gateway has there.

A machine takes packets for any of its addresses on any of its interfaces, so that others on the same
wire could send to the bridge's address too. Those come from addresses of no network of the engine.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import time
from typing import TYPE_CHECKING

from away.gateway.providers.container import FAILURES

if TYPE_CHECKING:
    from aiohttp import web

    from away.gateway.providers.engine import Engine

__all__ = ["Networks"]

# A network that was made after the last look is found by the next one; strangers have no more made.
SECONDS_BETWEEN_LOOKS = 1.0
# How many addresses are remembered; with more, they are looked up anew.
MAX_KNOWN = 4096


class Networks:
    """Tells containers from strangers.

    Args:
        engine: The container engine.
    """

    def __init__(self, engine: Engine) -> None:
        self._networks = engine.docker.networks
        self._bridge = engine.bridge
        self._known: set[str] = set()
        self._subnets: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        self._looking = asyncio.Lock()
        self._looked = 0.0

    async def admits(self, request: web.BaseRequest) -> bool:
        """Tell whether a request came by loopback, or from a container or this machine."""
        transport = request.transport
        if transport is None or transport.get_extra_info("sockname")[0] != self._bridge:
            return True
        peer = str(transport.get_extra_info("peername")[0])
        return peer in self._known or await self._is_here(peer)

    async def _is_here(self, peer: str) -> bool:
        # The engine's masquerade gives this machine's own programs another of its addresses.
        found = self._is_in_a_network(peer) or _is_own(peer)
        if not found:
            asked = time.monotonic()
            async with self._looking:
                # All who asked before a look share it; who asks just after one waits for the next.
                if self._looked <= asked:
                    await asyncio.sleep(self._looked + SECONDS_BETWEEN_LOOKS - time.monotonic())
                    await self._look()
            found = self._is_in_a_network(peer)
        if found:
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            self._known.add(peer)
        return found

    def _is_in_a_network(self, peer: str) -> bool:
        address = ipaddress.ip_address(peer)
        return any(address in each for each in self._subnets)

    async def _look(self) -> None:
        self._looked = time.monotonic()
        try:
            found = await self._networks.list(filters={"driver": ["bridge"]})
        except FAILURES:
            return  # what was known stays
        subnets = []
        for network in found:
            for each in (network.get("IPAM") or {}).get("Config") or []:
                try:
                    subnets.append(ipaddress.ip_network(each["Subnet"], strict=False))
                except (KeyError, ValueError):
                    continue
        self._subnets = subnets


def _is_own(address: str) -> bool:
    """Tell whether an address is this machine's: only such a one can be bound."""
    with socket.socket() as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
