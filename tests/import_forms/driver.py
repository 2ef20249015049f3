"""Runs rows of the table, each in a fork of an interpreter that has imported nothing of Away.

A program of its own: reads one JSON object a line, ``code``, ``name``, ``folder`` and ``env``, and
answers with one, ``status`` and ``said``. What Away stands on is imported already, so that a row
costs some milliseconds and not the tenth of a second that requests takes.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import traceback
import types

import dill  # noqa: F401 - so that forks need not
import requests  # noqa: F401
import yaml  # noqa: F401


@contextlib.contextmanager
def raises(*kinds: type[BaseException], says: str = "", name: str | None = None):
    """Expect an error of all these kinds, with this in its text and this as its ``name``."""
    caught = types.SimpleNamespace(error=None)
    try:
        yield caught
    except kinds[0] as error:
        caught.error = error
    assert caught.error is not None, f"no {kinds[0].__name__} was raised"
    assert all(isinstance(caught.error, kind) for kind in kinds), type(caught.error).__mro__
    assert says in str(caught.error), str(caught.error)
    assert name is None or caught.error.name == name, caught.error.name


def run(row: dict[str, object]) -> None:
    """Run a row in this process and end it."""
    status = 1
    try:
        with open("said", "w", buffering=1) as said:
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            main = sys.modules["__main__"] = types.ModuleType("__main__")
            main.__dict__.update(raises=raises)
            sys.path.insert(0, os.getcwd())
            try:
                exec(compile(row["code"], row["name"], "exec"), main.__dict__)
                status = 0
            except BaseException:
                traceback.print_exc()
            sys.stdout.flush()
            sys.stderr.flush()
    finally:
        os._exit(status)


def main() -> None:
    """Fork for each row until the input ends."""
    assert not any(each.partition(".")[0] == "away" for each in sys.modules)
    for line in sys.stdin:
        row = json.loads(line)
        child = os.fork()
        if child == 0:
            os.environ.update(row["env"])
            os.chdir(row["folder"])
            run(row)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(json.dumps(status), flush=True)


if __name__ == "__main__":
    main()
