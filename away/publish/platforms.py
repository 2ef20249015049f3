"""Which image of several is for a machine: operating systems, processors and their variants.

Names are Go's, as images have them (OCI image specification, "Image Index"); gateways say what ``uname``
says, and users either.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from away.exceptions import PublishFailed
from away.names import printable
from away.publish.references import is_digest

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Platform", "choose_manifest", "parse_platform"]

# What uname says, and what Go says.
PROCESSORS = {
    "x86_64": "amd64",
    "x86-64": "amd64",
    "": "amd64",
    "aarch64": "arm64",
    "armv8": "arm64",
    "armv7l": "arm/v7",
    "armhf": "arm/v7",
    "armv6l": "arm/v6",
    "i386": "386",
    "i686": "386",
}
# The variant that is meant where none is said (containerd's rule).
USUAL_VARIANTS = {"arm64": "v8", "arm": "v7", "amd64": "v1"}
# What runs on a machine, the best first: a processor runs what older ones of its kind do.
OLDER = {"v8": ("v8",), "v7": ("v7", "v6", "v5"), "v6": ("v6", "v5"), "v5": ("v5",)}
_PLATFORM = re.compile(r"[A-Za-z0-9_.-]*(?:/[A-Za-z0-9_.-]+){0,2}\Z")


class Platform(NamedTuple):
    """A kind of machine; an empty variant is the usual one of its processor."""

    system: str
    processor: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in self if part)

    @property
    def variants(self) -> tuple[str, ...]:
        """The variants that it runs, the best first."""
        mine = self.variant or USUAL_VARIANTS.get(self.processor, "")
        if self.processor == "amd64" and mine[1:].isdigit():
            return tuple(f"v{level}" for level in range(int(mine[1:]), 0, -1))
        return OLDER.get(mine, (mine,))


def parse_platform(text: str) -> Platform:
    """Read ``linux/arm64``, ``arm64``, ``linux/arm/v7`` or what uname says, ``aarch64``.

    Raises:
        PublishFailed: It is none of these.
    """
    parts = text.strip().split("/")
    if not _PLATFORM.match(text.strip()):
        raise PublishFailed(
            f"platform={printable(text)[:60]!r} is none; write OS/PROCESSOR, such as linux/arm64",
            step="options",
        )
    if len(parts) == 1:
        parts = ["linux", *parts]
    system, processor, *variant = parts
    processor = PROCESSORS.get(processor.lower(), processor.lower())
    processor, _, meant = processor.partition("/")
    return Platform(system.lower(), processor, variant[0].lower() if variant else meant)


def choose_manifest(index: Mapping[str, Any], wanted: Platform, where: str) -> str:
    """Return the digest of the manifest for a kind of machine from an index of several.

    Raises:
        PublishFailed: The index has none for it; the sentence lists what it has.
    """
    listed = index.get("manifests")
    offered: list[tuple[Platform, str]] = []
    for entry in listed if isinstance(listed, list) else []:
        platform = entry.get("platform") if isinstance(entry, dict) else None
        digest = entry.get("digest") if isinstance(entry, dict) else None
        if isinstance(platform, dict) and isinstance(digest, str) and is_digest(digest):
            names = [str(platform.get(key) or "") for key in ("os", "architecture", "variant")]
            offered.append((Platform(*names), digest))
    for variant in wanted.variants:
        for each, digest in offered:
            own = each.variant or USUAL_VARIANTS.get(each.processor, "")
            if each[:2] == wanted[:2] and own == variant:
                return digest
    # What builders add to an index beside images says that it is for an unknown machine.
    shown = sorted({str(each) for each, _ in offered if each.system != "unknown"})
    raise PublishFailed(
        f"the base image {where} has no {wanted}, which the gateway runs on: it has"
        f" {printable(', '.join(shown))[:300] or 'nothing'}; pass another base_image=, or platform=",
        step="base image",
    )
