"""Mounts: a gateway's functions under a name of the user's own, such as ``acme.models``.

A mount is found by the same finder as gateways, and that one is asked last: a real module always
wins. So a mount under the name of one would never be seen, and is refused where it is made. Nothing is
imported and nothing sent for that.
"""

from __future__ import annotations

import importlib
import keyword
import sys
import threading
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, NamedTuple

from away.config import resolve
from away.exceptions import ConfigError, MountWarning
from away.hooks import finder as finding
from away.hooks.local_side import LocalSide
from away.hooks.modules import GatewayLoader, GatewayModule, find_below, spec_of
from away.names import printable, python_name
from away.user_lines import warn_at_user_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from importlib.abc import InspectLoader

    from away.config.mount_settings import MountSettings
    from away.connection.catalogue import FunctionInfo
    from away.placement import Offload
else:
    # As for gateways: importing importlib.abc takes milliseconds, and nobody asks for it.
    InspectLoader = object

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


class Selection:
    """Which of a gateway's functions a mount has: all conditions hold, and empty ones say nothing.

    Args:
        functions: Patterns as a shell has them; one of them fits the name, in either spelling.
        labels: Labels that the function has with these values.
    """

    def __init__(
        self, functions: Iterable[str] = (), labels: Iterable[tuple[str, str]] = ()
    ) -> None:
        self.functions = tuple(functions)
        self.labels = tuple(labels)

    def __bool__(self) -> bool:
        return bool(self.functions or self.labels)

    def __call__(self, info: FunctionInfo) -> bool:
        """Tell whether a function is one of these."""
        return self.fits(info.name) and all(
            info.labels.get(key) == value for key, value in self.labels
        )

    def fits(self, name: str) -> bool:
        """Tell whether a name is one of these."""
        from fnmatch import fnmatchcase

        spellings = (name, python_name(name))
        return not self.functions or any(
            fnmatchcase(spelling, pattern) for pattern in self.functions for spelling in spellings
        )

    def __str__(self) -> str:
        said = [f"functions={'|'.join(self.functions)!r}"] if self.functions else []
        labels = ",".join(f"{key}={value}" for key, value in self.labels)
        return " and ".join([*said, *([f"labels={labels!r}"] if labels else [])])


class Mount(NamedTuple):
    """One mount; :func:`mount` says what each part means."""

    name: str
    gateway: str
    selection: Selection = Selection()
    aio: bool = False
    local: LocalSide | None = None
    settings: MountSettings | None = None
    """What the configuration says of it; None for one that the program made."""

    def loader(self) -> GatewayLoader:
        """Return what makes the module."""
        chosen = self.selection
        known = (self.name, self.gateway, chosen.functions, chosen.labels, self.aio)
        return GatewayLoader(
            self.gateway,
            aio=self.aio,
            select=chosen or None,
            local=self.local,
            reference=(mounted_module, known),
        )


# Guards the two below, for an instant each.
_changing = threading.Lock()
_mounts: dict[str, Mount] = {}
# The mounts of which was said that a real module hides them.
_hidden: set[str] = set()
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
        gateway: The gateway's configured name.
        name: The name to import, such as ``acme.models``.
        functions: Only functions with such a name: a pattern as a shell has it, or several.
        labels: Only functions with these labels, as a mapping or as ``"team=ml,tier=gold"``.
        aio: Whether they are coroutine functions, as in ``away.remote.aio``.
        local: A module, or its name, whose functions stand behind the remote ones of their names.
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
    selection = Selection(_patterns(functions), _pairs(labels))
    side = _local_side(name, local, selection, fallback=fallback, offload=offload)
    from away.hooks.configured_mounts import read

    read()
    add(Mount(name, gateway, selection, aio, side))


def add(made: Mount) -> None:
    """Take a mount on.

    Raises:
        ConfigError: As :func:`mount` does.
    """
    resolve(made.gateway)
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


def take_over(wanted: Sequence[MountSettings]) -> list[ConfigError]:
    """Let the mounts of the configuration be these; what the program mounted itself stays.

    Returns:
        Why some of them cannot be made.
    """
    problems = []
    names = {each.name for each in wanted}
    for name in [each.name for each in _mounts.values() if each.settings]:
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
    selection = Selection(wanted.functions or (), _pairs(wanted.labels))
    side = _local_side(
        wanted.name, wanted.local, selection, fallback=wanted.fallback, offload=wanted.offload
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
        if isinstance(getattr(sys.modules.get(each), "__loader__", None), _PackageLoader):
            _forget_module(each)


def mounted() -> list[Mount]:
    """Return all mounts by name; a real module that took the name of one is warned of."""
    warn_of_real()
    return [_mounts[name] for name in sorted(_mounts)]


def is_mounted(name: str) -> bool:
    """Tell whether a mount has this name."""
    return name in _mounts


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
        ImportError: It is a mount, and its gateway is not configured any more.
    """
    found = _mounts.get(fullname)
    if found is not None:
        return spec_of(fullname, found.loader(), only_asked=only_asked)
    if fullname in _above:
        return ModuleSpec(fullname, _PackageLoader(), is_package=True)
    if fullname.rpartition(".")[0] in _mounts:
        return find_below(fullname, only_asked=only_asked)
    return None


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


# ---------------------------------------------------------------- what may be mounted


def check_name(name: str) -> None:
    """Refuse a name that no import statement could say, or that is Python's or Away's own.

    Raises:
        ConfigError: It is one of these.
    """
    shown = printable(str(name)[:80])
    parts = name.split(".") if isinstance(name, str) else [""]
    if not all(part.isidentifier() and not keyword.iskeyword(part) for part in parts):
        raise ConfigError(
            f"{shown!r} cannot be imported, so that nothing can be mounted there; a name is"
            " identifiers with dots between them"
        )
    if parts[0] == "away":
        raise ConfigError(f"{shown!r} is below Away's own package; mount under another name")
    if parts[0] in sys.stdlib_module_names:
        raise ConfigError(
            f"{shown!r} is in Python's standard library, or below it; mount under another name"
        )


def place_of_real(name: str) -> str:
    """Say which real module has a name, without importing it; an empty text where none has.

    Raises:
        ConfigError: What stands above it is a module and no package.
    """
    path: Iterable[str] | None = None
    parts = name.split(".")
    for depth in range(1, len(parts) + 1):
        each = ".".join(parts[:depth])
        found = _real(each, path)
        if found is None:
            return ""
        place, path = found
        if depth == len(parts):
            return f"the module {place}"
        if path is None:
            raise ConfigError(
                f"nothing can be mounted as {name}, since {each} is the module {place} and no package"
            )
    raise AssertionError("a name has one part at least")


def _real(name: str, path: Iterable[str] | None) -> tuple[str, Iterable[str] | None] | None:
    """Return place and search path of a real module, or None where there is none."""
    module = sys.modules.get(name)
    if module is not None:
        if isinstance(getattr(module, "__loader__", None), GatewayLoader | _PackageLoader):
            return None
        place = getattr(module, "__file__", None)
        locations = getattr(module, "__path__", None)
        return place or _folder(locations) or "that this process made itself", locations
    if path is None and "." in name:
        return None
    try:
        spec = _spec_by_others(name, path)
    except KeyError:
        # A folder without __init__.py looks for its parent among what was imported, and that was not.
        return f"folder {name.rpartition('.')[2]} in {_folder(path)}", ()
    if spec is None:
        return None
    locations = spec.submodule_search_locations
    return (spec.origin if spec.has_location else None) or _folder(locations) or name, locations


def _spec_by_others(name: str, path: Iterable[str] | None) -> ModuleSpec | None:
    """Ask all other finders, as an import does."""
    for each in sys.meta_path:
        find_spec = getattr(each, "find_spec", None)
        if find_spec is None or isinstance(each, finding.GatewayFinder):
            continue
        spec: ModuleSpec | None = find_spec(name, path)
        if spec is not None:
            return spec
    return None


def _folder(locations: Iterable[str] | None) -> str:
    first = next(iter(locations or ()), "")
    return f"{first}, a folder without __init__.py" if first else ""


# ---------------------------------------------------------------- options


def _patterns(functions: str | Iterable[str] | None) -> tuple[str, ...]:
    if functions is None:
        return ()
    given = (functions,) if isinstance(functions, str) else tuple(functions)
    if not given or not all(isinstance(each, str) and each for each in given):
        raise ConfigError(f"functions= is a pattern such as 'model_*', or some, not {functions!r}")
    return given


def _pairs(labels: Mapping[str, str] | str | None) -> tuple[tuple[str, str], ...]:
    if labels is None:
        return ()
    if isinstance(labels, str):
        pairs = tuple(_parts_of(labels))
    else:
        pairs = tuple(sorted(labels.items()))
    if not pairs or not all(isinstance(text, str) for pair in pairs for text in pair):
        raise ConfigError(f"labels= is a mapping of texts, or 'team=ml,tier=gold', not {labels!r}")
    return pairs


def _parts_of(labels: str) -> Iterator[tuple[str, str]]:
    for each in labels.split(","):
        key, mark, value = each.partition("=")
        if not mark or not key.strip():
            raise ConfigError(f"labels= is written 'team=ml,tier=gold', not {labels!r}")
        yield key.strip(), value.strip()


def _local_side(
    name: str,
    local: ModuleType | str | None,
    selection: Selection,
    *,
    fallback: bool,
    offload: Offload | None,
) -> LocalSide | None:
    if local is None:
        if fallback or offload is not None:
            option = "fallback=True" if fallback else "offload="
            raise ConfigError(f"{option} of {name} wants local=, the module that calls run in here")
        return None
    if not isinstance(local, str | ModuleType) or isinstance(local, GatewayModule):
        raise ConfigError(
            f"local= of {name} is a module of this machine or its name, not {local!r}"
        )
    if isinstance(local, str) and not place_of_real(local):
        raise ConfigError(
            f"local= of {name} names {printable(local)!r}, and there is no such module"
        )
    if offload is not None:
        from away.placement import check_offload

        check_offload(offload)
    return LocalSide(local, fallback=fallback, offload=offload, wanted=selection.fits)


# ---------------------------------------------------------------- modules


class _PackageLoader(InspectLoader):
    """Makes the package above a mount where there is no real one: empty, but for what is below."""

    def create_module(self, spec: ModuleSpec) -> None:
        """Let the import system make a plain module."""

    def exec_module(self, module: ModuleType) -> None:
        """Say what it is."""
        module.__doc__ = "A package that Away made for what is mounted below it."

    def is_package(self, fullname: str) -> bool:  # noqa: ARG002 - the import system's signature
        """Say yes."""
        return True

    def get_source(self, fullname: str) -> None:
        """Say that there is no source."""

    def get_code(self, fullname: str) -> CodeType:
        """Refuse: there is nothing to run as a program."""
        raise ImportError(f"{fullname} holds what Away mounts; nothing to run", name=fullname)


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
    if not isinstance(getattr(module, "__loader__", None), GatewayLoader | _PackageLoader):
        return
    del sys.modules[name]
    parent, _, last = name.rpartition(".")
    above = vars(sys.modules[parent]) if parent in sys.modules else {}
    if above.get(last) is module:
        del above[last]
