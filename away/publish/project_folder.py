"""Write a project into a folder without losing what is not ours there.

A list of what was written, with digests, lies in the folder: by it a later export knows its own files.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from away.exceptions import PublishFailed
from away.names import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LIST", "ProjectFolder"]

LIST = ".away-export.json"
FILE_MODE, FOLDER_MODE = 0o644, 0o755


class ProjectFolder:
    """A folder that a project is written into.

    Args:
        folder: Where; it is made if need be.
        force: Whether it may have something in it already.

    Raises:
        PublishFailed: It has something in it, or is no folder.
    """

    def __init__(self, folder: Path, *, force: bool) -> None:
        self.folder = folder
        if folder.exists() and not folder.is_dir():
            raise refused(f"{shown(folder)} is a file; name a folder")
        try:
            occupied = folder.is_dir() and any(folder.iterdir())
        except OSError as error:
            raise refused(f"{shown(folder)} cannot be read: {error.strerror}") from error
        if occupied and not force:
            raise refused(
                f"{shown(folder)} is not empty; name another folder, or let --force (force=True)"
                " replace what an export wrote there"
            )
        self.written = self.read_list()

    def read_list(self) -> dict[str, str]:
        """Return what an earlier export wrote: digests by paths."""
        try:
            found = json.loads((self.folder / LIST).read_text(encoding="utf-8"))["files"]
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            return {}
        if not isinstance(found, dict):
            return {}
        return {str(path): str(digest) for path, digest in found.items() if is_inside(str(path))}

    def is_ours(self, path: str) -> bool:
        """Tell whether an earlier export wrote a file."""
        return path in self.written

    def read(self, path: str) -> bytes | None:
        """Return what a file of an earlier export holds now; None where there is none."""
        try:
            ours = self.is_ours(path) and self.link_on_the_way(path) is None
            return (self.folder / path).read_bytes() if ours else None
        except OSError:
            return None

    def write(self, files: Mapping[str, bytes], *, kept: tuple[str, ...] = ()) -> None:
        """Write files, and remove those of an earlier export that are no part of this one.

        Args:
            files: What to write, by paths with slashes.
            kept: Folders of an earlier export that stay as they are.

        Raises:
            PublishFailed: A file of somebody else's is in the way, or cannot be written.
        """
        for path in files:
            self.check(path)
        stale = [
            path
            for path, digest in self.written.items()
            if path not in files and not path.startswith(kept) and self.is_unchanged(path, digest)
        ]
        digests = {path: digest for path, digest in self.written.items() if path not in stale}
        digests |= {path: digest_of(data) for path, data in files.items()}
        listed = json.dumps({"files": dict(sorted(digests.items()))}, indent=1) + "\n"
        try:
            for path in stale:
                (self.folder / path).unlink()
            for path, data in files.items():
                self.put(path, data)
            self.put(LIST, listed.encode())
        except OSError as error:
            raise refused(f"{shown(self.folder)} cannot be written: {error}") from error

    def check(self, path: str) -> None:
        """Refuse to replace what no export wrote, or to write through a link."""
        place = self.folder / path
        if (link := self.link_on_the_way(path)) is not None:
            raise refused(f"{shown(link)} is a link, through which nothing is written; remove it")
        if place.exists() and (place.is_dir() or not self.is_ours(path)):
            raise refused(
                f"{shown(place)} was not written by an export, and is not replaced; move it, or name"
                " another folder"
            )

    def is_unchanged(self, path: str, digest: str) -> bool:
        """Tell whether a file still is what an export wrote."""
        if self.link_on_the_way(path) is not None:
            return False  # the list may be another's, and what it leads to too
        try:
            return digest_of((self.folder / path).read_bytes()) == digest
        except OSError:
            return False

    def link_on_the_way(self, path: str) -> Path | None:
        """Return the link, at a path or above it in the folder, that leads elsewhere."""
        place = self.folder / path
        ways = [place, *place.parents]
        return next((each for each in ways[: ways.index(self.folder)] if each.is_symlink()), None)

    def put(self, path: str, data: bytes) -> None:
        """Write one file, readable for whichever user an image runs as."""
        place = self.folder / path
        missing = [each for each in place.parents if not each.exists()]
        place.parent.mkdir(parents=True, exist_ok=True)
        for each in missing:
            each.chmod(FOLDER_MODE)
        place.write_bytes(data)
        place.chmod(FILE_MODE)


def is_inside(path: str) -> bool:
    """Tell whether a listed path stays in the folder."""
    parts = PurePosixPath(path).parts
    return bool(parts) and ".." not in parts and not path.startswith("/") and "\0" not in path


def digest_of(data: bytes) -> str:
    """Return the sha256 of a file's bytes."""
    return hashlib.sha256(data).hexdigest()


def shown(path: Path) -> str:
    """Return a path for people."""
    return printable(str(path))


def refused(message: str) -> PublishFailed:
    """Make the error of an export; nothing was written where a check raises it."""
    return PublishFailed(message, step="export")
