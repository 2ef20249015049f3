"""Images: read from the registry's blobs, checked, and unpacked into folders that are kept.

A layer is unpacked once and an image is put together from its layers by hard links, so that a new
function which shares its runtime with ten others costs a few milliseconds. Nothing here trusts an
image: bytes are checked against their digests, names against the folder that they must stay in, and
sizes against limits.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import secrets
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from away.gateway.announcement import make_private
from away.gateway.base_image import ARCHITECTURES
from away.gateway.blobs import BlobMissing, is_digest
from away.gateway.layers import LayerRefused, check_links, unpack

if TYPE_CHECKING:
    from away.gateway.blobs import Blobs

__all__ = ["Image", "ImageRefused", "Images"]

# Documents are read whole; OCI registries take manifests of 4 MB.
MAX_DOCUMENT_BYTES = 4 * 1024 * 1024
MAX_LAYERS = 128
INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)


class ImageRefused(Exception):
    """An image that cannot be used here; the text says why, in one sentence."""


@dataclass(frozen=True, slots=True)
class Image:
    """What an image's manifest and config say."""

    digest: str
    env: dict[str, str]
    command: tuple[str, ...]
    working_folder: str
    # (media type, digest of the blob, digest of the tar in it), the lowest first
    layers: tuple[tuple[str, str, str], ...]
    labels: dict[str, str] = field(default_factory=dict)


class Images:
    """Reads images from blobs and unpacks them under a folder."""

    def __init__(self, blobs: Blobs, folder: Path) -> None:
        self._blobs = blobs
        self._layers = folder / "layers"
        self._roots = folder / "images"
        for each in (self._layers, self._roots):
            make_private(each)
        self._locks: dict[str, asyncio.Lock] = {}

    def read(self, digest: str) -> Image:
        """Read an image by its manifest's digest, or by that of an index that has one for here.

        Raises:
            ImageRefused: A blob is missing, or the documents are not those of an image.
        """
        manifest = self._document(digest)
        if manifest.get("mediaType") in INDEXES or "manifests" in manifest:
            digest = _for_this_platform(manifest)
            manifest = self._document(digest)
        config = self._document(_digest_in(manifest.get("config"), "config"))
        try:
            return _image(digest, manifest, config)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ImageRefused(f"the image's manifest or config is malformed ({error})") from error

    async def root(self, image: Image) -> Path:
        """Return the folder that has the image's files, unpacked at the first time.

        Raises:
            ImageRefused: A layer is missing, malformed, over a limit, or reaches out of the folder.
        """
        name = image.digest.removeprefix("sha256:")
        root = self._roots / name
        async with self._lock(image.digest):
            if not root.exists():
                for layer in image.layers:
                    await self._layer(*layer)
                await asyncio.to_thread(self._put_together, image, root)
        return root

    def _lock(self, digest: str) -> asyncio.Lock:
        return self._locks.setdefault(digest, asyncio.Lock())

    async def _layer(self, media_type: str, digest: str, diff_id: str) -> None:
        folder = self._layers / diff_id.removeprefix("sha256:")
        async with self._lock(diff_id):
            if not folder.exists():
                await asyncio.to_thread(self._unpack, folder, media_type, digest, diff_id)

    def _unpack(self, folder: Path, media_type: str, digest: str, diff_id: str) -> None:
        beside = self._layers / f".{secrets.token_hex(8)}"
        try:
            unpack(self._blobs.verified(digest), media_type, diff_id, beside)
            beside.rename(folder)
        except (LayerRefused, BlobMissing, OSError) as error:
            raise ImageRefused(f"layer {digest[:19]}… cannot be unpacked: {error}") from error
        finally:
            shutil.rmtree(beside, ignore_errors=True)

    def _put_together(self, image: Image, root: Path) -> None:
        beside = self._roots / f".{secrets.token_hex(8)}"
        try:
            beside.mkdir(mode=0o755)
            for _, _, diff_id in image.layers:
                lay_over(beside, self._layers / diff_id.removeprefix("sha256:"))
            # Those of one layer may lead out over those of another.
            check_links(beside)
            beside.rename(root)
        except (LayerRefused, OSError) as error:
            raise ImageRefused(f"the image's layers cannot be put together: {error}") from error
        finally:
            shutil.rmtree(beside, ignore_errors=True)

    def _document(self, digest: str) -> dict[str, Any]:
        if (self._blobs.size(digest) or 0) > MAX_DOCUMENT_BYTES:
            raise ImageRefused(f"the document {digest[:19]}… is too large")
        try:
            found = json.loads(self._blobs.read(digest))
        except BlobMissing as error:
            raise ImageRefused(f"{error}: push the image again") from error
        except (ValueError, RecursionError) as error:
            raise ImageRefused(f"the document {digest[:19]}… is not JSON") from error
        if not isinstance(found, dict):
            raise ImageRefused(f"the document {digest[:19]}… is not a JSON object")
        return found


def lay_over(root: Path, layer: Path) -> None:
    """Put one unpacked layer over what is in a folder (OCI image spec, "Applying Changesets")."""
    for name in json.loads((layer / "removed.json").read_text()):
        _remove_below(root, name)
    tree = layer / "tree"
    for folder, folders, files in os.walk(tree):
        below = os.path.relpath(folder, tree)
        for name in list(folders):
            source = Path(folder, name)
            if source.is_symlink():
                files.append(name)
            else:
                _make_folder(root / below / name)
        for name in files:
            _link(Path(folder, name), root / below / name)


def _make_folder(path: Path) -> None:
    # Never through a link of a lower layer: a folder takes the link's place.
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        path.mkdir(mode=0o755)


def _link(source: Path, path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    try:
        os.link(source, path, follow_symlinks=False)
    except OSError:
        # A file system without hard links.
        shutil.copy2(source, path, follow_symlinks=False)


def _remove_below(root: Path, name: str) -> None:
    """Remove what a whiteout names; a name that ends in ``/`` is a folder to be emptied."""
    path = root
    for part in name.rstrip("/").split("/"):
        if path.is_symlink():
            return
        path = path / part
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        shutil.rmtree(path)


def _digest_in(descriptor: Any, what: str) -> str:
    digest = descriptor.get("digest") if isinstance(descriptor, dict) else None
    if not isinstance(digest, str) or not is_digest(digest):
        raise ImageRefused(f"the image's manifest names no {what} by a sha256 digest")
    return digest


def _for_this_platform(index: dict[str, Any]) -> str:
    machine = platform.machine().lower()
    wanted = ARCHITECTURES.get(machine, machine)
    seen = []
    for each in index.get("manifests") or []:
        found = each.get("platform") if isinstance(each, dict) else None
        found = found if isinstance(found, dict) else {}
        seen.append(f"{found.get('os')}/{found.get('architecture')}")
        if seen[-1] == f"linux/{wanted}":
            return _digest_in(each, "manifest")
    raise ImageRefused(f"the image is for {', '.join(seen) or 'nothing'}, not for linux/{wanted}")


def _image(digest: str, manifest: dict[str, Any], config: dict[str, Any]) -> Image:
    settings = config.get("config") or {}
    layers = manifest["layers"]
    diff_ids = [str(each) for each in config["rootfs"]["diff_ids"]]
    if len(layers) != len(diff_ids) or len(layers) > MAX_LAYERS:
        raise ImageRefused(
            f"the image has {len(layers)} layers and its config says {len(diff_ids)};"
            f" they must agree and be at most {MAX_LAYERS}"
        )
    if not all(map(is_digest, diff_ids)):
        raise ImageRefused("the image's config names a layer by something else than sha256")
    command = [*(settings.get("Entrypoint") or []), *(settings.get("Cmd") or [])]
    pairs = [str(each).partition("=") for each in settings.get("Env") or []]
    return Image(
        digest=digest,
        env={name: value for name, _, value in pairs if name},
        command=tuple(str(each) for each in command),
        working_folder=str(settings.get("WorkingDir") or "/"),
        layers=tuple(
            (str(layer.get("mediaType")), _digest_in(layer, "layer"), diff_id)
            for layer, diff_id in zip(layers, diff_ids, strict=True)
        ),
        labels={str(key): str(each) for key, each in (settings.get("Labels") or {}).items()},
    )
