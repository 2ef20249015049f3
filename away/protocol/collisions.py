"""Sets and dicts of others' keys, which may have been chosen so that filling one takes for ever.

What reads a body, of whichever format, makes its sets and dicts here.
"""

from __future__ import annotations

import time
from itertools import islice
from operator import eq
from typing import TYPE_CHECKING, Any

from away.exceptions import ProtocolMismatch

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["dict_of", "set_of"]

# Keys of one set or dict that may have equal hashes: honest ones are powers of two, of which every
# 61st has, so that 64 are enough for numbers of 1,000 digits.
_MOST_ALIKE = 64
# Up to here a container is filled at once: the worst keys take a millisecond.
_MOST_AT_ONCE = 1024
# So many keys then go in between two looks at the clock: of a million of the worst, 0.1 s.
_KEYS_AT_ONCE = 64
_SLOW_SECONDS = 3e-4
_MOST_SLOW = 32
# The hash of these depends on a secret of the process.
_SECRETLY_HASHED = frozenset({str, bytes})


def set_of(elements: list[Any]) -> set[Any]:
    """Make a set of others' elements; see :func:`dict_of`."""
    made: set[Any] = set()
    for piece in _pieces(elements):
        made.update(piece)
    return made


def dict_of(keys: list[Any], found: list[Any]) -> dict[Any, Any]:
    """Make a dict of others' keys and values, unless the keys were made to collide.

    The hashes of integers, of floats and of tuples of them are no secret (those of text are), and a
    dict of keys that all look for the same places takes quadratic time: 16 MB of multiples of
    2**61 - 1 would take half an hour.

    Args:
        keys: The keys; what cannot be hashed raises TypeError.
        found: As many values.

    Raises:
        ProtocolMismatch: The keys collide.
        ValueError: There are more of one than of the other.

    Example:
        >>> dict_of([1, 2], ["a", "b"])
        {1: 'a', 2: 'b'}
    """
    if len(keys) != len(found):
        raise ValueError("a key has no value")
    made: dict[Any, Any] = {}
    begin = 0
    for piece in _pieces(keys):
        made.update(zip(piece, found[begin : begin + len(piece)], strict=True))
        begin += len(piece)
    return made


def _pieces(keys: list[Any]) -> Iterator[list[Any]]:
    """Give keys in pieces to be put into one set or dict, and stop when they collide.

    Equal hashes are counted by sorting, which they cannot slow down. Different ones can be chosen
    to go the same long way as well, and that shows only in the time of the processor: a large
    container is filled in small pieces, and refused when many of them are slow and all of them
    take several times as long as they should. Few are slow when it grows or garbage is collected.
    """
    if len(keys) <= _MOST_ALIKE or set(map(type, keys)) <= _SECRETLY_HASHED:
        yield keys
        return
    began = time.thread_time()
    hashes = sorted(map(hash, keys))
    if any(map(eq, hashes, islice(hashes, _MOST_ALIKE, None))):
        raise _collide()
    if len(keys) <= _MOST_AT_ONCE:
        yield keys
        return
    before = time.thread_time()
    deadline = before + 0.02 + 3e-6 * len(keys) + 4 * (before - began)
    left = _MOST_SLOW
    for begin in range(0, len(keys), _KEYS_AT_ONCE):
        yield keys[begin : begin + _KEYS_AT_ONCE]
        now = time.thread_time()
        left -= now - before > _SLOW_SECONDS
        before = now
        if left < 0 and now > deadline:
            raise _collide()


def _collide() -> ProtocolMismatch:
    return ProtocolMismatch("the body has a set or dict whose keys collide; nothing was read")
