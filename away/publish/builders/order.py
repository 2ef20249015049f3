"""What an image builder is given, and what it says of the image that a function stands on."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from away.connection import FaasConnection
    from away.connection.conversations import Conversation, Deadline, Reply, Request
    from away.publish.options import Options
    from away.publish.progress import Progress
    from away.publish.references import ImageName
    from away.publish.target import Target

__all__ = ["Base", "Order", "Settings"]


class Base(NamedTuple):
    """What is known of the image that a function stands on.

    Attributes:
        name: Its name as the user wrote it.
        python: Its minor version of Python, ``3.11``; an empty text where it is not known.
        architecture: Its processor, by Go's names: ``amd64``, ``arm64``.
        glibc: The version of its C library; (0, 0) for musl, None where it is not known.
        environment: The distributions that it has, by its own word; None where it does not say.
        docker: Whether layers on it have to be of Docker's own kind.
    """

    name: str
    python: str = ""
    architecture: str = ""
    glibc: tuple[int, int] | None = None
    environment: Mapping[str, str] | None = None
    docker: bool = False


class Settings(NamedTuple):
    """What an image says beside its layers.

    Attributes:
        command: What runs when it is started.
        environment: Variables beside those of the base.
        working_folder: Where it is started.
        labels: Labels beside those of the base.
    """

    command: list[str]
    environment: Mapping[str, str]
    working_folder: str
    labels: Mapping[str, str]


class Order(NamedTuple):
    """What a builder is asked to work with.

    Attributes:
        ask: Makes the conversation of one request.
        connection: The gateway.
        options: What the user asks for.
        target: What the gateway is.
        base_name: The image to stand on.
        registry_host: The registry to push to; None for the gateway's own.
        registry_url: Its URL.
        progress: Is told of the steps.
        cache: The folder for what can be made again; None where there is none.
        deadline: Until when the whole publish may take; None for no limit.
        reading: Is told the processor and Python's minor version of a base image that is about to be
            read through, which takes a while.
    """

    ask: Callable[[Request], Conversation[Reply]]
    connection: FaasConnection
    options: Options
    target: Target
    base_name: ImageName
    registry_host: str | None
    registry_url: str
    progress: Progress
    cache: Path | None
    deadline: Deadline | None = None
    reading: Callable[[str, str], None] = lambda _processor, _python: None

    @property
    def registry_chosen_by(self) -> str:
        """The project's file and line that named the registry; an empty text where the user did."""
        return getattr(self.options.registry or self.connection.registry, "where", "")

    @property
    def base_words(self) -> str:
        """What to call the base image in a sentence: its name, and that it is the default one."""
        given = self.options.base_image or self.connection.base_image
        default = "" if given else ", the default one where no base_image= is given,"
        return f"the base image {self.base_name}{default}"
