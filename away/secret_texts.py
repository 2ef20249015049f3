"""The secrets that this process knows, so that none of them is packed by mistake.

Configuration and connections tell their passwords and tokens here; capture asks before it packs a
file or a value. Nothing is written anywhere, and nothing is ever forgotten: a file that held a
password a minute ago still holds it.
"""

from __future__ import annotations

__all__ = [
    "hidden",
    "known",
    "known_files",
    "name_of",
    "remember",
    "remember_file",
    "remember_value",
]

# Shorter ones stand in other texts by chance.
_SHORTEST_HIDDEN = 8

# Adding to a set is one step under the interpreter's lock, and reading takes a copy.
_texts: set[str] = set()
_files: set[str] = set()
# Of values of a gateway's secrets, how those are called.
_names: dict[str, str] = {}


def remember(text: str | None) -> None:
    """Note a password or token; nothing and the empty text are none."""
    if text:
        _texts.add(str(text))


def remember_value(data: bytes, name: str) -> None:
    """Note the value of a gateway's secret of that name."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        from base64 import b64encode

        # No text can hold it, but its usual spelling can.
        text = b64encode(data).decode()
    for each in (text, text.strip()):
        remember(each)
        _names[each] = name


def name_of(text: str) -> str | None:
    """Return the name of the secret that a text is the value of; None for any other text."""
    return _names.get(text)


def remember_file(path: str) -> None:
    """Note a file that holds a secret, by its real path."""
    _files.add(path)


def known_files() -> frozenset[str]:
    """Return the real paths of all files that were told."""
    return frozenset(_files)


def hidden(text: str) -> str:
    """Return another's text without the secrets that it repeats, as error pages repeat a request."""
    for secret in known():
        if len(secret) >= _SHORTEST_HIDDEN and secret in text:
            text = text.replace(secret, "\N{BULLET}" * 3)
    return text


def known() -> frozenset[str]:
    """Return all secrets that were told, as text."""
    return frozenset(_texts)
