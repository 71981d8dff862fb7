"""What a client sees of components: a row of the wall, and everything about one."""

from __future__ import annotations

from typing import Any, TypedDict

from opsdash.model.alarm_views import AlarmView
from opsdash.model.cover_views import AloneView, DeedView
from opsdash.model.incident_views import IncidentView
from opsdash.model.switch_views import AutoView, SwitchView
from opsdash.model.window_views import WindowLine, WindowView


class WallRow(TypedDict):
    """One component on the wall: small, since it is sent whenever it changes.

    spark: latencies of the last 12 runs in ms, None for a failed one. redundancy: ready | lost | unknown | none.
    proof_at: when the best backup was last proved, proof: "fresh" | "old" | "changed" | "never" | "none" (no backup).
    badge: whether one key would work now: "ready" | "stale" | "not ready" | "unknown" | "none" (nothing to switch to).
    dropped: titles of the features that users do without, since the degraded mode that is in force gives them up.
    failure: title of the first active failure mode, response: what was decided for it, hint: the key for it and words.
    switch: state of the switch in flight, None when none is.  overdue: things whose review time has passed.
    explained_by: parents that are down.  covered: an owner is present (True also when none is declared: see owners).
    alarm: "" | raised | held, and in `held` why.  windows: maintenance and freezes over it.
    flapping: percentage of changes of the check that changes most, None if none flaps.
    """

    id: str
    title: str
    tier: str
    status: str
    reason: str | None
    cause: str
    since: float
    latency: float | None
    spark: list[float | None]
    active: str | None
    primary: str | None
    on_backup: bool
    mode: str | None
    dropped: list[str]
    redundancy: str
    proof: str
    proof_at: float | None
    badge: str
    failure: str | None
    failure_id: str | None
    response: str | None
    hint: str
    incident: str | None
    acknowledged: bool
    owners: list[str]
    covered: bool
    switch: str | None
    overdue: list[str]
    explained_by: list[str]
    alarm: str
    held: str
    windows: list[WindowLine]
    flapping: int | None
    problems: int
    removed: bool


class FeatureView(TypedDict):
    """A feature and whether it works: yes | no | unknown | dropped. `id` is component/feature."""

    id: str
    title: str
    tier: str
    component: str
    works: str


class CheckView(TypedDict):
    """One check. raw_*: the last observation before thresholds; streak: "2 of 3" while undecided, else ""."""

    id: str
    name: str
    provider: str | None
    kind: str
    status: str
    reason: str | None
    detail: str
    since: float
    at: float | None
    latency: float | None
    every: float
    raw_status: str
    raw_reason: str | None
    raw_detail: str
    streak: str
    facts: dict[str, Any]
    phases: dict[str, float]
    spark: list[float | None]
    flapping: int | None


class ProviderView(TypedDict):
    """One way to get the job done. proof: "fresh" | "old" | "changed" | "never".

    badge, badge_why: whether one key would lead here now, see WallRow; "none" for the one that serves.
    """

    id: str
    title: str
    name: str
    status: str
    active: bool
    primary: bool
    proof: str
    proof_at: float | None
    badge: str
    badge_why: str
    checks: list[CheckView]


class FailureView(TypedDict):
    """An entry of the register. near_misses: how often it was near, and did not happen; near_at: when it last was."""

    component: str
    id: str
    title: str
    detected_by: str
    response: str
    response_kind: str
    mode: str | None
    runbook: str | None
    rto: float | None
    active: bool
    since: float | None
    owners: list[str]
    proof: str
    proof_at: float | None
    gaps: list[str]
    near_misses: int
    near_at: float | None


class ModeView(TypedDict):
    """A degraded mode."""

    id: str
    title: str
    keeps: list[str]
    drops: list[str]
    in_force: bool
    since: float | None
    review_at: float | None
    proof: str
    proof_at: float | None
    off: str | None


class PersonView(TypedDict):
    """A person; until: end of the present absence.  on_duty: rotas by which the person is on duty now.

    did: what the person has done that still counts; among the owners of a component, with that one.
    away_from: when the next absence begins.  alone: what nobody else stands behind, from then on if there is one.
    """

    id: str
    name: str
    contact: str | None
    away: bool
    until: float | None
    left: bool
    owns: list[str]
    on_duty: list[str]
    did: list[DeedView]
    away_from: float | None
    alone: list[AloneView]


class ComponentDetail(TypedDict):
    """Everything about one component.

    keys: for failover, failback, degrade, restore, runbook: None when the key works, else why it does not.
    off: parts that a problem in the files switched off, with the reason.
    uncovered: nobody of the owners is there.  auto: where opsdash may switch it by itself.  blocked: in words, the
        latest switch that was wanted and not begun.
    """

    row: WallRow
    providers: list[ProviderView]
    checks: list[CheckView]
    features: list[FeatureView]
    failures: list[FailureView]
    modes: list[ModeView]
    owners: list[PersonView]
    uncovered: bool
    needs: list[tuple[str, str]]
    needed_by: list[tuple[str, str]]
    switch: SwitchView | None
    incident: IncidentView | None
    alarm: AlarmView | None
    windows: list[WindowView]
    flapping: int | None
    runbook: str | None
    off: dict[str, str]
    keys: dict[str, str | None]
    paused_until: float | None
    paused_by: str | None
    auto: AutoView | None
    blocked: str | None
    file: str
