"""What ``f.map`` does beside the best loop over bare aiohttp, in constant memory, and how it ends.

Pairs are measured in turns and the best of each counts: another process on the machine slows both.
"""

from __future__ import annotations

import asyncio
import collections
import itertools
import json
import resource
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from typing import Any

from tests.benchmarks.peers import peer
from tests.benchmarks.table import note, row

INPUTS = 100_000
IN_FLIGHT = 64
TURNS = 7


async def flood(url: str, count: int, body: Callable[[int], bytes], read: Callable) -> float:
    """Make so many calls by the best loop over bare aiohttp; return how many a second."""
    import aiohttp

    connector = aiohttp.TCPConnector(limit=0)
    headers = {"Content-Type": "application/vnd.away+yaml", "X-Away-Protocol": "1"}
    async with aiohttp.ClientSession(connector=connector) as session:
        left = iter(range(count))

        async def worker() -> None:
            for number in left:
                async with session.post(url, data=body(number), headers=headers) as answer:
                    read(json.loads(await answer.read()))

        start = time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))
        return count / (time.perf_counter() - start)


def bare(url: str, count: int) -> float:
    """Call the very function that is mapped, as it wants to be called."""

    def envelope(number: int) -> bytes:
        return b'{"args": [%d], "kwargs": {}}' % number

    return asyncio.run(flood(url, count, envelope, lambda found: found["value"]))


def mapped(results: Iterator[Any], count: int) -> float:
    start = time.perf_counter()
    collections.deque(results, maxlen=0)
    return count / (time.perf_counter() - start)


def megabytes() -> float:
    """How much memory this process has had at most, so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


PROGRAM = """
    import itertools, sys, threading, time
    from away import FaasConnection
    from away.functions import RemoteFunction
    connection = FaasConnection(sys.argv[1], password="sesame-of-tests")
    f = RemoteFunction(connection, "one", dialect="protocol")
    ended = []
    try:
        for count, _ in enumerate(f.map(itertools.count(), batch={batch})):
            if count == 2000:
                print("under way", flush=True)
    except KeyboardInterrupt:
        print(time.time(), threading.active_count(), flush=True)
"""


def interrupted(url: str, batch: str) -> tuple[float, int, str]:
    """Press Ctrl-C in the middle; return the seconds to its end, threads left, and what it said."""
    program = textwrap.dedent(PROGRAM).format(batch=batch)
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", program, url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    pressed = time.time()
    process.send_signal(signal.SIGINT)
    said, complained = process.communicate()
    ended, threads = said.split()
    return float(ended) - pressed, int(threads), complained


def constant_memory(function: Any) -> None:
    # What one map needs to work at all is there before: modules, buffers, connections.
    assert sum(function.map(range(INPUTS // 5))) == sum(range(INPUTS // 5))
    assert sum(function.map(range(2000), batch=False)) == sum(range(2000))
    before = megabytes()
    for name, options in (("in batches", {}), ("64 calls in flight", {"batch": False})):
        start = time.perf_counter()
        in_order = all(map(int.__eq__, function.map(range(INPUTS), **options), itertools.count()))
        seconds = time.perf_counter() - start
        note(f"{INPUTS:,} inputs {name}", seconds, " s")
        row(f"{INPUTS:,} results {name} out of order", int(not in_order), "", 0)
    row("memory that these took beyond a fifth of them", megabytes() - before, " MB", 8)


def maps() -> None:
    import away
    from away import builder

    print("f.map through the embedded gateway, best of turns")
    with away.gateway.run() as faas, peer("hello") as trivial:

        @builder.publish(faas, verbose=False)
        def one(n):
            return n

        assert list(one.map(range(100))) == list(range(100))
        best: dict[str, float] = collections.defaultdict(float)
        for _ in range(TURNS):
            for name, count, work in (
                ("loop", 4000, lambda n: bare(one.url, n)),
                ("map", 4000, lambda n: mapped(one.map(range(n), batch=False), n)),
                ("hello", 4000, lambda n: asyncio.run(flood(trivial, n, b"%d".__mod__, id))),
                ("batched", INPUTS, lambda n: mapped(one.map(range(n)), n)),
            ):
                best[name] = max(best[name], work(count))
        note("bare aiohttp, 64 in flight, same gateway and function", best["loop"], " calls/s")
        note("f.map unbatched, 64 in flight", best["map"], " calls/s")
        row("f.map's share of that", best["map"] / best["loop"], "", 0.9, least=True)
        note("bare aiohttp, 64 in flight, a trivial aiohttp server", best["hello"], " calls/s")
        note(f"f.map in batches, {INPUTS:,} inputs", best["batched"], " items/s")
        row("f.map in batches / that", best["batched"] / best["hello"], "", 20, least=True)
        constant_memory(one)
        for batch in ("'auto'", "False"):
            seconds, threads, complained = interrupted(faas.url, batch)
            row(f"Ctrl-C in the middle, batch={batch}, to its end", seconds, " s", 1)
            row("threads that it left beside the main one", threads - 1, "", 0)
            row("characters of warnings", len(complained), "", 0)
