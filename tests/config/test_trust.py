"""A workspace names commands: a file that somebody else could have written is refused."""

from __future__ import annotations

import grp
import os
import stat
from typing import TYPE_CHECKING

import pytest

from opsdash.config import files
from opsdash.config.files import distrust

if TYPE_CHECKING:
    from tests.config.conftest import Workspace

CRM = "checks: {port: {kind: tcp, host: crm.example, port: 443}}\n"


def result(mode: int, uid: int, gid: int) -> os.stat_result:
    return os.stat_result((stat.S_IFREG | mode, 1, 1, 1, uid, gid, 0, 0, 0, 0))


def test_a_file_that_everybody_may_write_is_refused_and_the_rest_runs(workspace: Workspace) -> None:
    workspace.component(CRM, "crm").chmod(0o646)
    workspace.component(CRM)
    loaded = workspace.load()
    assert [str(problem) for problem in loaded.problems] == [
        "checks/crm.yaml: everybody may write to this file, and it names commands to run; chmod o-w the file"
    ]
    assert loaded.operation.components["crm"].problem is not None
    assert list(loaded.bindings) == ["email/port"]


def test_a_runbook_that_everybody_may_write_is_not_read(workspace: Workspace) -> None:
    workspace.component(CRM)
    (workspace.folder / "runbooks" / "email-down.md").chmod(0o666)
    assert workspace.load().runbooks == {}


def test_a_file_belongs_to_us_or_root() -> None:
    me = os.geteuid()
    assert distrust(result(0o644, me, 0), {}) == ("", "")
    assert distrust(result(0o644, 0, 0), {}) == ("", "")
    assert "belongs to user 54321" in distrust(result(0o644, 54321, 0), {})[0]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_somebody_else_is_refused(workspace: Workspace) -> None:
    os.chown(workspace.component(CRM, "crm"), 54321, 0)
    assert "belongs to user 54321" in workspace.problems()[0]


def test_a_group_that_may_write_must_have_no_other_member(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = grp.getgrgid(os.getegid())
    group = grp.struct_group((mine.gr_name, "x", 777, ["mallory"]))
    monkeypatch.setattr("grp.getgrgid", lambda _gid: group)
    files._other_members.cache_clear()
    try:
        refused, hint = distrust(result(0o664, os.geteuid(), 777), {})
        assert refused.startswith("mallory may write to this file by its group")
        assert "OPSDASH_TRUST=group" in hint
        assert distrust(result(0o664, os.geteuid(), 777), {"OPSDASH_TRUST": "group"}) == ("", "")
        assert distrust(result(0o644, os.geteuid(), 777), {}) == ("", "")
        assert distrust(result(0o666, os.geteuid(), 777), {"OPSDASH_TRUST": "group"})[0].startswith("everybody")
    finally:
        files._other_members.cache_clear()


def test_trust_is_not_given_from_inside_the_workspace(workspace: Workspace) -> None:
    workspace.write("opsdash.yaml", "vars: {OPSDASH_TRUST: group}\n")
    workspace.component(CRM, "crm").chmod(0o666)
    assert "everybody may write" in workspace.problems()[0]


def test_a_pipe_in_the_place_of_a_file_holds_up_nobody(workspace: Workspace) -> None:
    os.mkfifo(workspace.folder / "checks" / "pipe.yaml", 0o600)
    workspace.component(CRM)
    loaded = workspace.load()
    assert str(loaded.problems[0]) == "checks/pipe.yaml: this is no file; replace it by a plain file"


@pytest.mark.parametrize("name", ["my crm", "active", "anchors", "-x", "a#b"])
def test_a_file_name_that_cannot_be_an_id_is_a_problem(workspace: Workspace, name: str) -> None:
    workspace.component(CRM, name)
    assert f"{name!r} cannot be the name of a component" in workspace.problems()[0]


def test_a_component_has_one_file_and_editors_leftovers_are_none(workspace: Workspace) -> None:
    workspace.component(CRM, "crm")
    workspace.write("checks/crm.yml", CRM)
    workspace.write("checks/.crm.yaml", "[")
    workspace.write("checks/crm.yaml~", "[")
    assert workspace.problems() == [
        "checks/crm.yml: there is checks/crm.yaml too; a component has one file; remove one of them"
    ]
