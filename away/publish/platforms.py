"""Which image of several is for a machine: operating systems, processors and their variants.

Names are Go's, as images have them (OCI image specification, "Image Index"); gateways say what ``uname``
says, and users either.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from away.exceptions import PublishFailed
from away.names import nearest, printable
from away.publish.references import is_digest

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Platform", "check_fits", "check_platform", "choose_manifest", "parse_platform"]

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
# Those that Linux images are made for, by Go's names.
KNOWN = frozenset(
    (
        *("386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle"),
        *("ppc64", "ppc64le", "riscv64", "s390x"),
    )
)
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


def check_platform(text: str) -> None:
    """Check a ``platform=`` of the user's: functions run on Linux, on a processor that has images.

    Raises:
        PublishFailed: It is none.
    """
    wanted = parse_platform(text)
    if wanted.system != "linux":
        raise PublishFailed(
            f"platform={printable(text)[:60]!r} is of another system, and functions run on Linux;"
            f" write linux/{printable(wanted.processor)[:30]}",
            step="options",
        )
    if wanted.processor not in KNOWN:
        near = nearest(wanted.processor, KNOWN, 1)
        hint = f"did you mean linux/{near[0]}?" if near else f"there are {', '.join(sorted(KNOWN))}"
        raise PublishFailed(
            f"platform={printable(text)[:60]!r} names no processor that images are for: {hint}",
            step="options",
        )


def check_fits(image: Platform, asked: str | None, where: str) -> None:
    """Check what an image says that it is for; an empty text says nothing.

    Args:
        image: What it says.
        asked: The user's ``platform=``.
        where: What to call the image.

    Raises:
        PublishFailed: It is for another system than Linux, or another machine than the user asks for.
    """
    wanted = parse_platform(asked) if asked else Platform("linux", image.processor, image.variant)
    same = (
        image.system in ("", wanted.system)
        and image.processor in ("", wanted.processor)
        and (not image.variant or image.variant in wanted.variants)
    )
    if not same:
        whose = "platform= asks for" if asked else "functions run on"
        raise PublishFailed(
            f"the base image {where} is for {printable(str(image))[:60]} and {whose} {wanted}; pass a"
            " base_image= for that, or another platform=",
            step="base image",
        )


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
