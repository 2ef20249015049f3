"""Proxies that somebody holds: renewed in place, and put back as they were.

Knows no gateway and no list: it is given the dictionaries in which a module keeps its proxies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from away.functions import RemoteFunction

__all__ = ["become", "remember"]


def become(function: RemoteFunction[..., Any], renewed: RemoteFunction[..., Any]) -> None:
    """Give a proxy the state of another: whoever holds it sees the function as it is now.

    Attribute by attribute and stale ones last, so that a thread that calls it meanwhile finds all.
    """
    mine, theirs = vars(function), vars(renewed)
    mine.update(theirs, __call__=mine["__call__"])
    for stale in mine.keys() - theirs.keys():
        mine.pop(stale, None)


def remember(
    proxies: dict[str, RemoteFunction[..., Any]], *others: dict[str, Any]
) -> Callable[[], None]:
    """Remember proxies with the state of each, and what else dictionaries hold now.

    Returns:
        What puts all of it back; what has come meanwhile stays.
    """
    states = [(each, dict(vars(each))) for each in proxies.values()]
    held = [(each, dict(each)) for each in (proxies, *others)]

    def put_back() -> None:
        for proxy, state in states:
            vars(proxy).update(state)
            for stale in vars(proxy).keys() - state.keys():
                vars(proxy).pop(stale, None)
        for kept, then in held:
            kept.update(then)

    return put_back
