"""Carrying out a switch: from the intent to one of its ends, one record before each step.

intent → (read: is it still as planned?) → acting → settling → verifying → an outcome, see `core.outcomes`. The four
facts are collected while verifying, from samples that were requested after the action, again and again until all are
true or the deadline has come; then the outcome follows by table.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from opsdash.core import health, incidents, planning
from opsdash.core.outcomes import LIVE_STATES, OPEN_STATES, SwitchEvent, follow, outcome
from opsdash.model.effects import Apply, CancelTimer, Poll, Read, SetTimer
from opsdash.model.incident import EntryKind, IncidentKind
from opsdash.model.records import (
    ActiveChanged,
    ModeSeen,
    Proved,
    ReviewPassed,
    SwitchAdvanced,
    SwitchEnded,
    SwitchIntended,
)
from opsdash.model.status import Status
from opsdash.model.switch import (
    MOVES_PROVIDER,
    Fact,
    FactName,
    Refused,
    Switch,
    SwitchKind,
    SwitchState,
    Truth,
)
from opsdash.model.templates import fill
from opsdash.model.world import SwitchLive

if TYPE_CHECKING:
    from opsdash.core.draft import Draft
    from opsdash.model.inputs import (
        ApplyDone,
        ReadDone,
        SettleIntent,
        SwitchIntent,
        TakeOverIntent,
        UndoIntent,
    )
    from opsdash.model.observation import Observation
    from opsdash.model.operation import Component, ServedBy
    from opsdash.model.switch import Plan

READ_EVERY = 30.0
"""Seconds between two reads of a mechanism while nothing happens."""

SAMPLE_EVERY = 0.2
"""Seconds between two samples of the same fact while verifying."""

SETTLE_IN_DOUBT = 2.0
"""Seconds to wait at least before observing a switch that was in flight when the engine died."""

PROVIDER = "switch"
"""The `what` of a read that asks who serves; a degraded mode's is its id."""

SETTLED_BY = {
    SwitchState.COMMITTED: SwitchEvent.STATE_COMMITTED,
    SwitchState.ABORTED: SwitchEvent.STATE_ABORTED,
    SwitchState.UNDONE: SwitchEvent.STATE_UNDONE,
}


# --- intent --------------------------------------------------------------------------------------------------------


def intend(draft: Draft, who: str, intent: SwitchIntent) -> Refused | str:
    """Begin a switch, if the plan that was confirmed still stands. Returns the switch's id."""
    plan = planning.plan(draft, intent.component, intent.kind, _named_target(intent))
    if isinstance(plan, Refused):
        return plan if draft.state(intent.component).generation == intent.generation else _out_of_date(plan.reason)
    refused = _changed(plan, intent) or _blocked(plan, intent)
    if refused is not None:
        return refused
    switch = Switch(
        id=f"{plan.component}-{plan.kind.value}-{plan.generation + 1}",
        plan=plan,
        state=SwitchState.INTENT,
        who=who,
        reason=intent.reason or plan.reason,
        overrides=intent.overrides,
        intended_at=draft.now.wall,
        noticed_at=_noticed_at(draft, plan.component),
        incident=draft.state(plan.component).incident,
        history=((draft.now.wall, SwitchState.INTENT.value),),
    )
    draft.emit(SwitchIntended(draft.now.wall, switch))
    draft.set_live("switches", switch.id, SwitchLive(acted=draft.now.mono))
    draft.touch(plan.component)
    incidents.note(draft, plan.component, EntryKind.SWITCH, _words(switch), who)
    if plan.read is not None:
        draft.effect(Read(plan.component, _what(plan), plan.read))
    else:
        _act(draft, switch, plan.expected)
    return switch.id


def _named_target(intent: SwitchIntent) -> str | None:
    """Modes are planned by their own id, also on the way out."""
    if intent.kind is SwitchKind.RESTORE:
        return intent.source or None
    return intent.target or None


def _changed(plan: Plan, intent: SwitchIntent) -> Refused | None:
    if (plan.generation, plan.source, plan.target) == (intent.generation, intent.source, intent.target):
        return None
    ends = f"{plan.source or 'normal'} to {plan.target or 'normal'}"
    return _out_of_date(f"it is now {ends}, switch number {plan.generation + 1}")


def _out_of_date(now: str) -> Refused:
    return Refused("changed", f"this plan is out of date: {now}; look at the new plan")


def _blocked(plan: Plan, intent: SwitchIntent) -> Refused | None:
    for guard in plan.failed:
        if not guard.overridable:
            return Refused(guard.rule, f"{guard.title}: {guard.evidence}")
        if guard.rule not in intent.overrides:
            return Refused(guard.rule, f"{guard.title}: {guard.evidence}", f"--override {guard.rule} --reason TEXT")
    overridden = [guard.rule for guard in plan.failed]
    if overridden and not intent.reason.strip():
        return Refused("reason", f"overriding {', '.join(overridden)} needs a reason", "--reason TEXT")
    if (overridden or plan.typed) and intent.typed != plan.component:
        return Refused("typed", f"this needs the component's name to be typed: {plan.component}")
    return None


def _noticed_at(draft: Draft, component: str) -> float | None:
    times = [since for _, since in draft.state(component).failures]
    incident = draft.incident(component)
    if incident is not None:
        times.append(incident.opened_at)
    return min(times, default=None)


def _words(switch: Switch) -> str:
    plan = switch.plan
    if plan.kind in MOVES_PROVIDER:
        return f"{plan.kind.value} from {plan.source or 'unknown'} to {plan.target}: {switch.reason}".rstrip(": ")
    if plan.kind is SwitchKind.DEGRADE:
        return f"degraded mode {plan.target}: {switch.reason}".rstrip(": ")
    return f"back to normal from degraded mode {plan.source}"


def _what(plan: Plan) -> str:
    return PROVIDER if plan.kind in MOVES_PROVIDER else (plan.target or plan.source)


# --- acting --------------------------------------------------------------------------------------------------------


def _act(draft: Draft, switch: Switch, found: str | None, version: str | None = None) -> None:
    plan = switch.plan
    _advance(draft, switch, SwitchEvent.EXPECTED, prior=found)
    if plan.call is None:
        detail = "there is nothing to carry out: no `leave` is declared"
        _end(draft, switch, SwitchEvent.NOT_APPLIED, detail=detail)
        return
    restoring = plan.kind is SwitchKind.RESTORE and not _has_leave(draft, plan)
    draft.effect(
        Apply(
            switch=switch.id,
            component=plan.component,
            call=plan.call,
            action_id=switch.id,
            expected=found,
            source=plan.source,
            target=plan.target,
            prior=draft.state(plan.component).mode_prior if restoring else None,
            version=version,
        )
    )


def _has_leave(draft: Draft, plan: Plan) -> bool:
    component = draft.component(plan.component)
    mode = component.modes.get(plan.source or plan.target) if component else None
    return mode is not None and mode.leave is not None


def applied(draft: Draft, event: ApplyDone) -> None:
    """The action has been carried out, or not, or nobody knows."""
    switch: Switch | None = draft.get("switches", event.switch)
    if switch is None or switch.state not in (SwitchState.ACTING, SwitchState.UNDOING):
        return
    if event.result in ("refused", "not_started"):
        _end(draft, switch, SwitchEvent.NOT_APPLIED, detail=event.detail)
        return
    after = _advance(draft, switch, SwitchEvent.APPLIED, detail=event.detail, prior=event.prior)
    draft.set_live("switches", switch.id, SwitchLive(acted=draft.now.mono))
    _settle(draft, after, switch.plan.settle)


def _settle(draft: Draft, switch: Switch, seconds: float) -> None:
    if seconds <= 0:
        settled(draft, switch.id)
    else:
        draft.effect(SetTimer(("settle", switch.id), draft.now.mono + seconds))


def settled(draft: Draft, switch_id: str) -> None:
    """The settle time is over: measure what has become of it."""
    switch: Switch | None = draft.get("switches", switch_id)
    if switch is None or switch.state is not SwitchState.SETTLING:
        return
    after = _advance(draft, switch, SwitchEvent.SETTLED)
    before: SwitchLive = draft.live("switches", switch_id) or SwitchLive(acted=draft.now.mono)
    deadline = draft.now.mono + switch.plan.deadline
    draft.set_live("switches", switch_id, replace(before, deadline=deadline))
    draft.effect(SetTimer(("verify", switch_id), deadline))
    if after.plan.read is not None:
        draft.effect(Read(after.plan.component, _what(after.plan), after.plan.read))
    for check in sorted(_involved(draft, after)):
        draft.effect(Poll(check))
    _conclude(draft, after, at_deadline=False)


# --- verifying -----------------------------------------------------------------------------------------------------


def _involved(draft: Draft, switch: Switch) -> set[str]:
    """The checks whose samples the facts need."""
    component = draft.component(switch.plan.component)
    if component is None:
        return set()
    checks = set(_verify_checks(component, switch.plan))
    if switch.plan.kind in MOVES_PROVIDER and component.switch is not None:
        if component.switch.served_by is not None:
            checks.add(component.switch.served_by.check)
        old = _old_check(component, switch)
        if old:
            checks.add(old)
    return checks


def _verify_checks(component: Component, plan: Plan) -> tuple[str, ...]:
    """What has to pass afterwards: what is declared, else the checks of the essential features that are kept."""
    if plan.kind in MOVES_PROVIDER:
        declared = component.switch.verify if component.switch else ()
    else:
        mode = component.modes.get(plan.target or plan.source)
        declared = mode.verify if mode else ()
    if declared:
        return declared
    kept = (
        feature
        for feature in component.features.values()
        if feature.tier.value == "essential" and feature.id not in plan.drops
    )
    return tuple(dict.fromkeys(check for feature in kept for check in feature.checks))


def _old_check(component: Component, switch: Switch) -> str:
    """Id of the check that tells whether the old side still serves; "" where none is declared or it does not apply."""
    spec = component.switch.old_out if component.switch else None
    if spec is None or spec.stateless or switch.undoing or not switch.plan.source:
        return ""
    target = component.provider(switch.plan.target)
    if target is None:
        return ""
    names = planning.template_names(component, component.provider(switch.plan.source), target)
    return fill(spec.check, names)


def sampled(draft: Draft, seen: Observation) -> None:
    """A check has run: it may be a sample for a switch that is being verified."""
    for switch_id in draft.live_keys("switches"):
        switch: Switch | None = draft.get("switches", switch_id)
        if switch is None or switch.state is not SwitchState.VERIFYING:
            continue
        if seen.check in _involved(draft, switch):
            _sample(draft, switch, seen)


def _sample(draft: Draft, switch: Switch, seen: Observation) -> None:
    component = draft.component(switch.plan.component)
    live: SwitchLive | None = draft.live("switches", switch.id)
    if component is None or live is None:
        return
    if seen.requested < live.acted:
        draft.effect(Poll(seen.check))
        return
    served_by = component.switch.served_by if component.switch else None
    moves = switch.plan.kind in MOVES_PROVIDER
    if moves and served_by is not None and seen.check == served_by.check:
        truth, evidence = _who_served(served_by, switch, seen)
        live = _with_sample(live, FactName.FRONT_DOOR.value, truth, evidence)
    if moves and seen.check == _old_check(component, switch) and component.switch and component.switch.old_out:
        truth = _is(seen, component.switch.old_out.status)
        evidence = f"{seen.check} is {seen.status.value}: {seen.detail}"
        live = _with_sample(live, FactName.OLD_OUT.value, truth, evidence)
    if seen.check in _verify_checks(component, switch.plan):
        truth = {Status.UNKNOWN: Truth.UNKNOWN, Status.DOWN: Truth.FALSE}.get(seen.status, Truth.TRUE)
        live = _with_sample(live, f"check:{seen.check}", truth, f"{seen.check}: {seen.detail or seen.status.value}")
    draft.set_live("switches", switch.id, live)
    draft.touch(switch.plan.component)
    if not _conclude(draft, switch, at_deadline=False) and _is_next(draft, switch, seen.check):
        draft.effect(Poll(seen.check, SAMPLE_EVERY))


def _is_next(draft: Draft, switch: Switch, check: str = "") -> bool:
    """Whether the next sample of a check (or, without one, of the mechanism) has yet to be asked for; notes that it is.

    Results also come in that nobody asked for. If each of them asked for the next one, there would soon be many.
    """
    live: SwitchLive = draft.live("switches", switch.id)
    if live.asked.get(check, 0.0) > draft.now.mono:
        return False
    asked = {**live.asked, check: draft.now.mono + SAMPLE_EVERY}
    draft.set_live("switches", switch.id, replace(live, asked=asked))
    return True


def _is(seen: Observation, wanted: Status) -> Truth:
    if seen.status is Status.UNKNOWN:
        return Truth.UNKNOWN
    return Truth.TRUE if seen.status is wanted else Truth.FALSE


def _with_sample(live: SwitchLive, key: str, truth: Truth, evidence: str) -> SwitchLive:
    """The latest sample says what is known now; an unknown one neither advances nor resets the hits in a row."""
    before = live.hits.get(key, 0)
    hits = {Truth.TRUE: before + 1, Truth.UNKNOWN: before}.get(truth, 0)
    return replace(
        live,
        hits={**live.hits, key: hits},
        truth={**live.truth, key: truth},
        seen={**live.seen, key: evidence},
    )


def _who_served(spec: ServedBy, switch: Switch, seen: Observation) -> tuple[Truth, str]:
    """Who answered at the front door. What was measured before the action is no sample: unknown, never false."""
    wanted = switch.plan.expected if switch.undoing else switch.plan.wanted
    value = fact_value(seen, spec.value)
    if value is None:
        return Truth.UNKNOWN, f"{spec.check} does not say who answered: {seen.detail or seen.status.value}"
    if spec.at is not None:
        made_at = moment(fact_value(seen, spec.at))
        if made_at is None:
            return Truth.UNKNOWN, f"{spec.check} does not say when it was answered"
        if switch.applied_at is not None and made_at < switch.applied_at:
            return Truth.UNKNOWN, f"answered by {value!r}, but before the action"
    return (Truth.TRUE if str(value) == wanted else Truth.FALSE), f"answered by {value!r}"


def fact_value(seen: Observation, path: str) -> Any:
    """A value that a check extracted: `facts.x` by its name, anything else by its whole path."""
    return seen.facts.get(path.removeprefix("facts."))


def moment(value: Any) -> float | None:
    """Seconds since 1970 UTC of an RFC 3339 text or a number; None for anything else. No zone means UTC."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value) / 1000 if value > 1e11 else float(value)
    if not isinstance(value, str):
        return None
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError:
        return None
    from datetime import UTC

    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()


def facts(draft: Draft, switch: Switch) -> tuple[Fact, ...]:
    """The four facts as far as they are known now."""
    component = draft.component(switch.plan.component)
    live: SwitchLive = draft.live("switches", switch.id) or SwitchLive()
    if component is None:
        return switch.facts
    return (
        _mechanism(switch, live),
        _front_door(component, switch, live),
        _old_out(component, switch, live),
        _features(component, switch, live),
    )


def _mechanism(switch: Switch, live: SwitchLive) -> Fact:
    if switch.plan.read is None:
        return Fact(FactName.MECHANISM, Truth.UNDECLARED, "no `read` is declared")
    key = FactName.MECHANISM.value
    return Fact(
        FactName.MECHANISM, live.truth.get(key, Truth.UNKNOWN), live.seen.get(key, "not read yet"),
        min(live.hits.get(key, 0), 1),
    )  # fmt: skip


def _front_door(component: Component, switch: Switch, live: SwitchLive) -> Fact:
    spec = component.switch.served_by if component.switch else None
    if spec is None or switch.plan.kind not in MOVES_PROVIDER:
        return Fact(FactName.FRONT_DOOR, Truth.UNDECLARED, "no `served_by` is declared")
    key = FactName.FRONT_DOOR.value
    hits, truth = live.hits.get(key, 0), live.truth.get(key, Truth.UNKNOWN)
    if truth is Truth.TRUE and hits < spec.times:
        truth = Truth.UNKNOWN
    return Fact(FactName.FRONT_DOOR, truth, live.seen.get(key, "no sample yet"), min(hits, spec.times), spec.times)


def _old_out(component: Component, switch: Switch, live: SwitchLive) -> Fact:
    spec = component.switch.old_out if component.switch else None
    if spec is None or switch.plan.kind not in MOVES_PROVIDER or switch.undoing:
        return Fact(FactName.OLD_OUT, Truth.UNDECLARED, "no `old_out` is declared")
    if spec.stateless:
        return Fact(FactName.OLD_OUT, Truth.STATELESS, "both may be up")
    if not _old_check(component, switch):
        return Fact(FactName.OLD_OUT, Truth.UNKNOWN, "nobody knows who served before")
    key = FactName.OLD_OUT.value
    return Fact(
        FactName.OLD_OUT, live.truth.get(key, Truth.UNKNOWN), live.seen.get(key, "no sample yet"),
        min(live.hits.get(key, 0), 1),
    )  # fmt: skip


def _features(component: Component, switch: Switch, live: SwitchLive) -> Fact:
    checks = _verify_checks(component, switch.plan)
    if not checks:
        return Fact(FactName.FEATURES, Truth.UNDECLARED, "nothing to verify is declared")
    truths = [live.truth.get(f"check:{check}", Truth.UNKNOWN) for check in checks]
    passed = sum(truth is Truth.TRUE for truth in truths)
    truth = next((each for each in (Truth.UNKNOWN, Truth.FALSE) if each in truths), Truth.TRUE)
    worst = [check for check, each in zip(checks, truths, strict=True) if each is not Truth.TRUE]
    evidence = live.seen.get(f"check:{(worst or list(checks))[0]}", "no sample yet")
    return Fact(FactName.FEATURES, truth, evidence, passed, len(checks))


def _conclude(draft: Draft, switch: Switch, *, at_deadline: bool) -> bool:
    """End the verification if all is true, or the deadline has come. True if it ended."""
    found = facts(draft, switch)
    event = outcome(found)
    if event is not SwitchEvent.VERIFIED and not at_deadline:
        return False
    if switch.undoing:
        event = SwitchEvent.BACK if event is SwitchEvent.VERIFIED else SwitchEvent.NOT_BACK
    _end(draft, switch, event, found=found)
    return True


def verify_deadline(draft: Draft, switch_id: str) -> None:
    """The verification has to say what it knows."""
    switch: Switch | None = draft.get("switches", switch_id)
    if switch is not None and switch.state is SwitchState.VERIFYING:
        _conclude(draft, switch, at_deadline=True)


# --- ends ----------------------------------------------------------------------------------------------------------


def _advance(
    draft: Draft,
    switch: Switch,
    event: SwitchEvent,
    *,
    detail: str = "",
    prior: str | None = None,
    in_doubt: bool = False,
) -> Switch:
    after = follow(switch.state, event)
    if after is None:
        raise ValueError(f"a switch that is {switch.state.value} has no answer to: {event.value}")
    draft.emit(SwitchAdvanced(draft.now.wall, switch.id, switch.plan.component, after, detail, prior, in_doubt))
    draft.touch(switch.plan.component)
    found: Switch = draft.get("switches", switch.id)
    return found


def _end(
    draft: Draft,
    switch: Switch,
    event: SwitchEvent,
    *,
    found: tuple[Fact, ...] = (),
    detail: str = "",
    who: str | None = None,
) -> None:
    after = follow(draft.get("switches", switch.id).state, event)
    if after is None:
        raise ValueError(f"a switch that is {switch.state.value} has no answer to: {event.value}")
    plan = switch.plan
    draft.emit(SwitchEnded(draft.now.wall, switch.id, plan.component, after, found, detail, who))
    draft.set_live("switches", switch.id, None)
    for timer in ("settle", "verify"):
        draft.effect(CancelTimer((timer, switch.id)))
    if after is SwitchState.COMMITTED and who is None:
        _prove(draft, switch)
    component = draft.component(plan.component)
    if after is not SwitchState.COMMITTED and component is not None:
        read_all(draft, component)
    schedule_review(draft, plan.component)
    text = f"{_words(switch)} → {after.value}" + (f" ({detail})" if detail else "")
    incidents.note(draft, plan.component, EntryKind.SWITCH, text, who or switch.who)
    after_move(draft, plan.component)


def _prove(draft: Draft, switch: Switch) -> None:
    component = draft.component(switch.plan.component)
    if component is None or not switch.plan.target:
        return
    what = switch.plan.target if switch.plan.kind in MOVES_PROVIDER else f"mode:{switch.plan.target}"
    draft.emit(Proved(draft.now.wall, component.id, what, switch.id, component.sha256))


def after_move(draft: Draft, component: str) -> None:
    """Who serves, or what is in force, may have changed: judge all anew that depends on it."""
    health.refresh(draft, component)
    for watcher in draft.operation.watchers.get(f"{component}/*", ()):
        if watcher != component:
            health.refresh(draft, watcher)


def schedule_review(draft: Draft, component_id: str) -> None:
    """Come back when the review time of what is not normal passes: being on a backup, a degraded mode in force."""
    component = draft.component(component_id)
    state = draft.state(component_id)
    if component is None:
        return
    if state.on_backup_since is not None and component.switch is not None:
        due = state.on_backup_since + component.switch.review_after
        _review_timer(draft, component_id, "backup", due)
    mode = component.modes.get(state.mode or "")
    if mode is not None and state.mode_since is not None:
        _review_timer(draft, component_id, "mode", state.mode_since + mode.review_after)


def _review_timer(draft: Draft, component: str, what: str, due: float) -> None:
    remaining = max(0.0, due - draft.now.wall)
    draft.effect(SetTimer(("review", component, what), draft.now.mono + remaining))


def review(draft: Draft, component_id: str, what: str) -> None:
    """A review time has passed: say so, once."""
    state = draft.state(component_id)
    component = draft.component(component_id)
    since = state.on_backup_since if what == "backup" else state.mode_since
    if component is None or since is None or what in state.overdue:
        return
    mode = component.modes.get(state.mode or "")
    after = component.switch.review_after if what == "backup" and component.switch else None
    if what == "mode" and mode is not None:
        after = mode.review_after
    if after is None:
        return
    if draft.now.wall < since + after:
        _review_timer(draft, component_id, what, since + after)
        return
    draft.emit(ReviewPassed(draft.now.wall, component_id, what, since))
    words = "it is still on its backup" if what == "backup" else f"degraded mode {state.mode} is still in force"
    if draft.incident(component_id) is None:
        title = f"{component.title}: review time passed, {words}"
        incidents.open_incident(draft, component_id, IncidentKind.NOTE, title)
    else:
        incidents.note(draft, component_id, EntryKind.STATUS, f"review time passed: {words}")
    draft.touch(component_id)


# --- ways out ------------------------------------------------------------------------------------------------------


def ways_out(switch: Switch) -> list[str]:
    """What a person can do with a switch in its present state."""
    ways = []
    if follow(switch.state, SwitchEvent.UNDO) and switch.plan.undo_call is not None:
        ways.append("undo")
    if switch.state in OPEN_STATES:
        ways.append("settle")
    if follow(switch.state, SwitchEvent.TAKE_OVER):
        ways.append("take_over")
    return ways


def undo(draft: Draft, who: str, intent: UndoIntent) -> Refused | str:
    """Apply the action with its ends swapped, then verify that the old side serves again."""
    switch = draft.switch(intent.component)
    if switch is None or follow(switch.state, SwitchEvent.UNDO) is None:
        return _no_way(switch, intent.component, "undo")
    plan = switch.plan
    if plan.undo_call is None:
        return Refused("no_undo", "it is not known what served before; name it with failover --to")
    restoring = plan.kind is SwitchKind.DEGRADE and not _has_leave(draft, plan)
    if restoring and switch.prior is None:
        return Refused("no_undo", f"it is not known what was there before {plan.target}; put it back by hand")
    _advance(draft, switch, SwitchEvent.UNDO, detail=f"undone by {who}: {intent.reason}".rstrip(": "))
    draft.set_live("switches", switch.id, SwitchLive(acted=draft.now.mono))
    attempt = sum(state == SwitchState.UNDOING.value for _, state in switch.history) + 1
    draft.effect(
        Apply(
            switch=switch.id,
            component=plan.component,
            call=plan.undo_call,
            action_id=f"{switch.id}-undo-{attempt}",
            expected=None,
            source=plan.target,
            target=plan.source,
            prior=switch.prior if restoring else None,
        )
    )
    return switch.id


def settle(draft: Draft, who: str, intent: SettleIntent) -> Refused | str:
    """A person states the outcome, with a reason."""
    switch = draft.switch(intent.component)
    event = SETTLED_BY.get(intent.state)
    if event is None:
        return Refused("state", "the outcome is one of committed, aborted, undone")
    if switch is None or follow(switch.state, event) is None:
        return _no_way(switch, intent.component, "settle")
    if not intent.reason.strip():
        return Refused("reason", "stating an outcome needs a reason: how do you know?", "--reason TEXT")
    _end(draft, switch, event, detail=f"stated by {who}: {intent.reason.strip()}", who=who)
    return switch.id


def take_over(draft: Draft, who: str, intent: TakeOverIntent) -> Refused | str:
    """Observe it again; nothing is fired."""
    switch = draft.switch(intent.component)
    if switch is None or follow(switch.state, SwitchEvent.TAKE_OVER) is None:
        return _no_way(switch, intent.component, "take over")
    after = _advance(draft, switch, SwitchEvent.TAKE_OVER, detail=f"observed again for {who}")
    draft.set_live("switches", switch.id, SwitchLive(acted=draft.now.mono))
    _settle(draft, after, 0.0)
    return switch.id


def _no_way(switch: Switch | None, component: str, what: str) -> Refused:
    if switch is None:
        return Refused("no_switch", f"{component} was never switched, there is nothing to {what}")
    return Refused("state", f"the last switch is {switch.state.value}; there is nothing to {what}")


# --- reading the mechanism -----------------------------------------------------------------------------------------


def read_done(draft: Draft, event: ReadDone) -> None:
    """A mechanism was read: for a switch in flight, or to know what is in force."""
    component = draft.component(event.component)
    if component is None:
        return
    switch = draft.switch(event.component)
    if switch is not None and switch.state in LIVE_STATES and _what(switch.plan) == event.what:
        _read_for_switch(draft, switch, event)
        after = draft.switch(event.component)
        if after is None or after.state is not SwitchState.ABORTED:
            return  # else it was aborted because of this very reading, which is news of somebody else's doing
    if event.what == PROVIDER:
        _read_provider(draft, component, event)
    else:
        _read_mode(draft, component, event)


def _read_for_switch(draft: Draft, switch: Switch, event: ReadDone) -> None:
    live: SwitchLive | None = draft.live("switches", switch.id)
    if live is None or event.requested < live.acted:
        return
    if switch.state is SwitchState.INTENT:
        _still_as_planned(draft, switch, event)
    elif switch.state is SwitchState.VERIFYING:
        truth, evidence = _reads_wanted(draft, switch, event)
        draft.set_live("switches", switch.id, _with_sample(live, FactName.MECHANISM.value, truth, evidence))
        draft.touch(event.component)
        if not _conclude(draft, switch, at_deadline=False) and switch.plan.read is not None and _is_next(draft, switch):
            draft.effect(Read(event.component, event.what, switch.plan.read, SAMPLE_EVERY))


def _still_as_planned(draft: Draft, switch: Switch, event: ReadDone) -> None:
    plan = switch.plan
    if event.value is None:
        detail = f"nothing was done: the mechanism could not be read ({event.detail})"
        _end(draft, switch, SwitchEvent.UNEXPECTED, detail=detail)
    elif event.value == plan.wanted:
        detail = f"nothing was done: the mechanism says {event.value!r} already"
        _end(draft, switch, SwitchEvent.UNEXPECTED, detail=detail)
    elif plan.expected is not None and event.value != plan.expected:
        detail = f"nothing was done: the mechanism says {event.value!r}, expected was {plan.expected!r}"
        _end(draft, switch, SwitchEvent.UNEXPECTED, detail=detail)
    else:
        _act(draft, switch, event.value, event.version)


def _reads_wanted(draft: Draft, switch: Switch, event: ReadDone) -> tuple[Truth, str]:
    """Whether the mechanism says the new side; while undoing, the old one.

    Out of a degraded mode that has a `leave` of its own, anything else than the mode will do.
    """
    plan = switch.plan
    if event.value is None:
        return Truth.UNKNOWN, f"cannot be read: {event.detail}"
    evidence = f"it says {event.value!r}"
    if switch.undoing:
        entered = plan.kind is SwitchKind.DEGRADE
        wanted = (None if _has_leave(draft, plan) else switch.prior) if entered else plan.expected
    else:
        wanted = plan.wanted
    if wanted is None:
        left = plan.kind is SwitchKind.RESTORE and event.value != plan.expected
        left = left or (switch.undoing and event.value != plan.wanted)
        return (Truth.TRUE if left else Truth.FALSE), evidence
    return (Truth.TRUE if event.value == wanted else Truth.FALSE), evidence


def _read_provider(draft: Draft, component: Component, event: ReadDone) -> None:
    before = draft.health(component.id)
    state = draft.state(component.id)
    if event.value is None:
        unread = before.unread + 1
        draft.set_live("components", component.id, replace(before, unread=unread))
        if unread >= health.UNREAD_AFTER and state.active is not None:
            draft.emit(ActiveChanged(draft.now.wall, component.id, None, state.active))
            after_move(draft, component.id)
        elif unread == health.UNREAD_AFTER:
            after_move(draft, component.id)
        return
    if before.unread:
        draft.set_live("components", component.id, replace(before, unread=0))
    found = component.provider_named(event.value)
    active = found.id if found else None
    on_backup = active is not None and active != component.primary
    reviewed = active is None or on_backup == (state.on_backup_since is not None)
    if active == state.active and event.value == state.seen and reviewed:
        return
    draft.emit(ActiveChanged(draft.now.wall, component.id, active, state.active, event.value, on_backup=on_backup))
    if active != state.active and state.active is not None:
        text = f"the mechanism now says {event.value!r}; {_whose_doing(draft.switch(component.id), event.value)}"
        incidents.note(draft, component.id, EntryKind.SWITCH, text)
    schedule_review(draft, component.id)
    after_move(draft, component.id)


def _whose_doing(last: Switch | None, seen: str) -> str:
    late = last is not None and last.state is SwitchState.NO_EFFECT and last.plan.wanted == seen
    return f"a late effect of {last.id}" if last is not None and late else "opsdash did not do that"


def _read_mode(draft: Draft, component: Component, event: ReadDone) -> None:
    mode = component.modes.get(event.what)
    state = draft.state(component.id)
    if mode is None or event.value is None:
        return
    in_force = event.value == mode.as_name
    if in_force and state.mode is None:
        draft.emit(ModeSeen(draft.now.wall, component.id, mode.id, None, event.value))
    elif not in_force and state.mode == mode.id:
        draft.emit(ModeSeen(draft.now.wall, component.id, None, mode.id, event.value))
    else:
        return
    schedule_review(draft, component.id)
    after_move(draft, component.id)


def read_all(draft: Draft, component: Component) -> None:
    """Ask all mechanisms of a component what is in force, and again in 30 s."""
    calls: list[tuple[str, Any]] = []
    if component.switch is not None and component.switch.read is not None:
        calls.append((PROVIDER, component.switch.read))
    calls += [(mode.id, mode.read) for mode in component.modes.values() if mode.read is not None]
    for what, call in calls:
        draft.effect(Read(component.id, what, call))
    if calls:
        draft.effect(SetTimer(("read", component.id), draft.now.mono + READ_EVERY))


# --- after a start -------------------------------------------------------------------------------------------------


def recover(draft: Draft) -> None:
    """What was in flight when the engine died is in doubt: it is observed, and never fired again.

    A switch whose record still says `intent` has touched nothing: its `acting` record comes before its action.
    """
    for switch_id in draft.keys("switches"):
        switch: Switch = draft.get("switches", switch_id)
        if switch.state is SwitchState.INTENT:
            _end(
                draft,
                switch,
                SwitchEvent.ENGINE_DIED,
                detail="nothing was done: the engine ended before it began",
            )
        elif switch.state in LIVE_STATES:
            detail = f"in doubt: the engine ended while it was {switch.state.value}; it is only observed now"
            after = _advance(draft, switch, SwitchEvent.ENGINE_DIED, detail=detail, in_doubt=True)
            draft.set_live("switches", switch.id, SwitchLive(acted=draft.now.mono))
            _settle(draft, after, max(switch.plan.settle, SETTLE_IN_DOUBT))
    for component in draft.operation.components.values():
        schedule_review(draft, component.id)
