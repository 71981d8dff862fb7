"""Couplings: components that fail within the same minute more often than chance would have it.

The question for each pair is whether the failures of the one fall into the minutes around the failures of the other
more often than they would if both failed independently and at any time alike. The minutes around the `n` failures of
the other cover a share `p` of the time that was watched; so of the failures of the one, about `p` of them fall in there
by chance, and their number follows the binomial distribution. Its upper tail is the p-value: exact, one-sided, and good
for small numbers, where a chi-squared or normal approximation is not. As many pairs are tested at once, it is
multiplied by their number (Bonferroni): strict, but a false alarm here sends somebody to look for a coupling that is
not there.

Failures of one component close to each other are one failure: they are not independent, and would count a bad hour
many times. A pair counts from three common failures on. Where very many fail at once it is one common cause, and says
nothing of any pair: such minutes are left out, and counted.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opsdash.model.status import SEVERITY, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

WITHIN = 60.0
"""Seconds within which two failures count as common."""

APART = 600.0
"""Seconds without a failure after which the next one of the same component is another one."""

FEWEST = 3
"""Common failures below which nothing is said of a pair."""

ALPHA = 0.01
"""Greatest p-value, after the correction, at which a coupling is reported."""

WIDESPREAD = 50
"""Failures within the same minute from which on it is one event and not one for each pair."""

JUDGED = frozenset({Status.OK, Status.DEGRADED, Status.DOWN})
"""Statuses that say something: from or to any other one nothing has got worse that was seen."""


@dataclass(frozen=True, slots=True)
class Coupling:
    """Two components that fail together, `one` the one with fewer failures.

    failures: of `one` and of `other`.  together: how many of the first are near one of the second; expected: how many
    would be by chance.  p_value: after the correction.  times: of the common failures, in seconds since 1970 UTC.
    explained: why they may, by what the files say; "" where they should be isolated.
    """

    one: str
    other: str
    failures: tuple[int, int]
    together: int
    expected: float
    p_value: float
    times: tuple[float, ...]
    explained: str = ""

    @property
    def ratio(self) -> float:
        """How many times as often as by chance."""
        return self.together / self.expected if self.expected else math.inf


@dataclass(frozen=True, slots=True)
class Found:
    """What was looked at, and what was found: unexplained couplings first, then by p-value.

    seconds: that were watched.  tested: pairs.  widespread: minutes in which so many failed that they are left out.
    """

    seconds: float
    components: int
    tested: int
    widespread: int
    couplings: tuple[Coupling, ...]


def worsened(before: Status | None, after: Status) -> bool:
    """Whether a confirmed status got worse. What was unknown before may have been so for long."""
    return before in JUDGED and after in JUDGED and SEVERITY[after] > SEVERITY[before]


def couplings(
    failures: Mapping[str, Iterable[float]],
    seconds: float,
    depends_on: Mapping[str, Sequence[str]],
    left_out: Sequence[tuple[float, float]] = (),
) -> Found:
    """Pairs of components that fail together.

    failures: times at which each component got worse, in seconds since 1970 UTC.  seconds: how long was watched.
    depends_on: of each component, directly.  left_out: times (since, until) of drills, whose failures were on purpose.
    """
    apart = {name: _apart(at for at in times if not _is_within(at, left_out)) for name, times in failures.items()}
    widespread = _widespread(apart)
    apart = {name: [at for at in times if not _is_within(at, widespread)] for name, times in apart.items()}
    apart = {name: times for name, times in apart.items() if len(times) >= FEWEST}
    tested = len(apart) * (len(apart) - 1) // 2
    if not tested or seconds <= 0:
        return Found(seconds, len(apart), tested, len(widespread), ())
    often = ((pair, times) for pair, times in _common(apart).items() if len(times) >= FEWEST)
    judged = (_coupling(pair, apart, times, seconds, tested) for pair, times in often)
    found = [each for each in judged if each.p_value <= ALPHA]
    ancestors = _ancestors(depends_on)
    told = (_explained(each, ancestors) for each in found)
    order = sorted(told, key=lambda each: (bool(each.explained), each.p_value, -each.together, each.one, each.other))
    return Found(seconds, len(apart), tested, len(widespread), tuple(order))


def _is_within(at: float, times: Sequence[tuple[float, float]]) -> bool:
    return any(since <= at <= until for since, until in times)


def _apart(times: Iterable[float]) -> list[float]:
    """The first of each series of failures that follow each other closely."""
    found: list[float] = []
    latest = -math.inf
    for at in sorted(times):
        if at - latest > APART:
            found.append(at)
        latest = at
    return found


def _widespread(apart: Mapping[str, Sequence[float]]) -> list[tuple[float, float]]:
    """When very many components fail within the same minute, as (since, until) that do not overlap."""
    times = sorted(at for found in apart.values() for at in found)
    found: list[tuple[float, float]] = []
    for at, later in zip(times, times[WIDESPREAD - 1 :], strict=False):
        if later - at > WITHIN:
            continue
        if found and at <= found[-1][1]:
            found[-1] = (found[-1][0], later)
        else:
            found.append((at, later))
    return found


def _common(apart: Mapping[str, Sequence[float]]) -> dict[tuple[str, str], set[float]]:
    """For each pair the failures of the one with fewer (by name, where equal) that are near one of the other."""
    events = sorted((at, name) for name, times in apart.items() for at in times)
    rank = {name: (len(times), name) for name, times in apart.items()}
    common: defaultdict[tuple[str, str], set[float]] = defaultdict(set)
    first = 0
    for place, (at, name) in enumerate(events):
        while at - events[first][0] > WITHIN:
            first += 1
        for before, other in events[first:place]:
            if rank[name] < rank[other]:
                common[name, other].add(at)
            else:
                common[other, name].add(before)
    return common


def _coupling(
    pair: tuple[str, str], apart: Mapping[str, Sequence[float]], times: set[float], seconds: float, tested: int
) -> Coupling:
    one, other = pair
    counts = len(apart[one]), len(apart[other])
    share = min(1.0, counts[1] * 2 * WITHIN / seconds)
    p_value = min(1.0, upper_tail(len(times), counts[0], share) * tested)
    return Coupling(one, other, counts, len(times), counts[0] * share, p_value, tuple(sorted(times)))


def upper_tail(least: int, trials: int, share: float) -> float:
    """The probability of at least so many successes in so many trials, each with probability `share`: binomial."""
    if least <= 0 or share >= 1:
        return 1.0
    if share <= 0:
        return 0.0
    logs = (
        math.lgamma(trials + 1)
        - math.lgamma(hits + 1)
        - math.lgamma(trials - hits + 1)
        + hits * math.log(share)
        + (trials - hits) * math.log1p(-share)
        for hits in range(least, trials + 1)
    )
    return min(1.0, math.fsum(math.exp(each) for each in logs))


# --- what explains them ----------------------------------------------------------------------------------------------


def _ancestors(depends_on: Mapping[str, Sequence[str]]) -> dict[str, set[str]]:
    """All that each component depends on, directly or through others; a circle does no harm."""
    found: dict[str, set[str]] = {}
    for name in depends_on:
        reached: set[str] = set()
        queue = list(depends_on[name])
        while queue:
            each = queue.pop()
            if each not in reached:
                reached.add(each)
                queue += depends_on.get(each, ())
        found[name] = reached
    return found


def _explained(coupling: Coupling, ancestors: Mapping[str, set[str]]) -> Coupling:
    one, other = coupling.one, coupling.other
    above_one, above_other = ancestors.get(one, set()), ancestors.get(other, set())
    if other in above_one:
        why = f"{one} depends on {other}"
    elif one in above_other:
        why = f"{other} depends on {one}"
    elif above_one & above_other:
        why = f"both depend on {min(above_one & above_other)}"
    else:
        return coupling
    return Coupling(
        one, other, coupling.failures, coupling.together, coupling.expected, coupling.p_value, coupling.times, why
    )
