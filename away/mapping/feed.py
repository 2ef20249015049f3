"""Inputs of an asynchronous iterable: waited for beside everything else, by a task of its own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable

    from away.mapping.batch_calls import Input
    from away.mapping.workers import Piece

__all__ = ["Feed"]


class Feed:
    """What reads an asynchronous iterable; beside :class:`away.mapping.inputs.Inputs` for others.

    Args:
        inputs: The arguments of each call.

    Attributes:
        count: How many were read.
        is_all: Whether there are no more.
        error: What the iterable raised.
    """

    def __init__(self, inputs: AsyncIterable[Input]) -> None:
        self._inputs = inputs
        self._room = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.count = 0
        self.is_all = False
        self.error: Exception | None = None

    def start(
        self,
        put: Callable[[list[Piece], bool], None],
        ended: Callable[[], None],
        has_room: Callable[[], bool],
    ) -> None:
        """Begin to read.

        Args:
            put: Takes what was read.
            ended: Told of the end.
            has_room: Whether one more may be read.
        """
        self._task = asyncio.ensure_future(self._read(put, ended, has_room))

    def read(self, most: int, size: int) -> list[Piece]:
        """Let the task read on; it hands over by itself."""
        del most, size
        self._room.set()
        return []

    async def aclose(self) -> None:
        """End the task, and the iterable where it is a generator."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        close = getattr(self._inputs, "aclose", None)
        if close is not None:
            await close()

    async def _read(
        self,
        put: Callable[[list[Piece], bool], None],
        ended: Callable[[], None],
        has_room: Callable[[], bool],
    ) -> None:
        try:
            async for each in self._inputs:
                self.count += 1
                put([(self.count - 1, [each])], False)
                while not has_room():
                    self._room.clear()
                    await self._room.wait()
        except Exception as error:  # the user's own iterable
            self.error = error
        self.is_all = True
        ended()
