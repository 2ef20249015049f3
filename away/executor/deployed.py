"""What an executor has deployed: each callable once, however many threads ask for it."""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import away.builder as builder
from away.exceptions import AwayError, ConfigError, FunctionNotFound
from away.functions import RemoteFunction

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from away.connection import FaasConnection

__all__ = ["Deployed"]

# A user may submit lambdas without end: beyond so many, the one that came first is forgotten, and found
# at the gateway when it comes again.
_MOST_KNOWN = 1000


class Deployed:
    """The functions of one executor, and which of them it has brought to the gateway.

    Args:
        faas: The gateway.
        asks: Whether it is to find out which ones it has brought, so that these can be removed.
    """

    def __init__(self, faas: FaasConnection, *, asks: bool) -> None:
        self._faas = faas
        self.asks = asks
        self._renew()

    def _renew(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()  # guards what follows
        # key → the callable, which keeps its id from being another's, and its function
        self._known: dict[object, tuple[object, Future[RemoteFunction[..., Any]]]] = {}
        self._brought: list[RemoteFunction[..., Any]] = []

    def once(
        self,
        key: object,
        function: Callable[..., Any],
        publish: Callable[[Callable[..., Any]], RemoteFunction[..., Any]],
    ) -> RemoteFunction[..., Any]:
        """Return the function of a callable, and publish it if this is the first to ask.

        Raises:
            Exception: What publishing raised; whoever asks next tries anew.
        """
        if os.getpid() != self._process:
            # A fork: what the parent's threads were publishing is nobody's here, and what it brought its own.
            self._renew()
        with self._lock:
            known = self._known.get(key)
            if known is None:
                mine: Future[RemoteFunction[..., Any]] = Future()
                self._known[key] = function, mine
                if len(self._known) > _MOST_KNOWN:
                    del self._known[next(iter(self._known))]
        if known is not None:
            return known[1].result()
        try:
            made = publish(function)
        except BaseException as error:
            with self._lock:
                self._known.pop(key, None)
            mine.set_exception(error)
            raise
        mine.set_result(made)
        return made

    def publish(
        self, function: Callable[..., Any], options: Mapping[str, Any]
    ) -> RemoteFunction[..., Any]:
        """Publish a callable, and note whether it was there before."""
        name = options.get("name") or function.__name__
        space = options.get("namespace") or None
        was_there = not self.asks or self._has(name, space)
        made: object = builder.mirror_quietly(function, self._faas, options)
        if not isinstance(made, RemoteFunction):
            raise ConfigError(
                "nothing is published from inside a published function, so that an Executor cannot run"
                " there; call the function itself"
            )
        if not was_there:
            with self._lock:
                self._brought.append(made)
        return made

    def _has(self, name: str, namespace: str | None) -> bool:
        try:
            self._faas.function(name, namespace=namespace)
        except FunctionNotFound:
            return False
        return True

    def remove(self) -> None:
        """Remove what was brought; one that another has removed is no error.

        Raises:
            AwayError: The gateway could not be asked; the first of the errors, after all were tried.
        """
        with self._lock:
            brought, self._brought = self._brought, []
            self._known.clear()
        failed: AwayError | None = None
        for each in brought:
            try:
                self._faas.remove(each.function_name, each.namespace or None)
            except FunctionNotFound:
                pass
            except AwayError as error:
                failed = failed or error
        if failed is not None:
            raise failed
