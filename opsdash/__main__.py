"""`python -m opsdash` is `opsdash`."""

from __future__ import annotations

import sys

from opsdash.cli import main

if __name__ == "__main__":
    sys.exit(main())
