"""One client's connection: its requests are read and answered in order, each within its time.

It knows bytes and time; what a request means is for :mod:`away.runtime.calls`, and which thread
comes here for :mod:`away.runtime.lead`. A quick call costs one receive and one send.
"""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

from away.runtime.calls import Answer, Calls
from away.runtime.http11 import Head, Reader, Refusal, answer_head, too_large

if TYPE_CHECKING:
    from away.runtime.lead import Lead
    from away.runtime.settings import Settings

__all__ = ["Connection"]

# Above this the body goes out from where it is; below, one copy costs less than a second buffer.
_JOIN_BYTES = 65_536
# How long, and how much, an unread rest is read after a refusal before the connection is closed:
# closing at once would reset it, and the client would never see why.
_LINGER_SECONDS = 2.0
_LINGER_BYTES = 16 * 1024 * 1024
# How long the rest of a request may be away that had begun just as its connection was hung up.
_REST_SECONDS = 1.0
_REST_LOOK_SECONDS = 0.005


class Connection:
    """One client.

    Args:
        connected: Its socket.
        calls: Answers requests.
        settings: Limits and times.
        lead: Told before this may take long, and how long calls took.
    """

    def __init__(
        self, connected: socket.socket, calls: Calls, settings: Settings, lead: Lead
    ) -> None:
        connected.setblocking(False)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = connected
        # since when no request is under way; None while one is
        self.idle_since: float | None = time.monotonic()
        # since when a request has been under way that is not complete
        self.reading_since: float | None = None
        self.given_up = False
        self._hung_up = False
        self._calls = calls
        self._settings = settings
        self._head_seconds = min(settings.head_seconds, settings.read_seconds)
        self._lead = lead
        self._deadline = 0.0
        self._limit = 0.0
        # whether anything of the request under way has been read
        self._begun = False
        self._reader = Reader(self._receive)

    def serve(self) -> bool:
        """Answer what has come; True if there may be more later."""
        try:
            while True:
                self._begin()
                if not self._answer_one():
                    return False
                if not self._reader.pending:
                    self.idle_since = time.monotonic()
                    return True
        except (OSError, TimeoutError):
            # The client is gone, or stands still in the middle of an answer.
            return False

    def _begin(self) -> None:
        now = time.monotonic()
        self.reading_since = now
        self.idle_since = None
        self._begun = self._reader.pending
        self._limit = self._head_seconds
        self._deadline = now + self._head_seconds

    def _limit_reading(self, seconds: float) -> None:
        """Let what is read from now on be there so long after the request's first byte."""
        self._limit = seconds
        self._deadline = (self.reading_since or 0.0) + seconds

    def _answer_one(self) -> bool:
        """Read and answer one request; True if another may follow."""
        head: Head | None = None
        try:
            head = self._reader.read_head()
            if head is None:
                return False
            self._limit_reading(self._settings.read_seconds)
            body = self._read_body(head)
        except (Refusal, TimeoutError) as refused:
            return self._refuse(head, refused)
        finally:
            self.reading_since = None
        began = time.monotonic()
        answer = self._calls.answer(head, body, lambda: self._awaited(head))
        self._lead.took(time.monotonic() - began)
        keep_alive = head.keep_alive and not self._calls.draining
        self._send(head, answer, keep_alive=keep_alive)
        return keep_alive

    def _awaited(self, head: Head) -> bool:
        """Tell whether the client still waits for an answer, as far as can be known from here.

        Who is gone and who has only closed its sending half look the same (RFC 9112, 9.6: a server
        may take either for the end). Those that send no more than one request say so, by HTTP/1.0 or
        ``Connection: close``, and are taken to wait; all others never close one half alone.
        """
        if self._reader.pending or self._hung_up or self.given_up:
            return True
        try:
            return bool(self.socket.recv(1, socket.MSG_PEEK)) or not head.keep_alive
        except BlockingIOError:
            return True
        except OSError:
            return False

    def _read_body(self, head: Head) -> bytes:
        if head.length == 0:
            return b""
        limit = self._settings.max_body_bytes
        if head.expects_continue and not self._reader.pending:
            if head.length is not None and head.length > limit:
                # It asked first: the body has not been sent.
                raise Refusal(413, too_large(limit))
            self._transmit(b"HTTP/1.1 100 Continue\r\n\r\n")
        return self._reader.read_body(head, limit)

    def _refuse(self, head: Head | None, refused: Refusal | TimeoutError) -> bool:
        if self.given_up:
            refused = Refusal(
                503,
                "the request was not complete, and others needed its connection;"
                " nothing ran, so call again",
            )
        elif isinstance(refused, TimeoutError):
            what = "request's head" if head is None else "request"
            refused = Refusal(408, f"the {what} was not complete after {self._limit:g} seconds")
        answer = Answer(refused.status, f"{refused.text}\n".encode())
        keep_alive = (
            not refused.close and head is not None and head.keep_alive and not self._calls.draining
        )
        self._send(head, answer, keep_alive=keep_alive)
        if refused.close:
            self._linger()
        return keep_alive

    def _send(self, head: Head | None, answer: Answer, *, keep_alive: bool) -> None:
        """Send head and body at once: apart, the second waits for the first's acknowledgement."""
        body = answer.body
        start = answer_head(
            answer.status, self._calls.headers(head, answer), len(body), keep_alive=keep_alive
        )
        if head is not None and head.method == "HEAD":
            body = b""
        if len(body) <= _JOIN_BYTES:
            self._transmit(start + body)
        else:
            self._transmit(start, body)

    def _transmit(self, *parts: bytes) -> None:
        """Send all, in one go where the client takes it."""
        try:
            sent = self.socket.send(parts[0]) if len(parts) == 1 else self.socket.sendmsg(parts)
        except BlockingIOError:
            sent = 0
        if sent < sum(map(len, parts)):
            self._transmit_rest([memoryview(part) for part in parts], sent)

    def _transmit_rest(self, parts: list[memoryview], sent: int) -> None:
        """Send on; a client that takes nothing for the time to read is given up."""
        self._lead.step_back()
        self.socket.settimeout(self._settings.read_seconds)
        try:
            while True:
                while parts and sent >= len(parts[0]):
                    sent -= len(parts.pop(0))
                if not parts:
                    return
                parts[0] = parts[0][sent:]
                sent = self.socket.sendmsg(parts)
        finally:
            self.socket.setblocking(False)

    def _receive(self, most: int) -> bytes:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        try:
            data = self.socket.recv(most)
        except BlockingIOError:
            data = self._await(most, left)
        if data:
            self._begun = True
        elif self._hung_up and self._begun:
            return self._rest(most)
        return data

    def _await(self, most: int, seconds: float) -> bytes:
        """Wait for bytes that are not here yet."""
        self._lead.step_back()
        self.socket.settimeout(seconds)
        try:
            return self.socket.recv(most)
        finally:
            self.socket.setblocking(False)

    def _rest(self, most: int) -> bytes:
        """Read on where only our own end of reading makes the request look broken off."""
        self._lead.step_back()
        until = min(self._deadline, time.monotonic() + _REST_SECONDS)
        while time.monotonic() < until:
            time.sleep(_REST_LOOK_SECONDS)
            if data := self.socket.recv(most):
                return data
        return b""

    def _linger(self) -> None:
        self._deadline = time.monotonic() + _LINGER_SECONDS
        self.socket.shutdown(socket.SHUT_WR)
        read = 0
        while read < _LINGER_BYTES and (data := self._receive(65_536)):
            read += len(data)

    def give_up(self) -> None:
        """Wake a connection that waits for a request or the rest of one, which ends it."""
        self.given_up = True
        try:
            self.socket.shutdown(socket.SHUT_RD)
        except OSError:
            pass

    def hang_up(self) -> None:
        """Take no further request but one that is here already; for a connection that is idle."""
        self._hung_up = True
        try:
            self.socket.shutdown(socket.SHUT_RD)
        except OSError:
            pass

    def close(self) -> None:
        """Close the connection, also where a child of the function still holds its socket."""
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()
