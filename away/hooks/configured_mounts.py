"""Mounts that the configuration asks for: read when an import first names what nobody else finds.

Most programs have none, so this imports no more than the configuration until it has found one. A
configuration that cannot be read, or a mount that cannot be made, is a warning: the import that led
here is most often one that was tried on the chance.
"""

from __future__ import annotations

import sys
from contextlib import suppress

from away.exceptions import ConfigError, MountWarning
from away.hooks import finder as finding
from away.hooks.locks import ForkedLock
from away.user_lines import warn_at_user_line

__all__ = ["forget", "mount_configured", "read"]

# Imports of other threads wait so long for one that reads the configuration, which takes some ms.
READ_SECONDS = 5.0

# Held while the configuration is read; re-entrant, since what is imported for that comes here too.
_reading = ForkedLock()
_was_read = False


def read() -> None:
    """Make the mounts of the configuration, once; what is wrong with them is warned of."""
    global _was_read  # the one thing to remember, beside the lock that guards it
    if _was_read:
        return
    reading = _reading.here
    try:
        # Within: an interrupt that comes as the lock is taken leaves it taken outside.
        if not reading.acquire(timeout=READ_SECONDS) or _was_read:
            return
        problems = _make_all()
        _was_read = True
        finding.configuration_was_read()
    finally:
        with suppress(RuntimeError):  # it was never taken
            reading.release()
    for each in problems:
        warn_at_user_line(f"no module is mounted here: {each}", MountWarning)


def mount_configured() -> list[str]:
    """Make the mounts of the configuration now, and say what is wrong instead of warning.

    Without it they are made when an import first names a module that nobody else finds, and those
    of a project's file are seen by code in the project's folder alone; with it by all code.

    Returns:
        The names that are mounted, whoever asked for them.

    Raises:
        ConfigError: The configuration cannot be read, or a mount cannot be made; the others are.
    """
    global _was_read
    with _reading.here:
        problems = _make_all(asked=True)
        _was_read = True
        finding.configuration_was_read()
    if problems:
        raise problems[0]
    mounts = sys.modules.get("away.hooks.mounts")
    return [] if mounts is None else [each.name for each in mounts.mounted()]


def forget() -> None:
    """Read the configuration anew when it is next needed."""
    global _was_read
    _was_read = False


def _make_all(*, asked: bool = False) -> list[ConfigError]:
    """Make what mounts the configuration has, and return why others cannot be made."""
    import away.config as config

    try:
        wanted = config.mounts()
    except ConfigError as error:
        return [error]
    if not wanted and "away.hooks.mounts" not in sys.modules:
        return []
    from away.hooks.mounts import take_over

    return take_over(wanted, asked=asked)
