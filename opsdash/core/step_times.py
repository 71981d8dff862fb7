"""How long a step usually takes, beside what its author thought."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from opsdash.core.figures import nearest_rank

if TYPE_CHECKING:
    from opsdash.model.run import StepTimes

ENOUGH = 3
"""Times from which something usual can be told."""


class Usual(NamedTuple):
    """Seconds: half of the times were within `median`, nine of ten within `p90`. runs: of so many runs."""

    median: float
    p90: float
    runs: int


def usual(times: StepTimes | None, sha256: str) -> Usual | None:
    """What is usual for a step of this text, None where too little is known."""
    if times is None or times.sha256 != sha256 or len(times.seconds) < ENOUGH:
        return None
    ordered = sorted(times.seconds)
    return Usual(nearest_rank(ordered, 0.5), nearest_rank(ordered, 0.9), len(ordered))
