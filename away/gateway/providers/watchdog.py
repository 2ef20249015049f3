"""The classic watchdog: runs a command once a request, its body on stdin, the answer from stdout.

It runs as a script, ``python -I -S watchdog.py``, standard library only, and reads the environment as
OpenFaaS's classic watchdog does: ``fprocess`` is the command; ``exec_timeout`` (seconds, or as Go
writes durations), ``content_type``, ``cgi_headers`` and ``combine_output`` change its ways. What the
command writes to standard error is the function's log, unless ``combine_output`` is true.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TRUE = ("1", "true", "yes")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}
MAX_LINE = 65536
_LOOPBACK = re.compile(r"(localhost|127\.[0-9.]+|\[::1\])(:[0-9]+)?")
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}")


def seconds(text: str) -> float | None:
    """Read a number of seconds, or a duration as Go writes it (``1m30s``); None without a limit."""
    parts = re.findall(r"([0-9.]+)(ms|s|m|h|)", text)
    total = sum(float(number) * _UNITS[unit] for number, unit in parts if number.strip("."))
    return total or None


class Handler(BaseHTTPRequestHandler):
    """Answers each request with what the command writes."""

    protocol_version = "HTTP/1.1"
    # The whole answer in one write: two would wait for each other (Nagle, delayed acknowledgement).
    wbufsize = -1
    disable_nagle_algorithm = True

    def answer(self) -> None:
        """Run the command for this request."""
        started = time.monotonic()
        if (why := self._from_a_web_page()) is not None:
            self.close_connection = True
            self._send(403, f"{why}\n".encode(), started)
            return
        path, _, query = self.path.partition("?")
        if path in ("/_/health", "/_/ready"):
            self._discard_body()
            self._send(200, b"OK", started)
            return
        environment = self._environment(path, query)
        body = self._body()
        if body is None:
            self.close_connection = True
            self._send(400, b"the request's body is malformed\n", started)
            return
        self._send(*run(environment, body), started)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815
    do_HEAD = do_OPTIONS = answer  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Leave the log to the command."""

    def _from_a_web_page(self) -> str | None:
        """Say why a request is not answered that a page in the user's browser may have sent.

        Every page can send to loopback. One that points a name of its own there shows that name as
        the Host; a cross-site request says so by Sec-Fetch-Site, or at least by its Origin. What the
        gateway passes on it has judged itself: a page cannot send its X-Forwarded-Host without
        asking first, by OPTIONS.
        """
        hosts = self.headers.get_all("Host", ["localhost"])
        if len(hosts) != 1 or not _LOOPBACK.fullmatch(hosts[0].strip().lower()):
            return "this function is called by a loopback address only"
        if "X-Forwarded-Host" in self.headers:
            return None
        origins = self.headers.get_all("Origin", [])
        own = [f"http://{hosts[0].strip().lower()}"]
        sites = self.headers.get_all("Sec-Fetch-Site", [])
        if any(each.strip().lower() not in own for each in origins) or any(
            each.strip().lower() not in ("none", "same-origin") for each in sites
        ):
            return "a page of another site may not call this function"
        return None

    def _send(self, status: int, body: bytes, started: float) -> None:
        content_type = os.environ.get("content_type") or self.headers.get("Content-Type")  # noqa: SIM112
        self.send_response(status)
        self.send_header("Content-Type", content_type or "application/octet-stream")
        self.send_header("X-Duration-Seconds", f"{time.monotonic() - started:f}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _environment(self, path: str, query: str) -> dict[str, str]:
        """Return what a command learns of its request, in the watchdog's names."""
        found = dict(os.environ)
        if found.get("cgi_headers", "true").lower() not in TRUE:
            return found
        for name, value in self.headers.items():
            # A header named for a loader's variable stays a header: Http_ stands before it.
            found[f"Http_{name.replace('-', '_')}"] = value.replace("\0", "")
        found |= {
            "Http_Method": self.command,
            "Http_Path": path,
            "Http_Query": query,
            "Http_ContentLength": self.headers.get("Content-Length", "-1"),
        }
        return found

    def _discard_body(self) -> None:
        if self._body() is None:
            self.close_connection = True

    def _body(self) -> bytes | None:
        """Read the body, chunked as gateways send it or of a stated length; None if malformed."""
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return self._chunks()
        try:
            length = int(self.headers.get("Content-Length") or 0)
        except ValueError:
            return None
        body = self.rfile.read(length)
        return body if len(body) == length else None

    def _chunks(self) -> bytes | None:
        pieces = []
        while True:
            said = self.rfile.readline(MAX_LINE).partition(b";")[0].strip()
            if not _CHUNK_SIZE.fullmatch(said):
                return None
            size = int(said, 16)
            if not size:
                break
            piece = self.rfile.read(size)
            if len(piece) < size:
                return None
            pieces.append(piece)
            self.rfile.readline(MAX_LINE)
        while self.rfile.readline(MAX_LINE).strip():
            pass  # trailers
        return b"".join(pieces)


def run(environment: dict[str, str], body: bytes) -> tuple[int, bytes]:
    """Run the command once and return the status and body of the answer."""
    combined = environment.get("combine_output", "false").lower() in TRUE
    try:
        done = subprocess.run(
            shlex.split(environment["fprocess"]),
            input=body,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if combined else None,
            env=environment,
            timeout=seconds(environment.get("exec_timeout", "")),
            check=False,
        )
    except subprocess.TimeoutExpired:
        return 500, b"Timeout\n"
    except (OSError, ValueError) as error:
        return 500, f"{error}\n".encode("utf-8", "replace")
    if done.returncode:
        reason = f"exit status {done.returncode}"
        if done.returncode < 0:
            reason = f"signal {-done.returncode}"
        return 500, f"{reason}\n".encode() + done.stdout
    return 200, done.stdout


class Server(ThreadingHTTPServer):
    """One thread a request."""

    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """Leave a client that went away out of the function's log."""


if __name__ == "__main__":
    # Quickly, without waiting for commands: the gateway lets calls end before it says stop.
    import signal

    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    with Server(("127.0.0.1", int(os.environ["PORT"])), Handler) as server:
        command = os.environ["fprocess"]  # noqa: SIM112 - OpenFaaS's name
        print(f"watchdog: running {command!r} once a request", file=sys.stderr)
        server.serve_forever()
