"""What an answer that is JSON says beyond its values: the digits of its numbers.

JSON's numbers may be exact, and a Decimal is; a float is neither. Whatever has another type still gets
the float, so that the digits are looked up only where a Decimal is made.
"""

from __future__ import annotations

import json
from contextvars import ContextVar
from typing import Any, Self

__all__ = ["PlainAnswer", "digits_of", "key_in_text"]

# The answer whose value is being made, in this thread or task.
_READ: ContextVar[PlainAnswer | None] = ContextVar("away_plain_answer", default=None)


class PlainAnswer:
    """One answer while it is read: a context, in which :func:`digits_of` knows its numbers.

    Args:
        keep_digits: Whether the digits of its numbers are kept, which costs time.
    """

    def __init__(self, *, keep_digits: bool) -> None:
        # Whether a Decimal asked for digits that were not kept.
        self.misses_digits = False
        self._keep = keep_digits
        self._digits: dict[int, tuple[float, str]] = {}

    def loads(self, text: str | bytes) -> Any:
        """Read JSON as :func:`json.loads` does."""
        return json.loads(text, parse_float=self._float) if self._keep else json.loads(text)

    def _float(self, text: str) -> float:
        number = float(text)
        # The number is kept beside its digits: while it lives, no other has its identity.
        self._digits[id(number)] = number, text
        return number

    def digits(self, number: float) -> str:
        """Return a number as the answer wrote it."""
        if not self._keep:
            self.misses_digits = True
        return self._digits[id(number)][1] if id(number) in self._digits else str(number)

    def __enter__(self) -> Self:
        self._token = _READ.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        _READ.reset(self._token)


def digits_of(number: float) -> str:
    """Return a number's digits: as the answer wrote them, else as few as tell it from others."""
    answer = _READ.get()
    return str(number) if answer is None or type(number) is not float else answer.digits(number)


def key_in_text(key: Any) -> Any:
    """Return what a key stands for in an answer of JSON, whose keys are texts; else the key itself."""
    if _READ.get() is None or type(key) is not str:
        return key
    try:
        found = json.loads(key)
    except (ValueError, RecursionError):
        return key
    return found if found is None or isinstance(found, int | float) else key
