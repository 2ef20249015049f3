"""Rows on import statements and on what the import system's own functions do."""

from __future__ import annotations

from tests.import_forms import Row

GW = "away.remote.gw"

ROWS = (
    # ------------------------------------------------------------ statements
    Row(
        "import the package alone",
        """
import away.remote, sys
assert sys.meta_path[-1].__class__.__name__ == "GatewayFinder"
assert "away.connection" not in sys.modules
""",
    ),
    Row("import", "import away.remote.gw; assert away.remote.gw.add(1, 2) == 3", 1, 1),
    Row("import as", "import away.remote.gw as g; assert g.add(a=1, b=2) == 3", 1, 1),
    Row("from package import", "from away.remote import gw; assert gw.add(1, 2) == 3", 1, 1),
    Row(
        "from package import as",
        "from away.remote import gw as g; assert g.__name__ == 'away.remote.gw'",
    ),
    Row("from import", "from away.remote.gw import add; assert add(1, 2) == 3", 1, 1),
    Row("from import as", "from away.remote.gw import add as plus; assert plus(1, 2) == 3", 1, 1),
    Row(
        "from import several",
        """
from away.remote.gw import (add, count as numbers,
                            sum_two_numbers)
assert (add(1, 2), list(numbers(3)), sum_two_numbers(1.0, times=2)) == (3, [0, 1, 2], 6.0)
""",
        1,
        3,
    ),
    Row(
        "from import star",
        """
from away.remote.gw import *
assert add(1, 2) == 3
found = {each for each in globals() if not each.startswith("_")} - {"raises"}
assert found == {"add", "class_", "cafe", "café", "cat", "count", "fail", "later", "match",
                 "my_function", "shapes", "slowly", "sum_two_numbers"}, found
""",
        1,
        1,
    ),
    Row(
        "star twice and a name",
        """
from away.remote.gw import *
kept = add
from away.remote.gw import *
from away.remote.gw import add
assert add is kept
""",
        1,
    ),
    Row(
        "one module whatever the form",
        """
import importlib, sys
import away, away.remote.gw as a
from away.remote import gw as b
c = importlib.import_module("away.remote.gw")
d = __import__("away.remote.gw", fromlist=["__name__"])
assert a is b is c is d is away.remote.gw is sys.modules["away.remote.gw"]
""",
    ),
    Row(
        "importing again is free",
        """
for _ in range(1000):
    import away.remote.gw
    from away.remote.gw import add, count
    from away.remote import gw
""",
        1,
    ),
    Row(
        "in a function",
        """
def f():
    from away.remote.gw import add
    return add(1, 2)
assert f() == f() == 3
""",
        1,
        2,
    ),
    Row(
        "in a class body",
        """
class C:
    from away.remote.gw import add, later as coming
    twice = staticmethod(add)
assert C.add(1, 2) == C.twice(1, 2) == 3
""",
        1,
        2,
    ),
    Row(
        "in a coroutine",
        """
import asyncio
async def f():
    from away.remote.gw import later, slowly
    return await later(2), [each async for each in slowly(3)]
assert asyncio.run(f()) == (2, [0, 1, 2])
""",
        1,
        2,
    ),
    Row(
        "in a generator and a comprehension",
        """
def g():
    from away.remote.gw import add
    yield add
assert len([__import__("away.remote.gw", fromlist=["add"]).add for _ in g()]) == 1
""",
        1,
    ),
    Row(
        "exec and eval",
        """
scope = {}
exec("from away.remote.gw import add as f", scope)
assert eval("f(1, 2)", scope) == 3
assert eval("__import__('away.remote.gw').remote.gw.add") is scope["f"]
""",
        1,
        1,
    ),
    Row(
        "under try with a fallback",
        """
try:
    from away.remote.gw import nope
except ImportError:
    from away.remote.gw import add as nope
assert nope(1, 2) == 3
""",
        1,
        1,
    ),
    Row(
        "under settrace and setprofile",
        """
import sys
sys.settrace(lambda *_: None); sys.setprofile(lambda *_: None)
from away.remote.gw import add
with raises(ImportError, says="has no function 'nope'"):
    from away.remote.gw import nope
sys.settrace(None); sys.setprofile(None)
""",
        2,
    ),
    # ------------------------------------------------------------ functions of the import system
    Row(
        "import_module",
        "import importlib; assert importlib.import_module('away.remote.gw').add(1, 2) == 3",
        1,
        1,
    ),
    Row(
        "import_module relative",
        """
import importlib
assert importlib.import_module(".gw", "away.remote").__name__ == "away.remote.gw"
assert importlib.import_module("..remote.gw", "away.remote").__name__ == "away.remote.gw"
with raises(ModuleNotFoundError, says="functions are no modules", name="away.remote.gw.add"):
    importlib.import_module(".add", "away.remote.gw")
""",
        1,
    ),
    Row("__import__", "assert __import__('away.remote.gw').__name__ == 'away'"),
    Row(
        "__import__ with fromlist",
        """
g = __import__("away.remote.gw", globals(), locals(), ["add", "count"], 0)
assert g.__name__ == "away.remote.gw" and "add" in vars(g) and "count" in vars(g)
""",
        1,
    ),
    Row(
        "__import__ with a star",
        "g = __import__('away.remote.gw', fromlist=['*']); assert 'add' in vars(g)",
        1,
    ),
    Row(
        "__import__ passes over a name that is missing",
        "assert __import__('away.remote.gw', fromlist=['nope']).__name__ == 'away.remote.gw'",
        1,
    ),
    Row(
        "a relative import of a package",
        """
import importlib.util, sys, types
scope = {"__package__": "away.remote", "__name__": "away.remote.mine"}
import away.remote
exec("from .gw import add\\nfrom . import gw", scope)
assert scope["add"](1, 2) == 3 and scope["gw"] is sys.modules["away.remote.gw"]
assert importlib.util.resolve_name(".gw", "away.remote") == "away.remote.gw"
""",
        1,
        1,
    ),
    Row(
        "find_spec of a gateway",
        """
import importlib.util, sys
spec = importlib.util.find_spec("away.remote.gw")
assert spec.name == "away.remote.gw" and spec.parent == "away.remote.gw"
assert len(spec.submodule_search_locations) == 1 and not spec.has_location
assert spec.loader.is_package("away.remote.gw") and spec.loader.get_source("away.remote.gw") is None
assert "away.remote.gw" not in sys.modules and "@" not in spec.origin
assert importlib.util.find_spec(".gw", "away.remote").origin == spec.origin
""",
    ),
    Row(
        "find_spec of a missing gateway",
        "import importlib.util; assert importlib.util.find_spec('away.remote.nogw') is None",
    ),
    Row(
        "find_spec of a function",
        """
import importlib.util
assert importlib.util.find_spec("away.remote.gw._x") is None
assert importlib.util.find_spec("away.remote.gw.add") is None
assert importlib.util.find_spec("away.remote.gw.nope") is None
""",
        2,
    ),
    Row(
        "find_spec of an imported gateway",
        """
import importlib.util, away.remote.gw as g
assert importlib.util.find_spec("away.remote.gw") is g.__spec__
""",
    ),
    Row(
        "find_spec below a missing gateway",
        """
import importlib.util
with raises(ModuleNotFoundError, says="no gateway 'nogw'", name="away.remote.nogw"):
    importlib.util.find_spec("away.remote.nogw.add")
""",
    ),
    Row(
        "PathFinder finds nothing",
        """
import away.remote
from importlib.machinery import PathFinder
assert PathFinder.find_spec("away.remote.gw", away.remote.__path__) is None
""",
    ),
    Row(
        "module_from_spec and exec_module",
        """
import importlib.util, sys
spec = importlib.util.find_spec("away.remote.gw")
made = importlib.util.module_from_spec(spec)
spec.loader.exec_module(made)
assert made.add(1, 2) == 3 and "away.remote.gw" not in sys.modules
""",
        1,
        1,
    ),
    Row(
        "LazyLoader",
        """
import importlib.util, sys
spec = importlib.util.find_spec("away.remote.gw")
loader = importlib.util.LazyLoader(spec.loader)
spec.loader = loader
made = sys.modules["away.remote.gw"] = importlib.util.module_from_spec(spec)
loader.exec_module(made)
assert made.add(1, 2) == 3
from away.remote.gw import add
assert made.add is add
""",
        1,
        1,
    ),
    Row(
        "reload sends nothing and the next name asks",
        """
import importlib, away.remote.gw as g
add = g.add
assert importlib.reload(g) is g
assert g.add is add and add(1, 2) == 3
""",
        2,
        1,
    ),
    Row(
        "reload of the package",
        """
import importlib, away.remote, sys
from away.remote.gw import add
importlib.reload(away.remote)
from away.remote.gw import add as again
assert add is again and sum(type(x).__name__ == "GatewayFinder" for x in sys.meta_path) == 1
""",
        1,
    ),
    Row(
        "invalidate_caches",
        """
import importlib
from away.remote.gw import add
importlib.invalidate_caches()
import away.remote.gw as g
assert "add" in dir(g) and g.add is add and add(1, 2) == 3
""",
        2,
        1,
    ),
    Row(
        "deleted from sys.modules",
        """
import sys
import away.remote.gw as g
from away.remote.gw import add
del sys.modules["away.remote.gw"]
import away.remote.gw as new
from away.remote.gw import add as other
assert new is not g and new.add is other and g.add is add
assert add(1, 2) == other(1, 2) == 3
""",
        1,
        2,
    ),
    Row(
        "all of Away deleted from sys.modules",
        """
import sys
from away.remote.gw import add
for each in [each for each in sys.modules if each.partition(".")[0] == "away"]:
    del sys.modules[each]
from away.remote.gw import add as other
assert add is not other and add(1, 2) == other(1, 2) == 3
""",
        2,
        2,
    ),
    Row(
        "None in sys.modules",
        """
import sys
sys.modules["away.remote.gw"] = None
with raises(ModuleNotFoundError, name="away.remote.gw"):
    import away.remote.gw
""",
    ),
    Row(
        "circular imports",
        """
import first
assert first.total() == first.second.total() == 3
""",
        1,
        2,
        files={
            "first.py": "from away.remote.gw import add\nimport second\ndef total(): return add(1, 2)\n",
            "second.py": "import first\nfrom away.remote.gw import add\n"
            "def total(): return first.add(1, 2)\n",
        },
    ),
    Row(
        "a package that hands on",
        """
from acme import *
from acme import add as again
from acme.models import gw
assert add is again is gw.add and add.__module__ == "away.remote.gw"
""",
        1,
        files={
            "acme/__init__.py": "from away.remote.gw import *\nfrom away.remote.gw import __all__\n",
            "acme/models.py": "from away.remote import gw\n",
        },
    ),
    Row(
        "at the interpreter's end",
        """
import atexit
@atexit.register
def late():
    from away.remote.gw import add
    print("late", add(1, 2))
""",
        1,
        1,
        argv=("-W", "error", "main.py"),
        prints=("late 3",),
    ),
    Row(
        "in a signal handler",
        """
import importlib, signal
import away.remote.gw as g
assert g.add
taken = []
def handler(*_):
    from away.remote.gw import count as inner
    taken.append(inner)
signal.signal(signal.SIGALRM, handler)
importlib.invalidate_caches()
signal.setitimer(signal.ITIMER_REAL, 0.001)
while not taken:
    from away.remote.gw import add
assert add(1, 2) == 3 and list(taken[0](2)) == [0, 1]
""",
        2,
        2,
    ),
    # ------------------------------------------------------------ what the module is
    Row(
        "vars, repr and attributes of a module",
        """
import away.remote.gw as g
import types, os
assert isinstance(g, types.ModuleType)
assert repr(g) == f"<module 'away.remote.gw' (gateway at {os.environ['AWAY_GATEWAY_GW_URL']})>"
assert (g.__package__, len(g.__path__), g.__spec__.name) == ("away.remote.gw", 1, g.__name__)
assert g.__loader__ is g.__spec__.loader and "gateway 'gw'" in g.__doc__
assert not hasattr(g, "__file__") and not hasattr(g, "__wrapped__") and not hasattr(g, "_x")
assert not {"add", "count"} & vars(g).keys()
""",
    ),
    Row(
        "dir",
        """
import away, away.remote.gw as g
assert {"add", "class_", "café", "__name__"} <= set(dir(g))
assert not {"twin_one", "3d", "__getattr__"} & set(dir(g))
assert dir(g) == sorted(dir(g))
assert "gw" in dir(away.remote)
""",
        1,
    ),
    Row(
        "hasattr and getattr with a default",
        """
import away.remote.gw as g
assert hasattr(g, "add") and not hasattr(g, "nope")
assert getattr(g, "nope", 5) == 5
""",
        2,
    ),
    Row(
        "asking for one missing name over and over",
        """
import away.remote.gw as g
for _ in range(10):
    assert getattr(g, "nope", None) is None
""",
        1,
    ),
    Row(
        "setattr and delattr",
        """
import away.remote.gw as g
from away.remote.gw import add
g.mine = g.count = 3
from away.remote.gw import mine, count
assert (mine, count) == (3, 3)
del g.mine, g.count, g.add
assert not hasattr(g, "mine")
from away.remote.gw import count, add as again
assert again is add and list(count(1)) == [0]
""",
        2,
        1,
    ),
    Row(
        "a module is no mapping",
        """
import away.remote.gw as g
with raises(TypeError):
    list(g)
with raises(TypeError):
    "add" in g
with raises(TypeError):
    len(g)
""",
    ),
)
