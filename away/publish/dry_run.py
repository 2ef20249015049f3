"""A dry run: what a publish would do, found out by looking alone.

The gateway and the registries are asked what they have, and layers are made and kept here; nothing is
uploaded, deployed, created or built by an engine. What could not be found out is a note, not a failure.
"""

from __future__ import annotations

import os
import re
import tarfile
import warnings
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from away.capture.suspects import Suspect, suspects_in, suspicion
from away.exceptions import AwayError, GatewayUnreachable, IgnoredOptionWarning
from away.names import printable
from away.publish.builders import Base
from away.publish.compiled import MINOR
from away.publish.deployment import Standing, check_options, taken
from away.publish.edition import check_target
from away.publish.pins import normal_name, satisfied
from away.publish.preparation import Preparation
from away.publish.progress import size_of
from away.publish.report import LayerReport, Report, RequirementReport
from away.publish.target import dropped
from away.requirements import origin

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from away.capture import Captured
    from away.connection import FunctionInfo
    from away.connection.conversations import Conversation, Reply
    from away.publish.image import BaseImage, Layer
    from away.publish.pins import Pin
    from away.publish.steps import Publisher

__all__ = ["look"]

T = TypeVar("T")

HIDDEN = "•••"
# What never goes along and nobody asks about.
_UNTOLD = ("__pycache__",)
_MOST_LEFT_OUT = 1000
_DISTRIBUTION = re.compile(r"(?:^|/)([^/]+)-([^/-]+)\.dist-info/METADATA\Z")


def look(publisher: Publisher) -> Conversation[Report]:
    """Find out what a publish would do.

    Args:
        publisher: The publish, not begun.

    Raises:
        AwayError: It could not even begin.
    """
    check_options(publisher.options)
    return (yield from _Look(publisher).conversation())


class _Look:
    """One look; used once."""

    def __init__(self, publisher: Publisher) -> None:
        self.publisher = publisher
        self.notes: list[str] = []
        self.asked = True

    def conversation(self) -> Conversation[Report]:
        publisher = self.publisher
        standing, before = yield from self.standing()
        secrets = yield from self.secrets()
        # Only now is the gateway known, which decides on the base image.
        preparation = Preparation(publisher)
        base = yield from self.base(preparation)
        layers = yield from self.layers(preparation, base or self.supposed_base())
        below = getattr(preparation.builder, "image_below", None)
        captured = publisher.captured
        self.notes += dropped(publisher.target, publisher.options)
        request, in_options = without_secrets(publisher.plan.request)
        return Report(
            captured,
            publisher.connection.url,
            standing,
            self.would(standing, before),
            publisher.plan.request["image"],
            preparation.builder.name,
            str(publisher.base_name),
            about(base, below),
            tuple(counted(each) for each in layers),
            tuple(requirements_of(captured, publisher.pins, base, layers)),
            tuple(left_out(captured)),
            (*suspects_of(captured), *in_options),
            request,
            secrets,
            tuple(
                dict.fromkeys([*captured.warnings, *self.notes, *publisher.unsafe_notes()]),
            ),
        )

    def tried(self, conversation: Conversation[T], unknown: str) -> Conversation[T | None]:
        """Find something out; where that fails, note what is not known."""
        try:
            return (yield from conversation)
        except AwayError as error:
            self.asked = self.asked and not isinstance(error, GatewayUnreachable)
            self.notes.append(f"{unknown}: {error}")
            return None

    def standing(self) -> Conversation[tuple[Standing | None, FunctionInfo | None]]:
        """Ask what the gateway has, and whether it allows what would be asked of it."""
        publisher = self.publisher
        found = yield from self.tried(
            publisher.compare(), "what the gateway has under that name is not known"
        )
        if found is None:
            return None, None
        yield from self.tried(hushed(check_target(publisher, found[1])), "it would be refused")
        return found

    def would(self, standing: Standing | None, before: FunctionInfo | None) -> str:
        """Say what publishing would do at the gateway."""
        publisher = self.publisher
        if standing is None:
            return "what would be done there is not known"
        if standing in (Standing.OTHER, Standing.FOREIGN) and before is not None:
            if publisher.options.overwrite:
                return f"would replace what is there, which is {standing.value}"
            refusal = taken(publisher.plan, before, standing, publisher.connection.url)
            return f"would be refused: {refusal}"
        return {
            Standing.ABSENT: "would be created",
            Standing.UNCHANGED: "unchanged, nothing would be done",
        }.get(standing, "would be updated")

    def secrets(self) -> Conversation[dict[str, str]]:
        """Ask which of the secrets the gateway has."""
        publisher = self.publisher
        wanted = publisher.options.secrets
        if not wanted:
            return {}
        unknown = "whether it has the secrets is not known"
        asking = publisher.connection.api.secrets(publisher.plan.namespace, publisher.deadline)
        known = (yield from self.tried(asking, unknown)) if self.asked else None
        lacks = "would be created" if hasattr(wanted, "items") else "is missing: create it first"
        return {
            name: "not known" if known is None else "is there" if name in known else lacks
            for name in wanted
        }

    def base(self, preparation: Preparation) -> Conversation[Base | None]:
        """Look at the base image, where looking changes nothing."""
        builder = preparation.builder
        if builder.name != "registry":
            self.notes.append(
                "the base image is looked at by the engine that builds, which a dry run leaves"
                " alone: which requirements it has is not known"
            )
            return None
        if not self.asked and self.publisher.registry_host is None:
            return None  # its registry is the gateway's, of which that was said
        failures = len(self.notes)
        yield from self.tried(builder.check(), "it would be refused")
        if len(self.notes) > failures and not self.publisher.base_name.host:
            return None  # it is in that registry
        unknown = "the base image could not be looked at"
        base = yield from self.tried(builder.base(), unknown)
        if base is not None:
            try:
                preparation.check_base(base)
            except AwayError as error:
                self.notes.append(f"it would be refused: {error}")
        return base

    def supposed_base(self) -> Base:
        """Suppose a base image where it could not be looked at, and say so."""
        publisher = self.publisher
        self.notes.append(
            f"layers are those for a base image with Python {publisher.options.python or MINOR} that"
            " has none of the requirements"
        )
        # Most images that functions stand on are of Docker's kind, on which layers are gzip.
        architecture = publisher.target.architecture
        return Base(str(publisher.base_name), architecture=architecture, docker=True)

    def layers(self, preparation: Preparation, base: Base) -> Conversation[list[Layer]]:
        """Make the layers, which stay in the cache for the publish to come."""
        unknown = "the layer of requirements is not known"
        layers = yield from self.tried(preparation.layers(base), unknown)
        if layers is None:
            preparation.pins = ()
            layers = yield from preparation.layers(base)
        return layers


# ---------------------------------------------------------------- what is told


def about(base: Base | None, below: BaseImage | None) -> str:
    """Say what is known of the base image."""
    if base is None:
        return ""
    known = [
        f"Python {printable(base.python)}" if base.python else "",
        printable(base.architecture),
    ]
    if below is not None:
        size = sum(int(each.get("size", 0)) for each in below.layers)
        plural = "" if len(below.layers) == 1 else "s"
        known.append(f"{len(below.layers)} layer{plural} of {size_of(size)}")
    return ", ".join(filter(None, known))


def counted(layer: Layer) -> LayerReport:
    """Count the files of a layer."""
    return LayerReport(layer.comment, sum(1 for _ in members(layer)), layer.size)


def members(layer: Layer) -> Iterator[str]:
    """Give the paths of a layer's files."""
    if isinstance(layer.data, bytes):
        archive = tarfile.open(fileobj=BytesIO(layer.data))  # noqa: SIM115 - closed below
    else:
        archive = tarfile.open(layer.data)  # noqa: SIM115 - closed below
    with archive:
        for each in archive:
            if each.isfile():
                yield each.name


def requirements_of(
    captured: Captured, pins: Iterable[Pin], base: Base | None, layers: Iterable[Layer]
) -> Iterator[RequirementReport]:
    """List what is needed, at which version, and where it would come from."""
    packed = {}
    for layer in layers:
        for path in members(layer) if layer.comment.startswith("requirements ") else ():
            if (found := _DISTRIBUTION.search(path)) is not None:
                packed[normal_name(found[1])] = found[2]
    reasons = {normal_name(each.name): each.why for each in captured.requirements}
    there = {
        normal_name(key): version for key, version in ((base and base.environment) or {}).items()
    }
    for pin in pins:
        why = reasons.get(pin.name, "needed to call other functions")
        if satisfied(pin, there.get(pin.name)):
            yield RequirementReport(pin.name, there[pin.name], "in the base image", why)
        else:
            version = packed.pop(pin.name, "")
            where = "packed" if version else ""
            yield RequirementReport(pin.name, version or pin.version, where, why)
    for name in sorted(packed):
        yield RequirementReport(name, packed[name], "packed", "another requirement needs it")


def left_out(captured: Captured) -> Iterator[str]:
    """List what lies in the packed packages and does not go along."""
    packed = {each.path for each in captured.files}
    count = 0
    for top in sorted({path.partition("/")[0] for path in packed if "/" in path}):
        for folder in origin(top).folders:
            for path in beside(Path(folder), top, packed):
                count += 1
                if count > _MOST_LEFT_OUT:
                    yield "and more"
                    return
                yield path


def beside(folder: Path, top: str, packed: set[str]) -> Iterator[str]:
    """List the files below a folder that are not packed; of a folder without any just its name."""
    kept = {path.rpartition("/")[0] for path in packed}
    for where, folders, names in os.walk(folder):
        below = Path(where).relative_to(folder).as_posix()
        prefix = f"{top}/" if below == "." else f"{top}/{below}/"
        inner = [each for each in sorted(folders) if each not in _UNTOLD]
        whole = [
            each
            for each in inner
            if not any(f"{path}/".startswith(f"{prefix}{each}/") for path in kept)
        ]
        folders[:] = [each for each in inner if each not in whole]
        yield from (f"{prefix}{each}/" for each in whole)
        yield from (f"{prefix}{each}" for each in sorted(names) if f"{prefix}{each}" not in packed)


def suspects_of(captured: Captured) -> Iterator[Suspect]:
    """List what looks like a secret in what was captured."""
    for value in captured.values:
        if value.suspicion:
            yield Suspect(f"the value {value.name}", value.suspicion)
    for file in captured.files:
        yield from suspects_in(file.path, file.data)


def without_secrets(request: Mapping[str, Any]) -> tuple[dict[str, Any], list[Suspect]]:
    """Return a deploy request as it may be shown, and what was hidden in it."""
    shown, hidden = dict(request), []
    for key in ("envVars", "labels", "annotations"):
        for name, value in request.get(key, {}).items():
            if what := suspicion(name, value):
                shown[key] = {**shown[key], name: HIDDEN}
                hidden.append(Suspect(f"{key}[{name!r}]", what))
    return shown, hidden


def hushed(conversation: Conversation[T]) -> Conversation[T]:
    """Keep a conversation from warning of options, which the report has as notes."""
    given: Reply | None = None
    met: Exception | None = None
    while True:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", IgnoredOptionWarning)
            try:
                step = conversation.send(given) if met is None else conversation.throw(met)
            except StopIteration as stop:
                result: T = stop.value
                return result
        given = met = None
        try:
            given = yield step
        except Exception as error:  # what the driver met is the conversation's to judge
            met = error
