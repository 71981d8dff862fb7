"""A run: one execution of a runbook, by one person, ticked off step by step."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class BlockState(StrEnum):
    """What is known of an executable block. Started and not finished is unknown, never repeated by itself."""

    STARTED = "started"
    PASSED = "passed"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class BlockResult:
    """Latest execution of a block; `output` is sanitised, masked and capped."""

    step: str
    block: int
    state: BlockState
    started_at: float
    finished_at: float | None = None
    detail: str = ""
    output: str = ""
    who: str = ""


@dataclass(frozen=True, slots=True)
class StepMark:
    """A step that a person called done, failed or skipped."""

    step: str
    mark: str
    at: float
    who: str


@dataclass(frozen=True, slots=True)
class Run:
    """One run. `sha256` pins the runbook's text. `ticks` are (step, index) pairs that are set."""

    id: str
    runbook: str
    component: str
    sha256: str
    who: str
    started_at: float
    incident: str | None = None
    ticks: tuple[tuple[str, int], ...] = ()
    marks: tuple[StepMark, ...] = ()
    blocks: tuple[BlockResult, ...] = ()
    ended_at: float | None = None
