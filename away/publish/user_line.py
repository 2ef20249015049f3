"""Warnings that point at the user's line, from wherever in Away they are found."""

from __future__ import annotations

import sys
import warnings

__all__ = ["warn_user"]

# Who calls a user's line only on its way: Away itself, and the loops that pump its conversations.
_BETWEEN = ("away.", "asyncio.", "concurrent.", "contextlib", "threading")


def warn_user(message: str, category: type[Warning]) -> bool:
    """Warn at the first line up the stack that is neither Away's nor an event loop's.

    Args:
        message: What is to be known.
        category: Of which kind the warning is.

    Returns:
        Whether it was warned: in a thread of Away's own there is no line to point at.
    """
    level, frame = 1, sys._getframe()  # noqa: SLF001 - the documented way to look at a caller
    while frame.f_back is not None and _is_between(frame.f_globals.get("__name__", "")):
        level, frame = level + 1, frame.f_back
    if _is_between(frame.f_globals.get("__name__", "")):
        return False
    warnings.warn(message, category, stacklevel=level)
    return True


def _is_between(module: str) -> bool:
    return module == "away" or module.startswith(_BETWEEN)
