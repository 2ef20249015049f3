"""OpenFaaS's contract against the docker provider, as a script of its own checks it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import away.gateway
from tests.containers.gateways import Gateway, Images
from tests.test_contract import GROUPS


@pytest.fixture(scope="module")
def checked(docker, base_image, tmp_path_factory):
    """Run every group's checks once; the lines of each check."""
    images = Images(base_image)
    # The names that the checks send in Host headers.
    hosts = ("x", "gw.example")
    try:
        with (
            away.gateway.run(announce=False, allowed_hosts=hosts, provider="docker") as faas,
            Gateway(faas.url, faas.user, faas.password) as gateway,
        ):
            image = gateway.push(images.echo(), "ctr/echo:1", tmp_path_factory.mktemp("docker"))
            gateway.deploy("echo", image)
            script = str(Path(__file__).parents[1] / "contract_check.py")
            arguments = ["--user", faas.user, "--password", faas.password, "--function", "echo"]
            arguments += ["--image", image, "--timeout", "30", "--only", ",".join(GROUPS)]
            done = subprocess.run(
                [sys.executable, script, faas.url, *arguments],
                capture_output=True,
                text=True,
                timeout=300,
            )
    finally:
        images.clear()
    return done.stdout.splitlines()


@pytest.mark.slow
@pytest.mark.parametrize("group", GROUPS)
def test_the_contract_holds_but_for_async_and_metrics_which_are_left_out(checked, group):
    lines = [line for line in checked if f" {group}/" in line]
    assert lines, checked[-3:]
    assert [line for line in lines if not line.startswith("ok ")] == []
