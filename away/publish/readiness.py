"""Whether a function has come to life: what it answers of itself, asked until that is told.

A gateway's 200 to a deployment and its count of replicas say nothing of it, so the function itself is
asked, which runs none of the user's code. This module deploys nothing and removes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from away.connection.conversations import Deadline, Reply, Request, Wait
from away.exceptions import AwayError, CallTimedOut
from away.names import printable, shortened
from away.secret_texts import hidden

if TYPE_CHECKING:
    from collections.abc import Callable

    from away.connection import FaasConnection
    from away.connection.conversations import Conversation
    from away.publish.deployment import Plan
    from away.publish.target import Target

__all__ = [
    "ENDS",
    "REPLACED",
    "Life",
    "Look",
    "Readiness",
    "answered_digest",
    "said",
    "speaks",
    "told_deployment",
]

# The first looks come quickly, for a function is up in a tenth of a second; then ever more rarely.
FIRST_PAUSE, PAUSE_GROWTH, LONGEST_PAUSE = 0.005, 1.4, 0.5
# faasd's gateway holds a call of a function that has ended for 100 s and more, and starts it meanwhile.
# Loading takes its time too, but there the runtime says at once that it is at it.
PATIENCE_SECONDS, STILL_LOADING_SECONDS = 2.5, 1.0
# How long the gateway may find nobody listening, without another answer in between. Our runtime
# listens before it loads the function, so this is but the start of Python: a tenth of a second here,
# some seconds on a small or busy machine. Pulling an image is a 404 or a 503 and not of this.
SILENT_SECONDS = 10.0
# While something else answers, the gateway is asked now and then whether that is what it has.
ASK_AGAIN_SECONDS = 1.0
# How often it may end while it is being loaded; once may be chance, such as a kernel out of memory.
MOST_DEATHS = 3
ENDS = "it ends as it starts"
REPLACED = "another deployment replaced it before it answered"
AWAY_PATH, READY_PATH = "/_/away", "/_/ready"
DIGEST_HEADER, PROTOCOL_HEADER = "X-Away-Digest", "X-Away-Protocol"
DEPLOYMENT_HEADER = "X-Away-Deployment"


class Look(NamedTuple):
    """What was seen of a function at once.

    Attributes:
        reply: Its answer or the gateway's; one of status 0 says why there was none.
        begun: The deadline's seconds at which it was asked.
        is_silent: Whether nobody listens there.
    """

    reply: Reply
    begun: float
    is_silent: bool


class Life:
    """What a row of looks says of whether a function will ever come to life.

    Args:
        deployment: What the new one answers with.
    """

    def __init__(self, deployment: str) -> None:
        self.deployment = deployment
        self.silent_since: float | None = None
        self.loading = False
        self.deaths = 0

    def hopeless(self, look: Look, now: float) -> str:
        """Return why it never will; an empty text while it may."""
        if not look.is_silent:
            self.silent_since = None
            self.loading = look.reply.status == 503 and self.is_mine(look.reply)
            return ""
        if self.loading:
            self.loading = False
            self.deaths += 1
        if self.deaths >= MOST_DEATHS:
            return f"{ENDS}: {self.deaths} times while it was being loaded"
        if self.silent_since is None:
            self.silent_since = look.begun
        if now - self.silent_since >= SILENT_SECONDS:
            return f"{ENDS}: for {SILENT_SECONDS:g} s nobody listened there"
        return ""

    def is_mine(self, reply: Reply) -> bool:
        """Tell whether the new one answers, whatever it says."""
        return speaks(reply) and told_deployment(reply) == self.deployment


class Readiness:
    """A function that is asked who it is.

    Args:
        plan: What was deployed.
        connection: Where.
        target: What the gateway is.
        deployment: What the new one answers with, beside its digest.
    """

    def __init__(
        self,
        plan: Plan,
        connection: FaasConnection,
        target: Target | None = None,
        deployment: str = "",
    ) -> None:
        self.plan = plan
        self.connection = connection
        self.deployment = deployment
        # It has pulled the image and stopped what was there before it says that it has deployed. So
        # whatever does not come of our runtime is of nobody: a 500 or 503, a call that is held, and a
        # 404 too, for where it knows no address of a container its gateway ends up at itself. Other
        # gateways say much of that while an image is pulled, which may take long.
        self.is_faasd = target is not None and target.family == "faasd"

    def is_new(self, reply: Reply) -> bool:
        """Tell whether it is what was deployed that answers."""
        same = answered_digest(reply) == self.plan.digest
        return same and told_deployment(reply) == self.deployment

    def problem(
        self,
        deadline: Deadline,
        *,
        alone: bool,
        replaced: Callable[[], Conversation[bool]],
    ) -> Conversation[str]:
        """Wait until the function itself answers with the new digest, from the new deployment.

        Where only the environment or the secrets changed, the one that is replaced answers with the
        same digest.

        Args:
            deadline: Until when.
            alone: Whether there was none before it.
            replaced: Asks the gateway whether something else was deployed meanwhile.

        Returns:
            What is wrong with it; an empty text once it answers.
        """
        pause, last, life = FIRST_PAUSE, "", Life(self.deployment)
        asked = deadline.elapsed()
        while deadline.remaining() > 0:
            look = yield from self.look(deadline)
            reply = look.reply
            if self.is_new(reply):
                return ""
            is_late = deadline.remaining() <= 0
            if reply.status or not (last and is_late):
                last = self.verdict(look, deadline)
            if refuses(reply, self.plan.digest, self.deployment, alone=alone):
                return last
            why = life.hopeless(look, deadline.elapsed())
            if why:
                return f"{why}; {last}"
            if answered_digest(reply) and deadline.elapsed() >= asked + ASK_AGAIN_SECONDS:
                asked = deadline.elapsed()
                if (yield from replaced()):
                    return REPLACED
            yield Wait(min(pause, deadline.remaining()))
            pause = min(pause * PAUSE_GROWTH, LONGEST_PAUSE)
        if "publish_timeout" not in last:
            last += f", and the publish_timeout of {deadline.seconds:g} s is over"
        return last

    def comes(
        self,
        limit: Deadline,
        wanted: Callable[[Reply], bool],
        unwanted: Callable[[Reply], bool] = lambda _: False,
    ) -> Conversation[bool]:
        """Wait for an answer of one kind; a call is what starts a function that has no replica.

        Args:
            limit: Until when.
            wanted: Tells the answer that is waited for.
            unwanted: Tells an answer after which it need not be waited for any longer.

        Returns:
            Whether it came.
        """
        pause = FIRST_PAUSE
        while limit.remaining() > 0:
            look = yield from self.look(limit)
            if wanted(look.reply):
                return True
            if unwanted(look.reply):
                return False
            yield Wait(min(pause, limit.remaining()))
            pause = min(pause * PAUSE_GROWTH, LONGEST_PAUSE)
        return False

    def look(self, deadline: Deadline) -> Conversation[Look]:
        """Ask the function who it is.

        Whatever happens to the connection is "not yet": gateways hang up on what is being replaced.
        """
        begun = deadline.elapsed()
        if not self.is_faasd:
            reply = as_reply((yield from self.asked(AWAY_PATH, deadline)))
            return Look(reply, begun, reply.status == 500 and reply.is_platforms)
        answer = yield from self.asked(AWAY_PATH, deadline.within(PATIENCE_SECONDS))
        if isinstance(answer, CallTimedOut) and deadline.remaining() > 0:
            # What is being loaded answers that page once it is loaded, and this one before.
            answer = yield from self.asked(READY_PATH, deadline.within(STILL_LOADING_SECONDS))
        reply = as_reply(answer)
        return Look(reply, begun, not speaks(reply))

    def asked(self, path: str, limit: Deadline) -> Conversation[Reply | AwayError]:
        """Ask for one of the runtime's own pages; what happened to the connection is an answer too."""
        place = quote(self.plan.name)
        if self.plan.namespace:
            place += f".{quote(self.plan.namespace)}"
        # The login goes along only where the connection says that functions ask for it.
        request = Request("GET", f"/function/{place}{path}", {}, None, True)
        try:
            # Never repeated below this: the pauses here are shorter than those of any call.
            return (
                yield from self.connection.conversation_request(request, limit, idempotent=False)
            )
        except AwayError as error:
            return error

    def verdict(self, look: Look, deadline: Deadline) -> str:
        """Say what an answer is, for the case that there is no better one."""
        reply = look.reply
        if answered_digest(reply):
            return "the function that was deployed before still answers"
        if reply.status:
            who = "function" if speaks(reply) else "gateway"
            return f"the {who} says {said(reply)}"
        if deadline.remaining() <= 0:
            return (
                f"the function did not answer within the publish_timeout of {deadline.seconds:g} s"
            )
        return "the function did not answer"


# ---------------------------------------------------------------- answers


def as_reply(said: Reply | AwayError) -> Reply:
    """Return an answer, or what happened in place of it as one of status 0."""
    return Reply(0, (), str(said).encode()) if isinstance(said, AwayError) else said


def said(reply: Reply) -> str:
    """Return what an answer says, for people: a runtime's own error by its message."""
    if speaks(reply) and reply.status >= 400:
        from away.protocol import read_answer

        try:
            error = read_answer(reply.body, allow_unsafe=False).value
        except AwayError:
            pass
        else:
            return printable(str(error)[:1000])
    text = printable(shortened(hidden(reply.text), 300))
    return f"{reply.status} {text}" if reply.status else text


def speaks(reply: Reply) -> bool:
    """Tell whether Away's runtime answers, whatever it says."""
    return bool(reply.headers.get(PROTOCOL_HEADER))


def answered_digest(reply: Reply) -> str:
    """Return the digest that a function of Away's answers with."""
    if reply.status != 200 or not speaks(reply):
        return ""
    return str(reply.headers.get(DIGEST_HEADER) or "")


def told_deployment(reply: Reply) -> str:
    """Return the deployment that a function of Away's says that it is."""
    return str(reply.headers.get(DEPLOYMENT_HEADER) or "")


def refuses(reply: Reply, digest: str, deployment: str, *, alone: bool) -> bool:
    """Tell whether the new function itself says that it will never run.

    A runtime that could not even read its payload names its deployment all the same. One that names
    neither is the new one only where there was none before.
    """
    if not speaks(reply) or reply.status < 400 or reply.status == 503:
        return False
    told = told_deployment(reply)
    if told:
        # What is replaced may be as dead as what replaces it, with the same digest.
        return told == deployment
    named = str(reply.headers.get(DIGEST_HEADER) or "")
    return named == digest or (alone and not named)
