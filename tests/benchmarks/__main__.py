"""Print one table: what Away costs beside its peers, all measured in this one run.

``python -m tests.benchmarks`` measures everything; names of groups measure these alone. A row that
misses its target ends with ``MISSED``, and the exit status is then 1. The group ``containers`` is left
out, with a line that says so, where there is no Docker.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from tests.benchmarks.containers import containers
from tests.benchmarks.imports import imports
from tests.benchmarks.maps import maps
from tests.benchmarks.peers import peer
from tests.benchmarks.table import ROUNDS, note, row, rows


def interleaved(calls: dict[str, Callable[[], object]], count: int) -> dict[str, float]:
    """Time each call in turns, round by round, and give the median time of one call in seconds."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        for _ in range(20):
            call()
    for _ in range(ROUNDS):
        for name, call in calls.items():
            start = time.perf_counter()
            for _ in range(count):
                call()
            times[name].append((time.perf_counter() - start) / count)
    return {name: statistics.median(each) for name, each in times.items()}


def keep_alive(url: str, path: str, body: bytes) -> Callable[[], object]:
    """Make a call over one kept connection of http.client, the floor for a sync client."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port)

    def call() -> object:
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        return json.loads(connection.getresponse().read())

    return call


def sync_calls() -> None:
    import requests
    import yaml

    from away import FaasConnection, builder

    print("sync calls, one after another, to the same trivial server")
    with peer("trivial") as url:
        faas = FaasConnection(url, password="sesame-of-tests")

        @builder.faas_function(faas)
        def fibonacci(n): ...

        session = requests.Session()
        target = url + "/function/fibonacci"

        def original() -> object:
            answer = requests.get(target, data=yaml.safe_dump((10,)), timeout=10)
            return yaml.safe_load(answer.text)

        times = interleaved(
            {
                "http.client": keep_alive(url, "/function/fibonacci", b"10"),
                "requests.Session": lambda: session.post(target, json=10, timeout=10).json(),
                "original": original,
                "away": lambda: fibonacci(10),
            },
            200,
        )
    floor = times["http.client"]
    note("http.client keep-alive, one call", floor * 1e6, " µs")
    note("requests.Session / http.client", times["requests.Session"] / floor, "")
    note("the original's way / http.client", times["original"] / floor, "")
    row("away / http.client", times["away"] / floor, "", 2.2)


def async_calls() -> None:
    import aiohttp

    from away import FaasConnection, builder

    print("async calls to the same trivial server")

    async def measure(url: str) -> dict[str, list[float]]:
        faas = FaasConnection(url, password="sesame-of-tests")

        @builder.faas_function(faas)
        async def fibonacci(n): ...

        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:

            async def bare(n: int) -> object:
                async with session.post(
                    url + "/function/fibonacci",
                    data=json.dumps(n).encode(),
                    headers={"Content-Type": "application/json"},
                ) as answer:
                    return json.loads(await answer.read())

            async def sequence(call, count: int) -> float:
                start = time.perf_counter()
                for _ in range(count):
                    await call(10)
                return (time.perf_counter() - start) / count

            async def flood(call, count: int, in_flight: int) -> float:
                left = iter(range(count))

                async def worker() -> None:
                    for _ in left:
                        await call(10)

                start = time.perf_counter()
                await asyncio.gather(*(worker() for _ in range(in_flight)))
                return count / (time.perf_counter() - start)

            found: dict[str, list[float]] = {}
            for name, call in (("bare", bare), ("away", fibonacci)):
                await flood(call, 200, 64)
                found[name] = []
                found[name + " 64"] = []
            for _ in range(ROUNDS):
                for name, call in (("bare", bare), ("away", fibonacci)):
                    found[name].append(await sequence(call, 200))
                    found[name + " 64"].append(await flood(call, 1500, 64))
        await faas.aio.close()
        return found

    with peer("trivial") as url:
        found = {name: statistics.median(each) for name, each in asyncio.run(measure(url)).items()}
    note("bare aiohttp, one call", found["bare"] * 1e6, " µs")
    row("away / bare aiohttp, one after another", found["away"] / found["bare"], "", 1.3)
    note("bare aiohttp, 64 in flight", found["bare 64"], " calls/s")
    share = found["away 64"] / found["bare 64"]
    row("away's share of bare aiohttp's calls a second, 64 in flight", share, "", 0.7, least=True)


def through_gateway() -> None:
    import away
    from away import builder

    print("through the embedded gateway to a warm published function")
    tree = {
        "rows": [
            {"id": i, "name": f"item {i}", "price": i * 1.25, "tags": ["a", "b", f"t{i % 7}"]}
            for i in range(122_000)
        ]
    }
    body = json.dumps(tree).encode()
    marked = {**tree, "pair": (1, 2), "raw": b"bytes"}
    with away.gateway.run() as faas, peer("trivial") as trivial, peer("json") as echo_url:

        @builder.publish(faas, verbose=False)
        def one(n):
            return 55

        @builder.publish(faas, verbose=False)
        def echo(tree):
            return tree

        with peer("proxy", trivial) as proxy:
            floor = keep_alive(proxy, "/function/one", b"10")
            times: dict[str, list[float]] = {"proxy": [], "away": []}
            for call in (floor, lambda: one(10)):
                for _ in range(50):
                    call()
            for _ in range(1000):
                for name, call in (("proxy", floor), ("away", lambda: one(10))):
                    start = time.perf_counter()
                    call()
                    times[name].append(time.perf_counter() - start)
        middle = {name: statistics.median(each) for name, each in times.items()}
        note("http.client through a bare aiohttp proxy, p50", middle["proxy"] * 1e6, " µs")
        row("away p50 / that", middle["away"] / middle["proxy"], "", 2.0)

        with peer("proxy", echo_url) as proxy:
            parts = urlsplit(proxy)
            connection = http.client.HTTPConnection(parts.hostname or "", parts.port)

            def through_json() -> object:
                connection.request("POST", "/", json.dumps(tree).encode())
                return json.loads(connection.getresponse().read())

            calls: dict[str, Callable[[], object]] = {
                "json": through_json,
                "tree": lambda: echo(tree),
                "marked": lambda: echo(marked),
            }
            found: dict[str, list[float]] = {name: [] for name in calls}
            for round_ in range(6):
                for name, call in calls.items():
                    start = time.perf_counter()
                    call()
                    if round_:
                        found[name].append(time.perf_counter() - start)
        big = {name: statistics.median(each) for name, each in found.items()}
        note(f"http.client with json, {len(body) / 1e6:.1f} MB there and back", big["json"], " s")
        row("away, the same tree / that", big["tree"] / big["json"], "", 2.0)
        row("away, with one tuple and one bytes in it / that", big["marked"] / big["json"], "", 3.0)

        print("64 callers at once on one function")
        lost: list[BaseException] = []
        done: list[int] = []

        def caller() -> None:
            for i in range(20):
                try:
                    done.append(one(i))
                except Exception as error:
                    lost.append(error)

        threads = [threading.Thread(target=caller) for _ in range(64)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        note("calls answered", len(done), "")
        row("calls lost", len(lost), "", 0)


def publishing() -> None:
    import away
    from away import builder

    print("publishing on the embedded gateway, in a process that has published before")
    with away.gateway.run() as faas:

        @builder.publish(faas, verbose=False)
        def before(n):
            return n

        first: list[float] = []
        again: list[float] = []
        for i in range(7):
            scope: dict[str, object] = {}
            exec(f"def fresh_{i}(n): return n + {i}", scope)
            function = scope[f"fresh_{i}"]
            start = time.perf_counter()
            proxy = builder.publish(faas, verbose=False)(function)
            assert proxy(1) == 1 + i
            first.append(time.perf_counter() - start)
            start = time.perf_counter()
            builder.publish(faas, verbose=False)(function)
            again.append(time.perf_counter() - start)
        row("decorator to first result of a new function", statistics.median(first), " s", 0.4)
        row("republish without change", statistics.median(again) * 1e3, " ms", 50)

        with tempfile.TemporaryDirectory() as folder:
            script = Path(folder) / "app.py"
            script.write_text(
                textwrap.dedent(
                    """
                    import time
                    start = time.perf_counter()
                    import away
                    from away import builder, FaasConnection
                    import sys
                    url, password = sys.stdin.read().split()
                    faas = FaasConnection(url, password=password)
                    @builder.publish(faas, verbose=False)
                    def scripted(n):
                        return n * 2
                    print(time.perf_counter() - start)
                    """
                )
            )
            times = []
            for _ in range(6):
                done = subprocess.run(
                    [sys.executable, str(script)],
                    input=f"{faas.url} {faas.password}",
                    capture_output=True,
                    text=True,
                    check=True,
                )
                times.append(float(done.stdout))
        row("a fresh script's republish without change", statistics.median(times[1:]), " s", 0.5)


GROUPS = {
    "imports": imports,
    "sync": sync_calls,
    "async": async_calls,
    "map": maps,
    "gateway": through_gateway,
    "publish": publishing,
    "containers": containers,
}


def main() -> int:
    for name in sys.argv[1:] or GROUPS:
        GROUPS[name]()
    missed = [each for each in rows if not each[3]]
    print(f"{len(rows) - len(missed)} targets met, {len(missed)} missed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
