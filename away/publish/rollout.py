"""From a deploy request to a function that answers, and back to what ran if it does not.

A failing deployment can destroy what ran: what was there is known beforehand and put back. This module
knows nothing of images and of how one came to the registry.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from away.connection.conversations import Deadline, Reply, Request, Wait
from away.exceptions import AwayError, PublishFailed
from away.names import printable
from away.publish.deployment import DEPLOYMENT_KEY, Plan, Standing, restoring, standing_of
from away.publish.refusals import in_words, where_logs_are
from away.secret_texts import hidden

if TYPE_CHECKING:
    from away.connection import FaasConnection, FunctionInfo
    from away.connection.conversations import Conversation
    from away.publish.progress import Progress
    from away.publish.target import Target

__all__ = ["Rollout", "explained", "listed"]

# The first looks come quickly, for a function is up in a tenth of a second; then ever more rarely.
FIRST_PAUSE, PAUSE_GROWTH, LONGEST_PAUSE = 0.005, 1.4, 0.5
UNDO_SECONDS = 60.0
# How long the gateway may find nobody listening, without another answer in between. Our runtime
# listens before it loads the function, so this is but the start of Python: a tenth of a second here,
# some seconds on a small or busy machine. Pulling an image is a 404 or a 503 and not of this.
SILENT_SECONDS = 10.0
# A function that was restored answers by then, or it is said that it does not.
RESTORED_SECONDS = 15.0
# One that has no replica and is asked for is up by then, or it is dead.
AWAKE_SECONDS = 8.0
LOG_LINES = 30
# Without following, faasd's reader of logs races with its own end: lines may be missing, or all.
LOG_TRIES, LOG_PAUSE = 3, 0.3
READY_PATH = "/_/away"
DIGEST_HEADER, PROTOCOL_HEADER = "X-Away-Digest", "X-Away-Protocol"
DEPLOYMENT_HEADER = "X-Away-Deployment"
ACCEPTED = (200, 201, 202)
SWALLOWED = (
    "the gateway took the update and did nothing, as the Community Edition of faas-netes does with an"
    " image that is not public; push to a registry that everybody can pull from, and read the log of"
    " its gateway pod for other reasons"
)


class Rollout:
    """The deployment of one plan.

    Args:
        plan: What is deployed.
        connection: Where.
        before: What ran there under the name, if anything did.
        deadline: Until when it has to answer; undoing has a time of its own.
        progress: Is told of the steps.
        target: What the gateway is.
        kept: What was created before and stays, as the end of a sentence.
    """

    def __init__(
        self,
        plan: Plan,
        connection: FaasConnection,
        before: FunctionInfo | None,
        deadline: Deadline,
        progress: Progress,
        *,
        target: Target | None = None,
        kept: str = "",
    ) -> None:
        self.plan = plan
        self.connection = connection
        self.before = before
        self.deadline = deadline
        self.progress = progress
        self.target = target
        self.kept = kept
        self.deployment = ""

    def conversation(self, request: dict[str, Any]) -> Conversation[None]:
        """Deploy, and wait until the function itself answers."""
        self.deployment = str(request.get("envVars", {}).get(DEPLOYMENT_KEY, ""))
        # faasd loses what is sent while it replaces a container; no other gateway does.
        hold = self.target is not None and self.target.family == "faasd"
        with self.connection.expecting_update(self.plan.name, self.plan.namespace, hold=hold):
            with self.progress.step("deploy"):
                yield from self.deploy(request)
            self.connection.catalogue.drop()
            with self.progress.step("ready"):
                yield from self.await_ready()

    # ------------------------------------------------------------ deployment

    def deploy(self, request: dict[str, Any]) -> Conversation[None]:
        """Deploy as faas-cli does: PUT, and POST where there is nothing to replace."""
        try:
            reply = yield from self.put_or_post(request)
            accepted = reply.status in ACCEPTED
            if accepted and not self.may_be_swallowed(reply):
                return
            now = yield from self.deployed()
        except AwayError as error:
            raise (yield from self.undone("deploy", str(error), error.hint)) from error
        same = standing_of(self.plan, now) is Standing.UNCHANGED
        # Another machine may have been faster with the very same.
        if same and (accepted or (yield from self.awakes())):
            return
        if accepted:
            raise (yield from self.undone("deploy", SWALLOWED))
        raise (yield from self.undone("deploy", *in_words(reply, self.plan, self.target)))

    def may_be_swallowed(self, reply: Reply) -> bool:
        """Tell an update that faas-netes may have refused without a word.

        Its Community Edition answers 202 to an update that it makes, and an empty 200 to one that it
        logs as an error and forgets, such as one with an image that is not public (handlers/update.go).
        """
        target = self.target
        netes = target is not None and target.family == "kubernetes" and target.is_community
        return netes and self.before is not None and reply.status == 200

    def put_or_post(self, request: dict[str, Any]) -> Conversation[Reply]:
        """Replace what is there, or create what is not; clear away a dead record."""
        reply = yield from self.change_request("PUT", request)
        if reply.status == 404:
            reply = yield from self.change_request("POST", request)
            if reply.status == 400 and "already exists" in reply.text:
                # Someone else created it in between, or a dead record was left by a failure.
                reply = yield from self.change_request("PUT", request)
                if reply.status not in ACCEPTED:
                    yield from self.change_request("DELETE", self.removal())
                    reply = yield from self.change_request("POST", request)
        return reply

    def change_request(self, method: str, document: dict[str, Any]) -> Conversation[Reply]:
        """Send a deploy request, or a removal."""
        headers = {"Content-Type": "application/json"}
        body = json.dumps(document).encode()
        return self.ask(Request(method, "/system/functions", headers, body, True))

    def removal(self) -> dict[str, Any]:
        """Return the request that removes the function."""
        namespace = {"namespace": self.plan.namespace} if self.plan.namespace else {}
        return {"functionName": self.plan.name, **namespace}

    def await_ready(self) -> Conversation[None]:
        """Wait until the function itself answers with the new digest, from the new deployment.

        A deployment's 200 and its replicas say nothing of that, and where only the environment or the
        secrets changed, the function that is replaced answers with the same digest.
        """
        pause, last = FIRST_PAUSE, ""
        silent_since: float | None = None
        while self.deadline.remaining() > 0:
            reply = yield from self.probe()
            if self.is_new(reply):
                return
            if reply.status or not (last and self.is_late()):
                last = self.verdict(reply)
            if refuses(reply, self.plan.digest, self.deployment, alone=self.before is None):
                break
            now = self.deadline.elapsed()
            if not (reply.status == 500 and reply.is_platforms):
                silent_since = None
            elif silent_since is None:
                silent_since = now
            elif now - silent_since >= SILENT_SECONDS:
                last += f", and nothing else for {SILENT_SECONDS:g} s: it ends as it starts"
                break
            yield Wait(min(pause, self.deadline.remaining()))
            pause = min(pause * PAUSE_GROWTH, LONGEST_PAUSE)
        else:
            if "timeout" not in last:
                last += f", and the publish_timeout of {self.deadline.seconds:g} s is over"
        raise (yield from self.undone("ready", last))

    def is_new(self, reply: Reply) -> bool:
        """Tell whether it is what was deployed that answers."""
        deployment = str(reply.headers.get(DEPLOYMENT_HEADER) or "")
        return answered_digest(reply) == self.plan.digest and deployment == self.deployment

    def awakes(self) -> Conversation[bool]:
        """Wait for a function of the plan that has no replica; a call is what starts it.

        Returns:
            Whether it came to life, as what it is said to be.
        """
        limit, pause = (
            Deadline(min(AWAKE_SECONDS, max(self.deadline.remaining(), 0.1))),
            FIRST_PAUSE,
        )
        while limit.remaining() > 0:
            reply = yield from self.probe()
            if answered_digest(reply) == self.plan.digest:
                return True
            if reply.headers.get(PROTOCOL_HEADER) and reply.status not in (0, 503):
                return False
            yield Wait(min(pause, limit.remaining()))
            pause = min(pause * PAUSE_GROWTH, LONGEST_PAUSE)
        return False

    def verdict(self, reply: Reply) -> str:
        """Say what a probe's answer is, for the case that there is no better one."""
        if answered_digest(reply):
            return "the function that was deployed before still answers"
        if reply.status:
            who = "function" if reply.headers.get(PROTOCOL_HEADER) else "gateway"
            return f"the {who} says {said(reply)}"
        seconds = (
            f" within the publish_timeout of {self.deadline.seconds:g} s" if self.is_late() else ""
        )
        return f"the function did not answer{seconds}"

    def is_late(self) -> bool:
        """Tell whether the time that the caller gave is over."""
        return self.deadline.remaining() <= 0

    def probe(self) -> Conversation[Reply]:
        """Ask the function who it is, which runs none of the user's code.

        Whatever happens to the connection is "not yet": gateways hang up on what is being replaced.
        """
        place = quote(self.plan.name)
        if self.plan.namespace:
            place += f".{quote(self.plan.namespace)}"
        # The login goes along only where the connection says that functions ask for it.
        request = Request("GET", f"/function/{place}{READY_PATH}", {}, None, True)
        try:
            # Never repeated below this: the pauses here are shorter than those of any call.
            return (
                yield from self.connection.conversation_request(
                    request, self.deadline, idempotent=False
                )
            )
        except AwayError as error:
            return Reply(0, (), str(error).encode())

    # ------------------------------------------------------------ undo

    def undone(self, step: str, why: str, hint: str | None = None) -> Conversation[PublishFailed]:
        """Restore what ran and return the error that says what failed and what runs now."""
        # The caller's time may be over, and what ran is restored all the same.
        self.deadline = Deadline(UNDO_SECONDS)
        log = ""
        if step == "ready":
            why += yield from self.replicas()
            log = yield from self.log_end()
            if not log:
                why += f"; the gateway shows no log of it: see {self.where_logs_are()}"
        try:
            now = yield from self.restored()
        except AwayError as error:
            now = f"what runs now is not known, since restoring failed as well: {error}"
        self.connection.catalogue.drop()
        failed = PublishFailed(why, step=step, hint=hint)
        return explained(self.plan, self.connection.url, failed, now + self.kept, log)

    def where_logs_are(self) -> str:
        """Say where else the function's log may be."""
        return where_logs_are(self.plan, self.target)

    def replicas(self) -> Conversation[str]:
        """Say how many replicas the gateway counts as available, as the end of a sentence."""
        try:
            info = yield from self.deployed()
        except AwayError:
            return ""
        if info is None or info.available_replicas is None:
            return ""
        return (
            f"; the gateway counts {info.available_replicas} of {info.replicas} replicas available"
        )

    def restored(self) -> Conversation[str]:
        """Deploy again what ran, unless it still does; remove what never came to life."""
        before = self.before
        if before is None:
            return (yield from self.removed())
        if (yield from self.still_runs(before)):
            return "what ran before still runs"
        request = restoring(before)
        if request is None:
            return "what ran before kept no deploy request to restore it from: deploy it again"
        reply = yield from self.put_or_post(request)
        if reply.status not in ACCEPTED:
            words, _ = in_words(reply, self.plan, self.target)
            return (
                f"what ran before could not be restored ({words}), so nothing may run under that name:"
                " publish again"
            )
        digest = before.description.digest if before.description else ""
        if not digest or (yield from self.answers_with(digest)):
            return "what ran before was restored"
        return (
            f"what ran before was deployed again and has not answered within {RESTORED_SECONDS:g} s:"
            f" see {self.where_logs_are()}"
        )

    def answers_with(self, digest: str) -> Conversation[bool]:
        """Wait for what was restored to answer."""
        limit, pause = Deadline(RESTORED_SECONDS), FIRST_PAUSE
        while limit.remaining() > 0:
            reply = yield from self.probe()
            if answered_digest(reply) == digest:
                return True
            yield Wait(min(pause, limit.remaining()))
            pause = min(pause * PAUSE_GROWTH, LONGEST_PAUSE)
        return False

    def still_runs(self, before: FunctionInfo) -> Conversation[bool]:
        """Tell whether a failing update left what ran: its record, and the function itself."""
        info = yield from self.deployed()
        if info is None or (info.created_at, info.image) != (before.created_at, before.image):
            return False
        # Kubernetes' record keeps its date, and its image where only the environment changed.
        if info.annotations != before.annotations:
            return False
        digest = before.description.digest if before.description else ""
        if not digest:
            return True
        reply = yield from self.probe()
        return answered_digest(reply) == digest

    def removed(self) -> Conversation[str]:
        """Remove what was created and never came to life, so that the name is free again."""
        info = yield from self.deployed()
        if info is not None and standing_of(self.plan, info) in (Standing.OTHER, Standing.FOREIGN):
            return "another function runs under that name"
        reply = yield from self.change_request("DELETE", self.removal())
        # No call of it has to wait until it comes back.
        self.connection.catalogue.removed(self.plan.namespace, self.plan.name)
        if reply.status not in (*ACCEPTED, 404):
            return (
                f"what was deployed could not be removed (the gateway answered {said(reply)}): remove it"
                f" with away remove {self.plan.name}"
            )
        return "nothing runs under that name"

    def log_end(self) -> Conversation[str]:
        """Return the end of the function's log; nothing where the gateway keeps none."""
        query = {"name": self.plan.name, "tail": str(LOG_LINES)}
        if self.plan.namespace:
            query["namespace"] = self.plan.namespace
        path = f"/system/logs?{urlencode(query)}"
        for turn in range(LOG_TRIES):
            if turn:
                yield Wait(LOG_PAUSE)
            try:
                reply = yield from self.ask(Request("GET", path, {}, None, True))
            except AwayError:
                return ""
            found = [str(line.get("text", "")) for line in listed(reply.text)]
            if reply.status != 200 or found:
                break
        lines = [printable(hidden(line).rstrip()) for line in found[-LOG_LINES:]]
        return "\n".join(f"    {line}" for line in lines if reply.status == 200)

    # ------------------------------------------------------------ requests

    def ask(self, request: Request) -> Conversation[Reply]:
        """Send one request within what is left of the time."""
        return self.connection.conversation_request(request, self.deadline)

    def deployed(self) -> Conversation[FunctionInfo | None]:
        """Ask what is deployed under the name."""
        return self.connection.conversation_function(
            self.plan.name, self.deadline, namespace=self.plan.namespace
        )


def explained(
    plan: Plan, gateway: str, error: PublishFailed, now: str, log: str = ""
) -> PublishFailed:
    """Return an error with the function, the gateway, and what runs now."""
    text = f"publishing {plan.name} on {gateway} failed ({error.step}): {error}; {now}"
    if log:
        text += f"; its log ends with\n{log}"
    return PublishFailed(
        text,
        step=error.step,
        gateway=gateway,
        function=plan.name,
        status=error.status,
        call_id=error.call_id,
        hint=error.hint,
    )


def said(reply: Reply) -> str:
    """Return what an answer says, for people: a runtime's own error by its message."""
    if reply.headers.get(PROTOCOL_HEADER) and reply.status >= 400:
        from away.protocol import read_answer

        try:
            error = read_answer(reply.body, allow_unsafe=False).value
        except AwayError:
            pass
        else:
            return printable(str(error)[:1000])
    text = printable(hidden(reply.text)[:300].strip())
    return f"{reply.status} {text}" if reply.status else text


def answered_digest(reply: Reply) -> str:
    """Return the digest that a function of Away's answers with."""
    if reply.status != 200 or not reply.headers.get(PROTOCOL_HEADER):
        return ""
    return str(reply.headers.get(DIGEST_HEADER) or "")


def refuses(reply: Reply, digest: str, deployment: str, *, alone: bool) -> bool:
    """Tell whether the new function itself says that it will never run.

    A runtime that could not even read its payload names its deployment all the same. One that names
    neither is the new one only where there was none before.
    """
    if not reply.headers.get(PROTOCOL_HEADER) or reply.status < 400 or reply.status == 503:
        return False
    told = str(reply.headers.get(DEPLOYMENT_HEADER) or "")
    if told:
        # What is replaced may be as dead as what replaces it, with the same digest.
        return told == deployment
    named = str(reply.headers.get(DIGEST_HEADER) or "")
    return named == digest or (alone and not named)


def listed(text: str) -> list[dict[str, Any]]:
    """Read objects from a JSON array or from one a line; what is none is passed over."""
    found: list[dict[str, Any]] = []
    for piece in [text] if text.lstrip().startswith("[") else text.splitlines():
        try:
            value = json.loads(piece)
        except (ValueError, RecursionError):
            continue
        found += [
            each
            for each in (value if isinstance(value, list) else [value])
            if isinstance(each, dict)
        ]
    return found
