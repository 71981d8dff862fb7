"""What the board knows, and in which order it shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from opsdash.board.state import BoardState, Sort, needs_attention, row_filter, text_filter
from opsdash.service.session import DeltaEvent, Lost, SnapshotEvent
from tests.board.fake_session import START, FakeSession, row

if TYPE_CHECKING:
    from opsdash.model.views import Delta, JournalLine, WallRow


def everything(_: WallRow) -> bool:
    return True


def known(*rows: WallRow) -> BoardState:
    state = BoardState()
    summary = FakeSession().summary()
    state.apply(SnapshotEvent({"seq": 1, "at": START, "summary": summary, "rows": list(rows)}), 10.0)
    return state


def delta(at: float = START, rows: tuple[WallRow, ...] = (), **more: Any) -> DeltaEvent:
    made: Delta = {"seq": 2, "at": at, "rows": list(rows), "gone": [], "summary": None, "records": []}
    made.update(more)  # type: ignore[typeddict-item] # keys of Delta
    return DeltaEvent(made)


def record(seq: int) -> JournalLine:
    return {"seq": seq, "at": START, "type": "note", "component": None, "who": "ken", "text": str(seq), "data": {}}


def test_nothing_heard_yet_is_stale() -> None:
    assert BoardState().stale(0.0)


def test_after_an_event_it_is_fresh_for_three_seconds() -> None:
    state = known(row("a", "A"))
    assert not state.stale(13.0)
    assert state.stale(13.1)
    state.apply(delta(START + 4), 14.0)
    assert not state.stale(17.0)


def test_a_loss_is_stale_at_once_until_something_is_heard() -> None:
    state = known()
    state.apply(Lost("gone"), 10.1)
    assert state.stale(10.1)
    state.apply(delta(), 10.2)
    assert not state.stale(10.2)


def test_time_goes_on_from_the_engines_clock() -> None:
    state = known()
    assert state.now(12.5) == START + 2.5


def test_a_delta_changes_brings_and_takes_rows() -> None:
    state = known(row("a", "A"), row("b", "B"))
    version = state.versions["a"]
    changes = state.apply(delta(rows=(row("a", "A", status="down"), row("c", "C")), gone=["b"]), 11.0)
    assert set(state.rows) == {"a", "c"}
    assert state.versions["a"] > version
    assert changes.rows == {"a", "b", "c"}
    assert changes.structure


def test_a_snapshot_after_a_loss_forgets_what_is_no_more() -> None:
    state = known(row("a", "A"), row("b", "B"))
    state.apply(
        SnapshotEvent({"seq": 9, "at": START, "summary": FakeSession().summary(), "rows": [row("b", "B")]}), 11.0
    )
    assert set(state.rows) == {"b"}


def test_records_that_come_twice_are_known_once_and_in_order() -> None:
    state = known()
    state.remember([record(3), record(1)])
    state.apply(delta(records=[record(3), record(2)]), 11.0)
    assert [one["seq"] for one in state.recent] == [1, 2, 3]


def test_the_failed_thing_comes_first() -> None:
    state = known(
        row("fine", "A fine part"),
        row("lone", "Without backup", redundancy="lost"),
        row("slow", "Slow", status="degraded"),
        row("blind", "Blind", status="unknown"),
        row("minor", "Minor", status="down", tier="droppable"),
        row("major", "Major", status="down", tier="essential"),
    )
    assert state.order(Sort.ATTENTION, everything) == ["major", "minor", "blind", "slow", "lone", "fine"]


def test_of_equal_trouble_the_newest_comes_first() -> None:
    state = known(row("old", "A", status="down", since=START - 100), row("new", "B", status="down", since=START - 1))
    assert state.order(Sort.ATTENTION, everything) == ["new", "old"]


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        (Sort.NAME, ["b", "a", "c"]),
        (Sort.TIER, ["c", "a", "b"]),
        (Sort.LATENCY, ["a", "c", "b"]),
        (Sort.SINCE, ["c", "b", "a"]),
    ],
)
def test_other_orders(sort: Sort, expected: list[str]) -> None:
    state = known(
        row("a", "Middle", latency=0.9, since=1.0),
        row("b", "alpha", tier="droppable", latency=0.1, since=2.0),
        row("c", "Zulu", tier="essential", latency=0.5, since=3.0),
    )
    assert state.order(sort, everything) == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "unknown"}, {"on_backup": True}, {"mode": "lite"}, {"redundancy": "lost"}, {"covered": False},
        {"overdue": ["mode"]}, {"problems": 1}, {"failure": "x"}, {"switch": "acting"},
    ],
)  # fmt: skip
def test_what_is_not_fine_needs_attention(changes: dict[str, Any]) -> None:
    assert needs_attention(row("a", "A", **changes))
    assert not needs_attention(row("a", "A"))


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("", True), ("mail", True), ("MAIL", True), ("crm", False), ("!crm", True), ("!mail", False), ("!", True),
        ("status:down", True), ("status:ok", False), ("!status:ok", True), ("tier:ess", True), ("owner:ken", True),
        ("owner:ana", False), ("mail status:down", True), ("mail status:ok", False), ("nokey:down", False),
        ("active:postmark", True), ("timeout", True),
    ],
)  # fmt: skip
def test_filters(text: str, holds: bool) -> None:
    email = row("email", "Transactional mail", status="down", tier="essential", active="postmark", cause="timeout")
    assert row_filter(text)(email) is holds


def test_filters_of_other_lists() -> None:
    assert text_filter("disk !full")("Disk is slow")
    assert not text_filter("disk !full")("disk is full")
