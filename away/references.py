"""References to remote functions: one connection a gateway for everything that was unpickled.

A reference knows the URL alone; the credentials are those of the process that reads it. In the process
that wrote it, it stands for the function itself, as the name of a local function does.
"""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING, Any, NamedTuple

from away.connection import FaasConnection

if TYPE_CHECKING:
    from away.functions import RemoteFunction

__all__ = ["Reference", "referenced_connection", "remember", "remembered"]

# By URL; guarded by the dict's own atomicity.
_connections: dict[str, FaasConnection] = {}
# Functions that were pickled here, by what tells one from another, the latest of those that are alike.
# Only single items are set and got, which needs no lock, that a fork could leave held.
_pickled: weakref.WeakValueDictionary[tuple[Any, ...], RemoteFunction[..., Any]] = (
    weakref.WeakValueDictionary()
)
# By a key's hash, the placement or else the connection of all functions that were pickled under it; None
# where there were several. A reference does not tell these, so it then stands for none of the functions.
_owners: dict[int, weakref.ref[Any] | None] = {}
# Owners outlive the functions, as pickles do: this many take some 15 MB. What comes later is not found.
_MOST_OWNERS = 100_000
# Options that are no part of a key: not all of their values can be.
_UNHASHED = ("description", "headers", "pack", "types", "unpack")


class Reference(NamedTuple):
    """What a remote function pickles to: the arguments of :func:`away.functions.resolve`."""

    url: str
    namespace: str
    name: str
    options: dict[str, Any]

    def key(self) -> tuple[Any, ...]:
        """Return what tells most functions from each other."""
        plain = [item for item in self.options.items() if item[0] not in _UNHASHED]
        headers = sorted(self.options.get("headers", {}).items())
        return *self[:3], *sorted(plain), *headers

    def is_same(self, other: Reference) -> bool:
        """Tell whether both stand for one function: a default of 1 is none of True."""
        mine, others = self._compared(), other._compared()
        try:
            return bool(mine == others) and repr(mine) == repr(others)
        except Exception:  # defaults are objects of the user's, who compares them
            return False

    def _compared(self) -> tuple[Any, ...]:
        options = {key: value for key, value in self.options.items() if value is not None}
        if "headers" in options:
            options["headers"] = dict(options["headers"])
        types = options.pop("types", None)
        return *self[:3], options, types and types.reference


def remember(function: RemoteFunction[..., Any]) -> None:
    """Find a function again by its reference, for as long as somebody else holds it.

    One with another login or placement under the same key ends that for good, for all of the key.
    """
    key = function.reference().key()
    if len(_owners) >= _MOST_OWNERS and hash(key) not in _owners:
        return
    owner = _owner(function)
    if _owners.setdefault(hash(key), owner) == owner:
        _pickled[key] = function
    else:
        _owners[hash(key)] = None


def remembered(reference: Reference) -> RemoteFunction[..., Any] | None:
    """Return the living function that a reference was made of here, if it is still of that kind."""
    key = reference.key()
    found = _pickled.get(key)
    if found is None or _owners.get(hash(key)) != _owner(found):
        return None
    # What it is may have changed since: a gateway's proxies are renewed in place.
    return found if found.reference().is_same(reference) else None


def _owner(function: RemoteFunction[..., Any]) -> weakref.ref[Any]:
    return weakref.ref(function.placement or function.connection)


def referenced_connection(url: str) -> FaasConnection:
    """Return the connection that serves all references to a gateway.

    Args:
        url: The gateway's URL. Inside a container that runs a published function, the URL of the
            gateway that it was published on stands for the one by which the container reaches it.
    """
    if os.environ.get("AWAY_OUTSIDE_URL") == url:
        url = os.environ.get("AWAY_INSIDE_URL") or url
    found = _connections.get(url)
    return found or _connections.setdefault(url, FaasConnection(url))
