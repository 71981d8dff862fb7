"""What a switch would do, and what speaks against it: a plan with its guards.

A plan is a function of what is known right now; making one changes nothing. Whoever confirms a plan names what it said
(generation, source, target), and the intent is refused when that is no longer so: a second press cannot switch back.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from opsdash.core import guards
from opsdash.model.operation import Confirm, ResponseKind, Tier
from opsdash.model.status import Status
from opsdash.model.switch import MOVES_MODE, Plan, Refused, SwitchKind
from opsdash.model.templates import fill, fill_all, names_in

if TYPE_CHECKING:
    from opsdash.core.draft import Draft
    from opsdash.model.operation import ActionCall, Component, DegradedMode, Provider, Step, SwitchSpec


SOURCE_UNKNOWN = "the action names the provider that serves now, and nobody can tell which that is"


def plan(draft: Draft, component_id: str, kind: SwitchKind, target: str | None) -> Plan | Refused:
    """The plan for a switch, or why there is none."""
    component = draft.component(component_id)
    if component is None:
        known = ", ".join(sorted(draft.operation.components)) or "none"
        return Refused("unknown_component", f"there is no component {component_id!r}; there are: {known}")
    if kind in MOVES_MODE:
        return _plan_mode(draft, component, kind, target)
    return _plan_provider(draft, component, kind, target)


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
    if source is None and needs_source(component.switch):
        return Refused("active_unknown", SOURCE_UNKNOWN)
    names = template_names(component, source, found)
    back = template_names(component, found, source) if source else {}
    spec = component.switch
    before, after = (_filled_steps(steps, names, back) for steps in (spec.before, spec.after))
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
        guards=guards.of_provider_switch(draft, component, source, found, names),
        settle=spec.settle,
        deadline=spec.deadline,
        confirm=spec.confirm,
        reason=offered_reason(draft, component, ResponseKind.SWITCH),
        served_by=spec.served_by,
        old_out=replace(spec.old_out, check=fill(spec.old_out.check, names)) if spec.old_out else None,
        verify=spec.verify or _essential_checks(component, ()),
        typed=any(step.no_return for step in (*before, *after)),
        before=before,
        after=after,
        mechanism=spec.mechanism,
        notes=_notes(spec, kind),
    )


def _filled_steps(steps: tuple[Step, ...], names: dict[str, str], back: dict[str, str]) -> tuple[Step, ...]:
    """Steps with their templates filled in; for one that is done again on the way back with the ends swapped."""
    return tuple(
        replace(
            step,
            action=replace(step.action, raw=fill_all(step.action.raw, names)),
            undo=_filled(step.action, back) if step.again and back else _filled(step.undo, names),
            verify=tuple(fill(check, names) for check in step.verify),
            down=tuple(fill(check, names) for check in step.down),
        )
        for step in steps
    )


def _notes(spec: SwitchSpec, kind: SwitchKind) -> tuple[str, ...]:
    """What a person should know of the mechanism."""
    notes = [f"no way back after: {step.name}" for step in (*spec.before, *spec.after) if step.no_return]
    if spec.abilities.self_reverts:
        notes.append(f"it may go back by itself: {spec.abilities.self_reverts}; opsdash goes on watching")
    if kind is SwitchKind.FAILBACK and spec.abilities.trial:
        notes.append("the primary is tried out before it gets any traffic")
    if not spec.abilities.cas:
        notes.append("the mechanism cannot compare and swap: somebody else's change in the same second is overwritten")
    return tuple(notes)


def needs_source(spec: SwitchSpec) -> bool:
    """Whether the action names the provider that serves now."""
    return any(name.partition(".")[0] == "from" for name in names_in(spec.action.raw))


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
    drops_essential = entering and any(guards.is_essential(component, feature) for feature in mode.drops)
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
        guards=guards.of_mode_switch(draft, component, mode, kind),
        settle=mode.settle,
        deadline=mode.deadline,
        confirm=Confirm.KEY,
        typed=drops_essential,
        reason=offered_reason(draft, component, ResponseKind.DEGRADE),
        drops=mode.drops if entering else (),
        verify=mode.verify or _essential_checks(component, mode.drops if entering else ()),
        restores=mode.leave is None,
        mechanism=mode.mechanism,
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


def offered_reason(draft: Draft, component: Component, kind: ResponseKind) -> str:
    """Title of the active failure mode which this response was decided for, for the reason's field."""
    active = {failure for failure, _ in draft.state(component.id).failures}
    for failure in component.failures.values():
        if failure.id in active and failure.response.kind is kind:
            return failure.title
    return ""
