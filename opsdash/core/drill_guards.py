"""What speaks against beginning a drill, each a value with evidence: a rule of one table.

A drill can wait. So most rules cannot be overridden: no drill during an incident, none while another one runs, none
outside of opsdash's sight. Those that may be are overridden by their name, with a reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsdash.core import drill_evidence, windows
from opsdash.core.drill_marks import open_run, red
from opsdash.core.guards import FAIL, PASS, WARN, Rule
from opsdash.core.outcomes import NOT_OVER
from opsdash.core.people import is_away, same_person
from opsdash.core.proofs import FRESH
from opsdash.model.drill import INJECTS, LEVEL_ORDER, Level, Responder
from opsdash.model.incident import IncidentKind
from opsdash.model.status import Status
from opsdash.model.switch import Guard, GuardResult, Refused
from opsdash.model.units import format_duration
from opsdash.model.window import WindowKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from opsdash.core.draft import Draft
    from opsdash.model.drill import Drill, Goal, Lever
    from opsdash.model.incident import Incident
    from opsdash.model.inputs import StartDrillIntent
    from opsdash.model.operation import Component
    from opsdash.model.records import DrillApprovalAsked
    from opsdash.model.switch import Switch

APPROVAL = "approval"

RULES: dict[str, Rule] = {
    "off": Rule("its file has no problem that switches it off", False),
    "lever": Rule("drills are not halted", False),
    "running": Rule("no other drill is running", False),
    "fault_left": Rule("no fault of an earlier drill may still be in place", False),
    "journal": Rule("the journal can be written", False),
    "online": Rule("opsdash itself is connected", False),
    "incident": Rule("there is no open incident", False),
    "freeze": Rule("no freeze window covers the component", False),
    "window": Rule("it is within its window; at level `real` that cannot be overridden"),
    "polled": Rule("the component is polled, so that the drill can be judged", False),
    "maintenance": Rule("nobody is working on the component"),
    "switch": Rule("no switch is in flight, and none waits for a person", False),
    "primary": Rule("the component works, by its primary and without a degraded mode", False),
    "backup": Rule("the backup is ready now", False),
    "steady": Rule("every steady check passes", False),
    "unaffected": Rule("what is to stay as it is is measured", False),
    "absent": Rule("whoever begins it may take part in it", False),
    "present": Rule("somebody who may take part in it is there"),
    "below": Rule("the level below has fresh evidence"),
    APPROVAL: Rule("as many people agree as it takes", False),
}


def guards_of(draft: Draft, drill: Drill, goal: Goal | None, who: str) -> tuple[Guard, ...]:
    """Everything that speaks for and against beginning a drill now, for this person."""
    component = draft.component(drill.component)
    found = [_off(drill, component), *(rule(draft, drill) for rule in OF_OPSDASH)]
    if component is not None:
        found += [rule(draft, drill, component) for rule in OF_THE_COMPONENT]
        found += [_backup(draft, component, drill, goal), _absent(drill, who), _present(draft, drill, component)]
        found += [_below(draft, drill), _approval(draft, drill, who)]
    return tuple(each for each in found if each is not None)


def blocked(found: tuple[Guard, ...], intent: StartDrillIntent, drill: Drill) -> Refused | None:
    """What keeps a drill from being begun: a rule that is not overridden, a reason or a typed name that is missing."""
    failed = [guard for guard in found if guard.result is GuardResult.FAIL]
    final = next((guard for guard in failed if not guard.overridable and guard.rule != APPROVAL), None)
    if final is not None:
        return Refused(final.rule, f"{final.title}: {final.evidence}")
    missing = [guard for guard in failed if guard.overridable and guard.rule not in intent.overrides]
    if missing:
        why = "; ".join(f"{guard.title}: {guard.evidence}" for guard in missing)
        overrides = " ".join(f"--override {guard.rule}" for guard in missing)
        return Refused(missing[0].rule, why, f"{overrides} --reason TEXT")
    overridden = [guard.rule for guard in failed if guard.overridable]
    if overridden and not intent.reason.strip():
        return Refused("reason", f"overriding {', '.join(overridden)} needs a reason", "--reason TEXT")
    if (overridden or drill.level is Level.REAL) and intent.typed != drill.component:
        return Refused("typed", f"this needs the component's name to be typed: {drill.component}")
    return None


def _guard(rule: str, title: str, result: GuardResult, evidence: str, *, final: bool = False) -> Guard:
    return Guard(rule, title, result, evidence, None, overridable=RULES[rule].overridable and not final)


def _off(drill: Drill, component: Component | None) -> Guard | None:
    title = "the drill can be run"
    if drill.off:
        return _guard("off", title, FAIL, drill.off)
    if component is None or component.removed:
        return _guard("off", title, FAIL, f"there is no component {drill.component!r}")
    return None


# --- opsdash itself ------------------------------------------------------------------------------------------------


def _lever(draft: Draft, _drill: Drill) -> Guard | None:
    lever: Lever | None = draft.get("lever", "lever")
    if lever is None:
        return None
    ago = format_duration(max(0.0, draft.now.wall - lever.at))
    evidence = f"{lever.who} halted them {ago} ago: {lever.reason}; `opsdash drill allow` lets them begin again"
    return _guard("lever", "drills are allowed", FAIL, evidence)


def _running(draft: Draft, _drill: Drill) -> Guard:
    run, title = open_run(draft), "no other drill is running"
    if run is None:
        return _guard("running", title, PASS, "none is")
    return _guard("running", title, FAIL, f"{run.id}, drill {run.drill.id}, is {run.state.value}, begun by {run.who}")


def _fault_left(draft: Draft, _drill: Drill) -> Guard | None:
    left = red(draft)
    if not left:
        return None
    first = left[0]
    evidence = f"{first.run} of {first.component} may have left a fault in place; take it back, then say so"
    return _guard("fault_left", "no fault may still be in place", FAIL, evidence)


def _journal(draft: Draft, _drill: Drill) -> Guard | None:
    error = draft.engine().journal_error
    return _guard("journal", "the journal can be written", FAIL, error) if error else None


def _online(draft: Draft, _drill: Drill) -> Guard | None:
    if not draft.operation.anchors:
        return None
    title = "opsdash itself is connected"
    if draft.engine().offline:
        return _guard("online", title, FAIL, "most anchors do not answer")
    return _guard("online", title, PASS, f"{len(draft.operation.anchors)} anchors answer")


def _incident(draft: Draft, drill: Drill) -> Guard:
    """A note about another component is no incident; one about this component would be taken for the drill's."""
    title = "there is no open incident"
    for key in draft.keys("incidents"):
        incident: Incident = draft.get("incidents", key)
        note = incident.kind is IncidentKind.NOTE and drill.component not in incident.components
        if incident.is_open and not note:
            return _guard("incident", title, FAIL, f"{incident.id} is {incident.state.value}: {incident.title}")
    return _guard("incident", title, PASS, "none is open")


OF_OPSDASH: tuple[Callable[[Draft, Drill], Guard | None], ...] = (
    _lever, _running, _fault_left, _journal, _online, _incident,
)  # fmt: skip


# --- the component -------------------------------------------------------------------------------------------------


def _freeze(draft: Draft, _drill: Drill, component: Component) -> Guard | None:
    window = windows.freeze(draft, component.id)
    if window is None:
        return None
    left = format_duration(max(0.0, window.until - draft.now.wall))
    return _guard("freeze", "nothing is frozen", FAIL, f"{window.title}, for {left} more")


def is_within(draft: Draft, drill: Drill) -> bool:
    """Whether one of a drill's windows is open now; without any, it may be begun at any time."""
    names = () if drill.schedule is None else drill.schedule.windows
    if not names:
        return True
    open_until: float | None = draft.live("drill_windows", drill.id)
    if open_until is not None and draft.now.wall < open_until:
        return True
    states = ((name, draft.get("windows", name)) for name in names)
    return any(state is not None and windows.is_open(draft, name, state) for name, state in states)


def _window(draft: Draft, drill: Drill, _component: Component) -> Guard | None:
    if drill.schedule is None or not drill.schedule.windows:
        return None
    title, names = "it is within its window", ", ".join(drill.schedule.windows)
    if is_within(draft, drill):
        return _guard("window", title, PASS, names)
    return _guard("window", title, FAIL, f"{names}: not open now", final=drill.level is Level.REAL)


def _polled(draft: Draft, _drill: Drill, component: Component) -> Guard | None:
    pause = draft.get("pauses", component.id)
    if pause is None:
        return None
    return _guard("polled", f"{component.title} is polled", FAIL, f"paused by {pause.who}; resume it first")


def _maintenance(draft: Draft, drill: Drill, component: Component) -> Guard | None:
    """The drill's own windows are no work of somebody else; but what they mute tells nobody."""
    own = () if drill.schedule is None else drill.schedule.windows
    found = [each for each in windows.over(draft, component.id) if each.kind is WindowKind.MAINTENANCE]
    title = "nobody is working on it"
    other = next((each for each in found if each.id not in own), None)
    if other is not None:
        return _guard("maintenance", title, FAIL, f"{other.title} by {other.who}")
    if found and drill.expect.alarm:
        return _guard("maintenance", title, WARN, f"{found[0].title} holds the alarm that the drill expects")
    return None


def _switch(draft: Draft, _drill: Drill, _component: Component) -> Guard:
    title = "nobody is switching"
    for key in draft.keys("switches"):
        switch: Switch = draft.get("switches", key)
        if switch.state in NOT_OVER:
            return _guard("switch", title, FAIL, f"{switch.id} is {switch.state.value}")
    return _guard("switch", title, PASS, "no switch is in flight")


def _primary(draft: Draft, drill: Drill, component: Component) -> Guard | None:
    if drill.level is Level.TABLETOP:
        return None
    title = f"{component.title} works by its primary"
    state, health = draft.state(component.id), draft.health(component.id)
    if component.providers and state.active != component.primary:
        return _guard("primary", title, FAIL, f"it is served by {state.active or 'nobody knows whom'}; fail back first")
    if state.mode is not None:
        return _guard("primary", title, FAIL, f"degraded mode {state.mode} is in force; restore normal operation first")
    if health.status not in (Status.OK, Status.DEGRADED):
        return _guard("primary", title, FAIL, f"it is {health.status.value}: there is nothing to drill")
    if health.status is Status.DEGRADED:
        return _guard("primary", title, WARN, f"it is degraded ({health.cause})")
    return _guard("primary", title, PASS, "it is ok")


def _steady(draft: Draft, drill: Drill, _component: Component) -> Guard | None:
    if not drill.steady:
        return None
    title = "every steady check passes"
    for check in drill.steady:
        shown = draft.check(check)
        if check not in draft.operation.checks:
            return _guard("steady", title, FAIL, f"there is no check {check!r}")
        if shown.status is not Status.OK or shown.raw is not Status.OK:
            return _guard("steady", title, FAIL, f"{check} is {shown.status.value}: {shown.detail or 'no result yet'}")
    return _guard("steady", title, PASS, f"{len(drill.steady)} checks pass")


def _unaffected(draft: Draft, drill: Drill, _component: Component) -> Guard | None:
    """Of what nobody measures nobody could say that it has not changed; and a first result is a change, too."""
    names = drill.expect.unaffected
    if not names:
        return None
    title = "what is to stay as it is is measured"
    for name in names:
        status = draft.health(name).status
        if status in (Status.UNKNOWN, Status.PAUSED):
            return _guard("unaffected", title, FAIL, f"{name} is {status.value}")
    return _guard("unaffected", title, PASS, f"{', '.join(names)}")


OF_THE_COMPONENT: tuple[Callable[[Draft, Drill, Component], Guard | None], ...] = (
    _freeze, _window, _polled, _maintenance, _switch, _primary, _steady, _unaffected,
)  # fmt: skip


def _backup(draft: Draft, component: Component, drill: Drill, goal: Goal | None) -> Guard | None:
    """Whoever is led to has to be ready before the one that serves is broken."""
    if goal is None or goal.degrades or drill.level is Level.TABLETOP:
        return None
    title = "the backup is ready"
    backups = [each for each in component.providers[1:] if goal.target in (None, each.id)]
    health = draft.health(component.id).providers
    ready = [each for each in backups if health.get(each.id) is Status.OK]
    if ready:
        return _guard("backup", title, PASS, f"{ready[0].title} is ok")
    said = ", ".join(f"{each.title} is {health.get(each.id, Status.UNKNOWN).value}" for each in backups)
    return _guard("backup", title, FAIL, said or "there is none")


# --- people, evidence ----------------------------------------------------------------------------------------------


def _absent(drill: Drill, who: str) -> Guard | None:
    if not drill.absent:
        return None
    title = "whoever begins it may take part"
    if any(same_person(who, each) for each in drill.absent):
        return _guard("absent", title, FAIL, f"{who} is to be absent from this drill; somebody else has to begin it")
    return _guard("absent", title, PASS, f"absent: {', '.join(drill.absent)}")


def _present(draft: Draft, drill: Drill, component: Component) -> Guard | None:
    """A drill that waits for people who are all away can only fail."""
    people = draft.operation.people
    owners = [each for each in component.owners if each in people and each not in drill.absent]
    if drill.responder is not Responder.PEOPLE or not component.owners:
        return None
    there = [each for each in owners if not is_away(people[each], draft.get("absences", each), draft.now.wall)]
    title = "somebody is there to answer it"
    if there:
        return _guard("present", title, PASS, ", ".join(there))
    return _guard("present", title, FAIL, f"nobody of {', '.join(component.owners)} is there and may take part")


def _below(draft: Draft, drill: Drill) -> Guard | None:
    """The highest lower level for which the component has a drill; where it has none, there is nothing to go by."""
    others = [
        each
        for each in draft.operation.drills.values()
        if each.component == drill.component and LEVEL_ORDER[each.level] < LEVEL_ORDER[drill.level] and not each.off
    ]
    if not others:
        risky = drill.level in INJECTS - {Level.SYNTHETIC}
        evidence = f"{drill.component} has no drill of a lower level"
        return _guard("below", "a lower level was passed", WARN, evidence) if risky else None
    level = max(others, key=lambda each: LEVEL_ORDER[each.level]).level
    title = f"the level below, {level.value}, was passed"
    found = {each.id: drill_evidence.standing(draft, each, draft.now.wall) for each in others if each.level is level}
    if FRESH in found.values():
        return _guard("below", title, PASS, ", ".join(key for key, each in found.items() if each == FRESH))
    return _guard("below", title, FAIL, ", ".join(f"{key}: {each}" for key, each in found.items()))


def takes(draft: Draft, drill: Drill) -> int:
    """How many people a drill takes: as many as its file says, or the switch that it gives itself."""
    component = draft.component(drill.component)
    own = drill.responder is Responder.OPSDASH or drill.level is Level.SWITCH
    spec = None if component is None else component.switch
    return max(drill.approvals, spec.approvals if spec is not None and own else 1)


def asked_for(draft: Draft, drill: Drill) -> DrillApprovalAsked | None:
    """Who asked for a drill that takes two people, as long as that holds."""
    asked: DrillApprovalAsked | None = draft.get("drill_approvals", drill.id)
    return asked if asked is not None and draft.now.wall < asked.until else None


def _approval(draft: Draft, drill: Drill, who: str) -> Guard | None:
    if takes(draft, drill) < 2:
        return None
    asked, title = asked_for(draft, drill), "a second person agrees"
    if asked is None or same_person(asked.who, who):
        return _guard(APPROVAL, title, FAIL, "it takes two people: another one has to begin the same drill")
    return _guard(APPROVAL, title, PASS, f"{asked.who} asked for it")
