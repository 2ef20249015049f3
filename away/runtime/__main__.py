"""``python -m away.runtime``: serve the function whose payload lies beside this package."""

from __future__ import annotations

import sys

# ``python -m`` put the working folder, where the function's modules lie, before the standard
# library: its ``socket.py`` would be taken for the one that is needed here.
if sys.path and not sys.flags.safe_path:
    del sys.path[0]

from away.runtime.main import main

if __name__ == "__main__":
    sys.exit(main())
