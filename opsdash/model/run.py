"""A run: one execution of a runbook, driven by one person and watched by any number, ticked off step by step.

A run is pinned to the text it was started with: `sha256` of the file, and one of each step. What was done stays done
when the file changes; what is still to be done is not executed before a person has seen the difference.

Times are seconds since 1970 UTC, durations seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class RunMode(StrEnum):
    """How a runbook is followed. In a rehearsal checks run, and what changes anything is only shown."""

    STEP = "step"
    REHEARSE = "rehearse"


class BlockState(StrEnum):
    """What is known of an executable block. Started and not finished is unknown, never repeated by itself."""

    STARTED = "started"
    PASSED = "passed"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Decision(StrEnum):
    """What a person says about a block of which nobody knows what it did: it is done, to be repeated, or left out."""

    DONE = "done"
    REPEAT = "repeat"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class BlockRef:
    """A block of a run that could be executed: where it stands, what it is for, and its text for the journal.

    asks: names of parameters that it still needs.  danger, once: want the component's name typed.
    """

    step: str
    block: int
    role: str
    text: str
    danger: bool = False
    once: bool = False
    asks: tuple[str, ...] = ()
    ends_step: bool = False


@dataclass(frozen=True, slots=True)
class BlockResult:
    """Latest execution of a block; `output` is sanitised, masked and capped.

    role: what the block is for, "" where an older version did not say.  pid, identity: of its process group's leader,
    so that after the engine's death it can be told whether that still runs.  decision: what a person said about an
    unknown one, and who.  cancelled_by: who asked for its end.
    """

    step: str
    block: int
    state: BlockState
    started_at: float
    finished_at: float | None = None
    detail: str = ""
    output: str = ""
    who: str = ""
    role: str = ""
    pid: int | None = None
    identity: str = ""
    decision: Decision | None = None
    decided_by: str = ""
    cancelled_by: str = ""

    @property
    def in_doubt(self) -> bool:
        """Whether it may have changed something, nobody knows what, and nobody has decided yet."""
        return self.state is BlockState.UNKNOWN and self.decision is None and self.role not in ("check", "show")


END = "#"
"""Stands for the step after the last one: the runbook says that it is over. No step has this id."""


@dataclass(frozen=True, slots=True)
class StepMark:
    """A step that a person called done, failed or skipped. seconds: how long it was the current one, where known."""

    step: str
    mark: str
    at: float
    who: str
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class RunParameter:
    """A value of a parameter: given by a person, or captured from what a block said."""

    name: str
    value: str
    who: str
    source: str = "asked"


@dataclass(frozen=True, slots=True)
class Run:
    """One run. `sha256` pins the runbook's text, `steps` each step's as (id, sha256), in their order.

    titles: what the steps are called, in the same order; empty where an older version did not say.
    ticks: (step, index) pairs that are set.  who: who opened it; driver, session: who drives it, and in which terminal
    ("" for any of that person's).  active_at: when the driver last did something.  current: the step that is to be done
    now; since: since when, None where that cannot be told.
    """

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
    steps: tuple[tuple[str, str], ...] = ()
    mode: RunMode = RunMode.STEP
    driver: str = ""
    session: str = ""
    active_at: float = 0.0
    current: str = ""
    since: float | None = None
    params: tuple[RunParameter, ...] = ()
    drivers: tuple[str, ...] = ()
    titles: tuple[str, ...] = ()

    def title(self, step: str) -> str:
        """What a step is called, "" where that is not known."""
        return next((title for (name, _), title in zip(self.steps, self.titles, strict=False) if name == step), "")

    def called(self, step: str) -> str:
        """A step as a sentence names it: by its title, or by its id where that is all that is known."""
        title = self.title(step)
        return f"“{title}”" if title else f"step {step}"

    def block(self, step: str, block: int) -> BlockResult | None:
        """The latest execution of a block."""
        return next((each for each in self.blocks if (each.step, each.block) == (step, block)), None)

    def mark(self, step: str) -> str:
        """What a step was called, "" while it is open."""
        return next((each.mark for each in self.marks if each.step == step), "")

    @property
    def driven_by(self) -> str:
        """Who drives; runs of older journals belong to whoever opened them."""
        return self.driver or self.who

    @property
    def in_doubt(self) -> tuple[BlockResult, ...]:
        """Blocks that may have changed something, about which a person has to decide."""
        return tuple(each for each in self.blocks if each.in_doubt)


@dataclass(frozen=True, slots=True)
class StepTimes:
    """How long a step took in its latest runs, the newest last, as long as its text is `sha256`."""

    sha256: str
    seconds: tuple[float, ...] = ()
