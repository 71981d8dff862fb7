"""What the workspace's files say: components, their providers and checks, features, failure modes, responses, people.

These values are made by `opsdash.config` and are the same for everybody until the files change. Nothing in here is a
run-time state: what is active, in force or failed is in `opsdash.model.world`.

Option mappings (`raw`) are kept as written: templates such as `{host}` are filled in, secrets are still references
(`${NAME}`, `${file:PATH}`), so that they can be journaled and shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from opsdash.model.channel import Alarming
from opsdash.model.cover import Cover, Rota
from opsdash.model.drill import Drill
from opsdash.model.status import Reason, Status
from opsdash.model.window import WindowSpec

Raw = Mapping[str, Any]
EMPTY: Mapping[str, Any] = MappingProxyType({})


def _empty() -> Mapping[str, Any]:
    """A default for mapping fields; Python 3.11 refuses a `MappingProxyType` as a plain default."""
    return EMPTY


ACTIVE = "active"
"""Stands for the serving provider in a reference: `active/api`."""

ANCHORS = "anchors"
"""The name under which anchors are polled, in place of a component's id."""


class Tier(StrEnum):
    """How much the business depends on a component or feature."""

    ESSENTIAL = "essential"
    IMPORTANT = "important"
    DROPPABLE = "droppable"


TIER_ORDER: dict[Tier, int] = {Tier.ESSENTIAL: 0, Tier.IMPORTANT: 1, Tier.DROPPABLE: 2}


class Confirm(StrEnum):
    """How a switch is confirmed on its plan: `y`, or by itself after a countdown."""

    KEY = "key"
    COUNTDOWN = "countdown"


@dataclass(frozen=True, slots=True)
class Threshold:
    """`hits` of the last `of` results decide: `3` is 3 of 3, `3 of 5` tolerates two good ones in between."""

    hits: int
    of: int

    def __str__(self) -> str:
        return str(self.hits) if self.hits == self.of else f"{self.hits} of {self.of}"


@dataclass(frozen=True, slots=True)
class CheckSpec:
    """One check. `id` is `component/check` or `component/provider/check`; durations are seconds.

    expect, degraded_when: CEL expressions as written; facts: name to dotted path in the kind's values.
    slow_after, max_latency: seconds from which on a good answer is `degraded` (slow), or counts as failed.
    passive: nothing is sent; the other side reports (heartbeat).
    """

    id: str
    component: str
    provider: str | None
    name: str
    kind: str
    raw: Raw
    every: float = 30.0
    timeout: float = 10.0
    down_after: Threshold = Threshold(3, 3)
    up_after: int = 2
    slow_after: float | None = None
    max_latency: float | None = None
    expect: tuple[str, ...] = ()
    degraded_when: tuple[str, ...] = ()
    facts: Mapping[str, str] = field(default_factory=_empty)
    passive: bool = False


@dataclass(frozen=True, slots=True)
class Provider:
    """One way to get a component's job done. `as_name` is the mechanism's name for it, `values` fill templates."""

    id: str
    title: str
    as_name: str
    values: Mapping[str, str] = field(default_factory=_empty)
    checks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Feature:
    """What users get. `checks` (ids) prove it; without any it follows its component."""

    id: str
    title: str
    tier: Tier
    checks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Signal:
    """One entry of `detected_by`. `provider` may be ACTIVE; with a `reason` a degraded check counts as well."""

    component: str
    provider: str | None
    check: str
    reason: Reason | None = None

    def __str__(self) -> str:
        name = "/".join(part for part in (self.component, self.provider, self.check) if part)
        return f"{name}#{self.reason.value}" if self.reason else name


@dataclass(frozen=True, slots=True)
class Detection:
    """When a failure mode is active: `at_least` of its signals, or all owners away (`away`)."""

    signals: tuple[Signal, ...] = ()
    at_least: int = 1
    away: bool = False

    def __str__(self) -> str:
        if self.away:
            return "all owners are away"
        names = ", ".join(str(signal) for signal in self.signals)
        if self.at_least == 1:
            return names
        if self.at_least == len(self.signals):
            return f"all of {names}"
        return f"{self.at_least} of {names}"


class ResponseKind(StrEnum):
    """What was decided for a failure mode."""

    SWITCH = "switch"
    DEGRADE = "degrade"
    RUNBOOK = "runbook"


@dataclass(frozen=True, slots=True)
class Response:
    """`switch`, `degrade: MODE` (of this component, or `component/mode`), or `runbook`."""

    kind: ResponseKind
    component: str = ""
    mode: str | None = None

    def __str__(self) -> str:
        if self.kind is ResponseKind.DEGRADE:
            return f"degrade {self.component} to {self.mode}"
        return str(self.kind.value)


@dataclass(frozen=True, slots=True)
class FailureMode:
    """An entry of the register: one way to fail, how it is noticed, and what was decided for it.

    severity: 1 (worst) to 4, None: it follows from the component's tier.
    status_text: what customers are told, once a person sends it.
    """

    id: str
    title: str
    detected_by: Detection | None
    response: Response
    runbook: str | None = None
    rto: float | None = None
    severity: int | None = None
    status_text: str = ""


@dataclass(frozen=True, slots=True)
class Abilities:
    """What an action can do; guards read this.

    cas: it can refuse when the present value is not the expected one (compare-and-swap).
    idempotent: applying it twice has the effect of once.
    read_back: it can say what is in force now.
    restores: given the value it replaced, it can put that back (a degraded mode then needs no `leave`).
    marks: it leaves the action's id where it acted, and reads it back as `Reading.by`.
    trial: it lets the new side prove itself before it gets the users' traffic.
    self_reverts: what carries it out may go back by itself; "" if not, else how, as the end of a sentence.
    settle: seconds within which the effect becomes visible; it is looked for at least that long before anybody says
        that there is none.
    """

    cas: bool = False
    idempotent: bool = False
    read_back: bool = False
    restores: bool = False
    marks: bool = False
    trial: bool = False
    self_reverts: str = ""
    settle: float = 0.0


@dataclass(frozen=True, slots=True)
class ActionCall:
    """One use of an action kind: its name and its options as written. timeout: seconds it may take, None: as usual."""

    kind: str
    raw: Raw
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class ServedBy:
    """How the front door says who answered: the `value` of a check's sample, `times` in a row.

    at: dotted path to the time of what was measured; when it is older than the action, the sample does not count.
    """

    check: str
    value: str
    at: str | None = None
    times: int = 3


@dataclass(frozen=True, slots=True)
class OldOut:
    """How it is known that the old provider no longer serves: a check (template) that then has status `status`, or
    (`mechanism`) that it is not among those that the mechanism sees serving.
    """

    stateless: bool
    check: str = ""
    status: Status = Status.DOWN
    mechanism: bool = False

    @property
    def by_check(self) -> bool:
        """Whether a check tells, and not the mechanism."""
        return not self.stateless and not self.mechanism


class Auto(StrEnum):
    """Whether opsdash switches by itself: `shadow` only records when it would have."""

    NEVER = "never"
    SHADOW = "shadow"
    ALWAYS = "always"


class Severity(StrEnum):
    """What a guard that does not pass amounts to, where the component says so."""

    WARN = "warn"
    BLOCK = "block"


@dataclass(frozen=True, slots=True)
class Limit:
    """A number that a check measures (`value`: dotted path in its result), and the most it may be."""

    check: str
    value: str
    most: float


@dataclass(frozen=True, slots=True)
class Step:
    """Something that is done before or after the switch itself: quiesce, fence, reload, warm up. In a component with
    templates, in a plan with these filled in.

    undo: takes it back, None where nothing does. again: it is not taken back but done once more, with the ends swapped,
        after the switch itself was undone (a reload); in a plan `undo` is that.
    verify, down: checks that must pass, or be down, before the next step begins, within `deadline` seconds.
    no_return: once this has begun there is no way back.
    """

    name: str
    action: ActionCall
    undo: ActionCall | None = None
    again: bool = False
    verify: tuple[str, ...] = ()
    down: tuple[str, ...] = ()
    settle: float = 0.0
    deadline: float = 30.0
    no_return: bool = False


@dataclass(frozen=True, slots=True)
class SwitchSpec:
    """How a component is moved from one provider to another.

    settle: seconds after the action before its effect is judged; deadline: seconds that the verification may take.
    before, after: steps around it.  abilities: what the action can do.  mechanism: what it acts on, as a text.
    lag: how far the data of the new side may be behind (its check is a template).  load: what the new side has to
        carry, in the unit of the providers' own value `capacity`.
    needs: components without which the switch itself cannot work (name resolution, the identity provider, …).
    guards: what a guard of that rule amounts to here.  approvals: how many people it takes.
    blockade: seconds after a switch in which another one is warned of.  steady: seconds that the primary has to be
        well before it is gone back to.  hold: seconds that it has to be down before opsdash switches by itself.
    """

    action: ActionCall
    read: ActionCall | None = None
    served_by: ServedBy | None = None
    old_out: OldOut | None = None
    verify: tuple[str, ...] = ()
    settle: float = 0.0
    deadline: float = 30.0
    confirm: Confirm = Confirm.KEY
    review_after: float = 72 * 3600.0
    abilities: Abilities = Abilities()
    mechanism: str = ""
    before: tuple[Step, ...] = ()
    after: tuple[Step, ...] = ()
    auto: Auto = Auto.NEVER
    hold: float = 30.0
    lag: Limit | None = None
    load: float | None = None
    needs: tuple[str, ...] = ()
    guards: Mapping[str, Severity] = field(default_factory=_empty)
    approvals: int = 1
    blockade: float = 3600.0
    steady: float = 600.0


@dataclass(frozen=True, slots=True)
class DegradedMode:
    """What is kept, what is dropped, how to get in, out, and how it is verified."""

    id: str
    title: str
    as_name: str
    enter: ActionCall
    keeps: tuple[str, ...] = ()
    drops: tuple[str, ...] = ()
    read: ActionCall | None = None
    leave: ActionCall | None = None
    restores: bool = False
    verify: tuple[str, ...] = ()
    settle: float = 0.0
    deadline: float = 30.0
    review_after: float = 24 * 3600.0
    mechanism: str = ""


@dataclass(frozen=True, slots=True)
class Component:
    """A part that can fail on its own. One file, whose name is its id.

    problem: why its file could not be read at all; it then shows `unknown` (config).
    off: parts that a problem switched off, by path in the file (`switch`, `modes/x`, `checks/y`), with the reason.
    sha256: of the definition; a proof counts only while it stands.
    held: parts that are no longer in its file, kept because they are still active or in force, by path.
    removed: no longer in the files, kept because it is still active, in force, or part of something live.
    rotas: whoever is on duty by one of these owns it, too.
    """

    id: str
    title: str
    tier: Tier = Tier.IMPORTANT
    owners: tuple[str, ...] = ()
    depends_on: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    features: Mapping[str, Feature] = field(default_factory=_empty)
    runbook: str | None = None
    providers: tuple[Provider, ...] = ()
    checks: tuple[str, ...] = ()
    switch: SwitchSpec | None = None
    modes: Mapping[str, DegradedMode] = field(default_factory=_empty)
    failures: Mapping[str, FailureMode] = field(default_factory=_empty)
    problem: str | None = None
    off: Mapping[str, str] = field(default_factory=_empty)
    file: str = ""
    sha256: str = ""
    removed: bool = False
    held: tuple[str, ...] = ()
    rotas: tuple[str, ...] = ()

    @property
    def primary(self) -> str | None:
        """Id of the first provider, None where there is none."""
        return self.providers[0].id if self.providers else None

    def provider(self, provider_id: str | None) -> Provider | None:
        """The provider of that id."""
        return next((provider for provider in self.providers if provider.id == provider_id), None)

    def provider_named(self, as_name: str | None) -> Provider | None:
        """The provider that the mechanism calls `as_name`."""
        return next((provider for provider in self.providers if provider.as_name == as_name), None)


@dataclass(frozen=True, slots=True)
class Absence:
    """A person is away from `start` until `end`, both in seconds since 1970 UTC; None: open."""

    start: float | None
    end: float | None

    def covers(self, wall: float) -> bool:
        """Whether `wall` lies within."""
        return (self.start is None or self.start <= wall) and (self.end is None or wall < self.end)


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who owns components. `login`: the account from which the person uses opsdash; `alarms`: the channels
    that reach the person.
    """

    id: str
    name: str
    login: str | None = None
    contact: str | None = None
    away: tuple[Absence, ...] = ()
    left: float | None = None
    alarms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Operation:
    """Everything in one workspace.

    watchers: check id to the components with a failure mode whose detection names it; `component/*` stands for the
        checks behind `active/…`. Built by `opsdash.core.index.index`.
    hosts: host to the checks that go there, where any component has a switch; built there as well.
    families: of each runbook, what tells whether it still has the same steps (`opsdash.core.practice.family_of`).
    """

    title: str = "operation"
    timezone: str = "UTC"
    components: Mapping[str, Component] = field(default_factory=_empty)
    checks: Mapping[str, CheckSpec] = field(default_factory=_empty)
    people: Mapping[str, Person] = field(default_factory=_empty)
    anchors: tuple[str, ...] = ()
    windows: Mapping[str, WindowSpec] = field(default_factory=_empty)
    dependents: Mapping[str, tuple[str, ...]] = field(default_factory=_empty)
    watchers: Mapping[str, tuple[str, ...]] = field(default_factory=_empty)
    sha256: str = ""
    hosts: Mapping[str, tuple[str, ...]] = field(default_factory=_empty)
    alarms: Alarming = field(default_factory=Alarming)
    drills: Mapping[str, Drill] = field(default_factory=_empty)
    rotas: Mapping[str, Rota] = field(default_factory=_empty)
    cover: Cover = field(default_factory=Cover)
    families: Mapping[str, str] = field(default_factory=_empty)
