"""Names of images and registries: their grammar, read before anything is sent to one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from away.exceptions import PublishFailed
from away.names import printable

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = [
    "HUB",
    "HUB_HOSTS",
    "ImageName",
    "is_digest",
    "is_loopback_url",
    "is_repository",
    "is_tag",
    "parse_image",
    "registry_url",
]

# Docker Hub: its name in images, the names that it also goes by, and where its registry is.
HUB = "docker.io"
HUB_HOSTS = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
HUB_URL = "https://registry-1.docker.io"

# The grammar of repositories and tags is checked here: registries take some names outside it, and
# answer 404 or 500 to others (distribution specification, "Pulling manifests").
_REPOSITORY = re.compile(
    r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*\Z"
)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}\Z")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")
_HOST = re.compile(r"(?:\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?\Z")
_MAX_REPOSITORY = 255
_LOOPBACK = re.compile(r"(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d+)?\Z")


class ImageName(NamedTuple):
    """An image's name in parts; ``host`` is empty for the registry that is pushed to."""

    host: str
    repository: str
    tag: str
    digest: str

    @property
    def reference(self) -> str:
        """What a registry is asked for: the digest where it is known, else the tag."""
        return self.digest or self.tag or "latest"

    def __str__(self) -> str:
        host = f"{self.host}/" if self.host else ""
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{host}{self.repository}{tag}{digest}"


def parse_image(text: str) -> ImageName:
    """Take an image's name apart.

    Args:
        text: ``[host[:port]/]repository[:tag][@sha256:…]``; the first part is a host if it has a dot
            or a port or is ``localhost``, as Docker reads it.

    Raises:
        PublishFailed: It is no name by the grammar of registries.
    """
    rest, _, digest = text.partition("@")
    first, slash, after = rest.partition("/")
    is_host = bool(slash) and (first == "localhost" or "." in first or ":" in first)
    host, path = (first, after) if is_host else ("", rest)
    repository, _, tag = path.partition(":")
    sound = (
        is_repository(repository)
        and (not tag or _TAG.match(tag))
        and (not digest or _DIGEST.match(digest))
        and (not host or _HOST.match(host))
        and not path.endswith(":")
        and not text.endswith("@")
    )
    if not sound:
        raise PublishFailed(
            f"{without_login(text)!r} is no image name; write [HOST[:PORT]/]NAME[:TAG], in lower"
            " case",
            step="names",
        )
    return ImageName(host, repository, tag, digest)


def is_repository(text: str) -> bool:
    """Tell whether a text is an image's name by the grammar of registries, without host and tag."""
    return _REPOSITORY.match(text) is not None and len(text) <= _MAX_REPOSITORY


def is_tag(text: str) -> bool:
    """Tell whether a text is a tag by the grammar of registries."""
    return _TAG.match(text) is not None


def is_digest(text: str) -> bool:
    """Tell whether a text is a digest by which registries name bytes."""
    return _DIGEST.match(text) is not None


def without_login(text: str) -> str:
    """Return a name to show: what stands before an ``@`` may be somebody's password."""
    login, at, rest = text.partition("@")
    shown = text if not at or (rest.startswith("sha256:") and ":" not in login) else f"…@{rest}"
    return printable(shown[:200])


def registry_url(host: str, insecure: Collection[str] = ()) -> str:
    """Return the URL of a registry by its host: plain http on loopback, else https.

    Args:
        host: ``HOST[:PORT]``, as it stands in an image's name; ``docker.io`` is Docker Hub.
        insecure: Hosts that the user said are spoken to by plain http.

    Raises:
        PublishFailed: It is no host.
    """
    if not _HOST.match(host):
        raise PublishFailed(
            f"registry={without_login(host)!r} is no registry; write HOST or HOST:PORT without a"
            " scheme",
            step="names",
        )
    if host in HUB_HOSTS:
        return HUB_URL
    plain = _LOOPBACK.match(host) or host in insecure
    return f"{'http' if plain else 'https'}://{host}"


def is_loopback_url(url: str) -> bool:
    """Tell whether a URL leads to this machine itself."""
    return _LOOPBACK.match(urlsplit(url).netloc) is not None
