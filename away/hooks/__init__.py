"""The import hook: ``from away.remote.myfaas import fibonacci``.

Importing :mod:`away.remote` installs the finder, so there is nothing to call before an import. What
stands here is for programs that want to choose the moment at which a gateway is asked:
:func:`load` in a coroutine, :func:`load_sync` elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from away.hooks.finder import install

if TYPE_CHECKING:
    from away.hooks.modules import GatewayModule

__all__ = ["install", "load", "load_sync"]


async def load(gateway: str) -> GatewayModule:
    """Import a gateway's module and fetch its functions without blocking the event loop.

    Afterwards ``from away.remote.GATEWAY import f`` in a coroutine sends nothing for a function
    that the gateway had: an import statement cannot be awaited, so it would stall the loop.

    Args:
        gateway: The gateway's configured name, ``local`` for the embedded one.

    Returns:
        The module, with every function that the gateway has.

    Raises:
        ImportError: The gateway is not configured, cannot be reached, or refuses the list; the
            error is Away's own (such as ``GatewayUnreachable``) at the same time.

    Example::

        gw = await away.hooks.load("myfaas")
        print(await gw.fibonacci(10))
    """
    from away.hooks.modules import functions_of, gateway_module

    module = gateway_module(gateway)
    await functions_of(module).fetch_async()
    return module


def load_sync(gateway: str) -> GatewayModule:
    """Import a gateway's module and fetch its functions now; else as :func:`load`."""
    from away.hooks.modules import functions_of, gateway_module

    module = gateway_module(gateway)
    functions_of(module).fetch_sync()
    return module
