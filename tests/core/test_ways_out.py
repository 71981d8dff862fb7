"""Out of an unknown or split outcome a person leads: by undoing, by stating what happened, by looking again."""

from __future__ import annotations

from typing import Any

import pytest

from opsdash.core.ways_out import ways_out
from opsdash.model.effects import Apply
from opsdash.model.inputs import Intent, SettleIntent, TakeOverIntent, UndoIntent
from opsdash.model.records import Proved
from opsdash.model.status import Status
from opsdash.model.switch import Refused, SwitchState, Truth
from opsdash.testing import Timeline, email, mail_outside, mail_switch, operation

FRONT = "email/delivery"


def unclear(**settings: Any) -> Timeline:
    """A failover after which the front door does not say who answers; the mechanism says the backup."""
    outside = mail_outside()
    timeline = Timeline(operation(email(**settings)), outside=outside)
    timeline.advance(1)
    timeline.all_ok()
    outside.status[FRONT] = Status.UNKNOWN
    outside.facts.clear()
    timeline.confirm("email")
    timeline.advance(40)
    assert timeline.switch("email").state is SwitchState.UNKNOWN
    return timeline


def repaired(timeline: Timeline) -> None:
    """The front door says again who answers."""
    assert timeline.outside is not None
    timeline.outside.status.clear()
    timeline.outside.facts.update(mail_outside().facts)


def rule(answer: Refused | str) -> str:
    assert isinstance(answer, Refused), f"accepted: {answer!r}"
    return answer.rule


def state(timeline: Timeline) -> SwitchState:
    return timeline.switch("email").state


def test_what_can_be_done_is_said() -> None:
    timeline = unclear()
    assert ways_out(timeline.switch("email")) == ["undo", "settle", "take_over"]
    timeline.want(SettleIntent("email", SwitchState.COMMITTED, "the mail arrived"))
    assert ways_out(timeline.switch("email")) == []


# --- undo ------------------------------------------------------------------------------------------------------------


def test_undo_applies_the_action_with_its_ends_swapped_and_verifies_the_old_side() -> None:
    timeline = unclear()
    repaired(timeline)
    assert timeline.want(UndoIntent("email", "no mail"), who="ken") == "email-failover-1"
    assert state(timeline) is SwitchState.UNDOING
    undo = timeline.wanted(Apply)[-1]
    assert (undo.source, undo.target, undo.call.raw["value"]) == ("ses", "postmark", "pm-prod")
    assert (undo.action_id, undo.prior) == ("email-failover-1-undo-1", None)
    timeline.advance(10)
    assert state(timeline) is SwitchState.UNDONE
    found = timeline.state("email")
    assert (found.active, found.on_backup_since) == ("postmark", None)
    assert timeline.of(Proved) == [], "an undone switch proves nothing"
    timeline.check_replay()


def test_an_undo_that_cannot_be_verified_needs_a_human() -> None:
    timeline = unclear()
    timeline.want(UndoIntent("email"))
    timeline.advance(40)
    assert state(timeline) is SwitchState.NEEDS_HUMAN
    timeline.advance(31)
    assert timeline.state("email").active == "postmark", "the mechanism says so, whatever the front door says"


def test_an_undo_without_effect_leaves_the_new_side_serving() -> None:
    timeline = unclear()
    repaired(timeline)
    assert timeline.outside is not None
    timeline.outside.effective = False
    timeline.want(UndoIntent("email"))
    timeline.advance(40)
    assert state(timeline) is SwitchState.NEEDS_HUMAN
    assert timeline.state("email").active == "ses"


def test_an_undo_that_was_refused_needs_a_human() -> None:
    timeline = unclear()
    assert timeline.outside is not None
    timeline.outside.result = "refused"
    timeline.want(UndoIntent("email"))
    timeline.advance(1)
    assert state(timeline) is SwitchState.NEEDS_HUMAN
    assert ways_out(timeline.switch("email")) == ["undo", "settle", "take_over"]


def test_a_second_undo_is_another_action() -> None:
    timeline = unclear()
    timeline.want(UndoIntent("email"))
    timeline.advance(40)
    timeline.want(UndoIntent("email"))
    assert [apply.action_id for apply in timeline.wanted(Apply)[1:]] == [
        "email-failover-1-undo-1",
        "email-failover-1-undo-2",
    ]


def test_without_effect_it_can_be_undone_or_looked_at_again_and_the_next_switch_may_begin() -> None:
    timeline = Timeline(operation(email()), outside=mail_outside(effective=False))
    timeline.advance(1)
    timeline.all_ok()
    timeline.confirm("email")
    timeline.advance(40)
    assert state(timeline) is SwitchState.NO_EFFECT
    assert ways_out(timeline.switch("email")) == ["undo", "take_over"]
    assert timeline.confirm("email") == "email-failover-2"


def test_what_served_before_must_be_known_for_an_undo() -> None:
    outside = mail_outside(says={"email/switch": "nobody"})
    timeline = Timeline(operation(email()), outside=outside)
    timeline.advance(1)
    timeline.all_ok()
    timeline.confirm("email", target="ses")
    timeline.advance(1)
    outside.facts.clear()
    timeline.advance(40)
    assert state(timeline) is SwitchState.UNKNOWN
    assert ways_out(timeline.switch("email")) == ["settle", "take_over"]
    assert rule(timeline.want(UndoIntent("email"))) == "no_undo"


# --- settle ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stated", "active"),
    [(SwitchState.COMMITTED, "ses"), (SwitchState.ABORTED, "postmark"), (SwitchState.UNDONE, "postmark")],
)
def test_a_person_states_the_outcome_with_a_reason(stated: SwitchState, active: str) -> None:
    timeline = unclear(switch=mail_switch(read=None))
    assert timeline.state("email").active is None, "nobody can tell"
    assert timeline.want(SettleIntent("email", stated, "I looked"), who="ken") == "email-failover-1"
    assert (state(timeline), timeline.state("email").active) == (stated, active)
    assert timeline.switch("email").detail == "stated by ken: I looked"
    assert (timeline.state("email").on_backup_since is not None) is (active == "ses")
    assert timeline.of(Proved) == [], "a statement is no proof"
    timeline.check_replay()


def test_the_mechanism_corrects_a_statement_that_was_wrong() -> None:
    timeline = unclear()
    timeline.want(SettleIntent("email", SwitchState.ABORTED, "I believe so"))
    timeline.advance(1)
    assert timeline.state("email").active == "ses"


@pytest.mark.parametrize(
    ("intent", "expected"),
    [
        (SettleIntent("email", SwitchState.COMMITTED, "  "), "reason"),
        (SettleIntent("email", SwitchState.VERIFYING, "so"), "state"),
    ],
)
def test_a_statement_needs_a_reason_and_one_of_three_outcomes(intent: Intent, expected: str) -> None:
    assert rule(unclear().want(intent)) == expected


# --- take over -------------------------------------------------------------------------------------------------------


def test_taking_over_looks_again_and_fires_nothing() -> None:
    timeline = unclear()
    fired = len(timeline.wanted(Apply))
    repaired(timeline)
    assert timeline.want(TakeOverIntent("email"), who="ken") == "email-failover-1"
    assert state(timeline) is SwitchState.VERIFYING
    assert timeline.switch("email").ended_at is None
    timeline.advance(5)
    assert state(timeline) is SwitchState.COMMITTED
    assert len(timeline.wanted(Apply)) == fired
    timeline.check_replay()


def test_taking_over_an_undo_looks_for_the_old_side() -> None:
    timeline = unclear()
    timeline.want(UndoIntent("email"))
    timeline.advance(40)
    repaired(timeline)
    timeline.want(TakeOverIntent("email"))
    timeline.advance(5)
    assert state(timeline) is SwitchState.UNDONE


def test_what_was_measured_before_taking_over_does_not_count() -> None:
    timeline = unclear()
    repaired(timeline)
    timeline.want(TakeOverIntent("email"))
    facts = {fact.name: fact.truth for fact in timeline.switch("email").facts}
    assert Truth.TRUE in facts.values(), "the record keeps what was known"
    early = timeline.clock.mono - 1
    assert timeline.outside is not None
    timeline.outside = None
    for _ in range(3):
        timeline.observe(FRONT, facts={"provider": "ses-eu", "json.at": timeline.clock.wall}, requested=early)
    timeline.read("email", "ses-eu", requested=early)
    assert state(timeline) is SwitchState.VERIFYING


# --- nothing to lead out of ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "intent",
    [UndoIntent("email"), SettleIntent("email", SwitchState.COMMITTED, "so"), TakeOverIntent("email")],
)
def test_without_a_switch_or_after_its_end_there_is_nothing_to_lead_out_of(intent: Intent) -> None:
    timeline = Timeline(operation(email()), outside=mail_outside())
    timeline.advance(1)
    timeline.all_ok()
    assert rule(timeline.want(intent)) == "no_switch"
    timeline.confirm("email")
    timeline.advance(1)
    at_it = "alive" if isinstance(intent, TakeOverIntent) else "state"
    assert rule(timeline.want(intent)) == at_it, "opsdash is still at it"
    timeline.advance(10)
    assert state(timeline) is SwitchState.COMMITTED
    assert rule(timeline.want(intent)) == "state"


def test_an_undo_takes_back_only_what_is_still_ours() -> None:
    timeline = unclear()
    timeline.want(UndoIntent("email"))
    apply = timeline.wanted(Apply)[-1]
    assert (apply.expected, apply.call.raw["value"]) == ("ses-eu", "pm-prod")
