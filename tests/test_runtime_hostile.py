"""Ten thousand hostile bodies and requests: no crash, no hang, and nothing of theirs runs.

All of them are made from one seed, so that what fails once fails again.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import pickle
import random
import textwrap

import dill
import pytest

from tests.runtimes import TYPE, Runtime, make_library, make_payload

SEED = 20_230_417
BODIES = 6_000
REQUESTS = 4_000

SOURCE = """
    import os, threading
    {kind} f(*args, **kwargs):
        if args == ("state",):
            return [threading.active_count(), len(os.listdir("/proc/self/fd"))]
        return [len(args), len(kwargs)]
"""


class Opens:
    """A pickle of it makes a file when it is read."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def seeds_of_bodies(canary: str) -> list[bytes]:
    """The bodies that the hostile ones are made of: right ones, and attacks that are known."""
    pickles = [
        pickle.dumps(Opens(canary)),
        pickle.dumps(Opens(canary), protocol=0),
        dill.dumps(((Opens(canary),), {})),
        dill.dumps(lambda: os.mkdir(canary), recurse=True),
    ]
    encoded = [base64.b64encode(each).decode() for each in pickles]
    away = [
        ["tuple", 1, [2]],
        ["set", 1, 2],
        ["set", [1]],
        ["bytes", "aGk="],
        ["bytes", "!"],
        ["date", "2020-02-30"],
        ["datetime", "2020-01-01T00:00:00+99:99"],
        ["float", "nan"],
        ["float", 1],
        ["int", "0x" + "f" * 5_000],
        ["int", "-"],
        ["text", "\\ud800"],
        ["dict", "a", 1, "b"],
        ["dict", [1], 2],
        ["dict", {"$away": ["tuple", {"$away": ["set"]}]}, 2],
        ["dill", encoded[0]],
        ["pickle", encoded[0]],
        ["__reduce__", "os.system", "touch " + canary],
        [],
        "tuple",
        {"$away": {"$away": []}},
    ]
    values = [
        *({"$away": each} for each in away),
        *({"dill": each} for each in encoded),
        {"dill": None},
        {"$away": ["dill", encoded[2]], "more": 1},
        [1, 2.5, None, True, "é", {"a": [{}]}],
        10**4_000,
        "\ud83d\ude00 \u2028 \x00",
    ]
    texts = [json.dumps(each) for each in values]
    texts += [f'{{"args": [{each}], "kwargs": {{"a": {each}}}}}' for each in texts]
    texts += ['{"args": [], "kwargs": {}, "dill": "AAAA"}', '{"args": {"0": 1}, "kwargs": {}}']
    deep = [f"{a * n}{b * n}" for n in (150, 300, 5_000) for a, b in ("[]", "{}", ("[{'a':", "}]"))]
    texts += [*deep, '{"a":' * 3_000, "[" * 60_000, "- " * 20_000, "? " * 5_000, "&a " * 500]
    texts += [
        f"!!python/object/apply:builtins.open ['{canary}', 'w']",
        f"- !!python/object/apply:os.system ['touch {canary}']",
        f"!!python/object/new:os.system ['touch {canary}']",
        f"!!python/object/apply:subprocess.Popen [['touch', '{canary}']]",
        "- !!python/name:os.system\n",
        "!!python/module:os",
        "!!python/tuple [1, 2]",
        "!!map {!!python/name:os.system : 1}",
        "%TAG ! tag:yaml.org,2002:python/\n--- !name:os.system\n",
        "a: &a [x, x, x]\nb: &b [*a, *a, *a]\nc: &c [*b, *b, *b]\n" * 3,
        bomb("[*{0},*{0},*{0},*{0},*{0},*{0},*{0},*{0},*{0}]"),
        bomb("{{<<: *{0}, a{0}: *{0}}}"),
        "&a [*a]",
        "&a {a: *a, <<: *a}",
        "<<: [1, 2]\n",
        "1:1:1" * 5_000,
        "0x" + "f" * 10_000,
        "9" * 10_000,
        "2020-13-45 99:99:99\n",
        "!!binary '!!!'",
        "!!timestamp nope",
        "!!int x",
        "!!float x",
        "!!set [1]",
        "!!omap {a: 1}",
        "? [1]\n: 2\n",
        "--- 1\n--- 2\n",
        "\ufeff[1]",
        "a: b: c",
        "'unended",
        "@at",
        "%YAML 9.9\n---\n1",
        "| \n a\n",
        "\t[1]",
        "[1,,2]",
        "{" + ",".join(f'"{i}": {i}' for i in range(3_000)) + "}",
        "NaN",
        "[Infinity, -Infinity, 1e999]",
        '"\\ud800"',
    ]
    return [
        *pickles,
        *(each.encode("utf-8", "surrogatepass") for each in texts),
        b"",
        b"\xff\xfe[\x001\x00]\x00",
        b"\x00" * 100,
        b"\xed\xa0\x80",
        b"\x1f\x8b\x08\x00" + b"a" * 20,
    ]


def bomb(link: str) -> str:
    lines = ["x0: &x0 {a: 1}"]
    lines += [f"x{i}: &x{i} " + link.format(f"x{i - 1}") for i in range(1, 30)]
    return "\n".join(lines)


def mutated(rng: random.Random, data: bytes, pool: list[bytes]) -> bytes:
    """Change some bytes: flipped, cut, doubled, moved, crossed with another."""
    changed = bytearray(data)
    for _ in range(rng.choice((0, 1, 1, 2, 4, 16))):
        at = rng.randrange(len(changed) + 1)
        what = rng.randrange(7)
        if what == 0 and changed:
            changed[at % len(changed)] ^= 1 << rng.randrange(8)
        elif what == 1:
            del changed[at : at + rng.randrange(1, 20)]
        elif what == 2:
            changed[at:at] = rng.randbytes(rng.randrange(1, 8))
        elif what == 3:
            changed[at:at] = changed[at : at + 50] * rng.randrange(1, 6)
        elif what == 4:
            other = rng.choice(pool)
            begin = rng.randrange(len(other) + 1)
            changed[at:at] = other[begin : begin + 200]
        elif what == 5:
            changed[at:at] = rng.choice((b"\r\n", b"\n", b"\x00", b": ", b"[", b"}", b"&a ", b"*a"))
        else:
            del changed[at:]
    return bytes(changed)


HEADERS = [
    {"Content-Type": TYPE},
    {"Content-Type": TYPE, "X-Away-Protocol": "1"},
    {"Content-Type": TYPE, "X-Away-Protocol": "\xff" * 50},
    {},
    {"Content-Type": "application/json"},
    {"Content-Type": "text/plain; charset=utf-16"},
    {"X-Away-Stub": "plain"},
    {"X-Call-Id": "x" * 3_000},
]

SEED_REQUESTS = [
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n[1]",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[1]\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\n[1\r\n1\r\n]\r\n0\r\nA: b\r\n\r\n",
    b"GET /a/b?c=d#e HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"HEAD http://x:1/../.. HTTP/1.1\r\nHost: x\r\n\r\n",
    b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n[]",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999\r\n\r\n[",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffff\r\n[",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n[",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(64)),
    b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 70_000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 12_000 + b"\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x81\x85aaaa",
    b"POST /_/away HTTP/1.1\r\nHost: x\r\nX-Away-Stub: list\r\nContent-Length: 0\r\n\r\n",
    b"GET /_/ready HTTP/1.1\r\nHost: x\r\nX-Call-Id: a\r\n b\r\n\r\n",
    b"\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\nHost: x\n\n",
    b"",
]


@pytest.fixture(scope="module", params=["def", "async def"])
def runtime(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    source = textwrap.dedent(SOURCE.format(kind=request.param))
    kind = "async" if request.param == "async def" else "sync"
    payload = make_payload(folder, source, kind=kind)
    environ = {"AWAY_MAX_BODY_BYTES": "200000", "AWAY_READ_SECONDS": "20"}
    runtime = Runtime(make_library(folder / "library"), payload, environ)
    yield runtime
    assert runtime.stop() == 0
    assert "Traceback" not in "\n".join(runtime.log)


def still_well(runtime) -> None:
    assert runtime.process.poll() is None
    assert runtime.call(1, a=2) == (200, {"value": [1, 1]})
    _, said = runtime.call("state")
    threads, descriptors = said["value"]
    assert threads < 20
    assert descriptors < 30


@pytest.mark.slow
def test_hostile_bodies_are_read_or_refused(runtime, tmp_path):
    rng = random.Random(SEED)
    canary = tmp_path / "canary"
    pool = seeds_of_bodies(str(canary))
    statuses = set()
    connection = http.client.HTTPConnection("127.0.0.1", runtime.port, timeout=60)
    for number in range(BODIES // 2):
        body = pool[number] if number < len(pool) else mutated(rng, rng.choice(pool), pool)
        headers = HEADERS[number % 2 * 3] if number < len(pool) else rng.choice(HEADERS)
        connection.request("POST", "/", body, {k: v.encode("latin-1") for k, v in headers.items()})
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status in (200, 400, 413, 415), (answer.status, text, body)
        assert text
        statuses.add(answer.status)
    connection.close()
    assert statuses == {200, 400, 415}
    assert not canary.exists()
    still_well(runtime)


@pytest.mark.slow
def test_hostile_requests_are_answered_or_refused(runtime):
    rng = random.Random(SEED)
    for number in range(REQUESTS // 2):
        request = rng.choice(SEED_REQUESTS)
        if number >= len(SEED_REQUESTS):
            request = mutated(rng, request, SEED_REQUESTS)
        else:
            request = SEED_REQUESTS[number]
        answer = runtime.raw(request)
        assert not answer or answer.startswith(b"HTTP/1.1 "), (request, answer)
        assert b"HTTP/1.1 500" not in answer, (request, answer)
    still_well(runtime)


@pytest.mark.slow
def test_clients_that_go_away_in_the_middle_leave_nothing_behind(runtime):
    rng = random.Random(SEED)
    for _ in range(300):
        request = rng.choice(SEED_REQUESTS)
        with runtime.connect() as connected:
            connected.sendall(request[: rng.randrange(len(request) + 1)])
            if rng.random() < 0.5:
                # a reset instead of an end
                connected.setsockopt(1, 13, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    still_well(runtime)


def test_a_hostile_pickle_runs_nothing_in_a_function_published_safe(runtime, tmp_path):
    canary = tmp_path / "canary"
    for body in seeds_of_bodies(str(canary)):
        for headers in HEADERS:
            if "X-Away-Stub" not in headers:
                runtime.request(body, headers={k: v for k, v in headers.items() if v.isascii()})
    assert not canary.exists()
    assert os.listdir(tmp_path) == []
