"""Who asks a gateway's module for a name that begins with an underscore.

Tools look for their marks on every module that they meet, and nothing is sent for that. One of them
reads the module's dictionary next, in which nothing is yet: doctest would find no test, and say so to
nobody.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["reads_everything_next"]

# doctest asks inspect, which asks the module: getsourcefile, getfile, and a frame between.
_FRAMES = 4


def reads_everything_next(name: str, asker: FrameType) -> bool:
    """Tell whether a probe is that of doctest's finder, which then goes through the dictionary.

    Args:
        name: What was asked for.
        asker: The frame that asks.
    """
    if name != "__file__" or "doctest" not in sys.modules:
        return False
    frame: FrameType | None = asker
    for _ in range(_FRAMES):
        if frame is None:
            return False
        if frame.f_globals.get("__name__") == "doctest":
            return frame.f_code.co_name == "find"
        frame = frame.f_back
    return False
