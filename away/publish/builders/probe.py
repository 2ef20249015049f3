"""What an image has, asked of the image itself: its Python, its C library, its distributions.

The program runs in a container of the image, without network. What it prints comes from an image that
somebody made, and is read as such.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from away.publish.builders.dockerfile import MANAGERS

__all__ = ["FIND_MANAGER", "FIND_PYTHON", "Inside", "read_inside", "read_manager"]

# Says which of the package managers is there; every image that has one has a shell.
FIND_MANAGER = ["/bin/sh", "-c", f"for m in {' '.join(MANAGERS)}; do command -v $m && exit; done"]

# Runs on every Python 3, so that one that is too old is called so and not an image without Python.
_PROGRAM = """
import json, os, platform, sys, sysconfig
found = {"python": "%d.%d" % sys.version_info[:2], "environment": {}}
try:
    found["libc"] = os.confstr("CS_GNU_LIBC_VERSION") or ""
except (ValueError, OSError, AttributeError):
    found["libc"] = "musl"
try:
    from importlib import metadata
    for each in metadata.distributions():
        found["environment"].setdefault(each.metadata["Name"] or "", each.version)
    metadata.version("pip")
    found["pip"] = True
except Exception:
    found["pip"] = False
found["headers"] = os.path.exists(os.path.join(sysconfig.get_path("include") or "", "Python.h"))
print(json.dumps(found))
"""
FIND_PYTHON = ["python3", "-c", _PROGRAM]

_MINOR = re.compile(r"3\.\d{1,2}\Z")
_GLIBC = re.compile(r"glibc (\d{1,3})\.(\d{1,3})")


class Inside(NamedTuple):
    """What is inside an image.

    Attributes:
        python: The minor version of its ``python3``.
        glibc: The version of its C library; (0, 0) for musl, None where it did not say.
        environment: Its distributions by name.
        pip: Whether its Python has pip.
        headers: Whether its Python has the headers that extensions are compiled with.
    """

    python: str
    glibc: tuple[int, int] | None
    environment: dict[str, str]
    pip: bool
    headers: bool


def read_inside(printed: str) -> Inside | None:
    """Read what the program printed; None where it is not what it prints."""
    try:
        # What a site's own start-up file prints comes before.
        found = json.loads(printed.strip().splitlines()[-1])
        python = found["python"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    if not isinstance(python, str) or not _MINOR.match(python):
        return None
    return Inside(
        python,
        read_libc(found.get("libc")),
        read_environment(found.get("environment")),
        found.get("pip") is True,
        found.get("headers") is True,
    )


def read_libc(said: Any) -> tuple[int, int] | None:
    """Read the name of a C library."""
    if said == "musl":
        return (0, 0)
    match = _GLIBC.match(said) if isinstance(said, str) else None
    return (int(match[1]), int(match[2])) if match else None


def read_environment(said: Any) -> dict[str, str]:
    """Read distributions and their versions."""
    if not isinstance(said, dict):
        return {}
    return {name: text for name, text in said.items() if name and isinstance(text, str)}


def read_manager(printed: str) -> str:
    """Return the package manager that the shell found; an empty text if none."""
    name = printed.strip().rpartition("/")[2]
    return name if name in MANAGERS else ""
