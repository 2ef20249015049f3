"""Texts of a source file that may be names of data files, as far as a function's code has them.

A module with several functions names files of all of them. Of the function's own module only what it
can reach counts: its body, what it uses of the module, and what runs as the module is imported. What
stands in ``secrets=`` and ``include=`` says of a file what becomes of it, and names none.
"""

from __future__ import annotations

import ast
from functools import lru_cache
from typing import TYPE_CHECKING

from away.syntax_trees import parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = ["never_runs", "read_texts"]

# Longer texts are no names of files.
_LONGEST_NAME = 120
_TOLD_KEYS = frozenset({"include", "secrets"})
_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign


def read_texts(file: Path, function: str = "") -> tuple[tuple[int, str], ...]:
    """List the short texts with a dot in a source file, with their lines.

    Args:
        file: The file; one that does not parse has none.
        function: The function of it that alone counts, by its name; all of the file counts without.
    """
    state = file.stat()
    return _read_texts(file, function, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=256)
def _read_texts(file: Path, function: str, _stamp: int, _size: int) -> tuple[tuple[int, str], ...]:
    try:
        tree = parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return ()
    found = [
        (each.lineno, each.value)
        for top in (_reached(tree, function) if function else [tree])
        for each in _running(top)
        if isinstance(each, ast.Constant) and isinstance(each.value, str)
    ]
    return tuple(each for each in found if "." in each[1] and len(each[1]) <= _LONGEST_NAME)


def _reached(tree: ast.Module, function: str) -> list[ast.stmt]:
    """Return the statements of a module that run where it is imported and one function is called."""
    defined: dict[str, list[_Definition]] = {}
    for each in tree.body:
        for name in _names_of(each):
            defined.setdefault(name, []).append(each)  # type: ignore[arg-type]
    reached: list[ast.stmt] = [each for each in tree.body if not isinstance(each, _Definition)]
    # What is called as the module is imported runs too; what is merely handed on may not.
    waiting = [name for each in tree.body for name in _called_by(each)]
    waiting.append(function.partition(".")[0])
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        for each in defined.get(name, ()):
            reached.append(each)
            waiting += [found.id for found in _running(each) if isinstance(found, ast.Name)]
    return sorted(dict.fromkeys(reached), key=lambda each: each.lineno)


def _names_of(statement: ast.stmt) -> Iterator[str]:
    """Give the names that a statement defines."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield statement.name
    elif isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        for target in targets:
            yield from (each.id for each in ast.walk(target) if isinstance(each, ast.Name))


def _called_by(statement: ast.stmt) -> Iterator[str]:
    """Give the names that a statement calls as it is run itself."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return
    for each in _running(statement):
        if isinstance(each, ast.Call) and isinstance(each.func, ast.Name):
            yield each.func.id


def _running(node: ast.AST) -> Iterator[ast.AST]:
    """Give the nodes of a tree that may run there, without what is said of files by options."""
    yield node
    children: Iterable[ast.AST] = ast.iter_child_nodes(node)
    if isinstance(node, ast.If) and never_runs(node.test):
        children = node.orelse
    elif isinstance(node, ast.keyword) and node.arg in _TOLD_KEYS:
        children = ()
    elif isinstance(node, ast.Dict):
        told = [getattr(key, "value", None) in _TOLD_KEYS for key in node.keys]
        children = [
            each for each, is_told in zip(node.values, told, strict=True) if not is_told
        ] + [each for each in node.keys if each is not None]
    for child in children:
        yield from _running(child)


def never_runs(test: ast.expr) -> bool:
    """Tell a condition that does not hold where a module is imported by a published function."""
    if (
        getattr(test, "id", None) == "TYPE_CHECKING"
        or getattr(test, "attr", None) == "TYPE_CHECKING"
    ):
        return True
    return (
        isinstance(test, ast.Compare)
        and getattr(test.left, "id", None) == "__name__"
        and isinstance(test.ops[0], ast.Eq)
        and getattr(test.comparators[0], "value", None) == "__main__"
    )
