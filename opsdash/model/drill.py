"""Drills, planned failures: what drills/*.yaml says of them, and what a drill's run has come to.

A drill breaks something on purpose (or pretends to), watches by opsdash's own checks what follows, undoes it, and
leaves evidence. What was broken is undone by a guard process of its own, also if opsdash dies; hence an injection
without undo, verification and time limit is no drill.

Durations are seconds; points in time are seconds since 1970 UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from opsdash.model.empty import nothing
from opsdash.model.status import Status

DAY = 86400.0

VALID_FOR = 100 * DAY
"""Seconds for which evidence counts: a quarterly drill (92 days at most) is then never late by design."""


class Level(StrEnum):
    """What a drill touches, from nothing to production; the next one builds on what the one before has shown.

    tabletop: nothing, the runbook is gone through with a clock.  synthetic: opsdash only, which pretends at the layer
    of the checks.  switch: the routing, a planned failover with a healthy primary and back.  contained: one component,
    by a proxy, a maintenance state or in staging.  real: production.
    """

    TABLETOP = "tabletop"
    SYNTHETIC = "synthetic"
    SWITCH = "switch"
    CONTAINED = "contained"
    REAL = "real"


LEVEL_ORDER: dict[Level, int] = {level: place for place, level in enumerate(Level)}

INJECTS = frozenset({Level.SYNTHETIC, Level.CONTAINED, Level.REAL})
"""Levels at which something is injected."""


class Responder(StrEnum):
    """Who gives the response that was decided for the failure mode: the people on duty, or opsdash in their place."""

    PEOPLE = "people"
    OPSDASH = "opsdash"


@dataclass(frozen=True, slots=True)
class Injection:
    """One fault: its kind and options as written, and those with which it is taken back.

    undo: None where the kind knows its own way back from `raw`.  target: the check, provider or component that is
    concerned, as `component[/provider[/check]]`, where the kind works at the layer of the checks. It may be a check of
    the component itself (`component/check`), which then is in `Operation.checks`; the provider `active` is who serves
    when the drill begins.
    """

    kind: str
    raw: Mapping[str, Any]
    undo: Mapping[str, Any] | None = None
    target: str = ""


@dataclass(frozen=True, slots=True)
class Load:
    """Work that a backup or degraded mode has to carry, not only a probe: a command or HTTP request, again and again.

    kind, raw: an action (`command` or `http`) and its options.  times: how often in all, over so many seconds.
    failures: how many of them may fail.
    """

    kind: str
    raw: Mapping[str, Any]
    times: int
    over: float
    failures: int = 0


@dataclass(frozen=True, slots=True)
class Expect:
    """What has to come true for a drill to pass; what is not named is measured and not judged.

    detect: from the fault to the incident.  acknowledge: from there to a person.  recover: from the fault to verified
    service; without it the failure mode's RTO.
    unaffected: components whose status must not change.  mode: the degraded mode that must really serve.
    mode: of another component as `component/mode`.
    alarm: a message about it was delivered.  runbook: a run of its runbook was closed with every step marked.
    """

    detect: float | None = None
    acknowledge: float | None = None
    recover: float | None = None
    unaffected: tuple[str, ...] = ()
    mode: str | None = None
    alarm: bool = False
    runbook: bool = False
    load: Load | None = None


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a drill is due: by the calendar (`cron`), or so long after its latest evidence (`every`).

    windows: in which it may be begun, none: any time. Names of the workspace's windows, or times of the week as written
    (`model.week`), which contain a colon and so are no names. With windows alone it is begun by hand.
    remind: so many seconds before it is due, its owner is reminded.
    """

    cron: str = ""
    every: float | None = None
    timezone: str = "UTC"
    windows: tuple[str, ...] = ()
    remind: tuple[float, ...] = (7 * DAY, DAY)


@dataclass(frozen=True, slots=True)
class StopIf:
    """A component is as bad as that for so long: the drill is stopped and undone.

    check: it is this check of the component that counts, and not the component; one of whoever serves as
    `component/active/check`.
    """

    component: str
    status: Status = Status.DOWN
    lasts: float = 0.0
    check: str = ""


@dataclass(frozen=True, slots=True)
class Drill:
    """One drill, as its file says.

    failure_mode: id in the component's register; "" for a switch that answers none.  to: the provider or degraded mode
    it leads to, None: as the response says.
    absent: people who may not help.  surprise: it comes at any time within so many seconds of its date.
    steady: checks that must be ok before it begins, and be sampled while it lasts.  verify_undone: checks that must be
    ok after the fault was taken back.  limit: seconds from the fault until the guard takes it back, whatever happens.
    hold: seconds for which the backup serves before it is gone back.  stop_if: besides a real incident, which always
    interrupts it.  approvals: how many people it takes.  sha256: of the file's content; `off`: why it cannot be run.
    """

    id: str
    title: str
    component: str
    failure_mode: str = ""
    level: Level = Level.TABLETOP
    owner: str = ""
    runbook: str | None = None
    to: str | None = None
    responder: Responder = Responder.PEOPLE
    schedule: Schedule | None = None
    absent: tuple[str, ...] = ()
    surprise: float | None = None
    expect: Expect = Expect()
    steady: tuple[str, ...] = ()
    injections: tuple[Injection, ...] = ()
    verify_undone: tuple[str, ...] = ()
    limit: float = 600.0
    hold: float = 0.0
    stop_if: tuple[StopIf, ...] = ()
    approvals: int = 1
    valid_for: float = VALID_FOR
    file: str = ""
    sha256: str = ""
    off: str = ""


class DrillState(StrEnum):
    """Where a drill's run is.

    arming: the guard writes down the way back.  injecting: the fault is being made.  running: it is there, or
    pretended, or the drill has none.  undoing: it is being taken back and that is verified.  restoring: service goes
    back to the primary.  ended: there is a verdict.
    """

    ARMING = "arming"
    INJECTING = "injecting"
    RUNNING = "running"
    UNDOING = "undoing"
    RESTORING = "restoring"
    ENDED = "ended"


FAULT_MAY_BE_IN_PLACE = frozenset({DrillState.INJECTING, DrillState.RUNNING, DrillState.UNDOING})
"""States in which something may be broken, on purpose, right now."""


class Verdict(StrEnum):
    """How a drill ended.

    passed: everything that was expected came true in time.  late: it did, after its time.  failed: it did not, or was
    not recovered.  aborted: a person or a stop condition ended it.  interrupted: something really failed.
    inconclusive: samples are missing, so nobody knows.
    """

    PASSED = "passed"
    LATE = "late"
    FAILED = "failed"
    ABORTED = "aborted"
    INTERRUPTED = "interrupted"
    INCONCLUSIVE = "inconclusive"


PROVES = frozenset({Verdict.PASSED, Verdict.LATE})
"""Verdicts after which what was drilled counts as proved: it works, if not in time."""


SAYS_NOTHING = frozenset({Verdict.ABORTED, Verdict.INTERRUPTED, Verdict.INCONCLUSIVE})
"""Verdicts that show nothing, neither that it works nor that it does not."""


@dataclass(frozen=True, slots=True)
class DrillTimes:
    """When what happened, as the journal has it; None: not (yet)."""

    injected: float | None = None
    first_bad: float | None = None
    opened: float | None = None
    acknowledged: float | None = None
    decided: float | None = None
    switched: float | None = None
    verified: float | None = None
    undone: float | None = None
    restored: float | None = None


@dataclass(frozen=True, slots=True)
class Goal:
    """Where the response leads: to another provider of a component, or (`degrades`) into a degraded mode of it.

    target: provider or mode, None: as a plan will say.
    """

    component: str
    target: str | None = None
    degrades: bool = False


@dataclass(frozen=True, slots=True)
class DrillRun:
    """One run of a drill.

    drill: as it was when it began.  cause: `person`, or `schedule` with the time it was due (`due`).
    switches: ids of the switches that belong to it.  affected: components that were to stay as they were, and changed.
    samples, missing: results of the steady checks, and slots without any.  load: runs of the load, and how many failed.
    undone: whether the fault was verified to be gone; None: not known (yet).  undo_by: `engine`, `guard`, or a person.
    stopped: why it was ended before its time.  hashes: of what it proves: `component`, `runbook`, `drill`.
    why: what the verdict rests on, one sentence each.
    """

    id: str
    drill: Drill
    state: DrillState
    who: str
    started_at: float
    cause: str = "person"
    due: float | None = None
    approved_by: str | None = None
    ended_at: float | None = None
    times: DrillTimes = DrillTimes()
    incident: str | None = None
    switches: tuple[str, ...] = ()
    affected: tuple[str, ...] = ()
    samples: int = 0
    missing: int = 0
    load: tuple[int, int] = (0, 0)
    undone: bool | None = None
    undo_by: str = ""
    stopped: str = ""
    verdict: Verdict | None = None
    why: tuple[str, ...] = ()
    hashes: Mapping[str, str] = field(default_factory=nothing)
    goal: Goal | None = None
    rto: float | None = None
    reason: str = ""
    overrides: tuple[str, ...] = ()
    status: Status = Status.UNKNOWN
    faulty: bool = False
    stopped_as: Verdict | None = None
    real: bool = False
    failed: tuple[str, ...] = ()
    runbook_run: str | None = None
    mode_at: float | None = None
    alarmed_at: float | None = None
    runbook_at: float | None = None
    load_at: float | None = None
    recovered: bool | None = None
    target: str = ""
    note: str = ""
    history: tuple[tuple[float, str], ...] = ()

    @property
    def component(self) -> str:
        """The component that is drilled."""
        return self.drill.component

    @property
    def is_open(self) -> bool:
        """Whether it goes on."""
        return self.state is not DrillState.ENDED


class Sight(StrEnum):
    """What is seen while a drill runs, and noted as it comes."""

    FIRST_BAD = "the first bad result"
    OPENED = "the incident was opened"
    ACKNOWLEDGED = "a person looks after it"
    DECIDED = "the response was begun"
    BACK = "the way back was begun"
    SWITCHED = "the switch has been carried out"
    VERIFIED = "service was verified"
    MODE = "the degraded mode serves"
    ALARMED = "a message about it was delivered"
    RUNBOOK = "the runbook was opened"
    FOLLOWED = "the runbook was closed, every step marked"
    AFFECTED = "a component that was to stay as it was has changed"
    FAILED = "something went wrong"


@dataclass(frozen=True, slots=True)
class DrillEvidence:
    """What is left of a run when it has ended: enough to say whether it still counts. Times as in `DrillRun`.

    at: when it ended.  took: seconds from the fault to verified service, 0 where there is no such thing.
    """

    run: str
    drill: str
    component: str
    level: Level
    at: float
    verdict: Verdict
    hashes: Mapping[str, str] = field(default_factory=nothing)
    valid_for: float = VALID_FOR
    who: str = ""
    took: float = 0.0


@dataclass(frozen=True, slots=True)
class DrillPast:
    """The latest evidence of a drill, the latest that proves something, and a failure that came after that."""

    latest: DrillEvidence
    proved: DrillEvidence | None = None
    failed: DrillEvidence | None = None


@dataclass(frozen=True, slots=True)
class FaultLeft:
    """A fault that was made on purpose, of which nobody has verified that it is gone.

    detail: what is known of it, and how it is taken back by hand.
    """

    run: str
    drill: str
    component: str
    since: float
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Lever:
    """New drills are blocked until somebody allows them again."""

    at: float
    who: str
    reason: str


@dataclass(frozen=True, slots=True)
class DrillDue:
    """When a drill is due next, and what was done about that.

    starts: when it begins by itself (a surprise), None where a person begins it.  claimed: the run that it led to.
    reminded: the reminders that were given, by their names.  overdue: that it is has been said.
    missed: why the latest due time before this one led to no run, "" if it did.  missed_at: which that was.
    set_at: when it was set.
    """

    due: float
    starts: float | None = None
    claimed: str = ""
    reminded: tuple[str, ...] = ()
    overdue: bool = False
    missed: str = ""
    missed_at: float | None = None
    set_at: float = 0.0


@dataclass(frozen=True, slots=True)
class DrillDate:
    """What the calendar says of a drill: when it is due, None for never; and until when it may be begun now.

    open_until: end of the window that is open now, None where none is or it has no windows.  starts: when a surprise
    begins by itself.
    """

    drill: str
    due: float | None
    open_until: float | None = None
    starts: float | None = None


@dataclass(frozen=True, slots=True)
class DrillPlan:
    """What a drill would do now, and what speaks against it. Nothing has happened yet.

    latest: id of its latest run, "" for none; whoever begins it names that.  goal: where its response leads.
    steps: what is done, in order; undo: what takes it back; expects: what has to come true; touches: what may fail by
    it, as sentences.  guards: see `core.drill_guards`.  typed: the component's name has to be typed.
    """

    drill: Drill
    latest: str
    goal: Goal | None
    steps: tuple[str, ...]
    undo: tuple[str, ...]
    expects: tuple[str, ...]
    touches: tuple[str, ...]
    guards: tuple[Any, ...]
    typed: bool = False
