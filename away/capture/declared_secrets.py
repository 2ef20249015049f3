"""Secrets that a source file gives to gateways, read from it before its code comes to them.

A decorator's ``secrets={…}`` is known when the decorator runs. Functions that stand above it are
published before that, with the whole file: so what stands in ``secrets={…}`` of any call is known as
soon as the file is looked at. Only constants are followed: texts, names that are bound to one once,
here or in another module of the user's, and files. Nothing is imported or run.
"""

from __future__ import annotations

import ast
import os
import sys
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from away.capture.callables import inner_function, module_name
from away.requirements import module_file, origin
from away.secret_texts import remember_file, remember_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

__all__ = ["know_declared", "know_declared_beside", "know_declared_of", "know_file"]

# What a larger file holds is no secret.
_MAX_BYTES = 1024 * 1024
# A name of a name of a name …, or one that is bound to itself by way of another module.
_MOST_STEPS = 20
# What gives a file's text in one of its forms, or the same path in another.
_SAME = frozenset(
    {"open", "read", "read_text", "read_bytes", "strip", "rstrip", "lstrip", "decode", "encode"}
    | {"expanduser", "resolve", "absolute"}
)
_Scope = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda


def know_declared_beside(function: Callable[..., Any]) -> None:
    """Know the secrets that the file of a function declares."""
    module = sys.modules.get(module_name(inner_function(function)))
    if module is not None:
        know_declared_of(module)


def know_declared_of(module: ModuleType) -> None:
    """Know the secrets that the file of a module of the user's declares."""
    file = getattr(module, "__file__", None)
    if isinstance(file, str) and origin(module.__name__).kind == "local":
        know_declared(Path(file).absolute(), str(getattr(module, "__package__", None) or ""))


def know_declared(file: Path, package: str) -> None:
    """Know the secrets that a source file declares.

    Args:
        file: The file; one that is not there or does not parse declares none.
        package: The package that its relative imports start from.
    """
    source = _source_of(file, package)
    if source is None or not source.has_secrets:
        return
    for call in ast.walk(source.tree):
        for keyword in call.keywords if isinstance(call, ast.Call) else ():
            if keyword.arg == "secrets":
                for name, value in source.entries(keyword.value, _MOST_STEPS):
                    _know(name, value, (Path(), file.parent))


def know_file(path: Path, name: str) -> None:
    """Know the value of the secret of that name by its file; nothing is there to know without one."""
    try:
        path = path.expanduser()
        if not path.is_file():
            return
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except (OSError, RuntimeError, ValueError):
        return
    if data:
        remember_file(os.path.realpath(path))
    if 0 < len(data) <= _MAX_BYTES:
        remember_value(data, name)


def _know(name: str, value: str | bytes | Path | None, folders: tuple[Path, ...]) -> None:
    if isinstance(value, Path):
        for folder in folders:
            know_file(folder / value, name)
    elif value:
        data = value.encode(errors="surrogateescape") if isinstance(value, str) else value
        remember_value(data, name)


class _Source(NamedTuple):
    """A source file as far as constants can be followed in it.

    Attributes:
        file: The file.
        tree: What it says.
        has_secrets: Whether the word is in it at all.
        bound: The names that the module binds once, each with what it is bound to.
        imported: The names that it imports, each with the dotted name of what it is.
    """

    file: Path
    tree: ast.Module
    has_secrets: bool
    bound: dict[str, ast.expr]
    imported: dict[str, str]

    def entries(
        self, node: ast.expr, steps: int
    ) -> Iterator[tuple[str, str | bytes | Path | None]]:
        """Give the names and values of a dict display; of anything else none."""
        source, node = self.followed(node, steps)
        if not isinstance(node, ast.Dict):
            return
        for key, value in zip(node.keys, node.values, strict=True):
            if key is not None:
                name = source.value(key, steps)
                yield name if isinstance(name, str) else "NAME", source.value(value, steps)
            elif steps:  # {**others}
                yield from source.entries(value, steps - 1)

    def value(self, node: ast.expr, steps: int) -> str | bytes | Path | None:
        """Return the constant that an expression is, or the file that it names or reads."""
        source, node = self.followed(node, steps)
        if not steps:
            return None
        if isinstance(node, ast.Constant):
            return node.value if isinstance(node.value, str | bytes) else None
        if isinstance(node, ast.Name) and node.id == "__file__":
            return str(source.file)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            left, right = (source.value(each, steps - 1) for each in (node.left, node.right))
            return _joined(left, right) if isinstance(left, Path) else None
        if isinstance(node, ast.Attribute) and node.attr == "parent":
            path = source.value(node.value, steps - 1)
            return path.parent if isinstance(path, Path) else None
        return source.called(node, steps - 1) if isinstance(node, ast.Call) else None

    def called(self, node: ast.Call, steps: int) -> str | bytes | Path | None:
        """Return what a call gives that makes a path, or reads a file or a constant."""
        first, *rest = _dotted(node.func) or [""]
        name = ".".join([self.imported.get(first, first), *rest])
        given = [self.value(each, steps) for each in node.args]
        if name == "pathlib.Path" and given:
            return _joined(*given)
        if name == "open" and given:
            return _joined(given[0])
        if not isinstance(node.func, ast.Attribute):
            return None
        held = self.value(node.func.value, steps)
        if isinstance(held, Path) and node.func.attr in ("joinpath", "with_name"):
            return _joined(held if node.func.attr == "joinpath" else held.parent, *given)
        return held if node.func.attr in _SAME else None

    def followed(self, node: ast.expr, steps: int) -> tuple[_Source, ast.expr]:
        """Follow a name to what it is bound to, in this file or another."""
        if not steps:
            return self, node
        if isinstance(node, ast.Name) and node.id in self.bound:
            return self.followed(self.bound[node.id], steps - 1)
        first, *rest = _dotted(node) or [""]
        if first not in self.imported:
            return self, node
        module, _, name = ".".join([self.imported[first], *rest]).rpartition(".")
        found = origin(module) if module else None
        file = module_file(module, found) if found is not None and found.kind == "local" else None
        if file is None:
            return self, node
        package = module if file.name == "__init__.py" else module.rpartition(".")[0]
        other = _source_of(file, package)
        return other.followed(ast.Name(name), steps - 1) if other is not None else (self, node)


def _joined(*parts: str | bytes | Path | None) -> Path | None:
    """Join the parts of a path, if all of them are known."""
    known = [each for each in parts if isinstance(each, str | Path)]
    return Path(*known) if len(known) == len(parts) else None


def _dotted(node: ast.expr) -> list[str] | None:
    if isinstance(node, ast.Name):
        return [node.id]
    before = _dotted(node.value) if isinstance(node, ast.Attribute) else None
    return [*before, node.attr] if before and isinstance(node, ast.Attribute) else None


# ------------------------------------------------------------------ reading a file


def _source_of(file: Path, package: str) -> _Source | None:
    try:
        state = file.stat()
    except (OSError, ValueError):
        return None
    return _read(file, package, state.st_mtime_ns, state.st_size) if file.suffix == ".py" else None


@lru_cache(maxsize=64)
def _read(file: Path, package: str, _stamp: int, _size: int) -> _Source | None:
    try:
        data = file.read_bytes()
        tree = ast.parse(data)
    except (OSError, SyntaxError, ValueError, RecursionError):
        return None
    bound: dict[str, ast.expr] = {}
    imported: dict[str, str] = {}
    times: Counter[str] = Counter()
    for node in _of_module(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            times[node.id] += 1
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            times[node.name] += 1
        elif isinstance(node, ast.Import | ast.ImportFrom):
            for name, dotted in _imported(node, package):
                times[name] += imported.get(name) != dotted
                imported[name] = dotted
        elif isinstance(node, ast.Assign):
            bound |= {each.id: node.value for each in node.targets if isinstance(each, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            bound[node.target.id] = node.value
    return _Source(
        file,
        tree,
        b"secrets" in data,
        {name: value for name, value in bound.items() if times[name] == 1},
        {name: dotted for name, dotted in imported.items() if times[name] == 1},
    )


def _of_module(node: ast.AST) -> Iterator[ast.AST]:
    """Give the nodes of a module that are in no function or class of it."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, _Scope):
            yield from _of_module(child)


def _imported(node: ast.Import | ast.ImportFrom, package: str) -> Iterator[tuple[str, str]]:
    """Give the names that a statement imports, with the dotted names of what they are."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            top = alias.name.partition(".")[0]
            yield (alias.asname, alias.name) if alias.asname else (top, top)
        return
    parts = package.split(".") if node.level and package else []
    above = parts[: len(parts) - node.level + 1]
    base = [*above, *([node.module] if node.module else [])]
    for alias in node.names:
        yield alias.asname or alias.name, ".".join([*base, alias.name])
