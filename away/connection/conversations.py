"""Conversations with a gateway, without I/O: what to send, what an outcome means, when to try again.

A conversation is a generator. It yields :class:`Send` or :class:`Wait`; a driver does that and sends
the :class:`Reply` back in, or throws in the :class:`TransportError` that it met. Nothing here knows
sockets, threads, event loops or the HTTP libraries: each conversation is written once, and both
drivers pump it.
"""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeAlias, TypeVar, overload

from away import __version__
from away.exceptions import (
    AnswerLost,
    AwayError,
    CallTimedOut,
    GatewayError,
    GatewayUnreachable,
)
from away.names import printable

if TYPE_CHECKING:
    from away.connection.access import Credential

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

CALL_ID = "X-Call-Id"
PROTOCOL_HEADER = "X-Away-Protocol"
# The gateway's own errors on /function carry this header (OpenFaaS: handlers/function_proxy.go).
PLATFORM_HEADER = "X-Openfaas-Internal"
BASE_HEADERS: Mapping[str, str] = {
    "User-Agent": f"away/{__version__}",
    "Accept": "*/*",
    # Said, so that both HTTP libraries say the same and Go's gateway does not add its own; some
    # answer compressed all the same.
    "Accept-Encoding": "identity",
}
# What an answer may hold, decoded: it has to fit into the memory of whoever called.
MAX_ANSWER_BYTES = 1 << 30
# What an answer may hold whose body was to go into a sink, and that is none of those which do: such as
# a registry's errors, from whom a layer was asked.
MAX_REFUSAL_BYTES = 1 << 20
# The statuses of which a body goes into a sink: all of it, or a range.
POURED = (200, 206)
# A compressed answer may grow to this, or to so many times what came, where that is more: DEFLATE
# makes a thousand bytes of one where somebody wants it to.
MAX_GROWN_BYTES = 64 << 20
MAX_GROWTH = 50


# How long the head of an answer is waited for that may never come: OpenFaaS sends none for a log that is
# followed before the log's first line. Longer than between two lines, since a busy gateway has to find
# the function first.
QUIET_HEAD_SECONDS = 1.5
# How long a call is held back at most while its function is updated; as long as one is tried again
# whose function the gateway does not know in an update.
HELD_SECONDS = 60.0
_HELD_PAUSES = (0.02, 0.05, 0.1)
# A call that is cut sooner was not cut by a gateway's usual limits, of which the shortest is 10 s.
_LONG_WAIT_SECONDS = 9.0


class Deadline:
    """The moment until which a whole call may take, with its retries.

    Args:
        seconds: From now; None for no limit.
        clock: What tells the time; it only has to go forwards.
    """

    __slots__ = ("_begin", "_clock", "seconds")

    def __init__(
        self, seconds: float | None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if seconds is not None and not seconds > 0:
            raise ValueError(f"timeout is a positive number of seconds, not {seconds!r}")
        self.seconds = math.inf if seconds is None else float(seconds)
        self._clock = clock
        self._begin = clock()

    def remaining(self) -> float:
        """Return the seconds that are left; 0.0 when it has passed."""
        return max(self._begin + self.seconds - self._clock(), 0.0)

    def elapsed(self) -> float:
        """Return the seconds since it was made."""
        return self._clock() - self._begin

    def within(self, seconds: float) -> Deadline:
        """Return a deadline for a part of the work: after so many seconds, and never after this."""
        return Deadline(max(min(seconds, self.remaining()), 0.001), clock=self._clock)

    def __repr__(self) -> str:
        return f"Deadline({self.seconds:g} s, {self.remaining():.3f} s left)"


T = TypeVar("T")


# Fields that are logins, which no traceback, log or notebook shows by chance.
_IS_SECRET = re.compile(
    r"(?i)(?:.*-)?(?:cookie2?|authorization|auth|password|secret|token|(?:api-?)?key|apikey)(?:-.*)?\Z"
).match


class Headers(Mapping[str, str]):
    """Header fields whose names are found in any case; repeated ones are joined by commas.

    >>> Headers([("X-Call-Id", "7")]).get("x-call-id")
    '7'
    """

    __slots__ = ("_by_name", "pairs")

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self.pairs = tuple(pairs)
        # Made when it is first asked for: the answers of many calls are never asked.
        self._by_name: dict[str, str] | None = None

    def _values(self) -> dict[str, str]:
        values = self._by_name
        if values is None:
            values = {}
            for name, value in self.pairs:
                key = name.lower()
                values[key] = f"{values[key]}, {value}" if key in values else value
            self._by_name = values
        return values

    def __getitem__(self, name: str) -> str:
        return self._values()[name.lower()]

    @overload
    def get(self, name: str, /) -> str | None: ...
    @overload
    def get(self, name: str, /, default: str) -> str: ...
    @overload
    def get(self, name: str, /, default: T) -> str | T: ...
    def get(self, name: str, /, default: Any = None) -> Any:
        """Return a field, or the default; most answers lack most fields, which is no error."""
        return self._values().get(name.lower(), default)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values())

    def __len__(self) -> int:
        return len(self._values())

    def __repr__(self) -> str:
        shown = [(name, "•••" if _IS_SECRET(name) else value) for name, value in self.pairs]
        return f"Headers({shown!r})"


class Sink(Protocol):
    """Where a body goes that is too large for memory, or that is not trusted to be small.

    What either method raises ends the request: the connection is closed, and the exception is thrown
    into the conversation as it is.
    """

    def begin(self, reply: Reply) -> None:
        """Start anew with an answer's head; a request that is repeated has several."""

    def write(self, piece: bytes, /) -> object:
        """Take the next piece of its body, as it came: a Content-Encoding is not undone."""


class Request(NamedTuple):
    """One HTTP request.

    Attributes:
        method: In upper case.
        path: Path and query under the gateway's URL, from ``/``, escaped; or a whole URL.
        headers: Header fields. Credentials are no part of them: the driver adds them on the way out.
        body: Bytes, or an iterable of bytes that begins anew each time; None for no body.
        auth: Whether the gateway's credentials go along, only ever to the gateway's own API; or other
            credentials, which go to their own origin alone.
        into: Takes the body of an answer of status 200 or 206, piece by piece as it comes; the
            reply's own body is empty then. Other bodies may hold 1 MiB.
    """

    method: str
    path: str
    headers: Mapping[str, str] = {}
    body: bytes | Iterable[bytes] | None = None
    auth: bool | Credential = False
    into: Sink | None = None


class Reply:
    """One HTTP answer, whole: status, headers, body, and the id that its request carried."""

    __slots__ = ("body", "call_id", "headers", "status", "updated")

    def __init__(
        self,
        status: int,
        headers: Headers | Mapping[str, str] | Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        call_id: str | None = None,
    ) -> None:
        if not isinstance(headers, Headers):
            pairs = headers.items() if isinstance(headers, Mapping) else headers
            headers = Headers(pairs)
        self.status = status
        self.headers = headers
        self.body = body
        self.call_id = call_id
        # Whether this process updated the function while it was asked, and that may be why.
        self.updated = False

    @property
    def text(self) -> str:
        """The body as text: UTF-8, which is what gateways write, whatever else they say."""
        return self.body.decode("utf-8", "replace")

    @property
    def is_platforms(self) -> bool:
        """Whether the gateway says that this answer is its own and not the function's."""
        return self.headers.get(PLATFORM_HEADER) is not None

    @property
    def found_no_function(self) -> bool:
        """Whether the gateway says that it found or started no function, so that none ran.

        A function that calls others may itself pass such words on; but what comes from a function
        bears the time at which the gateway began to ask it.
        """
        words = self.body.startswith(b"error finding function")
        return words and self.headers.get("X-Start-Time") is None

    def __repr__(self) -> str:
        return f"<Reply {self.status}, {len(self.body)} bytes>"


class Send(NamedTuple):
    """Ask the driver to send a request and to come back with its reply.

    Attributes:
        request: What to send.
        deadline: Until when the reply has to be there.
        connect_timeout: Seconds for the connection alone.
        quiet: For answers without an end, such as a log that is followed: when no byte has come for
            so many seconds, what came until then is the reply's body; without a head after
            :data:`QUIET_HEAD_SECONDS` the driver throws :class:`Silent`.
    """

    request: Request
    deadline: Deadline
    connect_timeout: float
    quiet: float | None = None


class Wait(NamedTuple):
    """Ask the driver to do nothing for some seconds."""

    seconds: float


Conversation: TypeAlias = Generator[Send | Wait, Reply | None, T]


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


class SinkFailed(Exception):
    """What a driver's own parts raise where a sink raised ``error``; a conversation gets that one."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


# ---------------------------------------------------------------- what both drivers ask of an answer


def poured(sink: Sink, what: Reply | bytes) -> None:
    """Hand an answer's head or a piece of its body over to a sink.

    Raises:
        SinkFailed: The sink raised something, an :class:`OSError` perhaps that is no connection's.
    """
    try:
        if isinstance(what, Reply):
            sink.begin(what)
        else:
            sink.write(what)
    except Exception as error:  # whatever it is, it is the conversation's
        raise SinkFailed(error) from error


def decoded(body: bytes, encoding: str) -> bytes:
    """Undo a Content-Encoding: none or one layer of gzip or deflate, whole and of bounded size.

    Raises:
        CutShort: It ends early, or something follows its end.
        NotHttp: It is encoded otherwise.
        TooLarge: It grows beyond measure.
    """
    kind = encoding.strip().lower().removeprefix("x-")
    if kind in ("", "identity") or not body:
        return body
    if kind not in ("gzip", "deflate"):
        raise NotHttp(
            f"its body is encoded as {printable(encoding)[:40]!r}, which nobody asked for"
        )
    import zlib

    limit = most = min(max(MAX_GROWN_BYTES, MAX_GROWTH * len(body)), MAX_ANSWER_BYTES)
    # gzip (RFC 1952), or deflate with zlib's frame (RFC 1950) or, as some send it, without.
    framed = (body[0] & 0x0F) == 8 and int.from_bytes(body[:2], "big") % 31 == 0
    bits = 31 if kind == "gzip" else 15 if framed else -15
    pieces: list[bytes] = []
    rest = body
    try:
        # A gzip file may have several members, one after another.
        while rest and (not pieces or (kind == "gzip" and rest.startswith(b"\x1f\x8b"))):
            undo = zlib.decompressobj(bits)
            pieces.append(undo.decompress(rest, most + 1))
            most -= len(pieces[-1])
            if most < 0:
                raise TooLarge(f"its {len(body)} bytes grow to more than {limit}")
            if not undo.eof:
                raise CutShort("its compressed body ends early")
            rest = undo.unused_data
    except zlib.error as error:
        raise NotHttp("its body is not encoded as its head says") from error
    if rest:
        raise CutShort("something follows its compressed body")
    return b"".join(pieces)


def check_answered(sent: str | None, came: str | None) -> None:
    """Compare the id of an answer by Away's protocol with the one that was sent.

    Args:
        sent: The X-Call-Id of the request.
        came: The answer's, joined by commas: a gateway may add its own line. None is well.

    Raises:
        WrongAnswer: It answers another request.
    """
    if sent is not None and came is not None and sent not in came:
        raise WrongAnswer(f"its {CALL_ID} is {printable(came)[:60]!r}")


class Updates(Protocol):
    """What is known of this process's own updates of one function."""

    def running(self) -> bool:
        """Whether one runs, or ended a moment ago: the gateway may not know the function."""

    def holding(self) -> bool:
        """Whether one runs at a gateway that loses what is sent meanwhile."""

    def happened_within(self, seconds: float) -> bool:
        """Whether one ran at any moment of the last so many seconds."""


class Retry(NamedTuple):
    """When an outcome is tried again.

    Attributes:
        outcome: What happened, for people.
        condition: ``always`` where nothing can have run; ``repeatable`` where the caller said that
            the request may be repeated; ``updating`` while this process updates that function.
        lasts: Seconds after the first outcome of this kind in which it is tried again.
        most: How often at most.
        first_pause: Seconds before the first repetition; each further pause doubles.
        longest_pause: Seconds that no pause exceeds.
    """

    outcome: str
    condition: Literal["always", "repeatable", "updating"]
    lasts: float
    most: int
    first_pause: float
    longest_pause: float


# An outcome that is not here is never tried again. A platform 500 is also what a function gives that
# was killed in mid-call, and a connection closed without an answer is what a gateway's limit of time
# looks like: after either the function may have run.
RETRIES: Mapping[str, Retry] = {
    "refused": Retry("the connection was refused", "always", 2.0, 100, 0.05, 0.4),
    "unknown": Retry("the gateway knows no such function", "updating", 60.0, 1000, 0.05, 0.5),
    "busy": Retry("Away's runtime is full or ending (503)", "always", 5.0, 100, 0.05, 0.5),
    "unreachable": Retry("the function does not listen (500, 503)", "repeatable", 10.0, 60, 0.1, 1),
    "no answer": Retry("closed without an answer", "repeatable", 10.0, 1, 0.05, 0.05),
    "cut short": Retry("closed in mid-answer", "repeatable", 10.0, 1, 0.05, 0.05),
}


# Of an attempt with less time than this, one would learn that it had none, and no longer why the one
# before it failed.
LEAST_SECONDS = 0.05


def event_of(outcome: Reply | TransportError) -> str | None:
    """Name the row of :data:`RETRIES` that an outcome falls under, if any."""
    if isinstance(outcome, Reply):
        if outcome.status == 404 and outcome.found_no_function:
            return "unknown"
        if outcome.status == 503 and outcome.headers.get(PROTOCOL_HEADER) is not None:
            return "busy"
        if outcome.status in (500, 503) and outcome.is_platforms:
            return "unreachable"
        return None
    if isinstance(outcome, ConnectFailed):
        return "refused" if outcome.refused else None
    if isinstance(outcome, NoAnswer):
        return "no answer"
    return "cut short" if isinstance(outcome, CutShort) else None


class Attempts:
    """Decide, outcome by outcome, whether a request is tried again and after which pause."""

    __slots__ = ("_deadline", "_patient", "_repeatable", "_tried", "_updates")

    def __init__(
        self,
        deadline: Deadline,
        *,
        repeatable: bool,
        updates: Updates | None,
        patient: bool = True,
    ) -> None:
        self._deadline = deadline
        self._patient = patient
        self._repeatable = repeatable
        self._updates = updates
        # event → how often it was tried again already, and when it came first
        self._tried: dict[str, tuple[int, float]] = {}

    def pause(self, outcome: Reply | TransportError) -> float | None:
        """Return the seconds to wait before trying again; None if this outcome is the last."""
        event = event_of(outcome)
        if event is None or not self._allows(rule := RETRIES[event]):
            return None
        if event == "refused" and not self._patient:
            return None
        now = self._deadline.elapsed()
        count, first = self._tried.get(event, (0, now))
        pause = min(rule.first_pause * 2.0 ** min(count, 30), rule.longest_pause)
        lasts_too_long = now - first + pause > rule.lasts
        too_late = pause + LEAST_SECONDS >= self._deadline.remaining()
        if count >= rule.most or lasts_too_long or too_late:
            return None
        self._tried[event] = (count + 1, first)
        return pause

    def _allows(self, rule: Retry) -> bool:
        if rule.condition == "updating":
            return self._updates is not None and self._updates.running()
        return rule.condition == "always" or self._repeatable


def new_call_id() -> str:
    """Make an id in the form of the gateway's own (a random UUID, RFC 9562)."""
    text = os.urandom(16).hex()
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"


def prepare(request: Request) -> tuple[Request, str]:
    """Complete a request's headers, where it does not set them itself.

    Returns:
        The request to send, and its X-Call-Id.
    """
    method, path, headers, body, auth, into = request
    base, own_id = _left_out(tuple(headers))
    complete = {**base, **headers}
    if own_id is None:
        complete[CALL_ID] = call_id = new_call_id()
    else:
        call_id = headers[own_id]
    return Request(method, path, complete, body, auth, into), call_id


@lru_cache(maxsize=256)
def _left_out(given: tuple[str, ...]) -> tuple[dict[str, str], str | None]:
    """Return the base headers that some names leave out, and the name that is X-Call-Id if any."""
    lower = {name.lower(): name for name in given}
    base = {name: value for name, value in BASE_HEADERS.items() if name.lower() not in lower}
    return base, lower.get(CALL_ID.lower())


class Where(NamedTuple):
    """Whom a request goes to, for the sentences of errors."""

    gateway: str
    function: str | None = None


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
