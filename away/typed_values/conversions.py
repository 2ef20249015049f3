"""One value and its type: whether it fits, what travels in its place, and what comes of it there.

A type that needs a look has a :class:`Conversion`; ``None`` stands for a type that is taken as it
comes. Types are taken as typing has them: an int does for a float and a bool for an int, but no text
for a number. This module knows nothing of annotations' texts, of functions or of calls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from away.typed_values.plain_answers import digits_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from enum import Enum

__all__ = [
    "NOTHING",
    "ONE_OF",
    "Conversion",
    "Exactly",
    "Instance",
    "Literals",
    "Member",
    "Misfit",
    "Written",
    "given_text",
    "written_types",
]

# How what a literal expects begins, in words.
ONE_OF = "one of "
# What is given in words, where there is nothing.
NOTHING = "nothing"
# As much of a value as helps to find it.
_MOST_CHARACTERS = 60


class Misfit(Exception):
    """A value that does not fit its type.

    Attributes:
        path: What leads to it, from the inside out while it is raised: ``[0]``, ``.x``, ``['key']``.
        expected: The type that was expected there.
        given: What was there.
        why: What the type itself said, where it did.
    """

    def __init__(self, expected: str, given: str, why: str = "") -> None:
        super().__init__(expected, given)
        self.path: list[str] = []
        self.expected = expected
        self.given = given
        self.why = why

    def below(self, step: str) -> Misfit:
        """Note one step of the way, and return itself to be raised again."""
        self.path.insert(0, step)
        return self


class Conversion(Protocol):
    """How values of one type travel."""

    @property
    def expected(self) -> str:
        """The type in words."""

    def outgoing(self, value: Any) -> Any:
        """Check an argument and return what travels in its place; raises :class:`Misfit`."""

    def incoming(self, value: Any) -> Any:
        """Make the value of what came; raises :class:`Misfit`."""


def given_text(value: Any) -> str:
    """Say what a value is: its type, and a short plain one itself."""
    name = type(value).__name__
    if value is None:
        return "None"
    if type(value) in (str, int, float, bool):
        try:
            shown = repr(value)
        except ValueError:  # an integer of thousands of digits
            return name
        if len(shown) <= _MOST_CHARACTERS:
            return f"{shown} ({name})"
    return name


def misfit(conversion: Conversion, value: Any, why: str = "") -> Misfit:
    """Make the error for a value that is none of a conversion's."""
    return Misfit(conversion.expected, given_text(value), why)


class Exactly:
    """A type whose values travel as they are.

    Args:
        expected: Its name.
        kinds: What does for it.
    """

    def __init__(self, expected: str, *kinds: type) -> None:
        self.expected = expected
        self.kinds = kinds
        self._plain = frozenset({*kinds, bool} if int in kinds else kinds)
        if expected == "float":
            self._plain = frozenset({float})  # an int of a result becomes one

    def is_plain(self, values: Iterable[Any]) -> bool:
        """Tell whether all of many values stay what they are."""
        return self._plain.issuperset(map(type, values))

    def outgoing(self, value: Any) -> Any:
        """Check an argument; it travels as it is."""
        if isinstance(value, self.kinds):
            return value
        raise misfit(self, value)

    def incoming(self, value: Any) -> Any:
        """Check a result; JSON of others may write a whole float as an integer."""
        if not isinstance(value, self.kinds):
            raise misfit(self, value)
        if self.expected == "float" and type(value) is int:
            try:
                return float(value)
            except OverflowError:
                raise misfit(self, value) from None
        return value


class Instance:
    """A class that nothing more is known of: its instances are told from other values."""

    def __init__(self, kind: type) -> None:
        self.expected = kind.__name__
        self._kind = kind

    def outgoing(self, value: Any) -> Any:
        """Check an argument."""
        if isinstance(value, self._kind):
            return value
        raise misfit(self, value)

    incoming = outgoing


class Written:
    """A type that travels as a text or a number, and is read from one.

    Args:
        kind: The type.
        write: Makes what travels of a value.
        sources: What it is read from.
        read: Makes the value; what it raises says that there is none.
        unlike: A class of its own that does not do for it, though it is derived from it.
    """

    def __init__(
        self,
        kind: type,
        write: Callable[[Any], Any],
        sources: tuple[type, ...],
        read: Callable[[Any], Any],
        unlike: type | tuple[()] = (),
    ) -> None:
        self.expected = kind.__name__
        self._unlike = unlike
        self.kind = kind
        self._write = write
        self._sources = sources
        self._read = read

    def outgoing(self, value: Any) -> Any:
        """Check an argument and write it."""
        if isinstance(value, self.kind) and not isinstance(value, self._unlike):
            return self._write(value)
        raise misfit(self, value)

    def incoming(self, value: Any) -> Any:
        """Take a value of the type, or read one."""
        if isinstance(value, self.kind):
            return value
        if type(value) not in self._sources:
            raise misfit(self, value)
        try:
            return self._read(value)
        except (ValueError, ArithmeticError):
            raise misfit(self, value) from None


def written_types() -> dict[type, Written]:
    """Return the types of the standard library that travel written.

    Dates and times of day have no other form in JSON than ISO 8601. The protocol carries a date and
    a datetime as they are, and so they stay; :func:`away.typed_values.as_json` writes them for others.
    """
    import datetime as dt
    from decimal import Decimal
    from fractions import Fraction
    from pathlib import Path, PurePath
    from uuid import UUID

    def same(value: Any) -> Any:
        return value

    return {
        dt.datetime: Written(dt.datetime, same, (str,), dt.datetime.fromisoformat),
        # A datetime is a date to Python, and to nobody who reads one.
        dt.date: Written(dt.date, same, (str,), dt.date.fromisoformat, unlike=dt.datetime),
        dt.time: Written(dt.time, dt.time.isoformat, (str,), dt.time.fromisoformat),
        dt.timedelta: Written(
            dt.timedelta,
            dt.timedelta.total_seconds,
            (int, float),
            lambda seconds: dt.timedelta(seconds=seconds),
        ),
        Decimal: Written(Decimal, str, (str, int, float), _decimal),
        Fraction: Written(Fraction, str, (str, int), Fraction),
        UUID: Written(UUID, str, (str,), UUID),
        Path: Written(Path, str, (str,), Path),
        PurePath: Written(PurePath, str, (str,), PurePath),
    }


def _decimal(value: Any) -> Any:
    from decimal import Decimal

    return Decimal(digits_of(value) if isinstance(value, float) else str(value))


class Member:
    """An enumeration: a member travels as its value."""

    def __init__(self, kind: type[Enum]) -> None:
        self.expected = kind.__name__
        self.kind = kind

    def outgoing(self, value: Any) -> Any:
        """Check an argument and return its value."""
        if isinstance(value, self.kind):
            return value.value
        raise misfit(self, value)

    def incoming(self, value: Any) -> Any:
        """Return the member of that value; one that is only equal, as True is to 1, is none."""
        if isinstance(value, self.kind):
            return value
        for each in (value, tuple(value)) if type(value) is list else (value,):
            try:
                found = self.kind(each)
            except (ValueError, TypeError):
                continue
            if found.value != each or type(found.value) is type(each):
                return found
        raise misfit(self, value)


class Literals:
    """One of some values; members of enumerations travel as theirs."""

    def __init__(self, values: Sequence[Any]) -> None:
        from enum import Enum

        self.expected = ONE_OF + ", ".join(map(repr, values))
        self._values = [(each, each.value if isinstance(each, Enum) else each) for each in values]

    def outgoing(self, value: Any) -> Any:
        """Check an argument."""
        for wanted, travels in self._values:
            if type(value) is type(wanted) and value == wanted:
                return travels
        raise misfit(self, value)

    def incoming(self, value: Any) -> Any:
        """Return which one came."""
        for wanted, travels in self._values:
            if type(value) is type(travels) and value == travels:
                return wanted
        raise misfit(self, value)

    def has(self, value: Any) -> bool:
        """Tell whether a value is one of these, here or as it travels."""
        return any(
            type(value) is type(each) and value == each for pair in self._values for each in pair
        )
