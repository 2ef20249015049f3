"""How a request gets to a host: the proxy on the way, and whom TLS trusts. Both drivers ask here.

The environment is read once for each connection object. The variables are those that curl, Go and
requests read; a loopback gateway is never behind a proxy, as in Go's own rule and so in faas-cli's.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from away.connection.transport_errors import ConnectFailed, TlsFailed

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

__all__ = ["Route", "host_of", "proxy_for", "read_proxies"]


def host_of(url: str) -> tuple[str, str, int]:
    """Return a URL's scheme, its host and its port.

    Raises:
        ConnectFailed: It leads to no host that is spoken to by HTTP.
    """
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme, parts.hostname or "", parts.port
    except ValueError:
        scheme, host, port = "", "", None
    sound = url.isascii() and url.isprintable() and " " not in url
    if not host or not sound or scheme not in ("http", "https") or port == 0:
        raise ConnectFailed("its URL cannot be used")
    return scheme, host, port or (443 if scheme == "https" else 80)


def read_proxies(environ: Mapping[str, str]) -> dict[str, str]:
    """Read the proxy variables: ``http``, ``https``, ``all`` and ``no``, where they are set.

    Lower case wins. In a CGI program HTTP_PROXY is a header that a client sent, so it is not read.
    """
    found = {}
    for key in ("http", "https", "all", "no"):
        name = f"{key}_proxy"
        value = environ.get(name)
        if value is None and not (key == "http" and "REQUEST_METHOD" in environ):
            value = environ.get(name.upper())
        if value and value.strip():
            found[key] = value.strip()
    return found


def proxy_for(scheme: str, host: str, port: int, proxies: Mapping[str, str]) -> str | None:
    """Return the proxy's URL for a host, or None to go there directly.

    Args:
        scheme: ``http`` or ``https``.
        host: Name or address, without brackets.
        port: The port there.
        proxies: As :func:`read_proxies` gives them.
    """
    proxy = proxies.get(scheme) or proxies.get("all")
    if not proxy or _is_loopback(host) or _is_excepted(host.lower(), port, proxies.get("no", "")):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    address = _address(host)
    return address is not None and address.is_loopback


def _address(text: str):  # type: ignore[no-untyped-def]  # the two address classes share no base
    import ipaddress

    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _is_excepted(host: str, port: int, no_proxy: str) -> bool:
    import ipaddress

    address = _address(host)
    for entry in no_proxy.lower().replace(",", " ").split():
        if entry == "*":
            return True
        if address is not None and "/" in entry:
            try:
                if address in ipaddress.ip_network(entry, strict=False):
                    return True
            except ValueError:
                pass
            continue
        name, colon, own_port = entry.rpartition(":")
        if colon and own_port.isdigit() and not name.endswith(":") and name.count(":") == 0:
            if int(own_port) != port:
                continue
            entry = name
        entry = entry.strip("[]").lstrip("*").lstrip(".")
        if entry and (host == entry or host.endswith(f".{entry}")):
            return True
    return False


class Route:
    """The way out for one connection object.

    Args:
        ca_bundle: A file or folder of certificate authorities to trust instead of the usual ones.
        environ: Where the proxy variables are; the process's own at the first use if left out.
    """

    def __init__(
        self, ca_bundle: str | None = None, environ: Mapping[str, str] | None = None
    ) -> None:
        self._ca_bundle = ca_bundle
        self._proxies = None if environ is None else read_proxies(environ)
        self._tls: ssl.SSLContext | None = None

    def proxy(self, scheme: str, host: str, port: int) -> str | None:
        """Return the proxy's URL for a host, or None.

        Raises:
            ConnectFailed: The environment names a kind of proxy that Away does not speak.
        """
        if self._proxies is None:
            self._proxies = read_proxies(os.environ)
        proxy = proxy_for(scheme, host, port, self._proxies)
        if proxy is not None and not proxy.lower().startswith(("http://", "https://")):
            kind = proxy.partition("://")[0]
            raise ConnectFailed(
                f"the environment names a {kind!r} proxy, and only http and https ones are spoken"
                " (NO_PROXY excepts hosts)"
            )
        return proxy

    def tls(self) -> ssl.SSLContext:
        """Return what TLS connections are checked by.

        Raises:
            TlsFailed: The bundle cannot be read.
        """
        if self._tls is None:
            self._tls = self._make_tls()
        return self._tls

    def _make_tls(self) -> ssl.SSLContext:
        import ssl

        if self._ca_bundle is None:
            context = ssl.create_default_context()
            # Python's own installers know no authorities; requests' list is always there.
            import certifi

            context.load_verify_locations(certifi.where())
            return context
        try:
            if os.path.isdir(self._ca_bundle):  # noqa: PTH112  # pathlib costs more than it gives
                return ssl.create_default_context(capath=self._ca_bundle)
            return ssl.create_default_context(cafile=self._ca_bundle)
        except OSError as error:
            why = error.strerror or "it holds no certificate"
            raise TlsFailed(f"the CA bundle {self._ca_bundle!r} cannot be used ({why})") from error
