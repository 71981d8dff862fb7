"""Kinds are listed without importing them, and loaded one by one."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING

import pytest

from opsdash.config.schema import CheckModel
from opsdash.kinds import registry
from opsdash.kinds.registry import (
    KindUnavailableError,
    UnknownKindError,
    action_kind,
    action_kind_names,
    check_kind,
    check_kind_names,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.config.conftest import Workspace


def test_a_kind_has_the_name_of_its_file_and_no_key_that_every_check_has() -> None:
    common = {*CheckModel.model_fields} - {"every"}  # of a heartbeat it says how often the other side reports
    for name in check_kind_names():
        kind = check_kind(name)
        assert kind.name == name
        keys = {field.alias or key for key, field in kind.options.model_fields.items()}
        assert not keys & common, name
    for name in action_kind_names():
        action = action_kind(name)
        assert action.name == name
        assert (action.read is None) == (action.read_options is None)
        assert "kind" not in action.options.model_fields


def test_listing_imports_no_kind_and_loading_imports_one() -> None:
    script = """
import sys
from opsdash.kinds.registry import check_kind, check_kind_names
names = check_kind_names()
loaded = [name for name in sys.modules if name.startswith('opsdash.kinds.checks.')]
assert loaded == [], loaded
check_kind('tcp')
loaded = [name for name in sys.modules if name.startswith('opsdash.kinds.checks.')]
assert loaded == ['opsdash.kinds.checks.tcp'], loaded
print(len(names))
"""
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert found.returncode == 0, found.stderr
    assert int(found.stdout) == len(check_kind_names())


def test_an_unknown_kind_is_an_error_of_its_own() -> None:
    with pytest.raises(UnknownKindError, match="there is no check kind 'htp'"):
        check_kind("htp")
    with pytest.raises(UnknownKindError):
        check_kind("../actions/http")


@pytest.fixture
def third_party(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package with kinds, found through entry points."""
    monkeypatch.syspath_prepend(str(tmp_path))
    entries = {
        "theirs": EntryPoint("theirs", "their_kind", "opsdash.checks"),
        "broken": EntryPoint("broken", "their_broken_kind", "opsdash.checks"),
    }
    real = registry._entry_points
    monkeypatch.setattr(registry, "_entry_points", lambda group: entries if group == "checks" else real(group))
    registry._names.cache_clear()
    check_kind.cache_clear()
    yield tmp_path
    registry._names.cache_clear()
    check_kind.cache_clear()


def test_other_packages_add_kinds_and_a_broken_one_harms_nobody_else(third_party: Path, workspace: Workspace) -> None:
    (third_party / "their_kind.py").write_text("from opsdash.kinds.checks.tcp import KIND\n")
    (third_party / "their_broken_kind.py").write_text("raise RuntimeError('not today')\n")
    assert {"theirs", "broken"} <= set(check_kind_names())
    workspace.component("checks: {a: {kind: theirs, host: h, port: 1}, b: {kind: broken}}\n")
    loaded = workspace.load()
    assert list(loaded.bindings) == ["email/a"]
    assert "cannot be loaded: not today" in str(loaded.problems[0])


def test_a_kind_whose_driver_is_missing_names_the_extra_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "import no_such_driver\nKIND = CheckKind(name='sql', extra='sql')\n"
    (tmp_path / "their_sql.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert registry._extra_of("their_sql") == "sql"
    with pytest.raises(KindUnavailableError, match=r"needs no_such_driver.*pip install 'opsdash\[sql\]'"):
        registry._import_module("their_sql", "check kind 'sql'")
