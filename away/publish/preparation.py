"""What comes before a deployment: layers, image, push, and all checks that are possible beforehand.

Nothing that runs is touched here. This module reads what a publisher decided and returns the image
that is ready to be deployed.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from away.connection.conversations import Reply, Request
from away.exceptions import PublishFailed
from away.names import nearest, printable
from away.publish.beside import Beside
from away.publish.cache import unpacked
from away.publish.deployment import check_sizes, is_loopback
from away.publish.image import Image, Layer, assemble
from away.publish.layers import LIBRARY_FOLDER, MODULES_FOLDER, function_layer, shared_layer
from away.publish.pins import lacking
from away.publish.references import registry_url
from away.publish.registry import ManifestRefused, Registry
from away.publish.rollout import listed
from away.publish.verification import installed_here
from away.publish.wheels import Target, requirements_layer

if TYPE_CHECKING:
    from away.connection.conversations import Conversation
    from away.publish.image import BaseImage
    from away.publish.steps import Publisher

__all__ = ["Preparation"]

COMMAND = ["python3", "-m", "away.runtime"]


class Preparation:
    """Bring the image of one publish to its registry.

    Args:
        publisher: What was decided on.
    """

    def __init__(self, publisher: Publisher) -> None:
        self.captured = publisher.captured
        self.connection = publisher.connection
        self.options = publisher.options
        self.progress = publisher.progress
        self.plan = publisher.plan
        self.parts = publisher.parts
        self.pins = publisher.pins
        self.base_name = publisher.base_name
        self.cache = publisher.cache
        self.ask = publisher.ask
        own = publisher.registry_host is None
        url = publisher.registry_url
        self.registry = Registry(self.ask, url, own=own, user=self.connection.user)

    def conversation(self) -> Conversation[Image]:
        """Bring the image to the registry and check all that can be checked beforehand."""
        yield from self.check_references()
        check = self.start_verification()
        with self.progress.step("registry"):
            yield from self.registry.check()
        with self.progress.step("base image"):
            base = yield from self.base()
        with self.progress.step("layers"):
            image = yield from self.assembled(base)
        with self.progress.step("push"):
            yield from self.push(image, base)
        with self.progress.step("checks"):
            yield from self.check_before(image)
            if check is not None:
                yield from check.result()
        return image

    def check_references(self) -> Conversation[None]:
        """Refuse a function that would call another one by an address that means itself there."""
        variables = self.plan.request.get("envVars", {})
        urls = {
            url
            for key, url in variables.items()
            if key == "AWAY_INSIDE_URL" or key.startswith("AWAY_GATEWAY_")
        }
        urls |= {each.url for each in self.captured.references} - {self.connection.url}
        lost = sorted(filter(is_loopback, urls))
        if not lost:
            return
        if (yield from self.info("provider", "provider")) != "away":
            raise PublishFailed(
                f"the function calls another one through {lost[0]}, which inside a container is the"
                " container itself; set inside_url= on the connection to the gateway's address as"
                " its functions see it",
                step="checks",
            )

    def info(self, *path: str) -> Conversation[str]:
        """Ask the gateway about itself and return one text of its answer."""
        reply = yield from self.ask(Request("GET", "/system/info", {}, None, True))
        return text_at(reply, *path)

    def start_verification(self) -> Beside[None] | None:
        """Start to load the payload in an interpreter that has nothing else."""
        if not self.options.check or self.cache is None:
            return None
        from away.capture import verify

        library = unpacked(self.parts, self.cache)
        cache, names = self.cache, [each.name for each in self.pins]
        variables = self.plan.request.get("envVars", {})

        def check() -> None:
            with installed_here(names, cache) as site:
                verify(self.captured, [library, site], environment=variables)

        return Beside(check)

    def base(self) -> Conversation[BaseImage]:
        """Get the base image and check that it runs the client's minor version of Python."""
        registry = self.registry
        if self.base_name.host:
            url = registry_url(self.base_name.host)
            registry = Registry(self.ask, url, own=False)
        base = yield from registry.base(self.base_name, lambda: self.info("arch"))
        mine = f"{sys.version_info.major}.{sys.version_info.minor}"
        theirs = base.labels.get("away.python") or base.variable("PYTHON_VERSION")
        if theirs and theirs.split(".")[:2] != mine.split("."):
            raise PublishFailed(
                f"the base image {self.base_name} has Python {printable(theirs)} and this is Python"
                f" {mine}, whose code it cannot run; pass a base_image= with Python {mine}, or"
                f" publish with Python {printable(theirs)}",
                step="base image",
            )
        return base

    # ------------------------------------------------------------ image and push

    def assembled(self, base: BaseImage) -> Conversation[Image]:
        """Put the function's layers on the base: what changes least lies lowest."""
        stacked = [shared_layer(part, docker=base.docker) for part in self.parts]
        stacked += yield from self.requirements(base)
        stacked.append(function_layer(self.captured, docker=base.docker))
        return assemble(
            base,
            stacked,
            command=COMMAND,
            environment={
                "AWAY_RUNTIME": "1",
                "PYTHONPATH": f"/{LIBRARY_FOLDER}",
                # The working folder has the user's modules, of which one may be a typing.py.
                "PYTHONSAFEPATH": "1",
                "PYTHONUNBUFFERED": "1",
            },
            working_folder=f"/{MODULES_FOLDER}",
            labels={"built-with": "away"},
        )

    def requirements(self, base: BaseImage) -> Conversation[list[Layer]]:
        """Return the layer of what the base image lacks, if it lacks anything."""
        environment = label_environment(base)
        missing = lacking(self.pins, environment or {})
        if not missing:
            return []
        if self.cache is None:
            raise PublishFailed(
                f"the requirement {missing[0]} has to be packed and no folder for it can be"
                " written; set XDG_CACHE_HOME or TMPDIR to one",
                step="requirements",
            )
        # The embedded gateway, which alone has that label, runs on this machine.
        target = Target(base.architecture, here=environment is not None)
        cache = self.cache

        def make() -> Layer:
            return requirements_layer(missing, target, cache, docker=base.docker)

        return [(yield from Beside(make).result())]

    def push(self, image: Image, base: BaseImage) -> Conversation[None]:
        """Push what is absent, the manifest last; once more if the registry had forgotten."""
        try:
            yield from self.push_once(image, base)
        except ManifestRefused:
            self.registry.memory.forget(self.registry.url)
            try:
                yield from self.push_once(image, base)
            except ManifestRefused as error:
                raise PublishFailed(
                    f"the registry {self.registry.url} says that it lacks what it just took: {error}",
                    step="push",
                ) from error

    def push_once(self, image: Image, base: BaseImage) -> Conversation[None]:
        """Push layers, configuration and manifest."""
        repository = self.plan.repository
        for below in base.layers:
            yield from self.carry(str(below["digest"]), repository)
        for layer in image.layers:
            yield from self.registry.push(layer, repository)
        yield from self.registry.upload(image.config_digest, image.config, repository)
        yield from self.registry.put_manifest(image, repository, self.plan.tag)

    def carry(self, digest: str, repository: str) -> Conversation[None]:
        """Bring a layer of the base image into the function's repository."""
        name = self.base_name
        if not name.host:
            if (yield from self.registry.mount(digest, name.repository, repository)):
                return
            data = yield from self.registry.blob(name.repository, digest)
        else:
            source = Registry(self.ask, registry_url(name.host), own=False)
            data = yield from source.blob(name.repository, digest)
        yield from self.registry.upload(digest, data, repository)

    def check_before(self, image: Image) -> Conversation[None]:
        """Check what a failing deployment would stumble over."""
        check_sizes(self.plan.deploy_request(image.digest))
        if self.options.secrets:
            yield from self.check_secrets()
        if not (yield from self.registry.has_manifest(self.plan.repository, image.digest)):
            raise PublishFailed(
                f"the registry {self.registry.url} took the image and does not have it under"
                f" {image.digest}",
                step="checks",
            )

    def check_secrets(self) -> Conversation[None]:
        """Check that the gateway has the secrets: one that is missing destroys what runs."""
        query = f"?{urlencode({'namespace': self.plan.namespace})}" if self.plan.namespace else ""
        reply = yield from self.ask(Request("GET", f"/system/secrets{query}", {}, None, True))
        if reply.status != 200:
            raise PublishFailed(
                f"the gateway answered {reply.status} when asked for its secrets",
                step="checks",
                status=reply.status,
            )
        known = [str(each.get("name")) for each in listed(reply.text)]
        for name in sorted(set(self.options.secrets) - set(known)):
            near = nearest(name, known, 1)
            hint = f"did you mean {near[0]!r}, or " if near else ""
            raise PublishFailed(
                f"the gateway has no secret {printable(name)!r}; {hint}create it with"
                f" connection.create_secret({name!r}, …)",
                step="checks",
            )


# ---------------------------------------------------------------- reading replies


def label_environment(base: BaseImage) -> dict[str, str] | None:
    """Return the distributions that a base image says it has; None where it does not say."""
    try:
        found = json.loads(base.labels.get("away.environment", ""))
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    return {str(name): str(version) for name, version in found.items()}


def text_at(reply: Reply, *path: str) -> str:
    """Return a text deep in a JSON answer; an empty one where there is none."""
    try:
        found = json.loads(reply.body)
        for key in path:
            found = found[key]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return str(found or "")
