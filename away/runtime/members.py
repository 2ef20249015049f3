"""The functions of a module that was published whole, each found by the path of a request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from away.exceptions import FunctionNotFound
from away.names import nearest, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Callee", "Members", "no_module"]

# So many names fit a sentence that a person still reads.
_MOST_NAMES = 10
_AT_A_GATEWAY = "/function/"


class Callee(NamedTuple):
    """What a request calls, and what to call that in a message."""

    function: Callable[..., Any]
    name: str


class Members:
    """The functions that may be called of a module, and no others.

    Args:
        module: The module's name.
        functions: Its functions by their names.
    """

    def __init__(self, module: str, functions: Mapping[str, Callable[..., Any]]) -> None:
        self.module = module
        self._functions = dict(functions)
        self._callees = {
            f"/{name}": Callee(function, f"{module}.{name}") for name, function in functions.items()
        }

    def at(self, path: str) -> Callee:
        """Return the function that lies at a path below the module's own URL.

        Raises:
            FunctionNotFound: The module has none there; the message names the nearest.
        """
        found = self._callees.get(path) or self._callees.get(_plain(path))
        if found is None:
            raise self._missing(_plain(path).removeprefix("/"))
        return found

    def listing(self) -> str:
        """Tell in a text what can be called here."""
        lines = "\n".join(f"  /{name}" for name in sorted(self._functions))
        return (
            f"{printable(self.module)} is a module of functions, each of which is called by its own"
            f" path below this one:\n{lines}"
        )

    def _missing(self, name: str) -> FunctionNotFound:
        known = sorted(self._functions)
        near = tuple(nearest(name, known)) if name else ()
        if near:
            hint = f"did you mean {' or '.join(map(repr, near))}"
        else:
            more = f" and {len(known) - _MOST_NAMES} more" if len(known) > _MOST_NAMES else ""
            hint = f"it has {', '.join(known[:_MOST_NAMES])}{more}"
        module = printable(self.module)
        what = f"has no function {printable(name[:200])!r}" if name else "is no function"
        return FunctionNotFound(
            f"the module {module} {what}; {hint}; nothing ran",
            function=f"{module}.{printable(name[:200])}" if name else module,
            status=404,
            hint=hint,
            nearest=near,
        )


def no_module(function: str, path: str) -> FunctionNotFound | None:
    """Return why a single function is not what a path names; None where the path names nothing.

    Whoever holds a function of a module would else get the results of one that has taken its name.

    Args:
        function: The name of the function that is served.
        path: The path of a request, below the function's own URL.
    """
    name = _plain(path).removeprefix("/")
    if not name:
        return None
    shown, wanted = printable(function), printable(name[:200])
    hint = "import it anew"
    return FunctionNotFound(
        f"{shown} is a function and no module any more, so it has no function {wanted!r}; {hint};"
        " nothing ran",
        function=f"{shown}.{wanted}",
        status=404,
        hint=hint,
    )


def _plain(path: str) -> str:
    """Return a path below the function's own as names are written: unquoted, with no last slash.

    A client that stands before this runtime, with no gateway between, asks as it asks a gateway.
    """
    if "%" in path:
        from urllib.parse import unquote

        path = unquote(path)
    if not path.isascii():
        from unicodedata import normalize

        path = normalize("NFKC", path)
    if path.startswith(_AT_A_GATEWAY):
        path = "/" + "/".join(path.split("/")[3:])
    return path.rstrip("/")
