"""What nothing refers to any more is removed: old images, their blobs, and what they were unpacked to.

Kept is what belongs to a deployed function or to the base image, and whatever was pushed, asked for or
let go within the last hour: an image is pushed before it is deployed, and a publish that fails goes
back to the image before. An image's age is that of its manifest's file.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
import time
from typing import TYPE_CHECKING, Any

from away.gateway.base_image import MINOR, REPOSITORY
from away.gateway.blobs import BlobMissing, is_digest
from away.gateway.images import MAX_DOCUMENT_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from away.gateway.store import Store

__all__ = ["GRACE_SECONDS", "collect"]

GRACE_SECONDS = 3600.0


async def collect(store: Store) -> None:
    """Remove what is neither used nor young. Large folders are removed beside the event loop."""
    until = time.time() - GRACE_SECONDS
    blobs = store.blobs
    used = {each.digest for each in store.functions() if each.digest}
    base = store.manifest(REPOSITORY, MINOR)
    used |= {base[0]} if base else set()
    used |= {each for each in store.manifest_digests() if blobs.changed(each) > until}
    kept, unpacked = _closure(store, used)
    store.forget_manifests(store.manifest_digests() - kept)
    for digest in blobs.all():
        if digest not in kept and blobs.changed(digest) <= until:
            blobs.remove(digest)
    folders = (store.folder / "layers", store.folder / "images")
    unused = [path for folder in folders for path in _unused(folder, unpacked, until)]
    # Out of the way at once: under its own name it may come again.
    left = [path.rename(path.with_name(f".{secrets.token_hex(8)}")) for path in unused]
    for path in left:
        await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)


def _closure(store: Store, digests: set[str]) -> tuple[set[str], set[str]]:
    """Return the blobs that some images need, and the names of what they are unpacked to."""
    kept: set[str] = set()
    unpacked: set[str] = set()
    waiting = list(digests)
    while waiting:
        digest = waiting.pop()
        if digest in kept:
            continue
        kept.add(digest)
        manifest = _document(store, digest)
        waiting += _digests_in(manifest.get("manifests"))
        config = _digests_in([manifest.get("config")])
        kept.update(config, _digests_in(manifest.get("layers")))
        unpacked.add(digest)
        for each in config:
            roots = _document(store, each).get("rootfs")
            if isinstance(roots, dict) and isinstance(roots.get("diff_ids"), list):
                unpacked.update(map(str, roots["diff_ids"]))
    return kept, {each.removeprefix("sha256:") for each in unpacked}


def _document(store: Store, digest: str) -> dict[str, Any]:
    """Read a manifest or a config; what is none refers to nothing."""
    if (store.blobs.size(digest) or 0) > MAX_DOCUMENT_BYTES:
        return {}
    try:
        found = json.loads(store.blobs.read(digest))
    except (BlobMissing, OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _digests_in(descriptors: object) -> list[str]:
    found = descriptors if isinstance(descriptors, list) else []
    digests = [str(each.get("digest")) for each in found if isinstance(each, dict)]
    return [each for each in digests if is_digest(each)]


def _unused(folder: Path, unpacked: set[str], until: float) -> Iterator[Path]:
    for path in folder.iterdir() if folder.exists() else ():
        # What begins with a dot is on its way in or out, or was when a gateway was killed.
        if path.name not in unpacked and path.lstat().st_mtime <= until:
            yield path
