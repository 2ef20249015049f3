"""What a gateway module gives out: the gateway's functions, as Python asks for them.

The list comes from :mod:`away.hooks.gateway_list`, which fetches it when the first function is asked
for, and the functions from :mod:`away.hooks.proxies`; which name means which is decided in
:mod:`away.hooks.listing`. Of modules this room knows only their dictionaries.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from away.exceptions import FunctionNotFound
from away.hooks.errors import (
    AmbiguousFunction,
    FunctionNotImported,
    GatewayNotReached,
    NoSuchFunction,
)
from away.hooks.finder import imports_a_name
from away.hooks.gateway_list import GatewayList
from away.hooks.missing import ambiguous, missing
from away.hooks.probes import reads_everything_next
from away.hooks.proxies import Proxies
from away.signatures import is_module_inside

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from away.connection import FaasConnection
    from away.connection.catalogue import FunctionInfo
    from away.functions import RemoteFunction
    from away.hooks.freshness import OldList
    from away.hooks.listing import Listing
    from away.hooks.local_side import LocalSide
    from away.modules import RemoteModule

__all__ = ["OWNER", "GatewayFunctions"]

# Where a module's dictionary keeps the owner of its functions.
OWNER = "__away_functions__"
# What makes a module one of ours and is no function of the gateway's, as help() would have it.
MACHINERY = (OWNER, "__getattr__", "__dir__")


class GatewayFunctions:
    """The functions behind one gateway module.

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
        self.local = local
        self._select = select
        self._content = content
        self.list = GatewayList(gateway, module_name, local, self._take_on, self._let_go_of)
        self.proxies = Proxies(
            self.list, content, module_name=module_name, aio=aio, select=select, local=local
        )
        # The modules below this one that were asked for, by their functions' names at the gateway.
        self.modules: dict[str, RemoteModule] = {}
        # Those that went from the list: published again, they are what somebody has in hand.
        self.gone_modules: dict[str, RemoteModule] = {}

    def _take_on(self, infos: list[FunctionInfo], old: OldList | None) -> Listing:
        return self.proxies.take_on(infos, old, self._renew_modules)

    # ------------------------------------------------------------ what Python asks

    def attribute(self, name: str) -> Any:
        """Stand in the module as ``__getattr__`` (PEP 562)."""
        if name == "__all__":
            listed = self.list.current().python_names()
            return listed if self.local is None else sorted({*listed, *self.local.beside()})
        asker = sys._getframe(1)  # noqa: SLF001 - who asks decides what is raised
        if name.startswith("_"):
            # What tools probe for. OpenFaaS wants DNS labels: no function's name begins so.
            if reads_everything_next(name, asker) and not self.has_no_list():
                self.list.current()
                self._keep_all()
            raise AttributeError(
                f"module {self.module_name!r} has no attribute {name!r}", name=name
            )
        if self.has_no_list():
            function = self._content[name] = self._unlisted(name)
            return function
        if self._is_only_local(name):
            assert self.local is not None, "it has the name"
            return self.local.get(name)
        found, listing = self.list.find(name)
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
        listing = self.proxies.listing if printing else self.list.current()
        fixed = (name for name in self._content if name not in MACHINERY)
        beside = () if self.local is None or printing else self.local.beside()
        return sorted({*fixed, *(listing.python_names() if listing else ()), *beside})

    def item(self, name: str) -> RemoteFunction[..., Any] | RemoteModule:
        """Return a function or module by its own name, else by what the Python name means."""
        if not isinstance(name, str):
            raise TypeError(f"a function's name is a text, not {type(name).__name__}")
        if self.has_no_list():
            return self._unlisted(name)
        found, listing = self.list.find(name, exact_first=True)
        if not found:
            raise self._missing(name, listing, FunctionNotFound)
        if len(found) > 1:
            raise self._ambiguous(name, found)
        return self._given(found[0])

    def rows(self, *, fresh: bool = False) -> list[tuple[str, FunctionInfo]]:
        """List what the gateway says of each function, with its Python name; asked now if fresh."""
        listing = self.list.fetch(fresh=True) if fresh else self.list.current()
        infos = self.proxies.infos
        return [(listing.shown_as(name), infos[name]) for name in sorted(infos)]

    def has_no_list(self) -> bool:
        """Tell whether this is inside a published function, which was given no login.

        The gateway's list is behind a login and its functions are not: there a name is taken at its
        word, and a call of one that is not deployed says so. The same holds where a test fakes the
        gateway and has not said yet what it has.
        """
        connection = self.connection()
        from away.connection.stand_ins import takes_any_name

        inside = os.environ.get("AWAY_RUNTIME") == "1" and not connection.is_logged_in
        return inside or takes_any_name(connection)

    def _is_only_local(self, name: str) -> bool:
        """Tell whether the local module has this, which is no function, and the gateway has not."""
        if self.local is None or name not in self.local.beside():
            return False
        try:
            return not self.list.current().named(name)
        except GatewayNotReached:
            return True

    def _given(self, name: str) -> RemoteFunction[..., Any] | RemoteModule:
        """Return what the gateway has under a name: a function, or a module published whole."""
        is_module = self.proxies.infos[name].module is not None
        return self._module(name) if is_module else self.proxies.of(name)

    def _unlisted(self, name: str) -> RemoteFunction[..., Any] | RemoteModule:
        """Return the function, or module, of which only the name is known."""
        if is_module_inside(self.gateway, name):
            return self._module(name)
        return self.proxies.of_unlisted(name, self.gateway)

    def _keep_all(self) -> None:
        listing = self.proxies.listing
        assert listing is not None, "called after a list was taken on"
        for name in listing.python_names():
            self._content[name] = self._given(listing.named(name)[0])

    # ------------------------------------------------------------ what programs ask

    def fetch_sync(self) -> None:
        """Fetch the list now and keep a proxy of every function in the module."""
        self.list.fetch(fresh=True)
        self._keep_all()

    async def fetch_async(self) -> None:
        """Do as :meth:`fetch_sync` without blocking the event loop."""
        await self.list.fetch_async()
        self._keep_all()

    def forget(self) -> None:
        """Ask anew for the list when next needed; functions in hand stay valid."""
        self.list.forget()

    def start_anew(self) -> None:
        """After a reload: also let go of the names, which the new list brings back or not."""
        self.list.forget(reloaded=True)
        self._let_all_go()

    def renew_in_hand(self) -> None:
        """Let proxies that somebody holds be what the gateway's functions are now."""
        self.forget()
        if self.proxies.are_in_hand() or self.modules or self.gone_modules:
            self.list.fetch_by_connection()

    def remembered(self) -> Callable[[], None]:
        """Remember names and proxies; what is returned puts them back, after a test's fake."""
        parts = [self.list.remembered(), self.proxies.remembered()]
        if self.modules or self.gone_modules:
            from away.hooks import submodules

            parts.append(submodules.remembered(self))

        def put_back() -> None:
            with self.proxies.changing.here:
                self.start_anew()
                for each in parts:
                    each()

        return put_back

    # ------------------------------------------------------------ what modules below it ask

    def listed(self) -> dict[str, FunctionInfo]:
        """Return what the gateway has, by name."""
        self.list.current()
        return self.proxies.infos

    def known(self) -> dict[str, FunctionInfo]:
        """Return what is known of the gateway without a request, by name."""
        return self.proxies.infos

    def named(self, name: str) -> list[FunctionInfo]:
        """Return what a Python name means: nothing, one function, or several."""
        found, _ = self.list.find(name)
        return [self.proxies.infos[each] for each in found]

    def shown_as(self, name: str) -> str:
        """Return the Python name of a function."""
        listing = self.proxies.listing
        return name if listing is None else listing.shown_as(name)

    def connection(self) -> FaasConnection:
        """Return the gateway's connection."""
        return self.list.connection()

    def let_go(self, module: RemoteModule) -> None:
        """Take a module below this one out of the names, not a patch of the user's."""
        for name in [key for key, value in self._content.items() if value is module]:
            del self._content[name]

    def _let_go_of(self, namespace: str, name: str) -> None:
        with self.proxies.changing.here:
            info = self.proxies.infos.get(name)
            # The gateway's default namespace has a name too, which its list says.
            ours = self.connection().namespace
            if namespace != ours and (ours or info is None or namespace != info.namespace):
                return
            self.proxies.let_go(name)
            if name in self.modules:
                self.let_go(self.modules[name])

    def _let_all_go(self) -> None:
        with self.proxies.changing.here:
            self.proxies.let_go()
            for module in self.modules.values():
                self.let_go(module)

    def _renew_modules(self) -> None:
        if self.modules or self.gone_modules:
            from away.hooks import submodules

            submodules.renew(self, self.proxies.infos)

    def _module(self, name: str) -> RemoteModule:
        from away.hooks import submodules

        return submodules.module_of(self, name)

    # ------------------------------------------------------------ errors

    def _missing(
        self, name: str, listing: Listing, kind: type[FunctionNotFound]
    ) -> FunctionNotFound:
        return missing(
            name,
            listing,
            kind,
            gateway=self.gateway,
            url=self.connection().url,
            module=self.module_name,
            selected="" if self._select is None else str(self._select),
            footnote=self._footnote(name),
        )

    def _footnote(self, name: str) -> str:
        settings = self.list.settings
        meant = self.proxies.renames().get(name)
        renamed = (
            f"; {name} stands for {meant!r} there ({settings.calls[name].where})" if meant else ""
        )
        return renamed + self.list.freshness.footnote(settings)

    def _ambiguous(self, name: str, found: Sequence[str]) -> AmbiguousFunction:
        url = self.connection().url
        return ambiguous(name, found, gateway=self.gateway, url=url, module=self.module_name)
