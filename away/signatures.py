"""Signatures: what a function takes and gives, as annotations of its deployment and back.

A published function's annotations carry its signature, docstring and kind, so that an importing
process can bind a call, show help and tell a coroutine function before anything is sent. What comes
back from a gateway is others' data: it is checked piece by piece and never evaluated.

This room knows nothing of connections, of imports or of how arguments travel.
"""

from __future__ import annotations

import json
import keyword
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast
from unicodedata import normalize

from away.names import printable

if TYPE_CHECKING:
    import inspect
    from collections.abc import Callable, Mapping, Sequence
    from types import CodeType

__all__ = [
    "ANNOTATION_LIMIT",
    "KEYWORD_ONLY",
    "Description",
    "Kind",
    "Opaque",
    "Parameter",
    "annotation_value",
    "async_kind",
    "binder",
    "describe",
    "face",
    "from_annotations",
    "is_module_inside",
    "join_annotation",
    "kept_annotations",
    "kind_of",
    "read_signature_data",
    "several_lines",
    "signature",
    "signature_data",
    "split_annotation",
    "to_annotations",
]

Kind = Literal["sync", "async", "generator", "async generator"]
KINDS: tuple[Kind, ...] = ("sync", "async", "generator", "async generator")

# faasd takes 4,071 bytes of key and value a piece; below it with room for the key.
ANNOTATION_LIMIT = 4000
# A docstring or a signature longer than this is cut: annotations are listed with every function.
_TEXT_LIMIT = 32_000
_MOST_PARAMETERS = 200
# No call takes longer than a week; it bounds what others' annotations make a caller wait for.
_LONGEST_SECONDS = 7 * 86_400.0
_REPR_LIMIT = 200

# What of "away.…" is no part of a description (away.publish.deployment).
_OF_THE_DEPLOYMENT = ("request", "imported")

# inspect._ParameterKind, by value: 0 positional only, 1 either, 2 *args, 3 keyword only, 4 **kwargs
_POSITIONAL_ONLY, _EITHER, _VAR_POSITIONAL, KEYWORD_ONLY, _VAR_KEYWORD = range(5)


class Opaque:
    """A default or a type known only by its text: it shows itself and is never evaluated."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Opaque) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)


class Parameter(NamedTuple):
    """One parameter: its kind counts as :class:`inspect.Parameter`'s kinds do, from 0 to 4."""

    name: str
    kind: int = _EITHER
    has_default: bool = False
    default: Any = None
    annotation: str = ""


class Description(NamedTuple):
    """What the annotations of a published function say of it.

    Attributes:
        kind: How it is called: ``sync``, ``async``, ``generator`` or ``async generator``.
        parameters: Its parameters, or None where they are not known.
        returns: The text of the return annotation, or an empty string.
        doc: Its docstring, or an empty string.
        entry: ``module:qualname`` of what was published.
        digest: The identity of what was published, in hexadecimal.
        safe: False if it was published with ``safe_args=False``.
        protocol: The version of the protocol that it speaks.
        timeout: Seconds that one call may take there, or None where nobody said.
    """

    kind: Kind = "sync"
    parameters: tuple[Parameter, ...] | None = None
    returns: str = ""
    doc: str = ""
    entry: str = ""
    digest: str = ""
    safe: bool = True
    protocol: str = "1"
    timeout: float | None = None


# ---------------------------------------------------------------- reading a local function


def kind_of(function: Any) -> Kind:
    """Tell how a callable is called, looking through partials and callable objects."""
    import functools
    import inspect

    while isinstance(function, functools.partial):
        function = function.func
    if not (inspect.isroutine(function) or isinstance(function, type)):
        called = getattr(type(function), "__call__", None)  # noqa: B004 - its kind is asked
        if inspect.isfunction(called):
            function = called
    if inspect.iscoroutinefunction(function):
        return "async"
    if inspect.isasyncgenfunction(function):
        return "async generator"
    if inspect.isgeneratorfunction(function):
        return "generator"
    return "sync"


def async_kind(kind: Kind) -> Kind:
    """Return how a function of a kind is called where it must not block an event loop."""
    if kind == "sync":
        return "async"
    return "async generator" if kind == "generator" else kind


def describe(function: Callable[..., Any]) -> Description:
    """Describe a local callable.

    Args:
        function: Any callable; where Python cannot tell its signature (some builtins), the
            description has no parameters and takes any arguments.

    Returns:
        Its description, without entry and digest, which only publishing knows.
    """
    import inspect

    kind = kind_of(function)
    doc = inspect.getdoc(function) or ""
    try:
        found = inspect.signature(function)
    except (TypeError, ValueError):
        return Description(kind=kind, doc=doc)
    empty = inspect.Parameter.empty
    parameters = tuple(
        Parameter(
            name=each.name,
            kind=int(each.kind),
            has_default=each.default is not empty,
            default=None if each.default is empty else each.default,
            annotation="" if each.annotation is empty else _annotation_text(each.annotation),
        )
        for each in found.parameters.values()
    )
    returns = found.return_annotation
    text = "" if returns is inspect.Signature.empty else _annotation_text(returns)
    return Description(kind=kind, parameters=parameters, returns=text, doc=doc)


def _annotation_text(annotation: Any) -> str:
    import inspect

    if isinstance(annotation, str):
        return annotation
    return inspect.formatannotation(annotation)


# ---------------------------------------------------------------- to annotations


def to_annotations(description: Description) -> dict[str, str]:
    """Write a description as the annotations of a deployment, each within 4,000 bytes.

    Args:
        description: What to write; defaults other than plain scalars are written as their text.

    Returns:
        The annotations, ``built-with`` among them.
    """
    plain = {
        "away.protocol": description.protocol,
        "away.kind": description.kind,
        "away.safe": description.safe,
        "away.entry": description.entry,
        "away.digest": description.digest,
    }
    if description.timeout is not None:
        plain["away.timeout"] = float(description.timeout)
    found = {"built-with": "away"}
    for key, value in plain.items():
        found[key] = json.dumps(value, ensure_ascii=True)
    if description.doc:
        text = json.dumps(description.doc[:_TEXT_LIMIT], ensure_ascii=True)
        found.update(split_annotation("away.doc", text))
    data = signature_data(description)
    if data is not None:
        found.update(split_annotation("away.signature", json.dumps(data, ensure_ascii=True)))
    return found


def signature_data(description: Description) -> dict[str, Any] | None:
    """Write a signature as data for JSON; None where the parameters are not known."""
    if description.parameters is None:
        return None
    return {
        "parameters": [_parameter_data(each) for each in description.parameters],
        "returns": description.returns,
    }


def _parameter_data(parameter: Parameter) -> dict[str, Any]:
    data: dict[str, Any] = {"name": parameter.name, "kind": parameter.kind}
    if parameter.has_default:
        default = parameter.default
        if _is_plain(default):
            data["default"] = default
        else:
            data["default_text"] = _bounded_repr(default)
    if parameter.annotation:
        data["annotation"] = parameter.annotation
    return data


def _is_plain(value: Any) -> bool:
    """Tell a scalar that JSON carries as it is."""
    if value is None or type(value) is bool:
        return True
    if type(value) is int:
        return abs(value) < 2**63
    if type(value) is float:
        return value - value == 0  # neither nan nor infinite
    return type(value) is str and len(value) <= _REPR_LIMIT


def _bounded_repr(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:  # a repr of the user's own, which may do anything
        text = f"<{type(value).__name__}>"
    return text if len(text) <= _REPR_LIMIT else text[: _REPR_LIMIT - 1] + "…"


def split_annotation(key: str, text: str) -> dict[str, str]:
    """Cut an ASCII text into annotations ``key``, ``key.1``, ``key.2`` … of 4,000 bytes at most."""
    pieces = [text[i : i + ANNOTATION_LIMIT] for i in range(0, len(text), ANNOTATION_LIMIT)] or [""]
    return {key if i == 0 else f"{key}.{i}": piece for i, piece in enumerate(pieces)}


def join_annotation(annotations: Mapping[str, str], key: str) -> str | None:
    """Put the pieces that :func:`split_annotation` made together; None where there are none."""
    if key not in annotations:
        return None
    pieces = [annotations[key]]
    while (piece := annotations.get(f"{key}.{len(pieces)}")) is not None:
        pieces.append(piece)
    return "".join(pieces)


# ---------------------------------------------------------------- to a function's environment

_KINDS_INSIDE = "AWAY_FUNCTION_KINDS"
_MODULE_INSIDE = "module"


def kinds_for_inside(kinds: Mapping[tuple[str, str], str]) -> dict[str, str]:
    """Return the variable by which a function knows how those that it calls are called.

    Inside there is no login, so the gateway is not asked for it.

    Args:
        kinds: Their kinds, by gateway and name; of a function of a module that was published whole,
            the name is ``MODULE/FUNCTION``.
    """
    told = {_inside_key(*key): kind for key, kind in kinds.items() if kind != "sync"}
    for gateway, name in kinds:
        module, mark, _ = name.partition("/")
        if mark:
            told[_inside_key(gateway, module)] = _MODULE_INSIDE
    return {_KINDS_INSIDE: json.dumps(told, sort_keys=True)} if told else {}


def kind_inside(gateway: str, name: str) -> Kind | None:
    """Return the kind of a function that is called from inside another one; None if untold."""
    kind = _told_inside(gateway, name)
    return kind if kind in KINDS else None


def is_module_inside(gateway: str, name: str) -> bool:
    """Tell whether what is used from inside a function is a module that was published whole."""
    return _told_inside(gateway, name) == _MODULE_INSIDE


def _told_inside(gateway: str, name: str) -> object:
    import os

    try:
        return json.loads(os.environ.get(_KINDS_INSIDE, "{}")).get(_inside_key(gateway, name))
    except (ValueError, AttributeError):
        return None


def _inside_key(gateway: str, name: str) -> str:
    return f"{gateway}.{name.replace('_', '-')}"


# ---------------------------------------------------------------- from annotations


def from_annotations(annotations: Mapping[str, str]) -> Description | None:
    """Read a description back from a deployment's annotations, whoever wrote them.

    Args:
        annotations: The annotations as the gateway lists them.

    Returns:
        The description, or None for a function that Away did not publish. What is missing or
        malformed is left at its default: the annotations may say anything and never raise.
    """
    if annotations.get("built-with") != "away" or "away.protocol" not in annotations:
        return None
    kind = _read(annotations, "away.kind", str)
    parameters, returns = _read_signature(annotations)
    return Description(
        kind=cast("Kind", kind) if kind in KINDS else "sync",
        parameters=parameters,
        returns=returns,
        doc=several_lines(_read(annotations, "away.doc", str) or ""),
        entry=printable(_read(annotations, "away.entry", str) or ""),
        digest=printable(_read(annotations, "away.digest", str) or ""),
        safe=_read(annotations, "away.safe", bool) is not False,
        protocol=printable(_read(annotations, "away.protocol", str) or ""),
        timeout=_read_seconds(annotations),
    )


def kept_annotations(annotations: Mapping[str, str]) -> dict[str, str]:
    """Return the annotations that say how a function is called, of all that a deployment has.

    Left out are other people's, and Away's own record of the deploy request, which holds variables.
    """
    return {key: text for key, text in annotations.items() if _says_how_to_call(key)}


def _says_how_to_call(key: str) -> bool:
    if key == "built-with":
        return True
    room, _, rest = key.partition(".")
    return room == "away" and rest.partition(".")[0] not in _OF_THE_DEPLOYMENT


def _read(annotations: Mapping[str, str], key: str, kind: type) -> Any:
    text = join_annotation(annotations, key)
    if text is None or len(text) > 4 * _TEXT_LIMIT:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if type(value) is kind else None


def _read_seconds(annotations: Mapping[str, str]) -> float | None:
    seconds = _read(annotations, "away.timeout", float)
    # json reads NaN and Infinity too.
    return seconds if seconds is not None and 0 < seconds <= _LONGEST_SECONDS else None


def several_lines(text: str) -> str:
    """Make a text of others' harmless for a terminal, line by line."""
    return "\n".join(printable(line.expandtabs()) for line in text.split("\n"))


def _read_signature(
    annotations: Mapping[str, str],
) -> tuple[tuple[Parameter, ...] | None, str]:
    return read_signature_data(_read(annotations, "away.signature", dict))


def read_signature_data(data: object) -> tuple[tuple[Parameter, ...] | None, str]:
    """Read back what :func:`signature_data` wrote, whoever wrote it.

    Returns:
        The parameters, None where they are missing or malformed, and the text of what is returned.
    """
    if not isinstance(data, dict):
        return None, ""
    returns = data.get("returns")
    returns = printable(returns) if isinstance(returns, str) else ""
    listed = data.get("parameters")
    if not isinstance(listed, list) or len(listed) > _MOST_PARAMETERS:
        return None, returns
    parameters = [_read_parameter(each) for each in listed]
    found = [each for each in parameters if each is not None]
    if len(found) != len(parameters) or not _is_sound(found):
        return None, returns
    return tuple(found), returns


def _read_parameter(data: Any) -> Parameter | None:
    if not isinstance(data, dict):
        return None
    name, kind, annotation = data.get("name"), data.get("kind"), data.get("annotation", "")
    if not isinstance(name, str):
        return None
    # As Python reads source, in which two names that look different can be one.
    name = normalize("NFKC", name)
    if not _is_parameter_name(name):
        return None
    if type(kind) is not int or kind not in range(5) or not isinstance(annotation, str):
        return None
    has_default = "default" in data or "default_text" in data
    default: Any = None
    if "default" in data:
        default = data["default"] if _is_plain(data["default"]) else Opaque("…")
    elif has_default:
        default = Opaque(printable(str(data["default_text"])))
    return Parameter(name, kind, has_default, default, printable(annotation))


def _is_parameter_name(name: str) -> bool:
    return name.isidentifier() and not keyword.iskeyword(name) and name != "__debug__"


def _is_sound(parameters: Sequence[Parameter]) -> bool:
    """Check the grammar of a parameter list: order, one of each star, defaults at the end."""
    kinds = [each.kind for each in parameters]
    if kinds != sorted(kinds) or kinds.count(_VAR_POSITIONAL) > 1 or kinds.count(_VAR_KEYWORD) > 1:
        return False
    if len({each.name for each in parameters}) != len(parameters):
        return False
    seen_default = False
    for each in parameters:
        if each.kind in (_VAR_POSITIONAL, _VAR_KEYWORD) and each.has_default:
            return False
        if each.kind in (_POSITIONAL_ONLY, _EITHER):
            if seen_default and not each.has_default:
                return False
            seen_default = seen_default or each.has_default
    return True


# ---------------------------------------------------------------- functions with a signature


def binder(name: str, parameters: Sequence[Parameter]) -> Callable[..., Any]:
    """Make a function of that signature which returns its bound arguments.

    Calling it with wrong arguments raises the TypeError that the local function would raise, in
    Python's own words, which :meth:`inspect.Signature.bind` does not.

    Args:
        name: The name that the TypeError shows.
        parameters: The parameters; their names were checked to be identifiers.

    Returns:
        A function that returns ``(positional, keywords)`` with defaults filled in.
    """
    positional = [each.name for each in parameters if each.kind <= _EITHER]
    positional += [f"*{each.name}" for each in parameters if each.kind == _VAR_POSITIONAL]
    keywords = [f"{each.name!r}: {each.name}" for each in parameters if each.kind == KEYWORD_ONLY]
    keywords += [f"**{each.name}" for each in parameters if each.kind == _VAR_KEYWORD]
    first = "".join(f"{each}, " for each in positional)
    return _make(name, parameters, "def", f"return ({first}), {{{', '.join(keywords)}}}")


def face(name: str, parameters: Sequence[Parameter] | None, kind: Kind) -> Callable[..., Any]:
    """Make a function that looks like the remote one to ``inspect``: flags, names, defaults."""
    if parameters is None:
        parameters = (Parameter("args", _VAR_POSITIONAL), Parameter("kwargs", _VAR_KEYWORD))
    head = "async def" if kind.startswith("async") else "def"
    body = "yield" if kind.endswith("generator") else "pass"
    return _make(name, parameters, head, body)


def _make(name: str, parameters: Sequence[Parameter], head: str, body: str) -> Callable[..., Any]:
    # The source holds identifiers and our own words only; defaults come in as values.
    scope: dict[str, Any] = {"__builtins__": {}}
    parts: list[str] = []
    for i, each in enumerate(parameters):
        if each.kind == KEYWORD_ONLY and not any(part.startswith("*") for part in parts):
            parts.append("*")
        star = {_VAR_POSITIONAL: "*", _VAR_KEYWORD: "**"}.get(each.kind, "")
        default = ""
        if each.has_default:
            scope[f"_default_{i}"] = each.default
            default = f"=_default_{i}"
        parts.append(f"{star}{each.name}{default}")
        following = parameters[i + 1].kind if i + 1 < len(parameters) else _VAR_POSITIONAL
        if each.kind == _POSITIONAL_ONLY and following != _POSITIONAL_ONLY:
            parts.append("/")
    source = f"{head} remote({', '.join(parts)}):\n    {body}\n"
    exec(_compiled(source), scope)  # noqa: S102 - checked identifiers only
    made = cast("Callable[..., Any]", scope["remote"])
    made.__name__ = made.__qualname__ = name
    return made


@lru_cache(maxsize=256)
def _compiled(source: str) -> CodeType:
    # Many functions have the same parameters, and compiling is most of what making one costs.
    return compile(source, "<away signature>", "exec")


# Types whose text may be turned into the type itself: nothing else of others' text ever is.
_KNOWN_TYPES: dict[str, type | None] = {
    each.__name__: each
    for each in (int, float, bool, str, bytes, list, dict, tuple, set, frozenset, complex, object)
}
_KNOWN_TYPES["None"] = None


def annotation_value(text: str) -> Any:
    """Return the type that an annotation's text names, or the text as an :class:`Opaque`."""
    return _KNOWN_TYPES[text] if text in _KNOWN_TYPES else Opaque(text)


def signature(description: Description) -> inspect.Signature:
    """Make the :class:`inspect.Signature` of a description; ``(*args, **kwargs)`` if unknown."""
    import inspect

    parameters = description.parameters
    if parameters is None:
        parameters = (Parameter("args", _VAR_POSITIONAL), Parameter("kwargs", _VAR_KEYWORD))
    known = inspect.Parameter
    kinds = (
        known.POSITIONAL_ONLY,
        known.POSITIONAL_OR_KEYWORD,
        known.VAR_POSITIONAL,
        known.KEYWORD_ONLY,
        known.VAR_KEYWORD,
    )
    empty = inspect.Parameter.empty
    return inspect.Signature(
        [
            inspect.Parameter(
                each.name,
                kinds[each.kind],
                default=each.default if each.has_default else empty,
                annotation=annotation_value(each.annotation) if each.annotation else empty,
            )
            for each in parameters
        ],
        return_annotation=annotation_value(description.returns) if description.returns else empty,
    )
