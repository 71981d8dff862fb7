"""What a `switch:` says: the action, the steps around it, what it is verified by, what its guards go by.

Whatever proves something has to be a *witness*: a check that cannot still be talking to what was replaced. Checks may
be named by template (`{from}/accepts-writes`); such a name has to lead to a check whichever two providers it is about.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsdash.config.build import tell_expression
from opsdash.config.built import Names, Written
from opsdash.config.linked import Linked, essential_checks
from opsdash.config.parts import Spot
from opsdash.config.problems import did_you_mean
from opsdash.config.references import CheckReferences, Dangling, SwitchedOff
from opsdash.core.guards import RULES
from opsdash.core.planning import template_names
from opsdash.kinds.expectations import ExpressionError, check_fact
from opsdash.model.operation import (
    Abilities,
    ActionCall,
    Auto,
    Component,
    Limit,
    OldOut,
    ServedBy,
    Severity,
    Step,
    SwitchSpec,
)
from opsdash.model.switch import MAIN
from opsdash.model.templates import fill, names_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from opsdash.config.build import Builder
    from opsdash.config.built import Built, Sketch
    from opsdash.config.schema import LimitModel, ServedByModel, StepModel, SwitchModel
    from opsdash.model.operation import Signal

_FACTS = "facts."
_AGAIN = "again"


class SwitchLinker:
    """Puts the switches of one operation together. `linked`, `lost` and `previous` are the linker's.

    wanted: paths that a check has to extract besides its own facts, by check.
    """

    def __init__(
        self,
        builder: Builder,
        checks: CheckReferences,
        linked: Mapping[str, Linked],
        lost: Mapping[str, str],
        previous: Mapping[str, Component],
    ) -> None:
        self.wanted: dict[str, dict[str, None]] = {}
        self._builder = builder
        self._checks = checks
        self._linked = linked
        self._lost = lost
        self._previous = previous

    def link(self, linked: Linked) -> None:
        """The switch of a component: as the file has it, or its last good version where that still fits."""
        built, model = linked.built, linked.built.model.switch
        if model is not None:
            linked.switch = self._valid(linked, model, Spot(built.report, ("switch",), "switch"))
        before = self._previous.get(built.id)
        spec = before.switch if before else None
        is_lost = linked.switch is None and built.report.missing("switch") is not None
        if is_lost and spec is not None and self._still_fits(linked, spec):
            linked.switch = spec
            built.keep("switch")
        if linked.switch is not None:
            self._want_values(linked, linked.switch)

    def _want_values(self, linked: Linked, spec: SwitchSpec) -> None:
        """Values that are read off results by their path, and that no check names among its facts."""
        wanted: list[tuple[str, str | None]] = []
        if spec.served_by is not None:
            wanted += [(spec.served_by.check, spec.served_by.value), (spec.served_by.check, spec.served_by.at)]
        if spec.lag is not None:
            for names in self._pairs(linked):
                wanted.append((fill(spec.lag.check, names), spec.lag.value))
        for check, path in wanted:
            if path is not None and not path.startswith(_FACTS):
                self.wanted.setdefault(check, {})[path] = None

    @staticmethod
    def _pairs(linked: Linked) -> list[Mapping[str, str]]:
        """The values of templates, for every pair of sound providers."""
        providers = {name: Written(provider) for name, provider in linked.built.providers.items()}
        return [each.values for each in _samples(linked.built.id, providers)]

    def _still_fits(self, linked: Linked, spec: SwitchSpec) -> bool:
        """Whether the last good switch names only what is still there, and still a witness."""
        pairs = self._pairs(linked)
        steps = (*spec.before, *spec.after)
        watched = [check for step in steps for check in (*step.verify, *step.down)]
        if spec.old_out is not None and spec.old_out.check:
            watched.append(spec.old_out.check)
        if spec.lag is not None:
            watched.append(spec.lag.check)
        raws = [spec.action.raw, *(call.raw for step in steps for call in (step.action, step.undo) if call is not None)]
        named = set().union(*(names_in(each) for each in (*raws, *watched)))
        if not all(named <= names.keys() for names in pairs) or not self.still_proved(linked, spec.verify):
            return False
        checks = [spec.served_by.check] if spec.served_by else []
        checks += [fill(check, names) for check in watched for names in pairs]
        there = all(needed in self._linked or needed in self._lost for needed in spec.needs)
        return there and all(self._checks.is_witness(check) for check in checks)

    def _valid(self, linked: Linked, model: SwitchModel, spot: Spot) -> SwitchSpec | None:
        built = linked.built
        self._count_providers(built, spot)
        samples = list(_samples(built.id, built.written)) or [Names(open=True)]
        action = self._builder.action(model.action, spot.at("action"), samples)
        read = None if model.read is None else self._builder.reading(model.read, spot.at("read"))
        served_by = None if model.served_by is None else self._served_by(built, model.served_by, spot.at("served_by"))
        old_out = self._old_out(linked, model, spot.at("old_out"))
        verify = self.witnesses(linked, spot.at("verify"), model.verify)
        before = self._steps(linked, model.before, spot.at("before"), samples, needs_undo=True)
        after = self._steps(linked, model.after, spot.at("after"), samples, needs_undo=False)
        lag = self._lag(linked, model.lag, spot.at("lag"))
        needs = self._needs(built, model.needs)
        guards = self._guards(built, model.guards)
        for name in set(model.before) & set(model.after):
            spot.at("after", name).error(f"there is a step {name!r} before the switch too", "give it another name")
        if action is None or verify is None or before is None or after is None or "switch" in built.report.off:
            return None
        call, abilities = action
        return SwitchSpec(
            action=call,
            read=read,
            served_by=served_by,
            old_out=old_out,
            verify=verify,
            settle=model.settle,
            deadline=max(model.deadline, abilities.settle),
            confirm=model.confirm,
            review_after=model.review_after,
            abilities=abilities,
            mechanism=self._builder.mechanism(model.action, built.id),
            before=before,
            after=after,
            auto=self._auto(built, model, abilities),
            hold=model.hold,
            lag=lag,
            load=model.load,
            needs=needs,
            guards=guards,
            approvals=model.approve,
            blockade=model.blockade,
            steady=model.steady,
        )

    @staticmethod
    def _auto(built: Built, model: SwitchModel, abilities: Abilities) -> Auto:
        """Whether opsdash switches by itself; what lacks for that is a problem of this key alone."""
        spot = Spot(built.report, ("switch", "auto"), "switch/auto")
        if model.auto is Auto.NEVER:
            return Auto.NEVER
        if model.read is None:
            spot.error(f"auto: {model.auto.value} needs a `read`, to know what is in force", "declare it")
        elif model.auto is Auto.ALWAYS and not abilities.cas:
            message = f"auto: always needs an action that can compare and swap, and {model.action.kind!r} cannot"
            spot.error(message, "write auto: shadow, or use a kind that can")
        elif model.auto is Auto.ALWAYS and model.approve > 1:
            spot.error("auto: always and approve: 2 contradict each other", "write auto: shadow")
        elif model.auto is Auto.ALWAYS and any(step.point_of_no_return for step in _step_models(model)):
            spot.error("auto: always cannot pass a point of no return", "write auto: shadow")
        else:
            return model.auto
        return Auto.NEVER

    # --- steps ----------------------------------------------------------------------------------------------

    def _steps(
        self, linked: Linked, models: Mapping[str, StepModel], spot: Spot, samples: Sequence[Names], *, needs_undo: bool
    ) -> tuple[Step, ...] | None:
        found = [self._step(linked, name, each, spot.at(name), samples) for name, each in models.items()]
        for name, model in models.items():
            undoable = model.undo is not None or model.point_of_no_return or spot.at(name, "undo").is_hole
            if needs_undo and not undoable:
                message = f"nothing takes {name} back when the switch then cannot be carried out"
                spot.at(name).warning(message, "declare `undo`, or say point_of_no_return: true")
        return None if None in found else tuple(step for step in found if step is not None)

    def _step(self, linked: Linked, name: str, model: StepModel, spot: Spot, samples: Sequence[Names]) -> Step | None:
        if name == MAIN:
            spot.error(f"{MAIN!r} is the name of the switch itself", "give the step another name")
            return None
        action = self._builder.action(model.action, spot.at("action"), samples)
        again = model.undo == _AGAIN
        undo: tuple[ActionCall, Abilities] | None = None
        if model.undo is not None and not isinstance(model.undo, str):
            undo = self._builder.action(model.undo, spot.at("undo"), samples)
            if undo is None:
                return None
        verify = self._by_template(linked, spot.at("verify"), model.verify)
        down = self._by_template(linked, spot.at("verify_down"), model.verify_down)
        if action is None or verify is None or down is None:
            return None
        return Step(
            name=name,
            action=action[0],
            undo=None if undo is None else undo[0],
            again=again,
            verify=verify,
            down=down,
            settle=model.settle,
            deadline=max(model.deadline, action[1].settle),
            no_return=model.point_of_no_return,
        )

    # --- what guards go by ----------------------------------------------------------------------------------

    def _lag(self, linked: Linked, model: LimitModel | None, spot: Spot) -> Limit | None:
        if model is None:
            return None
        check = self._template(linked, spot.at("check"), model.check)
        if check is None:
            return None
        for names in self._pairs(linked):
            name, sketch = self._sketch(linked.built, fill(check, names))
            self._try_path(model.value, spot.at("value"), name, sketch)
        return Limit(check, model.value, model.most)

    def _needs(self, built: Built, names: Sequence[str]) -> tuple[str, ...]:
        found: list[str] = []
        for index, name in enumerate(names):
            spot = Spot(built.report, ("switch", "needs", index), None)
            if name == built.id:
                spot.error("a component's switch cannot need the component itself", "remove it")
            elif name in self._linked or name in self._lost:
                found.append(name)
            else:
                hint = did_you_mean(name, [*self._linked, *self._lost])
                spot.error(f"there is no component {name!r}", hint)
        return tuple(found)

    @staticmethod
    def _guards(built: Built, severities: Mapping[str, Severity]) -> dict[str, Severity]:
        found: dict[str, Severity] = {}
        for rule, severity in severities.items():
            spot = Spot(built.report, ("switch", "guards", rule), None)
            known = RULES.get(rule)
            if known is None:
                choices = [name for name, each in RULES.items() if each.overridable]
                spot.error(f"there is no guard {rule!r}", did_you_mean(rule, choices))
            elif not known.overridable:
                spot.error(f"the guard {rule!r} always blocks", "remove the line")
            else:
                found[rule] = severity
        return found

    # --- what can prove something ---------------------------------------------------------------------------

    def witnesses(self, linked: Linked, spot: Spot, texts: Sequence[str]) -> tuple[str, ...] | None:
        """What has to pass afterwards, by reference; where nothing is named, essential features stand for it."""
        checks = self._checks.several(linked.built, spot, texts)
        for index, check in enumerate(checks or ()):
            self._checks.witness(spot.at(index), check)
        if not texts:
            for feature, check in essential_checks(linked):
                self._checks.witness(spot, check, f", and without `verify` it has to prove the feature {feature}")
        return checks

    def still_proved(self, linked: Linked, verify: Sequence[str]) -> bool:
        """Whether the last good `verify` names only what is still there, and still a witness."""
        return all(
            self._checks.is_witness(check) for check in verify or (check for _, check in essential_checks(linked))
        )

    def _by_template(self, linked: Linked, spot: Spot, texts: Sequence[str]) -> tuple[str, ...] | None:
        """Checks by templates; None where one of them leads nowhere, or is no witness."""
        found = [self._template(linked, spot.at(index), text) for index, text in enumerate(texts)]
        return None if None in found else tuple(each for each in found if each is not None)

    def _template(self, linked: Linked, spot: Spot, text: str) -> str | None:
        """A template with the component in front: `email/{from}/accepts-writes`; None where it leads nowhere."""
        built = linked.built
        found: Signal | None = None
        for names in _samples(built.id, built.written):
            unknown, is_decided = names.judged(text)
            if unknown:
                spot.error(f"nothing can fill {{{unknown[0]}}} here", did_you_mean(unknown[0], names.values))
                return None
            if not is_decided:
                continue
            try:
                found = self._checks.find(built, fill(text, names.values))
            except SwitchedOff as reason:
                spot.switch_off(str(reason))
                return None
            except Dangling as problem:
                spot.error(str(problem), problem.hint)
                return None
            if not all(self._checks.witness(spot, check) for check in self._checks.meant(found)):
                return None
        if found is None:
            return None
        whole = text.count("/") == 2 or found.component != built.id
        return text if whole else f"{built.id}/{text}"

    # --- facts ----------------------------------------------------------------------------------------------

    def _count_providers(self, built: Built, spot: Spot) -> None:
        declared = len(built.written)
        hidden = built.missing("providers")
        if declared < 2 and hidden is not None:
            spot.switch_off(hidden)
        elif declared < 2:
            hint = "add a backup to `providers`, or remove `switch`"
            spot.error(f"a switch needs two providers, and there {_are(declared)}", hint)

    def _served_by(self, built: Built, model: ServedByModel, spot: Spot) -> ServedBy | None:
        check = self._checks.one(built, spot.at("check"), model.check)
        name, sketch = self._sketch(built, check or model.check)
        for key, path in (("value", model.value), ("at", model.at)):
            if path is not None:
                self._try_path(path, spot.at(key), name, sketch)
        if check is None or not self._checks.witness(spot.at("check"), check):
            return None
        return ServedBy(check, model.value, model.at, model.times)

    def _sketch(self, built: Built, reference: str) -> tuple[str, Sketch | None]:
        """The id of a check, by its id or reference, and what is known of it, be it switched off or not."""
        component = reference.partition("/")[0]
        others = self._linked[component].built.sketches if component in self._linked else {}
        own = f"{built.id}/{reference}"
        return (reference, others[reference]) if reference in others else (own, built.sketches.get(own))

    @staticmethod
    def _try_path(path: str, spot: Spot, check: str, sketch: Sketch | None) -> None:
        """Whether a check's result can have a value at `path`; where the check is not known, whether any can."""
        name = path.removeprefix(_FACTS) if path.startswith(_FACTS) else None
        if name is not None and sketch is not None:
            if name not in sketch.facts and name not in sketch.unread and not sketch.open:
                hint = did_you_mean(name, sketch.facts) or f"add it to `facts` of {check}"
                spot.error(f"the check {check} has no fact {name!r}", hint)
            return
        kind = sketch.kind if sketch is not None and name is None else None
        try:
            check_fact(path, None if kind is None else kind.sample)
        except ExpressionError as error:
            tell_expression(spot, error)

    def _old_out(self, linked: Linked, model: SwitchModel, spot: Spot) -> OldOut | None:
        written = model.old_out
        if written == "stateless":
            return OldOut(stateless=True)
        if written == "mechanism":
            if model.read is None:
                spot.error("old_out: mechanism is what `read` sees, and there is no `read`", "declare `read`")
                return None
            return OldOut(stateless=False, mechanism=True)
        if written is None or isinstance(written, str):
            return None
        check = self._template(linked, spot.at("check"), written.check)
        return None if check is None else OldOut(stateless=False, check=check, status=written.is_)


def _step_models(model: SwitchModel) -> tuple[StepModel, ...]:
    return (*model.before.values(), *model.after.values())


def _samples(component_id: str, written: Mapping[str, Written]) -> Iterator[Names]:
    """The names that an action's templates may use, once for each provider that could be switched to."""
    component = Component(component_id, component_id)
    for target in written.values():
        source = next((each for each in written.values() if each is not target), target)
        names = template_names(component, source.provider, target.provider)
        ends = (("from", source), ("to", target))
        unknown = frozenset(f"{word}.{key}" for word, end in ends for key in end.unknown)
        known = {name: value for name, value in names.items() if name not in unknown}
        yield Names(known, unknown, open=source.open or target.open)


def _are(count: int) -> str:
    return "are none" if count == 0 else "is one" if count == 1 else f"are {count}"
