"""The gateway killed in the middle of everything: nothing stays behind, and all comes back."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from away.gateway.announcement import announced, read
from tests.images import Registry, push_echo

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc tells who is left")

# `away up` without its command line, whose room has tests of its own.
UP = "import sys, away.gateway; away.gateway.serve(port=int(sys.argv[2]), state=sys.argv[1])"


class Up:
    """A gateway in a process of its own, on a state that stays."""

    def __init__(self, state: Path, port: int = 0) -> None:
        self.state = state
        self.process = subprocess.Popen([sys.executable, "-c", UP, str(state), str(port)])
        end = time.monotonic() + 60
        while (found := read(state)) is None or not answers(found.url):
            assert time.monotonic() < end
            assert self.process.poll() is None
            time.sleep(0.02)
        self.url, self.user, self.password = found.url, found.user, found.password

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)

    def registry(self) -> Registry:
        return Registry(self.url, self.user, self.password)


def answers(url: str) -> bool:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=5)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def below(pid: int) -> set[int]:
    """List a process's living descendants."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state not in "ZX":
            children.setdefault(int(parent), []).append(int(path.parent.name))
    found, waiting = set(), [pid]
    while waiting:
        for child in children.get(waiting.pop(), []):
            found.add(child)
            waiting.append(child)
    return found


def alive(pids: set[int]) -> set[int]:
    left = set()
    for pid in pids:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue
        if not re.search(r"State:\s+[ZX]", status):
            left.add(pid)
    return left


def until(holds, seconds: float = 15.0) -> bool:
    """Wait until something holds; False when it does not by then."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def gone(pids: set[int]) -> bool:
    return until(lambda: not alive(pids))


def start_family(up: Up, registry: Registry) -> set[int]:
    """Let a function start two children, which fork; wait until all four made own sessions."""
    before = below(up.process.pid)
    assert registry.call("POST", "/function/one/family", b"")[0] == 200

    def leaders() -> set[int]:
        return {pid for pid in below(up.process.pid) - before if session(pid) == pid}

    assert until(lambda: len(leaders()) == 4)
    return leaders()


def start_escaping(up: Up, registry: Registry) -> set[int]:
    """Let a function start two that take nothing along: no session, environment or folder of its.

    One stays its child; the other one has lost its parent, as daemons do.
    """
    before = below(up.process.pid)
    assert registry.call("POST", "/function/one/escape", b"")[0] == 200

    def leaders() -> set[int]:
        return {pid for pid in below(up.process.pid) - before if session(pid) == pid}

    assert until(lambda: len(leaders()) == 2 and warden_of(up) in map(parent, leaders()))
    return leaders()


def warden_of(up: Up) -> int:
    return next(
        pid
        for pid in below(up.process.pid)
        if b"warden.py" in Path(f"/proc/{pid}/cmdline").read_bytes()
    )


def parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0


def homes(pid: int) -> Path:
    """Return a function's own folder for temporary files."""
    variables = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return Path(dict(each.partition("=")[::2] for each in variables if each)["HOME"])


@pytest.fixture
def up(tmp_path):
    gateway = Up(tmp_path / "state")
    with gateway.registry() as registry:
        image = push_echo(registry)
        for name in ("one", "two", "three"):
            registry.deploy(name, image)
    yield gateway
    if gateway.process.poll() is None:
        gateway.stop()


@pytest.mark.slow
def test_a_killed_gateway_leaves_no_process_and_all_functions_answer_after_the_restart(up):
    with up.registry() as registry:
        family = start_family(up, registry) | below(up.process.pid)
        folders = [
            Path(json.loads(registry.call("GET", f"/function/{name}/env")[2])["HOME"])
            for name in ("one", "two", "three")
        ]

    outcomes: list[str] = []
    stop = threading.Event()

    def load() -> None:
        connection = http.client.HTTPConnection(up.url.removeprefix("http://"), timeout=20)
        while not stop.is_set():
            try:
                connection.request("POST", "/function/two", b"x" * 2000)
                answer = connection.getresponse()
                assert answer.read() == b"x" * 2000
                outcomes.append("ok")
            except (OSError, http.client.HTTPException) as error:
                outcomes.append(type(error).__name__)
                break
        connection.close()

    threads = [threading.Thread(target=load) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert until(lambda: outcomes.count("ok") >= 50)
    family |= below(up.process.pid)
    up.kill()
    for thread in threads:
        thread.join(25)
        assert not thread.is_alive(), "a call hung when its gateway was killed"
    assert "ok" in outcomes

    assert gone(family), [Path(f"/proc/{pid}/cmdline").read_text() for pid in alive(family)]
    assert not [folder for folder in folders if folder.exists()]
    assert read(up.state) is None, "without its lock an announcement must not be believed"

    again = Up(up.state)
    try:
        assert again.password == up.password
        with again.registry() as registry:
            for name in ("one", "two", "three"):
                assert registry.call("POST", f"/function/{name}", b"back")[2] == b"back"
    finally:
        again.stop()


def test_an_orderly_end_leaves_no_process_either(up):
    with up.registry() as registry:
        family = start_family(up, registry) | below(up.process.pid)
    up.stop()
    assert up.process.returncode == 0
    assert gone(family)


@pytest.mark.parametrize("start", [start_family, start_escaping])
def test_a_removed_function_takes_all_that_it_started_along(up, start):
    with up.registry() as registry:
        started = start(up, registry)
        status, _, _ = registry.call("DELETE", "/system/functions", b'{"functionName": "one"}')
        assert status == 200
        assert gone(started)
        assert registry.call("POST", "/function/two", b"goes on")[2] == b"goes on"


def test_a_killed_warden_is_replaced_and_takes_its_functions_along(up):
    warden = warden_of(up)
    folders = {homes(pid) for pid in below(warden)}
    with up.registry() as registry:
        start_escaping(up, registry)
    functions = below(warden)
    assert len(functions) == 5
    os.kill(warden, signal.SIGKILL)
    assert gone(functions)
    assert until(lambda: not any(folder.exists() for folder in folders))
    # Buried as well.
    assert until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in functions))
    with up.registry() as registry:
        assert until(lambda: registry.call("POST", "/function/one", b"again")[2] == b"again")


def test_a_second_gateway_on_the_same_state_says_which_one_runs(up):
    done = subprocess.run(
        [sys.executable, "-c", UP, str(up.state), "0"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode != 0
    assert f"runs already at {up.url} (process {up.process.pid})" in done.stderr


def test_the_gateway_of_a_block_ends_with_the_process_that_runs_it(tmp_path):
    code = (
        "import away.gateway, sys, time\n"
        "with away.gateway.run() as faas:\n"
        "    print(faas.url, flush=True)\n"
        "    time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline().startswith(b"http://127.0.0.1:")
        family = below(process.pid)
        assert family
        state = Path(announced().state)
        assert state.exists()
        process.kill()
    assert gone(family)
    assert announced() is None
    assert not state.exists()


def test_no_password_stands_in_any_command_line_or_environment(up):
    for pid in below(os.getpid()):
        try:
            seen = (
                Path(f"/proc/{pid}/cmdline").read_bytes()
                + Path(f"/proc/{pid}/environ").read_bytes()
            )
        except OSError:
            continue
        assert up.password.encode() not in seen
