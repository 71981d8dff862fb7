"""What the board says of the operation and of the engine, and how it takes events."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from opsdash.board.app import BoardApp, run_board, unfit_terminal
from opsdash.service.session import SessionError, SnapshotEvent
from tests.board.fake_session import FakeSession, row

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from opsdash.service.session import Event
    from tests.board.conftest import Stage

    Board = Callable[..., AbstractAsyncContextManager[Stage]]


async def test_the_first_line_answers_for_people_who_do_not_know_the_parts(board: Board) -> None:
    async with board() as stage:
        first = stage.screen_lines[0]
        assert "Essential: 3 of 5 work" in first
        assert "NOT WORKING: Order confirmations (email)" in first
        assert "NOT KNOWN: Leads reach sales (scoring)" in first
        assert "Newsletters" not in first


async def test_unknown_is_not_counted_as_working(board: Board) -> None:
    def before(session: FakeSession) -> None:
        for feature in session.features:
            feature["works"] = "unknown"

    async with board(before) as stage:
        assert "Essential: 0 of 5 work" in stage.screen_lines[0]


async def test_the_second_line_counts_and_shows_the_engine_alive(board: Board) -> None:
    async with board(size=(160, 36)) as stage:
        stage.clock.advance(0.4)
        stage.app.tick()
        await stage.settle()
        second = stage.screen_lines[1]
        for part in ("✗ 1 down", "! 2 degraded", "? 1 unknown", "✓ 5 ok", "~ 1 on backup", "2 incidents"):
            assert part in second
        assert "engine ok 0.4s" in second
        assert "09:14:07" in second


async def test_after_three_seconds_of_silence_everything_is_stale(board: Board) -> None:
    async with board() as stage:
        await stage.silence(2.9)
        assert "STALE" not in stage.screen
        await stage.silence(0.3)
        lines = stage.screen_lines
        assert "engine lost 3s: no event" in lines[1]
        assert "NOT KNOWN" in lines[0]
        assert "NOT WORKING" not in lines[0]
        rows = [line for line in lines if "Transactional email" in line or "Web site" in line][:2]
        assert all("STALE" in line and "DOWN" not in line and " ok " not in line for line in rows)

        stage.session.report()
        await stage.settle()
        stage.app.tick()
        await stage.settle()
        assert "STALE" not in stage.screen
        assert "NOT WORKING: Order confirmations" in stage.screen_lines[0]


async def test_a_broken_connection_is_stale_at_once_and_says_why(board: Board) -> None:
    async with board() as stage:
        stage.session.lose("connection refused")
        await stage.settle()
        assert "engine lost 0ms: connection refused" in stage.screen_lines[1]
        assert "STALE" in stage.screen
        stage.session.resume()
        await stage.settle()
        stage.app.tick()
        await stage.settle()
        assert "STALE" not in stage.screen


@pytest.mark.parametrize("key", ["enter", "r", "2", "4", "5", "6"])
async def test_stale_reaches_every_page(board: Board, key: str) -> None:
    async with board() as stage:
        await stage.press(key)
        await stage.silence(4)
        assert "engine lost" in stage.screen_lines[1]
        assert not [line for line in stage.screen_lines if "✓ ok" in line]


async def test_a_stream_that_ends_is_asked_for_again(board: Board) -> None:
    class Short(FakeSession):
        asked = 0

        async def events(self) -> AsyncIterator[Event]:
            self.asked += 1
            yield SnapshotEvent(self._snapshot())
            if self.asked == 1:
                raise SessionError("the engine went away")
            await asyncio.Event().wait()

    session = Short()
    app = BoardApp(session, clock=lambda: 0.0)
    app.look_again_after = 0.0
    async with app.run_test() as pilot:
        for _ in range(5):
            await pilot.pause()
        assert session.asked == 2
        assert not app.state.lost


async def test_a_flood_of_events_reaches_the_screens_as_few_changes(board: Board) -> None:
    async with board() as stage:
        told: list[int] = []
        heard = stage.wallscreen.heard
        stage.wallscreen.heard = lambda changes: (told.append(len(changes.rows)), heard(changes))[1]  # type: ignore[method-assign,func-returns-value]
        for number in range(500):
            stage.session.change("website", latency=number / 1000)
        await stage.settle()
        assert 1 <= len(told) <= 5
        assert stage.app.state.rows["website"]["latency"] == 0.499


async def test_a_component_that_goes_leaves_the_wall_and_one_that_comes_appears(board: Board) -> None:
    async with board() as stage:
        del stage.session.rows["printer"]
        stage.session.rows["new"] = row("new", "Brand new part", status="down", since=stage.session.now)
        stage.session.report("new", gone=("printer",))
        await stage.settle()
        stage.wall.resort()
        await stage.settle()
        assert "Label printer" not in stage.screen
        assert "Brand new part" in stage.screen


async def test_q_leaves_and_keeps_the_engine_when_nothing_is_to_be_asked(board: Board) -> None:
    async with board() as stage:
        await stage.press("q")
        assert not stage.app.is_running
        assert stage.app.return_value is None


async def test_q_asks_whether_to_keep_watching(board: Board) -> None:
    async with board(ask_on_quit=True) as stage:
        await stage.press("q")
        assert stage.name == "QuitDialog"
        await stage.press("enter")
        assert stage.name == "QuitDialog"
        await stage.press("y")
        assert stage.app.return_value == "keep"


async def test_the_engine_can_be_stopped_but_not_while_a_switch_is_in_flight(board: Board) -> None:
    async with board(ask_on_quit=True) as stage:
        stage.session.change("email", switch="verifying")
        await stage.press("q")
        assert "cannot be stopped now" in stage.page
        await stage.press("escape")
        stage.session.change("email", switch=None)
        await stage.press("q", "down", "y")
        assert stage.app.return_value == "stop"


async def test_q_on_a_page_goes_back_one_step(board: Board) -> None:
    async with board() as stage:
        await stage.press("enter", "q")
        assert stage.name == "WallScreen"


async def test_views_are_one_key_away_and_minus_goes_to_the_one_before(board: Board) -> None:
    async with board() as stage:
        seen = []
        for key in ("2", "3", "4", "5", "6", "exclamation_mark", "1"):
            await stage.press(key)
            seen.append(stage.name)
        assert seen == [
            "IncidentsPage", "RunbooksPage", "RegisterPage", "JournalPage", "PeoplePage", "ProblemsPage", "WallScreen",
        ]  # fmt: skip
        await stage.press("4", "5", "minus")
        assert stage.name == "RegisterPage"
        await stage.press("escape")
        assert stage.name == "WallScreen"


async def test_the_palette_opens_what_is_typed(board: Board) -> None:
    async with board() as stage:
        await stage.rush("colon")
        await stage.rush(*"journal")
        for _ in range(20):
            await stage.settle()
        await stage.rush("enter")
        for _ in range(10):
            await stage.settle()
        assert stage.name == "JournalPage"


@pytest.mark.parametrize("theme", ["opsdash-light", "ansi-dark", "ansi-light", "textual-dark", "nord"])
async def test_themes_can_be_chosen(board: Board, theme: str) -> None:
    async with board(theme=theme) as stage:
        assert "✗ DOWN" in stage.screen
        await stage.press("enter")
        assert "✗ DOWN" in stage.screen


async def test_no_color_uses_the_terminals_own_colours(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with board() as stage:
        assert stage.app.theme == "ansi-dark"
        strips = stage.app.screen._compositor.render_strips()
        filters = stage.app.get_line_filters()
        background = stage.app.screen.background_colors[1]
        for strip in strips:
            for line_filter in filters:
                strip = strip.apply_filter(line_filter, background)  # noqa: PLW2901
            assert not [s for s in strip if s.style and s.style.color and not s.style.color.is_default]
        assert "▸" in stage.screen


def test_a_theme_that_does_not_exist_is_named() -> None:
    with pytest.raises(ValueError, match="no theme 'pink'"):
        BoardApp(FakeSession(), theme="pink")


@pytest.mark.parametrize(
    "key", ["", "enter", "f", "r", "g", "w", "question_mark", "2", "3", "4", "5", "6", "exclamation_mark"]
)
async def test_no_size_crashes_any_screen(board: Board, key: str) -> None:
    async with board(size=(60, 15)) as stage:
        await stage.press(*([key] if key else []))
        name = stage.name
        for size in ((20, 5), (40, 10), (10, 3), (80, 24), (200, 60)):
            await stage.resize(*size)
            assert len(stage.screen_lines) == size[1]
            assert stage.name == name


async def test_sixty_by_fifteen_is_usable(board: Board) -> None:
    async with board(size=(60, 15)) as stage:
        lines = stage.screen_lines
        email = next(line for line in lines if "Transactional" in line)
        assert "DOWN" in email
        assert "f fail over" in email
        assert sum("ok" in line or "DEGRADED" in line or "UNKNOWN" in line for line in lines) >= 5
        await stage.press("f")
        assert "y switch" in stage.screen
        assert "esc leave without effect" in stage.screen


def test_a_terminal_that_cannot_show_a_board_is_told_what_works_instead() -> None:
    assert "opsdash status" in str(unfit_terminal({"TERM": "dumb"}))


def test_run_board_gives_the_choice_to_its_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    session = FakeSession()
    left: list[str] = []

    async def no_terminal(self: BoardApp, **_: Any) -> str:
        return "stop"

    monkeypatch.setattr(BoardApp, "run_async", no_terminal)
    assert run_board(lambda: session, on_leave=left.append) == 0
    assert left == ["stop"]
    assert session.closed
