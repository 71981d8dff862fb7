"""People: who is away, and what nobody covers then."""

from __future__ import annotations

import pytest

from opsdash.core import people
from opsdash.model.inputs import AwayIntent
from opsdash.model.operation import Absence, Person
from opsdash.model.switch import Refused
from opsdash.testing import NEW_YEAR, Timeline, component, operation

DAY = 86400.0


def shop(*persons: Person) -> Timeline:
    owners = tuple(person.id for person in persons)
    return Timeline(operation(component("shop", checks=["a"], owners=owners), people=persons))


def uncovered(timeline: Timeline) -> bool:
    draft = timeline.draft()
    return people.nobody_covers(draft, draft.operation.components["shop"])


MARIA, KEN = Person("maria", "Maria"), Person("ken", "Ken")


def test_it_is_covered_while_one_owner_is_there() -> None:
    timeline = shop(MARIA, KEN)
    timeline.want(AwayIntent("maria", None))
    assert not uncovered(timeline)
    timeline.want(AwayIntent("ken", None))
    assert uncovered(timeline)


def test_whoever_is_back_covers_again() -> None:
    timeline = shop(MARIA)
    timeline.want(AwayIntent("maria", None))
    timeline.want(AwayIntent("maria", None, back=True))
    assert not uncovered(timeline)


def test_an_absence_begins_and_ends_by_the_clock() -> None:
    timeline = shop(MARIA)
    timeline.want(AwayIntent("maria", NEW_YEAR + 2 * DAY, start=NEW_YEAR + DAY))
    assert not uncovered(timeline)
    timeline.advance(DAY + 1)
    assert uncovered(timeline)
    timeline.advance(DAY)
    assert not uncovered(timeline)


def test_the_files_know_of_absences_and_of_people_who_have_left() -> None:
    away = Person("maria", "Maria", away=(Absence(NEW_YEAR - DAY, NEW_YEAR + DAY),))
    left = Person("ken", "Ken", left=NEW_YEAR - DAY)
    timeline = shop(away, left)
    assert uncovered(timeline)
    timeline.advance(DAY + 1)
    assert not uncovered(timeline)


def test_what_nobody_owns_is_not_said_to_be_uncovered() -> None:
    timeline = shop()
    assert not uncovered(timeline)
    assert not people.covered(timeline.draft(), timeline.world.operation.components["shop"], NEW_YEAR)


@pytest.mark.parametrize(
    ("intent", "rule"),
    [
        (AwayIntent("nobody", None), "unknown_person"),
        (AwayIntent("maria", NEW_YEAR - 1), "past"),
        (AwayIntent("maria", NEW_YEAR + DAY, start=NEW_YEAR + 2 * DAY), "past"),
    ],
)
def test_an_absence_that_makes_no_sense_is_refused(intent: AwayIntent, rule: str) -> None:
    refused = shop(MARIA).want(intent)
    assert isinstance(refused, Refused)
    assert refused.rule == rule


def test_absences_outlive_the_engine() -> None:
    timeline = shop(MARIA)
    timeline.want(AwayIntent("maria", NEW_YEAR + DAY))
    later = timeline.crash()
    assert uncovered(later)
    later.check_replay()
