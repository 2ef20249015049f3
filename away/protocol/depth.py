"""How deep what came is nested, as text and as a value: told without recursion, which depth could end.

How deep anything may be is for others to say.
"""

from __future__ import annotations

from itertools import accumulate
from typing import Any

from away.protocol.refusals import CONTAINERS

__all__ = ["is_deeper", "text_is_deeper"]

# For bytes.translate: an opening bracket is 1 and a closing one -1, as signed bytes.
_BRACKETS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_NO_STRUCTURE = bytes(set(range(256)) - set(b'"[]{}'))


def text_is_deeper(body: bytes, levels: int) -> bool:
    """Tell whether JSON text is nested deeper than some levels, without walking what it means.

    What is counted is brackets outside of quotes: everything else is dropped, then they are added
    up. All of it is a few passes in C, linear in the text, and none where brackets are few.

    Args:
        body: Text that json has read without an error.
        levels: The number of levels that are allowed.

    Example:
        >>> text_is_deeper(b'[["]", {}]]', 3), text_is_deeper(b'[["]", {}]]', 2)
        (False, True)
    """
    if body.count(b"[") + body.count(b"{") <= levels:
        return False
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    skeleton = body.translate(_BRACKETS, _NO_STRUCTURE).replace(b'""', b"")
    if b'"' in skeleton:
        # Text with brackets in it: every second piece between quotes is outside of text.
        skeleton = b"".join(skeleton.split(b'"')[::2])
    return max(accumulate(memoryview(skeleton).cast("b")), default=0) > levels


def is_deeper(value: Any, levels: int) -> bool:
    """Tell the same of a value that was read, which is a tree without sharing."""
    level = [value]
    for _ in range(levels):
        below: list[Any] = []
        for each in level:
            if type(each) in CONTAINERS:
                below.extend(each)
                if type(each) is dict:
                    below.extend(each.values())
        level = below
        if not level:
            return False
    return any(type(each) in CONTAINERS for each in level)
