"""Names of images: their grammar, and which of them mean this gateway's own registry."""

from __future__ import annotations

import re
from typing import NamedTuple

from away.gateway.blobs import is_digest

__all__ = ["Reference", "is_repository", "is_tag", "parse", "with_host", "with_tag"]

# The grammar of the OCI distribution spec ("Pulling manifests").
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*\Z")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}\Z")
_HOST = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9a-fA-F:.]+\])(?::[0-9]{1,5})?\Z")
# A host and a repository together, as registries limit them.
MAX_REPOSITORY = 255


class Reference(NamedTuple):
    """``host/repository:tag@digest``, each part but the repository possibly empty."""

    host: str
    repository: str
    tag: str
    digest: str


def is_repository(text: str) -> bool:
    """Tell whether a text can name a repository."""
    return len(text) <= MAX_REPOSITORY and _REPOSITORY.match(text) is not None


def is_tag(text: str) -> bool:
    """Tell whether a text can be a tag."""
    return _TAG.match(text) is not None


def parse(text: str) -> Reference | None:
    """Take a reference apart as Docker does; None when it is none.

    Args:
        text: Such as ``127.0.0.1:8080/team/echo:1``, ``echo`` or ``echo@sha256:…``.
    """
    rest, at, digest = text.partition("@")
    host, slash, path = rest.partition("/")
    if not slash or not (host == "localhost" or "." in host or ":" in host):
        # A first part without a dot or a port is part of the repository's name.
        host, path = "", rest
    repository, colon, tag = path.partition(":")
    if host and not _HOST.match(host):
        return None
    if (
        not is_repository(repository)
        or (colon and not is_tag(tag))
        or (at and not is_digest(digest))
    ):
        return None
    return Reference(host.lower(), repository, tag, digest)


def with_tag(text: str) -> str:
    """Write a reference as OpenFaaS lists it: with the tag that was meant where none was given."""
    found = parse(text)
    return text if found is None or found.tag or found.digest else f"{text}:latest"


def with_host(reference: Reference) -> str:
    """Write a reference whole, as containerd does: Docker Hub where no host was given."""
    host, repository, tag, digest = reference
    if not host:
        host = "docker.io"
    if host == "docker.io" and "/" not in repository:
        repository = f"library/{repository}"
    if not (tag or digest):
        tag = "latest"
    return f"{host}/{repository}" + (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")
