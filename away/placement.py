"""Placement: which calls of a remote function run here, because that is better or the only way.

A function that has a local twin (a mirror, or a mount with ``local=``) decides at each call: by
``offload`` whether the call is worth the way, and by ``fallback`` what becomes of one that could not
reach the gateway. Functions without a twin know nothing of this room. It takes conversations as they
are, and reads from what they met whether anything can have run.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import away.signatures as signatures
from away.connection.conversations import (
    ConnectFailed,
    ConnectTimedOut,
    Reply,
    Send,
    TlsFailed,
    TransportError,
    Wait,
    event_of,
)
from away.exceptions import AwayError, ConfigError, FallbackWarning
from away.load_limits import CallsRunning, LoadAverage, calls_running, load_average
from away.user_lines import warn_at_user_line

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from inspect import Signature

    from away.connection.conversations import Conversation
    from away.functions import RemoteFunction

__all__ = [
    "CallsRunning",
    "Counts",
    "LoadAverage",
    "Placement",
    "calls_running",
    "check_offload",
    "load_average",
    "nothing_ran",
]

# A call that falls back says so once a minute; the others of that minute are in the counts.
WARNED_SECONDS = 60.0
# A gateway that was not reached is still tried by each call, but for so long none waits to try again.
IMPATIENT_SECONDS = 30.0
_DONE: Any = object()


class Counts(NamedTuple):
    """How many calls of a function went where; each call counts once.

    Attributes:
        local: Those that ``offload`` let run here.
        remote: Those that went to the gateway, whatever came of them.
        fell_back: Those that could not reach the gateway and ran here.
    """

    local: int = 0
    remote: int = 0
    fell_back: int = 0


def check_offload(offload: Offload | None) -> None:
    """Refuse what cannot say where calls run.

    Raises:
        ConfigError: It is no function, number of calls or limit.
    """
    _taken_apart(offload)


def nothing_ran(outcome: Reply | TransportError, *, repeatable: bool = False) -> bool:
    """Tell whether a call that ended so cannot have run, or may run again.

    Args:
        outcome: The last thing that its conversation met.
        repeatable: Whether the call is idempotent, so that all counts that is tried again then.
    """
    if isinstance(outcome, ConnectFailed | ConnectTimedOut | TlsFailed):
        return True
    event = event_of(outcome)
    if event in ("unknown", "busy"):
        return True
    if isinstance(outcome, Reply):
        none_there = outcome.body.startswith(b"No endpoints available")
        if outcome.status == 503 and outcome.is_platforms and none_there:
            return True  # it has no replica that could have run it
        if outcome.status == 500 and outcome.found_no_function:
            return True  # "unable to scale function": none was started
    return repeatable and event is not None


class _Unreached(NamedTuple):
    """What a conversation returns in place of a value where nothing ran."""

    why: str


def _attempt(
    conversation: Conversation[Any], *, repeatable: bool, known: str | None
) -> Conversation[Any]:
    """Have a call's conversation; return an ``_Unreached`` where the gateway was not reached.

    What a function raises is told from what the way raises by what was met last, not by the type:
    a function may itself have met a gateway that could not be reached.

    Args:
        conversation: The call's, not begun.
        repeatable: Whether the call is idempotent.
        known: Why the gateway was not reached a moment ago: then nobody waits to try again.
    """
    outcome: Reply | TransportError | None = None
    was_called = False
    try:
        step = next(conversation)
        while True:
            is_call = isinstance(step, Send) and step.request.path.startswith("/function/")
            was_called = was_called or is_call
            missed = outcome is not None and nothing_ran(outcome, repeatable=repeatable)
            if known is not None and missed and isinstance(step, Wait):
                return _Unreached(known)
            # What the gateway's own API is asked after a call is for the words of an error.
            counts = is_call or not was_called
            try:
                reply = yield step
            except TransportError as error:
                outcome = error if counts else outcome
                step = conversation.throw(error)
            else:
                outcome = (reply if counts else None) or outcome
                step = conversation.send(reply)
    except StopIteration as stop:
        return stop.value
    except AwayError as error:
        if outcome is None or not nothing_ran(outcome, repeatable=repeatable):
            raise
        return _Unreached(str(error))
    finally:
        conversation.close()


class Placement:
    """Where the calls of one function run; the only owner of its counts.

    Args:
        local: The function that stands behind the remote one.
        kind: How the remote function is called.
        fallback: Whether a call that could not reach the gateway runs here. Each call tries it all the
            same, which may take its ``connect_timeout``; only what is tried again is left out for
            half a minute after one that was not reached.
        offload: What sends a call to the gateway: a predicate that is given the call's arguments, the
            number of calls from which on they go there, :func:`calls_running` or :func:`load_average`.
            Without it all calls go there.
        clock: Counts seconds.

    Raises:
        ConfigError: The local function is called otherwise than the remote one, or ``offload`` is
            none of these.
    """

    def __init__(
        self,
        local: Callable[..., Any],
        *,
        kind: signatures.Kind,
        fallback: bool = False,
        offload: Offload | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.local = local
        self.local_kind = signatures.kind_of(local)
        self.fallback = fallback
        self._limit, self._predicate = _taken_apart(offload)
        self._clock = clock
        self._lock = threading.Lock()  # guards what follows
        self._counts = dict.fromkeys(Counts._fields, 0)
        self._warned_at = float("-inf")
        # Why the gateway was not reached the last time, and until when it is taken as still away.
        self._unreached = ("", float("-inf"))
        if kind != self.local_kind and kind != signatures.async_kind(self.local_kind):
            raise ConfigError(
                f"the local function of this name is {_article(self.local_kind)} function and the one"
                f" at the gateway {_article(kind)} function, so that neither stands for the other;"
                " publish the local one again"
            )

    def check_predicate(self) -> None:
        """Refuse a predicate that is for this function alone and takes no call of it.

        Raises:
            ConfigError: The numbers of their parameters show it; else the call does.
        """
        if self._predicate is not None:
            _check_predicate(self._predicate, self.local)

    def renew(self, local: Callable[..., Any]) -> None:
        """Let another local function stand behind the remote one, which has become that one.

        A predicate that takes no call of it is let go of, and all calls go to the gateway.
        """
        self.local, self.local_kind = local, signatures.kind_of(local)
        try:
            self.check_predicate()
        except ConfigError:
            self._predicate = None

    @property
    def counts(self) -> Counts:
        """How many calls went where until now."""
        with self._lock:
            return Counts(**self._counts)

    def call(
        self,
        function: RemoteFunction[Any, Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        kind: signatures.Kind,
    ) -> Any:
        """Make one call; where it runs is decided when it begins to.

        Args:
            function: The remote function.
            args: The call's positional arguments.
            kwargs: Its keywords.
            kind: How it is called here: a coroutine is to be made for ``async``, and so on.

        Raises:
            TypeError: The arguments do not fit the signature.
        """
        call = _Call(function, function.conversation(args, kwargs), args, kwargs)
        if kind == "sync":
            return self._call_sync(call)
        if kind == "generator":
            return self._items(call)
        if kind == "async generator":
            return self._items_async(call)
        awaited: Any = self._call_async(call)
        awaited.__qualname__ = function.__qualname__
        return awaited

    def there(self, conversation: Conversation[Any]) -> Conversation[Any]:
        """Have a call that goes to the gateway whatever this would choose, and count it."""
        with self._lock:
            self._counts["remote"] += 1
        return (yield from conversation)

    # ------------------------------------------------------------ one call, by its kind

    def _call_sync(self, call: _Call) -> Any:
        if self._goes(call):
            answer = call.function.connection.run(self._attempt(call))
            if not self._is_to_run_here(answer, call):
                return answer
        try:
            return self.local(*call.args, **call.kwargs)
        finally:
            self._left()

    def _items(self, call: _Call) -> Iterator[Any]:
        if self._goes(call):
            answer = call.function.connection.run(self._attempt(call))
            if not self._is_to_run_here(answer, call):
                yield from answer
                return
        try:
            yield from self.local(*call.args, **call.kwargs)
        finally:
            self._left()

    async def _call_async(self, call: _Call) -> Any:
        if self._goes(call):
            answer = await call.function.connection.aio.run(self._attempt(call))
            if not self._is_to_run_here(answer, call):
                return answer
        try:
            if self.local_kind == "async":
                return await self.local(*call.args, **call.kwargs)
            import asyncio

            # An ordinary function would stop the event loop for as long as it runs.
            return await asyncio.to_thread(self.local, *call.args, **call.kwargs)
        finally:
            self._left()

    async def _items_async(self, call: _Call) -> AsyncIterator[Any]:
        if self._goes(call):
            answer = await call.function.connection.aio.run(self._attempt(call))
            if not self._is_to_run_here(answer, call):
                for item in answer:
                    yield item
                return
        items = self.local(*call.args, **call.kwargs)
        if self.local_kind == "generator":
            items = _in_threads(items)
        try:
            async for item in items:
                yield item
        finally:
            try:
                await items.aclose()
            finally:
                self._left()

    # ------------------------------------------------------------ what is decided and counted

    def _goes(self, call: _Call) -> bool:
        """Decide whether a call goes to the gateway, and count it; one that stays has its place."""
        predicate = self._predicate
        if self._limit is not None:
            goes = not self._limit.admits()
        elif predicate is not None:
            goes = self._wants(predicate, call)
        else:
            goes = True
        with self._lock:
            self._counts["remote" if goes else "local"] += 1
        return goes

    def _wants(self, predicate: Callable[..., Any], call: _Call) -> bool:
        """Ask the predicate; where it does not take the call's arguments, say so."""
        try:
            return bool(predicate(*call.args, **call.kwargs))
        except TypeError as error:
            import inspect

            try:
                inspect.signature(predicate).bind(*call.args, **call.kwargs)
            except (TypeError, ValueError) as misfit:
                raise TypeError(
                    f"offload= of {call.function.__name__}() does not take this call's arguments:"
                    f" {misfit}"
                ) from error
            raise

    def _attempt(self, call: _Call) -> Conversation[Any]:
        if not self.fallback:
            return call.conversation
        with self._lock:
            why, until = self._unreached
        known = why if self._clock() < until else None
        return _attempt(call.conversation, repeatable=call.function.idempotent, known=known)

    def _is_to_run_here(self, answer: Any, call: _Call) -> bool:
        """Tell whether a call did not reach the gateway: it is warned of, counted and given a place."""
        now = self._clock()
        if not isinstance(answer, _Unreached):
            if self._unreached[0]:
                with self._lock:
                    self._unreached = ("", float("-inf"))
            return False
        with self._lock:
            self._unreached = answer.why, now + IMPATIENT_SECONDS
            is_news = now - self._warned_at >= WARNED_SECONDS
            if is_news:
                self._warned_at = now
        if is_news:
            text = f"`{call.function.__name__}` runs here and not at the gateway: {answer.why}"
            warn_at_user_line(text, FallbackWarning)
        with self._lock:
            self._counts["remote"] -= 1
            self._counts["fell_back"] += 1
        if self._limit is not None:
            self._limit.enter()
        return True

    def _left(self) -> None:
        if self._limit is not None:
            self._limit.leave()


class _Call(NamedTuple):
    function: RemoteFunction[Any, Any]
    conversation: Conversation[Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def _taken_apart(
    offload: Any,
) -> tuple[CallsRunning | LoadAverage | None, Callable[..., Any] | None]:
    """Return the limit that ``offload`` is, or the predicate."""
    if offload is None or isinstance(offload, CallsRunning | LoadAverage):
        return offload, None
    if isinstance(offload, int) and not isinstance(offload, bool):
        return calls_running(offload), None
    if not callable(offload):
        raise ConfigError(
            "offload= is a function of the call's arguments that says whether to go to the gateway, a"
            f" number of calls, calls_running(…) or load_average(…), not {offload!r}"
        )
    if signatures.kind_of(offload) != "sync":
        raise ConfigError(
            f"offload= is {_article(signatures.kind_of(offload))} function, whose answer is not there"
            " when it is needed; write it with def and return"
        )
    return None, offload


def _check_predicate(predicate: Callable[..., Any], local: Callable[..., Any]) -> None:
    """Refuse a predicate that takes no call of the function, where counting parameters shows it."""
    import inspect

    try:
        takes, gives = inspect.signature(predicate), inspect.signature(local)
    except (TypeError, ValueError):
        return  # one of them shows none, as some builtins
    if _most(gives) < _least(takes) or _most(takes) < _least(gives):
        raise ConfigError(
            f"offload= of {getattr(local, '__name__', local)!r} takes {takes}, which no call of it"
            f" with {gives} fits; it is given the arguments of each call"
        )


def _least(signature: Signature) -> int:
    """Count the parameters that have to be given."""
    return sum(
        each.default is each.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
        for each in signature.parameters.values()
    )


def _most(signature: Signature) -> float:
    """Count the arguments that can be given."""
    parameters = signature.parameters.values()
    variable = any(each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD) for each in parameters)
    return float("inf") if variable else len(parameters)


async def _in_threads(items: Iterator[Any]) -> AsyncIterator[Any]:
    """Give what an ordinary generator gives, each item made beside the event loop."""
    import asyncio

    try:
        while (item := await asyncio.to_thread(next, items, _DONE)) is not _DONE:
            yield item
    finally:
        close = getattr(items, "close", None)
        if close is not None:
            close()


def _article(kind: str) -> str:
    return "an ordinary" if kind == "sync" else f"an {kind}" if kind[0] == "a" else f"a {kind}"


if TYPE_CHECKING:
    Offload = Callable[..., Any] | int | CallsRunning | LoadAverage
