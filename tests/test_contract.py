"""OpenFaaS's contract, as a script of its own checks it, against a function with all three manners."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import away.gateway
from tests.images import Registry, push_echo
from tests.processes import processes_of

GROUPS = (
    "answers", "auth", "call", "deploy", "health", "info", "list", "logs", "namespaces", "reflect",
    "refuse", "secrets", "status",
)  # fmt: skip


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    """Run every group's checks once; the lines of each check, and whose processes are left."""
    state = tmp_path_factory.mktemp("gateway") / "state"
    # The names that the checks send in Host headers.
    hosts = ("x", "gw.example")
    with away.gateway.run(state=state, announce=False, allowed_hosts=hosts) as faas:
        with Registry(faas.url, faas.user, faas.password) as registry:
            image = push_echo(registry)
            registry.deploy("echo", image)
        script = str(Path(__file__).with_name("contract_check.py"))
        # In one word: a password that was made may begin with a dash.
        arguments = ["--user", faas.user, f"--password={faas.password}", "--function", "echo"]
        arguments += ["--image", image, "--timeout", "30", "--only", ",".join(GROUPS)]
        done = subprocess.run(
            [sys.executable, script, faas.url, *arguments],
            capture_output=True,
            text=True,
            timeout=300,
        )
        left = list(processes_of(state).values())
    return done.stdout.splitlines(), left


@pytest.mark.slow
@pytest.mark.parametrize("group", GROUPS)
def test_the_contract_holds_but_for_async_and_metrics_which_are_left_out(checked, group):
    checks, _ = checked
    lines = [line for line in checks if f" {group}/" in line]
    assert lines, checks[-3:]
    assert [line for line in lines if not line.startswith("ok ")] == []


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells which processes there are")
def test_no_process_is_left_of_what_the_checks_deployed(checked):
    _, left = checked
    assert left == ["echo"]
