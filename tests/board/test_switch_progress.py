"""A switch as it goes on, its four facts, its outcome, and the ways out."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

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
        assert "noticed 3.4s after the first bad result" in stage.page
        assert "▸ act" in stage.page
        assert "close, it goes on" in stage.screen
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
        assert "it goes on" not in stage.screen
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


# --- steps, two people, and opsdash itself ---------------------------------------------------------------------------


def held(stage: Stage, **changes: object) -> None:
    """The switch is at its first step, and may be called off."""
    switch = stage.session.switches["email"]
    cast("dict[str, object]", switch).update(
        state="fencing", step="quiesce", begun=["quiesce"], sequence=["quiesce", "fence", "switch", "reload"],
        ways_out=["abort"], **changes,
    )  # fmt: skip
    stage.session.change("email", switch="fencing")


async def test_the_steps_are_shown_with_the_one_that_it_is_at(board: Board) -> None:
    async with board() as stage:
        await begun(stage)
        held(stage)
        await stage.live()
        assert "▸ quiesce   · fence not begun   · switch not begun   · reload not begun" in stage.page
        assert "▸ at the steps before it" in stage.page
        switch = cast("dict[str, object]", stage.session.switches["email"])
        switch.update(state="undoing", step="fence", begun=["quiesce", "fence"])
        await stage.live()
        assert "• quiesce   ◂ fence   · switch not begun" in stage.page


async def test_a_calls_it_off_but_only_with_y(board: Board) -> None:
    async with board() as stage:
        await begun(stage)
        held(stage)
        await stage.press("a")
        assert "Call it off? What was begun is taken back. It is maria's" in stage.screen
        await stage.press("enter", "escape")
        assert stage.intents("abort") == []
        await stage.press("a", "y")
        assert stage.intents("abort") == [{"component": "email", "reason": "called off on the board"}]


async def test_what_opsdash_does_by_itself_says_so_and_anybody_calls_it_off(board: Board) -> None:
    async with board() as stage:
        await begun(stage)
        held(stage, cause="auto", who="opsdash")
        await stage.live()
        assert "opsdash did this by itself" in stage.page
        await stage.press("a")
        assert "opsdash began it by itself" in stage.screen
        assert "only ask" not in stage.screen


async def test_somebody_elses_wish_to_call_it_off_is_shown_with_the_key_for_it(board: Board) -> None:
    async with board() as stage:
        await begun(stage)
        held(stage, abort_asked="ken")
        await stage.live()
        assert "ken asks for it to be called off   maria can do that: a" in stage.page
        held(stage, abort_asked="maria", called_off=True)
        await stage.live()
        assert "called off by maria  after this step, what was begun is taken back" in stage.page


async def test_a_switch_that_nobody_is_at_any_more_can_be_taken_over(board: Board) -> None:
    async with board() as stage:
        await begun(stage)
        held(stage)
        await stage.press("t")
        assert stage.name == "ProgressDialog"
        stage.session.switches["email"]["ways_out"] = ["abort", "take_over"]
        await stage.live()
        assert "Nothing has come of it for too long" in stage.page
        await stage.press("t", "y")
        assert stage.intents("take_over") == [{"component": "email", "reason": "taken over on the board"}]


async def test_the_second_person_is_named(board: Board) -> None:
    async with board() as stage:
        await begun(stage)
        stage.session.switches["email"]["approved_by"] = "ken"
        await stage.live()
        assert "with ken as the second person" in stage.page


async def test_what_somebody_else_went_back_on_is_reverted_and_not_done(board: Board) -> None:
    async with board() as stage:
        await begun(stage)
        stage.session.advance("email", "committed")
        cast("dict[str, object]", stage.session.switches["email"]).update(state="reverted", detail="it says 'pm-prod'")
        await stage.press("escape", "w")
        assert "✗ REVERTED by somebody else after it was done" in stage.page
        assert "it says 'pm-prod'" in stage.page
        assert "DONE AND VERIFIED" not in stage.page


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
