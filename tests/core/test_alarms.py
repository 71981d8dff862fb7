"""Alarms: raised at once, or held for a reason; both edges of a parent's failure; never lost, never hidden."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from opsdash.core.alarms import DOWN_THROUGH, LITTLE
from opsdash.core.health import BLIND_AFTER, OFFLINE_GRACE
from opsdash.model import inputs as i
from opsdash.model.alarm import Alarm, HoldReason
from opsdash.model.effects import Poll
from opsdash.model.operation import Tier
from opsdash.model.records import AlarmCleared, AlarmDropped, AlarmHeld, AlarmRaised, Record
from opsdash.model.status import Status
from opsdash.model.window import Occurrence, WindowKind, WindowSpec
from opsdash.testing import FakeClock, Outside, Timeline, component, email, failure, operation

CRM, SHOP, SITE = "crm/api", "shop/page", "site/home"
ABOUT_ALARMS = (AlarmHeld, AlarmRaised, AlarmDropped, AlarmCleared)


def shop(*, anchors: int = 0) -> Timeline:
    """A shop that needs a CRM, and a site that needs the shop; all work."""
    crm = component("crm", checks=["api"])
    page = component("shop", checks=["page"], depends_on=("crm",))
    home = component("site", checks=["home"], depends_on=("shop",))
    timeline = Timeline(operation(crm, page, home, anchors=anchors))
    timeline.all_ok()
    timeline.advance(1)
    timeline.effects.clear()
    return timeline


def told(timeline: Timeline, name: str = "shop") -> list[str]:
    """What was decided about the alarms of a component, in short."""
    return [
        _short(each)
        for each in timeline.records
        if isinstance(each, ABOUT_ALARMS) and (each.component, each.topic) == (name, "")
    ]


def _short(record: Record) -> str:
    if isinstance(record, AlarmHeld):
        return f"held {record.hold.reason.value}" + (f" {record.hold.what}" if record.hold.what else "")
    return type(record).__name__.removeprefix("Alarm").lower()


def alarm(timeline: Timeline, name: str = "shop") -> Alarm | None:
    found: Alarm | None = timeline.world.get("alarms", name)
    return found


def polled(timeline: Timeline) -> list[str]:
    return [poll.check for poll in timeline.take(Poll)]


# --- plainly ---------------------------------------------------------------------------------------------------------


def test_a_failure_raises_an_alarm_at_once_and_its_end_clears_it() -> None:
    timeline = shop()
    timeline.down(CRM, times=3)
    assert told(timeline, "crm") == ["raised"]
    raised = timeline.of(AlarmRaised)[0]
    assert (raised.incident, raised.title) == ("INC-1", "crm is down: no answer")
    timeline.down(CRM, times=5)
    timeline.ok(CRM, times=2)
    assert told(timeline, "crm") == ["raised", "cleared"]
    assert alarm(timeline, "crm") is None
    timeline.check_replay()


def test_what_fails_again_is_raised_again() -> None:
    timeline = shop()
    timeline.down(CRM, times=3)
    timeline.ok(CRM, times=2)
    timeline.down(CRM, times=3)
    assert told(timeline, "crm") == ["raised", "cleared", "raised"]


def test_a_failure_mode_that_joins_a_raised_alarm_raises_no_second_one() -> None:
    timeline = Timeline(operation(email()))
    timeline.read("email", "pm-prod")
    timeline.all_ok()
    timeline.down("email/postmark/api", times=3)
    timeline.down("email/ses/api", times=3)
    assert timeline.failures("email") == ["provider-unreachable", "nobody-delivers"]
    assert told(timeline, "email") == ["raised"]


def test_a_droppable_component_alarms_nobody_until_it_is_no_longer_droppable() -> None:
    timeline = Timeline(operation(component("fax", checks=["line"], tier=Tier.DROPPABLE)))
    timeline.all_ok()
    timeline.down("fax/line", times=3)
    assert timeline.incident("fax") is not None
    assert told(timeline, "fax") == []
    timeline.reload(operation(component("fax", checks=["line"]), sha256="important"))
    timeline.down("fax/line")
    assert told(timeline, "fax") == ["raised"]


def test_being_blind_is_alarmed_and_a_note_is_not() -> None:
    timeline = shop()
    timeline.unknown(CRM, times=2)
    timeline.advance(BLIND_AFTER + 1)
    assert told(timeline, "crm") == ["raised"]


def test_what_a_person_opens_is_raised_at_once_and_cleared_by_a_person() -> None:
    timeline = shop()
    timeline.want(i.MaintenanceIntent("shop", 3600.0))
    timeline.want(i.OpenIncidentIntent("shop", "customers call"))
    assert told(timeline) == ["raised"]
    timeline.want(i.ResolveIntent("INC-1"))
    assert told(timeline) == ["raised", "cleared"]


# --- a parent explains it: the way down ------------------------------------------------------------------------------


def test_a_child_that_fails_first_asks_its_parents_and_waits_for_their_answer() -> None:
    timeline = shop()
    timeline.down(SHOP, times=3)
    assert told(timeline) == ["held asked crm"]
    assert timeline.incident("shop") is not None, "nothing is hidden"
    assert CRM in polled(timeline)
    timeline.advance(1)
    timeline.down(CRM)
    assert told(timeline) == ["held asked crm"], "one failure confirms nothing"
    timeline.down(CRM, times=2)
    assert told(timeline) == ["held asked crm", "held parent crm"]
    assert told(timeline, "crm") == ["raised"]


def test_a_parent_that_was_asked_and_is_well_releases_the_alarm() -> None:
    timeline = shop()
    timeline.down(SHOP, times=3)
    timeline.advance(0.2)
    timeline.ok(CRM)
    assert told(timeline) == ["held asked crm", "raised"]
    raised = timeline.of(AlarmRaised)[0]
    assert (raised.after is not None, raised.note, raised.at - raised.due > 0) == (True, "", True)


def test_an_answer_that_was_on_its_way_before_the_child_failed_does_not_count() -> None:
    timeline = shop()
    timeline.down(SHOP, times=3)
    before = timeline.clock.mono - 0.1
    timeline.advance(0.2)
    timeline.observe(CRM, requested=before)
    assert told(timeline) == ["held asked crm"]
    timeline.observe(CRM, requested=before + 0.2)
    assert told(timeline)[-1] == "raised"


def test_a_parent_that_does_not_answer_in_time_releases_the_alarm_which_says_so() -> None:
    timeline = shop()
    timeline.down(SHOP, times=3)
    limit = timeline.world.operation.checks[CRM].timeout + LITTLE
    timeline.advance(limit - 0.1)
    assert told(timeline) == ["held asked crm"]
    timeline.advance(0.2)
    assert told(timeline) == ["held asked crm", "raised"]
    assert timeline.of(AlarmRaised)[0].note == "crm gave no clear answer in time"


def test_a_parent_that_only_seems_to_fail_is_waited_for_until_that_is_clear_and_not_for_ever() -> None:
    timeline = shop()
    timeline.down(SHOP, times=3)
    timeline.advance(1)
    timeline.down(CRM)
    timeline.advance(LITTLE + 5)
    assert told(timeline) == ["held asked crm"]
    timeline.advance(60)
    assert told(timeline) == ["held asked crm", "raised"]


def test_a_parent_that_cannot_be_measured_explains_nothing() -> None:
    timeline = shop()
    timeline.down(SHOP, times=3)
    timeline.advance(1)
    timeline.unknown(CRM)
    assert told(timeline)[-1] == "raised"


def test_a_parent_that_is_known_to_be_down_holds_at_once() -> None:
    timeline = shop()
    timeline.down(CRM, times=3)
    timeline.down(SHOP, times=3)
    assert told(timeline) == ["held parent crm"]


def test_a_child_that_works_again_while_it_is_held_is_never_raised() -> None:
    timeline = shop()
    timeline.down(CRM, times=3)
    timeline.down(SHOP, times=3)
    timeline.ok(SHOP, times=2)
    assert told(timeline) == ["held parent crm", "dropped"]


def test_a_paused_parent_is_not_waited_for() -> None:
    timeline = shop()
    timeline.want(i.PauseIntent("crm", 3600.0))
    timeline.down(SHOP, times=3)
    assert told(timeline) == ["raised"]


def test_a_failing_grandparent_explains_it_through_a_parent_that_has_not_noticed_yet() -> None:
    timeline = shop()
    timeline.down(SITE, times=3)
    assert {CRM, SHOP} <= set(polled(timeline)), "all that it depends on is asked"
    timeline.advance(1)
    timeline.down(CRM, times=3)
    timeline.ok(SHOP)
    assert told(timeline, "site") == ["held asked shop", "held parent crm"]


def test_components_that_depend_on_each_other_do_no_harm() -> None:
    timeline = Timeline(
        operation(
            component("a", checks=["x"], depends_on=("b",)),
            component("b", checks=["x"], depends_on=("a", "gone")),
        )
    )
    timeline.all_ok()
    timeline.advance(1)
    timeline.down("a/x", times=3)
    timeline.advance(1)
    timeline.down("b/x", times=3)
    timeline.advance(600)
    assert told(timeline, "a") == ["held asked b", "held parent b"]
    assert told(timeline, "b") == ["held parent a"]
    assert timeline.incident("a") is not None, "both say why they are silent"


def test_a_raised_alarm_is_not_held_again_and_is_cleared_whatever_explains_it_by_then() -> None:
    timeline = shop()
    timeline.down(SHOP, times=3)
    timeline.advance(1)
    timeline.ok(CRM)
    timeline.down(CRM, times=3)
    timeline.want(i.MaintenanceIntent("shop", 3600.0))
    timeline.down(SHOP)
    assert told(timeline) == ["held asked crm", "raised"]
    timeline.ok(SHOP, times=2)
    assert told(timeline) == ["held asked crm", "raised", "cleared"]


def test_the_blindness_of_a_child_is_explained_by_its_parent_too() -> None:
    timeline = shop()
    timeline.down(CRM, times=3)
    timeline.unknown(SHOP, times=2)
    timeline.advance(BLIND_AFTER + 1)
    assert told(timeline) == ["held parent crm"]


# --- a parent explains it: the way up --------------------------------------------------------------------------------


def explained() -> Timeline:
    """The shop is down because the CRM is."""
    timeline = shop()
    timeline.down(CRM, times=3)
    timeline.down(SHOP, times=3)
    timeline.advance(60)
    timeline.effects.clear()
    return timeline


def test_when_the_parent_recovers_the_child_is_checked_and_nothing_is_raised_before_that() -> None:
    timeline = explained()
    timeline.ok(CRM, times=2)
    assert told(timeline) == ["held parent crm", "held recheck"]
    assert SHOP in polled(timeline)


def test_a_child_that_still_fails_after_the_recovery_is_raised() -> None:
    timeline = explained()
    timeline.ok(CRM, times=2)
    timeline.advance(0.5)
    timeline.down(SHOP)
    timeline.ok(CRM)
    assert told(timeline)[-1] == "raised"


def test_a_result_of_the_child_that_was_requested_before_the_recovery_does_not_decide() -> None:
    timeline = explained()
    asked = timeline.clock.mono - 0.1
    timeline.ok(CRM, times=2)
    timeline.advance(0.5)
    timeline.observe(SHOP, Status.DOWN, "timeout", requested=asked)
    assert told(timeline)[-1] == "held recheck"


def test_a_child_that_works_after_the_recovery_is_never_raised_also_while_that_is_not_confirmed() -> None:
    timeline = explained()
    timeline.ok(CRM, times=2)
    timeline.advance(0.5)
    timeline.ok(SHOP)
    assert told(timeline)[-1] == "held recheck"
    timeline.ok(SHOP)
    assert told(timeline) == ["held parent crm", "held recheck", "dropped"]


def test_a_child_that_does_not_answer_after_the_recovery_is_raised_and_says_so() -> None:
    timeline = explained()
    timeline.ok(CRM, times=2)
    timeline.advance(60)
    assert told(timeline)[-1] == "raised"
    assert "no clear answer" in timeline.of(AlarmRaised)[-1].note


def test_a_parent_that_fails_again_holds_again() -> None:
    timeline = explained()
    timeline.ok(CRM, times=2)
    timeline.down(CRM, times=3)
    timeline.advance(600)
    assert told(timeline) == ["held parent crm", "held recheck", "held parent crm"]


def test_while_nobody_can_see_a_parent_that_was_down_what_was_known_of_it_stands() -> None:
    timeline = explained()
    timeline.unknown(CRM, times=3)
    assert timeline.status("crm") == "unknown"
    timeline.advance(20)
    assert told(timeline) == ["held parent crm"]


def test_a_thousand_children_of_one_parent_make_one_alarm_on_both_edges() -> None:
    children = [component(f"c{number}", checks=["x"], depends_on=("crm",)) for number in range(1000)]
    timeline = Timeline(operation(component("crm", checks=["api"]), *children))
    timeline.all_ok()
    timeline.advance(1)
    checks = [f"{child.id}/x" for child in children]
    timeline.down(*checks, times=3)
    timeline.advance(0.5)
    timeline.down(CRM, times=3)
    timeline.advance(1)
    timeline.ok(CRM, times=2)
    timeline.advance(0.5)
    timeline.ok(*checks, times=2)
    assert [each.component for each in timeline.of(AlarmRaised)] == ["crm"]
    assert len(timeline.of(AlarmDropped)) == 1000
    assert timeline.live.tables["alarms"] == {}


def test_with_checks_that_answer_one_outage_makes_one_alarm() -> None:
    outside = Outside(status={CRM: Status.DOWN, SHOP: Status.DOWN, SITE: Status.DOWN})
    timeline = shop()
    timeline.outside = outside
    for name in (SITE, SHOP, CRM):
        timeline.observe(name, Status.DOWN, "timeout")
    timeline.advance(30)
    assert {name: timeline.status(name) for name in ("crm", "shop", "site")} == dict.fromkeys(
        ("crm", "shop", "site"), "down"
    )
    assert [each.component for each in timeline.of(AlarmRaised)] == ["crm"]
    outside.status.clear()
    timeline.observe(CRM)
    timeline.advance(30)
    assert [each.component for each in timeline.of(AlarmRaised)] == ["crm"]
    assert [each.component for each in timeline.of(AlarmCleared)] == ["crm"]
    assert {each.component for each in timeline.of(AlarmDropped)} == {"shop", "site"}


# --- offline, paused, started anew -----------------------------------------------------------------------------------


def test_a_held_alarm_waits_while_opsdash_is_offline_and_is_checked_anew_afterwards() -> None:
    timeline = shop(anchors=1)
    timeline.clock.advance(60)
    for name in (CRM, SHOP):
        timeline.down(name)
        timeline.clock.advance(0.1)
        timeline.ok("anchors/1")
        timeline.down(name, times=2)
    assert told(timeline)[-1] == "held parent crm"
    timeline.down("anchors/1")
    timeline.down(SHOP)
    timeline.unknown(SHOP)
    assert told(timeline)[-1] == "held offline"
    timeline.clock.advance(60)
    timeline.ok("anchors/1")
    assert told(timeline)[-1] == "held parent crm"
    timeline.advance(OFFLINE_GRACE + 1)
    timeline.ok(CRM, times=2)
    assert told(timeline)[-1] == "held recheck"


def test_a_component_that_is_paused_while_its_alarm_is_held_waits_until_it_is_checked_again() -> None:
    timeline = explained()
    timeline.want(i.PauseIntent("shop", 600.0))
    timeline.ok(CRM, times=2)
    assert told(timeline)[-1] == "held paused"
    timeline.advance(601)
    assert told(timeline)[-1] == "held recheck"
    timeline.down(SHOP, times=3)
    assert told(timeline)[-1] == "raised"


def test_after_a_restart_nothing_is_raised_twice_and_what_was_held_is_checked_first() -> None:
    timeline = explained()
    later = timeline.crash()
    assert told(later, "crm") == ["raised"]
    later.down(CRM)
    later.down(SHOP)
    assert told(later) == ["held parent crm"]
    later.ok(CRM, times=2)
    later.advance(0.5)
    later.down(SHOP)
    later.ok(CRM)
    assert (told(later)[-1], told(later, "crm")) == ("raised", ["raised", "cleared"])


def test_what_recovered_while_no_engine_ran_is_dropped_or_raised_by_its_first_result() -> None:
    fixed, broken = explained().crash(), explained().crash()
    for later in (fixed, broken):
        later.ok(CRM, times=2)
        assert told(later)[-1] == "held recheck"
        later.advance(0.5)
    fixed.ok(SHOP, times=2)
    broken.down(SHOP, times=1)
    broken.ok(CRM)
    assert (told(fixed)[-1], told(broken)[-1]) == ("dropped", "raised")


def test_after_a_reboot_a_parent_that_has_not_answered_yet_is_not_taken_for_well() -> None:
    timeline = shop()
    timeline.down(SHOP, times=3)
    timeline.clock.advance(3600)
    rebooted = Timeline(
        timeline.world.operation, clock=FakeClock(timeline.clock.wall, mono=20.0), replay=timeline.records
    )
    rebooted.advance(0.5)
    rebooted.down(SHOP)
    assert told(rebooted)[-1] == "held asked crm"
    assert CRM in polled(rebooted)
    rebooted.advance(0.5)
    rebooted.down(CRM, times=3)
    assert told(rebooted)[-1] == "held parent crm"


def test_a_jump_of_the_clock_raises_nothing_before_it_was_measured_again() -> None:
    timeline = explained()
    timeline.clock.jump(7200)
    timeline.feed(i.ClockJumped(7200.0))
    assert told(timeline) == ["held parent crm"]
    timeline.ok(CRM, times=2)
    assert told(timeline)[-1] == "held recheck"
    timeline.advance(1)
    timeline.ok(SHOP, times=2)
    assert told(timeline)[-1] == "dropped"


def test_a_dependency_that_is_added_or_taken_away_counts_from_then_on() -> None:
    timeline = explained()
    alone = component("shop", checks=["page"])
    timeline.reload(operation(component("crm", checks=["api"]), alone, sha256="free"))
    timeline.advance(1)
    timeline.down(SHOP)
    assert told(timeline)[-1] == "raised"


def test_an_alarm_ends_with_the_incident_of_a_component_that_is_taken_out_of_the_files() -> None:
    timeline = shop()
    timeline.down(CRM, times=3)
    timeline.reload(operation(component("shop", checks=["page"]), sha256="no crm"))
    assert told(timeline, "crm") == ["raised"]
    timeline.want(i.ResolveIntent("INC-1"))
    assert told(timeline, "crm") == ["raised", "cleared"]


# --- whatever happens ------------------------------------------------------------------------------------------------

WINDOW = WindowSpec("nightly", WindowKind.MAINTENANCE, "Nightly", tags=("web",), cron="0 3 * * *", length=3600.0)
PARENTS = operation(
    component("crm", checks=["api"]),
    component(
        "shop",
        checks=["page"],
        depends_on=("crm",),
        tags=("web",),
        failures={"crm-gone": failure("crm-gone", CRM)},
    ),
    component("site", checks=["home"], depends_on=("shop",), tags=("web",)),
    anchors=1,
    windows={"nightly": WINDOW},
)


def _windows(timeline: Timeline, *, opened: bool) -> None:
    now = timeline.clock.wall
    timeline.feed(i.WindowsOpen((Occurrence("nightly", now, now + 600.0),) if opened else ()))


MOVES = [
    *[("observe", check, status) for check in (CRM, SHOP, SITE) for status in ("ok", "ok", "down", "down", "unknown")],
    *[("observe", "anchors/1", status) for status in ("ok", "down")],
    *[("advance", "", seconds) for seconds in (0.2, 2.0, 9.0, 70.0, DOWN_THROUGH)],
    *[("want", name, what) for name in ("shop", "crm") for what in ("mute", "unmute", "pause", "resume", "resolve")],
    *[("window", "", opened) for opened in (True, False)],
    ("jump", "", 3600.0),
    ("jump", "", -3600.0),
    ("restart", "", ""),
]  # fmt: skip


def _move(timeline: Timeline, kind: str, name: str, how: object) -> Timeline:
    if kind == "observe":
        timeline.observe(name, str(how), None if how == "ok" else "timeout")
    elif kind == "advance":
        timeline.advance(float(str(how)))
    elif kind == "window":
        _windows(timeline, opened=bool(how))
    elif kind == "jump":
        timeline.clock.jump(float(str(how)))
        timeline.feed(i.ClockJumped(float(str(how))))
    elif kind == "restart":
        return timeline.crash(seconds=1.0)
    else:
        incident = timeline.incident(name)
        wanted: dict[str, i.Intent] = {
            "mute": i.MaintenanceIntent(name, 300.0),
            "unmute": i.EndMaintenanceIntent(name),
            "pause": i.PauseIntent(name, 60.0),
            "resume": i.ResumeIntent(name),
            "resolve": i.ResolveIntent(incident.id if incident else "INC-9"),
        }
        timeline.want(wanted[str(how)])
    return timeline


def _check_alarms(timeline: Timeline) -> None:
    for name in ("crm", "shop", "site"):
        state, told_now = "quiet", told(timeline, name)
        for each in told_now:
            kind = each.partition(" ")[0]
            allowed = {"quiet": ("held", "raised"), "held": ("held", "raised", "dropped"), "raised": ("cleared",)}
            assert kind in allowed[state], f"{name}: {each} while it is {state}: {told_now}"
            state = {"held": "held", "raised": "raised", "dropped": "quiet", "cleared": "quiet"}[kind]
        incident, now = timeline.incident(name), alarm(timeline, name)
        due = incident is not None and name not in incident.well
        assert (now is not None) == due, f"{name}: an alarm stands as long as its incident, and no longer"
        assert state == ("quiet" if now is None else "raised" if now.is_raised else "held")
        if now is not None and now.hold is not None and now.hold.reason in (HoldReason.ASKED, HoldReason.RECHECK):
            waits = timeline.live.get("alarms", name)
            assert waits is not None
            assert ("alarm", name) in timeline.timers, "all waiting has an end"


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(MOVES), min_size=15, max_size=70))
def test_no_sequence_hides_an_end_or_raises_twice_or_waits_for_ever(moves: list[tuple[str, str, object]]) -> None:
    timeline = Timeline(PARENTS)
    timeline.all_ok()
    for kind, name, how in moves:
        timeline = _move(timeline, kind, name, how)
        _check_alarms(timeline)
    timeline.check_replay()
    timeline.ok("anchors/1")
    for name in ("shop", "crm"):
        timeline.want(i.ResumeIntent(name))
        timeline.want(i.EndMaintenanceIntent(name))
    _windows(timeline, opened=False)
    timeline.advance(OFFLINE_GRACE + 1)
    for _ in range(30):
        for each in (CRM, SHOP, SITE):
            timeline.down(each)
            timeline.advance(0.1)
            timeline.ok("anchors/1")
            timeline.down(each)
            timeline.advance(DOWN_THROUGH / 10)
    assert all((found := alarm(timeline, name)) is not None and found.incident for name in ("crm", "shop", "site"))
    crm = alarm(timeline, "crm")
    assert crm is not None
    assert crm.is_raised, "what nothing explains is told in the end"
