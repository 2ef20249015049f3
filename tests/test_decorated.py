"""Decorated stubs: their annotations at work, and stubs in the bodies of classes."""

from __future__ import annotations

import asyncio
import datetime as dt
import enum
import functools
import gc
import inspect
import json
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

import away.gateway
from away import FaasConnection, RemoteFunction, builder, protocol
from away.exceptions import AwayError, CannotTravel, ProtocolMismatch, ResultMismatch
from away.signatures import Description, to_annotations
from tests import servers

NOWHERE = FaasConnection("http://127.0.0.1:9", password="decorated-nowhere")


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Point:
    x: float
    y: float = 0.0


class Level(enum.Enum):
    LOW = 1


@dataclass
class Bill:
    total: Decimal
    rate: float


@builder.faas_function(NOWHERE)
def at_module_level(p: Point) -> Point: ...


def envelope(value):
    body = protocol.pack_value(value)
    headers = {
        "Content-Type": protocol.CONTENT_TYPE,
        protocol.PROTOCOL_HEADER: protocol.PROTOCOL_VERSION,
        protocol.LENGTH_HEADER: str(len(body)),
    }
    return servers.answer(200, body, headers)


def published(answer):
    """Behave as Away's runtime whose function is ``answer``."""

    def behave(seen):
        if seen.method == "GET":  # a call of two arguments: what is the function?
            name = seen.path.rpartition("/")[2].partition("?")[0]
            return servers.json({"name": name, "annotations": to_annotations(Description())})
        if "x-away-stub" in seen.headers:
            return servers.answer(415, b"by protocol", {protocol.PROTOCOL_HEADER: "1"})
        call = protocol.read_call(seen.body, allow_unsafe=False)
        return envelope(answer(*call.args, **call.kwargs))

    return behave


def echo_json(seen):
    return servers.answer(200, seen.body, {"Content-Type": "application/json"})


def connected(server):
    return FaasConnection(server.url, password="decorated-sesame")


# ---------------------------------------------------------------- annotations at work


def test_a_wrong_argument_is_refused_before_anything_is_sent():
    with servers.Server(echo_json) as server:
        faas = connected(server)

        @builder.faas_function(faas)
        def place(points: list[Point], color: Color = Color.RED, *rest: int, **more: str): ...

        @builder.faas_function(faas)
        async def later(n: int) -> int: ...

        wrong = {
            "place() argument 'points' must be list[Point], not 'x' (str)": ("x",),
            "place() argument 'points'[1].x must be float, not None": ([Point(1), Point(None)],),
            "place() argument 'color' must be Color, not 'red' (str)": ([], "red"),
            "place() argument 'rest' must be int, not 2.5 (float)": ([], Color.RED, 1, 2.5),
        }
        for text, args in wrong.items():
            with pytest.raises(TypeError) as raised:
                place(*args)
            assert str(raised.value) == text
        with pytest.raises(TypeError, match="argument 'why' must be str, not 1"):
            place([], why=1)
        with pytest.raises(TypeError, match="argument 'n' must be int"):
            later("1")  # at the call: nothing needs to be awaited
        with pytest.raises(TypeError, match="argument 'n' must be int"):
            later.submit("1").result(5)
        with pytest.raises(TypeError, match="missing 1 required positional argument"):
            place()
        assert server.requests == []


def test_a_function_of_others_is_sent_json_and_its_json_becomes_what_the_stub_says():
    with servers.Server(echo_json) as server:
        faas = connected(server)

        @builder.faas_function(faas)
        def echo(value: dict[str, tuple[Point, dt.date] | None]) -> dict[str, tuple[Point, dt.date] | None]: ...  # fmt: skip

        value = {"a": (Point(1.0, 2.0), dt.date(2026, 1, 2)), "b": None}
        assert echo(value) == value
        (seen,) = server.requests
    assert json.loads(seen.body) == {"a": [{"x": 1.0, "y": 2.0}, "2026-01-02"], "b": None}


@pytest.mark.parametrize(
    ("content_type", "body", "value"),
    [
        ("application/json", b'{"x": 1}', Point(1.0)),
        ("text/plain", b' {"x": 1}\n', Point(1.0)),
        ("", b'{"x": 1}', Point(1.0)),
        ("text/plain", b"", None),
        ("application/json", b"null", None),
    ],
)
def test_an_answer_is_read_as_json_whatever_it_says_to_be(content_type, body, value):
    with servers.Server(servers.answer(200, body, {"Content-Type": content_type})) as server:

        @builder.faas_function(connected(server))
        def origin() -> Point | None: ...

        assert origin() == value


def test_plain_return_types_are_read_as_ever():
    with servers.Server(servers.answer(200, b" 55\n", {"Content-Type": "text/plain"})) as server:
        faas = connected(server)

        def number() -> int: ...
        def text() -> str: ...
        def raw() -> bytes: ...
        def anything(): ...
        def maybe() -> int | None: ...

        stubs = [builder.faas_function(faas)(f) for f in (number, text, raw, anything, maybe)]
        assert [stub() for stub in stubs] == [55, " 55\n", b" 55\n", " 55\n", 55]


def test_a_decimal_keeps_its_digits_and_other_numbers_are_as_ever():
    digits = "12345678901234567.89"
    body = f'[{{"total": {digits}, "rate": 0.25}}, {digits}, {{"a": {digits}}}]'.encode()

    def behave(seen):
        answer = seen.body if "echo" in seen.path else body
        kind = "text/plain" if "unnamed" in seen.path else "application/json"
        return servers.answer(200, answer, {"Content-Type": kind})

    with servers.Server(behave) as server:
        faas = connected(server)

        @builder.faas_function(faas)
        def echo(total: Decimal) -> Decimal: ...

        @builder.faas_function(faas)
        def stated() -> tuple[Bill, float, dict[str, Any]]: ...

        @builder.faas_function(faas)
        def unnamed() -> tuple[Bill, float, dict[str, Any]]: ...

        # One argument goes as its digits, which are a number wherever they are taken for JSON.
        assert echo(Decimal(digits)) == Decimal(digits)
        assert server.requests[0].body == digits.encode()
        for stub in (stated, stated, unnamed):
            bill, number, free = stub()
            assert bill == Bill(Decimal(digits), 0.25)
            assert type(bill.rate) is type(number) is type(free["a"]) is float
            assert number == free["a"] == float(digits)


def test_keys_that_a_stub_annotates_travel_as_texts_and_come_back():
    with servers.Server(echo_json) as server:
        faas = connected(server)

        @builder.faas_function(faas)
        def by_number(value: dict[int, Point]) -> dict[int, Point]: ...

        @builder.faas_function(faas)
        def by_other(value: list[dict[Level | bool | dt.date, int]]) -> list[dict[Level | bool | dt.date, int]]: ...  # fmt: skip

        assert by_number({1: Point(2.0)}) == {1: Point(2.0)}
        value = [{Level.LOW: 1, False: 2, dt.date(2026, 1, 2): 3}]
        assert by_other(value) == value
        first, second = (json.loads(seen.body) for seen in server.requests)
    assert first == {"1": {"x": 2.0, "y": 0.0}}
    assert second == [{"1": 1, "false": 2, "2026-01-02": 3}]


def test_what_has_no_plain_form_is_named():
    @builder.faas_function(FaasConnection("http://127.0.0.1:9"))
    def f(value: Any, *more: Any) -> Any: ...

    for args, text in [
        (({1: 2},), "JSON's keys are texts, not int: annotate the stub's dict as dict[int, …]"),
        (([float("nan")],), "a list, which has no plain form (nan is no number to JSON)"),
        ((1, 2), "was given 2 arguments, which have no plain form, and"),
    ]:
        with pytest.raises(CannotTravel) as raised:
            f(*args)
        assert text in str(raised.value)


def test_a_plain_answer_that_is_not_the_result_says_so():
    with servers.Server(servers.answer(200, b"hello", {"Content-Type": "text/plain"})) as server:
        faas = connected(server)

        def number() -> int: ...
        def nothing() -> None: ...
        def listed() -> list: ...

        for stub in (number, nothing, listed):
            with pytest.raises(ResultMismatch, match="answered 'hello'"):
                builder.faas_function(faas)(stub)()
    with servers.Server(servers.answer(200, b"\n", {"Content-Type": "text/plain"})) as server:
        assert builder.faas_function(connected(server))(nothing)() is None


def test_a_published_function_is_sent_plain_values_and_dates_as_they_are():
    got = []

    def remote(p, when, colors=()):
        got.append((p, when, colors))
        return [{"x": p["x"] + 1}, {"x": 0, "y": 0.5}]

    with servers.Server(published(remote)) as server:

        @builder.faas_function(connected(server))
        def moved(p: Point, when: dt.date, *, colors: set[Color]) -> list[Point]: ...

        day = dt.date(2026, 1, 2)
        assert moved(Point(1), day, colors={Color.RED}) == [Point(2.0), Point(0.0, 0.5)]
        assert moved.options(timeout=9)(Point(1), when=day, colors=set())[0] == Point(2.0)
    assert got[0] == ({"x": 1, "y": 0.0}, day, {"red"})


def test_a_result_that_does_not_fit_says_where():
    with servers.Server(published(lambda: [{"x": 1.0}, {"x": "one"}])) as server:
        faas = connected(server)

        @builder.faas_function(faas)
        def points() -> list[Point]: ...

        with pytest.raises(ResultMismatch) as raised:
            points()
        error = raised.value
        assert f"`points` on {server.url} answered 'one' (str) at result[1].x" in str(error)
        assert "the stub's annotations say float; correct the annotation" in str(error)
        assert (error.path, error.expected, error.given) == ("[1].x", "float", "'one' (str)")
        assert isinstance(error, ProtocolMismatch)
        assert isinstance(error, AwayError)
        assert error.function == "points"
        assert pickle.loads(pickle.dumps(error)).path == "[1].x"

        @builder.faas_function(faas, name="points", implicit_exception_handling=False)
        def stated() -> list[dict[str, float | str]]: ...

        assert stated() == ([{"x": 1.0}, {"x": "one"}], 200)


def test_what_others_answer_is_no_trap_for_a_terminal():
    with servers.Server(published(lambda: "\x1b[31m\u202ered")) as server:

        @builder.faas_function(connected(server))
        def number() -> int: ...

        with pytest.raises(ResultMismatch) as raised:
            number()
        assert str(raised.value).isprintable()


def test_packers_see_what_the_user_passed():
    seen = []

    def pack(args):
        seen.append(tuple(args))
        return "packed"

    with servers.Server(echo_json) as server:

        @builder.faas_function(connected(server), pack_args=pack, unpack_args=str.upper)
        def place(p: Point, color: Color = Color.BLUE) -> Point: ...

        assert place(Point(1)) == "PACKED"
        with pytest.raises(TypeError, match="argument 'p' must be Point"):
            place({"x": 1})
    assert seen == [(Point(1), Color.BLUE)]


def test_the_older_protocol_has_defaults_that_travel_too():
    def behave(seen):
        body = protocol.make_client_pack_args_fn(safe_args=True)([{"x": 3.0}])
        return servers.answer(200, body.encode())

    with servers.Server(behave) as server:

        @builder.faas_function_with_protocol(connected(server))
        def place(p: Point, color: Color = Color.BLUE) -> list[Point]: ...

        assert place(Point(1)) == [Point(3.0)]
        assert b"blue" in server.requests[0].body


def test_items_of_a_generator_are_of_its_type():
    with servers.Server(published(lambda: [{"x": 1}, {"x": 2}])) as server:
        faas = connected(server)

        @builder.faas_function(faas)
        def walk() -> Iterator[Point]:
            yield

        @builder.faas_function(faas)
        async def one() -> list[Point]: ...

        assert next(walk()) == Point(1.0)
        assert asyncio.run(one())[1] == Point(2.0)


def test_names_are_looked_up_at_the_first_call_where_the_stub_stands():
    @dataclass
    class Local:
        n: int

    with servers.Server(published(lambda *args: {"n": 1})) as server:
        faas = connected(server)

        @builder.faas_function(faas)
        def of_a_function(value: Local) -> Local: ...

        @builder.faas_function(faas)
        def further_down(value: DefinedBelow) -> NotDefinedAnywhere: ...  # noqa: F821

        assert of_a_function(Local(1)) == Local(1)
        with pytest.raises(TypeError, match="argument 'value' must be Local, not dict"):
            of_a_function({"n": 1})
        assert further_down(DefinedBelow(1)) == {"n": 1}
        with pytest.raises(TypeError, match="must be DefinedBelow"):
            further_down(1)


@dataclass
class DefinedBelow:
    n: int


def test_another_process_reads_the_annotations_of_its_own_stub():
    code = f"""
import pickle, tests.test_decorated as own
found = pickle.loads({pickle.dumps(at_module_level)!r})
assert found is not own.at_module_level
again = pickle.loads(pickle.dumps(found))
assert again._caller.types.types is own.at_module_level._caller.types.types
found(1)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.stderr.endswith("argument 'p' must be Point, not 1 (int)\n")

    @builder.faas_function(NOWHERE)
    def within(p: Point): ...

    data = pickle.dumps(within)
    del within
    gc.collect()
    assert pickle.loads(data)._caller.types is None


def test_an_imported_function_has_texts_for_annotations_and_checks_nothing():
    described = builder.signatures.describe(at_module_level.local)
    with servers.Server(published(lambda p: p)) as server:
        imported = RemoteFunction(connected(server), "f", description=described)
        assert imported({"x": 1}) == {"x": 1}


@pytest.mark.skipif(sys.version_info < (3, 12), reason="PEP 695 is Python 3.12's")
def test_aliases_and_type_parameters_of_newer_pythons_are_known():
    scope = {"Point": Point}
    source = """
    type Points[T] = list[T] | None
    type Anyhow = dict[str, Anyhow] | Point
    def stub[T: int](points: Points[Point], other: T, tree: Anyhow = None) -> "Points[Point]": ...
    """
    exec(textwrap.dedent(source), scope)
    with servers.Server(published(lambda *args: args[0])) as server:
        stub = builder.faas_function(connected(server))(scope["stub"])
        assert stub([Point(1.0)], "not looked at", {"a": {"b": Point(1)}}) == [Point(1.0)]
        with pytest.raises(TypeError, match=r"argument 'points'\[0\] must be Point, not 1"):
            stub([1], 1)
        with pytest.raises(TypeError, match=r"argument 'tree'\['a'\]"):
            stub([], 1, {"a": 1})


# ---------------------------------------------------------------- stubs in classes


@pytest.fixture
def calculator():
    with servers.Server(
        published(lambda *args, **kwargs: sum(args) + sum(kwargs.values()))
    ) as server:
        faas = connected(server)

        class Calculator:
            @builder.faas_function(faas)
            def add(self, a: int, b: int = 0) -> int:
                """Add two numbers."""

            @builder.faas_function(faas)
            async def later(self, a: int) -> int: ...

            @staticmethod
            @builder.faas_function(faas)
            def outside(a: int, b: int) -> int: ...

            @builder.faas_function(faas)
            @staticmethod
            def inside(a: int, b: int) -> int: ...

            @classmethod
            @builder.faas_function(faas)
            def of_class(cls, a: int) -> int: ...

            @builder.faas_function(faas)
            @classmethod
            def of_class_too(cls, a: int) -> int: ...

            @builder.faas_function_with_protocol(faas)
            def listed(self, a: int) -> int: ...

        yield Calculator


@pytest.mark.parametrize("get", [lambda kind: kind, lambda kind: kind()], ids=["class", "instance"])
@pytest.mark.parametrize("name", ["outside", "inside", "of_class", "of_class_too"])
def test_what_is_bound_to_a_class_takes_and_sends_only_the_rest(calculator, get, name):
    function = getattr(get(calculator), name)
    args = (1, 2) if "side" in name else (3,)
    assert function(*args) == 3
    with pytest.raises(TypeError, match=f"{name}\\(\\) argument 'a' must be int"):
        function("1", *args[1:])
    with pytest.raises(TypeError, match="positional argument"):
        function(*args, 1)


def test_a_method_sends_everything_but_its_instance(calculator):
    one = calculator()
    assert one.add(1, 2) == 3
    assert one.add(a=1) == 1
    assert one.listed(4) == 4
    assert calculator.add(one, 1, b=2) == 3
    assert asyncio.run(one.later(4)) == 4
    with pytest.raises(TypeError, match=r"add\(\) missing 1 required positional argument: 'a'"):
        one.add()
    with pytest.raises(TypeError, match=r"add\(\) argument 'b' must be int"):
        one.add(1, "2")


def test_a_method_is_the_same_object_as_any_remote_function(calculator):
    one = calculator()
    assert isinstance(one.add, RemoteFunction)
    assert list(one.add.map([1, 2, 3])) == [1, 2, 3]
    assert list(calculator.of_class_too.map([1, 2])) == [1, 2]
    assert one.add.submit(1, 2).result(5) == 3
    assert calculator.add.function_name == "add"
    assert pickle.loads(pickle.dumps(one.add))(5) == 5


def test_a_method_looks_as_it_was_written(calculator):
    one = calculator()
    assert str(inspect.signature(calculator.add)) == "(self, a: 'int', b: 'int' = 0) -> 'int'"
    assert str(inspect.signature(one.add)) == "(a: 'int', b: 'int' = 0) -> 'int'"
    for each in (calculator.add, one.add):
        assert each.__name__ == "add"
        assert each.__qualname__.endswith("Calculator.add")
        assert each.__doc__ == "Add two numbers."
        assert each.__module__ == __name__
        assert each.__annotations__ == {"a": "int", "b": "int", "return": "int"}
    assert inspect.iscoroutinefunction(calculator.later)
    assert inspect.iscoroutinefunction(one.later)
    assert inspect.isroutine(calculator.add)
    assert not hasattr(calculator.add, "__wrapped__")
    assert "remote method" in repr(calculator.add)


def test_a_stub_keeps_what_functools_wraps_keeps():
    def stub(a: int) -> int:
        """What it is for."""

    stub.marker, stub.options = "kept", "not ours to take"
    made = builder.faas_function(NOWHERE)(stub)
    for name in functools.WRAPPER_ASSIGNMENTS:
        assert getattr(made, name) == getattr(stub, name)
    assert made.marker == "kept"
    assert callable(made.options)
    assert not hasattr(made, "__wrapped__")


# ---------------------------------------------------------------- for real


def test_a_function_that_away_published_takes_and_gives_the_users_own_types(own_environment):
    with away.gateway.run(announce=False) as faas:

        def moved(point, by=1.0):
            return {**point, "x": point["x"] + by}

        builder.mirror_in_faas(moved, faas)

        @builder.faas_function(faas, name="moved")
        def typed(point: Point, by: float = 1.0) -> Point: ...

        points = [Point(float(i)) for i in range(200)]
        assert typed(points[0]) == Point(1.0)
        assert asyncio.run(typed.aio(points[1], by=2)) == Point(3.0)
        assert list(typed.map(points)) == [Point(each.x + 1) for each in points]
        with pytest.raises(TypeError, match="argument 'point' must be Point"):
            list(typed.map([points[0], {"x": 1}]))
