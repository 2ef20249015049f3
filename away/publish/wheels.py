"""Requirements that the base image lacks: found as wheels, unpacked into a layer, never installed.

Installing would run build scripts and write this machine's paths into scripts and records; wheels
are taken as they were published (the binary distribution format, PEP 427), so the layer is the same
wherever it is made. This module knows nothing of registries and deployments.
"""

from __future__ import annotations

import hashlib
import json
import struct
import sys
import tempfile
import threading
import zipfile
import zlib
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any

from away.publish.cache import (
    CHUNK_BYTES,
    described,
    keep_layer_file,
    kept_layer_file,
    read_record,
    remove_unused,
    used,
    write_record,
)
from away.publish.compiled import MINOR, with_compiled
from away.publish.image import Inflated, Layer, make_layer_file
from away.publish.layers import REQUIREMENTS_FOLDER
from away.publish.pins import Pin, normal_name
from away.publish.resolution import (
    Target,
    download,
    installed_versions,
    no_wheel,
    platform_options,
    refuse_local_versions,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from away.publish.compiled import File
    from away.publish.early import Early

__all__ = ["Target", "no_wheel", "place_of", "platform_options", "requirements_layer"]

# Changes with how these layers are made, so that none of an earlier Away is taken for one of this.
_FORMAT = 4
# From here on a file's deflate stream is taken over as it is: a member of gzip costs some bytes.
_STREAM_BYTES = 16384
_ENCRYPTED = 1
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
# How many answers are kept for one set: each belongs to other versions that were installed here.
_MOST_CHOICES = 8

_making: dict[str, threading.Lock] = {}


def requirements_layer(
    pins: tuple[Pin, ...],
    target: Target,
    cache: Path,
    *,
    docker: bool,
    compile: bool = False,  # noqa: A002 - as the option is called
    reasons: Mapping[str, str] | None = None,
    early: Early | None = None,
) -> Layer:
    """Make the layer that brings some distributions and what they need in their turn.

    Args:
        pins: The distributions; what they need is taken in the versions installed here, if any.
        target: What they are for.
        cache: The folder in which layers are kept for the next time.
        docker: True for a layer of Docker's own kind.
        compile: True to have their files compiled too, where the target's Python is this minor.
        reasons: What needs each distribution, a clause by its normal name, for errors.
        early: What is being fetched already.

    Returns:
        The layer, its bytes in a file of the cache. For a set that was packed before nothing is
        asked for and no process is started, unless what it consists of is installed here in other
        versions now.

    Raises:
        PublishFailed: One of them has a version that cannot be published, or has no wheel.
    """
    compiled = compile and target.python == MINOR
    build = " ".join(sys.version.split()) if compiled else ""
    said = [_FORMAT, sorted(map(list, pins)), list(target), docker, build]
    name = f"requirements-{hashlib.sha256(json.dumps(said).encode()).hexdigest()[:32]}"
    refuse_local_versions(pins, target, reasons or {})
    # Several functions of a file are published side by side, often with one set.
    with _making.setdefault(str(cache / name), threading.Lock()):
        chosen = choice(read_record(cache, name))
        if chosen and (layer := kept_layer_file(cache, chosen.get("layer") or {})) is not None:
            used(cache, f"{name}.json")
            return layer
        # Where only its file was lost, the same versions make the same layer again.
        versions = (chosen or {}).get("versions")
        with tempfile.TemporaryDirectory(dir=cache, prefix="wheels-") as folder:
            wheels = early.take(pins, target) if early is not None and not versions else []
            if not wheels:
                versions = versions or installed_versions()
                download(pins, versions, target, Path(folder), reasons or {})
                wheels = sorted(Path(folder).glob("*.whl"))
            refuse_absent(pins, wheels, target, reasons or {})
            layer = packed(wheels, Path(folder), pins, docker=docker, compiled=compiled)
            layer = keep_layer_file(cache, layer)
            note(cache, name, layer, wheels)
        remove_unused(cache)
        return layer


def packed(
    wheels: list[Path], folder: Path, pins: Iterable[Pin], *, docker: bool, compiled: bool
) -> Layer:
    """Make a layer of wheels in a file."""
    with ExitStack() as opened:
        files = wheel_files([opened.enter_context(zipfile.ZipFile(each)) for each in wheels])
        if compiled:
            files = with_compiled(files)
        # Everybody who pulls the image reads this: names and versions, and no address.
        versions = versions_of(wheels)
        names = {each.name for each in pins} & versions.keys()
        named = sorted(f"{name}=={versions[name]}" for name in names)
        comment = f"requirements {', '.join(named)}"
        return make_layer_file(folder / "layer", files, docker=docker, comment=comment)


def versions_of(wheels: Iterable[Path]) -> dict[str, str]:
    """Return the versions of wheels by their distributions' normal names."""
    # NAME-VERSION[-BUILD]-PYTHON-ABI-PLATFORM.whl, with no other dash (PEP 427)
    split = [each.name.split("-") for each in wheels]
    return {normal_name(parts[0]): parts[1] for parts in split if len(parts) > 1}


def refuse_absent(
    pins: Iterable[Pin], wheels: Iterable[Path], target: Target, reasons: Mapping[str, str]
) -> None:
    """Refuse to make a layer without what was asked for: the function would miss it at its first call.

    Raises:
        PublishFailed: There is no wheel of one of the pins.
    """
    there = versions_of(wheels)
    for each in pins:
        # One with a marker need not be meant for the target.
        if each.name not in there and ";" not in each.spec:
            why = f"came as no wheel for {target}"
            raise no_wheel(each.shown, why, reasons.get(each.name, ""))


# ---------------------------------------------------------------- what was chosen before


def choice(record: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what was chosen when what it consists of was installed here as it is now."""
    choices = record.get("choices")
    for each in choices if isinstance(choices, list) else []:
        installed = each.get("installed") if isinstance(each, dict) else None
        if isinstance(installed, dict) and installed == installed_versions(installed):
            return dict(each)
    return None


def note(cache: Path, name: str, layer: Layer, wheels: Iterable[Path]) -> None:
    """Write down what was chosen: the layer, the wheels' digests, the versions installed here."""
    chosen = versions_of(wheels)
    here = {
        "installed": installed_versions(chosen),
        "layer": described(layer),
        "versions": chosen,
        "wheels": {each.name: digest_of_file(each) for each in wheels},
    }
    others = read_record(cache, name).get("choices")
    kept = [each for each in others if each != here] if isinstance(others, list) else []
    write_record(cache, name, {"choices": [here, *kept][:_MOST_CHOICES]})


def digest_of_file(path: Path) -> str:
    """Return the sha256 of a file."""
    total = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(CHUNK_BYTES):
            total.update(piece)
    return total.hexdigest()


# ---------------------------------------------------------------- unpacking


def wheel_files(wheels: Iterable[zipfile.ZipFile]) -> Iterator[File]:
    """Give the files of wheels by their place in an image, sorted, one at a time."""
    found: dict[str, tuple[zipfile.ZipFile, str]] = {}
    for wheel in wheels:
        for member in wheel.namelist():
            place = place_of(member)
            if place:
                found[f"{REQUIREMENTS_FOLDER}/{place}"] = (wheel, member)
    for path in sorted(found):
        wheel, member = found[path]
        yield path, contents(wheel, wheel.getinfo(member))


def contents(wheel: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """Read a file of a wheel; a large one together with its deflate stream, if that is sound.

    Raises:
        zipfile.BadZipFile: It is damaged.
    """
    deflated = member.compress_type == zipfile.ZIP_DEFLATED and not member.flag_bits & _ENCRYPTED
    if deflated and member.compress_size >= _STREAM_BYTES and wheel.fp is not None:
        stream = stream_of(wheel.fp, member)
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        # One byte more than there should be shows a stream that holds more.
        data = inflate.decompress(stream, member.file_size + 1)
        whole = inflate.eof and not inflate.unused_data
        if whole and len(data) == member.file_size and zlib.crc32(data) == member.CRC:
            return Inflated(data, stream)
    return wheel.read(member)


def stream_of(file: IO[bytes], member: zipfile.ZipInfo) -> bytes:
    """Read a member's bytes as they are in the archive (APPNOTE.TXT 4.3.7: behind its own header)."""
    file.seek(member.header_offset)
    head = file.read(_LOCAL_HEADER.size)
    name_bytes, extra_bytes = _LOCAL_HEADER.unpack(head)[-2:]
    file.seek(name_bytes + extra_bytes, 1)
    return file.read(member.compress_size)


def place_of(member: str) -> str:
    """Return where a wheel's member belongs below site-packages; nothing for what is left out.

    Scripts would begin with the path of an interpreter, and headers and data are for a machine that
    installs. A path that leads out of the folder is refused by being left out.
    """
    parts = PurePosixPath(member).parts
    if member.endswith("/") or not parts or ".." in parts or parts[0].startswith("/"):
        return ""
    if parts[0].endswith(".data"):
        return "/".join(parts[2:]) if parts[1:2] in (("purelib",), ("platlib",)) else ""
    return "/".join(parts)
