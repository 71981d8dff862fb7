"""What a client sees: world and live as the JSON shapes of `opsdash.model.views`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsdash.core import automatic, badges, cover, flapping, people, planning, practice, proofs, windows
from opsdash.core.cover_views import alone_by_person, alone_views, coverage, deed_views
from opsdash.core.draft import Draft
from opsdash.core.health import ignored_checks
from opsdash.core.incident_views import incident_view
from opsdash.core.outcomes import NOT_OVER
from opsdash.core.switch_views import plan_view, switch_view
from opsdash.model.alarm import hold_words
from opsdash.model.operation import ANCHORS, TIER_ORDER, Auto, ResponseKind, Tier
from opsdash.model.status import Reason, Status, worst
from opsdash.model.switch import (
    Refused,
    Switch,
    SwitchCause,
    SwitchKind,
)
from opsdash.model.window import COMPONENT_KEY, WindowKind, is_one_off

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opsdash.core.practice import Deed
    from opsdash.core.switch_views import ByHand
    from opsdash.model.alarm import Alarm
    from opsdash.model.cover_views import AloneView, CoverageView
    from opsdash.model.now import Now
    from opsdash.model.operation import Component, FailureMode, Feature
    from opsdash.model.records import SwitchBlocked
    from opsdash.model.views import (
        AlarmView,
        AutoState,
        AutoView,
        CheckView,
        ComponentDetail,
        FailureView,
        FeatureView,
        ModeView,
        PersonView,
        PlanView,
        ProviderView,
        SwitchView,
        WallRow,
        WindowView,
    )
    from opsdash.model.window import WindowState
    from opsdash.model.world import Live, NearMisses, Shadow, World


SPARK_RUNS = 12
RESPONSE_KEYS = {ResponseKind.SWITCH: "f", ResponseKind.DEGRADE: "g", ResponseKind.RUNBOOK: "r"}

Sparks = dict[str, list[float | None]]


class Viewer:
    """Reads one state of world and live. `sparks`: latencies in ms of the latest runs by check id, newest last."""

    def __init__(
        self, world: World, live: Live, now: Now, sparks: Mapping[str, Sequence[float | None]] | None = None
    ) -> None:
        self.draft = Draft(world, live, now)
        self.now = now
        self.operation = world.operation
        self._sparks = sparks or {}
        self._all_deeds: list[Deed] | None = None
        self._all_duties: dict[str, list[str]] | None = None
        self._all_alone: dict[str, list[AloneView]] | None = None

    # --- the wall ----------------------------------------------------------------------------------------------

    def components(self) -> list[str]:
        """Ids of all components, those that were removed from the files but are still held included."""
        return list(dict.fromkeys([*self.operation.components, *self.draft.keys("removed")]))

    def row(self, component_id: str) -> WallRow | None:
        """One component on the wall; None if there is no such component any more."""
        component = self.draft.component(component_id)
        if component is None:
            return None
        state, health = self.draft.state(component_id), self.draft.health(component_id)
        incident = self.draft.incident(component_id)
        switch = self.draft.switch(component_id)
        first = self._first_failure(component)
        lead = self._leading_check(component)
        proof, proof_at = proofs.best_backup(self.draft, component, self.now.wall)
        alarm: Alarm | None = self.draft.get("alarms", component_id)
        return {
            "id": component.id,
            "title": component.title,
            "tier": component.tier.value,
            "status": health.status.value,
            "reason": health.reason.value if health.reason else None,
            "cause": health.cause,
            "since": health.since or self.draft.life().started_at,
            "latency": self.draft.check(lead).latency if lead else None,
            "spark": list(self._sparks.get(lead, ()))[-SPARK_RUNS:] if lead else [],
            "active": state.active,
            "primary": component.primary,
            "on_backup": state.active is not None and state.active != component.primary,
            "mode": state.mode,
            "dropped": [each.title for each in component.features.values() if self._dropped(component, each)],
            "redundancy": health.redundancy,
            "proof": proof,
            "proof_at": proof_at,
            "badge": badges.best_badge(self.draft, component).state,
            "failure": first.title if first else None,
            "failure_id": first.id if first else None,
            "response": str(first.response) if first else None,
            "hint": self._hint(component, first),
            "incident": incident.id if incident else None,
            "acknowledged": incident is not None and incident.acknowledged_by is not None,
            "owners": people.owners_at(self.draft, component, self.now.wall) or list(component.rotas),
            "covered": not people.nobody_covers(self.draft, component),
            "switch": switch.state.value if switch and self._is_open(switch) else None,
            "overdue": list(state.overdue),
            "explained_by": self._explained_by(component),
            "alarm": "" if alarm is None else "raised" if alarm.is_raised else "held",
            "held": hold_words(alarm.hold) if alarm is not None and alarm.hold is not None else "",
            "windows": [
                {"id": each.id, "kind": each.kind.value, "title": each.title, "until": each.until}
                for each in sorted(
                    windows.over(self.draft, component_id), key=lambda each: each.kind is WindowKind.FREEZE
                )
            ],
            "flapping": self._flapping(component),
            "problems": len(component.off) + (component.problem is not None),
            "removed": component.removed,
        }

    @staticmethod
    def _is_open(switch: Switch) -> bool:
        return switch.state in NOT_OVER

    def _first_failure(self, component: Component) -> FailureMode | None:
        active = {failure for failure, _ in self.draft.state(component.id).failures}
        return next((each for each in component.failures.values() if each.id in active), None)

    def _hint(self, component: Component, failure: FailureMode | None) -> str:
        """The key for what was decided, and what it does; when that has been done, what comes next."""
        state = self.draft.state(component.id)
        if failure is None:
            if state.mode is not None:
                return "g restore"
            on_backup = state.active is not None and state.active != component.primary
            return "F fail back" if on_backup else ""
        response = failure.response
        if response.kind is ResponseKind.DEGRADE:
            target = response.component or component.id
            if self.draft.state(target).mode == response.mode:
                return f"r {failure.runbook}" if failure.runbook else "g restore"
            return f"g {response.mode}"
        if response.kind is ResponseKind.SWITCH:
            return "f fail over"
        return f"r {failure.runbook}" if failure.runbook else "r runbook"

    def _leading_check(self, component: Component) -> str | None:
        """The check whose latency stands for the component: its front door, else the active provider's first."""
        if component.checks:
            return component.checks[0]
        active = component.provider(self.draft.state(component.id).active) or (
            component.providers[0] if component.providers else None
        )
        return active.checks[0] if active and active.checks else None

    def _flapping(self, component: Component) -> int | None:
        """The highest percentage of its flapping checks."""
        of_providers = (check for provider in component.providers for check in provider.checks)
        return flapping.shown(self.draft, (*component.checks, *of_providers))

    def alarm(self, component_id: str) -> AlarmView | None:
        """The alarm of a component, raised or held."""
        alarm: Alarm | None = self.draft.get("alarms", component_id)
        if alarm is None:
            return None
        hold = alarm.hold
        return {
            "state": "raised" if alarm.is_raised else "held",
            "title": alarm.title,
            "incident": alarm.incident,
            "reason": hold.reason.value if hold else None,
            "by": hold.what if hold else "",
            "words": hold_words(hold) if hold else "",
            "since": alarm.raised or alarm.held or alarm.due,
            "until": hold.until if hold else None,
            "due": alarm.due,
        }

    def windows(self) -> list[WindowView]:
        """Every window that is open, those that end first at the top."""
        found = [(key, self.draft.get("windows", key)) for key in self.draft.keys("windows")]
        still_open = [(key, state) for key, state in found if windows.is_open(self.draft, key, state)]
        return [self._window(key, state) for key, state in sorted(still_open, key=lambda each: each[1].until)]

    def _window(self, key: str, state: WindowState) -> WindowView:
        names = ((name, self.draft.component(name)) for name in self.components())
        return {
            "id": key,
            "kind": state.kind.value,
            "title": state.title,
            "target": key.removeprefix(COMPONENT_KEY) if is_one_off(key) else None,
            "components": [name for name, each in names if each is not None and windows.covers(self.draft, key, each)],
            "since": state.since,
            "until": state.until,
            "who": state.who,
            "reason": state.reason,
            "muted": [{"component": each.component, "title": each.title, "at": each.at} for each in state.muted],
        }

    def _explained_by(self, component: Component) -> list[str]:
        if self.draft.health(component.id).status is Status.OK:
            return []
        parents = component.depends_on
        return [parent for parent in parents if self.draft.health(parent).status is Status.DOWN]

    # --- features and counts -----------------------------------------------------------------------------------

    def features(self, *, essential_only: bool = False) -> list[FeatureView]:
        """All features; an essential component without any stands for itself."""
        found: list[FeatureView] = []
        for component in self.operation.components.values():
            found += [
                self._feature(component, feature)
                for feature in component.features.values()
                if feature.tier is Tier.ESSENTIAL or not essential_only
            ]
            if not component.features and component.tier is Tier.ESSENTIAL:
                found.append(self._whole(component))
        return sorted(found, key=lambda each: TIER_ORDER[Tier(each["tier"])])

    def _whole(self, component: Component) -> FeatureView:
        return {
            "id": component.id,
            "title": component.title,
            "tier": component.tier.value,
            "component": component.id,
            "works": _works(self.draft.health(component.id).status),
        }

    def _feature(self, component: Component, feature: Feature) -> FeatureView:
        if feature.checks:
            works = _works(worst(self.draft.check(check).status for check in feature.checks))
        else:
            works = _works(self.draft.health(component.id).status)
        if self._dropped(component, feature):
            works = "dropped"
        return {
            "id": f"{component.id}/{feature.id}",
            "title": feature.title,
            "tier": feature.tier.value,
            "component": component.id,
            "works": works,
        }

    def _dropped(self, component: Component, feature: Feature) -> bool:
        mode = component.modes.get(self.draft.state(component.id).mode or "")
        return mode is not None and feature.id in mode.drops

    def counts(self) -> dict[str, int]:
        """How many components have each status, and how many are on their backup or in a degraded mode."""
        counts = dict.fromkeys((status.value for status in Status), 0)
        counts |= {"on_backup": 0, "in_mode": 0}
        for component in self.operation.components.values():
            counts[self.draft.health(component.id).status.value] += 1
            state = self.draft.state(component.id)
            counts["on_backup"] += state.active is not None and state.active != component.primary
            counts["in_mode"] += state.mode is not None
        return counts

    def uncovered(self) -> list[str]:
        """Components whose owners are all away."""
        return [
            component.id
            for component in self.operation.components.values()
            if people.nobody_covers(self.draft, component)
        ]

    # --- one component -----------------------------------------------------------------------------------------

    def component(self, component_id: str) -> ComponentDetail | None:
        """Everything about one component."""
        component = self.draft.component(component_id)
        row = self.row(component_id)
        if component is None or row is None:
            return None
        incident = self.draft.incident(component_id)
        switch = self.draft.switch(component_id)
        pause = self.draft.get("pauses", component_id)
        ignored = ignored_checks(self.draft, component)
        return {
            "row": row,
            "providers": [self._provider(component, each.id) for each in component.providers],
            "checks": [self.check(check) for check in component.checks if check not in ignored],
            "features": [self._feature(component, each) for each in component.features.values()],
            "failures": [self.failure(component, each) for each in component.failures.values()],
            "modes": self._modes(component),
            "owners": [
                self.person(owner, component_id)
                for owner in people.owners_at(self.draft, component, self.now.wall)
                if owner in self.operation.people
            ],
            "uncovered": people.nobody_covers(self.draft, component),
            "needs": [(each, self.draft.health(each).status.value) for each in component.depends_on],
            "needed_by": [
                (each, self.draft.health(each).status.value) for each in self.operation.dependents.get(component_id, ())
            ],
            "switch": self.switch(switch) if switch else None,
            "incident": incident_view(incident) if incident else None,
            "alarm": self.alarm(component_id),
            "windows": [
                self._window(each.id, self.draft.get("windows", each.id))
                for each in windows.over(self.draft, component_id)
            ],
            "flapping": row["flapping"],
            "runbook": self._runbook(component),
            "off": dict.fromkeys(component.held, "removed from the file, kept while it is in use")
            | dict(component.off)
            | ({"file": component.problem} if component.problem else {}),
            "keys": self._keys(component),
            "paused_until": pause.until if pause else None,
            "paused_by": pause.who if pause else None,
            "auto": self._auto(component) if component.switch and component.switch.auto is not Auto.NEVER else None,
            "blocked": _blocked_words(self.draft.state(component_id).blocked),
            "file": component.file,
        }

    def auto(self) -> AutoState:
        """Switching without a person, over all components."""
        components = self.operation.components.values()
        allowed = [each for each in components if each.switch is not None and each.switch.auto is not Auto.NEVER]
        return {"stopped": self.draft.life().auto_stopped, "components": [self._auto(each) for each in allowed]}

    def _auto(self, component: Component) -> AutoView:
        assert component.switch is not None  # noqa: S101 - the callers have looked
        shadow: Shadow | None = self.draft.get("shadows", component.id)
        blocked = self.draft.state(component.id).blocked
        own = blocked if blocked is not None and blocked.cause is SwitchCause.AUTO else None
        return {
            "component": component.id,
            "auto": component.switch.auto.value,
            "hold": component.switch.hold,
            "score": automatic.score_words(shadow) if shadow is not None and shadow.would else "",
            "blocked": own.reason if own is not None else None,
            "blocked_at": own.at if own is not None else None,
        }

    def _runbook(self, component: Component) -> str | None:
        """The runbook of what is failing, else the component's own, else that of its first failure mode."""
        failing = self._first_failure(component)
        if failing is not None and failing.runbook:
            return failing.runbook
        if component.runbook:
            return component.runbook
        return next((each.runbook for each in component.failures.values() if each.runbook), None)

    def _keys(self, component: Component) -> dict[str, str | None]:
        keys: dict[str, str | None] = {}
        for kind in (SwitchKind.FAILOVER, SwitchKind.FAILBACK, SwitchKind.RESTORE):
            plan = planning.plan(self.draft, component.id, kind, None)
            refused = plan if isinstance(plan, Refused) and plan.override is None else None
            keys[kind.value] = refused.reason if refused else None
        modes = component.modes or any(path.startswith("modes") for path in component.off)
        keys["degrade"] = None if modes else f"{component.title} declares no degraded mode"
        keys["runbook"] = None if self._runbook(component) else f"{component.title} has no runbook"
        return keys

    def check(self, check_id: str) -> CheckView:
        """One check."""
        spec = self.operation.checks.get(check_id)
        live = self.draft.check(check_id)
        bad = sum(severity > 0 for severity in live.window)
        streak = f"{bad} of {spec.down_after}" if spec and live.window and bad else ""
        return {
            "id": check_id,
            "name": spec.name if spec else check_id.rpartition("/")[2],
            "provider": spec.provider if spec else None,
            "kind": spec.kind if spec else "",
            "status": live.status.value,
            "reason": live.reason.value if live.reason else None,
            "detail": live.detail,
            "since": live.since,
            "at": live.at,
            "latency": live.latency,
            "every": spec.every if spec else 0.0,
            "raw_status": live.raw.value,
            "raw_reason": live.raw_reason.value if live.raw_reason else None,
            "raw_detail": live.raw_detail,
            "streak": streak,
            "facts": dict(live.facts),
            "phases": dict(live.phases),
            "spark": list(self._sparks.get(check_id, ())),
            "flapping": flapping.shown(self.draft, (check_id,)),
        }

    def _provider(self, component: Component, provider_id: str) -> ProviderView:
        provider = component.provider(provider_id)
        assert provider is not None  # noqa: S101 - the caller iterates over the component's own providers
        proof, proof_at = proofs.proof_of(self.draft, component, provider_id, self.now.wall)
        status = self.draft.health(component.id).providers.get(provider_id, Status.UNKNOWN)
        serves = provider.id == self.draft.state(component.id).active
        badge = badges.Badge(badges.NONE) if serves else badges.badge_of(self.draft, component, provider.id)
        return {
            "id": provider.id,
            "title": provider.title,
            "name": provider.as_name,
            "status": status.value,
            "active": serves,
            "primary": provider.id == component.primary,
            "proof": proof,
            "proof_at": proof_at,
            "badge": badge.state,
            "badge_why": badge.why,
            "checks": [self.check(check) for check in provider.checks],
        }

    def _modes(self, component: Component) -> list[ModeView]:
        state = self.draft.state(component.id)
        found: list[ModeView] = []
        for mode in component.modes.values():
            proof, proof_at = proofs.proof_of(self.draft, component, f"mode:{mode.id}", self.now.wall)
            in_force = state.mode == mode.id
            since = state.mode_since if in_force else None
            found.append(
                {
                    "id": mode.id,
                    "title": mode.title,
                    "keeps": list(mode.keeps),
                    "drops": list(mode.drops),
                    "in_force": in_force,
                    "since": since,
                    "review_at": since + mode.review_after if since is not None else None,
                    "proof": proof,
                    "proof_at": proof_at,
                    "off": None,
                }
            )
        return found

    # --- register and people -----------------------------------------------------------------------------------

    def register(self) -> list[FailureView]:
        """Every failure mode, file by file."""
        return [
            self.failure(component, failure)
            for component in self.operation.components.values()
            for failure in component.failures.values()
        ]

    def failure(self, component: Component, failure: FailureMode) -> FailureView:
        """An entry of the register, with what it lacks."""
        since = dict(self.draft.state(component.id).failures).get(failure.id)
        proof, proof_at = self._response_proof(component, failure)
        near: NearMisses | None = self.draft.get("near_misses", f"{component.id}/{failure.id}")
        return {
            "component": component.id,
            "id": failure.id,
            "title": failure.title,
            "detected_by": str(failure.detected_by) if failure.detected_by else "",
            "response": str(failure.response),
            "response_kind": failure.response.kind.value,
            "mode": failure.response.mode,
            "runbook": failure.runbook,
            "rto": failure.rto,
            "active": since is not None,
            "since": since,
            "owners": people.owners_at(self.draft, component, self.now.wall) or list(component.rotas),
            "proof": proof,
            "proof_at": proof_at,
            "gaps": _gaps(component, failure, proof),
            "near_misses": near.count if near else 0,
            "near_at": near.last if near else None,
        }

    def _response_proof(self, component: Component, failure: FailureMode) -> tuple[str, float | None]:
        response = failure.response
        if response.kind is ResponseKind.SWITCH:
            return proofs.best_backup(self.draft, component, self.now.wall)
        if response.kind is ResponseKind.DEGRADE:
            other = self.draft.component(response.component) or component
            return proofs.proof_of(self.draft, other, f"mode:{response.mode}", self.now.wall)
        return proofs.NO_BACKUP, None

    def person(self, person_id: str, component: str | None = None) -> PersonView:
        """A person, with what the person did; with one `component` where it is named."""
        person = self.operation.people[person_id]
        recorded = self.draft.get("absences", person_id)
        wall = self.now.wall
        absences = [each for each in (*person.away, recorded) if each is not None and each.covers(wall)]
        following = cover.next_absence(self.draft, person_id, wall)
        return {
            "id": person.id,
            "name": person.name,
            "contact": person.contact,
            "away": people.is_away(person, recorded, wall),
            "until": absences[0].end if absences else None,
            "left": people.has_left(person, wall),
            "owns": [each.id for each in self.operation.components.values() if person_id in each.owners],
            "on_duty": self._duties().get(person_id, []),
            "did": deed_views([deed for deed in self._deeds(component) if deed.person == person_id]),
            "away_from": following,
            "alone": self._alone(person_id, component, following),
        }

    def _deeds(self, component: str | None) -> list[Deed]:
        if component is not None:
            return practice.of_component(self.draft, component, self.now.wall)
        if self._all_deeds is None:
            self._all_deeds = practice.deeds(self.draft, self.now.wall)
        return self._all_deeds

    def _duties(self) -> dict[str, list[str]]:
        if self._all_duties is None:
            self._all_duties = cover.duties(self.draft, self.now.wall)
        return self._all_duties

    def _alone(self, person: str, component: str | None, following: float | None) -> list[AloneView]:
        """What nobody else stands behind; for everybody who stays it is found out at once."""
        if component is not None or following is not None:
            return alone_views(self.draft, person, self.now.wall, component)
        if self._all_alone is None:
            self._all_alone = alone_by_person(self.draft, self.now.wall)
        return self._all_alone.get(person, [])

    def people(self) -> list[PersonView]:
        """All people."""
        return [self.person(person) for person in self.operation.people]

    def coverage(self) -> CoverageView:
        """Who stands behind which component, and the rotas."""
        return coverage(self.draft, self.now.wall)

    # --- switches ----------------------------------------------------------------------------------------------

    def plan(self, component_id: str, kind: SwitchKind, target: str | None, by_hand: ByHand) -> PlanView:
        """What a switch would do. `by_hand` gives the equivalent command of an action, or of putting a value back."""
        return plan_view(self.draft, component_id, kind, target, by_hand)

    def switch(self, switch: Switch) -> SwitchView:
        """A switch, live or past."""
        return switch_view(self.draft, switch)

    def anchors(self) -> list[CheckView]:
        """The outside targets that tell whether opsdash itself is connected."""
        return [self.check(check) for check, spec in self.operation.checks.items() if spec.component == ANCHORS]


def _blocked_words(blocked: SwitchBlocked | None) -> str | None:
    if blocked is None:
        return None
    whose = "opsdash would have switched by itself" if blocked.cause is SwitchCause.AUTO else f"wanted by {blocked.who}"
    return f"{blocked.kind.value} to {blocked.target or 'a backup'} {whose}, not begun: {blocked.reason}"


def _works(status: Status) -> str:
    if status in (Status.OK, Status.DEGRADED):
        return "yes"
    return "no" if status is Status.DOWN else "unknown"


def _gaps(component: Component, failure: FailureMode, proof: str) -> list[str]:
    gaps = []
    if failure.detected_by is None:
        gaps.append("no check detects it")
    if failure.runbook is None:
        gaps.append("no runbook")
    if not component.owners and not component.rotas:
        gaps.append("no owner")
    elif len(component.owners) == 1 and not component.rotas:
        gaps.append("one owner only")
    if proof in (proofs.NEVER, proofs.OLD, proofs.CHANGED):
        gaps.append({"never": "never proved", "old": "proof old", "changed": "changed since proof"}[proof])
    return gaps


def overdue_checks(world: World, live: Live, now: Now) -> list[str]:
    """Checks whose last observation is staler than its due time plus two intervals."""
    late = []
    past_due = [check_id for check_id, shown in live.tables["checks"].items() if now.mono > shown.due]
    for check_id in past_due:
        shown = live.tables["checks"][check_id]
        spec = world.operation.checks.get(check_id)
        silent = shown.status is Status.UNKNOWN and shown.reason is Reason.STALE
        if spec is None or spec.passive or not shown.runs or silent:
            continue
        if now.mono > shown.due + 2 * spec.every and spec.component not in world.tables["pauses"]:
            late.append(check_id)
    return late
