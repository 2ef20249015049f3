"""The embedded gateway over its socket: who may speak to it, functions' lives, secrets and logs."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import away.gateway
from away import builder
from away.exceptions import ConfigError
from away.gateway import deployments
from away.gateway.addresses import inside, moved
from away.gateway.deploy_request import Deployment, Refused, read_deployment
from away.gateway.deployments import CannotStart, Function
from away.gateway.durations import read_duration
from away.gateway.logs import Log
from away.gateway.paths import Malformed, Moved, Target, read_target
from tests.images import ECHO, Registry, push_echo
from tests.processes import processes_of

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="/proc tells which processes there are")


@pytest.fixture(scope="module")
def faas(tmp_path_factory):
    state = tmp_path_factory.mktemp("gateway") / "state"
    with away.gateway.run(state=state, announce=False, allowed_hosts=["gw.example"]) as faas:
        faas.state = state
        yield faas


@pytest.fixture(scope="module")
def echo(faas):
    with Registry(faas.url, faas.user, faas.password) as registry:
        image = push_echo(registry)
        registry.deploy("echo", image)
        registry.image = image
        yield registry


@pytest.fixture
def fresh(echo, request):
    """Deploy a function for one test; its name."""
    name = f"f-{abs(hash(request.node.name)) % 10**8}"
    echo.deploy(name, echo.image)
    yield name
    echo.call("DELETE", "/system/functions", json.dumps({"functionName": name}).encode())


def lines_of(echo, name, **query):
    fields = "".join(f"&{key}={value}" for key, value in query.items())
    _, headers, body = echo.call("GET", f"/system/logs?name={name}{fields}")
    assert headers["Content-Type"].startswith("text/plain")
    return [json.loads(line)["text"] for line in body.splitlines()]


def invocations(echo, name):
    items = json.loads(echo.call("GET", "/system/functions")[2])
    return next(each for each in items if each["name"] == name).get("invocationCount", 0)


def until(found, seconds=20):
    end = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)
    return value


# Who may speak to it


@pytest.mark.parametrize(
    "path", ["/healthz", "/function/echo", "/system/info", "/v2/", "/ui/", "/x"]
)
@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),
        ({"Host": "localhost:99"}, True),
        ({"Host": "LOCALHOST."}, True),
        ({"Host": "[::1]:8080"}, True),
        ({"Host": "127.9.9.9"}, True),
        ({"Host": "gw.example:81"}, True),
        ({"Host": "evil.example"}, False),
        ({"Host": "localhost.evil.example"}, False),
        ({"Host": "127.0.0.1.evil.example"}, False),
        ({"Host": "192.168.1.7"}, False),
        ({"Host": ""}, False),
        ({"Origin": "http://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "http://127.0.0.1:1"}, False),
        ({"Origin": "http://localhost:77", "Host": "localhost:77"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
    ],
    ids=str,
)
def test_other_host_names_origins_and_sites_are_refused_on_every_route(
    echo, path, headers, allowed
):
    status, _, body = echo.call("GET", path, None, headers)
    if allowed:
        assert status in (200, 404)
    else:
        assert status == 403
        assert body.endswith(b"\n")


@pytest.mark.parametrize(
    "given",
    [
        ["Origin: http://127.0.0.1", "Origin: http://evil.example"],
        ["Sec-Fetch-Site: none", "Sec-Fetch-Site: cross-site"],
        ["Host: evil.example"],
    ],
    ids=str,
)
def test_of_headers_that_come_twice_each_is_judged(faas, given):
    lines = ["GET /healthz HTTP/1.1", "Host: 127.0.0.1", *given, "Connection: close", "", ""]
    with socket.create_connection(("127.0.0.1", int(faas.url.rpartition(":")[2]))) as peer:
        peer.sendall("\r\n".join(lines).encode())
        assert peer.makefile("rb").readline().split()[1] in (b"400", b"403")


def test_a_refused_host_name_is_told_the_way_to_allow_it(echo):
    _, headers, body = echo.call("GET", "/healthz", None, {"Host": "laptop.lan"})
    assert headers["Content-Type"].startswith("text/plain")
    assert b"--allow-host" in body
    assert b"'laptop.lan'" in body


@pytest.mark.parametrize("path", ["/system/functions", "/v2/", "/ui/"])
@pytest.mark.parametrize(
    "given",
    [
        "", "Basic", "Basic !!", "Bearer {password}", "Basic {user}", "Digest {right}",
        "Basic {wrong}", "Basic {right}x",
    ],
)  # fmt: skip
def test_only_basic_credentials_that_are_right_open_it(faas, path, given):
    def encoded(text):
        return base64.b64encode(text.encode()).decode()

    header = given.format(
        password=faas.password,
        user=encoded(faas.user),
        right=encoded(f"{faas.user}:{faas.password}"),
        wrong=encoded(f"{faas.user}:{faas.password}x"),
    )
    connection = http.client.HTTPConnection(faas.url.removeprefix("http://"), timeout=20)
    connection.request("GET", path, headers={"Authorization": header} if header else {})
    answer = connection.getresponse()
    assert answer.status == 401
    assert answer.getheader("Www-Authenticate") == 'Basic realm="Restricted"'
    answer.read()
    connection.close()


def test_the_state_is_private(faas):
    for folder, _, files in os.walk(faas.state):
        if "layers" in folder or "images" in folder:
            continue
        for name in files:
            mode = Path(folder, name).stat().st_mode
            if (
                name not in ("state.sqlite", "state.sqlite-wal", "state.sqlite-shm")
                and "blobs" not in folder
            ):
                assert stat.S_IMODE(mode) == 0o600, (folder, name)
    assert stat.S_IMODE(faas.state.stat().st_mode) == 0o700


def test_the_root_leads_to_a_page_behind_the_password(echo):
    assert echo.call("GET", "/")[1]["Location"] == "/ui/"
    status, headers, body = echo.call("GET", "/ui/")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert b"gateway" in body


# The path of a call


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        ("/function/f", Target("f", "/")),
        ("/function/f/", Target("f", "/")),
        ("/function/f?a=%2F&b", Target("f", "/?a=%2F&b")),
        ("/function/f/a%2Fb%20c", Target("f", "/a/b%20c")),
        ("/function/f/caf%C3%A9", Target("f", "/caf%C3%A9")),
        ("/function/f.ns/x", Target("f.ns", "/x")),
        ("/function/", None),
        ("/function/a b", None),
        ("/function/%2e/x", Moved("/function/x")),
        ("/function/f//a?q=1", Moved("/function/f/a?q=1")),
        ("/function/f/./", Moved("/function/f/")),
        ("/function/f/%2e%2e/%2e%2e/etc", Moved("/etc")),
        ("/function/f/%zz", Malformed()),
        ("/function/f/%", Malformed()),
    ],
)
def test_the_path_of_a_call_is_read_as_go_does(raw, wanted):
    if isinstance(wanted, Exception):
        with pytest.raises(type(wanted)) as caught:
            read_target(raw)
        assert caught.value.args == wanted.args
    else:
        assert read_target(raw) == wanted


@given(st.text())
def test_any_path_is_read_refused_or_cleaned_once(text):
    try:
        found = read_target("/function/" + text)
    except Malformed:
        return
    except Moved as moved:
        try:
            # What it leads to is clean: no client is sent in circles.
            read_target(moved.location) if moved.location.startswith("/function/") else None
        except Moved:
            raise AssertionError(moved.location) from None
        return
    if found is not None:
        assert found.path.startswith("/")
        assert "\n" not in found.name


# Deployments


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text() | st.floats(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    ),
    st.sampled_from(["service", "image", "envVars", "labels", "secrets", "limits", "annotations"]),
)
def test_any_json_is_a_deployment_or_is_refused(value, field):
    for body in (value, {"service": "f", "image": "x", field: value}):
        try:
            found = read_deployment(json.dumps(body).encode())
        except Refused as error:
            found = error
        assert isinstance(found, Deployment) or (found.status, bool(found.text)) == (400, True)


@given(st.binary())
def test_any_body_is_a_deployment_or_is_refused(body):
    with pytest.raises(Refused):
        read_deployment(body)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"service": "a" * 64}, "greater than maximum length (63"),
        ({"service": ""}, "identifier must not be empty"),
        ({"service": "a--b"}, "must match ^[A-Za-z0-9]+"),
        ({"image": ""}, "invalid reference format"),
        ({"image": "UPPER/x"}, "invalid reference format"),
        ({"image": "docker.io/library/x:1"}, "its own registry only"),
        ({"image": "nothing/here:1"}, "not found"),
        ({"image": "process"}, "envProcess, which is empty"),
        ({"labels": {"a": "x" * 4096}}, "maximum size (4096 bytes)"),
        ({"annotations": {"a": "x" * 4071}}, "maximum size (4096 bytes)"),
        ({"annotations": {"a": "x" * 4070}}, None),
        ({"envVars": {"A": 5}}, "cannot unmarshal number into Go struct field"),
        ({"envVars": {"": "x"}}, "cannot be the name of an environment variable"),
        ({"secrets": ["nobody-has-it"]}, "unable to find secret: nobody-has-it"),
        ({"namespace": "other"}, "namespace not valid"),
        ({"limits": {"memory": 5}}, "cannot unmarshal number"),
    ],
    ids=str,
)
def test_a_deployment_is_refused_with_openfaas_words_and_leaves_nothing(echo, fields, text):
    body = {"service": "refused", "image": echo.image, **fields}
    status, _, answer = echo.call("POST", "/system/functions", json.dumps(body).encode())
    if text is None:
        assert status == 200
        echo.call("DELETE", "/system/functions", b'{"functionName": "refused"}')
        return
    assert status == 400
    assert text in answer.decode()
    assert echo.call("GET", "/system/function/refused")[0] == 404


def test_an_update_that_fails_leaves_what_ran(echo, fresh):
    pid = echo.call("GET", f"/function/{fresh}/pid")[2]
    broken = echo.push_image("t/broken:1", command=["python3", "-c", "raise SystemExit('no luck')"])
    for image, fields, wanted in (
        (broken, {}, "no luck"),
        ("nothing/here:1", {}, "not found"),
        (echo.image, {"secrets": ["none"]}, "unable to find secret"),
    ):
        body = {"service": fresh, "image": image, **fields}
        status, _, text = echo.call("PUT", "/system/functions", json.dumps(body).encode())
        assert status in (400, 500)
        assert wanted in text.decode()
        assert echo.call("GET", f"/function/{fresh}/pid")[2] == pid
    assert "no luck" in lines_of(echo, fresh)


def test_an_update_loses_no_call_in_flight_and_stops_the_old_process(faas, echo, fresh):
    pid = int(echo.call("GET", f"/function/{fresh}/pid")[2])
    answers = []

    def slow():
        with Registry(faas.url, faas.user, faas.password) as other:
            answers.append(other.call("GET", f"/function/{fresh}/stream?n=4&ms=150"))

    calls = [threading.Thread(target=slow) for _ in range(4)]
    for call in calls:
        call.start()
    until(lambda: invocations(echo, fresh) == 5)  # the first asked for the pid
    echo.deploy(fresh, echo.image, "PUT", envVars={"NEW": "1"})
    assert json.loads(echo.call("GET", f"/function/{fresh}/env")[2])["NEW"] == "1"
    for call in calls:
        call.join()
    assert [(status, len(body)) for status, _, body in answers] == [(200, 64)] * 4
    until(lambda: not Path(f"/proc/{pid}").exists())


def test_callers_all_at_once_lose_no_call(faas, echo, fresh):
    def call(number):
        with Registry(faas.url, faas.user, faas.password) as own:
            for each in range(5):
                body = b"%d-%d" % (number, each)
                found.append(own.call("POST", f"/function/{fresh}", body)[2] == body)

    found: list[bool] = []
    threads = [threading.Thread(target=call, args=(number,)) for number in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 320
    assert invocations(echo, fresh) == 320


# Functions that die


def test_a_function_that_exits_is_a_500_and_the_next_call_works(echo, fresh):
    for _ in range(5):
        status, headers, body = echo.call("POST", f"/function/{fresh}/exit", b"x")
        assert status == 500
        assert headers["X-Openfaas-Internal"] == "proxy"
        assert body == f"Can't reach service for: {fresh}.\n".encode()
        assert echo.call("POST", f"/function/{fresh}", b"again")[2] == b"again"


@pytest.mark.parametrize("query", ["send=100", "send=100&known=500"])
def test_half_a_small_answer_is_a_500(echo, fresh, query):
    status, headers, _ = echo.call("GET", f"/function/{fresh}/half?{query}")
    assert (status, headers["X-Openfaas-Internal"]) == (500, "proxy")
    assert echo.call("POST", f"/function/{fresh}", b"again")[2] == b"again"


@pytest.mark.parametrize("query", ["send=300000", "send=300000&known=900000"])
@pytest.mark.parametrize("accept", ["*/*", "text/event-stream"])
def test_half_a_large_answer_does_not_look_whole(faas, echo, fresh, query, accept):
    with (
        Registry(faas.url, faas.user, faas.password) as own,
        pytest.raises(http.client.IncompleteRead),
    ):
        own.call("GET", f"/function/{fresh}/half?{query}", None, {"Accept": accept})
    assert echo.call("POST", f"/function/{fresh}", b"again")[2] == b"again"


def test_a_function_that_prints_without_end_neither_blocks_nor_fills_memory(echo, fresh):
    # 100 MB in lines of 100 bytes.
    status, _, body = echo.call("POST", f"/function/{fresh}/flood?lines=1000000", b"")
    assert (status, body) == (200, b"flooded")
    assert echo.call("POST", f"/function/{fresh}", b"next")[2] == b"next"
    lines = lines_of(echo, fresh)
    assert 1000 < len(lines) <= 10_000
    assert set(lines) == {"y" * 99}


def test_a_function_that_never_listens_is_deployed_and_cannot_be_reached(echo):
    image = echo.push_image("t/dead:1", command=["python3", "-c", "print('gone at once')"])
    echo.deploy("dead", image)
    status, headers, body = echo.call("POST", "/function/dead", b"")
    assert (status, headers["X-Openfaas-Internal"]) == (500, "proxy")
    assert body == b"Can't reach service for: dead.\n"
    assert "gone at once" in lines_of(echo, "dead")
    assert "availableReplicas" not in json.loads(echo.call("GET", "/system/function/dead")[2])
    assert echo.call("DELETE", "/system/functions", b'{"functionName": "dead"}')[0] == 200


def test_an_update_that_dies_at_its_start_is_answered_with_its_last_lines(echo, fresh):
    program = "for number in range(50): print(f'line {number}')"
    image = echo.push_image("t/dying:1", command=["python3", "-c", program])
    body = json.dumps({"service": fresh, "image": image}).encode()
    status, _, text = echo.call("PUT", "/system/functions", body)
    told, *lines = text.decode().splitlines()
    assert status == 500
    assert told.startswith(f"unable to start task: {fresh}: it ended before it listened on ")
    assert told.endswith("; what ran before goes on; its log ends with")
    assert lines == [f"line {number}" for number in range(20, 50)]
    assert echo.call("POST", f"/function/{fresh}", b"next")[2] == b"next"


def test_a_function_that_dies_at_each_start_is_not_started_at_each_call(echo):
    image = echo.push_image("t/dies:1", command=["python3", "-c", "print('a start')"])
    echo.deploy("dies", image)
    for _ in range(20):
        assert echo.call("POST", "/function/dies", b"")[0] == 500
    assert 3 <= lines_of(echo, "dies").count("a start") <= 6
    echo.deploy("dies", echo.image, "PUT")
    assert echo.call("POST", "/function/dies", b"at once")[2] == b"at once"
    echo.call("DELETE", "/system/functions", b'{"functionName": "dies"}')


def test_a_function_that_died_at_its_starts_comes_back_by_itself(echo, tmp_path):
    flag = tmp_path / "flag"
    late = f"import os\nif not os.path.exists({str(flag)!r}): raise SystemExit('too early')\n"
    image = echo.push_image(
        "t/late:1", files={"late.py": late + ECHO}, command=["python3", "/late.py"]
    )
    echo.deploy("late", image)
    for _ in range(4):
        assert echo.call("POST", "/function/late", b"")[0] == 500
    flag.touch()
    until(lambda: echo.call("POST", "/function/late", b"now")[2] == b"now")
    echo.call("DELETE", "/system/functions", b'{"functionName": "late"}')


class NeverListens:
    """A provider whose functions say a word and listen to nothing."""

    name, host, port, alive = "1", "127.0.0.1", 1, True
    listens_on = "the port in PORT"

    async def start(self, deployment, log):
        log.feed("1").data_received(b"still importing\n")
        return self

    async def stop(self, instance, grace):
        self.stopped = True

    async def listening(self, timeout):
        return False

    ended = listening


def test_a_function_that_does_not_listen_in_time_is_stopped_and_its_last_lines_told():
    provider = NeverListens()
    function = Function(Deployment("f", "x"), provider, Log())
    with pytest.raises(CannotStart, match=r"does not listen .* after 1 s: still importing"):
        asyncio.run(function.revive(1.0))
    assert provider.stopped


class Listens(NeverListens):
    """A provider whose functions come up at once."""

    async def listening(self, timeout):
        return True


def test_an_instance_that_is_replaced_is_drained_for_as_long_as_a_call_may_take(monkeypatch):
    monkeypatch.setattr(deployments, "DRAIN_SECONDS", 0.05)
    provider = Listens()

    async def retire(at_most):
        env_vars = {"write_timeout": "300ms"}
        function = Function(Deployment("f", "x", env_vars=env_vars), provider, Log())
        running = await function.revive(1.0)
        with running:
            begun = time.monotonic()
            await function.retire(running, at_most=at_most)
            return time.monotonic() - begun

    assert asyncio.run(retire(None)) >= 0.29
    assert asyncio.run(retire(0.05)) < 0.29


@given(st.integers(0, 99), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_a_duration_is_read_as_go_writes_it(hours, minutes, seconds, thousandths):
    text = f"{hours}h{minutes}m{seconds}s{thousandths}ms"
    whole = hours * 3600 + minutes * 60 + seconds + thousandths / 1000
    assert read_duration(text) == pytest.approx(whole)


@given(st.text(alphabet="0123456789.hms -", max_size=12) | st.text(max_size=12))
def test_any_other_text_is_no_duration_or_a_finite_one(text):
    found = read_duration(text)
    assert found is None or 0 <= found <= 7 * 86_400


# One instance, whatever is asked for


def running(faas, name):
    return [pid for pid, function in processes_of(faas.state).items() if function == name]


def ask(faas, method, path, **fields):
    """Send one request on a connection of its own; the status."""
    with Registry(faas.url, faas.user, faas.password) as own:
        return own.call(method, path, json.dumps(fields).encode())[0]


def scale(faas, name, replicas=1):
    path = f"/system/scale-function/{name}"
    return ask(faas, "POST", path, serviceName=name, replicas=replicas)


def delete(faas, name):
    return ask(faas, "DELETE", "/system/functions", functionName=name)


@pytest.fixture(scope="module")
def late_image(echo):
    """An image whose function listens after a while."""
    late = f"import time\ntime.sleep(0.7)\n{ECHO}"
    return echo.push_image("t/slow:1", files={"late.py": late}, command=["python3", "/late.py"])


@LINUX
@pytest.mark.parametrize("asked", [(1, 1, 1), (0, 1), (5, 0, 1)], ids=str)
def test_scaling_what_runs_starts_no_other_and_none_is_left_of_it(faas, echo, fresh, asked):
    before = running(faas, fresh)
    assert [scale(faas, fresh, each) for each in asked] == [200] * len(asked)
    assert running(faas, fresh) == before == [int(echo.call("GET", f"/function/{fresh}/pid")[2])]
    assert delete(faas, fresh) == 200
    assert running(faas, fresh) == []


@LINUX
@pytest.mark.parametrize("replicas", [0, 1])
def test_scaling_what_ended_starts_it_once_for_all_who_ask(faas, echo, fresh, replicas):
    (before,) = running(faas, fresh)
    assert echo.call("POST", f"/function/{fresh}/exit", b"x")[0] == 500
    with ThreadPoolExecutor(12) as pool:
        scales = [pool.submit(scale, faas, fresh, replicas) for _ in range(8)]
        calls = [pool.submit(ask, faas, "POST", f"/function/{fresh}") for _ in range(4)]
    assert {each.result() for each in (*scales, *calls)} == {200}
    (after,) = running(faas, fresh)
    assert after != before


@LINUX
def test_scaling_during_starts_and_updates_leaves_one_instance(faas, echo, fresh, late_image):
    update = {"service": fresh, "image": late_image}
    with ThreadPoolExecutor(9) as pool:
        updating = pool.submit(ask, faas, "PUT", "/system/functions", **update)
        until(lambda: len(running(faas, fresh)) == 2)
        scales = [pool.submit(scale, faas, fresh) for _ in range(8)]
    assert {each.result() for each in (updating, *scales)} == {200}
    until(lambda: len(running(faas, fresh)) == 1)

    echo.call("POST", f"/function/{fresh}/exit", b"x")
    with ThreadPoolExecutor(9) as pool:
        scales = [pool.submit(scale, faas, fresh) for _ in range(4)]
        until(lambda: running(faas, fresh))
        updating = pool.submit(ask, faas, "PUT", "/system/functions", **update)
        scales += [pool.submit(scale, faas, fresh) for _ in range(4)]
    assert {each.result() for each in (updating, *scales)} == {200}
    until(lambda: len(running(faas, fresh)) == 1)


@LINUX
def test_nothing_is_left_of_what_is_deleted_while_it_starts(faas, echo, fresh, late_image):
    echo.deploy(fresh, late_image, "PUT")
    echo.call("POST", f"/function/{fresh}/exit", b"x")
    with ThreadPoolExecutor(5) as pool:
        scales = [pool.submit(scale, faas, fresh) for _ in range(4)]
        until(lambda: running(faas, fresh))
        assert delete(faas, fresh) == 200
        assert running(faas, fresh) == []
    assert {each.result() for each in scales} == {200}
    assert running(faas, fresh) == []


@LINUX
def test_a_delete_waits_for_what_an_update_left_to_finish_its_calls(faas, echo, fresh):
    with ThreadPoolExecutor(1) as pool:
        calling = pool.submit(ask, faas, "GET", f"/function/{fresh}/stream?n=4&ms=300")
        until(lambda: invocations(echo, fresh) == 1)
        echo.deploy(fresh, echo.image, "PUT")
        assert len(running(faas, fresh)) == 2
        assert delete(faas, fresh) == 200
        assert running(faas, fresh) == []
        assert calling.result() == 200


@LINUX
def test_a_call_that_comes_in_while_its_function_is_deleted_does_not_start_it(faas, echo, fresh):
    connection = http.client.HTTPConnection(faas.url.removeprefix("http://"), timeout=20)
    connection.putrequest("POST", f"/function/{fresh}")
    connection.putheader("Content-Length", "4")
    connection.endheaders(b"ha")
    until(lambda: invocations(echo, fresh) == 1)
    assert delete(faas, fresh) == 200
    connection.send(b"lf")
    assert connection.getresponse().status == 500
    connection.close()
    assert running(faas, fresh) == []


@LINUX
def test_what_is_changed_while_a_gateway_takes_up_its_functions_runs_once(tmp_path):
    names = [f"f{number}" for number in range(7)]
    with away.gateway.run(state=tmp_path / "s", announce=False) as faas:
        with Registry(faas.url, faas.user, faas.password) as registry:
            late = f"import time\ntime.sleep(1)\n{ECHO}"
            command = ["python3", "/late.py"]
            image = registry.push_image("t/late:1", files={"late.py": late}, command=command)
            for name in names:
                registry.deploy(name, image)
    with away.gateway.run(state=tmp_path / "s", announce=False) as faas:
        faas.state = tmp_path / "s"
        # Without a host: the gateway has another port now.
        update = {"service": "f5", "image": "t/late:1"}
        # They are started by their names, a few at a time: the last ones wait for their turn.
        with ThreadPoolExecutor(3) as pool:
            deleting = pool.submit(delete, faas, "f6")
            updating = pool.submit(ask, faas, "PUT", "/system/functions", **update)
            scaling = pool.submit(scale, faas, "f4")
        assert [each.result() for each in (deleting, updating, scaling)] == [200] * 3
        for name in names[:-1]:
            assert ask(faas, "POST", f"/function/{name}") == 200
        # What is taken up last is up by now, and an instance more would be too.
        time.sleep(1)
        assert sorted(processes_of(faas.state).values()) == names[:-1]


# Where functions find the gateway

URL, OLD, INSIDE = "http://127.0.0.1:81", "http://127.0.0.1:80", "http://172.17.0.1:81"


@pytest.mark.parametrize(
    ("value", "after_a_move", "in_a_container"),
    [
        (OLD, URL, OLD),
        ("http://localhost:80/", URL, "http://localhost:80/"),
        ("http://172.17.0.1:80", URL, "http://172.17.0.1:80"),
        (URL, URL, INSIDE),
        ("http://[::1]:81", "http://[::1]:81", INSIDE),
        ("https://127.0.0.1:80", "https://127.0.0.1:80", "https://127.0.0.1:80"),
        ("http://127.0.0.1:80/path", "http://127.0.0.1:80/path", "http://127.0.0.1:80/path"),
        ("http://gw.example:80", "http://gw.example:80", "http://gw.example:80"),
        ("http://127.0.0.1:x", "http://127.0.0.1:x", "http://127.0.0.1:x"),
        ("", "", ""),
    ],
)
def test_what_names_the_gateway_follows_it(value, after_a_move, in_a_container):
    followers = dict.fromkeys(("AWAY_INSIDE_URL", "AWAY_GATEWAY_SHOP_URL"), value)
    others = dict.fromkeys(("AWAY_OUTSIDE_URL", "AWAY_GATEWAY_SHOP_USER", "OTHER"), value)
    kept = Deployment("f", "x", env_vars={**followers, **others}, gateway_url=OLD)
    after = moved(kept, URL, "172.17.0.1")
    assert after.env_vars == {**dict.fromkeys(followers, after_a_move), **others}
    assert after.gateway_url == URL
    assert moved(after, URL) is after
    contained = inside({**followers, **others}, URL, INSIDE)
    assert contained == {**dict.fromkeys(followers, in_a_container), **others}


# What functions get


def test_a_function_has_its_own_environment_only(echo, monkeypatch):
    echo.deploy("own", echo.image, envVars={"ONE": "a=b", "PORT": "1"})
    found = json.loads(echo.call("GET", "/function/own/env")[2])
    assert found["ONE"] == "a=b"
    assert found["PORT"] != "1"
    wanted = {"ONE", "PORT", "PATH", "HOME", "TMPDIR", "AWAY_SECRETS_DIR", "AWAY_INSTANCE"}
    assert set(found) - {"LC_CTYPE"} == wanted
    assert Path(found["HOME"]).is_dir()
    assert Path(found["HOME"]) != Path.home()
    item = json.loads(echo.call("GET", "/system/function/own")[2])
    assert item["envVars"] == {"ONE": "a=b", "PORT": "1"}
    echo.call("DELETE", "/system/functions", b'{"functionName": "own"}')
    assert not Path(found["HOME"]).exists()


def test_a_secret_reaches_its_functions_alone_and_changes_at_once(echo, fresh):
    raw = base64.b64encode(b"binary \xff".replace(b"\xff", b"!")).decode()
    for body in ({"name": "one", "value": "v1"}, {"name": "two", "rawValue": raw}):
        assert echo.call("POST", "/system/secrets", json.dumps(body).encode())[0] == 200
    echo.deploy(fresh, echo.image, "PUT", secrets=["one"])
    assert echo.call("GET", f"/function/{fresh}/secret?name=one")[2] == b"v1"
    folder = Path(json.loads(echo.call("GET", f"/function/{fresh}/env")[2])["AWAY_SECRETS_DIR"])
    assert [each.name for each in folder.iterdir()] == ["one"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "one").stat().st_mode) == 0o600

    echo.call("PUT", "/system/secrets", b'{"name": "one", "value": "v2"}')
    assert echo.call("GET", f"/function/{fresh}/secret?name=one")[2] == b"v2"
    echo.call("DELETE", "/system/secrets", b'{"name": "one"}')
    assert echo.call("GET", f"/function/{fresh}/secret?name=one")[2] == b"v2"
    assert b"v2" not in echo.call("GET", "/system/secrets")[2]


def test_a_command_is_a_function_by_the_image_process(echo):
    echo.deploy("upper", "process", envProcess="tr a-z A-Z")
    assert echo.call("POST", "/function/upper", b"hello")[2] == b"HELLO"
    assert echo.call("POST", "/function/upper", b"")[2] == b""
    echo.deploy("said", "process:latest", envProcess="env", envVars={"OWN": "1"})
    _, headers, body = echo.call("PUT", "/function/said/a/b?q=1", b"x", {"X-Some": "thing"})
    found = dict(line.split("=", 1) for line in body.decode().splitlines())
    assert found["Http_Method"] == "PUT"
    assert (found["Http_Path"], found["Http_Query"]) == ("/a/b", "q=1")
    assert (found["Http_X_Some"], found["OWN"]) == ("thing", "1")
    assert "X-Duration-Seconds" in headers
    echo.deploy("fails", "process", envProcess="sh -c 'echo out; echo err >&2; exit 3'")
    status, headers, body = echo.call("POST", "/function/fails", b"")
    assert (status, body) == (500, b"exit status 3\nout\n")
    assert "X-Openfaas-Internal" not in headers
    until(lambda: "err" in lines_of(echo, "fails"))
    item = json.loads(echo.call("GET", "/system/function/fails")[2])
    assert (item["image"], item["envProcess"][:2]) == ("process:latest", "sh")
    for name in ("upper", "said", "fails"):
        body = json.dumps({"functionName": name}).encode()
        assert echo.call("DELETE", "/system/functions", body)[0] == 200


FROM_PAGES = {
    "another site": ["Sec-Fetch-Site: cross-site"],
    "another origin": ["Origin: http://evil.example"],
    "no origin to tell": ["Origin: null"],
    "another host": ["Host: evil.example"],
    "two hosts": ["Host: 127.0.0.1", "Host: evil.example"],
    "two sites": ["Sec-Fetch-Site: none", "Sec-Fetch-Site: cross-site"],
}


@pytest.mark.parametrize("method", ["POST", "GET", "OPTIONS"])
@pytest.mark.parametrize("said", FROM_PAGES.values(), ids=FROM_PAGES)
def test_a_web_page_cannot_run_a_command_by_its_port(commands, said, method):
    port, count = commands
    runs = count()
    if not said[0].startswith("Host"):
        said = ["Host: 127.0.0.1", *said]
    lines = [f"{method} / HTTP/1.1", *said, "Content-Length: 0", "Connection: close", "", ""]
    with socket.create_connection(("127.0.0.1", port)) as peer:
        peer.sendall("\r\n".join(lines).encode())
        assert peer.makefile("rb").readline().split()[1] == b"403"
    assert count() == runs + 1


@pytest.fixture(scope="module")
def commands(echo, tmp_path_factory):
    """A function that counts its runs; its own port, and what runs it once and returns the count."""
    runs = tmp_path_factory.mktemp("runs") / "runs"
    echo.deploy("counts", "process", envProcess=f"sh -c 'echo x >> {runs}; echo $PORT'")
    port = int(echo.call("POST", "/function/counts", b"")[2])

    def count():
        page = {"Origin": f"http://{echo.host}", "Sec-Fetch-Site": "same-origin"}
        assert echo.call("POST", "/function/counts", b"", page)[0] == 200
        return runs.read_text().count("x")

    yield port, count
    echo.call("DELETE", "/system/functions", b'{"functionName": "counts"}')


# Logs


def test_logs_are_the_last_lines_from_a_time_on(echo, fresh):
    for number in range(5):
        echo.call("POST", f"/function/{fresh}/print", b"<%d>" % number)
    until(lambda: "printed <4>" in lines_of(echo, fresh))
    assert lines_of(echo, fresh)[0] == "echo listens"
    assert lines_of(echo, fresh, tail=2) == ["printed <3>", "printed <4>"]
    assert lines_of(echo, fresh, tail=0) == []
    later = (datetime.now(UTC) + timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert lines_of(echo, fresh, since=later) == []
    raw = echo.call("GET", f"/system/logs?name={fresh}&tail=1")[2]
    assert b"printed \\u003c4\\u003e" in raw
    assert json.loads(raw)["instance"] == echo.call("GET", f"/function/{fresh}/pid")[2].decode()


def test_logs_can_be_followed(faas, echo, fresh):
    connection = http.client.HTTPConnection(faas.url.removeprefix("http://"), timeout=20)
    connection.request("GET", f"/system/logs?name={fresh}&follow=true", headers=echo.headers)
    answer = connection.getresponse()
    assert json.loads(answer.readline())["text"] == "echo listens"
    for word in (b"one", b"two"):
        echo.call("POST", f"/function/{fresh}/print", word)
        assert json.loads(answer.readline())["text"] == f"printed {word.decode()}"
    body = json.dumps({"functionName": fresh}).encode()
    assert echo.call("DELETE", "/system/functions", body)[0] == 200
    assert answer.read() == b""
    connection.close()


# Bodies


def test_large_bodies_pass_both_ways_in_pieces(echo):
    body = os.urandom(1 << 20) * 12
    for headers in ({}, {"Accept": "text/event-stream"}):
        status, _, answer = echo.call("POST", "/function/echo", body, headers)
        assert (status, answer == body) == (200, True)


def test_a_body_that_breaks_off_does_not_reach_a_function_as_a_whole_one(faas, echo, fresh):
    host, port = faas.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 20) as client:
        client.sendall(
            f"POST /function/{fresh} HTTP/1.1\r\nHost: x.localhost\r\n".encode().replace(
                b"x.localhost", b"localhost"
            )
            + b"Content-Length: 1000000\r\n\r\n"
            + b"x" * 100_000
        )
        until(lambda: invocations(echo, fresh) == 1)
    assert echo.call("POST", f"/function/{fresh}", b"next")[2] == b"next"


# Starting


def test_a_gateway_that_cannot_start_says_why(tmp_path, faas):
    port = int(faas.url.rpartition(":")[2])
    with pytest.raises(ConfigError, match=r"cannot listen on port .* name another with --port"):
        with away.gateway.run(port=port):
            pass
    with pytest.raises(ConfigError, match=r"runs already at http://127\.0\.0\.1"):
        with away.gateway.run(state=faas.state):
            pass
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="name another folder with --state"):
        with away.gateway.run(state=tmp_path / "file"):
            pass
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(ConfigError, match=r"password file .* is empty"):
        away.gateway.serve(password_file=tmp_path / "empty")


def test_functions_images_secrets_and_the_password_survive_a_restart(tmp_path):
    with away.gateway.run(state=tmp_path / "s", announce=False) as faas:
        password = faas.password
        with Registry(faas.url, faas.user, password) as registry:
            registry.call("POST", "/system/secrets", b'{"name": "s", "value": "kept"}')
            image = push_echo(registry)
            registry.deploy("stays", image, secrets=["s"], annotations={"a": "b"})
            before = json.loads(registry.call("GET", "/system/function/stays")[2])
            # The deployment is pinned: what the tag means later is not its concern.
            registry.push_image("ctr/echo:1", command=["python3", "-c", "0"])
    with away.gateway.run(state=tmp_path / "s", announce=False) as faas:
        assert faas.password == password
        with Registry(faas.url, faas.user, faas.password) as registry:
            assert registry.call("GET", "/function/stays/secret?name=s")[2] == b"kept"
            after = json.loads(registry.call("GET", "/system/function/stays")[2])
    assert after == before


@pytest.mark.slow
def test_functions_that_call_each_other_find_a_gateway_that_came_back_on_another_port(tmp_path):
    with away.gateway.run(state=tmp_path / "s", announce=False) as faas:
        url, port = faas.url, int(faas.url.rpartition(":")[2])

        @builder.publish(faas)
        def one_more(n):
            return n + 1

        @builder.publish(faas)
        def twice(n):
            return one_more(n) * 2

        assert twice(1) == 4
        variables = {
            "AWAY_INSIDE_URL": url,
            "AWAY_OUTSIDE_URL": url,
            "AWAY_GATEWAY_SHOP_URL": f"http://localhost:{port}/",
            "AWAY_GATEWAY_OTHER_URL": "http://127.0.0.1:1",
            "AWAY_GATEWAY_FAR_URL": f"http://far.example:{port}",
            "OWN": url,
        }
        with Registry(url, faas.user, faas.password) as registry:
            registry.deploy("echo", push_echo(registry), envVars=variables)
    # A second restart too, which is only that if the first port is not taken again.
    with socket.create_server(("127.0.0.1", port)):
        for _ in range(2):
            with away.gateway.run(state=tmp_path / "s", announce=False) as faas:
                assert faas.url != url
                assert builder.sync_from_name("twice", faas)(1) == 4
                with Registry(faas.url, faas.user, faas.password) as registry:
                    found = json.loads(registry.call("GET", "/function/echo/env")[2])
                here = dict.fromkeys(("AWAY_INSIDE_URL", "AWAY_GATEWAY_SHOP_URL"), faas.url)
                assert {name: found[name] for name in variables} == variables | here


def test_a_given_password_is_taken(tmp_path):
    with away.gateway.run(password="correct horse", announce=False) as faas:
        with Registry(faas.url, "admin", "correct horse") as registry:
            assert registry.call("GET", "/system/info")[0] == 200


def test_a_password_file_that_others_can_read_is_refused(tmp_path):
    path = tmp_path / "password"
    path.write_text("correct horse")
    path.chmod(0o644)
    with pytest.raises(ConfigError, match=r"is open to other users; .* chmod 600"):
        away.gateway.serve(password_file=path, state=tmp_path / "state", port=0, announce=False)


def test_every_folder_that_is_made_is_private_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        with away.gateway.run(state=tmp_path / "a" / "b" / "state", announce=False) as faas:
            faas.create_secret("token", "x")
            faas.deploy(
                {"service": "f", "image": "process", "envProcess": "cat", "secrets": ["token"]}
            )
            folders = [Path(each) for each, _, _ in os.walk(tmp_path / "a")]
            assert tmp_path / "a" / "b" / "state" / "functions" / "f" / "secrets" in folders
            for folder in folders:
                assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder
    finally:
        os.umask(before)


def test_a_flood_of_lines_leaves_the_event_loop_to_others():
    async def main():
        log = Log()
        flood = subprocess.Popen(["yes", ""], stdout=subprocess.PIPE)
        loop = asyncio.get_running_loop()
        feed = log.feed("1")
        try:
            transport, _ = await loop.connect_read_pipe(lambda: feed, flood.stdout)
            started, worked = time.perf_counter(), time.thread_time()
            await asyncio.sleep(0.7)
            share = (time.thread_time() - worked) / (time.perf_counter() - started)
        finally:
            flood.kill()
            flood.wait()
        await feed.ended
        transport.close()
        assert log.lines()
        return share

    assert asyncio.run(main()) < 0.5


def test_gateways_that_start_at_once_each_have_a_port(tmp_path):
    code = (
        "import sys, away.gateway\n"
        "away.gateway.serve(state=sys.argv[1], announce=False,"
        " ready=lambda up: print(up.announcement.url, flush=True))\n"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / str(number))], stdout=subprocess.PIPE
        )
        for number in range(3)
    ]
    try:
        urls = {process.stdout.readline() for process in started}
    finally:
        for process in started:
            process.terminate()
            process.wait(30)
            process.stdout.close()
    assert len(urls) == 3
    assert all(url.startswith(b"http://127.0.0.1:") for url in urls)
