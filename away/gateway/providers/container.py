"""One running container: where it listens, what it prints, and its end."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import aiohttp
from aiodocker.exceptions import DockerError

from away.gateway.logs import RESTS_PER_WORK
from away.gateway.providers.containers import PORT
from away.gateway.providers.ports import answering

if TYPE_CHECKING:
    from aiodocker.containers import DockerContainer
    from aiodocker.stream import Stream

    from away.gateway.logs import Feed, Log

__all__ = ["AGAIN_SECONDS", "FAILURES", "Container"]

# What a request to the engine can end with.
FAILURES = (DockerError, aiohttp.ClientError, OSError, TimeoutError)
# The engine passes the last lines on before it says that the container ended, or just after.
LAST_LINES_SECONDS = 1.0
# How long to wait before what broke off is tried again.
AGAIN_SECONDS = 0.5


class Container:
    """A container that was started.

    Args:
        container: The engine's.
        function: The name of the function that it runs.
        image_id: What the engine has its image by.
        log: Where its lines go.
    """

    port = PORT

    def __init__(self, container: DockerContainer, function: str, image_id: str, log: Log) -> None:
        self.container = container
        self.function = function
        self.image_id = image_id
        self.identity = str(container.id)
        # As ``docker ps`` shows it.
        self.name = self.identity[:12]
        self.host = ""
        # From when on its end is what was asked for.
        self.stopping = False
        self._log = log
        self._ended = asyncio.Event()
        self._told = asyncio.Event()
        self.gone = asyncio.Event()

    @property
    def alive(self) -> bool:
        """False from the moment that its end was seen."""
        return not self._ended.is_set()

    async def listening(self, timeout: float) -> bool:  # noqa: ASYNC109 - a deadline passed on
        """Wait until its port answers; False when it ended, or has not by then."""
        if not self.host:
            # It ended before it could be asked for its address.
            await self.ended(timeout)
            return False
        return await answering(self.host, self.port, self._ended, timeout)

    async def ended(self, timeout: float) -> bool:  # noqa: ASYNC109 - a deadline passed on
        """Wait for its end, and for its last lines."""
        try:
            await asyncio.wait_for(self._ended.wait(), timeout)
        except TimeoutError:
            return False
        try:
            await asyncio.wait_for(self._told.wait(), LAST_LINES_SECONDS)
        except TimeoutError:
            pass
        return True

    def say(self, text: str) -> None:
        """Put a line of the gateway's own into the function's log."""
        self._log.add(self.name, text.encode("utf-8", "replace"), datetime.now(UTC))

    async def watch(self, stream: Stream) -> None:
        """Copy its lines until it ends, say why where the engine knows, and remove it."""
        copying = asyncio.create_task(self._copy(stream))
        try:
            await self._wait()
            self._ended.set()
            state, _ = await asyncio.gather(
                self._state(), asyncio.wait({copying}, timeout=LAST_LINES_SECONDS)
            )
            # The engine says so as well where only a child of the program was ended.
            if state.get("OOMKilled") and not self.stopping:
                self.say("the container was ended: it took more memory than its limit")
            self._told.set()
            await self.remove()
        finally:
            copying.cancel()
            await asyncio.gather(copying, return_exceptions=True)
            self._ended.set()
            self._told.set()
            self.gone.set()

    async def remove(self) -> None:
        """Remove it, running or not, with what it wrote; what fails is left for the warden."""
        try:
            await self.container.delete(force=True, v=True)
        except FAILURES:
            pass

    async def _wait(self) -> None:
        while True:
            try:
                await self.container.wait()
            except FAILURES:
                # The engine is restarted, perhaps, and may have kept it running.
                await asyncio.sleep(AGAIN_SECONDS)
                if (await self._state()).get("Running"):
                    continue
            return

    async def _state(self) -> dict[str, Any]:
        try:
            return dict((await self.container.show()).get("State") or {})
        except FAILURES:
            return {}

    async def _copy(self, stream: Stream) -> None:
        """Copy both streams, each cut into lines by itself; a flood leaves time for other work."""
        feeds: dict[int, Feed] = {}
        try:
            while (message := await stream.read_out()) is not None:
                started = time.perf_counter()
                feed = feeds.get(message.stream)
                if feed is None:
                    feed = feeds[message.stream] = self._log.feed(self.name)
                feed.data_received(message.data)
                await asyncio.sleep((time.perf_counter() - started) * RESTS_PER_WORK)
        except FAILURES:
            pass  # the engine broke off
        finally:
            for feed in feeds.values():
                feed.connection_lost(None)
            await stream.close()
