"""An exception as data, and back: its own type where it is known here, both tracebacks.

Who calls a function wants ``except ZeroDivisionError`` to work and the traceback to show both
sides. So an exception travels as its type's name, its arguments, its text, its attributes and its
traceback. Here it is raised as its own type when that is a builtin :class:`Exception`, or a class
that some loaded module already has; otherwise as :class:`~away.exceptions.RemoteError`.

A peer can be hostile. Nothing is imported for it, no attribute of a module is computed for it (PEP
562), no ``__init__`` or ``__new__`` of the user's runs, and what would end the process or a loop
(SystemExit, KeyboardInterrupt, StopIteration and the like) stays a RemoteError. The remote
traceback is a note (PEP 678) whose control characters are made harmless, since it goes to a
terminal.
"""

from __future__ import annotations

import builtins
import re
import sys
from typing import TYPE_CHECKING, Any

from away.exceptions import AwayError, ProtocolMismatch, RemoteError
from away.protocol import values

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["MAX_TRACEBACK", "NOTE_HEAD", "Shown", "describe", "rebuild"]

# Characters of a traceback: an endless recursion has 10 kB, a chain of causes a few times that.
MAX_TRACEBACK = 64 * 1024
# Characters of the repr that goes in place of an argument that cannot travel.
_MAX_SHOWN = 4 * 1024
_MAX_NOTES = 100
# Groups in groups: asyncio's task groups nest as deep as their code does.
_MAX_GROUPS = 20

# The first line of the note that holds the remote traceback.
NOTE_HEAD = "the function's own traceback:"

# Which would end a loop, a thread or the process of the caller, as if it had asked for that.
_NEVER = (StopIteration, StopAsyncIteration, SystemExit, KeyboardInterrupt, GeneratorExit)

# Which have the arguments …, object, start, end, reason.
_WITH_PLACES = (UnicodeDecodeError, UnicodeEncodeError, UnicodeTranslateError)

# What builtin exceptions hold beside their args. AttributeError.obj and the like are live objects.
_ATTRIBUTES: tuple[tuple[type[Exception], tuple[str, ...]], ...] = (
    (OSError, ("filename", "filename2")),
    (ImportError, ("name", "path")),
    (NameError, ("name",)),
    (AttributeError, ("name",)),
)

# Modules whose frames stand between the server and the user's function; nobody asks for them.
_MACHINERY = ("away.runtime", "away.protocol", "asyncio", "concurrent.futures", "threading")


class Shown(str):
    """The repr of an argument that could not travel; its own repr is the same text.

    So the text of an exception made with it is what it was on the other side.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


# --- describing -----------------------------------------------------------------------------------


def describe(exc: BaseException) -> dict[str, Any]:
    """Turn an exception into data that can travel. This never fails, whatever the exception does.

    Args:
        exc: The exception as it was caught, with its traceback.

    Returns:
        A dict for an envelope: ``module``, ``qualname``, ``args`` (``shown`` holds the indices of
        those that are only a repr), ``text``, ``traceback``, ``notes``, ``state`` (what of its
        attributes can travel), ``attributes`` (those of builtin types), and for a group its
        ``exceptions``.

    Example:
        >>> found = describe(KeyError("a"))
        >>> found["module"], found["qualname"], found["args"], found["text"]
        ('builtins', 'KeyError', ['a'], "'a'")
    """
    return _describe(exc, _MAX_GROUPS)


def _describe(exc: BaseException, groups: int) -> dict[str, Any]:
    kind = type(exc)
    args: list[Any] = []
    shown: list[int] = []
    members: tuple[BaseException, ...] = ()
    # Asked of the builtin classes: the user's may have properties of these names, which may raise.
    all_args = vars(BaseException)["args"].__get__(exc)
    if isinstance(exc, BaseExceptionGroup):
        # A group's members travel as descriptions of their own.
        members = vars(BaseExceptionGroup)["exceptions"].__get__(exc)
        all_args = all_args[:1]
    for index, arg in enumerate(all_args):
        if values.travels(arg):
            args.append(arg)
        else:
            args.append(_shown(arg))
            shown.append(index)
    found: dict[str, Any] = {
        "module": str(kind.__module__),
        "qualname": str(kind.__qualname__),
        "args": args,
        "text": _text_of(exc),
        "traceback": _traceback_of(exc),
    }
    if shown:
        found["shown"] = shown
    if notes := _notes_of(exc):
        found["notes"] = notes
    if state := _state_of(exc):
        found["state"] = state
    if attributes := _attributes_of(exc):
        found["attributes"] = attributes
    if members and groups:
        found["exceptions"] = [_describe(member, groups - 1) for member in members]
    return found


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except Exception:  # a repr of the user's may raise anything
        text = f"<{type(value).__qualname__} whose repr fails>"
    return _plain(text, _MAX_SHOWN)


def _plain(text: str, most: int) -> str:
    """Return text of the exact type, without lone surrogates, cut in its middle."""
    text = str.__str__(text).encode("utf-8", "backslashreplace").decode()
    if len(text) <= most:
        return text
    head, tail = text[: most // 4], text[-(most - most // 4) :]
    return f"{head}\n… {len(text) - most} characters left out …\n{tail}"


def _text_of(exc: BaseException) -> str:
    try:
        return _plain(str(exc), MAX_TRACEBACK)
    except Exception:  # __str__ is the user's
        return f"<{type(exc).__qualname__} whose text fails>"


def _notes_of(exc: BaseException) -> list[str]:
    notes = _attributes(exc).get("__notes__")
    if type(notes) is not list:
        return []
    return [_plain(note, MAX_TRACEBACK) for note in notes[:_MAX_NOTES] if isinstance(note, str)]


def _state_of(exc: BaseException) -> dict[str, Any]:
    return {
        key: value
        for key, value in _attributes(exc).items()
        if type(key) is str and not key.startswith("__") and values.travels(value)
    }


def _attributes(exc: BaseException) -> dict[str, Any]:
    found: dict[str, Any] = object.__getattribute__(exc, "__dict__")
    return found


def _attributes_of(exc: BaseException) -> dict[str, Any]:
    found = {}
    for kind, names in _ATTRIBUTES:
        if isinstance(exc, kind):
            for name in names:
                value = vars(kind)[name].__get__(exc)
                if value is not None:
                    found[name] = value if values.travels(value) else _shown(value)
    return found


def _traceback_of(exc: BaseException) -> str:
    import traceback

    try:
        lines = traceback.format_exception(type(exc), exc, _without_machinery(exc.__traceback__))
    except Exception as error:  # the exception's own code runs in this, and may fail
        return f"(its traceback could not be written: {type(error).__name__})"
    return _plain("".join(lines).rstrip("\n"), MAX_TRACEBACK)


def _without_machinery(start: TracebackType | None) -> TracebackType | None:
    """Leave out the frames above the user's first, unless there is nothing else."""
    tb = start
    while tb is not None:
        name = tb.tb_frame.f_globals.get("__name__")
        if not isinstance(name, str) or not f"{name}.".startswith(
            tuple(f"{each}." for each in _MACHINERY)
        ):
            return tb
        tb = tb.tb_next
    return start


# --- rebuilding -----------------------------------------------------------------------------------


def rebuild(data: object) -> Exception:
    r"""Make an exception of what :func:`describe` gave, to be raised here.

    Args:
        data: The description as it came from the peer.

    Returns:
        The exception, the remote traceback its last note: of its own type where that is a builtin
        or known to a loaded module, else a RemoteError.

    Raises:
        ProtocolMismatch: The description has not the form of one.

    Example:
        >>> error = rebuild(describe(KeyError("a")))
        >>> error, error.__notes__
        (KeyError('a'), ["the function's own traceback:\nKeyError: 'a'"])
    """
    return _rebuild(data, _MAX_GROUPS)


def _rebuild(data: object, groups: int) -> Exception:
    found = _Description(data)
    own = _own_type(found, groups)
    if own is not None:
        error = own
    else:
        error = RemoteError(
            f"{_harmless(found.type_name)}: {_harmless(found.text)}",
            type_name=_harmless(found.type_name),
            remote_traceback=_harmless(found.traceback),
        )
        error.message = found.text
    # Where PEP 678 keeps them; add_note would run a __setattr__ of the user's.
    notes = [*found.notes, f"{NOTE_HEAD}\n{found.traceback}"]
    error.__dict__["__notes__"] = list(map(_harmless, notes))
    return error


class _Description:
    """A description whose shape has been checked, so that what follows can rely on it."""

    def __init__(self, data: object) -> None:
        if type(data) is not dict:
            raise ProtocolMismatch("the answer has an error that is not an object")
        self.module = _checked(data, "module", str)
        self.qualname = _checked(data, "qualname", str)
        self.args: list[Any] = list(_checked(data, "args", list))
        self.text: str = _checked(data, "text", str)[: 2 * MAX_TRACEBACK]
        self.traceback: str = _checked(data, "traceback", str)[: 2 * MAX_TRACEBACK]
        self.notes: list[str] = _checked(data, "notes", list)[:_MAX_NOTES]
        self.state: dict[str, Any] = _checked(data, "state", dict)
        self.attributes: dict[str, Any] = _checked(data, "attributes", dict)
        self.exceptions: list[Any] | None = None
        if "exceptions" in data:
            self.exceptions = _checked(data, "exceptions", list)
        if not all(type(note) is str for note in self.notes):
            raise ProtocolMismatch("the answer has an error with notes that are no text")
        self.notes = [note[: 2 * MAX_TRACEBACK] for note in self.notes]
        for index in _checked(data, "shown", list):
            if type(index) is not int or not 0 <= index < len(self.args):
                raise ProtocolMismatch("the answer has an error with arguments that are not there")
            if type(self.args[index]) is str:
                self.args[index] = Shown(self.args[index])
        self.type_name = f"{self.module}.{self.qualname}".removeprefix("builtins.")[:200]


def _checked(data: dict[Any, Any], key: str, kind: type) -> Any:
    value = data.get(key)
    if value is None:
        return kind()
    if type(value) is not kind:
        raise ProtocolMismatch(f"the answer has an error whose {key} is no {kind.__name__}")
    return value


def _own_type(found: _Description, groups: int) -> Exception | None:
    """Make an exception of its own type, or None where that must not or cannot be."""
    kind = _find_class(found.module, found.qualname)
    if kind is None:
        return None
    try:
        error = _make(kind, found, groups)
        # What is raised must be printable: a text that needs what could not travel fails here.
        str(error)
        if kind.__repr__ is not BaseException.__repr__ or not isinstance(error, ExceptionGroup):
            # That of a group has those of its members, which have been looked at.
            repr(error)
    except Exception:  # a constructor, or the text of a user's class, that refuses what came
        return None
    return error


def _find_class(module_name: str, qualname: str) -> type[Exception] | None:
    """Find an exception class in what is loaded, by plain look-ups that run no code."""
    module = sys.modules.get(module_name) or _main_module(module_name)
    # A module may be an object of any class with any __getattr__, which would be foreign code.
    if module is None or not issubclass(type(module), type(sys)):
        return None
    # A module that loads itself lazily does so on any attribute but by this way.
    place = object.__getattribute__(module, "__dict__")
    found: object = None
    for part in qualname.split("."):
        found = place.get(part)
        if not isinstance(found, type):
            return None
        place = type.__getattribute__(found, "__dict__")
    if not isinstance(found, type) or not issubclass(found, Exception):
        return None
    return None if issubclass(found, _NEVER) else found


def _main_module(name: str) -> Any:
    """Return this process's main module if it is the one that is called so over there.

    A script's module is ``__main__`` here and has the name of its file where it was published to.
    """
    main = sys.modules.get("__main__")
    place = getattr(main, "__dict__", {})
    spec, path = place.get("__spec__"), place.get("__file__")
    known = getattr(spec, "name", None)
    if known is None and isinstance(path, str):
        known = re.split(r"[/\\]", path)[-1].removesuffix(".py")
    return main if known == name else None


def _make(kind: type[Exception], found: _Description, groups: int) -> Exception:
    base = _builtin_base(kind)
    args = tuple(found.args)
    if issubclass(kind, BaseExceptionGroup):
        if not groups:
            raise ValueError("groups are nested deeper than any are described")
        members = [_rebuild(member, groups - 1) for member in found.exceptions or ()]
        args = (args[0], members)
    elif issubclass(kind, SyntaxError):
        _check_place(*args[1:])
    elif issubclass(kind, _WITH_PLACES) and min(args[-3:-1]) < 0:
        # For their text Python reads the memory at these places, also before that of the object.
        raise ValueError("a UnicodeError at a place before its text")
    # The constructors of the builtin class alone: none that the user wrote runs.
    error: Exception = base.__new__(kind, *args)
    if not isinstance(error, kind):
        raise TypeError("another type was made")
    if isinstance(error, AwayError):
        AwayError.__init__(error, *args)
    else:
        base.__init__(error, *args)
    for builtin, names in _ATTRIBUTES:
        for name in names:
            # Whoever shows a name that was not found looks for one that is near, among texts.
            if (
                name in found.attributes
                and isinstance(error, builtin)
                and (builtin is OSError or isinstance(found.attributes[name], str))
            ):
                vars(builtin)[name].__set__(error, found.attributes[name])
    error.__dict__.update(_safe_state(kind, found.state))
    return error


def _check_place(*details: Any) -> None:
    """Refuse a SyntaxError's place in a text that is not there.

    A traceback underlines what it says in full, were it 20 million columns, and fails at what is
    no number.
    """
    if len(details) != 1:
        return  # then they are arguments like any other exception's
    if not isinstance(details[0], (tuple, list)):
        raise TypeError("a SyntaxError without the form of one")
    filename, line, column, text, *ends = details[0]
    if not all(each is None or isinstance(each, str) for each in (filename, text)):
        raise TypeError("a SyntaxError whose text is none")
    # Columns may count bytes, and the last one is of another line where a statement has several.
    widest = 4 * len(text or "") + 1_000
    for number, most in zip((line, column, *ends), (2**31, widest, 2**31, widest), strict=False):
        if number is not None and not (type(number) is int and -1 <= number <= most):
            raise ValueError("a SyntaxError at a place that is not in its text")


def _builtin_base(kind: type[Exception]) -> type[Exception]:
    """Return the nearest class that Python itself defines."""
    known = vars(builtins)
    base: type[Exception] = next(
        each
        for each in kind.__mro__
        if issubclass(each, Exception) and known.get(each.__name__) is each
    )
    return base


def _safe_state(kind: type[Exception], state: dict[str, Any]) -> dict[str, Any]:
    """Keep attributes that are data: none may stand in for a method or a property of the class."""
    return {
        key: value
        for key, value in state.items()
        if type(key) is str
        and key.isidentifier()
        and not key.startswith("__")
        and not any(
            hasattr(type(vars(base)[key]), "__get__") for base in kind.__mro__ if key in vars(base)
        )
    }


# Control characters, and those that turn the direction of text around, but for newline and tab.
_HARMFUL = (
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


def _harmless(text: str) -> str:
    """Show control characters as escapes, so that a peer's text cannot steer a terminal."""
    return re.sub(_HARMFUL, lambda found: ascii(found[0])[1:-1], text)
