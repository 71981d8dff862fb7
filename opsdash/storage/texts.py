"""Texts that a record names by their SHA-256: what runs were started with.

Written before the record, so that a run can always be resumed by the text that it is pinned to, and what was changed
since can be shown. A runbook has 256 KiB at most, and its text is kept once, however often it is followed. It stays as
long as the journal, whose records name it: what somebody did by a runbook is understood only with the text of that day.
"""

from __future__ import annotations

import contextlib
import hashlib
from typing import TYPE_CHECKING

from opsdash.errors import StorageError
from opsdash.storage.disk import make_folder, replace_file

if TYPE_CHECKING:
    from pathlib import Path


class Texts:
    """Texts by their SHA-256, one file each: what runs were started with. Without a folder they are kept in memory."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._memory: dict[str, bytes] = {}

    def keep(self, sha256: str, data: bytes) -> None:
        """Keep a text; one that is there already is not written again. Raises StorageError."""
        if self._folder is None:
            self._memory[sha256] = data
            return
        path = self._folder / f"{sha256}.md"
        if path.exists() and self.get(sha256) is not None:
            return
        try:
            make_folder(self._folder)
            replace_file(path, data)
        except OSError as error:
            raise StorageError(
                f"the text of the runbook cannot be kept in {self._folder}: {error.strerror or error}"
            ) from error

    def get(self, sha256: str) -> bytes | None:
        """A text, None where it is not there, or is not what its name says."""
        if self._folder is None:
            return self._memory.get(sha256)
        data: bytes | None = None
        with contextlib.suppress(OSError):
            data = (self._folder / f"{sha256}.md").read_bytes()
        return data if data is not None and hashlib.sha256(data).hexdigest() == sha256 else None
