"""The outcome of a switch as a table of four facts, and its states as a table of events."""

from __future__ import annotations

from itertools import product

import pytest

from opsdash.core.outcomes import (
    LIVE_STATES,
    TRANSITIONS,
    UNDECIDED,
    SwitchEvent,
    follow,
    mermaid,
    outcome,
)
from opsdash.model.switch import Fact, FactName, SwitchState, Truth

T, F, U, N, S = Truth.TRUE, Truth.FALSE, Truth.UNKNOWN, Truth.UNDECLARED, Truth.STATELESS
E = SwitchEvent


def judged(*truths: Truth) -> SwitchEvent:
    return outcome(Fact(name, truth) for name, truth in zip(FactName, truths, strict=True))


@pytest.mark.parametrize(
    ("mechanism", "front_door", "old_out", "features", "expected"),
    [
        # the old side still serves, while mechanism or front door say the new one
        (T, T, F, T, E.BOTH_SERVE),
        (T, U, F, T, E.BOTH_SERVE),
        (F, T, F, F, E.BOTH_SERVE),
        (N, T, F, U, E.BOTH_SERVE),
        # the mechanism says the old one, the front door the new one
        (F, T, T, T, E.BOTH_SERVE),
        (F, T, N, U, E.BOTH_SERVE),
        # something cannot be measured
        (U, T, T, T, E.CANNOT_TELL),
        (T, U, T, T, E.CANNOT_TELL),
        (T, T, U, T, E.CANNOT_TELL),
        (T, T, T, U, E.CANNOT_TELL),
        (F, U, F, F, E.CANNOT_TELL),
        (T, F, U, T, E.CANNOT_TELL),
        # something is plainly false
        (F, F, F, F, E.WITHOUT_EFFECT),
        (T, F, T, T, E.WITHOUT_EFFECT),
        (F, F, T, T, E.WITHOUT_EFFECT),
        (T, T, T, F, E.WITHOUT_EFFECT),
        (F, N, N, N, E.WITHOUT_EFFECT),
        (N, N, N, F, E.WITHOUT_EFFECT),
        # all is true, and somebody who can know says so
        (T, T, T, T, E.VERIFIED),
        (T, T, S, T, E.VERIFIED),
        (T, N, S, N, E.VERIFIED),
        (N, T, N, N, E.VERIFIED),
        (T, N, T, T, E.VERIFIED),
        # nobody who can know was asked
        (N, N, N, T, E.CANNOT_TELL),
        (N, N, T, T, E.CANNOT_TELL),
        (N, N, S, N, E.CANNOT_TELL),
    ],
)
def test_the_outcome_follows_from_the_facts(
    mechanism: Truth, front_door: Truth, old_out: Truth, features: Truth, expected: SwitchEvent
) -> None:
    assert judged(mechanism, front_door, old_out, features) is expected


def test_every_combination_of_facts_follows_the_rules_in_their_order() -> None:
    for truths in product((T, F, U, N), (T, F, U, N), (T, F, U, N, S), (T, F, U, N)):
        a, b, c, d = truths
        counted = [truth for truth in truths if truth not in (N, S)]
        if (c is F and T in (a, b)) or (a is F and b is T):
            expected = E.BOTH_SERVE
        elif U in counted:
            expected = E.CANNOT_TELL
        elif F in (a, b, d):
            expected = E.WITHOUT_EFFECT
        elif T in (a, b) and all(truth is T for truth in counted):
            expected = E.VERIFIED
        else:
            expected = E.CANNOT_TELL
        assert judged(*truths) is expected, truths


def test_what_is_committed_was_never_contradicted_and_never_unknown() -> None:
    for truths in product((T, F, U, N), (T, F, U, N), (T, F, U, N, S), (T, F, U, N)):
        if judged(*truths) is E.VERIFIED:
            assert F not in truths
            assert U not in truths


# --- states ----------------------------------------------------------------------------------------------------------


def test_every_state_is_in_the_table() -> None:
    assert set(TRANSITIONS) == set(SwitchState)
    assert {after for events in TRANSITIONS.values() for after in events.values()} <= set(SwitchState)


@pytest.mark.parametrize("state", sorted(LIVE_STATES | UNDECIDED))
def test_out_of_every_state_that_is_not_an_end_there_is_a_way(state: SwitchState) -> None:
    reached, edge = {state}, {state}
    while edge:
        edge = {after for each in edge for after in TRANSITIONS[each].values()} - reached
        reached |= edge
    assert reached & {each for each, events in TRANSITIONS.items() if not events}


@pytest.mark.parametrize("state", sorted(LIVE_STATES))
def test_every_state_in_flight_knows_what_to_do_when_the_engine_dies(state: SwitchState) -> None:
    after = follow(state, E.ENGINE_DIED)
    assert after is (SwitchState.ABORTED if state is SwitchState.INTENT else SwitchState.SETTLING)


@pytest.mark.parametrize("state", sorted(UNDECIDED))
def test_out_of_an_open_state_a_person_leads_by_undoing_settling_or_taking_over(state: SwitchState) -> None:
    assert follow(state, E.UNDO) is SwitchState.UNDOING
    assert follow(state, E.TAKE_OVER) is SwitchState.SETTLING
    assert follow(state, E.STATE_COMMITTED) is SwitchState.COMMITTED
    assert follow(state, E.STATE_ABORTED) is SwitchState.ABORTED
    assert follow(state, E.STATE_UNDONE) is SwitchState.UNDONE


def test_nothing_is_fired_twice_acting_is_entered_from_the_intent_and_after_a_step_alone() -> None:
    ways = {
        (state, event)
        for state, events in TRANSITIONS.items()
        for event, after in events.items()
        if after in (SwitchState.ACTING, SwitchState.FENCING)
    }
    assert ways == {
        (SwitchState.INTENT, E.EXPECTED),
        (SwitchState.INTENT, E.STEP_BEFORE),
        (SwitchState.VERIFYING, E.STEP_BEFORE),
        (SwitchState.VERIFYING, E.STEP_DONE),
    }
    undone_by = {
        event for events in TRANSITIONS.values() for event, after in events.items() if after is SwitchState.UNDOING
    }
    assert undone_by == {E.UNDO, E.NEXT_UNDO, E.ROLLED_BACK}


def test_every_event_has_a_place_in_the_table() -> None:
    assert {event for events in TRANSITIONS.values() for event in events} == set(SwitchEvent)


def test_no_outcome_of_the_facts_is_without_an_answer_while_verifying() -> None:
    for truths in product((T, F, U, N), (T, F, U, N), (T, F, U, N, S), (T, F, U, N)):
        assert follow(SwitchState.VERIFYING, judged(*truths)) is not None


def test_the_diagram_shows_every_transition() -> None:
    diagram = mermaid()
    for state, events in TRANSITIONS.items():
        for event, after in events.items():
            assert f"{state.value} --> {after.value}: {event.value}" in diagram
