"""What a client sees of drills: the list, one drill with its run, its plan, faults that were left, and the lever."""

from __future__ import annotations

from typing import TypedDict

from opsdash.model.switch_views import GuardView, RefusedView


class LeverView(TypedDict):
    """Drills are halted: everything was undone, and none begins until somebody allows it."""

    at: float
    who: str
    reason: str


class FaultView(TypedDict):
    """A fault that was made on purpose and may still be in place: the red bar.

    detail: what is known of it.  by_hand: what undoes it, one command or sentence each, in the order in which that
    should be done; empty where only the drill's file says so.  guarded: whether a guard is at work on it.
    """

    run: str
    drill: str
    component: str
    since: float
    detail: str
    by_hand: list[str]
    guarded: bool


class DrillSummary(TypedDict):
    """Drills in the summary of a snapshot.

    running: id of the open run, "" for none; drill, component, state: of that.  until: when its fault is undone at the
    latest, None where nothing is broken.
    marked: components whose failures are taken to be the drill's; what really fails is not among them.
    faults: runs whose faults may still be in place.  halted: whether the lever is engaged.  overdue: how many are.
    """

    running: str
    drill: str
    component: str
    state: str
    until: float | None
    marked: list[str]
    faults: list[FaultView]
    halted: bool
    overdue: int


class DrillLine(TypedDict):
    """One drill in the list.

    level: tabletop | synthetic | switch | contained | real.  due: None where it has no date; overdue: the date has
    passed, and nobody has begun it.  surprise: whether it begins by itself at a time that nobody knows.
    standing: whether its evidence counts: fresh | old | changed | failed | never.  proved_at: when it last proved
    something; void_at: when that no longer counts by its age.
    verdict: passed | late | failed | aborted | interrupted | inconclusive, of the latest run; None where it was never
    run.  verdict_at, verdict_run: of that.  running: id of its open run, "" for none.  driver: who should begin it
    next, None where nobody is named.  missed: why its last date led to no run, "" where none was missed.
    off: why it cannot be run, "" if it can.
    """

    id: str
    title: str
    component: str
    failure_mode: str
    level: str
    owner: str
    driver: str | None
    due: float | None
    overdue: bool
    surprise: bool
    missed: str
    standing: str
    proved_at: float | None
    void_at: float | None
    verdict: str | None
    verdict_at: float | None
    verdict_run: str
    running: str
    off: str
    file: str


class DrillsView(TypedDict):
    """All drills, overdue ones first, then by when they are due.

    running: id of the open run, "" for none.
    """

    drills: list[DrillLine]
    running: str
    faults: list[FaultView]
    lever: LeverView | None
    at: float


class DrillStepView(TypedDict):
    """A state that a run came to, and when.

    state: arming | injecting | running | undoing | restoring | ended.
    """

    at: float
    state: str


class ExpectationView(TypedDict):
    """Something that a run expects.

    name: detect | acknowledge | recover | mode | alarm | runbook | load.  took: seconds, None where it has not come or
    is not measured; allowed: seconds, None for no limit.
    holds: true | false | waiting (it may still come).
    """

    name: str
    title: str
    took: float | None
    allowed: float | None
    holds: str


class DrillRunView(TypedDict):
    """One run of a drill, open or ended.

    state: see `DrillStepView`; live: whether it goes on.  cause: person | schedule.
    times: when what happened, by name (injected, first_bad, opened, acknowledged, decided, switched, verified, undone,
    restored), only what is known; measured: seconds between them (detect, acknowledge, decide, switch, verify,
    recovery, restore, exposure).
    affected: components that were to stay as they were, and changed.  samples, missing: of the steady checks.
    load, load_failed: how often the load ran and failed; load_wanted: how often it is to run, 0 for no load.
    faulty: whether something was broken.  until: when it is undone at the latest, None where nothing is (any more).
    undone: whether it was verified to be gone, None: not known (yet).  undo_by: engine, guard or a person.
    by_hand: what undoes it by hand, in order.  waits: why the response, or the way back, could not be begun, "" if
    nothing stands in the way.  stopped: why it was ended before its time.  why: what the verdict rests on.
    valid_until: until when it counts, None where it proves nothing.
    """

    id: str
    drill: str
    title: str
    component: str
    level: str
    state: str
    live: bool
    who: str
    approved_by: str | None
    cause: str
    reason: str
    overrides: list[str]
    started_at: float
    ended_at: float | None
    steps: list[DrillStepView]
    times: dict[str, float]
    measured: dict[str, float]
    expectations: list[ExpectationView]
    unaffected: list[str]
    affected: list[str]
    samples: int
    missing: int
    load: int
    load_failed: int
    load_wanted: int
    faulty: bool
    until: float | None
    undone: bool | None
    undo_by: str
    by_hand: list[str]
    waits: str
    stopped: str
    incident: str | None
    switches: list[str]
    runbook: str | None
    runbook_run: str | None
    verdict: str | None
    why: list[str]
    note: str
    valid_until: float | None


class DrillView(TypedDict):
    """One drill, with its open or latest run if there is one. `fault`: what that, or an earlier one, has left."""

    line: DrillLine
    run: DrillRunView | None
    fault: FaultView | None
    absent: list[str]
    steady: list[str]
    unaffected: list[str]
    limit: float
    windows: list[str]
    runbook: str | None


class DrillPlanView(TypedDict):
    """What a drill would do now, and what speaks against it; nothing has happened yet.

    latest, due: to be handed back by whoever begins it (`start_drill`), so that two people begin one run.
    steps, undo, expects, touches: sentences, in order.  by_hand: commands that undo it, in order.
    failed, warnings: rules of guards.  needs: "y" or "typed" (the component's name has to be typed first).
    refused: why there is no plan at all, then everything else is empty.
    """

    drill: str
    title: str
    component: str
    level: str
    latest: str
    due: float | None
    steps: list[str]
    undo: list[str]
    by_hand: list[str]
    expects: list[str]
    touches: list[str]
    limit: float
    guards: list[GuardView]
    failed: list[str]
    warnings: list[str]
    needs: str
    refused: RefusedView | None
