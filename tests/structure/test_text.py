"""What is not in the repository, and what is as it should be."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Python = Callable[..., subprocess.CompletedProcess[str]]

OURS = (
    "opsdash",
    "tests",
    "tools",
    "benchmarks",
    "checks",
    "runbooks",
    "drills",
    "docs",
    ".ci",
    "Makefile",
    "README.md",
)
TEXTS = {".py", ".md", ".yaml", ".yml", ".toml", ".tcss", ".sh", ".json", ""}

LEFTOVERS = re.compile("|".join(["TO" + "DO", "FIX" + "ME", "X" * 3]))
CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="session")
def texts(root: Path) -> dict[str, str]:
    """Every text file of the project, by its path."""
    paths = [path for name in OURS for path in [root / name, *sorted((root / name).rglob("*"))] if path.is_file()]
    return {
        str(path.relative_to(root)): path.read_text(encoding="utf-8")
        for path in paths
        if path.suffix in TEXTS and "__pycache__" not in path.parts
    }


def test_nothing_is_left_for_later(texts: dict[str, str]) -> None:
    found = [
        f"{name}:{number} {line.strip()}"
        for name, text in texts.items()
        for number, line in enumerate(text.splitlines(), 1)
        if LEFTOVERS.search(line)
    ]
    assert found == []


def test_every_module_opens_with_what_it_is_about(texts: dict[str, str]) -> None:
    silent = [
        name
        for name, text in texts.items()
        if name.startswith(("opsdash/", "tools/"))
        and name.endswith(".py")
        and text
        and not text.startswith(('"""', 'r"""'))
    ]
    assert silent == []


def test_links_between_documents_lead_somewhere(root: Path, texts: dict[str, str]) -> None:
    broken = [
        f"{name}: {target}"
        for name, text in texts.items()
        if name.endswith(".md") and not name.startswith("runbooks/")
        for target in re.findall(r"\]\(([^)#\s]+)", CODE.sub("", text))
        if "://" not in target and not ((root / name).parent / target).exists()
    ]
    assert broken == []


def test_the_generated_docs_are_what_the_code_says(root: Path, python: Python) -> None:
    compared = python("-m", "tools.docs", "--check", path=root, cwd=root)
    assert compared.returncode == 0, compared.stdout + compared.stderr


@pytest.mark.parametrize("script", [".ci/run", "tools/venv.sh", "tools/lock.sh"])
def test_a_script_can_be_run_and_is_no_nonsense(root: Path, script: str) -> None:
    path = root / script
    assert path.stat().st_mode & 0o111
    shell = path.read_text(encoding="utf-8").splitlines()[0].rpartition("/")[2].split()[-1]
    assert subprocess.run([shell, "-n", str(path)], check=False).returncode == 0
