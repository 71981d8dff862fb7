"""The key that switches: what has to be true before `y` acts, and everything that must not act."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from opsdash.board.plan import PlanDialog
from tests.board.fake_session import FakeSession, guard

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from tests.board.conftest import Stage

    Board = Callable[..., AbstractAsyncContextManager[Stage]]


def dialog(stage: Stage) -> PlanDialog:
    assert isinstance(stage.app.screen, PlanDialog)
    return stage.app.screen


def typed(session: FakeSession) -> None:
    session.guards[1] = guard("ready", "the backup answers", "fail", "ses/api down")
    session.plan_changes = {"needs": "typed", "failed": ["ready"]}


def countdown(session: FakeSession) -> None:
    session.plan_changes = {"countdown": 3.0}


async def test_f_shows_the_plan_and_does_nothing(board: Board) -> None:
    async with board() as stage:
        await stage.press("f")
        page = stage.page
        assert "FROM Postmark   TO Amazon SES" in page
        assert "✓  the backup answers" in page
        assert "ses/api ok, 98 ms" in page
        assert 'curl -X PUT https://mailer.internal/provider -d \'{"provider": "ses"}\'' in page
        assert ' undo      curl -X PUT https://mailer.internal/provider -d \'{"provider": "postmark"}\'' in page
        assert "Our mail provider does not answer" in page
        assert "Nothing has been done yet." in stage.screen
        assert stage.session.submitted == []


async def test_y_carries_out_exactly_the_plan_that_was_shown(board: Board) -> None:
    async with board() as stage:
        await stage.press("f", "y")
        assert stage.intents("failover") == [
            {
                "component": "email", "generation": 0, "source": "postmark", "target": "ses",
                "reason": "Our mail provider does not answer", "overrides": [], "typed": "",
            }
        ]  # fmt: skip
        assert stage.name == "ProgressDialog"


async def test_two_presses_at_once_make_one_switch(board: Board) -> None:
    async with board() as stage:
        await stage.press("f")
        await stage.live(1)
        await stage.rush("y", "y", "y")
        assert len(stage.intents("failover")) == 1


@pytest.mark.parametrize("key", ["enter", "space", "n", "f", "x", "tab", "down"])
async def test_no_other_key_switches(board: Board, key: str) -> None:
    async with board() as stage:
        await stage.press("f", key, key)
        assert stage.session.submitted == []


async def test_escape_leaves_without_effect(board: Board) -> None:
    async with board() as stage:
        await stage.press("f", "escape")
        assert stage.name == "WallScreen"
        assert stage.session.submitted == []


async def test_keys_of_the_first_300_ms_are_dropped(board: Board) -> None:
    async with board() as stage:
        await stage.rush("f", "y")
        assert stage.name == "PlanDialog"
        stage.clock.advance(0.2)
        await stage.rush("y", "space")
        assert stage.name == "PlanDialog"
        assert stage.session.submitted == []
        stage.clock.advance(0.2)
        await stage.rush("y")
        assert len(stage.intents("failover")) == 1


async def test_the_way_out_is_never_held_back(board: Board) -> None:
    async with board() as stage:
        await stage.rush("f", "escape")
        assert stage.name == "WallScreen"
        assert stage.session.submitted == []


async def test_a_key_that_comes_just_when_a_guard_changed_is_dropped(board: Board) -> None:
    async with board() as stage:
        await stage.press("f")
        await stage.live(1)
        stage.session.guards[1] = guard("ready", "the backup answers", "warn", "slow")
        dialog(stage).reload()
        await stage.settle()
        await stage.rush("y")
        assert stage.session.submitted == []
        assert "just when the plan changed" in stage.screen
        await stage.press("y")
        assert len(stage.intents("failover")) == 1


async def test_the_guards_are_planned_again_every_second_and_evidence_ages(board: Board) -> None:
    async with board() as stage:
        await stage.press("f")
        before = stage.session.planned
        await stage.live(3)
        assert stage.session.planned - before >= 3
        stage.session.guards[1] = guard("ready", "the backup answers", "fail", "refused", age=0.0)
        await stage.live(1)
        assert "✗  the backup answers" in stage.page
        stage.clock.advance(0.6)
        dialog(stage).draw()
        assert "600ms" in stage.page


async def test_what_is_wrong_stands_first(board: Board) -> None:
    def before(session: FakeSession) -> None:
        session.guards[4] = guard("way_back", "there is a way back", "fail", "none", overridable=False)

    async with board(before) as stage:
        await stage.press("f")
        page = stage.page
        assert page.index("there is a way back") < page.index("the backup answers")
        assert "none (cannot be overridden)" in page


async def test_warnings_need_only_the_same_y(board: Board) -> None:
    def before(session: FakeSession) -> None:
        session.guards[2] = guard("proof", "the backup was tested", "warn", "130 days ago")

    async with board(before) as stage:
        await stage.press("f")
        assert "!  the backup was tested" in stage.page
        await stage.press("y")
        assert len(stage.intents("failover")) == 1


async def test_overriding_a_failed_guard_wants_the_components_name(board: Board) -> None:
    async with board(typed) as stage:
        await stage.press("f")
        await stage.press("enter")
        assert stage.session.submitted == []
        await stage.type("emai")
        await stage.press("enter")
        assert stage.session.submitted == []
        await stage.rush("l")
        assert dialog(stage).name_typed
        assert stage.app.focused is dialog(stage).paper
        assert stage.session.submitted == []
        await stage.press("enter")
        assert stage.session.submitted == []
        await stage.press("y")
        assert stage.intents("failover") == [
            {
                "component": "email", "generation": 0, "source": "postmark", "target": "ses",
                "reason": "Our mail provider does not answer", "overrides": ["ready"], "typed": "email",
            }
        ]  # fmt: skip


async def test_a_wrong_name_does_not_switch(board: Board) -> None:
    async with board(typed) as stage:
        await stage.press("f")
        await stage.type("webyy")
        assert stage.session.submitted == []


async def test_letters_typed_before_anybody_could_read_do_not_count(board: Board) -> None:
    async with board(typed) as stage:
        await stage.rush("f", *"email")
        await stage.rush("y")
        assert not dialog(stage).name_typed
        assert stage.session.submitted == []


async def test_what_cannot_be_overridden_cannot_be_switched(board: Board) -> None:
    def before(session: FakeSession) -> None:
        session.guards[3] = guard("idle", "nobody else is switching", "fail", "ken switches", overridable=False)
        session.plan_changes = {"failed": ["idle"]}

    async with board(before) as stage:
        await stage.press("f", "y")
        assert stage.session.submitted == []
        assert "not to be overridden: nobody else is switching" in stage.screen


async def test_a_plan_that_is_refused_shows_why_and_how_to_override(board: Board) -> None:
    def before(session: FakeSession) -> None:
        session.guards = []
        session.plan_changes = {
            "refused": {
                "rule": "none_ready",
                "reason": "no backup is ready: ses/api down",
                "override": "name one with t",
            }
        }

    async with board(before) as stage:
        await stage.press("f")
        assert "no backup is ready: ses/api down" in stage.page
        assert "name one with t" in stage.page
        await stage.press("y")
        assert stage.session.submitted == []


async def test_a_plan_that_changed_meanwhile_is_refused_and_shown_again(board: Board) -> None:
    async with board() as stage:
        await stage.press("f")
        await stage.live(1)
        stage.session.generations["email"] = 7
        await stage.rush("y")
        assert "Refused: the plan has changed meanwhile" in stage.screen
        await stage.press("y")
        assert stage.intents("failover")[-1]["generation"] == 7


async def test_a_plan_that_can_no_longer_be_made_does_not_act(board: Board) -> None:
    async with board() as stage:
        await stage.press("f")
        stage.session.unreachable = "the socket is gone"
        await stage.live(4)
        await stage.press("y")
        assert stage.session.submitted == []
        assert "not up to date: the socket is gone" in stage.screen


async def test_a_silent_engine_is_never_asked_to_switch(board: Board) -> None:
    async with board() as stage:
        await stage.press("f")
        await stage.silence(3.5)
        await stage.rush("y")
        assert stage.session.submitted == []


async def test_an_answer_that_is_lost_is_not_taken_for_a_refusal_and_repeats_harmlessly(board: Board) -> None:
    async with board() as stage:
        await stage.press("f")
        await stage.live(1)
        stage.session.unreachable = "timed out"
        await stage.rush("y")
        assert "Not known whether it arrived" in stage.screen
        stage.session.unreachable = ""
        await stage.press("y")
        assert len(stage.intents("failover")) == 1
        assert stage.session.submitted[0][2]


async def test_t_plans_for_another_target(board: Board) -> None:
    async with board() as stage:
        asked: list[str | None] = []
        plan = stage.session.plan

        async def noted(component: str, kind: str, target: str | None = None) -> Any:
            asked.append(target)
            return await plan(component, kind, target)

        stage.session.plan = noted  # type: ignore[method-assign]
        await stage.press("f", "t")
        assert asked[-1] == "ses"


async def test_the_reason_can_be_changed(board: Board) -> None:
    async with board() as stage:
        await stage.press("f", "e")
        for _ in range(len("Our mail provider does not answer")):
            await stage.pilot.press("backspace")
        await stage.type("planned work")
        await stage.rush("enter")
        assert stage.session.submitted == []
        await stage.press("y")
        assert stage.intents("failover")[0]["reason"] == "planned work"


async def test_failback_and_the_running_switch_have_their_keys(board: Board) -> None:
    async with board() as stage:
        await stage.press("F")
        assert "Failback" in stage.screen
        await stage.press("escape")
        stage.session.change("email", switch="verifying")
        await stage.press("f")
        assert stage.name == "ProgressDialog"


# --- countdown -------------------------------------------------------------------------------------------------------


async def count(stage: Stage, seconds: float) -> None:
    """Let seconds pass in the steps of the countdown."""
    for _ in range(round(seconds * 2)):
        stage.clock.advance(0.5)
        stage.session.report()
        await stage.pilot.pause()
        if isinstance(stage.app.screen, PlanDialog):
            stage.app.screen.tick()
            await stage.pilot.pause()
            if isinstance(stage.app.screen, PlanDialog):
                stage.app.screen.count_down()
    await stage.settle()


async def test_when_all_guards_pass_the_countdown_acts_after_three_seconds(board: Board) -> None:
    async with board(countdown) as stage:
        await stage.press("f")
        assert "SWITCHES BY ITSELF IN 3.0 s" in stage.screen
        await count(stage, 2.5)
        assert stage.session.submitted == []
        await count(stage, 1)
        assert len(stage.intents("failover")) == 1


async def test_y_does_not_wait_for_the_countdown(board: Board) -> None:
    async with board(countdown) as stage:
        await stage.press("f")
        await count(stage, 0.5)
        await stage.rush("y")
        assert len(stage.intents("failover")) == 1
        await count(stage, 4)
        assert len(stage.intents("failover")) == 1


@pytest.mark.parametrize("key", ["space", "enter", "t", "e", "x", "down"])
async def test_any_other_key_cancels_the_countdown_and_does_nothing_else(board: Board, key: str) -> None:
    async with board(countdown) as stage:
        await stage.press("f")
        await count(stage, 0.5)
        await stage.rush(key)
        assert "cancelled" in stage.screen
        await count(stage, 5)
        assert stage.session.submitted == []
        assert stage.name == "PlanDialog"
        await stage.press("y")
        assert len(stage.intents("failover")) == 1


async def test_escape_cancels_the_countdown_and_leaves(board: Board) -> None:
    async with board(countdown) as stage:
        await stage.press("f")
        await count(stage, 0.5)
        await stage.rush("escape")
        assert stage.name == "WallScreen"
        await count(stage, 5)
        assert stage.session.submitted == []


async def test_a_guard_that_changes_stops_the_countdown_for_good(board: Board) -> None:
    async with board(countdown) as stage:
        await stage.press("f")
        await count(stage, 1)
        stage.session.guards[1] = guard("ready", "the backup answers", "unknown", "no answer yet")
        await count(stage, 1.5)
        assert "stopped: a guard changed" in stage.screen
        stage.session.guards[1] = guard("ready", "the backup answers", "pass", "ok")
        await count(stage, 6)
        assert stage.session.submitted == []


async def test_silence_of_the_engine_stops_the_countdown(board: Board) -> None:
    async with board(countdown) as stage:
        await stage.press("f")
        stage.session.lose("connection lost")
        await stage.settle()
        stage.clock.advance(2.9)
        dialog(stage).count_down()
        stage.clock.advance(0.3)
        dialog(stage).count_down()
        await stage.settle()
        assert stage.session.submitted == []
        assert "the engine is not heard" in stage.screen


async def test_there_is_no_countdown_with_a_warning(board: Board) -> None:
    def before(session: FakeSession) -> None:
        countdown(session)
        session.guards[2] = guard("proof", "the backup was tested", "warn", "130 days ago")

    async with board(before) as stage:
        await stage.press("f")
        await count(stage, 5)
        assert stage.session.submitted == []


# --- read-only -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["f", "F", "g", "a", "R", "P"])
async def test_read_only_refuses_every_key_that_changes_something_and_says_so(board: Board, key: str) -> None:
    async with board(read_only=True) as stage:
        await stage.press(key)
        assert stage.name == "WallScreen"
        assert stage.session.submitted == []
        assert "read-only" in stage.said[-1]
        assert "[R]" in stage.screen_lines[1]


async def test_a_read_only_session_makes_a_read_only_board(board: Board) -> None:
    async with board(engine={"read_only": True}) as stage:
        await stage.press("f")
        assert stage.name == "WallScreen"
        stage.app.want("ack", {"incident": "INC-31"})
        await stage.settle()
        assert stage.session.submitted == []


async def test_a_board_that_becomes_read_only_refuses_the_plan_that_is_open(board: Board) -> None:
    async with board() as stage:
        await stage.press("f")
        stage.session._read_only = True
        await stage.press("y")
        assert stage.session.submitted == []


async def test_what_was_refused_is_asked_again_as_a_request_of_its_own(board: Board) -> None:
    """The engine answers a request that it has answered before with the same verdict."""
    async with board() as stage:
        await stage.press("f")
        stage.session.refuse = {"rule": "reason", "reason": "overriding proof needs a reason", "override": None}
        await stage.press("y")
        assert "Refused: overriding proof needs a reason" in stage.screen
        stage.session.refuse = None
        await stage.press("y")
        first, second = (key for _, _, key in stage.session.submitted)
        assert first != second


# --- steps, notes, two people ----------------------------------------------------------------------------------------


def stepped(session: FakeSession) -> None:
    """Two steps before the switch, one after it."""
    session.plan_changes = {
        "steps": [
            step("quiesce", "mail off", "mail on", verify=["queue passes"]),
            step("fence", "fence pm", "", no_return=True),
            step("reload", "reload ses", "reload pm", again=True),
        ],
        "steps_before": 2,
        "notes": ["it goes back by itself when the primary passes its check"],
    }


def step(name: str, manual: str, undo: str, **changes: Any) -> dict[str, Any]:
    made = {"name": name, "manual": manual, "undo": undo, "again": False, "verify": [], "no_return": False}
    return made | changes


async def test_every_step_is_shown_in_order_there_and_back(board: Board) -> None:
    async with board(stepped) as stage:
        await stage.press("f")
        lines = [line.strip() for line in stage.page.splitlines()]
        names = [line.split()[0] for line in lines[lines.index("WHAT WILL HAPPEN") :] if line]
        there = [name for name in names if name in {"quiesce", "fence", "switch", "reload", "verify", "undo"}]
        assert there[:6] == ["quiesce", "fence", "switch", "reload", "verify", "undo"]
        page = stage.page
        assert "go on when queue passes" in page
        assert "there is no way back after this" in page
        way_back = ("undo      switch: curl", "fence: nothing", "quiesce: mail on", "reload: reload pm")
        back = [page.index(text) for text in way_back]
        assert back == sorted(back)


async def test_what_one_has_to_know_of_the_mechanism_is_said(board: Board) -> None:
    async with board(stepped) as stage:
        await stage.press("f")
        assert "note      it goes back by itself when the primary passes its check" in stage.page


async def test_a_guard_that_the_component_lets_block_wants_the_name(board: Board) -> None:
    def before(session: FakeSession) -> None:
        session.guards[2] = guard("proof", "the backup was tested", "fail", "never")
        session.plan_changes = {"needs": "typed", "failed": ["proof"], "state": "blocked"}

    async with board(before) as stage:
        await stage.press("f", "enter")
        assert stage.session.submitted == []
        assert "✗  the backup was tested" in stage.page
        assert "never (can be overridden)" in stage.page
        await stage.type("email")
        await stage.press("y")
        assert stage.intents("failover")[0]["overrides"] == ["proof"]


async def test_a_switch_that_takes_two_says_who_has_to_confirm_and_how_one_goes_on_alone(board: Board) -> None:
    async with board(size=(160, 40)) as stage:
        stage.session.refuse = {
            "rule": "approval",
            "reason": "this takes two people: another one has to confirm the same plan within 10m",
            "override": "--override approval --reason TEXT",
        }
        await stage.press("f", "y")
        assert stage.name == "PlanDialog"
        assert "another one has to confirm" in stage.screen
        assert "Alone: opsdash failover email --to ses --override approval --reason TEXT" in stage.screen
        stage.session.refuse = None
        await stage.press("y")
        assert stage.name == "ProgressDialog"
