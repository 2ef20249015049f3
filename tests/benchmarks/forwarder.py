"""A forwarder of bytes before a registry or a gateway: it counts them, and knows when a request came."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections.abc import Iterator

REQUEST = re.compile(rb"(?:^|\r\n\r\n)((?:GET|HEAD|PUT|POST|PATCH|DELETE) \S+) HTTP/1\.1\r\n")


class Forwarder:
    """What went to the server so far.

    Attributes:
        host: HOST:PORT to connect to.
        sizes: When how many bytes came from clients, heads included.
        requests: When which request came, as ``METHOD PATH``.
    """

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.sizes: list[tuple[float, int]] = []
        self.requests: list[tuple[float, str]] = []
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def first(self, pattern: str) -> float:
        """Give the time at which the first request came that a pattern matches."""
        return next(at for at, line in self.requests if re.match(pattern, line))

    def forget(self) -> None:
        """Begin to count anew."""
        self.sizes.clear()
        self.requests.clear()

    def close(self) -> None:
        """Stop listening, and close all connections."""
        self._listener.close()
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
            except OSError:
                return
            self._open += [client, server]
            for each in (client, server):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for source, sink, counted in ((client, server, True), (server, client, False)):
                threading.Thread(
                    target=self._copy, args=(source, sink, counted), daemon=True
                ).start()

    def _copy(self, source: socket.socket, sink: socket.socket, counted: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 18):
                if counted:
                    now = time.perf_counter()
                    self.sizes.append((now, len(data)))
                    self.requests += [(now, each.decode()) for each in REQUEST.findall(data)]
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def forwarder(target: str) -> Iterator[Forwarder]:
    """Forward to HOST:PORT for the length of a ``with`` block."""
    made = Forwarder(target)
    try:
        yield made
    finally:
        made.close()
