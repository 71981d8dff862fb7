"""The report of an incident: everything that is known stands in it, and nothing of it is markup."""

from __future__ import annotations

import pytest

from opsdash.core.markdown import cell, fenced, line
from opsdash.core.report import WRITE, propose, report
from opsdash.core.story import Story, gather
from opsdash.model import inputs as i
from opsdash.model.incident import Incident, IncidentKind
from opsdash.model.run import BlockResult, BlockState, Run, StepMark
from opsdash.model.runbook import Runbook, Step
from opsdash.testing import Timeline, component, email, failure, mail_outside, operation

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
    assert headings == [
        "Summary", "Impact", "Timeline", "Contributing factors", "What had been decided in advance, and did it hold?",
        "What went well", "What did not go well", "Where we were lucky", "Actions", "Proposed changes of runbooks",
        "Next drill", "Figures",
    ]  # fmt: skip
    assert text.count(WRITE) == 7


def test_it_says_what_was_decided_and_whether_it_held() -> None:
    text = written(outage())
    assert "decided was **switch**" in text
    assert "failover of email to ses by maria: committed in" in text
    assert "never proved before. It held." in text
    assert "`email/ses` had never been tried before, and worked." in text
    assert "Runbook `email-down` (RUN-1, by maria" in text
    assert "    - done: Switch" in text
    assert "    - failed: Look at the queue" in text


def test_it_says_what_changed_before_and_who_did_what() -> None:
    text = written(outage())
    assert "changed before: email: new templates (7) (lena)" in text
    assert "| maria | acknowledged |" in text


def test_it_proposes_what_following_the_runbook_has_taught() -> None:
    text = written(outage())
    assert "+> Did not work in INC-1" in text
    assert "```diff\n--- runbooks/email-down.md" in text


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
    incident = Incident("INC-4", "email", IncidentKind.FAILURE, "down", 0.0)
    marks = (StepMark("look-at-the-queue", "skipped", 1.0, "ken"), StepMark("switch", "done", 2.0, "ken"))
    run = Run("RUN-1", "email-down", "email", "sha", "ken", 0.0, marks=marks)
    diff = propose(RUNBOOK, run, incident)
    assert [each for each in diff if each.startswith("+>")] == [
        "+> Skipped in INC-4, 1970-01-01: is this step still needed?"
    ]
    done = Run("RUN-1", "email-down", "email", "sha", "ken", 0.0, marks=marks[1:])
    assert propose(RUNBOOK, done, incident) == []


def test_a_step_that_failed_says_what_its_block_said() -> None:
    incident = Incident("INC-4", "email", IncidentKind.FAILURE, "down", 0.0)
    block = BlockResult("switch", 0, BlockState.FAILED, 0.0, 1.0, "exit status 3, expected 0")
    run = Run("RUN-1", "email-down", "email", "sha", "ken", 0.0,
              marks=(StepMark("switch", "failed", 1.0, "ken"),), blocks=(block,))  # fmt: skip
    assert any("exit status 3, expected 0" in each for each in propose(RUNBOOK, run, incident))
