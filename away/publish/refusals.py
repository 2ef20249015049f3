"""What a gateway answers to a deployment that it refuses, in words that say what to do.

The patterns are texts of faasd (measured with 0.19.0; the same in the source of 0.19.7), of containerd
as faasd passes it on, and of faas-netes. What is not known stays as the gateway said it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from away.connection.conversations import Reply
from away.exceptions import CallTimedOut
from away.names import printable, shortened
from away.secret_texts import hidden

if TYPE_CHECKING:
    from away.connection.conversations import Deadline
    from away.exceptions import AwayError
    from away.publish.deployment import Plan
    from away.publish.target import Target

__all__ = [
    "apart",
    "in_words",
    "in_words_of_publish",
    "is_there_already",
    "was_disturbed",
    "where_logs_are",
]

_SHOWN = 300


class _Refusal(NamedTuple):
    """A pattern in what a gateway answers, what it means, and what to do."""

    pattern: re.Pattern[str]
    meaning: str
    hint: str


def _refusal(pattern: str, meaning: str, hint: str) -> _Refusal:
    return _Refusal(re.compile(pattern, re.IGNORECASE), meaning, hint)


# {host} is the registry's as the provider asks for it, {image} the image's name.
# The first that fits counts: what says why a pull failed stands before "not found".
PULL = (
    _refusal(
        r"server gave HTTP response to HTTPS client",
        "the provider asks the registry {host} by https, and it speaks http",
        "let the registry speak https; faasd asks every registry by https, this machine's own too, once"
        " it has a docker config.json of its own (/var/lib/faasd/.docker/config.json)",
    ),
    _refusal(
        r"x509|certificate|tls: ",
        "the provider does not trust the certificate of the registry {host}",
        "give the registry a certificate that the provider's machine trusts",
    ),
    _refusal(
        r"no such host|connection refused|i/o timeout|network is unreachable|no route to host|dial tcp"
        r"|deadline exceeded",
        "the provider cannot reach the registry {host} from where it runs",
        "pass inside_registry= the name by which it does, or registry= one that it reaches",
    ),
    _refusal(
        r"unauthorized|authentication required|authorization failed|denied|forbidden|40[13]\b"
        r"|insufficient_scope|no basic auth|anonymous token",
        "the provider may not pull {image}: its registry wants a login that the provider does not have",
        "give it one (A LOGIN), or make the image public",
    ),
    _refusal(
        r"no match for platform|exec format error",
        "the image {image} is for another processor than the provider's",
        "pass platform='linux/amd64' or the like",
    ),
    _refusal(
        r"not found|manifest unknown|name unknown|does not exist|404",
        "the provider finds no image {image}",
        "pass inside_registry= if it knows the registry by another name",
    ),
)
_PULLING = re.compile(r"unable to pull image|cannot pull|failed to resolve|failed to pull|pulling")
OTHERS = (
    _refusal(
        r"EULA allows \d+/\d+ function|unable to create function, maximum: \d+|only permits: \d+",
        "the Community Edition runs no further function",
        "remove one with away remove NAME",
    ),
    _refusal(
        r"EULA allows \d+/\d+ namespace",
        "the Community Edition has one namespace, and deploys nothing while there are more",
        "remove the others",
    ),
    _refusal(
        r"namespace must be|namespace not valid|not allowed",
        "the gateway takes no function in the namespace {namespace}",
        "NAMESPACE",
    ),
    _refusal(
        r"only allows public images",
        "the Community Edition runs public images alone, and asked for {image} without a login",
        "make it public, or push to a registry that everybody can pull from",
    ),
    _refusal(
        r"unable to find secret|unable to fetch secrets|secrets? .* not found",
        "the gateway has no such secret any more",
        "create it with connection.create_secret(…)",
    ),
    _refusal(
        r"executable file not found|exec format error|exec: .*no such file or directory",
        "the image has no program that the provider could start: no python3, or one for another"
        " processor",
        "pass a base_image= with Python for the gateway's processor",
    ),
    _refusal(
        r"it ended before it listened|it does not listen on",
        "the function was started and did not come up",
        "correct what it does at its start, or env=",
    ),
    _refusal(
        r"unable to start task|failed to create shim|OCI runtime",
        "the provider could not start the container",
        "raise limits['memory'], or correct env=",
    ),
    _refusal(
        r"already exists",
        "a dead record of the function is in the way, which the gateway does not let go of",
        "remove it with away remove NAME",
    ),
    _refusal(
        r"cannot delete running task|error killing task",
        "the function that ran did not end in time",
        "let it end when it is sent SIGTERM",
    ),
)


def in_words(reply: Reply, plan: Plan, target: Target | None) -> tuple[str, str | None]:
    """Say what a refusal means and what to do.

    Args:
        reply: The gateway's answer to a deployment.
        plan: What was to be deployed.
        target: What the gateway is.

    Returns:
        The sentence, with the gateway's own words at its end, and the hint that is in it.
    """
    said = printable(shortened(hidden(reply.text), _SHOWN))
    own = f"the gateway answered {reply.status}" + (f" {said}" if said else "")
    image = str(plan.request.get("image", "")).partition("@")[0]
    table = PULL if _PULLING.search(reply.text) else OTHERS
    for each in table:
        if each.pattern.search(reply.text):
            meaning = each.meaning.format(
                host=image.partition("/")[0], image=image, namespace=namespace_of(plan)
            )
            hint = each.hint.replace("NAMESPACE", way_out_of_namespace(target))
            hint = hint.replace("NAME", plan.name).replace(
                "A LOGIN", login_of(target, image.partition("/")[0])
            )
            return f"{meaning}; {hint}; {own}", hint
    if reply.status == 502 and not said:
        hint = "see that its provider runs"
        who = target.label if target is not None else "the gateway"
        return f"{own}, as {who} does while its provider is down; {hint}", hint
    return own, None


# How the embedded gateway ends what it says of an update that does not come up.
_GOES_ON = "; what ran before goes on"
_LOG = "; its log ends with\n"


def apart(reply: Reply) -> tuple[Reply, list[str]]:
    """Take the lines of a function that did not come up from what a gateway says of it.

    That what ran before goes on, which it says too, is left out: that is looked at.

    Returns:
        The answer without them, and the lines; none from any other answer.
    """
    told, _, log = reply.text.partition(_LOG)
    if _GOES_ON not in told:
        return reply, []
    body = told.replace(_GOES_ON, "").encode()
    return Reply(reply.status, reply.headers, body, reply.call_id), log.splitlines()


def login_of(target: Target | None, host: str) -> str:
    """Say how the provider of a gateway is given a login for a registry."""
    ways = {
        "docker": f"docker login {host}, as the user whom the gateway runs as: it reads Docker's"
        " config.json",
        "faasd": "faas-cli registry-login, for faasd",
        "kubernetes": "imagePullSecrets, for Kubernetes",
    }
    both = "faas-cli registry-login for faasd, imagePullSecrets for Kubernetes"
    return ways.get(target.family if target is not None else "unknown", both)


def is_there_already(reply: Reply) -> bool:
    """Tell a name that was taken in between, or by a dead record, from other refusals."""
    return "already exists" in reply.text and not was_disturbed(reply)


# What faasd says where a call started the container that an update had stopped, or another update of
# the same function was under way: its steps are taken one by one, and nothing guards them.
_DISTURBED = re.compile(
    r"unable to start task: .*already exists"
    r"|error deleting container .*cannot delete running task"
    r"|(task|container) \S+ (in namespace \S+ )?not found"
    r"|snapshot \S+ does not exist"
    r"|failed to start shim|failed to create shim task: (open|mkdir|rename) /run/"
    r"|cannot start a running process"
    r"|Failed to setup network for task .*no such file or directory",
    re.IGNORECASE | re.DOTALL,
)


def was_disturbed(reply: Reply) -> bool:
    """Tell whether faasd's deployment failed since a call or another deployment came between."""
    return reply.status in (400, 500) and bool(_DISTURBED.search(reply.text))


def in_words_of_publish(
    error: AwayError, deadline: Deadline, plan: Plan, target: Target | None
) -> str:
    """Say what went wrong with a request; a limit of time by the option that set it."""
    if isinstance(error, CallTimedOut) and deadline.remaining() <= 0:
        asked = str(error).partition(" had ")[0]
        return (
            f"{asked} was not answered within the publish_timeout of {deadline.seconds:g} s; raise"
            " publish_timeout="
        )
    if "namespace not valid" in str(error):
        who = target.label if target is not None else "the gateway"
        return f"{who} has no namespace {namespace_of(plan)} for functions; {way_out_of_namespace(target)}"
    return str(error)


def namespace_of(plan: Plan) -> str:
    """Return the namespace that a plan is for, as it is shown."""
    return repr(printable(plan.namespace or "openfaas-fn"))


def way_out_of_namespace(target: Target | None) -> str:
    """Say what to do about a namespace that a gateway does not have.

    A Community Edition with a second namespace deploys nothing any more, in the first one neither; a
    provider that is free of limits may be updated to one. An embedded gateway has one for good.
    """
    single = target is not None and (
        target.is_embedded or target.is_community or target.served_by.startswith("openfaas-ce")
    )
    return "leave namespace= out" if single else "leave namespace= out, or create it first"


def where_logs_are(plan: Plan, target: Target | None) -> str:
    """Say where a log may be found that the gateway does not show."""
    space = plan.namespace or "openfaas-fn"
    if target is not None and target.family == "kubernetes":
        return (
            f"kubectl describe pod -n {space} -l faas_function={plan.name}, which tells of images that"
            f" cannot be pulled, and kubectl logs -n {space} deploy/{plan.name}"
        )
    if target is not None and target.family == "faasd":
        return f"journalctl -t {space}:{plan.name} on the gateway's machine"
    return f"away logs {plan.name}, and the provider's own log"
