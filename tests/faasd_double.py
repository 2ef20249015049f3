"""A gateway with faasd behind it, as far as publishing sees it: on real sockets, with real processes.

It pulls images from a registry by HTTP and runs Away's runtime out of their layers. Where faasd is rough
it is as rough, as measured on a real one: an update stops the old function before the new one runs, one
with an image that cannot be pulled or a secret that is missing destroys what ran and leaves a dead record,
a function that does not listen is a 500, one that has ended is started again by each call, which is held
back where it ends once more, and logs may be empty. It shares no code with the client.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.archives import unpack_all
from tests.servers import Behaviour, Seen, Server, answer, hang

PASSWORD = "sesame-of-the-double"
NAMESPACE = "openfaas-fn"
INTERNAL = {"X-Openfaas-Internal": "proxy", "Content-Type": "text/plain"}


@dataclass
class Record:
    """One deployed function; without a process it is dead, and listed all the same.

    What ``runs`` is another request than the one listed where a call came between an update.
    """

    request: dict
    created: str
    runs: dict = field(default_factory=dict)
    process: subprocess.Popen | None = None
    port: int = 0
    lines: list[str] = field(default_factory=list)


@dataclass
class Faasd:
    """The gateway.

    Attributes:
        folder: Where images are unpacked and secrets lie.
        info: What it says of its provider at ``/system/info``.
        headers: What stands on every answer.
        namespaces: Those that it has.
        pull_error: What it says of every image in place of pulling it.
        keeps_logs: Whether it gives out logs.
        hook: May answer a request in its place.
        accepted: The status of a deployment that it takes.
        starts: Whether a deployed function is started at all.
        start_error: What it says of every container in place of starting it, once it is made.
        overtaken: For each of the next updates, which container a call starts in its midst: ``old`` or
            ``new``; the update itself then fails.
    """

    folder: Path
    info: dict = field(default_factory=lambda: {"provider": "faasd", "orchestration": "containerd"})
    arch: str = ""
    headers: dict = field(default_factory=dict)
    namespaces: list = field(default_factory=lambda: [NAMESPACE])
    pull_error: str = ""
    keeps_logs: bool = True
    hook: Callable[[Seen], Behaviour | None] = lambda _: None
    accepted: int = 200
    starts: bool = True
    start_error: str = ""
    overtaken: list = field(default_factory=list)

    def __post_init__(self) -> None:
        self.records: dict[str, Record] = {}
        self.secrets: dict[str, bytes] = {}
        self.changes: list[tuple[str, str]] = []
        # guards all of the above
        self.lock = threading.RLock()
        self.server = Server(self.script)
        self.url = self.server.url

    def close(self) -> None:
        for name in list(self.records):
            self.stop(name)

    # ------------------------------------------------------------ requests

    def script(self, seen: Seen) -> Behaviour:
        hooked = self.hook(seen)
        if hooked is not None:
            return hooked
        path = urlsplit(seen.path).path

        def behave(talk):
            # Not under the server's lock: a deployment takes its time, and others come meanwhile.
            return self.choose(seen, path)(talk)

        behave.is_behaviour = True
        return behave

    def choose(self, seen: Seen, path: str) -> Behaviour:
        if path.startswith("/function/"):
            return self.call(seen, path)
        if self.user_of(seen) != f"admin:{PASSWORD}":
            return self.say(401, "invalid credentials")
        if path == "/system/info":
            version = {"sha": "0", "release": "0.19.0"}
            body = {"provider": {**self.info, "version": version}, "arch": self.arch}
            return self.say(200, body)
        if path == "/system/namespaces":
            return self.say(200, self.namespaces)
        if path == "/system/functions":
            return self.functions(seen)
        if path.startswith("/system/function/"):
            query = parse_qs(urlsplit(seen.path).query)
            if query.get("namespace", [NAMESPACE])[0] not in self.namespaces:
                return self.say(400, "namespace not valid")
            record = self.records.get(path.rpartition("/")[2])
            return self.say(404, "") if record is None else self.say(200, self.described(record))
        if path == "/system/secrets":
            return self.secret(seen)
        if path == "/system/logs":
            return self.logs(seen)
        return self.say(404, "404 page not found")

    def user_of(self, seen: Seen) -> str:
        kind, _, token = seen.headers.get("authorization", "").partition(" ")
        return base64.b64decode(token).decode() if kind == "Basic" else ""

    def say(self, status: int, body, headers=()) -> Behaviour:
        if isinstance(body, str):
            text = {"Content-Type": "text/plain", **self.headers, **dict(headers)}
            return answer(status, body.encode(), text)
        data = json.dumps(body).encode()
        return answer(status, data, {"Content-Type": "application/json", **self.headers})

    def described(self, record: Record) -> dict:
        request = record.request
        described = {
            "name": request["service"],
            "image": request["image"],
            "namespace": NAMESPACE,
            "labels": request.get("labels", {}),
            "annotations": request.get("annotations", {}),
            "createdAt": record.created,
            "secrets": request.get("secrets", []),
        }
        if record.process is not None and record.process.poll() is None:
            described |= {"replicas": 1, "availableReplicas": 1}
        return described

    def functions(self, seen: Seen) -> Behaviour:
        if seen.method == "GET":
            return self.say(200, [self.described(each) for each in self.records.values()])
        document = json.loads(seen.body)
        name = document.get("service") or document.get("functionName")
        self.changes.append((seen.method, name))
        if document.get("namespace", NAMESPACE) not in self.namespaces:
            return self.say(400, "namespace not valid")
        if seen.method == "DELETE":
            if name not in self.records:
                return self.say(404, f"service {name} not found")
            self.stop(name)
            del self.records[name]
            return self.say(200, "")
        if seen.method == "PUT":
            return self.update(name, document)
        return self.create(name, document)

    def create(self, name: str, document: dict) -> Behaviour:
        missing = self.missing(document)
        if missing:
            return self.say(400, f"unable to find secret: {missing}")
        if name in self.records:
            text = f'unable to create container: {name}, error: snapshot "{name}-snapshot": already'
            return self.say(400, f"{text} exists")
        problem = self.pull_problem(document)
        if problem:
            return self.say(400, problem)
        return self.begin(name, document)

    def update(self, name: str, document: dict) -> Behaviour:
        """Replace a function as faasd does: what cannot be right is found when the old one is gone."""
        if name not in self.records:
            return self.say(404, f"service {name} not found")
        problem = self.pull_problem(document)
        missing = self.missing(document)
        old = self.records[name].runs
        self.stop(name)
        if problem:
            del self.records[name]
            return self.say(500, f"{problem}\n{problem}")
        if missing:
            self.records[name] = Record(document, now())
            return self.say(400, f"unable to find secret: {missing}")
        if self.overtaken:
            self.start(name, old if self.overtaken.pop(0) == "old" else document)
            self.records[name].request = document
            text = f"unable to start task: {name}, error: task {name}: already exists"
            return self.say(400, text)
        return self.begin(name, document)

    def begin(self, name: str, document: dict) -> Behaviour:
        """Start a container that was made; where that fails its record stays."""
        if self.start_error:
            self.records[name] = Record(document, now())
            return self.say(400, f"unable to start task: {name}, error: {self.start_error}")
        self.start(name, document)
        return self.say(self.accepted, "")

    def missing(self, document: dict) -> str:
        return next((each for each in document.get("secrets", ()) if each not in self.secrets), "")

    def secret(self, seen: Seen) -> Behaviour:
        if seen.method == "GET":
            return self.say(200, [{"name": each, "namespace": NAMESPACE} for each in self.secrets])
        document = json.loads(seen.body)
        if seen.method == "DELETE":
            if self.secrets.pop(document["name"], None) is None:
                path = f"/var/lib/faasd-provider/secrets/{NAMESPACE}/{document['name']}"
                return self.say(500, f"remove {path}: no such file or directory")
            return self.say(200, "")
        raw = document.get("rawValue")
        value = base64.b64decode(raw) if raw else document["value"].encode()
        self.secrets[document["name"]] = value
        (self.folder / "secrets").mkdir(exist_ok=True)
        (self.folder / "secrets" / document["name"]).write_bytes(value)
        return self.say(200, "")

    def logs(self, seen: Seen) -> Behaviour:
        name = parse_qs(urlsplit(seen.path).query).get("name", [""])[0]
        record = self.records.get(name)
        lines = record.lines if record is not None and self.keeps_logs else []
        return self.say(
            200, "".join(json.dumps({"name": name, "text": each}) + "\n" for each in lines)
        )

    def call(self, seen: Seen, path: str) -> Behaviour:
        name, _, rest = path.removeprefix("/function/").partition("/")
        record = self.records.get(name.partition(".")[0])
        if record is None:
            text = f"error finding function {name}.{NAMESPACE}: server returned non-200 status code (404)"
            return self.say(404, text)
        if record.process is not None and record.process.poll() is not None:
            self.start(record.request["service"], record.request)
            record = self.records[record.request["service"]]
            if not stays(record.process):
                return hang()
        dropped = ("host", "connection", "transfer-encoding", "content-length")
        headers = {key: text for key, text in seen.headers.items() if key not in dropped}
        asked = http.client.HTTPConnection("127.0.0.1", record.port or 1, timeout=20)
        try:
            asked.request(seen.method, f"/{rest}", seen.body or None, headers)
            reply = asked.getresponse()
            kept = {key: text for key, text in reply.getheaders() if key.lower() not in dropped}
            return answer(reply.status, reply.read(), kept)
        except OSError:
            return answer(500, f"Can't reach service for: {name}.\n".encode(), INTERNAL)
        finally:
            asked.close()

    # ------------------------------------------------------------ containers

    def pull_problem(self, document: dict) -> str:
        if self.pull_error:
            return f"unable to pull image {document['image']}: cannot pull: {self.pull_error}"
        try:
            self.pull(document["image"])
        except (OSError, urllib.error.URLError) as error:
            return f"unable to pull image {document['image']}: cannot pull: {error}"
        return ""

    def pull(self, image: str) -> Path:
        """Unpack an image, once, by its digest."""
        name, _, digest = image.partition("@")
        host, _, rest = name.partition("/")
        repository = rest.partition(":")[0]
        root = self.folder / "images" / digest.replace(":", "-")
        if root.exists():
            return root
        base = f"http://{host}/v2/{repository}"
        with urllib.request.urlopen(f"{base}/manifests/{digest}", timeout=10) as reply:
            manifest = json.load(reply)
        beside = root.with_suffix(".new")
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        for layer in manifest["layers"]:
            with urllib.request.urlopen(f"{base}/blobs/{layer['digest']}", timeout=10) as reply:
                data = reply.read()
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                unpack_all(archive, beside)
        beside.rename(root)
        return root

    def start(self, name: str, document: dict) -> None:
        record = self.records[name] = Record(document, now(), document)
        if not self.starts:
            return
        root = self.pull(document["image"])
        record.process = process = subprocess.Popen(
            [sys.executable, "-S", "-m", "away.runtime"],
            cwd=root / "opt/away/function/modules",
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(root / "opt/away/lib"),
                "AWAY_RUNTIME": "1",
                "PYTHONUNBUFFERED": "1",
                "AWAY_BIND": "127.0.0.1",
                "AWAY_SECRETS_DIR": str(self.folder / "secrets"),
                **document.get("envVars", {}),
                "PORT": "0",
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        threading.Thread(target=self.read_log, args=(record, process), daemon=True).start()

    def read_log(self, record: Record, process: subprocess.Popen) -> None:
        with process.stdout:
            for line in process.stdout:
                record.lines.append(line.rstrip())
                if "listening on port" in line:
                    record.port = int(line.rpartition("port ")[2].split()[0])

    def stop(self, name: str) -> None:
        process = self.records[name].process
        if process is not None:
            process.kill()
            process.wait()


def stays(process: subprocess.Popen, seconds: float = 0.3) -> bool:
    """Tell whether a process lives for some time."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return True
    return False


def now() -> str:
    return f"2026-01-01T00:00:00.{time.monotonic_ns()}Z"


@contextlib.contextmanager
def faasd(folder: Path, **settings: object) -> Iterator[Faasd]:
    """Run one; its processes are gone afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    double = Faasd(folder, **settings)
    with double.server:
        try:
            yield double
        finally:
            double.close()


def base_layer() -> bytes:
    """Return a layer that names a Python of this minor version, as a base image has."""
    minor = f"{sys.version_info.major}.{sys.version_info.minor}"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo(f"usr/local/bin/python{minor}")
        info.mode = 0o755
        archive.addfile(info)
        link = tarfile.TarInfo("usr/local/bin/python3")
        link.type, link.linkname = tarfile.SYMTYPE, f"python{minor}"
        archive.addfile(link)
    return buffer.getvalue()


__all__ = ["PASSWORD", "Faasd", "base_layer", "faasd"]
