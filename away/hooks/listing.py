"""One gateway's functions under the names that Python can give them.

Pure: takes what a gateway listed and answers which function a Python name means. It knows nothing
of modules, of imports or of how the list came here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from away.exceptions import NameRefused
from away.names import check_callable_name, function_name, nearest, printable, python_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Listed", "Listing"]

# So many names fit an error that a person still reads.
MOST_NAMES = 10


class Entry(Protocol):
    """What is read of a published function's description."""

    @property
    def entry(self) -> str:
        """``module:qualname`` of what was published."""


class Listed(Protocol):
    """What is read of a function that a gateway lists."""

    @property
    def name(self) -> str:
        """The name under which the gateway calls it."""

    @property
    def description(self) -> Entry | None:
        """What Away wrote at the deployment; None for a function of others."""


class Listing:
    """The functions of one gateway at one moment.

    Args:
        functions: What the gateway listed, in any order.
        renamed: Python names that stand for functions of other names, whatever those go by.
    """

    def __init__(
        self, functions: Iterable[Listed], renamed: Mapping[str, str] | None = None
    ) -> None:
        self._renamed = renamed or {}
        self._functions = {each.name: each for each in sorted(functions, key=_by_name)}
        self._spelt: dict[str, list[str]] = {}
        for name in filter(_callable, self._functions):
            self._spelt.setdefault(python_name(name), []).append(name)
        self._entries: dict[str, list[str]] | None = None

    def __len__(self) -> int:
        return len(self._functions)

    def __contains__(self, name: str) -> bool:
        return name in self._functions

    def named(self, name: str) -> list[str]:
        """List the functions that a Python name may mean.

        Args:
            name: An identifier such as ``sum_two_numbers``; a function's own name does as well.

        Returns:
            No name, one, or all that the name could mean, in order.
        """
        if name in self._renamed:
            return [self._renamed[name]] if self._renamed[name] in self._functions else []
        return self._spelt.get(python_name(name)) or self._by_entry().get(_normal(name), [])

    def shown_as(self, name: str) -> str:
        """Return the Python name that a function goes by: as it was written, where known."""
        given = (each for each, means in self._renamed.items() if means == name)
        return next(given, None) or self._written(name) or python_name(name)

    def python_names(self) -> list[str]:
        """List, sorted, the identifiers that each mean one function."""
        found = {name for name, means in self._spelt.items() if len(means) == 1}
        found |= {
            name
            for name, means in self._by_entry().items()
            if len(means) == 1 and name not in self._spelt
        }
        found -= self._renamed.keys()
        found |= {name for name, means in self._renamed.items() if means in self._functions}
        return sorted(name for name in found if name.isidentifier() and name[0] != "_")

    def nearest(self, name: str) -> list[str]:
        """List the Python names of the gateway's functions that are most like a name."""
        return nearest(name, self.python_names())

    def summary(self, name: str) -> str:
        """Say what the gateway has, the names most like a missing one first."""
        if not self._functions:
            return "it has no functions yet"
        everything = self.python_names()
        first = self.nearest(name)
        ordered = [*first, *(each for each in everything if each not in first)]
        # What no identifier names is found by module['its-own-name'].
        ordered += [repr(each) for each in self._functions if python_name(each) not in everything]
        shown = ", ".join(printable(each) for each in ordered[:MOST_NAMES])
        more = len(ordered) - MOST_NAMES
        return f"it has {shown} and {more} more" if more > 0 else f"it has {shown}"

    def _by_entry(self) -> dict[str, list[str]]:
        """Map names that no function can be called by to the functions published from them.

        Such as ``café``, published under ``name='cafe'``, or ``SumTwo``, deployed as ``sumtwo``.
        Made at the first name that is no function's: most programs never ask.
        """
        if self._entries is None:
            found: dict[str, list[str]] = {}
            for name in self._functions:
                wrote = self._written(name)
                if wrote:
                    found.setdefault(wrote, []).append(name)
            self._entries = found
        return self._entries

    def _written(self, name: str) -> str:
        """Return what a function was called where it was published from; empty if it goes by its name."""
        description = self._functions[name].description if _callable(name) else None
        qualname = description.entry.partition(":")[2] if description else ""
        # A function within a function goes by its own name, a method by none.
        wrote = qualname.rpartition("<locals>.")[2]
        return _normal(wrote) if wrote.isidentifier() and _stands_for(wrote, name) else ""


def _callable(name: str) -> bool:
    """Tell whether a gateway could call what it lists; a name with a dot it could not."""
    try:
        check_callable_name(name)
    except NameRefused:
        return False
    return True


def _by_name(function: Listed) -> str:
    return function.name


def _stands_for(identifier: str, name: str) -> bool:
    """Tell whether a function of this name may be meant by the identifier it was published from.

    Not where another name was chosen for one that could have been deployed: then that is its name.
    """
    try:
        deployed = function_name(identifier)
    except NameRefused:
        return True
    return deployed == name and python_name(name) != identifier


def _normal(identifier: str) -> str:
    """Return an identifier as Python's own parser would (NFKC)."""
    if identifier.isascii():
        return identifier
    import unicodedata

    return unicodedata.normalize("NFKC", identifier)
