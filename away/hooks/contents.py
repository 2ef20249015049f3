"""What a gateway module gives out: the gateway's functions, fetched when the first is asked for.

All at once, in the thread that asks, and within the gateway's ``connect_timeout``. The proxies are
made by :mod:`away.functions`; which name means which function is decided in
:mod:`away.hooks.listing`. Of modules this room knows only the dictionary in which proxies are kept.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from away.config import resolve
from away.exceptions import AwayError, ConfigError, FunctionNotFound
from away.hooks.errors import (
    AmbiguousFunction,
    FunctionNotImported,
    GatewayNotReached,
    NoSuchFunction,
    as_import_error,
)
from away.hooks.finder import imports_a_name
from away.hooks.freshness import Freshness
from away.hooks.in_hand import become, remember
from away.hooks.listing import Listing
from away.hooks.missing import AskedInVain, ambiguous, missing
from away.hooks.probes import reads_everything_next
from away.hooks.shared_connections import connection_of
from away.signatures import async_kind, is_module_inside, kept_annotations, kind_inside

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from away.config import GatewayConfig
    from away.connection import FaasConnection
    from away.connection.catalogue import FunctionInfo
    from away.connection.conversations import Conversation, Deadline
    from away.functions import RemoteFunction
    from away.hooks.freshness import OldList
    from away.hooks.local_side import LocalSide
    from away.modules import RemoteModule

__all__ = ["OWNER", "GatewayFunctions"]

# Where a module's dictionary keeps the owner of its functions.
OWNER = "__away_functions__"
# What makes a module one of ours and is no function of the gateway's, as help() would have it.
MACHINERY = (OWNER, "__getattr__", "__dir__")


class GatewayFunctions:
    """The functions behind one gateway module; the only owner of its list and its proxies.

    Args:
        gateway: The gateway's configured name.
        content: The module's dictionary, in which proxies are kept once they were asked for.
        module_name: The full name of the module.
        aio: Whether it gives coroutine functions of sync functions, async generators of generators.
        select: Which of the gateway's functions it has; all, if it is left out.
        local: The local module that stands behind it, if one does.
    """

    def __init__(
        self,
        gateway: str,
        content: dict[str, Any],
        *,
        module_name: str,
        aio: bool = False,
        select: Callable[[FunctionInfo], bool] | None = None,
        local: LocalSide | None = None,
    ) -> None:
        self.gateway = gateway
        self.module_name = module_name
        self.aio = aio
        self._select = select
        self._local = local
        self._content = content
        self._settings: GatewayConfig | None = None
        self._connection: FaasConnection | None = None
        self._accepted: tuple[FaasConnection, list[FunctionInfo]] | None = None
        self._infos: dict[str, FunctionInfo] = {}
        self._listing: Listing | None = None
        # When this module last fetched the list, and whether it must before it believes any.
        self._fetched_at = float("-inf")
        self._stale = False
        self._reloaded = False
        self._freshness = Freshness(gateway)
        self._proxies: dict[str, RemoteFunction[..., Any]] = {}
        self._unlisted_proxies: dict[str, RemoteFunction[..., Any]] = {}
        # The modules below this one that were asked for, by their functions' names at the gateway.
        self.modules: dict[str, RemoteModule] = {}
        # What each proxy was made from: it is renewed when that has changed.
        self._made_from: dict[str, tuple[FaasConnection, dict[str, str]]] = {}
        # Those that were made from a list that this process did not get from the gateway.
        self._in_doubt: set[str] = set()
        self._in_vain = AskedInVain()
        self._make_locks()

    def _make_locks(self) -> None:
        self._process = os.getpid()
        # Held during the request for the list, always with a time limit; a lock of its own for
        # each gateway, and re-entrant for the sake of signal handlers that import.
        self._fetching = threading.RLock()
        # Held for an instant, never while anything is sent: guards list, names and proxies.
        self._changing = threading.RLock()

    def _renew_locks_after_fork(self) -> None:
        """Take locks that nobody holds: whoever held them is not in this process."""
        if self._process != os.getpid():
            self._make_locks()

    # ------------------------------------------------------------ what Python asks

    def attribute(self, name: str) -> Any:
        """Stand in the module as ``__getattr__`` (PEP 562)."""
        if name == "__all__":
            return self._current().python_names()
        asker = sys._getframe(1)  # noqa: SLF001 - who asks decides what is raised
        if name.startswith("_"):
            # What tools probe for. OpenFaaS wants DNS labels: no function's name begins so.
            if reads_everything_next(name, asker) and not self.has_no_list():
                self._current()
                self._keep_all()
            raise AttributeError(
                f"module {self.module_name!r} has no attribute {name!r}", name=name
            )
        if self.has_no_list():
            function = self._content[name] = self._unlisted(name)
            return function
        found, listing = self._find(name)
        if not found:
            kind = FunctionNotImported if imports_a_name(asker) else NoSuchFunction
            raise self._missing(name, listing, kind)
        if len(found) > 1:
            raise self._ambiguous(name, found)
        # At once: an import statement asks twice, and the second time finds it here.
        given = self._content[name] = self._given(found[0])
        return given

    def names(self) -> list[str]:
        """Stand in the module as ``__dir__`` (PEP 562)."""
        # A traceback that is being printed asks for suggestions: nothing is sent for that.
        asker = sys._getframe(1)  # noqa: SLF001 - who asks decides whether to send
        printing = asker.f_globals.get("__name__") == "traceback"
        listing = self._listing if printing else self._current()
        fixed = (name for name in self._content if name not in MACHINERY)
        return sorted({*fixed, *(listing.python_names() if listing else ())})

    def item(self, name: str) -> RemoteFunction[..., Any] | RemoteModule:
        """Return a function or module by its own name, else by what the Python name means."""
        if not isinstance(name, str):
            raise TypeError(f"a function's name is a text, not {type(name).__name__}")
        if self.has_no_list():
            return self._unlisted(name)
        found, listing = self._find(name, exact_first=True)
        if not found:
            raise self._missing(name, listing, FunctionNotFound)
        if len(found) > 1:
            raise self._ambiguous(name, found)
        return self._given(found[0])

    def rows(self, *, fresh: bool = False) -> list[tuple[str, FunctionInfo]]:
        """List what the gateway says of each function, with its Python name; asked now if fresh."""
        listing = self._fetch(fresh=True) if fresh else self._current()
        return [(listing.shown_as(name), self._infos[name]) for name in sorted(self._infos)]

    def fetch_sync(self) -> None:
        """Fetch the list now and keep a proxy of every function in the module."""
        self._fetch(fresh=True)
        self._keep_all()

    async def fetch_async(self) -> None:
        """Do as :meth:`fetch_sync` without blocking the event loop."""
        connection = self._connect(anew=True)
        try:
            # Two tasks at once send two requests: no lock is held across an await.
            infos = await connection.aio.functions(fresh=True, timeout=connection.connect_timeout)
        except AwayError as error:
            raise as_import_error(error, self.module_name) from error
        self._take_fetched(infos)
        self._keep_all()

    def forget(self) -> None:
        """Ask anew for the list when next needed; functions in hand stay valid."""
        self._stale = True

    def start_anew(self) -> None:
        """After a reload: also let go of the names, which the new list brings back or not."""
        self.forget()
        self._reloaded = True
        self._renew_locks_after_fork()
        with self._changing:
            for name in self._own_names():
                del self._content[name]
            for module in self.modules.values():
                self.let_go(module)

    def renew_in_hand(self) -> None:
        """Let proxies that somebody holds be what the gateway's functions are now."""
        self.forget()
        if self._proxies or self._unlisted_proxies:
            # By the connection, not by the list's own way: a test's fake answers it, with no wait.
            self._accept(self._connect(anew=True).functions(fresh=True))

    def remembered(self) -> Callable[[], None]:
        """Remember names and proxies; what is returned puts them back, after a test's fake."""
        names = remember(self._proxies, self._made_from, self._content)
        unlisted = remember(self._unlisted_proxies)

        def put_back() -> None:
            with self._changing:
                self.start_anew()
                names()
                unlisted()

        return put_back

    # ------------------------------------------------------------ what modules below it ask

    def listed(self) -> dict[str, FunctionInfo]:
        """Return what the gateway has, by name."""
        self._current()
        return self._infos

    def known(self) -> dict[str, FunctionInfo]:
        """Return what is known of the gateway without a request, by name."""
        return self._infos

    def named(self, name: str) -> list[FunctionInfo]:
        """Return what a Python name means: nothing, one function, or several."""
        return [self._infos[each] for each in self._find(name)[0]]

    def shown_as(self, name: str) -> str:
        """Return the Python name of a function."""
        return name if self._listing is None else self._listing.shown_as(name)

    def look_again(self, name: str) -> None:
        """Fetch the list anew for something that it lacks, once a second at most."""
        started = time.monotonic()
        new_enough = self._in_vain.since(name, started, self._where_it_is_now)
        self._current()
        if self._fetched_at < new_enough and not self._is_kept_to():
            self._fetch_for(name)
        self._in_vain.remember(name, started, time.monotonic(), self._connect())

    def connection(self) -> FaasConnection:
        """Return the gateway's connection."""
        return self._connect()

    def let_go(self, module: RemoteModule) -> None:
        """Take a module below this one out of the names, not a patch of the user's."""
        for name in [key for key, value in self._content.items() if value is module]:
            del self._content[name]

    # ------------------------------------------------------------ the list

    def _find(self, name: str, *, exact_first: bool = False) -> tuple[list[str], Listing]:
        """Return which functions a name means; a list that lacks it is fetched once more."""
        started = time.monotonic()
        new_enough = self._in_vain.since(name, started, self._where_it_is_now)
        listing = self._current()
        while True:
            found = [name] if exact_first and name in listing else listing.named(name)
            if found or self._fetched_at >= new_enough or self._is_kept_to():
                break
            listing = self._fetch_for(name)
        if not found:
            self._in_vain.remember(name, started, time.monotonic(), self._connect())
        return found, listing

    def _current(self) -> Listing:
        """Return the list: the one that the connection has just had, the kept one, or a new one."""
        if self._local is not None and self._local.is_standing_in():
            return self._accept([])
        connection = self._connect(anew=self._accepted is not None and not self._is_recent())
        kept = connection.catalogue.kept(connection.namespace)
        assert self._settings is not None, "it is read with the connection"
        if not self._stale or (self._freshness.never_asks(self._settings) and not self._reloaded):
            recent = connection.catalogue.cached(connection.namespace)
            if recent is not None:
                return self._accept(recent)
            old = self._freshness.usable(self._settings, kept)
            if old is not None:
                return self._accept(old.infos, old)
            self._freshness.warn_of_none(self._settings)
        try:
            return self._fetch(fresh=self._stale)
        except GatewayNotReached as error:
            old = self._freshness.without_gateway(self._settings, kept, error)
            if old is not None:
                return self._accept(old.infos, old)
            if self._local is None or not self._local.stands_in(self.module_name, error):
                raise
            return self._accept([])

    def _where_it_is_now(self) -> FaasConnection:
        return self._connect(anew=True)

    def _is_recent(self) -> bool:
        connection = self._connect()
        return connection.catalogue.cached(connection.namespace) is not None

    def _is_kept_to(self) -> bool:
        """Tell whether the list in use stands although it lacks a name."""
        return self._settings is not None and self._freshness.keeps_to(self._settings)

    def _fetch_for(self, name: str) -> Listing:
        """Fetch the list for the sake of a name that the one in use lacks."""
        try:
            return self._fetch(fresh=True)
        except GatewayNotReached as error:
            error.msg += self._freshness.lacking(name)
            error.args = (error.msg,)
            raise

    def _take_fetched(self, infos: list[FunctionInfo]) -> Listing:
        import away.connection.stand_ins as stand_ins

        # What a test's fake lists is not what the gateway once had.
        self._freshness.fetched(infos if stand_ins.now is None else None)
        self._fetched_at = time.monotonic()
        self._stale = self._reloaded = False
        return self._accept(infos)

    def take_anew(self, name: str, deadline: Deadline) -> Conversation[FunctionInfo | None]:
        """Fetch the list within a call, and return what it says of a function."""
        infos = yield from self._connect().api.functions(fresh=True, deadline=deadline)
        self._take_fetched(infos)
        return next((each for each in infos if each.name == name), None)

    def take_recent(self) -> None:
        """Take on what a call had fetched, since a function has gone; else ask at the next import."""
        connection = self._connect()
        recent = connection.catalogue.cached(connection.namespace)
        if recent is None:
            self._stale = True
        else:
            self._accept(recent)

    def _fetch(self, *, fresh: bool) -> Listing:
        """Fetch the list in this thread; whoever comes meanwhile waits for it and shares it."""
        self._warn_where_a_loop_waits()
        started = time.monotonic()
        connection = self._connect(anew=True)
        limit = connection.connect_timeout
        fetching = self._fetching
        if not fetching.acquire(timeout=limit):
            # Its holder's time is over: an interrupt came as it took it, or it was ended.
            self._fetching = threading.RLock()
            raise GatewayNotReached(
                f"another thread has waited {limit:g} seconds for the functions of the gateway"
                f" {self.gateway!r} at {connection.url}; raise its connect_timeout if it is slow",
                name=self.module_name,
                gateway=connection.url,
            )
        try:
            if self._listing is not None and self._fetched_at >= started:
                return self._listing
            left = max(limit - (time.monotonic() - started), 0.001)
            infos = connection.functions(fresh=fresh, timeout=left)
        except AwayError as error:
            raise as_import_error(error, self.module_name) from error
        else:
            return self._take_fetched(infos)
        finally:
            fetching.release()

    def _accept(self, infos: list[FunctionInfo], old: OldList | None = None) -> Listing:
        """Take a list on: names that are gone are dropped, functions in hand renewed in place."""
        if self._local is not None:
            self._local.load()  # before the lock: it is the user's code that this imports
        with self._changing:
            connection = self._connect()
            self._freshness.old = old
            settled = old is not None or not self._in_doubt
            if self._listing is not None and settled and self._accepted == (connection, infos):
                return self._listing
            self._accepted = connection, infos
            select = self._select
            listed = [each for each in infos if select is None or select(each)]
            if self._local is not None:
                listed = self._local.added_to(listed)
            self._infos = {each.name: each for each in listed}
            listing = self._listing = Listing(self._infos.values(), self._renames())
            for name in self._own_names():
                if listing.named(name) != [self._content[name].function_name]:
                    del self._content[name]
            self._list_those_in_hand(listing)
            if self.modules:
                from away.hooks import submodules

                submodules.renew(self, self._infos)
            for name in self._proxies.keys() & self._infos.keys():
                self._renew(name)
            return listing

    def _renames(self) -> Mapping[str, str]:
        """Return which names the configuration gives to functions of other names."""
        if self._settings is None or not self._settings.calls:
            return {}
        from away.hooks.configured_calls import renames

        return renames(self._settings.calls)

    def _connect(self, *, anew: bool = False) -> FaasConnection:
        """Return the gateway's connection.

        Args:
            anew: Whether to look into the configuration first: a gateway that moved, or the embedded
                one that started again, is followed with the next list.
        """
        self._renew_locks_after_fork()
        connection = self._connection
        if connection is not None and not anew:
            return connection
        try:
            settings = resolve(self.gateway)
            if connection is None or settings != self._settings:
                connection = connection_of(self.gateway, settings)
        except AwayError as error:
            raise as_import_error(error, self.module_name) from error
        self._settings, self._connection = settings, connection
        return connection

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
            import warnings

            warnings.warn(
                f"the event loop waits for the functions of the gateway {self.gateway!r};"
                f" await away.hooks.load({self.gateway!r}) before they are imported",
                RuntimeWarning,
                stacklevel=6,
            )

    # ------------------------------------------------------------ names and proxies

    def has_no_list(self) -> bool:
        """Tell whether this is inside a published function, which was given no login.

        The gateway's list is behind a login and its functions are not: there a name is taken at its
        word, and a call of one that is not deployed says so. The same holds where a test fakes the
        gateway and has not said yet what it has.
        """
        connection = self._connect()
        from away.connection.stand_ins import takes_any_name

        inside = os.environ.get("AWAY_RUNTIME") == "1" and not connection.is_logged_in
        return inside or takes_any_name(connection)

    def _unlisted(self, name: str) -> RemoteFunction[..., Any] | RemoteModule:
        """Return the one proxy of a function, or module, of which only the name is known."""
        from away.functions import RemoteFunction

        if is_module_inside(self.gateway, name):
            return self._module(name)
        with self._changing:
            found = self._unlisted_proxies.get(name)
            if found is None:
                connection = self._connect()
                kind = kind_inside(self.gateway, name)
                found = RemoteFunction(
                    connection,
                    name,
                    namespace=connection.namespace,
                    kind=async_kind(kind or "sync") if self.aio else kind,
                    python_name=name,
                    module=self.module_name,
                )
                self.place(found)
                self._unlisted_proxies[name] = found
            return found

    def place(self, function: RemoteFunction[..., Any]) -> None:
        """Let a function's calls choose between the gateway and the local module behind it."""
        if self._local is None:
            return
        try:
            function.placement = self._local.placement(function.__name__, function.kind)
        except ConfigError as error:
            raise as_import_error(error, self.module_name) from error

    def _list_those_in_hand(self, listing: Listing) -> None:
        """Let proxies that were made of a name alone be what the list says that they are."""
        for name, proxy in list(self._unlisted_proxies.items()):
            found = listing.named(name)
            if len(found) == 1:
                become(proxy, self._make(found[0]))
                self._proxies.setdefault(found[0], self._unlisted_proxies.pop(name))

    def _own_names(self) -> list[str]:
        """List the names in the module that hold a proxy of ours, not a patch of the user's."""
        proxies = {id(each) for each in self._proxies.values()}
        return [name for name, value in self._content.items() if id(value) in proxies]

    def _keep_all(self) -> None:
        listing = self._listing
        assert listing is not None, "called after a list was fetched"
        for name in listing.python_names():
            self._content[name] = self._given(listing.named(name)[0])

    def _given(self, name: str) -> RemoteFunction[..., Any] | RemoteModule:
        """Return what the gateway has under a name: a function, or a module published whole."""
        return self._proxy(name) if self._infos[name].module is None else self._module(name)

    def _module(self, name: str) -> RemoteModule:
        from away.hooks import submodules

        return submodules.module_of(self, name)

    def _proxy(self, name: str) -> RemoteFunction[..., Any]:
        """Return the one proxy of a function, however it was asked for."""
        with self._changing:
            found = self._proxies.get(name)
            if found is None:
                found = self._proxies[name] = self._make(name)
            return found

    def _renew(self, name: str) -> None:
        """Let a proxy in hand be what the function is now, where that has changed."""
        doubt_ends = name in self._in_doubt and self._freshness.old is None
        if doubt_ends or self._made_from[name] != self._source_of(name):
            become(self._proxies[name], self._make(name))

    def _make(self, name: str) -> RemoteFunction[..., Any]:
        from away.functions import from_info

        assert self._listing is not None, "a function is made from a list"
        info = self._infos[name]
        kind = info.description.kind if info.description else "sync"
        made = from_info(
            self._connect(),
            info,
            module=self.module_name,
            python_name=self._listing.shown_as(name),
            kind=async_kind(kind) if self.aio else None,
            **self._options_of(info),
        )
        self._made_from[name] = self._source_of(name)
        old = self._freshness.old
        (self._in_doubt.discard if old is None else self._in_doubt.add)(name)
        self.watch_over(made, name)
        self.place(made)
        return made

    def options_of_module(self, name: str) -> dict[str, Any]:
        """Return what the configuration says of calls of a module's functions: all but how they pack."""
        info = self._infos.get(name)
        said = self._options_of(info) if info is not None else {}
        return {key: said[key] for key in ("timeout", "idempotent") if key in said}

    def _options_of(self, info: FunctionInfo) -> dict[str, Any]:
        """Return what the configuration says of calls of a function."""
        if self._settings is None or not self._settings.calls:
            return {}
        from away.hooks.configured_calls import options_of

        return options_of(self._settings.calls, info)

    def watch_over(self, function: RemoteFunction[..., Any], name: str, member: str = "") -> None:
        """Let calls of a function, or of a module's, notice when the list does not hold any more."""
        from away.hooks.watches import Watching

        old = self._freshness.old
        watch = Watching(self, name, old and old.at, member=member)
        watch.take(function._caller)  # noqa: SLF001 - its calls

    def _source_of(self, name: str) -> tuple[FaasConnection, dict[str, str]]:
        return self._connect(), kept_annotations(self._infos[name].annotations)

    # ------------------------------------------------------------ errors

    def _missing(
        self, name: str, listing: Listing, kind: type[FunctionNotFound]
    ) -> FunctionNotFound:
        return missing(
            name,
            listing,
            kind,
            gateway=self.gateway,
            url=self._connect().url,
            module=self.module_name,
            selected="" if self._select is None else str(self._select),
            footnote=self._footnote(name),
        )

    def _footnote(self, name: str) -> str:
        assert self._settings is not None, "it was read before the list was looked at"
        meant = self._renames().get(name)
        renamed = (
            f"; {name} stands for {meant!r} there ({self._settings.calls[name].where})"
            if meant
            else ""
        )
        return renamed + self._freshness.footnote(self._settings)

    def _ambiguous(self, name: str, found: Sequence[str]) -> AmbiguousFunction:
        url = self._connect().url
        return ambiguous(name, found, gateway=self.gateway, url=url, module=self.module_name)
