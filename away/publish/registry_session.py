"""Requests to one registry: who we are there, where they lead to, and which are sent again.

A login never leaves the registry that it is for: another host that a redirect or an upload's place
leads to is sent none. Nothing here knows manifests or layers.
"""

from __future__ import annotations

import email.utils
import time
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urljoin, urlsplit

from away.connection.conversations import ConnectFailed, Reply, Request, TlsFailed, Wait
from away.connection.route import host_of
from away.exceptions import (
    AnswerLost,
    AuthenticationRefused,
    CallTimedOut,
    GatewayError,
    GatewayUnreachable,
    PublishFailed,
)
from away.names import printable
from away.publish.references import is_loopback_url
from away.publish.registry_errors import Broken, failed
from away.publish.registry_tokens import Authenticator, Grant
from away.publish.transfer import Small
from away.secret_texts import hidden

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from away.connection.conversations import Conversation, Deadline, Sink
    from away.publish.credentials import Credentials
    from away.publish.registry_memory import Memory

__all__ = ["PAUSES", "RegistryUnreachable", "Session", "is_passing"]

MAX_REDIRECTS = 5
# What keeps its method and its body (RFC 9110, 15.4), and what does so for GET and HEAD.
SAME_METHOD, ANY_METHOD = (307, 308), (301, 302, 303, 307, 308)
# Before a request is sent again that a registry could not answer just now.
PAUSES = (0.2, 1.0)
PASSING = (500, 502, 503, 504)
# How long a registry that is asked too often may have us wait where nobody gave a deadline.
LONGEST_WAIT, USUAL_WAIT, MOST_WAITS = 60.0, 1.0, 10
# Answers beside blobs and manifests, such as those to uploads, say little.
MAX_ANSWER_BYTES = 4 << 20


class Asked(NamedTuple):
    """One request to a registry, before it is known where it leads."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes | Iterable[bytes] | None
    into: Sink | None
    doing: str


class Session:
    """Requests to one registry.

    Args:
        ask: Makes the conversation of one request.
        url: The registry's URL; the gateway's for its own registry.
        own: Whether it is the gateway's own, which takes the gateway's login.
        user: Whom the gateway knows, for the error when it refuses.
        credentials: Where our login at another registry comes from.
        memory: What this process knows of registries.
        deadline: Until when a registry that is asked too often may have us wait.
    """

    def __init__(
        self,
        ask: Callable[[Request], Conversation[Reply]],
        url: str,
        *,
        own: bool,
        user: str,
        credentials: Credentials,
        memory: Memory,
        deadline: Deadline | None,
    ) -> None:
        self.ask = ask
        self.url = url
        self.own = own
        self.user = user
        self.deadline = deadline
        self.authenticator = Authenticator(self.ask_for_token, url, credentials, memory)

    def send(
        self,
        method: str,
        path: str,
        doing: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | Iterable[bytes] | None = None,
        into: Sink | None = None,
        scopes: tuple[str, ...] = (),
        again: bool = True,
        denied: bool = False,
    ) -> Conversation[Reply]:
        """Send one request.

        Args:
            method: Its method.
            path: A path below the registry, or a whole URL.
            doing: What it asks for, for errors.
            headers: Its header fields, without credentials.
            body: Its body.
            into: What takes the body of the answer; a small one is in the reply otherwise.
            scopes: What a token for it has to allow (``repository:NAME:ACTIONS``).
            again: Whether it is sent again when the registry cannot answer just now.
            denied: Whether a refusal is an answer like others.

        Returns:
            The reply, whatever its status but 401 and 403.

        Raises:
            AuthenticationRefused: The registry wants another login.
            PublishFailed: There is no answer, or it leads where nothing may be sent.
        """
        asked = Asked(method, path, headers or {}, body, into, doing)
        return (
            yield from self.patiently(
                lambda: self.authorized(asked, scopes, denied=denied), PAUSES if again else ()
            )
        )

    def patiently(
        self, ask: Callable[[], Conversation[Reply]], pauses: tuple[float, ...] = PAUSES
    ) -> Conversation[Reply]:
        """Ask again where a server cannot answer just now, or is asked too often."""
        left = iter(pauses)
        began, waits = time.monotonic(), 0
        while True:
            pause: float | None = None
            try:
                reply = yield from ask()
            except Broken:
                pause = next(left, None)
                if pause is None:
                    raise
            else:
                if reply.status == 429 and waits < MOST_WAITS:
                    waits += 1
                    pause = self.patience(reply, time.monotonic() - began)
                elif reply.status in PASSING:
                    pause = next(left, None)
                if pause is None:
                    return reply
            yield Wait(pause)

    def patience(self, reply: Reply, waited: float) -> float | None:
        """Return how long a registry that is asked too often wants us to wait, if there is time."""
        seconds = retry_after(str(reply.headers.get("Retry-After") or ""))
        left = LONGEST_WAIT - waited
        if self.deadline is not None:
            left = self.deadline.remaining()
        return seconds if seconds < left else None

    # ------------------------------------------------------------ who we are

    def authorized(
        self, asked: Asked, scopes: tuple[str, ...], *, denied: bool
    ) -> Conversation[Reply]:
        """Send a request with the login that the registry asks for; once more after a 401."""
        if self.own:
            reply, _ = yield from self.followed(asked, None)
            if reply.status in (401, 403):
                raise self.own_refused(reply.status)
            return reply
        grant = yield from self.authenticator.known(scopes)
        reply, place = yield from self.followed(asked, grant)
        if reply.status == 401:
            self.expect_own_word(reply, place, asked.doing)
            try:
                grant = yield from self.authenticator.answer(reply, scopes, grant, asked.doing)
            except AuthenticationRefused:
                if denied:
                    return reply
                raise
            reply, place = yield from self.followed(asked, grant)
        if reply.status in (401, 403) and not denied:
            self.expect_own_word(reply, place, asked.doing)
            raise self.authenticator.refused(reply, grant, asked.doing)
        return reply

    def expect_own_word(self, reply: Reply, place: str, doing: str) -> None:
        """Let nobody ask for our login but the registry itself.

        Raises:
            PublishFailed: It is another server, to which the registry leads, that refuses.
        """
        if "://" in place and not place.startswith(f"{self.url}/"):
            there = urlsplit(place)
            server = f"{there.scheme}://{there.netloc}, to which {self.url} leads"
            raise failed(server, doing, reply, step="registry")

    def own_refused(self, status: int) -> AuthenticationRefused:
        """Make the error for a gateway that does not take its own login."""
        hint = "correct it on the connection"
        return AuthenticationRefused(
            f"the registry {self.url}/v2/ answered {status} to the password of {self.user!r};"
            f" {hint}",
            status=status,
            hint=hint,
        )

    # ------------------------------------------------------------ where it leads

    def followed(self, asked: Asked, grant: Grant | None) -> Conversation[tuple[Reply, str]]:
        """Send a request where it leads to.

        Returns:
            The reply, and where it came from: a path below the registry, or a whole URL.

        Raises:
            PublishFailed: It leads in a ring, or where nothing may be sent.
        """
        target = asked.target
        keeps = ANY_METHOD if asked.method in ("GET", "HEAD") else SAME_METHOD
        for _ in range(MAX_REDIRECTS + 1):
            reply = yield from self.ask_at(asked, target, grant)
            if reply.status not in keeps:
                return reply, target
            target = self.location(target, str(reply.headers.get("Location") or ""), asked.doing)
        raise PublishFailed(
            f"the registry {self.url} redirects more than {MAX_REDIRECTS} times when asked for"
            f" {asked.doing}; correct its configuration",
            step="registry",
        )

    def ask_at(self, asked: Asked, target: str, grant: Grant | None) -> Conversation[Reply]:
        """Send a request to a path below the registry, or to a whole URL."""
        absolute = "://" in target
        place = target if absolute or self.own else self.url + target
        into = asked.into
        if into is None and asked.method != "HEAD":
            into = Small(MAX_ANSWER_BYTES, f"the answer to {asked.doing}")
        auth = not absolute if grant is None else grant.credential or False
        request = Request(asked.method, place, asked.headers, asked.body, auth, into)
        return (yield from self.ask_small(request, asked.doing))

    def location(self, path: str, location: str, doing: str = "an upload") -> str:
        """Read where to go on: a path below this registry, or another server's URL as it is.

        Args:
            path: What was asked: a path below this registry, or a whole URL.
            location: What the answer says.
            doing: What was asked for, for the error.

        Raises:
            PublishFailed: Nothing can be sent there, or nothing may.
        """
        asked = path if "://" in path else self.url + path
        try:
            target = urljoin(asked, location)
            host_of(target)
            whole = urlsplit(target)
        except (ValueError, ConnectFailed):
            raise self.no_place(location, doing, "could be reached by HTTP") from None
        here = urlsplit(self.url)
        if not location or "@" in whole.netloc:
            raise self.no_place(location, doing, "could be reached by HTTP")
        if (whole.scheme, whole.netloc) != (here.scheme, here.netloc):
            local = is_loopback_url(self.url)
            if is_loopback_url(target) and not local:
                raise self.no_place(location, doing, "is on another machine than this one")
            if whole.scheme == "http" and urlsplit(asked).scheme == "https" and not local:
                raise self.no_place(location, doing, "keeps to https")
            return whole._replace(fragment="").geturl()
        below = f"{whole.path}?{whole.query}" if whole.query else whole.path
        prefix = here.path
        return below[len(prefix) :] if prefix and below.startswith(f"{prefix}/") else below

    def no_place(self, location: str, doing: str, lacking: str) -> PublishFailed:
        """Make the error for a place that nothing is sent to."""
        shown = printable(hidden(location.partition("?")[0]))[:100]
        return PublishFailed(
            f"the registry {self.url} names no place for {doing} that {lacking}, but {shown!r};"
            " correct what it says of itself, or name another one by registry= or base_image=",
            step="push",
        )

    # ------------------------------------------------------------ what may break

    def ask_for_token(self, request: Request) -> Conversation[Reply]:
        """Ask a token server."""
        return self.patiently(lambda: self.ask_small(request, "a token"))

    def ask_small(self, request: Request, doing: str) -> Conversation[Reply]:
        """Send a request, and put an answer that has to be small into the reply."""
        reply = yield from self.ask_once(request, doing)
        if isinstance(request.into, Small) and request.into.size:
            reply = Reply(reply.status, reply.headers, request.into.data, reply.call_id)
        return reply

    def ask_once(self, request: Request, doing: str) -> Conversation[Reply]:
        """Send one request, and say in words of registries what broke.

        Raises:
            Broken: The connection ended in the middle.
            PublishFailed: There is none, or what answers is no registry.
        """
        server = self.url
        if not request.path.startswith((f"{self.url}/", "/")):
            parts = urlsplit(request.path)
            server = f"{parts.scheme}://{parts.netloc}, to which {self.url} leads,"
        try:
            return (yield from self.ask(request))
        except GatewayUnreachable as error:
            if self.own:
                raise
            raise RegistryUnreachable(server, error) from error
        except AnswerLost as error:
            raise Broken(
                f"the connection to the registry {server} ended in the middle of {doing}; run the"
                " same command again, which goes on from there",
                step="push",
                call_id=error.call_id,
            ) from error
        except CallTimedOut as error:
            raise PublishFailed(
                f"the registry {server} took longer than the {error.seconds or 0:g} s that were left"
                f" for {doing}; give more time, and run the same command again, which goes on from"
                " there",
                step="push",
                call_id=error.call_id,
            ) from error
        except GatewayError as error:
            why = str(error.__cause__ or error)
            raise PublishFailed(
                f"what answers as the registry {server} is none: asked for {doing}, it gave what"
                f" cannot be read ({printable(why)[:200]}); correct registry= or base_image=",
                step="registry",
                call_id=error.call_id,
            ) from error


def is_passing(reply: Reply) -> bool:
    """Tell whether an answer may be another one in a moment."""
    return reply.status in PASSING


def retry_after(text: str) -> float:
    """Return how many seconds a Retry-After field asks to wait (RFC 9110, 10.2.3)."""
    if text.isascii() and text.isdigit() and len(text) < 9:
        return max(float(text), 0.1)
    try:
        moment = email.utils.parsedate_to_datetime(text)
        return max(moment.timestamp() - time.time(), 0.1)
    except (ValueError, TypeError, OverflowError):
        return USUAL_WAIT


class RegistryUnreachable(PublishFailed):
    """There is no connection to a registry.

    Args:
        server: Its URL, and how we came to ask it.
        error: What happened.
    """

    def __init__(self, server: str, error: GatewayUnreachable) -> None:
        why = str(error.__cause__ or "") or "no connection in time"
        way = "start it, or correct registry= or base_image="
        self.is_tls = isinstance(error.__cause__, TlsFailed)
        if self.is_tls:
            if "wrong version number" in why or "record layer failure" in why:
                why = f"what listens there does not speak TLS: {why}"
                way = "if it is meant to be plain http, name it in insecure_registries"
            else:
                way = (
                    "give ca_bundle= the file of the authority that it trusts, or correct its name"
                )
        self.server = server
        self.why = printable(why)
        super().__init__(
            f"the registry {server} cannot be reached ({self.why}); {way}",
            step="registry",
            call_id=error.call_id,
            hint=way,
        )
