"""Conversations with a gateway, without I/O: what to send, what an outcome means, when to try again.

A conversation is a generator. It yields :class:`Send` or :class:`Wait`; a driver does that and sends
the :class:`Reply` back in, or throws in the :class:`TransportError` that it met. Nothing here knows
sockets, threads, event loops or the HTTP libraries: each conversation is written once, and both
drivers pump it.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import TYPE_CHECKING

from away import __version__

# Most of it is given out again here, to those in other rooms who hold conversations.
from away.connection.answers import MAX_ANSWER_BYTES, SinkFailed, check_answered, decoded
from away.connection.messages import (
    CALL_ID,
    PROTOCOL_HEADER,
    QUIET_HEAD_SECONDS,
    Conversation,
    Deadline,
    Headers,
    Reply,
    Request,
    Send,
    Sink,
    Wait,
)
from away.connection.retries import RETRIES, Attempts, Retry, Updates, event_of
from away.connection.transport_errors import (
    ConnectFailed,
    ConnectTimedOut,
    CutShort,
    NoAnswer,
    NotHttp,
    ReadTimedOut,
    Silent,
    TlsFailed,
    TooLarge,
    TransportError,
    Where,
    WrongAnswer,
    sentence,
)
from away.exceptions import CallTimedOut

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "BASE_HEADERS",
    "CALL_ID",
    "MAX_ANSWER_BYTES",
    "PROTOCOL_HEADER",
    "QUIET_HEAD_SECONDS",
    "RETRIES",
    "ConnectFailed",
    "ConnectTimedOut",
    "Conversation",
    "CutShort",
    "Deadline",
    "Headers",
    "NoAnswer",
    "NotHttp",
    "ReadTimedOut",
    "Reply",
    "Request",
    "Retry",
    "Send",
    "Silent",
    "Sink",
    "SinkFailed",
    "TlsFailed",
    "TooLarge",
    "TransportError",
    "Updates",
    "Wait",
    "WrongAnswer",
    "check_answered",
    "decoded",
    "event_of",
    "exchange",
    "prepare",
]

BASE_HEADERS: Mapping[str, str] = {
    "User-Agent": f"away/{__version__}",
    "Accept": "*/*",
    # Said, so that both HTTP libraries say the same and Go's gateway does not add its own; some
    # answer compressed all the same.
    "Accept-Encoding": "identity",
}
# How long a call is held back at most while its function is updated; as long as one is tried again
# whose function the gateway does not know in an update.
HELD_SECONDS = 60.0
_HELD_PAUSES = (0.02, 0.05, 0.1)


def new_call_id() -> str:
    """Make an id in the form of the gateway's own (a random UUID, RFC 9562)."""
    text = os.urandom(16).hex()
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"


def prepare(request: Request) -> tuple[Request, str]:
    """Complete a request's headers, where it does not set them itself.

    Returns:
        The request to send, and its X-Call-Id.
    """
    method, path, headers, body, auth, into, most = request
    base, own_id = _left_out(tuple(headers))
    complete = {**base, **headers}
    if own_id is None:
        complete[CALL_ID] = call_id = new_call_id()
    else:
        call_id = headers[own_id]
    return Request(method, path, complete, body, auth, into, most), call_id


@lru_cache(maxsize=256)
def _left_out(given: tuple[str, ...]) -> tuple[dict[str, str], str | None]:
    """Return the base headers that some names leave out, and the name that is X-Call-Id if any."""
    lower = {name.lower(): name for name in given}
    base = {name: value for name, value in BASE_HEADERS.items() if name.lower() not in lower}
    return base, lower.get(CALL_ID.lower())


def exchange(
    where: Where,
    request: Request,
    deadline: Deadline,
    connect_timeout: float,
    *,
    repeatable: bool = False,
    updates: Updates | None = None,
    quiet: float | None = None,
    patient: bool = True,
) -> Conversation[Reply]:
    """Send a request until it has an answer that stands.

    Args:
        where: Whom it goes to.
        request: What to send.
        deadline: Until when, with all repetitions.
        connect_timeout: Seconds for each connection.
        repeatable: Whether it may be sent again where it may have been acted upon.
        updates: What is known of this process's own updates of the function.
        quiet: See :class:`Send`.
        patient: Whether a refused connection is tried again, as of a gateway that starts just now.

    Returns:
        The reply, whatever its status; an empty 204 where ``quiet`` was asked for and no head came.

    Raises:
        GatewayUnreachable: There was no connection.
        CallTimedOut: The deadline passed.
        AnswerLost: The connection ended before the whole answer was there.
        GatewayError: What answers does not speak HTTP.
    """
    request, call_id = prepare(request)
    send = Send(request, deadline, connect_timeout, quiet)
    attempts: Attempts | None = None
    begun = 0.0
    while True:
        if updates is not None and updates.holding():
            yield from held_back(updates, where, deadline, call_id)
            begun = deadline.elapsed()
        outcome: Reply | TransportError
        try:
            reply = yield send
            assert reply is not None, "a driver answers Send with a reply"
            reply.call_id = call_id
            if reply.status < 400:
                return reply
            outcome = reply
        except Silent:
            return Reply(204, call_id=call_id)
        except TransportError as error:
            outcome = error
        if attempts is None:
            attempts = Attempts(deadline, repeatable=repeatable, updates=updates, patient=patient)
        pause = attempts.pause(outcome)
        if pause is None:
            asked_for = deadline.elapsed() - begun
            updated = updates is not None and updates.happened_within(asked_for)
            if isinstance(outcome, Reply):
                outcome.updated = updated
                return outcome
            raise sentence(outcome, where, send, call_id, updated=updated) from outcome
        yield Wait(pause)


def held_back(
    updates: Updates, where: Where, deadline: Deadline, call_id: str
) -> Conversation[None]:
    """Keep a call from being sent until an update of its function has ended.

    faasd stops the old container before the new one answers, without waiting for its calls. What is
    sent meanwhile is lost, or refused by a 500 that a function killed in mid-call gives too, so that
    it could not be sent again; and a call that finds the new container before its program was started
    starts it, which makes the update itself fail.

    Raises:
        CallTimedOut: The deadline passed first; nothing was sent.
    """
    limit, turn = deadline.within(HELD_SECONDS), 0
    while updates.holding() and limit.remaining() > 0.0:
        yield Wait(min(_HELD_PAUSES[min(turn, len(_HELD_PAUSES) - 1)], limit.remaining()))
        turn += 1
    if deadline.remaining() <= 0.0:
        raise CallTimedOut(
            f"the call of '{where.function}' was not sent within the {deadline.seconds:g} s of timeout,"
            f" since this process is updating the function on {where.gateway}, which loses calls"
            f" meanwhile; raise timeout= or call once the update has ended ({CALL_ID} {call_id})",
            limit="timeout",
            seconds=deadline.seconds,
            gateway=where.gateway,
            function=where.function,
            call_id=call_id,
        )
