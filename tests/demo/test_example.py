"""The copy of the example operation that a demonstration runs on."""

from __future__ import annotations

from pathlib import Path

import pytest

from opsdash.demo.example import copy_example, example
from opsdash.demo.process import DemoError

ROOT = Path(__file__).resolve().parents[2]


def test_the_copy_has_every_file_of_the_original(tmp_path: Path) -> None:
    copy_example(tmp_path / "demo")

    assert example() == ROOT
    for original in [ROOT / "opsdash.yaml", *(ROOT / "checks").iterdir(), *(ROOT / "runbooks").iterdir()]:
        assert (tmp_path / "demo" / original.relative_to(ROOT)).read_bytes() == original.read_bytes()


def test_nobody_else_can_write_or_read_the_copy(tmp_path: Path) -> None:
    copy_example(tmp_path / "demo")

    for path in [tmp_path / "demo", *(tmp_path / "demo").rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")

    with pytest.raises(DemoError, match="is not empty"):
        copy_example(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
