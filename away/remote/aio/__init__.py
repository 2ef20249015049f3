"""Gateways as modules of coroutine functions: ``from away.remote.aio.myfaas import fibonacci``.

Every function is awaited here, whatever it was published from: an ordinary one is a coroutine
function, a generator an async generator, and what was published from ``async def`` is here what it
is in ``away.remote.myfaas`` too. One request for the list serves both modules of a gateway.
"""

import sys as _sys

from away.hooks import finder as _finder

# Which gateways there are, the configuration says: a star takes none of them.
__all__: list[str] = []
__path__ = _finder.install(__path__)


def __getattr__(name: str) -> object:
    raise _finder.absent_gateway(name, _sys._getframe(1), __name__)  # noqa: SLF001 - it looks who asks


def __dir__() -> list[str]:
    return _finder.names_below(globals())
