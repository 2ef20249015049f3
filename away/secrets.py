"""Secrets that were given to a function: files that the platform puts beside it."""

from __future__ import annotations

import os
from pathlib import Path

from away.exceptions import ConfigError
from away.names import nearest, printable

__all__ = ["secret"]

# Where OpenFaaS mounts them; the embedded gateway names a private folder instead.
_OPENFAAS_FOLDER = "/var/openfaas/secrets"


def secret(name: str) -> str:
    """Return the text of a secret that this function was published with.

    Args:
        name: The secret's name, as in ``publish(secrets=['name'])``.

    Returns:
        The secret as it was stored, a line break at its end included.

    Raises:
        ConfigError: There is no such secret here, or it is not text. The message never has the
            text of a secret.
    """
    folder = Path(os.environ.get("AWAY_SECRETS_DIR") or _OPENFAAS_FOLDER)
    shown = printable(name)
    if not name or name.startswith(".") or not all(c.isalnum() or c in "-._" for c in name):
        raise ConfigError(
            f"{shown!r} is not a secret's name, which has letters, digits, '-' and '.'"
        )
    path = folder / name
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise _missing(shown, folder) from None
    except OSError as error:
        raise ConfigError(f"the secret {shown!r} cannot be read: {error}") from error
    text = _decoded(data)
    if text is None:
        raise ConfigError(f"the secret {shown!r} is not UTF-8 text; read its bytes from {path}")
    return text


def _decoded(data: bytes) -> str | None:
    """Return None for what is no text: the decoder's error would carry the secret's bytes."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _missing(name: str, folder: Path) -> ConfigError:
    try:
        known = [each.name for each in folder.iterdir() if not each.name.startswith(".")]
    except OSError:
        return ConfigError(
            f"there is no secret {name!r} here, since {folder} is not there;"
            " secrets are read inside a function that was published with secrets=[...]"
        )
    near = nearest(name, known) or sorted(known)
    has = f"has {', '.join(map(repr, near[:5]))}" if near else "has none"
    return ConfigError(
        f"there is no secret {name!r}: this function {has};"
        f" publish it with secrets=[{name!r}] once the gateway has that secret"
    )
