"""Gaps of the other ways: backups and degraded modes that are not there, not proved, not ready, or fail together.

Each function looks at one component and yields what it finds; `core.readiness_rules` lists them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsdash.core import badges, proofs
from opsdash.core.gaps_register import named
from opsdash.core.hosts import domain_of
from opsdash.core.readiness_look import Found
from opsdash.core.traces import declared
from opsdash.model.drill import Goal
from opsdash.model.operation import Tier
from opsdash.model.status import Status
from opsdash.model.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opsdash.core.readiness_look import Look
    from opsdash.model.operation import Component, DegradedMode, Provider

ADDRESS_FACTS = ("address", "addresses", "ip")
ISSUER_FACTS = ("issuer", "certificate_issuer")
"""Names under which a check's `facts` may say where it went, and who signed the certificate that it met."""

Judged = tuple["Provider", float, str, float | None]


# --- backups -------------------------------------------------------------------------------------------------------


def single_provider(look: Look, component: Component) -> Iterator[Found]:
    """There is one way to get the job done. Silent where a degraded mode of its own keeps all that is essential."""
    if len(component.providers) > 1 or _keeps_what_is_essential(component):
        return
    if any(part.startswith("providers") for part in component.off):
        return
    del look
    yield Found(
        f"there is one way to get the job of {component.title} done: when it fails, nothing takes over",
        "declare a backup under `providers:`, or a degraded mode that keeps its essential features",
    )


def _keeps_what_is_essential(component: Component) -> bool:
    essential = {each.id for each in component.features.values() if each.tier is Tier.ESSENTIAL}
    if not essential:
        return False
    return any(essential <= _own(component, mode.keeps) for mode in component.modes.values())


def _own(component: Component, features: tuple[str, ...]) -> set[str]:
    return {each.removeprefix(f"{component.id}/") for each in features}


def no_switch(_look: Look, component: Component) -> Iterator[Found]:
    """There is a backup, and no key that leads to it. A switch that is off is told of as such."""
    if len(component.providers) > 1 and component.switch is None and "switch" not in component.off:
        yield Found(
            f"{component.title} has a backup, and nothing says how to switch to it",
            "declare `switch:`, if need be with `kind: manual`, so that it is verified at least",
        )


def backup_unproven(look: Look, component: Component) -> Iterator[Found]:
    """A backup that was never shown to work."""
    for provider, share, state, _ in _backups(look, component):
        if state == proofs.NEVER:
            text = f"{provider.title} has never been shown to work as the backup of {component.title}"
            yield _switch(look, component, provider, text, share)


def backup_old(look: Look, component: Component) -> Iterator[Found]:
    """The proof of a backup is too old."""
    for provider, share, state, at in _backups(look, component):
        if state == proofs.OLD:
            age = _ago(look, at)
            text = f"{provider.title} was last shown to work as a backup {age} ago; a proof counts for 100 days"
            yield _switch(look, component, provider, text, share)


def backup_changed(look: Look, component: Component) -> Iterator[Found]:
    """What the proof of a backup has proved has changed since."""
    for provider, share, state, at in _backups(look, component):
        if state == proofs.CHANGED:
            text = f"{component.file or component.id} has changed since {provider.title} was shown to work, "
            yield _switch(look, component, provider, f"{text}{_ago(look, at)} ago", share)


def _backups(look: Look, component: Component) -> Iterator[Judged]:
    """The backups to which there is a switch, with their share and their proof."""
    backups = component.providers[1:] if component.switch is not None else ()
    for provider in backups:
        yield provider, 1 / len(backups), *proofs.proof_of(look.draft, component, provider.id, look.wall)


def _switch(look: Look, component: Component, provider: Provider, text: str, share: float) -> Found:
    by_hand = "switch to it and back", f"opsdash failover {component.id} --to {provider.id}"
    return _shown(look, Goal(component.id, provider.id), text, share, by_hand)


def _shown(look: Look, goal: Goal, text: str, share: float, by_hand: tuple[str, str]) -> Found:
    """A response has to be shown to work: by its drill, which comes back by itself, or by hand where there is none."""
    drill = look.proving.get(goal)
    closes, command = by_hand if drill is None else ("run its drill", f"opsdash drill run {drill.id}")
    return Found(text, closes, subject=goal.target or "", command=command, file="", share=share)


def _ago(look: Look, at: float | None) -> str:
    return format_duration(max(0.0, look.wall - (at or look.wall)))


def backup_not_ready(look: Look, component: Component) -> Iterator[Found]:
    """One key would not lead to a backup now. Silent while that is not measured, and while somebody works on it."""
    if not look.facts.measured or look.draft.get("pauses", component.id) is not None:
        return
    state = look.draft.state(component.id)
    if state.active is None:
        return
    for provider, share, _, _ in _backups(look, component):
        health = look.draft.health(component.id).providers.get(provider.id, Status.UNKNOWN)
        if provider.id == state.active or health in (Status.UNKNOWN, Status.PAUSED):
            continue
        badge = badges.badge_of(look.draft, component, provider.id)
        if badge.state == badges.NOT_READY:
            yield Found(
                f"{provider.title} could not take over now: {badge.why}",
                "see to it before it is needed; the plan shows what stands in the way",
                subject=provider.id,
                command=f"opsdash failover {component.id} --to {provider.id} --plan",
                file="",
                share=share,
            )


def shared_fate(look: Look, component: Component) -> Iterator[Found]:
    """Primary and backup have something in common that takes both out when it fails."""
    if not component.providers:
        return
    primary, *backups = component.providers
    for backup in backups:
        common = in_common(look, primary, backup)
        if common:
            yield Found(
                f"what takes {primary.title} out may take {backup.title} out as well: both have {named(common)}",
                "move one of them, or correct the file where it names them wrongly",
                subject=backup.id,
                share=1 / len(backups),
            )


def in_common(look: Look, one: Provider, other: Provider) -> list[str]:
    """What two providers share, in words: by what the files say once settings are filled in, and by what was measured.

    A domain of the house is left out, and so is what a shared host has said already.
    """
    found = declared(one, other)
    known = {each.partition(" ")[2] for each in found}
    ours, theirs = look.ground_of(one), look.ground_of(other)
    hosts = sorted((ours.hosts & theirs.hosts) - known)
    found += [f"host {host}" for host in hosts]
    if not hosts and not any(each.startswith(("host ", "domain ")) for each in found):
        shared = {domain_of(host) for host in ours.hosts} & {domain_of(host) for host in theirs.hosts}
        found += [f"domain {each}" for each in sorted(filter(None, shared)) if not look.is_house(each)]
    found += [f"credential {each}" for each in sorted(ours.credentials & theirs.credentials)]
    if not hosts:
        addresses = _measured(look, one, ADDRESS_FACTS) & _measured(look, other, ADDRESS_FACTS)
        found += [f"address {each}" for each in sorted(addresses - known)]
    if not any(each.startswith("issuer ") for each in found):
        issuers = _measured(look, one, ISSUER_FACTS) & _measured(look, other, ISSUER_FACTS)
        found += [f"certificate issuer {each}" for each in sorted(issuers)]
    return found


def _measured(look: Look, provider: Provider, names: tuple[str, ...]) -> set[str]:
    """What the checks of a provider have last said under one of these names; loopback left out."""
    if not look.facts.measured:
        return set()
    found: set[str] = set()
    for check in provider.checks:
        facts = look.draft.check(check).facts
        for name in names:
            value = facts.get(name)
            each = value if isinstance(value, list | tuple) else [value]
            found |= {text for text in each if isinstance(text, str) and text and not _is_local(text)}
    return found


def _is_local(text: str) -> bool:
    return text == "::1" or text.startswith("127.")


def facts_not_declared(_look: Look, component: Component) -> Iterator[Found]:
    """Of the four facts that are verified after a switch, some are not declared, so that nobody can verify them."""
    spec = component.switch
    if spec is None:
        return
    declared_facts = {"read": spec.read, "served_by": spec.served_by, "old_out": spec.old_out}
    missing = [name for name, value in declared_facts.items() if value is None]
    if not spec.verify:
        missing.append("verify")
    if missing:
        yield Found(
            f"a switch of {component.title} cannot be verified in full: {', '.join(missing)} is not declared"
            if len(missing) == 1
            else f"a switch of {component.title} cannot be verified in full: {', '.join(missing)} are not declared",
            f"declare {named(missing)} under `switch:`",
            subject="switch",
            share=len(missing) / 4,
        )


def failback_never(look: Look, component: Component) -> Iterator[Found]:
    """The way to the backup was practised, the way back never."""
    if component.switch is None or len(component.providers) < 2:
        return
    proved = any(state != proofs.NEVER for _, _, state, _ in _backups(look, component))
    primary = component.providers[0]
    if proved and proofs.proof_of(look.draft, component, primary.id, look.wall)[0] == proofs.NEVER:
        yield Found(
            f"nobody has ever switched {component.title} back to {primary.title}",
            "switch back once, verified",
            subject=primary.id,
            command=f"opsdash failback {component.id}",
            file="",
        )


# --- degraded modes ------------------------------------------------------------------------------------------------


def nothing_drops(look: Look, component: Component) -> Iterator[Found]:
    """Some of it may be dropped, and no degraded mode does."""
    droppable = [each for each in component.features.values() if each.tier is Tier.DROPPABLE]
    if not droppable or any(part.startswith("modes") for part in component.off):
        return
    if any(mode.drops for mode in component.modes.values()) or component.id in look.dropped_elsewhere:
        return
    yield Found(
        f"{named([each.title for each in droppable])} may be dropped, and no degraded mode of {component.title} does",
        "decide what is kept and what is dropped, under `modes:`",
    )


def mode_unproven(look: Look, component: Component) -> Iterator[Found]:
    """A degraded mode that was never entered and verified."""
    for mode, share, state, _ in _modes(look, component):
        if state == proofs.NEVER:
            text = f"the degraded mode {mode.title!r} was never entered and verified"
            yield _enter(look, component, mode, text, share)


def mode_old(look: Look, component: Component) -> Iterator[Found]:
    """The proof of a degraded mode is too old."""
    for mode, share, state, at in _modes(look, component):
        if state == proofs.OLD:
            text = f"the degraded mode {mode.title!r} was last shown to work {_ago(look, at)} ago"
            yield _enter(look, component, mode, f"{text}; a proof counts for 100 days", share)


def mode_changed(look: Look, component: Component) -> Iterator[Found]:
    """What the proof of a degraded mode has proved has changed since."""
    for mode, share, state, at in _modes(look, component):
        if state == proofs.CHANGED:
            text = f"{component.file or component.id} has changed since the degraded mode {mode.title!r} was shown to "
            yield _enter(look, component, mode, f"{text}work, {_ago(look, at)} ago", share)


def _modes(look: Look, component: Component) -> Iterator[tuple[DegradedMode, float, str, float | None]]:
    for mode in component.modes.values():
        proof = proofs.proof_of(look.draft, component, f"mode:{mode.id}", look.wall)
        yield mode, 1 / len(component.modes), *proof


def _enter(look: Look, component: Component, mode: DegradedMode, text: str, share: float) -> Found:
    by_hand = "enter and leave it once, verified", f"opsdash degrade {component.id} {mode.id}"
    return _shown(look, Goal(component.id, mode.id, degrades=True), text, share, by_hand)
