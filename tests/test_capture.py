"""Capture: what travels arrives and does the same there, and what cannot is refused in words."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.capture_kinds import KINDS, REFUSED

CAPTURING = Path(__file__).with_name("capturing.py")
ROOT = Path(__file__).parent.parent


def run(*arguments: object, env: dict[str, str] | None = None, cwd: Path | None = None) -> str:
    """Run a Python program with nothing but Away to import."""
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **(env or {})}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        env=environ,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def write(folder: Path, files: dict[str, str | bytes]) -> None:
    for name, data in files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data if isinstance(data, bytes) else data.encode())


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Capture all kinds in one run, and call them in another; a folder a kind."""
    root = tmp_path_factory.mktemp("kinds")
    for index, kind in enumerate([*KINDS, *REFUSED]):
        folder = root / f"{index:03}"
        write(folder / "source", {"main.py": kind.source, **kind.files})
        if kind in KINDS:
            call = repr((kind.args, dict(kind.kwargs), kind.twice))
            (folder / "call.json").write_text(json.dumps({"call": call}))
    run(CAPTURING, "capture", root)
    called = root.parent / "called"
    called.mkdir()
    for index in range(len(KINDS)):
        (root / f"{index:03}").rename(called / f"{index:03}")
    # The scripts and their modules are gone when the payloads are called.
    for folder in called.iterdir():
        (folder / "source").rename(folder / "gone")
    run(CAPTURING, "call", called, env={"AWAY_RUNTIME": "1"})
    return {**{f.name: f for f in root.iterdir()}, **{f.name: f for f in called.iterdir()}}


@pytest.mark.parametrize("index", range(len(KINDS)), ids=[kind.id for kind in KINDS])
def test_a_captured_function_does_the_same_in_a_process_that_lacks_its_modules(table, index):
    kind, folder = KINDS[index], table[f"{index:03}"]
    captured = json.loads((folder / "captured.json").read_text())
    assert "error" not in captured, captured["traceback"]
    called = json.loads((folder / "called.json").read_text())
    assert "error" not in called, called["traceback"]
    assert called["value"] == repr(kind.gives)
    assert captured["form"] == kind.form


@pytest.mark.parametrize("index", range(len(REFUSED)), ids=[kind.id for kind in REFUSED])
def test_what_cannot_travel_is_refused_by_its_variable_and_the_path_to_it(table, index):
    refused, folder = REFUSED[index], table[f"{len(KINDS) + index:03}"]
    captured = json.loads((folder / "captured.json").read_text())
    assert "error" in captured, captured
    assert captured["error"].startswith("CaptureRefused: "), captured["traceback"]
    for words in refused.words:
        assert words in captured["error"]
    assert captured["path"] == refused.path
