"""Files of configuration: read once for each state that they have, with the line of every key."""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from away.exceptions import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "TomlFile",
    "follows_xdg",
    "forget_files",
    "home",
    "key_lines",
    "path_of",
    "read_secret",
    "read_toml",
    "remembered",
]

T = TypeVar("T")

# The longest token in use (a JSON Web Token with many claims) has some kilobytes.
MAX_SECRET_BYTES = 64 * 1024

_KEY = re.compile(r"""[ \t]*(?:([A-Za-z0-9_-]+)|"((?:[^"\\\n]|\\.)*)"|'([^'\n]*)')[ \t]*""")
_SPACE = re.compile(r"(?:\s+|#[^\n]*)*")
# A value's pieces: long strings (which may end in two quotes more), strings, comments, and the rest.
_PIECE = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}|' + r"'''.*?'{3,5}" + r'|"(?:[^"\\\n]|\\.)*"|'
    r"""'[^'\n]*'|\#[^\n]*|[][{}\n]|[^]["'\#{}\n]+""",
    re.DOTALL,
)

# A file that was rewritten differs in one of these, unless in the same tick with the same size.
_Stamp = tuple[int, int, int]
_read: dict[Path, tuple[_Stamp, object]] = {}


class TomlFile(NamedTuple):
    """A TOML file's tables, and the line of each key by its path."""

    path: Path
    tables: Mapping[str, Any]
    lines: Mapping[tuple[str, ...], int]

    def __repr__(self) -> str:
        """Leave out the tables, in which passwords may stand."""
        return f"<TomlFile {self.path}>"

    def where(self, *keys: str) -> str:
        """Return file and line of a key, or of the table that holds it."""
        while keys and keys not in self.lines:
            keys = keys[:-1]
        return f"{self.path} line {self.lines[keys]}" if keys else str(self.path)


def read_toml(path: Path, mention: bytes = b"") -> TomlFile | None:
    """Read a TOML file; None if it is not there, or nowhere has the bytes of ``mention``.

    Raises:
        ConfigError: It cannot be read, or is no TOML; the message names the line.
    """
    return remembered(path, lambda data: _parse_toml(path, data) if mention in data else None)


def remembered(path: Path, parse: Callable[[bytes], T]) -> T | None:
    """Return what ``parse`` made of a file's bytes, from memory while the file is the same.

    Each file has one parser, so the path alone says what is remembered.

    Raises:
        ConfigError: The file is there and cannot be read.
    """
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        # A folder that may not be entered (another user's HOME) is like one that is not there.
        return None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {_reason(error)}") from error
    stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
    cached = _read.get(path)
    if cached is not None and cached[0] == stamp:
        return cached[1]  # type: ignore[return-value]  # what the same parser made of it
    try:
        data = _bytes_of(path, found)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {_reason(error)}") from error
    value = parse(data)
    _read[path] = (stamp, value)
    return value


def forget_files() -> None:
    """Read every file anew the next time."""
    _read.clear()


def read_secret(path: Path, meaning: str) -> str:
    """Read a secret from its file, without the line break at its end.

    Args:
        path: The file.
        meaning: What it is and who named it, for errors.

    Raises:
        ConfigError: The file is not there, cannot be read, is empty, too large or no text.
    """
    try:
        data = _bytes_of(path, path.stat(), MAX_SECRET_BYTES)
        text = data.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise ConfigError(f"{meaning} names {path}, which is not text in UTF-8") from None
    except OSError as error:
        raise ConfigError(
            f"{meaning} names {path}, which cannot be read: {_reason(error)}"
        ) from error
    if not text or len(data) > MAX_SECRET_BYTES:
        size = "empty" if not text else f"larger than {MAX_SECRET_BYTES} bytes"
        raise ConfigError(f"{meaning} names {path}, which is {size}")
    return text


def follows_xdg() -> bool:
    """Tell whether folders of this platform's users are those of the XDG base directory rules.

    There platformdirs says nothing else, and importing it takes as long as half of a gateway's import.
    """
    return sys.platform == "linux" and "ANDROID_ROOT" not in os.environ


def home(environ: Mapping[str, str]) -> Path | None:
    """Return the user's home folder, or None where there is none."""
    text = environ.get("HOME") or os.path.expanduser("~")  # noqa: PTH111 - Path.home() may raise
    # Without an entry in the password database a "~" stays, which would be a folder of the project.
    return path_of(text) if os.path.isabs(text) else None  # noqa: PTH117 - as above


@lru_cache(maxsize=64)
def path_of(text: str) -> Path:
    """Return a path from memory: the few folders that matter are asked for at each import of a gateway."""
    return Path(text)


def key_lines(text: str) -> dict[tuple[str, ...], int]:
    r"""Find the line of each key and table header in valid TOML, by its path.

    tomllib keeps no lines. Keys inside inline tables stand where their table's key stands.

    >>> key_lines('[gateways.dev]\nurl = "http://127.0.0.1:8080"')[("gateways", "dev", "url")]
    2
    """
    lines: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    at, line, counted = 0, 1, 0
    while True:
        at = _end(_SPACE, text, at)
        line, counted = line + text.count("\n", counted, at), at
        if at >= len(text):
            return lines
        if header := text[at] == "[":
            at += 2 if text.startswith("[[", at) else 1
        keys, after = _dotted_key(text, at)
        if not keys:
            return lines
        if header:
            table, keys = keys, ()
        for length in range(1, len(table) + len(keys) + 1):
            lines.setdefault((*table, *keys)[:length], line)
        at = _end_of_value(text, after + (2 if header and text.startswith("]]", after) else 1))


def _dotted_key(text: str, at: int) -> tuple[tuple[str, ...], int]:
    keys: list[str] = []
    while match := _KEY.match(text, at):
        keys.append(match[1] or match[2] or match[3] or "")
        at = match.end()
        if not text.startswith(".", at):
            break
        at += 1
    return tuple(keys), at


def _end_of_value(text: str, at: int) -> int:
    depth = 0
    while match := _PIECE.match(text, at):
        if match[0] == "\n" and depth == 0:
            break
        depth += (match[0] in "[{") - (match[0] in "]}")
        at = match.end()
    return at


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at


def _parse_toml(path: Path, data: bytes) -> TomlFile:
    import tomllib

    try:
        text = data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path} line {line} is not UTF-8; save the file as UTF-8") from None
    try:
        tables = tomllib.loads(text)
    except RecursionError:
        raise ConfigError(f"{path} is nested too deeply to be read as TOML") from None
    except ValueError as error:
        raise ConfigError(_syntax_error(path, text, str(error))) from None
    return TomlFile(path, tables, key_lines(text))


def _syntax_error(path: Path, text: str, problem: str) -> str:
    words, _, place = problem.partition(" (at ")
    match = re.match(r"line (\d+)", place)
    line = int(match[1]) if match else text.rstrip().count("\n") + 1
    # A line further on may be named where the parser's words say no line at all.
    where = f"{path} line {line}" if place else str(path)
    return f"{where} is not TOML: {words[:1].lower()}{words[1:]}"


def _bytes_of(path: Path, found: os.stat_result, most: int = -1) -> bytes:
    if not stat.S_ISREG(found.st_mode):
        # A named pipe would wait for its writer, for ever.
        raise OSError(errno.EINVAL, "it is not a regular file")
    with path.open("rb") as file:
        return file.read(most + 1 if most >= 0 else -1)


def _reason(error: OSError) -> str:
    words = error.strerror or str(error)
    return f"{words[:1].lower()}{words[1:]}"
