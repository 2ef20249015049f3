"""The docker provider with real containers: what a function finds, what limits it, and every end."""

from __future__ import annotations

import base64
import http.client
import json
import os
import shutil
import stat
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

import away.gateway
from tests.containers.engine import docker as docker_command
from tests.containers.gateways import (
    Gateway,
    Images,
    containers_of,
    inspected,
    logged_in,
    until,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def images(docker, base_image):
    images = Images(base_image)
    yield images
    images.clear()


@pytest.fixture(scope="module")
def echo_image(images):
    return images.echo()


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    return tmp_path_factory.mktemp("gateway") / "state"


@pytest.fixture(scope="module")
def gateway(docker, state):
    with away.gateway.run(state=state, announce=False, provider="docker") as faas:
        with Gateway(faas.url, faas.user, faas.password) as gateway:
            yield gateway


@pytest.fixture
def name(gateway):
    """A name for one test's function, which is removed afterwards."""
    name = f"f-{uuid.uuid4().hex[:8]}"
    yield name
    gateway.remove(name)


@pytest.fixture
def echo(gateway, echo_image, name):
    assert gateway.put(name, echo_image) == (200, "")
    return name


# What a function finds


def test_the_gateway_says_that_it_runs_containers(gateway):
    info = json.loads(gateway.call("GET", "/system/info")[2])
    assert (info["provider"]["provider"], info["provider"]["orchestration"]) == ("away", "docker")


def test_a_container_is_like_faasds(gateway, echo):
    found = gateway.ask(f"{echo}/look")
    assert found["hostname"] == echo
    assert found["pid"] == 1
    # CAP_NET_RAW is number 13, and the only one.
    assert int(found["bounding"], 16) == 1 << 13
    assert found["no_new"] == "1"
    assert gateway.ask(f"{echo}/write?path=/tmp/x") == "written"
    assert gateway.ask(f"{echo}/write?path=/anywhere") == "written"


def test_user_folder_command_and_environment_of_the_image_are_honoured(gateway, images, name):
    image = images.echo(
        "USER 1000", "WORKDIR /var/tmp", "ENV COLOUR=red SHAPE=round fprocess=image",
        'ENTRYPOINT ["python3", "-u"]', command='CMD ["/srv/echo.py", "--flag"]',
    )  # fmt: skip
    given = {"COLOUR": "green", "EQUAL": "a=b=c", "fprocess": "lost"}
    assert gateway.put(name, image, envVars=given, envProcess="mine")[0] == 200
    found = gateway.ask(f"{name}/look")
    assert (found["uid"], found["folder"], found["argv"]) == (1000, "/var/tmp", ["--flag"])
    variables = gateway.ask(f"{name}/env")
    assert (variables["COLOUR"], variables["SHAPE"], variables["EQUAL"]) == (
        "green",
        "round",
        "a=b=c",
    )
    assert variables["fprocess"] == "mine"
    assert variables["HOME"]
    described = json.loads(gateway.call("GET", f"/system/function/{name}")[2])
    assert described["envVars"]["SHAPE"] == "round"
    assert described["image"] == f"docker.io/{image}"


def test_both_streams_reach_the_log_by_lines_of_their_own(gateway, echo):
    gateway.ask(f"{echo}/both")
    lines = until(lambda: len(found := gateway.lines(echo)) >= 3 and found)
    assert lines[0] == "echo listens"
    assert sorted(lines[1:]) == ["1:one 1:two 1:three", "2:one 2:two 2:three"]


def test_a_read_only_root_leaves_tmp_to_write_and_run_in(gateway, echo_image, name):
    assert gateway.put(name, echo_image, readOnlyRootFilesystem=True)[0] == 200
    assert gateway.ask(f"{name}/write?path=/anywhere") == "Read-only file system"
    assert gateway.ask(f"{name}/write?path=/tmp/script", "#!/bin/sh\necho ran\n") == "written"
    assert gateway.ask(f"{name}/run?path=/tmp/script") == "ran\n"


def test_an_image_of_another_kind_runs(gateway, images, name):
    image = images.build(
        "WORKDIR /site", "CMD exec python3 -m http.server 8080", files={"site/page": "plain"}
    )
    assert gateway.put(name, image) == (200, "")
    assert gateway.call("GET", f"/function/{name}/page")[2] == b"plain"


def test_an_image_of_the_gateways_own_registry_is_pulled_with_its_password(
    gateway, echo_image, name, tmp_path
):
    image = gateway.push(echo_image, f"team/{name}:2", tmp_path)
    assert gateway.put(name, image) == (200, "")
    assert gateway.ask(f"{name}/look")["hostname"] == name
    # Without a host a repository that the gateway has is meant.
    assert gateway.put(name, f"team/{name}:2", "PUT") == (200, "")
    described = json.loads(gateway.call("GET", f"/system/function/{name}")[2])
    assert described["image"] == f"team/{name}:2"
    assert gateway.host in docker_command("images", "--digests", "--format", "{{.Repository}}")
    assert gateway.remove(name) == 200
    assert f"team/{name}" not in docker_command("images", "--digests")


def test_an_image_of_another_registry_is_pulled_anew_at_each_deployment(
    gateway, registry, images, name
):
    there = f"{registry}/moving-{name}:1"
    for colour in ("red", "blue"):
        docker_command("tag", images.echo(f"ENV COLOUR={colour}"), there)
        docker_command("push", "--quiet", there)
        docker_command("rmi", there)
        assert gateway.put(name, there, "PUT" if colour == "blue" else "POST") == (200, "")
        assert gateway.ask(f"{name}/env")["COLOUR"] == colour


@pytest.fixture
def private(locked_registry, echo_image, name, tmp_path):
    """An image in a registry with a password."""
    there = f"{locked_registry.host}/private-{name}:1"
    docker_command("tag", echo_image, there)
    login = (locked_registry.host, locked_registry.user, locked_registry.password)
    with logged_in(tmp_path / "pusher", *login) as options:
        docker_command(*options, "push", "--quiet", there)
    docker_command("rmi", there)
    return there


HELPER = """#!{python}
import sys, json
assert sys.argv[1:] == ["get"] and sys.stdin.read() == {host!r}
print(json.dumps({{"Username": {user!r}, "Secret": {password!r}}}))
"""


@pytest.mark.parametrize("kept", ["in the file", "by a helper", "by the store of all"])
def test_a_private_image_is_pulled_as_docker_is_logged_in(
    private, locked_registry, name, tmp_path, monkeypatch, kept
):
    host, user, password = locked_registry.host, locked_registry.user, locked_registry.password
    settings = tmp_path / "docker"
    settings.mkdir()
    token = base64.b64encode(f"{user}:{password}".encode()).decode()
    content = {
        "in the file": {"auths": {host: {"auth": token}}},
        "by a helper": {"credHelpers": {host: "away-test"}, "credsStore": "nothing-of-the-kind"},
        "by the store of all": {"credsStore": "away-test", "auths": {host: {}}},
    }[kept]
    helper = tmp_path / "docker-credential-away-test"
    fields = {"python": sys.executable, "host": host, "user": user, "password": password}
    helper.write_text(HELPER.format(**fields))
    helper.chmod(0o700)
    monkeypatch.setenv("DOCKER_CONFIG", str(settings))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with (
        away.gateway.run(announce=False, provider="docker") as faas,
        Gateway(faas.url, faas.user, faas.password) as gateway,
    ):
        for wrong in ("{", '{"auths": []}', '{"credsStore": "../../bin/true"}', "{}"):
            (settings / "config.json").write_text(wrong)
            status, text = gateway.put(name, private)
            assert status == 400
            assert "no basic auth credentials" in text
        (settings / "config.json").write_text(json.dumps(content))
        assert gateway.put(name, private) == (200, "")
        assert password not in "".join(gateway.lines(name))


# Secrets


def test_a_secret_is_a_file_with_its_bytes_and_a_new_value_is_seen_at_once(
    gateway, echo_image, name, state
):
    value = bytes(range(256)) + b"\r\n"
    secret = f"{name}-secret"

    def store(data: bytes) -> None:
        fields = {"name": secret, "rawValue": base64.b64encode(data).decode()}
        assert gateway.call("PUT", "/system/secrets", json.dumps(fields).encode())[0] == 200

    def seen() -> dict:
        return gateway.ask(f"{name}/file?path=/var/openfaas/secrets/{secret}")

    store(value)
    assert gateway.put(name, echo_image, secrets=[secret]) == (200, "")
    assert base64.b64decode(seen()["data"]) == value
    assert seen()["mode"] == 0o644
    store(b"another")
    assert base64.b64decode(seen()["data"]) == b"another"
    written = gateway.ask(f"{name}/write?path=/var/openfaas/secrets/{secret}")
    assert written == "Read-only file system"
    # On this machine it stays its owner's, and the engine knows a folder only.
    assert stat.S_IMODE((state / "functions").stat().st_mode) == 0o700
    [container] = containers_of(name)
    assert "another" not in json.dumps(inspected(container))
    # Gone from the gateway, it stays in the function that runs, as on faasd.
    body = json.dumps({"name": secret}).encode()
    assert gateway.call("DELETE", "/system/secrets", body)[0] == 200
    assert base64.b64decode(seen()["data"]) == b"another"
    assert gateway.remove(name) == 200
    assert not (state / "functions" / name).exists()


def test_a_failed_update_leaves_what_runs_its_secrets(gateway, echo_image, images, name):
    secret = f"{name}-kept"
    fields = json.dumps({"name": secret, "value": "kept"}).encode()
    assert gateway.call("POST", "/system/secrets", fields)[0] == 200
    assert gateway.put(name, echo_image, secrets=[secret])[0] == 200
    dying = images.build('CMD ["python3", "-c", "raise SystemExit(1)"]')
    assert gateway.put(name, dying, "PUT")[0] == 500
    found = gateway.ask(f"{name}/file?path=/var/openfaas/secrets/{secret}")
    assert base64.b64decode(found["data"]) == b"kept"


# Limits


def test_limits_and_requests_are_the_containers(gateway, echo_image, name):
    limits, requests = {"memory": "96Mi", "cpu": "250m"}, {"memory": "64M", "cpu": "0.5"}
    assert gateway.put(name, echo_image, limits=limits, requests=requests)[0] == 200
    [container] = containers_of(name)
    host = inspected(container)["HostConfig"]
    assert (host["Memory"], host["MemorySwap"]) == (96 << 20, 96 << 20)
    assert (host["MemoryReservation"], host["NanoCpus"]) == (64_000_000, 250_000_000)
    assert host["CpuShares"] == 512
    assert host["PidsLimit"] == 4096


def test_more_processors_than_there_are_is_no_limit(gateway, echo_image, name):
    assert gateway.put(name, echo_image, limits={"cpu": "1000"}) == (200, "")
    [container] = containers_of(name)
    assert inspected(container)["HostConfig"]["NanoCpus"] == 0


def test_a_function_that_takes_too_much_memory_is_ended_and_comes_back(gateway, echo_image, name):
    assert gateway.put(name, echo_image, limits={"memory": "48Mi"})[0] == 200
    status, headers, body = gateway.call("POST", f"/function/{name}/eat?mb=200", b"")
    assert (status, headers["X-Openfaas-Internal"]) == (500, "proxy")
    assert body == f"Can't reach service for: {name}.\n".encode()
    assert gateway.ask(f"{name}/eat?mb=1") == 1 << 20
    assert "the container was ended: it took more memory than its limit" in gateway.lines(name)


def test_a_child_that_takes_too_much_memory_ends_alone(gateway, echo_image, name):
    assert gateway.put(name, echo_image, limits={"memory": "64Mi"})[0] == 200
    script = "#!/bin/sh\npython3 -c 'print(len(b\"x\" * (200 << 20)))'\necho ended $?\n"
    assert gateway.ask(f"{name}/write?path=/tmp/eat", script) == "written"
    assert gateway.ask(f"{name}/run?path=/tmp/eat") == "ended 137\n"
    [before] = containers_of(name)
    assert gateway.put(name, echo_image, "PUT") == (200, "")
    until(lambda: before not in containers_of(name))
    assert not [line for line in gateway.lines(name) if "memory" in line]


@pytest.mark.parametrize(
    ("group", "quantity", "said"),
    [
        ("limits", {"memory": "many"}, "limits.memory: 'many' is no quantity as Kubernetes writes"),
        ("limits", {"memory": "128MB"}, "limits.memory: '128MB' is no quantity"),
        ("limits", {"memory": "-1"}, "limits.memory: '-1' is no quantity"),
        ("limits", {"memory": "1Ki"}, "limits.memory is below 6Mi"),
        ("limits", {"cpu": "all"}, "limits.cpu: 'all' is no quantity"),
        ("limits", {"memory": "9" * 30}, "is more than any machine has"),
        ("requests", {"memory": "x"}, "requests.memory: 'x' is no quantity"),
        ("requests", {"cpu": "1 1"}, "requests.cpu: '1 1' is no quantity"),
    ],
    ids=str,
)
def test_a_quantity_that_cannot_be_is_refused_and_what_runs_goes_on(
    gateway, echo_image, echo, group, quantity, said
):
    for method, name in (("POST", f"{echo}-new"), ("PUT", echo)):
        status, text = gateway.put(name, echo_image, method, **{group: quantity})
        assert status == 400
        assert text.startswith(f"unable to create container: {name}, error: ")
        assert said in text
    assert gateway.call("GET", f"/system/function/{echo}-new")[0] == 404
    assert gateway.ask(f"{echo}/look")["hostname"] == echo


def test_promising_more_memory_than_is_allowed_is_refused(gateway, echo_image, name):
    limits, requests = {"memory": "64Mi"}, {"memory": "65Mi"}
    status, text = gateway.put(name, echo_image, limits=limits, requests=requests)
    assert (status, "requests.memory is more than limits.memory" in text) == (400, True)


# The gateway from inside


def test_a_function_calls_another_through_the_inside_url(gateway, echo_image, echo, name):
    caller = f"{name}-caller"
    variables = {
        "AWAY_INSIDE_URL": gateway.url,
        "AWAY_GATEWAY_SHOP_URL": gateway.url.replace("127.0.0.1", "localhost") + "/",
        "AWAY_GATEWAY_OTHER_URL": "http://127.0.0.1:1",
        "AWAY_OUTSIDE_URL": gateway.url,
    }
    assert gateway.put(caller, echo_image, envVars=variables) == (200, "")
    try:
        inside = gateway.ask(f"{caller}/env")
        url = inside["AWAY_INSIDE_URL"]
        assert inside["AWAY_GATEWAY_SHOP_URL"] == url != gateway.url
        assert inside["AWAY_GATEWAY_OTHER_URL"] == "http://127.0.0.1:1"
        assert inside["AWAY_OUTSIDE_URL"] == gateway.url
        status, text = gateway.ask(f"{caller}/ask", f"{url}/function/{echo}/look")
        assert (status, json.loads(text)["hostname"]) == (200, echo)
        # Functions may be called from inside by anyone; the rest needs the password there too.
        assert gateway.ask(f"{caller}/ask", f"{url}/system/functions")[0] == 401
        assert gateway.ask(f"{caller}/ask", f"{url}/v2/")[0] == 401
        headers = '{"Host":"evil.example"}'.replace('"', "%22")
        assert gateway.ask(f"{caller}/ask?headers={headers}", f"{url}/healthz")[0] == 403
        # What the deployment said is what is listed.
        listed = json.loads(gateway.call("GET", f"/system/function/{caller}")[2])
        assert listed["envVars"]["AWAY_INSIDE_URL"] == gateway.url
    finally:
        gateway.remove(caller)


@pytest.fixture
def inside(gateway, echo_image, name):
    """HOST:PORT of the gateway as containers see it."""
    assert gateway.put(name, echo_image, envVars={"AWAY_INSIDE_URL": gateway.url})[0] == 200
    return gateway.ask(f"{name}/env")["AWAY_INSIDE_URL"].removeprefix("http://")


def test_this_machine_and_containers_of_any_network_use_the_bridges_address(
    echo_image, inside, name
):
    connection = http.client.HTTPConnection(inside, timeout=10)
    connection.request("GET", f"/function/{name}/look")
    assert connection.getresponse().status == 200
    connection.close()
    network = f"away-test-{uuid.uuid4().hex[:8]}"
    docker_command("network", "create", network)
    try:
        url = f"http://{inside}/function/{name}/look"
        program = f"import urllib.request; print(urllib.request.urlopen({url!r}).status)"
        run = ("run", "--rm", "--network", network, echo_image, "python3", "-c", program)
        assert docker_command(*run) == "200"
    finally:
        docker_command("network", "rm", network)


def test_a_network_made_just_after_another_one_was_found_is_found_too(echo_image, inside, name):
    url = f"http://{inside}/function/{name}/look"
    program = f"import urllib.request; print(urllib.request.urlopen({url!r}).status)"
    networks = [f"away-test-{uuid.uuid4().hex[:8]}" for _ in range(2)]
    with ThreadPoolExecutor() as pool:
        try:
            for network in networks:
                docker_command("network", "create", network)
                run = ("run", "--rm", "--network", network, echo_image, "python3", "-c", program)
                assert [*pool.map(docker_command, *zip(*[run] * 2, strict=True))] == ["200"] * 2
        finally:
            for network in networks:
                docker_command("network", "rm", network)


@pytest.fixture
def wire():
    """A network namespace that stands for a machine on the same wire; how to run a command there."""
    if os.geteuid() or not shutil.which("ip"):
        pytest.skip("a machine on the same wire needs root and iproute2")
    tag = uuid.uuid4().hex[:6]
    here, there, other = f"aw{tag}0", f"aw{tag}1", f"away-{tag}"

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True)

    ip("netns", "add", other)
    try:
        ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", other)
        ip("addr", "add", "198.51.100.1/30", "dev", here)
        ip("link", "set", here, "up")
        ip("-n", other, "addr", "add", "198.51.100.2/30", "dev", there)
        ip("-n", other, "link", "set", there, "up")
        ip("-n", other, "route", "add", "default", "via", "198.51.100.1")
        yield ["ip", "netns", "exec", other]
    finally:
        ip("netns", "delete", other)


def test_another_machine_on_the_wire_does_not_use_the_bridges_address(inside, name, wire):
    program = (
        "import http.client; c = http.client.HTTPConnection({!r}, timeout=10);"
        "c.request('GET', {!r}); r = c.getresponse(); print(r.status, r.read().decode())"
    ).format(inside, f"/function/{name}/look")
    command = [*wire, sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.stdout.strip() == "403 this address is for containers of this machine", done.stderr


# Its life


def test_a_function_that_ended_comes_back_with_the_next_call(gateway, echo):
    [before] = containers_of(echo)
    assert gateway.call("POST", f"/function/{echo}/exit", b"")[0] == 500
    assert gateway.ask(f"{echo}/look")["pid"] == 1
    [after] = until(lambda: len(found := containers_of(echo)) == 1 and found)
    assert after != before


def test_a_container_that_someone_removes_comes_back_too(gateway, echo):
    docker_command("rm", "--force", *containers_of(echo))
    assert gateway.ask(f"{echo}/look")["pid"] == 1


def with_scales(gateway, name, method="GET", path="/healthz", **fields):
    """Scale a function by eight clients at once while another one sends a request; all statuses."""

    def ask(method, path, fields):
        with Gateway(gateway.url, gateway.user, gateway.password) as own:
            return own.call(method, path, json.dumps(fields).encode())[0]

    scale = ("POST", f"/system/scale-function/{name}", {"serviceName": name, "replicas": 1})
    with ThreadPoolExecutor(9) as pool:
        asked = [scale] * 4 + [(method, path, fields)] + [scale] * 4
        return {each.result() for each in [pool.submit(ask, *each) for each in asked]}


def test_scaling_leaves_one_container_and_a_delete_none(gateway, echo, echo_image):
    before = containers_of(echo)
    assert with_scales(gateway, echo) == {200}
    assert containers_of(echo) == before
    assert len(before) == 1

    gateway.call("POST", f"/function/{echo}/exit", b"")
    assert with_scales(gateway, echo, "POST", f"/function/{echo}") == {200}
    [after] = until(lambda: len(found := containers_of(echo)) == 1 and found)
    assert [after] != before

    update = {"service": echo, "image": echo_image}
    assert with_scales(gateway, echo, "PUT", "/system/functions", **update) == {200}
    until(lambda: len(containers_of(echo)) == 1)
    assert gateway.remove(echo) == 200
    assert containers_of(echo) == []


def test_nothing_is_left_of_what_is_deleted_while_it_starts(gateway, echo):
    docker_command("rm", "--force", *containers_of(echo))
    until(lambda: "availableReplicas" not in described(gateway, echo))
    # Before, in between and after: a scale that comes too late finds no function.
    assert with_scales(
        gateway, echo, "DELETE", "/system/functions", functionName=echo
    ) <= {200, 404}  # fmt: skip
    assert containers_of(echo) == []


def described(gateway, name):
    return json.loads(gateway.call("GET", f"/system/function/{name}")[2])


def test_an_image_that_someone_removed_is_fetched_again(gateway, base_image, name, tmp_path):
    images = Images(base_image)
    image = gateway.push(images.echo("ENV LOST=1"), f"lost/{name}:1", tmp_path)
    assert gateway.put(name, image)[0] == 200
    [container] = containers_of(name)
    identity = inspected(container)["Image"]
    images.clear()
    docker_command("rm", "--force", container)
    docker_command("rmi", "--force", identity)
    assert gateway.ask(f"{name}/env")["LOST"] == "1"


def test_a_function_that_dies_at_its_start_says_its_last_lines(gateway, images, echo):
    program = "import sys; print('on stdout'); sys.exit('no such model: x.bin')"
    dying = images.build(f'CMD [{json.dumps("python3")}, "-c", {json.dumps(program)}]')
    status, text = gateway.put(echo, dying, "PUT")
    assert status == 500
    assert "it ended before it listened on port 8080 of its container" in text
    assert "no such model: x.bin" in text
    assert "what ran before goes on" in text
    assert gateway.ask(f"{echo}/look")["pid"] == 1
    until(lambda: len(containers_of(echo)) == 1)


def test_a_program_that_is_not_there_is_told_by_answer_and_log(gateway, images, echo, name):
    image = images.build('CMD ["/no/such/program"]')
    status, text = gateway.put(echo, image, "PUT")
    assert (status, "/no/such/program" in text) == (500, True)
    new = f"{name}-new"
    assert gateway.put(new, image)[0] == 200  # as faasd, which starts it later
    assert any("/no/such/program" in line for line in gateway.lines(new))
    assert gateway.call("POST", f"/function/{new}", b"")[0] == 500
    assert gateway.remove(new) == 200
    assert containers_of(new) == []


def test_what_never_listens_is_deployed_all_the_same(gateway, images, name):
    image = images.build('CMD ["sleep", "600"]')
    assert gateway.put(name, image) == (200, "")
    started = time.monotonic()
    assert gateway.remove(name) == 200
    # Process 1 without a handler ignores SIGTERM; its grace has an end.
    assert time.monotonic() - started < 25
    assert containers_of(name) == []


def test_a_program_gets_sigterm_and_time_to_end(gateway, images, name, tmp_path):
    program = (
        "import http.server, signal, sys, time\n"
        "def end(*_):\n    print('ending', flush=True); time.sleep(1); print('ended', flush=True); sys.exit()\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "http.server.HTTPServer(('', 8080), http.server.SimpleHTTPRequestHandler).serve_forever()\n"
    )
    image = images.build(
        "STOPSIGNAL SIGKILL", 'CMD ["python3", "/srv/slow.py"]', files={"srv/slow.py": program}
    )
    assert gateway.put(name, image)[0] == 200
    assert gateway.put(name, image, "PUT")[0] == 200
    until(lambda: gateway.lines(name)[-2:] == ["ending", "ended"])
    until(lambda: len(containers_of(name)) == 1)


def test_a_flood_of_output_leaves_the_others_answering(gateway, echo, echo_image, name):
    other = f"{name}-other"
    assert gateway.put(other, echo_image)[0] == 200
    try:

        def prints():
            with Gateway(gateway.url, gateway.user, gateway.password) as own:
                own.call("POST", f"/function/{echo}/flood?lines=200000", b"")

        flood = threading.Thread(target=prints)
        flood.start()
        meanwhile = 0
        for _ in range(50):
            assert gateway.ask(f"{other}/look")["pid"] == 1
            meanwhile += flood.is_alive()
        flood.join()
        assert meanwhile
        assert len(gateway.lines(echo)) <= 10_000
    finally:
        gateway.remove(other)


class Load:
    """Calls a function so many times a second, each from a thread of its own."""

    def __init__(self, gateway: Gateway, path: str, per_second: int) -> None:
        self._address, self._path, self._pause = gateway.host, path, 1 / per_second
        self._stop = threading.Event()
        self.statuses: list[int | str] = []
        self._threads: list[threading.Thread] = []
        self._pacer = threading.Thread(target=self._run)

    def __enter__(self) -> Load:
        self._pacer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._pacer.join()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            thread = threading.Thread(target=self._call)
            thread.start()
            self._threads.append(thread)
            due += self._pause
            time.sleep(max(0.0, due - time.monotonic()))

    def _call(self) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=30)
        try:
            connection.request("POST", self._path, b"payload")
            answer = connection.getresponse()
            whole = answer.read() == b"payload"
            self.statuses.append(answer.status if whole else "another body")
        except (OSError, http.client.HTTPException) as error:
            self.statuses.append(repr(error))
        finally:
            connection.close()


def test_updates_under_fifty_calls_a_second_lose_none(gateway, echo_image, echo):
    with Load(gateway, f"/function/{echo}", 50) as load:
        for number in range(5):
            variables = {"NUMBER": str(number)}
            assert gateway.put(echo, echo_image, "PUT", envVars=variables) == (200, "")
            assert gateway.ask(f"{echo}/env")["NUMBER"] == str(number)
            time.sleep(0.3)
    assert len(load.statuses) > 50
    assert set(load.statuses) == {200}
    until(lambda: len(containers_of(echo)) == 1)


def test_a_call_in_flight_is_finished_by_what_an_update_replaces(gateway, echo_image, echo):
    found = []

    def call():
        with Gateway(gateway.url, gateway.user, gateway.password) as own:
            found.append(own.call("GET", f"/function/{echo}/stream?n=6&ms=300"))

    thread = threading.Thread(target=call)
    thread.start()
    time.sleep(0.3)
    assert gateway.put(echo, echo_image, "PUT")[0] == 200
    thread.join()
    [(status, _, body)] = found
    assert (status, len(body)) == (200, 6 * 16)


@pytest.mark.parametrize("how", ["kill", "rm"])
def test_a_call_in_flight_ends_with_its_container(gateway, echo, how):
    found = []

    def call():
        with Gateway(gateway.url, gateway.user, gateway.password) as own:
            found.append(
                (own.call("GET", f"/function/{echo}/stream?n=1&ms=60000"), time.monotonic())
            )

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    until(lambda: invocations(gateway, echo) >= 8)
    time.sleep(0.3)
    killed = time.monotonic()
    docker_command(*(("kill",) if how == "kill" else ("rm", "--force")), *containers_of(echo))
    for thread in threads:
        thread.join()
    assert [answer[0] for answer, _ in found] == [500] * 8
    assert max(moment for _, moment in found) - killed < 5
    assert gateway.ask(f"{echo}/look")["pid"] == 1


def invocations(gateway, name):
    items = json.loads(gateway.call("GET", "/system/functions")[2])
    return next(each for each in items if each["name"] == name).get("invocationCount", 0)


def test_thirty_two_calls_in_flight_are_served_by_as_many_connections(gateway, echo):
    statuses = []

    def call():
        with Gateway(gateway.url, gateway.user, gateway.password) as own:
            for _ in range(3):
                statuses.append(own.call("GET", f"/function/{echo}/stream?n=2&ms=250")[0])

    threads = [threading.Thread(target=call) for _ in range(32)]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 96
    # One after another they would take 48 s.
    assert time.monotonic() - started < 8


# What is refused


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ("127.0.0.1:1/team/x:1", "dial tcp 127.0.0.1:1: connect: connection refused"),
        ("REGISTRY/none:1", "REGISTRY/none:1: not found"),
        ("OWN/none:1", "OWN/none:1: not found"),
        ("OWN/none@sha256:" + "0" * 64, ": not found"),
        ("process", "runs functions as containers; name a real image"),
        ("UPPER", "invalid reference format"),
        ("", "invalid reference format"),
    ],
    ids=str,
)
def test_an_image_that_cannot_be_had_is_refused_and_what_runs_goes_on(
    gateway, registry, echo, image, said
):
    image = image.replace("REGISTRY", registry).replace("OWN", gateway.host)
    said = said.replace("REGISTRY", registry).replace("OWN", gateway.host)
    for method, name, wanted in (("POST", f"{echo}-new", 400), ("PUT", echo, 500)):
        status, text = gateway.put(name, image, method)
        assert status == (400 if "invalid" in said else wanted)
        assert said in text
        if "not found" in said or "dial" in said:
            assert text.startswith(
                f"unable to pull image {image}: cannot pull: failed to resolve reference"
                f' "{image}": '
            )
    assert gateway.ask(f"{echo}/look")["pid"] == 1


def test_an_image_for_processes_is_refused_with_what_to_do(gateway, name):
    image = gateway.push_image(f"processes/{name}:1", command=["python3", "-c", "pass"])
    status, text = gateway.put(name, image)
    assert status == 400
    assert "stands on away/python:" in text
    assert (
        "publish with a base_image that is a real image, such as docker.io/library/python" in text
    )


def test_an_image_without_a_command_is_refused(gateway, images, name):
    status, text = gateway.put(name, images.build("LABEL a=b", "CMD []"))
    assert (status, "the image has no command" in text) == (400, True)
