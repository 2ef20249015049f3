"""An annotation's text as others wrote it, as an expression that may stand in a stub file.

The text comes with a function from its gateway and may say anything. It is parsed and never
evaluated, and what is written is put together from names of this room's own: types of the standard
library, with as many parameters as they take. Whatever else was said is ``Any``.
"""

from __future__ import annotations

import ast
import warnings
from typing import TYPE_CHECKING, NamedTuple

from away.syntax_trees import parse_expression

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

__all__ = ["ANY", "IMPORTS", "AnnotationWriter"]

ANY = "_typing.Any"
# Under these names a stub file has the modules: no function's name begins with an underscore.
IMPORTS = {
    "_abc": "collections.abc",
    "_builtins": "builtins",
    "_datetime": "datetime",
    "_decimal": "decimal",
    "_fractions": "fractions",
    "_pathlib": "pathlib",
    "_typing": "typing",
    "_uuid": "uuid",
}
# A longer text is no annotation that a person would read.
_MOST_CHARACTERS = 2_000
_MOST_DIGITS_BITS = 64
_VARIADIC = -1


class _Known(NamedTuple):
    """A type: where it is, what it is called there, and how many parameters it takes."""

    module: str
    name: str
    parameters: int = 0


def _known_types() -> dict[str, _Known]:
    """Map each spelling, with its module and without, to the type; the later one wins."""
    found: dict[str, _Known] = {}

    def add(module: str, names: dict[str, int], *, prefixes: Sequence[str] = ()) -> None:
        for name, parameters in names.items():
            for prefix in prefixes or (f"{module}.", ""):
                found[prefix + name] = _Known(module, name, parameters)

    abstract = {"Hashable": 0, "Sized": 0}
    abstract |= dict.fromkeys(("Iterable", "Iterator", "Collection", "Container", "Reversible"), 1)
    abstract |= dict.fromkeys(("Sequence", "MutableSequence", "MutableSet", "AsyncIterable"), 1)
    abstract |= {"AsyncIterator": 1, "Awaitable": 1, "Mapping": 2, "MutableMapping": 2}
    abstract |= {"Generator": 3, "AsyncGenerator": 2, "Coroutine": 3}
    add("collections.abc", abstract, prefixes=("collections.abc.", "typing.", "abc.", ""))
    add("collections.abc", {"Set": 1}, prefixes=("collections.abc.", "abc."))
    add("typing", {"Any": 0, "LiteralString": 0})
    add("datetime", dict.fromkeys(("date", "datetime", "time", "timedelta", "timezone"), 0))
    add("decimal", {"Decimal": 0})
    add("fractions", {"Fraction": 0})
    add("pathlib", {"Path": 0, "PurePath": 0})
    add("uuid", {"UUID": 0})
    builtins = dict.fromkeys(
        ("int", "float", "bool", "str", "bytes", "bytearray", "complex", "object", "range"), 0
    )
    builtins |= {"list": 1, "set": 1, "frozenset": 1, "dict": 2, "type": 1, "tuple": _VARIADIC}
    add("builtins", builtins)
    older = {"List": "list", "Set": "set", "FrozenSet": "frozenset", "Dict": "dict"}
    older |= {"Type": "type", "Tuple": "tuple", "Text": "str"}
    for name, newer in older.items():
        found[name] = found[f"typing.{name}"] = found[newer]
    found["typing.AbstractSet"] = found["AbstractSet"] = found["collections.abc.Set"]
    return found


_KNOWN = _known_types()


class AnnotationWriter:
    """Writes annotations for one stub file.

    Args:
        taken: The names that the file defines: a builtin type among them is written otherwise.
    """

    def __init__(self, taken: Collection[str] = ()) -> None:
        self._taken = taken
        self._forms: dict[str, Callable[[list[ast.expr]], str]] = {
            "Optional": self._optional,
            "Union": self._union,
            "Literal": self._literal,
            "Callable": self._callable,
            "Annotated": lambda found: self._expression(found[0]),
        }

    def written(self, text: str) -> str:
        """Return the expression for an annotation's text; ``Any`` for what is not known here."""
        parsed = _parsed(text)
        if parsed is None:
            return ANY
        try:
            return self._expression(parsed)
        except RecursionError:
            return ANY

    def items(self, text: str) -> str:
        """Return the expression for what an iterator of that annotation gives."""
        parsed = _parsed(text)
        if isinstance(parsed, ast.Subscript):
            known = _KNOWN.get(_dotted(parsed.value))
            if known is not None and known.module == "collections.abc":
                try:
                    return self._expression(_elements(parsed.slice)[0])
                except RecursionError:
                    pass
        return ANY

    def _expression(self, node: ast.expr) -> str:
        if isinstance(node, ast.Constant):
            if isinstance(node.value, str):  # a forward reference within the annotation
                parsed = _parsed(node.value)
                return ANY if parsed is None else self._expression(parsed)
            return "None" if node.value is None else ANY
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            return self._union([node.left, node.right])
        if isinstance(node, ast.Subscript):
            return self._subscript(_dotted(node.value), _elements(node.slice))
        return self._name(_dotted(node))

    def _name(self, name: str) -> str:
        known = _KNOWN.get(name)
        if known is None:
            return (
                f"{self._module('collections.abc')}.Callable[..., {ANY}]"
                if _is(name, "Callable")
                else ANY
            )
        # A checker in its strict mode wants the parameters said.
        if known.parameters == _VARIADIC:
            return f"{self._spelt(known)}[{ANY}, ...]"
        anything = ", ".join([ANY] * known.parameters)
        return f"{self._spelt(known)}[{anything}]" if anything else self._spelt(known)

    def _spelt(self, known: _Known) -> str:
        if known.module == "builtins" and known.name not in self._taken:
            return known.name
        return f"{self._module(known.module)}.{known.name}"

    @staticmethod
    def _module(name: str) -> str:
        return next(alias for alias, module in IMPORTS.items() if module == name)

    def _subscript(self, name: str, parameters: list[ast.expr]) -> str:
        for form, write in self._forms.items():
            if _is(name, form) and parameters:
                return write(parameters)
        known = _KNOWN.get(name)
        if known is None:
            return ANY
        if known.parameters == _VARIADIC:
            return self._tuple(known, parameters)
        if known.parameters != len(parameters) and known.name != "Generator":
            return self._name(name)
        written = [self._expression(each) for each in parameters]
        # Generator's last two have defaults only since Python 3.13.
        written += ["None"] * (known.parameters - len(written))
        return f"{self._spelt(known)}[{', '.join(written[: known.parameters])}]"

    def _tuple(self, known: _Known, parameters: list[ast.expr]) -> str:
        if not parameters:
            return f"{self._spelt(known)}[()]"
        if len(parameters) == 2 and _is_dots(parameters[1]):
            return f"{self._spelt(known)}[{self._expression(parameters[0])}, ...]"
        return f"{self._spelt(known)}[{', '.join(self._expression(each) for each in parameters)}]"

    def _optional(self, parameters: list[ast.expr]) -> str:
        return self._union([parameters[0], ast.Constant(None)])

    def _union(self, parameters: list[ast.expr]) -> str:
        members = dict.fromkeys(self._expression(each) for each in parameters)
        return " | ".join(members)

    def _literal(self, parameters: list[ast.expr]) -> str:
        values = [_literal_text(each) for each in parameters]
        if any(each is None for each in values):
            return ANY
        return f"_typing.Literal[{', '.join(each for each in values if each)}]"

    def _callable(self, parameters: list[ast.expr]) -> str:
        if len(parameters) != 2:
            return self._name("Callable")
        first, result = parameters
        takes = "..."
        if isinstance(first, ast.List):
            takes = f"[{', '.join(self._expression(each) for each in first.elts)}]"
        return f"{self._module('collections.abc')}.Callable[{takes}, {self._expression(result)}]"


def _parsed(text: str) -> ast.expr | None:
    if len(text) > _MOST_CHARACTERS:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's opinion of others' escapes
            return parse_expression(text.strip())
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _dotted(node: ast.expr) -> str:
    """Return ``a.b.c`` for a chain of names, and nothing for another expression."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return ""


def _is(name: str, form: str) -> bool:
    before, _, last = name.rpartition(".")
    return last == form and before in ("", "typing", "typing_extensions", "collections.abc")


def _elements(node: ast.expr) -> list[ast.expr]:
    return list(node.elts) if isinstance(node, ast.Tuple) else [node]


def _is_dots(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is ...


def _literal_text(node: ast.expr) -> str | None:
    sign = ""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        node, sign = node.operand, "-"
    value = node.value if isinstance(node, ast.Constant) else ...
    if type(value) is int and value.bit_length() <= _MOST_DIGITS_BITS:
        return f"{sign}{value}"
    return repr(value) if not sign and isinstance(value, str | bytes | bool | None) else None
