"""The server: connections come and go, and an end that loses no call."""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from typing import TYPE_CHECKING

from away.runtime.connection import Connection
from away.runtime.lead import Lead
from away.runtime.output import log

if TYPE_CHECKING:
    from away.runtime.calls import Calls
    from away.runtime.settings import Settings

__all__ = ["Server"]

# A thread's stack is 8 MB with glibc and 128 kB with musl, on which json overflows at a depth that
# the protocol allows. Memory is taken as it is used, so this costs address space only.
_STACK_BYTES = 16 * 1024 * 1024
# How often connections are looked through for some that were idle for too long, at most.
_IDLE_LOOK_SECONDS = 15.0
# How often those that became idle while the server ends are hung up.
_DRAIN_LOOK_SECONDS = 0.05


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
        self._lead = Lead(self._serve)
        self._connections: dict[int, Connection] = {}
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
        self._lead.start()

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
                for each in self._connections.values():
                    if each.idle_since is not None:
                        each.hang_up()
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(min(left, _DRAIN_LOOK_SECONDS))
            return len(self._connections)

    def _accept_all(self) -> None:
        listener, stop = self._listener, self._stop_read
        pause = max(0.05, min(self._settings.idle_seconds / 4, _IDLE_LOOK_SECONDS))
        while True:
            look = pause if self._connections else None
            ready, _, _ = select.select([listener.fileno(), stop], [], [], look)
            self._end_idle()
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
        with self._changed:
            while len(self._connections) >= self._settings.max_connections:
                self._make_room()
                # A connection that waits here waits in vain only while all others are answered.
                self._changed.wait(1.0)
            descriptor = connected.fileno()
            try:
                self._connections[descriptor] = Connection(
                    connected, self._calls, self._settings, self._lead
                )
                self._lead.wait_for(descriptor)
            except OSError as error:
                log(f"away: a connection could not be answered: {error}")
                self._connections.pop(descriptor, None)
                connected.close()
        return True

    def _end_idle(self) -> None:
        """End connections on which no request began for too long."""
        long_ago = time.monotonic() - self._settings.idle_seconds
        for each in list(self._connections.values()):
            if each.idle_since is not None and each.idle_since < long_ago:
                each.hang_up()

    def _make_room(self) -> None:
        """Give up the connection that has been idle longest, else the oldest incomplete request.

        Clients that send too slowly, or nothing, can then never keep out those that do send.
        """
        left = [each for each in self._connections.values() if not each.given_up]
        idle = [(each.idle_since, each) for each in left]
        reading = [(each.reading_since, each) for each in left]
        for waiting in (idle, reading):
            known = [(since, id(each), each) for since, each in waiting if since is not None]
            if known:
                min(known)[2].give_up()
                return

    def _serve(self, descriptor: int) -> None:
        """Answer what came on a connection; whatever happens, the thread goes on."""
        connection = self._connections[descriptor]
        try:
            if connection.serve():
                self._lead.wait_again(descriptor)
                return
        except Exception as error:  # a fault of this runtime must not end the thread that leads
            log(f"away: a connection could not be answered: {type(error).__name__}: {error}")
        with self._changed:
            # Together: the next connection may get the same descriptor.
            connection.close()
            del self._connections[descriptor]
            self._changed.notify_all()

    def _forget_in_child(self) -> None:
        """Let go of all sockets in a child that the function forked.

        It would keep the port and the clients' connections open after this process is gone.
        """
        self._calls.forked = True
        self._changed = threading.Condition()
        self._listener.close()
        for connection in self._connections.values():
            connection.socket.close()
        self._connections.clear()
        self._lead.close()
        os.close(self._stop_read)
        if not self._calls.draining:
            os.close(self._stop_write)
