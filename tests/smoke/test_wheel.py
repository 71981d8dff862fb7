"""What is in the wheel, and whether it does its main job without the repository."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import pytest

import opsdash

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.smoke.conftest import Installed

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def content(wheel: Path) -> Mapping[str, bytes]:
    """The wheel's files."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_it_holds_every_file_of_the_package(root: Path, content: Mapping[str, bytes]) -> None:
    """Modules, `py.typed`, style sheets, and whatever else stands beside them."""
    wanted = {
        str(path.relative_to(root))
        for path in (root / "opsdash").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert "opsdash/py.typed" in wanted
    assert wanted - set(content) == set()


def test_it_holds_the_example_operation_as_the_repository_shows_it(root: Path, content: Mapping[str, bytes]) -> None:
    files = [root / "opsdash.yaml", *(path for part in ("checks", "runbooks") for path in (root / part).iterdir())]
    assert len(files) > 10
    for path in files:
        assert content.get(f"opsdash/demo/operation/{path.relative_to(root)}") == path.read_bytes(), path


def test_it_holds_its_licence_and_nothing_of_the_workshop(content: Mapping[str, bytes]) -> None:
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in content)
    assert {name.partition("/")[0] for name in content} == {"opsdash", f"opsdash-{opsdash.__version__}.dist-info"}


def test_what_it_says_that_it_needs_is_all_that_it_needs(installed: Installed) -> None:
    checked = installed.pip("check")
    assert checked.returncode == 0, checked.stdout


def test_it_is_the_version_that_it_says(installed: Installed) -> None:
    told = installed.opsdash("--version")
    assert told.stdout.strip() == f"opsdash {opsdash.__version__}"


def test_it_runs_from_where_it_was_installed(installed: Installed) -> None:
    where = installed.python("import opsdash, opsdash.testing, opsdash.board.app; print(opsdash.__file__)")
    assert where.stdout.startswith(str(installed.environment)), where.stdout + where.stderr


def test_a_new_workspace_is_valid_as_it_stands(installed: Installed, tmp_path: Path) -> None:
    made = installed.opsdash("init", tmp_path / "workspace")
    assert made.returncode == 0, made.stderr
    validated = installed.opsdash("validate", "-w", tmp_path / "workspace")
    assert validated.returncode == 0, validated.stdout + validated.stderr


def test_the_tour_fails_over_and_back(installed: Installed) -> None:
    tour = installed.opsdash("demo", "--tour", within=180.0)
    assert tour.returncode == 0, tour.stdout + tour.stderr
