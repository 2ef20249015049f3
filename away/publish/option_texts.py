"""What the texts of a publish's options may say: names of variables, and characters."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from away.exceptions import PublishFailed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from away.publish.options import Options

__all__ = ["check_characters", "check_environment"]

# By these the image's own settings find Away and the user's modules; another value, and nothing does.
IMAGES_OWN = frozenset({"AWAY_RUNTIME", "PYTHONPATH", "PYTHONSAFEPATH", "PYTHONHOME"})
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# An annotation may be a text of several lines; nothing else of a request is.
_CONTROL_BUT_LINES = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_SHOWN = 80


def check_environment(env: Mapping[str, str]) -> None:
    """Refuse variables that no process can have, or that the function's image itself needs.

    Raises:
        PublishFailed: One of them is such.
    """
    for key, value in env.items():
        if not key or "=" in key or _CONTROL.search(key) or "\0" in value:
            raise refused(
                f"env has {key[:_SHOWN]!r}, which cannot be the name of a variable, or its value"
            )
        if key in IMAGES_OWN:
            raise refused(
                f"env has {key}, by which the function's image finds Away and the function's"
                " modules; leave it out, and list further modules in include= or requirements="
            )


def check_characters(options: Options) -> None:
    """Refuse labels, annotations and constraints with characters that no gateway takes.

    Raises:
        PublishFailed: One has such a character.
    """
    refuse("labels", (*options.labels, *options.labels.values()), _CONTROL)
    refuse("annotations", options.annotations, _CONTROL)
    refuse("annotations", options.annotations.values(), _CONTROL_BUT_LINES)
    refuse("constraints", options.constraints, _CONTROL)


def refuse(what: str, found: Iterable[str], characters: re.Pattern[str]) -> None:
    """Refuse texts with some characters."""
    for each in found:
        if characters.search(each):
            raise refused(
                f"{what} has {each[:_SHOWN]!r}, with a control character, which no gateway takes"
            )


def refused(message: str) -> PublishFailed:
    """Make the error of a check; nothing was changed when it is raised."""
    return PublishFailed(message, step="checks")
