"""What Docker's own configuration says about who we are at a registry.

``config.json`` is what ``docker login`` writes: a password in it, or the name of a program that keeps
them (https://docs.docker.com/reference/cli/docker/login/, "credential helpers"). Nothing here asks a
registry anything.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from away.config.secret import Secret
from away.names import printable
from away.publish.references import HUB_HOSTS

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Entry", "Stored", "config_file", "docker_login", "entry_for", "read_config"]

# Docker Hub's name in that file is older than its registry.
HUB_KEY = "https://index.docker.io/v1/"
MAX_CONFIG_BYTES = 1 << 20
# A helper may ask its user to unlock something.
HELPER_SECONDS = 30.0
MAX_HELPER_BYTES = 1 << 20
# What a helper names itself by becomes part of a program's name, so it is a plain word.
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}\Z")
# The user under which a helper keeps what is no password but an identity token.
TOKEN_USER = "<token>"  # noqa: S105  # a word that Docker uses


class Stored(NamedTuple):
    """A login as it is stored; ``identity`` is exchanged for tokens, ``token`` is one."""

    user: str = ""
    password: Secret | None = None
    identity: Secret | None = None
    token: Secret | None = None


class Entry(NamedTuple):
    """What a configuration has for a registry.

    Attributes:
        helpers: Programs to ask, one after the other: ``docker-credential-NAME``.
        stored: A login that stands in it.
    """

    helpers: tuple[str, ...] = ()
    stored: Stored | None = None


def config_file(environ: Mapping[str, str]) -> Path | None:
    """Return where Docker's configuration is; None where this user has no home."""
    folder = environ.get("DOCKER_CONFIG")
    if folder:
        return Path(folder) / "config.json"
    home = environ.get("HOME") or environ.get("USERPROFILE")
    try:
        return (Path(home) if home else Path.home()) / ".docker" / "config.json"
    except RuntimeError:
        return None


def read_config(data: bytes) -> dict[str, Any] | None:
    """Read a configuration's text; None where it is none."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", found) if isinstance(found, dict) else None


def server_key(host: str) -> str:
    """Return what Docker calls a registry in its configuration and to its helpers."""
    return HUB_KEY if host in HUB_HOSTS else host


def entry_for(config: Mapping[str, Any], host: str) -> Entry:
    """Return what a configuration has for a registry; whatever has another form is not there.

    Args:
        config: The configuration, as JSON has it.
        host: The registry, ``HOST[:PORT]``; Docker Hub by any of its names.
    """
    helpers = []
    own = matching(config.get("credHelpers"), host)
    for name in (own, config.get("credsStore")):
        if isinstance(name, str) and name and name not in helpers:
            helpers.append(name)
    entry = matching(config.get("auths"), host)
    return Entry(tuple(helpers), stored_in(entry) if isinstance(entry, dict) else None)


def matching(table: object, host: str) -> object:
    """Return a table's value for a host: by its very name, else by a URL of it."""
    if not isinstance(table, dict):
        return None
    exact = server_key(host)
    if exact in table:
        return table[exact]
    names = HUB_HOSTS if host in HUB_HOSTS else {host.lower()}
    for key, value in table.items():
        if isinstance(key, str) and key.partition("://")[2].partition("/")[0].lower() in names:
            return value
        if isinstance(key, str) and key.partition("/")[0].lower() in names:
            return value
    return None


def stored_in(entry: Mapping[str, Any]) -> Stored | None:
    """Read one of the ``auths``: a pair in base64, or in the open, and tokens beside it."""
    user, password = text_of(entry, "username"), text_of(entry, "password")
    if auth := text_of(entry, "auth"):
        try:
            pair = base64.b64decode(auth, validate=True).decode()
        except (binascii.Error, ValueError):
            pair = ""
        if ":" in pair:
            user, _, password = pair.partition(":")
            # Docker itself takes away what it was padded with.
            password = password.strip("\0")
    identity, token = text_of(entry, "identitytoken"), text_of(entry, "registrytoken")
    if not sound(user, password, identity, token):
        return None
    if token:
        return Stored(user, token=Secret(token))
    if identity:
        return Stored(user, identity=Secret(identity))
    return Stored(user, Secret(password)) if user and password else None


def text_of(entry: Mapping[str, Any], key: str) -> str:
    """Return a text of an entry, or an empty one."""
    value = entry.get(key)
    return value if isinstance(value, str) else ""


def sound(user: str, *secrets: str) -> bool:
    """Tell whether a login can be sent: no line breaks, and no ``:`` in a user (RFC 7617)."""
    parts = (user, *secrets)
    return ":" not in user and all(
        part.isprintable() and not any(0xD800 <= ord(c) < 0xE000 for c in part) for part in parts
    )


def docker_login(host: str, environ: Mapping[str, str]) -> tuple[Stored | None, str]:
    """Return the login that Docker has for a registry, as ``docker push`` would find it.

    Args:
        host: The registry, ``HOST[:PORT]``.
        environ: The environment; ``DOCKER_CONFIG`` is the folder of the configuration.

    Returns:
        The login, or None with the reason where something that should have given one failed: a clause
        without a secret.
    """
    path = config_file(environ)
    try:
        if path is None or not path.is_file():
            return None, ""
        with path.open("rb") as file:
            data = file.read(MAX_CONFIG_BYTES + 1)
    except OSError as error:
        return None, f"Docker's {path} cannot be read: {error.strerror}"
    config = read_config(data) if len(data) <= MAX_CONFIG_BYTES else None
    if config is None:
        return None, f"Docker's {path} is not JSON"
    entry = entry_for(config, host)
    failed = ""
    for name in entry.helpers:
        stored, why = ask_helper(name, server_key(host), environ)
        if stored is not None:
            return stored, ""
        failed = failed or why
    return entry.stored, "" if entry.stored else failed


def ask_helper(name: str, server: str, environ: Mapping[str, str]) -> tuple[Stored | None, str]:
    """Ask a credential helper for a login; what it says beside that is nobody's to see."""
    if not _WORD.match(name):
        return None, f"Docker's credential helper {printable(name)[:60]!r} is no plain word"
    program = f"docker-credential-{name}"
    path = shutil.which(program, path=environ.get("PATH", os.defpath))
    if path is None:
        return None, f"{program}, which Docker's config.json names, is not installed"
    # Files and no pipes: whatever a helper starts may hold a pipe open after it was ended.
    with tempfile.TemporaryFile() as asked, tempfile.TemporaryFile() as said:
        asked.write(server.encode())
        asked.seek(0)
        try:
            status = subprocess.run(
                [path, "get"],
                check=False,
                stdin=asked,
                stdout=said,
                stderr=subprocess.DEVNULL,
                env=dict(environ),
                timeout=HELPER_SECONDS,
            ).returncode
        except subprocess.TimeoutExpired:
            return None, f"{program} gave no answer within {HELPER_SECONDS:g} s"
        except OSError as error:
            return None, f"{program} cannot be run: {error.strerror}"
        said.seek(0)
        answer = said.read(MAX_HELPER_BYTES)
    return read_helper(program, status, answer)


def read_helper(program: str, status: int, answer: bytes) -> tuple[Stored | None, str]:
    """Read what a helper answered."""
    if status != 0:
        # The one word by which helpers say that they have none (docker-credential-helpers).
        if b"credentials not found" in answer:
            return None, ""
        return None, f"{program} failed with exit status {status}"
    found = read_config(answer)
    user, secret = text_of(found or {}, "Username"), text_of(found or {}, "Secret")
    if not user or not secret or not sound(user, secret):
        return None, f"{program} gave no login"
    if user == TOKEN_USER:
        return Stored(identity=Secret(secret)), ""
    return Stored(user, Secret(secret)), ""
