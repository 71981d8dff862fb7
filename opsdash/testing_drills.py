"""For tests of drills: a timeline on which checks run in their slots, and a guard that answers as the real one does.

`Faults` stands for what is outside of opsdash: the guard process, the faults that are made, and the load. It survives
the engine, as the guard does: when the engine dies it takes the faults back at once, and it does so at the limit too.

    timeline = DrillTimeline(operation(email(), drills={"d": drill()}), outside=mail_outside(), faults=Faults())
    timeline.live_on(1)
    timeline.begin("d")
    timeline.live_on(60)
    assert timeline.ended("d").verdict is Verdict.PASSED
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from opsdash.core import drill_marks, drill_plans
from opsdash.model import effects as e
from opsdash.model import inputs as i
from opsdash.model.drill import Drill, Injection, Level, Responder
from opsdash.model.operation import ANCHORS
from opsdash.testing import FakeClock, Timeline

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opsdash.model.drill import DrillRun
    from opsdash.model.status import Status
    from opsdash.model.switch import Refused
    from opsdash.testing import Outside

SLOT = 1.0
"""Seconds between two looks at which checks are due."""


@dataclass
class Faults:
    """The guard, the faults and the load. Change it while a timeline goes on.

    breaks: the checks that fail while a fault is in place.  arm_error, inject_error: what the guard and the injection
    answer.  undone: what undoing comes to: verified, not, or (None) nobody can tell; it works unless `stuck`.
    silent: what never answers: `arm`, `inject`, `undo`, `load`.  load: times and failures of a load, None: as asked.
    armed, in_place: runs.  log: what was done, in order.
    """

    breaks: Mapping[str, Status] = field(default_factory=dict)
    arm_error: str = ""
    inject_error: str = ""
    undone: bool | None = True
    stuck: bool = False
    silent: set[str] = field(default_factory=set)
    load: tuple[int, int] | None = None
    takes: float = 0.05
    armed: set[str] = field(default_factory=set)
    in_place: set[str] = field(default_factory=set)
    log: list[str] = field(default_factory=list)

    def make(self, run: str, outside: Outside | None) -> None:
        """The faults are made."""
        self.log.append(f"inject {run}")
        self.in_place.add(run)
        if outside is not None:
            outside.status.update(self.breaks)

    def take_back(self, run: str, outside: Outside | None) -> None:
        """The faults are taken back, which does no harm where there are none."""
        self.log.append(f"undo {run}")
        if self.stuck:
            return
        self.in_place.discard(run)
        self.armed.discard(run)
        if outside is not None and not self.in_place:
            for check in self.breaks:
                outside.status.pop(check, None)

    def engine_died(self, outside: Outside | None) -> None:
        """The engine's pipe has closed: the guards undo what they were armed for."""
        for run in sorted(self.armed):
            self.take_back(run, outside)


class DrillTimeline(Timeline):
    """A timeline with a guard. `live_on` lets time pass with checks in their slots."""

    def __init__(self, *arguments: Any, faults: Faults | None = None, **settings: Any) -> None:
        self.faults = faults or Faults()
        self._slots: dict[str, float] = {}
        super().__init__(*arguments, **settings)

    def crash(self, after: int | None = None, *, seconds: float = 5.0, outside: Outside | None = None) -> DrillTimeline:
        """The engine is killed when `after` records were written; the guard notices, and one started later goes on."""
        clock = FakeClock(self.clock.wall, mono=self.clock.mono)
        clock.advance(seconds)
        outside = outside or self.outside
        self.faults.engine_died(outside)
        return DrillTimeline(
            self.world.operation,
            outside=outside,
            inbox=self.inbox,
            clock=clock,
            replay=self.records[:after],
            faults=self.faults,
        )

    def live_on(self, seconds: float) -> None:
        """Time passes, and every check runs in its slots."""
        until = self.clock.mono + seconds
        while self.clock.mono < until - 1e-6:
            for check, spec in self.world.operation.checks.items():
                if self._slots.get(check, 0.0) <= self.clock.mono and self.outside is not None:
                    self._slots[check] = self.clock.mono + spec.every
                    if spec.component != ANCHORS or spec.id in self.world.operation.anchors:
                        self._run_check(check, self.outside)
            self.advance(min(SLOT, until - self.clock.mono))

    def begin(self, drill_id: str, who: str = "maria", **settings: Any) -> Refused | str:
        """Look at a drill's plan and begin it."""
        latest = drill_marks.latest_run(self.world, drill_id)
        named = {"latest": "" if latest is None else latest.id} | settings
        return self.want(i.StartDrillIntent(drill_id, **named), who)

    def drill_plan(self, drill_id: str, who: str = "maria") -> Any:
        """What a drill would do now."""
        return drill_plans.plan(self.draft(), drill_id, who)

    def run(self, drill_id: str) -> DrillRun:
        """The latest run of a drill."""
        found = drill_marks.latest_run(self.world, drill_id)
        assert found is not None, f"{drill_id} was never run"  # noqa: S101
        return found

    def ended(self, drill_id: str) -> DrillRun:
        """The same, which has to have ended."""
        found = self.run(drill_id)
        assert found.verdict is not None, f"{found.id} is {found.state.value}"  # noqa: S101
        return found

    def until_ended(self, drill_id: str, most: float = 4000.0) -> DrillRun:
        """Let time pass until a run has ended."""
        waited = 0.0
        while self.run(drill_id).is_open and waited < most:
            self.live_on(5.0)
            waited += 5.0
        return self.ended(drill_id)

    def _let_happen(self, effect: e.Effect, outside: Outside) -> None:
        super()._let_happen(effect, outside)
        answers: dict[type, Callable[[Any], None]] = {
            e.ArmGuard: self._arm,
            e.Inject: self._inject,
            e.UndoFaults: self._undo,
            e.StartLoad: self._load,
        }
        answer = answers.get(type(effect))
        if answer is not None:
            answer(effect)

    def _arm(self, effect: e.ArmGuard) -> None:
        faults, run = self.faults, effect.run

        def up() -> None:
            if not faults.arm_error:
                faults.log.append(f"arm {run}")
                faults.armed.add(run)
                self._at(effect.drill.limit, lambda: self._limit(run))
            self.feed(i.GuardArmed(run, faults.arm_error))

        if "arm" not in faults.silent:
            self._at(faults.takes, up)

    def _limit(self, run: str) -> None:
        if run in self.faults.armed:
            self.faults.take_back(run, self.outside)
            self.feed(i.Undone(run, self.faults.undone, "guard", "its limit has come"))

    def _inject(self, effect: e.Inject) -> None:
        faults, run = self.faults, effect.run

        def made() -> None:
            faults.make(run, self.outside)
            if "inject" not in faults.silent:
                self.feed(i.Injected(run, faults.inject_error))

        self._at(faults.takes, made)

    def _undo(self, effect: e.UndoFaults) -> None:
        faults, run = self.faults, effect.run

        def undone() -> None:
            faults.take_back(run, self.outside)
            if "undo" not in faults.silent:
                self.feed(i.Undone(run, faults.undone, "guard"))

        self._at(faults.takes, undone)

    def _load(self, effect: e.StartLoad) -> None:
        times, failed = self.faults.load or (effect.load.times, 0)

        def ended() -> None:
            self.feed(i.LoadDone(effect.run, times, failed))

        if "load" not in self.faults.silent:
            self._at(effect.load.over, ended)


def pretend(target: str = "", status: str = "down") -> Injection:
    """Opsdash says something else of checks than what they measure."""
    return Injection("pretend", {"status": status}, target=target)


def fault() -> Injection:
    """Something is really broken, as `Faults.breaks` says."""
    return Injection("fault_proxy", {"mode": "refuse"})


def drill(drill_id: str = "email-drill", **settings: Any) -> Drill:
    """A drill of `email`, which opsdash answers itself: at level contained, unless something else is said."""
    level = settings.pop("level", Level.CONTAINED)
    defaults: dict[str, Any] = {
        "title": "The mail provider does not answer",
        "component": "email",
        "failure_mode": "provider-unreachable",
        "owner": "maria",
        "responder": Responder.OPSDASH,
        "sha256": f"sha of {drill_id}",
        "limit": 300.0,
    }
    if level is Level.SYNTHETIC:
        defaults["injections"] = (pretend(),)
    elif level in (Level.CONTAINED, Level.REAL):
        defaults |= {"injections": (fault(),), "verify_undone": ("email/postmark/api",)}
    return Drill(drill_id, level=level, **(defaults | settings))


def with_drills(operation: Any, *drills: Drill) -> Any:
    """The operation with these drills in its files."""
    return replace(operation, drills={each.id: each for each in drills})
