"""Who answers what, while tests fake gateways: the fakes that are active, the innermost first.

One stage serves the process. It is on while a fake is active, and stands in for the drivers of every
connection then (:mod:`away.connection.stand_ins`): of those to faked gateways, and of all others
where a fake is strict, which it refuses.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from away.connection import stand_ins
from away.connection.catalogue import drop_all
from away.names import python_name
from away.testing.gateways import NotFaked, answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from away.connection import FaasConnection
    from away.connection.aio import AioDriver
    from away.connection.conversations import Reply, Request
    from away.connection.sync import SyncDriver
    from away.exceptions import FunctionNotFound
    from away.testing.faking import Fake
    from away.testing.functions import FakeFunction, Invocation

__all__ = ["enter", "is_real", "leave", "let_through"]


class FakeDrivers:
    """The drivers of one connection to a gateway that is faked, or refused.

    Args:
        connection: The connection.
        stage: Knows the fakes.
    """

    def __init__(self, connection: FaasConnection, stage: Stage) -> None:
        self._connection = connection
        self._stage = stage

    @property
    def sync(self) -> SyncDriver:
        """What pumps conversations in the calling thread."""
        from away.testing.drivers import FakeSyncDriver

        return FakeSyncDriver(self._answer, self._explain)

    @property
    def aio(self) -> AioDriver:
        """What pumps conversations on the running event loop."""
        from away.testing.drivers import FakeAioDriver

        return FakeAioDriver(self._answer, self._explain)

    def _answer(self, request: Request) -> Reply | Invocation:
        return self._stage.answer(self._connection, request)

    def _explain(self, error: FunctionNotFound) -> None:
        self._stage.explain(self._connection, error)


class Stage:
    """The fakes that are active; connections ask it who answers them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards what follows
        self._fakes: tuple[Fake, ...] = ()
        self._real: tuple[tuple[str, tuple[str, ...] | None], ...] = ()

    def enter(self, fake: Fake) -> None:
        """Let a fake answer, before those that are active already."""
        with self._lock:
            self._fakes = (fake, *self._fakes)
        stand_ins.choose(self)
        drop_all()

    def leave(self, fake: Fake) -> None:
        """Let it answer no longer."""
        with self._lock:
            self._fakes = tuple(each for each in self._fakes if each is not fake)
            if not self._fakes:
                stand_ins.choose(None)
        drop_all()

    def let_through(self, url: str, names: tuple[str, ...] | None = None) -> Callable[[], None]:
        """Let connections to a URL be real, whatever is faked; until what is returned is called.

        Args:
            url: The URL.
            names: Of connections that have a name, only those of one of these; all, if left out.
        """
        with self._lock:
            self._real = (*self._real, (url, names))

        def undo() -> None:
            with self._lock:
                real = list(self._real)
                real.remove((url, names))
                self._real = tuple(real)

        return undo

    def is_real(self, connection: FaasConnection) -> bool:
        """Tell whether a connection is let through."""
        return any(
            url == connection.url
            and (names is None or not connection.name or connection.name in names)
            for url, names in self._real
        )

    # ------------------------------------------------------------ what connections ask

    def drivers_for(self, connection: FaasConnection) -> FakeDrivers | None:
        """Return the drivers that stand in; None for those of HTTP."""
        fakes = self._fakes
        if any(each.names_gateway(connection) for each in fakes):
            return FakeDrivers(connection, self)
        if self.is_real(connection) or not any(each.strict for each in fakes):
            return None
        return FakeDrivers(connection, self)

    def takes_any_name(self, connection: FaasConnection) -> bool:
        """Tell whether imports are taken at their word: where no test has said yet what there is."""
        naming = [each for each in self._fakes if each.names_gateway(connection)]
        return bool(naming) and all(each.any_name for each in naming)

    def declare(self, connection: FaasConnection, name: str, function: object) -> None:
        """Let a function that is published to a fake gateway answer there."""
        for fake in self._fakes:
            if fake.names_gateway(connection):
                fake.declared(connection, name, function)
                return

    def answer(self, connection: FaasConnection, request: Request) -> Reply | Invocation:
        """Answer a request of a connection.

        Raises:
            NotFaked: The gateway is not faked, or the request is none that a fake can answer.
        """
        fakes = [each for each in self._fakes if each.names_gateway(connection)]
        place = connection.name or connection.url
        at = f" at {connection.url}" if connection.name else ""
        if not fakes:
            raise NotFaked(
                f"{request.method} {request.path.partition('?')[0]} was on its way to the gateway"
                f" {place!r}{at}, which the test does not fake; write"
                f" away_fake.function(…, gateway={place!r})"
            )
        return answer(request, self._functions_of(connection), place)

    def explain(self, connection: FaasConnection, error: FunctionNotFound) -> None:
        """Let an error say how a function is faked, where no test has."""
        name, place = error.function or "", connection.name or connection.url
        if error.hint is None or name in self._functions_of(connection):
            return
        near = f"; did you mean {error.nearest[0]!r}" if error.nearest else ""
        hint = (
            "the test does not fake it, as"
            f" away_fake.function({python_name(name)!r}, …, gateway={place!r}) does{near}"
        )
        text = str(error).replace(error.hint, hint)
        error.args, error.hint = (text,), hint

    def _functions_of(self, connection: FaasConnection) -> dict[str, FakeFunction]:
        functions: dict[str, FakeFunction] = {}
        for fake in reversed(self._fakes):
            functions |= fake.functions_of(connection)
        return functions


_stage = Stage()
enter, leave, let_through, is_real = (
    _stage.enter,
    _stage.leave,
    _stage.let_through,
    _stage.is_real,
)
