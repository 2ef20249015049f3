"""A registry on real sockets that asks for bearer tokens, and its token server.

They keep to the distribution specification and to the distribution project's "Token Authentication
Specification", share no code with the client, and misbehave where a test hooks in.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import json
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from tests.servers import Behaviour, Seen, Server, Talk, answer
from tests.servers import json as json_answer

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_KINDS = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.container.image.v1+json",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
)

Hook = Callable[[Seen], Behaviour | None]


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def error(status: int, code: str, message: str = "no", headers: dict[str, str] | None = None):
    body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
    return answer(status, body, {"Content-Type": "application/json", **(headers or {})})


@dataclass
class Store:
    """What a registry has, by repository."""

    blobs: dict[str, dict[str, bytes]] = field(default_factory=dict)
    manifests: dict[str, dict[str, tuple[str, bytes]]] = field(default_factory=dict)

    def add_blob(self, repository: str, data: bytes) -> str:
        self.blobs.setdefault(repository, {})[digest_of(data)] = data
        return digest_of(data)

    def add_manifest(self, repository: str, tag: str, kind: str, data: bytes) -> str:
        held = self.manifests.setdefault(repository, {})
        held[tag] = held[digest_of(data)] = (kind, data)
        return digest_of(data)

    def add_image(
        self,
        repository: str,
        tag: str,
        layers: list[bytes],
        *,
        architecture: str = "amd64",
        docker: bool = False,
        **said: str,
    ) -> dict[str, object]:
        """Put a whole image there, and return its entry for an index.

        Args:
            repository: Its name.
            tag: Its tag.
            layers: Its layers, as plain archives.
            architecture: What it is for.
            docker: Whether it is of Docker's kind, whose layers are gzip, and not of OCI's.
            **said: What else its configuration says, such as ``os``.
        """
        kinds = DOCKER_KINDS if docker else (OCI_MANIFEST, OCI_CONFIG, OCI_LAYER)
        config = json.dumps(
            {
                "architecture": architecture,
                "os": "linux",
                "config": {"Env": ["PATH=/usr/local/bin:/usr/bin"]},
                "rootfs": {"type": "layers", "diff_ids": [digest_of(each) for each in layers]},
                **said,
            }
        ).encode()
        packed = [gzip.compress(each, mtime=0) if docker else each for each in layers]
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": kinds[0],
                "config": {
                    "mediaType": kinds[1],
                    "digest": self.add_blob(repository, config),
                    "size": len(config),
                },
                "layers": [
                    {
                        "mediaType": kinds[2],
                        "digest": self.add_blob(repository, each),
                        "size": len(each),
                    }
                    for each in packed
                ],
            }
        ).encode()
        digest = self.add_manifest(repository, tag, kinds[0], manifest)
        platform = {"os": "linux", "architecture": architecture}
        size = len(manifest)
        return {"mediaType": kinds[0], "digest": digest, "size": size, "platform": platform}

    def add_index(self, repository: str, tag: str, entries: list[dict[str, object]]) -> str:
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
        return self.add_manifest(repository, tag, OCI_INDEX, json.dumps(index).encode())


class TokenServer:
    """Gives tokens: to everybody for pulls of what is public, to users for what is theirs."""

    def __init__(self, script: Callable[[Seen], Behaviour] | None = None) -> None:
        self.users: dict[str, str] = {"ada": "correct-horse-battery"}
        self.identities: dict[str, str] = {}
        self.public: set[str] = set()
        self.may_push: dict[str, set[str]] = {"ada": set()}
        self.seconds: float = 300
        self.held: dict[str, tuple[set[tuple[str, str]], float]] = {}
        self.server = Server(script or self.script)

    @property
    def realm(self) -> str:
        return f"{self.server.url}/token"

    def script(self, seen: Seen) -> Behaviour:
        parts = urlsplit(seen.path)
        text = seen.body.decode() if seen.method == "POST" else parts.query
        asked = parse_qs(text)
        user = ""
        if seen.method == "POST":
            user = self.identities.get(asked.get("refresh_token", [""])[0], "")
            if not user:
                return error(401, "UNAUTHORIZED", "unknown token")
        elif header := seen.headers.get("authorization"):
            user, _, password = base64.b64decode(header.partition(" ")[2]).decode().partition(":")
            if self.users.get(user) != password:
                return error(401, "UNAUTHORIZED", "incorrect username or password")
        scopes = " ".join(asked.get("scope", [])).split()
        token = self.grant(user, scopes)
        kind = "access_token" if seen.method == "POST" else "token"
        return json_answer({kind: token, "expires_in": self.seconds})

    def grant(self, user: str, scopes: list[str]) -> str:
        """Give a token for as much of what is asked for as the user may do."""
        allowed = set()
        for scope in scopes:
            _, repository, actions = scope.split(":")
            for action in actions.split(","):
                own = repository in self.may_push.get(user, ())
                if own or (action == "pull" and repository in self.public):
                    allowed.add((repository, action))
        token = secrets.token_urlsafe(16)
        self.held[token] = (allowed, time.monotonic() + self.seconds)
        return token

    def allows(self, seen: Seen, needed: set[tuple[str, str]]) -> bool:
        kind, _, token = seen.headers.get("authorization", "").partition(" ")
        allowed, until = self.held.get(token, (set(), 0.0))
        return kind == "Bearer" and needed <= allowed and time.monotonic() < until


class TokenRegistry:
    """A registry; ``hook`` may answer a request in its place.

    Attributes:
        tokens: Its token server; None for a registry that lets everybody in.
        realm: What it says its token server is.
    """

    def __init__(self, tokens: TokenServer | None = None, *, store: Store | None = None) -> None:
        self.tokens = tokens
        self.realm = tokens.realm if tokens else ""
        self.store = store or Store()
        self.hook: Hook = lambda _: None
        self.mounts = True
        self.server = Server(self.script)
        self.url = self.server.url
        self.host = f"127.0.0.1:{self.server.port}"

    @property
    def requests(self) -> list[Seen]:
        return self.server.requests

    def asked(self, method: str, part: str = "") -> list[Seen]:
        return [seen for seen in self.requests if seen.method == method and part in seen.path]

    def script(self, seen: Seen) -> Behaviour:
        hooked = self.hook(seen)
        if hooked is not None:
            return hooked
        behaviour = self.behaviour(seen)
        return without_body(behaviour) if seen.method == "HEAD" else behaviour

    def behaviour(self, seen: Seen) -> Behaviour:
        parts = urlsplit(seen.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        words = parts.path.removeprefix("/v2/").split("/")
        cut = next((i for i, word in enumerate(words) if word in ("blobs", "manifests")), None)
        repository = "/".join(words[:cut]) if cut else ""
        refused = self.refusal(seen, repository, query)
        if refused is not None:
            return refused
        if cut is None:
            return json_answer({})
        rest = words[cut + 1 :]
        if words[cut] == "manifests":
            return self.manifest(seen, repository, rest[0])
        if rest[0] == "uploads":
            return self.upload(seen, repository, query)
        return self.blob(seen, repository, rest[0])

    def refusal(self, seen: Seen, repository: str, query: dict[str, str]) -> Behaviour | None:
        if self.tokens is None:
            return None
        actions = "pull" if seen.method in ("GET", "HEAD") else "pull,push"
        needed = {(repository, action) for action in actions.split(",")} if repository else set()
        if "from" in query:
            needed.add((query["from"], "pull"))
        if self.tokens.allows(seen, needed):
            return None
        scope = f',scope="repository:{repository}:{actions}"' if repository else ""
        said = f'Bearer realm="{self.realm}",service="tests"{scope}'
        return error(401, "UNAUTHORIZED", "authentication required", {"Www-Authenticate": said})

    def manifest(self, seen: Seen, repository: str, reference: str) -> Behaviour:
        if seen.method == "PUT":
            kind = seen.headers["content-type"]
            document = json.loads(seen.body)
            held = self.store.blobs.get(repository, {})
            named = [document["config"], *document["layers"]]
            if any(each["digest"] not in held for each in named):
                return error(400, "MANIFEST_BLOB_UNKNOWN")
            self.store.add_manifest(repository, reference, kind, seen.body)
            return answer(201)
        found = self.store.manifests.get(repository, {}).get(reference)
        if found is None:
            return error(404, "MANIFEST_UNKNOWN")
        kind, data = found
        headers = {"Content-Type": kind, "Docker-Content-Digest": digest_of(data)}
        return answer(200, data, headers)

    def blob(self, seen: Seen, repository: str, digest: str) -> Behaviour:
        data = self.store.blobs.get(repository, {}).get(digest)
        return error(404, "BLOB_UNKNOWN") if data is None else answer(200, data)

    def upload(self, seen: Seen, repository: str, query: dict[str, str]) -> Behaviour:
        if seen.method == "POST":
            source = self.store.blobs.get(query.get("from", ""), {})
            if self.mounts and query.get("mount") in source:
                self.store.add_blob(repository, source[query["mount"]])
                return answer(201)
            place = f"/v2/{repository}/blobs/uploads/{secrets.token_hex(4)}?state=a%2Fb"
            return answer(202, b"", {"Location": place})
        if digest_of(seen.body) != query["digest"]:
            return error(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        self.store.add_blob(repository, seen.body)
        return answer(201)


class HeadOnly:
    """A socket that sends the head of an answer and none of its body."""

    def __init__(self, sock) -> None:
        self.sock = sock

    def sendall(self, data: bytes) -> None:
        self.sock.sendall(data.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")


def without_body(behaviour: Behaviour) -> Behaviour:
    """Answer HEAD as GET would be, without its body."""

    def behave(talk: Talk) -> bool:
        return behaviour(talk._replace(sock=HeadOnly(talk.sock)))

    behave.__dict__["is_behaviour"] = True
    return behave


@contextlib.contextmanager
def token_registry() -> Iterator[TokenRegistry]:
    """Run a registry with its token server."""
    tokens = TokenServer()
    registry = TokenRegistry(tokens)
    with tokens.server, registry.server:
        yield registry


@contextlib.contextmanager
def open_registry() -> Iterator[TokenRegistry]:
    """Run a registry that lets everybody in."""
    registry = TokenRegistry()
    with registry.server:
        yield registry
