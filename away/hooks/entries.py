"""The entry of a gateway module's ``__path__``: lists the modules below it that were published whole.

For :mod:`pkgutil`, pydoc and editors, which go by paths; what is imported is found by the meta-path
finder (:mod:`away.hooks.submodules`).
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from away.hooks.contents import OWNER, GatewayFunctions
from away.hooks.finder import ENTRY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType, ModuleType

__all__ = ["ModulesEntry", "path_of"]


class ModulesEntry:
    """The path entry finder of one gateway's module: lists, and finds nothing."""

    def __init__(self, path: str) -> None:
        folder, self.module_name = os.path.split(path)
        if os.path.basename(folder) != ENTRY:  # noqa: PTH119 - as in the entry that lists gateways
            raise ImportError("not the entry that lists a gateway's modules", path=path)

    def find_spec(self, fullname: str, target: ModuleType | None = None) -> None:
        """Find nothing: the path finder asks here before the meta-path finder is asked."""

    def iter_modules(self, prefix: str = "") -> Iterator[tuple[str, bool]]:
        """Yield the names of the gateway's modules, for :func:`pkgutil.iter_modules`.

        Raises:
            ImportError: The list cannot be had. A walk over all gateways passes over one that was
                not asked yet, since it would wait for each that does not answer.
        """
        owner = vars(sys.modules.get(self.module_name, sys)).get(OWNER)
        if not isinstance(owner, GatewayFunctions) or owner.has_no_list():
            return
        infos = owner.known() if _is_within_a_walk() else owner.listed()
        for name in sorted(owner.shown_as(key) for key, info in infos.items() if info.module):
            if name.isidentifier():
                yield prefix + name, False


def path_of(fullname: str) -> str:
    """Return the one entry of a gateway module's ``__path__``, and let it be understood."""
    if ModulesEntry not in sys.path_hooks:
        # First, since zipimport takes every path that begins with an archive for its own.
        sys.path_hooks.insert(0, ModulesEntry)
    return os.path.join(os.path.dirname(__file__), ENTRY, fullname)  # noqa: PTH118, PTH120


def _is_within_a_walk() -> bool:
    """Tell whether ``pkgutil.walk_packages`` came here from a package above."""
    walks = 0
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - who asks decides whether to send
    while frame is not None and walks < 2:
        is_walk = frame.f_code.co_name == "walk_packages"
        walks += is_walk and frame.f_globals.get("__name__") == "pkgutil"
        frame = frame.f_back
    return walks > 1
