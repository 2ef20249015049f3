"""Plain forms: what a function that knows nothing of Away is sent, and how its answer is read.

One argument goes as it is, with the Content-Type of what it is. An answer is read by its own
Content-Type, or by the type that a stub's return annotation names.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from away.protocol.refusals import MAX_DEPTH
from away.protocol.values import is_plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["RETURN_TYPES", "answer", "converted", "obstacle", "plain_form"]

# The return annotations of a stub that are honoured.
RETURN_TYPES = ("int", "float", "bool", "str", "bytes", "list", "dict")

# json.dumps would make an encoder a call for these options.
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode

# The charsets that answers are read in. Python has others, which take quadratic time (punycode), are
# no charsets (unicode_escape) or fail in ways of their own (undefined).
_CHARSETS = {
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "us-ascii": "ascii",
    "ascii": "ascii",
    "iso-8859-1": "latin-1",
    "latin-1": "latin-1",
    "latin1": "latin-1",
    "utf-16": "utf-16",
    "windows-1252": "cp1252",
    "cp1252": "cp1252",
}

# The keys that a stub's annotations turn into JSON's, and back.
_KEYS = ("int", "float", "bool")

_TRUTH = {"true": True, "false": False, "1": True, "0": False}


def plain_form(value: Any) -> tuple[bytes, str] | None:
    """Return the body and Content-Type of one argument.

    Args:
        value: The argument.

    Returns:
        Both, or None for a value that has no plain form: it is beyond JSON, or not of JSON's own
        types exactly, so that it would come back as something else.

    Example:
        >>> plain_form("text"), plain_form([1, None]), plain_form((1, 2))
        ((b'text', 'text/plain; charset=utf-8'), (b'[1, null]', 'application/json'), None)
    """
    try:
        if type(value) is str:
            return value.encode(), "text/plain; charset=utf-8"
        if type(value) is bytes:
            return value, "application/octet-stream"
        if not is_plain([value], MAX_DEPTH):
            return None
        return _encode(value).encode(), "application/json"
    except ValueError:  # lone surrogates, nan and infinities, integers of thousands of digits
        return None


def obstacle(value: Any, levels: int = 20) -> str:
    """Say in words, in brackets, what in a value JSON lacks, where it is not the value's type itself.

    Args:
        value: An argument that has no plain form.
        levels: How deep to look.

    Returns:
        The words, with a space before them; or nothing.

    Example:
        >>> obstacle(float("nan")), obstacle([{1: 2}]), obstacle((1, 2))
        (' (nan is no number to JSON)', " (JSON's keys are texts, not int: annotate the stub's dict as dict[int, …], or make them str)", '')
    """
    if type(value) is float and not math.isfinite(value):
        return f" ({value} is no number to JSON)"
    inside: Iterable[Any] = value if type(value) in (list, tuple, set, frozenset) else ()
    if type(value) is dict:
        for key in value:
            if type(key) is not str:
                name = type(key).__name__
                way = f"annotate the stub's dict as dict[{name}, …], or " if name in _KEYS else ""
                return f" (JSON's keys are texts, not {name}: {way}make them str)"
        inside = value.values()
    if levels:
        for each in inside:
            if found := obstacle(each, levels - 1):
                return found
    return ""


def answer(content_type: str, body: bytes, loads: Callable[[str], Any] = json.loads) -> Any:
    """Read an answer by its Content-Type: JSON to its value, text to str, else the bytes.

    A gateway gives an answer without a type that of the request, so one that says JSON and is not
    comes back as text. Text that is not in the charset that it states, or in a rare one, stays bytes,
    which lose nothing.

    Args:
        content_type: The header field.
        body: The answer.
        loads: Reads JSON, and raises ValueError or RecursionError where it cannot.
    """
    kind, _, options = content_type.partition(";")
    kind = kind.strip().lower()
    if kind == "application/json" or kind.endswith("+json"):
        try:
            # As text, since json looks at bytes for UTF-16 and UTF-32 first.
            return loads(body.decode())
        except (ValueError, RecursionError):
            kind = "text/plain"
    if kind.startswith("text/"):
        charset = options.lower().partition("charset=")[2].split(";")[0].strip(' "') or "utf-8"
        try:
            return body.decode(_CHARSETS[charset])
        except (LookupError, UnicodeDecodeError):
            return body
    return body


def converted(wanted: str, text: str) -> Any:
    """Make the value of a stub's return type from an answer's text.

    Args:
        wanted: One of :data:`RETURN_TYPES` but ``str`` and ``bytes``, which take the answer as it is.
        text: The answer.

    Raises:
        ValueError: The text is no value of that type.

    Example:
        >>> converted("int", " 55 "), converted("bool", "true")
        (55, True)
    """
    text = text.strip()
    if wanted in ("int", "float"):
        return int(text) if wanted == "int" else float(text)
    if wanted == "bool":
        if text.lower() not in _TRUTH:
            raise ValueError(text)
        return _TRUTH[text.lower()]
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError(wanted) from None
    if type(value).__name__ != wanted:
        raise ValueError(wanted)
    return value
