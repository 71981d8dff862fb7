"""What a client sees of readiness: the scores, the gaps with what closes each, and how it goes."""

from __future__ import annotations

from typing import TypedDict


class GapView(TypedDict):
    """One gap. component, tier: None for one of the operation as a whole.  subject: which part of the component it is.

    why: why it matters.  close: what closes it; command: the command that does, file: the file to edit; None: neither.
    points: what it takes off the component's score (the operation's, without a component), if no other gap has already.
    weight: by how much closing it alone can raise the operation's score, at most.
    """

    rule: str
    aspect: str
    component: str | None
    tier: str | None
    subject: str
    text: str
    why: str
    close: str
    command: str | None
    file: str | None
    points: float
    weight: float


class ScoreView(TypedDict):
    """A component's score, and how many gaps it has."""

    component: str
    title: str
    tier: str
    score: int
    gaps: int


class ReadinessView(TypedDict):
    """Readiness as a whole, or of one component (`component`), whose score it is then.

    gaps: worst first, the first of `total`.  components: lowest score first.  trend: the operation's score of the last
    days, oldest first; differences: by how much it is higher than so many days ago, None where nobody knows.
    measured: by an engine that polls; without one nobody knows whether a backup is ready now.
    """

    at: float
    component: str | None
    score: int
    total: int
    gaps: list[GapView]
    components: list[ScoreView]
    trend: list[tuple[float, int]]
    differences: dict[str, int | None]
    measured: bool
