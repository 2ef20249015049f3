"""What survives a restart: functions, tags and manifests in SQLite, the password, secrets as files.

The folder is private (0700). Everything is small and local, so it is read and written where it is
asked for; blobs, which are not small, have :mod:`away.gateway.blobs`.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sqlite3
from dataclasses import asdict
from typing import TYPE_CHECKING

from away.gateway.announcement import make_private
from away.gateway.blobs import Blobs
from away.gateway.deploy_request import NAMESPACE, Deployment

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["PASSWORD_FILE", "SecretFiles", "Store", "StoreUnusable", "kept_password"]

SCHEMA_VERSION = 1
# Holds the password and nothing else.
PASSWORD_FILE = "password"  # noqa: S105 - a file's name
# Of a secret's copy for a container (OpenFaaS: readable by any user in it).
CONTAINER_MODE = 0o644
_SCHEMA = """
CREATE TABLE functions (
    namespace TEXT NOT NULL, name TEXT NOT NULL, deployment TEXT NOT NULL,
    PRIMARY KEY (namespace, name));
CREATE TABLE manifests (
    repository TEXT NOT NULL, digest TEXT NOT NULL, media_type TEXT NOT NULL,
    PRIMARY KEY (repository, digest));
CREATE TABLE tags (
    repository TEXT NOT NULL, tag TEXT NOT NULL, digest TEXT NOT NULL,
    PRIMARY KEY (repository, tag));
"""


class StoreUnusable(Exception):
    """The state folder cannot be used; the text says why, in one sentence."""


class Store:
    """The gateway's state folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._database = _open(folder / "state.sqlite")
        self.blobs = Blobs(folder / "blobs")
        self.secrets = SecretFiles(folder / "secrets" / NAMESPACE, folder / "functions")

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    # Functions

    def functions(self) -> list[Deployment]:
        """Return every function that is deployed."""
        rows = self._database.execute("SELECT deployment FROM functions ORDER BY name").fetchall()
        return [_deployment(text) for (text,) in rows]

    def save(self, deployment: Deployment) -> None:
        """Keep a function, in place of the one of its name."""
        self._let_go(deployment.namespace, deployment.name)
        row = (deployment.namespace, deployment.name, json.dumps(asdict(deployment)))
        with self._database:
            self._database.execute("INSERT OR REPLACE INTO functions VALUES (?, ?, ?)", row)

    def delete(self, namespace: str, name: str) -> None:
        """Forget a function."""
        self._let_go(namespace, name)
        with self._database:
            self._database.execute(
                "DELETE FROM functions WHERE namespace = ? AND name = ?", (namespace, name)
            )

    def _let_go(self, namespace: str, name: str) -> None:
        """Let the image of a function that is replaced or removed be young once more."""
        for (text,) in self._database.execute(
            "SELECT deployment FROM functions WHERE namespace = ? AND name = ?", (namespace, name)
        ).fetchall():
            if digest := _deployment(text).digest:
                self.blobs.touch(digest)

    # Images

    def manifest(self, repository: str, reference: str) -> tuple[str, str] | None:
        """Return the digest and media type of a manifest by its tag or digest.

        Whoever asks is about to use it, so it is young from now on.
        """
        digest = reference
        if ":" not in reference:
            row = self._database.execute(
                "SELECT digest FROM tags WHERE repository = ? AND tag = ?", (repository, reference)
            ).fetchone()
            if row is None:
                return None
            digest = row[0]
        found = self._database.execute(
            "SELECT media_type FROM manifests WHERE repository = ? AND digest = ?",
            (repository, digest),
        ).fetchone()
        if found is None:
            return None
        self.blobs.touch(digest)
        return digest, found[0]

    def manifest_digests(self) -> set[str]:
        """Return the digests of all manifests."""
        rows = self._database.execute("SELECT DISTINCT digest FROM manifests").fetchall()
        return {digest for (digest,) in rows}

    def forget_manifests(self, digests: set[str]) -> None:
        """Forget manifests in all repositories, with their tags."""
        rows = [(digest,) for digest in digests]
        with self._database:
            self._database.executemany("DELETE FROM tags WHERE digest = ?", rows)
            self._database.executemany("DELETE FROM manifests WHERE digest = ?", rows)

    def add_manifest(self, repository: str, digest: str, media_type: str, tag: str | None) -> None:
        """Keep a manifest whose bytes are a blob already, under a tag if there is one."""
        with self._database:
            self._database.execute(
                "INSERT OR REPLACE INTO manifests VALUES (?, ?, ?)",
                (repository, digest, media_type),
            )
            if tag is not None:
                self._database.execute(
                    "INSERT OR REPLACE INTO tags VALUES (?, ?, ?)", (repository, tag, digest)
                )

    def delete_manifest(self, repository: str, reference: str) -> bool:
        """Forget a tag, or a manifest with its tags; False when there was none."""
        tag = ":" not in reference
        with self._database:
            removed = self._database.execute(
                f"DELETE FROM tags WHERE repository = ? AND {'tag' if tag else 'digest'} = ?",  # noqa: S608
                (repository, reference),
            ).rowcount
            if not tag:
                removed = self._database.execute(
                    "DELETE FROM manifests WHERE repository = ? AND digest = ?",
                    (repository, reference),
                ).rowcount
        return removed > 0

    def tags(self, repository: str) -> list[str] | None:
        """Return a repository's tags, in order, or None when there is no such repository."""
        rows = self._database.execute(
            "SELECT tag FROM tags WHERE repository = ? ORDER BY tag", (repository,)
        ).fetchall()
        known = self._database.execute(
            "SELECT 1 FROM manifests WHERE repository = ? LIMIT 1", (repository,)
        ).fetchone()
        return [tag for (tag,) in rows] if known else None


def kept_password(folder: Path) -> str:
    """Return the password of a state, made at its first start and kept for the next.

    Raises:
        OSError: The folder cannot be read or written.
    """
    path = folder / PASSWORD_FILE
    try:
        # 32 bytes: as many as the token that faasd writes for itself; in digits and letters alone,
        # since a password that begins with "-" is no option's value to most commands.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
    except FileExistsError:
        pass
    found = path.read_text().strip()
    if not found:
        path.unlink()
        return kept_password(folder)
    return found


class SecretFiles:
    """Secrets, each a file (0600) in a private folder, and a copy for each function that has it."""

    def __init__(self, folder: Path, functions: Path) -> None:
        self._folder = folder
        self._functions = functions
        for each in (folder, functions):
            make_private(each)

    def names(self) -> list[str]:
        """List the secrets' names."""
        return sorted(each.name for each in self._folder.iterdir() if not each.name.startswith("."))

    def put(self, name: str, value: bytes) -> None:
        """Create or overwrite a secret; functions that have it see the new value at once."""
        _write_private(self._folder / name, value)
        for copy in self._functions.glob(f"*/secrets/{name}"):
            _write_private(copy, value)
        for copy in self._functions.glob(f"*/containers/*/{name}"):
            _write_private(copy, value, CONTAINER_MODE)

    def delete(self, name: str) -> bool:
        """Remove a secret; what functions hold of it stays. False when there was none."""
        try:
            (self._folder / name).unlink()
        except FileNotFoundError:
            return False
        return True

    def folder_for(self, function: str, names: tuple[str, ...]) -> Path:
        """Return a function's own folder, with exactly the secrets that it was deployed with."""
        own = self._functions / function / "secrets"
        make_private(own)
        for left in own.iterdir():
            if left.name not in names:
                left.unlink()
        for name in names:
            if (self._folder / name).exists():
                _write_private(own / name, (self._folder / name).read_bytes())
        return own

    def folder_for_container(
        self, function: str, identity: str, names: tuple[str, ...]
    ) -> Path | None:
        """Return the folder of one container's secrets, whose programs may run as any user.

        The files are readable by all, as in OpenFaaS; on this machine they are not, since they stand
        below a folder that is not. None where there are no secrets.
        """
        if not names:
            return None
        own = self._functions / function / "containers" / identity
        make_private(own)
        own.chmod(0o755)
        for name in names:
            if (self._folder / name).exists():
                _write_private(own / name, (self._folder / name).read_bytes(), CONTAINER_MODE)
        return own

    def drop_container(self, function: str, identity: str) -> None:
        """Remove the folder of a container that is gone."""
        shutil.rmtree(self._functions / function / "containers" / identity, ignore_errors=True)

    def drop_containers(self) -> None:
        """Remove the folders of all containers, of which none runs."""
        for left in self._functions.glob("*/containers"):
            shutil.rmtree(left, ignore_errors=True)

    def drop_function(self, function: str) -> None:
        """Remove all that is kept for a function which is no longer deployed."""
        shutil.rmtree(self._functions / function, ignore_errors=True)


def _open(path: Path) -> sqlite3.Connection:
    try:
        make_private(path.parent)
        path.parent.chmod(0o700)
        database = sqlite3.connect(path, timeout=10.0)
        database.execute("PRAGMA journal_mode = WAL")
        # With the write-ahead log, what a process committed survives that process all the same.
        database.execute("PRAGMA synchronous = NORMAL")
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version == 0:
            database.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; END;")
    except (OSError, sqlite3.Error) as error:
        raise StoreUnusable(
            f"the gateway cannot keep its state in {path.parent}: {error}; name another with --state"
        ) from error
    if version > SCHEMA_VERSION:
        database.close()
        raise StoreUnusable(
            f"the state in {path.parent} was written by a newer Away (version {version} of its"
            f" format, this one reads {SCHEMA_VERSION}); upgrade Away or name another with --state"
        )
    return database


def _deployment(text: str) -> Deployment:
    fields = json.loads(text)
    fields["secrets"] = tuple(fields["secrets"])
    return Deployment(**fields)


def _write_private(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write a file so that a reader finds the old content or the new, never half of it."""
    beside = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        # Whatever the umask says.
        os.fchmod(descriptor, mode)
        file.write(data)
    beside.replace(path)
