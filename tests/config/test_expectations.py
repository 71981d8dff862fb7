"""Expectations: true passes, false fails, and whatever cannot be told is unknown."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsdash.kinds.base import Sample
from opsdash.kinds.expectations import (
    MAX_DETAIL,
    ExpressionError,
    check_expression,
    check_fact,
    compile_expression,
    compile_judge,
)
from opsdash.model.status import Reason, Status

NOW = datetime(2026, 11, 18, 12, 0, tzinfo=UTC).timestamp()
OFFERED: dict[str, Any] = {
    "status": 200,
    "headers": {"content-type": "text/html"},
    "body": "",
    "latency": 0.1,
    "json": {},
}


def judged(
    *expect: str, sample: Sample | None = None, degraded_when: tuple[str, ...] = (), **values: Any
) -> tuple[Status, Reason | None, str]:
    judge = compile_judge(expect, degraded_when, {}, slow_after=0.4, max_latency=0.8)
    verdict = judge(sample or Sample(Status.OK, values=values), NOW)
    return verdict.status, verdict.reason, verdict.detail


def test_what_is_true_passes_and_what_is_false_fails_with_the_values_it_names() -> None:
    assert judged("json.depth < 100", json={"depth": 7})[0] is Status.OK
    assert judged("json.depth < 100 && status == 200", json={"depth": 250}, status=200) == (
        Status.DOWN,
        Reason.EXPECTATION,
        "json.depth < 100 && status == 200 is false (json.depth = 250, status = 200)",
    )


@pytest.mark.parametrize(
    ("expression", "json", "said"),
    [
        ("json.healthy", {}, "there is no 'healthy'"),
        ("json.healthy", {"healthy": "yes"}, 'gives "yes" and not true or false'),
        ("json.n > 3", {"n": "4"}, "types that do not go together"),
        ("json.n > 3", {"n": None}, "types that do not go together"),
        ("json.rows[3].x == 1", {"rows": []}, "out of bounds"),
        ('json.t.matches("(")', {"t": "x"}, "regex"),
        ("1 / json.n > 0", {"n": 0}, "zero"),
        ("json.x == 1", {"x": 1, "bad": "\ud800"}, "convert"),
        ('age(json.at) < duration("2m")', {"at": "2099-01-01T00:00:00Z"}, "in the future"),
        ('age(json.at) < duration("2m")', {"at": "2026-11-18T12:00:00"}, "names no time zone"),
        ('age(json.at) < duration("2m")', {"at": "yesterday"}, "is no time"),
        ('age(json.at) < duration("2m")', {"at": True}, "is no time"),
    ],
)
def test_what_cannot_be_told_is_unknown_and_never_a_pass(expression: str, json: object, said: str) -> None:
    status, reason, detail = judged(expression, json=json)
    assert (status, reason) == (Status.UNKNOWN, Reason.EXPECTATION_ERROR)
    assert said in detail


@pytest.mark.parametrize(
    "expression", ["!has(json.x) || json.x > 3", "json.x > 3 || status == 200", "has(json.a) && json.a"]
)
def test_the_authors_own_has_and_or_may_decide_without_a_value(expression: str) -> None:
    assert judged(expression, json={"a": True}, status=200)[0] is Status.OK


@pytest.mark.parametrize(
    "at",
    [
        "2026-11-18T11:59:00Z",
        "2026-11-18T12:59:00+01:00",
        NOW - 60,
        (NOW - 60) * 1000,
        int(NOW),
        "2026-11-18T12:01:00Z",
    ],
)
def test_an_age_is_that_of_a_text_with_a_zone_or_of_an_epoch_number(at: object) -> None:
    assert judged('age(json.at) < duration("2m")', json={"at": at})[0] is Status.OK
    assert judged('age(json.at) < duration("-2m")', json={"at": at})[0] is Status.DOWN


def test_a_missing_body_says_why_there_is_no_json() -> None:
    detail = judged("json.healthy", json_error="Expecting value: line 1")[2]
    assert detail.startswith("json.healthy cannot be told: the body is no JSON: Expecting value")


def test_a_failure_is_certain_even_when_another_expectation_cannot_be_told() -> None:
    assert judged("json.x", "status == 200", json={}, status=500)[:2] == (Status.DOWN, Reason.EXPECTATION)


def slow(latency: float) -> Sample:
    return Sample(Status.OK, latency=latency, detail="200 OK")


def test_a_good_answer_may_be_too_slow() -> None:
    assert judged(sample=slow(0.3)) == (Status.OK, None, "200 OK")
    assert judged(sample=slow(0.5)) == (Status.DEGRADED, Reason.SLOW, "took 500ms, slow from 400ms on")
    assert judged(sample=slow(0.9)) == (Status.DOWN, Reason.SLOW, "took 900ms, more than 800ms")


def test_degraded_when_is_asked_once_everything_else_holds() -> None:
    assert judged("json.ok", degraded_when=("json.held > 30",), json={"ok": True, "held": 31}) == (
        Status.DEGRADED,
        Reason.EXPECTATION,
        "json.held > 30 (json.held = 31)",
    )
    assert judged(degraded_when=("json.held > 30",), json={"held": 3})[0] is Status.OK
    assert judged(degraded_when=("json.held > 30",), json={})[:2] == (Status.UNKNOWN, Reason.EXPECTATION_ERROR)


def test_a_default_verdict_on_a_status_yields_to_an_author_who_names_it() -> None:
    refused = Sample(Status.DOWN, Reason.AUTH, "401 Unauthorized", values={"status": 401}, soft=True)
    assert judged(sample=refused)[:2] == (Status.DOWN, Reason.AUTH)
    assert judged("latency < 1.0", sample=refused)[:2] == (Status.DOWN, Reason.AUTH)
    assert judged("status == 401", sample=refused)[0] is Status.OK
    kept = judged("json.ok", "status == 200", sample=refused)
    assert kept[:2] == (Status.DOWN, Reason.AUTH), "auth says more than expectation, and the register may ask for it"
    assert "status == 200 is false" in kept[2]


def test_what_the_kind_could_not_measure_is_not_judged() -> None:
    for status, reason in (
        (Status.DOWN, Reason.REFUSED),
        (Status.UNKNOWN, Reason.PROBE_ERROR),
        (Status.DEGRADED, Reason.RATE_LIMITED),
    ):
        assert judged("status == 200", sample=Sample(status, reason))[:2] == (status, reason)


def test_a_kinds_own_degraded_can_still_fail() -> None:
    low = Sample(Status.DEGRADED, Reason.QUOTA_LOW, values={"remaining": 1})
    assert judged("remaining > 0", sample=low)[:2] == (Status.DEGRADED, Reason.QUOTA_LOW)
    assert judged("remaining > 5", sample=low)[:2] == (Status.DOWN, Reason.EXPECTATION)


def test_json_is_asked_for_only_by_those_who_name_it() -> None:
    assert not compile_judge(['body == "json"'], [], {}).wants_json
    assert compile_judge([], ["json.x"], {}).wants_json
    assert compile_judge([], [], {"provider": "json.provider"}).wants_json
    judge = compile_judge(["status == 200"], [], {})
    assert judge(Sample(Status.OK, values={"status": 200, "json": object()}), NOW).status is Status.OK


def test_a_detail_is_capped_and_the_log_stays_silent(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        detail = judged("age(json.at) < duration('1s') && json.at == 'y'", json={"at": "x" * 5000})[2]
    assert len(detail) <= MAX_DETAIL
    assert caplog.records == []


def trial(source: str) -> None:
    check_expression(compile_expression(source), OFFERED, NOW)


@pytest.mark.parametrize(
    "source",
    ["status == 200", "json.anything.at[0].all == 'x'", 'headers["x-not-in-the-sample"] == "1"',
     "json.l.all(x, x.ok && x.n > 1)", 'now > timestamp("2020-01-01T00:00:00Z")', "body.contains('é')", "latency < 1"],
)  # fmt: skip
def test_what_can_be_computed_is_accepted_at_load(source: str) -> None:
    trial(source)


@pytest.mark.parametrize(
    ("source", "said", "hint"),
    [
        ("status = 200", "character 8", "compare with =="),
        ("status == 200 and json.x", "mismatched input 'and'", "write &&"),
        ("not status", "no CEL", "write !"),
        ("", "empty", ""),
        ("x" * 3000, "at most 2000", ""),
        ("statu == 200", "there is no 'statu'", ""),
        ("json.l.all(x, y)", "there is no 'y'", ""),
        ("bodyy.size() > 1", "there is no 'bodyy'", ""),
        ("sise(body) > 1", "there is no function 'sise'", ""),
        ("status", "gives 200", "compare it"),
        ("body > 5", "types that do not go together", 'body = ""'),
    ],
)
def test_what_cannot_be_computed_is_told_at_load(source: str, said: str, hint: str) -> None:
    with pytest.raises(ExpressionError, match=said) as raised:
        trial(source)
    assert hint in raised.value.hint


def test_facts_are_dotted_paths_and_a_missing_one_is_left_out() -> None:
    judge = compile_judge([], [], {"a": "json.list[1].name", "b": "json.missing", "c": 'headers["x-y"]'})
    assert judge.extract({"json": {"list": [0, {"name": "n"}]}, "headers": {"x-y": "z"}}) == {"a": "n", "c": "z"}
    check_fact("json.x", OFFERED)
    with pytest.raises(ExpressionError, match="there is no 'jsn'"):
        check_fact("jsn.x", OFFERED)
    with pytest.raises(ExpressionError, match="is no path"):
        check_fact("json..x", OFFERED)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner),
    max_leaves=6,
)
_SOURCES = st.sampled_from(
    ["json.a", "json.a > 1", "json.a == json.b", 'age(json.a) < duration("1h")', "size(json.a) > 1",
     "json.a.all(x, x)", "json.a[0]", "json.a + json.b > 1", "timestamp(json.a) < now",
     "string(json.a).matches('a+')", "int(json.a) % 2 == 0"]
)  # fmt: skip


@given(_SOURCES, _VALUES)
def test_whatever_a_monitored_system_says_there_is_a_verdict(source: str, value: object) -> None:
    status, reason, detail = judged(source, json=value)
    assert status in (Status.OK, Status.DOWN, Status.UNKNOWN)
    assert (status is Status.OK) == (reason is None)
    assert len(detail) <= MAX_DETAIL
