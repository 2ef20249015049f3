"""Distributions that a function needs, and which of them an environment has already."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from away.requirements import Requirement

__all__ = ["Pin", "lacking", "normal_name"]

_BARE = re.compile(r"[A-Za-z0-9._-]+\Z")


class Pin(NamedTuple):
    """A distribution that is needed.

    Attributes:
        name: Its name, in its one spelling.
        version: Its version; empty where a range or an address was given, or any version will do.
        spec: What to ask an installer for, if not just the name.
    """

    name: str
    version: str = ""
    spec: str = ""

    def __str__(self) -> str:
        return self.spec or self.name

    @property
    def shown(self) -> str:
        """What to call it where others read: an address is left out."""
        return f"{self.name} @ …" if "@" in self.spec else str(self)

    @classmethod
    def of(cls, requirement: Requirement) -> Self:
        """Make a pin of a requirement; of one that is a bare name, one for any version."""
        spec = "" if _BARE.match(requirement.spec) else requirement.spec
        return cls(normal_name(requirement.name), requirement.version, spec)


def normal_name(name: str) -> str:
    """Return the one spelling of a distribution's name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def lacking(pins: Iterable[Pin], environment: Mapping[str, str]) -> tuple[Pin, ...]:
    """Return the pins that an environment does not satisfy exactly, sorted.

    Args:
        pins: What is wanted.
        environment: The versions of what is there by name, as a base image's label says.
    """
    there = {normal_name(name): version for name, version in environment.items()}
    return tuple(sorted(each for each in set(pins) if not satisfied(each, there.get(each.name))))


def satisfied(pin: Pin, version: str | None) -> bool:
    """Tell whether a version that is there, if any, is what a pin asks for.

    A range is not: whether it allows that version is for an installer to say.
    """
    return version is not None and (version == pin.version or not (pin.version or pin.spec))
