"""Practice: who can run what, by what they have really done, and for how long that counts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from opsdash.core import practice
from opsdash.core.evolve import evolve
from opsdash.model.drill import Drill, DrillRun, DrillState, Verdict
from opsdash.model.inputs import EndRunIntent, MarkStepIntent, OpenRunIntent, SettleIntent, TakeRunIntent
from opsdash.model.operation import Person
from opsdash.model.practice import Done, Practice
from opsdash.model.records import EngineStarted, SwitchEnded
from opsdash.model.run import RunMode
from opsdash.model.switch import Plan, SwitchCause, SwitchKind, SwitchState
from opsdash.model.world import World
from opsdash.testing import Timeline, component, email, intent_of, mail_outside, operation

DAY = 86400.0
STEPS = (("look", "sha-look"), ("restart", "sha-restart"), ("verify", "sha-verify"))
MARIA, KEN = Person("maria", "Maria"), Person("ken", "Ken", login="kx")


def mail() -> Timeline:
    timeline = Timeline(operation(email(), people=[MARIA, KEN]), outside=mail_outside())
    timeline.advance(1)
    timeline.all_ok()
    return timeline


def shop(**settings: Any) -> Timeline:
    timeline = Timeline(operation(component("shop", checks=["a"]), people=[MARIA, KEN], **settings))
    timeline.all_ok()
    return timeline


def can_run(timeline: Timeline, name: str) -> list[str]:
    reader = timeline.draft()
    return practice.can_run(reader, reader.operation.components[name], timeline.clock.wall)


def follow(timeline: Timeline, *marks: tuple[str, str, str], mode: RunMode = RunMode.STEP) -> None:
    """Open the runbook, mark its steps (who, step, mark), and close it."""
    timeline.want(OpenRunIntent("shop-down", "shop", "sha of the text", STEPS, mode))
    run = timeline.world.keys("runs")[0]
    for who, step, mark in marks:
        if timeline.world.get("runs", run).driven_by != who:
            timeline.want(TakeRunIntent(run, "my turn"), who=who)
        timeline.want(MarkStepIntent(run, step, mark), who=who)
    timeline.want(EndRunIntent(run), who=marks[-1][0])


# --- switches --------------------------------------------------------------------------------------------------------


def test_whoever_has_switched_can_run_it() -> None:
    timeline = mail()
    assert can_run(timeline, "email") == []
    timeline.confirm("email", SwitchKind.FAILOVER, who="ken")
    timeline.advance(60)
    assert timeline.switch("email").state is SwitchState.COMMITTED
    assert can_run(timeline, "email") == ["ken"]
    [deed] = practice.deeds(timeline.draft(), timeline.clock.wall)
    assert (deed.person, deed.component, deed.what, deed.by) == ("ken", "email", "ses", "email-failover-1")
    timeline.check_replay()


@pytest.mark.parametrize("said", ["ken (claimed, root)", "kx", "ken"])
def test_a_name_that_was_claimed_on_a_shared_account_is_that_person_and_so_is_a_login(said: str) -> None:
    timeline = mail()
    timeline.confirm("email", SwitchKind.FAILOVER, who=said)
    timeline.advance(60)
    assert can_run(timeline, "email") == ["ken"]


def test_somebody_whom_the_files_do_not_know_is_not_counted() -> None:
    timeline = mail()
    timeline.confirm("email", SwitchKind.FAILOVER, who="stranger")
    timeline.advance(60)
    assert can_run(timeline, "email") == []


def test_a_switch_of_opsdash_itself_is_nobodys_practice() -> None:
    timeline = mail()
    timeline.confirm("email", SwitchKind.FAILOVER, who="ken")
    timeline.advance(60)
    switch = timeline.switch("email")
    [ended] = timeline.of(SwitchEnded)
    assert practice.after_switch(World(), switch, ended) != []
    for cause in (SwitchCause.AUTO, SwitchCause.DRILL):
        assert practice.after_switch(World(), replace(switch, cause=cause), ended) == []


def test_an_outcome_that_a_person_stated_shows_nothing() -> None:
    timeline = mail()
    assert timeline.outside is not None
    timeline.outside.effective = False
    timeline.confirm("email", SwitchKind.FAILOVER, who="ken")
    timeline.advance(120)
    timeline.want(SettleIntent("email", SwitchState.COMMITTED, "I have seen it"), who="ken")
    assert can_run(timeline, "email") == []


# --- runbooks --------------------------------------------------------------------------------------------------------


def test_whoever_has_marked_half_of_a_runbook_that_was_closed_can_run_it() -> None:
    timeline = shop()
    follow(timeline, ("maria", "look", "done"), ("ken", "restart", "done"), ("ken", "verify", "done"))
    assert can_run(timeline, "shop") == ["ken"]
    timeline.check_replay()


def test_a_runbook_that_was_left_early_shows_less() -> None:
    timeline = shop()
    follow(timeline, ("maria", "look", "done"))
    assert can_run(timeline, "shop") == []
    follow(timeline, ("maria", "look", "done"), ("maria", "restart", "done"))
    assert can_run(timeline, "shop") == ["maria"]


def test_steps_that_were_skipped_or_failed_are_not_done() -> None:
    timeline = shop()
    follow(timeline, ("maria", "look", "skipped"), ("maria", "restart", "failed"), ("maria", "verify", "done"))
    assert can_run(timeline, "shop") == []


def test_a_rehearsal_is_no_practice() -> None:
    timeline = shop()
    marks = [("maria", step, "done") for step, _ in STEPS]
    follow(timeline, *marks, mode=RunMode.REHEARSE)
    assert can_run(timeline, "shop") == []


def test_a_runbook_with_other_steps_is_another_procedure_and_one_with_better_words_is_not() -> None:
    same = practice.family_of(step for step, _ in STEPS)
    timeline = shop(families={"shop-down": same})
    follow(timeline, *(("maria", step, "done") for step, _ in STEPS))
    assert can_run(timeline, "shop") == ["maria"]
    other = practice.family_of(["look", "verify", "restart"])
    timeline.reload(replace(timeline.world.operation, families={"shop-down": other}))
    assert can_run(timeline, "shop") == []


# --- drills ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdict", "counts"), [(Verdict.PASSED, True), (Verdict.LATE, True), (Verdict.FAILED, False), (None, False)]
)
def test_whoever_drove_a_drill_that_proved_something_can_run_it(verdict: Verdict | None, counts: bool) -> None:
    drill = Drill("mail-quarterly", "Mail", "email")
    run = DrillRun("DRILL-1", drill, DrillState.ENDED, "ken (claimed, root)", 100.0, ended_at=200.0, verdict=verdict)
    timeline = mail()
    timeline.world.apply(practice.after_drill(timeline.world, run))
    known: Practice | None = timeline.world.get("practice", "email")
    done = Done("ken", "drill:mail-quarterly", 200.0, "DRILL-1")
    assert known == (Practice((done,)) if counts else None)


# --- time ------------------------------------------------------------------------------------------------------------


def test_it_counts_for_180_days_and_then_leaves_the_world() -> None:
    timeline = shop()
    follow(timeline, *(("maria", step, "done") for step, _ in STEPS))
    wall = timeline.clock.wall
    reader = timeline.draft()
    shown = reader.operation.components["shop"]
    assert practice.bus_factor(reader, shown, wall + 180 * DAY - 1) == 1
    assert practice.bus_factor(reader, shown, wall + 180 * DAY) == 0
    timeline.world.apply(evolve(timeline.world, EngineStarted(wall + 180 * DAY, "test", 1)))
    assert timeline.world.keys("practice") == []


def test_what_is_new_drops_what_is_old_of_every_component() -> None:
    world = World()
    world.apply(practice.practised(world, "shop", [Done("maria", "one", 0.0, "a")]))
    world.apply(practice.practised(world, "email", [Done("ken", "one", 90 * DAY, "b")]))
    world.apply(practice.practised(world, "email", [Done("maria", "one", 200 * DAY, "c")]))
    assert world.get("practice", "shop") is None
    assert [each.who for each in world.get("practice", "email").done] == ["ken", "maria"]


def test_doing_it_again_counts_from_then_on_and_there_is_no_end_of_names() -> None:
    world = World()
    for number in range(2 * practice.MOST):
        world.apply(practice.practised(world, "shop", [Done(f"p{number}", "one", float(number), "a")]))
        world.apply(practice.practised(world, "shop", [Done("maria", "one", float(number), "a")]))
    done = world.get("practice", "shop").done
    assert len(done) == practice.MOST
    assert [each.at for each in done if each.who == "maria"] == [2 * practice.MOST - 1.0]


def test_who_has_left_cannot_and_who_is_away_can() -> None:
    timeline = shop()
    follow(timeline, *(("maria", step, "done") for step, _ in STEPS))
    left = replace(MARIA, left=timeline.clock.wall)
    timeline.reload(replace(timeline.world.operation, people={"maria": left, "ken": KEN}))
    assert can_run(timeline, "shop") == []


def test_a_switch_back_is_practice_too() -> None:
    timeline = mail()
    timeline.confirm("email", SwitchKind.FAILOVER, who="maria")
    timeline.advance(60)
    plan = timeline.plan("email", SwitchKind.FAILBACK)
    assert isinstance(plan, Plan)
    timeline.want(intent_of(plan, overrides=["steady", "blockade"]), who="ken")
    timeline.advance(60)
    assert can_run(timeline, "email") == ["ken", "maria"]
