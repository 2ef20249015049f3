"""One remote function behind every way in: how it is called, and what it looks like."""

from __future__ import annotations

import asyncio
import copy
import functools
import gc
import inspect
import json
import pickle
import pydoc
import subprocess
import sys
import typing
import weakref
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import pytest

from away import FaasConnection, RemoteFunction, builder, functions, protocol, signatures
from away.exceptions import (
    AnswerLost,
    CannotTravel,
    ConfigError,
    FunctionNotFound,
    GatewayError,
    NameRefused,
    ProtocolMismatch,
)
from away.signatures import Parameter
from tests import servers

UNKNOWN = servers.answer(
    404, b"error finding function x.openfaas-fn: server returned non-200 status code (404)"
)


def connected(server, **options):
    return FaasConnection(server.url, password="sesame-of-tests", **options)


def enveloped(value, *, status=200, **changed):
    """Answer as Away's runtime does, but for what is changed; None leaves a header out."""
    body = changed.pop("body", None) or protocol.pack_value(value)
    headers = {
        "Content-Type": protocol.CONTENT_TYPE,
        protocol.PROTOCOL_HEADER: protocol.PROTOCOL_VERSION,
        protocol.LENGTH_HEADER: str(len(body)),
        **{key.replace("_", "-"): text for key, text in changed.items()},
    }
    shown = {key: text for key, text in headers.items() if text is not None}
    return servers.answer(status, body, shown)


def asks_for_protocol(seen):
    """Behave as Away's runtime: ask a stub for the protocol, answer an envelope with its sum."""
    if "x-away-stub" in seen.headers:
        return servers.answer(415, b"by protocol", {protocol.PROTOCOL_HEADER: "1"})
    call = protocol.read_call(seen.body, allow_unsafe=False)
    return enveloped(sum(call.args) + sum(call.kwargs.values()))


# ---------------------------------------------------------------- which language is spoken


def test_a_stub_learns_once_that_the_function_speaks_the_protocol():
    with servers.Server(asks_for_protocol) as server:
        add = builder.sync_from_name("add", connected(server))
        assert add(1) == 1
        assert add(2) == 2
        stubs = [seen.headers.get("x-away-stub") for seen in server.requests]
    assert stubs == ["plain", None, None]


def test_a_published_function_is_spoken_to_by_protocol_at_once():
    with servers.Server(asks_for_protocol) as server:
        add = RemoteFunction(connected(server), "add", dialect="protocol")
        assert add(1, b=2) == 3
        assert [seen.method for seen in server.requests] == ["POST"]


def test_an_answer_without_the_protocol_is_a_mismatch_and_drops_what_was_remembered():
    script = [
        servers.answer(415, b"", {protocol.PROTOCOL_HEADER: "1"}),
        enveloped(1),
        servers.answer(200, b"2", {"Content-Type": "application/json"}),
        servers.answer(200, b"3", {"Content-Type": "application/json"}),
    ]
    with servers.Server(script) as server:
        f = builder.sync_from_name("f", connected(server))
        assert f(0) == 1
        with pytest.raises(ProtocolMismatch, match="without Away's protocol") as caught:
            f(0)
        assert caught.value.function == "f"
        assert f(0) == 3
        assert server.requests[-1].headers.get("x-away-stub") == "plain"


@pytest.mark.parametrize(
    "stated",
    [pytest.param("9999", id="more bytes than came"), pytest.param(None, id="no length at all")],
)
def test_half_an_answer_never_passes_for_a_whole_one(stated):
    with servers.Server(enveloped([1, 2], X_Away_Length=stated)) as server:
        f = RemoteFunction(connected(server), "f", dialect="protocol")
        with pytest.raises(AnswerLost, match="it may have run"):
            f()


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"value": {"$away": ["nope"]}}', b"\xff"])
def test_garbage_in_an_envelope_is_a_protocol_mismatch(body):
    with servers.Server(enveloped(None, body=body or b" ")) as server:
        f = RemoteFunction(connected(server), "f", dialect="protocol")
        with pytest.raises(ProtocolMismatch):
            f()


def test_the_functions_own_exception_comes_with_both_tracebacks():
    try:
        1 / 0
    except ZeroDivisionError as error:
        body = protocol.pack_error(error)
    with servers.Server(enveloped(None, status=500, body=body)) as server:
        f = RemoteFunction(connected(server), "f", dialect="protocol")
        with pytest.raises(ZeroDivisionError) as caught:
            f()
        assert str(caught.value) == "division by zero"
        assert "1 / 0" in "".join(caught.value.__notes__)
        careful = RemoteFunction(
            connected(server), "f", dialect="protocol", implicit_exception_handling=False
        )
        assert careful() == ("ZeroDivisionError: division by zero", 500)


def test_the_functions_own_not_found_never_sends_the_call_again():
    body = protocol.pack_error(FunctionNotFound("no such thing in there"))
    with servers.Server(enveloped(None, status=500, body=body)) as server:
        f = RemoteFunction(connected(server), "with_underscore", dialect="protocol")
        with pytest.raises(FunctionNotFound, match="no such thing in there"):
            f()
        assert len(server.requests) == 1


# ---------------------------------------------------------------- names


def test_either_spelling_is_found_and_the_one_found_is_kept():
    def script(seen):
        if seen.path.startswith("/function/my-fn"):
            return servers.answer(200, b"1", {"Content-Type": "application/json"})
        return UNKNOWN if seen.path.startswith("/function/") else servers.json([])

    with servers.Server(script) as server:
        f = builder.sync_from_name("my_fn", connected(server))
        assert f(1) == 1
        before = len(server.requests)
        assert f(1) == 1
        assert [seen.path for seen in server.requests[before:]] == ["/function/my-fn"]
        assert f.function_name == "my-fn"


def test_several_arguments_to_no_function_say_that_there_is_none_and_what_is_near():
    def script(seen):
        if seen.path == "/system/functions":
            return servers.json([{"name": "my-fun"}])
        return servers.answer(404, b"")

    with servers.Server(script) as server:
        f = builder.sync_from_name("my_fn", connected(server))
        with pytest.raises(FunctionNotFound, match="did you mean 'my-fun'"):
            f(1, 2)
        assert [seen.path for seen in server.requests] == [
            "/system/function/my_fn",
            "/system/function/my-fn",
            "/system/functions",
        ]


@pytest.mark.parametrize("name", ["../system/functions", "a/b", "a.b", "", "a?b", "a%2fb", "é"])
def test_a_name_never_changes_the_path_of_a_request(name):
    with pytest.raises(NameRefused):
        builder.sync_from_name(name, FaasConnection("127.0.0.1", password="sesame-of-tests"))


# ---------------------------------------------------------------- binding


def stub_of(server, function, **options):
    return builder.faas_function(connected(server), **options)(function)


def test_a_wrong_argument_is_refused_before_anything_is_sent():
    with servers.Server(servers.answer()) as server:

        def f(a, b=2, *, c=3): ...

        remote = stub_of(server, f)
        for call in (lambda: remote(), lambda: remote(1, 2, 3), lambda: remote(1, d=1)):
            with pytest.raises(TypeError, match=r"^f\(\) "):
                call()
        assert server.requests == []


def test_an_argument_that_cannot_travel_is_named_before_anything_is_sent():
    with servers.Server(servers.answer()) as server:
        description = signatures.describe(lambda rows: None)
        f = RemoteFunction(connected(server), "f", description=description, dialect="protocol")
        with pytest.raises(CannotTravel, match=r"'rows'.*object"):
            f([{"a": object()}])
        assert server.requests == []


def test_a_custom_pack_gets_positions_with_defaults_and_sends_text_without_a_type():
    with servers.Server(
        servers.answer(200, "é".encode(), {"Content-Type": "text/plain"})
    ) as server:

        def f(a, b="ž"): ...

        remote = stub_of(server, f, pack_args=lambda args: repr(tuple(args)), unpack_args=str.upper)
        assert remote(b=1, a=2) == "É"
        assert remote(2) == "É"
        assert [seen.body.decode() for seen in server.requests] == ["(2, 1)", "(2, 'ž')"]
        assert server.requests[0].method == "POST"
        assert "content-type" not in server.requests[0].headers


def test_a_pack_that_gives_no_text_is_refused():
    with servers.Server(servers.answer()) as server:

        def f(a): ...

        with pytest.raises(CannotTravel, match="must give a str"):
            stub_of(server, f, pack_args=lambda args: b"bytes")(1)
        assert server.requests == []


@pytest.mark.parametrize("decorator", ["faas_function", "faas_function_with_protocol"])
def test_an_option_that_does_not_exist_is_a_type_error_with_the_nearest(decorator):
    with pytest.raises(TypeError, match=f"{decorator}.*'pack_arg'; did you mean 'pack_args'"):
        getattr(builder, decorator)(FaasConnection(password="sesame-of-tests"), pack_arg=str)
    with pytest.raises(ConfigError, match="type str was given"):
        getattr(builder, decorator)("http://127.0.0.1")


# ---------------------------------------------------------------- a call that has no plain form


def described(name="f", **annotations):
    return servers.json(
        {"name": name, "image": "i", "namespace": "openfaas-fn", "annotations": annotations}
    )


def test_several_arguments_ask_once_whether_away_published_the_function():
    published = signatures.to_annotations(signatures.describe(lambda a, b: None))

    def script(seen):
        if seen.path.startswith("/system/function/"):
            return described(**published)
        return asks_for_protocol(seen)

    with servers.Server(script) as server:
        f = builder.sync_from_name("f", connected(server))
        assert f(1, 2) == 3
        assert f(1, b=3) == 4
        asked = [path for path in server.paths() if path.startswith("/system/")]
        assert len(asked) == 1
        with pytest.raises(TypeError, match="missing 1 required positional argument"):
            f(1)


def test_several_arguments_for_a_foreign_function_send_nothing_to_it():
    with servers.Server({"/system/function/": described(), "": servers.answer()}) as server:
        f = builder.sync_from_name("f", connected(server))
        with pytest.raises(CannotTravel, match=r"2 arguments.*pass pack_args="):
            f(1, 2)
        assert not [path for path in server.paths() if path.startswith("/function/")]


def test_without_a_login_nothing_is_asked_at_all():
    with servers.Server(servers.answer()) as server:
        f = builder.sync_from_name("f", FaasConnection(server.url))
        with pytest.raises(CannotTravel, match="no password is known"):
            f(1, 2)
        assert server.requests == []
        f(1)
        assert [seen.headers.get("authorization") for seen in server.requests] == [None]


def test_the_gateways_password_never_goes_to_a_function():
    with servers.Server(servers.answer()) as server:
        builder.sync_from_name("f", connected(server))(1)
        assert "authorization" not in server.requests[0].headers


# ---------------------------------------------------------------- statuses


@pytest.mark.parametrize("status", [400, 404, 418, 500, 503])
def test_a_status_of_the_function_is_an_error_with_its_text(status):
    with servers.Server(servers.answer(status, b"the reason\x1b[31m")) as server:
        with pytest.raises(GatewayError) as caught:
            builder.sync_from_name("f", connected(server))(1)
        assert caught.value.status == status
        assert "the reason" in str(caught.value)
        assert "\x1b" not in str(caught.value)
        assert caught.value.call_id == server.requests[0].headers["x-call-id"]
        careful = builder.sync_from_name("f", connected(server), implicit_exception_handling=False)
        assert careful(1) == ("the reason\x1b[31m", status)


# Names that the ways to call a function have for parameters of their own.
TAKEN = ("self", "function", "fn", "func", "args", "kwargs", "kind", "instance", "name", "timeout")
WAYS = {
    "called": lambda f: f,
    "by its __call__": lambda f: f.__call__,
    "submitted": lambda f: lambda **given: f.submit(**given).result(),
    "with its response": lambda f: lambda **given: f.with_response(**given).value,
    "async": lambda f: lambda **given: finish(f, f.aio(**given)),
    "async with its response": lambda f: (
        lambda **given: finish(f, f.aio.with_response(**given)).value
    ),
}


def finish(f, awaited):
    async def main():
        async with f.connection:
            return await awaited

    return asyncio.run(main())


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("is_known", [True, False], ids=["signature known", "not known"])
def test_every_keyword_that_the_function_takes_can_be_sent(way, is_known):
    def takes_all(**numbers): ...

    with servers.Server(asks_for_protocol) as server:
        f = RemoteFunction(
            connected(server),
            "f",
            description=signatures.describe(takes_all) if is_known else None,
            dialect="protocol",
        )
        assert way(f)(**dict.fromkeys(TAKEN, 2)) == 2 * len(TAKEN)


# ---------------------------------------------------------------- what it looks like


def local(n: int, *rest: str, by: float = 2.5) -> list[int]:
    """Say what it does.

    >>> 1 + 1
    2
    """
    return [n]


async def later(n: int) -> int:
    return n


@pytest.fixture
def proxy():
    return builder.faas_function(FaasConnection("127.0.0.1", password="hidden-pw"))(local)


def test_a_proxy_looks_like_the_function_to_inspect(proxy):
    assert inspect.signature(proxy) == inspect.signature(local)
    assert proxy.__name__ == "local"
    assert proxy.__doc__ == local.__doc__
    assert proxy.__module__ == __name__
    assert proxy.__kwdefaults__ == {"by": 2.5}
    assert inspect.isroutine(proxy)
    assert not inspect.iscoroutinefunction(proxy)
    assert not hasattr(proxy, "__wrapped__")
    assert typing.get_type_hints(proxy) is not None
    assert "Say what it does" in pydoc.render_doc(proxy, renderer=pydoc.plaintext)


def test_an_async_proxy_is_a_coroutine_function_to_everyone():
    proxy = builder.faas_function(FaasConnection("127.0.0.1", password="sesame-of-tests"))(later)
    assert inspect.iscoroutinefunction(proxy)
    assert asyncio.iscoroutinefunction(proxy)
    assert inspect.iscoroutinefunction(mock.create_autospec(proxy))


def test_autospec_wraps_and_partial_take_a_proxy(proxy):
    spec = mock.create_autospec(proxy, return_value=[1])
    assert spec(1, by=2) == [1]

    @functools.wraps(proxy)
    def wrapper(*args): ...

    assert wrapper.__name__ == "local"
    assert inspect.signature(functools.partial(proxy, 1)).parameters.keys() == {"rest", "by"}


def test_a_proxy_in_a_class_binds_like_a_function(proxy):
    class Holder:
        method = proxy

    assert inspect.ismethod(Holder().method)
    assert Holder.method is proxy


def test_the_repr_shows_name_and_gateway_and_no_secret(proxy):
    assert repr(proxy) == "<remote function local on http://127.0.0.1:8080>"
    assert "hidden-pw" not in str(vars(proxy))


def test_a_proxy_pickles_to_a_reference_without_credentials():
    proxy = builder.faas_function(FaasConnection("127.0.0.1", password="hidden-pw"))(local)
    data = pickle.dumps(proxy)
    assert b"hidden-pw" not in data
    url = proxy.connection.url
    del proxy
    gc.collect()  # in this process the reference stands for the proxy itself while it lives
    back = pickle.loads(data)
    assert back.function_name == "local"
    assert back.connection.url == url
    assert str(inspect.signature(back)).startswith("(n: int, *rest")


def through_pickle(value):
    return pickle.loads(pickle.dumps(value))


def through_dill(value):
    import dill

    return dill.loads(dill.dumps(value))


def json_list(args):
    return json.dumps(list(args))


def in_a_function():
    def stub(n: int = 3) -> int: ...

    return stub


# One for all, at a URL of its own: what another connection pickles under it ends the identity of both.
KEPT_AT = FaasConnection("127.0.0.1:8079", password="hidden-pw")
KEPT = {
    "of a name": lambda faas: builder.sync_from_name("f", faas),
    "a decorated stub": lambda faas: builder.faas_function(faas)(local),
    "a stub in a function": lambda faas: builder.faas_function(faas)(in_a_function()),
    "with options": lambda faas: builder.sync_from_name("f", faas).options(
        timeout=3, idempotent=True, headers={"X-Tenant": "7"}
    ),
    "with packers": lambda faas: builder.sync_from_name("f", faas, pack_args=json_list),
}


@pytest.mark.parametrize("make", KEPT.values(), ids=KEPT)
@pytest.mark.parametrize("through", [through_pickle, through_dill, copy.copy, copy.deepcopy])
def test_a_pickled_function_is_itself_in_the_process_that_pickled_it(make, through):
    f = make(KEPT_AT)
    assert through(f) is f
    assert through({f: 1, f.aio: 2}) == {f: 1, f.aio: 2}
    others = [f, f.options(timeout=7), f.options(headers={"X-Tenant": "8"})]
    assert [id(each) for each in through(others)] == [id(each) for each in others]


def test_a_function_that_has_changed_since_is_not_taken_for_what_was_pickled():
    def made(default):
        described = signatures.Description(parameters=(Parameter("n", 1, True, default),))
        return RemoteFunction(KEPT_AT, "f", description=described)

    f, other = made(1), made(True)
    data = pickle.dumps(f)
    assert pickle.loads(pickle.dumps(other)) is other
    back = pickle.loads(data)
    assert back not in (f, other)
    assert back.description.parameters[0].default is not True


@pytest.mark.parametrize("lives", [True, False], ids=["both live", "one is gone"])
def test_a_pickle_never_comes_back_with_the_login_of_another_connection(lives):
    name = f"of_two_logins_{lives}"
    f, g = (
        RemoteFunction(FaasConnection("127.0.0.1", user=user, password=f"{user}-pw"), name)
        for user in ("admin", "guest")
    )
    of_f = pickle.dumps(f)
    assert pickle.loads(of_f) is f
    if not lives:
        del f
        gc.collect()
    of_g = pickle.dumps(g)
    fresh = pickle.loads(of_f)
    assert fresh is not g
    assert fresh.connection is pickle.loads(of_g).connection is not g.connection
    if lives:
        assert pickle.loads(pickle.dumps(f)).connection is fresh.connection


def test_pickling_keeps_no_function_alive():
    f = builder.sync_from_name("of_a_moment", FaasConnection("127.0.0.1", password="hidden-pw"))
    data, seen = pickle.dumps(f), weakref.ref(f)
    del f
    gc.collect()
    assert seen() is None
    assert pickle.loads(data).function_name == "of_a_moment"


def test_threads_pickle_and_unpickle_at_once():
    faas = FaasConnection("127.0.0.1", password="hidden-pw")

    def work(i):
        kept = builder.sync_from_name(f"f{i % 3}", faas, timeout=i + 1)
        for _ in range(200):
            builder.sync_from_name("f0", faas, timeout=100 + i).__reduce__()
            assert pickle.loads(pickle.dumps(kept)) is kept

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))


def test_a_process_that_imported_nothing_unpickles_a_proxy_with_its_own_credentials(tmp_path):
    def script(seen):
        if seen.path.startswith("/system/function/"):
            return described(**signatures.to_annotations(signatures.describe(lambda a, b: None)))
        return asks_for_protocol(seen)

    with servers.Server(script) as server:
        f = builder.sync_from_name("add", connected(server))
        (tmp_path / "f.pickle").write_bytes(pickle.dumps(f))
        code = "import pickle, pathlib; print(pickle.loads(pathlib.Path('f.pickle').read_bytes())(1, 2))"
        environment = {
            "PATH": "",
            "AWAY_GATEWAY_GW_URL": server.url,
            "AWAY_GATEWAY_GW_PASSWORD": "child-pw",
            "HOME": str(tmp_path),
        }
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment,
        )
        assert (done.stdout, done.stderr) == ("3\n", "")
        asked = next(seen for seen in server.requests if seen.path.startswith("/system/"))
        assert asked.headers["authorization"].startswith("Basic ")


def test_options_make_another_and_leave_the_first(proxy):
    other = proxy.options(timeout=1.5, idempotent=True)
    assert other is not proxy
    assert other.function_name == proxy.function_name
    assert inspect.signature(other) == inspect.signature(proxy)


def test_a_listed_function_becomes_a_proxy_with_its_signature():
    from away.connection.catalogue import FunctionInfo

    info = FunctionInfo.from_json(
        {
            "name": "later",
            "image": "i",
            "namespace": "openfaas-fn",
            "annotations": signatures.to_annotations(signatures.describe(later)),
        }
    )
    assert info is not None
    proxy = functions.from_info(
        FaasConnection("127.0.0.1", password="sesame-of-tests"), info, module="m"
    )
    assert inspect.iscoroutinefunction(proxy)
    assert str(inspect.signature(proxy)) == "(n: int) -> int"
    assert proxy.__module__ == "m"


def test_generators_come_back_as_iterators():
    def numbers(n):
        yield n

    async def stream(n):
        yield n

    with servers.Server(enveloped(None, body=protocol.pack_items([1, 2]))) as server:
        faas = connected(server)
        sync = RemoteFunction(
            faas, "f", description=signatures.describe(numbers), dialect="protocol"
        )
        assert list(sync(1)) == [1, 2]
        assert inspect.isgeneratorfunction(sync)
        several = RemoteFunction(
            faas, "f", description=signatures.describe(stream), dialect="protocol"
        )

        async def collect():
            return [each async for each in several(1)]

        assert asyncio.run(collect()) == [1, 2]
        assert inspect.isasyncgenfunction(several)


def test_sync_and_async_say_the_same_words_on_the_wire():
    with servers.Server(servers.answer(200, b"1", {"Content-Type": "application/json"})) as server:
        faas = connected(server)
        assert builder.sync_from_name("f", faas)({"a": 1}) == 1
        assert asyncio.run(builder.async_from_name("f", faas)({"a": 1})) == 1
        first, second = server.requests
        assert json.loads(first.body) == json.loads(second.body)
        ignored = {"x-call-id", "connection", "host", "content-length"}
        assert {k.lower(): v for k, v in first.headers.items() if k.lower() not in ignored} == {
            k.lower(): v for k, v in second.headers.items() if k.lower() not in ignored
        }


def forgotten(proxy):
    proxy(1)
    gc.collect()


def test_a_forgotten_await_is_warned_of_by_the_functions_name():
    with servers.Server(servers.answer()) as server:
        proxy = builder.faas_function(connected(server))(later)
        with pytest.warns(RuntimeWarning, match=r"coroutine 'later' was never awaited"):
            forgotten(proxy)
