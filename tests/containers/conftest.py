"""A real container engine and real registries, for one session; without them the tests are skipped.

``AWAY_TEST_DOCKER=required`` in the environment makes their absence a failure, as CI has it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

import away
from away import FaasConnection
from tests.containers import engine, registries
from tests.places import Place

pytest.register_assert_rewrite("tests.scenarios")

T = TypeVar("T")
PASSWORD = "sesame-of-the-registry"


def _needed(find: Callable[[], T]) -> T:
    try:
        return find()
    except engine.NoDocker as missing:
        if os.environ.get("AWAY_TEST_DOCKER") == "required":
            pytest.fail(f"no Docker: {missing}", pytrace=False)
        pytest.skip(f"skipped, no Docker: {missing}")


@pytest.fixture(scope="session")
def docker() -> Iterator[engine.Engine]:
    """The container engine; what is started through it is gone at the end of the session."""
    _needed(engine.check_engine)
    session = engine.Engine()
    yield session
    session.clear()


@pytest.fixture(scope="session")
def base_image(docker) -> str:
    """The name, in the engine, of a Debian image with this Python's minor version as python3."""
    return _needed(engine.find_base)


@pytest.fixture(scope="session")
def registry(docker, base_image, tmp_path_factory) -> Iterator[str]:
    """HOST:PORT of an open registry that holds the base image as ``python:3.x-slim``."""
    _needed(registries.check_registry)
    folder = registries.with_base(base_image, tmp_path_factory.mktemp("registry") / "open")
    with registries.serve(folder) as host:
        docker.registries.append(host)
        yield host


@pytest.fixture(scope="session")
def locked_registry(docker, base_image, tmp_path_factory) -> Iterator[registries.Locked]:
    """A registry with a password (``.host``, ``.user``, ``.password``); it holds the base too."""
    _needed(registries.check_registry)
    folder = registries.with_base(base_image, tmp_path_factory.mktemp("registry") / "locked")
    with registries.serve(folder, users={"ada": PASSWORD}) as host:
        docker.registries.append(host)
        yield registries.Locked(host, "ada", PASSWORD)


@pytest.fixture(scope="session")
def container_gateway(registry) -> Iterator[FaasConnection]:
    """An embedded gateway whose functions are containers of the engine."""
    with away.gateway.run(provider="docker", announce=False) as faas:
        yield faas


@pytest.fixture(params=["registry", "docker"])
def place(request, container_gateway, registry, own_environment, tmp_path_factory, monkeypatch):
    """That gateway and the open registry, once for each image builder."""
    # Layers of requirements are made once for all tests, as on a machine of a user's.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
    # A name without a host, which is looked for in the registry that is pushed to.
    base = f"{registries.REPOSITORY}:{registries.TAG}"
    options = {"registry": registry, "base_image": base, "image_builder": request.param}
    with FaasConnection(
        container_gateway.url, user=container_gateway.user, password=container_gateway.password
    ) as faas:
        made = Place(faas, options)
        yield made
        made.clear()
