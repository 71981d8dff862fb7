"""Records: each type changes the world by its own rule, is told in words, and survives being written down."""

from __future__ import annotations

from typing import get_args

import pytest

from opsdash.core.evolve import EVOLVE, evolve
from opsdash.core.telling import TELL, tell
from opsdash.model import records as r
from opsdash.model.incident import EntryKind
from opsdash.model.inputs import Beat, Stopping
from opsdash.model.operation import Absence
from opsdash.model.run import BlockResult, BlockState
from opsdash.model.switch import SwitchState
from opsdash.model.world import Heartbeat, World
from opsdash.testing import Timeline, check, component, email, mail_outside, operation

ABOUT_WHAT_IS_GONE: list[r.Record] = [
    r.IncidentJoined(1.0, "INC-404", "x", "X"),
    r.IncidentNoted(1.0, "INC-404", "maria", EntryKind.NOTE, "hello"),
    r.IncidentRecovered(1.0, "INC-404"),
    r.IncidentAcknowledged(1.0, "INC-404", "maria"),
    r.IncidentResolved(1.0, "INC-404", "maria"),
    r.SwitchAdvanced(1.0, "gone", "email", SwitchState.ACTING),
    r.SwitchEnded(1.0, "gone", "email", SwitchState.ABORTED),
    r.SwitchAbortAsked(1.0, "gone", "email", "maria"),
    r.SwitchReverted(1.0, "gone", "email", "pm-prod"),
    r.BlockadeLifted(1.0, "gone", "email", "maria", "it was a drill"),
    r.RunTicked(1.0, "RUN-404", "look", 0, done=True, who="maria"),
    r.StepMarked(1.0, "RUN-404", "look", "done", "maria"),
    r.BlockStarted(1.0, "RUN-404", "look", 0, "true", "maria"),
    r.BlockFinished(1.0, "RUN-404", BlockResult("look", 0, BlockState.PASSED, 1.0)),
]


def test_every_type_of_record_has_a_rule_and_a_sentence() -> None:
    assert set(EVOLVE) == set(get_args(r.Record))
    assert set(TELL) == set(get_args(r.Record))


@pytest.mark.parametrize("record", ABOUT_WHAT_IS_GONE, ids=lambda record: type(record).__name__)
def test_a_record_about_something_that_was_forgotten_changes_nothing(record: r.Record) -> None:
    assert evolve(World(), record) == []


def test_everything_that_happened_can_be_told() -> None:
    timeline = Timeline(operation(email()), outside=mail_outside())
    timeline.advance(1)
    timeline.all_ok()
    timeline.down("email/postmark/api", times=3)
    timeline.confirm("email")
    timeline.advance(10)
    assert all(tell(record) for record in timeline.records)


# --- heartbeats, the engine's life -----------------------------------------------------------------------------------


def beats(*signals: str) -> Heartbeat:
    heartbeat = check("shop/backup", kind="heartbeat", passive=True)
    timeline = Timeline(operation(component("shop", checks=["backup"]), checks=[heartbeat]))
    for signal in signals:
        timeline.advance(10)
        timeline.feed(Beat("shop/backup", signal, due=timeline.clock.wall + 60))
    timeline.check_replay()
    found: Heartbeat = timeline.crash().world.get("heartbeats", "shop/backup")
    return found


def test_heartbeats_are_recorded_and_outlive_the_engine() -> None:
    done = beats("start", "ok")
    assert (done.last is not None, done.started, done.failed) == (True, None, None)
    assert beats("ok", "start").started is not None
    failed = beats("ok", "start", "fail")
    assert (failed.started, failed.failed is not None, failed.last is not None) == (None, True, True)


def test_a_heartbeat_that_nobody_waits_for_is_no_news() -> None:
    assert Timeline(operation()).feed(Beat("shop/backup", "ok")) == []


def test_a_note_may_tell_of_something_that_happened_earlier() -> None:
    timeline = Timeline(operation(component("shop", checks=["a"])))
    timeline.down("shop/a", times=3)
    world = timeline.world
    world.apply(evolve(world, r.IncidentNoted(9.0, "INC-1", "maria", EntryKind.NOTE, "saw it", happened=5.0)))
    entry = world.get("incidents", "INC-1").entries[-1]
    assert (entry.at, entry.recorded) == (5.0, 9.0)


def test_a_start_says_how_long_there_was_no_engine() -> None:
    timeline = Timeline(operation(component("shop", checks=["a"])))
    timeline.feed(Stopping("asked to"))
    ended = timeline.clock.wall
    later = timeline.crash(seconds=60)
    assert [each.stopped_at for each in later.of(r.EngineStarted)] == [None, ended]
    assert [each.stopped_at for each in later.crash().of(r.EngineStarted)] == [None, ended, None], "it said no goodbye"


def test_an_absence_without_a_beginning_begins_when_it_was_said() -> None:
    world = World()
    world.apply(evolve(world, r.AwaySet(5.0, "maria", 9.0, "ken")))
    assert world.get("absences", "maria") == Absence(5.0, 9.0)
