"""Which folder is the state folder: `.opsdash` in the workspace, or where `engine.state` of opsdash.yaml says.

Everybody who opens a workspace has to arrive at the same folder, and nobody may arrive at another one by accident: an
engine in a fresh folder knows no incident, no switch in flight and no active provider. So

- the setting is read by all clients alike, with YAML only where the bytes hold it (`opsdash status` is in a hurry);
- an engine that lives elsewhere leaves a note in the workspace, `.opsdash/state`. While an engine holds
  `.opsdash/lock`, what the note says, or else `.opsdash` itself, is where it lives, whatever the setting says by now;
- where the setting cannot be read, the last known place counts, and without one nothing is guessed.

The note names the machine: a workspace that is synchronised carries it to others, where it means nothing.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from opsdash.config.places import checked_path, full_path
from opsdash.errors import EngineError

STATE = ".opsdash"
NOTE = "state"
WORKSPACE_FILE = "opsdash.yaml"

LARGEST_NOTE = 4096
LARGEST_FILE = 1024 * 1024
"""As `opsdash.config.yaml` has it, which is not imported for the sake of a number."""

_MEANT = re.compile(rb"""(?:^|[\s{,])["']?state["']?\s*:""")
"""Whether the bytes of a file that is no YAML probably hold the key."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What opsdash.yaml says of the state folder. folder: None means the usual one. trouble: why it cannot be told."""

    folder: Path | None = None
    trouble: str = ""


def wanted_state(workspace: Path) -> Wanted:
    """What opsdash.yaml says. `workspace` is absolute."""
    file = workspace / WORKSPACE_FILE
    try:
        with file.open("rb") as opened:
            owner = os.fstat(opened.fileno()).st_uid
            data = opened.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        return Wanted()
    except OSError as error:
        return Wanted(trouble=f"{file} cannot be read: {error.strerror}")
    return _from_yaml(workspace, data, owner) if b"state" in data else Wanted()


def _from_yaml(workspace: Path, data: bytes, owner: int) -> Wanted:
    from opsdash.config.yaml import Marks, read

    tree = read(data)
    if tree.fatal:
        trouble = f"{WORKSPACE_FILE}:{tree.flaws[0].line}: {tree.flaws[0].message}"
        return Wanted(trouble=trouble if _MEANT.search(data) else "")
    for flaw in tree.flaws:
        if flaw.path in ((), ("engine",), ("engine", "state")):
            return Wanted(trouble=f"{WORKSPACE_FILE}:{flaw.line}: {flaw.message}")
    engine = tree.value.get("engine", {}) if isinstance(tree.value, dict) else tree.value
    if not isinstance(engine, dict | None):
        return Wanted(trouble=f"{WORKSPACE_FILE}:{Marks(data).line(('engine',))}: a mapping of keys is needed")
    if engine is None or engine.get("state") is None:
        return Wanted()
    try:
        return Wanted(full_path(workspace, checked_path(engine["state"]), owner))
    except ValueError as error:
        return Wanted(trouble=f"{WORKSPACE_FILE}:{Marks(data).line(('engine', 'state'))}: engine.state: {error}")


def noted_state(workspace: Path) -> Path | None:
    """Where the last engine with a state folder elsewhere lived, if this machine left a note of it."""
    try:
        with (workspace / STATE / NOTE).open("rb") as file:
            note = json.loads(file.read(LARGEST_NOTE))
        if note["machine"] != os.uname().nodename:
            return None
        return Path(checked_path(note["state"]))
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def note_text(state: Path) -> str:
    """The note for an engine that lives in `state`."""
    return json.dumps({"state": str(state), "machine": os.uname().nodename}) + "\n"


def last_known(workspace: Path) -> Path | None:
    """Where an engine of this workspace was last at home: as noted, else `.opsdash` if it holds a journal."""
    noted = noted_state(workspace)
    if noted is not None:
        return noted
    usual = workspace / STATE
    try:
        return usual if (usual / "journal").exists() else None
    except OSError:
        return usual  # it is there, and somebody else's


def settle(workspace: Path, wanted: Wanted) -> Path:
    """The folder for an engine that starts now. Raises EngineError where only a guess would be possible."""
    if not wanted.trouble:
        return wanted.folder or workspace / STATE
    known = last_known(workspace)
    if known is None:
        raise EngineError(
            f"nobody can tell where the state folder of {workspace} is, since its file may name one (engine.state) "
            f"and cannot be understood: {wanted.trouble}. Mend that first; `opsdash validate` tells more"
        )
    return known
