"""A trial: the core itself, run on a world in which something is gone, until nothing changes any more.

What a loss means is not told here. It is fed to `decide` as an engine would feed it: checks fail, mechanisms cannot be
read, people say that they are away; and what `decide` wants done is answered by a small world beyond it, in which
actions do what they say. Time is a number that moves from one event to the next.

What that world knows, and nothing else does:

- A check fails whose host, credential or provider is gone.
- A component's own checks ask whether the job gets done. They fail while the serving provider does not work, or all of
  the component is gone, unless a degraded mode is in force that keeps the feature they prove: that is what it is for.
- An action whose mechanism is gone is not begun. Any other takes effect, its preflight passes, and whoever serves
  afterwards says so. Data of the other side is not behind. Neither can be known before a drill has shown it.
- That a parent is down lets no check of its children fail: only their own checks could tell.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from opsdash.core import guards, planning
from opsdash.core.decide import decide
from opsdash.core.draft import Draft
from opsdash.core.evolve import evolve
from opsdash.core.health import UNREAD_AFTER
from opsdash.core.mechanisms import PROVIDER
from opsdash.core.reader import OPSDASH
from opsdash.model import effects as e
from opsdash.model import inputs as i
from opsdash.model.now import Now
from opsdash.model.observation import Observation
from opsdash.model.status import Reason, Status
from opsdash.model.switch import MOVES_PROVIDER, Refused, SwitchKind
from opsdash.model.templates import fill
from opsdash.model.world import TABLES, Live, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from opsdash.core.whatif_subjects import Loss
    from opsdash.model.operation import CheckSpec, Component, Operation
    from opsdash.model.switch import Plan

GONE = "taken away"
"""What a check that fails says of it."""

NORMAL = "normal"
"""What the mechanism of a degraded mode says while that is not in force; a mode of that name says something else."""

LATENCY = 0.02
"""Seconds that everything takes in a trial."""

FOLLOWED = frozenset({"alarm", "auto", "blind", "settle", "verify"})
"""Timers that belong to what follows from a loss. The others come back for ever: reads, looks at who is there."""

SLOWLY = 5.0
"""Seconds between samples that will say what the ones before said."""

TIMES = 5
"""How often a timer of the same key is followed: what still waits after that waits for something that will not come."""

MOST_EVENTS = 20_000
"""Events after which a trial ends, whatever is left: nothing that is known needs a hundredth of it."""

Failing = dict[str, tuple[Status, Reason | None]]


class Start:
    """The world in which trials begin: everything works, or (tables) all is as it was recorded.

    operation: all, or the part of it that a trial is about.  wall: seconds since 1970 UTC; who is away by then is.
    """

    def __init__(
        self, operation: Operation, wall: float, tables: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        self.operation = operation
        self.recorded: Failing = _recorded(tables or {})
        self.says: dict[str, str | None] = {}
        self.serving: dict[str, str | None] = {}
        self.modes: dict[str, str] = {}
        for component in operation.components.values():
            self._assume(component, (tables or {}).get("components", {}).get(component.id))
        self.facts = dict(_facts_of(operation))
        switches = [each.switch for each in operation.components.values() if each.switch is not None]
        self.samples = max((spec.served_by.times for spec in switches if spec.served_by is not None), default=1) + 1
        self.world = World(tables={name: dict((tables or {}).get(name, {})) for name in TABLES})
        self.world.operation = replace(operation, sha256="")
        self.live = Live()
        self.now = Now(wall, 0.0, 0.0)
        trial = Trial(self)
        trial.begin()
        self.world, self.live, self.now = trial.world, trial.live, trial.now

    def _assume(self, component: Component, state: Any) -> None:
        """Who serves and which mode is in force, as recorded, else the primary and none."""
        fresh = state is None or (state.active is None and not state.seen)
        serving = component.primary if fresh else state.active
        provider = component.provider(serving)
        self.serving[component.id] = serving
        self.says[f"{component.id}/{PROVIDER}"] = provider.as_name if provider else (state.seen if state else None)
        for mode in component.modes.values():
            self.says[f"{component.id}/{mode.id}"] = _normal(mode.as_name)
        if state is not None and state.mode in component.modes:
            self.modes[component.id] = state.mode
            self.says[f"{component.id}/{state.mode}"] = component.modes[state.mode].as_name


def _normal(as_name: str) -> str:
    return NORMAL if as_name != NORMAL else f"not {NORMAL}"


def _recorded(tables: Mapping[str, Mapping[str, Any]]) -> Failing:
    """The checks that are recorded not to be well."""
    states = tables.get("checks", {})
    return {check: (state.status, state.reason) for check, state in states.items() if state.status is not Status.OK}


Fact = tuple[str, "Callable[[Trial], Any]"]


def _facts_of(operation: Operation) -> Iterator[tuple[str, list[Fact]]]:
    """What checks that work extract, as far as the core looks at it: who answered, when, and how far data is behind."""
    found: dict[str, list[Fact]] = {}
    for component in operation.components.values():
        spec = component.switch
        if spec is None:
            continue
        if spec.served_by is not None:
            facts = found.setdefault(spec.served_by.check, [])
            facts.append((spec.served_by.value.removeprefix("facts."), _answered_by(component)))
            if spec.served_by.at is not None:
                facts.append((spec.served_by.at.removeprefix("facts."), lambda trial: trial.now.wall))
        if spec.lag is not None:
            for provider in component.providers:
                check = fill(spec.lag.check, planning.template_names(component, None, provider))
                found.setdefault(check, []).append((spec.lag.value.removeprefix("facts."), lambda _: 0))
    yield from found.items()


def _answered_by(component: Component) -> Callable[[Trial], str | None]:
    def name(trial: Trial) -> str | None:
        provider = component.provider(trial.serving.get(component.id))
        return provider.as_name if provider else None

    return name


class Trial:
    """One world in which something is lost. It begins where `start` ended, and changes nothing of that."""

    def __init__(self, start: Start, loss: Loss | None = None) -> None:
        self.world = World(start.world.operation, {name: dict(rows) for name, rows in start.world.tables.items()})
        self.live = Live({name: dict(rows) for name, rows in start.live.tables.items()})
        self.now = start.now
        self.since = start.now.wall
        self.loss = loss
        self.serving = dict(start.serving)
        self.modes = dict(start.modes)
        self._start = start
        self._says = dict(start.says)
        self._forced: dict[str, Status] = {}
        self._failing: Failing = {}
        self._answers: dict[str, e.Answer] = {}
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._timers: dict[tuple[str, ...], float] = {}
        self._fired: Counter[tuple[str, ...]] = Counter()
        self._polls: dict[str, float] = {}
        self._sampled: Counter[str] = Counter()
        self._count = itertools.count(1)

    @property
    def draft(self) -> Draft:
        """World and live, for reading."""
        return Draft(self.world, self.live, self.now)

    # --- what happens ------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start, read the files, and see how everything is; what waits for long by then is not waited for."""
        self._failing = self._premise()
        self._feed(i.Started("what-if", 0))
        self._feed(i.Loaded(self._start.operation))
        for component in self.world.operation.components.values():
            names = [provider.id for provider in component.providers] + [f"mode:{mode}" for mode in component.modes]
            for name in names:
                self._feed(i.PreflightDone(guards.preflight_key(component.id, name), True, "as the files say"))
        for check in self.world.operation.checks:
            self._poll(check, 0.0)
        self.run()
        self._queue.clear()

    def lose(self) -> None:
        """What is to be lost is lost, and what follows by itself has followed."""
        assert self.loss is not None  # noqa: S101 - only `begin` is without one
        for person in sorted(self.loss.people):
            self._feed(i.Wanted(f"away-{person}", OPSDASH, i.AwayIntent(person, None)))
        for mechanism in sorted(self.loss.mechanisms):
            self._lose_mechanism(*mechanism.split("/", 1))
        self._look_again()
        self.run()

    def _lose_mechanism(self, component_id: str, what: str) -> None:
        component = self.world.operation.components.get(component_id)
        if component is None:
            return
        names = [provider.id for provider in component.providers] if what == PROVIDER else [f"mode:{what}"]
        for name in names:
            self._feed(i.PreflightDone(guards.preflight_key(component_id, name), False, f"what it goes by is {GONE}"))
        switch = component.switch
        if what == PROVIDER and switch is not None and switch.read is not None:
            for _ in range(UNREAD_AFTER):
                self._read(component_id, what)

    def answer(self, plan: Plan) -> Refused | str:
        """Confirm a plan, and let what follows follow. Returns the switch's id, or why it was not begun.

        Two people, where it takes two. That much fails at once says nothing here of opsdash itself: it is not cut off.
        """
        answer = self._confirm(plan, "first")
        if isinstance(answer, Refused) and answer.rule == guards.APPROVAL:
            answer = self._confirm(plan, "second")
        self.run()
        return answer

    def _confirm(self, plan: Plan, who: str) -> Refused | str:
        request = f"answer-{next(self._count)}"
        intent = i.SwitchIntent(
            component=plan.component,
            kind=plan.kind,
            generation=plan.generation,
            source=plan.source,
            target=plan.target,
            reason=plan.reason or "what was decided",
            overrides=("observer",),
            typed=plan.component,
        )
        self._feed(i.Wanted(request, who, intent))
        answer = self._answers[request]
        return answer.subject if answer.refused is None else answer.refused

    def run(self) -> None:
        """Let time pass until nothing is left that could happen."""
        self._fired.clear()
        for _ in range(MOST_EVENTS):
            timer = min(self._timers, key=lambda key: (self._timers[key], key), default=None)
            planned = self._queue[0][0] if self._queue else None
            if timer is not None and (planned is None or self._timers[timer] <= planned):
                self._pass_until(self._timers.pop(timer))
                self._feed(i.TimerFired(timer))
            elif planned is not None:
                self._pass_until(planned)
                heapq.heappop(self._queue)[2]()
            else:
                return

    def _pass_until(self, mono: float) -> None:
        passed = max(0.0, mono - self.now.mono)
        self.now = Now(self.now.wall + passed, self.now.mono + passed, self.now.boot + passed)

    # --- what is out there -------------------------------------------------------------------------------------

    def _premise(self) -> Failing:
        """Every check that fails at this moment, and how."""
        found: Failing = {}
        checks = self.world.operation.checks
        kept = self._kept()
        for component in self.world.operation.components.values():
            for provider in component.providers:
                for check in provider.checks:
                    if check in checks and (how := self._hard(check)) is not None:
                        found[check] = how
            broken = self._is_broken(component, found)
            for check in component.checks:
                how = self._hard(check, own=True)
                if how is None and broken and check not in kept:
                    how = (Status.DOWN, Reason.TIMEOUT)
                if check in checks and how is not None:
                    found[check] = how
        for check, status in self._forced.items():
            if status is Status.OK:
                found.pop(check, None)
            elif check in checks:
                found[check] = (status, Reason.TIMEOUT)
        return found

    def _hard(self, check: str, *, own: bool = False) -> tuple[Status, Reason | None] | None:
        """How a check fails by itself, whoever serves. own: of a component, it may work again once that is answered."""
        if self.loss is not None and check in self.loss.checks:
            return Status.DOWN, self.loss.checks[check]
        recorded = self._start.recorded.get(check)
        if own and recorded is not None and self._has_moved(check.partition("/")[0]):
            return None
        return recorded

    def _has_moved(self, component: str) -> bool:
        """Whether somebody else serves than at the start, or another mode is in force."""
        before = (self._start.serving.get(component), self._start.modes.get(component))
        return before != (self.serving.get(component), self.modes.get(component))

    def _is_broken(self, component: Component, failing: Failing) -> bool:
        """Whether whoever serves a component does not work, or nothing of it does."""
        if self.loss is not None and component.id in self.loss.components:
            return True
        provider = component.provider(self.serving.get(component.id))
        if provider is None:
            return False
        lost = self.loss.checks if self.loss is not None else {}
        if self.loss is not None and f"{component.id}/{provider.id}" in self.loss.providers:
            return True
        return any(
            check in lost or (self._has_moved(component.id) and failing.get(check, (None,))[0] is Status.DOWN)
            for check in provider.checks
        )

    def _kept(self) -> set[str]:
        """The checks of what degraded modes in force keep working."""
        kept: set[str] = set()
        components = self.world.operation.components
        for component_id, mode_id in self.modes.items():
            component = components.get(component_id)
            mode = component.modes.get(mode_id) if component is not None else None
            if mode is None:
                continue
            kept.update(mode.verify)
            for name in mode.keeps:
                other, _, own = name.rpartition("/")
                owner = components.get(other or component_id)
                feature = owner.features.get(own) if owner is not None else None
                kept.update(feature.checks if feature is not None else ())
        return kept

    def _look_again(self) -> None:
        """What is out there has changed: every check that it concerns runs, as it would within its interval."""
        before, self._failing = self._failing, self._premise()
        self._sampled.clear()
        for check in self.world.operation.checks:
            if before.get(check) != self._failing.get(check):
                self._poll(check, 0.0)

    # --- effects -----------------------------------------------------------------------------------------------

    def _feed(self, event: i.Input) -> None:
        decision = decide(self.world, self.live, event, self.now)
        if isinstance(event, i.Loaded):
            self.world.operation = event.operation
        for record in decision.records:
            self.world.apply(evolve(self.world, record))
        self.live.apply(decision.live_patch)
        for effect in decision.effects:
            self._perform(effect)

    def _perform(self, effect: e.Effect) -> None:
        match effect:
            case e.SetTimer(key, at):
                if key[0] in FOLLOWED and self._fired[key] < TIMES:
                    self._fired[key] += 1
                    self._timers[key] = max(at, self.now.mono + LATENCY)
            case e.CancelTimer(key):
                self._timers.pop(key, None)
            case e.Answer(request):
                self._answers[request] = effect
            case e.Poll(check, after):
                self._poll(check, self._in_time(check, after))
            case e.Read(component, what, _, after):
                after = self._in_time(f"{component}/{what}", after) + LATENCY
                self._at(after, lambda: self._read(component, what))
            case e.Apply():
                self._at(LATENCY, lambda: self._apply(effect))
            case _:
                pass

    def _in_time(self, what: str, after: float) -> float:
        """When a sample is taken that is wanted again within a second. Once enough of them have said the same, the next
        ones will, too: they come slowly, so that waiting for a deadline takes no hundred of them.
        """
        if 0.0 < after < 1.0:
            self._sampled[what] += 1
            return SLOWLY if self._sampled[what] > self._start.samples else after
        return after

    def _at(self, after: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (self.now.mono + after, next(self._count), happen))

    def _poll(self, check: str, after: float) -> None:
        """Run a check once. Where that is planned for the same moment or before, it is done then."""
        due = self.now.mono + after
        planned = self._polls.get(check)
        if check not in self.world.operation.checks or (planned is not None and self.now.mono <= planned <= due):
            return
        self._polls[check] = due
        self._at(after, lambda: self._run_check(check))

    def _run_check(self, check: str) -> None:
        requested = self.now.mono
        self._polls.pop(check, None)
        self._at(LATENCY, lambda: self._observe(check, requested))

    def _observe(self, check: str, requested: float) -> None:
        spec = self.world.operation.checks.get(check)
        if spec is None:
            return
        status, reason = self._failing.get(check, (Status.OK, None))
        facts = {} if status is Status.DOWN else {name: value(self) for name, value in self._start.facts.get(check, ())}
        observation = Observation(
            check=check,
            status=status,
            reason=reason,
            detail="" if status is Status.OK else GONE if check not in self._start.recorded else "as recorded",
            latency=LATENCY,
            requested=requested,
            finished=self.now.mono,
            at=self.now.wall,
            due=self.now.mono + spec.every,
            facts=facts,
        )
        self._feed(i.Observed(observation))
        self._once_more(spec, status)

    def _once_more(self, spec: CheckSpec, status: Status) -> None:
        """Until a check is shown as it is, it runs in its own slots, too: nobody asks a passive one in between."""
        shown = self.live.get("checks", spec.id)
        if shown is not None and shown.status is not status and spec.id not in self._polls:
            turns = spec.down_after.of + spec.up_after
            if self._fired["slot", spec.id] < turns:
                self._fired["slot", spec.id] += 1
                self._poll(spec.id, spec.every)

    def _read(self, component: str, what: str) -> None:
        key = f"{component}/{what}"
        gone = self.loss is not None and key in self.loss.mechanisms
        value = None if gone else self._says.get(key)
        serving = (value,) if what == PROVIDER and value is not None else None
        self._feed(i.ReadDone(component, what, value, GONE if gone else "", None, self.now.mono, serving))

    def _apply(self, effect: e.Apply) -> None:
        switch = self.world.get("switches", effect.switch)
        plan: Plan = switch.plan
        what = PROVIDER if plan.kind in MOVES_PROVIDER else plan.target or plan.source
        key = f"{plan.component}/{what}"
        if self.loss is not None and key in self.loss.mechanisms:
            detail = f"what it goes by is {GONE}"
            self._feed(i.ApplyDone(effect.switch, "not_started", detail, None, effect.action_id))
            return
        prior = self._says.get(key)
        step = plan.step(effect.action_id.removeprefix(f"{switch.id}-"))
        if step is not None:
            self._forced.update(dict.fromkeys(step.down, Status.DOWN))
        elif plan.kind in MOVES_PROVIDER:
            self._move(plan, effect.target)
        else:
            self._enter(plan, entered=effect.target == plan.target)
        self._look_again()
        self._feed(i.ApplyDone(effect.switch, "applied", "", prior, effect.action_id))

    def _move(self, plan: Plan, target: str) -> None:
        component = self.world.operation.components.get(plan.component)
        provider = component.provider(target) if component is not None else None
        self.serving[plan.component] = target
        self._says[f"{plan.component}/{PROVIDER}"] = provider.as_name if provider else None
        old_out = plan.old_out
        if old_out is not None and old_out.by_check and target == plan.target:
            self._forced[old_out.check] = old_out.status

    def _enter(self, plan: Plan, *, entered: bool) -> None:
        component = self.world.operation.components.get(plan.component)
        into = plan.kind is SwitchKind.DEGRADE
        mode = component.modes.get(plan.target if into else plan.source) if component is not None else None
        if mode is None:
            return
        in_force = entered is into
        self._says[f"{plan.component}/{mode.id}"] = mode.as_name if in_force else _normal(mode.as_name)
        if in_force:
            self.modes[plan.component] = mode.id
        else:
            self.modes.pop(plan.component, None)
