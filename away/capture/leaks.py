"""Secrets that must not travel: found in files to be packed and in values to be captured.

A secret counts where it is a whole quoted text, however short, and anywhere from eight characters:
a shorter one inside a longer text is more likely to be there by chance.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from away.syntax_trees import parse

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["holds_secret", "is_credential", "line_of_secret", "redacted"]

# From here on a text is found anywhere; below, only as a whole.
_ANYWHERE_FROM = 8

# A sum of more texts is none that somebody wrote to break a line.
_MOST_SUMMED = 20

_CREDENTIALS = frozenset({"password", "token", "secret"})


def holds_secret(value: str | bytes, secrets: Iterable[str]) -> bool:
    """Tell whether a value is one of the secrets, or contains one of eight characters or more."""
    for secret in secrets:
        sought: str | bytes = (
            secret if isinstance(value, str) else secret.encode(errors="surrogatepass")
        )
        if value == sought or (len(secret) >= _ANYWHERE_FROM and sought in value):  # type: ignore[operator]  # both are of one type
            return True
    return False


def is_credential(name: str, value: object, secrets: Iterable[str]) -> bool:
    """Tell a secret that is written as a number: a password is taken so too."""
    return name in _CREDENTIALS and type(value) is int and str(value) in set(secrets)


def redacted(text: str, secrets: Iterable[str]) -> str:
    """Replace secrets in a text that a person will see, quoted ones however short."""
    for secret in secrets:
        for quote in "\"'":
            text = text.replace(f"{quote}{secret}{quote}", f"{quote}•••{quote}")
        if len(secret) >= _ANYWHERE_FROM:
            text = text.replace(secret, "•••")
    return text


def line_of_secret(data: bytes, *, python: bool, secrets: Iterable[str]) -> int | None:
    """Find the first line of a file that holds one of the secrets.

    Args:
        data: The file's bytes.
        python: Whether it is Python source, whose texts are then read as Python reads them, so that
            an escape or a raw text hides nothing.
        secrets: The secrets that this process knows.

    Returns:
        The line, counted from 1, or None.
    """
    lines = [_line_in_bytes(data, secret) for secret in secrets]
    if python:
        lines.append(_line_in_source(data, frozenset(secrets)))
    return min((line for line in lines if line is not None), default=None)


def _line_in_bytes(data: bytes, secret: str) -> int | None:
    sought = secret.encode(errors="surrogatepass")
    forms = [b'"' + sought + b'"', b"'" + sought + b"'"]
    if len(secret) >= _ANYWHERE_FROM:
        forms.append(sought)
    places = [place for form in forms if (place := data.find(form)) >= 0]
    return data.count(b"\n", 0, min(places)) + 1 if places else None


def _line_in_source(data: bytes, secrets: frozenset[str]) -> int | None:
    if not secrets:
        return None
    try:
        tree = parse(data)
    except (SyntaxError, ValueError):
        return None
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
            if holds_secret(node.value, secrets):
                found.append(node.lineno)
        elif isinstance(node, ast.BinOp):
            if (text := _summed(node)) is not None and holds_secret(text, secrets):
                found.append(node.lineno)
        elif (
            # A password is taken as a number too: FaasConnection(password=1234).
            isinstance(node, ast.keyword)
            and node.arg in _CREDENTIALS
            and isinstance(node.value, ast.Constant)
            and str(node.value.value) in secrets
        ):
            found.append(node.value.lineno)
    return min(found, default=None)


def _summed(node: ast.BinOp) -> str | bytes | None:
    """Return the text that a sum of written texts is; None of anything else."""
    texts: list[str | bytes] = []
    left: list[ast.expr] = [node]
    while left and len(texts) < _MOST_SUMMED:
        each = left.pop()
        if isinstance(each, ast.BinOp) and isinstance(each.op, ast.Add):
            left += [each.right, each.left]
        elif isinstance(each, ast.Constant) and isinstance(each.value, str | bytes):
            texts.append(each.value)
        else:
            return None
    if left:
        return None
    words = [text for text in texts if isinstance(text, str)]
    data = [text for text in texts if isinstance(text, bytes)]
    return None if words and data else "".join(words) or b"".join(data)
