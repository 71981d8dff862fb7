"""Which components carry the mark of a drill: those that may fail because of it, as long as they do not really fail."""

from __future__ import annotations

from opsdash.core import drill_marks
from opsdash.core.draft import Draft
from opsdash.model.drill import Level, Responder
from opsdash.model.status import Reason, Status
from opsdash.testing import Timeline, component, email, mail_outside, operation
from opsdash.testing_drills import DrillTimeline, Faults, drill, with_drills
from tests.core.test_drill_runs import PRIMARY, D, office, outside_of, running


def marked(timeline: Timeline) -> frozenset[str]:
    return drill_marks.marked(Draft(timeline.world, timeline.live, timeline.clock()))


def test_before_and_after_a_drill_nothing_is_marked() -> None:
    timeline = office(drill())
    assert marked(timeline) == frozenset()
    timeline.begin(D)
    timeline.until_ended(D)
    assert marked(timeline) == frozenset()


def test_what_is_broken_and_what_depends_on_it_is_marked_and_nothing_else() -> None:
    parts = operation(
        email(), component("shop", checks=["api"], depends_on=("email",)), component("crm", checks=["api"])
    )
    breaks = Faults(breaks={PRIMARY: Status.DOWN})
    timeline = DrillTimeline(with_drills(parts, drill()), outside=mail_outside(), faults=breaks)
    timeline.live_on(15)
    timeline.begin(D)
    timeline.live_on(1)
    assert marked(timeline) == {"email", "shop"}


def test_what_really_fails_while_it_is_only_pretended_is_not_marked() -> None:
    timeline = running(drill(level=Level.SYNTHETIC, responder=Responder.PEOPLE))
    timeline.live_on(25)
    assert marked(timeline) == {"email"}
    outside_of(timeline).status[PRIMARY] = Status.DOWN
    timeline.observe(PRIMARY, Status.DOWN, Reason.REFUSED)
    assert "email" not in marked(timeline)
