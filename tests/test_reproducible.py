"""Layers and compiled files are the same bytes from every process, folder and machine's habits."""

from __future__ import annotations

import importlib.util
import json
import marshal
import os
import shutil
import subprocess
import sys
import types
import warnings
from pathlib import Path

import dill
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from away.publish.compiled import CACHE_TAG, beside_source, compiled_file, with_compiled
from tests.test_image import other_pythons
from tests.test_wheels import environment, wheel

ROOT = Path(__file__).parent.parent

MODULE = '''
"""A module of the user's."""
import re, dataclasses
WORDS = {"alpha", "beta", "gamma", "delta"}
BIG = (10**30, 1.5, -0.0, 0.0, True, 1, 1.0, 2j, b"bytes", ..., None, frozenset({"x", "y"}))

@dataclasses.dataclass
class Thing:
    one: int = 1
    two: str = "a b"
    def method(self):
        self.zeta = self.alpha = self.mid = 1
        return [each for each in (1, 2) if each in {"p", "q", "r", 5}]

def used(number: int = 257, *, name="long name with spaces"):
    """Say what it is."""
    try:
        return re.sub("a", "b", name) in {"one", "two", "three"} and (lambda: number)
    except ValueError as error:
        raise KeyError(number) from error
'''

SCRIPT = """
import helper_of_mine
LIMITS = {"a": 1, "b": 2}
SEEN = {"x", "y", "z"}
def pick(name):
    return LIMITS.get(name), name in SEEN, helper_of_mine.used(1)
"""

# Makes every kind of layer and prints their digests; argv: the project, a cache, "busy" or "fresh".
PROBE = """
import json, os, sys
from pathlib import Path
project, cache, kind = sys.argv[1:]
if kind == "busy":
    import asyncio, email.message, http.server, inspect, sqlite3, typing, unittest, xml.dom.minidom
    import helper_of_mine, yaml, dill
    kept = [code.co_code for code in
            (function.__code__ for function in vars(inspect).values() if hasattr(function, "__code__"))]
    names = [sys.intern(f"number {n}") for n in range(1000)]
    names += [sys.intern(each) for each in ("long name with spaces", "a b", "Say what it is.")]
    source = open(os.path.join(project, "helper_of_mine.py")).read()
    held = [compile(source, "/opt/away/function/modules/helper_of_mine.py", "exec") for _ in "abc"]
from away.capture import capture
from away.publish import layers, parts
from away.publish.pins import Pin
from away.publish.wheels import Target, requirements_layer
import helper_of_mine
space = {"__name__": "__main__", "__file__": os.path.join(project, "script.py")}
text = Path(space["__file__"]).read_text()
exec(compile(text, space["__file__"], "exec"), space)
found = {}
for docker in (False, True):
    for part in (parts.runtime_part(), parts.yaml_part(), parts.dill_part(), parts.client_part()):
        for compiled in (False, True):
            key = f"{part.name} {docker} {compiled}"
            found[key] = layers.shared_layer(part, docker=docker, compiled=compiled, cache=Path(cache))
    for name, function in (("import", helper_of_mine.used), ("dill", space["pick"])):
        captured = capture(function, include=["data/table.csv"])
        assert captured.form == name
        found[f"{name} {docker}"] = layers.function_layer(captured, docker=docker, compiled=True)
    minor = f"{sys.version_info.major}.{sys.version_info.minor}"
    pin = Pin("away-top", "1.0", "away-top==1.0")
    found[f"requirements {docker}"] = requirements_layer(
        (pin,), Target("amd64", minor, (2, 36)), Path(cache), docker=docker, compile=True)
print(json.dumps({key: [each.digest, each.diff_id, each.size] for key, each in found.items()}))
"""


def tree(folder: Path, index: Path) -> Path:
    """Copy all that layers are made of, with a project of the user's, into a folder."""
    skip = shutil.ignore_patterns("__pycache__", "*.pyc")
    shutil.copytree(ROOT / "away", folder / "lib" / "away", ignore=skip)
    for package in (yaml, dill):
        source = Path(package.__file__).parent
        shutil.copytree(source, folder / "lib" / source.name, ignore=skip)
    project = folder / "project"
    (project / "data").mkdir(parents=True)
    (project / "pyproject.toml").touch()
    (project / "helper_of_mine.py").write_text(MODULE)
    (project / "script.py").write_text(SCRIPT)
    (project / "data" / "table.csv").write_text("a,b\n")
    return folder


def layers_of(folder: Path, index: Path, kind: str, *, umask: int, **variables: str):
    for name in ("home", "tmp"):
        (folder / name).mkdir(exist_ok=True)
    cache = folder / f"cache {variables['PYTHONHASHSEED']}"
    cache.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", PROBE, str(folder / "project"), str(cache), kind],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{folder / 'lib'}{os.pathsep}{folder / 'project'}",
            "HOME": str(folder / "home"),
            "TMPDIR": str(folder / "tmp"),
            **environment(index),
            **variables,
        },
        cwd=folder,
        umask=umask,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_every_layer_is_the_same_bytes_from_other_folders_seeds_homes_zones_and_masks(tmp_path):
    index = tmp_path / "index"
    wheel(index, "away_top", "1.0", "py3-none-any", "away_need")
    wheel(index, "away_need", "1.0")
    one = tree(tmp_path / "one", index)
    two = tree(tmp_path / "another place" / "that is much deeper", index)
    found = [
        layers_of(one, index, "fresh", umask=0o022, PYTHONHASHSEED="0", TZ="UTC", LANG="C"),
        layers_of(two, index, "busy", umask=0o077, PYTHONHASHSEED="1", TZ="Asia/Tokyo"),
        layers_of(two, index, "fresh", umask=0o002, PYTHONHASHSEED="4711", PYTHONOPTIMIZE="2"),
        layers_of(one, index, "busy", umask=0o000, PYTHONHASHSEED="77", LANG="de_DE.UTF-8"),
    ]
    assert len(found[0]) == 22
    for each in found[1:]:
        assert each == found[0]


# ---------------------------------------------------------------- compiled files


def code_of(file: tuple[str, bytes]) -> types.CodeType:
    return marshal.loads(file[1][16:])


def test_a_compiled_file_is_never_compared_with_its_source_and_names_its_place_in_the_image():
    source = MODULE.encode()
    path, data = compiled_file("opt/x/helper.py", source)
    assert path == f"opt/x/__pycache__/helper.{CACHE_TAG}.pyc"
    assert path.endswith(importlib.util.cache_from_source("helper.py").rpartition("/")[2])
    assert data[:4] == importlib.util.MAGIC_NUMBER
    # PEP 552: hash-based, and not to be checked
    assert int.from_bytes(data[4:8], "little") == 0b01
    assert data[8:16] == importlib.util.source_hash(source)
    names = {each.co_filename for each in all_codes(code_of((path, data)))}
    assert names == {"/opt/x/helper.py"}


def all_codes(code: types.CodeType) -> list[types.CodeType]:
    inner = [each for each in code.co_consts if isinstance(each, types.CodeType)]
    return [code, *(found for each in inner for found in all_codes(each))]


@pytest.mark.parametrize("columns", [True, False])
def test_a_compiled_file_means_what_its_source_says(columns):
    """Every module of the standard library's top folder, and a few that are large."""
    folder = Path(os.__file__).parent
    files = [*sorted(folder.glob("[a-f]*.py")), folder / "typing.py", folder / "asyncio/tasks.py"]
    for file in files:
        source = file.read_bytes()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wanted = compile(source, f"/{file.name}", "exec", dont_inherit=True, optimize=0)
        made = code_of(compiled_file(file.name, source, columns=columns))
        for one, other in zip(all_codes(wanted), all_codes(made), strict=True):
            assert one.co_code == other.co_code
            assert one.co_exceptiontable == other.co_exceptiontable
            kinds = [[(type(each), repr(each)) for each in sorted_parts(c)] for c in (one, other)]
            assert kinds[0] == kinds[1]
            places = [list(one.co_positions()), list(other.co_positions())]
            if columns:
                assert places[0] == places[1]
            assert [each[0] for each in places[0]] == [each[0] for each in places[1]]


def sorted_parts(code: types.CodeType) -> list[object]:
    """The plain constants of code; sets have no order, and code is compared on its own."""
    plain = [each for each in code.co_consts if not isinstance(each, types.CodeType)]
    return [sorted(map(repr, each)) if isinstance(each, frozenset) else each for each in plain]


LITERALS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=12)
    | st.binary(max_size=8)
    | st.complex_numbers(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4).map(tuple),
    max_leaves=12,
)


@given(st.lists(LITERALS, max_size=5))
def test_constants_keep_their_values_and_their_types(values):
    # Infinity has no literal of its own.
    source = f"inf = 1e999\nfound = {values!r}\n".encode("utf-8", "surrogatepass")
    made = compiled_file("a.py", source)
    if made is None:
        return  # lone surrogates are no UTF-8
    space: dict[str, object] = {}
    exec(code_of(made), space)
    assert repr(space["found"]) == repr(values)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("a/data.csv", b"x = 1\n"),
        ("a/template.py", b"{{ name }} = {% if\n"),
        ("a/nul.py", b"x = '\0'\n"),
        ("a/latin.py", b"x = '\xff'\n"),
        ("a/deep.py", b"x = " + b"(" * 500 + b")" * 500),
    ],
)
def test_what_is_no_python_source_is_left_as_it_is(path, source):
    assert compiled_file(path, source) is None
    assert list(with_compiled([(path, source)])) == [(path, source)]


def test_a_source_with_warnings_is_compiled_in_silence():
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert compiled_file("a.py", rb"x = '\d' is 'd'") is not None
    assert said == []


def test_a_compiled_file_lies_right_behind_its_source():
    files = [("o/a.py", b"A = 1"), ("o/a_b.py", b"B = 1"), ("o/sub/a.py", b""), ("o/z.txt", b"")]
    names = [path for path, _ in sorted(with_compiled(files), key=beside_source)]
    assert names == [
        "o/a.py",
        f"o/__pycache__/a.{CACHE_TAG}.pyc",
        "o/a_b.py",
        f"o/__pycache__/a_b.{CACHE_TAG}.pyc",
        "o/sub/a.py",
        f"o/sub/__pycache__/a.{CACHE_TAG}.pyc",
        "o/z.txt",
    ]


def test_what_was_compiled_is_what_an_import_runs(tmp_path):
    for path, data in with_compiled(
        [("pkg/__init__.py", b""), ("pkg/mod.py", b"def f(): return 1")]
    ):
        (tmp_path / path).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / path).write_bytes(data)
    # Never compared: the image has no other source than that which was compiled.
    (tmp_path / "pkg/mod.py").write_text("def f(): return 2")
    code = "import pkg.mod as m; print(m.f(), m.f.__code__.co_filename == m.__file__)"
    done = subprocess.run(
        [sys.executable, "-v", "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout == "1 True\n"
    assert "mod." in done.stderr
    assert "matches" in done.stderr


# Compiles one file in a process of any Python that can read it; argv: compiled.py, the source.
COMPILE = """
import hashlib, importlib.util, sys
if sys.argv[3] == "busy":
    import asyncio, dataclasses, email.message, inspect, re, typing, unittest
    held = [sys.intern(each) for each in ("zeta", "a b", "Say what it is.", "long name with spaces")]
spec = importlib.util.spec_from_file_location("compiled", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
path, data = module.compiled_file("opt/helper.py", open(sys.argv[2], "rb").read())
print(path, hashlib.sha256(data).hexdigest())
"""


@pytest.mark.parametrize("python", other_pythons(), ids=lambda path: Path(path).parts[-3])
def test_each_python_compiles_to_the_same_bytes_whatever_the_process_did_before(tmp_path, python):
    source = tmp_path / "helper.py"
    source.write_text(MODULE)
    compiled = ROOT / "away" / "publish" / "compiled.py"
    found = set()
    for seed, kind in (("0", "fresh"), ("1", "busy"), ("2", "fresh"), ("3", "busy")):
        done = subprocess.run(
            [python, "-c", COMPILE, str(compiled), str(source), kind],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        found.add(done.stdout)
    assert len(found) == 1
