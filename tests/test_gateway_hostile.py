"""Requests that no client of ours sends: the gateway answers or hangs up, and goes on."""

from __future__ import annotations

import http.client
import random
import select
import socket
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

import away.gateway
from tests.images import Registry, push_echo

COUNT = 10_000
THREADS = 20
METHODS = [b"GET", b"POST", b"PUT", b"PATCH", b"DELETE", b"HEAD", b"OPTIONS", b"TRACE", b"CONNECT"]
METHODS += [b"get", b"G\0T", b"", b"PRI", b"A" * 9000]
PATHS = [
    b"/", b"/function/echo", b"/function/echo/a/b?x=1", b"/function/echo/%zz", b"/function/echo/%00",
    b"/function//echo", b"/function/../system/info", b"/function/echo/%2e%2e/%2e%2e/x", b"/function/",
    b"/function/" + b"n" * 5000, b"/function/%ff%fe", b"/function/echo.openfaas-fn", b"/function/.",
    b"/system/functions", b"/system/function/%2e%2e", b"/system/logs?name=echo&tail=-1&since=x",
    b"/system/logs?" + b"a&" * 3000, b"/system/namespace/", b"/v2/", b"/v2/a/blobs/uploads/",
    b"/v2/a/blobs/uploads/?digest=sha256:x", b"/v2/../../etc/passwd/blobs/sha256:" + b"0" * 64,
    b"/v2/a/manifests/..%2f..%2fx", b"/v2/a/manifests/" + b"t" * 9000, b"/ui/", b"//", b"*", b"",
    b"http://evil.example/function/echo", b"http://[::1", b"\xff\xfe", b"/\x01\x02", b"/a b c",
    b"/function/echo/" + "ü☃".encode() * 20, b"/" + b"%41" * 3000, b"/?" * 2000, b"/function/echo?%",
]  # fmt: skip
VERSIONS = [b"HTTP/1.1"] * 6 + [b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/9.9", b"HTP/1.1", b""]
HOSTS = [b"127.0.0.1"] * 6 + [
    b"localhost",
    b"evil.example",
    b"",
    b"[::1]:80",
    b"127.0.0.1:x",
    b"\xff",
]
HEADERS = [
    b"Content-Length: 5", b"Content-Length: -1", b"Content-Length: 99999999999999999999",
    b"Content-Length: 5\r\nContent-Length: 6", b"Content-Length: +5", b"Content-Length: 0x5",
    b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked, chunked", b"Transfer-Encoding: gzip",
    b"Transfer-Encoding: identity", b"Transfer-Encoding : chunked", b"Transfer-Encoding: \x0bchunked",
    b"Connection: upgrade\r\nUpgrade: websocket", b"Connection: close", b"Connection: keep-alive",
    b"Expect: 100-continue", b"Expect: nonsense", b"Accept: text/event-stream", b"X-Call-Id: ",
    b"X-Call-Id: a\tb", b"X: \x00", b": no name", b"no colon", b" folded: header", b"A: b\r\n c",
    b"Authorization: Basic", b"Authorization: Basic !!!!", b"Authorization: Basic \xff",
    b"Authorization: Bearer x", b"Origin: null", b"Sec-Fetch-Site: cross-site", b"Host: second",
    b"X-Big: " + b"v" * 70_000, b"Content-Encoding: gzip", b"Content-Type: multipart/form-data",
    b"\r\r\n", b"Cookie: " + b"a=b; " * 500, b"Range: bytes=0-", b"Content-Range: bytes 5-1",
]  # fmt: skip
BODIES = [
    b"", b"hello", b"hello more than said" * 20, b"5\r\nhello\r\n0\r\n\r\n", b"zz\r\nhello\r\n",
    b"fffffffffffffffff\r\nx", b"5\r\nhel", b"-5\r\nhello\r\n0\r\n\r\n", b"\x1f\x8b\x08garbage",
    b"0\r\nTrailer: x\r\n\r\n", b"{" * 5000, b"[" * 100_000, b'{"service": "\xff"}', b"\x00" * 300,
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b'{"service":"x","image":"../../x"}',
]  # fmt: skip


@pytest.fixture(scope="module")
def gateway():
    with (
        away.gateway.run(announce=False) as faas,
        Registry(faas.url, faas.user, faas.password) as registry,
    ):
        registry.deploy("echo", push_echo(registry))
        yield registry


def hostile(random: random.Random, token: bytes) -> bytes:
    """Make one request up: sometimes nearly right, sometimes noise, sometimes with the password."""
    kind = random.random()
    if kind < 0.05:
        return random.randbytes(random.randrange(1, 600))
    line = b" ".join([random.choice(METHODS), random.choice(PATHS), random.choice(VERSIONS)])
    headers = [b"Host: " + random.choice(HOSTS)]
    headers += random.sample(HEADERS, random.randrange(0, 5))
    if random.random() < 0.4:
        headers.append(b"Authorization: " + token)
    data = line + b"\r\n" + b"\r\n".join(headers) + b"\r\n\r\n" + random.choice(BODIES)
    if kind < 0.15:
        data = data[: random.randrange(1, len(data))]
    elif kind < 0.25:
        spot = random.randrange(len(data))
        data = data[:spot] + random.randbytes(3) + data[spot:]
    elif kind < 0.3:
        data *= 3
    return data


def send(port: int, data: bytes) -> bytes:
    """Send it and return what came back; a reset is an answer as well.

    Much of it is no whole request, for whose rest the gateway rightly waits: our side ends soon.
    """
    with socket.create_connection(("127.0.0.1", port), 30) as sock:
        try:
            sock.sendall(data)
            select.select([sock], [], [], 0.05)
            sock.shutdown(socket.SHUT_WR)
            found = b""
            while piece := sock.recv(65536):
                found += piece
        except TimeoutError:
            raise AssertionError(f"it hangs on {data[:300]!r}") from None
        except OSError:
            return b""
    return found


@pytest.mark.slow
def test_ten_thousand_hostile_requests_neither_crash_nor_hang_the_gateway(gateway):
    port = int(gateway.host.rpartition(":")[2])
    token = gateway.headers["Authorization"].encode()

    def some(seed: int) -> set[bytes]:
        source = random.Random(seed)
        return {send(port, hostile(source, token))[:12] for _ in range(COUNT // THREADS)}

    with ThreadPoolExecutor(THREADS) as pool:
        answers = set().union(*pool.map(some, range(THREADS)))

    assert not {each for each in answers if each.startswith(b"HTTP/1.1 500 Int")}, answers
    assert b"HTTP/1.1 200" in answers
    assert b"HTTP/1.1 400" in answers
    gateway.connection.close()
    status, _, body = gateway.call("POST", "/function/echo", b"still here")
    assert (status, body) == (200, b"still here")


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"", 500),
        (b"garbage\r\n\r\n", 500),
        (b"HTTP/1.1 200", 500),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhal", 500),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", 500),
        (b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\nabc", 500),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nabc", 500),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n", 500),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"9" * 5000, 500),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n",
            200,
        ),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 500),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", 500),
        (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", 500),
        (b"HTTP/1.1 101 Switching\r\n\r\n", 500),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Made\r\nContent-Length: 0\r\n\r\n", 201),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", 200),
        (b"HTTP/1.1 204 None\r\n\r\n", 204),
    ],
    ids=lambda value: repr(value)[:50],
)
def test_what_a_function_answers_is_passed_on_whole_or_is_a_500(gateway, answer, status):
    code = (
        "import os, socket\n"
        "server = socket.create_server(('127.0.0.1', int(os.environ['PORT'])))\n"
        "while True:\n"
        "    peer, _ = server.accept()\n"
        "    if peer.recv(65536):\n"
        f"        peer.sendall({answer!r})\n"
        "    peer.close()\n"
    )
    image = gateway.push_image("t/raw:1", files={}, command=["python3", "-c", code])
    gateway.deploy("raw", image)
    try:
        connection = http.client.HTTPConnection(urlsplit(f"//{gateway.host}").netloc, timeout=30)
        connection.request("GET", "/function/raw")
        found = connection.getresponse()
        assert found.status == status
        if status == 500:
            assert found.getheader("X-Openfaas-Internal") == "proxy"
            assert found.read() == b"Can't reach service for: raw.\n"
        connection.close()
    finally:
        gateway.call("DELETE", "/system/functions", b'{"functionName": "raw"}')
