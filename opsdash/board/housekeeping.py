"""When Python looks for cycles among what the board holds: while nobody types.

A full look takes as long as there is to look at: 40 ms and more at thousands of rows, which somebody who moves the
cursor sees as a stutter. What the start has made is looked at never again, what is young is looked at as always, and
all of it only once the keys have been quiet for a moment; or, for whoever never stops typing, every ten minutes.
"""

from __future__ import annotations

import gc
import math

YOUNG = (10_000, 20, 1_000_000)
"""How many new values, and how many looks at those, come before the next look; a full one never comes by itself."""

QUIET = 2.0
"""Seconds without a key after which a full look disturbs nobody."""

AT_MOST_EVERY = 60.0
AT_LEAST_EVERY = 600.0


class Housekeeping:
    """Takes over from Python when to look for cycles. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._typed = -math.inf
        self._looked: float | None = None

    def typed(self, mono: float) -> None:
        """Somebody uses the board."""
        self._typed = mono

    def tick(self, mono: float) -> bool:
        """Look if it is time; to be called about once a second. Whether it was."""
        if self._looked is None:
            gc.collect()
            gc.freeze()
            gc.set_threshold(*YOUNG)
            self._looked = mono
            return True
        since = mono - self._looked
        if since < AT_MOST_EVERY or (mono - self._typed < QUIET and since < AT_LEAST_EVERY):
            return False
        gc.collect()
        self._looked = mono
        return True
