"""A Python name and the name at the gateway find each other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from away import names
from away.exceptions import NameRefused


@pytest.mark.parametrize(
    ("given_name", "deployed"),
    [
        ("sum_two_numbers", "sum-two-numbers"),
        ("Fibonacci", "fibonacci"),
        ("_private_", "private"),
        ("f2", "f2"),
        ("a-b", "a-b"),
    ],
)
def test_a_python_name_becomes_a_dns_label(given_name, deployed):
    assert names.function_name(given_name) == deployed


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        pytest.param("café", "lower case letters", id="non-ASCII"),
        pytest.param("<lambda>", "lower case letters", id="lambda"),
        pytest.param("a__b", "single dashes", id="two dashes"),
        pytest.param("___", "pass name=", id="nothing left"),
        pytest.param("", "pass name=", id="empty"),
        pytest.param("a.b", "pass name=", id="dot"),
        pytest.param("x" * 64, "64 characters", id="too long"),
    ],
)
def test_a_name_that_cannot_be_deployed_is_refused_in_words(bad, said):
    with pytest.raises(NameRefused, match=said):
        names.function_name(bad)


def test_a_dash_and_a_keyword_are_found_by_identifiers():
    assert names.candidates("sum_two_numbers") == ("sum_two_numbers", "sum-two-numbers")
    assert "import" in names.candidates("import_")
    assert names.python_name("import") == "import_"
    assert names.python_name("sum-two-numbers") == "sum_two_numbers"


@pytest.mark.parametrize("bad", ["a/b", "../x", "a.b", "a b", "", "é", "a" * 64, "x?y", "x%2f"])
def test_a_name_that_would_change_the_path_is_refused(bad):
    with pytest.raises(NameRefused, match="letters, digits"):
        names.check_callable_name(bad)


def test_the_nearest_names_come_first():
    known = ["fibonacci", "sum-two-numbers", "shasum"]
    assert names.nearest("fibonaci", known) == ["fibonacci"]
    assert names.nearest("sum_two_number", known)[0] == "sum-two-numbers"
    assert names.nearest("zzz", known) == []


@given(st.text(max_size=80))
def test_every_text_is_refused_or_becomes_a_name_that_deploys(text):
    try:
        deployed = names.function_name(text)
    except NameRefused:
        return
    assert names.function_name(deployed) == deployed
    assert names.check_callable_name(deployed) == deployed


@given(st.text())
def test_nothing_printable_moves_a_cursor(text):
    assert all(c.isprintable() for c in names.printable(text))


def test_a_suggestion_is_alike_or_lists_what_there_is():
    assert names.suggestion("fibonaci", ["fibonacci", "x"]) == "did you mean 'fibonacci'?"
    assert names.suggestion("nope", ["mine", "yours"]) == "there are 'mine', 'yours'"
    assert names.suggestion("nope", []) == "there are none"
