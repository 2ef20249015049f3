"""How an image is made and brought to its registry: one small interface, and who implements it.

``registry`` puts layers on a base image by the registry's own API and needs no Docker; ``docker`` has
a Docker Engine build and push, for bases with steps of the user's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from away.exceptions import PublishFailed
from away.names import nearest, printable
from away.publish.builders.order import Base, Order, Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from away.connection.conversations import Conversation
    from away.publish.image import Layer
    from away.publish.options import Options
    from away.publish.pins import Pin

__all__ = ["Base", "ImageBuilder", "Order", "Settings", "choose", "own_steps"]

BUILDERS = ("registry", "docker")


class ImageBuilder(Protocol):
    """Brings images to a registry."""

    name: str

    def check(self) -> Conversation[None]:
        """See that it can work at all, before anything costs time.

        Raises:
            PublishFailed: It cannot: nothing answers, or something that is needed is not there.
            AuthenticationRefused: The registry wants other credentials.
        """

    def base(self) -> Conversation[Base]:
        """Find the image to stand on, and what is to be known of it."""

    def installs(self, pins: tuple[Pin, ...]) -> bool:
        """Take over the installation of what the base lacks, or leave it to who makes the layers.

        Args:
            pins: The distributions.

        Returns:
            True if the builder brings them into the image; no layer is to have them then.
        """

    def build(
        self, layers: Sequence[Layer], settings: Settings, repository: str, tag: str
    ) -> Conversation[str]:
        """Put layers on the base and bring the image to its registry.

        Args:
            layers: What changes least lies lowest.
            settings: What the image says beside its layers.
            repository: Its name at the registry, without host and tag.
            tag: Its tag.

        Returns:
            The digest of its manifest, by which the gateway is to pull it.
        """

    def has(self, repository: str, digest: str) -> Conversation[bool]:
        """Tell whether the registry has an image, as the gateway will ask for it."""


def own_steps(options: Options) -> str:
    """Return the identity of the user's own steps, which decide an image as its layers do.

    Nothing without such steps.

    Raises:
        PublishFailed: The Dockerfile or its folder cannot be read, or sent.
    """
    found: list[str] = []
    if options.dockerfile is not None:
        from pathlib import Path

        from away.publish.builders.context import read_context

        found.append(read_context(Path(options.dockerfile)).identity())
    if options.system_packages:
        found.append(f"packages {' '.join(sorted(options.system_packages))}")
    if options.enable_dev_building:
        found.append("built requirements")
    return "; ".join(found)


def choose(order: Order) -> ImageBuilder:
    """Return the builder that the user names, or that the other options need.

    Raises:
        PublishFailed: There is none of that name, or it cannot do what the options ask for.
    """
    options = order.options
    needs_docker = [
        name
        for name in ("dockerfile", "system_packages", "enable_dev_building")
        if getattr(options, name)
    ]
    named = options.image_builder or getattr(order.connection, "image_builder", None)
    chosen = named or ("docker" if needs_docker else "registry")
    if chosen not in BUILDERS:
        near = nearest(chosen, BUILDERS, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise PublishFailed(
            f"there is no image builder {printable(chosen)!r}, only {' and '.join(BUILDERS)}{hint}",
            step="options",
        )
    if chosen == "docker":
        from away.publish.builders.docker import DockerBuilder

        return DockerBuilder(order)
    if needs_docker:
        raise PublishFailed(
            f"{needs_docker[0]}= needs the image builder 'docker', which runs steps in a container;"
            " leave image_builder= out, or the steps",
            step="options",
        )
    from away.publish.builders.registry import RegistryBuilder

    return RegistryBuilder(order)
