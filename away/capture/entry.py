"""What a function is called: its entry, the name to deploy it under, and whether it has a module.

The entry is ``module:qualname``. The same script has the same entry whether it is run, run with
``-m`` or imported by its path, so that all of these publish one function and not three.
"""

from __future__ import annotations

import ast
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

from away.capture.callables import MAIN_NAMES, inner_function, shown_name
from away.exceptions import CaptureRefused, NameRefused
from away.names import function_name
from away.syntax_trees import parse

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "deployment_name",
    "entry_of",
    "import_path",
    "project_of",
    "project_root",
    "refuse_unbound",
    "script_path",
]


def entry_of(function: Callable[..., Any]) -> str:
    """Return ``module:qualname`` of a function; of a partial or wrapper, those of what it calls."""
    inner = inner_function(function)
    named = inner if isinstance(getattr(inner, "__qualname__", None), str) else type(inner)
    namespace = getattr(inner, "__globals__", None)
    module = getattr(named, "__module__", None) or "__main__"
    if module in MAIN_NAMES:
        module = _script_name(namespace if namespace is not None else _main_namespace())
    suffix = "" if named is inner else ".__call__"
    return f"{module}:{named.__qualname__}{suffix}"


def _main_namespace() -> dict[str, Any]:
    return vars(sys.modules["__main__"])


def _script_name(namespace: dict[str, Any]) -> str:
    spec = namespace.get("__spec__")
    name = getattr(spec, "name", None)
    if isinstance(name, str) and name not in MAIN_NAMES:
        return name
    file = namespace.get("__file__")
    # A notebook has a file only in some front ends, and its cells are none of its lines.
    if isinstance(file, str) and not file.startswith("<") and "get_ipython" not in namespace:
        return Path(file).stem
    return "__main__"


# What a method's first parameter is called.
_OBJECTS = frozenset({"self", "cls"})


def deployment_name(function: Any, name: str | None = None) -> str:
    """Choose the name to deploy a function under.

    Args:
        function: The function.
        name: The name that the user gave, which goes before the function's own.

    Raises:
        NameRefused: There is no name that could be taken from the function, or the name cannot be
            one: it is not ASCII, or too long.
    """
    if name is not None:
        return function_name(name)
    own = getattr(function, "__name__", None)
    if isinstance(function, types.MethodType):
        raise NameRefused(
            f"{shown_name(function)} is a method, whose name alone says too little; pass name="
        )
    if not isinstance(own, str) or own == "<lambda>":
        what = "a lambda" if own else f"a {type(function).__name__} object"
        raise NameRefused(f"{what} has no name to be deployed under; pass name=")
    return function_name(own)


def refuse_unbound(function: Any, *, safe_args: bool) -> None:
    """Refuse a method without its object, which each call would have to send.

    Raises:
        CaptureRefused: The object cannot travel; only pickles carry one.
    """
    if not isinstance(function, types.FunctionType) or not safe_args:
        return
    cls = function.__qualname__.rpartition(".")[0].rpartition(".")[2]
    code = function.__code__
    if cls in ("", "<locals>") or code.co_argcount == 0 or code.co_varnames[0] not in _OBJECTS:
        return
    raise CaptureRefused(
        f"`{shown_name(function)}` is a method, and a call would have to send the object"
        f" `{code.co_varnames[0]}`, which cannot travel; publish a staticmethod, a function that"
        " takes the data which it needs of the object, or with name= the method of one object, as"
        f" in builder.publish(faas, name='…')({cls}(…).{function.__name__})",
        path=shown_name(function),
    )


# ------------------------------------------------------------------ functions found by import


def import_path(function: Any, importable: Callable[[str], bool]) -> tuple[str, str] | None:
    """Return the module and qualified name by which a function can be imported elsewhere.

    Args:
        function: The function.
        importable: Tells whether a module will be found by its name where the function runs.

    Returns:
        The two names; None for what only travels by value: a closure, a lambda, a function of the
        running script, or one that is not what its module has under its name.
    """
    module_name = getattr(function, "__module__", None)
    qualname = getattr(function, "__qualname__", None)
    if isinstance(function, types.MethodType) and not isinstance(function.__self__, type):
        return None
    if not isinstance(module_name, str) or not isinstance(qualname, str):
        return None
    if "<" in qualname or module_name in MAIN_NAMES or not importable(module_name):
        return None
    module = sys.modules.get(module_name)
    if module is None:
        return None
    found: Any = module
    for part in qualname.split("."):
        found = getattr(found, part, None)
    is_method = isinstance(function, types.MethodType)
    original = getattr(found, "__away_original__", None)
    if found is function or original is function or (is_method and found == function):
        return module_name, qualname
    if _is_being_defined(module, function):
        return module_name, qualname
    return None


def script_path(function: Any) -> tuple[str, str] | None:
    """Return the names by which a function of the running script could be imported, if it could."""
    qualname = getattr(function, "__qualname__", None)
    module, _, _ = entry_of(function).partition(":")
    if not isinstance(qualname, str) or "<" in qualname or module in MAIN_NAMES:
        return None
    if getattr(function, "__module__", None) not in MAIN_NAMES:
        return None
    return module, qualname


def _is_being_defined(module: types.ModuleType, function: Any) -> bool:
    """Tell whether a function is being decorated right now, and will be what its module has.

    Its module is still being run, its source has the function under that name at that line, no
    later statement defines the name again, and one decorator stands before it: the one that asks.
    """
    spec = getattr(module, "__spec__", None)
    file = getattr(module, "__file__", None)
    if not isinstance(function, types.FunctionType) or function.__globals__ is not vars(module):
        return False
    if function.__closure__ or not getattr(spec, "_initializing", False) or not file:
        return False
    try:
        body: list[ast.stmt] = parse(Path(file).read_bytes()).body
    except (OSError, SyntaxError, ValueError):
        return False
    *classes, name = function.__qualname__.split(".")
    for each in classes:
        outer = _definition(body, each)
        if not isinstance(outer, ast.ClassDef):
            return False
        body = outer.body
    found = _definition(body, name)
    if not isinstance(found, ast.FunctionDef | ast.AsyncFunctionDef):
        return False
    first = min([found.lineno, *(each.lineno for each in found.decorator_list)])
    others = [each for each in found.decorator_list if getattr(each, "id", "") != "staticmethod"]
    return first == function.__code__.co_firstlineno and len(others) <= 1


def _definition(body: list[ast.stmt], name: str) -> ast.stmt | None:
    """Find the last statement of a body that binds a name by ``def``, ``class`` or ``=``."""
    last = None
    for each in body:
        targets = [getattr(target, "id", None) for target in getattr(each, "targets", [])]
        if getattr(each, "name", None) == name or name in targets:
            last = each
    return last


# ------------------------------------------------------------------ where the project is

_MARKS = ("pyproject.toml", "setup.py", "setup.cfg", ".git", ".hg")


def project_root(function: Any) -> Path | None:
    """Find the folder of the project that a function's file is in, or else the file's folder."""
    code = getattr(inner_function(function), "__code__", None)
    if code is None or code.co_filename.startswith("<"):
        return None
    return project_of(Path(code.co_filename).absolute())


def project_of(file: Path) -> Path:
    """Find the folder of the project that a file is in, or else the file's folder."""
    for folder in file.parents:
        if any((folder / mark).exists() for mark in _MARKS):
            return folder
    return file.parent
