"""What the commands print: lines for a pipe, tables for a person, JSON for a script.

What comes from a gateway is others' data, and a terminal obeys control characters: nothing of it is
printed to one unless :func:`safe` has been over it. This room knows nothing of gateways.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import sys
from typing import TYPE_CHECKING, Any

from away.names import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "complain",
    "field",
    "is_terminal",
    "json_text",
    "line",
    "raw",
    "records",
    "safe",
    "table",
]

LABEL_WIDTH = 10


def is_terminal() -> bool:
    """Tell whether a person reads what is printed."""
    return sys.stdout.isatty()


def safe(text: str) -> str:
    """Return a text of several lines without any character that a terminal would obey."""
    return "\n".join(printable(each.expandtabs()) for each in text.split("\n"))


def line(text: str) -> None:
    """Print lines, without control characters wherever they go."""
    sys.stdout.write(safe(text) + "\n")
    sys.stdout.flush()


def field(label: str, text: str) -> None:
    """Print what is said after a word; a terminal's lines end between words and begin below them."""
    indented = f"{label:<{LABEL_WIDTH}}" if label else ""
    if not is_terminal():
        line(indented + text)
        return
    import shutil
    import textwrap

    for each in textwrap.wrap(
        text,
        shutil.get_terminal_size().columns,
        initial_indent=indented,
        subsequent_indent=" " * len(indented),
        # A path or an address is copied as a whole.
        break_long_words=False,
        break_on_hyphens=False,
    ):
        line(each)


def raw(value: str | bytes) -> None:
    """Print a function's answer: as it is into a pipe or file, harmless to a terminal."""
    if is_terminal():
        line(value if isinstance(value, str) else value.decode(errors="replace"))
        return
    sys.stdout.flush()
    data = value.encode(errors="surrogatepass") if isinstance(value, str) else value
    # A text ends its line, as every program's output does; bytes are left as they came.
    ending = b"\n" if isinstance(value, str) and not data.endswith(b"\n") else b""
    sys.stdout.buffer.write(data + ending)
    sys.stdout.buffer.flush()


def records(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print a JSON array, one object a line."""
    body = ",\n ".join(json_text(each) for each in rows)
    line(f"[{body}]")


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows: a table with titles for a person, fields between tabs and no titles in a pipe."""
    if not is_terminal():
        for row in rows:
            fields = (" ".join(printable(each).split()) for each in row)
            sys.stdout.write("\t".join(fields) + "\n")
        sys.stdout.flush()
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=SIMPLE_HEAD, pad_edge=False)
    for title in titles:
        shown.add_column(title, overflow="fold")
    for row in rows:
        # As Text: square brackets in others' data are no markup.
        shown.add_row(*(Text(safe(each)) for each in row))
    Console().print(shown)


def complain(text: str) -> None:
    """Print one line of what went wrong to stderr."""
    sys.stderr.write(f"away: {' '.join(printable(text.replace(chr(10), ' ')).split())}\n")
    sys.stderr.flush()


def json_text(value: Any) -> str:
    """Return a value as JSON in ASCII; what JSON does not know becomes the nearest that it does.

    A tuple becomes an array, a set a sorted one, bytes their base64, dates their ISO text, and a
    number that is no number null.
    """
    return json.dumps(_plain(value), allow_nan=False)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if value - value == 0 else None  # neither infinite nor not a number
    if isinstance(value, dict):
        return {_key(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, set | frozenset):
        return sorted((_plain(each) for each in value), key=repr)
    if isinstance(value, bytes | bytearray):
        return base64.b64encode(value).decode()
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    return repr(value)


def _key(key: Any) -> str:
    return key if isinstance(key, str) else json_text(key)
