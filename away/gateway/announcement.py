"""Where a running embedded gateway says its address and password, and how others read it.

An announcement is a JSON file (0600) in a folder of the user's own (0700) on which the gateway holds
a lock for as long as it lives. A reader believes the file only while the lock is held: a gateway that
was killed leaves the file behind, and whoever has its port since must not be sent the password.

This module knows nothing of the gateway itself: the configuration reads it, standard library only.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

try:
    import fcntl
except ImportError:  # Windows: nothing is announced there, and nothing is found
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "AlreadyRunning",
    "Announcement",
    "announce",
    "announced",
    "folder",
    "folders",
    "make_private",
    "read",
]

FILE = "gateway.json"
# Far over what an announcement needs: a file that someone filled must not fill our memory.
MAX_FILE_BYTES = 64 * 1024
# A reader tests the lock by taking it for an instant; a gateway that starts then tries again.
LOCK_SECONDS = 1.0
# The folders of gateways that this process runs: they are found before any other.
_ours: list[Path] = []


class Announcement:
    """The address of a running gateway and what opens it; the password is in no repr and no pickle.

    Args:
        url: Such as ``http://127.0.0.1:8080``.
        user: The name of its only user.
        password: Its password, as text.
        pid: The gateway's process.
        state: The folder in which it keeps its functions, as text.
    """

    __slots__ = ("password", "pid", "state", "url", "user")

    def __init__(self, url: str, user: str, password: str, pid: int, state: str) -> None:
        self.url = url
        self.user = user
        self.password = password
        self.pid = pid
        self.state = state

    def __repr__(self) -> str:
        return f"Announcement(url={self.url!r}, user={self.user!r}, pid={self.pid})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an announcement holds a password and is not pickled")


class AlreadyRunning(Exception):
    """Another gateway holds the lock; ``by`` is what it announced, where that can be read."""

    def __init__(self, by: Announcement | None) -> None:
        super().__init__("another gateway is running")
        self.by = by


def announced() -> Announcement | None:
    """Return the gateway that runs for this user: one that this process started, else any.

    Returns:
        None when no gateway runs, or when its file is not ours alone: another owner, readable by
        others, a symbolic link, or without the lock.
    """
    return next(all_announced(), None)


def all_announced() -> Iterator[Announcement]:
    """Give every gateway that runs for this user, those that this process started first."""
    for each in (*reversed(_ours), *folders()):
        found = read(each)
        if found is not None:
            yield found


def read(where: Path) -> Announcement | None:
    """Return what a running gateway announced in a folder, or None. Never raises for the file."""
    try:
        return _read(where)
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextmanager
def announce(announcement: Announcement, where: Path) -> Iterator[None]:
    """Announce a gateway in a folder until the block ends.

    Raises:
        AlreadyRunning: Another gateway announces itself in that folder.
        OSError: The folder cannot be written.
    """
    descriptor = _lock(where)
    try:
        text = json.dumps({name: getattr(announcement, name) for name in Announcement.__slots__})
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text.encode(), 0)
        yield
    finally:
        # The file goes while the lock is still held, so that no reader meets it without.
        (where / FILE).unlink(missing_ok=True)
        os.close(descriptor)


@contextmanager
def found_first(where: Path) -> Iterator[None]:
    """Let :func:`announced` find the gateway of this folder before all others in this process."""
    _ours.append(where)
    try:
        yield
    finally:
        _ours.remove(where)


def folder() -> Path:
    """Return the first folder that can hold an announcement, made if it was not there.

    Raises:
        OSError: None of them can be written and is this user's alone.
    """
    problem: OSError | None = None
    for each in folders():
        try:
            _make(each)
        except OSError as error:
            problem = problem or error
        else:
            return each
    raise problem or FileNotFoundError(errno.ENOENT, "no folder for the gateway's announcement")


def folders() -> list[Path]:
    """List the folders where a gateway may be announced, the preferred one first.

    ``AWAY_RUNTIME_DIR`` stands alone where it is set. The last resort, in the folder for temporary
    files, serves where HOME is unset or read-only; what it holds is believed only by its owner.
    """
    chosen = os.environ.get("AWAY_RUNTIME_DIR")
    if chosen:
        return [Path(chosen)]
    runtime, state = os.environ.get("XDG_RUNTIME_DIR"), os.environ.get("XDG_STATE_HOME")
    home = os.path.expanduser("~")  # noqa: PTH111 - Path.home() raises where there is none
    found = [Path(runtime, "away")] if runtime else []
    if state:
        found.append(Path(state, "away"))
    if home.startswith("/"):
        found += [Path(home, ".local", "state", "away"), Path(home, ".cache", "away")]
    found.append(Path(_temporary(), f"away-{os.getuid() if hasattr(os, 'getuid') else 'user'}"))
    return found


def make_private(where: Path) -> None:
    """Make a folder, and what is missing above it, each for its owner alone whatever the umask.

    Raises:
        OSError: It cannot be made.
    """
    if not where.is_dir():
        make_private(where.parent)
        where.mkdir(mode=0o700, exist_ok=True)


def _temporary() -> str:
    # tempfile.gettempdir() writes a file to see whether it can: reading must not.
    return os.environ.get("TMPDIR") or "/tmp"  # noqa: S108 - the folder in it is checked


def _make(where: Path) -> None:
    make_private(where)
    _check_folder(where)
    if not os.access(where, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "cannot be written", str(where))


def _check_folder(where: Path) -> None:
    found = where.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, "is not a folder", str(where))
    _check_private(found, where)


def _check_private(found: os.stat_result, path: Path) -> None:
    if found.st_uid != os.getuid():
        raise PermissionError(errno.EPERM, "belongs to another user", str(path))
    if found.st_mode & 0o077:
        raise PermissionError(errno.EPERM, "is open to other users", str(path))


def _read(where: Path) -> Announcement | None:
    if fcntl is None:
        return None
    _check_folder(where)
    path = where / FILE
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        found = os.fstat(descriptor)
        _check_private(found, path)
        if not stat.S_ISREG(found.st_mode) or not _is_locked(descriptor):
            return None
        text = os.pread(descriptor, MAX_FILE_BYTES, 0)
    finally:
        os.close(descriptor)
    values = json.loads(text)
    return Announcement(
        url=str(values["url"]),
        user=str(values["user"]),
        password=str(values["password"]),
        pid=int(values["pid"]),
        state=str(values["state"]),
    )


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False


def _lock(where: Path) -> int:
    if fcntl is None:
        raise OSError(errno.ENOTSUP, "this platform has no file locks", str(where))
    _make(where)
    until = time.monotonic() + LOCK_SECONDS
    while True:
        descriptor = _try_lock(where / FILE)
        if descriptor is not None:
            return descriptor
        if time.monotonic() > until:
            raise AlreadyRunning(read(where))
        time.sleep(0.01)


def _try_lock(path: Path) -> int | None:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        _check_private(os.fstat(descriptor), path)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The one before may have removed the file between our open and our lock.
        if os.path.samestat(os.fstat(descriptor), os.lstat(path)):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None
