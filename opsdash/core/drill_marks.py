"""What is a drill and what is not: which run is open, whom it concerns, and which faults may still be in place.

Everything here only reads. A component is concerned by a drill that breaks something if it is the one that is drilled,
or depends on it. Where opsdash only pretends, nothing else can fail because of that: then it concerns the component
itself and those whose failure modes watch the checks in question, and only as long as they do not really fail.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from opsdash.model.drill import DrillState
from opsdash.model.status import Reason, Status

if TYPE_CHECKING:
    from opsdash.core.draft import Draft
    from opsdash.model.drill import Drill, DrillRun, FaultLeft
    from opsdash.model.operation import Component

PRETEND = "pretend"
"""The kind of injection that breaks nothing: opsdash says something else of a check than what it measures."""

UNDER_WAY = frozenset({DrillState.INJECTING, DrillState.RUNNING, DrillState.UNDOING, DrillState.RESTORING})
"""States in which a failure of what is drilled is taken to be the drill's."""


class Reader(Protocol):
    """What is needed of a world or draft."""

    def get(self, table: str, key: str) -> Any: ...

    def keys(self, table: str) -> list[str]: ...


def open_run(reader: Reader) -> DrillRun | None:
    """The run that is open; there is never more than one."""
    engine = reader.get("engine", "engine")
    found: DrillRun | None = None if engine is None or not engine.drill else reader.get("drills", engine.drill)
    return found


def latest_run(reader: Reader, drill: str) -> DrillRun | None:
    """The latest run of a drill, also while it is open."""
    runs: list[DrillRun] = [reader.get("drills", key) for key in reader.keys("drills")]
    found = (run for run in runs if run.drill.id == drill)
    return max(found, key=lambda run: run.started_at, default=None)


def breaks(drill: Drill) -> bool:
    """Whether a drill breaks something outside of opsdash, so that it has to be undone."""
    return any(each.kind != PRETEND for each in drill.injections)


def red(reader: Reader) -> list[FaultLeft]:
    """Faults that may still be in place without a run that is about to undo them: for the red notice."""
    run = open_run(reader)
    waited_for = run.id if run is not None and run.undone is None else ""
    faults: list[FaultLeft] = [reader.get("drill_faults", key) for key in reader.keys("drill_faults")]
    return [each for each in faults if each.run != waited_for or each.detail]


def concerned(draft: Draft, run: DrillRun) -> frozenset[str]:
    """The components that may fail because of a run."""
    if run.drill.injections and not breaks(run.drill):
        return frozenset({run.component, *_watchers(draft)})
    found: set[str] = set()
    coming = [run.component]
    while coming:
        component = coming.pop()
        if component not in found:
            found.add(component)
            coming += draft.operation.dependents.get(component, ())
    return frozenset(found)


def _watchers(draft: Draft) -> set[str]:
    """The components with failure modes that watch a check of which something is pretended."""
    names = set()
    for check in draft.live_keys("pretended"):
        spec = draft.operation.checks.get(check)
        names |= {check} if spec is None or spec.provider is None else {check, f"{spec.component}/*"}
    return {watcher for name in names for watcher in draft.operation.watchers.get(name, ())}


def marked(draft: Draft) -> frozenset[str]:
    """The components of which a failure right now is one that was planned."""
    run = open_run(draft)
    if run is None or run.state not in UNDER_WAY or run.real:
        return frozenset()
    return frozenset(each for each in concerned(draft, run) if _is_planned(draft, run, each))


def is_drill(draft: Draft, component_id: str) -> bool:
    """Whether a failure of a component right now is one that was planned."""
    run = open_run(draft)
    if run is None or run.state not in UNDER_WAY or run.real or component_id not in concerned(draft, run):
        return False
    return _is_planned(draft, run, component_id)


def _is_planned(draft: Draft, run: DrillRun, component_id: str) -> bool:
    """Whether a component that a run concerns fails because of that, if it fails."""
    component = draft.component(component_id)
    if component is None or breaks(run.drill) or not run.drill.injections:
        return component is not None
    return not _really_fails(draft, component)


def is_pretended(draft: Draft, component_id: str) -> bool:
    """Whether a component is down only because a drill says so: that explains nothing of what fails elsewhere."""
    run = open_run(draft)
    if run is None or run.component != component_id or breaks(run.drill) or not run.drill.injections:
        return False
    return is_drill(draft, component_id)


def _really_fails(draft: Draft, component: Component) -> bool:
    active = component.provider(draft.state(component.id).active)
    checks = (*component.checks, *(active.checks if active is not None else ()))
    shown = (draft.check(check) for check in checks)
    return any(each.status is Status.DOWN and each.reason is not Reason.PRETENDED for each in shown)
