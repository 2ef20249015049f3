"""What the wire promises: values come back equal and of the same type, and nothing crashes."""

from __future__ import annotations

import base64
import collections
import contextlib
import dataclasses
import decimal
import doctest
import enum
import fractions
import json
import math
import os
import pathlib
import pickle
import subprocess
import sys
import uuid
import zoneinfo
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from time import thread_time

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from away import protocol
from away.exceptions import CannotTravel, ProtocolMismatch
from away.protocol import plain, refusals, remote_errors, values, yaml_text

LOADERS = [yaml.SafeLoader] + ([yaml.CSafeLoader] if yaml.__with_libyaml__ else [])


def examples(count):
    return settings(
        max_examples=count,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


class Zone(tzinfo):
    """A zone that no database has."""

    def utcoffset(self, _):
        return timedelta(hours=1)

    def tzname(self, _):
        return "Somewhere"

    def __str__(self):
        return "Somewhere"


def same(a, b):
    """Tell whether two values are equal and of the same types, all the way down."""
    if type(a) is not type(b):
        return False
    if type(a) is float:
        return (a == b and math.copysign(1, a) == math.copysign(1, b)) or (a != a and b != b)
    if type(a) in (list, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if type(a) is dict:
        return len(a) == len(b) and all(
            same(k, m) and same(v, n) for (k, v), (m, n) in zip(a.items(), b.items(), strict=True)
        )
    if type(a) is set:
        return len(a) == len(b) and same(sorted(a, key=_order), sorted(b, key=_order))
    if type(a) is datetime:
        return a == b and a.fold == b.fold and a.utcoffset() == b.utcoffset()
    return a == b


def _order(value):
    # repr refuses integers of very many digits
    if type(value) is int:
        return f"int {value:x}"
    if type(value) is tuple:
        return f"tuple {list(map(_order, value))}"
    return f"{type(value).__name__} {value!r}"


# --- the values -----------------------------------------------------------------------------------

OFFSETS = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
ODD_OFFSETS = st.integers(-86399, 86399).map(lambda seconds: timezone(timedelta(seconds=seconds)))
TEXT = st.text(st.characters(exclude_categories=()), max_size=12)
ODD_TEXT = st.sampled_from(
    ["$away", "<<", "=", "1e5", ".nan", "~", "null", "yes", "1:30", "2020-01-02", "0x1f", "- a", "# b", "\x7f",
     "\x85", "\u2028\ufeff\uffff", "😀", "a: b", "{", "]", "\\", '"', "\\\"", "\t", "\r\n", "e-1", "1e+5", " "]
)  # fmt: skip
WIDE = st.sampled_from([4299, 4300, 5000]).map(lambda digits: -(10**digits))
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**80), 2**80),
    st.floats(),
    TEXT,
    ODD_TEXT,
    st.binary(max_size=12),
    st.dates(),
    st.datetimes(timezones=st.one_of(st.none(), OFFSETS, ODD_OFFSETS), allow_imaginary=False),
    st.sampled_from([1e16, 1e-7, 1.5e300, -0.0]),
    WIDE,
)
KEYS = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=4)


def trees(scalars, keys, text):
    return st.recursive(
        scalars,
        lambda inner: st.one_of(
            st.lists(inner, max_size=4),
            st.lists(inner, max_size=4).map(tuple),
            st.sets(keys, max_size=4),
            st.dictionaries(keys, inner, max_size=4),
            st.dictionaries(text | ODD_TEXT, inner, max_size=4),
        ),
        max_leaves=25,
    )


VALUES = trees(SCALARS, KEYS, TEXT)


@examples(400)
@given(VALUES)
@example([float("nan"), {"$away": ["tuple"]}, {"a": ("x",)}])
@example({"$away": 1})
@example({(1, (2,)): {1, 2.5, None}})
@example(["\ud800", {"\udfff": 1}, "\ud83d\ude00"])
@example([10**4299, 10**4300, -(10**4300)])
@example([True, 1, 1.0, {True: 1}, {1: True}])
@example(datetime(2020, 10, 25, 2, 30, fold=1))
@example(datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=-1, seconds=-30, microseconds=-5))))
def test_a_value_comes_back_equal_and_of_the_same_type(value):
    answer = protocol.read_answer(protocol.pack_value(value), allow_unsafe=False)
    assert answer.kind == "value"
    assert same(answer.value, value)
    assert same(values.from_wire(values.to_wire(value)), value)
    assert values.travels(value)


@examples(150)
@given(
    st.lists(VALUES, max_size=3), st.dictionaries(st.text() | st.just("$away"), VALUES, max_size=3)
)
@example([], {"$away": (1,)})
@example([(1,)], {})
def test_a_call_comes_back_with_its_arguments(args, kwargs):
    call = protocol.read_call(protocol.pack_call(args, kwargs), allow_unsafe=False)
    assert call.safe
    assert same(call.args, tuple(args))
    assert same(call.kwargs, kwargs)


@examples(100)
@given(st.lists(VALUES, max_size=4))
def test_a_generators_items_come_back(items):
    answer = protocol.read_answer(protocol.pack_items(items), allow_unsafe=False)
    assert answer.kind == "items"
    assert same(answer.value, items)


UNSAFE = st.one_of(
    VALUES,
    st.builds(range, st.integers(0, 9)),
    st.complex_numbers(allow_nan=False),
    st.frozensets(st.integers()),
    st.decimals(allow_nan=False),
    st.uuids(),
    st.fractions(),
)


@examples(60)
@given(st.lists(UNSAFE, max_size=3), st.dictionaries(st.text(), UNSAFE, max_size=2))
def test_an_unsafe_call_and_its_answer_come_back(args, kwargs):
    call = protocol.read_call(protocol.pack_call(args, kwargs, safe=False), allow_unsafe=True)
    assert not call.safe
    assert same(call.args, tuple(args))
    assert same(call.kwargs, kwargs)
    answer = protocol.read_answer(protocol.pack_value(args, safe=False), allow_unsafe=True)
    assert answer.kind == "value"
    assert same(answer.value, args)
    answer = protocol.read_answer(protocol.pack_items(args, safe=False), allow_unsafe=True)
    assert answer.kind == "items"
    assert same(answer.value, args)


def nested(levels, wrap, value=1):
    for _ in range(levels):
        value = wrap(value)
    return value


def from_deep(frames, act):
    return act() if frames == 0 else from_deep(frames - 1, act)


WRAPS = {
    "list": lambda value: [value],
    "tuple": lambda value: (value,),
    "dict": lambda value: {"a": value},
    "dict with an int key": lambda value: {1: value},
    "dict with the reserved key": lambda value: {"$away": value},
    "list and tuple by turns": lambda value: [value] if type(value) is tuple else (value,),
    "list with a large sibling": lambda value: [value, *range(600)],
}


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS.keys())
def test_200_levels_round_trip_from_a_stack_of_200_frames(wrap):
    value = nested(200, wrap)

    def act():
        call = protocol.read_call(protocol.pack_call([value], {"k": value}), allow_unsafe=False)
        answer = protocol.read_answer(protocol.pack_value(value), allow_unsafe=False)
        items = protocol.read_answer(protocol.pack_items([value]), allow_unsafe=False)
        return call.args[0], call.kwargs["k"], answer.value, items.value[0]

    # == would need a stack of its own at these depths
    for read in from_deep(200, act):
        assert depth(read) == 200


@pytest.mark.parametrize("element", [(), "a"], ids=["tuple", "text"])
def test_sets_and_keys_of_200_levels_round_trip(element):
    key = nested(199, lambda value: (value,), element)
    for value in ({key}, {key: 1}):
        if element == "a":
            read = from_deep(
                200,
                lambda value=value: (
                    protocol.read_answer(protocol.pack_value(value), allow_unsafe=False).value
                ),
            )
            assert depth(read) == 200
        else:
            with pytest.raises(CannotTravel, match="nested deeper than 200 levels"):
                protocol.pack_value(value)


def depth(value):
    deepest = 0
    while type(value) in (list, tuple, dict, set):
        deepest += 1
        inner = [*value, *(value.values() if type(value) is dict else ())]
        value = next((v for v in inner if type(v) in (list, tuple, dict, set)), None)
    return deepest


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS.keys())
def test_201_levels_are_refused_by_the_writer(wrap):
    value = nested(201, wrap)
    with pytest.raises(CannotTravel, match="nested deeper than 200 levels"):
        protocol.pack_call([value], {}, names=["x"])
    with pytest.raises(
        CannotTravel,
        match=r"the result of 'f' at .* nested deeper than 200 levels.*; send it flatter",
    ) as caught:
        protocol.pack_value(value, function="f")
    assert caught.value.hint.startswith("send it flatter")
    with pytest.raises(CannotTravel, match="item 1 of 'f' at "):
        protocol.pack_items([1, value], function="f")
    with pytest.raises(CannotTravel, match="the result of 'f' at "):
        protocol.pack_bare(value, function="f")


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 201 + b"]" * 201,
        b'["]", ' * 201 + b"1" + b"]" * 201,
        b'{"a": ' * 201 + b"1" + b"}" * 201,
        b'["\\"]]]", ' * 201 + b"1" + b"]" * 201,
        b'{"$away": ["tuple", ' * 201 + b"1" + b"]}" * 201,
        b'{"$away": ["dict", 1, ' * 201 + b"1" + b"]}" * 201,
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
    ],
    ids=["list", "brackets in text", "dict", "escapes", "tuple", "int keys", "open", "very deep"],
)
def test_201_levels_are_refused_by_the_reader(body):
    with pytest.raises(ProtocolMismatch):
        protocol.read_answer(b'{"items": [' + body + b"]}", allow_unsafe=False)
    with pytest.raises(ProtocolMismatch):
        protocol.read_answer(b'{"value": ' + body + b"}", allow_unsafe=False)
    with pytest.raises(ProtocolMismatch):
        protocol.read_call(b'{"args": [' + body + b'], "kwargs": {}}', allow_unsafe=False)
    with pytest.raises(ProtocolMismatch):
        protocol.read_bare(body.decode().replace("$away", "b"))


@examples(300)
@given(
    st.recursive(
        st.text('[]{}"\\a', max_size=6) | st.integers(0, 9),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text('[]{}"\\a', max_size=4), inner)
        ),
        max_leaves=15,
    )
)
def test_the_depth_of_a_text_is_that_of_its_value(value):
    def deep(v):
        if type(v) is list:
            return 1 + max(map(deep, v), default=0)
        if type(v) is dict:
            return 1 + max(map(deep, v.values()), default=0)
        return 0

    text = json.dumps(value).encode()
    assert not values.text_is_deeper(text, deep(value))
    assert deep(value) == 0 or values.text_is_deeper(text, deep(value) - 1)


def test_a_tuple_in_a_large_tree_leaves_the_rest_of_it_alone():
    rows = [{"id": n, "tags": ["a", "b"]} for n in range(5_000)]
    large = {"rows": rows, "one": {"at": (1, 2)}}
    wired = values.to_wire(large)
    assert wired["rows"] is rows
    assert wired["one"] == {"at": {"$away": ["tuple", 1, 2]}}
    assert large["one"] == {"at": (1, 2)}
    rows[777] = {"id": (7,)}
    wired = values.to_wire(large)
    assert wired["rows"] is not rows
    assert wired["rows"][776] is rows[776]
    assert wired["rows"][777] == {"id": {"$away": ["tuple", 7]}}


def test_a_value_that_json_knows_is_written_by_json_as_it_is():
    value = {"rows": [{"id": n, "text": "žluť 😀"} for n in range(100)], "n": None, "t": True}
    body = protocol.pack_value(value)
    assert body == json.dumps({"value": value}, ensure_ascii=False).encode()


def test_a_processes_own_limit_of_digits_changes_nothing():
    code = (
        "import sys; sys.set_int_max_str_digits(LIMIT)\n"
        "from away import protocol as p\n"
        "for n in (10**600, 10**4299, 10**4300, -10**9000):\n"
        "    body = p.pack_value([n, 'x'])\n"
        "    sys.set_int_max_str_digits(4300)\n"
        "    assert p.read_answer(body, allow_unsafe=False).value == [n, 'x'], n\n"
        "    sys.set_int_max_str_digits(LIMIT)\n"
    )
    for limit in ("0", "640", "100000"):
        run_python(code.replace("LIMIT", limit))


# --- what cannot travel ---------------------------------------------------------------------------


class Colour(enum.IntEnum):
    RED = 1


class Text(str):
    pass


class Number(float):
    __module__ = "numpy"


Point = collections.namedtuple("Point", "x y")


@dataclasses.dataclass
class Row:
    a: int


class Liar:
    def __repr__(self):
        raise AssertionError("the repr of a foreign object was asked for")

    __str__ = __repr__


CYCLE: list = [1]
CYCLE.append({"again": CYCLE, "twice": CYCLE})
FULL_CYCLE: list = []
FULL_CYCLE.extend([FULL_CYCLE] * 1000)
TUPLE_CYCLE: list = [()]
TUPLE_CYCLE.extend([{1: TUPLE_CYCLE}] * 10)

REFUSED = {
    "decimal": (
        [0, 0, 0, {"when": decimal.Decimal(1)}],
        "argument 'rows'[3]['when'] is a decimal.Decimal, which cannot travel; send str(…) or publish with safe_args=False",
        "rows[3]['when']",
    ),
    "range": (range(3), "argument 'rows' is a range, which cannot travel; send list(…) or publish with safe_args=False", "rows"),
    "int enum": ([Colour.RED], "argument 'rows'[0] is a tests.test_protocol.Colour, which cannot travel; send its .value or", "rows[0]"),
    "text subclass": (Text("a"), "argument 'rows' is a tests.test_protocol.Text, which cannot travel; send str(…) or", "rows"),
    "key subclass": ({Text("a"): 1}, "argument 'rows' key (a tests.test_protocol.Text) is a tests.test_protocol.Text, which", "rows key (a tests.test_protocol.Text)"),
    "numpy scalar": (Number(1), "is a numpy.Number, which cannot travel; send .item() or", "rows"),
    "named tuple": (Point(1, 2), "is a tests.test_protocol.Point, which cannot travel; send tuple(…) or", "rows"),
    "ordered dict": (collections.OrderedDict(), "is a collections.OrderedDict, which cannot travel; send dict(…) or", "rows"),
    "object": (object(), "is an object, which cannot travel; send plain data instead or", "rows"),
    "frozen set": ({frozenset()}, "argument 'rows' element (a frozenset) is a frozenset, which cannot travel; send set(…)", "rows element (a frozenset)"),
    "uuid": (uuid.UUID(int=1), "is a uuid.UUID, which cannot travel; send str(…)", "rows"),
    "fraction": (fractions.Fraction(1), "send str(…)", "rows"),
    "path": (pathlib.Path("a"), "send str(…)", "rows"),
    "time": (time(1), "is a datetime.time, which cannot travel; send str(…)", "rows"),
    "time delta": (timedelta(1), "is a datetime.timedelta, which cannot travel; send .total_seconds()", "rows"),
    "bytearray": (bytearray(b"a"), "is a bytearray, which cannot travel; send bytes(…)", "rows"),
    "generator": ((n for n in ()), "is a generator, which cannot travel; send list(…)", "rows"),
    "data class": (Row(1), "send dataclasses.asdict(…)", "rows"),
    "function": (len, "is a builtin_function_or_method, which cannot travel; send plain data", "rows"),
    "foreign object": ({"a": Liar()}, "argument 'rows'['a'] is a tests.test_protocol.Liar, which", "rows['a']"),
    "zone of one's own": (datetime(2020, 1, 1, tzinfo=Zone()), "is a datetime in the zone Somewhere, of which only the offset would arrive; send it with .astimezone(datetime.timezone.utc)", "rows"),
    "cycle": (CYCLE, "argument 'rows'[1]['again'] is a list that contains itself, which cannot travel; send each part once", "rows[1]['again']"),
    "cycle that doubles": (FULL_CYCLE, "argument 'rows'[0] is a list that contains itself", "rows[0]"),
    "cycle through tuples": (TUPLE_CYCLE, "argument 'rows'[1][1] is a list that contains itself", "rows[1][1]"),
    "key of control characters": ({"\x1b[2J": 1j}, "argument 'rows'['\\x1b[2J'] is a complex", "rows['\\x1b[2J']"),
    "long key": ({"k" * 99: 1j}, f"argument 'rows'['{'k' * 40}'…] is a complex", f"rows['{'k' * 40}'…]"),
}  # fmt: skip


@pytest.mark.parametrize(("value", "text", "path"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_travel_is_named_with_its_argument_path_and_type(value, text, path):
    with pytest.raises(CannotTravel) as caught:
        protocol.pack_call([1, value], {}, names=["first", "rows"])
    assert text in str(caught.value)
    assert caught.value.path == path
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.path) == (str(caught.value), path)
    assert not values.travels(value)
    with pytest.raises(CannotTravel) as as_keyword:
        protocol.pack_call([], {"rows": value})
    assert str(as_keyword.value) == str(caught.value)
    with pytest.raises(CannotTravel, match="the result"):
        protocol.pack_value(value)
    with pytest.raises(CannotTravel, match="item 1"):
        protocol.pack_items([1, value])
    with pytest.raises(CannotTravel, match="argument 2") as to_others:
        protocol.pack_list([1, value])
    assert "safe_args" not in str(to_others.value)
    with pytest.raises(CannotTravel, match="the result"):
        protocol.pack_bare(value)


def test_an_argument_without_a_name_is_named_by_its_position():
    with pytest.raises(CannotTravel) as caught:
        protocol.pack_call([1, [2, 3j]], {}, names=["first"])
    assert str(caught.value).startswith("argument 2 at [1] is a complex, which cannot travel;")
    assert caught.value.path == "args[1][1]"


def test_shared_parts_that_are_no_cycle_travel_as_copies():
    shared = [1, (2,)]
    value = [shared, shared, {"a": shared}]
    assert protocol.read_answer(protocol.pack_value(value), allow_unsafe=False).value == value
    assert json.loads(protocol.pack_list([value]))[0] == [[1, [2]], [1, [2]], {"a": [1, [2]]}]


def test_what_not_even_a_pickle_carries_is_named():
    with open(os.devnull) as file, pytest.raises(CannotTravel) as caught:
        protocol.pack_call([1], {"log": (each for each in file)}, safe=False)
    assert "argument 'log' is a generator, which not even a pickle can carry" in str(caught.value)


def test_a_call_from_a_stack_that_is_nearly_full_is_an_error_of_ours():
    value = nested(150, lambda inner: (inner,))

    def act():
        try:
            protocol.pack_call([value], {})
        except CannotTravel as error:
            return str(error)
        except RecursionError:
            return "recursion"
        return "fits"

    seen = {from_deep(frames, act) for frames in range(700, 900, 40)}
    assert any("too deeply for what is left of Python's stack" in each for each in seen), seen


# --- envelopes ------------------------------------------------------------------------------------

BAD_CALLS = {
    "nothing": b"",
    "no json": b"hello",
    "not utf-8": b'{"args": ["\xff"], "kwargs": {}}',
    "byte order mark": b'\xef\xbb\xbf{"args": [], "kwargs": {}}',
    "a list": b"[1]",
    "a number": b"1",
    "no kwargs": b'{"args": []}',
    "unknown key": b'{"args": [], "kwargs": {}, "more": 1}',
    "args no list": b'{"args": {}, "kwargs": {}}',
    "args a tuple": b'{"args": {"$away": ["tuple"]}, "kwargs": {}}',
    "kwargs no dict": b'{"args": [], "kwargs": []}',
    "kwargs with an int": b'{"args": [], "kwargs": {"$away": ["dict", 1, 2]}}',
    "nan": b'{"args": [NaN], "kwargs": {}}',
    "half": b'{"args": [1, 2], "kwar',
    "two": b'{"args": [], "kwargs": {}}{}',
    "pickle": b'{"dill": "gASVBgAAAAAAAAApfZSGlC4="}',
    "pickle in a safe envelope": b'{"args": [{"$away": ["dill", "gAR9lC4="]}], "kwargs": {}}',
    "mark is the envelope": b'{"$away": ["dict", "args", [], "kwargs", {}, "x", 1]}',
    "unknown kind": b'{"args": [{"$away": ["object", 1]}], "kwargs": {}}',
    "kind no text": b'{"args": [{"$away": [1]}], "kwargs": {}}',
    "empty mark": b'{"args": [{"$away": []}], "kwargs": {}}',
    "mark no list": b'{"args": [{"$away": "tuple"}], "kwargs": {}}',
    "mark with a neighbour": b'{"args": [{"$away": ["tuple"], "b": 1}], "kwargs": {}}',
    "set of lists": b'{"args": [{"$away": ["set", []]}], "kwargs": {}}',
    "odd dict": b'{"args": [{"$away": ["dict", 1]}], "kwargs": {}}',
    "dict with a list as key": b'{"args": [{"$away": ["dict", [], 1]}], "kwargs": {}}',
    "bytes no base64": b'{"args": [{"$away": ["bytes", "a"]}], "kwargs": {}}',
    "bytes no ascii": '{"args": [{"$away": ["bytes", "é"]}], "kwargs": {}}'.encode(),
    "bytes a number": b'{"args": [{"$away": ["bytes", 1]}], "kwargs": {}}',
    "bytes two": b'{"args": [{"$away": ["bytes", "", ""]}], "kwargs": {}}',
    "date": b'{"args": [{"$away": ["date", "2020-13-01"]}], "kwargs": {}}',
    "datetime": b'{"args": [{"$away": ["datetime", "x", 0]}], "kwargs": {}}',
    "datetime fold": b'{"args": [{"$away": ["datetime", "2020-01-01", 2]}], "kwargs": {}}',
    "datetime fold text": b'{"args": [{"$away": ["datetime", "2020-01-01", "0"]}], "kwargs": {}}',
    "int": b'{"args": [{"$away": ["int", "xyz"]}], "kwargs": {}}',
    "int a float": b'{"args": [{"$away": ["int", 1.5]}], "kwargs": {}}',
    "float": b'{"args": [{"$away": ["float", "1"]}], "kwargs": {}}',
    "float a list": b'{"args": [{"$away": ["float", []]}], "kwargs": {}}',
    "text": b'{"args": [{"$away": ["text", "/w=="]}], "kwargs": {}}',
    "very wide int": b'{"args": [' + b"1" * 5000 + b'], "kwargs": {}}',
}


@pytest.mark.parametrize("body", BAD_CALLS.values(), ids=BAD_CALLS.keys())
def test_a_bad_call_is_refused_in_words(body):
    with pytest.raises(ProtocolMismatch) as caught:
        protocol.read_call(body, allow_unsafe=False)
    text = str(caught.value)
    assert text
    assert text[0].islower()
    assert not text.endswith(".")
    if body != BAD_CALLS["no kwargs"]:
        with pytest.raises(ProtocolMismatch):
            protocol.read_answer(body.replace(b'"args"', b'"value"'), allow_unsafe=False)


BAD_PICKLES = {
    "no text": b'{"dill": 1}',
    "no base64": b'{"dill": "%%"}',
    "no ascii": '{"dill": "é"}'.encode(),
    "no pickle": b'{"dill": "aGVsbG8="}',
    "no arguments": b'{"dill": "gARLAS4="}',
}


@pytest.mark.parametrize("body", BAD_PICKLES.values(), ids=BAD_PICKLES.keys())
def test_a_bad_pickle_is_refused_in_words(body):
    with pytest.raises(ProtocolMismatch):
        protocol.read_call(body, allow_unsafe=True)


@pytest.mark.parametrize(
    "body",
    [
        b'{"dill": "gAR9lC4="}',
        b'{"dill": "gAR9lC4=", "items": true}',
    ],
)
def test_an_answers_pickle_is_read_only_if_the_call_asked_for_it(body):
    with pytest.raises(ProtocolMismatch, match="only by a call with safe_args=False"):
        protocol.read_answer(body, allow_unsafe=False)


def test_an_error_says_whether_anything_ran():
    for refused in (False, True):
        body = protocol.pack_error(TypeError("missing 'b'"), refused=refused)
        answer = protocol.read_answer(body, allow_unsafe=False)
        assert (answer.kind, answer.refused) == ("error", refused)
        assert type(answer.value) is TypeError
        assert answer.value.args == ("missing 'b'",)


def test_integers_that_were_made_to_collide_are_refused():
    colliding = ", ".join(str(n * (2**61 - 1)) for n in range(1, 20_000))
    with pytest.raises(ProtocolMismatch, match="collide"):
        protocol.read_answer(
            f'{{"value": {{"$away": ["set", {colliding}]}}}}'.encode(), allow_unsafe=False
        )
    for text in (colliding, colliding.replace(", ", ", +")):
        with pytest.raises(ProtocolMismatch, match="collide"):
            protocol.read_bare(f"{{{text.replace(',', ': 1,')}: 1}}")
    for form in ('!!int " %s"', '!!int "_%s"'):
        keys = ", ".join(f"? {form % number} : 1" for number in colliding.split(", "))
        with pytest.raises(ProtocolMismatch, match="collide"):
            protocol.read_bare(f"{{{keys}}}")
    plain = list(range(-20_000, 20_000))
    assert protocol.read_answer(protocol.pack_value(set(plain)), allow_unsafe=False).value == set(
        plain
    )


def in_seconds(read):
    """Tell how long something took on the processor; none of it waits."""
    before = thread_time()
    with contextlib.suppress(ProtocolMismatch):
        read()
    return thread_time() - before


def long_way_round(bits, chain, others):
    """Integers of different hashes of which each looks at half of a dict for its place."""
    mask = (1 << bits) - 1
    places = [0]
    while len(places) < chain:
        places.append((5 * places[-1] + 1) & mask)
    taken, found = set(places), []
    candidates = (n << (bits + 20) for n in range(1, 400_000))
    for key in candidates:
        place, rest = key & mask, key
        while rest and place in taken:
            rest >>= 5
            place = (5 * place + rest + 1) & mask
        if not rest and len(found) < others:
            found.append(key)
    return places + found


PRIME = 2**61 - 1
SLOW_KEYS = {
    "hidden among small ones": [*range(5_000), *(n * PRIME for n in range(1, 35_000))],
    "65 alike": [n * PRIME for n in range(65)],
    "a hundred each": [k + n * PRIME for k in range(500) for n in range(100)],
}


@pytest.mark.parametrize("keys", SLOW_KEYS.values(), ids=SLOW_KEYS.keys())
def test_keys_of_equal_hashes_are_refused_wherever_they_are(keys):
    sets = json.dumps({"value": {"$away": ["set", *keys]}})
    dicts = json.dumps({"value": {"$away": ["dict", *(part for key in keys for part in (key, 0))]}})
    many = json.dumps({"value": [[{"$away": ["set", *keys]}]] * 2})
    tuples = [{"$away": ["tuple", key, "x"]} for key in keys[-10_000:] for _ in range(7)]
    marked = json.dumps({"value": {"$away": ["set", *tuples]}})
    for body in (sets, dicts, many, marked):
        with pytest.raises(ProtocolMismatch, match="collide"):
            protocol.read_answer(body.encode(), allow_unsafe=False)


def test_keys_of_different_hashes_that_collide_all_the_same_are_refused():
    keys = long_way_round(18, 120_000, 40_000)
    body = json.dumps({"value": {"$away": ["dict", *(part for key in keys for part in (key, 0))]}})
    assert in_seconds(lambda: protocol.read_answer(body.encode(), allow_unsafe=False)) < 5


HONEST_KEYS = {
    "powers of two": {1 << n for n in range(3_000)},
    "floats": {2.0**n for n in range(-1_000, 1_000)},
    "multiples": {n << 32 for n in range(20_000)},
    "negative": set(range(-20_000, 20_000)),
    "points": {(x, y) for x in range(150) for y in range(150)},
    "mixed": {*range(2_000), *map(str, range(2_000)), *(b"%d" % n for n in range(2_000))},
}


@pytest.mark.parametrize("keys", HONEST_KEYS.values(), ids=HONEST_KEYS.keys())
def test_many_honest_keys_come_back(keys):
    sent = {"set": keys, "dict": dict.fromkeys(keys, 1)}
    back = protocol.read_answer(protocol.pack_value(sent), allow_unsafe=False).value
    assert back == sent
    if not any(type(key) is tuple for key in keys):
        assert protocol.read_bare(protocol.pack_bare(sent).decode()) == sent


def test_zones_that_are_not_known_here_are_not_looked_for_one_by_one():
    marks = [
        {"$away": ["datetime", "2024-01-01T00:00:00+01:00", 0, f"No/{n}"]} for n in range(30_000)
    ]
    body = json.dumps({"value": marks}).encode()
    assert in_seconds(lambda: protocol.read_answer(body, allow_unsafe=False)) < 1.5
    sent = datetime(2020, 7, 1, tzinfo=zoneinfo.ZoneInfo("Asia/Tokyo"))
    back = protocol.read_answer(protocol.pack_value(sent), allow_unsafe=False).value
    assert back.tzinfo == sent.tzinfo


# --- to and from others ---------------------------------------------------------------------------


def for_others(value):
    """What a value is for those who have no tuples: the lists that they read."""
    if type(value) in (list, tuple):
        return [for_others(each) for each in value]
    if type(value) is dict:
        return {key: for_others(each) for key, each in value.items()}
    return value


OTHERS_TEXT = st.text(max_size=12) | ODD_TEXT
OTHERS_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    OTHERS_TEXT,
    st.binary(max_size=12),
    st.dates(),
    st.datetimes(timezones=st.one_of(st.none(), OFFSETS)).map(lambda d: d.replace(fold=0)),
    st.sampled_from([1e16, 1e-7, -1e22, 1.5e300]),
    WIDE,
    st.sampled_from(["k" * 1021, "k" * 1023, "\x07" * 300, '"' * 600, "\\" * 600, "é" * 1030]),
)
OTHERS = trees(OTHERS_SCALARS, OTHERS_SCALARS, OTHERS_TEXT)


@examples(250)
@given(OTHERS, st.booleans())
@example({"k" * 1030: {"é" * 600: 1, b"x" * 900: 2}}, True)
@example([1e16, 1e-7, "1e5", {1e22: 1}, {float("inf"): float("-inf")}], True)
@example(["\x7f\x85\u2028\ufeff\uffff😀", {"é": "ž"}], False)
@example({1, "a", None, 2.5, b"k", True, date(2020, 1, 2)}, False)
@example([datetime(1, 1, 1), datetime(2020, 1, 2, 3, 4, 5, 6, UTC)], False)
def test_pyyaml_reads_what_is_written_for_others(value, ascii):
    body = protocol.pack_bare(value, ascii=ascii)
    text = body.decode()
    expected = for_others(value)
    for loader in LOADERS:
        assert same(yaml.load(text, Loader=loader), expected), loader
    assert same(protocol.read_bare(text), expected)
    text = protocol.pack_list([value, 1])
    for loader in LOADERS:
        assert same(yaml.load(text, Loader=loader), [expected, 1]), loader
    assert same(protocol.read_positional(text.encode(), safe=True), (expected, 1))


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | OTHERS_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(OTHERS_TEXT, inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@examples(200)
@given(JSON_VALUES, st.booleans())
def test_json_reads_what_is_written_for_others(value, ascii):
    body = protocol.pack_bare(value, ascii=ascii)
    assert same(json.loads(body), value)
    assert b"\n" not in body
    assert b"\t" not in body
    if ascii:
        assert all(ord(c) < 0x7F or ord(c) > 0xFFFF for c in body.decode())


@examples(200)
@given(
    JSON_VALUES,
    st.sampled_from([yaml.SafeDumper, getattr(yaml, "CSafeDumper", yaml.SafeDumper)]),
    st.sampled_from([None, True, False]),
    st.booleans(),
)
@example("1e5", getattr(yaml, "CSafeDumper", yaml.SafeDumper), None, False)
@example(["1e5", "1E5", "1.5e3"], yaml.SafeDumper, True, False)
def test_what_pyyaml_writes_is_read_as_pyyaml_reads_it(value, dumper, flow, unicode):
    text = yaml.dump(value, Dumper=dumper, default_flow_style=flow, allow_unicode=unicode)
    if "<<" in text.replace('"<<"', "").replace("'<<'", ""):
        return  # a merge key, or text that looks like one
    expected = yaml.load(text, Loader=LOADERS[-1])
    assert same(protocol.read_bare(text), expected)
    listed = yaml.dump([value], Dumper=dumper, default_flow_style=flow, allow_unicode=unicode)
    assert same(protocol.read_positional(listed.encode(), safe=True), (expected,))


POSITIONAL = {
    "nothing": ("", (), True),
    "blank": ("\n", (), True),
    "empty list": ("[]\n", (), True),
    "one": ("- 1\n", (1,), True),
    "two": ("- 1\n- 2\n", (1, 2), True),
    "a list as the one argument": ("- - 1\n  - 2\n", ([1, 2],), True),
    "null": ("- null\n", (None,), True),
    "dict": ("- a: 1\n", ({"a": 1},), True),
    "text": ('- "\\xE9"\n', ("é",), True),
    "bare text": ("hello world", ("hello world",), True),
    "bare number": ("3", (3,), True),
    "bare null": ("null", (None,), True),
    "json object": ('{"a": [1]}', ({"a": [1]},), True),
    "json list": ('[1, "a"]', (1, "a"), True),
    "text like a float": ("[1e5]", ("1e5",), True),
    "shared lists": ("- &id001 [1]\n- *id001\n", ([1], [1]), True),
    "their bytes": ("- !!binary |\n  aGk=\n", (b"hi",), True),
    "their set": ("- !!set\n  a: null\n", ({"a"},), True),
    "their time": ("- 2020-01-02\n", (date(2020, 1, 2),), True),
    "an object with our key": ('{"$away": ["tuple", 1]}', ({"$away": ["tuple", 1]},), True),
    "unsafe none": ("!!python/tuple []\n", (), False),
    "unsafe one": ("!!python/tuple\n- 1\n", (1,), False),
    "unsafe two": ("!!python/tuple\n- 1\n- 2\n", (1, 2), False),
    "unsafe list": ("!!python/tuple\n- - 1\n  - 2\n", ([1, 2],), False),
    "unsafe tuple": ("!!python/tuple\n- !!python/tuple [1, 2]\n", ((1, 2),), False),
    "safe text to an unsafe function": ("[1]", (1,), False),
}


@pytest.mark.parametrize(("text", "args", "safe"), POSITIONAL.values(), ids=POSITIONAL.keys())
def test_the_bodies_of_others_are_read_by_the_contract(text, args, safe):
    assert same(protocol.read_positional(text.encode(), safe=safe), args)
    assert same(protocol.read_positional(text.encode(), safe=False), args)


def test_a_body_that_is_said_to_be_json_has_jsons_numbers():
    assert protocol.read_positional(b"[1e5]", safe=True, stated_json=True) == (100000.0,)
    assert protocol.read_bare("1e5", stated_json=True) == 100000.0


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("null\n...\n", None), ("3\n...\n", 3), ("a\n...\n\n", "a"), ("''\n", ""), ("- 1\n", [1]),
        ("a: 1\n", {"a": 1}), ("", None), ("\n", None), ("1e5\n", "1e5"), ("{a: 1}", {"a": 1}),
        ("[1, 2,]", [1, 2]), ("0x1f", 31), ("1:30", 90), ('"\\ud83d\\ude00"', "😀"),
    ],
)  # fmt: skip
def test_the_answers_of_others_are_read_by_the_contract(text, value):
    assert same(protocol.read_bare(text), value)


PYTHON_TAGS = {
    "apply": "!!python/object/apply:os.system ['touch PWNED']",
    "new": "!!python/object/new:os.system ['touch PWNED']",
    "object": "!!python/object:os.system {}",
    "name": "!!python/name:os.system ''",
    "module": "!!python/module:os ''",
    "written out": "!<tag:yaml.org,2002:python/object/apply:os.system> ['touch PWNED']",
    "by a handle": "%TAG !p! tag:yaml.org,2002:python/\n--- !p!object/apply:os.system ['touch PWNED']",
    "as a key": "? !!python/object/apply:os.system ['touch PWNED']\n: 1",
    "on an alias's node": "[&a !!python/object/apply:os.system ['touch PWNED'], *a]",
    "complex": "!!python/complex 1j",
    "range": "!!python/tuple\n- !!python/object/apply:builtins.range\n  - 0\n  - 3\n  - 1\n",
}


@pytest.mark.parametrize("text", PYTHON_TAGS.values(), ids=PYTHON_TAGS.keys())
@pytest.mark.parametrize("safe", [True, False], ids=["safe", "unsafe"])
def test_a_python_tag_is_refused_in_words_and_nothing_runs(text, safe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    unpack = protocol.make_client_unpack_args_fn(safe_args=safe)
    for read in (lambda: protocol.read_positional(text.encode(), safe=safe), lambda: unpack(text)):
        with pytest.raises(ProtocolMismatch, match="!!python/"):
            read()
    assert not list(tmp_path.iterdir())


def test_a_tuples_tag_in_a_safe_answer_is_an_error_that_names_safe_args():
    with pytest.raises(ProtocolMismatch, match="safe_args=False"):
        protocol.read_bare("!!python/tuple\n- 1\n- 2\n")
    unpack = protocol.make_client_unpack_args_fn(safe_args=False)
    assert unpack("!!python/tuple\n- 1\n- 2\n") == (1, 2)


def test_no_argument_is_an_empty_list_and_never_an_empty_body():
    assert protocol.pack_list([]) == "[]"
    assert protocol.make_client_pack_args_fn()(iter(())) == "[]"
    assert protocol.make_client_pack_args_fn(safe_args=False)(()) == "[]"


@examples(60)
@given(st.lists(UNSAFE, max_size=3))
@example([range(10)])
@example([(1, [(2,)])])
@example([{"$away": ["dill", "x"]}])
@example([nested(150, lambda value: (value,))])
def test_unsafe_text_round_trips_by_list_or_by_pickle(args):
    pack = protocol.make_client_pack_args_fn(safe_args=False)
    text = pack(iter(args))
    assert same(protocol.read_positional(text.encode(), safe=False), tuple(args))
    unpack = protocol.make_client_unpack_args_fn(safe_args=False)
    assert same(unpack(protocol.pack_bare(args, safe=False).decode()), args)


def test_an_unsafe_text_that_fits_the_list_is_read_by_pyyamls_unsafe_loader():
    text = protocol.make_client_pack_args_fn(safe_args=False)([1, (2, "é"), {3: b"x"}])
    assert yaml.load(text, Loader=yaml.UnsafeLoader) == [1, (2, "é"), {3: b"x"}]


def test_a_safe_function_never_reads_the_pickle_in_a_text():
    text = protocol.make_client_pack_args_fn(safe_args=False)([range(3)])
    with pytest.raises(ProtocolMismatch, match="a function published safe never reads"):
        protocol.read_positional(text.encode(), safe=True)


def test_packers_can_be_pickled_and_take_any_iterable():
    for safe in (True, False):
        pack = pickle.loads(pickle.dumps(protocol.make_client_pack_args_fn(safe_args=safe)))
        unpack = pickle.loads(pickle.dumps(protocol.make_client_unpack_args_fn(safe_args=safe)))
        assert unpack(pack(n for n in range(3))) == [0, 1, 2]


TO_OTHERS_ONLY = {
    "tuple key": ({(1, 2): 3}, "argument 1 at key (a tuple) is a tuple as a key, which YAML cannot carry"),
    "tuple in a set": ({(1, 2)}, "argument 1 at element (a tuple) is a tuple as a key"),
    "lone surrogate": (["\ud800"], "argument 1 at [0] has a lone surrogate, which is no character"),
    "lone surrogate beside a tuple": ([(), "\ud800"], "argument 1 at [1] has a lone surrogate"),
    "offset with seconds": (datetime(2020, 1, 1, tzinfo=timezone(timedelta(seconds=30))), "argument 1 has an offset with seconds"),
}  # fmt: skip


@pytest.mark.parametrize(("value", "text"), TO_OTHERS_ONLY.values(), ids=TO_OTHERS_ONLY.keys())
def test_what_only_another_away_reads_is_refused_to_others(value, text):
    protocol.pack_value(value)
    with pytest.raises(CannotTravel) as caught:
        protocol.pack_list([value])
    assert text in str(caught.value)
    with pytest.raises(CannotTravel):
        protocol.pack_bare(value, ascii=False)


def test_200_levels_go_to_others_and_come_back_and_201_do_not():
    for wrap in (lambda value: [value], lambda value: {"a": value}, lambda value: {1: value}):
        value = nested(200, wrap)
        text = from_deep(200, lambda value=value: protocol.pack_list([value]))
        read = from_deep(200, lambda text=text: protocol.read_positional(text.encode(), safe=True))
        assert depth(read[0]) == 200
        bare = protocol.pack_bare(value).decode()
        assert depth(protocol.read_bare(bare)) == 200
        for pack in (protocol.pack_bare, lambda value: protocol.pack_list([value])):
            with pytest.raises(CannotTravel, match="nested deeper than 200 levels"):
                pack(nested(201, wrap))


# --- hostile texts --------------------------------------------------------------------------------

HOSTILE = {
    "25,000 lists": "[" * 25_000,
    "200,000 lists": "[" * 200_000 + "]" * 200_000,
    "lists that are no json": "[a, " + "[" * 25_000,
    "25,000 dicts": '{"a": ' * 25_000,
    "braces": "{" * 25_000,
    "block lists": "- " * 25_000,
    "block keys": "? " * 25_000,
    "indented": "".join(" " * n + "a:\n" for n in range(300)),
    "201 in yaml": "[a, " * 201 + "]" * 201,
    "aliases that double": "\n".join(
        ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    ),
    "aliases that deepen": "\n".join(
        ["a0: &a0 [x]"] + [f"a{n}: &a{n} [[[[*a{n - 1}]]]]" for n in range(1, 60)]
    ),
    "2,000 aliases": "- &a x\n" + "- *a\n" * 2000,
    "itself": "&a [*a]",
    "itself deeper": "&a {b: [1, {c: *a}]}",
    "itself as a key": "&a {? *a : 1}",
    "no such alias": "[*b]",
    "merge keys": "a: &a {x: 1}\nb: {<<: *a}",
    "merge by tag": "a: &a {x: 1}\nb: {!!merge m: *a}",
    "merge bomb": "a0: &a0 {x: 1}\n" + "\n".join(
        f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 7)
    ),
    "base 60": "[" + "1:" * 30_000 + "1]",
    "base 60 quoted": '!!int "' + "1:" * 30_000 + '1"',
    "base 60 float": '!!float "' + "1:" * 30_000 + '1.5"',
    "base 60 in other digits": '!!int "' + "\u0661:" * 100_000 + '\u0661"',
    "other digits": '!!float "\u0661"',
    "wide int": "[a, " + "9" * 5000 + "]",
    "wide json int": "9" * 5000,
    "bad int": "!!int ''",
    "bad float": "!!float x",
    "bad bool": "!!bool x",
    "bad timestamp": "!!timestamp x",
    "impossible date": "2020-13-45",
    "impossible time": "2020-01-01 99:99:99",
    "bad binary": "!!binary '%%%'",
    "binary no ascii": "!!binary é",
    "omap": "!!omap [1]",
    "pairs": "!!pairs {a: 1}",
    "set with values": "!!set [1]",
    "tag on the wrong node": "!!map [1]",
    "seq on a scalar": "!!seq x",
    "list as key": "? [1]\n: 2",
    "dict as key": "? {a: 1}\n: 2",
    "value key": "=: 1",
    "plain equals": "=",
    "two documents": "a\n---\nb",
    "unknown tag": "!foo x",
    "no escape": '"\\q"',
    "zero": "\x00",
    "control": "a\x01b",
    "directive": "%YAML 9.9\n---\na",
    "tag directive": "%TAG ! tag:yaml.org,2002:python/\n--- !object:os.system {}",
    "tab": "\ta: b",
    "half": '{"a": [1, 2',
    "surrogates in yaml": '["\\ud83d", a]',
    "very long key": "a" * 2000 + ": 1",
    "tuple tag on a scalar": "!!python/tuple x",
    "tuple tag on a dict": "!!python/tuple {a: 1}",
    "deep tuples": "!!python/tuple [" * 190 + "]" * 190,
}  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_text_is_refused_or_read_as_data(text):
    for read in (
        lambda: protocol.read_bare(text),
        lambda: protocol.read_positional(text.encode("utf-8", "surrogatepass"), safe=True),
        lambda: protocol.read_positional(text.encode("utf-8", "surrogatepass"), safe=False),
        lambda: protocol.make_client_unpack_args_fn(safe_args=False)(text),
    ):
        found = nothing_but_a_mismatch(read)
        assert "python" not in text or found is None or type(found) is tuple


@pytest.mark.parametrize(
    "name",
    [
        "25,000 lists", "lists that are no json", "braces", "block lists", "block keys", "201 in yaml",
        "aliases that double", "aliases that deepen", "2,000 aliases", "itself", "itself deeper",
        "itself as a key", "merge keys", "merge by tag", "merge bomb", "base 60", "base 60 quoted",
        "base 60 float", "base 60 in other digits", "other digits", "wide int", "wide json int", "two documents", "unknown tag",
    ],
)  # fmt: skip
def test_a_bomb_is_refused_in_words(name):
    with pytest.raises(ProtocolMismatch, match="nothing was read"):
        protocol.read_bare(HOSTILE[name])


def test_prose_with_colons_is_no_number():
    text = "see: " + "https://example.com/a:b " * 100
    assert protocol.read_bare(text) == {"see": text.removeprefix("see: ").strip()}


PIECES = st.sampled_from(
    ["[", "]", "{", "}", ",", ":", ": ", "- ", "\n", " ", "  ", '"', "'", "&a ", "*a", "<<", "? ",
     "!!", "!!python/tuple ", "!!python/name:os.system ", "!!set ", "!!binary ", "!!int ", "!!omap ",
     "!!timestamp ", "!!float ", "!!bool ", "!!null ", "!!merge ", "!!value ", "=", "|", ">", "%", "---\n", "...\n",
     "#", "1", "1e5", "1.5", ".nan", "0x", "1:2", "null", "true", "~", "a", "é", "\u2028", "\x85",
     "\ufeff", "\x00", "\t", "\\", "\\u", "\\ud800", "2020-01-01", "😀", "$away", '"$away"', '"args"',
     '"kwargs"', '"value"', '"error"', '"items"', '"dill"', '"tuple"', '"dict"', '"set"', '"bytes"']
)  # fmt: skip
TEXTS = st.lists(PIECES, max_size=25).map("".join) | st.text(max_size=30)

WIRE = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 10**20) | st.floats(allow_nan=False)
    | st.sampled_from(["aGk=", "2020-01-01", "nan", "-ff", "tuple", "builtins", "KeyError", "os", "", "é"]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.sampled_from(["$away", "args", "kwargs", "dill", "value", "items", "error", "refused",
                             "module", "qualname", "text", "traceback", "state", "notes", "shown",
                             "attributes", "exceptions"]),
            inner, max_size=6,
        ),
        st.tuples(
            st.sampled_from([*values._READ, "object"]), st.lists(inner, max_size=3)
        ).map(lambda pair: {"$away": [pair[0], *pair[1]]}),
    ),
    max_leaves=15,
)  # fmt: skip
ERRORS = st.fixed_dictionaries(
    {"error": st.fixed_dictionaries({"module": st.just("builtins"), "qualname": st.sampled_from(
        ["KeyError", "OSError", "UnicodeDecodeError", "SyntaxError", "ExceptionGroup", "StopIteration",
         "SystemExit", "int", "ImportError", "BlockingIOError", "AttributeError", "Warning"])},
        optional={"args": st.lists(WIRE, max_size=5), "state": WIRE, "attributes": WIRE, "notes": WIRE,
                  "shown": st.lists(st.integers(-1, 3), max_size=2), "text": st.text(), "traceback": st.text(),
                  "exceptions": st.lists(WIRE, max_size=2)})},
    optional={"refused": WIRE},
)  # fmt: skip


def nothing_but_a_mismatch(read):
    try:
        return read()
    except ProtocolMismatch as error:
        said = str(error)
    assert said
    assert said.isprintable(), said
    return None


@examples(1500)
@given(TEXTS)
def test_thousands_of_hostile_texts_crash_nothing(text):
    body = text.encode("utf-8", "surrogatepass")
    nothing_but_a_mismatch(lambda: protocol.read_bare(text))
    nothing_but_a_mismatch(lambda: protocol.read_positional(body, safe=True))
    nothing_but_a_mismatch(lambda: protocol.read_positional(body, safe=False))
    nothing_but_a_mismatch(lambda: protocol.read_call(body, allow_unsafe=False))
    nothing_but_a_mismatch(lambda: protocol.read_answer(body, allow_unsafe=False))


@examples(800)
@given(WIRE | ERRORS)
def test_thousands_of_hostile_envelopes_crash_nothing(tree):
    body = json.dumps(tree).encode()
    nothing_but_a_mismatch(lambda: protocol.read_call(body, allow_unsafe=False))
    answer = nothing_but_a_mismatch(lambda: protocol.read_answer(body, allow_unsafe=False))
    if answer is not None and answer.kind == "error":
        assert isinstance(answer.value, Exception)
        assert not isinstance(answer.value, (StopIteration, StopAsyncIteration))


@examples(400)
@given(st.binary(max_size=40))
def test_hostile_bytes_crash_nothing(body):
    nothing_but_a_mismatch(lambda: protocol.read_positional(body, safe=True))
    nothing_but_a_mismatch(lambda: protocol.read_call(body, allow_unsafe=False))
    nothing_but_a_mismatch(lambda: protocol.read_answer(body, allow_unsafe=False))


@examples(150)
@given(VALUES, st.data())
def test_a_body_cut_short_is_never_read(value, data):
    body = protocol.pack_call([value], {})
    cut = data.draw(st.integers(0, len(body) - 1))
    with pytest.raises(ProtocolMismatch):
        protocol.read_call(body[:cut], allow_unsafe=False)


# --- what is imported, and where there is no libyaml ----------------------------------------------


def run_python(code):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-"],
        input=code,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_function_that_is_sent_takes_along_what_it_uses_alone():
    # What else its module has is of no use there, and may be what only this side can read.
    scope = {"factor": 3, "unused": "a-global-that-nobody-uses"}
    exec("def tripled(x):\n    return factor * x", scope)
    body = protocol.pack_call((scope["tripled"],), {}, safe=False)
    sent = base64.b64decode(json.loads(body)["dill"])
    assert b"factor" in sent
    assert b"unused" not in sent
    assert b"a-global-that-nobody-uses" not in sent
    (tripled,) = protocol.read_call(body, allow_unsafe=True).args
    assert tripled(2) == 6


def test_a_safe_side_imports_neither_dill_nor_yaml_for_json():
    run_python(
        "import sys\n"
        "from away import protocol as p\n"
        "from away.exceptions import CannotTravel, ProtocolMismatch\n"
        "assert p.read_call(p.pack_call([1, (2,)], {'a': b'x'}), allow_unsafe=False).args == (1, (2,))\n"
        "assert p.read_answer(p.pack_value({1}), allow_unsafe=False).value == {1}\n"
        "assert p.read_positional(p.pack_list([1, 'a']).encode(), safe=True) == (1, 'a')\n"
        "assert p.read_answer(p.pack_error(KeyError('a')), allow_unsafe=False).kind == 'error'\n"
        'for bad in (b\'{"dill": "gAR9lC4="}\', b\'{"dill": "gAR9lC4=", "items": true}\'):\n'
        "    for read in (p.read_call, p.read_answer):\n"
        "        try: read(bad, allow_unsafe=False)\n"
        "        except ProtocolMismatch: pass\n"
        "        else: raise SystemExit('read')\n"
        'try: p.read_positional(b\'{"$away": ["dill", "gAR9lC4="]}\', safe=True)\n'
        "except ProtocolMismatch: pass\n"
        "else: raise SystemExit('read')\n"
        "try: p.pack_call([range(3)], {})\n"
        "except CannotTravel: pass\n"
        "heavy = {'dill', 'yaml', 'asyncio', 'inspect', 'dataclasses', 'requests', 'aiohttp'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "assert p.read_positional(b'- 1', safe=True) == (1,)\n"
        "assert 'dill' not in sys.modules and 'yaml' in sys.modules\n"
    )


def test_without_libyaml_all_is_read_alike_and_large_yaml_is_refused():
    names = ["block lists", "201 in yaml", "aliases that double", "itself", "merge bomb", "base 60",
             "lists that are no json", "braces", "wide int"]  # fmt: skip
    texts = [HOSTILE[name] for name in names]
    run_python(
        "import sys; sys.modules['yaml._yaml'] = None\n"
        "from away import protocol as p\n"
        "from away.exceptions import ProtocolMismatch\n"
        "assert p.read_positional(b'- 1\\n- a: [x, 1.5]\\n', safe=True) == (1, {'a': ['x', 1.5]})\n"
        "assert p.read_positional(b'!!python/tuple\\n- 1\\n', safe=False) == (1,)\n"
        "deep = p.read_bare('[a, ' * 200 + ']' * 200)\n"
        f"for text in {texts!r} + ['- a\\n' * 300_000]:\n"
        "    try: p.read_bare(text)\n"
        "    except ProtocolMismatch as error: assert 'nothing was read' in str(error)\n"
        "    else: raise SystemExit(text[:50])\n"
        "import yaml; assert not yaml.__with_libyaml__\n"
    )


def test_the_limits_for_yaml_are_those_that_are_named():
    assert yaml_text.MAX_PURE_BYTES == 128 * 1024
    assert protocol.MAX_DEPTH == 200
    text = "- a\n" * 100
    assert protocol.read_bare(text) == ["a"] * 100
    at_most = "- &a x\n" + "- *a\n" * yaml_text.MAX_ALIASES
    assert len(protocol.read_bare(at_most)) == yaml_text.MAX_ALIASES + 1
    with pytest.raises(ProtocolMismatch, match="aliases"):
        protocol.read_bare(at_most + "- *a\n")


@pytest.mark.parametrize("module", [protocol, values, refusals, yaml_text, remote_errors])
def test_the_examples_in_the_docstrings_hold(module):
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("fold", [0, 1])
@pytest.mark.parametrize("key", ["Europe/Prague", "UTC", "America/New_York"])
def test_a_named_zone_comes_back_as_that_zone(key, fold):
    sent = datetime(2020, 10, 25, 2, 30, fold=fold, tzinfo=zoneinfo.ZoneInfo(key))
    back = protocol.read_answer(protocol.pack_value([sent]), allow_unsafe=False).value[0]
    assert back.replace(tzinfo=None) == sent.replace(tzinfo=None)
    assert (back.tzinfo, back.fold, back.utcoffset()) == (sent.tzinfo, fold, sent.utcoffset())
    with pytest.raises(CannotTravel, match="in the zone"):
        protocol.pack_list([sent])


@pytest.mark.parametrize("key", ["Nowhere/Land", "../../etc/passwd", "", 7, None, ["a"], "a" * 999])
def test_a_zone_that_is_not_known_here_leaves_the_offset(key):
    body = {"value": {"$away": ["datetime", "2020-01-01T00:00:00+05:45", 0, key]}}
    back = protocol.read_answer(json.dumps(body).encode(), allow_unsafe=False).value
    assert back.utcoffset() == timedelta(hours=5, minutes=45)


@pytest.mark.parametrize(
    ("charset", "body", "read"),
    [
        ("", "é".encode(), "é"),
        ("; charset=UTF-8", "é".encode(), "é"),
        ('; charset="iso-8859-1"', b"\xe9", "é"),
        ("; charset=windows-1252; x=y", b"\x80", "€"),
        ("; charset=utf-16", "é".encode("utf-16"), "é"),
        ("; charset=us-ascii", b"\xe9", b"\xe9"),
        ("; charset=undefined", b"x", b"x"),
        ("; charset=punycode", b"a-" + b"b" * 200_000, b"a-" + b"b" * 200_000),
        ("; charset=unicode_escape", b"\\x41", b"\\x41"),
        ("; charset=idna", b"xn--\xff", b"xn--\xff"),
        ("; charset=a\0b", b"x", b"x"),
        ("; charset=..", b"x", b"x"),
    ],
)
def test_text_is_read_in_the_usual_charsets_and_stays_bytes_in_others(charset, body, read):
    assert plain.answer("text/plain" + charset, body) == read
