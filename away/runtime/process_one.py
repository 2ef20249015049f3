"""What process 1 of a container owes to the others in it.

The kernel gives every orphan to process 1 and keeps it as a zombie until that waits for it. A
server that waits for any child would steal the exit status of those that its function started with
``subprocess``, and one that does not fills the process table of a function which daemonizes. So
process 1 becomes a small parent, which waits for everyone, and the server is its child, which waits
for its own only. Signals are passed down, and the server's end is the container's.
"""

from __future__ import annotations

import os
import signal

__all__ = ["supervise"]

_PASSED_ON = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2}


def supervise() -> None:
    """Fork; return in the child, and in the parent wait for it and exit as it did."""
    # Blocked signals wait for sigwait; with handlers, one that came just before a waitpid would
    # be seen only after it, when the server has ended by itself.
    awaited = _PASSED_ON | {signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    server = os.fork()
    if server == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return
    while True:
        number = signal.sigwait(awaited)
        if number == signal.SIGCHLD:
            _reap(server)
        else:
            os.kill(server, number)


def _reap(server: int) -> None:
    """Wait for all children that have ended; with the server, end too."""
    while True:
        ended, status = os.waitpid(-1, os.WNOHANG)
        if ended == 0:
            return
        if ended == server:
            code = os.waitstatus_to_exitcode(status)
            # as a shell says it: 128 and the signal's number
            os._exit(code if code >= 0 else 128 - code)
