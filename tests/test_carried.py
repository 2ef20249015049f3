"""Layers as they run: on other Pythons, within their sizes, and from their compiled files."""

from __future__ import annotations

import gzip
import importlib
import io
import json
import os
import subprocess
import sys
import tarfile
import textwrap
import time
from pathlib import Path

import pytest

from away import FaasConnection, gateway
from away.capture import capture
from away.exceptions import PublishFailed
from away.publish import layers, parts, publish
from away.publish.cache import remove_unused
from away.publish.compiled import MINOR
from away.publish.image import compressed
from away.publish.verification import check_python
from tests.archives import unpack_all
from tests.runtimes import Runtime
from tests.test_image import other_pythons


def minor_of(python: str) -> str:
    code = "import sys; print(*sys.version_info[:2], sep='.')"
    return subprocess.run([python, "-c", code], capture_output=True, text=True).stdout.strip()


OTHERS = {minor_of(each): each for each in other_pythons()[1:]}

SOURCE = """
import asyncio
from carried_helper import SHIFT

def plus(a, b=1):
    return a + b + SHIFT

async def later(number):
    await asyncio.sleep(0)
    return {"number": number + SHIFT}

def outer(number):
    def inner(more):
        return number + more
    return inner

def cached():
    # Of Away's own files only what was compiled for an image lacks the columns.
    import sys
    import away.runtime.calls as calls
    import carried_helper as mine
    places = [each for each in calls.Calls.about.__code__.co_positions() if each[0]]
    heads = {}
    for module in (calls, mine):
        with open(module.__spec__.cached, "rb") as file:
            heads[module.__name__] = list(file.read(8)[4:])
    named = mine.shifted.__code__.co_filename == mine.__file__
    return {"columns": any(each[2] for each in places), "heads": heads, "named": named}
"""
HELPER = "SHIFT = 100\ndef shifted(): return SHIFT\n"


@pytest.fixture
def module(tmp_path, monkeypatch):
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "carried.py").write_text(textwrap.dedent(SOURCE))
    (folder / "carried_helper.py").write_text(HELPER)
    monkeypatch.syspath_prepend(str(folder))
    for name in ("carried", "carried_helper"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    importlib.invalidate_caches()
    yield importlib.import_module("carried")
    for name in ("carried", "carried_helper"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def stacked(captured, *, compiled: bool):
    shared = [
        layers.shared_layer(part, docker=False, compiled=compiled)
        for part in parts.parts_for(captured)
    ]
    return [*shared, layers.function_layer(captured, docker=False, compiled=compiled)]


def unpacked(stack, folder: Path) -> Path:
    for layer in stack:
        with tarfile.open(fileobj=io.BytesIO(layer.data)) as archive:
            unpack_all(archive, folder)
    return folder


def started(folder: Path, python: str) -> Runtime:
    return Runtime(
        folder / layers.LIBRARY_FOLDER,
        folder / layers.FUNCTION_FOLDER / "payload.away",
        {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONSAFEPATH": "1"},
        instead=[python, "-S", "-m", "away.runtime"],
    )


# ---------------------------------------------------------------- other Pythons


@pytest.mark.skipif(not OTHERS, reason="no other Python is here")
@pytest.mark.parametrize("minor", OTHERS)
def test_a_function_of_a_module_runs_on_another_minor_version(module, tmp_path, minor):
    for index, (name, value) in enumerate({"plus": 103, "later": {"number": 102}}.items()):
        captured = capture(getattr(module, name))
        check_python(captured, "python:other", minor)
        folder = unpacked(stacked(captured, compiled=False), tmp_path / f"image {index}")
        runtime = started(folder, OTHERS[minor])
        try:
            assert runtime.call(2)[1]["value"] == value
            about = json.loads(runtime.request(method="GET", path="/_/away").content)
            assert about["python"] == minor
        finally:
            runtime.kill()


@pytest.mark.skipif(not OTHERS, reason="no other Python is here")
@pytest.mark.parametrize("python", list(OTHERS.values())[:1])
def test_what_goes_by_value_says_there_that_it_is_of_another_python(module, tmp_path, python):
    captured = capture(module.outer(1), name="inner")
    runtime = started(unpacked(stacked(captured, compiled=False), tmp_path / "image"), python)
    try:
        status, said = runtime.call(1)
        assert status == 500
        assert f"was published from Python {MINOR} and this image has" in json.dumps(said)
    finally:
        runtime.kill()


MAJOR, NUMBER = map(int, MINOR.split("."))
NEWER = f"{MAJOR}.{NUMBER + 1}"


def refusal(captured, python: str) -> str:
    with pytest.raises(PublishFailed) as caught:
        check_python(captured, "registry.example.com/python:x", python)
    assert caught.value.step == "base image"
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_cannot_carry_over_is_refused_with_both_versions_and_what_to_do(module):
    by_value = refusal(capture(module.outer(1), name="inner"), NEWER)
    for words in (
        f"registry.example.com/python:x has Python {NEWER}, and this is Python {MINOR}",
        "carried:outer.<locals>.inner travels by value",
        f"base_image= with Python {MINOR}",
        f"publish with Python {NEWER}",
        "move the function into a module",
    ):
        assert words in by_value
    unsafe = refusal(capture(module.plus, safe_args=False), NEWER)
    assert "takes pickles (safe_args=False)" in unsafe
    assert "needs Python 3.11 or later" in refusal(capture(module.plus), "3.9")
    assert "'three' is no minor version of Python" in refusal(capture(module.plus), "three")
    assert check_python(capture(module.plus), "x", NEWER) is None
    assert check_python(capture(module.outer(1), name="inner"), "x", MINOR) is None


def test_source_that_an_older_python_cannot_read_is_refused_with_its_line(module):
    captured = capture(module.plus)
    newer = captured.files[0]._replace(path="carried.py", data=b"x = 1\ntype Pair = tuple\n")
    template = captured.files[0]._replace(path="template.py", data=b"{{ name }}\n")
    changed = captured._replace(files=(newer, template))
    if sys.version_info < (3, 12):
        # This Python cannot read it either, so that it is none of its modules.
        assert check_python(changed, "x", NEWER) is None
        return
    assert "carried.py, line 2, is written in Python" in refusal(changed, "3.11")


# ---------------------------------------------------------------- sizes


@pytest.mark.parametrize(("form", "most"), [("import", 250_000), ("dill", 450_000)])
def test_an_image_adds_little_to_its_base(module, capsys, form, most):
    function = module.plus if form == "import" else module.outer(1)
    captured = capture(function, name="sized")
    assert captured.form == form
    sizes = {}
    for layer in stacked(captured, compiled=True):
        data = layer.data if layer.media_type.endswith("tar") else gzip.decompress(layer.data)
        sizes[layer.comment] = len(compressed(data, level=6))
    with capsys.disabled():
        print(f"\n{form}: {sum(sizes.values()):,} bytes as gzip: {sizes}")
    assert sum(sizes.values()) <= most


# ---------------------------------------------------------------- compiled files in use


def test_an_embedded_gateway_runs_the_compiled_files_and_never_stale_ones(
    module, tmp_path, monkeypatch
):
    monkeypatch.setenv("AWAY_RUNTIME_DIR", str(tmp_path / "run"))
    with gateway.run(state=tmp_path / "state", announce=False) as running:
        assert_compiled(running, module, tmp_path)


def assert_compiled(faas: FaasConnection, module, tmp_path: Path) -> None:
    publish(module.cached, faas, verbose=False)
    said = json.loads(faas.invoke("cached", b"[]").text)
    assert said["columns"] is False, said
    # PEP 552: a hash follows, which is not checked.
    assert said["heads"] == {"away.runtime.calls": [1, 0, 0, 0], "carried_helper": [1, 0, 0, 0]}
    assert said["named"] is True
    publish(module.plus, faas, verbose=False)
    assert json.loads(faas.invoke("plus", b"[1]").text) == 102
    # The same size and time, which is all that Python itself goes by.
    helper = tmp_path / "project" / "carried_helper.py"
    times = helper.stat()
    helper.write_text(HELPER.replace("100", "200"))
    os.utime(helper, ns=(times.st_atime_ns, times.st_mtime_ns))
    publish(module.plus, faas, verbose=False)
    assert json.loads(faas.invoke("plus", b"[1]").text) == 202


# ---------------------------------------------------------------- kept for other processes

# Makes the shared layers in a process that may compile nothing of them; argv: cache, "quiet" or "loud".
SHARED = """
import json, sys
from pathlib import Path
from away.publish import layers, parts
def audit(event, arguments):
    if event == "compile" and str(arguments[1]).startswith("/opt/away") and sys.argv[2] == "quiet":
        raise RuntimeError(f"compiles {arguments[1]}")
sys.addaudithook(audit)
made = [layers.shared_layer(part, docker=False, compiled=True, cache=Path(sys.argv[1]))
        for part in (parts.runtime_part(), parts.yaml_part())]
print(json.dumps([each.digest for each in made]))
"""


def shared_in_another_process(cache: Path, how: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", SHARED, str(cache), how],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_shared_layers_are_kept_for_other_processes_and_damage_is_noticed(tmp_path):
    first = shared_in_another_process(tmp_path, "loud")
    assert shared_in_another_process(tmp_path, "quiet") == first
    for file in tmp_path.glob("shared-*.layer"):
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
    assert shared_in_another_process(tmp_path, "loud") == first
    assert shared_in_another_process(tmp_path, "quiet") == first


def test_layers_that_nobody_asked_for_in_two_months_are_removed(tmp_path):
    old = time.time() - 61 * 24 * 3600
    for name in ("a.layer", "requirements-a.json", "shared-b.layer", "shared-b.json"):
        (tmp_path / name).write_text("old")
        os.utime(tmp_path / name, (old, old))
    (tmp_path / "new.layer").write_text("new")
    (tmp_path / "other.json").write_text("none of ours")
    os.utime(tmp_path / "other.json", (old, old))
    remove_unused(tmp_path)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["new.layer", "other.json"]
