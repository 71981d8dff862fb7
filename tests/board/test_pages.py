"""The pages behind the wall: what they show, and the intents that they send."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsdash.board.screenshot import screenshot
from tests.board.fake_session import DAY, START, FakeSession

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    import pytest

    from opsdash.model.views import MutedView, WindowView
    from tests.board.conftest import Stage

    Board = Callable[..., AbstractAsyncContextManager[Stage]]


# --- component -------------------------------------------------------------------------------------------------------


async def test_a_component_shows_who_serves_what_failed_and_what_was_decided(board: Board) -> None:
    async with board() as stage:
        await stage.press("enter")
        page = stage.page
        for part in (
            "✗ DOWN",
            "Postmark  primary  SERVES  ✗ DOWN",
            "Amazon SES  backup  ✓ ok  tested 12d",
            "front door",
            "WHEN THIS HAPPENS",
            "✗ 4m13s",
            "Our mail provider does not answer",
            "switch to a backup, email-down",
            "! its runbook was never followed to the end",
            "Order confirmations",
            "DOES NOT WORK",
            "needs",
            "crm",
            "needed by",
            "Maria, Ken",
            "INC-31",
            "nobody is on it",
            "timeline",
            "no answer within 5s",
        ):
            assert part in page, part  # fmt: skip


def in_maintenance(session: FakeSession) -> None:
    """Email is down, in a maintenance that ken has set."""
    muted: MutedView = {"component": "email", "title": "email is down", "at": START - 60}
    window: WindowView = {
        "id": "component:email",
        "kind": "maintenance",
        "title": "Maintenance",
        "target": "email",
        "components": ["email"],
        "since": START - 600,
        "until": START + 3600,
        "who": "ken",
        "reason": "new certificate",
        "muted": [muted],
    }
    session.windows_of["email"] = [window]
    session.alarm_of["email"] = {
        "state": "held",
        "title": "email is down",
        "incident": "INC-31",
        "reason": "maintenance",
        "by": "component:email",
        "words": "maintenance",
        "since": START - 60,
        "until": START + 3600,
        "due": START - 60,
    }
    session.rows["email"]["flapping"] = 41


async def test_a_component_shows_why_nobody_was_alarmed_and_what_would_have_been(board: Board) -> None:
    async with board(in_maintenance) as stage:
        await stage.press("enter")
        for part in (
            "held: maintenance until ",
            "for 1m",
            "41 %: it changes again and again",
            "window    maintenance until ",
            "ken: new certificate",
            "would have alarmed ",
        ):
            assert part in stage.page, part


async def test_a_component_in_a_degraded_mode_says_what_users_do_without(board: Board) -> None:
    async with board() as stage:
        stage.wall.select("source")
        await stage.press("enter")
        assert "without   Lead export" in stage.page


async def test_a_component_says_why_one_key_would_not_lead_to_its_backup_and_what_was_not_begun(board: Board) -> None:
    def before(session: FakeSession) -> None:
        session.backup_changes = {"badge": "not ready", "badge_why": "what it logs in with is accepted: 403"}
        session.detail_changes = {
            "blocked": "failover to ses wanted by ken, not begun: the backup was proved: never",
            "auto": {
                "component": "email", "auto": "shadow", "hold": 30.0, "score": "would have switched once: 1 not needed",
                "blocked": None, "blocked_at": None,
            },
        }  # fmt: skip
        session.rows["email"]["badge"] = "not ready"

    async with board(before) as stage:
        assert "NOT READY" in next(line for line in stage.screen_lines if "Transactional email" in line)
        await stage.press("enter")
        for words in (
            "NOT READY  what it logs in with is",
            "blocked   failover to ses wanted by ken, not begun:",
            "auto      shadow, after 30 s down;",
        ):
            assert words in stage.page


async def test_a_component_that_nobody_covers_says_so(board: Board) -> None:
    async with board() as stage:
        stage.wall.select("social")
        await stage.press("enter")
        assert "NOBODY COVERS: Ana (away until 2026-01-13)" in stage.page


async def test_a_component_follows_its_changes(board: Board) -> None:
    async with board() as stage:
        await stage.press("enter")
        stage.session.change("email", status="ok", cause="", failure=None, hint="")
        await stage.live(1)
        assert "status    ✓ ok" in stage.page


async def test_brackets_go_to_the_neighbours_in_the_walls_order(board: Board) -> None:
    async with board() as stage:
        await stage.press("enter", "right_square_bracket")
        assert "Lead scoring" in stage.screen_lines[2]
        await stage.press("left_square_bracket", "left_square_bracket")
        assert stage.app.screen.component == stage.wall.order[-1]  # type: ignore[attr-defined]
        await stage.press("escape")
        assert stage.wall.selected == stage.wall.order[-1]


async def test_a_key_that_cannot_work_is_dimmed_and_says_why(board: Board) -> None:
    async with board() as stage:
        await stage.press("enter", "F")
        assert stage.name == "ComponentPage"
        assert "failback: the primary serves already" in stage.said[-1]


async def test_the_last_switch_is_shown_with_its_times(board: Board) -> None:
    async with board() as stage:
        await stage.press("f", "y")
        stage.session.advance("email", "committed")
        await stage.press("escape", "enter")
        assert "✓ decide 1.2s" in stage.page
        assert "failover to Amazon SES" in stage.page


async def test_m_shows_facts_and_phases(board: Board) -> None:
    async with board() as stage:
        await stage.press("enter")
        assert "first byte 20ms" not in stage.page
        await stage.press("m")
        assert "http, every 15s   connect 8ms  first byte 20ms" in stage.page


async def test_a_page_that_cannot_be_loaded_says_why_and_recovers(board: Board) -> None:
    async with board() as stage:
        stage.session.unreachable = "the socket is gone"
        await stage.press("enter")
        assert "could not be loaded: the socket is gone" in stage.page
        stage.session.unreachable = ""
        await stage.live(3)
        assert "✗ DOWN" in stage.page


# --- runbook ---------------------------------------------------------------------------------------------------------


async def test_a_runbook_opens_beside_the_live_status(board: Board) -> None:
    async with board() as stage:
        await stage.press("r")
        screen = stage.screen
        for part in (
            "Mail does not leave",
            "0 of 5 steps",
            "Is it us or them?",
            "curl -fsS",
            "expect",
            "if it fails: go to Let the queue drain",
            "Amazon SES",
            "98ms",
            "Order confirmations",
            "INC-31",
            "✗ 4m13s of 5m",
        ):
            assert part in screen, part  # fmt: skip
        assert stage.session.submitted == []


async def test_the_first_mark_begins_a_run_and_the_cursor_goes_on(board: Board) -> None:
    async with board() as stage:
        await stage.press("r", "y")
        assert [intent for intent, _, _ in stage.session.submitted] == ["open_run", "mark_step"]
        assert stage.intents("mark_step") == [{"run": "RUN-1", "step": "us-or-them", "mark": "done"}]
        assert "1 of 5 steps" in stage.screen
        await stage.press("s")
        assert stage.intents("mark_step")[-1] == {"run": "RUN-1", "step": "fail-over", "mark": "skipped"}
        assert len(stage.intents("open_run")) == 1


async def test_a_failed_step_leads_to_the_step_it_names(board: Board) -> None:
    async with board() as stage:
        await stage.press("r", "n")
        assert stage.intents("mark_step")[-1]["mark"] == "failed"
        assert stage.app.screen.paper.cursor.startswith("queue\n")  # type: ignore[attr-defined]


async def test_space_ticks_and_takes_back(board: Board) -> None:
    async with board() as stage:
        await stage.press("r", "y", "space")
        assert stage.intents("tick")[-1] == {"run": "RUN-1", "step": "fail-over", "tick": 0, "done": True}
        assert "[x] the plan shows no failed guard" in stage.page
        await stage.press("down", "space")
        assert stage.intents("tick")[-1]["done"] is False


async def test_a_block_that_looks_runs_at_once_and_its_output_is_shown(board: Board) -> None:
    async with board() as stage:
        await stage.press("r", "x")
        assert stage.intents("run_block") == [{"run": "RUN-1", "step": "us-or-them", "block": 0}]
        assert "✓ passed  exit 0 in 0.2 s" in stage.page
        assert "All systems operational" in stage.page


async def test_enter_on_a_block_is_the_same(board: Board) -> None:
    async with board() as stage:
        await stage.press("r", "down", "enter")
        assert len(stage.intents("run_block")) == 1


async def test_a_block_that_changes_something_asks_and_enter_is_no_yes(board: Board) -> None:
    async with board() as stage:
        await stage.press("r", "y", "y", "x")
        assert "mailq --flush" in stage.page
        await stage.press("enter")
        assert stage.intents("run_block") == []
        await stage.press("y")
        assert stage.intents("run_block") == [{"run": "RUN-1", "step": "queue", "block": 0}]


async def test_a_dangerous_block_wants_the_components_name(board: Board) -> None:
    async with board() as stage:
        await stage.press("r", "y", "y", "y", "x", "y")
        assert stage.intents("run_block") == []
        await stage.press("escape", "x")
        await stage.type("email")
        assert stage.intents("run_block") == []
        await stage.press("y")
        assert stage.intents("run_block") == [{"run": "RUN-1", "step": "purge", "block": 0, "typed": "email"}]


async def test_a_runbook_that_may_not_be_executed_is_only_read(board: Board) -> None:
    def before(session: FakeSession) -> None:
        session.run["executable"] = False
        session.run["findings"] = ["line 9: a block has two roles"]

    async with board(before) as stage:
        await stage.press("r", "x")
        assert stage.session.submitted == []
        assert "two roles" in stage.page
        assert "can only be read" in stage.said[-1]


async def test_on_a_narrow_terminal_the_live_status_is_one_line_above(board: Board) -> None:
    async with board(size=(80, 24)) as stage:
        await stage.press("r")
        assert "Transactional email  ✗ DOWN" in stage.screen_lines[3]


async def test_read_only_a_runbook_can_be_read(board: Board) -> None:
    async with board(read_only=True) as stage:
        await stage.press("r")
        assert "Is it us or them?" in stage.screen
        await stage.press("y", "x", "space", "enter")
        assert stage.session.submitted == []


# --- incidents, register, journal, people, problems, runbooks --------------------------------------------------------


async def test_incidents_show_their_timeline_and_take_ack_note_and_resolution(board: Board) -> None:
    async with board() as stage:
        await stage.press("2")
        assert "✗ INC-31    OPEN" in stage.page
        assert "nobody is on it" in stage.page
        assert "timeline of INC-31" in stage.page
        await stage.press("a")
        assert "maria is on it" in stage.page
        await stage.press("n")
        await stage.type("called them")
        await stage.rush("enter")
        assert stage.intents("note") == [{"incident": "INC-31", "text": "called them"}]
        await stage.live()
        assert "called them" in stage.page
        await stage.press("x")
        await stage.rush("enter")
        assert stage.intents("resolve") == []
        await stage.type("mail arrives")
        await stage.rush("enter")
        assert stage.intents("resolve") == [{"incident": "INC-31", "text": "mail arrives"}]
        await stage.live()
        assert "INC-31" not in stage.page
        await stage.press("C")
        assert "✓ INC-31    closed" in stage.page


async def test_an_incident_is_rated_handed_over_and_taken_over(board: Board) -> None:
    async with board() as stage:
        await stage.press("2")
        assert "severity 2 (major)   nobody leads it" in stage.page
        await stage.press("s")
        assert "1  critical" in stage.screen
        await stage.press("enter")
        assert stage.intents("rate") == [{"incident": "INC-31", "severity": 1}]
        await stage.live()
        assert "severity 1 (critical)" in stage.page
        await stage.press("H")
        await stage.type("call them at six")
        await stage.rush("enter")
        await stage.live()
        assert "t maria hands it over to whoever comes next" in stage.page
        assert "call them at six" in stage.page
        await stage.press("t")
        await stage.live()
        assert "lead maria" in stage.page
        assert "hands it over to" not in stage.page


async def test_an_incident_that_was_none_or_is_not_over_says_why(board: Board) -> None:
    async with board() as stage:
        await stage.press("2", "X")
        await stage.type("it was my browser")
        await stage.rush("enter")
        assert stage.intents("cancel_incident") == [{"incident": "INC-31", "reason": "it was my browser"}]
        await stage.press("O")
        await stage.type("they see it again")
        await stage.rush("enter")
        assert stage.intents("reopen") == [{"incident": "INC-31", "reason": "they see it again"}]
        await stage.press("m")
        assert stage.intents("incident_time") == [{"incident": "INC-31", "what": "mitigated"}]


async def test_a_longer_note_is_written_in_ones_own_editor(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", "'")
    async with board() as stage:
        await stage.press("2", "e")
        await stage.live()
        assert stage.intents("note") == []
        assert any("set $EDITOR" in said for said in stage.said)


async def test_i_goes_to_the_incident_of_the_component(board: Board) -> None:
    async with board() as stage:
        stage.wall.select("automation")
        await stage.press("i")
        assert "timeline of INC-30" in stage.page


async def test_the_register_shows_decisions_gaps_and_what_is_active_first(board: Board) -> None:
    async with board() as stage:
        await stage.press("4")
        page = stage.page
        assert page.index("✗ 4m13s") < page.index("The CRM cannot be reached")
        assert "noticed by email/active/api · runbook email-down" in page
        assert "! no backup" in page
        assert "2 with gaps" in stage.screen
        assert "was near 3 times, last 2h ago" in page
        await stage.press("slash")
        await stage.type("crm")
        assert "Our mail provider" not in stage.page
        await stage.press("enter", "enter")
        assert stage.name == "ComponentPage"


async def test_what_if_ranks_what_can_be_taken_away_and_tells_all_that_comes_of_one(board: Board) -> None:
    async with board() as stage:
        await stage.press("9")
        page = stage.page
        assert page.index("✗ host:mailer.example") < page.index("· email/postmark")
        assert "lost: email/order-confirmations (essential); for people to repair: email" in page
        assert "answered: email to ses" in page
        assert "1 single point of failure" in stage.screen
        await stage.press("slash")
        await stage.type("postmark")
        assert "mailer" not in stage.page
        await stage.press("enter", "enter")
        page = stage.page
        assert "✗ DOWN (timeout: email/delivery)" in page
        assert "✓ switch email to ses: committed" in page
        assert "guard proof: never proved" in page
        assert "✓ Orders are confirmed (essential): no, then yes" in page
        assert "“It does not answer” to phone, later mail" in page
        assert "✓ users lose nothing, and everything is answered" in page
        await stage.press("escape")
        assert stage.name == "WhatIfPage"


async def test_what_if_says_what_nobody_answers(board: Board) -> None:
    async with board() as stage:
        await stage.press("9", "enter")
        page = stage.page
        assert "✗ lost: email/order-confirmations (essential); for people to repair: email" in page
        assert "✗ no entry of the register says what to do" in page


async def test_the_journal_is_filtered_and_shows_a_record_as_it_was_written(board: Board) -> None:
    async with board() as stage:
        await stage.press("5", "slash")
        await stage.type("postmark")
        assert "engine started" not in stage.page
        await stage.press("enter", "enter")
        assert '"text": "email is down: postmark/api timed out"' in stage.page


async def test_the_journal_loads_older_records_at_its_end(board: Board) -> None:
    def before(session: FakeSession) -> None:
        for number in range(450):
            session._record(f"entry {number}")
        session.unreported = []

    async with board(before) as stage:
        await stage.press("5")
        assert "200 records" in stage.screen
        await stage.press("end")
        assert "400 records" in stage.screen
        await stage.press("end")
        assert "453 records" in stage.screen


async def test_people_says_who_is_away_and_what_nobody_covers(board: Board) -> None:
    async with board() as stage:
        await stage.press("6")
        assert "NOBODY COVERS: Social media" in stage.page
        assert "away until 2026-01-13" in stage.page
        assert "✓ 2 people" in stage.page
        assert "maria (switch to ses" in stage.page
        assert "✗ nobody" in stage.page
        assert "rota front  ken until" in stage.page
        assert "! nobody is on duty from Mon until Tue" in stage.page
        await stage.press("w", "down", "down", "enter")
        sent = stage.intents("away")[0]
        assert sent["person"] == "maria"
        assert abs(sent["until"] - (START + 7 * DAY)) < 60
        await stage.press("end", "b", "y")
        assert stage.intents("away")[1] == {"person": "ana", "until": None, "start": None, "back": True}


async def test_problems_of_the_files_say_where_and_what_would_be_right(board: Board) -> None:
    async with board() as stage:
        assert "1 problem in files" in stage.screen
        await stage.press("exclamation_mark")
        assert "checks/social.yaml:7" in stage.page
        assert "→ did you mean `every`?" in stage.page


async def test_runbooks_are_listed_with_what_they_answer(board: Board) -> None:
    async with board() as stage:
        await stage.press("3")
        assert "email/provider-unreachable" in stage.page
        assert "2 findings  can only be read" in stage.page
        assert stage.page.count("waits for approval") == 1, "what cannot be executed waits for something else"
        await stage.press("enter")
        assert stage.name == "RunbookPage"


async def test_a_screenshot_is_the_same_every_time() -> None:
    first = await screenshot(FakeSession(), size=(100, 30))
    second = await screenshot(FakeSession(), size=(100, 30))
    assert first == second
    assert "Transactional" in first
