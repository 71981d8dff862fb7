"""Emergency sheets on disk: each file is the old one or the new one, whenever whoever writes is killed.

The folder may lie on another machine's share and may have other files in it. Only files that begin with the mark of a
sheet are ever removed, when their component is gone. Who reads them is decided by the umask: they hold no secrets.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from opsdash.errors import SheetsError
from opsdash.storage.disk import Write, put_file, sync_folder

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LEFT_OVER = 3600.0
"""Seconds by which a temporary file is older than the newest sheet when nobody writes it any more."""


def write_sheets(folder: Path, files: Mapping[str, str], mark: str | None, write: Write = os.write) -> None:
    """Put every file in its place below `folder`, and remove the sheets that are not among them.

    mark: how sheets begin; None where these are not all, and none is removed.  Raises SheetsError; files that were in
    their place by then stay.
    """
    path = folder
    try:
        for name in sorted(files):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            _put(path, files[name].encode("utf-8", "replace"), write)
        for path in sorted(folder.glob("*.md")) if mark is not None else ():
            if path.name not in files and _begins_with(path, (mark or "").encode()):
                path.unlink()
        _sweep(folder)
        sync_folder(folder)
    except OSError as error:
        raise SheetsError(f"the emergency sheet {path} cannot be written: {error.strerror or error}") from error


def _put(path: Path, data: bytes, write: Write) -> None:
    put_file(path, path.with_name(f".{path.name}.{os.getpid()}.tmp"), data, write, 0o644)


def _begins_with(path: Path, mark: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(mark)) == mark


def _sweep(folder: Path) -> None:
    """Remove what killed writers have left."""
    newest = max((path.stat().st_mtime for path in folder.glob("*.md")), default=0.0)
    for path in (*folder.glob(".*.md.*.tmp"), *folder.glob("*/.*.md.*.tmp")):
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < newest - LEFT_OVER:
                path.unlink()
