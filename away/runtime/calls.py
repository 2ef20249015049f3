"""From a request to an answer: reading the arguments, running the function, sending its result.

Two kinds of callers come. Those that speak Away's protocol send an envelope and get one back, with
exceptions by type. All others (curl, faas-cli, clients of 2023) send no, one or a list of arguments
as JSON or YAML, and get the bare value, or text that says what is wrong.
"""

from __future__ import annotations

import os
import re
import threading
import time
from contextvars import Context
from typing import TYPE_CHECKING, Any, NamedTuple

import away.protocol as protocol
from away.exceptions import AwayError, CannotTravel, ProtocolMismatch
from away.names import printable
from away.protocol.batches import BEGIN, join_answers, read_batch
from away.protocol.values import RESERVED_KEY
from away.runtime import output
from away.runtime.batches import BatchRun
from away.runtime.event_loop import EventLoop
from away.runtime.members import Callee, Members, no_module
from away.runtime.running import Result, run, text_of, traceback_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from away.runtime.http11 import Head
    from away.runtime.payload import Header

__all__ = ["Answer", "Calls"]

METHODS = frozenset(("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"))
TEXT = "text/plain; charset=utf-8"
JSON = "application/json"

# A call that comes while the function is loaded waits for it: a cold start is no error.
_LOADING_SECONDS = 60.0
# What may go into the log and into a header: call ids (the gateway's are UUIDs) and digests.
_CALL_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_STUB_HEADER = protocol.STUB_HEADER.lower()
_PROTOCOL_HEADER = protocol.PROTOCOL_HEADER.lower()
_LOOPBACK = re.compile(r"(localhost|127\.[0-9.]+|\[::1\])(:[0-9]+)?")


class Answer(NamedTuple):
    """What is sent back, before it is bytes of HTTP."""

    status: int
    body: bytes
    content_type: str = TEXT
    seconds: float | None = None  # that a call took in the function


class Calls:
    """Answer requests for one function, from as many threads as there are connections.

    Args:
        max_inflight: Calls that run at once; 0 for no limit.
        queue_seconds: How long a further call waits for its turn.
        deployment: Which deployment of the function this is, told with every answer.
    """

    def __init__(
        self, *, max_inflight: int = 0, queue_seconds: float = 5.0, deployment: str = ""
    ) -> None:
        self._turns = threading.Semaphore(max_inflight) if max_inflight else None
        self._max_inflight = max_inflight
        self._queue_seconds = queue_seconds
        self._loop = EventLoop()
        self._loaded = threading.Event()
        self._function: Callable[..., Any] | Members | None = None
        self._header: Header | None = None
        self._load_error: AwayError | None = None
        # content type → the header fields that are on all answers of that type
        self._fields: dict[str, str] = {}
        # header fields that are on every answer
        self._marks = {protocol.PROTOCOL_HEADER: protocol.PROTOCOL_VERSION}
        if _CALL_ID.fullmatch(deployment):
            self._marks[protocol.DEPLOYMENT_HEADER] = deployment
        # Refuse what a web page in the user's browser could send: the server listens on loopback,
        # where every page can reach it.
        self.only_local = False
        self.draining = False
        self.forked = False

    # The life of the function

    def know(self, header: Header) -> None:
        """Take note of the payload's header, whose digest goes on every answer."""
        self._header = header
        if _CALL_ID.fullmatch(header.digest):
            self._marks[protocol.DIGEST_HEADER] = header.digest
            self._fields.clear()

    def serve(self, function: Callable[..., Any] | Members) -> None:
        """Answer calls by a function, or by those of a module, from now on."""
        self._function = function
        if self._header is not None and self._header.kind.startswith("async"):
            # The first call shall not wait for asyncio.
            self._loop.start()
        self._loaded.set()

    def refuse(self, error: AwayError) -> None:
        """Answer every call by the reason why the function could not be loaded."""
        self._load_error = error
        self._loaded.set()

    def drain(self) -> None:
        """Take no further calls; those that wait for a function still loading need not wait on."""
        self.draining = True
        self._loaded.set()

    # Requests

    def headers(self, head: Head | None, answer: Answer) -> str:
        """Return the header fields of an answer, each a line.

        Their mark tells an answer of this runtime from one of a gateway, and their length one that
        was cut short, which gateways turn into a whole one.
        """
        fields = self._fields.get(answer.content_type) or self._usual(answer.content_type)
        fields += f"{protocol.LENGTH_HEADER}: {len(answer.body)}\r\n"
        if head is not None and (call_id := _call_id(head)):
            fields += f"X-Call-Id: {call_id}\r\n"
        if answer.seconds is not None:
            # As OpenFaaS's of-watchdog says it.
            fields += f"X-Duration-Seconds: {answer.seconds:.6f}\r\n"
        if answer.status == 405:
            fields += f"Allow: {', '.join(sorted(METHODS))}\r\n"
        if answer.status == 503:
            fields += "Retry-After: 1\r\n"
        return fields

    def _usual(self, content_type: str) -> str:
        fields = {"Content-Type": content_type, **self._marks}
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self._fields[content_type] = lines
        return lines

    def answer(self, head: Head, body: bytes, awaited: Callable[[], bool]) -> Answer:
        """Answer one request; whatever the function does, this returns.

        Args:
            head: The request.
            body: Its body.
            awaited: Tells whether its client is still there, who may go while it waits for a turn.
        """
        try:
            return self._answer(head, body, awaited)
        except Exception as error:  # a fault of this runtime must not look like a dead function
            output.log(traceback_text(error))
            return _plain(
                500, f"the runtime failed: {type(error).__name__}; see the function's log"
            )

    def _answer(self, head: Head, body: bytes, awaited: Callable[[], bool]) -> Answer:
        if head.method not in METHODS:
            return _plain(405, f"the method {head.method[:20]} is not for functions")
        if self.only_local and (why := _from_a_web_page(head)):
            return _plain(403, why)
        page = _PAGES.get(head.path)
        if page is not None and head.method in ("GET", "HEAD"):
            return page(self)
        said = head.headers.get("content-type", "")
        speaks = said.partition(";")[0].strip().lower() == protocol.CONTENT_TYPE
        if not speaks and _STUB_HEADER in head.headers:
            # A stub that does not know yet who it calls: tell it, before anything runs.
            return _plain(415, "this function speaks Away's protocol; repeat the call by it")
        if head.headers.get("content-encoding", "identity").lower() != "identity":
            return _plain(400, "the body is compressed; send it as it is")
        conversation = _Envelope if speaks else _Bare
        if self._turns is None:
            return self._call(conversation, head, body, awaited)
        waits = not self._turns.acquire(blocking=False)
        if waits and not self._turns.acquire(timeout=self._queue_seconds):
            return _plain(
                503,
                f"{self._max_inflight} calls are running, which is this function's limit;"
                " nothing ran, so call again",
            )
        try:
            if waits and not awaited():
                # As at a Ctrl-C: its turn goes to someone who waits.
                return _plain(503, "the caller closed the connection before its turn; nothing ran")
            return self._call(conversation, head, body, awaited)
        finally:
            self._turns.release()

    def _call(
        self,
        conversation: type[_Envelope | _Bare],
        head: Head,
        body: bytes,
        awaited: Callable[[], bool],
    ) -> Answer:
        if not self._loaded.wait(_LOADING_SECONDS):
            return _plain(503, "the function is still being loaded; nothing ran, so call again")
        if self._load_error is not None:
            return conversation.send(Result(error=self._load_error), safe=True)
        if self._function is None:
            return _plain(503, "the function is being stopped; nothing ran, so call again")
        assert self._function is not None, "a loaded runtime has a function"
        assert self._header is not None, "a loaded runtime has a header"
        callee = self._callee(conversation, head)
        if isinstance(callee, Answer):
            return callee
        if conversation is _Envelope and body.startswith(BEGIN):
            return self._run_batch(head, callee, body, awaited)
        try:
            args, kwargs, safe = conversation.read(head, body, function_is_safe=self._header.safe)
        except RecursionError:
            error = ProtocolMismatch("the call's arguments are nested too deeply to be read")
            return conversation.send(Result(error=error, refused=True), safe=True)
        except BaseException as error:  # an unsafe body runs code of its sender
            refused = error.with_traceback(None)
            return conversation.send(Result(error=refused, refused=True), safe=True)
        return self._run(conversation, head, callee, args, kwargs, safe)

    def _callee(self, conversation: type[_Envelope | _Bare], head: Head) -> Callee | Answer:
        """Return what a request calls: the one function, or that of a module which its path names."""
        assert self._function is not None, "a loaded runtime has a function"
        assert self._header is not None, "a loaded runtime has a header"
        if not isinstance(self._function, Members):
            # Plain HTTP may use paths as it likes; by protocol one means a function of a module.
            gone = no_module(self._header.name, head.path) if conversation is _Envelope else None
            if gone is not None:
                return _nothing_there(conversation, gone)
            return Callee(self._function, self._header.name)
        if conversation is _Bare and head.path in ("", "/"):
            return _plain(200, self._function.listing())
        try:
            return self._function.at(head.path)
        except AwayError as error:
            return _nothing_there(conversation, error)

    def _run(
        self,
        conversation: type[_Envelope | _Bare],
        head: Head,
        callee: Callee,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        safe: bool,
    ) -> Answer:
        call = output.CallOutput(_call_id(head) or os.urandom(8).hex())
        context = Context()
        context.run(output.current_call.set, call)
        begun = time.perf_counter()
        result = run(callee.function, args, kwargs, context, self._loop)
        seconds = time.perf_counter() - begun
        self._end_in_child()
        if call.started:
            output.finish(call)
        if result.error is not None and not result.refused:
            output.log(traceback_text(result.error), call)
        answer = conversation.send(result, safe=safe, function=callee.name)
        return answer._replace(seconds=seconds)

    def _end_in_child(self) -> None:
        if self.forked:
            # The function forked and its child came back from it: only one of the two may answer.
            os._exit(0)

    def _run_batch(
        self, head: Head, callee: Callee, body: bytes, awaited: Callable[[], bool]
    ) -> Answer:
        """Run many calls that came in one envelope, and answer those that there was time for."""
        assert self._header is not None, "a loaded runtime has a header"
        try:
            _Envelope.check_version(head)
            batch = read_batch(body)
        except ProtocolMismatch as error:
            return _Envelope.send(Result(error=error, refused=True), safe=True)
        if self._max_inflight:
            # A batch has one turn, so its calls take turns too.
            batch = batch._replace(at_once=1)
        envelopes, seconds = BatchRun(
            batch,
            callee.function,
            _call_id(head) or os.urandom(8).hex(),
            safe=self._header.safe,
            pack=lambda result, safe: _Envelope.send(result, safe=safe, function=callee.name).body,
            loop=self._loop,
            ended=self._end_in_child,
            awaited=awaited,
        ).run()
        return Answer(200, join_answers(envelopes, seconds), protocol.CONTENT_TYPE)

    # The pages that are not calls

    def health(self) -> Answer:
        """Say that the process lives, also while it cannot answer calls."""
        return _plain(200, "ok")

    def ready(self) -> Answer:
        """Say whether calls are answered now."""
        if self.draining:
            return _plain(503, "the function is being stopped")
        if not self._loaded.is_set():
            return _plain(503, "the function is still being loaded")
        if self._load_error is not None:
            return _plain(503, str(self._load_error))
        return _plain(200, "ok")

    def about(self) -> Answer:
        """Say what is published here; for whoever waits for a publish to be done."""
        if not self._loaded.wait(_LOADING_SECONDS):
            return _plain(503, "the function is still being loaded")
        if self.draining:
            return _plain(503, "the function is being stopped")
        if self._load_error is not None or self._header is None:
            return _Envelope.send(Result(error=self._load_error), safe=True)
        import json

        header = self._header
        about = {
            "name": header.name,
            "entry": header.entry,
            "digest": header.digest,
            "protocol": protocol.PROTOCOL_VERSION,
            "python": header.python,
            "kind": header.kind,
            "safe": header.safe,
        }
        return Answer(200, json.dumps(about).encode(), JSON)


# The paths of OpenFaaS's watchdog, and one of our own beside them. Every other path is a call.
_PAGES: dict[str, Callable[[Calls], Answer]] = {
    "/_/health": Calls.health,
    "/_/ready": Calls.ready,
    "/_/away": Calls.about,
}


def _call_id(head: Head) -> str:
    """Return the call's id, or nothing where it has none that may be repeated."""
    said = head.headers.get("x-call-id", "")
    return said if _CALL_ID.fullmatch(said) else ""


def _plain(status: int, text: str) -> Answer:
    return Answer(status, (text + "\n").encode("utf-8", "backslashreplace"))


def _from_a_web_page(head: Head) -> str | None:
    """Say why a request to a loopback address is not answered; None if it is.

    A page that points a name of its own at 127.0.0.1 (DNS rebinding) shows that name as the Host.
    Browsers send Sec-Fetch-Site, older ones at least Origin. What the gateway passes on it has
    judged itself; a page cannot send its X-Forwarded-Host without asking first, by OPTIONS.
    """
    headers = head.headers
    if not _LOOPBACK.fullmatch(headers.get("host", "localhost").lower()):
        return "this function is called by a loopback address only"
    if "x-forwarded-host" in headers:
        return None
    site = headers.get("sec-fetch-site")
    if site is None:
        origin = headers.get("origin", "http://localhost").partition("://")[2].lower()
        allowed = _LOOPBACK.fullmatch(origin) is not None
    else:
        allowed = site in ("none", "same-origin")
    return None if allowed else "a page of another site may not call this function"


class _Envelope:
    """The conversation with callers that speak Away's protocol."""

    @staticmethod
    def read(
        head: Head, body: bytes, *, function_is_safe: bool
    ) -> tuple[tuple[Any, ...], dict[str, Any], bool]:
        _Envelope.check_version(head)
        call = protocol.read_call(body, allow_unsafe=not function_is_safe)
        return call.args, call.kwargs, call.safe

    @staticmethod
    def check_version(head: Head) -> None:
        version = head.headers.get(_PROTOCOL_HEADER, protocol.PROTOCOL_VERSION)
        if version != protocol.PROTOCOL_VERSION:
            raise ProtocolMismatch(
                f"the call speaks version {printable(version[:20])!r} of Away's protocol and this"
                f" function version {protocol.PROTOCOL_VERSION}; upgrade the older side, or publish"
                " the function again"
            )

    @staticmethod
    def send(result: Result, *, safe: bool, function: str = "") -> Answer:
        if result.error is None:
            pack = protocol.pack_items if result.items else protocol.pack_value
            try:
                body = pack(result.value, safe=safe, function=function)
                return Answer(200, body, protocol.CONTENT_TYPE)
            except BaseException as error:  # dill runs code of the value's
                result = Result(error=_cannot_return(error))
        assert result.error is not None, "a result without a value has an error"
        body = protocol.pack_error(result.error, safe=safe, refused=result.refused)
        return Answer(400 if result.refused else 500, body, protocol.CONTENT_TYPE)


def _nothing_there(conversation: type[_Envelope | _Bare], error: AwayError) -> Answer:
    """Refuse a path; the marks tell this 404 from a gateway's own, which knows no such module."""
    result = Result(error=error.with_traceback(None), refused=True)
    return conversation.send(result, safe=True)._replace(status=404)


# What is in bodies that only a function published unsafe can have been sent.
_PYTHON_TUPLE = b"!!python/tuple"
_PICKLE = b'{"' + RESERVED_KEY.encode() + b'": ["dill"'


class _Bare:
    """The conversation with everyone else."""

    @staticmethod
    def read(
        head: Head, body: bytes, *, function_is_safe: bool
    ) -> tuple[tuple[Any, ...], dict[str, Any], bool]:
        stated = head.headers.get("content-type", "").partition(";")[0].strip().lower()
        args = protocol.read_positional(
            body, safe=function_is_safe, stated_json=stated == "application/json"
        )
        unsafe = not function_is_safe and (_PYTHON_TUPLE in body or body.startswith(_PICKLE))
        return args, {}, not unsafe

    @staticmethod
    def send(result: Result, *, safe: bool, function: str = "") -> Answer:
        if result.error is None:
            try:
                body = protocol.pack_bare(result.value, safe=safe, function=function)
                return Answer(200, body, protocol.TEXT_CONTENT_TYPE)
            except BaseException as error:  # dill runs code of the value's
                result = Result(error=_cannot_return(error))
        assert result.error is not None, "a result without a value has an error"
        if result.refused or isinstance(result.error, AwayError):
            text = f"{type(result.error).__name__}: {text_of(result.error)}"
            return _plain(400 if result.refused else 500, text)
        return _plain(500, traceback_text(result.error))


def _cannot_return(error: BaseException) -> BaseException:
    """Name the function's result as what cannot be sent; the way there is of no interest."""
    if isinstance(error, CannotTravel):
        return error.with_traceback(None)
    return CannotTravel(
        f"the result cannot be sent back: {type(error).__name__}: {text_of(error)}; return what"
        " can be pickled",
        path="result",
    )
