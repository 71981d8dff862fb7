"""How a drill's run goes from one state to the next, and what each begins with.

Whatever leads on goes through here: a record first, by the table of `core.drill_states`, then what the new state does.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from opsdash.core import drill_overlay, drill_samples, drill_states, drill_verdicts, incidents
from opsdash.core.drill_marks import breaks
from opsdash.core.drill_states import DrillEvent
from opsdash.core.reader import OPSDASH
from opsdash.model.drill import LEVEL_ORDER, PROVES, DrillState, Level, Verdict
from opsdash.model.effects import ArmGuard, CancelTimer, Inject, Poll, SetTimer, StopLoad, UndoFaults
from opsdash.model.incident import IncidentKind, IncidentState
from opsdash.model.records import DrillAdvanced, DrillEnded, IncidentClosed, IncidentResolved, Proved
from opsdash.model.world import DrillLive

if TYPE_CHECKING:
    from opsdash.core.draft import Draft
    from opsdash.model.drill import DrillRun
    from opsdash.model.incident import Incident

LOOK_EVERY = 1.0
"""Seconds between two looks at a run that waits for something."""

LOOK_AT_TABLETOP = 60.0
"""The same for one in which people talk."""

UNDO_WITHIN = 180.0
"""Seconds within which faults have to be taken back, and verified to be gone."""


def live_of(draft: Draft, run: DrillRun) -> DrillLive:
    """Progress of a run."""
    found: DrillLive | None = draft.live("drills", run.id)
    return found or DrillLive(since=draft.now.mono)


def wait(draft: Draft, run: DrillRun) -> None:
    """Look at a run again soon."""
    every = LOOK_AT_TABLETOP if run.drill.level is Level.TABLETOP else LOOK_EVERY
    draft.effect(SetTimer(("drill", run.id), draft.now.mono + every))


def advance(
    draft: Draft,
    run: DrillRun,
    event: DrillEvent,
    *,
    detail: str = "",
    stopped: str = "",
    stopped_as: Verdict | None = None,
    real: bool = False,
) -> DrillRun:
    """Record that a run goes on, and begin what it goes on with. Raises ValueError for what the table does not have."""
    following = _after(run, event)
    draft.emit(DrillAdvanced(draft.now.wall, run.id, run.component, following, detail, stopped, stopped_as, real=real))
    draft.touch(run.component)
    found: DrillRun = draft.get("drills", run.id)
    if following is not run.state or event is DrillEvent.ENGINE_DIED:
        draft.set_live("drills", run.id, replace(live_of(draft, run), since=draft.now.mono))
        enter(draft, found)
        found = draft.get("drills", run.id)
    return found


def _after(run: DrillRun, event: DrillEvent) -> DrillState:
    following = drill_states.after(run.state, event)
    if following is None:
        raise ValueError(f"a drill that is {run.state.value} has no answer to: {event.value}")
    return following


def enter(draft: Draft, run: DrillRun) -> None:
    """What a state begins with."""
    BEGINS[run.state](draft, run)


def _arming(draft: Draft, run: DrillRun) -> None:
    draft.set_live("drills", run.id, DrillLive(since=draft.now.mono))
    if breaks(run.drill):
        draft.effect(ArmGuard(run.id, run.drill))
    else:
        advance(draft, run, DrillEvent.ARMED if run.drill.injections else DrillEvent.NOTHING_TO_INJECT)


def _injecting(draft: Draft, run: DrillRun) -> None:
    _measure(draft, run)
    drill_overlay.begin(draft, run)
    if breaks(run.drill):
        draft.effect(Inject(run.id, run.drill))
    else:
        advance(draft, run, DrillEvent.INJECTED)


def _running(draft: Draft, run: DrillRun) -> None:
    if live_of(draft, run).injected is None:
        _measure(draft, run)


def _measure(draft: Draft, run: DrillRun) -> None:
    """From now on its limit counts, and the results of its steady checks."""
    live = live_of(draft, run)
    dues = {check: drill_samples.first_due(draft, check) for check in run.drill.steady}
    draft.set_live("drills", run.id, replace(live, injected=draft.now.mono, dues=dues))


def _undoing(draft: Draft, run: DrillRun) -> None:
    drill_overlay.end(draft, run.id)
    draft.effect(StopLoad(run.id))
    if run.faulty:
        live = live_of(draft, run)
        draft.set_live("drills", run.id, replace(live, undone=None, undone_at=None))
        draft.effect(UndoFaults(run.id, run.drill, draft.now.mono + UNDO_WITHIN, run.stopped))


def _restoring(draft: Draft, run: DrillRun) -> None:
    drill_overlay.end(draft, run.id)
    draft.effect(StopLoad(run.id))
    for check in dict.fromkeys((*run.drill.verify_undone, *run.drill.steady)):
        draft.effect(Poll(check))


def _nothing(_draft: Draft, _run: DrillRun) -> None:
    """An end begins nothing."""


BEGINS = {
    DrillState.ARMING: _arming,
    DrillState.INJECTING: _injecting,
    DrillState.RUNNING: _running,
    DrillState.UNDOING: _undoing,
    DrillState.RESTORING: _restoring,
    DrillState.ENDED: _nothing,
}
"""One for each state."""


# --- before its time -----------------------------------------------------------------------------------------------


def stop(draft: Draft, run: DrillRun, why: str, verdict: Verdict, *, real: bool = False) -> None:
    """End a run before its time. verdict: what it can at best have by that; real: the component really fails."""
    if run.state is DrillState.ARMING:
        end(draft, replace(run, stopped=why, stopped_as=verdict, real=real), DrillEvent.CALLED_OFF)
        return
    if run.state in (DrillState.UNDOING, DrillState.RESTORING):
        event = DrillEvent.STOPPED_LATE
    elif run.drill.injections:
        event = DrillEvent.STOPPED
    else:
        event = DrillEvent.STOPPED_UNBROKEN
    advance(draft, run, event, detail=why, stopped=why, stopped_as=verdict, real=real)
    if real:
        make_real(draft, run)


def make_real(draft: Draft, run: DrillRun) -> None:
    """What was taken for the drill's is a failure of its own: its incident ends, and another one begins unmarked."""
    incident: Incident | None = draft.get("incidents", run.incident or "")
    if incident is not None and incident.drill and incident.closed_at is None:
        text = "the drill was interrupted, since it really fails"
        draft.emit(IncidentResolved(draft.now.wall, incident.id, OPSDASH, text, closed=True))
        for component in incident.components:
            incidents.refresh(draft, component)


# --- the end -------------------------------------------------------------------------------------------------------


def end(draft: Draft, run: DrillRun, event: DrillEvent, *, recovered: bool | None = None) -> None:
    """Record the verdict with everything that it rests on."""
    following = _after(run, event)
    live = live_of(draft, run)
    restored = draft.now.wall if event is DrillEvent.RESTORED else None
    ended = replace(
        run,
        state=following,
        ended_at=draft.now.wall,
        recovered=recovered,
        samples=sum(live.samples.values()),
        missing=drill_samples.missing(draft, run, live),
        times=replace(run.times, restored=restored),
        history=(*run.history, (draft.now.wall, following.value)),
    )
    verdict, why = drill_verdicts.verdict(ended)
    ended = replace(ended, verdict=verdict, why=why)
    draft.emit(DrillEnded(draft.now.wall, ended))
    drill_overlay.end(draft, run.id)
    draft.set_live("drills", run.id, None)
    draft.effect(CancelTimer(("drill", run.id)))
    if breaks(run.drill) and not run.faulty:
        draft.effect(UndoFaults(run.id, run.drill, draft.now.mono + UNDO_WITHIN, "nothing was broken"))
    _prove(draft, ended)
    _close(draft, ended)
    draft.touch(run.component)


def _prove(draft: Draft, run: DrillRun) -> None:
    """What a drill that at least switched has led to is proved by it."""
    component = draft.component(run.component if run.goal is None else run.goal.component)
    enough = LEVEL_ORDER[run.drill.level] >= LEVEL_ORDER[Level.SWITCH]
    if run.verdict not in PROVES or not enough or component is None or not run.target:
        return
    begun, verified = run.times.injected, run.times.verified
    took = 0.0 if begun is None or verified is None else max(0.0, verified - begun)
    what = f"mode:{run.target}" if run.goal is not None and run.goal.degrades else run.target
    draft.emit(Proved(draft.now.wall, component.id, what, run.id, component.sha256, run.who, took, run.drill.valid_for))


def _close(draft: Draft, run: DrillRun) -> None:
    """The incident of a drill ends with it, where nothing is out of the ordinary any more.

    A note about what is droppable waits for a person to see it; whoever ran the drill has.
    """
    incident: Incident | None = draft.get("incidents", run.incident or "")
    if incident is None:
        return
    said = f"{run.id} has ended: {'' if run.verdict is None else run.verdict.value}"
    if incident.state is IncidentState.RESOLVED:
        draft.emit(IncidentClosed(draft.now.wall, incident.id, OPSDASH, said))
    elif incident.drill and incident.kind is IncidentKind.NOTE and incident.state is IncidentState.MITIGATED:
        draft.emit(IncidentResolved(draft.now.wall, incident.id, OPSDASH, said, closed=True))
