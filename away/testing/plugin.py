"""The pytest plug-in: the fixtures ``away_fake`` and ``away_gateway``, and gateways that are always faked.

pytest loads this at each of its starts, in every project of the environment: nothing of Away is
imported here before a fixture is asked for or the option is set.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from away.connection import FaasConnection
    from away.testing.faking import Fake

__all__ = ["away_fake", "away_gateway", "away_gateway_named"]

OPTION = "away_fake_gateways"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that names gateways which are faked from the collection on."""
    parser.addini(
        OPTION,
        "gateways of Away that are faked for the whole run: what is imported from them while tests"
        " are collected is answered by the fixture away_fake",
        type="args",
        default=[],
    )


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Fake those gateways before a conftest imports from them."""
    _fake_always(early_config)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Fake them where this plug-in was named by a conftest, before test modules are imported."""
    _fake_always(config)


_faked = pytest.StashKey[bool]()


def _fake_always(config: pytest.Config) -> None:
    gateways = config.getini(OPTION)
    if gateways and not config.stash.get(_faked, False):
        from away.exceptions import ConfigError
        from away.testing.faking import Fake

        fake = Fake(gateways, strict=False, any_name=True)
        try:
            fake.__enter__()
        except ConfigError as error:
            raise pytest.UsageError(f"{OPTION}: {error}") from error
        config.stash[_faked] = True
        config.add_cleanup(lambda: fake.__exit__(None, None, None))


def pytest_exception_interact(
    call: pytest.CallInfo[object], report: pytest.CollectReport | pytest.TestReport
) -> None:
    """Say beside an import that found no gateway how one is faked from the collection on."""
    errors = sys.modules.get("away.hooks.errors")
    found = call.excinfo.value if call.excinfo else None
    while errors is not None and found is not None:
        if isinstance(found, errors.GatewayNotConfigured):
            gateway = (found.name or "").rpartition(".")[2]
            hint = (
                f"what tests import at their top is faked by pytest's option {OPTION}:\n"
                f"    [tool.pytest.ini_options]\n    {OPTION} = [{gateway!r}]"
            )
            report.sections.append(("Away", hint))
            return
        found = found.__cause__ or found.__context__


@pytest.fixture
def away_fake(request: pytest.FixtureRequest) -> Iterator[Fake]:
    """Gateways that are played in process for one test; see :class:`away.testing.Fake`.

    Calls to a gateway that the test does not fake are refused. Faked from the start are those that
    the option ``away_fake_gateways`` names.
    """
    from away.testing.faking import Fake

    with Fake(request.config.getini(OPTION)) as fake:
        yield fake


@pytest.fixture(scope="session")
def away_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaasConnection]:
    """An embedded gateway for the session, ended with it: a connection, and ``away.remote.local``.

    Its functions are processes of this machine; its state, and where it is announced, are the
    session's own.
    """
    import away.gateway
    from away.testing import stage
    from away.testing.environment import variable

    with variable("AWAY_RUNTIME_DIR", str(tmp_path_factory.mktemp("away-runtime"))):
        with away.gateway.run() as faas:
            undo = stage.let_through(faas.url, ("local",))
            try:
                yield faas
            finally:
                undo()


@pytest.fixture
def away_gateway_named(away_gateway: FaasConnection) -> Iterator[Callable[[str], FaasConnection]]:
    """Configure the session's gateway under a name, for one test: ``away_gateway_named("prod")``.

    What is given takes the name and returns a connection by it; ``from away.remote.prod import …``
    finds the gateway too, and so does what was imported from there before.
    """
    from contextlib import ExitStack

    from away.connection import FaasConnection
    from away.testing import imports, stage
    from away.testing.environment import configured_as

    with ExitStack() as undo:
        undo.callback(imports.remembered())

        def named(name: str) -> FaasConnection:
            undo.enter_context(configured_as(name, away_gateway))
            undo.callback(stage.let_through(away_gateway.url, (name,)))
            imports.renew(name)
            return FaasConnection.named(name)

        yield named
