"""The base image ``away/python:<minor>``: empty, it stands for the gateway's own Python environment.

Its one layer is a marker by which images built on it are known, whoever built them; its config says
which distributions the gateway's Python has, so that publishing need not pack those.
"""

from __future__ import annotations

import io
import json
import platform
import sys
import tarfile
from typing import TYPE_CHECKING

from away.gateway.blobs import digest_of

if TYPE_CHECKING:
    from away.gateway.store import Store

__all__ = ["MARKERS", "MINOR", "REPOSITORY", "marker_layer", "seed"]

REPOSITORY = "away/python"
MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
# Go's names of what platform.machine() says (OCI image spec, "Image Configuration").
ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


def marker_layer(minor: str) -> bytes:
    """Return the marker layer's tar, the same bytes everywhere."""
    text = f"{REPOSITORY}:{minor}\n".encode()
    member = tarfile.TarInfo("etc/away-base")
    member.size = len(text)
    member.mode = 0o644
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(member, io.BytesIO(text))
    return buffer.getvalue()


# diff_id of the marker layer → the minor that it stands for; others than ours to say which it was.
MARKERS = {digest_of(marker_layer(f"3.{minor}")): f"3.{minor}" for minor in range(8, 21)}


def environment() -> dict[str, str]:
    """List the distributions of this Python with their versions, by normalised name (PEP 503)."""
    import re
    from importlib import metadata

    found: dict[str, str] = {}
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        if name:
            # The first on the path is the one that is imported.
            found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), distribution.version)
    return dict(sorted(found.items()))


def seed(store: Store) -> str:
    """Put the base image into the registry, under the gateway's minor, and return its digest."""
    layer = marker_layer(MINOR)
    layer_digest = store.blobs.add(layer)
    config = _json(_config(layer_digest))
    config_digest = store.blobs.add(config)
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": config_digest, "size": len(config)},
            "layers": [{"mediaType": LAYER, "digest": layer_digest, "size": len(layer)}],
        }
    )
    digest = store.blobs.add(manifest)
    store.add_manifest(REPOSITORY, digest, MANIFEST, MINOR)
    return digest


def _config(layer_digest: str) -> dict[str, object]:
    machine = platform.machine()
    return {
        # Reproducible: the epoch, and nothing of this machine but what it can run.
        "created": "1970-01-01T00:00:00Z",
        "architecture": ARCHITECTURES.get(machine.lower(), machine),
        "os": "linux",
        "config": {
            "Env": ["PATH=/usr/local/bin:/usr/bin:/bin"],
            "Cmd": ["python3"],
            "Labels": {
                "away.environment": json.dumps(environment(), separators=(",", ":")),
                "away.python": platform.python_version(),
            },
        },
        "rootfs": {"type": "layers", "diff_ids": [layer_digest]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "away"}],
    }


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
