"""What a client sees of runbooks and their runs: steps, blocks, parameters, and what blocks said."""

from __future__ import annotations

from typing import TypedDict


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
