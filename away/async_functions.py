"""The async face of a remote function: ``await f.aio(…)``, whatever kind of function ``f`` is.

Nothing is decided here: calls are spoken by the function's own caller, and the connection's async
driver carries them. What the blocking face does is :mod:`away.functions`'s.
"""

# ruff: noqa: ASYNC109  # the same parameter as in the blocking twin, which is the point
from __future__ import annotations

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

import away.signatures as signatures

if TYPE_CHECKING:
    import inspect
    from collections.abc import (
        AsyncGenerator,
        AsyncIterable,
        AsyncIterator,
        Coroutine,
        Iterable,
        Iterator,
    )
    from datetime import datetime, timedelta

    from away.connection.catalogue import FunctionInfo
    from away.connection.logs import LogLine
    from away.functions import RemoteFunction
    from away.mapping.settings import MapSettings
    from away.responses import Response

__all__ = ["AsyncFunction"]

P = ParamSpec("P")
# Covariant, since checkers differ in what they call the type of a coroutine (CoroutineType, Coroutine).
R = TypeVar("R", covariant=True)
T = TypeVar("T")


class AsyncFunction(Generic[P, R]):
    """A remote function whose calls are awaited; made by :attr:`RemoteFunction.aio`.

    Called, it gives a coroutine where the function is an ordinary or a coroutine function, and an
    async iterator where it is a generator of either kind. That is what ``away.remote.aio`` gives.
    """

    def __init__(self, function: RemoteFunction[P, R]) -> None:
        self.function = function
        self.kind: signatures.Kind = signatures.async_kind(function.kind)
        self.__name__ = function.__name__
        self.__qualname__ = function.__qualname__
        self.__module__ = function.__module__
        self.__doc__ = function.__doc__
        self.__defaults__ = function.__defaults__
        self.__kwdefaults__ = function.__kwdefaults__
        self.__annotations__ = function.__annotations__

    @property
    def __code__(self) -> Any:
        """By this ``inspect`` and ``asyncio`` see what it is: ``async def``, generator or not."""
        description = self.function.description
        parameters = description.parameters if description else None
        return signatures.face(self.__name__, parameters, self.kind).__code__

    @property
    def __signature__(self) -> inspect.Signature:
        return self.function.__signature__

    def __repr__(self) -> str:
        return f"{self.function!r}.aio"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AsyncFunction) and other.function is self.function

    def __hash__(self) -> int:
        return hash((AsyncFunction, id(self.function)))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle to the function's own reference."""
        return getattr, (self.function, "aio")

    def __copy__(self) -> AsyncFunction[P, R]:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> AsyncFunction[P, R]:
        return self

    # ------------------------------------------------------------ calls

    # Only what a function of unknown result gives fits `Never`: it may be a generator.
    @overload
    def __call__(self: AsyncFunction[P, Never], /, *args: P.args, **kwargs: P.kwargs) -> Any: ...
    @overload
    def __call__(
        self: AsyncFunction[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, T]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]  # the first that fits is the one
        self: AsyncFunction[P, Iterator[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> AsyncIterator[T]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]  # the first that fits is the one
        self: AsyncFunction[P, AsyncIterator[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> AsyncIterator[T]: ...
    @overload
    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]: ...
    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call the function without blocking the event loop.

        Returns:
            A coroutine of what the function returns; of a generator an async iterator.

        Raises:
            TypeError: The arguments do not fit the signature; nothing was sent.
            AwayError, Exception: As a call of the function does, when it is awaited.
        """
        placement = self.function.placement
        if placement is not None:
            return placement.call(self.function, args, kwargs, self.kind)
        return self.function.pump(self.function.conversation(args, kwargs), self.kind)

    @overload
    def with_response(
        self: AsyncFunction[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, Response[T]]: ...
    @overload
    def with_response(
        self: AsyncFunction[P, Iterator[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, Response[AsyncIterator[T]]]: ...
    @overload
    def with_response(
        self: AsyncFunction[P, AsyncIterator[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, Response[AsyncIterator[T]]]: ...
    @overload
    def with_response(
        self, /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, Response[R]]: ...
    def with_response(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call the function; awaited, it gives the value with status, header fields and times.

        See :meth:`RemoteFunction.with_response`.
        """
        from away.responses import responding

        function = self.function
        conversation = responding(function.conversation_there(args, kwargs), self.kind)
        return function.pump(conversation, "async")

    @overload
    def map(
        self: AsyncFunction[..., Coroutine[Any, Any, T]],
        iterable: Iterable[Any] | AsyncIterable[Any],
        /,
        *more: Iterable[Any] | AsyncIterable[Any],
        on_error: Literal["raise", "skip"] = "raise",
        **settings: Unpack[MapSettings],
    ) -> AsyncGenerator[T, None]: ...
    @overload
    def map(
        self: AsyncFunction[..., Iterator[Any]] | AsyncFunction[..., AsyncIterator[Any]],
        iterable: Iterable[Any] | AsyncIterable[Any],
        /,
        *more: Iterable[Any] | AsyncIterable[Any],
        on_error: Literal["raise", "skip"] = "raise",
        **settings: Unpack[MapSettings],
    ) -> AsyncGenerator[Any, None]: ...
    @overload
    def map(
        self,
        iterable: Iterable[Any] | AsyncIterable[Any],
        /,
        *more: Iterable[Any] | AsyncIterable[Any],
        on_error: Literal["raise", "skip"] = "raise",
        **settings: Unpack[MapSettings],
    ) -> AsyncGenerator[R, None]: ...
    @overload
    def map(
        self,
        iterable: Iterable[Any] | AsyncIterable[Any],
        /,
        *more: Iterable[Any] | AsyncIterable[Any],
        on_error: Literal["raise", "return", "skip"],
        **settings: Unpack[MapSettings],
    ) -> AsyncGenerator[Any, None]: ...
    def map(
        self,
        iterable: Iterable[Any] | AsyncIterable[Any],
        /,
        *more: Iterable[Any] | AsyncIterable[Any],
        concurrency: int = 64,
        ordered: bool = True,
        on_error: Literal["raise", "return", "skip"] = "raise",
        batch: Literal["auto"] | bool | int = "auto",
        progress: bool | None = None,
    ) -> AsyncGenerator[Any, None]:
        """Call the function with each item: ``async for`` its results; see :meth:`RemoteFunction.map`.

        Asynchronous iterables are taken too. The generator's ``aclose()`` ends what is under way.
        """
        from away.mapping import MapOptions, map_async, mapped

        options = MapOptions(concurrency, ordered, on_error, batch, progress)
        inputs, total = mapped(iterable, more)
        return map_async(self.function, inputs, options, total=total)

    @overload
    def starmap(
        self: AsyncFunction[..., Coroutine[Any, Any, T]],
        iterable: Iterable[Iterable[Any]] | AsyncIterable[Iterable[Any]],
        /,
        *,
        on_error: Literal["raise", "skip"] = "raise",
        **settings: Unpack[MapSettings],
    ) -> AsyncGenerator[T, None]: ...
    @overload
    def starmap(
        self: AsyncFunction[..., Iterator[Any]] | AsyncFunction[..., AsyncIterator[Any]],
        iterable: Iterable[Iterable[Any]] | AsyncIterable[Iterable[Any]],
        /,
        *,
        on_error: Literal["raise", "skip"] = "raise",
        **settings: Unpack[MapSettings],
    ) -> AsyncGenerator[Any, None]: ...
    @overload
    def starmap(
        self,
        iterable: Iterable[Iterable[Any]] | AsyncIterable[Iterable[Any]],
        /,
        *,
        on_error: Literal["raise", "skip"] = "raise",
        **settings: Unpack[MapSettings],
    ) -> AsyncGenerator[R, None]: ...
    @overload
    def starmap(
        self,
        iterable: Iterable[Iterable[Any]] | AsyncIterable[Iterable[Any]],
        /,
        *,
        on_error: Literal["raise", "return", "skip"],
        **settings: Unpack[MapSettings],
    ) -> AsyncGenerator[Any, None]: ...
    def starmap(
        self,
        iterable: Iterable[Iterable[Any]] | AsyncIterable[Iterable[Any]],
        /,
        *,
        concurrency: int = 64,
        ordered: bool = True,
        on_error: Literal["raise", "return", "skip"] = "raise",
        batch: Literal["auto"] | bool | int = "auto",
        progress: bool | None = None,
    ) -> AsyncGenerator[Any, None]:
        """Call the function with each list of arguments; otherwise as :meth:`map`."""
        from away.mapping import MapOptions, map_async, starmapped

        options = MapOptions(concurrency, ordered, on_error, batch, progress)
        inputs, total = starmapped(iterable)
        return map_async(self.function, inputs, options, total=total)

    def options(self, **options: Any) -> AsyncFunction[P, R]:
        """Return the same function called with other options; see :meth:`RemoteFunction.options`."""
        return self.function.options(**options).aio

    # ------------------------------------------------------------ what is known of it

    @property
    def url(self) -> str:
        """The URL that is called; see :attr:`RemoteFunction.url`."""
        return self.function.url

    async def info(self, *, timeout: float | None = None) -> FunctionInfo:
        """Ask the gateway for the function; see :meth:`RemoteFunction.info`."""
        function = self.function
        return await function.connection.aio.function(
            function.function_name, namespace=function.namespace, timeout=timeout
        )

    @overload
    def logs(
        self,
        *,
        tail: int | None = None,
        since: datetime | timedelta | float | str | None = None,
        follow: Literal[False] = False,
        timeout: float | None = None,
    ) -> Coroutine[Any, Any, list[LogLine]]: ...
    @overload
    def logs(
        self,
        *,
        tail: int | None = None,
        since: datetime | timedelta | float | str | None = None,
        follow: Literal[True],
        timeout: float | None = None,
    ) -> AsyncIterator[LogLine]: ...
    def logs(
        self,
        *,
        tail: int | None = None,
        since: datetime | timedelta | float | str | None = None,
        follow: bool = False,
        timeout: float | None = None,
    ) -> Coroutine[Any, Any, list[LogLine]] | AsyncIterator[LogLine]:
        """Give the log: a coroutine of its lines, or with ``follow`` an async iterator of them."""
        function, gateway = self.function, self.function.connection.aio
        asked: dict[str, Any] = {
            "tail": tail,
            "since": since,
            "namespace": function.namespace,
            "timeout": timeout,
        }
        if follow:
            return gateway.follow_logs(function.function_name, **asked)
        return gateway.logs(function.function_name, **asked)
