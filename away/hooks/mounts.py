"""Mounts: a gateway's functions under a name of the user's own, such as ``acme.models``.

A mount is found by the same finder as gateways, and that one is asked last: a real module always
wins. So a mount under the name of one would never be seen, and is refused where it is made. Nothing is
imported and nothing sent for that.
"""

from __future__ import annotations

import importlib
import sys
import threading
from importlib.machinery import ModuleSpec
from typing import TYPE_CHECKING, Any, NamedTuple

from away.config import resolve
from away.exceptions import ConfigError, MountWarning
from away.hooks import finder as finding
from away.hooks.importing_code import may_see, refuse_strangers
from away.hooks.local_side import LocalSide, local_side_of
from away.hooks.modules import GatewayLoader, find_below, spec_of
from away.hooks.packages_above import PackageLoader
from away.hooks.real_modules import check_name, is_ours, place_of_real
from away.hooks.selection import Selection, selection_of
from away.names import printable
from away.user_lines import warn_at_user_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from types import ModuleType

    from away.config.mount_settings import MountSettings
    from away.hooks.contents import GatewayFunctions
    from away.placement import Offload

__all__ = [
    "Mount",
    "Selection",
    "add",
    "find",
    "is_mounted",
    "mount",
    "mounted",
    "take_over",
    "unmount",
]


class Mount(NamedTuple):
    """One mount; :func:`mount` says what each part means."""

    name: str
    gateway: str
    selection: Selection = Selection()
    aio: bool = False
    local: LocalSide | None = None
    settings: MountSettings | None = None
    """What the configuration says of it; None for one that the program made."""

    @property
    def parts(self) -> tuple[str, str]:
        """The gateway's name alone, and that of a module that was published there whole, if any."""
        gateway, _, module = self.gateway.partition(".")
        return gateway, module

    @property
    def kept_to(self) -> str | None:
        """The folder whose code alone sees it: that of the project whose file made it, unasked."""
        project = None if self.settings is None else self.settings.project
        return None if project in _asked_for else project

    @property
    def reference(self) -> tuple[Any, ...]:
        """What the module pickles to."""
        chosen = self.selection
        known = (self.name, self.gateway, chosen.functions, chosen.labels, self.aio)
        return mounted_module, known

    def spec(self, *, only_asked: bool) -> ModuleSpec | None:
        """Return the spec of the module; that of a module published whole may need the list."""
        if self.parts[1]:
            return _spec_of_module(self, only_asked=only_asked)
        chosen, local = self.selection or None, self.local
        loader = GatewayLoader(
            self.gateway, aio=self.aio, select=chosen, local=local, reference=self.reference
        )
        return spec_of(self.name, loader, only_asked=only_asked)


# Guards the two below, for an instant each.
_changing = threading.Lock()
_mounts: dict[str, Mount] = {}
# What knows the functions of each mounted module, once that was imported.
_owners: dict[str, GatewayFunctions] = {}
# The mounts of which was said that a real module hides them.
_hidden: set[str] = set()
# The folders of projects whose mounts the program asked for, so that all of its code sees them.
_asked_for: set[str] = set()
# The packages above mounts, which are made where nothing real has the name.
_above: frozenset[str] = frozenset()


def mount(
    gateway: str,
    name: str,
    *,
    functions: str | Iterable[str] | None = None,
    labels: Mapping[str, str] | str | None = None,
    aio: bool = False,
    local: ModuleType | str | None = None,
    fallback: bool = False,
    offload: Offload | None = None,
) -> None:
    """Make the functions of a gateway importable under a name of one's own.

    Nothing is imported or sent; ``import NAME`` then gives a module as ``import away.remote.GATEWAY``
    does, with proxies of its own. A package above it that is really there is left as it is, one
    that is not there is made. A mount under a name that is mounted from the same gateway, or by the
    configuration, takes its place.

    Args:
        gateway: The gateway's configured name; ``prod.mymodule`` for a module that was published
            there whole.
        name: The name to import, such as ``acme.models``.
        functions: Only functions with such a name: a pattern as a shell has it, or several.
        labels: Only functions with these labels, as a mapping or as ``"team=ml,tier=gold"``.
        aio: Whether they are coroutine functions, as in ``away.remote.aio``.
        local: A module, or its name, whose functions stand behind the remote ones of their names.
            What else it has, such as classes and constants, can be imported from the mount too.
        fallback: True to run the local function where a call could not reach the gateway.
        offload: Which calls go to the gateway; see :func:`away.builder.mirror_in_faas`.

    Raises:
        ConfigError: The name cannot be imported, or something real has it: the message names the
            file. The gateway is not configured, or an option is not one that a mount can have.

    Example::

        away.hooks.mount("prod", "acme.models", functions="model_*")
        from acme.models import model_of_sales
    """
    check_name(name)
    selection = selection_of(functions, labels)
    side = local_side_of(
        name,
        local,
        selection.fits,
        fallback=fallback,
        offload=offload,
        stands_for=gateway.partition(".")[2],
    )
    from away.hooks.configured_mounts import read

    read()
    add(Mount(name, gateway, selection, aio, side))


def add(made: Mount) -> None:
    """Take a mount on.

    Raises:
        ConfigError: As :func:`mount` does.
    """
    resolve(made.parts[0])
    if made.parts[1] and made.selection:
        raise ConfigError(
            f"{made.gateway} is a module, which is mounted whole; leave functions= and labels= out"
        )
    before = _mounts.get(made.name)
    if before is not None and before.gateway != made.gateway and before.settings is None:
        raise ConfigError(
            f"{made.name} is mounted from the gateway {before.gateway!r}; unmount it first, or"
            f" mount {made.gateway!r} under another name"
        )
    real = place_of_real(made.name)
    if real:
        raise ConfigError(
            f"the gateway {made.gateway!r} cannot be mounted as {made.name}, which is {real}; choose"
            " another name, or take that away"
        )
    if before is not None:
        _forget_module(made.name)
    elif made.name in _above and made.name in sys.modules:
        raise ConfigError(
            f"{made.name} was imported as the package above another mount; mount it before that"
        )
    _hidden.discard(made.name)
    with _changing:
        _mounts[made.name] = made
        _take_on()
    finding.install()


def take_over(wanted: Sequence[MountSettings], *, asked: bool = False) -> list[ConfigError]:
    """Let the mounts of the configuration be these; what the program mounted itself stays.

    Args:
        wanted: What the configuration says.
        asked: Whether the program asked for it, so that code outside a project sees its mounts too.

    Returns:
        Why some of them cannot be made.
    """
    problems = []
    if asked:
        _asked_for.update(each.project for each in wanted if each.project is not None)
    names = {each.name for each in wanted}
    for name in [each.name for each in list(_mounts.values()) if each.settings]:
        if name not in names:
            unmount(name)
    for each in wanted:
        before = _mounts.get(each.name)
        if before is not None and before.settings in (None, each):
            continue
        try:
            add(_from_settings(each))
        except ConfigError as error:
            problems.append(ConfigError(f"{error} ({each.where})"))
    return problems


def _from_settings(wanted: MountSettings) -> Mount:
    check_name(wanted.name)
    if wanted.local is not None and wanted.project is not None:
        refuse_strangers(wanted.name, wanted.local, wanted.project)
    selection = selection_of(wanted.functions, wanted.labels)
    side = local_side_of(
        wanted.name,
        wanted.local,
        selection.fits,
        fallback=wanted.fallback,
        offload=wanted.offload,
        stands_for=wanted.gateway.partition(".")[2],
    )
    return Mount(wanted.name, wanted.gateway, selection, wanted.aio, side, wanted)


def unmount(name: str) -> None:
    """Take a mount away; functions in hand stay valid.

    Raises:
        ConfigError: Nothing is mounted under the name.
    """
    if name not in _mounts:
        known = ", ".join(sorted(_mounts)) or "none"
        raise ConfigError(f"nothing is mounted as {printable(name)}; mounted are {known}")
    _forget_module(name)
    with _changing:
        above = _above
        del _mounts[name]
        _take_on()
    for each in sorted(above - _above, reverse=True):
        if isinstance(getattr(sys.modules.get(each), "__loader__", None), PackageLoader):
            _forget_module(each)


def mounted() -> list[Mount]:
    """Return all mounts by name; a real module that took the name of one is warned of."""
    warn_of_real()
    return [_mounts[name] for name in sorted(_mounts)]


def is_mounted(name: str) -> bool:
    """Tell whether a mount of a gateway's functions has this name.

    Raises:
        ImportError: It is a mounted module, which has no list of its own to be loaded.
    """
    if name not in _mounts:
        return False
    gateway, module = _mounts[name].parts
    if module:
        raise ImportError(
            f"{name} is the module {module!r} of the gateway {gateway!r}; load {gateway!r}, whose list"
            " has it",
            name=name,
        )
    return True


def mounted_module(
    name: str,
    gateway: str,
    functions: Sequence[str],
    labels: Sequence[tuple[str, str]],
    aio: bool,
) -> ModuleType:
    """Import a mounted module; make the mount first, where a pickle comes to another process."""
    if name not in _mounts:
        add(Mount(name, gateway, Selection(functions, labels), aio))
    return importlib.import_module(name)


def find(fullname: str, *, only_asked: bool) -> ModuleSpec | None:
    """Return the spec of a mount, of a package above one, or of what is below one.

    Args:
        fullname: A name that no other finder knows.
        only_asked: True to give None where an import would be told why there is no module.

    Raises:
        ModuleNotFoundError: A project's file mounts it, and the import is none of the project's.
        ImportError: It is a mount, and its gateway is not configured any more.
    """
    found = _mounts.get(fullname)
    if not _may_be_seen(fullname, only_asked=only_asked):
        return None
    if found is not None:
        return found.spec(only_asked=only_asked)
    if fullname in _above:
        return ModuleSpec(fullname, PackageLoader(), is_package=True)
    if fullname.rpartition(".")[0] in _mounts:
        return find_below(fullname, only_asked=only_asked)
    return None


def _may_be_seen(fullname: str, *, only_asked: bool) -> bool:
    """Tell whether the import under way may have a mount, or what is above or below it."""
    one = _mounts.get(fullname) or _mounts.get(fullname.rpartition(".")[0])
    below = [each for name, each in list(_mounts.items()) if name.startswith(f"{fullname}.")]
    concerned = below if one is None else [one]
    folders = [each.kept_to for each in concerned]
    if None in folders or not folders:
        return True
    return may_see(fullname, str(folders[0]), only_asked=only_asked)


def _spec_of_module(found: Mount, *, only_asked: bool) -> ModuleSpec | None:
    """Return the spec of a mounted module that was published whole.

    Raises:
        ModuleNotListed: The gateway has no such module; a ModuleNotFoundError.
        ImportError: The list of functions cannot be had.
    """
    from away.hooks import submodules
    from away.hooks.contents import GatewayFunctions

    gateway, module = found.parts
    owner = _owners.get(found.name)
    if owner is None:
        # Of its own, not that of away.remote.GATEWAY: it keeps what was imported under this name.
        owner = _owners[found.name] = GatewayFunctions(
            gateway,
            {},
            module_name=finding.PREFIX + gateway,
            aio=found.aio,
            local=found.local,
        )
    try:
        below = submodules.find(owner, f"{owner.module_name}.{module}")
    except ModuleNotFoundError as error:
        if only_asked:
            return None
        error.name = found.name
        raise
    assert below is not None, "it is found or an error"
    spec = ModuleSpec(found.name, below.loader, origin=below.origin)
    below.loader.reference = found.reference  # type: ignore[union-attr]  # of the module's pickles
    return spec


def look_anew() -> None:
    """Forget the lists behind mounted modules, and look for real modules that came to hide mounts."""
    for owner in list(_owners.values()):
        owner.forget()
    warn_of_real()


def warn_of_real() -> None:
    """Warn of mounts that a real module has come to hide, each once."""
    for name in list(_mounts):
        real = place_of_real(name)
        if real and name not in _hidden:
            _hidden.add(name)
            warn_at_user_line(
                f"{name} is mounted from the gateway {_mounts[name].gateway!r}, and there is now"
                f" {real}, which an import finds first; take one of the two away",
                MountWarning,
            )


# ---------------------------------------------------------------- modules


def _take_on() -> None:
    """Have the finder ask here as long as there is a mount; called with the lock."""
    global _above  # replaced as a whole, so that whoever reads it needs no lock
    above = set()
    for name in _mounts:
        while name := name.rpartition(".")[0]:
            above.add(name)
    _above = frozenset(above - _mounts.keys())
    finding.look_elsewhere(find if _mounts else None)


def _forget_module(name: str) -> None:
    """Take a mounted module out of where imports look."""
    module = sys.modules.get(name)
    _owners.pop(name, None)
    if module is None or not is_ours(module):
        return
    del sys.modules[name]
    parent, _, last = name.rpartition(".")
    above = vars(sys.modules[parent]) if parent in sys.modules else {}
    if above.get(last) is module:
        del above[last]
