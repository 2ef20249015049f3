"""What a fake changes of gateway modules and of functions in hand, and how all of it is put back."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from away.calls import alive
from away.connection.catalogue import drop_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from away.hooks.contents import GatewayFunctions

__all__ = ["remembered", "renew"]


def remembered() -> Callable[[], None]:
    """Remember what modules hold and calls have learnt; what is returned puts it back."""
    before = {id(each): each.remembered() for each in _imported()}
    learnt = [each.remembered() for each in list(alive)]

    def put_back() -> None:
        drop_all()
        for forget in learnt:
            forget()
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
