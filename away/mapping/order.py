"""Results put into the order of their inputs, or handed on as they come."""

from __future__ import annotations

from typing import Any

__all__ = ["Order"]


class Order:
    """Hold results back until all before them are there.

    Args:
        ordered: False to hold nothing back.

    >>> order = Order(True)
    >>> order.add(1, ["b"]), order.add(0, ["a"])
    ([], ['a', 'b'])
    """

    def __init__(self, ordered: bool) -> None:
        self._ordered = ordered
        self._next = 0
        self._held: dict[int, list[Any]] = {}

    def add(self, start: int, results: list[Any]) -> list[Any]:
        """Take results with the place of their first; return those whose turn it is now."""
        if not self._ordered:
            return results
        if start != self._next:
            self._held[start] = results
            return []
        self._next += len(results)
        if self._next in self._held:
            results = [*results]
            while (more := self._held.pop(self._next, None)) is not None:
                results += more
                self._next += len(more)
        return results
