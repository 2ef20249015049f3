"""Async imports: ``from away.remote.aio.gw import f`` gives a coroutine function, of whatever kind.

What modules of gateways do in general is in test_hooks; here stands what differs, and that nothing
else does.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import inspect
import json
import os
import pickle
import pkgutil
import pydoc
import subprocess
import sys
import textwrap
import threading

import pytest

from away import config, exceptions, hooks, protocol
from tests import servers
from tests.listing_gateway import PASSWORD, Gateway, configured, published

KINDS = {
    "add": "sync",
    "shasum": "async",
    "count": "generator",
    "follow": "async generator",
}


@pytest.fixture
def gateway():
    made = Gateway()
    made.functions = [published(name, kind=kind) for name, kind in KINDS.items()]
    made.functions.append({"name": "of-others"})
    yield made
    made.close()


@pytest.fixture
def name(gateway, own_environment):
    """The gateway's configured name, of this test alone."""
    with configured("later", gateway.url) as made:
        yield made


@pytest.fixture
def module(name):
    return importlib.import_module(f"away.remote.aio.{name}")


def child(code, **environment):
    """Run a program in a fresh process and return what it prints."""
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def is_what(function):
    """Tell by Python's own questions what a function is."""
    if inspect.iscoroutinefunction(function):
        return "async"
    if inspect.isasyncgenfunction(function):
        return "async generator"
    return "generator" if inspect.isgeneratorfunction(function) else "sync"


def test_every_function_is_awaited_and_the_gateways_own_module_is_as_it_was(module, name):
    plain = importlib.import_module(f"away.remote.{name}")
    asked = {each: is_what(getattr(plain, each)) for each in KINDS}
    assert asked == KINDS
    later = {each: is_what(getattr(module, each)) for each in [*KINDS, "of_others"]}
    assert later == {
        "add": "async",
        "shasum": "async",
        "count": "async generator",
        "follow": "async generator",
        "of_others": "async",
    }
    assert asyncio.iscoroutinefunction(module.add)
    assert module.add is not plain.add
    assert (module.add.__module__, plain.add.__module__) == (module.__name__, plain.__name__)
    assert inspect.signature(module.add) == inspect.signature(plain.add)


@pytest.mark.parametrize(
    "statement",
    [
        "from AIO import add, count\nfrom GW import add",
        "import GW as gw, AIO as aio; gw.add, aio.add, dir(aio), dir(gw)",
        "from AIO import *\nfrom GW import *",
        "from away import hooks; hooks.load_sync(NAME)\nfrom AIO import add",
        "from away import hooks; hooks.load_sync('aio.' + NAME)\nfrom GW import add",
    ],
)
def test_one_list_serves_both_modules_of_a_gateway(statement, gateway, name):
    code = statement.replace("AIO", f"away.remote.aio.{name}").replace("GW", f"away.remote.{name}")
    exec(code, {"NAME": name})
    assert gateway.lists == len(gateway.asked) == 1


def test_threads_that_import_both_at_once_send_one_request(gateway, name):
    gateway.seconds = 0.2
    start, found = threading.Barrier(8), []

    def run(package):
        start.wait()
        found.append(importlib.import_module(f"{package}.{name}").add)

    threads = [
        threading.Thread(target=run, args=(package,))
        for package in ("away.remote", "away.remote.aio") * 4
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join(20)
    assert len(set(map(id, found))) == 2
    assert gateway.lists == 1


def test_calls_are_awaited():
    def script(seen):
        if seen.path.startswith("/system/functions"):
            return servers.json([published(name, kind=kind) for name, kind in KINDS.items()])
        call = protocol.read_call(seen.body, allow_unsafe=False)
        is_many = "count" in seen.path or "follow" in seen.path
        body = protocol.pack_value([1, 2] if is_many else sum(call.args))
        headers = {
            "Content-Type": protocol.CONTENT_TYPE,
            protocol.PROTOCOL_HEADER: protocol.PROTOCOL_VERSION,
            protocol.LENGTH_HEADER: str(len(body)),
        }
        return servers.answer(200, body, headers)

    async def run(gw):
        both = await asyncio.gather(gw.add(1), gw.shasum(2))
        items = [[item async for item in each(2)] for each in (gw.count, gw.follow)]
        with pytest.raises(TypeError, match="missing"):
            gw.add()
        return [*both, *items]

    with servers.Server(script) as server, configured("later", server.url) as name:
        found = asyncio.run(run(importlib.import_module(f"away.remote.aio.{name}")))
    assert found == [1, 2, [1, 2], [1, 2]]


def test_a_name_that_is_not_there_is_told_as_for_gateways(gateway, name, module):
    with pytest.raises(ImportError, match=f"the gateway {name!r} at {gateway.url}") as caught:
        exec(f"from away.remote.aio.{name} import ad")
    assert isinstance(caught.value, exceptions.FunctionNotFound)
    assert caught.value.name == module.__name__
    assert caught.value.nearest == ("add",)
    with pytest.raises(AttributeError, match="has no function 'ad'"):
        module.ad
    assert not hasattr(module, "ad")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(f"{module.__name__}.add.deeper")


@pytest.mark.parametrize(
    "form",
    [
        "import away.remote.aio.nogw",
        "from away.remote.aio import nogw",
        "from away.remote.aio.nogw import f",
        "from away import hooks; hooks.load_sync('aio.nogw')",
    ],
)
def test_an_unknown_gateway_is_named_as_without_aio(form, name):
    with pytest.raises(ModuleNotFoundError, match="no gateway 'nogw' is configured") as caught:
        exec(form)
    assert isinstance(caught.value, exceptions.UnknownGateway)
    assert caught.value.name == "away.remote.aio.nogw"
    assert name in str(caught.value)


def test_the_package_lists_gateways_and_is_imported_as_any_package(gateway, name):
    package = importlib.import_module("away.remote.aio")
    assert importlib.util.find_spec(f"away.remote.aio.{name}").origin == gateway.url
    assert importlib.util.find_spec("away.remote.aio.nogw") is None
    found = {each.name for each in pkgutil.iter_modules(package.__path__, "away.remote.aio.")}
    assert f"away.remote.aio.{name}" in found
    with pytest.raises(AttributeError, match=f"write import away.remote.aio.{name}"):
        getattr(package, name)
    assert gateway.asked == []


def test_aio_is_no_gateways_name(name):
    with pytest.raises(exceptions.ConfigError, match="'aio' is kept for Away's own module"):
        config.configure("aio", url="http://127.0.0.1:1")


def test_star_dir_and_help_show_coroutine_functions(module, name):
    scope = {}
    exec(f"from away.remote.aio.{name} import *", scope)
    assert {"add", "count", "of_others"} <= scope.keys()
    assert {"add", "follow"} <= set(dir(module))
    assert "async add(n: int)" in pydoc.render_doc(module, renderer=pydoc.plaintext)


def test_a_reload_keeps_functions_and_takes_a_new_list(gateway, module):
    add = module.add
    gateway.functions.append(published("late"))
    assert importlib.reload(module) is module
    assert module.add is add
    assert inspect.iscoroutinefunction(module.late)
    assert gateway.lists == 2


def test_a_pickle_is_a_coroutine_function_in_a_process_that_imported_nothing(gateway, module):
    sent = pickle.dumps([module.add, module.count, module]).hex()
    said = child(
        f"""
        import pickle, inspect
        add, count, module = pickle.loads(bytes.fromhex({sent!r}))
        print(inspect.iscoroutinefunction(add), inspect.isasyncgenfunction(count))
        print(add.__module__ == module.__name__, inspect.iscoroutinefunction(module.add))
        """,
        **{
            f"AWAY_GATEWAY_{module.__name__.rpartition('.')[2].upper()}_{key}": value
            for key, value in (("URL", gateway.url), ("USER", "admin"), ("PASSWORD", PASSWORD))
        },
    )
    assert said.splitlines() == ["True True", "True True"]


@pytest.mark.parametrize("prefix", ["", "aio."])
def test_a_list_loaded_ahead_needs_no_request_in_a_coroutine(prefix, gateway, name):
    async def run():
        loaded = await hooks.load(prefix + name)
        before = len(gateway.asked)
        scope = {}
        exec(f"from away.remote.aio.{name} import add", scope)
        assert is_what(scope["add"]) == "async"
        assert loaded.__name__ == f"away.remote.{prefix}{name}"
        return before

    assert asyncio.run(run()) == len(gateway.asked) == 1


def test_inside_a_published_function_a_name_is_a_coroutine_function_at_its_word(gateway):
    told = {"AWAY_FUNCTION_KINDS": json.dumps({"shop.count": "generator"})}
    said = child(
        """
        import inspect
        from away.remote.aio.shop import add, count
        from away.remote.shop import add as plain
        print(inspect.iscoroutinefunction(add), inspect.isasyncgenfunction(count))
        print(inspect.iscoroutinefunction(plain))
        """,
        AWAY_RUNTIME="1",
        AWAY_GATEWAY_SHOP_URL=gateway.url,
        **told,
    )
    assert said.splitlines() == ["True True", "False"]
    assert gateway.asked == []
