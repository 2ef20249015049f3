"""The secrets that this process knows, so that none of them is packed by mistake.

Configuration and connections tell their passwords and tokens here; capture asks before it packs a
file or a value. Nothing is written anywhere, and nothing is ever forgotten: a file that held a
password a minute ago still holds it.
"""

from __future__ import annotations

__all__ = [
    "declared",
    "hidden",
    "known",
    "known_files",
    "name_of",
    "remember",
    "remember_declared",
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
# Of those that a source file declares, the name and the line that says so.
_places: dict[str, str] = {}


def remember(text: str | None) -> None:
    """Note a password or token; nothing and the empty text are none."""
    if text:
        _texts.add(str(text))


def remember_value(data: bytes, name: str) -> None:
    """Note the value of a gateway's secret of that name."""
    for each in _spelled(data):
        remember(each)
        _names[each] = name


def remember_declared(data: bytes, name: str, place: str) -> None:
    """Note the value of a secret that is only written down, and given to no gateway so far.

    A short one is left out: it stands in other texts by chance, and nobody has it as a secret yet.

    Args:
        data: The value.
        name: What the secret is called.
        place: The file and the line that declare it.
    """
    for each in _spelled(data):
        if len(each.strip()) >= _SHORTEST_HIDDEN:
            remember(each)
            _names.setdefault(each, name)
            _places.setdefault(each, f"declared in {place}")


def declared(text: str | bytes) -> str:
    """Return a clause that tells where a secret that is in a text was declared, if one is."""
    text = text if isinstance(text, str) else text.decode(errors="replace")
    return next((f" ({place})" for each, place in dict(_places).items() if each in text), "")


def _spelled(data: bytes) -> set[str]:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        from base64 import b64encode

        # No text can hold it, but its usual spelling can.
        text = b64encode(data).decode()
    return {text, text.strip()}


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
