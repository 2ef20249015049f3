"""Capture as the options of a publish say: the same whether it is published, looked at or exported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from away.capture import Captured
    from away.publish.options import Options

__all__ = ["captured_by"]


def captured_by(
    options: Options, function: Callable[..., Any], *, as_imported: bool = False
) -> Captured:
    """Capture a function as options say.

    Raises:
        CaptureRefused, NameRefused: As :func:`away.capture.capture` does.
    """
    from away.capture import capture

    return capture(
        function,
        safe_args=options.safe_args,
        name=options.name,
        requirements=options.requirements,
        module_imports=options.module_imports,
        include=options.include,
        as_imported=as_imported,
    )
