"""What a switch would do, and what speaks against it: a plan with its guards.

A plan is a function of what is known right now; making one changes nothing. Whoever confirms a plan names what it said
(generation, source, target), and the intent is refused when that is no longer so: a second press cannot switch back.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from opsdash.core import proofs
from opsdash.core.health import ignored_checks
from opsdash.core.outcomes import LIVE_STATES, OPEN_STATES
from opsdash.model.operation import ActionCall, Confirm, ResponseKind, Tier
from opsdash.model.status import Status
from opsdash.model.switch import Guard, GuardResult, Plan, Refused, SwitchKind
from opsdash.model.templates import fill, fill_all, names_in
from opsdash.model.units import format_duration

if TYPE_CHECKING:
    from opsdash.core.draft import Draft
    from opsdash.model.operation import Component, DegradedMode, Provider, SwitchSpec


def plan(draft: Draft, component_id: str, kind: SwitchKind, target: str | None) -> Plan | Refused:
    """The plan for a switch, or why there is none."""
    component = draft.component(component_id)
    if component is None:
        known = ", ".join(sorted(draft.operation.components)) or "none"
        return Refused("unknown_component", f"there is no component {component_id!r}; there are: {known}")
    if kind in (SwitchKind.DEGRADE, SwitchKind.RESTORE):
        return _plan_mode(draft, component, kind, target)
    return _plan_provider(draft, component, kind, target)


def preflight_key(component: str, what: str) -> str:
    """Key under which the action's preflight answer is kept: `email/ses`, `email/mode:transactional-only`."""
    return f"{component}/{what}"


# --- from one provider to another ----------------------------------------------------------------------------------


def _plan_provider(draft: Draft, component: Component, kind: SwitchKind, target: str | None) -> Plan | Refused:
    if component.switch is None:
        return Refused("no_switch", component.off.get("switch") or f"{component.title} declares no switch")
    state = draft.state(component.id)
    found = _target(draft, component, kind, target, state.active)
    if isinstance(found, Refused):
        return found
    kind = SwitchKind.FAILBACK if found.id == component.primary else SwitchKind.FAILOVER
    source = component.provider(state.active)
    if source is None and any(name.partition(".")[0] == "from" for name in names_in(component.switch.action.raw)):
        return Refused(
            "active_unknown", "the action names the provider that serves now, and nobody can tell which that is"
        )
    names = template_names(component, source, found)
    back = template_names(component, found, source) if source else {}
    spec = component.switch
    return Plan(
        component=component.id,
        kind=kind,
        source=source.id if source else "",
        target=found.id,
        generation=state.generation,
        expected=source.as_name if source else None,
        wanted=found.as_name,
        call=_filled(spec.action, names),
        undo_call=_filled(spec.action, back) if source else None,
        read=_filled(spec.read, names),
        guards=_provider_guards(draft, component, source, found, spec),
        settle=spec.settle,
        deadline=spec.deadline,
        confirm=spec.confirm,
        reason=offered_reason(draft, component, ResponseKind.SWITCH),
        served_by=spec.served_by,
        old_out=replace(spec.old_out, check=fill(spec.old_out.check, names)) if spec.old_out else None,
        verify=spec.verify or _essential_checks(component, ()),
    )


def _essential_checks(component: Component, drops: tuple[str, ...]) -> tuple[str, ...]:
    """What has to pass afterwards where nothing is declared: the checks of the essential features that are kept."""
    kept = (
        feature for feature in component.features.values() if feature.tier is Tier.ESSENTIAL and feature.id not in drops
    )
    return tuple(dict.fromkeys(check for feature in kept for check in feature.checks))


def _filled(call: ActionCall | None, names: dict[str, str]) -> ActionCall | None:
    return None if call is None else replace(call, raw=fill_all(call.raw, names))


def template_names(component: Component, source: Provider | None, target: Provider) -> dict[str, str]:
    """What `{to}`, `{to.as}`, `{from.host}` and their like stand for."""
    names = {"component": component.id}
    for word, provider in (("to", target), ("from", source)):
        if provider is not None:
            names |= {word: provider.id, f"{word}.id": provider.id, f"{word}.as": provider.as_name}
            names |= {f"{word}.{key}": value for key, value in provider.values.items()}
    return names


def _target(
    draft: Draft, component: Component, kind: SwitchKind, wanted: str | None, active: str | None
) -> Provider | Refused:
    """The provider to go to: the first ready one in file order, unless one is named."""
    if wanted is not None:
        named = component.provider(wanted)
        if named is None:
            known = ", ".join(provider.id for provider in component.providers)
            return Refused("unknown_provider", f"{component.title} has no provider {wanted!r}; it has: {known}")
        if named.id == active:
            return Refused("already_active", f"{named.title} is serving already")
        return named
    if kind is SwitchKind.FAILBACK:
        if active == component.primary:
            return Refused("already_active", f"{component.title} is on its primary already")
        return component.providers[0]
    if active is None:
        return Refused(
            "active_unknown",
            "nobody can tell which provider serves, so the target must be named",
            "--to PROVIDER",
        )
    backups = [provider for provider in component.providers[1:] if provider.id != active]
    health = draft.health(component.id).providers
    for backup in backups:
        if health.get(backup.id) in (Status.OK, Status.DEGRADED):
            return backup
    if not backups:
        return Refused("no_backup", f"{component.title} has no other backup; its primary is named with --to")
    reasons = "; ".join(f"{backup.title}: {_why_not(draft, backup)}" for backup in backups)
    return Refused("none_ready", f"no backup is ready: {reasons}", "--to PROVIDER")


def _why_not(draft: Draft, provider: Provider) -> str:
    for check in provider.checks:
        shown = draft.check(check)
        if shown.status in (Status.DOWN, Status.UNKNOWN):
            return f"{check} is {shown.status.value} ({shown.detail or (shown.reason or Status.UNKNOWN).value})"
    return "nothing is known of it"


def _provider_guards(
    draft: Draft, component: Component, source: Provider | None, target: Provider, spec: SwitchSpec
) -> tuple[Guard, ...]:
    guards = [
        _no_live_switch(draft, component),
        _journal(draft),
        _polled(draft, component),
        _target_healthy(draft, component, target),
        _expected(draft, component, source, spec),
        _proof(draft, component, target.id, target.title),
        _online(draft),
        _needed(draft, component, source),
        _preflight(draft, preflight_key(component.id, target.id)),
    ]
    return tuple(guard for guard in guards if guard is not None)


def _no_live_switch(draft: Draft, component: Component) -> Guard:
    switch = draft.switch(component.id)
    title = "nobody else is switching"
    if switch is not None and switch.state in LIVE_STATES:
        age = draft.now.wall - switch.intended_at
        evidence = f"{switch.who} is at it: {switch.plan.kind.value}, {switch.state.value} for {format_duration(age)}"
        return Guard("live_switch", title, GuardResult.FAIL, evidence, overridable=False)
    if switch is not None and switch.state in OPEN_STATES:
        evidence = f"the last switch ended {switch.state.value}: undo, settle or take it over first"
        return Guard("live_switch", title, GuardResult.FAIL, evidence, overridable=False)
    return Guard("live_switch", title, GuardResult.PASS, "no other switch is in flight")


def _journal(draft: Draft) -> Guard | None:
    error = draft.engine().journal_error
    if not error:
        return None
    evidence = f"{error}; use the manual command below"
    return Guard("journal", "the journal can be written", GuardResult.FAIL, evidence, overridable=False)


def _polled(draft: Draft, component: Component) -> Guard | None:
    pause = draft.get("pauses", component.id)
    if pause is None:
        return None
    evidence = f"paused by {pause.who}: nothing is measured, so the effect cannot be verified; resume it first"
    return Guard("polled", f"{component.title} is polled", GuardResult.FAIL, evidence)


def _target_healthy(draft: Draft, component: Component, target: Provider) -> Guard:
    title = f"{target.title} works"
    status = draft.health(component.id).providers.get(target.id, Status.UNKNOWN)
    ages = [draft.check(check) for check in target.checks]
    age = max((draft.now.wall - live.at for live in ages if live.at is not None), default=None)
    if status is Status.OK:
        return Guard("target_healthy", title, GuardResult.PASS, f"{len(ages)} checks pass", age)
    evidence = next(
        (f"{check}: {draft.check(check).detail}" for check in target.checks if draft.check(check).status is status),
        "nothing is known of it",
    )
    result = GuardResult.WARN if status is Status.DEGRADED else GuardResult.FAIL
    return Guard("target_healthy", title, result, f"{status.value}: {evidence}", age)


def _expected(draft: Draft, component: Component, source: Provider | None, spec: SwitchSpec) -> Guard:
    title = "who serves now is known"
    if source is None:
        seen = draft.state(component.id).seen
        evidence = f"the mechanism says {seen!r}, which is nobody's name" if seen else "it cannot be read"
        return Guard("expected_from", title, GuardResult.WARN, evidence)
    if spec.read is None:
        return Guard("expected_from", title, GuardResult.PASS, f"{source.title}, from memory: no `read` is declared")
    if draft.health(component.id).unread:
        return Guard("expected_from", title, GuardResult.WARN, f"{source.title}, but the last read failed")
    return Guard("expected_from", title, GuardResult.PASS, f"{source.title}, as the mechanism says; read again first")


def _proof(draft: Draft, component: Component, what: str, title: str) -> Guard:
    state, at = proofs.proof_of(draft, component, what, draft.now.wall)
    name = f"{title} was proved recently"
    if at is None:
        return Guard("proof", name, GuardResult.WARN, "never proved by a verified switch or drill")
    age = draft.now.wall - at
    words = f"proved {format_duration(age)} ago"
    if state == proofs.FRESH:
        return Guard("proof", name, GuardResult.PASS, words, age)
    why = "longer than 100 days" if state == proofs.OLD else "its definition has changed since"
    return Guard("proof", name, GuardResult.WARN, f"{words}, {why}", age)


def _online(draft: Draft) -> Guard | None:
    if not draft.operation.anchors:
        return None
    title = "opsdash itself is connected"
    if draft.engine().offline:
        return Guard("online", title, GuardResult.WARN, "most anchors do not answer: it may be opsdash that is offline")
    return Guard("online", title, GuardResult.PASS, f"{len(draft.operation.anchors)} anchors answer")


def _needed(draft: Draft, component: Component, source: Provider | None) -> Guard | None:
    if source is None or source.id != component.primary:
        return None
    status = draft.health(component.id).providers.get(source.id, Status.UNKNOWN)
    if status in (Status.DOWN, Status.DEGRADED) or draft.health(component.id).status is Status.DOWN:
        return Guard("needed", f"{source.title} is really failing", GuardResult.PASS, status.value)
    return Guard("needed", f"{source.title} is really failing", GuardResult.WARN, f"it is {status.value} right now")


def _preflight(draft: Draft, key: str) -> Guard:
    title = "the action could be carried out"
    found = draft.live("preflights", key)
    if found is None:
        return Guard("preflight", title, GuardResult.UNKNOWN, "not tried yet")
    age = draft.now.mono - found.at
    results = {True: GuardResult.PASS, False: GuardResult.FAIL, None: GuardResult.UNKNOWN}
    return Guard("preflight", title, results[found.passed], found.detail, age)


# --- into a degraded mode, and back --------------------------------------------------------------------------------


def _plan_mode(draft: Draft, component: Component, kind: SwitchKind, wanted: str | None) -> Plan | Refused:
    state = draft.state(component.id)
    if kind is SwitchKind.RESTORE:
        if state.mode is None:
            return Refused("no_mode", f"no degraded mode of {component.title} is in force")
        wanted = state.mode
    mode = _mode(component, wanted)
    if isinstance(mode, Refused):
        return mode
    if kind is SwitchKind.RESTORE and mode.leave is None and (state.mode_prior is None or not mode.restores):
        why = "it declares no `leave`, and what was there before is not known"
        seen = ", opsdash will see it" if mode.read is not None else ""
        return Refused("no_leave", f"{mode.title}: {why}; put it back by hand{seen}")
    if kind is SwitchKind.DEGRADE and state.mode == mode.id:
        return Refused("already_active", f"{mode.title} is in force already")
    if kind is SwitchKind.DEGRADE and state.mode is not None:
        return Refused("other_mode", f"{state.mode} is in force; restore normal operation first")
    return _mode_plan(draft, component, mode, kind)


def _mode_plan(draft: Draft, component: Component, mode: DegradedMode, kind: SwitchKind) -> Plan:
    entering = kind is SwitchKind.DEGRADE
    state = draft.state(component.id)
    names = {"component": component.id, "mode": mode.id, "mode.as": mode.as_name}
    enter, leave = _filled(mode.enter, names), _filled(mode.leave, names)
    back = leave or (enter if mode.restores else None)
    drops_essential = entering and any(_is_essential(component, feature) for feature in mode.drops)
    return Plan(
        component=component.id,
        kind=kind,
        source="" if entering else mode.id,
        target=mode.id if entering else "",
        generation=state.generation,
        expected=None if entering else mode.as_name,
        wanted=mode.as_name if entering else (None if leave else state.mode_prior),
        call=enter if entering else back,
        undo_call=back if entering else enter,
        read=_filled(mode.read, names),
        guards=_mode_guards(draft, component, mode, kind),
        settle=mode.settle,
        deadline=mode.deadline,
        confirm=Confirm.KEY,
        typed=drops_essential,
        reason=offered_reason(draft, component, ResponseKind.DEGRADE),
        drops=mode.drops if entering else (),
        verify=mode.verify or _essential_checks(component, mode.drops if entering else ()),
        restores=mode.leave is None,
    )


def _mode(component: Component, wanted: str | None) -> DegradedMode | Refused:
    if wanted is None and len(component.modes) == 1:
        return next(iter(component.modes.values()))
    found = component.modes.get(wanted or "")
    if found is not None:
        return found
    off = component.off.get(f"modes/{wanted}") or component.off.get(f"modes.{wanted}")
    if off:
        return Refused("mode_off", off)
    known = ", ".join(component.modes) or "none"
    what = f"no degraded mode {wanted!r}" if wanted else "several degraded modes; name one"
    return Refused("unknown_mode", f"{component.title} has {what}; it has: {known}")


def _mode_guards(draft: Draft, component: Component, mode: DegradedMode, kind: SwitchKind) -> tuple[Guard, ...]:
    guards = [_no_live_switch(draft, component), _journal(draft), _polled(draft, component)]
    if kind is SwitchKind.DEGRADE:
        essential = [feature for feature in mode.drops if _is_essential(component, feature)]
        if essential:
            evidence = f"users will do without {', '.join(essential)}"
            guards.append(Guard("drops_essential", "no essential feature is dropped", GuardResult.WARN, evidence))
        guards.append(_proof(draft, component, f"mode:{mode.id}", mode.title))
    else:
        guards.append(_dropped_pass(draft, component))
    guards += [_online(draft), _preflight(draft, preflight_key(component.id, f"mode:{mode.id}"))]
    return tuple(guard for guard in guards if guard is not None)


def _is_essential(component: Component, feature: str) -> bool:
    found = component.features.get(feature.removeprefix(f"{component.id}/"))
    return found is not None and found.tier is Tier.ESSENTIAL


def _dropped_pass(draft: Draft, component: Component) -> Guard:
    title = "what was dropped works again"
    checks = sorted(ignored_checks(draft, component))
    bad = [check for check in checks if draft.check(check).status is not Status.OK]
    if not checks:
        return Guard("dropped_pass", title, GuardResult.PASS, "no check belongs to a dropped feature alone")
    if not bad:
        return Guard("dropped_pass", title, GuardResult.PASS, f"{len(checks)} checks pass")
    evidence = "; ".join(f"{check}: {draft.check(check).detail or draft.check(check).status.value}" for check in bad)
    return Guard("dropped_pass", title, GuardResult.FAIL, evidence)


def offered_reason(draft: Draft, component: Component, kind: ResponseKind) -> str:
    """Title of the active failure mode which this response was decided for, for the reason's field."""
    active = {failure for failure, _ in draft.state(component.id).failures}
    for failure in component.failures.values():
        if failure.id in active and failure.response.kind is kind:
            return failure.title
    return ""
