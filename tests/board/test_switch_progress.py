"""A switch as it goes on, its four facts, its outcome, and the ways out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from tests.board.conftest import Stage

    Board = Callable[..., AbstractAsyncContextManager[Stage]]


async def begun(stage: Stage) -> None:
    await stage.press("f", "y")
    assert stage.name == "ProgressDialog"


async def test_a_switch_is_followed_from_key_to_verified(board: Board) -> None:
    async with board() as stage:
        await begun(stage)
        assert "▸ act" in stage.page
        assert "…  waiting" in stage.page
        assert stage.app.state.rows["email"]["switch"] == "acting"

        stage.session.advance("email", "verifying")
        await stage.live()
        assert "✓ settle 2.0s" in stage.page
        assert "▸ verify" in stage.page
        assert "✓  true         the mechanism reads back the new side" in stage.page
        assert "2 of 3" in stage.page
        assert "DONE" not in stage.page

        stage.session.advance("email", "committed")
        await stage.live()
        assert "✓ DONE AND VERIFIED" in stage.page
        assert "total 4.0s" in stage.page
        assert "3 of 3  delivery says ses-eu" in stage.page
        await stage.press("escape")
        email = next(line for line in stage.screen_lines if "Transactional email" in line)
        assert "ON BACKUP" in email
        assert "~ses" in email


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("aborted", "NOT STARTED: nothing was changed"),
        ("no_effect", "NO EFFECT"),
        ("split", "SPLIT: both sides may be serving"),
        ("unknown", "NOT KNOWN: look before you do anything again"),
    ],
)
async def test_an_outcome_that_is_not_good_is_said_in_plain_words(board: Board, state: str, words: str) -> None:
    async with board() as stage:
        await begun(stage)
        stage.session.advance("email", state)
        await stage.live()
        assert words in stage.page
        assert "DONE" not in stage.page


async def test_from_unknown_a_person_can_undo_but_only_with_y(board: Board) -> None:
    async with board() as stage:
        await begun(stage)
        stage.session.advance("email", "unknown")
        await stage.press("u")
        assert "lead it back to Postmark" in stage.page
        await stage.press("enter")
        assert stage.intents("undo") == []
        await stage.press("y")
        assert stage.intents("undo") == [{"component": "email", "reason": "undone on the board"}]


async def test_from_unknown_a_person_can_state_the_outcome_with_a_reason(board: Board) -> None:
    async with board() as stage:
        await begun(stage)
        stage.session.advance("email", "unknown")
        await stage.press("s", "down", "enter")
        await stage.type("I saw the old mails")
        await stage.rush("enter")
        assert stage.intents("settle") == []
        await stage.press("y")
        assert stage.intents("settle") == [{"component": "email", "state": "aborted", "reason": "I saw the old mails"}]


async def test_from_split_a_person_can_take_over(board: Board) -> None:
    async with board() as stage:
        await begun(stage)
        stage.session.advance("email", "split")
        await stage.press("t", "y")
        assert stage.intents("take_over") == [{"component": "email", "reason": "taken over on the board"}]


@pytest.mark.parametrize("key", ["u", "s", "t"])
async def test_a_way_that_is_not_open_is_not_taken(board: Board, key: str) -> None:
    async with board() as stage:
        await begun(stage)
        stage.session.advance("email", "committed")
        await stage.press(key)
        assert stage.name == "ProgressDialog"
        assert len(stage.session.submitted) == 1


async def test_a_switch_of_a_silent_engine_is_stale_and_never_done(board: Board) -> None:
    async with board() as stage:
        await begun(stage)
        await stage.silence(4)
        assert "STALE: the engine is not heard" in stage.page


async def test_w_shows_the_last_switch(board: Board) -> None:
    async with board() as stage:
        await stage.press("w")
        assert "No switch was ever made here." in stage.page
        await stage.press("escape")
        await begun(stage)
        stage.session.advance("email", "committed")
        await stage.press("escape", "w")
        assert "DONE AND VERIFIED" in stage.page


# --- degraded modes --------------------------------------------------------------------------------------------------


async def test_g_offers_the_modes_that_were_decided_and_enter_only_opens_the_plan(board: Board) -> None:
    async with board() as stage:
        await stage.press("g")
        assert "keeps  email/order-confirmations" in stage.page
        assert "drops  email/newsletters" in stage.page
        await stage.press("down", "enter")
        assert stage.name == "PlanDialog"
        assert stage.session.submitted == []
        await stage.press("enter")
        assert stage.session.submitted == []
        await stage.press("y")
        assert stage.intents("degrade")[0]["target"] == "queue-only"


async def test_a_mode_in_force_is_offered_to_be_left(board: Board) -> None:
    async with board() as stage:
        stage.wall.select("source")
        await stage.press("g")
        assert "in force for 2h" in stage.page
        await stage.press("enter")
        assert "Leave degraded mode" in stage.screen
        await stage.press("y")
        assert stage.intents("restore")[0]["source"] == "last-good"


async def test_without_modes_it_says_how_to_declare_one(board: Board) -> None:
    async with board() as stage:
        stage.wall.select("crm")
        await stage.press("g", "enter")
        assert stage.name == "ModeDialog"
        assert "No degraded mode was decided" in stage.page
