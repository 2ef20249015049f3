"""Whether a function is still what the list said of it: asked anew when a call shows that it is not.

What a list says may be hours old. So arguments that do not fit a signature from disk are judged by a
new list; an answer of another digest than was listed, and a call of a function that has gone, have the
list fetched again. All within the call's own conversation, so that it works sync and async alike.

:class:`away.calls.Watch` is what a call knows of this room.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

from away.connection.catalogue import KEPT_SECONDS
from away.exceptions import AwayError, FunctionNotFound
from away.hooks.freshness import age_text
from away.hooks.missing import MISSING_SECONDS
from away.protocol import DIGEST_HEADER

if TYPE_CHECKING:
    from away.calls import Caller
    from away.connection.catalogue import FunctionInfo
    from away.connection.conversations import Conversation, Deadline, Reply

__all__ = ["ListOwner", "Watching"]

# What a look at the list may cost a call that has its answer already.
LOOK_SECONDS = 3.0


class ListOwner(Protocol):
    """Who has the list that a function was found on."""

    def is_lately_asked(self) -> bool:
        """Tell whether the list is so young that asking again would be in vain."""

    def take_anew(
        self, name: str, deadline: Deadline, *, seconds: float = 0.0
    ) -> Conversation[FunctionInfo | None]:
        """Take on a new list, and return what it says of a function; None if it is gone.

        One that is no older than so many seconds does as well.
        """

    def take_recent(self) -> None:
        """Take on the list that the connection has fetched meanwhile, if it has."""


class Watching:
    """Watches over one function.

    Args:
        owner: Who has the list.
        name: The function's own name.
        at: When the list was fetched, where it was not just now.
        member: Its name in the module of that name, which was published whole.
    """

    def __init__(self, owner: ListOwner, name: str, at: float | None, *, member: str = "") -> None:
        self._owner = owner
        self._name = name
        self._member = member
        self._at = at
        self._digest = ""
        self._looked_at = float("-inf")
        self._caller: Caller | None = None
        self._binds: Any = None
        self.in_doubt = False

    def take(self, caller: Caller) -> None:
        """Watch over a function's calls; a caller has a watch of its own."""
        watch = Watching(self._owner, self._name, self._at, member=self._member)
        caller.watch = watch
        watch._begin(caller)

    def _begin(self, caller: Caller) -> None:
        self._caller = caller
        self._digest = caller.description.digest if caller.description else ""
        self._binds = caller.bind
        if self._at is not None and caller.bind is not None:
            self.in_doubt = True
            caller.bind = self._bound_if_it_fits

    def may_be_old(self) -> bool:
        """Tell whether arguments that do not fit are worth a look at what the function is now."""
        return self.in_doubt or not self._owner.is_lately_asked()

    def _bound_if_it_fits(self, /, *args: Any, **kwargs: Any) -> Any:
        """Bind arguments; those that do not fit are passed on, to be judged by :meth:`settled`."""
        try:
            return self._binds(*args, **kwargs)
        except TypeError:
            return args, kwargs

    def settled(
        self, caller: Caller, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Conversation[Any]:
        """Have a call; where the arguments do not fit, ask first what the function is now.

        Raises:
            TypeError: They do not fit what the gateway says now, or what it said last where it
                cannot be asked.
            FunctionNotFound: It is there no more.
        """
        misfit, binds = None, self._binds
        try:
            if binds is not None:
                binds(*args, **kwargs)
        except TypeError as error:
            misfit = error
        # Out of the handler: what the new list says is the error, and not one "during another".
        if misfit is not None:
            yield from self._judged_anew(caller, misfit)
            if caller.bind is not None:
                caller.bind(*args, **kwargs)
        return (yield from caller.undoubted(args, kwargs))

    def _judged_anew(self, caller: Caller, error: TypeError) -> Conversation[None]:
        connection = caller.connection
        deadline = connection.deadline(caller.timeout()).within(connection.connect_timeout)
        try:
            info = yield from self._owner.take_anew(self._name, deadline, seconds=MISSING_SECONDS)
        except AwayError as refusal:
            if self._at is None:
                error.add_note(f"the gateway could not be asked what it takes now: {refusal}")
            else:
                error.add_note(f"as its list of {self._when()} has it: {refusal}")
            raise error from None
        if info is None or not self._is_there(info):
            shown = f"{self._name}.{self._member}" if self._member else self._name
            missing = FunctionNotFound(
                f"{connection.url} has no function {shown!r} any more",
                gateway=connection.url,
                function=self._name,
            )
            self.gone(missing)
            raise missing
        self._believe(caller, info)

    def _is_there(self, info: FunctionInfo) -> bool:
        known = info.module
        return not self._member or (known is not None and self._member in known.functions)

    def _believe(self, caller: Caller, info: FunctionInfo) -> None:
        self._at, self.in_doubt = None, False
        known = info.module if self._member else None
        caller.learn(info.description if known is None else known.functions[self._member])
        self._digest = caller.description.digest if caller.description else ""
        self._binds = caller.bind

    def differs(self, reply: Reply) -> bool:
        """Tell whether something else answered than was listed; not more often than lists are kept."""
        digest = reply.headers.get(DIGEST_HEADER)
        if not digest or not self._digest:
            return False
        if digest == self._digest:
            self._trust()
            return False
        return time.monotonic() - self._looked_at >= KEPT_SECONDS

    def _trust(self) -> None:
        """Judge by what was listed from now on: what answers is what the list was about."""
        if self.in_doubt and self._caller is not None:
            self._at, self.in_doubt = None, False
            self._caller.bind = self._binds

    def renewed(self, caller: Caller, deadline: Deadline) -> Conversation[None]:
        """Fetch the list again; the answer in hand is worth more than a list that cannot be had."""
        self._looked_at = time.monotonic()
        if not deadline.remaining():
            return
        try:
            info = yield from self._owner.take_anew(self._name, deadline.within(LOOK_SECONDS))
        except AwayError:
            return
        if info is not None and self._is_there(info):
            self._believe(caller, info)

    def gone(self, error: FunctionNotFound) -> None:
        """Say of when the list was that had the function, and take on what the gateway has now."""
        if error.args and self._at is not None:
            error.args = (f"{error}; it was on its list of {self._when()}",)
        self._owner.take_recent()

    def _when(self) -> str:
        return age_text(time.time() - self._at) if self._at is not None else "just now"
