"""Inputs: everything that can make the core decide something. They are never journaled; what follows from them is."""

from __future__ import annotations

from dataclasses import dataclass

from opsdash.model.drill import DrillDate
from opsdash.model.intents import (
    AbortIntent,
    AcceptHandoverIntent,
    AcceptRunIntent,
    AckIntent,
    AlarmTestIntent,
    AllowDrillsIntent,
    ApproveRunbookIntent,
    AwayIntent,
    CancelBlockIntent,
    CancelIncidentIntent,
    DecideBlockIntent,
    EditEntryIntent,
    EndMaintenanceIntent,
    EndRunIntent,
    FaultGoneIntent,
    FinishDrillIntent,
    HaltDrillsIntent,
    Intent,
    LiftBlockadeIntent,
    MaintenanceIntent,
    MarkIntent,
    MarkStepIntent,
    NoteIntent,
    OfferHandoverIntent,
    OpenIncidentIntent,
    OpenRunIntent,
    PauseIntent,
    PollIntent,
    RateIntent,
    ReopenIntent,
    ResolveIntent,
    ResumeAutoIntent,
    ResumeIntent,
    RoleIntent,
    RunBlockIntent,
    RunChecksIntent,
    SetParameterIntent,
    SettleIntent,
    StartDrillIntent,
    StopDrillIntent,
    SwitchIntent,
    TakeOverIntent,
    TakeRunIntent,
    TellIntent,
    TickIntent,
    TimeIntent,
    UndoIntent,
)
from opsdash.model.message import Delivery
from opsdash.model.observation import Observation
from opsdash.model.operation import Operation
from opsdash.model.run import BlockResult
from opsdash.model.window import Occurrence

__all__ = [
    "AbortIntent",
    "AcceptHandoverIntent",
    "AcceptRunIntent",
    "AckIntent",
    "AlarmTestIntent",
    "AllowDrillsIntent",
    "ApplyDone",
    "ApproveRunbookIntent",
    "AwayIntent",
    "Beat",
    "BlockDone",
    "BlockUp",
    "CancelBlockIntent",
    "CancelIncidentIntent",
    "ClockJumped",
    "DecideBlockIntent",
    "DrillDates",
    "EditEntryIntent",
    "EndMaintenanceIntent",
    "EndRunIntent",
    "FaultFound",
    "FaultGoneIntent",
    "FinishDrillIntent",
    "GuardArmed",
    "GuardGone",
    "HaltDrillsIntent",
    "Injected",
    "Input",
    "Intent",
    "JournalState",
    "LiftBlockadeIntent",
    "LoadDone",
    "Loaded",
    "MaintenanceIntent",
    "MarkIntent",
    "MarkStepIntent",
    "NoteIntent",
    "Observed",
    "OfferHandoverIntent",
    "OpenIncidentIntent",
    "OpenRunIntent",
    "Overdue",
    "PauseIntent",
    "PollIntent",
    "PreflightDone",
    "RateIntent",
    "ReadDone",
    "ReadinessSeen",
    "ReopenIntent",
    "ResolveIntent",
    "ResumeAutoIntent",
    "ResumeIntent",
    "RoleIntent",
    "RunBlockIntent",
    "RunChecksIntent",
    "SendDone",
    "SessionSeen",
    "SetParameterIntent",
    "SettleIntent",
    "StartDrillIntent",
    "Started",
    "StopDrillIntent",
    "Stopping",
    "SwitchIntent",
    "TakeOverIntent",
    "TakeRunIntent",
    "TellIntent",
    "TickIntent",
    "TimeIntent",
    "TimerFired",
    "UndoIntent",
    "Undone",
    "Wanted",
    "WindowsOpen",
]


@dataclass(frozen=True, slots=True)
class Started:
    """The engine has replayed its journal and begins."""

    version: str
    pid: int


@dataclass(frozen=True, slots=True)
class Stopping:
    """The engine ends in good order."""

    why: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """The files were read; `operation` is what is to be from now on."""

    operation: Operation
    problems: int = 0


@dataclass(frozen=True, slots=True)
class Observed:
    """A check has run."""

    observation: Observation


@dataclass(frozen=True, slots=True)
class Overdue:
    """Nothing has been heard of a check for longer than an observation is fresh."""

    check: str


@dataclass(frozen=True, slots=True)
class ReadinessSeen:
    """The operation's readiness was reckoned, and how many gaps there are."""

    score: int
    gaps: int


@dataclass(frozen=True, slots=True)
class ClockJumped:
    """Boot time and wall clock have parted by `seconds`: suspended, or the clock was set."""

    seconds: float


@dataclass(frozen=True, slots=True)
class WindowsOpen:
    """The windows of opsdash.yaml that are open now, by the calendar: all of them, so that none can be missed."""

    occurrences: tuple[Occurrence, ...] = ()


@dataclass(frozen=True, slots=True)
class TimerFired:
    """A timer that was set by an effect has come due."""

    key: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReadDone:
    """A mechanism was read. `what` is `switch`, or the id of a degraded mode; `value` None: it could not be read.

    serving: the names of all that it sees serving, None where it cannot see that. by: id of the action that put the
    value there, where it remembers it.
    """

    component: str
    what: str
    value: str | None
    detail: str
    version: str | None
    requested: float
    serving: tuple[str, ...] | None = None
    by: str | None = None


@dataclass(frozen=True, slots=True)
class ApplyDone:
    """An action was carried out: `applied`, `refused`, `not_started` or `unknown`. action_id: of its `Apply`."""

    switch: str
    result: str
    detail: str = ""
    prior: str | None = None
    action_id: str = ""


@dataclass(frozen=True, slots=True)
class PreflightDone:
    """An action's preflight has answered; `key` is component/kind/target. credentials: see `kinds.base.Preflight`."""

    key: str
    passed: bool | None
    detail: str
    credentials: bool | None = None


@dataclass(frozen=True, slots=True)
class BlockDone:
    """An executable block of a run has ended. captured: a parameter that it gave, with its value."""

    run: str
    result: BlockResult
    captured: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class BlockUp:
    """The program of a block has been started, and waits to be let go. See `records.BlockSpawned`."""

    run: str
    step: str
    block: int
    pid: int
    identity: str


@dataclass(frozen=True, slots=True)
class SessionSeen:
    """A client's session listens (`present`), or no longer does."""

    session: str
    present: bool


@dataclass(frozen=True, slots=True)
class SendDone:
    """An attempt to deliver a message has ended. took, retry_after: seconds."""

    message: str
    delivery: Delivery
    detail: str = ""
    took: float = 0.0
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Beat:
    """A heartbeat's sender reports; `due` (wall) comes from the calendar."""

    check: str
    signal: str
    due: float | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class JournalState:
    """The journal can (`error` "") or cannot be written."""

    error: str


@dataclass(frozen=True, slots=True)
class GuardArmed:
    """The guard of a drill's run is up, and what it has to undo is on its disk. error: why not, "" if it is."""

    run: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class Injected:
    """The faults of a run were made. error: what could not be, "" if all could; something may be broken either way."""

    run: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class Undone:
    """The faults of a run were taken back, as far as that could be done. verified: whether they are shown to be gone.

    by: `engine`, or `guard`.  flaw: which of them turned out not to have been made as a whole.
    """

    run: str
    verified: bool | None
    by: str = "guard"
    detail: str = ""
    flaw: str = ""


@dataclass(frozen=True, slots=True)
class GuardGone:
    """The guard of a run has ended, and nobody told it to."""

    run: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class FaultFound:
    """At its start the engine has found what a guard of an earlier one has left behind, and undoes it."""

    run: str
    drill: str
    component: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class LoadDone:
    """A run's load has ended: it ran so many times, of which so many failed."""

    run: str
    times: int
    failed: int
    detail: str = ""


@dataclass(frozen=True, slots=True)
class DrillDates:
    """What the calendar says of all drills that have dates. See `opsdash.core.drill_schedule.dates`."""

    dates: tuple[DrillDate, ...] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """A person wants something; `id` is the idempotency key of the request, `session` the terminal it comes from.

    repeatable: the client made up that key, and may ask again with it, also of the next engine.
    """

    id: str
    who: str
    intent: Intent
    session: str = ""
    repeatable: bool = False


Input = (
    Started
    | Stopping
    | Loaded
    | Observed
    | Overdue
    | ClockJumped
    | ReadinessSeen
    | WindowsOpen
    | TimerFired
    | ReadDone
    | ApplyDone
    | PreflightDone
    | BlockDone
    | BlockUp
    | SessionSeen
    | SendDone
    | Beat
    | JournalState
    | GuardArmed
    | Injected
    | Undone
    | GuardGone
    | FaultFound
    | LoadDone
    | DrillDates
    | Wanted
)
