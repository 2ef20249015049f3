"""What manifests say of images, checked before it is believed.

A manifest comes from a server that may be broken or worse; what is read here is what is asked for next.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from away.exceptions import PublishFailed
from away.names import printable
from away.publish.references import is_digest

if TYPE_CHECKING:
    from away.connection.conversations import Reply

__all__ = ["check_layer", "config_of", "media_type_of", "parsed"]


def check_layer(layer: object, repository: str) -> None:
    """Check what a manifest says of a layer.

    Raises:
        PublishFailed: Its bytes are in no registry, or it is no layer.
    """
    why = ""
    if not isinstance(layer, dict):
        why = "has a layer that is none"
    elif layer.get("urls") or "foreign" in str(layer.get("mediaType")):
        why = "has a layer that lies outside of registries, which may not be carried over"
    elif not (isinstance(layer.get("digest"), str) and is_digest(layer["digest"])):
        why = "names a layer otherwise than by sha256"
    elif isinstance(layer.get("size"), bool) or not isinstance(layer.get("size"), int):
        why = "does not say how large its layers are"
    if why:
        raise PublishFailed(
            f"the base image {printable(repository)} {why}; pass another base_image=",
            step="base image",
        )


def media_type_of(reply: Reply) -> str:
    """Return the type that an answer says it has, without parameters."""
    return str(reply.headers.get("Content-Type") or "").partition(";")[0].strip()


def parsed(body: bytes) -> dict[str, Any]:
    """Read a JSON object, or an empty one from what is none."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", document) if isinstance(document, dict) else {}


def config_of(manifest: dict[str, Any]) -> tuple[str, int | None]:
    """Return the digest and the size of an image's configuration.

    Raises:
        PublishFailed: The manifest has none.
    """
    config = manifest.get("config")
    digest = config.get("digest") if isinstance(config, dict) else None
    if not (isinstance(digest, str) and is_digest(digest)):
        raise PublishFailed(
            "the base image's manifest names no configuration; pass another base_image=",
            step="base image",
        )
    size = cast("dict[str, Any]", config).get("size")
    return digest, size if isinstance(size, int) and not isinstance(size, bool) else None
