"""What cannot travel, and how to say so: the variable, the path to it, what to do.

Types are known by their names, so that nothing has to be imported to recognise them.
"""

from __future__ import annotations

from typing import NamedTuple

from away.exceptions import CaptureRefused

__all__ = ["Step", "hint_for", "missing_names", "shown_path", "shown_type", "unable"]

_MAKE = "make it inside the function"
_OPEN = "open it inside the function"
_START = "start it inside the function"

# "module.qualname" of a class, or "module." of all in a module, for the class and its subclasses
_HINTS: dict[str, str] = {
    "_thread.lock": _MAKE,
    "_thread.RLock": _MAKE,
    "_thread._local": _MAKE,
    "_thread._ThreadHandle": _START,
    "threading.Condition": _MAKE,
    "threading.Event": _MAKE,
    "threading.Semaphore": _MAKE,
    "threading.Barrier": _MAKE,
    "threading.Thread": _START,
    "queue.Queue": _MAKE,
    "_queue.SimpleQueue": _MAKE,
    "asyncio.locks.Lock": _MAKE,
    "asyncio.locks.Event": _MAKE,
    "asyncio.locks.Condition": _MAKE,
    "asyncio.locks.Semaphore": _MAKE,
    "asyncio.queues.Queue": _MAKE,
    "asyncio.events.AbstractEventLoop": "the function runs on a loop of its own there",
    "_asyncio.Future": "capture its result instead",
    "_asyncio.Task": "capture its result instead",
    "concurrent.futures._base.Executor": _MAKE,
    "concurrent.futures._base.Future": "capture its result instead",
    "multiprocessing.process.BaseProcess": _START,
    "multiprocessing.pool.Pool": _MAKE,
    "multiprocessing.queues.Queue": _MAKE,
    "multiprocessing.synchronize.SemLock": _MAKE,
    "multiprocessing.managers.BaseManager": _START,
    "multiprocessing.connection._ConnectionBase": _OPEN,
    "_socket.socket": _OPEN,
    "_ssl._SSLContext": _MAKE,
    "_ssl._SSLSocket": _OPEN,
    "selectors.BaseSelector": _MAKE,
    "select.epoll": _MAKE,
    "subprocess.Popen": _START,
    "mmap.mmap": _OPEN,
    "sqlite3.Connection": _OPEN,
    "sqlite3.Cursor": "make it inside the function, of a connection opened there",
    "http.client.HTTPConnection": _OPEN,
    "urllib3.poolmanager.PoolManager": _MAKE,
    "requests.sessions.Session": _MAKE,
    "aiohttp.client.ClientSession": _MAKE,
    "httpx.Client": _MAKE,
    "httpx.AsyncClient": _MAKE,
    "httpx._client.BaseClient": _MAKE,
    "tempfile.TemporaryDirectory": _MAKE,
    "tempfile._TemporaryFileWrapper": _OPEN,
    "_contextvars.ContextVar": "pass its value as an argument, or make it inside the function",
    "_contextvars.Context": "pass its values as arguments",
    "_contextvars.Token": "pass the value as an argument",
    "builtins.generator": "capture a list of its items, or make it inside the function",
    "builtins.async_generator": "make it inside the function",
    "builtins.coroutine": "await it and capture its result, or make it inside the function",
    "builtins.frame": "capture the values that are needed from it",
    "builtins.traceback": "capture its text, by traceback.format_exception",
    "builtins.memoryview": "capture bytes of it",
    "_thread._ExceptHookArgs": "capture its text",
    "away.config.secret.Secret": "read it there with away.secret('NAME'), published with secrets=['NAME']",
    "away.config.Secret": "read it there with away.secret('NAME'), published with secrets=['NAME']",
}
_CONNECTION = "FaasConnection"

# Names by which people know these types better than by where Python defines them.
_KNOWN_AS = {
    "_thread.lock": "threading.Lock",
    "_thread.RLock": "threading.RLock",
    "_thread._local": "threading.local",
    "_socket.socket": "socket.socket",
    "_contextvars.ContextVar": "contextvars.ContextVar",
    "_contextvars.Context": "contextvars.Context",
    "_contextvars.Token": "contextvars.Token",
    "_asyncio.Task": "asyncio.Task",
    "_asyncio.Future": "asyncio.Future",
    "_queue.SimpleQueue": "queue.SimpleQueue",
}
_FILES = ("_io._IOBase", "_io.")
# In memory, so nothing is left behind.
_TRAVELLING_FILES = frozenset({"_io.BytesIO", "_io.StringIO"})


class Step(NamedTuple):
    """One step of the path from the function that is captured to a value in it."""

    kind: str
    name: str


def hint_for(cls: type, name: object = None) -> str | None:
    """Return what to do about a value of this type if it cannot travel, else None.

    Args:
        cls: The value's type.
        name: What ``value.name`` is, which a connection to a gateway has.
    """
    for each in cls.__mro__[:-1]:
        full = f"{each.__module__}.{each.__qualname__}"
        if full in _TRAVELLING_FILES:
            return None
        if each.__module__.startswith("away.connection") and each.__qualname__ == _CONNECTION:
            called = repr(name) if isinstance(name, str) and name else "'NAME'"
            return f"call FaasConnection.named({called}) inside the function"
        if full in _HINTS:
            return _HINTS[full]
        if full.startswith(_FILES):
            return "open it inside the function, or read it now and capture its text"
    return None


def shown_type(cls: type) -> str:
    """Name a type with its article: ``a sqlite3.Connection``, ``an open file``."""
    if any(f"{each.__module__}.{each.__qualname__}".startswith(_FILES) for each in cls.__mro__):
        return "an open file"
    full = f"{cls.__module__}.{cls.__qualname__}"
    full = _KNOWN_AS.get(full, full.removeprefix("builtins.").removeprefix("__main__."))
    return f"{'an' if full[0].lower() in 'aeiou' else 'a'} {full}"


def shown_path(steps: list[Step] | tuple[Step, ...]) -> tuple[str, str]:
    """Say how a value is reached.

    Returns:
        The clause, such as "`lookup` uses the global `DB`", and the same as a path:
        ``lookup.DB['main']``.
    """
    words: list[str] = []
    path: list[str] = []
    for index, (kind, name) in enumerate(steps):
        following = steps[index + 1].kind if index + 1 < len(steps) else ""
        if kind in _HOLDERS:
            # "uses the global `g`" has named the function or class that `g` is.
            named = bool(words) and words[-1].endswith(f" `{name}`")
            if not named:
                path.append(name)
            if not words:
                words.append(f"`{name}`")
            elif kind == "class" and following == "inside" and not named:
                words.append(f", in whose class `{name}` stands `{name}`")
            elif kind == "function" and following:
                words.append(", which" if named else f", in which `{name}`")
        elif kind in _USES:
            words.append(f"{_USES[kind]} `{name}`")
            path.append(name)
        else:
            words[-1] = f"{words[-1].removesuffix('`')}{name}`"
            path[-1] += name
    return "".join(words), " → ".join(path)


_HOLDERS = frozenset({"function", "class"})
_USES = {
    "global": " uses the global",
    "cell": " uses the variable",
    "default": " has a default for",
}


def unable(steps: list[Step], what: str, hint: str) -> CaptureRefused:
    """Make the error for a value that cannot travel."""
    clause, path = shown_path(steps)
    text = f"{clause}, {what}" if len(steps) > 1 else f"{clause} is {what}"
    return CaptureRefused(f"{text}; {hint}", path=path, hint=hint)


def missing_names(function: str, missing: dict[str, str]) -> CaptureRefused:
    """Make the error for names that have no value yet.

    Args:
        function: The name of the function that is captured.
        missing: Each missing name with the name of the function that uses it.
    """
    listed = ", ".join(
        f"`{name}`" if user == function else f"`{name}` (in `{user}`)"
        for name, user in missing.items()
    )
    has, it = ("has", "it") if len(missing) == 1 else ("have", "them")
    hint = (
        f"define {it} above the function, import {it} inside its body, or publish it after the"
        " module is complete, with builder.publish(faas)(function) or"
        " builder.mirror_in_faas(function, faas)"
    )
    return CaptureRefused(
        f"`{function}` uses {listed}, which {has} no value at this point; {hint}",
        path=f"{function} → {next(iter(missing))}",
        hint=hint,
    )
