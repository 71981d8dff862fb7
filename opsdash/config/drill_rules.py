"""What makes a drill one that may be run: the rules of drills/*.yaml.

Whatever breaks something on purpose has to say how that ends: what takes it back (`undo`), what shows that it is gone
(`verify_undone`), and when that happens in any case (`limit`). All that a drill names has to be there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opsdash.config.built import Names
from opsdash.config.drill_faults import FaultReader
from opsdash.config.parts import DRILL, Report, Spot
from opsdash.config.problems import did_you_mean, nearest
from opsdash.config.references import CheckReferences, Dangling, SwitchedOff, runbook_named
from opsdash.config.schema import ActionModel
from opsdash.config.schema_drills import MOST_A_SECOND, DrillModel, LoadModel
from opsdash.config.schema_fields import NAME_PATTERN
from opsdash.model.cron import cron_flaw
from opsdash.model.drill import INJECTS, Drill, Expect, Injection, Level, Load, Schedule, StopIf
from opsdash.model.operation import ResponseKind
from opsdash.model.status import Status
from opsdash.model.templates import fill_all
from opsdash.model.units import format_duration, parse_duration
from opsdash.model.week import parse_week_time
from opsdash.model.window import WindowKind

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from opsdash.config.build import Builder
    from opsdash.config.built import Built
    from opsdash.model.operation import Component, FailureMode, Person
    from opsdash.model.window import WindowSpec

DEFAULT_LIMIT = 600.0
"""Seconds, of a drill that injects nothing."""

_NAME = re.compile(NAME_PATTERN)
_STOP = re.compile(r"(\S+)\s+(?:is\s+)?(\w+)(?:\s+for\s+(\S+))?")
_BAD = (Status.DEGRADED, Status.DOWN, Status.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Ground:
    """What a drill's references lead to: the rest of the workspace.

    lost: components whose files cannot be used at all, with the reason. unreadable: runbooks that may not be read.
    workspace: what is known of opsdash.yaml.
    """

    builder: Builder
    built: Mapping[str, Built]
    lost: Mapping[str, str]
    components: Mapping[str, Component]
    people: Mapping[str, Person]
    runbooks: Collection[str]
    unreadable: Mapping[str, str]
    windows: Mapping[str, WindowSpec]
    workspace: Report
    zone: str


class DrillReader:
    """Reads one drill; what is wrong with it goes to `report`, and switches it off."""

    def __init__(self, name: str, model: DrillModel, report: Report, ground: Ground, lists: frozenset[str]) -> None:
        self._name = name
        self._model = model
        self._report = report
        self._ground = ground
        self._lists = lists
        self._spot = Spot(report, (), DRILL)
        self._checks = CheckReferences(ground.built, ground.lost)

    def read(self) -> Drill:
        """The drill, as far as it can be understood."""
        model = self._model
        level = self._level()
        component = self._component()
        failure = None if component is None else self._failure(component, level)
        runbook = self._runbook(component, failure, level)
        if component is not None:
            self._leads(component, failure, level)
        self._people()
        injections = self._injections(component, failure, level)
        self._safety()
        self._limit(failure)
        return Drill(
            id=self._name,
            title=model.title or self._name,
            component=component.id if component else self._component_name(),
            failure_mode=failure.id if failure else "",
            level=level or Level.TABLETOP,
            owner=model.owner or "",
            runbook=runbook,
            to=model.to,
            responder=model.respond,
            schedule=self._schedule(level),
            absent=model.absent,
            surprise=model.surprise,
            expect=self._expect(component, runbook),
            steady=self._several(component, "steady"),
            injections=injections,
            verify_undone=self._witnesses(component),
            limit=model.limit or DEFAULT_LIMIT,
            hold=model.hold,
            stop_if=self._stops(component),
            approvals=model.approvals,
            valid_for=model.valid_for,
        )

    def _is_told(self, key: str) -> bool:
        """Whether a key of the file that seems to be missing is there, with a mistake that is told where it is."""
        return self._report.missing(key) is not None or self._report.is_hole((key,))

    def _level(self) -> Level | None:
        if self._model.level is None and not self._is_told("level"):
            levels = ", ".join(Level)
            self._spot.at("level").error("the key is missing", f"write what the drill touches: {levels}")
        return self._model.level

    # --- what fails -----------------------------------------------------------------------------------------

    def _component_name(self) -> str:
        return self._model.component or (self._model.failure_mode or "").rpartition("/")[0]

    def _component(self) -> Component | None:
        model, ground = self._model, self._ground
        named = (model.failure_mode or "").rpartition("/")[0]
        name = self._component_name()
        spot = self._spot.at("component" if model.component else "failure_mode")
        if named and model.component and named != model.component:
            spot = self._spot.at("failure_mode")
            spot.error(f"it is one of {named}, and the component is {model.component}", "name the component once")
            return None
        if not name:
            if not self._is_told("component") and not self._is_told("failure_mode"):
                hint = "name what fails, or write failure_mode: COMPONENT/FAILURE_MODE"
                self._spot.at("component").error("the key is missing", hint)
            return None
        if name in ground.lost:
            spot.switch_off(f"{name}: {ground.lost[name]}")
        elif name not in ground.components:
            spot.error(f"there is no component {name!r:.80}", did_you_mean(name, ground.components))
        else:
            return ground.components[name]
        return None

    def _failure(self, component: Component, level: Level | None) -> FailureMode | None:
        text = self._model.failure_mode
        spot = self._spot.at("failure_mode")
        if text is None:
            if level is not Level.SWITCH and level is not None and not self._is_told("failure_mode"):
                hint = did_you_mean("", component.failures) or f"write the register of {component.id} first"
                spot.error("the key is missing: which failure is drilled?", hint)
            return None
        prefix, slash, name = text.rpartition("/")
        if name in component.failures:
            return component.failures[name]
        self._missing(component, f"failures/{name}", f"there is no failure mode {text!r:.80}", spot, (
            text, [f"{prefix}{slash}{each}" for each in component.failures]
        ))  # fmt: skip
        return None

    def _missing(
        self, component: Component, part: str, message: str, spot: Spot, names: tuple[str, Collection[str]]
    ) -> None:
        """A part of a component is not there: it is switched off by a mistake of its own, or nobody wrote it."""
        reason = self._ground.built[component.id].missing(part)
        if reason is not None:
            spot.switch_off(f"{component.id}: {reason}")
        else:
            spot.error(message, did_you_mean(*names))

    def _leads(self, component: Component, failure: FailureMode | None, level: Level | None) -> None:
        """Whether there is a way to where it leads."""
        to, spot = self._model.to, self._spot.at("to")
        if to is not None:
            backups = [each.id for each in component.providers[1:]]
            if to == component.primary:
                spot.error(f"{to} is the primary", did_you_mean(to, [*backups, *component.modes]) or "name a backup")
            elif to in backups:
                self._has_switch(component, spot)
            elif to not in component.modes:
                part = f"providers/{to}"
                part = part if self._ground.built[component.id].missing(part) is not None else f"modes/{to}"
                message = f"there is no provider or degraded mode {to!r:.80}"
                self._missing(component, part, message, spot, (to, [*backups, *component.modes]))
        elif level is Level.SWITCH and not self._is_told("to") and not self._is_told("failure_mode"):
            self._responds(component, failure)

    def _responds(self, component: Component, failure: FailureMode | None) -> None:
        """A planned switch without `to` goes where the response of its failure mode leads, or to the first backup."""
        spot = self._spot.at("level")
        if failure is None:
            self._has_switch(component, spot)
        elif failure.response.kind is ResponseKind.RUNBOOK:
            reason = self._ground.built[component.id].report.off.get(f"failures/{failure.id}/response")
            if reason is not None:
                spot.switch_off(f"{component.id}: {reason}")
            else:
                message = f"the response to {failure.id} is a runbook, which leads to no provider or degraded mode"
                spot.error(message, "name one with `to`, or choose another level")

    def _has_switch(self, component: Component, spot: Spot) -> None:
        if component.switch is None:
            self._missing(component, "switch", f"{component.id} has no `switch`", spot, ("", ()))

    def _runbook(self, component: Component | None, failure: FailureMode | None, level: Level | None) -> str | None:
        model = self._model
        spot = self._spot.at("runbook")
        own = runbook_named(spot, model.runbook, self._ground.runbooks, self._ground.unreadable)
        inherited = (failure.runbook if failure else None) or (component.runbook if component else None)
        if component is None or own or model.runbook or inherited or self._is_told("runbook"):
            return own or inherited
        wanted = {"level": level is Level.TABLETOP, "expect": model.expect.runbook}
        for key, is_wanted in wanted.items():
            if is_wanted:
                reason = self._ground.built[component.id].missing("runbook")
                place = self._spot.at("expect", "runbook") if key == "expect" else self._spot.at(key)
                if reason is not None:
                    place.switch_off(f"{component.id}: {reason}")
                else:
                    place.error("a runbook is gone through, and there is none", "name it with `runbook`")
        return None

    # --- who ------------------------------------------------------------------------------------------------

    def _people(self) -> None:
        model, people = self._model, self._ground.people
        owner = self._spot.at("owner")
        if not model.owner:
            if not self._is_told("owner"):
                hint = "name the person of opsdash.yaml who sees to it that it happens"
                owner.error("the key is missing", hint)
        else:
            self._person(model.owner, owner)
        for index, name in enumerate(model.absent):
            self._person(name, self._spot.at("absent", index))
        left = [name for name in people if name not in model.absent]
        if model.absent and people and not left:
            self._spot.at("absent").error("everybody is absent", "nobody could follow the runbook: leave somebody")
        elif model.owner and model.owner in model.absent:
            owner.error(f"{model.owner} is absent, and sees to it that it happens", "name another owner")
        elif len(left) < model.approvals:
            told = f"it takes {model.approvals} people to begin it, and there is {', '.join(left) or 'nobody'}"
            self._spot.at("approvals").error(told, "leave it at 1, or list more people in opsdash.yaml")

    def _person(self, name: str, spot: Spot) -> None:
        if name in self._ground.people:
            return
        reason = self._ground.workspace.missing(f"people/{name}")
        if reason is not None:
            spot.switch_off(f"opsdash.yaml: {reason}")
        else:
            hint = did_you_mean(name, self._ground.people) or "people are listed in opsdash.yaml"
            spot.error(f"there is no person {name!r:.80}", hint)

    # --- what is broken, and how that ends -----------------------------------------------------------------

    def _injections(
        self, component: Component | None, failure: FailureMode | None, level: Level | None
    ) -> tuple[Injection, ...]:
        model, ground = self._model, self._ground
        if level is not None and level not in INJECTS:
            key = next((key for key in ("inject", "undo") if getattr(model, key)), None)
            if key is not None:
                hint = f"remove it, or choose {', '.join(each for each in Level if each in INJECTS)}"
                self._spot.at(key).error(f"a {level} drill breaks nothing", hint)
            return ()
        if level in INJECTS and not model.inject and not self._is_told("inject"):
            hint = "write inject: {KIND: {…}}, or choose tabletop or switch"
            self._spot.at("level").error(f"a {level} drill breaks something, and nothing says what", hint)
        if component is None:
            return ()
        built = ground.built[component.id]
        return FaultReader(self._name, built, failure, level, ground, self._spot, self._lists).read(model)

    def _safety(self) -> None:
        """What breaks something ends: by its limit in any case, and somebody sees that it is gone."""
        if not self._model.inject:
            return
        spot = self._spot.at("inject")
        if not self._model.verify_undone and not self._is_told("verify_undone"):
            spot.error(
                "nothing shows that the fault is gone",
                "name checks that must be ok again: `verify_undone`",
            )
        if self._model.limit is None and not self._is_told("limit"):
            spot.error("nothing ends the fault when nobody does", "write how long it may last: limit: 10m")

    def _limit(self, failure: FailureMode | None) -> None:
        model = self._model
        limit, recover = model.limit, model.expect.recover
        if limit is None or not model.inject or self._report.is_hole(("expect", "recover")):
            return
        shown = format_duration(limit)
        if recover is not None and limit < recover:
            message = f"the fault is taken back after {shown}, and recovery may take {format_duration(recover)}"
            self._spot.at("limit").error(message, "that shows nothing: give it more time, or expect it sooner")
        elif recover is None and failure is not None and failure.rto is not None and limit < failure.rto:
            rto = format_duration(failure.rto)
            message = f"the fault is taken back after {shown}, and the failure mode's rto is {rto}"
            self._spot.at("limit").warning(message, "give it more time, or say expect: {recover: …}")
        load = model.expect.load
        if load is not None and load.over is not None and limit < load.over:
            message = f"it goes on for {format_duration(load.over)}, and the fault is taken back after {shown}"
            self._spot.at("expect", "load", "over").error(message, "load that is carried afterwards shows nothing")

    def _several(self, component: Component | None, key: str) -> tuple[str, ...]:
        """Checks by reference. They mean the same all the time, so `active/…` is none."""
        if component is None:
            return ()
        written = getattr(self._model, key)
        return self._checks.several(self._ground.built[component.id], self._spot.at(key), written) or ()

    def _witnesses(self, component: Component | None) -> tuple[str, ...]:
        found = self._several(component, "verify_undone")
        for index, check in enumerate(found):
            if not self._checks.is_witness(check):
                message = f"{check} keeps its connection, which the fault may never have touched"
                hint = "give it connection: new, or name another check"
                self._spot.at("verify_undone", index).error(message, hint)
        return found

    def _stops(self, component: Component | None) -> tuple[StopIf, ...]:
        found = []
        for index, text in enumerate(self._model.stop_if):
            stop = self._stop(text, component, self._spot.at("stop_if", index))
            if stop is not None:
                found.append(stop)
        return tuple(found)

    def _stop(self, text: str, component: Component | None, spot: Spot) -> StopIf | None:
        match = _STOP.fullmatch(text.strip())
        if match is None or match[2] not in _BAD:
            words = ", ".join(_BAD)
            spot.error(f"{text!r:.80} is no condition", f"write shop/checkout down for 2m; a status is one of {words}")
            return None
        try:
            lasts = parse_duration(match[3]) if match[3] else 0.0
        except ValueError as error:
            spot.error(*_said(error))
            return None
        what, status = match[1], Status(match[2])
        if what in self._ground.components:
            return StopIf(what, status, lasts)
        if component is None:
            return None
        try:
            check = self._checks.find(self._ground.built[component.id], what)
        except SwitchedOff as why:
            spot.switch_off(str(why))
        except Dangling as problem:
            near = nearest(what, list(self._ground.components))
            hint = f'did you mean "{near}"?' if near else problem.hint
            spot.error(f"there is no component or check {what!r:.80}", hint)
        else:
            return StopIf(check.component, status, lasts, check=str(check))
        return None

    # --- what has to come true ------------------------------------------------------------------------------

    def _expect(self, component: Component | None, runbook: str | None) -> Expect:
        model = self._model.expect
        for index, name in enumerate(model.unaffected):
            spot = self._spot.at("expect", "unaffected", index)
            if component is not None and name == component.id:
                spot.error(f"{name} is what fails", "name others, which must not notice")
            elif name not in self._ground.components and name not in self._ground.lost:
                spot.error(f"there is no component {name!r:.80}", did_you_mean(name, self._ground.components))
        return Expect(
            detect=model.detect,
            acknowledge=model.acknowledge,
            recover=model.recover,
            unaffected=model.unaffected,
            mode=self._mode(component, model.mode),
            alarm=model.alarm,
            runbook=model.runbook and runbook is not None,
            load=None if model.load is None else self._load(model.load, self._spot.at("expect", "load")),
        )

    def _mode(self, component: Component | None, text: str | None) -> str | None:
        """The degraded mode, with its component where that is another one."""
        if text is None or component is None:
            return None
        spot = self._spot.at("expect", "mode")
        name, _, mode = text.rpartition("/")
        there = self._ground.components.get(name) if name else component
        if name in self._ground.lost:
            spot.switch_off(f"{name}: {self._ground.lost[name]}")
        elif there is None:
            spot.error(f"there is no component {name!r:.80}", did_you_mean(name, self._ground.components))
        elif mode in there.modes:
            return mode if there.id == component.id else f"{there.id}/{mode}"
        else:
            known = [f"{name}/{each}" if name else each for each in there.modes]
            self._missing(there, f"modes/{mode}", f"there is no degraded mode {text!r:.80}", spot, (text, known))
        return None

    def _load(self, model: LoadModel, spot: Spot) -> Load | None:
        written = {key: value for key in ("command", "http") if (value := getattr(model, key)) is not None}
        if len(written) != 1:
            if not any(spot.at(key).is_hole for key in ("command", "http")):
                spot.error("a load is one command or one http", "write load: {http: {url: …}, times: 50, over: 30s}")
            return None
        is_bounded = True
        for key, example in (("times", "times: 50"), ("over", "over: 30s")):
            if getattr(model, key) is None:
                is_bounded = False
                if not spot.at(key).is_hole:
                    spot.error(f"a load without `{key}` has no bounds", f"write {example}")
        ((kind, options),) = written.items()
        names = Names({"drill": self._name, "component": self._component_name()})
        action = ActionModel.model_validate({"kind": kind, **{key: options[key] for key in options if key != "kind"}})
        self._ground.builder.action(action, spot.at(kind), [names])
        if not is_bounded or model.times is None or model.over is None:
            return None
        if model.times > MOST_A_SECOND * model.over:
            message = f"{model.times} times in {format_duration(model.over)} is more than {MOST_A_SECOND:.0f} a second"
            spot.at("times").error(message, "a load shows what a backup carries; give it more time")
        if model.failures >= model.times:
            spot.at("failures").error("all of them may fail", "nothing would be shown by it: allow fewer")
        return Load(kind, fill_all(action.others, names.values), model.times, model.over, model.failures)

    # --- when -----------------------------------------------------------------------------------------------

    def _schedule(self, level: Level | None) -> Schedule | None:
        model, spot = self._model.schedule, self._spot.at("schedule")
        is_open = (model is None or not model.windows) and not spot.at("windows").is_hole
        if level is Level.REAL and is_open and not self._is_told("schedule"):
            hint = "write schedule: {windows: [tue-thu 10:00-15:00]}"
            self._spot.at("level").error("a real drill needs a window, and there is none", hint)
        comes_due = model is not None and (model.cron is not None or model.every is not None)
        says_when = comes_due or (model is not None and not model.windows)
        if self._model.surprise is not None and not says_when and not self._is_told("schedule"):
            message = "it is never due, so it cannot come as a surprise"
            self._spot.at("surprise").error(message, "add schedule: {every: 90d}")
        if model is None:
            return None
        if model.cron is not None:
            flaw = cron_flaw(model.cron)
            if flaw:
                spot.at("cron").error(*_said(flaw))
            if model.every is not None:
                spot.at("every").error("`cron` and `every` both say when it is due", "remove one of them")
        elif not comes_due and not model.windows and not any(self._report.holes_below(spot.path)):
            spot.error("it does not say when", "write {every: 90d}, {cron: …} or {windows: …}")
        self._every(model.every, spot.at("every"))
        for index, text in enumerate(model.windows):
            self._window(text, spot.at("windows", index))
        return Schedule(model.cron or "", model.every, self._ground.zone, model.windows, model.remind)

    def _every(self, every: float | None, spot: Spot) -> None:
        model = self._model
        if every is None:
            return
        if every > model.valid_for:
            message = f"its evidence expires after {format_duration(model.valid_for)}, before it is due again"
            spot.warning(message, "drill it more often, or say valid_for: …")
        if model.surprise is not None and model.surprise >= every:
            self._spot.at("surprise").error("this is not shorter than `every`", "it would be due again before it came")

    def _window(self, text: str, spot: Spot) -> None:
        if not _NAME.fullmatch(text):
            try:
                parse_week_time(text)
            except ValueError as error:
                spot.error(*_said(error))
            return
        window = self._ground.windows.get(text)
        if window is None:
            reason = self._ground.workspace.missing(f"windows/{text}")
            if reason is not None:
                spot.switch_off(f"opsdash.yaml: {reason}")
                return
            hint = (
                did_you_mean(text, self._ground.windows) or "declare it in opsdash.yaml, or write tue-thu 10:00-15:00"
            )
            spot.error(f"there is no window {text!r:.80}", hint)
        elif window.kind is WindowKind.FREEZE:
            spot.error(f"{text} is a freeze, in which no drill is begun", "name another window")


def _said(flaw: ValueError | str) -> tuple[str, str]:
    """A flaw and what would be right, which stands behind a semicolon."""
    said, _, hint = str(flaw).partition("; ")
    return said, hint
