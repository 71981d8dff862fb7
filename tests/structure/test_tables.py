"""Tables that have to be complete: whoever adds a member adds its row."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import pkgutil
import re
from typing import TYPE_CHECKING, get_args

import opsdash.errors
import opsdash.model
from opsdash.core.evolve import EVOLVE
from opsdash.core.outcomes import LIVE_STATES, TRANSITIONS, UNDECIDED
from opsdash.core.telling import TELL
from opsdash.model import inputs, intents, records
from opsdash.model.switch import SwitchState

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

FAMILIES = [
    importlib.import_module(f"opsdash.model.{each.name}")
    for each in pkgutil.iter_modules(opsdash.model.__path__)
    if each.name.endswith("_records")
]


def written_in(*modules: ModuleType) -> set[type]:
    """The values that modules define, beside those that they import."""
    names = {module.__name__ for module in modules}
    return {
        each
        for module in modules
        for each in vars(module).values()
        if dataclasses.is_dataclass(each) and isinstance(each, type) and each.__module__ in names
    }


RECORDS = written_in(records, *FAMILIES)


def test_every_record_is_one_of_the_records() -> None:
    assert set(get_args(records.Record)) == RECORDS


def test_everybody_can_import_every_record_and_every_intent_from_one_place() -> None:
    assert set(records.__all__) == {each.__name__ for each in RECORDS} | {"Record"}
    known = {each.__name__ for each in written_in(inputs, intents)} | {"Input", "Intent"}
    assert set(inputs.__all__) == known


def test_every_input_and_every_intent_is_one_of_them() -> None:
    assert set(get_args(intents.Intent)) == written_in(intents)
    assert set(get_args(inputs.Input)) == written_in(inputs)


def test_every_record_changes_the_world_by_a_function_and_can_be_told() -> None:
    assert set(EVOLVE) == RECORDS
    assert set(TELL) == RECORDS


def test_every_record_says_when() -> None:
    assert {each.__name__ for each in RECORDS if dataclasses.fields(each)[0].name != "at"} == set()


def test_every_state_of_a_switch_has_its_row_and_can_be_reached() -> None:
    reached = {after for events in TRANSITIONS.values() for after in events.values()}
    assert set(TRANSITIONS) == set(SwitchState)
    assert reached | {SwitchState.PLANNED} == set(SwitchState)


def test_a_switch_ends_where_nothing_leads_on() -> None:
    assert not (LIVE_STATES & UNDECIDED)
    ends = {state for state, events in TRANSITIONS.items() if not events}
    assert ends == {SwitchState.ABORTED, SwitchState.REFUSED, SwitchState.REVERTED, SwitchState.UNDONE}
    assert set(TRANSITIONS[SwitchState.COMMITTED].values()) == {SwitchState.REVERTED}, "by somebody else's doing"


def test_the_tree_at_the_top_of_errors_shows_every_error_wherever_it_lives(root: Path) -> None:
    assert drawn_tree(opsdash.errors.__doc__ or "") == tree_of_classes(root / "opsdash")


def drawn_tree(text: str) -> dict[str, str]:
    """Each name in the drawing, and the one it hangs on."""
    tree: dict[str, str] = {}
    path: list[str] = []
    for line in text.splitlines():
        match = re.match(r"^ {4}([│├└─ ]*)([A-Z]\w+)(?: {2,}|$)", line)
        if match:
            path[len(match[1]) // 4 :] = [match[2]]
            tree[match[2]] = path[-2] if len(path) > 1 else "Exception"
    return tree


def tree_of_classes(package: Path) -> dict[str, str]:
    """Each public class that descends from OpsdashError, and its base."""
    bases = {
        node.name: ast.unparse(node.bases[0]).rpartition(".")[2]
        for path in sorted(package.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and node.bases
    }
    tree = {"OpsdashError": "Exception"}
    while found := {name: base for name, base in bases.items() if base in tree and name not in tree}:
        tree |= found
    return {name: base for name, base in tree.items() if not name.startswith("_")}


def test_no_two_errors_have_one_name(root: Path) -> None:
    names = [
        node.name
        for path in sorted((root / "opsdash").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and node.name.endswith("Error")
    ]
    assert sorted(names) == sorted(set(names))
