"""The image that a function stands on in the engine: what is there, what is pulled, what is built.

A user's Dockerfile is built first, packages of its system are installed on it, and then the image is
asked what it has. Images are known by their IDs from then on, so that what was asked is what is used.
"""

from __future__ import annotations

import io
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from away.exceptions import AuthenticationRefused, PublishFailed
from away.names import printable
from away.publish.builders import dockerfile
from away.publish.builders.context import read_context
from away.publish.builders.engine import LocalImage, PullFailed
from away.publish.builders.probe import (
    FIND_MANAGER,
    FIND_PYTHON,
    Inside,
    read_inside,
    read_manager,
)
from away.publish.platforms import Platform, parse_platform
from away.publish.references import HUB, parse_image

if TYPE_CHECKING:
    from away.publish.builders.engine import Engine
    from away.publish.builders.logins import Logins
    from away.publish.builders.order import Order

__all__ = ["BaseFinder", "Foundation"]

BASE_ARGUMENT = "BASE_IMAGE"

# What images have, by their IDs, which name all of them: asked once in a process.
_inside: dict[str, Inside] = {}
_managers: dict[str, str] = {}


class Foundation(NamedTuple):
    """An image in the engine that functions can stand on.

    Attributes:
        described: What to call it.
        image: The image.
        inside: What it has.
        manager: The program that installs packages of its system; an empty text if none was looked
            for or found.
    """

    described: str
    image: LocalImage
    inside: Inside
    manager: str


class BaseFinder:
    """Finds or makes the base of one publish.

    Args:
        order: What to work with.
        logins: Who we are at registries.
    """

    def __init__(self, order: Order, logins: Logins) -> None:
        self.order = order
        self.options = order.options
        self.logins = logins
        said = self.options.platform or order.target.architecture
        self.platform: Platform | None = parse_platform(said) if said else None

    async def find(self, engine: Engine) -> Foundation:
        """Find or make the base, and ask it what it has.

        Raises:
            PublishFailed: There is none, a step of it failed, or no function can stand on it.
        """
        if self.options.dockerfile is not None:
            described, image = await self.built(engine)
        else:
            names = self.names()
            described = names[0]
            image = await self.fetched(engine, names, described)
        manager = ""
        if self.options.system_packages or self.options.enable_dev_building:
            manager = await manager_of(engine, image)
        if self.options.system_packages:
            image = await self.with_packages(engine, described, image, manager)
        return Foundation(described, image, await inside_of(engine, described, image), manager)

    # ------------------------------------------------------------ there, or pulled

    def names(self) -> list[str]:
        """Return what the base may be called, in the order of looking.

        A name without a host is what the user calls it in the engine, then in the registry that is
        pushed to, then on Docker Hub.
        """
        name = self.order.base_name
        if name.host:
            return [str(name)]
        hub = name.repository if "/" in name.repository else f"library/{name.repository}"
        places = [(self.logins.push_host, name.repository), (HUB, hub)]
        return [
            str(name),
            *(str(name._replace(host=host, repository=path)) for host, path in places),
        ]

    async def fetched(self, engine: Engine, names: list[str], described: str) -> LocalImage:
        """Return an image that the engine has under one of some names, or pulls.

        Raises:
            PublishFailed: It has none of them, and no registry gives one.
        """
        found, failures = await self.sought(engine, names)
        if found is None:
            own = described == str(self.order.base_name)
            raise missing(self.order.base_words if own else f"the base image {described}", failures)
        if not self.fits(found):
            raise self.misfit(described, found)
        return found

    async def sought(
        self, engine: Engine, names: list[str]
    ) -> tuple[LocalImage | None, list[tuple[str, PullFailed]]]:
        """Look for an image in the engine, then in registries; one that fits where there is one.

        Returns:
            The image, None where there is none, and which pulls failed.
        """
        found: LocalImage | None = None
        for each in names:
            found = await engine.image(each)
            if found is not None and self.fits(found):
                return found, []
        failures: list[tuple[str, PullFailed]] = []
        for each in names:
            host = parse_image(each).host
            if not host:
                continue
            wanted = str(self.platform) if self.platform else None
            try:
                await engine.pull(with_tag(each), self.logins.for_pull(host), wanted)
            except PullFailed as error:
                failures.append((each, error))
                continue
            pulled = await engine.image(each)
            if pulled is not None and self.fits(pulled):
                return pulled, failures
            found = pulled or found
        return found, failures

    def fits(self, image: LocalImage) -> bool:
        """Tell whether an image is for the machine that is asked for."""
        wanted = self.platform
        if wanted is None:
            return True
        return (image.system, image.architecture) == (wanted.system, wanted.processor)

    def misfit(self, described: str, image: LocalImage) -> PublishFailed:
        """Make the error for an image of another platform."""
        asked = "platform= asks for" if self.options.platform else "the gateway runs on"
        return PublishFailed(
            f"the base image {described} is for {image.system}/{image.architecture} and {asked}"
            f" {self.platform}; pass another base_image=, or platform=",
            step="base image",
        )

    # ------------------------------------------------------------ built

    async def built(self, engine: Engine) -> tuple[str, LocalImage]:
        """Build the user's Dockerfile.

        Returns:
            What to call the image, and the image.
        """
        assert self.options.dockerfile is not None
        context = read_context(Path(self.options.dockerfile))
        arguments = self.arguments(context.text)
        absent = await self.fetched_below(engine, context.text)
        with self.order.progress.step("build"), tempfile.TemporaryFile() as archive:
            context.write(archive)
            archive.seek(0)
            try:
                identity = await engine.build(
                    archive,
                    f"the build of {printable(context.dockerfile)}",
                    dockerfile=context.dockerfile,
                    labels={dockerfile.BUILT_LABEL: "dockerfile"},
                    arguments=arguments,
                    platform=str(self.platform) if self.options.platform else None,
                )
            except PublishFailed as error:
                # Of an image that the build misses too, we know where it was looked for.
                said = next((told for name, told in absent.items() if name in str(error)), None)
                raise said or error from error.__cause__
        described = f"of {printable(context.dockerfile)}"
        image = await self.known(engine, identity, described)
        if not self.fits(image):
            raise self.misfit(described, image)
        return described, image

    async def fetched_below(self, engine: Engine, text: str) -> dict[str, Exception]:
        """Pull the images that a Dockerfile builds on: a build asks for no login, and just fails.

        Returns:
            The errors for those that there are none of, by their names. They are read from the text
            without carrying it out, so that only the build can tell whether one is needed.
        """
        absent: dict[str, Exception] = {}
        for each in dockerfile.images_below(text):
            described = printable(each)
            try:
                found, failures = await self.sought(engine, [hub_name(each)])
            except PublishFailed as error:
                absent[each] = error  # no image has such a name
                continue
            if found is None:
                absent[each] = missing(f"the base image {described}", failures)
            elif not self.fits(found):
                raise self.misfit(described, found)
        return absent

    def arguments(self, text: str) -> dict[str, str]:
        """Return the build arguments of the user's Dockerfile: the base image, where it takes one."""
        takes = BASE_ARGUMENT in dockerfile.arguments_of(text)
        if takes and (self.options.base_image or self.order.connection.base_image):
            return {BASE_ARGUMENT: str(self.order.base_name)}
        if self.options.base_image and not takes:
            raise PublishFailed(
                f"base_image= and dockerfile= each say what to stand on; leave one out, or begin the"
                f" Dockerfile with ARG {BASE_ARGUMENT} and FROM ${BASE_ARGUMENT}",
                step="options",
            )
        return {}

    async def with_packages(
        self, engine: Engine, described: str, image: LocalImage, manager: str
    ) -> LocalImage:
        """Install packages of the base's system on it."""
        if not manager:
            from away.publish.builders.docker import no_manager

            raise no_manager(described, "system_packages=")
        text = dockerfile.with_packages(
            image.identity, described, manager, self.options.system_packages, image.user
        )
        with self.order.progress.step("build"):
            identity = await engine.build(
                only(text),
                f"installing {', '.join(self.options.system_packages)}",
                labels={dockerfile.BUILT_LABEL: "packages"},
            )
        return await self.known(engine, identity, described)

    async def known(self, engine: Engine, identity: str, described: str) -> LocalImage:
        """Return an image that was just built."""
        image = await engine.image(identity)
        if image is None:
            raise PublishFailed(
                f"the container engine built the base image {described} and does not have it any"
                " more; see what removes images there, and publish again",
                step="base image",
            )
        return image


def only(text: str) -> io.BytesIO:
    """Return an archive with a Dockerfile and nothing else."""
    target, data = io.BytesIO(), text.encode()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as archive:
        member = tarfile.TarInfo("Dockerfile")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    target.seek(0)
    return target


def hub_name(name: str) -> str:
    """Return an image's name with its registry's host, as a Dockerfile means it."""
    try:
        parsed = parse_image(name)
    except PublishFailed:
        return name
    if parsed.host:
        return name
    path = parsed.repository if "/" in parsed.repository else f"library/{parsed.repository}"
    return str(parsed._replace(host=HUB, repository=path))


def with_tag(name: str) -> str:
    """Return an image's name with the tag that is meant: without one an engine pulls all of them."""
    parsed = parse_image(name)
    return name if parsed.tag or parsed.digest else str(parsed._replace(tag="latest"))


def missing(what: str, failures: list[tuple[str, PullFailed]]) -> Exception:
    """Make the error for an image that is neither in the engine nor in a registry."""
    tried = ", ".join(f"{name} ({why})" for name, why in failures)
    text = f"{what} is not in the container engine and cannot be pulled: {tried}"
    denied = [name for name, why in failures if why.denied]
    if failures and len(denied) == len(failures):
        host = parse_image(denied[0]).host
        return AuthenticationRefused(
            f"{text}; correct its name, or log in by 'docker login {host}'",
            hint=f"log in by 'docker login {host}'",
        )
    way = "pass base_image= one that the engine has or can pull"
    return PublishFailed(f"{text}; {way}", step="base image", hint=way)


# ---------------------------------------------------------------- asking the image


async def manager_of(engine: Engine, image: LocalImage) -> str:
    """Ask an image which program installs packages there."""
    if image.identity not in _managers:
        status, printed = await engine.run(image.identity, FIND_MANAGER)
        _managers[image.identity] = read_manager(printed) if status == 0 else ""
    return _managers[image.identity]


async def inside_of(engine: Engine, described: str, image: LocalImage) -> Inside:
    """Ask an image what it has.

    Raises:
        PublishFailed: It has no Python that runs.
    """
    if image.identity in _inside:
        return _inside[image.identity]
    status, printed = await engine.run(image.identity, FIND_PYTHON)
    found = read_inside(printed) if status == 0 else None
    if found is None:
        if status is None and "exec format error" in printed:
            why = "cannot be run by this engine, whose machine is of another kind"
        elif status is None:
            why = "has no python3 that can be started"
        else:
            why = f"has a python3 that does not work ({printable(printed.strip()[-200:])})"
        raise PublishFailed(
            f"the base image {described} {why}; pass a base_image= that has Python",
            step="base image",
        )
    _inside[image.identity] = found
    return found
