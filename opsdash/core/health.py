"""From observations to statuses: thresholds for a check, tables for providers and components.

A check has a *confirmed* status (in the world, journaled) and a *shown* one (live). They differ while opsdash cannot
vouch for the confirmed one: after a start until a first result agrees with it, after two unknown results in a row,
after a jump of the clock, when results stop coming. Then `unknown` is shown. Unknown neither advances nor resets a
streak, and nothing that acts on "down" acts on unknown.

Rules, in DESIGN's words: a component with checks of its own has the worst of them (down > unknown > degraded > ok),
and is at least `degraded` while the active provider is down or degraded; without checks of its own it is the worst of
the active provider's. A standby never lowers the status, it sets the redundancy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from opsdash.core import alarms, changes, drill_overlay, failures, flapping, incidents, nearmisses
from opsdash.core.reader import OPSDASH
from opsdash.core.redundancy import NO_BACKUP, UNCERTAIN, redundancy_of
from opsdash.model.effects import CancelTimer, Poll, SetTimer, SuspendPolling
from opsdash.model.operation import ANCHORS, Tier
from opsdash.model.records import CheckChanged, ClockMoved, ComponentChanged, Paused, RedundancyChanged, Resumed
from opsdash.model.status import SEVERITY, Reason, Status, worst
from opsdash.model.switch import Refused
from opsdash.model.world import CheckLive, CheckState, ComponentLive

if TYPE_CHECKING:
    from opsdash.core.draft import Draft
    from opsdash.model.inputs import ClockJumped, Observed, Overdue, PauseIntent, ResumeIntent
    from opsdash.model.observation import Observation
    from opsdash.model.operation import CheckSpec, Component

SHOW_UNKNOWN_AFTER = failures.TWICE
"""Unknown results in a row after which unknown is shown."""

BLIND_AFTER = 300.0
"""Seconds of unknown after which an essential or important component opens an incident: we are blind."""

ANCHOR_CACHE = 30.0
"""Seconds for which an answer of the anchors is believed when something fails."""

HELD_RETRY = 2.0
"""Seconds after which a failure that waits for the anchors is tried again, if its check is not due earlier."""

UNREAD_AFTER = 2
"""Reads of a mechanism in a row that have to fail before it is not known who serves."""

OFFLINE_GRACE = 10.0
"""Seconds after coming back online during which nothing new turns down."""

RETRY_SHARE = 4
RETRY_AT_LEAST = 1.0
"""Undecided checks are tried again after a quarter of `every`, at least 1 s."""

BY_SEVERITY = {SEVERITY[status]: status for status in (Status.OK, Status.DEGRADED, Status.DOWN)}


# --- one check -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Judged:
    """What an observation means: how the check is shown, whether a status was confirmed, whether to try again soon."""

    live: CheckLive
    confirmed: CheckState | None
    undecided: bool


def judge(
    spec: CheckSpec,
    live: CheckLive,
    confirmed: CheckState | None,
    seen: Observation,
    *,
    offline: bool = False,
    hold: bool = False,
) -> Judged:
    """Apply the check's thresholds to one more observation.

    offline: failures mean nothing now.  hold: failures count, but none is confirmed by this very result.

    A streak that made things worse goes on after it was confirmed, so that `degraded` on the way delays no `down`;
    one that made them better is used up, so that old failures count for nothing.
    """
    raw, reason = seen.status, seen.reason
    if offline and raw is Status.DOWN:
        raw, reason = Status.UNKNOWN, Reason.OFFLINE
    if raw is Status.UNKNOWN:
        return _judge_unknown(live, confirmed, seen, reason)
    severity = SEVERITY[raw]
    keep = max(spec.down_after.of, spec.up_after)
    window = (*live.window, severity)[-keep:]
    was = confirmed.status if confirmed is not None else Status.OK
    decided = None if hold and severity > SEVERITY[was] else _decide(spec, window, SEVERITY[was])
    if confirmed is None and decided is None and severity == SEVERITY[Status.OK]:
        decided = severity
    after = confirmed
    if decided is not None:
        window = window if decided > SEVERITY[was] else _still_better(window, decided)
        after = CheckState(BY_SEVERITY[decided], seen.at, reason, seen.detail)
    agrees = after is not None and SEVERITY[after.status] == severity
    agreed = after is not None and (live.agreed or agrees or decided is not None)
    status = after.status if after is not None and agreed else Status.UNKNOWN
    if not agreed:
        shown_reason, detail = Reason.STARTING if not live.runs else live.reason, seen.detail
    elif agrees or decided is not None:
        shown_reason, detail = reason or live.raw_reason, seen.detail
    else:
        shown_reason, detail = live.reason, live.detail
    if agreed and status is Status.OK:
        shown_reason = None
    changed = decided is not None and decided != SEVERITY[was] and confirmed is not None
    return Judged(
        live=_shown(
            live,
            seen,
            raw=raw,
            raw_reason=reason,
            status=status,
            reason=shown_reason,
            detail=detail,
            window=window,
            unknowns=0,
            agreed=agreed,
            flaps=flapping.pushed(live.flaps, changed=changed) if agrees or changed else live.flaps,
        ),
        confirmed=after if decided is not None else None,
        undecided=not agrees,
    )


def _still_better(window: tuple[int, ...], decided: int) -> tuple[int, ...]:
    """The results at the end of the window that are better than what was decided: they lead on from there."""
    count = 0
    while count < len(window) and window[-1 - count] < decided:
        count += 1
    return window[len(window) - count :]


def _judge_unknown(live: CheckLive, confirmed: CheckState | None, seen: Observation, reason: Reason | None) -> Judged:
    unknowns = live.unknowns + 1
    show = unknowns >= SHOW_UNKNOWN_AFTER or confirmed is None or not live.agreed
    status = Status.UNKNOWN if show else live.status
    shown_reason = reason if show else live.reason
    detail = seen.detail if show else live.detail
    agreed = live.agreed and not show
    window = () if reason is Reason.OFFLINE else live.window
    after = _shown(
        live,
        seen,
        raw=Status.UNKNOWN,
        raw_reason=reason,
        status=status,
        reason=shown_reason,
        detail=detail,
        window=window,
        unknowns=unknowns,
        agreed=agreed,
        flaps=live.flaps,
    )
    return Judged(after, None, undecided=unknowns < SHOW_UNKNOWN_AFTER)


def _decide(spec: CheckSpec, window: tuple[int, ...], was: int) -> int | None:
    """The severity that the window confirms, None if none other than `was`."""
    recent = window[-spec.down_after.of :]
    for severity in (SEVERITY[Status.DOWN], SEVERITY[Status.DEGRADED]):
        hits = sum(each >= severity for each in recent)
        if window[-1] >= severity > was and hits >= spec.down_after.hits:
            return severity
    latest = window[-spec.up_after :]
    if len(latest) == spec.up_after and all(each < was for each in latest):
        return max(latest)
    return None


def _shown(
    live: CheckLive,
    seen: Observation,
    *,
    raw: Status,
    raw_reason: Reason | None,
    status: Status,
    reason: Reason | None,
    detail: str,
    window: tuple[int, ...],
    unknowns: int,
    agreed: bool,
    flaps: int,
) -> CheckLive:
    return CheckLive(
        status=status,
        reason=reason,
        detail=detail,
        since=live.since if live.status is status and live.since else seen.at,
        window=window,
        unknowns=unknowns,
        agreed=agreed,
        raw=raw,
        raw_reason=raw_reason,
        raw_detail=seen.detail,
        at=seen.at,
        latency=seen.latency,
        facts=seen.facts,
        phases=seen.phases,
        requested=seen.requested,
        finished=seen.finished,
        due=seen.due,
        runs=live.runs + 1,
        flaps=flaps,
        bad_since=_bad_since(live, seen, raw),
    )


def _bad_since(live: CheckLive, seen: Observation, raw: Status) -> float | None:
    if raw is Status.OK:
        return None
    return live.bad_since if live.bad_since is not None or raw is Status.UNKNOWN else seen.at


def retry_after(spec: CheckSpec) -> float:
    """Seconds after which an undecided check is tried again."""
    return min(spec.every, max(RETRY_AT_LEAST, spec.every / RETRY_SHARE))


# --- inputs --------------------------------------------------------------------------------------------------------


def observed(draft: Draft, event: Observed) -> None:
    """A check has run."""
    seen = event.observation
    spec = draft.operation.checks.get(seen.check)
    if spec is None or draft.get("pauses", spec.component) is not None:
        return
    if spec.component == ANCHORS:
        _anchor_observed(draft, spec, seen)
        return
    seen = drill_overlay.observed(draft, spec, seen)
    before, confirmed = draft.check(spec.id), draft.confirmed(spec.id)
    known = confirmed is not None and confirmed.status is Status.DOWN
    hold = seen.status is Status.DOWN and not known and _await_anchors(draft)
    engine = draft.engine()
    if before.finished < engine.online_since:
        before = replace(before, window=())
    if not before.runs:
        before = replace(before, flaps=flapping.resumed(draft, spec.id, before))
    offline = engine.offline or draft.now.mono < engine.grace_until
    judged = judge(spec, before, confirmed, seen, offline=offline, hold=hold)
    draft.set_live("checks", spec.id, judged.live)
    if judged.confirmed is not None:
        _record_check(draft, spec.id, judged.confirmed)
    if not offline and before.raw_reason is not Reason.PRETENDED:
        nearmisses.observed(draft, spec, before, judged.live)
    if seen.facts:
        changes.observed(draft, seen)
    turned = bool(judged.live.flaps or before.flaps) and flapping.follow(draft, spec.id, judged.live.flaps)
    if hold:
        draft.effect(Poll(spec.id, min(HELD_RETRY, retry_after(spec))))
    elif judged.undecided and not spec.passive and seen.retry_after is None:
        draft.effect(Poll(spec.id, retry_after(spec)))
    after = judged.live
    if (after.status, after.reason) != (before.status, before.reason) or after.unknowns == SHOW_UNKNOWN_AFTER:
        refresh_around(draft, spec)
    if turned:
        for concerned in dict.fromkeys((spec.component, *_watchers(draft, spec))):
            alarms.refresh(draft, concerned)
    draft.touch(spec.component)


def _record_check(draft: Draft, check: str, after: CheckState) -> None:
    before = draft.confirmed(check)
    was = before.status if before else Status.UNKNOWN
    if was is not after.status:
        draft.emit(CheckChanged(draft.now.wall, check, after.status, was, after.reason, after.detail))


def _await_anchors(draft: Draft) -> bool:
    """Whether it is still to be found out if opsdash itself is offline. Asks, when the last answer is too old."""
    anchors, engine = draft.operation.anchors, draft.engine()
    if not anchors:
        return False
    if engine.anchors_at is not None and draft.now.mono - engine.anchors_at < ANCHOR_CACHE:
        return any(draft.check(anchor).finished < engine.anchors_at for anchor in anchors)
    draft.set_live("engine", "engine", replace(engine, anchors_at=draft.now.mono))
    for anchor in anchors:
        draft.effect(Poll(anchor))
    return True


def _anchor_observed(draft: Draft, spec: CheckSpec, seen: Observation) -> None:
    judged = judge(spec, draft.check(spec.id), draft.confirmed(spec.id), seen)
    draft.set_live("checks", spec.id, judged.live)
    engine = draft.engine()
    anchors = [draft.check(anchor) for anchor in draft.operation.anchors]
    answers = [anchor for anchor in anchors if anchor.at is not None]
    silent = sum(anchor.raw is not Status.OK for anchor in answers)
    offline = len(answers) == len(anchors) and silent * 2 > len(anchors)
    after = replace(engine, offline=offline)
    if engine.offline and not offline:
        after = replace(after, online_since=draft.now.mono, grace_until=draft.now.mono + OFFLINE_GRACE)
    draft.set_live("engine", "engine", after)
    if engine.offline and not offline:
        alarms.look_again(draft)


def overdue(draft: Draft, event: Overdue) -> None:
    """No result for longer than an observation is fresh: what is known is too old to be shown."""
    _doubt(draft, event.check, Reason.STALE, "no result for longer than two intervals")


def clock_jumped(draft: Draft, event: ClockJumped) -> None:
    """Suspended, or the clock was set: nothing is known until it has been polled again."""
    draft.emit(ClockMoved(draft.now.wall, event.seconds))
    detail = f"the clock moved by {event.seconds:+.0f} s; waiting for a new result"
    for check, spec in draft.operation.checks.items():
        if draft.check(check).runs and draft.get("pauses", spec.component) is None:
            _doubt(draft, check, Reason.CLOCK, detail)
            draft.effect(Poll(check))


def _doubt(draft: Draft, check: str, reason: Reason, detail: str) -> None:
    before = draft.check(check)
    spec = draft.operation.checks.get(check)
    if spec is None or (before.status is Status.UNKNOWN and before.reason is reason):
        return
    after = replace(
        before,
        status=Status.UNKNOWN,
        reason=reason,
        detail=detail,
        since=draft.now.wall if before.status is not Status.UNKNOWN else before.since,
        agreed=False,
        due=draft.now.mono,
    )
    draft.set_live("checks", check, after)
    if spec.component != ANCHORS:
        refresh_around(draft, spec)
        draft.touch(spec.component)


def pause(draft: Draft, who: str, intent: PauseIntent) -> Refused | None:
    """Stop polling a component. It resumes by itself at the review time, and says so."""
    component = draft.component(intent.component)
    if component is None:
        return Refused("unknown_component", f"there is no component {intent.component!r}")
    if intent.seconds <= 0:
        return Refused("duration", "a pause needs a duration, such as 30m")
    until = draft.now.wall + intent.seconds
    draft.emit(Paused(draft.now.wall, component.id, until, who, intent.reason))
    draft.effect(SuspendPolling(component.id, suspended=True))
    draft.effect(SetTimer(("pause", component.id), draft.now.mono + intent.seconds))
    refresh(draft, component.id)
    _refresh_watchers(draft, component.id)
    return None


def resume(draft: Draft, who: str, intent: ResumeIntent) -> Refused | None:
    """Poll a component again."""
    if draft.get("pauses", intent.component) is None:
        return Refused("not_paused", f"{intent.component} is not paused")
    _resume(draft, intent.component, who)
    return None


def pause_over(draft: Draft, component: str) -> None:
    """The review time of a pause has come."""
    pause = draft.get("pauses", component)
    if pause is not None and pause.until <= draft.now.wall + 1:
        _resume(draft, component, OPSDASH)
    elif pause is not None:
        remaining = pause.until - draft.now.wall
        draft.effect(SetTimer(("pause", component), draft.now.mono + remaining))


def _resume(draft: Draft, component: str, who: str) -> None:
    draft.emit(Resumed(draft.now.wall, component, who))
    draft.effect(SuspendPolling(component, suspended=False))
    draft.effect(CancelTimer(("pause", component)))
    for check in draft.operation.checks.values():
        if check.component == component:
            draft.set_live("checks", check.id, CheckLive())
            draft.effect(Poll(check.id))
    refresh(draft, component)
    _refresh_watchers(draft, component)


# --- components ----------------------------------------------------------------------------------------------------


def refresh_around(draft: Draft, spec: CheckSpec) -> None:
    """Judge a check's component again, and the failure modes elsewhere that watch the check."""
    refresh(draft, spec.component)
    for watcher in _watchers(draft, spec):
        if watcher != spec.component:
            failures.refresh(draft, watcher)
            incidents.refresh(draft, watcher)


def _watchers(draft: Draft, spec: CheckSpec) -> list[str]:
    """The components with failure modes that watch a check."""
    names = [spec.id] if spec.provider is None else [spec.id, f"{spec.component}/*"]
    return [watcher for name in names for watcher in draft.operation.watchers.get(name, ())]


def _refresh_watchers(draft: Draft, component: str) -> None:
    """Look again at the failure modes elsewhere that watch any check of a component."""
    checks = [check.id for check in draft.operation.checks.values() if check.component == component]
    found = (draft.operation.watchers.get(name, ()) for name in (*checks, f"{component}/*"))
    for watcher in dict.fromkeys(each for watchers in found for each in watchers if each != component):
        failures.refresh(draft, watcher)
        incidents.refresh(draft, watcher)


def refresh(draft: Draft, component_id: str) -> None:
    """Judge a component again: its status, its redundancy, its failure modes, its incident."""
    component = draft.component(component_id)
    if component is None:
        return
    before = draft.health(component_id)
    after = replace(health(draft, component), unread=before.unread, both=before.both, both_reads=before.both_reads)
    if after.status is before.status and before.since:
        after = replace(after, since=before.since)
    draft.set_live("components", component_id, after)
    draft.touch(component_id)
    _record_component(draft, component, after)
    _watch_blindness(draft, component, before, after)
    failures.refresh(draft, component_id)
    incidents.refresh(draft, component_id)
    if after.status is not before.status:
        for dependent in draft.operation.dependents.get(component_id, ()):
            draft.touch(dependent)
        alarms.look_below(draft, component_id)


def _record_component(draft: Draft, component: Component, after: ComponentLive) -> None:
    state = draft.state(component.id)
    if after.reason is not Reason.STARTING and after.status is not state.status:
        draft.emit(
            ComponentChanged(draft.now.wall, component.id, after.status, state.status, after.reason, after.cause)
        )
    if after.redundancy == state.redundancy or (after.redundancy == UNCERTAIN and _is_starting(draft, component)):
        return
    draft.emit(RedundancyChanged(draft.now.wall, component.id, after.redundancy, state.redundancy))


def _is_starting(draft: Draft, component: Component) -> bool:
    checks = (check for provider in component.providers for check in provider.checks)
    return any(draft.check(check).reason is Reason.STARTING for check in checks)


def _watch_blindness(draft: Draft, component: Component, before: ComponentLive, after: ComponentLive) -> None:
    blind = _is_blind(after)
    if component.tier is Tier.DROPPABLE or component.removed or blind == _is_blind(before):
        return
    key = ("blind", component.id)
    draft.effect(SetTimer(key, draft.now.mono + BLIND_AFTER) if blind else CancelTimer(key))


def _is_blind(health: ComponentLive) -> bool:
    return health.status is Status.UNKNOWN and health.reason not in (Reason.STARTING, Reason.OFFLINE)


def blind_for_long(draft: Draft, component_id: str) -> None:
    """A component has been unknown for five minutes. While opsdash is offline that says nothing: it looks again."""
    component = draft.component(component_id)
    if component is None or not _is_blind(draft.health(component_id)):
        return
    if draft.engine().offline:
        draft.effect(SetTimer(("blind", component_id), draft.now.mono + BLIND_AFTER))
        return
    incidents.blind(draft, component, draft.health(component_id))


def health(draft: Draft, component: Component) -> ComponentLive:
    """A component's status by the table at the top of this module."""
    now = draft.now.wall
    if component.problem is not None:
        return ComponentLive(Status.UNKNOWN, Reason.CONFIG, component.problem, now, NO_BACKUP)
    if component.removed:
        return ComponentLive(Status.UNKNOWN, Reason.CONFIG, "removed from the files: its checks no longer run", now)
    state = draft.state(component.id)
    ignored = ignored_checks(draft, component)
    providers = {
        provider.id: worst(draft.check(check).status for check in provider.checks if check not in ignored)
        for provider in component.providers
    }
    redundancy = redundancy_of(component, state.active, providers)
    pause = draft.get("pauses", component.id)
    if pause is not None:
        return ComponentLive(Status.PAUSED, Reason.PAUSED, pause.reason, now, redundancy, providers)
    active = component.provider(state.active)
    active_checks = [check for check in active.checks if check not in ignored] if active else []
    own = [check for check in component.checks if check not in ignored]
    cause = _worst_check(draft, own or active_checks)
    if cause is None:
        unknown, why = _nothing_to_go_by(draft, component)
        return ComponentLive(Status.UNKNOWN, unknown, why, now, redundancy, providers)
    shown = draft.check(cause)
    status, reason = shown.status, shown.reason
    if own and status is Status.OK and active is not None:
        worse = providers[active.id]
        if worse in (Status.DOWN, Status.DEGRADED):
            cause = _worst_check(draft, active_checks) or ""
            status, reason = Status.DEGRADED, draft.check(cause).reason
    if state.mode is not None and status is Status.OK:
        status, reason, cause = Status.DEGRADED, Reason.MODE, state.mode
    return ComponentLive(status, reason, cause if status is not Status.OK else "", now, redundancy, providers)


def _nothing_to_go_by(draft: Draft, component: Component) -> tuple[Reason, str]:
    state = draft.state(component.id)
    if component.provider(state.active) is not None or not component.providers:
        return Reason.CONFIG, "it has no checks"
    readable = draft.health(component.id).unread < UNREAD_AFTER
    if readable and state.active is None and not state.seen:
        return Reason.STARTING, "the active provider has not been read yet"
    if readable and state.seen and component.provider_named(state.seen) is None:
        return Reason.PROVIDER, f"the mechanism says {state.seen!r}, which is the name of no provider"
    return Reason.PROVIDER, "the active provider is not known"


def _worst_check(draft: Draft, checks: list[str]) -> str | None:
    """The check that decides; the first of several that are equally bad."""
    best: str | None = None
    for check in checks:
        if best is None or SEVERITY[draft.check(check).status] > SEVERITY[draft.check(best).status]:
            best = check
    return best


def ignored_checks(draft: Draft, component: Component) -> frozenset[str]:
    """Checks that count only for features which the degraded mode in force has dropped."""
    mode = component.modes.get(draft.state(component.id).mode or "")
    if mode is None:
        return frozenset()
    dropped: set[str] = set()
    kept: set[str] = set(mode.verify)
    for feature in component.features.values():
        (dropped if feature.id in mode.drops else kept).update(feature.checks)
    return frozenset(dropped - kept)
