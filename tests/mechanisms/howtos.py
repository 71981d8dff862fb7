"""What a page of docs/ shows in full, as a workspace."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

DOCS = Path(__file__).parents[2] / "docs"
SETTINGS = "title: Test\npeople:\n  maria: {name: Maria}\n  ken: {name: Ken}\n"
RUNBOOK = "---\ntitle: It is down\nowner: maria\nreviewed: 2026-11-01\n---\n\n## Steps\n\n### Look {#look}\n\nLook.\n"


def files_of(page: str) -> dict[str, str]:
    """The files that a page shows, by the title that each has there."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return dict(re.findall(r'^```\w+ title="([^"]+)"\n(.*?)^```$', text, re.MULTILINE | re.DOTALL))


def workspace_of(page: str, folder: Path, changes: Mapping[str, str] | None = None) -> Path:
    """The workspace that a page shows. changes: what stands in the place of its names, in each file."""
    found = files_of(page)
    files = {"opsdash.yaml": SETTINGS, **found}
    for runbook in re.findall(r"^runbook: (\S+)$", "\n".join(found.values()), re.MULTILINE):
        files[f"runbooks/{runbook}.md"] = RUNBOOK
    for name, text in files.items():
        for shown, real in (changes or {}).items():
            text = text.replace(shown, real)  # noqa: PLW2901 - one change after the other
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        if name.startswith("bin/"):
            file.chmod(0o755)
    return folder
