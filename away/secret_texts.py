"""The secrets that this process knows, so that none of them is packed by mistake.

Configuration and connections tell their passwords and tokens here; capture asks before it packs a
file or a value. Nothing is written anywhere, and nothing is ever forgotten: a file that held a
password a minute ago still holds it.
"""

from __future__ import annotations

__all__ = ["known", "remember"]

# Adding to a set is one step under the interpreter's lock, and reading takes a copy.
_texts: set[str] = set()


def remember(text: str | None) -> None:
    """Note a password or token; nothing and the empty text are none."""
    if text:
        _texts.add(str(text))


def known() -> frozenset[str]:
    """Return all secrets that were told, as text."""
    return frozenset(_texts)
