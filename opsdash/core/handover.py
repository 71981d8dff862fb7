"""The note with which an incident is handed over: conditions, actions, needs, timers, the current step, open risks.

It is written from what opsdash knows, so that nobody who is tired has to; the one who goes adds what only a person
knows. (Conditions, actions and needs are the parts of a tactical report in Netflix's Dispatch.)
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from opsdash.core import incidents, proofs
from opsdash.core.redundancy import REDUNDANT
from opsdash.core.run_blocks import ROUTINE
from opsdash.model.incident import EntryKind
from opsdash.model.run import BlockState, RunMode
from opsdash.model.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from opsdash.core.draft import Draft
    from opsdash.model.incident import Incident
    from opsdash.model.operation import Component
    from opsdash.model.run import Run

ACTIONS = 8
"""The latest things done that are named."""

DONE = frozenset({EntryKind.SWITCH, EntryKind.RUNBOOK, EntryKind.NOTE, EntryKind.MESSAGE})
"""Lines of a timeline that say what somebody did."""


def note(draft: Draft, incident: Incident, needs: str = "") -> str:
    """The handover note of an incident, as plain text of several lines."""
    components = [each for each in map(draft.component, incident.components) if each is not None]
    parts = {
        "Conditions": _conditions(draft, incident, components),
        "Actions": _actions(incident),
        "Needs": [needs] if needs else ["nothing was said"],
        "Timers": _timers(draft, incident, components),
        "Current step": _steps(draft, incident),
        "Open risks": _risks(draft, components),
    }
    lines = []
    for title, said in parts.items():
        found = list(said) or ["none"]
        lines += [f"{title}:", *(f"- {line}" for line in found)]
    return "\n".join(lines)


def _conditions(draft: Draft, incident: Incident, components: Iterable[Component]) -> Iterator[str]:
    yield f"{incident.id} is {incident.state.value}, severity {incident.severity}: {incident.title}"
    for component in components:
        health, state = draft.health(component.id), draft.state(component.id)
        why = f" ({health.reason.value})" if health.reason else ""
        served = f", served by {state.active}" if component.providers and state.active else ""
        yield f"{component.title} is {health.status.value}{why}{served}"
        for failure in incidents.failing_modes(draft, component):
            yield f"{component.title}: {failure.title}; decided for it: {failure.response}"


def _actions(incident: Incident) -> list[str]:
    done = [each for each in incident.entries if each.kind in DONE and each.text and not each.text.endswith(ROUTINE)]
    told = [
        entry
        for place, entry in enumerate(done)  # a switch that has ended is told once, with what came of it
        if not any(later.text.startswith(f"{entry.text} → ") for later in done[place + 1 :])
    ]
    return [f"{entry.who}: {entry.text.splitlines()[0]}" for entry in told[-ACTIONS:]]


def _timers(draft: Draft, incident: Incident, components: Iterable[Component]) -> Iterator[str]:
    now = draft.now.wall
    if incident.ack_until is not None and incident.acknowledged_by is not None:
        yield f"the acknowledgement by {incident.acknowledged_by} runs out {_when(incident.ack_until, now)}"
    for component in components:
        state, pause = draft.state(component.id), draft.get("pauses", component.id)
        if pause is not None:
            yield f"the checks of {component.title} are paused by {pause.who}; they go on {_when(pause.until, now)}"
        if state.on_backup_since is not None and component.switch is not None:
            due = state.on_backup_since + component.switch.review_after
            yield f"{component.title} is on its backup; that is to be reviewed {_when(due, now)}"
        mode = component.modes.get(state.mode or "")
        if mode is not None and state.mode_since is not None:
            due = state.mode_since + mode.review_after
            yield f"{component.title} is in its degraded mode {mode.id}; that is to be reviewed {_when(due, now)}"


def _when(at: float, now: float) -> str:
    return f"in {format_duration(at - now)}" if at > now else f"since {format_duration(now - at)}"


def _steps(draft: Draft, incident: Incident) -> Iterator[str]:
    for key in draft.keys("runs"):
        run: Run = draft.get("runs", key)
        if run.incident != incident.id:
            continue
        rehearsal = " (a rehearsal)" if run.mode is RunMode.REHEARSE else ""
        where = f"at {run.called(run.current)}" if run.current else "every step is marked"
        counts = ", ".join(f"{count} {mark}" for mark, count in Counter(mark.mark for mark in run.marks).items())
        who = f"driven by {run.driven_by}"
        yield f"{run.id}, runbook {run.runbook}{rehearsal}, {who}: {where} ({counts or 'none done'})"
        for block in run.blocks:
            if block.state is BlockState.STARTED:
                yield f"{run.id}: a block of {run.called(block.step)} is running"
            elif block.in_doubt:
                yield f"{run.id}: nobody knows what a block of {run.called(block.step)} has done; it has to be decided"


def _risks(draft: Draft, components: Iterable[Component]) -> Iterator[str]:
    for component in components:
        state, redundancy = draft.state(component.id), draft.health(component.id).redundancy
        if redundancy not in REDUNDANT:
            yield f"{component.title}: no backup could take over now ({redundancy})"
        mode = component.modes.get(state.mode or "")
        if mode is not None and mode.drops:
            yield f"{component.title}: users do without {', '.join(mode.drops)}"
        for provider in component.providers:
            known, _ = proofs.proof_of(draft, component, provider.id, draft.now.wall)
            if provider.id not in (state.active, component.primary) and known != proofs.FRESH:
                yield f"{component.title}: {provider.title} has no fresh proof that it works ({known})"
