"""The URL of a gateway: one spelling for each, and whether two are on the same server.

Written by hand rather than with urllib: that drops control characters without a word, and other
readers of the same text may see another host in it. What could be read in two ways is refused.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from away.exceptions import ConfigError
from away.names import printable

__all__ = ["GatewayURL", "is_loopback", "normal_url", "parse_url"]

_DEFAULT_PORTS = {"http": 80, "https": 443}
_MAX_PORT = 65535
# RFC 3986 leaves these out of URLs; a backslash is a slash to some readers and not to others.
_FOREIGN = re.compile(r"[\x00-\x20\x7f\\<>\"{}|^`\s]")
# Underscores are no host name's, but Docker's networks have them.
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_.])?\Z")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_DOT_SEGMENT = re.compile(r"(\A|/)\.{0,2}(/|\Z)")


class GatewayURL(NamedTuple):
    """The parts of a gateway's URL; ``str()`` of it is the one spelling."""

    scheme: str
    host: str
    port: int
    prefix: str

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.prefix}"

    @property
    def server(self) -> tuple[str, str, int]:
        """Scheme, host and port, with localhost as the address that it stands for."""
        return self.scheme, "127.0.0.1" if self.host == "localhost" else self.host, self.port

    @property
    def place(self) -> tuple[str, str, int, str]:
        """What must be equal for credentials to be meant for this URL."""
        return *self.server, self.prefix


def normal_url(text: str, port: int | None = None) -> str:
    """Return the one spelling of a gateway's URL.

    Scheme and host are in lower case, the scheme's own port and slashes at the end are left out, a
    path prefix stays.

    Args:
        text: A URL, or a host (``my-faas-server.com``, ``localhost:8080``, ``::1``), meant by http.
        port: The port of a host that has none of its own; a URL's port stands in the URL.

    Raises:
        ConfigError: It is not the URL of a gateway, or holds a password, which is not repeated.

    >>> normal_url("LocalHost", 8080), normal_url("https://Example.com:443/faas/")
    ('http://localhost:8080', 'https://example.com/faas')
    """
    return str(parse_url(text, port))


def parse_url(text: str, port: int | None = None) -> GatewayURL:
    """Read a gateway's URL into its parts, by the rules of :func:`normal_url`."""
    if not isinstance(text, str):
        raise ConfigError(f"a gateway's URL is text, not {type(text).__name__}")
    # A port is for hosts without a scheme alone: left out of what is remembered otherwise.
    return _parsed(text, None if "://" in text else port)


# Asked several times of the same URL by each import of a gateway. What is refused is not kept.
@lru_cache(maxsize=128)
def _parsed(text: str, port: int | None) -> GatewayURL:
    text = text.strip()
    _refuse_what_is_no_part(text)
    scheme, rest = _split_scheme(text)
    authority, slash, path = rest.partition("/")
    host, own_port = _split_port(authority, bare=scheme is None)
    if own_port is not None:
        port = _check_port(own_port)
    elif port is not None and scheme is None:
        port = _check_port(str(port))
    else:
        port = _DEFAULT_PORTS[scheme or "http"]
    return GatewayURL(scheme or "http", host, port, _check_prefix(slash + path))


def is_loopback(url: GatewayURL) -> bool:
    """Tell whether a URL stays on this machine."""
    return url.host == "localhost" or url.host.startswith("127.") or url.host == "::1"


def _refuse_what_is_no_part(text: str) -> None:
    if not text:
        raise ConfigError("a gateway's URL is empty; write one like http://127.0.0.1:8080")
    # Anywhere, not only before the host: a password may itself hold a '/' or a '?'.
    if "@" in text:
        raise ConfigError(
            "a gateway's URL has no '@': a user and a password do not belong into it; give them as"
            " user and password (or a token as token)"
        )
    if "?" in text or "#" in text:
        raise ConfigError(
            "a gateway's URL has no '?' or '#': write its scheme, host, port and path prefix only"
        )
    if foreign := _FOREIGN.search(text):
        raise ConfigError(f"a gateway's URL cannot hold the character {foreign[0]!r}")


def _split_scheme(text: str) -> tuple[str | None, str]:
    match = _SCHEME.match(text)
    if match is None:
        if text.lower().startswith(("http:", "https:")) or "://" in text or text[0] == "/":
            raise ConfigError("a gateway's URL begins with http:// or https://, then its host")
        return None, text
    scheme = match[1].lower()
    if scheme not in _DEFAULT_PORTS:
        raise ConfigError(f"a gateway's URL begins with http:// or https://, not {scheme}://")
    return scheme, text[match.end() :]


def _split_port(authority: str, *, bare: bool) -> tuple[str, str | None]:
    if authority.startswith("["):
        host, bracket, tail = authority[1:].partition("]")
        if not bracket or (tail and not tail.startswith(":")):
            raise ConfigError("an IPv6 address in a gateway's URL is written as [::1]:8080")
        return _check_ipv6(host), tail[1:] or None
    if authority.count(":") > 1:
        if bare:
            return _check_ipv6(authority), None
        raise ConfigError("an IPv6 address in a gateway's URL is written as [::1]:8080")
    host, _, port = authority.partition(":")
    return _check_host(host), port or None


def _check_ipv6(host: str) -> str:
    import ipaddress

    try:
        return ipaddress.IPv6Address(host).compressed
    except ValueError:
        # Its own text repeats the input, which may be a mistyped password.
        raise ConfigError("a gateway's URL holds an IPv6 address that is none") from None


def _check_host(host: str) -> str:
    if not host:
        raise ConfigError("a gateway's URL names no host; write one like http://127.0.0.1:8080")
    try:
        # What resolvers are asked: an internationalised name has one ASCII form (RFC 3490).
        name = host.lower() if host.isascii() else host.encode("idna").decode("ascii").lower()
    except UnicodeError:
        name = ""
    if not _HOST.match(name):
        raise ConfigError(f"{printable(host[:80])!r} in a gateway's URL cannot be a host's name")
    return name


def _check_port(text: str) -> int:
    # The text is not repeated: in http://admin:secret it is a password without its host.
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) <= _MAX_PORT):
        raise ConfigError(f"the port of a gateway's URL is a number from 1 to {_MAX_PORT}")
    return int(text)


def _check_prefix(path: str) -> str:
    prefix = path.rstrip("/")
    if not prefix.isascii():
        raise ConfigError("the path prefix of a gateway's URL is written with %-escapes (RFC 3986)")
    if _DOT_SEGMENT.search(prefix[1:]) and prefix:
        # Gateways answer such paths by a redirect, which is not followed.
        raise ConfigError("the path prefix of a gateway's URL has no empty, '.' or '..' part")
    return prefix
