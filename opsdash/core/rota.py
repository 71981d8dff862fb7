"""Rotas: who is on duty."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opsdash.model.cover import Rota


def on_duty(rota: Rota, wall: float) -> list[str]:
    """Ids of the people who are on duty at `wall`, whoever began first first; those who are away included."""
    begun = rota.shifts[: bisect_right(rota.shifts, wall, key=lambda shift: shift.start)]
    return list(dict.fromkeys(shift.person for shift in begun if wall < shift.end))
