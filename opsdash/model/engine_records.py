"""Records of the engine itself: its beginning, its end, and the files that it read."""

from __future__ import annotations

from dataclasses import dataclass

from opsdash.model.operation import Component


@dataclass(frozen=True, slots=True)
class EngineStarted:
    """An engine took over the workspace. `stopped_at`: when the one before ended, None if it did not say so."""

    at: float
    version: str
    pid: int
    stopped_at: float | None = None


@dataclass(frozen=True, slots=True)
class EngineStopped:
    """An engine ended in good order."""

    at: float
    why: str


@dataclass(frozen=True, slots=True)
class ClockMoved:
    """The machine was suspended, or its clock was set, by so many seconds: times before and after do not compare."""

    at: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Configured:
    """The files were read. `removed` components live on with their last good definition while something holds them.

    changed: the components that are new, gone, or defined differently since the files were read before.
    """

    at: float
    sha256: str
    components: int
    checks: int
    problems: int
    removed: tuple[Component, ...] = ()
    changed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RequestAccepted:
    """What somebody wanted was begun, and is not begun again when the same request comes once more.

    key: of the request, as the client made it up.  subject: what it was told that this is called, "" where nothing is.
    """

    at: float
    key: str
    who: str
    subject: str = ""


EngineRecord = EngineStarted | EngineStopped | ClockMoved | Configured | RequestAccepted
