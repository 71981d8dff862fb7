"""What-if: something is taken away; what goes down, what was decided for it, what users are left with, and what nobody
answers.

Nothing in here knows what a status means or what a guard asks: a trial (`core/whatif_trial`) runs the core on a world
in which the loss has happened, and this module reads what came of it, twice. *Before*: what follows by itself, until
nothing changes any more. *After*: once what the register offers first has been done, as far as its guards let it, and
has been verified.

    whatif = WhatIf(operation, wall)
    result = whatif.without(find(whatif.subjects, ["email/postmark"]))
    result.lost()            # the features that nobody has any more, in spite of what was decided

A component that depends on one that is down may still work; only its own checks could tell. Its features are then
neither kept nor lost, they are *at risk*, and say so.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from opsdash.core import cover, routing
from opsdash.core.index import index
from opsdash.core.whatif_account import Absences, Account, Seen, answer_all, look
from opsdash.core.whatif_pairs import Pairs
from opsdash.core.whatif_reach import Reach
from opsdash.core.whatif_results import AT_RISK, YES, Fate, FeatureFate, Result, Together, by_name, ranked, with_silent
from opsdash.core.whatif_subjects import subjects_of
from opsdash.core.whatif_trial import Start, Trial
from opsdash.model.empty import nothing
from opsdash.model.operation import Tier

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from collections.abc import Set as AbstractSet

    from opsdash.core.whatif_reach import Group
    from opsdash.core.whatif_subjects import Loss
    from opsdash.model.operation import Component, Operation, Raw


class WhatIf:
    """An operation, from which anything can be taken away. Trials are made once and remembered.

    wall: seconds since 1970 UTC.  tables: what is recorded, to begin with the present; without, all works at first.
    filled: options with their settings filled in.
    """

    def __init__(
        self,
        operation: Operation,
        wall: float,
        *,
        tables: Mapping[str, Mapping[str, Any]] | None = None,
        filled: Callable[[Raw], Mapping[str, Any]] = dict,
    ) -> None:
        self.operation = index(operation)
        self.subjects: dict[str, Loss] = subjects_of(operation, filled)
        self._wall = wall
        self._tables: Mapping[str, Mapping[str, Any]] = tables if tables is not None else nothing()
        self.reach = Reach(self.operation)
        self._starts: dict[frozenset[str], tuple[Start, dict[str, Seen]]] = {}
        self._fates: dict[tuple[Group, Any], dict[str, Fate]] = {}
        self._accounts: dict[tuple[Group, Any], dict[str, Account]] = {}
        self._features: dict[str, tuple[FeatureFate, ...]] = {}
        everybody = self._absences(frozenset())
        self.heard = {each.id: routing.known_targets(everybody, each) for each in self._components()}

    def _components(self) -> Iterator[Component]:
        yield from self.operation.components.values()

    def without(self, loss: Loss) -> Result:
        """What comes of a loss: each group of components that it concerns by itself."""
        fates: dict[str, Fate] = {}
        for group in self.reach.groups(self.reach.concerned(loss)):
            fates |= self.of_group(group, loss)
        return self._result(loss, fates)

    def at_once(self, loss: Loss) -> Result:
        """The same, with the whole operation in one trial: what `without` has to agree with, and far slower."""
        everything = tuple(sorted(self.operation.components))
        concerned = self.reach.concerned(loss)
        found = self._tried(everything, loss)
        absences = self._absences(loss.people)
        return self._result(loss, {each: found[each].fate(loss, absences) for each in found if each in concerned})

    def singles(self, after_each: Callable[[], object] = int) -> list[Result]:
        """What comes of each single loss, the worst first. `after_each` is called after each of them."""
        found = []
        for loss in self.subjects.values():
            found.append(self.without(loss))
            after_each()
        return ranked(found)

    def pairs(self, after_each: Callable[[], object] = int) -> list[Together]:
        """What is lost only when two are gone at once, the worst first. `after_each` is called after each pair that
        has to do with each other; all others do what their two do by themselves.
        """
        return Pairs(self, self.reach).all(after_each)

    # --- one group ---------------------------------------------------------------------------------------------

    def of_group(self, group: Group, loss: Loss) -> dict[str, Fate]:
        """What becomes of a group of components, whatever else is lost."""
        people_of = frozenset().union(*(self.reach.people[each] for each in group))
        part = loss.within(frozenset(group), people_of)
        asked = (group, part.key(self.operation))
        found = self._fates.get(asked)
        if found is None:
            found = self._fates[asked] = self._fates_of(group, part)
        return found

    def _fates_of(self, group: Group, part: Loss) -> dict[str, Fate]:
        plain = self.reach.plain(part)
        if plain.people and not any(self._minds_absence(each, plain.people) for each in group):
            plain = replace(plain, people=frozenset())
        key = (group, plain.key(self.operation))
        accounts = self._accounts.get(key)
        if accounts is None:
            accounts = self._accounts[key] = self._tried(group, plain)
        return {each: account.fate(part, self._absences(part.people)) for each, account in accounts.items()}

    def _minds_absence(self, component_id: str, people: frozenset[str]) -> bool:
        """Whether people who are away make a failure mode of a component active, or leave nobody for it."""
        component = self.operation.components[component_id]
        if any(each.detected_by is not None and each.detected_by.away for each in component.failures.values()):
            return True
        before, after = (self._absences(away) for away in (frozenset[str](), people))
        return cover.warning(before, component, self._wall) != cover.warning(after, component, self._wall)

    def _absences(self, away: frozenset[str]) -> Absences:
        return Absences(self.operation, self._tables, away)

    def _tried(self, group: Group, loss: Loss) -> dict[str, Account]:
        start, normal = self._start(group)
        trial = Trial(start, loss)
        trial.lose()
        mine = set(group)
        components = [each for each in start.operation.components.values() if each.id in mine]
        before = look(trial, components)
        found = {each.id: Account(trial.draft, each, normal[each.id], before[each.id]) for each in components}
        answers = answer_all(trial, [(each.component, each.failures) for each in found.values()])
        after = look(trial, components)
        for key, account in found.items():
            account.end(after[key], answers.get(key))
        return found

    def _start(self, group: Group) -> tuple[Start, dict[str, Seen]]:
        wanted = frozenset(group).union(*(self.reach.company[each] for each in group))
        found = self._starts.get(wanted)
        if found is None:
            start = Start(self.reach.part(group), self._wall, self._tables)
            normal = look(Trial(start), start.operation.components.values())
            found = self._starts[wanted] = (start, normal)
        return found

    # --- all groups together -----------------------------------------------------------------------------------

    def _result(self, loss: Loss, fates: Mapping[str, Fate]) -> Result:
        down = {each for each, fate in fates.items() if fate.goes_down}
        silent = {*loss.channels, *self.cut_off(down)}
        found = {each: with_silent(fate, silent) for each, fate in fates.items() if not fate.as_before}
        at_risk = self._at_risk(down, {each for each, fate in fates.items() if fate.stays_down})
        touched = {feature.id for fate in found.values() for feature in fate.features}
        unheard = self.unheard(loss.channels, silent)
        return Result(
            loss.subjects,
            by_name(found),
            tuple(at_risk[key] for key in sorted(at_risk) if key not in touched),
            unheard,
        )

    def cut_off(self, down: AbstractSet[str]) -> Iterator[str]:
        """The channels through which nothing goes while those components are down."""
        for channel in self.operation.alarms.channels.values():
            if not down.isdisjoint(channel.depends_on):
                yield channel.id

    def unheard(self, gone: frozenset[str], silent: AbstractSet[str]) -> tuple[str, ...]:
        """The components of which nobody would be told, and would be otherwise; droppable ones alarm nobody."""
        return tuple(
            sorted(
                component.id
                for component in self._components()
                if component.tier is not Tier.DROPPABLE
                and self.heard[component.id] & gone
                and self.heard[component.id] <= silent
            )
        )

    def _at_risk(self, before: AbstractSet[str], after: AbstractSet[str]) -> dict[str, FeatureFate]:
        """The features of all that depends on what is down, by id."""
        at_first, still = self.below(before), self.below(after)
        found: dict[str, FeatureFate] = {}
        for component in at_first | still:
            first, later = (AT_RISK if component in below else YES for below in (at_first, still))
            for feature in self.features_of(component):
                found[feature.id] = replace(feature, before=first, after=later)
        return found

    def below(self, down: AbstractSet[str]) -> set[str]:
        """All that depends on what is down, directly or through others."""
        queue = list(down)
        found: set[str] = set()
        for each in queue:
            for child in self.operation.dependents.get(each, ()):
                if child not in found:
                    found.add(child)
                    queue.append(child)
        return found

    def features_of(self, component: str) -> tuple[FeatureFate, ...]:
        """The features of a component, all of them working."""
        known = self._features.get(component)
        if known is None:
            _, normal = self._start((component,))
            seen = normal[component].features
            known = tuple(FeatureFate(key, title, tier, YES, YES) for key, (title, tier, _) in seen.items())
            self._features[component] = known
        return known
