"""What the words of a command mean: a call's arguments, a file to publish, a moment, a secret.

Words in, values out; standard input and files are read where a word says so.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import stat
import sys
from pathlib import Path
from typing import Any

__all__ = ["Usage", "is_module", "read_arguments", "read_moment", "read_secret", "read_target"]


class Usage(Exception):
    """A command that was not written as it must be; the text says how it is."""


def read_arguments(given: tuple[str, ...]) -> tuple[list[Any], dict[str, Any]]:
    """Read a call's arguments from the command line and standard input."""
    if given == ("-",) or (not given and _is_piped()):
        data = sys.stdin.buffer.read()
        try:
            text: str | bytes = data.decode()
        except UnicodeDecodeError:
            text = data
        return ([text] if given or text else []), {}
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for each in given:
        keyword, separator, value = each.partition("=")
        if not (separator and keyword.isidentifier()):
            if kwargs:
                raise Usage(f"the argument {each!r} stands after a keyword; put it before them")
            args.append(_json_value(each))
        elif keyword in kwargs:
            raise Usage(f"the keyword {keyword!r} is given twice")
        else:
            kwargs[keyword] = _json_value(value)
    return args, kwargs


def _json_value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        quoted = json.dumps(text, ensure_ascii=False)
        raise Usage(f"the argument {text!r} is not JSON; a text is written '{quoted}'") from None


def _is_piped() -> bool:
    """Tell whether input was given: a pipe or a file, not a terminal and not /dev/null."""
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (AttributeError, OSError, ValueError):
        return False  # closed
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode)


def is_module(target: str) -> bool:
    """Tell a module's dotted name from ``FILE[:FUNCTION]``: what is a file is never a module."""
    dotted = all(part.isidentifier() for part in target.split("."))
    return dotted and not target.endswith(".py") and not Path(target).is_file()


def read_target(target: str) -> tuple[Path, str]:
    """Read ``FILE[:FUNCTION]``.

    Returns:
        The file's full path, and the function's name or an empty string.

    Raises:
        Usage: There is no such file.
    """
    file, separator, function = target.rpartition(":")
    if not (separator and function.isidentifier()):
        file, function = target, ""
    path = Path(file)
    if not path.is_file():
        raise Usage(f"there is no file {file!r}")
    return path.resolve(), function


def read_moment(since: str | None) -> dt.datetime | None:
    """Read a time: so long ago (10m), or a date with or without a time (UTC)."""
    if since is None:
        return None
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    ago = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", since)
    if ago:
        seconds = float(ago[1]) * units[ago[2]]
        return dt.datetime.now(dt.UTC) - dt.timedelta(seconds=seconds)
    try:
        moment = dt.datetime.fromisoformat(since)
    except ValueError:
        raise Usage(f"--since {since!r} is neither such as 10m or 2h nor a date") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def read_secret(name: str, from_file: Path | None, *, keep_newline: bool) -> str:
    """Read a secret's value from a file, else from standard input; a person is asked unseen.

    Args:
        name: The secret's name, for the words of an error.
        from_file: The file, if one was named.
        keep_newline: Whether the newline that ends most files and lines is a part of the value.
    """
    if from_file is not None:
        data = from_file.read_bytes()
    elif sys.stdin.isatty():
        from click import prompt

        data = str(prompt(f"value of {name}", hide_input=True, err=True)).encode()
    else:
        data = sys.stdin.buffer.read()
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise Usage(f"the value of the secret {name!r} is not UTF-8 text") from None
    if not keep_newline:
        text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise Usage(f"the value of the secret {name!r} is empty; pipe it in or name --from-file")
    return text
