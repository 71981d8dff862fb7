"""History answers from sums what the samples would have answered, keeps gaps as gaps, and survives its file."""

from __future__ import annotations

import math
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opsdash.errors import HistoryError
from opsdash.model.status import Status
from opsdash.storage.disk import NoticeCode
from opsdash.storage.histogram import bucket_of, middle_of, pack, percentile, unpack
from opsdash.storage.history import History
from opsdash.storage.samples import HOUR, MINUTE, Change, Counts, Retention, Sample

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DAY = 24 * HOUR
T0 = 1_793_700_000 // HOUR * HOUR
"""An hour in November 2026 begins."""

CHECK = "email/postmark/api"


_OPEN: list[History] = []


def opened(path: Path, *, read_only: bool = False) -> History:
    history = History(path, read_only=read_only)
    _OPEN.append(history)
    return history


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while _OPEN:
        _OPEN.pop().close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.db"


def sample(at: float, status: Status = Status.OK, latency_ms: float | None = 20.0, reason: str = "") -> Sample:
    return Sample(CHECK, T0 + at, status, latency_ms, reason)


def settle(history: History, now: float) -> None:
    while history.maintain(T0 + now).behind:
        pass


def test_before_anything_is_summed_up_the_samples_answer(path: Path) -> None:
    history = opened(path)
    history.write([sample(0), sample(10, Status.DEGRADED), sample(20, Status.DOWN), sample(30, Status.UNKNOWN)])

    assert history.uptime(CHECK, T0, T0 + 40).counts == Counts(ok=1, degraded=1, down=1, unknown=1)
    assert history.uptime(CHECK, T0 + 10, T0 + 30).counts == Counts(degraded=1, down=1)
    assert history.uptime("nobody/knows", T0, T0 + 40).share is None


def test_unknown_and_missing_are_not_uptime_and_paused_does_not_count(path: Path) -> None:
    history = opened(path)
    history.write([sample(n * 10) for n in range(6)])
    history.write([sample(60, Status.UNKNOWN), sample(70, Status.DEGRADED), sample(80, Status.PAUSED)])

    loose = history.uptime(CHECK, T0, T0 + 200)
    strict = history.uptime(CHECK, T0, T0 + 200, every=10)

    assert (loose.missing, loose.share) == (None, 7 / 8)
    assert "missing samples are not known" in loose.definition
    assert (strict.missing, strict.share) == (11, 7 / 19)
    assert "neither is missing" in strict.definition


def test_a_time_in_which_the_engine_was_off_is_a_gap(path: Path) -> None:
    history = opened(path)
    history.write([sample(n * 30) for n in range(10)])
    history.write([sample(HOUR + n * 30) for n in range(10)])

    for _ in range(2):
        points = history.series(CHECK, T0, T0 + HOUR + 300, step=300)
        assert [point.counts.total for point in points] == [10, *[0] * 11, 10]
        assert [point.at for point in points] == [T0 + n * 300 for n in range(13)]
        assert (points[1].mean, points[1].p95) == (None, None)
        settle(history, 2 * HOUR)


def test_a_chart_in_short_steps_shows_latencies(path: Path) -> None:
    history = opened(path)
    history.write([sample(0, latency_ms=10), sample(5, latency_ms=30), sample(10, latency_ms=None)])

    first, second = history.series(CHECK, T0, T0 + 20, step=10)

    assert (first.mean, first.least, first.most) == (20.0, 10.0, 30.0)
    assert first.p95 == pytest.approx(30, rel=0.045)
    assert (second.counts.total, second.mean) == (1, None)


def test_a_chart_that_nobody_could_draw_is_refused(path: Path) -> None:
    history = opened(path)
    with pytest.raises(HistoryError, match="at most 20000 points"):
        history.series(CHECK, 0, T0, step=1)
    with pytest.raises(HistoryError, match="at most 20000 points"):
        history.series(CHECK, T0, T0 + 10, step=0)


def test_percentiles_lie_within_their_promise_and_within_what_was_measured(path: Path) -> None:
    history = opened(path)
    history.write([sample(n, latency_ms=float(n + 1)) for n in range(1000)])
    settle(history, DAY)

    found = history.percentiles(CHECK, T0, T0 + HOUR, (0, 50, 95, 99, 100))

    assert found.count == 1000
    assert found.values == pytest.approx({0: 1, 50: 500, 95: 950, 99: 990, 100: 1000}, rel=0.045)
    assert found.values[100] <= 1000
    assert history.percentiles(CHECK, T0 - DAY, T0).values == {}


def test_samples_go_after_two_days_and_their_sums_go_on_answering(path: Path) -> None:
    history = opened(path)
    for minute in range(180):
        history.write([sample(minute * MINUTE + n * 10, latency_ms=50.0) for n in range(6)])
    before = history.percentiles(CHECK, T0, T0 + 3 * HOUR)
    settle(history, 3 * DAY)

    raw = sqlite3.connect(path)
    assert raw.execute("SELECT count(*) FROM sample").fetchone() == (0,)
    assert history.uptime(CHECK, T0 + 600, T0 + 9000, every=10).counts == Counts(ok=840)
    assert history.percentiles(CHECK, T0, T0 + 3 * HOUR) == before

    settle(history, 20 * DAY)
    assert raw.execute("SELECT step, count(*) FROM rollup GROUP BY step").fetchall() == [(HOUR, 3)]
    assert history.uptime(CHECK, T0, T0 + 3 * HOUR).counts == Counts(ok=1080)

    settle(history, 500 * DAY)
    assert history.uptime(CHECK, T0, T0 + 3 * HOUR).counts == Counts()
    raw.close()


def test_an_engine_that_was_off_for_weeks_still_sums_up_its_last_minutes(path: Path) -> None:
    history = opened(path)
    history.write([sample(0), sample(30), sample(90)])
    history.close()

    again = opened(path)
    settle(again, 30 * DAY)

    assert again.uptime(CHECK, T0, T0 + HOUR).counts == Counts(ok=3)


def test_a_late_sample_makes_its_minute_and_hour_due_again(path: Path) -> None:
    history = opened(path)
    history.write([sample(n * 10) for n in range(800)])
    settle(history, 3 * HOUR)

    history.write([sample(65, Status.DOWN)])
    assert history.uptime(CHECK, T0, T0 + 3 * HOUR).counts == Counts(ok=800, down=1)
    settle(history, 3 * HOUR)

    assert history.uptime(CHECK, T0, T0 + 3 * HOUR).counts == Counts(ok=800, down=1)
    assert history.series(CHECK, T0, T0 + 120, step=60)[1].counts == Counts(ok=6, down=1)


def test_a_sample_that_comes_after_its_minute_was_forgotten_spoils_no_sum(path: Path) -> None:
    history = opened(path)
    history.write([sample(n * 10) for n in range(360)])
    settle(history, 3 * DAY)

    history.write([sample(5, Status.DOWN), sample(3 * DAY)])
    settle(history, 3 * DAY + 2 * HOUR)

    assert history.uptime(CHECK, T0, T0 + HOUR).counts == Counts(ok=360)


@pytest.mark.parametrize("jump", [HOUR, 10 * DAY])
def test_a_clock_that_was_ahead_and_set_back_leaves_sums_right(path: Path, jump: int) -> None:
    history = opened(path)
    history.write([sample(jump + n * 10) for n in range(60)])
    settle(history, jump + HOUR)

    for minute in range(120):
        history.write([sample(minute * MINUTE + n * 10, Status.DEGRADED) for n in range(6)])
        history.maintain(T0 + minute * MINUTE + 59)
    settle(history, 2 * HOUR + MINUTE)

    rows = sqlite3.connect(path)
    assert rows.execute("SELECT sum(degraded) FROM rollup WHERE step = 3600").fetchone() == (720,)
    rows.close()
    assert history.uptime(CHECK, T0, T0 + 2 * HOUR).counts.degraded == 720


def test_changes_are_those_from_one_sample_to_the_next_across_restarts(path: Path) -> None:
    history = opened(path)
    history.write([sample(0), sample(10), sample(20, Status.DOWN, None, "timeout")])
    history.write([sample(30, Status.DOWN, None, "refused"), sample(15, Status.UNKNOWN)])
    history.close()
    history = opened(path)
    history.write([sample(40, Status.DOWN), sample(50)])

    assert history.changes(CHECK, T0, T0 + 60) == [
        Change(CHECK, T0 + 50, Status.DOWN, Status.OK, ""),
        Change(CHECK, T0 + 20, Status.OK, Status.DOWN, "timeout"),
        Change(CHECK, T0, None, Status.OK, ""),
    ]
    assert [change.at for change in history.changes(CHECK, T0, T0 + 60, limit=1)] == [T0 + 50]


def test_the_newest_change_outlives_its_retention(path: Path) -> None:
    history = opened(path)
    history.write([sample(0, Status.DOWN), sample(10)])
    settle(history, 500 * DAY)

    history.write([sample(500 * DAY)])

    assert [change.at for change in history.changes(CHECK, 0, T0 + 600 * DAY)] == [T0 + 10]


def test_changes_of_components_are_kept_beside(path: Path) -> None:
    history = opened(path)
    history.component_change("email", T0, None, Status.OK, "")
    history.component_change("email", T0 + 5, Status.OK, Status.DOWN, "timeout")
    history.component_change("crm", T0 + 6, Status.OK, Status.UNKNOWN, "offline")

    assert history.component_changes("email", T0, T0 + 60) == [
        Change("email", T0 + 5, Status.OK, Status.DOWN, "timeout"),
        Change("email", T0, None, Status.OK, ""),
    ]


@pytest.mark.parametrize("times", [(HOUR, DAY, DAY), (2 * DAY, DAY, 2 * DAY), (DAY, 3 * DAY, 2 * DAY)])
def test_retention_that_forgets_before_it_sums_up_is_refused(times: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="minutes as long as samples"):
        Retention(*times)


# --- the file ---


def test_a_file_that_is_no_database_is_set_aside_with_a_notice(path: Path) -> None:
    path.write_bytes(b"hello " * 2000)

    history = opened(path)
    history.write([sample(0)])

    [notice] = history.notices
    assert notice.code is NoticeCode.SET_ASIDE
    assert "history.db.broken" in notice.message
    assert path.with_name("history.db.broken").read_bytes().startswith(b"hello ")
    assert opened(path).uptime(CHECK, T0, T0 + 60).counts == Counts(ok=1)


def test_a_database_damaged_while_in_use_costs_its_past_and_no_batch(path: Path) -> None:
    history = opened(path)
    history.write([Sample(f"check-{n}", T0, Status.OK, 1.0) for n in range(5000)])
    history.close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (path.stat().st_size - 4096))

    history = opened(path)
    history.write([sample(0), sample(10)])

    assert [notice.code for notice in history.notices] == [NoticeCode.SET_ASIDE]
    assert history.uptime(CHECK, T0, T0 + 60).counts == Counts(ok=2)
    assert path.with_name("history.db.broken").exists()


def test_a_database_of_another_version_is_kept_beside_the_new_one(path: Path) -> None:
    other = sqlite3.connect(path)
    other.executescript("CREATE TABLE future(x); PRAGMA user_version = 99;")
    other.close()

    history = opened(path)

    assert "version 99" in history.notices[0].message
    kept = sqlite3.connect(path.with_name("history.db.other"))
    assert kept.execute("PRAGMA user_version").fetchone() == (99,)
    kept.close()


def test_a_reader_needs_no_engine_and_changes_nothing(path: Path) -> None:
    with pytest.raises(HistoryError, match="begins with the first engine"):
        opened(path, read_only=True)
    writer = opened(path)
    writer.write([sample(0)])
    reader = opened(path, read_only=True)
    writer.write([sample(10)])

    assert reader.uptime(CHECK, T0, T0 + 60).counts == Counts(ok=2)
    with pytest.raises(HistoryError, match="readonly"):
        reader.write([sample(20)])
    reader.close()


def test_a_reader_sets_nothing_aside(path: Path) -> None:
    path.write_bytes(b"hello " * 2000)
    with pytest.raises(HistoryError, match="cannot be opened"):
        opened(path, read_only=True)
    assert [entry.name for entry in path.parent.iterdir()] == ["history.db"]


def test_a_batch_that_fails_leaves_nothing_behind(path: Path) -> None:
    history = opened(path)
    broken = Sample("new/check", T0, Status.OK, 1.0, "new reason")
    with pytest.raises(ValueError, match="NaN"):
        history.write([broken, Sample(CHECK, math.nan, Status.OK)])

    history.write([broken])

    assert history.uptime("new/check", T0, T0 + 1).counts == Counts(ok=1)
    assert history.changes("new/check", T0, T0 + 1)[0].reason == "new reason"
    assert history.uptime(CHECK, 0, T0 + 1).counts == Counts()


WRITING = """
import sys
from pathlib import Path
from opsdash.model.status import Status
from opsdash.storage.history import History
from opsdash.storage.samples import Sample
history = History(Path(sys.argv[1]))
n = 0
while True:
    history.write([Sample(f"check-{c}", n, Status.OK, 5.0) for c in range(50)])
    if n % 7 == 0:
        history.maintain(n)
    print(n, flush=True)
    n += 1
"""


@pytest.mark.parametrize("batches", [1, 10, 100])
def test_batches_that_a_killed_process_had_written_are_there(path: Path, batches: int) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITING, str(path)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(batches)]
        child.send_signal(signal.SIGKILL)
        lines += child.stdout.readlines()
    written = sum(line.endswith("\n") for line in lines)

    history = opened(path)

    counts = {history.uptime(f"check-{c}", 0, 10**6).counts.ok for c in range(50)}
    assert len(counts) == 1
    assert counts.pop() in {written, written + 1}
    assert history.notices == ()


LIMITED = """
import resource, sys
from pathlib import Path
from opsdash.errors import HistoryError
from opsdash.model.status import Status
from opsdash.storage.history import History
from opsdash.storage.samples import Sample
history = History(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))
n = 0
try:
    while True:
        history.write([Sample(f"check-{c}", n, Status.OK, 5.0) for c in range(500)])
        n += 1
except HistoryError as error:
    print(n, history.uptime("check-0", 0, 10**6).counts.ok)
"""


def test_a_full_disk_refuses_a_batch_and_keeps_the_others(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path)], capture_output=True, text=True, check=True, timeout=60
    )
    written, seen = map(int, done.stdout.split())

    history = opened(path)

    assert written == seen > 3
    assert history.uptime("check-499", 0, 10**6).counts.ok == written
    assert history.notices == ()


# --- sums against samples ---

SAMPLES = st.lists(
    st.builds(
        sample,
        at=st.integers(0, 5 * HOUR * 10).map(lambda tenths: tenths / 10),
        status=st.sampled_from(list(Status)),
        latency_ms=st.none() | st.floats(0.001, 100_000),
    ),
    min_size=1,
    max_size=60,
    unique_by=lambda one: one.at,
)


@given(
    samples=SAMPLES,
    batch=st.integers(1, 20),
    maintained=st.lists(st.integers(0, 6 * HOUR), max_size=4),
    period=st.tuples(st.integers(-HOUR, 6 * HOUR), st.integers(1, 7 * HOUR)),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_in_any_order_and_however_maintained_sums_say_what_the_samples_say(
    path: Path, samples: list[Sample], batch: int, maintained: list[int], period: tuple[int, int]
) -> None:
    for leftover in path.parent.iterdir():
        leftover.unlink()
    history = opened(path)
    moments = list(maintained)
    for start in range(0, len(samples), batch):
        history.write(samples[start : start + batch])
        if moments:
            history.maintain(T0 + moments.pop(0))
    for now in (*moments, 6 * HOUR):
        settle(history, now)
    since, until = T0 + period[0], T0 + period[0] + period[1]
    chosen = [one for one in samples if since <= one.at < until]

    counts = Counter(one.status for one in chosen)
    latencies = sorted(one.latency_ms for one in chosen if one.latency_ms is not None)
    found = history.percentiles(CHECK, since, until, (50, 95))
    expected = {
        percent: latencies[max(1, math.ceil(percent / 100 * len(latencies))) - 1] for percent in (50, 95) if latencies
    }

    assert history.uptime(CHECK, since, until).counts == Counts(
        ok=counts[Status.OK],
        degraded=counts[Status.DEGRADED],
        down=counts[Status.DOWN],
        unknown=counts[Status.UNKNOWN],
        paused=counts[Status.PAUSED],
    )
    assert found.count == len(latencies)
    assert found.values == pytest.approx(expected, rel=0.046, abs=0.011)
    hourly = history.series(CHECK, T0, T0 + 6 * HOUR, HOUR)
    assert sum(point.counts.total for point in hourly) == len(samples)
    history.close()


@given(latency=st.floats(0.01, 3e7))
def test_a_bucket_stands_for_its_latencies_within_its_promise(latency: float) -> None:
    assert middle_of(bucket_of(latency)) == pytest.approx(latency, rel=0.045)


@given(counts=st.dictionaries(st.integers(0, 255), st.integers(1, 10**9), max_size=30))
def test_a_histogram_is_unpacked_as_it_was_packed(counts: dict[int, int]) -> None:
    assert unpack(pack(counts)) == counts


def test_a_minute_of_one_check_takes_a_few_bytes() -> None:
    assert len(pack(Counter(bucket_of(latency) for latency in (20, 21, 19, 22, 20, 25)))) <= 10
    assert percentile({}, 0.5) is None


def test_hours_are_counted_in_which_anything_was_measured(tmp_path: Path) -> None:
    history = opened(tmp_path / "history.sqlite")
    for hour in (0, 1, 5):
        history.write([Sample("a", T0 + hour * HOUR + second, Status.OK, 1.0, "") for second in (10, 70)])
    for _ in range(20):
        history.maintain(T0 + 8 * HOUR)
    assert history.measured_hours(["a"], T0, T0 + 8 * HOUR) == 3
    assert history.measured_hours(["a", "b"], T0 + HOUR, T0 + 8 * HOUR) == 2
    assert history.measured_hours([], T0, T0 + 8 * HOUR) == 0


def test_changes_of_all_components_come_newest_first(tmp_path: Path) -> None:
    history = opened(tmp_path / "history.sqlite")
    history.component_change("email", T0 + 1, Status.OK, Status.DOWN, "refused")
    history.component_change("crm", T0 + 2, Status.OK, Status.DEGRADED, "slow")
    assert [each.subject for each in history.all_component_changes(T0, T0 + 10)] == ["crm", "email"]
    assert history.all_component_changes(T0 + 3, T0 + 10) == []
