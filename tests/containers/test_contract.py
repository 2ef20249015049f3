"""OpenFaaS's contract against the docker provider, as a script of its own checks it."""

from __future__ import annotations

import subprocess
import sys
import uuid
from pathlib import Path

import pytest

import away.gateway
from tests.containers.engine import docker as docker_command
from tests.containers.gateways import Gateway, Images, containers_of, inspected
from tests.test_contract import GROUPS


@pytest.fixture(scope="module")
def checked(docker, base_image, tmp_path_factory):
    """Run every group's checks once; each check's line, whose containers are left, the echo's name."""
    images = Images(base_image)
    # The names that the checks send in Host headers.
    hosts = ("x", "gw.example")
    # Other gateways of this engine have functions too.
    name = f"echo-{uuid.uuid4().hex[:8]}"
    try:
        with (
            away.gateway.run(announce=False, allowed_hosts=hosts, provider="docker") as faas,
            Gateway(faas.url, faas.user, faas.password) as gateway,
        ):
            image = gateway.push(images.echo(), "ctr/echo:1", tmp_path_factory.mktemp("docker"))
            gateway.deploy(name, image)
            script = str(Path(__file__).parents[1] / "contract_check.py")
            # In one word: a password that was made may begin with a dash.
            arguments = ["--user", faas.user, f"--password={faas.password}", "--function", name]
            arguments += ["--image", image, "--timeout", "30", "--only", ",".join(GROUPS)]
            done = subprocess.run(
                [sys.executable, script, faas.url, *arguments],
                capture_output=True,
                text=True,
                timeout=300,
            )
            left = of_the_same_gateway(*containers_of(name))
    finally:
        images.clear()
    return done.stdout.splitlines(), left, name


def of_the_same_gateway(container):
    """List the functions of all containers, running or not, of the gateway that started this one."""
    label = f"away.gateway.run={inspected(container)['Config']['Labels']['away.gateway.run']}"
    shown = ("--filter", f"label={label}", "--format", '{{.Label "away.function"}}')
    return docker_command("ps", "--all", *shown).split()


@pytest.mark.slow
@pytest.mark.parametrize("group", GROUPS)
def test_the_contract_holds_but_for_async_and_metrics_which_are_left_out(checked, group):
    checks, _, _ = checked
    lines = [line for line in checks if f" {group}/" in line]
    assert lines, checks[-3:]
    assert [line for line in lines if not line.startswith("ok ")] == []


@pytest.mark.slow
def test_no_container_is_left_of_what_the_checks_deployed(checked):
    _, left, name = checked
    assert left == [name]
