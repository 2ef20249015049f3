"""Inputs read lazily, some at a time: as many as come quickly, and one where they come slowly."""

from __future__ import annotations

import time
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from away.mapping.batch_calls import Input
    from away.mapping.workers import Piece

__all__ = ["Inputs"]

# A step that took longer was slow: what came is sent before the next one is waited for.
_SLOW_SECONDS = 0.001


class Inputs:
    """An iterable of inputs, read in the thread that iterates and never further than asked for.

    Args:
        inputs: The arguments of each call.
        clock: Tells seconds.

    Attributes:
        count: How many were read.
        is_all: Whether there are no more.
        error: What the iterable raised; to be raised once the results of what came before are out.
    """

    def __init__(
        self, inputs: Iterable[Input], clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._iterator = iter(inputs)
        self._clock = clock
        self._step = 1
        self.count = 0
        self.is_all = False
        self.error: Exception | None = None

    def read(self, most: int, size: int) -> list[Piece]:
        """Read at most so many, in pieces of a size; fewer where they come slowly.

        Raises:
            BaseException: What is no Exception, such as KeyboardInterrupt, at once.
        """
        pieces: list[Piece] = []
        while most > 0 and not self.is_all:
            begun: list[Input] = []
            start, wanted = self.count, min(most, size)
            slow = self._fill(begun, wanted)
            most -= len(begun)
            if begun:
                pieces.append((start, begun))
            if slow:
                break
        return pieces

    async def aclose(self) -> None:
        """Do nothing: what is read here is not waited for."""

    def _fill(self, begun: list[Input], wanted: int) -> bool:
        """Read until there are so many; True if it was broken off since they come slowly."""
        while len(begun) < wanted:
            step = min(self._step, wanted - len(begun))
            before, began = len(begun), self._clock()
            try:
                # What came before an exception stays in the list.
                begun.extend(islice(self._iterator, step))
            except Exception as error:  # the user's own iterable
                self.error, self.is_all = error, True
            came = len(begun) - before
            self.count += came
            if came < step:
                self.is_all = True
                return False
            if self._clock() - began > _SLOW_SECONDS:
                self._step = 1
                return True
            self._step = min(2 * self._step, 1024)
        return False
