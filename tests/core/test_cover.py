"""Cover: what nobody stands behind, now and soon; who is warned of it, and who drives the next drill."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from opsdash.core import cover, people, practice
from opsdash.core.cover_views import coverage
from opsdash.core.rota import on_duty
from opsdash.model.cover import Cover, Rota, Shift
from opsdash.model.inputs import AwayIntent
from opsdash.model.operation import Absence, Person, Tier
from opsdash.model.practice import Done
from opsdash.model.records import AlarmCleared, AlarmRaised
from opsdash.testing import NEW_YEAR, Inbox, Timeline, alarming, component, operation

if TYPE_CHECKING:
    from opsdash.core.draft import Draft

DAY = 86400.0
HOUR = 3600.0
MARIA, KEN, LENA = Person("maria", "Maria"), Person("ken", "Ken"), Person("lena", "Lena")


def shop(*owners: str, rota: Rota | None = None, tier: Tier = Tier.ESSENTIAL, **settings: Any) -> Timeline:
    rotas = {} if rota is None else {rota.id: rota}
    shown = component("shop", checks=["a"], owners=owners, rotas=tuple(rotas), tier=tier, title="Shop")
    found = operation(shown, people=[MARIA, KEN, LENA], rotas=rotas, alarms=alarming("chat"), **settings)
    timeline = Timeline(found, inbox=Inbox())
    timeline.all_ok()
    return timeline


def did(timeline: Timeline, *who: str, days: float = 1) -> None:
    """People have run the shop so many days ago."""
    done = [Done(each, "one", timeline.clock.wall - days * DAY, "S-1") for each in who]
    timeline.world.apply(practice.practised(timeline.world, "shop", done))


def gaps(timeline: Timeline, ahead: float = 3 * DAY) -> list[tuple[str, float, float | None]]:
    """What is missing: which, and from when until when, in days from New Year."""
    reader = timeline.draft()
    found = cover.gaps(reader, reader.operation.components["shop"], timeline.clock.wall, ahead)
    return [
        (each.what, (each.since - NEW_YEAR) / DAY, None if each.until is None else (each.until - NEW_YEAR) / DAY)
        for each in found
    ]


def shifts(*spans: tuple[float, float, str]) -> Rota:
    made = tuple(Shift(NEW_YEAR + start * DAY, NEW_YEAR + end * DAY, person) for start, end, person in spans)
    return Rota("front", "front.ics", made, until=NEW_YEAR + 400 * DAY)


def raised(timeline: Timeline, topic: str) -> list[str]:
    return [each.title for each in timeline.of(AlarmRaised) if each.topic == topic]


# --- gaps ------------------------------------------------------------------------------------------------------------


def test_an_absence_to_come_is_a_gap_from_its_beginning_to_its_end() -> None:
    timeline = shop("maria")
    timeline.want(AwayIntent("maria", NEW_YEAR + 5 * DAY, start=NEW_YEAR + 2 * DAY))
    assert gaps(timeline) == [("owners", 2.0, 5.0)]
    assert gaps(timeline, ahead=DAY) == []


def test_while_another_owner_is_there_nothing_is_missing() -> None:
    timeline = shop("maria", "ken")
    timeline.want(AwayIntent("maria", NEW_YEAR + 5 * DAY, start=NEW_YEAR + 2 * DAY))
    assert gaps(timeline) == []
    timeline.want(AwayIntent("ken", NEW_YEAR + 3 * DAY, start=NEW_YEAR + DAY))
    assert gaps(timeline) == [("owners", 2.0, 3.0)]


def test_the_files_count_as_well_as_what_was_recorded() -> None:
    timeline = shop("maria")
    away = replace(MARIA, away=(Absence(NEW_YEAR + DAY, NEW_YEAR + 2 * DAY),))
    timeline.reload(replace(timeline.world.operation, people={"maria": away}))
    assert gaps(timeline) == [("owners", 1.0, 2.0)]
    gone = replace(MARIA, left=NEW_YEAR + DAY)
    timeline.reload(replace(timeline.world.operation, people={"maria": gone}))
    assert gaps(timeline) == [("owners", 1.0, None)]


def test_a_moment_without_anybody_hides_no_gap_behind_it() -> None:
    timeline = shop(rota=shifts((0, 1 - 1 / DAY, "maria"), (1, 2, "ken"), (3, 4, "ken")))
    assert gaps(timeline) == [("owners", 2.0, 3.0)]


def test_somebody_who_can_run_it_has_to_be_there_too() -> None:
    timeline = shop("maria")
    did(timeline, "ken")
    timeline.want(AwayIntent("ken", NEW_YEAR + 5 * DAY, start=NEW_YEAR + 2 * DAY))
    assert gaps(timeline) == [("runners", 2.0, 5.0)]


def test_what_nobody_has_ever_run_is_no_news() -> None:
    assert gaps(shop("maria")) == []


def test_what_becomes_of_it_without_somebody_is_said_at_once() -> None:
    timeline = shop("maria")
    did(timeline, "maria")
    reader = timeline.draft()
    shown = reader.operation.components["shop"]
    assert cover.lost(reader, "maria", shown, NEW_YEAR, NEW_YEAR) == ["nobody else owns it", "nobody else can run it"]
    assert cover.lost(reader, "ken", shown, NEW_YEAR, NEW_YEAR) == []
    did(timeline, "ken")
    timeline.want(AwayIntent("ken", NEW_YEAR + DAY))
    away = cover.lost(timeline.draft(), "maria", shown, timeline.clock.wall, timeline.clock.wall)
    assert away == ["nobody else owns it", "none of the others who can run it is there"]


# --- the warning -----------------------------------------------------------------------------------------------------


def test_a_warning_comes_three_days_before_and_ends_with_the_absence() -> None:
    timeline = shop("maria")
    timeline.want(AwayIntent("maria", NEW_YEAR + 6 * DAY, start=NEW_YEAR + 5 * DAY))
    timeline.advance(2 * DAY - HOUR)
    assert raised(timeline, "cover") == []
    timeline.advance(2 * HOUR)
    assert raised(timeline, "cover") == [
        "Shop: none of its owners is there from Tue 2026-01-06 00:00 until Wed 2026-01-07 00:00 (Maria)"
    ]
    assert timeline.inbox is not None
    timeline.advance(HOUR)
    assert any("none of its owners" in title for title in timeline.inbox.titles("chat"))
    timeline.advance(4 * DAY)
    assert [each.topic for each in timeline.of(AlarmCleared)] == ["cover"]
    timeline.check_replay()


def test_how_long_before_is_a_setting() -> None:
    timeline = shop("maria", cover=Cover(warn_before=10 * DAY))
    timeline.want(AwayIntent("maria", NEW_YEAR + 9 * DAY, start=NEW_YEAR + 8 * DAY))
    assert len(raised(timeline, "cover")) == 1
    timeline.want(AwayIntent("maria", None, back=True))
    assert [each.topic for each in timeline.of(AlarmCleared)] == ["cover"]


def test_nobody_is_warned_of_what_may_be_dropped() -> None:
    timeline = shop("maria", tier=Tier.DROPPABLE)
    timeline.want(AwayIntent("maria", None))
    assert gaps(timeline) != []
    assert raised(timeline, "cover") == []


# --- rotas -----------------------------------------------------------------------------------------------------------


def test_whoever_is_on_duty_owns_it() -> None:
    timeline = shop(rota=shifts((0, 1, "maria"), (1, 2, "ken")))
    reader = timeline.draft()
    shown = reader.operation.components["shop"]
    assert people.owners_at(reader, shown, NEW_YEAR + HOUR) == ["maria"]
    assert people.owners_at(reader, shown, NEW_YEAR + DAY) == ["ken"]
    assert people.present_owners(reader, shown, NEW_YEAR + 2 * DAY) == []
    assert gaps(timeline) == [("owners", 2.0, None)]


def test_two_may_be_on_duty_at_once() -> None:
    rota = shifts((0, 2, "maria"), (1, 3, "ken"))
    assert on_duty(rota, NEW_YEAR + 1.5 * DAY) == ["maria", "ken"]
    assert on_duty(rota, NEW_YEAR + 3 * DAY) == []


def rota_gaps(timeline: Timeline, days: float = 14) -> list[tuple[float, float | None]]:
    reader: Draft = timeline.draft()
    found = cover.rota_gaps(reader, reader.operation.rotas["front"], NEW_YEAR, NEW_YEAR + days * DAY)
    return [((each.since - NEW_YEAR) / DAY, ((each.until or 0) - NEW_YEAR) / DAY) for each in found]


def test_a_time_without_anybody_is_a_gap_of_the_rota() -> None:
    assert rota_gaps(shop(rota=shifts((0, 1, "maria"), (3, 14, "ken")))) == [(1.0, 3.0)]
    assert rota_gaps(shop(rota=shifts((0, 8, "maria"), (6, 14, "ken")))) == []
    assert rota_gaps(shop(rota=shifts())) == [(0.0, 28.0)], "as far as was looked"


def test_somebody_on_duty_who_is_away_is_a_gap_too() -> None:
    timeline = shop(rota=shifts((0, 7, "maria"), (7, 14, "ken")))
    timeline.want(AwayIntent("maria", NEW_YEAR + 3 * DAY, start=NEW_YEAR + 2 * DAY))
    assert rota_gaps(timeline) == [(2.0, 3.0)]


def test_the_seconds_between_two_shifts_are_no_gap() -> None:
    assert rota_gaps(shop(rota=shifts((0, 1 - 1 / DAY, "maria"), (1, 14, "ken")))) == []


def test_what_is_not_known_yet_is_no_gap() -> None:
    rota = replace(shifts((0, 2, "maria")), until=NEW_YEAR + 2 * DAY)
    assert rota_gaps(shop(rota=rota)) == []


@pytest.mark.parametrize("warn", [True, False])
def test_a_gap_within_fourteen_days_is_a_notice_unless_nobody_wants_it(warn: bool) -> None:
    timeline = shop("lena", rota=replace(shifts((0, 20, "maria"), (21, 400, "ken")), warn=warn))
    timeline.advance(5 * DAY)
    assert raised(timeline, "rota:front") == []
    timeline.advance(2 * DAY)
    told = ["rota front: nobody is on duty from Wed 2026-01-21 00:00 until Thu 2026-01-22 00:00"]
    assert raised(timeline, "rota:front") == (told if warn else [])
    timeline.reload(replace(timeline.world.operation, rotas={}))
    timeline.advance(61)
    assert len(timeline.of(AlarmCleared)) == int(warn)


# --- who drives ------------------------------------------------------------------------------------------------------


def test_the_next_driver_has_never_done_it_or_did_it_the_longest_ago() -> None:
    timeline = shop("maria")
    shown = timeline.world.operation.components["shop"]
    everybody = ("maria", "ken", "lena")

    def driver() -> str | None:
        return cover.next_driver(timeline.draft(), shown, everybody, timeline.clock.wall)

    assert driver() == "maria"
    did(timeline, "maria", days=30)
    assert driver() == "ken"
    did(timeline, "ken", days=10)
    assert driver() == "lena"
    timeline.want(AwayIntent("lena", None))
    assert driver() == "maria"
    for each in ("maria", "ken"):
        timeline.want(AwayIntent(each, None))
    assert driver() is None


def test_all_of_it_is_in_one_view() -> None:
    timeline = shop("maria", rota=shifts((0, 1, "ken")))
    did(timeline, "ken", "maria")
    timeline.want(AwayIntent("maria", NEW_YEAR + 9 * DAY))
    seen = coverage(timeline.draft(), timeline.clock.wall)
    [shown] = seen["components"]
    assert (shown["owners"], shown["present"], shown["on_duty"]) == (["maria", "ken"], ["ken"], ["ken"])
    assert shown["bus_factor"] == 2
    assert [each["words"] for each in shown["can_run"]] == ["switch to one", "switch to one"]
    assert [each["what"] for each in shown["gaps"]] == ["owners"]
    [rota] = seen["rotas"]
    assert (rota["on_duty"], rota["next"]) == (["ken"], None)
    assert rota["gaps"]
