"""Bytes on their way from and to a registry: never whole in memory, and checked as they pass.

What comes is counted and hashed while it comes, so that an endless or a wrong body ends at once.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

from away.exceptions import PublishFailed
from away.names import printable
from away.publish.cache import remove_left

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from away.connection.conversations import Reply

__all__ = ["CheckedBlob", "FileTaker", "Small", "Taker", "Upload", "drop", "keeper", "kept"]

CHUNK_BYTES = 1 << 20


class Taker(Protocol):
    """What the bytes of a blob go to."""

    def restart(self) -> None:
        """Forget what came: it comes once more from the beginning."""

    def write(self, piece: bytes, /) -> object:
        """Take the next bytes."""


class FileTaker:
    """A file that takes the bytes of a blob."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file

    def restart(self) -> None:
        """Empty the file."""
        self.file.seek(0)
        self.file.truncate()

    def write(self, piece: bytes) -> None:
        """Write the next bytes.

        Raises:
            PublishFailed: There is no room for them.
        """
        try:
            self.file.write(piece)
        except OSError as error:
            raise PublishFailed(
                f"a layer of the base image cannot be kept for its way: {error.strerror}; make room,"
                " or set TMPDIR to a folder that has some",
                step="push",
            ) from error


def place_of(folder: Path, digest: str) -> Path:
    """Return where a layer is kept on its way from one registry to another."""
    return folder / "bases" / f"{digest.partition(':')[2]}.layer"


@contextlib.contextmanager
def keeper(folder: Path | None, digest: str) -> Iterator[list[FileTaker]]:
    """Give what keeps a layer for :func:`kept`, once it came whole; nothing without a folder."""
    if folder is None:
        yield []
        return
    remove_left(folder)
    place = place_of(folder, digest)
    place.parent.mkdir(mode=0o700, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=place.parent, delete=False) as file:
        try:
            yield [FileTaker(file)]
            file.flush()
            Path(file.name).replace(place)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


def kept(folder: Path | None, digest: str) -> Path | None:
    """Return the file in which a layer was kept, if its bytes are still the right ones."""
    if folder is None:
        return None
    place = place_of(folder, digest)
    try:
        with place.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
    if f"sha256:{found}" != digest:
        return None
    with contextlib.suppress(OSError):
        os.utime(place)  # it is in use, and no leftover
    return place


def drop(folder: Path | None, digest: str) -> None:
    """Remove a layer that was kept, now that it is where it was to go."""
    if folder is not None:
        with contextlib.suppress(OSError):
            place_of(folder, digest).unlink(missing_ok=True)


def announced(reply: Reply) -> int | None:
    """Return the length that an answer says its body has, where it says one."""
    text = str(reply.headers.get("Content-Length") or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


class Small:
    """A sink for what has to be small, such as a manifest; ``data`` is what came.

    Args:
        most: How many bytes it may have.
        what: What it is, for the error: ``the manifest of x at the registry y``.
    """

    def __init__(self, most: int, what: str) -> None:
        self.most = most
        self.what = what
        self.pieces: list[bytes] = []
        self.size = 0

    def begin(self, reply: Reply) -> None:
        """Start anew, unless the head already says too much."""
        self.pieces, self.size = [], 0
        if (announced(reply) or 0) > self.most:
            raise self.too_large()

    def write(self, piece: bytes) -> None:
        """Take the next bytes."""
        self.size += len(piece)
        if self.size > self.most:
            raise self.too_large()
        self.pieces.append(piece)

    def too_large(self) -> PublishFailed:
        """Make the error for a body that goes on."""
        return PublishFailed(
            f"{self.what} has more than the {self.most} bytes that it may have; it is none, or its"
            " server is broken",
            step="registry",
        )

    @property
    def data(self) -> bytes:
        """What came."""
        return b"".join(self.pieces)


class CheckedBlob:
    """A sink for a blob: its size and digest are checked while it passes on to what takes it.

    Args:
        digest: What its bytes have to hash to.
        size: How many bytes it has; None where nobody said.
        taker: What its bytes go to.
        registry: Whose bytes they are, for errors.
    """

    def __init__(self, digest: str, size: int | None, taker: Taker, registry: str) -> None:
        self.digest = digest
        self.size = size
        self.taker = taker
        self.registry = registry
        self.hash = hashlib.sha256()
        self.count = 0

    def begin(self, reply: Reply) -> None:
        """Start anew, unless the head already says another size."""
        self.hash, self.count = hashlib.sha256(), 0
        self.taker.restart()
        length = announced(reply)
        encoded = reply.headers.get("Content-Encoding")
        if self.size is not None and length not in (None, self.size) and not encoded:
            raise self.wrong(f"says that it has {length} bytes and not {self.size}")

    def write(self, piece: bytes) -> None:
        """Take the next bytes."""
        self.count += len(piece)
        if self.size is not None and self.count > self.size:
            raise self.wrong(f"gives more than the {self.size} bytes that the manifest says")
        self.hash.update(piece)
        self.taker.write(piece)

    def finish(self) -> None:
        """See that all came, and that it is what was asked for.

        Raises:
            PublishFailed: It is something else.
        """
        if self.size is not None and self.count < self.size:
            raise self.wrong(f"gave {self.count} bytes of {self.size}")
        if f"sha256:{self.hash.hexdigest()}" != self.digest:
            raise self.wrong("gave other bytes than that digest names")

    def wrong(self, why: str) -> PublishFailed:
        """Make the error for a blob that is not what its name says."""
        return PublishFailed(
            f"the registry {self.registry} {why}: {printable(self.digest)[:80]}; clear what caches"
            " it, or push that image anew",
            step="push",
        )


class Upload:
    """A body to upload piece by piece; each iteration starts anew, so a request can be repeated.

    Args:
        source: The bytes, the file that holds them by its path, or the open file.
        sent: Is told how many bytes more have gone out; fewer than none when they go once more.
    """

    def __init__(
        self, source: bytes | Path | IO[bytes], sent: Callable[[int], None] | None = None
    ) -> None:
        self.source = source
        self.sent = sent
        self.told = 0

    @property
    def size(self) -> int:
        """How many bytes there are."""
        if isinstance(self.source, bytes):
            return len(self.source)
        if isinstance(self.source, Path):
            return self.source.stat().st_size
        return self.source.seek(0, io.SEEK_END)

    def __iter__(self) -> Iterator[bytes]:
        self.tell(-self.told)
        if isinstance(self.source, Path):
            with self.source.open("rb") as file:
                yield from self.pieces(file)
            return
        whole = io.BytesIO(self.source) if isinstance(self.source, bytes) else self.source
        whole.seek(0)
        yield from self.pieces(whole)

    def pieces(self, file: IO[bytes]) -> Iterator[bytes]:
        """Give a file's bytes; a piece counts as sent when the next one is asked for."""
        while piece := file.read(CHUNK_BYTES):
            yield piece
            self.tell(len(piece))

    def tell(self, count: int) -> None:
        """Tell how many bytes more have gone out."""
        self.told += count
        if self.sent is not None and count:
            self.sent(count)
