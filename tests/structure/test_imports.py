"""What is imported when, beyond what the static contracts of pyproject.toml can see."""

from __future__ import annotations

import ast
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Python = Callable[..., subprocess.CompletedProcess[str]]

PURE = {
    "__future__", "abc", "bisect", "collections", "dataclasses", "datetime", "difflib", "enum", "fnmatch", "functools",
    "graphlib", "hashlib", "heapq", "ipaddress", "itertools", "json", "math", "operator", "re", "statistics", "string",
    "textwrap", "types", "typing", "unicodedata", "zoneinfo",
}  # fmt: skip
"""Parts of the standard library that compute, and do nothing else."""

DOING = {"asyncio", "http", "multiprocessing", "selectors", "socket", "sqlite3", "ssl", "subprocess", "tempfile"}
"""Parts that do something. They would show even when a pure module imports them by a detour."""


def imports_of(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of everything that a file imports, deferred and for types alone, too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


SAY_MODULES = "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr)); "


def loaded(python: Python, code: str) -> set[str]:
    """The modules that code imports, beyond those that an interpreter always imports."""
    with_code, without = (
        set(python("-c", SAY_MODULES + each).stderr.splitlines()[-1].split()) for each in (code, "pass")
    )
    return with_code - without


def command(*words: str | Path) -> str:
    """What the shell does for `opsdash WORDS`."""
    return f"from opsdash.cli import main; sys.exit(main({[str(word) for word in words]!r}))"


def strangers(modules: set[str]) -> set[str]:
    """The packages among them that are neither ours nor Python's own."""
    return {module.partition(".")[0] for module in modules} - set(sys.stdlib_module_names) - {"opsdash"}


@pytest.mark.parametrize(("package", "sees"), [("model", ("model", "errors")), ("core", ("core", "model", "errors"))])
def test_a_pure_package_imports_only_what_computes(root: Path, package: str, sees: tuple[str, ...]) -> None:
    allowed = tuple(f"opsdash.{each}." for each in sees)
    impure = [
        f"{path.relative_to(root)}:{line} imports {name}"
        for path in sorted((root / "opsdash" / package).rglob("*.py"))
        for line, name in imports_of(path)
        if name.partition(".")[0] not in PURE and not f"{name}.".startswith(allowed) and name != "opsdash.model"
    ]
    assert impure == []


@pytest.mark.parametrize("package", ["model", "core"])
def test_at_run_time_a_pure_package_brings_no_library_and_no_io(root: Path, package: str, python: Python) -> None:
    names = [f"opsdash.{package}.{path.stem}" for path in (root / "opsdash" / package).glob("[a-z]*.py")]
    modules = loaded(python, f"import {', '.join(names)}")
    assert strangers(modules) == set()
    assert {module.partition(".")[0] for module in modules} & DOING == set()


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Path]:
    """A workspace whose engine runs."""
    folder = tmp_path / "watched"
    (folder / "checks").mkdir(parents=True)
    (folder / "opsdash.yaml").write_text("title: Little\n")
    (folder / "checks/self.yaml").write_text("checks: {here: {kind: file, path: opsdash.yaml}}\n")
    engine = subprocess.Popen(
        [sys.executable, "-m", "opsdash", "engine", "-w", folder],
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    assert engine.stderr is not None
    told = []
    while "at work" not in (line := engine.stderr.readline()):
        told.append(line)
        assert line, f"the engine ended: {''.join(told)}"
    yield folder
    engine.terminate()
    engine.communicate(timeout=10)


def test_status_of_a_running_engine_needs_nothing_but_the_standard_library(watched: Path, python: Python) -> None:
    told = python("-m", "opsdash", "status", "-w", watched)
    assert "self" in told.stdout, told.stderr
    modules = loaded(python, command("status", "-w", watched))
    assert "opsdash.service.client" in modules
    assert strangers(modules) == set()


def test_status_without_an_engine_needs_nothing_but_the_standard_library(tmp_path: Path, python: Python) -> None:
    (tmp_path / "opsdash.yaml").write_text("title: Nothing\n")
    modules = loaded(python, command("status", "-w", tmp_path))
    assert "opsdash.cli.status" in modules
    assert strangers(modules) == set()


def test_status_reads_yaml_only_where_the_file_speaks_of_state(tmp_path: Path, python: Python) -> None:
    (tmp_path / "opsdash.yaml").write_text("title: Nothing\nengine: {state: elsewhere}\n")
    found = strangers(loaded(python, command("status", "-w", tmp_path)))
    assert {name for name in found if "cython" not in name} <= {"yaml", "_yaml"}  # PyYAML's C part brings Cython's
    assert "yaml" in found
    (tmp_path / "opsdash.yaml").write_text("title: Nothing\nengine: {listen: '127.0.0.1:9180', group: daemon}\n")
    assert strangers(loaded(python, command("status", "-w", tmp_path))) == set()


def test_the_help_imports_no_command(python: Python) -> None:
    modules = loaded(python, command("--help"))
    assert strangers(modules) == set()
    assert {
        module for module in modules if module.startswith(("opsdash.board", "opsdash.engine", "opsdash.kinds"))
    } == set()
