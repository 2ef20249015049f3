"""What a user writes, as the README shows it, against the embedded gateway."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import pydoc
import sys

import pytest

import away
from away import FaasConnection, builder, protocol
from away.exceptions import CannotTravel, ConfigError, FunctionNotFound, GatewayError, UnsafeWarning


@pytest.fixture
def published(faas):
    @builder.publish(faas, verbose=False, name="fibonacci")
    def fibonacci(n: int) -> int:
        """Give the n-th Fibonacci number."""
        a, b = 0, 1
        for _ in range(n):
            a, b = b, a + b
        return a

    return fibonacci


@pytest.fixture
def commands(faas):
    """Functions that Away did not build: a command that runs once a request."""
    for name, command in {"cat": "cat", "shasum": "sha256sum", "env": "env"}.items():
        try:
            faas.function(name)
        except FunctionNotFound:
            faas.deploy({"service": name, "image": "process", "envProcess": command})


def test_a_connection_is_made_from_host_port_user_and_password():
    faas = FaasConnection("my-faas-server.com", port=8080, user="admin", password="1234")
    assert (faas.url, faas.user, faas.password) == (
        "http://my-faas-server.com:8080",
        "admin",
        "1234",
    )
    assert "1234" not in repr(faas)
    assert FaasConnection(password=1234).password == "1234"


def test_an_explicit_stub_calls_the_function_and_never_runs_its_body(faas, published):
    @builder.faas_function(faas)
    def fibonacci(n):
        raise AssertionError("the body of a stub ran")

    assert fibonacci(10) == 55


def test_an_explicit_async_stub_is_a_coroutine_function(faas, published):
    @builder.faas_function(faas)
    async def fibonacci(n):
        pass

    assert inspect.iscoroutinefunction(fibonacci)
    assert asyncio.iscoroutinefunction(fibonacci)
    assert asyncio.run(fibonacci(10)) == 55


def test_functions_are_made_from_names(faas, published):
    assert builder.sync_from_faas_str("fibonacci", faas)(10) == 55
    assert asyncio.run(builder.async_from_faas_str("fibonacci", faas)(10)) == 55
    assert builder.sync_from_name is builder.sync_from_faas_str
    assert builder.async_from_name is builder.async_from_faas_str


def test_packers_of_the_protocol_and_of_ones_own(faas, published, commands):
    pack = protocol.make_client_pack_args_fn(safe_args=True)
    unpack = protocol.make_client_unpack_args_fn(safe_args=True)

    @builder.faas_function(faas, pack_args=pack, unpack_args=unpack)
    def fibonacci(n): ...

    assert fibonacci(10) == 55

    seen = []

    def own_pack(args):
        seen.append(tuple(args))
        return "|".join(map(str, args))

    @builder.faas_function(faas, pack_args=own_pack, unpack_args=lambda text: text.split("|"))
    def cat(a, b, c="é"): ...

    assert cat(1, b=2) == ["1", "2", "é"]
    assert seen == [(1, 2, "é")]


def test_packers_beside_keyword_only_parameters_are_refused_at_the_decoration(faas):
    with pytest.raises(ConfigError, match="parameter 'c'"):

        @builder.faas_function(faas, pack_args=str)
        def cat(a, *, c): ...

    with pytest.raises(ConfigError, match="parameter 'rest'"):

        @builder.faas_function(faas, pack_args=str)
        def cat2(a, **rest): ...


def test_without_implicit_handling_the_status_comes_back_and_none_raises(faas, published):
    @builder.faas_function(faas, implicit_exception_handling=False)
    def fibonacci(n): ...

    assert fibonacci(10) == (55, 200)
    value, status = fibonacci("ten")
    assert status == 500
    assert "TypeError" in value

    missing = builder.sync_from_name("nothing-here", faas, implicit_exception_handling=False)
    value, status = missing(1)
    assert status == 404
    assert "nothing-here" in value


def test_publish_leaves_a_proxy_of_the_same_kind(faas):
    @builder.publish(faas, verbose=False)
    def sum_two_numbers(A, B):
        return A + B

    @builder.publish(faas, verbose=False)
    async def sum_all_numbers(l):  # noqa: E741 - as the original's README has it
        res = 0
        for n in l:
            res = res + n
        return res

    assert sum_two_numbers(1, 2) == 3
    assert sum_two_numbers(B=1, A=2) == 3
    assert asyncio.run(sum_all_numbers([1, 2, 3, 4])) == 10
    assert "sum-two-numbers" in faas.get_faas_functions()
    with pytest.raises(TypeError, match=r"missing 1 required positional argument: 'B'"):
        sum_two_numbers(1)


def test_mirror_keeps_the_local_function_local(faas):
    secret = 123

    def add_secret(n):
        return n + secret

    far = builder.mirror_in_faas(add_secret, faas, verbose=False)
    assert add_secret(1) == 124
    assert far(1) == 124
    assert inspect.isfunction(add_secret)


def test_unsafe_arguments_travel_where_both_sides_opted_in(faas, monkeypatch):
    with pytest.warns(UnsafeWarning, match="run code"):

        @builder.publish(faas, safe_args=False, verbose=False)
        def use_unsafe_arg(rang):
            return sum(rang)

    assert use_unsafe_arg(range(10)) == 45
    safe = builder.sync_from_name("use-unsafe-arg", faas)
    with pytest.raises(CannotTravel, match="range"):
        safe(range(10))
    assert safe([1, 2]) == 3

    # What a gateway says of a function is not the user's word.
    monkeypatch.setenv("AWAY_GATEWAY_UNSAFE_URL", faas.url)
    monkeypatch.setenv("AWAY_GATEWAY_UNSAFE_USER", faas.user)
    monkeypatch.setenv("AWAY_GATEWAY_UNSAFE_PASSWORD", faas.password)
    from away.remote.unsafe import use_unsafe_arg as imported

    way = r"send list\(…\) or call use_unsafe_arg\.options\(safe_args=False\), with which whoever"
    with pytest.raises(CannotTravel, match=way) as refused:
        imported(range(10))
    assert refused.value.path == "rang"
    with pytest.raises(CannotTravel, match=way):
        list(imported.map([range(10)]))
    assert imported.options(safe_args=False)(range(10)) == 45
    assert builder.sync_from_name("use_unsafe_arg", faas, safe_args=False)(range(10)) == 45


def test_functions_are_imported_from_a_configured_gateway(faas, published, monkeypatch):
    monkeypatch.setenv("AWAY_GATEWAY_MYFAAS_URL", faas.url)
    monkeypatch.setenv("AWAY_GATEWAY_MYFAAS_USER", faas.user)
    monkeypatch.setenv("AWAY_GATEWAY_MYFAAS_PASSWORD", faas.password)
    for name in [name for name in sys.modules if name.startswith("away.remote.")]:
        del sys.modules[name]
    importlib.invalidate_caches()

    from away.remote.myfaas import fibonacci

    assert fibonacci(10) == 55

    import away.remote.myfaas as m

    assert m.fibonacci(10) == 55
    assert "fibonacci" in dir(m)
    assert "n-th Fibonacci" in pydoc.render_doc(m.fibonacci, renderer=pydoc.plaintext)
    assert str(inspect.signature(m.fibonacci)) == "(n: int) -> int"
    assert FaasConnection.named("myfaas").url == faas.url


def test_publish_without_a_connection_takes_the_default_gateway(faas, request):
    request.addfinalizer(lambda: away.config.forget("default"))
    away.configure("default", url=faas.url, user=faas.user, password=faas.password)

    @builder.publish
    def to_the_default(n):
        return n + 1

    assert to_the_default(1) == 2
    assert to_the_default.connection.url == faas.url


def test_stubs_with_the_protocol_of_2023(faas, published):
    @builder.faas_function_with_protocol(faas)
    def fibonacci(n): ...

    assert fibonacci(10) == 55
    assert builder.sync_from_name_with_protocol("fibonacci", faas)(10) == 55
    assert asyncio.run(builder.async_from_name_with_protocol("fibonacci", faas)(10)) == 55


# ---------------------------------------------------------------- stubs without packers


@pytest.mark.parametrize(
    ("argument", "answer"),
    [
        pytest.param("text é", "text é", id="str"),
        pytest.param(b"\x00\xff", b"\x00\xff", id="bytes"),
        pytest.param({"a": [1, None, True, 2.5]}, {"a": [1, None, True, 2.5]}, id="JSON"),
        pytest.param(5, 5, id="int"),
        pytest.param("", "", id="empty"),
    ],
)
def test_one_argument_goes_as_it_is_and_the_answer_by_its_type(faas, commands, argument, answer):
    cat = builder.sync_from_name("cat", faas)
    assert cat(argument) == answer
    assert type(cat(argument)) is type(answer)


def test_an_answer_that_says_json_and_is_not_comes_back_as_text(faas, commands):
    assert builder.sync_from_name("shasum", faas)({"a": 1}).endswith("-\n")


def test_a_return_annotation_is_honoured(faas, commands):
    @builder.faas_function(faas)
    def cat(x) -> str: ...

    assert cat([1, 2]) == "[1, 2]"

    @builder.faas_function(faas, name="cat")
    def number(x) -> float: ...

    assert number("2.5") == 2.5

    @builder.faas_function(faas, name="cat")
    def raw(x) -> bytes: ...

    assert raw("é") == "é".encode()

    @builder.faas_function(faas, name="cat")
    def yes(x) -> bool: ...

    assert yes("true") is True
    with pytest.raises(away.exceptions.ProtocolMismatch, match="not the bool"):
        yes("maybe")


def test_several_arguments_to_a_foreign_function_say_how_to_pack_them(faas, commands):
    cat = builder.sync_from_name("cat", faas)
    with pytest.raises(CannotTravel, match="pass pack_args= and unpack_args="):
        cat(1, 2)
    with pytest.raises(CannotTravel, match="keyword 'x'"):
        cat(x=1)
    with pytest.raises(CannotTravel, match="a tuple"):
        cat((1, 2))


def test_several_arguments_to_a_published_function_need_no_packers(faas):
    @builder.publish(faas, verbose=False)
    def joined(a, b, sep="-"):
        return f"{a}{sep}{b}"

    by_name = builder.sync_from_name("joined", faas)
    assert by_name(1, 2, sep="+") == "1+2"
    assert str(inspect.signature(by_name)) == "(a, b, sep='-')"
    with pytest.raises(TypeError, match="unexpected keyword argument 'nope'"):
        by_name(1, 2, nope=3)


def test_a_status_of_a_foreign_function_is_a_gateway_error(faas, commands):
    missing = builder.sync_from_name("shassum", faas)
    with pytest.raises(FunctionNotFound, match="shasum"):
        missing("x")
    faas.deploy({"service": "fails", "image": "process", "envProcess": "false"})
    with pytest.raises(GatewayError, match="500"):
        builder.sync_from_name("fails", faas)("x")
