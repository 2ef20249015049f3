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
