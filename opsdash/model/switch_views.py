"""What a client sees of switches: what one would do, what one does or did, and which opsdash does by itself."""

from __future__ import annotations

from typing import TypedDict


class RefusedView(TypedDict):
    """Why something is not done, by stable rule name, and how to override it where that is allowed."""

    rule: str
    reason: str
    override: str | None


class GuardView(TypedDict):
    """A condition of a plan. result: pass | warn | fail | unknown."""

    rule: str
    title: str
    result: str
    evidence: str
    age: float | None
    overridable: bool


class StepPlanView(TypedDict):
    """A step before or after the switch itself. verify: in words.  again: `undo` is the step once more."""

    name: str
    manual: str
    undo: str
    again: bool
    verify: list[str]
    no_return: bool


class PlanView(TypedDict):
    """What a switch would do. Titles are for people, `source` and `target` are ids ("" is normal operation).

    refused: why there is no plan at all, then everything else is as far as known.
    needs: "y" or "typed" (the component's name has to be typed first).
    countdown: seconds after which it acts by itself, None unless it does.
    state: planned (not everything is tried yet), ready, blocked or refused.  notes: what to know of the mechanism.
    steps: around the switch itself, in order; the first `steps_before` of them come before it.
    manual, undo: equivalent commands for a person's shell.  last: seconds that it took the last time, when and by whom.
    """

    component: str
    title: str
    kind: str
    source: str
    source_title: str
    target: str
    target_title: str
    generation: int
    guards: list[GuardView]
    failed: list[str]
    warnings: list[str]
    needs: str
    countdown: float | None
    reason: str
    drops: list[str]
    keeps: list[str]
    state: str
    steps: list[StepPlanView]
    steps_before: int
    notes: list[str]
    settle: float
    deadline: float
    manual: str
    undo: str
    last: str
    refused: RefusedView | None


class FactView(TypedDict):
    """One of the four facts. truth: true | false | unknown | not declared | stateless."""

    name: str
    title: str
    truth: str
    evidence: str
    hits: int
    needed: int


class SwitchView(TypedDict):
    """A switch, live or past. times: seconds for decide, act, settle, verify, total, as far as reached.

    ways_out: what a person can do now (undo, settle, take_over, abort).  live: not yet ended.
    sequence: names of all its steps in order, the switch itself (`switch`) among them; step: at which of them it is, ""
    for the switch itself; begun: those whose action may have been carried out.
    cause: person | auto | drill.  approved_by: the second person.  abort_asked: who asked for it to be called off;
    called_off: that word is enough, and what was begun is taken back after the step it is at.
    stated_by: who stated its outcome, where nobody measured it.
    """

    id: str
    component: str
    kind: str
    state: str
    live: bool
    source: str
    source_title: str
    target: str
    target_title: str
    who: str
    reason: str
    overrides: list[str]
    intended_at: float
    ended_at: float | None
    times: dict[str, float]
    facts: list[FactView]
    detail: str
    in_doubt: bool
    ways_out: list[str]
    sequence: list[str]
    step: str
    begun: list[str]
    cause: str
    approved_by: str | None
    abort_asked: str | None
    stated_by: str | None
    called_off: bool
    steps: list[tuple[float, str]]
    incident: str | None


class AutoView(TypedDict):
    """A component that opsdash may switch by itself. auto: shadow | always.  hold: seconds that it has to be down.

    score: in shadow, how it compares with what people did, in words.  blocked: what stood in the way the last time.
    """

    component: str
    auto: str
    hold: float
    score: str
    blocked: str | None
    blocked_at: float | None


class AutoState(TypedDict):
    """Switching without a person, over all components. stopped: why none is done any more, "" while it may."""

    stopped: str
    components: list[AutoView]
