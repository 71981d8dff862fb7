"""The repository as these tests look at it, and a copy of the package that they may add to."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return Path(__file__).resolve().parents[2]


@pytest.fixture
def copy(root: Path, tmp_path: Path) -> Path:
    """A folder with a copy of the package in it, which Python imports when it is started there."""
    folder = tmp_path / "copy"
    shutil.copytree(root / "opsdash", folder / "opsdash", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture
def python(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """A fresh interpreter, with `path` before everything that is installed."""

    def start(
        *arguments: str | Path, path: Path | None = None, cwd: Path = tmp_path
    ) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(path or "")}
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return start
