"""Views: what a client sees of an engine, as plain JSON shapes.

Made by `opsdash.core.views` from world and live; the board, the CLI and scripts read the same ones. Times are seconds
since 1970 UTC, durations are seconds, `None` means "not known" or "does not apply". All text is sanitised.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict


class WindowLine(TypedDict):
    """A window that is open over a component. kind: maintenance | freeze."""

    id: str
    kind: str
    title: str
    until: float


class MutedView(TypedDict):
    """An alarm that would have been raised without a maintenance."""

    component: str
    title: str
    at: float


class WindowView(TypedDict):
    """A window that is open. components: those that it is about; target: what a one-off maintenance was set for."""

    id: str
    kind: str
    title: str
    target: str | None
    components: list[str]
    since: float
    until: float
    who: str
    reason: str
    muted: list[MutedView]


class AlarmView(TypedDict):
    """The alarm of a component. state: raised | held.

    reason: why it is held (parent | asked | recheck | maintenance | flapping | offline | paused), `by` what, until
    when, and in words.  since: of this state; due: since when there has been something to alarm about.
    """

    state: str
    title: str
    incident: str
    reason: str | None
    by: str
    words: str
    since: float
    until: float | None
    due: float


class WallRow(TypedDict):
    """One component on the wall: small, since it is sent whenever it changes.

    spark: latencies of the last 12 runs in ms, None for a failed one. redundancy: ready | lost | unknown | none.
    proof_at: when the best backup was last proved, proof: "fresh" | "old" | "changed" | "never" | "none" (no backup).
    badge: whether one key would work now: "ready" | "stale" | "not ready" | "unknown" | "none" (nothing to switch to).
    dropped: titles of the features that users do without, since the degraded mode that is in force gives them up.
    failure: title of the first active failure mode, response: what was decided for it, hint: the key for it and words.
    switch: state of the switch in flight, None when none is.  overdue: things whose review time has passed.
    explained_by: parents that are down.  covered: an owner is present (True also when none is declared: see owners).
    alarm: "" | raised | held, and in `held` why.  windows: maintenance and freezes over it.
    flapping: percentage of changes of the check that changes most, None if none flaps.
    """

    id: str
    title: str
    tier: str
    status: str
    reason: str | None
    cause: str
    since: float
    latency: float | None
    spark: list[float | None]
    active: str | None
    primary: str | None
    on_backup: bool
    mode: str | None
    dropped: list[str]
    redundancy: str
    proof: str
    proof_at: float | None
    badge: str
    failure: str | None
    failure_id: str | None
    response: str | None
    hint: str
    incident: str | None
    acknowledged: bool
    owners: list[str]
    covered: bool
    switch: str | None
    overdue: list[str]
    explained_by: list[str]
    alarm: str
    held: str
    windows: list[WindowLine]
    flapping: int | None
    problems: int
    removed: bool


class FeatureView(TypedDict):
    """A feature and whether it works: yes | no | unknown | dropped. `id` is component/feature."""

    id: str
    title: str
    tier: str
    component: str
    works: str


class Summary(TypedDict):
    """The line that answers for people who don't know the parts, and the engine's own state.

    undelivered: what of alarms does not arrive, and why; "" while all does.
    """

    title: str
    counts: dict[str, int]
    features: list[FeatureView]
    offline: bool
    journal_error: str
    undelivered: str
    incidents: int
    problems: int
    uncovered: list[str]
    engine_since: float
    version: str
    read_only: bool
    workspace: str
    demo: bool


class CheckView(TypedDict):
    """One check. raw_*: the last observation before thresholds; streak: "2 of 3" while undecided, else ""."""

    id: str
    name: str
    provider: str | None
    kind: str
    status: str
    reason: str | None
    detail: str
    since: float
    at: float | None
    latency: float | None
    every: float
    raw_status: str
    raw_reason: str | None
    raw_detail: str
    streak: str
    facts: dict[str, Any]
    phases: dict[str, float]
    spark: list[float | None]
    flapping: int | None


class ProviderView(TypedDict):
    """One way to get the job done. proof: "fresh" | "old" | "changed" | "never".

    badge, badge_why: whether one key would lead here now, see WallRow; "none" for the one that serves.
    """

    id: str
    title: str
    name: str
    status: str
    active: bool
    primary: bool
    proof: str
    proof_at: float | None
    badge: str
    badge_why: str
    checks: list[CheckView]


class FailureView(TypedDict):
    """An entry of the register."""

    component: str
    id: str
    title: str
    detected_by: str
    response: str
    response_kind: str
    mode: str | None
    runbook: str | None
    rto: float | None
    active: bool
    since: float | None
    owners: list[str]
    proof: str
    proof_at: float | None
    gaps: list[str]


class ModeView(TypedDict):
    """A degraded mode."""

    id: str
    title: str
    keeps: list[str]
    drops: list[str]
    in_force: bool
    since: float | None
    review_at: float | None
    proof: str
    proof_at: float | None
    off: str | None


class PersonView(TypedDict):
    """A person; until: end of the present absence."""

    id: str
    name: str
    contact: str | None
    away: bool
    until: float | None
    left: bool
    owns: list[str]


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


class RefusedView(TypedDict):
    """Why something is not done, by stable rule name, and how to override it where that is allowed."""

    rule: str
    reason: str
    override: str | None


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


class EditView(TypedDict):
    """What a line of a timeline was before somebody changed it at `at`; happened: its time then."""

    at: float
    who: str
    text: str
    happened: float


class EntryView(TypedDict):
    """A line of an incident's timeline."""

    at: float
    recorded: float
    who: str
    kind: str
    text: str
    component: str
    pinned: bool
    edits: list[EditView]


class RoleView(TypedDict):
    """Who has or had a role in an incident; until None: has."""

    role: str
    person: str
    since: float
    until: float | None


class HandoverView(TypedDict):
    """The latest handover note of an incident; accepted_by "": nobody has taken over yet."""

    at: float
    who: str
    to: str
    text: str
    accepted_by: str


class IncidentView(TypedDict):
    """An incident. state: open | acknowledged | mitigated | resolved | closed | cancelled.

    severity: 1 (worst) to 4.  began, …_at, ack_until: seconds since 1970 UTC.  lead: who leads it now.
    """

    id: str
    component: str
    components: list[str]
    title: str
    kind: str
    state: str
    severity: int
    severity_by: str
    drill: bool
    began: float | None
    opened_at: float
    ack_until: float | None
    closed_by: str | None
    closed_at: float | None
    cancelled_by: str | None
    cancelled_at: float | None
    reopened: int
    folded_into: str
    lead: str | None
    roles: list[RoleView]
    handover: HandoverView | None
    acknowledged_by: str | None
    acknowledged_at: float | None
    mitigated_at: float | None
    resolved_by: str | None
    resolved_at: float | None
    failures: list[str]
    entries: list[EntryView]


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


class ComponentDetail(TypedDict):
    """Everything about one component.

    keys: for failover, failback, degrade, restore, runbook: None when the key works, else why it does not.
    off: parts that a problem in the files switched off, with the reason.
    uncovered: nobody of the owners is there.  auto: where opsdash may switch it by itself.  blocked: in words, the
        latest switch that was wanted and not begun.
    """

    row: WallRow
    providers: list[ProviderView]
    checks: list[CheckView]
    features: list[FeatureView]
    failures: list[FailureView]
    modes: list[ModeView]
    owners: list[PersonView]
    uncovered: bool
    needs: list[tuple[str, str]]
    needed_by: list[tuple[str, str]]
    switch: SwitchView | None
    incident: IncidentView | None
    alarm: AlarmView | None
    windows: list[WindowView]
    flapping: int | None
    runbook: str | None
    off: dict[str, str]
    keys: dict[str, str | None]
    paused_until: float | None
    paused_by: str | None
    auto: AutoView | None
    blocked: str | None
    file: str


class LiveCheck(TypedDict):
    """A check of opsdash that a block asks for, as it is anyway."""

    check: str
    status: str
    detail: str


class BlockView(TypedDict):
    """An executable block and its latest execution. state: "" | started | passed | failed | unknown.

    typed: the component's name has to be typed before it runs; why in words, "" if not.  needs: parameters that have no
    value yet.  in_doubt: it may have changed something, and somebody has to decide: decision is None | done | repeat |
    skip.  process: what has become of its program after the engine's death, in words.  output: the last of what it
    said, also while it runs.  live: checks of opsdash that it names, as they are now.
    """

    index: int
    role: str
    language: str
    code: str
    danger: bool
    once: bool
    host: str
    keeps_as: str
    typed: str
    needs: list[str]
    state: str
    detail: str
    output: str
    at: float | None
    started_at: float | None
    who: str
    in_doubt: bool
    decision: str | None
    process: str
    live: list[LiveCheck]


class UsualView(TypedDict):
    """How long a step usually takes, in seconds, from so many runs."""

    median: float
    p90: float
    runs: int


class StepView(TypedDict):
    """A step. mark: "" | done | failed | skipped; ticks: (text, set).

    goes_to: where it leads if it fails, as (runbook, step).  since: since when it is the current one, where known.
    """

    id: str
    title: str
    text: str
    ticks: list[tuple[str, bool]]
    blocks: list[BlockView]
    expect: str
    time: str
    who: str
    if_fails: str | None
    goes_to: tuple[str, str] | None
    then: str | None
    then_to: tuple[str, str] | None
    danger: bool
    mark: str
    usual: UsualView | None
    since: float | None


class ParameterView(TypedDict):
    """A parameter of a run. value: None while it has none.  secret: where it comes from instead of a person, "" if not;
    a secret never has a value here.  source: asked | captured.
    """

    name: str
    ask: str
    default: str | None
    pattern: str | None
    secret: str
    value: str | None
    source: str


class StepDifference(TypedDict):
    """A step of which the text is another one. lines: of a unified difference."""

    step: str
    title: str
    lines: list[str]


class RunView(TypedDict):
    """A run of a runbook, or (id "") the runbook only read.

    mode: step | rehearse.  changed: the file was edited since the run began, and blocks wait for that to be accepted;
    differences: how; note: what else is odd about the text.
    approved: what it would execute has been approved as it is; unapproved: how it differs from what was.
    driver, active_at: who drives, and since when he has done nothing; driver_gone: his terminal is gone, or he has been
    silent for long; yours: whoever asks drives it.  current: id of the step that is to be done now.
    components: all that its steps and checks name.
    """

    id: str
    runbook: str
    title: str
    component: str
    components: list[str]
    owner: str | None
    executable: bool
    mode: str
    changed: bool
    differences: list[StepDifference]
    note: str
    approved: bool
    approved_by: str | None
    approved_at: float | None
    unapproved: list[StepDifference]
    sha256: str
    findings: list[str]
    steps: list[StepView]
    current: str
    params: list[ParameterView]
    text: str
    who: str
    driver: str
    driver_gone: bool
    active_at: float | None
    yours: bool
    started_at: float | None
    ended_at: float | None


class RunLine(TypedDict):
    """A run in a list. done, failed, skipped, open: counts of steps; running, in_doubt: of blocks."""

    id: str
    runbook: str
    title: str
    component: str
    mode: str
    incident: str | None
    who: str
    driver: str
    active_at: float
    started_at: float
    ended_at: float | None
    done: int
    failed: int
    skipped: int
    open: int
    running: int
    in_doubt: int


class OutputView(TypedDict):
    """What a block has said since the line that was asked for. next: the line to ask for then."""

    lines: list[str]
    next: int
    dropped: int
    state: str
    detail: str


class RunbookLine(TypedDict):
    """A runbook in a list. approved: it may be executed as it is."""

    id: str
    title: str
    component: str | None
    failures: list[str]
    owner: str | None
    reviewed: str | None
    executable: bool
    findings: int
    approved: bool


class JournalLine(TypedDict):
    """One record, told in a sentence."""

    seq: int
    at: float
    type: str
    component: str | None
    who: str
    text: str
    data: dict[str, Any]


class ProblemView(TypedDict):
    """A problem of the workspace's files."""

    file: str
    line: int
    path: str
    message: str
    hint: str
    severity: str


class Snapshot(TypedDict):
    """All that the wall needs. seq: number of the last event that is contained."""

    seq: int
    at: float
    summary: Summary
    rows: list[WallRow]


class Delta(TypedDict):
    """What changed since the event before. summary is present only when it changed; `records` are new journal lines."""

    seq: int
    at: float
    rows: list[WallRow]
    gone: list[str]
    summary: Summary | None
    records: list[JournalLine]


class Verdict(TypedDict):
    """Answer to an intent. `subject`: what was begun (id of a switch, run, incident). The outcome comes as an event."""

    id: str
    accepted: bool
    refused: RefusedView | None
    subject: str


EventKind = Literal["snapshot", "delta", "lost", "bye"]
