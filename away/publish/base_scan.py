"""What a base image holds, for one that does not say it: its Python, C library and distributions.

The layers are read as they stream by, without being kept: names of files, links, and the one file that
says which glibc it is. What was found is kept by the manifest's digest, so that an image is read once.
"""

from __future__ import annotations

import contextlib
import json
import os
import posixpath
import re
import tempfile
import zlib
from typing import TYPE_CHECKING, NamedTuple

from away.names import printable
from away.publish.transfer import keeper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from away.connection.conversations import Conversation
    from away.publish.image import BaseImage
    from away.publish.registry import Registry
    from away.publish.transfer import Taker

__all__ = ["Contents", "Finder", "Scan", "TarReader", "scan"]

BLOCK = 512
# How gzip begins (RFC 1952).
GZIP = b"\x1f\x8b"
# What a layer may be: far beyond any base image of Python, and little enough to be read through.
MAX_LAYER_BYTES = 2 << 30
MAX_UNPACKED_BYTES = 8 << 30
MAX_MEMBERS = 1_000_000
# Of all these, so many are looked for.
MAX_ENTRIES = 50_000
# Names and links by PAX and GNU headers; a file name has 4096 bytes at most (PATH_MAX).
MAX_HEADER_BYTES = 1 << 20
# libc.so.6 has two megabytes; its version stands somewhere in it.
MAX_LIBC_BYTES = 16 << 20
PIECE = 1 << 20
# Where a shell looks for python3 when the image does not say (Docker's default).
USUAL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PYTHON = re.compile(r"python3(?:\.(\d{1,3}))?\Z")
_GLIBC = re.compile(rb"stable release version (\d{1,3})\.(\d{1,3})")
_SYMBOL = re.compile(rb"GLIBC_2\.(\d{1,3})\x00")
_NAMED = re.compile(r"(?:libc|ld)-(\d{1,3})\.(\d{1,3})\.so\Z")
_LIBRARIES = re.compile(r"(?:usr/)?lib(?:32|64|x32)?(?:/[A-Za-z0-9_-]+-linux-gnu[A-Za-z0-9]*)?\Z")
_MAX_LINKS = 16
# What an installer writes for each distribution (the database of installed distributions, PEP 376).
_INSTALLED = re.compile(
    r"(?P<site>.+/(?:site|dist)-packages)/(?P<name>[A-Za-z0-9._-]+)-(?P<version>[A-Za-z0-9._+!]+)"
    r"\.dist-info\Z"
)


class Scan(NamedTuple):
    """What was found.

    Attributes:
        python: The minor version that ``python3`` means there, ``3.11``; an empty text where there is
            none, or it was not found out.
        glibc: The version of its C library; (0, 0) for musl, None where it was not found out.
        environment: The distributions that this Python imports, versions by names.
    """

    python: str = ""
    glibc: tuple[int, int] | None = None
    environment: Mapping[str, str] = {}


class NotRead(Exception):
    """A layer is none that can be read here, or more than is read."""


class Contents:
    """The entries of an image that matter, the top layer first: what is found first is what counts."""

    def __init__(self) -> None:
        # path → where the link leads, or None for what is no link
        self.entries: dict[str, str | None] = {}
        self.glibc: dict[str, tuple[int, int]] = {}
        self.hidden: set[str] = set()
        # of the layer that is being read, which may come once more from its beginning
        self.hiding: set[str] = set()
        self.current: set[str] = set()

    def begin_layer(self) -> None:
        """Read a layer from its beginning, whatever came of it before."""
        for path in self.current:
            self.entries.pop(path, None)
            self.glibc.pop(path, None)
        self.current, self.hiding = set(), set()

    def end_layer(self) -> None:
        """Go on with the layer below: what this one took away is taken away there."""
        self.hidden |= self.hiding
        self.current, self.hiding = set(), set()

    def add(self, path: str, link: str | None) -> bool:
        """Take an entry, unless a layer above has or hides it; True where it is new.

        Raises:
            NotRead: There are more than any image has.
        """
        if len(self.entries) + len(self.hidden) + len(self.hiding) > MAX_ENTRIES:
            raise NotRead("it has too many files of that name")
        folder, _, name = path.rpartition("/")
        if name == ".wh..wh..opq":
            self.hiding.add(folder)
            return False
        if name.startswith(".wh."):
            self.hiding.add(f"{folder}/{name[4:]}".lstrip("/"))
            return False
        if path in self.entries or self.is_hidden(path):
            return False
        self.entries[path] = link
        self.current.add(path)
        return True

    def is_hidden(self, path: str) -> bool:
        """Tell whether a layer above took a path away, or a folder that it is in."""
        while path:
            if path in self.hidden:
                return True
            path = path.rpartition("/")[0]
        return False

    def resolve(self, path: str) -> str:
        """Return the path that a path means, through links of files and of folders."""
        for _ in range(_MAX_LINKS):
            parts = path.split("/")
            for depth in range(1, len(parts) + 1):
                upper = "/".join(parts[:depth])
                link = self.entries.get(upper)
                if link is not None:
                    rest = "/".join(parts[depth:])
                    base = "/" if link.startswith("/") else f"/{posixpath.dirname(upper)}"
                    path = posixpath.normpath(posixpath.join(base, link, rest)).lstrip("/")
                    break
            else:
                return path
        return path

    def python(self, search: str) -> str:
        """Return the minor version of the ``python3`` that a PATH finds first."""
        for _, path in self.pythons(search):
            match = _PYTHON.match(path.rpartition("/")[2])
            if match and match[1]:
                return f"3.{match[1]}"
            return self.beside(path)
        return ""

    def pythons(self, search: str) -> Iterator[tuple[str, str]]:
        """Give the folders of a PATH that have a ``python3``, each with the file that it means."""
        for folder in search.split(":"):
            wanted = posixpath.normpath(posixpath.join("/", folder, "python3")).lstrip("/")
            path = self.resolve(wanted)
            if path in self.entries:
                yield self.resolve(wanted.rpartition("/")[0]), path

    def environment(self, search: str) -> dict[str, str]:
        """Return the distributions that the ``python3`` of a PATH imports, versions by names."""
        folder = next((folder for folder, _ in self.pythons(search)), None)
        version = self.python(search)
        if folder is None or not version:
            return {}
        prefix = posixpath.dirname(folder)
        kinds = (f"python{version}/site", f"python{version}/dist", "python3/dist")
        sites = {f"{prefix}/lib/{kind}-packages".lstrip("/") for kind in kinds}
        if prefix == "usr":
            # Debian's own, which its python3 imports beside those of its packages.
            sites.add(f"usr/local/lib/python{version}/dist-packages")
        found = {}
        for path in self.entries:
            match = _INSTALLED.match(path.rpartition("/")[0])
            if match and match["site"] in sites:
                found[match["name"]] = match["version"]
        return dict(sorted(found.items()))

    def beside(self, path: str) -> str:
        """Return the one version whose own name stands beside a ``python3`` that is no link."""
        folder = path.rpartition("/")[0]
        found = {
            match[1]
            for each in self.entries
            if each.rpartition("/")[0] == folder
            and (match := _PYTHON.match(each.rpartition("/")[2]))
            and match[1]
        }
        return f"3.{found.pop()}" if len(found) == 1 else ""

    def c_library(self) -> tuple[int, int] | None:
        """Return glibc's version, or (0, 0) for musl; None where neither is there."""
        for path, version in self.glibc.items():
            if path in self.entries:
                return version
        for path, link in self.entries.items():
            for name in (path, link or ""):
                if match := _NAMED.match(name.rpartition("/")[2]):
                    return int(match[1]), int(match[2])
        loaders = [path.rpartition("/")[2] for path in self.entries]
        if any(name.startswith("ld-musl-") for name in loaders):
            return 0, 0
        return None


class Finder:
    """Looks at the entries of one layer and keeps those that matter."""

    def __init__(self, contents: Contents) -> None:
        self.contents = contents

    def reader(self) -> TarReader:
        """Begin a layer, or begin it anew."""
        self.contents.begin_layer()
        return TarReader(self.wants, self.read)

    def wants(self, path: str, link: str | None) -> bool:
        """Take an entry; True where its bytes are to be shown to :meth:`read`."""
        folder, _, name = path.rpartition("/")
        # Folders may be links themselves: bin → usr/bin.
        matters = _PYTHON.match(name) or name.startswith(".wh.") or (link and "/" not in path)
        library = _LIBRARIES.match(folder) is not None
        if library and (name == "libc.so.6" or name.startswith("ld-musl-") or _NAMED.match(name)):
            matters = True
        # A link's own target may have another name, as Debian's alternatives do.
        if link and not matters:
            matters = "alternatives" in folder and "python" in name
        if name == "METADATA" and _INSTALLED.match(folder):
            matters = True
        if not matters:
            return False
        new = self.contents.add(path, link)
        return new and link is None and name == "libc.so.6"

    def read(self, path: str, data: bytes) -> None:
        """Read the version in a C library."""
        if match := _GLIBC.search(data):
            self.contents.glibc[path] = int(match[1]), int(match[2])
        elif symbols := _SYMBOL.findall(data):
            self.contents.glibc[path] = 2, max(map(int, symbols))


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
        if "size" in self.long and self.long["size"].isdigit() and size:
            size = int(self.long["size"][:18])
        self.long = {}
        if kind == b"5":
            return 0
        if self.wants(path, link or None) and 0 < size <= MAX_LIBC_BYTES:
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
    """

    def __init__(self, make: Callable[[], TarReader]) -> None:
        self.make = make
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
        self.count += len(data)
        if self.count > MAX_UNPACKED_BYTES:
            raise NotRead("it grows beyond measure")
        self.reader.feed(data)


class Takers:
    """Gives the bytes of a blob to several at once."""

    def __init__(self, *takers: Taker) -> None:
        self.takers = takers

    def restart(self) -> None:
        """Have all of them start anew."""
        for each in self.takers:
            each.restart()

    def write(self, piece: bytes) -> None:
        """Give all of them the next bytes."""
        for each in self.takers:
            each.write(piece)


def scan(
    registry: Registry,
    base: BaseImage,
    cache: Path | None,
    *,
    search: str = "",
    keeping: bool = False,
) -> Conversation[Scan]:
    """Find out which Python and which C library a base image has.

    Args:
        registry: Where it is.
        base: The image.
        cache: The folder for what can be made again; None to keep nothing.
        search: The PATH by which ``python3`` is found; the image's own if left out.
        keeping: Whether the layers are kept there, on their way to another registry.

    Returns:
        What was found; nothing of an image whose layers cannot be read here.

    Raises:
        PublishFailed: The registry does not give the layers.
    """
    kept = None if cache is None else cache / "bases" / f"{base.digest.partition(':')[2]}.json"
    if kept is not None and (found := read_kept(kept)) is not None:
        return found
    contents = Contents()
    finder = Finder(contents)
    sizes = [int(layer["size"]) for layer in base.layers]
    if max(sizes, default=0) > MAX_LAYER_BYTES:
        return Scan()
    for layer, size in zip(reversed(base.layers), reversed(sizes), strict=True):
        unpacker = Unpacker(finder.reader)
        digest = str(layer["digest"])
        with keeper(cache if keeping else None, digest) as kept_too:
            takers = Takers(unpacker, *kept_too)
            yield from registry.stream(base.repository, digest, size, takers)
        unpacker.end()
        if unpacker.failed:
            return Scan()
        contents.end_layer()
    paths = search or base.variable("PATH") or USUAL_PATH
    found = Scan(contents.python(paths), contents.c_library(), contents.environment(paths))
    if kept is not None:
        keep(kept, found)
    return found


def read_kept(path: Path) -> Scan | None:
    """Read what was found before; None where nothing was, or it cannot be read."""
    try:
        data = json.loads(path.read_bytes())
        python, glibc = data["python"], data["glibc"]
        if glibc is not None:
            glibc = int(glibc[0]), int(glibc[1])
        environment = {str(name): str(version) for name, version in data["environment"].items()}
        return Scan(printable(str(python)), glibc, environment)
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        IndexError,
        AttributeError,
        RecursionError,
    ):
        return None


def keep(path: Path, found: Scan) -> None:
    """Keep what was found, whole or not at all; that it cannot be kept is no harm."""
    text = json.dumps(found._asdict())
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        os.replace(name, path)  # noqa: PTH105  # the name that mkstemp gave is text
