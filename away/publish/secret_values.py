"""Secrets that a publish creates where the gateway lacks them: read once, known at once, shown never.

A value is told to :mod:`away.secret_texts` before anything else is done with it, so that capture and
the checks of a deployment find it wherever it would leave this process but to the gateway.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from away.exceptions import AwayError, CannotTravel, ConfigError, PublishFailed
from away.names import nearest, printable
from away.secret_texts import remember_file, remember_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from away.connection import FaasConnection
    from away.connection.conversations import Conversation

__all__ = ["SecretValue", "create", "lacking_values", "sealed"]

# Kubernetes takes no larger one, and a larger file is hardly the one that was meant.
MAX_SECRET_BYTES = 1024 * 1024


class SecretValue:
    """The bytes of a secret to be created; no repr, pickle or message shows them."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes, name: str) -> None:
        self._data = data
        remember_value(data, name)

    def reveal(self) -> bytes:
        """Return the bytes themselves."""
        return self._data

    def __repr__(self) -> str:
        return "SecretValue(•••)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretValue) and other._data == self._data

    def __hash__(self) -> int:
        return hash(self._data)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise CannotTravel("a secret is not pickled, and so never travels")


def sealed(
    given: Any, folder: Callable[[], Path] = Path.cwd
) -> tuple[str, ...] | dict[str, SecretValue | None]:
    """Take names of secrets, or a mapping with values, and seal and register the values.

    Args:
        given: Names, or a mapping from each name to a text, bytes, the path of a file, or None for
            one that the gateway has. Of a file with text, the end of its last line is left out, as
            ``faas-cli secret create`` does; texts and bytes are taken as they are.
        folder: Returns the folder that relative paths start from; asked where there is one.

    Raises:
        ConfigError: A file cannot be read, a value is empty or too large, or of another type; the
            message never has the value.
    """
    if not isinstance(given, Mapping):
        return tuple(given)
    return {_name(name): _value(name, source, folder) for name, source in given.items()}


def lacking_values(
    secrets: Iterable[str] | Mapping[str, SecretValue | None], known: Iterable[str]
) -> dict[str, SecretValue]:
    """Return those that the gateway lacks, with the values that they are to have.

    Raises:
        PublishFailed: One that the gateway lacks has no value.
    """
    values = secrets if isinstance(secrets, Mapping) else dict.fromkeys(secrets)
    known = sorted(known)
    wanted = {}
    for name in sorted(set(values) - set(known)):
        value = values[name]
        if value is None:
            near = nearest(name, known, 1)
            hint = f"did you mean {near[0]!r}, or " if near else ""
            raise PublishFailed(
                f"the gateway has no secret {printable(name)!r}; {hint}create it with"
                f" connection.create_secret({name!r}, …), or publish with"
                f" secrets={{{name!r}: Path('FILE')}}",
                step="checks",
            )
        wanted[name] = value
    return wanted


def create(
    connection: FaasConnection, namespace: str, name: str, value: SecretValue
) -> Conversation[bool]:
    """Create a secret that the gateway was seen to lack.

    Returns:
        Whether it was created; False where somebody else did so in between.
    """
    data = value.reveal()
    try:
        told: str | bytes = data.decode()
    except UnicodeDecodeError:
        told = data
    try:
        yield from connection.api.store_secret("POST", name, told, namespace)
    except AwayError as error:
        if error.status == 409:
            return False
        raise PublishFailed(
            f"the secret {printable(name)!r} could not be created: {error}",
            step="secrets",
            status=error.status,
            call_id=error.call_id,
        ) from error
    return True


def _name(name: object) -> str:
    if not isinstance(name, str):
        raise TypeError(f"secrets takes names as texts, not {type(name).__name__}")
    return name


def _value(name: str, source: object, folder: Callable[[], Path]) -> SecretValue | None:
    what = f"secrets[{printable(name)!r}]"
    if source is None or isinstance(source, SecretValue):
        return source
    if isinstance(source, str):
        data = source.encode(errors="surrogateescape")
    elif isinstance(source, bytes | bytearray):
        data = bytes(source)
    elif isinstance(source, PathLike):
        path = _found(what, Path(source), folder)
        data = _without_line_end(_read(what, path))
        what = f"{what} names {_shown(path)}, which"
    else:
        raise ConfigError(
            f"{what} is of type {type(source).__name__}; give a text, bytes, or the pathlib.Path of a"
            " file that holds it"
        )
    if not data:
        raise ConfigError(f"{what} is empty, and a secret is not")
    if len(data) > MAX_SECRET_BYTES:
        raise ConfigError(
            f"{what} is larger than the {MAX_SECRET_BYTES} bytes that a secret can have"
        )
    return SecretValue(data, name)


def _found(what: str, path: Path, folder: Callable[[], Path]) -> Path:
    """Return the whole path of a secret's file, and note that it holds one."""
    try:
        path = path.expanduser()
        whole = path if path.is_absolute() else folder() / path
        remember_file(os.path.realpath(whole))
    except (OSError, RuntimeError, ValueError) as error:
        # No home of that name, no working folder, or no path that any system could have.
        raise ConfigError(
            f"{what} names {_shown(path)}, which cannot be found: {printable(str(error))}"
        ) from error
    return whole


def _without_line_end(data: bytes) -> bytes:
    """Return a file's text without the line end that editors write after the last line."""
    if not data.endswith(b"\n"):
        return data
    try:
        data.decode()
    except UnicodeDecodeError:
        return data  # a key in binary, of which each byte counts
    return data.removesuffix(b"\n").removesuffix(b"\r")


def _read(what: str, path: Path) -> bytes:
    try:
        data = _regular(path)
    except (OSError, ValueError) as error:
        words = printable(getattr(error, "strerror", None) or str(error))
        raise ConfigError(
            f"{what} names {_shown(path)}, which cannot be read: {words[:1].lower()}{words[1:]}"
        ) from error
    if data is None:
        raise ConfigError(f"{what} names {_shown(path)}, which is no regular file")
    return data


def _regular(path: Path) -> bytes | None:
    """Return a regular file's bytes, up to one more than a secret can have; None of anything else.

    Never waiting: a named pipe would have us wait for its writer, for ever.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    if path.is_dir():
        return None  # which some systems do not even open
    descriptor = os.open(path, flags | getattr(os, "O_NOCTTY", 0))
    try:
        # Of what is open, not of what the path led to a moment ago.
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        pieces, left = [], MAX_SECRET_BYTES + 1
        while left > 0 and (piece := os.read(descriptor, left)):
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)
    finally:
        os.close(descriptor)


def _shown(path: Path) -> str:
    """Return a path for people."""
    return printable(str(path))
