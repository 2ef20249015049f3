"""What imports cost, each in a fresh process that times itself: Away's own, and those from a gateway."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping

from tests.benchmarks.table import note, row

RUNS = 15
TIMED = """
import time
start = time.perf_counter()
{code}
print(time.perf_counter() - start)
"""
FIRST = "from away.remote.one import double"
SECOND = """
from away.remote.one import double
start = time.perf_counter()
from away.remote.two import double
"""
AGAIN = """
from away.remote.one import double
start = time.perf_counter()
for _ in range(1000):
    from away.remote.one import double
"""
CALL = """
from away.remote.one import double
assert double(10) == 20
"""
REQUESTS = """
import requests
answer = requests.post({url!r}, data={body!r}, headers={headers!r})
assert answer.status_code == 200 and b"20" in answer.content
"""


def timed(code: str, environment: Mapping[str, str], folder: str) -> float:
    """Run code in a fresh process, in a folder without settings, and return the seconds it took."""
    ran = subprocess.run(
        [sys.executable, "-c", TIMED.format(code=code)],
        # As programs run: with compiled modules beside the sources.
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "", **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return float(ran.stdout)


def taken(codes: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, float]:
    """Run each code in turns, so that a busy moment falls on all alike, and return the medians."""
    times: dict[str, list[float]] = {name: [] for name in codes}
    with tempfile.TemporaryDirectory() as folder:
        for name, code in codes.items():
            timed(code, environment, folder)  # caches of files, and the kept list
        for _ in range(RUNS):
            for name, code in codes.items():
                times[name].append(timed(code, environment, folder))
    return {name: statistics.median(each) for name, each in times.items()}


def imports() -> None:
    """Measure Away's own imports, and with a kept list those from a gateway and a first call."""
    print("imports, each in a fresh process")
    budgets = {"import away": 5, "from away import builder, FaasConnection": 70}
    found = taken({code: code for code in budgets}, {})
    for code, limit in budgets.items():
        row(code, found[code] * 1e3, " ms", limit)
    _from_gateways()


def _from_gateways() -> None:
    import away
    from away import builder, protocol

    headers = {
        "Content-Type": protocol.CONTENT_TYPE,
        protocol.PROTOCOL_HEADER: protocol.PROTOCOL_VERSION,
    }
    with (
        tempfile.TemporaryDirectory() as cache,
        away.gateway.run() as one,
        away.gateway.run() as two,
    ):
        for faas in (one, two):

            @builder.publish(faas, verbose=False)
            def double(n):
                return 2 * n

            assert double(10) == 20
        environment = {
            "XDG_CACHE_HOME": cache,
            "AWAY_GATEWAY_ONE_URL": one.url,
            "AWAY_GATEWAY_ONE_PASSWORD": str(one.password),
            "AWAY_GATEWAY_TWO_URL": two.url,
            "AWAY_GATEWAY_TWO_PASSWORD": str(two.password),
        }
        request = {
            "url": f"{one.url}/function/double",
            "body": protocol.pack_call((10,), {}, names=["n"]),
            "headers": headers,
        }
        codes = {
            "first": FIRST,
            "second": SECOND,
            "again": AGAIN,
            "call": CALL,
            "requests": REQUESTS.format(**request),
        }
        found = taken(codes, environment)
        asking = taken({"fresh": FIRST}, {**environment, "AWAY_CATALOGUE": "fresh"})
    row(
        "first gateway module of a process, kept list, with import away",
        found["first"] * 1e3,
        " ms",
        80,
    )
    row("a second gateway module", found["second"] * 1e3, " ms", 1)
    row("the same import again", found["again"] * 1e3, " µs", 5)  # of a thousand
    note("first gateway module where the list is asked for", asking["fresh"] * 1e3, " ms")
    note("import requests and a first post to the same function", found["requests"] * 1e3, " ms")
    row("away: import and first call / that", found["call"] / found["requests"], "", 1.5)
