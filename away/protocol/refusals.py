"""Saying what cannot travel: which argument, where in it, of which type, and what to send instead.

The walks that write a value only find out that something in it cannot go; here is looked for what
it is, once, for the error's text. No code of the value's runs for that: its repr may be foreign,
long or failing, so types are named, and keys shown only where they are of Python's own types.
"""

from __future__ import annotations

import sys
from datetime import date, datetime, timezone
from typing import TYPE_CHECKING, Any

from away.exceptions import CannotTravel
from away.names import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "CONTAINERS",
    "MAX_DEPTH",
    "OR_PUBLISH_UNSAFE",
    "by_another_way",
    "judge",
    "refusal",
    "refusal_of",
    "type_text",
    "zone_key",
    "zone_text",
]

# PyYAML's own dumper stops at 300 to 400 levels and its pure loader at 480, Python 3.11's json at
# 995: 200 is read by everyone, with room for the stack of whoever calls.
MAX_DEPTH = 200

# How a sentence of a value that only a pickle carries ends.
OR_PUBLISH_UNSAFE = " or publish with safe_args=False"

CONTAINERS = frozenset({list, dict, tuple, set})
_TRAVELS = CONTAINERS | {type(None), bool, int, float, str, bytes, date, datetime}


def judge(value: Any, as_key: bool) -> str | None:  # noqa: ARG001 - as others judge
    """Say in words why one value, regardless of what is in it, cannot travel to another Away.

    Args:
        value: The value.
        as_key: Whether it is a dict's key or a set's element; between two Aways that is all one.

    Returns:
        A clause that follows the value's place in a sentence, or None if it can travel.

    Example:
        >>> judge(3, False), judge(range(3), False)
        (None, 'is a range, which cannot travel; send list(…) or publish with safe_args=False')
    """
    kind = type(value)
    if kind not in _TRAVELS:
        return f"is {type_text(kind)}, which cannot travel; {_instead(value)}{OR_PUBLISH_UNSAFE}"
    if kind is datetime and value.tzinfo is not None and type(value.tzinfo) is not timezone:
        return None if zone_key(value) is not None else zone_text(value)
    return None


def by_another_way(error: CannotTravel, way: str) -> CannotTravel:
    """Return a refusal that names another way out than publishing with ``safe_args=False``.

    Args:
        error: The refusal.
        way: How such values travel for who made the call, as a clause.

    Returns:
        The error, to be raised; the same one where it names no way of that kind.
    """
    text = str(error)
    if not text.endswith(OR_PUBLISH_UNSAFE):
        return error
    made = CannotTravel(f"{text.removesuffix(OR_PUBLISH_UNSAFE)} or {way}")
    hint = f"{(error.hint or '').removesuffix(OR_PUBLISH_UNSAFE)} or {way}"
    made.__dict__.update({**error.__dict__, "hint": hint})
    return made


def zone_key(value: datetime) -> str | None:
    """Return the key of a time's zone in the IANA database, if it has one."""
    # Whoever made such a zone has imported zoneinfo, which others need not pay for.
    zones = sys.modules.get("zoneinfo")
    zone = value.tzinfo
    if zones is None or type(zone) is not zones.ZoneInfo:
        return None
    key: str | None = getattr(zone, "key", None)
    return key


def zone_text(value: datetime) -> str:
    """Say why a time in a named zone cannot travel: only its present offset would arrive."""
    return (
        f"is a datetime in the zone {printable(str(value.tzinfo)[:60])}, of which only the offset"
        " would arrive; send it with .astimezone(datetime.timezone.utc)"
    )


def type_text(kind: type) -> str:
    """Name a type with its article: ``a decimal.Decimal``.

    Example:
        >>> type_text(int), type_text(range)
        ('an int', 'a range')
    """
    name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
    return f"{'an' if name[:1] in 'aeioAEIO' else 'a'} {printable(name[:120])}"


_BASES = (bool, int, float, str, bytes, datetime, date, dict, list, tuple, set)
_BY_TEXT = {"Decimal", "UUID", "Fraction", "IPv4Address", "IPv6Address", "time", "complex"}


def _instead(value: Any) -> str:
    """Say what to send in place of a value; only its type is looked at, no code of it runs."""
    kind = type(value)
    names = {base.__name__ for base in kind.__mro__}
    if "Enum" in names:
        return "send its .value"
    if kind.__module__.partition(".")[0] in ("numpy", "torch"):
        return f"send .{'tolist' if hasattr(kind, '__len__') else 'item'}()"
    for base in _BASES:
        if issubclass(kind, base):
            return f"send {base.__name__}(…)"
    if names & _BY_TEXT or "PurePath" in names:
        return "send str(…)"
    if kind in (bytearray, memoryview):
        return "send bytes(…)"
    if kind is frozenset:
        return "send set(…)"
    if kind.__name__ == "timedelta":
        return "send .total_seconds()"
    if hasattr(kind, "__dataclass_fields__"):
        return "send dataclasses.asdict(…)"
    if kind is range or hasattr(kind, "__next__") or names & {"dict_keys", "dict_values", "deque"}:
        return "send list(…)"
    return "send plain data instead"


def refusal(
    value: Any,
    label: str,
    root: str,
    *,
    levels: int = MAX_DEPTH,
    judged: Callable[[Any, bool], str | None] = judge,
) -> CannotTravel:
    """Make the error that says what in a refused value cannot travel.

    Args:
        value: The value that was refused.
        label: What the value is in a sentence: ``argument 'rows'``, ``the result``.
        root: What its path begins with: ``rows``, ``result``.
        levels: How deep containers may be nested in it.
        judged: Which single values are refused.

    Returns:
        The error, to be raised.

    Example:
        >>> print(refusal([1, {"when": 1j}], "argument 'rows'", "rows"))
        argument 'rows'[1]['when'] is a complex, which cannot travel; send str(…) or publish with \
safe_args=False
    """
    found = refusal_of(value, label, root, levels=levels, judged=judged)
    return found or CannotTravel(
        f"{label} is nested too deeply for what is left of Python's stack here;"
        " call from a shallower place",
        path=root,
    )


def refusal_of(
    value: Any,
    label: str,
    root: str,
    *,
    levels: int = MAX_DEPTH,
    judged: Callable[[Any, bool], str | None] = judge,
) -> CannotTravel | None:
    """Do as :func:`refusal` for a value that may be blameless; then there is None.

    Example:
        >>> refusal_of([1, 2], "argument 'rows'", "rows") is None
        True
    """
    try:
        found = _Search(levels, judged).look(value, "", as_key=False)
    except RecursionError:
        return None
    if found is None:
        return None
    path, problem = found
    if len(path) > 120:
        path = f"{path[:50]}…{path[-50:]}"
    place = (
        f"{label}{path}"
        if label.startswith("argument '") or not path
        else f"{label} at {path.lstrip()}"
    )
    return CannotTravel(f"{place} {problem}", path=root + path, hint=problem.rpartition("; ")[2])


class _Search:
    """A depth-first search for the first thing that cannot travel."""

    def __init__(self, levels: int, judged: Callable[[Any, bool], str | None]) -> None:
        self.levels = levels
        self.judged = judged
        self.open: set[int] = set()
        self.done: set[int] = set()

    def look(self, value: Any, path: str, *, as_key: bool) -> tuple[str, str] | None:
        problem = self.judged(value, as_key)
        if problem is not None:
            return path, problem
        if type(value) not in CONTAINERS or id(value) in self.done:
            return None
        if id(value) in self.open:
            return path, (
                f"is {type_text(type(value))} that contains itself, which cannot travel;"
                " send each part once, and its name or index where it comes again"
            )
        if len(self.open) >= self.levels:
            return path, (
                f"is nested deeper than {MAX_DEPTH} levels, which cannot travel;"
                " send it flatter, such as a list of its parts that name each other by index"
            )
        self.open.add(id(value))
        for step, child, is_key in _steps(value):
            found = self.look(child, path + step, as_key=is_key)
            if found is not None:
                return found
        self.open.discard(id(value))
        self.done.add(id(value))
        return None


def _steps(value: Any) -> Iterator[tuple[str, Any, bool]]:
    """Give the children of a container, each with the text that leads to it."""
    if type(value) is dict:
        for key, child in value.items():
            shown = _shown_key(key)
            yield f" key {shown}", key, True
            yield f"[{shown}]", child, False
    elif type(value) is set:
        for child in value:
            yield f" element {_shown_key(child)}", child, True
    else:
        for index, child in enumerate(value):
            yield f"[{index}]", child, False


def _shown_key(key: Any) -> str:
    # Only our own types are shown by repr: another's __repr__ is foreign code, and may be long.
    if type(key) in (str, bytes):
        return printable(repr(key)) if len(key) <= 40 else f"{printable(repr(key[:40]))}…"
    if type(key) is int:
        return str(key) if -(10**40) < key < 10**40 else "(a large int)"
    if type(key) in (bool, type(None), float, date, datetime):
        return repr(key)
    return f"({type_text(type(key))})"
