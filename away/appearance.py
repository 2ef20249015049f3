"""What a remote function shows of itself: annotations, docstring and signature, of what is known.

What the local function says that a proxy was made from comes first, then what the gateway's
annotations say.
"""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any

import away.signatures as signatures

if TYPE_CHECKING:
    import inspect
    from collections.abc import Callable

__all__ = ["shown_annotations", "shown_doc", "shown_signature"]


def shown_annotations(
    local: Callable[..., Any] | None, description: signatures.Description | None
) -> dict[str, Any]:
    """Return the ``__annotations__`` to show."""
    if isinstance(local, types.FunctionType | types.MethodType):
        return dict(getattr(local, "__annotations__", {}))
    if description is None:
        return {}
    shown = {
        each.name: signatures.annotation_value(each.annotation)
        for each in description.parameters or ()
        if each.annotation
    }
    if description.returns:
        shown["return"] = signatures.annotation_value(description.returns)
    return shown


def shown_doc(
    local: Callable[..., Any] | None, description: signatures.Description | None
) -> str | None:
    """Return the ``__doc__`` to show."""
    if local is not None:
        return getattr(local, "__doc__", None)
    return (description.doc if description else "") or None


def shown_signature(
    local: Callable[..., Any] | None, description: signatures.Description | None
) -> inspect.Signature:
    """Return the ``__signature__`` to show."""
    if local is not None:
        import inspect

        try:
            return inspect.signature(local)
        except (TypeError, ValueError):
            pass  # a builtin without one: what is known of it stands below
    return signatures.signature(description or signatures.Description())
