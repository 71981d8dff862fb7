"""Incidents: opened by what fails, one for each component, and closed by people."""

from __future__ import annotations

from typing import Any

import pytest

from opsdash.model.incident import EntryKind, IncidentKind, IncidentState
from opsdash.model.inputs import (
    AckIntent,
    CancelIncidentIntent,
    Intent,
    Loaded,
    NoteIntent,
    OpenIncidentIntent,
    Overdue,
    PauseIntent,
    ResolveIntent,
)
from opsdash.model.operation import Tier
from opsdash.model.records import IncidentJoined, IncidentNoted, IncidentOpened
from opsdash.model.status import Status
from opsdash.model.switch import Refused
from opsdash.testing import Timeline, component, failure, operation

A, B = "shop/a", "shop/b"


def shop(tier: Tier = Tier.ESSENTIAL, **settings: Any) -> Timeline:
    """A shop with two failure modes: `slow-bank` for b with a reason, `no-bank` for b down."""
    failures = {"slow-bank": failure("slow-bank", f"{B}#slow"), "no-bank": failure("no-bank", B)}
    timeline = Timeline(
        operation(component("shop", title="Shop", tier=tier, checks=["a", "b"], failures=failures, **settings))
    )
    timeline.all_ok()
    return timeline


def rule(answer: Refused | str) -> str:
    assert isinstance(answer, Refused), f"accepted: {answer!r}"
    return answer.rule


def kind(timeline: Timeline) -> IncidentKind:
    found: IncidentKind = timeline.world.get("incidents", "INC-1").kind
    return found


def recovered(timeline: Timeline) -> bool:
    return timeline.world.get("incidents", "INC-1").recovered_at is not None


# --- opening ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tier", [Tier.ESSENTIAL, Tier.IMPORTANT])
def test_a_component_that_turns_down_opens_an_incident(tier: Tier) -> None:
    timeline = shop(tier)
    timeline.down(A, times=2)
    assert timeline.incident("shop") is None
    timeline.down(A)
    assert kind(timeline) is IncidentKind.FAILURE
    assert timeline.of(IncidentOpened)[0].title == "Shop is down: no answer"


def test_a_failure_mode_opens_one_while_the_component_is_only_degraded() -> None:
    timeline = shop()
    for _ in range(3):
        timeline.observe(B, "degraded", "slow")
    incident = timeline.incident("shop")
    assert incident is not None
    assert (incident.title, incident.failures) == ("Slow bank", ("slow-bank",))


def test_a_component_that_is_only_degraded_opens_none() -> None:
    timeline = shop()
    for _ in range(3):
        timeline.observe(A, "degraded", "slow")
    assert timeline.incident("shop") is None


def test_there_is_one_for_each_component_and_failure_modes_join_it() -> None:
    timeline = shop()
    timeline.down(A, times=3)
    timeline.down(B, times=3)
    assert len(timeline.of(IncidentOpened)) == 1
    assert [each.failure for each in timeline.of(IncidentJoined)] == ["no-bank"]
    incident = timeline.incident("shop")
    assert incident is not None
    assert incident.failures == ("no-bank",)


def test_a_droppable_component_opens_a_note() -> None:
    timeline = shop(Tier.DROPPABLE)
    timeline.down(A, B, times=3)
    assert kind(timeline) is IncidentKind.NOTE


def test_numbers_go_on_after_a_start() -> None:
    timeline = shop()
    timeline.down(A, times=3)
    timeline.ok(A, times=2)
    timeline.want(ResolveIntent("INC-1"))
    later = timeline.crash()
    later.all_ok()
    later.down(A, times=3)
    assert [each.incident for each in later.of(IncidentOpened)] == ["INC-1", "INC-2"]


def test_a_start_opens_no_second_incident_for_what_is_down_already() -> None:
    timeline = shop()
    timeline.down(A, times=3)
    later = timeline.crash()
    later.down(A, times=3)
    assert len(later.of(IncidentOpened)) == 1


# --- blind -----------------------------------------------------------------------------------------------------------


def test_five_minutes_of_unknown_open_one() -> None:
    timeline = shop()
    timeline.unknown(A, times=2)
    timeline.advance(299)
    assert timeline.incident("shop") is None
    timeline.advance(1)
    assert kind(timeline) is IncidentKind.BLIND


def test_four_minutes_of_unknown_open_none() -> None:
    timeline = shop()
    timeline.unknown(A, times=2)
    timeline.advance(240)
    timeline.ok(A)
    timeline.advance(600)
    assert timeline.incident("shop") is None


def test_that_no_results_come_is_being_blind_too() -> None:
    timeline = shop()
    timeline.feed(Overdue(A))
    timeline.advance(301)
    assert kind(timeline) is IncidentKind.BLIND


def test_a_droppable_component_a_paused_one_and_one_that_is_starting_are_not_missed() -> None:
    droppable = shop(Tier.DROPPABLE)
    droppable.unknown(A, times=2)
    paused = shop()
    paused.unknown(A, times=2)
    paused.want(PauseIntent("shop", 3600.0))
    starting = shop().crash()
    for timeline in (droppable, paused, starting):
        timeline.advance(600)
        assert timeline.incident("shop") is None


def test_what_began_as_being_blind_becomes_a_failure_when_it_really_is_one() -> None:
    timeline = shop()
    timeline.unknown(A, times=2)
    timeline.advance(301)
    timeline.down(A, times=3)
    assert kind(timeline) is IncidentKind.FAILURE
    assert len(timeline.of(IncidentOpened)) == 1
    timeline.down(A, times=3)
    assert len(timeline.of(IncidentJoined)) == 1, "it becomes one once"
    timeline.check_replay()


def test_a_failure_stays_one_while_nobody_can_look() -> None:
    timeline = shop()
    timeline.down(A, times=3)
    timeline.unknown(A, times=2)
    assert not recovered(timeline)
    timeline.advance(301)
    assert len(timeline.of(IncidentOpened)) == 1
    timeline.ok(A, times=2)
    assert recovered(timeline)


# --- over ------------------------------------------------------------------------------------------------------------


def test_it_is_resolved_by_itself_and_closed_by_a_person() -> None:
    timeline = shop()
    timeline.down(A, times=3)
    timeline.ok(A, times=2)
    assert recovered(timeline)
    assert timeline.incident("shop") is None, "nothing is left to do but to close it"
    assert timeline.world.get("incidents", "INC-1").state is IncidentState.RESOLVED
    assert timeline.want(ResolveIntent("INC-1", "the bank is back"), who="ken") == ""
    closed = timeline.world.get("incidents", "INC-1")
    assert (closed.resolved_by, closed.closed_by) == ("opsdash", "ken")
    assert closed.entries[-1].text == "closed: the bank is back"


def test_while_a_failure_mode_is_active_it_has_not_recovered() -> None:
    timeline = shop()
    timeline.down(A, B, times=3)
    timeline.ok(A, times=2)
    assert not recovered(timeline)


def test_when_it_fails_again_within_the_hour_it_is_the_same_incident() -> None:
    timeline = shop()
    timeline.down(A, times=3)
    timeline.ok(A, times=2)
    timeline.advance(3500)
    timeline.down(A, times=3)
    assert not recovered(timeline)
    assert timeline.world.get("incidents", "INC-1").reopened == 1
    assert len(timeline.of(IncidentOpened)) == 1


def test_when_it_fails_again_after_an_hour_or_after_it_was_closed_it_is_another_one() -> None:
    for close in (False, True):
        timeline = shop()
        timeline.down(A, times=3)
        timeline.ok(A, times=2)
        if close:
            timeline.want(ResolveIntent("INC-1"))
        else:
            timeline.advance(3700)
        timeline.down(A, times=3)
        assert [each.incident for each in timeline.of(IncidentOpened)] == ["INC-1", "INC-2"]


def test_a_failure_mode_that_comes_back_does_not_join_twice() -> None:
    timeline = shop()
    for _ in range(2):
        timeline.down(B, times=3)
        timeline.ok(B, times=2)
    assert timeline.world.get("incidents", "INC-1").failures == ("no-bank",)


@pytest.mark.parametrize("check", [A, B])
def test_it_cannot_be_resolved_while_it_is_still_failing(check: str) -> None:
    timeline = shop()
    timeline.down(check, times=3)
    assert rule(timeline.want(ResolveIntent("INC-1"))) == "still_failing"
    assert timeline.incident("shop") is not None


def test_one_opened_by_hand_does_not_recover_by_itself_and_cannot_be_resolved_while_its_component_is_down() -> None:
    timeline = shop()
    assert timeline.want(OpenIncidentIntent("shop", "customers see the wrong prices")) == "INC-1"
    timeline.down(A, times=3)
    assert rule(timeline.want(ResolveIntent("INC-1"))) == "still_failing"
    timeline.ok(A, times=2)
    assert not recovered(timeline)
    assert timeline.want(ResolveIntent("INC-1")) == ""
    assert timeline.incident("shop") is None


def test_an_incident_of_a_component_that_left_the_files_can_be_resolved() -> None:
    timeline = shop()
    timeline.down(B, times=3)
    timeline.feed(Loaded(operation(sha256="empty")))
    assert timeline.draft().component("shop") is not None, "it is held by its incident"
    assert timeline.want(ResolveIntent("INC-1")) == ""


def test_resolved_incidents_are_forgotten_by_a_start_a_week_later() -> None:
    timeline = shop()
    timeline.down(A, times=3)
    timeline.ok(A, times=2)
    timeline.want(ResolveIntent("INC-1"))
    assert timeline.crash(seconds=6 * 86400).world.get("incidents", "INC-1") is not None
    assert timeline.crash(seconds=8 * 86400).world.get("incidents", "INC-1") is None


# --- people ----------------------------------------------------------------------------------------------------------


def test_somebody_acknowledges_it_and_a_second_one_learns_who() -> None:
    timeline = shop()
    timeline.down(A, times=3)
    assert timeline.want(AckIntent("INC-1"), who="maria") == ""
    refused = timeline.want(AckIntent("INC-1"), who="ken")
    assert isinstance(refused, Refused)
    assert "maria" in refused.reason


def test_notes_go_into_its_timeline() -> None:
    timeline = shop()
    timeline.down(A, times=3)
    timeline.want(NoteIntent("INC-1", "  called the bank "), who="ken")
    assert [(each.who, each.text) for each in timeline.of(IncidentNoted)] == [("ken", "called the bank")]
    incident = timeline.incident("shop")
    assert incident is not None
    assert [entry.kind for entry in incident.entries] == [EntryKind.DETECTED, EntryKind.NOTE]


@pytest.mark.parametrize(
    ("intent", "expected"),
    [
        (NoteIntent("INC-1", "  "), "empty"),
        (NoteIntent("INC-7", "hello"), "unknown_incident"),
        (AckIntent("INC-7"), "unknown_incident"),
        (ResolveIntent("INC-7"), "unknown_incident"),
        (OpenIncidentIntent("shop", "again"), "open"),
        (OpenIncidentIntent("fax", "no paper"), "unknown_component"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_reason(intent: Intent, expected: str) -> None:
    timeline = shop()
    timeline.down(A, times=3)
    assert rule(timeline.want(intent)) == expected


def test_a_closed_incident_takes_corrections_and_nothing_else() -> None:
    timeline = shop()
    timeline.want(OpenIncidentIntent("shop", "a rumour"))
    timeline.want(ResolveIntent("INC-1"))
    for intent in (AckIntent("INC-1"), ResolveIntent("INC-1"), CancelIncidentIntent("INC-1", "it was none")):
        assert rule(timeline.want(intent)) == "closed"
    assert timeline.want(NoteIntent("INC-1", "the bank has written to us")) == ""
    assert rule(timeline.want(OpenIncidentIntent("shop", " "))) == "empty"
    assert timeline.status("shop") == Status.OK.value
