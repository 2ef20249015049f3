"""The default image builder: layers on a base image, by the registry's own API and without Docker.

Only what the registry lacks is sent, the manifest last. The base may lie in another registry.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from away.exceptions import PublishFailed
from away.publish.base_scan import Scan, scan
from away.publish.builders.order import Base
from away.publish.credentials import Credentials
from away.publish.gates import GATES
from away.publish.image import assemble
from away.publish.platforms import Platform, check_fits
from away.publish.references import registry_url
from away.publish.registry import ManifestRefused, Registry, find_base
from away.publish.registry_session import RegistryUnreachable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from away.connection.conversations import Conversation
    from away.publish.builders.order import Order, Settings
    from away.publish.image import BaseImage, Image, Layer
    from away.publish.pins import Pin

__all__ = ["RegistryBuilder"]


class RegistryBuilder:
    """Builds images by putting layers on what a registry has.

    Args:
        order: What to work with.
    """

    name = "registry"

    def __init__(self, order: Order) -> None:
        self.order = order
        host, given = order.registry_host, order.options.registry_auth
        if host is None and given is not None:
            raise PublishFailed(
                "registry_auth= is for a registry that registry= names: the gateway's own takes the"
                " gateway's login; leave it out, or name a registry",
                step="options",
            )
        credentials = None
        if host is not None:
            chosen_by = order.registry_chosen_by
            credentials = Credentials(host, given=given, pushed=True, chosen_by=chosen_by)
        self.registry = Registry(
            order.ask,
            order.registry_url,
            own=host is None,
            user=order.connection.user,
            credentials=credentials,
            sent=order.progress.sent,
            folder=order.cache,
        )
        self.image_below: BaseImage | None = None
        self.source = self.registry

    def other(self, host: str) -> Registry:
        """Make the registry of another host, which is given no login of the one that is pushed to."""
        url = registry_url(host, self.order.connection.insecure_registries)
        return Registry(self.order.ask, url, own=False)

    def check(self) -> Conversation[None]:
        """See that the registry answers and lets us in."""
        yield from self.registry.check()

    def base(self) -> Conversation[Base]:
        """Get the base image's manifest and configuration, and what it holds."""
        name = self.order.base_name
        target = self.order.target
        platform = self.order.options.platform or target.architecture
        if target.runs_processes and not name.host:
            # Nothing on Docker Hub would run as a process of this machine.
            found = yield from self.registry.base(name, platform)
        else:
            try:
                self.source, found = yield from find_base(name, platform, self.registry, self.other)
            except RegistryUnreachable as error:
                raise self.out_of_reach(error) from error.__cause__
        check_fits(Platform(*found.machine), self.order.options.platform, str(name))
        self.image_below = found
        python = minor_of(found.labels.get("away.python") or found.variable("PYTHON_VERSION"))
        environment = label_environment(found)
        scanned = Scan()
        if environment is None and not target.runs_processes:
            elsewhere = self.source is not self.registry
            cache = self.order.cache

            def reading() -> None:
                self.order.reading(found.architecture, python)

            scanned = yield from scan(
                self.source,
                found,
                cache,
                keeping=elsewhere,
                reading=reading,
                deadline=self.order.deadline,
            )
            environment = dict(scanned.environment) or None
        return Base(
            str(name),
            python=python or scanned.python,
            architecture=found.architecture,
            glibc=scanned.glibc,
            environment=environment,
            docker=found.docker,
        )

    def out_of_reach(self, error: RegistryUnreachable) -> PublishFailed:
        """Say of which image it is that its registry cannot be reached."""
        if error.server == self.registry.url:
            return error  # where the function itself goes
        way = str(error.hint)
        if not error.is_tls:
            way = (
                "pass base_image='HOST/NAME:TAG', an image in a registry that this machine reaches"
            )
        return PublishFailed(
            f"{self.order.base_words} is at {error.server}, which cannot be reached ({error.why});"
            f" {way}",
            step="base image",
            call_id=error.call_id,
            hint=way,
        )

    def installs(self, pins: tuple[Pin, ...]) -> bool:  # noqa: ARG002 - the interface's
        """Leave requirements to be packed as wheels: nothing is run in an image here."""
        return False

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
            # Without a host it is no whole name: it would be another one at each registry.
            base_name=str(name) if (name := self.order.base_name).host else "",
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
        base = self.image_below
        assert base is not None, "the base is asked for first"
        total = self.order.progress.total
        sizes = [int(below["size"]) for below in base.layers]
        sizes += [layer.size for layer in image.layers]
        total(sum(sizes) + len(image.config))
        for below in base.layers:
            with (yield from self.alone(str(below["digest"]))):
                done = yield from self.registry.carry(
                    below, self.source, base.repository, repository
                )
            # What need not go out is no part of what goes out.
            total(0 if done == "pushed" else -int(below["size"]))
        for layer in image.layers:
            with (yield from self.alone(layer.digest)):
                done = yield from self.registry.push(layer, repository)
            total(0 if done == "pushed" else -layer.size)
        done = yield from self.registry.upload(image.config_digest, image.config, repository)
        total(0 if done == "pushed" else -len(image.config))
        yield from self.registry.put_manifest(image, repository, tag)

    def alone(self, digest: str) -> Conversation[AbstractContextManager[None]]:
        """Wait until no other publish of this process uploads a blob there.

        Who comes second then finds it there and has it mounted.
        """
        return GATES.holding(f"{self.registry.url} {digest}")


def minor_of(version: str) -> str:
    """Return the minor version of what an image says of its Python; nothing of what is no version."""
    match = re.match(r"(3\.[0-9]{1,3})(?![0-9])[A-Za-z0-9.+]*\Z", version)
    return match[1] if match else ""


def label_environment(base: BaseImage) -> dict[str, str] | None:
    """Return the distributions that a base image says it has; None where it does not say."""
    try:
        found = json.loads(base.labels.get("away.environment", ""))
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    return {str(name): str(version) for name, version in found.items()}
