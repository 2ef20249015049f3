"""One at a time for what several publishes of one process need alike: a layer, an upload.

Who comes second waits for who is first, and then finds made what it was about to make. The waiting is
a conversation's, so that it works among threads and among the tasks of one event loop.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from away.connection.conversations import Wait

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from away.connection.conversations import Conversation

__all__ = ["GATES", "Gates"]

PAUSE_SECONDS = 0.005


class Gates:
    """Keys of which each is held by one conversation at most.

    Example::

        with (yield from GATES.holding(f"{registry} {digest}")):
            ...                         # nobody else of this process is here with the same key
    """

    def __init__(self) -> None:
        self.held: dict[str, int] = {}
        self.process = os.getpid()
        self.lock = threading.Lock()  # guards held and process

    def holding(self, key: str) -> Conversation[AbstractContextManager[None]]:
        """Wait until nobody holds a key, and hold it until the context that is returned ends."""
        while not self.take(key):
            yield Wait(PAUSE_SECONDS)
        return self.until_released(key)

    def take(self, key: str) -> bool:
        """Hold a key if nobody does; never waits."""
        if self.process != os.getpid():
            # A forked child has none of the threads that held something, and perhaps a held lock.
            self.lock, self.held, self.process = threading.Lock(), {}, os.getpid()
        with self.lock:
            if key in self.held:
                return False
            self.held[key] = threading.get_ident()
            return True

    @contextmanager
    def until_released(self, key: str) -> Iterator[None]:
        """Release a key at the end, however that comes."""
        try:
            yield
        finally:
            with self.lock:
                self.held.pop(key, None)


# What the publishes of this process share.
GATES = Gates()
