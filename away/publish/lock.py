"""One publish at a time of one function by one user, whatever number of processes begin it.

Eight workers that import a publishing module at once publish once: the first holds the lock, and the
others, when they get it, find deployed what they were about to deploy. A lock is a convenience and
never a condition: where no folder can be written, publishing goes on without.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Self

from away.publish.cache import private_folder

try:
    import fcntl
except ImportError:  # Windows: publishing goes on without a lock
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

__all__ = ["PublishLock"]


class PublishLock:
    """The lock of a name on a gateway; it is let go with the process that holds it.

    Args:
        cache: The folder to lock in, or None for no lock at all.
        key: What is locked; another text is another lock.
    """

    def __init__(self, cache: Path | None, key: str) -> None:
        folder = cache / "locks" if cache is not None else None
        usable = folder is not None and fcntl is not None and private_folder(folder)
        name = hashlib.sha256(key.encode()).hexdigest()[:32]
        self.path = folder / name if folder is not None and usable else None
        self.descriptor = -1

    def try_once(self) -> bool:
        """Take the lock if nobody holds it; never waits.

        A second descriptor of one process is kept out as well, so threads exclude each other too.
        """
        if self.path is None:
            return True
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            self.path = None
            return True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        except OSError:  # a file system without locks
            os.close(descriptor)
            self.path = None
            return True
        self.descriptor = descriptor
        return True

    def release(self) -> None:
        """Let go of it; the file stays, since removing it would let two in."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()
