"""The report of an incident: everything that is known stands in it, and nothing of it is markup."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from opsdash.core.markdown import cell, fenced, line
from opsdash.core.report import WRITE, report
from opsdash.core.report_runs import propose
from opsdash.core.story import Story, gather
from opsdash.model import inputs as i
from opsdash.model import records as r
from opsdash.model.incident import Incident, IncidentKind
from opsdash.model.message import Attempt, Delivery, Message, MessageKind
from opsdash.model.operation import Tier
from opsdash.model.run import BlockResult, BlockState, Decision, Run, RunMode, StepMark, StepTimes
from opsdash.model.runbook import Runbook, Step
from opsdash.testing import Timeline, component, email, failure, mail_outside, operation

if TYPE_CHECKING:
    from pathlib import Path

PRIMARY = "email/postmark/api"

TEXT = """# Mail

## Steps

### Look at the queue

Is it long?

### Switch

Press f."""


def step(title: str, line_number: int, end: int) -> Step:
    return Step(title.lower().replace(" ", "-"), title, line_number, end, "", "")


RUNBOOK = Runbook(
    "email-down", "Mail", "runbooks/email-down.md", TEXT, "sha", executable=True,
    steps=(step("Look at the queue", 5, 7), step("Switch", 9, 11)),
)  # fmt: skip

SECTIONS = (
    "Summary", "Impact", "Timeline", "Who was told", "Contributing factors",
    "What had been decided in advance, and did it hold?", "What went well", "What did not go well",
    "Where we were lucky", "Actions", "Proposed changes of runbooks", "Next drill", "Figures",
)  # fmt: skip
"""Of any report."""

OPEN = i.OpenRunIntent("email-down", "email", "sha", RUNBOOK.pins, titles=RUNBOOK.titles)
INCIDENT = Incident("INC-4", "email", IncidentKind.FAILURE, "down", 0.0)


def outage() -> Timeline:
    """Mail fails, Maria acknowledges, switches, hands over to Ken, who closes it."""
    timeline = Timeline(operation(email()), outside=mail_outside())
    timeline.advance(1)
    timeline.all_ok()
    timeline.want(i.MarkIntent("new templates", component="email", version="7"), who="lena")
    timeline.down(PRIMARY, times=3)
    timeline.want(i.AckIntent("INC-1"), who="maria")
    timeline.want(i.OpenRunIntent("email-down", "email", "sha"), who="maria")
    timeline.want(i.MarkStepIntent("RUN-1", "look-at-the-queue", "failed"), who="maria")
    timeline.confirm("email", who="maria")
    timeline.advance(10)
    timeline.want(i.MarkStepIntent("RUN-1", "switch", "done"), who="maria")
    timeline.want(i.EndRunIntent("RUN-1"), who="maria")
    return timeline


def story(timeline: Timeline, name: str = "INC-1") -> Story:
    found = gather(timeline.records, name)
    assert found is not None
    return found


def written(timeline: Timeline, name: str = "INC-1") -> str:
    runbooks = {RUNBOOK.id: RUNBOOK}
    return report(story(timeline, name), timeline.world.operation, runbooks, timeline.clock().wall)


def test_it_has_all_sections_and_marks_where_a_person_has_to_write() -> None:
    text = written(outage())
    headings = [each.removeprefix("## ") for each in text.split("\n") if each.startswith("## ")]
    assert tuple(headings) == SECTIONS
    assert text.count(WRITE) == 7


def test_it_says_what_was_decided_and_whether_it_held() -> None:
    text = written(outage())
    assert "decided was **switch**" in text
    assert "failover of email to ses by maria: committed in" in text
    assert "never proved before. It held." in text
    assert "`email/ses` had never been tried before, and worked." in text
    assert "Runbook `email-down` (RUN-1), begun " in text
    assert " by maria, closed " in text
    assert "| Look at the queue | did not work | " in text
    assert "| Switch | done | " in text


def test_it_says_what_changed_before_and_who_did_what() -> None:
    text = written(outage())
    assert "changed before: email: new templates (7) (lena)" in text
    assert "| maria | acknowledged |" in text


def test_it_proposes_what_following_the_runbook_has_taught() -> None:
    text = written(outage())
    assert "+> Did not work in INC-1" in text
    assert "```diff\n--- runbooks/email-down.md" in text


def test_it_tells_of_steps_by_their_titles_and_of_what_passed_only_where_it_is_folded_away() -> None:
    timeline = Timeline(operation(email()), outside=mail_outside())
    timeline.advance(1)
    timeline.all_ok()
    timeline.down(PRIMARY, times=3)
    timeline.want(OPEN, who="maria")
    timeline.want(i.RunBlockIntent("RUN-1", "switch", 0, "opsdash failover email", "run"), who="maria")
    timeline.feed(i.BlockDone("RUN-1", BlockResult("switch", 0, BlockState.PASSED, 0.0)))
    timeline.want(i.MarkStepIntent("RUN-1", "switch", "done"), who="maria")
    main, folded = written(timeline).split("<details>")
    assert "| maria | email-down, “Switch”: done |" in main
    assert "“Switch”: passed" not in main
    assert "| maria | email-down, “Switch”: passed |" in folded


def test_it_says_what_an_engine_that_died_has_interrupted_and_who_decided_about_it() -> None:
    timeline = Timeline(operation(email()), outside=mail_outside())
    timeline.advance(1)
    timeline.all_ok()
    timeline.down(PRIMARY, times=3)
    timeline.want(OPEN, who="maria")
    timeline.want(i.RunBlockIntent("RUN-1", "switch", 0, "opsdash failover email", "run"), who="maria")
    timeline.advance(40)
    timeline = timeline.crash()
    timeline.want(i.DecideBlockIntent("RUN-1", "switch", 0, Decision.DONE), who="maria")
    timeline.want(i.TakeRunIntent("RUN-1", "maria sleeps"), who="ken")
    text = written(timeline)
    assert "| opsdash | email-down, “Switch”: cut short, the engine ended while a block of it was running |" in text
    assert "the engine ended without saying so, at this time or later; the next one began " in text
    assert "- The engine ended without saying so, and for " in text
    assert "find out why the engine ended" in text
    assert "a block of “Switch” was cut short, and nobody knew what it had done" in text
    assert "; maria decided: it is done" in text
    assert "    - taken over from maria by ken at " in text
    assert ": maria sleeps" in text


def test_it_says_that_an_engine_was_stopped_meanwhile() -> None:
    timeline = outage()
    stopped = timeline.clock().wall
    records = [*timeline.records, r.EngineStopped(stopped, "asked"), r.EngineStarted(stopped + 60, "1", 2, stopped)]
    found = gather(records, "INC-1")
    assert found is not None
    text = report(found, timeline.world.operation, {}, stopped + 60)
    assert "the engine was stopped; the next one began 1m after that" in text
    assert "find out why the engine ended" not in text


@pytest.mark.parametrize(("seconds", "said"), [(3600.0, "+1h"), (-90.0, "-1m30s")])
def test_it_says_where_the_clock_moved_since_its_figures_go_by_it(seconds: float, said: str) -> None:
    timeline = outage()
    timeline.clock.jump(seconds)
    timeline.feed(i.ClockJumped(seconds))
    assert f"| opsdash | the clock moved by {said}: times before and after this do not compare |" in written(timeline)


def test_a_rehearsal_is_no_way_in_which_a_runbook_was_followed() -> None:
    timeline = outage()
    timeline.want(replace(OPEN, mode=RunMode.REHEARSE), who="ken")
    assert list(story(timeline).runs) == ["RUN-1"]


def test_it_says_who_was_told_and_whether_that_arrived() -> None:
    timeline = outage()
    message = Message("MSG-1", "k", "pager", MessageKind.PROBLEM, "Mail | is down", "", 100.0, incidents=("INC-1",))
    lost = replace(message, id="MSG-2", title="still: Mail is down")
    attempt = Attempt(102.0, Delivery.DELIVERED, "200")
    told: list[r.Record] = [
        r.MessageQueued(100.0, message),
        r.MessageTrying(101.0, "MSG-1", "pager"),
        r.MessageTried(102.0, "MSG-1", "pager", attempt),
        r.MessageQueued(103.0, lost),
        r.MessageGivenUp(104.0, "MSG-2", "pager", "24 h of trying"),
        r.MessageQueued(105.0, replace(message, id="MSG-3", incidents=("INC-7",))),
    ]
    found = gather([*timeline.records, *told], "INC-1")
    assert found is not None
    text = report(found, timeline.world.operation, {}, timeline.clock().wall)
    assert "- Alarm of Transactional email: raised " in text
    assert "| pager | problem: Mail \\| is down | after 2s |" in text
    assert "| pager | problem: still: Mail is down | given up: 24 h of trying |" in text
    assert "MSG-3" not in text


def test_where_nobody_was_told_it_says_so() -> None:
    timeline = Timeline(operation(component("shop", tier=Tier.DROPPABLE, checks=["a"])))
    timeline.all_ok()
    timeline.down("shop/a", times=3)
    text = written(timeline)
    assert "- No alarm was raised.\n- No message was sent." in text


def test_one_that_nobody_did_anything_about_says_so() -> None:
    timeline = Timeline(operation(component("shop", checks=["a"], failures={"gone": failure("gone", "shop/a")})))
    timeline.all_ok()
    timeline.down("shop/a", times=3)
    timeline.ok("shop/a", times=2)
    text = written(timeline)
    assert "Nobody acknowledged it." in text
    assert "It recovered without anybody having switched anything or followed a runbook." in text
    assert "No runbook was followed." in text


def test_one_that_fits_no_failure_mode_asks_for_one() -> None:
    timeline = Timeline(operation(component("shop", checks=["a"])))
    timeline.all_ok()
    timeline.want(i.OpenIncidentIntent("shop", "orders arrive twice"))
    text = written(timeline)
    assert "this way to fail had not been thought of" in text
    assert "put this way to fail into the register of shop" in text
    assert "write a check that would have found INC-1" in text
    assert "No check found it: a person did." in text


def test_its_story_is_the_same_from_records_that_were_written_and_read() -> None:
    from opsdash.storage.codec import decode, encode

    timeline = outage()
    again = gather([decode(*encode(record)) for record in timeline.records], "INC-1")
    assert again == story(timeline)


def test_an_incident_that_was_never_opened_has_no_story() -> None:
    assert gather(outage().records, "INC-9") is None


def test_what_others_have_written_is_no_markup() -> None:
    timeline = Timeline(operation(component("shop", checks=["a"])))
    timeline.all_ok()
    timeline.want(i.OpenIncidentIntent("shop", "<script>alert(1)</script> | [x](http://evil) `rm`"))
    timeline.want(i.NoteIntent("INC-1", "one\n# two | three"))
    text = written(timeline)
    assert "<script>" not in text
    assert "[x](" not in text.replace("\\[x](", "")
    assert "| one # two \\| three |" in text


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a\nb", "a b"), ("<b>", "&lt;b>"), ("`x`", "'x'"), ("[a](b)", "\\[a](b)")],
)
def test_a_line_of_others_stays_one_line_of_text(text: str, shown: str) -> None:
    assert line(text) == shown
    assert cell(f"{text}|") == f"{shown}\\|"


def test_a_code_block_cannot_be_left_by_what_is_in_it() -> None:
    assert fenced("a\n````\nb") == ["`````", "a", "````", "b", "`````"]


def test_a_step_that_was_skipped_is_asked_about_and_one_that_was_done_is_left_alone() -> None:
    marks = (StepMark("look-at-the-queue", "skipped", 1.0, "ken"), StepMark("switch", "done", 2.0, "ken"))
    run = Run("RUN-1", "email-down", "email", "sha", "ken", 0.0, marks=marks)
    diff = propose(RUNBOOK, run, INCIDENT, {})
    assert [each for each in diff if each.startswith("+>")] == [
        "+> Skipped in INC-4, 1970-01-01: is this step still needed?"
    ]
    done = Run("RUN-1", "email-down", "email", "sha", "ken", 0.0, marks=marks[1:])
    assert propose(RUNBOOK, done, INCIDENT, {}) == []


def test_a_step_to_which_only_a_failure_leads_is_not_asked_about_when_it_was_skipped() -> None:
    ended = replace(RUNBOOK, steps=(replace(RUNBOOK.steps[0], then=""), RUNBOOK.steps[1]))
    marks = (StepMark("look-at-the-queue", "done", 1.0, "ken"), StepMark("switch", "skipped", 2.0, "ken"))
    run = Run("RUN-1", "email-down", "email", "sha", "ken", 0.0, marks=marks)
    assert propose(ended, run, INCIDENT, {}) == []
    assert propose(RUNBOOK, run, INCIDENT, {}) != []


@pytest.mark.parametrize(
    ("usually", "written_as"),
    [(29.0, "30 s"), (60.0, None), (130.0, None), (240.0, None), (241.0, "5 min"), (3.0, "10 s"), (5400.0, "90 min")],
)
def test_a_time_of_the_author_is_corrected_where_a_step_usually_takes_twice_or_half_as_long(
    usually: float, written_as: str | None
) -> None:
    text = TEXT.replace("Is it long?", "**Time:** 2 min\n\nIs it long?")
    timed = replace(step("Look at the queue", 5, 9), time=120.0, sha256="now")
    runbook = replace(RUNBOOK, text=text, steps=(timed, step("Switch", 11, 13)))
    run = Run("RUN-1", "email-down", "email", "sha", "ken", 0.0)
    times = {"email-down/look-at-the-queue": StepTimes("now", (usually,) * 3)}
    diff = propose(runbook, run, INCIDENT, times)
    expected = [] if written_as is None else ["-**Time:** 2 min", f"+**Time:** {written_as}"]
    assert [each for each in diff if each[:3] in {"-**", "+**"}] == expected
    others = {"email-down/look-at-the-queue": StepTimes("before", (usually,) * 3)}
    assert propose(runbook, run, INCIDENT, others) == [], "its text was another one"
    too_few = {"email-down/look-at-the-queue": StepTimes("now", (usually,) * 2)}
    assert propose(runbook, run, INCIDENT, too_few) == []


@pytest.mark.parametrize("end", ["", "\n"])
def test_the_diff_can_be_applied(tmp_path: Path, end: str) -> None:
    file = tmp_path / RUNBOOK.path
    file.parent.mkdir()
    file.write_text(f"{TEXT}\n")
    runbook = replace(RUNBOOK, text=f"{TEXT}{end}")
    marks = (StepMark("look-at-the-queue", "failed", 1.0, "ken"), StepMark("switch", "skipped", 2.0, "ken"))
    diff = propose(runbook, Run("RUN-1", "email-down", "email", "sha", "ken", 0.0, marks=marks), INCIDENT, {})
    words = ["git", "apply", "-p0", "--unsafe-paths", "-"]
    subprocess.run(words, input="\n".join([*diff, ""]), text=True, cwd=tmp_path, check=True)
    assert file.read_text().endswith("Press f.\n\n> Skipped in INC-4, 1970-01-01: is this step still needed?\n")
    assert "> Did not work in INC-4, 1970-01-01: say here what happened\n\n### Switch" in file.read_text()


def test_a_step_that_failed_says_what_its_block_said() -> None:
    block = BlockResult("switch", 0, BlockState.FAILED, 0.0, 1.0, "exit status 3, expected 0")
    run = Run("RUN-1", "email-down", "email", "sha", "ken", 0.0,
              marks=(StepMark("switch", "failed", 1.0, "ken"),), blocks=(block,))  # fmt: skip
    assert any("exit status 3, expected 0" in each for each in propose(RUNBOOK, run, INCIDENT, {}))
