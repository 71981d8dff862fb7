"""Tables that have to be complete: whoever adds a member adds its row."""

from __future__ import annotations

import ast
import dataclasses
import re
from typing import TYPE_CHECKING, get_args

import opsdash.errors
from opsdash.core.evolve import EVOLVE
from opsdash.core.outcomes import LIVE_STATES, OPEN_STATES, TRANSITIONS
from opsdash.core.telling import TELL
from opsdash.model import records
from opsdash.model.switch import SwitchState

if TYPE_CHECKING:
    from pathlib import Path

RECORDS = {
    each
    for each in vars(records).values()
    if dataclasses.is_dataclass(each) and isinstance(each, type) and each.__module__ == records.__name__
}


def test_every_record_is_one_of_the_records() -> None:
    assert set(get_args(records.Record)) == RECORDS


def test_every_record_changes_the_world_by_a_function_and_can_be_told() -> None:
    assert set(EVOLVE) == RECORDS
    assert set(TELL) == RECORDS


def test_every_record_says_when() -> None:
    assert {each.__name__ for each in RECORDS if dataclasses.fields(each)[0].name != "at"} == set()


def test_every_state_of_a_switch_has_its_row_and_can_be_reached() -> None:
    reached = {after for events in TRANSITIONS.values() for after in events.values()}
    assert set(TRANSITIONS) == set(SwitchState)
    assert reached | {SwitchState.INTENT} == set(SwitchState)


def test_a_switch_ends_where_nothing_leads_on() -> None:
    assert not (LIVE_STATES & OPEN_STATES)
    ends = {state for state, events in TRANSITIONS.items() if not events}
    assert ends == {SwitchState.COMMITTED, SwitchState.ABORTED, SwitchState.UNDONE}


def test_the_tree_at_the_top_of_errors_is_the_tree_of_errors() -> None:
    drawn: list[tuple[str, str]] = []
    above: dict[int, str] = {}
    for line in (opsdash.errors.__doc__ or "").splitlines():
        match = re.match(r"^ {4}([│├└─ ]*)([A-Z]\w+)(?: {2,}|$)", line)
        if match:
            depth = len(match[1]) // 4
            above[depth] = match[2]
            drawn.append((match[2], above.get(depth - 1, "Exception")))
    classes = [each for each in vars(opsdash.errors).values() if isinstance(each, type)]
    assert sorted(drawn) == sorted((each.__name__, each.__bases__[0].__name__) for each in classes)


def test_an_error_of_a_module_has_its_place_in_that_tree(root: Path) -> None:
    """A class elsewhere hangs under one that is drawn, and never under the root: that would be a branch nobody sees."""
    drawn = {name for name, each in vars(opsdash.errors).items() if isinstance(each, type)}
    strays = [
        f"{path.relative_to(root)}:{node.lineno} {node.name}"
        for path in sorted((root / "opsdash").rglob("*.py"))
        if path.name != "errors.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
        and (node.name in drawn or any(ast.unparse(base).endswith("OpsdashError") for base in node.bases))
    ]
    assert strays == []
