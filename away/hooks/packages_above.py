"""The packages above mounts, which are made where nothing real has the name."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.abc import InspectLoader
    from importlib.machinery import ModuleSpec
    from types import CodeType, ModuleType
else:
    # As for gateways: importing importlib.abc takes milliseconds, and nobody asks for it.
    InspectLoader = object

__all__ = ["PackageLoader"]


class PackageLoader(InspectLoader):
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
