"""What a module published whole has: its functions and constants, as annotations and back.

One function of the gateway's stands for the module. Its annotations say which functions lie below it,
with signatures and docstrings, and which public constants it has, so that importing the module needs
the gateway's list and nothing more. What comes back from a gateway is others' data: it is checked
piece by piece and never evaluated.

This room knows nothing of connections, of imports or of how a module is captured.
"""

from __future__ import annotations

import json
import keyword
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from unicodedata import normalize

from away.exceptions import AwayError
from away.names import printable
from away.signatures import (
    KINDS,
    Description,
    from_annotations,
    join_annotation,
    read_signature_data,
    several_lines,
    signature_data,
    split_annotation,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from away.signatures import Kind

__all__ = [
    "MAX_CONSTANT_BYTES",
    "MAX_FUNCTIONS",
    "MAX_MODULE_BYTES",
    "ModuleDescription",
    "constant_text",
    "module_annotations",
    "module_from_annotations",
]

FUNCTIONS_KEY = "away.module"
CONSTANTS_KEY = "away.constants"
# Kubernetes takes 256 KiB of annotations for one object; the deploy request and the user's own
# annotations are among them.
MAX_MODULE_BYTES = 200_000
# A constant larger than this is a table, which a function may give.
MAX_CONSTANT_BYTES = 20_000
# Of the whole, so that constants never cost a docstring more than they tell.
_MAX_CONSTANTS_BYTES = 60_000
MAX_FUNCTIONS = 1_000
# How long each function's docstring may be, tried one after the other until all fits.
_DOC_LENGTHS = (8_000, 4_000, 2_000, 1_000, 500, 200, 80, 0)


class ModuleDescription(NamedTuple):
    """What a module published whole gives out.

    Attributes:
        functions: Its functions by their names in the module.
        constants: Its public constants that are safe values.
        doc: Its docstring, or an empty string.
        entry: ``module:*`` of what was published.
    """

    functions: dict[str, Description]
    constants: dict[str, Any]
    doc: str = ""
    entry: str = ""

    @property
    def names(self) -> list[str]:
        """The names of functions and constants, sorted."""
        return sorted({*self.functions, *self.constants})


# ---------------------------------------------------------------- to annotations


def module_annotations(module: ModuleDescription) -> dict[str, str]:
    """Write what a module has as annotations, each within 4,000 bytes, 200 kB in all.

    Where that is too much, docstrings are cut first, then constants are left out, then signatures.

    Args:
        module: What to write.

    Returns:
        The annotations, to stand beside those of :func:`away.signatures.to_annotations`.
    """
    constants = _constants_text(module.constants)
    for length in _DOC_LENGTHS:
        text = _functions_text(module.functions, length)
        if len(text) + len(constants) <= MAX_MODULE_BYTES:
            return _pieces(text, constants)
    if len(text) <= MAX_MODULE_BYTES:
        return _pieces(text, "")
    bare = {name: each._replace(parameters=None) for name, each in module.functions.items()}
    return _pieces(_functions_text(bare, 0), "")


def _pieces(functions: str, constants: str) -> dict[str, str]:
    found = split_annotation(FUNCTIONS_KEY, functions)
    return found | split_annotation(CONSTANTS_KEY, constants) if constants else found


def _functions_text(functions: Mapping[str, Description], doc_length: int) -> str:
    data = {}
    for name, each in sorted(functions.items()):
        said: dict[str, Any] = signature_data(each) or {}
        if each.kind != "sync":
            said["kind"] = each.kind
        if each.doc and doc_length:
            short = len(each.doc) <= doc_length
            said["doc"] = each.doc if short else each.doc[: doc_length - 1] + "…"
        data[name] = said
    return json.dumps(data, ensure_ascii=True, separators=(",", ":"))


def _constants_text(constants: Mapping[str, Any]) -> str:
    """Write the constants that fit together, the smallest first."""
    texts = {name: constant_text(value) for name, value in constants.items()}
    kept, room = [], _MAX_CONSTANTS_BYTES
    for name in sorted(texts, key=lambda each: (len(texts[each] or ""), each)):
        text = texts[name]
        if text is not None and len(text) + len(name) + 8 <= room:
            room -= len(text) + len(name) + 8
            kept.append(f"{json.dumps(name)}:{text}")
    return "{" + ",".join(sorted(kept)) + "}" if kept else ""


def constant_text(value: Any) -> str | None:
    """Write one constant; None where it is no safe value or too large."""
    from away.protocol.values import to_wire

    try:
        text = json.dumps(to_wire(value), ensure_ascii=True, separators=(",", ":"))
    except AwayError:
        return None
    return text if len(text) <= MAX_CONSTANT_BYTES else None


# ---------------------------------------------------------------- from annotations


def module_from_annotations(annotations: Mapping[str, str]) -> ModuleDescription | None:
    """Read back what a module has from its deployment's annotations, whoever wrote them.

    Args:
        annotations: The annotations as the gateway lists them.

    Returns:
        The module, or None for what is no module that Away published. What is malformed is left out:
        the annotations may say anything and never raise.
    """
    text = join_annotation(annotations, FUNCTIONS_KEY)
    whole = from_annotations(annotations) if text is not None else None
    if text is None or whole is None or len(text) > 2 * MAX_MODULE_BYTES:
        return None
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict) or len(data) > MAX_FUNCTIONS:
        return None
    functions = {}
    for name, said in data.items():
        known = _name(name)
        if known is not None and isinstance(said, dict):
            functions[known] = _read_function(known, said, whole)
    constants = _read_constants(annotations)
    kept = {name: value for name, value in constants.items() if name not in functions}
    return ModuleDescription(functions, kept, whole.doc, whole.entry)


def _name(name: object) -> str | None:
    """Return a public name as Python reads it, or None where it is none."""
    if not isinstance(name, str):
        return None
    name = normalize("NFKC", name)
    sound = name.isidentifier() and not keyword.iskeyword(name) and not name.startswith("_")
    return name if sound else None


def _read_function(name: str, said: dict[str, Any], whole: Description) -> Description:
    parameters, returns = read_signature_data(said)
    kind, doc = said.get("kind", "sync"), said.get("doc", "")
    module = whole.entry.partition(":")[0]
    return whole._replace(
        kind=cast("Kind", kind) if kind in KINDS else "sync",
        parameters=parameters,
        returns=returns,
        doc=several_lines(doc) if isinstance(doc, str) else "",
        entry=f"{module}:{printable(name)}",
    )


def _read_constants(annotations: Mapping[str, str]) -> dict[str, Any]:
    from away.protocol.values import read

    text = join_annotation(annotations, CONSTANTS_KEY)
    if text is None or len(text) > 2 * MAX_MODULE_BYTES or not text.isascii():
        return {}
    try:
        found = read(text.encode(), levels=lambda _envelope: 200)
    except AwayError:
        return {}
    if not isinstance(found, dict):
        return {}
    known = ((_name(name), value) for name, value in found.items())
    return {name: value for name, value in known if name is not None}
