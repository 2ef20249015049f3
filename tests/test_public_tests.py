"""Real modules published whole, and their own public tests run against the remote module.

``textwrap``, ``colorsys`` and ``statistics`` of the standard library with CPython's tests of them,
``inflection`` of PyPI with its doctests. A test module imports the remote functions in place of the
local ones; what is not remote (classes, private helpers) is the local module's. What fails is in the
tables, with the reason: an argument or a result of a type that does not travel.
"""

from __future__ import annotations

import contextlib
import doctest
import importlib
import importlib.machinery
import importlib.util
import re
import sys
import types
import unittest
from typing import TYPE_CHECKING, Any

import pytest

import away.gateway
from away import builder
from away.exceptions import UnsafeWarning

if TYPE_CHECKING:
    from collections.abc import Iterator

WHOLE = {
    "colorsys": ("hls_to_rgb", "hsv_to_rgb", "rgb_to_hls", "rgb_to_hsv", "rgb_to_yiq", "yiq_to_rgb"),
    "textwrap": ("dedent", "fill", "indent", "shorten", "wrap"),
    "inflection": (
        "camelize", "dasherize", "humanize", "ordinal", "ordinalize", "parameterize", "pluralize",
        "singularize", "tableize", "titleize", "transliterate", "underscore",
    ),
    "statistics": (
        "correlation", "covariance", "fmean", "geometric_mean", "harmonic_mean", "linear_regression",
        "mean", "median", "median_grouped", "median_high", "median_low", "mode", "multimode",
        "pstdev", "pvariance", "quantiles", "stdev", "variance",
    ),
}  # fmt: skip

# Not run: what never comes to a remote function, and what takes too long for what it shows.
SKIPPED = {
    "DocTests": "is run here, against the remote docstrings",
    "SumTortureTest": "a private helper",
    "SumSpecialValues": "a private helper",
    "TestSum": "a private helper",
    "TestSqrtHelpers": "a private helper",
    "TestNormalDistC": "a class, which is not remote",
    "TestNormalDistPython": "a class, which is not remote",
    "TestNumericTestCase": "the tests' own assertions",
    "ApproxEqualSymmetricTest": "the tests' own assertions",
    "ApproxEqualUnequalTest": "the tests' own assertions",
    "ApproxEqualExactTest": "the tests' own assertions",
    "ApproxEqualSpecialsTest": "the tests' own assertions",
    "TestApproxEqualErrors": "the tests' own assertions",
    "test_hsv_roundtrip": "432 calls as in test_hls_roundtrip, and nothing else",
    "test_yiq_roundtrip": "432 calls as in test_hls_roundtrip, and nothing else",
    "test_equal_sized_groups": "a thousand calls of one form",
    # And of the tests that each function of statistics inherits, where they only count on:
    "test_compare_to_variance": "the same calls as the tests of variance",
    "test_no_inplace_modifications": "what is sent is a copy",
    "test_order_doesnt_matter": "the same call as others, on shuffled data",
}

# By what fails and why: the type that does not travel, and how many tests have it. With
# safe_args=False, pickles carry all of these but a generator and a class that a test makes itself.
FAILING = {
    "colorsys": {},
    "textwrap": {
        # predicate=str.isspace and lambdas
        "function": {"test_indent_all_lines", "test_indent_empty_lines", "test_indent_no_lines",
                     "test_indent_nomargin_all_lines"},
    },
    "statistics": {
        "decimal.Decimal": {
            "test_basics", "test_decimals", "test_decimals_exact", "test_even_decimals", "test_inf",
            "test_nan", "test_odd_decimals", "test_regression_20561",
            "test_repeated_single_value", "test_types_conserved", "test_various_input_types",
        },
        "fractions.Fraction": {
            "test_even_fractions", "test_fractions", "test_odd_fractions",
            "test_repeated_single_value", "test_single_value",
        },
        "range": {"test_range_data", "test_basics"},
        "list_iterator": {
            "test_empty_data", "test_error_cases", "test_iter_list_same",
            "test_type_of_data_collection", "test_weights", "test_with_weights",
        },
        "collections.Counter": {"test_counter_data"},
        "map": {"test_specific_cases", "test_specific_cases_inclusive"},
        "statistics.LinearRegression": {"test_proportional", "test_results"},
        "a class of the test": {"test_type_of_data_element"},
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def faas(tmp_path_factory) -> Iterator[Any]:
    with away.gateway.run(state=tmp_path_factory.mktemp("state"), announce=False) as gateway:
        yield gateway


@pytest.fixture
def remote(faas, monkeypatch) -> Any:
    """Publish a module whole and import what stands for it."""
    monkeypatch.setenv("AWAY_GATEWAY_WHOLE_URL", faas.url)
    monkeypatch.setenv("AWAY_GATEWAY_WHOLE_PASSWORD", faas.password)

    def published(name: str) -> types.ModuleType:
        builder.publish_module(name, faas, verbose=False)
        return importlib.import_module(f"away.remote.whole.{name}")

    yield published
    for name in [each for each in sys.modules if each.startswith("away.remote.whole")]:
        del sys.modules[name]


@contextlib.contextmanager
def in_place_of(name: str, functions: dict[str, Any]) -> Iterator[types.ModuleType]:
    """Let imports of a local module find remote functions in it."""
    local = importlib.import_module(name)
    stand_in = types.ModuleType(name)
    stand_in.__dict__.update({**vars(local), **functions})
    sys.modules[name] = stand_in
    try:
        yield stand_in
    finally:
        sys.modules[name] = local
        sys.modules.pop(f"test.test_{name}", None)


def functions_of(module: Any, **options: Any) -> dict[str, Any]:
    names = [each for each in module.__all__ if callable(getattr(module, each))]
    return {each: getattr(module, each).options(**options) for each in names}


def cases_of(name: str, only: set[str] | None = None) -> list[unittest.TestCase]:
    """Load CPython's own tests of a module, which import what stands in for it now."""
    # By the finder itself: pytest would rewrite its assertions.
    package = importlib.util.find_spec("test")
    folders = package.submodule_search_locations if package else []
    spec = importlib.machinery.PathFinder.find_spec(f"test.test_{name}", folders)
    if spec is None or spec.loader is None:
        pytest.skip("this Python came without its tests")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # pickles of its functions look for it
    spec.loader.exec_module(module)
    classes = [each for each in vars(module).values() if isinstance(each, type)]
    cases = [each for each in classes if issubclass(each, unittest.TestCase)]
    loaded = [
        test
        for case in cases
        if case.__name__ not in SKIPPED
        for test in unittest.defaultTestLoader.loadTestsFromTestCase(case)
    ]
    return [
        each
        for each in loaded
        if each._testMethodName not in SKIPPED and (not only or each._testMethodName in only)
    ]


def calls_of(faas: Any, name: str) -> int:
    """Tell how many calls of a function the gateway has counted; only its list says so."""
    return sum(
        each.invocation_count or 0 for each in faas.functions(fresh=True) if each.name == name
    )


def failures(tests: list[unittest.TestCase]) -> dict[str, set[str]]:
    """Run tests and tell which failed, by the type that did not travel."""
    result = unittest.TestResult()
    for each in tests:
        each.run(result)
    found: dict[str, set[str]] = {}
    for test, traceback in [*result.failures, *result.errors]:
        said = traceback.strip().splitlines()[-1]
        kind = re.search(r"CannotTravel: .* is an? ([\w.<>]+), which", said)
        reason = kind[1] if kind else said
        if "<locals>" in reason:
            reason = "a class of the test"
        # A subtest is named after its test.
        name = getattr(test, "test_case", test)._testMethodName
        found.setdefault(reason, set()).add(name)
    return found


# How many tests there are to run in Python 3.11, and how many calls of the gateway they make at least.
RUN = {"colorsys": (5, 450), "textwrap": (66, 60), "statistics": (259, 300)}


@pytest.mark.parametrize("name", RUN)
def test_cpythons_tests_of_a_module_pass_but_for_what_cannot_travel(faas, remote, name):
    module = remote(name)
    before = calls_of(faas, name)
    # Later versions of Python have more.
    assert set(WHOLE[name]) <= set(functions_of(module))
    with in_place_of(name, functions_of(module)):
        tests = cases_of(name)
        found = failures(tests)
    called = calls_of(faas, name) - before
    assert len(tests) >= RUN[name][0] * 0.9, "a test module of CPython's lost its tests"
    assert called >= RUN[name][1], f"{called}: the tests called the local functions"
    if sys.version_info[:2] == (3, 11):
        assert found == FAILING[name]
    else:
        assert not [each for each in found if ":" in each], "for another reason than a type"


def test_what_fails_for_its_arguments_passes_with_pickles(faas):
    with pytest.warns(UnsafeWarning):
        module = builder.publish_module(
            "textwrap", faas, name="unsafe-textwrap", safe_args=False, verbose=False
        )
    only = FAILING["textwrap"]["function"]
    with in_place_of("textwrap", functions_of(module, safe_args=False)):
        tests = cases_of("textwrap", only)
        assert failures(tests) == {}
    assert {each._testMethodName for each in tests} == only


# Examples of remote docstrings, how many pass, and what those that fail gave or were given.
DOCTESTS = {
    "inflection": (39, set()),
    "textwrap": (2, set()),
    "statistics": (
        51,
        {"decimal.Decimal", "fractions.Fraction", "statistics.LinearRegression"},
    ),
}


@pytest.mark.parametrize("name", DOCTESTS)
def test_the_examples_of_remote_docstrings_run(remote, name):
    module = remote(name)
    local = importlib.import_module(name)
    texts: list[str] = []
    runner = doctest.DocTestRunner(verbose=False)
    finder = doctest.DocTestFinder(exclude_empty=True)
    given = {**vars(local), **functions_of(module), name: module}
    for each in functions_of(module):
        for found in finder.find(getattr(module, each), each, module=False, globs=dict(given)):
            runner.run(found, out=texts.append)
    reasons = set(re.findall(r"CannotTravel: .* is an? ([\w.<>]+), which", "".join(texts)))
    if name != "statistics" or sys.version_info[:2] == (3, 11):
        assert (runner.tries - runner.failures, reasons) == DOCTESTS[name]
    else:
        assert runner.tries - runner.failures >= 40


def test_the_constants_of_a_module_come_along(remote):
    import inflection

    module = remote("inflection")
    assert inflection.UNCOUNTABLES == module.UNCOUNTABLES
    assert type(module.PLURALS) is list
    assert inflection.PLURALS == module.PLURALS
