"""When the board's process looks for cycles: never while somebody types, unless that goes on for ever."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest

from opsdash.board.housekeeping import AT_LEAST_EVERY, AT_MOST_EVERY, QUIET, Housekeeping

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _python_as_it_was() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


def test_what_the_start_has_made_is_looked_at_once_and_never_again() -> None:
    assert Housekeeping().tick(0.0)
    assert gc.get_freeze_count() > 0


def test_python_makes_no_full_look_by_itself() -> None:
    Housekeeping().tick(0.0)
    looks = gc.get_stats()[2]["collections"]
    kept = [[number] for number in range(200_000)]
    assert gc.get_stats()[2]["collections"] == looks, f"{len(kept)} new values caused a full look"


def test_a_full_look_waits_until_the_keys_are_quiet() -> None:
    keeping = Housekeeping()
    keeping.tick(0.0)
    assert not keeping.tick(AT_MOST_EVERY - 1)
    keeping.typed(AT_MOST_EVERY)
    assert not keeping.tick(AT_MOST_EVERY + QUIET / 2)
    assert keeping.tick(AT_MOST_EVERY + QUIET)
    assert not keeping.tick(AT_MOST_EVERY + QUIET + 1), "and then it is a while until the next"


def test_whoever_never_stops_typing_gets_one_every_ten_minutes() -> None:
    keeping = Housekeeping()
    keeping.tick(0.0)
    looked = 0
    for second in range(1, int(AT_LEAST_EVERY) + 2):
        keeping.typed(float(second))
        looked += keeping.tick(float(second))
    assert looked == 1
