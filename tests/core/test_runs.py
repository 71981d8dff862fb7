"""Runs: followed by one, watched by others, ticked off, resumable, and honest about how long it took."""

from __future__ import annotations

import pytest

from opsdash.core.step_times import usual
from opsdash.model.inputs import (
    AcceptRunIntent,
    ApproveRunbookIntent,
    CancelBlockIntent,
    ClockJumped,
    DecideBlockIntent,
    EndRunIntent,
    Intent,
    MarkStepIntent,
    OpenRunIntent,
    RunBlockIntent,
    RunChecksIntent,
    SessionSeen,
    SetParameterIntent,
    TakeRunIntent,
    TickIntent,
)
from opsdash.model.records import RunbookApproved, RunEnded, RunTaken, StepMarked
from opsdash.model.run import END, Decision, Run, RunMode, StepTimes
from opsdash.model.switch import Refused
from opsdash.testing import Timeline, component, operation

STEPS = (("look", "sha-look"), ("restart", "sha-restart"), ("verify", "sha-verify"), ("stand-down", "sha-down"))
TITLES = ("Look", "Restart it", "Verify", "Stand down")
OPEN = OpenRunIntent("shop-down", "shop", "sha of the text", STEPS, titles=TITLES)
REHEARSE = OpenRunIntent("shop-down", "shop", "sha of the text", STEPS, RunMode.REHEARSE)


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


def mark(timeline: Timeline, step: str, word: str = "done", **more: str) -> Refused | str:
    return timeline.want(MarkStepIntent("RUN-1", step, word, **more))


# --- opened, ticked, marked, closed --------------------------------------------------------------------------------


def test_opening_a_runbook_twice_goes_on_with_the_same_run() -> None:
    timeline = shop()
    assert timeline.want(OPEN, who="maria") == "RUN-1"
    assert timeline.want(OPEN, who="ken") == "RUN-1"
    assert timeline.want(OpenRunIntent("other", "shop", "sha")) == "RUN-2"


def test_a_run_pins_the_text_and_each_of_its_steps() -> None:
    timeline = shop()
    timeline.want(OPEN)
    run = run_of(timeline)
    assert (run.sha256, run.steps) == ("sha of the text", STEPS)
    timeline.check_replay()


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
    mark(timeline, "look")
    assert [(each.step, each.mark, each.who) for each in run_of(timeline).marks] == [("look", "done", "maria")]
    mark(timeline, "look", "open")
    assert run_of(timeline).marks == ()
    assert rule(mark(timeline, "look", "maybe")) == "mark"


def test_what_is_done_goes_into_the_incident_that_is_open() -> None:
    timeline = shop()
    timeline.down("shop/a", times=3)
    timeline.want(OPEN)
    assert run_of(timeline).incident == "INC-1"
    mark(timeline, "look", "failed")
    incident = timeline.incident("shop")
    assert incident is not None
    assert incident.entries[-1].text == "shop-down, “Look”: did not work"


def test_a_step_is_called_by_its_id_where_an_older_version_kept_no_title() -> None:
    timeline = shop()
    timeline.down("shop/a", times=3)
    timeline.want(OpenRunIntent("shop-down", "shop", "sha of the text", STEPS))
    mark(timeline, "look")
    incident = timeline.incident("shop")
    assert incident is not None
    assert incident.entries[-1].text == "shop-down, step look: done"


def test_a_run_is_resumed_after_a_start_and_forgotten_when_it_is_closed() -> None:
    timeline = shop()
    timeline.want(OPEN)
    timeline.want(TickIntent("RUN-1", "look", 0))
    later = timeline.crash()
    assert later.want(OPEN) == "RUN-1"
    assert run_of(later).ticks == (("look", 0),)
    later.want(EndRunIntent("RUN-1"))
    assert later.of(RunEnded)[0].who == "maria"
    assert later.want(OPEN) == "RUN-2", "numbers are not used twice"
    later.check_replay()


def test_what_a_closed_run_came_to_is_known_until_the_next_one() -> None:
    timeline = shop()
    timeline.want(OPEN)
    mark(timeline, "look")
    timeline.want(EndRunIntent("RUN-1"))
    last: Run = timeline.world.get("last_runs", "shop/shop-down")
    assert (last.id, last.ended_at, last.mark("look")) == ("RUN-1", timeline.clock.wall, "done")
    timeline.want(OPEN)
    assert run_of(timeline, "RUN-2").marks == (), "the next run begins anew"
    assert timeline.world.get("last_runs", "shop/shop-down").mark("look") == "done"


@pytest.mark.parametrize(
    "intent",
    [
        TickIntent("RUN-9", "look", 0),
        MarkStepIntent("RUN-9", "look", "done"),
        RunBlockIntent("RUN-9", "restart", 0, "true"),
        EndRunIntent("RUN-9"),
        TakeRunIntent("RUN-9", "so"),
        AcceptRunIntent("RUN-9", "sha"),
        SetParameterIntent("RUN-9", "name", "value"),
        CancelBlockIntent("RUN-9", "restart", 0),
        DecideBlockIntent("RUN-9", "restart", 0, Decision.DONE),
        RunChecksIntent("RUN-9"),
    ],
)
def test_a_run_that_is_not_open_is_refused(intent: Intent) -> None:
    assert rule(shop().want(intent)) == "unknown_run"


# --- which step comes next -----------------------------------------------------------------------------------------


def test_the_next_step_is_the_first_open_one_behind_the_one_that_was_done() -> None:
    timeline = shop()
    timeline.want(OPEN)
    assert run_of(timeline).current == "look"
    mark(timeline, "restart", "skipped")
    assert run_of(timeline).current == "look", "another step than the current one leaves it where it is"
    mark(timeline, "look")
    assert run_of(timeline).current == "verify"


def test_a_step_that_failed_leads_to_the_one_it_names_and_back_again() -> None:
    timeline = shop()
    timeline.want(OPEN)
    mark(timeline, "look", "failed", goto="stand-down")
    assert run_of(timeline).current == "stand-down"
    mark(timeline, "stand-down")
    assert run_of(timeline).current == "restart"
    mark(timeline, "look", "open")
    assert run_of(timeline).current == "look"


def test_a_step_that_is_done_goes_on_where_its_author_says() -> None:
    timeline = shop()
    timeline.want(OPEN)
    mark(timeline, "look", goto="verify")
    assert run_of(timeline).current == "verify"
    mark(timeline, "verify", goto=END)
    assert run_of(timeline).current == END, "no step is left, whatever is not marked"
    mark(timeline, "restart", "open")
    assert run_of(timeline).current == "restart"
    timeline.check_replay()


def test_when_everything_is_marked_no_step_is_current() -> None:
    timeline = shop()
    timeline.want(OPEN)
    for step, _ in STEPS:
        mark(timeline, step)
    assert run_of(timeline).current == ""


# --- one driver ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "intent",
    [
        TickIntent("RUN-1", "look", 0),
        MarkStepIntent("RUN-1", "look", "done"),
        RunBlockIntent("RUN-1", "restart", 0, "true"),
        RunChecksIntent("RUN-1"),
        SetParameterIntent("RUN-1", "name", "value"),
        AcceptRunIntent("RUN-1", "another", STEPS),
        CancelBlockIntent("RUN-1", "restart", 0),
        DecideBlockIntent("RUN-1", "restart", 0, Decision.DONE),
        EndRunIntent("RUN-1"),
    ],
)
def test_what_a_watcher_wants_is_refused_and_says_who_drives_and_how_long_he_was_idle(intent: Intent) -> None:
    timeline = shop()
    timeline.want(OPEN, who="maria")
    timeline.advance(12)
    answer = timeline.want(intent, who="ken")
    assert rule(answer) == "driver"
    assert isinstance(answer, Refused)
    assert "maria drives it, last active 12s ago" in answer.reason
    assert timeline.records[-1].at < timeline.clock.wall, "nothing was recorded"


def test_a_run_is_taken_over_with_a_reason_and_the_incident_tells_it() -> None:
    timeline = shop()
    timeline.down("shop/a", times=3)
    timeline.want(OPEN, who="maria")
    assert rule(timeline.want(TakeRunIntent("RUN-1", " "), who="ken")) == "empty"
    assert rule(timeline.want(TakeRunIntent("RUN-1", "so"), who="maria")) == "driver"
    assert timeline.want(TakeRunIntent("RUN-1", "maria is on a plane"), who="ken") == ""
    run = run_of(timeline)
    assert (run.driven_by, run.who, run.drivers) == ("ken", "maria", ("maria", "ken"))
    assert rule(timeline.want(TickIntent("RUN-1", "look", 0), who="maria")) == "driver"
    incident = timeline.incident("shop")
    assert incident is not None
    assert incident.entries[-1].text == "took runbook shop-down over from maria: maria is on a plane"
    timeline.check_replay()


def test_a_second_terminal_of_the_same_person_watches_as_long_as_the_first_one_is_there() -> None:
    timeline = shop()
    for session in ("desk", "sofa"):
        timeline.feed(SessionSeen(session, present=True))
    timeline.want(OPEN, session="desk")
    answer = timeline.want(TickIntent("RUN-1", "look", 0), session="sofa")
    assert isinstance(answer, Refused)
    assert "you drive it in another terminal" in answer.reason
    assert timeline.want(TakeRunIntent("RUN-1", "moved over"), session="sofa") == ""
    assert rule(timeline.want(TickIntent("RUN-1", "look", 0), session="desk")) == "driver"


@pytest.mark.parametrize("how", ["gone", "silent"])
def test_a_second_terminal_goes_on_when_the_first_one_is_gone_or_silent(how: str) -> None:
    timeline = shop()
    timeline.feed(SessionSeen("desk", present=True))
    timeline.want(OPEN, session="desk")
    if how == "gone":
        timeline.feed(SessionSeen("desk", present=False))
    else:
        timeline.advance(120)
    assert timeline.want(TickIntent("RUN-1", "look", 0), session="sofa") == ""
    assert [(each.who, each.session) for each in timeline.of(RunTaken)] == [("maria", "sofa")]
    assert rule(timeline.want(TickIntent("RUN-1", "look", 0), who="ken", session="other")) == "driver"


def test_after_a_start_of_the_engine_the_same_person_goes_on_from_wherever_he_is() -> None:
    timeline = shop()
    timeline.feed(SessionSeen("desk", present=True))
    timeline.want(OPEN, session="desk")
    later = timeline.crash()
    assert later.want(TickIntent("RUN-1", "look", 0), session="sofa") == ""


def test_who_opens_a_run_that_another_one_drives_watches_it() -> None:
    timeline = shop()
    timeline.want(OPEN, who="maria")
    assert timeline.want(OPEN, who="ken") == "RUN-1"
    assert run_of(timeline).driven_by == "maria"


# --- a text that changes -------------------------------------------------------------------------------------------


def test_the_new_text_is_accepted_by_the_driver_and_pinned_from_then_on() -> None:
    timeline = shop()
    timeline.want(OPEN)
    mark(timeline, "look")
    edited = (("look", "sha-look"), ("stop", "sha-stop"), ("verify", "sha-verify"))
    assert rule(timeline.want(AcceptRunIntent("RUN-1", "sha of the text", STEPS))) == "same"
    titles = ("Look", "Stop it", "Verify")
    assert timeline.want(AcceptRunIntent("RUN-1", "another", edited, titles)) == ""
    run = run_of(timeline)
    assert run.called("stop") == "“Stop it”"
    assert (run.sha256, run.steps, run.mark("look"), run.current) == ("another", edited, "done", "stop")
    timeline.check_replay()


def test_no_text_is_exchanged_under_a_block_that_runs() -> None:
    timeline = shop()
    timeline.want(OPEN)
    timeline.want(RunBlockIntent("RUN-1", "restart", 0, "true", "run"))
    assert rule(timeline.want(AcceptRunIntent("RUN-1", "another", STEPS))) == "running"
    assert rule(timeline.want(EndRunIntent("RUN-1"))) == "running"


def test_an_approval_is_recorded_and_changes_nothing_in_the_world() -> None:
    timeline = shop()
    before = {name: dict(rows) for name, rows in timeline.world.tables.items()}
    assert timeline.want(ApproveRunbookIntent("shop-down", "sha"), who="ken") == ""
    assert timeline.of(RunbookApproved)[0].who == "ken"
    assert timeline.world.tables == before, "what is trusted is known from nowhere in the workspace"


# --- parameters, rehearsals ----------------------------------------------------------------------------------------


def test_a_parameter_is_recorded_with_whoever_gave_it_and_may_be_given_again() -> None:
    timeline = shop()
    timeline.want(OPEN)
    timeline.want(SetParameterIntent("RUN-1", "standby", "db2"))
    timeline.want(SetParameterIntent("RUN-1", "standby", "db3"))
    (param,) = run_of(timeline).params
    assert (param.name, param.value, param.who, param.source) == ("standby", "db3", "maria", "asked")


def test_a_rehearsal_is_a_run_of_its_own_and_teaches_no_times() -> None:
    timeline = shop()
    assert timeline.want(OPEN) == "RUN-1"
    assert timeline.want(REHEARSE) == "RUN-2"
    assert timeline.want(REHEARSE) == "RUN-2"
    timeline.advance(40)
    timeline.want(MarkStepIntent("RUN-2", "look", "done"))
    assert timeline.world.tables["step_times"] == {}


# --- how long it takes ---------------------------------------------------------------------------------------------


def times(timeline: Timeline, step: str = "look") -> tuple[float, ...]:
    found: StepTimes | None = timeline.world.get("step_times", f"shop-down/{step}")
    return found.seconds if found else ()


def test_the_time_from_becoming_current_to_the_mark_is_learned() -> None:
    timeline = shop()
    timeline.want(OPEN)
    timeline.advance(40)
    mark(timeline, "look")
    timeline.advance(70)
    mark(timeline, "restart")
    assert (times(timeline), times(timeline, "restart")) == ((40.0,), (70.0,))
    assert [each.seconds for each in run_of(timeline).marks] == [40.0, 70.0]
    timeline.check_replay()


@pytest.mark.parametrize("gap", ["restart", "taken over", "suspended for an hour", "clock set back"])
def test_a_step_that_was_interrupted_teaches_nothing_and_the_next_one_does(gap: str) -> None:
    timeline = shop()
    timeline.want(OPEN)
    timeline.advance(40)
    who = "maria"
    if gap == "restart":
        timeline = timeline.crash()
    elif gap != "taken over":
        seconds = 3600.0 if gap == "suspended for an hour" else -35.0
        timeline.clock.jump(seconds)
        timeline.feed(ClockJumped(seconds))
    else:
        who = "ken"
        timeline.want(TakeRunIntent("RUN-1", "so"), who=who)
    timeline.advance(40)
    timeline.want(MarkStepIntent("RUN-1", "look", "done"), who=who)
    timeline.advance(5)
    timeline.want(MarkStepIntent("RUN-1", "restart", "done"), who=who)
    assert times(timeline) == ()
    assert times(timeline, "restart") == (5.0,)


def test_what_was_skipped_failed_opened_again_or_not_current_teaches_nothing() -> None:
    timeline = shop()
    timeline.want(OPEN)
    timeline.advance(10)
    mark(timeline, "verify")
    mark(timeline, "look", "skipped")
    timeline.advance(10)
    mark(timeline, "restart", "failed")
    mark(timeline, "look", "open")
    timeline.advance(10)
    mark(timeline, "look")
    assert timeline.world.tables["step_times"] == {}


def test_the_latest_twenty_times_are_kept_and_a_new_text_begins_anew() -> None:
    timeline = shop()
    for seconds in range(1, 24):
        run = timeline.want(OPEN)
        assert isinstance(run, str)
        timeline.advance(seconds)
        timeline.want(MarkStepIntent(run, "look", "done"))
        timeline.want(EndRunIntent(run))
    assert times(timeline) == tuple(float(each) for each in range(4, 24))
    run = timeline.want(OpenRunIntent("shop-down", "shop", "other", (("look", "another text"), *STEPS[1:])))
    assert isinstance(run, str)
    timeline.advance(3)
    timeline.want(MarkStepIntent(run, "look", "done"))
    assert times(timeline) == (3.0,)
    assert isinstance(timeline.records[-1], StepMarked)


def test_what_is_usual_is_told_from_three_times_of_the_same_text_on() -> None:
    assert usual(None, "sha") is None
    assert usual(StepTimes("sha", (40.0, 60.0)), "sha") is None
    assert usual(StepTimes("sha", (40.0, 60.0, 50.0)), "other") is None
    found = usual(StepTimes("sha", (40.0, 60.0, 50.0)), "sha")
    assert found is not None
    assert (found.median, found.p90, found.runs) == (50.0, 60.0, 3)
    assert usual(StepTimes("sha", tuple(float(each) for each in range(1, 21))), "sha") == (10.0, 18.0, 20)
