"""Blocks of a run: recorded before they do anything, never repeated by themselves, decided about by a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from opsdash.core.chains import chain, missing
from opsdash.model.effects import CancelBlock, ReleaseBlock, RunBlock
from opsdash.model.inputs import (
    BlockDone,
    BlockUp,
    CancelBlockIntent,
    DecideBlockIntent,
    EndRunIntent,
    MarkStepIntent,
    OpenRunIntent,
    RunBlockIntent,
    RunChecksIntent,
    TakeRunIntent,
)
from opsdash.model.records import BlockCancelAsked, BlockDecided, BlockFinished, BlockSpawned, BlockStarted, StepMarked
from opsdash.model.run import BlockRef, BlockResult, BlockState, Decision, Run, RunMode, RunParameter
from opsdash.model.runbook import Block, Language, Param, Role, Runbook, Step, Tick
from opsdash.model.switch import Refused
from tests.core.test_runs import OPEN, REHEARSE, STEPS, rule, run_of, shop

if TYPE_CHECKING:
    from opsdash.testing import Timeline

RESTART = RunBlockIntent("RUN-1", "restart", 0, "systemctl restart shop", "run")
CHECK = RunBlockIntent("RUN-1", "restart", 1, "curl shop", "check")
CHECKS = (BlockRef("restart", 1, "check", "curl shop"), BlockRef("verify", 0, "check", "curl door"))


def opened() -> Timeline:
    timeline = shop()
    timeline.want(OPEN)
    return timeline


def ends(timeline: Timeline, state: BlockState, step: str = "restart", block: int = 0, **more: Any) -> None:
    result = BlockResult(step, block, state, 0.0, **more)
    timeline.feed(BlockDone("RUN-1", result))


def state_of(timeline: Timeline, step: str = "restart", block: int = 0) -> BlockResult:
    found = run_of(timeline).block(step, block)
    assert found is not None
    return found


# --- begun and ended -----------------------------------------------------------------------------------------------


def test_a_block_is_recorded_before_it_runs_and_not_started_twice() -> None:
    timeline = opened()
    assert timeline.want(RESTART) == ""
    assert isinstance(timeline.records[-1], BlockStarted)
    assert timeline.take(RunBlock) == [RunBlock("RUN-1", "shop-down", "shop", "restart", 0, "maria")]
    assert rule(timeline.want(RESTART)) == "running"
    assert timeline.take(RunBlock) == []


def test_a_program_begins_only_when_its_number_is_on_record() -> None:
    timeline = opened()
    timeline.want(RESTART)
    assert timeline.wanted(ReleaseBlock) == []
    timeline.feed(BlockUp("RUN-1", "restart", 0, 4711, "boot:99"))
    assert isinstance(timeline.records[-1], BlockSpawned)
    assert timeline.wanted(ReleaseBlock) == [ReleaseBlock("RUN-1", "restart", 0)]
    later = timeline.crash()
    block = state_of(later)
    assert (block.state, block.pid, block.identity) == (BlockState.UNKNOWN, 4711, "boot:99")


def test_a_program_that_comes_up_when_nobody_waits_for_it_any_more_is_not_released() -> None:
    timeline = opened()
    timeline.feed(BlockUp("RUN-1", "restart", 0, 4711, "boot:99"))
    timeline.feed(BlockUp("RUN-9", "restart", 0, 4711, "boot:99"))
    assert timeline.wanted(ReleaseBlock) == []


def test_a_block_that_ended_may_be_run_again() -> None:
    timeline = opened()
    timeline.want(RESTART)
    timeline.advance(2)
    ends(timeline, BlockState.FAILED, detail="exit 1")
    result = state_of(timeline)
    assert (result.state, result.who, result.detail, result.role) == (BlockState.FAILED, "maria", "exit 1", "run")
    assert result.finished_at == result.started_at + 2
    assert timeline.want(RESTART) == ""


def test_the_end_of_a_block_whose_run_was_closed_meanwhile_disturbs_nobody() -> None:
    timeline = shop()
    assert timeline.feed(BlockDone("RUN-9", BlockResult("restart", 0, BlockState.PASSED, 0.0))) == []


@pytest.mark.parametrize(
    ("state", "value"), [(BlockState.PASSED, "db2"), (BlockState.FAILED, None), (BlockState.UNKNOWN, None)]
)
def test_what_a_block_gives_to_later_ones_counts_when_it_has_passed(state: BlockState, value: str | None) -> None:
    timeline = opened()
    timeline.want(RESTART)
    timeline.feed(BlockDone("RUN-1", BlockResult("restart", 0, state, 0.0), ("standby", "db2")))
    params = {each.name: (each.value, each.source) for each in run_of(timeline).params}
    assert params == ({"standby": (value, "captured")} if value else {})


# --- in doubt ------------------------------------------------------------------------------------------------------


def in_doubt() -> Timeline:
    timeline = opened()
    timeline.want(RESTART)
    return timeline.crash()


def test_a_block_that_was_running_when_the_engine_died_is_unknown_and_not_repeated() -> None:
    later = in_doubt()
    assert state_of(later).state is BlockState.UNKNOWN
    assert later.wanted(RunBlock) == []
    again = later.crash()
    assert len(again.of(BlockFinished)) == 1, "it is said once"
    again.check_replay()


def test_the_incident_says_that_a_block_was_cut_short() -> None:
    timeline = shop()
    timeline.down("shop/a", times=3)
    timeline.want(OPEN)
    timeline.want(RESTART)
    incident = timeline.crash().incident("shop")
    assert incident is not None
    said = "shop-down, “Restart it”: cut short, the engine ended while a block of it was running"
    assert [each.who for each in incident.entries if each.text == said] == ["opsdash"]


def test_nothing_in_doubt_is_run_again_before_a_person_has_decided() -> None:
    later = in_doubt()
    assert rule(later.want(RESTART)) == "unknown"
    assert later.want(DecideBlockIntent("RUN-1", "restart", 0, Decision.REPEAT)) == ""
    assert later.of(BlockDecided)[0].who == "maria"
    assert later.wanted(RunBlock) == [], "to decide is not to run"
    assert later.want(RESTART) == ""


@pytest.mark.parametrize("decision", [Decision.DONE, Decision.SKIP])
def test_what_was_decided_stands_and_is_not_decided_twice(decision: Decision) -> None:
    later = in_doubt()
    assert later.want(DecideBlockIntent("RUN-1", "restart", 0, decision)) == ""
    block = state_of(later)
    assert (block.state, block.decision, block.decided_by) == (BlockState.UNKNOWN, decision, "maria")
    assert rule(later.want(DecideBlockIntent("RUN-1", "restart", 0, Decision.REPEAT))) == "decided"
    later.check_replay()


@pytest.mark.parametrize("known", [BlockState.PASSED, BlockState.FAILED])
def test_about_what_is_known_there_is_nothing_to_decide(known: BlockState) -> None:
    timeline = opened()
    timeline.want(RESTART)
    ends(timeline, known)
    assert rule(timeline.want(DecideBlockIntent("RUN-1", "restart", 0, Decision.DONE))) == "decided"


def test_a_check_that_was_cut_short_is_simply_run_again() -> None:
    timeline = opened()
    timeline.want(CHECK)
    later = timeline.crash()
    assert not state_of(later, block=1).in_doubt
    assert later.want(CHECK) == ""


def test_when_a_run_is_opened_again_the_checks_of_what_is_in_doubt_come_first_and_once() -> None:
    later = in_doubt()
    again = OpenRunIntent("shop-down", "shop", "sha of the text", STEPS, checks=CHECKS)
    assert later.want(again) == "RUN-1"
    assert [(effect.step, effect.block) for effect in later.take(RunBlock)] == [("restart", 1)]
    ends(later, BlockState.PASSED, block=1)
    later.want(again)
    assert later.take(RunBlock) == [], "they have told what they know"
    assert later.crash().want(again) == "RUN-1"


@pytest.mark.parametrize("who", ["maria", "ken"])
def test_only_whoever_drives_makes_the_checks_run_by_opening(who: str) -> None:
    later = in_doubt()
    later.want(OpenRunIntent("shop-down", "shop", "sha of the text", STEPS, checks=CHECKS), who=who)
    assert len(later.take(RunBlock)) == (1 if who == "maria" else 0)


def test_a_check_that_lacks_a_parameter_does_not_run_by_itself() -> None:
    later = in_doubt()
    lacking = (BlockRef("restart", 1, "check", "curl $standby", asks=("standby",)),)
    later.want(OpenRunIntent("shop-down", "shop", "sha of the text", STEPS, checks=lacking))
    assert later.take(RunBlock) == []


def test_an_old_record_without_a_role_is_in_doubt() -> None:
    timeline = opened()
    timeline.want(RunBlockIntent("RUN-1", "restart", 0, "true"))
    assert state_of(timeline.crash()).in_doubt


# --- what stands in the way ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("typed", ["", "shop-down", "SHOP"])
def test_a_dangerous_block_wants_the_components_name(typed: str) -> None:
    timeline = opened()
    danger = {"role": "run", "danger": True}
    assert rule(timeline.want(RunBlockIntent("RUN-1", "restart", 0, "rm", **danger, typed=typed))) == "typed"  # type: ignore[arg-type] # keyword by keyword
    assert timeline.want(RunBlockIntent("RUN-1", "restart", 0, "rm", role="run", danger=True, typed="shop")) == ""


def test_what_is_meant_to_run_once_is_repeated_only_after_typing() -> None:
    timeline = opened()
    once = RunBlockIntent("RUN-1", "restart", 0, "pay", "run", once=True)
    assert timeline.want(once) == ""
    ends(timeline, BlockState.PASSED)
    assert rule(timeline.want(once)) == "once"
    assert timeline.want(RunBlockIntent("RUN-1", "restart", 0, "pay", "run", once=True, typed="shop")) == ""


def test_what_is_meant_to_run_once_and_is_in_doubt_takes_a_decision_and_typing() -> None:
    timeline = opened()
    once = RunBlockIntent("RUN-1", "restart", 0, "pay", "run", once=True)
    timeline.want(once)
    later = timeline.crash()
    assert rule(later.want(once)) == "unknown"
    later.want(DecideBlockIntent("RUN-1", "restart", 0, Decision.REPEAT))
    assert rule(later.want(once)) == "once"


def test_a_block_that_lacks_a_parameter_is_not_begun() -> None:
    timeline = opened()
    answer = timeline.want(RunBlockIntent("RUN-1", "restart", 0, "psql", "run", asks=("standby", "reason")))
    assert rule(answer) == "parameter"
    assert isinstance(answer, Refused)
    assert "standby, reason" in answer.reason


@pytest.mark.parametrize("role", ["run", "undo"])
def test_in_a_rehearsal_nothing_that_changes_anything_can_run(role: str) -> None:
    timeline = shop()
    timeline.want(REHEARSE)
    assert run_of(timeline).mode is RunMode.REHEARSE
    assert rule(timeline.want(RunBlockIntent("RUN-1", "restart", 0, "rm", role, typed="shop"))) == "rehearsal"
    assert timeline.want(CHECK) == ""


def test_a_block_that_runs_is_cancelled_by_its_driver() -> None:
    timeline = opened()
    assert rule(timeline.want(CancelBlockIntent("RUN-1", "restart", 0))) == "not_running"
    timeline.want(RESTART)
    assert timeline.want(CancelBlockIntent("RUN-1", "restart", 0)) == ""
    assert timeline.of(BlockCancelAsked)[0].who == "maria"
    assert timeline.take(CancelBlock) == [CancelBlock("RUN-1", "restart", 0, "maria")]
    ends(timeline, BlockState.UNKNOWN, detail="cancelled by maria after 2s")
    assert state_of(timeline).cancelled_by == "maria"
    assert state_of(timeline).in_doubt, "nobody knows what it did until then"


# --- checks one after another --------------------------------------------------------------------------------------

CHAIN = (
    BlockRef("look", 0, "check", "one"),
    BlockRef("look", 1, "check", "two", ends_step=True),
    BlockRef("restart", 1, "check", "three"),
)


def test_checks_follow_each_other_as_long_as_they_pass_and_mark_a_step_that_ends_with_them() -> None:
    timeline = opened()
    assert timeline.want(RunChecksIntent("RUN-1", CHAIN)) == ""
    for step, block in (("look", 0), ("look", 1), ("restart", 1)):
        assert [(effect.step, effect.block) for effect in timeline.take(RunBlock)] == [(step, block)]
        ends(timeline, BlockState.PASSED, step, block)
    assert timeline.take(RunBlock) == []
    marks = timeline.of(StepMarked)
    assert [(each.step, each.mark, each.who, each.automatic) for each in marks] == [("look", "done", "maria", True)]


@pytest.mark.parametrize("state", [BlockState.FAILED, BlockState.UNKNOWN])
def test_they_stop_at_the_first_that_does_not_pass(state: BlockState) -> None:
    timeline = opened()
    timeline.want(RunChecksIntent("RUN-1", CHAIN))
    timeline.take(RunBlock)
    ends(timeline, state, "look", 0)
    assert timeline.take(RunBlock) == []
    timeline.want(RunBlockIntent("RUN-1", "look", 0, "one", "check"))
    timeline.take(RunBlock)
    ends(timeline, BlockState.PASSED, "look", 0)
    assert timeline.take(RunBlock) == [], "and do not go on by themselves later"


def test_they_do_not_go_on_by_themselves_after_a_crash_or_for_somebody_else() -> None:
    timeline = opened()
    timeline.want(RunChecksIntent("RUN-1", CHAIN))
    later = timeline.crash()
    assert later.wanted(RunBlock) == []
    timeline.take(RunBlock)
    timeline.want(TakeRunIntent("RUN-1", "so"), who="ken")
    ends(timeline, BlockState.PASSED, "look", 0)
    assert timeline.take(RunBlock) == []


def test_without_a_check_that_comes_next_it_is_said_what_does() -> None:
    answer = opened().want(RunChecksIntent("RUN-1", (), "“Tell the shop” has something to tick"))
    assert rule(answer) == "automatic"
    assert isinstance(answer, Refused)
    assert "something to tick" in answer.reason


def test_a_run_that_has_ended_leaves_no_chain_behind() -> None:
    timeline = opened()
    timeline.want(RunChecksIntent("RUN-1", CHAIN))
    ends(timeline, BlockState.FAILED, "look", 0)
    timeline.want(EndRunIntent("RUN-1"))
    assert timeline.live.tables["runs"] == {}


# --- what of a text comes next -------------------------------------------------------------------------------------


def block(role: Role, code: str = "true", language: Language = Language.SH, **more: Any) -> Block:
    return Block(role, language, code, 1, 3, **more)


def step(name: str, *blocks: Block, ticks: int = 0, **more: Any) -> Step:
    given = tuple(Tick(f"tick {number}", 1) for number in range(ticks))
    return Step(name, name, 1, 2, f"### {name}", f"sha {name}", given, blocks, **more)


def book(*steps: Step, params: tuple[Param, ...] = ()) -> Runbook:
    return Runbook("b", "B", "runbooks/b.md", "", "sha", executable=True, steps=steps, params=params)


def a_run(*, marks: tuple[str, ...] = (), **more: Any) -> Run:
    run = Run("RUN-1", "b", "shop", "sha", "maria", 0.0, **more)
    timeline = shop()
    timeline.world.tables["runs"]["RUN-1"] = run
    for name in marks:
        timeline.want(MarkStepIntent("RUN-1", name, "done"))
    return run_of(timeline)


CHECK_BLOCK = block(Role.CHECK)


@pytest.mark.parametrize(
    ("second", "stop"),
    [
        (step("b", block(Role.RUN)), "has a block to run"),
        (step("b", block(Role.SHOW)), "has a block to show"),
        (step("b", CHECK_BLOCK, danger=True), "marked as dangerous"),
        (step("b"), "for a person"),
        (step("b", block(Role.CHECK, "echo $x")), "needs x"),
    ],
)
def test_a_chain_ends_at_whatever_is_no_check(second: Step, stop: str) -> None:
    runbook = book(step("a", CHECK_BLOCK), second, step("c", CHECK_BLOCK), params=(Param("x", 1),))
    refs, why = chain(runbook, a_run())
    assert [(ref.step, ref.ends_step) for ref in refs] == [("a", True)]
    assert stop in why


def test_a_chain_runs_the_checks_of_a_step_with_open_ticks_and_leaves_its_mark_to_a_person() -> None:
    refs, why = chain(book(step("a", CHECK_BLOCK, ticks=1), step("b", CHECK_BLOCK)), a_run())
    assert [(ref.step, ref.ends_step) for ref in refs] == [("a", False)]
    assert "to tick" in why


def test_a_chain_begins_at_the_current_step_and_passes_over_what_is_marked_or_has_passed() -> None:
    runbook = book(step("a", CHECK_BLOCK), step("b", CHECK_BLOCK, CHECK_BLOCK), step("c", CHECK_BLOCK))
    passed = (BlockResult("b", 0, BlockState.PASSED, 0.0),)
    refs, why = chain(runbook, a_run(marks=("a",), blocks=passed))
    assert [(ref.step, ref.block) for ref in refs] == [("b", 1), ("c", 0)]
    assert why == "the runbook ends there"


def test_the_undo_of_a_step_is_no_part_of_the_way_forward() -> None:
    refs, _ = chain(book(step("a", CHECK_BLOCK, block(Role.UNDO))), a_run())
    assert [(ref.block, ref.ends_step) for ref in refs] == [(0, True)]


@pytest.mark.parametrize(
    ("language", "code", "needed"),
    [
        (Language.SH, "psql -h $standby", ("standby",)),
        (Language.SH, 'psql -h "${standby:-none}"', ("standby",)),
        (Language.SH, "echo standby", ()),
        (Language.BASH, "echo ${#standby}", ("standby",)),
        (Language.PYTHON, "import os; os.environ['standby']", ("standby",)),
        (Language.PYTHON, 'import os; os.environ.get("standby")', ("standby",)),
        (Language.SH, "echo $PW", ()),
        (Language.SH, "echo $found", ("found",)),
    ],
)
def test_what_a_block_needs_is_read_from_its_code(language: Language, code: str, needed: tuple[str, ...]) -> None:
    params = (Param("standby", 1, default="db2"), Param("PW", 1, secret="env"))
    giving = step("a", block(Role.CHECK, "hostname", as_="found"))
    runbook = book(giving, step("b", block(Role.RUN, code, language)), params=params)
    assert missing(runbook, a_run(), runbook.steps[1].blocks[0]) == needed
    given = tuple(RunParameter(name, "x", "maria") for name in ("standby", "found"))
    assert missing(runbook, a_run(params=given), runbook.steps[1].blocks[0]) == ()
