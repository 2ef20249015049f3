"""The steps of a publish, as one conversation: compare, image, push, checks, and the rollout.

Everything that can be checked is checked before the gateway is asked to change anything, since a
deployment that fails can destroy what ran. The conversation is pumped by either driver, so there is
one publish for sync and async callers.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Literal, NamedTuple
from urllib.parse import urlencode

from away.connection.conversations import Deadline, Reply, Request, Wait
from away.exceptions import PublishFailed
from away.names import nearest, printable
from away.publish.deployment import (
    Options,
    Plan,
    Standing,
    check_options,
    check_sizes,
    inside_environment,
    is_loopback,
    make_plan,
    recipe_of,
    standing_of,
    taken,
)
from away.publish.image import Image, Layer, assemble
from away.publish.layers import (
    LIBRARY_FOLDER,
    MODULES_FOLDER,
    cache_folder,
    function_layer,
    parts_for,
    shared_layer,
    unpacked,
)
from away.publish.lock import PublishLock
from away.publish.registry import (
    ManifestRefused,
    Registry,
    parse_image,
    registry_url,
)
from away.publish.rollout import Rollout, explained, listed
from away.publish.verification import Verification, installed_here
from away.publish.wheels import Pin, Target, lacking, requirements_layer

if TYPE_CHECKING:
    from away.capture import Captured
    from away.connection import FaasConnection, FunctionInfo
    from away.connection.conversations import Conversation
    from away.publish.image import BaseImage
    from away.publish.progress import Progress, Step
    from away.publish.registry import ImageName
    from away.signatures import Description

__all__ = ["Published", "Publisher"]

COMMAND = ["python3", "-m", "away.runtime"]
LOCK_PAUSE = 0.02
# What the packed client imports; a base image may have any version of them.
CLIENT_NEEDS = ("requests", "urllib3")
ASYNC_CLIENT_NEEDS = ("aiohttp",)


class Published(NamedTuple):
    """What came of a publish.

    Attributes:
        name: The function's name at the gateway.
        namespace: Its namespace, or an empty text for the default one.
        action: ``created``, ``updated`` or ``unchanged``.
        digest: The identity of what runs.
        description: Its signature, kind and docstring.
        image: The image that runs, by its digest where this publish made it.
        steps: The steps taken, with their seconds.
    """

    name: str
    namespace: str
    action: Literal["created", "updated", "unchanged"]
    digest: str
    description: Description
    image: str
    steps: tuple[Step, ...]


class Publisher:
    """One publish of one captured function on one gateway.

    Args:
        captured: The function.
        connection: The gateway.
        options: What the user asks for.
        progress: Is told of the steps.
    """

    def __init__(
        self, captured: Captured, connection: FaasConnection, options: Options, progress: Progress
    ) -> None:
        self.captured = captured
        self.connection = connection
        self.options = options._replace(namespace=options.namespace or connection.namespace)
        self.progress = progress
        self.deadline = Deadline(connection.timeout if options.timeout is None else options.timeout)
        self.registry = self.make_registry()
        self.parts = parts_for(captured)
        self.pins = self.wanted_pins()
        self.base_name = self.choose_base()
        self.plan = self.make_plan()
        self.cache = cache_folder()

    # ------------------------------------------------------------ what is decided beforehand

    def make_registry(self) -> Registry:
        """Return the registry to push to: the one named, or the gateway's own."""
        named = self.options.registry or self.connection.registry
        url = registry_url(named) if named else self.connection.url
        return Registry(self.ask, url, own=not named, user=self.connection.user)

    def wanted_pins(self) -> tuple[Pin, ...]:
        """Return the distributions that the function needs, of any origin."""
        pins = [Pin.of(each) for each in self.captured.requirements]
        if self.captured.needs_client:
            pinned = {each.name for each in pins}
            needs: tuple[str, ...] = CLIENT_NEEDS
            if self.captured.description.kind.startswith("async"):
                needs += ASYNC_CLIENT_NEEDS
            pins += [Pin(name) for name in needs if name not in pinned]
        return tuple(sorted(set(pins)))

    def choose_base(self) -> ImageName:
        """Return the base image's name: the one given, or the one of an embedded gateway."""
        default = f"away/python:{sys.version_info.major}.{sys.version_info.minor}"
        name = parse_image(self.options.base_image or self.connection.base_image or default)
        return name._replace(host="") if name.host == self.registry.host else name

    def make_plan(self) -> Plan:
        """Decide on the deployment; pure once the configuration was read."""
        identities = [part.identity for part in self.parts]
        recipe = recipe_of(self.captured, identities, map(str, self.pins), str(self.base_name))
        environment = inside_environment(
            self.captured,
            self.connection.url,
            self.connection.inside_url,
            self.known_gateways(),
        )
        return make_plan(
            self.captured,
            self.options,
            host=self.registry.host,
            recipe=recipe,
            environment=environment,
        )

    def known_gateways(self) -> dict[str, str]:
        """Return the URLs of the configured gateways that the packed modules import from."""
        if not self.captured.gateways:
            return {}
        from away.config import resolve

        found = {name: resolve(name).url for name in self.captured.gateways}
        if self.connection.name:
            found[self.connection.name] = self.connection.url
        return found

    # ------------------------------------------------------------ the whole

    def conversation(self) -> Conversation[Published]:
        """Publish, or find that nothing is to be done."""
        check_options(self.options)
        key = f"{self.connection.url} {self.plan.namespace} {self.plan.name}"
        with PublishLock(self.cache, key) as lock:
            while not lock.try_once():
                self.expect_time("waiting for another publish of it")
                yield Wait(LOCK_PAUSE)
            with self.progress.step("compare"):
                before = yield from self.deployed()
            standing = standing_of(self.plan, before)
            if standing is Standing.UNCHANGED and before is not None:
                return self.published("unchanged", before.image)
            theirs = standing in (Standing.OTHER, Standing.FOREIGN)
            if before is not None and theirs and not self.options.overwrite:
                raise taken(self.plan, before, standing, self.connection.url)
            return (yield from self.change(before))

    def change(self, before: FunctionInfo | None) -> Conversation[Published]:
        """Make, push, check and deploy; what runs is touched by the last alone."""
        try:
            image = yield from self.prepared()
        except PublishFailed as error:
            now = "nothing was deployed" if before is None else "what ran before still runs"
            raise explained(self.plan, self.connection.url, error, now) from error.__cause__
        request = self.plan.deploy_request(image.digest)
        rollout = Rollout(self.plan, self.connection, before, self.deadline, self.progress)
        yield from rollout.conversation(request)
        action: Literal["created", "updated"] = "updated" if before else "created"
        return self.published(action, request["image"])

    def published(
        self, action: Literal["created", "updated", "unchanged"], image: str
    ) -> Published:
        """Put together what is returned."""
        description = self.captured.description._replace(digest=self.captured.identity)
        steps = tuple(self.progress.steps)
        return Published(
            self.plan.name,
            self.plan.namespace,
            action,
            self.plan.digest,
            description,
            image,
            steps,
        )

    # ------------------------------------------------------------ before any harm

    def prepared(self) -> Conversation[Image]:
        """Bring the image to the registry and check all that can be checked beforehand."""
        yield from self.check_references()
        check = self.start_verification()
        with self.progress.step("registry"):
            yield from self.registry.check()
        with self.progress.step("base image"):
            base = yield from self.base()
        with self.progress.step("layers"):
            image = self.assembled(base)
        with self.progress.step("push"):
            yield from self.push(image, base)
        with self.progress.step("checks"):
            yield from self.check_before(image)
            if check is not None:
                yield from check.verdict()
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

    def start_verification(self) -> Verification | None:
        """Start to load the payload in an interpreter that has nothing else."""
        if not self.options.check or self.cache is None:
            return None
        from away.capture import verify

        library = unpacked(self.parts, self.cache)
        cache, names = self.cache, [each.name for each in self.pins]

        def check() -> None:
            with installed_here(names, cache) as site:
                verify(self.captured, [library, site])

        return Verification(check)

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

    def assembled(self, base: BaseImage) -> Image:
        """Put the function's layers on the base: what changes least lies lowest."""
        stacked = [shared_layer(part, docker=base.docker) for part in self.parts]
        stacked += self.requirements(base)
        stacked.append(function_layer(self.captured, docker=base.docker))
        return assemble(
            base,
            stacked,
            command=COMMAND,
            environment={
                "AWAY_RUNTIME": "1",
                "PYTHONPATH": f"/{LIBRARY_FOLDER}",
                "PYTHONUNBUFFERED": "1",
            },
            working_folder=f"/{MODULES_FOLDER}",
            labels={"built-with": "away"},
        )

    def requirements(self, base: BaseImage) -> list[Layer]:
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
        return [requirements_layer(missing, target, self.cache, docker=base.docker)]

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

    # ------------------------------------------------------------ requests

    def ask(self, request: Request) -> Conversation[Reply]:
        """Send one request within what is left of the time."""
        self.expect_time("asking")
        return self.connection.conversation_request(request, self.deadline)

    def deployed(self) -> Conversation[FunctionInfo | None]:
        """Ask what is deployed under the name."""
        return self.connection.conversation_function(
            self.plan.name, self.deadline, namespace=self.plan.namespace
        )

    def expect_time(self, doing: str) -> None:
        """Raise once the time that the caller gave is over."""
        if self.deadline.remaining() <= 0:
            raise PublishFailed(
                f"publishing {self.plan.name} took longer than timeout={self.deadline.seconds:g}"
                f" seconds, while {doing}",
                step=self.progress.current,
                gateway=self.connection.url,
                function=self.plan.name,
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
