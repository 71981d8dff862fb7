"""What a guard leaves on disk, in `<state>/drills/<run>/`: how to take the faults back, and what became of that.

    armed.json     what was to be injected and how it is undone; references to secrets, never values
    guard.jsonl    what the guard did, one line each, flushed to the disk before the next thing happens
    lock           locked by whoever undoes; the guard holds it for its life
    guard.log      what Python says when a guard breaks
    program-N.run  a program by which a fault is made, written down before it begins (`kinds.making`)

The lines: `armed` (from here on the engine may say that it injects), `injecting` (from here on something may be
broken), `undoing`, `tried`, `undone` (verified true, false or null for "cannot be told"), `given_up`, and `settled` (a
person or the drill's own checks say that the fault is gone). So armed without `injecting` means that nothing was
broken, and `injecting` without a verified `undone` or `settled` means that it may still be.

`<state>/drills/halt` beside the folders is the lever: as long as it is there, guards undo and none is armed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from opsdash.engine.clock import system_clock
from opsdash.errors import EngineError
from opsdash.model.drill import Injection

ARMED: Final = "armed.json"
LOG: Final = "guard.jsonl"
LOCK: Final = "lock"
HALT: Final = "halt"
DRILLS: Final = "drills"
LARGEST: Final = 4 * 1024 * 1024
VERSION: Final = 1

REASON_LIMIT: Final = 300
"""Characters of a reason, and of a name, that are kept."""

SETTLED: Final = "it was said to be gone"
"""What a guard notes that need not try any more."""

TRY_DEADLINE: Final = 30.0
"""Seconds that one try to undo a fault may take, and again to verify that."""

PAUSES: Final = (0.0, 0.0, 0.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 60.0, 60.0, 60.0, 60.0)
"""Seconds before each try: three at once, then with distance; after the last one a person has to do it."""


class ArmingError(EngineError):
    """The guard could not be armed, so nothing was injected; or what it left cannot be read."""


@dataclass(frozen=True, slots=True)
class Arming:
    """What a guard is armed with.

    injections: in the order in which they are injected; they are undone in the reverse order.
    limit: seconds from the injection until the guard undoes it, whatever happens.
    try_deadline, pauses: see `TRY_DEADLINE`, `PAUSES`.  manual: for each injection, what undoes it by hand.
    """

    run: str
    drill: str
    injections: tuple[Injection, ...]
    limit: float
    workspace: Path
    try_deadline: float = TRY_DEADLINE
    pauses: tuple[float, ...] = PAUSES
    manual: tuple[str, ...] = ()


# --- armed.json ----------------------------------------------------------------------------------------------------


def write_arming(folder: Path, arming: Arming) -> None:
    """Make the folder of a run, and have `armed.json` in it on the disk. Raises OSError."""
    folder.parent.mkdir(mode=0o700, exist_ok=True)
    flush_folder(folder.parent.parent)
    folder.mkdir(mode=0o700)
    flush_folder(folder.parent)
    text = json.dumps(
        {
            "version": VERSION,
            "run": arming.run,
            "drill": arming.drill,
            "written_at": system_clock().wall,
            "limit": arming.limit,
            "try_deadline": arming.try_deadline,
            "pauses": arming.pauses,
            "workspace": str(arming.workspace),
            "injections": [
                {"kind": each.kind, "raw": each.raw, "undo": each.undo, "target": each.target}
                for each in arming.injections
            ],
            "by_hand": arming.manual,
        },
        default=_plain,
        ensure_ascii=False,
        indent=1,
    )
    beside = folder / f"{ARMED}.new"
    with open(beside, "xb", opener=owner_only) as file:
        file.write(text.encode("utf-8", "surrogatepass"))
        file.flush()
        os.fsync(file.fileno())
    beside.replace(folder / ARMED)
    flush_folder(folder)


def read_arming(folder: Path) -> Arming:
    """What `armed.json` says. Raises ArmingError."""
    path = folder / ARMED
    try:
        with path.open("rb") as file:
            told = json.loads(file.read(LARGEST))
        if told["version"] != VERSION:
            raise ArmingError(f"{path} was written by another version of opsdash; undo the drill by hand: {path}")
        return Arming(
            run=str(told["run"]),
            drill=str(told["drill"]),
            injections=tuple(
                Injection(
                    kind=str(each["kind"]),
                    raw=_mapping(each["raw"]),
                    undo=None if each["undo"] is None else _mapping(each["undo"]),
                    target=str(each["target"]),
                )
                for each in told["injections"]
            ),
            limit=float(told["limit"]),
            workspace=Path(told["workspace"]),
            try_deadline=float(told["try_deadline"]),
            pauses=tuple(float(each) for each in told["pauses"]),
            manual=tuple(str(each) for each in told["by_hand"]),
        )
    except OSError as error:
        raise ArmingError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArmingError(
            f"{path} is not what a guard is armed with; look at it, and undo the drill by hand"
        ) from error


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise TypeError("no mapping")
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    return str(value)


# --- guard.jsonl ---------------------------------------------------------------------------------------------------


class GuardLog:
    """`guard.jsonl`, for appending. Raises OSError where it cannot be opened."""

    def __init__(self, folder: Path) -> None:
        self._file = os.open(folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        flush_folder(folder)

    def write(self, event: str, **more: Any) -> dict[str, Any]:
        """Append a line and have it on the disk. Returns what was written. Raises OSError."""
        entry = {"at": round(system_clock().wall, 3), "event": event, **more}
        data = json.dumps(entry, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        written = os.write(self._file, data)
        if written < len(data):  # what a full disk took of it; the next line must not be glued to it
            with contextlib.suppress(OSError):
                os.write(self._file, b"\n")
            raise OSError("the line was not written whole")
        os.fsync(self._file)
        return entry

    def write_if_possible(self, event: str, **more: Any) -> dict[str, Any]:
        """As `write`; a disk that takes no more must not keep anybody from undoing."""
        try:
            return self.write(event, **more)
        except OSError:
            return {"at": round(system_clock().wall, 3), "event": event, **more}

    def close(self) -> None:
        """No more lines."""
        os.close(self._file)


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The lines of `guard.jsonl`; a torn one counts for nothing, none is none."""
    try:
        with (folder / LOG).open("rb") as file:
            lines = file.read(LARGEST).split(b"\n")
    except OSError:
        return []
    found = []
    for line in lines:
        with contextlib.suppress(ValueError, RecursionError):
            entry = json.loads(line)
            if isinstance(entry, dict) and isinstance(entry.get("event"), str):
                found.append(entry)
    return found


def was_armed(log: list[dict[str, Any]]) -> bool:
    """Whether the guard was ready once."""
    return any(entry["event"] == "armed" for entry in log)


def may_be_broken(log: list[dict[str, Any]]) -> bool:
    """Whether, by what is written, a fault was made and is not known to be gone."""
    broken = False
    for entry in log:
        if entry["event"] == "injecting":
            broken = True
        elif entry["event"] == "settled" or (entry["event"] == "undone" and entry.get("verified") is True):
            broken = False
    return broken


def is_settled(log: list[dict[str, Any]]) -> bool:
    """Whether a person, or the drill's own checks, said last that the fault is gone."""
    said = [entry["event"] for entry in log if entry["event"] in {"injecting", "settled"}]
    return said[-1:] == ["settled"]


# --- lock and lever ------------------------------------------------------------------------------------------------


def open_lock(folder: Path) -> int:
    """A descriptor of the run's lock, not locked yet. Raises OSError."""
    return os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def try_lock(descriptor: int) -> bool:
    """Whether it is ours now; it is let go with its last descriptor."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def is_guarded(folder: Path) -> bool:
    """Whether a guard, or somebody else who undoes, is at work on this run."""
    try:
        descriptor = open_lock(folder)
    except OSError:
        return False
    try:
        return not try_lock(descriptor)
    finally:
        os.close(descriptor)


def flush_folder(folder: Path) -> None:
    """Have the names in a folder on the disk. Raises OSError."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def owner_only(path: str, flags: int) -> int:
    """An opener for `open`: a new file is its owner's alone."""
    return os.open(path, flags | os.O_CLOEXEC, 0o600)
