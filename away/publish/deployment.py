"""What is asked of the gateway: a plan of the deployment, and whether what runs is that already.

Pure: a captured function and options come in, a plan goes out; nothing here sends, reads a file or
knows the time.
"""

from __future__ import annotations

import enum
import hashlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from away.capture.leaks import holds_secret, redacted
from away.exceptions import NameRefused, PublishFailed
from away.module_descriptions import module_annotations
from away.names import function_name, printable
from away.publish.name_rules import check_scaling
from away.publish.option_texts import check_characters, check_environment
from away.publish.platforms import check_platform
from away.publish.quantities import check_resources
from away.publish.references import is_repository
from away.publish.timeouts import check_timeout, timeout_environment
from away.secret_texts import declared, known
from away.signatures import (
    from_annotations,
    join_annotation,
    kinds_for_inside,
    split_annotation,
    to_annotations,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from away.capture import Captured
    from away.connection import FunctionInfo
    from away.publish.options import Options
    from away.publish.target import Target

__all__ = [
    "Plan",
    "Standing",
    "as_deployed",
    "check_options",
    "check_sizes",
    "inside_environment",
    "is_loopback",
    "kept_request",
    "make_plan",
    "recipe_of",
    "restoring",
    "standing_of",
    "taken",
    "with_imported_form",
]

REQUEST_KEY = "away.request"
# What a script that published itself is where it is imported instead, as `away publish FILE` does.
IMPORTED_KEY = "away.imported"
DEPLOYMENT_KEY = "AWAY_DEPLOYMENT"
DEFAULT_PREFIX = "away"
# faasd's limits, measured; one piece more and the deployment is refused or, for the environment,
# accepted with a 200 and never able to start (the kernel's limits for a process).
MAX_ANNOTATION_BYTES = 4071
MAX_LABEL_BYTES = 4096
MAX_VARIABLE_BYTES = 131_071
MAX_ENVIRONMENT_BYTES = 1_900_000


class Plan(NamedTuple):
    """A deployment decided on: all of it but the digest of an image that is not made yet.

    Attributes:
        name: The function's name at the gateway.
        namespace: Its namespace, or an empty text for the gateway's default.
        entry: ``module:qualname`` of what is published.
        digest: The identity of the payload, which the function answers with.
        repository: The image's name at the registry, without host and tag.
        tag: The identity of all that goes into the image, in short.
        request: The deploy request, its image without a digest, its annotations those of the user.
        annotations: The annotations that Away writes.
    """

    name: str
    namespace: str
    entry: str
    digest: str
    repository: str
    tag: str
    request: dict[str, Any]
    annotations: dict[str, str]

    def __repr__(self) -> str:
        """Leave out the request, which has the environment's values."""
        return f"<Plan {self.name} of {self.entry}>"

    def deploy_request(self, digest: str) -> dict[str, Any]:
        """Return what is sent to the gateway, for the image of that digest.

        The request itself goes along in an annotation, from which it can be sent again, and its
        digest in a variable, which the function answers with.
        """
        request = {**self.request, "image": f"{self.request['image']}@{digest}"}
        return with_own_annotations(request, self.annotations)


def with_own_annotations(request: dict[str, Any], written: Mapping[str, str]) -> dict[str, Any]:
    """Return a kept request as it is sent: with Away's annotations, itself among them."""
    kept = split_annotation(REQUEST_KEY, canonical_text(request))
    theirs = request.get("annotations", {})
    whole = {**request, "annotations": {**theirs, **written, **kept}}
    identity = hashlib.sha256(canonical_text(whole).encode()).hexdigest()[:32]
    # Beside what is kept and compared, which would otherwise hold its own digest.
    variables = {**request.get("envVars", {}), DEPLOYMENT_KEY: identity}
    return {**whole, "envVars": dict(sorted(variables.items()))}


class Standing(enum.Enum):
    """How what runs under a name stands to what is to be published."""

    ABSENT = "absent"
    UNCHANGED = "unchanged"
    CHANGED = "changed"
    OTHER = "another function"
    FOREIGN = "not published by Away"


# ---------------------------------------------------------------- names


def taken(plan: Plan, info: FunctionInfo, standing: Standing, gateway: str) -> NameRefused:
    """Make the error for a name that stands for something else."""
    if standing is Standing.FOREIGN:
        owner = "a function that Away did not publish"
    else:
        description = from_annotations(info.annotations)
        owner = description.entry if description else "another function"
    return NameRefused(
        f"the name {plan.name} on {gateway} belongs to {owner}, and {printable(plan.entry)} would"
        " replace it; pass another name= (away publish MODULE --name NAME), or overwrite=True",
        gateway=gateway,
        function=plan.name,
        hint="pass another name=, or overwrite=True",
    )


# ---------------------------------------------------------------- the plan


def recipe_of(captured: Captured, identities: Iterable[str], pins: Iterable[str], base: str) -> str:
    """Return the identity of all that decides an image, known before any of it is made."""
    parts = [captured.identity, sorted(identities), sorted(pins), base]
    return hashlib.sha256(canonical_text(parts).encode()).hexdigest()


def make_plan(
    captured: Captured,
    options: Options,
    *,
    host: str,
    recipe: str,
    target: Target,
    environment: Mapping[str, str] | None = None,
) -> Plan:
    """Decide on a deployment.

    Args:
        captured: The function.
        options: What the user asks for.
        host: The registry's host, as the gateway will pull from it.
        recipe: From :func:`recipe_of`.
        target: What the gateway is, as far as is known.
        environment: Variables that the function's references need.

    Raises:
        NameRefused: The name cannot be that of a function.
        PublishFailed: No image can have a name that begins with the prefix.
    """
    name = function_name(options.name) if options.name else captured.name
    prefix = (
        DEFAULT_PREFIX if options.registry_prefix is None else options.registry_prefix.strip("/")
    )
    repository = f"{prefix}/{name}" if prefix else name
    if not is_repository(repository):
        raise PublishFailed(prefix_refusal(prefix), step="names")
    tag = recipe[:12]
    variables = dict(environment or {})
    if options.max_inflight is not None:
        variables["AWAY_MAX_INFLIGHT"] = str(options.max_inflight)
    variables |= timeout_environment(options.timeout, target)
    variables |= options.env
    request: dict[str, Any] = {
        "service": name,
        "image": f"{host}/{repository}:{tag}",
        "namespace": options.namespace,
        "envVars": dict(sorted(variables.items())),
        "secrets": sorted(set(options.secrets)),
        "labels": dict(options.labels),
        "annotations": dict(options.annotations),
        "constraints": list(options.constraints),
        "limits": dict(options.limits),
        "requests": dict(options.requests),
        "readOnlyRootFilesystem": options.read_only_root,
    }
    # As faas-cli writes it: what is empty is left out, labels never.
    kept = {key: value for key, value in request.items() if value or key == "labels"}
    described = to_annotations(
        captured.description._replace(digest=captured.identity, timeout=options.timeout)
    )
    python = json.dumps(captured_python(captured))
    annotations = {**described, "away.python": python}
    if captured.module is not None:
        annotations |= module_annotations(captured.module)
    return Plan(
        name,
        options.namespace,
        captured.entry,
        captured.identity,
        repository,
        tag,
        kept,
        annotations,
    )


def prefix_refusal(prefix: str) -> str:
    """Say why images' names cannot begin so; the project of 2023 put the registry there."""
    host, _, rest = prefix.partition("/")
    if ":" in host or host == "localhost":
        more = f" and registry_prefix={printable(rest)!r}" if rest else ""
        return (
            f"registry_prefix={printable(prefix[:200])!r} names a registry; pass"
            f" registry={printable(host)!r}{more}, or neither for the gateway's own registry"
        )
    return (
        f"no image's name can begin with registry_prefix={printable(prefix[:200])!r}; write lower-case"
        " words, a / between them"
    )


def captured_python(captured: Captured) -> str:
    """Return the minor version of Python that the payload is for, from its header."""
    header = json.loads(captured.payload.partition(b"\n")[0])
    return str(header.get("python", ""))


def canonical_text(value: Any) -> str:
    """Write JSON in ASCII and in one form, so that it can be compared and cut anywhere."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


# ---------------------------------------------------------------- comparison


def standing_of(plan: Plan, info: FunctionInfo | None) -> Standing:
    """Compare a plan with what the gateway says of the function of its name.

    The image is compared by its tag, which names all that goes into it: its digest is not known
    before it is made.
    """
    if info is None:
        return Standing.ABSENT
    description = from_annotations(info.annotations)
    if description is None:
        return Standing.FOREIGN
    if description.entry != printable(plan.entry):
        return Standing.OTHER
    request = kept_request(info.annotations)
    if request is None:
        return Standing.CHANGED
    image = str(request.get("image", "")).partition("@")[0]
    wanted = plan.annotations
    if info.annotations.get(IMPORTED_KEY) == imported_form(plan):
        # The same script, which published itself: only what it was packed as is another.
        image = f"{image.rpartition(':')[0]}:{plan.tag}"
        wanted = {}
    elif description.digest != plan.digest:
        return Standing.CHANGED
    same_request = {**request, "image": image} == plan.request
    # A provider may add annotations of its own, so more than those are allowed.
    described = all(info.annotations.get(key) == text for key, text in wanted.items())
    return Standing.UNCHANGED if same_request and described else Standing.CHANGED


def imported_form(plan: Plan) -> str:
    """Return the identity of a plan for a script as it is imported: of payload, image and options."""
    told = {key: text for key, text in plan.annotations.items() if key != IMPORTED_KEY}
    return hashlib.sha256(canonical_text([plan.digest, plan.tag, told]).encode()).hexdigest()


def with_imported_form(plan: Plan, imported: Plan) -> Plan:
    """Return a script's plan that says what the script is where it is imported."""
    return plan._replace(annotations={**plan.annotations, IMPORTED_KEY: imported_form(imported)})


def as_deployed(plan: Plan, info: FunctionInfo) -> Plan:
    """Return a plan that is unchanged with the digest that what runs answers with."""
    description = from_annotations(info.annotations)
    return plan if description is None else plan._replace(digest=description.digest)


def restoring(info: FunctionInfo) -> dict[str, Any] | None:
    """Return the request that deploys again what ran, or None where it was not kept."""
    request = kept_request(info.annotations)
    if request is None or request.get("service") != info.name:
        return None
    written = {
        key: text
        for key, text in info.annotations.items()
        if (key == "built-with" or key.startswith("away."))
        and key != REQUEST_KEY
        and not key.startswith(f"{REQUEST_KEY}.")
    }
    return with_own_annotations(request, written)


def kept_request(annotations: Mapping[str, str]) -> dict[str, Any] | None:
    """Return the deploy request that a function's annotations keep, if they do."""
    text = join_annotation(annotations, REQUEST_KEY)
    if text is None or not text.isascii():
        return None
    try:
        request = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return request if isinstance(request, dict) else None


# ---------------------------------------------------------------- checks before any harm


def check_options(options: Options) -> None:
    """Refuse options that no gateway could take, or that would hide what Away writes.

    Raises:
        PublishFailed: One of them is such.
    """
    for what, mapping in (
        ("env", options.env),
        ("labels", options.labels),
        ("annotations", options.annotations),
        ("limits", options.limits),
        ("requests", options.requests),
    ):
        for key, value in mapping.items():
            if not isinstance(key, str) or not isinstance(value, str):
                raise refused(f"{what}[{key!r}] is not a text; OpenFaaS takes texts alone: str(…)")
    refuse_secrets(options)
    check_scaling(options.labels)
    check_resources(options.limits, options.requests)
    if options.timeout is not None:
        check_timeout(options.timeout)
    if options.platform is not None:
        check_platform(options.platform)
    if DEPLOYMENT_KEY in options.env:
        raise refused(f"env has {DEPLOYMENT_KEY}, which Away itself sets; leave it out")
    check_environment(options.env)
    check_characters(options)
    for key in options.annotations:
        if key == "built-with" or key.startswith("away."):
            raise refused(f"the annotation {key!r} is written by Away itself; take another key")
    if options.max_inflight is not None and options.max_inflight < 1:
        raise refused(f"max_inflight={options.max_inflight} lets no call in; take 1 or more")


_SHORTEST_SECRET = 4


def refuse_secrets(options: Options) -> None:
    """Refuse a secret that this process knows: the request is kept in clear, and shown by lists."""
    # A label of one letter is no leak, also where that letter is somebody's password.
    secrets = [each for each in known() if len(each) >= _SHORTEST_SECRET]
    for what, mapping in (
        ("env", options.env),
        ("labels", options.labels),
        ("annotations", options.annotations),
    ):
        for key, value in mapping.items():
            if holds_secret(value, secrets) or holds_secret(key, secrets):
                shown = printable(redacted(repr(key), secrets))
                raise refused(
                    f"{what}[{shown}] holds a password or token that this process knows{declared(f'{key} {value}')},"
                    " and would stand in clear at the gateway; create a secret there, publish with"
                    " secrets=['NAME'], and read it inside with away.secret('NAME')"
                )


def check_sizes(request: Mapping[str, Any]) -> None:
    """Refuse a deploy request that a provider would refuse, or take and never start.

    Raises:
        PublishFailed: A label, an annotation or a variable is too large.
    """
    for what, limit in (("labels", MAX_LABEL_BYTES), ("annotations", MAX_ANNOTATION_BYTES)):
        for key, value in request.get(what, {}).items():
            size = len(f"{key}{value}".encode())
            if size > limit:
                raise refused(
                    f"{what}[{printable(key[:80])!r}] has {size} bytes with its key and {limit} can"
                    " be deployed; shorten it"
                )
    total = 0
    for key, value in request.get("envVars", {}).items():
        size = len(f"{key}={value}".encode())
        total += size + 1
        if size > MAX_VARIABLE_BYTES:
            raise refused(
                f"env[{printable(key[:80])!r}] has {size} bytes and a process can be given"
                f" {MAX_VARIABLE_BYTES} in one variable; pass it as a secret, or in the call"
            )
    if total > MAX_ENVIRONMENT_BYTES:
        raise refused(
            f"env has {total} bytes in all and a process can be given {MAX_ENVIRONMENT_BYTES};"
            " pass less"
        )


def refused(message: str) -> PublishFailed:
    """Make the error of a check; nothing was changed when it is raised."""
    return PublishFailed(message, step="checks")


# ---------------------------------------------------------------- references to other functions


def inside_environment(
    captured: Captured, gateway: str, inside_url: str | None, known: Mapping[str, str]
) -> dict[str, str]:
    """Return the variables by which a function inside finds the gateways that it calls.

    Args:
        captured: The function, with its references and the gateways that its modules import from.
        gateway: The URL of the gateway that it is published to.
        inside_url: That gateway's URL as its functions see it, if it differs.
        known: The URLs of the gateways that are called, by the names that they have here.
    """
    if not (captured.references or captured.gateways):
        return {}
    inside = inside_url or gateway
    found = {"AWAY_INSIDE_URL": inside, "AWAY_OUTSIDE_URL": gateway}
    for name in sorted({*captured.gateways, *known}):
        url = known.get(name, gateway)
        found[f"AWAY_GATEWAY_{name.upper()}_URL"] = inside if url == gateway else url
    # One that is called both ways, from away.remote.aio too, is what it is without that.
    kinds = {
        (name, each.place): each.kind
        for each in sorted(captured.references, key=lambda each: "async" not in each.kind)
        for name, url in known.items()
        if url == each.url
    }
    return found | kinds_for_inside(kinds)


def is_loopback(url: str) -> bool:
    """Tell whether a URL means the machine that reads it."""
    host = (urlsplit(url).hostname or "").rstrip(".").lower()
    return host in ("localhost", "::1") or host.endswith(".localhost") or host.startswith("127.")
