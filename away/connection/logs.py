"""A function's log: what a gateway tells of it, line by line, and how it is followed.

Pure: pieces of an answer come in, lines come out.
"""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl, urlencode

from away.connection.conversations import prepare
from away.connection.messages import CALL_ID, Reply, Request
from away.connection.transport_errors import NoAnswer, ReadTimedOut, Where, sentence

if TYPE_CHECKING:
    from collections.abc import Callable

    from away.connection.messages import Send
    from away.connection.transport_errors import TransportError
    from away.exceptions import AwayError

__all__ = ["LogFollower", "LogLine", "LogReader", "check_tail", "log_request"]

# An answer that ended sooner and brought nothing new comes from a gateway that does not follow.
FOLLOWED_SECONDS = 1.0


class LogLine(NamedTuple):
    """One line that a function wrote."""

    timestamp: str
    text: str
    instance: str = ""
    name: str = ""
    namespace: str = ""


class LogReader:
    """Turn pieces of a log as they come into lines (one JSON object a line)."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes, *, last: bool = False) -> list[LogLine]:
        """Return the lines that are complete now."""
        *whole, self._rest = (self._rest + piece).split(b"\n")
        if last and self._rest.strip():
            whole.append(self._rest)
        return [line for raw in whole if (line := _log_line(raw)) is not None]


def _log_line(raw: bytes) -> LogLine | None:
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict):
        return None
    keys = ("timestamp", "text", "instance", "name", "namespace")
    return LogLine(*(str(data.get(key) or "") for key in keys))


class LogFollower:
    """Follow a log over several answers: gateways cut each at their limit of time.

    Args:
        gateway: The gateway's URL.
        step: The first request, with its limits.
        check: Raises where the head of an answer says that there is no log.
    """

    def __init__(self, gateway: str, step: Send, check: Callable[[Request, Reply], None]) -> None:
        self._gateway = gateway
        self._step = step
        self._check = check
        self._reader = LogReader()
        self._last = ""
        self._seen: set[LogLine] = set()
        self._asked_at: float | None = None
        self._came = True

    def begin_after(self, lines: list[LogLine]) -> None:
        """Take lines as told already: those that come are the ones behind them."""
        self._last = max((line.timestamp for line in lines), default="")
        self._seen = {line for line in lines if line.timestamp == self._last}

    def next_request(self) -> Send | None:
        """Return the next step; None when the time is over or the gateway does not follow."""
        deadline = self._step.deadline
        now = deadline.elapsed()
        ended_at_once = self._asked_at is not None and now - self._asked_at < FOLLOWED_SECONDS
        if deadline.remaining() <= 0.0 or (ended_at_once and not self._came):
            return None
        request = self._step.request
        if self._last:
            path, _, query = request.path.partition("?")
            asked = dict(parse_qsl(query)) | {"since": self._last}
            request = request._replace(path=f"{path}?{urlencode(asked)}")
        self._asked_at = now
        self._came = False
        self._reader = LogReader()
        return self._step._replace(request=request)

    def failed(self, error: TransportError) -> AwayError | None:
        """Translate what happened to the connection before a head; None where that is no error.

        OpenFaaS sends the head of a log with its first line: one without a line ends without a head,
        when the time is over or the gateway's limit of time is reached.
        """
        assert self._asked_at is not None, "only what was asked can fail"
        deadline = self._step.deadline
        if deadline.remaining() <= 0.0 and isinstance(error, ReadTimedOut):
            return None
        waited = deadline.elapsed() - self._asked_at
        if isinstance(error, NoAnswer) and waited >= FOLLOWED_SECONDS:
            return None
        request = self._step.request
        return sentence(error, Where(self._gateway), self._step, request.headers[CALL_ID])

    def take(self, piece: Reply | bytes) -> list[LogLine]:
        """Take the head of an answer or a piece of it; return the lines that are new."""
        if isinstance(piece, Reply):
            self._check(self._step.request, piece)
            return []
        new = []
        for line in self._reader.feed(piece):
            self._came = True
            # The next answer begins with the moment of the last line, and repeats its lines.
            if line.timestamp != self._last:
                self._seen = set() if line.timestamp > self._last else self._seen
            elif line in self._seen:
                continue
            self._last = max(self._last, line.timestamp)
            self._seen.add(line)
            new.append(line)
        return new


def log_request(
    name: str, namespace: str, since: datetime | timedelta | float | str | None
) -> Request:
    """Make the request for a log.

    It always follows, since OpenFaaS loses lines otherwise, and never says how many lines: faasd
    would give the first ones of its window, not the last ones.
    """
    query = {"name": name, "namespace": namespace, "follow": "true", "since": _moment(since)}
    asked = {key: value for key, value in query.items() if value}
    return prepare(Request("GET", f"/system/logs?{urlencode(asked)}", auth=True))[0]


def _moment(since: datetime | timedelta | float | str | None) -> str:
    """Return a moment as OpenFaaS wants it (RFC 3339); numbers and spans are before now."""
    if isinstance(since, str):
        return _stated(since)
    if since is None:
        return ""
    if isinstance(since, datetime):
        moment = since.astimezone(UTC)
    else:
        span = since if isinstance(since, timedelta) else timedelta(seconds=float(since))
        if not math.isfinite(span.total_seconds()):
            raise ValueError("since is a finite number of seconds")
        moment = datetime.now(UTC) - span
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _stated(since: str) -> str:
    """Return a moment that was given as text, with its time zone: UTC where it has none.

    Raises:
        ValueError: It is none.
    """
    if not since:
        return ""
    try:
        moment = datetime.fromisoformat(since)
    except ValueError:
        raise ValueError(
            f"since is a moment such as '2026-11-24T06:00:00Z', a span or seconds, not {since!r}"
        ) from None
    return since if moment.tzinfo else moment.replace(tzinfo=UTC).isoformat()


def check_tail(tail: int | None) -> None:
    """Refuse a number of lines that is none.

    Raises:
        ValueError: It is negative, or no whole number.
    """
    if tail is not None and (isinstance(tail, bool) or not isinstance(tail, int) or tail < 0):
        raise ValueError(f"tail is a number of lines from 0 up, not {tail!r}")
