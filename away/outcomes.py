"""What ``away publish`` says of what came of it: to people, to scripts, and by its exit code.

It knows outcomes and reports, and nothing of how they came about.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from away.terminal import complain, is_terminal, json_text, line, records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from away.publish.report import Report
    from away.publish.steps import Published
    from away.publish.together import Outcome

__all__ = ["Stopped", "show_reports", "tell"]


class Stopped(Exception):
    """The user interrupted a command; the text says what was changed and what was not."""


def tell(
    outcomes: Sequence[Outcome],
    *,
    shown: bool,
    as_json: bool,
    words: Callable[[BaseException], str],
    code: Callable[[BaseException], int],
) -> int:
    """Say what came of a file's functions.

    Args:
        outcomes: What came of each, in the order of the file.
        shown: Whether it was shown on standard error as it went on.
        as_json: True for JSON.
        words: Puts an error into words.
        code: Gives an error's exit code.

    Returns:
        The exit code: that of the failures where they agree, 1 where they do not.

    Raises:
        Exception: The only function failed; that is the command's own error.
    """
    failures = [(each.name, each.error) for each in outcomes if each.error is not None]
    if len(outcomes) == 1 and failures and not as_json:
        raise failures[0][1]
    if as_json:
        records([row(each, words) for each in outcomes])
    elif not (shown and is_terminal() and sys.stderr.isatty()):
        for each in outcomes:
            if each.published is not None:
                line(f"{each.published.action} {each.name}")
                for note in _quiet_notes(each.published, shown=shown):
                    complain(f"{each.name}: note: {note}")
    for name, error in failures:
        said = words(error)
        # Of several it has to be said whose it is, where the sentence does not begin by the function.
        complain(said if len(outcomes) == 1 or name in said else f"{name}: {said}")
    if len(outcomes) > 1 and failures:
        names = ", ".join(name for name, _ in failures)
        were = "was" if len(failures) == 1 else "were"
        complain(f"{len(failures)} of {len(outcomes)} functions {were} not published: {names}")
    codes = {code(error) for _, error in failures}
    return codes.pop() if len(codes) == 1 else min(len(codes), 1)


def _quiet_notes(published: Published, *, shown: bool) -> tuple[str, ...]:
    """Return the notes that nobody was shown yet; of what is unchanged there is nothing new."""
    return () if shown or published.action == "unchanged" else published.notes


def row(outcome: Outcome, words: Callable[[BaseException], str]) -> dict[str, object]:
    """Return an outcome as JSON has it."""
    if outcome.published is not None:
        published = outcome.published
        found = {"name": outcome.name, "action": published.action, "digest": published.digest}
        return {**found, "notes": list(published.notes)}
    error = words(outcome.error) if outcome.error is not None else ""
    return {"name": outcome.name, "action": "failed", "error": error}


def show_reports(reports: Iterable[Report], *, as_json: bool) -> None:
    """Print what dry runs found out."""
    if as_json:
        line(json_text([each.as_dict() for each in reports]))
        return
    for each in reports:
        line(each.listing())
