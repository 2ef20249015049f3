"""The warden: one process that starts every function and outlives the gateway by an instant.

It runs as a script (``python -I -S warden.py``), standard library only, with one end of a socket
pair as its standard input. While the gateway lives it starts and stops functions as it is told. When
the socket ends, because the gateway exited or was killed, it kills everything that it ever started,
grandchildren with sessions of their own included, and exits.

Killing the group of a function misses children that left it, and the parent-death signal misses
grandchildren. On Linux the warden is therefore a *child subreaper* (prctl(2)): whatever loses its
parent below it becomes its own child, and nothing can get out from under it. The gateway is one too,
for the case that the warden is killed itself.

Whose a process is that left its function's session shows a mark that children inherit: a variable of
the environment, and, since that can be emptied, a resource limit that nothing reaches.

Messages are JSON, one a line. To the warden, with the write end of the log's pipe as a descriptor::

    {"do": "start", "id": …, "argv": […], "env": {…}, "cwd": …, "scratch": …}
    {"do": "stop", "id": …, "grace": seconds}

From it: ``{"id": …, "pid": …}`` or ``{"id": …, "failed": text}``; when the function has ended, asked to
or not, ``{"id": …, "exit": status}``, and when nothing of it is left ``{"id": …, "gone": true}``.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Container

# From <linux/prctl.h>.
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
# The variable by which a process that left its function's session is still known as its.
MARKER = "AWAY_INSTANCE"
# The same as a limit: microseconds of real-time scheduling without a rest, 35 years and some more.
MARKED_LIMIT = 1 << 50
# At the end, processes may be forked as fast as they are killed; after this the warden gives up.
LAST_SWEEP_SECONDS = 10.0
LINUX = sys.platform.startswith("linux")


class Function:
    """One function that was started: its leader's process, which names its group too."""

    def __init__(self, identity: str, pid: int, scratch: str) -> None:
        self.identity = identity
        self.pid = pid
        self.scratch = scratch
        self.alive = True
        self.kill_at: float | None = None


class Warden:
    """Starts, stops and buries functions for the gateway at the other end of a socket."""

    def __init__(self, control: socket.socket) -> None:
        self.control = control
        self.functions: dict[str, Function] = {}
        self.buffer = bytearray()
        self.descriptors: deque[int] = deque()
        self.libc = ctypes.CDLL(None, use_errno=True) if LINUX else None
        adopt_orphans(True)
        self.wakeup, wakeup_end = os.pipe()
        for end in (self.wakeup, wakeup_end):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wakeup_end, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def run(self) -> None:
        """Serve until the gateway's end of the socket is closed, then kill everything."""
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self.control, selectors.EVENT_READ)
                selector.register(self.wakeup, selectors.EVENT_READ)
                while self._receive(selector.select(self._seconds_left())):
                    self._bury()
                    self._kill_overdue()
        except (OSError, ValueError):
            pass  # the gateway is gone, or speaks nonsense: the end is the same
        finally:
            self.kill_all()

    def kill_all(self) -> None:
        """Kill every process below this one, until there is none."""
        until = time.monotonic() + LAST_SWEEP_SECONDS
        while time.monotonic() < until:
            for function in self.functions.values():
                if function.alive:
                    kill_group(function.pid)
            for pid in descendants():
                kill(pid)
            if not reap_all() and not descendants():
                break
            time.sleep(0.005)
        for function in self.functions.values():
            shutil.rmtree(function.scratch, ignore_errors=True)

    # What the gateway asks for

    def _receive(self, ready: list[tuple[selectors.SelectorKey, int]]) -> bool:
        for key, _ in ready:
            if key.fileobj is self.control:
                data, descriptors, _, _ = socket.recv_fds(self.control, 1 << 16, 32)
                self.descriptors.extend(descriptors)
                if not data:
                    return False
                self.buffer += data
            else:
                os.read(self.wakeup, 4096)
        while (end := self.buffer.find(b"\n")) >= 0:
            line = bytes(self.buffer[:end])
            del self.buffer[: end + 1]
            self._obey(json.loads(line))
        return True

    def _obey(self, message: dict[str, object]) -> None:
        identity = str(message["id"])
        if message["do"] == "start":
            self._start(identity, message)
        elif identity in self.functions:
            self._stop(self.functions[identity], float(str(message["grace"])))
        else:
            self._say({"id": identity, "gone": True})

    def _start(self, identity: str, message: dict[str, object]) -> None:
        output = self.descriptors.popleft()
        scratch = str(message["scratch"])
        try:
            started = self._spawn(message, output)
        except (OSError, ValueError) as error:
            shutil.rmtree(scratch, ignore_errors=True)
            self._say({"id": identity, "failed": str(error)})
            return
        finally:
            os.close(output)
        # We bury it ourselves: Popen must neither wait for it nor warn that nobody did.
        started.returncode = 0
        self.functions[identity] = Function(identity, started.pid, scratch)
        self._say({"id": identity, "pid": started.pid})

    def _spawn(self, message: dict[str, object], output: int) -> subprocess.Popen[bytes]:
        environment: dict[str, str] = message["env"]  # type: ignore[assignment]
        argv: list[str] = message["argv"]  # type: ignore[assignment]
        identity = str(message["id"])
        return subprocess.Popen(
            argv,
            env={**environment, MARKER: identity},
            cwd=str(message["cwd"]),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            # Safe here: this process has one thread.
            preexec_fn=(lambda: self._begin(identity)) if self.libc is not None else None,
        )

    def _begin(self, identity: str) -> None:
        """Mark the function's process, before it is its program."""
        # For the case that this process is killed itself; the sweep does the rest otherwise.
        assert self.libc is not None
        self.libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        try:
            _, most = resource.getrlimit(resource.RLIMIT_RTTIME)
            resource.setrlimit(resource.RLIMIT_RTTIME, (marked_limit(identity), most))
        except (OSError, ValueError):
            pass  # whoever started the gateway allows less

    def _stop(self, function: Function, grace: float) -> None:
        function.kill_at = time.monotonic() + grace
        kill_group(function.pid, signal.SIGTERM)

    # What happens to functions

    def _bury(self) -> None:
        leaders = {each.pid: each for each in self.functions.values() if each.alive}
        while (ended := bury_one(leaders)) is not None:
            pid, status = ended
            if pid in leaders:
                self._ended(leaders[pid], status)

    def _ended(self, function: Function, status: int) -> None:
        function.alive = False
        self._say({"id": function.identity, "exit": os.waitstatus_to_exitcode(status)})
        sweep([function.identity])
        shutil.rmtree(function.scratch, ignore_errors=True)
        del self.functions[function.identity]
        self._say({"id": function.identity, "gone": True})

    def _kill_overdue(self) -> None:
        now = time.monotonic()
        for function in self.functions.values():
            if function.kill_at is not None and function.kill_at <= now:
                function.kill_at = None
                kill_group(function.pid)

    def _seconds_left(self) -> float | None:
        times = [each.kill_at for each in self.functions.values() if each.kill_at is not None]
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _say(self, message: dict[str, object]) -> None:
        self.control.sendall(json.dumps(message).encode() + b"\n")


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    """Send a signal to a process, which may be gone."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def kill_group(pid: int, number: int = signal.SIGKILL) -> None:
    """Send a signal to the group that a process leads, which may be gone."""
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def bury_one(leaders: Container[int]) -> tuple[int, int] | None:
    """Bury a child that has ended, and kill the group that it led; its number and status."""
    try:
        if not LINUX:
            pid, status = os.waitpid(-1, os.WNOHANG)
        elif (found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is None:
            return None
        else:
            if found.si_pid in leaders:
                # While the leader is a zombie its number cannot be another group's.
                kill_group(found.si_pid)
            return os.waitpid(found.si_pid, 0)
    except ChildProcessError:
        return None
    if pid in leaders:
        kill_group(pid)
    return (pid, status) if pid else None


def reap_all() -> bool:
    """Bury every child that has ended; say whether any child is left."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def adopt_orphans(yes: bool) -> None:
    """Let what loses its parent below this process become its own child, where the system can."""
    if LINUX:
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, int(yes), 0, 0, 0)


def sweep(identities: Collection[str]) -> None:
    """Kill and bury what is left of some functions: the processes below us that carry their marks."""
    variables = {f"{MARKER}={each}".encode() for each in identities}
    limits = {marked_limit(each) for each in identities}
    for _ in range(20):
        marked = [
            pid
            for pid in descendants(zombies=True)
            if limit_of(pid) in limits or not variables.isdisjoint(environment_of(pid))
        ]
        if not marked:
            return
        for pid in marked:
            kill(pid)
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                pass  # not ours, or not yet
        time.sleep(0.005)


def descendants(*, zombies: bool = False) -> list[int]:
    """List the processes below this one, living ones or all, where /proc can tell."""
    children: dict[int, list[int]] = {}
    for pid in (int(name) for name in _processes() if name.isdigit()):
        parent = _parent(pid, zombies=zombies)
        if parent is not None:
            children.setdefault(parent, []).append(pid)
    found: list[int] = []
    waiting = [os.getpid()]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def marked_limit(identity: str) -> int:
    """Return the limit by which the processes of a function are known: 48 bits of its name."""
    return MARKED_LIMIT + int(identity[:12], 16)


def limit_of(pid: int) -> int:
    """Return the limit that may be a mark; -1 where there is none, or it cannot be read."""
    try:
        return resource.prlimit(pid, resource.RLIMIT_RTTIME)[0]
    except OSError:
        return -1


def environment_of(pid: int) -> list[bytes]:
    """Return the variables that a process was started with; none where they cannot be read."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:  # noqa: PTH123 - no pathlib here
            return file.read().split(b"\0")
    except OSError:
        return []


def _processes() -> list[str]:
    try:
        return os.listdir("/proc") if LINUX else []  # noqa: PTH208 - no pathlib here
    except OSError:
        return []


def _parent(pid: int, *, zombies: bool) -> int | None:
    """Return the parent of a process (proc(5): the name in between may hold any character)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - no pathlib here
            state, parent = file.read().rpartition(b")")[2].split()[:2]
    except (OSError, ValueError):
        return None
    dead = state == b"X" or (state == b"Z" and not zombies)
    return None if dead else int(parent)


def main() -> None:
    """Run with the socket as standard input."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Only the end of the socket ends the warden: it must see every function out. A handler,
        # since what is ignored would be ignored by every function too (execve(2)).
        signal.signal(number, lambda *_: None)
    with socket.socket(fileno=os.dup(0)) as control:
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)
        os.dup2(nothing, 1)
        Warden(control).run()


if __name__ == "__main__":
    main()
