"""Requests that come twice: what was accepted is begun once, whichever engine is asked again."""

from __future__ import annotations

import pytest

from opsdash.core.evolve import REQUESTS_KEPT
from opsdash.model import inputs as i
from opsdash.model import records as r
from opsdash.testing import Timeline, component, operation


def shop() -> Timeline:
    return Timeline(operation(component("shop")))


def want(timeline: Timeline, key: str, intent: i.Intent, *, repeatable: bool = True) -> None:
    timeline.feed(i.Wanted(key, "maria", intent, repeatable=repeatable))


def test_what_was_accepted_is_known_by_its_key_after_a_crash_and_what_it_is_called() -> None:
    timeline = shop()
    want(timeline, "one", i.OpenIncidentIntent("shop", "nobody can pay"))
    timeline.check_replay()
    known = timeline.crash().world.get("requests", "one")
    assert known.subject == "INC-1"


def test_it_is_in_the_journal_together_with_what_followed_from_it() -> None:
    timeline = shop()
    decided = timeline.feed(i.Wanted("one", "maria", i.PauseIntent("shop", 60), repeatable=True))
    assert type(decided[0]) is r.Paused
    assert type(decided[-1]) is r.RequestAccepted


@pytest.mark.parametrize(
    ("intent", "repeatable"),
    [
        (i.PauseIntent("shop", -1), True),
        (i.PauseIntent("shop", 60), False),
        (i.PollIntent("shop"), True),
    ],
    ids=["it was refused", "nobody can repeat it", "nothing follows from it that is kept"],
)
def test_nothing_is_remembered_of_what_need_not_be_known(intent: i.Intent, *, repeatable: bool) -> None:
    timeline = shop()
    want(timeline, "one", intent, repeatable=repeatable)
    assert timeline.world.tables["requests"] == {}


def test_the_latest_are_known_also_after_the_clock_was_set_back() -> None:
    timeline = shop()
    for number in range(REQUESTS_KEPT + 1):
        want(timeline, f"key-{number}", i.PauseIntent("shop", 60 + number))
    timeline.clock.jump(-3600)
    for key in ("then", "and-then"):
        want(timeline, key, i.PauseIntent("shop", 30))
    known = timeline.world.tables["requests"]
    assert {"then", "and-then"} <= known.keys()
    assert "key-2" not in known


def test_the_latest_are_known_and_the_oldest_make_room() -> None:
    timeline = shop()
    for number in range(REQUESTS_KEPT + 3):
        timeline.advance(1)
        want(timeline, f"key-{number}", i.PauseIntent("shop", 60 + number))
    known = timeline.world.tables["requests"]
    assert len(known) == REQUESTS_KEPT
    assert "key-2" not in known
    assert "key-3" in known
