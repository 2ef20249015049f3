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

from away.typed_values.conversions import NOTHING, Exactly, Misfit
from away.typed_values.plain_answers import PlainAnswer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from away.signatures import Parameter
    from away.typed_values.conversions import Conversion

__all__ = ["Misfit", "StubTypes", "as_json", "misfit_text"]

# Stands for no return annotation, since None is one.
_UNANNOTATED: Any = object()

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
        self._needs_digits = False
        self._reader = reader = Reader(*scope())
        conversions = {key: _read(reader, value) for key, value in annotations.items()}
        self._result = _result_of(reader, annotations.get("return", _UNANNOTATED), kind)
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
        if isinstance(self._result, Exactly):
            # A plain type reads the answer in its own way; an absent value is what says nothing.
            return self._result.expected == "None"
        return self._result is not None

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
            where = f"{self._name}() argument {name or parameter.name!r}{''.join(error.path)}"
            if error.given == NOTHING:
                raise TypeError(f"{where} is missing and must be {error.expected}") from None
            raise TypeError(f"{where} must be {error.expected}, not {error.given}") from None
        except RecursionError:
            raise TypeError(
                f"{self._name}() argument {name or parameter.name!r} is nested too deep"
            ) from None

    def as_json(self, value: Any) -> Any:
        """Write a prepared argument for a function that is none of Away's: see :func:`as_json`.

        Keys become texts only where annotations say what they are, and results so get them back.
        """
        return as_json(value, text_keys=self._reader.knows_keys)

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

    def answered(self, read: Callable[[Callable[[str], Any]], Any]) -> Any:
        """Make the result of a plain answer.

        Functions that know nothing of Content-Types say their JSON as text, and nothing by an empty
        answer: a text or bytes that do not fit as they are are read so.

        Args:
            read: Reads the answer, with what is given it in the place of :func:`json.loads`.

        Raises:
            Misfit: As :meth:`result` does.
        """
        with PlainAnswer(keep_digits=self._needs_digits) as answer:
            made = self._answered(read(answer.loads), answer)
        if not answer.misses_digits:
            return made
        # A Decimal was met for the first time; what classes have fields of that type is not known before.
        self._needs_digits = True
        return self.answered(read)

    def _answered(self, value: Any, answer: PlainAnswer) -> Any:
        try:
            return self.result(value)
        except Misfit:
            if type(value) not in (str, bytes):
                raise
            try:
                return self.result(answer.loads(value) if value.strip() else None)
            except (ValueError, RecursionError):
                pass
            raise


def misfit_text(error: Misfit) -> str:
    """Say what was expected of a result, where in it, and what was given."""
    where = f" at result{''.join(error.path)}" if error.path else ""
    why = f" ({error.why})" if error.why else ""
    if error.given == NOTHING:
        return f"without result{''.join(error.path)}, where the stub's annotations say {error.expected}"
    return f"{error.given}{where}, where the stub's annotations say {error.expected}{why}"


def as_json(value: Any, *, text_keys: bool = False) -> Any:
    """Write what JSON lacks as what it has: dates as ISO 8601, tuples and sets as lists.

    For a function that is none of Away's; the protocol carries all of these as they are.

    Args:
        value: The argument, as it would travel by the protocol.
        text_keys: Whether keys that are numbers, truth values or None become texts as JSON writes them.
    """
    if isinstance(value, dt.date):
        return value.isoformat()
    if type(value) in (list, tuple, set, frozenset):
        return [as_json(each, text_keys=text_keys) for each in value]
    if type(value) is dict:
        made = {
            _as_key(key, text_keys=text_keys): as_json(each, text_keys=text_keys)
            for key, each in value.items()
        }
        # Of two keys with the same text, one would be lost.
        return made if len(made) == len(value) else value
    return value


def _as_key(key: Any, *, text_keys: bool) -> Any:
    if isinstance(key, dt.date):
        return key.isoformat()
    if text_keys and (key is None or type(key) in (bool, int, float)):
        return json.dumps(key)
    return key


def _read(reader: Any, annotation: Any) -> Conversion | None:
    try:
        found: Conversion | None = reader.read(annotation)
    except Exception:  # an annotation may be any object; it is no reason for a call to fail
        return None
    return found


def _result_of(reader: Any, annotation: Any, kind: str) -> Conversion | None:
    """Return the conversion of what the function answers: of items, where it gives an iterator."""
    if annotation is _UNANNOTATED:
        return None
    try:
        items: Conversion | None = reader.items_of(annotation)
    except Exception:  # as above
        return None
    if items is not None or kind.endswith("generator"):
        return items
    return _read(reader, annotation)
