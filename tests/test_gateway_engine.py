"""Engines in which functions cannot run: each is one sentence at the gateway's start."""

from __future__ import annotations

import json
import socketserver
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler

import pytest

import away.gateway
from away.exceptions import ConfigError

# Of a documentation network (RFC 5737), so no machine has it.
NOBODYS = "203.0.113.1"


class Engine(socketserver.ThreadingUnixStreamServer):
    """Answers an engine's questions from a table, on a socket in the file system."""

    daemon_threads = True

    def __init__(self, path, answers) -> None:
        self.answers = answers
        super().__init__(str(path), Handler)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def address_string(self):
        return "a socket"

    def do_GET(self):
        path = self.path.removeprefix("/v1.41")
        answer = self.server.answers.get(path, (404, {"message": "page not found"}))
        status, value = answer if isinstance(answer, tuple) else (200, answer)
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


WORKS = {"/version": {"ApiVersion": "1.41"}, "/info": {"NCPU": 2}}


def network(*configured):
    answer = {"Id": "abc", "IPAM": {"Config": list(configured)}}
    return {**WORKS, "/networks/bridge": answer, "/networks/abc": answer}


@pytest.fixture
def engine(tmp_path, monkeypatch):
    started = []

    def start(answers):
        path = tmp_path / "docker.sock"
        server = Engine(path, answers)
        started.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
        return path

    yield start
    for server in started:
        server.shutdown()
        server.server_close()


def refusal() -> str:
    with (
        pytest.raises(ConfigError) as caught,
        away.gateway.run(announce=False, provider="docker"),
    ):
        pass
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        (network({"Subnet": "203.0.113.0/24", "Gateway": NOBODYS}), "no address of this machine"),
        (network({"Subnet": "203.0.113.0/24"}), f"reach their host at {NOBODYS}"),
        (network(), "has no IPv4 address"),
        (network({"Subnet": "fd00::/64", "Gateway": "fd00::1"}), "has no IPv4 address"),
        (WORKS, "has no network 'bridge'"),
        ({**WORKS, "/info": (500, {"message": "the disk\nis full."})}, ": the disk is full; start"),
        ({**WORKS, "/info": (200, b"<html>")}, "no container engine answers at unix://"),
        ({"/version": b"{}"}, "no container engine answers at unix://"),
        ({}, ": page not found; start Docker"),
    ],
    ids=[
        "the bridge of another machine", "the first address of its network", "no network at all",
        "the sixth version only", "no bridge", "an error", "no engine", "no version", "nothing",
    ],
)  # fmt: skip
def test_an_engine_in_which_functions_cannot_run_is_refused(engine, answers, said):
    engine(answers)
    assert said in refusal()


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        (
            "DOCKER_HOST",
            "unix:///nowhere.sock",
            "at unix:///nowhere.sock: No such file or directory",
        ),
        ("DOCKER_HOST", "tcp://127.0.0.1:1", "no container engine answers at tcp://127.0.0.1:1: "),
        ("DOCKER_HOST", "nonsense", "no container engine answers at nonsense: "),
        ("DOCKER_HOST", "tcp://192.0.2.7:2375", "tcp://192.0.2.7:2375 is not one of this machine"),
        ("DOCKER_HOST", "ssh://me@far", "ssh://me@far is not one of this machine"),
        ("DOCKER_CONTEXT", "far", "at the context of Docker's configuration: "),
    ],
)
def test_where_no_engine_answers_the_sentence_says_what_was_tried(
    monkeypatch, variable, value, said
):
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setenv(variable, value)
    assert said in refusal()


def test_the_command_ends_as_with_any_wrong_configuration(tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
    command = [sys.executable, "-m", "away", "up", "--provider", "docker", "--state", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.startswith("away: no container engine answers at unix:///nowhere.sock: ")
    assert done.stderr.count("\n") == 1


def test_an_unknown_provider_is_named():
    with (
        pytest.raises(ConfigError, match="no provider 'podman': there are 'process' and 'docker'"),
        away.gateway.run(announce=False, provider="podman"),
    ):
        pass


def test_without_the_docker_provider_its_client_is_not_imported():
    code = (
        "import sys, asyncio, away.gateway.serving, away.gateway.providers.process;"
        "print('aiodocker' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "False\n"
