"""The engine is killed after each single record of a switch; another one goes on: it observes, and never acts again.

Each boundary is tried twice: as if the action that the records announce had been carried out, and as if not.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from opsdash.model.effects import Apply
from opsdash.model.inputs import Loaded, Started, UndoIntent
from opsdash.model.records import Record, SwitchAdvanced, SwitchEnded, SwitchIntended
from opsdash.model.status import Status
from opsdash.model.switch import SwitchState
from opsdash.testing import Outside, Timeline, email, mail_outside, mail_switch, operation

FRONT = "email/delivery"
PRIMARY = "email/postmark/api"


def failed_over(**settings: Any) -> Timeline:
    timeline = Timeline(operation(email(**settings)), outside=mail_outside())
    timeline.advance(1)
    timeline.all_ok()
    timeline.down(PRIMARY, times=3)
    timeline.confirm("email")
    timeline.advance(10)
    assert timeline.switch("email").state is SwitchState.COMMITTED
    return timeline


def undone() -> Timeline:
    """A failover that nobody could verify, and its undoing."""
    outside = mail_outside(status={FRONT: Status.UNKNOWN})
    timeline = Timeline(operation(email()), outside=outside)
    timeline.advance(1)
    timeline.ok("email/ses/api", PRIMARY)
    timeline.confirm("email")
    timeline.advance(40)
    assert timeline.switch("email").state is SwitchState.UNKNOWN
    outside.status.clear()
    timeline.want(UndoIntent("email"))
    timeline.advance(10)
    assert timeline.switch("email").state is SwitchState.UNDONE
    return timeline


FAILOVER = failed_over()
FAILOVER_BY_MEMORY = failed_over(switch=mail_switch(read=None))
UNDO = undone()


def boundaries(timeline: Timeline, *, since: int = 0) -> list[int]:
    """How many records each prefix has: from the intent on, one more at a time."""
    first = next(n for n, record in enumerate(timeline.records) if isinstance(record, SwitchIntended))
    return list(range(max(first, since), len(timeline.records) + 1))


def begun(records: list[Record], state: SwitchState) -> bool:
    return any(isinstance(record, SwitchAdvanced) and record.state is state for record in records)


def killed(timeline: Timeline, after: int, outside: Outside) -> Timeline:
    """The engine after it: its outside answers, and its checks have run once."""
    later = timeline.crash(after, outside=outside)
    later.advance(0.5)
    later.all_ok()
    return later


def resting(state: SwitchState) -> bool:
    return state in {SwitchState.COMMITTED, SwitchState.ABORTED, SwitchState.UNDONE, SwitchState.NO_EFFECT}


@pytest.mark.parametrize("fired", [False, True])
@pytest.mark.parametrize("after", boundaries(FAILOVER))
def test_a_failover_cut_short_is_observed_to_its_true_end(after: int, *, fired: bool) -> None:
    kept = FAILOVER.records[:after]
    intended = any(isinstance(record, SwitchIntended) for record in kept)
    acting = begun(kept, SwitchState.ACTING)
    answered = begun(kept, SwitchState.SETTLING)
    carried_out = acting and (fired or answered)
    outside = mail_outside(says={"email/switch": "ses-eu" if carried_out else "pm-prod"})
    later = killed(FAILOVER, after, outside)
    later.advance(60)

    assert outside.applied == [], "nothing is fired twice"
    assert later.state("email").active == ("ses" if carried_out else "postmark")
    if intended:
        expected = SwitchState.COMMITTED if carried_out else SwitchState.NO_EFFECT if acting else SwitchState.ABORTED
        assert later.switch("email").state is expected
        ended = any(isinstance(record, SwitchEnded) for record in kept)
        assert later.switch("email").in_doubt is (acting and not ended)
    else:
        assert later.world.keys("switches") == []
    later.check_replay()


@pytest.mark.parametrize("fired", [False, True])
@pytest.mark.parametrize("after", boundaries(FAILOVER_BY_MEMORY))
def test_without_a_mechanism_that_can_be_read_the_front_door_tells(after: int, *, fired: bool) -> None:
    kept = FAILOVER_BY_MEMORY.records[:after]
    acting, answered = begun(kept, SwitchState.ACTING), begun(kept, SwitchState.SETTLING)
    carried_out = acting and (fired or answered)
    outside = mail_outside(says={"email/switch": "ses-eu" if carried_out else "pm-prod"})
    later = killed(FAILOVER_BY_MEMORY, after, outside)
    later.advance(60)
    assert outside.applied == []
    assert later.state("email").active == ("ses" if carried_out else "postmark")
    if later.world.keys("switches"):
        assert resting(later.switch("email").state)
    later.check_replay()


@pytest.mark.parametrize("fired", [False, True])
@pytest.mark.parametrize(
    "after", [each for each in boundaries(UNDO) if begun(UNDO.records[:each], SwitchState.UNDOING)]
)
def test_an_undo_cut_short_is_observed_and_not_fired_again(after: int, *, fired: bool) -> None:
    kept = UNDO.records[:after]
    undoing = next(
        n for n, each in enumerate(kept) if isinstance(each, SwitchAdvanced) and each.state is SwitchState.UNDOING
    )
    carried_out = fired or begun(kept[undoing:], SwitchState.SETTLING)
    outside = mail_outside(says={"email/switch": "pm-prod" if carried_out else "ses-eu"})
    later = killed(UNDO, after, outside)
    later.advance(60)
    assert outside.applied == []
    assert later.switch("email").state is (SwitchState.UNDONE if carried_out else SwitchState.NEEDS_HUMAN)
    assert later.state("email").active == ("postmark" if carried_out else "ses")
    later.check_replay()


@pytest.mark.parametrize("after", boundaries(FAILOVER))
def test_killed_again_and_again_it_still_ends_well_and_fires_nothing(after: int) -> None:
    outside = mail_outside(says={"email/switch": "ses-eu"})
    later = killed(FAILOVER, after, outside)
    for seconds in (0.0, 1.0, 2.1):
        later.advance(seconds)
        later = later.crash()
        later.advance(0.5)
        later.all_ok()
    later.advance(60)
    assert outside.applied == []
    if later.world.keys("switches"):
        assert resting(later.switch("email").state)
    assert later.state("email").active == "ses"


def test_what_was_in_doubt_is_observed_for_two_seconds_at_least() -> None:
    timeline = Timeline(operation(email(switch=mail_switch(settle=0.0))))
    timeline.read("email", "pm-prod")
    timeline.all_ok()
    timeline.confirm("email")
    timeline.read("email", "pm-prod")
    later = timeline.crash()
    later.advance(1.9)
    assert later.switch("email").state is SwitchState.SETTLING
    later.advance(0.2)
    assert later.switch("email").state is SwitchState.VERIFYING


def test_what_was_in_doubt_and_cannot_be_measured_is_unknown_and_needs_a_person() -> None:
    timeline = Timeline(operation(email()))
    timeline.read("email", "pm-prod")
    timeline.all_ok()
    timeline.confirm("email")
    timeline.read("email", "pm-prod")
    later = timeline.crash()
    later.advance(60)
    assert later.switch("email").state is SwitchState.UNKNOWN
    assert later.wanted(Apply) == []
    assert "in doubt" in later.switch("email").detail


def test_a_reading_that_comes_in_before_the_engine_has_started_begins_nothing() -> None:
    timeline = Timeline(operation(email()))
    timeline.read("email", "pm-prod")
    timeline.all_ok()
    timeline.confirm("email")
    later = timeline.crash()
    fresh = Timeline(operation())
    fresh.world.tables = {name: dict(rows) for name, rows in timeline.world.tables.items()}
    fresh.feed(Loaded(operation(email())))
    fresh.read("email", "pm-prod")
    fresh.feed(Started("test", 2))
    for each in (later, fresh):
        assert each.wanted(Apply) == []
        assert each.switch("email").state is SwitchState.ABORTED


def test_an_answer_of_the_engine_that_died_is_not_taken_for_one_of_this() -> None:
    timeline = Timeline(operation(email()))
    timeline.read("email", "pm-prod")
    timeline.all_ok()
    timeline.confirm("email")
    timeline.read("email", "pm-prod")
    later = timeline.crash()
    later.effects += timeline.wanted(Apply)
    later.applied("refused")
    assert later.switch("email").state is SwitchState.SETTLING


def test_the_definition_that_has_changed_since_the_crash_does_not_change_the_plan() -> None:
    timeline = Timeline(operation(email(switch=mail_switch(deadline=120.0))))
    timeline.read("email", "pm-prod")
    timeline.all_ok()
    timeline.confirm("email")
    timeline.read("email", "pm-prod")
    timeline.world.operation = replace(operation(email(switch=mail_switch(deadline=1.0))), sha256="changed")
    later = timeline.crash()
    later.advance(60)
    assert later.switch("email").state is SwitchState.VERIFYING
