"""What is answered where the runtime itself cannot start: why, in place of a process that just ends.

Some platforms keep no log, and start what ended again and again: an answer is then all that whoever
publishes gets to know. Nothing of Away's is imported here, since that may be what fails.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys

__all__ = ["say"]

_PORT = 8080
_PATIENCE_SECONDS = 5.0
_MOST_HEAD = 65_536
_MOST_TEXT = 1_000


def say(error: BaseException) -> int:
    """Answer every request by the reason, until SIGTERM.

    Args:
        error: Why the runtime could not start; its traceback goes to the log.

    Returns:
        The process's exit status, where nothing can be answered either.
    """
    import traceback

    traceback.print_exception(error)
    sys.stderr.flush()
    for number in (signal.SIGTERM, signal.SIGINT):
        # Process 1 of a container ignores what it has no handler for.
        signal.signal(number, lambda *_: os._exit(1))
    answer = _answer(error)
    try:
        listening = socket.create_server((os.environ.get("AWAY_BIND") or "0.0.0.0", _port()))  # noqa: S104
    except OSError:
        return 1
    with listening:
        print(f"away: listening on port {listening.getsockname()[1]} to say so", file=sys.stderr)
        while True:
            # One after another: there is nothing to wait for.
            connected, _ = listening.accept()
            with connected, contextlib.suppress(OSError):
                _serve(connected, answer)


def _port() -> int:
    try:
        port = int(os.environ.get("PORT") or _PORT)
    except ValueError:
        return _PORT
    return port if 0 <= port < 65_536 else _PORT


def _answer(error: BaseException) -> bytes:
    """Make the answer: one of the runtime, which says of which deployment it is."""
    said = "".join(c if c.isprintable() else " " for c in f"{type(error).__name__}: {error}")
    version = ".".join(map(str, sys.version_info[:3]))
    body = (
        f"the function's runtime cannot start in its image (Python {version}): {said[:_MOST_TEXT]};"
        " publish it with another base_image, or without what changes Python's own start there\n"
    ).encode("utf-8", "backslashreplace")
    fields = {
        "Content-Type": "text/plain; charset=utf-8",
        "Content-Length": str(len(body)),
        "Connection": "close",
        "X-Away-Protocol": "1",
        "X-Away-Length": str(len(body)),
    }
    deployment = os.environ.get("AWAY_DEPLOYMENT", "")
    if deployment.isascii() and deployment.isalnum():
        fields["X-Away-Deployment"] = deployment
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 500 Internal Server Error\r\n{head}\r\n".encode() + body


def _serve(connected: socket.socket, answer: bytes) -> None:
    connected.settimeout(_PATIENCE_SECONDS)
    head = b""
    while b"\r\n\r\n" not in head and len(head) < _MOST_HEAD:
        piece = connected.recv(_MOST_HEAD)
        if not piece:
            return
        head += piece
    connected.sendall(answer)
    connected.shutdown(socket.SHUT_WR)
    # A socket closed with something unread resets the connection, and the answer with it.
    left = 64
    while left and connected.recv(_MOST_HEAD):
        left -= 1
