"""What an error of a command is to a person and to a script: its words, and its exit code.

It knows errors, and nothing of what the commands do.
"""

from __future__ import annotations

import os
import sys

from away.arguments import Usage
from away.declarations import FileFailed
from away.exceptions import (
    AnswerLost,
    AuthenticationRefused,
    AwayError,
    CallTimedOut,
    CannotTravel,
    CaptureRefused,
    ConfigError,
    FunctionNotFound,
    GatewayUnreachable,
    NameRefused,
    SecretNotFound,
)
from away.terminal import safe

__all__ = ["RemoteFailure", "exit_code", "in_words", "show_traceback"]

# The first that fits decides.
_CODES: tuple[tuple[tuple[type[BaseException], ...], int], ...] = (
    ((GatewayUnreachable,), 3),
    ((AuthenticationRefused,), 4),
    ((FunctionNotFound, SecretNotFound), 5),
    ((CallTimedOut, AnswerLost), 6),
    ((ConfigError, NameRefused, CannotTravel, CaptureRefused), 2),
)


class RemoteFailure(Exception):
    """An exception that the remote function raised, in words for a person."""


def show_traceback(error: BaseException) -> None:
    """Show where an error comes from, to who asks for it."""
    if os.environ.get("AWAY_DEBUG"):
        import traceback

        sys.stderr.write(safe("".join(traceback.format_exception(error))))


def exit_code(error: BaseException) -> int:
    """Return the exit code for an error; the help lists them."""
    if isinstance(error, Usage):
        return 2
    return next((code for kinds, code in _CODES if isinstance(error, kinds)), 1)


def in_words(error: BaseException) -> str:
    """Return what to say of an error: ours are sentences, others have their type before them."""
    if isinstance(error, AwayError | Usage | FileFailed | RemoteFailure):
        return str(error)
    return f"{type(error).__name__}: {error} (AWAY_DEBUG=1 shows where)"
