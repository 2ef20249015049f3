"""What a fake changes of imported gateway modules, and how all of it is put back."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from away.connection.catalogue import drop_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from away.hooks.contents import GatewayFunctions

__all__ = ["remembered", "renew"]


def remembered() -> Callable[[], None]:
    """Remember what the gateway modules hold now; what is returned puts it back."""
    before = {id(each): each.remembered() for each in _imported()}

    def put_back() -> None:
        drop_all()
        for owner in _imported():
            before.get(id(owner), owner.start_anew)()

    return put_back


def renew(gateway: str) -> None:
    """Let what was imported from a gateway be what the gateway has now, in place."""
    drop_all()
    for owner in _imported():
        if owner.gateway == gateway:
            owner.renew_in_hand()


def _imported() -> Iterator[GatewayFunctions]:
    """Give the owner of each imported gateway module's functions."""
    if "away.hooks.modules" in sys.modules:
        from away.hooks.modules import GatewayModule, functions_of

        for module in list(sys.modules.values()):
            if isinstance(module, GatewayModule):
                yield functions_of(module)
