"""Archives that stream by: layers of images, read without being kept, and never beyond measure.

Whoever reads says what matters of each entry. A layer comes from a server that may be broken or worse,
so that sizes, names and numbers of entries have limits, and what gzip grows to has one.
"""

from __future__ import annotations

import posixpath
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["NotRead", "TarReader", "Unpacker", "clean"]

BLOCK = 512
# How gzip begins (RFC 1952).
GZIP = b"\x1f\x8b"
# Far beyond any base image of Python, and little enough to be read through.
MAX_UNPACKED_BYTES = 8 << 30
MAX_MEMBERS = 1_000_000
# Names and links by PAX and GNU headers; a file name has 4096 bytes at most (PATH_MAX).
MAX_HEADER_BYTES = 1 << 20
# What is read whole of an entry: the largest that anybody asks for, libc.so.6, has two megabytes.
MAX_READ_BYTES = 16 << 20
PIECE = 1 << 20


class NotRead(Exception):
    """A layer is none that can be read here, or more than is read."""


class TarReader:
    """Reads an archive that comes piece by piece (POSIX.1-2001, and GNU's long names).

    Args:
        wants: Is told each path and where it links to; True to have its bytes.
        read: Is given a path and its bytes, where they were wanted.
    """

    def __init__(
        self, wants: Callable[[str, str | None], bool], read: Callable[[str, bytes], None]
    ) -> None:
        self.wants = wants
        self.read = read
        self.buffer = bytearray()
        self.skip = 0
        self.members = 0
        self.collect: Callable[[bytes], None] | None = None
        self.need = 0
        self.pad = 0
        self.long: dict[str, str] = {}
        self.done = False

    def feed(self, data: bytes) -> None:
        """Take the next bytes.

        Raises:
            NotRead: They are no archive, or one without measure.
        """
        if self.skip >= len(data):
            self.skip -= len(data)
            return
        self.buffer += data[self.skip :]
        self.skip = 0
        at = 0
        while not self.done:
            if self.collect is not None:
                if len(self.buffer) - at < self.need:
                    break
                body, collect = bytes(self.buffer[at : at + self.need]), self.collect
                at, self.collect = at + self.need, None
                collect(body)
                at = self.jump(at, self.pad)
            elif len(self.buffer) - at >= BLOCK:
                head = bytes(self.buffer[at : at + BLOCK])
                at = self.jump(at + BLOCK, self.header(head))
            else:
                break
        del self.buffer[:at]
        if self.done:
            self.buffer.clear()

    def jump(self, at: int, count: int) -> int:
        """Pass over some bytes, of which some may not be here yet."""
        here = min(count, len(self.buffer) - at)
        self.skip += count - here
        return at + here

    def header(self, head: bytes) -> int:
        """Read a member's head; return how many bytes after it are passed over."""
        if not head.strip(b"\0"):
            self.done = True
            return 0
        self.members += 1
        checked = sum(head[:148]) + 8 * 0x20 + sum(head[156:])
        if number(head[148:156]) != checked or self.members > MAX_MEMBERS:
            raise NotRead("a member's head is none")
        size, kind = number(head[124:136]), head[156:157]
        if kind in (b"L", b"K", b"x", b"g"):
            if size > MAX_HEADER_BYTES:
                raise NotRead("a name is too long")
            self.want(size, {b"L": self.long_name, b"K": self.long_link, b"x": self.pax}.get(kind))
            return 0
        path, link = self.name_of(head), None
        if kind in (b"1", b"2"):
            link = self.long.get("linkpath") or text(head[157:257])
            # A hard link names a path of the archive, a symbolic one a path as the file has it.
            link = f"/{clean(link)}" if kind == b"1" else link
            size = 0
        elif kind not in (b"0", b"\0", b"7"):
            size = 0 if kind in (b"3", b"4", b"5", b"6") else size
        if "size" in self.long and size and is_number(self.long["size"]):
            size = int(self.long["size"][:18])
        self.long = {}
        if kind == b"5":
            return 0
        if self.wants(path, link or None) and 0 < size <= MAX_READ_BYTES:
            self.want(size, lambda data: self.read(path, data))
            return 0
        return size + -size % BLOCK

    def want(self, size: int, collect: Callable[[bytes], None] | None) -> None:
        """Have the next bytes given to something."""
        self.collect = collect or (lambda _: None)
        self.need, self.pad = size, -size % BLOCK

    def name_of(self, head: bytes) -> str:
        """Return a member's path, without a leading ``./`` or ``/``."""
        if "path" in self.long:
            return clean(self.long["path"])
        name = text(head[:100])
        prefix = text(head[345:500]) if head[257:262] == b"ustar" and head[262] == 0 else ""
        return clean(f"{prefix}/{name}" if prefix else name)

    def long_name(self, data: bytes) -> None:
        """Take the name of the next member (GNU)."""
        self.long["path"] = text(data)

    def long_link(self, data: bytes) -> None:
        """Take where the next member links to (GNU)."""
        self.long["linkpath"] = text(data)

    def pax(self, data: bytes) -> None:
        """Take what a PAX header says of the next member: ``LENGTH KEY=VALUE`` lines."""
        at = 0
        while (space := data.find(b" ", at, at + 20)) > 0:
            length = data[at:space]
            if not length.isdigit() or int(length) <= space - at + 1:
                return
            key, _, value = data[space + 1 : at + int(length) - 1].partition(b"=")
            if key in (b"path", b"linkpath", b"size"):
                self.long[key.decode()] = value.decode("utf-8", "replace")
            at += int(length)


def number(field: bytes) -> int:
    """Read a number of a head: octal digits, or GNU's base 256.

    Raises:
        NotRead: It is none, or below nothing.
    """
    if field[0] & 0x80:
        if field[0] & 0x40:
            raise NotRead("a number below zero")
        return int.from_bytes(bytes([field[0] & 0x3F]) + field[1:], "big")
    digits = field.strip(b" \0")
    if digits.strip(b"01234567"):
        raise NotRead("a number that is none")
    return int(digits or b"0", 8)


def is_number(digits: str) -> bool:
    """Tell whether a text is a number in decimal digits."""
    return digits.isascii() and digits.isdigit()


def text(field: bytes) -> str:
    """Read a text of a head, up to its first NUL."""
    return field.split(b"\0", 1)[0].decode("utf-8", "replace")


def clean(path: str) -> str:
    """Return a path from the root, in its shortest form and without the first slash."""
    return posixpath.normpath(f"/{path}").lstrip("/")


class Unpacker:
    """Takes a layer's bytes, plain or gzip, and gives a reader what is in them.

    A layer that cannot be read is noted in ``failed``, and the rest of it passes by: that its bytes
    are the right ones is judged by whoever streams it.

    Args:
        make: Begins a reader.
        pace: Is told how many bytes more came out, a megabyte at most; raises NotRead to end it.
    """

    def __init__(
        self, make: Callable[[], TarReader], pace: Callable[[int], None] = lambda _: None
    ) -> None:
        self.make = make
        self.pace = pace
        self.restart()

    def restart(self) -> None:
        """Start anew."""
        self.reader = self.make()
        self.failed = ""
        self.begun = b""
        self.packed = False
        self.plain = False
        self.count = 0
        self.inflate = zlib.decompressobj(31)

    def write(self, piece: bytes) -> None:
        """Take the next bytes of the layer."""
        if self.failed or self.reader.done:
            return
        try:
            if not (self.packed or self.plain):
                self.begun += piece
                if len(self.begun) < len(GZIP):
                    return
                piece, self.begun = self.begun, b""
                self.packed = piece.startswith(GZIP)
                self.plain = not self.packed
            if self.plain:
                self.pass_on(piece)
            else:
                self.unpack(piece)
        except (NotRead, zlib.error) as error:
            self.failed = str(error) or "it is no archive"

    def end(self) -> None:
        """See that all was read that there is."""
        if self.failed or self.reader.done:
            return
        half = self.begun or self.reader.skip or self.reader.buffer
        if half or (self.packed and not self.inflate.eof):
            self.failed = "it ends early"

    def unpack(self, piece: bytes) -> None:
        """Undo gzip, a bounded piece at a time."""
        while piece:
            data = self.inflate.decompress(piece, PIECE)
            self.pass_on(data)
            piece = self.inflate.unconsumed_tail
            if self.inflate.eof:
                piece = self.inflate.unused_data
                if not piece.startswith(GZIP):
                    return
                self.inflate = zlib.decompressobj(31)

    def pass_on(self, data: bytes) -> None:
        """Give the reader the next bytes of the archive."""
        self.pace(len(data))
        self.count += len(data)
        if self.count > MAX_UNPACKED_BYTES:
            raise NotRead("it grows beyond measure")
        self.reader.feed(data)
