"""Check kind `heartbeat`: what the engine knows of a job, compared with the clock."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from opsdash.kinds.base import CheckContext, HeartbeatState, Sample
from opsdash.kinds.checks.heartbeat import KIND, Options, run
from opsdash.kinds.resolver import Resolver
from opsdash.model.status import Reason, Status

NOON = 1_780_000_000.0
HOUR = 3600.0
HOURLY = Options.model_validate({"every": "1h", "grace": "5m", "runtime": "10m"})
NIGHTLY = Options.model_validate({"cron": "30 2 * * *", "timezone": "Europe/Berlin", "grace": "5m"})


async def at(wall: float, options: Options = HOURLY, **signals: Any) -> Sample:
    state = HeartbeatState(**signals) if signals else None
    return await run(options, CheckContext("jobs/import", 5.0, wall, Path(), Resolver(), heartbeat=state))


async def test_a_job_from_first_start_to_missed_report() -> None:
    sample = await at(NOON)
    assert (sample.status, sample.reason) == (Status.UNKNOWN, Reason.STARTING)

    sample = await at(NOON + 60, started=NOON)
    assert (sample.status, sample.reason) == (Status.UNKNOWN, Reason.STARTING)

    sample = await at(NOON + 120, last=NOON + 90, detail="1,204 rows")
    assert sample.status is Status.OK
    assert sample.detail == "reported 30s ago: 1,204 rows"

    sample = await at(NOON + HOUR + 120, last=NOON)
    assert sample.status is Status.OK
    assert "due since 2m, 5m of grace" in sample.detail

    sample = await at(NOON + HOUR + 301, last=NOON)
    assert (sample.status, sample.reason) == (Status.DOWN, Reason.MISSED)


async def test_a_job_that_never_reported_is_missed_once_its_first_report_was_due() -> None:
    assert (await at(NOON + 299, due=NOON)).status is Status.UNKNOWN
    sample = await at(NOON + 301, due=NOON)
    assert (sample.status, sample.reason) == (Status.DOWN, Reason.MISSED)


async def test_a_reported_failure_counts_at_once_and_until_the_next_success() -> None:
    sample = await at(NOON + 60, last=NOON - HOUR, failed=NOON, detail="disk full")
    assert (sample.status, sample.reason) == (Status.DOWN, Reason.FAILED)
    assert sample.detail == "it reported a failure 1m ago: disk full"
    sample = await at(NOON + 120, last=NOON - HOUR, failed=NOON, started=NOON + 90)
    assert (sample.status, sample.reason) == (Status.DOWN, Reason.FAILED)
    assert (await at(NOON + 240, last=NOON + 180, failed=NOON)).status is Status.OK


async def test_a_job_that_runs_too_long_is_slow_and_later_missed() -> None:
    assert (await at(NOON + 599, last=NOON - 60, started=NOON)).status is Status.OK
    sample = await at(NOON + 700, last=NOON - 60, started=NOON)
    assert (sample.status, sample.reason) == (Status.DEGRADED, Reason.SLOW)
    sample = await at(NOON + HOUR + 400, last=NOON - 60, started=NOON)
    assert (sample.status, sample.reason) == (Status.DOWN, Reason.MISSED)


async def test_a_finished_job_is_not_running() -> None:
    sample = await at(NOON + 3000, last=NOON + 60, started=NOON)
    assert sample.status is Status.OK
    assert sample.values["running"] is False


async def test_a_cron_schedule_is_judged_by_what_the_calendar_said() -> None:
    assert (await at(NOON + HOUR, NIGHTLY, last=NOON, due=NOON + 2 * HOUR)).status is Status.OK
    sample = await at(NOON + 2 * HOUR + 301, NIGHTLY, last=NOON, due=NOON + 2 * HOUR)
    assert (sample.status, sample.reason) == (Status.DOWN, Reason.MISSED)
    assert (await at(NOON + 99 * HOUR, NIGHTLY, last=NOON)).status is Status.OK, "nobody said it was due"


async def test_age_and_last_are_missing_until_there_was_a_report() -> None:
    assert "age" not in (await at(NOON)).values
    values = (await at(NOON + 240, last=NOON)).values
    assert values["age"] == 240
    assert values["last"] == NOON
    assert set(values) == set(KIND.sample)


async def test_a_report_from_the_future_has_no_negative_age() -> None:
    assert (await at(NOON, last=NOON + 5)).values["age"] == 0


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "either `every` or `cron`"),
        ({"every": "1h", "cron": "0 * * * *"}, "either `every` or `cron`"),
        ({"every": "0"}, "longer than nothing"),
        ({"every": 3600}, "no duration"),
        ({"every": "1h", "timezone": "UTC"}, "belongs to `cron`"),
        ({"cron": "0 * * *"}, "4 fields"),
        ({"cron": "0 * * * *", "timezone": "Europe/Atlantis"}, "no time zone"),
        ({"cron": "0 * * * *", "timezone": "../../etc/passwd"}, "no time zone"),
    ],
)
def test_a_schedule_that_says_nothing_or_two_things_is_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Options.model_validate(keys)
