"""Unpacking archives that the tests trust, by every Python that Away runs on."""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["unpack_all"]


def unpack_all(archive: tarfile.TarFile, folder: Path) -> None:
    """Unpack all of an archive; filters are there from Python 3.11.4 on (PEP 706)."""
    if hasattr(tarfile, "fully_trusted_filter"):
        archive.extractall(folder, filter="fully_trusted")
    else:
        archive.extractall(folder)
