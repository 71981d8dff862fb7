"""What changed before something failed, and near misses."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from opsdash.core.evolve_incidents import CHANGES_KEPT
from opsdash.core.views import Viewer
from opsdash.model import inputs as i
from opsdash.model import records as r
from opsdash.model.incident import EntryKind
from opsdash.model.switch import Refused
from opsdash.testing import Timeline, component, failure, operation

if TYPE_CHECKING:
    from opsdash.model.world import NearMisses

SHOP = component("shop", title="Shop", checks=["a"], depends_on=("bank",), failures={"slow": failure("slow", "shop/a")})
BANK = component("bank", title="Bank", checks=["a"])
FAX = component("fax", title="Fax", checks=["a"])


def town() -> Timeline:
    timeline = Timeline(operation(SHOP, BANK, FAX))
    timeline.all_ok()
    return timeline


def changes(timeline: Timeline, name: str = "INC-1") -> list[str]:
    entries = timeline.world.get("incidents", name).entries
    return [entry.text for entry in entries if entry.kind is EntryKind.CHANGE]


def test_a_deploy_in_the_hours_before_stands_in_the_incident() -> None:
    timeline = town()
    timeline.want(i.MarkIntent("new till", component="shop", version="4.2", link="https://ci.example/7"), who="ken")
    timeline.want(i.MarkIntent("new rates", component="bank"))
    timeline.want(i.MarkIntent("new paper", component="fax"))
    timeline.want(i.MarkIntent("the office has moved"))
    timeline.advance(3600)
    timeline.down("shop/a", times=3)
    assert changes(timeline) == [
        "changed before: shop: new till (4.2) https://ci.example/7",
        "changed before: bank: new rates",
        "changed before: the office has moved",
    ]
    entry = next(each for each in timeline.world.get("incidents", "INC-1").entries if each.kind is EntryKind.CHANGE)
    assert entry.who == "ken"
    assert entry.at < entry.recorded, "it stands where it happened"


def test_what_was_changed_the_day_before_does_not() -> None:
    timeline = town()
    timeline.want(i.MarkIntent("new till", component="shop"))
    timeline.advance(7 * 3600)
    timeline.down("shop/a", times=3)
    assert changes(timeline) == []


def test_what_is_marked_while_it_lasts_is_written_into_it() -> None:
    timeline = town()
    timeline.down("shop/a", times=3)
    timeline.want(i.MarkIntent("new paper", component="fax"))
    timeline.want(i.MarkIntent("back to the old rates", component="bank"))
    assert changes(timeline) == ["changed: bank: back to the old rates"]


def test_edited_files_are_a_change_and_the_first_reading_is_none() -> None:
    timeline = town()
    assert timeline.world.keys("changes") == []
    edited = replace(SHOP, sha256="other")
    timeline.feed(i.Loaded(replace(operation(edited, BANK, FAX), sha256="later")))
    timeline.all_ok()
    timeline.down("shop/a", times=3)
    assert changes(timeline) == ["changed before: the files of shop were edited"]


def test_another_version_is_a_change_and_the_first_one_is_none() -> None:
    timeline = town()
    timeline.observe("shop/a", facts={"version": "4.1"})
    assert timeline.world.keys("changes") == []
    timeline.observe("shop/a", facts={"version": "4.2"})
    timeline.observe("shop/a", facts={"version": "4.2"})
    later = timeline.crash()
    later.all_ok()
    later.observe("shop/a", facts={"version": "4.2"})
    assert len(later.world.keys("changes")) == 1, "it is remembered over a start"
    later.down("shop/a", times=3)
    assert changes(later) == ["changed before: shop/a reports version 4.2, was 4.1"]


def test_a_mark_says_something_about_something_that_there_is() -> None:
    timeline = town()
    for intent, rule in ((i.MarkIntent(" "), "empty"), (i.MarkIntent("x", component="moon"), "unknown_component")):
        answer = timeline.want(intent)
        assert isinstance(answer, Refused)
        assert answer.rule == rule


def test_only_the_latest_changes_are_kept() -> None:
    timeline = town()
    for number in range(CHANGES_KEPT + 20):
        timeline.want(i.MarkIntent(f"change {number}"))
    kept = timeline.world.tables["changes"]
    assert len(kept) == CHANGES_KEPT
    assert min(map(int, kept)) == 21
    timeline.check_replay()


# --- near misses -----------------------------------------------------------------------------------------------------


def near(timeline: Timeline) -> NearMisses | None:
    found: NearMisses | None = timeline.world.get("near_misses", "shop/slow")
    return found


def test_a_failure_that_is_over_before_it_is_confirmed_is_a_near_miss() -> None:
    timeline = town()
    timeline.down("shop/a", times=2)
    timeline.ok("shop/a")
    (record,) = timeline.of(r.NearMissed)
    assert (record.component, record.failure, record.check, record.results) == ("shop", "slow", "shop/a", 2)
    assert near(timeline) is not None
    (entry,) = Viewer(timeline.world, timeline.live, timeline.clock()).register()
    assert (entry["near_misses"], entry["near_at"], entry["active"]) == (1, record.at, False)
    timeline.check_replay()


def test_one_that_was_confirmed_is_none() -> None:
    timeline = town()
    timeline.down("shop/a", times=3)
    timeline.ok("shop/a", times=2)
    assert near(timeline) is None


def test_what_flaps_is_near_once_in_ten_minutes() -> None:
    timeline = town()
    for _ in range(5):
        timeline.down("shop/a", times=2)
        timeline.ok("shop/a")
        timeline.advance(1)
    assert len(timeline.of(r.NearMissed)) == 1
    timeline.advance(600)
    timeline.down("shop/a")
    timeline.ok("shop/a")
    assert [each.count for each in [near(timeline)] if each] == [2]


def test_being_slow_for_a_moment_is_near_to_being_slow_and_to_nothing_else() -> None:
    modes = {"slow": failure("slow", "shop/a#slow"), "gone": failure("gone", "shop/a")}
    timeline = Timeline(operation(component("shop", checks=["a"], failures=modes)))
    timeline.all_ok()
    timeline.observe("shop/a", "degraded", "slow")
    timeline.ok("shop/a")
    assert [each.failure for each in timeline.of(r.NearMissed)] == ["slow"]


def test_not_being_able_to_look_is_no_near_miss() -> None:
    timeline = town()
    timeline.unknown("shop/a")
    timeline.ok("shop/a")
    assert near(timeline) is None
