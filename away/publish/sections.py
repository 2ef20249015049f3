"""Sections of configuration that were meant for a function and are not of its name.

A section for a function that a file does not have does nothing, and may be right: its function is
published from elsewhere. One that is nearly of this function's name is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from away.names import function_name, nearest, printable, python_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from away.connection import FaasConnection

__all__ = ["near_section", "note_on_sections"]

# By the ratio of difflib: one letter of five; plural and singular, a letter doubled or left out.
_NEAR = 0.8


def note_on_sections(
    function: Callable[..., Any], connection: FaasConnection, name: str
) -> tuple[str, ...]:
    """Tell of a section for a function of nearly this name, where this one has none.

    Args:
        function: The function.
        connection: The gateway.
        name: The function's name there.
    """
    if connection.name is None:
        return ()
    from away.config import publish_sections

    # What the file of this function has besides is meant.
    others = {str(each).replace("_", "-") for each in getattr(function, "__globals__", {})}
    sections = publish_sections(connection.name)
    found = near_section(
        name, {key: sections[key] for key in sections if key not in others - {name}}
    )
    if found is None:
        return ()
    return (
        f"functions.{printable(python_name(found))} of gateway {connection.name!r} sets options for"
        f" no function that is published here, and {name} has none of its own; if they are for it,"
        f" write functions.{printable(python_name(name))} ({sections[found]})",
    )


def near_section(name: str, sections: Mapping[str, str]) -> str | None:
    """Return the section that is nearly of a function's name, where none is of that name."""
    from difflib import SequenceMatcher

    name = function_name(name)
    if name in sections:
        return None
    found = nearest(name, sections, 1)
    if found and SequenceMatcher(None, name, found[0]).ratio() >= _NEAR:
        return found[0]
    return None
