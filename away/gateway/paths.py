"""The path of a call: whose it is, what the function sees of it, and when it must be cleaned first.

Values in, values out, by the rules of Go's net/url and of the gateway's router.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

__all__ = ["Malformed", "Moved", "Target", "read_target"]

PREFIX = "/function/"

_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_NAME = re.compile(r"[-a-zA-Z_0-9.]+\Z")
# What Go leaves as it is when it escapes a path (net/url, shouldEscape in encodePath).
_SAFE = "$&+,/:;=@-_.~"


class Target(NamedTuple):
    """The function that is called, and path and query as it sees them."""

    name: str
    path: str


class Moved(Exception):
    """The path is not clean; ``location`` is where it should have gone."""

    def __init__(self, location: str) -> None:
        super().__init__(location)
        self.location = location


class Malformed(Exception):
    """The path has an escape that is none."""


def read_target(raw: str) -> Target | None:
    """Read a request's target below ``/function/``; None when it names no function.

    Raises:
        Malformed: To be answered with 400.
        Moved: To be answered with 301.
    """
    path, mark, query = raw.partition("?")
    if "%" in path or "//" in path or "/." in path or not path.isascii():
        path = _cleaned(path, mark + query)
    name, slash, rest = path[len(PREFIX) :].partition("/")
    if not _NAME.match(name):
        return None
    return Target(name, f"/{rest}{mark}{query}" if slash else f"/{mark}{query}")


def _cleaned(path: str, query: str) -> str:
    if _BAD_ESCAPE.search(path):
        raise Malformed
    decoded = unquote_to_bytes(path.encode("utf-8", "surrogateescape"))
    clean = _clean(decoded)
    if clean != decoded:
        raise Moved(quote(clean, safe=_SAFE) + query)
    return quote(decoded, safe=_SAFE)


def _clean(path: bytes) -> bytes:
    """Return a path without ``//``, ``/./`` and ``/../``; a slash at its end stays."""
    parts: list[bytes] = []
    for part in path.split(b"/"):
        if part == b"..":
            del parts[-1:]
        elif part not in (b"", b"."):
            parts.append(part)
    end = b"/" if parts and path.endswith((b"/", b"/.", b"/..")) else b""
    return b"/" + b"/".join(parts) + end
