"""The wheel as its users get it: installed into an environment of its own, with nothing of the repository in reach."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
INSTALL_WITHIN = 300.0


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel in it, and an empty folder to stand in."""

    environment: Path
    folder: Path

    def opsdash(self, *words: str | Path, within: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run the command as a user does."""
        return self._run(self.environment / "bin/opsdash", *words, within=within)

    def python(self, code: str) -> subprocess.CompletedProcess[str]:
        """Run code by its interpreter."""
        return self._run(self.environment / "bin/python", "-c", code, within=60.0)

    def pip(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """Run its pip."""
        options = ("--disable-pip-version-check", "--no-input")
        return self._run(self.environment / "bin/python", "-m", "pip", *options, *words, within=INSTALL_WITHIN)

    def _run(self, *command: str | Path, within: float) -> subprocess.CompletedProcess[str]:
        ours = {"PYTHONPATH", "VIRTUAL_ENV", "OPSDASH_WORKSPACE"}
        return subprocess.run(
            [str(each) for each in command],
            cwd=self.folder,
            env={name: value for name, value in os.environ.items() if name not in ours},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=within,
            check=False,
        )


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository that the wheel was built from."""
    return ROOT


@pytest.fixture(scope="session")
def wheel() -> Path:
    """The built wheel."""
    named = os.environ.get("OPSDASH_WHEEL")
    if not named:
        pytest.skip("there is no wheel to try: `make smoke` builds one and sets OPSDASH_WHEEL")
    path = Path(named)
    assert path.is_file(), f"OPSDASH_WHEEL names no file: {named}"
    return path


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel and the pinned versions of what it needs, in a fresh environment."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", folder / "environment"], check=True, timeout=INSTALL_WITHIN)
    fresh = Installed(folder / "environment", folder)
    for step in (
        ("install", "--require-hashes", "--requirement", ROOT / "requirements/run.txt"),
        ("install", "--no-deps", "--no-index", wheel),
    ):
        done = fresh.pip(*step)
        assert done.returncode == 0, done.stdout + done.stderr
    return fresh
