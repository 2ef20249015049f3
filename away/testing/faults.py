"""Failures on request: late answers, and errors as they come from a gateway or from a function.

Pure: says what happens to the next call. Away's own errors become the outcome of a connection or the
answer of a gateway that leads to them, so that their retries are real; any other exception is raised
as the function's own.
"""

from __future__ import annotations

import threading
from typing import Any

from away.connection.messages import PLATFORM_HEADER, Reply
from away.connection.transport_errors import ConnectFailed, NoAnswer, ReadTimedOut, TransportError
from away.exceptions import (
    AnswerLost,
    AuthenticationRefused,
    AwayError,
    CallTimedOut,
    FunctionNotFound,
    FunctionNotReady,
    GatewayError,
    GatewayUnreachable,
)

__all__ = ["Fault", "outcome_of", "status_reply"]

# The status that leads to each of the errors which a gateway tells by its answer.
_STATUSES: dict[type[AwayError], int] = {
    AuthenticationRefused: 401,
    FunctionNotFound: 404,
    FunctionNotReady: 503,
    GatewayError: 500,
}


class Fault:
    """What goes wrong with the calls of one function.

    Args:
        error: An exception or a class of them, or the status that the gateway answers with.
        latency: Seconds before anything is answered.
        fail_times: How many calls fail before the function answers; all, if it is left out.

    Raises:
        TypeError: The error is none, or cannot be made without arguments.
        ValueError: A number is out of range.
    """

    def __init__(
        self,
        error: BaseException | type[BaseException] | int | None,
        latency: float,
        fail_times: int | None,
    ) -> None:
        if isinstance(error, type) and issubclass(error, BaseException):
            error = error()
        if isinstance(error, int) and not (type(error) is int and 400 <= error <= 599):
            raise ValueError(f"error={error!r} is no status of an error, from 400 to 599")
        if error is not None and not isinstance(error, (BaseException, int)):
            raise TypeError(f"error= is an exception or a status, not {type(error).__name__}")
        if not latency >= 0:
            raise ValueError(f"latency= is a number of seconds from 0 on, not {latency!r}")
        if fail_times is not None and (type(fail_times) is not int or fail_times < 0):
            raise ValueError(f"fail_times= is a whole number from 0 on, not {fail_times!r}")
        if fail_times is not None and error is None:
            raise ValueError("fail_times= says how often error= happens, so give error= too")
        self.error: BaseException | int | None = error
        self.latency = float(latency)
        self.passes = fail_times is not None
        self._left = fail_times
        self._lock = threading.Lock()  # guards _left

    def next(self) -> BaseException | int | None:
        """Return what goes wrong with this call; None where it is answered."""
        if self._left is None:
            return self.error
        with self._lock:
            if self._left == 0:
                return None
            self._left -= 1
            return self.error


def outcome_of(
    error: BaseException | int, function: str, *, passes: bool
) -> TransportError | Reply | None:
    """Return what a connection meets, or a gateway answers, for an error to come of it.

    Args:
        error: The error or status.
        function: The function's name.
        passes: Whether later calls are answered: a refused connection is tried again then.

    Returns:
        None for an exception of the function's own.
    """
    if isinstance(error, int):
        return status_reply(error, function)
    if isinstance(error, GatewayUnreachable):
        # What never passes is told at once, as where a host has no address, not tried for 2 s.
        return ConnectFailed("the test makes it unreachable", refused=passes)
    if isinstance(error, CallTimedOut):
        return ReadTimedOut()
    if isinstance(error, AnswerLost):
        return NoAnswer()
    for kind, status in _STATUSES.items():
        if isinstance(error, kind):
            stated: Any = error.status
            return status_reply(stated or status, function, platforms=kind is not GatewayError)
    return None


def status_reply(status: int, function: str, *, platforms: bool = True) -> Reply:
    """Make a gateway's own answer of a status, as OpenFaaS gives it (faas: handlers, proxy).

    Args:
        status: From 400 on.
        function: The function's name.
        platforms: Whether a 500 or 503 is the platform's, which found no replica to call.
    """
    headers = {"Content-Type": "text/plain; charset=utf-8"}
    body = f"the test has {function} answer {status}"
    if status == 404:
        body = f"error finding function {function}: the test has it so"
    elif status == 401:
        headers["Www-Authenticate"] = 'Basic realm="Restricted"'
    elif status in (500, 503) and platforms:
        headers[PLATFORM_HEADER] = "gateway"
    elif status in (502, 504):
        body = ""
    return Reply(status, headers, body.encode())
