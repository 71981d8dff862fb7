"""Records of runs: who follows which runbook, what was ticked, executed and decided; and of what may be executed."""

from __future__ import annotations

from dataclasses import dataclass

from opsdash.model.run import BlockResult, Decision, RunMode


@dataclass(frozen=True, slots=True)
class RunStarted:
    """Somebody opened a runbook to follow it. steps: (id, sha256) of each step; session: the terminal it is driven in.

    titles: of the steps, in their order; none in records of older versions.
    The text itself lies in the state folder under its `sha256`, written before this record.
    """

    at: float
    run: str
    runbook: str
    component: str
    sha256: str
    who: str
    incident: str | None = None
    steps: tuple[tuple[str, str], ...] = ()
    mode: RunMode = RunMode.STEP
    session: str = ""
    titles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunTaken:
    """Another person, or another terminal of the same one, drives a run from now on. was: who drove it before."""

    at: float
    run: str
    component: str
    who: str
    session: str
    was: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RunAccepted:
    """The file was edited during a run, and its driver goes on by the new text."""

    at: float
    run: str
    component: str
    sha256: str
    steps: tuple[tuple[str, str], ...]
    who: str
    titles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunParameterSet:
    """A parameter of a run has a value: `asked` of a person, or `captured` from what a block said. Never a secret."""

    at: float
    run: str
    name: str
    value: str
    who: str
    source: str = "asked"


@dataclass(frozen=True, slots=True)
class RunTicked:
    """A tick of a step was set or taken back."""

    at: float
    run: str
    step: str
    tick: int
    done: bool
    who: str


@dataclass(frozen=True, slots=True)
class StepMarked:
    """A step was called `done`, `failed` or `skipped`, or the mark was taken back (`open`).

    goto: the step that comes next, where that is not the one after it; `#` where none does.  automatic: opsdash did it
    for `who`, since all that the step holds are checks, and they passed.
    """

    at: float
    run: str
    step: str
    mark: str
    who: str
    goto: str = ""
    automatic: bool = False


@dataclass(frozen=True, slots=True)
class BlockStarted:
    """An executable block is about to run. Without its end, its outcome is unknown."""

    at: float
    run: str
    step: str
    block: int
    text: str
    who: str
    role: str = ""


@dataclass(frozen=True, slots=True)
class BlockSpawned:
    """The program of a block is there, and waits for this record before it begins.

    pid: of its process group and of the leader of that; identity: tells the leader from a later process of its number.
    """

    at: float
    run: str
    step: str
    block: int
    pid: int
    identity: str


@dataclass(frozen=True, slots=True)
class BlockCancelAsked:
    """Somebody asked for the end of a block that runs."""

    at: float
    run: str
    step: str
    block: int
    who: str


@dataclass(frozen=True, slots=True)
class BlockDecided:
    """A person said what is to be taken for true of a block of which nobody knows what it did."""

    at: float
    run: str
    step: str
    block: int
    decision: Decision
    who: str


@dataclass(frozen=True, slots=True)
class BlockFinished:
    """An executable block ended."""

    at: float
    run: str
    result: BlockResult


@dataclass(frozen=True, slots=True)
class RunEnded:
    """The runbook was closed."""

    at: float
    run: str
    who: str


@dataclass(frozen=True, slots=True)
class RunbookApproved:
    """A person has read what a runbook would execute. The approval itself lies outside of the workspace."""

    at: float
    runbook: str
    sha256: str
    who: str


RunRecord = (
    RunStarted
    | RunTaken
    | RunAccepted
    | RunParameterSet
    | RunTicked
    | StepMarked
    | BlockStarted
    | BlockSpawned
    | BlockCancelAsked
    | BlockDecided
    | BlockFinished
    | RunEnded
    | RunbookApproved
)
