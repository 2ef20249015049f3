"""Callables that are sent with a call, to a process that runs what it is sent: by value, at once.

Their pickles are those of capture, with the same refusals, but are never compared, and hold arguments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from away.capture.callables import shown_name
from away.capture.entry import project_root
from away.capture.included import place_of
from away.capture.modules import importable
from away.capture.pickler import pickled_once
from away.capture.values import Settings
from away.requirements import origin
from away.secret_texts import known

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["pickled_call"]

# What is sent with a call is an argument: the function that gets it has the limit.
_MOST_BYTES = 1 << 40


def pickled_call(call: Callable[[], Any]) -> tuple[bytes, tuple[str, ...]]:
    """Pickle a callable that takes nothing, for a process that runs what it is sent.

    Args:
        call: A function with its arguments bound, as by :func:`functools.partial`.

    Returns:
        Its pickle by dill, and the modules that it names and Python lacks there.

    Raises:
        CaptureRefused: Something of it cannot travel; the message names it.
    """
    settings = Settings(
        function=call,
        name=shown_name(call),
        root=project_root(call),
        max_value_bytes=_MOST_BYTES,
        secrets=tuple(known()),
        importable=importable,
        modules_root=place_of(call).root,
    )
    body, modules = pickled_once(settings)
    found = ((each, origin(each)) for each in modules)
    lacking = (
        # A distribution comes whole, whichever of its modules is named; of a namespace it is one part.
        each.partition(".")[0] if where.kind == "installed" and where.file else each
        for each, where in found
        if where.kind not in ("standard", "away")
    )
    return body, tuple(dict.fromkeys(lacking))
