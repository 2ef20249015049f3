"""The pytest plug-in, by real runs of pytest over a project that imports remote functions."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

# What a user's project holds. The module under test imports at its top, as code does.
PROJECT = {
    "pyproject.toml": """
        [tool.pytest.ini_options]
        away_fake_gateways = ["shop"]
        filterwarnings = ["error"]

        [tool.away.gateways.prices]
        url = "https://prices.example.com"
        password_file = "not-on-this-machine"
        """,
    "basket.py": """
        from away import FaasConnection, builder
        from away.remote.shop import price, reserve_all

        @builder.publish(FaasConnection.named("shop"))
        def rounded(number):
            return round(number)

        def total(names):
            return sum(price(each) for each in names)

        async def reserved(names):
            return await reserve_all(names)
        """,
    "conftest.py": """
        import pytest

        @pytest.fixture(autouse=True)
        def prices(away_fake):
            away_fake.function("price", lambda name: len(name), gateway="shop")

            @away_fake.function(gateway="shop")
            async def reserve_all(names):
                return sorted(names)
        """,
    "test_basket.py": """
        import asyncio
        import inspect
        import os

        import pytest

        import basket
        from away import FaasConnection
        from away.exceptions import GatewayUnreachable
        from away.remote.shop import price
        from away.testing import NotFaked

        def test_functions_imported_before_the_test_are_answered(away_fake):
            assert basket.total(["tea", "salt"]) == 7
            assert [each.args for each in away_fake.calls("price")] == [("tea",), ("salt",)]
            assert price is basket.price
            assert str(inspect.signature(price)) == "(name)"

        def test_a_coroutine_function_is_one():
            assert asyncio.run(basket.reserved({"b", "a"})) == ["a", "b"]

        @pytest.mark.parametrize("number", range(6))
        def test_each_test_begins_anew(away_fake, number):
            assert away_fake.calls() == []
            assert basket.total(["tea"]) == 3
            away_fake.assert_called_once("price")

        def test_a_fault_of_one_test(away_fake):
            away_fake.function("price", gateway="shop", error=GatewayUnreachable)
            with pytest.raises(GatewayUnreachable):
                basket.total(["tea"])

        def test_is_none_of_another():
            assert basket.total(["tea"]) == 3

        def test_a_published_function_runs_here():
            assert basket.rounded(2.6) == 3

        def test_a_missing_function_is_missing():
            with pytest.raises(ImportError, match="has no function 'prices'; it has price"):
                from away.remote.shop import prices

        def test_other_gateways_are_refused_and_need_no_secret_once_faked(away_fake):
            with pytest.raises(NotFaked, match="gateway 'https://other.example.com', which"):
                FaasConnection("https://other.example.com").functions()
            away_fake.function("best", returns=1, gateway="prices")
            from away.remote.prices import best
            assert best() == 1

        def test_no_socket_is_opened(monkeypatch):
            import socket
            def refuse(*args, **options):
                raise AssertionError("a socket")
            monkeypatch.setattr(socket, "socket", refuse)
            monkeypatch.setattr(socket, "create_connection", refuse)
            assert basket.total(["tea"]) == 3
        """,
}
# In whatever order: each test says anew what the names imported at the top are.
ANEW = """
    import asyncio
    import inspect

    import pytest

    from away import builder
    from away.exceptions import FunctionNotFound
    from away.remote.aio.shop import later as always_async
    from away.remote.shop import later, price
    from away.remote.shop.shapes import area

    async def one(x):
        return x

    def plain(x):
        return x

    def several(x):
        yield x

    async def several_later(x):
        yield x

    def kind_of(function):
        asks = "iscoroutinefunction", "isgeneratorfunction", "isasyncgenfunction"
        return [each for each in asks if getattr(inspect, each)(function)]

    async def settled(answer):
        if hasattr(answer, "__aiter__"):
            return [each async for each in answer][0]
        return await answer

    def answer_of(function):
        answer = function(3)
        if hasattr(answer, "__next__"):
            return next(answer)
        is_async = inspect.isawaitable(answer) or hasattr(answer, "__aiter__")
        return asyncio.run(settled(answer)) if is_async else answer

    KINDS = [one, one, several, several, plain, one, several_later, several_later, plain, one]

    @pytest.mark.parametrize("far", KINDS)
    def test_a_kind(away_fake, far):
        away_fake.function("later", far, gateway="shop")
        away_fake.module("shapes", {"area": far}, gateway="shop")
        for each in (later, area):
            assert kind_of(each) == kind_of(far)
            assert str(inspect.signature(each)) == "(x)"
            assert answer_of(each) == 3
        assert inspect.isasyncgenfunction(always_async) == (far in (several, several_later))
        assert answer_of(always_async) == 3

    @pytest.mark.parametrize("there", ["later", "area", "later"])
    def test_one_of_them(away_fake, there):
        if there == "later":
            away_fake.function("later", one, gateway="shop")
        else:
            away_fake.module("shapes", {"area": one}, gateway="shop")
        faked, other = (later, area) if there == "later" else (area, later)
        assert answer_of(faked) == 3
        with pytest.raises(FunctionNotFound, match=r"does not fake it, as away_fake\\.function\\('"):
            answer_of(other)

    def test_another_gateway_of_that_name(away_gateway_named):
        faas = away_gateway_named("shop")
        builder.publish(faas, name="price", verbose=False)(lambda x: x + "!")
        assert price("a") == "a!"

    @pytest.mark.parametrize("time", [1, 2])
    def test_without_it(away_fake, time):
        with pytest.raises(FunctionNotFound, match="has no function 'price'; the test does not"):
            price("a")

    def test_without_a_fixture():
        with pytest.raises(FunctionNotFound):
            price("a")
    """
# Runs all tests, and then all of them backwards, in one process.
BACKWARDS = """
    def pytest_collection_modifyitems(items):
        items += items[::-1]
    """
LIVE = """
    import away.gateway
    import pytest
    from away import FaasConnection, builder

    def test_one_gateway_serves_the_session(away_gateway, away_gateway_named):
        @builder.publish(away_gateway, verbose=False)
        def add(a, b):
            return a + b

        assert add(1, 2) == 3
        from away.remote.local import add as imported
        assert imported(2, 3) == 5
        away_gateway_named("prod")
        from away.remote.prod import add as by_name
        assert by_name(3, 4) == 7

    def test_its_name_was_for_one_test(away_gateway):
        from away.exceptions import UnknownGateway
        with pytest.raises(UnknownGateway):
            FaasConnection.named("prod")

    def test_it_is_reached_beside_a_fake(away_gateway, away_fake):
        assert [each.name for each in away_gateway.functions(fresh=True)] == ["add"]
        away_fake.function("add", lambda a, b: "faked", gateway="shop")
        from away.remote.shop import add
        assert add(1, 2) == "faked"
        assert FaasConnection.named("local").url == away_gateway.url
    """


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).write_text(textwrap.dedent(text).lstrip())


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("arguments", [(), ("-n", "2")], ids=["one process", "two processes"])
def test_a_project_is_tested_without_a_gateway(tmp_path, arguments):
    write(tmp_path, PROJECT)
    ran = run_pytest(tmp_path, "-q", *arguments)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "14 passed" in ran.stdout


def test_a_test_that_calls_what_it_did_not_fake_fails_in_words(tmp_path):
    write(
        tmp_path,
        {
            "test_it.py": """
            from away import FaasConnection

            def test_it(away_fake):
                FaasConnection("my-faas-server.com").functions()
            """,
            "test_top.py": "from away.remote.nowhere_7f import price\n",
        },
    )
    ran = run_pytest(tmp_path, "--continue-on-collection-errors")
    assert ran.returncode == 1
    assert "which the test does not fake; write away_fake.function(" in ran.stdout
    assert "no gateway 'nowhere_7f' is configured" in ran.stdout
    assert "away_fake_gateways = ['nowhere_7f']" in ran.stdout


def test_the_embedded_gateway_is_there_for_a_session_and_gone_after_it(tmp_path):
    write(tmp_path, {"test_live.py": LIVE})
    ran = run_pytest(tmp_path, "-q", "-W", "error", f"--basetemp={tmp_path / 'temporary'}")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "3 passed" in ran.stdout
    assert not list(Path("/proc").glob("[0-9]*/cwd/../temporary"))


def test_what_the_readme_says_of_testing_runs_as_it_stands(tmp_path):
    readme = (Path(__file__).parent.parent / "README.md").read_text()
    blocks = re.findall(r"```(?:python|toml)\n(.*?)```", readme, re.DOTALL)
    shop = "from away.remote.prod import price\ndef total(names): return sum(map(price, names))\n"
    write(
        tmp_path,
        {
            "shop.py": shop,
            "test_shop.py": next(each for each in blocks if "def test_total(away_fake)" in each),
            "pyproject.toml": next(each for each in blocks if "away_fake_gateways" in each),
        },
    )
    ran = run_pytest(tmp_path, "-q")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "1 passed" in ran.stdout


def test_each_test_begins_anew_in_either_order(tmp_path):
    write(tmp_path, {"pyproject.toml": PROJECT["pyproject.toml"], "test_anew.py": ANEW})
    write(tmp_path, {"conftest.py": BACKWARDS})
    ran = run_pytest(tmp_path, "-q")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "34 passed" in ran.stdout


def test_a_start_of_pytest_imports_the_plug_in_and_nothing_behind_it():
    code = (
        "import pytest, sys; before = set(sys.modules); import away.testing.plugin;"
        "print(*sorted(set(sys.modules) - before))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(ran.stdout.split()) <= {"away", "away.testing", "away.testing.plugin"}
