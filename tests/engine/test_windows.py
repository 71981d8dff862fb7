"""Windows by the calendar: real cron expressions, the edges told in time, and any jump of the clock."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opsdash.core import windows as core_windows
from opsdash.engine import engine as engine_module
from opsdash.engine.calendar import next_cron, next_edge, open_now
from opsdash.engine.windows import Windows
from opsdash.model.inputs import MaintenanceIntent, WindowsOpen
from opsdash.model.window import WindowKind, WindowSpec
from opsdash.testing import FakeClock, Inbox, Timeline, alarming, component, operation
from tests.engine.support import (
    GatedJournal,
    ShiftedClock,
    eventually,
    hang,
    loaded_from,
    running,
    serving,
    status,
    web,
    write_workspace,
)

if TYPE_CHECKING:
    from pathlib import Path

    from opsdash.engine.engine import Engine

BERLIN = ZoneInfo("Europe/Berlin")


def recurring(cron: str, hours: float, zone: str = "Europe/Berlin") -> WindowSpec:
    return WindowSpec("w", WindowKind.MAINTENANCE, "W", cron=cron, length=hours * 3600, timezone=zone)


def at(*moment: int, zone: ZoneInfo = BERLIN) -> float:
    return datetime(*moment, tzinfo=zone).timestamp()  # type: ignore[arg-type, misc]


# --- when ------------------------------------------------------------------------------------------------------------


def test_a_window_is_open_from_its_first_moment_to_before_its_last() -> None:
    nightly = recurring("0 3 * * *", 2)
    begins, ends = at(2026, 11, 25, 3), at(2026, 11, 25, 5)
    assert open_now(nightly, begins - 1) is None
    for wall in (begins, begins + 3600, ends - 0.001):
        found = open_now(nightly, wall)
        assert found is not None
        assert (found.since, found.until) == (begins, ends)
    assert open_now(nightly, ends) is None
    assert [next_edge(nightly, wall) for wall in (begins - 1, begins, ends)] == [begins, ends, begins + 86400]


def test_a_window_over_midnight_and_one_that_is_longer_than_its_interval() -> None:
    late = recurring("0 23 * * fri", 60)
    assert open_now(late, at(2026, 11, 29, 12)) is not None, "Sunday noon"
    assert open_now(late, at(2026, 11, 30, 12)) is None
    always = recurring("*/10 * * * *", 1)
    found = open_now(always, at(2026, 11, 25, 4, 3))
    assert found is not None
    assert found.since == at(2026, 11, 25, 4, 0), "the latest of several"
    assert next_edge(always, at(2026, 11, 25, 4, 3)) == at(2026, 11, 25, 4, 10)


def test_a_window_with_dates_comes_once() -> None:
    once = WindowSpec("w", WindowKind.FREEZE, "W", start=100.0, until=200.0)
    assert [open_now(once, wall) is not None for wall in (99.0, 100.0, 199.0, 200.0)] == [False, True, True, False]
    assert [next_edge(once, wall) for wall in (0.0, 100.0, 200.0)] == [100.0, 200.0, None]
    already = WindowSpec("w", WindowKind.FREEZE, "W", until=200.0)
    assert open_now(already, 50.0) is not None


def test_sunday_is_the_day_that_cron_calls_sunday() -> None:
    wednesday = at(2026, 11, 25, 12)
    for cron in ("0 3 * * 0", "0 3 * * 7", "0 3 * * sun"):
        assert next_cron(cron, "Europe/Berlin", wednesday) == at(2026, 11, 29, 3)


@pytest.mark.parametrize(("day", "ends"), [((2026, 3, 28), (2026, 3, 29, 7)), ((2026, 10, 24), (2026, 10, 25, 5))])
def test_quiet_hours_over_a_change_of_the_clock_hold_messages_for_the_time_that_passes(
    day: tuple[int, int, int], ends: tuple[int, int, int, int]
) -> None:
    night = WindowSpec(
        "night", WindowKind.QUIET, "Night", cron="0 22 * * *", length=8 * 3600.0, timezone="Europe/Berlin"
    )
    clock = FakeClock(wall=at(*day, 21, 59))
    crm = component("crm", checks=["api"])
    timeline = Timeline(operation(crm, alarms=alarming("pager"), windows={"night": night}), inbox=Inbox(), clock=clock)
    timeline.all_ok()
    assert timeline.inbox is not None
    while timeline.clock.wall < at(*ends) + 60:
        found = open_now(night, timeline.clock.wall)
        timeline.feed(WindowsOpen(() if found is None else (found,)))
        if at(*day, 23) <= timeline.clock.wall < at(*day, 23) + 60:
            timeline.down("crm/api", times=3)
        timeline.advance(60)
        assert bool(timeline.inbox.arrived) == (timeline.clock.wall > at(*ends))


def test_a_window_in_the_hour_that_summer_time_takes_away_lasts_its_time() -> None:
    nightly = recurring("30 2 * * *", 1)
    minutes = [at(2026, 3, 29, 0, zone=ZoneInfo("UTC")) + 60 * minute for minute in range(300)]
    assert sum(open_now(nightly, wall) is not None for wall in minutes) == 60


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(["0 3 * * *", "*/7 * * * *", "30 2 * * 1-5", "0 0 1 * *", "59 23 * * 0"]),
    st.floats(0.05, 80.0),
    st.integers(0, 400 * 24 * 60),
)
def test_the_occurrence_that_is_found_is_the_latest_that_began_and_has_not_ended(
    cron: str, hours: float, minute: int
) -> None:
    spec, wall = recurring(cron, hours, "UTC"), at(2026, 1, 1, zone=ZoneInfo("UTC")) + minute * 60.0 + 13
    begins, latest = next_cron(cron, "UTC", wall - spec.length), None
    while begins is not None and begins <= wall:
        latest, begins = begins, next_cron(cron, "UTC", begins)
    found = open_now(spec, wall)
    assert (None if found is None else found.since) == latest


# --- what the core is told -------------------------------------------------------------------------------------------


def test_the_core_is_told_at_each_edge_after_a_jump_back_and_not_in_between() -> None:
    told: list[WindowsOpen] = []
    clock = Windows(told.append)
    begins = at(2026, 11, 25, 3)
    clock.configure({"w": recurring("0 3 * * *", 2)}, begins - 100)
    for wall in (begins - 50, begins - 1, begins + 0.5, begins + 1, begins + 7199, begins + 7200, begins + 7300):
        clock.look(wall)
    assert [len(each.occurrences) for each in told] == [0, 1, 0]
    clock.look(begins + 100)
    assert len(told[-1].occurrences) == 1, "set back into the window"
    clock.look(begins + 3 * 86400)
    assert len(told[-1].occurrences) == 1, "set forward by days, and into another one"


def test_files_without_windows_end_those_that_were_open_and_cost_nothing_then() -> None:
    told: list[WindowsOpen] = []
    clock = Windows(told.append)
    clock.configure({"w": recurring("* * * * *", 2)}, 1e9)
    clock.configure({}, 1e9)
    for wall in (1e9 + 1, 1e9 - 500):
        clock.look(wall)
    assert [len(each.occurrences) for each in told] == [1, 0]


# --- an engine -------------------------------------------------------------------------------------------------------

HOUR_FROM_NOW = "windows:\n  nightly: {{kind: maintenance, title: Nightly, cron: '{cron}', for: 30m, timezone: UTC}}\n"


def in_an_hour(clock: ShiftedClock) -> str:
    """A window that begins within the hour after the next."""
    begins = datetime.fromtimestamp(clock().wall + 3600, UTC)
    return HOUR_FROM_NOW.format(cron=f"{begins.minute} {begins.hour} * * *")


def is_muted(engine: Engine) -> bool:
    return core_windows.maintenance(engine.viewer().draft, "web") is not None


def alarm(engine: Engine) -> tuple[str, str | None]:
    found = engine.viewer().alarm("web")
    return ("", None) if found is None else (found["state"], found["reason"])


async def test_a_cron_window_mutes_the_alarm_while_checks_go_on_and_its_end_raises_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "WATCH_EVERY", 0.02)
    clock, journal = ShiftedClock(), GatedJournal()
    async with serving() as target:
        folder = write_workspace(tmp_path, settings=in_an_hour(clock), web=web(f"{target.url}/home", every="200ms"))
        async with running(folder, journal=journal, clock=clock) as engine:
            await eventually(lambda: status(engine, "web") == "ok")
            assert not is_muted(engine)
            clock.wall += 3600
            clock.boot += 3600
            await eventually(lambda: is_muted(engine))
            await eventually(lambda: status(engine, "web") == "ok")
            target.routes["/home"] = b"HTTP/1.1 500 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            await eventually(lambda: status(engine, "web") == "down")
            await eventually(lambda: alarm(engine) == ("held", "maintenance"))
            hits = target.hits["GET /home"]
            await eventually(lambda: target.hits["GET /home"] > hits + 1)
            (view,) = engine.viewer().windows()
            assert (view["title"], len(view["muted"])) == ("Nightly", 1)
            clock.wall += 1800
            clock.boot += 1800
            await eventually(lambda: alarm(engine) == ("raised", None))
            assert not is_muted(engine)
    assert [each.type for each in journal.entries() if each.type.startswith("window_")] == [
        "window_began",
        "window_ended",
    ]
    assert len(journal.of("alarm_raised")) == 1


async def test_an_engine_that_starts_within_a_window_mutes_from_the_first_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "WATCH_EVERY", 0.02)
    clock, journal = ShiftedClock(), GatedJournal()
    now = datetime.fromtimestamp(clock().wall, UTC)
    everything = f"windows:\n  today: {{kind: maintenance, until: '{now.year + 1}-01-01', timezone: UTC}}\n"
    async with serving() as target:
        folder = write_workspace(tmp_path, settings=everything, web=web(f"{target.url}/home", every="200ms"))
        async with running(folder, journal=journal, clock=clock) as engine:
            await eventually(lambda: status(engine, "web") == "ok")
            target.routes["/home"] = hang
            await eventually(lambda: alarm(engine) == ("held", "maintenance"))
        async with running(folder, journal=GatedJournal([*journal.entries()]), clock=clock) as engine:
            assert is_muted(engine)
            assert alarm(engine)[0] == "held"
            await eventually(lambda: status(engine, "web") == "down")
            await eventually(lambda: alarm(engine) == ("held", "maintenance"))
            write_workspace(tmp_path, web=web(f"{target.url}/home", every="200ms"))
            engine.reload(loaded_from(folder))
            await eventually(lambda: alarm(engine) == ("raised", None))


async def test_a_one_off_maintenance_ends_at_its_wall_clock_time_when_the_clock_is_set_forward(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "WATCH_EVERY", 0.02)
    clock, journal = ShiftedClock(), GatedJournal()
    async with serving() as target:
        folder = write_workspace(tmp_path, web=web(f"{target.url}/home"))
        async with running(folder, journal=journal, clock=clock) as engine:
            await engine.submit("k", "maria", MaintenanceIntent("web", 3600.0, "works"))
            await eventually(lambda: is_muted(engine))
            clock.wall += 3700
            clock.boot += 3700
            await eventually(lambda: journal.of("maintenance_ended"))
            assert not is_muted(engine)


async def test_one_outage_behind_two_components_is_one_alarm_with_real_checks(tmp_path: Path) -> None:
    journal = GatedJournal()
    async with serving() as target:
        folder = write_workspace(
            tmp_path,
            crm=web(f"{target.url}/crm", every="2s"),
            web=f"depends_on: [crm]\n{web(f'{target.url}/home', every='2s')}",
        )
        async with running(folder, journal=journal) as engine:
            await eventually(lambda: (status(engine, "crm"), status(engine, "web")) == ("ok", "ok"))
            broken = b"HTTP/1.1 500 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            target.routes |= {"/home": broken, "/crm": broken}
            await engine.observe("web/home")
            await eventually(lambda: alarm(engine) == ("held", "parent"))
            assert status(engine, "crm") == "down", "it was asked at once, and not in its turn"
            target.routes.clear()
            await engine.observe("crm/home")
            await eventually(lambda: alarm(engine) == ("", None))
    assert [each.data["component"] for each in journal.of("alarm_raised")] == ["crm"]
    assert [each.data["component"] for each in journal.of("alarm_cleared")] == ["crm"]
