"""Lists of functions that are kept on disk: what imports ask with them, and when they are not believed."""

from __future__ import annotations

import concurrent.futures
import functools
import importlib
import inspect
import json
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import away
import away.remote
from away import FaasConnection, builder, config, exceptions, hooks
from away.connection import FunctionInfo
from away.connection.catalogue_file import (
    FORMAT,
    MAX_BYTES,
    ListFiles,
    forget_lists,
    lists_folder,
    text_of,
    understood,
)
from away.hooks.freshness import age_text
from away.publish import Publication, publish_all
from tests import servers
from tests.listed_shop import PASSWORD, Shop, child
from tests.listing_gateway import configured

IMPORT = "from away.remote.shop import double; print(double.function_name)"
CALL = "from away.remote.shop import double; print(double(4))"


def double(n):
    """Double a number."""
    return 2 * n


@pytest.fixture
def shop():
    with Shop(double=double) as running:
        yield running


@pytest.fixture
def folder():
    return Path(lists_folder())


def kept(folder):
    """Return the only file of the folder for lists."""
    (found,) = folder.iterdir()
    return found


def keep(shop, *, seconds=0.0):
    """Let the list be kept, and make it as old as told."""
    with FaasConnection(shop.url, password=PASSWORD) as faas:
        faas.functions(fresh=True)
    path = kept(Path(lists_folder()))
    found = json.loads(path.read_text())
    found["at"] = time.time() - seconds
    path.write_text(json.dumps(found))
    shop.requests.clear()
    return path


# ---------------------------------------------------------------- imports without a request


def test_a_later_process_imports_without_a_request(shop):
    assert child(CALL, **shop.environment()) == "8"
    assert (shop.lists, shop.calls) == (1, 1)
    code = """
        import inspect
        from away.remote.shop import *
        import away.remote.shop as shop
        print(double.__doc__, inspect.signature(double), dir(shop)[-1], double(4))
        """
    assert child(code, **shop.environment()) == "Double a number. (n) double 8"
    assert (shop.lists, shop.calls) == (1, 2)


def test_what_is_kept_is_for_its_user_alone_and_holds_no_secret(shop, folder):
    shop.extra = {
        "envVars": {"TOKEN": "a-value-of-a-variable"},
        "envProcess": "run --key a-word-of-the-process",
        "secrets": ["a-name-of-a-secret"],
        "labels": {"team": "models"},
        "annotations": {
            "away.request": '{"envVars": {"TOKEN": "a-value-of-a-variable"}}',
            "away.request.1": "a-value-that-was-cut",
            "theirs": "an-annotation-of-others",
        },
    }
    child(IMPORT, **shop.environment())
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(kept(folder).stat().st_mode) == 0o600
    text = kept(folder).read_text()
    for secret in (PASSWORD, "a-value", "a-word", "a-name-of", "an-annotation-of"):
        assert secret not in text
    (function,) = json.loads(text)["functions"]
    assert function["labels"] == {"team": "models"}
    assert "admin" not in kept(folder).name
    assert str(shop.port) not in kept(folder).name


def test_with_a_kept_list_no_http_client_is_imported_and_what_is_not_asked_for_is_not_read(shop):
    shop.functions.update({f"other{number}": double for number in range(30)})
    keep(shop)
    code = """
        import sys
        from away.remote.shop import double
        heavy = {"requests", "urllib3", "ssl", "http.client", "asyncio", "hashlib", "importlib.abc"}
        print(heavy & set(sys.modules), "platformdirs" in sys.modules and sys.platform == "linux")
        import away.remote.shop as shop
        infos = shop.__away_functions__.proxies.infos
        print([info.name for info in infos.values() if info._description is not None], len(infos))
        """
    said = child(code, **shop.environment())
    assert said.splitlines() == ["set() False", "['double'] 31"]
    assert shop.requests == []


YOUNG, OLD = 60.0, 100_000.0


@pytest.mark.parametrize(
    ("seconds", "said", "lists"),
    [
        (YOUNG, {}, 0),
        (OLD, {}, 1),
        (-OLD, {}, 1),  # a clock that was set back: nobody knows how old it is
        (YOUNG, {"AWAY_CATALOGUE": "auto"}, 0),
        (YOUNG, {"AWAY_CATALOGUE_MAX_AGE": "30"}, 1),
        (YOUNG, {"AWAY_CATALOGUE_MAX_AGE": "0"}, 1),
        (OLD, {"AWAY_CATALOGUE_MAX_AGE": "1e9"}, 0),
        (OLD, {"AWAY_GATEWAY_SHOP_CATALOGUE_MAX_AGE": "1e9"}, 0),
        (YOUNG, {"AWAY_CATALOGUE_MAX_AGE": "9", "AWAY_GATEWAY_SHOP_CATALOGUE_MAX_AGE": "99"}, 0),
        (OLD, {"AWAY_CATALOGUE": "cached"}, 0),
        (YOUNG, {"AWAY_CATALOGUE": "fresh"}, 1),
        (YOUNG, {"AWAY_CATALOGUE": "fresh", "AWAY_GATEWAY_SHOP_CATALOGUE": "cached"}, 0),
    ],
)
def test_the_age_of_a_list_and_what_is_configured_decide(seconds, said, lists, shop):
    keep(shop, seconds=seconds)
    assert child(IMPORT, **shop.environment(**said)) == "double"
    assert shop.lists == lists


def test_a_file_of_settings_says_it_for_one_gateway_and_the_environment_for_a_run(
    shop, tmp_path, monkeypatch
):
    keep(shop, seconds=YOUNG)
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "away.toml"
    file.write_text("[gateways.shop]\ncatalogue_max_age = 5\n")
    child(IMPORT, **shop.environment())
    assert shop.lists == 1
    file.write_text('[gateways.shop]\ncatalogue = "fresh"\n')
    child(IMPORT, **shop.environment(AWAY_CATALOGUE="cached"))
    assert shop.lists == 1
    file.write_text('[gateways.shop]\ncatalogue = "frehs"\n')
    with pytest.raises(exceptions.ConfigError, match=r"'auto' or 'cached' or 'fresh', not 'frehs'"):
        config.resolve("shop", environ={**os.environ, **shop.environment()})
    with pytest.raises(exceptions.ConfigError, match=r"from 0 up.*AWAY_CATALOGUE_MAX_AGE"):
        config.resolve("shop", environ=shop.environment(AWAY_CATALOGUE_MAX_AGE="-1"), cwd="/")


def test_another_user_or_namespace_has_a_list_of_its_own(shop, folder):
    keep(shop)
    child(IMPORT, **shop.environment(AWAY_GATEWAY_SHOP_USER="other"))
    child(IMPORT, **shop.environment(AWAY_GATEWAY_SHOP_NAMESPACE="other"))
    assert shop.lists == 2
    assert len(list(folder.iterdir())) == 3


def test_inside_a_container_nothing_is_kept(shop, folder):
    for _ in range(2):
        assert child(IMPORT, **shop.environment(AWAY_RUNTIME="1")) == "double"
    assert shop.lists == 2
    assert not folder.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="where the folders are is the platform's")
def test_without_variables_of_xdg_the_list_is_in_the_users_home(shop):
    for _ in range(2):
        said = child(IMPORT, **shop.environment(XDG_CONFIG_HOME="", XDG_CACHE_HOME=""))
        assert said == "double"
    assert shop.lists == 1
    assert kept(Path(os.environ["HOME"], ".cache", "away", "lists")).suffix == ".json"


def test_a_home_that_cannot_be_written_costs_nothing_but_requests(shop, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    for _ in range(2):
        assert child(IMPORT, **shop.environment(XDG_CACHE_HOME=str(blocked))) == "double"
    assert shop.lists == 2


# ---------------------------------------------------------------- names that a kept list lacks


def test_a_name_that_the_kept_list_lacks_is_asked_for(shop):
    keep(shop)
    shop.functions["triple"] = lambda n: 3 * n
    assert (
        child("from away.remote.shop import triple; print(triple(2))", **shop.environment()) == "6"
    )
    assert shop.lists == 1


def test_cached_keeps_to_its_list_and_says_how_old_it_is(shop):
    keep(shop, seconds=7300)
    shop.functions["triple"] = lambda n: 3 * n
    said = child(
        "from away.remote.shop import triple",
        status=1,
        **shop.environment(AWAY_CATALOGUE="cached"),
    )
    assert (
        "has no function 'triple'; it has double; this is its list of 2 hours ago, and"
        " catalogue='cached' (environment AWAY_CATALOGUE) asks for no newer one: refresh it by"
        " 'away list -g shop'" in said
    )
    assert shop.requests == []
    ran = [sys.executable, "-m", "away", "list", "-g", "shop"]
    subprocess.run(ran, env={**os.environ, **shop.environment()}, check=True, capture_output=True)
    child("from away.remote.shop import triple", **shop.environment(AWAY_CATALOGUE="cached"))
    assert shop.lists == 1


def test_cached_without_a_list_asks_once_and_says_so(shop):
    code = """
        from away.remote.shop import double
        import away.remote.shop as shop
        print(hasattr(shop, "triple"))
        """
    said = child(code, **shop.environment(AWAY_CATALOGUE="cached"))
    assert (
        "RuntimeWarning: no list of the gateway 'shop' is kept yet, so it is asked for one" in said
    )
    assert "<string>:2: RuntimeWarning" in said
    # Its own list is of this moment: it is as good as any that is asked for anew.
    assert said.startswith("False")
    assert shop.lists == 1


# ---------------------------------------------------------------- without the gateway


@pytest.fixture
def left():
    """A shop whose list is hours old and that cannot be reached any more."""
    with Shop(double=double) as running:
        keep(running, seconds=7300)
    return running


FAST = {"AWAY_GATEWAY_SHOP_CONNECT_TIMEOUT": "0.2"}


def test_imports_work_without_the_gateway_and_one_warning_says_how_old_they_are(left):
    code = """
        import inspect
        from away.remote.shop import double
        import away.remote.shop as shop
        print(inspect.signature(double), shop.__all__)
        """
    said = child(code, **left.environment(**FAST))
    assert said.startswith("(n) ['double']")
    assert said.count("RuntimeWarning") == 1
    assert "functions are imported from its list of 2 hours ago" in said
    assert "<string>:3: RuntimeWarning" in said
    assert PASSWORD not in said


@pytest.mark.parametrize(
    ("code", "more", "expected"),
    [
        (IMPORT, {"AWAY_CATALOGUE": "fresh"}, "GatewayNotReached"),
        ("from away.remote.shop import triple", {}, "has no function 'triple'"),
        ("import away; away.hooks.load_sync('shop')", {}, "GatewayNotReached"),
    ],
    ids=["fresh", "a name that no list has", "a load that was asked for"],
)
def test_without_the_gateway_an_error_says_that_it_is_not_there(code, more, expected, left):
    said = child(code, status=1, **left.environment(**FAST, **more))
    assert expected in said
    assert "GatewayNotReached" in said


def test_nobody_waits_for_the_start_of_a_gateway_whose_old_list_stands_in(left):
    code = """
        import sys
        tried = []
        sys.addaudithook(lambda event, of: tried.append(of[1]) if event == "socket.connect" else None)
        from away.remote.shop import double
        print(double.function_name, len(tried))
        """
    assert "double 1" in child(code, **left.environment()).splitlines()


def test_a_gateway_that_refuses_is_not_one_that_cannot_be_reached(shop):
    keep(shop, seconds=7300)
    shop.script = servers.answer(401, b"invalid credentials")
    assert "LoginRefused" in child(IMPORT, status=1, **shop.environment())


def test_without_list_and_gateway_an_error_says_that_none_is_kept(shop):
    shop.__exit__()
    environment = shop.environment(**FAST, AWAY_CATALOGUE="cached")
    said = child(IMPORT, status=1, **environment).splitlines()[-1]
    assert (
        "; no list of it is kept, which catalogue='cached' (environment AWAY_CATALOGUE) wants"
        in said
    )
    assert said.endswith(": 'away list -g shop' keeps one while it can be reached")
    assert "is kept" not in child(IMPORT, status=1, **shop.environment(**FAST)).splitlines()[-1]


# ---------------------------------------------------------------- when a call shows that it is old


def test_arguments_that_do_not_fit_are_judged_by_what_is_true(shop):
    keep(shop)
    shop.functions["double"] = lambda n, times: n * times
    code = """
        import inspect
        from away.remote.shop import double
        print(double(3, 5), inspect.signature(double))
        for _ in range(2):
            try:
                double(3)
            except TypeError as error:
                print(error)
        """
    said = child(code, **shop.environment())
    missing = "double() missing 1 required positional argument: 'times'"
    assert said.splitlines() == ["15 (n, times)", missing, missing]
    assert (shop.lists, shop.calls) == (1, 1)


def test_every_keyword_fits_a_function_of_a_kept_list_that_takes_all(shop):
    shop.functions["double"] = lambda **numbers: sum(numbers.values())
    keep(shop)
    code = "from away.remote.shop import double; print(double(self=2, caller=3))"
    assert child(code, **shop.environment()) == "5"
    assert (shop.lists, shop.calls) == (0, 1)


def test_arguments_that_were_wrong_all_along_cost_one_list(shop):
    keep(shop)
    code = """
        from away.remote.shop import double
        for _ in range(3):
            try:
                double(n=1, m=2)
            except TypeError as error:
                print(error, error.__context__)
        """
    said = child(code, **shop.environment())
    # One error: not "During handling of the above exception, another exception occurred".
    assert said.splitlines() == ["double() got an unexpected keyword argument 'm' None"] * 3
    assert (shop.lists, shop.calls) == (1, 0)


OUTLIVED = 1.2  # seconds: a list that was asked for just now is believed for one


def test_a_list_of_this_process_is_looked_at_again_where_arguments_do_not_fit(shop, module):
    loaded = hooks.load_sync(module)
    double, slow = loaded.double, loaded.double.options(timeout=9)
    shop.functions["double"] = lambda n, times: n * times
    time.sleep(OUTLIVED)
    assert slow(3, 5) == 15
    assert (double(3, 5), loaded.double(4, 5), shop.lists) == (15, 20, 2)
    for _ in range(3):
        with pytest.raises(TypeError, match="missing 1 required positional argument: 'times'"):
            double(3)
    assert (shop.lists, shop.calls) == (2, 3)
    time.sleep(OUTLIVED)
    for _ in range(3):
        with pytest.raises(TypeError, match="missing 1 required"):
            double(3)
    assert (shop.lists, shop.calls) == (3, 3)


def test_threads_whose_arguments_do_not_fit_a_list_of_this_process_share_a_request(shop, module):
    loaded = hooks.load_sync(module)
    shop.functions["double"] = lambda n, times: n * times
    time.sleep(OUTLIVED)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert list(pool.map(loaded.double, [3] * 8, [5] * 8)) == [15] * 8
    assert shop.lists == 2


def test_a_map_looks_again_where_its_inputs_do_not_fit(shop, module):
    loaded = hooks.load_sync(module)
    shop.functions["double"] = lambda n, times: n * times
    time.sleep(OUTLIVED)
    assert list(loaded.double.map(range(5), range(5), batch=False)) == [0, 1, 4, 9, 16]
    assert shop.lists == 2


def test_a_list_of_this_process_judges_alone_while_its_gateway_is_away():
    with Shop(double=double) as shop, configured("left", shop.url, PASSWORD) as name:
        loaded = hooks.load_sync(name)
        shop.__exit__()
        time.sleep(OUTLIVED)
        with pytest.raises(TypeError, match="takes 1 positional argument") as caught:
            loaded.double(1, 2)
        said = caught.value.__notes__
        assert "could not be asked what it takes now: nothing listens at" in said[0]
        with pytest.raises(TypeError) as caught:  # and not once more within the second
            loaded.double(1, 2)
        assert not hasattr(caught.value, "__notes__")


def test_coroutine_functions_are_judged_by_what_is_true_where_they_are_awaited(shop):
    async def later(n):
        return n

    async def later_still(n, m):
        return n + m

    shop.functions["later"] = later
    keep(shop)
    shop.functions["later"] = later_still
    code = """
        import asyncio
        from away.remote.shop import later
        async def main():
            print(await later(1, 2))
            try:
                await later(1)
            except TypeError as error:
                print(error)
        asyncio.run(main())
        """
    said = child(code, **shop.environment())
    assert said.splitlines() == ["3", "later() missing 1 required positional argument: 'm'"]
    assert (shop.lists, shop.calls) == (1, 1)


def test_where_nobody_can_tell_what_is_true_the_old_list_judges_and_says_so(left):
    code = """
        from away.remote.shop import double
        try:
            double()
        except TypeError as error:
            print(error, error.__notes__)
        """
    said = child(code, **left.environment(**FAST, AWAY_CATALOGUE="cached"))
    assert said.startswith("double() missing 1 required positional argument: 'n' [")
    assert "as its list of 2 hours ago has it: nothing listens at http://127.0.0.1:" in said


def test_an_answer_of_another_digest_has_the_list_fetched_again(shop):
    keep(shop)
    shop.functions["double"] = lambda n, times=2: n * times
    code = """
        import inspect
        from away.remote.shop import double
        print(double(3), double(3), inspect.signature(double), double(3, 3))
        """
    assert child(code, **shop.environment()) == "6 6 (n, times=2) 9"
    assert (shop.lists, shop.calls) == (1, 3)
    assert child(CALL, **shop.environment()) == "8"
    assert shop.lists == 1


def test_options_of_a_function_are_judged_as_it_is(shop):
    keep(shop)
    shop.functions["double"] = lambda n, times: n * times
    code = """
        from away.remote.shop import double
        print(double.options(timeout=9)(3, 5))
        """
    assert child(code, **shop.environment()) == "15"
    assert (shop.lists, shop.calls) == (1, 1)


def test_functions_of_a_module_are_judged_by_what_is_true(shop):
    shop.modules["shapes"] = {"area": lambda a: a, "gone": lambda: 0}
    keep(shop)
    shop.modules["shapes"] = {"area": lambda a, b: a * b}
    code = """
        from away.remote.shop.shapes import area, gone
        print(area(3, 5))
        try:
            gone(1)
        except Exception as error:
            print(type(error).__name__, error)
        """
    said = child(code, **shop.environment()).splitlines()
    assert said[0] == "15"
    assert said[1].startswith("FunctionNotFound ")
    assert "has no function 'shapes.gone' any more; it was on its list of less than" in said[1]
    assert shop.lists == 1


def test_a_function_that_has_gone_says_so_and_is_imported_no_more(shop):
    shop.functions["other"] = double
    keep(shop, seconds=200)
    del shop.functions["double"]
    code = """
        from away.remote.shop import double
        try:
            double(1)
        except Exception as error:
            print(type(error).__name__, error)
        from away.remote.shop import double
        """
    said = child(code, status=1, **shop.environment())
    assert said.startswith("FunctionNotFound ")
    assert "it was on its list of 3 minutes ago" in said
    assert "ImportError" in said or "FunctionNotImported" in said
    assert "has no function 'double'; it has other" in said
    shop.requests.clear()
    assert "it has other" in child(IMPORT, status=1, **shop.environment())


# ---------------------------------------------------------------- refreshing, and changes of our own


@pytest.fixture
def module(shop):
    with configured("kept", shop.url, PASSWORD) as name:
        yield name


@pytest.mark.parametrize(
    ("mode", "how", "lists"),
    [
        ("auto", "importlib.reload(shop)", 1),
        ("auto", "importlib.invalidate_caches()", 1),
        ("auto", "away.hooks.load_sync('shop')", 1),
        ("auto", "asyncio.run(away.hooks.load('shop'))", 1),
        ("cached", "importlib.reload(shop)", 1),
        ("cached", "importlib.invalidate_caches()", 0),
        ("cached", "away.hooks.load_sync('shop')", 1),
    ],
)
def test_what_asks_anew(mode, how, lists, shop):
    keep(shop)
    shop.functions["double"] = lambda m: m
    code = f"""
        import asyncio, importlib, inspect, away
        import away.remote.shop as shop
        double = shop.double
        {how}
        dir(shop)
        print(inspect.signature(shop.double), shop.double is double)
        """
    expected = "(m) True" if lists else "(n) True"
    assert child(code, **shop.environment(AWAY_CATALOGUE=mode)) == expected
    assert shop.lists == lists


@pytest.mark.parametrize("change", ["deploy", "update", "remove"])
def test_what_this_process_changes_at_the_gateway_drops_its_list(change, shop, folder):
    keep(shop)
    faas = FaasConnection(shop.url, password=PASSWORD)
    shop.script = servers.answer(202)
    with faas:
        if change == "remove":
            faas.remove("double")
        else:
            getattr(faas, change)({"service": "double", "image": "x"})
    assert list(folder.iterdir()) == []


def test_what_this_process_removes_is_gone_from_names_and_from_the_kept_list(shop, module):
    shop.functions["other"] = double
    loaded = hooks.load_sync(module)
    assert loaded.double(4) == 8
    with FaasConnection(shop.url, password=PASSWORD) as faas:
        faas.remove("double")
    assert shop.lists == 2
    assert "double" not in vars(loaded)
    assert dir(loaded)[-1] == "other"
    assert shop.lists == 2
    with pytest.raises(AttributeError, match="has no function 'double'; it has other"):
        loaded.double
    cached = shop.environment(AWAY_CATALOGUE="cached")
    shop.requests.clear()
    code = "from away.remote.shop import other; print(other.function_name)"
    assert child(code, **cached) == "other"
    assert "has no function 'double'" in child(IMPORT, status=1, **cached)
    assert shop.lists == 0


def test_names_stay_after_a_change_whose_list_could_not_be_had(shop, module):
    shop.functions |= {"other": double, "gone": double}
    loaded = hooks.load_sync(module)
    held, other = loaded.double, loaded.other
    answer, shop.script = shop.script, servers.answer(202)
    with FaasConnection(shop.url, password=PASSWORD) as faas:
        faas.update({"service": "double", "image": "x"})
        faas.remove("gone")
        shop.requests.clear()
        assert (loaded.double is held, loaded.other is other) == (True, True)
        assert "gone" not in vars(loaded)
        assert shop.lists == 0
    shop.script = answer
    shop.functions["double"] = lambda m: 3 * m
    # Its list is from before the change: at once, and not after a second only.
    assert held(m=4) == 12
    assert (str(inspect.signature(held)), shop.lists) == ("(m)", 1)


def test_a_publish_takes_no_names_away_while_it_goes_on(written):
    code = "def slowly(a):\n    return a\ndef other(a):\n    return a\n"
    functions = written("taken", code)
    seen = []

    def script(asked):
        seen.append((asked.method, asked.path.partition("?")[0], "other" in vars(loaded)))
        return servers.passed_on(gateway.url, asked)

    with away.gateway.run(announce=False) as gateway, servers.Server(script) as server:
        builder.publish(gateway, verbose=False)(functions.other)
        login = {"user": gateway.user, "password": gateway.password}
        with configured("slowly", server.url, gateway.password) as name:
            loaded = importlib.import_module(f"away.remote.{name}")
            held = loaded.other
            seen.clear()
            with FaasConnection(server.url, **login, verbose=False) as faas:
                builder.publish(faas, verbose=False)(functions.slowly)
            assert loaded.other is held
            assert loaded.slowly(3) == 3
    assert all(there for *_, there in seen)
    assert [each[:2] for each in seen].count(("GET", "/system/functions")) == 1


def test_a_function_that_became_a_module_is_one_after_a_change(shop, module):
    shop.functions |= {"shapes": double, "other": double, "more": double}
    loaded = hooks.load_sync(module)
    assert loaded.shapes(2) == 4
    with FaasConnection(shop.url, password=PASSWORD) as faas:
        shop.modules["shapes"] = {"area": double}
        del shop.functions["shapes"]
        faas.remove("other")
        assert loaded.shapes.area(3) == 6
        shop.functions["shapes"] = shop.modules.pop("shapes")["area"]
        faas.remove("more")
        assert loaded.shapes(5) == 10
    assert shop.lists == 3


PUBLISHED = """
from away import FaasConnection, builder

faas = FaasConnection.named("left")

@builder.publish(faas)
def {name}(n):
    return n

@builder.publish(faas)
def {name}_too(n):
    return n
"""


@pytest.mark.parametrize("how", ["python", "away publish"])
def test_a_publish_keeps_the_list_for_imports_without_the_gateway(how, tmp_path):
    name = how.replace(" ", "_")
    file = tmp_path / "pub.py"
    # One with a folder of its own leaves its list: it may be back under the same address.
    with away.gateway.run(announce=False, state=tmp_path / "state") as faas:
        file.write_text(PUBLISHED.format(name=name))
        environment = {
            "AWAY_GATEWAY_LEFT_URL": faas.url,
            "AWAY_GATEWAY_LEFT_USER": faas.user,
            "AWAY_GATEWAY_LEFT_PASSWORD": faas.password,
        }
        command = [sys.executable, *(["-m", "away", "publish"] * (how != "python")), file]
        run = functools.partial(
            subprocess.run, command, env={**os.environ, **environment}, check=True, stderr=-1
        )
        run()
        # Nothing is published anew, and a list is kept again all the same.
        kept(Path(lists_folder())).unlink()
        run()
    code = f"from away.remote.left import {name}, {name}_too; print({name}_too.function_name)"
    said = child(code, **environment, AWAY_CATALOGUE="cached")
    assert said == f"{name}-too".replace("_", "-")


def test_several_that_are_published_side_by_side_cost_one_list(written):
    module = written("side", "".join(f"def side_{n}(a):\n    return a\n" for n in range(3)))
    functions = [getattr(module, f"side_{n}") for n in range(3)]

    def lists():
        asked = [(each.method, each.path.partition("?")[0]) for each in server.requests]
        return asked.count(("GET", "/system/functions"))

    with (
        away.gateway.run(announce=False) as gateway,
        servers.Server(lambda seen: servers.passed_on(gateway.url, seen)) as server,
    ):
        login = {"user": gateway.user, "password": gateway.password}
        with FaasConnection(server.url, **login, verbose=False) as faas:
            outcomes = publish_all([Publication(each, faas) for each in functions], verbose=False)
            assert [each.published.action for each in outcomes] == ["created"] * 3
            assert lists() == 1
            server.requests.clear()
            publish_all([Publication(each, faas) for each in functions], verbose=False)
            assert lists() == 0
            kept(Path(lists_folder())).unlink()  # a list of just now does as well
            publish_all([Publication(each, faas) for each in functions], verbose=False)
            assert lists() == 0


def test_where_no_list_can_be_kept_an_unchanged_publish_asks_for_none(tmp_path):
    blocked, file = tmp_path / "file", tmp_path / "pub.py"
    blocked.write_text("")
    file.write_text(PUBLISHED.format(name="unkept"))
    with (
        away.gateway.run(announce=False) as gateway,
        servers.Server(lambda seen: servers.passed_on(gateway.url, seen)) as server,
    ):
        environment = {
            "AWAY_GATEWAY_LEFT_URL": server.url,
            "AWAY_GATEWAY_LEFT_USER": gateway.user,
            "AWAY_GATEWAY_LEFT_PASSWORD": gateway.password,
            "XDG_CACHE_HOME": str(blocked),
        }
        for expected in (True, False):
            server.requests.clear()
            ran = [sys.executable, file]
            subprocess.run(ran, env={**os.environ, **environment}, check=True, stderr=-1)
            asked = [(each.method, each.path.partition("?")[0]) for each in server.requests]
            assert (("GET", "/system/functions") in asked) is expected


def test_a_publish_succeeds_where_the_list_cannot_be_had(written):
    function = written("unlisted", "def unlisted(a):\n    return a\n").unlisted

    def script(seen):
        if seen.method == "GET" and seen.path.startswith("/system/functions"):
            return servers.answer(500, b"prometheus is away")
        return servers.passed_on(gateway.url, seen)

    with away.gateway.run(announce=False) as gateway, servers.Server(script) as server:
        login = {"user": gateway.user, "password": gateway.password}
        with FaasConnection(server.url, **login, verbose=False) as faas:
            assert builder.mirror_in_faas(function, faas)(3) == 3
            assert faas.remove("unlisted") is None


def test_an_embedded_gateway_drops_the_list_of_who_had_its_address(folder):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    files = ListFiles(f"http://127.0.0.1:{port}", "admin")
    files.write("", [FunctionInfo("of_another")])
    assert files.read("") is not None
    with away.gateway.run(port=port, announce=False) as faas:
        assert faas.url == files.url
        assert files.read("") is None
        assert faas.functions() == []
        assert files.read("").functions == ()
    assert files.read("") is None


def test_lists_in_memory_serve_for_seconds_as_before(shop, module):
    with FaasConnection(shop.url, password=PASSWORD) as faas:
        assert [each.name for each in faas.functions()] == ["double"]
        faas.functions()
        assert shop.lists == 1
        faas.functions(fresh=True)
        assert shop.lists == 2
    loaded = hooks.load_sync(module)
    assert str(inspect.signature(loaded.double)) == "(n)"


def test_a_fresh_connection_never_lists_from_disk(shop):
    keep(shop)
    code = f"""
        from away import FaasConnection
        print(len(FaasConnection({shop.url!r}, password={PASSWORD!r}).functions()))
        """
    child(code)
    assert shop.lists == 1


# ---------------------------------------------------------------- the file


URL = "http://127.0.0.1:8080"


def written(folder):
    files = ListFiles(URL, "admin", lambda: str(folder))
    files.write("", [FunctionInfo("f", labels={"a": "b"})])
    return files, kept(folder)


def swapped_for_a_link(path):
    path.rename(path.with_suffix(".real"))
    path.symlink_to(path.with_suffix(".real"))


def swapped_for_a_pipe(path):
    path.unlink()
    os.mkfifo(path, 0o600)


SPOILT = {
    "open to its group": lambda path: path.chmod(0o640),
    "a folder open to others": lambda path: path.parent.chmod(0o755),
    "a link": swapped_for_a_link,
    "a second name": lambda path: path.with_suffix(".second").hardlink_to(path),
    "a pipe": swapped_for_a_pipe,
    "a folder": lambda path: (path.unlink(), path.mkdir(0o700)),
    "too large": lambda path: path.write_bytes(path.read_bytes() + b" " * MAX_BYTES),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-9]),
    "empty": lambda path: path.write_bytes(b""),
    "nested deeply": lambda path: path.write_bytes(b"[" * 100_000),
    "of another format": lambda path: path.write_text(
        path.read_text().replace(f'"format":{FORMAT}', f'"format":{FORMAT + 1}')
    ),
    "of another gateway": lambda path: path.write_text(path.read_text().replace("8080", "8081")),
    "a strange time": lambda path: path.write_text(path.read_text().replace('"at":', '"at":-')),
    "functions that are none": lambda path: path.write_text(
        path.read_text().replace("[{", "[7,{", 1)
    ),
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_a_file_that_is_not_ours_alone_or_not_understood_is_as_good_as_absent(spoil, tmp_path):
    files, path = written(tmp_path / "lists")
    assert files.read("").functions[0]["name"] == "f"
    spoil(path)
    assert ListFiles(URL, "admin", lambda: str(tmp_path / "lists")).read("") is None


def test_a_link_in_place_of_the_file_is_replaced_and_not_followed(tmp_path):
    files, path = written(tmp_path / "lists")
    target = tmp_path / "precious"
    target.write_text("precious")
    path.unlink()
    path.symlink_to(target)
    files.write("", [])
    assert target.read_text() == "precious"
    assert files.read("").functions == ()


def test_a_link_in_place_of_the_folder_is_left_alone(tmp_path):
    (tmp_path / "theirs").mkdir(0o700)
    (tmp_path / "lists").symlink_to(tmp_path / "theirs")
    files = ListFiles(URL, "admin", lambda: str(tmp_path / "lists"))
    files.write("", [])
    files.drop()
    assert list((tmp_path / "theirs").iterdir()) == []


def test_a_list_too_large_to_be_kept_takes_the_older_one_away(tmp_path):
    files, path = written(tmp_path / "lists")
    files.write("", [FunctionInfo("f", image="x" * MAX_BYTES)])
    assert not path.exists()
    assert list((tmp_path / "lists").iterdir()) == []
    assert not files.can_write("")
    files.write("", [FunctionInfo("f")])
    assert files.can_write("")


def test_lists_that_nobody_fetches_any_more_are_removed(tmp_path):
    _, path = written(tmp_path / "lists")
    long_ago = time.time() - 100 * 24 * 3600
    os.utime(path, (long_ago, long_ago))
    other = ListFiles("http://127.0.0.1:9", "admin", lambda: str(tmp_path / "lists"))
    other.write("", [])
    assert not path.exists()
    assert other.read("").functions == ()


def test_a_gateways_lists_are_forgotten_and_no_others(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    one, other = ListFiles(URL, "admin"), ListFiles(f"{URL}1", "admin")
    for each in (one, other):
        each.write("", [])
        each.write("dev", [])
    forget_lists(URL)
    assert [one.read(""), one.read("dev")] == [None, None]
    assert other.read("dev").functions == ()


WRITER = """
import sys
from away.connection import FunctionInfo
from away.connection.catalogue_file import ListFiles
files = ListFiles(sys.argv[1], "admin", lambda: sys.argv[2])
for count in range(200):
    files.write("", [FunctionInfo(sys.argv[3], image="x" * (count % 50 * 400))] * (count % 20 + 1))
"""


def test_of_several_that_write_the_last_wins_and_no_reader_sees_half_a_list(tmp_path):
    files, _ = written(tmp_path / "lists")
    run = [sys.executable, "-c", WRITER, URL, str(tmp_path / "lists")]
    writers = [subprocess.Popen([*run, f"by-{number}"]) for number in range(3)]
    seen = set()
    while any(each.poll() is None for each in writers):
        found = files.read("")
        assert found is not None
        (name,) = {each["name"] for each in found.functions}
        seen.add(name)
    assert [each.returncode for each in writers] == [0, 0, 0]
    assert seen & {"by-0", "by-1", "by-2"}
    assert [each.suffix for each in (tmp_path / "lists").iterdir()] == [".json"]


def test_threads_that_import_at_once_write_one_list(shop, folder, module):
    found = []

    def take():
        scope = {}
        exec(f"from away.remote.{module} import double", scope)
        found.append(scope["double"])

    threads = [threading.Thread(target=take) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(set(map(id, found))) == 1
    assert shop.lists == 1
    assert json.loads(kept(folder).read_text())["functions"][0]["name"] == "double"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_whatever_stands_in_the_file_reading_raises_nothing(text):
    assert understood(text, URL, "admin", "") is None


@given(
    st.fixed_dictionaries(
        {"format": st.just(FORMAT), "url": st.just(URL), "user": st.just("admin")},
        optional={
            "namespace": st.just("") | JSON,
            "at": st.floats() | JSON,
            "functions": st.lists(st.dictionaries(st.text(), JSON)) | JSON,
        },
    )
)
def test_what_is_nearly_a_list_is_one_or_none(whole):
    found = understood(json.dumps(whole).encode(), URL, "admin", "")
    if found is not None:
        assert found.age(time.time()) >= 0
        for each in found.functions:
            info = FunctionInfo.from_json(each)
            assert info is None or info.name


def looks(info):
    return info.name, info.namespace, info.image, info.labels, info.annotations


TEXTS = st.dictionaries(st.text(), st.text(), max_size=3)


@given(
    st.lists(st.builds(FunctionInfo, st.text(min_size=1), st.text(), st.text(), labels=TEXTS)),
    st.text(),
    st.text(),
    st.floats(0, 1e10),
)
def test_what_is_written_is_read_back(infos, user, namespace, at):
    found = understood(text_of(URL, user, namespace, infos, at), URL, user, namespace)
    assert found is not None
    assert found.at == at
    again = [FunctionInfo.from_json(each) for each in found.functions]
    assert [looks(each) for each in again] == [looks(each) for each in infos]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "less than a minute ago"),
        (61, "1 minute ago"),
        (3599, "59 minutes ago"),
        (90_000, "1 day ago"),
        (1e9, "11574 days ago"),
        (float("inf"), "an unknown time"),
    ],
)
def test_an_age_is_said_in_one_unit(seconds, text):
    assert age_text(seconds) == text
