"""The state folder elsewhere: everybody finds the same one, nobody another by accident, and no second engine comes."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from opsdash.errors import EngineError
from opsdash.service.places import Lock, Places, is_locked, make_state_folder, places
from opsdash.service.whereabouts import noted_state, wanted_state

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    return folder


def says(workspace: Path, text: str) -> Path:
    (workspace / "opsdash.yaml").write_text(text)
    return workspace


class Held:
    """Locks that a test holds, as engines do."""

    def __init__(self) -> None:
        self._locks: list[Lock] = []

    def __call__(self, workspace: Path) -> Places:
        where = places(workspace)
        lock = Lock(where)
        assert lock.take()
        where.journal.mkdir(exist_ok=True)
        self._locks.append(lock)
        return where

    def end(self) -> None:
        while self._locks:
            self._locks.pop().release()


@pytest.fixture
def engine() -> Iterator[Held]:
    held = Held()
    yield held
    held.end()


@pytest.mark.parametrize(
    ("text", "folder"),
    [
        ("title: x\n", ".opsdash"),
        ("title: the state of things\n", ".opsdash"),
        ("engine: {retention: {samples: 2d}}\n", ".opsdash"),
        ("engine:\n# state: elsewhere\n", ".opsdash"),
        ("engine: {state: }\n", ".opsdash"),
        ("vars: {state: elsewhere}\n", ".opsdash"),
        ("engine: {state: elsewhere}\n", "elsewhere"),
        ("engine:\n  state: ../elsewhere\n", "../elsewhere"),
        ("engine:\n  ? 'state'\n  : elsewhere\n", "elsewhere"),
        ("engine: {state: .opsdash}\n", ".opsdash"),
        ("people: {maria: {name: 'x', away: [{from: never}]}}\nbroken: [\n", ".opsdash"),
    ],
)
def test_the_setting_is_what_the_file_says(workspace: Path, text: str, folder: str) -> None:
    where = places(says(workspace, text))
    assert where.state == (workspace / folder).resolve()
    assert where.is_elsewhere == (folder != ".opsdash")


BROKEN = [
    "engine: {state: elsewhere\n",
    "engine: {state: 5}\n",
    "engine: {state: [a]}\n",
    "engine: {state: '${STATE}'}\n",
    "engine: {state: ~nobody-at-all/x}\n",
    "engine: [state: x]\n",
    "- state: x\n",
    "engine: {state: a, state: b}\n",
    "engine: {state: a}\nengine: {state: b}\n",
    "engine: {state: !!python/object a}\n",
]


@pytest.mark.parametrize("text", BROKEN)
def test_where_nobody_can_tell_nothing_is_guessed(workspace: Path, text: str) -> None:
    with pytest.raises(EngineError, match=r"nobody can tell where the state folder .* opsdash\.yaml:\d+: "):
        places(says(workspace, text))
    assert list(workspace.iterdir()) == [workspace / "opsdash.yaml"]


@pytest.mark.parametrize("text", BROKEN)
def test_a_file_that_was_broken_moves_no_state(workspace: Path, engine: Held, text: str) -> None:
    where = engine(says(workspace, "engine: {state: ../elsewhere}\n"))
    assert places(says(workspace, text)) == where
    engine.end()
    assert places(says(workspace, text)) == where


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_file_keeps_the_usual_folder_where_it_was_used(workspace: Path, engine: Held, text: str) -> None:
    where = engine(says(workspace, "title: x\n"))
    engine.end()
    assert places(says(workspace, text)) == where


def test_a_file_that_cannot_be_read_moves_no_state(workspace: Path, engine: Held) -> None:
    where = engine(says(workspace, "engine: {state: ../elsewhere}\n"))
    engine.end()
    (workspace / "opsdash.yaml").unlink()
    (workspace / "opsdash.yaml").mkdir()
    assert places(workspace) == where
    shutil.rmtree(workspace / ".opsdash")
    with pytest.raises(EngineError, match="cannot be read: Is a directory"):
        places(workspace)


CHANGES = [
    ("engine: {state: ../one}\n", "engine: {state: ../two}\n"),
    ("engine: {state: ../one}\n", "title: none\n"),
    ("engine: {state: ../one}\n", ""),
    ("title: none\n", "engine: {state: ../two}\n"),
]


@pytest.mark.parametrize(("before", "after"), CHANGES)
def test_clients_find_the_engine_that_runs_whatever_the_setting_says_by_now(
    workspace: Path, engine: Held, before: str, after: str
) -> None:
    where = engine(says(workspace, before))
    says(workspace, after)
    assert places(workspace) == where
    assert not Lock(places(workspace)).take()
    engine.end()
    assert places(workspace) != where


@pytest.mark.parametrize(("before", "after"), CHANGES)
def test_two_locks_are_never_held_by_two_engines(workspace: Path, engine: Held, before: str, after: str) -> None:
    """Even one that looked for its place before the other began: it comes to the lock of the workspace."""
    late = places(says(workspace, after))
    where = engine(says(workspace, before))
    lock = Lock(late)
    if late.is_elsewhere:
        with pytest.raises(EngineError, match=r"another engine is at work in .*, with another state folder"):
            lock.take()
    else:
        assert not lock.take()
    assert not is_locked(Places(late.workspace, late.state)) or not late.is_elsewhere
    engine.end()
    assert lock.take()
    lock.release()
    assert not is_locked(where)


def test_two_locks_are_never_held_where_the_workspace_cannot_be_written(workspace: Path, engine: Held) -> None:
    """The folder itself is locked, which needs no permission to write."""
    says(workspace, "engine: {state: ../one}\n")
    (workspace / ".opsdash").write_text("a file where the folder would be")
    engine(workspace)
    assert noted_state(workspace) is None
    late = places(says(workspace, "engine: {state: ../two}\n"))
    assert late.state.name == "two"
    with pytest.raises(EngineError, match=r"another engine is at work in .*shop is locked"):
        Lock(late).take()
    assert not is_locked(late)


def test_an_engine_that_comes_home_leaves_no_note(workspace: Path, engine: Held) -> None:
    engine(says(workspace, "engine: {state: ../one}\n"))
    assert noted_state(workspace) == (workspace / "../one").resolve()
    engine.end()
    engine(says(workspace, "title: x\n"))
    assert noted_state(workspace) is None


@pytest.mark.parametrize(
    "note",
    [
        "", "[]", "{}", "null", "{", "[" * 5000, '{"state": 5, "machine": "%s"}', '{"state": "", "machine": "%s"}',
        '{"state": "/srv/x", "machine": "another"}', '{"state": "${X}", "machine": "%s"}',
    ],
)  # fmt: skip
def test_a_note_of_another_machine_or_of_nobody_is_none(workspace: Path, note: str) -> None:
    (workspace / ".opsdash").mkdir()
    (workspace / ".opsdash/state").write_text(note.replace("%s", os.uname().nodename))
    assert noted_state(workspace) is None
    assert places(says(workspace, "title: x\n")).state == workspace / ".opsdash"


def test_a_note_of_this_machine_is_read(workspace: Path) -> None:
    (workspace / ".opsdash").mkdir()
    note = {"state": "/srv/x", "machine": os.uname().nodename}
    (workspace / ".opsdash/state").write_text(json.dumps(note))
    assert str(noted_state(workspace)) == "/srv/x"


@pytest.mark.parametrize("name", [".", "..", "full"])
def test_a_folder_that_is_there_for_something_else_is_not_taken(workspace: Path, name: str) -> None:
    (workspace / "full").mkdir()
    (workspace / "full/photo.jpg").touch()
    (workspace / "full/.gitignore").touch()
    mode = (workspace / name).stat().st_mode
    says(workspace, f"engine: {{state: {name}}}\n")
    with pytest.raises(EngineError, match="is no state folder: other things are in it"):
        make_state_folder(places(workspace))
    assert (workspace / name).stat().st_mode == mode


def test_a_folder_that_was_begun_and_one_that_is_empty_are_taken(workspace: Path) -> None:
    says(workspace, "engine: {state: new}\n")
    (workspace / "new").mkdir(mode=0o755)
    (workspace / "new/.gitignore").touch()
    make_state_folder(places(workspace))
    assert (workspace / "new").stat().st_mode & 0o777 == 0o700
    (workspace / "new/lock").touch()
    (workspace / "new/whatever").touch()
    make_state_folder(places(workspace))


def test_a_file_that_everybody_can_write_sends_no_engine_anywhere(workspace: Path, tmp_path: Path) -> None:
    says(workspace, f"engine: {{state: {tmp_path}/elsewhere}}\n")
    (workspace / "opsdash.yaml").chmod(0o666)
    with pytest.raises(EngineError, match=r"names the state folder .*, and cannot be trusted: everybody may write"):
        make_state_folder(places(workspace))
    assert not (tmp_path / "elsewhere").exists()


def test_a_broken_file_without_the_key_has_no_say_in_it(workspace: Path) -> None:
    assert wanted_state(says(workspace, "title: [\n")).trouble == ""
