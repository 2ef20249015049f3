"""Every form of an import and every tool that looks at what was imported, on a gateway that counts.

The table is in tests/import_forms. Each row runs in an interpreter that has not imported Away
before, and says how many requests for the list and how many calls reach the gateway: none more do.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests import servers
from tests.import_forms import (
    Row,
    functions,
    gateway,
    names,
    processes,
    statements,
    tools,
    troubles,
)

ROWS = [
    row for part in (statements, names, troubles, functions, tools, processes) for row in part.ROWS
]
PATIENCE_SECONDS = 40.0
DRIVER = Path(__file__).with_name("import_forms") / "driver.py"


@pytest.fixture(scope="module")
def server():
    with servers.Server(gateway.answer) as made:
        yield made


@pytest.fixture(scope="module")
def driver():
    """An interpreter that forks for each row."""
    # Without the test runner's own variables, pytest's and coverage's.
    with subprocess.Popen(
        [sys.executable, "-W", "error", str(DRIVER)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as started:
        yield started
        started.stdin.close()
        assert started.wait(PATIENCE_SECONDS) == 0


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_each_does_and_costs_what_the_table_says(row, server, driver, tmp_path, own_environment):
    for each in row.needs:
        if importlib.util.find_spec(each) is None:
            pytest.skip(f"{each} is not installed")
    before = len(server.requests)
    here = f"/row{before}"
    variables = environment(f"{server.url}{here}", row)
    for file, text in row.files.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text.replace("{url}", server.url + here))
    if row.argv:
        status, said = run_alone(row, variables, tmp_path)
    else:
        status, said = run_forked(driver, row, variables, tmp_path)
    assert status == row.status, said
    for each in row.prints:
        assert each in said, said
    assert gateway.PASSWORD not in said
    asked = [seen.path.removeprefix(here) for seen in server.requests[before:]]
    lists = [path for path in asked if path.partition("?")[0].endswith("/system/functions")]
    calls = [path for path in asked if "/function/" in path]
    assert (len(lists), len(calls), len(asked)) == (row.lists, row.calls, row.lists + row.calls)


def environment(url: str, row: Row) -> dict[str, str]:
    """Return the variables that a row runs with, beside those that are there."""
    ours = {
        "AWAY_GATEWAY_GW_URL": url,
        "AWAY_GATEWAY_GW_PASSWORD": gateway.PASSWORD,
        "PYTHONDONTWRITEBYTECODE": "1",
        # What is kept on disk is another table's: here each process asks for itself.
        "AWAY_CATALOGUE": "fresh",
        "AWAY_GATEWAY_GW_CONNECT_TIMEOUT": "30",  # for a machine that does much else
    }
    words = {"{url}": url, "{nowhere}": url + "/nowhere", "{password}": gateway.PASSWORD}
    return ours | {key: words.get(text, text) for key, text in row.env.items()}


def run_forked(driver, row, variables, folder):
    told = [key for key in os.environ if key.startswith(("AWAY_", "XDG_", "HOME"))]
    env = {**{key: os.environ[key] for key in told}, **variables}
    asked = {"name": row.name, "code": row.code, "env": env, "folder": str(folder)}
    # A row that hangs is ended with its driver, and no other worker's.
    limit = threading.Timer(PATIENCE_SECONDS, os.killpg, (driver.pid, signal.SIGKILL))
    limit.start()
    try:
        driver.stdin.write(json.dumps(asked) + "\n")
        driver.stdin.flush()
        status = json.loads(driver.stdout.readline())
    finally:
        limit.cancel()
    said = folder / "said"
    return status, said.read_text() if said.exists() else ""


def run_alone(row, variables, folder):
    if row.code:
        (folder / "main.py").write_text(row.code)
    ran = subprocess.run(
        [sys.executable, *(each.replace("{tmp}", str(folder)) for each in row.argv)],
        env={**os.environ, **variables},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    return ran.returncode, ran.stdout


def test_the_table_is_whole():
    assert len(ROWS) >= 70
    assert len({row.name for row in ROWS}) == len(ROWS)
