"""What an import from a gateway raises: Away's own errors that are ImportErrors at the same time.

``except ImportError`` is what programs write around an import, and ``except GatewayUnreachable`` what
they write around a gateway; both must catch. A class cannot be a TimeoutError and an ImportError at
once, so a list that came too late is a gateway that could not be reached.
"""

from __future__ import annotations

from typing import Any

from away.exceptions import (
    AuthenticationRefused,
    AwayError,
    CallTimedOut,
    ConfigError,
    FunctionNotFound,
    GatewayError,
    GatewayUnreachable,
    NameRefused,
    UnknownGateway,
)

__all__ = [
    "AmbiguousFunction",
    "ConfigurationNotImported",
    "FunctionNotImported",
    "GatewayImportError",
    "GatewayNotConfigured",
    "GatewayNotReached",
    "ListRefused",
    "LoginRefused",
    "ModuleNotListed",
    "NoSuchFunction",
    "as_import_error",
]


class GatewayImportError(AwayError, ImportError):
    """An import from a gateway failed; ``name`` is the module's full name, as in ImportError."""

    def __init__(self, message: str = "", *, name: str | None = None, **fields: Any) -> None:
        super().__init__(message, **fields)
        # Set one by one: with a second base beside it, ImportError's constructor is not reached.
        self.msg = message
        self.name = name

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle with the name, which ImportError keeps outside the instance's dictionary."""
        return _rebuild, (type(self), self.args, self.name, dict(self.__dict__))


class GatewayNotConfigured(GatewayImportError, UnknownGateway, ModuleNotFoundError):
    """``import away.remote.NAME`` where no gateway NAME is configured."""


class ConfigurationNotImported(GatewayImportError, ConfigError):
    """The configuration cannot be read, so nobody can say what ``away.remote.NAME`` is."""


class GatewayNotReached(GatewayImportError, GatewayUnreachable):
    """The gateway did not answer the request for its list in time, or not at all."""


class LoginRefused(GatewayImportError, AuthenticationRefused):
    """The gateway refused the credentials."""


class ListRefused(GatewayImportError, GatewayError):
    """The gateway answered the request for its list with an error or with something else."""


class FunctionNotImported(GatewayImportError, FunctionNotFound):
    """``from away.remote.GATEWAY import NAME`` where the gateway has no such function."""


class ModuleNotListed(GatewayImportError, FunctionNotFound, ModuleNotFoundError):
    """``import away.remote.GATEWAY.NAME`` where the gateway has no module of that name."""


class AmbiguousFunction(GatewayImportError, NameRefused):
    """A Python name that more than one function of the gateway goes by."""


class NoSuchFunction(FunctionNotFound, AttributeError):
    """An attribute of a gateway's module that is no function there."""

    def __init__(self, message: str = "", *, name: str | None = None, **fields: Any) -> None:
        super().__init__(message, **fields)
        # With a name and without the object the interpreter adds no suggestion of its own, for
        # which it would list the module's names while it prints the traceback.
        self.name = name

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle with the name, which AttributeError keeps outside the instance's dictionary."""
        return _rebuild, (type(self), self.args, self.name, dict(self.__dict__))


_COUNTERPARTS: tuple[tuple[type[AwayError], type[GatewayImportError]], ...] = (
    (UnknownGateway, GatewayNotConfigured),
    (ConfigError, ConfigurationNotImported),
    (GatewayUnreachable, GatewayNotReached),
    (CallTimedOut, GatewayNotReached),
    (AuthenticationRefused, LoginRefused),
    (FunctionNotFound, FunctionNotImported),
    (GatewayError, ListRefused),
)


def as_import_error(error: AwayError, name: str) -> GatewayImportError:
    """Return an error's counterpart that is an ImportError too, with its text and its fields.

    It says all that the first one said, so it is raised ``from None``: who reads an import's traceback
    has no use for those of sockets and drivers, and finds them in ``__context__``.

    Args:
        error: What the configuration or the connection raised.
        name: The module's full name.
    """
    kinds = (new for old, new in _COUNTERPARTS if isinstance(error, old))
    fields = {key: value for key, value in error.__dict__.items() if key != "name"}
    return next(kinds, GatewayImportError)(str(error), name=name, **fields)


def _rebuild(
    kind: type[GatewayImportError | NoSuchFunction],
    args: tuple[str, ...],
    name: str | None,
    fields: dict[str, Any],
) -> GatewayImportError | NoSuchFunction:
    return kind(*args, name=name, **fields)
