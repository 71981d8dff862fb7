"""The wall: what a row says, which columns remain, and a cursor that stays where it was put."""

from __future__ import annotations

from datetime import UTC
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from opsdash.board.lines import plain, width
from opsdash.board.state import Sort
from opsdash.board.wall import columns, heading, row_line
from tests.board.fake_session import START, FakeSession, row

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from opsdash.model.views import WindowLine
    from tests.board.conftest import Stage

    Board = Callable[..., AbstractAsyncContextManager[Stage]]


def many(session: FakeSession) -> None:
    for number in range(5000):
        session.rows[f"part-{number}"] = row(f"part-{number}", f"Part {number:04}")


@pytest.mark.parametrize("cells", range(20, 201))
def test_rows_and_heading_fill_every_width_exactly(cells: int) -> None:
    shape = columns(cells)
    for one in FakeSession().rows.values():
        assert width(row_line(one, shape, START, stale=False)) <= cells
    assert width(heading(shape, Sort.ATTENTION)) <= cells


def test_columns_leave_in_a_fixed_order() -> None:
    kept = [
        [
            name
            for name in ("spark", "tier", "latency", "provider", "proof", "since", "next")
            if getattr(columns(cells), name)
        ]
        for cells in (120, 100, 92, 82, 72, 60, 50, 40)
    ]
    for wider, narrower in pairwise(kept):
        assert wider[-len(narrower) :] == narrower if narrower else True
    assert kept[0][0] == "spark"
    assert kept[-1] == []


@pytest.mark.parametrize("cells", [70, 80, 100, 200])
def test_a_backup_to_which_one_key_would_not_lead_is_said_at_every_width(cells: int) -> None:
    one = row("email", "Transactional email", badge="not ready", redundancy="ready", proof="fresh", active="pm")
    assert "NOT READY" in plain(row_line(one, columns(cells), START, stale=False))
    fine = row("email", "Transactional email", badge="stale", redundancy="ready", proof="fresh", active="pm")
    assert "NOT READY" not in plain(row_line(fine, columns(cells), START, stale=False))


def test_in_a_degraded_mode_a_row_says_what_users_do_without() -> None:
    one = row("email", "Email", mode="orders-only", dropped=["Newsletters", "Surveys"], hint="g restore")
    assert "g restore · without Newsletters, Surveys (mode orders-only)" in plain(
        row_line(one, columns(200), START, stale=False)
    )
    nothing = row("email", "Email", mode="orders-only", hint="g restore")
    assert "g restore · mode orders-only" in plain(row_line(nothing, columns(200), START, stale=False))


async def test_the_first_line_and_the_line_below_the_wall_say_what_was_dropped_on_purpose(board: Board) -> None:
    async with board(size=(160, 36)) as stage:
        assert "Dropped on purpose: Lead export (source)" in stage.screen_lines[0]
        stage.wall.select("source")
        await stage.settle()
        assert "   without Lead export (mode last-good)   g restore" in stage.screen
        stage.session.change("source", mode=None, dropped=[], status="ok")
        await stage.live()
        assert "Dropped on purpose" not in stage.screen
        stage.session.change("source", mode="last-good", dropped=["Lead export"])
        await stage.live()
        assert "Dropped on purpose" in stage.screen_lines[0]
        await stage.silence(4)
        assert "Dropped on purpose" not in stage.screen_lines[0], "a stale board claims nothing"


async def test_the_head_says_what_does_not_arrive_and_a_ring_is_shown(board: Board) -> None:
    async with board(size=(160, 36)) as stage:
        stage.session.undelivered = "alarms do not arrive over pager (1 waiting: no answer)"
        stage.session.change("source", status="ok")
        await stage.live()
        assert "alarms do not arrive over pager (1 waiting: no answer)" in stage.screen_lines[1]
        stage.session.ring("CRM [/bad] is down \x1b]52;c;x\x07")
        await stage.live()
        assert "CRM [/bad] is down" in stage.screen


def test_a_row_says_everything_in_words() -> None:
    session = FakeSession()
    shape = columns(200)
    email = plain(row_line(session.rows["email"], shape, START, stale=False))
    for part in ("✗ DOWN", "Transactional email", "ess", "postmark +ok", "×", "4m12s", "tested 12d", "f fail over"):
        assert part in email
    assert "Our mail provider does not answer" in email
    reporting = plain(row_line(session.rows["reporting"], shape, START, stale=False))
    for part in ("~ ON BACKUP", "~simple +LOST", "proof old", "F fail back"):
        assert part in reporting
    assert "? UNKNOWN" in plain(row_line(session.rows["scoring"], shape, START, stale=False))
    assert "never" in plain(row_line(session.rows["scoring"], shape, START, stale=False))
    assert "nobody covers" in plain(row_line(session.rows["social"], shape, START, stale=False))
    assert "‖ PAUSED" in plain(row_line(session.rows["printer"], shape, START, stale=False))


def test_a_stale_row_claims_nothing() -> None:
    line = plain(row_line(FakeSession().rows["email"], columns(120), START, stale=True))
    assert "· STALE" in line
    assert "DOWN" not in line


async def test_the_note_says_what_failed_what_the_register_says_and_which_key(board: Board) -> None:
    async with board() as stage:
        note = stage.screen_lines[-3:-1]
        assert "postmark/api: no answer within 5s (3 of 3)" in note[0]
        assert "The register says: Our mail provider does not answer → f fail over" in note[1]
        assert "nobody is on it: a ack" in note[1]
        await stage.press("end")
        assert "is ok" in stage.screen_lines[-3]


async def test_the_cursor_stays_on_its_component_when_rows_move(board: Board) -> None:
    async with board() as stage:
        await stage.press("down", "down")
        chosen = stage.wall.selected
        stage.session.change("website", status="down", since=stage.session.now)
        await stage.live(5)
        assert stage.wall.order[0] == "website"
        assert stage.wall.selected == chosen


async def test_untouched_the_cursor_is_on_what_needs_a_person_most(board: Board) -> None:
    async with board() as stage:
        stage.session.change("website", status="down", tier="essential", since=stage.session.now)
        await stage.live(3)
        assert stage.wall.selected == "website"


async def test_a_minute_after_the_last_key_the_cursor_follows_again(board: Board) -> None:
    async with board() as stage:
        await stage.press("down")
        stage.session.change("website", status="down", since=stage.session.now)
        await stage.live(5)
        assert stage.wall.selected != "website"
        stage.clock.advance(60)
        stage.session.change("crm", latency=0.5)
        await stage.live(3)
        assert stage.wall.selected == "website"


async def test_rows_do_not_jump_while_the_cursor_moves(board: Board) -> None:
    async with board() as stage:
        await stage.press("down")
        order = list(stage.wall.order)
        stage.session.change("website", status="down", since=stage.session.now)
        await stage.settle()
        stage.clock.advance(1.6)
        stage.app.tick()
        assert stage.wall.order == order
        stage.clock.advance(0.6)
        stage.app.tick()
        assert stage.wall.order[0] == "website"


async def test_the_order_is_not_recomputed_for_every_change(board: Board) -> None:
    async with board() as stage:
        await stage.live(2)
        sorts: list[int] = []
        order = stage.app.state.order
        stage.app.state.order = lambda *arguments: (sorts.append(1), order(*arguments))[1]  # type: ignore[method-assign,func-returns-value]
        for number in range(20):
            stage.session.change("website", latency=number / 10)
            await stage.pilot.pause()
        assert len(sorts) <= 1
        await stage.live(2)
        assert 1 <= len(sorts) <= 3


async def test_only_changed_lines_that_can_be_seen_are_drawn_again(board: Board) -> None:
    async with board(many) as stage:
        assert len(stage.wall.order) == 5010
        drawn: list[str] = []
        refresh = stage.wall.refresh_line
        stage.wall.refresh_line = lambda y: (drawn.append(stage.wall.order[y]), refresh(y))[1]  # type: ignore[method-assign,func-returns-value]
        for name in ("email", "part-4999", "part-4000"):
            stage.session.change(name, latency=0.7)
        await stage.settle()
        assert drawn == ["email"]


async def test_five_thousand_rows_are_walked_with_a_few_keys(board: Board) -> None:
    async with board(many) as stage:
        await stage.press("end")
        assert stage.wall.selected == stage.wall.order[-1]
        assert any("▸" in line for line in stage.screen_lines)
        await stage.press("pageup", "home")
        assert stage.wall.selected == "email"
        assert stage.wall.scroll_offset.y == 0


async def test_filter_narrows_and_escape_shows_everything_again(board: Board) -> None:
    async with board() as stage:
        await stage.press("slash")
        await stage.type("tier:ess !mail")
        assert stage.wall.order == ["crm", "leads", "website"]
        await stage.press("enter")
        assert "filter: tier:ess !mail" in stage.screen
        assert "showing 3 of 10" in stage.screen
        await stage.press("down")
        assert stage.wall.selected == "leads"
        await stage.press("escape")
        assert len(stage.wall.order) == 10


async def test_letters_typed_into_the_filter_are_not_keys(board: Board) -> None:
    async with board() as stage:
        await stage.press("slash")
        await stage.type("fq")
        assert stage.name == "WallScreen"
        assert stage.wall.order == []
        assert "enter keeps it, esc clears it" in stage.screen


async def test_letters_typed_faster_than_the_filter_opens_are_no_keys_either(board: Board) -> None:
    async with board() as stage:
        await stage.ahead("slash", "t", "i", "e", "r", "colon", "e", "slash", "s", "enter")
        assert stage.name == "WallScreen"
        assert "filter: tier:e/s" in stage.screen
        assert stage.session.submitted == []


async def test_letters_typed_faster_than_the_command_line_opens_are_no_keys_either(board: Board) -> None:
    async with board() as stage:
        await stage.ahead("colon", "f", "i", "a", "z")
        assert stage.name == "CommandPalette"
        await stage.press("escape")
        assert len(stage.wall.order) == 10
        assert stage.session.submitted == []


async def test_z_shows_what_is_not_fine(board: Board) -> None:
    async with board() as stage:
        await stage.press("z")
        assert "faults only" in stage.screen
        assert not {"crm", "leads", "website"} & set(stage.wall.order)
        await stage.press("z")
        assert len(stage.wall.order) == 10


async def test_s_changes_the_order_and_says_so(board: Board) -> None:
    async with board() as stage:
        await stage.press("s")
        assert "order: name" in stage.screen
        assert stage.wall.order[:2] == ["crm", "printer"]


async def test_p_holds_the_screen_still_and_says_so(board: Board) -> None:
    async with board() as stage:
        await stage.press("p")
        assert "HELD" in stage.screen
        stage.session.change("crm", status="down")
        await stage.live(3)
        assert "CRM" in stage.screen
        assert "HELD" in stage.screen
        await stage.press("p")
        await stage.live(3)
        assert "DOWN" in next(line for line in stage.screen_lines if "CRM" in line)


async def test_keys_of_a_component_act_on_the_row_under_the_cursor(board: Board) -> None:
    async with board() as stage:
        await stage.press("a")
        assert stage.intents("ack") == [{"incident": "INC-31"}]
        assert stage.app.state.rows["email"]["acknowledged"]
        await stage.press("R")
        assert stage.intents("poll") == [{"target": "email"}]
        stage.wall.select("crm")
        await stage.press("a")
        assert "no open incident" in stage.said[-1]


async def test_pausing_asks_for_how_long(board: Board) -> None:
    async with board() as stage:
        stage.wall.select("crm")
        await stage.press("P", "down", "enter")
        assert stage.intents("pause") == []
        await stage.press("y")
        assert stage.intents("pause")[0]["seconds"] == 3600.0
        await stage.press("P", "y")
        assert stage.intents("resume") == [{"component": "crm"}]


async def test_a_maintenance_asks_for_how_long_and_the_same_key_ends_it(board: Board) -> None:
    async with board() as stage:
        stage.wall.select("crm")
        await stage.press("M", "down", "enter")
        assert stage.intents("maintenance") == []
        await stage.press("y")
        assert stage.intents("maintenance") == [{"target": "crm", "seconds": 7200.0, "reason": "set on the board"}]
        line = plain(row_line(stage.app.state.rows["crm"], columns(160), START, stale=False, tz=UTC))
        assert "maintenance until" in line
        await stage.press("M", "y")
        assert stage.intents("end_maintenance") == [{"target": "crm"}]


def test_a_line_says_why_nobody_was_alarmed_and_what_flaps() -> None:
    window: WindowLine = {"id": "nightly", "kind": "freeze", "title": "Year end", "until": START + 3600}
    one = row("crm", "CRM", status="down", alarm="held", held="db is down", flapping=41, windows=[window])
    line = plain(row_line({**one, "explained_by": ["db"]}, columns(240), START, stale=False, tz=UTC))
    assert "alarm held: db is down · flapping 41 % · freeze until " in line
    assert "because of" not in line, "once is enough"


async def test_an_incident_can_be_opened_by_hand(board: Board) -> None:
    async with board() as stage:
        stage.wall.select("crm")
        await stage.press("i")
        await stage.type("slow since noon")
        await stage.rush("enter")
        assert stage.intents("open_incident") == [{"component": "crm", "title": "slow since noon"}]


async def test_the_demo_menu_breaks_what_is_chosen(board: Board) -> None:
    async with board() as stage:
        await stage.press("x", "enter")
        assert "refuses connections" in stage.page
        await stage.press("down", "enter")
        assert stage.session.injected == [("postmark", "down")]
        await stage.press("x", "down", "enter", "enter")
        assert stage.session.injected[1:] == [("crm", "ok")], "whatever the place in the list before"


async def test_without_demo_x_does_nothing(board: Board) -> None:
    async with board(engine={"demo": False}) as stage:
        assert "break something" not in stage.screen
        await stage.press("x")
        assert stage.name == "WallScreen"
