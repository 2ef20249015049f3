"""Where the scenarios run: a gateway, a registry, the base image and the image builder."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import requests

from away import FaasConnection, builder
from away.exceptions import AwayError


@dataclass
class Place:
    """A gateway with all that a publish to it needs; what a scenario leaves there is its own to name.

    Attributes:
        faas: The connection.
        options: The keywords of every publish here: registry, base image, image builder.
        logs: Whether the provider has its functions' logs: faasd has none without journald.
        prefix: What the names of this run's functions and secrets begin with.
    """

    faas: FaasConnection
    options: dict[str, Any]
    logs: bool = True
    prefix: str = field(default_factory=lambda: f"away-test-{uuid.uuid4().hex[:6]}")
    names: list[str] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)

    def name(self, word: str) -> str:
        """Give the name of a function here, which is removed at the end."""
        name = f"{self.prefix}-{word}"
        if name not in self.names:
            self.names.append(name)
        return name

    def publish(self, word: str, **options: Any) -> Callable[[Callable[..., Any]], Any]:
        """Decorate a function: publish it here by its own name of this run."""
        options = {"verbose": False, **self.options, **options}
        return builder.publish(self.faas, name=self.name(word), **options)

    def secret(self, word: str, value: str) -> str:
        """Create a secret, which is removed at the end, and give its name."""
        name = f"{self.prefix}-{word}"
        self.faas.create_secret(name, value)
        self.secrets.append(name)
        return name

    def answer(self, path: str) -> str:
        """Give what the gateway's own API answers, as it is."""
        answer = requests.get(
            f"{self.faas.url}/system/{path}",
            auth=(self.faas.user, self.faas.password or ""),
            timeout=30,
        )
        answer.raise_for_status()
        return answer.text

    def described(self, word: str) -> dict[str, Any]:
        """Give what the gateway tells of a function."""
        described: dict[str, Any] = json.loads(self.answer(f"function/{self.name(word)}"))
        return described

    def clear(self) -> None:
        """Remove the functions and secrets of this run, those that are gone already aside."""
        for name in self.names:
            with contextlib.suppress(AwayError):
                self.faas.remove(name)
        for name in self.secrets:
            with contextlib.suppress(AwayError):
                self.faas.remove_secret(name)
        self.names.clear()
        self.secrets.clear()
