"""Latencies of the latest runs of every check, for the small charts of the board; lost with the process.

A chart has no axis of time, so it must not bridge one in which nothing was measured: after a gap it begins anew.

They are kept in four bytes each: a thousand checks would otherwise hold two megabytes of numbers.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

RUNS = 60

_NONE = math.nan


class Sparks(Mapping[str, Sequence[float | None]]):
    """By check, oldest first: milliseconds, None for a run that failed."""

    def __init__(self) -> None:
        self._of: dict[str, array[float]] = {}
        self._good_until: dict[str, float] = {}

    def add(self, check: str, milliseconds: float | None, *, at: float, good_until: float) -> None:
        """One more run. at: when it ended; good_until: when the next one has to have, by the same clock."""
        runs = self._of.get(check)
        if at > self._good_until.get(check, at):
            runs = None
        self._good_until[check] = good_until
        if runs is None:
            runs = self._of[check] = array("f")
        elif len(runs) >= RUNS:
            del runs[0]
        runs.append(_NONE if milliseconds is None else milliseconds)

    def keep(self, checks: Collection[str]) -> None:
        """Forget all checks but these."""
        for check in self._of.keys() - set(checks):
            del self._of[check]
            self._good_until.pop(check, None)

    def clear(self) -> None:
        """Begin all of them anew: nobody knows how much time has passed."""
        self._of.clear()
        self._good_until.clear()

    def __getitem__(self, check: str) -> list[float | None]:
        return [None if math.isnan(each) else round(each, 3) for each in self._of[check]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._of)

    def __len__(self) -> int:
        return len(self._of)
