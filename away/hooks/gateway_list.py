"""A gateway's list of functions for one module: which one is believed, and when it is fetched.

All at once, in the thread that asks, and within the gateway's ``connect_timeout``. What a list is for
this room does not know: whoever takes it on gives back what names mean by it.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, NamedTuple

from away.config import resolve
from away.exceptions import AwayError, CallTimedOut
from away.hooks.errors import GatewayNotReached, as_import_error
from away.hooks.freshness import Freshness
from away.hooks.locks import ForkedLock
from away.hooks.missing import MISSING_SECONDS, AskedInVain
from away.hooks.shared_connections import connection_of
from away.user_lines import warn_at_user_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from away.config import GatewayConfig
    from away.connection import FaasConnection
    from away.connection.catalogue import FunctionInfo
    from away.connection.conversations import Conversation, Deadline
    from away.hooks.errors import GatewayImportError
    from away.hooks.freshness import OldList
    from away.hooks.listing import Listing
    from away.hooks.local_side import LocalSide

__all__ = ["GatewayList"]

# How long after a gateway could not be reached it is asked without waiting for its start.
LATELY_SECONDS = 10.0
# What part of the time has to be left for a request, of whoever waited for another thread's in vain.
WORTH_ASKING = 0.1


class _Failure(NamedTuple):
    """A request for the list that failed: when, at which connection, and how."""

    at: float
    connection: FaasConnection
    error: GatewayImportError


class GatewayList:
    """The list of one gateway; the only owner of its connection and of the lists' ages.

    Args:
        gateway: The gateway's configured name.
        module_name: The full name of the module that it is for.
        local: The local module that stands behind that, if one does.
        take_on: Takes on a list, and when it was fetched where that was not just now.
        let_go: Takes what was made of a function, by namespace and name, out of the module's names.
    """

    def __init__(
        self,
        gateway: str,
        module_name: str,
        local: LocalSide | None,
        take_on: Callable[[list[FunctionInfo], OldList | None], Listing],
        let_go: Callable[[str, str], None],
    ) -> None:
        self._gateway = gateway
        self._module_name = module_name
        self._local = local
        self._take_on = take_on
        self._let_go = let_go
        self._settings: GatewayConfig | None = None
        self._connection: FaasConnection | None = None
        self.freshness = Freshness(gateway)
        self._has_taken_on = False
        # What this module last fetched, and when; whether it must before it believes any list.
        self._fetched: Listing | None = None
        self._fetched_at = float("-inf")
        # The last failure since then, which those share who waited for that request.
        self._failed: _Failure | None = None
        # When a call last asked for the list in vain.
        self._refused_at = float("-inf")
        self._stale = False
        self._reloaded = False
        self._in_vain = AskedInVain()
        # Held during the request for the list, always with a time limit; each gateway has its own.
        self._fetching = ForkedLock()

    # ------------------------------------------------------------ the gateway

    @property
    def settings(self) -> GatewayConfig:
        """What is configured of the gateway."""
        if self._settings is None:
            self.connection()
        assert self._settings is not None, "it is read with the connection"
        return self._settings

    def connection(self, *, anew: bool = False) -> FaasConnection:
        """Return the gateway's connection.

        Args:
            anew: Whether to look into the configuration first: a gateway that moved, or the embedded
                one that started again, is followed with the next list.

        Raises:
            ImportError: The configuration cannot be used.
        """
        connection = self._connection
        if connection is not None and not anew:
            return connection
        try:
            settings = resolve(self._gateway)
            if connection is None or settings != self._settings:
                connection = connection_of(self._gateway, settings)
        except AwayError as error:
            raise as_import_error(error, self._module_name) from None
        self._settings, self._connection = settings, connection
        connection.catalogue.follow(self)
        return connection

    # ------------------------------------------------------------ which list is believed

    def forget(self, *, reloaded: bool = False) -> None:
        """Ask anew for the list when next needed; after a reload, whatever is configured."""
        self._stale = True
        self._reloaded = self._reloaded or reloaded

    def current(self) -> Listing:
        """Return the list: the one that the connection has just had, the kept one, or a new one."""
        if self._local is not None and self._local.is_standing_in():
            return self._accept([])
        connection = self.connection(anew=self._has_taken_on and not self._is_recent())
        kept = connection.catalogue.kept(connection.namespace)
        settings = self.settings
        if not self._stale or (self.freshness.never_asks(settings) and not self._reloaded):
            recent = connection.catalogue.cached(connection.namespace)
            if recent is not None:
                return self._accept(recent)
            old = self.freshness.usable(settings, kept)
            if old is not None:
                return self._accept(old.infos, old)
            self.freshness.warn_of_none(settings)
        try:
            # For the start of a gateway nobody waits whom an old list serves.
            patient = not self.freshness.can_stand_in(settings, kept)
            return self.fetch(fresh=self._stale, patient=patient)
        except GatewayNotReached as error:
            old = self.freshness.without_gateway(settings, kept, error)
            if old is not None:
                return self._accept(old.infos, old)
            if self._local is None or not self._local.stands_in(self._module_name, error):
                error.msg += self.freshness.none_kept(settings)
                error.args = (error.msg,)
                raise
            return self._accept([])

    def find(self, name: str, *, exact_first: bool = False) -> tuple[list[str], Listing]:
        """Return which functions a name means; a list that lacks it is fetched once more.

        Args:
            name: A Python name, or a function's own.
            exact_first: Whether a function of exactly this name is meant, if there is one.
        """
        started = time.monotonic()
        new_enough = self._in_vain.since(name, started, self._where_it_is_now)
        listing = self.current()
        while True:
            found = [name] if exact_first and name in listing else listing.named(name)
            if found or self._is_new_enough(new_enough):
                break
            listing = self._fetch_for(name)
        if not found:
            self._in_vain.remember(name, started, time.monotonic(), self.connection())
        return found, listing

    def look_again(self, name: str) -> None:
        """Fetch the list anew for something that it lacks, once a second at most."""
        started = time.monotonic()
        new_enough = self._in_vain.since(name, started, self._where_it_is_now)
        self.current()
        if not self._is_new_enough(new_enough):
            self._fetch_for(name)
        self._in_vain.remember(name, started, time.monotonic(), self.connection())

    def _where_it_is_now(self) -> FaasConnection:
        return self.connection(anew=True)

    def _is_recent(self) -> bool:
        connection = self.connection()
        return connection.catalogue.cached(connection.namespace) is not None

    def _is_new_enough(self, since: float) -> bool:
        """Tell whether the list in use is believed although it lacks a name."""
        return self._fetched_at >= since or self.freshness.keeps_to(self.settings)

    # ------------------------------------------------------------ fetching it

    def fetch(self, *, fresh: bool, patient: bool = True) -> Listing:
        """Fetch the list in this thread; whoever comes meanwhile waits for it and shares it.

        Args:
            fresh: Whether the one that the connection just had will not do.
            patient: Whether a refused connection is tried again, as of a gateway that starts just now.

        Raises:
            ImportError: It cannot be had; those who waited hear the same.
        """
        from away.connection.conversations import Deadline

        self._warn_where_a_loop_waits()
        started = time.monotonic()
        connection = self.connection(anew=True)
        deadline = Deadline(connection.connect_timeout)
        fetching = self._fetching.here
        try:
            # Within: an interrupt that comes as the lock is taken leaves it taken outside.
            if not fetching.acquire(timeout=connection.connect_timeout):
                # Its holder's time is over: it was ended.
                self._fetching.renew()
                raise self._waited_in_vain(connection)
            return self._fetch_alone(connection, deadline, started, fresh=fresh, patient=patient)
        finally:
            try:
                fetching.release()
            except RuntimeError:
                pass  # it was never taken

    def _fetch_alone(
        self,
        connection: FaasConnection,
        deadline: Deadline,
        started: float,
        *,
        fresh: bool,
        patient: bool,
    ) -> Listing:
        """Fetch the list, or take what another thread has got of it since this one began to wait."""
        if self._fetched is not None and self._fetched_at >= started:
            return self._fetched
        failed = self._failed
        if failed is not None and failed.connection is connection:
            if failed.at >= started:
                raise as_import_error(failed.error, self._module_name)
            patient = patient and not _is_lately_unreachable(failed)
        if deadline.remaining() < WORTH_ASKING * deadline.seconds:
            raise self._waited_in_vain(connection)
        return self._ask(connection, deadline, fresh=fresh, patient=patient)

    def _ask(
        self, connection: FaasConnection, deadline: Deadline, *, fresh: bool, patient: bool
    ) -> Listing:
        try:
            infos = connection.run(
                connection.api.functions(fresh=fresh, deadline=deadline, patient=patient)
            )
        except AwayError as error:
            told = self._told(error)
            self._failed = _Failure(time.monotonic(), connection, told)
            raise as_import_error(told, self._module_name) from None
        return self._take_fetched(infos)

    def _told(self, error: AwayError) -> GatewayImportError:
        """Return the error of an import for one of the connection's."""
        if isinstance(error, CallTimedOut) and error.limit == "timeout":
            error = CallTimedOut(
                f"the gateway {self._gateway!r} at {error.gateway} did not list its functions within the"
                f" {error.seconds:g} s of connect_timeout; raise it if the gateway is slow"
                f" (X-Call-Id {error.call_id})",
                limit="connect_timeout",
                seconds=error.seconds,
                gateway=error.gateway,
                call_id=error.call_id,
            )
        return as_import_error(error, self._module_name)

    def _waited_in_vain(self, connection: FaasConnection) -> GatewayNotReached:
        return GatewayNotReached(
            f"another thread has waited {connection.connect_timeout:g} seconds for the functions of the"
            f" gateway {self._gateway!r} at {connection.url}; raise its connect_timeout if it is slow",
            name=self._module_name,
            gateway=connection.url,
        )

    async def fetch_async(self) -> None:
        """Fetch the list without blocking the event loop.

        Raises:
            ImportError: It cannot be had.
        """
        connection = self.connection(anew=True)
        try:
            # Two tasks at once send two requests: no lock is held across an await.
            infos = await connection.aio.functions(fresh=True, timeout=connection.connect_timeout)
        except AwayError as error:
            raise self._told(error) from None
        self._take_fetched(infos)

    def remembered(self) -> Callable[[], None]:
        """Remember where the list comes from; what is returned puts it back, after a test."""
        source, freshness = (self._settings, self._connection), dict(vars(self.freshness))

        def put_back() -> None:
            vars(self.freshness).update(freshness)
            # Functions that came meanwhile keep theirs where there was none.
            if source[1] is not None:
                self._settings, self._connection = source
            self._fetched, self._fetched_at = None, float("-inf")

        return put_back

    def fetch_by_connection(self) -> None:
        """Fetch the list with no wait for other threads: a test's fake answers it."""
        self._accept(self.connection(anew=True).functions(fresh=True))

    def is_lately_asked(self) -> bool:
        """Tell whether what the list says of a function's arguments is believed as it is."""
        asked_at = max(self._fetched_at, self._refused_at)
        return time.monotonic() - asked_at < MISSING_SECONDS

    def take_anew(
        self, name: str, deadline: Deadline, *, seconds: float = 0.0
    ) -> Conversation[FunctionInfo | None]:
        """Fetch the list within a call, and return what it says of a function."""
        try:
            infos = yield from self.connection().api.functions(
                fresh=not seconds, deadline=deadline, seconds=seconds, patient=False
            )
        except AwayError:
            self._refused_at = time.monotonic()
            raise
        self._take_fetched(infos)
        return next((each for each in infos if each.name == name), None)

    def take_recent(self) -> None:
        """Take on what a call had fetched, since a function has gone; else ask at the next import."""
        connection = self.connection()
        recent = connection.catalogue.cached(connection.namespace)
        if recent is None:
            self._stale = True
        else:
            self._accept(recent)

    def gateway_changed(self) -> None:
        """Take on the list from after a change of this process's, if there is one.

        Until then all names stay: who reads one, in an event loop for one, waits for no request.
        """
        connection = self._followed()
        if connection is None:
            return
        recent = connection.catalogue.cached(connection.namespace)
        if recent is not None:
            self._take_fetched(recent)
        else:
            # What was listed before judges no arguments and no names any more.
            self._fetched_at = float("-inf")

    def function_removed(self, namespace: str, name: str) -> None:
        """Let go of the name of a function that this process removed."""
        if self._followed() is not None:
            self._let_go(namespace, name)

    def _followed(self) -> FaasConnection | None:
        """Return the connection whose changes matter here; None while it is not gone by."""
        if not self._has_taken_on:
            return None
        if self._local is not None and self._local.is_standing_in():
            return None
        return self._connection

    def _fetch_for(self, name: str) -> Listing:
        """Fetch the list for the sake of a name that the one in use lacks."""
        try:
            return self.fetch(fresh=True)
        except GatewayNotReached as error:
            error.msg += self.freshness.lacking(name)
            error.args = (error.msg,)
            raise

    def _take_fetched(self, infos: list[FunctionInfo]) -> Listing:
        import away.connection.stand_ins as stand_ins

        # What a test's fake lists is not what the gateway once had.
        self.freshness.fetched(infos if stand_ins.now is None else None)
        self._fetched_at = time.monotonic()
        self._failed = None
        self._stale = self._reloaded = False
        listing = self._fetched = self._accept(infos)
        return listing

    def _accept(self, infos: list[FunctionInfo], old: OldList | None = None) -> Listing:
        listing = self._take_on(infos, old)
        self._has_taken_on = True
        return listing

    def _warn_where_a_loop_waits(self) -> None:
        """Warn, in asyncio's debug mode, that the request for the list stalls an event loop."""
        asyncio = sys.modules.get("asyncio")
        if asyncio is None:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        if loop.get_debug():
            warn_at_user_line(
                f"the event loop waits for the functions of the gateway {self._gateway!r};"
                f" await away.hooks.load({self._gateway!r}) before they are imported",
                RuntimeWarning,
            )


def _is_lately_unreachable(failed: _Failure) -> bool:
    lately = time.monotonic() - failed.at < LATELY_SECONDS
    return lately and isinstance(failed.error, GatewayNotReached)
