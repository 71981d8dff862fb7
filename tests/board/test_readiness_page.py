"""The page of readiness: scores, gaps, and what closes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsdash.board.lines import Role, plain
from opsdash.board.wall import columns, row_line
from opsdash.board.words import proof_cell
from tests.board.fake_session import DAY, START, FakeSession, gap, readiness

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from tests.board.conftest import Stage

    Board = Callable[..., AbstractAsyncContextManager[Stage]]


def known(session: FakeSession) -> None:
    """An operation with three gaps, and ten days of scores."""
    session.readiness_found = readiness(
        63,
        [
            gap("SES has never been shown to work", "email", command="opsdash failover email --to ses", subject="ses"),
            gap("Lena is the only one who knows the CRM", "crm", rule="one-owner", file="checks/crm.yaml", weight=0.7),
            gap("when opsdash itself dies, nobody notices", rule="no-dead-man", file="opsdash.yaml", weight=7.0),
        ],
        trend=[(START - day * DAY, 63 - 2 * day) for day in range(9, -1, -1)],
        differences={"7": 14, "30": -3, "90": None},
    )


async def test_it_shows_the_score_how_it_went_and_what_closes_each_gap(board: Board) -> None:
    async with board(known) as stage:
        await stage.press("8")
        page = stage.page
        assert "63 of 100" in page
        assert "▄▄▄▅▅▅▅▅▅▆" in page
        assert "+14 in 7 days" in page
        assert "-3 in 30 days" in page
        assert "in 90 days" not in page
        assert "2.5  email: SES has never been shown to work" in page
        assert "→ switch to it and back · opsdash failover email --to ses" in page
        assert "· opsdash.yaml" in page
        assert "3 gaps" in stage.screen


async def test_enter_on_a_score_shows_that_components_gaps_and_esc_leads_back(board: Board) -> None:
    async with board(known) as stage:
        await stage.press("8", "enter")
        assert "wall › readiness › email" in stage.screen
        assert "SES has never been shown to work" in stage.page
        assert "the CRM" not in stage.page
        await stage.press("escape")
        assert "the CRM" in stage.page
        await stage.press("escape")
        assert stage.name == "WallScreen"


async def test_enter_on_a_gap_opens_its_component_and_c_copies_its_command(board: Board) -> None:
    async with board(known) as stage:
        await stage.press("8", "slash")
        await stage.type("SES")
        await stage.press("enter", "c")
        assert stage.app.clipboard == "opsdash failover email --to ses"
        await stage.press("enter")
        assert stage.name == "ComponentPage"


async def test_a_gap_of_the_operation_says_where_it_is_closed(board: Board) -> None:
    async with board(known) as stage:
        await stage.press("8", "slash")
        await stage.type("nobody notices")
        await stage.press("enter", "enter")
        assert "This gap is closed in opsdash.yaml." in stage.said
        await stage.press("c")
        assert "No command closes this; the line says what does." in stage.said


async def test_a_filter_that_fits_nothing_does_not_say_that_all_is_well(board: Board) -> None:
    async with board(known) as stage:
        await stage.press("8", "slash")
        await stage.type("zeppelin")
        assert "no gap matches" in stage.page


async def test_where_nothing_is_missing_it_says_so(board: Board) -> None:
    def ready(session: FakeSession) -> None:
        session.readiness_found = readiness(100, [])

    async with board(ready) as stage:
        await stage.press("8")
        assert "✓ no gap" in stage.page


async def test_the_head_has_the_score_once_it_is_known(board: Board) -> None:
    async with board() as stage:
        assert "readiness" not in stage.screen
    async with board(known) as stage:
        assert "readiness 63 8" in stage.screen


async def test_more_gaps_than_are_shown_are_counted(board: Board) -> None:
    def many(session: FakeSession) -> None:
        session.readiness_found = readiness(10, [gap("one of many", "email")], total=4000)

    async with board(many) as stage:
        await stage.press("8")
        assert "3999 smaller ones are not shown" in stage.page


def test_the_column_says_whether_a_backup_is_proved_in_words_that_fit() -> None:
    told = {state: proof_cell(state, START - 12 * DAY, START, 12)[0] for state in ("fresh", "old", "changed", "never")}
    assert told == {"fresh": "tested 12d", "old": "proof old", "changed": "changed", "never": "never"}
    assert proof_cell("changed", START, START, 19) == ("changed since proof", Role.DEGRADED)


def test_a_wide_wall_has_room_for_all_words_of_a_proof() -> None:
    row = FakeSession().rows["scoring"]
    wide, narrow = (
        plain(row_line({**row, "proof": "changed", "proof_at": START}, columns(cells), START, stale=False))
        for cells in (200, 110)
    )
    assert "changed since proof" in wide
    assert "changed" in narrow
    assert "changed since" not in narrow
