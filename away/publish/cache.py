"""Folders of this user for what can be made again; nothing here is ever needed to be there."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from away.publish.image import Layer, digest_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from away.publish.parts import Part

__all__ = [
    "cache_folder",
    "described",
    "keep_layer",
    "keep_layer_file",
    "kept_layer",
    "kept_layer_file",
    "private_folder",
    "read_record",
    "remove_left",
    "remove_unused",
    "unpacked",
    "used",
    "write_record",
]

# A layer that no publish asked for in so long is removed.
UNUSED_SECONDS = 60 * 24 * 3600.0
# What a publish had begun is left for good if nothing was written to it in so long.
LEFT_SECONDS = 24 * 3600.0
NOTED_SECONDS = 24 * 3600.0
CHUNK_BYTES = 1 << 20
_DESCRIBED = ("digest", "size", "diff_id", "media_type", "comment")

# Files whose digest this process has seen, by their state then: a layer may have gigabytes.
_seen: dict[Path, tuple[str, tuple[int, ...]]] = {}


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
    remove_left(cache)
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


# ---------------------------------------------------------------- layers


def keep_layer(folder: Path, name: str, layer: Layer) -> None:
    """Keep a small layer under a name; not being able to is no reason to fail."""
    assert isinstance(layer.data, bytes), "a layer in memory"
    with suppress(OSError):
        replace(folder / f"{name}.layer", layer.data)
        write_record(folder, name, described(layer))


def kept_layer(folder: Path, name: str) -> Layer | None:
    """Return a small layer that was kept under a name, if it is whole."""
    record = read_record(folder, name)
    try:
        data = (folder / f"{name}.layer").read_bytes()
        layer = Layer(data=data, **{key: record[key] for key in _DESCRIBED})
    except (OSError, KeyError, TypeError):
        return None
    if digest_of(data) != layer.digest:
        return None
    used(folder, f"{name}.layer", f"{name}.json")
    return layer


def keep_layer_file(folder: Path, layer: Layer) -> Layer:
    """Move a layer's file to where its digest names it, for it may have several names."""
    assert isinstance(layer.data, Path), "a layer in a file"
    place = folder / f"{layer.digest.partition(':')[2]}.layer"
    layer.data.replace(place)
    # Its digest was taken as it was written.
    _seen[place] = (layer.digest, state_of(place))
    return layer._replace(data=place)


def kept_layer_file(folder: Path, said: Mapping[str, Any]) -> Layer | None:
    """Return a layer that was kept in a file, if the file still has its size and digest.

    Args:
        folder: The cache.
        said: What :func:`described` told of the layer.
    """
    try:
        layer = Layer(data=b"", **{key: said[key] for key in _DESCRIBED})
        place = folder / f"{layer.digest.partition(':')[2]}.layer"
        whole = place.stat().st_size == layer.size and file_digest(place) == layer.digest
    except (OSError, KeyError, TypeError, AttributeError):
        return None
    if not whole:
        return None
    used(folder, place.name)
    return layer._replace(data=place)


def described(layer: Layer) -> dict[str, Any]:
    """Return what is written of a layer beside its bytes."""
    return {key: getattr(layer, key) for key in _DESCRIBED}


def file_digest(path: Path) -> str:
    """Return a file's digest, read anew only where the file is another than it was."""
    state = state_of(path)
    known = _seen.get(path)
    if known is None or known[1] != state:
        total = hashlib.sha256()
        with path.open("rb") as file:
            while piece := file.read(CHUNK_BYTES):
                total.update(piece)
        known = _seen[path] = (f"sha256:{total.hexdigest()}", state)
    return known[0]


def state_of(path: Path) -> tuple[int, ...]:
    """Return what of a file changes whenever it is written to."""
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def read_record(folder: Path, name: str) -> dict[str, Any]:
    """Read what was written under a name; nothing where there is none, or it is damaged."""
    try:
        found = json.loads((folder / f"{name}.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def write_record(folder: Path, name: str, said: Mapping[str, Any]) -> None:
    """Write something under a name, whole or not at all."""
    replace(folder / f"{name}.json", json.dumps(said, sort_keys=True).encode())


def replace(place: Path, data: bytes) -> None:
    """Write a file beside its place and move it there, since others may be reading."""
    fresh = place.with_name(f".{place.name}.{os.getpid()}.{time.monotonic_ns()}")
    try:
        fresh.write_bytes(data)
        fresh.replace(place)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise


def used(folder: Path, *names: str) -> None:
    """Note that files are still of use; by the day, since another state of a file is read anew."""
    for name in names:
        with suppress(OSError):
            if (folder / name).stat().st_mtime < time.time() - NOTED_SECONDS:
                os.utime(folder / name)


def remove_unused(folder: Path, seconds: float = UNUSED_SECONDS) -> None:
    """Remove what no publish has asked for in a long time, and what interrupted ones left behind."""
    before = time.time() - seconds
    for pattern in ("*.layer", "shared-*.json", "requirements-*.json", ".*.layer.*", ".*.json.*"):
        for place in folder.glob(pattern):
            with suppress(OSError):
                if place.stat().st_mtime < before:
                    place.unlink()
    remove_left(folder)


def remove_left(folder: Path, seconds: float = LEFT_SECONDS) -> None:
    """Remove what publishes had begun and did not end; those that still run write all the time."""
    import shutil

    before = time.time() - seconds
    for pattern in ("new-*", "wheels-*", "site-*"):
        for place in folder.glob(pattern):
            if newest(place) < before and not place.is_symlink():
                shutil.rmtree(place, ignore_errors=True)
    # Layers on their way to another registry, and what is being written there.
    for pattern in ("*.layer", "tmp*"):
        for place in (folder / "bases").glob(pattern):
            if newest(place) < before:
                with suppress(OSError):
                    place.unlink()


def newest(place: Path) -> float:
    """Return when a file, or something in a folder, was last written; links are not followed.

    What another publish renames or removes meanwhile is passed over; infinity for what is gone whole.
    """
    times = []
    # Not by rglob, which raises for a folder that goes while it is read.
    inside = (Path(where, name) for where, _, names in os.walk(place) for name in (".", *names))
    for each in (place, *inside):
        with suppress(OSError):
            times.append(each.lstat().st_mtime)
    return max(times, default=float("inf"))
