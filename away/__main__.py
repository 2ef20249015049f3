"""Run the command line interface: ``python -m away``."""

from away.cli import main

if __name__ == "__main__":
    main()
