"""The table of tests/test_import_forms.py: what each import form and each tool does with a gateway."""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """One form or one tool, and what it may cost.

    Attributes:
        name: What the row is about, as the test's id.
        code: What runs, with its assertions; for a process of its own, the script ``main.py``.
        lists: How many requests for the gateway's list it makes.
        calls: How many calls of functions; nothing else may reach the gateway.
        argv: Arguments of an interpreter of its own, in place of a fork of one that has imported
            nothing of Away; ``{tmp}`` is the row's folder, its working folder too.
        files: Files of that folder, by name.
        env: Variables beside those that name the gateway ``gw``; ``{url}`` is its URL.
        prints: What an interpreter of its own has to print, on either stream.
        status: What it has to end with.
        needs: Modules without which there is nothing to show.
    """

    name: str
    code: str = ""
    lists: int = 0
    calls: int = 0
    argv: tuple[str, ...] = ()
    files: dict[str, str] = {}  # noqa: RUF012 - nobody changes it
    env: dict[str, str] = {}  # noqa: RUF012
    prints: tuple[str, ...] = ()
    status: int = 0
    needs: tuple[str, ...] = ()
