"""Limits of what this machine takes on: so many calls at once, or so much load.

:mod:`away.placement` asks them whether a call runs here; they know nothing of calls or gateways.
"""

from __future__ import annotations

import os
import threading

from away.exceptions import ConfigError

__all__ = ["CallsRunning", "LoadAverage", "calls_running", "load_average"]


class CallsRunning:
    """A limit of calls that run here at once; made by :func:`calls_running`."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.running = 0
        self._lock = threading.Lock()  # guards running

    def __repr__(self) -> str:
        return f"calls_running({self.limit})"

    def admits(self) -> bool:
        """Take a place for a call that is about to run here, if there is one."""
        with self._lock:
            admitted = self.running < self.limit
            self.running += admitted
            return admitted

    def enter(self) -> None:
        """Count a call that runs here whether there is a place or not."""
        with self._lock:
            self.running += 1

    def leave(self) -> None:
        """Give the place of a call back, however it ended."""
        with self._lock:
            self.running -= 1


class LoadAverage:
    """A limit of the load of this machine; made by :func:`load_average`."""

    def __init__(self, limit: float) -> None:
        self.limit = limit

    def __repr__(self) -> str:
        return f"load_average({self.limit:g})"

    def admits(self) -> bool:
        """Tell whether a call may run here."""
        return os.getloadavg()[0] < self.limit

    def enter(self) -> None:
        """Do nothing: the system counts by itself."""

    def leave(self) -> None:
        """Do nothing."""


def calls_running(limit: int) -> CallsRunning:
    """Let calls run here while fewer than so many do; the others go to the gateway.

    One of these that several functions are given counts the calls of them all; an ``offload=4``
    counts those of one function.

    Args:
        limit: How many calls may run here at once.

    Raises:
        ConfigError: The limit is no whole number, or below 0.

    >>> calls_running(4)
    calls_running(4)
    """
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
        raise ConfigError(f"a limit of calls is a whole number from 0 up, not {limit!r}")
    return CallsRunning(limit)


def load_average(limit: float | None = None) -> LoadAverage:
    """Let calls run here while the system's load average of the last minute is below a limit.

    Args:
        limit: The load, counted as ``uptime`` does: 1 is one busy processor. Left out, it is the
            number of this machine's processors.

    Raises:
        ConfigError: The limit is no number, or this system (Windows) knows no load average.
    """
    if not hasattr(os, "getloadavg"):
        raise ConfigError("this system has no load average; pass calls_running(…) or a predicate")
    wanted = os.cpu_count() or 1 if limit is None else limit
    # A comparison with itself fails for nan alone.
    if isinstance(wanted, bool) or not isinstance(wanted, int | float) or wanted != wanted:
        raise ConfigError(f"a load average is a number, not {limit!r}")
    return LoadAverage(float(wanted))
