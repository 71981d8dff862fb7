"""Records of what was found to be so: statuses, redundancy, what is in force, failure modes, heartbeats, reviews."""

from __future__ import annotations

from dataclasses import dataclass

from opsdash.model.status import Reason, Status


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
class ReviewPassed:
    """Something that carries a review time was forgotten: being on the backup, a degraded mode."""

    at: float
    component: str
    what: str
    since: float


@dataclass(frozen=True, slots=True)
class ReadinessNoted:
    """The operation's readiness on that day, and how many gaps there were: one a day, so that a trend can be seen."""

    at: float
    score: int
    gaps: int


StatusRecord = (
    CheckChanged
    | ComponentChanged
    | RedundancyChanged
    | ActiveChanged
    | ModeSeen
    | FailureActive
    | FailureCleared
    | FlappingBegan
    | FlappingEnded
    | HeartbeatReceived
    | ReviewPassed
    | ReadinessNoted
)
