"""Records: what happened. The journal keeps them for ever, and the world is what follows from them.

Inputs are never journaled, records always are, before anything is done about them. Every record says when (`at`,
seconds since 1970 UTC), and the ones that somebody caused say who. A record's name in the journal is its class name
in snake case; a field may be added with a default, but none may change its meaning: old journals are read for years.
"""

from __future__ import annotations

from dataclasses import dataclass

from opsdash.model.alarm import Hold
from opsdash.model.incident import EntryKind, IncidentKind, IncidentRole
from opsdash.model.message import Attempt, Message
from opsdash.model.operation import Component
from opsdash.model.run import BlockResult, Decision, RunMode
from opsdash.model.status import Reason, Status
from opsdash.model.switch import Fact, Switch, SwitchCause, SwitchKind, SwitchState
from opsdash.model.window import WindowKind


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
class CheckChanged:
    """A check's status was confirmed by its threshold."""

    at: float
    check: str
    status: Status
    was: Status
    reason: Reason | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ComponentChanged:
    """A component's status changed. `cause` names the check or rule that decides."""

    at: float
    component: str
    status: Status
    was: Status
    reason: Reason | None = None
    cause: str = ""


@dataclass(frozen=True, slots=True)
class RedundancyChanged:
    """`ready`, `lost`, `unknown` or `none`: whether a backup could take over."""

    at: float
    component: str
    redundancy: str
    was: str


@dataclass(frozen=True, slots=True)
class ActiveChanged:
    """What the mechanism says is in force. `provider` None: it could not be told from `seen`."""

    at: float
    component: str
    provider: str | None
    was: str | None
    seen: str = ""
    on_backup: bool = False


@dataclass(frozen=True, slots=True)
class ModeSeen:
    """What a degraded mode's mechanism says, when nobody was entering or leaving it: somebody else did."""

    at: float
    component: str
    mode: str | None
    was: str | None
    seen: str = ""


@dataclass(frozen=True, slots=True)
class FailureActive:
    """A failure mode of the register was recognised."""

    at: float
    component: str
    failure: str
    title: str
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class FailureCleared:
    """A failure mode no longer applies."""

    at: float
    component: str
    failure: str


@dataclass(frozen=True, slots=True)
class IncidentOpened:
    """An incident was opened, by opsdash (`who` is "opsdash") or by a person.

    began: when the first result came in that was not good.  severity: 1 (worst) to 4; 0 in journals that had none.
    """

    at: float
    incident: str
    component: str
    kind: IncidentKind
    title: str
    who: str
    failure: str | None = None
    began: float | None = None
    severity: int = 0
    drill: bool = False


@dataclass(frozen=True, slots=True)
class IncidentJoined:
    """A failure mode (or, with `failure` "", the plain fact of being down) joined the open incident of its component.

    kind, severity: what the incident has become by it, where that changes.  component: whose failure it is, "" for the
    one in which the incident began.
    """

    at: float
    incident: str
    failure: str
    title: str
    kind: IncidentKind | None = None
    severity: int = 0
    component: str = ""


@dataclass(frozen=True, slots=True)
class IncidentFolded:
    """Another component fails because of what an open incident is about: it becomes part of that one.

    failure: the failure mode by which it fails, "" if it is plainly down.  was: the incident that it had of its own,
    which ends by it; "" if it had none.
    """

    at: float
    incident: str
    component: str
    title: str
    failure: str = ""
    was: str = ""


@dataclass(frozen=True, slots=True)
class IncidentNoted:
    """A line for the timeline. happened: when it was, where that is not now. pinned: it belongs to the story."""

    at: float
    incident: str
    who: str
    kind: EntryKind
    text: str
    happened: float | None = None
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class EntryEdited:
    """A line of the timeline was changed: number `entry`, from 0. What is None stays; what it was is kept with it."""

    at: float
    incident: str
    entry: int
    who: str
    text: str | None = None
    happened: float | None = None
    pinned: bool | None = None


@dataclass(frozen=True, slots=True)
class IncidentRecovered:
    """A component of it works again (or, with `again`, does not after all). When all of them do, it is mitigated.

    component: "" for the one in which it began.
    """

    at: float
    incident: str
    again: bool = False
    component: str = ""


@dataclass(frozen=True, slots=True)
class IncidentAcknowledged:
    """Somebody looks after it, and is asked again at `until`."""

    at: float
    incident: str
    who: str
    until: float | None = None


@dataclass(frozen=True, slots=True)
class IncidentUnacknowledged:
    """The acknowledgement by `was` has expired (`who` is "opsdash"), or was taken back."""

    at: float
    incident: str
    was: str
    who: str


@dataclass(frozen=True, slots=True)
class IncidentResolved:
    """Redundancy is back (`who` is "opsdash"), or a person says that nothing is out of the ordinary any more.

    closed: in journals from before there was `IncidentClosed`, a person closed it by that.
    """

    at: float
    incident: str
    who: str
    text: str = ""
    closed: bool = True


@dataclass(frozen=True, slots=True)
class IncidentClosed:
    """A person has no more to add to it."""

    at: float
    incident: str
    who: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class IncidentCancelled:
    """It was none."""

    at: float
    incident: str
    who: str
    reason: str


@dataclass(frozen=True, slots=True)
class IncidentReopened:
    """It is not over after all. title: what is wrong now."""

    at: float
    incident: str
    who: str
    title: str
    kind: IncidentKind | None = None


@dataclass(frozen=True, slots=True)
class IncidentRated:
    """A person set its severity, 1 (worst) to 4; from then on it no longer follows from tier and failure mode."""

    at: float
    incident: str
    severity: int
    who: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class IncidentTimed:
    """A person says when it really `began`, was `mitigated` or `resolved`."""

    at: float
    incident: str
    what: str
    moment: float
    who: str


@dataclass(frozen=True, slots=True)
class RoleGiven:
    """`person` has a role from now on; "" gives it up. Whoever had it before no longer has it."""

    at: float
    incident: str
    role: IncidentRole
    person: str
    who: str


@dataclass(frozen=True, slots=True)
class HandoverOffered:
    """A note was written for `to` ("": for whoever comes), who takes over by accepting it."""

    at: float
    incident: str
    who: str
    to: str
    text: str


@dataclass(frozen=True, slots=True)
class HandoverAccepted:
    """The note was accepted: `who` leads from now on."""

    at: float
    incident: str
    who: str


@dataclass(frozen=True, slots=True)
class NearMissed:
    """A check failed and recovered before its threshold confirmed it: the failure mode was near, and did not happen.

    since: when the first result came in that was not good.  results: how many there were.
    """

    at: float
    component: str
    failure: str
    check: str
    since: float
    results: int


@dataclass(frozen=True, slots=True)
class Marked:
    """Somebody, or a pipeline, says that something was changed. component: "" for the whole operation."""

    at: float
    who: str
    text: str
    component: str = ""
    version: str = ""
    link: str = ""


@dataclass(frozen=True, slots=True)
class VersionChanged:
    """A check reports another `version` than before; `was` is "" the first time."""

    at: float
    check: str
    version: str
    was: str = ""


@dataclass(frozen=True, slots=True)
class Paused:
    """An operator stopped the polling of a component until `until`, when it resumes by itself and says so."""

    at: float
    component: str
    until: float
    who: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Resumed:
    """Polling goes on."""

    at: float
    component: str
    who: str


@dataclass(frozen=True, slots=True)
class AlarmHeld:
    """An alarm is due, and held by something; again when that is something else. Nobody is told for now.

    topic: what it is about, where that is not simply that the component fails. `component` "": opsdash itself.
    """

    at: float
    component: str
    incident: str
    title: str
    hold: Hold
    topic: str = ""


@dataclass(frozen=True, slots=True)
class AlarmRaised:
    """People are to be told. `due`: since when there was something to tell; `after`: what had held it until now.

    note: what could not be found out before, such as a parent that did not answer.
    """

    at: float
    component: str
    incident: str
    title: str
    due: float
    after: Hold | None = None
    note: str = ""
    topic: str = ""


@dataclass(frozen=True, slots=True)
class AlarmDropped:
    """What a held alarm was about is over. It was never raised, and is not."""

    at: float
    component: str
    incident: str
    topic: str = ""


@dataclass(frozen=True, slots=True)
class AlarmCleared:
    """What a raised alarm was about is over: people are to be told, whatever is muted. `raised`: since when it was."""

    at: float
    component: str
    incident: str
    raised: float
    topic: str = ""


@dataclass(frozen=True, slots=True)
class MessageQueued:
    """A message is going to be sent over a channel, however long that takes.

    over: of the alarms that it is about, those that the channel need not be told of again, since it says that they are
    over.
    """

    at: float
    message: Message
    over: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MessageTrying:
    """An attempt to deliver a message begins. Without its end, it may have arrived, and is sent again."""

    at: float
    message: str
    channel: str


@dataclass(frozen=True, slots=True)
class MessageTried:
    """An attempt has ended. `due`: when the next one is, None after a delivery; `waits`: seconds until then."""

    at: float
    message: str
    channel: str
    attempt: Attempt
    due: float | None = None
    waits: float = 0.0


@dataclass(frozen=True, slots=True)
class MessageGivenUp:
    """A message is not tried any more."""

    at: float
    message: str
    channel: str
    why: str


@dataclass(frozen=True, slots=True)
class AlarmsDeferred:
    """A channel will be told of raised alarms later: after the quiet hours `window`, or ("") what it is sent now."""

    at: float
    channel: str
    alarms: tuple[str, ...]
    window: str = ""


@dataclass(frozen=True, slots=True)
class FlappingBegan:
    """A check changes its status again and again: `percent` of its latest results, the newest weighing most."""

    at: float
    check: str
    percent: int


@dataclass(frozen=True, slots=True)
class FlappingEnded:
    """A check is steady again, or no longer the same check."""

    at: float
    check: str
    percent: int


@dataclass(frozen=True, slots=True)
class MaintenanceSet:
    """A person mutes the alarms of `target`, `component:NAME` or `tag:NAME`, until `until`. Set again, it replaces."""

    at: float
    target: str
    until: float
    who: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class MaintenanceEnded:
    """The alarms of `target` are no longer muted: its time has passed (`who` is "opsdash"), or a person ended it."""

    at: float
    target: str
    who: str


@dataclass(frozen=True, slots=True)
class WindowBegan:
    """A window of opsdash.yaml is open, until `until`. Again, when it has changed."""

    at: float
    window: str
    kind: WindowKind
    title: str
    since: float
    until: float


@dataclass(frozen=True, slots=True)
class WindowEnded:
    """A window of opsdash.yaml is no longer open."""

    at: float
    window: str
    kind: WindowKind


@dataclass(frozen=True, slots=True)
class HeartbeatReceived:
    """The other side reported: `signal` is `ok`, `start` or `fail`; `due` is when the next one is expected.

    `awaited` is no report: a sender was declared, and `due` is when its first one is expected.
    """

    at: float
    check: str
    signal: str
    due: float | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class AwaySet:
    """A person is away until `until` (None: open end); with `back` the absence is taken back."""

    at: float
    person: str
    until: float | None
    who: str
    start: float | None = None
    back: bool = False


@dataclass(frozen=True, slots=True)
class ReviewPassed:
    """Something that carries a review time was forgotten: being on the backup, a degraded mode."""

    at: float
    component: str
    what: str
    since: float


@dataclass(frozen=True, slots=True)
class SwitchIntended:
    """A switch is going to be carried out: its whole plan, before anything is touched."""

    at: float
    switch: Switch


@dataclass(frozen=True, slots=True)
class SwitchAdvanced:
    """A switch went on to `state`. `prior` and `detail` are evidence of the action.

    step: at which of its steps, "" for the switch itself and for the whole. dropped: a step that turned out not to have
    been carried out. halted: no further step is begun.
    """

    at: float
    switch: str
    component: str
    state: SwitchState
    detail: str = ""
    prior: str | None = None
    in_doubt: bool = False
    step: str = ""
    dropped: str = ""
    halted: bool = False


@dataclass(frozen=True, slots=True)
class SwitchAbortAsked:
    """Somebody asked for a switch to be called off before it has done anything that users notice."""

    at: float
    switch: str
    component: str
    who: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class SwitchBlocked:
    """A switch was wanted (by a person, or with cause `auto` by opsdash itself) and a rule stood in its way."""

    at: float
    component: str
    kind: SwitchKind
    target: str
    who: str
    rule: str
    reason: str
    cause: SwitchCause = SwitchCause.PERSON


@dataclass(frozen=True, slots=True)
class SwitchReverted:
    """After a switch was committed its mechanism says the old side again, or a third one, by somebody else's doing."""

    at: float
    switch: str
    component: str
    seen: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class BlockadeLifted:
    """A person ended the blockade after a switch, with a reason: another one may follow at once."""

    at: float
    switch: str
    component: str
    who: str
    reason: str


@dataclass(frozen=True, slots=True)
class WouldSwitch:
    """In shadow: opsdash would have switched by itself at this moment."""

    at: float
    component: str
    source: str
    target: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ShadowScored:
    """What became of it without opsdash: people did the same (`agreed`), went elsewhere (`differed`), or it was
    `not needed`.
    """

    at: float
    component: str
    verdict: str


@dataclass(frozen=True, slots=True)
class AutoStopped:
    """opsdash no longer switches by itself, since the outcome of one such switch was not good, or not known."""

    at: float
    component: str
    why: str


@dataclass(frozen=True, slots=True)
class AutoResumed:
    """A person lets opsdash switch by itself again."""

    at: float
    who: str
    reason: str


@dataclass(frozen=True, slots=True)
class ApprovalAsked:
    """A person wants a switch that takes two; a second one who confirms the same plan until `until` lets it happen."""

    at: float
    component: str
    kind: SwitchKind
    generation: int
    source: str
    target: str
    who: str
    until: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class SwitchEnded:
    """The outcome, with the four facts it follows from. `who`: set where a person stated it."""

    at: float
    switch: str
    component: str
    state: SwitchState
    facts: tuple[Fact, ...] = ()
    detail: str = ""
    who: str | None = None


@dataclass(frozen=True, slots=True)
class Proved:
    """A provider (or degraded mode) was shown to work, by the switch or drill `by`; true while `sha256` stands.

    who: whose switch it was. took: seconds from the key to the verified effect.
    """

    at: float
    component: str
    what: str
    by: str
    sha256: str
    who: str = ""
    took: float = 0.0


@dataclass(frozen=True, slots=True)
class RunStarted:
    """Somebody opened a runbook to follow it. steps: (id, sha256) of each step; session: the terminal it is driven in.

    The text itself lies in the state folder under its `sha256`, written before this record.
    """

    at: float
    run: str
    runbook: str
    component: str
    sha256: str
    who: str
    incident: str | None = None
    steps: tuple[tuple[str, str], ...] = ()
    mode: RunMode = RunMode.STEP
    session: str = ""


@dataclass(frozen=True, slots=True)
class RunTaken:
    """Another person, or another terminal of the same one, drives a run from now on. was: who drove it before."""

    at: float
    run: str
    component: str
    who: str
    session: str
    was: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RunAccepted:
    """The file was edited during a run, and its driver goes on by the new text."""

    at: float
    run: str
    component: str
    sha256: str
    steps: tuple[tuple[str, str], ...]
    who: str


@dataclass(frozen=True, slots=True)
class RunParameterSet:
    """A parameter of a run has a value: `asked` of a person, or `captured` from what a block said. Never a secret."""

    at: float
    run: str
    name: str
    value: str
    who: str
    source: str = "asked"


@dataclass(frozen=True, slots=True)
class RunTicked:
    """A tick of a step was set or taken back."""

    at: float
    run: str
    step: str
    tick: int
    done: bool
    who: str


@dataclass(frozen=True, slots=True)
class StepMarked:
    """A step was called `done`, `failed` or `skipped`, or the mark was taken back (`open`).

    goto: the step that comes next, where that is not the one after it; `#` where none does.  automatic: opsdash did it
    for `who`, since all that the step holds are checks, and they passed.
    """

    at: float
    run: str
    step: str
    mark: str
    who: str
    goto: str = ""
    automatic: bool = False


@dataclass(frozen=True, slots=True)
class BlockStarted:
    """An executable block is about to run. Without its end, its outcome is unknown."""

    at: float
    run: str
    step: str
    block: int
    text: str
    who: str
    role: str = ""


@dataclass(frozen=True, slots=True)
class BlockSpawned:
    """The program of a block is there, and waits for this record before it begins.

    pid: of its process group and of the leader of that; identity: tells the leader from a later process of its number.
    """

    at: float
    run: str
    step: str
    block: int
    pid: int
    identity: str


@dataclass(frozen=True, slots=True)
class BlockCancelAsked:
    """Somebody asked for the end of a block that runs."""

    at: float
    run: str
    step: str
    block: int
    who: str


@dataclass(frozen=True, slots=True)
class BlockDecided:
    """A person said what is to be taken for true of a block of which nobody knows what it did."""

    at: float
    run: str
    step: str
    block: int
    decision: Decision
    who: str


@dataclass(frozen=True, slots=True)
class BlockFinished:
    """An executable block ended."""

    at: float
    run: str
    result: BlockResult


@dataclass(frozen=True, slots=True)
class RunEnded:
    """The runbook was closed."""

    at: float
    run: str
    who: str


@dataclass(frozen=True, slots=True)
class RunbookApproved:
    """A person has read what a runbook would execute. The approval itself lies outside of the workspace."""

    at: float
    runbook: str
    sha256: str
    who: str


@dataclass(frozen=True, slots=True)
class RequestAccepted:
    """What somebody wanted was begun, and is not begun again when the same request comes once more.

    key: of the request, as the client made it up.  subject: what it was told that this is called, "" where nothing is.
    """

    at: float
    key: str
    who: str
    subject: str = ""


Record = (
    EngineStarted
    | EngineStopped
    | Configured
    | CheckChanged
    | ComponentChanged
    | RedundancyChanged
    | ActiveChanged
    | ModeSeen
    | FailureActive
    | FailureCleared
    | IncidentOpened
    | IncidentJoined
    | IncidentFolded
    | IncidentNoted
    | EntryEdited
    | IncidentRecovered
    | IncidentAcknowledged
    | IncidentUnacknowledged
    | IncidentResolved
    | IncidentClosed
    | IncidentCancelled
    | IncidentReopened
    | IncidentRated
    | IncidentTimed
    | RoleGiven
    | HandoverOffered
    | HandoverAccepted
    | NearMissed
    | Marked
    | VersionChanged
    | Paused
    | Resumed
    | AlarmHeld
    | AlarmRaised
    | AlarmDropped
    | AlarmCleared
    | MessageQueued
    | MessageTrying
    | MessageTried
    | MessageGivenUp
    | AlarmsDeferred
    | FlappingBegan
    | FlappingEnded
    | MaintenanceSet
    | MaintenanceEnded
    | WindowBegan
    | WindowEnded
    | HeartbeatReceived
    | AwaySet
    | ReviewPassed
    | SwitchIntended
    | SwitchAdvanced
    | SwitchAbortAsked
    | SwitchBlocked
    | SwitchReverted
    | BlockadeLifted
    | WouldSwitch
    | ShadowScored
    | AutoStopped
    | AutoResumed
    | ApprovalAsked
    | SwitchEnded
    | Proved
    | RunStarted
    | RunTicked
    | StepMarked
    | BlockStarted
    | BlockFinished
    | RunEnded
    | RunTaken
    | RunAccepted
    | RunParameterSet
    | BlockSpawned
    | BlockCancelAsked
    | BlockDecided
    | RunbookApproved
    | RequestAccepted
)
