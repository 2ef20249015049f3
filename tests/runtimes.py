"""Runtimes as images start them: a real process, a payload made by hand, and clients of sockets."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# What publishing packs of Away where a function refers to no other one.
SUBSET = ("__init__.py", "exceptions.py", "names.py", "secrets.py", "protocol", "runtime")
TYPE = "application/vnd.away+yaml"


def make_library(folder: Path) -> Path:
    """Copy that part of Away which an image has, and nothing else."""
    package = folder / "away"
    package.mkdir(parents=True)
    for name in SUBSET:
        source = ROOT / "away" / name
        if source.is_dir():
            shutil.copytree(source, package / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, package / name)
    return folder


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def make_payload(folder: Path, source: str = "", *, pickled=None, files=None, body=None, **changes):
    """Write a payload and its modules; keywords change the header, None leaves a field out."""
    modules = folder / "function" / "modules"
    sources = {"mod.py": source, **(files or {})}
    for path, text in sources.items():
        (modules / path).parent.mkdir(parents=True, exist_ok=True)
        (modules / path).write_text(text)
    qualname = changes.pop("qualname", "f")
    header_files = [[path, sha256(text.encode())] for path, text in sources.items()]
    if body is None:
        body = pickled or json.dumps({"module": "mod", "qualname": qualname}).encode()
    header = {
        "away": "0.1.0",
        "format": 1,
        "form": "dill" if pickled else "import",
        "entry": f"mod:{qualname}",
        "name": "f",
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "cache_tag": sys.implementation.cache_tag,
        "magic": importlib.util.MAGIC_NUMBER.hex(),
        "safe": True,
        "kind": "sync",
        "files": changes.pop("header_files", header_files),
        "requirements": [],
        "body_sha256": sha256(body),
        "digest": "d" * 64,
        **changes,
    }
    header = {key: value for key, value in header.items() if value is not None}
    payload = folder / "function" / "payload.away"
    payload.write_bytes(json.dumps(header).encode() + b"\n" + body)
    return payload


class Runtime:
    """One runtime process; its port is known when this is made, and its log is kept by line."""

    def __init__(
        self, library: Path, payload: Path, environ=None, *, command=(), instead=None, log=None
    ):
        self._lines: list[str] = []
        self._grown = threading.Condition()
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(library),
            "PYTHONUNBUFFERED": "1",
            "AWAY_RUNTIME": "1",
            "AWAY_PAYLOAD": str(payload),
            "PORT": "0",
            **(environ or {}),
        }
        self.process = subprocess.Popen(
            instead or [*command, sys.executable, "-m", "away.runtime"],
            cwd=payload.parent / "modules",
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if log is None else log,
            stderr=subprocess.STDOUT if log is None else subprocess.PIPE,
        )
        stream = self.process.stdout if log is None else self.process.stderr
        self._reader = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._reader.start()
        found = self.wait_for(r"listening on port (\d+)")
        self.port = int(found[1])

    def _read(self, stream):
        with stream:
            for line in stream:
                with self._grown:
                    self._lines.append(line.decode("utf-8", "replace").rstrip("\n"))
                    self._grown.notify_all()
        with self._grown:
            self._lines.append("(end of the log)")
            self._grown.notify_all()

    @property
    def log(self) -> list[str]:
        with self._grown:
            return list(self._lines)

    def wait_for(self, pattern: str, seconds: float = 30) -> re.Match[str]:
        """Wait until a line of the log matches."""
        seen = 0
        with self._grown:
            while True:
                for line in self._lines[seen:]:
                    if found := re.search(pattern, line):
                        return found
                seen = len(self._lines)
                ended = bool(self._lines) and self._lines[-1] == "(end of the log)"
                if ended or not self._grown.wait(seconds):
                    raise AssertionError(f"{pattern!r} is not in the log: {self._lines}")

    def connect(self) -> socket.socket:
        connected = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        connected.settimeout(30)
        return connected

    def raw(self, data: bytes) -> bytes:
        """Send bytes, close the sending side, and return all that comes back."""
        with self.connect() as connected:
            connected.sendall(data)
            with contextlib.suppress(OSError):
                connected.shutdown(socket.SHUT_WR)
            return read_all(connected)

    def request(self, body=b"", *, method="POST", path="/", headers=None, chunked=False):
        """Make one request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            sent = iter([body]) if chunked else body
            connection.request(method, path, sent, headers or {}, encode_chunked=chunked)
            answer = connection.getresponse()
            answer.content = answer.read()
            return answer

    def call(self, *args, headers=None, **kwargs):
        """Call by protocol; return the status and the envelope."""
        body = json.dumps({"args": args, "kwargs": kwargs}).encode()
        return self.envelope(body, headers=headers)

    def envelope(self, body: bytes, headers=None):
        said = {"Content-Type": TYPE, "X-Away-Protocol": "1", **(headers or {})}
        answer = self.request(body, headers=said, chunked=True)
        assert answer.headers["X-Away-Protocol"] == "1"
        assert int(answer.headers["X-Away-Length"]) == len(answer.content)
        assert answer.headers["Content-Type"] == TYPE
        return answer.status, json.loads(answer.content)

    def stop(self, number=signal.SIGTERM, seconds: float = 30) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        status = self.process.wait(seconds)
        self._reader.join(seconds)
        return status

    def kill(self):
        self.process.kill()
        self.process.wait()
        self._reader.join(30)


def read_all(connected: socket.socket) -> bytes:
    pieces = []
    with contextlib.suppress(ConnectionError):
        while data := connected.recv(65536):
            pieces.append(data)
    return b"".join(pieces)


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])
