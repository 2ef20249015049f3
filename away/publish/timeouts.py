"""What has to agree once it is known how long one call may take.

The variables are those that OpenFaaS's of-watchdog and templates read, and those of Away's runtime.
How long the gateway itself waits cannot be asked or set from here: its ``upstream_timeout`` and
``write_timeout`` (65 s and 60 s with faasd) have to be raised where it is installed.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from away.exceptions import PublishFailed
from away.names import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from away.publish.target import Target

__all__ = ["check_timeout", "contradiction", "timeout_environment"]

# What of-watchdog and its templates read: how long a request may come, run, and be answered.
WATCHDOG = ("read_timeout", "write_timeout", "exec_timeout")
# faasd takes the network away before it says that the end has come (measured, 0.19.0), so whoever
# calls hears nothing any more, and the update stands still for as long as calls are waited for.
FAASD_GRACE = 20.0
# The runtime ends by itself before it is killed.
KILL_MARGIN = 5.0
LONGEST = 7 * 86_400.0


def timeout_environment(seconds: float | None, target: Target) -> dict[str, str]:
    """Return the variables that let one call take so many seconds; none where nobody said."""
    if seconds is None:
        return {}
    grace = min(seconds, FAASD_GRACE) if target.family == "faasd" else seconds
    return {
        **dict.fromkeys(WATCHDOG, duration(seconds)),
        "AWAY_GRACE": f"{grace:.3f}".rstrip("0").rstrip("."),
        # How long faasd waits for the end, from 0.19.7 on (its pkg/service/service.go).
        "grace_period": duration(grace + KILL_MARGIN),
    }


def contradiction(seconds: float | None, env: Mapping[str, str], target: Target) -> str | None:
    """Say which variable of the user's own sets another time than ``timeout=``; it wins."""
    for key, text in timeout_environment(seconds, target).items():
        if key in env and env[key] != text:
            return (
                f"env[{key!r}] is {printable(env[key][:40])!r} and timeout={seconds:g} would set"
                f" {text!r}; the variable is deployed as it is, so leave one of the two out"
            )
    return None


def check_timeout(seconds: object) -> None:
    """Refuse what is no number of seconds.

    Raises:
        PublishFailed: It is none.
    """
    number = (
        seconds if isinstance(seconds, int | float) and not isinstance(seconds, bool) else math.nan
    )
    if not 0.001 <= number <= LONGEST:
        raise PublishFailed(
            f"timeout={seconds!r} is no number of seconds from 0.001 to {LONGEST:g} that one call may"
            " take; how long the publish may take is publish_timeout=",
            step="checks",
        )


def duration(seconds: float) -> str:
    """Write seconds as Go reads a duration: ``300s``, ``1500ms``."""
    whole = round(seconds * 1_000)
    return f"{whole // 1_000}s" if whole % 1_000 == 0 else f"{whole}ms"
