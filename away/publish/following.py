"""Bytes that a thread reads while they come: what is done with them holds up no event loop.

They go through a file, for they may come faster than they are read, and be gigabytes.
"""

from __future__ import annotations

import os
import tempfile
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from away.connection.conversations import Wait
from away.publish.transfer import FileTaker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import IO

    from away.connection.conversations import Conversation
    from away.publish.transfer import Taker

__all__ = ["Follower", "following"]

PIECE_BYTES = 1 << 16
PAUSE_SECONDS = 0.002


@contextmanager
def following(taker: Taker, folder: Path | None) -> Iterator[Follower]:
    """Give a follower with a file of its own, and end both.

    Args:
        taker: What the bytes go to, in a thread.
        folder: Where the file is; a temporary folder if left out.
    """
    with tempfile.TemporaryFile(dir=folder) as file:
        follower = Follower(taker, file)
        try:
            yield follower
        finally:
            # Its file is closed next.
            follower.stop()


class Follower:
    """Takes bytes as they come, and has a thread give them on.

    Args:
        taker: What they go to, in that thread.
        file: What they are kept in until then.
    """

    def __init__(self, taker: Taker, file: IO[bytes]) -> None:
        self.taker = taker
        self.file = FileTaker(file)
        self.descriptor = file.fileno()
        self.changed = threading.Condition()
        self.there = 0
        self.turn = 0  # how often it came from its beginning
        self.whole = False
        self.stopped = False
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self.run, name="away layer", daemon=True)
        self.thread.start()

    def restart(self) -> None:
        """Forget what came: it comes once more from the beginning."""
        with self.changed:
            self.turn, self.there = self.turn + 1, 0
            self.file.restart()

    def write(self, piece: bytes) -> None:
        """Take the next bytes."""
        self.file.write(piece)
        self.file.file.flush()
        with self.changed:
            self.there += len(piece)
            self.changed.notify()

    def finish(self) -> Conversation[None]:
        """Wait until all that came was given on."""
        with self.changed:
            self.whole = True
            self.changed.notify()
        while self.thread.is_alive():
            yield Wait(PAUSE_SECONDS)
        if self.error is not None:
            raise self.error

    def stop(self) -> None:
        """End it, done or not."""
        with self.changed:
            self.stopped = True
            self.changed.notify()
        self.thread.join()

    def run(self) -> None:
        """Give on what comes, in the thread."""
        try:
            self.follow()
        except BaseException as error:  # raised again in the conversation
            self.error = error

    def follow(self) -> None:
        """Give on what comes, and begin anew when it does."""
        turn = at = 0
        while True:
            with self.changed:
                self.changed.wait_for(
                    lambda: self.stopped or self.whole or self.turn != turn or self.there > at  # noqa: B023
                )
                if self.stopped:
                    return
                again = self.turn != turn
                turn, at = self.turn, 0 if again else at
                piece = os.pread(self.descriptor, min(PIECE_BYTES, self.there - at), at)
                done = self.whole and self.there == at
            if again:
                self.taker.restart()
            if done:
                return
            if piece:
                self.taker.write(piece)
                at += len(piece)
