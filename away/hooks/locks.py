"""Locks that nobody holds in a forked process: whoever held one is not there."""

from __future__ import annotations

import os
import threading

__all__ = ["ForkedLock"]


class ForkedLock:
    """A lock that is a new one in each process, re-entrant for signal handlers that import."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Take a lock that nobody holds, in place of one that is never given back."""
        self._process = os.getpid()
        self._lock = threading.RLock()

    @property
    def here(self) -> threading.RLock:
        """The lock of this process."""
        if self._process != os.getpid():
            self.renew()
        return self._lock
