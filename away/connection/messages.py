"""What a conversation and its driver say to each other: requests, replies, pauses and deadlines.

Values without I/O: how they come to be sent is a driver's, and what a reply means is for others to say.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, TypeVar, overload

if TYPE_CHECKING:
    from away.connection.access import Credential

__all__ = [
    "CALL_ID",
    "PLATFORM_HEADER",
    "PROTOCOL_HEADER",
    "QUIET_HEAD_SECONDS",
    "Conversation",
    "Deadline",
    "Headers",
    "Reply",
    "Request",
    "Send",
    "Sink",
    "Wait",
]

T = TypeVar("T")

CALL_ID = "X-Call-Id"
PROTOCOL_HEADER = "X-Away-Protocol"
# The gateway's own errors on /function carry this header (OpenFaaS: handlers/function_proxy.go).
PLATFORM_HEADER = "X-Openfaas-Internal"
# How long the head of an answer is waited for that may never come: OpenFaaS sends none for a log that is
# followed before the log's first line. Longer than between two lines, since a busy gateway has to find
# the function first.
QUIET_HEAD_SECONDS = 1.5


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
        most: How many bytes the body of an answer may have, decoded, where they are fewer than what
            any answer may have.
    """

    method: str
    path: str
    headers: Mapping[str, str] = {}
    body: bytes | Iterable[bytes] | None = None
    auth: bool | Credential = False
    into: Sink | None = None
    most: int | None = None


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
