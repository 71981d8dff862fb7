"""The parts of a component file to checks that are ready to run, and actions that are known to be sound.

`Builder` does what depends on the workspace and the environment too: defaults, templates, secrets, the options of
kinds, expectations. What parts say of each other comes later, in `link.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from opsdash.config.built import NO_NAMES, Binding, Built, Names, Sketch, Written
from opsdash.config.parts import (
    Report,
    Spot,
    keys_of,
    options_problems,
    unknown_keys,
)
from opsdash.config.problems import KeyPath, did_you_mean, nearest
from opsdash.config.schema import (
    ActionModel,
    CheckModel,
    ComponentModel,
    DefaultsModel,
    ProviderModel,
)
from opsdash.config.schema_alarms import ChannelModel
from opsdash.config.secrets import HiddenVariable, ReferenceProblem, References
from opsdash.errors import KindError
from opsdash.kinds.expectations import (
    ExpressionError,
    Judge,
    check_expression,
    check_fact,
    compile_expression,
    compile_judge,
    misspellings,
)
from opsdash.kinds.registry import (
    UnknownKindError,
    action_kind,
    action_kind_names,
    check_kind,
    check_kind_names,
    notifier_kind,
    notifier_kind_names,
)
from opsdash.model.operation import ACTIVE, ANCHORS, ActionCall, CheckSpec, Provider, Threshold
from opsdash.model.templates import fill_all

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pydantic import BaseModel

    from opsdash.config.parse import Parsed
    from opsdash.kinds.base import ActionKind, CheckKind, NotifierKind
    from opsdash.model.operation import Abilities

HEARTBEAT = "heartbeat"
"""The kind that sends nothing: the other side reports."""

_EVERY = "every"
_COMMON_KEYS = tuple(keys_of(CheckModel))

DEFAULT_EVERY = 30.0
DEFAULT_TIMEOUT = 10.0
DEFAULT_DOWN_AFTER = Threshold(3, 3)
DEFAULT_UP_AFTER = 2


@dataclass(frozen=True, slots=True)
class Place:
    """Where a check stands: in which component, where in the file, and the names that its templates may
    use. Checks of `each` can be switched off for one provider (`spot.part`) and for all (`whole`).
    """

    component: str
    provider: str | None
    name: str
    spot: Spot
    names: Names = NO_NAMES
    whole: str = ""

    @property
    def is_off(self) -> bool:
        """Whether something is wrong with the check."""
        return not self.spot.report.off.keys().isdisjoint((self.spot.part or "", self.whole))

    @property
    def id(self) -> str:
        """`component/check` or `component/provider/check`."""
        return "/".join(each for each in (self.component, self.provider, self.name) if each)


class Builder:
    """Builds components of one workspace, in one environment. `previous` are the bindings that ran so far."""

    def __init__(
        self,
        references: References,
        defaults: DefaultsModel,
        wall: float,
        previous: Mapping[str, Binding],
    ) -> None:
        self.references = references
        self._defaults = defaults
        self._wall = wall
        self._previous = previous
        self._previous_of: dict[str, dict[str, Binding]] = {}
        for check, binding in previous.items():
            self._previous_of.setdefault(binding.check.component, {})[check] = binding

    def build(self, parsed: Parsed, model: ComponentModel, taken: Iterable[str], good: Iterable[Provider]) -> Built:
        """A component's providers and checks. taken: ids of components. good: providers as they were last
        good.
        """
        report = Report(parsed.source.name, parsed.source.data, parsed.judged)
        built = Built(parsed.id, parsed, model, report)
        last_good = {provider.id: provider for provider in good}
        components = frozenset(taken)
        for provider_id in parsed.provider_order:
            self._provider(built, provider_id, components)
        for provider_id, provider in last_good.items():
            if provider_id not in built.providers and report.missing(f"providers/{provider_id}") is not None:
                self._keep_provider(built, provider)
        self._in_file_order(built)
        for name, check in model.checks.items():
            place = Place(built.id, None, name, Spot(report, ("checks", name), f"checks/{name}"))
            self._add_check(built, place, check)
        self._keep_checks(built)
        if not parsed.provider_order:
            self._each_without_providers(built)
        return built

    def _each_without_providers(self, built: Built) -> None:
        for name, check in built.model.each.items():
            spot = Spot(built.report, ("each", name), f"each/{name}")
            self.check(Place(built.id, None, name, spot, Names(open=True)), check, built.model.defaults)
        if built.model.each and built.missing("providers") is None and not built.providers:
            message = "there are no providers, so these checks never run"
            built.report.warning(("each",), message, "did you mean `checks`?")

    def anchors(self, anchors: Mapping[str, CheckModel], report: Report) -> dict[str, Binding]:
        """The checks that tell whether opsdash itself is connected."""
        built: dict[str, Binding] = {}
        for name, check in anchors.items():
            place = Place(ANCHORS, None, name, Spot(report, ("anchors", name), f"anchors/{name}"))
            binding = self.check(place, check, DefaultsModel())
            if binding is not None:
                built[place.id] = binding
        return built

    def _provider(self, built: Built, provider_id: str, components: frozenset[str]) -> None:
        model = built.model.providers.get(provider_id)
        written = self._read_provider(built, provider_id, model, components)
        provider = built.written.setdefault(provider_id, written).provider
        is_sound = f"providers/{provider_id}" not in built.report.off
        if is_sound:
            built.providers[provider_id] = provider
        own = model.checks if model is not None else {}
        names = {"id": provider_id, "as": provider.as_name, "title": provider.title, "component": built.id}
        names |= provider.values
        known = {name: value for name, value in names.items() if name not in written.unknown}
        checks: list[tuple[str, CheckModel, KeyPath]] = [
            *((name, check, ("each", name)) for name, check in built.model.each.items() if name not in own),
            *((name, check, ("providers", provider_id, "checks", name)) for name, check in own.items()),
        ]
        for name, check, path in checks:
            spot = Spot(built.report, path, f"checks/{provider_id}/{name}")
            whole = f"each/{name}" if path[0] == "each" else ""
            place = Place(built.id, provider_id, name, spot, Names(known, written.unknown, written.open), whole)
            self._add_check(built, place, check, is_wanted=is_sound)

    def _read_provider(
        self, built: Built, provider_id: str, model: ProviderModel | None, components: frozenset[str]
    ) -> Written:
        """What can be read of a provider; all that is wrong with it is reported."""
        spot = Spot(built.report, ("providers", provider_id), f"providers/{provider_id}")
        if provider_id in components or provider_id == ACTIVE:
            what = "a component too" if provider_id in components else "a word of references (active/check)"
            hint = f"a reference could mean either; rename it, and keep the mechanism's name with as: {provider_id}"
            spot.error(f"{provider_id!r} is {what}", hint)
        if model is None:
            return Written(Provider(provider_id, provider_id, provider_id), open=True)
        values: dict[str, str] = {}
        unknown = {key for key in ("title", "as") if spot.at(key).is_hole}
        for key, value in model.others.items():
            if isinstance(value, dict | list) or value is None:
                spot.at(key).error("a text or a number is needed here", "values fill {templates}")
                unknown.add(key)
            else:
                values[key] = str(value).lower() if isinstance(value, bool) else str(value)
        unknown |= {str(path[2]) for path in built.report.holes_below(spot.path)}
        as_name = self.resolved(model.as_ or provider_id, spot.at("as"))
        if as_name is None:
            unknown.add("as")
        elif "as" not in unknown:
            self._has_own_name(built, provider_id, as_name, spot.at("as"))
        provider = Provider(provider_id, model.title or provider_id, as_name or provider_id, values)
        return Written(provider, frozenset(unknown))

    def _has_own_name(self, built: Built, provider_id: str, as_name: str, spot: Spot) -> None:
        others = (each for each in built.written.values() if "as" not in each.unknown and not each.open)
        same = next((each.provider for each in others if each.provider.as_name == as_name), None)
        if same is not None and same.id != provider_id:
            message = f"{same.id} has the same name for the mechanism, {as_name!r}"
            spot.error(message, "nobody could tell them apart")

    def _keep_provider(self, built: Built, provider: Provider) -> None:
        """A provider that no longer loads goes on as it was, with its checks."""
        built.keep(f"providers/{provider.id}")
        built.providers[provider.id] = provider
        for check in provider.checks:
            if check in self._previous:
                built.bindings[check] = self._previous[check]
                built.keep(f"checks/{check.partition('/')[2]}")

    def _in_file_order(self, built: Built) -> None:
        """The first provider is the primary: one that is kept stands where it stood."""
        order = {name: number for number, name in enumerate(built.parsed.provider_order)}
        in_order = sorted(built.providers.items(), key=lambda item: order.get(item[0], len(order)))
        built.providers = dict(in_order)

    def _keep_checks(self, built: Built) -> None:
        """Checks that no longer load go on as they were."""
        for check, binding in self._previous_of.get(built.id, {}).items():
            spec = binding.check
            if check in built.bindings:
                continue
            parts = [f"checks/{check.partition('/')[2]}"]
            if spec.provider is not None:
                parts.append(f"each/{spec.name}")
            off = [part for part in parts if built.report.missing(part) is not None]
            if off and (spec.provider is None or spec.provider in built.providers):
                built.bindings[check] = binding
                for part in off:
                    built.keep(part)

    # --- a check --------------------------------------------------------------------------------------------

    def _add_check(self, built: Built, place: Place, model: CheckModel, *, is_wanted: bool = True) -> None:
        binding = self.check(place, model, built.model.defaults)
        facts = place.spot.at("facts")
        unread = frozenset(str(path[-1]) for path in built.report.holes_below(facts.path))
        built.sketches[place.id] = Sketch(_kind_of(model), model.facts, unread, open=facts.is_hole)
        if binding is not None and is_wanted:
            built.bindings[place.id] = binding

    def check(self, place: Place, model: CheckModel, defaults: DefaultsModel) -> Binding | None:
        """One check, ready to run; None with all that is wrong with it reported."""
        kind = self._check_kind(place, model)
        own = model.others if kind is None else _own_options(model, kind)
        raw, unread = self._filled(own, place)
        options = None
        if kind is None:
            self._try_references(raw, place.spot)
        else:
            if place.spot.at(_EVERY).is_hole and _EVERY in kind.options.model_fields:
                unread.add(_EVERY)
            options = self._options(kind.options, raw, place.spot, _COMMON_KEYS, unread)
        judge = self._judge(place, model, defaults, kind)
        self._plausible(place, model, defaults)
        if kind is None or options is None or judge is None or place.is_off:
            return None
        spec = self._spec(place, model, defaults, raw, judge)
        before = self._previous.get(spec.id)
        if before is not None and before.check == spec and before.options == options:
            return before
        return Binding(spec, kind, options, judge)

    def _check_kind(self, place: Place, model: CheckModel) -> CheckKind | None:
        spot = place.spot.at("kind")
        try:
            return check_kind(model.kind)
        except UnknownKindError as error:
            spot.error(str(error), did_you_mean(model.kind, check_kind_names()))
        except KindError as error:
            spot.error(str(error))
        return None

    def _filled(self, options: dict[str, Any], place: Place) -> tuple[dict[str, Any], set[str]]:
        """Options with their templates replaced by the provider's values; and those that cannot be, by key."""
        filled: dict[str, Any] = {}
        unread: set[str] = set()
        for key, value in options.items():
            lacking, is_decided = place.names.judged(value)
            for name in lacking:
                self._unknown_name(name, place.spot.at(key), place)
            if is_decided:
                filled[key] = fill_all(value, place.names.values)
            else:
                unread.add(key)
        return filled, unread

    def _unknown_name(self, name: str, spot: Spot, place: Place) -> None:
        if place.provider is None:
            hint = "only checks of providers (`each`, `providers.….checks`) have templates; write {{ for a brace"
            spot.error(f"nothing can fill {{{name}}} here", hint)
            return
        near = did_you_mean(name, place.names.values)
        message = f"the provider {place.provider} has no value {name!r} for {{{name}}}"
        spot.error(message, near or "write {{ for a brace")

    def _judge(self, place: Place, model: CheckModel, defaults: DefaultsModel, kind: CheckKind | None) -> Judge | None:
        """What judges the result; of a kind that is not known, only what holds for any kind is looked at."""
        found: list[tuple[Spot, list[ExpressionError]]] = []
        for key, sources in (("expect", model.expect), ("degraded_when", model.degraded_when)):
            for index, source in enumerate(sources):
                found.append((place.spot.at(key, index), self._wrong_in(source, kind)))
        sample = None if kind is None else kind.sample
        for name, fact in model.facts.items():
            found.append((place.spot.at("facts", name), _wrong_in_fact(fact, sample)))
        for spot, errors in found:
            for error in errors:
                tell_expression(spot, error)
        if any(errors for _, errors in found):
            return None
        return compile_judge(
            model.expect,
            model.degraded_when,
            model.facts,
            self._first("slow_after", model, defaults),
            self._first("max_latency", model, defaults),
        )

    def _wrong_in(self, source: str, kind: CheckKind | None) -> list[ExpressionError]:
        try:
            expression = compile_expression(source)
            misspelt = list(misspellings(expression, None if kind is None else kind.sample))
            if kind is not None and not misspelt:
                check_expression(expression, kind.sample, self._wall)
        except ExpressionError as error:
            return [error]
        return misspelt

    def _first(self, key: str, *models: DefaultsModel) -> Any:
        """The nearest value of a setting: the check's, the file's, the workspace's."""
        return next((value for model in (*models, self._defaults) if (value := getattr(model, key)) is not None), None)

    def _spec(
        self, place: Place, model: CheckModel, defaults: DefaultsModel, raw: Mapping[str, Any], judge: Judge
    ) -> CheckSpec:
        own = () if _EVERY in raw else (model,)
        every = self._first(_EVERY, *own, defaults) or DEFAULT_EVERY
        return CheckSpec(
            id=place.id,
            component=place.component,
            provider=place.provider,
            name=place.name,
            kind=model.kind,
            raw=raw,
            every=every,
            timeout=self._timeout(model, defaults, every),
            down_after=self._first("down_after", model, defaults) or DEFAULT_DOWN_AFTER,
            up_after=self._first("up_after", model, defaults) or DEFAULT_UP_AFTER,
            slow_after=judge.slow_after,
            max_latency=judge.max_latency,
            expect=tuple(model.expect),
            degraded_when=tuple(model.degraded_when),
            facts=model.facts,
            passive=model.kind == HEARTBEAT,
        )

    def _timeout(self, model: CheckModel, defaults: DefaultsModel, every: float) -> float:
        return self._first("timeout", model, defaults) or max(1.0, min(DEFAULT_TIMEOUT, every))

    def _plausible(self, place: Place, model: CheckModel, defaults: DefaultsModel) -> None:
        """Settings of which one makes the other pointless. Nothing is said where one of them could not be read."""
        if model.max_latency is None and model.slow_after is None:
            return
        if any(place.spot.at(key).is_hole for key in ("every", "timeout", "max_latency", "slow_after")):
            return
        timeout = self._timeout(model, defaults, self._first(_EVERY, model, defaults) or DEFAULT_EVERY)
        max_latency = self._first("max_latency", model, defaults)
        if model.max_latency is not None and model.max_latency >= timeout:
            hint = "a run that long ends with the timeout anyway"
            place.spot.at("max_latency").warning("this is not shorter than the timeout", hint)
        if model.slow_after is not None and model.slow_after >= (max_latency or timeout):
            hint = "it could never be slow without having failed"
            place.spot.at("slow_after").warning("this is not shorter than max_latency or the timeout", hint)

    # --- options --------------------------------------------------------------------------------------------

    def _options(
        self,
        model: type[Any],
        raw: Mapping[str, Any],
        spot: Spot,
        more_keys: Sequence[str] = ("kind",),
        unread: Iterable[str] = (),
    ) -> Any:
        """Options of a kind with secrets filled in; None with all problems reported. unread: keys that are there and
        could not be read: the others are judged without them.
        """
        holes = set(unread)
        resolved: dict[str, Any] = {}
        for key, value in raw.items():
            found = self.resolved(value, spot.at(key))
            if found is None and value is not None:
                holes.add(key)
            else:
                resolved[key] = found
        options = self._validated(model, resolved, spot, more_keys, holes)
        return None if holes else options

    def _validated(
        self, model: type[Any], resolved: dict[str, Any], spot: Spot, more_keys: Sequence[str], holes: set[str]
    ) -> Any:
        """Options, None with problems reported. Keys that nobody knows are added to `holes`, and the rest is judged."""
        mask = self.references.masker.mask
        try:
            return model.model_validate(resolved)
        except ValidationError as error:
            incomplete = spot.report.incomplete
            found = options_problems(
                error,
                resolved,
                model,
                more_keys=more_keys,
                holes=holes,
                is_incomplete=lambda where: (*spot.path, *where) in incomplete,
            )
            for where, message, hint in found:
                spot.at(*where).error(mask(message), mask(hint))
            unknown = unknown_keys(error, resolved)
        except Exception as error:  # noqa: BLE001 - a validator of a third party's kind may raise anything
            spot.error(mask(f"these options cannot be used: {error!r:.200}"))
            return None
        if unknown and all(nearest(key, keys_of(model)) is None for key in unknown):
            known = {key: value for key, value in resolved.items() if key not in unknown}
            self._validated(model, known, spot, more_keys, holes)
        return None

    def resolved(self, value: Any, spot: Spot) -> Any:
        """A value with its references replaced; None with all problems reported."""
        before = len(self.references.short)
        try:
            found = self.references.resolve(value)
        except ReferenceProblem:
            for path, problem in self.references.problems(value):
                if isinstance(problem, HiddenVariable):
                    spot.switch_off(problem.message)
                else:
                    spot.at(*path).error(problem.message, problem.hint)
            return None
        for reference in list(self.references.short)[before:]:
            hint = "use a longer secret, or give it a default in `vars` if it is none"
            spot.warning(f"the value of {reference} is under six characters and is not masked", hint)
        return found

    def _try_references(self, options: Mapping[str, Any], spot: Spot) -> None:
        """Of a kind that is not known, what can be judged of its options: whether their references give something."""
        for key, value in options.items():
            self.resolved(value, spot.at(key))

    # --- channels -------------------------------------------------------------------------------------------

    def channel(self, model: ChannelModel, spot: Spot) -> NotifierKind | None:
        """The kind of a channel; what is wrong with it or its options switches it off. None where nobody knows it."""
        kind: NotifierKind | None = None
        try:
            kind = notifier_kind(model.kind)
        except UnknownKindError as error:
            spot.at("kind").error(str(error), did_you_mean(model.kind, notifier_kind_names()))
        except KindError as error:
            spot.at("kind").error(str(error))
        if kind is None:
            self._try_references(model.others, spot)
            return None
        options = self._options(kind.options, model.others, spot, more_keys=keys_of(ChannelModel))
        flaw = kind.problem(model.others) if options is not None else None
        if flaw:
            said, _, hint = flaw.partition("; ")
            spot.error(said, hint)
        return kind

    # --- actions --------------------------------------------------------------------------------------------

    def action(
        self, model: ActionModel, spot: Spot, samples: Sequence[Names] = (NO_NAMES,)
    ) -> tuple[ActionCall, Abilities] | None:
        """An action and what it can do, tried with each of `samples` as its names; what is wrong with it switches off
        its part. None where nobody knows its kind.
        """
        kind = self._action_kind(model, spot)
        options = self.try_options(None if kind is None else kind.options, model.others, spot, samples)
        if kind is None:
            return None
        abilities = kind.abilities if options is None else kind.abilities_with(options)
        return ActionCall(model.kind, model.others, model.timeout), abilities

    @staticmethod
    def mechanism(model: ActionModel, component: str) -> str:
        """What an action acts on, as a text that is the same for all that act on it; "" where that cannot be told."""
        try:
            keys = action_kind(model.kind).identity
        except KindError:
            return ""
        raw = {key: model.others.get(key) for key in keys if model.others.get(key) is not None}
        text = ", ".join(f"{key}={value}" for key, value in raw.items()).replace("{component}", component)
        return f"{model.kind}: {text}" if text else ""

    def reading(self, model: ActionModel, spot: Spot) -> ActionCall | None:
        """A way to ask a mechanism what is in force; what is wrong with it switches off its part."""
        kind = self._action_kind(model, spot)
        if kind is not None and (kind.read_options is None or kind.read is None):
            message = f"the action kind {model.kind!r} cannot tell what is in force"
            spot.at("kind").error(message, "leave `read` away, or use a kind that can, such as http or pointer")
            kind = None
        self.try_options(None if kind is None else kind.read_options, model.others, spot, (NO_NAMES,))
        return None if kind is None else ActionCall(model.kind, model.others, model.timeout)

    def _action_kind(self, model: ActionModel, spot: Spot) -> ActionKind | None:
        try:
            return action_kind(model.kind)
        except UnknownKindError as error:
            spot.at("kind").error(str(error), did_you_mean(model.kind, action_kind_names()))
        except KindError as error:
            spot.at("kind").error(str(error))
        return None

    def try_options(
        self, options: type[BaseModel] | None, raw: Mapping[str, Any], spot: Spot, samples: Sequence[Names]
    ) -> Any:
        """Look at a kind's options with each of `samples` as their names; `options` None: nobody knows the kind.
        Returns them as the last sample has them, None where they cannot be used.
        """
        found: Any = None
        for names in samples:
            filled: dict[str, Any] = {}
            unread: set[str] = set()
            for key, value in raw.items():
                lacking, is_decided = names.judged(value)
                for name in lacking:
                    hint = did_you_mean(name, names.values) or "write {{ for a brace"
                    spot.at(key).error(f"nothing can fill {{{name}}} here", hint)
                if is_decided:
                    filled[key] = fill_all(value, names.values)
                else:
                    unread.add(key)
            if options is None:
                self._try_references(filled, spot)
            else:
                found = self._options(options, filled, spot, unread=unread)
        return found


def _own_options(model: CheckModel, kind: CheckKind) -> dict[str, Any]:
    """The keys that belong to the kind. `every` does where the kind has such an option: how often a heartbeat comes."""
    if _EVERY not in kind.options.model_fields or model.every is None:
        return model.others
    return {_EVERY: f"{model.every:g}s", **model.others}


def _wrong_in_fact(path: str, sample: Mapping[str, Any] | None) -> list[ExpressionError]:
    try:
        check_fact(path, sample)
    except ExpressionError as error:
        return [error]
    return []


def tell_expression(spot: Spot, error: ExpressionError) -> None:
    """Report what is wrong with an expression or path, with the nearest name where one was misspelt."""
    spot.error(str(error), error.hint or (did_you_mean(error.word, error.names) if error.word else ""))


def _kind_of(model: CheckModel) -> CheckKind | None:
    try:
        return check_kind(model.kind)
    except KindError:
        return None


def with_facts(binding: Binding, paths: Iterable[str]) -> Binding:
    """A binding that also extracts `paths`, each under its own spelling, because somebody else needs them."""
    facts = {**binding.check.facts, **{path: path for path in paths}}
    if facts == binding.check.facts:
        return binding
    return replace(binding, check=replace(binding.check, facts=facts), judge=replace(binding.judge, facts=facts))
