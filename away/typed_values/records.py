"""Values with named fields: dataclasses, named tuples and typed dicts, which travel as plain ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from away.typed_values.containers import through
from away.typed_values.conversions import NOTHING, Literals, Misfit, given_text, misfit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from away.typed_values.conversions import Conversion

    # Made at the first value: a field's type may be the class itself, or not be defined yet.
    Fields = Callable[[], Mapping[str, Conversion | None]]

__all__ = ["DataclassRecord", "DictRecord", "TupleRecord"]


class DataclassRecord:
    """A dataclass, which travels as a dict of its fields; fields that it does not have are left out.

    Args:
        kind: The class.
        fields: Gives the conversions of its fields.
    """

    def __init__(self, kind: Any, fields: Fields) -> None:
        self.expected = kind.__name__
        self._kind = kind
        self._fields = fields

    def outgoing(self, value: Any) -> Any:
        """Check an argument and return the dict of its fields, those of a subclass included."""
        import dataclasses

        if not isinstance(value, self._kind):
            raise misfit(self, value)
        known, made = self._fields(), {}
        for each in dataclasses.fields(value):
            made[each.name] = _field(
                known.get(each.name), each.name, getattr(value, each.name), incoming=False
            )
        return made

    def knows_all_of(self, value: Any) -> bool:
        """Tell whether a dict has the fields of this class and no others."""
        return isinstance(value, dict) and not set(value) - set(self._fields())

    def likeness(self, value: Any) -> tuple[int, int]:
        """Say how much a value is like one: see :func:`_likeness`."""
        return _likeness(self._fields(), value)

    def incoming(self, value: Any) -> Any:
        """Make an instance of a dict."""
        import dataclasses

        if isinstance(value, self._kind):
            return value
        if not isinstance(value, dict):
            raise misfit(self, value)
        known, given = self._fields(), {}
        for each in dataclasses.fields(self._kind):
            if not each.init:
                continue
            if each.name in value:
                given[each.name] = _field(
                    known.get(each.name), each.name, value[each.name], incoming=True
                )
            elif each.default is each.default_factory is dataclasses.MISSING:
                raise Misfit(_wanted(known.get(each.name)), NOTHING).below(f".{each.name}")
        return _made(self, value, lambda: self._kind(**given))


class TupleRecord:
    """A named tuple, which travels as a tuple; a dict of its fields is taken as well."""

    def __init__(self, kind: Any, fields: Fields) -> None:
        self.expected = kind.__name__
        self._kind = kind
        self._fields = fields

    def outgoing(self, value: Any) -> Any:
        """Check an argument and return the plain tuple."""
        if not isinstance(value, self._kind):
            raise misfit(self, value)
        known = self._fields()
        names: Sequence[str] = self._kind._fields
        return tuple(
            _field(known.get(name), name, each, incoming=False)
            for name, each in zip(names, value, strict=True)
        )

    def knows_all_of(self, value: Any) -> bool:
        """Tell whether a dict has the fields of this class and no others."""
        return isinstance(value, dict) and not set(value) - set(self._kind._fields)

    def likeness(self, value: Any) -> tuple[int, int]:
        """Say how much a value is like one: see :func:`_likeness`."""
        return _likeness(self._fields(), value)

    def incoming(self, value: Any) -> Any:
        """Make an instance of a tuple, of a list, or of a dict."""
        if isinstance(value, self._kind):
            return value
        names: Sequence[str] = self._kind._fields
        if isinstance(value, tuple | list):
            if len(value) > len(names):
                raise Misfit(self.expected, f"{type(value).__name__} of {len(value)}")
            value = dict(zip(names, value, strict=False))
        elif not isinstance(value, dict):
            raise misfit(self, value)
        known, given = self._fields(), {}
        for name in names:
            if name in value:
                given[name] = _field(known.get(name), name, value[name], incoming=True)
            elif name not in self._kind._field_defaults:
                raise Misfit(_wanted(known.get(name)), NOTHING).below(f".{name}")
        return _made(self, value, lambda: self._kind(**given))


class DictRecord:
    """A typed dict, which is a dict there too; keys that a result has beside its own stay.

    Args:
        kind: The class.
        fields: Gives the conversions of its keys.
        required: Gives the keys that must be there.
    """

    def __init__(self, kind: type, fields: Fields, required: Callable[[], frozenset[str]]) -> None:
        self.expected = kind.__name__
        self._fields = fields
        self._required = required

    def outgoing(self, value: Any) -> Any:
        """Check an argument, which may have no other keys."""
        made = self._each(value, incoming=False)
        for key in made:
            if key not in self._fields():
                raise Misfit(
                    self.expected, f"a dict with the key {key!r}, which {self.expected} has not"
                )
        return made

    def knows_all_of(self, value: Any) -> bool:
        """Tell whether a dict has the keys of this one and no others."""
        return isinstance(value, dict) and not set(value) - set(self._fields())

    def likeness(self, value: Any) -> tuple[int, int]:
        """Say how much a value is like one: see :func:`_likeness`."""
        return _likeness(self._fields(), value)

    def incoming(self, value: Any) -> Any:
        """Make the dict of what came."""
        return self._each(value, incoming=True)

    def _each(self, value: Any, *, incoming: bool) -> dict[Any, Any]:
        if not isinstance(value, dict):
            raise misfit(self, value)
        made, known = dict(value), self._fields()
        for name, conversion in known.items():
            if name in value:
                try:
                    made[name] = through(conversion, value[name], incoming=incoming)
                except Misfit as error:
                    raise error.below(f"[{name!r}]") from None
            elif name in self._required():
                raise Misfit(_wanted(conversion), NOTHING).below(f"[{name!r}]")
        return made


def _likeness(fields: Mapping[str, Conversion | None], value: Any) -> tuple[int, int]:
    """Say how much a dict is like a record, to tell which of several was meant.

    Returns:
        How many of its literals say so, or -1 if one says no; and how many of the names are there.
    """
    if not isinstance(value, dict):
        return 0, 0
    there = {name: each for name, each in fields.items() if name in value}
    literals = [each.has(value[name]) for name, each in there.items() if isinstance(each, Literals)]
    return sum(literals) if all(literals) else -1, len(there)


def _wanted(conversion: Conversion | None) -> str:
    return "a value" if conversion is None else conversion.expected


def _field(conversion: Conversion | None, name: str, value: Any, *, incoming: bool) -> Any:
    try:
        return through(conversion, value, incoming=incoming)
    except Misfit as error:
        raise error.below(f".{name}") from None


def _made(record: Conversion, value: Any, make: Callable[[], Any]) -> Any:
    try:
        return make()
    except Exception as error:  # what the user's own class says of its values
        why = f"{type(error).__name__}: {error}"
        raise Misfit(record.expected, given_text(value), why) from error
