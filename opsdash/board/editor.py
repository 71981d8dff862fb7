"""Writing a longer text in the operator's own editor.

The text is in a file of its own that nobody else may read, while it is written. A line that begins with `#` is a remark
for the writer, and is left out.
"""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LARGEST = 64 * 1024
"""Bytes of a text that are read back."""

FALLBACKS = ("nano", "vi")


def editor_command(environment: Mapping[str, str]) -> list[str]:
    """The editor of this account: $VISUAL, $EDITOR, or what is there. Empty if there is none."""
    named = environment.get("VISUAL") or environment.get("EDITOR")
    if named:
        try:
            return shlex.split(named)
        except ValueError:
            return []
    found = next((each for each in FALLBACKS if shutil.which(each)), None)
    return [found] if found else []


@contextmanager
def draft_file(remark: str, text: str = "") -> Iterator[Path]:
    """A file to be edited: `text`, and a `remark` about what it is for. It is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="opsdash-") as folder:
        path = Path(folder) / "note.md"
        remarks = "".join(f"# {line}\n" for line in remark.splitlines())
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(f"{text}\n\n{remarks}")
        yield path


def written(path: Path) -> str:
    """What was written, without the remarks. Raises OSError."""
    with path.open("rb") as file:
        content = file.read(LARGEST).decode("utf-8", errors="replace")
    return "\n".join(line for line in content.splitlines() if not line.startswith("#")).strip()
