"""Folders of this user for what can be made again; nothing here is ever needed to be there."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from away.publish.parts import Part

__all__ = ["cache_folder", "private_folder", "unpacked"]


def cache_folder() -> Path | None:
    """Return the folder for what can be made again; None where this user can write nowhere."""
    import tempfile

    import platformdirs

    wanted = Path(platformdirs.user_cache_dir("away", appauthor=False))
    # Without a home, or with one that cannot be written, a temporary folder does as well.
    temporary = Path(tempfile.gettempdir()) / f"away-{getattr(os, 'getuid', lambda: 'user')()}"
    return next((each for each in (wanted, temporary) if private_folder(each)), None)


def private_folder(folder: Path) -> bool:
    """Make a folder that only this user can write to; False if that is not what is there."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except (OSError, ValueError):
        return False
    others = stat.S_IWGRP | stat.S_IWOTH
    owned = not hasattr(os, "getuid") or (
        found.st_uid == os.getuid() and not found.st_mode & others
    )
    return stat.S_ISDIR(found.st_mode) and owned and os.access(folder, os.W_OK | os.X_OK)


def unpacked(parts: Iterable[Part], cache: Path) -> Path:
    """Write parts as files into one folder of the cache, as an image has them, and return it.

    Of an installed package it has a link, for the sake of what is compiled there already.
    """
    import shutil
    import tempfile

    chosen = tuple(parts)
    names = [f"{each.identity} {each.origin}" for each in chosen]
    target = cache / f"lib-{hashlib.sha256(' '.join(names).encode()).hexdigest()[:24]}"
    if target.is_dir():
        return target
    made = Path(tempfile.mkdtemp(dir=cache, prefix="new-"))
    try:
        for each in chosen:
            write(each, made)
        made.rename(target)
    except OSError:
        # Another process was first, and its folder is the same; anything else shows up on use.
        shutil.rmtree(made, ignore_errors=True)
    return target


def write(part: Part, folder: Path) -> None:
    """Write a part's files below a folder, or a link to the package that it is."""
    if part.origin is not None:
        (folder / part.origin.name).symlink_to(part.origin)
        return
    for path, data in part.files:
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
