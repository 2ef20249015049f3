"""A secret: text that no repr, log, traceback or pickle shows.

Whoever needs the text says so: :meth:`Secret.reveal` can be searched for.
"""

from __future__ import annotations

from typing import NamedTuple, NoReturn

from away.exceptions import CannotTravel
from away.secret_texts import remember

__all__ = ["DOTS", "Login", "Secret"]

DOTS = "\N{BULLET}" * 3


class Secret:
    """Hold a password or a token.

    >>> Secret("1234"), f"{Secret('1234')}"
    (Secret(•••), '•••')
    >>> Secret("1234").reveal()
    '1234'
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text
        # Publishing refuses to pack a file that holds it.
        remember(text)

    def reveal(self) -> str:
        """Return the text itself."""
        return self._text

    def __repr__(self) -> str:
        return f"Secret({DOTS})"

    def __str__(self) -> str:
        return DOTS

    def __format__(self, spec: str) -> str:
        return format(DOTS, spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise CannotTravel(
            "a secret is not pickled, and so never travels: let the process that needs it read it"
            " from its own configuration"
        )


class Login(NamedTuple):
    """What opens a gateway, and who says so."""

    field: str
    """``password`` or ``token``."""
    secret: Secret
    where: str
    trust: str
    """Whose word it is (:mod:`away.config.settings`)."""
    user: str = ""
    """Whose password it is, where that comes with it."""
    looked_up: bool = False
    """It was found by the URL, so it was not given to the gateway that asks."""
