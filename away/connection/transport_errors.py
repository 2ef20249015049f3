"""What can happen to a connection, and the sentence that users read of it.

A driver throws a :class:`TransportError` into a conversation; whoever has tried again in vain makes of
it one of Away's own errors. What an answer means that did come is in :mod:`away.connection.verdicts`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from away.connection.messages import CALL_ID
from away.exceptions import (
    AnswerLost,
    AwayError,
    CallTimedOut,
    GatewayError,
    GatewayUnreachable,
)

if TYPE_CHECKING:
    from away.connection.messages import Request, Send

__all__ = [
    "ConnectFailed",
    "ConnectTimedOut",
    "CutShort",
    "NoAnswer",
    "NotHttp",
    "ReadTimedOut",
    "Silent",
    "TlsFailed",
    "TooLarge",
    "TransportError",
    "Where",
    "WrongAnswer",
    "sentence",
]

# A call that is cut sooner was not cut by a gateway's usual limits, of which the shortest is 10 s.
_LONG_WAIT_SECONDS = 9.0


class TransportError(Exception):
    """What a driver throws into a conversation; never seen by users. ``detail`` is a clause."""

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail)
        self.detail = detail


class ConnectFailed(TransportError):
    """There is no connection, so nothing was sent."""

    def __init__(self, detail: str = "", *, refused: bool = False) -> None:
        super().__init__(detail)
        self.refused = refused


class ConnectTimedOut(TransportError):
    """There was no connection in time, so nothing was sent."""


class TlsFailed(TransportError):
    """There is no trusted connection, so nothing was sent."""


class NoAnswer(TransportError):
    """The connection was closed before the head of an answer was complete."""


class CutShort(TransportError):
    """The connection was closed within the body of the answer."""


class ReadTimedOut(TransportError):
    """The deadline passed while sending, waiting or reading."""


class Silent(TransportError):
    """No head came of an answer that may have none; only where the request said so by ``quiet``."""


class NotHttp(TransportError):
    """What came back breaks HTTP."""


class TooLarge(TransportError):
    """What came back is more than an answer may be; ``detail`` says what it is."""


class WrongAnswer(TransportError):
    """What came back answers another request."""


class Where(NamedTuple):
    """Whom a request goes to, for the sentences of errors."""

    gateway: str
    function: str | None = None


def sentence(
    error: TransportError, where: Where, send: Send, call_id: str, *, updated: bool = False
) -> AwayError:
    """Translate what happened to a connection into the error that users see.

    Args:
        error: What happened.
        where: Whom the request went to.
        send: The request with its limits.
        call_id: Its X-Call-Id.
        updated: Whether this process updated the function meanwhile.
    """
    gateway = where.gateway
    method, path = send.request.method, send.request.path.partition("?")[0]
    what = f"the call of '{where.function}'" if where.function else f"{method} {path}"
    known: dict[str, Any] = {
        "gateway": gateway,
        "function": where.function,
        "call_id": call_id,
    }
    suffix = f" ({CALL_ID} {call_id})"
    if isinstance(error, ConnectFailed):
        if error.refused:
            text = f"nothing listens at {gateway}: the connection was refused"
        else:
            text = f"no connection to {gateway}: {error.detail}"
        # On one's own machine it is most often the embedded gateway that does not run yet.
        here = "://127.0.0.1:" in gateway or "://localhost:" in gateway
        start = "start the gateway, which 'away up' does on this machine," if here else None
        hint = f"{start or 'start the gateway'} or correct its URL"
        return GatewayUnreachable(f"{text}; {hint}{suffix}", hint=hint, **known)
    if isinstance(error, ConnectTimedOut):
        limit, seconds = "connect_timeout", send.connect_timeout
        if seconds > send.deadline.seconds:
            limit, seconds = "timeout", send.deadline.seconds
        hint = f"check its URL and the network, or raise {limit}"
        text = (
            f"no connection to {gateway} within {round(seconds, 3):g} s ({limit}); {hint}{suffix}"
        )
        return GatewayUnreachable(text, hint=hint, **known)
    if isinstance(error, TlsFailed):
        hint = "correct the URL, or give ca_bundle= the file of the authority that it trusts"
        why = error.detail
        if "wrong version number" in why or "record layer failure" in why:
            # OpenSSL's words for bytes that are no TLS, such as those of a plain HTTP server.
            why = f"what listens there does not speak TLS ({why})"
            hint = "write http:// or correct the port"
        text = f"no trusted connection to {gateway}: {why}; {hint}{suffix}"
        return GatewayUnreachable(text, hint=hint, **known)
    if isinstance(error, ReadTimedOut):
        seconds = send.deadline.seconds
        may = "; the function may still be running: raise timeout= or make it faster"
        if updated:
            may = f": {_UPDATED}; it may have run: look before repeating it"
        text = (
            f"{what} had no whole answer from {gateway} within the {round(seconds, 3):g} s of timeout"
            f"{may if where.function else ''}{suffix}"
        )
        return CallTimedOut(text, limit="timeout", seconds=seconds, **known)
    if isinstance(error, NotHttp):
        text = (
            f"{gateway} answered {what} with something that is not HTTP: {error.detail}; check that"
            f" its URL is a gateway's{suffix}"
        )
        return GatewayError(text, **known)
    if isinstance(error, TooLarge):
        text = (
            f"the answer of {gateway} to {what} is too large: {error.detail}; let it give less, or"
            f" say where the data is{suffix}"
        )
        return GatewayError(text, **known)
    if isinstance(error, WrongAnswer):
        text = (
            f"{gateway} answered {what} with the answer to another request ({error.detail}), so the"
            f" right one is lost and the connection was closed; look before repeating it{suffix}"
        )
        return AnswerLost(text, **known)
    if isinstance(error, CutShort):
        what = f"{gateway} closed the connection in the middle of the answer to {what}"
    else:
        what = f"{gateway} closed the connection without an answer to {what}"
    why = "it timed out at the gateway or was lost"
    waited = send.deadline.elapsed()
    if updated:
        why = _UPDATED
    elif send.request.path.startswith("/function/") and waited >= _LONG_WAIT_SECONDS:
        # faasd's gateway hangs up so once its write_timeout of 60 s has passed.
        why += (
            f" after {waited:.0f} s; where calls take longer, raise the gateway's write_timeout and"
            " upstream_timeout and publish with timeout="
        )
    may = ", and it may have run: look before repeating it" if _acts(send.request) else ""
    return AnswerLost(f"{what}: {why}{may}{suffix}", **known)


# faasd takes the network of the old container before it stops the program, and hangs up a minute later.
_UPDATED = (
    "this process updated the function during the call, and a gateway that replaces a function, as faasd"
    " does, loses the calls in flight"
)


def _acts(request: Request) -> bool:
    if request.path.startswith("/function/"):
        return True
    # A registry's blobs are named by what they hold: to push one twice is to push it once.
    return request.method not in ("GET", "HEAD") and "/v2/" not in request.path
