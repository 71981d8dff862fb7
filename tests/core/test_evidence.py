"""The evidence of a switch: one document that stands for itself, made from records alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from opsdash.core.evidence import document, gather, is_about, markdown
from opsdash.model.operation import Step
from opsdash.model.records import SwitchIntended
from opsdash.model.status import Status
from opsdash.model.switch import SwitchState
from opsdash.storage.codec import encode
from opsdash.testing import Timeline, call, email, mail_outside, mail_switch, operation

PRIMARY = "email/postmark/api"


def switched(**settings: Any) -> Timeline:
    outside = mail_outside()
    timeline = Timeline(operation(email(switch=mail_switch(**settings))), outside=outside)
    timeline.advance(1)
    timeline.all_ok()
    outside.status[PRIMARY] = Status.DOWN
    timeline.down(PRIMARY, times=3)
    timeline.advance(4)
    timeline.confirm("email", who="maria", reason="no mail | leaves [at](all)\n# really")
    timeline.advance(15)
    return timeline


def evidence(timeline: Timeline, switch: str = "email-failover-1") -> dict[str, Any]:
    records = [record for record in timeline.records if is_about(record, switch)]
    found = gather(records)
    assert found is not None
    entries = [{"seq": n, "type": type(each).__name__, "hash": f"{n:064d}"} for n, each in enumerate(records, 1)]
    plan = next(encode(each)[1]["switch"]["plan"] for each in records if isinstance(each, SwitchIntended))
    return document(found, records, entries, plan, {"switch": "curl …", "undo": "curl … back"})


def test_it_says_who_why_from_where_to_where_and_what_became_of_it() -> None:
    found = evidence(switched())
    assert (found["who"], found["cause"], found["source"], found["target"]) == ("maria", "person", "postmark", "ses")
    assert found["outcome"] == "committed"
    assert found["reason"].startswith("no mail")
    assert {fact["truth"] for fact in found["facts"]} == {"true", "stateless"}
    assert {guard["rule"] for guard in found["guards"]} >= {"target_healthy", "proof", "live_switch"}


def test_its_times_are_split_and_add_up() -> None:
    times = evidence(switched())["times"]
    assert set(times) == {"detect", "decide", "act", "settle", "verify", "total"}
    assert times["decide"] == pytest.approx(4.0, abs=0.2)
    assert times["act"] + times["settle"] + times["verify"] == pytest.approx(times["total"], abs=0.01)


def test_how_long_it_took_to_notice_counts_from_the_first_bad_result() -> None:
    timeline = Timeline(operation(email()))
    timeline.read("email", "pm-prod")
    timeline.all_ok()
    for _ in range(3):
        timeline.advance(2)
        timeline.down(PRIMARY)
    timeline.confirm("email")
    assert evidence(timeline)["times"]["detect"] == pytest.approx(4.0)


def test_it_names_the_entries_of_the_journal_that_it_was_made_from() -> None:
    found = evidence(switched())
    assert [each["type"] for each in found["journal"]] == [
        "SwitchIntended",
        "SwitchAdvanced",
        "SwitchAdvanced",
        "SwitchAdvanced",
        "SwitchEnded",
        "Proved",
    ]
    assert len(found["history"]) == len(found["journal"])


def test_what_came_later_belongs_to_it_too() -> None:
    timeline = switched()
    timeline.read("email", "pm-prod")
    found = evidence(timeline)
    assert found["outcome"] == SwitchState.REVERTED.value
    assert "opsdash" in found["history"][-1]["who"]


def test_its_steps_are_named() -> None:
    step = Step("quiesce", call("quiesce", "on"), undo=call("quiesce", "off"))
    assert evidence(switched(before=(step,)))["steps"] == ["quiesce", "switch"]


def test_the_hash_of_the_plan_changes_with_the_plan() -> None:
    one, other = evidence(switched()), evidence(switched(deadline=29.0))
    assert one["plan_sha256"] != other["plan_sha256"]
    assert one["plan_sha256"] == evidence(switched())["plan_sha256"]


def test_it_is_plain_json() -> None:
    found = evidence(switched())
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_the_same_in_markdown_is_no_place_for_other_peoples_markup() -> None:
    text = markdown(evidence(switched()), lambda at: f"at {at or 0:.0f}")
    assert text.startswith("# Failover of email: postmark → ses\n")
    assert "- why: no mail | leaves \\[at](all) # really" in text
    assert "\n# really" not in text
    assert "| the front door is served by it | true |" in text
    assert "    curl … back" in text


def test_without_its_beginning_there_is_no_evidence() -> None:
    records = [each for each in switched().records if not isinstance(each, SwitchIntended)]
    assert gather([each for each in records if is_about(each, "email-failover-1")]) is None
