"""Rows on the functions themselves: what tools of the standard library see of one, and keep of it."""

from __future__ import annotations

from tests.import_forms import Row

ROWS = (
    Row(
        "help of a function",
        """
import contextlib, io
from away.remote.gw import add, later
with contextlib.redirect_stdout(io.StringIO()) as said:
    help(add)
    help(later)
text = said.getvalue()
assert "add(a: int, b: int) -> int" in text and "Add two numbers." in text
assert "async later(a: int) -> int" in text and "in module away.remote.gw" in text
""",
        1,
    ),
    Row(
        "help of a module",
        """
import contextlib, io
import away.remote.gw
with contextlib.redirect_stdout(io.StringIO()) as said:
    help(away.remote.gw)
    help("away.remote.gw")
    help("away.remote.gw.add")
text = said.getvalue()
assert text.count("FUNCTIONS") == 2 and "add(a: int, b: int) -> int" in text
assert "__getattr__" not in text and "DATA" not in text
assert "sum_two_numbers(a: float, b: float = 2.0, *, times: int = 1) -> float" in text
""",
        1,
    ),
    Row(
        "pydoc.locate",
        """
import pydoc
assert pydoc.locate("away.remote.gw").__name__ == "away.remote.gw"
assert pydoc.locate("away.remote.gw.add").__name__ == "add"
assert pydoc.locate("away.remote.gw.nope") is None and pydoc.locate("away.remote.nogw") is None
""",
        2,
    ),
    Row(
        "pydoc as HTML",
        """
import pydoc, away.remote, away.remote.gw as g
page = pydoc.HTMLDoc().document(g)
assert "Add&nbsp;two&nbsp;numbers." in page and "later" in page
assert "gw" in pydoc.HTMLDoc().document(away.remote)
pydoc.writedoc("away.remote.gw")
""",
        1,
    ),
    Row(
        "python -m pydoc of a gateway",
        argv=("-m", "pydoc", "away.remote.gw"),
        lists=1,
        prints=("FUNCTIONS", "add(a: int, b: int) -> int", "Add two numbers."),
    ),
    Row(
        "python -m pydoc of a function",
        argv=("-m", "pydoc", "away.remote.gw.later"),
        lists=1,
        prints=("async away.remote.gw.later = later(a: int) -> int", "Give a number later."),
    ),
    Row(
        "python -m pydoc of the package",
        argv=("-m", "pydoc", "away.remote"),
        prints=("PACKAGE CONTENTS", "gw (package)", "default (package)"),
    ),
    Row(
        "python -m pydoc of what is missing",
        argv=("-m", "pydoc", "away.remote.gw.nope"),
        lists=1,
        prints=("No Python documentation found for 'away.remote.gw.nope'",),
        status=1,
    ),
    # ------------------------------------------------------------ inspect and typing
    Row(
        "inspect.signature and what binds by it",
        """
import inspect
from away.remote.gw import add, cat, sum_two_numbers
assert str(inspect.signature(add)) == "(a: int, b: int) -> int"
assert str(inspect.signature(sum_two_numbers)) == (
    "(a: float, b: float = 2.0, *, times: int = 1) -> float")
assert inspect.signature(add).bind(1, b=2).arguments == {"a": 1, "b": 2}
assert inspect.getfullargspec(sum_two_numbers).kwonlydefaults == {"times": 1}
assert inspect.getcallargs(add, 1, 2) == {"a": 1, "b": 2}
assert str(inspect.signature(cat)) == "(*args, **kwargs)"
""",
        1,
    ),
    Row(
        "wrong arguments send nothing",
        """
from away.remote.gw import add
for wrong in (lambda: add(1), lambda: add(1, 2, 3), lambda: add(1, c=2)):
    with raises(TypeError, says="add()"):
        wrong()
""",
        1,
    ),
    Row(
        "inspect.getdoc and what comments there are",
        """
import inspect
import away.remote.gw as g
assert inspect.getdoc(g.add).startswith("Add two numbers.\\n\\n>>> add(1, 2)")
assert inspect.getdoc(g).startswith("The functions of the gateway 'gw'")
assert inspect.getdoc(g.cat) is None and inspect.getcomments(g.add) is None
""",
        1,
    ),
    Row(
        "inspect's kinds",
        """
import asyncio, inspect, warnings
import away.remote.gw as g
warnings.simplefilter("ignore", DeprecationWarning)
kinds = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
for name, is_kind in zip(("later", "count", "slowly"), kinds):
    assert [each(getattr(g, name)) for each in kinds] == [each is is_kind for each in kinds]
assert asyncio.iscoroutinefunction(g.later) and inspect.isroutine(g.add) and callable(g.add)
assert inspect.ismodule(g) and inspect.getmodule(g.add) is g and inspect.unwrap(g.add) is g.add
assert not inspect.isclass(g.add) and not inspect.isbuiltin(g.add)
made = g.later(1)
assert inspect.isawaitable(made) and inspect.iscoroutine(made)
made.close()
""",
        1,
    ),
    Row(
        "inspect.getmembers",
        """
import inspect
import away.remote.gw as g
found = dict(inspect.getmembers(g, inspect.isroutine))
assert {"add", "café", "class_", "slowly"} <= found.keys() and found["add"] is g.add
members = dict(inspect.getmembers(g.add))
assert members["__name__"] == "add" and members["__doc__"].startswith("Add")
assert inspect.getmembers_static(g, inspect.isclass) == []
""",
        1,
    ),
    Row(
        "inspect.getattr_static asks nothing",
        """
import inspect
import away.remote.gw as g
with raises(AttributeError):
    inspect.getattr_static(g, "add")
""",
    ),
    Row(
        "inspect.getsource and getfile",
        """
import inspect
import away.remote.gw as g
for ask in (inspect.getsource, inspect.getfile, inspect.getsourcefile, inspect.getsourcelines):
    with raises(TypeError):
        ask(g.add)
    with raises(TypeError, says="built-in module"):
        ask(g)
""",
        1,
    ),
    Row(
        "typing.get_type_hints",
        """
import inspect, typing
from away.remote.gw import add, cat
import away.remote.gw as g
assert typing.get_type_hints(add) == {"a": int, "b": int, "return": int}
assert typing.get_type_hints(cat) == {} == typing.get_type_hints(g)
assert inspect.get_annotations(add) == {"a": int, "b": int, "return": int}
""",
        1,
    ),
    # ------------------------------------------------------------ functools and friends
    Row(
        "functools.wraps",
        """
import functools, inspect
from away.remote.gw import add
@functools.wraps(add)
def mine(*args, **kwargs):
    return add(*args, **kwargs)
assert (mine.__name__, mine.__module__, mine.__wrapped__) == ("add", "away.remote.gw", add)
assert inspect.signature(mine) == inspect.signature(add) and mine(1, 2) == 3
""",
        1,
        1,
    ),
    Row(
        "functools.partial, reduce and map",
        """
import functools, operator
from away.remote.gw import add
assert functools.partial(add, 1)(2) == 3 and functools.reduce(add, [1, 2, 3]) == 6
assert list(map(add, [1, 2], [3, 4])) == [4, 6] and operator.call(add, 1, 1) == 2
assert functools.partialmethod(add, 1)
""",
        1,
        6,
    ),
    Row(
        "functools.lru_cache",
        """
import functools
from away.remote.gw import add
kept = functools.lru_cache(add)
assert kept(1, 2) == kept(1, 2) == 3 and kept.__name__ == "add"
assert kept.cache_info().hits == 1
""",
        1,
        1,
    ),
    Row(
        "functools.singledispatch",
        """
import functools
from away.remote.gw import cat, add
shown = functools.singledispatch(cat)
shown.register(int, lambda value: "local")
@shown.register
def _(value: float): return "float"
assert (shown("text"), shown(1), shown(1.0), shown.__name__) == ("text", "local", "float", "cat")
generic = functools.singledispatch(lambda *a: "other")
generic.register(int, add)
assert generic(1, 2) == 3
""",
        1,
        2,
    ),
    Row(
        "a method, a static and a class method",
        """
from away.remote.gw import add
class Number(int):
    plus = add
    static = staticmethod(add)
    cached = property(add)
assert Number.plus(1, 2) == Number.static(1, 2) == 3
with raises(TypeError, says="add()"):
    Number(1).plus()
""",
        1,
        2,
    ),
    Row(
        "identity, hash, weak references",
        """
import weakref
import away.remote.gw as g
from away.remote.gw import add
assert g.add is add and add == add and hash(add) == hash(g.add) and {add: 1}[g.add] == 1
assert weakref.ref(add)() is add and bool(add) and add != g.count
assert "add" in repr(add) and str(add) == repr(add) == f"{add}"
assert weakref.proxy(g).add is add
""",
        1,
    ),
    Row(
        "dis",
        """
import contextlib, dis, io
from away.remote.gw import add
with contextlib.redirect_stdout(io.StringIO()):
    dis.dis(add)
""",
        1,
    ),
    # ------------------------------------------------------------ copies and pickles
    Row(
        "copy and deepcopy",
        """
import copy
import away.remote.gw as g
from away.remote.gw import add
assert copy.copy(add) is copy.deepcopy(add) is add
assert copy.deepcopy({"f": [add, g]}) == {"f": [add, g]}
assert copy.copy(g) is copy.deepcopy(g) is g
""",
        1,
    ),
    Row(
        "pickle by reference, every protocol",
        """
import pickle, os
import away.remote.gw as g
from away.remote.gw import add, later
for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
    data = pickle.dumps((add, later, g), protocol)
    assert os.environ["AWAY_GATEWAY_GW_PASSWORD"].encode() not in data
    again = pickle.loads(data)
    assert again[2] is g and again[0](1, 2) == 3
    assert again[1].kind == "async" and again[0].function_name == "add"
""",
        1,
        6,
    ),
    Row(
        "dill of functions that use the module",
        """
import dill, os
import away.remote.gw as g
from away.remote.gw import add
def by_module(n): return g.add(n, n)
def by_name(n): return add(n, n)
for recurse in (False, True):
    for function in (by_module, by_name):
        data = dill.dumps(function, recurse=recurse)
        assert os.environ["AWAY_GATEWAY_GW_PASSWORD"].encode() not in data
        assert dill.loads(data)(2) == 4
""",
        1,
        4,
    ),
    Row(
        "cloudpickle of functions that use the module",
        """
import cloudpickle, os, subprocess, sys
import away.remote.gw as g
from away.remote.gw import add
def by_module(n): return g.add(n, n)
def by_name(n): return add(n, n)
def by_import(n):
    from away.remote.gw import my_function
    return my_function(n, n)
data = cloudpickle.dumps([by_module, by_name, by_import])
assert os.environ["AWAY_GATEWAY_GW_PASSWORD"].encode() not in data and len(data) < 5000
code = f"import pickle; print([each(2) for each in pickle.loads({data!r})])"
said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
assert said.stdout == "[4, 4, 4]\\n", said
""",
        2,
        3,
        needs=("cloudpickle",),
    ),
    Row(
        "shelve and copyreg",
        """
import shelve
from away.remote.gw import add
with shelve.open("kept") as shelf:
    shelf["add"] = add
with shelve.open("kept") as shelf:
    assert shelf["add"](1, 2) == 3
""",
        1,
        1,
    ),
)
