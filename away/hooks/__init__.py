"""The import hook: ``from away.remote.myfaas import fibonacci``.

Importing :mod:`away.remote` installs the finder, so there is nothing to call before an import. What
stands here is for programs that want to choose the moment at which a gateway is asked (:func:`load`
in a coroutine, :func:`load_sync` elsewhere), and for those that import its functions under names of
their own: :func:`mount`, :func:`unmount`, :func:`mounted`, and :func:`mount_configured` for what
``[tool.away.mounts]`` says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from away.hooks.finder import install

if TYPE_CHECKING:
    from away.hooks.configured_mounts import mount_configured
    from away.hooks.modules import GatewayModule
    from away.hooks.mounts import mount, mounted, unmount

__all__ = ["install", "load", "load_sync", "mount", "mount_configured", "mounted", "unmount"]

# Imported when they are first asked for, since most programs mount nothing.
_ROOMS = {
    "mount": "away.hooks.mounts",
    "mount_configured": "away.hooks.configured_mounts",
    "mounted": "away.hooks.mounts",
    "unmount": "away.hooks.mounts",
}


def __getattr__(name: str) -> object:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
    import importlib

    found = globals()[name] = getattr(importlib.import_module(_ROOMS[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


async def load(gateway: str) -> GatewayModule:
    """Import a gateway's module and fetch its functions without blocking the event loop.

    Afterwards ``from away.remote.GATEWAY import f`` in a coroutine sends nothing for a function
    that the gateway had: an import statement cannot be awaited, so it would stall the loop.

    Args:
        gateway: The gateway's configured name, ``local`` for the embedded one; ``aio.NAME`` for
            its module in ``away.remote.aio``, or the name of a mount. Each loads the module of
            that name; the list itself serves all modules of a gateway for some seconds.

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
