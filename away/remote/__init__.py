"""Gateways as modules: ``from away.remote.myfaas import fibonacci``.

``myfaas`` is a gateway that the environment, a TOML file or :func:`away.configure` names, and
``local`` the embedded gateway that runs on this machine. Importing this package installs the import
hook (:mod:`away.hooks`); a gateway is first asked for its functions when one of them is.
"""

from __future__ import annotations

import sys

from away.hooks import finder as _finder

__path__ = _finder.install(__path__)


def __getattr__(name: str) -> object:
    raise _finder.absent_gateway(name, sys._getframe(1))  # noqa: SLF001 - it looks who asks
