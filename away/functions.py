"""Remote functions: one object behind every way in, whether imported, decorated or published.

A :class:`RemoteFunction` binds its arguments before anything is sent, chooses how to speak to the
function, and gives back its value or raises its exception. It looks like a function to ``inspect``,
``help`` and ``mock``, and pickles to a reference. How bytes reach the gateway is the connection's.
"""

from __future__ import annotations

import types
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    Literal,
    Never,
    ParamSpec,
    TypeVar,
    Unpack,
    overload,
)

import away.appearance as appearance
import away.left_proxies as left_proxies
import away.names as names
import away.signatures as signatures
from away.call_faces import CallFace
from away.calls import Caller, Dialect, Manner
from away.exceptions import ConfigError

if TYPE_CHECKING:
    import inspect
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping
    from concurrent.futures import Future
    from datetime import datetime, timedelta

    from away.async_functions import AsyncFunction
    from away.connection import FaasConnection
    from away.connection.catalogue import FunctionInfo
    from away.connection.conversations import Conversation
    from away.connection.logs import LogLine
    from away.decorated import StubAnnotations
    from away.mapping.settings import MapSettings
    from away.placement import Counts, Placement
    from away.references import Reference
    from away.responses import Response

__all__ = ["RemoteFunction", "from_info", "resolve"]

P = ParamSpec("P")
# Covariant, since checkers differ in what they call the type of a coroutine (CoroutineType, Coroutine).
R = TypeVar("R", covariant=True)
T = TypeVar("T")

# Stands for "not given" where None is a value of its own.
_UNSET: Any = object()


class _LazySignature:
    """``__signature__``, made at the first look, since :mod:`inspect` is slow to import."""

    def __get__(self, function: RemoteFunction[Any, Any] | None, owner: type) -> inspect.Signature:
        if function is None:
            raise AttributeError("__signature__")  # the class keeps that of its constructor
        found = appearance.shown_signature(function.local, function.description)
        function.__dict__["__signature__"] = found
        return found


class RemoteFunction(Generic[P, R]):
    """A function behind a gateway, called as if it were local."""

    __signature__ = _LazySignature()
    # Where calls run, for a function with a local twin; it is no part of a reference.
    placement: Placement | None = None

    def __init__(
        self,
        connection: FaasConnection,
        name: str,
        *,
        namespace: str = "",
        kind: signatures.Kind | None = None,
        description: signatures.Description | None = None,
        python_name: str | None = None,
        module: str | None = None,
        dialect: str = Dialect.AUTO,
        pack: Callable[[Iterable[Any]], str] | None = None,
        unpack: Callable[[str], Any] | None = None,
        safe_args: bool = True,
        implicit_exception_handling: bool = True,
        timeout: float | None = None,
        idempotent: bool = False,
        headers: Mapping[str, str] | None = None,
        local: Callable[..., Any] | None = None,
        path: str = "",
        types: StubAnnotations | None = None,
    ) -> None:
        """Make the proxy; nothing is sent.

        Args:
            connection: The gateway's connection.
            name: The function's name; ``sum_two_numbers`` also finds ``sum-two-numbers``.
            namespace: The OpenFaaS namespace, or an empty string for the gateway's default.
            kind: How it is called; taken from the description if it is left out.
            description: What is known of its signature; without it any arguments are taken.
            python_name: The ``__name__`` to show; made from the name if it is left out.
            module: The ``__module__`` to show.
            dialect: ``auto``, ``list`` or ``protocol``.
            pack: Packs the positional arguments into a text, in place of the dialect.
            unpack: Makes the call's value from the answer's text, in place of the dialect.
            safe_args: False to send and read pickles, for a function published so. Whoever answers
                then can run code in this process.
            implicit_exception_handling: False to return ``(value, status)`` and raise for no status.
            timeout: Seconds for a whole call with its retries; the connection's if it is left out.
            idempotent: True if a call may be sent again when it is not known whether it ran.
            headers: Header fields that go with each call.
            local: The local function that was published or decorated, kept at hand as ``local``.
            path: Where it lies below the function's own URL: its name in a module published whole.
            types: What a stub's annotations say of arguments and results.

        Raises:
            NameRefused: The name is one that no gateway could call.
            ConfigError: ``pack`` stands beside parameters that a list of positions cannot carry.
        """
        self.connection = connection
        self.namespace = namespace
        self.path = path
        self.kind: signatures.Kind = kind or (description.kind if description else "sync")
        self.local = local
        self._given_name = name
        self._given_description = description
        self._dress(python_name or names.python_name(name), module)
        manner = Manner(
            Dialect.PACKED if pack is not None and dialect == Dialect.AUTO else dialect,
            pack,
            unpack,
            safe_args,
            implicit_exception_handling,
            timeout,
            idempotent,
            _checked_headers(headers, connection, packed=pack is not None) if headers else {},
        )
        self._caller = Caller(
            connection,
            name,
            namespace,
            self.__name__,
            manner,
            learnt=self._show,
            path=path,
            types=types,
        )
        self._caller.learn(description)

    # ------------------------------------------------------------ what it looks like

    def _dress(self, python_name: str, module: str | None) -> None:
        local = self.local
        self.__name__ = python_name
        self.__qualname__ = getattr(local, "__qualname__", python_name)
        self.__module__ = module or getattr(local, "__module__", None) or __name__
        self.__globals__: dict[str, Any] = {}
        self.__type_params__: tuple[Any, ...] = getattr(local, "__type_params__", ())
        # As functools.wraps does, with what is no attribute of a remote function's own.
        for key, value in getattr(local, "__dict__", {}).items():
            if not key.startswith("_") and not hasattr(type(self), key):
                self.__dict__.setdefault(key, value)
        self.__dict__["__call__"] = CallFace(self)
        # IPython's `f?` shows the constructor's docs of any callable object, and this is none's.
        self.__dict__["__init__"] = object().__init__  # type: ignore[misc]

    def _show(self, description: signatures.Description | None) -> None:
        """Show what is known of the signature by the attributes that a function has."""
        parameters = description.parameters if description else None
        shown = signatures.face(self.__name__, parameters, self.kind)
        self.__code__ = shown.__code__
        self.__defaults__ = shown.__defaults__
        self.__kwdefaults__ = shown.__kwdefaults__
        self.__annotations__ = appearance.shown_annotations(self.local, description)
        self.__doc__ = appearance.shown_doc(self.local, description)
        self.__dict__.pop("__signature__", None)

    @property
    def function_name(self) -> str:
        """The name under which the gateway is asked for the function."""
        return self._caller.name

    @property
    def description(self) -> signatures.Description | None:
        """What is known of the function: signature, docstring, kind; None before it is."""
        return self._caller.description

    def __repr__(self) -> str:
        place = f"{self.function_name}.{self.namespace}" if self.namespace else self.function_name
        below = f"/{self.path}" if self.path else ""
        return f"<remote function {place}{below} on {self.connection.url}>"

    def _repr_html_(self) -> str:
        """Show the function in a notebook."""
        from away.notebook import function_html

        return function_html(self)

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """Bind like a function, so that a proxy in a class body is a method there."""
        return self if instance is None else types.MethodType(self, instance)

    def _renew(self, newer: RemoteFunction[..., Any]) -> None:
        """Be called as a later proxy of the same function is; its other options stay its own.

        Args:
            newer: What publishing the function again left.
        """
        caller, was = self._caller, self._given_description
        self.local, self.kind = newer.local, newer.kind
        self._given_description = newer._given_description
        self._dress(self.__name__, None)
        if was is None or caller.manner.safe_args == was.safe:  # else options() chose otherwise
            safe_args = newer._caller.manner.safe_args
            caller.manner = caller.manner._replace(safe_args=safe_args)
        caller.learn(newer.description)
        if self.placement is not None and newer.local is not None:
            self.placement.renew(newer.local)

    # ------------------------------------------------------------ references

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle to a reference: this process finds the function itself by it, while it is alive.

        Another process makes one that finds credentials of its own.
        """
        from away.references import remember

        reference = self.reference()
        options = reference.options
        if "headers" in options:
            from away.request_headers import for_reference

            options = {**options, "headers": for_reference(options["headers"], self.__name__)}
        remember(self)
        return resolve, (*reference[:3], options)

    def reference(self) -> Reference:
        """Return what the function pickles to now, but for header fields that may be secrets."""
        from away.references import Reference

        return Reference(self.connection.url, self.namespace, self._given_name, self._options())

    def _options(self) -> dict[str, Any]:
        """List what the proxy was made with, and nothing of what calls have taught it since.

        A captured function that uses the proxy would otherwise become another with each lesson; for
        the same reason the digest of what was published under the name is no part of it.
        """
        manner = self._caller.manner
        description = self._given_description
        options = {
            "kind": self.kind,
            "description": None if description is None else description._replace(digest=""),
            "python_name": self.__name__,
            "module": self.__module__,
            "dialect": manner.dialect if manner.dialect != Dialect.PACKED else Dialect.AUTO,
            "pack": manner.pack,
            "unpack": manner.unpack,
            "safe_args": manner.safe_args,
            "implicit_exception_handling": manner.implicit,
            "timeout": manner.timeout,
            "idempotent": manner.idempotent,
            "headers": manner.headers or None,
            "path": self.path or None,
            "types": self._caller.types,
        }
        return {key: value for key, value in options.items() if value is not None}

    def __copy__(self) -> RemoteFunction[P, R]:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> RemoteFunction[P, R]:
        return self

    def __away_reference__(self) -> tuple[str, str, str]:
        """The gateway's URL, the namespace and the name: what capture carries of a proxy."""
        return self.connection.url, self.namespace, self._given_name

    @property
    def __away_original__(self) -> Callable[..., Any] | None:
        """The local function that this proxy was made from, where it is known."""
        return self.local

    def options(
        self,
        *,
        timeout: float | None = _UNSET,
        idempotent: bool = _UNSET,
        headers: Mapping[str, str] | None = _UNSET,
        safe_args: bool = _UNSET,
    ) -> RemoteFunction[P, R]:
        """Return the same function called with other options; this one stays as it is.

        Args:
            timeout: Seconds for a whole call with its retries.
            idempotent: True if a call may be sent again when it is not known whether it ran.
            headers: Header fields that go with each call, in place of those given before; none of
                those that Away or HTTP itself sets. A pickle, and a published function that uses
                this one, takes them along, and is refused where one looks like a secret.
            safe_args: False to send and read pickles; whoever answers can then run code here.

        Returns:
            A remote function that differs in the options given.

        Raises:
            ConfigError: A header field cannot be given, the timeout is no number above 0, or what is
                to be True or False is neither.
        """
        given = {
            "timeout": timeout,
            "idempotent": idempotent,
            "headers": headers,
            "safe_args": safe_args,
        }
        changed = {key: value for key, value in given.items() if value is not _UNSET}
        _check_timeout(changed.get("timeout"))
        _check_flags(changed)
        made = RemoteFunction[P, R](
            self.connection,
            self.function_name,
            namespace=self.namespace,
            local=self.local,
            **{**self._options(), **changed},
        )
        made._caller.speaks_protocol = self._caller.speaks_protocol
        if self._caller.watch is not None:
            self._caller.watch.take(made._caller)
        made.placement = self.placement
        left_proxies.note_copy(made, of=self)
        return made

    # ------------------------------------------------------------ the call

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function on its gateway.

        Returns:
            What the function returns; a coroutine of it for an async function.

        Raises:
            TypeError: The arguments do not fit the signature; nothing was sent.
            CannotTravel: An argument cannot be sent; nothing was.
            AwayError: The call failed on its way; see :mod:`away.exceptions`.
            Exception: What the function itself raised, with the remote traceback as a note.
        """
        if self.placement is not None:
            placed: R = self.placement.call(self, args, kwargs, self.kind)
            return placed
        result: R = self.pump(self.conversation(args, kwargs), self.kind)
        return result

    def conversation(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Conversation[Any]:
        """Bind the arguments of a call and return all that is to be said for it, not begun yet."""
        caller = self._caller
        if caller.bind is not None:
            try:
                caller.bind(*args, **kwargs)
            except TypeError:
                if caller.watch is None or not caller.watch.may_be_old():
                    raise
                return caller.watch.settled(caller, args, kwargs)
        return caller.call(args, kwargs)

    def conversation_there(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Conversation[Any]:
        """Return a call that goes to the gateway even where a local twin could answer."""
        conversation = self.conversation(args, kwargs)
        return conversation if self.placement is None else self.placement.there(conversation)

    def pump(self, conversation: Conversation[Any], kind: signatures.Kind) -> Any:
        """Have a call's conversation, as a function of some kind does that is called."""
        if kind == "sync":
            return self.connection.run(conversation)
        if kind == "async":
            awaited: Any = self.connection.aio.run(conversation)
            # What a warning of a forgotten await names.
            awaited.__qualname__ = self.__qualname__
            return awaited
        if kind == "generator":
            return iter(self.connection.run(conversation))
        return self._iterate(conversation)

    async def _iterate(self, conversation: Conversation[Any]) -> AsyncIterator[Any]:
        for item in await self.connection.aio.run(conversation):
            yield item

    # Only what a function of unknown result gives fits `Never`: it may be of any kind.
    @overload
    def with_response(
        self: RemoteFunction[P, Never], /, *args: P.args, **kwargs: P.kwargs
    ) -> Any: ...
    @overload
    def with_response(  # type: ignore[overload-overlap]  # the first that fits is the one
        self: RemoteFunction[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, Response[T]]: ...
    @overload
    def with_response(  # type: ignore[overload-overlap]  # the first that fits is the one
        self: RemoteFunction[P, AsyncIterator[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, Response[AsyncIterator[T]]]: ...
    @overload
    def with_response(self, /, *args: P.args, **kwargs: P.kwargs) -> Response[R]: ...
    def with_response(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call the function and return its value with status, header fields and times.

        Returns:
            A :class:`away.responses.Response`; a coroutine of it for an async function.

        Raises:
            Exception: As a call does, with a note of the status, the call's id and the times.
        """
        from away.responses import responding

        conversation = responding(self.conversation_there(args, kwargs), self.kind)
        return self.pump(conversation, "async" if self.kind.startswith("async") else "sync")

    @overload
    def submit(
        self: RemoteFunction[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Future[T]: ...
    @overload
    def submit(
        self: RemoteFunction[P, AsyncIterator[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Future[Iterator[T]]: ...
    @overload
    def submit(self, /, *args: P.args, **kwargs: P.kwargs) -> Future[R]: ...
    def submit(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call the function in one of the connection's threads, of which there are 64 at most.

        Returns:
            A :class:`concurrent.futures.Future` of the value, an async function's as well; it can be
            cancelled until the call begins. What the call raises, wrong arguments included, it raises.
        """
        return self.connection.workers.submit(
            self.connection, lambda: self.blocking_conversation(args, kwargs)
        )

    def blocking_conversation(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Conversation[Any]:
        """Say a call for somebody who blocks: of a generator of either kind comes an iterator.

        One that a local twin may answer is made by it, and says nothing itself; coroutine functions
        have no event loop to run on here, and always go to the gateway.
        """
        if self.placement is not None and not self.kind.startswith("async"):
            return self.placement.call(self, args, kwargs, self.kind)
        value = yield from self.conversation_there(args, kwargs)
        return iter(value) if self.kind.endswith("generator") else value

    # ------------------------------------------------------------ many calls

    @overload
    def map(
        self: RemoteFunction[..., Coroutine[Any, Any, T]],
        iterable: Iterable[Any],
        /,
        *more: Iterable[Any],
        on_error: Literal["raise", "skip"] = "raise",
        **settings: Unpack[MapSettings],
    ) -> Iterator[T]: ...
    @overload
    def map(
        self: RemoteFunction[..., Iterator[Any]] | RemoteFunction[..., AsyncIterator[Any]],
        iterable: Iterable[Any],
        /,
        *more: Iterable[Any],
        on_error: Literal["raise", "skip"] = "raise",
        **settings: Unpack[MapSettings],
    ) -> Iterator[Any]: ...
    @overload
    def map(
        self,
        iterable: Iterable[Any],
        /,
        *more: Iterable[Any],
        on_error: Literal["raise", "skip"] = "raise",
        **settings: Unpack[MapSettings],
    ) -> Iterator[R]: ...
    @overload
    def map(
        self,
        iterable: Iterable[Any],
        /,
        *more: Iterable[Any],
        on_error: Literal["raise", "return", "skip"],
        **settings: Unpack[MapSettings],
    ) -> Iterator[Any]: ...
    def map(
        self,
        iterable: Iterable[Any],
        /,
        *more: Iterable[Any],
        concurrency: int = 64,
        ordered: bool = True,
        on_error: Literal["raise", "return", "skip"] = "raise",
        batch: Literal["auto"] | bool | int = "auto",
        progress: bool | None = None,
    ) -> Iterator[Any]:
        """Call the function with each item, many side by side, and give the results.

        Items are read lazily, in the thread that iterates, a bounded window ahead. For a function
        that Away published they travel in batches whose size follows from the time that they take.

        Args:
            iterable: The first argument of each call.
            *more: The further arguments; the shortest iterable ends the map.
            concurrency: How many calls run at once at most; of more than 100, 100 do.
            ordered: Whether results keep the order of the items, or come as they are there.
            on_error: ``raise`` the first error and end what is under way; ``return`` the exception
                as that item's result; or ``skip`` the item.
            batch: ``auto``, ``False`` for a request a call, or how many go in a request.
            progress: Whether to show a bar; by default on a terminal or in a notebook, from the
                second on.

        Returns:
            An iterator; closing or forgetting it ends what is under way.

        Raises:
            ValueError: An option is none that there is.
            TypeError: What is given cannot be iterated; or, as it is reached, an item does not fit.
            AwayError, Exception: As it is reached, what a call raises, with a note of its place.
        """
        from away.mapping import MapOptions, map_sync, mapped

        options = MapOptions(concurrency, ordered, on_error, batch, progress)
        inputs, total = mapped(iterable, more)
        return map_sync(self, inputs, options, total=total)

    @overload
    def starmap(
        self: RemoteFunction[..., Coroutine[Any, Any, T]],
        iterable: Iterable[Iterable[Any]],
        /,
        *,
        on_error: Literal["raise", "skip"] = "raise",
        **settings: Unpack[MapSettings],
    ) -> Iterator[T]: ...
    @overload
    def starmap(
        self: RemoteFunction[..., Iterator[Any]] | RemoteFunction[..., AsyncIterator[Any]],
        iterable: Iterable[Iterable[Any]],
        /,
        *,
        on_error: Literal["raise", "skip"] = "raise",
        **settings: Unpack[MapSettings],
    ) -> Iterator[Any]: ...
    @overload
    def starmap(
        self,
        iterable: Iterable[Iterable[Any]],
        /,
        *,
        on_error: Literal["raise", "skip"] = "raise",
        **settings: Unpack[MapSettings],
    ) -> Iterator[R]: ...
    @overload
    def starmap(
        self,
        iterable: Iterable[Iterable[Any]],
        /,
        *,
        on_error: Literal["raise", "return", "skip"],
        **settings: Unpack[MapSettings],
    ) -> Iterator[Any]: ...
    def starmap(
        self,
        iterable: Iterable[Iterable[Any]],
        /,
        *,
        concurrency: int = 64,
        ordered: bool = True,
        on_error: Literal["raise", "return", "skip"] = "raise",
        batch: Literal["auto"] | bool | int = "auto",
        progress: bool | None = None,
    ) -> Iterator[Any]:
        """Call the function with each list of arguments; otherwise as :meth:`map`."""
        from away.mapping import MapOptions, map_sync, starmapped

        options = MapOptions(concurrency, ordered, on_error, batch, progress)
        inputs, total = starmapped(iterable)
        return map_sync(self, inputs, options, total=total)

    @property
    def aio(self) -> AsyncFunction[P, R]:
        """The same function for ``await``: ``await f.aio(…)`` never blocks the event loop."""
        from away.async_functions import AsyncFunction

        return AsyncFunction(self)

    @property
    def idempotent(self) -> bool:
        """Whether a call may be sent again when it is not known whether it ran."""
        return self._caller.manner.idempotent

    @property
    def counts(self) -> Counts | None:
        """How many calls ran here, went to the gateway, or fell back; None without a local twin.

        Functions made with ``fallback=`` or ``offload=`` have one; see :mod:`away.placement`.
        """
        return None if self.placement is None else self.placement.counts

    # ------------------------------------------------------------ what the gateway knows of it

    @property
    def url(self) -> str:
        """The URL that is called, with namespace and path; the login is no part of it."""
        from urllib.parse import quote

        space = f".{self.namespace}" if self.namespace else ""
        below = f"/{quote(self.path)}" if self.path else ""
        return f"{self.connection.url}/function/{self.function_name}{space}{below}"

    def info(self, *, timeout: float | None = None) -> FunctionInfo:
        """Ask the gateway for the function as it is now: image, replicas, calls, annotations.

        Raises:
            FunctionNotFound: It is not there any more.
        """
        return self.connection.function(
            self.function_name, namespace=self.namespace, timeout=timeout
        )

    @overload
    def logs(
        self,
        *,
        tail: int | None = None,
        since: datetime | timedelta | float | str | None = None,
        follow: Literal[False] = False,
        timeout: float | None = None,
    ) -> list[LogLine]: ...
    @overload
    def logs(
        self,
        *,
        tail: int | None = None,
        since: datetime | timedelta | float | str | None = None,
        follow: Literal[True],
        timeout: float | None = None,
    ) -> Iterator[LogLine]: ...
    def logs(self, **asked: Any) -> Any:
        """Give what the function printed, or with ``follow`` an iterator of lines as they come.

        Args:
            **asked: ``tail``, ``since``, ``follow``, ``timeout`` of :meth:`FaasConnection.logs`.
        """
        return self.connection.logs(self.function_name, namespace=self.namespace, **asked)


def _check_timeout(timeout: object) -> None:
    is_number = isinstance(timeout, int | float) and not isinstance(timeout, bool)
    if timeout is not None and not (is_number and timeout > 0):  # type: ignore[operator]
        raise ConfigError(f"timeout= is a positive number of seconds, not {timeout!r}")


def _check_flags(options: Mapping[str, object]) -> None:
    for name in ("idempotent", "safe_args"):
        if name in options and not isinstance(options[name], bool):
            raise ConfigError(f"{name}= is True or False, not {options[name]!r}")


def _checked_headers(
    headers: Mapping[str, str], connection: FaasConnection, *, packed: bool
) -> Mapping[str, str]:
    from away.request_headers import RequestHeaders

    if not hasattr(headers, "items"):
        kind = type(headers).__name__  # and no value, which may be a secret
        raise ConfigError(f"headers= is a mapping of names to values, and was given a {kind}")
    return RequestHeaders(headers, packed=packed, sends_login=connection.auth_functions)


# ---------------------------------------------------------------- making them


def from_info(
    connection: FaasConnection,
    info: FunctionInfo,
    *,
    module: str | None = None,
    python_name: str | None = None,
    kind: signatures.Kind | None = None,
    **options: Any,
) -> RemoteFunction[..., Any]:
    """Make the proxy of a function that the gateway lists.

    Args:
        connection: The gateway's connection.
        info: The function as listed; what Away published is known by its annotations.
        module: The ``__module__`` to show.
        python_name: The ``__name__`` to show; made from the name if it is left out.
        kind: How it is called; as it was published, if it is left out.
        **options: Further ones of :class:`RemoteFunction`, over what the list says.

    Returns:
        A proxy that binds calls by the signature and speaks the protocol, where these are known. To
        a function of the project of 2023 it sends the positional list.
    """
    description = info.description
    dialect = Dialect.PROTOCOL
    if description is None:
        # That project wrote this one annotation, and no version of a protocol beside it.
        is_older = info.annotations.get("built-with") == "away"
        dialect = Dialect.LIST if is_older else Dialect.AUTO
    return RemoteFunction(
        connection,
        info.name,
        namespace=connection.namespace,
        kind=kind,
        description=description,
        python_name=python_name,
        module=module,
        **{"dialect": dialect, **options},
    )


def resolve(
    url: str, namespace: str, name: str, options: dict[str, Any] | None = None
) -> RemoteFunction[..., Any]:
    """Make the proxy that a reference stands for, with this process's own configuration.

    Args:
        url: The gateway's URL; see :func:`away.references.referenced_connection`.
        namespace: The OpenFaaS namespace, or an empty string.
        name: The function's name.
        options: What else the proxy was made with.

    Returns:
        The one that was pickled, if this process did so and it still is what the reference says; else
        a proxy whose connection serves all references to a gateway.
    """
    from away.references import Reference, referenced_connection, remembered

    if options is not None:
        known = remembered(Reference(url, namespace, name, options))
        if known is not None:
            return known
    connection = referenced_connection(url)
    return RemoteFunction(connection, name, namespace=namespace, **(options or {}))
