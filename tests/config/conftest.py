"""A workspace in a temporary folder: write files, load them, ask what was said."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import pytest

from opsdash.config.loader import Loaded, load

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

WALL = 1_795_000_000.0
"""2026-11-18, in the afternoon."""

RUNBOOK = """\
---
title: What to do
owner: maria
reviewed: 2026-11-01
---
# What to do

## Steps

### Look

- [ ] Look at it.

**Expect:** it is there.
"""


class Workspace:
    """Files of one operation, loaded again and again by difference."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment: dict[str, str] = {"PATH": "/usr/bin:/bin"}
        self.loaded: Loaded | None = None
        (folder / "checks").mkdir()
        (folder / "runbooks").mkdir()
        self.write("opsdash.yaml", "people: {maria: {name: Maria}, ken: {name: Ken}}\n")
        self.write("runbooks/email-down.md", RUNBOOK)

    def write(self, name: str, text: str | bytes) -> Path:
        path = self.folder / name
        path.write_bytes(text if isinstance(text, bytes) else textwrap.dedent(text).encode())
        path.chmod(0o644)
        return path

    def component(self, text: str, name: str = "email") -> Path:
        return self.write(f"checks/{name}.yaml", text)

    def load(self, environment: Mapping[str, str] | None = None) -> Loaded:
        """Load for the first time."""
        self.loaded = load(self.folder, {**self.environment, **(environment or {})}, WALL)
        return self.loaded

    def reload(self, environment: Mapping[str, str] | None = None) -> Loaded:
        """Load again, by difference."""
        self.loaded = load(self.folder, {**self.environment, **(environment or {})}, WALL, self.loaded)
        return self.loaded

    def problems(self, environment: Mapping[str, str] | None = None) -> list[str]:
        """What is wrong, as `opsdash validate` prints it."""
        return [str(problem) for problem in self.load(environment).problems]


def options(loaded: Loaded, check: str) -> Any:
    """The options with which a check runs."""
    return loaded.bindings[check].options


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)
