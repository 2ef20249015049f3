"""Rows on names: what a function is called in Python, and by which configuration a gateway is found."""

from __future__ import annotations

from tests.import_forms import Row

ROWS = (
    Row(
        "dashes by underscores",
        "from away.remote.gw import my_function as f; assert f.function_name == 'my-function'"
        " and f.__name__ == 'my_function' and f(1, 2) == 3",
        1,
        1,
    ),
    Row(
        "a keyword by a trailing underscore",
        "from away.remote.gw import class_; assert class_.function_name == 'class'"
        " and class_(1, 2) == 3",
        1,
        1,
    ),
    Row("a soft keyword", "from away.remote.gw import match; assert match(1, 2) == 3", 1, 1),
    Row(
        "a name that is not ASCII",
        """
from away.remote.gw import café
import away.remote.gw as g
assert getattr(g, "cafe\\N{COMBINING ACUTE ACCENT}") is café is g["cafe"]
assert café.__name__ == "café" and café(1, 2) == 3
""",
        1,
        1,
    ),
    Row(
        "by item",
        """
import away.remote.gw as g
from away.exceptions import FunctionNotFound
assert g["my-function"] is g.my_function is g["my_function"]
assert g["3d"]("x") == "x" and g["class"] is g.class_
with raises(FunctionNotFound, says="has no function 'my-functoin'"):
    g["my-functoin"]
with raises(TypeError, says="a function's name is a text"):
    g[0]
""",
        2,
        1,
    ),
    Row(
        "a collision names both",
        """
import away.remote.gw as g
from away.exceptions import NameRefused
with raises(ImportError, NameRefused, says="twin-one, twin_one", name="away.remote.gw"):
    from away.remote.gw import twin_one
with raises(ImportError, says="gw['twin-one'] and gw['twin_one']"):
    g.twin_one
assert g["twin-one"].function_name == "twin-one" and g["twin_one"].function_name == "twin_one"
assert "twin_one" not in g.__all__
""",
        1,
    ),
    Row(
        "a function of others",
        "from away.remote.gw import cat; assert cat('x') == 'x' and cat.description is None",
        1,
        1,
    ),
    # ------------------------------------------------------------ modules published whole
    Row(
        "a module below a gateway",
        """
import away, away.remote.gw.shapes as shapes, sys
from away.remote.gw import shapes as again
from away.remote.gw.shapes import add, SIDES
assert shapes is again is sys.modules["away.remote.gw.shapes"] is away.remote.gw["shapes"]
assert shapes.add is add and add(1, 2) == 3 and SIDES == 4 and "Know of" in shapes.__doc__
assert {"add", "later", "SIDES"} <= set(dir(shapes))
""",
        1,
        1,
    ),
    Row(
        "a module below a gateway by importlib",
        """
import importlib, importlib.util
assert importlib.util.find_spec("away.remote.gw.shapes").name == "away.remote.gw.shapes"
assert importlib.import_module(".shapes", "away.remote.gw").add(1, 2) == 3
""",
        1,
        1,
    ),
    Row(
        "what a module below a gateway lacks",
        """
with raises(ImportError, says="nope", name="away.remote.gw.shapes"):
    from away.remote.gw.shapes import nope
with raises(ModuleNotFoundError, says="its modules are shapes", name="away.remote.gw.shape"):
    import away.remote.gw.shape
""",
        3,
    ),
    Row(
        "modules below a gateway are listed",
        """
import pkgutil, pydoc, away.remote.gw as g
walked = [each.name for each in pkgutil.walk_packages(g.__path__, "away.remote.gw.")]
assert walked == ["away.remote.gw.shapes"], walked
assert "PACKAGE CONTENTS\\n    shapes" in pydoc.plain(pydoc.render_doc(g))
import away.remote
assert "away.remote.gw.shapes" in [
    each.name for each in pkgutil.walk_packages(away.remote.__path__, "away.remote.")]
""",
        1,
    ),
    Row(
        "a pickled function of a module below a gateway",
        """
import pickle
from away.remote.gw.shapes import add
import away.remote.gw.shapes as shapes
assert pickle.loads(pickle.dumps(add))(1, 2) == 3
assert pickle.loads(pickle.dumps(shapes)) is shapes
""",
        1,
        1,
    ),
    # ------------------------------------------------------------ coroutine functions of all
    Row(
        "coroutine functions",
        """
import asyncio, away.remote.aio.gw as g, inspect
from away.remote.aio.gw import add, count
from away.remote.aio import gw
async def use():
    return await add(1, 2), [each async for each in count(2)]
assert asyncio.run(use()) == (3, [0, 1]) and gw is g and g.add is add
assert inspect.iscoroutinefunction(add) and inspect.isasyncgenfunction(count)
""",
        1,
        2,
    ),
    Row(
        "find_spec of coroutine modules",
        """
import importlib.util, pkgutil, away.remote.aio
assert importlib.util.find_spec("away.remote.aio.gw").name == "away.remote.aio.gw"
assert importlib.util.find_spec("away.remote.aio.nogw") is None
assert "gw" in [each.name for each in pkgutil.iter_modules(away.remote.aio.__path__)]
with raises(ModuleNotFoundError, says="no gateway 'nogw'", name="away.remote.aio.nogw"):
    from away.remote.aio import nogw
""",
    ),
    Row(
        "a gateway mounted under a name of one's own",
        """
import away
away.hooks.mount("gw", "acme.models")
from acme.models import add
import acme.models as models
assert models.add is add and add(1, 2) == 3 and add.__module__ == "acme.models"
with raises(ImportError, says="has no function 'nope'", name="acme.models"):
    from acme.models import nope
""",
        2,
        1,
    ),
    # ------------------------------------------------------------ configuration
    Row(
        "configured by the program",
        """
import away, os
away.configure("other", url=os.environ["AWAY_GATEWAY_GW_URL"],
               password=os.environ["AWAY_GATEWAY_GW_PASSWORD"])
from away.remote.other import add
assert add(1, 2) == 3 and add.__module__ == "away.remote.other"
""",
        1,
        1,
    ),
    Row(
        "configured by the project's file",
        "from away.remote.shop import add; assert add(1, 2) == 3",
        1,
        1,
        files={"away.toml": '[gateways.shop]\nurl = "{url}"\n'},
        env={"AWAY_GATEWAY_SHOP_PASSWORD": "{password}"},
    ),
    Row(
        "configured after it was missing",
        """
import importlib, os
with raises(ModuleNotFoundError):
    import away.remote.fresh
os.environ["AWAY_GATEWAY_FRESH_URL"] = os.environ["AWAY_GATEWAY_GW_URL"]
os.environ["AWAY_GATEWAY_FRESH_PASSWORD"] = os.environ["AWAY_GATEWAY_GW_PASSWORD"]
from away.remote.fresh import add
assert add(1, 2) == 3
""",
        1,
        1,
    ),
    Row(
        "the configuration changed between",
        """
import importlib, os
from away.remote.gw import add
import away.remote.gw as g
old = os.environ["AWAY_GATEWAY_GW_URL"]
os.environ["AWAY_GATEWAY_GW_URL"] = old + "/moved"
assert add(1, 2) == 3
importlib.reload(g)
with raises(ImportError, says="/moved"):
    g.count
os.environ["AWAY_GATEWAY_GW_URL"] = old
importlib.reload(g)
assert g.add is add and add(1, 2) == 3
""",
        3,
        2,
    ),
    Row(
        "a gateway that is taken away",
        """
import os
from away.remote.gw import add
for each in [each for each in os.environ if each.startswith("AWAY_GATEWAY_GW_")]:
    del os.environ[each]
import importlib
importlib.invalidate_caches()
from away.remote.gw import add as again
assert again is add and add(1, 2) == 3
with raises(ImportError, says="no gateway is called 'gw'"):
    from away.remote.gw import count
""",
        1,
        1,
    ),
    Row(
        "two gateways side by side",
        """
from away.remote.gw import add
from away.remote.other import add as other
assert add is not other and add.connection is not other.connection
assert add(1, 2) == other(1, 2) == 3
""",
        1,
        2,
        env={"AWAY_GATEWAY_OTHER_URL": "{url}", "AWAY_GATEWAY_OTHER_PASSWORD": "{password}"},
    ),
)
