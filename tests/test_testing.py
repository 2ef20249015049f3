"""Fakes: calls answered in process, through the real binding, packing, retries and deadlines."""

from __future__ import annotations

import asyncio
import copy
import os
import pickle
import sys
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from away import FaasConnection, builder
from away.connection import stand_ins
from away.exceptions import (
    AnswerLost,
    AuthenticationRefused,
    AwayError,
    CallTimedOut,
    CannotTravel,
    ConfigError,
    FunctionNotFound,
    FunctionNotReady,
    GatewayError,
    GatewayUnreachable,
    RemoteError,
    UnknownGateway,
)
from away.testing import NotFaked, fake


@pytest.fixture
def shop():
    """A fake, for tests that name its gateway ``shop``."""
    with fake(["shop"]) as faked:
        yield faked


def imported(name: str):
    """Import a function of the gateway ``shop`` as user code does."""
    scope: dict[str, object] = {}
    exec(f"from away.remote.shop import {name}", scope)
    return scope[name]


# ---------------------------------------------------------------- what a function looks like


def test_a_faked_function_is_imported_with_its_signature_and_docstring(shop):
    def add(a: int, b: int = 2) -> int:
        """Add two numbers."""
        return a + b

    shop.function(add, gateway="shop")
    remote = imported("add")
    import inspect

    assert str(inspect.signature(remote)) == "(a: int, b: int = 2) -> int"
    assert remote.__doc__ == "Add two numbers."
    assert remote(1) == 3
    with pytest.raises(TypeError, match=r"add\(\) missing 1 required positional argument: 'a'"):
        remote()
    assert [(each.args, each.kwargs, each.result) for each in shop.calls("add")] == [((1,), {}, 3)]


def test_a_function_is_given_by_name_by_decorator_or_by_what_it_returns(shop):
    @shop.function(gateway="shop")
    def one():
        return 1

    @shop.function("deployed-as-two", gateway="shop")
    def anything():
        return 2

    shop.function("three", returns=[3], gateway="shop")
    assert repr(shop) == "<fake of shop (one, deployed-as-two, three)>"
    assert imported("one")() == 1
    assert imported("deployed_as_two")() == 2
    assert imported("three")("whatever", is_given=True) == [3]
    assert one.calls[0].result == 1
    assert anything.name == "deployed-as-two"


def test_functions_of_all_kinds_are_what_they_are(shop):
    async def later(a):
        await asyncio.sleep(0)
        return a

    def some(n):
        yield from range(n)

    async def some_later(n):
        for each in range(n):
            yield each

    for each in (later, some, some_later):
        shop.function(each, gateway="shop")

    async def main():
        items = [each async for each in imported("some_later")(3)]
        return await imported("later")(5), list(imported("some")(3)), items

    assert asyncio.run(main()) == (5, [0, 1, 2], [0, 1, 2])
    assert asyncio.iscoroutinefunction(imported("later"))
    assert [each.result for each in shop.calls("some_later")] == [[0, 1, 2]]


def test_an_async_function_runs_on_the_loop_of_its_caller(shop):
    async def which():
        return id(asyncio.get_running_loop())

    shop.function(which, gateway="shop")

    async def main():
        return await imported("which")() == id(asyncio.get_running_loop())

    assert asyncio.run(main())


def test_a_coroutine_function_answers_a_sync_caller_with_and_without_a_running_loop(shop):
    async def later(a):
        await asyncio.sleep(0)
        return a

    shop.function(later, gateway="shop")
    by_name = builder.sync_from_name("later", FaasConnection.named("shop"))

    async def main():
        return by_name(2)

    assert (by_name(1), asyncio.run(main())) == (1, 2)


def test_the_kind_and_docstring_can_be_said(shop):
    shop.function("later", lambda: 1, gateway="shop", kind="async", doc="Give one.")
    later = imported("later")
    assert asyncio.run(later()) == 1
    assert later.__doc__ == "Give one."


# ---------------------------------------------------------------- values

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=40)
@given(values)
def test_values_come_back_equal_and_are_no_shared_objects(value):
    with fake() as faked:
        faked.function("echo", lambda given: given, gateway="shop")
        before = copy.deepcopy(value)
        assert imported("echo")(value) == before
        assert faked.calls("echo")[0].args == (before,)


def test_what_a_function_does_to_its_arguments_reaches_neither_caller_nor_record(shop):
    shop.function("drain", lambda items: [items.pop() for _ in range(2)], gateway="shop")
    mine = [1, 2, 3]
    assert imported("drain")(mine) == [3, 2]
    assert mine == shop.calls("drain")[0].args[0] == [1, 2, 3]


def test_what_cannot_travel_fails_as_it_would_in_truth(shop):
    shop.function("echo", lambda given: given, gateway="shop")
    shop.function("door", lambda: threading.Lock(), gateway="shop")
    with pytest.raises(CannotTravel, match="argument 'given' is an object"):
        imported("echo")(object())
    assert shop.calls("echo") == []
    with pytest.raises(CannotTravel, match="result of 'door'"):
        imported("door")()


def test_pickles_travel_for_a_function_faked_as_published_so(shop):
    shop.function("total", sum, gateway="shop", safe_args=False)
    assert imported("total").options(safe_args=False)(range(10)) == 45


# ---------------------------------------------------------------- failures


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (GatewayUnreachable, GatewayUnreachable),
        (GatewayUnreachable("by hand"), GatewayUnreachable),
        (CallTimedOut, CallTimedOut),
        (AnswerLost, AnswerLost),
        (FunctionNotFound, FunctionNotFound),
        (FunctionNotReady, FunctionNotReady),
        (AuthenticationRefused, AuthenticationRefused),
        (GatewayError, GatewayError),
        (GatewayError("", status=418), GatewayError),
        (503, FunctionNotReady),
        (500, FunctionNotReady),
        (404, FunctionNotFound),
        (401, AuthenticationRefused),
        (429, GatewayError),
        (504, CallTimedOut),
        (ZeroDivisionError, ZeroDivisionError),
        (KeyError("k"), KeyError),
        (RemoteError("of the function's"), RemoteError),
    ],
    ids=str,
)
def test_an_error_on_request_is_the_one_that_the_caller_meets(shop, error, raised):
    broken = shop.function("broken", gateway="shop", error=error)
    with pytest.raises(raised) as caught:
        imported("broken")(1)
    assert type(caught.value) is raised
    assert [each.args for each in broken.calls] == [(1,)]
    if isinstance(error, int) or getattr(error, "status", None):
        assert caught.value.status == getattr(error, "status", error)


def test_the_functions_own_exception_comes_with_its_traceback_as_a_note(shop):
    def divide(a, b):
        return a / b

    shop.function(divide, gateway="shop")
    with pytest.raises(ZeroDivisionError) as caught:
        imported("divide")(1, 0)
    note = "".join(caught.value.__notes__)
    assert "return a / b" in note
    assert "away/testing" not in note
    assert isinstance(shop.calls("divide")[0].error, ZeroDivisionError)


def test_a_refused_connection_is_tried_again_until_it_passes(shop):
    shop.function("flaky", lambda: 7, gateway="shop", error=GatewayUnreachable, fail_times=2)
    assert imported("flaky")() == 7
    outcomes = [type(each.error) for each in shop.calls("flaky")]
    assert outcomes == [GatewayUnreachable, GatewayUnreachable, type(None)]


def test_a_function_that_is_not_ready_is_tried_again_only_where_the_call_may_be(shop):
    shop.function("flaky", lambda: 7, gateway="shop", error=503, fail_times=1)
    with pytest.raises(FunctionNotReady):
        imported("flaky")()
    shop.function("flaky", lambda: 7, gateway="shop", error=503, fail_times=1)
    assert imported("flaky").options(idempotent=True)() == 7


def test_late_answers_meet_the_callers_deadline(shop):
    shop.function("slow", lambda: 1, gateway="shop", latency=60.0)
    with pytest.raises(CallTimedOut, match=r"within the 0\.05 s of timeout"):
        imported("slow").options(timeout=0.05)()
    shop.function("slow", lambda: 1, gateway="shop", latency=0.001)
    assert imported("slow").options(timeout=30)() == 1


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"error": 200}, "is no status of an error"),
        ({"error": "503"}, "error= is an exception or a status, not str"),
        ({"error": True}, "is no status of an error"),
        ({"latency": -1}, "latency= is a number of seconds"),
        ({"latency": float("nan")}, "latency= is a number of seconds"),
        ({"fail_times": 2}, "give error= too"),
        ({"error": 503, "fail_times": -1}, "fail_times= is a whole number"),
        ({"gateway": "My-Shop"}, r"cannot be a gateway's name.*\(gateway='My-Shop'\)"),
        ({"gateway": 3}, "gateway= is a name, a URL or a connection, not int"),
    ],
)
def test_an_option_that_cannot_be_is_refused_at_once(shop, options, wrong):
    with pytest.raises((TypeError, ValueError), match=wrong):
        shop.function("f", lambda: 1, **{"gateway": "shop", **options})


# ---------------------------------------------------------------- what is not there


def test_an_unknown_function_is_the_error_that_it_is(shop):
    shop.function("add", lambda a, b: a + b, gateway="shop")
    with pytest.raises(ImportError, match="has no function 'ad'; it has add"):
        imported("ad")
    with pytest.raises(FunctionNotFound, match="did you mean 'add'"):
        builder.sync_from_name("ad", FaasConnection.named("shop"))(1)


def test_a_gateway_that_is_not_faked_is_refused_before_anything_goes_out(shop):
    elsewhere = FaasConnection("elsewhere.invalid", password="an-odd-password-2291")
    refusals = (
        lambda: elsewhere.functions(),
        lambda: builder.sync_from_name("add", elsewhere)(1),
        lambda: asyncio.run(elsewhere.aio.info()),
        lambda: next(elsewhere.logs("f", follow=True)),
    )
    for each in refusals:
        with pytest.raises(NotFaked, match=r"elsewhere\.invalid:8080'?, which the test does not"):
            each()
    assert not issubclass(NotFaked, AwayError)


def test_what_a_fake_cannot_answer_is_refused(shop):
    faas = FaasConnection.named("shop")
    with pytest.raises(NotFaked, match="POST /system/functions went to the gateway 'shop'"):
        faas.deploy({"service": "f", "image": "x"})
    with pytest.raises(NotFaked, match="is followed without an end"):
        next(faas.logs("f", follow=True))


def test_other_gateways_are_reached_where_a_fake_is_not_strict_or_lets_them_through():
    nowhere = FaasConnection("http://127.0.0.1:1", connect_timeout=0.5, timeout=1)
    with fake(["shop"], strict=False):
        with pytest.raises(GatewayUnreachable, match="nothing listens at"):
            nowhere.functions()
    with fake(["shop"]) as faked:
        faked.real(nowhere)
        with pytest.raises(GatewayUnreachable):
            nowhere.functions()


# ---------------------------------------------------------------- every way in


def test_a_connection_answers_what_a_gateway_does(shop):
    shop.function("add", lambda a, b: a + b, gateway="shop")
    faas = FaasConnection.named("shop")
    assert [each.name for each in faas.functions()] == ["add"]
    assert faas.function("add").description.parameters[1].name == "b"
    assert faas.is_available()
    assert faas.invoke("add", b"[1, 2]").text == "3"
    assert asyncio.run(faas.aio.invoke("add", b"[1, 2]")).text == "3"
    assert faas.logs("add") == []
    assert faas.secrets() == []


def test_a_stub_is_faked_by_itself_with_its_connection(shop):
    @builder.faas_function(FaasConnection("my-faas.invalid", password="an-odd-password-7713"))
    def fibonacci(n: int) -> int: ...

    shop.function(fibonacci, lambda n: 55 if n == 10 else 0)
    assert fibonacci(10) == 55
    assert shop.assert_called_once("fibonacci").args == (10,)


def test_a_function_of_others_is_faked_by_its_http(shop):
    @builder.faas_function(
        FaasConnection.named("shop"),
        pack_args=lambda args: ",".join(map(str, args)),
        unpack_args=int,
    )
    def add(a, b): ...

    shop.http("add", lambda request: str(sum(map(int, request.text.split(",")))), gateway="shop")
    assert add(1, b=2) == 3
    assert shop.calls("add")[0].args == (b"1,2",)
    shop.http("add", lambda request: ("no such luck", 418), gateway="shop")
    with pytest.raises(GatewayError, match="answered 418: no such luck"):
        add(1, 2)


def test_publishing_to_a_faked_gateway_sends_nothing_and_runs_the_function_here(shop):
    @builder.publish(FaasConnection.named("shop"))
    def add(a, b):
        return a + b

    def double(a):
        return 2 * a

    mirrored = builder.mirror_in_faas(double, FaasConnection.named("shop"))
    assert (add(1, 2), mirrored(4)) == (3, 8)
    assert imported("add")(b=1, a=1) == 2
    assert len(shop.calls("add")) == 2
    shop.function(add, lambda a, b: "faked")
    assert add(1, 2) == "faked"


def test_a_proxy_that_was_pickled_is_faked_too(shop):
    shop.function("add", lambda a, b: a + b, gateway="shop")
    assert pickle.loads(pickle.dumps(imported("add")))(1, 2) == 3


def test_map_calls_the_fake_once_for_each_input(shop):
    shop.function("double", lambda a: 2 * a, gateway="shop")
    assert list(imported("double").map(range(20))) == [2 * each for each in range(20)]
    assert sorted(each.args for each in shop.calls("double")) == [(each,) for each in range(20)]


def test_calls_from_many_threads_are_all_recorded(shop):
    shop.function("echo", lambda given: given, gateway="shop")
    echo, wrong = imported("echo"), []

    def run(number):
        for each in range(50):
            if echo((number, each)) != (number, each):
                wrong.append((number, each))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not wrong
    assert len({each.args for each in shop.calls("echo")}) == 400


# ---------------------------------------------------------------- assertions


def test_assertions_say_what_was_called_instead(shop):
    shop.function("add", lambda a, b: a + b, gateway="shop")
    imported("add")(1, b=2)
    assert shop.assert_called("add", 1, b=2).result == 3
    with pytest.raises(AssertionError, match=r"add\(5\) was not called; calls were add\(1, b=2\)"):
        shop.assert_called("add", 5)
    with pytest.raises(AssertionError, match="no function of that name is faked; did you mean"):
        shop.assert_called("adds")
    imported("add")(1, 2)
    with pytest.raises(AssertionError, match="was called 2 times and not once"):
        shop.assert_called_once("add")
    with pytest.raises(AssertionError, match="nothing was to be called; calls were add"):
        shop.assert_not_called("add")
    shop.assert_not_called("subtract")


# ---------------------------------------------------------------- all is as it was


def test_with_the_end_of_a_fake_all_is_as_it_was():
    environment, modules = dict(os.environ), {}
    with fake() as faked:
        faked.function("add", lambda a, b: a + b, gateway="shop")
        add = imported("add")
        modules = sys.modules["away.remote.shop"].__dict__
        assert "add" in modules
        assert dict(os.environ) != environment
    assert dict(os.environ) == environment
    assert "add" not in modules
    assert stand_ins.now is None
    with pytest.raises(GatewayUnreachable):
        add.options(timeout=5)(1, 2)


def test_what_a_stub_learnt_from_one_fake_is_not_believed_of_the_next():
    faas = FaasConnection("my-faas.invalid", password="an-odd-password-8821")
    shout = builder.sync_from_name("shout", faas)
    with fake() as faked:
        faked.function("shout", lambda text: text.upper(), gateway=faas)
        assert shout("a") == "A"
        assert shout.__doc__ is None
    with fake() as faked:
        faked.http("shout", lambda request: request.text + "!", gateway=faas)
        assert shout("a") == "a!"


def test_a_proxy_in_hand_is_what_the_function_is_in_each_fake():
    with fake() as faked:
        faked.function("add", lambda a, b: a + b, gateway="shop")
        add = imported("add")
        faked.function("add", lambda a, b, c: a + b + c, gateway="shop")
        assert add(1, 2, 3) == 6
    with fake() as faked:

        async def later(a):
            return a

        faked.function("add", later, gateway="shop")
        assert asyncio.run(add(1)) == 1


def test_a_fake_that_cannot_begin_or_has_not_begun_changes_nothing():
    environment = dict(os.environ)
    with pytest.raises(ConfigError, match="cannot be a gateway's name"):
        fake(["shop", "My-Shop"]).__enter__()
    assert dict(os.environ) == environment
    assert stand_ins.now is None
    with pytest.raises(RuntimeError, match="within its block"):
        fake().function("add", lambda: 1, gateway="shop")
    assert dict(os.environ) == environment


def test_an_inner_fake_answers_first_and_the_outer_one_what_is_left():
    with fake() as outer:
        outer.function("one", lambda: 1, gateway="shop")
        outer.function("two", lambda: 2, gateway="shop")
        with fake() as inner:
            inner.function("two", lambda: "inner", gateway="shop")
            assert (imported("one")(), imported("two")()) == (1, "inner")
        assert imported("two")() == 2
    assert len(outer.calls("two")) == 1


def test_a_configured_gateway_keeps_its_url_and_needs_no_readable_secret(monkeypatch, tmp_path):
    monkeypatch.setenv("AWAY_GATEWAY_SHOP_URL", "https://shop.example.com/prefix")
    with fake() as faked:
        faked.function("add", lambda a, b: a + b, gateway="shop")
        assert imported("add").connection.url == "https://shop.example.com/prefix"
        assert imported("add")(1, 2) == 3
        # Whoever has only the URL meets the same fake.
        by_url = builder.sync_from_name("add", FaasConnection("https://shop.example.com/prefix"))
        assert by_url(2, 3) == 5
    monkeypatch.setenv("AWAY_GATEWAY_SHOP_PASSWORD_FILE", str(tmp_path / "nothing-here"))
    with fake() as faked:
        faked.function("add", lambda a, b: a + b, gateway="shop")
        assert imported("add")(1, 2) == 3


# ---------------------------------------------------------------- modules, mounts, async twins


def test_a_module_published_whole_is_faked_by_functions_or_by_a_module(shop):
    import colorsys

    async def later(a):
        return a

    shop.module("tools", {"double": lambda a: 2 * a, "later": later}, gateway="shop")
    shop.module(colorsys, gateway="shop")
    from away.remote.shop.colorsys import rgb_to_hsv
    from away.remote.shop.tools import double
    from away.remote.shop.tools import later as remote_later

    assert (double(4), asyncio.run(remote_later(5))) == (8, 5)
    assert rgb_to_hsv(0.1, 0.2, 0.3) == colorsys.rgb_to_hsv(0.1, 0.2, 0.3)
    assert [each.args for each in shop.calls("tools.double")] == [(4,)]
    with pytest.raises(ImportError, match="triple"):
        from away.remote.shop.tools import triple  # noqa: F401
    with pytest.raises(
        TypeError, match=r"by its functions, \{'area': area\} or \[area\], .*; there are none"
    ):
        shop.module("empty", {}, gateway="shop")


def test_a_module_is_faked_by_a_list_of_functions_and_by_nothing_else(shop):
    def area(radius):
        return radius * radius

    assert list(shop.module("shapes", [area], gateway="shop")) == ["area"]
    from away.remote.shop.shapes import area as remote_area

    assert remote_area(3) == 9
    for wrong in (7, ["area"], {"area": 1}):
        with pytest.raises(
            TypeError, match=r"by its functions, .* or \[area\], .*, not by (int|list)"
        ):
            shop.module("shapes", wrong, gateway="shop")


def test_a_function_that_is_listed_and_missing_is_not_said_to_be_misspelt(shop):
    shop.function("price", gateway="shop", error=404)
    from away.remote.shop import price

    with pytest.raises(FunctionNotFound, match="its list has it all the same: try again") as caught:
        price("tea")
    assert "did you mean" not in str(caught.value)


def test_a_module_that_is_published_to_a_faked_gateway_answers_here(shop):
    far = builder.publish_module("colorsys", FaasConnection.named("shop"))
    assert far.rgb_to_hsv(1, 1, 1) == (0.0, 0.0, 1)
    assert len(shop.calls("colorsys.rgb_to_hsv")) == 1


def test_coroutine_twins_and_mounts_of_a_faked_gateway_are_answered(shop):
    from away import hooks

    shop.function("add", lambda a, b: a + b, gateway="shop")
    hooks.mount("shop", "acme_tools_of_tests")
    try:
        from acme_tools_of_tests import add
        from away.remote.aio.shop import add as coroutine

        assert (add(1, 2), asyncio.run(coroutine(3, 4))) == (3, 7)
    finally:
        hooks.unmount("acme_tools_of_tests")
    assert len(shop.calls("add")) == 2


def test_the_embedded_gateway_is_faked_where_none_runs():
    with fake() as faked:
        faked.function("add", lambda a, b: a + b, gateway="local")
        from away.remote.local import add

        assert add(1, 2) == 3
        assert FaasConnection.local().url == "http://local.invalid"
    with pytest.raises(UnknownGateway):
        FaasConnection.local()


def test_a_connection_needs_no_password_on_the_machine_of_the_test(shop):
    faas = FaasConnection("https://faas.example.com")
    shop.function("add", lambda a, b: a + b, gateway=faas)
    assert builder.sync_from_name("add", faas)(1, 2) == 3


def test_a_mirror_falls_back_where_the_fake_is_unreachable_and_not_where_it_is_missing(shop):
    def double(number):
        return 2 * number

    mirrored = builder.mirror_in_faas(double, FaasConnection.named("shop"), fallback=True)
    assert mirrored(2) == 4
    shop.function("double", gateway="shop", error=GatewayUnreachable)
    with pytest.warns(Warning, match="double"):
        assert mirrored(3) == 6
    assert (mirrored.counts.remote, mirrored.counts.fell_back) == (1, 1)
    elsewhere = builder.mirror_in_faas(double, FaasConnection("elsewhere.invalid"), fallback=True)
    with pytest.raises(NotFaked):
        elsewhere(2)
