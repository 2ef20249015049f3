"""Modules published whole, as a test plays them: what they have, by functions that are here."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import away.names as names
import away.signatures as signatures
from away.capture import WholeModule, whole_module
from away.module_descriptions import ModuleDescription, module_annotations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeAlias

    Functions: TypeAlias = (
        Mapping[str, Callable[..., Any]] | Iterable[Callable[..., Any]] | ModuleType | WholeModule
    )

__all__ = ["FakeModule", "fake_module"]

_WANTED = "a module is faked by its functions, {'area': area} or [area], or by a module here"


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
    functions: Functions | None,
) -> FakeModule:
    """Make a module of functions, or of the public ones of a module here.

    Raises:
        CaptureRefused: The module could not be published.
        NameRefused: No function could be deployed under that name.
        TypeError: There are no functions, or something else.
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
    functions = _by_name(functions)
    described = {key: signatures.describe(each) for key, each in functions.items()}
    beside = module_annotations(ModuleDescription(described, constants, doc))
    answering = {key: (each, described[key]) for key, each in functions.items()}
    return FakeModule(names.function_name(name), answering, beside)


def _by_name(
    functions: Mapping[str, Callable[..., Any]] | Iterable[Callable[..., Any]] | None,
) -> dict[str, Callable[..., Any]]:
    """Return functions by the names that they have in the module."""
    if isinstance(functions, Mapping):
        found = dict(functions)
    else:
        try:
            found = {each.__name__: each for each in functions or ()}
        except (TypeError, AttributeError):
            found = {"": functions}
    if not found:
        raise TypeError(f"{_WANTED}; there are none")
    wrong = [each for key, each in found.items() if not key or not callable(each)]
    if wrong:
        raise TypeError(f"{_WANTED}, not by {type(wrong[0]).__name__}")
    return found
