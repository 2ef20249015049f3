"""Proxies that publishing left in a program: what their functions are, published again by it.

A cell of a notebook is edited and run again, and what somebody holds of its earlier run calls what the
gateway has now: so it takes the arguments of that, and is called as that is. How it is called otherwise
(``idempotent``, a placement) stays its own; so it is with copies of it that have other options.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

if TYPE_CHECKING:
    from away.functions import RemoteFunction

__all__ = ["note", "note_copy"]

_left: WeakSet[RemoteFunction[..., Any]] = WeakSet()
_noting = threading.Lock()  # guards _left


def note(proxy: RemoteFunction[..., Any]) -> None:
    """Take note of what a publish left; earlier proxies of the same function become what it is."""
    with _noting:
        earlier = [each for each in _left if _place(each) == _place(proxy)]
        _left.add(proxy)
    for each in earlier:
        each._renew(proxy)  # noqa: SLF001 - what it is, which only it can change


def note_copy(made: RemoteFunction[..., Any], of: RemoteFunction[..., Any]) -> None:
    """Take note of a proxy that differs in its options from one that publishing left, if it did."""
    with _noting:
        if of in _left:
            _left.add(made)


def _place(proxy: RemoteFunction[..., Any]) -> tuple[str, str, str]:
    return proxy.connection.url, proxy.namespace, proxy.function_name


def _after_fork() -> None:
    global _noting
    _noting = threading.Lock()  # another thread's hold of it would never end here


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
