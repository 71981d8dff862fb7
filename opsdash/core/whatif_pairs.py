"""Two losses at once: what they take only together.

Of two losses that have nothing to do with each other nothing is computed: they take what each of them takes. Of two
that have, only the groups are computed again in which they meet, and compared with what becomes of these when either
happens alone. That another component fails, on which one only depends, holds alarms back and makes nothing worse; so
that alone is no reason to look at a pair.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from opsdash.core.whatif_results import Together, is_lost, ranked, with_silent
from opsdash.model.operation import Tier

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from opsdash.core.whatif import WhatIf
    from opsdash.core.whatif_reach import Reach
    from opsdash.core.whatif_results import Fate
    from opsdash.core.whatif_subjects import Loss

Fates = dict[str, "Fate"]


@dataclass(frozen=True, slots=True)
class _Single:
    """What a single loss does. silent: the channels over which nothing arrives then."""

    loss: Loss
    concerned: frozenset[str]
    fates: Mapping[str, Fate]
    down: frozenset[str]
    silent: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Toll:
    """What some fates take: features that are lost, components that stay down, what nobody answers."""

    lost: Mapping[str, Tier]
    down: frozenset[str]
    unanswered: frozenset[str]


class Pairs:
    """All pairs of what can be taken away from an operation."""

    def __init__(self, whatif: WhatIf, reach: Reach) -> None:
        self._whatif = whatif
        self._reach = reach
        self._singles: dict[str, _Single] = {}
        self._near = {each: set(company) for each, company in reach.company.items()}
        for each, company in reach.company.items():
            for other in company:
                self._near[other].add(each)

    def all(self, after_each: Callable[[], object]) -> list[Together]:
        """The pairs that take more together than apart, the worst first."""
        found = []
        for one, other in self.connected():
            both = self.together(one, other)
            if any(both.weight):
                found.append(both)
            after_each()
        return ranked(found)

    def connected(self) -> list[tuple[str, str]]:
        """The pairs of which one can make the other worse, in the order of the subjects."""
        subjects = self._whatif.subjects
        hit: dict[str, list[str]] = {each: [] for each in self._near}
        minds: dict[str, list[str]] = {each: [] for each in self._near}
        order = {name: number for number, name in enumerate(subjects)}
        for name, loss in subjects.items():
            single = self._single(name)
            for component in single.concerned:
                hit[component].append(name)
            for component in self._minding(loss, single):
                minds[component].append(name)
        found = {
            (one, other) if order[one] < order[other] else (other, one)
            for component, names in hit.items()
            for one in names
            for other in (*minds[component], *names)
            if one != other
        }
        found |= set(combinations([name for name in subjects if self._single(name).silent], 2))
        return sorted(found, key=lambda pair: (order[pair[0]], order[pair[1]]))

    def _minding(self, loss: Loss, single: _Single) -> set[str]:
        """The components whose loss besides can make a loss worse."""
        found = {other for each in single.concerned for other in self._reach.kin[each]}
        found |= {each for each, names in self._reach.people.items() if loss.people & names}
        return found | {each for each, heard in self._whatif.heard.items() if single.silent & heard}

    def together(self, one: str, other: str) -> Together:
        """What two subjects take only together."""
        first, second = self._single(one), self._single(other)
        both = first.loss.with_also(second.loss)
        meeting = self._meeting(first, second)
        fates: Fates = {}
        for group in self._reach.groups(meeting):
            fates |= self._whatif.of_group(group, both)
        down = first.down | second.down | {each for each, fate in fates.items() if fate.goes_down}
        silent = {*both.channels, *self._whatif.cut_off(set(down))}
        toll = self._toll(fates, silent)
        apart = [
            self._toll({each: single.fates[each] for each in meeting & single.concerned}, single.silent)
            for single in (first, second)
        ]
        lost = {key: tier for key, tier in toll.lost.items() if not any(key in each.lost for each in apart)}
        stays = toll.down.difference(*(each.down for each in apart))
        more = toll.unanswered.difference(*(each.unanswered for each in apart))
        return Together(
            both.subjects,
            tuple(sorted(lost.items())),
            tuple(self._at_risk(fates, first, second)),
            tuple(sorted(each for each in stays if fates[each].tier is not Tier.DROPPABLE)),
            (*sorted(more), *self._unheard(both, silent, first, second)),
        )

    def _single(self, name: str) -> _Single:
        found = self._singles.get(name)
        if found is None:
            loss = self._whatif.subjects[name]
            concerned = self._reach.concerned(loss)
            fates: Fates = {}
            for group in self._reach.groups(concerned):
                fates |= self._whatif.of_group(group, loss)
            down = frozenset(each for each, fate in fates.items() if fate.goes_down)
            silent = loss.channels | set(self._whatif.cut_off(set(down)))
            found = self._singles[name] = _Single(loss, concerned, fates, down, silent)
        return found

    def _meeting(self, first: _Single, second: _Single) -> frozenset[str]:
        """The components at which two losses meet, with all of their groups."""
        concerned = first.concerned | second.concerned
        queue = [*self._touching(first, second), *self._touching(second, first)]
        found = set(queue)
        for each in queue:
            for near in self._near[each]:
                if near in concerned and near not in found:
                    found.add(near)
                    queue.append(near)
        return frozenset(found)

    def _touching(self, one: _Single, other: _Single) -> Iterator[str]:
        """The components that one loss concerns, and to which the other makes a difference."""
        for each in one.concerned:
            if (
                each in other.concerned
                or not other.concerned.isdisjoint(self._near[each])
                or other.loss.people & self._reach.people[each]
                or other.silent & self._whatif.heard[each]
            ):
                yield each

    def _toll(self, fates: Mapping[str, Fate], silent: set[str] | frozenset[str]) -> _Toll:
        told = [with_silent(fate, silent) for fate in fates.values()]
        return _Toll(
            {feature.id: feature.tier for fate in told for feature in fate.features if is_lost(feature)},
            frozenset(fate.component for fate in told if fate.stays_down),
            frozenset(f"{fate.component}: {each}" for fate in told for each in fate.unanswered),
        )

    def _at_risk(self, fates: Fates, first: _Single, second: _Single) -> Iterator[tuple[str, Tier]]:
        """The features of all that depends on what stays down only when both are lost."""
        apart = {each for single in (first, second) for each, fate in single.fates.items() if fate.stays_down}
        down = {each for each, fate in fates.items() if fate.stays_down} - apart
        if not down:
            return
        known = self._whatif.below(apart) | apart | fates.keys() | first.fates.keys() | second.fates.keys()
        for component in sorted(self._whatif.below(down) - known):
            for feature in self._whatif.features_of(component):
                yield feature.id, feature.tier

    def _unheard(self, both: Loss, silent: set[str], first: _Single, second: _Single) -> Iterator[str]:
        """The components of which nobody would be told only when both are lost."""
        if not (first.silent and second.silent):
            return
        known = {
            each for single in (first, second) for each in self._whatif.unheard(single.loss.channels, single.silent)
        }
        for component in self._whatif.unheard(both.channels, silent):
            if component not in known:
                yield f"{component}: nobody would be told of a failure"
