"""Gateways as modules: ``from away.remote.myfaas import fibonacci``.

``myfaas`` is a gateway that the environment, a TOML file or :func:`away.configure` names, and
``local`` the embedded gateway that runs on this machine. Importing this package installs the import
hook (:mod:`away.hooks`); a gateway is first asked for its functions when one of them is.
"""

import sys as _sys

from away.hooks import finder as _finder

# Which gateways there are, the configuration says: a star takes none of them.
__all__: list[str] = []
__path__ = _finder.install(__path__)


def __getattr__(name: str) -> object:
    raise _finder.absent_gateway(name, _sys._getframe(1))  # noqa: SLF001 - it looks who asks


def __dir__() -> list[str]:
    return _finder.names_below(globals())
