"""Effects: what the core wants done. They run only after the records that go with them are safely in the journal."""

from __future__ import annotations

from dataclasses import dataclass

from opsdash.model.channel import Channel
from opsdash.model.drill import Drill, Load
from opsdash.model.message import Message
from opsdash.model.operation import ActionCall
from opsdash.model.switch import Refused


@dataclass(frozen=True, slots=True)
class Poll:
    """Run a check `after` seconds from now, in addition to its slots."""

    check: str
    after: float = 0.0


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Send `TimerFired(key)` at `at` monotonic seconds; replaces a timer of the same key."""

    key: tuple[str, ...]
    at: float


@dataclass(frozen=True, slots=True)
class CancelTimer:
    """Forget the timer of that key."""

    key: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Read:
    """Ask a mechanism what is in force; answered by `ReadDone`."""

    component: str
    what: str
    call: ActionCall
    after: float = 0.0


@dataclass(frozen=True, slots=True)
class Apply:
    """Carry out an action once; answered by `ApplyDone`.

    expected, version: what the mechanism said just before, and of which version (compare-and-swap).
    prior: restore this value instead of applying `call`.
    """

    switch: str
    component: str
    call: ActionCall
    action_id: str
    expected: str | None
    source: str
    target: str
    prior: str | None = None
    version: str | None = None


@dataclass(frozen=True, slots=True)
class RunBlock:
    """Execute a block of a runbook; answered by `BlockUp`, where it is a program, and by `BlockDone`."""

    run: str
    runbook: str
    component: str
    step: str
    block: int
    who: str


@dataclass(frozen=True, slots=True)
class Send:
    """Try once to deliver a message over its channel, as the files have it now; answered by `SendDone`."""

    message: Message
    channel: Channel


@dataclass(frozen=True, slots=True)
class ReleaseBlock:
    """Let the program of a block begin: its number is on record."""

    run: str
    step: str
    block: int


@dataclass(frozen=True, slots=True)
class CancelBlock:
    """End a block that runs, with its whole process group."""

    run: str
    step: str
    block: int
    who: str


@dataclass(frozen=True, slots=True)
class SuspendPolling:
    """Stop (or resume) the slots of a component's checks."""

    component: str
    suspended: bool


@dataclass(frozen=True, slots=True)
class ArmGuard:
    """Write down how a drill's faults are taken back, and start the guard that does so; answered by `GuardArmed`."""

    run: str
    drill: Drill


@dataclass(frozen=True, slots=True)
class Inject:
    """Make a drill's faults, in order, those that opsdash only pretends excepted; answered by `Injected`."""

    run: str
    drill: Drill


@dataclass(frozen=True, slots=True)
class UndoFaults:
    """Take back whatever a drill may have broken, through its guard, and let that go; answered by `Undone`.

    It may come for a run of which nothing was broken, and more than once. limit: by when that should be answered, in
    monotonic seconds.
    """

    run: str
    drill: Drill
    limit: float
    why: str = ""


@dataclass(frozen=True, slots=True)
class StartLoad:
    """Let a backup or degraded mode carry the declared load; answered by `LoadDone`."""

    run: str
    component: str
    load: Load


@dataclass(frozen=True, slots=True)
class StopLoad:
    """End the load, if it still runs."""

    run: str


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer the request `id`: refused with a reason, or accepted; `subject` is what was begun (a switch, a run)."""

    id: str
    refused: Refused | None = None
    subject: str = ""


Effect = (
    Poll
    | SetTimer
    | CancelTimer
    | Read
    | Apply
    | RunBlock
    | ReleaseBlock
    | CancelBlock
    | Send
    | SuspendPolling
    | ArmGuard
    | Inject
    | UndoFaults
    | StartLoad
    | StopLoad
    | Answer
)
