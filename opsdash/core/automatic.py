"""Switching without a person: never by default; in shadow, to learn whether it would do what people do; or always.

It takes a failure mode whose response is `switch`, and an active provider that has been down for the hold time (30 s by
default: a blip of 43 s once moved a large site's databases across a continent). Then every guard has to pass, since
nobody is there to read a warning, opsdash has to know that it is not itself offline, and the new side must have been
proved lately. At most one such switch is in flight, and two an hour are begun over all components. When the outcome of
one is not known, opsdash does none any more until a person lets it.

What stands in the way is recorded, once for each reason, and looked at again every ten seconds while it still fails.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from opsdash.core import planning, switching
from opsdash.core.drill_marks import breaks, marked, open_run
from opsdash.core.outcomes import LIVE_STATES
from opsdash.core.reader import OPSDASH
from opsdash.model.effects import CancelTimer, SetTimer
from opsdash.model.inputs import SwitchIntent
from opsdash.model.operation import Auto, ResponseKind
from opsdash.model.records import AutoResumed, AutoStopped, ShadowScored, SwitchBlocked, SwitchEnded, WouldSwitch
from opsdash.model.status import Status
from opsdash.model.switch import GuardResult, Plan, Refused, SwitchCause, SwitchKind, SwitchState
from opsdash.model.world import AutoLive

if TYPE_CHECKING:
    from opsdash.core.draft import Draft
    from opsdash.model.inputs import ResumeAutoIntent
    from opsdash.model.operation import Component
    from opsdash.model.switch import Switch
    from opsdash.model.world import Shadow

LOOK_AGAIN = 10.0
"""Seconds after which what stood in the way is looked at again."""

PER_HOUR = 2
"""Switches that opsdash begins by itself within an hour, over all components."""

HOUR = 3600.0

GOOD_ENDS = frozenset({SwitchState.COMMITTED, SwitchState.ABORTED, SwitchState.REFUSED})
"""Outcomes that are known: it took effect, or nothing was done."""

AGREED, DIFFERED, NOT_NEEDED = "agreed", "differed", "not needed"


def watch(draft: Draft) -> None:
    """Notice where an active provider has begun to be down, or no longer is."""
    for component_id in sorted(draft.touched):
        component = draft.operation.components.get(component_id)
        if component is None or component.switch is None:
            continue
        _score_people(draft, component)
        if component.switch.auto is Auto.NEVER:
            continue
        live: AutoLive | None = draft.live("auto", component_id)
        failing = _is_failing(draft, component)
        if failing and live is None:
            draft.set_live("auto", component_id, AutoLive(draft.now.mono))
            draft.effect(SetTimer(("auto", component_id), draft.now.mono + component.switch.hold))
        elif not failing and live is not None:
            draft.set_live("auto", component_id, None)
            draft.effect(CancelTimer(("auto", component_id)))
            _score(draft, component_id, NOT_NEEDED)


def _is_failing(draft: Draft, component: Component) -> bool:
    """Whether what was decided is to switch, and the active provider is confirmed to be down."""
    state = draft.state(component.id)
    active = {failure for failure, _ in state.failures}
    decided = any(
        failure.id in active and failure.response.kind is ResponseKind.SWITCH for failure in component.failures.values()
    )
    status = draft.health(component.id).providers.get(state.active or "")
    return decided and status is Status.DOWN and state.active == component.primary


def consider(draft: Draft, component_id: str) -> None:
    """The hold time is over: switch, say that it would have been done, or say why not."""
    component = draft.operation.components.get(component_id)
    live: AutoLive | None = draft.live("auto", component_id)
    if component is None or component.switch is None or live is None or not _is_failing(draft, component):
        return
    if component.switch.auto is Auto.NEVER or live.done:
        return
    plan = planning.plan(draft, component_id, SwitchKind.FAILOVER, None)
    obstacle = _drilled(draft, component, component.switch.auto) or _obstacle(draft, plan)
    if obstacle is not None:
        _blocked(draft, component_id, plan, obstacle)
        draft.effect(SetTimer(("auto", component_id), draft.now.mono + LOOK_AGAIN))
        return
    assert isinstance(plan, Plan)  # noqa: S101 - without one there is an obstacle
    draft.set_live("auto", component_id, replace(live, done=True))
    if component.switch.auto is Auto.SHADOW:
        draft.emit(WouldSwitch(draft.now.wall, component_id, plan.source, plan.target, plan.reason))
        draft.touch(component_id)
        return
    _begin(draft, plan)


def _begin(draft: Draft, plan: Plan) -> None:
    intent = SwitchIntent(
        component=plan.component,
        kind=plan.kind,
        generation=plan.generation,
        source=plan.source,
        target=plan.target,
        reason=plan.reason,
    )
    answer = switching.intend(draft, OPSDASH, intent, SwitchCause.AUTO)
    if not isinstance(answer, Refused):
        draft.set_live("autos", "autos", (*_recent(draft), draft.now.mono))


def _recent(draft: Draft) -> tuple[float, ...]:
    """When opsdash began a switch by itself within the last hour, on the monotonic clock."""
    found: tuple[float, ...] = draft.live("autos", "autos") or ()
    return tuple(at for at in found if draft.now.mono - at < HOUR)


def _drilled(draft: Draft, component: Component, auto: Auto) -> Refused | None:
    """A pretended failure switches nothing by itself, and a planned one says nothing about what people would do.

    Where opsdash may switch by itself, a fault that a drill really makes is for it to answer, like any other.
    """
    run = open_run(draft)
    if run is None or component.id not in marked(draft):
        return None
    if not breaks(run.drill):
        return Refused("drill", f"{run.id} only pretends that it fails")
    if auto is Auto.SHADOW:
        return Refused("drill", f"{run.id} makes it fail, and what people do then was decided before")
    return None


def _obstacle(draft: Draft, plan: Plan | Refused) -> Refused | None:
    """What stands in the way, None if nothing does."""
    stopped = draft.life().auto_stopped
    if stopped:
        return Refused("auto_stopped", f"opsdash no longer switches by itself: {stopped}")
    if not draft.operation.anchors:
        return Refused("anchors", "no anchors are declared, so nobody can tell whether opsdash is itself offline")
    if draft.engine().offline or draft.now.mono < draft.engine().grace_until:
        return Refused("online", "opsdash is offline, or has been until just now")
    for key in draft.live_keys("switches"):
        other: Switch | None = draft.get("switches", key)
        if other is not None and other.cause is SwitchCause.AUTO and other.state in LIVE_STATES:
            return Refused("one_at_a_time", f"opsdash is switching {other.plan.component} at this moment")
    if len(_recent(draft)) >= PER_HOUR:
        return Refused("per_hour", f"{PER_HOUR} switches were begun within the last hour")
    if isinstance(plan, Refused):
        return plan
    found = next((guard for guard in plan.guards if guard.result is not GuardResult.PASS), None)
    return None if found is None else Refused(found.rule, f"{found.title}: {found.evidence}")


def _blocked(draft: Draft, component: str, plan: Plan | Refused, obstacle: Refused) -> None:
    """Record what stands in the way, unless that was the last word about it."""
    live: AutoLive = draft.live("auto", component)
    if obstacle.rule == live.blocked:
        return
    target = plan.target if isinstance(plan, Plan) else ""
    draft.set_live("auto", component, replace(live, blocked=obstacle.rule))
    draft.emit(
        SwitchBlocked(
            draft.now.wall,
            component,
            SwitchKind.FAILOVER,
            target,
            OPSDASH,
            obstacle.rule,
            obstacle.reason,
            cause=SwitchCause.AUTO,
        )
    )
    draft.touch(component)


# --- what became of it ----------------------------------------------------------------------------------------------


def ended(draft: Draft) -> None:
    """When a switch of its own did not end well, opsdash does none any more until a person lets it."""
    for record in [each for each in draft.records if isinstance(each, SwitchEnded)]:
        switch: Switch | None = draft.get("switches", record.switch)
        own = switch is not None and switch.cause is SwitchCause.AUTO and record.who is None
        if own and record.state not in GOOD_ENDS and not draft.life().auto_stopped:
            why = f"{record.switch} ended {record.state.value}"
            draft.emit(AutoStopped(draft.now.wall, record.component, why))
            draft.touch(record.component)


def resume(draft: Draft, who: str, intent: ResumeAutoIntent) -> Refused | None:
    """A person lets opsdash switch by itself again."""
    if not draft.life().auto_stopped:
        return Refused("state", "opsdash has not stopped switching by itself")
    if not intent.reason.strip():
        return Refused("reason", "this needs a reason: what was wrong, and why is it no longer?", "--reason TEXT")
    stopped_by = draft.life().auto_stopped_by
    draft.emit(AutoResumed(draft.now.wall, who, intent.reason.strip()))
    draft.touch(stopped_by)
    return None


def recover(draft: Draft) -> None:
    """After a start: how long ago opsdash began switches by itself, as far as the wall clock tells."""
    ages = (max(0.0, draft.now.wall - at) for at in draft.life().autos)
    draft.set_live("autos", "autos", tuple(draft.now.mono - age for age in ages if age < HOUR))


# --- in shadow ------------------------------------------------------------------------------------------------------


def _score_people(draft: Draft, component: Component) -> None:
    """Compare what opsdash would have done with what a person did."""
    shadow: Shadow | None = draft.get("shadows", component.id)
    switch = draft.switch(component.id)
    if shadow is None or shadow.target is None or switch is None or switch.intended_at < shadow.at:
        return
    if switch.plan.kind is SwitchKind.FAILOVER and switch.cause is SwitchCause.PERSON:
        _score(draft, component.id, AGREED if switch.plan.target == shadow.target else DIFFERED)


def _score(draft: Draft, component: str, verdict: str) -> None:
    shadow: Shadow | None = draft.get("shadows", component)
    if shadow is not None and shadow.target is not None:
        draft.emit(ShadowScored(draft.now.wall, component, verdict))


def score_words(shadow: Shadow) -> str:
    """What opsdash would have done by itself, beside what people did."""
    times = "once" if shadow.would == 1 else f"{shadow.would} times"
    parts = [
        f"{count} {words}"
        for count, words in (
            (shadow.agreed, "as people did"),
            (shadow.differed, "elsewhere than people did"),
            (shadow.not_needed, "not needed"),
        )
        if count
    ]
    return f"would have switched {times}" + (f": {', '.join(parts)}" if parts else "")
