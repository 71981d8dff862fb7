"""Every key comes from one table, and can be changed by its id."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

import pytest

from opsdash.board.app import BoardApp
from opsdash.board.drill import DrillDialog
from opsdash.board.keymap import ACTIONS, BY_ID, QUESTIONS, Scope, actions_of, key_problems, keymap_markdown, keys_of
from opsdash.board.modes import ModeDialog
from opsdash.board.pages.component import ComponentPage
from opsdash.board.pages.drills import DrillsPage
from opsdash.board.pages.incidents import IncidentsPage
from opsdash.board.pages.journal import JournalPage
from opsdash.board.pages.people import PeoplePage
from opsdash.board.pages.readiness import ReadinessPage
from opsdash.board.pages.register import RegisterPage
from opsdash.board.pages.runbook import RunbookPage
from opsdash.board.pages.runbooks import RunbooksPage
from opsdash.board.plan import PlanDialog
from opsdash.board.progress import ProgressDialog
from opsdash.board.wallscreen import WallScreen
from tests.board.fake_session import FakeSession

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from tests.board.conftest import Stage

    Board = Callable[..., AbstractAsyncContextManager[Stage]]

WHERE = {
    Scope.EVERYWHERE: BoardApp, Scope.LIST: WallScreen, Scope.WALL: WallScreen, Scope.COMPONENT: ComponentPage,
    Scope.PLAN: PlanDialog, Scope.PROGRESS: ProgressDialog, Scope.CHOICE: ModeDialog, Scope.INCIDENTS: IncidentsPage,
    Scope.RUNBOOK: RunbookPage, Scope.RUNBOOKS: RunbooksPage, Scope.REGISTER: RegisterPage, Scope.JOURNAL: JournalPage,
    Scope.PEOPLE: PeoplePage, Scope.READINESS: ReadinessPage, Scope.DRILLS: DrillsPage, Scope.DRILL: DrillDialog,
}  # fmt: skip


def test_ids_are_unique() -> None:
    assert len(BY_ID) == len(ACTIONS)


@pytest.mark.parametrize("scope", WHERE)
def test_every_action_is_bound_and_done_where_the_table_says(scope: Scope) -> None:
    screen = WHERE[scope]
    ids = {
        binding.id
        for _, bindings in cast("Any", screen)._merge_bindings().key_to_bindings.items()
        for binding in bindings
    }
    for action in actions_of(scope):
        assert action.id in ids
        assert hasattr(screen, f"action_{action.id}")


def test_no_key_is_used_twice_in_one_place() -> None:
    for scope in Scope:
        around = actions_of(Scope.EVERYWHERE, Scope.LIST)
        around = [action for action in around if action.always or scope not in QUESTIONS]
        keys = [key for action in {*actions_of(scope), *around} for key in keys_of(action, {})]
        assert len(keys) == len(set(keys)), scope


def test_no_key_belongs_to_a_terminal_multiplexer() -> None:
    chords = {key for action in ACTIONS for key in action.keys.split(",") if "+" in key}
    assert chords == {"ctrl+p"}


def test_enter_confirms_nothing() -> None:
    assert not [action for action in ACTIONS if action.changes and "enter" in action.keys]


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"falover": "o"}, "did you mean failover"),
        ({"confirm": "enter"}, "Enter never confirms"),
        ({"yes": "enter"}, "Enter never confirms"),
        ({"poll": "f"}, "f is the key of failover there"),
    ],
)
def test_a_keymap_with_a_mistake_is_explained(changed: dict[str, str], problem: str) -> None:
    assert any(problem in line for line in key_problems(changed))
    with pytest.raises(ValueError, match=re.escape(problem)):
        BoardApp(FakeSession(), keys=changed)


def test_the_docs_table_names_every_action() -> None:
    text = keymap_markdown()
    assert all(f"`{action.id}`" in text for action in ACTIONS)
    assert "| `f` | failover* | `failover` |" in text


async def test_a_changed_key_works_is_shown_and_the_old_one_does_nothing(board: Board) -> None:
    async with board(keys={"failover": "o"}) as stage:
        assert "o failover" in stage.screen
        await stage.press("f")
        assert stage.name == "WallScreen"
        await stage.press("o")
        assert stage.name == "PlanDialog"


async def test_the_confirming_key_can_be_changed(board: Board) -> None:
    async with board(keys={"confirm": "Y"}) as stage:
        await stage.press("f", "y")
        assert stage.session.submitted == []
        await stage.press("Y")
        assert len(stage.intents("failover")) == 1


async def test_help_shows_the_keys_of_this_screen_first(board: Board) -> None:
    async with board(keys={"ack": "A"}) as stage:
        await stage.press("question_mark")
        page = stage.page
        assert page.index("Wall") < page.index("Everywhere") < page.index("Runbook")
        assert "A         ack*" in page
        await stage.press("escape", "enter", "question_mark")
        assert stage.page.strip().startswith("Component")
