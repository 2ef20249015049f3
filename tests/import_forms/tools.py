"""Rows on tools that list, test, measure, document or complete: the standard library's and others'."""

from __future__ import annotations

from tests.import_forms import Row

TEST_MODULE = """
import unittest
from away.remote.gw import add, later, count
import away.remote.gw as gw

def test_add():
    assert add(1, 2) == 3

def test_patched(monkeypatch):
    monkeypatch.setattr("away.remote.gw.add", lambda a, b: 7)
    assert gw.add(1, 2) == 7

def test_is_there(request):
    import pytest
    assert pytest.importorskip("away.remote.gw") is gw
    pytest.importorskip("away.remote.nogw")

class TestIt(unittest.TestCase):
    add = staticmethod(add)
    def test_it(self):
        self.assertEqual(self.add(1, 2), 3)
        with self.assertWarns(UserWarning):
            import warnings
            warnings.warn("x")
"""
PYTEST = ("-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:hypothesispytest")
SPHINX_CONF = """
project = "x"
extensions = ["sphinx.ext.autodoc", "sphinx.ext.autosummary"]
autodoc_typehints = "signature"
"""
IPYTHON = """
import IPython, os
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
def run(cell):
    done = shell.run_cell(cell, silent=False)
    assert done.success, cell
    return done.result
"""

ROWS = (
    # ------------------------------------------------------------ listing
    Row(
        "pkgutil.iter_modules and walk_packages",
        """
import pkgutil, away.remote
found = {each.name: each.ispkg for each in pkgutil.iter_modules(away.remote.__path__)}
assert found["gw"] and found["default"]
walked = [each.name for each in pkgutil.walk_packages(away.remote.__path__, "away.remote.")]
assert "away.remote.gw" in walked and "away.remote.default" in walked
""",
    ),
    Row(
        "pkgutil.iter_modules of a gateway",
        """
import pkgutil, away.remote.gw as g
assert [each.name for each in pkgutil.iter_modules(g.__path__)] == ["shapes"]
""",
        1,
    ),
    Row(
        "pkgutil.resolve_name",
        """
import pkgutil
import away.remote.gw as g
assert pkgutil.resolve_name("away.remote.gw") is g
assert pkgutil.resolve_name("away.remote.gw:add") is g.add
assert pkgutil.resolve_name("away.remote.gw.add") is g.add
with raises(AttributeError, says="has no function 'nope'"):
    pkgutil.resolve_name("away.remote.gw:nope")
""",
        2,
    ),
    Row(
        "pkgutil.get_data and importlib.resources",
        """
import importlib.resources, pkgutil
import away.remote.gw
assert pkgutil.get_data("away.remote.gw", "x.txt") is None
with raises(Exception):
    importlib.resources.files("away.remote.gw").joinpath("x.txt").read_text()
""",
    ),
    Row(
        "rlcompleter and an interactive console",
        """
import code, rlcompleter
console = code.InteractiveConsole()
assert not console.push("from away.remote.gw import add")
assert not console.push("import away.remote.gw as g")
complete = rlcompleter.Completer(console.locals).complete
assert complete("g.ad", 0).startswith("g.add(") and complete("g.nop", 0) is None
assert complete("add.__na", 0) is not None
""",
        1,
    ),
    # ------------------------------------------------------------ tests
    Row(
        "doctest of a remote docstring",
        """
import doctest
import away.remote.gw as g
tests = doctest.DocTestFinder().find(g)
assert "away.remote.gw.add" in [each.name for each in tests if each.examples]
failed, tried = doctest.testmod(g)
assert (failed, tried) == (0, 5), (failed, tried)
""",
        1,
        5,
    ),
    Row(
        "doctest of a module that uses one",
        """
import doctest, mine
assert doctest.testmod(mine) == (0, 1)
""",
        1,
        1,
        files={
            "mine.py": "from away.remote.gw import add\n"
            "def f():\n    '''\n    >>> add(1, 2)\n    3\n    '''\n"
        },
    ),
    Row(
        "unittest's loader",
        """
import unittest
import away.remote.gw as g
loader = unittest.defaultTestLoader
assert loader.loadTestsFromModule(g).countTestCases() == 0
assert loader.loadTestsFromName("away.remote.gw").countTestCases() == 0
assert not loader.errors
""",
        1,
    ),
    Row(
        "python -m unittest of a module that imports one",
        argv=("-W", "error", "-m", "unittest", "mine"),
        lists=1,
        calls=1,
        files={
            "mine.py": "import unittest\nfrom away.remote.gw import add\n"
            "class T(unittest.TestCase):\n"
            "    def test_it(self): self.assertEqual(add(1, 2), 3)\n"
        },
        prints=("OK",),
    ),
    Row(
        "mock.patch",
        """
from unittest import mock
import away.remote.gw as g
with mock.patch("away.remote.gw.add", return_value=7) as patched:
    from away.remote.gw import add
    assert add is patched and g.add(1) == 7
with mock.patch.object(g, "add", autospec=True) as patched:
    patched.return_value = 8
    assert g.add(1, b=2) == 8
    with raises(TypeError):
        g.add(1, 2, 3)
with raises(AttributeError, says="does not have the attribute 'nope'"):
    mock.patch("away.remote.gw.nope").start()
with mock.patch("away.remote.gw.nope", create=True):
    assert g.nope
assert g.add(1, 2) == 3
""",
        2,
        1,
    ),
    Row(
        "mock of async functions",
        """
import asyncio
from unittest import mock
import away.remote.gw as g
with mock.patch("away.remote.gw.later", autospec=True, return_value=5):
    assert asyncio.run(g.later(1)) == 5
with mock.patch("away.remote.gw.later", return_value=6) as patched:
    assert isinstance(patched, mock.AsyncMock) and asyncio.run(g.later(1)) == 6
""",
        1,
    ),
    Row(
        "mock.create_autospec of a module and Mock(spec=…)",
        """
from unittest import mock
import away.remote.gw as g
fake = mock.create_autospec(g)
fake.add(1, 2)
fake.add.assert_called_once_with(1, b=2)
with raises(TypeError):
    fake.add(1)
with raises(TypeError):
    mock.create_autospec(g.add)(1, 2, 3)
with raises(AttributeError):
    fake.nope
assert mock.Mock(spec=g.add)(1, 2) and mock.create_autospec(g.add)(1, 2)
""",
        1,
    ),
    Row(
        "mock.patch.dict of sys.modules",
        """
import sys, types
from unittest import mock
fake = types.ModuleType("away.remote.gw")
fake.add = lambda a, b: 9
import away.remote
with mock.patch.dict(sys.modules, {"away.remote.gw": fake}):
    from away.remote.gw import add
    assert add(1, 2) == 9
from away.remote.gw import add
assert add(1, 2) == 3
""",
        1,
        1,
    ),
    Row(
        "pytest collects a module that imports one",
        argv=(*PYTEST, "-W", "error", "test_mine.py"),
        lists=1,
        calls=2,
        files={"test_mine.py": TEST_MODULE},
        prints=("3 passed, 1 skipped",),
    ),
    Row(
        "pytest's doctests and a failing assertion",
        argv=(
            *PYTEST,
            "--doctest-modules",
            "mine.py",
            "test_m.py",
        ),
        lists=1,
        calls=2,
        files={
            "mine.py": "from away.remote.gw import add\n"
            "def f():\n    '''\n    >>> add(1, 2)\n    3\n    '''\n",
            "test_m.py": "from away.remote.gw import add\ndef test_f(): assert add(1, 1) == 3\n",
        },
        prints=("1 failed, 1 passed", "assert 2 == 3"),
        status=1,
    ),
    # ------------------------------------------------------------ measuring
    Row(
        "coverage",
        argv=("-m", "coverage", "run", "--include=main.py", "main.py"),
        code="from away.remote.gw import add\nprint('sum', add(1, 2))\n",
        lists=1,
        calls=1,
        prints=("sum 3",),
        needs=("coverage",),
    ),
    Row(
        "trace",
        """
import trace
tracer = trace.Trace(count=True, trace=False)
tracer.run("from away.remote.gw import add; assert add(1, 2) == 3")
assert any(file.endswith("contents.py") for file, _ in tracer.results().counts)
""",
        1,
        1,
    ),
    Row(
        "cProfile",
        """
import cProfile, io, pstats
profile = cProfile.Profile()
with profile:
    from away.remote.gw import add
    assert add(1, 2) == 3
said = io.StringIO()
pstats.Stats(profile, stream=said).print_stats("__call__")
assert "functions.py" in said.getvalue()
""",
        1,
        1,
    ),
    Row(
        "timeit and tracemalloc",
        """
import timeit, tracemalloc
tracemalloc.start()
assert timeit.timeit("from away.remote.gw import add", number=100) > 0
assert timeit.timeit("add(1, 2)", "from away.remote.gw import add", number=2) > 0
tracemalloc.stop()
""",
        1,
        2,
    ),
    Row(
        "bdb, as pdb steps over an import",
        """
import bdb
class Stepper(bdb.Bdb):
    def user_line(self, frame):
        self.set_next(frame)
scope = {}
Stepper().run("from away.remote.gw import add\\ntotal = add(1, 2)", scope)
assert scope["total"] == 3
""",
        1,
        1,
    ),
    # ------------------------------------------------------------ documents, editors, notebooks
    Row(
        "Sphinx autodoc",
        argv=("-m", "sphinx", "-q", "-b", "text", "-W", ".", "out"),
        lists=1,
        files={
            "conf.py": SPHINX_CONF + "import pathlib\n"
            "def show(app, error):\n"
            "    print(pathlib.Path(app.outdir, 'index.txt').read_text())\n"
            "def setup(app): app.connect('build-finished', show)\n",
            "index.rst": "x\n=\n\n.. automodule:: away.remote.gw\n   :members:\n\n"
            ".. autofunction:: away.remote.gw.my_function\n   :no-index:\n",
        },
        prints=(
            "away.remote.gw.add(a: int, b: int) -> int",
            "async away.remote.gw.later(a: int) -> int",
            "Add two numbers, several times.",
            "my_function",
        ),
        needs=("sphinx",),
    ),
    Row(
        "IPython shows a module and a function",
        IPYTHON
        + """
import away.remote.gw as g
run("import away.remote.gw as g")
assert run("g") is g
run("from away.remote.gw import add, later")
run("add")
run("add(1, 2)")
assert run("await later(4)") == 4
""",
        1,
        2,
        needs=("IPython",),
    ),
    Row(
        "IPython's question mark",
        IPYTHON
        + """
run("from away.remote.gw import add; import away.remote.gw as g")
from IPython.utils.capture import capture_output
with capture_output() as said:
    run("add?"); run("add??"); run("g?")
text = said.stdout or str(said.outputs)
for machinery in ("Init docstring", "Call docstring", "implicit_exception_handling"):
    assert machinery not in text.partition("Source")[0].replace("\\x1b[0m", ""), machinery
assert "Add two numbers." in text and "add(a: int, b: int) -> int" in text.replace("\\x1b[0m", "")
""",
        1,
        needs=("IPython",),
    ),
    Row(
        "IPython's completion",
        IPYTHON
        + """
run("import away.remote.gw as g")
from IPython.core.completer import provisionalcompleter
def complete(line):
    with provisionalcompleter():
        return " ".join(each.text for each in shell.Completer.completions(line, len(line)))
for shell.Completer.use_jedi in (False, True):
    assert "add" in complete("g.ad"), complete("g.ad")
    assert "sum_two_numbers" in complete("from away.remote.gw import sum_t")
    assert "gw" in complete("import away.remote.g")
""",
        1,
        needs=("IPython",),
    ),
    Row(
        "IPython's autoreload",
        IPYTHON
        + """
run("%load_ext autoreload")
run("%autoreload 2")
run("from away.remote.gw import add")
assert run("add(1, 2)") == 3
""",
        1,
        1,
        needs=("IPython",),
    ),
    Row(
        "jedi completes and shows",
        """
import jedi
import away.remote.gw as g
from away.remote.gw import add
script = jedi.Interpreter("g.ad", [{"g": g}])
assert "add" in [each.name for each in script.complete()]
(signature,) = jedi.Interpreter("add(", [{"add": add}]).get_signatures()
assert [each.name for each in signature.params] == ["a", "b"]
assert "Add two numbers." in jedi.Interpreter("add", [{"add": add}]).help()[0].docstring()
""",
        1,
        needs=("jedi",),
    ),
)
