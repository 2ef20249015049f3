"""Coming in at a registry: what it asks for, the login that fits, and tokens from its token server.

The flow is the one of the distribution project ("Token Authentication Specification"), which RFC 6750's
Www-Authenticate field starts. A password goes to the registry itself or to the token server that it
names, and there only where nobody can listen.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlencode, urlsplit

from away.config.secret import Secret
from away.connection.access import Credential
from away.connection.conversations import ConnectFailed, Request
from away.connection.route import host_of
from away.exceptions import AuthenticationRefused, PublishFailed
from away.names import printable
from away.publish.challenges import Challenge, parse_challenges
from away.publish.manifests import parsed
from away.publish.references import is_loopback_url
from away.publish.registry_errors import failed, said
from away.publish.transfer import Small

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from away.connection.conversations import Conversation, Reply
    from away.publish.credentials import Credentials, RegistryLogin
    from away.publish.registry_memory import Memory

__all__ = ["Authenticator", "Grant"]

MAX_ANSWER_BYTES = 1 << 20
# A header line of more than this is refused by most servers.
MAX_TOKEN = 32_768
# "If not present, 60 seconds" (the specification of tokens).
USUAL_SECONDS, MAX_SECONDS = 60.0, 1e9
# A token that is about to expire is not sent any more: a request takes its time.
SPARE = 0.1
_BEARER = re.compile(r"[\x21-\x7e]+\Z")
CLIENT = "away"


class Grant(NamedTuple):
    """What a request is sent with."""

    credential: Credential | None
    login: RegistryLogin | None


class Form:
    """A form with a secret in it, which no repr shows."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __iter__(self) -> Iterator[bytes]:
        yield self.data

    def __repr__(self) -> str:
        return "Form()"


class Authenticator:
    """Who we are at one registry.

    Args:
        ask: Sends one request and translates what broke.
        url: The registry's URL.
        credentials: Where the login comes from.
        memory: What this process knows of registries.
    """

    def __init__(
        self,
        ask: Callable[[Request], Conversation[Reply]],
        url: str,
        credentials: Credentials,
        memory: Memory,
    ) -> None:
        self.ask = ask
        self.url = url
        self.credentials = credentials
        self.memory = memory
        self.why_none = ""

    @property
    def key(self) -> tuple[str, object]:
        """What is remembered by: the registry, and where our login comes from."""
        return self.url, self.credentials.key

    def known(self, scopes: tuple[str, ...]) -> Conversation[Grant]:
        """Return what to send without being asked, by what the registry asked for before."""
        challenge = self.memory.challenges.get(self.url)
        if challenge is None:
            return Grant(None, None)
        if challenge.scheme == "basic":
            login = self.memory.logins.get(self.key)
            return self.basic(login) if login else Grant(None, None)
        return (yield from self.token(challenge, scopes))

    def answer(
        self, reply: Reply, scopes: tuple[str, ...], before: Grant, doing: str
    ) -> Conversation[Grant]:
        """Answer a 401 with what it asks for.

        Raises:
            AuthenticationRefused: We have nothing else than what was refused.
        """
        challenges = parse_challenges(str(reply.headers.get("Www-Authenticate") or ""))
        bearer = first(challenges, "bearer")
        if bearer is not None and bearer.parameters.get("realm"):
            self.memory.challenges[self.url] = bearer
            return (yield from self.token(bearer, scopes, fresh=True))
        basic = first(challenges, "basic")
        if basic is None:
            ways = ", ".join(sorted({each.scheme for each in challenges})) or "nothing"
            raise PublishFailed(
                f"the registry {self.url} answered 401 and asks for {printable(ways)[:60]}, where"
                " Away knows Basic and Bearer; name another one by registry= or base_image=",
                step="registry",
                status=401,
            )
        self.memory.challenges[self.url] = basic
        self.memory.logins.pop(self.key, None)
        login = yield from self.login()
        if login is None or login.password is None or login == before.login:
            raise self.refused(reply, Grant(None, login if before.credential else None), doing)
        self.memory.logins[self.key] = login
        return self.basic(login)

    def refused(self, reply: Reply, sent: Grant, doing: str) -> AuthenticationRefused:
        """Make the error for a registry that does not let us in."""
        hint = self.credentials.hint()
        if sent.login is None:
            why = f" ({self.why_none})" if self.why_none else ""
            what = f"no credentials, for there are none for it here{why}"
        else:
            what = sent.login.who
            hint = f"correct that login, or grant it the right to this repository; {hint}"
        text = said(reply)
        return AuthenticationRefused(
            f"the registry {self.url} answered {reply.status} to {what}, when asked for {doing}"
            f"{f' ({text})' if text else ''}; {hint}",
            status=reply.status,
            hint=hint,
        )

    def login(self) -> Conversation[RegistryLogin | None]:
        """Look for our login."""
        found = yield from self.credentials.find()
        self.why_none = printable(found.why)
        return found.login

    def basic(self, login: RegistryLogin) -> Grant:
        """Return what Basic sends."""
        header = login.basic()
        return Grant(Credential(self.url, header) if header else None, login)

    # ------------------------------------------------------------ tokens

    def token(
        self, challenge: Challenge, scopes: tuple[str, ...], *, fresh: bool = False
    ) -> Conversation[Grant]:
        """Return a token for some scopes, from memory while it holds."""
        realm = self.checked_realm(challenge.parameters["realm"])
        service = challenge.parameters.get("service", "")
        asked = challenge.parameters.get("scope", "").split(" ") if fresh else []
        wanted = together(scopes, asked)
        key = (*self.key, realm, service, wanted)
        held = self.memory.tokens.get(key)
        if held is not None and not fresh and time.monotonic() < held[1]:
            return held[0]
        login = yield from self.login()
        if login is not None and login.token is not None:
            return Grant(Credential(self.url, Secret(f"Bearer {login.token.reveal()}")), login)
        reply = yield from self.ask(token_request(realm, service, wanted, login))
        token, seconds = self.read_token(reply, realm, login)
        grant = Grant(Credential(self.url, Secret(f"Bearer {token}")), login)
        held = grant, time.monotonic() + seconds * (1 - SPARE)
        self.memory.tokens[key] = held
        if fresh:
            # What the registry asked for beside our own scopes is part of what we ask for next.
            self.memory.tokens[(*self.key, realm, service, together(scopes, []))] = held
        return grant

    def checked_realm(self, realm: str) -> str:
        """Return a token server's URL, if a login may be sent there.

        Raises:
            PublishFailed: It may not.
        """
        try:
            scheme, host, _ = host_of(realm)
        except ConnectFailed:
            scheme = host = ""
        here = urlsplit(self.url)
        local = is_loopback_url(self.url)
        why = ""
        if not scheme or "@" in urlsplit(realm).netloc:
            why = "is no http or https URL"
        elif is_loopback_url(realm) and not local:
            why = "is on this machine, where that registry is not"
        elif scheme == "http" and not (
            # Plain http on this machine, or to a host that is spoken to by it anyway.
            (local and is_loopback_url(realm)) or (here.scheme, here.hostname) == ("http", host)
        ):
            why = "would be sent the login in the open, without https"
        if why:
            raise PublishFailed(
                f"the registry {self.url} names the token server {printable(realm)[:100]!r}, which"
                f" {why}: nothing was sent there; name another registry by registry= or base_image=",
                step="registry",
            )
        return realm

    def read_token(
        self, reply: Reply, realm: str, login: RegistryLogin | None
    ) -> tuple[str, float]:
        """Read a token server's answer: the token, and for how many seconds it holds."""
        server = realm.partition("?")[0][:200]
        if reply.status in (400, 401, 403):
            who = login.who if login else "no credentials, for there are none for it here"
            if login is None and self.why_none:
                who = f"{who} ({self.why_none})"
            text, hint = said(reply), self.credentials.hint()
            raise AuthenticationRefused(
                f"the token server {server} of the registry {self.url} answered {reply.status} to"
                f" {who}{f' ({text})' if text else ''}; {hint}",
                status=reply.status,
                hint=hint,
            )
        if reply.status != 200:
            raise failed(self.url, f"a token from {server}", reply, step="registry")
        found = parsed(reply.body)
        token = found.get("token") or found.get("access_token")
        if not (isinstance(token, str) and len(token) <= MAX_TOKEN and _BEARER.match(token)):
            raise PublishFailed(
                f"the token server {server} of the registry {self.url} gave no token; look at its"
                " log",
                step="registry",
            )
        seconds = found.get("expires_in")
        if isinstance(seconds, (int, float)) and 0 < seconds < MAX_SECONDS:
            return token, float(seconds)
        return token, USUAL_SECONDS


def first(challenges: list[Challenge], scheme: str) -> Challenge | None:
    """Return the first challenge of a scheme."""
    return next((each for each in challenges if each.scheme == scheme), None)


def together(scopes: tuple[str, ...], more: list[str]) -> tuple[str, ...]:
    """Return all scopes, each once; one that another one holds already is left out."""
    found = list(scopes)
    for each in more:
        name, _, actions = each.rpartition(":")
        held = {
            action
            for other in found
            if other.rpartition(":")[0] == name
            for action in other.rpartition(":")[2].split(",")
        }
        if each and not set(actions.split(",")) <= held:
            found.append(each)
    return tuple(dict.fromkeys(found))


def token_request(
    realm: str, service: str, scopes: tuple[str, ...], login: RegistryLogin | None
) -> Request:
    """Make the request for a token: by a password, by an identity token, or by nothing."""
    small = Small(
        MAX_ANSWER_BYTES, f"the answer of the token server {realm.partition('?')[0][:200]}"
    )
    if login is not None and login.identity is not None:
        form = {
            "grant_type": "refresh_token",
            "service": service,
            "client_id": CLIENT,
            "scope": " ".join(scopes),
            "refresh_token": login.identity.reveal(),
        }
        body = Form(urlencode(form).encode())
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Content-Length": str(len(body.data)),
        }
        return Request("POST", realm, headers, body, False, small)
    query = [("service", service)] if service else []
    query += [("scope", each) for each in scopes]
    header = login.basic() if login is not None else None
    if login is not None and header is not None:
        query += [("account", login.user), ("client_id", CLIENT)]
    target = f"{realm}{'&' if '?' in realm else '?'}{urlencode(query)}" if query else realm
    return Request("GET", target, {}, None, Credential(realm, header) if header else False, small)
