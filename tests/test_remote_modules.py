"""Modules published whole: what travels of them, how they are imported, and how they are called."""

from __future__ import annotations

import asyncio
import copy
import doctest
import importlib
import importlib.util
import inspect
import json
import pickle
import pydoc
import subprocess
import sys
import textwrap
import warnings
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from away import FaasConnection, builder, gateway
from away.capture import capture, whole_module
from away.exceptions import (
    CannotTravel,
    CaptureRefused,
    FunctionNotFound,
    NameRefused,
    UnsafeWarning,
)
from away.functions import RemoteFunction
from away.module_descriptions import (
    MAX_MODULE_BYTES,
    ModuleDescription,
    module_annotations,
    module_from_annotations,
)
from away.modules import RemoteModule
from away.signatures import Description, Parameter, describe, to_annotations
from tests.test_inside import script

if TYPE_CHECKING:
    from collections.abc import Iterator

SHOP = '''
"""Prices of a shop."""
import asyncio

RATE = 0.19
BOUNDS = {"low": (1, 2), "days": {3}}
API_TOKEN = "not-for-the-gateway-1830"
state = 0


class Price:
    pass


def total(amounts, *, rate: float = RATE) -> float:
    "Add up amounts."
    return sum(amounts) * (1 + rate)


def counted() -> int:
    global state
    state += 1
    return state


def failing():
    raise KeyError("no such price")


async def later(value):
    await asyncio.sleep(0)
    return value * 2


def items(count):
    yield from range(count)


async def later_items(count):
    for each in range(count):
        yield each


def _private():
    pass
'''
FUNCTIONS = {"total", "counted", "failing", "later", "items", "later_items"}


@pytest.fixture(scope="module")
def running(tmp_path_factory) -> Iterator[Any]:
    """A gateway that has the module ``shop`` and one function that is none."""
    project = tmp_path_factory.mktemp("project")
    (project / "shopworth.py").write_text(SHOP)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWAY_RUNTIME_DIR", str(tmp_path_factory.mktemp("run")))
        patch.syspath_prepend(str(project))
        with gateway.run(state=tmp_path_factory.mktemp("state"), announce=False) as connection:
            shop = builder.publish_module("shopworth", connection, name="shop", verbose=False)
            builder.mirror_in_faas(textwrap.dedent, connection, verbose=False)
            yield connection, shop, project


@pytest.fixture
def faas(running, monkeypatch) -> FaasConnection:
    connection, _, project = running
    monkeypatch.setenv("AWAY_GATEWAY_SHOPS_URL", connection.url)
    monkeypatch.setenv("AWAY_GATEWAY_SHOPS_PASSWORD", connection.password)
    monkeypatch.syspath_prepend(str(project))
    monkeypatch.delitem(sys.modules, "shopworth", raising=False)
    yield connection
    for name in [
        each
        for each in sys.modules
        if each.startswith(("away.remote.shops", "away.remote.aio.shops"))
    ]:
        del sys.modules[name]


@pytest.fixture
def shop(running) -> RemoteModule:
    return running[1]


# ---------------------------------------------------------------- what is published


@pytest.mark.parametrize(
    ("name", "functions", "constants"),
    [
        ("math", {"sqrt", "hypot"}, {"pi", "tau", "inf", "nan", "e"}),
        ("textwrap", {"wrap", "dedent"}, set()),
        ("string", {"capwords"}, {"digits", "punctuation"}),
        ("random", {"random", "seed"}, set()),
    ],
)
def test_the_public_functions_and_constants_of_a_module_are_chosen(name, functions, constants):
    whole = whole_module(name)
    assert functions <= set(whole.functions)
    assert constants <= set(whole.constants)
    assert not any(isinstance(each, type) for each in whole.functions.values())
    captured = capture(whole)
    assert (captured.form, captured.files, captured.entry) == ("module", (), f"{name}:*")


def test_what_cannot_be_remote_is_left_out_with_a_note(faas):
    whole = whole_module("shopworth")
    assert set(whole.functions) == FUNCTIONS
    assert whole.constants == {"RATE": 0.19, "BOUNDS": {"low": (1, 2), "days": {3}}}
    assert "classes are not remote, so they are left out: `Price`" in whole.notes
    assert any("API_TOKEN" in each and "secret" in each for each in whole.notes)
    captured = capture(whole)
    assert [each.path for each in captured.files] == ["shopworth.py"]
    assert "not-for-the-gateway-1830" not in json.dumps(module_annotations(captured.module))


def test_a_package_gives_what_its_own_init_gives(tmp_path, monkeypatch):
    folder = tmp_path / "pairpackage"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        "from pairpackage.inner import given\nfrom os.path import join\n"
    )
    (folder / "inner.py").write_text("def given(): return 1\ndef kept(): return 2\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    captured = capture(whole_module("pairpackage"))
    assert set(captured.module.functions) == {"given"}
    assert [each.path for each in captured.files] == [
        "pairpackage/__init__.py",
        "pairpackage/inner.py",
    ]


def test_a_module_is_called_by_the_last_part_of_what_was_written():
    assert capture(whole_module("os.path", ["join"])).name == "path"
    with pytest.raises(TypeError, match="is a module or its name, not int"):
        whole_module(5)


def test_a_module_of_a_distribution_is_pinned():
    captured = capture(whole_module("inflection"))
    assert captured.files == ()
    assert [each.name for each in captured.requirements] == ["inflection"]


REFUSED = {
    "no such function": (("textwrap", ["fil"]), "no function 'fil'; did you mean 'fill'"),
    "a class": (("textwrap", ["TextWrapper"]), "is a class"),
    "a private name": (("textwrap", ["_munge"]), "no public name"),
    "none at all": (("this", None), "no public functions"),
    "nothing named": (("textwrap", []), "no public functions"),
    "the script": (("__main__", None), "running script"),
}


@pytest.mark.parametrize(("asked", "said"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_published_is_refused_in_words(asked, said, capsys):
    with pytest.raises(CaptureRefused, match=said):
        whole_module(*asked)


def test_a_module_without_a_file_is_refused():
    made = ModuleType("nowhere_module_77")
    made.f = len
    with pytest.raises(CaptureRefused, match="no file that could be packed"):
        whole_module(made, ["f"])


@pytest.mark.parametrize(
    "where", ["KEPT = ['{}']", 'def f():\n    "{}"', "def f(a='{}'): ...", '"""{}"""']
)
def test_a_secret_in_what_would_be_told_is_refused(where, written):
    from away.secret_texts import remember

    secret = "kept-back-for-modules-5521"
    remember(secret)
    name = f"secretive_{abs(hash(where))}"
    source = where.replace("{}", secret) + ("\ndef g(): ..." if "def" not in where else "")
    with pytest.raises(CaptureRefused, match="password or token"):
        capture(whole_module(written(name, source)))


def test_the_identity_is_that_of_sources_and_functions(written):
    first = written("identical_m", "def f(): return 1\ndef g(): ...")
    one, fewer = capture(whole_module(first)), capture(whole_module(first, ["f"]))
    again = capture(whole_module("identical_m"))
    other = written("identical_m", "def f(): return 2\ndef g(): ...")
    assert one.identity == again.identity
    assert len({one.identity, fewer.identity, capture(whole_module(other)).identity}) == 3


# ---------------------------------------------------------------- annotations

safe_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
    | st.binary() | st.dates(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=6,
)  # fmt: skip
names = st.from_regex(r"[a-z][a-z0-9_]{0,10}[a-z0-9]", fullmatch=True).filter(
    lambda each: not __import__("keyword").iskeyword(each)
)


def as_deployed(module: ModuleDescription) -> dict[str, str]:
    whole = Description(doc=module.doc, entry="m:*", digest="d")
    return {**to_annotations(whole), **module_annotations(module)}


@settings(max_examples=40)
@given(
    st.dictionaries(names, safe_values, max_size=5), st.dictionaries(names, st.text(max_size=40))
)
def test_constants_and_docstrings_come_back_as_they_were(constants, docs):
    functions = {name: Description(parameters=(Parameter("a"),)) for name in docs}
    module = ModuleDescription(functions, {k: v for k, v in constants.items() if k not in docs})
    read = module_from_annotations(as_deployed(module))
    assert read is not None
    assert read.constants == module.constants
    assert set(read.functions) == set(docs)
    assert all(each.parameters == (Parameter("a"),) for each in read.functions.values())


@given(st.text(), st.text())
def test_annotations_of_others_never_raise(functions, constants):
    written = as_deployed(ModuleDescription({}, {}))
    module_from_annotations({**written, "away.module": functions, "away.constants": constants})


@pytest.mark.parametrize(
    "functions",
    ['{"a b": {}, "_p": {}, "class": {}, "ok": {}, "no": 3}', "[]", "3", '{"ok": {"kind": 7}}'],
)
def test_names_that_python_could_not_say_are_left_out(functions):
    written = {**as_deployed(ModuleDescription({}, {})), "away.module": functions}
    read = module_from_annotations(written)
    assert read is None or set(read.functions) <= {"ok"}


@pytest.mark.parametrize("count", [3, 300, 1000])
def test_however_much_a_module_has_its_annotations_stay_within_bounds(count):
    functions = {
        f"function_{i}": describe(textwrap.shorten)._replace(doc="word " * 900)
        for i in range(count)
    }
    written = module_annotations(ModuleDescription(functions, {"TABLE": "x" * 9_000}))
    assert max(map(len, written.values())) <= 4_000
    assert sum(map(len, written.values())) <= MAX_MODULE_BYTES
    read = module_from_annotations({**as_deployed(ModuleDescription({}, {})), **written})
    assert read is not None
    assert len(read.functions) == count


def test_a_constant_that_is_too_large_is_left_out(written):
    source = "LARGE = 'x' * 30_000\nSMALL = 1\ndef f(): ...\n"
    whole = whole_module(written("large_constants", source))
    assert whole.constants == {"SMALL": 1}
    assert any("LARGE" in each for each in whole.notes)


# ---------------------------------------------------------------- calls


def test_functions_of_each_kind_are_called_by_their_kind(shop):
    assert shop.total([1, 2], rate=1.0) == 6.0
    assert list(shop.items(3)) == [0, 1, 2]
    assert inspect.iscoroutinefunction(shop.later)
    assert (
        inspect.isasyncgenfunction(shop.later_items) or shop.later_items.kind == "async generator"
    )

    async def both() -> Any:
        return await shop.later(4), [each async for each in shop.later_items(2)]

    assert asyncio.run(both()) == (8, [0, 1])


def test_the_state_of_a_module_is_that_of_its_replica(shop):
    first = shop.counted()
    assert shop.counted() == first + 1
    assert sys.modules["shopworth"].state == 0


def test_what_a_function_raises_is_raised_here(shop):
    with pytest.raises(KeyError, match="no such price"):
        shop.failing()
    with pytest.raises(TypeError, match="total\\(\\) missing 1 required positional argument"):
        shop.total()
    with pytest.raises(CannotTravel, match="'amounts'"):
        shop.total(object())


def test_a_path_that_the_module_lacks_is_refused_in_the_protocols_own_form(running):
    connection, _, _ = running
    missing = RemoteFunction(connection, "shop", path="totl", dialect="protocol")
    with pytest.raises(
        FunctionNotFound, match="shopworth has no function 'totl'; did you mean 'total'"
    ) as caught:
        missing()
    assert caught.value.status == 404
    assert caught.value.nearest == ("total",)
    # Beside a gateway's own, which has neither the mark of the protocol nor the module's words.
    reply = connection.invoke("shop", b"", path="totl")
    assert (reply.status, reply.headers["X-Away-Protocol"]) == (404, "1")
    assert "did you mean 'total'" in reply.text
    with pytest.raises(FunctionNotFound, match="has no function 'shoq'"):
        RemoteFunction(connection, "shoq", path="total", dialect="protocol")([1])


def test_plain_http_calls_a_function_and_lists_them_without_a_path(running):
    connection, _, _ = running
    assert connection.invoke("shop", b"[[1, 2]]", path="total").text.startswith("3.57")
    assert connection.invoke("shop", b"3", path="items/").text == "[0, 1, 2]"
    listing = connection.invoke("shop", b"")
    assert listing.status == 200
    assert {f"/{name}" for name in FUNCTIONS} <= set(listing.text.split())


def test_names_beyond_ascii_are_called_too(running, written):
    connection, _, _ = running
    name = "unascii_m"
    module = written(name, "def größe(x): return x * 2\n")
    assert builder.publish_module(module, connection, verbose=False).größe(2) == 4


# ---------------------------------------------------------------- publishing


def test_an_unchanged_module_is_left_as_it_is_and_never_only_compares(faas, monkeypatch):
    from away.publish import Standing, compare, publish

    whole = whole_module("shopworth")
    assert publish(whole, faas, name="shop", verbose=False).action == "unchanged"
    assert compare(whole, faas, name="shop") is Standing.UNCHANGED
    monkeypatch.setenv("AWAY_PUBLISH", "never")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert builder.publish_module("shopworth", faas, name="shop").total([1], rate=0) == 1
    with pytest.warns(RuntimeWarning, match="is changed"):
        builder.publish_module("shopworth", faas, functions=["total"], name="shop")


def test_the_name_of_something_else_is_refused(faas):
    with pytest.raises(NameRefused, match="shopworth:\\*"):
        builder.publish_module("colorsys", faas, name="shop", verbose=False)


def test_pickles_travel_where_the_module_was_published_so(faas):
    with pytest.warns(UnsafeWarning):
        unsafe = builder.publish_module(
            "shopworth",
            faas,
            functions=["total"],
            name="shop-unsafe",
            safe_args=False,
            verbose=False,
        )
    assert unsafe.total(range(3), rate=0) == 3


def test_it_is_published_without_blocking_the_event_loop(faas):
    async def publish() -> RemoteModule:
        return await builder.publish_module_async("shopworth", faas, name="shop", verbose=False)

    assert asyncio.run(publish()).total([2], rate=0) == 2


# ---------------------------------------------------------------- imports


def test_every_form_of_import_gives_the_same_functions(faas):
    import away.remote.shops as shops
    import away.remote.shops.shop as m
    from away.remote.shops import shop
    from away.remote.shops.shop import RATE, total

    assert (
        shop
        is m
        is shops.shop
        is shops["shop"]
        is importlib.import_module("away.remote.shops.shop")
    )
    assert isinstance(m, RemoteModule)
    assert total is m.total is m["total"]
    assert total([1], rate=0) == 1
    assert (RATE, m.BOUNDS, m["RATE"]) == (0.19, {"low": (1, 2), "days": {3}}, 0.19)
    star: dict[str, Any] = {}
    exec("from away.remote.shops.shop import *", star)
    assert {*FUNCTIONS, "RATE", "BOUNDS"} <= set(star)
    assert set(dir(m)) >= FUNCTIONS
    assert "Price" not in dir(m)
    assert {"shop", "dedent"} <= set(dir(shops))


def test_a_remote_module_shows_what_the_local_one_does(faas):
    import shopworth
    from away.remote.shops import shop

    assert inspect.signature(shop.total) == inspect.signature(shopworth.total)
    assert shop.total.__doc__ == shopworth.total.__doc__
    assert shop.__doc__ == "Prices of a shop."
    text = pydoc.plain(pydoc.render_doc(shop))
    assert "Add up amounts." in text
    assert "RATE = 0.19" in text
    assert "shop" in repr(shop)
    assert faas.url in repr(shop.total)


def test_modules_and_their_functions_pickle_to_references(faas, shop):
    import away.remote.shops.shop as m

    assert pickle.loads(pickle.dumps(m)) is m
    assert copy.deepcopy(m) is m
    for each in (m.total, shop.total):
        assert pickle.loads(pickle.dumps(each)) is each
    far = pickle.loads(pickle.dumps(shop))
    assert far is not shop
    assert dir(far) == dir(shop)
    assert far.RATE == 0.19


MISSING = {
    "import away.remote.shops.shoq": (
        ModuleNotFoundError,
        "no module 'shoq'; its modules are shop",
    ),
    "import away.remote.shops.dedent": (ModuleNotFoundError, "functions are no modules"),
    "import away.remote.shops.shop.total": (ModuleNotFoundError, "is not a package"),
    "from away.remote.shops.shoq import f": (ModuleNotFoundError, "no module 'shoq'"),
    "from away.remote.shops import nope": (ImportError, "no function 'nope'"),
    "from away.remote.shops.shop import totl": (ImportError, "has no 'totl'; it has total"),
    "import away.remote.shops.shop as m; m.totl": (AttributeError, "has no 'totl'"),
    "import away.remote.shops.shop as m; m['totl']": (FunctionNotFound, "has no 'totl'"),
    "import away.remote.shops.shop as m; m._x": (AttributeError, "has no attribute '_x'"),
}


@pytest.mark.parametrize(("statement", "expected"), MISSING.items(), ids=MISSING)
def test_what_is_not_there_is_an_error_of_the_statements_own_kind(faas, statement, expected):
    kind, said = expected
    with pytest.raises(kind, match=said) as caught:
        exec(statement, {})
    if kind is ImportError:
        assert not isinstance(caught.value, ModuleNotFoundError)


def test_find_spec_says_what_there_is(faas):
    found = importlib.util.find_spec("away.remote.shops.shop")
    assert found is not None
    assert found.origin == f"{faas.url}/function/shop"
    for name in ("shoq", "dedent"):
        assert importlib.util.find_spec(f"away.remote.shops.{name}") is None


def test_a_reload_follows_what_was_published_meanwhile(faas, written):
    first = written("changing_m", "ONE = 1\ndef f(): return 1\ndef g(): ...\n")
    builder.publish_module(first, faas, verbose=False)
    import away.remote.shops.changing_m as m

    f = m.f
    assert f() == 1
    second = written("changing_m", "TWO = 2\ndef f(a): return a\n")
    builder.publish_module(second, faas, verbose=False)
    assert importlib.reload(m) is m
    assert (m.f, m.TWO) == (f, 2)
    assert f(5) == 5
    assert "g" not in dir(m)
    with pytest.raises(AttributeError):
        m.ONE
    faas.remove("changing-m")
    assert "changing_m" not in dir(importlib.reload(sys.modules["away.remote.shops"]))
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("away.remote.shops.changing_m")


def test_a_function_that_took_a_modules_name_is_not_called_in_its_place(faas, written):
    module = written("taken_over_m", "def f(a): return a\ndef g(a): return -a\n")
    builder.publish_module(module, faas, verbose=False)
    import away.remote.shops.taken_over_m as m

    f = m.f
    assert f(1) == 1

    def taken_over_m(a):
        return a + 100

    builder.publish(faas, name="taken-over-m", overwrite=True, verbose=False)(taken_over_m)
    for call in (lambda: f(1), lambda: m.g(1), lambda: list(f.map([1, 2]))):
        with pytest.raises(FunctionNotFound, match="is a function and no module any more"):
            call()
    assert "away.remote.shops.taken_over_m" not in sys.modules
    assert faas.invoke("taken-over-m", b"[7]", path="some/path").text == "107"
    builder.publish_module(module, faas, overwrite=True, verbose=False)
    assert importlib.import_module("away.remote.shops.taken_over_m") is m
    assert (m.f, f(1), m.g(2)) == (f, 1, -2)


def test_doctest_finds_the_examples_of_functions_that_nobody_touched(faas, written):
    shown = written(
        "shown_m", 'def f(a):\n    """Add.\n\n    >>> f(1)\n    2\n    """\n    return a + 1\n'
    )
    builder.publish_module(shown, faas, verbose=False)
    import away.remote.shops.shown_m as m

    assert doctest.testmod(m) == (0, 1)


def test_the_async_face_of_a_gateway_has_its_modules_too(faas):
    import away.remote.shops.shop as m
    from away.remote.aio.shops.shop import total

    assert inspect.iscoroutinefunction(total)
    assert asyncio.run(total([1], rate=0)) == m.total([1], rate=0) == 1


def test_settings_for_a_module_hold_for_its_functions(faas, tmp_path, monkeypatch):
    (tmp_path / "away.toml").write_text(
        "[gateways.shops.functions.shop]\ntimeout = 7\nidempotent = true\n"
    )
    monkeypatch.chdir(tmp_path)
    importlib.invalidate_caches()
    total = importlib.import_module("away.remote.shops.shop").total
    assert total.idempotent
    assert total.options()._caller.manner.timeout == 7
    assert total([1], rate=0) == 1


# ---------------------------------------------------------------- inside a published function


def test_a_published_function_uses_remote_modules(faas, tmp_path):
    said = script(
        tmp_path,
        faas,
        """
        import asyncio
        from away import builder, FaasConnection
        import away.remote.home.shop as far
        import caller
        faas = FaasConnection.named("home")
        here = builder.publish_module("colorsys", faas, verbose=False)

        def by_value(x): return far.total([x], rate=0) + here.rgb_to_hsv(0, 0, x)[2]

        async def awaited(x): return await far.later(x)

        print(builder.mirror_in_faas(by_value, faas, verbose=False)(3))
        print(asyncio.run(builder.mirror_in_faas(awaited, faas, verbose=False)(3)))
        print(builder.mirror_in_faas(caller.doubled, faas, verbose=False)(3))
        """,
        {
            "caller.py": """
            from away.remote.home.shop import total
            from away.remote.home import shop
            def doubled(x): return total([x], rate=0) + shop.total([x], rate=1)
            """
        },
    )
    assert said == "6\n6\n9\n"


def test_inside_a_published_function_nothing_is_published(monkeypatch):
    monkeypatch.setenv("AWAY_RUNTIME", "1")
    assert builder.publish_module("colorsys", FaasConnection("nowhere.invalid")) is (
        importlib.import_module("colorsys")
    )


# ---------------------------------------------------------------- the command line


def command(folder, connection, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "away", *words],
        cwd=folder,
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(folder),
            "AWAY_GATEWAY_DEFAULT_URL": connection.url,
            "AWAY_GATEWAY_DEFAULT_PASSWORD": connection.password,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_commands_know_modules(running, tmp_path):
    connection, _, _ = running
    (tmp_path / "quiet_tools.py").write_text(SHOP)
    published = command(
        tmp_path, connection, "publish", "quiet_tools", "--only", "total,items", "-q"
    )
    assert (published.returncode, published.stdout) == (0, "created quiet-tools\n"), (
        published.stderr
    )
    again = command(tmp_path, connection, "publish", "quiet_tools", "--only", "total,items", "-q")
    assert again.stdout == "unchanged quiet-tools\n"
    listed = command(tmp_path, connection, "list").stdout
    assert "a module of 2 functions" in listed
    described = command(tmp_path, connection, "describe", "quiet-tools").stdout
    assert "total(amounts, *, rate: float = 0.19) -> float" in described
    described = command(tmp_path, connection, "describe", "quiet-tools/total").stdout
    assert described.startswith("quiet_tools/total(amounts, *, rate: float = 0.19) -> float")
    assert command(tmp_path, connection, "logs", "quiet-tools/total").returncode == 0
    called = command(tmp_path, connection, "call", "quiet-tools/total", "[1, 2]", "rate=0")
    assert called.stdout == "3\n"


USAGE = {
    "no such module": (("publish", "no_such_module_x"), "no file 'no_such_module_x' and no module"),
    "a file that is not there": (("publish", "tools.py"), "there is no file 'tools.py'"),
    "--name of a file": (("publish", "setup_x.py", "--name", "f"), "--name is for a MODULE"),
    "a name that is taken": (("publish", "colorsys", "--name", "shop"), "--name NAME"),
    "--only of a file": (("publish", "setup_x.py", "--only", "f"), "--only is for a MODULE"),
    "a function that it lacks": (("publish", "textwrap", "--only", "fil"), "did you mean 'fill'"),
}


@pytest.mark.parametrize(("words", "said"), USAGE.values(), ids=USAGE)
def test_a_wrong_command_says_what_is_wrong(running, tmp_path, words, said):
    (tmp_path / "setup_x.py").write_text("def f(): ...")
    done = command(tmp_path, running[0], *words)
    assert done.returncode != 0
    assert said in done.stderr
