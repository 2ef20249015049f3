"""Source as syntax trees, built by one thread at a time.

CPython counts the depth of the tree that it builds in one place for all threads (3.11.7 still does): two
threads that build one at once may both end with "SystemError: AST constructor recursion depth mismatch".
"""

from __future__ import annotations

import ast
import os
import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["parse", "parse_expression"]

T = TypeVar("T")

# Threads of others' code build trees too, without this lock.
_TRIES = 50
_building = threading.RLock()


def parse(source: str | bytes, *, feature_version: tuple[int, int] | None = None) -> ast.Module:
    """Return the tree of a module's source.

    Args:
        source: The source, as text or as a file's bytes.
        feature_version: The version of Python whose grammar holds, if not this one's.

    Raises:
        SyntaxError: It is no Python.
        ValueError: It has null bytes.
    """
    return _alone(lambda: ast.parse(source, feature_version=feature_version))


def parse_expression(text: str) -> ast.expr:
    """Return the tree of one expression.

    Raises:
        SyntaxError: It is none.
        ValueError: It has null bytes.
    """
    return _alone(lambda: ast.parse(text, mode="eval")).body


def _alone(build: Callable[[], T]) -> T:
    for _ in range(_TRIES):
        try:
            with _building:
                return build()
        except SystemError:
            continue
    with _building:
        return build()


def _renew() -> None:
    """Take a lock that nobody holds: who held it is not there in a forked process."""
    global _building
    _building = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
