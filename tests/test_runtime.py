"""The runtime beside a published function: calls, HTTP, output, ends and refusals."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading

import dill
import pytest

from away import protocol, secrets
from away.exceptions import ConfigError
from away.protocol.batches import Batch
from away.runtime.batches import BatchRun
from away.runtime.event_loop import EventLoop
from away.runtime.http11 import parse_head
from away.runtime.settings import Settings, from_environment
from tests.runtimes import (
    ROOT,
    TYPE,
    Runtime,
    make_library,
    make_payload,
    read_all,
    status_of,
)


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    return make_library(tmp_path_factory.mktemp("library"))


@pytest.fixture
def start(library, tmp_path):
    """Start a runtime for a source whose function is ``f``; it is stopped with the test."""
    started = []

    def _start(source="", *, environ=None, command=(), log=None, **payload):
        folder = tmp_path / f"image{len(started)}"
        path = make_payload(folder, textwrap.dedent(source), **payload)
        runtime = Runtime(library, path, environ, command=command, log=log)
        started.append(runtime)
        return runtime

    yield _start
    for runtime in started:
        runtime.kill()


MANY = """
    import asyncio, os, sys, threading, time
    from functools import partial, wraps

    def f(what, *args, **kwargs):
        return globals()[what](*args, **kwargs)

    def add(a, b=2, *, c=0): return a + b + c
    def echo(*args, **kwargs): return [list(args), kwargs]
    def count(n):
        for i in range(n):
            yield i
    def count_and_fail():
        yield 1
        raise LookupError("after one")
    def late_coroutine(x):
        async def inner():
            await asyncio.sleep(0)
            return x
        return inner()
    def agen(n):
        async def inner():
            for i in range(n):
                yield i
        return inner()
    def divide(): return 1 / 0
    def leave(): raise SystemExit(3)
    def interrupt(): raise KeyboardInterrupt
    def leave_generator(): raise GeneratorExit
    def inner_type_error(): return len(5)
    def deep(): return deep()
    class Evil(Exception):
        def __str__(self): raise RuntimeError("no text")
        def __repr__(self): raise RuntimeError("no repr")
    def evil(): raise Evil
    def group(): raise ExceptionGroup("two", [ValueError("a"), KeyError("b")])
    def out_of_memory(): raise MemoryError
    def strange(): return {"a": [object()]}
    def modules(): return sorted(sys.modules)
    def exit_now(): os._exit(7)
    def path(): return sys.path[:2]
"""


@pytest.fixture(scope="module")
def many(library, tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    runtime = Runtime(library, make_payload(folder, textwrap.dedent(MANY)))
    yield runtime
    assert runtime.stop() == 0


# --- calls by protocol ------------------------------------------------------------------------


def test_a_call_by_protocol_gives_the_value_and_says_what_answered(many):
    answer = many.request(
        b'{"args": ["add", 1], "kwargs": {"c": 4}}',
        headers={"Content-Type": TYPE, "X-Away-Protocol": "1", "X-Call-Id": "call-7"},
    )
    assert (answer.status, json.loads(answer.content)) == (200, {"value": 7})
    assert answer.headers["X-Away-Digest"] == "d" * 64
    assert answer.headers["X-Away-Protocol"] == "1"
    assert answer.headers["X-Away-Length"] == str(len(answer.content))
    assert answer.headers["X-Call-Id"] == "call-7"


def test_the_content_type_may_have_parameters_and_capitals(many):
    answer = many.request(
        b'{"args": ["add", 1], "kwargs": {}}',
        headers={"Content-Type": "Application/vnd.Away+YAML; charset=utf-8"},
    )
    assert json.loads(answer.content) == {"value": 3}


def test_a_call_of_another_protocol_version_is_refused(many):
    status, said = many.call("add", 1, headers={"X-Away-Protocol": "2"})
    assert (status, said["refused"]) == (400, True)
    assert "version '2'" in json.dumps(said)


@pytest.mark.parametrize(
    ("what", "args", "key", "value"),
    [
        ("add", (1,), "value", 3),
        ("count", (3,), "items", [0, 1, 2]),
        ("count", (0,), "items", []),
        ("late_coroutine", (5,), "value", 5),
        ("agen", (2,), "items", [0, 1]),
    ],
    ids=["plain", "generator", "empty generator", "returns a coroutine", "async generator"],
)
def test_each_kind_of_result_arrives(many, what, args, key, value):
    assert many.call(what, *args) == (200, {key: value})


@pytest.mark.parametrize(
    ("what", "type_name"),
    [
        ("divide", "ZeroDivisionError"),
        ("leave", "SystemExit"),
        ("interrupt", "KeyboardInterrupt"),
        ("leave_generator", "GeneratorExit"),
        ("inner_type_error", "TypeError"),
        ("deep", "RecursionError"),
        ("evil", "Evil"),
        ("group", "ExceptionGroup"),
        ("out_of_memory", "MemoryError"),
        ("count_and_fail", "LookupError"),
        ("strange", "CannotTravel"),
    ],
)
def test_whatever_a_function_raises_is_answered_and_the_next_call_works(many, what, type_name):
    status, said = many.call(what)
    assert status == 500
    assert "refused" not in said
    assert type_name in json.dumps(said["error"])
    assert many.call("add", 1) == (200, {"value": 3})


def test_the_traceback_shows_the_functions_frames_and_none_of_the_runtime(many):
    _, said = many.call("divide")
    text = json.dumps(said)
    assert "mod.py" in text
    assert "1 / 0" in text
    assert "away/runtime" not in text


def test_a_result_that_cannot_travel_is_named_as_the_functions(many):
    _, said = many.call("strange")
    assert "the result of 'f' at ['a'][0] is an object" in said["error"]["text"]
    assert "away/runtime" not in json.dumps(said)


SIGNATURES = """
    ran = []
    def f(a, b=2, /, c=3, *, d=4):
        ran.append(1)
        if a == "type error":
            raise TypeError("of its own")
        return [a, b, c, d, len(ran)]
"""


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((), {}),
        ((1, 2, 3, 4), {}),
        ((1,), {"a": 2}),
        ((1,), {"nope": 2}),
        ((1, 2, 3), {"c": 3}),
    ],
    ids=["too few", "too many", "positional only", "unknown keyword", "twice"],
)
@pytest.mark.parametrize("kind", ["def", "async def"])
def test_arguments_that_do_not_fit_are_refused_and_nothing_runs(start, kind, args, kwargs):
    runtime = start(SIGNATURES.replace("def f", f"{kind} f"))
    status, said = runtime.call(*args, **kwargs)
    assert (status, said["refused"]) == (400, True)
    assert "TypeError" in json.dumps(said)
    status, said = runtime.call("type error")
    assert (status, "refused" in said) == (500, False)
    assert runtime.call(1) == (200, {"value": [1, 2, 3, 4, 2]})


@pytest.mark.parametrize(
    "source",
    [
        "from functools import partial\ndef g(a, b): return [a, b]\nf = partial(g, 1)",
        "class C:\n    def __call__(self, b): return [1, b]\nf = C()",
        "class C:\n    def m(self, b): return [1, b]\nf = C().m",
        "class C:\n    @staticmethod\n    def m(b): return [1, b]\nf = C.m",
        "f = lambda b: [1, b]",
        "async def f(b): return [1, b]",
        "from functools import wraps\ndef g(b): return [1, b]\n@wraps(g)\ndef f(*a): return g(*a)",
        "from functools import cache\n@cache\ndef f(b): return [1, b]",
    ],
    ids=["partial", "object", "method", "static", "lambda", "async", "wraps", "cache"],
)
def test_anything_that_is_callable_can_be_served(start, source):
    runtime = start(source)
    assert runtime.call(2) == (200, {"value": [1, 2]})


def test_a_method_of_a_class_is_found_by_its_qualified_name(start):
    runtime = start(
        "class C:\n    class D:\n        @staticmethod\n        def m(x): return x",
        qualname="C.D.m",
    )
    assert runtime.call(1) == (200, {"value": 1})


def test_the_envelope_that_cannot_be_read_is_refused(many):
    for body in (b"", b"[1]", b'{"args": 1}', b"{", b'{"args": [], "kwargs": []}', b"\xff"):
        status, said = many.envelope(body)
        assert (status, said["refused"]) == (400, True), body


# --- pickles ----------------------------------------------------------------------------------


class Canary:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def pickled_call(*args, **kwargs) -> bytes:
    return json.dumps({"dill": base64.b64encode(dill.dumps((args, kwargs))).decode()}).encode()


def test_a_function_published_safe_never_unpickles(many, tmp_path):
    status, said = many.envelope(pickled_call("add", Canary(tmp_path / "canary")))
    assert (status, said["refused"]) == (400, True)
    assert "safe_args=False" in json.dumps(said)
    assert not (tmp_path / "canary").exists()


def test_a_function_published_unsafe_takes_and_gives_pickles(start):
    runtime = start("def f(r): return r\n", safe=False)
    status, said = runtime.envelope(pickled_call(range(5)))
    assert status == 200
    assert dill.loads(base64.b64decode(said["dill"])) == range(5)


def test_an_unsafe_function_answers_a_safe_call_safely(start):
    runtime = start(
        "def f(x): return range(3) if x else [1]\n",
        safe=False,
    )
    assert runtime.call(0) == (200, {"value": [1]})
    status, said = runtime.call(1)
    assert status == 500
    assert "CannotTravel" in json.dumps(said)


def test_a_pickle_that_raises_anything_is_a_refused_call(start):
    runtime = start("def f(x): return 1\n", safe=False)

    class Leaves:
        def __reduce__(self):
            return sys.exit, (3,)

    for body in (pickled_call(Leaves()), b'{"dill": "!"}', b'{"dill": "AAAA"}', b'{"dill": 5}'):
        status, said = runtime.envelope(body)
        assert (status, said["refused"]) == (400, True), body
    assert runtime.call(1) == (200, {"value": 1})


# --- everyone else ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def echo(library, tmp_path_factory):
    folder = tmp_path_factory.mktemp("echo")
    source = "ran = []\ndef f(*args):\n    ran.append(1)\n    return list(args)\n"
    runtime = Runtime(library, make_payload(folder, source))
    yield runtime
    assert runtime.stop() == 0


@pytest.mark.parametrize(
    ("body", "args"),
    [
        (b"", []),
        (b"[]", []),
        (b"[1, 2]", [1, 2]),
        (b"[[1, 2]]", [[1, 2]]),
        (b"- 1\n- 2\n", [1, 2]),
        (b"- - 1\n  - 2\n", [[1, 2]]),
        (b"5", [5]),
        (b"hello", ["hello"]),
        (b'{"a": 1}', [{"a": 1}]),
        (b"a: 1\n", [{"a": 1}]),
        (b"null", [None]),
        (b'- "\\xE9"\n', ["é"]),
    ],
    ids=repr,
)
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "content_type", [None, "application/json", "application/x-www-form-urlencoded", "text/plain"]
)
def test_a_body_without_our_type_is_a_list_of_arguments_or_one(
    echo, body, args, method, content_type
):
    headers = {"Content-Type": content_type} if content_type else {}
    answer = echo.request(body, method=method, headers=headers)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/yaml; charset=utf-8"
    assert json.loads(answer.content) == args
    assert answer.content.isascii()


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["/", "/a/b?c=d", "/function/x", "/_/else", "*"])
def test_every_method_on_every_path_is_a_call(echo, method, path):
    answer = echo.request(b"[7]", method=method, path=path)
    assert (answer.status, json.loads(answer.content)) == (200, [7])


def test_an_answer_to_head_has_no_body(echo):
    answer = echo.raw(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n")
    head, _, rest = answer.partition(b"\r\n\r\n")
    assert b"Content-Length: 2" in head
    assert rest.startswith(b"HTTP/1.1 200 OK")
    assert rest.endswith(b"\r\n\r\n[]")


def test_other_methods_are_told_which_there_are(echo):
    answer = echo.request(b"", method="TRACE")
    assert answer.status == 405
    assert "POST" in answer.headers["Allow"]


def test_a_bare_call_gets_errors_as_text(many):
    answer = many.request(b'["divide"]')
    assert (answer.status, answer.headers["Content-Type"]) == (500, "text/plain; charset=utf-8")
    assert b"ZeroDivisionError: division by zero" in answer.content
    assert b"mod.py" in answer.content
    answer = many.request(b'["add"]')
    assert answer.status == 500  # f took it; add is inside
    answer = many.request(b"")
    assert answer.status == 400
    assert b"missing 1 required positional argument" in answer.content
    answer = many.request(b'["strange"]')
    assert answer.status == 500
    assert b"CannotTravel: the result of 'f' at ['a'][0]" in answer.content


@pytest.mark.parametrize(
    "body",
    [b"!!python/object/apply:os.getcwd []", b"- !!python/name:os.system\n", b"[" * 50_000, b"\xff"],
    ids=["apply", "name", "deep", "not utf-8"],
)
def test_a_body_that_cannot_be_read_is_refused_in_words(echo, body):
    answer = echo.request(body)
    assert answer.status == 400
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert len(answer.content) > 20


def test_an_unsafe_function_reads_the_tuple_of_the_clients_of_2023(start):
    runtime = start("def f(*args): return list(args)\n", safe=False)
    assert json.loads(runtime.request(b"!!python/tuple\n- 1\n- 2\n").content) == [1, 2]
    assert runtime.request(b"- !!python/object/apply:os.getcwd []\n").status == 400


@pytest.mark.parametrize("manner", ["plain", "list"])
def test_a_stub_is_told_to_speak_the_protocol_before_anything_runs(start, manner):
    runtime = start("ran = []\ndef f():\n    ran.append(1)\n    return len(ran)\n")
    with runtime.connect() as connected:
        head = (
            f"POST / HTTP/1.1\r\nHost: x\r\nX-Away-Stub: {manner}\r\nContent-Length: 100000\r\n\r\n"
        )
        connected.sendall(head.encode() + b"x" * 100_000)
        connected.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answers = read_all(connected)
    assert status_of(answers) == 415
    assert b"X-Away-Protocol: 1\r\n" in answers
    assert answers.endswith(b"\r\n\r\n1")


def test_an_unsafe_function_gives_pickles_to_others_only_where_nothing_else_will_do(start):
    runtime = start("def f(x): return x\n", safe=False)
    pack = protocol.make_client_pack_args_fn(safe_args=False)
    unpack = protocol.make_client_unpack_args_fn(safe_args=False)
    for value in (5, [1, 2], (1, 2), range(3), {"a": range(2)}):
        text = runtime.request(pack([value]).encode()).content.decode()
        assert unpack(text) == value, text
    assert runtime.request(b"[5]").content == b"5"
    assert runtime.request(b"!!python/tuple [[1, 2]]").content == b"[1, 2]"


def test_a_body_that_says_json_is_read_as_json(echo):
    said = {"Content-Type": "application/json; charset=utf-8"}
    assert json.loads(echo.request(b"[1e5]", headers=said).content) == [100000.0]
    assert json.loads(echo.request(b"[1e5]").content) == ["1e5"]


def test_a_compressed_body_is_refused_in_words(echo):
    answer = echo.request(b"\x1f\x8b", headers={"Content-Encoding": "gzip"})
    assert answer.status == 400
    assert b"compressed" in answer.content


# --- pages ------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/_/health", "/_/ready"])
def test_health_and_readiness_are_told_as_by_the_watchdog(many, path):
    many.wait_for("is loaded")
    answer = many.request(method="GET", path=path)
    assert (answer.status, answer.content) == (200, b"ok\n")


def test_a_publisher_can_ask_what_is_published_without_running_it(start):
    runtime = start("ran = []\ndef f():\n    ran.append(1)\n    return len(ran)\n")
    answer = runtime.request(method="GET", path="/_/away")
    assert answer.status == 200
    assert answer.headers["X-Away-Digest"] == "d" * 64
    about = json.loads(answer.content)
    assert about["entry"] == "mod:f"
    assert about["digest"] == "d" * 64
    assert about["protocol"] == "1"
    assert runtime.call() == (200, {"value": 1})


WEB = [
    ({"Sec-Fetch-Site": "cross-site"}, 403),
    ({"Sec-Fetch-Site": "same-site"}, 403),
    ({"Sec-Fetch-Site": "none"}, 200),
    ({"Sec-Fetch-Site": "same-origin"}, 200),
    ({"Origin": "https://evil.example"}, 403),
    ({"Origin": "null"}, 403),
    ({"Origin": "http://localhost:8080"}, 200),
    ({"Host": "evil.example"}, 403),
    ({"Host": "127.0.0.1.evil.example"}, 403),
    ({"Host": "localhost:8080"}, 200),
    ({"Origin": "https://gw.example", "X-Forwarded-Host": "gw.example"}, 200),
    ({"Host": "evil.example", "X-Forwarded-Host": "localhost"}, 403),
    ({}, 200),
]


@pytest.mark.parametrize(("headers", "status"), WEB, ids=[str(each[0]) for each in WEB])
def test_a_web_page_cannot_call_what_listens_on_loopback(start, headers, status):
    runtime = start("def f(*args): return 1\n", environ={"AWAY_BIND": "127.0.0.1"})
    assert runtime.request(b"[]", headers=headers).status == status


def test_in_a_container_pages_and_names_are_the_gateways_business(echo):
    headers = {"Host": "my-function", "Origin": "https://shop.example"}
    assert echo.request(b"[]", headers=headers).status == 200


# --- http -------------------------------------------------------------------------------------


def test_many_requests_go_over_one_connection_also_without_waiting(echo):
    request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n[1]"
    answers = echo.raw(request * 50)
    assert answers.count(b"HTTP/1.1 200 OK\r\n") == 50
    assert answers.count(b"\r\n\r\n[1]") == 50


def test_chunks_of_any_size_with_extensions_and_trailers_are_one_body(echo):
    body = b"4;a=b\r\n[1, \r\n1\r\n2\r\n001\r\n]\r\n0\r\nX-Sum: 1\r\n\r\n"
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    answers = echo.raw((head + body) * 2)
    assert answers.count(b"\r\n\r\n[1, 2]") == 2


def test_a_request_that_comes_byte_by_byte_is_answered(echo):
    with echo.connect() as connected:
        for (
            byte
        ) in b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nConnection: close\r\n\r\n[1]":
            connected.sendall(bytes([byte]))
        assert read_all(connected).endswith(b"\r\n\r\n[1]")


def test_a_client_that_expects_100_is_told_to_go_on(echo):
    with echo.connect() as connected:
        connected.sendall(
            b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n"
            b"Connection: close\r\n\r\n"
        )
        assert connected.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connected.sendall(b"[1]")
        assert read_all(connected).endswith(b"[1]")


def test_an_old_client_gets_its_answer_and_the_connections_end(echo):
    answer = echo.raw(b"GET / HTTP/1.0\r\n\r\n")
    assert status_of(answer) == 200
    assert b"Connection: close\r\n" in answer
    answers = echo.raw(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" * 2)
    assert answers.count(b" 200 OK") == 2


def test_a_body_over_the_limit_is_413_in_words_and_the_connection_goes_on(start):
    runtime = start("def f(*args): return 1\n", environ={"AWAY_MAX_BODY_BYTES": "1000"})
    small = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    by_length = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300_000
    chunk = b"20000\r\n" + b"x" * 0x20000 + b"\r\n"
    by_chunks = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    by_chunks += chunk * 3 + b"0\r\n\r\n"
    answers = runtime.raw((by_length + by_chunks + small) * 2)
    assert answers.count(b"HTTP/1.1 413 ") == 4
    assert answers.count(b"HTTP/1.1 200 ") == 2
    assert b"larger than the 1,000 bytes" in answers


def test_a_body_over_the_limit_is_refused_before_it_is_sent_where_the_client_asks(start):
    runtime = start("def f(*args): return 1\n", environ={"AWAY_MAX_BODY_BYTES": "1000"})
    with runtime.connect() as connected:
        connected.sendall(
            b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2000\r\n\r\n"
        )
        assert status_of(connected.recv(1000)) == 413


BAD_REQUESTS = {
    "both lengths": (b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", 400),
    "two lengths": (b"Content-Length: 3\r\nContent-Length: 3\r\n", 400),
    "length list": (b"Content-Length: 3, 3\r\n", 400),
    "signed length": (b"Content-Length: +3\r\n", 400),
    "negative length": (b"Content-Length: -3\r\n", 400),
    "hex length": (b"Content-Length: 0x3\r\n", 400),
    "grouped length": (b"Content-Length: 1_0\r\n", 400),
    "empty length": (b"Content-Length:\r\n", 400),
    "other digits": ("Content-Length: ٣\r\n".encode(), 400),
    "endless length": (b"Content-Length: " + b"9" * 30 + b"\r\n", 400),
    "two codings": (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400),
    "coding list": (b"Transfer-Encoding: gzip, chunked\r\n", 501),
    "obscured coding": (b"Transfer-Encoding: xchunked\r\n", 501),
    "coding with tab": (b"Transfer-Encoding: chunked\x0b\r\n", 400),
    "space before colon": (b"Content-Length : 3\r\n", 400),
    "folded line": (b"X-A: 1\r\n 2\r\n", 400),
    "bare line feed": (b"X-A: 1\nContent-Length: 3\r\n", 400),
    "bare carriage return": (b"X-A: 1\rContent-Length: 3\r\n", 400),
    "null byte": (b"X-A: \x00\r\n", 400),
    "no colon": (b"nonsense\r\n", 400),
    "no name": (b": 1\r\n", 400),
    "second host": (b"Host: y\r\n", 400),
    "unknown expectation": (b"Expect: 200-ok\r\n", 417),
    "head too long": (b"X-A: " + b"a" * 70_000 + b"\r\n", 431),
    "too many fields": (b"".join(b"X-%d: 1\r\n" % i for i in range(9_000)), 431),
}


@pytest.mark.parametrize("name", BAD_REQUESTS)
def test_a_request_that_could_be_read_in_two_ways_is_refused(echo, name):
    fields, status = BAD_REQUESTS[name]
    smuggled = b"3\r\n[1]\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
    answers = echo.raw(b"POST / HTTP/1.1\r\nHost: x\r\n" + fields + b"\r\n" + smuggled)
    assert status_of(answers) == status
    assert answers.count(b"HTTP/1.1 ") == 1
    assert b"Connection: close\r\n" in answers


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET / HTTP/2.0", 505),
        (b"GET /", 400),
        (b"GET  / HTTP/1.1", 400),
        (b"GET / HTTP/1.1 ", 400),
        (b"GET /\xc3\xa9 HTTP/1.1", 400),
        (b"G@T / HTTP/1.1", 400),
        (b"GET / HTTP/1.11", 400),
        (b"\x16\x03\x01\x02\x00\x01", 400),
        (b" GET / HTTP/1.1", 400),
    ],
    ids=repr,
)
def test_a_request_line_that_is_none_is_refused(echo, line, status):
    assert status_of(echo.raw(line + b"\r\nHost: x\r\n\r\n")) == status


def test_a_request_without_a_host_is_refused(echo):
    assert status_of(echo.raw(b"GET / HTTP/1.1\r\n\r\n")) == 400


@pytest.mark.parametrize(
    "body",
    [
        b"zz\r\n",
        b"-1\r\n",
        b"3 \r\n[1]\r\n0\r\n\r\n",
        b"3\r\n[1]0\r\n\r\n",
        b"3\n[1]\n0\n\n",
        b"f" * 20 + b"\r\n",
        b"1;" + b"a" * 5000 + b"\r\n",
        b"0\r\nno field\r\n\r\n",
        b"3\r\n[1",
    ],
    ids=repr,
)
def test_chunks_that_are_wrongly_framed_are_refused(echo, body):
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert status_of(echo.raw(head + body)) == 400


def test_a_request_cut_short_runs_nothing(start):
    runtime = start("ran = []\ndef f():\n    ran.append(1)\n    return len(ran)\n")
    answer = runtime.raw(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n[")
    assert status_of(answer) == 400
    runtime.raw(b"POST / HTTP/1.1\r\nHos")
    runtime.raw(b"")
    assert runtime.call() == (200, {"value": 1})


@pytest.mark.parametrize(
    "begun",
    [
        b"POST / HT",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n[1",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[",
    ],
    ids=["head", "body", "chunk"],
)
def test_a_request_that_never_ends_is_given_up(start, begun):
    runtime = start("def f(): return 1\n", environ={"AWAY_READ_SECONDS": "0.2"})
    with runtime.connect() as connected:
        connected.sendall(begun)
        answer = read_all(connected)
    assert status_of(answer) == 408
    assert b"0.2 seconds" in answer


def test_an_idle_connection_is_closed_in_the_end(start):
    runtime = start("def f(): return 1\n", environ={"AWAY_IDLE_SECONDS": "0.1"})
    with runtime.connect() as connected:
        connected.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_all(connected).endswith(b"\r\n\r\n1")


def test_idle_connections_make_room_for_new_ones(start):
    runtime = start("def f(): return 1\n", environ={"AWAY_MAX_CONNECTIONS": "2"})
    idle = [runtime.connect() for _ in range(5)]
    try:
        assert runtime.call() == (200, {"value": 1})
    finally:
        for each in idle:
            each.close()


SLOW = {
    "head": b"P",
    "body": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n[1",
    "chunk": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n[\r\n",
}


@pytest.mark.parametrize("begun", SLOW.values(), ids=SLOW.keys())
def test_requests_that_do_not_go_on_make_room_for_those_that_do(start, begun):
    runtime = start("def f(): return 1\n", environ={"AWAY_MAX_CONNECTIONS": "4"})
    slow = [runtime.connect() for _ in range(12)]
    try:
        for each in slow:
            each.sendall(begun)
        for _ in range(3):
            assert runtime.call() == (200, {"value": 1})
        # Which of them have to go is for the order in which they were let in.
        answered, _, _ = select.select(slow, [], [], 5)
        # Whose first byte had not come by then was idle, and is closed without a word.
        answers = [said for each in answered if (said := read_all(each))]
        assert {status_of(each) for each in answers} == {503}
        assert all(b"nothing ran, so call again" in each for each in answers)
    finally:
        for each in slow:
            each.close()


def test_a_call_that_runs_is_never_ended_to_make_room(start):
    runtime = start(
        "import time\ndef f(s):\n    print('in')\n    time.sleep(s)\n    return s\n",
        environ={"AWAY_MAX_CONNECTIONS": "2"},
    )
    with runtime.connect() as running, runtime.connect() as slow, runtime.connect() as other:
        running.sendall(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nConnection: close\r\n\r\n[0.5]"
        )
        runtime.wait_for("in$")
        slow.sendall(SLOW["body"])
        other.sendall(SLOW["body"])
        assert runtime.call(0) == (200, {"value": 0})
        assert read_all(running).endswith(b"\r\n\r\n0.5")


def test_a_head_has_less_time_than_a_body_that_pauses(start):
    runtime = start("def f(x): return x\n", environ={"AWAY_HEAD_SECONDS": "0.2"})
    with runtime.connect() as head, runtime.connect() as body:
        body.sendall(SLOW["chunk"])
        head.sendall(SLOW["head"])
        answer = read_all(head)
        assert status_of(answer) == 408
        assert b"the request's head was not complete after 0.2 seconds" in answer
        body.sendall(b"2\r\n7]\r\n0\r\n\r\n")
        assert body.recv(65536).endswith(b"\r\n\r\n7")


def test_head_and_body_of_an_answer_arrive_together(echo):
    with echo.connect() as connected:
        connected.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connected.recv(65536).endswith(b"\r\n\r\n[]")


def test_a_large_answer_arrives_whole(start):
    runtime = start("def f(n): return 'x' * n\n")
    status, said = runtime.call(5_000_000)
    assert (status, len(said["value"])) == (200, 5_000_000)


def test_a_client_that_does_not_take_its_answer_is_given_up(start):
    runtime = start("def f(n): return 'x' * n\n", environ={"AWAY_READ_SECONDS": "0.3"})
    with runtime.connect() as connected:
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connected.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n[30000000]")
        assert runtime.call(1) == (200, {"value": "x"})
        runtime.stop()  # it ends without waiting for the client
    assert runtime.process.returncode == 0


def test_a_head_knows_path_lengths_and_persistence():
    head = parse_head(b"GET http://x/a/b?c HTTP/1.1\r\nHost: x\r\nX-A: 1\r\nx-a:  2\t")
    assert (head.method, head.path, head.length, head.keep_alive) == ("GET", "/a/b", 0, True)
    assert head.headers == {"host": "x", "x-a": "1, 2"}
    head = parse_head(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: foo, Close")
    assert not head.keep_alive


# --- at once ----------------------------------------------------------------------------------


def at_once(runtime, count, *args):
    results = [None] * count

    def one(index):
        results[index] = runtime.call(*args)

    threads = [threading.Thread(target=one, args=(index,)) for index in range(count)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(30)
    return results


def test_sync_calls_run_at_once_on_threads(start):
    runtime = start(
        "import threading\nbarrier = threading.Barrier(16)\ndef f(): return barrier.wait(20)\n"
    )
    assert sorted(each[1]["value"] for each in at_once(runtime, 16)) == list(range(16))


def test_async_calls_run_at_once_on_one_loop_in_one_thread(start):
    runtime = start(
        """
        import asyncio, threading
        barrier = asyncio.Barrier(16)
        async def f():
            await barrier.wait()
            return [threading.get_ident(), id(asyncio.get_running_loop())]
        """,
        kind="async",
    )
    results = at_once(runtime, 16)
    assert {status for status, _ in results} == {200}
    assert len({str(said["value"]) for _, said in results}) == 1


GATED = """
    def f():
        print("in")
        with open({gate!r}) as gate:
            gate.read()
        return "done"
"""


@pytest.fixture
def gate(tmp_path):
    """A file that the function waits to read, until the test opens it for writing."""
    path = tmp_path / "gate"
    os.mkfifo(path)
    return str(path)


def open_gate(path):
    with open(path, "w"):
        pass


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_call_beyond_the_limit_is_told_to_come_back(start, kind, gate):
    runtime = start(
        GATED.format(gate=gate).replace("def", kind),
        environ={"AWAY_MAX_INFLIGHT": "1", "AWAY_QUEUE_SECONDS": "0"},
    )
    first = threading.Thread(target=runtime.call)
    first.start()
    runtime.wait_for("call=.* in")
    answer = runtime.request(b"")
    assert runtime.request(method="GET", path="/_/health").status == 200
    open_gate(gate)
    first.join(30)
    assert answer.status == 503
    assert answer.headers["X-Away-Protocol"] == "1"
    assert answer.headers["Retry-After"] == "1"
    assert b"nothing ran" in answer.content


def test_calls_beyond_the_limit_wait_for_their_turn(start):
    source = """
        import threading, time
        running, most = [], []
        def f():
            running.append(1)
            most.append(len(running))
            time.sleep(0.01)
            running.pop()
            return max(most)
    """
    runtime = start(source, environ={"AWAY_MAX_INFLIGHT": "2", "AWAY_QUEUE_SECONDS": "30"})
    results = at_once(runtime, 10)
    assert all(status == 200 for status, _ in results)
    assert max(said["value"] for _, said in results) <= 2


QUEUED = """
    import sys, traceback
    ran = []
    def queued():
        stacks = [traceback.extract_stack(each) for each in sys._current_frames().values()]
        # those that wait for threading.Semaphore
        return sum("acquire" in {frame.name for frame in each} for each in stacks)
    def f(who):
        ran.append(who)
        if who == "first":
            print("in")
            while queued() < 4:
                pass
        return ran
"""
ONE_AT_ONCE = {"AWAY_MAX_INFLIGHT": "1", "AWAY_QUEUE_SECONDS": "30"}


def request_of(body: bytes, *fields: str, version: str = "1.1") -> bytes:
    """Write a request as it is on the wire."""
    lines = [f"POST / HTTP/{version}", "Host: localhost", f"Content-Type: {TYPE}", *fields]
    lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def test_a_call_whose_caller_went_while_it_waited_is_not_begun(start):
    runtime = start(QUEUED, environ=ONE_AT_ONCE)
    first = threading.Thread(target=runtime.call, args=("first",))
    first.start()
    runtime.wait_for("call=.* in")
    with runtime.connect() as leaving:
        leaving.sendall(request_of(b'{"args": ["gone"], "kwargs": {}}'))
    said = {}

    def stay(who: str, request: bytes) -> None:
        said[who] = runtime.raw(request)

    # What sends one request and closes its sending half still waits for the answer.
    staying = [
        threading.Thread(
            target=stay,
            args=(who, request_of(b'{"args": ["%b"], "kwargs": {}}' % who, *fields, **how)),
        )
        for who, fields, how in (
            (b"old", (), {"version": "1.0"}),
            (b"last", ("Connection: close",), {}),
            (b"half", (), {}),
        )
    ]
    for each in staying:
        each.start()
    for each in [first, *staying]:
        each.join(30)
    assert {who.decode(): status_of(answer) for who, answer in said.items()} == {
        "old": 200,
        "last": 200,
        # It may have gone for all that can be seen; if it has not, it is told what became of its call.
        "half": 503,
    }
    assert b"nothing ran" in said[b"half"]
    _, ran = runtime.call("asks")
    assert sorted(ran["value"]) == ["asks", "first", "last", "old"]


def test_a_batch_ends_with_its_caller(start, gate):
    source = f"""
        import time
        ran = []
        def f(number):
            ran.append(number)
            if number == 0:
                print("in")
                with open({gate!r}) as gate:
                    gate.read()
                time.sleep(0.02)
            return ran
    """
    runtime = start(source, environ=ONE_AT_ONCE)
    calls = [[[number], {}] for number in range(100)]
    body = json.dumps({"batch": calls, "budget": 60, "at_once": 1}).encode()
    with runtime.connect() as leaving:
        leaving.sendall(request_of(body))
        runtime.wait_for("call=.* in")
    open_gate(gate)
    assert runtime.call(-1) == (200, {"value": [0, -1]})


@pytest.mark.parametrize(("is_awaited", "ran"), [(False, 3), (True, 9)])
def test_calls_of_a_batch_side_by_side_end_with_its_caller_too(is_awaited, ran):
    async def slow(_number):
        await asyncio.sleep(0.02)

    run = BatchRun(
        Batch([[[number], {}] for number in range(9)], 60.0, 3),
        slow,
        "call",
        safe=True,
        pack=lambda result, _safe: repr(result).encode(),
        loop=EventLoop(),
        ended=lambda: None,
        awaited=lambda: is_awaited,
    )
    assert len(run.run()[0]) == ran


# --- output -----------------------------------------------------------------------------------


def test_what_a_function_prints_becomes_lines_with_the_calls_id(start):
    runtime = start(
        """
        import sys
        print("at import")
        def f():
            print("one", 1)
            print("two\\nthree", file=sys.stderr)
            print("begun", end="")
            print("\\ud800")
        """
    )
    runtime.call(headers={"X-Call-Id": "id-1"})
    runtime.wait_for("begun")
    assert "at import" in runtime.log
    ours = [line for line in runtime.log if line.startswith("call=id-1 ")]
    assert ours == [
        "call=id-1 one 1",
        "call=id-1 two",
        "call=id-1 three",
        "call=id-1 begun\\ud800",
    ]


def test_a_line_that_is_not_ended_ends_with_the_call(start):
    runtime = start("def f(): print('no end', end='')\n")
    runtime.call(headers={"X-Call-Id": "a"})
    runtime.call(headers={"X-Call-Id": "b"})
    runtime.wait_for("call=b no end")
    assert runtime.log[-2:] == ["call=a no end", "call=b no end"]


def test_lines_of_calls_that_run_at_once_are_told_apart(start):
    runtime = start(
        """
        import asyncio
        barrier = asyncio.Barrier(2)
        async def f(name):
            print(name, end=" ")
            await barrier.wait()
            print(await asyncio.to_thread(lambda: print(name, "in a thread") or name))
        """,
        kind="async",
    )
    other = threading.Thread(
        target=runtime.call, args=("b",), kwargs={"headers": {"X-Call-Id": "B"}}
    )
    other.start()
    runtime.call("a", headers={"X-Call-Id": "A"})
    other.join(30)
    runtime.wait_for("call=A .*a$")
    runtime.wait_for("call=B .*b$")
    for line in runtime.log:
        if line.startswith("call="):
            assert line.split()[0][5:].lower() == line.split()[1], line


def test_an_exception_is_in_the_log_with_the_calls_id(start):
    runtime = start("def f(): return 1 / 0\n")
    runtime.call(headers={"X-Call-Id": "id-2"})
    runtime.wait_for("call=id-2 ZeroDivisionError: division by zero")


@pytest.mark.parametrize("call_id", ["a b", "x\x1b[31m", "y" * 500, "", "é"])
def test_an_id_that_could_forge_a_log_line_is_replaced(start, call_id):
    runtime = start("def f(): print('here')\n")
    raw = f"GET / HTTP/1.1\r\nHost: x\r\nX-Call-Id: {call_id}\r\nConnection: close\r\n\r\n"
    runtime.raw(raw.encode("latin-1"))
    if "\x1b" in call_id:
        assert not any("here" in line for line in runtime.log)  # no header may hold it
    else:
        runtime.wait_for("^call=[0-9a-f]{16} here$")


@pytest.mark.slow
def test_a_hundred_megabytes_of_output_are_not_held_in_memory(start, tmp_path):
    source = """
        import resource
        def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        def f():
            before = peak()
            line = "x" * 99 + "\\n"
            for _ in range(100):
                print(line * 10_000, end="")
            print("y" * 1_000_000, end="")
            return [before, peak()]
    """
    with open(tmp_path / "log", "wb") as log:
        runtime = start(source, log=log)
        status, said = runtime.call()
    assert status == 200
    before, after = said["value"]
    assert after - before < 20_000
    assert os.path.getsize(tmp_path / "log") > 100_000_000


def test_a_log_that_nobody_reads_any_more_fails_no_call(library, tmp_path):
    read, write = os.pipe()
    with open(write, "wb") as log:
        runtime = Runtime(library, make_payload(tmp_path, "def f(): print('x')\n"), log=log)
    os.close(read)
    try:
        assert runtime.call() == (200, {"value": None})
    finally:
        runtime.kill()


# --- the end ----------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_signal_lets_running_calls_end_and_then_exits_with_0(start, number, kind, gate):
    runtime = start(GATED.format(gate=gate).replace("def", kind))
    results = []
    caller = threading.Thread(target=lambda: results.append(runtime.call()))
    caller.start()
    runtime.wait_for("call=.* in")
    with runtime.connect() as idle:
        runtime.process.send_signal(number)
        assert read_all(idle) == b""
    open_gate(gate)
    assert runtime.process.wait(30) == 0
    caller.join(30)
    assert results == [(200, {"value": "done"})]


def test_a_call_that_does_not_end_is_left_when_the_grace_is_over(start):
    runtime = start(
        "import time\ndef f():\n    print('in')\n    time.sleep(60)\n",
        environ={"AWAY_GRACE": "0.2"},
    )
    with runtime.connect() as connected:
        connected.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        runtime.wait_for("call=.* in")
        assert runtime.stop() == 0
        assert read_all(connected) == b""
    assert any("1 calls running" in line for line in runtime.log)


def test_new_connections_are_refused_while_draining_and_kept_ones_hear_that_it_ends(start, gate):
    runtime = start(GATED.format(gate=gate))
    with runtime.connect() as busy:
        busy.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n")
        runtime.wait_for("call=.* in")
        runtime.process.send_signal(signal.SIGTERM)
        while True:
            try:
                runtime.connect().close()
            except ConnectionError:
                break
        open_gate(gate)
        answer = read_all(busy)
    assert answer.count(b"HTTP/1.1 200 OK") == 1
    assert b"Connection: close" in answer
    assert runtime.process.wait(30) == 0


def test_exit_handlers_of_the_function_run_and_its_threads_do_not_hold_the_process(start):
    runtime = start(
        """
        import atexit, threading, time
        atexit.register(print, "goodbye")
        def f(): threading.Thread(target=time.sleep, args=(60,)).start()
        """
    )
    assert runtime.call()[0] == 200
    assert runtime.stop() == 0
    quick = start("import atexit\natexit.register(print, 'goodbye')\ndef f(): pass\n")
    assert quick.call()[0] == 200
    assert quick.stop() == 0
    assert "goodbye" in quick.log


def test_a_signal_while_the_module_is_imported_ends_the_process(start):
    runtime = start("import time\nprint('importing')\ntime.sleep(60)\ndef f(): pass\n")
    runtime.wait_for("importing")
    assert runtime.request(method="GET", path="/_/health").status == 200
    answer = runtime.request(method="GET", path="/_/ready")
    assert (answer.status, answer.content) == (503, b"the function is still being loaded\n")
    assert runtime.stop() == 0


def test_a_call_that_comes_while_the_function_loads_waits_for_it(start, gate):
    runtime = start(f"print('importing')\nopen({gate!r}).read()\ndef f(): return 1\n")
    runtime.wait_for("importing")
    results = []
    caller = threading.Thread(target=lambda: results.append(runtime.call()))
    caller.start()
    open_gate(gate)
    caller.join(30)
    assert results == [(200, {"value": 1})]


def test_os_exit_in_a_function_ends_the_process_and_the_client_sees_no_answer(start):
    runtime = start("import os\ndef f(): os._exit(7)\n")
    assert runtime.raw(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") == b""
    assert runtime.process.wait(30) == 7


def test_a_module_may_install_signal_handlers_as_it_may_at_home(start):
    runtime = start("import signal\nsignal.signal(signal.SIGUSR1, print)\ndef f(): return 1\n")
    assert runtime.call() == (200, {"value": 1})


def test_a_task_that_raises_system_exit_does_not_end_the_loop(start):
    runtime = start(
        """
        import asyncio
        async def leave(): raise SystemExit
        async def f(x):
            if x == "task":
                asyncio.create_task(leave())
                await asyncio.sleep(0.01)
            if x == "stop":
                asyncio.get_running_loop().stop()
                await asyncio.sleep(0.01)
            if x == "cancel":
                asyncio.current_task().cancel()
                await asyncio.sleep(1)
            if x == "exit":
                raise SystemExit
            return x
        """,
        kind="async",
    )
    for what, status in (("task", 200), ("stop", 200), ("cancel", 500), ("exit", 500)):
        assert runtime.call(what)[0] == status
        assert runtime.call("x") == (200, {"value": "x"})


FORKS = """
    import os, signal, sys, time
    def f(what):
        child = os.fork()
        if child == 0:
            if what == "return":
                return "from the child"
            if what == "raise":
                raise ValueError("from the child")
            if what == "stay":
                time.sleep(60)
            os._exit(0)
        if what == "kill":
            os.kill(child, signal.SIGTERM)
        if what != "stay":
            os.waitpid(child, 0)
        return child
"""


@pytest.mark.parametrize("what", ["return", "raise", "kill", "exit"])
def test_a_child_that_a_function_forks_answers_nothing_and_stops_nothing(start, what):
    runtime = start(FORKS)
    request = b'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n["%s"]'
    answers = runtime.raw(request % (len(what) + 4, what.encode()) * 2)
    assert answers.count(b"HTTP/1.1 200 OK") == 2
    assert b"child" not in answers


def test_a_child_that_stays_holds_neither_the_port_nor_a_connection(start):
    runtime = start(FORKS)
    status, said = runtime.call("stay")
    assert status == 200
    try:
        runtime.raw(b"GET /_/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        runtime.process.terminate()
        assert runtime.process.wait(30) == 0
        with socket.socket() as again:
            again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            again.bind(("0.0.0.0", runtime.port))
            again.listen()
    finally:
        os.kill(said["value"], signal.SIGKILL)


def test_subprocesses_and_their_exit_status_are_the_functions_own(start):
    runtime = start(
        "import subprocess\ndef f(n): return subprocess.call(['sh', '-c', f'exit {n}'])\n"
    )
    assert runtime.call(3) == (200, {"value": 3})


SUPERVISED = """
import os, signal, sys, ctypes, time
# Orphans come to this process as they come to process 1 of a container.
assert ctypes.CDLL(None).prctl(36, 1) == 0
from away.runtime.process_one import supervise
supervise()
if sys.argv[1] == "wait":
    signal.signal(signal.SIGTERM, lambda *_: os._exit(5))
    print("ready", flush=True)
    signal.pause()
if sys.argv[1] == "orphan":
    read, write = os.pipe()
    if os.fork() == 0:
        orphan = os.fork()
        if orphan:
            os.write(write, str(orphan).encode())
        os._exit(0)
    os.wait()
    orphan = int(os.read(read, 20))
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            os.kill(orphan, 0)  # a zombie can be sent signals
        except ProcessLookupError:
            print("reaped", flush=True)
            break
if sys.argv[1] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
sys.exit(4)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="process 1 is Linux's")
@pytest.mark.parametrize(("what", "code"), [("wait", 5), ("orphan", 4), ("killed", 137), ("x", 4)])
def test_process_one_reaps_orphans_passes_signals_on_and_ends_as_its_server(library, what, code):
    process = subprocess.Popen(
        [sys.executable, "-c", SUPERVISED, what],
        env={"PYTHONPATH": str(library)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        if what == "wait":
            assert process.stdout.readline() == "ready\n"
            process.terminate()
        said = process.stdout.read()
    assert process.returncode == code
    assert said == ("reaped\n" if what == "orphan" else "")


@pytest.mark.skipif(
    shutil.which("unshare") is None
    or subprocess.run(["unshare", "-pf", "true"], capture_output=True).returncode != 0,
    reason="no right to make a process namespace",
)
def test_a_runtime_that_is_process_one_drains_at_sigterm(start):
    runtime = start(
        "import os\ndef f(): return [os.getpid(), os.getppid()]\n",
        command=("unshare", "-p", "--fork", "--kill-child"),
    )
    status, said = runtime.call()
    assert (status, said["value"][1]) == (200, 1)
    children = f"/proc/{runtime.process.pid}/task/{runtime.process.pid}/children"
    with open(children) as file:
        os.kill(int(file.read().split()[0]), signal.SIGTERM)
    assert runtime.process.wait(30) == 0


# --- the payload ------------------------------------------------------------------------------

REFUSED = {
    "another python": ({"python": "3.9"}, "published from Python 3.9 and this image has Python"),
    "another implementation": ({"cache_tag": "pypy311"}, "bytecode of pypy311"),
    "another magic": ({"magic": "00000000"}, "magic 00000000"),
    "a damaged body": ({"body_sha256": "0" * 64}, "does not have the digest"),
    "a damaged file": (
        {"header_files": [["mod.py", "0" * 64]]},
        "'mod.py' does not have the digest",
    ),
    "a missing file": ({"header_files": [["gone.py", "0" * 64]]}, "'gone.py' cannot be read"),
    "a file outside": ({"header_files": [["../../x", "0" * 64]]}, "no path inside its folder"),
    "an absolute file": ({"header_files": [["/etc/passwd", "0" * 64]]}, "no path inside"),
    "another format": ({"format": 2}, "has format 2 and this runtime reads format 1"),
    "another form": ({"form": "source"}, "has the form 'source'"),
    "no digest": ({"digest": None}, "incomplete"),
    "a number for a text": ({"entry": ["a"]}, "incomplete"),
    "files of another shape": ({"header_files": [1]}, "incomplete"),
}


def refusal_of(runtime) -> str:
    """What a runtime says that could not load its function, by each way it can be asked."""
    answer = runtime.request(method="GET", path="/_/away")
    assert (answer.status, answer.headers["Content-Type"]) == (500, TYPE)
    status, said = runtime.call(1)
    assert status == 500
    assert json.loads(answer.content) == said
    text = json.dumps(said, ensure_ascii=False)
    bare = runtime.request(b"[1]")
    assert bare.status == 500
    ready = runtime.request(method="GET", path="/_/ready")
    assert ready.status == 503
    assert ready.content.decode().strip() in bare.content.decode()
    assert runtime.request(method="GET", path="/_/health").status == 200
    assert any(ready.content.decode().strip() in line for line in runtime.log)
    return text


@pytest.mark.parametrize("name", REFUSED)
def test_a_payload_that_does_not_fit_is_refused_in_words_by_every_answer(start, name):
    changes, words = REFUSED[name]
    runtime = start("open('canary', 'w')\ndef f(): pass\n", **changes)
    assert words in refusal_of(runtime)
    assert runtime.stop() == 0


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import surely_missing.part\ndef f(): pass", "requirements=['surely_missing']"),
        ("1 / 0\ndef f(): pass", "ZeroDivisionError: division by zero"),
        ("raise SystemExit('leaving')\ndef f(): pass", "SystemExit: leaving"),
        ("def g(): pass", "AttributeError: module 'mod' has no attribute 'f'"),
        ("f = 5", "is a int there and not a function"),
        ("def f(:", "SyntaxError"),
    ],
    ids=["missing", "raises", "exits", "no name", "no function", "syntax"],
)
def test_a_module_that_cannot_be_imported_is_told_in_words(start, source, words):
    assert words in refusal_of(start(source)).replace('\\"', '"')


@pytest.mark.parametrize("data", [b"", b"\n", b"[]\n", b"{}\n", b"\x80\x04.", b"[" * 10_000])
def test_what_is_no_payload_is_refused(library, tmp_path, data):
    payload = make_payload(tmp_path, "def f(): pass\n")
    payload.write_bytes(data)
    runtime = Runtime(library, payload)
    try:
        assert "publish it again" in refusal_of(runtime)
    finally:
        runtime.kill()


def test_a_payload_that_is_not_there_is_told(library, tmp_path):
    payload = make_payload(tmp_path, "def f(): pass\n")
    payload.unlink()
    runtime = Runtime(library, payload)
    try:
        assert "cannot be read" in refusal_of(runtime)
    finally:
        runtime.kill()


def make_pickle(source: str) -> bytes:
    names: dict = {"__name__": "__main__"}
    exec(textwrap.dedent(source), names)
    return dill.dumps(names["f"], recurse=True)


def test_a_pickled_function_is_served(start):
    runtime = start(pickled=make_pickle("def f(a, b=2):\n    return [a, b]\n"))
    assert runtime.call(1) == (200, {"value": [1, 2]})
    assert runtime.call()[0] == 400


def test_a_pickled_function_without_dill_in_its_image_is_told(start):
    runtime = start(
        pickled=make_pickle("def f(): return 1\n"),
        files={"dill.py": "raise ModuleNotFoundError('no dill', name='dill')\n"},
    )
    assert "which its image lacks" in refusal_of(runtime)


def test_a_pickle_of_another_python_is_not_even_opened(start, tmp_path):
    canary = tmp_path / "canary"
    runtime = start(pickled=dill.dumps(Canary(canary)), python="3.99")
    assert "3.99" in refusal_of(runtime)
    assert not canary.exists()


def test_modules_that_are_called_like_the_standard_librarys_break_nothing(start):
    broken = "raise RuntimeError('the wrong module')\n"
    runtime = start(
        "import asyncio\nasync def f(): return 1 / (await asyncio.sleep(0) or 1)\n",
        files=dict.fromkeys(("queue.py", "socket.py", "inspect.py", "tokenize.py"), broken),
        kind="async",
    )
    assert runtime.call() == (200, {"value": 1.0})
    assert runtime.call(1)[0] == 400


def test_they_break_nothing_either_where_a_launcher_put_their_folder_first(library, tmp_path):
    broken = "raise RuntimeError('the wrong module')\n"
    names = ("queue.py", "hashlib.py", "select.py", "pathlib.py", "base64.py", "heapq.py")
    source = "import asyncio\nasync def f(): return await asyncio.sleep(0, 1)\n"
    files = dict.fromkeys(names, broken)
    payload = make_payload(tmp_path, source, files=files, kind="async")
    launcher = ROOT / "away" / "gateway" / "providers" / "launcher.py"
    command = [sys.executable, "-I", str(launcher), str(tmp_path), "", "-m", "away.runtime"]
    runtime = Runtime(library, payload, instead=command)
    try:
        assert runtime.call() == (200, {"value": 1})
        assert runtime.request(b"- 1\n").status == 400
    finally:
        runtime.kill()


def test_packed_modules_come_first_and_requirements_next(library, tmp_path):
    payload = make_payload(tmp_path, "import req\ndef f(): return req.__file__\n")
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "req.py").write_text("")
    (tmp_path / "requirements" / "mod.py").write_text("def f(): return 'the wrong one'")
    runtime = Runtime(library, payload)
    try:
        assert runtime.call()[1]["value"] == str(tmp_path / "requirements" / "req.py")
    finally:
        runtime.kill()


def test_a_first_call_of_a_plain_function_loads_nothing_heavy(start):
    runtime = start("import sys\ndef f(): return sorted(sys.modules)\n")
    _, said = runtime.call()
    loaded = set(said["value"])
    heavy = {"asyncio", "inspect", "dataclasses", "yaml", "dill", "http", "email", "logging"}
    assert not loaded & (heavy | {"requests", "aiohttp", "ssl", "subprocess", "traceback"})


def test_yaml_comes_with_the_first_body_that_is_not_json(start):
    runtime = start("import sys\ndef f(x): return 'yaml' in sys.modules\n")
    assert runtime.request(b"[1]").content == b"false"
    assert runtime.request(b"- 1\n").content == b"true"


# --- stand-ins --------------------------------------------------------------------------------

DECORATED = """
    import away
    from away import FaasConnection, builder
    import away.builder
    from away.builder import publish
    from away.connection import FaasConnection as Same

    faas = FaasConnection("gw.example", port=8080, user="admin", password="hunter2")
    named = FaasConnection.named("production")
    away.configure("x", url="http://x", password="hunter2")

    @builder.publish(faas)
    def with_connection(): return 1
    @builder.publish
    def bare(): return 2
    @builder.publish()
    def empty(): return 3
    @builder.publish(named, safe_args=False, name="x", secrets=["a"])
    def options(): return 4
    @away.builder.publish(name="y")
    async def only_options(): return 5
    @publish(Same.local())
    def local(): return 6
    def mirrored(): return 7
    far = builder.mirror_in_faas(mirrored, faas)

    @builder.faas_function(faas)
    def other(n): pass
    @builder.faas_function
    async def another(n): pass
    by_name = builder.sync_from_faas_str("some-thing", faas)
    by_name_too = builder.async_from_name_with_protocol("some-thing", faas)

    with FaasConnection("gw.example") as opened:
        pass

    async def f(what):
        if what == "values":
            return [with_connection(), bare(), empty(), options(), await only_options(), local(),
                    mirrored(), far(), far is mirrored]
        if what == "stub":
            return other(1)
        if what == "async stub":
            return await another(1)
        if what == "name":
            return by_name(1)
        if what == "async name":
            return await by_name_too(1)
        if what == "method":
            return faas.get_faas_functions()
        if what == "kinds":
            import inspect
            stubs = (other, another, by_name, by_name_too)
            return [inspect.iscoroutinefunction(each) for each in stubs]
        return repr(faas) + repr(vars(faas)) + repr(named)
"""


def test_decorators_return_the_function_as_it_is(start):
    runtime = start(DECORATED)
    assert runtime.call("values") == (200, {"value": [1, 2, 3, 4, 5, 6, 7, 7, True]})
    assert runtime.call("kinds") == (200, {"value": [False, True, False, True]})


@pytest.mark.parametrize("what", ["stub", "async stub", "name", "async name", "method"])
def test_a_stub_without_a_client_in_the_image_says_so(start, what):
    status, said = start(DECORATED).call(what)
    assert status == 500
    assert "whose image has no client" in json.dumps(said)


def test_a_stub_becomes_real_where_the_client_is_packed(start, tmp_path):
    pytest.importorskip("requests")
    pytest.importorskip("aiohttp")
    (tmp_path / "whole").mkdir()
    shutil.copytree(ROOT / "away", tmp_path / "whole" / "away")
    # Any path is a call, so that a runtime passes for the gateway with that one function.
    other = start("def f(n, step=1): return n + step\n")
    source = f"""
        from away import FaasConnection, builder
        faas = FaasConnection("localhost", 8080, password="hunter2")

        @builder.faas_function(faas, name="other-one")
        def other(n, step=1): pass
        @builder.faas_function(faas)
        async def another(n, step=1): pass
        by_name = builder.sync_from_name("other", FaasConnection("http://127.0.0.1:{other.port}"))

        async def f(n):
            return [other(n), await another(n), by_name(n)]
    """
    payload = make_payload(tmp_path / "user", textwrap.dedent(source), kind="async")
    environ = {
        "AWAY_INSIDE_URL": f"http://127.0.0.1:{other.port}",
        "AWAY_OUTSIDE_URL": "http://gw",
    }
    runtime = Runtime(tmp_path / "whole", payload, environ)
    try:
        assert runtime.call(4) == (200, {"value": [5, 5, 5]})
    finally:
        runtime.kill()


def test_a_stand_in_keeps_no_password(start):
    _, said = start(DECORATED).call("repr")
    assert "hunter2" not in said["value"]
    assert "gw.example" in said["value"]


# --- secrets ----------------------------------------------------------------------------------


def test_a_secret_is_read_from_the_folder_that_is_named(tmp_path, monkeypatch):
    (tmp_path / "api-key").write_bytes(b"s\xc3\xa9cret\n")
    monkeypatch.setenv("AWAY_SECRETS_DIR", str(tmp_path))
    assert secrets.secret("api-key") == "sécret\n"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("api-kye", "this function has 'api-key'"),
        ("../api-key", "is not a secret's name"),
        ("", "is not a secret's name"),
        (".hidden", "is not a secret's name"),
        ("a/b", "is not a secret's name"),
        ("binary", "is not UTF-8 text"),
        ("folder", "cannot be read"),
    ],
)
def test_a_secret_that_cannot_be_read_is_told_and_never_shown(tmp_path, monkeypatch, name, words):
    (tmp_path / "api-key").write_text("hunter2")
    (tmp_path / "binary").write_bytes(b"hunter2\xff")
    (tmp_path / "folder").mkdir()
    monkeypatch.setenv("AWAY_SECRETS_DIR", str(tmp_path))
    with pytest.raises(ConfigError) as raised:
        secrets.secret(name)
    assert words in str(raised.value)
    held = raised.value
    while held is not None:
        assert "hunter2" not in repr(vars(held)) + repr(held.args) + repr(
            getattr(held, "object", "")
        )
        held = held.__context__


def test_outside_of_a_function_there_are_no_secrets(tmp_path, monkeypatch):
    monkeypatch.setenv("AWAY_SECRETS_DIR", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="inside a function"):
        secrets.secret("api-key")


def test_a_function_reads_its_secret(start, tmp_path):
    (tmp_path / "key").write_text("s")
    runtime = start(
        "import away\ndef f(): return away.secret('key')\n",
        environ={"AWAY_SECRETS_DIR": str(tmp_path)},
    )
    assert runtime.call() == (200, {"value": "s"})


# --- settings ---------------------------------------------------------------------------------


def test_settings_come_from_the_environment():
    environ = {"PORT": "9000", "AWAY_MAX_INFLIGHT": "4", "AWAY_GRACE": "1.5", "AWAY_BIND": ""}
    said = from_environment(environ)
    assert said == Settings()._replace(port=9000, max_inflight=4, grace_seconds=1.5)


@pytest.mark.parametrize("text", ["x", "-1", "1.5", "nan", "1e9"])
def test_a_setting_that_is_no_number_is_named(text):
    with pytest.raises(ConfigError, match=r"AWAY_MAX_INFLIGHT=.* whole number"):
        from_environment({"AWAY_MAX_INFLIGHT": text})


def test_a_setting_that_cannot_be_read_is_answered_to_every_call(start):
    runtime = start("def f(): pass\n", environ={"AWAY_GRACE": "long", "AWAY_DEPLOYMENT": "d7"})
    status, envelope = runtime.call()
    assert status == 500
    assert "AWAY_GRACE='long' is not a number" in json.dumps(envelope)
    about = runtime.request(method="GET", path="/_/away")
    assert (about.status, about.headers["X-Away-Deployment"]) == (500, "d7")
    assert runtime.request(method="GET", path="/_/ready").status == 503


@pytest.mark.parametrize("source", ["raise LookupError('no such thing')", "def install(: pass"])
def test_a_runtime_whose_own_parts_fail_says_so_in_place_of_ending(tmp_path, source):
    library = make_library(tmp_path / "lib")
    (library / "away" / "runtime" / "standins.py").write_text(source)
    runtime = Runtime(library, make_payload(tmp_path / "image", "def f(): pass\n"))
    try:
        status, envelope = runtime.call()
        assert status == 500
        kind = "LookupError: no such thing" if "raise" in source else "SyntaxError"
        assert f"could not make ready for the function: {kind}" in json.dumps(envelope)
        assert runtime.wait_for("standins.py")
    finally:
        runtime.kill()


def test_a_runtime_that_cannot_even_serve_leaves_its_last_words_as_the_answer(tmp_path):
    library = make_library(tmp_path / "lib")
    (library / "away" / "runtime" / "server.py").write_text("import nothing_like_it\n")
    payload = make_payload(tmp_path / "image", "def f(): pass\n")
    runtime = Runtime(library, payload, {"AWAY_DEPLOYMENT": "d7"})
    try:
        for body in (b"", b"x" * 3_000_000):
            answer = runtime.request(body)
            assert answer.status == 500
            assert b"cannot start in its image" in answer.content
            assert b"ModuleNotFoundError: No module named 'nothing_like_it'" in answer.content
            assert answer.headers["X-Away-Deployment"] == "d7"
            assert int(answer.headers["X-Away-Length"]) == len(answer.content)
        assert runtime.raw(b"GET / HTT") == b""
        assert runtime.request(method="GET", path="/_/health").status == 500
        assert runtime.wait_for("nothing_like_it")
        assert runtime.stop() == 1
    finally:
        runtime.kill()


def test_a_port_that_is_taken_is_told_and_ends_the_process(library, tmp_path):
    payload = make_payload(tmp_path, "def f(): pass\n")
    with socket.create_server(("0.0.0.0", 0)) as taken:
        done = subprocess.run(
            [sys.executable, "-m", "away.runtime"],
            env={
                "PYTHONPATH": str(library),
                "AWAY_PAYLOAD": str(payload),
                "PORT": str(taken.getsockname()[1]),
            },
            capture_output=True,
            text=True,
            timeout=30,
        )
    assert done.returncode == 1
    assert "set PORT to a free one" in done.stderr
