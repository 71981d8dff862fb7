"""The figures of incidents, each with its definition: a number without one flatters somebody.

An acknowledgement is something that a person does; silence, an expired pause or a muted alarm is none. Medians and 90th
percentiles are by nearest rank, always with the number of incidents that they come from: a mean of three is no figure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from opsdash.model.views import IncidentView

DEFINITIONS: Mapping[str, str] = {
    "detect": "from when it began (the first bad result, or what a person stated) to the incident's opening",
    "acknowledge": "from the incident's opening to the first acknowledgement by a person",
    "mitigate": "from when it began to when users were served again",
    "resolve": "from when it began to when redundancy was back",
    "exposure": "from when users were served again to when redundancy was back: the time without a backup",
}
"""What each figure measures, in seconds."""


@dataclass(frozen=True, slots=True)
class Figures:
    """The times of one incident, in seconds; None: it has not come to that."""

    detect: float | None
    acknowledge: float | None
    mitigate: float | None
    resolve: float | None
    exposure: float | None

    def __getitem__(self, name: str) -> float | None:
        found: float | None = getattr(self, name)
        return found


def figures(incident: IncidentView, now: float | None = None) -> Figures:
    """The times of an incident. With `now`, an exposure that lasts is counted until then."""
    opened = incident["opened_at"]
    began = opened if incident["began"] is None else incident["began"]
    mitigated, resolved = incident["mitigated_at"], incident["resolved_at"]
    until = resolved if resolved is not None else now
    return Figures(
        detect=None if incident["began"] is None else max(0.0, opened - began),
        acknowledge=_span(opened, incident["acknowledged_at"]),
        mitigate=_span(began, mitigated),
        resolve=_span(began, resolved),
        exposure=None if mitigated is None else _span(mitigated, until),
    )


def _span(start: float, end: float | None) -> float | None:
    return None if end is None else max(0.0, end - start)


@dataclass(frozen=True, slots=True)
class Distribution:
    """Of `n` values, the median and the 90th percentile by nearest rank, in seconds; None where there are none."""

    n: int
    median: float | None
    p90: float | None


@dataclass(frozen=True, slots=True)
class Period:
    """Incidents from `start` to `end`, drills left out.

    found_by_check: how many were opened by a check and not by a person.  within_rto: how many were mitigated within the
    promised time, of the `with_rto` that had one.
    """

    start: float
    end: float
    incidents: int
    drills: int
    cancelled: int
    found_by_check: int
    with_rto: int
    within_rto: int
    times: Mapping[str, Distribution]


def over(
    incidents: Iterable[IncidentView], start: float, end: float, rto: Callable[[IncidentView], float | None]
) -> Period:
    """The figures of all incidents that were opened in a period. rto: the promised seconds of an incident, if any."""
    found = [each for each in incidents if start <= each["opened_at"] < end and each["kind"] != "note"]
    counted = [each for each in found if not each["drill"] and each["state"] != "cancelled"]
    all_figures = [figures(each) for each in counted]
    promised = [(each, limit) for each in counted if (limit := rto(each)) is not None]
    return Period(
        start=start,
        end=end,
        incidents=len(counted),
        drills=sum(each["drill"] for each in found),
        cancelled=sum(each["state"] == "cancelled" for each in found),
        found_by_check=sum(each["kind"] != "manual" for each in counted),
        with_rto=len(promised),
        within_rto=sum((took := figures(each).mitigate) is not None and took <= limit for each, limit in promised),
        times={
            name: distribution([value for each in all_figures if (value := each[name]) is not None])
            for name in DEFINITIONS
        },
    )


def distribution(values: Sequence[float]) -> Distribution:
    """Median and 90th percentile by nearest rank."""
    ordered = sorted(values)
    if not ordered:
        return Distribution(0, None, None)
    return Distribution(len(ordered), nearest_rank(ordered, 0.5), nearest_rank(ordered, 0.9))


def nearest_rank(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of all, which are one or more, does not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
