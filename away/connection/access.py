"""Where a gateway is and who we are there: its URL, and the credentials that go only to its own API.

Credentials are looked for when they are first needed, and kept out of every request value: a driver
asks for them as bytes leave, so that no repr or traceback of a request can show them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from away.config.secret import Secret
from away.config.settings import EMBEDDED
from away.config.urls import parse_url
from away.exceptions import AuthenticationRefused, AwayError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from away.config import GatewayConfig
    from away.connection.messages import Request

__all__ = [
    "Access",
    "Credential",
    "Login",
    "configured_login",
    "given_login",
    "login_at",
    "login_of",
]

# Paths under which a gateway's own API is, and the registry beside it. Not /function: what is sent
# there reaches the function's code, Authorization included.
_OWN = ("/system/", "/v2/")
_FUNCTIONS = ("/function/", "/async-function/")
# Gateways clean such paths by a redirect, so they could end elsewhere than they begin.
_ROUNDABOUT = ("/../", "/./", "//", "\\", "%2e", "%2f", "%5c")


class Login(NamedTuple):
    """A user with a password, or a token."""

    user: str
    password: Secret | None
    token: Secret | None = None
    announced: bool = False
    """Whether the running embedded gateway announced it: it is that gateway's alone."""


class Credential:
    """An Authorization header for one origin alone, which no repr and no traceback shows.

    Args:
        url: Whom it is for: any URL of that scheme, host and port.
        header: The header's value.
    """

    __slots__ = ("_header", "server", "url")

    def __init__(self, url: str, header: Secret) -> None:
        scheme, _, rest = url.partition("://")
        self.url = f"{scheme}://{rest.partition('/')[0]}"
        self.server = parse_url(self.url).server
        self._header = header

    def header_for(self, url: str) -> str | None:
        """Return the header's value, or None for a URL of another origin."""
        return self._header.reveal() if server_of(url) == self.server else None

    def __repr__(self) -> str:
        return f"Credential({self.url!r})"


class Access:
    """A gateway's URL and the login there.

    Args:
        url: The gateway's URL in its one spelling, without credentials.
        login: What the caller gave; None to have it found.
        find: Finds a login in the configuration; asked at the first need, and again after a refusal.
        auth_functions: Whether functions behind this gateway ask for the login too.
    """

    def __init__(
        self,
        url: str,
        *,
        login: Login | None = None,
        find: Callable[[], Login | None] | None = None,
        auth_functions: bool = False,
    ) -> None:
        self.url = url
        parts = parse_url(url)
        self.prefix = parts.prefix
        self.origin = url[: len(url) - len(parts.prefix)]
        self.auth_functions = auth_functions
        self._server = parts.server
        self._given = login
        self._find = find
        self._found: Login | None = None
        self._looked = False
        self._header: Secret | None = None

    def __repr__(self) -> str:
        return f"Access({self.url!r})"

    def login(self) -> Login | None:
        """Return the login that was given or found, if there is one."""
        if self._given is not None:
            return self._given
        if not self._looked:
            # Two threads at once find the same.
            self._found = self._find() if self._find else None
            self._looked = True
        return self._found

    def remember(self, login: Login | None) -> None:
        """Take what was found in the configuration already."""
        self._found, self._looked, self._header = login, True, None

    @property
    def announced(self) -> bool:
        """Whether the login is the announced one of the embedded gateway, as far as was looked."""
        login = self._given or self._found
        return login is not None and login.announced

    def confirm(self) -> None:
        """See that the embedded gateway lives, now that a connection to its port is open.

        Whoever took the port of one that has ended must not be sent its password.

        Raises:
            ConnectFailed: It has ended.
        """
        from away.connection.transport_errors import ConnectFailed
        from away.gateway.announcement import all_announced

        here = self._server, self.prefix
        for each in all_announced():
            parts = parse_url(each.url)
            if (parts.server, parts.prefix) == here:
                return
        raise ConnectFailed("the embedded gateway there has ended, and its password stays here")

    def look_again(self) -> bool:
        """Look anew for a login that was refused; True if another one is there now."""
        if self._given is not None or self._find is None:
            return False
        before, now = self._found, self._find()
        self._found, self._looked, self._header = now, True, None
        return now is not None and now != before

    def authorization(self) -> str | None:
        """Return the Authorization header's value, if there is a login."""
        if self._header is None:
            login = self.login()
            if login is None:
                return None
            if login.token is not None:
                self._header = Secret(f"Bearer {login.token.reveal()}")
            elif login.password is not None:
                from base64 import b64encode

                pair = f"{login.user}:{login.password.reveal()}".encode()
                self._header = Secret(f"Basic {b64encode(pair).decode()}")
        return None if self._header is None else self._header.reveal()

    def headers_for(self, request: Request) -> Mapping[str, str]:
        """Return a request's headers as they leave: with credentials where they belong."""
        auth = request.auth
        if isinstance(auth, Credential):
            value = auth.header_for(self.origin if request.path.startswith("/") else request.path)
            return request.headers if value is None else {**request.headers, "Authorization": value}
        if auth and self.owns(request.path):
            authorization = self.authorization()
            if authorization is not None:
                if any(c in authorization for c in "\r\n\0"):
                    raise AuthenticationRefused(
                        f"the login for {self.url} holds a line break, which no header can carry;"
                        " correct the token",
                        gateway=self.url,
                    )
                return {**request.headers, "Authorization": authorization}
        return request.headers

    def owns(self, path: str) -> bool:
        """Tell whether a path or URL is one that the login may go to."""
        if not path.startswith("/"):
            local = self._within(path)
            if local is None:
                return False
            path = local
        bare = path.partition("?")[0]
        if any(part in f"{bare.rstrip('/')}/".lower() for part in _ROUNDABOUT):
            return False
        return bare.startswith(_OWN) or (self.auth_functions and bare.startswith(_FUNCTIONS))

    def is_server(self, url: str) -> bool:
        """Tell whether a whole URL has the gateway's scheme, host and port."""
        return server_of(url) == self._server

    def _within(self, url: str) -> str | None:
        """Return the path of a whole URL under this gateway, or None where it leads elsewhere."""
        _, _, rest = url.partition("://")
        _, slash, path = rest.partition("/")
        path = slash + path
        if not self.is_server(url) or not path.startswith(self.prefix + "/"):
            return None
        return path[len(self.prefix) :]

    def url_of(self, path: str) -> str:
        """Return the whole URL of a path under the gateway; a whole URL as it is."""
        return self.url + path if path.startswith("/") else path


def server_of(url: str) -> object:
    """Return what two URLs of one scheme, host and port have in common; None for no such URL."""
    scheme, mark, rest = url.partition("://")
    try:
        return parse_url(f"{scheme}{mark}{rest.partition('/')[0]}").server
    except AwayError:
        return None


def configured_login(name: str, url: str) -> Login | None:
    """Return the login that a configured gateway has, if it is at that URL."""
    import away.config as config

    try:
        found = config.resolve(name)
    except ConfigError:
        return None
    if found.url != url:
        return None
    return login_of(found)


def login_of(found: GatewayConfig) -> Login | None:
    """Return the login of a gateway's configuration, if it has one."""
    if found.password is None and found.token is None:
        return None
    announced = found.origins.get("password") == EMBEDDED
    return Login(found.user, found.password, found.token, announced)


def login_at(url: str, user: str | None) -> Login | None:
    """Return what the configuration holds for exactly a URL, by whatever name."""
    import away.config as config

    found = config.login_at(url, user=user)
    if found is None or found.field != "password":
        return None
    return Login(found.user, found.secret, announced=found.where == EMBEDDED)


def given_login(
    user: str, password: str | int | Secret | None, token: str | Secret | None
) -> Login | None:
    """Make a login of what a caller passed; None where that holds neither password nor token.

    Raises:
        ConfigError: It cannot be one; the sentence does not repeat it.
    """
    if not isinstance(user, str) or ":" in user or any(c in user for c in "\r\n\0"):
        raise ConfigError("user= is text without ':' and line breaks (RFC 7617)")
    if token is not None:
        if password is not None:
            raise ConfigError("give either password= or token=, not both")
        return Login(user, None, token if isinstance(token, Secret) else Secret(_word(token)))
    if password is None:
        return None
    if isinstance(password, Secret):
        return Login(user, password)
    if isinstance(password, bool) or not isinstance(password, (str, int)):
        raise ConfigError(f"password= is text, not {type(password).__name__}")
    return Login(user, Secret(str(password)))


def _word(token: object) -> str:
    if not isinstance(token, str):
        raise ConfigError(f"token= is text, not {type(token).__name__}")
    return token
