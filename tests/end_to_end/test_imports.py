"""Journeys through the import hook, with functions that run."""

from __future__ import annotations

import asyncio
import concurrent.futures
import importlib
import inspect
import multiprocessing
import sys

import pytest

import away
from away import builder


@pytest.fixture
def shop(faas, monkeypatch):
    """Let the gateway be the configured gateway `shop`, imported afresh by each test."""
    monkeypatch.setenv("AWAY_GATEWAY_SHOP_URL", faas.url)
    monkeypatch.setenv("AWAY_GATEWAY_SHOP_PASSWORD", faas.password)

    @builder.publish(faas, verbose=False)
    def import_double(n: int) -> int:
        """Give twice as much."""
        return 2 * n

    yield faas
    sys.modules.pop("away.remote.shop", None)
    vars(importlib.import_module("away.remote")).pop("shop", None)


@pytest.mark.slow
def test_imported_functions_run(shop):
    @builder.publish(shop, verbose=False)
    async def import_later(n: int) -> int:
        return n + 1

    @builder.publish(shop, verbose=False, name="import-cafe")
    def café(cups):
        return "☕" * cups

    @builder.publish(shop, verbose=False)
    def import_fails(n: int) -> float:
        return 1 / n

    del café, import_fails, import_later
    from away.remote.shop import café, import_double, import_fails, import_later

    assert import_double(21) == 42
    assert import_double(n=21) == 42
    assert asyncio.run(import_later(1)) == 2
    assert inspect.iscoroutinefunction(import_later)
    assert café(2) == "☕☕"
    with pytest.raises(ZeroDivisionError) as caught:
        import_fails(0)
    assert "return 1 / n" in "".join(caught.value.__notes__)


@pytest.mark.slow
def test_imported_functions_run_in_other_processes(shop):
    from away.remote.shop import import_double

    for method in ("spawn", "fork"):
        context = multiprocessing.get_context(method)
        with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
            assert list(pool.map(import_double, range(4))) == [0, 2, 4, 6]


@pytest.mark.slow
def test_a_republished_function_is_seen_after_a_reload(shop):
    import away.remote.shop as module

    @builder.publish(shop, verbose=False)
    def import_changing(n: int) -> int:
        return 2 * n

    held = module.import_changing
    assert held(1) == 2

    @builder.publish(shop, verbose=False)
    def import_changing(n: int, times: int = 3) -> int:  # noqa: F811 - it is published again
        return times * n

    importlib.reload(module)
    assert module.import_changing is held
    assert str(inspect.signature(held)) == "(n: int, times: int = 3) -> int"
    assert held(1, times=5) == 5


@pytest.mark.slow
def test_the_gateway_that_runs_here_is_local():
    with away.gateway.run() as faas:
        faas.deploy({"service": "cat", "image": "process", "envProcess": "cat"})
        from away.remote.local import cat

        assert cat(4) == 4
        assert cat.connection.url == away.FaasConnection.local().url == faas.url


@pytest.mark.slow
def test_a_published_function_imports_from_its_gateway(shop):
    @builder.publish(shop, verbose=False)
    def import_twice_double(n):
        from away.remote.shop import import_double

        return import_double(import_double(n))

    assert import_twice_double(3) == 12
