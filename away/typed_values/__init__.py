"""The types of a stub: arguments are checked by its annotations, and results become what it says.

Own code, after a look at what there is: cattrs and msgspec turn plain values into classes, but cattrs
makes an int of ``"3"`` unless each type is told not to, msgspec refuses unions of two dataclasses and
knows no paths on disk, typeguard checks and converts nothing; each costs 40 to 200 ms at its import and
none speaks of arguments. What is needed is small, and imported at the first call of such a stub.

This room knows types and values. What is sent, and to whom, it does not know.
"""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

from away.typed_values.conversions import Exactly, Misfit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from away.signatures import Parameter
    from away.typed_values.conversions import Conversion

__all__ = ["Misfit", "StubTypes", "as_json", "misfit_text"]

_VAR_POSITIONAL, _KEYWORD_ONLY, _VAR_KEYWORD = 2, 3, 4


class StubTypes:
    """What the annotations of one stub say, read when it is called first.

    Args:
        name: What errors call the function.
        parameters: Its parameters, without one that is not sent.
        annotations: Its annotations, as types or as texts.
        scope: Gives the names by which texts are evaluated, the nearest first.
        kind: How it is called: a generator's items are of the type that its iterator has.
    """

    def __init__(
        self,
        name: str,
        parameters: Sequence[Parameter],
        annotations: Mapping[str, Any],
        scope: Callable[[], Sequence[Mapping[str, Any]]],
        kind: str = "sync",
    ) -> None:
        from away.typed_values.reading import Reader

        self._name = name
        reader = Reader(*scope())
        conversions = {key: _read(reader, value) for key, value in annotations.items()}
        self._result = _result_of(reader, annotations.get("return"), kind)
        self._positional: list[tuple[Parameter, Conversion | None]] = []
        self._by_name: dict[str, tuple[Parameter, Conversion | None]] = {}
        self._rest: tuple[Parameter, Conversion | None] | None = None
        self._further: tuple[Parameter, Conversion | None] | None = None
        for each in parameters:
            self._sort_in(each, conversions.get(each.name))
        self._checks = any(conversions.get(each.name) is not None for each in parameters)

    def _sort_in(self, parameter: Parameter, conversion: Conversion | None) -> None:
        pair = parameter, conversion
        if parameter.kind < _VAR_POSITIONAL:
            self._positional.append(pair)
        if parameter.kind in (1, _KEYWORD_ONLY):
            self._by_name[parameter.name] = pair
        elif parameter.kind == _VAR_POSITIONAL:
            self._rest = pair
        elif parameter.kind == _VAR_KEYWORD:
            self._further = pair

    @property
    def converts_results(self) -> bool:
        """Whether a result is made into something, or only checked, or nothing is known of it."""
        return self._result is not None and not isinstance(self._result, Exactly)

    def prepare(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Check the arguments of a call, which fit the signature, and return what travels.

        Raises:
            TypeError: One is of another type than its annotation says; it is named, with the path
                into it, what was expected there and what was given.
        """
        if not self._checks:
            return args, kwargs
        taken = len(self._positional)
        made = tuple(
            self._one(self._positional[i] if i < taken else self._rest, value)
            for i, value in enumerate(args)
        )
        if not kwargs:
            return made, kwargs
        return made, {
            name: self._one(self._by_name.get(name, self._further), value, name)
            for name, value in kwargs.items()
        }

    def _one(
        self, pair: tuple[Parameter, Conversion | None] | None, value: Any, name: str = ""
    ) -> Any:
        if pair is None:
            return value
        parameter, conversion = pair
        if conversion is None:
            return value
        try:
            return conversion.outgoing(value)
        except Misfit as error:
            # As in `x: int = None`, which was how an optional one was written.
            if parameter.has_default and value is parameter.default:
                return value
            raise TypeError(
                f"{self._name}() argument {name or parameter.name!r}{''.join(error.path)} must be"
                f" {error.expected}, not {error.given}"
            ) from None
        except RecursionError:
            raise TypeError(
                f"{self._name}() argument {name or parameter.name!r} is nested too deep"
            ) from None

    def result(self, value: Any) -> Any:
        """Make the result of what came.

        Raises:
            Misfit: It is of another type than the return annotation says.
        """
        if self._result is None:
            return value
        try:
            return self._result.incoming(value)
        except RecursionError:
            raise Misfit(self._result.expected, "a value nested too deep") from None

    def answered(self, value: Any) -> Any:
        """Make the result of a plain answer.

        Functions that know nothing of Content-Types say their JSON as text, and nothing by an empty
        answer: a text or bytes that do not fit as they are are read so.

        Raises:
            Misfit: As :meth:`result` does.
        """
        try:
            return self.result(value)
        except Misfit:
            if type(value) not in (str, bytes):
                raise
            try:
                return self.result(json.loads(value) if value.strip() else None)
            except (ValueError, RecursionError):
                pass
            raise


def misfit_text(error: Misfit) -> str:
    """Say what was expected of a result, where in it, and what was given."""
    where = f" at result{''.join(error.path)}" if error.path else ""
    why = f" ({error.why})" if error.why else ""
    return f"{error.given}{where}, where the stub's annotations say {error.expected}{why}"


def as_json(value: Any) -> Any:
    """Write what JSON lacks as what it has: dates as ISO 8601, tuples and sets as lists.

    For a function that is none of Away's; the protocol carries all of these as they are.
    """
    if isinstance(value, dt.date):
        return value.isoformat()
    if type(value) in (list, tuple, set, frozenset):
        return [as_json(each) for each in value]
    if type(value) is dict:
        return {
            key.isoformat() if isinstance(key, dt.date) else key: as_json(each)
            for key, each in value.items()
        }
    return value


def _read(reader: Any, annotation: Any) -> Conversion | None:
    try:
        found: Conversion | None = reader.read(annotation)
    except Exception:  # an annotation may be any object; it is no reason for a call to fail
        return None
    return found


def _result_of(reader: Any, annotation: Any, kind: str) -> Conversion | None:
    """Return the conversion of what the function answers: of items, where it gives an iterator."""
    if annotation is None:
        # `-> None` says that the answer is nothing to look at, and an absent one nothing at all.
        return None
    try:
        items: Conversion | None = reader.items_of(annotation)
    except Exception:  # as above
        return None
    if items is not None or kind.endswith("generator"):
        return items
    return _read(reader, annotation)
