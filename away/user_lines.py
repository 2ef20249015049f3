"""Warnings that name the user's line, from calls and from imports, wherever in Away they arise."""

from __future__ import annotations

import sys
import warnings

__all__ = ["warn_at_user_line"]

# Whose frames stand between a user's line and what is warned of: Away's, the import system's, and
# those of event loops and threads that run a call.
_BETWEEN = ("away.", "importlib.", "asyncio.", "concurrent.", "threading")


def warn_at_user_line(message: str, category: type[Warning]) -> None:
    """Warn at the nearest line up the stack that is the user's.

    Unlike ``stacklevel`` this counts no frames, since :mod:`warnings` leaves those of the import
    system out of its own count. Where no line is the user's, the outermost one stands for it.
    """
    frame = sys._getframe(1)  # noqa: SLF001 - the documented way to look at a caller
    while frame.f_back is not None and _is_between(str(frame.f_globals.get("__name__"))):
        frame = frame.f_back
    warnings.warn_explicit(
        message,
        category,
        filename=frame.f_code.co_filename,
        lineno=frame.f_lineno,
        module=str(frame.f_globals.get("__name__")),
        registry=frame.f_globals.setdefault("__warningregistry__", {}),
    )


def _is_between(module: str) -> bool:
    return module == "importlib" or module.startswith(_BETWEEN)
