"""One component file to checks that are ready to run, and actions that are known to be sound.

`parse` depends on the file's bytes alone, so its result is kept until the file changes. `Builder` does what
depends on the workspace and the environment too: defaults, templates, secrets, the options of kinds,
expectations. What parts say of each other comes later, in `link.py`.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from opsdash.config import yaml
from opsdash.config.parts import Report, Spot, component_part, keys_of, options_problems, valid_parts
from opsdash.config.problems import KeyPath, Problem, did_you_mean
from opsdash.config.schema import (
    LATER,
    NAME_PATTERN,
    ActionModel,
    CheckModel,
    ComponentModel,
    DefaultsModel,
    ProviderModel,
)
from opsdash.config.secrets import ReferenceProblem, References
from opsdash.errors import KindError
from opsdash.kinds.expectations import (
    ExpressionError,
    Judge,
    check_expression,
    check_fact,
    compile_expression,
    compile_judge,
)
from opsdash.kinds.registry import (
    UnknownKindError,
    action_kind,
    action_kind_names,
    check_kind,
    check_kind_names,
)
from opsdash.model.operation import ACTIVE, ANCHORS, ActionCall, CheckSpec, Provider, Threshold
from opsdash.model.templates import fill_all, names_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pydantic import BaseModel

    from opsdash.config.files import Source
    from opsdash.kinds.base import ActionKind, CheckKind, CheckOptions

RESERVED = frozenset({ACTIVE, ANCHORS})
HEARTBEAT = "heartbeat"
"""The kind that sends nothing: the other side reports."""

_EVERY = "every"
_NAME = re.compile(NAME_PATTERN)
_COMMON_KEYS = tuple(keys_of(CheckModel))

DEFAULT_EVERY = 30.0
DEFAULT_TIMEOUT = 10.0
DEFAULT_DOWN_AFTER = Threshold(3, 3)
DEFAULT_UP_AFTER = 2


@dataclass(frozen=True, slots=True)
class Binding:
    """A check, ready to run: its kind, the kind's options with secrets filled in, and what judges the
    result.
    """

    check: CheckSpec
    kind: CheckKind
    options: CheckOptions
    judge: Judge

    def __repr__(self) -> str:
        return f"Binding({self.check.id})"


@dataclass(frozen=True, slots=True)
class Parsed:
    """A component file on its own. model: None where the file as a whole cannot be used; `problem` says
    why.
    """

    id: str
    source: Source
    model: ComponentModel | None
    problem: str | None
    sha256: str = ""
    provider_order: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    off: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Built:
    """A component with its checks. `report` goes on collecting what linking finds."""

    id: str
    parsed: Parsed
    model: ComponentModel
    report: Report
    providers: dict[str, Provider] = field(default_factory=dict)
    bindings: dict[str, Binding] = field(default_factory=dict)
    kept: dict[str, None] = field(default_factory=dict)

    def keep(self, part: str) -> None:
        """A part stays in its last good version: it is not off."""
        self.kept[part] = None

    @property
    def off(self) -> dict[str, str]:
        """The parts that are off, with the reason."""
        return {part: reason for part, reason in self.report.off.items() if part not in self.kept}


def parse(source: Source) -> Parsed:
    """A component file to its valid parts."""
    component = PurePosixPath(source.name).stem
    if not _NAME.match(component) or component in RESERVED:
        hint = "rename it: letters, digits, dots, dashes and underscores"
        return _lost(component, source, f"{component!r:.60} cannot be the name of a component", hint)
    if source.refused:
        return _lost(component, source, source.refused, source.hint)
    tree = yaml.read(source.data)
    if tree.fatal:
        flaw = tree.flaws[0]
        return _lost(component, source, flaw.message, flaw.hint, flaw.line)
    if tree.value is None:
        return _lost(component, source, "the file is empty", "write at least one check, or remove the file")
    if not isinstance(tree.value, dict):
        return _lost(component, source, "the file is no mapping of keys", "begin with a line such as title: …", 1)
    report = Report(source.name, source.data)
    order = _keys(tree.value.get("providers"))
    model = valid_parts(ComponentModel, tree.value, report, component_part, flaws=tree.flaws, later=LATER["component",])
    return Parsed(
        id=component,
        source=source,
        model=model,
        problem=None,
        sha256=_digest(tree.value, order),
        provider_order=order,
        problems=tuple(report.problems),
        off=report.off,
    )


def _lost(component: str, source: Source, message: str, hint: str = "", line: int = 0) -> Parsed:
    problem = Problem(source.name, line, (), message, hint)
    return Parsed(component, source, None, problem.reason, problems=(problem,))


def _keys(section: Any) -> tuple[str, ...]:
    return tuple(section) if isinstance(section, dict) else ()


def _digest(value: dict[str, Any], provider_order: tuple[str, ...]) -> str:
    """Hash of the content: comments, layout and the order of keys do not count, except where order has a
    meaning.
    """
    content = {"content": value, "providers": provider_order, "failures": _keys(value.get("failures"))}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


# --- building -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Place:
    """Where a check stands: in which component, where in the file, and the names that its templates may
    use.
    """

    component: str
    provider: str | None
    name: str
    spot: Spot
    names: Mapping[str, str]

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

    def build(self, parsed: Parsed, model: ComponentModel, taken: Iterable[str], good: Iterable[Provider]) -> Built:
        """A component's providers and checks. taken: ids of components. good: providers as they were last
        good.
        """
        report = Report(parsed.source.name, parsed.source.data)
        for problem in parsed.problems:
            report.add(problem)
        built = Built(parsed.id, parsed, model, report)
        last_good = {provider.id: provider for provider in good}
        components = frozenset(taken)
        for provider_id in parsed.provider_order:
            self._provider(built, provider_id, components, last_good)
        for name, check in model.checks.items():
            place = Place(built.id, None, name, Spot(report, ("checks", name), f"checks/{name}"), {})
            self._add_check(built, place, check, model.defaults)
        self._keep_checks(built)
        if model.each and not parsed.provider_order:
            report.warning(("each",), "there are no providers, so these checks never run", "did you mean `checks`?")
        return built

    def anchors(self, anchors: Mapping[str, CheckModel], report: Report) -> dict[str, Binding]:
        """The checks that tell whether opsdash itself is connected."""
        built: dict[str, Binding] = {}
        for name, check in anchors.items():
            place = Place(ANCHORS, None, name, Spot(report, ("anchors", name), f"anchors/{name}"), {})
            binding = self.check(place, check, DefaultsModel())
            if binding is not None:
                built[place.id] = binding
        return built

    def _provider(
        self, built: Built, provider_id: str, components: frozenset[str], last_good: Mapping[str, Provider]
    ) -> None:
        model = built.model.providers.get(provider_id)
        provider = None if model is None else self._valid_provider(built, provider_id, model, components)
        if provider is None or model is None:
            self._keep_provider(built, provider_id, last_good)
            return
        built.providers[provider_id] = provider
        names = {"id": provider_id, "as": provider.as_name, "title": provider.title, "component": built.id}
        names |= provider.values
        checks: list[tuple[str, CheckModel, KeyPath]] = [
            *((name, check, ("each", name)) for name, check in built.model.each.items() if name not in model.checks),
            *((name, check, ("providers", provider_id, "checks", name)) for name, check in model.checks.items()),
        ]
        for name, check, path in checks:
            spot = Spot(built.report, path, f"checks/{provider_id}/{name}")
            place = Place(built.id, provider_id, name, spot, names)
            self._add_check(built, place, check, built.model.defaults)

    def _valid_provider(
        self, built: Built, provider_id: str, model: ProviderModel, components: frozenset[str]
    ) -> Provider | None:
        spot = Spot(built.report, ("providers", provider_id), f"providers/{provider_id}")
        if provider_id in components or provider_id == ACTIVE:
            what = "a component too" if provider_id in components else "a word of references (active/check)"
            hint = f"a reference could mean either; rename it, and keep the mechanism's name with as: {provider_id}"
            spot.error(f"{provider_id!r} is {what}", hint)
            return None
        values: dict[str, str] = {}
        for key, value in model.others.items():
            if isinstance(value, dict | list) or value is None:
                spot.at(key).error("a text or a number is needed here", "values fill {templates}")
                return None
            values[key] = str(value).lower() if isinstance(value, bool) else str(value)
        as_name = self.resolved(model.as_ or provider_id, spot.at("as"))
        if as_name is None:
            return None
        other = next((each for each in built.providers.values() if each.as_name == as_name), None)
        if other is not None:
            message = f"{other.id} has the same name for the mechanism, {as_name!r}"
            spot.at("as").error(message, "nobody could tell them apart")
            return None
        return Provider(provider_id, model.title or provider_id, as_name, values)

    def _keep_provider(self, built: Built, provider_id: str, last_good: Mapping[str, Provider]) -> None:
        """A provider that no longer loads goes on as it was, with its checks."""
        provider = last_good.get(provider_id)
        if provider is None:
            return
        built.keep(f"providers/{provider_id}")
        built.providers[provider_id] = provider
        for check in provider.checks:
            if check in self._previous:
                built.bindings[check] = self._previous[check]

    def _keep_checks(self, built: Built) -> None:
        """Checks that no longer load go on as they were."""
        for part in list(built.report.off):
            section, _, name = part.partition("/")
            if section == "checks":
                self._keep_check(built, f"{built.id}/{name}", part)
            elif section == "each":
                for provider in built.providers:
                    self._keep_check(built, f"{built.id}/{provider}/{name}", part)

    def _keep_check(self, built: Built, check: str, part: str) -> None:
        if check in self._previous and check not in built.bindings:
            provider = self._previous[check].check.provider
            if provider is None or provider in built.providers:
                built.bindings[check] = self._previous[check]
                built.keep(part)

    # --- a check --------------------------------------------------------------------------------------------

    def _add_check(self, built: Built, place: Place, model: CheckModel, defaults: DefaultsModel) -> None:
        binding = self.check(place, model, defaults)
        if binding is not None:
            built.bindings[place.id] = binding

    def check(self, place: Place, model: CheckModel, defaults: DefaultsModel) -> Binding | None:
        """One check, ready to run; None with a problem reported."""
        kind = self._check_kind(place, model)
        if kind is None:
            return None
        raw = self._filled(_own_options(model, kind), place)
        if raw is None:
            return None
        options = self._options(kind.options, raw, place.spot, _COMMON_KEYS)
        judge = self._judge(place, model, defaults, kind)
        if options is None or judge is None:
            return None
        spec = self._spec(place, model, defaults, raw, judge)
        self._plausible(place, model, spec)
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

    def _filled(self, options: dict[str, Any], place: Place) -> dict[str, Any] | None:
        """Options with their templates replaced by the provider's values."""
        for key, value in options.items():
            for name in sorted(names_in(value) - place.names.keys()):
                self._unknown_name(name, place.spot.at(key), place)
                return None
        filled: dict[str, Any] = fill_all(options, place.names)
        return filled

    def _unknown_name(self, name: str, spot: Spot, place: Place) -> None:
        if place.provider is None:
            hint = "only checks of providers (`each`, `providers.….checks`) have templates; write {{ for a brace"
            spot.error(f"nothing can fill {{{name}}} here", hint)
            return
        near = did_you_mean(name, place.names)
        message = f"the provider {place.provider} has no value {name!r} for {{{name}}}"
        spot.error(message, near or "write {{ for a brace")

    def _judge(self, place: Place, model: CheckModel, defaults: DefaultsModel, kind: CheckKind) -> Judge | None:
        trials: list[tuple[Spot, Callable[[], None]]] = []
        for key, sources in (("expect", model.expect), ("degraded_when", model.degraded_when)):
            for index, source in enumerate(sources):
                trials.append((place.spot.at(key, index), functools.partial(self._try, source, kind)))
        for name, fact in model.facts.items():
            trials.append((place.spot.at("facts", name), functools.partial(check_fact, fact, kind.sample)))
        unsound = [spot for spot, trial in trials if not _is_sound(spot, trial)]
        if unsound:
            return None
        return compile_judge(
            model.expect,
            model.degraded_when,
            model.facts,
            self._first("slow_after", model, defaults),
            self._first("max_latency", model, defaults),
        )

    def _try(self, source: str, kind: CheckKind) -> None:
        check_expression(compile_expression(source), kind.sample, self._wall)

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
            timeout=self._first("timeout", model, defaults) or max(1.0, min(DEFAULT_TIMEOUT, every)),
            down_after=self._first("down_after", model, defaults) or DEFAULT_DOWN_AFTER,
            up_after=self._first("up_after", model, defaults) or DEFAULT_UP_AFTER,
            slow_after=judge.slow_after,
            max_latency=judge.max_latency,
            expect=tuple(model.expect),
            degraded_when=tuple(model.degraded_when),
            facts=model.facts,
            passive=model.kind == HEARTBEAT,
        )

    def _plausible(self, place: Place, model: CheckModel, spec: CheckSpec) -> None:
        """Settings of which one makes the other pointless."""
        if model.max_latency is not None and spec.max_latency and spec.max_latency >= spec.timeout:
            hint = "a run that long ends with the timeout anyway"
            place.spot.at("max_latency").warning("this is not shorter than the timeout", hint)
        limit = spec.max_latency or spec.timeout
        if model.slow_after is not None and spec.slow_after and spec.slow_after >= limit:
            hint = "it could never be slow without having failed"
            place.spot.at("slow_after").warning("this is not shorter than max_latency or the timeout", hint)

    # --- options --------------------------------------------------------------------------------------------

    def _options(
        self, model: type[Any], raw: Mapping[str, Any], spot: Spot, more_keys: Sequence[str] = ("kind",)
    ) -> Any:
        """Options of a kind with secrets filled in; None with problems reported."""
        resolved: dict[str, Any] = {}
        for key, value in raw.items():
            found = self.resolved(value, spot.at(key))
            if found is None and value is not None:
                return None
            resolved[key] = found
        mask = self.references.masker.mask
        try:
            return model.model_validate(resolved)
        except ValidationError as error:
            for where, message, hint in options_problems(error, resolved, model, more_keys):
                spot.at(*where).error(mask(message), mask(hint))
        except Exception as error:  # noqa: BLE001 - a validator of a third party's kind may raise anything
            spot.error(mask(f"these options cannot be used: {error!r:.200}"))
        return None

    def resolved(self, value: Any, spot: Spot) -> Any:
        """A value with its references replaced; None with a problem reported."""
        before = len(self.references.short)
        try:
            found = self.references.resolve(value)
        except ReferenceProblem as problem:
            spot.error(problem.message, problem.hint)
            return None
        for reference in list(self.references.short)[before:]:
            hint = "use a longer secret, or give it a default in `vars` if it is none"
            spot.warning(f"the value of {reference} is under six characters and is not masked", hint)
        return found

    # --- actions --------------------------------------------------------------------------------------------

    def action(
        self, model: ActionModel, spot: Spot, samples: Sequence[Mapping[str, str]] = ({},)
    ) -> tuple[ActionCall, ActionKind] | None:
        """An action that could be carried out with each of `samples` as its names; None with problems
        reported.
        """
        kind = self._action_kind(model, spot)
        if kind is None or not self._try_action(kind.options, model, spot, samples):
            return None
        return ActionCall(model.kind, model.others), kind

    def reading(self, model: ActionModel, spot: Spot) -> ActionCall | None:
        """A way to ask a mechanism what is in force; None with problems reported."""
        kind = self._action_kind(model, spot)
        if kind is None:
            return None
        if kind.read_options is None or kind.read is None:
            message = f"the action kind {model.kind!r} cannot tell what is in force"
            spot.at("kind").error(message, "leave `read` away, or use a kind that can, such as http or pointer")
            return None
        if not self._try_action(kind.read_options, model, spot, ({},)):
            return None
        return ActionCall(model.kind, model.others)

    def _action_kind(self, model: ActionModel, spot: Spot) -> ActionKind | None:
        try:
            return action_kind(model.kind)
        except UnknownKindError as error:
            spot.at("kind").error(str(error), did_you_mean(model.kind, action_kind_names()))
        except KindError as error:
            spot.at("kind").error(str(error))
        return None

    def _try_action(
        self, options: type[BaseModel], model: ActionModel, spot: Spot, samples: Sequence[Mapping[str, str]]
    ) -> bool:
        for names in samples:
            for key, value in model.others.items():
                for name in sorted(names_in(value) - names.keys()):
                    hint = did_you_mean(name, names) or "write {{ for a brace"
                    spot.at(key).error(f"nothing can fill {{{name}}} here", hint)
                    return False
            if self._options(options, fill_all(model.others, names), spot) is None:
                return False
        return True


def _own_options(model: CheckModel, kind: CheckKind) -> dict[str, Any]:
    """The keys that belong to the kind. `every` does where the kind has such an option: how often a heartbeat comes."""
    if _EVERY not in kind.options.model_fields or model.every is None:
        return model.others
    return {_EVERY: f"{model.every:g}s", **model.others}


def _is_sound(spot: Spot, trial: Callable[[], None]) -> bool:
    """Whether an expression or path can be used; if not, why."""
    try:
        trial()
    except ExpressionError as error:
        spot.error(str(error), error.hint or (did_you_mean(error.word, error.names) if error.word else ""))
        return False
    return True


def with_facts(binding: Binding, paths: Iterable[str]) -> Binding:
    """A binding that also extracts `paths`, each under its own spelling, because somebody else needs them."""
    facts = {**binding.check.facts, **{path: path for path in paths}}
    if facts == binding.check.facts:
        return binding
    return replace(binding, check=replace(binding.check, facts=facts), judge=replace(binding.judge, facts=facts))
