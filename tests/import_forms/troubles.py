"""Rows on what is not there and on gateways that fail: the error, its words, and what it costs."""

from __future__ import annotations

from tests.import_forms import Row

MISSING = "has no function 'ad'; it has add, cafe,"

ROWS = (
    # ------------------------------------------------------------ functions that are none
    Row(
        "a missing function in a from import",
        f"""
from away.exceptions import FunctionNotFound
with raises(ImportError, FunctionNotFound, says="{MISSING}", name="away.remote.gw") as caught:
    from away.remote.gw import ad
assert caught.error.nearest[:1] == ("add",) and not isinstance(caught.error, ModuleNotFoundError)
""",
        1,
    ),
    Row(
        "a missing function beside one that is there",
        """
with raises(ImportError, says="has no function 'nope'"):
    from away.remote.gw import add, nope
assert "add" not in globals() or add(1, 2) == 3
""",
        2,
        1,
    ),
    Row(
        "a missing attribute",
        f"""
import away.remote.gw as g
with raises(AttributeError, says="{MISSING}", name="ad") as caught:
    g.ad
assert not isinstance(caught.error, ImportError)
""",
        1,
    ),
    Row(
        "an underscore name never asks",
        """
import away.remote.gw as g
for name in ("_x", "__wrapped__", "__file__", "_repr_html", "_ipython_canary_method"):
    with raises(AttributeError, name=name):
        getattr(g, name)
with raises(ImportError):
    from away.remote.gw import _x
""",
    ),
    Row(
        "a function is no module",
        """
with raises(ModuleNotFoundError, says="functions are no modules", name="away.remote.gw.add"):
    import away.remote.gw.add
with raises(ModuleNotFoundError, name="away.remote.gw.add"):
    from away.remote.gw.add import x
with raises(ModuleNotFoundError, name="away.remote.gw.nope"):
    import away.remote.gw.nope
with raises(ModuleNotFoundError, name="away.remote.gw._x"):
    import away.remote.gw._x
""",
        2,
    ),
    Row(
        "a traceback that is printed asks nothing",
        """
import sys, traceback
import away.remote.gw as g
for form in ("g.ad", "from away.remote.gw import ad", "import away.remote.nogw", "g._x"):
    try:
        exec(form)
    except Exception as error:
        assert "Did you mean" not in "".join(traceback.format_exception(error))
""",
        1,
    ),
    # ------------------------------------------------------------ gateways that are none
    Row(
        "import of a missing gateway",
        """
from away.exceptions import UnknownGateway
with raises(ModuleNotFoundError, UnknownGateway, says="AWAY_GATEWAY_NOGW_URL",
            name="away.remote.nogw"):
    import away.remote.nogw
""",
    ),
    Row(
        "from package import of a missing gateway",
        """
with raises(ModuleNotFoundError, says="configured are gw, default", name="away.remote.nogw"):
    from away.remote import nogw
""",
    ),
    Row(
        "from import of a missing gateway",
        """
with raises(ModuleNotFoundError, says="no gateway 'nogw' is configured", name="away.remote.nogw"):
    from away.remote.nogw import f
""",
    ),
    Row(
        "import_module and __import__ of a missing gateway",
        """
import importlib
for ask in (importlib.import_module, __import__):
    with raises(ModuleNotFoundError, says="no gateway 'nogw'", name="away.remote.nogw"):
        ask("away.remote.nogw")
assert __import__("away.remote", fromlist=["nogw"]).__name__ == "away.remote"
""",
    ),
    Row(
        "a missing gateway as an attribute",
        """
import away.remote
with raises(AttributeError, says="no gateway 'nogw'"):
    away.remote.nogw
with raises(AttributeError, says="write import away.remote.gw"):
    away.remote.gw
assert not hasattr(away.remote, "nogw") and getattr(away.remote, "nogw", 1) == 1
""",
    ),
    Row(
        "a gateway in capitals",
        """
with raises(ModuleNotFoundError, says="lower-case: import away.remote.gw"):
    import away.remote.GW
""",
    ),
    Row(
        "the embedded gateway that does not run",
        """
with raises(ModuleNotFoundError, says="away up", name="away.remote.local"):
    from away.remote.local import f
""",
    ),
    Row(
        "a configuration that cannot be read",
        """
from away.exceptions import ConfigError
for form in ("import away.remote.shop", "from away.remote import shop",
             "from away.remote.shop import f"):
    with raises(ImportError, ConfigError, says="away.toml") as caught:
        exec(form)
    assert not isinstance(caught.error, ModuleNotFoundError)
import pkgutil, away.remote
assert 'shop' not in [each.name for each in pkgutil.iter_modules(away.remote.__path__)]
""",
        files={"away.toml": "[gateways.shop\n"},
    ),
    # ------------------------------------------------------------ gateways that fail
    Row(
        "a gateway that nobody listens for",
        """
import time
from away.exceptions import GatewayUnreachable
import away.remote.gw as g
started = time.monotonic()
for form in ("from away.remote.gw import f", "from away.remote.gw import *", "g.f", "dir(g)",
             "hasattr(g, 'f')", "g['f']"):
    with raises(ImportError, GatewayUnreachable, says="127.0.0.1:1", name="away.remote.gw"):
        exec(form)
""",
        env={"AWAY_GATEWAY_GW_URL": "http://127.0.0.1:1", "AWAY_GATEWAY_GW_CONNECT_TIMEOUT": "0.1"},
    ),
    Row(
        "a login that is refused",
        """
from away.exceptions import AuthenticationRefused
with raises(ImportError, AuthenticationRefused, name="away.remote.gw"):
    from away.remote.gw import add
""",
        1,
        env={"AWAY_GATEWAY_GW_PASSWORD": "an-odd-wrong-password-of-the-table"},
    ),
    Row(
        "a path where no gateway is",
        """
from away.exceptions import GatewayError
with raises(ImportError, GatewayError, says="404", name="away.remote.gw"):
    from away.remote.gw import add
""",
        1,
        env={"AWAY_GATEWAY_GW_URL": "{nowhere}"},
    ),
    Row(
        "an error of an import survives pickling",
        """
import pickle
with raises(ImportError) as caught:
    from away.remote.gw import nope
again = pickle.loads(pickle.dumps(caught.error))
assert (str(again), again.name, again.nearest) == (
    str(caught.error), "away.remote.gw", caught.error.nearest)
""",
        1,
    ),
    Row(
        "a function's own error",
        """
from away.remote.gw import fail
with raises(ZeroDivisionError, says="division by zero"):
    fail()
with raises(TypeError, says="takes 0 positional arguments but 1 was given"):
    fail(1)
""",
        1,
        1,
    ),
)
