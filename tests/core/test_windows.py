"""Maintenance and freeze: what they are about, how they begin and end, what is muted meanwhile and shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsdash.core import windows
from opsdash.core.maintenance import LONGEST
from opsdash.core.telling import component_of, tell
from opsdash.core.views import Viewer
from opsdash.model import inputs as i
from opsdash.model.effects import Poll, SuspendPolling
from opsdash.model.records import (
    AlarmCleared,
    AlarmRaised,
    MaintenanceEnded,
    MaintenanceSet,
    WindowBegan,
    WindowEnded,
)
from opsdash.model.switch import Refused
from opsdash.model.window import FILES, Occurrence, WindowKind, WindowSpec
from opsdash.testing import Timeline, component, operation
from tests.core.test_alarms import told

if TYPE_CHECKING:
    from opsdash.model.operation import Operation

CRM, SHOP, FAX = "crm/api", "shop/page", "fax/line"
NIGHTLY = WindowSpec(
    "nightly", WindowKind.MAINTENANCE, "Nightly", components=("crm",), tags=("web",), cron="0 3 * * *", length=3600.0
)
YEAR_END = WindowSpec("year-end", WindowKind.FREEZE, "Year end", start=0.0, until=1e12)


def parts(*specs: WindowSpec, sha256: str = "one") -> Operation:
    return operation(
        component("crm", checks=["api"]),
        component("shop", checks=["page"], tags=("web", "eu")),
        component("fax", checks=["line"]),
        windows={spec.id: spec for spec in specs},
        sha256=sha256,
    )


def office(*specs: WindowSpec) -> Timeline:
    timeline = Timeline(parts(*specs))
    timeline.all_ok()
    timeline.effects.clear()
    return timeline


def opened(timeline: Timeline, *names: str, seconds: float = 3600.0) -> None:
    """The calendar says that exactly these windows are open."""
    now = timeline.clock.wall
    timeline.feed(i.WindowsOpen(tuple(Occurrence(name, now, now + seconds) for name in names)))


def under(timeline: Timeline, kind: str = "maintenance") -> list[str]:
    """The components with such a window."""
    look = windows.maintenance if kind == "maintenance" else windows.freeze
    return [name for name in ("crm", "shop", "fax") if look(timeline.draft(), name) is not None]


# --- what a window is about ------------------------------------------------------------------------------------------


def test_a_window_is_about_its_components_and_tags_or_about_everything() -> None:
    timeline = office(NIGHTLY, YEAR_END)
    opened(timeline, "nightly", "year-end")
    assert under(timeline) == ["crm", "shop"]
    assert under(timeline, "freeze") == ["crm", "shop", "fax"]
    window = windows.freeze(timeline.draft(), "fax")
    assert window is not None
    assert (window.id, window.kind, window.title, window.who) == ("year-end", WindowKind.FREEZE, "Year end", FILES)
    assert window.until == timeline.clock.wall + 3600


def test_a_one_off_maintenance_is_about_a_component_or_a_tag() -> None:
    timeline = office()
    timeline.want(i.MaintenanceIntent("fax", 7200.0, "new line"))
    timeline.want(i.MaintenanceIntent("tag:eu", 60.0))
    assert under(timeline) == ["shop", "fax"]
    window = windows.maintenance(timeline.draft(), "fax")
    assert window is not None
    assert (window.who, window.reason, window.until) == ("maria", "new line", timeline.clock.wall + 7200)
    assert [component_of(each) for each in timeline.of(MaintenanceSet)] == ["fax", None]


def test_of_several_windows_the_one_that_ends_last_counts() -> None:
    timeline = office(NIGHTLY)
    opened(timeline, "nightly", seconds=600.0)
    timeline.want(i.MaintenanceIntent("crm", 300.0))
    found = windows.maintenance(timeline.draft(), "crm")
    assert found is not None
    assert found.id == "nightly"
    timeline.want(i.MaintenanceIntent("crm", 900.0))
    found = windows.maintenance(timeline.draft(), "crm")
    assert found is not None
    assert found.id == "component:crm"


def test_nobody_has_a_window_who_is_not_there() -> None:
    timeline = office(YEAR_END)
    opened(timeline, "year-end")
    assert windows.freeze(timeline.draft(), "ghost") is None


# --- how they begin and end ------------------------------------------------------------------------------------------


def test_a_one_off_maintenance_ends_by_itself_and_says_so() -> None:
    timeline = office()
    timeline.want(i.MaintenanceIntent("fax", 600.0))
    timeline.advance(599)
    assert under(timeline) == ["fax"]
    timeline.advance(2)
    assert under(timeline) == []
    ended = timeline.of(MaintenanceEnded)[0]
    assert (ended.target, ended.who) == ("component:fax", "opsdash")
    assert "its time has passed" in tell(ended)
    timeline.check_replay()


def test_a_person_ends_it_before_its_time_and_sets_it_again_for_longer_or_shorter() -> None:
    timeline = office()
    timeline.want(i.MaintenanceIntent("fax", 600.0))
    timeline.want(i.MaintenanceIntent("fax", 60.0), "ken")
    timeline.advance(61)
    assert under(timeline) == []
    timeline.want(i.MaintenanceIntent("fax", 600.0))
    assert timeline.want(i.EndMaintenanceIntent("fax"), "ken") == ""
    assert (under(timeline), timeline.of(MaintenanceEnded)[-1].who) == ([], "ken")
    timeline.advance(700)
    assert len(timeline.of(MaintenanceEnded)) == 2


def test_what_makes_no_sense_is_refused_with_a_reason() -> None:
    timeline = office()
    refused = [
        timeline.want(i.MaintenanceIntent("ghost", 60.0)),
        timeline.want(i.MaintenanceIntent("tag:ghost", 60.0)),
        timeline.want(i.MaintenanceIntent("fax", 0.0)),
        timeline.want(i.MaintenanceIntent("fax", LONGEST + 1)),
        timeline.want(i.EndMaintenanceIntent("fax")),
    ]
    rules = [each.rule for each in refused if isinstance(each, Refused)]
    assert rules == ["unknown_component", "unknown_tag", "duration", "duration", "no_maintenance"]
    assert isinstance(refused[1], Refused)
    assert "eu, web" in refused[1].reason


def test_it_outlives_the_engine_and_ends_at_the_start_if_its_time_has_passed_meanwhile() -> None:
    timeline = office()
    timeline.want(i.MaintenanceIntent("fax", 600.0))
    still = timeline.crash(seconds=300)
    assert under(still) == ["fax"]
    still.advance(301)
    assert [each.who for each in still.of(MaintenanceEnded)] == ["opsdash"]
    late = timeline.crash(seconds=700)
    assert under(late) == []
    late.advance(0.1)
    assert [each.who for each in late.of(MaintenanceEnded)] == ["opsdash"]


def test_a_clock_that_is_set_moves_the_end_with_it() -> None:
    timeline = office()
    timeline.want(i.MaintenanceIntent("fax", 600.0))
    timeline.clock.jump(-3600)
    timeline.advance(601)
    assert under(timeline) == ["fax"], "its timer has fired, and it is not time yet"
    timeline.clock.jump(3600)
    timeline.feed(i.TimerFired(("maintenance", "component:fax")))
    assert under(timeline) == []


def test_a_tag_that_nobody_has_any_more_can_still_be_ended() -> None:
    timeline = office()
    timeline.want(i.MaintenanceIntent("tag:eu", 600.0))
    timeline.reload(operation(component("fax", checks=["line"]), sha256="no tags"))
    assert timeline.want(i.EndMaintenanceIntent("tag:eu")) == ""


def test_what_the_calendar_says_is_recorded_once_and_told_again_when_it_has_changed() -> None:
    timeline = office(NIGHTLY)
    now = timeline.clock.wall
    for until in (now + 3600, now + 3600, now + 7200):
        timeline.feed(i.WindowsOpen((Occurrence("nightly", now, until),)))
    timeline.feed(i.WindowsOpen())
    timeline.feed(i.WindowsOpen())
    assert [each.until for each in timeline.of(WindowBegan)] == [now + 3600, now + 7200]
    assert len(timeline.of(WindowEnded)) == 1
    assert all(tell(each) for each in timeline.records)
    timeline.check_replay()


def test_a_window_that_is_taken_out_of_the_files_is_about_nobody_and_ends() -> None:
    timeline = office(NIGHTLY)
    opened(timeline, "nightly")
    timeline.down(CRM, times=3)
    assert told(timeline, "crm") == ["held maintenance nightly"]
    timeline.reload(parts(sha256="two"))
    assert under(timeline) == []
    opened(timeline)
    assert told(timeline, "crm")[-1] == "raised"


def test_a_window_that_the_calendar_names_and_the_files_do_not_is_ignored() -> None:
    timeline = office()
    opened(timeline, "nightly")
    assert timeline.of(WindowBegan) == []


# --- what maintenance mutes ------------------------------------------------------------------------------------------


def test_checks_go_on_statuses_are_true_and_the_alarm_waits() -> None:
    timeline = office()
    timeline.want(i.MaintenanceIntent("fax", 600.0))
    timeline.down(FAX, times=3)
    assert timeline.wanted(SuspendPolling) == []
    assert FAX in [poll.check for poll in timeline.wanted(Poll)], "an undecided check is tried again as ever"
    assert timeline.status("fax") == "down"
    assert timeline.incident("fax") is not None
    assert told(timeline, "fax") == ["held maintenance component:fax"]


def test_what_would_have_alarmed_is_shown_also_when_it_is_over() -> None:
    timeline = office()
    timeline.want(i.MaintenanceIntent("tag:web", 600.0, "move"))
    timeline.down(SHOP, times=3)
    timeline.ok(SHOP, times=2)
    timeline.advance(10)
    timeline.down(SHOP, times=3)
    (view,) = Viewer(timeline.world, timeline.live, timeline.clock()).windows()
    assert (view["target"], view["components"], view["reason"]) == ("tag:web", ["shop"], "move")
    assert [each["title"] for each in view["muted"]] == [
        "shop is down: no answer",
        "reopened: shop is down: no answer",
    ]
    detail = Viewer(timeline.world, timeline.live, timeline.clock()).component("shop")
    assert detail is not None
    assert detail["alarm"] is not None
    assert (detail["alarm"]["state"], detail["alarm"]["reason"]) == ("held", "maintenance")
    assert detail["alarm"]["until"] == view["until"]
    assert [each["kind"] for each in detail["row"]["windows"]] == ["maintenance"]


def test_when_the_window_ends_and_it_still_fails_the_alarm_is_raised_then() -> None:
    timeline = office(NIGHTLY)
    opened(timeline, "nightly")
    timeline.down(CRM, SHOP, times=3)
    timeline.ok(SHOP, times=2)
    timeline.advance(600)
    opened(timeline)
    assert told(timeline, "crm") == ["held maintenance nightly", "raised"]
    assert told(timeline, "shop") == ["held maintenance nightly", "dropped"]
    raised = timeline.of(AlarmRaised)[0]
    assert raised.at - raised.due == 600.0


def test_where_two_windows_overlap_the_later_end_decides() -> None:
    timeline = office(NIGHTLY)
    opened(timeline, "nightly", seconds=600.0)
    timeline.want(i.MaintenanceIntent("crm", 900.0))
    timeline.down(CRM, times=3)
    timeline.advance(601)
    opened(timeline)
    assert told(timeline, "crm") == ["held maintenance component:crm"]
    timeline.advance(300)
    assert told(timeline, "crm") == ["held maintenance component:crm", "raised"]


def test_a_window_whose_time_has_passed_mutes_nothing_although_nobody_said_so_yet() -> None:
    timeline = office(NIGHTLY)
    opened(timeline, "nightly", seconds=600.0)
    timeline.clock.advance(600 + windows.CALENDAR_LAG)
    timeline.down(CRM, times=3)
    assert told(timeline, "crm") == ["raised"]


def test_a_window_that_follows_another_without_a_gap_lets_nothing_through_between_them() -> None:
    timeline = office(NIGHTLY, YEAR_END)
    opened(timeline, "nightly", seconds=600.0)
    timeline.down(CRM, times=3)
    timeline.clock.advance(600.5)
    timeline.down(CRM)
    opened(timeline, "nightly", seconds=600.0)
    assert {each.partition(" ")[0] for each in told(timeline, "crm")} == {"held"}


def test_an_alarm_that_was_raised_before_is_not_muted_and_its_end_is_told() -> None:
    timeline = office()
    timeline.down(FAX, times=3)
    timeline.want(i.MaintenanceIntent("fax", 600.0))
    timeline.down(FAX)
    assert told(timeline, "fax") == ["raised"]
    timeline.ok(FAX, times=2)
    assert len(timeline.of(AlarmCleared)) == 1


def test_a_freeze_mutes_nothing() -> None:
    timeline = office(YEAR_END)
    opened(timeline, "year-end")
    timeline.down(FAX, times=3)
    assert told(timeline, "fax") == ["raised"]


def test_what_is_down_because_a_parent_is_in_maintenance_is_explained_by_it() -> None:
    shop = component("shop", checks=["page"], depends_on=("crm",))
    timeline = Timeline(operation(component("crm", checks=["api"]), shop))
    timeline.all_ok()
    timeline.advance(1)
    timeline.want(i.MaintenanceIntent("crm", 600.0))
    timeline.down(CRM, times=3)
    timeline.down(SHOP, times=3)
    assert told(timeline, "crm") == ["held maintenance component:crm"]
    assert told(timeline, "shop") == ["held parent crm"]


def test_a_restart_within_a_window_changes_nothing_and_after_it_the_first_result_decides() -> None:
    timeline = office(NIGHTLY)
    opened(timeline, "nightly", seconds=600.0)
    timeline.down(CRM, times=3)
    within = timeline.crash(seconds=60)
    opened(within, "nightly", seconds=540.0)
    within.advance(0.5)
    within.down(CRM)
    assert told(within, "crm")[-1] == "held maintenance nightly"
    assert within.of(AlarmRaised) == []
    after = timeline.crash(seconds=700)
    opened(after)
    assert told(after, "crm")[-1] == "held recheck"
    after.advance(0.5)
    after.down(CRM)
    assert told(after, "crm")[-1] == "raised"


def test_a_jump_over_the_end_of_a_window_raises_nothing_that_was_not_measured_since() -> None:
    timeline = office(NIGHTLY)
    opened(timeline, "nightly", seconds=600.0)
    timeline.down(CRM, SHOP, times=3)
    timeline.clock.jump(3600)
    timeline.feed(i.ClockJumped(3600.0))
    opened(timeline)
    assert {told(timeline, name)[-1] for name in ("crm", "shop")} == {"held recheck"}
    timeline.advance(1)
    timeline.down(CRM)
    timeline.ok(SHOP, times=2)
    assert (told(timeline, "crm")[-1], told(timeline, "shop")[-1]) == ("raised", "dropped")


def test_a_jump_back_into_a_window_holds_what_fails_from_then_on_and_nothing_that_was_raised() -> None:
    timeline = office(NIGHTLY)
    timeline.down(CRM, times=3)
    timeline.clock.jump(-3600)
    timeline.feed(i.ClockJumped(-3600.0))
    opened(timeline, "nightly")
    timeline.ok(SHOP)
    timeline.down(CRM)
    timeline.down(SHOP, times=3)
    assert told(timeline, "crm") == ["raised"]
    assert told(timeline, "shop")[-1] == "held maintenance nightly"
