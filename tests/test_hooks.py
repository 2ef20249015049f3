"""The import hook: what each form of an import does, sends and raises.

The gateway here is a server of a few lines that lists what a test makes up, counts the requests and
can be slow, refuse or answer garbage; functions that run are in tests/end_to_end.
"""

from __future__ import annotations

import asyncio
import copy
import doctest
import functools
import importlib
import importlib.util
import inspect
import itertools
import json
import os
import pickle
import pkgutil
import pydoc
import re
import subprocess
import sys
import textwrap
import threading
import time
import traceback
import types
import unittest.mock

import dill
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import away.remote
from away import FaasConnection, config, exceptions, functions, hooks, signatures
from away import names as names_module
from away.connection import FunctionInfo
from away.hooks import errors
from away.hooks.finder import GatewayEntry, GatewayFinder
from away.hooks.listing import Listing
from tests import servers
from tests.listing_gateway import PASSWORD, Gateway, configured, published


@pytest.fixture
def gateway():
    made = Gateway()
    yield made
    made.close()


@pytest.fixture
def name(gateway, own_environment):
    """The gateway's configured name, of this test alone."""
    with configured("gw", gateway.url) as made:
        yield made


@pytest.fixture
def module(name):
    return importlib.import_module(f"away.remote.{name}")


def run_import(statement, name, **names):
    """Run a statement in which GW stands for the gateway's module."""
    scope = dict(names)
    exec(statement.replace("GW", f"away.remote.{name}"), scope)
    return scope


# ---------------------------------------------------------------- finding


def test_the_finder_is_installed_once_and_last():
    importlib.reload(away.remote)
    hooks.install()
    finders = [each for each in sys.meta_path if isinstance(each, GatewayFinder)]
    assert len(finders) == 1
    assert sys.path_hooks.count(GatewayEntry) == 1
    assert sum("<gateways>" in each for each in away.remote.__path__) == 1


def test_what_the_package_offers_is_listed_before_it_is_used():
    code = "from away import hooks; print(set(hooks.__all__) <= set(dir(hooks)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ran.stdout, ran.stderr) == ("True\n", "")


@pytest.mark.parametrize(
    "statement",
    [
        "import GW",
        "import GW as gw; repr(gw); gw.__doc__; hasattr(gw, '_x'); hasattr(gw, '__wrapped__')",
        "import importlib.util; assert importlib.util.find_spec('GW')",
        "import importlib; importlib.reload(importlib.import_module('GW'))",
        "import GW, pkgutil, away.remote; list(pkgutil.walk_packages(away.remote.__path__))",
    ],
)
def test_nothing_is_sent_before_a_function_is_asked_for(statement, gateway, name):
    run_import(statement, name)
    assert gateway.asked == []


@pytest.mark.parametrize(
    "statement",
    [
        "from GW import fibonacci, add",
        "import GW as gw; gw.fibonacci; gw.add; gw.fibonacci",
        "from GW import fibonacci\nfrom GW import add",
        "from GW import *",
        "import GW as gw; dir(gw); gw.add",
        "import GW as gw; gw['fibonacci']; gw['add']",
        "import GW as gw; hasattr(gw, 'add')",
    ],
)
def test_one_list_serves_all(statement, gateway, name):
    gateway.functions = [published("fibonacci"), published("add")]
    run_import(statement, name)
    assert gateway.lists == len(gateway.asked) == 1


def test_a_module_looks_like_a_package_without_a_file(gateway, name, module):
    assert (len(module.__path__), module.__package__) == (1, module.__name__)
    assert not os.path.exists(module.__path__[0])
    assert not hasattr(module, "__file__")
    assert module.__spec__.origin == gateway.url
    assert repr(module) == f"<module 'away.remote.{name}' (gateway at {gateway.url})>"
    assert PASSWORD not in repr(module) + repr(vars(module)) + repr(module.__spec__)


def test_gateways_are_listed_by_pkgutil_without_a_request(gateway, name):
    for _ in range(2):
        found = list(pkgutil.walk_packages(away.remote.__path__, "away.remote."))
        assert (f"away.remote.{name}", True) in [(each.name, each.ispkg) for each in found]
        importlib.invalidate_caches()
    assert gateway.asked == []


@pytest.mark.parametrize("package", ["away.remote", "away.remote.aio"])
def test_a_package_shows_gateways_and_no_machinery_and_a_star_takes_none(package, gateway, name):
    module = importlib.import_module(package)
    assert name not in dir(module)  # it is no attribute yet
    importlib.import_module(f"{package}.{name}")
    shown = dir(module)
    assert name in shown
    assert all(hasattr(module, each) for each in shown)
    assert not {"sys", "annotations", "_finder"} & set(shown)
    scope = {}
    exec(f"from {package} import *", scope)
    assert set(scope) == {"__builtins__"}
    assert gateway.asked == []


def test_an_unreadable_configuration_does_not_break_a_listing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "away.toml").write_text("[gateways.x\n")
    assert [each.name for each in pkgutil.iter_modules(away.remote.__path__)] == ["aio"]


def test_a_gateway_is_nothing_to_run():
    ran = subprocess.run(
        [sys.executable, "-m", "away.remote.default"], capture_output=True, text=True
    )
    assert ran.returncode == 1
    assert "is a package and cannot be directly executed" in ran.stderr


# ---------------------------------------------------------------- functions


def test_signature_docstring_and_kind_come_from_the_annotations(gateway, module):
    gateway.functions = [
        published("fibonacci", doc="Give the n-th."),
        published("later", kind="async", parameters=("a", "b")),
    ]
    assert str(inspect.signature(module.fibonacci)) == "(n: int) -> int"
    assert (module.fibonacci.__doc__, module.fibonacci.__name__) == ("Give the n-th.", "fibonacci")
    assert module.fibonacci.__module__ == module.__name__
    assert inspect.iscoroutinefunction(module.later)
    assert asyncio.iscoroutinefunction(module.later)
    assert not inspect.iscoroutinefunction(module.fibonacci)
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        module.fibonacci()
    assert gateway.lists == len(gateway.asked)


@pytest.mark.parametrize(
    ("deployed", "python"),
    [
        ("fibonacci-x", "fibonacci_x"),
        ("fibonacci_x", "fibonacci_x"),
        ("import", "import_"),
        ("print", "print"),
        ("a-b_c", "a_b_c"),
        ("match", "match"),
    ],
)
def test_a_function_goes_by_its_python_name(deployed, python, gateway, name):
    gateway.functions = [published(deployed), {"name": "other"}]
    scope = run_import(f"from GW import {python} as f", name)
    assert scope["f"].function_name == deployed
    star = run_import("from GW import *", name)
    assert star[python] is scope["f"]


@pytest.mark.parametrize(
    ("deployed", "written", "finds"),
    [
        ("cafe", "café", True),
        ("sumtwo", "SumTwo", True),
        ("short", "a" * 64, True),
        ("summer", "sum_two_numbers", False),  # another name was chosen for it
    ],
)
def test_what_no_function_can_be_called_goes_by_what_was_written(
    deployed, written, finds, gateway, module
):
    gateway.functions = [published(deployed, entry=f"shop:{written}")]
    assert hasattr(module, written) is finds
    assert (written in dir(module)) is finds
    assert module[deployed].function_name == deployed
    if finds:
        assert getattr(module, written) is getattr(module, deployed)
        assert getattr(module, written).__name__ == written
    assert all(path.isascii() for path in gateway.asked)


def test_a_name_is_read_as_the_parser_reads_identifiers(gateway, module):
    gateway.functions = [published("cafe", entry="shop:café")]
    assert getattr(module, "cafe\N{COMBINING ACUTE ACCENT}") is module.cafe


def test_two_functions_of_one_python_name_are_an_error_that_says_the_way_out(gateway, name, module):
    gateway.functions = [{"name": "foo-bar"}, {"name": "foo_bar"}, {"name": "other"}]
    for form in ("from GW import foo_bar", "import GW as g; g.foo_bar"):
        with pytest.raises(ImportError) as caught:
            run_import(form, name)
        assert isinstance(caught.value, exceptions.NameRefused)
        for word in ("foo-bar", "foo_bar", f"{name}['foo-bar']"):
            assert word in str(caught.value)
    assert module["foo-bar"].function_name == "foo-bar"
    assert module["foo_bar"].function_name == "foo_bar"
    assert "foo_bar" not in module.__all__
    assert run_import("from GW import *", name)["other"]


def test_names_that_no_gateway_could_call_hide_nothing_else(gateway, name, module):
    hostile = ["a.b", "../x", "\x1b[31m", "x y", "", "é"]
    gateway.functions = [*({"name": each} for each in hostile), {"name": "3d"}, {"name": "ok"}]
    assert module.__all__ == ["ok"]
    assert "\x1b" not in "".join(dir(module))
    with pytest.raises(ImportError) as caught:
        run_import("from GW import a_b", name)
    assert "\x1b" not in str(caught.value)
    assert module["3d"].function_name == "3d"
    assert all("/function/" not in path for path in gateway.asked)


def test_dir_and_help_show_the_functions(gateway, module):
    gateway.functions = [published("fibonacci", doc="Give the n-th."), {"name": "cat"}]
    assert {"fibonacci", "cat", "__name__"} <= set(dir(module))
    text = pydoc.plain(pydoc.render_doc(module))
    assert "__getattr__" not in text
    assert "__dir__" not in text
    assert "FUNCTIONS" in text
    assert "fibonacci(n: int) -> int" in text
    assert "Give the n-th." in text
    assert gateway.lists == len(gateway.asked) == 1


def test_tools_that_look_at_everything_send_one_list(gateway, module):
    gateway.functions = [published("fibonacci", doc=">>> 1 + 1\n2")]
    inspect.getmembers(module)
    doctest.DocTestFinder().find(module, module.__name__)
    with unittest.mock.patch.object(module, "fibonacci", autospec=True):
        pass
    assert unittest.mock.create_autospec(module.fibonacci)
    assert functools.wraps(module.fibonacci)(lambda n: n).__name__ == "fibonacci"
    assert gateway.lists == len(gateway.asked) == 1


def test_an_item_is_a_function_by_its_own_name(gateway, module):
    gateway.functions = [published("foo-bar")]
    assert module["foo-bar"] is module.foo_bar is module["foo_bar"]
    with pytest.raises(exceptions.FunctionNotFound, match="has no function 'nope'"):
        module["nope"]
    with pytest.raises(TypeError):
        list(module)


# ---------------------------------------------------------------- what is missing


@pytest.mark.parametrize(
    "form",
    [
        "from GW import fibonaci",
        "def f():\n    from GW import fibonaci\nf()",
        "exec('from GW import fibonaci')",
        "next(x for x in [0] for _ in [exec('from GW import fibonaci')])",
        "class C:\n    from GW import fibonaci",
        "from GW import add, fibonaci",
        "import asyncio\nasync def f():\n    from GW import fibonaci\nasyncio.run(f())",
    ],
)
def test_a_missing_name_is_an_import_error_that_says_what_there_is(form, gateway, name):
    gateway.functions = [published(each) for each in ("add", "fibonacci", "zero")]
    with pytest.raises(ImportError) as caught:
        run_import(form, name)
    error = caught.value
    assert isinstance(error, exceptions.FunctionNotFound)
    assert not isinstance(error, AttributeError)
    assert error.name == f"away.remote.{name}"
    assert "has no function 'fibonaci'; it has fibonacci, add, zero" in str(error)
    assert error.nearest == ("fibonacci",)
    assert (error.gateway, error.function) == (gateway.url, "fibonaci")
    # A list that was there before the name was asked for is fetched once more, and only once.
    assert gateway.lists == (2 if "add," in form else 1)


def test_own_words_hold_past_specialisation_and_under_tracing(gateway, name):
    gateway.functions = [published("add")]
    code = "from GW import nope".replace("GW", f"away.remote.{name}")
    scope = {}
    exec(f"def f():\n    {code}", scope)
    sys.settrace(lambda *args: None)
    try:
        for _ in range(16):
            with pytest.raises(ImportError, match="has no function 'nope'"):
                scope["f"]()
    finally:
        sys.settrace(None)


def test_a_missing_attribute_is_an_attribute_error(gateway, module):
    gateway.functions = [published("fibonacci")]
    with pytest.raises(
        AttributeError, match="has no function 'fibonaci'; it has fibonacci"
    ) as caught:
        module.fibonaci
    assert isinstance(caught.value, exceptions.FunctionNotFound)
    assert not isinstance(caught.value, ImportError)
    assert caught.value.name == "fibonaci"
    assert not hasattr(module, "fibonaci")
    assert getattr(module, "fibonaci", None) is None


def test_printing_a_traceback_sends_nothing(gateway, module):
    gateway.functions = [published("fibonacci")]
    for missing in ("fibonaci", "_fibonacci"):
        try:
            getattr(module, missing)
        except AttributeError as error:
            asked = list(gateway.asked)
            import traceback

            text = "".join(traceback.format_exception(error))
            assert "Did you mean" not in text
            assert gateway.asked == asked


def test_a_name_deployed_since_is_found(gateway, module):
    gateway.functions = [published("one")]
    assert module.one
    gateway.functions = [published("one"), published("two")]
    assert module.two
    assert gateway.lists == 2


def test_an_empty_gateway_says_so(module):
    with pytest.raises(AttributeError, match="it has no functions yet"):
        module.x


def test_a_long_list_is_cut(gateway, module):
    gateway.functions = [{"name": f"f{number}"} for number in range(1000)]
    with pytest.raises(AttributeError, match=r"and 990 more$"):
        module.nothing_like_it


@pytest.mark.parametrize("form", ["import GW.fib", "from GW.fib import x", "import GW.fib.x"])
def test_a_function_is_no_module(form, gateway, name):
    gateway.functions = [published("fib")]
    with pytest.raises(ModuleNotFoundError, match=r"functions are no modules; write from"):
        run_import(form, name)
    assert importlib.util.find_spec(f"away.remote.{name}.fib") is None


def test_tools_that_ask_politely_hear_no(gateway, name):
    gateway.functions = [published("fib")]
    path = f"away.remote.{name}"
    assert pydoc.locate(f"{path}.nope") is None
    assert pydoc.locate("away.remote.nogw") is None
    assert importlib.util.find_spec("away.remote.nogw") is None
    assert __import__(path, fromlist=["nope"]) is sys.modules[path]
    with pytest.raises(AttributeError):
        pkgutil.resolve_name(f"{path}:nope")
    with pytest.raises(AttributeError), unittest.mock.patch(f"{path}.nope"):
        pass
    with pytest.raises(pytest.skip.Exception):
        pytest.importorskip("away.remote.nogw")


# ---------------------------------------------------------------- gateways that are none


UNKNOWN_FORMS = [
    "import away.remote.mishop",
    "from away.remote import mishop",
    "from away.remote.mishop import f",
    "import importlib; importlib.import_module('away.remote.mishop')",
    "import away; away.hooks.load_sync('mishop')",
]


@pytest.mark.parametrize("form", UNKNOWN_FORMS)
def test_an_unknown_gateway_is_named_beside_the_configured_ones(form):
    config.configure("myshop", url="http://127.0.0.1:9")
    try:
        with pytest.raises(ModuleNotFoundError) as caught:
            run_import(form, "")
    finally:
        config.forget("myshop")
    assert isinstance(caught.value, exceptions.UnknownGateway)
    assert caught.value.name == "away.remote.mishop"
    assert "no gateway 'mishop' is configured; configured are myshop, default" in str(caught.value)
    with pytest.raises(
        ModuleNotFoundError, match="; did you mean 'local', the gateway of 'away up'"
    ):
        run_import("import away.remote.locl", "")


def test_an_unknown_gateway_as_an_attribute_is_an_attribute_error(name):
    with pytest.raises(AttributeError, match="no gateway 'nogw' is configured"):
        away.remote.nogw
    with pytest.raises(AttributeError, match=f"write import away.remote.{name}"):
        getattr(away.remote, name)
    assert not hasattr(away.remote, "nogw")


@pytest.mark.parametrize(
    ("gateway_name", "text"),
    [("aio.Default", "gateway"), ("Default", "gateway")],
)
def test_names_that_are_no_gateways_say_why(gateway_name, text):
    above, _, last = f"away.remote.{gateway_name}".rpartition(".")
    for form in (f"import {above}.{last}", f"from {above} import {last}"):
        with pytest.raises(ModuleNotFoundError, match=text) as caught:
            run_import(form, "")
        assert isinstance(caught.value, exceptions.UnknownGateway)


def test_without_a_running_gateway_local_tells_how_to_start_one():
    # In a process of its own: another test's gateway may run in this one.
    said = child(
        """
        for form in ("import away.remote.local", "from away.remote import local"):
            try:
                exec(form)
            except ModuleNotFoundError as error:
                print(error, error.name)
        """
    )
    assert said.count("start one with 'away up' away.remote.local") == 2


@pytest.mark.parametrize("form", UNKNOWN_FORMS[:4])
def test_a_configuration_that_cannot_be_read_is_named(form, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "away.toml").write_text('[gateways.mishop]\nurl = "http://127.0.0.1"\nusr = "x"\n')
    with pytest.raises(ImportError, match=r"away\.toml") as caught:
        run_import(form, "")
    assert isinstance(caught.value, exceptions.ConfigError)
    assert not isinstance(caught.value, ModuleNotFoundError)


# ---------------------------------------------------------------- gateways that fail


def answers(status, headers, body):
    def set_answer(gateway):
        gateway.answer = (status, headers, body)

    return set_answer


def refuses(gateway):
    gateway.reply = lambda _: (401, {}, b"invalid credentials\n")


FAILURES = {
    "down": (Gateway.close, exceptions.GatewayUnreachable),
    "wrong password": (refuses, exceptions.AuthenticationRefused),
    "500": (answers(500, {}, b"oh no"), exceptions.GatewayError),
    "302 to a login page": (
        answers(302, {"Location": "https://login.example/"}, b""),
        exceptions.AwayError,
    ),
    "html": (answers(200, {"Content-Type": "text/html"}, b"<html>hi"), exceptions.AwayError),
    "garbage": (answers(200, {"Content-Type": "application/json"}, b"{["), exceptions.AwayError),
    "an object": (answers(200, {}, b'{"a": 1}'), exceptions.AwayError),
}
FORMS = {
    "from": "from GW import f",
    "attribute": "import GW as g; g.f",
    "hasattr": "import GW as g; hasattr(g, 'f')",
    "star": "from GW import *",
    "item": "import GW as g; g['f']",
    "dir": "import GW as g; dir(g)",
    "load_sync": "import GW, away; away.hooks.load_sync('GW'.rpartition('.')[2])",
    "load": "import GW, away, asyncio; asyncio.run(away.hooks.load('GW'.rpartition('.')[2]))",
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("failure", FAILURES)
def test_a_gateway_that_fails_is_both_errors_and_is_asked_again(failure, form, name, request):
    fail, kind = FAILURES[failure]
    gateway = request.getfixturevalue("gateway")
    run_import("import GW", name)
    config.configure(name, connect_timeout=0.5)  # as long as a refused connection is tried again
    made = Gateway() if failure == "down" else gateway
    if made is not gateway:
        config.configure(name, url=made.url, user="admin", password=PASSWORD)
        importlib.invalidate_caches()
    fail(made)
    with pytest.raises(ImportError) as caught:
        run_import(FORMS[form], name)
    error = caught.value
    assert isinstance(error, kind)
    assert not isinstance(error, AttributeError | ModuleNotFoundError)
    assert error.name == f"away.remote.{name}"
    shown = "".join(traceback.format_exception(error))
    assert PASSWORD not in shown
    # One error is shown, and not those of sockets and drivers that it came from.
    assert shown.count("Traceback (most recent call last)") == 1
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.name) == (type(error), str(error), error.name)
    # The module is there, and the next try asks anew.
    config.configure(name, url=gateway.url, password=PASSWORD, connect_timeout=3)
    importlib.invalidate_caches()
    gateway.answer = None
    vars(gateway).pop("reply", None)
    gateway.functions = [published("f")]
    assert run_import("from GW import f", name)["f"].function_name == "f"


def test_a_slow_gateway_costs_no_more_than_connect_timeout(gateway, name, module):
    config.configure(name, connect_timeout=0.3)
    importlib.invalidate_caches()
    gateway.seconds = 2.0
    started = time.monotonic()
    with pytest.raises(ImportError) as caught:
        run_import("from GW import f", name)
    assert time.monotonic() - started < 1.9
    assert isinstance(caught.value, exceptions.GatewayUnreachable)


@pytest.mark.parametrize(
    "kind", [each for each in vars(errors).values() if isinstance(each, type)], ids=str
)
def test_every_error_pickles(kind):
    if not issubclass(kind, ImportError | AttributeError) or not issubclass(
        kind, exceptions.AwayError
    ):
        return
    error = kind("text", name="n", gateway="g", status=500, hint="h")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.name) == (kind, "text", "n")
    assert vars(again) == vars(error)
    assert copy.copy(error).gateway == "g"


@pytest.mark.parametrize("kind", exceptions.__all__)
def test_every_error_of_away_has_a_counterpart_that_is_an_import_error(kind):
    error = getattr(exceptions, kind)
    if not issubclass(error, exceptions.AwayError):
        return
    converted = errors.as_import_error(error("text", gateway="g", name="other"), "away.remote.x")
    assert (str(converted), converted.name, converted.gateway) == ("text", "away.remote.x", "g")


# ---------------------------------------------------------------- reloading and keeping


def test_functions_in_hand_stay_valid_over_a_reload(gateway, name, module):
    gateway.functions = [published("fib"), published("gone")]
    fib = module.fib
    assert module.gone
    gateway.functions = [published("fib", parameters=("n", "m"), doc="New."), published("new")]
    assert importlib.reload(module) is module
    assert gateway.lists == 1
    assert module.fib is fib
    assert (str(inspect.signature(fib)), fib.__doc__) == ("(n: int, m: int) -> int", "New.")
    assert not hasattr(module, "gone")
    assert module.new
    assert pickle.loads(pickle.dumps(fib)) is fib


@pytest.mark.parametrize(
    "through", [copy.copy, copy.deepcopy, lambda f: pickle.loads(pickle.dumps(f))]
)
def test_functions_come_back_from_pickles_and_copies_as_themselves(gateway, name, module, through):
    gateway.functions = [published("fib"), published("later", kind="async")]
    awaited = importlib.import_module(f"away.remote.aio.{name}").fib
    given = [module.fib, module.later, awaited]
    assert [id(through(each)) for each in given] == [id(each) for each in given]
    assert {module.fib.aio: 1}[through(module.fib.aio)] == 1


def test_what_was_pickled_of_a_renewed_function_is_not_taken_for_it(gateway, module):
    gateway.functions = [published("fib")]
    fib = module.fib
    data = pickle.dumps(fib)
    gateway.functions = [published("fib", parameters=("n", "m"))]
    importlib.reload(module)
    assert module.fib is fib
    old = pickle.loads(data)
    assert old is not fib
    assert list(inspect.signature(old).parameters) == ["n"]
    assert pickle.loads(pickle.dumps(fib)) is fib


def test_a_function_in_hand_learns_that_it_became_async(gateway, module):
    gateway.functions = [published("fib")]
    fib = module.fib
    gateway.functions = [published("fib", kind="async")]
    importlib.invalidate_caches()
    assert "fib" in dir(module)
    assert module.fib is fib
    assert inspect.iscoroutinefunction(fib)


def test_invalidate_caches_asks_anew_for_the_list(gateway, module):
    gateway.functions = [published("fib")]
    assert module.fib
    gateway.functions = [published("fab")]
    importlib.invalidate_caches()
    assert gateway.lists == 1
    assert "fib" not in dir(module)
    assert module.fab
    assert gateway.lists == 2


def test_invalidate_caches_follows_a_gateway_that_moved(gateway, name, module):
    gateway.functions = [published("fib")]
    fib = module.fib
    moved = Gateway()
    try:
        moved.functions = [published("fib")]
        config.configure(name, url=moved.url, user="admin", password=PASSWORD)
        importlib.reload(module)
        assert module.fib is fib
        assert fib.connection.url == moved.url
        assert moved.url in repr(module)
    finally:
        moved.close()


def test_a_gateway_that_moved_is_followed_with_the_next_list(gateway, name, module):
    assert not hasattr(module, "fib")
    moved = Gateway()
    try:
        moved.functions = [published("fib")]
        config.configure(name, url=moved.url, user="admin", password=PASSWORD)
        assert module.fib.connection.url == moved.url
    finally:
        moved.close()


def test_what_a_user_put_into_the_module_stays(gateway, module):
    gateway.functions = [published("fib")]
    assert module.fib
    module.fib = module.mine = 3
    importlib.reload(module)
    assert "fib" in dir(module)
    assert (module.fib, module.mine) == (3, 3)


# ---------------------------------------------------------------- threads, processes, event loops


def test_many_threads_share_one_list(gateway, name):
    gateway.functions = [published("fib")]
    gateway.seconds = 0.2
    found = []

    def take():
        found.append(run_import("from GW import fib", name)["fib"])

    threads = [threading.Thread(target=take) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(found) == 8
    assert len(set(map(id, found))) == 1
    assert gateway.lists == 1


def test_a_failed_list_releases_those_who_wait(gateway, name):
    gateway.seconds = 0.1
    gateway.answer = (500, {}, b"no")
    caught = []

    def take():
        try:
            run_import("from GW import fib", name)
        except ImportError as error:
            caught.append(error)

    threads = [threading.Thread(target=take) for _ in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(caught) == 3


def test_after_load_an_import_in_a_coroutine_sends_nothing(gateway, name):
    gateway.functions = [published("fib"), published("foo-bar"), {"name": "a.b"}]

    async def use():
        loaded = await hooks.load(name)
        asked = len(gateway.asked)
        scope = run_import("from GW import fib, foo_bar", name)
        assert len(gateway.asked) == asked == 1
        assert loaded.fib is scope["fib"]
        return loaded

    loaded = asyncio.run(use())
    assert loaded is sys.modules[f"away.remote.{name}"]
    assert hooks.load_sync(name) is loaded


def test_an_import_that_stalls_an_event_loop_is_told_in_debug_mode(gateway, name):
    gateway.functions = [published("fib")]

    async def use():
        run_import("from GW import fib", name)

    with pytest.warns(RuntimeWarning, match=rf"await away\.hooks\.load\('{name}'\)"):
        asyncio.run(use(), debug=True)


def test_a_child_that_was_forked_asks_for_itself(gateway, name, module):
    gateway.functions = [published("fib")]
    from away.hooks.modules import functions_of

    # As if another thread of the parent were fetching: in the child nobody is.
    held = functions_of(module).list._fetching.here
    thread = threading.Thread(target=held.acquire)
    thread.start()
    thread.join()
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if module.fib.function_name == "fib" else 1)
        except BaseException:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def child(code, **environment):
    """Run code in a fresh interpreter and return what it printed."""
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def test_a_pickled_function_finds_its_gateway_in_a_fresh_process(gateway, name, module):
    gateway.functions = [published("fib")]
    data = pickle.dumps(module.fib)
    assert PASSWORD.encode() not in data
    said = child(f"import pickle; print(pickle.loads({data!r}))")
    assert said == repr(module.fib)


def test_the_module_and_what_uses_it_are_pickled_by_name(gateway, name, module):
    gateway.functions = [published("fib")]
    assert module.fib
    assert pickle.loads(pickle.dumps(module)) is module
    assert copy.deepcopy(module) is module
    scope = run_import("import GW as g\ndef use(n): return g.fib(n)", name)
    data = dill.dumps(scope["use"], recurse=True)
    assert len(data) < 1000
    assert PASSWORD.encode() not in data


def test_inside_a_container_gateways_come_from_the_environment_too(gateway):
    gateway.functions = [published("fib")]
    said = child(
        "from away.remote.shop import fib; print(fib)",
        AWAY_RUNTIME="1",
        AWAY_GATEWAY_SHOP_URL=gateway.url,
        AWAY_GATEWAY_SHOP_PASSWORD=PASSWORD,
    )
    assert said == f"<remote function fib on {gateway.url}>"


def test_inside_a_container_without_a_login_a_name_is_taken_at_its_word(gateway):
    said = child(
        """
        import away.remote.shop as g
        from away.remote.shop import fib_x
        print(fib_x, g["fib_x"] is fib_x is g.fib_x, fib_x.__module__, hasattr(g, "_x"))
        """,
        AWAY_RUNTIME="1",
        AWAY_GATEWAY_SHOP_URL=gateway.url,
    )
    assert said == f"<remote function fib_x on {gateway.url}> True away.remote.shop False"
    assert gateway.asked == []


def test_the_hook_works_from_a_zip_archive(gateway, tmp_path):
    import zipfile

    package = os.path.dirname(away.__file__)
    archive = tmp_path / "app.zip"
    with zipfile.ZipFile(archive, "w") as written:
        for folder, _, files in os.walk(package):
            for each in files:
                if each.endswith(".py"):
                    path = os.path.join(folder, each)
                    written.write(path, os.path.relpath(path, os.path.dirname(package)))
    gateway.functions = [published("fib")]
    said = child(
        f"""
        import sys; sys.path.insert(0, {str(archive)!r})
        import away.remote, pkgutil
        assert {str(archive)!r} in away.remote.__path__[0]
        print([each.name for each in pkgutil.iter_modules(away.remote.__path__)])
        from away.remote.shop import fib
        print(fib)
        """,
        AWAY_GATEWAY_SHOP_URL=gateway.url,
        AWAY_GATEWAY_SHOP_PASSWORD=PASSWORD,
    )
    assert said.splitlines() == [
        "['aio', 'default', 'shop']",
        f"<remote function fib on {gateway.url}>",
    ]


# ---------------------------------------------------------------- names alone


def listed(*functions):
    return Listing(
        types.SimpleNamespace(
            name=each["name"],
            description=signatures.from_annotations(each.get("annotations", {})),
        )
        for each in functions
    )


def test_a_listing_is_the_same_whatever_its_order():
    functions = [published("b"), published("a-c"), published("cafe", entry="m:café")]
    for each in itertools.permutations(functions):
        listing = listed(*each)
        assert listing.python_names() == ["a_c", "b", "cafe", "café"]
        assert listing.named("café") == ["cafe"]


def test_the_summary_names_the_nearest_first():
    listing = listed(*({"name": each} for each in ("add", "sub", "mul", "sum-all")))
    assert listing.summary("sum_al") == "it has sum_all, add, mul, sub"
    assert listed().summary("x") == "it has no functions yet"


@given(
    st.lists(
        st.builds(
            lambda name, entry, away: {
                "name": name,
                "annotations": {
                    "built-with": "away" if away else "x",
                    "away.protocol": '"1"',
                    "away.entry": json.dumps(entry),
                },
            },
            st.one_of(st.text(), st.from_regex(r"[a-z_-]{1,4}", fullmatch=True)),
            st.one_of(st.text(), st.from_regex(r"m:[a-zé_]{1,4}", fullmatch=True)),
            st.booleans(),
        )
    ),
    st.one_of(st.text(), st.from_regex(r"[a-zé_]{1,4}", fullmatch=True)),
)
def test_whatever_a_gateway_lists_every_name_shown_means_one_function(functions, asked):
    listing = listed(*functions)
    for name in listing.python_names():
        assert name.isidentifier()
        assert name[0] != "_"
        (meant,) = listing.named(name)
        assert meant in [each["name"] for each in functions]
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,63}", meant)
        assert listing.shown_as(meant)
    assert len(listing.named(asked)) <= len(functions)
    assert names_module.printable(listing.summary(asked)) == listing.summary(asked)


@pytest.mark.parametrize(
    ("qualname", "names"),
    [("café", ["cafe", "café"]), ("f.<locals>.café", ["cafe", "café"]), ("C.café", ["cafe"])],
)
def test_a_nested_function_goes_by_its_own_name_and_a_method_by_none(qualname, names):
    assert listed(published("cafe", entry=f"m:{qualname}")).python_names() == names


def test_several_functions_published_from_one_odd_name_are_all_named():
    listing = listed(published("cafe", entry="a:café"), published("kaffee", entry="b:café"))
    assert listing.named("café") == ["cafe", "kaffee"]
    assert "café" not in listing.python_names()


def test_a_gateway_in_capitals_is_told_that_names_are_lower_case(name):
    with pytest.raises(ModuleNotFoundError, match=f"lower-case: import away.remote.{name}$"):
        importlib.import_module(f"away.remote.{name.upper()}")
    with pytest.raises(
        ModuleNotFoundError, match=r"lower-case: configure 'nowhere' by AWAY_GATEWAY_NOWHERE_URL"
    ):
        importlib.import_module("away.remote.NoWhere")


def test_a_function_of_the_project_of_2023_is_sent_the_positional_list(gateway, module):
    gateway.functions = [{"name": "older", "annotations": {"built-with": "away"}}]
    older = module.older
    with servers.Server(servers.answer(200, b"3")) as server:
        seen = FaasConnection(server.url, password="sesame-of-tests")
        info = FunctionInfo("older", annotations={"built-with": "away"})
        assert functions.from_info(seen, info)(1, 2) == 3
        (request,) = server.requests
    assert request.headers["x-away-stub"] == "list"
    assert yaml.safe_load(request.body) == [1, 2]
    # From a list as from one look: by the annotation alone.
    gateway.answer = 200, {"Content-Type": "text/plain"}, b"7"
    assert older(1, 2) == 7
