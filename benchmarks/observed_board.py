"""The command line, whose board writes down when it has moved its cursor.

    python -m benchmarks.observed_board STAMPS [ARGUMENTS OF opsdash]

Each time that `j` has done its work a line with the time (CLOCK_MONOTONIC) is added to STAMPS.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from opsdash.board.wallscreen import WallScreen
from opsdash.cli import main

if __name__ == "__main__":
    stamps = Path(sys.argv[1]).open("a", buffering=1)  # noqa: SIM115 - open until the process ends
    move = WallScreen.action_down

    def moved(screen: WallScreen) -> None:
        """Move, and say when that was done."""
        move(screen)
        stamps.write(f"{time.monotonic()}\n")

    setattr(WallScreen, "action_down", moved)  # noqa: B010 - mypy forbids the plain form
    sys.exit(main(sys.argv[2:]))
