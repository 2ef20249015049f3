"""What comes before a deployment: the image's layers, its way to the registry, and all checks.

Nothing that runs is touched here. This module reads what a publisher decided and returns the digest of
an image that is ready to be deployed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from away.exceptions import PublishFailed
from away.publish.beside import Beside
from away.publish.builders import Order, Settings, choose
from away.publish.cache import unpacked
from away.publish.compiled import MINOR
from away.publish.deployment import check_sizes, is_loopback
from away.publish.early import Early
from away.publish.edition import check_architecture, check_kind
from away.publish.gates import GATES
from away.publish.layers import LIBRARY_FOLDER, MODULES_FOLDER, function_layer, shared_layer
from away.publish.pins import lacking, normal_name
from away.publish.verification import check_python, installed_here, python_of
from away.publish.wheels import Target, requirements_layer

if TYPE_CHECKING:
    from away.connection.conversations import Conversation
    from away.publish.builders import Base
    from away.publish.image import Layer
    from away.publish.steps import Publisher

__all__ = ["Preparation"]

SETTINGS = Settings(
    command=["python3", "-m", "away.runtime"],
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
        self.cache = publisher.cache
        self.ask = publisher.ask
        self.deadline = publisher.deadline
        self.target = publisher.target
        self.base_name = publisher.base_name
        self.python = MINOR
        self.early = Early(self.pins, self.cache)
        order = Order(
            self.ask,
            self.connection,
            self.options,
            self.target,
            publisher.base_name,
            publisher.registry_host,
            publisher.registry_url,
            self.progress,
            self.cache,
            publisher.deadline,
            self.begin_early,
        )
        self.builder = choose(order)

    def conversation(self) -> Conversation[str]:
        """Bring the image to the registry and check all that can be checked beforehand.

        Returns:
            The digest of its manifest.
        """
        try:
            return (yield from self.bring())
        finally:
            self.early.end()

    def begin_early(self, processor: str, python: str) -> None:
        """Have requirements fetched while the base image is read."""
        self.early.begin(processor, self.options.python or python or MINOR)

    def bring(self) -> Conversation[str]:
        """Do it, step by step."""
        self.check_references()
        check = self.start_verification()
        with self.progress.step("registry"):
            yield from self.builder.check()
        with self.progress.step("base image"):
            base = yield from self.builder.base()
            self.check_base(base)
        with self.progress.step("layers"):
            layers = yield from self.layers(base)
        with self.progress.step("push"):
            plan = self.plan
            digest = yield from self.builder.build(layers, SETTINGS, plan.repository, plan.tag)
        with self.progress.step("checks"):
            yield from self.check_before(digest)
            if check is not None:
                yield from check.result()
        return digest

    def check_references(self) -> None:
        """Refuse a function that would call another one by an address that means itself there."""
        variables = self.plan.request.get("envVars", {})
        urls = {
            url
            for key, url in variables.items()
            if key == "AWAY_INSIDE_URL" or key.startswith("AWAY_GATEWAY_")
        }
        urls |= {each.url for each in self.captured.references} - {self.connection.url}
        lost = sorted(filter(is_loopback, urls))
        if lost and not self.target.is_embedded:
            raise PublishFailed(
                f"the function calls another one through {lost[0]}, which inside a container is the"
                " container itself; set inside_url= on the connection to the gateway's address as"
                " its functions see it",
                step="checks",
            )

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
                left = self.deadline.remaining()
                try:
                    verify(self.captured, [library, site], environment=variables, timeout=left)
                except TimeoutError as error:
                    raise PublishFailed(
                        f"{error} when the publish_timeout of {self.deadline.seconds:g} s was over;"
                        " raise publish_timeout=, or move slow work from the module into the function",
                        step="checks",
                        hint="raise publish_timeout=",
                    ) from None

        return Beside(check)

    def check_base(self, base: Base) -> None:
        """Check that what was captured runs on the Python of the base image."""
        check_kind(base, self.base_name, self.target)
        check_architecture(base, self.options, self.target)
        self.python = python_of(base, self.options.python) or MINOR
        check_python(self.captured, base.name, self.python)

    # ------------------------------------------------------------ layers and checks

    def layers(self, base: Base) -> Conversation[list[Layer]]:
        """Make the function's layers: what changes least lies lowest."""
        compiled = self.python == MINOR
        docker, cache = base.docker, self.cache

        def shared() -> list[Layer]:
            return [
                shared_layer(part, docker=docker, compiled=compiled, cache=cache)
                for part in self.parts
            ]

        # Beside, for packing and compiling take a tenth of a second that an event loop has not.
        with (yield from GATES.holding("shared layers")):
            stacked = yield from Beside(shared).result()
        stacked += yield from self.requirements(base)
        function = Beside(lambda: function_layer(self.captured, docker=docker, compiled=compiled))
        stacked.append((yield from function.result()))
        return stacked

    def requirements(self, base: Base) -> Conversation[list[Layer]]:
        """Return the layer of what the base image lacks, if it lacks anything."""
        missing = lacking(self.pins, base.environment or {})
        if not missing or self.builder.installs(missing):
            return []
        if self.cache is None:
            raise PublishFailed(
                f"the requirement {missing[0]} has to be packed and no folder for it can be"
                " written; set XDG_CACHE_HOME or TMPDIR to one",
                step="requirements",
            )
        # An embedded gateway's processes run on this machine, with this Python.
        here = self.target.runs_processes and self.python == MINOR
        target = Target(base.architecture, self.python, base.glibc, here)
        reasons = {normal_name(each.name): each.why for each in self.captured.requirements}
        cache, options = self.cache, self.options

        def make() -> Layer:
            return requirements_layer(
                missing,
                target,
                cache,
                docker=base.docker,
                compile=options.compile,
                reasons=reasons,
                early=self.early,
            )

        with self.progress.step("requirements"):
            # Two functions of one file often need the same: what is downloaded is so once.
            with (yield from GATES.holding(f"requirements {missing} {target}")):
                return [(yield from Beside(make).result())]

    def check_before(self, digest: str) -> Conversation[None]:
        """Check what a failing deployment would stumble over."""
        check_sizes(self.plan.deploy_request(digest))
        if not (yield from self.builder.has(self.plan.repository, digest)):
            raise PublishFailed(
                f"the registry took the image {self.plan.repository} and does not have it under"
                f" {digest}",
                step="checks",
            )
