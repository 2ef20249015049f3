"""The registry builder with a registry that asks for a password, down to a container that answers."""

from __future__ import annotations

import base64
import json

import pytest

from away import FaasConnection, builder
from away.exceptions import AuthenticationRefused, PublishFailed
from tests.containers import registries
from tests.containers.gateways import Up
from tests.places import Place

pytestmark = pytest.mark.slow

BASE = f"{registries.REPOSITORY}:{registries.TAG}"


@pytest.fixture(scope="module")
def gateway(docker, locked_registry, tmp_path_factory):
    """A gateway that is a process of its own, which alone has the login that ``docker login`` leaves."""
    folder = tmp_path_factory.mktemp("docker-config")
    login = f"{locked_registry.user}:{locked_registry.password}".encode()
    token = base64.b64encode(login).decode()
    config = {"auths": {locked_registry.host: {"auth": token}}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_CONFIG", str(folder))
        up = Up(tmp_path_factory.mktemp("gateway") / "state")
    yield up
    up.stop()


@pytest.fixture
def locked(gateway, locked_registry, own_environment):
    """That gateway and the registry with a password, for the registry builder."""
    options = {
        "registry": locked_registry.host,
        "registry_auth": (locked_registry.user, locked_registry.password),
        "image_builder": "registry",
    }
    with FaasConnection(gateway.url, user=gateway.user, password=gateway.password) as faas:
        made = Place(faas, options)
        yield made
        made.clear()


def made():
    """Make the function; within another one it travels by value, without this file."""

    def inside(text):
        import socket

        return text, socket.gethostname()

    return inside


def test_a_base_in_the_registry_with_a_password_is_built_on_and_runs(locked, locked_registry):
    answers = locked.publish("same", base_image=BASE)(made())("hello")
    # A container is called by its function's name.
    assert answers == ("hello", locked.name("same"))
    image = locked.faas.function(locked.name("same")).image
    assert image.startswith(f"{locked_registry.host}/away/{locked.name('same')}:")


def test_a_base_in_an_open_registry_is_carried_to_the_one_with_a_password_and_runs(
    locked, registry, locked_registry
):
    far = locked.publish("carried", base_image=f"{registry}/{BASE}")(made())
    assert far("hello") == ("hello", locked.name("carried"))
    image = locked.faas.function(locked.name("carried")).image
    assert image.startswith(f"{locked_registry.host}/away/")


WRONG = {"another password": ("ada", "wrong-password-of-ada"), "none": None}


@pytest.mark.parametrize("case", WRONG)
def test_without_the_right_login_nothing_is_deployed(locked, registry, case):
    name = locked.name("refused")
    options = {**locked.options, "base_image": f"{registry}/{BASE}", "registry_auth": WRONG[case]}
    told = r"answered 401 .*; nothing was deployed$"
    with pytest.raises(AuthenticationRefused, match=told) as caught:
        builder.publish(locked.faas, name=name, verbose=False, **options)(made())
    assert "wrong-password" not in f"{caught.value!r} {caught.value}"
    assert name not in [each.name for each in locked.faas.functions()]


def test_an_update_that_dies_before_it_listens_says_its_last_lines(locked):
    far = locked.publish("dying", base_image=BASE)(made())
    broken = {"PYTHONIOENCODING": "none-such"}
    logs = []
    # Python itself can say a line and more of each module that it imports.
    for env in (broken, {**broken, "PYTHONVERBOSE": "1"}):
        with pytest.raises(PublishFailed, match="was started and did not come up") as caught:
            locked.publish("dying", base_image=BASE, env=env)(made())
        told, _, log = str(caught.value).partition("; its log ends with\n")
        assert "\n" not in told
        assert (told.count("what ran before"), told.count("what ran before still runs")) == (1, 1)
        logs.append(log.splitlines())
    assert "    LookupError: unknown encoding: none-such" in logs[0]
    assert 2 < len(logs[0]) < 30
    assert len(logs[1]) == 30
    assert far("on")[0] == "on"
