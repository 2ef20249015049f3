"""Values that hold others: lists, tuples, sets and mappings, and unions of types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from away.typed_values.conversions import (
    ONE_OF,
    Exactly,
    Literals,
    Misfit,
    Written,
    given_text,
    misfit,
)
from away.typed_values.plain_answers import key_in_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from away.typed_values.conversions import Conversion

__all__ = ["FixedTuple", "Items", "IteratorItems", "Later", "Pairs", "Union"]

# Whose items can be looked at without using them up.
_LOOKED_INTO = (list, tuple, set, frozenset)


class Items:
    """A list, a set, a tuple of any length, or an abstract kind of these.

    Args:
        expected: The type in words.
        kind: What an argument must be an instance of.
        item: The items' type, or None where they may be anything.
        make: Makes a result of what came; an abstract kind leaves it what it is.
        sources: What a result may come as.
    """

    def __init__(
        self,
        expected: str,
        kind: type,
        item: Conversion | None,
        make: type | None,
        sources: tuple[type, ...],
    ) -> None:
        self.expected = expected
        self._kind = kind
        self._item = item
        self._make = make
        self._sources = sources

    def outgoing(self, value: Any) -> Any:
        """Check an argument and its items, where looking at them does not use them up."""
        if not isinstance(value, self._kind):
            raise misfit(self, value)
        if self._item is None or not isinstance(value, _LOOKED_INTO):
            return value
        return self._each(value, self._item.outgoing, type(value))

    def incoming(self, value: Any) -> Any:
        """Make the value of what came."""
        if not isinstance(value, self._sources):
            raise misfit(self, value)
        if self._item is None or not isinstance(value, _LOOKED_INTO):
            made = value
        else:
            made = self._each(value, self._item.incoming, self._make or type(value))
        if self._make is None or isinstance(made, self._make):
            return made
        try:
            return self._make(made)
        except TypeError as error:  # a set of what cannot be hashed
            raise misfit(self, value, str(error)) from None

    def _each(self, values: Any, convert: Callable[[Any], Any], make: type) -> Any:
        # One look in C at the types of all; most lists are of one plain type.
        if isinstance(self._item, Exactly) and self._item.is_plain(values):
            return values
        made = _converted(values, convert)
        if all(new is old for new, old in zip(made, values, strict=True)):
            return values
        if make not in _LOOKED_INTO:
            return made
        try:
            return make(made)
        except TypeError:
            # What travels for a hashable item need not be hashable itself.
            return made


class IteratorItems:
    """What an iterator gives, as a result: a list of all its items."""

    def __init__(self, item: Conversion) -> None:
        self.expected = f"Iterator[{item.expected}]"
        self._item = item

    def outgoing(self, value: Any) -> Any:
        """Leave an argument: looking at its items would use them up."""
        return value

    def incoming(self, value: Any) -> Any:
        """Make the items, which always come all at once."""
        if isinstance(value, list | tuple):
            return _converted(value, self._item.incoming)
        raise misfit(self, value)


def _converted(values: Iterable[Any], convert: Callable[[Any], Any]) -> list[Any]:
    made: list[Any] = []
    try:
        for each in values:
            made.append(convert(each))  # noqa: PERF401 - how far it came is where the misfit is
    except Misfit as error:
        raise error.below(f"[{len(made)}]") from None
    return made


class FixedTuple:
    """A tuple of so many items, each of its own type."""

    def __init__(self, expected: str, items: Sequence[Conversion | None]) -> None:
        self.expected = expected
        self._items = items

    def outgoing(self, value: Any) -> Any:
        """Check an argument."""
        if not isinstance(value, tuple):
            raise misfit(self, value)
        return self._each(value, incoming=False)

    def incoming(self, value: Any) -> Any:
        """Make the tuple of one, or of a list, as JSON has it."""
        if not isinstance(value, tuple | list):
            raise misfit(self, value)
        return self._each(value, incoming=True)

    def _each(self, values: Sequence[Any], *, incoming: bool) -> tuple[Any, ...]:
        if len(values) != len(self._items):
            raise Misfit(self.expected, f"{type(values).__name__} of {len(values)}")
        made = []
        for i, (item, each) in enumerate(zip(self._items, values, strict=True)):
            try:
                made.append(through(item, each, incoming=incoming))
            except Misfit as error:
                raise error.below(f"[{i}]") from None
        return tuple(made)


def through(conversion: Conversion | None, value: Any, *, incoming: bool) -> Any:
    """Convert a value one way or the other, where there is a conversion."""
    if conversion is None:
        return value
    return conversion.incoming(value) if incoming else conversion.outgoing(value)


class Later:
    """A type that is part of itself, read when a value comes where it stands."""

    def __init__(self, expected: str, read: Callable[[], Conversion | None]) -> None:
        self.expected = expected
        self._read = read

    def outgoing(self, value: Any) -> Any:
        """Check an argument by the type that it is."""
        return through(self._read(), value, incoming=False)

    def incoming(self, value: Any) -> Any:
        """Make the value by the type that it is."""
        return through(self._read(), value, incoming=True)


class Pairs:
    """A dict, or an abstract mapping.

    Args:
        expected: The type in words.
        kind: What an argument must be an instance of.
        key: The keys' type, or None where they may be anything.
        value: The values' type, likewise.
    """

    def __init__(
        self, expected: str, kind: type, key: Conversion | None, value: Conversion | None
    ) -> None:
        self.expected = expected
        self._kind = kind
        self._key = key
        self._value = value

    def outgoing(self, value: Any) -> Any:
        """Check an argument with its keys and values."""
        if not isinstance(value, self._kind):
            raise misfit(self, value)
        return self._each(value, incoming=False) if isinstance(value, dict) else value

    def incoming(self, value: Any) -> Any:
        """Make the dict of what came."""
        if not isinstance(value, dict):
            raise misfit(self, value)
        return self._each(value, incoming=True)

    def _each(self, pairs: dict[Any, Any], *, incoming: bool) -> dict[Any, Any]:
        made, changed = {}, False
        for key, value in pairs.items():
            try:
                new_key = (
                    self._made_key(key) if incoming else through(self._key, key, incoming=False)
                )
            except Misfit as error:
                raise error.below(f" key {given_text(key)}") from None
            try:
                new = through(self._value, value, incoming=incoming)
            except Misfit as error:
                raise error.below(f"[{key!r}]" if isinstance(key, str | int) else "[…]") from None
            changed = changed or new is not value or new_key is not key
            made[new_key] = new
        return made if changed else pairs

    def _made_key(self, key: Any) -> Any:
        try:
            return through(self._key, key, incoming=True)
        except Misfit:
            meant = key_in_text(key)
            if meant is key:
                raise
            return through(self._key, meant, incoming=True)


class Union:
    """One of several types.

    A result that already is of one of them stays what it is, so that a text is no date where a text
    may come; then the first in order takes it that can.
    """

    def __init__(self, members: Sequence[Conversion], *, anything: bool) -> None:
        self._members = members
        self._anything = anything
        # Looked at first: what these take needs no reading.
        ready = [each for each in members if isinstance(each, Exactly | Literals)]
        self._native = [each for each in members if isinstance(each, Written)]
        self._ready = [each for each in ready if each.expected != "float"]

    @property
    def expected(self) -> str:
        """The types in words."""
        return " | ".join(each.expected for each in self._members)

    def outgoing(self, value: Any) -> Any:
        """Check an argument by the first member that takes it."""
        return self._first(value, [(each, each.outgoing) for each in self._members])

    def incoming(self, value: Any) -> Any:
        """Make the value by the member that it fits best."""
        for each in self._native:
            if type(value) is each.kind:
                return value
        for ready in self._ready:
            try:
                return ready.incoming(value)
            except Misfit:
                continue
        whole = [each for each in self._members if getattr(each, "knows_all_of", _no)(value)]
        ordered = [*whole, *(each for each in self._members if each not in whole)]
        return self._first(value, [(each, each.incoming) for each in ordered])

    def _first(self, value: Any, ways: Sequence[tuple[Conversion, Callable[[Any], Any]]]) -> Any:
        misfits: list[tuple[tuple[int, int, int], Misfit]] = []
        for member, convert in ways:
            try:
                return convert(value)
            except Misfit as error:
                likeness = getattr(member, "likeness", _unlike)(value)
                misfits.append(((*likeness, len(error.path)), error))
        if self._anything:
            return value
        raise self._meant(value, misfits)

    def _meant(self, value: Any, misfits: list[tuple[tuple[int, int, int], Misfit]]) -> Misfit:
        """Return what the member says that was meant: the one likest to the value, if there is one."""
        most = max(rank for rank, _ in misfits)
        likest = [error for rank, error in misfits if rank == most]
        first = likest[0]
        if not first.path and (len(likest) > 1 or most <= _NOTHING_ALIKE):
            return misfit(self, value)
        if len(likest) == 1:
            return first
        if any((each.path, each.given) != (first.path, first.given) for each in likest):
            return misfit(self, value)
        return _either(likest)


# What a rank is where nothing of the value is a member's.
_NOTHING_ALIKE = (0, 0, 0)


def _unlike(_value: Any) -> tuple[int, int]:
    return 0, 0


def _either(misfits: Sequence[Misfit]) -> Misfit:
    """Return one error for several members, which expected different things in the same place."""
    expected = list(dict.fromkeys(each.expected for each in misfits))
    literals = [each.removeprefix(ONE_OF) for each in expected if each.startswith(ONE_OF)]
    if len(literals) == len(expected):
        text = ONE_OF + ", ".join(literals)
    else:
        text = " | ".join(expected)
    found = Misfit(text, misfits[0].given)
    found.path = misfits[0].path
    return found


def _no(_value: Any) -> bool:
    return False
