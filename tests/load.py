"""A steady load on one URL, by a client that never tries again: what is lost shows."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple


class Answered(NamedTuple):
    """One call: when it was begun and answered, and what came of it."""

    begun: float
    answered: float
    status: int
    text: str


@dataclass
class Load:
    """What became of the calls so far."""

    answers: list[Answered] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


@contextmanager
def steady(url: str, rate: float, body: bytes = b"[]") -> Iterator[Load]:
    """POST to a URL so many times a second, whether or not earlier calls are answered.

    The block's end stops new calls and waits for those in flight.
    """
    load, stop = Load(), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(_send(load, stop, url, rate, body)))
    thread.start()
    try:
        yield load
    finally:
        stop.set()
        thread.join()


async def _send(load: Load, stop: threading.Event, url: str, rate: float, body: bytes) -> None:
    import aiohttp

    async def call() -> None:
        begun = time.monotonic()
        try:
            async with session.post(url, data=body) as answer:
                text = await answer.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            load.lost.append(repr(error))
            return
        load.answers.append(Answered(begun, time.monotonic(), answer.status, text))

    calls = set()
    # A connection of its own for each call: one that the server closes while idle is no lost call.
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(
        connector=connector, timeout=aiohttp.ClientTimeout(total=30)
    ) as session:
        next_time = time.monotonic()
        while not stop.is_set():
            calls.add(asyncio.create_task(call()))
            next_time += 1 / rate
            await asyncio.sleep(max(0.0, next_time - time.monotonic()))
        await asyncio.gather(*calls)
