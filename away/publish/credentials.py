"""Who we are at a registry: where a login is looked for, and in which order.

1. ``registry_auth=`` of the publish, ``(user, password)`` or ``"user:password"``.
2. ``AWAY_REGISTRY_USER`` and ``AWAY_REGISTRY_PASSWORD`` of the environment.
3. What Docker has: its ``config.json`` (in ``DOCKER_CONFIG``, else ``~/.docker``) with the credential
   helper of the registry, the one for all, and the logins that stand in the file.

The first two are for the registry that is pushed to and for no other; the third is by host. Where a
project's file chose that registry, neither of the two is sent to it, unless ``AWAY_REGISTRY_HOST`` names
that very host: a cloned repository would decide who gets the password. That variable, where it is set,
says which one registry the other two are for. The gateway's own registry takes the gateway's login,
which is none of these.
"""

from __future__ import annotations

import os
from base64 import b64encode
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from away.config.secret import Secret
from away.exceptions import ConfigError
from away.names import printable
from away.publish.beside import Beside
from away.publish.docker_config import config_file, docker_login, sound
from away.secret_texts import remember

if TYPE_CHECKING:
    from collections.abc import Mapping

    from away.connection.conversations import Conversation

__all__ = ["Credentials", "Found", "GivenLogin", "RegistryLogin", "find_login", "given_login"]

USER_VARIABLE, PASSWORD_VARIABLE = "AWAY_REGISTRY_USER", "AWAY_REGISTRY_PASSWORD"
HOST_VARIABLE = "AWAY_REGISTRY_HOST"
DOCKER = "Docker's config.json"

GivenLogin: TypeAlias = "tuple[str, str | Secret] | str | RegistryLogin"


class RegistryLogin(NamedTuple):
    """A login at a registry.

    Attributes:
        user: Whose it is; an empty text where it does not say.
        password: The password.
        identity: A token that is exchanged for others at the registry's token server (OAuth 2.0).
        token: A token that is sent as it is.
        source: Where it was found, for people.
    """

    user: str = ""
    password: Secret | None = None
    identity: Secret | None = None
    token: Secret | None = None
    source: str = ""

    @property
    def who(self) -> str:
        """What an error calls it, without the password."""
        return f"the login of {self.user or 'a token'} from {self.source}"

    def basic(self) -> Secret | None:
        """Return the Authorization header for Basic (RFC 7617), if there is a password."""
        if self.password is None:
            return None
        pair = b64encode(f"{self.user}:{self.password.reveal()}".encode()).decode()
        # A server that repeats what it was sent repeats this form.
        remember(pair)
        return Secret(f"Basic {pair}")


class Found(NamedTuple):
    """What a search gave; ``why`` is why it gave nothing, where something failed."""

    login: RegistryLogin | None = None
    why: str = ""


def given_login(given: GivenLogin) -> RegistryLogin:
    """Read what ``registry_auth=`` was given.

    Raises:
        ConfigError: It is no login; the sentence does not repeat it.
    """
    if isinstance(given, RegistryLogin):
        return given
    user: object
    password: object
    if isinstance(given, str):
        user, colon, password = given.partition(":")
        pair = bool(colon)
    else:
        pair = isinstance(given, tuple) and len(given) == 2
        user, password = given if pair else ("", "")
    if isinstance(password, Secret):
        password = password.reveal()
    remember(password if isinstance(password, str) else None)
    if not pair or not isinstance(user, str) or not isinstance(password, str):
        raise ConfigError("registry_auth= is (user, password) or 'user:password'")
    return checked(user, password, "registry_auth=")


def checked(user: str, password: str, source: str) -> RegistryLogin:
    """Make a login of a user and a password.

    Raises:
        ConfigError: No header can carry them.
    """
    if not user or not password or not sound(user, password):
        raise ConfigError(
            f"the login of {source} has a user without ':' and a password, neither of them empty or"
            " with a line break; correct it"
        )
    return RegistryLogin(user, Secret(password), source=source)


def environment_login(environ: Mapping[str, str]) -> RegistryLogin | None:
    """Return the login that the environment has for the registry that is pushed to.

    Raises:
        ConfigError: It has one half of it.
    """
    user, password = environ.get(USER_VARIABLE, ""), environ.get(PASSWORD_VARIABLE, "")
    if not user and not password:
        return None
    if not user or not password:
        missing, there = PASSWORD_VARIABLE, USER_VARIABLE
        if not user:
            missing, there = there, missing
        raise ConfigError(f"{there} is set and {missing} is not; set both or neither")
    return checked(user, password, USER_VARIABLE)


def find_login(
    host: str,
    *,
    given: GivenLogin | None = None,
    pushed: bool = False,
    chosen_by: str = "",
    environ: Mapping[str, str] | None = None,
) -> Found:
    """Look for the login at a registry; a credential helper may take seconds.

    Args:
        host: The registry, ``HOST[:PORT]``.
        given: What the user passed for the registry that is pushed to.
        pushed: Whether this is that registry.
        chosen_by: The project's file and line that named the registry, if one did.
        environ: The environment; the process's own if left out.

    Raises:
        ConfigError: What was given, or stands in the environment, is no login, or it was given for a
            registry that a project's file chose.
    """
    return Credentials(
        host, given=given, pushed=pushed, chosen_by=chosen_by, environ=environ
    ).look()


class Credentials:
    """Where the login at one registry comes from.

    Args:
        host: The registry, ``HOST[:PORT]``.
        given: What the user passed for the registry that is pushed to.
        pushed: Whether this is that registry.
        chosen_by: The project's file and line that named the registry, if one did.
        environ: The environment; the process's own if left out.

    Raises:
        ConfigError: What was given, or stands in the environment, is no login, or it was given for a
            registry that a project's file chose.
    """

    def __init__(
        self,
        host: str,
        *,
        given: GivenLogin | None = None,
        pushed: bool = False,
        chosen_by: str = "",
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.host = host
        self.pushed = pushed
        self.environ = os.environ if environ is None else environ
        self.explicit: RegistryLogin | None = None
        meant = self.environ.get(HOST_VARIABLE, "")
        self.chosen_by = "" if meant == host else chosen_by
        if not pushed:
            return
        if given is not None:
            login = given_login(given)
            if self.chosen_by:
                raise ConfigError(
                    f"registry_auth= is not sent to the registry {printable(host)}, which a project's"
                    f" file chose ({self.chosen_by}); give registry= beside it, or set"
                    f" {HOST_VARIABLE}={printable(host)}"
                )
            self.explicit = login
        elif not self.chosen_by and meant in ("", host):
            self.explicit = environment_login(self.environ)

    @property
    def key(self) -> object:
        """What has to be equal for two searches to find the same, until files change."""
        return self.explicit or str(config_file(self.environ))

    def look(self) -> Found:
        """Look now; a credential helper may take seconds."""
        if self.explicit is not None:
            return Found(self.explicit)
        stored, why = docker_login(self.host, self.environ)
        if stored is None:
            return Found(None, why)
        return Found(RegistryLogin(*stored, source=DOCKER))

    def find(self) -> Conversation[Found]:
        """Look beside a conversation, whose driver is not kept from its sockets meanwhile."""
        if self.explicit is not None:
            return Found(self.explicit)
        return (yield from Beside(self.look).result())

    def hint(self) -> str:
        """Say how to log in, as a clause."""
        docker = f"log in by 'docker login {self.host}'"
        if not self.pushed:
            return docker
        if self.chosen_by:
            return (
                f"{docker}, or set {HOST_VARIABLE}={self.host}: a project's file chose this registry"
                f" ({self.chosen_by}), and {USER_VARIABLE} and {PASSWORD_VARIABLE} are sent to none"
                " of these otherwise"
            )
        return (
            f"{docker}, or give registry_auth=(user, password) or {USER_VARIABLE} and"
            f" {PASSWORD_VARIABLE}"
        )
