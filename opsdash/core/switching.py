"""Carrying out a switch: from the intent to one of its ends, one record before each step.

intent → (read: is it still as planned?) → its steps, each: fencing or acting → settling → verifying → an outcome, see
`core.outcomes`. A switch without steps around it is acting once. The four facts are collected while verifying, from
samples that were requested after the action, again and again until all are true or the deadline has come; then the
outcome follows by table.

A step before the switch that does not work ends it: what was begun is taken back in reverse, where that can be done. A
step after it that does not work ends the sequence, and the facts decide. After a crash no further step is begun.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from opsdash.core import confirming, incidents, mechanisms, planning, reviews, verifying
from opsdash.core.mechanisms import PROVIDER
from opsdash.core.outcomes import CARRYING_OUT, LIVE_STATES, SwitchEvent, follow, outcome
from opsdash.core.steps import (
    called_off,
    first_step,
    is_before,
    next_step,
    step_name,
    undo_call,
    undo_left,
    undo_sequence,
    undo_trouble,
)
from opsdash.model.effects import Apply, CancelTimer, Poll, Read, SetTimer
from opsdash.model.incident import EntryKind
from opsdash.model.records import (
    Proved,
    SwitchAdvanced,
    SwitchEnded,
    SwitchIntended,
)
from opsdash.model.switch import (
    MAIN,
    MOVES_PROVIDER,
    Fact,
    Plan,
    Refused,
    Switch,
    SwitchCause,
    SwitchKind,
    SwitchState,
    Truth,
)
from opsdash.model.world import SwitchLive

if TYPE_CHECKING:
    from opsdash.core.draft import Draft
    from opsdash.model.inputs import ApplyDone, ReadDone, SwitchIntent
    from opsdash.model.observation import Observation
    from opsdash.model.operation import ActionCall

SAMPLE_EVERY = 0.2
"""Seconds between two samples of the same fact while verifying."""

SETTLE_IN_DOUBT = 2.0
"""Seconds to wait at least before observing a switch that was in flight when the engine died."""

ACTION_TAKES = 30.0
"""Seconds that an action without a time limit of its own may take; the executor's."""

READ_TAKES = 10.0
"""Seconds that reading a mechanism may take."""

NOT_CARRIED_OUT = frozenset({"refused", "not_started"})
"""Answers of an action by which nothing was changed."""

# --- intent --------------------------------------------------------------------------------------------------------


def intend(draft: Draft, who: str, intent: SwitchIntent, cause: SwitchCause = SwitchCause.PERSON) -> Refused | str:
    """Begin a switch, if the plan that was confirmed still stands. Returns the switch's id."""
    plan = planning.plan(draft, intent.component, intent.kind, confirming.named_target(intent))
    if isinstance(plan, Refused):
        unchanged = draft.state(intent.component).generation == intent.generation
        return plan if unchanged else confirming.out_of_date(plan.reason)
    refused = confirming.changed(plan, intent)
    if refused is not None:
        return refused
    refused = confirming.blocked(plan, intent)
    if refused is not None:
        confirming.note_blocked(draft, plan, who, refused, cause)
        return refused
    asker = confirming.asker(draft, plan, who, intent)
    if isinstance(asker, Refused):
        return asker
    noticed_at = confirming.noticed_at(draft, plan.component) if plan.kind in confirming.ANSWERS_A_FAILURE else None
    switch = Switch(
        id=f"{plan.component}-{plan.kind.value}-{plan.generation + 1}",
        plan=plan,
        state=SwitchState.INTENT,
        who=asker or who,
        reason=intent.reason or plan.reason,
        overrides=intent.overrides,
        intended_at=draft.now.wall,
        noticed_at=noticed_at,
        failed_at=None if noticed_at is None else confirming.failed_at(draft, plan.component, noticed_at),
        incident=draft.state(plan.component).incident,
        history=((draft.now.wall, SwitchState.INTENT.value),),
        cause=cause,
        approved_by=who if asker else None,
    )
    draft.emit(SwitchIntended(draft.now.wall, switch))
    due = draft.now.mono + READ_TAKES
    draft.set_live("switches", switch.id, SwitchLive(acted=draft.now.mono, due=due))
    draft.touch(plan.component)
    incidents.note(draft, plan.component, EntryKind.SWITCH, words(switch), switch.who)
    if plan.read is not None:
        draft.effect(Read(plan.component, _what(plan), plan.read))
    else:
        _begin_step(draft, switch, first_step(plan), found=plan.expected)
    return switch.id


def words(switch: Switch) -> str:
    plan = switch.plan
    if plan.kind in MOVES_PROVIDER:
        return f"{plan.kind.value} from {plan.source or 'unknown'} to {plan.target}: {switch.reason}".rstrip(": ")
    if plan.kind is SwitchKind.DEGRADE:
        return f"degraded mode {plan.target}: {switch.reason}".rstrip(": ")
    return f"back to normal from degraded mode {plan.source}"


def _what(plan: Plan) -> str:
    return PROVIDER if plan.kind in MOVES_PROVIDER else (plan.target or plan.source)


# --- acting --------------------------------------------------------------------------------------------------------


def _begin_step(
    draft: Draft, switch: Switch, name: str, *, found: str | None = None, version: str | None = None
) -> None:
    plan = switch.plan
    step = plan.step(name)
    if step is None:
        event = SwitchEvent.EXPECTED if switch.state is SwitchState.INTENT else SwitchEvent.STEP_DONE
        after = advance(draft, switch, event, prior=found)
        _act(draft, after, found, version)
        return
    event = SwitchEvent.STEP_BEFORE if name in (each.name for each in plan.before) else SwitchEvent.STEP_DONE
    after = advance(draft, switch, event, prior=found, step=name)
    _apply(draft, after, step.action, f"{switch.id}-{name}")


def _act(draft: Draft, switch: Switch, found: str | None, version: str | None) -> None:
    """Carry out the switch itself. After steps before it the version that was read is too old to be compared with."""
    plan = switch.plan
    if plan.call is None:
        detail = "there is nothing to carry out: no `leave` is declared"
        end(draft, switch, SwitchEvent.NOT_APPLIED, detail=detail)
        return
    restoring = plan.kind is SwitchKind.RESTORE and plan.restores
    expected = switch.prior if found is None else found
    prior = draft.state(plan.component).mode_prior if restoring else None
    _apply(draft, switch, plan.call, switch.id, expected=expected, prior=prior, version=version)


def _apply(
    draft: Draft,
    switch: Switch,
    call: ActionCall,
    action_id: str,
    *,
    expected: str | None = None,
    prior: str | None = None,
    version: str | None = None,
) -> None:
    plan = switch.plan
    back = switch.state is SwitchState.UNDOING
    due = draft.now.mono + (call.timeout or ACTION_TAKES)
    draft.set_live("switches", switch.id, SwitchLive(acted=draft.now.mono, awaited=action_id, due=due))
    draft.effect(
        Apply(
            switch=switch.id,
            component=plan.component,
            call=call,
            action_id=action_id,
            expected=expected,
            source=plan.target if back else plan.source,
            target=plan.source if back else plan.target,
            prior=prior,
            version=version,
        )
    )


def applied(draft: Draft, event: ApplyDone) -> None:
    """An action has been carried out, or not, or nobody knows."""
    switch: Switch | None = draft.get("switches", event.switch)
    live: SwitchLive | None = draft.live("switches", event.switch)
    if switch is None or live is None or switch.state not in CARRYING_OUT or live.awaited != event.action_id:
        return
    if switch.state is SwitchState.UNDOING:
        _taken_back(draft, switch, event)
    elif event.result in NOT_CARRIED_OUT:
        _not_carried_out(draft, switch, event.detail)
    else:
        after = advance(draft, switch, SwitchEvent.APPLIED, detail=event.detail, prior=event.prior, step=switch.step)
        draft.set_live("switches", switch.id, SwitchLive(acted=draft.now.mono, doubt=_doubt(event)))
        step = switch.plan.step(switch.step)
        settle_for(draft, after, switch.plan.settle if step is None else step.settle)


def _doubt(event: ApplyDone) -> str:
    """What an action answered that leaves open whether it took effect."""
    return "" if event.result == "applied" else event.detail or "it did not say what became of it"


def _not_carried_out(draft: Draft, switch: Switch, detail: str) -> None:
    """A step was refused, or never started: it has changed nothing."""
    if switch.step in (step.name for step in switch.plan.after):
        detail = f"{switch.step}: {detail}"
        after = advance(draft, switch, SwitchEvent.STEP_FAILED, detail=detail, halted=True, dropped=switch.step)
        draft.set_live("switches", switch.id, SwitchLive(acted=draft.now.mono))
        settle_for(draft, after, 0.0)
    elif len(switch.begun) > 1:
        roll_back(draft, switch, f"{step_name(switch)} was not carried out: {detail}", dropped=step_name(switch))
    else:
        end(draft, switch, SwitchEvent.NOT_APPLIED, detail=detail)


def settle_for(draft: Draft, switch: Switch, seconds: float) -> None:
    """Let it take effect before it is judged."""
    if seconds <= 0:
        settled(draft, switch.id)
        return
    until = draft.now.mono + seconds
    live: SwitchLive = draft.live("switches", switch.id) or SwitchLive(acted=draft.now.mono)
    draft.set_live("switches", switch.id, replace(live, due=until))
    draft.effect(SetTimer(("settle", switch.id), until))


def settled(draft: Draft, switch_id: str) -> None:
    """The settle time is over: measure what has become of it."""
    switch: Switch | None = draft.get("switches", switch_id)
    if switch is None or switch.state is not SwitchState.SETTLING:
        return
    after = advance(draft, switch, SwitchEvent.SETTLED, step=switch.step)
    _measure(draft, after)


def _measure(draft: Draft, switch: Switch) -> None:
    """Ask for everything that the step, or the switch as a whole, is judged by."""
    before: SwitchLive = draft.live("switches", switch.id) or SwitchLive(acted=draft.now.mono)
    deadline = draft.now.mono + verifying.deadline(switch)
    draft.set_live("switches", switch.id, replace(before, deadline=deadline, due=deadline))
    draft.effect(SetTimer(("verify", switch.id), deadline))
    if switch.plan.read is not None and verifying.needs_reading(switch):
        draft.effect(Read(switch.plan.component, _what(switch.plan), switch.plan.read))
    for check in sorted(verifying.involved(switch)):
        draft.effect(Poll(check))
    _conclude(draft, switch, at_deadline=False)


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
    """Go on, or end, if all is true or the deadline has come. True if this verification is over."""
    live: SwitchLive = draft.live("switches", switch.id) or SwitchLive()
    if not verifying.is_whole(switch):
        return _conclude_step(draft, switch, live, at_deadline=at_deadline)
    found = verifying.facts(switch, live)
    event = outcome(found)
    if event is not SwitchEvent.VERIFIED and not at_deadline:
        return False
    if switch.undoing:
        _conclude_undo(draft, switch, event, found, live.doubt)
    else:
        end(draft, switch, event, found=found)
    return True


def _conclude_step(draft: Draft, switch: Switch, live: SwitchLive, *, at_deadline: bool) -> bool:
    truth, evidence = verifying.step_truth(switch, live)
    if truth is not Truth.TRUE and not at_deadline and verifying.is_measured(switch):
        return False
    name = step_name(switch)
    following = next_step(switch)
    if switch.halted:
        said = {Truth.TRUE: "it is done", Truth.FALSE: "it is not done"}.get(truth, "nobody knows whether it is done")
        detail = f"it was interrupted at {name}: {said} ({evidence}); the switch itself was never begun"
        end(draft, switch, SwitchEvent.STUCK, detail=detail)
    elif truth is Truth.TRUE and called_off(switch) and is_before(switch):
        roll_back(draft, switch, f"called off by {switch.abort_asked}")
    elif truth is Truth.TRUE and following is not None:
        _begin_step(draft, switch, following)
    elif truth is Truth.TRUE:
        _judge_the_whole(draft, switch, SwitchEvent.STEPS_DONE, "")
    elif is_before(switch) and truth is Truth.FALSE:
        roll_back(draft, switch, f"{name} did not come about: {evidence}")
    elif is_before(switch):
        end(draft, switch, SwitchEvent.STUCK, detail=f"nobody knows whether {name} came about: {evidence}")
    else:
        said = f"{name} did not come about" if truth is Truth.FALSE else f"nobody knows whether {name} came about"
        _judge_the_whole(draft, switch, SwitchEvent.STEP_FAILED, f"{said}: {evidence}")
    return True


def _judge_the_whole(draft: Draft, switch: Switch, event: SwitchEvent, detail: str) -> None:
    """No further step: now the four facts count, by samples from now on."""
    after = advance(draft, switch, event, detail=detail, halted=event is SwitchEvent.STEP_FAILED)
    draft.set_live("switches", switch.id, SwitchLive(acted=draft.now.mono))
    _measure(draft, after)


def _conclude_undo(draft: Draft, switch: Switch, event: SwitchEvent, found: tuple[Fact, ...], doubt: str) -> None:
    """The four facts tell whether the switch itself was taken back; of a step only the answer of its action does."""
    left = undo_left(switch)
    if doubt and switch.step:
        detail = f"nobody knows whether {switch.step} was taken back: {doubt}"
        detail += f"; not taken back yet: {', '.join(left)}" if left else ""
        end(draft, switch, SwitchEvent.NOT_BACK, found=found, detail=detail)
        return
    if left:
        detail = f"not taken back yet: {', '.join(left)}"
        end(draft, switch, SwitchEvent.NOT_BACK, found=found, detail=detail)
        return
    untouched = is_before(switch) and switch.plan.read is None
    back = event is SwitchEvent.VERIFIED or untouched
    end(draft, switch, SwitchEvent.BACK if back else SwitchEvent.NOT_BACK, found=found)


def verify_deadline(draft: Draft, switch_id: str) -> None:
    """The verification has to say what it knows."""
    switch: Switch | None = draft.get("switches", switch_id)
    if switch is not None and switch.state is SwitchState.VERIFYING:
        _conclude(draft, switch, at_deadline=True)


# --- taking back ---------------------------------------------------------------------------------------------------


def roll_back(draft: Draft, switch: Switch, detail: str, *, dropped: str = "") -> None:
    """Take back what was begun, in reverse; where that cannot be done a person has to decide."""
    left = replace(switch, begun=tuple(name for name in switch.begun if name != dropped))
    trouble = undo_trouble(left)
    if trouble:
        end(draft, switch, SwitchEvent.STUCK, detail=f"{detail}; {trouble}")
    else:
        take_back(draft, switch, SwitchEvent.ROLLED_BACK, detail, dropped=dropped)


def take_back(draft: Draft, switch: Switch, event: SwitchEvent, detail: str, *, dropped: str = "") -> None:
    """Begin to carry out the undo of what was begun, then verify that the old side serves."""
    left = replace(switch, begun=tuple(name for name in switch.begun if name != dropped))
    sequence = undo_sequence(left)
    name = sequence[0] if sequence else ""
    after = advance(draft, switch, event, detail=detail, step=_recorded(name), dropped=dropped)
    if sequence:
        _undo_step(draft, after, name)
        return
    draft.set_live("switches", switch.id, SwitchLive(acted=draft.now.mono))
    settle_for(
        draft, advance(draft, after, SwitchEvent.APPLIED, detail=f"{detail}; there is nothing to take back"), 0.0
    )


def _recorded(name: str) -> str:
    return "" if name == MAIN else name


def _undo_step(draft: Draft, switch: Switch, name: str) -> None:
    call = undo_call(switch, name)
    if call is None:
        raise ValueError(f"{switch.id} has no way to take {name} back")
    attempt = sum(state == SwitchState.UNDOING.value for _, state in switch.history)
    action_id = f"{switch.id}-undo-{attempt}" if name == MAIN else f"{switch.id}-{name}-undo-{attempt}"
    plan = switch.plan
    restoring = name == MAIN and plan.kind is SwitchKind.DEGRADE and plan.restores
    ours = plan.wanted if name == MAIN else None  # what somebody else has put there since is not taken back
    _apply(draft, switch, call, action_id, expected=ours, prior=switch.prior if restoring else None)


def _taken_back(draft: Draft, switch: Switch, event: ApplyDone) -> None:
    """The undo of a step has been carried out, or not, or nobody knows."""
    name = step_name(switch)
    if event.result in NOT_CARRIED_OUT:
        end(draft, switch, SwitchEvent.NOT_APPLIED, detail=f"{name} was not taken back: {event.detail}")
        return
    left = undo_left(switch)
    if left and event.result == "applied":
        after = advance(draft, switch, SwitchEvent.NEXT_UNDO, detail=event.detail, step=_recorded(left[0]))
        _undo_step(draft, after, left[0])
        return
    after = advance(draft, switch, SwitchEvent.APPLIED, detail=event.detail, step=switch.step)
    draft.set_live("switches", switch.id, SwitchLive(acted=draft.now.mono, doubt=_doubt(event)))
    settle_for(draft, after, switch.plan.settle)


# --- ends ----------------------------------------------------------------------------------------------------------


def advance(
    draft: Draft,
    switch: Switch,
    event: SwitchEvent,
    *,
    detail: str = "",
    prior: str | None = None,
    in_doubt: bool = False,
    step: str = "",
    dropped: str = "",
    halted: bool = False,
) -> Switch:
    """Record that a switch goes on, and return it as it is then. Raises ValueError for what the table does not have."""
    after = _after(switch, event)
    draft.emit(
        SwitchAdvanced(
            draft.now.wall,
            switch.id,
            switch.plan.component,
            after,
            detail,
            prior,
            in_doubt,
            step=step,
            dropped=dropped,
            halted=halted,
        )
    )
    draft.touch(switch.plan.component)
    found: Switch = draft.get("switches", switch.id)
    return found


def _after(switch: Switch, event: SwitchEvent) -> SwitchState:
    after = follow(switch.state, event)
    if after is None:
        raise ValueError(f"a switch that is {switch.state.value} has no answer to: {event.value}")
    return after


def end(
    draft: Draft,
    switch: Switch,
    event: SwitchEvent,
    *,
    found: tuple[Fact, ...] = (),
    detail: str = "",
    who: str | None = None,
) -> None:
    """Record the outcome, and look at everything that depends on it. `who`: a person stated it."""
    after = _after(draft.get("switches", switch.id), event)
    plan = switch.plan
    draft.emit(SwitchEnded(draft.now.wall, switch.id, plan.component, after, found, detail, who))
    draft.set_live("switches", switch.id, None)
    moved = draft.state(plan.component).moved
    if moved is not None and moved.switch == switch.id:
        draft.set_live("ended", plan.component, draft.now.mono)
    for timer in ("settle", "verify"):
        draft.effect(CancelTimer((timer, switch.id)))
    if after is SwitchState.COMMITTED and who is None:
        _prove(draft, switch)
    component = draft.component(plan.component)
    if after is not SwitchState.COMMITTED and component is not None:
        mechanisms.read_all(draft, component)
    reviews.schedule_review(draft, plan.component)
    text = f"{words(switch)} → {after.value}" + (f" ({detail})" if detail else "")
    incidents.note(draft, plan.component, EntryKind.SWITCH, text, who or switch.who)
    mechanisms.after_move(draft, plan.component)


def _prove(draft: Draft, switch: Switch) -> None:
    component = draft.component(switch.plan.component)
    if component is None or not switch.plan.target:
        return
    what = switch.plan.target if switch.plan.kind in MOVES_PROVIDER else f"mode:{switch.plan.target}"
    took = max(0.0, draft.now.wall - switch.intended_at)
    draft.emit(Proved(draft.now.wall, component.id, what, switch.id, component.sha256, switch.who, took))


# --- reading the mechanism -----------------------------------------------------------------------------------------


def read_done(draft: Draft, event: ReadDone) -> None:
    """A mechanism was read: for a switch in flight, or to know what is in force."""
    component = draft.component(event.component)
    if component is None or not mechanisms.is_news(draft, event):
        return
    switch = draft.switch(event.component)
    if switch is not None and switch.state in LIVE_STATES and _what(switch.plan) == event.what:
        _read_for_switch(draft, switch, event)
        after = draft.switch(event.component)
        if after is None or after.state is not SwitchState.REFUSED:
            return  # else it was refused because of this very reading, which is news of somebody else's doing
    if event.what == PROVIDER:
        mechanisms.provider_read(draft, component, event)
    else:
        mechanisms.mode_read(draft, component, event)


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
    elif event.value == plan.wanted:
        detail = f"nothing was done: the mechanism says {event.value!r} already"
    elif plan.expected is not None and event.value != plan.expected:
        detail = f"nothing was done: the mechanism says {event.value!r}, expected was {plan.expected!r}"
    else:
        _begin_step(draft, switch, first_step(plan), found=event.value, version=event.version)
        return
    end(draft, switch, SwitchEvent.UNEXPECTED, detail=detail)


# --- after a start -------------------------------------------------------------------------------------------------


def recover(draft: Draft) -> None:
    """What was in flight when the engine died is in doubt: it is observed, and never fired again.

    A switch whose record still says `intent` has touched nothing: the record of a step comes before its action.
    """
    for switch_id in draft.keys("switches"):
        switch: Switch = draft.get("switches", switch_id)
        if switch.state is SwitchState.INTENT:
            detail = "nothing was done: the engine ended before it began"
            end(draft, switch, SwitchEvent.ENGINE_DIED, detail=detail)
        elif switch.state in LIVE_STATES:
            detail = f"in doubt: the engine ended while it was {switch.state.value}; it is only observed now"
            observe(draft, switch, SwitchEvent.ENGINE_DIED, detail, max(switch.plan.settle, SETTLE_IN_DOUBT))
    for component in draft.operation.components.values():
        moved = draft.state(component.id).moved
        if moved is not None:
            since = max(0.0, draft.now.wall - moved.at)
            draft.set_live("ended", component.id, draft.now.mono - since)
        reviews.schedule_review(draft, component.id)


def observe(draft: Draft, switch: Switch, event: SwitchEvent, detail: str, settle: float) -> None:
    """From now on it is only observed: no further step is begun, nothing is fired."""
    died = event is SwitchEvent.ENGINE_DIED
    step = switch.step if switch.undoing or is_before(switch) else ""
    after = advance(draft, switch, event, detail=detail, in_doubt=died, halted=True, step=step)
    draft.set_live("switches", switch.id, SwitchLive(acted=draft.now.mono, doubt=detail))
    settle_for(draft, after, settle)
