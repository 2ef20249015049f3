"""Content-addressed files: what is kept under a digest, and read only if it still has it."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from typing import TYPE_CHECKING

from away.gateway.announcement import make_private

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["BlobMissing", "Blobs", "Upload", "digest_of", "is_digest"]

PIECE_BYTES = 1 << 20

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")


class BlobMissing(Exception):
    """No blob of that digest is here, or what was here had changed and was removed."""

    def __init__(self, digest: str) -> None:
        super().__init__(f"blob {digest} is not in this registry")
        self.digest = digest


def is_digest(text: str) -> bool:
    """Tell a digest as this registry takes it: sha256 alone, in lower case (OCI image spec)."""
    return _DIGEST.match(text) is not None


def digest_of(data: bytes) -> str:
    """Return the digest of some bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Upload:
    """A blob on its way in: a file that is hashed as it grows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self._hash = hashlib.sha256()
        # Kept open from piece to piece, closed by finish() or abandon().
        self._file = path.open("xb")

    def write(self, piece: bytes) -> None:
        """Add a piece."""
        self._file.write(piece)
        self._hash.update(piece)
        self.size += len(piece)

    @property
    def digest(self) -> str:
        """The digest of what came so far."""
        return "sha256:" + self._hash.hexdigest()

    def finish(self) -> None:
        """Close the file, all of it written."""
        self._file.close()

    def abandon(self) -> None:
        """Close and remove the file."""
        self._file.close()
        self.path.unlink(missing_ok=True)


class Blobs:
    """A folder of blobs; uploads go to another on the same disk and are renamed when they are right."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "sha256"
        self._uploads = folder / "uploads"
        for each in (self._folder, self._uploads):
            make_private(each)
        for left in self._uploads.iterdir():
            left.unlink()

    def path(self, digest: str) -> Path:
        """Return where a blob is, or would be."""
        assert is_digest(digest), f"{digest!r} is no digest"
        return self._folder / digest.removeprefix("sha256:")

    def size(self, digest: str) -> int | None:
        """Return a blob's size in bytes, or None where there is none."""
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError:
            return None

    def all(self) -> list[str]:
        """List the digests of what is here."""
        return [f"sha256:{each.name}" for each in self._folder.iterdir()]

    def changed(self, digest: str) -> float:
        """Return when a blob came, or was last of use; 0 where there is none."""
        try:
            return self.path(digest).stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def touch(self, digest: str) -> None:
        """Note that a blob is of use now."""
        try:
            os.utime(self.path(digest))
        except FileNotFoundError:
            pass

    def remove(self, digest: str) -> None:
        """Remove a blob, which may be gone."""
        self.path(digest).unlink(missing_ok=True)

    def verified(self, digest: str) -> Path:
        """Return a blob's file after reading it through.

        Raises:
            BlobMissing: It is not there, or is not what its digest says and was removed, so that
                the next push brings it again.
        """
        path = self.path(digest)
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            raise BlobMissing(digest) from None
        if f"sha256:{found}" != digest:
            path.unlink(missing_ok=True)
            raise BlobMissing(digest)
        return path

    def read(self, digest: str) -> bytes:
        """Return a blob's bytes, verified.

        Raises:
            BlobMissing: As :meth:`verified`.
        """
        try:
            data = self.path(digest).read_bytes()
        except FileNotFoundError:
            raise BlobMissing(digest) from None
        if digest_of(data) != digest:
            self.path(digest).unlink(missing_ok=True)
            raise BlobMissing(digest)
        return data

    def add(self, data: bytes) -> str:
        """Keep some bytes and return their digest."""
        upload = self.upload()
        upload.write(data)
        return self.keep(upload)

    def upload(self) -> Upload:
        """Begin an upload."""
        return Upload(self._uploads / secrets.token_hex(16))

    def keep(self, upload: Upload) -> str:
        """End an upload: its file becomes the blob of its digest, which is returned."""
        upload.finish()
        upload.path.replace(self.path(upload.digest))
        self.touch(upload.digest)
        return upload.digest
