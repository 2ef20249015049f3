"""The last list of a gateway's functions on disk, so that a later process imports without a request.

One file for each gateway, user and namespace, in the user's cache folder: mode 600 in a folder of
mode 700. It holds what an import needs and no secret: no login, no variable, no deploy request. It is
replaced whole, so of two processes that write the later one wins and no reader sees half a list. What
is not ours alone, too large or not understood is as good as absent, for the gateway can be asked.

This room knows neither connections nor when a list is too old.
"""

from __future__ import annotations

import json
import os
import stat
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from away.config.files import follows_xdg

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from away.connection.catalogue import FunctionInfo

__all__ = ["KeptList", "ListFiles", "forget_lists", "lists_folder", "text_of", "understood"]

FORMAT = 1
# Thousands of functions with docstrings; a file that someone filled must not fill our memory.
MAX_BYTES = 8 << 20
# Lists that nobody fetched in so long are removed: of gateways on ports that come and go.
UNUSED_SECONDS = 60 * 24 * 3600.0
# A clock may be set back a little; what claims to come from further ahead is of unknown age.
AHEAD_SECONDS = 60.0
_NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


class KeptList(NamedTuple):
    """A list as it once was."""

    at: float
    """When the gateway gave it, in seconds since 1970."""
    functions: tuple[Mapping[str, Any], ...]
    """Items as the gateway's list has them, without what is not kept."""

    def age(self, now: float) -> float:
        """Return its age in seconds; infinity where its time lies ahead."""
        return max(now - self.at, 0.0) if self.at <= now + AHEAD_SECONDS else float("inf")


class ListFiles:
    """The files of one gateway and user, one for each namespace.

    Args:
        url: The gateway's URL.
        user: The user's name there; empty without a login.
        folder: Gives the folder of the files; None where there is no such place.
        clock: What tells the time since 1970.
    """

    def __init__(
        self,
        url: str,
        user: str,
        folder: Callable[[], str | None] | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.url = url
        self.user = user
        self._folder = folder or lists_folder
        self._clock = clock
        # path → what was read, and the state that the file had: replaced files differ in it
        self._read: dict[str, tuple[tuple[int, ...], KeptList | None]] = {}
        # paths of lists that were last too large
        self._too_large: set[str] = set()

    def path(self, namespace: str) -> str | None:
        """Return where the list of a namespace is kept."""
        folder = self._folder()
        if folder is None:
            return None
        name = f"{_digest(self.url)}-{_digest(self.user, namespace)}.json"
        return os.path.join(folder, name)  # noqa: PTH118 - pathlib is slow to import

    def read(self, namespace: str) -> KeptList | None:
        """Return the kept list; None where there is none that can be believed."""
        path = self.path(namespace)
        try:
            found = os.lstat(path) if path is not None else None
        except (OSError, ValueError):
            found = None
        if path is None or found is None:
            return None
        state = (found.st_ino, found.st_size, found.st_mtime_ns)
        before = self._read.get(path)
        if before is None or before[0] != state:
            text = _private_text(path)
            kept = None if text is None else understood(text, self.url, self.user, namespace)
            before = self._read[path] = state, kept
        return before[1]

    def write(self, namespace: str, infos: Iterable[FunctionInfo]) -> None:
        """Keep a list that the gateway gave just now; not being able to is no reason to fail."""
        path = self.path(namespace)
        if path is None:
            return
        folder = os.path.dirname(path)  # noqa: PTH120 - as above
        text = text_of(self.url, self.user, namespace, infos, self._clock())
        self._too_large.discard(path)
        with suppress(OSError, ValueError):
            if len(text) > MAX_BYTES:
                self._too_large.add(path)
                os.unlink(path)  # noqa: PTH108 - as above: what is there is older than this
            elif _make_private(folder):
                new = not os.path.lexists(path)
                _replace(path, text)
                if new:
                    _remove_unused(folder, self._clock() - UNUSED_SECONDS)

    def can_write(self, namespace: str) -> bool:
        """Tell whether a list could be kept: there is a place for it, and the last one had room."""
        path = self.path(namespace)
        if path is None or path in self._too_large:
            return False
        folder = os.path.dirname(path)  # noqa: PTH120 - as above
        try:
            return _make_private(folder) and os.access(folder, os.W_OK | os.X_OK)
        except (OSError, ValueError):
            return False

    def drop(self) -> None:
        """Forget what is kept of all namespaces: something was changed at the gateway."""
        folder = self._folder()
        if folder is not None:
            _remove(folder, f"{_digest(self.url)}-")


def forget_lists(url: str) -> None:
    """Forget what is kept of the gateway at a URL, whoever's it is: another one is there now."""
    folder = lists_folder()
    if folder is not None:
        _remove(folder, f"{_digest(url)}-")


def lists_folder() -> str | None:
    """Return the folder for lists; None where there is none, as inside a published function."""
    if os.environ.get("AWAY_RUNTIME") == "1":
        return None
    # The XDG base directory rules, without a look at what else platforms have.
    cache = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(cache):  # noqa: PTH117 - as above
        if follows_xdg():
            cache = f"{os.path.expanduser('~')}/.cache"  # noqa: PTH111 - Path.home() may raise
        else:
            import platformdirs

            cache = platformdirs.user_cache_dir()
    # Relative where there is no home, and then a cloned repository could hold it.
    return os.path.join(cache, "away", "lists") if os.path.isabs(cache) else None  # noqa: PTH117, PTH118


# ---------------------------------------------------------------- what stands in it


def text_of(url: str, user: str, namespace: str, infos: Iterable[FunctionInfo], at: float) -> bytes:
    """Write a list as its file has it."""
    from away.signatures import kept_annotations

    functions = [
        {
            "name": info.name,
            "namespace": info.namespace,
            "image": info.image,
            "labels": info.labels,
            "annotations": kept_annotations(info.annotations),
        }
        for info in infos
    ]
    whole = {
        "format": FORMAT,
        "url": url,
        "user": user,
        "namespace": namespace,
        "at": at,
        "functions": functions,
    }
    return json.dumps(whole, separators=(",", ":")).encode()


def understood(text: bytes, url: str, user: str, namespace: str) -> KeptList | None:
    """Read a list back, whoever wrote it; None for anything that is not one of this gateway's."""
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(whole, dict) or whole.get("format") != FORMAT:
        return None
    if (whole.get("url"), whole.get("user"), whole.get("namespace")) != (url, user, namespace):
        return None
    at, functions = whole.get("at"), whole.get("functions")
    # json reads NaN and Infinity too, and no time of ours is far from 1970.
    if type(at) is not float or not 0 <= at < 1e11 or not isinstance(functions, list):
        return None
    if not all(isinstance(each, dict) for each in functions):
        return None
    return KeptList(at, tuple(functions))


def _digest(*texts: str) -> str:
    # hashlib would bring OpenSSL, which takes longer to import than all else that reads a list.
    try:
        module = __import__("_sha2" if sys.version_info >= (3, 12) else "_sha256")
    except ImportError:  # an interpreter that is not CPython
        import hashlib as module
    text = "\0".join(texts).encode("utf-8", "surrogatepass")
    return str(module.sha256(text).hexdigest()[:24])


# ---------------------------------------------------------------- files of this user alone


def _is_ours(found: os.stat_result) -> bool:
    if not hasattr(os, "getuid"):
        return True  # Windows: the user's folders are the user's by its own rules
    return found.st_uid == os.getuid() and not found.st_mode & 0o077


def _is_private(folder: str) -> bool:
    try:
        found = os.lstat(folder)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and _is_ours(found)


def _make_private(folder: str) -> bool:
    """Make the folder if it is not there; False if what is there is not this user's alone."""
    if not os.path.lexists(folder):
        os.makedirs(os.path.dirname(folder), mode=0o700, exist_ok=True)  # noqa: PTH103, PTH120
        os.mkdir(folder, 0o700)  # noqa: PTH102
    return _is_private(folder)


def _private_text(path: str) -> bytes | None:
    """Return a file's bytes, if it is a small regular file of this user alone."""
    if not _is_private(os.path.dirname(path)):  # noqa: PTH120
        return None
    try:
        # A named pipe would wait for its writer, for ever.
        descriptor = os.open(path, os.O_RDONLY | _NO_LINK | getattr(os, "O_NONBLOCK", 0))
    except (OSError, ValueError):
        return None
    try:
        found = os.fstat(descriptor)
        # Without a name of its own if it was replaced just now; under two names it may be another's.
        if not stat.S_ISREG(found.st_mode) or not _is_ours(found) or found.st_nlink > 1:
            return None
        if found.st_size > MAX_BYTES:
            return None
        # It is replaced and never written to: what was its size is all of it.
        text = os.read(descriptor, found.st_size + 1)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return text if len(text) == found.st_size else None


def _replace(path: str, text: bytes) -> None:
    """Write a file beside the place and move it there: readers see the old one or the new one."""
    # Own to this thread of this process; one that was left by a crash is written over.
    from threading import get_ident

    beside = f"{path}.{os.getpid()}-{get_ident()}"
    with suppress(FileNotFoundError):
        os.unlink(beside)  # noqa: PTH108
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK, 0o600)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - as above
            file.write(text)
        os.replace(beside, path)  # noqa: PTH105
    except BaseException:
        with suppress(OSError):
            os.unlink(beside)  # noqa: PTH108
        raise


def _remove(folder: str, prefix: str) -> None:
    if not _is_private(folder):
        return
    with suppress(OSError), os.scandir(folder) as entries:
        for each in entries:
            if each.name.startswith(prefix):
                with suppress(OSError):
                    os.unlink(each.path)  # noqa: PTH108


def _remove_unused(folder: str, before: float) -> None:
    with suppress(OSError), os.scandir(folder) as entries:
        for each in entries:
            with suppress(OSError):
                if each.stat(follow_symlinks=False).st_mtime < before:
                    os.unlink(each.path)  # noqa: PTH108
