"""One result of one check, as the engine hands it to the core and keeps it in history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from opsdash.model.empty import nothing
from opsdash.model.status import Reason, Status


@dataclass(frozen=True, slots=True)
class Observation:
    """What one run found, after the author's expectations.

    check: the check's id.  detail: one sanitised line.  latency: seconds, or None.
    requested, finished: seconds on the monotonic clock when the run began and ended; after an action only what was
        requested later counts.
    at: when it finished, in seconds since 1970 UTC.
    due: monotonic seconds at which the next run is due; the observation is fresh until then plus two intervals.
    facts: extracted by the check's `facts`; made_at: the time that the answer itself names, where one is declared.
    phases: seconds by phase.
    """

    check: str
    status: Status
    reason: Reason | None
    detail: str
    latency: float | None
    requested: float
    finished: float
    at: float
    due: float
    facts: Mapping[str, Any] = field(default_factory=nothing)
    phases: Mapping[str, float] = field(default_factory=nothing)
    retry_after: float | None = None
