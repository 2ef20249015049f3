"""Calls: a request to ``/function/NAME`` passed to the function, its answer passed back.

This is the path that every call takes, so head and body are written as bytes in one go, past
aiohttp's response classes. What the function does not finish is never passed on as finished: before
anything was sent the answer is a 500, afterwards the connection is closed in the middle.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from email.utils import formatdate
from typing import TYPE_CHECKING

from aiohttp import web
from aiohttp.http import HttpProcessingError

from away.gateway.deploy_request import NAMESPACE
from away.gateway.deployments import CannotStart
from away.gateway.paths import Malformed, Moved, read_target
from away.gateway.upstream import Answer, Broken, NotListening, Wire, read_answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from away.gateway.deployments import Deployments, Function, Running

__all__ = ["Invocation", "Sent"]

METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
# Methods that may be sent again when a kept connection turns out to be closed (RFC 9110, 9.2.2).
REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS"})
# A request up to this size is read before it is sent on, in one write.
SMALL_REQUEST_BYTES = 64 * 1024
# An answer of a stated length up to this size is read before it is passed back, in one write.
SMALL_ANSWER_BYTES = 256 * 1024
# Of a chunked answer this much is held back, as in Go's buffers; a shorter one gets a length.
HELD_BYTES = 4096
# OpenFaaS's upstream_timeout, longer: a laptop's function may be stopped in a debugger.
ANSWER_SECONDS = 600.0
# The end of a function is seen by its connections some instants before its warden reports it.
END_SECONDS = 0.5
# How often a function that ended before it was sent anything is started for one call.
TRIES = 3
EVENT_STREAM = b"text/event-stream"

_DROPPED = frozenset(
    {
        b"connection",
        b"proxy-connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        # written anew
        b"host",
        b"content-length",
        # answered here
        b"expect",
    }
)


class Sent(web.StreamResponse):
    """Tells aiohttp that the answer is on its way already, and whether the connection goes on."""

    def __init__(self, status: int, keeps: bool) -> None:
        super().__init__(status=status)
        if not keeps:
            self.force_close()
        self._keeps = keeps

    @property
    def keep_alive(self) -> bool | None:
        """Whether another request can come on this connection."""
        return self._keeps

    async def prepare(self, request: web.BaseRequest) -> None:  # noqa: ARG002
        """Do nothing: the head is sent."""
        return

    async def write_eof(self, data: bytes = b"") -> None:  # noqa: ARG002
        """Do nothing: the body is sent."""
        return


class _BadBody(Exception):
    """The client's body broke off or is malformed."""


class Invocation:
    """Passes calls to functions."""

    def __init__(self, deployments: Deployments, version: str) -> None:
        self._deployments = deployments
        self._served_by = f"openfaas-away/{version}".encode()
        self._user_agent = f"openfaas-away-gateway/{version}".encode()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request below ``/function/``."""
        try:
            target = read_target(request.raw_path)
        except Malformed:
            return _plain(400, "400 Bad Request: invalid URL escape")
        except Moved as moved:
            return _moved(request, moved.location)
        if target is None:
            return _plain(404, "404 page not found")
        if request.method not in METHODS:
            return web.Response(status=405)
        function = self._find(target.name)
        if function is None:
            return _unknown(target.name)
        call = Call(request, function, target.path, self._served_by, self._user_agent)
        return await call.run()

    def _find(self, name: str) -> Function | None:
        # A name with a dot cannot be called: what stands after it is a namespace.
        name, _, namespace = name.rpartition(".") if "." in name else (name, "", NAMESPACE)
        return self._deployments.get(name) if namespace == NAMESPACE else None


class Call:
    """One call."""

    def __init__(
        self,
        request: web.BaseRequest,
        function: Function,
        path: str,
        served_by: bytes,
        user_agent: bytes,
    ) -> None:
        self._request = request
        self._function = function
        self._path = path
        self._served_by = served_by
        self._user_agent = user_agent
        self._own_id = b""
        self._content_type = b"text/plain"
        self._length: int | None = None
        self._streams = False
        self._expects = False
        self._head_only = request.method == "HEAD"
        self._call_id = b""
        self._started = str(time.time_ns()).encode()
        self._keeps = bool(request.keep_alive)
        self._written = False

    async def run(self) -> web.StreamResponse:
        """Pass the call on; every way in which it can fail has its answer."""
        head = self._head()
        self._function.invocations += 1
        try:
            if self._expects:
                await self._request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            body = await self._small_body()
            for _ in range(TRIES):
                try:
                    return await self._try(head, body)
                except NotListening:
                    pass  # it ended, and nothing was sent: once more
            raise Broken("it ends as soon as it is started")
        except (CannotStart, Broken):
            return await self._fail(500, self._unreachable())
        except TimeoutError:
            return await self._fail(502, b"")
        except _BadBody:
            self._keeps = False
            return await self._fail(400, b"the request's body is malformed or broke off\n")

    # The request

    def _head(self) -> bytes:
        """Read the request's headers and return what the function is sent after its Host."""
        request = self._request
        lines = []
        seen = set()
        for name, value in request.raw_headers:
            lower = name.lower()
            seen.add(lower)
            if lower not in _DROPPED:
                lines.append(name + b": " + value)
            self._note(lower, value)
        self._call_id = self._own_id or str(uuid.uuid4()).encode()
        if not self._own_id:
            lines.append(b"X-Call-Id: " + self._call_id)
        lines.append(b"X-Start-Time: " + self._started)
        if b"user-agent" not in seen:
            lines.append(b"User-Agent: " + self._user_agent)
        if b"x-forwarded-for" not in seen:
            lines.append(b"X-Forwarded-For: " + self._peer())
        if b"x-forwarded-host" not in seen:
            lines.append(b"X-Forwarded-Host: " + request.headers.get("Host", "").encode())
        lines += self._framing()
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def _note(self, lower: bytes, value: bytes) -> None:
        if lower == b"x-call-id":
            self._own_id = value
        elif lower == b"content-type":
            self._content_type = value
        elif lower == b"content-length":
            self._length = int(value)
        elif lower == b"accept":
            self._streams = value == EVENT_STREAM
        elif lower == b"expect":
            self._expects = value.lower() == b"100-continue"

    def _framing(self) -> list[bytes]:
        """Say how the body comes: chunked always, but for an event stream, or when it is empty."""
        if not self._request.body_exists:
            return [] if self._request.method in REPEATABLE else [b"Content-Length: 0"]
        if self._length == 0 or (self._streams and self._length is not None):
            return [b"Content-Length: %d" % self._length]
        return [b"Transfer-Encoding: chunked"]

    def _peer(self) -> bytes:
        transport = self._request.transport
        peer = transport.get_extra_info("peername") if transport is not None else None
        return f"{peer[0]}:{peer[1]}".encode() if peer else b"127.0.0.1:0"

    async def _small_body(self) -> bytes | None:
        """Return a body that is to be sent with the head, framed; None when it is to be streamed."""
        if not self._request.body_exists:
            return b""
        if self._length is None or self._length > SMALL_REQUEST_BYTES:
            return None
        try:
            body = await self._request.content.read()
        except (OSError, ValueError, web.RequestPayloadError, HttpProcessingError) as error:
            raise _BadBody from error
        if self._streams or not self._length:
            return body
        return b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)

    async def _upload(self, wire: Wire) -> None:
        """Pass a body on piece by piece, as it comes."""
        whole = self._streams and self._length is not None
        try:
            async for piece in self._request.content.iter_any():
                wire.send(piece if whole else b"%x\r\n%b\r\n" % (len(piece), piece))
                await wire.drain()
        except BaseException:
            # Without its end the function cannot take it for a whole one.
            wire.close()
            raise
        if not whole:
            wire.send(b"0\r\n\r\n")

    # One try

    async def _try(self, head: bytes, body: bytes | None) -> web.StreamResponse:
        running = await self._function.running()
        with running:
            wire, reused = await self._wire(running)
            host = f"{wire.host}:{wire.port}"
            line = f"{self._request.method} {self._path} HTTP/1.1\r\nHost: {host}\r\n"
            wire.send(line.encode("utf-8", "surrogateescape") + head + (body or b""))
            upload = self._uploading(wire) if body is None else None
            try:
                seconds = max(ANSWER_SECONDS, running.call_seconds)
                answer = await self._answer(wire, upload, seconds)
                response = await self._pass_back(answer)
                if not (answer.keeps and answer.whole and (upload is None or upload.done())):
                    wire.close()
                running.pool.keep(wire)
                return response
            except Broken:
                wire.close()
                # Before the answer ends: the client's next call must not meet what is dying.
                await running.instance.ended(END_SECONDS)
                if self._written:
                    return self._cut()
                if not reused or not self._may_repeat(running):
                    raise
                # The connection was kept and had been closed by the function meanwhile.
                raise NotListening from None
            except BaseException:
                wire.close()
                raise
            finally:
                if upload is not None and not upload.done():
                    self._keeps = False
                    upload.cancel()

    def _uploading(self, wire: Wire) -> asyncio.Task[None]:
        task = asyncio.create_task(self._upload(wire))
        # Its failure is told by the connection that it closes; asyncio need not tell it again.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task

    def _may_repeat(self, running: Running) -> bool:
        request = self._request
        return running.instance.alive and request.method in REPEATABLE and not request.body_exists

    async def _wire(self, running: Running) -> tuple[Wire, bool]:
        """Return a connection; a refused one is worth another try only if the function ended."""
        try:
            return await running.pool.wire()
        except NotListening as error:
            if await running.instance.ended(END_SECONDS):
                raise
            raise Broken("the function does not listen") from error

    async def _answer(
        self, wire: Wire, upload: asyncio.Task[None] | None, seconds: float
    ) -> Answer:
        try:
            async with asyncio.timeout(seconds):
                return await read_answer(wire, self._request.method)
        except Broken as error:
            if upload is not None and upload.done() and upload.exception() is not None:
                raise _BadBody from error  # the client's fault, not the function's
            raise

    # The answer

    async def _pass_back(self, answer: Answer) -> web.StreamResponse:
        pieces = answer.pieces()
        if not self._streams:
            held, ended = await _hold(answer, pieces)
            if ended:
                return await self._send_whole(answer, held)
        else:
            held = b""
        return await self._send_on(answer, held, pieces)

    async def _send_whole(self, answer: Answer, body: bytes) -> web.StreamResponse:
        length = answer.length if answer.bodiless else len(body)
        head = self._answer_head(answer, length)
        self._written = True
        await self._request.writer.write(head + body)
        return Sent(answer.status, self._keeps)

    async def _send_on(
        self, answer: Answer, held: bytes, pieces: AsyncIterator[bytes]
    ) -> web.StreamResponse:
        chunked = answer.length is None or answer.chunked
        if self._request.version < (1, 1) and chunked:
            chunked = self._keeps = False
            head = self._answer_head(answer, None)
        else:
            head = self._answer_head(answer, None if chunked else answer.length, chunked)
        write = self._request.writer.write
        self._written = True
        await write(head + (_framed(held, chunked) if held else b""))
        async for piece in pieces:
            await write(_framed(piece, chunked))
        if chunked and not answer.bodiless:
            await write(b"0\r\n\r\n")
        return Sent(answer.status, self._keeps)

    def _cut(self) -> web.StreamResponse:
        """Close the connection without the answer's end, so that it is not taken for whole."""
        if self._request.transport is not None:
            self._request.transport.close()
        return Sent(500, keeps=False)

    def _answer_head(self, answer: Answer, length: int | None, chunked: bool = False) -> bytes:
        lines = [b"HTTP/1.1 %d %b" % (answer.status, answer.reason.encode("latin-1"))]
        seen = set()
        for name, value in answer.headers:
            lower = name.lower()
            seen.add(lower)
            if lower != b"content-length":
                lines.append(name + b": " + value)
        if b"x-call-id" not in seen and not self._own_id:
            lines.append(b"X-Call-Id: " + self._call_id)
        if b"x-start-time" not in seen:
            lines.append(b"X-Start-Time: " + self._started)
        if b"x-served-by" not in seen:
            lines.append(b"X-Served-By: " + self._served_by)
        if b"content-type" not in seen:
            lines.append(b"Content-Type: " + self._content_type)
        if b"date" not in seen:
            lines.append(b"Date: " + _date())
        if chunked and not answer.bodiless:
            lines.append(b"Transfer-Encoding: chunked")
        elif length is not None and answer.status != 204:
            lines.append(b"Content-Length: %d" % length)
        if not self._keeps:
            lines.append(b"Connection: close")
        elif self._request.version < (1, 1):
            lines.append(b"Connection: keep-alive")
        return b"\r\n".join(lines) + b"\r\n\r\n"

    async def _fail(self, status: int, body: bytes) -> web.StreamResponse:
        """Answer for a function that did not."""
        response = web.Response(status=status, body=body, content_type="text/plain")
        response.headers["X-Call-Id"] = self._call_id.decode("latin-1")
        response.headers["X-Start-Time"] = self._started.decode()
        response.headers["X-Served-By"] = self._served_by.decode()
        if status == 500:
            response.headers["X-Openfaas-Internal"] = "proxy"
            response.headers["X-Content-Type-Options"] = "nosniff"
        if not self._keeps:
            response.force_close()
        return response

    def _unreachable(self) -> bytes:
        return f"Can't reach service for: {self._function.deployment.name}.\n".encode()


async def _hold(answer: Answer, pieces: AsyncIterator[bytes]) -> tuple[bytes, bool]:
    """Read the beginning of an answer; say whether that was all of it."""
    if answer.whole:
        return b"", True
    known = answer.length is not None and not answer.chunked
    if known and (answer.length or 0) > SMALL_ANSWER_BYTES:
        return b"", False
    limit = SMALL_ANSWER_BYTES if known else HELD_BYTES
    held = b""
    async for piece in pieces:
        held = held + piece if held else piece
        if len(held) > limit:
            return held, False
    return held, True


def _framed(piece: bytes, chunked: bool) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece


_dated = (0.0, b"")


def _date() -> bytes:
    """Return the time as HTTP writes it, formatted once a second."""
    global _dated
    now = time.time()
    if now - _dated[0] >= 1.0:
        _dated = (float(int(now)), formatdate(now, usegmt=True).encode())
    return _dated[1]


def _plain(status: int, text: str) -> web.Response:
    headers = {"X-Content-Type-Options": "nosniff"}
    return web.Response(status=status, text=text + "\n", headers=headers)


def _moved(request: web.BaseRequest, location: str) -> web.Response:
    response = web.Response(status=301, headers={"Location": location})
    if request.body_exists:
        response.force_close()
    return response


def _unknown(name: str) -> web.Response:
    full = name if "." in name else f"{name}.{NAMESPACE}"
    return web.Response(
        status=404,
        text=f"error finding function {full}: server returned non-200 status code (404)"
        f" for function, {full}, body: ",
    )
