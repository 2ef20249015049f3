"""How long one call of a function may take, as its deployment says.

OpenFaaS' of-watchdog and templates read ``exec_timeout``, ``write_timeout`` and ``read_timeout`` of a
function's environment, as durations in Go's writing (pkg.go.dev/time#ParseDuration).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["call_seconds", "read_duration"]

_PART = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|h|m|s)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
# Nothing is waited for longer, whatever a deployment says.
LONGEST_SECONDS = 7 * 86_400.0


def call_seconds(environment: Mapping[str, str]) -> float:
    """Return the seconds that a call may take; 0.0 where the deployment does not say."""
    said = (environment.get(key, "") for key in ("exec_timeout", "write_timeout"))
    return max((read_duration(text) or 0.0 for text in said), default=0.0)


def read_duration(text: str) -> float | None:
    """Return the seconds of a duration; None if it is none.

    >>> read_duration("1h30m"), read_duration("1500ms"), read_duration("5")
    (5400.0, 1.5, None)
    """
    seconds, at = 0.0, 0
    while match := _PART.match(text, at):
        seconds += float(match[1]) * _UNITS[match[2]]
        at = match.end()
    return min(seconds, LONGEST_SECONDS) if 0 < at == len(text) else None
