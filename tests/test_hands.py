"""A remote function in hand: its async face, futures, responses, header fields, what is known of it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import inspect
import pickle
import signal
import subprocess
import sys
import textwrap
import threading

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from away import FaasConnection, RemoteFunction, builder, protocol, signatures
from away.connection.workers import MOST_THREADS, Workers
from away.exceptions import AnswerLost, CannotTravel, ConfigError, FunctionNotFound, RemoteError
from away.request_headers import RequestHeaders
from tests import servers

PASSWORD = "sesame-of-hands-7431"


def connected(server, **options):
    return FaasConnection(server.url, password=PASSWORD, **options)


def enveloped(body, *, status=200, **more):
    headers = {
        "Content-Type": protocol.CONTENT_TYPE,
        protocol.PROTOCOL_HEADER: protocol.PROTOCOL_VERSION,
        protocol.LENGTH_HEADER: str(len(body)),
        **{name.replace("_", "-"): text for name, text in more.items()},
    }
    return servers.answer(status, body, headers)


def adding(seen):
    """Behave as Away's runtime with a function that adds up its arguments."""
    call = protocol.read_call(seen.body, allow_unsafe=False)
    return enveloped(protocol.pack_value(sum(call.args)), X_Duration_Seconds="0.25")


def counting(seen):
    """Behave as Away's runtime with a generator of as many numbers as it is told."""
    call = protocol.read_call(seen.body, allow_unsafe=False)
    return enveloped(protocol.pack_items(list(range(call.args[0]))))


def function(server, kind="sync", **options):
    return RemoteFunction(connected(server), "f", kind=kind, dialect="protocol", **options)


async def listed(items):
    return [each async for each in items]


def living():
    return [each.name for each in threading.enumerate() if each.name.startswith("away-call")]


# ---------------------------------------------------------------- the async face


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_aio_gives_a_coroutine_of_a_function_of_either_kind(kind):
    with servers.Server(adding) as server:
        f = function(server, kind)

        async def main():
            async with f.connection:
                return await asyncio.gather(f.aio(1, 2), f.aio(3, 4))

        assert asyncio.run(main()) == [3, 7]


@pytest.mark.parametrize("kind", ["generator", "async generator"])
def test_aio_gives_an_async_iterator_of_a_generator_of_either_kind(kind):
    with servers.Server(counting) as server:
        f = function(server, kind)

        async def main():
            async with f.connection:
                return await listed(f.aio(3))

        assert asyncio.run(main()) == [0, 1, 2]


def test_two_awaited_calls_are_under_way_at_once():
    both = threading.Barrier(2)

    def behave(seen):
        answering = adding(seen)

        def behaviour(talk):
            both.wait(10)
            return answering(talk)

        behaviour.is_behaviour = True
        return behaviour

    with servers.Server(behave) as server:
        f = function(server)

        async def main():
            async with f.connection:
                return await asyncio.gather(f.aio(1), f.aio(2))

        assert asyncio.run(main()) == [1, 2]


@pytest.mark.parametrize(
    ("kind", "is_coroutine", "is_generator"),
    [
        ("sync", True, False),
        ("async", True, False),
        ("generator", False, True),
        ("async generator", False, True),
    ],
)
def test_tools_see_what_the_async_face_is(kind, is_coroutine, is_generator):
    def f(a: int, *, b: str = "x") -> int:
        """Say what it does."""

    description = signatures.describe(f)._replace(kind=kind)
    remote = RemoteFunction(FaasConnection(), "f", description=description, local=f)
    face = remote.aio
    assert inspect.iscoroutinefunction(face) is is_coroutine
    assert asyncio.iscoroutinefunction(face) is is_coroutine
    assert inspect.isasyncgenfunction(face) is is_generator
    assert inspect.signature(face) == inspect.signature(f)
    assert (face.__name__, face.__doc__) == ("f", "Say what it does.")
    assert repr(face) == "<remote function f on http://localhost:8080>.aio"


def test_the_async_face_is_one_thing_and_pickles_to_the_functions_reference():
    remote = RemoteFunction(FaasConnection("gw.example"), "f")
    assert remote.aio == remote.aio
    assert len({remote.aio, remote.aio}) == 1
    again = pickle.loads(pickle.dumps(remote.aio))
    assert again.function.function_name == "f"
    assert again.kind == "async"


def test_wrong_arguments_of_an_awaited_call_are_an_error_before_anything_is_sent():
    with servers.Server(adding) as server:
        f = function(server, description=signatures.describe(lambda a: a))
        with pytest.raises(TypeError, match="positional argument"):
            f.aio(1, 2)
        assert server.requests == []


def test_options_of_the_async_face_are_those_of_the_function():
    with servers.Server(adding) as server:
        f = function(server)

        async def main():
            async with f.connection:
                return await f.aio.options(headers={"X-Tenant": "7"})(1)

        assert asyncio.run(main()) == 1
        assert server.requests[0].headers["x-tenant"] == "7"


# ---------------------------------------------------------------- futures


def test_submit_gives_a_future_of_the_value_whatever_the_kind():
    with servers.Server(adding) as server:
        with function(server).connection as faas:
            for kind in ("sync", "async"):
                f = RemoteFunction(faas, "f", kind=kind, dialect="protocol")
                assert [each.result() for each in [f.submit(n, 1) for n in range(5)]] == [
                    1,
                    2,
                    3,
                    4,
                    5,
                ]


@pytest.mark.parametrize("kind", ["generator", "async generator"])
def test_submit_gives_an_iterator_of_what_a_generator_gave(kind):
    with servers.Server(counting) as server:
        f = function(server, kind)
        with f.connection:
            found = f.submit(3).result()
            assert next(found) == 0
            assert list(found) == [1, 2]


def test_a_future_raises_what_the_call_does_wrong_arguments_included():
    try:
        {}["missing"]
    except KeyError as error:
        body = protocol.pack_error(error)
    with servers.Server(enveloped(body, status=500)) as server:
        f = function(server, description=signatures.describe(lambda a: a))
        with f.connection:
            with pytest.raises(KeyError, match="missing"):
                f.submit(1).result()
            assert isinstance(f.submit(1, 2).exception(), TypeError)
        assert len(server.requests) == 1


def test_futures_are_those_of_the_standard_library():
    with servers.Server(adding) as server:
        f = function(server)
        with f.connection:
            done, waiting = concurrent.futures.wait([f.submit(n) for n in range(4)])
            assert {each.result() for each in done} == {0, 1, 2, 3}
            assert not waiting


def test_what_has_not_begun_can_be_cancelled_and_is_when_the_connection_closes():
    with servers.Server(servers.hang()) as server:
        faas = connected(server)
        f = RemoteFunction(faas, "f", dialect="protocol")
        begun, queued = [], []

        def interrupted():
            with faas:
                begun.extend(f.submit(n) for n in range(MOST_THREADS))
                server.wait_for(MOST_THREADS)
                queued.extend(f.submit(n) for n in range(3))
                assert queued[0].cancel()
                assert not begun[0].cancel()
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert all(each.cancelled() for each in queued)
        errors = [each.exception() for each in begun]
    assert {type(each) for each in errors} == {AnswerLost}
    assert "was closed here" in str(errors[0])
    assert living() == []


def test_closing_waits_for_the_calls_that_run_and_ends_their_threads():
    with servers.Server(servers.late(0.1, servers.answer(200, b"late"))) as server:
        faas = connected(server)
        f = builder.sync_from_name("f", faas)
        future = f.submit()
        server.wait_for(1)
        faas.close()
        assert future.done()
        assert living() == []
        assert f.submit().result() == b"late"  # it opens anew
        faas.close()


def test_leaving_an_async_connection_ends_threads_without_blocking_the_loop():
    turned, leaving = threading.Event(), threading.Event()

    def behave(talk):
        # Answered once the loop has turned while it was left.
        turned.wait(10)
        return servers.answer(200, b"turned" if turned.is_set() else b"blocked")(talk)

    behave.is_behaviour = True

    async def turn():
        while not leaving.is_set():
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.01)
        turned.set()

    async def main():
        turning = asyncio.create_task(turn())
        async with connected(server) as faas:
            future = builder.sync_from_name("f", faas).submit()
            await asyncio.to_thread(server.wait_for, 1)
            leaving.set()
        await turning
        return future

    with servers.Server(behave) as server:
        assert asyncio.run(main()).result() == b"turned"
    assert living() == []


def test_a_callback_may_close_the_connection_in_whose_thread_it_runs():
    with servers.Server(adding) as server:
        f = function(server)
        closed = threading.Event()

        def close(_):
            f.connection.close()
            closed.set()

        f.submit(1).add_done_callback(close)
        assert closed.wait(10)
        f.connection.close()


def test_a_pool_has_no_more_threads_than_it_may():
    with servers.Server(adding) as server:
        faas, workers = connected(server), Workers(2)
        f = RemoteFunction(faas, "f", dialect="protocol")
        futures = [
            workers.submit(faas, lambda n=n: f.blocking_conversation((n,), {})) for n in range(20)
        ]
        assert [each.result() for each in futures] == list(range(20))
        assert len(living()) <= 2
        workers.close()
        assert living() == []
        faas.close()


def script(text, *words):
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(text), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


WAITING = """
    import sys
    from away import FaasConnection, RemoteFunction
    f = RemoteFunction(FaasConnection(sys.argv[1], password="x-of-hands"), "f", dialect="protocol")
    {}
"""


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("f(1)", id="in a call"),
        pytest.param("f.submit(1).result()", id="in a future's result"),
        pytest.param("import time; f.submit(1); time.sleep(60)", id="while a call runs"),
        pytest.param("import asyncio; asyncio.run(f.aio(1))", id="in an awaited call"),
        pytest.param("f.with_response(1)", id="in a call with its response"),
    ],
)
def test_ctrl_c_ends_a_program_at_once(statement):
    with servers.Server(servers.hang()) as server:
        process = script(WAITING.format(statement), server.url)
        server.wait_for(1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert process.returncode == -signal.SIGINT
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert "Exception ignored" not in err
    assert out == ""


def test_a_program_ends_when_what_it_submitted_is_done():
    with servers.Server(servers.late(0.2, servers.answer(200, b"late"))) as server:
        done = "lambda done: print(done.result(), flush=True)"
        process = script(
            f"""
            import sys
            from away import FaasConnection, builder
            f = builder.sync_from_name("f", FaasConnection(sys.argv[1], password="x-of-hands"))
            f.submit().add_done_callback({done})
            """,
            server.url,
        )
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "b'late'\n", "")


def test_a_forked_child_has_threads_of_its_own():
    with servers.Server(adding) as server:
        process = script(
            """
            import os, sys, warnings
            from away import FaasConnection, RemoteFunction
            # Python warns of a fork beside threads, which is what is tried here.
            warnings.simplefilter("ignore", DeprecationWarning)
            faas = FaasConnection(sys.argv[1], password="x-of-hands")
            f = RemoteFunction(faas, "f", dialect="protocol")
            assert f.submit(1, 2).result() == 3
            child = os.fork()
            assert f.submit(3, 4).result(10) == 7
            if child:
                assert os.waitpid(child, 0)[1] == 0
            faas.close()
            """,
            server.url,
        )
        _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")


# ---------------------------------------------------------------- responses


def test_a_response_has_the_value_and_what_is_known_of_the_call():
    with servers.Server(adding) as server:
        found = function(server).with_response(1, 2)
        call_id = server.requests[0].headers["x-call-id"]
    assert found.value == 3
    assert found.status == 200
    assert found.headers["x-away-protocol"] == "1"
    assert found.call_id == call_id
    assert found.function_duration == 0.25
    assert 0 < found.duration < 10
    assert found.attempts == 1


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_response_can_be_awaited(kind):
    with servers.Server(adding) as server:
        f = function(server, kind)

        async def main():
            async with f.connection:
                return await f.aio.with_response(1, 2)

        assert asyncio.run(main()).value == 3


def test_an_async_functions_response_is_awaited_as_its_call_is():
    with servers.Server(counting) as server:
        f = function(server, "async generator")

        async def main():
            async with f.connection:
                response = await f.with_response(2)
                return response.status, await listed(response.value)

        assert asyncio.run(main()) == (200, [0, 1])


def test_a_generators_response_holds_an_iterator():
    with servers.Server(counting) as server:
        found = function(server, "generator").with_response(2)
        assert next(found.value) == 0
        assert list(found.value) == [1]


def test_a_response_counts_the_requests_that_it_took():
    script = [
        servers.answer(415, b"by protocol", {protocol.PROTOCOL_HEADER: "1"}),
        enveloped(protocol.pack_value(5)),
    ]
    with servers.Server(script) as server:
        found = builder.sync_from_name("f", connected(server)).with_response(1)
    assert (found.value, found.status, found.attempts) == (5, 200, 2)


@pytest.mark.parametrize("said", ["soon", "-1", "nan", "inf", "", "1e400"])
def test_a_duration_that_is_none_is_not_believed(said):
    with servers.Server(servers.answer(200, b"", {"X-Duration-Seconds": said})) as server:
        assert (
            builder.sync_from_name("f", connected(server)).with_response().function_duration is None
        )


def test_a_status_that_does_not_raise_is_in_the_response_too():
    with servers.Server(servers.answer(418, b"short and stout")) as server:
        f = builder.sync_from_name("f", connected(server), implicit_exception_handling=False)
        found = f.with_response()
    assert found.value == ("short and stout", 418)
    assert found.status == 418


def test_the_functions_exception_is_raised_with_a_note_of_the_call():
    try:
        1 / 0
    except ZeroDivisionError as error:
        body = protocol.pack_error(error)
    said = enveloped(body, status=500, X_Duration_Seconds="0.5")
    with servers.Server(said) as server:
        with pytest.raises(ZeroDivisionError) as caught:
            function(server).with_response()
        call_id = server.requests[0].headers["x-call-id"]
    note = caught.value.__notes__[-1]
    assert f"status 500, X-Call-Id {call_id}" in note
    assert "0.500 s of them in the function" in note


def test_a_call_without_an_answer_raises_as_a_call_does():
    with servers.Server(servers.hang_up()) as server:
        with pytest.raises(AnswerLost) as caught:
            function(server).with_response()
    assert not hasattr(caught.value, "__notes__")


# ---------------------------------------------------------------- header fields


def test_header_fields_go_with_each_call_and_leave_the_function_as_it_was():
    with servers.Server(adding) as server:
        f = function(server)
        g = f.options(headers={"X-Tenant": "7", "User-Agent": "mine/1"})
        assert (f(1), g(1), g.options(timeout=5)(1), g.options(headers=None)(1)) == (1, 1, 1, 1)
        tenants = [seen.headers.get("x-tenant") for seen in server.requests]
        agents = {seen.headers["user-agent"] for seen in server.requests}
    assert tenants == [None, "7", "7", None]
    assert "mine/1" in agents
    assert len(agents) == 2


@pytest.mark.parametrize(
    "name",
    [
        "Content-Type",
        "content-length",
        "Transfer-Encoding",
        "Host",
        "Connection",
        "Expect",
        "TE",
        "Proxy-Authorization",
        "Accept-Encoding",
        "X-Call-Id",
        "X-Away-Protocol",
        "x-away-stub",
    ],
)
def test_what_away_or_http_sets_is_refused_by_name(name):
    with pytest.raises(ConfigError, match=f"headers= cannot set '{name}': .*; leave it out"):
        RemoteFunction(FaasConnection(), "f").options(headers={name: "1"})


@pytest.mark.parametrize(
    ("headers", "error", "text"),
    [
        ({"X A": "1"}, ConfigError, "no name of a header field"),
        ({"": "1"}, ConfigError, "no name of a header field"),
        ({"X-Ä": "1"}, ConfigError, "no name of a header field"),
        ({"X-A": "1\r\nX-B: 2"}, ConfigError, "cannot be sent"),
        ({"X-A": " 1"}, ConfigError, "cannot be sent"),
        ({"X-A": "ä"}, ConfigError, "cannot be sent"),
        ({"X-A": 1}, TypeError, "not int"),
        ({b"X-A": "1"}, TypeError, "not bytes"),
        ({"X-A": "1", "x-a": "2"}, ConfigError, "twice"),
    ],
)
def test_a_header_field_that_cannot_be_sent_is_refused_at_once(headers, error, text):
    with pytest.raises(error, match=text):
        RemoteFunction(FaasConnection(), "f").options(headers=headers)


@pytest.mark.parametrize("timeout", [0, -1, True, "5", float("nan")])
def test_a_timeout_that_is_none_is_refused_at_once(timeout):
    with pytest.raises(ConfigError, match="positive number of seconds"):
        RemoteFunction(FaasConnection(), "f").options(timeout=timeout)


@pytest.mark.parametrize("name", ["idempotent", "safe_args"])
def test_a_flag_that_is_none_is_refused_at_once(name):
    with pytest.raises(ConfigError, match=f"{name}= is True or False, not 'no'"):
        RemoteFunction(FaasConnection(), "f").options(**{name: "no"})


def test_headers_that_are_no_mapping_are_refused_in_words():
    with pytest.raises(ConfigError, match="mapping of names to values, and was given a list"):
        RemoteFunction(FaasConnection(), "f").options(headers=["X-Tenant"])


def test_whoever_packs_the_arguments_may_say_of_what_type_they_are():
    with servers.Server(servers.answer(200, b"3")) as server:
        add = builder.sync_from_name(
            "add",
            connected(server),
            pack_args=lambda args: ",".join(map(str, args)),
            unpack_args=int,
        ).options(headers={"Content-Type": "text/csv"})
        assert add(1, 2) == 3
        assert server.requests[0].headers["content-type"] == "text/csv"


def test_a_login_of_ones_own_goes_out_unless_the_gateways_goes_to_functions():
    mine = {"Authorization": "Bearer of-mine-5532"}
    with servers.Server(adding) as server:
        assert function(server).options(headers=mine)(1) == 1
        assert server.requests[0].headers["authorization"] == "Bearer of-mine-5532"
        both = RemoteFunction(connected(server, auth_functions=True), "f")
        with pytest.raises(ConfigError, match="auth_functions=True sends"):
            both.options(headers=mine)


def test_values_of_header_fields_are_never_shown():
    f = RemoteFunction(FaasConnection(), "f").options(headers={"X-Tenant": "hidden-8812"})
    assert "hidden-8812" not in f"{f!r} {f._caller.manner!r} {f.aio!r} {vars(f)!r}"


def test_header_fields_travel_with_a_reference_unless_one_may_be_secret():
    f = RemoteFunction(FaasConnection("gw.example"), "f")
    again = pickle.loads(pickle.dumps(f.options(headers={"X-Tenant": "7"})))
    assert dict(again._caller.manner.headers) == {"X-Tenant": "7"}
    for name in ("Authorization", "Cookie", "X-Api-Key", "X-Auth-Token"):
        with pytest.raises(CannotTravel, match=f"`f` was given the header '{name}'") as caught:
            pickle.dumps(f.options(headers={name: "hidden-8812"}))
        assert "hidden-8812" not in str(caught.value)


def test_a_password_that_is_known_goes_into_no_reference_whatever_the_fields_name():
    known = FaasConnection("gw.example", password="known-to-hands-90210")
    f = RemoteFunction(known, "f").options(headers={"X-Word": "it is known-to-hands-90210"})
    with pytest.raises(CannotTravel, match="may be a secret"):
        pickle.dumps(f)


def test_a_published_function_takes_no_secret_header_along():
    from away.publish import captured_of, options_for

    caller = RemoteFunction(FaasConnection("gw.example"), "f").options(
        headers={"Authorization": "hidden-8812"}
    )

    def uses(n):
        return caller(n)

    faas = FaasConnection()
    with pytest.raises(CannotTravel, match="goes into no pickle and no published function"):
        captured_of(uses, options_for(uses, faas, {"name": "uses"}))


@given(st.dictionaries(st.text(max_size=12), st.text(max_size=12), max_size=3))
@example({"X-A": "a b\tc"})
@example({"X-A": ""})
def test_what_is_taken_as_header_fields_can_be_written_as_lines(fields):
    try:
        taken = RequestHeaders(fields)
    except ConfigError:
        return
    lines = "".join(f"{name}: {value}\r\n" for name, value in taken.items())
    read = [line.split(": ", 1) for line in lines.encode("ascii").decode().splitlines()]
    assert dict(map(tuple, read)) == fields


# ---------------------------------------------------------------- what is known of a function


@pytest.mark.parametrize(
    ("options", "url"),
    [
        ({}, "http://gw.example:8080/function/f"),
        ({"namespace": "dev"}, "http://gw.example:8080/function/f.dev"),
        ({"path": "g"}, "http://gw.example:8080/function/f/g"),
        ({"path": "größe"}, "http://gw.example:8080/function/f/gr%C3%B6%C3%9Fe"),
    ],
)
def test_a_function_says_the_url_that_is_called(options, url):
    f = RemoteFunction(FaasConnection("gw.example"), "f", **options)
    assert f.url == f.aio.url == url


def test_info_asks_the_gateway_each_time():
    script = [
        servers.json({"name": "f", "image": "x", "replicas": 1}),
        servers.json({"name": "f", "image": "x", "replicas": 2}),
        servers.answer(404, b""),
    ]
    with servers.Server(script) as server:
        f = RemoteFunction(connected(server), "f", namespace="dev")

        async def main():
            async with f.connection:
                return await f.aio.info()

        assert f.info().replicas == 1
        assert asyncio.run(main()).replicas == 2
        assert server.requests[0].path == "/system/function/f?namespace=dev"
        with pytest.raises(FunctionNotFound):
            f.info()


def test_logs_are_those_of_the_function():
    lines = [
        {"name": "f", "timestamp": f"2026-01-01T00:00:0{n}Z", "text": str(n)} for n in range(3)
    ]
    with servers.Server(servers.endless_log(*lines)) as server:
        f = RemoteFunction(connected(server), "f", namespace="dev")

        async def main():
            async with f.connection:
                last = await f.aio.logs(tail=1)
                first = await anext(f.aio.logs(follow=True))
                return last, first

        assert [line.text for line in f.logs(tail=2, since="2026-01-01T00:00:00Z")] == ["1", "2"]
        assert next(f.logs(follow=True, timeout=5)).text == "0"
        last, first = asyncio.run(main())
        assert ([line.text for line in last], first.text) == (["2"], "0")
        assert "name=f&namespace=dev" in server.requests[0].path


def test_an_empty_log_is_one_only_of_a_function_that_is_there():
    def behave(seen):
        if seen.path.startswith("/system/logs"):
            return servers.answer(200, b"")
        if seen.path.startswith("/system/function/quiet"):
            return servers.json({"name": "quiet", "image": "x"})
        return servers.json([], 404 if "/function/" in seen.path else 200)

    with servers.Server(behave) as server:
        quiet, gone = (RemoteFunction(connected(server), name) for name in ("quiet", "gone"))
        assert quiet.logs() == []
        with pytest.raises(FunctionNotFound, match="gone"):
            gone.logs(tail=3)
        with pytest.raises(FunctionNotFound, match="gone"):
            list(gone.logs(follow=True, tail=3))


def test_a_log_is_empty_where_the_gateway_does_not_say_whether_the_function_is_there():
    with servers.Server([servers.answer(200, b""), servers.answer(501, b"not here")]) as server:
        assert RemoteFunction(connected(server), "f").logs() == []


def test_a_log_that_is_followed_begins_with_its_last_lines():
    told = [f"2026-01-01T00:00:0{n}Z" for n in (1, 2, 2, 3)]
    lines = [{"timestamp": moment, "text": str(n)} for n, moment in enumerate(told)]

    def behave(seen):
        # A gateway gives a moment's own lines again where it is asked for what came since.
        came = lines if "since" not in seen.path else lines[3:]
        return servers.endless_log(*(came if server.requests[1:] else lines[:3]))

    with servers.Server(behave) as server:
        f = RemoteFunction(connected(server), "f")

        async def main():
            async with f.connection:
                async with contextlib.aclosing(f.aio.logs(tail=1, follow=True)) as followed:
                    return (await anext(followed)).text

        with contextlib.closing(f.logs(tail=2, follow=True)) as followed:
            assert [next(followed).text for _ in range(3)] == ["1", "2", "3"]
        assert "since=2026-01-01T00%3A00%3A02Z" in server.requests[1].path
        assert asyncio.run(main()) == "3"


def test_a_remote_error_is_one_by_submit_as_well():
    body = protocol.pack_error(type("Odd", (Exception,), {"__module__": "nowhere"})("strange"))
    with servers.Server(enveloped(body, status=500)) as server:
        f = function(server)
        with f.connection:
            error = f.submit().exception()
    assert isinstance(error, RemoteError)
    assert error.type_name.endswith("Odd")
