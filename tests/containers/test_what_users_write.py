"""What users write, in real containers: images by each builder, in a real registry and a real engine."""

from __future__ import annotations

import gzip
import json

import pytest
import requests

from tests.containers import engine
from tests.places import Place
from tests.scenarios import *  # noqa: F403
from tests.scenarios import SECRET, spellings

pytestmark = pytest.mark.slow


def test_a_secret_is_in_no_part_of_the_image_and_of_the_container(place: Place, registry):
    secret = place.secret("token", SECRET)

    @place.publish("keeping", secrets=[secret], env={"PLAIN": "to be seen"})
    def keeping():
        from away import secret as read

        return read(secret)

    assert keeping() == SECRET
    seen = {
        "image": image_of(place, registry, "keeping"),
        "container": container_of(place, "keeping"),
    }
    assert b"keeping" in seen["image"]
    assert b"to be seen" in seen["container"]
    for what, content in seen.items():
        for spelling in spellings(SECRET):
            assert spelling not in content, what


def image_of(place: Place, registry: str, word: str) -> bytes:
    """Join all blobs that an image adds to its base, unpacked, and its documents."""
    reference = place.described(word)["image"]
    name, _, digest = reference.removeprefix(f"{registry}/").partition("@")
    repository = name.partition(":")[0]
    url = f"http://{registry}/v2/{repository}"
    kinds = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
    answer = requests.get(f"{url}/manifests/{digest}", headers={"Accept": kinds}, timeout=30)
    answer.raise_for_status()
    parts = [answer.content, reference.encode()]
    manifest = json.loads(answer.content)
    # The lowest layer is the base image, which is not ours.
    for each in [manifest["config"], *manifest["layers"][1:]]:
        blob = requests.get(f"{url}/blobs/{each['digest']}", timeout=30).content
        parts.append(gzip.decompress(blob) if blob.startswith(b"\x1f\x8b") else blob)
    return b"\n".join(parts)


def container_of(place: Place, word: str) -> bytes:
    """Give all that the engine tells of the container of a function."""
    name = place.name(word)
    found = [
        each
        for each in engine.docker("ps", "--quiet").split()
        if f'"{name}"' in engine.docker("inspect", each)
    ]
    assert len(found) == 1
    return engine.docker("inspect", found[0]).encode()
