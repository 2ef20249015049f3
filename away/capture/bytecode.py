"""What a function's code says: the names that it looks up, its imports, its code without a place.

Only code objects are read here; what the names are bound to is not known.
"""

from __future__ import annotations

import dis
import re
from itertools import pairwise
from pathlib import PurePath
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from types import CodeType

__all__ = ["Import", "Names", "calls_of", "names_of", "nested_codes", "placed", "placeless"]

# LOAD_FROM_DICT_OR_GLOBALS is what class bodies and annotation scopes of 3.12 and later use.
_LOADS = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})
_STORES = frozenset({"STORE_GLOBAL", "DELETE_GLOBAL"})
_ATTRIBUTES = frozenset({"LOAD_ATTR", "LOAD_METHOD"})
_NOTHING = frozenset({"CACHE", "EXTENDED_ARG", "NOP", "RESUME", "PRECALL"})


class Import(NamedTuple):
    """An import statement: ``from ..module import names`` has level 2."""

    module: str
    names: tuple[str, ...] = ()
    level: int = 0
    line: int = 0
    optional: bool = False


class Names(NamedTuple):
    """What a code object and all code inside it look up.

    Attributes:
        loaded: Names looked up in globals and builtins, sorted.
        stored: Names that the code itself binds in its globals, as ``global x; x = 1`` does.
        chains: Dotted names whose first part is a global: ``xml.etree.ElementTree``.
        imports: The import statements.
    """

    loaded: tuple[str, ...]
    stored: frozenset[str]
    chains: tuple[str, ...]
    imports: tuple[Import, ...]


def nested_codes(code: CodeType) -> Iterator[CodeType]:
    """Give a code object and all code objects inside it, the outer one first."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, type(code)):
            yield from nested_codes(constant)


def names_of(code: CodeType) -> Names:
    """Read the names and imports of a code object and the code inside it."""
    loaded: set[str] = set()
    stored: set[str] = set()
    chains: set[str] = set()
    imports: list[Import] = []
    for each in nested_codes(code):
        steps = [step for step in dis.get_instructions(each) if step.opname not in _NOTHING]
        # A class body stores its own names and then loads them by the same kind of lookup.
        own = {step.argval for step in steps if step.opname == "STORE_NAME"}
        for index, step in enumerate(steps):
            if step.opname in _LOADS and step.argval not in own:
                loaded.add(step.argval)
                chains.add(_chain(steps, index))
            elif step.opname in _STORES:
                stored.add(step.argval)
            elif step.opname == "IMPORT_NAME":
                level, wanted = steps[index - 2].argval, steps[index - 1].argval
                imports.append(Import(step.argval, tuple(wanted or ()), level or 0))
    return Names(
        tuple(sorted(loaded)),
        frozenset(stored),
        tuple(sorted(each for each in chains if "." in each)),
        tuple(imports),
    )


def _chain(steps: list[dis.Instruction], index: int) -> str:
    """Follow the attribute lookups after a name: the ``b.c`` of ``a.b.c``."""
    parts = [steps[index].argval]
    for step in steps[index + 1 :]:
        if step.opname == "PUSH_NULL":
            continue
        if step.opname not in _ATTRIBUTES:
            break
        parts.append(step.argval)
    return ".".join(parts)


def calls_of(code: CodeType, receivers: Collection[str]) -> Iterator[tuple[str, object]]:
    """Give the method calls on names, each with its first argument where that is a constant.

    Args:
        code: A code object; the code inside it counts too.
        receivers: The names, as ``FaasConnection``, alone or as a module's attribute.

    Returns:
        The method's name, and the argument; None where there is none, ``...`` where it is computed.
    """
    for each in nested_codes(code):
        steps = [step for step in dis.get_instructions(each) if step.opname not in _NOTHING]
        steps = [step for step in steps if step.opname not in {"PUSH_NULL", "KW_NAMES"}]
        for on, method, after in zip(steps, steps[1:], steps[2:], strict=False):
            if method.opname in _ATTRIBUTES and on.argval in receivers:
                if after.opname == "LOAD_CONST":
                    yield method.argval, after.argval
                else:
                    yield method.argval, None if after.opname.startswith("CALL") else ...


def placed(code: CodeType, root: PurePath | None) -> CodeType:
    """Return the code with a file name relative to its project, and true line numbers.

    Args:
        code: The code of a function; nested code is treated alike when its turn comes.
        root: The project's folder, or None where the code comes from no file.
    """
    return code.replace(co_filename=relative_file(code.co_filename, root))


def placeless(code: CodeType) -> CodeType:
    """Return the code as if it stood in line 1 of no file, so that moving it changes nothing."""
    constants = list(code.co_consts)
    if "__firstlineno__" in code.co_names:
        # From 3.13 a class body notes its line as a constant of its code.
        steps = [step for step in dis.get_instructions(code) if step.opname not in _NOTHING]
        for load, store in pairwise(steps):
            if store.argval == "__firstlineno__" and load.opname == "LOAD_CONST":
                constants[load.arg or 0] = 1
    return code.replace(co_filename="", co_firstlineno=1, co_consts=tuple(constants))


def relative_file(name: str, root: PurePath | None) -> str:
    """Name a source file without telling where on this machine it is.

    >>> relative_file("/home/me/project/tools/run.py", PurePath("/home/me/project"))
    'tools/run.py'
    >>> relative_file("<ipython-input-3-0a1b2c>", None)
    '<notebook>'
    """
    if re.match(r"<ipython-input|.*[\\/]ipykernel_\d+[\\/]", name):
        return "<notebook>"
    if name.startswith("<"):
        return name
    path = PurePath(name)
    if root is not None and path.is_relative_to(root):
        return path.relative_to(root).as_posix()
    return path.name
