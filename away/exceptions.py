"""What can go wrong, as one tree to catch by what the caller can do about it.

::

    AwayError
    ├── ConfigError (ValueError)          correct the configuration
    │   └── UnknownGateway                configure the gateway, or correct its name
    ├── NameRefused (ValueError)          choose another name for the function
    ├── GatewayUnreachable                start the gateway, correct its URL, try again
    ├── AuthenticationRefused             log in, correct the password
    ├── FunctionNotFound (LookupError)    correct the name, deploy the function
    ├── SecretNotFound (LookupError)      correct the name, create the secret
    ├── FunctionNotReady                  wait, read the function's log
    ├── CallTimedOut (TimeoutError)       raise the limit named, or make the function faster
    ├── AnswerLost                        the function may have run: look before calling again
    ├── GatewayError                      read the status and the answer's text
    ├── CannotTravel (TypeError)          correct the argument
    ├── CaptureRefused (TypeError)        change the function that is to be published
    ├── PublishFailed                     read which step failed and what runs now
    ├── ProtocolMismatch                  publish again, or upgrade one of the two sides
    │   └── ResultMismatch                correct the stub's return annotation
    └── RemoteError                       the function's own exception, of a type unknown here

An exception of the function's own whose type is known here is raised as that type, with the remote
traceback as a note (PEP 678). None of these derives from :class:`ConnectionError`: the import hook
raises errors that are both an AwayError and an :class:`ImportError`, and Python cannot lay out a
class that is an OSError and an ImportError at once.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "AnswerLost",
    "AuthenticationRefused",
    "AwayError",
    "CallTimedOut",
    "CannotTravel",
    "CaptureRefused",
    "ConfigError",
    "EnsureException",
    "FaasFunctionTimedOutError",
    "FaasReturnedError",
    "FaasServiceUnavailableException",
    "FallbackWarning",
    "FunctionNotFound",
    "FunctionNotReady",
    "GatewayError",
    "GatewayUnreachable",
    "IgnoredOptionWarning",
    "MountWarning",
    "NameRefused",
    "ProtocolMismatch",
    "PublishFailed",
    "RemoteError",
    "ResultMismatch",
    "SecretNotFound",
    "UnknownGateway",
    "UnsafeWarning",
]


class AwayError(Exception):
    """The root of the tree: catch it to catch everything that Away itself raises.

    Args:
        message: One sentence: what, where, what to do.
        gateway: The gateway's URL, without credentials.
        function: The function's name as the gateway knows it.
        status: The HTTP status that was answered, where there was one.
        call_id: The X-Call-Id under which the gateway and the function logged the call.
        hint: What to do about it, as a clause of its own.
    """

    def __init__(
        self,
        message: str = "",
        *,
        gateway: str | None = None,
        function: str | None = None,
        status: int | None = None,
        call_id: str | None = None,
        hint: str | None = None,
        **fields: Any,
    ) -> None:
        super().__init__(message)
        self.gateway = gateway
        self.function = function
        self.status = status
        self.call_id = call_id
        self.hint = hint
        self.__dict__.update(fields)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by class, message and fields, whatever the subclass's constructor takes."""
        return _rebuild, (type(self), self.args, dict(self.__dict__))


def _rebuild(cls: type[AwayError], args: tuple[Any, ...], fields: dict[str, Any]) -> AwayError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(fields)
    return error


class ConfigError(AwayError, ValueError):
    """A configuration that cannot be used; the message names the source and its line."""


class UnknownGateway(ConfigError):
    """No source configures a gateway of that name."""


class NameRefused(AwayError, ValueError):
    """A name under which OpenFaaS could not deploy, or never call, a function."""


class GatewayUnreachable(AwayError):
    """No connection to the gateway, so nothing was sent to it."""


class AuthenticationRefused(AwayError):
    """The gateway refused the credentials, or asked for some where none are known."""


class FunctionNotFound(AwayError, LookupError):
    """The gateway has no function of that name; ``nearest`` are names that it does have."""

    nearest: tuple[str, ...] = ()


class SecretNotFound(AwayError, LookupError):
    """The gateway has no secret of that name."""


class FunctionNotReady(AwayError):
    """The function is deployed and does not answer yet, or no longer."""


class CallTimedOut(AwayError, TimeoutError):
    """A limit of time was reached; ``limit`` says which one and ``seconds`` how long it was."""

    limit: str = ""
    seconds: float | None = None


class AnswerLost(AwayError):
    """The connection ended before the whole answer was there: the function may have run."""


class GatewayError(AwayError):
    """The gateway or the function answered with an error status; ``body`` is the answer's head."""

    body: str = ""


class CannotTravel(AwayError, TypeError):
    """A value that cannot be sent; ``path`` leads to it from the argument's name."""

    path: str = ""


class CaptureRefused(AwayError, TypeError):
    """A function that cannot be packed; ``path`` leads from the function to the reason."""

    path: str = ""


class PublishFailed(AwayError):
    """A step of publishing failed; ``step`` names it and the message says what runs now."""

    step: str = ""


class ProtocolMismatch(AwayError):
    """Two sides that do not speak the same protocol, or a message that breaks it."""


class ResultMismatch(ProtocolMismatch):
    """A result that is not what the stub's annotation says.

    ``path`` leads into it (``[0].x``), to where ``expected`` is the type that was expected and
    ``given`` says what came.
    """

    path: str = ""
    expected: str = ""
    given: str = ""


class RemoteError(AwayError):
    """An exception of the remote function whose type this process does not know.

    ``type_name`` is the remote type's full name, ``message`` its text, and ``remote_traceback`` the
    text of the traceback there, which is also a note of the exception.
    """

    type_name: str = ""
    message: str = ""
    remote_traceback: str = ""


class FallbackWarning(RuntimeWarning):
    """A call could not reach the gateway and ran here, by ``fallback=True``."""


class IgnoredOptionWarning(UserWarning):
    """A publish option that the gateway takes and does not honour, or that contradicts another."""


class MountWarning(UserWarning, ImportError):
    """A mount that the configuration asks for cannot be made, or a real module took its name.

    An ImportError too, so that ``try: import x`` survives it where warnings are made errors.
    """


class UnsafeWarning(UserWarning):
    """A function was published with ``safe_args=False``: whoever reaches it can run code in it."""


# The names that the project of 2023 used, kept for code that catches them.
FaasReturnedError = GatewayError
EnsureException = AwayError
FaasServiceUnavailableException = GatewayUnreachable
FaasFunctionTimedOutError = CallTimedOut
