"""The processes that an embedded gateway runs, as the system has them."""

from __future__ import annotations

from pathlib import Path


def processes_of(state: Path) -> dict[int, str]:
    """Return each process of a function below a gateway with this state, and its function's name."""
    start = f"AWAY_SECRETS_DIR={state.resolve()}/functions/".encode()
    found = {}
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            variables = path.read_bytes().split(b"\0")
        except OSError:
            continue  # it ended meanwhile, or is someone else's
        for each in variables:
            if each.startswith(start):
                found[int(path.parent.name)] = each.removeprefix(start).split(b"/")[0].decode()
    return found
