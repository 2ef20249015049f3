"""The layers of a published function, and where in an image they put their files.

What all functions share is a layer of its own that a registry gets once. This module knows nothing of
registries and deployments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from away.publish.image import Layer, make_layer

if TYPE_CHECKING:
    from away.capture import Captured
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

_layers: dict[tuple[str, bool], Layer] = {}


def shared_layer(shared: Part, *, docker: bool) -> Layer:
    """Make the layer of a shared part, once in a process."""
    key = (shared.identity, docker)
    if key not in _layers:
        files = ((f"{LIBRARY_FOLDER}/{path}", data) for path, data in shared.files)
        _layers[key] = make_layer(files, docker=docker, comment=shared.name)
    return _layers[key]


def function_layer(captured: Captured, *, docker: bool) -> Layer:
    """Make the layer of the function itself: its payload and the modules packed with it."""
    files = [(f"{FUNCTION_FOLDER}/payload.away", captured.payload)]
    files += [(f"{MODULES_FOLDER}/{each.path}", each.data) for each in captured.files]
    # The folder is the working folder of the process, so it has to be there even when empty.
    return make_layer(files, docker=docker, comment="function", folders=(MODULES_FOLDER,))
