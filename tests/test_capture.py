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


# ------------------------------------------------------------------ the same bytes for the same function

STEADY = """
import dataclasses, enum, functools
WORDS = {'delta', 'alpha', 'charlie', 'bravo'}
FROZEN = frozenset({('a', 1), ('b', 2), None, 3.5, 'text', b'bytes'})
class Colour(enum.Enum):
    RED = 1
    BLUE = 2
TONES = {Colour.RED, Colour.BLUE}
@dataclasses.dataclass
class Item:
    name: str
    tags: set = dataclasses.field(default_factory=set)
    def double(self):
        self.one, self.two, self.three = 1, 2, 3
        return Item(self.name * 2)
KINDS = {Item, Colour}
def helper(v): return v in {'x', 'y', 'z'}
@functools.lru_cache
def function(v=('a', 'b')):
    class Inner:
        def set(self): self.a, self.b, self.c, self.d = 1, 2, 3, 4
    return [sorted(WORDS), FROZEN, TONES, Item('a').double(), helper(v), KINDS, Inner]
from away.capture import capture
c = capture(function)
import hashlib
print(c.identity, hashlib.sha256(c.payload).hexdigest(), c.entry)
"""


def test_hash_seeds_change_nothing(tmp_path):
    (tmp_path / "steady.py").write_text(STEADY)
    lines = {
        run(tmp_path / "steady.py", env={"PYTHONHASHSEED": seed}) for seed in ("0", "1", "2", "77")
    }
    assert len(lines) == 1


def test_a_function_that_only_moved_keeps_its_identity_but_true_line_numbers(tmp_path):
    (tmp_path / "steady.py").write_text(STEADY)
    (tmp_path / "moved").mkdir()
    (tmp_path / "moved" / "steady.py").write_text("# one\n\n\n# more\n" + STEADY)
    here, there = run(tmp_path / "steady.py").split(), run(tmp_path / "moved/steady.py").split()
    assert here[0] == there[0]
    assert here[1] != there[1]
    assert here[2] == there[2] == "steady:function"


def test_a_changed_constant_is_another_identity(tmp_path):
    (tmp_path / "steady.py").write_text(STEADY)
    first = run(tmp_path / "steady.py").split()[0]
    (tmp_path / "steady.py").write_text(STEADY.replace("'alpha'", "'alpine'"))
    assert run(tmp_path / "steady.py").split()[0] != first


def test_a_script_is_one_entry_and_one_identity_however_it_is_started(tmp_path):
    (tmp_path / "steady.py").write_text(STEADY)
    as_script = run(tmp_path / "steady.py")
    as_module = run("-m", "steady", cwd=tmp_path, env={"PYTHONPATH": f"{ROOT}:{tmp_path}"})
    as_worker = run(
        "-c",
        f"import runpy; runpy.run_path({str(tmp_path / 'steady.py')!r}, run_name='__mp_main__')",
    )
    assert as_script == as_module
    assert as_script.split()[::2] == as_worker.split()[::2]


@pytest.mark.parametrize("way", ["-c", "stdin"])
def test_without_a_file_the_entry_is_main(way):
    source = "def f(): return 1\nfrom away.capture import capture\nprint(capture(f).entry)"
    if way == "-c":
        assert run("-c", source) == "__main__:f\n"
    else:
        done = subprocess.run(
            [sys.executable, "-"], input=source, capture_output=True, text=True, cwd=ROOT
        )
        assert done.stdout == "__main__:f\n", done.stderr


def test_two_threads_capture_at_once(tmp_path):
    (tmp_path / "main.py").write_text(
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from away.capture import capture\n"
        "N = {'a': [1, 2, 3]}\n"
        "def helper(a): return N[a]\n"
        "def function(a): return helper(a)\n"
        "with ThreadPoolExecutor(8) as pool:\n"
        "    print(len({c.payload for c in pool.map(capture, [function] * 64)}))\n"
    )
    assert run(tmp_path / "main.py") == "1\n"
