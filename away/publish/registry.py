"""The OCI distribution API as conversations: what an image is pushed with.

Every method of a :class:`Registry` is a generator that a connection's driver pumps. It knows how
registries answer and nothing of functions or deployments. What was pushed is remembered for the life
of the process, so that the layers that all functions share are asked for once.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urljoin, urlsplit

from away.connection.conversations import ConnectFailed, Request
from away.connection.route import host_of
from away.exceptions import AuthenticationRefused, GatewayUnreachable, PublishFailed
from away.names import printable
from away.publish.image import (
    DOCKER_INDEX,
    MANIFEST_TYPES,
    OCI_INDEX,
    BaseImage,
    choose_platform,
    digest_of,
    read_base,
)
from away.publish.references import is_digest
from away.secret_texts import hidden

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from away.connection.conversations import Conversation, Reply
    from away.publish.image import Image, Layer
    from away.publish.references import ImageName

__all__ = ["MEMORY", "ManifestRefused", "Memory", "Registry"]

CHUNK_BYTES = 1 << 20
# OpenFaaS says what uname says, images what Go does.
PROCESSORS = {"x86_64": "amd64", "": "amd64", "aarch64": "arm64"}


class ManifestRefused(Exception):
    """The registry misses blobs that the manifest names: what was remembered of it is wrong."""


class Memory:
    """What this process knows of registries: where blobs are, and base images by their digest."""

    def __init__(self) -> None:
        self.blobs: dict[tuple[str, str], dict[str, None]] = {}
        self.bases: dict[tuple[str, str], BaseImage] = {}
        self.answering: set[str] = set()

    def holds(self, registry: str, repository: str, digest: str) -> bool:
        """Tell whether a blob was seen in a repository."""
        return repository in self.blobs.get((registry, digest), {})

    def elsewhere(self, registry: str, digest: str) -> str | None:
        """Return another repository of the registry that has the blob."""
        return next(reversed(self.blobs.get((registry, digest), {})), None)

    def add(self, registry: str, repository: str, digest: str) -> None:
        """Remember that a repository has a blob."""
        # Dicts are changed by single operations only: threads may publish at once.
        self.blobs.setdefault((registry, digest), {})[repository] = None

    def forget(self, registry: str) -> None:
        """Forget everything of a registry, which was emptied or replaced."""
        for key in [key for key in self.blobs if key[0] == registry]:
            self.blobs.pop(key, None)
        self.answering.discard(registry)


MEMORY = Memory()


class Chunks:
    """A file to upload piece by piece; each iteration starts anew, so a request can be repeated."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __iter__(self) -> Iterator[bytes]:
        with self.path.open("rb") as file:
            while piece := file.read(CHUNK_BYTES):
                yield piece


class Registry:
    """A registry to pull from and push to.

    Args:
        ask: Makes the conversation of one request.
        url: Its URL, ``https://registry.example``; of the gateway itself for its own registry.
        own: True for the registry of the gateway itself, which asks for the gateway's credentials.
        user: Whom the gateway knows, for the error when it refuses.
    """

    def __init__(
        self,
        ask: Callable[[Request], Conversation[Reply]],
        url: str,
        *,
        own: bool,
        user: str = "",
        memory: Memory = MEMORY,
    ) -> None:
        self.ask = ask
        self.url = url
        self.own = own
        self.user = user
        self.memory = memory

    @property
    def host(self) -> str:
        """The host and port that images of this registry are named by."""
        return urlsplit(self.url).netloc

    # ------------------------------------------------------------ requests

    def send(
        self,
        method: str,
        path: str,
        *,
        headers: dict[str, str] | None = None,
        body: bytes | Chunks | None = None,
    ) -> Conversation[Reply]:
        """Send one request: a path below the registry, or a whole URL."""
        absolute = "://" in path
        target = path if absolute or self.own else self.url + path
        request = Request(method, target, headers or {}, body, self.own and not absolute)
        try:
            reply = yield from self.ask(request)
        except GatewayUnreachable as error:
            if self.own:
                raise
            why = str(error.__cause__ or "") or "no connection in time"
            raise PublishFailed(
                f"the registry {self.url} cannot be reached ({why}); start it, or correct registry="
                " or base_image=",
                step="registry",
            ) from error
        if reply.status in (401, 403):
            raise self.refused(reply.status)
        return reply

    def refused(self, status: int) -> AuthenticationRefused:
        """Make the error for a registry that asks for other credentials."""
        if self.own:
            sent, hint = f"the password of {self.user!r}", "correct it on the connection"
        else:
            sent, hint = "no credentials, for it has none here", "push to one that takes them"
        return AuthenticationRefused(
            f"the registry {self.url}/v2/ answered {status} to {sent}; {hint}",
            status=status,
            hint=hint,
        )

    def failed(self, what: str, reply: Reply) -> PublishFailed:
        """Make the error for an answer that ends the push."""
        said = printable(hidden(reply.text)[:300].strip())
        return PublishFailed(
            f"the registry {self.url} answered {reply.status} to {what}: {said or 'no text'}",
            step="push",
            status=reply.status,
        )

    def check(self) -> Conversation[None]:
        """Ask whether there is a registry at all.

        Raises:
            PublishFailed: There is none; the sentence says how to name one.
        """
        if self.url in self.memory.answering:
            return
        reply = yield from self.send("GET", "/v2/")
        if reply.status == 200:
            self.memory.answering.add(self.url)
            return
        if not self.own or reply.status != 404:
            raise self.failed("GET /v2/", reply)
        raise PublishFailed(
            f"the gateway {self.url} has no registry of its own (404 to {self.url}/v2/): name the"
            " one that it pulls from, FaasConnection(…, registry='HOST:PORT'), or 'registry' in"
            " its configuration",
            step="registry",
            gateway=self.url,
            status=404,
        )

    # ------------------------------------------------------------ base images

    def base(self, name: ImageName, architecture: str) -> Conversation[BaseImage]:
        """Get a base image's manifest and configuration; by its digest, once in a process.

        Args:
            name: The image.
            architecture: The gateway's processor, which only an index needs.

        Raises:
            PublishFailed: The registry does not have it, or nothing can be built on it.
        """
        repository = name.repository
        head = yield from self.manifest("HEAD", repository, name.reference)
        digest = str(head.headers.get("Docker-Content-Digest") or "") if head.status == 200 else ""
        processor = ""
        if media_type_of(head) in (OCI_INDEX, DOCKER_INDEX):
            processor = PROCESSORS.get(architecture, architecture)
        key = (f"{self.url}/{repository}", f"{digest} {processor}")
        if digest and key in self.memory.bases:
            return self.memory.bases[key]
        reply = yield from self.manifest("GET", repository, digest or name.reference)
        if reply.status == 404:
            if self.own:
                # The registry that was there a moment ago may be gone as a whole.
                self.memory.answering.discard(self.url)
                yield from self.check()
            raise PublishFailed(
                f"the registry {self.url} has no base image {name}; pass base_image= with one that"
                " it has",
                step="base image",
                status=404,
            )
        if reply.status != 200:
            raise self.failed(f"the manifest of {name}", reply)
        base = yield from self.read_manifest(name, reply, processor)
        if digest:
            self.memory.bases[key] = base
        return base

    def manifest(self, method: str, repository: str, reference: str) -> Conversation[Reply]:
        """Ask for a manifest, of whichever of the four types it is."""
        headers = {"Accept": ", ".join(MANIFEST_TYPES)}
        return self.send(method, f"/v2/{repository}/manifests/{reference}", headers=headers)

    def read_manifest(
        self, name: ImageName, reply: Reply, architecture: str
    ) -> Conversation[BaseImage]:
        """Read a manifest, or the one of an index that is for the gateway's processor."""
        media_type = media_type_of(reply)
        document = parsed(reply.body)
        if document.get("mediaType", media_type) in (OCI_INDEX, DOCKER_INDEX):
            digest = choose_platform(document, architecture, str(name))
            reply = yield from self.manifest("GET", name.repository, digest)
            if reply.status != 200:
                raise self.failed(f"the manifest {digest} of {name}", reply)
            media_type = media_type_of(reply)
            document = parsed(reply.body)
        config = yield from self.blob(name.repository, config_digest(document))
        digest = digest_of(reply.body)
        return read_base(name.repository, digest, media_type, reply.body, config)

    def blob(self, repository: str, digest: str) -> Conversation[bytes]:
        """Get a blob and check that it is the one asked for."""
        reply = yield from self.send("GET", f"/v2/{repository}/blobs/{digest}")
        if reply.status != 200:
            raise self.failed(f"the blob {printable(digest)} of {repository}", reply)
        if digest_of(reply.body) != digest:
            raise PublishFailed(
                f"the registry {self.url} gave other bytes than {printable(digest)} names; clear"
                " what caches it",
                step="push",
            )
        return reply.body

    # ------------------------------------------------------------ pushing

    def mount(self, digest: str, source: str, repository: str) -> Conversation[bool]:
        """Take a blob over from another repository of this registry, if it allows that."""
        if source == repository or self.memory.holds(self.url, repository, digest):
            return True
        path = f"/v2/{repository}/blobs/uploads/?mount={digest}&from={source}"
        reply = yield from self.send("POST", path, headers={"Content-Length": "0"})
        if reply.status == 201:
            self.memory.add(self.url, repository, digest)
            return True
        if reply.status != 202:
            raise self.failed(f"mounting {digest} in {repository}", reply)
        return False

    def push(self, layer: Layer, repository: str) -> Conversation[str]:
        """Push a layer unless it is there.

        Returns:
            ``there``, ``mounted`` or ``pushed``.
        """
        if self.memory.holds(self.url, repository, layer.digest):
            return "there"
        source = self.memory.elsewhere(self.url, layer.digest)
        if source and (yield from self.mount(layer.digest, source, repository)):
            return "mounted"
        data = layer.data if isinstance(layer.data, bytes) else Chunks(layer.data)
        return (yield from self.upload(layer.digest, data, repository))

    def upload(self, digest: str, data: bytes | Chunks, repository: str) -> Conversation[str]:
        """Upload a blob in one piece unless the repository has it."""
        head = yield from self.send("HEAD", f"/v2/{repository}/blobs/{digest}")
        if head.status == 200:
            self.memory.add(self.url, repository, digest)
            return "there"
        path = f"/v2/{repository}/blobs/uploads/"
        started = yield from self.send("POST", path, headers={"Content-Length": "0"})
        if started.status != 202:
            raise self.failed(f"an upload to {repository}", started)
        location = self.location(path, str(started.headers.get("Location") or ""))
        # The place may have a query of its own, which is part of its name.
        target = f"{location}{'&' if '?' in location else '?'}digest={digest}"
        headers = {"Content-Type": "application/octet-stream"}
        reply = yield from self.send("PUT", target, headers=headers, body=data)
        if reply.status != 201:
            raise self.failed(f"the blob {digest} for {repository}", reply)
        self.memory.add(self.url, repository, digest)
        return "pushed"

    def location(self, path: str, location: str) -> str:
        """Read where to upload: a path below this registry, or another server's URL as it is.

        Another server is sent no credentials of ours.

        Raises:
            PublishFailed: It is no place that bytes can be sent to.
        """
        try:
            target = urljoin(self.url + path, location)
            host_of(target)
        except (ValueError, ConnectFailed):
            raise PublishFailed(
                f"the registry {self.url} names no place to upload to that HTTP could reach, but"
                f" {printable(hidden(location))[:100]!r}; name another one by registry=",
                step="push",
            ) from None
        whole = urlsplit(target)
        here = urlsplit(self.url)
        below = f"{whole.path}?{whole.query}" if whole.query else whole.path
        if (whole.scheme, whole.netloc) != (here.scheme, here.netloc):
            return whole.geturl()
        prefix = here.path
        return below[len(prefix) :] if prefix and below.startswith(f"{prefix}/") else below

    def put_manifest(self, image: Image, repository: str, tag: str) -> Conversation[None]:
        """Push the manifest, which makes the image exist.

        Raises:
            ManifestRefused: The registry misses a blob of it.
            PublishFailed: It was refused for another reason.
        """
        path = f"/v2/{repository}/manifests/{tag}"
        headers = {"Content-Type": image.media_type}
        reply = yield from self.send("PUT", path, headers=headers, body=image.manifest)
        if reply.status in (400, 404) and "BLOB_UNKNOWN" in reply.text.upper():
            raise ManifestRefused(printable(reply.text[:300]))
        if reply.status != 201:
            raise self.failed(f"the manifest of {repository}", reply)

    def has_manifest(self, repository: str, digest: str) -> Conversation[bool]:
        """Tell whether an image is there to be pulled."""
        reply = yield from self.manifest("HEAD", repository, digest)
        return reply.status == 200


def media_type_of(reply: Reply) -> str:
    """Return the type that an answer says it has, without parameters."""
    return str(reply.headers.get("Content-Type") or "").partition(";")[0].strip()


def parsed(body: bytes) -> dict[str, Any]:
    """Read a manifest, or an empty one from what is none."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", document) if isinstance(document, dict) else {}


def config_digest(manifest: dict[str, Any]) -> str:
    """Return the digest of an image's configuration.

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
    return digest
