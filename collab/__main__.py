"""Run the command `collab` by `python -m collab`."""

import sys

from collab.cli import main

if __name__ == "__main__":
    sys.exit(main())
