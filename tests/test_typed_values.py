"""A stub's annotations: what arguments they take, what travels, and what becomes of results."""

from __future__ import annotations

import copy
import datetime as dt
import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NotRequired,
    Optional,
    Protocol,
    TypedDict,
    TypeVar,
    Union,
)
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from away.typed_values import Misfit, StubTypes, as_json
from away.typed_values.reading import Reader

T = TypeVar("T")
K = TypeVar("K")


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Right(enum.Flag):
    READ = 1
    WRITE = 2


@dataclass
class Point:
    x: float
    y: float = 0.0
    tags: list[str] = field(default_factory=list)


@dataclass
class Named:
    name: str
    date: dt.date | None = None


@dataclass
class Tree:
    value: int
    children: list[Tree] = field(default_factory=list)


@dataclass
class Positive:
    n: int

    def __post_init__(self):
        if self.n < 1:
            raise ValueError("n has to be positive")


@dataclass
class Box(Generic[T]):
    item: T


@dataclass
class Crate(Box[K]):
    more: list[K]


class Span(NamedTuple):
    start: dt.date
    days: int = 1


class Movie(TypedDict):
    title: str
    year: NotRequired[int]


class Cat(TypedDict):
    kind: Literal["cat"]
    lives: int


class Dog(TypedDict):
    kind: Literal["dog"]
    bark: str


class HasName(Protocol):
    name: str


def reader():
    return Reader(globals())


DAY = dt.date(2026, 1, 2)
MOMENT = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
ID = UUID("12345678-1234-5678-1234-567812345678")

# annotation, value, what travels, further forms in which the value may come
ROUND = [
    (Point, Point(1.5, 2.0, ["a"]), {"x": 1.5, "y": 2.0, "tags": ["a"]}, [{"x": 1.5, "y": 2, "tags": ["a"], "z": 0}]),
    (Color, Color.RED, "red", []),
    (Level, Level.HIGH, 2, []),
    (Right, Right.READ | Right.WRITE, 3, []),
    (dt.datetime, MOMENT, MOMENT, ["2026-01-02T03:04:05Z", "2026-01-02T03:04:05+00:00"]),
    (dt.date, DAY, DAY, ["2026-01-02"]),
    (dt.time, dt.time(3, 4), "03:04:00", []),
    (dt.timedelta, dt.timedelta(days=1, microseconds=1), 86400.000001, []),
    (UUID, ID, str(ID), []),
    (Path, Path("/a/b"), "/a/b", []),
    (Decimal, Decimal("1.10"), "1.10", []),
    (Span, Span(DAY, 3), (DAY, 3), [["2026-01-02", 3], {"start": "2026-01-02", "days": 3}]),
    (Movie, {"title": "M", "year": 1931}, {"title": "M", "year": 1931}, []),
    (Optional[Point], None, None, []),  # noqa: UP045
    (Point | None, Point(1.0), {"x": 1.0, "y": 0.0, "tags": []}, [{"x": 1}]),
    (list[Point], [Point(1.0)], [{"x": 1.0, "y": 0.0, "tags": []}], [[{"x": 1.0}]]),
    (dict[str, Color], {"a": Color.BLUE}, {"a": "blue"}, []),
    (dict[Color, int], {Color.RED: 1}, {"red": 1}, []),
    (tuple[Color, ...], (Color.RED, Color.BLUE), ("red", "blue"), [["red", "blue"]]),
    (tuple[int, Color], (1, Color.RED), (1, "red"), [[1, "red"]]),
    (set[Color], {Color.RED}, {"red"}, [["red"], frozenset({"red"})]),
    (set[Span], {Span(DAY)}, {(DAY, 1)}, [[["2026-01-02", 1]]]),
    (Sequence[Color], [Color.RED], ["red"], []),
    (Mapping[str, Point], {"p": Point(1.0)}, {"p": {"x": 1.0, "y": 0.0, "tags": []}}, []),
    (Tree, Tree(1, [Tree(2)]), {"value": 1, "children": [{"value": 2, "children": []}]}, [{"value": 1, "children": [{"value": 2}]}]),
    (Named, Named("x", DAY), {"name": "x", "date": DAY}, [{"name": "x", "date": "2026-01-02"}]),
    (Point | Named, Named("x"), {"name": "x", "date": None}, [{"name": "x"}]),
    (Box[Color], Box(Color.RED), {"item": "red"}, []),
    (Box[Box[Color]], Box(Box(Color.RED)), {"item": {"item": "red"}}, []),
    (Crate[Color], Crate(Color.RED, [Color.BLUE]), {"item": "red", "more": ["blue"]}, []),
    (Annotated[Color, "of it"], Color.RED, "red", []),
    (Literal["a", Color.RED], Color.RED, "red", []),
    ("list['Point'] | None", [Point(1.0)], [{"x": 1.0, "y": 0.0, "tags": []}], []),
    (str | dt.date, "2026-01-02", "2026-01-02", []),
    (str | dt.date, DAY, DAY, []),
    (int | float, 3, 3, []),
    (list[Color | int], [Color.RED, 3], ["red", 3], []),
]  # fmt: skip


@pytest.mark.parametrize(("annotation", "value", "travels", "forms"), ROUND)
def test_a_value_travels_plainly_and_comes_back_as_what_it_was(annotation, value, travels, forms):
    conversion = reader().read(annotation)
    assert conversion.outgoing(value) == travels
    assert type(conversion.outgoing(value)) is type(travels)
    for form in (travels, *forms):
        came = conversion.incoming(form)
        assert came == value
        assert type(came) is type(value)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (int, True),
        (float, 3),
        (complex, 1.5),
        (object, object()),
        (Any, object()),
        (Sequence[int], (1, 2)),
        (Sequence[str], "text"),
        (Iterable[int], range(3)),
        (Mapping[str, int], {"a": 1}),
        (list, [object()]),
        (T, object()),
        (list[T], [object()]),
        ("NotDefinedAnywhere", object()),
        ("1 / 0", object()),
        (HasName, object()),
        (type[int], int),
        ("Point | NotDefinedAnywhere", 3),
        (list["NotDefinedAnywhere"], [1]),  # noqa: F821
    ],
)  # fmt: skip
def test_the_language_is_as_lenient_as_typing_has_it(annotation, value):
    conversion = reader().read(annotation)
    assert conversion is None or conversion.outgoing(value) is value


@pytest.mark.parametrize(
    ("annotation", "value", "path", "expected", "given"),
    [
        (int, "3", "", "int", "'3' (str)"),
        (bool, 1, "", "bool", "1 (int)"),
        (str, b"x", "", "str", "bytes"),
        (float, "1.0", "", "float", "'1.0' (str)"),
        (list[int], [1, "2"], "[1]", "int", "'2' (str)"),
        (list[Point], [{"x": 1}], "[0]", "Point", "dict"),
        (dict[str, list[int]], {"a": [1, None]}, "['a'][1]", "int", "None"),
        (dict[str, int], {1: 1}, " key 1 (int)", "str", "1 (int)"),
        (tuple[int, str], (1,), "", "tuple[int, str]", "tuple of 1"),
        (Point, Point("one"), ".x", "float", "'one' (str)"),
        (Point, Point(1, tags=["a", 2]), ".tags[1]", "str", "2 (int)"),
        (Color, "red", "", "Color", "'red' (str)"),
        (Movie, {"year": 1}, "['title']", "str", "nothing"),
        (
            Movie,
            {"title": "M", "yeer": 1},
            "",
            "Movie",
            "a dict with the key 'yeer', which Movie has not",
        ),
        (Cat | Dog, {"kind": "dog"}, "['bark']", "str", "nothing"),
        (Cat | Dog, {"kind": "fish"}, "['kind']", "one of 'cat', 'dog'", "'fish' (str)"),
        (Cat | Dog, {"kind": "cat", "lives": "9"}, "['lives']", "int", "'9' (str)"),
        (Cat | Dog | None, 3, "", "Cat | Dog | None", "3 (int)"),
        (list[int] | list[str], [1.5], "[0]", "int | str", "1.5 (float)"),
        (Optional[Point], Point("one"), ".x", "float", "'one' (str)"),  # noqa: UP045
        (int | str, None, "", "int | str", "None"),
        (Literal["a", 1], True, "", "one of 'a', 1", "True (bool)"),
        (dt.date, "2026-01-02", "", "date", "'2026-01-02' (str)"),
        (dt.date, MOMENT, "", "date", "datetime"),
    ],
)
def test_an_argument_that_does_not_fit_is_found(annotation, value, path, expected, given):
    conversion = reader().read(annotation)
    with pytest.raises(Misfit) as raised:
        conversion.outgoing(value)
    assert "".join(raised.value.path) == path
    assert (raised.value.expected, raised.value.given) == (expected, given)


@pytest.mark.parametrize(
    ("annotation", "value", "path", "expected"),
    [
        (int, "3", "", "int"),
        (Point, {"y": 1.0}, ".x", "float"),
        (Point, {"x": "1"}, ".x", "float"),
        (Point, [1, 2], "", "Point"),
        (list[Point], [{"x": 1.0}, {"x": None}], "[1].x", "float"),
        (Color, "green", "", "Color"),
        (Level, True, "", "Level"),
        (Level, 7, "", "Level"),
        (dt.datetime, "yesterday", "", "datetime"),
        (dt.timedelta, float("inf"), "", "timedelta"),
        (Decimal, "1,5", "", "Decimal"),
        (UUID, "1234", "", "UUID"),
        (Span, ["2026-01-02", 1, 2], "", "Span"),
        (Span, [], ".start", "date"),
        (Span, ["2026-01-02", "1"], ".days", "int"),
        (set[str], [[]], "[0]", "str"),
        (Positive, {"n": 0}, "", "Positive"),
        (Union[Point, Named], {"x": "1", "name": 2}, "", "Point | Named"),  # noqa: UP007
        (Cat | Dog, {"kind": "dog"}, "['bark']", "str"),
        (Cat | Dog, {"kind": "fish", "bark": "w"}, "['kind']", "one of 'dog'"),
        (dict[int, str], {"1": "a"}, " key '1' (str)", "int"),
        (Tree, {"value": 1, "children": [{"value": "2"}]}, ".children[0].value", "int"),
    ],
)
def test_a_result_that_does_not_fit_is_found(annotation, value, path, expected):
    with pytest.raises(Misfit) as raised:
        reader().read(annotation).incoming(value)
    assert ("".join(raised.value.path), raised.value.expected) == (path, expected)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3) | st.sampled_from(["x", "name", "value"]), inner)
    ),
    max_leaves=8,
)


@given(plain, st.sampled_from([each[0] for each in ROUND]))
def test_whatever_comes_it_fits_or_is_a_misfit(value, annotation):
    conversion = reader().read(annotation)
    before = copy.deepcopy(value)
    try:
        made = conversion.incoming(value)
    except Misfit:
        pass
    else:
        # What came of it is of the type: it can be sent.
        conversion.outgoing(made)
    assert value == before


def test_an_integer_beyond_all_texts_is_named_by_its_type_alone():
    huge = 10**5000
    assert reader().read(int).outgoing(huge) is huge
    with pytest.raises(Misfit) as raised:
        reader().read(str).outgoing(huge)
    assert raised.value.given == "int"
    with pytest.raises(Misfit):
        reader().read(float).incoming(huge)


def test_a_result_nested_deeper_than_python_goes_is_refused():
    deep = {"value": 1, "children": []}
    for _ in range(3000):
        deep = {"value": 1, "children": [deep]}
    types = StubTypes("f", (), {"return": Tree}, lambda: [globals()])
    with pytest.raises(Misfit, match="too deep"):
        types.result(deep)


def test_json_has_dates_as_texts_and_tuples_as_lists():
    value = {"when": (DAY, {MOMENT}), DAY: 1}
    assert as_json(value) == {"when": ["2026-01-02", [MOMENT.isoformat()]], "2026-01-02": 1}
