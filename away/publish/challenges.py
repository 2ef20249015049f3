"""What a server says about who may come in: the Www-Authenticate field, read from its text.

The grammar is RFC 9110's (section 11.6.1), read tolerantly: commas part both challenges and their
parameters, and registries leave out quotes, spaces and commas. Pure.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Challenge", "parse_challenges"]

# Far more than any server says, and little enough to be read at once.
MAX_FIELD = 16_384
# Possessive, here and below: a text that does not fit is passed over once and not tried in parts.
_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_BETWEEN = re.compile(r"[\s,]++")
_SCHEME = re.compile(rf"({_NAME})(?!\s*+=)(?=[\s,]|\Z)")
# A quoted value without its end goes on to the end of the field; one without quotes to a comma.
_PARAMETER = re.compile(
    rf'({_NAME})\s*+=\s*+(?:"((?:[^"\\]|\\.)*+)(?:"|\\?\Z)|([^\s,"]*+))', re.DOTALL
)
# What Negotiate and the like say in place of parameters.
_TOKEN68 = re.compile(r"[ \t]++[A-Za-z0-9._~+/-]++=*+[ \t]*+(?=,|\Z)")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_NOTHING = re.compile(rf"{_NAME}|.", re.DOTALL)


class Challenge(NamedTuple):
    """One way to come in.

    Attributes:
        scheme: Its name in lower case: ``basic``, ``bearer``.
        parameters: What it says about it, by names in lower case; the first of two counts.
    """

    scheme: str
    parameters: Mapping[str, str]


def parse_challenges(field: str) -> list[Challenge]:
    """Read a Www-Authenticate field, or several joined by commas.

    Args:
        field: Its text; whatever cannot be read in it is skipped.

    Returns:
        The challenges in the order in which they stand there.

    >>> parse_challenges('Bearer realm="https://auth.example/token",service="x", Basic realm=y')[1]
    Challenge(scheme='basic', parameters={'realm': 'y'})
    """
    text = field[:MAX_FIELD]
    found: list[Challenge] = []
    at = 0
    while at < len(text):
        if between := _BETWEEN.match(text, at):
            at = between.end()
        elif scheme := _SCHEME.match(text, at):
            at = scheme.end()
            parameters: dict[str, str] = {}
            found.append(Challenge(scheme[1].lower(), parameters))
            token = _TOKEN68.match(text, at)
            if token is not None:
                at = token.end()
        elif parameter := _PARAMETER.match(text, at):
            at = parameter.end()
            if not found:
                continue
            quoted, bare = parameter[2], parameter[3]
            value = bare if quoted is None else _ESCAPED.sub(r"\1", quoted)
            dict_of(found[-1]).setdefault(parameter[1].lower(), value)
        else:
            nothing = _NOTHING.match(text, at)
            at = nothing.end() if nothing else len(text)
    return found


def dict_of(challenge: Challenge) -> dict[str, str]:
    """Return the parameters of a challenge that is still being read."""
    assert isinstance(challenge.parameters, dict)
    return challenge.parameters
