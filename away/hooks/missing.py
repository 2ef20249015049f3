"""What a gateway does not have: how long that is believed, and in which words it is said.

Knows neither modules nor requests. A list that lacks a name is fetched once more, since a person may
just have deployed it; but not for each of the questions that a statement or a tool asks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

from away.exceptions import FunctionNotFound
from away.hooks.errors import AmbiguousFunction, FunctionNotImported, NoSuchFunction
from away.names import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from away.hooks.listing import Listing

__all__ = ["MISSING_SECONDS", "AskedInVain", "ambiguous", "missing"]

E = TypeVar("E", bound=FunctionNotFound)

# A person who deploys what was missing and tries again takes longer.
MISSING_SECONDS = 1.0
# What tools ask of every module, and which nobody deploys for them: IPython for the text of a
# question mark, unittest for tests. Any list will do to say that it is not there.
PROBED = {"getdoc", "load_tests"}


class AskedInVain:
    """The names that a gateway was asked for in vain, and when."""

    def __init__(self) -> None:
        # Replaced as a whole, so that threads need no lock: at worst one asks once more.
        self._asked: dict[str, _Asked] = {}

    def since(self, name: str, now: float, gateway: Callable[[], object]) -> float:
        """Return the time that a list has to be from to be believed that it lacks a name.

        Args:
            name: What is asked for now.
            now: The time.
            gateway: Says where it is asked; what another lacked says nothing.
        """
        if name in PROBED:
            return float("-inf")
        known = self._asked.get(name)
        if known is None or not known.is_lately(now) or known.gateway is not gateway():
            return now
        return known.at

    def remember(self, name: str, asked_at: float, answered_at: float, gateway: object) -> None:
        """Take note that a list lacked a name.

        Args:
            name: What was asked for.
            asked_at: When; the list is from then or later.
            answered_at: When the list was there, which may have taken long.
            gateway: Where it was asked.
        """
        known = self._asked.get(name)
        if known is not None and known.is_lately(asked_at) and known.gateway is gateway:
            return
        lately = {key: each for key, each in self._asked.items() if each.is_lately(asked_at)}
        self._asked = {**lately, name: _Asked(asked_at, answered_at, gateway)}


class _Asked(NamedTuple):
    at: float
    answered_at: float
    gateway: object

    def is_lately(self, now: float) -> bool:
        return now - self.answered_at < MISSING_SECONDS


def missing(
    name: str,
    listing: Listing,
    kind: type[E],
    *,
    gateway: str,
    url: str,
    module: str,
    selected: str = "",
    footnote: str = "",
) -> E:
    """Return the error for a function that a gateway lacks, with what it has.

    Args:
        name: What was asked for.
        listing: What there is.
        kind: By what it was asked: an import, an attribute or an item.
        gateway: The gateway's configured name.
        url: Its URL.
        module: The full name of the module that was asked.
        selected: Which of the gateway's functions the module has, if not all.
        footnote: What is to be said of the list.
    """
    which = f" with {selected}" if selected else ""
    # What a selection leaves over says nothing of what the gateway has.
    has = listing.summary(name) if listing or not selected else "none of its functions fits that"
    error = kind(
        f"the gateway {gateway!r} at {url} has no function {printable(name)!r}{which};"
        f" {has}{footnote}",
        gateway=url,
        function=name,
        nearest=tuple(listing.nearest(name)),
    )
    if isinstance(error, FunctionNotImported):
        error.name = module
    elif isinstance(error, NoSuchFunction):
        error.name = name
    return error


def ambiguous(
    name: str, found: Sequence[str], *, gateway: str, url: str, module: str
) -> AmbiguousFunction:
    """Return the error for a Python name that several functions go by, with the way to each."""
    short = module.rpartition(".")[2]
    ways = " and ".join(f"{short}[{each!r}]" for each in found)
    return AmbiguousFunction(
        f"{name!r} means more than one function of the gateway {gateway!r}:"
        f" {', '.join(found)}; import {module} and take {ways}",
        name=module,
        gateway=url,
        function=name,
    )
