"""``python -m away.runtime``: serve the function whose payload lies beside this package."""

from __future__ import annotations

import os
import sys

# ``python -m`` put the working folder, where the function's modules lie, before the standard
# library: its ``socket.py`` would be taken for the one that is needed here. No pathlib: not yet.
_library = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120
if sys.path and sys.path[0] in ("", os.getcwd()) and os.getcwd() != _library:  # noqa: PTH109
    del sys.path[0]


def _main() -> int:
    try:
        from away.runtime.main import main

        return main()
    except Exception as error:  # whatever it is, it is told where no log is kept
        from away.runtime.last_words import say

        return say(error)


if __name__ == "__main__":
    sys.exit(_main())
