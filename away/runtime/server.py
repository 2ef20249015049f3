"""The server: connections, their threads, and an end that loses no call.

One thread a connection, kept while the client keeps it: the gateway's few connections each carry
many calls, and a thread that waits on its own socket answers sooner than one that is woken by a
loop. It knows bytes and time; what a request means is for :mod:`away.runtime.calls`.
"""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from typing import TYPE_CHECKING

from away.runtime.calls import Answer, Calls
from away.runtime.http11 import Head, Reader, Refusal, answer_head, too_large
from away.runtime.output import log

if TYPE_CHECKING:
    from away.runtime.settings import Settings

__all__ = ["Server"]

# A thread's stack is 8 MB with glibc and 128 kB with musl, on which json overflows at a depth that
# the protocol allows. Memory is taken as it is used, so this costs address space only.
_STACK_BYTES = 16 * 1024 * 1024
# Above this the body goes out from where it is; below, one copy costs less than a second buffer.
_JOIN_BYTES = 65_536
# How long, and how much, an unread rest is read after a refusal before the connection is closed:
# closing at once would reset it, and the client would never see why.
_LINGER_SECONDS = 2.0
_LINGER_BYTES = 16 * 1024 * 1024


class Server:
    """Listen, and answer each connection's requests one after another.

    Args:
        calls: Answers requests.
        settings: Address, limits and times.

    Raises:
        OSError: The address cannot be listened on.
    """

    def __init__(self, calls: Calls, settings: Settings) -> None:
        self._calls = calls
        self._settings = settings
        self._listener = socket.create_server(
            (settings.host, settings.port), backlog=512, reuse_port=False
        )
        self._listener.setblocking(False)
        # Of the socket and not of the settings: the embedded gateway turns 0.0.0.0 into loopback.
        calls.only_local = self._listener.getsockname()[0].startswith("127.")
        # Its read end becomes readable for everyone when the write end is closed.
        self._stop_read, self._stop_write = os.pipe()
        self._accepting: threading.Thread | None = None
        self._connections: set[Connection] = set()
        # guards _connections
        self._changed = threading.Condition()
        os.register_at_fork(after_in_child=self._forget_in_child)

    @property
    def port(self) -> int:
        """The port that is listened on."""
        port: int = self._listener.getsockname()[1]
        return port

    def start(self) -> None:
        """Begin to accept, in a thread of its own."""
        threading.stack_size(_STACK_BYTES)
        self._accepting = threading.Thread(target=self._accept_all, name="away-accept", daemon=True)
        self._accepting.start()

    def drain(self, seconds: float) -> int:
        """Stop accepting and wait for running calls.

        Returns:
            How many calls still ran when the time was up.
        """
        self._calls.drain()
        os.close(self._stop_write)
        deadline = time.monotonic() + seconds
        if self._accepting is not None:
            # It takes in those who wait already; only then no connection means no call.
            self._accepting.join(seconds)
        with self._changed:
            while self._connections:
                left = deadline - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    break
            return len(self._connections)

    def _accept_all(self) -> None:
        listener, stop = self._listener, self._stop_read
        while True:
            ready, _, _ = select.select([listener.fileno(), stop], [], [])
            # Also on the way out: who is in the backlog has been promised an answer.
            accepted = self._accept()
            if stop in ready and not accepted:
                listener.close()
                return

    def _accept(self) -> bool:
        """Accept one connection; False if there was none."""
        try:
            connected, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionError):
            return False
        except OSError as error:
            # Out of file descriptors or memory: what runs may give some back.
            log(f"away: a connection could not be accepted: {error}")
            time.sleep(0.05)
            return False
        connection = Connection(connected, self._calls, self._settings, self._stop_read)
        with self._changed:
            while len(self._connections) >= self._settings.max_connections:
                self._make_room()
                # A connection that waits here waits in vain only while all others are answered.
                self._changed.wait(1.0)
            self._connections.add(connection)
        try:
            threading.Thread(
                target=self._converse, args=(connection,), name="away-call", daemon=True
            ).start()
        except RuntimeError as error:
            log(f"away: a connection could not be answered: {error}")
            self._forget(connection)
        return True

    def _make_room(self) -> None:
        """Give up the connection that has been idle longest, else the oldest incomplete request.

        Clients that send too slowly, or nothing, can then never keep out those that do send.
        """
        left = [each for each in self._connections if not each.given_up]
        idle = [(each.idle_since, each) for each in left]
        reading = [(each.reading_since, each) for each in left]
        for waiting in (idle, reading):
            known = [(since, id(each), each) for since, each in waiting if since is not None]
            if known:
                min(known)[2].give_up()
                return

    def _converse(self, connection: Connection) -> None:
        try:
            connection.converse()
        finally:
            self._forget(connection)

    def _forget(self, connection: Connection) -> None:
        connection.close()
        with self._changed:
            self._connections.discard(connection)
            self._changed.notify_all()

    def _forget_in_child(self) -> None:
        """Let go of all sockets in a child that the function forked.

        It would keep the port and the clients' connections open after this process is gone.
        """
        self._calls.forked = True
        self._changed = threading.Condition()
        self._listener.close()
        for connection in self._connections:
            connection.socket.close()
        self._connections.clear()
        os.close(self._stop_read)
        if not self._calls.draining:
            os.close(self._stop_write)


class Connection:
    """One client: its requests are read and answered in order."""

    def __init__(
        self, connected: socket.socket, calls: Calls, settings: Settings, stop: int
    ) -> None:
        self.socket = connected
        # since when no request is under way; None while one is
        self.idle_since: float | None = time.monotonic()
        # since when a request has been under way that is not complete
        self.reading_since: float | None = None
        self.given_up = False
        self._calls = calls
        self._settings = settings
        self._stop = stop
        self._deadline = 0.0
        self._limit = 0.0
        self._reader = Reader(self._receive)

    def converse(self) -> None:
        """Answer requests until either side has enough."""
        try:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            poll = select.poll()
            poll.register(self.socket, select.POLLIN)
            poll.register(self._stop, select.POLLIN)
            while self._wait(poll):
                if not self._answer_one():
                    return
        except (OSError, TimeoutError):
            # The client is gone, or stands still in the middle of an answer.
            return

    def _wait(self, poll: select.poll) -> bool:
        """Wait for a request to begin; False if none will."""
        if not self._reader.pending:
            self.idle_since = time.monotonic()
            ready = poll.poll(self._settings.idle_seconds * 1_000)
            # A request that has arrived is answered, also while the server stops.
            if self.socket.fileno() not in (descriptor for descriptor, _ in ready):
                return False
        self.reading_since = time.monotonic()
        self.idle_since = None
        self._limit_reading(min(self._settings.head_seconds, self._settings.read_seconds))
        return True

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
        answer = self._calls.answer(head, body)
        keep_alive = head.keep_alive and not self._calls.draining
        self._send(head, answer, keep_alive=keep_alive)
        return keep_alive

    def _read_body(self, head: Head) -> bytes:
        if head.length == 0:
            return b""
        limit = self._settings.max_body_bytes
        if head.expects_continue and not self._reader.pending:
            if head.length is not None and head.length > limit:
                # It asked first: the body has not been sent.
                raise Refusal(413, too_large(limit))
            self.socket.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
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
        self.socket.settimeout(self._settings.read_seconds)
        if len(body) <= _JOIN_BYTES:
            self.socket.sendall(start + body)
            return
        parts = [memoryview(start), memoryview(body)]
        while parts:
            sent = self.socket.sendmsg(parts)
            while parts and sent >= len(parts[0]):
                sent -= len(parts.pop(0))
            if parts:
                parts[0] = parts[0][sent:]

    def _receive(self, most: int) -> bytes:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.socket.settimeout(left)
        return self.socket.recv(most)

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

    def close(self) -> None:
        """Close the connection, also where a child of the function still holds its socket."""
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()
