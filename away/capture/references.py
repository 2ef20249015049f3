"""Which other remote functions a function calls, where its code is packed and not pickled.

The code of packed modules is imported where the function runs; the proxies that it uses are found by
following the names in its code through the user's own functions and classes. So is what makes one
in a body: ``builder.sync_from_name(…)``, ``FaasConnection.named('shop')``.
"""

from __future__ import annotations

import ast
import functools
import importlib
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

from away.capture.bytecode import Import, calls_of, names_of
from away.capture.callables import home
from away.capture.modules import is_local, needs_client
from away.capture.values import Reference
from away.exceptions import AwayError
from away.syntax_trees import parse

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Found", "find"]

# A table of more entries is data, not a table of functions.
_MOST_ENTRIES = 1_000

_CONNECTION = "FaasConnection"
_MAKERS = frozenset(
    {"faas_function", "faas_function_with_protocol", "mirror_in_faas", "publish", "publish_async",
     "publish_module", "publish_module_async", "RemoteFunction",
     "sync_from_name", "async_from_name", "sync_from_faas_str", "async_from_faas_str",
     "sync_from_name_with_protocol", "async_from_name_with_protocol"}
)  # fmt: skip


class Found:
    """What was found.

    Attributes:
        references: The remote functions.
        later: Whether one is only defined further down its module.
        client: Whether a body uses connections or stubs itself.
        gateways: The names of the gateways that bodies connect to.
    """

    def __init__(self) -> None:
        self.references: dict[Reference, None] = {}
        self.later = False
        self.client = False
        self.gateways: set[str] = set()


def find(objects: Iterable[Any], own: Any = None) -> Found:
    """Follow the code of functions and classes to the remote functions that they use.

    Args:
        objects: Functions, classes and modules' attributes to begin with.
        own: The function that is captured, whose own proxy is no reference.
    """
    found = Found()
    seen: set[int] = set()
    waiting = list(objects)
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if hasattr(type(each), "__away_reference__"):
            original = getattr(each, "__away_original__", None)
            if (reference := Reference.to(each)) and (original is None or original is not own):
                found.references[reference] = None
        elif gateway := _mounted_from(each):
            found.client = True
            found.gateways.add(gateway)
        elif _is_aways(each):
            found.client = True
            if not isinstance(each, type | types.ModuleType) and getattr(each, "name", None):
                found.gateways.add(each.name)  # a connection that a module keeps
        elif isinstance(each, types.FunctionType):
            waiting += _used_by(each, found)
        else:
            waiting += _inside(each)
    return found


def _inside(obj: Any) -> list[Any]:
    """List what is reached through an object that is no function."""
    if isinstance(obj, functools.partial):
        return [obj.func, *obj.args, *obj.keywords.values()]
    if isinstance(obj, types.MethodType | staticmethod | classmethod):
        return [obj.__func__]
    if isinstance(obj, property):
        return [obj.fget, obj.fset]
    if isinstance(obj, dict | list | tuple | set | frozenset) and len(obj) <= _MOST_ENTRIES:
        return list(obj.values() if isinstance(obj, dict) else obj)
    cls = obj if isinstance(obj, type) else type(obj)
    if cls.__module__ != "builtins" and (cls.__module__ == "__main__" or is_local(cls.__module__)):
        return [value for base in cls.__mro__[:-1] for value in vars(base).values()]
    wrapped = getattr(obj, "__wrapped__", None) if callable(obj) else None
    return [] if wrapped is None else [wrapped]


def _used_by(function: types.FunctionType, found: Found) -> list[Any]:
    """List the values of the globals and variables that a function of the user's uses."""
    module = home(function)
    if module is not None and module.__name__ != "__main__" and not is_local(module.__name__):
        return []
    names = names_of(function.__code__)
    imported = {
        f"{each.module}.{part}" for each in names.imports if not each.level for part in each.names
    }
    found.client = found.client or any(map(needs_client, imported))
    used = [proxy for each in names.imports for proxy in _imported_proxies(each)]
    for name in names.loaded:
        if name in function.__globals__:
            used.append(function.__globals__[name])
        elif module is not None and not found.later:
            found.later = _is_made_later(module, name)
    for chain in names.chains:
        first, *rest = chain.split(".")
        value = function.__globals__.get(first)
        while rest and isinstance(value, types.ModuleType):
            value = _attribute(value, rest.pop(0))
        used.append(value)
    if found.client or any(map(_is_aways, used)):
        aliases = {key for key in names.loaded if _is_connection(function.__globals__.get(key))}
        _note_gateways(function, {_CONNECTION, *aliases}, found)
    for cell in function.__closure__ or ():
        try:
            used.append(cell.cell_contents)
        except ValueError:
            continue
    return [*used, *vars(function).values()]


def _imported_proxies(each: Import) -> list[Any]:
    """Import what a body imports from a gateway, to know how it is called."""
    if each.level or not each.module.startswith("away.remote."):
        return []
    try:
        module = importlib.import_module(each.module)
        return [getattr(module, name) for name in each.names if name != "*"]
    except (AwayError, ImportError, AttributeError):
        return []  # the gateway cannot be asked now; the function may find it all the same


def _attribute(module: types.ModuleType, name: str) -> Any:
    try:
        return getattr(module, name, None)
    except AwayError:  # a gateway's module asks the gateway, which is not needed for this
        return None


def _mounted_from(value: Any) -> str:
    """Return the gateway that a module of the user's naming was mounted from; else an empty text."""
    if not isinstance(value, types.ModuleType):
        return ""
    reference = getattr(vars(value).get("__loader__"), "reference", None)
    # The arguments of away.hooks.mounts.mounted_module: the name, and what is mounted there.
    return str(reference[1][1]).partition(".")[0] if reference else ""


def _is_aways(value: Any) -> bool:
    """Tell a part of Away's client: the builder, a connection, a class or function of one of them."""
    if isinstance(value, types.ModuleType):
        return value.__name__ != "away" and needs_client(value.__name__)
    named = value if isinstance(value, type | types.FunctionType) else type(value)
    return needs_client(str(getattr(named, "__module__", "")))


def _is_connection(value: Any) -> bool:
    return isinstance(value, type) and value.__name__ == _CONNECTION and _is_aways(value)


def _note_gateways(function: types.FunctionType, names: set[str], found: Found) -> None:
    """Note the gateways to which a body connects by a name that stands in its code."""
    for method, argument in calls_of(function.__code__, names):
        if method == "local":
            found.gateways.add("local")
        elif method == "named" and (argument is None or isinstance(argument, str)):
            found.gateways.add(argument or "default")


def _is_made_later(module: types.ModuleType, name: str) -> bool:
    """Tell whether a module that is still being run will make a remote function of that name."""
    try:
        body = parse(Path(getattr(module, "__file__", None) or "").read_bytes()).body
    except (OSError, SyntaxError, ValueError):
        return False
    for statement in body:
        targets = [getattr(each, "id", None) for each in getattr(statement, "targets", [])]
        if getattr(statement, "name", None) != name and name not in targets:
            continue
        words = {getattr(node, "attr", getattr(node, "id", None)) for node in ast.walk(statement)}
        if not words.isdisjoint(_MAKERS):
            return True
    return False
