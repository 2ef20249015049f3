"""One tree of errors: each can be caught by its parent, and travels between processes."""

from __future__ import annotations

import copy
import pickle

import pytest

from away import exceptions
from away.exceptions import AwayError

TREE = [
    each
    for each in vars(exceptions).values()
    if isinstance(each, type) and issubclass(each, AwayError)
]


@pytest.mark.parametrize("cls", TREE, ids=lambda cls: cls.__name__)
def test_every_error_pickles_with_its_fields_and_notes(cls):
    error = cls(
        "something broke",
        gateway="http://127.0.0.1:8080",
        function="fibonacci",
        status=500,
        call_id="c-1",
        hint="look there",
        step="push",
    )
    error.add_note("a note")
    for back in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(back) is cls
        assert str(back) == "something broke"
        assert (back.gateway, back.function, back.status) == (
            "http://127.0.0.1:8080",
            "fibonacci",
            500,
        )
        assert (back.call_id, back.hint, back.step) == ("c-1", "look there", "push")
        assert back.__notes__ == ["a note"]


@pytest.mark.parametrize(
    ("cls", "language"),
    [
        (exceptions.ConfigError, ValueError),
        (exceptions.UnknownGateway, ValueError),
        (exceptions.NameRefused, ValueError),
        (exceptions.FunctionNotFound, LookupError),
        (exceptions.SecretNotFound, LookupError),
        (exceptions.CallTimedOut, TimeoutError),
        (exceptions.CannotTravel, TypeError),
        (exceptions.CaptureRefused, TypeError),
    ],
)
def test_errors_are_also_what_the_language_calls_them(cls, language):
    assert issubclass(cls, language)


@pytest.mark.parametrize("cls", TREE, ids=lambda cls: cls.__name__)
def test_an_import_can_raise_each_error_that_it_needs_to(cls):
    if issubclass(cls, OSError):
        return
    both = type("Both", (cls, ImportError), {})
    assert isinstance(both("x"), ImportError)


def test_the_tree_in_the_docstring_names_every_class():
    for cls in TREE:
        assert cls.__name__ in (exceptions.__doc__ or "")
    assert set(exceptions.__all__) >= {cls.__name__ for cls in TREE}
