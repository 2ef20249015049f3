"""Callables as published functions: each is published once, when it is first submitted, and called.

Functions with a name of their own in a module are deployed under it, as the decorator would do. All
others (lambdas, functions inside of functions, methods, partials, objects) are deployed as
``exec-NAME-DIGEST``, by what they are, so that the same one is the same function in each process.
"""

from __future__ import annotations

import functools
import hashlib
import types
from typing import TYPE_CHECKING, Any, TypeVar

import away.names as names
from away.exceptions import CannotTravel, NameRefused
from away.protocol.refusals import by_another_way

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from away.connection import FaasConnection
    from away.connection.conversations import Conversation
    from away.executor.deployed import Deployed
    from away.functions import RemoteFunction

__all__ = ["PublishedCallables", "content_name", "one_after_another"]

T = TypeVar("T")

# Of a callable's own name, in the name that it is deployed under.
_MOST_LETTERS = 24
# Options that change nothing of what is deployed, or must not be told by a digest.
_UNTOLD = frozenset(
    {"secrets", "registry_auth", "verbose", "publish_timeout", "overwrite", "check"}
)


class PublishedCallables:
    """Publish what is submitted, and call it.

    Args:
        faas: The gateway.
        options: Those of a publish, for all of them.
        deployed: Takes note of what was deployed.
    """

    def __init__(
        self, faas: FaasConnection, options: Mapping[str, Any], deployed: Deployed
    ) -> None:
        self._faas = faas
        self._options = dict(options)
        self._deployed = deployed

    def begin(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Callable[[], Conversation[Any]]:
        """Return what begins a call, in a thread of the executor's; it publishes the function first."""
        return lambda: _told(self._remote(function).blocking_conversation(args, kwargs))

    def begin_chunk(
        self, function: Callable[..., Any], chunk: list[tuple[Any, ...]]
    ) -> Callable[[], Conversation[list[Any]]]:
        """Return what begins the calls of a chunk, which travel together."""
        return lambda: _told(together(self._remote(function), chunk))

    def _remote(self, function: Callable[..., Any]) -> RemoteFunction[..., Any]:
        return self._deployed.once(_identity(function), function, self._publish)

    def _publish(self, function: Callable[..., Any]) -> RemoteFunction[..., Any]:
        options = dict(self._options)
        if not _has_own_name(function):
            options["name"] = content_name(function, self._faas, options)
        return self._deployed.publish(function, options)


def _told(conversation: Conversation[T]) -> Conversation[T]:
    """Name the executor's own option where a value cannot travel."""
    try:
        return (yield from conversation)
    except CannotTravel as error:
        raise by_another_way(error, "make the Executor with safe_args=False") from None


def one_after_another(
    function: RemoteFunction[..., Any], calls: Iterable[tuple[tuple[Any, ...], dict[str, Any]]]
) -> Conversation[list[Any]]:
    """Make several calls, and return what they gave; the first that raises ends it."""
    values = []
    for args, kwargs in calls:
        values.append((yield from function.blocking_conversation(args, kwargs)))
    return values


def together(
    function: RemoteFunction[..., Any], chunk: list[tuple[Any, ...]]
) -> Conversation[list[Any]]:
    """Make the calls of a chunk in as few requests as the function answers them in.

    Raises:
        Exception: What the first call raised that did; those behind it may have run.
    """
    from away.mapping.batch_calls import Done, Failed, Lost, batch_call, can_batch
    from away.mapping.pace import BUDGET_SECONDS

    caller = function._caller  # noqa: SLF001 - what a call of it is made by
    for args in chunk:
        if caller.bind is not None:
            caller.bind(*args)
    values: list[Any] = []
    while len(left := chunk[len(values) :]) > 1 and can_batch(caller):
        done = yield from batch_call(caller, left, BUDGET_SECONDS, 1)
        if isinstance(done, Lost):
            raise done.error
        if not isinstance(done, Done):
            break  # in smaller requests: one a call
        for result in done.results:
            if isinstance(result, Failed):
                raise result.error
            values.append(iter(result) if function.kind.endswith("generator") else result)
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = [(args, {}) for args in left]
    return values + (yield from one_after_another(function, calls))


def _identity(function: Callable[..., Any]) -> tuple[int, ...]:
    """Tell callables apart by identity; a method, made anew at each look, by its object and function."""
    if isinstance(function, types.MethodType):
        return id(function.__self__), id(function.__func__)
    return (id(function),)


def _has_own_name(function: Callable[..., Any]) -> bool:
    return isinstance(function, types.FunctionType) and "<" not in function.__qualname__


def content_name(
    function: Callable[..., Any], faas: FaasConnection, options: Mapping[str, Any]
) -> str:
    """Return the name to deploy a callable under, made of what it is and of how it is deployed.

    Raises:
        CaptureRefused: It cannot be captured.
    """
    import away.publish as publishing

    given = {**options, "name": "exec"}
    given.pop("verbose", None)
    found = publishing.captured_of(function, publishing.options_for(function, faas, given))
    said = repr(sorted((k, repr(v)) for k, v in options.items() if k not in _UNTOLD))
    digest = hashlib.sha256(f"{found.identity} {said}".encode()).hexdigest()[:12]
    own = _spoken(function)
    return f"exec-{own}-{digest}" if own else f"exec-{digest}"


def _spoken(function: Any) -> str:
    """Return a callable's own name as a part of a function's, or nothing where that cannot be."""
    while isinstance(function, functools.partial):
        function = function.func
    own = str(getattr(function, "__name__", type(function).__name__))
    try:
        return names.function_name(own)[:_MOST_LETTERS].strip("-")
    except NameRefused:
        return ""
