"""Lines of source that go along with code that is pickled, so that tracebacks there can show them."""

from __future__ import annotations

import linecache
from typing import TYPE_CHECKING

from away.capture.leaks import redacted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import CodeType

__all__ = ["bounded", "source_lines"]

# The lines stand in the payload's header, which is read whole at each start.
_MOST_CHARACTERS = 64_000


def source_lines(code: CodeType, secrets: Iterable[str]) -> dict[int, str]:
    """Return the lines that a code object runs, by number, without the secrets of this process.

    Code that comes from no file, and of which Python keeps no text, has none.
    """
    lines = linecache.getlines(code.co_filename)
    numbers = {number for _, _, number in code.co_lines() if number and number <= len(lines)}
    secrets = tuple(secrets)
    return {number: redacted(lines[number - 1].strip(), secrets) for number in sorted(numbers)}


def bounded(sources: Mapping[str, Mapping[int, str]]) -> dict[str, dict[str, str]]:
    """Return the lines as a header holds them, as many as fit."""
    left = _MOST_CHARACTERS
    found: dict[str, dict[str, str]] = {}
    for file, lines in sorted(sources.items()):
        for number, line in sorted(lines.items()):
            left -= len(line) + 10
            if left < 0:
                return found
            found.setdefault(file, {})[str(number)] = line
    return found
