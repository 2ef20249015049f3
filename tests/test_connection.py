"""The connection, through its public face, against servers that misbehave on real sockets."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import os
import pickle
import socket
import subprocess
import sys
import textwrap
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from away import FaasConnection
from away.config.secret import Secret
from away.connection.access import Credential
from away.connection.answers import MAX_LIST_BYTES
from away.connection.conversations import Reply, Request
from away.exceptions import (
    AnswerLost,
    AuthenticationRefused,
    AwayError,
    CallTimedOut,
    ConfigError,
    FunctionNotFound,
    FunctionNotReady,
    GatewayError,
    GatewayUnreachable,
    NameRefused,
)
from away.gateway.announcement import Announcement, announce, folder
from tests import servers
from tests.servers import Server, answer

SECRET = "sw0rdfish-1234"
BASIC = "Basic " + base64.b64encode(f"admin:{SECRET}".encode()).decode()
UNKNOWN = (
    b"error finding function fib.openfaas-fn: server returned non-200 status code (404) for"
    b" function, fib, body: "
)


class Drive:
    """Call a connection's methods by one of the two drivers, all on one event loop."""

    def __init__(self, name: str, runner: asyncio.Runner | None) -> None:
        self.name = name
        self.runner = runner

    def __call__(self, connection: FaasConnection, what: str, /, *args: Any, **options: Any) -> Any:
        if self.runner is None:
            return getattr(connection, what)(*args, **options)

        async def call() -> Any:
            return await getattr(connection.aio, what)(*args, **options)

        return self.runner.run(call())


@pytest.fixture(params=["sync", "async"])
def drive(request: pytest.FixtureRequest) -> Iterator[Drive]:
    if request.param == "sync":
        yield Drive("sync", None)
        return
    with asyncio.Runner() as runner:
        yield Drive("async", runner)


@pytest.fixture
def connect() -> Iterator[Callable[..., FaasConnection]]:
    """Make connections that are closed with the test."""
    with contextlib.ExitStack() as stack:

        def make(server: Server | str | int, **options: Any) -> FaasConnection:
            options.setdefault("password", SECRET)
            options.setdefault("timeout", 5.0)
            if isinstance(server, int):
                made = FaasConnection("127.0.0.1", server, **options)
            else:
                made = FaasConnection(getattr(server, "url", server), **options)
            return stack.enter_context(made)

        yield make


def message_of(error: BaseException) -> str:
    """Return an error's text, once it has proved to be one sentence without a secret."""
    text = str(error)
    assert text, "an error says something"
    assert SECRET not in repr(error)
    assert SECRET not in text
    assert BASIC not in text
    assert "\n" not in text
    assert "\x1b" not in text
    assert not text.endswith(".")
    assert pickle.loads(pickle.dumps(error)).args == error.args
    return text


# ---------------------------------------------------------------- what a gateway may do to a call

# 100 MiB of nothing in 100 kB
# What ends by a limit of its own is over long before; what hangs is not.
HANGS_SECONDS = 30.0
BOMB = gzip.compress(bytes(100 << 20))

# id, behaviour, options of the call, the error's class, a part of its sentence
CALLS = [
    ("hangs", servers.hang(), {"timeout": 0.3}, CallTimedOut, "within the 0.3 s of timeout"),
    ("hangs up", servers.hang_up(), {}, AnswerLost, "without an answer"),
    ("resets", servers.reset(), {}, AnswerLost, "it may have run"),
    ("ends in the head", servers.cut_head(), {}, AnswerLost, "without an answer"),
    ("ends in the body", servers.cut(b"0123456789", 4), {}, AnswerLost, "in the middle"),
    ("ends in a chunk", servers.cut_chunked(b"0123"), {}, AnswerLost, "in the middle"),
    ("says garbage", servers.raw(b"\x00\x01 SSH-2.0 what\r\n\r\n"), {}, GatewayError, "not HTTP"),
    (
        "drips its head",
        servers.drip(servers.whole(200, b"5", {"X-Long": "x" * 200})),
        {"timeout": 0.4},
        CallTimedOut,
        "within the 0.4 s",
    ),
    (
        "drips its body",
        servers.drip(servers.whole(200, b"5" * 500)),
        {"timeout": 1.2},
        CallTimedOut,
        "within the 1.2 s",
    ),
    (
        "knows no such function",
        answer(404, UNKNOWN),
        {},
        FunctionNotFound,
        "has no function 'fib'",
    ),
    (
        "has no provider",
        answer(404, b"error finding function fib.: Get http://127.0.0.1:8081: connection refused"),
        {},
        GatewayError,
        "the provider behind",
    ),
    (
        "is no gateway",
        answer(404, b"404 page not found\n"),
        {},
        GatewayError,
        "has no path /function/fib",
    ),
    (
        "reached its limit",
        answer(502, b"", {"X-Call-Id": "7"}),
        {},
        CallTimedOut,
        "limit of time at",
    ),
    (
        "cannot reach it",
        answer(500, b"Can't reach service for: fib.\n", {"X-Openfaas-Internal": "proxy"}),
        {},
        FunctionNotReady,
        "read its log",
    ),
    (
        "has no endpoint",
        answer(503, b"No endpoints available for: fib.\n", {"X-Openfaas-Internal": "proxy"}),
        {},
        FunctionNotReady,
        "no replica",
    ),
    (
        "cannot scale it",
        answer(500, b"error finding function fib: unable to scale function"),
        {},
        FunctionNotReady,
        "cannot be reached",
    ),
    (
        "asks for a login at functions",
        answer(401, b"invalid credentials\n", {"Www-Authenticate": 'Basic realm="Restricted"'}),
        {},
        AuthenticationRefused,
        "auth_functions=True",
    ),
    (
        "lies about its encoding",
        answer(200, b"not gzip", {"Content-Encoding": "gzip"}),
        {},
        GatewayError,
        "not encoded as its head says",
    ),
    (
        "is encoded as nobody asked",
        answer(200, b"abc", {"Content-Encoding": "br"}),
        {},
        GatewayError,
        "encoded as 'br', which nobody asked for",
    ),
    (
        "is encoded several times",
        answer(200, gzip.compress(gzip.compress(b"abc")), {"Content-Encoding": "gzip, gzip"}),
        {},
        GatewayError,
        "encoded as 'gzip, gzip', which nobody asked for",
    ),
    (
        "ends early in gzip",
        answer(200, gzip.compress(os.urandom(5000))[:2000], {"Content-Encoding": "gzip"}),
        {},
        AnswerLost,
        "in the middle",
    ),
    (
        "ends early in deflate",
        answer(200, zlib.compress(os.urandom(5000))[:2000], {"Content-Encoding": "deflate"}),
        {},
        AnswerLost,
        "in the middle",
    ),
    (
        "goes on after gzip",
        answer(200, gzip.compress(b"abc") + b"garbage", {"Content-Encoding": "gzip"}),
        {},
        AnswerLost,
        "in the middle",
    ),
    (
        "sends a bomb",
        answer(200, BOMB, {"Content-Encoding": "gzip"}),
        {},
        GatewayError,
        f"its {len(BOMB)} bytes grow to more than 67108864",
    ),
    (
        "says to be endless",
        servers.raw(servers.head(200, {"Content-Length": str(1 << 62)}) + b"abc"),
        {},
        GatewayError,
        "is too large: it has 4611686018427387904 bytes",
    ),
    (
        "changes the protocol",
        servers.raw(servers.head(101, {"Upgrade": "x", "Connection": "upgrade"})),
        {},
        GatewayError,
        "changes to a protocol that nobody asked for",
    ),
    (
        "answers another call",
        answer(200, b"{}", {"X-Away-Protocol": "1", "X-Call-Id": "another"}),
        {},
        AnswerLost,
        "the answer to another request (its X-Call-Id is 'another')",
    ),
]


@pytest.mark.parametrize(
    ("behaviour", "options", "kind", "part"), [row[1:] for row in CALLS], ids=[r[0] for r in CALLS]
)
def test_each_fault_of_a_gateway_is_one_error_of_a_call(
    drive, connect, behaviour, options, kind, part
):
    with Server({"/function/": behaviour, "": servers.json([])}) as server:
        faas = connect(server)
        began = time.monotonic()
        with pytest.raises(kind) as caught:
            drive(faas, "invoke", "fib", b"10", **options)
        took = time.monotonic() - began
        calls = [seen for seen in server.requests if seen.path.startswith("/function/")]
    text = message_of(caught.value)
    assert part in text
    assert faas.url in text
    assert caught.value.gateway == faas.url
    assert caught.value.call_id == calls[0].headers["x-call-id"]
    assert caught.value.call_id in text
    assert len(calls) == 1, "what may have run is not sent again"
    assert took < options.get("timeout", 5.0) + 1.0


GARBAGE = {
    "a chunk of less than nothing": ("Transfer-Encoding: chunked", b"-5\r\nabc\r\n0\r\n\r\n"),
    "a chunk to the end": ("Transfer-Encoding: chunked", b"-1\r\nabc\r\n0\r\n\r\n"),
    "a chunk of 2^64": ("Transfer-Encoding: chunked", b"10000000000000000\r\nabc\r\n0\r\n\r\n"),
    "a chunk of 2^62": ("Transfer-Encoding: chunked", b"4000000000000000\r\nabc\r\n0\r\n\r\n"),
    "a length of 2^64": ("Content-Length: 18446744073709551616", b"abc"),
    "a length of 5000 digits": (f"Content-Length: {'9' * 5000}", b"abc"),
    "a length below zero": ("Content-Length: -3", b"abc"),
    "two lengths": ("Content-Length: 3, 3", b"abc"),
    "two framings": (
        "Content-Length: 1\r\nTransfer-Encoding: chunked",
        b"3\r\nabc\r\n0\r\n\r\n",
    ),
    "interim answers without end": ("X: y\r\n" + "\r\nHTTP/1.1 103 Soon\r\n" * 200, b""),
}


@pytest.mark.parametrize("case", GARBAGE)
def test_garbage_for_a_length_is_an_error_of_ours(drive, connect, case):
    field, body = GARBAGE[case]
    garbage = servers.raw(f"HTTP/1.1 200 OK\r\n{field}\r\n\r\n".encode() + body)
    if case.startswith("interim"):
        garbage = servers.raw(b"HTTP/1.1 103 Soon\r\n\r\n" * 200)
    with Server(garbage) as server, pytest.raises((AnswerLost, GatewayError)) as caught:
        drive(connect(server), "invoke", "fib")
    message_of(caught.value)


def test_an_answer_that_is_only_announced_is_waited_for(drive, connect):
    def announced(talk: servers.Talk) -> bool:
        talk.sock.sendall(servers.head(103, {"Link": "</a>"}))
        talk.stopping.wait(0.1)
        talk.sock.sendall(servers.whole(200, talk.seen.path.encode()))
        return True

    announced.__dict__["is_behaviour"] = True
    with Server(announced) as server:
        faas = connect(server)
        for name in ("one", "two", "three"):
            reply = drive(faas, "invoke", name)
            assert (reply.status, reply.body) == (200, f"/function/{name}".encode())
        assert server.connections == 1


def test_a_connection_that_said_too_much_is_not_used_again(drive, connect):
    twice = servers.raw(servers.whole(200, b"first") + servers.whole(200, b"second"), keep=True)
    with Server([twice, answer(200, b"third")]) as server:
        faas = connect(server)
        assert drive(faas, "invoke", "fib").body == b"first"
        assert drive(faas, "invoke", "fib").body == b"third"
        assert server.connections == 2


def test_a_connection_that_answered_another_call_is_not_used_again(drive, connect):
    wrong = answer(200, b"{}", {"X-Away-Protocol": "1", "X-Call-Id": "another"})
    with Server([wrong, answer()]) as server:
        faas = connect(server)
        with pytest.raises(AnswerLost):
            drive(faas, "invoke", "fib")
        drive(faas, "invoke", "fib")
        assert server.connections == 2


@pytest.mark.parametrize("added", [[], [("X-Call-Id", "a-proxys-own")]])
def test_an_answer_with_its_own_id_is_taken(drive, connect, added):
    def echo(seen: servers.Seen) -> servers.Behaviour:
        own = [("X-Away-Protocol", "1"), *added, ("X-Call-Id", seen.headers["x-call-id"])]
        return answer(200, b"{}", own)

    with Server(echo) as server:
        assert drive(connect(server), "invoke", "fib").body == b"{}"


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate", "raw deflate", "identity"])
def test_an_answer_that_is_compressed_unasked_is_read(drive, connect, encoding):
    text = b"fifty-five " * 10_000
    raw = zlib.compressobj(wbits=-15)
    body = {
        "gzip": gzip.compress(text[:500]) + gzip.compress(text[500:]),
        "x-gzip": gzip.compress(text),
        "deflate": zlib.compress(text),
        "raw deflate": raw.compress(text) + raw.flush(),
        "identity": text,
    }[encoding]
    with Server(answer(200, body, {"Content-Encoding": encoding.split()[-1]})) as server:
        assert drive(connect(server), "invoke", "fib").body == text


class Pieces:
    """A body of 40 MB, of which each piece is soon taken."""

    def __iter__(self) -> Iterator[bytes]:
        return iter([bytes(1 << 16)] * 640)


@pytest.mark.parametrize("body", [Pieces(), bytes(40 << 20)], ids=["pieces", "bytes"])
def test_an_upload_over_tls_keeps_the_deadline(drive, connect, body):
    def sip(talk: servers.Talk) -> bool:
        while not talk.stopping.wait(0.02) and talk.sock.recv(1 << 16):
            pass
        return False

    sip.__dict__["is_behaviour"] = True
    with Sipping(sip, tls=True) as server:
        faas = connect(
            f"https://localhost:{server.port}", timeout=0.6, ca_bundle=servers.CERTIFICATE
        )
        began = time.monotonic()
        with pytest.raises(CallTimedOut):
            drive(faas, "invoke", "fib", body)
        assert time.monotonic() - began < HANGS_SECONDS


class Sipping(Server):
    """A server that takes a request's head for all of it, and leaves the body to its behaviour."""

    def _read(self, sock: socket.socket, number: int) -> servers.Seen | None:
        return servers.Seen("POST", "/", {}, self._receive(sock), number)


def test_the_announced_password_goes_only_to_the_gateway_that_announced_it(
    drive, connect, tmp_path, monkeypatch
):
    monkeypatch.setenv("AWAY_RUNTIME_DIR", str(tmp_path / "announced"))
    script = {"/function/": answer(200, b"55"), "/system/": servers.json([])}
    with Server(script) as server:
        said = Announcement(server.url, "admin", SECRET, os.getpid(), "/state")
        with announce(said, folder()):
            faas = connect(server, password=None)
            drive(faas, "invoke", "fib")
            drive(faas, "functions", fresh=True)
            assert server.requests[-1].headers["authorization"] == BASIC
            drive(faas, "invoke", "fib")
            drive(faas, "functions", fresh=True)
            # The first one was opened for a function, when nobody looked who listens.
            assert server.connections == 2
        # The gateway has ended; who has its port since answers as it would.
        drive(faas, "close")
        with pytest.raises(GatewayUnreachable) as caught:
            drive(faas, "functions", fresh=True)
        assert "the embedded gateway there has ended" in message_of(caught.value)
        assert "'away up'" in str(caught.value)
        # A function is called without a password, so whoever listens may answer.
        assert drive(faas, "invoke", "fib").body == b"55"
        with pytest.raises(GatewayUnreachable):
            drive(faas, "functions", fresh=True)
        sent = [seen for seen in server.requests if "authorization" in seen.headers]
        assert len(sent) == 2
        with announce(said, folder()):
            assert drive(faas, "functions", fresh=True) == []


def test_a_url_that_http_cannot_reach_is_an_error_of_ours(drive, connect):
    from away.connection.conversations import Request

    faas = connect(1)
    for url in (
        "ftp://127.0.0.1/x",
        "http:///x",
        "http://[::1/x",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1:0/",
        "http://a b/x",
        "http://127.0.0.1:1/\u00e9",
        "/v2/\u00e9",
    ):
        with pytest.raises(GatewayUnreachable) as caught:
            drive(faas, "run", faas.conversation_request(Request("GET", url)))
        assert "its URL cannot be used" in message_of(caught.value)


# what the gateway does to GET /system/functions, its error, a part of the sentence
LISTS = [
    ("302 to a login page", answer(302, b"<html>", {"Location": "https://u:pw@sso.example/in?tok=1"}), GatewayError, "https://sso.example/in'"),
    ("HTML", answer(200, b"<html>Welcome\x1b[31m</html>", {"Content-Type": "text/html"}), GatewayError, "not JSON (text/html"),
    ("JSON of another shape", servers.json({"functions": []}), GatewayError, "not a JSON array"),
    ("JSON too deep", answer(200, b"[" * 100_000), GatewayError, "not JSON"),
    ("401", answer(401, b"invalid credentials\n"), AuthenticationRefused, "the login of the user 'admin'"),
    ("403", answer(403, b"forbidden"), AuthenticationRefused, "does not allow this to the user 'admin'"),
    ("404 of another server", answer(404, b"404 page not found\n"), GatewayError, "path prefix"),
    ("provider down", answer(502, b"\n"), GatewayError, "the provider behind"),
    ("500 with a long text", answer(500, b"boom \x1b[2J " + b"x" * 5000), GatewayError, "answered 500"),
    ("hangs up each time", servers.hang_up(), AnswerLost, "Prometheus"),
    ("cut short each time", servers.cut(b"[]" * 20, 5), AnswerLost, "Prometheus"),
    ("hangs", servers.hang(), CallTimedOut, "GET /system/functions"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("behaviour", "kind", "part"), [row[1:] for row in LISTS], ids=[row[0] for row in LISTS]
)
def test_each_fault_of_a_gateway_is_one_error_of_the_list(drive, connect, behaviour, kind, part):
    with Server(behaviour) as server:
        faas = connect(server)
        with pytest.raises(kind) as caught:
            drive(faas, "functions", timeout=0.5)
    text = message_of(caught.value)
    assert part in text
    assert faas.url in text
    assert caught.value.call_id in text
    assert len(text) < 800
    assert "tok=1" not in text
    assert "pw@" not in text
    assert len(getattr(caught.value, "body", "")) <= 300


def test_a_function_can_be_asked_for_where_the_list_hangs_up(drive, connect):
    script = {
        "/system/functions": servers.hang_up(),
        "/system/function/sum-all": servers.json({"name": "sum-all", "image": "x:1"}),
        "/system/function/": answer(404),
    }
    with Server(script) as server:
        faas = connect(server)
        assert drive(faas, "function", "sum_all").name == "sum-all"
        with pytest.raises(FunctionNotFound) as caught:
            drive(faas, "function", "other")
        assert "has no function 'other'" in message_of(caught.value)


def test_a_missing_function_names_the_nearest_ones(drive, connect):
    listed = servers.json([{"name": "fibonacci"}, {"name": "unlike"}])
    script = {
        "/system/functions": listed,
        "/system/function/": answer(404),
        "/function/": answer(404, UNKNOWN),
    }
    with Server(script) as server:
        faas = connect(server)
        for method in ("function", "invoke"):
            with pytest.raises(FunctionNotFound) as caught:
                drive(faas, method, "fibonaci")
            assert caught.value.nearest == ("fibonacci",)
            assert "did you mean 'fibonacci'" in message_of(caught.value)


def test_an_unknown_namespace_is_said_to_be_that(drive, connect):
    script = {
        "/system/functions": answer(400, b"namespace not valid"),
        "/function/": answer(404, UNKNOWN),
    }
    with Server(script) as server:
        with pytest.raises(FunctionNotFound, match="has no namespace 'elsewhere'"):
            drive(connect(server), "invoke", "fib", namespace="elsewhere")
        assert server.requests[0].path == "/function/fib.elsewhere"


# ---------------------------------------------------------------- connecting


def test_a_refused_connection_is_tried_again_for_a_while_and_then_said(drive, connect):
    with servers.refusing() as port:
        faas = connect(port)
        with pytest.raises(GatewayUnreachable) as caught:
            drive(faas, "invoke", "fib", timeout=0.4)
    assert "nothing listens at" in message_of(caught.value)
    assert "start the gateway" in caught.value.hint


def test_a_gateway_that_starts_meanwhile_is_reached(drive, connect):
    with servers.opening_late(answer(200, b"55"), 0.3) as server:
        assert drive(connect(server), "invoke", "fib").body == b"55"


def test_a_connection_that_hangs_ends_with_connect_timeout(drive, connect):
    with servers.unreachable() as port:
        faas = connect(port, connect_timeout=0.3)
        began = time.monotonic()
        with pytest.raises(GatewayUnreachable) as caught:
            drive(faas, "invoke", "fib")
        assert time.monotonic() - began < HANGS_SECONDS
    assert "within 0.3 s (connect_timeout)" in message_of(caught.value)


def test_a_server_that_does_not_read_ends_with_the_timeout(drive, connect):
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        faas = connect(deaf.getsockname()[1])
        began = time.monotonic()
        with pytest.raises(CallTimedOut):
            drive(faas, "invoke", "fib", bytes(50_000_000), timeout=0.4)
        assert time.monotonic() - began < HANGS_SECONDS


@pytest.mark.slow
def test_a_connection_that_was_idle_for_long_is_not_used_again(drive, connect):
    with Server(answer(200, b"55")) as server:
        faas = connect(server)
        drive(faas, "invoke", "fib")
        time.sleep(4.1)
        drive(faas, "invoke", "fib")
        assert server.connections == 2


def test_an_answer_before_the_body_was_read_is_taken(drive, connect):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        early = servers.whole(413, b"too large", {"Connection": "close"})

        def refuse() -> None:
            sock, _ = listener.accept()
            with sock:
                sock.recv(1000)
                sock.sendall(early)
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(1 << 20):
                    pass

        thread = threading.Thread(target=refuse)
        thread.start()
        faas = connect(listener.getsockname()[1])
        reply = drive(faas, "invoke", "fib", bytes(5_000_000))
        assert (reply.status, reply.body) == (413, b"too large")
        if drive.runner is not None:
            drive(faas, "close")
        faas.close()
        thread.join(10)


def test_a_host_without_an_address_is_said(drive, connect):
    faas = connect("http://no-such-host.invalid:8080")
    with pytest.raises(GatewayUnreachable) as caught:
        drive(faas, "functions", timeout=5.0)
    assert "no-such-host.invalid" in message_of(caught.value)


def test_tls_is_checked_by_the_bundle(drive, connect):
    with Server(answer(200, b"55"), tls=True) as server:
        trusting = connect(server, ca_bundle=servers.CERTIFICATE)
        assert drive(trusting, "invoke", "fib").body == b"55"
        assert drive(trusting, "invoke", "fib").body == b"55"
        assert server.connections == 1
        with pytest.raises(GatewayUnreachable) as caught:
            drive(connect(server), "invoke", "fib")
    text = message_of(caught.value)
    assert "no trusted connection" in text
    assert "self-signed" in text
    assert "ca_bundle" in text


def test_a_bundle_that_cannot_be_read_is_said(drive, connect, tmp_path):
    faas = connect("https://127.0.0.1:1", ca_bundle=tmp_path / "none.pem")
    with pytest.raises(GatewayUnreachable, match="No such file"):
        drive(faas, "invoke", "fib")


def test_tls_to_a_server_without_it_is_one_sentence(drive, connect):
    with Server(answer()) as server:
        faas = connect(f"https://127.0.0.1:{server.port}", ca_bundle=servers.CERTIFICATE)
        with pytest.raises(GatewayUnreachable) as caught:
            drive(faas, "invoke", "fib", timeout=2.0)
    assert "no trusted connection" in message_of(caught.value)
    assert "wrong version number" in str(caught.value)


# ---------------------------------------------------------------- kept-alive connections


def test_a_connection_is_kept_for_the_next_call(drive, connect):
    with Server(answer(200, b"55")) as server:
        faas = connect(server)
        for _ in range(5):
            assert drive(faas, "invoke", "fib", b"10").body == b"55"
        assert server.connections == 1


def test_a_connection_that_the_server_closed_while_idle_loses_no_call(drive, connect):
    with Server(servers.answer_then_close(200, b"55")) as server:
        faas = connect(server)
        for _ in range(5):
            assert drive(faas, "invoke", "fib", b"10").body == b"55"
            assert server.closed.acquire(timeout=5)
        assert server.connections == 5
        assert len(server.requests) == 5


def test_a_call_that_meets_the_close_is_lost_and_not_repeated(drive, connect):
    with Server([answer(200, b"55"), servers.hang_up(), answer(200, b"55")]) as server:
        faas = connect(server)
        drive(faas, "invoke", "fib", b"10")
        with pytest.raises(AnswerLost, match="it may have run"):
            drive(faas, "invoke", "fib", b"10")
        assert [seen.connection for seen in server.requests] == [1, 1]
        assert drive(faas, "invoke", "fib", b"10").body == b"55"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_call_by_another_method_is_not_repeated_either(drive, connect, method):
    with Server([answer(200, b"55"), servers.hang_up(), answer(200, b"55")]) as server:
        faas = connect(server)
        drive(faas, "invoke", "fib")
        with pytest.raises(AnswerLost, match="it may have run"):
            drive(faas, "invoke", "fib", method=method)
        assert len(server.requests) == 2


def test_a_deployment_that_was_lost_is_not_repeated(drive, connect):
    with Server([servers.hang_up(), answer(200)]) as server:
        with pytest.raises(AnswerLost, match="it may have run"):
            drive(connect(server), "update", {"service": "fib", "image": "x"})
        assert len(server.requests) == 1


def test_reading_from_the_gateway_is_repeated_once(drive, connect):
    with Server([servers.hang_up(), servers.json({"arch": "x86_64"})]) as server:
        assert drive(connect(server), "info") == {"arch": "x86_64"}
        assert len(server.requests) == 2


def test_an_idempotent_call_is_repeated(drive, connect):
    proxy = {"X-Openfaas-Internal": "proxy"}
    script = [answer(500, b"Can't reach", proxy), servers.hang_up(), answer(200, b"55")]
    with Server(script) as server:
        assert drive(connect(server), "invoke", "fib", idempotent=True).body == b"55"
        identities = {seen.headers["x-call-id"] for seen in server.requests}
        assert len(server.requests) == 3
        assert len(identities) == 1


def test_a_full_runtime_is_tried_again_unasked(drive, connect):
    with Server([answer(503, b"full", {"X-Away-Protocol": "1"}), answer(200, b"55")]) as server:
        assert drive(connect(server), "invoke", "fib").body == b"55"


def test_a_gap_of_an_update_of_our_own_is_waited_out(drive, connect):
    script = {"/system/": servers.json([]), "/function/": [answer(404, UNKNOWN), answer(200, b"5")]}
    with Server(script) as server:
        faas = connect(server)
        with faas.expecting_update("fib"):
            assert drive(faas, "invoke", "fib").body == b"5"
    turn = {"/system/": servers.json([]), "/function/": [answer(404, UNKNOWN), answer(200, b"5")]}
    with Server(turn) as server:
        faas = connect(server)
        with faas.expecting_update("other"), pytest.raises(FunctionNotFound):
            drive(faas, "invoke", "fib")


def test_calls_wait_for_the_end_of_an_update_that_would_lose_them(drive, connect):
    with Server(answer(200, b"5")) as server:
        faas = connect(server)
        released = threading.Event()

        def update() -> None:
            with faas.expecting_update("fib", hold=True):
                begun.set()
                time.sleep(0.4)
                assert not [seen for seen in server.requests if seen.path == "/function/fib"]
                released.set()

        begun = threading.Event()
        with ThreadPoolExecutor(1) as pool:
            updating = pool.submit(update)
            begun.wait()
            assert drive(faas, "invoke", "other").body == b"5"
            assert not released.is_set()
            assert drive(faas, "invoke", "fib").body == b"5"
            assert released.is_set()
            updating.result()


def test_a_call_whose_time_is_over_within_an_update_was_not_sent(drive, connect):
    with Server(answer(200, b"5")) as server:
        faas = connect(server)
        with (
            faas.expecting_update("fib", hold=True),
            pytest.raises(CallTimedOut, match=r"was not sent within the 0\.2 s") as caught,
        ):
            drive(faas, "invoke", "fib", timeout=0.2)
        assert "this process is updating the function" in str(caught.value)
        assert not server.requests


@pytest.mark.parametrize(
    ("behaviour", "kind", "part"),
    [
        (servers.hang_up, AnswerLost, "loses the calls in flight, and it may have run"),
        (servers.hang, CallTimedOut, "loses the calls in flight; it may have run"),
        (
            lambda: answer(500, b"Can't reach", {"X-Openfaas-Internal": "proxy"}),
            FunctionNotReady,
            "",
        ),
    ],
)
def test_a_call_that_an_update_of_our_own_lost_says_so(drive, connect, behaviour, kind, part):
    with Server(servers.late(0.6, behaviour())) as server:
        faas = connect(server)

        def update() -> None:
            while not server.requests:
                time.sleep(0.01)
            with faas.expecting_update("fib", hold=True):
                time.sleep(0.05)

        with ThreadPoolExecutor(1) as pool:
            pool.submit(update)
            with pytest.raises(kind, match=r"this process (was updating|updated)") as caught:
                drive(faas, "invoke", "fib", timeout=2.0)
        assert part in str(caught.value)
        # One that began after the update is none of its.
        with pytest.raises(kind) as caught:
            drive(faas, "invoke", "fib", timeout=2.0)
        assert "this process" not in str(caught.value)


def test_an_update_counts_for_a_moment_after_it_ended(drive, connect):
    with Server([answer(404, UNKNOWN), answer(200, b"5")]) as server:
        faas = connect(server)
        with faas.expecting_update("fib"):
            pass
        assert drive(faas, "invoke", "fib").body == b"5"


# ---------------------------------------------------------------- what is sent


def test_the_login_goes_to_the_gateways_api_and_never_to_functions(drive, connect):
    with Server({"/system": servers.json([]), "": answer()}) as server:
        faas = connect(server)
        drive(faas, "functions")
        drive(faas, "invoke", "fib")
        drive(faas, "invoke", "fib", path="/system/x")
        drive(faas, "is_available")
        sent = [(seen.path, seen.headers.get("authorization")) for seen in server.requests]
    assert sent == [
        ("/system/functions", BASIC),
        ("/function/fib", None),
        ("/function/fib/system/x", None),
        ("/healthz", None),
    ]


def test_functions_get_the_login_where_the_user_says_so(drive, connect):
    with Server(answer()) as server:
        drive(connect(server, auth_functions=True), "invoke", "fib")
        assert server.requests[0].headers["authorization"] == BASIC


def test_a_token_is_sent_as_bearer(drive, connect):
    with Server(servers.json({})) as server:
        drive(connect(server, password=None, token="t0ken"), "info")
        assert server.requests[0].headers["authorization"] == "Bearer t0ken"


def test_a_number_is_a_password(drive, connect):
    with Server(servers.json({})) as server:
        faas = connect(server, password=1234)
        assert faas.password == "1234"
        drive(faas, "info")
        sent = server.requests[0].headers["authorization"]
        assert base64.b64decode(sent.removeprefix("Basic ")) == b"admin:1234"


def test_without_a_login_the_error_says_how_to_give_one(drive, connect):
    with Server(answer(401, b"invalid credentials\n")) as server:
        faas = connect(server, password=None)
        assert not faas.is_logged_in
        with pytest.raises(AuthenticationRefused) as caught:
            drive(faas, "functions")
        text = message_of(caught.value)
        assert "no password is known" in text
        assert "faas-cli login" in text
        assert drive(faas, "is_auth") is False


def test_a_netrc_is_not_read(drive, connect, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login eve password {SECRET}\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with Server({"/system": servers.json({}), "": answer()}) as server:
        faas = connect(server, password=None)
        drive(faas, "info")
        drive(faas, "invoke", "fib")
        assert [seen.headers.get("authorization") for seen in server.requests] == [None, None]


def test_a_path_prefix_is_kept(drive, connect):
    with Server({"/faas/system": servers.json([]), "/faas/function": answer(200, b"5")}) as server:
        faas = connect(server.url + "/faas/")
        drive(faas, "functions")
        drive(faas, "invoke", "fib", path="a b/ü", query="x=1&y=ž")
        assert [seen.path for seen in server.requests] == [
            "/faas/system/functions",
            "/faas/function/fib/a%20b/%C3%BC?x=1&y=%C5%BE",
        ]
        assert server.requests[0].headers["authorization"] == BASIC


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
def test_every_method_arrives(drive, connect, method):
    with Server(servers.raw(servers.head(204), keep=True)) as server:
        faas = connect(server)
        assert drive(faas, "invoke", "fib", method=method).status == 204
        assert drive(faas, "invoke", "fib", method=method).status == 204
        assert [seen.method for seen in server.requests] == [method, method]
        assert server.connections == 1


def test_bodies_arrive_as_they_are_and_without_a_type_of_ours(drive, connect):
    with Server(answer()) as server:
        faas = connect(server)
        drive(faas, "invoke", "fib", b"\x00\xff" * 100_000)
        drive(faas, "invoke", "fib", [b"one", b"two"])
        drive(faas, "invoke", "fib")
        drive(faas, "invoke", "fib", b"\x01" * 3_000_000)
        bodies = [seen.body for seen in server.requests]
        assert bodies == [b"\x00\xff" * 100_000, b"onetwo", b"", b"\x01" * 3_000_000]
        assert server.requests[3].headers["content-length"] == "3000000"
        for seen in server.requests:
            assert "content-type" not in seen.headers
            assert seen.headers["user-agent"].startswith("away/")
            assert seen.headers["accept-encoding"] == "identity"
        assert server.requests[2].headers["content-length"] == "0"


def test_a_type_that_the_caller_gives_arrives(drive, connect):
    headers = {"content-type": "text/x", "X-Call-Id": "mine", "user-agent": "me"}
    with Server(answer()) as server:
        reply = drive(connect(server), "invoke", "fib", b"x", headers=headers)
        seen = server.requests[0].headers
        assert (seen["content-type"], seen["x-call-id"], seen["user-agent"]) == (
            "text/x",
            "mine",
            "me",
        )
        assert reply.call_id == "mine"


def test_answers_come_whole(drive, connect):
    big = os.urandom(3_000_000)
    script = [
        answer(200, big),
        servers.chunked(b"one", b"two"),
        answer(200, gzip.compress(b"packed"), {"Content-Encoding": "gzip"}),
        answer(418, b"teapot", [("X-A", "1"), ("X-A", "2")]),
        servers.raw(b"HTTP/1.0 200 OK\r\n\r\nuntil the end"),
    ]
    with Server(script) as server:
        faas = connect(server)
        bodies = [drive(faas, "invoke", "fib") for _ in script]
        assert [reply.body for reply in bodies] == [
            big,
            b"onetwo",
            b"packed",
            b"teapot",
            b"until the end",
        ]
        assert bodies[3].status == 418
        assert bodies[3].headers["x-a"] == "1, 2"
        assert server.connections == 1


def test_a_redirect_of_a_function_is_not_followed(drive, connect):
    with Server(answer(302, b"", {"Location": "/elsewhere"})) as server:
        reply = drive(connect(server), "invoke", "fib")
        assert (reply.status, reply.headers.get("location")) == (302, "/elsewhere")
        assert server.paths() == ["/function/fib"]


@pytest.mark.parametrize("name", ["café", "a/b", "a.b", "", "x" * 64, "a b", "../x", "a?b"])
def test_a_name_that_no_gateway_calls_is_refused_before_anything_is_sent(drive, connect, name):
    with Server(answer()) as server:
        with pytest.raises(NameRefused) as caught:
            drive(connect(server), "invoke", name)
        message_of(caught.value)
        assert not server.requests


@pytest.mark.parametrize(
    "options",
    [
        {"headers": {"X-A": "1\r\nX-B: 2"}},
        {"headers": {"X-A\r\n": "1"}},
        {"path": "/a//b"},
        {"path": "/../admin"},
    ],
    ids=["a line in a value", "a line in a name", "an empty part", "dots"],
)
def test_what_would_break_the_request_is_refused(drive, connect, options):
    with Server(answer()) as server:
        with pytest.raises(ValueError, match=r"header|path"):
            drive(connect(server), "invoke", "fib", **options)
        assert not server.requests


# ---------------------------------------------------------------- proxies


@pytest.mark.parametrize("excepted", [False, True], ids=["through the proxy", "NO_PROXY"])
def test_proxy_variables_mean_the_same_to_both(drive, connect, monkeypatch, excepted):
    with Server(answer(200, b"by proxy")) as proxy:
        monkeypatch.setenv("http_proxy", f"http://eve:pw@127.0.0.1:{proxy.port}")
        if excepted:
            monkeypatch.setenv("NO_PROXY", "other.example, .invalid")
        faas = connect("http://gw.invalid:8080/faas")
        if excepted:
            with pytest.raises(GatewayUnreachable):
                drive(faas, "invoke", "fib", timeout=2.0)
            assert not proxy.requests
            return
        assert drive(faas, "invoke", "fib").body == b"by proxy"
        seen = proxy.requests[0]
        assert seen.path == "http://gw.invalid:8080/faas/function/fib"
        assert seen.headers["host"] == "gw.invalid:8080"
        assert base64.b64decode(seen.headers["proxy-authorization"].split()[1]) == b"eve:pw"


def test_a_loopback_gateway_is_never_behind_a_proxy(drive, connect, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("all_proxy", "http://127.0.0.1:1")
    with Server(answer(200, b"direct")) as server:
        assert drive(connect(server), "invoke", "fib").body == b"direct"


def test_tls_goes_through_a_proxy_unread(drive, connect, monkeypatch):
    with Server(answer(200, b"55"), tls=True) as server:
        with Server(servers.tunnel(server.port)) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", f"http://eve:pw@127.0.0.1:{proxy.port}")
            faas = connect("https://gw.invalid", ca_bundle=servers.CERTIFICATE)
            assert drive(faas, "invoke", "fib").body == b"55"
            assert drive(faas, "invoke", "fib").body == b"55"
            assert server.connections == proxy.connections == 1
            seen = proxy.requests[0]
            assert (seen.method, seen.path) == ("CONNECT", "gw.invalid:443")
            assert base64.b64decode(seen.headers["proxy-authorization"].split()[1]) == b"eve:pw"
            assert "proxy-authorization" not in server.requests[0].headers
            if drive.runner is not None:
                drive(faas, "close")
            faas.close()


def test_a_proxy_that_refuses_is_said(drive, connect, monkeypatch):
    with Server(servers.raw(servers.whole(403, b"no"))) as proxy:
        monkeypatch.setenv("https_proxy", f"127.0.0.1:{proxy.port}")
        with pytest.raises(GatewayUnreachable, match="proxy"):
            drive(connect("https://gw.invalid"), "invoke", "fib", timeout=2.0)
        assert proxy.requests[0].method == "CONNECT"


def test_a_proxy_of_a_kind_that_is_not_spoken_is_said(drive, connect, monkeypatch):
    monkeypatch.setenv("all_proxy", "socks5://127.0.0.1:1")
    with pytest.raises(GatewayUnreachable, match="'socks5' proxy"):
        drive(connect("http://gw.invalid"), "invoke", "fib")


# ---------------------------------------------------------------- the list, secrets, logs


def test_the_list_is_kept_and_dropped(drive, connect):
    with Server(servers.json([{"name": "b"}, {"name": "a"}])) as server:
        faas, other = connect(server), connect(server)
        assert [info.name for info in drive(faas, "functions")] == ["a", "b"]
        assert [info.name for info in drive(other, "functions")] == ["a", "b"]
        assert len(server.requests) == 1
        drive(faas, "functions", fresh=True)
        assert len(server.requests) == 2
        faas.catalogue.drop()
        drive(other, "functions")
        assert len(server.requests) == 3


def test_a_list_that_another_login_fetched_is_not_shown(drive, connect):
    with Server([servers.json([{"name": "a"}]), answer(401, b"invalid credentials")]) as server:
        drive(connect(server), "functions")
        with pytest.raises(AuthenticationRefused):
            drive(connect(server, password="other"), "functions")


def test_sixteen_threads_share_one_list(connect):
    with Server(servers.late(0.2, servers.json([{"name": "a"}]))) as server:
        faas = connect(server)
        found: list[str] = []

        def look() -> None:
            found.extend(info.name for info in faas.functions())

        threads = [threading.Thread(target=look) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == ["a"] * 16
        assert len(server.requests) == 1


def test_what_the_gateway_leaves_out_has_its_zero(drive, connect):
    odd = {"name": "fib", "labels": None, "annotations": {"a": 5, "b": "x"}, "replicas": "many"}
    with Server(servers.json(odd)) as server:
        info = drive(connect(server), "function", "fib")
        assert (info.labels, info.annotations, info.replicas, info.secrets) == (
            {},
            {"b": "x"},
            0,
            (),
        )
        assert info.description is None


def test_functions_are_deployed_scaled_and_removed_by_openfaas_own_requests(drive, connect):
    with Server(answer(200)) as server:
        faas = connect(server, namespace="dev")
        drive(faas, "deploy", {"service": "fib", "image": "x"})
        drive(faas, "update", {"service": "fib", "image": "y"})
        drive(faas, "scale", "fib", 3)
        drive(faas, "remove", "fib")
        drive(faas, "create_secret", "s", "text")
        drive(faas, "update_secret", "s", b"\xff")
        drive(faas, "remove_secret", "s")
        sent = [(seen.method, seen.path, seen.body) for seen in server.requests]
    assert sent == [
        ("POST", "/system/functions", b'{"service": "fib", "image": "x"}'),
        ("PUT", "/system/functions", b'{"service": "fib", "image": "y"}'),
        (
            "POST",
            "/system/scale-function/fib?namespace=dev",
            b'{"serviceName": "fib", "replicas": 3, "namespace": "dev"}',
        ),
        ("DELETE", "/system/functions", b'{"functionName": "fib", "namespace": "dev"}'),
        ("GET", "/system/functions?namespace=dev", b""),  # the list, kept for imports
        (
            "POST",
            "/system/secrets?namespace=dev",
            b'{"name": "s", "value": "text", "namespace": "dev"}',
        ),
        (
            "PUT",
            "/system/secrets?namespace=dev",
            b'{"name": "s", "rawValue": "/w==", "namespace": "dev"}',
        ),
        ("DELETE", "/system/secrets?namespace=dev", b'{"name": "s", "namespace": "dev"}'),
    ]


def test_removing_what_is_not_there_says_so(drive, connect):
    script = {"/system/functions": lambda seen: _list_or_404(seen)}
    with Server(script) as server:
        with pytest.raises(FunctionNotFound, match="did you mean 'fib'"):
            drive(connect(server), "remove", "fob")


def _list_or_404(seen: servers.Seen) -> servers.Behaviour:
    return servers.json([{"name": "fib"}]) if seen.method == "GET" else answer(404, b"not found")


def test_secrets_and_namespaces_are_listed(drive, connect):
    script = {
        "/system/secrets": answer(200, b'[{"name":"b"},{"name":"a","namespace":"x"}]'),
        "/system/namespaces": servers.json(["openfaas-fn"]),
    }
    with Server(script) as server:
        faas = connect(server)
        assert drive(faas, "secrets") == ["a", "b"]
        assert drive(faas, "namespaces") == ["openfaas-fn"]


LOG = [
    {"name": "fib", "timestamp": f"2026-11-24T06:53:1{n}.000000Z", "text": f"line {n}"}
    for n in range(5)
]


def test_a_log_is_read_until_it_is_quiet(drive, connect):
    with Server(servers.endless_log(*LOG)) as server:
        lines = drive(connect(server), "logs", "fib", tail=2, since="2026-11-24T06:00:00Z")
        assert [line.text for line in lines] == ["line 3", "line 4"]
        assert "follow=true" in server.requests[0].path
        assert "since=2026-11-24T06%3A00%3A00Z" in server.requests[0].path


def test_a_log_may_be_empty_or_missing(drive, connect):
    there = servers.json({"name": "fib", "image": "x"})
    with Server([answer(200, b""), there, answer(501, b"no logs here")]) as server:
        faas = connect(server)
        assert drive(faas, "logs", "fib") == []
        with pytest.raises(GatewayError, match="answered 501"):
            drive(faas, "logs", "fib")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"tail": -1}, "tail is a number of lines from 0 up, not -1"),
        ({"tail": "3"}, "tail is"),
        ({"since": "yesterday"}, "since is a moment such as .*, not 'yesterday'"),
    ],
    ids=str,
)
def test_a_part_of_a_log_that_is_none_is_refused_before_anything_is_sent(
    drive, connect, asked, said
):
    with Server([]) as server:
        with pytest.raises(ValueError, match=said):
            drive(connect(server), "logs", "fib", **asked)
        assert server.requests == []


def test_a_log_whose_head_never_comes_is_empty_after_a_moment(drive, connect):
    with Server(servers.hang()) as server:
        begun = time.monotonic()
        assert drive(connect(server), "logs", "fib") == []
        assert 1.0 < time.monotonic() - begun < 3.0
        assert len(server.requests) == 1


def test_a_log_that_is_followed_may_have_no_line_until_the_time_is_over(drive, connect):
    with Server([servers.late(1.2, servers.hang_up()), servers.hang()]) as server:
        faas = connect(server)
        assert list(faas.logs("fib", follow=True, timeout=2.0)) == []
        assert len(server.requests) == 2

    async def follow() -> list[str]:
        return [line.text async for line in faas.aio.follow_logs("fib", timeout=2.0)]

    with Server([servers.late(1.2, servers.hang_up()), servers.hang()]) as server:
        faas = connect(server)
        assert asyncio.run(follow()) == []
        assert len(server.requests) == 2


def test_a_log_that_is_followed_and_hung_up_on_at_once_is_an_error(connect):
    with Server(servers.hang_up()) as server, pytest.raises(AnswerLost):
        list(connect(server).logs("fib", follow=True, timeout=2.0))


def test_a_log_that_is_followed_goes_on_after_the_gateway_hangs_up(connect):
    with Server([_log_piece(*LOG[:3]), _log_piece(*LOG[2:]), answer(200, b"")]) as server:
        faas = connect(server)
        lines = [line.text for line in faas.logs("fib", follow=True)]
        assert lines == ["line 0", "line 1", "line 2", "line 3", "line 4"]
        assert "since=2026-11-24T06%3A53%3A12" in server.requests[1].path

    async def follow() -> list[str]:
        return [line.text async for line in faas.aio.follow_logs("fib")]

    with Server([_log_piece(*LOG[:3]), _log_piece(*LOG[2:]), answer(200, b"")]) as server:
        faas = connect(server)
        assert asyncio.run(follow()) == lines


def _log_piece(*lines: dict[str, str]) -> servers.Behaviour:
    import json

    return servers.chunked(*(json.dumps(line).encode() + b"\n" for line in lines))


# ---------------------------------------------------------------- the object


@pytest.mark.parametrize(
    ("given", "url"),
    [
        (("my-faas-server.com",), "http://my-faas-server.com:8080"),
        (("my-faas-server.com", 9000), "http://my-faas-server.com:9000"),
        (("localhost:7000", 9000), "http://localhost:7000"),
        (("https://Example.com/faas/", 9000), "https://example.com/faas"),
        (("http://example.com", 9000), "http://example.com"),
        (("::1",), "http://[::1]:8080"),
        ((), "http://localhost:8080"),
    ],
)
def test_a_provider_is_a_host_or_a_url(given, url):
    assert FaasConnection(*given, password="sesame-of-tests").url == url


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"provider": f"http://admin:{SECRET}@host"}, "do not belong"),
        ({"provider": "ftp://host"}, "not ftp://"),
        ({"port": 99999}, "port"),
        ({"timeout": 0}, "timeout="),
        ({"timeout": "5"}, "timeout="),
        ({"connect_timeout": -1}, "connect_timeout="),
        ({"connect_timeout": float("nan")}, "connect_timeout="),
        ({"password": b"bytes"}, "password="),
        ({"password": True}, "password="),
        ({"password": SECRET, "token": "t"}, "not both"),
        ({"user": "a:b"}, "user="),
    ],
)
def test_what_cannot_be_used_is_refused_at_once(options, part):
    with pytest.raises(ConfigError) as caught:
        FaasConnection(**options)
    assert part in message_of(caught.value)


def test_no_password_stands_in_what_is_shown_or_pickled(connect):
    faas = connect("http://host:8080/x", user="eve")
    assert repr(faas) == "FaasConnection('http://host:8080/x', user='eve')"
    data = pickle.dumps(faas)
    assert SECRET.encode() not in data
    again = pickle.loads(data)
    assert (again.url, again.user, again.password, again.timeout) == (
        faas.url,
        "eve",
        None,
        5.0,
    )
    assert faas == faas
    assert faas != again
    assert len({faas, again}) == 2
    assert SECRET not in repr(faas.api.access) + repr(vars(faas)) + str(vars(faas.api.access))


def test_a_password_is_found_for_exactly_this_url(drive, connect):
    from away import config

    with Server(servers.json({})) as server:
        config.configure("mine", url=server.url, password=SECRET)
        try:
            faas = connect(server, password=None)
            drive(faas, "info")
            assert server.requests[0].headers["authorization"] == BASIC
            named = FaasConnection.named("mine")
            with named:
                assert (named.url, named.password, named.name) == (server.url, SECRET, "mine")
                assert pickle.loads(pickle.dumps(named)).password == SECRET
        finally:
            config.forget("mine")


def test_a_gateway_with_a_new_password_is_logged_in_to_again(drive, connect):
    from away import config

    def check(seen: servers.Seen) -> servers.Behaviour:
        known = seen.headers.get("authorization") == BASIC
        return servers.json({}) if known else answer(401, b"invalid credentials\n")

    with Server(check) as server:
        config.configure("mine", url=server.url, password="before")
        try:
            faas = connect(server, password=None)
            with FaasConnection.named("mine") as named:
                for one in (faas, named):
                    with pytest.raises(AuthenticationRefused):
                        drive(one, "info")
                config.configure("mine", password=SECRET)
                for one in (faas, named):
                    assert drive(one, "info") == {}
        finally:
            config.forget("mine")


def test_a_body_is_bytes(drive, connect):
    with Server(lambda seen: answer(200, seen.body)) as server:
        faas = connect(server)
        assert drive(faas, "invoke", "fib", bytearray(b"x")).body == b"x"
        assert drive(faas, "invoke", "fib", memoryview(b"x")).body == b"x"
        with pytest.raises(TypeError, match="encode the text"):
            drive(faas, "invoke", "fib", "text")


def test_a_close_by_another_thread_disturbs_no_call(connect):
    with Server(answer(200, b"55")) as server:
        faas = connect(server)
        done = threading.Event()
        failures: list[BaseException] = []

        def call() -> None:
            try:
                for _ in range(60):
                    assert faas.invoke("fib").body == b"55"
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=call) for _ in range(4)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            faas.close()
            done.wait(0.002)
        assert not failures


def test_a_closed_connection_opens_again(drive, connect):
    with Server(answer(200, b"55")) as server:
        faas = connect(server)
        drive(faas, "invoke", "fib")
        if drive.runner is None:
            faas.close()
        else:
            drive(faas, "close")
        assert server.closed.acquire(timeout=5)
        assert drive(faas, "invoke", "fib").body == b"55"
        assert server.connections == 2


def test_both_faces_close_with_the_block():
    with Server(answer(200, b"55")) as server:
        with FaasConnection(server.url, password="sesame-of-tests") as faas:
            faas.invoke("fib")
        assert server.closed.acquire(timeout=5)

        async def main() -> None:
            async with FaasConnection(server.url, password="sesame-of-tests") as faas:
                await faas.aio.invoke("fib")
            await asyncio.to_thread(server.closed.acquire, timeout=5)

        asyncio.run(main())


def test_several_event_loops_use_one_connection(connect):
    with Server(answer(200, b"55")) as server:
        faas = connect(server)

        async def call() -> bytes:
            replies = await asyncio.gather(*(faas.aio.invoke("fib") for _ in range(8)))
            return b"".join(reply.body for reply in replies)

        for _ in range(3):
            assert asyncio.run(call()) == b"55" * 8
        results: list[bytes] = []
        threads = [
            threading.Thread(target=lambda: results.append(asyncio.run(call()))) for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == [b"55" * 8] * 3


def test_many_threads_use_one_connection(connect):
    with Server(lambda seen: answer(200, seen.body)) as server:
        faas = connect(server)
        failures: list[object] = []

        def call(number: int) -> None:
            for turn in range(10):
                body = f"{number} {turn}".encode()
                if faas.invoke("echo", body).body != body:
                    failures.append(body)

        threads = [threading.Thread(target=call, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert len(server.requests) == 160


def test_a_cancelled_call_leaves_the_connection_usable(connect):
    with Server({"/function/slow": servers.hang(), "": answer(200, b"55")}) as server:
        faas = connect(server)

        async def main() -> bytes:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await faas.aio.invoke("slow")
            return (await faas.aio.invoke("fib")).body

        assert asyncio.run(main()) == b"55"


# ---------------------------------------------------------------- processes

NO_WARNINGS = [sys.executable, "-W", "error", "-X", "dev", "-c"]


def run_script(script: str, *args: str) -> str:
    """Run a script in a process where every warning is an error and unraisable ones are seen."""
    done = subprocess.run(
        [*NO_WARNINGS, textwrap.dedent(script), *args],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parent.parent,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # asyncio's own remark in dev mode: importing aiohttp takes longer than it likes.
    said = [line for line in done.stderr.splitlines() if not line.startswith("Executing <")]
    assert not said, done.stderr
    return done.stdout


SCRIPTS = {
    "sync": """
        import sys
        from away import FaasConnection
        faas = FaasConnection(sys.argv[1], password="sesame-of-tests", ca_bundle=sys.argv[2])
        print(faas.invoke("fib").status)
        """,
    "async": """
        import asyncio, sys
        from away import FaasConnection
        faas = FaasConnection(sys.argv[1], password="sesame-of-tests", ca_bundle=sys.argv[2])
        async def main():
            replies = await asyncio.gather(*(faas.aio.invoke("fib") for _ in range(5)))
            return {reply.status for reply in replies}
        for _ in range(3):
            found = asyncio.run(main())
        print(*found)
        """,
    "a loop without shutdown_asyncgens": """
        import asyncio, gc, sys
        from away import FaasConnection
        faas = FaasConnection(sys.argv[1], password="sesame-of-tests", ca_bundle=sys.argv[2])
        for _ in range(2):
            loop = asyncio.new_event_loop()
            reply = loop.run_until_complete(faas.aio.invoke("fib"))
            loop.close()
        del loop
        gc.collect()
        print(reply.status)
        """,
    "a connection that goes before its loop": """
        import asyncio, gc, sys
        from away import FaasConnection
        async def main():
            faas = FaasConnection(sys.argv[1], password="sesame-of-tests", ca_bundle=sys.argv[2])
            reply = await faas.aio.invoke("fib")
            del faas
            gc.collect()
            await asyncio.sleep(0.05)
            return reply.status
        print(asyncio.run(main()))
        gc.collect()
        """,
    "a connection that goes in a closed loop": """
        import asyncio, gc, sys
        from away import FaasConnection
        def call():
            faas = FaasConnection(sys.argv[1], password="sesame-of-tests", ca_bundle=sys.argv[2])
            loop = asyncio.new_event_loop()
            reply = loop.run_until_complete(faas.aio.invoke("fib"))
            loop.close()
            return reply.status
        print(call())
        gc.collect()
        """,
    "fork": """
        import os, sys
        from away import FaasConnection
        faas = FaasConnection(sys.argv[1], password="sesame-of-tests", ca_bundle=sys.argv[2])
        faas.invoke("fib")
        child = os.fork()
        if not child:
            import gc
            gc.collect()
            status = faas.invoke("fib").status
            faas.close()
            sys.exit(0 if status == 200 else 3)
        _, code = os.waitpid(child, 0)
        assert code == 0, code
        print(faas.invoke("fib").status)
        """,
    "fork within a loop": """
        import asyncio, os, sys
        from away import FaasConnection
        faas = FaasConnection(sys.argv[1], password="sesame-of-tests", ca_bundle=sys.argv[2])
        async def main():
            await faas.aio.invoke("fib")
            child = os.fork()
            if not child:
                try:
                    faas.invoke("fib")
                finally:
                    os._exit(0)
            os.waitpid(child, 0)
            return (await faas.aio.invoke("fib")).status
        print(asyncio.run(main()))
        """,
}  # fmt: skip


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("name", SCRIPTS)
def test_nothing_warns_where_nothing_is_closed(name, tls):
    with Server(answer(200, b"55"), tls=tls) as server:
        out = run_script(SCRIPTS[name], server.url, str(servers.CERTIFICATE))
        assert out.strip() == "200"
        if name.startswith("fork"):
            parents = [seen.connection for seen in server.requests]
            assert parents[0] == parents[2] != parents[1], "parent and child share no connection"


def test_a_forked_child_does_not_wait_for_the_parents_locks(connect):
    script = """
        import os, sys, threading, time
        from away import FaasConnection
        faas = FaasConnection(sys.argv[1], password="sesame-of-tests")
        # Before the threads: a module that another thread imports at the fork is Python's own trap.
        faas.functions()
        def loop():
            while not done.is_set():
                faas.functions(fresh=True)
        done = threading.Event()
        threads = [threading.Thread(target=loop) for _ in range(3)]
        for thread in threads: thread.start()
        time.sleep(0.1)
        for _ in range(5):
            child = os.fork()
            if not child:
                faas.functions(fresh=True)
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
        done.set()
        for thread in threads: thread.join()
        print(200)
        """
    with Server(servers.json([])) as server:
        assert run_script(script, server.url).strip() == "200"


def test_the_names_of_the_project_of_2023_are_there(connect):
    script = {
        "/system/functions": servers.json([{"name": "fib"}]),
        "/system/function/fib": servers.json({"name": "fib", "annotations": {"a": "b"}}),
        "/system/function/": answer(404),
        "/system/info": servers.json({"arch": ""}),
        "/healthz": answer(),
    }
    with Server(script) as server:
        faas = connect(server)
        assert faas.get_faas_functions() == ["fib"]
        assert faas.check_fn_present("fib")
        assert not faas.check_fn_present("other")
        assert faas.is_available()
        assert faas.is_auth()
        assert faas.get_function_annotations("fib") == {"a": "b"}
        assert faas.get_sysinfo() == {"arch": ""}
        assert not faas.is_away_protocol("fib")
        faas.ensure_available()
        faas.ensure_auth()
        faas.ensure_fn_present("fib")
    gone = connect(server, timeout=0.3)
    with pytest.raises(AwayError):
        gone.ensure_available()
    assert not gone.is_available()


# ---------------------------------------------------------------- bodies that go into a sink


class Basin:
    """A sink that keeps what came, or breaks when it has so many bytes."""

    def __init__(self, most: int | None = None, error: Exception | None = None) -> None:
        self.most, self.error = most, error
        self.heads: list[int] = []
        self.pieces: list[bytes] = []

    def begin(self, reply: Reply) -> None:
        self.heads.append(reply.status)
        self.pieces = []

    def write(self, piece: bytes) -> None:
        self.pieces.append(piece)
        if self.most is not None and sum(map(len, self.pieces)) > self.most:
            raise self.error or ValueError("the basin is full")


def pour(drive: Drive, faas: FaasConnection, request: Request, **options: Any) -> Reply:
    conversation = faas.conversation_request(request, **options)
    if drive.runner is None:
        return faas.run(conversation)
    return drive.runner.run(faas.aio_driver.run(conversation))


@pytest.mark.parametrize("framing", ["length", "chunks", "the end", "part"])
def test_a_body_goes_into_a_sink_piece_by_piece(drive, connect, framing):
    data = os.urandom(1 << 20)
    behaviour = {
        "length": answer(200, data),
        "chunks": servers.chunked(data[:500_000], data[500_000:]),
        "the end": servers.raw(servers.head(200) + data),
        "part": answer(206, data),
    }[framing]
    with Server(behaviour) as server:
        faas, basin = connect(server), Basin()
        for _ in range(2):
            reply = pour(drive, faas, Request("GET", "/blob", into=basin))
            assert (reply.body, b"".join(basin.pieces)) == (b"", data)
            assert len(basin.pieces) > 1
        # The connection is as good as after any other answer.
        assert server.connections == (2 if framing == "the end" else 1)
    assert basin.heads == [reply.status] * 2


def test_what_is_no_such_body_is_a_reply_as_ever(drive, connect):
    with Server(answer(404, b"no such blob")) as server:
        basin = Basin()
        reply = pour(drive, connect(server), Request("GET", "/blob", into=basin))
    assert (reply.status, reply.body, basin.heads) == (404, b"no such blob", [])


def test_a_refusal_in_place_of_a_body_is_of_bounded_size(drive, connect):
    lines = servers.chunked(*[bytes(1 << 18)] * 5)

    def refuse(talk: servers.Talk) -> bool:
        with contextlib.suppress(OSError):
            talk.sock.sendall(servers.head(404, {"Content-Length": str(1 << 40)}))
            lines(talk)
        return False

    refuse.__dict__["is_behaviour"] = True
    with Server(refuse) as server, pytest.raises(GatewayError, match="is too large"):
        pour(drive, connect(server), Request("GET", "/blob", into=Basin()))


def test_what_is_encoded_goes_into_a_sink_as_it_came(drive, connect):
    packed = gzip.compress(b"fifty-five")
    with Server(answer(200, packed, {"Content-Encoding": "gzip"})) as server:
        basin = Basin()
        pour(drive, connect(server), Request("GET", "/blob", into=basin))
    assert b"".join(basin.pieces) == packed


@pytest.mark.parametrize(
    "error", [ValueError("full"), OSError(28, "No space left"), TimeoutError("slow disk")]
)
def test_an_exception_of_a_sink_ends_an_endless_body_and_is_the_conversations(
    drive, connect, error
):
    def endless(talk: servers.Talk) -> bool:
        with contextlib.suppress(OSError):
            talk.sock.sendall(servers.head(200, {"Transfer-Encoding": "chunked"}))
            while not talk.stopping.is_set():
                talk.sock.sendall(b"10000\r\n" + bytes(1 << 16) + b"\r\n")
        return False

    endless.__dict__["is_behaviour"] = True
    with Server({"/blob": endless, "": answer(200, b"well")}) as server:
        faas = connect(server)
        with pytest.raises(type(error)) as caught:
            pour(drive, faas, Request("GET", "/blob", into=Basin(1 << 20, error)))
        assert caught.value is error
        assert server.closed.acquire(timeout=5), "the connection was closed"
        assert pour(drive, faas, Request("GET", "/other")).body == b"well"


def endless_list(sent: list[int], *, chunked: bool) -> servers.Behaviour:
    """Stream a list without an end as fast as it is read."""

    def endless(talk: servers.Talk) -> bool:
        piece = b"1," * (1 << 17)
        if chunked:
            piece = b"%x\r\n%s\r\n" % (len(piece), piece)
        with contextlib.suppress(OSError):
            talk.sock.sendall(
                servers.head(200, {"Transfer-Encoding": "chunked"} if chunked else {})
            )
            while not talk.stopping.is_set():
                talk.sock.sendall(piece)
                sent.append(len(piece))
        return False

    endless.__dict__["is_behaviour"] = True
    return endless


@pytest.mark.parametrize("chunked", [True, False], ids=["in chunks", "to the end"])
def test_a_list_without_an_end_is_given_up_after_what_no_list_has(drive, connect, chunked):
    sent: list[int] = []
    with Server(endless_list(sent, chunked=chunked)) as server:
        with pytest.raises(GatewayError, match=f"it has more than {MAX_LIST_BYTES} bytes"):
            drive(connect(server, timeout=30), "functions")
        assert server.closed.acquire(timeout=5), "the connection was closed"
    # What was under way is beside it: buffers of both sides.
    assert sum(sent) < MAX_LIST_BYTES + (16 << 20)


def test_a_list_that_grows_beyond_what_a_list_has_is_given_up(drive, connect):
    packed = gzip.compress(b"[" + b" " * MAX_LIST_BYTES + b"]", 1)
    with (
        Server(answer(200, packed, {"Content-Encoding": "gzip"})) as server,
        pytest.raises(GatewayError, match=f"bytes grow to more than {MAX_LIST_BYTES}"),
    ):
        drive(connect(server), "functions")


def test_a_calls_answer_may_be_larger_than_a_list(drive, connect):
    with Server(answer(200, bytes(MAX_LIST_BYTES + 1))) as server:
        reply = pour(drive, connect(server, timeout=30), Request("POST", "/function/f"))
    assert len(reply.body) == MAX_LIST_BYTES + 1


def test_a_sink_starts_anew_where_a_request_is_sent_again(drive, connect):
    data = os.urandom(200_000)
    with Server([servers.cut(data, 150_000), answer(200, data)]) as server:
        basin = Basin()
        pour(drive, connect(server), Request("GET", "/blob", into=basin))
    assert basin.heads == [200, 200]
    assert b"".join(basin.pieces) == data


def test_a_body_that_ends_early_is_no_whole_one(drive, connect):
    data = os.urandom(200_000)
    with Server(servers.cut(data, 150_000)) as server, pytest.raises(AnswerLost):
        pour(drive, connect(server), Request("GET", "/blob", into=Basin()), idempotent=False)


# ---------------------------------------------------------------- credentials of another origin


def test_other_credentials_go_to_their_own_origin_alone(drive, connect):
    with Server(answer()) as gateway, Server(answer()) as registry, Server(answer()) as other:
        faas = connect(gateway)
        credential = Credential(f"{registry.url}/v2/", Secret("Bearer " + SECRET))
        for url in (f"{registry.url}/v2/", f"{other.url}/v2/", "/v2/", "/system/info"):
            pour(drive, faas, Request("GET", url, auth=credential))
        assert SECRET not in repr(Request("GET", "/v2/", auth=credential))
        assert registry.requests[0].headers["authorization"] == "Bearer " + SECRET
        for seen in gateway.requests + other.requests:
            assert "authorization" not in seen.headers


def test_other_credentials_may_be_for_the_gateways_own_origin(drive, connect):
    with Server(answer()) as gateway:
        credential = Credential(gateway.url, Secret("Bearer " + SECRET))
        pour(drive, connect(gateway), Request("GET", "/v2/", auth=credential))
        assert gateway.requests[0].headers["authorization"] == "Bearer " + SECRET


@pytest.mark.parametrize(
    "url",
    [
        "https://{host}/v2/",
        "http://{host}.example/v2/",
        "http://{name}:1/v2/",
        "http://x@{host}/v2/",
        "http://{host}@evil.example/v2/",
        "http://evil.example/http://{host}/v2/",
        "//{host}/v2/",
    ],
)
def test_credentials_know_their_origin_from_others_that_look_like_it(url):
    credential = Credential("http://registry.example:5000/v2/", Secret("Basic eDp5"))
    spelled = url.format(host="registry.example:5000", name="registry.example")
    assert credential.header_for(spelled) is None
    assert credential.header_for("http://REGISTRY.example:5000/anything?at=all") == "Basic eDp5"


def test_a_registrys_login_does_not_ask_whether_the_embedded_gateway_lives(
    drive, connect, tmp_path, monkeypatch
):
    monkeypatch.setenv("AWAY_RUNTIME_DIR", str(tmp_path / "announced"))
    with Server(answer()) as gateway, Server(answer()) as registry:
        said = Announcement(gateway.url, "admin", SECRET, os.getpid(), "/state")
        with announce(said, folder()):
            faas = connect(gateway, password=None)
            pour(drive, faas, Request("GET", "/system/info", auth=True))
        credential = Credential(registry.url, Secret("Bearer abc"))
        pour(drive, faas, Request("GET", f"{registry.url}/v2/", auth=credential))
        assert registry.requests[0].headers["authorization"] == "Bearer abc"
