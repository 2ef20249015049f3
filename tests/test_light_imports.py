"""What an import may cost: modules that must not be there after it, seen in a fresh interpreter."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

# What `import away` alone must never bring.
HEAVY = {
    "aiohttp",
    "asyncio",
    "click",
    "dataclasses",
    "dill",
    "importlib_metadata",
    "inspect",
    "platformdirs",
    "requests",
    "rich",
    "sqlite3",
    "ssl",
    "urllib3",
    "yaml",
}
# One list over HTTP is fetched by requests, which brings the rest of its kind.
CLIENT = {"inspect", "dataclasses", "importlib_metadata", "platformdirs"}
REQUESTS = {"requests", "urllib3", "ssl"}


def modules_after(statement: str, **environment: str) -> set[str]:
    """Run a statement in a fresh interpreter and return the modules that it loaded."""
    code = (
        "import sys; before = set(sys.modules)\n"
        f"{statement}\n"
        "import json; print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    ran = subprocess.run(
        # Isolated from site, whose .pth files import what they like; the package by its path.
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    return set(json.loads(ran.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import away", HEAVY | {"away.config", "away.connection", "away.hooks", "importlib.abc"}),
        ("import away; away.exceptions, dir(away)", HEAVY | {"away.connection"}),
        (
            "from away import builder, FaasConnection",
            HEAVY - CLIENT | {"away.hooks", "away.publish.steps"},
        ),
        ("from away import protocol", {"yaml", "dill", "asyncio", "requests", "aiohttp"}),
        ("import away.remote", HEAVY | {"away.config", "away.connection", "away.hooks.modules"}),
        (
            "import away.remote.default",
            HEAVY - CLIENT | {"away.connection", "away.functions"},
        ),
        ("import away.exceptions, away.names", HEAVY),
        ("import away.runtime", HEAVY | {"away.connection", "away.config"}),
        (
            "import away.cli",
            HEAVY - CLIENT - {"click", "asyncio"} | {"away.connection", "rich.table"},
        ),
    ],
)
def test_an_import_does_not_load(statement, absent):
    loaded = modules_after(statement)
    assert not loaded & absent


@pytest.mark.parametrize(
    "name",
    [
        "away.publish.preview",
        "away.placement.load_average",
        "away.remote",
        "away.hooks.mount",
        "away.exceptions.AwayError",
        "away.gateway.run",
        "away.testing",
    ],
)
def test_what_the_readme_names_is_there_after_import_away_alone(name):
    top = name.split(".")[1]
    code = f"import away; assert {top!r} in dir(away); assert {name}; from away import {top}"
    assert f"away.{top}" in modules_after(code)


def test_a_star_import_of_away_installs_no_finder():
    assert "away.remote" not in modules_after("from away import *")


def test_importing_a_function_loads_what_one_list_needs_and_no_more(tmp_path):
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = b'[{"name": "f", "image": "x"}]'
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        loaded = modules_after(
            "from away.remote.gw import f",
            AWAY_GATEWAY_GW_URL=f"http://127.0.0.1:{server.server_port}",
        )
        server.shutdown()
    assert not loaded & (HEAVY - CLIENT - REQUESTS)
    assert not loaded & {"away.publish", "away.builder", "away.capture", "away.gateway.app"}
    assert {"away.hooks.modules", "away.functions", "requests"} <= loaded
