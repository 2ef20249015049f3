"""What a gateway's edition and provider do not allow, found before anything is pushed.

The rules are those of faasd (pkg/provider/handlers/deploy.go), of faas-netes' Community Edition
(pkg/handlers/deploy.go, validate.go) and of Away's embedded gateway. What cannot be known beforehand is
left to the gateway, whose refusal :mod:`away.publish.refusals` puts in words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from away.connection.conversations import Request
from away.exceptions import AwayError, IgnoredOptionWarning, NameRefused, PublishFailed
from away.names import printable
from away.publish.deployment import is_loopback
from away.publish.references import HUB_HOSTS
from away.publish.target import dropped
from away.publish.timeouts import contradiction
from away.user_lines import warn_at_user_line

if TYPE_CHECKING:
    from away.connection import FunctionInfo
    from away.connection.conversations import Conversation
    from away.publish.builders import Base
    from away.publish.options import Options
    from away.publish.references import ImageName
    from away.publish.steps import Publisher
    from away.publish.target import Target

__all__ = ["check_architecture", "check_kind", "check_namespace", "check_target"]

# Functions that the Community Editions of faasd and faas-netes run.
MOST_FUNCTIONS = 15
# The namespace that both have where nobody chose another one.
DEFAULT_NAMESPACE = "openfaas-fn"
PROCESS_BASE = "away/python"


def check_namespace(publisher: Publisher) -> Conversation[None]:
    """Refuse a namespace beside the only one that a Community Edition has.

    Raises:
        PublishFailed: It is another one.
    """
    target, wanted = publisher.target, publisher.plan.namespace
    if not target.is_community or wanted in ("", DEFAULT_NAMESPACE):
        return
    try:
        found = yield from publisher.connection.api.namespaces(publisher.deadline)
    except AwayError:
        return  # the gateway will say it in its own words
    if found and (wanted not in found or len(found) > 1):
        others = [each for each in found if each != DEFAULT_NAMESPACE]
        only = found[0] if len(found) == 1 else DEFAULT_NAMESPACE
        more = (
            f", and none deploys while there are more ({', '.join(map(printable, others))})"
            if len(found) > 1
            else ""
        )
        raise _refused(
            f"{target.label} has one namespace, {printable(only)!r}{more}; leave"
            f" namespace={printable(wanted)!r} out"
        )


def check_target(publisher: Publisher, before: FunctionInfo | None) -> Conversation[None]:
    """Check a publish that is about to change something against what its gateway allows.

    Warns, at the user's line, of options that the gateway takes and does not honour.

    Args:
        publisher: What was decided.
        before: What is deployed under the name.

    Raises:
        PublishFailed, NameRefused: The gateway would refuse it, or could never run it.
    """
    target, options = publisher.target, publisher.options
    _check_base_name(publisher)
    _check_registry(publisher)
    if target.is_community:
        if before is None:
            yield from _check_count(publisher)
        if target.family == "kubernetes" and publisher.registry_host:
            yield from _check_public(publisher)
    publisher.notes = (*dropped(target, options), *_contradictions(options, target))
    # In a thread of Away's own no line can be pointed at: the notes of what was published say it then.
    publisher.warned = tuple(
        note
        for note in publisher.notes
        if warn_at_user_line(note, IgnoredOptionWarning, or_outermost=False)
    )


def check_kind(base: Base, name: ImageName, target: Target) -> None:
    """Refuse a base image of containers where functions run as processes.

    One that stands on ``away/python`` says by a label what distributions this machine has. What lies in
    the gateway's own registry is left to the gateway to judge.

    Raises:
        PublishFailed: It is one.
    """
    if target.runs_processes and name.host and base.environment is None:
        raise _needs_containers(base.name)


def check_architecture(base: Base, options: Options, target: Target) -> None:
    """Refuse a base image for another processor than the gateway says it runs on.

    A platform that the user names is taken as it is: a cluster may have nodes of several kinds.

    Raises:
        PublishFailed: The two differ.
    """
    if options.platform or not (base.architecture and target.processor):
        return
    if base.architecture != target.processor:
        raise PublishFailed(
            f"the base image {printable(base.name)} is for {printable(base.architecture)} and the"
            f" gateway runs on {printable(target.processor)}; pass a base_image= for that processor,"
            f" or platform='linux/{printable(base.architecture)}' if the gateway has such nodes too",
            step="base image",
        )


def _contradictions(options: Options, target: Target) -> tuple[str, ...]:
    found = contradiction(options.timeout, options.env, target)
    return (found,) if found else ()


def _check_base_name(publisher: Publisher) -> None:
    """Tell images that stand for this machine's Python from real ones, by the name."""
    name, target = publisher.base_name, publisher.target
    stands_for_python = name.repository == PROCESS_BASE
    if stands_for_python and not target.runs_processes:
        raise _refused(
            f"the base image {name} stands for the Python of an embedded gateway that runs processes,"
            f" and {target.label} runs containers; pass base_image= a real image, such as"
            " 'docker.io/library/python:3.11-slim', or leave it out"
        )
    if target.runs_processes and name.host in HUB_HOSTS:
        raise _needs_containers(str(name))


def _needs_containers(name: str) -> PublishFailed:
    return _refused(
        f"the base image {printable(name)} is one of containers, and the embedded gateway runs processes"
        " of this machine; leave base_image= out, or start it with away up --provider docker"
    )


def _check_registry(publisher: Publisher) -> None:
    """Refuse a registry on this machine that the gateway looks for on its own."""
    target, host = publisher.target, publisher.registry_host
    told = publisher.options.inside_registry or publisher.connection.inside_registry
    if not host or told or target.is_embedded or not is_loopback(f"http://{host}"):
        return
    if target.family == "kubernetes":
        raise _refused(
            f"the registry {host} is this machine's own, which {target.label} cannot pull from: there"
            " the name means each node itself; pass registry= one that the cluster reaches, or"
            " inside_registry= its name inside the cluster"
        )
    if not is_loopback(publisher.connection.url):
        raise _refused(
            f"the registry {host} is this machine's own, which the gateway"
            f" {publisher.connection.url} cannot pull from; pass registry= one that it reaches, or"
            " inside_registry= the name by which it reaches this one"
        )


def _check_count(publisher: Publisher) -> Conversation[None]:
    """Refuse one function more than a Community Edition runs."""
    try:
        found = yield from publisher.connection.api.functions(
            fresh=True, namespace=publisher.plan.namespace, deadline=publisher.deadline
        )
    except AwayError:
        return  # some gateways cannot list without their metrics; deploying will tell
    if len(found) >= MOST_FUNCTIONS:
        raise NameRefused(
            f"{publisher.target.label} runs {MOST_FUNCTIONS} functions and has {len(found)}, so"
            f" {publisher.plan.name} would be one too many; remove one with away remove NAME, or"
            " replace one by its name",
            gateway=publisher.connection.url,
            function=publisher.plan.name,
        )


def _check_public(publisher: Publisher) -> Conversation[None]:
    """Refuse a registry that lets nobody pull without a password.

    The Community Edition of faas-netes asks for each image's manifest without credentials. A registry
    that asks everybody for a user and password (a Basic challenge at /v2/) cannot pass that. One that
    hands out tokens (a Bearer challenge, as Docker Hub and GitHub do) may: that depends on the image.
    """
    if publisher.options.inside_registry or publisher.connection.inside_registry:
        return  # it is asked by another name there, with other rules perhaps
    request = Request("GET", f"{publisher.registry_url}/v2/", {}, None, False)
    try:
        reply = yield from publisher.ask(request)
    except AwayError:
        return  # the builder says in its own words that it cannot be reached
    challenge = str(reply.headers.get("WWW-Authenticate") or "").lower()
    if reply.status == 401 and challenge.startswith("basic"):
        raise _refused(
            f"{publisher.target.label} runs public images alone, and the registry"
            f" {publisher.registry_host} asks everybody for a password; push to a registry that"
            " everybody can pull from"
        )


def _refused(message: str) -> PublishFailed:
    return PublishFailed(message, step="checks")
