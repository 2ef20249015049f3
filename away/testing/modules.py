"""Modules published whole, as a test plays them: what they have, by functions that are here."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import away.names as names
import away.signatures as signatures
from away.capture import WholeModule, whole_module
from away.module_descriptions import ModuleDescription, module_annotations

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["FakeModule", "fake_module"]


class FakeModule(NamedTuple):
    """A module as a gateway would have it.

    Attributes:
        name: Its function's name there.
        functions: What answers, and how it is described, by name.
        beside: The annotations that say what it has.
    """

    name: str
    functions: dict[str, tuple[Callable[..., Any], signatures.Description]]
    beside: dict[str, str]

    @property
    def description(self) -> signatures.Description:
        """The description of the one function that the module is there."""
        return signatures.Description(entry=f"{self.name}:*")

    def refuse(self, *_args: Any, **_kwargs: Any) -> None:
        """Answer a call of the module itself, which is none of its functions."""
        raise TypeError(f"{self.name} is a module, of which a function is called by its path")


def fake_module(
    name: str | ModuleType,
    functions: Mapping[str, Callable[..., Any]] | ModuleType | WholeModule | None,
) -> FakeModule:
    """Make a module of functions, or of the public ones of a module here.

    Raises:
        CaptureRefused: The module could not be published.
        NameRefused: No function could be deployed under that name.
        TypeError: There are no functions.
    """
    if isinstance(name, ModuleType):
        functions, name = name, name.__name__.rpartition(".")[2]
    constants: dict[str, Any] = {}
    doc = ""
    if isinstance(functions, ModuleType):
        functions = whole_module(functions)
    if isinstance(functions, WholeModule):
        constants, doc = functions.constants, functions.module.__doc__ or ""
        functions = functions.functions
    if not functions:
        raise TypeError("a module is faked by functions by name, or by a module that has some")
    described = {key: signatures.describe(each) for key, each in functions.items()}
    beside = module_annotations(ModuleDescription(described, constants, doc))
    answering = {key: (each, described[key]) for key, each in functions.items()}
    return FakeModule(names.function_name(name), answering, beside)
