"""The states of a drill's run: a table, each state and event of which is tried."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from opsdash.core.drill_going import GOES_ON
from opsdash.core.drill_moves import BEGINS, advance, end
from opsdash.core.drill_states import TRANSITIONS, DrillEvent, after, mermaid
from opsdash.core.evolve import evolve
from opsdash.core.evolve_drills import SIGHTS
from opsdash.model.drill import FAULT_MAY_BE_IN_PLACE, DrillRun, DrillState, Sight
from opsdash.model.records import DrillAdvanced, DrillEnded
from opsdash.testing import component, email, mail_outside, operation
from opsdash.testing_drills import DrillTimeline, Faults, drill, with_drills

if TYPE_CHECKING:
    from opsdash.core.draft import Draft

SILENT = Faults(silent={"arm", "inject", "undo", "load"})


def in_state(state: DrillState) -> DrillTimeline:
    """A drill that has come to a state, with a guard that says nothing by itself."""
    parts = with_drills(operation(email(), component("crm", checks=["api"])), drill())
    timeline = DrillTimeline(parts, outside=mail_outside(), faults=SILENT)
    timeline.live_on(15)
    timeline.begin("email-drill")
    way = {
        DrillState.INJECTING: [DrillEvent.ARMED],
        DrillState.RUNNING: [DrillEvent.ARMED, DrillEvent.INJECTED],
        DrillState.UNDOING: [DrillEvent.ARMED, DrillEvent.INJECTED, DrillEvent.SEEN],
        DrillState.RESTORING: [DrillEvent.ARMED, DrillEvent.INJECTED, DrillEvent.SEEN, DrillEvent.UNDONE],
    }
    for event in way.get(state, []):
        draft = timeline.draft()
        advance(draft, draft.get("drills", "DRILL-1"), event)
        apply(timeline, draft)
    if state is DrillState.ENDED:
        draft = timeline.draft()
        end(draft, draft.get("drills", "DRILL-1"), DrillEvent.CALLED_OFF)
        apply(timeline, draft)
    return timeline


def apply(timeline: DrillTimeline, draft: Draft) -> None:
    """What a draft has decided happens."""
    decision = draft.decision()
    for record in decision.records:
        timeline.world.apply(evolve(timeline.world, record))
    timeline.live.apply(decision.live_patch)


@pytest.mark.parametrize("state", DrillState)
@pytest.mark.parametrize("event", DrillEvent)
def test_each_event_leads_where_the_table_says_or_nowhere(state: DrillState, event: DrillEvent) -> None:
    timeline = in_state(state)
    draft = timeline.draft()
    run: DrillRun = draft.get("drills", "DRILL-1")
    assert run.state is state
    following = after(state, event)
    move = end if following is DrillState.ENDED else advance
    if following is None:
        with pytest.raises(ValueError, match="has no answer to"):
            move(draft, run, event)
        assert draft.records == []
        return
    move(draft, run, event)
    first = draft.records[0]
    assert isinstance(first, DrillEnded | DrillAdvanced), "the record comes first"
    assert (first.run.state if isinstance(first, DrillEnded) else first.state) is following


def test_every_state_has_its_row_can_be_reached_and_leads_to_the_end() -> None:
    assert set(TRANSITIONS) == set(BEGINS) == set(GOES_ON) == set(DrillState)
    reached = {following for events in TRANSITIONS.values() for following in events.values()}
    assert reached | {DrillState.ARMING} == set(DrillState)
    assert TRANSITIONS[DrillState.ENDED] == {}
    assert {event for events in TRANSITIONS.values() for event in events} == set(DrillEvent)


def test_nothing_leads_back_to_breaking_something() -> None:
    order = list(DrillState)
    for state, events in TRANSITIONS.items():
        assert all(order.index(following) >= order.index(state) for following in events.values())


def test_where_a_fault_may_be_in_place_the_engines_death_leads_to_undoing() -> None:
    for state in FAULT_MAY_BE_IN_PLACE:
        assert after(state, DrillEvent.ENGINE_DIED) is DrillState.UNDOING


def test_everything_that_can_be_seen_is_kept() -> None:
    assert set(SIGHTS) == set(Sight)


def test_the_diagram_shows_every_way() -> None:
    assert mermaid().count("-->") == sum(len(events) for events in TRANSITIONS.values()) + 2
