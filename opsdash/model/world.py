"""The world: what is known for sure, because a record says so; and `Live`: what may be lost with the process.

Both are tables of frozen values, owned by one runner. A decision reads them and never changes them; what it wants
changed comes back as records (for the world) and as a patch (for live).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from opsdash.model.alarm import Alarm
from opsdash.model.change import Change
from opsdash.model.drill import VALID_FOR, DrillDue, DrillPast, DrillRun, FaultLeft, Lever
from opsdash.model.drill_records import DrillApprovalAsked
from opsdash.model.empty import nothing
from opsdash.model.incident import Incident
from opsdash.model.message import ChannelState, KnownAlarm, Outgoing
from opsdash.model.operation import Absence, Component, Operation
from opsdash.model.practice import Practice
from opsdash.model.readiness import ReadinessPoint
from opsdash.model.records import ApprovalAsked, SwitchBlocked
from opsdash.model.run import BlockRef, Run, StepTimes
from opsdash.model.status import Reason, Status
from opsdash.model.switch import Switch, SwitchKind, Truth
from opsdash.model.window import WindowState


@dataclass(frozen=True, slots=True)
class CheckState:
    """A check's last confirmed status."""

    status: Status
    since: float
    reason: Reason | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Moved:
    """The latest failover or failback of a component whose action may have been carried out, after its end.

    at: when it ended, in seconds since 1970 UTC.  took: seconds from the key to that.  lifted: who ended the blockade
    after it.
    """

    switch: str
    kind: SwitchKind
    who: str
    at: float
    took: float
    lifted: str | None = None


@dataclass(frozen=True, slots=True)
class ComponentState:
    """What is recorded of a component.

    active: serving provider, None while it cannot be told; `seen` is what the mechanism said.
    generation: count of switches.  switch: id of the live or last one.
    mode: degraded mode in force; `mode_prior` what its mechanism had before.
    blocked: the latest switch that was wanted and not begun, until one is.  moved: after it there is a blockade.
    on_backup_since, mode_since: carry a review time.  failures: active failure modes, as they were recognised.
    """

    status: Status = Status.UNKNOWN
    reason: Reason | None = None
    cause: str = ""
    since: float = 0.0
    active: str | None = None
    seen: str = ""
    generation: int = 0
    switch: str | None = None
    on_backup_since: float | None = None
    mode: str | None = None
    mode_since: float | None = None
    mode_prior: str | None = None
    redundancy: str = "none"
    failures: tuple[tuple[str, float], ...] = ()
    incident: str | None = None
    overdue: tuple[str, ...] = ()
    blocked: SwitchBlocked | None = None
    moved: Moved | None = None


@dataclass(frozen=True, slots=True)
class Pause:
    """Polling of a component is stopped by a person."""

    until: float
    since: float
    who: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Last signals of a heartbeat's sender, in seconds since 1970 UTC."""

    last: float | None = None
    started: float | None = None
    failed: float | None = None
    due: float | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Flap:
    """A check changes its status again and again, since then."""

    since: float


@dataclass(frozen=True, slots=True)
class Proof:
    """When a backup or degraded mode was last shown to work, by which switch or drill, of which definition.

    who, took: whose switch it was, and the seconds from the key to the verified effect. valid_for: seconds for which
    it counts.
    """

    at: float
    by: str
    sha256: str
    who: str = ""
    took: float = 0.0
    valid_for: float = VALID_FOR


@dataclass(frozen=True, slots=True)
class Shadow:
    """What opsdash would have done by itself with a component, and how that compares with what people did.

    target: where it would have gone at `at`, None once that has been scored.  would: how often it would have.
    """

    at: float = 0.0
    target: str | None = None
    would: int = 0
    agreed: int = 0
    differed: int = 0
    not_needed: int = 0


@dataclass(frozen=True, slots=True)
class NearMisses:
    """How often a failure mode was near, and did not happen; when it was last, by which check, for how many seconds."""

    count: int = 0
    last: float = 0.0
    check: str = ""
    lasted: float = 0.0


@dataclass(frozen=True, slots=True)
class EngineState:
    """The engine's own life, and the counters of incidents, runs, changes and messages.

    auto_stopped: why opsdash no longer switches by itself, "" while it may; auto_stopped_by: of which component the
    switch was that ended it.  autos: when it did lately.
    drills: how many were begun; drill: the run that is open, "" for none: there is never more than one.
    """

    started_at: float = 0.0
    stopped_at: float | None = None
    incidents: int = 0
    runs: int = 0
    auto_stopped: str = ""
    autos: tuple[float, ...] = ()
    changes: int = 0
    auto_stopped_by: str = ""
    messages: int = 0
    drills: int = 0
    drill: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """A request that was accepted at `at`; subject: what was begun by it, as the answer said.

    number: counts up, so that it is known which are the latest, whatever the clock says.
    """

    at: float
    subject: str = ""
    number: int = 0


TABLES: dict[str, type] = {
    "checks": CheckState,
    "components": ComponentState,
    "switches": Switch,
    "incidents": Incident,
    "pauses": Pause,
    "windows": WindowState,
    "alarms": Alarm,
    "messages": Outgoing,
    "channels": ChannelState,
    "known": KnownAlarm,
    "flapping": Flap,
    "heartbeats": Heartbeat,
    "proofs": Proof,
    "absences": Absence,
    "approvals": ApprovalAsked,
    "shadows": Shadow,
    "near_misses": NearMisses,
    "changes": Change,
    "versions": str,
    "runs": Run,
    "last_runs": Run,
    "step_times": StepTimes,
    "removed": Component,
    "engine": EngineState,
    "requests": Request,
    "drills": DrillRun,
    "drill_past": DrillPast,
    "drill_faults": FaultLeft,
    "drill_dues": DrillDue,
    "drill_approvals": DrillApprovalAsked,
    "lever": Lever,
    "practice": Practice,
    "seen_red": float,
    "readiness": ReadinessPoint,
}
"""The world's tables and the type of their values; the key of `engine` is always "engine".

`runs` are open ones, `last_runs` the last that was closed of each runbook and component, `step_times` by runbook/step.
`requests` are the latest that were accepted, by their keys.
`drills` are the open run and the latest of each drill, by their ids; `drill_past` and `drill_dues` are by drill.
`drill_faults`, by run: from before the fault is made until it is verified, or stated, to be gone. The key of `lever` is
always "lever"; it is there while drills are blocked. `practice` is who has done what lately, by component.
`seen_red` says when a check was last confirmed not to be ok; `readiness` has a score for each of the last days, by the
number of the day since 1970 UTC.
"""

Patch = list[tuple[str, str, Any]]
"""(table, key, value) triples; value None removes the key."""


@dataclass(slots=True)
class World:
    """All tables, and the operation as the files have it now."""

    operation: Operation = field(default_factory=Operation)
    tables: dict[str, dict[str, Any]] = field(default_factory=lambda: {name: {} for name in TABLES})

    def get(self, table: str, key: str) -> Any:
        """The value under `key`, None where there is none."""
        return self.tables[table].get(key)

    def keys(self, table: str) -> list[str]:
        """All keys of a table."""
        return list(self.tables[table])

    def apply(self, patch: Patch) -> None:
        """Make the changes of `patch`."""
        for table, key, value in patch:
            if value is None:
                self.tables[table].pop(key, None)
            else:
                self.tables[table][key] = value


# --- live --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CheckLive:
    """What is shown of a check, and how it is getting there.

    status, reason, detail: as shown.  since: since when, in seconds since 1970 UTC.
    window: severities of the latest usable results, newest last; unknowns: how many unknown ones in a row.
    agreed: a result since the engine's start has agreed with the recorded status, so that it may be shown.
    at, latency, facts, phases: of the last observation; requested, finished, due: monotonic seconds.
    raw: the last observation's own status, before thresholds.  bad_since: when the first result came in that was not
        good, None since a good one.
    flaps: one bit for each of the latest decided results, the newest lowest: whether it changed the confirmed status.
    """

    status: Status = Status.UNKNOWN
    reason: Reason | None = Reason.STARTING
    detail: str = ""
    since: float = 0.0
    window: tuple[int, ...] = ()
    unknowns: int = 0
    agreed: bool = False
    raw: Status = Status.UNKNOWN
    raw_reason: Reason | None = None
    raw_detail: str = ""
    at: float | None = None
    latency: float | None = None
    facts: Mapping[str, Any] = field(default_factory=nothing)
    phases: Mapping[str, float] = field(default_factory=nothing)
    requested: float = 0.0
    finished: float = 0.0
    due: float = 0.0
    runs: int = 0
    flaps: int = 0
    bad_since: float | None = None


@dataclass(frozen=True, slots=True)
class ComponentLive:
    """A component's health as it follows from its checks right now.

    unread: how many reads of its switch's mechanism have failed in a row.
    both: the names that the latest read saw serving at once, () for one or none, None as long as nothing was read;
        both_reads: in how many reads in a row.
    """

    status: Status = Status.UNKNOWN
    reason: Reason | None = Reason.STARTING
    cause: str = ""
    since: float = 0.0
    redundancy: str = "none"
    providers: Mapping[str, Status] = field(default_factory=nothing)
    unread: int = 0
    both: tuple[str, ...] | None = None
    both_reads: int = 0


@dataclass(frozen=True, slots=True)
class SwitchLive:
    """Progress of a switch in flight. Monotonic seconds.

    acted: nothing that was requested before counts.  deadline: when the verification has to say what it knows.
    awaited: id of the action whose answer is awaited.  due: when the present state should be over; long after it,
        somebody may take the switch over.
    hits, truth, seen: samples in a row, what they say, and the evidence, by fact ("A", "B", "C") or verify check.
    asked: when the next sample of a check is due, so that its samples make one chain and not a tree.
    doubt: what the action answered, where that leaves open whether it took effect; "" where it does not.
    """

    acted: float = 0.0
    deadline: float = 0.0
    awaited: str = ""
    due: float = 0.0
    hits: Mapping[str, int] = field(default_factory=nothing)
    truth: Mapping[str, Truth] = field(default_factory=nothing)
    seen: Mapping[str, str] = field(default_factory=nothing)
    asked: Mapping[str, float] = field(default_factory=nothing)
    doubt: str = ""


@dataclass(frozen=True, slots=True)
class AutoLive:
    """A component whose active provider is down, and that opsdash may switch by itself.

    since: monotonic seconds.  blocked: the rule that stood in the way when it was last looked at.  done: it was
        switched, or would have been; nothing more follows from this failure.
    """

    since: float
    blocked: str = ""
    done: bool = False


@dataclass(frozen=True, slots=True)
class PreflightLive:
    """Latest answer of an action's preflight; `passed` None: cannot tell. `at` is monotonic seconds."""

    passed: bool | None
    detail: str
    at: float
    credentials: bool | None = None


@dataclass(frozen=True, slots=True)
class AlarmLive:
    """Progress of an alarm that is held. Monotonic seconds.

    due: since when there has been something to alarm about.
    stale: what its own checks say is from a time that something else explains; they have to be asked again.
    recheck: only their results that were requested later count, once they are asked; `rechecked`: they have answered.
    asked: the parents have been asked, of whom only results that were requested after `due` count.
    deadline: until when the present question is waited for.
    look: when the rules are looked at again without a cause.
    """

    due: float
    stale: bool = False
    recheck: float | None = None
    rechecked: bool = False
    asked: bool = False
    deadline: float = 0.0
    look: float | None = None


@dataclass(frozen=True, slots=True)
class GroupLive:
    """When a channel is told next. Monotonic seconds.

    at: when what has changed by then is told, None while nothing has.  last: when the latest message was made.
    distance: seconds that the next one keeps from it; whatever changes later than that begins anew.
    storm: `at` keeps that distance.
    """

    at: float | None = None
    last: float | None = None
    distance: float = 0.0
    storm: bool = False


@dataclass(frozen=True, slots=True)
class RunLive:
    """Checks of a run that are to be executed one after the other, as long as each passes; for whom."""

    chain: tuple[BlockRef, ...]
    who: str


@dataclass(frozen=True, slots=True)
class EngineLive:
    """What the engine knows of itself.

    offline: most anchors do not answer.  anchors_at: when they were last asked because something failed.
    online_since: when opsdash was connected again after being offline.  grace_until: nothing new turns `down` until
        then.  All three in monotonic seconds.
    journal_error: why the journal cannot be written, "" while it can.
    """

    offline: bool = False
    anchors_at: float | None = None
    online_since: float = 0.0
    grace_until: float = 0.0
    journal_error: str = ""


@dataclass(frozen=True, slots=True)
class Pretended:
    """A check that a drill says something else of than what it measures. until: monotonic seconds.

    really_bad: results in a row that really were down.
    """

    run: str
    status: Status
    detail: str
    until: float
    really_bad: int = 0


@dataclass(frozen=True, slots=True)
class DrillLive:
    """Progress of a drill's run. Monotonic seconds.

    since: of its present state.  injected: since when its limit counts.  verified: since when service is,
        or what was to be noticed has been: from then on it holds.
    samples, dues: by steady check, how many results came in, and when the next is due; missing: slots without any.
    bad: the stop conditions that hold, as (place, since when).
    undone: what was answered to the undoing, None as long as nothing was; undone_at: when; by, detail, flaw: of that.
    refused: why the response, or the way back, could not be begun when that was last tried.
    loading: the load was started.
    """

    since: float
    injected: float | None = None
    verified: float | None = None
    samples: Mapping[str, int] = field(default_factory=nothing)
    dues: Mapping[str, float] = field(default_factory=nothing)
    missing: int = 0
    bad: tuple[tuple[int, float], ...] = ()
    undone: bool | None = None
    undone_at: float | None = None
    by: str = ""
    detail: str = ""
    flaw: str = ""
    refused: str = ""
    loading: bool = False


LIVE_TABLES = (
    "checks",
    "components",
    "switches",
    "alarms",
    "groups",
    "told",
    "sends",
    "ended",
    "auto",
    "autos",
    "preflights",
    "engine",
    "runs",
    "sessions",
    "readings",
    "drills",
    "pretended",
    "drill_windows",
)
"""`ended`: when the last switch that may have moved a component ended. `autos`, with the one key "autos": when opsdash
began switches by itself. `groups`: when a channel is told next. `told`: when a channel was last told or reminded of an
alarm, by the key of what it knows, and when the first was told, by the alarm's; "looking" while alarms are looked at
again and again. `sends`: when a channel tries again. `sessions`: since when each client's session listens.
`readings`: when the newest reading that was heard of each mechanism was asked for, by component/what. All in monotonic
seconds. `pretended` is by check. `drill_windows`, by drill: until when it may be begun, in seconds since 1970 UTC.
"""


@dataclass(slots=True)
class Live:
    """What may be lost with the process: streaks, latencies, last observations, progress."""

    tables: dict[str, dict[str, Any]] = field(default_factory=lambda: {name: {} for name in LIVE_TABLES})

    def get(self, table: str, key: str) -> Any:
        """The value under `key`, None where there is none."""
        return self.tables[table].get(key)

    def apply(self, patch: Patch) -> None:
        """Make the changes of `patch`."""
        for table, key, value in patch:
            if value is None:
                self.tables[table].pop(key, None)
            else:
                self.tables[table][key] = value
