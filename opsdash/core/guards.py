"""Guards: what speaks for and against a switch, each a value with evidence and age.

They are judged all year, for the badge that says whether one key would work, and again when a switch is wanted. A guard
*passes*, *warns*, *fails* or is *unknown*. A failed one stands in the way until a person overrides it by its rule, with
a reason; a few cannot be overridden. A component may say for each rule whether it warns or blocks (`guards:`).

`RULES` lists them, for the documentation, for `--override` and for what a component may say.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from opsdash.core import proofs, traces, windows
from opsdash.core.health import ignored_checks
from opsdash.core.outcomes import LIVE_STATES, NOT_OVER
from opsdash.model.operation import Severity, Tier
from opsdash.model.status import Status
from opsdash.model.switch import Guard, GuardResult, SwitchKind
from opsdash.model.templates import fill
from opsdash.model.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from opsdash.core.draft import Draft
    from opsdash.model.operation import Component, DegradedMode, Limit, Provider, SwitchSpec
    from opsdash.model.records import ApprovalAsked
    from opsdash.model.switch import Plan, Switch
    from opsdash.model.world import Moved

PASS, WARN, FAIL, UNKNOWN = GuardResult.PASS, GuardResult.WARN, GuardResult.FAIL, GuardResult.UNKNOWN

APPROVAL = "approval"
APPROVAL_WITHIN = 600.0
"""Seconds within which a second person has to confirm."""

BLOCKADE_FACTOR = 10.0
"""A blockade lasts at least this many times as long as the switch took (a recovery that is slow must not overlap)."""

TOGETHER = 120.0
"""Seconds within which components that fail are taken to have failed together."""

TOGETHER_AT_LEAST = 4
"""With fewer other components nothing can be said of "half of everything"."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a guard asks, and whether a person may override it."""

    asks: str
    overridable: bool = True


RULES: dict[str, Rule] = {
    "live_switch": Rule("nobody else is switching this component, or anything else by the same mechanism", False),
    "journal": Rule("the journal can be written", False),
    "polled": Rule("the component is polled, so that the effect can be verified"),
    "target_healthy": Rule("every check of the new side passes, by results that are not old"),
    "somebody_serves": Rule("after the switch somebody serves who works"),
    "expected_from": Rule("who serves now is known; it is read once more before anything is done", False),
    "blockade": Rule("the last switch is long enough ago not to be a flap"),
    "proof": Rule("the new side was proved lately, through this same action"),
    "lag": Rule("the data of the new side is known, and not too far behind"),
    "shared_fate": Rule("the new side shares nothing with the one that fails"),
    "capacity": Rule("the new side can carry the declared load"),
    "online": Rule("opsdash itself is connected"),
    "observer": Rule("it is not half of everything that failed at once: then it may be opsdash that is cut off"),
    "freeze": Rule("no freeze window covers the component"),
    "maintenance": Rule("nobody is working on the component"),
    "needed": Rule("the primary is really failing"),
    "steady": Rule("the primary has been well for a while without serving"),
    "preflight": Rule("the action could be carried out"),
    "credentials": Rule("what it logs in with is accepted"),
    "fence": Rule("both sides may serve at once, or it is shown that the old one no longer does"),
    "trace": Rule("what the switch itself needs is not part of what has failed"),
    APPROVAL: Rule("a second person agrees"),
    "drops_essential": Rule("no essential feature is dropped"),
    "dropped_pass": Rule("what was dropped works again"),
}


def guard(rule: str, title: str, result: GuardResult, evidence: str, age: float | None = None) -> Guard:
    """A guard of a rule in the table, which says whether it may be overridden."""
    return Guard(rule, title, result, evidence, age, overridable=RULES[rule].overridable)


def of_provider_switch(
    draft: Draft,
    component: Component,
    source: Provider | None,
    target: Provider,
    names: Mapping[str, str],
    *,
    observed: bool = True,
) -> tuple[Guard, ...]:
    """The guards of a failover or failback.

    observed: whether all other components are looked at, too; that takes the longer the more there are.
    """
    spec = component.switch
    if spec is None:
        return ()
    back = target.id == component.primary
    found = (
        live_switch(draft, component, spec.mechanism),
        _journal(draft),
        _polled(draft, component),
        _target_healthy(draft, component, target),
        _somebody_serves(draft, component, source, target),
        _expected(draft, component, source, spec),
        _blockade(draft, component, spec),
        proof(draft, component, target.id, target.title),
        _lag(draft, spec.lag, target, names),
        _shared_fate(draft, source, target),
        _capacity(target, spec),
        _online(draft),
        _observer(draft, component) if observed else None,
        _freeze(draft, component),
        _maintenance(draft, component),
        _steady(draft, component, target, spec) if back else _needed(draft, component, source),
        _preflight(draft, preflight_key(component.id, target.id)),
        _credentials(draft, preflight_key(component.id, target.id)),
        _fence(spec),
        _trace(draft, component, spec, names),
        _approval(draft, component, spec, source, target),
    )
    return with_severities(found, spec.guards)


def of_mode_switch(draft: Draft, component: Component, mode: DegradedMode, kind: SwitchKind) -> tuple[Guard, ...]:
    """The guards of entering a degraded mode, or of leaving it."""
    entering = kind is SwitchKind.DEGRADE
    key = preflight_key(component.id, f"mode:{mode.id}")
    found = (
        live_switch(draft, component, mode.mechanism),
        _journal(draft),
        _polled(draft, component),
        _drops_essential(component, mode) if entering else _dropped_pass(draft, component),
        proof(draft, component, f"mode:{mode.id}", mode.title) if entering else None,
        _online(draft),
        _freeze(draft, component),
        _preflight(draft, key),
        _credentials(draft, key),
    )
    return with_severities(found, {})


def with_severities(found: Iterable[Guard | None], severities: Mapping[str, Severity]) -> tuple[Guard, ...]:
    """What does not pass warns or blocks, as the component says."""
    return tuple(_judged(each, severities.get(each.rule)) for each in found if each is not None)


def _judged(found: Guard, severity: Severity | None) -> Guard:
    if severity is None or found.result is PASS or not found.overridable:
        return found
    return replace(found, result=FAIL if severity is Severity.BLOCK else WARN)


def preflight_key(component: str, what: str) -> str:
    """Key under which the action's preflight answer is kept: `email/ses`, `email/mode:transactional-only`."""
    return f"{component}/{what}"


# --- opsdash itself ------------------------------------------------------------------------------------------------


def live_switch(draft: Draft, component: Component, mechanism: str) -> Guard:
    """Nobody else is at it; a switch that needs a person counts as being at it."""
    title = "nobody else is switching"
    other = draft.switch(component.id)
    if other is None or other.state not in NOT_OVER:
        other = _on_the_same(draft, component.id, mechanism)
    if other is None:
        return guard("live_switch", title, PASS, "no other switch is in flight")
    what = other.plan.kind.value if other.plan.component == component.id else f"{other.plan.kind.value} of {_at(other)}"
    if other.state in LIVE_STATES:
        age = draft.now.wall - other.intended_at
        evidence = f"{other.who} is at it: {what}, {other.state.value} for {format_duration(age)}"
        return guard("live_switch", title, FAIL, evidence)
    whose = "the last switch" if other.plan.component == component.id else f"the {what}"
    evidence = f"{whose} ended {other.state.value}: undo, settle or take it over first"
    return guard("live_switch", title, FAIL, evidence)


def _at(switch: Switch) -> str:
    return f"{switch.plan.component}, which uses the same mechanism"


def _on_the_same(draft: Draft, component: str, mechanism: str) -> Switch | None:
    if not mechanism:
        return None
    for key in draft.keys("switches"):
        switch: Switch = draft.get("switches", key)
        busy = switch.state in NOT_OVER
        if busy and switch.plan.mechanism == mechanism and switch.plan.component != component:
            return switch
    return None


def _journal(draft: Draft) -> Guard | None:
    error = draft.engine().journal_error
    if not error:
        return None
    return guard("journal", "the journal can be written", FAIL, f"{error}; use the manual command below")


def _online(draft: Draft) -> Guard | None:
    anchors = draft.operation.anchors
    if not anchors:
        return None
    title = "opsdash itself is connected"
    if draft.engine().offline:
        return guard("online", title, WARN, "most anchors do not answer: it may be opsdash that is offline")
    return guard("online", title, PASS, f"{len(anchors)} anchors answer")


def _observer(draft: Draft, component: Component) -> Guard | None:
    """Components that have nothing to do with each other do not fail in the same two minutes."""
    parents = set(component.depends_on)
    others = [
        each
        for each in draft.operation.components.values()
        if each.id != component.id and each.checks and each.id not in parents and component.id not in each.depends_on
    ]
    if len(others) < TOGETHER_AT_LEAST:
        return None
    since = draft.now.wall - TOGETHER
    failed = [each.title for each in others if _fell_after(draft, each, since)]
    title = "it is this component that fails, not opsdash"
    if len(failed) * 2 < len(others):
        return guard("observer", title, PASS, f"{len(failed)} of {len(others)} others failed in the last two minutes")
    evidence = f"{len(failed)} of {len(others)} others failed in the last two minutes: opsdash may be cut off"
    return guard("observer", title, WARN, evidence)


def _freeze(draft: Draft, component: Component) -> Guard | None:
    """Warns: a failure does not wait for the end of a freeze. `guards: {freeze: block}` says otherwise."""
    window = windows.freeze(draft, component.id)
    if window is None:
        return None
    return guard("freeze", "nothing is frozen", WARN, f"{window.title}, until {_left(draft, window.until)} from now")


def _maintenance(draft: Draft, component: Component) -> Guard | None:
    window = windows.maintenance(draft, component.id)
    if window is None:
        return None
    evidence = f"{window.title} by {window.who}, for {_left(draft, window.until)} more"
    return guard("maintenance", "nobody is working on it", WARN, evidence)


def _left(draft: Draft, until: float) -> str:
    return format_duration(max(0.0, until - draft.now.wall))


def _fell_after(draft: Draft, component: Component, since: float) -> bool:
    health = draft.health(component.id)
    return health.status is Status.DOWN and health.since >= since


def _trace(draft: Draft, component: Component, spec: SwitchSpec, names: Mapping[str, str]) -> Guard:
    title = "what the switch needs is there"
    needed = traces.needed_by(draft, component, spec, names)
    failing = [each for each in needed if each.failing]
    if failing:
        return guard("trace", title, WARN, "; ".join(each.words for each in failing))
    return guard("trace", title, PASS, ", ".join(each.words for each in needed) or "nothing that is watched")


# --- the sides -----------------------------------------------------------------------------------------------------


def _polled(draft: Draft, component: Component) -> Guard | None:
    pause = draft.get("pauses", component.id)
    if pause is None:
        return None
    evidence = f"paused by {pause.who}: nothing is measured, so the effect cannot be verified; resume it first"
    return guard("polled", f"{component.title} is polled", FAIL, evidence)


def _status_of(draft: Draft, component: Component, provider: Provider) -> Status:
    return draft.health(component.id).providers.get(provider.id, Status.UNKNOWN)


def _target_healthy(draft: Draft, component: Component, target: Provider) -> Guard:
    title = f"{target.title} works"
    status = _status_of(draft, component, target)
    ages = [draft.check(check) for check in target.checks]
    age = max((draft.now.wall - live.at for live in ages if live.at is not None), default=None)
    if status is Status.OK:
        return guard("target_healthy", title, PASS, f"{len(ages)} checks pass", age)
    evidence = next(
        (f"{check}: {draft.check(check).detail}" for check in target.checks if draft.check(check).status is status),
        "nothing is known of it",
    )
    result = WARN if status is Status.DEGRADED else FAIL
    return guard("target_healthy", title, result, f"{status.value}: {evidence}", age)


def _somebody_serves(draft: Draft, component: Component, source: Provider | None, target: Provider) -> Guard | None:
    """Taking the last one that works out of service is an outage made by hand.

    That both may be up (`stateless`) does not help: the mechanism sends everything to the new side.
    """
    if source is None:
        return None
    title = "afterwards somebody serves"
    works = (Status.OK, Status.DEGRADED)
    target_status, source_status = _status_of(draft, component, target), _status_of(draft, component, source)
    if target_status in works:
        return guard("somebody_serves", title, PASS, f"{target.title} is {target_status.value}")
    if source_status in works:
        evidence = f"{source.title} is {source_status.value}, {target.title} {target_status.value}: this takes away the"
        return guard("somebody_serves", title, FAIL, f"{evidence} one that works")
    return guard("somebody_serves", title, WARN, f"neither side is known to work: {target.title} {target_status.value}")


def _expected(draft: Draft, component: Component, source: Provider | None, spec: SwitchSpec) -> Guard:
    title = "who serves now is known"
    if source is None:
        seen = draft.state(component.id).seen
        evidence = f"the mechanism says {seen!r}, which is nobody's name" if seen else "it cannot be read"
        return guard("expected_from", title, WARN, evidence)
    if spec.read is None:
        return guard("expected_from", title, PASS, f"{source.title}, from memory: no `read` is declared")
    if draft.health(component.id).unread:
        return guard("expected_from", title, WARN, f"{source.title}, but the last read failed")
    return guard("expected_from", title, PASS, f"{source.title}, as the mechanism says; read again first")


def _needed(draft: Draft, component: Component, source: Provider | None) -> Guard | None:
    if source is None or source.id != component.primary:
        return None
    status = _status_of(draft, component, source)
    title = f"{source.title} is really failing"
    if status in (Status.DOWN, Status.DEGRADED) or draft.health(component.id).status is Status.DOWN:
        return guard("needed", title, PASS, status.value)
    return guard("needed", title, WARN, f"it is {status.value} right now")


def _steady(draft: Draft, component: Component, target: Provider, spec: SwitchSpec) -> Guard:
    """Failback is the second outage where the primary only looks well: it has to be well for a while, unused."""
    title = f"{target.title} has been well for {format_duration(spec.steady)}"
    if _status_of(draft, component, target) is not Status.OK:
        return guard("steady", title, WARN, "it is not well now")
    since = max((draft.check(check).since for check in target.checks), default=draft.now.wall)
    well = max(0.0, draft.now.wall - since)
    if well >= spec.steady:
        return guard("steady", title, PASS, f"well for {format_duration(well)}, while it did not serve")
    return guard("steady", title, WARN, f"well for {format_duration(well)} only")


def _blockade(draft: Draft, component: Component, spec: SwitchSpec) -> Guard | None:
    """Counted on the monotonic clock: a wall clock that jumps neither ends a blockade nor makes it longer."""
    left, moved = blockade_left(draft, component, spec)
    title = "the last switch is long enough ago"
    if moved is None:
        return None
    ago = format_duration(max(0.0, draft.now.mono - draft.live("ended", component.id)))
    words = f"{moved.kind.value} by {moved.who} {ago} ago"
    if left <= 0:
        return guard("blockade", title, PASS, words)
    return guard("blockade", title, WARN, f"{words}; wait {format_duration(left)} unless you know why it is needed")


def blockade_left(draft: Draft, component: Component, spec: SwitchSpec) -> tuple[float, Moved | None]:
    """Seconds until the blockade after the last failover or failback is over, and that switch; 0 and None without."""
    moved = draft.state(component.id).moved
    ended: float | None = draft.live("ended", component.id)
    if moved is None or ended is None or moved.lifted:
        return 0.0, None
    lasts = max(spec.blockade, BLOCKADE_FACTOR * moved.took)
    return max(0.0, ended + lasts - draft.now.mono), moved


def proof(draft: Draft, component: Component, what: str, title: str) -> Guard:
    """The new side was proved by a verified switch or drill."""
    state, at = proofs.proof_of(draft, component, what, draft.now.wall)
    name = f"{title} was proved recently"
    if at is None:
        return guard("proof", name, WARN, "never proved by a verified switch or drill")
    age = draft.now.wall - at
    words = f"proved {format_duration(age)} ago"
    if state == proofs.FRESH:
        return guard("proof", name, PASS, f"{words}, through this same action", age)
    why = "longer than 100 days" if state == proofs.OLD else "its definition has changed since"
    return guard("proof", name, WARN, f"{words}, {why}", age)


def _lag(draft: Draft, limit: Limit | None, target: Provider, names: Mapping[str, str]) -> Guard | None:
    if limit is None:
        return None
    title = f"the data of {target.title} is not too far behind"
    check = fill(limit.check, names)
    live = draft.check(check)
    value = live.facts.get(limit.value.removeprefix("facts."))
    age = None if live.at is None else draft.now.wall - live.at
    if live.status is Status.UNKNOWN or isinstance(value, bool) or not isinstance(value, int | float):
        return guard("lag", title, FAIL, f"{check} does not say how far: {live.detail or live.status.value}", age)
    if value > limit.most:
        return guard("lag", title, FAIL, f"{value:g} behind, and {limit.most:g} is the most: that much is lost", age)
    return guard("lag", title, PASS, f"{value:g} behind, at most {limit.most:g}", age)


def _capacity(target: Provider, spec: SwitchSpec) -> Guard | None:
    if spec.load is None:
        return None
    title = f"{target.title} can carry the load"
    try:
        capacity = float(target.values["capacity"])
    except (KeyError, ValueError):
        return guard("capacity", title, WARN, f"it declares no `capacity`; {spec.load:g} are needed")
    if capacity < spec.load:
        return guard("capacity", title, WARN, f"{capacity:g} of the {spec.load:g} that are needed")
    return guard("capacity", title, PASS, f"{capacity:g}, and {spec.load:g} are needed")


def _shared_fate(draft: Draft, source: Provider | None, target: Provider) -> Guard | None:
    if source is None:
        return None
    shared = traces.shared(draft, source, target)
    title = f"{target.title} shares nothing with {source.title}"
    if shared:
        return guard("shared_fate", title, WARN, f"both have {', '.join(shared)}: what took one out may take the other")
    return guard("shared_fate", title, PASS, "nothing that is declared")


def _fence(spec: SwitchSpec) -> Guard:
    title = "two sides cannot do harm at once"
    if spec.old_out is not None and spec.old_out.stateless:
        return guard("fence", title, PASS, "stateless: both may serve")
    if any(step.name == "fence" for step in spec.before):
        return guard("fence", title, PASS, "the old side is fenced first")
    if spec.old_out is not None:
        return guard("fence", title, PASS, "not fenced, but it is verified that the old side is out")
    evidence = "nothing says that both may serve, and nothing shows that the old one is out: declare `old_out`"
    return guard("fence", title, WARN, evidence)


# --- the action ----------------------------------------------------------------------------------------------------


def _preflight(draft: Draft, key: str) -> Guard:
    title = "the action could be carried out"
    found = draft.live("preflights", key)
    if found is None:
        return guard("preflight", title, UNKNOWN, "not tried yet")
    age = draft.now.mono - found.at
    return guard("preflight", title, {True: PASS, False: FAIL, None: UNKNOWN}[found.passed], found.detail, age)


def _credentials(draft: Draft, key: str) -> Guard | None:
    found = draft.live("preflights", key)
    if found is None or found.credentials is None:
        return None
    age = draft.now.mono - found.at
    title = "its credentials are accepted"
    if found.credentials:
        return guard("credentials", title, PASS, "tried, without changing anything", age)
    return guard("credentials", title, FAIL, found.detail, age)


# --- people --------------------------------------------------------------------------------------------------------


def asked_for(draft: Draft, plan: Plan) -> ApprovalAsked | None:
    """Who has asked for exactly this switch and waits for a second person."""
    return _asked(draft, plan.component, (plan.kind, plan.generation, plan.source, plan.target))


def _asked(draft: Draft, component: str, wanted: tuple[SwitchKind, int, str, str]) -> ApprovalAsked | None:
    found: ApprovalAsked | None = draft.get("approvals", component)
    if found is None or draft.now.wall >= found.until or draft.now.wall < found.at - APPROVAL_WITHIN:
        return None
    return found if (found.kind, found.generation, found.source, found.target) == wanted else None


def _approval(
    draft: Draft, component: Component, spec: SwitchSpec, source: Provider | None, target: Provider
) -> Guard | None:
    if spec.approvals < 2:
        return None
    kind = SwitchKind.FAILBACK if target.id == component.primary else SwitchKind.FAILOVER
    wanted = (kind, draft.state(component.id).generation, source.id if source else "", target.id)
    asked = _asked(draft, component.id, wanted)
    title = "two people agree"
    if asked is None:
        return guard(APPROVAL, title, WARN, "whoever confirms asks for it; it happens when a second person confirms")
    left = format_duration(asked.until - draft.now.wall)
    return guard(APPROVAL, title, WARN, f"{asked.who} asks for it; a second person confirms within {left}")


# --- features ------------------------------------------------------------------------------------------------------


def is_essential(component: Component, feature: str) -> bool:
    """Whether a feature that a degraded mode drops is one that users cannot do without."""
    found = component.features.get(feature.removeprefix(f"{component.id}/"))
    return found is not None and found.tier is Tier.ESSENTIAL


def _drops_essential(component: Component, mode: DegradedMode) -> Guard | None:
    essential = [feature for feature in mode.drops if is_essential(component, feature)]
    if not essential:
        return None
    evidence = f"users will do without {', '.join(essential)}"
    return guard("drops_essential", "no essential feature is dropped", WARN, evidence)


def _dropped_pass(draft: Draft, component: Component) -> Guard:
    title = "what was dropped works again"
    checks = sorted(ignored_checks(draft, component))
    bad = [check for check in checks if draft.check(check).status is not Status.OK]
    if not checks:
        return guard("dropped_pass", title, PASS, "no check belongs to a dropped feature alone")
    if not bad:
        return guard("dropped_pass", title, PASS, f"{len(checks)} checks pass")
    evidence = "; ".join(f"{check}: {draft.check(check).detail or draft.check(check).status.value}" for check in bad)
    return guard("dropped_pass", title, FAIL, evidence)
