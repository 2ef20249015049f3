"""The warden of containers: removes what a gateway leaves in the engine, however the gateway ends.

``python -I -S container_warden.py ADDRESS LABEL`` waits for the end of its standard input, which the
gateway's process holds open and nobody else, and then removes every container that carries LABEL
(``key=value``) by the engine's API at ADDRESS (``unix:///PATH`` or ``tcp://HOST:PORT``). A byte on its
standard input says that there is none any more. Standard library only.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote, urlsplit

# How the gateway names its containers, as the engine writes it.
NAMES = "/away-"
# A container that the gateway had asked for when it was killed appears only after we looked; on a
# busy machine that takes seconds.
QUIET_SECONDS = 5.0
SECONDS_BETWEEN = 0.5
# An engine that is being restarted comes back.
PATIENCE_SECONDS = 60.0
ANSWER_SECONDS = 60.0
# How many the engine is asked to remove at the same time.
AT_ONCE = 8


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a socket in the file system."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=ANSWER_SECONDS)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(ANSWER_SECONDS)
        self.sock.connect(self._path)


def main(address: str, label: str) -> int:
    """Wait for the gateway's end, then remove its containers; return the exit status."""
    if os.read(0, 1):
        return 0
    now = time.monotonic()
    until, quiet_since = now + PATIENCE_SECONDS, now
    while now < until:
        try:
            left = remove_all(address, label)
        except (OSError, http.client.HTTPException, ValueError):
            left = -1
        now = time.monotonic()
        if left:
            quiet_since = now
        elif now - quiet_since > QUIET_SECONDS:
            return 0
        time.sleep(SECONDS_BETWEEN)
    return 1


def remove_all(address: str, label: str) -> int:
    """Remove all of a gateway's containers with a label; return how many there were.

    Another's container may carry it too, as one does that was made from a snapshot of ours.

    Raises:
        OSError: The engine cannot be reached.
        ValueError: It answered something else than a list.
    """
    filters = quote(json.dumps({"label": [label]}))
    status, body = ask(address, "GET", f"/containers/json?all=1&filters={filters}")
    if status != 200:
        raise ValueError(status)
    found = [each for each in json.loads(body) if is_ours(each.get("Names"))]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        paths = [f"/containers/{each['Id']}?force=1&v=1" for each in found]
        list(pool.map(lambda path: ask(address, "DELETE", path), paths))
    return len(found)


def is_ours(names: list[str] | None) -> bool:
    """Tell a gateway's container by its names; one that is being removed may have none any more."""
    return not names or any(each.startswith(NAMES) for each in names)


def ask(address: str, method: str, path: str) -> tuple[int, bytes]:
    """Make one request to the engine."""
    parts = urlsplit(address)
    connection = (
        UnixConnection(parts.path)
        if parts.scheme == "unix"
        else http.client.HTTPConnection(parts.netloc, timeout=ANSWER_SECONDS)
    )
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
