"""Ports of functions: waiting until one answers."""

from __future__ import annotations

import asyncio
import socket

__all__ = ["answering"]

# A packet that is lost is sent again after a second; a try that waited for it would be a late one.
TRY_SECONDS = 1.0


async def answering(
    host: str,
    port: int,
    ended: asyncio.Event,
    timeout: float,  # noqa: ASYNC109 - a deadline passed on
) -> bool:
    """Try a port until it answers: often at first, when most functions start.

    Returns:
        False when what is to listen there has ended, or does not listen by then.
    """
    loop = asyncio.get_running_loop()
    until, pause = loop.time() + timeout, 0.002
    while not ended.is_set() and loop.time() < until:
        if await _answers(host, port):
            return not ended.is_set()
        try:
            await asyncio.wait_for(ended.wait(), pause)
        except TimeoutError:
            pause = min(pause * 1.2, 0.05)
    return False


async def _answers(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setblocking(False)
        try:
            async with asyncio.timeout(TRY_SECONDS):
                await asyncio.get_running_loop().sock_connect(probe, (host, port))
        except OSError:
            return False
        # A port without a listener can be connected to itself by chance (TCP simultaneous open).
        return bool(probe.getsockname() != probe.getpeername())
