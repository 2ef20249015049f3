"""Functions that a fake answers for: arguments are read as Away's runtime does, and so are results.

What is decided here takes a request and gives a reply. Waiting, and running coroutines, is the
drivers' (:mod:`away.testing.drivers`), which step through an :class:`Invocation`.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import away.protocol as protocol
import away.signatures as signatures
from away.connection.conversations import CALL_ID, Headers, Reply, TransportError
from away.exceptions import CannotTravel, ProtocolMismatch
from away.testing.faults import outcome_of
from away.testing.plain import PlainRequest, plain_reply
from away.testing.records import RecordedCall

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from away.connection.conversations import Request
    from away.testing.faults import Fault

__all__ = ["FakeFunction", "Invocation"]

_STUB = protocol.STUB_HEADER
_MARKS = {protocol.PROTOCOL_HEADER: protocol.PROTOCOL_VERSION}


class FakeFunction:
    """One function of a fake gateway: what a test gave for it, and the calls that it got.

    Args:
        gateway: The gateway, as the test named it.
        name: The function's name there.
        target: Answers calls in this process.
        description: Signature, docstring and kind, as a publish would have written them; None for a
            function that is not Away's, whose target takes a :class:`PlainRequest`.
        fault: What goes wrong with its calls.
        beside: Further annotations of its deployment.
    """

    def __init__(
        self,
        gateway: str,
        name: str,
        target: Callable[..., Any],
        description: signatures.Description | None,
        fault: Fault,
        beside: Mapping[str, str] | None = None,
    ) -> None:
        self.gateway = gateway
        self.name = name
        self.target = target
        self.description = description
        self.fault = fault
        self._beside = dict(beside or {})
        self._calls: list[RecordedCall] = []
        self._lock = threading.Lock()  # guards _calls

    def __repr__(self) -> str:
        return f"<fake function {self.name} on {self.gateway}, called {len(self._calls)} times>"

    @property
    def calls(self) -> list[RecordedCall]:
        """The calls so far, in the order in which they ended."""
        with self._lock:
            return list(self._calls)

    @property
    def annotations(self) -> dict[str, str]:
        """The annotations that its deployment would have."""
        if self.description is None:
            return self._beside
        return signatures.to_annotations(self.description) | self._beside

    def record(self, call: RecordedCall) -> None:
        """Keep a call that has ended."""
        with self._lock:
            self._calls.append(call)


class _Read(NamedTuple):
    """A request's arguments, and how its answer is to be written."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    safe: bool = True
    by_protocol: bool = False


class Invocation:
    """One request to one function, on its way to an answer.

    Args:
        function: Who answers.
        request: What was sent.
        rest: The path below the function's own, with its query.
    """

    def __init__(self, function: FakeFunction, request: Request, rest: str) -> None:
        self.function = function
        self.headers = Headers(request.headers.items())
        self.method = request.method
        self.rest = rest
        body = request.body
        self.body = body if isinstance(body, bytes) else b"".join(body or ())

    # ------------------------------------------------------------ before it runs

    def refused(self) -> Reply | None:
        """Return the answer to a request that nothing runs for; None where something does."""
        if self.function.description is None:
            return None
        if not self._by_protocol and self.headers.get(_STUB) is not None:
            return self._text(415, "this function speaks Away's protocol; repeat the call by it")
        try:
            self._read = self._arguments()
        except ProtocolMismatch as error:
            return self._packed(error, by_protocol=self._by_protocol, refused=True)
        return None

    @property
    def _by_protocol(self) -> bool:
        stated = self.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        return stated == protocol.CONTENT_TYPE

    def _arguments(self) -> _Read:
        assert self.function.description is not None, "it is known to be one of Away's"
        is_safe = self.function.description.safe
        if self._by_protocol:
            call = protocol.read_call(self.body, allow_unsafe=not is_safe)
            return _Read(call.args, call.kwargs, call.safe, by_protocol=True)
        stated = self.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        args = protocol.read_positional(
            self.body, safe=is_safe, stated_json=stated == "application/json"
        )
        return _Read(args, {})

    # ------------------------------------------------------------ the call

    def failure(self) -> TransportError | Reply | BaseException | None:
        """Return what the test has go wrong with this call, which is a call by now."""
        fault = self.function.fault
        error = fault.next()
        if error is None:
            return None
        outcome = outcome_of(error, self.function.name, passes=fault.passes)
        if outcome is None:
            assert isinstance(error, BaseException), "a status has an outcome"
            return error
        self._record(error=error if isinstance(error, BaseException) else None)
        return outcome

    def start(self) -> Any:
        """Call the function: its value, or the coroutine or generator that it gives.

        Raises:
            BaseException: Whatever the function raises; :meth:`failed` makes an answer of it.
        """
        if self.function.description is None:
            path = f"/{self.rest}" if self.rest else ""
            return self.function.target(
                PlainRequest(self.method, path, dict(self.headers.pairs), self.body)
            )
        # Read anew: what the function does to its arguments is not to be seen in the record.
        read = self._arguments() if self._read.safe else self._read
        return self.function.target(*read.args, **read.kwargs)

    def succeeded(self, value: Any, *, items: bool) -> Reply:
        """Make the answer that holds a value, or a generator's items."""
        self._record(result=value)
        if self.function.description is None:
            return plain_reply(value)
        read, name = self._read, self.function.name
        try:
            if not read.by_protocol:
                body = protocol.pack_bare(value, safe=read.safe, function=name)
                return self._reply(200, body, protocol.TEXT_CONTENT_TYPE)
            pack = protocol.pack_items if items else protocol.pack_value
            body = pack(value, safe=read.safe, function=name)
        except CannotTravel as error:
            return self._packed(error, by_protocol=read.by_protocol)
        return self._reply(200, body, protocol.CONTENT_TYPE)

    def failed(self, error: BaseException) -> Reply:
        """Make the answer that holds what the function raised."""
        error.__traceback__ = _trimmed(error.__traceback__)
        self._record(error=error)
        if self.function.description is None:
            return Reply(500, {"Content-Type": "text/plain"}, f"{error}".encode())
        return self._packed(error, by_protocol=self._read.by_protocol, refused=self._misfits(error))

    def _misfits(self, error: BaseException) -> bool:
        """Tell a call that did not fit the parameters from an error inside of the function."""
        if type(error) is not TypeError or error.__traceback__ is not None:
            return False
        import inspect

        try:
            inspect.signature(self.function.target).bind(*self._read.args, **self._read.kwargs)
        except TypeError:
            return True
        except ValueError:  # a builtin without a signature
            return False
        return False

    # ------------------------------------------------------------ answers

    def _packed(self, error: BaseException, *, by_protocol: bool, refused: bool = False) -> Reply:
        status = 400 if refused else 500
        if by_protocol:
            body = protocol.pack_error(error, refused=refused)
            return self._reply(status, body, protocol.CONTENT_TYPE)
        return self._text(status, f"{type(error).__name__}: {error}")

    def _text(self, status: int, text: str) -> Reply:
        return self._reply(status, f"{text}\n".encode(), "text/plain; charset=utf-8")

    def _reply(self, status: int, body: bytes, content_type: str) -> Reply:
        headers = {
            "Content-Type": content_type,
            **_MARKS,
            protocol.LENGTH_HEADER: str(len(body)),
            CALL_ID: self.headers.get(CALL_ID, ""),
        }
        return Reply(status, headers, body)

    def _record(self, **outcome: Any) -> None:
        function = self.function
        read = _Read((self.body,), {}) if function.description is None else self._read
        function.record(
            RecordedCall(function.gateway, function.name, read.args, read.kwargs, **outcome)
        )


def _trimmed(traceback: TracebackType | None) -> TracebackType | None:
    """Cut the frames of this folder off: what is left begins in the function."""
    while traceback is not None:
        module = traceback.tb_frame.f_globals.get("__name__", "")
        if not str(module).startswith("away.testing."):
            break
        traceback = traceback.tb_next
    return traceback
