"""What the other container tests stand on: the engine, its base image and the registries."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from tests.containers import engine, registries

TAGS = f"/v2/{registries.REPOSITORY}/tags/list"


def test_the_base_image_has_this_pythons_minor_version(docker, base_image):
    script = "import json, sys; print(json.dumps(sys.version_info[:2]))"
    printed = engine.docker("run", "--rm", base_image, "python3", "-c", script)
    assert printed == str(list(sys.version_info[:2]))


def test_the_registry_holds_the_base_image(registry):
    answer = requests.get(f"http://{registry}{TAGS}", timeout=10)
    assert answer.json()["tags"] == [registries.TAG]


def test_the_engine_pulls_the_base_from_the_registry_and_runs_it(docker, registry):
    name = f"{registry}/{registries.REPOSITORY}:{registries.TAG}"
    engine.docker("pull", "--quiet", name)
    container = docker.start(
        name, command=("python3", "-u", "-c", "import time; print('here'); time.sleep(60)")
    )
    assert container.run("python3", "-c", "print(1 + 1)") == "2"
    assert container.logs() == "here\n"
    docker.forget(registry)
    container.remove()


def test_the_locked_registry_asks_for_its_password(locked_registry):
    url = f"http://{locked_registry.host}{TAGS}"
    assert requests.get(url, timeout=10).status_code == 401
    answer = requests.get(url, auth=(locked_registry.user, locked_registry.password), timeout=10)
    assert answer.json()["tags"] == [registries.TAG]
    assert locked_registry.password not in repr(locked_registry)


def test_a_registry_comes_back_on_its_port_with_what_it_held(registry, tmp_path):
    with registries.serve(tmp_path) as host:
        begun = requests.post(f"http://{host}/v2/some/blobs/uploads/", timeout=10)
        assert begun.status_code == 202
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://{host}/v2/", timeout=10)
    with registries.serve(tmp_path, port=int(host.rpartition(":")[2]), read_only=True) as again:
        assert again == host
        refused = requests.post(f"http://{host}/v2/some/blobs/uploads/", timeout=10)
        assert refused.status_code == 405


def test_what_a_session_starts_is_gone_after_it(docker, base_image):
    other = engine.Engine()
    container = other.start(base_image, command=("python3", "-c", "import time; time.sleep(60)"))
    other.clear()
    with pytest.raises(subprocess.CalledProcessError):
        engine.docker("inspect", container.id)


@pytest.mark.parametrize(
    ("required", "status", "said"),
    [("", 0, "skipped, no Docker: "), ("required", 1, "no Docker: ")],
    ids=["a laptop", "CI"],
)
def test_without_an_engine_tests_are_skipped_by_name_and_in_ci_fail(required, status, said):
    environment = {**os.environ, "DOCKER_HOST": "tcp://127.0.0.1:1", "AWAY_TEST_DOCKER": required}
    one = f"{__file__}::{test_the_base_image_has_this_pythons_minor_version.__name__}"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-rs", "-p", "no:cacheprovider", "-p", "no:xdist", one],
        env=environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert done.returncode == status, done.stdout
    assert said in done.stdout
    assert ".ci/containers" in done.stdout


START = r"""
set -euo pipefail
run=$1
give_up() { echo "gave up: $*"; exit 1; }
wait_for() { for _ in 1 2 3; do "$@" && return 0; done; return 1; }
start() { echo "starting $1"; "$@"; }
id() { echo 0; }
pgrep() { return 1; }
ctr() { test -e "$run/listens"; }
docker() { test -e "$run/up"; }
containerd() { test ! -e "$run/containerd/containerd.sock" && touch "$run/listens"; }
dockerd() { test ! -e "$run/docker.pid" && touch "$run/up"; }
"""


def test_what_a_killed_engine_left_does_not_keep_a_new_one_from_its_start(tmp_path):
    """With programs that stand for the engine's, and refuse as they do where something is left."""
    script = (Path(__file__).parents[2] / ".ci/containers").read_text()
    begin, end = script.index("engine_answers() {"), script.index("# python3 whole")
    functions = re.sub(
        r"(?m)^(wait_for|start)\(\) \{.*?^\}\n", "", script[begin:end], flags=re.DOTALL
    )
    (tmp_path / "containerd").mkdir()
    (tmp_path / "containerd/containerd.sock").touch()
    (tmp_path / "docker.pid").touch()
    done = subprocess.run(
        ["bash", "-c", f"{START}\n{functions}\nstart_engine", "test", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "starting containerd\nstarting dockerd\n"
    # The lock is taken before anything is installed or started, and not left to what is.
    last = script[script.rindex("flock 9") :]
    assert "start_engine" in last
    assert "9>&-" in script
