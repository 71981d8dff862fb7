"""A switch: its plan with guards, its states, the four facts verified after it, and its outcome.

Failover, failback, entering and leaving a degraded mode are one machine with other ends. The table of its states is
in `opsdash.core.switching`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from opsdash.model.operation import ActionCall, Confirm, OldOut, ServedBy, Step


class SwitchKind(StrEnum):
    """What is moved, and in which direction."""

    FAILOVER = "failover"
    FAILBACK = "failback"
    DEGRADE = "degrade"
    RESTORE = "restore"


class SwitchCause(StrEnum):
    """Who wanted a switch."""

    PERSON = "person"
    AUTO = "auto"
    DRILL = "drill"


MOVES_PROVIDER = frozenset({SwitchKind.FAILOVER, SwitchKind.FAILBACK})
MOVES_MODE = frozenset({SwitchKind.DEGRADE, SwitchKind.RESTORE})


MAIN = "switch"
"""The name of the step that is the switch itself, among those before and after it."""


class SwitchState(StrEnum):
    """Where a switch is. `planned`, `blocked` and `ready` are states of its plan: nothing is recorded of them yet.

    Ends are `committed`, `aborted`, `refused`, `reverted`, `undone` and whatever a person settled.
    """

    PLANNED = "planned"
    BLOCKED = "blocked"
    READY = "ready"
    INTENT = "intent"
    FENCING = "fencing"
    ACTING = "acting"
    SETTLING = "settling"
    VERIFYING = "verifying"
    COMMITTED = "committed"
    ABORTED = "aborted"
    REFUSED = "refused"
    NO_EFFECT = "no_effect"
    SPLIT = "split"
    UNKNOWN = "unknown"
    REVERTED = "reverted"
    UNDOING = "undoing"
    UNDONE = "undone"
    NEEDS_HUMAN = "needs_human"


class FactName(StrEnum):
    """The four things verified after a switch, with the letters that the outcome table uses."""

    MECHANISM = "A"
    FRONT_DOOR = "B"
    OLD_OUT = "C"
    FEATURES = "D"


FACT_TITLES: dict[FactName, str] = {
    FactName.MECHANISM: "the mechanism reads back the new side",
    FactName.FRONT_DOOR: "the front door is served by it",
    FactName.OLD_OUT: "the old side no longer serves",
    FactName.FEATURES: "essential features pass",
}

BACK_TITLES: dict[FactName, str] = {
    **FACT_TITLES,
    FactName.MECHANISM: "the mechanism reads back the old side",
    FactName.OLD_OUT: "the new side no longer serves",
}
"""The same for a switch that is, or was, taken back: `true` then speaks for the old side."""


class Truth(StrEnum):
    """What is known of a fact. `undeclared`: the component names no way to measure it, which is no obstacle."""

    TRUE = "true"
    FALSE = "false"
    UNKNOWN = "unknown"
    UNDECLARED = "not declared"
    STATELESS = "stateless"


@dataclass(frozen=True, slots=True)
class Fact:
    """One of the four, with what was seen. `hits` of `needed` samples in a row so far."""

    name: FactName
    truth: Truth
    evidence: str = ""
    hits: int = 0
    needed: int = 1


class GuardResult(StrEnum):
    """What a guard says. `unknown` is treated like `warn` where the guard may be overridden, else like `fail`."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    WARN = "warn"
    FAIL = "fail"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Guard:
    """A condition of a plan: `rule` is its stable name, `age` the seconds since its evidence was measured."""

    rule: str
    title: str
    result: GuardResult
    evidence: str
    age: float | None = None
    overridable: bool = True


@dataclass(frozen=True, slots=True)
class Plan:
    """What a switch would do. `source` and `target` are provider ids, or mode ids ("" is normal operation).

    generation: how many switches the component had when this was planned; an intent that confirms it names it.
    expected, wanted: what the mechanism reads before and after.
    call, undo_call: the action with templates filled in and secrets as references.
    before, after: the steps around the switch itself, in order.
    mechanism: what it acts on, the same text for every switch that acts on the same thing; "" where that is not known.
    notes: what a person should know of the mechanism, such as that it may go back by itself.
    typed: the component's name has to be typed: a failed guard is overridden, an essential feature drops, or there is
        no way back.
    served_by, old_out (with its check's template filled in), verify: how the effect is measured.
    restores: a degraded mode is left by putting back what was there before, since it has no `leave`.
    """

    component: str
    kind: SwitchKind
    source: str
    target: str
    generation: int
    expected: str | None
    wanted: str | None
    call: ActionCall | None
    undo_call: ActionCall | None
    read: ActionCall | None
    guards: tuple[Guard, ...]
    settle: float
    deadline: float
    confirm: Confirm
    typed: bool = False
    reason: str = ""
    drops: tuple[str, ...] = ()
    served_by: ServedBy | None = None
    old_out: OldOut | None = None
    verify: tuple[str, ...] = ()
    restores: bool = False
    before: tuple[Step, ...] = ()
    after: tuple[Step, ...] = ()
    mechanism: str = ""
    notes: tuple[str, ...] = ()

    @property
    def sequence(self) -> tuple[str, ...]:
        """The names of all steps in order, that of the switch itself among them."""
        return (*(step.name for step in self.before), MAIN, *(step.name for step in self.after))

    def step(self, name: str) -> Step | None:
        """The step of that name before or after the switch itself."""
        return next((step for step in (*self.before, *self.after) if step.name == name), None)

    @property
    def state(self) -> SwitchState:
        """`ready`; `blocked` where a guard stands in the way; `planned` while one cannot tell yet."""
        if self.failed:
            return SwitchState.BLOCKED
        unknown = any(guard.result is GuardResult.UNKNOWN for guard in self.guards)
        return SwitchState.PLANNED if unknown else SwitchState.READY

    @property
    def failed(self) -> tuple[Guard, ...]:
        """Guards that stand in the way."""
        return tuple(
            guard
            for guard in self.guards
            if guard.result is GuardResult.FAIL or (guard.result is GuardResult.UNKNOWN and not guard.overridable)
        )

    @property
    def warnings(self) -> tuple[Guard, ...]:
        """Guards that a person should have read."""
        return tuple(
            guard
            for guard in self.guards
            if guard.result is GuardResult.WARN or (guard.result is GuardResult.UNKNOWN and guard.overridable)
        )


@dataclass(frozen=True, slots=True)
class Refused:
    """Why something was not done: `rule` is stable, `reason` is for people, `override` says how, if that is allowed."""

    rule: str
    reason: str
    override: str | None = None


@dataclass(frozen=True, slots=True)
class Switch:
    """One switch, live or past. Times are seconds since 1970 UTC, None until reached.

    prior: what the mechanism had before, for putting it back. noticed_at: when its failure mode became active,
        failed_at: when the first result came in that led to it.
    step: name of the step that it is at, "" for the switch itself and for the whole. begun: the steps whose action may
        have been carried out, in order.
    halted: no further step is begun. in_doubt: the engine ended while it was in flight; it was only observed since.
    cause: who wanted it: a person, opsdash by itself, or a drill. approved_by: the second person, where one is needed.
    abort_asked: who asked for it to be called off. stated_by: the person who stated its outcome.
    undo_reason: why it is, or was, taken back.
    """

    id: str
    plan: Plan
    state: SwitchState
    who: str
    reason: str
    overrides: tuple[str, ...] = ()
    intended_at: float = 0.0
    acted_at: float | None = None
    applied_at: float | None = None
    verifying_at: float | None = None
    ended_at: float | None = None
    noticed_at: float | None = None
    prior: str | None = None
    detail: str = ""
    facts: tuple[Fact, ...] = ()
    in_doubt: bool = False
    undoing: bool = False
    incident: str | None = None
    history: tuple[tuple[float, str], ...] = field(default=())
    step: str = ""
    begun: tuple[str, ...] = ()
    halted: bool = False
    cause: SwitchCause = SwitchCause.PERSON
    approved_by: str | None = None
    abort_asked: str | None = None
    stated_by: str | None = None
    failed_at: float | None = None
    undo_reason: str = ""
