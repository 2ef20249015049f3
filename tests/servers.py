"""A server on real sockets that misbehaves as it is told, for tests of whoever talks to one.

``Server(answer(200, b"55"))`` answers every request so; ``Server([reset(), answer()])`` goes on from
one behaviour to the next and stays with the last; ``Server({"/system/info": …, "": …})`` chooses by
the longest beginning of the path; a function from :class:`Seen` to a behaviour decides freely.
"""

from __future__ import annotations

import contextlib
import http.client
import json as _json
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

CERTIFICATE = Path(__file__).with_name("servers.pem")
PATIENCE_SECONDS = 10.0


class Seen(NamedTuple):
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int


class Talk(NamedTuple):
    """What a behaviour acts on: an open connection, on which a request has just come."""

    sock: socket.socket
    seen: Seen
    stopping: threading.Event


# True: the connection is kept for the next request.
Behaviour: TypeAlias = Callable[[Talk], bool]
Script: TypeAlias = (
    Behaviour | Sequence[Behaviour] | Mapping[str, "Script"] | Callable[[Seen], Behaviour]
)


# ---------------------------------------------------------------- behaviours


def _named(behaviour: Behaviour) -> Behaviour:
    behaviour.__dict__["is_behaviour"] = True
    return behaviour


def head(
    status: int, headers: Mapping[str, str] | Sequence[tuple[str, str]] = (), reason: str = "Said"
) -> bytes:
    """Return a head as bytes, with its empty line."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in pairs)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def whole(
    status: int = 200,
    body: bytes = b"",
    headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
) -> bytes:
    """Return a whole answer as bytes."""
    pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
    return head(status, [("Content-Length", str(len(body))), *pairs]) + body


def answer(
    status: int = 200,
    body: bytes = b"",
    headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
) -> Behaviour:
    """Answer as it should be, and keep the connection."""
    return raw(whole(status, body, headers), keep=True)


def json(data: Any, status: int = 200) -> Behaviour:
    """Answer with JSON."""
    return answer(status, _json.dumps(data).encode(), {"Content-Type": "application/json"})


def raw(data: bytes, *, keep: bool = False) -> Behaviour:
    """Send just these bytes."""

    def behave(talk: Talk) -> bool:
        talk.sock.sendall(data)
        return keep

    return _named(behave)


def answer_then_close(status: int = 200, body: bytes = b"") -> Behaviour:
    """Answer without a word of closing, and close."""
    return raw(whole(status, body))


def hang() -> Behaviour:
    """Never answer; end when the client does."""

    def behave(talk: Talk) -> bool:
        _until_closed(talk)
        return False

    return _named(behave)


def hang_up() -> Behaviour:
    """Close without an answer."""
    return raw(b"")


def reset() -> Behaviour:
    """Reset the connection (RST) without an answer."""

    def behave(talk: Talk) -> bool:
        talk.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False

    return _named(behave)


def cut_head() -> Behaviour:
    """Close within the head."""
    return raw(b"HTTP/1.1 200 OK\r\nContent-Type: text/pl")


def cut(body: bytes, sent: int) -> Behaviour:
    """Say the whole length and send a part."""
    return raw(head(200, {"Content-Length": str(len(body))}) + body[:sent])


def cut_chunked(body: bytes) -> Behaviour:
    """Send a chunk and no last one."""
    return raw(head(200, {"Transfer-Encoding": "chunked"}) + b"%x\r\n%b\r\n" % (len(body), body))


def chunked(*pieces: bytes, pause: float = 0.0) -> Behaviour:
    """Answer in chunks, with a pause between them."""

    def behave(talk: Talk) -> bool:
        talk.sock.sendall(head(200, {"Transfer-Encoding": "chunked"}))
        for piece in pieces:
            talk.sock.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
            if pause:
                talk.stopping.wait(pause)
        talk.sock.sendall(b"0\r\n\r\n")
        return True

    return _named(behave)


def endless_log(*lines: Mapping[str, str]) -> Behaviour:
    """Give log lines and then keep the answer open, as a log that is followed."""

    def behave(talk: Talk) -> bool:
        talk.sock.sendall(head(200, {"Transfer-Encoding": "chunked", "Content-Type": "text/plain"}))
        for line in lines:
            piece = _json.dumps(line).encode() + b"\n"
            talk.sock.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
        _until_closed(talk)
        return False

    return _named(behave)


def drip(data: bytes, every: float = 0.02) -> Behaviour:
    """Send byte after byte, each within any limit for a single wait."""

    def behave(talk: Talk) -> bool:
        with contextlib.suppress(OSError):
            for index in range(len(data)):
                talk.sock.sendall(data[index : index + 1])
                if talk.stopping.wait(every):
                    break
        return False

    return _named(behave)


def tunnel(port: int) -> Behaviour:
    """Stand in for a proxy that is asked to CONNECT, and pass bytes on to a port of this machine."""

    def behave(talk: Talk) -> bool:
        assert talk.seen.method == "CONNECT"
        with socket.create_connection(("127.0.0.1", port)) as there:
            talk.sock.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            ways = {talk.sock: there, there: talk.sock}
            while not talk.stopping.is_set():
                for ready in select.select([*ways], [], [], 0.05)[0]:
                    data = ready.recv(1 << 16)
                    if not data:
                        return False
                    ways[ready].sendall(data)
        return False

    return _named(behave)


def late(seconds: float, then: Behaviour) -> Behaviour:
    """Wait before behaving."""

    def behave(talk: Talk) -> bool:
        talk.stopping.wait(seconds)
        return then(talk)

    return _named(behave)


def passed_on(url: str, seen: Seen) -> Behaviour:
    """Ask the real server at a URL of a host and a port, and answer as it did."""
    dropped = ("host", "content-length", "transfer-encoding", "connection")
    headers = {key: text for key, text in seen.headers.items() if key not in dropped}
    there = url.removeprefix("http://")
    host, port = there.split(":")
    # What names the server by this address is about the real one, a gateway's own registry, and what
    # the real one says of itself is about this one.
    here = seen.headers["host"].encode()
    body = seen.body.replace(here, there.encode())
    asked = http.client.HTTPConnection(host, int(port), timeout=PATIENCE_SECONDS)
    try:
        asked.request(seen.method, seen.path, body or None, headers)
        reply = asked.getresponse()
        kept = {key: text for key, text in reply.getheaders() if key.lower() not in dropped}
        said = reply.read()
        if seen.path.startswith("/system/"):
            said = said.replace(there.encode(), here)
        return answer(reply.status, said, kept)
    finally:
        asked.close()


def _until_closed(talk: Talk) -> None:
    while not talk.stopping.is_set():
        if select.select([talk.sock], [], [], 0.05)[0]:
            with contextlib.suppress(OSError):
                if talk.sock.recv(1 << 16):
                    continue
            return


# ---------------------------------------------------------------- the server


class Server:
    """Listen on a port of its own, behave by a script, and remember what came.

    Attributes:
        requests: Every request, in the order in which it was complete.
        connections: How many connections were accepted.
        closed: Released each time the server has closed a connection.
    """

    def __init__(self, script: Script, *, tls: bool = False, host: str = "127.0.0.1") -> None:
        self.script = script
        self.requests: list[Seen] = []
        self.connections = 0
        self.closed = threading.Semaphore(0)
        self._turn = 0
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._arrived = threading.Condition(self._lock)
        self._context = None
        if tls:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(CERTIFICATE)
        self._listener = socket.create_server((host, 0), backlog=128)
        self.host = host
        self.port = int(self._listener.getsockname()[1])
        self.url = f"{'https' if tls else 'http'}://{host}:{self.port}"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> Server:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        # A connection of our own wakes the thread that accepts.
        with contextlib.suppress(OSError):
            socket.create_connection((self.host, self.port), 1).close()
        for thread in list(self._threads):
            thread.join(PATIENCE_SECONDS)
        self._listener.close()

    def wait_for(self, count: int) -> list[Seen]:
        """Wait until so many requests have come, and return them."""
        with self._arrived:
            arrived = self._arrived.wait_for(lambda: len(self.requests) >= count, PATIENCE_SECONDS)
            assert arrived, f"{len(self.requests)} requests came of {count}"
            return list(self.requests)

    def paths(self) -> list[str]:
        """Return the requests' paths without their queries."""
        return [seen.path.partition("?")[0] for seen in self.requests]

    def _accept(self) -> None:
        while True:
            sock, _ = self._listener.accept()
            if self._stopping.is_set():
                sock.close()
                return
            with self._lock:
                self.connections += 1
                number = self.connections
            thread = threading.Thread(target=self._serve, args=(sock, number), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        try:
            if self._context is not None:
                sock.settimeout(PATIENCE_SECONDS)
                sock = self._context.wrap_socket(sock, server_side=True)
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while (seen := self._read(sock, number)) is not None:
                    with self._arrived:
                        self.requests.append(seen)
                        behaviour = self._choose(self.script, seen)
                        self._arrived.notify_all()
                    if not behaviour(Talk(sock, seen, self._stopping)):
                        break
        except OSError:
            pass
        finally:
            sock.close()
            self.closed.release()

    def _choose(self, script: Script, seen: Seen) -> Behaviour:
        if isinstance(script, Mapping):
            fitting = [key for key in script if seen.path.startswith(key)]
            assert fitting, f"the script knows nothing for {seen.path}"
            return self._choose(script[max(fitting, key=len)], seen)
        if isinstance(script, Sequence):
            self._turn += 1
            return script[min(self._turn, len(script)) - 1]
        if getattr(script, "is_behaviour", False):
            return script  # type: ignore[return-value]
        return script(seen)  # type: ignore[arg-type, return-value]

    def _read(self, sock: socket.socket, number: int) -> Seen | None:
        data = b""
        while b"\r\n\r\n" not in data:
            piece = self._receive(sock)
            if not piece:
                return None
            data += piece
            if data.startswith(b"\x16\x03"):
                return Seen("TLS", "/", {}, data, number)
        top, _, body = data.partition(b"\r\n\r\n")
        first, *lines = top.decode("latin-1").split("\r\n")
        method, path, _ = first.split(" ", 2)
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        if "chunked" in headers.get("transfer-encoding", ""):
            while not body.endswith(b"0\r\n\r\n"):
                body += self._receive(sock)
            body = _unchunk(body)
        else:
            while len(body) < int(headers.get("content-length", 0)):
                piece = self._receive(sock)
                if not piece:
                    return None
                body += piece
        return Seen(method, path, headers, body, number)

    def _receive(self, sock: socket.socket) -> bytes:
        while not self._stopping.is_set():
            pending = isinstance(sock, ssl.SSLSocket) and sock.pending()
            if pending or select.select([sock], [], [], 0.05)[0]:
                return sock.recv(1 << 16)
        return b""


def _unchunk(data: bytes) -> bytes:
    body = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        body += data[: int(size, 16)]
        data = data[int(size, 16) + 2 :]
    return body


@contextlib.contextmanager
def refusing() -> Iterator[int]:
    """Give a port that refuses connections, and that nobody else can take meanwhile."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield int(sock.getsockname()[1])


@contextlib.contextmanager
def unreachable() -> Iterator[int]:
    """Give a port where connecting hangs: its queue of connections is full."""
    with socket.socket() as listener, contextlib.ExitStack() as fillers:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = int(listener.getsockname()[1])
        for _ in range(8):
            filler = fillers.enter_context(socket.socket())
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(("127.0.0.1", port))
        # The handshakes above finish in the kernel, beyond what a first connect() tells.
        time.sleep(0.05)
        yield port


@contextlib.contextmanager
def opening_late(script: Script, seconds: float) -> Iterator[Server]:
    """Give a server whose port refuses connections for some time before it answers."""
    server = Server(script)
    server._listener.close()
    port = server.port

    def start() -> None:
        time.sleep(seconds)
        server._listener = socket.create_server(("127.0.0.1", port), backlog=128)
        server.__enter__()

    starter = threading.Thread(target=start, daemon=True)
    starter.start()
    try:
        yield server
    finally:
        starter.join(PATIENCE_SECONDS)
        server.__exit__()
