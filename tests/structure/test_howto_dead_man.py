"""docs/howto-dead-man.md: the files that it shows are taken as they stand."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from opsdash.config.loader import load

if TYPE_CHECKING:
    from pathlib import Path

ENVIRONMENT = {"HEALTHCHECK_UUID": "5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278", "PEER_URL": "https://10.0.0.6:9180/x"}


@pytest.mark.parametrize("number", range(4))
def test_each_file_is_taken_without_an_error(root: Path, tmp_path: Path, number: int) -> None:
    page = (root / "docs" / "howto-dead-man.md").read_text(encoding="utf-8")
    files = re.findall(r"^```yaml\n# (\S+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(files) == 4
    name, text = files[number]
    (tmp_path / "checks").mkdir()
    (tmp_path / "opsdash.yaml").write_text("title: Test\n")
    (tmp_path / "checks" / "web.yaml").write_text("checks: {home: {kind: tcp, host: 127.0.0.1, port: 9}}\n")
    (tmp_path / name).write_text(text)
    loaded = load(tmp_path, ENVIRONMENT, 1_780_000_000.0)
    assert loaded.errors == ()
    assert (loaded.settings.dead_man is not None) == ("dead_man" in text)
