"""Files written into a folder that others may have laid out: through no link, and each as a whole.

A cloned repository brings what its author put there, symbolic links too. What follows one writes where
the link says, so a file that Away writes into such a folder lies there itself, or is not written.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from away.exceptions import ConfigError

__all__ = ["is_plain", "refuse_links", "replace"]


def is_plain(path: Path) -> bool:
    """Tell whether a path is a regular file itself, and no link to one."""
    return path.is_file() and not path.is_symlink()


def refuse_links(path: Path, below: Path) -> None:
    """Refuse a path that leads through a symbolic link below a folder, or to one.

    Args:
        path: What is to be written.
        below: A folder above it whose own parts count as well where they lie in the working folder,
            which may be others' too.

    Raises:
        ConfigError: A part is a link; the message names it.
    """
    # Lexical, since resolving would follow the very links that are looked for.
    whole, here, each = path.absolute(), Path.cwd(), below.absolute()
    if each.is_relative_to(here):
        each = here
    for part in whole.relative_to(each).parts:
        each /= part
        if each.is_symlink():
            raise ConfigError(
                f"{each} is a symbolic link, and Away writes through none; take it away, or write"
                " elsewhere with -o"
            )


def replace(path: Path, text: str) -> None:
    """Write a file as a whole: whoever reads it has the old text or the new one.

    Raises:
        OSError: It cannot be written.
    """
    made = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    # Windows has no O_NOFOLLOW; O_EXCL alone takes no link that is there.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    descriptor = os.open(made, flags, 0o666)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        made.replace(path)
    except BaseException:
        made.unlink(missing_ok=True)
        raise
