"""Which runbooks may be executed: approvals, each bound to the text that a person has read.

A runbook is code that somebody may have changed in a pull request, so it is executed only as it was approved, and a
change makes it read-only again. An approval is no part of the workspace: a file could otherwise approve itself, and a
workspace that was unpacked could bring its approvals along. It lies in `$XDG_STATE_HOME/opsdash/trust` (mostly
`~/.local/state`), under the real path of the workspace: a copy of it has none.

The approved text is kept beside its hash, so that what has changed since can be shown.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from opsdash.errors import StorageError
from opsdash.storage.disk import make_folder, replace_file

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE: Final = "OPSDASH_TRUST_RUNBOOKS"
"""Set to 1 outside of the workspace, every runbook counts as approved: for CI, where nobody reads."""

VERSION = 1
MAX_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Approval:
    """Who approved which text, and when (seconds since 1970 UTC)."""

    runbook: str
    sha256: str
    text: str
    who: str
    at: float


def trust_folder(environment: Mapping[str, str], workspace: Path) -> Path:
    """Where the approvals of a workspace are."""
    state = environment.get("XDG_STATE_HOME", "")
    home = environment.get("HOME", "")
    base = Path(state) if state.startswith("/") else (Path(home) if home else Path.home()) / ".local" / "state"
    real = hashlib.sha256(os.fsencode(workspace.resolve())).hexdigest()
    return base / "opsdash" / "trust" / real[:32]


class Trust:
    """The approvals of one workspace. Without a folder they are kept in memory. everything: nobody has to approve."""

    def __init__(self, folder: Path | None = None, *, everything: bool = False) -> None:
        self.everything = everything
        self.trouble: list[str] = []
        self._folder = folder
        self._approvals: dict[str, Approval] = {}

    @classmethod
    def of(cls, environment: Mapping[str, str], workspace: Path) -> Trust:
        """As the environment says."""
        return cls(trust_folder(environment, workspace), everything=environment.get(VARIABLE) == "1")

    def load(self) -> None:
        """Read what is on disk. What cannot be used is no approval, and is told in `trouble`."""
        self.trouble = []
        if self._folder is None:
            return
        self._approvals = {}
        try:
            _check_private(self._folder)
            paths = sorted(self._folder.glob("*.json"))
        except FileNotFoundError:
            return
        except OSError as error:
            self.trouble.append(f"the approvals in {self._folder} are not used: {error.strerror or error}")
            return
        for path in paths:
            try:
                approval = _read(path)
            except (OSError, ValueError, TypeError, LookupError, RecursionError) as error:
                self.trouble.append(f"the approval {path} is not used: {error}")
            else:
                self._approvals[approval.runbook] = approval

    def approval(self, runbook: str) -> Approval | None:
        """The approval of a runbook, of whichever text."""
        return self._approvals.get(runbook)

    def trusts(self, runbook: str, sha256: str) -> bool:
        """Whether a runbook of this text may be executed."""
        found = self._approvals.get(runbook)
        return self.everything or (found is not None and found.sha256 == sha256)

    def approve(self, approval: Approval) -> None:
        """Keep an approval, in place of an earlier one. Raises StorageError, and leaves what was there."""
        if self._folder is not None:
            try:
                make_folder(self._folder.parent)
                make_folder(self._folder)
                _check_private(self._folder)
                replace_file(self._folder / _name(approval.runbook), _encoded(approval))
            except OSError as error:
                raise StorageError(
                    f"the approval cannot be kept in {self._folder}: {error.strerror or error}"
                ) from error
        self._approvals[approval.runbook] = approval

    def forget(self) -> None:
        """Remove all approvals of the workspace, which is going to be removed as well."""
        self._approvals = {}
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def _name(runbook: str) -> str:
    """Of any runbook a name that is one."""
    return hashlib.sha256(runbook.encode("utf-8", "surrogatepass")).hexdigest()[:32] + ".json"


def _check_private(folder: Path) -> None:
    """Raise OSError where somebody else may write approvals."""
    about = folder.lstat()
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid():
        raise OSError("it is not a folder of ours")
    if stat.S_IMODE(about.st_mode) & 0o077:
        folder.chmod(0o700)


def _encoded(approval: Approval) -> bytes:
    content = {
        "version": VERSION, "runbook": approval.runbook, "sha256": approval.sha256, "who": approval.who,
        "at": approval.at, "text": approval.text,
    }  # fmt: skip
    return (json.dumps(content, indent=1, ensure_ascii=True) + "\n").encode("ascii")


def _read(path: Path) -> Approval:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode) or about.st_uid != os.getuid() or stat.S_IMODE(about.st_mode) & 0o022:
            raise ValueError("it is not a private file of ours")
        if about.st_size > MAX_BYTES:
            raise ValueError(f"it has {about.st_size} bytes")
        content = json.load(file)
    if content["version"] != VERSION:
        raise ValueError("it was written by another version")
    approval = Approval(
        str(content["runbook"]), str(content["sha256"]), str(content["text"]), str(content["who"]), float(content["at"])
    )
    if path.name != _name(approval.runbook):
        raise ValueError("it is the approval of another runbook")
    return approval
