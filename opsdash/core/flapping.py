"""Flapping: a check whose confirmed status changes again and again. It mutes alarms, and hides nothing.

The algorithm is that of Nagios, on what was *confirmed*. Of each check the latest 20 decided results are kept, a bit
each: whether the result changed the confirmed status. Decided is a result that agrees with what is confirmed, or
confirms something else; those in between (2 of 3 failures) and unknown ones are left out, so that thresholds make
nothing look steady. The bits weigh from 0.75 (the oldest) to 1.25 (the newest); together they weigh 20, and their share
is the percentage that is shown.

    flapping begins at 30 %    when every result is a change, with the sixth; when a service fails for two results and
                               works for three, and so on, with its third failure
    flapping ends at 20 %      after 16 results without a change at most

It belongs to a check, not to a component, because the alarm of a component is held only while *everything* that it is
about flaps: one steady failure is enough to raise it (`alarms.py`). The bits are live, and are lost with the process;
that a check flaps is a record. After a restart such a check begins with every second bit set, so that it has to be
steady for a while before it counts as steady.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsdash.model.records import FlappingBegan, FlappingEnded

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opsdash.core.draft import Draft
    from opsdash.model.world import CheckLive

RESULTS = 20
BEGINS_AT = 30
ENDS_AT = 20
"""Percent of weighted changes from which on a check flaps, and down to which it goes on to."""

LIGHTEST, HEAVIEST = 0.75, 1.25
"""Weight of the oldest and of the newest result."""

_MASK = (1 << RESULTS) - 1
_ALTERNATING = 0b01010101010101010101
_CHUNK = 5


def _weights() -> list[float]:
    """By bit, the newest first."""
    step = (HEAVIEST - LIGHTEST) / (RESULTS - 1)
    return [HEAVIEST - step * bit for bit in range(RESULTS)]


def _chunks() -> tuple[tuple[float, ...], ...]:
    """The weight of each combination of five bits, for the four fives: looked up, since it is asked at every result."""
    weights = _weights()
    return tuple(
        tuple(sum(weights[start + bit] for bit in range(_CHUNK) if bits >> bit & 1) for bits in range(1 << _CHUNK))
        for start in range(0, RESULTS, _CHUNK)
    )


_CHUNKS = _chunks()


def pushed(flaps: int, *, changed: bool) -> int:
    """The bits after one more decided result."""
    return (flaps << 1 | changed) & _MASK


def share(flaps: int) -> float:
    """The weighted share of changes, in percent."""
    low, second, third, high = _CHUNKS
    weight = low[flaps & 31] + second[flaps >> 5 & 31] + third[flaps >> 10 & 31] + high[flaps >> 15]
    return weight * 100 / RESULTS


def percent(flaps: int) -> int:
    """The same as it is shown."""
    return int(share(flaps))


def resumed(draft: Draft, check: str, live: CheckLive) -> int:
    """The bits with which a check goes on that has had no result in this process."""
    return _ALTERNATING if draft.get("flapping", check) is not None else live.flaps


def follow(draft: Draft, check: str, flaps: int) -> bool:
    """Say when flapping begins or ends. Returns whether it did."""
    flapping = draft.get("flapping", check) is not None
    changes = share(flaps)
    if not flapping and changes >= BEGINS_AT:
        draft.emit(FlappingBegan(draft.now.wall, check, int(changes)))
    elif flapping and changes <= ENDS_AT:
        draft.emit(FlappingEnded(draft.now.wall, check, int(changes)))
    else:
        return False
    return True


def forget(draft: Draft, check: str) -> None:
    """A check is gone, or another one now."""
    if draft.get("flapping", check) is not None:
        draft.emit(FlappingEnded(draft.now.wall, check, 0))


def shown(draft: Draft, checks: Iterable[str]) -> int | None:
    """The highest percentage of those that flap, None if none does."""
    found = [
        percent(draft.check(check).flaps) or BEGINS_AT for check in checks if draft.get("flapping", check) is not None
    ]
    return max(found, default=None)
