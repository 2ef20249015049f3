"""Whether what was packed loads where nothing else is: tried while the image is being pushed.

The interpreter that tries it starts before the first request of the push and is asked for its
verdict before the gateway is: so the one sure test that nothing is missing costs next to no time.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from away.connection.conversations import Wait

if TYPE_CHECKING:
    from collections.abc import Callable

    from away.connection.conversations import Conversation

__all__ = ["Verification"]

_PAUSE_SECONDS = 0.002


class Verification:
    """A check that runs beside a conversation.

    It waits for another process and does nothing else, so it has a thread: the conversation is
    pumped by one driver or the other, and neither is kept from its sockets.

    Args:
        check: Raises for a payload that does not load.
    """

    def __init__(self, check: Callable[[], None]) -> None:
        self.check = check
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self.run, name="away payload check", daemon=True)
        self.thread.start()

    def run(self) -> None:
        """Run the check and keep what it raised."""
        try:
            self.check()
        except BaseException as error:  # raised again in the conversation
            self.error = error

    def verdict(self) -> Conversation[None]:
        """Wait for the check and raise what it raised."""
        while self.thread.is_alive():
            yield Wait(_PAUSE_SECONDS)
        if self.error is not None:
            raise self.error
