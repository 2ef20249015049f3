"""Compiled files (``.pyc``) for an image, the same bytes wherever and whenever they are made.

They are what an import looks for first, in ``__pycache__`` beside the source, and each says by its
flags that it is never compared with that source (PEP 552, unchecked hash): a layer's files change
together or not at all, so nothing there can be stale.

What `marshal` writes depends on how many references an object happens to have in this process, and
on which texts it happens to have interned. So code is rebuilt first of objects that are made, kept
and interned here: equal ones are one object, and each has more than one reference. This module knows
nothing of layers and images.
"""

from __future__ import annotations

import ast
import dis
import importlib.util
import marshal
import sys
import threading
import warnings
from functools import lru_cache
from itertools import pairwise
from types import CodeType
from typing import TYPE_CHECKING, Any

from away.syntax_trees import parse

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

__all__ = ["CACHE_TAG", "MINOR", "beside_source", "compiled_file", "with_compiled"]

File = tuple[str, bytes]

MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"
CACHE_TAG = sys.implementation.cache_tag or ""

# PEP 552: bit 0 says that a hash of the source follows, bit 1 would have it checked.
_UNCHECKED_HASH = (1).to_bytes(4, "little")

# Kinds of entries in a table of places (CPython's Objects/locations.md, 3.11 and later).
_LINE_ONLY, _NO_PLACE = 13, 15
_MOST_UNITS = 8

# Filters of warnings are the process's own: two threads would restore each other's.
_quiet = threading.Lock()

# The parts of code that are plain values; what else it has are numbers and the instructions.
_PARTS = (
    "co_consts", "co_names", "co_varnames", "co_freevars", "co_cellvars", "co_filename", "co_name",
    "co_qualname", "co_exceptiontable",
)  # fmt: skip


def with_compiled(
    files: Iterable[File],
    *,
    columns: bool = True,
    docs: bool = True,
    keep: bool = False,
    leave: Collection[str] = (),
) -> Iterator[File]:
    """Give files, and after each Python source its compiled form.

    Args:
        files: Paths in the image, without the leading slash, and contents.
        columns: False to leave out at which columns of a line an instruction stands, a third of
            such a file: tracebacks then show the line and no marks below it.
        docs: False to leave out docstrings, which the sources have.
        keep: True to keep what was compiled for the next time in this process: of a function that
            is published again, most modules are as they were.
        leave: Paths of sources that stay without a compiled form.

    Returns:
        The files and the compiled ones, each right behind its source: the texts that both hold are
        then near enough to each other to be compressed.
    """
    for path, data in files:
        yield path, data
        if path in leave:
            continue
        made = (_compiled_once if keep else compiled_file)(path, data, columns=columns, docs=docs)
        if made is not None:
            yield made


def beside_source(file: File) -> tuple[str, str]:
    """Return what to sort files by so that a compiled one comes right behind its source.

    >>> beside_source(("opt/a/__pycache__/b.cpython-311.pyc", b""))
    ('opt/a/b.py', 'opt/a/__pycache__/b.cpython-311.pyc')
    """
    path = file[0]
    folder, _, name = path.rpartition("/")
    above, _, last = folder.rpartition("/")
    if last != "__pycache__" or not name.endswith(".pyc"):
        return path, ""
    return f"{above}/{name.partition('.')[0]}.py".lstrip("/"), path


def compiled_file(
    path: str, source: bytes, *, columns: bool = True, docs: bool = True
) -> File | None:
    """Compile a source file for its place in an image.

    Args:
        path: Where the source will be, without the leading slash.
        source: What it holds.
        columns: As for :func:`with_compiled`.
        docs: As for :func:`with_compiled`.

    Returns:
        Path and contents of the compiled file; None for what is no Python source, or of another
        version: an import there says so if it is ever asked for.
    """
    folder, _, name = path.rpartition("/")
    if not name.endswith(".py") or not CACHE_TAG:
        return None
    try:
        with _quiet, warnings.catch_warnings():
            # What is odd in the source was said when it ran here; as errors they would be failures.
            warnings.simplefilter("ignore")
            code = compile(
                source if docs else without_docs(source),
                f"/{path}",
                "exec",
                dont_inherit=True,
                optimize=0,
            )
        body = _Canonical(columns=columns).dump(code)
    except (SyntaxError, ValueError, RecursionError, OverflowError):
        return None
    head = importlib.util.MAGIC_NUMBER + _UNCHECKED_HASH + importlib.util.source_hash(source)
    place = f"{folder}/__pycache__" if folder else "__pycache__"
    return f"{place}/{name.removesuffix('.py')}.{CACHE_TAG}.pyc", head + body


def without_docs(source: bytes) -> ast.Module:
    """Read a source and take its docstrings out; every line keeps its number.

    ``optimize=2`` would take assertions out as well.
    """
    tree = parse(source)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            # Nothing stands in its place where something follows: imports from __future__ come first.
            node.body[:1] = [] if node.body[1:] else [ast.copy_location(ast.Pass(), node.body[0])]
    return tree


_compiled_once = lru_cache(maxsize=1024)(compiled_file)


class _Canonical:
    """Code rebuilt of objects that nothing else in this process decides on; used once a file."""

    def __init__(self, *, columns: bool) -> None:
        self.columns = columns
        # Each object is held here and by what it is part of, so that marshal, which marks what has
        # several references, marks them all.
        self.kept: dict[Any, Any] = {}
        self.codes: list[CodeType] = []

    def dump(self, code: CodeType) -> bytes:
        """Return the bytes of code."""
        return marshal.dumps(self.code(code))

    def value(self, value: Any) -> Any:
        """Return the one object that stands for all that are equal to this one and of its type."""
        if isinstance(value, CodeType):
            return self.code(value)
        if type(value) in (tuple, frozenset):
            parts = [self.value(each) for each in value]
            # By identity: 1 and 1.0 and True are equal, and not the same constant.
            key: Any = (type(value), type(value)(map(id, parts)))
            return self.kept.setdefault(key, type(value)(parts))
        if type(value) is str:
            value = sys.intern(value)
        return self.kept.setdefault((type(value), repr(value)), value)

    def code(self, code: CodeType) -> CodeType:
        """Return code of the same meaning, made of such objects."""
        parts = {name: self.value(getattr(code, name)) for name in _PARTS}
        if "__static_attributes__" in code.co_names:
            parts["co_consts"] = self.value(_sorted_attributes(code, parts["co_consts"]))
        table = code.co_linetable if self.columns else lines_only(code)
        made = code.replace(**parts, co_linetable=self.value(table))
        self.codes.append(made)
        return made


def _sorted_attributes(code: CodeType, constants: tuple[Any, ...]) -> tuple[Any, ...]:
    """Sort what 3.13 notes of a class's attributes: its first releases do so in no order at all."""
    steps = list(dis.get_instructions(code))
    sorted_ones = list(constants)
    for load, store in pairwise(steps):
        if store.argval == "__static_attributes__" and load.opname == "LOAD_CONST":
            sorted_ones[load.arg or 0] = tuple(sorted(load.argval))
    return tuple(sorted_ones)


def lines_only(code: CodeType) -> bytes:
    """Return a table of places that has the lines of the code's own and no columns."""
    table = bytearray()
    before = code.co_firstlineno
    for start, end, line in code.co_lines():
        units = (end - start) // 2
        while units > 0:
            count = min(units, _MOST_UNITS)
            units -= count
            kind = _NO_PLACE if line is None else _LINE_ONLY
            table.append(0x80 | kind << 3 | count - 1)
            if line is not None:
                table += _signed(line - before)
                before = line
    return bytes(table)


def _signed(number: int) -> bytes:
    """Write a number as that table does: six bits a byte, the sign in the lowest."""
    left = -number << 1 | 1 if number < 0 else number << 1
    written = bytearray()
    while left >= 0x40:
        written.append(0x40 | left & 0x3F)
        left >>= 6
    written.append(left)
    return bytes(written)
