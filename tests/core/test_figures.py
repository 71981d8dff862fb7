"""The figures of incidents: each measures what its definition says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from opsdash.core.figures import DEFINITIONS, Distribution, distribution, figures, over
from opsdash.core.incident_views import incident_view
from opsdash.model.incident import Incident, IncidentKind

if TYPE_CHECKING:
    from opsdash.model.views import IncidentView


def incident(name: str = "INC-1", **known: object) -> IncidentView:
    made: dict[str, object] = {"id": name, "component": "shop", "kind": IncidentKind.FAILURE, "title": "down"}
    return incident_view(Incident(**{**made, "opened_at": 1010.0, **known}))  # type: ignore[arg-type]


def test_the_times_of_an_incident_are_those_of_its_definitions() -> None:
    found = figures(
        incident(began=1000.0, acknowledged_by="ken", acknowledged_at=1070.0, recovered_at=1300.0, resolved_at=1900.0)
    )
    assert (found.detect, found.acknowledge, found.mitigate, found.resolve, found.exposure) == (10, 60, 300, 900, 600)
    assert set(DEFINITIONS) == {"detect", "acknowledge", "mitigate", "resolve", "exposure"}


def test_what_has_not_come_is_not_counted() -> None:
    found = figures(incident())
    assert [found[name] for name in DEFINITIONS] == [None] * 5


def test_an_exposure_that_lasts_is_counted_until_now() -> None:
    assert figures(incident(recovered_at=1300.0), now=1360.0).exposure == 60.0
    assert figures(incident(recovered_at=1300.0)).exposure is None


def test_a_beginning_that_is_not_known_makes_no_time_to_detect() -> None:
    """An incident that a person has opened was not detected by anything."""
    assert figures(incident(kind=IncidentKind.MANUAL, recovered_at=1300.0)).detect is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], Distribution(0, None, None)),
        ([7.0], Distribution(1, 7.0, 7.0)),
        ([4.0, 1.0], Distribution(2, 1.0, 4.0)),
        ([float(value) for value in range(1, 11)], Distribution(10, 5.0, 9.0)),
        ([float(value) for value in range(1, 12)], Distribution(11, 6.0, 10.0)),
    ],
)
def test_medians_and_percentiles_are_values_that_occurred(values: list[float], expected: Distribution) -> None:
    assert distribution(values) == expected


def test_drills_notes_and_what_was_none_are_left_out_of_a_period() -> None:
    found = over(
        [
            incident("INC-1", began=1000.0, recovered_at=1100.0),
            incident("INC-2", kind=IncidentKind.MANUAL, recovered_at=3000.0),
            incident("INC-3", drill=True, recovered_at=9000.0),
            incident("INC-4", cancelled_at=1011.0, cancelled_by="ken"),
            incident("INC-5", kind=IncidentKind.NOTE),
            incident("INC-6", opened_at=50.0),
        ],
        1000.0,
        2000.0,
        lambda each: 300.0 if each["id"] in ("INC-1", "INC-2") else None,
    )
    assert (found.incidents, found.drills, found.cancelled, found.found_by_check) == (2, 1, 1, 1)
    assert (found.with_rto, found.within_rto) == (2, 1)
    assert found.times["mitigate"] == Distribution(2, 100.0, 1990.0)
