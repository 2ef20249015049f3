"""What this process knows of registries: what they have, what they ask for, and tokens that hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from away.publish.challenges import Challenge
    from away.publish.credentials import RegistryLogin
    from away.publish.image import BaseImage
    from away.publish.registry_tokens import Grant

__all__ = ["MEMORY", "Memory"]


class Memory:
    """What this process knows of registries; threads that publish at once share it.

    Attributes:
        blobs: The repositories that a blob was seen in, by registry and digest.
        bases: Base images, by registry and digest.
        answering: Registries that answered and let us in.
        challenges: What a registry asks of who comes.
        logins: Logins that a registry asked for, by it and by where they come from.
        tokens: Tokens with the moment until which they hold.
    """

    # Dicts are changed by single operations only: each is one step under the interpreter's lock.

    def __init__(self) -> None:
        self.blobs: dict[tuple[str, str], dict[str, None]] = {}
        self.bases: dict[tuple[str, str], BaseImage] = {}
        self.answering: set[str] = set()
        self.challenges: dict[str, Challenge] = {}
        self.logins: dict[object, RegistryLogin] = {}
        self.tokens: dict[object, tuple[Grant, float]] = {}

    def holds(self, registry: str, repository: str, digest: str) -> bool:
        """Tell whether a blob was seen in a repository."""
        return repository in self.blobs.get((registry, digest), {})

    def elsewhere(self, registry: str, digest: str) -> str | None:
        """Return another repository of the registry that has the blob."""
        return next(reversed(self.blobs.get((registry, digest), {})), None)

    def add(self, registry: str, repository: str, digest: str) -> None:
        """Remember that a repository has a blob."""
        self.blobs.setdefault((registry, digest), {})[repository] = None

    def forget(self, registry: str) -> None:
        """Forget everything of a registry, which was emptied or replaced."""
        for key in [key for key in self.blobs if key[0] == registry]:
            self.blobs.pop(key, None)
        self.answering.discard(registry)


MEMORY = Memory()
