"""What parts say of each other: references to checks, features, people and runbooks, responses, cycles.

What can be wrong with a reference is told in `references.py`: it dangles, or it names what is switched off. So an
operation never names what is not in it, whatever the files say. A part that is off goes on in its
last good version where there is one that still fits.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from opsdash.config.built import Names
from opsdash.config.linked import Linked, is_lost
from opsdash.config.parts import Spot
from opsdash.config.problems import did_you_mean
from opsdash.config.references import CheckReferences, Dangling, SwitchedOff, runbook_named
from opsdash.config.schema_fields import NAME_PATTERN
from opsdash.config.switches import SwitchLinker
from opsdash.model.operation import (
    ActionCall,
    Component,
    DegradedMode,
    Detection,
    FailureMode,
    Feature,
    Response,
    ResponseKind,
    Signal,
)
from opsdash.model.status import Reason

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from opsdash.config.build import Builder
    from opsdash.config.built import Built
    from opsdash.config.parts import Report
    from opsdash.config.schema import ActionModel, FailureModel, ModeModel

_NAME = re.compile(NAME_PATTERN)


class Linker:
    """Links the components of one operation.

    lost: components whose files cannot be used at all, with the reason. workspace: what is known of opsdash.yaml.
    unreadable: runbooks that are there and may not be read, with the reason. previous: components as they were.
    """

    def __init__(
        self,
        builder: Builder,
        built: Mapping[str, Built],
        *,
        lost: Mapping[str, str],
        people: Collection[str],
        rotas: Collection[str],
        workspace: Report,
        runbooks: Collection[str],
        unreadable: Mapping[str, str],
        previous: Mapping[str, Component],
    ) -> None:
        self._builder = builder
        self._linked = {name: Linked(each) for name, each in built.items()}
        self._lost = lost
        self._checks = CheckReferences(built, lost)
        self._switches = SwitchLinker(builder, self._checks, self._linked, lost, previous)
        self._people = people
        self._rotas = rotas
        self._workspace = workspace
        self._runbooks = runbooks
        self._unreadable = unreadable
        self._previous = previous

    @property
    def wanted(self) -> dict[str, dict[str, None]]:
        """Paths that a check has to extract besides its own facts, by check."""
        return self._switches.wanted

    def link(self) -> dict[str, Component]:
        """All components, each with the parts that fit together."""
        everybody = list(self._linked.values())
        for linked in everybody:
            self._belongings(linked)
            self._features(linked)
        self._break_cycles()
        for linked in everybody:
            self._switches.link(linked)
            self._modes(linked)
        for linked in everybody:
            self._failures(linked)
        return {linked.built.id: self._component(linked) for linked in everybody}

    def _component(self, linked: Linked) -> Component:
        built, model = linked.built, linked.built.model
        before = self._previous.get(built.id)
        tier = model.tier
        if "tier" in built.report.off and before is not None and "tier" not in before.off:
            tier = before.tier
            built.keep("tier")
        if "tags" in built.report.off and before is not None and "tags" not in before.off:
            linked.tags = [*before.tags]
            built.keep("tags")
        of_provider: dict[str, list[str]] = {provider: [] for provider in built.providers}
        own: list[str] = []
        for binding in built.bindings.values():
            spec = binding.check
            (own if spec.provider is None else of_provider[spec.provider]).append(spec.id)
        return Component(
            id=built.id,
            title=model.title or built.id,
            tier=tier,
            owners=tuple(linked.owners),
            depends_on=tuple(linked.depends_on),
            tags=tuple(linked.tags),
            features=linked.features,
            runbook=linked.runbook,
            providers=tuple(
                replace(provider, checks=tuple(of_provider[provider.id])) for provider in built.providers.values()
            ),
            checks=tuple(own),
            switch=linked.switch,
            modes=linked.modes,
            failures=linked.failures,
            off=built.off,
            file=built.parsed.source.name,
            sha256=built.parsed.sha256,
            rotas=tuple(linked.rotas),
        )

    # --- who it belongs to, what it depends on --------------------------------------------------------------

    def _belongings(self, linked: Linked) -> None:
        built = linked.built
        for index, owner in enumerate(built.model.owners):
            if owner in self._people:
                linked.owners.append(owner)
            elif owner in self._rotas:
                linked.rotas.append(owner)
            elif all(self._workspace.missing(f"{section}/{owner}") is None for section in ("people", "rota")):
                hint = did_you_mean(owner, [*self._people, *self._rotas]) or "people are listed in opsdash.yaml"
                _spot(built, "owners", index).error(f"there is no person {owner!r}", hint)
        for index, parent in enumerate(built.model.depends_on):
            if parent in self._linked or parent in self._lost:
                linked.depends_on.append(parent)
            else:
                hint = did_you_mean(parent, [*self._linked, *self._lost])
                _spot(built, "depends_on", index).error(f"there is no component {parent!r}", hint)
        for index, tag in enumerate(built.model.tags):
            if _NAME.fullmatch(tag):
                linked.tags += [tag] if tag not in linked.tags else []
            else:
                hint = "use letters, digits, dots, dashes and underscores, at most 64, beginning with a letter or digit"
                _spot(built, "tags", index).error(f"{tag!r:.60} is no name", hint)
        spot = Spot(built.report, ("runbook",), "runbook")
        linked.runbook = self._runbook(spot, built.model.runbook)

    def _runbook(self, spot: Spot, name: str | None) -> str | None:
        return runbook_named(spot, name, self._runbooks, self._unreadable)

    def _break_cycles(self) -> None:
        """Take the edge that closes each cycle out of `depends_on`, and say where."""
        done: set[str] = set()
        for start in sorted(self._linked):
            if start not in done:
                self._walk(start, done)

    def _walk(self, start: str, done: set[str]) -> None:
        path: dict[str, None] = {start: None}
        stack = [iter(tuple(self._linked[start].depends_on))]
        while stack:
            parent = next(stack[-1], None)
            here = next(reversed(path))
            if parent is None:
                stack.pop()
                path.popitem()
                done.add(here)
            elif parent in path:
                self._cut(here, parent, list(path))
            elif parent not in done and parent in self._linked:
                path[parent] = None
                stack.append(iter(tuple(self._linked[parent].depends_on)))

    def _cut(self, child: str, parent: str, path: list[str]) -> None:
        circle = " → ".join([*path[path.index(parent) :], parent])
        linked = self._linked[child]
        linked.depends_on.remove(parent)
        index = list(linked.built.model.depends_on).index(parent)
        hint = "a component cannot explain its own failure; remove one of the entries"
        _spot(linked.built, "depends_on", index).error(f"this goes round in a circle: {circle}", hint)

    # --- features -------------------------------------------------------------------------------------------

    def _features(self, linked: Linked) -> None:
        built = linked.built
        for name, model in built.model.features.items():
            spot = Spot(built.report, ("features", name), f"features/{name}")
            checks = self._checks.several(built, spot.at("checks"), model.checks)
            if checks is not None and spot.part not in built.report.off:
                tier = model.tier or built.model.tier
                linked.features[name] = Feature(name, model.title or name, tier, checks)
        before = self._before(built)
        for name, feature in before.features.items() if before else ():
            still_proved = all(self._checks.is_check(check) for check in feature.checks)
            if still_proved and is_lost(built, "features", name, linked.features):
                linked.features[name] = feature
                built.keep(f"features/{name}")

    def _feature(self, built: Built, text: str) -> str:
        """A feature as `feature`, or `component/feature` where it is another component's."""
        component, _, name = text.rpartition("/")
        component = component or built.id
        if component in self._lost:
            raise SwitchedOff(f"{component}: {self._lost[component]}")
        linked = self._linked.get(component)
        if linked is not None and name in linked.features:
            return name if component == built.id else text
        reason = linked.built.missing(f"features/{name}") if linked is not None else None
        if reason is not None:
            raise SwitchedOff(reason)
        known = [*built.model.features]
        known += [f"{other}/{each}" for other, found in self._linked.items() for each in found.built.model.features]
        raise Dangling(f"there is no feature {text!r}", did_you_mean(text, known))

    def _feature_list(self, built: Built, spot: Spot, texts: Sequence[str]) -> tuple[str, ...] | None:
        """Features by reference; those that are off are left out, those that dangle are problems (None)."""
        found: list[str] | None = []
        for index, text in enumerate(texts):
            try:
                feature = self._feature(built, text)
            except SwitchedOff:
                continue
            except Dangling as problem:
                spot.at(index).error(str(problem), problem.hint)
                found = None
            else:
                if found is not None:
                    found.append(feature)
        return None if found is None else tuple(found)

    # --- degraded modes -------------------------------------------------------------------------------------

    def _modes(self, linked: Linked) -> None:
        built = linked.built
        for name, model in built.model.modes.items():
            mode = self._valid_mode(linked, name, model, Spot(built.report, ("modes", name), f"modes/{name}"))
            if mode is not None:
                linked.modes[name] = mode
        before = self._before(built)
        for name, mode in before.modes.items() if before else ():
            if is_lost(built, "modes", name, linked.modes) and self._switches.still_proved(linked, mode.verify):
                linked.modes[name] = mode
                built.keep(f"modes/{name}")

    def _valid_mode(self, linked: Linked, name: str, model: ModeModel, spot: Spot) -> DegradedMode | None:
        built = linked.built
        as_name = self._builder.resolved(model.as_ or name, spot.at("as"))
        known = {"component": built.id, "mode": name, "mode.as": str(as_name)}
        if as_name is None or spot.at("as").is_hole:
            del known["mode.as"]
        names = Names(known, frozenset({"mode.as"}))
        enter = self._builder.action(model.enter, spot.at("enter"), [names])
        leave = self._leave(model.leave, names, spot)
        read = None if model.read is None else self._builder.reading(model.read, spot.at("read"))
        keeps = self._feature_list(built, spot.at("keeps"), model.keeps)
        drops = self._feature_list(built, spot.at("drops"), model.drops)
        verify = self._switches.witnesses(linked, spot.at("verify"), model.verify)
        for index, feature in enumerate(model.drops):
            if feature in model.keeps:
                spot.at("drops", index).error(f"{feature!r} is kept and dropped at once", "remove it from one of them")
        if enter is not None and not enter[1].restores and not _says_leave(model, spot):
            message = f"the action kind {model.enter.kind!r} cannot put back what was there before"
            spot.error(message, "say with `leave` how to get out")
        off = spot.part in built.report.off
        if off or as_name is None or enter is None or keeps is None or drops is None or verify is None:
            return None
        return DegradedMode(
            id=name,
            title=model.title or name,
            as_name=as_name,
            enter=enter[0],
            keeps=keeps,
            drops=drops,
            read=read,
            leave=leave,
            restores=enter[1].restores,
            verify=verify,
            settle=model.settle,
            deadline=max(model.deadline, enter[1].settle),
            review_after=model.review_after,
        )

    def _leave(self, model: ActionModel | None, names: Names, spot: Spot) -> ActionCall | None:
        if model is None:
            return None
        found = self._builder.action(model, spot.at("leave"), [names])
        return None if found is None else found[0]

    # --- the register ---------------------------------------------------------------------------------------

    def _failures(self, linked: Linked) -> None:
        built = linked.built
        found: dict[str, FailureMode] = {}
        for name, model in built.model.failures.items():
            spot = Spot(built.report, ("failures", name), f"failures/{name}")
            failure = self._valid_failure(linked, name, model, spot)
            if failure is not None:
                found[name] = failure
        before = self._before(built)
        for name, failure in before.failures.items() if before else ():
            if is_lost(built, "failures", name, found) and self._recognisable(failure):
                found[name] = self._without_dangling_response(linked, failure)
                built.keep(f"failures/{name}")
        linked.failures = found

    def _recognisable(self, failure: FailureMode) -> bool:
        signals = failure.detected_by.signals if failure.detected_by else ()
        return all(self._checks.exists(signal) for signal in signals)

    def _without_dangling_response(self, linked: Linked, failure: FailureMode) -> FailureMode:
        """A last good failure mode, whose runbook or response may be gone meanwhile."""
        runbook = failure.runbook if failure.runbook in self._runbooks else linked.runbook
        response = failure.response
        target = self._linked.get(response.component) if response.component else linked
        gone = (response.kind is ResponseKind.SWITCH and linked.switch is None) or (
            response.kind is ResponseKind.DEGRADE and (target is None or response.mode not in target.modes)
        )
        return replace(
            failure, runbook=runbook, response=Response(ResponseKind.RUNBOOK, linked.built.id) if gone else response
        )

    def _valid_failure(self, linked: Linked, name: str, model: FailureModel, spot: Spot) -> FailureMode | None:
        built = linked.built
        detection = self._detection(built, model, spot.at("detected_by"))
        response = self._response(linked, model, spot.at("response"))
        own = self._runbook(Spot(built.report, (*spot.path, "runbook"), f"{spot.part}/runbook"), model.runbook)
        runbook = own or linked.runbook
        named = model.runbook or built.model.runbook or built.report.missing("runbook") or spot.at("runbook").is_hole
        if response is not None and response.kind is ResponseKind.RUNBOOK and not named:
            spot.warning("the response is a runbook, and there is none", "name it with `runbook`")
        if spot.part in built.report.off or response is None:
            return None
        return FailureMode(
            name,
            model.title or name,
            detection,
            response,
            runbook,
            model.rto,
            severity=model.severity,
            status_text=model.status_text or "",
        )

    def _detection(self, built: Built, model: FailureModel, spot: Spot) -> Detection | None:
        written = model.detected_by
        if written is None:
            return None
        if written.flaw:
            spot.error(written.flaw)
        if written.away:
            if not built.model.owners and built.missing("owners") is None:
                spot.error("nobody owns this component, so nobody can be away", "name people with `owners`")
            return Detection(away=True)
        signals: list[Signal] = []
        off = ""
        below = spot.at(written.under) if written.under else spot
        for index, text in enumerate(written.references):
            reference, hash_, word = text.partition("#")
            reason = self._reason(word, below.at(index)) if hash_ else None
            try:
                signals.append(replace(self._checks.find(built, reference), reason=reason))
            except SwitchedOff as why:
                off = str(why)
            except Dangling as problem:
                below.at(index).error(str(problem), problem.hint)
        if off and len(signals) < written.at_least:
            spot.switch_off(off)
        return Detection(tuple(signals), written.at_least)

    @staticmethod
    def _reason(word: str, spot: Spot) -> Reason | None:
        try:
            return Reason(word)
        except ValueError:
            spot.error(f"there is no reason {word!r}", did_you_mean(word, [reason.value for reason in Reason]))
        return None

    def _response(self, linked: Linked, model: FailureModel, spot: Spot) -> Response | None:
        """What was decided. Where it is switched off, the failure mode is still recognised, with its
        runbook.
        """
        built = linked.built
        written = model.response
        fallback = Response(ResponseKind.RUNBOOK, built.id)
        part = f"{spot.part}/response"
        if written.kind is ResponseKind.SWITCH:
            if linked.switch is not None:
                return Response(ResponseKind.SWITCH, built.id)
            reason = built.report.missing("switch")
            if reason is not None:
                built.report.off.setdefault(part, reason)
                return fallback
            spot.error("this component has no `switch`", "add it, or respond with runbook or {degrade: MODE}")
            return None
        if written.kind is ResponseKind.DEGRADE and written.mode is not None:
            return self._degrade(linked, written.mode, spot, part)
        return fallback

    def _degrade(self, linked: Linked, text: str, spot: Spot, part: str) -> Response | None:
        built = linked.built
        component, _, mode = text.rpartition("/")
        target = self._linked.get(component) if component else linked
        if component in self._lost:
            built.report.off.setdefault(part, f"{component}: {self._lost[component]}")
            return Response(ResponseKind.RUNBOOK, built.id)
        if target is not None and mode in target.modes:
            return Response(ResponseKind.DEGRADE, target.built.id, mode)
        reason = target.built.missing(f"modes/{mode}") if target is not None else None
        if reason is not None:
            built.report.off.setdefault(part, reason)
            return Response(ResponseKind.RUNBOOK, built.id)
        known = [*built.model.modes]
        known += [f"{name}/{each}" for name, other in self._linked.items() for each in other.built.model.modes]
        spot.error(f"there is no degraded mode {text!r}", did_you_mean(text, known))
        return None

    # --- what was before ------------------------------------------------------------------------------------

    def _before(self, built: Built) -> Component | None:
        return self._previous.get(built.id)


def _spot(built: Built, *path: str | int) -> Spot:
    """A place whose problem switches nothing off but itself: an entry of a list is left out."""
    return Spot(built.report, path, None)


def _says_leave(model: ModeModel, spot: Spot) -> bool:
    return model.leave is not None or spot.at("leave").is_hole
