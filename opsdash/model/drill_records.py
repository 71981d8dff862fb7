"""Records of drills: begun, gone on, what was seen, taken back, ended; when they are due; and the lever."""

from __future__ import annotations

from dataclasses import dataclass

from opsdash.model.drill import DrillRun, DrillState, Sight, Verdict


@dataclass(frozen=True, slots=True)
class DrillStarted:
    """A drill begins: everything that it will do, before anything is touched. It claims `run.due`, where it has one."""

    at: float
    run: DrillRun


@dataclass(frozen=True, slots=True)
class DrillAdvanced:
    """A run went on to `state`.

    stopped, stopped_as: why it was ended before its time, and the verdict that it can at best have by that.
    real: the component really fails.
    """

    at: float
    run: str
    component: str
    state: DrillState
    detail: str = ""
    stopped: str = ""
    stopped_as: Verdict | None = None
    real: bool = False


@dataclass(frozen=True, slots=True)
class DrillSaw:
    """Something was seen that a run is judged by. subject: the incident, switch, check, message or component.

    moment: when it was, where that is not now.
    """

    at: float
    run: str
    component: str
    what: Sight
    subject: str = ""
    moment: float | None = None


@dataclass(frozen=True, slots=True)
class DrillUndone:
    """The fault was taken back, or not. verified: whether that was shown; None: nobody can tell.

    by: `engine`, `guard`, or a person.
    """

    at: float
    run: str
    component: str
    verified: bool | None
    by: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class DrillLoaded:
    """The declared load was carried: it ran so many times, of which so many failed."""

    at: float
    run: str
    component: str
    times: int
    failed: int
    detail: str = ""


@dataclass(frozen=True, slots=True)
class DrillEnded:
    """A run has its verdict; `run` has everything that it rests on."""

    at: float
    run: DrillRun


@dataclass(frozen=True, slots=True)
class DrillFaultFound:
    """At its start the engine has found a fault that may still be in place. detail: what takes it back by hand."""

    at: float
    run: str
    drill: str
    component: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class DrillFaultGone:
    """A person states that a fault which nobody could verify to be gone is gone."""

    at: float
    run: str
    component: str
    who: str
    reason: str


@dataclass(frozen=True, slots=True)
class DrillsHalted:
    """The lever: everything is undone, and no drill begins until somebody allows it."""

    at: float
    who: str
    reason: str


@dataclass(frozen=True, slots=True)
class DrillsAllowed:
    """Drills may begin again."""

    at: float
    who: str
    reason: str


@dataclass(frozen=True, slots=True)
class DrillApprovalAsked:
    """A person wants a drill that takes two; a second one who begins the same until `until` lets it happen."""

    at: float
    drill: str
    component: str
    who: str
    until: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class DrillDueSet:
    """When a drill is due next; None: it has no date. starts: when it begins by itself, as a surprise."""

    at: float
    drill: str
    component: str
    due: float | None
    starts: float | None = None


@dataclass(frozen=True, slots=True)
class DrillReminded:
    """Its owner was reminded that a drill is due, or (`proof`) that its evidence will soon no longer count."""

    at: float
    drill: str
    component: str
    due: float
    name: str
    who: str = ""


@dataclass(frozen=True, slots=True)
class DrillOverdue:
    """A drill is due, and nobody has begun it. why: what is known of that."""

    at: float
    drill: str
    component: str
    due: float
    why: str = ""


@dataclass(frozen=True, slots=True)
class DrillMissed:
    """A due time went by and led to no run."""

    at: float
    drill: str
    component: str
    due: float
    why: str


DrillRecord = (
    DrillStarted
    | DrillAdvanced
    | DrillSaw
    | DrillUndone
    | DrillLoaded
    | DrillEnded
    | DrillFaultFound
    | DrillFaultGone
    | DrillsHalted
    | DrillsAllowed
    | DrillApprovalAsked
    | DrillDueSet
    | DrillReminded
    | DrillOverdue
    | DrillMissed
)
