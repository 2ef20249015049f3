"""``python -m away.runtime``: serve the function whose payload lies beside this package."""

from __future__ import annotations

import os
import sys

# ``python -m`` put the working folder, where the function's modules lie, before the standard
# library: its ``socket.py`` would be taken for the one that is needed here. No pathlib: not yet.
_library = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120
if sys.path and sys.path[0] in ("", os.getcwd()) and os.getcwd() != _library:  # noqa: PTH109
    del sys.path[0]

from away.runtime.main import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
