"""A fake: which gateways a test plays, which functions they have, and what was called."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, overload

import away.names as names
import away.signatures as signatures
from away.capture import WholeModule
from away.connection import FaasConnection
from away.functions import RemoteFunction
from away.testing import imports, modules, records, stage
from away.testing.environment import configured, variable
from away.testing.faults import Fault
from away.testing.functions import FakeFunction
from away.testing.played import Played, name_of, spellings, url_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import ModuleType, TracebackType
    from typing import Self

    from away.testing.modules import Functions
    from away.testing.plain import PlainRequest
    from away.testing.played import Gateway
    from away.testing.records import RecordedCall

    Error = BaseException | type[BaseException] | int | None

__all__ = ["Fake", "fake"]

_UNSET: Any = object()


class Fake:
    """Plays gateways in process: ``with fake() as fake:``, or the fixture ``away_fake``.

    Args:
        gateways: Gateways that are faked from the start, with no functions yet.
        strict: Whether calls to any other gateway are refused with :class:`NotFaked`.
        any_name: Whether imports from these gateways need no function of that name yet: for what is
            imported before a test begins.

    Example:
        >>> from away.testing import fake
        >>> with fake() as playing:
        ...     add = playing.function("add", lambda a, b: a + b, gateway="shop")
        ...     from away.remote.shop import add as remote_add
        ...     (remote_add(1, b=2), add.calls[0].kwargs)
        (3, {'b': 2})
    """

    def __init__(
        self, gateways: Iterable[Gateway] = (), *, strict: bool = True, any_name: bool = False
    ) -> None:
        self.strict = strict
        self.any_name = any_name
        self._wanted = tuple(gateways)
        self._played: dict[str, Played] = {}
        self._undo: contextlib.ExitStack | None = None

    def __repr__(self) -> str:
        played = (f"{each.name} ({', '.join(each.functions)})" for each in self._played.values())
        return f"<fake of {', '.join(played) or 'no gateway'}>"

    def __enter__(self) -> Self:
        self._played = {}
        with contextlib.ExitStack() as undo:
            undo.callback(imports.remembered())
            # A list that was kept is the real gateway's.
            undo.enter_context(variable("AWAY_CATALOGUE", "fresh"))
            stage.enter(self)
            undo.callback(stage.leave, self)
            self._undo = undo
            for each in self._wanted:
                self.gateway(each)
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        undo, self._undo = self._undo, None
        if undo is not None:
            undo.close()

    # ------------------------------------------------------------ what there is

    def gateway(self, gateway: Gateway) -> None:
        """Fake a gateway, which has no functions yet.

        Args:
            gateway: Its name in the configuration, where it need not stand; its URL; or a
                connection to it.
        """
        self._play(gateway)

    def real(self, gateway: FaasConnection | str) -> None:
        """Let calls to a gateway go out, beside those that are faked."""
        self._active().callback(stage.let_through(url_of(gateway)))

    @overload
    def function(self, name: Callable[..., Any], /) -> FakeFunction: ...
    @overload
    def function(
        self,
        name: str | Callable[..., Any],
        function: Callable[..., Any],
        /,
        *,
        gateway: Gateway = ...,
        kind: signatures.Kind | None = None,
        doc: str | None = None,
        safe_args: bool = True,
        latency: float = 0.0,
        error: Error = None,
        fail_times: int | None = None,
    ) -> FakeFunction: ...
    @overload
    def function(
        self,
        name: str | Callable[..., Any] | None = None,
        /,
        *,
        gateway: Gateway = ...,
        returns: Any = ...,
        kind: signatures.Kind | None = None,
        doc: str | None = None,
        safe_args: bool = True,
        latency: float = 0.0,
        error: Error = None,
        fail_times: int | None = None,
    ) -> Any: ...
    def function(
        self,
        name: str | Callable[..., Any] | None = None,
        function: Callable[..., Any] | None = None,
        /,
        *,
        gateway: Gateway = _UNSET,
        returns: Any = _UNSET,
        kind: signatures.Kind | None = None,
        doc: str | None = None,
        safe_args: bool = True,
        latency: float = 0.0,
        error: Error = None,
        fail_times: int | None = None,
    ) -> Any:
        """Have a gateway have a function, which is answered by one here.

        Args:
            name: Its name, ``sum_two_numbers`` or ``sum-two-numbers``; or a remote function of the
                code under test, whose name, gateway and, where it has one, local function are taken.
            function: What answers; its signature, docstring and kind are the remote one's. Left out
                with neither ``returns`` nor a permanent ``error``, this is a decorator.
            gateway: The gateway's name, its URL, or a connection; ``default`` if it is left out.
            returns: What each call returns, in place of ``function``.
            kind: How it is called, where that is not how ``function`` is.
            doc: Its docstring, where that is not ``function``'s.
            safe_args: False for a function published so, whose arguments travel as pickles.
            latency: Seconds that each answer takes.
            error: What each call meets: one of :mod:`away.exceptions`, such as GatewayUnreachable,
                or a status from 400 on as the gateway gives it; any other exception is raised by the
                function.
            fail_times: How many calls meet the error before the function answers.

        Returns:
            The fake function, whose ``calls`` are recorded; a decorator that gives it, if there is
            nothing yet that could answer.

        Raises:
            NameRefused: No function could be deployed under that name.
            TypeError, ValueError: An option cannot be what it is.
        """
        fault = Fault(error, latency, fail_times)
        if isinstance(name, RemoteFunction):
            gateway = name.connection if gateway is _UNSET else gateway
            function, name = function or name.local, name.function_name
        elif callable(name):
            function, name = name, getattr(name, "__name__", None)
        at = "default" if gateway is _UNSET else gateway

        def answered_by(target: Callable[..., Any]) -> FakeFunction:
            own = name or target.__name__
            description = signatures.describe(target)._replace(safe=safe_args)
            if kind is not None:
                description = description._replace(kind=kind)
            if doc is not None:
                description = description._replace(doc=doc)
            return self._add(at, names.function_name(own), target, description, fault)

        if returns is not _UNSET:
            function = lambda *args, **kwargs: returns  # noqa: E731, ARG005 - takes any call
        elif function is None and error is not None and fail_times is None:
            function = lambda *args, **kwargs: None  # noqa: E731, ARG005 - never reached
        return answered_by if function is None else answered_by(function)

    def http(
        self,
        name: str,
        handler: Callable[[PlainRequest], Any],
        *,
        gateway: Gateway = "default",
        latency: float = 0.0,
        error: Error = None,
        fail_times: int | None = None,
    ) -> FakeFunction:
        """Have a gateway have a function that is not Away's, by what it answers to HTTP.

        Args:
            name: Its name.
            handler: Takes a :class:`PlainRequest`, and returns bytes, text or what JSON carries, or
                a pair of one of them and a status.
            gateway: As for :meth:`function`.
            latency: As for :meth:`function`.
            error: As for :meth:`function`.
            fail_times: As for :meth:`function`.

        Returns:
            The fake function; the one argument of its recorded calls is the request's body.
        """
        fault = Fault(error, latency, fail_times)
        return self._add(gateway, names.check_callable_name(name), handler, None, fault)

    def module(
        self,
        name: str | ModuleType,
        functions: Functions | None = None,
        /,
        *,
        gateway: Gateway = "default",
        latency: float = 0.0,
        error: Error = None,
        fail_times: int | None = None,
    ) -> dict[str, FakeFunction]:
        """Have a gateway have a module that was published whole.

        Args:
            name: Its name at the gateway; or a module here that answers by its public functions,
                under the last part of its own name.
            functions: What it has: functions, or functions by name, or a module here that answers.
            gateway: As for :meth:`function`.
            latency: As for :meth:`function`, for each of its functions.
            error: As for :meth:`function`, for each of its functions.
            fail_times: As for :meth:`function`, for each of its functions.

        Returns:
            The fake functions by name; recorded calls name them ``module.function``.
        """
        made = modules.fake_module(name, functions)
        played = self._play(gateway)
        played.functions[made.name] = FakeFunction(
            played.name,
            made.name,
            made.refuse,
            made.description,
            Fault(None, 0.0, None),
            made.beside,
        )
        found: dict[str, FakeFunction] = {}
        for key, (target, description) in made.functions.items():
            found[key] = played.functions[f"{made.name}/{key}"] = FakeFunction(
                played.name,
                f"{made.name}.{key}",
                target,
                description,
                Fault(error, latency, fail_times),
            )
        imports.renew(played.name)
        return found

    # ------------------------------------------------------------ what was called

    def calls(
        self, function: str | None = None, *, gateway: Gateway | None = None
    ) -> list[RecordedCall]:
        """List the calls so far, of all functions or of one, each function's in order.

        Args:
            function: The function's name, in either spelling.
            gateway: Only what this gateway got.
        """
        found: list[RecordedCall] = []
        for played in self._played.values():
            if gateway is None or played is self._played.get(name_of(gateway)):
                for each in played.functions.values():
                    if function is None or each.name in spellings(function):
                        found += each.calls
        return found

    def assert_called(self, function: str, /, *args: Any, **kwargs: Any) -> RecordedCall:
        """Return the last call of a function with exactly these arguments.

        Raises:
            AssertionError: There was none; the text lists those that there were.
        """
        return records.some_call(self.calls(function), function, args, kwargs, self._names())

    def assert_called_once(self, function: str, /) -> RecordedCall:
        """Return the only call of a function.

        Raises:
            AssertionError: There was another number of them.
        """
        return records.one_call(self.calls(function), function, self._names())

    def assert_not_called(self, function: str | None = None, /) -> None:
        """See that a function, or any of them, was not called.

        Raises:
            AssertionError: It was; the text says how.
        """
        records.no_call(self.calls(function))

    def _names(self) -> list[str]:
        return [
            names.python_name(each) for played in self._played.values() for each in played.functions
        ]

    # ------------------------------------------------------------ what the stage asks

    def names_gateway(self, connection: FaasConnection) -> bool:
        """Tell whether a connection leads to a gateway that is faked here."""
        return self._of(connection) is not None

    def functions_of(self, connection: FaasConnection) -> dict[str, FakeFunction]:
        """Return the functions of the gateway that a connection leads to, by name."""
        played = self._of(connection)
        return {} if played is None else dict(played.functions)

    def declared(self, connection: FaasConnection, name: str, function: Any) -> None:
        """Take what would have been published, unless the test gave another."""
        played = self._of(connection)
        if played is not None and name not in played.functions:
            if isinstance(function, WholeModule):
                self.module(name, function, gateway=connection)
            else:
                self.function(name, function, gateway=connection)

    def _of(self, connection: FaasConnection) -> Played | None:
        for played in list(self._played.values()):
            # By its name it is not, where the session's own gateway goes by that: let through.
            if connection.url in played.known_as or (
                connection.name == played.name and not stage.is_real(connection)
            ):
                return played
        return None

    # ------------------------------------------------------------ making them

    def _add(
        self,
        gateway: Gateway,
        name: str,
        target: Callable[..., Any],
        description: signatures.Description | None,
        fault: Fault,
    ) -> FakeFunction:
        played = self._play(gateway)
        made = FakeFunction(played.name, name, target, description, fault)
        played.functions[name] = made
        imports.renew(played.name)
        return made

    def _active(self) -> contextlib.ExitStack:
        """Return what undoes all at the block's end."""
        if self._undo is None:
            raise RuntimeError("a fake plays gateways within its block: with fake() as playing: …")
        return self._undo

    def _play(self, gateway: Gateway) -> Played:
        self._active()
        name = name_of(gateway)
        if isinstance(gateway, FaasConnection):
            found = self._of(gateway)
            if found is not None:
                return found
        played = self._played.get(name)
        if played is None:
            played = Played(name)
            if "://" in name:
                played.known_as.add(url_of(gateway))
            else:
                played.known_as.add(self._active().enter_context(configured(name)))
            self._played[name] = played
        if isinstance(gateway, FaasConnection):
            played.known_as.add(gateway.url)
        return played


def fake(gateways: Iterable[Gateway] = (), *, strict: bool = True) -> Fake:
    """Fake gateways for the length of a block: ``with away.testing.fake() as fake:``.

    Args:
        gateways: Gateways that are faked from the start, with no functions yet.
        strict: Whether calls to any other gateway are refused.

    Returns:
        The fake; it begins as the block does, and with its end all is as it was.
    """
    return Fake(gateways, strict=strict)
