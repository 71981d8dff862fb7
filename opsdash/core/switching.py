"""Carrying out a switch: from the intent to one of its ends, one record before each step.

intent → (read: is it still as planned?) → acting → settling → verifying → an outcome, see `core.outcomes`. The four
facts are collected while verifying, from samples that were requested after the action, again and again until all are
true or the deadline has come; then the outcome follows by table.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from opsdash.core import health, incidents, planning, verifying
from opsdash.core.outcomes import LIVE_STATES, OPEN_STATES, SwitchEvent, follow, outcome
from opsdash.model.effects import Apply, CancelTimer, Poll, Read, SetTimer
from opsdash.model.incident import EntryKind
from opsdash.model.records import (
    ActiveChanged,
    ModeSeen,
    Proved,
    ReviewPassed,
    SwitchAdvanced,
    SwitchEnded,
    SwitchIntended,
)
from opsdash.model.switch import (
    MOVES_PROVIDER,
    Fact,
    Refused,
    Switch,
    SwitchKind,
    SwitchState,
)
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
    from opsdash.model.operation import Component
    from opsdash.model.switch import Plan

READ_EVERY = 30.0
"""Seconds between two reads of a mechanism while nothing happens."""

SAMPLE_EVERY = 0.2
"""Seconds between two samples of the same fact while verifying."""

SETTLE_IN_DOUBT = 2.0
"""Seconds to wait at least before observing a switch that was in flight when the engine died."""

PROVIDER = "switch"
"""The `what` of a read that asks who serves; a degraded mode's is its id."""

ANSWERS_A_FAILURE = frozenset({SwitchKind.FAILOVER, SwitchKind.DEGRADE})
"""The way back answers none: how long somebody took to decide on it says nothing."""

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
        noticed_at=_noticed_at(draft, plan.component) if plan.kind in ANSWERS_A_FAILURE else None,
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
    restoring = plan.kind is SwitchKind.RESTORE and plan.restores
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
    for check in sorted(verifying.involved(after)):
        draft.effect(Poll(check))
    _conclude(draft, after, at_deadline=False)


# --- verifying -----------------------------------------------------------------------------------------------------


def sampled(draft: Draft, seen: Observation) -> None:
    """A check has run: it may be a sample for a switch that is being verified."""
    for switch_id in draft.live_keys("switches"):
        switch: Switch | None = draft.get("switches", switch_id)
        if switch is None or switch.state is not SwitchState.VERIFYING:
            continue
        if seen.check in verifying.involved(switch):
            _sample(draft, switch, seen)


def _sample(draft: Draft, switch: Switch, seen: Observation) -> None:
    live: SwitchLive | None = draft.live("switches", switch.id)
    if live is None:
        return
    if seen.requested < live.acted:
        draft.effect(Poll(seen.check))
        return
    draft.set_live("switches", switch.id, verifying.with_observation(live, switch, seen))
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


def _conclude(draft: Draft, switch: Switch, *, at_deadline: bool) -> bool:
    """End the verification if all is true, or the deadline has come. True if it ended."""
    live: SwitchLive = draft.live("switches", switch.id) or SwitchLive()
    found = verifying.facts(switch, live)
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
    incidents.note_or_open(draft, component, EntryKind.STATUS, f"review time passed, {words}")
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
    restoring = plan.kind is SwitchKind.DEGRADE and plan.restores
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
        draft.set_live("switches", switch.id, verifying.with_reading(live, switch, event))
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
        incidents.note_or_open(draft, component, EntryKind.SWITCH, text)
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
