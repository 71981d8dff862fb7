"""For tests: drive the core through time, without an engine, a network or a sleep.

A `Timeline` holds a world and feeds it inputs, as the engine's runner does: decide, evolve, and only then let the
effects happen. Timers fire when its `FakeClock` is advanced. What polls, reads and actions come to is either said step
by step (`observe`, `read`, `applied`) or answered by an `Outside`, a small world beyond the engine in which mechanisms
say who serves and checks pass or fail. Every record is kept, so that a test can ask at any point whether replaying them
gives the same world (`check_replay`), or go on as an engine that was killed and started again (`crash`).

    timeline = Timeline(operation(email()))
    timeline.down("email/delivery", times=3)
    assert timeline.status("email") == "down"
"""

from __future__ import annotations

import heapq
import itertools
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from opsdash.core import planning
from opsdash.core.decide import decide
from opsdash.core.draft import Draft
from opsdash.core.evolve import evolve
from opsdash.core.held import keep_held
from opsdash.core.index import index
from opsdash.model import effects as e
from opsdash.model import inputs as i
from opsdash.model.channel import Alarming, Channel, Route
from opsdash.model.message import Delivery, Message
from opsdash.model.now import Now
from opsdash.model.observation import Observation
from opsdash.model.operation import (
    ACTIVE,
    ANCHORS,
    ActionCall,
    CheckSpec,
    Component,
    DegradedMode,
    Detection,
    FailureMode,
    Feature,
    OldOut,
    Operation,
    Person,
    Provider,
    Response,
    ResponseKind,
    ServedBy,
    Signal,
    SwitchSpec,
    Tier,
)
from opsdash.model.status import Reason, Status
from opsdash.model.switch import Plan, Refused, SwitchKind
from opsdash.model.world import Live, World
from opsdash.storage.codec import decode, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from opsdash.model.incident import Incident
    from opsdash.model.records import Record
    from opsdash.model.switch import Switch
    from opsdash.model.world import CheckLive, ComponentLive, ComponentState

T = TypeVar("T")

NEW_YEAR = 1_767_225_600.0
"""2026-01-01T00:00:00Z, when fake clocks start."""

TIMER_GRAIN = 0.001
"""No timer of a real event loop fires more often than this."""


# --- clock -------------------------------------------------------------------------------------------------------


class FakeClock:
    """A clock that moves when it is told to. Callable, like the engine's."""

    def __init__(self, wall: float = NEW_YEAR, mono: float = 1000.0, boot: float | None = None) -> None:
        self.wall = wall
        self.mono = mono
        self.boot = mono if boot is None else boot

    def __call__(self) -> Now:
        """One reading."""
        return Now(self.wall, self.mono, self.boot)

    def advance(self, seconds: float) -> None:
        """Time passes."""
        self.wall += seconds
        self.mono += seconds
        self.boot += seconds

    def jump(self, seconds: float) -> None:
        """Somebody sets the wall clock."""
        self.wall += seconds

    def suspend(self, seconds: float) -> None:
        """The machine sleeps: monotonic time stands still."""
        self.wall += seconds
        self.boot += seconds


# --- what is out there ---------------------------------------------------------------------------------------------


@dataclass
class Outside:
    """What answers a timeline's effects. Change it while the timeline goes on, as an outage would.

    says: what each mechanism reads back, by `component/what`; None: it cannot be read.
    status: of checks that are not ok.  facts: what a check extracts, given what is out there and the time.
    result: how actions end; `effective`: whether they take effect, whatever they say.  results: how those of one
        mechanism end instead; one that is refused takes no effect.
    serving: the names that a mechanism sees serving, by `component/what`.
    applied: every action that was carried out.
    """

    says: dict[str, str | None] = field(default_factory=dict)
    status: dict[str, Status] = field(default_factory=dict)
    facts: dict[str, Callable[[Outside, Now], dict[str, Any]]] = field(default_factory=dict)
    result: str = "applied"
    effective: bool = True
    takes: float = 0.05
    applied: list[e.Apply] = field(default_factory=list)
    results: dict[str, str] = field(default_factory=dict)
    serving: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def result_of(self, effect: e.Apply) -> str:
        """How an action ends."""
        return self.results.get(effect.call.raw["mechanism"], self.result)

    def apply(self, effect: e.Apply) -> str | None:
        """Carry out an action, whose option `value` is written; returns what was there before."""
        self.applied.append(effect)
        key = f"{effect.component}/{effect.call.raw['mechanism']}"
        prior = self.says.get(key)
        if self.effective and self.results.get(effect.call.raw["mechanism"]) not in ("refused", "not_started"):
            self.says[key] = effect.call.raw["value"] if effect.prior is None else effect.prior
        return prior


@dataclass
class Inbox:
    """Where a timeline's messages arrive. Change it while the timeline goes on, as a provider's bad day would.

    outcome: how attempts end, by channel, where not all is well.  retry_after: what the other side asks for besides.
    tried: every message of which an attempt has ended.  arrived: those that were delivered, or may have been.
    """

    takes: float = 0.05
    outcome: dict[str, Delivery] = field(default_factory=dict)
    retry_after: dict[str, float] = field(default_factory=dict)
    tried: list[Message] = field(default_factory=list)
    arrived: list[Message] = field(default_factory=list)

    def take(self, message: Message) -> i.SendDone:
        """An attempt ends."""
        outcome = self.outcome.get(message.channel, Delivery.DELIVERED)
        self.tried.append(message)
        if outcome in (Delivery.DELIVERED, Delivery.UNKNOWN):
            self.arrived.append(message)
        detail = "200 OK" if outcome is Delivery.DELIVERED else "no answer"
        return i.SendDone(message.id, outcome, detail, self.takes, self.retry_after.get(message.channel))

    def titles(self, channel: str) -> list[str]:
        """What arrived over a channel, in short."""
        return [message.title for message in self.arrived if message.channel == channel]


# --- timeline ------------------------------------------------------------------------------------------------------


class Timeline:
    """A core at work: inputs in, records and effects out, and a clock to advance.

    records: all so far.  effects: those not yet taken by `take`, timers and answers excepted.  timers: by key, when.
    touched: components that a client may have to draw again; clear it to see what comes next.
    """

    def __init__(
        self,
        operation: Operation,
        *,
        outside: Outside | None = None,
        inbox: Inbox | None = None,
        clock: FakeClock | None = None,
        replay: Sequence[Record] = (),
    ) -> None:
        self.clock = clock or FakeClock()
        self.outside = outside
        self.inbox = inbox
        self.world = World()
        self.live = Live()
        self.records: list[Record] = list(replay)
        self.effects: list[e.Effect] = []
        self.timers: dict[tuple[str, ...], float] = {}
        self.answers: dict[str, e.Answer] = {}
        self.touched: set[str] = set()
        self._planned: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count(1)
        for record in replay:
            self.world.apply(evolve(self.world, record))
        self.world.operation = replace(operation, sha256="")
        self.feed(i.Started("test", 1))
        self.reload(operation)

    # --- going on ----------------------------------------------------------------------------------------------

    def feed(self, event: i.Input) -> list[Record]:
        """Decide about an input; returns the records that follow from it."""
        decision = decide(self.world, self.live, event, self.clock())
        if isinstance(event, i.Loaded):
            self.world.operation = event.operation
        for record in decision.records:
            self.world.apply(evolve(self.world, record))
        self.live.apply(decision.live_patch)
        self.records += decision.records
        self.touched |= decision.touched
        for effect in decision.effects:
            self._perform(effect)
        return decision.records

    def reload(self, operation: Operation) -> None:
        """The files were read again; what is in use survives its removal from them, as in the engine."""
        self.feed(i.Loaded(keep_held(self.world, operation)))

    def advance(self, seconds: float) -> None:
        """Let time pass; what comes due on the way happens in its order, at its time."""
        until = self.clock.mono + seconds
        while True:
            key = min(self.timers, key=lambda each: self.timers[each], default=None)
            timer = self.timers[key] if key is not None else float("inf")
            planned = self._planned[0][0] if self._planned else float("inf")
            if min(timer, planned) > until:
                break
            self.clock.advance(max(0.0, min(timer, planned) - self.clock.mono))
            if key is not None and timer <= planned:
                del self.timers[key]
                self.feed(i.TimerFired(key))
            else:
                heapq.heappop(self._planned)[2]()
        self.clock.advance(max(0.0, until - self.clock.mono))

    def crash(
        self,
        after: int | None = None,
        *,
        seconds: float = 5.0,
        outside: Outside | None = None,
    ) -> Timeline:
        """The engine is killed when `after` records were written (None: all); one that is started later goes on."""
        clock = FakeClock(self.clock.wall, mono=self.clock.mono)
        clock.advance(seconds)
        return Timeline(
            self.world.operation,
            outside=outside or self.outside,
            inbox=self.inbox,
            clock=clock,
            replay=self.records[:after],
        )

    def check_replay(self) -> None:
        """Assert that the records, written down and read again, lead to the same world."""
        again = World()
        for record in self.records:
            name, data = encode(record)
            again.apply(evolve(again, decode(name, json.loads(json.dumps(data)))))
        for table, rows in self.world.tables.items():
            assert again.tables[table] == rows, f"replaying the records gives another table {table!r}"  # noqa: S101

    # --- inputs ------------------------------------------------------------------------------------------------

    def observe(
        self,
        check: str,
        status: Status | str = Status.OK,
        reason: Reason | str | None = None,
        *,
        detail: str = "",
        facts: Mapping[str, Any] | None = None,
        latency: float = 0.02,
        requested: float | None = None,
        retry_after: float | None = None,
    ) -> list[Record]:
        """A check has run just now."""
        spec = self.world.operation.checks.get(check)
        now = self.clock()
        observation = Observation(
            check=check,
            status=Status(status),
            reason=Reason(reason) if reason else None,
            detail=detail,
            latency=latency,
            requested=now.mono if requested is None else requested,
            finished=now.mono,
            at=now.wall,
            due=now.mono + (spec.every if spec else 10.0),
            facts=dict(facts or {}),
            retry_after=retry_after,
        )
        return self.feed(i.Observed(observation))

    def ok(self, *checks: str, times: int = 1) -> None:
        """The checks pass, `times` in a row."""
        for check in checks * times:
            self.observe(check)

    def down(self, *checks: str, times: int = 1, reason: Reason | str = Reason.TIMEOUT) -> None:
        """The checks fail, `times` in a row."""
        for check in checks * times:
            self.observe(check, Status.DOWN, reason, detail="no answer")

    def unknown(self, *checks: str, times: int = 1, reason: Reason | str = Reason.PROBE_ERROR) -> None:
        """The checks cannot tell, `times` in a row."""
        for check in checks * times:
            self.observe(check, Status.UNKNOWN, reason)

    def all_ok(self) -> None:
        """Every check passes once."""
        self.ok(*self.world.operation.checks)

    def want(self, intent: i.Intent, who: str = "maria", session: str = "") -> Refused | str:
        """A person wants something. Returns why not, or what was begun ("" where nothing has a name)."""
        request = f"request-{next(self._count)}"
        self.feed(i.Wanted(request, who, intent, session))
        answer = self.answers[request]
        return answer.subject if answer.refused is None else answer.refused

    def read(
        self,
        component: str,
        value: str | None,
        what: str = "switch",
        *,
        requested: float | None = None,
        serving: tuple[str, ...] | None = None,
        by: str | None = None,
    ) -> None:
        """A mechanism was read: it says `value`, or (None) it could not be read."""
        asked = self.clock.mono if requested is None else requested
        detail = "" if value is not None else "connection refused"
        self.feed(i.ReadDone(component, what, value, detail, None, asked, serving, by))

    def applied(self, result: str = "applied", *, detail: str = "", prior: str | None = None) -> None:
        """The latest action has ended."""
        effect = [each for each in self.effects if isinstance(each, e.Apply)][-1]
        self.feed(i.ApplyDone(effect.switch, result, detail, prior, effect.action_id))

    def plan(self, component: str, kind: SwitchKind | str, target: str | None = None) -> Plan | Refused:
        """What a switch would do now."""
        return planning.plan(self.draft(), component, SwitchKind(kind), target)

    def confirm(
        self,
        component: str,
        kind: SwitchKind | str = SwitchKind.FAILOVER,
        target: str | None = None,
        *,
        who: str = "maria",
        reason: str = "",
        overrides: Iterable[str] = (),
        typed: str = "",
    ) -> Refused | str:
        """Look at the plan and press the key."""
        plan = self.plan(component, kind, target)
        if isinstance(plan, Refused):
            return plan
        return self.want(intent_of(plan, reason=reason, overrides=overrides, typed=typed), who)

    # --- looking -----------------------------------------------------------------------------------------------

    def draft(self) -> Draft:
        """World and live, for reading."""
        return Draft(self.world, self.live, self.clock())

    def shown(self, check: str) -> CheckLive:
        """What is shown of a check."""
        return self.draft().check(check)

    def health(self, component: str) -> ComponentLive:
        """A component's health right now."""
        return self.draft().health(component)

    def status(self, component: str) -> str:
        """A component's status."""
        return self.health(component).status.value

    def state(self, component: str) -> ComponentState:
        """What is recorded of a component."""
        return self.draft().state(component)

    def failures(self, component: str) -> list[str]:
        """Ids of the failure modes that are active."""
        return [failure for failure, _ in self.state(component).failures]

    def switch(self, component: str) -> Switch:
        """The live or last switch of a component."""
        found = self.draft().switch(component)
        assert found is not None, f"{component} was never switched"  # noqa: S101
        return found

    def incident(self, component: str) -> Incident | None:
        """The open incident of a component."""
        return self.draft().incident(component)

    def of(self, kind: type[T]) -> list[T]:
        """All records of a type."""
        return [record for record in self.records if isinstance(record, kind)]

    def wanted(self, kind: type[T]) -> list[T]:
        """The effects of a type that have not been taken."""
        return [effect for effect in self.effects if isinstance(effect, kind)]

    def take(self, kind: type[T]) -> list[T]:
        """The effects of a type since the last time, which are then forgotten."""
        found = self.wanted(kind)
        self.effects = [effect for effect in self.effects if not isinstance(effect, kind)]
        return found

    # --- effects -----------------------------------------------------------------------------------------------

    def _perform(self, effect: e.Effect) -> None:
        match effect:
            case e.SetTimer(key, at):
                self.timers[key] = max(at, self.clock.mono + TIMER_GRAIN)
            case e.CancelTimer(key):
                self.timers.pop(key, None)
            case e.Answer(request):
                self.answers[request] = effect
            case _:
                self.effects.append(effect)
                if isinstance(effect, e.Send) and self.inbox is not None:
                    self._deliver(effect.message, self.inbox)
                if self.outside is not None:
                    self._let_happen(effect, self.outside)

    def _let_happen(self, effect: e.Effect, outside: Outside) -> None:
        match effect:
            case e.Poll(check, after):
                self._at(after, lambda: self._run_check(check, outside))
            case e.Read(component, what, _, after):
                self._at(after, lambda: self._read(component, what, outside))
            case e.Apply():
                self._at(outside.takes, lambda: self._apply(effect, outside))
            case _:
                pass

    def _deliver(self, message: Message, inbox: Inbox) -> None:
        def end() -> None:
            self.feed(inbox.take(message))

        self._at(inbox.takes, end)

    def _at(self, after: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._planned, (self.clock.mono + after, next(self._count), happen))

    def _run_check(self, check: str, outside: Outside) -> None:
        requested = self.clock.mono

        def end() -> None:
            status = outside.status.get(check, Status.OK)
            reason = None if status is Status.OK else Reason.TIMEOUT
            facts = outside.facts[check](outside, self.clock()) if check in outside.facts else {}
            self.observe(check, status, reason, facts=facts, requested=requested)

        self._at(0.02, end)

    def _read(self, component: str, what: str, outside: Outside) -> None:
        requested = self.clock.mono
        key = f"{component}/{what}"

        def end() -> None:
            self.read(component, outside.says.get(key), what, requested=requested, serving=outside.serving.get(key))

        self._at(0.01, end)

    def _apply(self, effect: e.Apply, outside: Outside) -> None:
        prior = outside.apply(effect)
        self.feed(i.ApplyDone(effect.switch, outside.result_of(effect), "", prior, effect.action_id))


def intent_of(plan: Plan, *, reason: str = "", overrides: Iterable[str] = (), typed: str = "") -> i.SwitchIntent:
    """The intent that confirms a plan."""
    return i.SwitchIntent(
        component=plan.component,
        kind=plan.kind,
        generation=plan.generation,
        source=plan.source,
        target=plan.target,
        reason=reason,
        overrides=tuple(overrides),
        typed=typed,
    )


# --- builders ------------------------------------------------------------------------------------------------------


def check(check_id: str, **settings: Any) -> CheckSpec:
    """A check by its id, `component/check` or `component/provider/check`."""
    component, *provider, name = check_id.split("/")
    defaults: dict[str, Any] = {
        "kind": "http",
        "raw": {"url": f"https://{'-'.join(check_id.split('/'))}/"},
        "every": 10.0,
        "timeout": 5.0,
    }
    return CheckSpec(
        id=check_id,
        component=component,
        provider=provider[0] if provider else None,
        name=name,
        **(defaults | settings),
    )


def provider(provider_id: str, *checks: str, **settings: Any) -> Provider:
    """A provider with checks by their short names; `component` makes ids of them."""
    defaults: dict[str, Any] = {"title": provider_id, "as_name": provider_id}
    return Provider(provider_id, checks=checks, **(defaults | settings))


def component(
    component_id: str, *, checks: Iterable[str] = (), providers: Iterable[Provider] = (), **settings: Any
) -> Component:
    """A component with checks by their short names."""
    qualified = (
        replace(each, checks=tuple(f"{component_id}/{each.id}/{name}" for name in each.checks)) for each in providers
    )
    defaults: dict[str, Any] = {"title": component_id, "sha256": f"sha of {component_id}"}
    return Component(
        component_id,
        checks=tuple(f"{component_id}/{name}" for name in checks),
        providers=tuple(qualified),
        **(defaults | settings),
    )


def operation(
    *components: Component,
    checks: Iterable[CheckSpec] = (),
    people: Iterable[Person] = (),
    anchors: int = 0,
    **settings: Any,
) -> Operation:
    """An operation. Checks that are named by components and not given are made; so are `anchors` anchors."""
    names = [f"{ANCHORS}/{number}" for number in range(1, anchors + 1)]
    for each in components:
        names += [*each.checks, *(check_id for provider in each.providers for check_id in provider.checks)]
    specs = {name: check(name) for name in names} | {spec.id: spec for spec in checks}
    return index(
        Operation(
            components={each.id: each for each in components},
            checks=specs,
            people={person.id: person for person in people},
            anchors=tuple(names[:anchors]),
            **({"sha256": f"sha of {', '.join(each.id for each in components)}"} | settings),
        )
    )


def alarming(*channels: Channel | str, routes: Iterable[Route] = (), **settings: Any) -> Alarming:
    """Channels, by themselves or by their names, and routes to them."""
    declared = [Channel(each, "file") if isinstance(each, str) else each for each in channels]
    return Alarming(channels={each.id: each for each in declared}, routes=tuple(routes), **settings)


def failure(
    failure_id: str,
    *signals: str,
    at_least: int = 1,
    away: bool = False,
    response: Response | None = None,
    **settings: Any,
) -> FailureMode:
    """A failure mode by its signals, `component/check`, `component/provider/check`, either with `#reason`."""
    detection = Detection(tuple(_signal(each) for each in signals), at_least, away) if signals or away else None
    response = response or Response(ResponseKind.RUNBOOK)
    defaults: dict[str, Any] = {"title": failure_id.replace("-", " ").capitalize()}
    return FailureMode(failure_id, detected_by=detection, response=response, **(defaults | settings))


def _signal(text: str) -> Signal:
    path, _, reason = text.partition("#")
    component_id, *provider_id, name = path.split("/")
    return Signal(component_id, provider_id[0] if provider_id else None, name, Reason(reason) if reason else None)


def call(mechanism: str, value: str = "") -> ActionCall:
    """An action that writes `value` to a mechanism of `Outside`; without a value, a read of it."""
    return ActionCall("http", {"mechanism": mechanism} | ({"value": value} if value else {}))


def mail_switch(**settings: Any) -> SwitchSpec:
    """How `email` is switched: the mechanism can be read, and the front door says who answered, and when."""
    defaults: dict[str, Any] = {
        "action": call("switch", "{to.as}"),
        "read": call("switch"),
        "served_by": ServedBy("email/delivery", "facts.provider", at="json.at", times=3),
        "old_out": OldOut(stateless=True),
        "verify": ("email/delivery",),
        "settle": 2.0,
    }
    return SwitchSpec(**(defaults | settings))


def order_mail_only(**settings: Any) -> DegradedMode:
    """The degraded mode of `email`: order mail goes on, newsletters wait."""
    defaults: dict[str, Any] = {
        "title": "Order mail only",
        "as_name": "transactional-only",
        "enter": call("order-mail-only", "transactional-only"),
        "read": call("order-mail-only"),
        "restores": True,
        "keeps": ("order-confirmations",),
        "drops": ("newsletters",),
        "verify": ("email/delivery",),
    }
    return DegradedMode("order-mail-only", **(defaults | settings))


def email(**settings: Any) -> Component:
    """The component of the design's example: two providers, a front door, a degraded mode, three failure modes."""
    mode = order_mail_only()
    degrade = Response(ResponseKind.DEGRADE, "email", mode.id)
    modes = (
        failure("nobody-delivers", "email/postmark/api", "email/ses/api", at_least=2),
        failure("provider-unreachable", f"email/{ACTIVE}/api", response=Response(ResponseKind.SWITCH)),
        failure("rate-limited", f"email/{ACTIVE}/api#rate_limited", response=degrade),
    )
    defaults: dict[str, Any] = {
        "title": "Transactional email",
        "tier": Tier.ESSENTIAL,
        "checks": ("delivery", "newsletter"),
        "providers": (
            provider("postmark", "api", title="Postmark", as_name="pm-prod"),
            provider("ses", "api", title="Amazon SES", as_name="ses-eu"),
        ),
        "features": {
            "order-confirmations": Feature(
                "order-confirmations", "Order confirmations", Tier.ESSENTIAL, ("email/delivery",)
            ),
            "newsletters": Feature("newsletters", "Newsletters", Tier.DROPPABLE, ("email/newsletter",)),
        },
        "switch": mail_switch(),
        "modes": {mode.id: mode},
        "failures": {each.id: each for each in modes},
    }
    return component("email", **(defaults | settings))


def mail_outside(**settings: Any) -> Outside:
    """What is out there for `email`: Postmark serves, and the front door tells the truth."""

    def delivery(outside: Outside, now: Now) -> dict[str, Any]:
        return {"provider": outside.says["email/switch"], "json.at": now.wall}

    defaults: dict[str, Any] = {
        "says": {"email/switch": "pm-prod", "email/order-mail-only": "everything"},
        "facts": {"email/delivery": delivery},
    }
    return Outside(**(defaults | settings))
