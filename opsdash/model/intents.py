"""Intents: what a person wants. Whether it is done, and what follows, the core decides."""

from __future__ import annotations

from dataclasses import dataclass

from opsdash.model.incident import IncidentRole
from opsdash.model.run import BlockRef, Decision, RunMode
from opsdash.model.switch import SwitchKind, SwitchState


@dataclass(frozen=True, slots=True)
class SwitchIntent:
    """Carry out the plan that was shown: `generation`, `source` and `target` must still be what they were then."""

    component: str
    kind: SwitchKind
    generation: int
    source: str
    target: str
    reason: str = ""
    overrides: tuple[str, ...] = ()
    typed: str = ""


@dataclass(frozen=True, slots=True)
class UndoIntent:
    """Lead a switch that is unknown, split or without effect back to where it came from."""

    component: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class SettleIntent:
    """State the outcome of such a switch: `committed`, `aborted` or `undone`."""

    component: str
    state: SwitchState
    reason: str


@dataclass(frozen=True, slots=True)
class TakeOverIntent:
    """Observe such a switch again, without firing anything."""

    component: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class AbortIntent:
    """Call off a switch that has not done anything yet that users notice; or ask whoever began it to do so."""

    component: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class LiftBlockadeIntent:
    """End the blockade after the last switch of a component."""

    component: str
    reason: str


@dataclass(frozen=True, slots=True)
class ResumeAutoIntent:
    """Let opsdash switch by itself again, after it has stopped."""

    reason: str


@dataclass(frozen=True, slots=True)
class AckIntent:
    """Look after an incident; `seconds` after which it is asked whether somebody still does (None: as usual).

    With `back`, no longer look after it.
    """

    incident: str
    seconds: float | None = None
    back: bool = False


@dataclass(frozen=True, slots=True)
class NoteIntent:
    """Write a line into an incident's timeline. happened: when it happened, where that is not now."""

    incident: str
    text: str
    happened: float | None = None
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class EditEntryIntent:
    """Change a line of the timeline, number `entry` from 0; what is None stays."""

    incident: str
    entry: int
    text: str | None = None
    happened: float | None = None
    pinned: bool | None = None


@dataclass(frozen=True, slots=True)
class ResolveIntent:
    """Say that it is over, and close the incident. A `text` says why, where redundancy is not back."""

    incident: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class CancelIncidentIntent:
    """Say that it was none."""

    incident: str
    reason: str


@dataclass(frozen=True, slots=True)
class ReopenIntent:
    """Say that it is not over after all."""

    incident: str
    reason: str


@dataclass(frozen=True, slots=True)
class RateIntent:
    """Set the severity of an incident, 1 (worst) to 4."""

    incident: str
    severity: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class TimeIntent:
    """Say when an incident really `began`, was `mitigated` or `resolved`; moment None: now."""

    incident: str
    what: str
    moment: float | None = None


@dataclass(frozen=True, slots=True)
class RoleIntent:
    """Give somebody a role in an incident: `lead`, `scribe`, `comms`; person "": nobody has it any more."""

    incident: str
    role: IncidentRole
    person: str


@dataclass(frozen=True, slots=True)
class OfferHandoverIntent:
    """Write a handover note for `to` ("": whoever comes); `text`: what opsdash cannot know, such as what is needed."""

    incident: str
    to: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class AcceptHandoverIntent:
    """Take an incident over as its handover note says."""

    incident: str


@dataclass(frozen=True, slots=True)
class MarkIntent:
    """Say that something was changed: a deploy, a setting. component "": it concerns the whole operation."""

    text: str
    component: str = ""
    version: str = ""
    link: str = ""


@dataclass(frozen=True, slots=True)
class OpenIncidentIntent:
    """Open an incident by hand."""

    component: str
    title: str


@dataclass(frozen=True, slots=True)
class PauseIntent:
    """Stop polling a component for `seconds`."""

    component: str
    seconds: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ResumeIntent:
    """Poll a component again."""

    component: str


@dataclass(frozen=True, slots=True)
class MaintenanceIntent:
    """Mute the alarms of `target`, a component or `tag:NAME`, for `seconds`."""

    target: str
    seconds: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class EndMaintenanceIntent:
    """Mute them no longer."""

    target: str


@dataclass(frozen=True, slots=True)
class AlarmTestIntent:
    """Send a test message over a channel, or ("") over all of them."""

    channel: str = ""


@dataclass(frozen=True, slots=True)
class TellIntent:
    """Tell customers of an incident. text "": the one that its failure mode has ready; no channels: all of theirs."""

    incident: str
    text: str = ""
    channels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PollIntent:
    """Run a check, or all checks of a component, now."""

    target: str


@dataclass(frozen=True, slots=True)
class AwayIntent:
    """Say that a person is away until `until` (None: open end), or back."""

    person: str
    until: float | None
    start: float | None = None
    back: bool = False


@dataclass(frozen=True, slots=True)
class OpenRunIntent:
    """Begin to follow a runbook, or go on with the run that is open.

    steps: (id, sha256) of each step; titles: theirs, in the same order.  checks: those that could be executed now, for
    blocks that are in doubt.
    """

    runbook: str
    component: str
    sha256: str
    steps: tuple[tuple[str, str], ...] = ()
    mode: RunMode = RunMode.STEP
    checks: tuple[BlockRef, ...] = ()
    titles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TakeRunIntent:
    """Drive a run that somebody else drives."""

    run: str
    reason: str


@dataclass(frozen=True, slots=True)
class AcceptRunIntent:
    """Go on by the text that the file has now."""

    run: str
    sha256: str
    steps: tuple[tuple[str, str], ...] = ()
    titles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SetParameterIntent:
    """Give a parameter of a run its value."""

    run: str
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class TickIntent:
    """Set or take back a tick of a step."""

    run: str
    step: str
    tick: int
    done: bool = True


@dataclass(frozen=True, slots=True)
class MarkStepIntent:
    """Call a step `done`, `failed` or `skipped`, or take that back (`open`). goto: the step that comes next."""

    run: str
    step: str
    mark: str
    goto: str = ""


@dataclass(frozen=True, slots=True)
class RunBlockIntent:
    """Execute a block of a run. `text` is what will be executed, for the journal; `typed` the component's name."""

    run: str
    step: str
    block: int
    text: str
    role: str = ""
    danger: bool = False
    once: bool = False
    asks: tuple[str, ...] = ()
    typed: str = ""


@dataclass(frozen=True, slots=True)
class CancelBlockIntent:
    """End a block that runs."""

    run: str
    step: str
    block: int


@dataclass(frozen=True, slots=True)
class DecideBlockIntent:
    """Say what is to be taken for true of a block that is in doubt."""

    run: str
    step: str
    block: int
    decision: Decision


@dataclass(frozen=True, slots=True)
class RunChecksIntent:
    """Execute the coming checks one after the other. chain: them; stop: what comes after, in words."""

    run: str
    chain: tuple[BlockRef, ...] = ()
    stop: str = ""


@dataclass(frozen=True, slots=True)
class ApproveRunbookIntent:
    """Allow that a runbook of this text is executed."""

    runbook: str
    sha256: str


@dataclass(frozen=True, slots=True)
class EndRunIntent:
    """Close a run."""

    run: str


@dataclass(frozen=True, slots=True)
class StartDrillIntent:
    """Begin a drill, as its plan was shown.

    latest: id of the drill's latest run as the plan named it, "" for none: whoever comes second is told so.
    due: the due time that this run is for, None: one that is open, if any.  runbook_sha256: of its runbook's text.
    """

    drill: str
    latest: str = ""
    reason: str = ""
    overrides: tuple[str, ...] = ()
    typed: str = ""
    due: float | None = None
    runbook_sha256: str = ""


@dataclass(frozen=True, slots=True)
class StopDrillIntent:
    """End a drill before its time: what was broken is undone at once."""

    run: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class FinishDrillIntent:
    """Say that enough has been seen of a drill: it is undone, and judged by what has come true so far."""

    run: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class HaltDrillsIntent:
    """Undo everything that any drill has broken, and block new ones."""

    reason: str


@dataclass(frozen=True, slots=True)
class AllowDrillsIntent:
    """Let drills begin again."""

    reason: str


@dataclass(frozen=True, slots=True)
class FaultGoneIntent:
    """State that a fault which nobody could verify to be gone is gone."""

    run: str
    reason: str


Intent = (
    SwitchIntent
    | UndoIntent
    | SettleIntent
    | TakeOverIntent
    | AbortIntent
    | LiftBlockadeIntent
    | ResumeAutoIntent
    | AckIntent
    | NoteIntent
    | EditEntryIntent
    | ResolveIntent
    | CancelIncidentIntent
    | ReopenIntent
    | RateIntent
    | TimeIntent
    | RoleIntent
    | OfferHandoverIntent
    | AcceptHandoverIntent
    | MarkIntent
    | OpenIncidentIntent
    | PauseIntent
    | ResumeIntent
    | MaintenanceIntent
    | EndMaintenanceIntent
    | AlarmTestIntent
    | TellIntent
    | PollIntent
    | AwayIntent
    | OpenRunIntent
    | TakeRunIntent
    | AcceptRunIntent
    | SetParameterIntent
    | TickIntent
    | MarkStepIntent
    | RunBlockIntent
    | CancelBlockIntent
    | DecideBlockIntent
    | RunChecksIntent
    | ApproveRunbookIntent
    | EndRunIntent
    | StartDrillIntent
    | StopDrillIntent
    | FinishDrillIntent
    | HaltDrillsIntent
    | AllowDrillsIntent
    | FaultGoneIntent
)
