"""The image builder that has a Docker Engine build and push.

For bases that take steps of the user's own: a Dockerfile, packages of the base's system, requirements
that are compiled. The image's layers are the same as everywhere else; the engine puts them on the base.
"""

from __future__ import annotations

import io
import tarfile
import tempfile
from typing import IO, TYPE_CHECKING

from away.exceptions import PublishFailed
from away.names import printable
from away.publish.builders import dockerfile
from away.publish.builders.bases import BaseFinder, Foundation
from away.publish.builders.engine import Engine, with_engine
from away.publish.builders.logins import Logins
from away.publish.builders.order import Base
from away.publish.builders.registry import RegistryBuilder
from away.publish.layers import REQUIREMENTS_FOLDER

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from away.connection.conversations import Conversation
    from away.publish.builders.order import Order, Settings
    from away.publish.image import Layer
    from away.publish.pins import Pin

__all__ = ["DockerBuilder"]

# A function's own archives are small; larger ones go through a file.
MEMORY_BYTES = 8_000_000


class DockerBuilder:
    """Builds images by a container engine's API.

    Args:
        order: What to work with.

    Raises:
        PublishFailed: An option has what cannot be carried out.
    """

    name = "docker"

    def __init__(self, order: Order) -> None:
        self.order = order
        options = order.options
        dockerfile.check_packages(options.system_packages)
        refuse_processes(order)
        self.logins = Logins(order)
        # The registry is asked directly whether it lets us in and what it has.
        self.registry = RegistryBuilder(order)
        self.foundation: Foundation | None = None
        self.pins: tuple[Pin, ...] = ()

    def check(self) -> Conversation[None]:
        """See that the engine answers, and that the registry does and lets us in."""
        yield from with_engine(Engine.check, self.order.progress, self.order.deadline)
        yield from self.registry.check()

    def base(self) -> Conversation[Base]:
        """Find or make the image to stand on, and ask it what it has."""
        finder = BaseFinder(self.order, self.logins)
        found = yield from with_engine(finder.find, self.order.progress, self.order.deadline)
        self.foundation = found
        return Base(
            found.described,
            python=found.inside.python,
            architecture=found.image.architecture,
            glibc=found.inside.glibc,
            environment=found.inside.environment,
        )

    def installs(self, pins: tuple[Pin, ...]) -> bool:
        """Take over the installation of requirements where they are to be built.

        Raises:
            PublishFailed: The base cannot: it has no pip, or nothing that installs compilers.
        """
        if not self.order.options.enable_dev_building:
            return False
        assert self.foundation is not None, "the base is asked for first"
        found = self.foundation
        if not found.inside.pip:
            raise PublishFailed(
                f"the base image {found.described} has no pip, by which enable_dev_building="
                " installs requirements; pass a base_image= with pip, as Docker Hub's python images"
                " have it, or system_packages=['python3-pip'] where its system has that",
                step="requirements",
            )
        if not found.manager:
            raise no_manager(found.described, "enable_dev_building=True")
        self.pins = pins
        return True

    def build(
        self, layers: Sequence[Layer], settings: Settings, repository: str, tag: str
    ) -> Conversation[str]:
        """Have the engine put layers on the base, and push the image."""
        assert self.foundation is not None, "the base is asked for first"
        found = self.foundation
        name = f"{self.push_host()}/{repository}"
        text = self.dockerfile(found, layers, settings)

        async def built(engine: Engine) -> None:
            with tempfile.SpooledTemporaryFile(MEMORY_BYTES) as context:
                self.write_context(context, text, layers)
                context.seek(0)
                doing = f"the build of {repository}"
                await engine.build(context, doing, tag=f"{name}:{tag}")

        async def pushed(engine: Engine) -> str:
            return await engine.push(name, tag, self.logins.for_push())

        progress, deadline = self.order.progress, self.order.deadline
        with progress.step("build"):
            yield from with_engine(built, progress, deadline)
        return (yield from with_engine(pushed, progress, deadline))

    def has(self, repository: str, digest: str) -> Conversation[bool]:
        """Tell whether the registry has an image, as the gateway will ask for it."""
        return self.registry.has(repository, digest)

    # ------------------------------------------------------------ details

    def push_host(self) -> str:
        """Return the registry's host as images are named by it.

        Raises:
            PublishFailed: No image can be named by it.
        """
        place = self.logins.push_host
        if "/" in place:
            raise PublishFailed(
                f"the gateway's registry {self.order.registry_url} lies below a path, where no"
                " container engine can push to; name another one by registry=, or leave"
                " image_builder= out",
                step="registry",
            )
        return place

    def dockerfile(self, found: Foundation, layers: Sequence[Layer], settings: Settings) -> str:
        """Write the function's Dockerfile."""
        stage: list[str] = []
        if self.pins:
            compilers = dockerfile.compilers(found.manager, headers=found.inside.headers)
            stage = dockerfile.requirements_stage(
                found.image.identity, found.manager, compilers, REQUIREMENTS_FOLDER
            )
        files = [(place_of(at, each), each.comment) for at, each in enumerate(layers)]
        return dockerfile.function_image(
            found.image.identity,
            found.described,
            files,
            settings,
            stage=stage,
            copied=REQUIREMENTS_FOLDER if self.pins else "",
        )

    def write_context(self, target: IO[bytes], text: str, layers: Sequence[Layer]) -> None:
        """Write the archive that the engine builds from."""
        with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as archive:
            add(archive, "Dockerfile", text.encode())
            if self.pins:
                for name, content in self.requirement_files().items():
                    add(archive, name, content.encode())
            for at, each in enumerate(layers):
                if isinstance(each.data, bytes):
                    add(archive, place_of(at, each), each.data)
                else:
                    add_file(archive, place_of(at, each), each.data)

    def requirement_files(self) -> dict[str, str]:
        """Return what pip is told: what is wanted, and which versions of what that needs."""
        from away.publish.resolution import installed_versions

        wanted = {each.name for each in self.pins}
        others = [
            f"{name}=={version}"
            for name, version in sorted(installed_versions().items())
            if version and name not in wanted and "+" not in version
        ]
        return {
            "requirements.txt": "".join(f"{each}\n" for each in self.pins),
            "constraints.txt": "".join(f"{each}\n" for each in others),
        }


def refuse_processes(order: Order) -> None:
    """Refuse steps in a container for a gateway that runs no containers.

    Raises:
        PublishFailed: Its functions are processes of this machine.
    """
    options = order.options
    steps = options.dockerfile or options.system_packages
    own_base = order.base_name.repository.startswith("away/") and not order.base_name.host
    if order.target.runs_processes and (steps or own_base):
        raise PublishFailed(
            "the gateway runs functions as processes of its own machine, where an image's system"
            " has no effect; start it by 'away up --provider docker', or leave out image_builder=,"
            " dockerfile= and system_packages=",
            step="options",
        )


def no_manager(described: str, option: str) -> PublishFailed:
    """Make the error for a base whose system installs nothing."""
    known = ", ".join(dockerfile.MANAGERS)
    return PublishFailed(
        f"the base image {described} has none of {known}, one of which {option} needs; pass another"
        " base_image=, or a dockerfile= that does it",
        step="base image",
    )


def place_of(position: int, layer: Layer) -> str:
    """Return a layer's place in what is sent to the engine, named for who reads the Dockerfile."""
    words = "".join(letter if letter.isalnum() else " " for letter in layer.comment.split("==")[0])
    name = "-".join(printable(words).encode("ascii", "ignore").decode().lower().split()[:3])
    ending = "tar.gz" if layer.media_type.endswith("gzip") else "tar"
    return f"layers/{position + 1}-{name or 'layer'}.{ending}"


def add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    """Add a file to an archive."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def add_file(archive: tarfile.TarFile, name: str, path: Path) -> None:
    """Add a file to an archive from the disk."""
    member = tarfile.TarInfo(name)
    with path.open("rb") as file:
        member.size = path.stat().st_size
        archive.addfile(member, file)
