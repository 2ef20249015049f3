"""Functions by value: dill's pickler with what it lacks, and with a path to what cannot travel.

dill's ``recurse`` mode is the base. What is put in place of it, and why:

- *functions*: dill looks for the globals of a function by a search without a memory, which never
  ends for functions that call each other, and gives each function globals of its own. Here the
  names are read from the code, sorted, and functions of one module share their globals.
- *enumerations* of the script are made again from their members, since dill copies the finished
  class, which Python refuses to build twice.
- *modules* are named, where dill copies the contents of the user's own.
- *code* says where it comes from relative to its project; *sets* and *texts* are written in an
  order and sharing that do not depend on hashes or interning: equal functions give equal bytes.
- what holds a lock, a file, a socket or a thread is refused, where dill sends a copy of it.
"""

from __future__ import annotations

import io
import sys
import types
from typing import TYPE_CHECKING, Any

import dill
from dill import _dill

from away.capture.by_value import NOT_FOUND, OWN, ReachedFromInside
from away.capture.bytecode import Names, names_of, placed, placeless, relative_file
from away.capture.callables import MAIN_NAMES, globals_name, inner_function, shown_name
from away.capture.leaks import holds_secret, redacted
from away.capture.refusals import Step, hint_for, missing_names, shown_path, shown_type, unable
from away.capture.sources import source_lines
from away.capture.suspects import suspicion
from away.capture.trail import Frame, Globals, Trail
from away.capture.values import CapturedValue, Pickled, Reference
from away.exceptions import AwayError, CaptureRefused
from away.secret_texts import declared

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from away.capture.values import Settings

__all__ = ["pickled", "pickled_once"]

# Read by every supported Python; 5 adds buffers out of band, which are not used here.
_PROTOCOL = 4

_PLAIN = frozenset(
    {int, float, complex, bool, type(None), type(...), type(NotImplemented), str, bytes, bytearray,
     dict, list, tuple, set, frozenset, Globals}
)  # fmt: skip


def pickled(settings: Settings) -> Pickled:
    """Pickle a function by value.

    Raises:
        CaptureRefused: Something cannot travel; the message says what, and the path to it.
    """
    first = _dump(settings, placeless=False)
    second = _dump(settings, placeless=True)
    return Pickled(
        first.file.getvalue(),
        second.file.getvalue(),
        tuple(first.values.values()),
        first.modules,
        first.sources,
        tuple(first.named),
        tuple(dict.fromkeys(first.references)),
        tuple(dict.fromkeys(first.warnings)),
        first.texts,
    )


def pickled_once(settings: Settings) -> tuple[bytes, tuple[str, ...]]:
    """Pickle what is sent once and never compared; return the pickle and the modules that it names."""
    made = _dump(settings, placeless=False)
    return made.file.getvalue(), tuple(made.modules)


def _dump(settings: Settings, *, placeless: bool) -> _Pickler:
    """Pickle once; a class that is reached again from inside itself is tried in another order."""
    try:
        return _dump_once(settings, placeless=placeless, late=False)
    except ReachedFromInside:
        pass
    try:
        return _dump_once(settings, placeless=placeless, late=True)
    except ReachedFromInside as error:
        raise CaptureRefused(
            f"`{settings.name}` uses the class `{error}`, whose body holds something that needs the"
            " finished class; move the class into a module of its own, which is packed as it is",
            path=f"{settings.name} → {error}",
        ) from None


def _dump_once(settings: Settings, *, placeless: bool, late: bool) -> _Pickler:
    pickler = _Pickler(settings, placeless=placeless, late=late)
    try:
        pickler.dump(settings.function)
    except (ReachedFromInside, AwayError):
        raise
    except RecursionError as error:
        raise unable(
            _without_depth(pickler.failed),
            "a structure nested deeper than Python can pickle",
            "make it inside the function",
        ) from error
    except Exception as error:  # the user's own __reduce__ and __getstate__ run here
        said = f"{type(error).__name__}: {error}"
        raise unable(
            pickler.failed,
            f"which cannot be pickled ({redacted(said, settings.secrets)})",
            "make it inside the function, or move it into a module of its own",
        ) from error
    if pickler.missing:
        raise missing_names(settings.name, pickler.missing)
    return pickler


def _without_depth(steps: list[Step]) -> list[Step]:
    """Cut the path to something deep at the variable that holds it."""
    return [step for step in steps if step.kind != "inside"]


class _Dispatch:
    """Our own way for some types, dill's for the rest; looked up as a pickler does."""

    def get(self, cls: type, default: Any = None) -> Any:
        own = OWN.get(cls)
        if own is None and issubclass(cls, type):
            own = OWN[type]
        elif own is None and issubclass(cls, types.ModuleType):
            own = OWN[types.ModuleType]
        # dill adds to its own table when it first meets a type of numpy's.
        return own or _dill.Pickler.dispatch.get(cls, default)


class _Pickler(dill.Pickler):  # type: ignore[misc]  # dill has no types
    """One capture; used once."""

    dispatch = _Dispatch()

    def __init__(self, settings: Settings, *, placeless: bool, late: bool) -> None:
        self.file = io.BytesIO()
        super().__init__(self.file, _PROTOCOL, byref=False, recurse=True)
        self.settings = settings
        self.root = settings.function
        self.importable = settings.importable
        self.placeless = placeless
        self.late = late
        self.trail = Trail(settings.name, settings.secrets)
        self.values: dict[str, CapturedValue] = {}
        self.modules: dict[str, str] = {}
        self.sources: dict[str, dict[int, str]] = {}
        self.named: list[Any] = []
        self.references: list[Reference] = []
        self.warnings: list[str] = []
        self.missing: dict[str, str] = {}
        self.failed: list[Step] = []
        self.own_cells: set[int] = set()
        # Functions that the user did not write, whose variables say nothing to the user.
        self.quiet: set[str] = set()
        self.in_code = 0
        # Ids stand for objects in a pickle, so whatever is made here must outlive it.
        self.kept: list[object] = []
        self._begun: list[tuple[int, list[Step], object]] = []
        self._shared: dict[int, dict[str, Any]] = {}
        self._stored: dict[int, set[str]] = {}
        self._texts: dict[str | bytes, str | bytes] = {}
        self._checked: dict[type, bool] = {}

    @property
    def texts(self) -> tuple[object, ...]:
        """The texts that were saved, each once."""
        return tuple(self._texts)

    @property
    def making(self) -> dict[int, list[Any]]:
        """What is to be done after each object in the making is made: dill's own list."""
        return self._postproc  # type: ignore[no-any-return]  # dill has no types

    # ---------------------------------------------------------------- every object passes here

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        """Save one object, as pickle does, and know where it is."""
        cls = type(obj)
        frames = self.trail.frames
        if frames:
            frames[-1].begin(obj)
        if cls is str or cls is bytes:
            obj = self._one_text(obj)
        elif hasattr(cls, "__away_reference__"):
            obj = self._referred(obj)
            cls = type(obj)
        variable = self._variable(obj)
        if variable is not None:
            self._begun.append((self._position(), variable, obj))
        frames.append(Frame(obj))
        try:
            if cls not in _PLAIN:
                self._check(obj, cls)
            super().save(obj, save_persistent_id)
            self._check_size()
        except Exception:
            self.failed = self.failed or self.trail.path()
            raise
        finally:
            frames.pop()
            if variable is not None:
                self._end(self._begun.pop())

    def _check(self, obj: Any, cls: type) -> None:
        """Refuse what cannot travel, and note the modules that are named."""
        refused = self._checked.get(cls)
        if refused is None:
            refused = self._checked[cls] = hint_for(cls) is not None
            if self.importable(cls.__module__) and not issubclass(cls, type):
                self.need(cls.__module__)
        if refused:
            hint = hint_for(cls, getattr(obj, "name", None)) or ""
            raise unable(self.trail.path(), f"{shown_type(cls)}, which cannot travel", hint)
        if cls is types.BuiltinFunctionType:
            self.need(obj.__module__)

    def _referred(self, obj: Any) -> Any:
        """Take a proxy of the captured function for the function; note one of another."""
        original = getattr(obj, "__away_original__", None)
        if original is not None and self.is_own(original):
            return self.root
        found = Reference.to(obj)
        if found is not None:
            self.references.append(found)
        return obj

    def refer_to_module(self, module: Any) -> None:
        """Save a remote module that was not imported as a reference, as its functions are."""
        found = map(Reference.to, module.__away_functions__())
        self.references += [each for each in found if each is not None]
        self.need("away.modules")
        self.save_reduce(*module.__reduce__(), obj=module)

    def is_own(self, value: object) -> bool:
        """Tell whether a value is the captured function, or an earlier one of the same place."""
        if value is self.root:
            return True
        inner = inner_function(self.root)
        if not isinstance(value, types.FunctionType) or not isinstance(inner, types.FunctionType):
            return False
        return value is inner or (
            (value.__module__, value.__qualname__) == (inner.__module__, inner.__qualname__)
            and value.__globals__ is inner.__globals__
        )

    def need(self, module: str | None, why: str = "") -> None:
        """Note that a module is needed where the function runs."""
        if not isinstance(module, str) or module in MAIN_NAMES or module in self.modules:
            return
        # What dill rebuilds with is dill's, which goes along unasked.
        if why or not module.startswith("dill."):
            self.modules[module] = why or shown_path(self.trail.path())[0]

    def settled(self, code: types.CodeType) -> types.CodeType:
        """Return code as it is to be written, kept alive for as long as the pickling lasts."""
        settled = placeless(code) if self.placeless else placed(code, self.settings.root)
        if not self.placeless:
            lines = self.sources.setdefault(settled.co_filename, {})
            lines.update(source_lines(code, self.settings.secrets))
        self.kept.append(settled)
        return settled

    # ---------------------------------------------------------------- texts and secrets

    def _one_text(self, text: Any) -> Any:
        """Give equal texts one identity, since pickle shares by identity; refuse a secret."""
        if self.settings.secrets and not self.in_code and not self._is_name():
            self._refuse_secret(text, self.trail.path(ahead=True))
        return self._texts.setdefault(text, text)

    def _is_name(self) -> bool:
        """Tell whether the part that begins is a variable's or an attribute's name."""
        frame = self.trail.frames[-1] if self.trail.frames else None
        if frame is None or not isinstance(frame.obj, dict) or frame.at_value:
            return False
        return isinstance(frame.obj, Globals) or self.trail.holds_attributes(frame.obj)

    def check_constants(self, constants: Iterable[Any]) -> None:
        """Refuse code that has a secret among its constants."""
        for text in _texts_in(constants) if self.settings.secrets else ():
            self._refuse_secret(text, self.trail.path())

    def _refuse_secret(self, text: str | bytes, steps: list[Step]) -> None:
        if holds_secret(text, self.settings.secrets):
            clause, path = shown_path(steps)
            how = (
                "which holds" if steps[-1].kind not in {"function", "class"} else "whose code holds"
            )
            raise CaptureRefused(
                f"{clause}, {how} a password or token that this process knows{declared(text)}; name"
                " the gateway in the configuration and use FaasConnection.named('…') in its place, or read a"
                " secret there with away.secret('NAME')",
                path=path,
            )

    # ---------------------------------------------------------------- values and their sizes

    def _position(self) -> int:
        frame = self.framer.current_frame
        return self.file.tell() + (frame.tell() if frame is not None else 0)

    def _variable(self, obj: object) -> list[Step] | None:
        """Return the path to a value that begins and is a variable's, unless only a name goes."""
        if isinstance(obj, types.ModuleType | types.BuiltinFunctionType) or self.is_own(obj):
            return None
        if isinstance(obj, type | types.FunctionType) and self.located(obj):
            return None
        return self.trail.variable()

    def _end(self, begun: tuple[int, list[Step], object]) -> None:
        start, steps, obj = begun
        holders = [step.name for step in steps if step.kind == "function"]
        name = steps[-1].name
        if holders[-1] in self.quiet or name == "__class__":
            return
        if steps[-1].kind != "global" and len(holders) > 1:
            name = f"{holders[-1]}.{name}"
        kind = "class" if isinstance(obj, type) else type(obj).__name__
        if name not in self.values:
            size, looks = self._position() - start, suspicion(steps[-1].name, obj)
            self.values[name] = CapturedValue(name, kind, size, looks)

    def _check_size(self) -> None:
        if not self._begun:
            return
        start, steps, value = self._begun[-1]
        most = self.settings.max_value_bytes
        if self._position() - start > most:
            raise unable(
                steps,
                f"{shown_type(type(value))} of more than {most / 1e6:g} MB",
                "load it inside the function, pass it as an argument, or raise max_value_bytes=",
            )

    # ---------------------------------------------------------------- names

    def located(self, obj: Any) -> bool:
        """Tell whether a class or function will be found by its name where the function runs."""
        name = getattr(obj, "__module__", None)
        if not isinstance(name, str) or name in MAIN_NAMES or name not in sys.modules:
            return False
        value: Any = sys.modules[name]
        for part in obj.__qualname__.split("."):
            value = getattr(value, part, None)
        return value is obj and self.importable(name)

    def globals_for(self, function: types.FunctionType) -> dict[str, Any]:
        """Return the dict that stands for a function's globals, one for each module."""
        found = self._shared.get(id(function.__globals__))
        if found is None:
            found = {"__name__": globals_name(function)}
            package = function.__globals__.get("__package__")
            if isinstance(package, str) and package and found["__name__"] != "__main__":
                found["__package__"] = package
            self._shared[id(function.__globals__)] = found
        return found

    def is_namespace(self, obj: dict[Any, Any]) -> bool:
        """Tell whether a dict is the globals of a function that goes by value."""
        return id(obj) in self._shared

    def globals_used(self, function: types.FunctionType) -> Globals:
        """Collect the globals that a function's code uses, and note what it imports."""
        names = names_of(function.__code__)
        self.note_imports(function, names)
        self._stored.setdefault(id(function.__globals__), set()).update(names.stored)
        used = Globals()
        for name in names.loaded:
            if name == "__name__":
                continue
            value = self._look_up(function, name)
            if value is not NOT_FOUND:
                used[name] = value
            elif not self._needs_no_value(function, name, names):
                self.missing.setdefault(name, shown_name(function))
        used.update(_submodules(used, names.chains))
        if "globals" in names.loaded and "globals" not in used:
            self.warnings.append(
                f"`{shown_name(function)}` calls globals(): only names that its code spells out"
                " go along"
            )
        return used

    def _look_up(self, function: types.FunctionType, name: str) -> Any:
        value = function.__globals__.get(name, NOT_FOUND)
        if name == "__file__" and isinstance(value, str):
            self.warnings.append(
                f"`{shown_name(function)}` uses __file__, which is only the file's name there;"
                " files beside it go along if it is in a package, or listed in include="
            )
            return relative_file(value, self.settings.modules_root or self.settings.root)
        inner = inner_function(self.root)
        if (
            name == getattr(inner, "__name__", None) == getattr(inner, "__qualname__", None)
            and inner.__globals__ is function.__globals__
            and ((value is NOT_FOUND and not _is_builtin(function, name)) or self.is_own(value))
        ):
            return self.root
        return value

    def _needs_no_value(self, function: types.FunctionType, name: str, names: Names) -> bool:
        """Tell whether a name without a value is none that capture should find."""
        return (
            _is_builtin(function, name)
            or name in self._stored[id(function.__globals__)]
            # The function asks itself whether the name is there.
            or "NameError" in names.loaded
        )

    def note_imports(self, function: types.FunctionType, names: Names) -> None:
        """Note the modules that a function's code imports when it runs."""
        package = str(function.__globals__.get("__package__") or "").split(".")
        for each in names.imports:
            module = each.module
            if each.level:
                base = package[: len(package) - each.level + 1]
                module = ".".join([*base, *([module] if module else [])])
            why = f"`{shown_name(function)}` imports {module}"
            self.need(module, why)
            for part in each.names:
                if part != "*":
                    self.need(f"{module}.{part}", why)


def _is_builtin(function: types.FunctionType, name: str) -> bool:
    builtins = getattr(function, "__builtins__", {})
    return name in (builtins if isinstance(builtins, dict) else vars(builtins))


def _submodules(used: Globals, chains: tuple[str, ...]) -> dict[str, Any]:
    """Find the modules that ``import a.b.c`` brought and the code reaches through ``a``.

    They are put beside the globals under their dotted names, which no code can spell, so that
    they are imported there too.
    """
    found = {}
    for chain in chains:
        first, *rest = chain.split(".")
        value = used.get(first)
        for part in rest:
            if not isinstance(value, types.ModuleType):
                break
            name = f"{value.__name__}.{part}"
            value = getattr(value, part, None)
            if isinstance(value, types.ModuleType) and sys.modules.get(name) is value:
                found[name] = value
    return dict(sorted(found.items()))


def _texts_in(constants: Iterable[Any]) -> Iterator[str | bytes]:
    for each in constants:
        if isinstance(each, str | bytes):
            yield each
        elif isinstance(each, tuple | frozenset):
            yield from _texts_in(each)
