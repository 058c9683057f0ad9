"""`python -m maskkit`, the same as the command `maskkit`."""

import sys

from maskkit.cli.shell import main

if __name__ == "__main__":
    sys.exit(main())
