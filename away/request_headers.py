"""Header fields that a user adds to the calls of a function: which ones can be, and which are secret."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import away.names as names
import away.secret_texts as secret_texts
from away.exceptions import CannotTravel, ConfigError

__all__ = ["RequestHeaders", "for_reference"]

# A field's name (RFC 9110, 5.6.2) and its value (5.5), of which visible ASCII is what everyone reads alike.
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[!-~]([\t -~]*[!-~])?|")
# Who sets a field in each request, in lower case. What frames a request is never anybody else's.
_SET_ELSEWHERE = {
    "accept-encoding": "Away sets it to what it can read",
    "connection": "HTTP's own connections set it",
    "content-encoding": "Away sends bodies as they are",
    "content-length": "it is counted from the body",
    "content-type": "it says how Away packs the arguments; give pack_args= to pack them yourself",
    "expect": "HTTP's own connections set it",
    "host": "it is taken from the gateway's URL",
    "keep-alive": "HTTP's own connections set it",
    "proxy-authorization": "it is a proxy's, and taken from the proxy's URL",
    "proxy-connection": "HTTP's own connections set it",
    "te": "HTTP's own connections set it",
    "trailer": "HTTP's own connections set it",
    "transfer-encoding": "HTTP's own connections set it",
    "upgrade": "HTTP's own connections set it",
    "x-call-id": "each call has an id of its own",
}
_AWAYS = "x-away-"
# Words in names of fields that hold what opens something.
_SECRET = re.compile(
    r"auth|cookie|credential|key|passw|secret|session|signature|token", re.IGNORECASE
)


class RequestHeaders(Mapping[str, str]):
    """Header fields that go with each call of a function; shown by their names alone.

    Args:
        fields: Names and values.
        packed: Whether the user packs the arguments, and may then say of what type the body is.
        sends_login: Whether the gateway's login goes out with calls.

    Raises:
        ConfigError: A name or a value cannot be sent, or the field is set by Away or by HTTP itself.
        TypeError: A name or a value is no text.
    """

    __slots__ = ("_fields",)

    def __init__(
        self, fields: Mapping[str, str], *, packed: bool = False, sends_login: bool = False
    ) -> None:
        self._fields = dict(fields)
        seen: set[str] = set()
        for name, value in self._fields.items():
            _check(name, value, packed=packed)
            if name.lower() in seen:
                raise ConfigError(f"headers= has {name!r} twice, in different case; leave one out")
            seen.add(name.lower())
        if sends_login and "authorization" in seen:
            raise ConfigError(
                "headers= cannot set 'Authorization': auth_functions=True sends the gateway's login by"
                " it; leave one of the two out"
            )

    def __getitem__(self, name: str) -> str:
        return self._fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return f"<headers {', '.join(self._fields) or 'none'}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the fields, unless one is secret."""
        return RequestHeaders, (for_reference(self, "a function"),)


def for_reference(headers: Mapping[str, str], function: str) -> dict[str, str]:
    """Return header fields as a pickle or a published function may carry them.

    Raises:
        CannotTravel: One of them looks like a secret.
    """
    for name, value in headers.items():
        if _SECRET.search(name) or secret_texts.hidden(value) != value:
            raise CannotTravel(
                f"`{function}` was given the header {name!r} by options(headers=…), which may be a"
                " secret: it goes into no pickle and no published function; give it there, where the"
                " call is made",
                function=function,
            )
    return dict(headers)


def _check(name: object, value: object, *, packed: bool) -> None:
    if not isinstance(name, str) or not isinstance(value, str):
        kind = type(name if not isinstance(name, str) else value).__name__
        raise TypeError(f"headers= has texts as names and values, not {kind}")
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{names.printable(name)[:80]!r} is no name of a header field")
    if not _VALUE.fullmatch(value):
        raise ConfigError(
            f"the value of the header {name!r} cannot be sent: it is visible ASCII with spaces in"
            " between; encode what else it says"
        )
    lower = name.lower()
    if packed and lower == "content-type":
        return
    why = _SET_ELSEWHERE.get(lower)
    if lower.startswith(_AWAYS):
        why = "Away's protocol sets it"
    if why is not None:
        raise ConfigError(f"headers= cannot set {name!r}: {why}; leave it out")
