"""Stub files: a gateway's functions as type checkers and editors read them (PEP 484, PEP 561).

Pure: takes what a gateway lists and gives the text of a ``.pyi`` file, or compares two such texts.
All of it is others' data, so nothing is written as it came: names are checked to be identifiers,
annotations are put together anew (:mod:`away.hooks.annotation_texts`), and docstrings are escaped.
Where files lie is :mod:`away.hooks.stub_files`' business.
"""

from __future__ import annotations

import ast
import datetime as dt
import keyword
import math
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from away.hooks.annotation_texts import ANY, IMPORTS, AnnotationWriter
from away.signatures import KEYWORD_ONLY, Description, Parameter, async_kind
from away.syntax_trees import parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["MARK", "Difference", "differences", "head", "stub_text"]

# What the first line of every file begins with: no other file is replaced or removed.
MARK = "# Written by `away stubs`"
_VAR_POSITIONAL, _VAR_KEYWORD = 2, 4
_POSITIONAL_ONLY, _EITHER = 0, 1
# A longer default is no help where a call is written.
_LONGEST_DEFAULT = 60
_ANYTHING = (
    Parameter("args", _VAR_POSITIONAL),
    Parameter("kwargs", _VAR_KEYWORD),
)


def stub_text(
    functions: Mapping[str, Description | None],
    *,
    gateway: str,
    constants: Mapping[str, Any] | None = None,
    modules: Iterable[str] = (),
    doc: str = "",
    aio: bool = False,
) -> str:
    """Write the stub file of a gateway's module, or of a module of functions.

    Each function is a ``def`` below a decorator that makes it a remote function: its parameters
    keep their names and defaults, an editor shows its docstring, and it has the attributes of
    :class:`away.functions.RemoteFunction`.

    Args:
        functions: By Python name, what is known of each; None for a function of others, which takes
            anything.
        gateway: The gateway's configured name, for the first line.
        constants: A module's constants, of which the types are written.
        modules: The modules of functions below it.
        doc: A docstring for the file.
        aio: Whether each function is a coroutine function there.

    Returns:
        The text of the file.

    Example:
        >>> print(stub_text({"add": None}, gateway="gw").splitlines()[-2])
        def add(*args: _typing.Any, **kwargs: _typing.Any) -> _typing.Any: ...
    """
    known = {name: each for name, each in functions.items() if _is_public(name)}
    values = {name: each for name, each in (constants or {}).items() if _is_public(name)}
    values = {name: each for name, each in values.items() if name not in known}
    writer = AnnotationWriter({*known, *values})
    body = [_constant(name, values[name], writer) for name in sorted(values)]
    body += [_function(name, known[name], writer, aio=aio) for name in sorted(known)]
    inside = sorted({each for each in modules if _is_public(each)} - {*known, *values})
    return _head(gateway, doc, inside, "\n".join(body)) + "".join(body)


def head(gateway: str) -> str:
    """Return what the first line of a gateway's stubs begins with."""
    return f"{MARK}: write it again by `away stubs {gateway}`"


def _head(gateway: str, doc: str, modules: list[str], body: str) -> str:
    lines = [f"{head(gateway)}, do not edit it.\n"]
    if doc:
        # Indented although a module's need not be: no line begins with what a gateway wrote.
        lines.append(f"{_docstring(doc, '    ')}\n")
    for alias, module in IMPORTS.items():
        if re.search(rf"\b{alias}\.", body):
            lines.append(f"import {module} as {alias}\n")
    if "@_remote" in body:
        lines.append("\nfrom away.builder import faas_function as _remote\n")
    if modules:
        lines.append("\n" + "".join(f"from . import {each} as {each}\n" for each in modules))
    return "".join(lines)


def _is_public(name: str) -> bool:
    return (
        name.isidentifier()
        and not keyword.iskeyword(name)
        and not name.startswith("_")
        # As Python reads source: what it would read as another name is not this one.
        and name == _normal(name)
    )


def _normal(name: str) -> str:
    import unicodedata

    return unicodedata.normalize("NFKC", name)


# ---------------------------------------------------------------- one function


def _function(name: str, known: Description | None, writer: AnnotationWriter, *, aio: bool) -> str:
    description = known or Description()
    kind = async_kind(description.kind) if aio else description.kind
    head = "async def" if kind == "async" else "def"
    returns = _returns(description, kind, writer)
    start = f"\n@_remote\n{head} {name}({_parameters(description, writer)}) -> {returns}:"
    if not description.doc.strip():
        return f"{start} ...\n"
    return f"{start}\n    {_docstring(description.doc, '    ')}\n"


def _returns(description: Description, kind: str, writer: AnnotationWriter) -> str:
    if kind.endswith("generator"):
        # Items come as an iterator, whatever kind of iterable was written.
        outer = "AsyncIterator" if kind.startswith("async") else "Iterator"
        return f"_abc.{outer}[{writer.items(description.returns)}]"
    return writer.written(description.returns) if description.returns else ANY


def _parameters(description: Description, writer: AnnotationWriter) -> str:
    parameters = description.parameters
    if parameters is None or not all(_is_parameter(each.name) for each in parameters):
        parameters = _ANYTHING
    parts: list[str] = []
    for i, each in enumerate(parameters):
        if each.kind == KEYWORD_ONLY and not any(part.startswith("*") for part in parts):
            parts.append("*")
        star = {_VAR_POSITIONAL: "*", _VAR_KEYWORD: "**"}.get(each.kind, "")
        annotation = writer.written(each.annotation) if each.annotation else ANY
        default = f" = {_default(each.default, annotation)}" if each.has_default else ""
        parts.append(f"{star}{each.name}: {annotation}{default}")
        following = parameters[i + 1].kind if i + 1 < len(parameters) else _VAR_POSITIONAL
        if each.kind == _POSITIONAL_ONLY and following != _POSITIONAL_ONLY:
            parts.append("/")
    return ", ".join(parts)


def _is_parameter(name: str) -> bool:
    return name.isidentifier() and not keyword.iskeyword(name) and name != "__debug__"


def _default(value: Any, annotation: str) -> str:
    """Write a default where it is short and of the annotation's type; a checker compares the two."""
    text = "None" if value is None else ""
    if type(value) in (bool, str, bytes) or (type(value) is int and value.bit_length() <= 64):
        text = repr(value)
    if type(value) is float and math.isfinite(value):
        text = repr(value)
    members = annotation.replace("_builtins.", "").split(" | ")
    wanted = ("None",) if value is None else (type(value).__name__, "object")
    fits = ANY in members or any(each in members for each in wanted)
    return text if text and fits and len(text) <= _LONGEST_DEFAULT else "..."


def _docstring(text: str, indent: str) -> str:
    """Write a docstring that cannot end before its end, nor hold what an editor would obey."""
    lines = ["".join(_character(c) for c in line).rstrip() for line in text.strip().split("\n")]
    joined = "\n".join(indent + line if i and line else line for i, line in enumerate(lines))
    joined = re.sub(r'"(?="|\Z)', r"\"", joined)
    return f'"""{joined}\n{indent}"""' if "\n" in joined else f'"""{joined}"""'


def _character(c: str) -> str:
    if c == "\\":
        return "\\\\"
    return c if c.isprintable() else c.encode("unicode_escape").decode("ascii")


def _constant(name: str, value: Any, writer: AnnotationWriter) -> str:
    if value is None:
        return f"{name}: None\n"
    known = (bool, int, float, str, bytes, list, dict, set, tuple, dt.date, dt.datetime)
    kind = next((each for each in known if type(value) is each), None)
    return f"{name}: {writer.written(kind.__name__) if kind else ANY}\n"


# ---------------------------------------------------------------- comparing


class Difference(NamedTuple):
    """What a function is no longer: its name, how code was written for it, and what it is now."""

    name: str
    written: str
    now: str | None

    def __str__(self) -> str:
        """Say it as one clause."""
        if self.now is None:
            return f"{self.name}{self.written} is not there any more"
        return f"{self.name}{self.written} is {self.name}{self.now} now"


def differences(written: str, now: str) -> list[Difference]:
    """Compare a stub file that code was written for with what the gateway has.

    What has come since is no difference, and docstrings are none.

    Args:
        written: The text of the stub file.
        now: The text that would be written today.

    Returns:
        The functions and constants that are gone or have another signature, in order.

    Raises:
        SyntaxError: The stub file is no Python.
    """
    before, after = _signatures(written), _signatures(now)
    return [
        Difference(name, signature, after.get(name))
        for name, signature in before.items()
        if after.get(name) != signature
    ]


def _signatures(text: str) -> dict[str, str]:
    """Read the signatures of a stub file, by name."""
    found = {}
    for node in parse(text).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
            signature = f"({ast.unparse(node.args)}){returns}"
            is_async = isinstance(node, ast.AsyncFunctionDef)
            found[node.name] = _readable(signature) + (" (async)" if is_async else "")
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = _readable(f": {ast.unparse(node.annotation)}")
    return found


def _readable(signature: str) -> str:
    return re.sub(rf"\b({'|'.join(IMPORTS)})\.", "", signature)
