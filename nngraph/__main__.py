"""``python -m nngraph`` is the command ``nngraph``."""

import sys

from nngraph.cli import main

if __name__ == "__main__":
    sys.exit(main())
