"""The docker provider's ends: killed, stopped, started anew with what was left; and its command."""

from __future__ import annotations

import http.client
import ipaddress
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest

import away.gateway
from tests.containers.engine import docker as docker_command
from tests.containers.gateways import Gateway, Images, Up, containers_of, inspected, until
from tests.images import push_echo

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def images(docker, base_image):
    images = Images(base_image)
    yield images
    images.clear()


@pytest.fixture(scope="module")
def echo_image(images):
    return images.echo()


@pytest.fixture
def up(docker, tmp_path):
    started = []

    def start(port: int = 0) -> Up:
        started.append(Up(tmp_path / "state", port))
        docker.registries.append(started[-1].url.removeprefix("http://"))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.stop()


def wardens(state: str) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes()
        except OSError:
            continue
        if b"container_warden.py" in line and state.encode() in line:
            found.append(int(path.parent.name))
    return found


def run_label(container: str) -> str:
    return inspected(container)["Config"]["Labels"]["away.gateway.run"]


def test_a_gateway_that_is_killed_leaves_no_container_and_all_come_back(
    up, images, echo_image, tmp_path
):
    first = up()
    names = [f"k-{uuid.uuid4().hex[:8]}" for _ in range(3)]
    with first.gateway() as gateway:
        own = gateway.push(images.echo("ENV KEPT=1"), f"kept/{names[0]}:1", tmp_path / "docker")
        variables = {"AWAY_INSIDE_URL": first.url}
        for name, image in zip(names, (own, echo_image, echo_image), strict=True):
            assert gateway.put(name, image, envVars=variables)[0] == 200
        before = gateway.ask(f"{names[0]}/env")["AWAY_INSIDE_URL"]
    run = run_label(containers_of(names[0])[0])
    first.kill()
    until(lambda: not any(containers_of(name) for name in names))
    until(lambda: not wardens(run))
    second = up()
    assert second.url != first.url
    with second.gateway() as gateway:
        for name in names:
            assert gateway.ask(f"{name}/look")["hostname"] == name
        # What names the gateway follows it to its new port, and so does its registry's image.
        after = gateway.ask(f"{names[0]}/env")["AWAY_INSIDE_URL"]
        assert after.rpartition(":")[0] == before.rpartition(":")[0]
        assert after.rpartition(":")[2] == second.url.rpartition(":")[2]
        assert f"kept/{names[0]}" in docker_command("images", "--digests")
        assert gateway.remove(names[0]) == 200
        assert f"kept/{names[0]}" not in docker_command("images", "--digests")
    second.stop()
    assert second.process.returncode == 0
    assert not any(containers_of(name) for name in names)


def test_what_is_left_when_the_warden_is_killed_too_goes_with_the_next_start(up, echo_image):
    first = up()
    name = f"k-{uuid.uuid4().hex[:8]}"
    with first.gateway() as gateway:
        assert gateway.put(name, echo_image)[0] == 200
    [left] = containers_of(name)
    [warden] = wardens(run_label(left))
    os.kill(warden, signal.SIGKILL)
    first.kill()
    time.sleep(1)
    assert containers_of(name) == [left]
    second = up()
    with second.gateway() as gateway:
        assert gateway.ask(f"{name}/look")["pid"] == 1
    assert left not in containers_of(name)


def test_a_warden_that_was_killed_is_replaced(up, echo_image):
    running = up()
    name = f"k-{uuid.uuid4().hex[:8]}"
    with running.gateway() as gateway:
        assert gateway.put(name, echo_image)[0] == 200
        run = run_label(containers_of(name)[0])
        [warden] = wardens(run)
        os.kill(warden, signal.SIGKILL)
        assert gateway.put(name, echo_image, "PUT")[0] == 200
        [other] = until(lambda: [pid for pid in wardens(run) if pid != warden])
    running.kill()
    until(lambda: not containers_of(name))
    until(lambda: not Path(f"/proc/{other}").exists())


def test_a_gateway_killed_in_the_middle_of_a_deployment_leaves_nothing(up, echo_image):
    running = up()
    name = f"k-{uuid.uuid4().hex[:8]}"

    def deploy():
        try:
            with running.gateway() as gateway:
                gateway.put(name, echo_image)
        except (OSError, http.client.HTTPException):
            pass

    thread = threading.Thread(target=deploy)
    thread.start()
    until(lambda: containers_of(name))
    running.kill()
    thread.join()
    until(lambda: not containers_of(name))


def test_a_temporary_gateway_leaves_neither_containers_nor_images(docker, echo_image, tmp_path):
    name = f"k-{uuid.uuid4().hex[:8]}"
    with (
        away.gateway.run(announce=False, provider="docker") as faas,
        Gateway(faas.url, faas.user, faas.password) as gateway,
    ):
        assert gateway.put(name, gateway.push(echo_image, f"gone/{name}:1", tmp_path))[0] == 200
        assert f"gone/{name}" in docker_command("images", "--digests")
    assert containers_of(name) == []
    assert f"gone/{name}" not in docker_command("images", "--digests")


def test_two_gateways_leave_each_others_containers_alone(up, echo_image):
    name = f"k-{uuid.uuid4().hex[:8]}"
    with (
        away.gateway.run(announce=False, provider="docker") as faas,
        Gateway(faas.url, faas.user, faas.password) as gateway,
    ):
        assert gateway.put(name, echo_image)[0] == 200
        [before] = containers_of(name)
        up().stop()
        killed = up()
        with killed.gateway() as other:
            assert other.put(f"{name}-other", echo_image)[0] == 200
        run = run_label(containers_of(f"{name}-other")[0])
        killed.kill()
        until(lambda: not (containers_of(f"{name}-other") or wardens(run)))
        assert gateway.ask(f"{name}/look")["pid"] == 1
        assert containers_of(name) == [before]


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_container_of_others_stays_whatever_labels_it_carries(up, echo_image, end):
    name, foreign = f"k-{uuid.uuid4().hex[:8]}", f"foreign-{uuid.uuid4().hex[:8]}"
    running = up()
    with running.gateway() as gateway:
        assert gateway.put(name, echo_image)[0] == 200
    labels = inspected(containers_of(name)[0])["Config"]["Labels"]
    marks = [f"--label={key}={labels[key]}" for key in ("away.gateway", "away.gateway.run")]
    docker_command("run", "--detach", "--name", foreign, *marks, echo_image)
    try:
        if end == "stop":
            running.stop()
        else:
            running.kill()
        until(lambda: not (containers_of(name) or wardens(labels["away.gateway.run"])))
        # The next one sees both, and ends while it starts the function anew.
        up().stop()
        assert inspected(foreign)["Name"] == f"/{foreign}"
        assert containers_of(name) == []
    finally:
        docker_command("rm", "--force", foreign)


def test_functions_of_another_provider_stay_and_say_why_they_do_not_run(
    up, echo_image, tmp_path, registry, images
):
    name, other = (f"k-{uuid.uuid4().hex[:8]}" for _ in range(2))
    state = tmp_path / "state"
    with (
        away.gateway.run(state=state, announce=False) as faas,
        Gateway(faas.url, faas.user, faas.password) as gateway,
    ):
        gateway.deploy(name, push_echo(gateway))
    running = up()
    with running.gateway() as gateway:
        assert gateway.call("POST", f"/function/{name}", b"")[0] == 500
        assert any("stands on away/python:" in line for line in gateway.lines(name))
        assert gateway.put(name, echo_image, "PUT") == (200, "")
        assert gateway.ask(f"{name}/look")["pid"] == 1
        there = f"{registry}/other-{other}:1"
        docker_command("tag", images.echo(), there)
        docker_command("push", "--quiet", there)
        assert gateway.put(other, there) == (200, "")
    running.stop()
    with (
        away.gateway.run(state=state, announce=False) as faas,
        Gateway(faas.url, faas.user, faas.password) as gateway,
    ):
        for each in (name, other):
            assert gateway.call("POST", f"/function/{each}", b"")[0] == 500
        gateway.deploy(name, push_echo(gateway), "PUT")
        assert gateway.call("POST", f"/function/{name}", b"x")[2] == b"x"


# The command


def test_the_command_says_what_is_to_be_known(docker, tmp_path):
    command = [
        sys.executable,
        "-m",
        "away",
        "up",
        "--provider",
        "docker",
        "--state",
        tmp_path / "s",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("Ctrl-C"):
            break
    process.terminate()
    process.wait(30)
    process.stdout.close()
    text = "".join(lines)
    assert "functions stand on docker.io/library/python:" in text
    assert "unless base_image= names another" in text
    assert process.returncode == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "the bridge"])
def test_a_port_that_is_taken_is_said(docker, tmp_path, host):
    if host == "the bridge":
        listed = docker_command("network", "inspect", "bridge")
        [configured] = json.loads(listed)[0]["IPAM"]["Config"]
        network = ipaddress.ip_network(configured["Subnet"])
        host = configured.get("Gateway") or str(next(network.hosts()))
    taken = socket.create_server((host, 0))
    port = taken.getsockname()[1]
    script = "import sys, away.gateway; away.gateway.serve(port=int(sys.argv[1]), state=sys.argv[2], provider='docker')"
    done = subprocess.run(
        [sys.executable, "-c", script, str(port), str(tmp_path / "s")],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    taken.close()
    assert f"the gateway cannot listen on port {port} of {host}: Address already in" in done.stderr
