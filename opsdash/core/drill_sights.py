"""What is seen while a drill runs: taken from the records that follow from whatever happens, and noted as it comes.

One table says which record tells what. Nothing here decides anything but whether a drill is interrupted: by an incident
that it does not explain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opsdash.core import drill_moves
from opsdash.core.drill_marks import concerned
from opsdash.core.drill_overlay import targets
from opsdash.core.reader import OPSDASH
from opsdash.model import records as r
from opsdash.model.drill import DrillState, Level, Sight, Verdict
from opsdash.model.incident import IncidentKind
from opsdash.model.message import Delivery
from opsdash.model.status import Status
from opsdash.model.switch import MOVES_MODE, SwitchKind, SwitchState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opsdash.core.draft import Draft
    from opsdash.model.drill import DrillRun
    from opsdash.model.incident import Incident
    from opsdash.model.message import Outgoing
    from opsdash.model.records import Record
    from opsdash.model.run import Run
    from opsdash.model.switch import Switch

ANSWERS = frozenset({SwitchKind.FAILOVER, SwitchKind.DEGRADE})
"""Switches that are a response; the others are the way back."""

REAL = frozenset({IncidentKind.FAILURE, IncidentKind.MANUAL})
"""Incidents that interrupt a drill which does not explain them."""


def note(draft: Draft, run: DrillRun, what: Sight, subject: str = "", moment: float | None = None) -> None:
    """Record that something was seen."""
    draft.emit(r.DrillSaw(draft.now.wall, run.id, run.component, what, subject, moment))
    draft.touch(run.component)


def look(draft: Draft, run: DrillRun, records: Sequence[Record]) -> None:
    """Note what new records tell of a run, and what else there is to see."""
    for record in records:
        sees = SEES.get(type(record))
        now: DrillRun = draft.get("drills", run.id)
        if sees is not None and now.is_open:
            sees(draft, now, record)
    now = draft.get("drills", run.id)
    if now.is_open:
        _first_bad(draft, now)
        _mode(draft, now)


def parts(run: DrillRun) -> frozenset[str]:
    """The components that the response is given in."""
    return frozenset({run.component} if run.goal is None else {run.component, run.goal.component})


# --- incidents -----------------------------------------------------------------------------------------------------


def _incident(draft: Draft, run: DrillRun, record: r.IncidentOpened | r.IncidentReopened | r.IncidentJoined) -> None:
    incident: Incident | None = draft.get("incidents", record.incident)
    if incident is None:
        return
    if incident.drill:
        if incident.component == run.component and run.times.opened is None:
            note(draft, run, Sight.OPENED, incident.id)
        return
    begun = not isinstance(record, r.IncidentJoined) or record.kind is IncidentKind.FAILURE
    if begun and incident.kind in REAL:
        real = incident.component == run.component
        drill_moves.stop(draft, run, f"{incident.id} was opened: {incident.title}", Verdict.INTERRUPTED, real=real)


def _acknowledged(draft: Draft, run: DrillRun, record: r.IncidentAcknowledged) -> None:
    if record.incident == run.incident and run.times.acknowledged is None and record.who != OPSDASH:
        note(draft, run, Sight.ACKNOWLEDGED, record.who)


def _recovered(draft: Draft, run: DrillRun, record: r.IncidentRecovered) -> None:
    """Where the response is a runbook, nothing else tells that users are served again."""
    mine = record.incident == run.incident and record.component in ("", run.component)
    if not mine or run.state is not DrillState.RUNNING:
        return
    if not record.again and run.goal is None and run.times.verified is None:
        note(draft, run, Sight.VERIFIED)
    elif record.again and run.times.verified is not None:
        note(draft, run, Sight.FAILED, f"{run.component} failed again after service was verified")


# --- the response --------------------------------------------------------------------------------------------------


def _switch_intended(draft: Draft, run: DrillRun, record: r.SwitchIntended) -> None:
    plan = record.switch.plan
    _affected(draft, run, plan.component)
    if plan.component not in parts(run) or run.state not in (DrillState.RUNNING, DrillState.RESTORING):
        return
    if plan.kind in ANSWERS and run.state is DrillState.RUNNING:
        note(draft, run, Sight.DECIDED, record.switch.id)
    else:
        note(draft, run, Sight.BACK, record.switch.id)


def _switch_ended(draft: Draft, run: DrillRun, record: r.SwitchEnded) -> None:
    switch: Switch | None = draft.get("switches", record.switch)
    if switch is None or switch.id not in run.switches or switch.plan.kind not in ANSWERS:
        return
    if record.state is not SwitchState.COMMITTED:
        said = f": {record.detail}" if record.detail else ""
        note(draft, run, Sight.FAILED, f"{switch.id} ended {record.state.value}{said}")
    elif run.times.verified is None and _is_the_goal(run, switch):
        note(draft, run, Sight.SWITCHED, switch.id, switch.applied_at)
        note(draft, run, Sight.VERIFIED, switch.plan.target)


def _is_the_goal(run: DrillRun, switch: Switch) -> bool:
    goal = run.goal
    if goal is None:
        return True
    degrades = switch.plan.kind in MOVES_MODE
    return (switch.plan.component, degrades) == (goal.component, goal.degrades) and goal.target in (
        None,
        switch.plan.target,
    )


def _run_started(draft: Draft, run: DrillRun, record: r.RunStarted) -> None:
    ours = record.component == run.component and run.drill.runbook in (None, record.runbook)
    if not ours or run.runbook_run is not None or run.state is not DrillState.RUNNING:
        return
    note(draft, run, Sight.RUNBOOK, record.run)
    if run.goal is None:
        note(draft, run, Sight.DECIDED)


def _run_ended(draft: Draft, run: DrillRun, record: r.RunEnded) -> None:
    if record.run != run.runbook_run:
        return
    closed: list[Run] = [draft.get("last_runs", key) for key in draft.keys("last_runs")]
    ended = next((each for each in closed if each.id == record.run), None)
    if ended is not None and all(ended.mark(step) for step, _ in ended.steps):
        note(draft, run, Sight.FOLLOWED, record.run)
        if run.goal is None and run.times.verified is None and run.drill.level is Level.SYNTHETIC:
            note(draft, run, Sight.VERIFIED)  # what is pretended goes on, whatever people do about it


def _tried(draft: Draft, run: DrillRun, record: r.MessageTried) -> None:
    item: Outgoing | None = draft.get("messages", record.message)
    delivered = record.attempt.outcome is Delivery.DELIVERED
    if run.alarmed_at is None and delivered and item is not None and run.incident in item.message.incidents:
        note(draft, run, Sight.ALARMED, record.message)


def _first_bad(draft: Draft, run: DrillRun) -> None:
    begun, component = run.times.injected, draft.component(run.component)
    if run.times.first_bad is not None or begun is None or component is None or not run.drill.injections:
        return
    active = component.provider(draft.state(component.id).active)
    checks = [*component.checks, *(active.checks if active is not None else ())]
    checks += [
        check for injection in run.drill.injections if injection.target for check in targets(draft, run, injection)
    ]
    found = {check: since for check in checks if (since := draft.check(check).bad_since) is not None and since >= begun}
    if found:
        first = min(found, key=lambda check: found[check])
        note(draft, run, Sight.FIRST_BAD, first, found[first])


def _mode(draft: Draft, run: DrillRun) -> None:
    """Whether the degraded mode that is expected is in force, with all that it keeps."""
    wanted = run.drill.expect.mode
    if wanted is None or run.mode_at is not None or run.state is not DrillState.RUNNING:
        return
    component = draft.component(run.component if run.goal is None else run.goal.component)
    if component is None or draft.state(component.id).mode != wanted.rpartition("/")[2]:
        return
    switch, mode = draft.switch(component.id), component.modes.get(wanted.rpartition("/")[2])
    if mode is None or switch is None or switch.state is not SwitchState.COMMITTED:
        return
    kept = [check for name in mode.keeps for check in _feature_checks(draft, component.id, name)]
    if all(draft.check(check).status is Status.OK for check in kept):
        note(draft, run, Sight.MODE, mode.id)


def _feature_checks(draft: Draft, component_id: str, name: str) -> tuple[str, ...]:
    other, _, feature_id = name.rpartition("/")
    component = draft.component(other or component_id)
    feature = None if component is None else component.features.get(feature_id)
    return () if feature is None else feature.checks


# --- others --------------------------------------------------------------------------------------------------------


def _component_changed(draft: Draft, run: DrillRun, record: r.ComponentChanged) -> None:
    _affected(draft, run, record.component)
    fell = record.component == run.component and record.status is Status.DOWN
    switched = run.drill.level is Level.SWITCH and run.component in concerned(draft, run)
    if fell and run.state is DrillState.RUNNING and (switched or run.times.verified is not None):
        note(draft, run, Sight.FAILED, f"{run.component} went down while the response was in force")


def _active_changed(draft: Draft, run: DrillRun, record: r.ActiveChanged) -> None:
    _affected(draft, run, record.component)


def _affected(draft: Draft, run: DrillRun, component: str) -> None:
    if component in run.drill.expect.unaffected and component not in run.affected and run.times.injected is not None:
        note(draft, run, Sight.AFFECTED, component)


SEES: dict[type, Callable[[Draft, DrillRun, Any], None]] = {
    r.IncidentOpened: _incident,
    r.IncidentReopened: _incident,
    r.IncidentJoined: _incident,
    r.IncidentAcknowledged: _acknowledged,
    r.IncidentRecovered: _recovered,
    r.SwitchIntended: _switch_intended,
    r.SwitchEnded: _switch_ended,
    r.RunStarted: _run_started,
    r.RunEnded: _run_ended,
    r.MessageTried: _tried,
    r.ComponentChanged: _component_changed,
    r.ActiveChanged: _active_changed,
}
"""What each type of record tells."""
