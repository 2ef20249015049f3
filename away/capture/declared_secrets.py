"""Secrets that a source file gives to gateways, read from it before its code comes to them.

A decorator's ``secrets={…}`` is known when the decorator runs. Functions that stand above it are
published before that, with the whole file: so what stands in ``secrets={…}`` of a decorator, or of a
call of Away's, is known as soon as the file is looked at; the same keyword of other libraries is theirs.
Only constants are followed: texts, names that are bound to one once, here or in another module of the
user's, and files. Nothing is imported or run.
"""

from __future__ import annotations

import ast
import os
import sys
from collections import Counter
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from away.capture.callables import inner_function, module_name
from away.names import printable
from away.requirements import module_file, origin
from away.secret_texts import remember_declared, remember_file
from away.syntax_trees import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

__all__ = ["know_declared", "know_declared_beside", "know_declared_of", "know_file", "may_declare"]

# What a larger file holds is no secret.
_MAX_BYTES = 1024 * 1024
# A name of a name of a name …, or one that is bound to itself by way of another module.
_MOST_STEPS = 20
# What gives a file's text in one of its forms, or the same path in another.
_SAME = frozenset(
    {"open", "read", "read_text", "read_bytes", "strip", "rstrip", "lstrip", "decode", "encode"}
    | {"expanduser", "resolve", "absolute"}
)
# What a name can be bound to that is followed from there.
_Followed = ast.Name | ast.Attribute | ast.Constant | ast.Call | ast.Dict | ast.BinOp
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
    state = _state_of(file)
    if state is None or not _in_question(file, *state):
        return
    source = _source_of(file, package)
    if source is None:
        return
    for call, decorates in source.calls:
        if not source.is_ours(_callee(call), _MOST_STEPS, decorates=decorates):
            continue
        for name, where, value in source.keywords(call, _MOST_STEPS):
            if name == "secrets":
                for entry in where.entries(value, _MOST_STEPS):
                    _know(*entry, file.parent)


def may_declare(data: bytes) -> bool:
    """Tell by the bytes of a source file whether it can declare secrets, so that few are parsed."""
    by_name = b"**" in data and any(word in data for word in (b"publish", b"mirror", b"Executor"))
    return by_name or b"secrets" in data


def know_file(path: Path, name: str, place: str = "the configuration") -> None:
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
        remember_declared(data, name, place)


def _know(name: str, source: _Source, node: ast.expr, folder: Path) -> None:
    """Know a value of ``secrets={…}``, of paths from the working folder and the declaring one."""
    value = source.value(node, _MOST_STEPS)
    place = f"{_shown(source.file)}, line {node.lineno}"
    if isinstance(value, Path):
        for each in (Path(), folder):
            know_file(each / value, name, place)
    elif value:
        # Half a character is no value that a gateway could be given.
        with suppress(UnicodeEncodeError):
            data = value.encode(errors="surrogateescape") if isinstance(value, str) else value
            remember_declared(data, name, place)


def _shown(file: Path) -> str:
    with suppress(OSError, ValueError):
        file = file.relative_to(Path.cwd())
    return printable(str(file))


class _Source(NamedTuple):
    """A source file as far as constants can be followed in it.

    Attributes:
        file: The file.
        calls: Its calls that may have secrets, each with whether it decorates something.
        bound: The names that the module binds once, each with what it is bound to.
        imported: The names that it imports, each with the dotted name of what it is.
        inside: The names that its functions import, each with one of what they are.
    """

    file: Path
    calls: list[tuple[ast.Call, bool]]
    bound: dict[str, ast.expr]
    imported: dict[str, str]
    inside: dict[str, str]

    def is_ours(self, node: ast.expr, steps: int, *, decorates: bool) -> bool:
        """Tell whether what is called is Away's, or decorates and may lead there."""
        source, found = self.followed(node, steps)
        first, *rest = _dotted(found) or [""]
        home = source.imported.get(first) or source.inside.get(first, "")
        top, *parts = [*home.split("."), *rest]
        if top == "away":
            return parts[:1] != ["remote"]  # what stands there are functions of gateways
        if not steps:
            return decorates
        if isinstance(found, ast.Call):
            callee = _callee(found)
            # What another call gives is Away's only if it decorates: it may be a remote function.
            may = decorates or callee is not found.func
            return may and source.is_ours(callee, steps - 1, decorates=decorates)
        if isinstance(found, ast.Attribute):
            return source.is_ours(found.value, steps - 1, decorates=decorates)
        return decorates and not (top and origin(top).kind == "installed")

    def keywords(self, call: ast.Call, steps: int) -> Iterator[tuple[str, _Source, ast.expr]]:
        """Give the keywords of a call, those of ``**names`` too, each with the file it stands in."""
        for keyword in call.keywords:
            if keyword.arg is not None:
                yield keyword.arg, self, keyword.value
            else:
                yield from self.entries(keyword.value, steps - 1)

    def entries(self, node: ast.expr, steps: int) -> Iterator[tuple[str, _Source, ast.expr]]:
        """Give the names and values of a dict, each with the file it stands in; else none."""
        source, node = self.followed(node, steps)
        if not steps:
            return
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if key is not None:
                    name = source.value(key, steps)
                    yield name if isinstance(name, str) else "NAME", source, value
                else:  # {**others}
                    yield from source.entries(value, steps // 2)
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            yield from source.entries(node.left, steps - 1)
            yield from source.entries(node.right, steps // 2)
        elif isinstance(node, ast.Call) and _dotted(node.func) == ["dict"]:
            for each in node.args:
                yield from source.entries(each, steps // 2)
            yield from source.keywords(node, steps // 2)

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
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            # The chain of a sum leans to the left.
            left, right = source.value(node.left, steps - 1), source.value(node.right, steps // 2)
            if isinstance(left, str) and isinstance(right, str):
                return left + right
            return left + right if isinstance(left, bytes) and isinstance(right, bytes) else None
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


def _callee(call: ast.Call) -> ast.expr:
    """Return what is called, of ``functools.partial`` what will be."""
    if call.args and (_dotted(call.func) or [""])[-1] == "partial":
        return call.args[0]
    return call.func


def _joined(*parts: str | bytes | Path | None) -> Path | None:
    """Join the parts of a path, if all of them are known."""
    known = [each for each in parts if isinstance(each, str | Path)]
    return Path(*known) if len(known) == len(parts) else None


def _dotted(node: ast.expr) -> list[str] | None:
    after: list[str] = []
    while isinstance(node, ast.Attribute):
        after.append(node.attr)
        node = node.value
    return [node.id, *reversed(after)] if isinstance(node, ast.Name) else None


# ------------------------------------------------------------------ reading a file


def _state_of(file: Path) -> tuple[int, int] | None:
    try:
        state = file.stat()
    except (OSError, ValueError):
        return None
    return (state.st_mtime_ns, state.st_size) if file.suffix == ".py" else None


def _source_of(file: Path, package: str) -> _Source | None:
    state = _state_of(file)
    return _read(file, package, *state) if state is not None else None


@lru_cache(maxsize=1024)
def _in_question(file: Path, _stamp: int, _size: int) -> bool:
    try:
        return may_declare(file.read_bytes())
    except OSError:
        return False


@lru_cache(maxsize=64)
def _read(file: Path, package: str, _stamp: int, _size: int) -> _Source | None:
    try:
        tree = parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
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
    calls, inside = _calls(tree, package)
    return _Source(
        file,
        calls,
        {
            name: value
            for name, value in bound.items()
            if times[name] == 1 and isinstance(value, _Followed)
        },
        {name: dotted for name, dotted in imported.items() if times[name] == 1},
        inside,
    )


def _calls(tree: ast.Module, package: str) -> tuple[list[tuple[ast.Call, bool]], dict[str, str]]:
    """Find the calls that may have secrets, and what is imported anywhere."""
    calls: list[ast.Call] = []
    decorators: set[ast.AST] = set()
    inside: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if any(each.arg in (None, "secrets") for each in node.keywords):
                calls.append(node)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            decorators.update(node.decorator_list)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            for name, dotted in _imported(node, package):
                inside.setdefault(name, dotted)
    return [(call, call in decorators) for call in calls], inside


def _of_module(tree: ast.Module) -> Iterator[ast.AST]:
    """Give the nodes of a module that are in no function or class of it."""
    left: list[ast.AST] = [tree]
    while left:
        for child in ast.iter_child_nodes(left.pop()):
            yield child
            if not isinstance(child, _Scope):
                left.append(child)


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
        if alias.name == "*" and base == ["away"]:
            yield from (("builder", "away.builder"), ("Executor", "away.Executor"))
        yield alias.asname or alias.name, ".".join([*base, alias.name])
