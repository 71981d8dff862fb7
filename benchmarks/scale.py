"""How much of everything is measured."""

from __future__ import annotations

from dataclasses import dataclass

LONGER = 6


@dataclass(frozen=True, slots=True)
class Scale:
    """Short by default. `repeats`: of a comparison, None for as many as it takes by default."""

    long: bool = False
    repeats: int | None = None
    https: bool = False

    def window(self, seconds: float) -> float:
        """The length of a window that is `seconds` in the short form."""
        return seconds * LONGER if self.long else seconds

    def times(self, number: int) -> int:
        """How often something is repeated that is so `number` times in the short form."""
        return number * LONGER if self.long else number
