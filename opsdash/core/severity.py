"""How bad an incident is: 1 (worst) to 4, from the tier of what fails and from how it fails.

    tier        down   failing, not down   not to be seen   without redundancy
    essential   1      2                   2                3
    important   2      3                   3                3
    droppable   4      4                   4                4

A failure mode may state another severity for itself. It only gets worse by itself, never better: what was bad has to be
reported as it was. Once a person has set it, it stays where it was set. (Running without redundancy is an incident of
its own weight: one more failure, and users notice. PagerDuty's severity levels put it at SEV-3 as well.)
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from opsdash.model.operation import Tier

if TYPE_CHECKING:
    from opsdash.model.incident import Incident
    from opsdash.model.operation import FailureMode

WORST, MILDEST = 1, 4

WORDS = {1: "critical", 2: "major", 3: "minor", 4: "note"}
"""What the numbers are called."""


class How(StrEnum):
    """In which way a component fails."""

    DOWN = "down"
    FAILING = "failing"
    BLIND = "blind"
    UNREDUNDANT = "without redundancy"


SEVERITIES: dict[tuple[Tier, How], int] = {
    (Tier.ESSENTIAL, How.DOWN): 1,
    (Tier.ESSENTIAL, How.FAILING): 2,
    (Tier.ESSENTIAL, How.BLIND): 2,
    (Tier.ESSENTIAL, How.UNREDUNDANT): 3,
    (Tier.IMPORTANT, How.DOWN): 2,
    (Tier.IMPORTANT, How.FAILING): 3,
    (Tier.IMPORTANT, How.BLIND): 3,
    (Tier.IMPORTANT, How.UNREDUNDANT): 3,
    (Tier.DROPPABLE, How.DOWN): 4,
    (Tier.DROPPABLE, How.FAILING): 4,
    (Tier.DROPPABLE, How.BLIND): 4,
    (Tier.DROPPABLE, How.UNREDUNDANT): 4,
}


def of(tier: Tier, how: How, failure: FailureMode | None = None) -> int:
    """The severity of a failure."""
    if failure is not None and failure.severity is not None:
        return failure.severity
    return SEVERITIES[tier, how]


def worse(incident: Incident, severity: int) -> int:
    """What the incident's severity becomes by another failure of it; 0 where it stays."""
    if incident.severity_by:
        return 0
    return severity if not incident.severity or severity < incident.severity else 0
