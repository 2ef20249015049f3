"""From a deploy request to a function that answers, and back to what ran if it does not.

A failing deployment can destroy what ran: what was there is known beforehand and put back. This module
knows nothing of images and of how one came to the registry.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from away.connection.conversations import Deadline, Reply, Request, Wait
from away.exceptions import AwayError, PublishFailed
from away.names import printable
from away.publish.deployment import DEPLOYMENT_KEY, Plan, Standing, restoring, standing_of
from away.publish.readiness import (
    ENDS,
    REPLACED,
    Readiness,
    answered_digest,
    said,
    speaks,
    told_deployment,
)
from away.publish.refusals import (
    apart,
    in_words,
    in_words_of_publish,
    is_there_already,
    was_disturbed,
    where_logs_are,
)
from away.secret_texts import hidden

if TYPE_CHECKING:
    from collections.abc import Sequence

    from away.connection import FaasConnection, FunctionInfo
    from away.connection.conversations import Conversation
    from away.publish.progress import Progress
    from away.publish.target import Target

__all__ = ["Rollout", "explained", "listed"]

UNDO_SECONDS = 60.0
# A function that was restored answers by then, or it is said that it does not.
RESTORED_SECONDS = 15.0
# One that has no replica and is asked for is up by then, or it is dead.
AWAKE_SECONDS = 8.0
# What a call or another machine has started in the midst of an update answers by then, and what
# another machine has created.
DISTURBED_SECONDS, OTHERS_SECONDS = 2.0, 8.0
# An update that is disturbed is repeated; the last time what is in the way is removed first.
MOST_TURNS = 4
# A deployment whose answer was lost has ended by then: faasd gives what ran 30 s to end. What is as it
# was for some seconds was not begun with, or an image is being pulled.
SETTLING_SECONDS, STEADY_SECONDS = 40.0, 2.0
LOG_LINES = 30
# Without following, faasd's reader of logs races with its own end: lines may be missing, or all.
LOG_TRIES, LOG_PAUSE = 3, 0.3
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
        self.readiness = Readiness(plan, connection, target)

    def conversation(self, request: dict[str, Any]) -> Conversation[None]:
        """Deploy, and wait until the function itself answers."""
        deployment = str(request.get("envVars", {}).get(DEPLOYMENT_KEY, ""))
        self.readiness = Readiness(self.plan, self.connection, self.target, deployment)
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
            same = standing_of(self.plan, (yield from self.deployed())) is Standing.UNCHANGED
        except AwayError as error:
            why = in_words_of_publish(error, self.deadline, self.plan, self.target)
            yield from self.settled(request)
            raise (yield from self.undone("deploy", why, error.hint)) from error
        if accepted and same:
            return
        # Another machine may have been faster with the very same.
        known = is_there_already(reply) or was_disturbed(reply)
        if same and known and (yield from self.answers(request, OTHERS_SECONDS)):
            return
        if accepted:
            raise (yield from self.undone("deploy", SWALLOWED))
        reply, log = apart(reply)
        raise (yield from self.undone("deploy", *in_words(reply, self.plan, self.target), log=log))

    def settled(self, request: dict[str, Any]) -> Conversation[None]:
        """Wait for the end of a deployment whose answer was lost, for the gateway goes on with it."""
        limit, silent, steady_since = Deadline(SETTLING_SECONDS), 0, None
        while limit.remaining() > 0 and silent < 3:
            reply = (yield from self.readiness.look(limit)).reply
            if is_of(reply, request):
                return
            silent = 0 if reply.status else silent + 1
            now = limit.elapsed()
            if not speaks(reply) and reply.status != 404:
                steady_since = None
            elif steady_since is None:
                steady_since = now
            elif now - steady_since >= STEADY_SECONDS:
                return
            yield Wait(min(LOG_PAUSE, limit.remaining()))

    def may_be_swallowed(self, reply: Reply) -> bool:
        """Tell an update that faas-netes may have refused without a word.

        Its Community Edition answers 202 to an update that it makes, and an empty 200 to one that it
        logs as an error and forgets, such as one with an image that is not public (handlers/update.go).
        """
        target = self.target
        netes = target is not None and target.family == "kubernetes" and target.is_community
        return netes and self.before is not None and reply.status == 200

    def put_or_post(self, request: dict[str, Any]) -> Conversation[Reply]:
        """Replace what is there, or create what is not, for as long as calls come in between.

        A call that finds faasd's container stopped starts it, the old one or the new one that was just
        about to be started, and the update ends with an error, as it does where another machine
        updates the same function. What then runs tells whether it is what was asked for.
        """
        for turn in range(MOST_TURNS):
            if turn == MOST_TURNS - 1:
                yield from self.change_request("DELETE", self.removal())
            reply = yield from self.put_or_post_once(request)
            if not (was_disturbed(reply) or is_there_already(reply)):
                break
            if (yield from self.answers(request, DISTURBED_SECONDS)):
                return Reply(200, reply.headers, b"", reply.call_id)
        return reply

    def put_or_post_once(self, request: dict[str, Any]) -> Conversation[Reply]:
        """Replace what is there, or create what is not; clear away a dead record."""
        reply = yield from self.change_request("PUT", request)
        if reply.status == 404:
            reply = yield from self.change_request("POST", request)
            if reply.status == 400 and is_there_already(reply):
                # Someone else created it in between, or a dead record was left by a failure.
                reply = yield from self.change_request("PUT", request)
                if reply.status not in ACCEPTED:
                    yield from self.change_request("DELETE", self.removal())
                    reply = yield from self.change_request("POST", request)
        return reply

    def answers(self, request: dict[str, Any], seconds: float) -> Conversation[bool]:
        """Wait shortly for an answer of the very deployment that was asked for."""
        return self.readiness.comes(
            self.deadline.within(seconds),
            lambda reply: is_of(reply, request),
            lambda reply: reply.status == 200 and speaks(reply),
        )

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
        """Wait until the function itself answers as what was deployed."""
        alone = self.before is None
        problem = yield from self.readiness.problem(
            self.deadline, alone=alone, replaced=self.is_replaced
        )
        limit = self.plan.request.get("limits", {}).get("memory")
        if problem and limit and problem.startswith(ENDS):
            # The kernel ends what takes more, and no gateway says so.
            problem += f"; limits['memory']={limit!r} may be too little for it"
        if problem:
            raise (yield from self.undone("ready", problem))

    def awakes(self) -> Conversation[bool]:
        """Wait for a function of the plan that has no replica.

        Returns:
            Whether it came to life, as what it is said to be.
        """
        return self.readiness.comes(
            self.deadline.within(AWAKE_SECONDS),
            lambda reply: answered_digest(reply) == self.plan.digest,
            lambda reply: reply.status not in (0, 503) and speaks(reply),
        )

    # ------------------------------------------------------------ undo

    def undone(
        self, step: str, why: str, hint: str | None = None, log: Sequence[str] = ()
    ) -> Conversation[PublishFailed]:
        """Restore what ran and return the error that says what failed and what runs now."""
        # The caller's time may be over, and what ran is restored all the same.
        self.deadline = Deadline(UNDO_SECONDS)
        if step == "ready" and why != REPLACED:
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
        return explained(self.plan, self.connection.url, failed, now + self.kept, shown(log))

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

    def is_replaced(self) -> Conversation[bool]:
        """Tell whether what is listed is neither what was deployed here nor what was there before."""
        info = yield from self.deployed()
        if info is None or standing_of(self.plan, info) is Standing.UNCHANGED:
            return False
        return self.before is None or info.annotations != self.before.annotations

    def restored(self) -> Conversation[str]:
        """Deploy again what ran, unless it still does; remove what never came to life."""
        before = self.before
        if (yield from self.is_replaced()):
            return (
                "what another publish or tool deployed under that name meanwhile was left as it is"
            )
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
        if not digest or (
            yield from self.readiness.comes(
                Deadline(RESTORED_SECONDS), lambda reply: answered_digest(reply) == digest
            )
        ):
            return "what ran before was restored"
        return (
            f"what ran before was deployed again and has not answered within {RESTORED_SECONDS:g} s:"
            f" see {self.where_logs_are()}"
        )

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
        reply = (yield from self.readiness.look(self.deadline)).reply
        # One that an older version deployed does not say which deployment it is.
        told, kept = told_deployment(reply), restoring(before)
        theirs = not told or kept is None or is_of(reply, kept)
        return theirs and answered_digest(reply) == digest

    def removed(self) -> Conversation[str]:
        """Remove what was created and never came to life, so that the name is free again."""
        reply = yield from self.change_request("DELETE", self.removal())
        if was_disturbed(reply):
            yield Wait(LOG_PAUSE)
            reply = yield from self.change_request("DELETE", self.removal())
        # No call of it has to wait until it comes back.
        self.connection.catalogue.removed(self.plan.namespace, self.plan.name)
        if reply.status not in (*ACCEPTED, 404):
            return (
                f"what was deployed could not be removed (the gateway answered {said(reply)}): remove it"
                f" with away remove {self.plan.name}"
            )
        return "nothing runs under that name"

    def log_end(self) -> Conversation[list[str]]:
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
                return []
            found = [str(line.get("text", "")) for line in listed(reply.text)]
            if reply.status != 200 or found:
                break
        return found if reply.status == 200 else []

    # ------------------------------------------------------------ requests

    def ask(self, request: Request) -> Conversation[Reply]:
        """Send one request within what is left of the time."""
        return self.connection.conversation_request(request, self.deadline)

    def deployed(self) -> Conversation[FunctionInfo | None]:
        """Ask what is deployed under the name."""
        return self.connection.conversation_function(
            self.plan.name, self.deadline, namespace=self.plan.namespace
        )


def shown(log: Sequence[str]) -> str:
    """Return the end of a log as an error shows it."""
    return "\n".join(f"    {printable(hidden(line).rstrip())}" for line in log[-LOG_LINES:])


def is_of(reply: Reply, request: dict[str, Any]) -> bool:
    """Tell whether a function of that very deployment answers, whatever it says."""
    wanted = str(request.get("envVars", {}).get(DEPLOYMENT_KEY, ""))
    return bool(wanted) and speaks(reply) and told_deployment(reply) == wanted


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
