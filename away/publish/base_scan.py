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
from typing import TYPE_CHECKING, NamedTuple

from away.exceptions import PublishFailed
from away.names import printable
from away.publish.beside import Beside
from away.publish.following import following
from away.publish.tar_stream import NotRead, TarReader, Unpacker
from away.publish.transfer import keeper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from away.connection.conversations import Conversation, Deadline
    from away.publish.following import Follower
    from away.publish.image import BaseImage
    from away.publish.registry import Registry
    from away.publish.transfer import Taker

__all__ = ["Contents", "Finder", "Scan", "scan"]

# What a layer may be: far beyond any base image of Python, and little enough to be read through.
MAX_LAYER_BYTES = 2 << 30
# Of all entries of an image, so many are looked for.
MAX_ENTRIES = 50_000
# Of a whole image: more than any has, and less than takes minutes.
MAX_LAYERS = 500
MAX_MEMBERS = 1_000_000
MAX_IMAGE_BYTES = 16 << 30
# What a path can be (PATH_MAX and NAME_MAX of Linux), and how deep; a PATH names some folders.
MAX_PATH = 4096
MAX_NAME = 255
MAX_PARTS = 256
MAX_SEARCHED = 64
# Where a shell looks for python3 when the image does not say (Docker's default).
USUAL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PYTHON = re.compile(r"python3(?:\.(\d{1,3}))?\Z")
_GLIBC = re.compile(rb"stable release version (\d{1,3})\.(\d{1,3})")
_SYMBOL = re.compile(rb"GLIBC_2\.(\d{1,3})\x00")
_NAMED = re.compile(r"(?:libc|ld)-(\d{1,3})\.(\d{1,3})\.so\Z")
_LIBRARIES = re.compile(r"(?:usr/)?lib(?:32|64|x32)?(?:/[A-Za-z0-9_-]+-linux-gnu[A-Za-z0-9]*)?\Z")
_MAX_LINKS = 16
# What an installer writes for each distribution (the database of installed distributions, PEP 376).
_SITE_FOLDERS = ("/site-packages", "/dist-packages")
_DISTRIBUTION = re.compile(r"([A-Za-z0-9._-]+)-([A-Za-z0-9._+!]+)\Z")
_MINOR = re.compile(r"(?:3\.[0-9]{1,3})?\Z")


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
            if len(path) > MAX_PATH or len(parts) > MAX_PARTS:
                return path  # nothing can be there
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
        for folder in search.split(":", MAX_SEARCHED)[:MAX_SEARCHED]:
            if len(folder) > MAX_PATH:
                continue
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
            installed = installed_in(path.rpartition("/")[0])
            if installed and installed[0] in sites:
                found[installed[1]] = installed[2]
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
        self.members = 0

    def reader(self) -> TarReader:
        """Begin a layer, or begin it anew."""
        self.contents.begin_layer()
        return TarReader(self.wants, self.read)

    def wants(self, path: str, link: str | None) -> bool:
        """Take an entry; True where its bytes are to be shown to :meth:`read`.

        Raises:
            NotRead: The image has more entries than any.
        """
        self.members += 1
        if self.members > MAX_MEMBERS:
            raise NotRead("it has too many files")
        if not is_path(path) or (link and len(link) > MAX_PATH):
            return False
        folder, _, name = path.rpartition("/")
        # Folders may be links themselves: bin → usr/bin.
        matters = _PYTHON.match(name) or name.startswith(".wh.") or (link and "/" not in path)
        library = _LIBRARIES.match(folder) is not None
        if library and (name == "libc.so.6" or name.startswith("ld-musl-") or _NAMED.match(name)):
            matters = True
        # A link's own target may have another name, as Debian's alternatives do.
        if link and not matters:
            matters = "alternatives" in folder and "python" in name
        if name == "METADATA" and installed_in(folder):
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


def is_path(path: str) -> bool:
    """Tell whether a file of an image can have that path."""
    if len(path) <= MAX_NAME:
        return True
    if len(path) > MAX_PATH or path.count("/") >= MAX_PARTS:
        return False
    return all(len(each) <= MAX_NAME for each in path.split("/"))


def installed_in(folder: str) -> tuple[str, str, str] | None:
    """Take the folder of a distribution's metadata apart: its site, name and version."""
    site, _, last = folder.rpartition("/")
    if not last.endswith(".dist-info") or not site.endswith(_SITE_FOLDERS):
        return None
    match = _DISTRIBUTION.match(last.removesuffix(".dist-info"))
    return (site, match[1], match[2]) if match else None


class Pace:
    """Ends what takes too long, or grows beyond measure.

    Args:
        deadline: Until when it may take; None for no limit.
    """

    def __init__(self, deadline: Deadline | None) -> None:
        self.deadline = deadline
        self.late = False
        self.stopped = False
        self.count = 0

    def __call__(self, count: int) -> None:
        """Go on with so many bytes more.

        Raises:
            NotRead: That is too much, or too late.
        """
        self.count += count
        self.late = self.deadline is not None and self.deadline.remaining() <= 0
        if self.stopped or self.late or self.count > MAX_IMAGE_BYTES:
            raise NotRead("it grows beyond measure")


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
    reading: Callable[[], None] | None = None,
    deadline: Deadline | None = None,
) -> Conversation[Scan]:
    """Find out which Python and which C library a base image has.

    Args:
        registry: Where it is.
        base: The image.
        cache: The folder for what can be made again; None to keep nothing.
        search: The PATH by which ``python3`` is found; the image's own if left out.
        keeping: Whether the layers are kept there, on their way to another registry.
        reading: Called before they are read, where that is not known from another time.
        deadline: Until when it may take; None for no limit.

    Returns:
        What was found; nothing of an image whose layers cannot be read here.

    Raises:
        PublishFailed: The registry does not give the layers, or there was no time to read them.
    """
    kept = None if cache is None else cache / "bases" / f"{base.digest.partition(':')[2]}.json"
    if kept is not None and (found := read_kept(kept)) is not None:
        return found
    contents = Contents()
    finder = Finder(contents)
    sizes = [int(layer["size"]) for layer in base.layers]
    if max(sizes, default=0) > MAX_LAYER_BYTES or len(sizes) > MAX_LAYERS:
        return Scan()
    pace = Pace(deadline)
    if reading is not None:
        reading()
    for layer, size in zip(reversed(base.layers), reversed(sizes), strict=True):
        unpacker = Unpacker(finder.reader, pace)
        digest = str(layer["digest"])
        # Read beside, for unpacking takes seconds that an event loop has not.
        with (
            keeper(cache if keeping else None, digest) as kept_too,
            beside(unpacker, pace, cache) as follower,
        ):
            takers = Takers(follower, *kept_too)
            yield from registry.stream(base.repository, digest, size, takers)
            yield from follower.finish()
        unpacker.end()
        if pace.late and deadline is not None:
            raise PublishFailed(
                f"the base image {printable(base.repository)} was not read through within"
                f" publish_timeout={deadline.seconds:g} seconds; allow more, or pass another base_image=",
                step="base image",
            )
        if unpacker.failed:
            return Scan()
        contents.end_layer()
    paths = search or base.variable("PATH") or USUAL_PATH
    found = yield from Beside(lambda: conclusion(contents, paths)).result()
    if kept is not None:
        keep(kept, found)
    return found


@contextlib.contextmanager
def beside(unpacker: Unpacker, pace: Pace, folder: Path | None) -> Iterator[Follower]:
    """Have a thread unpack a layer as it comes, and end that at once where it is given up."""
    with following(unpacker, folder) as follower:
        try:
            yield follower
        except BaseException:
            pace.stopped = True
            raise


def conclusion(contents: Contents, search: str) -> Scan:
    """Say what the entries of an image come to."""
    return Scan(contents.python(search), contents.c_library(), contents.environment(search))


def read_kept(path: Path) -> Scan | None:
    """Read what was found before; None where nothing was, or it cannot be read."""
    try:
        data = json.loads(path.read_bytes())
        python, glibc = data["python"], data["glibc"]
        if glibc is not None:
            glibc = int(glibc[0]), int(glibc[1])
        environment = {str(name): str(version) for name, version in data["environment"].items()}
        if not _MINOR.match(python):
            return None
        return Scan(python, glibc, environment)
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        IndexError,
        AttributeError,
        OverflowError,
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
