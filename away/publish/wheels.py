"""Requirements that the base image lacks: found as wheels, unpacked into a layer, never installed.

Installing would run build scripts and write this machine's paths into scripts and records; wheels
are taken as they were published (the binary distribution format, PEP 427), so the layer is the same
wherever it is made. This module knows nothing of registries and deployments.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from away.exceptions import PublishFailed
from away.names import printable
from away.publish.image import Layer, gzip_type, make_layer_file
from away.publish.layers import REQUIREMENTS_FOLDER
from away.publish.pins import Pin, normal_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Target", "requirements_layer"]

_EXACT = re.compile(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!_-]+\Z")
# pip does not expand a platform to those it includes: every one from the base's glibc down is named.
_GLIBC_MINORS = (28, 27, 26, 25, 24, 17, 12, 5)
_OLD_NAMES = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64", "x86_64": "x86_64", "aarch64": "aarch64"}
_PIP_SECONDS = 300.0


class Target(NamedTuple):
    """What wheels are for: a processor by any of its names, and whether it is this very machine."""

    architecture: str
    here: bool

    @property
    def python(self) -> str:
        """The minor version of Python, which is always that of the client."""
        return f"{sys.version_info.major}.{sys.version_info.minor}"


def requirements_layer(
    pins: tuple[Pin, ...], target: Target, cache: Path, *, docker: bool
) -> Layer:
    """Make the layer that brings some distributions and what they need in their turn.

    Args:
        pins: The distributions; what they need is taken in the versions installed here, if any.
        target: What they are for.
        cache: The folder in which layers are kept for the next time.
        docker: True for a layer of Docker's own kind.

    Raises:
        PublishFailed: One of them has a version that cannot be published, or has no wheel.
    """
    known = installed_pins()
    key = hashlib.sha256(json.dumps([pins, known, target, target.python]).encode()).hexdigest()[:32]
    if (made := kept_layer(cache, key, docker)) is not None:
        return made
    refuse_local_versions(pins)
    with tempfile.TemporaryDirectory(dir=cache, prefix="wheels-") as name:
        download(pins, known, target, Path(name))
        wheels = sorted(Path(name).glob("*.whl"))
        comment = f"requirements {', '.join(map(str, pins))}"
        with ExitStack() as opened:
            files = wheel_files([opened.enter_context(zipfile.ZipFile(each)) for each in wheels])
            fresh = Path(name) / "layer"
            layer = make_layer_file(fresh, files, docker=docker, comment=comment)
        return keep_layer(cache, key, layer)


def kept_layer(folder: Path, key: str, docker: bool) -> Layer | None:
    """Return the layer that was made before for the same requirements."""
    try:
        kept = json.loads((folder / f"{key}.json").read_text())
        file = folder / f"{key}.layer"
        whole = file.stat().st_size == kept["size"]
        layer = Layer(media_type=gzip_type(docker), data=file, **kept)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return layer if whole else None


def keep_layer(folder: Path, key: str, layer: Layer) -> Layer:
    """Move a layer that was made to where the next publish finds it."""
    place = folder / f"{key}.layer"
    assert isinstance(layer.data, Path), "a requirements layer is made in a file"
    kept = {name: getattr(layer, name) for name in ("digest", "size", "diff_id", "comment")}
    fresh = layer.data.with_suffix(".json")
    fresh.write_text(json.dumps(kept))
    layer.data.replace(place)
    fresh.replace(folder / f"{key}.json")
    return layer._replace(data=place)


def installed_pins() -> tuple[str, ...]:
    """Return ``NAME==VERSION`` of all that is installed here from an index, sorted."""
    import importlib.metadata

    found = set()
    for each in importlib.metadata.distributions():
        name = each.metadata["Name"]
        if name and _EXACT.match(f"{name}=={each.version}"):
            found.add(f"{normal_name(name)}=={each.version}")
    return tuple(sorted(found))


def refuse_local_versions(pins: Iterable[Pin]) -> None:
    """Refuse versions that no index has: ``1.2+local`` was built on somebody's machine (PEP 440)."""
    for each in pins:
        if "+" in each.version:
            raise no_wheel(each, "is a local version that no package index has")


def no_wheel(pin: Pin, why: str) -> PublishFailed:
    """Make the one error that says which requirement cannot be packed."""
    return PublishFailed(
        f"the requirement {pin} {why}, and the base image does not have it; take a base_image= that"
        " has it, or another version",
        step="requirements",
        hint="take a base_image= that has it",
    )


def download(pins: tuple[Pin, ...], known: tuple[str, ...], target: Target, folder: Path) -> None:
    """Have the client's own pip fetch wheels, those that are needed in turn included.

    Raises:
        PublishFailed: There is no pip, or no wheel of one of them for the target.
    """
    wanted = {each.name for each in pins}
    others = [line for line in known if line.partition("==")[0] not in wanted]
    constraints = folder / "constraints.txt"
    constraints.write_text("\n".join(others))
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-input", "--only-binary=:all:", "--dest", str(folder)]
    command += ["--constraint", str(constraints), *platform_options(target), *map(str, pins)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_PIP_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise no_wheel(pins[0], f"was not downloaded within {_PIP_SECONDS:g} seconds") from error
    if done.returncode:
        raise explained(pins, target, done.stderr)


def platform_options(target: Target) -> list[str]:
    """Return the options that make pip look for another platform than its own."""
    if target.here:
        return []
    machine = _MACHINES.get(target.architecture, target.architecture)
    options = ["--implementation", "cp", "--python-version", target.python]
    for minor in _GLIBC_MINORS:
        options += ["--platform", f"manylinux_2_{minor}_{machine}"]
        if minor in _OLD_NAMES:
            options += ["--platform", f"{_OLD_NAMES[minor]}_{machine}"]
    compact = target.python.replace(".", "")
    return [*options, "--abi", f"cp{compact}", "--abi", "abi3", "--abi", "none"]


def explained(pins: tuple[Pin, ...], target: Target, said: str) -> PublishFailed:
    """Turn what pip said into one sentence that names the requirement."""
    if "No module named pip" in said:
        return no_wheel(pins[0], f"cannot be fetched: {sys.executable} has no pip")
    missing = re.search(r"No matching distribution found for ([^\s(]+)", said)
    name = normal_name(missing.group(1).partition("==")[0]) if missing else ""
    culprit = next((each for each in pins if each.name == name), None)
    where = f"Python {target.python}" + ("" if target.here else f" on {target.architecture}")
    if culprit is not None:
        return no_wheel(culprit, f"has no wheel for {where} in the package index")
    lines = [line for line in said.splitlines() if line.startswith("ERROR:")]
    last = printable(lines[-1].removeprefix("ERROR:").strip()) if lines else "pip failed"
    through = f" (through {printable(missing.group(1))})" if missing else ""
    return no_wheel(pins[0], f"cannot be packed for {where}{through}: {last[:300]}")


# ---------------------------------------------------------------- unpacking


def wheel_files(wheels: Iterable[zipfile.ZipFile]) -> Iterator[tuple[str, bytes]]:
    """Give the files of wheels by their place in an image, sorted, one at a time."""
    found: dict[str, tuple[zipfile.ZipFile, str]] = {}
    for wheel in wheels:
        for member in wheel.namelist():
            place = place_of(member)
            if place:
                found[f"{REQUIREMENTS_FOLDER}/{place}"] = (wheel, member)
    for path in sorted(found):
        wheel, member = found[path]
        yield path, wheel.read(member)


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
