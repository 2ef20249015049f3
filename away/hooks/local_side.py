"""The local module behind a mount: what each of its functions is to the remote one of its name.

It gives a :class:`~away.placement.Placement` for each function, and stands in for the gateway's list
where that cannot be had, or lacks a function, and calls may fall back. What else the local module has,
such as classes, the mount has too.
"""

from __future__ import annotations

import importlib
import time
import types
from typing import TYPE_CHECKING, Any

import away.signatures as signatures
from away.exceptions import ConfigError, FallbackWarning
from away.hooks.real_modules import is_ours, place_of_real
from away.names import function_name, printable, python_name
from away.user_lines import warn_at_user_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import ModuleType

    from away.connection.catalogue import FunctionInfo
    from away.module_descriptions import ModuleDescription
    from away.placement import Offload, Placement

__all__ = ["LocalSide", "local_side_of"]

# Each import would else wait for a gateway that is away; long enough for all those of a program's start.
LEFT_ALONE_SECONDS = 10.0


class LocalSide:
    """The functions of a local module beside those of a gateway.

    Args:
        module: The module, or its name: it is imported when it is first needed.
        fallback: Whether calls that cannot reach the gateway run here.
        offload: Which calls go to the gateway; see :class:`away.placement.Placement`.
        wanted: Tells of a function's name whether the mount has it.
        stands_for: The module of the gateway, published whole, that it stands behind; nothing where
            that is all functions of the gateway.
    """

    def __init__(
        self,
        module: ModuleType | str,
        *,
        fallback: bool,
        offload: Offload | None,
        wanted: Callable[[str], bool],
        stands_for: str = "",
    ) -> None:
        self._wanted = wanted
        self._stands_for = stands_for
        # Until when the gateway, which could not be asked for its list, is not asked again.
        self._left_alone_until = float("-inf")
        self._module = module
        self.fallback = fallback
        self._offload = offload
        # Kept for good: a function that is made anew goes on with the counts of the old one.
        self._placements: dict[tuple[str, signatures.Kind], Placement] = {}

    def __repr__(self) -> str:
        return self._module if isinstance(self._module, str) else self._module.__name__

    @property
    def module(self) -> ModuleType:
        """The local module.

        Raises:
            ImportError: It cannot be imported.
        """
        if isinstance(self._module, str):
            self._module = importlib.import_module(self._module)
        return self._module

    def load(self) -> None:
        """Import the local module, if that was not done.

        Raises:
            ImportError: It cannot be imported.
        """
        _ = self.module

    def placement(self, name: str, kind: signatures.Kind) -> Placement | None:
        """Return where calls of a function run; None where the local module has no such function.

        Args:
            name: The function's Python name.
            kind: How the remote function is called.

        Raises:
            ConfigError: The local function is called otherwise.
        """
        found = self._placements.get((name, kind))
        if found is not None:
            return found
        local = vars(self.module).get(name)
        if not callable(local) or isinstance(local, type):
            return None  # not remembered: a module that is being imported may get it yet
        from away.placement import Placement

        made = Placement(local, kind=kind, fallback=self.fallback, offload=self._offload)
        return self._placements.setdefault((name, kind), made)

    def stands_in(self, module_name: str, error: Exception) -> bool:
        """Tell whether the local functions stand for a list that cannot be had, and warn of it.

        Args:
            module_name: The mount's name.
            error: Why there is no list.
        """
        if not self.fallback:
            return False
        self._left_alone_until = time.monotonic() + LEFT_ALONE_SECONDS
        name = f"{module_name}.{self._stands_for}" if self._stands_for else module_name
        text = f"{name} has the functions of the local {self!r} for now: {error}"
        warn_at_user_line(text, FallbackWarning)
        return True

    def is_standing_in(self) -> bool:
        """Tell whether the gateway could not be asked a moment ago: nobody waits for it again."""
        return time.monotonic() < self._left_alone_until

    def added_to(self, infos: Iterable[FunctionInfo]) -> list[FunctionInfo]:
        """Return a list with what only the local module has, where calls may fall back to that.

        Args:
            infos: What the gateway listed; nothing, where it could not be asked.
        """
        listed = list(infos)
        if not self.fallback:
            return listed
        if self._stands_for:
            return self._added_to_module(listed)
        there = {python_name(each.name) for each in listed}
        names = (name for name in self._functions() if name not in there and self._wanted(name))
        return [*listed, *map(self._described, names)]

    def _added_to_module(self, listed: list[FunctionInfo]) -> list[FunctionInfo]:
        """Return a list in which the module has all functions of the local one."""
        from away.module_descriptions import ModuleDescription

        own = {name: signatures.describe(vars(self.module)[name]) for name in self._functions()}
        for index, info in enumerate(listed):
            if self.is_behind(info.name):
                known = info.module
                lacking = own.keys() - set(known.names) if known else None
                if known and lacking:
                    functions = {**known.functions, **{name: own[name] for name in lacking}}
                    listed[index] = _with_module(info, known._replace(functions=functions))
                return listed
        made = ModuleDescription(own, {}, self.module.__doc__ or "", f"{self.module.__name__}:*")
        return [*listed, _with_module(None, made, function_name(self._stands_for))]

    def is_behind(self, name: str) -> bool:
        """Tell whether it stands behind the module of the gateway that has this name there."""
        return bool(self._stands_for) and python_name(name) == python_name(self._stands_for)

    def beside(self) -> list[str]:
        """List what the local module has beside its functions: classes, constants, what it imports."""
        functions = set(self._functions())
        return [each for each in vars(self.module) if each[0] != "_" and each not in functions]

    def get(self, name: str) -> Any:
        """Return what the local module has under a name that :meth:`beside` lists."""
        return vars(self.module)[name]

    def _functions(self) -> list[str]:
        """List the functions that the module is for: those of ``__all__``, else its own."""
        content = vars(self.module)
        told = content.get("__all__")
        if told is not None:
            return [name for name in told if isinstance(content.get(name), types.FunctionType)]
        return [name for name, value in content.items() if self._is_own(name, value)]

    def _is_own(self, name: str, value: Any) -> bool:
        is_function = name[0] != "_" and isinstance(value, types.FunctionType)
        return is_function and value.__module__ == self.module.__name__

    def _described(self, name: str) -> FunctionInfo:
        from away.connection.catalogue import FunctionInfo

        description = signatures.describe(vars(self.module)[name])
        return FunctionInfo(name, annotations=signatures.to_annotations(description))


def _with_module(
    info: FunctionInfo | None, module: ModuleDescription, name: str = ""
) -> FunctionInfo:
    """Return a function that says of itself to be this module."""
    from away.connection.catalogue import FunctionInfo
    from away.module_descriptions import module_annotations

    if info is not None:
        said = {k: v for k, v in info.annotations.items() if not k.startswith("away.module")}
        said.update(module_annotations(module))
        return FunctionInfo(info.name, info.namespace, labels=info.labels, annotations=said)
    whole = signatures.Description(doc=module.doc, entry=module.entry)
    said = {**signatures.to_annotations(whole), **module_annotations(module)}
    return FunctionInfo(name, annotations=said)


def local_side_of(
    name: str,
    local: ModuleType | str | None,
    wanted: Callable[[str], bool],
    *,
    fallback: bool,
    offload: Offload | None,
    stands_for: str = "",
) -> LocalSide | None:
    """Return the local side of a mount that its options describe.

    Args:
        name: The mount's name.
        local: The module, or its name; None where there is none.
        wanted: Tells of a function's name whether the mount has it.
        fallback: See :class:`LocalSide`.
        offload: See :class:`LocalSide`.
        stands_for: See :class:`LocalSide`.

    Raises:
        ConfigError: They cannot be meant.
    """
    if not isinstance(fallback, bool):
        raise ConfigError(f"fallback= of {name} is True or False, not {fallback!r}")
    if local is None:
        if fallback or offload is not None:
            option = "fallback=True" if fallback else "offload="
            raise ConfigError(f"{option} of {name} wants local=, the module that calls run in here")
        return None
    if not isinstance(local, str | types.ModuleType) or (
        isinstance(local, types.ModuleType) and is_ours(local)
    ):
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
    return LocalSide(
        local, fallback=fallback, offload=offload, wanted=wanted, stands_for=stands_for
    )
