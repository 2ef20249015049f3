"""What a notebook shows of gateways and functions: tables in HTML, which follow its theme.

Names, signatures and docstrings are others' data: every text is escaped, and kept from the notebook's
typesetting of formulas, in which a link could run code. There is no style of our own but for what
alignment and weight need, so that both a light and a dark theme stay readable.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any, Protocol

import away.names as names
import away.signatures as signatures
from away.exceptions import AwayError

if TYPE_CHECKING:
    import inspect
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec

    from away.connection.catalogue import FunctionInfo
    from away.functions import RemoteFunction
    from away.module_descriptions import ModuleDescription

__all__ = ["function_html", "keys_of", "members_html", "module_html", "table_of"]

# More rows than a person looks through make a notebook slow.
MOST_ROWS = 200
SIGNATURE_LENGTH = 160
DOC_LENGTH = 120
# Left to itself, a notebook right-aligns cells and typesets what stands between dollars (MathJax).
_BLOCK = '<div class="away tex2jax_ignore mathjax_ignore" translate="no">'
_HEAD = ("function", "signature", "", "replicas", "calls")
_MEMBERS_HEAD = ("function", "signature", "")
_LEFT = ' style="text-align: left; vertical-align: top"'
_RIGHT = ' style="text-align: right; vertical-align: top"'


class Owner(Protocol):
    """What gives out a gateway module's functions (:mod:`away.hooks.contents`)."""

    def rows(self, *, fresh: bool = False) -> list[tuple[str, FunctionInfo]]:
        """List what the gateway says of each function, with its Python name."""


def module_html(name: str, spec: ModuleSpec | None, owner: Owner) -> str:
    """Return a gateway module as a table of its functions, asked for by one request.

    A gateway that cannot be asked is said to be so, in place of the table.

    Args:
        name: The module's full name.
        spec: Its spec, whose origin is the gateway's URL.
        owner: Has its functions.
    """
    try:
        content = table_of(owner.rows(fresh=True))
    except AwayError as error:
        content = f"<p>{_text(str(error))}</p>"
    origin = (spec and spec.origin) or ""
    return f"{_BLOCK}<p><b>{_code(name)}</b> {_text(origin)}</p>{content}</div>"


def table_of(rows: Sequence[tuple[str, FunctionInfo]]) -> str:
    """Return a table of functions.

    Args:
        rows: Each function's Python name, and what the gateway lists of it.
    """
    if not rows:
        return "<p>no functions yet</p>"
    return _table(_HEAD, [_row(name, info) for name, info in rows[:MOST_ROWS]], len(rows))


def members_html(name: str, place: str, description: ModuleDescription | None) -> str:
    """Return a module that was published whole as a table of its functions, without a request.

    Args:
        name: The module's full name.
        place: Where it is.
        description: What it has, where that is known.
    """
    known = sorted(description.functions.items()) if description is not None else []
    rows = [
        _cells([_name_cell(key), *_described(each.kind, each, each.doc)])
        for key, each in known[:MOST_ROWS]
    ]
    content = _table(_MEMBERS_HEAD, rows, len(known)) if rows else ""
    return f"{_BLOCK}<p><b>{_code(name)}</b> {_text(place)}</p>{content}</div>"


def _table(head: Sequence[str], rows: Sequence[str], count: int) -> str:
    """Return rows under their head, and how many there are beyond them."""
    heads = "".join(f"<th{_LEFT}>{each}</th>" for each in head)
    rest = f"<p>and {count - len(rows)} more</p>" if count > len(rows) else ""
    body = "".join(rows)
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>{rest}"


def _row(name: str, info: FunctionInfo) -> str:
    cells = [_name_cell(name)]
    if info.module is not None:
        shown = _code(
            names.shortened(f"module: {', '.join(sorted(info.module.functions))}", SIGNATURE_LENGTH)
        )
        cells += [(_LEFT, shown), (_LEFT, _first_line(info.module.doc))]
    elif info.description is not None:
        cells += _described(info.description.kind, info.description, info.description.doc)
    else:
        cells += [(_LEFT, ""), (_LEFT, _first_line(_image(info.image)))]
    calls = "" if info.invocation_count is None else str(info.invocation_count)
    return _cells([*cells, (_RIGHT, str(info.replicas)), (_RIGHT, calls)])


def _image(image: str) -> str:
    """Return an image without its digest, which tells a person nothing."""
    name = image.partition("@")[0]
    return f"image {name[-DOC_LENGTH // 2 :]}" if name else ""


def _described(
    kind: signatures.Kind, description: signatures.Description, doc: str
) -> list[tuple[str, str]]:
    shown = signature_text(kind, signatures.signature(description))
    return [(_LEFT, _code(names.shortened(shown, SIGNATURE_LENGTH))), (_LEFT, _first_line(doc))]


def _name_cell(name: str) -> tuple[str, str]:
    return _LEFT, f"<b>{_code(name)}</b>"


def _cells(cells: Sequence[tuple[str, str]]) -> str:
    return f"<tr>{''.join(f'<td{style}>{cell}</td>' for style, cell in cells)}</tr>"


def _first_line(doc: str) -> str:
    return _text(names.shortened(doc.strip().partition("\n")[0], DOC_LENGTH))


def function_html(function: RemoteFunction[..., Any]) -> str:
    """Return a remote function: signature, docstring, where it is, and how often it ran where."""
    name = function.__name__
    prefix = "async def" if function.kind.startswith("async") else "def"
    head = f"{prefix} {name}{function.__signature__}"
    doc = _first_line(function.__doc__ or "")
    facts = [
        ("function", _place(function)),
        ("gateway", function.connection.url),
        ("url", function.url),
    ]
    counts = function.counts
    if counts is not None:
        said = f"{counts.remote} remote, {counts.local} local, {counts.fell_back} fell back"
        facts.append(("calls", said))
    rows = "".join(
        f"<tr><th{_LEFT}>{key}</th><td{_LEFT}>{_code(value)}</td></tr>" for key, value in facts
    )
    said = f"<p>{doc}</p>" if doc else ""
    line = _code(names.shortened(head, SIGNATURE_LENGTH + len(name)))
    return f"{_BLOCK}<p><b>{line}</b></p>{said}<table><tbody>{rows}</tbody></table></div>"


def signature_text(kind: signatures.Kind, signature: inspect.Signature) -> str:
    """Return a signature, behind the kind of a function that does not just return."""
    return str(signature) if kind == "sync" else f"{kind} {signature}"


def keys_of(owner: Owner) -> list[str]:
    """List what ``module['…']`` takes, for the completion of keys: every function's own name."""
    try:
        return sorted(info.name for _, info in owner.rows())
    except AwayError:
        return []  # a key that is pressed is no place for an error


def _place(function: RemoteFunction[..., Any]) -> str:
    space = f".{function.namespace}" if function.namespace else ""
    return f"{function.function_name}{space}{f'/{function.path}' if function.path else ''}"


def _code(text: str) -> str:
    return f"<code>{_text(text)}</code>"


def _text(text: str) -> str:
    return escape(names.printable(text))
