"""Readiness: what register, proof and people add up to. The values that rules, screens and commands share.

A *gap* is one thing that stands between the operation and surviving one of its failures, with what closes it. A score
says how much of what could be there is there; `opsdash.core.readiness` says how it is reckoned.

Points in time are seconds since 1970 UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from opsdash.model.operation import Tier

Fill = Callable[[Mapping[str, Any]], Mapping[str, Any]]


class Aspect(StrEnum):
    """What a gap is about. A component's hundred points are divided over all of these but the last."""

    REGISTER = "register"
    BACKUP = "backup"
    MODES = "degraded modes"
    DRILLS = "drills"
    PEOPLE = "people"
    ISOLATION = "isolation"
    OPERATION = "the operation"


@dataclass(frozen=True, slots=True)
class RunbookFacts:
    """What the rules have to know of a runbook. path: its file.

    broken: why it cannot be followed step by step, "" if it can.  approved: somebody has approved what it would execute
    as it is now; None: it executes nothing, or nobody can tell.  review_due: when it should be read again; None: it
    names no interval.
    """

    path: str
    broken: str = ""
    approved: bool | None = None
    review_due: float | None = None


def _as_written(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    return raw


@dataclass(frozen=True, slots=True)
class Facts:
    """What the rules need beyond the operation and what is recorded. What nobody knows makes its rule silent.

    runbooks: by id, None where they were not read.  dead_man: somebody elsewhere expects a sign of life; None: not
    known.  measured: an engine polls, so that what is shown of checks is of now.  fill: options with the settings of
    `vars` filled in; secrets stay references.
    """

    runbooks: Mapping[str, RunbookFacts] | None = None
    dead_man: bool | None = None
    measured: bool = False
    fill: Fill = _as_written


@dataclass(frozen=True, slots=True)
class Gap:
    """One thing that is missing. rule: id in the table of rules.  component: "" for the operation as a whole.

    subject: which failure mode, provider, degraded mode, check or other part; "" for the component itself.
    text: what is missing, in a sentence.  close: what closes it; `command`: the command that does, "" where it takes an
    edit; `file`: the file to edit, "" where it takes none.
    costs: points that it takes off each aspect of the component's hundred (of the operation's, where it has no
    component).  weight: by how much closing this alone can raise the operation's score, at most.
    """

    rule: str
    component: str
    subject: str
    text: str
    close: str
    command: str = ""
    file: str = ""
    tier: Tier | None = None
    costs: Mapping[Aspect, float] = field(default_factory=dict)
    weight: float = 0.0

    @property
    def points(self) -> float:
        """Points that it takes off, if no other gap has taken them already."""
        return sum(self.costs.values())


@dataclass(frozen=True, slots=True)
class ReadinessPoint:
    """The operation's score on one day, and how many gaps there were."""

    at: float
    score: int
    gaps: int = 0


@dataclass(frozen=True, slots=True)
class Readiness:
    """All gaps, worst first, and what follows from them. components: their scores by id."""

    at: float
    score: int
    components: Mapping[str, int]
    gaps: tuple[Gap, ...]
