"""Names: a Python name and the name under which OpenFaaS knows the function.

OpenFaaS's providers want DNS labels: lower case letters, digits and ``-`` (RFC 1123), at most 63
characters. Python wants identifiers. ``sum_two_numbers`` is therefore deployed as
``sum-two-numbers``, and either name finds it.
"""

from __future__ import annotations

import keyword
import re
from typing import TYPE_CHECKING

from away.exceptions import NameRefused

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "MAX_FUNCTION_NAME",
    "candidates",
    "check_callable_name",
    "function_name",
    "nearest",
    "printable",
    "python_name",
    "shortened",
    "suggestion",
]

# A DNS label (RFC 1123); with one more faasd deploys a function that can never be reached.
MAX_FUNCTION_NAME = 63

# Of names that are there, where none is like the one that is not.
_MOST_SHOWN = 10

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?\Z")
# What a gateway lets into /function/NAME; a dot would be read as the start of a namespace.
_CALLABLE = re.compile(r"[A-Za-z0-9_-]+\Z")


def function_name(name: str) -> str:
    """Turn a Python name into the name to deploy under.

    Args:
        name: An identifier such as ``sum_two_numbers``, or a name as OpenFaaS takes it.

    Returns:
        The DNS label, such as ``sum-two-numbers``.

    Raises:
        NameRefused: The name is not ASCII, too long, or leaves nothing that is a DNS label.
    """
    if not isinstance(name, str):
        raise NameRefused(f"a function's name is a str, not of type {type(name).__name__}")
    label = name.replace("_", "-").strip("-").lower() if name.isascii() else name
    if len(label) > MAX_FUNCTION_NAME:
        raise NameRefused(
            f"the name {printable(name[:80])!r} has {len(label)} characters and a function's name"
            f" can have {MAX_FUNCTION_NAME}; pass a shorter name=",
            function=name,
        )
    if not _LABEL.match(label) or "--" in label:
        raise NameRefused(
            f"{printable(name)!r} cannot be a function's name, which has lower case letters,"
            " digits and single dashes between them; pass name=",
            function=name,
        )
    return label


def check_callable_name(name: str) -> str:
    """Return the name if a gateway could call a function by it.

    Raises:
        NameRefused: The name has a character that no gateway lets into ``/function/NAME``.
    """
    if not _CALLABLE.match(name) or len(name) > MAX_FUNCTION_NAME:
        raise NameRefused(
            f"{printable(name[:80])!r} cannot be the name of a function: a gateway calls functions"
            f" by letters, digits, '-' and '_', at most {MAX_FUNCTION_NAME}",
            function=name,
        )
    return name


def python_name(name: str) -> str:
    """Turn a function's name into the identifier that imports it: ``import`` is ``import_``."""
    identifier = name.replace("-", "_").replace(".", "_")
    if keyword.iskeyword(identifier):
        identifier += "_"
    return identifier


def candidates(name: str) -> tuple[str, ...]:
    """List the function names that a Python name may mean, the most exact one first."""
    stripped = name[:-1] if name.endswith("_") and keyword.iskeyword(name[:-1]) else name
    spellings = (name, name.replace("_", "-"), stripped, stripped.replace("_", "-"))
    return tuple(dict.fromkeys(spellings))


def nearest(name: str, known: Iterable[str], most: int = 3) -> list[str]:
    """Return the known names that are most like a name, the nearest first."""
    import difflib

    spelt = {python_name(each).lower(): each for each in sorted(known, reverse=True)}
    found = difflib.get_close_matches(python_name(name).lower(), spelt, n=most, cutoff=0.6)
    return [spelt[each] for each in found]


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return the end of a sentence about a name that is not there: what was meant, or what there is."""
    known = sorted(known)
    if near := nearest(name, known, most=1):
        return f"did you mean {printable(near[0])!r}?"
    shown = ", ".join(repr(printable(each)) for each in known[:_MOST_SHOWN])
    more = f" and {len(known) - _MOST_SHOWN} more" if len(known) > _MOST_SHOWN else ""
    return f"there are {shown}{more}" if shown else "there are none"


def printable(text: str) -> str:
    """Replace control characters, which must never reach a terminal from others' data."""
    if text.isprintable():
        return text  # as nearly all are, and each import reads some
    return "".join(c if c.isprintable() or c == " " else "\N{REPLACEMENT CHARACTER}" for c in text)


def shortened(text: str, most: int) -> str:
    """Return a text of others' as one line of some length, cut between words and marked where it is."""
    line = " ".join(text.split())
    if len(line) <= most:
        return line
    head = line[: most - 1].rpartition(" ")[0].rstrip()
    # A text without words has to be cut somewhere.
    return (
        f"{head} \N{HORIZONTAL ELLIPSIS}" if head else line[: most - 1] + "\N{HORIZONTAL ELLIPSIS}"
    )
