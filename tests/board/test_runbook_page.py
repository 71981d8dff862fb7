"""A run on the board: who drives, what is asked before a block runs, and what is decided about one cut short."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from opsdash.board.pages.runbook import RunbookPage
    from tests.board.conftest import Stage
    from tests.board.fake_session import FakeSession

    Board = Callable[..., AbstractAsyncContextManager[Stage]]


def changed(view: Any, **more: Any) -> None:
    """A view that says something else."""
    view.update(more)


def opened(session: FakeSession, **more: Any) -> None:
    """Somebody follows the runbook already."""
    session._do_open_run({})
    changed(session.run, **more)


def watched(session: FakeSession) -> None:
    opened(session, driver="ken", yours=False, active_at=session.now - 200, driver_gone=True)


async def test_whoever_watches_sees_who_drives_and_takes_over_with_a_reason(board: Board) -> None:
    async with board(watched) as stage:
        await stage.press("r")
        assert "You are watching: ken drives, last active 3m2" in stage.page
        await stage.press("t", "enter")
        assert stage.intents("take_run") == [{"run": "RUN-1", "reason": "ken is gone or silent"}]
        assert "You are watching" not in stage.page


async def test_what_nobody_has_approved_is_shown_before_the_first_block_and_one_key_approves_it(board: Board) -> None:
    def before(session: FakeSession) -> None:
        session.run["approved"] = False

    async with board(before) as stage:
        await stage.press("r")
        assert "Nobody has approved this runbook yet" in stage.page
        await stage.press("x")
        assert "mailq --purge --yes" in stage.page, "everything that it would execute, not only this block"
        await stage.press("enter")
        assert stage.intents("approve_runbook") == []
        await stage.press("y")
        assert stage.intents("approve_runbook") == [{"runbook": "email-down", "sha256": "sha of the text"}]
        assert len(stage.intents("run_block")) == 1


async def test_a_changed_runbook_shows_how_it_differs_from_what_was_approved(board: Board) -> None:
    def before(session: FakeSession) -> None:
        session.run["approved"] = False
        session.run["unapproved"] = [{"step": "queue", "title": "Queue", "lines": ["-mailq --flush", "+rm -rf spool"]}]

    async with board(before) as stage:
        await stage.press("r", "A")
        assert "+rm -rf spool" in stage.page
        await stage.press("escape")
        assert stage.intents("approve_runbook") == []


async def test_an_edit_during_the_run_is_shown_and_accepted(board: Board) -> None:
    def before(session: FakeSession) -> None:
        lines = ["-mailq --flush", "+mailq --flush --now"]
        opened(session, changed=True, differences=[{"step": "queue", "title": "Queue", "lines": lines}])

    async with board(before) as stage:
        await stage.press("r")
        assert "The file was edited since this run began" in stage.page
        await stage.press("x")
        assert "+mailq --flush --now" in stage.page
        await stage.press("y")
        assert stage.intents("accept_run") == [{"run": "RUN-1", "sha256": "sha of the text"}]
        assert stage.intents("run_block") == [], "to accept a text is not to run it"


def in_doubt(session: FakeSession) -> None:
    block = session.run["steps"][2]["blocks"][0]
    changed(block, state="unknown", in_doubt=True, process="it is still running, process group 4711")
    opened(session, current="queue")


async def test_a_run_that_is_opened_again_begins_with_what_is_in_doubt(board: Board) -> None:
    async with board(in_doubt) as stage:
        await stage.press("r")
        assert len(stage.intents("open_run")) == 1, "which makes the checks of that step run"
        assert "process group 4711" in stage.page
        assert "cut short" in stage.page
        await stage.press("x")
        assert "Nobody knows what this block" in stage.page
        await stage.press("enter")
        assert stage.intents("decide_block") == [{"run": "RUN-1", "step": "queue", "block": 0, "decision": "done"}]
        assert stage.intents("run_block") == []


async def test_what_is_to_be_repeated_is_asked_about_before_it_runs(board: Board) -> None:
    async with board(in_doubt) as stage:
        await stage.press("r", "x", "down", "enter")
        assert stage.intents("decide_block")[0]["decision"] == "repeat"
        assert stage.intents("run_block") == []
        await stage.press("y")
        assert len(stage.intents("run_block")) == 1


async def test_a_parameter_is_asked_with_its_default_when_it_is_needed(board: Board) -> None:
    def before(session: FakeSession) -> None:
        session.run["steps"][0]["blocks"][0]["needs"] = ["standby"]
        given: Any = {"name": "standby", "ask": "Which host?", "default": "db2", "pattern": None, "secret": ""}
        given |= {"value": None, "source": ""}
        session.run["params"] = [given]

    async with board(before) as stage:
        await stage.press("r")
        assert "asks for standby" in stage.page
        await stage.press("x")
        assert "Which host?  ($standby)" in stage.page
        await stage.press("enter")
        assert stage.intents("set_parameter") == [{"run": "RUN-1", "name": "standby", "value": "db2"}]
        assert len(stage.intents("run_block")) == 1


async def test_a_block_that_runs_shows_what_it_says_and_is_cancelled(board: Board) -> None:
    def before(session: FakeSession) -> None:
        opened(session)
        block = session.run["steps"][0]["blocks"][0]
        changed(block, state="started", output="copying 1 of 9", started_at=session.now - 5)

    async with board(before) as stage:
        await stage.press("r")
        assert "│ copying 1 of 9" in stage.page
        assert "X cancels it" in stage.page
        stage.session.run["steps"][0]["blocks"][0]["output"] = "copying 1 of 9\ncopying 2 of 9"
        stage.app.tick()
        await stage.settle()
        assert "│ copying 2 of 9" in stage.page
        await stage.press("X")
        assert stage.intents("cancel_block") == [{"run": "RUN-1", "step": "us-or-them", "block": 0}]
        assert "cancelled by maria" in stage.page


async def test_the_coming_checks_run_on_one_key(board: Board) -> None:
    async with board() as stage:
        await stage.press("r", "a")
        assert stage.intents("run_checks") == [{"run": "RUN-1"}]


async def test_a_rehearsal_is_a_page_of_its_own_that_changes_nothing(board: Board) -> None:
    async with board() as stage:
        await stage.press("r", "h")
        assert "REHEARSAL" in stage.page
        await stage.press("y", "y", "x")
        assert stage.intents("open_run")[0]["mode"] == "rehearse"
        assert stage.intents("run_block") == []
        assert "only shown" in stage.said[-1]
        await stage.press("escape")
        assert "REHEARSAL" not in stage.page


async def test_a_step_that_failed_leads_to_another_runbook_and_back(board: Board) -> None:
    def before(session: FakeSession) -> None:
        session.run["steps"][0]["goes_to"] = ("email-all-down", "")

    async with board(before) as stage:
        await stage.press("r")
        assert "if it fails: go to runbook email-all-down" in stage.page
        await stage.press("n")
        assert cast("RunbookPage", stage.app.screen).runbook == "email-all-down"
        await stage.press("escape")
        assert cast("RunbookPage", stage.app.screen).runbook == "email-down"


async def test_a_step_that_is_done_goes_on_where_it_says_or_nowhere(board: Board) -> None:
    def before(session: FakeSession) -> None:
        opened(session)
        first, second = session.run["steps"][0], session.run["steps"][2]
        changed(first, then="#last", then_to=("email-down", second["id"]))
        changed(second, then="", then_to=None)

    async with board(before) as stage:
        await stage.press("r")
        assert f"y if it is done: go on with {stage.session.run['steps'][2]['title']}" in stage.page
        await stage.press("y")
        assert cast("RunbookPage", stage.app.screen).paper.cursor.startswith(stage.session.run["steps"][2]["id"])


@pytest.mark.parametrize(("state", "tries"), [("failed", 2), ("passed", 0), ("", 0)])
async def test_a_check_of_the_current_step_that_did_not_pass_is_tried_again_every_ten_seconds(
    board: Board, monkeypatch: pytest.MonkeyPatch, state: str, tries: int
) -> None:
    def before(session: FakeSession) -> None:
        opened(session)
        monkeypatch.setattr(session, "_do_run_block", lambda _: "")
        changed(session.run["steps"][0]["blocks"][0], state=state, at=session.now)

    async with board(before) as stage:
        await stage.press("r")
        await stage.live(5)
        assert stage.intents("run_block") == []
        await stage.live(16)
        assert len(stage.intents("run_block")) == tries


async def test_what_a_check_of_opsdash_says_stands_beside_the_block(board: Board) -> None:
    def before(session: FakeSession) -> None:
        live: Any = {"check": "email/postmark/api", "status": "down", "detail": "timed out"}
        session.run["steps"][0]["blocks"][0]["live"] = [live]
        session.run["components"] = ["email", "crm"]
        session.run["steps"][0]["usual"] = {"median": 40.0, "p90": 180.0, "runs": 9}

    async with board(before) as stage:
        await stage.press("r")
        assert "email/postmark/api  ✗ DOWN  timed out" in stage.page
        assert "its steps act on" in stage.page
        assert "usually 40s, 90 % within 3m" in stage.page
