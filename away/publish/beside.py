"""Work that waits for another process, beside a conversation that goes on meanwhile.

The interpreter that tries a payload starts before the first request of a push and is asked for its
verdict before the gateway is: so the one sure test that nothing is missing costs next to no time.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from away.connection.conversations import Wait

if TYPE_CHECKING:
    from collections.abc import Callable

    from away.connection.conversations import Conversation

__all__ = ["Beside"]

PAUSE_SECONDS = 0.002

T = TypeVar("T")


class Beside(Generic[T]):
    """Work that runs beside a conversation.

    It waits for a process and does little else, so it has a thread: a conversation is pumped by one
    driver or the other, and neither is kept from its sockets.

    Args:
        work: What to do; it starts at once.
    """

    def __init__(self, work: Callable[[], T]) -> None:
        self.work = work
        self.value: T | None = None
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self.run, name="away publish", daemon=True)
        self.thread.start()

    def run(self) -> None:
        """Do the work and keep what it gave or raised."""
        try:
            self.value = self.work()
        except BaseException as error:  # raised again in the conversation
            self.error = error

    def result(self) -> Conversation[T]:
        """Wait for the work; return what it gave, or raise what it raised."""
        while self.thread.is_alive():
            yield Wait(PAUSE_SECONDS)
        if self.error is not None:
            raise self.error
        return cast("T", self.value)
