"""What the report on couplings leaves out: what was made to fail on purpose says nothing of chance."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from opsdash.engine.coupled import drill_times
from opsdash.model.status import Status
from opsdash.storage.codec import encode
from opsdash.storage.memory import MemoryJournal
from opsdash.testing import component, email, mail_outside, operation
from opsdash.testing_drills import DrillTimeline, Faults, drill, with_drills


def timeline() -> DrillTimeline:
    """A drill that has begun."""
    parts = operation(email(), component("crm", checks=["api"]))
    found = DrillTimeline(
        with_drills(parts, drill("once")), outside=mail_outside(), faults=Faults({"email/postmark/api": Status.DOWN})
    )
    found.live_on(15)
    assert found.begin("once") == "DRILL-1"
    return found


def times_of(story: DrillTimeline) -> list[tuple[float, float]]:
    journal = MemoryJournal()
    journal.append([encode(record) for record in story.records], datetime(2026, 11, 23, tzinfo=UTC))
    return drill_times(lambda types: journal.entries(types=types))


def test_the_time_of_a_drill_and_the_minute_after_it_are_known() -> None:
    story = timeline()
    began = story.clock.wall
    run = story.until_ended("once")
    assert run.ended_at is not None
    assert times_of(story) == [(began, run.ended_at + 60.0)]


def test_a_drill_that_goes_on_has_no_end_yet() -> None:
    story = timeline()
    assert times_of(story) == [(story.clock.wall, math.inf)]
