"""The default image builder: layers on a base image, by the registry's own API and without Docker.

Only what the registry lacks is sent, the manifest last. The base may lie in another registry.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from away.exceptions import PublishFailed
from away.publish.builders.order import Base
from away.publish.image import assemble
from away.publish.references import registry_url
from away.publish.registry import ManifestRefused, Registry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from away.connection.conversations import Conversation
    from away.publish.builders.order import Order, Settings
    from away.publish.image import BaseImage, Image, Layer

__all__ = ["RegistryBuilder"]


class RegistryBuilder:
    """Builds images by putting layers on what a registry has.

    Args:
        order: What to work with.
    """

    name = "registry"

    def __init__(self, order: Order) -> None:
        self.order = order
        own = order.registry_host is None
        self.registry = Registry(order.ask, order.registry_url, own=own, user=order.connection.user)
        self.image_below: BaseImage | None = None

    def check(self) -> Conversation[None]:
        """See that the registry answers and lets us in."""
        yield from self.registry.check()

    def base(self) -> Conversation[Base]:
        """Get the base image's manifest and configuration."""
        name = self.order.base_name
        registry = self.registry
        if name.host:
            registry = Registry(self.order.ask, registry_url(name.host), own=False)
        found = yield from registry.base(name, self.order.target.architecture)
        self.image_below = found
        python = found.labels.get("away.python") or found.variable("PYTHON_VERSION")
        return Base(
            str(name),
            python=".".join(python.split(".")[:2]),
            architecture=found.architecture,
            environment=label_environment(found),
            docker=found.docker,
        )

    def build(
        self, layers: Sequence[Layer], settings: Settings, repository: str, tag: str
    ) -> Conversation[str]:
        """Push what is absent, the manifest last; once more if the registry had forgotten."""
        assert self.image_below is not None, "the base is asked for first"
        image = assemble(
            self.image_below,
            layers,
            command=settings.command,
            environment=settings.environment,
            working_folder=settings.working_folder,
            labels=settings.labels,
        )
        try:
            yield from self.push(image, repository, tag)
        except ManifestRefused:
            self.registry.memory.forget(self.registry.url)
            try:
                yield from self.push(image, repository, tag)
            except ManifestRefused as error:
                raise PublishFailed(
                    f"the registry {self.registry.url} says that it lacks what it just took: {error}",
                    step="push",
                ) from error
        return image.digest

    def has(self, repository: str, digest: str) -> Conversation[bool]:
        """Tell whether an image is there to be pulled."""
        return self.registry.has_manifest(repository, digest)

    def push(self, image: Image, repository: str, tag: str) -> Conversation[None]:
        """Push layers, configuration and manifest."""
        assert self.image_below is not None
        for below in self.image_below.layers:
            yield from self.carry(str(below["digest"]), repository)
        for layer in image.layers:
            yield from self.registry.push(layer, repository)
        yield from self.registry.upload(image.config_digest, image.config, repository)
        yield from self.registry.put_manifest(image, repository, tag)

    def carry(self, digest: str, repository: str) -> Conversation[None]:
        """Bring a layer of the base image into the function's repository."""
        name = self.order.base_name
        if not name.host:
            if (yield from self.registry.mount(digest, name.repository, repository)):
                return
            data = yield from self.registry.blob(name.repository, digest)
        else:
            source = Registry(self.order.ask, registry_url(name.host), own=False)
            data = yield from source.blob(name.repository, digest)
        yield from self.registry.upload(digest, data, repository)


def label_environment(base: BaseImage) -> dict[str, str] | None:
    """Return the distributions that a base image says it has; None where it does not say."""
    try:
        found = json.loads(base.labels.get("away.environment", ""))
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    return {str(name): str(version) for name, version in found.items()}
