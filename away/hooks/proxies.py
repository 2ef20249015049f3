"""The proxies of one gateway module: one for each function, however it was asked for.

They are made by :mod:`away.functions`, from the list that was taken on last, and are renewed in place
where a later one says something else. In the module's dictionary lie those that were asked for as
attributes; a patch of the user's there is never touched.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from away.exceptions import ConfigError
from away.hooks.errors import ConfigurationNotImported, as_import_error
from away.hooks.in_hand import become, remember
from away.hooks.listing import Listing
from away.hooks.locks import ForkedLock
from away.signatures import async_kind, kept_annotations, kind_inside

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from away.connection import FaasConnection
    from away.connection.catalogue import FunctionInfo
    from away.functions import RemoteFunction
    from away.hooks.freshness import OldList
    from away.hooks.gateway_list import GatewayList
    from away.hooks.local_side import LocalSide
    from away.signatures import Kind

__all__ = ["Proxies"]


class Proxies:
    """The proxies of a module, their names, and the list that they were made from.

    Args:
        source: Where the list comes from.
        content: The module's dictionary.
        module_name: The full name of the module.
        aio: Whether it gives coroutine functions of sync functions, async generators of generators.
        select: Which of the gateway's functions it has; all, if it is left out.
        local: The local module that stands behind it, if one does.
    """

    def __init__(
        self,
        source: GatewayList,
        content: dict[str, Any],
        *,
        module_name: str,
        aio: bool,
        select: Callable[[FunctionInfo], bool] | None,
        local: LocalSide | None,
    ) -> None:
        self.content = content
        self.infos: dict[str, FunctionInfo] = {}
        self.listing: Listing | None = None
        self._source = source
        self._module_name = module_name
        self._aio = aio
        self._select = select
        self._local = local
        self._taken_on: tuple[FaasConnection, list[FunctionInfo]] | None = None
        self._made: dict[str, RemoteFunction[..., Any]] = {}
        self._unlisted: dict[str, RemoteFunction[..., Any]] = {}
        # What each proxy was made from: it is renewed when that has changed.
        self._made_from: dict[str, tuple[FaasConnection, dict[str, str]]] = {}
        # Those that were made from a list that this process did not get from the gateway.
        self._in_doubt: set[str] = set()
        # Held for an instant, never while anything is sent: guards all of the above.
        self.changing = ForkedLock()

    # ------------------------------------------------------------ the list that they are made from

    def take_on(
        self, infos: list[FunctionInfo], old: OldList | None, renew_modules: Callable[[], None]
    ) -> Listing:
        """Take a list on: names that are gone are dropped, functions in hand renewed in place.

        Args:
            infos: What the gateway has.
            old: When it had that, where it was not just now.
            renew_modules: Does the same for the modules below.
        """
        if self._local is not None:
            self._local.load()  # before the lock: it is the user's code that this imports
        with self.changing.here:
            connection = self._source.connection()
            self._source.freshness.old = old
            settled = old is not None or not self._in_doubt
            if self.listing is not None and settled and self._taken_on == (connection, infos):
                return self.listing
            listed = [each for each in infos if self._select is None or self._select(each)]
            if self._local is not None:
                listed = self._local.added_to(listed)
            self.infos = {each.name: each for each in listed}
            listing = self.listing = Listing(listed, self.renames())
            for name in self._own_names():
                own = self.content[name].function_name
                # One of the same name that is a module now is what the name means from now on.
                if listing.named(name) != [own] or self.infos[own].module is not None:
                    del self.content[name]
            self._list_those_in_hand(listing)
            renew_modules()
            for name in self._made.keys() & self.infos.keys():
                # What is configured of one takes no other away: who asks the list for it is told.
                with suppress(ConfigurationNotImported):
                    self._renew(name)
            self._taken_on = connection, infos
            return listing

    def renames(self) -> Mapping[str, str]:
        """Return which names the configuration gives to functions of other names."""
        calls = self._source.settings.calls
        if not calls:
            return {}
        from away.hooks.configured_calls import renames

        return renames(calls)

    def are_in_hand(self) -> bool:
        """Tell whether somebody may hold one."""
        return bool(self._made or self._unlisted)

    def let_go(self, name: str | None = None) -> None:
        """Take all of them out of the names, or that of one function."""
        with self.changing.here:
            for each in self._own_names():
                if name is None or self.content[each] is self._made.get(name):
                    del self.content[each]

    def remembered(self) -> Callable[[], None]:
        """Remember names and proxies; what is returned puts them back."""
        names = remember(self._made, self._made_from, self.content)
        unlisted = remember(self._unlisted)

        def put_back() -> None:
            names()
            unlisted()
            # Of a name alone again, and not listed: the next list says anew what they are.
            unlisted_now = {id(each) for each in self._unlisted.values()}
            for name in [key for key, each in self._made.items() if id(each) in unlisted_now]:
                del self._made[name]
            # Taken on even if it says the same as the last one did.
            self._taken_on = None

        return put_back

    def _own_names(self) -> list[str]:
        """List the names in the module that hold a proxy of ours, not a patch of the user's."""
        proxies = {id(each) for each in self._made.values()}
        return [name for name, value in self.content.items() if id(value) in proxies]

    # ------------------------------------------------------------ one of them

    def of(self, name: str) -> RemoteFunction[..., Any]:
        """Return the one proxy of a function that is listed, by its own name."""
        with self.changing.here:
            found = self._made.get(name)
            if found is None:
                found = self._made[name] = self._make(name)
            else:
                self._renew(name)  # only if the list's arrival could not
            return found

    def of_unlisted(self, name: str, gateway: str) -> RemoteFunction[..., Any]:
        """Return the one proxy of a function of which only the name is known."""
        with self.changing.here:
            found = self._unlisted.get(name)
            if found is None:
                found = self._unlisted[name] = self._make_unlisted(name, kind_inside(gateway, name))
            return found

    def _make_unlisted(self, name: str, kind: Kind | None = None) -> RemoteFunction[..., Any]:
        from away.functions import RemoteFunction

        connection = self._source.connection()
        made: RemoteFunction[..., Any] = RemoteFunction(
            connection,
            name,
            namespace=connection.namespace,
            kind=async_kind(kind or "sync") if self._aio else kind,
            python_name=name,
            module=self._module_name,
        )
        self.place(made)
        return made

    def _list_those_in_hand(self, listing: Listing) -> None:
        """Let proxies that were made of a name alone be what the list says that they are."""
        for name, proxy in list(self._unlisted.items()):
            found = listing.named(name)
            if len(found) == 1:
                with suppress(ConfigurationNotImported):
                    become(proxy, self._make(found[0]))
                    self._made.setdefault(found[0], self._unlisted.pop(name))
            elif proxy.connection is not self._source.connection():
                become(proxy, self._make_unlisted(name))

    def _renew(self, name: str) -> None:
        """Let a proxy in hand be what the function is now, where that has changed."""
        doubt_ends = name in self._in_doubt and self._source.freshness.old is None
        if doubt_ends or self._made_from[name] != self._source_of(name):
            become(self._made[name], self._make(name))

    def _make(self, name: str) -> RemoteFunction[..., Any]:
        from away.functions import from_info

        assert self.listing is not None, "a function is made from a list"
        info = self.infos[name]
        kind = info.description.kind if info.description else "sync"
        try:
            made = from_info(
                self._source.connection(),
                info,
                module=self._module_name,
                python_name=self.listing.shown_as(name),
                kind=async_kind(kind) if self._aio else None,
                **self.options_of(name),
            )
        except ConfigError as error:
            raise as_import_error(error, self._module_name) from None
        self._made_from[name] = self._source_of(name)
        old = self._source.freshness.old
        (self._in_doubt.discard if old is None else self._in_doubt.add)(name)
        self.watch_over(made, name)
        self.place(made)
        return made

    def _source_of(self, name: str) -> tuple[FaasConnection, dict[str, str]]:
        return self._source.connection(), kept_annotations(self.infos[name].annotations)

    # ------------------------------------------------------------ how one is called

    def options_of(self, name: str) -> dict[str, Any]:
        """Return what the configuration says of calls of a function, or of a module's functions."""
        info, calls = self.infos.get(name), self._source.settings.calls
        if info is None or not calls:
            return {}
        from away.hooks.configured_calls import options_of

        return options_of(calls, info)

    def place(self, function: RemoteFunction[..., Any]) -> None:
        """Let a function's calls choose between the gateway and the local module behind it."""
        if self._local is None:
            return
        try:
            function.placement = self._local.placement(function.__name__, function.kind)
        except ConfigError as error:
            raise as_import_error(error, self._module_name) from None

    def watch_over(self, function: RemoteFunction[..., Any], name: str, member: str = "") -> None:
        """Let calls of a function, or of a module's, notice when the list does not hold any more."""
        from away.hooks.watches import Watching

        old = self._source.freshness.old
        watch = Watching(self._source, name, old and old.at, member=member)
        watch.take(function._caller)  # noqa: SLF001 - its calls
