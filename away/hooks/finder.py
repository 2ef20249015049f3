"""The finder of gateway modules, and the entry of ``away.remote.__path__`` that lists them.

Two parts of Python's import system are served: a meta-path finder says what
``away.remote.<gateway>`` is, and a path hook lets ``pkgutil``, ``pydoc`` and editors list the
gateways, which a meta-path finder alone cannot. Neither sends a request: the module's functions are
fetched when one is asked for (:mod:`away.hooks.modules`).

Every import of the process that no other finder answers passes through here, so this module imports
next to nothing and answers foreign names with one comparison.
"""

from __future__ import annotations

import os
import sys
from _thread import get_ident
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from importlib.machinery import ModuleSpec
    from types import FrameType, ModuleType

__all__ = [
    "GatewayEntry",
    "GatewayFinder",
    "absent_gateway",
    "imports_a_name",
    "install",
    "names_below",
]

PACKAGE = "away.remote"
PREFIX = f"{PACKAGE}."
# The last part of a path that does not exist, so that no other path hook takes it for a folder.
ENTRY = "<gateways>"


class Elsewhere(Protocol):
    """What finds modules under names of the user's own (:mod:`away.hooks.mounts`)."""

    def __call__(self, fullname: str, *, only_asked: bool) -> ModuleSpec | None:
        """Return the spec of a module that no other finder knows."""


class GatewayFinder:
    """The meta-path finder: makes ``away.remote.<gateway>`` importable, and what is mounted."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,  # noqa: ARG002 - the import system's signature
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        """Return the spec of a gateway's module; reads the configuration and sends nothing.

        Returns:
            None for a module that is none of ours, and for an unknown gateway when it was only
            asked whether there is one (``importlib.util.find_spec``).

        Raises:
            ModuleNotFoundError: An import names a gateway that is not configured.
            ImportError: The configuration cannot be read.
        """
        # Read once: another thread may change it meanwhile.
        elsewhere = None if fullname.startswith(PREFIX) else _elsewhere
        if elsewhere is None and not fullname.startswith(PREFIX):
            return None
        # CPython enters here by the same function for an import and for importlib.util.find_spec,
        # whose answer to "there is none" is None; two frames up they differ (3.11 to 3.13).
        asker = sys._getframe(1).f_back  # noqa: SLF001 - see above
        only_asked = asker is not None and _module_name(asker) == "importlib.util"
        if elsewhere is not None:
            return elsewhere(fullname, only_asked=only_asked)
        from away.hooks.modules import find

        return find(fullname, only_asked=only_asked)

    def invalidate_caches(self) -> None:
        """Forget the lists of all imported gateways and the configuration that was read.

        Called by :func:`importlib.invalidate_caches`. Functions in hand stay as they are.
        """
        # Without the module nothing was imported, hence nothing read.
        modules = sys.modules.get("away.hooks.modules")
        if modules is not None:
            modules.forget_all()
        _look_anew()


class GatewayEntry:
    """The path entry finder behind ``away.remote.__path__``: lists gateways, finds nothing."""

    def __init__(self, path: str) -> None:
        if os.path.basename(path) != ENTRY:  # noqa: PTH119 - no pathlib for one comparison
            raise ImportError("not the entry that lists Away's gateways", path=path)

    def find_spec(self, fullname: str, target: ModuleType | None = None) -> None:
        """Find nothing: the path finder asks here before the meta-path finder is asked."""

    def iter_modules(self, prefix: str = "") -> Iterator[tuple[str, bool]]:
        """Yield the configured gateways as packages, for :func:`pkgutil.iter_modules`."""
        from away.config import names
        from away.exceptions import ConfigError

        try:
            found = names()
        except ConfigError:
            # A tool that lists all modules of an environment must not die of one bad file; the
            # import of a gateway names it.
            return
        for name in found:
            yield prefix + name, True


def look_elsewhere(find: Elsewhere | None) -> None:
    """Ask also here for modules that no other finder knows; nobody, if there is nothing to find."""
    global _mounts, _elsewhere  # read by each import of the process: a name of this module is quickest
    _mounts = find
    if _elsewhere is not _from_configuration:
        _elsewhere = find


def configuration_was_read() -> None:
    """Ask from now on only for what is mounted; see :mod:`away.hooks.configured_mounts`."""
    global _elsewhere
    _elsewhere = _mounts


def _look_anew() -> None:
    global _elsewhere
    _elsewhere = _from_configuration
    configured = sys.modules.get("away.hooks.configured_mounts")
    if configured is not None:
        configured.forget()
    if _mounts is not None:
        sys.modules["away.hooks.mounts"].look_anew()


def _is_beginning() -> bool:
    """Tell whether what reads the configuration is being imported just now, and cannot serve yet."""
    # _initializing is the import system's own mark of a module that has not run to its end.
    return any(
        getattr(getattr(module, "__spec__", None), "_initializing", False)
        for name, module in list(sys.modules.items())
        if name.startswith(("away.", "platformdirs"))
    )


def _from_configuration(fullname: str, *, only_asked: bool) -> ModuleSpec | None:
    """Look into the configuration for mounts, at the first name that nobody else finds."""
    me = get_ident()
    if me in _looking or _is_beginning():
        return None  # a module that reading the configuration itself tries to import
    if os.environ.get("AWAY_RUNTIME") == "1":
        configuration_was_read()  # a published function has no files of configuration
    else:
        _looking.add(me)
        try:
            from away.hooks.configured_mounts import read

            read()
        finally:
            _looking.discard(me)
    return None if _mounts is None else _mounts(fullname, only_asked=only_asked)


# What finds mounted modules, if anything is mounted; and what is asked for foreign names, which is
# first the configuration.
_mounts: Elsewhere | None = None
_elsewhere: Elsewhere | None = _from_configuration
# The threads that read the configuration just now.
_looking: set[int] = set()


def install(path: Iterable[str] = ()) -> list[str]:
    """Install the finder and the path hook, once however often it is called.

    Args:
        path: The ``__path__`` of the package :mod:`away.remote`.

    Returns:
        The path with the entry that lists gateways.
    """
    if not any(isinstance(each, GatewayFinder) for each in sys.meta_path):
        # Last, so that a real file away/remote/NAME.py wins and foreign imports pay nothing.
        sys.meta_path.append(GatewayFinder())
    if GatewayEntry not in sys.path_hooks:
        # First, since zipimport takes every path that begins with an archive for its own.
        sys.path_hooks.insert(0, GatewayEntry)
    kept = [each for each in path if os.path.basename(each) != ENTRY]  # noqa: PTH119
    return [*kept, *(os.path.join(each, ENTRY) for each in kept[:1])]  # noqa: PTH118


def names_below(package: dict[str, object]) -> list[str]:
    """Return what ``dir(away.remote)`` shows: the modules that were imported, and no machinery.

    Of a configured gateway that was not there is no attribute yet, and tools read every name of it;
    ``pkgutil`` and completion of imports list those.

    Args:
        package: The package's own names.
    """
    import types

    shown = {each for each in package if each.startswith("__") and each.endswith("__")}
    modules = {
        each
        for each, value in package.items()
        if each[0] != "_" and isinstance(value, types.ModuleType)
    }
    return sorted({*shown, *modules})


def absent_gateway(name: str, asker: FrameType, package: str = PACKAGE) -> Exception:
    """Return the error for ``away.remote.NAME`` where no module of that name was imported.

    Args:
        name: The name asked of the package.
        asker: The frame that asks; ``from away.remote import NAME`` must hear an ImportError.
        package: Which package was asked, ``away.remote`` or ``away.remote.aio``.
    """
    plain = AttributeError(f"module {package!r} has no attribute {name!r}", name=name)
    if name.startswith("_") or _module_name(asker).startswith("importlib."):
        return plain  # a probe, or the import system's look before it asks the finder
    from away.hooks.modules import why_absent

    fullname = f"{package}.{name}"
    missing = why_absent(fullname)
    if missing is None:
        text = f"{fullname} is not imported yet; write import {fullname}"
        return AttributeError(text, name=name)
    if imports_a_name(asker) or not isinstance(missing, ModuleNotFoundError):
        return missing  # a configuration that cannot be read is no missing attribute
    return AttributeError(str(missing), name=name)


def imports_a_name(asker: FrameType) -> bool:
    """Tell whether a frame is in the midst of ``from … import NAME``.

    CPython throws the text of an AttributeError away there, and an ImportError raised in its place
    arrives as it is. Where this cannot be told, the user reads CPython's own words: nothing worse.
    """
    import opcode

    at = asker.f_lasti
    return at >= 0 and asker.f_code.co_code[at] == opcode.opmap["IMPORT_FROM"]


def _module_name(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))
