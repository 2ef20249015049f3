"""What of a module can be remote: its public functions, and the constants that are safe values.

Looks at a module that was imported, and sends, reads and packs nothing. What cannot be remote is left
out, each with a note that says why.
"""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any, NamedTuple

from away.capture.suspects import suspicion
from away.exceptions import CaptureRefused
from away.module_descriptions import MAX_FUNCTIONS, constant_text
from away.names import printable, suggestion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import ModuleType

__all__ = ["PublicNames", "public_names"]

_IMMUTABLE = (bool, int, float, str, bytes, tuple)
# What a module has of the language and of typing, and does not mean to give.
_NOT_MEANT = frozenset({"TYPE_CHECKING", "annotations"})


class PublicNames(NamedTuple):
    """What a module gives out remotely.

    Attributes:
        functions: Its functions by their names there.
        constants: Its constants.
        notes: What was left out and why, a sentence each.
    """

    functions: dict[str, Callable[..., Any]]
    constants: dict[str, Any]
    notes: tuple[str, ...]


def public_names(module: ModuleType, functions: Iterable[str] | None = None) -> PublicNames:
    """Choose what of a module is published.

    Args:
        module: The module.
        functions: The functions to publish; its public ones, if it is left out: those that
            ``__all__`` lists, else those with a public name that are defined in it, of a package
            also those defined below it. Constants are what ``__all__`` lists, else what has a name
            in capitals, and of a module written in C whatever cannot change.

    Raises:
        CaptureRefused: A function that is named is not there or cannot be remote, or none is left.
    """
    listed = _listed(module)
    names = listed or [name for name in vars(module) if not name.startswith("_")]
    notes: list[str] = []
    if functions is not None:
        found = {name: _named(module, name) for name in dict.fromkeys(functions)}
    else:
        found = _functions(module, names, notes, all_meant=bool(listed))
    if not found:
        raise CaptureRefused(
            f"the module {module.__name__} has no public functions; {_why_none(notes, functions)}",
            path=module.__name__,
        )
    if len(found) > MAX_FUNCTIONS:
        raise CaptureRefused(
            f"the module {module.__name__} has {len(found)} public functions, and {MAX_FUNCTIONS} can"
            " be published together; name those that are needed in functions=",
            path=module.__name__,
        )
    return PublicNames(found, _constants(module, names, notes, bool(listed)), tuple(notes))


def _listed(module: ModuleType) -> list[str]:
    """Return what ``__all__`` lists, where there is one."""
    found = getattr(module, "__all__", None)
    if not isinstance(found, list | tuple):
        return []
    return [name for name in dict.fromkeys(found) if isinstance(name, str)]


def _why_none(notes: list[str], functions: Iterable[str] | None) -> str:
    if functions is not None:
        return "name one at least in functions="
    return notes[0] if notes else "name those to publish in functions="


# ---------------------------------------------------------------- functions


def _named(module: ModuleType, name: object) -> Callable[..., Any]:
    """Return a function that was asked for by its name."""
    if not isinstance(name, str) or not name.isidentifier() or name.startswith("_"):
        raise CaptureRefused(
            f"{name!r} is no public name, and only those are reached from elsewhere; publish the"
            " function by itself, or give it another name",
            path=module.__name__,
        )
    try:
        value = getattr(module, name)
    except AttributeError:
        meant = suggestion(name, [key for key in vars(module) if not key.startswith("_")])
        raise CaptureRefused(
            f"the module {module.__name__} has no function {printable(name)!r}; {meant}",
            path=f"{module.__name__}.{name}",
        ) from None
    why = _why_not(value)
    if why:
        raise CaptureRefused(f"{module.__name__}.{name} {why}", path=f"{module.__name__}.{name}")
    found: Callable[..., Any] = value
    return found


def _functions(
    module: ModuleType, names: Iterable[str], notes: list[str], *, all_meant: bool
) -> dict[str, Callable[..., Any]]:
    found: dict[str, Callable[..., Any]] = {}
    classes: list[str] = []
    for name in names:
        value: Any = getattr(module, name, None)
        if name.startswith("_") or not (all_meant or _is_defined_in(module, value)):
            continue
        why = _why_not(value)
        if not why:
            found[name] = value
        elif isinstance(value, type):
            classes.append(f"`{name}`")
        elif callable(value):
            notes.append(f"`{name}` {why}, so it is left out")
    if classes:
        notes.append(f"classes are not remote, so they are left out: {', '.join(classes)}")
    return found


def _is_defined_in(module: ModuleType, value: object) -> bool:
    """Tell what a module defines from what it imports; a package has its own modules' things."""
    home = getattr(value, "__module__", None)
    if home == module.__name__:
        return True
    is_package = hasattr(module, "__path__")
    return is_package and isinstance(home, str) and home.startswith(f"{module.__name__}.")


def _why_not(value: Any) -> str:
    """Say why something cannot be called remotely; an empty text where it can."""
    if isinstance(value, type):
        return "is a class, and only functions are remote"
    if hasattr(type(value), "__away_reference__"):
        return "is a remote function already"
    if isinstance(value, types.ModuleType) or not callable(value):
        return f"is of type {type(value).__name__} and no function"
    if isinstance(value, types.GenericAlias) or hasattr(value, "__origin__"):
        return "is a type, and only functions are remote"
    return ""


# ---------------------------------------------------------------- constants


def _constants(
    module: ModuleType, names: Iterable[str], notes: list[str], all_meant: bool
) -> dict[str, Any]:
    # Other names are rather the module's state; what is written in C has none that is a name.
    is_of_c = not str(getattr(module, "__file__", "")).endswith(".py")
    found = {}
    for name in names:
        value = getattr(module, name, None)
        if name.startswith("_") or name in _NOT_MEANT or value is None or callable(value):
            continue
        if isinstance(value, types.ModuleType) or not (
            all_meant or name.isupper() or (is_of_c and isinstance(value, _IMMUTABLE))
        ):
            continue
        if what := suspicion(name, value):
            notes.append(f"the constant `{name}` {what}, so it is not told to the gateway")
        elif constant_text(value) is not None:
            found[name] = value
        elif all_meant or name.isupper():
            notes.append(
                f"the constant `{name}`, of type {type(value).__name__}, cannot travel or is too"
                " large, so it is left out"
            )
    return found
