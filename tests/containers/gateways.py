"""The embedded gateway with containers, for tests: real images for it, and a function with manners.

Images are built by the engine on the session's base image, so that nothing of Away's is in them but
what a test puts there.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import io
import json
import subprocess
import sys
import tarfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from away.gateway.announcement import read
from tests.containers.engine import docker
from tests.images import ECHO, Registry

# What a container's echo has beside the manners of the processes' one.
MANNERS = r"""
import base64, signal, stat, sys, urllib.error, urllib.request

def look(body, fields):
    status = dict(line.split(":\t", 1) for line in open("/proc/self/status").read().splitlines())
    return {"hostname": os.uname().nodename, "pid": os.getpid(), "uid": os.getuid(), "folder": os.getcwd(),
            "argv": sys.argv[1:], "bounding": status["CapBnd"], "no_new": status["NoNewPrivs"]}

def write(body, fields):
    try:
        with open(fields["path"], "wb") as file:
            file.write(body)
    except OSError as error:
        return error.strerror
    return "written"

def file(body, fields):
    with open(fields["path"], "rb") as found:
        return {"data": base64.b64encode(found.read()).decode(),
                "mode": stat.S_IMODE(os.stat(fields["path"]).st_mode)}

def eat(body, fields):
    return len(b"x" * (int(fields["mb"]) << 20))

def ask(body, fields):
    request = urllib.request.Request(body.decode(), headers=json.loads(fields.get("headers", "{}")))
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return [answer.status, answer.read().decode()]
    except urllib.error.HTTPError as error:
        return [error.code, error.read().decode()]

def both(body, fields):
    for piece in ("one ", "two ", "three\n"):
        for number in (1, 2):
            os.write(number, f"{number}:{piece}".encode())
    return "printed"

def run(body, fields):
    import subprocess
    os.chmod(fields["path"], 0o755)
    return subprocess.run([fields["path"]], capture_output=True, text=True).stdout

ROUTES = {"/" + each.__name__: each for each in (look, write, file, eat, ask, both, run)}

def answer(self, inner=Handler.answer):
    path, _, query = self.path.partition("?")
    if path not in ROUTES:
        return inner(self)
    fields = {k: v[0] for k, v in parse_qs(query).items()}
    self.send(200, json.dumps(ROUTES[path](self.body(), fields)).encode())

for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"):
    setattr(Handler, "do_" + method, answer)
# Process 1 has no signal's default action.
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
"""
CONTAINER_ECHO = ECHO.replace('print("echo listens"', MANNERS + '\nprint("echo listens"').replace(
    'Server(("127.0.0.1"', 'Server(("0.0.0.0"'
)
COMMAND = 'CMD ["python3", "-u", "/srv/echo.py"]'


def built(base: str, name: str, *lines: str, files: dict[str, str] | None = None) -> str:
    """Build an image on a base by lines of a Dockerfile, with files at its root; return its name."""
    wanted = "".join(f"COPY {path} /{path}\n" for path in files or {})
    dockerfile = f"FROM {base}\n{wanted}" + "\n".join(lines) + "\n"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, text in {"Dockerfile": dockerfile, **(files or {})}.items():
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(text.encode()), 0o644
            tar.addfile(member, io.BytesIO(text.encode()))
    docker("build", "--quiet", "--tag", name, "-", stdin=buffer.getvalue())
    return name


class Images:
    """Images of one test session in the engine, removed at its end."""

    def __init__(self, base: str) -> None:
        self.base = base
        self._prefix = f"away-test-{uuid.uuid4().hex[:8]}"
        self._names: list[str] = []

    def build(self, *lines: str, files: dict[str, str] | None = None) -> str:
        """Build an image under a name of its own, which only the engine knows."""
        name = f"{self._prefix}/image-{len(self._names)}:1"
        self._names.append(name)
        return built(self.base, name, *lines, files=files)

    def echo(self, *lines: str, command: str = COMMAND) -> str:
        """Build the function with manners."""
        return self.build(*lines, command, files={"srv/echo.py": CONTAINER_ECHO})

    def clear(self) -> None:
        """Remove them."""
        for name in self._names:
            subprocess.run(["docker", "rmi", "--force", name], capture_output=True, check=False)


@contextlib.contextmanager
def logged_in(folder: Path, host: str, user: str, password: str) -> Iterator[list[str]]:
    """Give the options of ``docker`` with which it knows a registry's password."""
    token = base64.b64encode(f"{user}:{password}".encode()).decode()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"auths": {host: {"auth": token}}}))
    yield ["--config", str(folder)]


class Gateway(Registry):
    """Speaks to a gateway's API and its registry."""

    def __init__(self, url: str, user: str, password: str) -> None:
        super().__init__(url, user, password)
        self.url, self.user, self.password = url, user, password

    def put(self, name: str, image: str, method: str = "POST", **fields: Any) -> tuple[int, str]:
        """Deploy; return what was answered."""
        body = json.dumps({"service": name, "image": image, **fields}).encode()
        status, _, text = self.call(method, "/system/functions", body)
        return status, text.decode()

    def remove(self, name: str) -> int:
        body = json.dumps({"functionName": name}).encode()
        return self.call("DELETE", "/system/functions", body)[0]

    def ask(self, path: str, body: bytes | str = b"") -> Any:
        """Call a function's manner and return the value that it answers."""
        data = body.encode() if isinstance(body, str) else body
        status, _, answer = self.call("POST", f"/function/{path}", data)
        assert status == 200, (status, answer)
        return json.loads(answer)

    def lines(self, name: str) -> list[str]:
        _, _, body = self.call("GET", f"/system/logs?name={name}")
        return [json.loads(line)["text"] for line in body.splitlines()]

    def push(self, image: str, name: str, folder: Path) -> str:
        """Push an image of the engine to the gateway's registry by Docker; return its name there."""
        there = f"{self.host}/{name}"
        docker("tag", image, there)
        try:
            with logged_in(folder, self.host, self.user, self.password) as options:
                docker(*options, "push", "--quiet", there)
        finally:
            docker("rmi", there)
        return there


# `away up` without its command line.
UP = (
    "import sys, away.gateway;"
    "away.gateway.serve(port=int(sys.argv[2]), state=sys.argv[1], provider='docker')"
)


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

    def gateway(self) -> Gateway:
        return Gateway(self.url, self.user, self.password)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)


def answers(url: str) -> bool:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=5)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def containers_of(function: str) -> list[str]:
    """List the engine's containers for a function, running or not."""
    listed = docker(
        "ps", "--all", "--quiet", "--no-trunc", "--filter", f"label=away.function={function}"
    )
    return listed.split()


def inspected(container: str) -> Any:
    return json.loads(docker("inspect", container))[0]


def until(holds, seconds: float = 20.0):
    """Wait until something holds, and return it."""
    end = time.monotonic() + seconds
    while not (value := holds()):
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)
    return value
