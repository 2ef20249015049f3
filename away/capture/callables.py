"""Callables that stand for a function: partials, methods, wrappers; and the script's module."""

from __future__ import annotations

import sys
import types
from typing import Any

__all__ = ["MAIN_NAMES", "globals_name", "home", "inner_function", "module_name", "shown_name"]

# multiprocessing runs the script of its parent under the second name.
MAIN_NAMES = frozenset({"__main__", "__mp_main__"})

# Wrappers in wrappers end; a __getattr__ that answers everything does not.
_MOST_WRAPPERS = 50


def inner_function(function: Any) -> Any:
    """Find the plain function inside a partial, method, wrapper or descriptor."""
    for _ in range(_MOST_WRAPPERS):
        if isinstance(function, types.FunctionType):
            return function
        inner = next(
            (
                found
                for name in ("__func__", "func", "__wrapped__")
                if callable(found := getattr(function, name, None))
            ),
            None,
        )
        if inner is None:
            return function
        function = inner
    return function


def module_name(obj: Any) -> str:
    """Name the module of a function or class; the script has one name, however it is run."""
    name = getattr(obj, "__module__", None)
    return "__main__" if name in MAIN_NAMES or not isinstance(name, str) else name


def home(function: types.FunctionType) -> types.ModuleType | None:
    """Find the module whose globals a function sees, whatever a wrapper says of ``__module__``."""
    name = function.__globals__.get("__name__")
    module = sys.modules.get(name) if isinstance(name, str) else None
    return module if module is not None and vars(module) is function.__globals__ else None


def globals_name(function: types.FunctionType) -> str:
    """Name the module whose globals a function sees."""
    name = function.__globals__.get("__name__")
    return "__main__" if name in MAIN_NAMES or not isinstance(name, str) else name


def shown_name(function: Any) -> str:
    """Name a function in a message."""
    named = function if hasattr(function, "__qualname__") else inner_function(function)
    name = getattr(named, "__qualname__", None) or type(named).__qualname__
    return str(name).rpartition("<locals>.")[2]
