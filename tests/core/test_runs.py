"""Runs: following a runbook, ticked off, resumable, and honest about what was cut short."""

from __future__ import annotations

import pytest

from opsdash.model.effects import RunBlock
from opsdash.model.inputs import (
    BlockDone,
    EndRunIntent,
    Intent,
    MarkStepIntent,
    OpenRunIntent,
    RunBlockIntent,
    TickIntent,
)
from opsdash.model.records import BlockFinished, BlockStarted, RunEnded
from opsdash.model.run import BlockResult, BlockState, Run
from opsdash.model.switch import Refused
from opsdash.testing import Timeline, component, operation

OPEN = OpenRunIntent("shop-down", "shop", "sha of the text")


def shop() -> Timeline:
    timeline = Timeline(operation(component("shop", checks=["a"])))
    timeline.all_ok()
    return timeline


def run_of(timeline: Timeline, run: str = "RUN-1") -> Run:
    found: Run = timeline.world.get("runs", run)
    return found


def rule(answer: Refused | str) -> str:
    assert isinstance(answer, Refused), f"accepted: {answer!r}"
    return answer.rule


def test_opening_a_runbook_twice_goes_on_with_the_same_run() -> None:
    timeline = shop()
    assert timeline.want(OPEN, who="maria") == "RUN-1"
    assert timeline.want(OPEN, who="ken") == "RUN-1"
    assert timeline.want(OpenRunIntent("other", "shop", "sha")) == "RUN-2"


def test_ticks_are_set_and_taken_back() -> None:
    timeline = shop()
    timeline.want(OPEN)
    for tick in (0, 1):
        timeline.want(TickIntent("RUN-1", "look", tick))
    timeline.want(TickIntent("RUN-1", "look", 0))
    timeline.want(TickIntent("RUN-1", "look", 1, done=False))
    assert run_of(timeline).ticks == (("look", 0),)


def test_a_step_is_marked_by_whoever_did_it_and_opened_again() -> None:
    timeline = shop()
    timeline.want(OPEN)
    timeline.want(MarkStepIntent("RUN-1", "look", "done"), who="ken")
    assert [(mark.step, mark.mark, mark.who) for mark in run_of(timeline).marks] == [("look", "done", "ken")]
    timeline.want(MarkStepIntent("RUN-1", "look", "open"))
    assert run_of(timeline).marks == ()
    assert rule(timeline.want(MarkStepIntent("RUN-1", "look", "maybe"))) == "mark"


def test_what_is_done_goes_into_the_incident_that_is_open() -> None:
    timeline = shop()
    timeline.down("shop/a", times=3)
    timeline.want(OPEN)
    assert run_of(timeline).incident == "INC-1"
    timeline.want(MarkStepIntent("RUN-1", "look", "failed"), who="ken")
    incident = timeline.incident("shop")
    assert incident is not None
    assert incident.entries[-1].text == "shop-down, step look: did not work"


def test_a_block_is_recorded_before_it_runs_and_not_started_twice() -> None:
    timeline = shop()
    timeline.want(OPEN)
    block = RunBlockIntent("RUN-1", "restart", 0, "systemctl restart shop")
    assert timeline.want(block, who="ken") == ""
    assert isinstance(timeline.records[-1], BlockStarted)
    assert timeline.take(RunBlock) == [RunBlock("RUN-1", "shop-down", "shop", "restart", 0, "ken")]
    assert rule(timeline.want(block, who="maria")) == "running"
    assert timeline.take(RunBlock) == []


def test_a_block_that_ended_may_be_run_again() -> None:
    timeline = shop()
    timeline.want(OPEN)
    block = RunBlockIntent("RUN-1", "restart", 0, "systemctl restart shop")
    timeline.want(block, who="ken")
    timeline.advance(2)
    timeline.feed(BlockDone("RUN-1", BlockResult("restart", 0, BlockState.FAILED, 0.0, detail="exit 1")))
    result = run_of(timeline).blocks[0]
    assert (result.state, result.who, result.detail) == (BlockState.FAILED, "ken", "exit 1")
    assert result.finished_at == result.started_at + 2
    assert timeline.want(block) == ""


def test_a_block_that_was_running_when_the_engine_died_is_unknown_and_not_repeated() -> None:
    timeline = shop()
    timeline.want(OPEN)
    timeline.want(RunBlockIntent("RUN-1", "restart", 0, "systemctl restart shop"))
    later = timeline.crash()
    assert run_of(later).blocks[0].state is BlockState.UNKNOWN
    assert later.wanted(RunBlock) == []
    again = later.crash()
    assert len(again.of(BlockFinished)) == 1, "it is said once"
    again.check_replay()


def test_a_run_is_resumed_after_a_start_and_forgotten_when_it_is_closed() -> None:
    timeline = shop()
    timeline.want(OPEN)
    timeline.want(TickIntent("RUN-1", "look", 0))
    later = timeline.crash()
    assert later.want(OPEN) == "RUN-1"
    assert run_of(later).ticks == (("look", 0),)
    later.want(EndRunIntent("RUN-1"), who="ken")
    assert later.of(RunEnded)[0].who == "ken"
    assert later.want(OPEN) == "RUN-2", "numbers are not used twice"


@pytest.mark.parametrize(
    "intent",
    [
        TickIntent("RUN-9", "look", 0),
        MarkStepIntent("RUN-9", "look", "done"),
        RunBlockIntent("RUN-9", "restart", 0, "true"),
        EndRunIntent("RUN-9"),
    ],
)
def test_a_run_that_is_not_open_is_refused(intent: Intent) -> None:
    assert rule(shop().want(intent)) == "unknown_run"


def test_the_end_of_a_block_whose_run_was_closed_meanwhile_disturbs_nobody() -> None:
    timeline = shop()
    assert timeline.feed(BlockDone("RUN-9", BlockResult("restart", 0, BlockState.PASSED, 0.0))) == []
