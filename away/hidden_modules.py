"""What hides a module of Python's own: a file of the user's that happens to be called like one.

Python looks into a script's folder first, so a ``queue.py`` there is what every library gets that
wants the queue of the standard library. This room knows nothing of what was to be imported.
"""

from __future__ import annotations

import os
import sys

from away.exceptions import ConfigError
from away.names import printable

__all__ = ["refuse_if_hidden"]

# Installers put stand-ins of their own there, such as setuptools for distutils.
_INSTALLED = ("site-packages", "dist-packages")


def refuse_if_hidden() -> None:
    """Say which file is in the way of Python's own modules; to be called when an import failed.

    Raises:
        ConfigError: A module that was imported by the name of one of Python's is a file of the
            user's.
    """
    own = os.path.dirname(os.__file__)  # noqa: PTH120 - pathlib may be what is hidden
    for name in sorted(sys.stdlib_module_names & sys.modules.keys()):
        file = getattr(sys.modules[name], "__file__", None)
        if (
            isinstance(file, str)
            and not file.startswith(own)
            and not any(part in file for part in _INSTALLED)
        ):
            raise ConfigError(
                f"{printable(file)} hides Python's own module {name}, which the libraries that Away"
                " uses need; rename that file"
            )
