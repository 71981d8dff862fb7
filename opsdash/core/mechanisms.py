"""What the mechanisms say is in force: who serves, which degraded mode. What they say wins over memory.

They are read at a start, after the files have changed, every 30 s and around each switch. One failure keeps the last
value, two make it unknown, and what was asked for before the newest answer is no news. When one says something else
than what opsdash did last, somebody else did that: a reload that forgot a switch, another tool, a person. It is said at
once, with what was seen, and nothing is done about it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from opsdash.core import alarms, health, incidents, reviews
from opsdash.model.effects import Read, SetTimer
from opsdash.model.incident import EntryKind
from opsdash.model.records import ActiveChanged, ModeSeen, SwitchReverted
from opsdash.model.switch import MOVES_PROVIDER, SwitchKind, SwitchState

if TYPE_CHECKING:
    from opsdash.core.draft import Draft
    from opsdash.model.inputs import ReadDone
    from opsdash.model.operation import Component
    from opsdash.model.switch import Switch

READ_EVERY = 30.0
"""Seconds between two reads of a mechanism while nothing happens."""

PROVIDER = "switch"
"""The `what` of a read that asks who serves; a degraded mode's is its id."""


def after_move(draft: Draft, component: str) -> None:
    """Who serves, or what is in force, may have changed: judge all anew that depends on it."""
    health.refresh(draft, component)
    for watcher in draft.operation.watchers.get(f"{component}/*", ()):
        if watcher != component:
            health.refresh(draft, watcher)


def is_news(draft: Draft, event: ReadDone) -> bool:
    """Whether a reading was asked for no sooner than the newest that was heard; if so, it is the newest now.

    One that a slow mechanism answers late says what was in force before: heeded, it would undo a switch on the screen,
    and call it reverted.
    """
    key = f"{event.component}/{event.what}"
    newest: float | None = draft.live("readings", key)
    if newest is not None and event.requested < newest:
        return False
    draft.set_live("readings", key, event.requested)
    return True


def provider_read(draft: Draft, component: Component, event: ReadDone) -> None:
    """The switch's mechanism was read while no switch is in flight."""
    _look_for_both(draft, component, event)
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
        last = draft.switch(component.id)
        text = f"the mechanism now says {event.value!r}; {_whose_doing(last, event)}"
        if last is not None and last.plan.kind in MOVES_PROVIDER and last.plan.target == state.active:
            _reverted(draft, last, event)
        incidents.note_or_open(draft, component, EntryKind.SWITCH, text)
    reviews.schedule_review(draft, component.id)
    after_move(draft, component.id)


def _look_for_both(draft: Draft, component: Component, event: ReadDone) -> None:
    """Note which providers the mechanism sees serving at once, where only one may."""
    old_out = component.switch.old_out if component.switch is not None else None
    if event.serving is None or old_out is None or not old_out.mechanism:
        return
    names = {provider.as_name for provider in component.providers}
    seen = tuple(name for name in sorted(event.serving) if name in names)
    both = seen if len(seen) > 1 else ()
    before = draft.health(component.id)
    reads = before.both_reads + 1 if both else 0
    if both or before.both != both:
        draft.set_live("components", component.id, replace(before, both=both, both_reads=reads))
        alarms.refresh_topics(draft, component.id)


def _whose_doing(last: Switch | None, event: ReadDone) -> str:
    if last is not None and last.state is SwitchState.NO_EFFECT and last.plan.wanted == event.value:
        return f"a late effect of {last.id}"
    return f"opsdash did not do that{_mark(event)}"


def _mark(event: ReadDone) -> str:
    return f" (it bears the mark {event.by!r})" if event.by else ""


def _reverted(draft: Draft, last: Switch, event: ReadDone) -> None:
    """A committed switch is no longer in force, by somebody else's doing."""
    if last.state is not SwitchState.COMMITTED or event.value is None:
        return
    detail = f"it says {event.value!r}, and {last.id} had led it to {last.plan.wanted!r}{_mark(event)}"
    draft.emit(SwitchReverted(draft.now.wall, last.id, last.plan.component, event.value, detail))


def mode_read(draft: Draft, component: Component, event: ReadDone) -> None:
    """The mechanism of a degraded mode was read while nobody is entering or leaving it."""
    mode = component.modes.get(event.what)
    state = draft.state(component.id)
    if mode is None or event.value is None:
        return
    in_force = event.value == mode.as_name
    if in_force and state.mode is None:
        draft.emit(ModeSeen(draft.now.wall, component.id, mode.id, None, event.value))
    elif not in_force and state.mode == mode.id:
        last = draft.switch(component.id)
        if last is not None and last.plan.target == mode.id and last.plan.kind is SwitchKind.DEGRADE:
            _reverted(draft, last, event)
            text = f"degraded mode {mode.id} is no longer in force; {_whose_doing(last, event)}"
            incidents.note_or_open(draft, component, EntryKind.SWITCH, text)
        draft.emit(ModeSeen(draft.now.wall, component.id, None, mode.id, event.value))
    else:
        return
    reviews.schedule_review(draft, component.id)
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
