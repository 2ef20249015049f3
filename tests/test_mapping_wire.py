"""What maps send and read: envelopes of many calls, and connections of their own."""

from __future__ import annotations

import asyncio
import itertools
import json
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from away import FaasConnection
from away.connection.conversations import NotHttp
from away.connection.lanes import read_head
from away.exceptions import (
    AnswerLost,
    AwayError,
    CallTimedOut,
    GatewayError,
    GatewayUnreachable,
    ProtocolMismatch,
)
from away.functions import RemoteFunction
from away.protocol import answer_of, batches, call_of, pack_call, pack_error, pack_items, pack_value
from away.protocol.values import Refused, scalar_text, write_plain
from tests import servers
from tests.servers import Server, refusing, unreachable

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec=None))
    | st.binary()
)
hashable = st.integers() | st.text() | st.tuples(st.integers(), st.text())
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(hashable, inner)
        | st.dictionaries(st.just("$away"), inner)
        | st.lists(inner).map(tuple)
        | st.sets(hashable)
    ),
    max_leaves=8,
)


def exactly(value) -> str:
    """Compare by type as well: 1, 1.0 and True are equal, and so are 0.0 and -0.0."""
    if isinstance(value, set):
        return f"set({sorted(map(exactly, value))})"
    if type(value) is int:
        return hex(value)
    if isinstance(value, dict):
        return f"{{{', '.join(f'{exactly(k)}: {exactly(v)}' for k, v in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"{type(value).__name__}({', '.join(map(exactly, value))})"
    return f"{type(value).__name__} {value!r}"


# ---------------------------------------------------------------- envelopes


@given(st.lists(st.lists(values, max_size=3).map(tuple), min_size=1, max_size=6))
@example([(10**5000,), (math.nan,)])
def test_calls_of_a_batch_arrive_as_they_were_sent(calls):
    body = batches.pack_calls(calls, 0.25, 3)
    assert body.startswith(batches.BEGIN)
    found = batches.read_batch(body)
    assert (found.budget, found.at_once) == (0.25, 3)
    assert [exactly(tuple(args)) for args, _ in found.calls] == [exactly(args) for args in calls]
    assert all(kwargs == {} for _, kwargs in found.calls)


@given(st.lists(values | st.just(ValueError("no")), min_size=1, max_size=6))
def test_each_answer_of_a_batch_is_that_of_a_call_alone(results):
    pieces = []
    for each in results:
        if isinstance(each, ValueError):
            pieces.append(pack_error(each))
        elif isinstance(each, list):
            pieces.append(pack_items(each))
        else:
            pieces.append(pack_value(each))
    found = batches.read_answers(batches.join_answers(pieces, 0.5), len(results))
    assert found.seconds == 0.5
    for sent, envelope in zip(results, found.envelopes, strict=True):
        answer = answer_of(envelope, allow_unsafe=False)
        if isinstance(sent, ValueError):
            assert (answer.kind, repr(answer.value)) == ("error", repr(sent))
        else:
            assert exactly(answer.value) == exactly(sent)


@given(st.integers() | st.floats() | st.booleans() | st.none())
@example(2**63)
@example(-(2**63))
@example(-0.0)
def test_a_scalar_is_written_as_the_encoder_writes_it(value):
    text = scalar_text(value)
    if text is not None:
        assert text == json.dumps(value)
    else:
        assert abs(value) >= 2**63 or not math.isfinite(value)


def test_a_value_that_cannot_travel_is_refused_in_a_batch_too():
    deep: list = []
    for _ in range(250):
        deep = [deep]
    circle: list = []
    circle.append(circle)
    for bad in (object(), deep, circle, {1: range(3)}):
        with pytest.raises(Refused):
            batches.pack_calls([(1,), (bad,)], 0.1, 1)
        assert write_plain([bad], {"x": [bad]}) is None


def test_an_unsafe_call_travels_as_its_own_pickle():
    body = batches.join_calls([pack_call((1j,), {}, safe=False)], 0.1, 1)
    (sent,) = batches.read_batch(body).calls
    assert call_of(sent, allow_unsafe=True).args == (1j,)
    with pytest.raises(ProtocolMismatch, match="published safe never reads"):
        call_of(sent, allow_unsafe=False)


bad_batches = [
    b"",
    b'{"batch": [',
    b'{"batch": []}',
    b'{"batch": [[[1], {}]], "budget": 1, "at_once": 1, "more": 1}',
    b'{"batch": [[[1], {}]], "budget": NaN, "at_once": 1}',
    b'{"batch": [[[1], {}]], "budget": 1e999, "at_once": 1}',
    b'{"batch": [[[1], {}]], "budget": -1, "at_once": 1}',
    b'{"batch": [[[1], {}]], "budget": "1", "at_once": 1}',
    b'{"batch": [[[1], {}]], "budget": true, "at_once": 1}',
    b'{"batch": [[[1], {}]], "budget": 1, "at_once": 0}',
    b'{"batch": [[[1], {}]], "budget": 1, "at_once": 1.5}',
    b'{"batch": {"0": [[1], {}]}, "budget": 1, "at_once": 1}',
    b'{"batch": [[1]], "budget": 1, "at_once": 1}',
    b'{"batch": [[[1], {}, 3]], "budget": 1, "at_once": 1}',
    b'{"batch": [[{}, {}]], "budget": 1, "at_once": 1}',
    b'{"batch": [[[1], {"$away": ["dict", 1, 2]}]], "budget": 1, "at_once": 1}',
    b'{"batch": [{"dill": "x", "more": 1}], "budget": 1, "at_once": 1}',
    b'{"batch": [[[' + b"[" * 250 + b"]" * 250 + b'], {}]], "budget": 1, "at_once": 1}',
    b'{"batch": [' + b"[" * 100_000,
]


@pytest.mark.parametrize("body", bad_batches, ids=lambda body: repr(body[:60]))
def test_a_batch_that_is_none_is_refused(body):
    with pytest.raises(ProtocolMismatch):
        batches.read_batch(body)


@given(st.binary(max_size=80).map(lambda rest: batches.BEGIN + rest))
def test_garbage_is_refused_and_nothing_else(body):
    for read in (batches.read_batch, lambda body: batches.read_answers(body, 3)):
        with pytest.raises(ProtocolMismatch):
            read(body)


def test_what_a_batch_asks_for_is_bounded():
    found = batches.read_batch(b'{"batch": [], "budget": 1e9, "at_once": 1000000}')
    assert found.budget == batches.MAX_BUDGET_SECONDS
    assert found.at_once == batches.MAX_AT_ONCE


def test_an_answer_with_more_than_was_asked_for_is_refused():
    body = batches.join_answers([b'{"value": 1}'] * 3, 0.1)
    with pytest.raises(ProtocolMismatch, match="a batch of 2 has 3 answers"):
        batches.read_answers(body, 2)
    assert batches.read_answers(b'{"value": 1}', 2) is None


# ---------------------------------------------------------------- connections


def proxy(url: str, **options) -> RemoteFunction:
    connection = FaasConnection(url, password="none-that-anyone-asks-for", connect_timeout=0.5)
    return RemoteFunction(connection, "f", pack=",".join, unpack=str, **{"timeout": 5, **options})


def outcome(work) -> object:
    try:
        return work()
    except AwayError as error:
        return type(error)


PLAIN = {"Content-Type": "text/plain"}
BEHAVIOURS = {
    "whole": servers.answer(200, b"yes", PLAIN),
    "empty": servers.answer(200, b"", PLAIN),
    "chunked": servers.chunked(b"ye", b"s"),
    "chunked slowly": servers.chunked(b"ye", b"s", pause=0.02),
    "byte by byte": servers.drip(servers.whole(200, b"yes", PLAIN), 0.0005),
    "until the end": servers.raw(servers.head(200, PLAIN) + b"yes"),
    "closes": servers.answer_then_close(200, b"yes"),
    "interim": servers.raw(
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + servers.whole(200, b"yes"), keep=True
    ),
    "status 418": servers.answer(418, b"teapot"),
    "404 of the gateway": servers.answer(404, b"error finding function f.openfaas-fn: no"),
    "hangs up": servers.hang_up(),
    "resets": servers.reset(),
    "cut head": servers.cut_head(),
    "cut body": servers.cut(b"a long answer", 5),
    "cut chunks": servers.cut_chunked(b"a long answer"),
    "no HTTP": servers.raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
    "wrong length": servers.raw(b"HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\nyes"),
    "wrong chunk": servers.raw(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nyes\r\n"
    ),
    "switches": servers.raw(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n"),
    "gzip": servers.raw(
        servers.whole(
            200,
            __import__("gzip").compress(b"yes"),
            {"Content-Encoding": "gzip", "Content-Type": "text/plain"},
        ),
        keep=True,
    ),
    "a lie of gzip": servers.answer(200, b"yes", {"Content-Encoding": "gzip"}),
    "another call's": servers.answer(200, b"yes", {"X-Away-Protocol": "1", "X-Call-Id": "other"}),
}


@pytest.mark.parametrize("name", BEHAVIOURS)
def test_a_map_meets_what_a_call_meets(name):
    with Server(BEHAVIOURS[name]) as server:
        function = proxy(server.url)
        alone = outcome(lambda: function("x"))
        mapped = outcome(lambda: next(iter(function.map(["x"]))))
        function.connection.close()
    assert mapped == alone


def test_several_calls_go_over_one_connection_and_after_an_error_over_another():
    script = itertools.cycle([servers.answer(200, b"yes"), servers.hang_up()])
    with Server(lambda seen: next(script)) as server:
        function = proxy(server.url)
        found = list(function.map("abcd", concurrency=1, on_error="return"))
        function.connection.close()
        assert server.connections == 2
    assert [found[0], found[2]] == ["yes", "yes"]
    assert [type(found[1]), type(found[3])] == [AnswerLost, AnswerLost]


def test_bytes_out_of_turn_are_no_answer_to_the_next_call():
    extra = servers.raw(servers.whole(200, b"first") + servers.whole(200, b"stray"), keep=True)
    script = iter([extra, servers.answer(200, b"second"), servers.answer(200, b"third")])
    with Server(lambda seen: next(script)) as server:
        function = proxy(server.url)
        assert list(function.map("abc", concurrency=1)) == ["first", "second", "third"]
        function.connection.close()
        assert server.connections == 2


def test_no_connection_and_no_answer_are_told_apart():
    with refusing() as port:
        function = proxy(f"http://127.0.0.1:{port}", timeout=0.2)
        assert outcome(lambda: list(function.map("a"))) is GatewayUnreachable
    with unreachable() as port:
        function = proxy(f"http://127.0.0.1:{port}")
        assert outcome(lambda: list(function.map("a"))) is GatewayUnreachable
    with Server(servers.hang()) as server:
        function = proxy(server.url, timeout=0.2)
        assert outcome(lambda: list(function.map("ab"))) is CallTimedOut
        found = list(function.map("ab", on_error="return", concurrency=1))
        assert [type(each) for each in found] == [CallTimedOut] * 2
        function.connection.close()
    function = proxy("http://no-such-host.invalid:8080")
    assert outcome(lambda: list(function.map("a"))) is GatewayUnreachable


def test_functions_behind_a_login_are_mapped_too():
    with Server(servers.answer(200, b"yes")) as server:
        connection = FaasConnection(
            server.url, password="for-functions-of-this-test", auth_functions=True
        )
        function = RemoteFunction(connection, "f", pack=",".join, unpack=str)
        assert list(function.map("ab")) == ["yes"] * 2
        assert all("authorization" in each.headers for each in server.requests)
        connection.close()


def test_a_gateway_below_a_prefix_or_behind_tls_is_reached():
    with Server(servers.answer(200, b"yes")) as server:
        function = proxy(f"{server.url}/below")
        assert list(function.map(["a"])) == ["yes"]
        assert server.paths() == ["/below/function/f"]
        assert server.requests[0].headers["host"] == server.url.removeprefix("http://")
        function.connection.close()
    with Server(servers.answer(200, b"yes"), tls=True) as server:
        connection = FaasConnection(
            server.url, password="none-that-anyone-asks-for", ca_bundle=str(servers.CERTIFICATE)
        )
        function = RemoteFunction(connection, "f", pack=",".join, unpack=str)
        assert list(function.map("ab")) == ["yes"] * 2
        connection.close()


heads = st.text("\r\n :\0abcXYZ-/.0123456789éHTP", max_size=60)


@given(heads | heads.map(lambda text: f"HTTP/1.1 200 OK\r\n{text}"))
def test_a_head_is_read_or_refused_and_nothing_else(text):
    try:
        status, _, fields = read_head(text.encode("latin-1"))
    except NotHttp:
        return
    assert 100 <= status <= 599
    for name, value in fields:
        assert name.strip() == name
        assert not {"\n", "\r"} & {*value}


@pytest.mark.parametrize(
    "head", ["HTTP/1.1 200 OK\nContent-Length: 3\n\nyes", "HTTP/1.1 200 OK\r\nX-A: a\rb\r\n\r\n"]
)
def test_a_head_of_other_line_ends_is_refused_and_not_waited_for(head):
    with Server(servers.raw(head.encode(), keep=True)) as server:
        function = proxy(server.url, timeout=servers.PATIENCE_SECONDS)
        with pytest.raises(GatewayError, match="that is not HTTP: "):
            list(function.map("a"))
        function.connection.close()


@given(st.lists(st.integers(1, 120), max_size=12), st.booleans())
def test_an_answer_is_the_same_however_it_is_cut_into_pieces(cuts, chunked):
    body = bytes(range(256)) * 2
    if chunked:
        framed = b"".join(
            b"%x;a=b\r\n%b\r\n" % (100, body[i : i + 100]) for i in range(0, 500, 100)
        )
        framed += b"c\r\n" + body[500:] + b"\r\n0\r\nX-T: 1\r\n\r\n"
        data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + framed
    else:
        data = servers.whole(200, body)

    async def receive():
        from away.connection.lanes import Lane

        lane = Lane("127.0.0.1", 1, "", "h")
        lane._answer = asyncio.get_running_loop().create_future()
        begin = 0
        for size in [*cuts, len(data)]:
            if piece := data[begin : begin + size]:
                lane.data_received(piece)
            begin += size
        return await lane._answer

    assert asyncio.run(receive()).body == body


@pytest.mark.parametrize(
    "lines",
    [
        b"Bad Name: 1",
        b"Content-Length: 3\r\nContent-Length: 4",
        b"Content-Length: 3\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: gzip, chunked",
        b"X: 1\r\n" * 300 + b"Y: 1",
        b"X: " + b"x" * 300_000,
    ],
    ids=lambda lines: repr(lines[:60]),
)
def test_an_answer_of_which_nobody_knows_where_it_ends_is_an_error(lines):
    with Server(servers.raw(b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n\r\nyes")) as server:
        function = proxy(server.url)
        assert outcome(lambda: list(function.map("a"))) is GatewayError
        function.connection.close()


def test_a_batch_of_more_calls_than_any_sender_takes_is_refused_whole():
    most = batches.MOST_CALLS
    head, end = b'{"batch": [', b'], "budget": 1.0, "at_once": 1}'
    call = b"[[], {}]"
    assert len(batches.read_batch(head + b",".join([call] * most) + end).calls) == most
    with pytest.raises(ProtocolMismatch, match=f"has {most + 1} calls"):
        batches.read_batch(head + b",".join([call] * (most + 1)) + end)
