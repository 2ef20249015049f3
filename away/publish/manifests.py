"""What manifests and configurations say of images, checked before it is believed.

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

__all__ = [
    "check_layer",
    "check_shapes",
    "config_of",
    "layers_of",
    "media_type_of",
    "parsed",
    "strict",
]

# Beyond what any registry takes, and what a length can be written as.
MAX_BLOB_BYTES = 1 << 45
# Manifests nest five deep, configurations a little more.
MAX_DEPTH = 50


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
    elif not 0 <= layer["size"] <= MAX_BLOB_BYTES:
        why = "says of a layer a size that none can have"
    elif not isinstance(layer.get("mediaType"), str):
        why = "does not say of which type its layers are"
    if why:
        raise PublishFailed(
            f"the base image {printable(repository)} {why}; pass another base_image=",
            step="base image",
        )


def layers_of(manifest: dict[str, Any], repository: str) -> list[dict[str, Any]]:
    """Return what a manifest says of its layers, checked.

    Raises:
        PublishFailed: There are none, or none that can be built on.
    """
    layers = manifest.get("layers")
    if not isinstance(layers, list):
        raise PublishFailed(
            f"the base image {printable(repository)} has a manifest that is none: its layers are no"
            " list; pass another base_image=",
            step="base image",
        )
    for each in layers:
        check_layer(each, repository)
    return layers


def strict(data: bytes) -> Any:
    """Read JSON as others would (RFC 8259): without NaN, and not nested beyond measure.

    Raises:
        ValueError: It is none.
    """
    try:
        found = json.loads(data, parse_constant=no_number)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    level = [found]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return found
    raise ValueError("it is nested too deeply")


def no_number(name: str) -> Any:
    """Refuse what Python reads as a number and JSON does not have."""
    raise ValueError(f"{name} is no number of JSON")


def check_shapes(manifest: object, config: object) -> str:
    """Tell what of a manifest and a configuration has another shape than the specification says.

    Returns:
        The place, as ``config.Env of the configuration``; an empty text where all is well.
    """
    if not isinstance(manifest, dict):
        return "the manifest"
    if not isinstance(config, dict):
        return "the configuration"
    for key, value, right in (
        ("layers", manifest.get("layers"), is_objects),
        ("config", manifest.get("config"), is_object),
        ("mediaType", manifest.get("mediaType", ""), is_text),
    ):
        if not right(value):
            return f"{key} of the manifest"
    if not is_text(manifest["config"].get("mediaType", "")):
        return "config.mediaType of the manifest"
    rootfs, run = config.get("rootfs"), config.get("config")
    if not (isinstance(rootfs, dict) and is_texts(rootfs.get("diff_ids"))):
        return "rootfs of the configuration"
    if not (run is None or isinstance(run, dict)):
        return "config of the configuration"
    run = run or {}
    return next(
        (
            f"{key} of the configuration"
            for key, value, right in (
                ("architecture", config.get("architecture"), is_text),
                ("os", config.get("os"), is_text),
                ("variant", config.get("variant"), is_text),
                ("history", config.get("history"), is_objects),
                ("config.Env", run.get("Env"), is_texts),
                ("config.Labels", run.get("Labels"), is_map),
                ("config.ExposedPorts", run.get("ExposedPorts"), is_object),
                ("config.User", run.get("User"), is_text),
            )
            if value is not None and not right(value)
        ),
        "",
    )


def is_text(value: object) -> bool:
    """Tell whether something is a text."""
    return isinstance(value, str)


def is_texts(value: object) -> bool:
    """Tell whether something is a list of texts."""
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def is_object(value: object) -> bool:
    """Tell whether something is an object of JSON."""
    return isinstance(value, dict)


def is_objects(value: object) -> bool:
    """Tell whether something is a list of objects."""
    return isinstance(value, list) and all(isinstance(each, dict) for each in value)


def is_map(value: object) -> bool:
    """Tell whether something is an object of texts."""
    return isinstance(value, dict) and all(isinstance(each, str) for each in value.values())


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
    if size is None or isinstance(size, bool) or not isinstance(size, int):
        return digest, None
    return digest, size if 0 <= size <= MAX_BLOB_BYTES else None
