"""The steps of a publish, as one conversation: compare, image, push, checks, and the rollout.

Everything that can be checked is checked before the gateway is asked to change anything, since a
deployment that fails can destroy what ran. The conversation is pumped by either driver, so there is
one publish for sync and async callers.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from copy import copy
from typing import TYPE_CHECKING, Literal, NamedTuple
from urllib.parse import urlsplit

from away.connection.conversations import Deadline, Wait
from away.exceptions import (
    AuthenticationRefused,
    AwayError,
    CaptureRefused,
    GatewayUnreachable,
    NameRefused,
    PublishFailed,
)
from away.publish.builders import own_steps
from away.publish.cache import cache_folder
from away.publish.deployment import (
    Plan,
    Standing,
    as_deployed,
    check_options,
    inside_environment,
    make_plan,
    recipe_of,
    standing_of,
    taken,
    with_imported_form,
)
from away.publish.edition import check_namespace, check_target
from away.publish.lock import PublishLock
from away.publish.name_rules import check_names
from away.publish.parts import parts_for
from away.publish.pins import Pin
from away.publish.references import ImageName, parse_image, registry_url
from away.publish.secret_values import create, lacking_values, sealed
from away.publish.target import Target, ask_target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from away.capture import Captured
    from away.connection import FaasConnection, FunctionInfo
    from away.connection.conversations import Conversation, Reply, Request
    from away.publish.options import Options
    from away.publish.progress import Progress, Step
    from away.publish.secret_values import SecretValue
    from away.signatures import Description

__all__ = ["Published", "Publisher"]

LOCK_PAUSE = 0.02
# What a gateway is taken for until it was asked: names are checked before anything is sent.
EMBEDDED = Target("away", "process", "", "")
# What keeps its type, which says what to do about it.
OWN_TYPES = (CaptureRefused, NameRefused, GatewayUnreachable, AuthenticationRefused)
# What the packed client imports; a base image may have any version of them.
CLIENT_NEEDS = ("requests", "urllib3")
ASYNC_CLIENT_NEEDS = ("aiohttp",)


# What gateways said of themselves, by their URLs: asked once in a process, and before each change.
_targets: dict[str, Target] = {}


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
        notes: What the user may want to know of what was captured, a sentence each.
        warned: Those of the notes that were also given as a Python warning.
    """

    name: str
    namespace: str
    action: Literal["created", "updated", "unchanged"]
    digest: str
    description: Description
    image: str
    steps: tuple[Step, ...]
    notes: tuple[str, ...] = ()
    warned: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Leave out the signature, whose defaults may be anything."""
        return f"<Published {self.name}: {self.action}, {self.image}>"


class Publisher:
    """One publish of one captured function on one gateway.

    Args:
        captured: The function.
        connection: The gateway.
        options: What the user asks for.
        progress: Is told of the steps.
        imported: Gives the function as an import of its script captures it, where that differs.
    """

    def __init__(
        self,
        captured: Captured,
        connection: FaasConnection,
        options: Options,
        progress: Progress,
        imported: Callable[[], Captured | None] | None = None,
    ) -> None:
        self.captured = captured
        self.imported = imported
        self.connection = connection
        self.options = options._replace(
            namespace=options.namespace or connection.namespace, secrets=sealed(options.secrets)
        )
        self.progress = progress
        seconds = options.publish_timeout
        self.deadline = Deadline(connection.timeout if seconds is None else seconds)
        # A registry may be named with what images' names begin with there: ghcr.io/me.
        host, _, prefix = named = (options.registry or connection.registry or "").partition("/")
        if "://" in "".join(named):
            host, prefix = "".join(named), ""
        if prefix:
            mine = self.options.registry_prefix
            prefix = f"{prefix}/{mine}" if mine else prefix
            self.options = self.options._replace(registry_prefix=prefix)
        self.registry_host = host or None
        self.registry_url = (
            registry_url(host, connection.insecure_registries) if host else connection.url
        )
        self.parts = parts_for(captured)
        self.pins = self.wanted_pins()
        self.cache = cache_folder()
        self.target = _targets.get(connection.url, EMBEDDED)
        self.notes: tuple[str, ...] = ()
        self.warned: tuple[str, ...] = ()
        # Decorators warn of it where they stand; ``away publish`` has nobody there who would see that.
        self.warns_of_unsafe = True
        self.created_secrets: list[str] = []
        self.settle()

    # ------------------------------------------------------------ what is decided beforehand

    def wanted_pins(self) -> tuple[Pin, ...]:
        """Return the distributions that the function needs, of any origin."""
        pins = [Pin.of(each) for each in self.captured.requirements]
        if self.captured.needs_client:
            pinned = {each.name for each in pins}
            needs: tuple[str, ...] = CLIENT_NEEDS
            if self.captured.needs_async_client:
                needs += ASYNC_CLIENT_NEEDS
            pins += [Pin(name) for name in needs if name not in pinned]
        return tuple(sorted(set(pins)))

    def settle(self) -> None:
        """Decide on base image and plan by what is known of the gateway so far."""
        self.base_name = self.choose_base()
        self.plan = self.make_plan()

    def choose_base(self) -> ImageName:
        """Return the base image's name: the one given, or what the gateway's provider can run."""
        minor = f"{sys.version_info.major}.{sys.version_info.minor}"
        fits = (
            "away/python:{}" if self.target.runs_processes else "docker.io/library/python:{}-slim"
        )
        given = self.options.base_image or self.connection.base_image
        return parse_image(given or fits.format(minor))

    @property
    def inside_host(self) -> str:
        """The registry's host as the gateway pulls from it."""
        given = self.options.inside_registry or self.connection.inside_registry
        if given:
            registry_url(given)  # its grammar
            return given
        return self.registry_host or urlsplit(self.registry_url).netloc

    def make_plan(self) -> Plan:
        """Decide on the deployment; pure once the configuration was read."""
        identities = [part.identity for part in self.parts]
        # The user's own steps are part of what the function stands on, as is what it is packed for.
        chosen = self.options
        words = [str(self.base_name), own_steps(chosen), chosen.platform, chosen.python]
        base = " ".join(filter(None, [*words, "compiled" if chosen.compile else ""]))
        recipe = recipe_of(self.captured, identities, map(str, self.pins), base)
        environment = inside_environment(
            self.captured,
            self.connection.url,
            self.connection.inside_url,
            self.known_gateways(),
        )
        return make_plan(
            self.captured,
            self.options,
            host=self.inside_host,
            recipe=recipe,
            target=self.target,
            environment=environment,
        )

    def known_gateways(self) -> dict[str, str]:
        """Return the URLs of the configured gateways that what is packed imports from or calls."""
        called = {each.url for each in self.captured.references}
        if not (called or self.captured.gateways):
            return {}
        from away.config import configured, resolve

        given = self.options.env
        found = {
            name: resolve(name).url
            for name in self.captured.gateways
            if f"AWAY_GATEWAY_{name.upper()}_URL" not in given
        }
        if called:
            found |= {each.name: each.url for each in configured() if each.url in called}
        if self.connection.name:
            found[self.connection.name] = self.connection.url
        return found

    # ------------------------------------------------------------ the whole

    def conversation(self) -> Conversation[Published]:
        """Publish, or find that nothing is to be done."""
        key = f"{self.connection.url} {self.plan.namespace} {self.plan.name}"
        with PublishLock(self.cache, key) as lock:
            with self.untouched("nothing was changed"):
                check_options(self.options)
                while not lock.try_once():
                    self.expect_time("waiting for another publish of it", step="compare")
                    yield Wait(LOCK_PAUSE)
                with self.progress.step("compare"):
                    standing, before = yield from self.compare()
                    if standing is Standing.UNCHANGED and before and before.available_replicas == 0:
                        standing = yield from self.standing_of_sleeper(before)
                theirs = standing in (Standing.OTHER, Standing.FOREIGN)
                if before is not None and theirs and not self.options.overwrite:
                    raise taken(self.plan, before, standing, self.connection.url)
            if standing is Standing.UNCHANGED and before is not None:
                self.plan = as_deployed(self.plan, before)
                return self.published("unchanged", before.image)
            return (yield from self.change(before))

    def compare(self) -> Conversation[tuple[Standing, FunctionInfo | None]]:
        """Ask what is deployed under the name, and how that stands to the function as it is here.

        A function of the running script is captured by value, and by name where the script is
        imported, as ``away publish FILE`` does. Each of the two would replace what the other
        deployed, so that what is deployed by name counts as unchanged while that form is the same.
        """
        known = _targets.get(self.connection.url)
        if known is None:
            yield from self.learn_target()
        else:
            self.aim_at(known)  # another publish may have asked since this one was put together
        check_names(self.plan.name, self.options.secrets, self.options, self.target)
        yield from check_namespace(self)
        before = yield from self.deployed()
        standing = standing_of(self.plan, before)
        other = self.in_imported_form() if standing is Standing.CHANGED else None
        if other is not None and standing_of(other.plan, before) is Standing.UNCHANGED:
            self.captured, self.plan = other.captured, other.plan
            return Standing.UNCHANGED, before
        return standing, before

    @contextmanager
    def untouched(self, now: str) -> Iterator[None]:
        """Let what fails before the deployment say which step it was and what runs now.

        Whoever raises it need not know that it happens within a publish: a login that is refused is so
        elsewhere too.
        """
        try:
            yield
        except AwayError as error:
            if self.progress.bytes_sent:
                now += "; what was uploaded stays at the registry"
            now += self.kept_secrets()
            if isinstance(error, OWN_TYPES):
                told = copy(error)
                told.args = (f"{error}; {now}",)
                raise told.with_traceback(error.__traceback__) from error.__cause__
            # Much code, and none of it needed where nothing fails.
            from away.publish.refusals import in_words_of_publish
            from away.publish.rollout import explained

            cause: BaseException | None = error
            if isinstance(error, PublishFailed):
                failed, cause = error, error.__cause__
            else:
                failed = PublishFailed(
                    in_words_of_publish(error, self.deadline, self.plan, self.target),
                    step=self.progress.current,
                    status=error.status,
                    call_id=error.call_id,
                    hint=error.hint,
                )
            raise explained(self.plan, self.connection.url, failed, now) from cause

    def change(self, before: FunctionInfo | None) -> Conversation[Published]:
        """Make, push, check and deploy; what runs is touched by the last alone."""
        # Much code, and none of it needed where nothing changed.
        from away.publish.preparation import Preparation
        from away.publish.rollout import Rollout

        now = "nothing was deployed" if before is None else "what ran before still runs"
        with self.untouched(now):
            # Another gateway may listen where the remembered one did.
            yield from self.learn_target()
            yield from check_target(self, before)
            self.note_imported_form()
            lacking = yield from self.lacking_secrets()
            digest = yield from Preparation(self).conversation()
            yield from self.create_secrets(lacking)
        request = self.plan.deploy_request(digest)
        rollout = Rollout(
            self.plan,
            self.connection,
            before,
            self.deadline,
            self.progress,
            target=self.target,
            kept=self.kept_secrets(),
        )
        yield from rollout.conversation(request)
        action: Literal["created", "updated"] = "updated" if before else "created"
        return self.published(action, request["image"])

    def note_imported_form(self) -> None:
        """Have a script's deployment say what ``away publish FILE`` would take it for."""
        other = self.in_imported_form()
        if other is not None:
            self.plan = with_imported_form(self.plan, other.plan)

    def in_imported_form(self) -> Publisher | None:
        """Return the publisher of what ``away publish FILE`` would take; None where it could not.

        There all of the script counts, also a gateway that only another function of it uses and that
        is not configured; none of that keeps this function from being published.
        """
        try:
            other = self.imported() if self.imported else None
            if other is None:
                return None
            return Publisher(other, self.connection, self.options, self.progress)
        except AwayError:
            return None

    def published(
        self, action: Literal["created", "updated", "unchanged"], image: str
    ) -> Published:
        """Put together what is returned."""
        description = self.captured.description._replace(
            digest=self.captured.identity, timeout=self.options.timeout
        )
        steps = tuple(self.progress.steps)
        unsafe = self.unsafe_notes()
        return Published(
            self.plan.name,
            self.plan.namespace,
            action,
            self.plan.digest,
            description,
            image,
            steps,
            (*self.captured.warnings, *self.notes, *unsafe),
            (*self.warned, *(unsafe if self.warns_of_unsafe else ())),
        )

    def unsafe_notes(self) -> tuple[str, ...]:
        """Return what is to be known of a function that takes pickles; nothing of others."""
        if self.options.safe_args:
            return ()
        return (
            "it is published with safe_args=False: whoever can reach it on"
            f" {self.connection.url} can run code in it, and its answers can run code here",
        )

    # ------------------------------------------------------------ secrets

    def lacking_secrets(self) -> Conversation[dict[str, SecretValue]]:
        """Return the secrets to be created; one that is missing without a value is an error.

        faasd would destroy what runs where a secret is missing.
        """
        if not self.options.secrets:
            return {}
        with self.progress.step("checks"):
            known = yield from self.connection.api.secrets(self.plan.namespace, self.deadline)
        return lacking_values(self.options.secrets, known)

    def create_secrets(self, values: Mapping[str, SecretValue]) -> Conversation[None]:
        """Create secrets, as late as can be: they stay, whatever comes after."""
        for name, value in values.items():
            with self.progress.step("secrets"):
                created = yield from create(self.connection, self.plan.namespace, name, value)
            if created:
                self.created_secrets.append(name)

    def kept_secrets(self) -> str:
        """Say which secrets were created and stay, as the end of a sentence."""
        if not self.created_secrets:
            return ""
        names = ", ".join(map(repr, self.created_secrets))
        return f"; what was created and stays: secret {names}"

    # ------------------------------------------------------------ requests

    def standing_of_sleeper(self, before: FunctionInfo) -> Conversation[Standing]:
        """Ask a function that has no replica whether it is asleep or dead.

        A deployment that failed, or whose publisher was killed, leaves the new record with nothing
        behind it, and the same publish again has to go on from there.
        """
        from away.publish.rollout import Rollout

        rollout = Rollout(
            as_deployed(self.plan, before),
            self.connection,
            None,
            self.deadline,
            self.progress,
            target=self.target,
        )
        alive = yield from rollout.awakes()
        return Standing.UNCHANGED if alive else Standing.CHANGED

    def learn_target(self) -> Conversation[None]:
        """Ask what the gateway is, and decide by that."""
        found = yield from ask_target(self.ask)
        _targets[self.connection.url] = found
        self.aim_at(found)

    def aim_at(self, found: Target) -> None:
        """Decide anew where the gateway is something else than thought."""
        if found != self.target:
            self.target = found
            self.settle()

    def ask(self, request: Request) -> Conversation[Reply]:
        """Send one request within what is left of the time."""
        self.expect_time("asking")
        return self.connection.conversation_request(request, self.deadline)

    def deployed(self) -> Conversation[FunctionInfo | None]:
        """Ask what is deployed under the name."""
        return self.connection.conversation_function(
            self.plan.name, self.deadline, namespace=self.plan.namespace
        )

    def expect_time(self, doing: str, *, step: str = "") -> None:
        """Raise once the time that the caller gave is over."""
        if self.deadline.remaining() <= 0:
            raise PublishFailed(
                f"publishing {self.plan.name} took longer than publish_timeout={self.deadline.seconds:g}"
                f" seconds, while {doing}",
                step=step or self.progress.current,
                gateway=self.connection.url,
                function=self.plan.name,
            )
