"""Gateways as modules of coroutine functions: ``from away.remote.aio.myfaas import fibonacci``.

Every function is awaited here, whatever it was published from: an ordinary one is a coroutine
function, a generator an async generator, and what was published from ``async def`` is here what it
is in ``away.remote.myfaas`` too. One request for the list serves both modules of a gateway.
"""

from __future__ import annotations

import sys

from away.hooks import finder as _finder

__path__ = _finder.install(__path__)


def __getattr__(name: str) -> object:
    raise _finder.absent_gateway(name, sys._getframe(1), __name__)  # noqa: SLF001 - it looks who asks
