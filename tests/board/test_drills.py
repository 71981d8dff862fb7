"""Drills on the board: their page, the plan that begins one, the run, the lever, and what no screen may hide."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from opsdash.board.pages.drills import drill_line as drawn
from tests.board.fake_session import DAY, START, FakeSession, drill_line, drill_run, fault_left, guard

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from tests.board.conftest import Stage

    Board = Callable[..., AbstractAsyncContextManager[Stage]]

RED = "A FAULT MAY STILL BE IN PLACE"
BEGUN = {"drill": "email-quarterly", "latest": "DRILL-0", "reason": "", "overrides": [], "typed": ""}


def drills(session: FakeSession) -> None:
    """Three drills: one late, one of which the latest run failed, one that cannot be run."""
    session.drill_lines = [
        drill_line("email-quarterly", "email", due=START - 3 * DAY, overdue=True, standing="old"),
        drill_line("crm-tabletop", "crm", level="tabletop", verdict="failed", standing="failed", owner="ken"),
        drill_line("website-switch", "website", level="switch", off="there is no check website/eu/api", verdict=None),
    ]
    session.drill_runs["DRILL-0"] = drill_run(
        session.drill_lines[0], "DRILL-0", START - 14 * DAY, live=False, state="ended", verdict="passed", until=None,
        undone=True, undo_by="engine", ended_at=START - 14 * DAY + 90, valid_until=START + 86 * DAY,
        why=["service was verified 41 s after the fault, within 5m"], measured={"detect": 6.2, "recovery": 41.0},
    )  # fmt: skip


def running(session: FakeSession) -> None:
    drills(session)
    line = session.drill_lines[0]
    line["running"], session.marked = "DRILL-2", ["email"]
    session.drill_runs["DRILL-2"] = drill_run(line, "DRILL-2", START, reason="quarterly")


def left(session: FakeSession) -> None:
    drills(session)
    session.faults_left = [fault_left()]


def halted(session: FakeSession) -> None:
    drills(session)
    session.lever = {"at": START - 300, "who": "ken", "reason": "the sale runs"}


def line_with(stage: Stage, words: str) -> str:
    return next(line for line in stage.screen_lines if words in line)


# --- the page --------------------------------------------------------------------------------------------------------


async def test_the_page_lists_drills_with_what_is_due_and_what_the_latest_showed(board: Board) -> None:
    async with board(drills) as stage:
        await stage.press("7")
        for part in (
            "! late 3d",
            "email-quarterly",
            "contained",
            "proof old",
            "✓ passed 14d",
            "drill failed",
            "✗ failed",
            "off",
            "never run",
            "1 overdue",
        ):
            assert part in stage.screen, part


@pytest.mark.parametrize(
    ("due", "words"),
    [(START - 60, "due now"), (START, "due now"), (START + 3600, "in 1h"), (None, "by hand")],
)
def test_a_drill_says_when_it_is_due(due: float | None, words: str) -> None:
    line = drawn(drill_line("email-quarterly", "email", due=due), START, 120)
    assert words in "".join(text for text, _ in line)


async def test_below_the_list_stands_the_latest_evidence_of_the_drill_under_the_cursor(board: Board) -> None:
    async with board(drills) as stage:
        await stage.press("7")
        for part in ("DRILL-0", "✓ PASSED", "service was verified 41 s after the fault", "noticed 6.2s", "next by ken"):
            assert part in stage.screen, part
        await stage.press("end")
        assert "It cannot be run: there is no check website/eu/api" in stage.screen
        assert "It was never run." in stage.screen


async def test_a_click_chooses_the_drill_whose_evidence_is_shown(board: Board) -> None:
    async with board(drills) as stage:
        await stage.press("7")
        await stage.pilot.click("#paper", offset=(20, 3))
        await stage.settle()
        assert "It cannot be run" in stage.screen


async def test_the_filter_finds_what_is_overdue(board: Board) -> None:
    async with board(drills) as stage:
        await stage.press("7", "slash")
        await stage.type("overdue")
        await stage.press("enter")
        assert "email-quarterly" in stage.page
        assert "crm-tabletop" not in stage.page


async def test_without_drills_the_page_says_where_they_go(board: Board) -> None:
    async with board() as stage:
        await stage.press("7")
        assert "No drill is declared. Files in drills/ hold them" in stage.page


async def test_the_head_counts_overdue_drills(board: Board) -> None:
    async with board(drills) as stage:
        assert "1 drill overdue 7" in stage.screen


@pytest.mark.parametrize("size", [(80, 24), (60, 15), (160, 50)])
async def test_the_page_and_its_dialog_fit_every_terminal(board: Board, size: tuple[int, int]) -> None:
    async with board(running, size=size) as stage:
        await stage.press("7")
        assert "RUNNING      email-quarter" in stage.page
        await stage.press("enter")
        assert "UNDONE BY ITS GUARD IN" in stage.screen
        assert "esc close, it goes on" in stage.screen


# --- the plan --------------------------------------------------------------------------------------------------------


async def test_d_shows_the_plan_of_the_components_drill_and_does_nothing(board: Board) -> None:
    async with board(drills) as stage:
        await stage.press("D")
        for part in (
            "users of email",
            "✓  no other drill is running",
            "  1  arm a guard, which undoes everything",
            "by the guard after 10m at the latest, also if opsdash dies",
            "opsdash faultproxy heal 9101",
            "detected within 30s",
        ):
            assert part in stage.page, part
        assert "Nothing has been done yet." in stage.screen
        assert stage.session.submitted == []


async def test_d_on_the_page_of_a_component_does_the_same(board: Board) -> None:
    async with board(drills) as stage:
        await stage.press("enter", "D")
        assert stage.name == "DrillDialog"


async def test_where_a_component_has_several_drills_one_is_chosen(board: Board) -> None:
    def before(session: FakeSession) -> None:
        drills(session)
        session.drill_lines.append(drill_line("email-real", "email", level="real"))

    async with board(before) as stage:
        await stage.press("D")
        assert "It has several drills" in stage.screen
        await stage.press("down", "enter")
        assert stage.name == "DrillDialog"
        assert "real" in stage.screen


async def test_a_component_without_a_drill_says_where_one_would_be(board: Board) -> None:
    async with board() as stage:
        await stage.press("D")
        assert stage.name == "WallScreen"
        assert any("No drill of email is declared" in said for said in stage.said)


async def test_y_begins_exactly_the_plan_that_was_shown_and_follows_the_run(board: Board) -> None:
    async with board(drills) as stage:
        await stage.press("D", "y")
        assert stage.intents("start_drill") == [{**BEGUN, "due": START - 3 * DAY}]
        assert stage.name == "DrillDialog"
        assert "DRILL-2" in stage.screen
        assert "UNDONE BY ITS GUARD IN" in stage.screen


@pytest.mark.parametrize("key", ["enter", "space", "D", "f", "X"])
async def test_no_other_key_begins_a_drill(board: Board, key: str) -> None:
    async with board(drills) as stage:
        await stage.press("D", key, key)
        assert stage.session.submitted == []


async def test_two_presses_at_once_begin_one_run(board: Board) -> None:
    async with board(drills) as stage:
        await stage.press("D")
        await stage.live(1)
        await stage.rush("y", "y", "y")
        assert len(stage.intents("start_drill")) == 1


async def test_what_cannot_be_overridden_stands_in_the_way_and_says_so(board: Board) -> None:
    def before(session: FakeSession) -> None:
        drills(session)
        session.drill_plan_changes = {
            "guards": [guard("incident", "there is no open incident", "fail", "INC-31 is open", overridable=False)],
            "failed": ["incident"],
        }

    async with board(before) as stage:
        await stage.press("D")
        assert "(cannot be overridden)" in stage.page
        await stage.press("y")
        assert "In the way, and not to be overridden: there is no open incident: INC-31 is open" in stage.screen
        assert stage.session.submitted == []


async def test_an_override_takes_the_components_name_and_a_reason(board: Board) -> None:
    def before(session: FakeSession) -> None:
        drills(session)
        session.drill_plan_changes = {
            "guards": [guard("window", "it is within its window", "fail", "it opens on Tuesday")],
            "failed": ["window"],
            "needs": "typed",
        }

    async with board(before, size=(120, 50)) as stage:
        await stage.press("D", "y", "backspace")
        await stage.type("email")
        await stage.press("y")
        assert stage.session.submitted == []
        assert "Overriding a guard needs a reason: e." in stage.screen
        await stage.press("e")
        await stage.type("ken is here today")
        await stage.press("enter", "y")
        assert stage.intents("start_drill") == [
            {
                **BEGUN, "due": START - 3 * DAY, "reason": "ken is here today", "overrides": ["window"],
                "typed": "email",
            }
        ]  # fmt: skip


async def test_a_drill_that_takes_two_people_is_asked_for_and_the_answer_is_shown(board: Board) -> None:
    def before(session: FakeSession) -> None:
        drills(session)
        session.drill_plan_changes = {
            "guards": [guard("approval", "as many people agree as it takes", "fail", "1 of 2", overridable=False)],
            "failed": ["approval"],
        }
        session.refuse = {"rule": "approval", "reason": "another one has to begin the same drill", "override": None}

    async with board(before) as stage:
        await stage.press("D", "y")
        assert len(stage.intents("start_drill")) == 1
        assert "Refused: another one has to begin the same drill" in stage.screen


async def test_a_plan_during_which_somebody_else_begins_follows_that_run(board: Board) -> None:
    async with board(drills) as stage:
        await stage.press("D")
        stage.session._do_start_drill({"drill": "email-quarterly", "reason": "ken was first"})
        await stage.live(1)
        assert "ken was first" in stage.page
        await stage.rush("y")
        assert stage.intents("start_drill") == []


async def test_a_stale_plan_begins_nothing(board: Board) -> None:
    async with board(drills) as stage:
        await stage.press("D")
        await stage.silence(4)
        await stage.rush("y")
        assert stage.session.submitted == []


async def test_a_read_only_board_shows_the_plan_and_refuses_to_begin(board: Board) -> None:
    async with board(drills, read_only=True) as stage:
        await stage.press("D")
        assert "arm a guard" in stage.page
        await stage.press("y", "X")
        await stage.press("f9")
        assert stage.session.submitted == []
        assert any("read-only" in said for said in stage.said)


# --- a run -----------------------------------------------------------------------------------------------------------


async def test_a_run_shows_what_has_come_true_with_measured_times_until_its_verdict(board: Board) -> None:
    async with board(running, size=(120, 50)) as stage:
        await stage.press("D")
        assert "…  waiting detected" in stage.page
        assert "✓  as before CRM" in stage.page
        assert "armed in a process of its own: undoes it in 9m" in stage.page
        run = stage.session.drill_runs["DRILL-2"]
        run["expectations"][0]["took"], run["expectations"][0]["holds"] = 6.2, "true"
        run["measured"] = {"detect": 6.2}
        await stage.live(1)
        assert "✓  yes     detected" in stage.page
        assert "6.2s  within 30s" in stage.page
        stage.session.run_drill("undoing")
        await stage.live(1)
        assert "▸ undoing" in stage.page
        stage.session.run_drill(
            "ended", verdict="late", why=["service was verified after 6m, within 5m was expected"], undone=True,
            undo_by="engine", valid_until=START + 100 * DAY,
        )  # fmt: skip
        await stage.live(1)
        assert "! LATE: it works, not in time" in stage.page
        assert "service was verified after 6m" in stage.page
        assert "the fault is verified to be gone, undone by engine" in stage.page
        assert "It is over: late." in stage.screen
        assert "esc close   " in stage.screen


async def test_a_component_that_was_to_stay_as_it_was_and_changed_is_named(board: Board) -> None:
    async with board(running, size=(120, 50)) as stage:
        stage.session.drill_runs["DRILL-2"]["affected"] = ["crm"]
        await stage.press("D")
        assert "✗  CHANGED CRM" in stage.page


async def test_a_fault_that_could_not_be_taken_back_stands_above_everything(board: Board) -> None:
    async with board(running, size=(120, 50)) as stage:
        stage.session.run_drill("restoring", undone=False, until=None)
        await stage.press("D")
        assert "NOBODY COULD VERIFY THAT THE FAULT IS GONE" in stage.page
        assert stage.page.index("opsdash faultproxy heal 9101") < stage.page.index("EXPECTED")


async def test_a_run_whose_engine_is_not_heard_says_that_its_guard_undoes_it(board: Board) -> None:
    async with board(running, size=(120, 50)) as stage:
        await stage.press("D")
        await stage.silence(4)
        assert "STALE: the engine is not heard." in stage.page
        assert "its guard undoes it" in stage.page
        assert "STALE" in line_with(stage, "as before")


async def test_x_stops_the_run_after_a_question(board: Board) -> None:
    async with board(running) as stage:
        await stage.press("D", "X")
        assert "What was broken is undone at once" in stage.screen
        await stage.press("enter")
        assert stage.intents("stop_drill") == []
        await stage.press("y")
        assert stage.intents("stop_drill") == [{"run": "DRILL-2", "reason": "stopped on the board"}]


async def test_e_finishes_the_run_with_what_was_seen(board: Board) -> None:
    async with board(running) as stage:
        await stage.press("D", "E")
        await stage.type("mail arrived")
        await stage.press("enter")
        assert stage.intents("finish_drill") == [{"run": "DRILL-2", "text": "mail arrived"}]


# --- on every screen -------------------------------------------------------------------------------------------------

EVERYWHERE: dict[str, tuple[str, ...]] = {
    "wall": (), "component": ("enter",), "incidents": ("2",), "runbooks": ("3",), "register": ("4",),
    "journal": ("5",), "people": ("6",), "drills": ("7",), "readiness": ("8",), "problems": ("exclamation_mark",),
    "help": ("question_mark",), "runbook": ("r",), "plan": ("f",), "modes": ("g",),
}  # fmt: skip


@pytest.mark.parametrize("screen", EVERYWHERE)
async def test_every_screen_says_that_a_drill_runs_and_that_a_fault_may_be_in_place(board: Board, screen: str) -> None:
    def before(session: FakeSession) -> None:
        running(session)
        session.faults_left = [fault_left()]

    async with board(before, size=(80, 24)) as stage:
        await stage.press(*EVERYWHERE[screen])
        assert RED in stage.screen
        assert "undone in " in line_with(stage, "[DRILL] email-quarterly of email")


async def test_rows_of_components_that_the_drill_concerns_are_marked_and_others_are_not(board: Board) -> None:
    async with board(running) as stage:
        assert "[DRILL] Transact" in stage.screen
        assert "[DRILL]" not in line_with(stage, "Marketing automation")
        stage.session.marked = []  # it really fails: it is the drill's no more
        stage.session.change("email", cause="really")
        await stage.live(1)
        assert "[DRILL] Transact" not in stage.screen


async def test_an_incident_of_a_drill_is_marked(board: Board) -> None:
    def before(session: FakeSession) -> None:
        session.incident_list[0]["kind"] = "drill"

    async with board(before) as stage:
        await stage.press("2")
        assert "[DRILL] email: Our mail provider" in line_with(stage, "INC-31")
        assert "[DRILL]" not in line_with(stage, "INC-30")


async def test_the_red_bar_says_how_to_undo_it_by_hand_and_goes_when_somebody_states_that_it_is_gone(
    board: Board,
) -> None:
    async with board(left) as stage:
        assert f"{RED}: email, DRILL-3, since 12m" in stage.screen
        assert "undo: opsdash faultproxy heal 9101" in line_with(stage, RED)
        await stage.press("7")
        assert "systemctl restart mail-relay" in stage.page
        assert "the proxy did not answer when it was to be healed" in stage.page
        await stage.press("x")
        await stage.type("I looked at the proxy")
        await stage.press("enter", "enter")
        assert stage.intents("fault_gone") == []
        await stage.press("y")
        assert stage.intents("fault_gone") == [{"run": "DRILL-3", "reason": "I looked at the proxy"}]
        assert RED not in stage.screen


async def test_the_red_bar_is_there_even_on_a_terminal_of_five_lines(board: Board) -> None:
    async with board(left, size=(60, 5)) as stage:
        assert RED in stage.screen


async def test_a_silent_engine_leaves_the_red_bar_where_it_is(board: Board) -> None:
    async with board(left) as stage:
        await stage.silence(10)
        assert RED in stage.screen


# --- the lever -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("screen", ["wall", "component", "people", "plan", "modes"])
async def test_f9_and_y_halt_all_drills_from_every_screen(board: Board, screen: str) -> None:
    async with board(running) as stage:
        await stage.press(*EVERYWHERE[screen], "f9")
        assert "DRILL-2 ends: drill email-quarterly of email." in stage.screen
        await stage.press("enter")
        assert stage.intents("halt_drills") == []
        await stage.press("y")
        assert stage.intents("halt_drills") == [{"reason": "halted on the board"}]
        assert "DRILLS HALTED" in stage.screen


async def test_f9_halts_while_something_is_typed_too(board: Board) -> None:
    async with board(running) as stage:
        await stage.press("slash", "f9", "y")
        assert len(stage.intents("halt_drills")) == 1


async def test_a_y_that_came_with_the_f9_halts_nothing(board: Board) -> None:
    async with board(running) as stage:
        await stage.live(1)
        await stage.rush("f9", "y", "escape")
        assert stage.intents("halt_drills") == []


async def test_halted_drills_are_allowed_again_with_a_reason(board: Board) -> None:
    async with board(halted) as stage:
        assert "DRILLS HALTED" in stage.screen
        await stage.press("7")
        assert " ago: the sale runs" in stage.page
        await stage.press("A")
        await stage.type("the sale is over")
        await stage.press("enter")
        assert stage.intents("allow_drills") == [{"reason": "the sale is over"}]
        assert "DRILLS HALTED" not in stage.screen


async def test_where_the_engine_cannot_be_asked_the_command_that_needs_none_is_named(board: Board) -> None:
    async with board(running) as stage:
        await stage.press("f9")
        stage.session.unreachable = "the engine does not answer"
        await stage.press("y")
        assert any("`opsdash drill halt` does the same without an engine" in said for said in stage.said)


async def test_an_engine_with_a_running_drill_cannot_be_stopped_from_the_board(board: Board) -> None:
    async with board(running, ask_on_quit=True) as stage:
        await stage.press("q")
        assert "drill email-quarterly is in flight" in stage.screen
