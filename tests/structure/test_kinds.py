"""A kind is one file: the example of CONTRIBUTING.md, followed to the letter."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    Python = Callable[..., subprocess.CompletedProcess[str]]

KIND_FILE = "opsdash/kinds/checks/spool.py"
TEST_FILE = "tests/kinds/test_spool.py"
COMPONENT_FILE = "checks/imports.yaml"

LOOK = """
import json
from opsdash.kinds.registry import check_kind, check_kind_names
kind = check_kind("spool")
print(json.dumps({
    "listed": "spool" in check_kind_names(),
    "keys": {name: key["description"] for name, key in kind.options.model_json_schema()["properties"].items()},
}))
"""


@pytest.fixture(scope="session")
def example(root: Path) -> dict[str, str]:
    """The files that CONTRIBUTING.md shows, by name."""
    text = (root / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return dict(re.findall(r'^```\w+ title="([^"]+)"\n(.*?)^```$', text, re.MULTILINE | re.DOTALL))


@pytest.fixture
def workspace(tmp_path: Path, example: dict[str, str]) -> Path:
    """A workspace with the example's component, and work that waits."""
    folder = tmp_path / "workspace"
    for name, text in {"opsdash.yaml": "title: Imports\n", COMPONENT_FILE: example[COMPONENT_FILE]}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "incoming").mkdir()
    (folder / "incoming/order.csv").touch()
    return folder


def test_a_file_in_the_folder_is_a_kind_with_its_reference(copy: Path, example: dict[str, str], python: Python) -> None:
    (copy / KIND_FILE).write_text(example[KIND_FILE])
    seen = json.loads(python("-c", LOOK, path=copy).stdout)
    assert seen["listed"]
    assert seen["keys"]["max_age"] == "How long a file may wait."


def test_a_kind_of_another_package_is_found_by_its_entry_point(
    tmp_path: Path, example: dict[str, str], python: Python
) -> None:
    installed = tmp_path / "site"
    about = installed / "opsdash_spool-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: opsdash-spool\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[opsdash.checks]\nspool = opsdash_spool\n")
    (installed / "opsdash_spool.py").write_text(example[KIND_FILE])
    seen = json.loads(python("-c", LOOK, path=installed).stdout)
    assert seen["listed"]
    assert set(seen["keys"]) == {"path", "max_files", "max_age"}


def test_listing_the_kinds_imports_none(python: Python) -> None:
    listing = (
        "import sys; from opsdash.kinds.registry import action_kind_names, check_kind_names;"
        "print(len(check_kind_names()) > 5, len(action_kind_names()) > 2);"
        "print([name for name in sys.modules if name.startswith(('opsdash.kinds.checks.', 'opsdash.kinds.actions.'))])"
    )
    assert python("-c", listing).stdout.split("\n")[:2] == ["True True", "[]"]


def test_a_broken_kind_of_another_package_is_named_and_breaks_no_other(tmp_path: Path, python: Python) -> None:
    installed = tmp_path / "site"
    about = installed / "broken-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[opsdash.checks]\nbroken = broken\n")
    (installed / "broken.py").write_text("1 / 0\n")
    ask = (
        "from opsdash.kinds.registry import KindUnavailableError, check_kind\n"
        "try: check_kind('broken')\n"
        "except KindUnavailableError as error: print(error)\n"
        "print(check_kind('tcp').name)"
    )
    told, other = python("-c", ask, path=installed).stdout.splitlines()
    assert "'broken'" in told
    assert "division by zero" in told
    assert other == "tcp"


def test_the_examples_own_tests_pass_beside_the_kind(copy: Path, example: dict[str, str], python: Python) -> None:
    (copy / KIND_FILE).write_text(example[KIND_FILE])
    (copy / TEST_FILE).parent.mkdir(parents=True)
    (copy / TEST_FILE).write_text(example[TEST_FILE])
    tested = python(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto", TEST_FILE, path=copy, cwd=copy
    )
    assert "4 passed" in tested.stdout, tested.stdout + tested.stderr


def test_the_example_is_written_as_the_rest_of_the_code(
    copy: Path, root: Path, example: dict[str, str], python: Python
) -> None:
    shutil.copy(root / "pyproject.toml", copy)
    for name in (KIND_FILE, TEST_FILE):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_text(example[name])
    for command in (["check"], ["format", "--check"]):
        judged = python("-m", "ruff", *command, "--no-cache", "--quiet", KIND_FILE, TEST_FILE, cwd=copy)
        assert judged.returncode == 0, judged.stdout + judged.stderr


def test_a_workspace_can_use_it_at_once(copy: Path, example: dict[str, str], workspace: Path, python: Python) -> None:
    (copy / KIND_FILE).write_text(example[KIND_FILE])
    validated = python("-m", "opsdash", "validate", "-w", workspace, "--run", path=copy)
    assert validated.returncode in {0, 1}, validated.stdout + validated.stderr
    checked = python("-m", "opsdash", "check", "-w", workspace, "--json", "imports/incoming", path=copy)
    assert json.loads(checked.stdout)["status"] == "ok", checked.stdout + checked.stderr


def test_without_the_file_the_workspace_says_which_kinds_there_are(workspace: Path, python: Python) -> None:
    validated = python("-m", "opsdash", "validate", "-w", workspace)
    assert validated.returncode == 2
    assert "spool" in validated.stdout + validated.stderr
    assert "imports.yaml" in validated.stdout + validated.stderr
