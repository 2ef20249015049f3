"""Warnings that name the user's line, from calls, imports and publishing, wherever they arise."""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["user_frame", "warn_at_user_line"]

# Whose frames stand between a user's line and what is warned of: Away's, the import system's, and
# those of event loops, threads and contexts that run a call.
_BETWEEN = frozenset({"away", "importlib", "asyncio", "concurrent", "contextlib", "threading"})


def user_frame() -> FrameType | None:
    """Return the frame of the nearest line up the stack that is the user's; None if none is."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the documented way to look at a caller
    while frame is not None and _is_between(frame):
        frame = frame.f_back
    return frame


def warn_at_user_line(message: str, category: type[Warning], *, or_outermost: bool = True) -> bool:
    """Warn at the nearest line up the stack that is the user's.

    Unlike ``stacklevel`` this counts no frames, since :mod:`warnings` leaves those of the import
    system out of its own count.

    Args:
        message: What is to be known.
        category: Of which kind the warning is.
        or_outermost: Whether the outermost line stands for the user's where none is, as in a thread of
            Away's own; else nothing is warned there.

    Returns:
        Whether it was warned.
    """
    frame = user_frame()
    if frame is None:
        if not or_outermost:
            return False
        frame = sys._getframe()  # noqa: SLF001 - the documented way to look at a caller
        while frame.f_back is not None:
            frame = frame.f_back
    warnings.warn_explicit(
        message,
        category,
        filename=frame.f_code.co_filename,
        lineno=frame.f_lineno,
        module=str(frame.f_globals.get("__name__")),
        registry=frame.f_globals.setdefault("__warningregistry__", {}),
    )
    return True


def _is_between(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).partition(".")[0] in _BETWEEN
