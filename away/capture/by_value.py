"""How functions, classes, enumerations and the like are pickled by value.

Each function here saves one type, as the entries of a pickler's dispatch table do. They use private
names of dill, whose minor version is pinned for that reason.
"""

from __future__ import annotations

import abc
import builtins
import enum
import functools
import importlib
import pickle
import sys
import types
import typing
from collections import namedtuple
from functools import partial
from typing import TYPE_CHECKING, Any, NewType, ParamSpec, TypeVar, TypeVarTuple

from dill._dill import (
    StockPickler,
    _create_cell,
    _create_function,
    _create_namedtuple,
    _create_type,
    _get_typedict_type,
    _save_with_postproc,
    _setitems,
    _typemap,
)
from dill._dill import save_cell as save_empty_cell
from dill._dill import save_type as save_builtin_type
from dill._shims import _setattr

from away.capture.bytecode import names_of
from away.capture.callables import MAIN_NAMES, home, inner_function, module_name, shown_name
from away.capture.modules import is_local
from away.capture.refusals import Step, unable
from away.capture.trail import Globals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["NOT_FOUND", "OWN", "ReachedFromInside"]

NOT_FOUND: Any = object()


class ReachedFromInside(Exception):
    """A class in the making was needed by something inside it."""

    def __init__(self, cls: type) -> None:
        super().__init__(cls.__qualname__)
        self.cls = cls


def _enter(pickler: Any, obj: Any, kind: str) -> list[Step]:
    """Note the path to a function or class, by which its parts are told."""
    steps: list[Step] = pickler.trail.path()
    if obj is not pickler.root and len(pickler.trail.frames) > 1:
        if steps[-1].kind == "inside" and steps[-1].name.startswith("."):
            steps = steps[:-1]
        steps = [*steps, Step(kind, obj.__qualname__.rpartition("<locals>.")[2])]
    pickler.trail.place(obj, steps)
    return steps


# ------------------------------------------------------------------ functions


def save_function(pickler: Any, obj: types.FunctionType) -> None:
    """Save a function by its name where it will be found, else with the globals that it uses."""
    if pickler.located(obj):
        pickler.need(obj.__module__)
        pickler.named.append(obj)
        StockPickler.save_global(pickler, obj, name=obj.__qualname__)
        return
    steps = _enter(pickler, obj, "function")
    if obj.__code__.co_filename.startswith("<") and "." in obj.__qualname__:
        pickler.quiet.add(steps[-1].name)  # written by a decorator such as dataclass
    after: list[Any] = []
    module = home(obj)
    if module is not None and pickler.importable(module.__name__) and _needs(obj, module):
        # Its module is there too: the function sees the module's globals, as it does here.
        pickler.need(module.__name__)
        pickler.note_imports(obj, names_of(obj.__code__))
        if not is_local(module.__name__):
            pickler.quiet.add(steps[-1].name)  # a wrapper of a library's
        pickler.named.append(obj)
        shared: dict[str, Any] = obj.__globals__
    else:
        shared = pickler.globals_for(obj)
        used = pickler.globals_used(obj)
        pickler.trail.place(used, steps)
        if used:
            _set_globals(pickler, shared, used, after)
    _note_cells(pickler, obj, steps)
    _note_defaults(pickler, obj, steps)
    _save_with_postproc(
        pickler,
        (
            _create_function,
            (obj.__code__, shared, obj.__name__, obj.__defaults__, obj.__closure__),
            _state_of(obj, shared),
        ),
        obj=obj,
        postproc_list=after,
    )


def _needs(obj: types.FunctionType, module: types.ModuleType) -> bool:
    """Tell whether a function uses anything of its module; if not, a local one stays at home.

    A name that is bound nowhere yet counts: the module will have bound it when the function runs.
    What a function holds in its cells and defaults decides with it, since one module's functions
    share one namespace there as they do here.
    """
    if not is_local(module.__name__):
        return True
    waiting: list[Any] = [obj]
    seen: set[int] = set()
    while waiting:
        each = waiting.pop()
        if not isinstance(each, types.FunctionType) or id(each) in seen:
            continue
        seen.add(id(each))
        if each.__globals__ is obj.__globals__ and _looks_outside(each):
            return True
        waiting += [*_contents(each), *(each.__defaults__ or ()), *vars(each).values()]
    return False


def _contents(function: types.FunctionType) -> list[Any]:
    found = []
    for cell in function.__closure__ or ():
        try:
            found.append(cell.cell_contents)
        except ValueError:  # an empty cell: bound later, or never
            continue
    return found


def _looks_outside(function: types.FunctionType) -> bool:
    found = names_of(function.__code__)
    if found.stored or any(each.level for each in found.imports):
        return True
    known = function.__globals__
    return any(name in known or not hasattr(builtins, name) for name in found.loaded)


def _state_of(obj: types.FunctionType, shared: dict[str, Any]) -> Any:
    """Collect a function's attributes in the form in which pickle sets them."""
    slots: dict[str, Any] = {}
    for name in ("__doc__", "__kwdefaults__", "__annotations__"):
        if value := getattr(obj, name, None):
            slots[name] = value
    if obj.__qualname__ != obj.__name__:
        slots["__qualname__"] = obj.__qualname__
    if module_name(obj) != shared.get("__name__"):
        slots["__module__"] = module_name(obj)
    attributes = obj.__dict__ or None
    return (attributes, slots) if slots else attributes


def _set_globals(pickler: Any, shared: dict[str, Any], used: Globals, after: list[Any]) -> None:
    """Have the globals set once the objects exist that they lead back to."""
    step = (dict.update, (shared, used))
    making = pickler.making
    if pickler.late and making:
        next(iter(making.values())).append(step)
        return
    wanted = {id(value) for value in used.values()}
    for each in making:
        if each in wanted:
            making[each].append(step)
            return
    after.append(step)


def _note_cells(pickler: Any, obj: types.FunctionType, steps: list[Step]) -> None:
    own_name = getattr(inner_function(pickler.root), "__name__", None)
    for name, cell in zip(obj.__code__.co_freevars, obj.__closure__ or (), strict=True):
        pickler.trail.place(cell, [*steps, Step("cell", name)])
        try:
            contents = cell.cell_contents
        except ValueError:
            contents = NOT_FOUND
        if name == own_name and (contents is NOT_FOUND or pickler.is_own(contents)):
            pickler.own_cells.add(id(cell))
        elif contents is NOT_FOUND and "NameError" not in obj.__code__.co_names:
            pickler.missing.setdefault(name, shown_name(obj))


def _note_defaults(pickler: Any, obj: types.FunctionType, steps: list[Step]) -> None:
    code = obj.__code__
    if obj.__defaults__:
        positional = code.co_varnames[: code.co_argcount]
        names = positional[len(positional) - len(obj.__defaults__) :]
        pickler.trail.name_parts(obj.__defaults__, names, steps)
    if obj.__kwdefaults__:
        pickler.trail.name_parts(obj.__kwdefaults__, tuple(obj.__kwdefaults__), steps)


def save_cell(pickler: Any, obj: types.CellType) -> None:
    """Save a variable of an enclosing function; the captured function's own name holds itself."""
    if id(obj) in pickler.own_cells:
        contents: Any = pickler.root
    else:
        try:
            contents = obj.cell_contents
        except ValueError:
            save_empty_cell(pickler, obj)
            return
    making = pickler.making
    later = making.get(id(contents))
    if later is None:
        # As late as possible, since what is in the cell may lead back to what is in the making.
        later = next(iter(making.values()), None)
    if later is None:
        pickler.save_reduce(_create_cell, (contents,), obj=obj)
        return
    pickler.save_reduce(_create_cell, (None,), obj=obj)
    later.append((_setattr, (obj, "cell_contents", contents)))


def save_code(pickler: Any, obj: types.CodeType) -> None:
    """Save code with a file name relative to its project."""
    pickler.check_constants(obj.co_consts)
    code = pickler.settled(obj)
    # Names in code are no values, so a short password that is also a name is not found in them.
    pickler.in_code += 1
    try:
        pickler.save_reduce(
            types.CodeType,
            (
                code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount,
                code.co_nlocals, code.co_stacksize, code.co_flags, code.co_code, code.co_consts,
                code.co_names, code.co_varnames, code.co_filename, code.co_name,
                code.co_qualname, code.co_firstlineno, code.co_linetable,
                code.co_exceptiontable, code.co_freevars, code.co_cellvars,
            ),
            obj=obj,
        )  # fmt: skip
    finally:
        pickler.in_code -= 1


# ------------------------------------------------------------------ modules and namespaces


def save_module(pickler: Any, obj: types.ModuleType) -> None:
    """Save a module by its name; a remote one that nobody imported, as a reference."""
    name = obj.__name__
    if hasattr(type(obj), "__away_functions__") and sys.modules.get(name) is not obj:
        pickler.refer_to_module(obj)
        return
    mounted = getattr(getattr(obj, "__loader__", None), "reference", None)
    if mounted is not None and sys.modules.get(name) is obj:
        pickler.save_reduce(*mounted, obj=obj)  # it brings its mount along
        return
    if name in MAIN_NAMES:
        raise unable(
            pickler.trail.path(),
            "the running script itself, which cannot be imported where the function runs",
            "use what you need of it by its own name",
        )
    if sys.modules.get(name) is not obj or not pickler.importable(name):
        raise unable(
            pickler.trail.path(),
            f"the module {name}, which comes from no file that could be packed",
            "write it as a file of its own, or make it inside the function",
        )
    pickler.need(name)
    pickler.save_reduce(importlib.import_module, (name,), obj=obj)


def save_dict(pickler: Any, obj: dict[Any, Any]) -> None:
    """Save a dict; the namespace of a module is had from the module."""
    name = obj.get("__name__")
    module = sys.modules.get(name) if isinstance(name, str) else None
    is_modules = module is not None and vars(module) is obj
    if pickler.is_namespace(obj) or (is_modules and name in MAIN_NAMES):
        raise unable(
            pickler.trail.path(),
            "the whole namespace of the running script",
            "use what you need of it by its own name",
        )
    if is_modules:
        pickler.save_reduce(vars, (module,), obj=obj)
    else:
        StockPickler.save_dict(pickler, obj)


# ------------------------------------------------------------------ classes


def save_type(pickler: Any, obj: type) -> None:
    """Save a class by its name where it will be found, else with its contents."""
    if obj.__module__ == "builtins" or obj in _typemap:
        save_builtin_type(pickler, obj)
    elif pickler.located(obj):
        pickler.need(obj.__module__)
        pickler.named.append(obj)
        StockPickler.save_global(pickler, obj, name=obj.__qualname__)
    elif id(obj) in pickler.making:
        raise ReachedFromInside(obj)
    else:
        _enter(pickler, obj, "class")
        if issubclass(obj, enum.Enum):
            _save_enum(pickler, obj)
        elif typing.is_typeddict(obj):
            _save_typed_dict(pickler, obj)
        elif obj.__bases__ == (tuple,) and hasattr(obj, "_fields"):
            _save_namedtuple(pickler, obj)
        else:
            _save_class(pickler, obj)


# Set by the class statement itself, or only true of where the class was written.
_OF_THE_PLACE = ("__firstlineno__", "__static_attributes__")


def _save_class(pickler: Any, obj: type) -> None:
    after: list[Any] = []
    namespace, _ = _get_typedict_type(obj, dict(vars(obj)), None, after)
    slots = namespace.get("__slots__", ())
    for name in (slots,) if isinstance(slots, str) else slots:
        namespace.pop(name, None)
    if isinstance(obj, abc.ABCMeta):
        # Python hands out the registered classes in no order.
        registered = (each() for each in getattr(abc, "_get_dump")(obj)[0])  # noqa: B009 - not in typeshed
        named = sorted((each for each in registered if each), key=lambda each: each.__qualname__)
        after += [(obj.register, (each,)) for each in named]
        namespace.pop("_abc_impl", None)
    for name in _OF_THE_PLACE:
        namespace.pop(name, None)
    namespace["__module__"] = module_name(obj)
    for name, value in list(namespace.items()):
        if obj in type(value).__mro__:
            # An instance in its own class: Python too can only set it afterwards.
            after.append((setattr, (obj, name, namespace.pop(name))))
    after.append((setattr, (obj, "__qualname__", obj.__qualname__)))
    if "__orig_bases__" in namespace:
        bases = namespace.pop("__orig_bases__")
        body = partial(_setitems, source=namespace)
        reduction: Any = (
            types.new_class,
            (obj.__name__, bases, {"metaclass": type(obj)}, body),
        )
    else:
        reduction = (_create_type, (type(obj), obj.__name__, obj.__bases__, namespace))
    pickler.kept.append(namespace)
    _save_with_postproc(pickler, reduction, obj=obj, postproc_list=after)


def _save_namedtuple(pickler: Any, obj: Any) -> None:
    plain = vars(namedtuple("plain", obj._fields))  # noqa: PYI024 - only to see what it has
    left_out = {*plain, *_OF_THE_PLACE, "__orig_bases__", "__qualname__"} - {"__doc__"}
    own = {name: value for name, value in vars(obj).items() if name not in left_out}
    own["__qualname__"] = obj.__qualname__
    after = [(setattr, (obj, name, value)) for name, value in own.items()]
    defaults = [obj._field_defaults[each] for each in obj._fields if each in obj._field_defaults]
    made = (obj.__name__, obj._fields, module_name(obj), defaults)
    _save_with_postproc(pickler, (_create_namedtuple, made), obj=obj, postproc_list=after)


def _save_typed_dict(pickler: Any, obj: Any) -> None:
    # Its metaclass takes no dict for a base, which is what the finished class has.
    maker: Any = vars(typing)["TypedDict"]
    made = partial(maker, total=obj.__total__)
    after = [
        (setattr, (obj, "__module__", module_name(obj))),
        (setattr, (obj, "__qualname__", obj.__qualname__)),
    ]
    fields = dict(obj.__annotations__)
    pickler.kept.append(fields)
    _save_with_postproc(pickler, (made, (obj.__name__, fields)), obj=obj, postproc_list=after)


# What the metaclass writes into a finished enumeration, and writes again into the new one.
_ENUM_WRITES = frozenset(
    {"__dict__", "__weakref__", "__new__", "__new_member__", "__signature__", "__reduce_ex__",
     "_generate_next_value_", *_OF_THE_PLACE}
)  # fmt: skip


def _save_enum(pickler: Any, obj: type[enum.Enum]) -> None:
    """Have an enumeration made again from its members: Python refuses to build it twice."""
    if "__new_member__" in vars(obj):
        raise unable(
            pickler.trail.path(),
            "an enumeration with a __new__ of its own, whose members cannot be made again",
            "move it into a module of its own, which is packed as it is",
        )
    namespace: dict[str, Any] = {"__module__": module_name(obj), "__qualname__": obj.__qualname__}
    namespace.update(
        (name, value)
        for name, value in vars(obj).items()
        if name not in namespace and _is_users(obj, name, value)
    )
    namespace.update((name, member._value_) for name, member in obj.__members__.items())
    boundary = getattr(obj, "_boundary_", None)
    keywords = {} if boundary is None else {"boundary": boundary}
    pickler.kept.append(namespace)
    body = partial(_setitems, source=namespace)
    _save_with_postproc(
        pickler, (types.new_class, (obj.__name__, obj.__bases__, keywords, body)), obj=obj
    )


def _is_users(obj: type[enum.Enum], name: str, value: object) -> bool:
    """Tell what the user wrote in an enumeration from what its metaclass did."""
    if name in _ENUM_WRITES or name in obj.__members__ or isinstance(value, obj):
        return False
    inherited = next((vars(base)[name] for base in obj.__mro__[1:] if name in vars(base)), None)
    if inherited is value:
        return False
    if name.startswith("_") and not name.startswith("__") and name.endswith("_"):
        return isinstance(value, types.FunctionType | classmethod | staticmethod)
    return True


def save_typing(pickler: Any, obj: Any) -> None:
    """Save a type variable, a new type or an alias by its name where it will be found, else anew."""
    module = sys.modules.get(obj.__module__)
    name = str(obj.__name__)
    if pickler.importable(obj.__module__) and getattr(module, name, None) is obj:
        pickler.need(obj.__module__)
        StockPickler.save_global(pickler, obj, name=name)
        return
    keywords: dict[str, Any] = {}
    parts: tuple[Any, ...] = ()
    if isinstance(obj, TypeVar):
        parts = obj.__constraints__
        keywords["bound"] = obj.__bound__
    elif isinstance(obj, NewType):
        parts = (obj.__supertype__,)
    elif not isinstance(obj, ParamSpec | TypeVarTuple):  # a type alias of 3.12
        parts = (obj.__value__,)
        keywords["type_params"] = obj.__type_params__
    if isinstance(obj, TypeVar | ParamSpec):
        keywords.update(covariant=obj.__covariant__, contravariant=obj.__contravariant__)
    kind: Any = type(obj)
    made = partial(kind, **keywords) if keywords else kind
    pickler.save_reduce(made, (name, *parts), obj=obj)


def save_cached_property(pickler: Any, obj: functools.cached_property[Any]) -> None:
    """Save a cached property without the lock that it has up to 3.11."""
    pickler.save_reduce(functools.cached_property, (obj.func,), obj=obj)


# ------------------------------------------------------------------ sets


def save_set(pickler: Any, obj: set[Any]) -> None:
    """Save a set in an order that does not depend on hashes."""
    pickler.write(pickle.EMPTY_SET)
    pickler.memoize(obj)
    if obj:
        pickler.write(pickle.MARK)
        for each in sorted(obj, key=_order):
            pickler.save(each)
        pickler.write(pickle.ADDITEMS)


def save_frozenset(pickler: Any, obj: frozenset[Any]) -> None:
    """Save a frozenset in an order that does not depend on hashes."""
    pickler.write(pickle.MARK)
    for each in sorted(obj, key=_order):
        pickler.save(each)
    if id(obj) in pickler.memo:
        # It was reached again through one of its own items, and is there already.
        pickler.write(pickle.POP_MARK + pickler.get(pickler.memo[id(obj)][0]))
        return
    pickler.write(pickle.FROZENSET)
    pickler.memoize(obj)


_REPR_IS_STABLE = frozenset({"builtins", "datetime", "decimal", "fractions", "pathlib", "uuid"})


def _order(value: Any) -> tuple[str, str]:
    """Give values an order that is the same in each run; instances of classes keep theirs."""
    cls = type(value)
    if isinstance(value, enum.Enum):
        return cls.__qualname__, str(value.name)
    if isinstance(value, tuple | frozenset):
        parts: Iterable[Any] = [_order(each) for each in value]
        return cls.__qualname__, repr(parts if isinstance(value, tuple) else sorted(parts))
    if isinstance(value, type | types.FunctionType | types.BuiltinFunctionType):
        return "named", f"{value.__module__}.{value.__qualname__}"
    stable = cls.__module__ in _REPR_IS_STABLE and "__repr__" in vars(cls)
    return cls.__qualname__, repr(value) if stable else ""


OWN: dict[type, Callable[[Any, Any], None]] = {
    types.FunctionType: save_function,
    types.CellType: save_cell,
    types.CodeType: save_code,
    types.ModuleType: save_module,
    dict: save_dict,
    Globals: save_dict,
    set: save_set,
    frozenset: save_frozenset,
    type: save_type,
    functools.cached_property: save_cached_property,
    **dict.fromkeys(
        (
            TypeVar,
            ParamSpec,
            TypeVarTuple,
            NewType,
            # from 3.12
            *filter(None, [getattr(typing, "TypeAliasType", None)]),
        ),
        save_typing,
    ),
}
