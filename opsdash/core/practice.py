"""Practice: who can run what, computed from who really did it, and never declared.

Somebody can run a component who in the last 180 days did with it what an incident would ask for: moved it to another
provider, entered or left a degraded mode, followed one of its runbooks to its end, or drove a drill. Only what was
verified counts: a switch that was committed by what was measured, not one whose outcome a person stated; a run that was
closed after the person had marked at least half of what there was to mark as done, and no rehearsal.

Whoever said on a shared account who they are is taken at their word: the name that was claimed is the person.

A runbook that has other steps than then is another procedure. Its *family* is the sequence of its steps' names, so that
a better wording inside of a step takes nobody's practice away, and a step that is new, gone or elsewhere does.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from opsdash.model.drill import PROVES
from opsdash.model.practice import Done, Practice
from opsdash.model.run import END, RunMode
from opsdash.model.switch import MOVES_PROVIDER, SwitchCause, SwitchKind, SwitchState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from opsdash.model.drill import DrillRun
    from opsdash.model.operation import Component, Operation
    from opsdash.model.records import SwitchEnded
    from opsdash.model.run import Run
    from opsdash.model.switch import Switch
    from opsdash.model.world import Patch

LASTS = 180 * 86400.0
"""Seconds for which having done something counts: two quarters, so that one missed drill does not unlearn it."""

MOST = 200
"""What is remembered of one component: so many times that a person did something, the latest ones."""

MODE, RUNBOOK, DRILL = "mode:", "runbook:", "drill:"
"""What was done, before the name of it; a provider stands for itself."""


class World(Protocol):
    """What is read of a world while records are folded."""

    def get(self, table: str, key: str) -> Any: ...

    def keys(self, table: str) -> list[str]: ...


class Reader(World, Protocol):
    """What is needed of a world or draft to ask who can do what."""

    operation: Operation


@dataclass(frozen=True, slots=True)
class Deed:
    """A person of the operation has done `what` with a component. by: the switch, run or drill; at: when last."""

    person: str
    component: str
    what: str
    at: float
    by: str


# --- what records add -----------------------------------------------------------------------------------------------


def practised(world: World, component: str, done: Sequence[Done]) -> Patch:
    """What is known of a component after somebody did something with it; what has lost its force by then goes, of
    every component.
    """
    if not done:
        return []
    wall = max(each.at for each in done)
    new = {(each.who, each.what) for each in done}
    before: Practice = world.get("practice", component) or Practice()
    kept = [each for each in before.done if (each.who, each.what) not in new and _counts(each, wall)]
    after = Practice(tuple(sorted([*kept, *done], key=lambda each: (each.at, each.who, each.what))[-MOST:]))
    return [*(change for change in forgotten(world, wall) if change[1] != component), ("practice", component, after)]


def forgotten(world: World, wall: float) -> Patch:
    """What has lost its force by `wall` leaves the world."""
    patch: Patch = []
    for key in world.keys("practice"):
        before: Practice = world.get("practice", key)
        kept = tuple(each for each in before.done if _counts(each, wall))
        if kept != before.done:
            patch.append(("practice", key, Practice(kept) if kept else None))
    return patch


def after_switch(world: World, switch: Switch, record: SwitchEnded) -> Patch:
    """What a switch that has ended shows of the person who wanted it. One that opsdash did by itself shows nothing."""
    measured = record.state is SwitchState.COMMITTED and record.who is None
    if not measured or switch.cause is not SwitchCause.PERSON:
        return []
    plan = switch.plan
    if plan.kind in MOVES_PROVIDER:
        what = plan.target
    else:
        what = MODE + (plan.target if plan.kind is SwitchKind.DEGRADE else plan.source)
    return practised(world, plan.component, [Done(plain(switch.who), what, record.at, switch.id)])


def after_run(world: World, run: Run, at: float) -> Patch:
    """What a run that was closed at `at` shows of those who marked its steps."""
    if run.mode is not RunMode.STEP:
        return []
    gone_through = run.current in ("", END)
    steps = len(run.marks) if gone_through else len(run.steps)
    marked = Counter(plain(mark.who) for mark in run.marks if mark.mark == "done")
    family = family_of(step for step, _ in run.steps)
    what = RUNBOOK + run.runbook
    done = [Done(who, what, at, run.id, family) for who, count in sorted(marked.items()) if 2 * count >= steps]
    return practised(world, run.component, done)


def after_drill(world: World, run: DrillRun) -> Patch:
    """What a drill that has ended shows of the person who drove it. Its runs and switches count for themselves."""
    if run.verdict not in PROVES or run.ended_at is None:
        return []
    done = Done(plain(run.who), DRILL + run.drill.id, run.ended_at, run.id)
    return practised(world, run.drill.component, [done])


def family_of(steps: Iterable[str]) -> str:
    """The family of a runbook with those steps, by their ids in order; "" for none."""
    names = "\n".join(steps)
    return hashlib.sha256(names.encode()).hexdigest()[:16] if names else ""


def plain(name: str) -> str:
    """The name that somebody goes by, without the account on which it was claimed."""
    return name.partition(" (")[0]


def _counts(done: Done, wall: float) -> bool:
    return wall - done.at < LASTS


# --- who can ----------------------------------------------------------------------------------------------------------


def deeds(reader: Reader, wall: float) -> list[Deed]:
    """Everything that people of the operation did, as far as it counts at `wall`, the latest first."""
    found = [deed for component in reader.keys("practice") for deed in _deeds(reader, component, wall)]
    return sorted(found, key=lambda deed: (-deed.at, deed.person, deed.component, deed.what))


def of_component(reader: Reader, component: str, wall: float) -> list[Deed]:
    """The same of one component."""
    return sorted(_deeds(reader, component, wall), key=lambda deed: (-deed.at, deed.person, deed.what))


def can_run(reader: Reader, component: Component, wall: float) -> list[str]:
    """Ids of the people who can run a component, whoever did it last first. Who has left cannot; who is away still
    can.
    """
    people = reader.operation.people
    found = dict.fromkeys(deed.person for deed in of_component(reader, component.id, wall))
    return [person for person in found if (left := people[person].left) is None or left > wall]


def bus_factor(reader: Reader, component: Component, wall: float) -> int:
    """How many people can run a component."""
    return len(can_run(reader, component, wall))


def _deeds(reader: Reader, component: str, wall: float) -> Iterator[Deed]:
    practice: Practice | None = reader.get("practice", component)
    for done in () if practice is None else practice.done:
        person = _person(reader.operation, done.who)
        if person is not None and _counts(done, wall) and _is_same(reader.operation, done):
            yield Deed(person, component, done.what, done.at, done.by)


def _is_same(operation: Operation, done: Done) -> bool:
    """Whether a runbook that somebody followed still has the steps that it had."""
    now = operation.families.get(done.what.removeprefix(RUNBOOK)) if done.what.startswith(RUNBOOK) else None
    return not now or not done.family or done.family == now


def _person(operation: Operation, who: str) -> str | None:
    """The person behind a name that was recorded: an id, or an account from before the person was declared."""
    if who in operation.people:
        return who
    return next((person.id for person in operation.people.values() if person.login == who), None)


def what_words(what: str) -> str:
    """What was done, for people."""
    for prefix, word in ((MODE, "degraded mode"), (RUNBOOK, "runbook"), (DRILL, "drill")):
        if what.startswith(prefix):
            return f"{word} {what.removeprefix(prefix)}"
    return f"switch to {what}"
