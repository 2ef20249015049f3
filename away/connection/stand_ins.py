"""Drivers that stand in for those of HTTP while a test runs; :mod:`away.testing` sets them.

One place for the whole process, since a test cannot reach the connections that the code under test
has made, or will make. Outside of tests nothing is set here, and a connection looks no further.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from away.connection import FaasConnection
    from away.connection.aio import AioDriver
    from away.connection.sync import SyncDriver

__all__ = ["Drivers", "StandIns", "choose", "chosen_for", "declare", "takes_any_name"]


class Drivers(Protocol):
    """What pumps a connection's conversations."""

    @property
    def sync(self) -> SyncDriver:
        """In the calling thread."""

    @property
    def aio(self) -> AioDriver:
        """On the running event loop."""


class StandIns(Protocol):
    """Decides for each connection who answers it."""

    def drivers_for(self, connection: FaasConnection) -> Drivers | None:
        """Return the drivers that stand in; None for those of HTTP."""

    def takes_any_name(self, connection: FaasConnection) -> bool:
        """Tell whether imports from this gateway are taken at their word, without its list."""

    def declare(self, connection: FaasConnection, name: str, function: object) -> None:
        """Take note of a function, or a module as a whole, that would have been published."""


# What decides now. Read without a lock on the way of each call: one name of a module.
now: StandIns | None = None


def choose(stand_ins: StandIns | None) -> None:
    """Let a test's drivers answer from now on; None for those of HTTP again."""
    global now  # the one place that connections look at
    now = stand_ins


def chosen_for(connection: FaasConnection) -> Drivers | None:
    """Return the drivers that stand in for a connection's own, if any do."""
    return None if now is None else now.drivers_for(connection)


def takes_any_name(connection: FaasConnection) -> bool:
    """Tell whether what is imported from a gateway need not be on its list, as in a test's fake."""
    return now is not None and now.takes_any_name(connection)


def declare(connection: FaasConnection, name: str, function: object) -> None:
    """Tell of a function or module that was not published, so that a test's fake answers by it."""
    if now is not None:
        now.declare(connection, name, function)
