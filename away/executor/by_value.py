"""Callables that travel with each call, to one function that runs whatever it is sent.

What a callable's pickle names has to be there: packages and the user's own modules become part of the
function's image. One that names more than the function has gets a function with that as well.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import away.runtime.callables as callables
from away.executor.by_function import content_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from away.connection import FaasConnection
    from away.connection.conversations import Conversation
    from away.executor.deployed import Deployed
    from away.functions import RemoteFunction

__all__ = ["SentCallables"]


class SentCallables:
    """Send what is submitted to one function that runs it.

    Args:
        faas: The gateway.
        options: Those of a publish, for that function; ``safe_args=False`` among them.
        deployed: Takes note of what was deployed.
    """

    def __init__(
        self, faas: FaasConnection, options: Mapping[str, Any], deployed: Deployed
    ) -> None:
        self._faas = faas
        self._options = dict(options)
        self._deployed = deployed
        self._lock = threading.Lock()  # guards _modules
        self._modules: frozenset[str] = frozenset(_texts(self._options.pop("module_imports", ())))

    def begin(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Callable[[], Conversation[Any]]:
        """Pickle a call as it is now, and return what begins it in a thread of the executor's.

        Raises:
            CaptureRefused: Something of it cannot travel.
        """
        from away.capture.sent import pickled_call

        *pickled, modules = pickled_call(function, args, kwargs)
        return lambda: self._runner(modules).blocking_conversation(tuple(pickled), {})

    def begin_chunk(
        self, function: Callable[..., Any], chunk: list[tuple[Any, ...]]
    ) -> Callable[[], Conversation[list[Any]]]:
        """Pickle the calls of a chunk, which the function runs one after another."""
        return self.begin(callables.call_each, (function, chunk), {})

    def _runner(self, modules: Iterable[str]) -> RemoteFunction[..., Any]:
        """Return the function that has all modules which were needed until now, and these."""
        with self._lock:
            self._modules = needed = self._modules.union(modules)
        return self._deployed.once(
            ("runner", needed), callables.run_pickled, lambda _: self._publish(needed)
        )

    def _publish(self, modules: frozenset[str]) -> RemoteFunction[..., Any]:
        options = {**self._options, "module_imports": sorted(modules)}
        if "name" not in options:
            options["name"] = content_name(callables.run_pickled, self._faas, options)
        return self._deployed.publish(callables.run_pickled, options)


def _texts(given: Any) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)
