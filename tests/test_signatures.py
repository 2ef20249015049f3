"""Signatures travel as annotations, and what comes back is never trusted."""

from __future__ import annotations

import functools
import inspect
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from away import signatures
from away.signatures import Description, Opaque, Parameter


def sample(a, /, b=3, *args, k: int, flag=None, pair=(1, 2), **rest) -> list:
    """Say what it does.

    Over several lines, with é.
    """


async def later(n: int) -> str: ...


def items(n):
    yield n


async def stream(n):
    yield n


class Callable_:
    async def __call__(self, x: int) -> int: ...


def test_a_description_comes_back_from_its_annotations():
    sent = signatures.describe(sample)._replace(entry="m:sample", digest="ab" * 32, safe=False)
    back = signatures.from_annotations(signatures.to_annotations(sent))
    assert back is not None
    assert (back.kind, back.doc, back.entry, back.digest, back.safe, back.returns) == (
        "sync",
        inspect.getdoc(sample),
        "m:sample",
        "ab" * 32,
        False,
        "list",
    )
    assert str(signatures.signature(back)) == (
        "(a, /, b=3, *args, k: int, flag=None, pair=(1, 2), **rest) -> list"
    )
    assert back.parameters is not None
    assert isinstance(back.parameters[5].default, Opaque)


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        pytest.param(sample, "sync", id="plain"),
        pytest.param(later, "async", id="coroutine"),
        pytest.param(items, "generator", id="generator"),
        pytest.param(stream, "async generator", id="async generator"),
        pytest.param(functools.partial(later, 1), "async", id="partial of a coroutine"),
        pytest.param(Callable_(), "async", id="object with an async __call__"),
        pytest.param(len, "sync", id="builtin"),
    ],
)
def test_the_kind_is_how_the_callable_is_called(function, kind):
    assert signatures.describe(function).kind == kind
    back = signatures.from_annotations(signatures.to_annotations(signatures.describe(function)))
    assert back is not None
    assert back.kind == kind


CALLS = [
    ((), {}),
    ((1,), {}),
    ((1, 2), {"k": 1}),
    ((1, 2, 3), {"k": 1, "z": 2}),
    ((), {"a": 1, "k": 2}),
    ((1,), {"b": 2, "k": 3, "flag": 4}),
    ((1, 2), {"b": 2, "k": 3}),
]


@pytest.mark.parametrize(("args", "kwargs"), CALLS)
def test_a_call_binds_as_the_local_function_does_with_the_same_words(args, kwargs):
    parameters = signatures.describe(sample).parameters
    bind = signatures.binder("sample", parameters)
    try:
        sample(*args, **kwargs)
    except TypeError as error:
        with pytest.raises(TypeError, match=f"^{re.escape(str(error))}$"):
            bind(*args, **kwargs)
        return
    bound = inspect.signature(sample).bind(*args, **kwargs)
    bound.apply_defaults()
    assert bind(*args, **kwargs) == (bound.args, bound.kwargs)


@pytest.mark.parametrize(
    ("kind", "test"),
    [
        ("async", inspect.iscoroutinefunction),
        ("generator", inspect.isgeneratorfunction),
        ("async generator", inspect.isasyncgenfunction),
    ],
)
def test_a_face_has_the_flags_of_its_kind(kind, test):
    assert test(signatures.face("f", None, kind))
    assert not test(signatures.face("f", None, "sync"))


def test_long_texts_are_cut_into_annotations_that_a_gateway_takes():
    sent = Description(doc="é" * 9000)
    annotations = signatures.to_annotations(sent)
    assert max(len(value.encode()) for value in annotations.values()) <= 4000
    back = signatures.from_annotations(annotations)
    assert back is not None
    assert back.doc == sent.doc


def test_a_function_that_another_project_built_has_no_description():
    assert signatures.from_annotations({}) is None
    assert signatures.from_annotations({"built-with": "away"}) is None


def parameters_as(*listed, returns=""):
    data = json.dumps({"parameters": list(listed), "returns": returns})
    return {"built-with": "away", "away.protocol": '"1"', "away.signature": data}


@pytest.mark.parametrize(
    "listed",
    [
        pytest.param([{"name": "a=__import__('os')", "kind": 1}], id="code for a name"),
        pytest.param([{"name": "lambda", "kind": 1}], id="keyword"),
        pytest.param([{"name": "a", "kind": 9}], id="unknown kind"),
        pytest.param([{"name": "a", "kind": True}], id="bool for a kind"),
        pytest.param([{"name": "a", "kind": 1}, {"name": "a", "kind": 1}], id="name twice"),
        pytest.param(
            [{"name": "ﬁ", "kind": 1}, {"name": "fi", "kind": 3}], id="name twice for Python"
        ),
        pytest.param([{"name": "𝐝𝐞𝐟", "kind": 1}], id="keyword in other letters"),
        pytest.param([{"name": "a", "kind": 3}, {"name": "b", "kind": 0}], id="wrong order"),
        pytest.param([{"name": "a", "kind": 2}, {"name": "b", "kind": 2}], id="two stars"),
        pytest.param(
            [{"name": "a", "kind": 1, "default": 1}, {"name": "b", "kind": 1}],
            id="default before none",
        ),
        pytest.param([{"name": "a", "kind": 2, "default": 1}], id="default of a star"),
        pytest.param(["a"], id="not an object"),
        pytest.param([{"name": f"a{i}", "kind": 1} for i in range(300)], id="too many"),
    ],
)
def test_a_signature_that_no_function_has_is_left_unknown(listed):
    found = signatures.from_annotations(parameters_as(*listed))
    assert found is not None
    assert found.parameters is None


def test_the_text_of_an_annotation_is_never_evaluated_even_by_get_type_hints():
    import typing

    found = signatures.from_annotations(
        parameters_as({"name": "a", "kind": 1, "annotation": "print('run')"}, returns="int")
    )
    assert found is not None
    face = signatures.face("f", found.parameters, "sync")
    face.__annotations__ = {
        each.name: signatures.annotation_value(each.annotation) for each in found.parameters or ()
    }
    assert isinstance(typing.get_type_hints(face)["a"], Opaque)
    assert signatures.signature(found).return_annotation is int


def test_control_characters_in_others_texts_become_harmless():
    annotations = signatures.to_annotations(
        Description(doc="red \x1b[31m\nnext", entry="m:\x07f", returns="\x1b]0;x")
    )
    found = signatures.from_annotations(annotations)
    assert found is not None
    assert "\x1b" not in found.doc + found.entry + found.returns
    assert "\n" in found.doc


@given(
    st.dictionaries(
        st.sampled_from(
            ["away.kind", "away.signature", "away.doc", "away.entry", "away.safe", "away.digest"]
        ),
        st.text(max_size=40)
        | st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=8),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["parameters", "name", "kind"]), inner, max_size=3
                )
            ),
            max_leaves=8,
        ).map(json.dumps),
    )
)
def test_any_annotations_at_all_give_a_description(annotations):
    found = signatures.from_annotations(
        {"built-with": "away", "away.protocol": '"1"', **annotations}
    )
    assert found is not None
    assert found.kind in signatures.KINDS
    str(signatures.signature(found))
    signatures.face("f", found.parameters, found.kind)


NAMES = st.sampled_from(
    ["a", "fi", "ﬁ", "K", "K", "𝐝𝐞𝐟", "def", "None", "__debug__", "remote", "_default_0", "self", "µ",
     "__builtins__", "__class__", "args", "print", "ª", "x·", "_"]
) | st.text(max_size=3)  # fmt: skip
LISTED = st.fixed_dictionaries(
    {"name": NAMES, "kind": st.integers(0, 4)},
    optional={
        "default": st.none() | st.integers() | st.lists(st.integers(), max_size=1),
        "default_text": st.text(max_size=3),
        "annotation": st.text(max_size=3),
    },
)


@given(st.lists(LISTED, max_size=4), st.booleans(), st.sampled_from(signatures.KINDS))
def test_any_listed_parameters_give_a_function_or_none(listed, in_order, kind):
    if in_order:
        listed.sort(key=lambda each: each["kind"])
    found = signatures.from_annotations(parameters_as(*listed))
    assert found is not None
    signatures.face("f", found.parameters, kind)
    str(signatures.signature(found))
    if found.parameters is not None:
        made = signatures.binder("f", found.parameters)
        assert list(inspect.signature(made).parameters) == [each.name for each in found.parameters]


def test_a_parameter_is_called_as_python_reads_its_name():
    found = signatures.from_annotations(parameters_as({"name": "ﬁ", "kind": 3}))
    assert found is not None
    assert found.parameters is not None
    assert signatures.binder("f", found.parameters)(fi=1) == ((), {"fi": 1})


def test_parameters_are_plain_values():
    assert Parameter("a") == ("a", 1, False, None, "")
