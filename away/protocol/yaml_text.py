r"""Text to and from those who are not Away: a subset of JSON out, JSON or YAML 1.1 in.

The functions of the project of 2023 and its clients read and write with PyYAML; curl and others
write JSON. What is written here is read alike by json, by PyYAML's loaders in C and in Python:
JSON and YAML 1.1 agree on most texts, and the rest is avoided by the rules of :func:`write_text`.
What neither JSON nor they share (bytes, sets, times, keys that are no text) takes the YAML tags
that ``yaml.safe_load`` knows.

Reading tries json first, which is 10 to 300 times as fast, and turns to YAML for what is not JSON
or would be another value in YAML: PyYAML writes the *text* ``1e5`` without quotes. No YAML loader
ever sees a text that has not passed :class:`_Guard`: 50 kB of ``[`` are a segmentation fault in
libyaml's, and a few hundred bytes of aliases or merge keys are gigabytes.

yaml is imported only when a text is not JSON.
"""

from __future__ import annotations

import binascii
import json
import math
import re
from datetime import date, datetime, timezone
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Any

from away.exceptions import ProtocolMismatch
from away.names import printable
from away.protocol import refusals, values
from away.protocol.collisions import dict_of, set_of
from away.protocol.depth import text_is_deeper
from away.protocol.refusals import MAX_DEPTH
from away.protocol.values import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["MAX_ALIASES", "MAX_NODES", "MAX_PURE_BYTES", "judge", "read_text", "write_text"]

# The pure loader reads 0.05 to 0.8 MB/s: more than this and one body costs more than 3 s.
MAX_PURE_BYTES = 128 * 1024
# Nodes of a text, those that aliases repeat counted each time: the loader in C makes some 300,000
# a second, and what a function gives back is written out again in full.
MAX_NODES = 1_000_000
MAX_ALIASES = 1_000
# The pure scanner looks at every open level for each token: a megabyte 199 levels down would take
# it a minute. Nodes times their depth, which no honest text of that size reaches.
_MAX_PURE_WORK = 4_000_000
# A tuple is made when its parts are there, which takes PyYAML four frames of the stack a level.
MAX_TUPLE_DEPTH = 60

# --- writing --------------------------------------------------------------------------------------

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False).encode

# Patterns are compiled at their first use (re keeps them): sets of so many characters take
# milliseconds, which every import of this would pay and most programs never need.

# Raw, YAML refuses these (or reads another character: U+0085 as a space); as \uXXXX all agree.
_NOT_RAW = "[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]"
# For a reader that guesses the charset. What is above U+FFFF stays raw: json would write it as two
# surrogates, which PyYAML in Python reads as two characters and libyaml refuses.
_NOT_ASCII = "[\x7f-\ud7ff\ue000-\uffff]"
_SURROGATE = "[\ud800-\udfff]"
# A float such as 1e+16, which YAML 1.1 reads as text; inside quotes this is a false alarm.
_EXPONENT = r"[0-9]e[-+][0-9]"
# YAML ends an implicit key at 1,024 characters. From so many on, text and keys are told apart.
_MAX_KEY = 1022
_LONG_TEXT = r'"[^"]{1000}[^"]*+":|\\"'


def judge(value: Any, as_key: bool) -> str | None:
    """Say in words why one value, regardless of what is in it, cannot be written for others.

    Args:
        value: The value.
        as_key: Whether it is a dict's key or a set's element.

    Returns:
        A clause that follows the value's place in a sentence, or None if it can.

    Example:
        >>> judge((1, 2), False), judge((1, 2), True)
        (None, 'is a tuple as a key, which YAML cannot carry; send a text instead')
    """
    kind = type(value)
    problem = refusals.judge(value, as_key)
    if problem is None and type(value) is datetime and refusals.zone_key(value) is not None:
        return refusals.zone_text(value)
    if problem is not None:
        return problem.removesuffix(refusals.OR_PUBLISH_UNSAFE)
    if as_key and kind is tuple:
        return "is a tuple as a key, which YAML cannot carry; send a text instead"
    if kind is str and re.search(_SURROGATE, value):
        return "has a lone surrogate, which is no character; send bytes(…)"
    if kind is datetime and value.tzinfo is not None and _offset_text(value) is None:
        return (
            "has an offset with seconds, which YAML cannot carry;"
            " send it with .astimezone(datetime.timezone.utc)"
        )
    return None


def write_text(
    value: Any,
    *,
    levels: int = MAX_DEPTH,
    ascii_only: bool = False,
    python_tuples: bool = False,
) -> str:
    r"""Write a value so that json and every PyYAML read the same, tags where JSON has no form.

    The rules: ``", "`` and ``": "`` between tokens; text always quoted, with raw characters only
    where YAML takes them; a float's exponent only behind a point; keys over 1,022 characters, nan
    and infinities, and whatever has a tag make the text YAML only.

    Args:
        value: The value.
        levels: How deep containers may be nested in it.
        ascii_only: Escape what is not ASCII up to U+FFFF.
        python_tuples: Tag tuples ``!!python/tuple`` instead of writing them as lists.

    Returns:
        One line.

    Raises:
        Refused: Something in the value cannot travel so; ``refusals.refusal(…, judged=judge)`` says.

    Example:
        >>> write_text([1e16, "é", b"hi"], ascii_only=True)
        '[1.0e+16, "\\u00e9", !!binary "aGk="]'
    """
    try:
        if values.is_plain([value], levels):
            text = _write_plain(value, ascii_only=ascii_only)
            if text is not None:
                return text
        emitter = _Emitter(levels, ascii_only=ascii_only, python_tuples=python_tuples)
        emitter.emit(value)
    except RecursionError:
        raise Refused from None
    return "".join(emitter.out)


def _write_plain(value: Any, *, ascii_only: bool) -> str | None:
    """Write by json and mend the characters, or return None where more must be mended."""
    try:
        text = _encode(value)
    except ValueError:
        return None
    if ("e-" in text or "e+" in text) and re.search(_EXPONENT, text):
        return None
    if len(text) > _MAX_KEY and re.search(_LONG_TEXT, text):
        return None
    # Outside of quotes all is ASCII, so that what is escaped here is inside.
    return _escaped(text, ascii_only=ascii_only)


def _escaped(text: str, *, ascii_only: bool) -> str:
    if text.isascii():
        return text.replace("\x7f", "\\u007f")
    if re.search(_SURROGATE, text):
        raise Refused
    return re.sub(_NOT_ASCII if ascii_only else _NOT_RAW, _escape, text)


def _escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def _offset_text(value: datetime) -> str | None:
    """Return a time as YAML's timestamp, or None if its offset has no form there."""
    text = value.isoformat(" ")
    return text if re.fullmatch(r"(?:\.\d+)?(?:[-+]\d\d:\d\d)?", text[19:]) else None


class _Emitter:
    """Writes what json cannot, a piece at a time: 16 MB/s where json writes 50."""

    def __init__(self, levels: int, *, ascii_only: bool, python_tuples: bool) -> None:
        self.ascii_only = ascii_only
        self.tuple_tag = "!!python/tuple " if python_tuples else ""
        self.levels = MAX_TUPLE_DEPTH if python_tuples else levels
        self.out: list[str] = []
        self.open: set[int] = set()

    def emit(self, value: Any) -> None:
        kind = type(value)
        if kind is list or kind is tuple:
            self._enter(value)
            self.out.append(f"{self.tuple_tag}[" if kind is tuple else "[")
            between = ""
            for child in value:
                self.out.append(between)
                between = ", "
                self.emit(child)
            self.out.append("]")
            self.open.discard(id(value))
        elif kind is dict:
            self._enter(value)
            between = "{"
            for key, child in value.items():
                self.out.append(between + self._key(key))
                between = ", "
                self.emit(child)
            self.out.append("}" if value else "{}")
            self.open.discard(id(value))
        elif kind is set:
            self._enter(value)
            keys = sorted(map(self._key, value))
            self.out.append(f"!!set {{{', '.join(f'{key}null' for key in keys)}}}")
            self.open.discard(id(value))
        else:
            self.out.append(self._scalar(value))

    def _enter(self, value: Any) -> None:
        if id(value) in self.open or len(self.open) >= self.levels:
            raise Refused
        self.open.add(id(value))

    def _key(self, key: Any) -> str:
        text = self._scalar(key)
        return f"? {text} : " if len(text) > _MAX_KEY else f"{text}: "

    def _scalar(self, value: Any) -> str:
        write = _SCALARS.get(type(value))
        if write is None:
            raise Refused
        text = write(value)
        return _escaped(text, ascii_only=self.ascii_only) if type(value) is str else text


def _float_text(value: float) -> str:
    if math.isfinite(value):
        text = repr(value)
        return text if "." in text or "e" not in text else text.replace("e", ".0e")
    return ".nan" if value != value else ".inf" if value > 0 else "-.inf"


def _int_text(value: int) -> str:
    try:
        return str(value)
    except ValueError:  # more digits than Python writes or reads; YAML 1.1 has hexadecimal
        return hex(value)


def _datetime_text(value: datetime) -> str:
    text = _offset_text(value)
    if text is None or (value.tzinfo is not None and type(value.tzinfo) is not timezone):
        raise Refused
    return f'!!timestamp "{text}"'


_SCALARS: dict[type, Callable[[Any], str]] = {
    type(None): lambda _: "null",
    bool: lambda value: "true" if value else "false",
    int: _int_text,
    float: _float_text,
    str: encode_basestring,
    bytes: lambda value: f'!!binary "{binascii.b2a_base64(value, newline=False).decode("ascii")}"',
    date: lambda value: f'!!timestamp "{value.isoformat()}"',
    datetime: _datetime_text,
}


# --- reading --------------------------------------------------------------------------------------


class _NotTheSame(ValueError):
    """A token that json and YAML read as different values."""


def _both_float(token: str) -> float:
    """Read a float of JSON's that is one for YAML 1.1 too: with a point, its exponent signed."""
    mantissa, _, exponent = token.replace("E", "e").partition("e")
    if "." not in mantissa or (exponent and exponent[0] not in "+-"):
        raise _NotTheSame
    number = float(token)
    if math.isinf(number):
        raise _NotTheSame
    return number


def _both_constant(token: str) -> float:
    raise _NotTheSame(token)


_decode = json.JSONDecoder(parse_float=_both_float, parse_constant=_both_constant).decode
_decode_stated = json.JSONDecoder().decode


def read_text(
    text: str, *, levels: int = MAX_DEPTH, python_tuples: bool = False, stated_json: bool = False
) -> Any:
    r"""Read others' text: JSON, or YAML 1.1 as ``yaml.safe_load`` would, within limits.

    Args:
        text: The text; nothing is None, as for YAML.
        levels: How deep containers may be nested.
        python_tuples: Read ``!!python/tuple``, the one Python tag that makes nothing but data.
        stated_json: Whether its sender called it JSON: then ``1e5`` is a number.

    Returns:
        The value.

    Raises:
        ProtocolMismatch: Not YAML, or beyond a limit, or a tag that is not read; nothing ran.

    Example:
        >>> read_text("- 1\n- a: 2.5\n"), read_text("[1e5]"), read_text("[1e5]", stated_json=True)
        ([1, {'a': 2.5}], ['1e5'], [100000.0])
    """
    try:
        found = (_decode_stated if stated_json else _decode)(text)
    except RecursionError:
        raise _refused(f"is nested deeper than {MAX_DEPTH} levels") from None
    except ValueError:
        return _read_yaml(text, levels, python_tuples=python_tuples)
    if text.count("[") + text.count("{") > levels and text_is_deeper(
        text.encode("utf-8", "surrogatepass"), levels
    ):
        raise _refused(f"is nested deeper than {MAX_DEPTH} levels")
    return found


def _refused(why: str) -> ProtocolMismatch:
    return ProtocolMismatch(f"the text {why}; nothing was read")


def _read_yaml(text: str, levels: int, *, python_tuples: bool) -> Any:
    import yaml

    in_c = hasattr(yaml, "CSafeLoader")
    if not in_c and len(text) > MAX_PURE_BYTES:
        raise _refused(
            f"is YAML of more than {MAX_PURE_BYTES} characters, which takes long without"
            " libyaml: send JSON"
        )
    loader = _loader(yaml, in_c=in_c, python_tuples=python_tuples)
    try:
        guard = _Guard(levels, python_tuples=python_tuples, in_c=in_c)
        guard.check(yaml.parse(text, Loader=loader))
        return yaml.load(text, Loader=loader)  # noqa: S506 - derives from SafeLoader
    except ProtocolMismatch:
        raise
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = printable(str(error.problem or error.context or "cannot be read")[:200])
        raise _refused(f"is neither JSON nor YAML: {problem}{place}") from None
    except Exception as error:
        # PyYAML's constructors let out whatever int, datetime and others raise on odd scalars.
        problem = printable(" ".join(str(error).split())[:200])
        raise _refused(f"is neither JSON nor YAML: {problem or type(error).__name__}") from None


_PYTHON_TAG = "tag:yaml.org,2002:python/"
_PYTHON_TUPLE = f"{_PYTHON_TAG}tuple"
_MERGE_TAG = "tag:yaml.org,2002:merge"
_MERGES = "has a merge key (<<), with which a few hundred bytes become gigabytes"
_loaders: dict[tuple[bool, bool], Any] = {}


def _loader(yaml: Any, *, in_c: bool, python_tuples: bool) -> Any:
    """Return a safe loader class of our own, with the constructor of tuples where asked for."""
    key = (in_c, python_tuples)
    if key not in _loaders:
        base = yaml.CSafeLoader if in_c else yaml.SafeLoader
        made: Any = type("AwayTupleLoader" if python_tuples else "AwayLoader", (base,), {})
        made.construct_mapping = _construct_mapping
        made.add_constructor("tag:yaml.org,2002:set", _construct_set)
        for kind in ("int", "float"):
            tag = f"tag:yaml.org,2002:{kind}"
            made.add_constructor(tag, _number_constructor(base.yaml_constructors[tag]))
        if python_tuples:
            made.add_constructor(
                _PYTHON_TUPLE,
                lambda loader, node: tuple(loader.construct_sequence(node, deep=True)),
            )
        _loaders[key] = made
    return _loaders[key]


def _construct_mapping(loader: Any, node: Any, deep: bool = False) -> dict[Any, Any]:
    """Do as PyYAML does, but for keys that collide."""
    if node.id != "mapping":
        raise ValueError(f"a {node.id} stands where a mapping should")
    loader.flatten_mapping(node)
    keys: list[Any] = []
    found: list[Any] = []
    for key, value in node.value:
        keys.append(loader.construct_object(key, deep=deep))
        found.append(loader.construct_object(value, deep=deep))
    try:
        return dict_of(keys, found)
    except TypeError:
        raise ValueError("a list or dict is a key") from None


def _construct_set(loader: Any, node: Any) -> Iterator[set[Any]]:
    made: set[Any] = set()
    yield made
    made |= set_of(list(loader.construct_mapping(node)))


def _number_constructor(construct: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def checked(loader: Any, node: Any) -> Any:
        text = loader.construct_scalar(node)
        # Numbers of YAML are ASCII; int() takes the digits of other scripts too.
        if not text.isascii():
            raise ValueError("a number has a character that is no digit")
        if text.count(":") > _MAX_SEXAGESIMAL:
            raise ValueError("a number has very many digits to the base of 60")
        return construct(loader, node)

    return checked


# 1:30 is 90 in YAML 1.1, and PyYAML's sum over very many such digits takes quadratic time.
_MAX_SEXAGESIMAL = 500


class _Node:
    """A collection on its way: how many nodes it stands for, how many levels, what names it."""

    __slots__ = ("anchor", "height", "size")

    def __init__(self, anchor: str | None) -> None:
        self.anchor = anchor
        self.size = 1
        self.height = 1


class _Guard:
    """Looks at a text's events, which cost little and cannot crash, and stops at the first limit.

    The parser is asked for one event at a time, so that of a hostile text no more is parsed than
    up to its first offence.
    """

    def __init__(self, levels: int, *, python_tuples: bool, in_c: bool) -> None:
        self.levels = levels
        self.work = MAX_NODES * levels if in_c else _MAX_PURE_WORK
        self.python_tuples = python_tuples
        self.open: list[_Node] = []
        self.anchors: dict[str, tuple[int, int] | None] = {}
        self.nodes = 0
        self.aliases = 0

    def check(self, events: Iterator[Any]) -> None:
        """Go through the events of a text.

        Raises:
            ProtocolMismatch: The text is beyond a limit or asks for a Python object.
        """
        import yaml

        for event in events:
            kind = type(event)
            if kind is yaml.ScalarEvent:
                self._tag(event.tag)
                self._scalar(event)
                self._add(1, 0, event.anchor)
            elif kind is yaml.SequenceStartEvent or kind is yaml.MappingStartEvent:
                self._tag(event.tag)
                if len(self.open) >= self.levels:
                    raise _refused(f"is nested deeper than {MAX_DEPTH} levels")
                if event.anchor is not None:
                    self.anchors[event.anchor] = None
                self.open.append(_Node(event.anchor))
            elif kind is yaml.SequenceEndEvent or kind is yaml.MappingEndEvent:
                node = self.open.pop()
                self._add(node.size, node.height, node.anchor)
            elif kind is yaml.AliasEvent:
                self._alias(event.anchor)

    def _add(self, size: int, height: int, anchor: str | None) -> None:
        """Count a node that is complete, in its parent and in total."""
        if anchor is not None:
            self.anchors[anchor] = (size, height)
        if self.open:
            parent = self.open[-1]
            parent.size += size
            parent.height = max(parent.height, height + 1)
            if parent.size > MAX_NODES:
                raise _refused(f"stands for more than {MAX_NODES} values")
        if len(self.open) + height > self.levels:
            raise _refused(f"is nested deeper than {MAX_DEPTH} levels")
        self.nodes += 1
        self.work -= 1 + len(self.open)
        if self.nodes > MAX_NODES or self.work < 0:
            raise _refused("has too many values; send JSON")

    def _alias(self, anchor: str) -> None:
        self.aliases += 1
        if self.aliases > MAX_ALIASES:
            raise _refused(f"has more than {MAX_ALIASES} aliases")
        if anchor in self.anchors:
            known = self.anchors[anchor]
            if known is None:
                raise _refused("has a value that contains itself")
            self._add(*known, None)

    def _tag(self, tag: str | None) -> None:
        if tag is None or not tag.startswith((_PYTHON_TAG, _MERGE_TAG)):
            return
        if tag == _MERGE_TAG:
            raise _refused(_MERGES)
        if tag == _PYTHON_TUPLE and self.python_tuples:
            return
        shown = printable(tag.removeprefix("tag:yaml.org,2002:")[:80])
        if tag == _PYTHON_TUPLE:
            raise _refused(
                f"has the tag !!{shown}, which is read only with safe_args=False: it comes from"
                " an unsafe peer"
            )
        raise _refused(
            f"asks for a Python object by the tag !!{shown}, which is never made from others' text:"
            " send plain data"
        )

    def _scalar(self, event: Any) -> None:
        # As PyYAML decides: a scalar with a tag is read by it, a plain one by what it looks like.
        if event.implicit[0] and event.value == "<<":
            raise _refused(_MERGES)
