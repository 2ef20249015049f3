"""The server half of the OCI distribution API: what publishing needs of a registry.

Blobs are kept once for all repositories, so that a mount is a look-up; they are verified when they
come in and each time that they are read.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from aiohttp import web

from away.gateway.blobs import BlobMissing, digest_of, is_digest
from away.gateway.images import INDEXES, MAX_DOCUMENT_BYTES
from away.gateway.references import is_repository, is_tag

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from away.gateway.blobs import Upload
    from away.gateway.store import Store

__all__ = ["ImageRegistry", "RegistryError"]

# One blob; a layer of 2 GB is far beyond what a laptop's function needs.
MAX_BLOB_BYTES = 4 * 1024**3
# An upload that nobody goes on with is dropped after an hour.
UPLOAD_SECONDS = 3600.0
MAX_UPLOADS = 256
MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)

_ROUTES = (
    (re.compile(r"/v2/(?P<repository>.+)/blobs/uploads/(?P<upload>[^/]*)\Z"), "_upload"),
    (re.compile(r"/v2/(?P<repository>.+)/blobs/(?P<digest>[^/]+)\Z"), "_blob"),
    (re.compile(r"/v2/(?P<repository>.+)/manifests/(?P<reference>[^/]+)\Z"), "_manifest"),
    (re.compile(r"/v2/(?P<repository>.+)/tags/list\Z"), "_tags"),
)
_RANGE = re.compile(r"(?:bytes=|bytes )?(\d+)-(\d+)\Z")


class RegistryError(Exception):
    """An error as the OCI distribution spec writes it."""

    def __init__(self, status: int, code: str, message: str, detail: Any = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.detail = detail

    def response(self) -> web.Response:
        """Return the answer."""
        error = {"code": self.code, "message": str(self), "detail": self.detail}
        return _json({"errors": [error]}, status=self.status)


class _Session:
    """An upload, the repository that it is for, and when it was last gone on with."""

    def __init__(self, repository: str, upload: Upload) -> None:
        self.repository = repository
        self.upload = upload
        self.touched = time.monotonic()
        self.busy = asyncio.Lock()


class ImageRegistry:
    """Answers requests below ``/v2/``, which have passed the password already."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._sessions: dict[str, _Session] = {}

    async def handle(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        """Answer a request, whose path is given unquoted."""
        try:
            return await self._route(request, path)
        except RegistryError as error:
            response = error.response()
            if request.body_exists and not request.content.at_eof():
                response.force_close()
            return response

    def close(self) -> None:
        """Drop uploads that were not finished."""
        for session in self._sessions.values():
            session.upload.abandon()
        self._sessions.clear()

    async def _route(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        if path in ("/v2/", "/v2"):
            return _json({})
        for pattern, name in _ROUTES:
            if (found := pattern.match(path)) is not None:
                parts = found.groupdict()
                repository = parts.pop("repository")
                if not is_repository(repository):
                    raise RegistryError(
                        400, "NAME_INVALID", f"{repository[:100]!r} is not a repository's name"
                    )
                handler: Callable[..., Awaitable[web.StreamResponse]] = getattr(self, name)
                return await handler(request, repository, **parts)
        raise RegistryError(404, "UNSUPPORTED", "there is no such route")

    # Blobs

    async def _blob(
        self,
        request: web.BaseRequest,
        repository: str,  # noqa: ARG002 - blobs are kept once for all repositories
        digest: str,
    ) -> web.StreamResponse:
        _check_digest(digest)
        blobs = self._store.blobs
        if request.method == "HEAD":
            if (size := blobs.size(digest)) is None:
                raise _blob_unknown(digest)
            blobs.touch(digest)  # whoever asks will name it in a manifest
            return web.Response(headers=_blob_headers(digest, size))
        if request.method != "GET":
            raise _unsupported(request)
        try:
            path = await asyncio.to_thread(blobs.verified, digest)
        except BlobMissing:
            raise _blob_unknown(digest) from None
        return await _send_file(request, path, digest, blobs.size(digest) or 0)

    async def _upload(
        self, request: web.BaseRequest, repository: str, upload: str
    ) -> web.StreamResponse:
        if not upload:
            if request.method != "POST":
                raise _unsupported(request)
            return await self._begin(request, repository)
        session = self._sessions.get(upload)
        if session is None or session.repository != repository:
            raise RegistryError(404, "BLOB_UPLOAD_UNKNOWN", "there is no such upload")
        if session.busy.locked():
            raise RegistryError(409, "BLOB_UPLOAD_INVALID", "this upload is being written to")
        async with session.busy:
            session.touched = time.monotonic()
            return await self._go_on(request, upload, session)

    async def _go_on(
        self, request: web.BaseRequest, name: str, session: _Session
    ) -> web.StreamResponse:
        if request.method == "PATCH":
            _check_range(request, session.upload.size)
            await self._receive(request, name, session)
            return _accepted(name, session, 202)
        if request.method == "PUT":
            return await self._finish(request, name, session)
        if request.method == "GET":
            return _accepted(name, session, 204)
        if request.method == "DELETE":
            self._drop(name)
            return web.Response(status=204)
        raise _unsupported(request)

    async def _begin(self, request: web.BaseRequest, repository: str) -> web.StreamResponse:
        query = _query(request)
        mounted = query.get("mount", "")
        if mounted and is_digest(mounted) and self._store.blobs.size(mounted) is not None:
            self._store.blobs.touch(mounted)
            return _created(repository, mounted)
        name = secrets.token_hex(16)
        self._drop_old()
        self._make_room()
        session = self._sessions[name] = _Session(repository, self._store.blobs.upload())
        asyncio.get_running_loop().call_later(UPLOAD_SECONDS + 1.0, self._drop_old)
        if "digest" in query:
            async with session.busy:
                return await self._finish(request, name, session)
        return _accepted(name, session, 202)

    async def _finish(
        self, request: web.BaseRequest, name: str, session: _Session
    ) -> web.StreamResponse:
        digest = _query(request).get("digest", "")
        try:
            _check_digest(digest)
            await self._receive(request, name, session)
            if session.upload.digest != digest:
                raise RegistryError(
                    400,
                    "DIGEST_INVALID",
                    "the blob's content does not have the digest that it was sent under",
                    {"digest": digest, "found": session.upload.digest},
                )
            self._store.blobs.keep(session.upload)
            self._sessions.pop(name, None)
        except RegistryError:
            self._drop(name)
            raise
        return _created(session.repository, digest)

    async def _receive(self, request: web.BaseRequest, name: str, session: _Session) -> None:
        """Write a request's body to an upload; one that breaks off ends the upload."""
        upload = session.upload
        try:
            async for piece in request.content.iter_any():
                upload.write(piece)
                if upload.size > MAX_BLOB_BYTES:
                    raise RegistryError(413, "SIZE_INVALID", "the blob is too large")
        except RegistryError:
            raise
        except BaseException:
            self._drop(name)
            raise

    def _drop(self, name: str) -> None:
        session = self._sessions.pop(name, None)
        if session is not None:
            session.upload.abandon()

    def _drop_old(self) -> None:
        now = time.monotonic()
        for name, session in self._idle():
            if now - session.touched > UPLOAD_SECONDS:
                self._drop(name)

    def _make_room(self) -> None:
        """See that one more upload can begin; of others the one that is missed least gives way."""
        if len(self._sessions) < MAX_UPLOADS:
            return
        idle = self._idle()
        if not idle:
            raise RegistryError(429, "TOOMANYREQUESTS", f"{MAX_UPLOADS} uploads are going on")
        name, _ = min(idle, key=lambda each: (each[1].upload.size > 0, each[1].touched))
        self._drop(name)

    def _idle(self) -> list[tuple[str, _Session]]:
        return [each for each in self._sessions.items() if not each[1].busy.locked()]

    # Manifests and tags

    async def _manifest(
        self, request: web.BaseRequest, repository: str, reference: str
    ) -> web.StreamResponse:
        if not (is_tag(reference) or is_digest(reference)):
            raise RegistryError(
                400, "TAG_INVALID", f"{reference[:100]!r} is neither a tag nor a sha256 digest"
            )
        if request.method == "PUT":
            return await self._put_manifest(request, repository, reference)
        found = self._store.manifest(repository, reference)
        if found is None:
            raise _manifest_unknown(repository, reference)
        digest, media_type = found
        if request.method == "DELETE":
            self._store.delete_manifest(repository, reference)
            return web.Response(status=202)
        if request.method not in ("GET", "HEAD"):
            raise _unsupported(request)
        try:
            data = self._store.blobs.read(digest)
        except BlobMissing:
            raise _manifest_unknown(repository, reference) from None
        headers = {**_blob_headers(digest, len(data)), "Content-Type": media_type}
        return web.Response(body=data if request.method == "GET" else None, headers=headers)

    async def _put_manifest(
        self, request: web.BaseRequest, repository: str, reference: str
    ) -> web.StreamResponse:
        data = await _read_all(request)
        digest = digest_of(data)
        if is_digest(reference) and reference != digest:
            raise RegistryError(
                400,
                "DIGEST_INVALID",
                "the manifest does not have the digest that it was sent under",
            )
        media_type = self._check_manifest(data, request.headers.get("Content-Type", ""), repository)
        self._store.blobs.add(data)
        tag = None if is_digest(reference) else reference
        self._store.add_manifest(repository, digest, media_type, tag)
        return web.Response(
            status=201,
            headers={
                "Location": f"/v2/{repository}/manifests/{digest}",
                "Docker-Content-Digest": digest,
            },
        )

    def _check_manifest(self, data: bytes, content_type: str, repository: str) -> str:
        """See that a manifest is one, and that all it names is here; return its media type."""
        try:
            manifest = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise _manifest_invalid("it is not JSON") from error
        if not isinstance(manifest, dict) or manifest.get("schemaVersion") != 2:
            raise _manifest_invalid("its schemaVersion is not 2")
        sent_as = content_type.partition(";")[0].strip()
        media_type = manifest.get("mediaType", sent_as)
        if media_type not in (*MANIFESTS, *INDEXES) or sent_as not in (media_type, ""):
            raise _manifest_invalid(f"it was sent as {sent_as!r} and says {media_type!r}")
        if media_type in INDEXES:
            missing = self._missing(
                manifest.get("manifests"), lambda digest: self._store.manifest(repository, digest)
            )
        else:
            named = [manifest.get("config"), *_list_in(manifest, "layers")]
            missing = self._missing(named, self._store.blobs.size)
        if missing:
            raise RegistryError(
                400 if media_type in MANIFESTS else 404,
                "MANIFEST_BLOB_UNKNOWN",
                "the manifest names a blob that is not here: send blobs first",
                {"digest": missing[0]},
            )
        return str(media_type)

    def _missing(self, descriptors: Any, find: Callable[[str], object]) -> list[str]:
        digests = []
        for each in descriptors if isinstance(descriptors, list) else [None]:
            digest = each.get("digest") if isinstance(each, dict) else None
            if not isinstance(digest, str) or not is_digest(digest):
                raise _manifest_invalid("it names something without a sha256 digest")
            digests.append(digest)
        return [digest for digest in digests if find(digest) is None]

    async def _tags(self, request: web.BaseRequest, repository: str) -> web.StreamResponse:
        if request.method != "GET":
            raise _unsupported(request)
        tags = self._store.tags(repository)
        if tags is None:
            raise RegistryError(404, "NAME_UNKNOWN", f"there is no repository {repository!r}")
        query = _query(request)
        last, count = query.get("last"), query.get("n", "")
        if last is not None:
            tags = [tag for tag in tags if tag > last]
        if count.isdecimal():
            tags = tags[: int(count)]
        return _json({"name": repository, "tags": tags})


async def _send_file(
    request: web.BaseRequest, path: Path, digest: str, size: int
) -> web.StreamResponse:
    response = web.StreamResponse(headers=_blob_headers(digest, size))
    await response.prepare(request)
    with path.open("rb") as file:
        while piece := await asyncio.to_thread(file.read, 1 << 20):
            await response.write(piece)
    await response.write_eof()
    return response


async def _read_all(request: web.BaseRequest) -> bytes:
    data = bytearray()
    async for piece in request.content.iter_any():
        data += piece
        if len(data) > MAX_DOCUMENT_BYTES:
            raise RegistryError(413, "SIZE_INVALID", "the manifest is too large")
    return bytes(data)


def _query(request: web.BaseRequest) -> dict[str, str]:
    _, _, query = request.raw_path.partition("?")
    parts = parse_qs(query, keep_blank_values=True, errors="replace", max_num_fields=50)
    return {name: values[-1] for name, values in parts.items()}


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(
        status=status,
        body=json.dumps(value).encode(),
        content_type="application/json",
        headers={"Docker-Distribution-Api-Version": "registry/2.0"},
    )


def _list_in(manifest: dict[str, Any], name: str) -> list[Any]:
    found = manifest.get(name)
    return found if isinstance(found, list) else [None]


def _blob_headers(digest: str, size: int) -> dict[str, str]:
    return {
        "Content-Type": "application/octet-stream",
        "Content-Length": str(size),
        "Docker-Content-Digest": digest,
    }


def _created(repository: str, digest: str) -> web.Response:
    headers = {"Location": f"/v2/{repository}/blobs/{digest}", "Docker-Content-Digest": digest}
    return web.Response(status=201, headers=headers)


def _accepted(name: str, session: _Session, status: int) -> web.Response:
    headers = {
        "Location": f"/v2/{session.repository}/blobs/uploads/{name}",
        "Docker-Upload-UUID": name,
        "Range": f"0-{max(0, session.upload.size - 1)}",
    }
    return web.Response(status=status, headers=headers)


def _check_range(request: web.BaseRequest, size: int) -> None:
    """See that a piece begins where the last one ended, if it says where it begins."""
    said = request.headers.get("Content-Range")
    if said is None:
        return
    found = _RANGE.match(said.strip())
    if found is None or int(found[1]) != size:
        raise RegistryError(
            416,
            "BLOB_UPLOAD_INVALID",
            f"the upload has {size} bytes and the piece is {said[:80]!r}",
        )


def _check_digest(digest: str) -> None:
    if not is_digest(digest):
        raise RegistryError(400, "DIGEST_INVALID", "the digest is not sha256: and 64 digits")


def _blob_unknown(digest: str) -> RegistryError:
    return RegistryError(404, "BLOB_UNKNOWN", "there is no such blob", {"digest": digest})


def _manifest_unknown(repository: str, reference: str) -> RegistryError:
    return RegistryError(
        404, "MANIFEST_UNKNOWN", "there is no such manifest", {"name": repository, "tag": reference}
    )


def _manifest_invalid(why: str) -> RegistryError:
    return RegistryError(400, "MANIFEST_INVALID", f"the manifest is not taken: {why}")


def _unsupported(request: web.BaseRequest) -> RegistryError:
    return RegistryError(405, "UNSUPPORTED", f"{request.method} is not supported here")
