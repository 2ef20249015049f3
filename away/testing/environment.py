"""Configuration by variables of the environment, for the length of a block.

Not by :func:`away.configure`, so that it reaches the processes which a test starts, and what a
program configures by that stays stronger.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import away.config as config
from away.config.settings import check_name
from away.exceptions import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from away.connection import FaasConnection

__all__ = ["configured", "configured_as", "variable"]

# Of a gateway that nobody configured: a name that no resolver knows (RFC 6761), should anything of
# the test, such as a process that it starts, reach for it.
_NOWHERE = "http://{}.invalid"
# A login, so that a call may ask what a function is, as it could of the real gateway.
_PASSWORD = "no-password-of-any-gateway"  # noqa: S105 - of none
_SECRETS = ("PASSWORD_FILE", "PASSWORD_ENV", "TOKEN", "TOKEN_FILE", "TOKEN_ENV")


@contextlib.contextmanager
def configured(name: str) -> Iterator[str]:
    """Configure a gateway that is faked as far as it is not, and give its URL.

    Raises:
        ConfigError: No gateway can have that name.
    """
    check_name(name, f"gateway={name!r}", reserved=("aio",))
    prefix = f"AWAY_GATEWAY_{name.upper()}_"
    with contextlib.ExitStack() as undo:
        if name == "local":
            undo.enter_context(_announced())
        try:
            known = config.resolve(name)
        except ConfigError:
            # Perhaps a secret that is not on this machine, which a fake does not need.
            for key in _SECRETS:
                undo.enter_context(variable(prefix + key, None))
            undo.enter_context(variable(prefix + "PASSWORD", _PASSWORD))
            try:
                known = config.resolve(name)
            except ConfigError:
                nowhere = _NOWHERE.format(name.replace("_", "-"))
                undo.enter_context(variable(prefix + "URL", nowhere))
                known = config.resolve(name)
        if known.password is None and known.token is None:
            undo.enter_context(variable(prefix + "PASSWORD", _PASSWORD))
        yield known.url


@contextlib.contextmanager
def _announced() -> Iterator[None]:
    """Announce an embedded gateway that is not there, unless this process runs one: ``local``."""
    import tempfile

    from away.gateway.announcement import Announcement, announce

    url = _NOWHERE.format("local")
    with tempfile.TemporaryDirectory(prefix="away-fake-") as folder:
        this = Announcement(url, "admin", _PASSWORD, os.getpid(), folder)
        with announce(this, Path(folder)), variable("AWAY_RUNTIME_DIR", folder):
            yield


@contextlib.contextmanager
def configured_as(name: str, connection: FaasConnection) -> Iterator[None]:
    """Configure a gateway under a further name."""
    prefix = f"AWAY_GATEWAY_{name.upper()}_"
    with contextlib.ExitStack() as undo:
        undo.enter_context(variable(prefix + "URL", connection.url))
        undo.enter_context(variable(prefix + "USER", connection.user))
        undo.enter_context(variable(prefix + "PASSWORD", connection.password or ""))
        yield


@contextlib.contextmanager
def variable(name: str, value: str | None) -> Iterator[None]:
    """Set a variable of the environment, or None to remove it, and put back what it was."""
    before = os.environ.get(name)
    _set(name, value)
    try:
        yield
    finally:
        _set(name, before)


def _set(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value
