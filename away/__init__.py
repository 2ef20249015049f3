"""Call, import and publish OpenFaaS functions as if they were local.

Public names are resolved on first use (PEP 562), so that ``import away`` costs next to nothing and
pulls in neither an HTTP client nor a parser. Inside a published function's container, where the
environment has ``AWAY_RUNTIME=1``, ``builder`` and ``FaasConnection`` are stand-ins: a module that
publishes functions can be imported there without publishing anything again.
"""

from __future__ import annotations

import os

# Type checkers read it as True; importing it from typing would cost most of `import away`.
TYPE_CHECKING = False

__version__ = "0.1.0"

__all__ = [
    "Executor",
    "FaasConnection",
    "RemoteFunction",
    "__version__",
    "builder",
    "config",
    "configure",
    "exceptions",
    "gateway",
    "hooks",
    "protocol",
    "secret",
    "testing",
]

if TYPE_CHECKING:
    from away import builder as builder
    from away import config as config
    from away import exceptions as exceptions
    from away import gateway as gateway
    from away import hooks as hooks
    from away import placement as placement
    from away import protocol as protocol
    from away import publish as publish
    from away import remote as remote
    from away import testing as testing
    from away.config import configure as configure
    from away.connection import FaasConnection as FaasConnection
    from away.executor import Executor as Executor
    from away.functions import RemoteFunction as RemoteFunction
    from away.secrets import secret as secret

# public name → (module, attribute; "" for the module itself); those that are not in __all__ are
# packages to be named by ``away.…``, which a star import leaves alone.
_HOMES = {
    "Executor": ("away.executor", "Executor"),
    "FaasConnection": ("away.connection", "FaasConnection"),
    "RemoteFunction": ("away.functions", "RemoteFunction"),
    "builder": ("away.builder", ""),
    "config": ("away.config", ""),
    "configure": ("away.config", "configure"),
    "exceptions": ("away.exceptions", ""),
    "gateway": ("away.gateway", ""),
    "hooks": ("away.hooks", ""),
    "placement": ("away.placement", ""),
    "protocol": ("away.protocol", ""),
    "publish": ("away.publish", ""),
    "remote": ("away.remote", ""),
    "secret": ("away.secrets", "secret"),
    "testing": ("away.testing", ""),
}
_STAND_INS = {
    "FaasConnection": ("away.runtime.standins", "FaasConnection"),
    "builder": ("away.runtime.standins", "builder"),
    "configure": ("away.runtime.standins", "configure"),
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'away' has no attribute {name!r}")
    inside = os.environ.get("AWAY_RUNTIME") == "1"
    if inside:
        home = _STAND_INS.get(name, home)
    import importlib

    try:
        module = importlib.import_module(home[0])
    except (ImportError, AttributeError) as error:
        # Not packed itself, or in need of a room that is not.
        missing = error.name or "" if isinstance(error, ModuleNotFoundError) else ""
        if inside and missing.startswith("away."):
            from away.runtime.standins import Absent

            return Absent(name)
        from away.hidden_modules import refuse_if_hidden

        refuse_if_hidden()
        raise
    value: object = getattr(module, home[1]) if home[1] else module
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_HOMES})
