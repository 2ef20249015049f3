"""Callables that are sent with a call, to a process that runs what it is sent.

What that process can import is pickled by name, by Python's own pickler, which is a hundred times quicker
with data. What it cannot (lambdas, functions inside of functions, all that the running script defines) goes
by value, with the pickler and the refusals of capture.
"""

from __future__ import annotations

import io
import pickle
import types
from typing import TYPE_CHECKING, Any

from away.capture.callables import shown_name
from away.capture.entry import project_root
from away.capture.included import place_of
from away.capture.modules import importable, needs_client
from away.capture.pickler import pickled_once
from away.capture.values import Settings
from away.requirements import origin
from away.secret_texts import known

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["pickled_call"]

# What is sent with a call is an argument: the function that gets it has the limit.
_MOST_BYTES = 1 << 40
# Read by every supported Python.
_PROTOCOL = 5


class _ByValue(Exception):
    """Something is met that the other side cannot import."""


def pickled_call(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[bytes, bytes, tuple[str, ...]]:
    """Pickle a call for a process that runs what it is sent.

    Args:
        function: What is to be called.
        args: Its positional arguments.
        kwargs: Its keywords.

    Returns:
        The function's pickle, that of both kinds of arguments, and the modules which they name and
        Python lacks there.

    Raises:
        CaptureRefused: Something of it cannot travel; the message names it.
    """
    modules: dict[str, None] = {}
    name = shown_name(function)
    parts = [
        _pickled(value, function, named, modules)
        for value, named in ((function, name), ((args, kwargs), f"a call of {name}"))
    ]
    return parts[0], parts[1], _lacking(modules)


def _pickled(
    value: Any, function: Callable[..., Any], name: str, modules: dict[str, None]
) -> bytes:
    file = io.BytesIO()
    pickler = _ByName(file)
    try:
        pickler.dump(value)
    except Exception:  # of whatever else than a name, capture finds the words
        settings = Settings(
            function=value,
            name=name,
            root=project_root(function),
            max_value_bytes=_MOST_BYTES,
            secrets=tuple(known()),
            importable=importable,
            modules_root=place_of(function).root,
        )
        body, named = pickled_once(settings)
        modules.update(dict.fromkeys(named))
        return body
    modules.update(pickler.modules)
    return file.getvalue()


class _ByName(pickle.Pickler):
    """Python's own pickler, as long as all that it names can be imported there."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, _PROTOCOL)
        self.modules: dict[str, None] = {}

    def reducer_override(self, obj: Any) -> Any:
        """Look at what is no plain data; containers, numbers and texts never come here."""
        if isinstance(obj, types.ModuleType) or hasattr(type(obj), "__away_reference__"):
            raise _ByValue
        if isinstance(obj, type | types.FunctionType | types.BuiltinFunctionType):
            module = getattr(obj, "__module__", None)
            if module is not None and module != "builtins":
                if not isinstance(module, str) or not importable(module):
                    raise _ByValue
                self.modules[module] = None
        return NotImplemented


def _lacking(modules: dict[str, None]) -> tuple[str, ...]:
    """Return the modules that are no part of Python or Away; of a distribution its top one.

    A distribution comes whole, whichever of its modules is named; of a namespace it is one part.
    """
    found = ((each, origin(each)) for each in modules)
    lacking = (
        each.partition(".")[0] if where.kind == "installed" and where.file else each
        for each, where in found
        if where.kind not in ("standard", "away") or needs_client(each)
    )
    return tuple(dict.fromkeys(lacking))
