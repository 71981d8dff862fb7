"""Pretending: while a drill lasts, a check is taken to say something else than what it measures.

The real check goes on all the time, and what it says is kept. What really fails wins at once: it is shown as it is,
without the mark of the drill, and when it is confirmed the drill is interrupted. What cannot be measured is shown as
unknown: a pretence covers no blindness. All of it is in memory only, so that it ends with the process, and it ends by
itself at the drill's limit.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from opsdash.core.drill_marks import PRETEND
from opsdash.model.effects import Poll
from opsdash.model.operation import ACTIVE
from opsdash.model.status import Reason, Status
from opsdash.model.world import Pretended

if TYPE_CHECKING:
    from opsdash.core.draft import Draft
    from opsdash.model.drill import DrillRun, Injection
    from opsdash.model.observation import Observation
    from opsdash.model.operation import CheckSpec

COVERED = frozenset({Status.OK, Status.DEGRADED})
"""Real results over which something else is pretended."""

CAN_BE_PRETENDED = frozenset({Status.DOWN, Status.DEGRADED, Status.UNKNOWN})


def begin(draft: Draft, run: DrillRun) -> None:
    """Pretend from now on what a run is to pretend."""
    until = draft.now.mono + run.drill.limit
    for injection in run.drill.injections:
        if injection.kind != PRETEND:
            continue
        for check in targets(draft, run, injection):
            said = str(injection.raw.get("detail", "")) or "pretended by a drill"
            draft.set_live("pretended", check, Pretended(run.id, _status(injection), said, until))


def _status(injection: Injection) -> Status:
    wanted = str(injection.raw.get("status", Status.DOWN.value))
    found = next((each for each in CAN_BE_PRETENDED if each.value == wanted), None)
    return Status.DOWN if found is None else found


def targets(draft: Draft, run: DrillRun, injection: Injection) -> list[str]:
    """The checks of which something is pretended: those that are named, else those by which the failure is noticed."""
    component = draft.component(run.component)
    if component is None:
        return []
    if injection.target:
        return _named(draft, injection.target)
    failure = component.failures.get(failure_id(run.drill.failure_mode))
    if failure is not None and failure.detected_by is not None and failure.detected_by.signals:
        names = (
            "/".join(part for part in (each.component, each.provider, each.check) if part)
            for each in failure.detected_by.signals
        )
        return list(dict.fromkeys(check for name in names for check in _named(draft, name)))
    return _named(draft, component.id)


def failure_id(name: str) -> str:
    """The id of a failure mode in its component's register, however it was written."""
    return name.rpartition("/")[2]


def _named(draft: Draft, name: str) -> list[str]:
    """The checks of a component, of one of its providers, or the one check of that name."""
    component, *rest = name.split("/")
    if rest and rest[0] == ACTIVE:
        rest[0] = draft.state(component).active or ACTIVE
    wanted = "/".join((component, *rest))
    return [check for check in draft.operation.checks if check == wanted or check.startswith(f"{wanted}/")]


def end(draft: Draft, run: str) -> None:
    """Pretend no longer, and measure at once."""
    for check in draft.live_keys("pretended"):
        if draft.live("pretended", check).run == run:
            draft.set_live("pretended", check, None)
            draft.effect(Poll(check))


def observed(draft: Draft, spec: CheckSpec, seen: Observation) -> Observation:
    """What a check is taken to say."""
    pretended: Pretended | None = draft.live("pretended", spec.id)
    if pretended is None:
        return seen
    if draft.now.mono >= pretended.until:
        draft.set_live("pretended", spec.id, None)
        return seen
    bad = seen.status is Status.DOWN
    count = pretended.really_bad + 1 if bad else pretended.really_bad if seen.status is Status.UNKNOWN else 0
    draft.set_live("pretended", spec.id, replace(pretended, really_bad=count))
    if seen.status not in COVERED:
        return seen
    detail = f"{pretended.detail} (really it is {seen.status.value})"
    return replace(seen, status=pretended.status, reason=Reason.PRETENDED, detail=detail)


def really_failing(draft: Draft, run: str) -> str:
    """The first check of which a run pretends something, and that is confirmed to really fail; "" for none."""
    for check in draft.live_keys("pretended"):
        pretended: Pretended = draft.live("pretended", check)
        spec = draft.operation.checks.get(check)
        if pretended.run == run and spec is not None and pretended.really_bad >= spec.down_after.hits:
            return check
    return ""
