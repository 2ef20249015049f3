"""Layers, configuration and manifest of an image, as bytes that are the same wherever they are made.

Pure: files and a base image come in as values, an image comes out. It knows neither a registry nor
a function nor a clock. The formats are those of the OCI image specification and, where the base
image is one, of Docker's "image manifest version 2, schema 2"; the two are never mixed in one
manifest, which engines take badly.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

from away.exceptions import PublishFailed
from away.names import printable
from away.publish.compiled import beside_source
from away.publish.manifests import check_shapes, strict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path
    from typing import Self

__all__ = [
    "DOCKER_INDEX",
    "DOCKER_MANIFEST",
    "MANIFEST_TYPES",
    "OCI_INDEX",
    "OCI_MANIFEST",
    "BaseImage",
    "Image",
    "Inflated",
    "Layer",
    "assemble",
    "digest_of",
    "make_layer",
    "make_layer_file",
    "read_base",
    "tar",
]

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
MANIFEST_TYPES = (OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_INDEX)

BASE_ANNOTATION = "org.opencontainers.image.base"

# An image has no date of its own: with one, the same function would be another image every time.
EPOCH = "1970-01-01T00:00:00Z"
# tar cannot say "no time"; zip-based tools dislike dates before 1980, so not the epoch here.
FILE_TIME = 315532800
# Below this a plain tar is sent: its bytes do not depend on the zlib that this Python was built
# with, and the network does not notice the difference.
PLAIN_LIMIT_BYTES = 1_000_000
FOLDER_MODE, FILE_MODE = 0o755, 0o644
# What Docker gives a container whose image does not say where programs are.
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CHUNK_BYTES = 1 << 20
# How a member of gzip begins: no name, no time, no system (RFC 1952, 2.3).
GZIP_HEAD = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"


class Layer(NamedTuple):
    """One layer: ``data`` is its bytes, or the file that holds them."""

    digest: str
    size: int
    diff_id: str
    media_type: str
    data: bytes | Path
    comment: str

    def __repr__(self) -> str:
        return f"<Layer {self.comment}: {self.size} bytes, {self.digest}>"


class BaseImage(NamedTuple):
    """An image to stand on: where it was found, its manifest and its configuration."""

    repository: str
    digest: str
    manifest: dict[str, Any]
    config: dict[str, Any]
    docker: bool

    @property
    def labels(self) -> dict[str, str]:
        """The labels of its configuration."""
        labels = (self.config.get("config") or {}).get("Labels") or {}
        return {str(name): str(value) for name, value in labels.items()}

    @property
    def architecture(self) -> str:
        """The processor it is for, by Go's names: ``amd64``, ``arm64``."""
        return str(self.config.get("architecture", ""))

    @property
    def machine(self) -> tuple[str, str, str]:
        """The system, processor and variant that it is for, each an empty text where it does not say."""
        found = [self.config.get(key) for key in ("os", "architecture", "variant")]
        system, processor, variant = (each if isinstance(each, str) else "" for each in found)
        return system, processor, variant

    @property
    def layers(self) -> list[dict[str, Any]]:
        """The descriptors of its layers, the lowest first."""
        return list(self.manifest.get("layers") or [])

    def variable(self, name: str) -> str:
        """Return a variable of its environment, or an empty text."""
        for each in (self.config.get("config") or {}).get("Env") or []:
            if str(each).startswith(f"{name}="):
                return str(each)[len(name) + 1 :]
        return ""


class Image(NamedTuple):
    """An image ready to be pushed: exact bytes, since a manifest's digest is its name."""

    manifest: bytes
    media_type: str
    digest: str
    config: bytes
    config_digest: str
    layers: tuple[Layer, ...]


def digest_of(data: bytes) -> str:
    """Return the digest by which registries name these bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def tar(files: Iterable[tuple[str, bytes]], folders: Iterable[str] = ()) -> bytes:
    """Write files into an archive whose bytes depend on their names and contents alone.

    Args:
        files: Paths relative to the root, ``opt/away/…``, each with its bytes.
        folders: Folders to make even where they hold no file.

    Returns:
        A PAX archive (POSIX.1-2001): sorted, owned by root, modes 0755 and 0644, one fixed time.
        A compiled file stands behind its source.
    """
    buffer = io.BytesIO()
    write_tar(buffer, sorted(files, key=beside_source), folders)
    return buffer.getvalue()


def write_tar(target: Any, files: Iterable[tuple[str, bytes]], folders: Iterable[str] = ()) -> None:
    """Write such an archive into a file; ``files`` come sorted and are held one at a time."""
    made: set[str] = set()
    size = 0
    for folder in sorted(folders):
        size += target.write(missing_folders(f"{folder}/", made))
    for path, data in files:
        entry = tarfile.TarInfo(path)
        entry.size, entry.mode, entry.mtime = len(data), FILE_MODE, FILE_TIME
        size += target.write(missing_folders(path, made) + header(entry))
        # In one piece, of which tarfile's own way makes many.
        size += target.write(data)
        size += target.write(bytes(-len(data) % tarfile.BLOCKSIZE))
    end = 2 * tarfile.BLOCKSIZE
    target.write(bytes(end + -(size + end) % tarfile.RECORDSIZE))


def missing_folders(path: str, made: set[str]) -> bytes:
    """Return the folders above a path: an engine would make missing ones with a mode of its own."""
    found = []
    parts = path.split("/")[:-1]
    for depth in range(1, len(parts) + 1):
        folder = "/".join(parts[:depth])
        if folder not in made:
            made.add(folder)
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode, entry.mtime = tarfile.DIRTYPE, FOLDER_MODE, FILE_TIME
            found.append(header(entry))
    return b"".join(found)


def header(entry: tarfile.TarInfo) -> bytes:
    """Return what stands before an entry's contents."""
    return entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def make_layer(
    files: Iterable[tuple[str, bytes]],
    *,
    docker: bool = False,
    comment: str = "",
    folders: Iterable[str] = (),
) -> Layer:
    """Make a layer in memory: a plain tar while it is small, gzip otherwise and always for Docker.

    Docker's manifest knows no plain layer; in an OCI manifest every engine must take one.
    """
    plain = tar(files, folders)
    diff_id = digest_of(plain)
    if not docker and len(plain) < PLAIN_LIMIT_BYTES:
        return Layer(diff_id, len(plain), diff_id, OCI_LAYER, plain, comment)
    data = compressed(plain, level=6)
    return Layer(digest_of(data), len(data), diff_id, gzip_type(docker), data, comment)


def gzip_type(docker: bool) -> str:
    """Return the media type of a layer that is gzip."""
    return DOCKER_LAYER if docker else f"{OCI_LAYER}+gzip"


def compressed(data: bytes, level: int) -> bytes:
    """Compress without name or time: `gzip.compress` writes another header on each Python."""
    buffer = io.BytesIO()
    with gzip.GzipFile("", "wb", level, buffer, mtime=0) as file:
        file.write(data)
    return buffer.getvalue()


class Inflated(bytes):
    """The contents of a file, and the deflate stream that they came in."""

    stream: bytes

    def __new__(cls, data: bytes, stream: bytes) -> Self:
        """Take contents and their stream, which the caller has found to be one and the same."""
        made = super().__new__(cls, data)
        made.stream = stream
        return made


class HashingWriter:
    """A file to write to that hashes and counts what passes."""

    def __init__(self, target: Any) -> None:
        self.target = target
        self.hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        """Take some bytes and pass them on."""
        self.hash.update(data)
        self.size += len(data)
        self.target.write(data)
        return len(data)

    @property
    def digest(self) -> str:
        """The digest of what passed."""
        return f"sha256:{self.hash.hexdigest()}"


class GzipWriter:
    """Writes gzip, in which what comes deflated stays as it is.

    A gzip file may have several members, whose contents are one after another (RFC 1952, 2.2):
    such a file has one of its own, and what stands between two of them has one. Most of a wheel is
    so not deflated once more, which would take longer than all the rest, to a larger result.
    """

    def __init__(self, target: Any, level: int) -> None:
        self.target = target
        self.level = level
        self.held = bytearray()
        self.deflate: Any = None
        self.check = 0
        self.size = 0

    def write(self, data: bytes) -> None:
        """Take some bytes."""
        if isinstance(data, Inflated):
            self.end_member()
            self.member(data.stream, zlib.crc32(data), len(data))
            return
        self.held += data
        if len(self.held) >= CHUNK_BYTES:
            self.compress()

    def compress(self) -> None:
        """Deflate what is held; small pieces would each cost as much as large ones."""
        if self.deflate is None:
            self.deflate = zlib.compressobj(self.level, zlib.DEFLATED, -zlib.MAX_WBITS)
            self.target.write(GZIP_HEAD)
            self.check = self.size = 0
        self.check = zlib.crc32(self.held, self.check)
        self.size += len(self.held)
        self.target.write(self.deflate.compress(self.held))
        self.held.clear()

    def end_member(self) -> None:
        """End what was begun, if anything was."""
        if self.held:
            self.compress()
        if self.deflate is not None:
            self.target.write(self.deflate.flush() + gzip_tail(self.check, self.size))
            self.deflate = None

    def member(self, stream: bytes, check: int, size: int) -> None:
        """Write a member of its own."""
        self.target.write(GZIP_HEAD)
        self.target.write(stream)
        self.target.write(gzip_tail(check, size))


def gzip_tail(check: int, size: int) -> bytes:
    """Return what ends a member of gzip: the CRC of its contents and their length."""
    return check.to_bytes(4, "little") + (size & 0xFFFFFFFF).to_bytes(4, "little")


def make_layer_file(
    target: Path, files: Iterable[tuple[str, bytes]], *, docker: bool = False, comment: str = ""
) -> Layer:
    """Make a layer of sorted files in a file, for what is too large to be held in memory.

    Level 1 of gzip: what is large in wheels comes deflated, and the rest is little.
    """
    with target.open("wb") as raw:
        packed = HashingWriter(raw)
        zipped = GzipWriter(packed, level=1)
        plain = HashingWriter(zipped)
        write_tar(plain, files)
        zipped.end_member()
    return Layer(packed.digest, packed.size, plain.digest, gzip_type(docker), target, comment)


def read_base(
    repository: str, digest: str, media_type: str, manifest: bytes, config: bytes
) -> BaseImage:
    """Read a base image's manifest and configuration.

    Raises:
        PublishFailed: They are not what they say they are, or cannot be built on.
    """
    try:
        parsed, settings = strict(manifest), strict(config)
    except ValueError as error:
        raise unreadable(repository, "is not a manifest with its configuration") from error
    if wrong := check_shapes(parsed, settings):
        why = f"is not a manifest with its configuration: {wrong} is not what it should be"
        raise unreadable(repository, why)
    layers, diff_ids = parsed["layers"], settings["rootfs"]["diff_ids"]
    known_as = parsed.get("mediaType") or media_type
    if len(layers) != len(diff_ids) or any(layer.get("urls") for layer in layers):
        raise unreadable(repository, "has layers that are not in the registry")
    docker = known_as == DOCKER_MANIFEST or parsed["config"].get("mediaType") == DOCKER_CONFIG
    return BaseImage(repository, digest, parsed, settings, docker)


def unreadable(repository: str, why: str) -> PublishFailed:
    """Make the error for a base image that nothing can be built on."""
    return PublishFailed(
        f"the base image {printable(repository)} {why}; pass another base_image=", step="base image"
    )


def assemble(
    base: BaseImage,
    layers: Iterable[Layer],
    *,
    command: list[str],
    environment: Mapping[str, str],
    working_folder: str,
    labels: Mapping[str, str],
    base_name: str = "",
) -> Image:
    """Put layers on a base image.

    User, environment, labels and whatever else the base says are kept; command and entry point are
    replaced, since together they would be one command line. What the image stands on is said by the
    annotations that the OCI image specification has for it ("Pre-Defined Annotation Keys"); Docker's
    manifest knows none.

    Args:
        base: The image to stand on.
        layers: What lies on it.
        command: What is run.
        environment: Variables beside the base's.
        working_folder: Where it is run.
        labels: Labels beside the base's.
        base_name: The base's whole name; an empty text where it has none.
    """
    stacked = tuple(layers)
    config = canonical(
        stacked_config(base.config, stacked, command, environment, working_folder, labels)
    )
    config_type = DOCKER_CONFIG if base.docker else OCI_CONFIG
    manifest = canonical(
        {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST if base.docker else OCI_MANIFEST,
            "config": {
                "mediaType": config_type,
                "size": len(config),
                "digest": digest_of(config),
            },
            "layers": [*map(descriptor_of, base.layers), *map(layer_descriptor, stacked)],
            **({} if base.docker else {"annotations": stands_on(base, base_name)}),
        }
    )
    media_type = DOCKER_MANIFEST if base.docker else OCI_MANIFEST
    return Image(manifest, media_type, digest_of(manifest), config, digest_of(config), stacked)


def stands_on(base: BaseImage, name: str) -> dict[str, str]:
    """Return the annotations that say what an image stands on."""
    said = {f"{BASE_ANNOTATION}.digest": base.digest}
    return {**said, f"{BASE_ANNOTATION}.name": name} if name else said


def stacked_config(
    base: dict[str, Any],
    layers: tuple[Layer, ...],
    command: list[str],
    environment: Mapping[str, str],
    working_folder: str,
    labels: Mapping[str, str],
) -> dict[str, Any]:
    """Return the base's configuration with the layers and the command of the new image."""
    run = dict(base.get("config") or {})
    kept = [each for each in run.get("Env") or [] if each.split("=")[0] not in environment]
    if not any(each.startswith("PATH=") for each in kept):
        # Imported file systems say none. Docker then takes its own; containerd finds no program.
        kept.insert(0, f"PATH={DEFAULT_PATH}")
    run["Env"] = [*kept, *(f"{name}={value}" for name, value in sorted(environment.items()))]
    run["Labels"] = {**(run.get("Labels") or {}), **labels}
    run["ExposedPorts"] = {**(run.get("ExposedPorts") or {}), "8080/tcp": {}}
    run["Cmd"], run["WorkingDir"] = command, working_folder
    run.pop("Entrypoint", None)
    history = [{"created": EPOCH, "created_by": f"away: {each.comment}"} for each in layers]
    return {
        **base,
        "created": EPOCH,
        "config": run,
        "rootfs": {
            "type": "layers",
            "diff_ids": [*base["rootfs"]["diff_ids"], *(each.diff_id for each in layers)],
        },
        "history": [*(base.get("history") or []), *history],
    }


def descriptor_of(layer: dict[str, Any]) -> dict[str, Any]:
    """Return what a manifest says of a base's layer, without what others added to it."""
    return {key: layer[key] for key in ("mediaType", "size", "digest")}


def layer_descriptor(layer: Layer) -> dict[str, Any]:
    """Return what a manifest says of one of our layers."""
    return {"mediaType": layer.media_type, "size": layer.size, "digest": layer.digest}


def canonical(value: Any) -> bytes:
    """Write JSON in the one form that everyone who writes this value gets."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
