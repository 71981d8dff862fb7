"""The engine's own life as the core sees it: a start, new files, heartbeats that come in, an end in good order."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from opsdash.core import (
    automatic,
    delivery,
    drill_marks,
    drill_sights,
    drills,
    flapping,
    health,
    incidents,
    maintenance,
    mechanisms,
    people,
    reviews,
    run_blocks,
    switching,
)
from opsdash.core.outcomes import NOT_OVER
from opsdash.model.effects import CancelTimer, Poll, SetTimer, SuspendPolling
from opsdash.model.records import (
    ActiveChanged,
    Configured,
    EngineStarted,
    EngineStopped,
    HeartbeatReceived,
)
from opsdash.model.world import CheckLive

if TYPE_CHECKING:
    from opsdash.core.draft import Draft
    from opsdash.model.inputs import Beat, Loaded, Started, Stopping
    from opsdash.model.operation import Component, Operation


def started(draft: Draft, event: Started) -> None:
    """Take over where the last engine ended: what was in flight is in doubt, everything else starts unknown."""
    draft.emit(EngineStarted(draft.now.wall, event.version, event.pid, draft.life().stopped_at))
    switching.recover(draft)
    drills.recover(draft)
    automatic.recover(draft)
    run_blocks.recover(draft)
    incidents.started(draft)
    delivery.recover(draft)
    for component in draft.keys("pauses"):
        remaining = max(0.0, draft.get("pauses", component).until - draft.now.wall)
        draft.effect(SuspendPolling(component, suspended=True))
        draft.effect(SetTimer(("pause", component), draft.now.mono + remaining))
    maintenance.started(draft)
    people.schedule(draft, draft.now)
    for component in draft.operation.components:
        health.refresh(draft, component)


def stopping(draft: Draft, event: Stopping) -> None:
    """End in good order."""
    draft.emit(EngineStopped(draft.now.wall, event.why))


def loaded(draft: Draft, event: Loaded) -> None:
    """The files were read: what is still held by something survives its removal from them."""
    before, after = draft.operation, event.operation
    held_before = set(draft.keys("removed"))
    removed = tuple(_still_held(draft, before, after))
    draft.operation = after
    if not after.anchors and draft.engine().offline:
        draft.set_live("engine", "engine", replace(draft.engine(), offline=False))
    if before.sha256 != after.sha256 or {each.id for each in removed} != held_before:
        draft.emit(
            Configured(
                draft.now.wall,
                after.sha256,
                len(after.components),
                len(after.checks),
                event.problems,
                removed,
                _edited(before, after),
            )
        )
    for check, spec in after.checks.items():
        known = before.checks.get(check)
        if known is not None and (known.kind, known.raw) != (spec.kind, spec.raw):
            flapping.forget(draft, check)
            draft.set_live("checks", check, CheckLive())
            draft.effect(Poll(check))
    for check in draft.keys("flapping"):
        if check not in after.checks:
            flapping.forget(draft, check)
    for check in sorted(before.checks.keys() - after.checks.keys()):
        draft.set_live("checks", check, None)
    for gone in sorted((before.components.keys() | held_before) - after.components.keys()):
        draft.set_live("components", gone, None)
        draft.effect(CancelTimer(("read", gone)))
        draft.effect(CancelTimer(("blind", gone)))
        draft.touch(gone)
        health.refresh(draft, gone)
    for component in after.components.values():
        _begin(draft, component)
        health.refresh(draft, component.id)
    delivery.loaded(draft, before)


def _edited(before: Operation, after: Operation) -> tuple[str, ...]:
    """The components that are new, gone, or defined differently; none when the files are read for the first time."""
    if not before.components:
        return ()
    names = sorted(before.components.keys() | after.components.keys())
    hashes = ({name: each.sha256 for name, each in files.components.items()} for files in (before, after))
    old, new = hashes
    return tuple(name for name in names if old.get(name) != new.get(name))


def _begin(draft: Draft, component: Component) -> None:
    """Without a `read`, memory says who serves, and the primary serves until something else is known.

    A provider that serves by memory and is no longer in the file leaves nobody who is known to serve: taking it out of
    the file has not switched anything.
    """
    state = draft.state(component.id)
    switch = component.switch
    never = state.active is None and not state.seen
    gone = state.active is not None and component.provider(state.active) is None
    if component.providers and (switch is None or switch.read is None):
        if never or (gone and switch is None):
            primary = component.providers[0]
            draft.emit(ActiveChanged(draft.now.wall, component.id, primary.id, state.active, primary.as_name))
        elif gone:
            draft.emit(ActiveChanged(draft.now.wall, component.id, None, state.active, state.seen))
    reviews.schedule_review(draft, component.id)
    mechanisms.read_all(draft, component)


def _still_held(draft: Draft, before: Operation, after: Operation) -> list[Component]:
    held = [component for component in after.components.values() if component.held]
    known = {**{key: draft.get("removed", key) for key in draft.keys("removed")}, **before.components}
    run = drill_marks.open_run(draft)
    for component in known.values():
        if component.id in after.components:
            continue
        state = draft.state(component.id)
        switch = draft.switch(component.id)
        live = switch is not None and switch.state in NOT_OVER
        running = any(draft.get("runs", run).component == component.id for run in draft.keys("runs"))
        drilled = run is not None and component.id in drill_sights.parts(run)
        if live or running or drilled or draft.incident(component.id) or state.mode or state.on_backup_since:
            held.append(replace(component, removed=True))
    return held


def beat(draft: Draft, event: Beat) -> None:
    """A heartbeat's sender reports. The check that judges it runs at once."""
    if event.check in draft.operation.checks:
        draft.emit(HeartbeatReceived(draft.now.wall, event.check, event.signal, event.due, event.detail))
        draft.effect(Poll(event.check))
