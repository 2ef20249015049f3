"""Gateway modules: the loader, and the module ``away.remote.<gateway>``.

A module is made without a request, since the import system holds locks meanwhile. What it gives out,
and when the gateway is asked for it, is :mod:`away.hooks.contents`' business.
"""

from __future__ import annotations

import importlib
import sys
import types
from importlib.machinery import ModuleSpec
from typing import TYPE_CHECKING, Any

from away.config import invalidate, names, resolve
from away.exceptions import ConfigError, UnknownGateway
from away.hooks.contents import OWNER, GatewayFunctions
from away.hooks.entries import path_of
from away.hooks.errors import (
    GatewayImportError,
    GatewayNotConfigured,
    as_import_error,
)
from away.hooks.finder import PREFIX
from away.names import nearest

if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.abc import InspectLoader
    from types import ModuleType

    from away.connection.catalogue import FunctionInfo
    from away.hooks.local_side import LocalSide
else:
    # Nobody asks whether a loader is one, and importing importlib.abc takes milliseconds (3.11).
    InspectLoader = object

__all__ = [
    "GatewayLoader",
    "GatewayModule",
    "find",
    "forget_all",
    "functions_of",
    "gateway_module",
    "why_absent",
]

# away.remote.aio.GATEWAY gives coroutine functions: no gateway has this name.
AIO = "aio"


class GatewayModule(types.ModuleType):
    """The functions of one gateway: attributes of a module, or ``module['its-own-name']``.

    Without a ``__getattr__`` in the class: the one in the module's dictionary (PEP 562) leaves
    reading an attribute that is there three times faster.
    """

    def __getitem__(self, name: str) -> Any:
        """Return the function or module of exactly this name, or the one that the Python name means.

        Raises:
            FunctionNotFound: The gateway has none.
            ImportError: The list of functions cannot be had; see :func:`away.hooks.load`.
        """
        return functions_of(self).item(name)

    def __repr__(self) -> str:
        origin = self.__spec__.origin if self.__spec__ else None
        return f"<module {self.__name__!r} (gateway at {origin})>"

    def _repr_html_(self) -> str:
        """Show the functions in a notebook, as a table."""
        from away.notebook import module_html

        return module_html(self.__name__, self.__spec__, functions_of(self))

    def _ipython_key_completions_(self) -> list[str]:
        """List what can stand between the brackets, for a notebook's tab key."""
        from away.notebook import keys_of

        return keys_of(functions_of(self))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle to the module's name, so that a captured function may use the module."""
        reference = getattr(self.__loader__, "reference", None)
        return reference or (importlib.import_module, (self.__name__,))


class GatewayLoader(InspectLoader):
    """Makes a gateway's module, without a request.

    Args:
        gateway: The gateway's configured name.
        aio: Whether the module gives coroutine functions of all functions.
        select: Which of the gateway's functions it has; all, if it is left out.
        local: The local module that stands behind it, if one does.
        reference: What the module pickles to, where its name alone does not do.
    """

    def __init__(
        self,
        gateway: str,
        *,
        aio: bool = False,
        select: Callable[[FunctionInfo], bool] | None = None,
        local: LocalSide | None = None,
        reference: tuple[Any, ...] | None = None,
    ) -> None:
        self.gateway = gateway
        self.aio = aio
        self.select = select
        self.local = local
        self.reference = reference

    def create_module(self, spec: ModuleSpec) -> GatewayModule:
        """Return the empty module."""
        return GatewayModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Give the module its ``__getattr__`` and ``__dir__``; after a reload, forget the list."""
        content = module.__dict__
        owner = content.get(OWNER)
        if owner is None:
            content[OWNER] = owner = GatewayFunctions(
                self.gateway,
                content,
                module_name=module.__name__,
                aio=self.aio,
                select=self.select,
                local=self.local,
            )
        else:
            owner.start_anew()
        content["__getattr__"] = owner.attribute
        content["__dir__"] = owner.names
        spec = module.__spec__
        module.__doc__ = (
            f"The functions of the gateway {self.gateway!r}"
            f" at {spec.origin if spec else 'an unknown URL'}."
        )

    def is_package(self, fullname: str) -> bool:  # noqa: ARG002 - the import system's signature
        """Say yes: importing a name from a package is the faster way (and namespaces may come)."""
        return True

    def get_source(self, fullname: str) -> None:
        """Say that there is no source, for linecache, pdb and the like."""

    def get_code(self, fullname: str) -> types.CodeType:
        """Refuse: there is nothing to run as a program."""
        raise ImportError(f"{fullname} is a gateway, nothing to run; import it", name=fullname)


def find(fullname: str, *, only_asked: bool) -> ModuleSpec | None:
    """Return the spec of ``away.remote.<gateway>``, or of ``away.remote.aio.<gateway>``.

    Args:
        fullname: The module's full name.
        only_asked: True to give None where an import would be told why there is none.

    Raises:
        GatewayNotConfigured: No gateway of that name is configured, or it is not running.
        ImportError: The configuration cannot be read.
    """
    gateway, _, rest = fullname.removeprefix(PREFIX).partition(".")
    aio = gateway == AIO and rest != ""
    if aio:
        gateway, _, rest = rest.partition(".")
    if rest:
        return find_below(fullname, only_asked=only_asked)
    return spec_of(fullname, GatewayLoader(gateway, aio=aio), only_asked=only_asked)


def spec_of(fullname: str, loader: GatewayLoader, *, only_asked: bool) -> ModuleSpec | None:
    """Return the spec of a gateway's module, under whatever name.

    Raises:
        GatewayNotConfigured: The gateway is not configured, or not running.
        ImportError: The configuration cannot be read.
    """
    gateway = loader.gateway
    try:
        url = resolve(gateway).url
    except UnknownGateway as error:
        if only_asked:
            return None
        # It says all that the first one said, and who imports has no use for a second traceback.
        raise _unknown(error, gateway, fullname) from None
    except ConfigError as error:
        raise as_import_error(error, fullname) from None
    # The URL as origin is what repr shows. Without has_location: a __file__ would make pickling
    # libraries take the module's whole content along, a connection included.
    spec = ModuleSpec(fullname, loader, origin=url, is_package=True)
    spec.submodule_search_locations = [path_of(fullname)]
    return spec


def forget_all() -> None:
    """Forget the configuration that was read and the lists of all imported gateways."""
    invalidate()
    for module in list(sys.modules.values()):
        if isinstance(module, GatewayModule):
            functions_of(module).forget()


def functions_of(module: GatewayModule) -> GatewayFunctions:
    """Return the owner of a gateway module's functions."""
    owner = module.__dict__[OWNER]
    assert isinstance(owner, GatewayFunctions), "the loader put it there"
    return owner


def gateway_module(gateway: str) -> GatewayModule:
    """Import the module of a gateway, or of a mount.

    Raises:
        ImportError: There is none, or the name is that of a module of Away's own.
    """
    mounts = sys.modules.get("away.hooks.mounts")
    is_mounted = mounts is not None and mounts.is_mounted(gateway)
    module = importlib.import_module(gateway if is_mounted else PREFIX + gateway)
    if not isinstance(module, GatewayModule):
        above, _, below = gateway.rpartition(".")
        what = (
            f"the module {below!r} of the gateway {above!r}; load {above!r}, whose list has it"
            if above
            else "a module of Away, not a gateway"
        )
        raise GatewayNotConfigured(f"{PREFIX}{gateway} is {what}", name=PREFIX + gateway)
    return module


def why_absent(fullname: str) -> ImportError | None:
    """Return why ``away.remote.NAME`` cannot be imported, or None where it can."""
    if fullname == PREFIX + AIO:
        return None  # a package of Away's own
    try:
        find(fullname, only_asked=False)
    except ImportError as error:
        return error
    return None


def find_below(fullname: str, *, only_asked: bool) -> ModuleSpec | None:
    """Return the spec of a module that was published whole, below its gateway's.

    Args:
        fullname: The module's full name.
        only_asked: True to give None where an import would be told why there is none.

    Raises:
        ModuleNotListed: The gateway has no such module; a ModuleNotFoundError, since ``from gw import
            nope`` looks for one on its way, and the import system passes over exactly this.
        ImportError: The list of functions cannot be had.
    """
    name, _, below = fullname.rpartition(".")
    parent = sys.modules.get(name)
    # No function's name begins so: tools look for it, such as runpy for __main__.
    if not isinstance(parent, GatewayModule) or below.startswith("_"):
        return None
    from away.hooks import submodules

    try:
        return submodules.find(functions_of(parent), fullname)
    except ModuleNotFoundError:
        if only_asked:
            return None
        raise


def _unknown(error: UnknownGateway, gateway: str, fullname: str) -> GatewayImportError:
    """Say which gateways there are, the nearest first, where the name could be one."""
    converted = as_import_error(error, fullname)
    if gateway != "local" and gateway.isidentifier():
        known = names()
        meant = gateway.lower()
        there = ", ".join(dict.fromkeys([*nearest(meant, known), *known]))
        if meant == gateway:
            why, variable = "configure it", f"AWAY_GATEWAY_{gateway.upper()}_URL"
        elif meant in known:
            package = fullname.rpartition(".")[0] if fullname.startswith(PREFIX) else PREFIX[:-1]
            why, variable = f"gateways' names are lower-case: import {package}.{meant}", ""
        else:
            why = f"gateways' names are lower-case: configure {meant!r}"
            variable = f"AWAY_GATEWAY_{gateway.upper()}_URL"
        by = f" by {variable} or in a TOML file" if variable else ""
        near = nearest(meant, [*known, "local"], most=1)
        local = "; did you mean 'local', the gateway of 'away up'?" if near == ["local"] else ""
        converted.msg = (
            f"no gateway {gateway!r} is configured; configured are {there}; {why}{by}{local}"
        )
        converted.args = (converted.msg,)
    return converted
