"""What an engine prints as it builds and pushes: its steps, its last lines, digests.

Pure: messages come in one at a time, as the Engine API streams them.
"""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING, Any

from away.names import printable
from away.publish.references import is_digest
from away.secret_texts import hidden

if TYPE_CHECKING:
    from collections.abc import Mapping

    from away.publish.progress import Progress

__all__ = ["Pushed", "Transcript"]

_STEP = re.compile(r"Step \d+/\d+ : ")
_IMAGE = re.compile(r"---> ([0-9a-f]{12,64})\Z")
_COLORS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
# What the engine itself says between what programs print, always from the start of a line.
_ENGINES = re.compile(r"Step \d+/\d+ : | ---> |Removing intermediate container ")
KEPT_LINES = 6
# A program that never ends its line is heard nevertheless.
MAX_PENDING = 8_000
LINE_LENGTH = 200


class Transcript:
    """What a build says.

    Args:
        progress: Is told of its lines.

    Attributes:
        step: The instruction under way.
        identity: The ID of the image that was built.
        made: The IDs of images that its steps made, in order, and not found made.
    """

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.step = ""
        self.identity = ""
        self.made: list[str] = []
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)
        self.cached = False
        self.pending = ""  # of a line that has not ended: programs' output comes in pieces

    def note(self, message: Mapping[str, Any]) -> None:
        """Take a message of the engine's."""
        aux = message.get("aux")
        if isinstance(aux, dict) and isinstance(aux.get("ID"), str):
            self.identity = aux["ID"]
        self.add(str(message.get("stream") or ""))
        if (status := message.get("status")) and not message.get("progressDetail"):
            self.tell(printable(str(status)))

    def add(self, piece: str) -> None:
        """Take a piece of what the build prints, and the lines that end in it."""
        if _ENGINES.match(piece):
            self.flush()
        *ended, self.pending = re.split(r"[\r\n]", self.pending + piece)
        for each in ended:
            self.take(each)
        if len(self.pending) > MAX_PENDING:
            self.flush()

    def flush(self) -> None:
        """Take what stands there of a line that did not end."""
        line, self.pending = self.pending, ""
        self.take(line)

    def take(self, text: str) -> None:
        """Take a line that the build prints."""
        line = printable(hidden(_COLORS.sub("", text).strip()))
        if not line:
            return
        if _STEP.match(line):
            self.step, self.cached = line[:LINE_LENGTH], False
            self.lines.clear()
            # An instruction of ours may have continuation lines; the first says enough.
            self.tell(line)
        elif line == "---> Using cache":
            self.cached = True
        elif (found := _IMAGE.match(line)) is not None:
            # FROM gives an image that was there before as well.
            if not self.cached and " : FROM " not in f"{self.step} ":
                self.made.append(found[1])
        elif not line.startswith(("---> Running in", "Removing intermediate container")):
            self.lines.append(line[:LINE_LENGTH])
            self.tell(line)

    def tell(self, line: str) -> None:
        """Show a line."""
        self.progress.detail(line[:LINE_LENGTH])

    def last_lines(self) -> str:
        """Return the last lines of the step under way, as one text."""
        self.flush()
        return " | ".join(self.lines)


class Pushed:
    """What a push says.

    Args:
        progress: Is told how many bytes were sent.

    Attributes:
        digest: The digest of the image's manifest, once all is at the registry.
    """

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.digest = ""
        self.sent: dict[str, int] = {}

    def note(self, message: Mapping[str, Any]) -> None:
        """Take a message of the engine's."""
        aux = message.get("aux")
        digest = aux.get("Digest") if isinstance(aux, dict) else None
        if isinstance(digest, str) and is_digest(digest):
            self.digest = digest
        detail = message.get("progressDetail")
        layer = str(message.get("id") or "")
        if message.get("status") != "Pushing" or not isinstance(detail, dict) or not layer:
            return
        current, total = detail.get("current"), detail.get("total")
        if isinstance(current, int) and isinstance(total, int):
            if layer not in self.sent:
                self.progress.total(total)
                self.sent[layer] = 0
            # The engine counts tar's padding too, and so beyond the total that it gives.
            now = min(current, total)
            self.progress.sent(now - self.sent[layer])
            self.sent[layer] = now
