"""What a drill injects, and how that is taken back: `inject` and `undo` of drills/*.yaml."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from opsdash.config.built import Names
from opsdash.config.problems import did_you_mean, nearest
from opsdash.config.references import CheckReferences, Dangling, SwitchedOff
from opsdash.errors import KindError
from opsdash.kinds.registry import UnknownKindError, injection_kind, injection_kind_names
from opsdash.model.drill import INJECTS, Injection, Level
from opsdash.model.operation import ACTIVE
from opsdash.model.templates import fill_all

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from opsdash.config.built import Built
    from opsdash.config.drill_rules import Ground
    from opsdash.config.parts import Spot
    from opsdash.config.schema_drills import DrillModel, FaultModel, UndoModel
    from opsdash.kinds.injecting import InjectionKind
    from opsdash.model.operation import FailureMode


@dataclass(frozen=True, slots=True)
class _Undo:
    """What takes a fault back, as it stands in the file."""

    kind: str
    model: UndoModel
    spot: Spot


@dataclass(frozen=True, slots=True)
class FaultReader:
    """The faults of one drill of a component. level: None where it is not known. spot: the file. lists: the keys that
    were written as a list.
    """

    drill: str
    built: Built
    failure: FailureMode | None
    level: Level | None
    ground: Ground
    spot: Spot
    lists: frozenset[str]
    _checks: CheckReferences = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_checks", CheckReferences(self.ground.built, self.ground.lost))

    def read(self, model: DrillModel) -> tuple[Injection, ...]:
        """Every fault that can be injected; all that is wrong with the others is reported."""
        undos = [
            _Undo(kind, undo, self._place("undo", number, kind))
            for number, entry in enumerate(model.undo)
            for kind, undo in entry.items()
        ]
        written = [name for entry in model.inject for name in entry]
        found: list[Injection] = []
        is_told = self._undo_is_told() or any(each.kind not in written for each in undos)
        for number, entry in enumerate(model.inject):
            for name, fault in entry.items():
                own = next((each for each in undos if each.kind == name), None)
                if own is not None:
                    undos.remove(own)
                found += self._fault(name, fault, self._place("inject", number, name), own, undo_is_told=is_told)
        if all(name in injection_kind_names() for name in written):
            self._no_fault_of(undos, written)
        return tuple(found)

    @staticmethod
    def _no_fault_of(undos: list[_Undo], written: list[str]) -> None:
        for left in undos:
            hint = "each takes back one fault of its kind" if left.kind in written else did_you_mean(left.kind, written)
            left.spot.error(f"there is no fault that this {left.kind} takes back", hint)

    def _place(self, key: str, number: int, kind: str) -> Spot:
        return self.spot.at(key, number, kind) if key in self.lists else self.spot.at(key, kind)

    def _fault(
        self, name: str, model: FaultModel, spot: Spot, undo: _Undo | None, *, undo_is_told: bool
    ) -> Iterator[Injection]:
        kind = _kind(name, spot)
        options = None if kind is None else kind.options
        target, provider = self._target(model.target, spot.at("target"))
        is_open = (model.target is not None and not target) or spot.at("target").is_hole
        names = self._names(provider, is_open=is_open)
        builder = self.ground.builder
        builder.try_options(options, model.others, spot, [names])
        back: Mapping[str, Any] | None = None
        if undo is not None:
            builder.try_options(options, undo.model.others, undo.spot, [names])
            back = fill_all(undo.model.others, names.values)
        if kind is None:
            return
        if undo is None and not kind.knows_way_back and not undo_is_told:
            hint = f"it does not know its own way back: write undo: {{{name}: {{…}}}}"
            spot.error(f"nothing takes this {name} back", hint)
        self._fits(kind, spot)
        raw = fill_all(model.others, names.values)
        for each in self._detecting(spot) if kind.self_undoing and not (target or is_open) else [target]:
            yield Injection(name, raw, back, each)

    def _undo_is_told(self) -> bool:
        """Whether something is wrong with `undo`, so that it cannot be said what it lacks."""
        report = self.spot.report
        return report.missing("undo") is not None or any(report.holes_below(("undo",)))

    def _fits(self, kind: InjectionKind, spot: Spot) -> None:
        """Whether a kind touches what the level says: evidence must not claim more than was shown."""
        if self.level is Level.SYNTHETIC and not kind.self_undoing:
            spot.error(f"{kind.name} touches more than opsdash", "say level: contained or level: real, or use pretend")
        elif self.level in INJECTS and self.level is not Level.SYNTHETIC and kind.self_undoing:
            hint = f"say level: synthetic, or inject what a {self.level} drill breaks"
            spot.error(f"{kind.name} breaks nothing", hint)

    def _names(self, provider: str, *, is_open: bool) -> Names:
        """The values that templates may name: of the provider that fails, where a certain one does. is_open: nobody
        knows which one was meant.
        """
        names = {"drill": self.drill, "component": self.built.id}
        component, _, name = provider.partition("/")
        there = self.ground.built.get(component)
        written = None if there is None else there.written.get(name)
        if written is None:
            return Names(names, open=is_open)
        values = {**names, "id": name, "as": written.provider.as_name, "title": written.provider.title}
        values |= written.provider.values
        known = {key: value for key, value in values.items() if key not in written.unknown}
        return Names(known, written.unknown, written.open)

    # --- what fails -----------------------------------------------------------------------------------------

    def _target(self, text: str | None, spot: Spot) -> tuple[str, str]:
        """What fails, as `component[/provider[/check]]`; and the provider that this is or belongs to, as
        `component/provider`, "" where it is no certain one.
        """
        if text is None:
            return "", ""
        found = self._check(text)
        if found is None:
            component, _, provider = text.rpartition("/")
            found = self._provider(component or self.built.id, provider) or self._component(text, spot)
        if found is None:
            return "", ""
        component, _, rest = found.partition("/")
        provider = rest.partition("/")[0]
        is_certain = provider and component in self.ground.built and provider in self.ground.built[component].written
        return found, f"{component}/{provider}" if is_certain else ""

    def _check(self, text: str) -> str | None:
        """The check of that reference, None where it is none that can be used."""
        try:
            return str(self._checks.find(self.built, text))
        except (Dangling, SwitchedOff):
            return None

    def _provider(self, component: str, provider: str) -> str | None:
        found = self.ground.built.get(component)
        if found is None or (provider not in found.providers and not (provider == ACTIVE and found.providers)):
            return None
        return f"{component}/{provider}"

    def _component(self, text: str, spot: Spot) -> str | None:
        """The component of that name; what is wrong with a target that is none is told here."""
        if text in self.ground.built:
            return text
        if text in self.ground.lost:
            spot.switch_off(f"{text}: {self.ground.lost[text]}")
            return None
        component, _, provider = text.rpartition("/")
        there = self.ground.built.get(component or self.built.id)
        reason = None if there is None else there.missing(f"providers/{provider}")
        if reason is not None:
            spot.switch_off(reason)
            return None
        try:
            self._checks.find(self.built, text)
        except SwitchedOff as why:
            spot.switch_off(str(why))
        except Dangling as problem:
            near = nearest(text, [ACTIVE, *self.built.providers, *self.ground.built])
            hint = f'did you mean "{near}"?' if near else problem.hint
            spot.error(f"there is no check, provider or component {text!r:.80}", hint)
        return None

    def _detecting(self, spot: Spot) -> list[str]:
        """The checks by which the failure mode is detected: what is pretended where nothing is named."""
        detection = None if self.failure is None else self.failure.detected_by
        if detection is None or not detection.signals:
            if self.failure is not None:
                spot.error("nothing says what fails", "name it: target: active")
            return []
        return list(
            dict.fromkeys(
                "/".join(filter(None, (each.component, each.provider, each.check))) for each in detection.signals
            )
        )


def _kind(name: str, spot: Spot) -> InjectionKind | None:
    try:
        return injection_kind(name)
    except UnknownKindError as error:
        spot.error(str(error), did_you_mean(name, injection_kind_names()))
    except KindError as error:
        spot.error(str(error))
    return None
