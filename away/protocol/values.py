"""Values between two Aways: exact types to JSON text and back, equal and of the same type.

JSON's own types go as they are. What JSON lacks is an object with one reserved key, which holds a
flat list of the kind and its parts: ``{"$away": ["tuple", 1, 2]}``. Such an object costs what it
holds and nothing else: one tuple in a megabyte leaves the megabyte to the C encoder, where a YAML
tag would throw all of it onto a loader that is a hundred times slower.

Types are taken exactly (``type(x) is``): json writes an IntEnum as a number, an int key as text and
a tuple as a list, and what comes back is then another value than what was sent. So a walk looks at
every type before json sees the tree. It goes level by level and looks at a whole level in one call
into C (``set(map(type, …))``), which is what keeps it far cheaper than the encoding.

This module knows nothing of calls, envelopes, YAML or HTTP.
"""

from __future__ import annotations

import binascii
import json
import math
import sys
from datetime import date, datetime, timezone, tzinfo
from functools import lru_cache
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any

from away.exceptions import ProtocolMismatch
from away.names import printable
from away.protocol.collisions import dict_of, set_of
from away.protocol.depth import is_deeper, text_is_deeper
from away.protocol.refusals import MAX_DEPTH, refusal, zone_key

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "MAX_DEPTH",
    "RESERVED_KEY",
    "Refused",
    "dict_of",
    "from_wire",
    "is_plain",
    "read",
    "scalar_text",
    "set_of",
    "text_is_deeper",
    "to_wire",
    "travels",
    "write",
    "write_plain",
]

RESERVED_KEY = "$away"

# Above this many decimal digits CPython refuses to read an integer (sys.set_int_max_str_digits),
# so that a few bytes cannot cost seconds; hexadecimal is linear and has no limit.
_MOST_DIGITS = 4300

# Large lists are looked at in pieces, so that one tuple makes only its own piece go item by item.
_PIECE = 512

# From this many children on, a level of the walk is searched for containers that occur twice.
_MANY = 1_000_000

_SCALARS = frozenset({type(None), bool, int, float, str})
_JSON_CONTAINERS = frozenset({list, dict})
_STR = {str}

_MARK_IN_TEXT = f'"{RESERVED_KEY}"'


class Refused(Exception):
    """Something in a value cannot travel; ``refusals.refusal`` finds out what and where."""


# --- the walk -------------------------------------------------------------------------------------


def is_plain(values: list[Any], levels: int) -> bool:
    """Tell whether json can write values as they are: no other types, no reserved key.

    The walk goes by levels, each a few calls into C. A list that holds itself twice doubles with
    every level: once a level has grown large and has such, each container is looked at once.

    Args:
        values: The values; the list itself is no level.
        levels: How many levels of containers the values may have.

    Returns:
        False also when the values are nested deeper, which is then for others to say.

    Example:
        >>> is_plain([1, {"a": [None]}], 2), is_plain([(1, 2)], 2), is_plain([[[]]], 1)
        (True, False, False)
    """
    lists: list[Any] = [values]
    dicts: list[Any] = []
    shared = False
    while True:
        if dicts:
            if set(map(type, chain.from_iterable(dicts))) - _STR:
                return False
            if any(map(dict.__contains__, dicts, repeat(RESERVED_KEY))):
                return False
            lists.extend(map(dict.values, dicts))
        children = list(chain.from_iterable(lists))
        kinds = set(map(type, children))
        beyond = kinds - _SCALARS
        if not beyond:
            return True
        levels -= 1
        if levels < 0 or beyond - _JSON_CONTAINERS:
            return False
        lists = _of_type(list, children, kinds) if list in beyond else []
        dicts = _of_type(dict, children, kinds) if dict in beyond else []
        if shared or sum(map(len, lists)) + sum(map(len, dicts)) > _MANY:
            before = len(lists) + len(dicts)
            lists, dicts = _distinct(lists), _distinct(dicts)
            shared = shared or len(lists) + len(dicts) < before


def _of_type(kind: type, children: list[Any], kinds: set[type]) -> list[Any]:
    return children if len(kinds) == 1 else [each for each in children if type(each) is kind]


def _distinct(containers: list[Any]) -> list[Any]:
    return list(dict(zip(map(id, containers), containers, strict=True)).values())


class _Walk:
    """The state of one conversion: the containers that are open above, and how careful to be.

    A careful walk also looks at the scalars that json cannot carry: nan, infinities, integers of
    very many digits, text with lone surrogates. It happens only when json has stumbled over one.
    """

    __slots__ = ("careful", "levels", "open", "wide")

    def __init__(self, levels: int, *, careful: bool) -> None:
        self.levels = levels
        self.careful = careful
        self.open: set[int] = set()
        if careful:
            self.wide = 10 ** min(_MOST_DIGITS, sys.get_int_max_str_digits() or _MOST_DIGITS)


def _mark(kind: str, *parts: Any) -> dict[str, list[Any]]:
    return {RESERVED_KEY: [kind, *parts]}


def _convert(value: Any, walk: _Walk) -> Any:
    kind = type(value)
    if kind in _SCALARS and not walk.careful:
        return value
    convert = _CONVERT.get(kind)
    if convert is None:
        raise Refused
    return convert(value, walk)


def _convert_items(items: list[Any], owner: object, walk: _Walk) -> list[Any]:
    """Convert the children of a container; give back the same list where nothing changed."""
    if id(owner) in walk.open or len(walk.open) >= walk.levels:
        raise Refused
    walk.open.add(id(owner))
    converted = items
    for start in range(0, len(items), _PIECE):
        piece = items if len(items) <= _PIECE else items[start : start + _PIECE]
        if not walk.careful and (
            _SCALARS.issuperset(map(type, piece))
            or (piece is not items and is_plain(piece, walk.levels - len(walk.open)))
        ):
            continue
        for index, child in enumerate(piece, start):
            # As _convert, written out: it would be a second frame a level of a deep value.
            kind = type(child)
            if kind in _SCALARS and not walk.careful:
                continue
            convert = _CONVERT.get(kind)
            if convert is None:
                raise Refused
            new = convert(child, walk)
            if new is not child:
                if converted is items:
                    converted = items.copy()
                converted[index] = new
    walk.open.discard(id(owner))
    return converted


def _convert_list(value: list[Any], walk: _Walk) -> list[Any]:
    return _convert_items(value, value, walk)


def _convert_tuple(value: tuple[Any, ...], walk: _Walk) -> Any:
    return _mark("tuple", *_convert_items(list(value), value, walk))


def _convert_set(value: set[Any], walk: _Walk) -> Any:
    return _mark("set", *_convert_items(list(value), value, walk))


def _convert_dict(value: dict[Any, Any], walk: _Walk) -> Any:
    items = list(value.values())
    if (
        set(map(type, value)) <= _STR
        and RESERVED_KEY not in value
        and not (walk.careful and not all(map(_encodes, value)))
    ):
        converted = _convert_items(items, value, walk)
        return value if converted is items else dict(zip(value, converted, strict=True))
    flat = [part for pair in value.items() for part in pair]
    return _mark("dict", *_convert_items(flat, value, walk))


def _convert_bytes(value: bytes, _: _Walk) -> Any:
    return _mark("bytes", binascii.b2a_base64(value, newline=False).decode("ascii"))


def _convert_date(value: date, _: _Walk) -> Any:
    return _mark("date", value.isoformat())


def _convert_datetime(value: datetime, _: _Walk) -> Any:
    key = zone_key(value)
    if key is not None:
        return _mark("datetime", value.isoformat(), value.fold, key)
    if value.tzinfo is not None and type(value.tzinfo) is not timezone:
        raise Refused
    return _mark("datetime", value.isoformat(), value.fold)


def _convert_float(value: float, _: _Walk) -> Any:
    return value if math.isfinite(value) else _mark("float", repr(value))


def _convert_int(value: int, walk: _Walk) -> Any:
    return value if -walk.wide < value < walk.wide else _mark("int", format(value, "x"))


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _convert_str(value: str, _: _Walk) -> Any:
    if _encodes(value):
        return value
    data = value.encode("utf-8", "surrogatepass")
    return _mark("text", binascii.b2a_base64(data, newline=False).decode("ascii"))


_CONVERT: dict[type, Callable[[Any, _Walk], Any]] = {
    type(None): lambda value, _: value,
    bool: lambda value, _: value,
    int: _convert_int,
    float: _convert_float,
    str: _convert_str,
    list: _convert_list,
    tuple: _convert_tuple,
    set: _convert_set,
    dict: _convert_dict,
    bytes: _convert_bytes,
    date: _convert_date,
    datetime: _convert_datetime,
}


# --- writing --------------------------------------------------------------------------------------

# check_circular is off because the walk has been everywhere: what is left of it is a tree.
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False).encode


def to_wire(value: Any, *, levels: int = MAX_DEPTH) -> Any:
    """Turn a value into what JSON can carry; parts that JSON knows are shared, not copied.

    Args:
        value: None, bool, int, float, str, bytes, date, datetime, list, tuple, set or dict.
        levels: How deep containers may be nested in it.

    Returns:
        A tree of JSON's own types that :func:`from_wire` turns back.

    Raises:
        CannotTravel: Another type, a cycle, or more levels; the message says where.

    Example:
        >>> to_wire({"at": (1, 2)})
        {'at': {'$away': ['tuple', 1, 2]}}
    """
    try:
        return _convert(value, _Walk(levels, careful=True))
    except (Refused, RecursionError):
        raise refusal(value, "the value", "value") from None


def from_wire(tree: Any) -> Any:
    """Turn a tree of JSON's types, as :func:`to_wire` makes them, back into the value.

    Raises:
        ProtocolMismatch: A reserved key with something under it that no Away writes.

    Example:
        >>> from_wire({"at": {"$away": ["tuple", 1, 2]}})
        {'at': (1, 2)}
    """
    return _decode_marked(_encode(tree))


def travels(value: Any, *, levels: int = MAX_DEPTH) -> bool:
    """Tell whether a value can be sent as it is.

    Example:
        >>> travels([1, b"x"]), travels(range(3))
        (True, False)
    """
    if is_plain([value], levels):
        return True
    try:
        _convert(value, _Walk(levels, careful=False))
    except (Refused, RecursionError):
        return False
    return True


def write(envelope: dict[str, Any], *, levels: int) -> bytes:
    """Write an envelope: an object with our own few keys and values of the user's under them.

    Args:
        envelope: Text keys, never the reserved one.
        levels: How deep containers may be nested in each of the envelope's values.

    Returns:
        JSON text as UTF-8.

    Raises:
        Refused: Some value cannot travel.

    Example:
        >>> write({"value": b"hi"}, levels=MAX_DEPTH)
        b'{"value": {"$away": ["bytes", "aGk="]}}'
    """
    # Where a process has lifted Python's limit of digits, the encoder says nothing of wide integers.
    careful = sys.get_int_max_str_digits() != _MOST_DIGITS
    try:
        if not careful:
            try:
                return _write(envelope, _Walk(levels, careful=False))
            except ValueError:
                # nan, an integer of too many digits, or (UnicodeEncodeError) a lone surrogate
                pass
        return _write(envelope, _Walk(levels, careful=True))
    except RecursionError:
        raise Refused from None


def write_plain(values: list[Any], envelope: dict[str, Any]) -> bytes | None:
    """Write an envelope that may hold its values in tuples, where these are lists by agreement.

    Args:
        values: All values of the user's in it, each nested as deeply as may be.
        envelope: The whole.

    Returns:
        JSON text as UTF-8; None where a value needs more than JSON has, or none of it may travel.

    Example:
        >>> write_plain([1, "x"], {"calls": [(1, "x")]})
        b'{"calls": [[1, "x"]]}'
    """
    if sys.get_int_max_str_digits() != _MOST_DIGITS or not is_plain(values, MAX_DEPTH):
        return None
    try:
        return _encode(envelope).encode()
    except (ValueError, RecursionError):
        return None


# Beyond it how an integer is written depends on Python's limit of digits.
_WORD = 1 << 63


def scalar_text(value: Any) -> str | None:
    """Write one number, truth or None, which needs neither a walk nor an encoder.

    Returns:
        JSON text; None for every other value, and for numbers that JSON cannot carry.

    Example:
        >>> scalar_text(True), scalar_text(1.5), scalar_text("text")
        ('true', '1.5', None)
    """
    kind = type(value)
    if kind is int:
        return str(value) if -_WORD < value < _WORD else None
    if kind is float:
        return repr(value) if math.isfinite(value) else None
    if value is None:
        return "null"
    if kind is bool:
        return "true" if value else "false"
    return None


def _write(envelope: dict[str, Any], walk: _Walk) -> bytes:
    if walk.careful or not is_plain(list(envelope.values()), walk.levels):
        envelope = {key: _convert(value, walk) for key, value in envelope.items()}
    return _encode(envelope).encode()


# --- reading --------------------------------------------------------------------------------------


def _no_constant(token: str) -> Any:
    raise ValueError(f"{token} is not JSON")


def _tuple_of(parts: list[Any]) -> tuple[Any, ...]:
    return tuple(parts)


def _dict_of(parts: list[Any]) -> dict[Any, Any]:
    return dict_of(parts[::2], parts[1::2])


def _bytes_of(parts: list[Any]) -> bytes:
    (text,) = parts
    return binascii.a2b_base64(text, strict_mode=True) if text else b""


def _text_of(parts: list[Any]) -> str:
    return _bytes_of(parts).decode("utf-8", "surrogatepass")


def _date_of(parts: list[Any]) -> date:
    (text,) = parts
    return date.fromisoformat(text)


def _datetime_of(parts: list[Any]) -> datetime:
    text, fold, *key = parts
    found = datetime.fromisoformat(text).replace(fold=fold)
    if not key:
        return found
    named = _in_zone(found, *key)
    return found if named is None else named


def _in_zone(found: datetime, key: str) -> datetime | None:
    """Give a time its zone back; None where this machine has no such zone, or has other rules.

    It then keeps the offset that it was sent with, and so is equal to what was sent all the same.
    """
    zone = _zone(key) if type(key) is str else None
    if zone is None:
        return None
    named = found.replace(tzinfo=zone)
    return named if named.utcoffset() == found.utcoffset() else None


@lru_cache(maxsize=1024)
def _zone(key: str) -> tzinfo | None:
    from zoneinfo import ZoneInfo

    # Looking for a zone that is not there takes so long that 16 MB of such would take half a
    # minute, so after the first one only those are looked for that are there.
    if _known_zones.cache_info().currsize and key not in _known_zones():
        return None
    try:
        return ZoneInfo(key)
    except (OSError, LookupError, ValueError):
        _known_zones()
        return None


@lru_cache(maxsize=1)
def _known_zones() -> set[str]:
    from zoneinfo import available_timezones

    return available_timezones()


def _int_of(parts: list[Any]) -> int:
    (text,) = parts
    return int(text, 16)


def _float_of(parts: list[Any]) -> float:
    (text,) = parts
    return {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[text]


_READ: dict[str, Callable[[list[Any]], Any]] = {
    "tuple": _tuple_of,
    "set": set_of,
    "dict": _dict_of,
    "bytes": _bytes_of,
    "text": _text_of,
    "date": _date_of,
    "datetime": _datetime_of,
    "int": _int_of,
    "float": _float_of,
}


def _unmark(found: dict[str, Any]) -> Any:
    """Read one JSON object; json calls this from the inside out, so that its parts are values."""
    if RESERVED_KEY not in found:
        return found
    marked = found[RESERVED_KEY]
    if len(found) != 1 or type(marked) is not list or not marked or type(marked[0]) is not str:
        raise ProtocolMismatch(f"the body uses the reserved key {RESERVED_KEY!r} in no known form")
    kind = marked[0]
    read_kind = _READ.get(kind)
    if read_kind is None:
        raise ProtocolMismatch(
            f"the body has a value of the kind {printable(kind[:40])!r}, which this version of Away"
            " does not know; upgrade this side or publish the function again"
        )
    try:
        return read_kind(marked[1:])
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError):
        raise ProtocolMismatch(f"the body has a {kind} that cannot be read") from None


_decode = json.JSONDecoder(parse_constant=_no_constant).decode
_decode_marked = json.JSONDecoder(parse_constant=_no_constant, object_hook=_unmark).decode


def read(body: bytes, *, levels: Callable[[Any], int]) -> Any:
    """Read what :func:`write` wrote.

    Args:
        body: JSON text as UTF-8.
        levels: Tells of an envelope how deep containers may be nested in each of its values.

    Returns:
        The envelope, its values with their types.

    Raises:
        ProtocolMismatch: Not UTF-8, not JSON, nested deeper, or a reserved key in no known form.

    Example:
        >>> read(b'{"value": {"$away": ["bytes", "aGk="]}}', levels=lambda _: MAX_DEPTH)
        {'value': b'hi'}
    """
    try:
        text = str(body, "utf-8")
        marked = _MARK_IN_TEXT in text
        found = _decode_marked(text) if marked else _decode(text)
    except RecursionError:
        raise _too_deep() from None
    except UnicodeDecodeError:
        raise ProtocolMismatch("the body is not UTF-8") from None
    except ValueError as error:
        raise ProtocolMismatch(f"the body is not JSON: {printable(str(error)[:200])}") from None
    # A mark takes two levels of text for one of the value, so a deep text that has marks is looked
    # at again as a value.
    most = 1 + levels(found)
    if text_is_deeper(body, most) and not (marked and not is_deeper(found, most)):
        raise _too_deep()
    return found


def _too_deep() -> ProtocolMismatch:
    return ProtocolMismatch(f"the body is nested deeper than {MAX_DEPTH} levels")
