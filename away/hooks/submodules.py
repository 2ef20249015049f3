"""Modules below a gateway's: ``from away.remote.myfaas.mymodule import f``.

A module that was published whole is one function of the gateway and one module here. Which there are
is on the gateway's list, so that looking for one may fetch it, as asking for a function does; what a
module then gives out is :mod:`away.modules`' business. Packages are one module: what their own
``__init__`` gives out.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from typing import TYPE_CHECKING, Any

from away.hooks.errors import AmbiguousFunction, FunctionNotImported, ModuleNotListed
from away.hooks.finder import imports_a_name
from away.hooks.in_hand import become, remember
from away.hooks.probes import reads_everything_next
from away.modules import CONTENT, ModuleContent, NoSuchMember, Place, RemoteModule, content_of
from away.names import nearest, printable

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, ModuleType

    from away.connection.catalogue import FunctionInfo
    from away.functions import RemoteFunction
    from away.hooks.contents import GatewayFunctions
    from away.hooks.local_side import LocalSide

__all__ = ["find", "module_of", "renew"]

# So many names fit an error that a person still reads.
_MOST_NAMES = 10


class ImportedContent(ModuleContent):
    """What an imported module gives out: where a name is missing, the list is looked at again."""

    def __init__(self, owner: GatewayFunctions, content: dict[str, Any], **made: Any) -> None:
        self.owner = owner
        super().__init__(content, **made)

    @property
    def _local(self) -> LocalSide | None:
        """The local module that stands behind this one, if one does."""
        local = self.owner.local
        return local if local is not None and local.is_behind(self.place.name) else None

    def _fill(self) -> None:
        """Name what the local module has beside its functions too."""
        super()._fill()
        if self._local is not None and self.description is not None:
            self._content["__all__"] = sorted({*self.description.names, *self._local.beside()})

    def names(self) -> list[str]:
        """Stand in the module as ``__dir__`` (PEP 562)."""
        found = super().names()
        return found if self._local is None else sorted({*found, *self._local.beside()})

    def _make(self, name: str) -> RemoteFunction[..., Any]:
        proxies = self.owner.proxies
        # All that the configuration says of the module's functions, but how they pack.
        said = proxies.options_of(self.place.name)
        self.manner = {key: said[key] for key in ("timeout", "idempotent") if key in said}
        made = super()._make(name)
        if self._local is not None:
            proxies.place(made)
        proxies.watch_over(made, self.place.name, name)
        return made

    def attribute(self, name: str) -> Any:
        """Stand in the module as ``__getattr__`` (PEP 562)."""
        asker = sys._getframe(1)  # noqa: SLF001 - who asks decides what is raised
        if reads_everything_next(name, asker) and self.description is not None:
            for each in self.description.functions:
                self._content.setdefault(each, self.member(each))
        if name.startswith("_") or self.has(name):
            return super().attribute(name)
        if self._local is not None and name in self._local.beside():
            return self._local.get(name)
        self.owner.list.look_again(f"{self.place.name}/{name}")
        if self.has(name):
            return super().attribute(name)
        if imports_a_name(asker):
            error = self.missing(name, FunctionNotImported)
            assert isinstance(error, FunctionNotImported), "it was asked for"
            error.name = self.module_name
            raise error
        raise self.missing(name, NoSuchMember)


class RemoteModuleLoader(importlib.abc.InspectLoader):
    """Makes the module of a function of the gateway that is a module published whole.

    Args:
        owner: The functions of the gateway.
        name: The function's name there.
    """

    def __init__(self, owner: GatewayFunctions, name: str) -> None:
        self.owner = owner
        self.name = name

    def create_module(self, spec: ModuleSpec) -> RemoteModule:
        """Return the empty module, or the one in hand that was gone and is there again."""
        owner, name = self.owner, self.name
        # A list that was fetched on the way here may have brought it back already.
        back = owner.gone_modules.pop(name, None) or owner.modules.get(name)
        return back or RemoteModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Give the module what the list says that it has; after a reload, what a new list says."""
        owner, found = self.owner, module.__dict__.get(CONTENT)
        if isinstance(found, ModuleContent) and owner.modules.get(self.name) is module:
            owner.forget()
            owner.listed()  # which renews what was imported
            return
        info = None if owner.has_no_list() else owner.listed().get(self.name)
        if isinstance(found, ModuleContent) and isinstance(module, RemoteModule):
            found.take_on(_place(owner, self.name), info.module if info else None, become)
            owner.modules[self.name] = module
            return
        ImportedContent(
            owner,
            module.__dict__,
            place=_place(owner, self.name),
            description=info.module if info else None,
            module_name=module.__name__,
            aio=owner.aio,
        )
        assert isinstance(module, RemoteModule), "it was made here"
        owner.modules[self.name] = module

    def get_source(self, fullname: str) -> None:
        """Say that there is no source, for linecache, pdb and the like."""

    def get_code(self, fullname: str) -> CodeType:
        """Refuse: there is nothing to run as a program."""
        raise ImportError(f"{fullname} runs at a gateway, nothing to run here", name=fullname)


def find(owner: GatewayFunctions, fullname: str) -> ModuleSpec | None:
    """Return the spec of a module below a gateway's.

    Args:
        owner: The functions of the gateway.
        fullname: The module's full name, the owner's before it.

    Raises:
        ModuleNotListed: There is none of that name; a ModuleNotFoundError.
        AmbiguousFunction: The name means more than one function of the gateway.
        ImportError: The list cannot be had.
    """
    name = fullname.removeprefix(f"{owner.module_name}.")
    if owner.has_no_list():
        return _spec(owner, name, fullname)
    found = owner.named(name)
    modules = [each for each in found if each.module is not None]
    if len(found) > 1:
        raise AmbiguousFunction(
            f"{name!r} means more than one function of the gateway {owner.gateway!r}:"
            f" {', '.join(each.name for each in found)}; import {owner.module_name} and take one of"
            " them by its own name in brackets",
            name=fullname,
        )
    if not modules:
        raise _no_module(owner, name, fullname, is_function=bool(found))
    return _spec(owner, modules[0].name, fullname)


def _spec(owner: GatewayFunctions, name: str, fullname: str) -> ModuleSpec:
    place = _place(owner, name)
    origin = f"{place.connection.url}/function/{name}"
    return ModuleSpec(fullname, RemoteModuleLoader(owner, name), origin=origin)


def _place(owner: GatewayFunctions, name: str) -> Place:
    connection = owner.connection()
    return Place(connection, connection.namespace, name)


def _no_module(
    owner: GatewayFunctions, name: str, fullname: str, *, is_function: bool
) -> ModuleNotListed:
    infos = owner.listed()
    known = sorted(owner.shown_as(key) for key, info in infos.items() if info.module is not None)
    near = tuple(nearest(name, known))
    url = owner.connection().url
    if is_function:
        text = f"{name!r} is a function, and functions are no modules; write from"
        text = f"{text} {owner.module_name} import {name}"
    else:
        ordered = [*near, *(each for each in known if each not in near)][:_MOST_NAMES]
        has = f"its modules are {', '.join(ordered)}" if ordered else "it has none"
        text = f"the gateway {owner.gateway!r} at {url} has no module {printable(name)!r}; {has}"
    return ModuleNotListed(text, name=fullname, gateway=url, function=name, nearest=near)


# ---------------------------------------------------------------- for the gateway's own module


def module_of(owner: GatewayFunctions, name: str) -> RemoteModule:
    """Return the one module of a function that is one, imported or not.

    Args:
        owner: The functions of the gateway.
        name: The function's own name.
    """
    found = owner.modules.get(name)
    if found is not None:
        return found
    fullname = f"{owner.module_name}.{owner.shown_as(name)}"
    present = sys.modules.get(fullname)
    if isinstance(present, RemoteModule):
        return present
    # Without the import system: an attribute is asked for under no lock of it.
    spec = _spec(owner, name, fullname)
    made = importlib.util.module_from_spec(spec)
    assert spec.loader is not None, "it was given one"
    spec.loader.exec_module(made)
    kept = sys.modules.setdefault(fullname, made)
    assert isinstance(kept, RemoteModule), "it was made here"
    owner.modules[name] = kept
    return kept


def renew(owner: GatewayFunctions, infos: dict[str, FunctionInfo]) -> None:
    """Let the modules that were imported be what a new list says; one that is gone is let go of.

    Args:
        owner: The functions of the gateway.
        infos: What is listed now, by name.
    """
    for name, module in list(owner.modules.items()):
        info = infos.get(name)
        if info is not None and info.module is not None:
            content_of(module).take_on(_place(owner, name), info.module, become)
            continue
        del owner.modules[name]
        owner.gone_modules[name] = module
        if sys.modules.get(module.__name__) is module:
            del sys.modules[module.__name__]
        owner.let_go(module)
    for name, module in list(owner.gone_modules.items()):
        info = infos.get(name)
        if info is not None and info.module is not None:
            content_of(module).take_on(_place(owner, name), info.module, become)
            del owner.gone_modules[name]
            _keep(owner, name, module)


def remembered(owner: GatewayFunctions) -> Callable[[], None]:
    """Remember the modules that were imported and what each has; what is returned puts it back."""
    gone, there = dict(owner.gone_modules), dict(owner.modules)
    contents = [content_of(each).remembered(remember) for each in {**gone, **there}.values()]

    def put_back() -> None:
        for name, module in there.items():
            owner.gone_modules.pop(name, None)
            _keep(owner, name, module)
        for each in contents:
            each()

    return put_back


def _keep(owner: GatewayFunctions, name: str, module: RemoteModule) -> None:
    owner.modules[name] = module
    sys.modules.setdefault(module.__name__, module)
