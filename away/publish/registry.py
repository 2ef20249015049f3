"""The OCI distribution API as conversations: what an image is pulled and pushed with.

Every method of a :class:`Registry` is a generator that a connection's driver pumps. It knows how
registries answer and nothing of functions or deployments. What was pushed is remembered for the life
of the process, so that the layers that all functions share are asked for once.
"""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from away.connection.conversations import Wait
from away.exceptions import AuthenticationRefused, PublishFailed
from away.names import printable
from away.publish.credentials import Credentials
from away.publish.image import (
    DOCKER_INDEX,
    MANIFEST_TYPES,
    OCI_INDEX,
    BaseImage,
    digest_of,
    read_base,
)
from away.publish.manifests import check_layer, config_of, layers_of, media_type_of, parsed
from away.publish.platforms import choose_manifest, parse_platform
from away.publish.references import HUB, HUB_HOSTS, is_digest, is_repository, is_tag
from away.publish.registry_errors import Broken, codes_of, failed, said
from away.publish.registry_memory import MEMORY, Memory
from away.publish.registry_session import PAUSES, Session, is_passing
from away.publish.transfer import CheckedBlob, FileTaker, Small, Upload, drop, kept

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import IO

    from away.connection.conversations import Conversation, Deadline, Reply, Request
    from away.publish.image import Image, Layer
    from away.publish.references import ImageName
    from away.publish.transfer import Taker

__all__ = ["MEMORY", "ManifestRefused", "Memory", "Registry", "find_base"]

# The specification has registries take manifests of 4 MiB at least, and they take no more.
MAX_MANIFEST_BYTES = 4 << 20
# Configurations are as large as their history is long: some kilobytes.
MAX_CONFIG_BYTES = 16 << 20
INDEXES = (OCI_INDEX, DOCKER_INDEX)


class ManifestRefused(Exception):
    """The registry misses blobs that the manifest names: what was remembered of it is wrong."""


class Registry:
    """A registry to pull from and push to.

    Args:
        ask: Makes the conversation of one request.
        url: Its URL, ``https://registry.example``; of the gateway itself for its own registry.
        own: True for the registry of the gateway itself, which asks for the gateway's credentials.
        user: Whom the gateway knows, for the error when it refuses.
        memory: What is known of registries; this process's own if left out.
        credentials: Where our login at another registry comes from; Docker's if left out.
        deadline: Until when a registry that is asked too often may have us wait.
        sent: Is told how many bytes of layers more have gone out.
        folder: Where layers are kept on their way from one registry to another; a temporary one
            if left out.
    """

    def __init__(
        self,
        ask: Callable[[Request], Conversation[Reply]],
        url: str,
        *,
        own: bool,
        user: str = "",
        memory: Memory = MEMORY,
        credentials: Credentials | None = None,
        deadline: Deadline | None = None,
        sent: Callable[[int], None] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.url = url
        self.own = own
        self.memory = memory
        self.sent = sent
        self.folder = folder
        # Where a mount that was not possible has begun an upload, by repository and digest.
        self.begun: dict[tuple[str, str], str] = {}
        self.session = Session(
            ask,
            url,
            own=own,
            user=user,
            credentials=credentials or Credentials(self.host),
            memory=memory,
            deadline=deadline,
        )

    @property
    def host(self) -> str:
        """The host and port that images of this registry are named by."""
        host = urlsplit(self.url).netloc
        return HUB if host in HUB_HOSTS else host

    def path_of(self, repository: str) -> str:
        """Return a repository's whole name: on Docker Hub a single word is below ``library``."""
        if "/" in repository or self.host != HUB:
            return repository
        return f"library/{repository}"

    def location(self, path: str, location: str) -> str:
        """Read where to upload: a path below this registry, or another server's URL as it is.

        Another server is sent no credentials of ours.

        Raises:
            PublishFailed: It is no place that bytes can be sent to, or may be.
        """
        return self.session.location(path, location)

    def failed(self, what: str, reply: Reply, step: str = "push") -> PublishFailed:
        """Make the error for an answer that ends the work."""
        return failed(self.url, what, reply, step=step)

    def check(self, repository: str = "") -> Conversation[None]:
        """Ask whether there is a registry at all, and whether it lets us in.

        Args:
            repository: What is to be pushed to, so that the login is tried for that.

        Raises:
            PublishFailed: There is none; the sentence says how to name one.
            AuthenticationRefused: It wants other credentials.
        """
        if self.url in self.memory.answering:
            return
        if repository:
            check_name(repository)
        scopes = pushing(repository) if repository else ()
        doing = f"a push to {repository}" if repository else "GET /v2/"
        reply = yield from self.session.send("GET", "/v2/", doing, scopes=scopes)
        if reply.status == 200:
            self.memory.answering.add(self.url)
            return
        if not self.own or reply.status != 404:
            raise self.failed("GET /v2/", reply, "registry")
        raise PublishFailed(
            f"the gateway {self.url} has no registry of its own (404 to {self.url}/v2/): name the"
            " one that it pulls from, FaasConnection(…, registry='HOST:PORT'), or 'registry' in"
            " its configuration",
            step="registry",
            gateway=self.url,
            status=404,
        )

    # ------------------------------------------------------------ base images

    def base(self, name: ImageName, platform: str) -> Conversation[BaseImage]:
        """Get a base image's manifest and configuration; by its digest, once in a process.

        Args:
            name: The image.
            platform: The machine that it is to run on, which chooses from an index: ``arm64``,
                ``linux/arm/v7``, or what uname says; an empty text for amd64.

        Raises:
            PublishFailed: The registry does not have it, or nothing can be built on it.
            AuthenticationRefused: It shows it to nobody without another login.
        """
        repository = self.path_of(name.repository)
        head = yield from self.manifest("HEAD", repository, name.reference)
        digest = str(head.headers.get("Docker-Content-Digest") or "") if head.status == 200 else ""
        digest = digest if is_digest(digest) else ""
        chosen_by = platform if media_type_of(head) in INDEXES else ""
        key = (f"{self.url}/{repository}", f"{digest} {chosen_by}")
        if digest and key in self.memory.bases:
            return self.memory.bases[key]
        reply = yield from self.manifest("GET", repository, digest or name.reference)
        if reply.status == 404:
            raise (yield from self.no_base(name))
        if reply.status != 200:
            raise self.failed(f"the manifest of {name}", reply, "base image")
        document = self.read_document(reply, digest or name.digest)
        if document.get("mediaType", media_type_of(reply)) in INDEXES:
            chosen = choose_manifest(document, parse_platform(platform), str(name))
            reply = yield from self.manifest("GET", repository, chosen)
            if reply.status != 200:
                raise self.failed(f"the manifest {chosen} of {name}", reply, "base image")
            document = self.read_document(reply, chosen)
        base = yield from self.read_image(repository, reply, document)
        if digest:
            self.memory.bases[key] = base
        return base

    def no_base(self, name: ImageName) -> Conversation[PublishFailed]:
        """Make the error for a base image that is not there."""
        if self.own:
            # The registry that was there a moment ago may be gone as a whole.
            self.memory.answering.discard(self.url)
            yield from self.check()
        return PublishFailed(
            f"the registry {self.url} has no base image {name}; pass base_image= with one that it"
            " has",
            step="base image",
            status=404,
        )

    def manifest(self, method: str, repository: str, reference: str) -> Conversation[Reply]:
        """Ask for a manifest, of whichever of the four types it is."""
        headers = {"Accept": ", ".join(MANIFEST_TYPES)}
        what = f"the manifest of {repository}{'@' if is_digest(reference) else ':'}{reference}"
        into = Small(MAX_MANIFEST_BYTES, f"{what} at the registry {self.url}")
        return self.session.send(
            method,
            f"/v2/{repository}/manifests/{reference}",
            what,
            headers=headers,
            into=into if method == "GET" else None,
            scopes=pulling(repository),
        )

    def read_document(self, reply: Reply, digest: str) -> dict[str, Any]:
        """Read a manifest, once its bytes are what their digest names."""
        if digest and digest_of(reply.body) != digest:
            raise PublishFailed(
                f"the registry {self.url} gave another manifest than {digest} names; clear what"
                " caches it, or push that image anew",
                step="base image",
            )
        return parsed(reply.body)

    def read_image(
        self, repository: str, reply: Reply, document: dict[str, Any]
    ) -> Conversation[BaseImage]:
        """Read the manifest of one image, and get its configuration."""
        config = config_of(document)
        layers_of(document, repository)
        data = yield from self.blob(repository, *config, most=MAX_CONFIG_BYTES)
        digest = digest_of(reply.body)
        return read_base(repository, digest, media_type_of(reply), reply.body, data)

    # ------------------------------------------------------------ blobs

    def blob(
        self,
        repository: str,
        digest: str,
        size: int | None = None,
        *,
        most: int = 1 << 30,
    ) -> Conversation[bytes]:
        """Get a blob that fits into memory, and check that it is the one asked for."""
        taker = MemoryTaker(most, f"the blob {printable(digest)[:80]} at the registry {self.url}")
        yield from self.stream(repository, digest, size, taker)
        return taker.data

    def stream(
        self, repository: str, digest: str, size: int | None, taker: Taker
    ) -> Conversation[None]:
        """Get a blob piece by piece, and check that it is the one asked for.

        Args:
            repository: Where it is.
            digest: What its bytes hash to.
            size: How many bytes it has, where the manifest says it.
            taker: What the bytes go to; they count only once this method has returned.

        Raises:
            PublishFailed: It is not there, or gives other bytes.
        """
        checked = CheckedBlob(digest, size, taker, self.url)
        path = f"/v2/{repository}/blobs/{digest}"
        doing = f"the blob {printable(digest)[:80]} of {repository}"
        reply = yield from self.session.send(
            "GET", path, doing, into=checked, scopes=pulling(repository)
        )
        if reply.status != 200:
            raise self.failed(doing, reply)
        checked.finish()

    def has_blob(self, repository: str, digest: str) -> Conversation[bool]:
        """Tell whether a repository has a blob."""
        if self.memory.holds(self.url, repository, digest):
            return True
        head = yield from self.session.send(
            "HEAD",
            f"/v2/{repository}/blobs/{digest}",
            f"the blob {digest} of {repository}",
            scopes=pushing(repository),
        )
        if head.status == 200:
            self.memory.add(self.url, repository, digest)
        return head.status == 200

    def mount(self, digest: str, source: str, repository: str) -> Conversation[bool]:
        """Take a blob over from another repository of this registry, if it allows that.

        One that does not has begun an upload instead, which :meth:`upload` goes on with.
        """
        if source == repository or self.memory.holds(self.url, repository, digest):
            return True
        check_name(repository)
        path = f"/v2/{repository}/blobs/uploads/"
        doing = f"mounting {digest} in {repository}"
        reply = yield from self.session.send(
            "POST",
            f"{path}?mount={digest}&from={quote(source, safe='')}",
            doing,
            headers={"Content-Length": "0"},
            scopes=(*pushing(repository), *pulling(source)),
            denied=True,
        )
        if reply.status == 201:
            self.memory.add(self.url, repository, digest)
            return True
        if reply.status == 202 and reply.headers.get("Location"):
            self.begun[repository, digest] = str(reply.headers["Location"])
        elif reply.status not in (202, 401, 403, 404, 405):
            # A login that may push and not read the source is refused the mount alone.
            raise self.failed(doing, reply)
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
        return (yield from self.upload(layer.digest, layer.data, repository))

    def carry(
        self, layer: dict[str, Any], source: Registry, origin: str, repository: str
    ) -> Conversation[str]:
        """Bring a layer of a base image into a repository of this registry.

        Args:
            layer: What the base's manifest says of it.
            source: The registry that has it, which may be this one.
            origin: The repository there.
            repository: Where it is to be.

        Returns:
            ``there``, ``mounted`` or ``pushed``.
        """
        check_layer(layer, origin)
        digest, size = str(layer["digest"]), int(layer["size"])
        here = origin if source.url == self.url else self.memory.elsewhere(self.url, digest)
        if (yield from self.has_blob(repository, digest)):
            done = "there"
        elif here and (yield from self.mount(digest, here, repository)):
            done = "mounted"
        elif (place := kept(self.folder, digest)) is not None:
            done = yield from self.send_up(digest, place, repository)
        else:
            with tempfile.TemporaryFile(dir=self.folder) as file:
                yield from source.stream(origin, digest, size, FileTaker(file))
                file.flush()
                done = yield from self.send_up(digest, file, repository)
        drop(self.folder, digest)
        return done

    def upload(self, digest: str, data: bytes | Path, repository: str) -> Conversation[str]:
        """Upload a blob in one piece unless the repository has it.

        Returns:
            ``there`` or ``pushed``.
        """
        if (yield from self.has_blob(repository, digest)):
            return "there"
        return (yield from self.send_up(digest, data, repository))

    def send_up(
        self, digest: str, data: bytes | Path | IO[bytes], repository: str
    ) -> Conversation[str]:
        """Upload a blob that is not there; once more where the connection or the registry fails."""
        check_name(repository)
        body = Upload(data, self.sent)
        for pause in (*PAUSES, None):
            try:
                reply = yield from self.send_once(digest, body, repository)
            except Broken:
                if pause is None:
                    raise
            else:
                if reply.status == 201:
                    self.memory.add(self.url, repository, digest)
                    return "pushed"
                lost = "BLOB_UPLOAD_UNKNOWN" in codes_of(reply)
                if pause is None or not (is_passing(reply) or lost):
                    raise self.failed(f"the blob {digest} for {repository}", reply)
            yield Wait(pause)
            if (yield from self.has_blob(repository, digest)):
                break
        return "pushed"

    def send_once(self, digest: str, body: Upload, repository: str) -> Conversation[Reply]:
        """Begin an upload, or go on with one that a mount began, and send all.

        In one PUT, which every registry takes ("Monolithic Uploads"): the least length of a piece that
        some ask for by ``OCI-Chunk-Min-Length`` is for uploads in several.
        """
        path = f"/v2/{repository}/blobs/uploads/"
        scopes = pushing(repository)
        begun = self.begun.pop((repository, digest), None)
        if begun is None:
            doing = f"an upload to {repository}"
            started = yield from self.session.send(
                "POST", path, doing, headers={"Content-Length": "0"}, scopes=scopes
            )
            if started.status != 202:
                raise self.failed(doing, started)
            begun = str(started.headers.get("Location") or "")
        location = self.location(path, begun)
        # The place may have a query of its own, which is part of its name.
        target = f"{location}{'&' if '?' in location else '?'}digest={digest}"
        headers = {
            "Content-Type": "application/octet-stream",
            # Registries take a body without a length, and what lies before them often does not.
            "Content-Length": str(body.size),
        }
        return (
            yield from self.session.send(
                "PUT",
                target,
                f"the blob {digest} for {repository}",
                headers=headers,
                body=body,
                scopes=scopes,
                again=False,
            )
        )

    # ------------------------------------------------------------ manifests

    def put_manifest(self, image: Image, repository: str, tag: str) -> Conversation[None]:
        """Push the manifest, which makes the image exist.

        Raises:
            ManifestRefused: The registry misses a blob of it.
            PublishFailed: It was refused for another reason.
        """
        check_name(repository)
        if not (is_tag(tag) or is_digest(tag)):
            raise PublishFailed(
                f"the tag {printable(tag)[:60]!r} is none by the grammar of registries: letters,"
                " digits, '_', '.' and '-', 128 at most",
                step="names",
            )
        doing = f"the manifest of {repository}"
        reply = yield from self.session.send(
            "PUT",
            f"/v2/{repository}/manifests/{tag}",
            doing,
            headers={"Content-Type": image.media_type},
            body=image.manifest,
            scopes=pushing(repository),
        )
        if reply.status in (400, 404) and "BLOB_UNKNOWN" in reply.text.upper():
            raise ManifestRefused(said(reply))
        if reply.status != 201:
            raise self.failed(doing, reply)

    def has_manifest(self, repository: str, digest: str) -> Conversation[bool]:
        """Tell whether an image is there to be pulled."""
        reply = yield from self.manifest("HEAD", repository, digest)
        return reply.status == 200


def find_base(
    name: ImageName,
    platform: str,
    target: Registry,
    other: Callable[[str], Registry],
) -> Conversation[tuple[Registry, BaseImage]]:
    """Find a base image: where its name says, else in the registry that is pushed to, else on Docker Hub.

    Args:
        name: The image.
        platform: The machine that it is to run on.
        target: The registry that is pushed to.
        other: Makes the registry of a host.

    Returns:
        The registry that has it, and the image.

    Raises:
        PublishFailed: None of them has it; the sentence names both.
    """
    if name.host:
        registry = target if name.host == target.host else other(name.host)
        return registry, (yield from registry.base(name, platform))
    try:
        return target, (yield from target.base(name, platform))
    except (PublishFailed, AuthenticationRefused) as error:
        # What is Away's own is in no public registry.
        unknown = error.status in (401, 403, 404) and not name.repository.startswith("away/")
        if not unknown or target.host == HUB or (target.own and error.status != 404):
            raise
        missing = error
    hub = other(HUB)
    try:
        return hub, (yield from hub.base(name, platform))
    except (PublishFailed, AuthenticationRefused) as error:
        raise PublishFailed(
            f"neither the registry {target.url} has the base image {name} nor Docker Hub"
            f" ({missing.status} here; there: {error}); pass base_image= with its whole name",
            step="base image",
            status=404,
        ) from error


class MemoryTaker:
    """Takes the bytes of a blob that fits into memory."""

    def __init__(self, most: int, what: str) -> None:
        self.small = Small(most, what)

    def restart(self) -> None:
        """Forget what came."""
        self.small.pieces, self.small.size = [], 0

    def write(self, piece: bytes) -> None:
        """Take the next bytes."""
        self.small.write(piece)

    @property
    def data(self) -> bytes:
        """What came."""
        return self.small.data


def pulling(repository: str) -> tuple[str, ...]:
    """Return what a token has to allow for a pull."""
    return (f"repository:{repository}:pull",)


def pushing(repository: str) -> tuple[str, ...]:
    """Return what a token has to allow for a push."""
    return (f"repository:{repository}:pull,push",)


def check_name(repository: str) -> None:
    """Check a repository's name, which registries answer to by 404 or 500 where it is none.

    Raises:
        PublishFailed: It is none.
    """
    if not is_repository(repository):
        raise PublishFailed(
            f"{printable(repository)[:100]!r} is no name of a repository: parts of lower-case"
            " letters and digits with '.', '_' or '-' between them, 255 characters at most; correct"
            " registry_prefix= or the function's name",
            step="names",
        )
