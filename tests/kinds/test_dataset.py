"""Check kind `dataset`: data that is missing, old, frozen or nonsense, while its source looks healthy."""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from opsdash.kinds.base import CheckContext, Sample
from opsdash.kinds.checks import dataset
from opsdash.kinds.records import Rules, examine, parse_time
from opsdash.model.status import Reason, Status

if TYPE_CHECKING:
    from pathlib import Path

Serve = Callable[..., Awaitable[Any]]
MakeContext = Callable[..., CheckContext]
Answer = Callable[..., bytes]

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def ago(**span: float) -> str:
    return (NOON - timedelta(**span)).isoformat()


def row(**changes: Any) -> dict[str, Any]:
    return {"id": 1, "email": "a@example", "score": 50, "at": ago(minutes=5), **changes}


class Feed:
    """A file of the workspace, and the check that watches it."""

    def __init__(self, folder: Path, context: MakeContext) -> None:
        self.file = folder / "data"
        self.context = context
        self.last: Sample | None = None

    async def check(self, data: Any, *, later: float = 0, **keys: Any) -> Sample:
        if data is not None:
            self.file.write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())
        options = dataset.Options.model_validate({"file": "data", **keys})
        self.last = await dataset.run(options, self.context(wall=NOON.timestamp() + later, previous=self.last))
        return self.last


@pytest.fixture
def feed(tmp_path: Path, context: MakeContext) -> Feed:
    return Feed(tmp_path, context)


FRESH: dict[str, Any] = {"at": "at", "warn_after": "1h", "stale_after": "1d"}


async def test_good_data_is_ok_and_described(feed: Feed) -> None:
    sample = await feed.check([row(), row(at=ago(hours=2))], **FRESH)
    assert (sample.status, sample.detail) == (Status.OK, "2 rows, the newest 5m old")
    assert (sample.values["rows"], sample.values["age"]) == (2, 300.0)
    assert sample.values["newest"] == NOON.timestamp() - 300


@pytest.mark.parametrize(
    ("data", "keys", "verdict", "words"),
    [
        (b"", {}, (Status.DOWN, Reason.EMPTY), "no data at all"),
        (b" \n", {}, (Status.DOWN, Reason.EMPTY), "no data at all"),
        ([], {}, (Status.DOWN, Reason.EMPTY), "no rows"),
        ([row()] * 9, {"min_rows": 10}, (Status.DOWN, Reason.EMPTY), "9 rows, fewer than 10"),
        ([row()] * 9, {"max_rows": 8}, (Status.DOWN, Reason.GARBAGE), "9 rows, more than 8"),
        ([], {"min_rows": 0}, (Status.OK, None), "0 rows"),
        ([row(at=ago(hours=2))], FRESH, (Status.DEGRADED, Reason.STALE), "2h old"),
        ([row(at=ago(days=2))], FRESH, (Status.DOWN, Reason.STALE), "2d old"),
        ([row(at=ago(hours=-1))], FRESH, (Status.DOWN, Reason.GARBAGE), "in the future"),
        ([row(at=ago(minutes=-4))], FRESH, (Status.OK, None), ""),
        ([row(at="N/A")], FRESH, (Status.DOWN, Reason.GARBAGE), "no row has a time in at"),
        ([row(at="yesterday")], FRESH, (Status.DOWN, Reason.GARBAGE), "'yesterday' is no time"),
        ([row(at=-5)], FRESH, (Status.DOWN, Reason.GARBAGE), "-5 is no time"),
        ([row(), row(email=None)], {"not_null": {"email": 0}}, (Status.DOWN, Reason.GARBAGE), "never may be"),
        ([row(), row(email="n/a")], {"not_null": {"email": "40%"}}, (Status.DOWN, Reason.GARBAGE), "50% of the rows"),
        ([row(), {"id": 1}], {"not_null": {"email": "50%"}}, (Status.OK, None), ""),
        ([row(score=101)], {"range": {"score": [0, 100]}}, (Status.DOWN, Reason.GARBAGE), "101, not between 0 and 100"),
        ([row(score="high")], {"range": {"score": [0, 100]}}, (Status.DOWN, Reason.GARBAGE), "'high', not between"),
        ([row(score=True)], {"range": {"score": [0, 100]}}, (Status.DOWN, Reason.GARBAGE), "True, not between"),
        ([row(score=None)], {"range": {"score": [0, 100]}}, (Status.OK, None), ""),
        ([1, "two", None], {"not_null": {"email": 0}}, (Status.DOWN, Reason.GARBAGE), "100% of the rows"),
        (b"<!DOCTYPE html><html>", {}, (Status.DOWN, Reason.GARBAGE), "HTML page"),
        (b"Service unavailable", {}, (Status.DOWN, Reason.GARBAGE), "no JSON"),
        (b"\xff\xfe\x00", {}, (Status.DOWN, Reason.GARBAGE), "no JSON"),
        (b"[" * 100_000, {}, (Status.DOWN, Reason.GARBAGE), "nested deeper"),
        ({"error": "x"}, {}, (Status.DOWN, Reason.GARBAGE), "json is no list"),
        ({"data": {}}, {"rows": "json.data.items"}, (Status.DOWN, Reason.GARBAGE), "there is no json.data.items"),
    ],
)
async def test_each_rule_when_broken_has_its_status_reason_and_words(
    feed: Feed, data: Any, keys: dict[str, Any], verdict: tuple[Status, Reason | None], words: str
) -> None:
    sample = await feed.check(data, **keys)
    assert (sample.status, sample.reason) == verdict
    assert words in sample.detail


async def test_of_several_broken_rules_empty_comes_before_stale_before_garbage(feed: Feed) -> None:
    bad = row(score=500, at=ago(days=3))
    rules: dict[str, Any] = {**FRESH, "range": {"score": [0, 100]}}
    assert (await feed.check([bad], **rules, min_rows=2)).reason is Reason.EMPTY
    assert (await feed.check([bad], **rules)).reason is Reason.STALE
    assert (await feed.check([{**bad, "at": ago(minutes=1)}], **rules)).reason is Reason.GARBAGE
    # What is down comes before what is degraded.
    late = await feed.check([{**bad, "at": ago(hours=2)}], **rules)
    assert (late.status, late.reason) == (Status.DOWN, Reason.GARBAGE)
    assert len(late.values["broken"]) == 2


async def test_data_that_stays_the_same_for_too_long_is_down(feed: Feed) -> None:
    keys: dict[str, Any] = {"unchanged_for": "1d"}
    hours = 3600
    assert (await feed.check([row()], **keys)).status is Status.OK
    assert (await feed.check([row()], later=23 * hours, **keys)).values["unchanged"] == 23 * hours
    frozen = await feed.check([row()], later=25 * hours, **keys)
    assert (frozen.status, frozen.reason) == (Status.DOWN, Reason.UNCHANGED)
    assert (await feed.check([row(id=2)], later=26 * hours, **keys)).status is Status.OK


async def test_a_run_without_data_forgets_nothing(feed: Feed) -> None:
    keys: dict[str, Any] = {"unchanged_for": "1d"}
    await feed.check([row()], **keys)
    feed.file.unlink()
    missing = await feed.check(None, later=3600, **keys)
    assert (missing.status, missing.reason) == (Status.DOWN, Reason.MISSING)
    assert (await feed.check([row()], later=25 * 3600, **keys)).reason is Reason.UNCHANGED


async def test_one_time_for_the_whole_document(feed: Feed) -> None:
    document = {"generated_at": ago(days=2), "items": [row()]}
    keys: dict[str, Any] = {"rows": "json.items", "at": "json.generated_at", "stale_after": "1d"}
    assert (await feed.check(document, **keys)).reason is Reason.STALE


@pytest.mark.parametrize(
    ("text", "status", "words"),
    [
        ("id,at,score\n1,2026-11-23T11:55:00Z,5\n2,1795434900,7\n", Status.OK, "2 rows"),
        ('\ufeffid,at,score\r\n1,"2026-11-23 11:55",5\r\n\r\n', Status.OK, "1 rows"),
        ("id,at,score\n", Status.DOWN, "no rows"),
        ("id,at,score\n1,2\n", Status.DOWN, "line 2 has 2 columns, the first has 3"),
        ('id,at,score\n1,"2\n', Status.DOWN, "no CSV"),
        ("id,at,score\n1,2026-11-23T11:55:00Z,500\n", Status.DOWN, "score is '500'"),
        ("id,at,score\n1," + "x" * 200_000 + ",5\n", Status.DOWN, "no CSV"),
    ],
)
async def test_csv_with_a_header_line(feed: Feed, text: str, status: Status, words: str) -> None:
    sample = await feed.check(text.encode(), format="csv", range={"score": [0, 100]}, **FRESH)
    assert sample.status is status
    assert words in sample.detail


async def test_times_without_a_zone_are_of_the_zone_that_is_named(feed: Feed) -> None:
    rows = [row(at="2026-11-23T12:55:00")]  # 11:55 in UTC, if it is Berlin's
    sample = await feed.check(rows, timezone="Europe/Berlin", **FRESH)
    assert sample.values["age"] == 300.0
    assert (await feed.check(rows, **FRESH)).reason is Reason.GARBAGE


async def test_data_from_a_url(serve: Serve, context: MakeContext, http_answer: Answer) -> None:
    rows = json.dumps({"data": [row()] * 3000})
    server = await serve([http_answer(rows), http_answer("gone", status=500), http_answer(rows)])
    options = dataset.Options.model_validate({"url": f"http://{server.origin}/", "rows": "json.data", **FRESH})
    sample = await dataset.run(options, context())
    assert (sample.status, sample.values["rows"], sample.values["status"]) == (Status.OK, 3000, 200)
    assert len(sample.values["json"]["data"]) == 3000
    failed = await dataset.run(options, context(previous=sample))
    assert (failed.status, failed.reason) == (Status.DOWN, Reason.STATUS)
    assert failed.state == sample.state
    quiet = await dataset.run(options, context(wants_json=False))
    assert "json" not in quiet.values


async def test_data_longer_than_allowed_is_not_judged(
    feed: Feed, serve: Serve, context: MakeContext, http_answer: Answer
) -> None:
    sample = await feed.check([row()] * 100, max_body="1KiB")
    assert (sample.status, sample.reason) == (Status.UNKNOWN, Reason.TOO_LARGE)
    server = await serve(http_answer("[" + "1," * 1000 + "1]"))
    options = dataset.Options.model_validate({"url": f"http://{server.origin}/", "max_body": "1KiB"})
    assert (await dataset.run(options, context())).reason is Reason.TOO_LARGE


async def test_a_pipe_is_not_waited_for(feed: Feed) -> None:
    os.mkfifo(feed.file)
    sample = await feed.check(None)
    assert (sample.status, sample.reason) == (Status.UNKNOWN, Reason.PROBE_ERROR)
    assert "no regular file" in sample.detail


@given(st.binary(max_size=200), st.sampled_from(["json", "csv"]))
def test_no_bytes_whatsoever_break_the_examination(body: bytes, layout: Any) -> None:
    rules = Rules(layout=layout, at="at", zone=UTC, stale_after=1, not_null={"a": 0}, bounds={"b": (0, 1)})
    findings = examine(body, rules, NOON.timestamp())
    assert findings.broken


@given(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers()))
def test_a_time_is_read_or_refused(value: Any) -> None:
    try:
        found = parse_time(value, UTC)
    except ValueError:
        return
    assert -1e12 < found < 1e12


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({}, "either `url` or `file`"),
        ({"url": "http://a/", "file": "b"}, "either `url` or `file`"),
        ({"file": "b", "stale_after": "1d"}, "need `at`"),
        ({"file": "b", "range": {"a": [2, 1]}}, "range of a is empty"),
        ({"file": "b", "not_null": {"a[": 0}}, "no path"),
        ({"file": "b", "timezone": "Mars/Base"}, "no time zone"),
        ({"file": "b", "rows": ""}, "names nothing"),
    ],
)
def test_keys_that_make_no_sense_are_refused(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        dataset.Options.model_validate(keys)
