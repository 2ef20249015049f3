"""The layers of a published function, and where in an image they put their files.

What all functions share is a layer of its own that a registry gets once. This module knows nothing of
registries and deployments.
"""

from __future__ import annotations

import hashlib
import sys
from typing import TYPE_CHECKING

from away.publish.cache import keep_layer, kept_layer
from away.publish.compiled import with_compiled
from away.publish.image import Layer, make_layer

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from away.capture import Captured
    from away.publish.compiled import File
    from away.publish.parts import Part

__all__ = [
    "FUNCTION_FOLDER",
    "LIBRARY_FOLDER",
    "MODULES_FOLDER",
    "REQUIREMENTS_FOLDER",
    "function_layer",
    "shared_layer",
]

LIBRARY_FOLDER = "opt/away/lib"
REQUIREMENTS_FOLDER = "opt/away/requirements"
FUNCTION_FOLDER = "opt/away/function"
MODULES_FOLDER = f"{FUNCTION_FOLDER}/modules"

# Changes with how these layers are made, so that none of an earlier Away is taken for one of this.
_FORMAT = 4

# PyYAML's writing half, which the runtime never uses, and its largest module: they are imported with
# the rest at the first text that is YAML and no JSON, take 30 ms then, and compiled would be an eighth
# of what an image adds.
_WRITERS = ("dumper", "emitter", "representer", "serializer")
_YAML = (f"yaml/{name}.py" for name in (*_WRITERS, "constructor"))
# Imported with a replica's first batch of calls, some milliseconds that the batch saves many times
# over; when a function ends its process; and where a module of the user's hides one of Python's.
_SELDOM = (
    "away/hidden_modules.py",
    "away/protocol/batches.py",
    "away/runtime/batches.py",
    "away/runtime/last_words.py",
)
_NOT_COMPILED = frozenset(f"{LIBRARY_FOLDER}/{path}" for path in (*_YAML, *_SELDOM))

_layers: dict[tuple[str, bool, bool], Layer] = {}


def shared_layer(
    shared: Part, *, docker: bool, compiled: bool = False, cache: Path | None = None
) -> Layer:
    """Make the layer of a shared part, once in a process and once for a cache.

    Args:
        shared: The part.
        docker: True for a layer of Docker's own kind.
        compiled: True to have the files compiled for this Python's minor version beside them.
        cache: The folder in which layers are kept for other processes.
    """
    key = (shared.identity, docker, compiled)
    if key not in _layers:
        _layers[key] = kept_shared_layer(shared, docker, compiled, cache)
    return _layers[key]


def kept_shared_layer(shared: Part, docker: bool, compiled: bool, cache: Path | None) -> Layer:
    """Take a shared part's layer from the cache, or make it and keep it there."""
    build = " ".join(sys.version.split()) if compiled else ""
    name = hashlib.sha256(f"{_FORMAT} {shared.identity} {docker} {build}".encode()).hexdigest()[:32]
    if cache is not None and (kept := kept_layer(cache, f"shared-{name}")) is not None:
        return kept
    files: Iterable[File] = ((f"{LIBRARY_FOLDER}/{path}", data) for path, data in shared.files)
    if compiled:
        # Nobody debugs by the columns of these files' instructions, which are a third of them.
        # Nor does anybody ask there for docstrings, of Away's own files at least.
        docs = shared.origin is not None
        files = with_compiled(files, columns=False, docs=docs, leave=_NOT_COMPILED)
    layer = make_layer(files, docker=docker, comment=shared.name)
    if cache is not None:
        keep_layer(cache, f"shared-{name}", layer)
    return layer


def function_layer(captured: Captured, *, docker: bool, compiled: bool = False) -> Layer:
    """Make the layer of the function itself: its payload and the modules packed with it."""
    modules: Iterable[File] = (
        (f"{MODULES_FOLDER}/{each.path}", each.data) for each in captured.files
    )
    if compiled:
        modules = with_compiled(modules, keep=True)
    files = [(f"{FUNCTION_FOLDER}/payload.away", captured.payload), *modules]
    # The folder is the working folder of the process, so it has to be there even when empty.
    return make_layer(files, docker=docker, comment="function", folders=(MODULES_FOLDER,))
