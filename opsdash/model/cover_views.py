"""Views of cover: who can run what, who is on duty, and what nobody covers."""

from __future__ import annotations

from typing import TypedDict


class DeedView(TypedDict):
    """What somebody has done with a component. by: the switch, run or drill; words: `what`, for people."""

    person: str
    component: str
    what: str
    words: str
    at: float
    by: str


class AloneView(TypedDict):
    """A component behind which nobody else stands while one person is not there, and what is missing then."""

    component: str
    words: str


class CoverGapView(TypedDict):
    """When nobody is there. what: `owners`, `runners` (who can run it), or the name of a rota.

    since, until: None for `until` where no end is known.  people: who would be, and is not.
    """

    what: str
    since: float
    until: float | None
    people: list[str]
    words: str


class CoverView(TypedDict):
    """Who stands behind a component.

    owners: those of the file, and whoever is on duty; present: of these; on_duty: of these.
    can_run: what each person who can run it did last, the latest first; bus_factor: how many people that are.
    gaps: what is missing now, or soon will be.
    """

    component: str
    title: str
    tier: str
    owners: list[str]
    present: list[str]
    on_duty: list[str]
    can_run: list[DeedView]
    bus_factor: int
    gaps: list[CoverGapView]
    next_driver: str | None


class RotaView(TypedDict):
    """A rota. on_duty: now; until: end of the last of these shifts; next: who begins then, at `next_at`.

    known_until: what comes later was not read.
    """

    id: str
    file: str
    on_duty: list[str]
    until: float | None
    next: str | None
    next_at: float | None
    gaps: list[CoverGapView]
    known_until: float


class CoverageView(TypedDict):
    """Cover of the whole operation. warn_before, rota_ahead: seconds for which gaps are looked for."""

    components: list[CoverView]
    rotas: list[RotaView]
    warn_before: float
    rota_ahead: float
