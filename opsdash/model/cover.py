"""Cover: who is on duty by a rota, and when people are warned that nobody will be there."""

from __future__ import annotations

from dataclasses import dataclass

DAY = 86400.0


@dataclass(frozen=True, slots=True)
class Shift:
    """A person is on duty from `start` until `end`, both in seconds since 1970 UTC."""

    start: float
    end: float
    person: str


@dataclass(frozen=True, slots=True)
class Rota:
    """Who is on duty when, out of a file. shifts: sorted by their beginnings; they may overlap.

    until: up to when it was read; what comes later is not known, in seconds since 1970 UTC.
    warn: whether a time with nobody on duty is worth a warning.
    """

    id: str
    file: str
    shifts: tuple[Shift, ...] = ()
    until: float = 0.0
    warn: bool = True


@dataclass(frozen=True, slots=True)
class Cover:
    """How many seconds before nobody covers a component, or a rota has a gap, people are told of it."""

    warn_before: float = 3 * DAY
    rota_ahead: float = 14 * DAY
