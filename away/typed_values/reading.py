"""Annotations: what a stub's author wrote, read as conversions.

The texts are the user's own, from their own file, so they are evaluated as :mod:`typing` does it, but
one by one, at the first call, and what cannot be resolved is taken as it comes: an annotation is no
reason for a call to fail.
"""

from __future__ import annotations

import collections.abc as abc
import inspect
import sys
import types
import typing
from typing import TYPE_CHECKING, Any, ForwardRef, TypeVar, get_args, get_origin

from away.typed_values.containers import FixedTuple, Items, IteratorItems, Later, Pairs, Union
from away.typed_values.conversions import (
    Exactly,
    Instance,
    Literals,
    Member,
    Written,
    written_types,
)
from away.typed_values.records import DataclassRecord, DictRecord, TupleRecord

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from away.typed_values.conversions import Conversion

__all__ = ["UNKNOWN", "Reader"]

# What an annotation stands for that cannot be resolved.
UNKNOWN: Any = object()

_PLAIN: dict[Any, Conversion] = {
    int: Exactly("int", int),
    float: Exactly("float", float, int),
    complex: Exactly("complex", complex, float, int),
    bool: Exactly("bool", bool),
    str: Exactly("str", str),
    bytes: Exactly("bytes", bytes),
    type(None): Exactly("None", type(None)),
    None: Exactly("None", type(None)),
}
# Kind of argument, what a result is made into, and what it may come as.
_ITEMS: dict[Any, tuple[type, type | None, tuple[type, ...]]] = {
    list: (list, list, (list,)),
    set: (set, set, (set, frozenset, list)),
    frozenset: (frozenset, frozenset, (set, frozenset, list)),
    abc.Sequence: (abc.Sequence, None, (list, tuple, str, bytes)),
    abc.MutableSequence: (abc.MutableSequence, None, (list,)),
    abc.Set: (abc.Set, set, (set, frozenset, list)),
    abc.MutableSet: (abc.MutableSet, set, (set, list)),
    abc.Collection: (abc.Collection, None, (list, tuple, set, frozenset, str, bytes, dict)),
    abc.Container: (abc.Container, None, (list, tuple, set, frozenset, str, bytes, dict)),
    abc.Iterable: (abc.Iterable, None, (abc.Iterable,)),
    abc.Reversible: (abc.Reversible, None, (abc.Reversible,)),
}
_MAPPINGS = (dict, abc.Mapping, abc.MutableMapping)
_ITERATORS = (abc.Iterator, abc.Generator, abc.AsyncIterator, abc.AsyncGenerator)
# Wrappers that say something of a field and nothing of its values.
_QUALIFIERS = tuple(
    each
    for name in ("Annotated", "ClassVar", "Final", "Required", "NotRequired", "ReadOnly")
    if (each := getattr(typing, name, None)) is not None
)
_ALIAS = getattr(typing, "TypeAliasType", None)  # Python 3.12
_UNIONS = (typing.Union, types.UnionType)


class Reader:
    """Reads the annotations of one function, and of the classes that it names.

    Args:
        scope: The names by which annotations are evaluated, the nearest first.
    """

    def __init__(self, *scope: Mapping[str, Any]) -> None:
        self._scope = scope
        self._bindings: dict[Any, Any] = {}
        self._records: dict[Any, Conversion] = {}
        # The aliases that are being read.
        self._open: set[Any] = set()
        self._written: dict[type, Written] | None = None
        # Of the mappings read, the keys that are no texts; one list for all readers of a stub.
        self._keys: list[Conversion] = []

    def read(self, annotation: Any) -> Conversion | None:
        """Return the conversion for an annotation; None where anything is taken.

        Args:
            annotation: A type, or the text of one.
        """
        if isinstance(annotation, ForwardRef):
            annotation = annotation.__forward_arg__
        if isinstance(annotation, str):
            annotation = self._evaluated(annotation)
            if annotation is UNKNOWN:
                return None
            return self.read(annotation)
        if isinstance(annotation, TypeVar):
            bound = self._bindings.get(annotation, UNKNOWN)
            return None if bound is UNKNOWN or bound is annotation else self.read(bound)
        if get_origin(annotation) is None:
            return self._bare(annotation)
        return self._generic(annotation, get_origin(annotation), get_args(annotation))

    @property
    def knows_keys(self) -> bool:
        """Whether an annotation read so far says of a mapping's keys that they are no texts."""
        return bool(self._keys)

    def items_of(self, annotation: Any) -> Conversion | None:
        """Return the conversion of the whole list of what an iterator gives, if one is annotated."""
        if isinstance(annotation, str):
            annotation = self._evaluated(annotation)
        if get_origin(annotation) not in _ITERATORS:
            return None
        item = self.read(get_args(annotation)[0])
        return None if item is None else IteratorItems(item)

    def _evaluated(self, text: str) -> Any:
        names: dict[str, Any] = {}
        for scope in reversed(self._scope):
            names.update(scope)
        try:
            return eval(text, names)  # noqa: S307 - the user's own annotation, as typing reads it
        except Exception:  # whatever the user's expression raises: it is left unchecked
            return UNKNOWN

    # ------------------------------------------------------------ a name alone

    def _bare(self, kind: Any) -> Conversion | None:
        if kind in (Any, object):
            return None
        try:
            known = _PLAIN.get(kind)
        except TypeError:  # not hashable: no type
            return None
        if known is not None:
            return known
        if _ALIAS is not None and isinstance(kind, _ALIAS):
            return self._alias(kind, self)
        if isinstance(kind, typing.NewType):
            return self.read(kind.__supertype__)
        if kind in _ITEMS or kind in _MAPPINGS or kind is tuple:
            return self._generic(kind, kind, ())
        if not isinstance(kind, type) or getattr(kind, "_is_protocol", False):
            return None
        return self._class(kind)

    def _class(self, kind: type) -> Conversion:
        if self._written is None:
            self._written = written_types()
        written = self._written.get(kind)
        if written is not None:
            return written
        enum = sys.modules.get("enum")
        if enum is not None and issubclass(kind, enum.Enum):
            return Member(kind)
        return self._record(kind, kind, ()) or Instance(kind)

    # ------------------------------------------------------------ with parameters

    def _generic(self, whole: Any, origin: Any, args: tuple[Any, ...]) -> Conversion | None:
        if origin in _QUALIFIERS:
            return self.read(args[0])
        if origin in _UNIONS:
            return self._union(args)
        if origin is typing.Literal:
            return Literals(args)
        if origin is tuple:
            return self._tuple(args)
        if origin in _ITEMS:
            return self._items(origin, args[0] if args else Any)
        if origin in _MAPPINGS:
            key, value = (self.read(each) for each in (args or (Any, Any)))
            expected = _with_parameters(origin, args and (key, value))
            if key is not None and key is not _PLAIN[str]:
                self._keys.append(key)
            return Pairs(expected, origin, key, value)
        if _ALIAS is not None and isinstance(origin, _ALIAS):
            return self._alias(origin, self._bound(origin.__type_params__, args))
        if isinstance(origin, type) and not getattr(origin, "_is_protocol", False):
            return self._record(whole, origin, args) or (
                None if origin in (type, abc.Callable) else Instance(origin)
            )
        return None

    def _alias(self, alias: Any, inside: Reader) -> Conversion | None:
        """Read what an alias stands for; where it is in its own value, when a value comes there."""
        if alias in self._open:
            return Later(alias.__name__, lambda: inside.read(alias.__value__))
        self._open.add(alias)
        try:
            return inside.read(alias.__value__)
        finally:
            self._open.discard(alias)

    def _items(self, origin: Any, parameter: Any) -> Conversion:
        kind, make, sources = _ITEMS[origin]
        item = self.read(parameter)
        expected = _with_parameters(origin, (item,) if parameter is not Any else ())
        return Items(expected, kind, item, make, sources)

    def _tuple(self, args: tuple[Any, ...]) -> Conversion | None:
        if not args:  # written without parameters, or as tuple[()], which cannot be told apart
            return Items("tuple", tuple, None, tuple, (tuple, list))
        if any(get_origin(each) is typing.Unpack for each in args):
            return Items("tuple", tuple, None, tuple, (tuple, list))
        if len(args) == 2 and args[1] is ...:
            item = self.read(args[0])
            expected = f"tuple[{_named(item)}, ...]"
            return Items(expected, tuple, item, tuple, (tuple, list))
        items = [self.read(each) for each in args]
        return FixedTuple(_with_parameters(tuple, items), items)

    def _union(self, args: tuple[Any, ...]) -> Conversion | None:
        members = [self.read(each) for each in args]
        known = [each for each in members if each is not None]
        if not known:
            return None
        return Union(known, anything=len(known) < len(members))

    # ------------------------------------------------------------ named fields

    def _record(self, whole: Any, kind: type, args: tuple[Any, ...]) -> Conversion | None:
        try:
            found = self._records.get(whole)
        except TypeError:
            return None
        if found is not None:
            return found
        made = self._make_record(kind, args)
        if made is not None:
            self._records[whole] = made
        return made

    def _make_record(self, kind: Any, args: tuple[Any, ...]) -> Conversion | None:
        inside = self._bound(getattr(kind, "__parameters__", ()), args)
        kept: dict[str, Conversion | None] = {}

        def fields() -> Mapping[str, Conversion | None]:
            if not kept:
                kept.update(inside.fields_of(kind))
            return kept

        if "__dataclass_fields__" in kind.__dict__:
            return DataclassRecord(kind, fields)
        if issubclass(kind, tuple) and hasattr(kind, "_fields"):
            return TupleRecord(kind, fields)
        if typing.is_typeddict(kind):
            return DictRecord(kind, fields, lambda: inside.required_of(kind))
        return None

    def fields_of(self, kind: Any) -> dict[str, Conversion | None]:
        """Read the fields of a class, each by the names of the module that wrote it."""
        found: dict[str, Conversion | None] = {}
        bindings = _bindings_of_bases(kind, self._bindings)
        for owner in reversed(kind.__mro__):
            reader = self._inside(owner, None if owner is kind else bindings.get(owner))
            for name, annotation in inspect.get_annotations(owner).items():
                found[name] = reader.read(annotation)
        return found

    def required_of(self, kind: Any) -> frozenset[str]:
        """Return the keys that a typed dict must have, by what its annotations say as texts too."""
        required = set(kind.__required_keys__)
        reader = self._inside(kind)
        for name, annotation in kind.__annotations__.items():
            text = getattr(annotation, "__forward_arg__", annotation)
            value = reader._evaluated(text) if isinstance(text, str) else text  # noqa: SLF001 - one of us
            origin = get_origin(value)
            if origin is typing.NotRequired:
                required.discard(name)
            elif origin is typing.Required:
                required.add(name)
        return frozenset(required)

    def _inside(self, owner: type, bindings: dict[Any, Any] | None = None) -> Reader:
        # The module before the class, as typing has it: a field may have the name of its type.
        module = sys.modules.get(owner.__module__)
        scope = (vars(module) if module else {}, owner.__dict__, *self._scope)
        return self._reader(scope, bindings)

    def _reader(
        self, scope: Sequence[Mapping[str, Any]], bindings: dict[Any, Any] | None = None
    ) -> Reader:
        """Return a reader of other names, or of other meanings of type variables."""
        made = Reader(*scope)
        made._written, made._open, made._keys = self._written, self._open, self._keys
        if not bindings:
            made._bindings, made._records = self._bindings, self._records
        else:
            # The same alias may mean another type there, so that no records are shared.
            made._bindings = bindings
        return made

    def _bound(self, parameters: tuple[Any, ...], args: tuple[Any, ...]) -> Reader:
        """Return a reader that knows what the type variables of a generic class stand for."""
        if not args:
            return self
        resolved = (_substituted(each, self._bindings) for each in args)
        return self._reader(self._scope, dict(zip(parameters, resolved, strict=False)))


def _bindings_of_bases(kind: Any, own: dict[Any, Any]) -> dict[Any, dict[Any, Any]]:
    """Return what type variables stand for, in a class and in each of its bases."""
    found = {kind: own}
    for owner in kind.__mro__:
        mine = found.get(owner, {})
        for base in owner.__dict__.get("__orig_bases__", ()):
            origin = get_origin(base)
            if isinstance(origin, type):
                args = (_substituted(each, mine) for each in get_args(base))
                parameters = getattr(origin, "__parameters__", ())
                found.setdefault(origin, dict(zip(parameters, args, strict=False)))
    return found


def _substituted(argument: Any, bindings: dict[Any, Any]) -> Any:
    """Put what type variables stand for into an argument."""
    if isinstance(argument, TypeVar):
        return bindings.get(argument, argument)
    inside = getattr(argument, "__parameters__", ())
    if not isinstance(inside, tuple) or not inside or isinstance(argument, type):
        return argument
    return argument[tuple(bindings.get(each, each) for each in inside)]


def _named(conversion: Conversion | None) -> str:
    return "Any" if conversion is None else conversion.expected


def _with_parameters(origin: Any, items: Any) -> str:
    inside = ", ".join(_named(each) for each in items)
    return f"{origin.__name__}[{inside}]" if inside else str(origin.__name__)
