"""What can be taken away from an operation, and what that takes with it: subjects of a what-if, found in the files.

    email                 a component, with all its providers
    email/postmark        a provider
    host:db1.internal     whatever checks and actions go to that host
    credential:PM_TOKEN   whatever logs in with that reference; also a file or program that gives a secret
    zone:eu-1             every provider of that `zone`
    person:ken            somebody, who is then away
    channel:ops           a way to tell people of alarms

A loss says which checks then fail, and why; it does not say what that means. On loopback, where one machine plays many,
a host is an address with its port. The machine of opsdash itself is no subject: without it there is nobody to ask.
"""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from opsdash.core.hosts import addresses_in
from opsdash.core.mechanisms import PROVIDER
from opsdash.model.empty import nothing
from opsdash.model.status import Reason
from opsdash.model.switch import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from opsdash.model.operation import ActionCall, Component, Operation, Raw, SwitchSpec

ZONE = "zone"
"""The value of a provider that says in which zone it is."""

MOST_NAMED = 10
"""How many subjects are named to somebody who has named one that there is not."""

_REFERENCE = re.compile(r"\$?\$\{([^{}]*)\}")


class SubjectKind(StrEnum):
    """What can be taken away."""

    COMPONENT = "component"
    PROVIDER = "provider"
    HOST = "host"
    CREDENTIAL = "credential"
    ZONE = "zone"
    PERSON = "person"
    CHANNEL = "channel"


BARE = frozenset({SubjectKind.COMPONENT, SubjectKind.PROVIDER})
"""Kinds that are named without saying which kind it is, as everywhere else."""


@dataclass(frozen=True, slots=True, order=True)
class Subject:
    """Something that can be taken away. name: as the files have it; a provider's is component/provider."""

    kind: SubjectKind
    name: str

    def __str__(self) -> str:
        return self.name if self.kind in BARE else f"{self.kind.value}:{self.name}"


@dataclass(frozen=True, slots=True)
class Loss:
    """What is gone.

    checks: those that fail whoever serves, with the reason.  components: those of which all fails.
    providers: by component/provider.  mechanisms: those that can neither be read nor changed, by component/what.
    people: ids of those who are away.  channels: those over which nothing arrives.
    """

    subjects: tuple[Subject, ...] = ()
    checks: Mapping[str, Reason] = field(default_factory=nothing)
    components: frozenset[str] = frozenset()
    providers: frozenset[str] = frozenset()
    mechanisms: frozenset[str] = frozenset()
    people: frozenset[str] = frozenset()
    channels: frozenset[str] = frozenset()

    def with_also(self, other: Loss) -> Loss:
        """Both at once. Of a check that fails for two reasons the first is the one that is seen."""
        return Loss(
            subjects=tuple(dict.fromkeys((*self.subjects, *other.subjects))),
            checks={**other.checks, **self.checks},
            components=self.components | other.components,
            providers=self.providers | other.providers,
            mechanisms=self.mechanisms | other.mechanisms,
            people=self.people | other.people,
            channels=self.channels | other.channels,
        )

    def within(self, components: frozenset[str], people: frozenset[str]) -> Loss:
        """The part of it that concerns some components, and some people."""
        return Loss(
            checks={check: why for check, why in self.checks.items() if _component_of(check) in components},
            components=self.components & components,
            providers=frozenset(each for each in self.providers if _component_of(each) in components),
            mechanisms=frozenset(each for each in self.mechanisms if _component_of(each) in components),
            people=self.people & people,
        )

    def key(self, operation: Operation) -> tuple[frozenset[Any], ...]:
        """Equal for losses that come to the same, whatever they are called: a provider without any of its checks does
        not serve, and where none serves the component is gone.
        """
        components = operation.components
        mute = frozenset(each for each in self.providers if not self._checks_of(components, each) & self.checks.keys())
        whole = frozenset(each for each in self.components if not self._serves_nobody(components[each]))
        return (frozenset(self.checks.items()), whole, mute, self.mechanisms, self.people)

    @staticmethod
    def _checks_of(components: Mapping[str, Component], path: str) -> set[str]:
        component, _, name = path.partition("/")
        provider = components[component].provider(name)
        return set(provider.checks) if provider is not None else set()

    def _serves_nobody(self, component: Component) -> bool:
        """Whether each of its providers has lost a check, and it has any."""
        served = [provider for provider in component.providers if not self.checks.keys() & set(provider.checks)]
        return bool(component.providers) and not served

    def direct(self) -> frozenset[str]:
        """The components of which anything fails, or can no longer be changed."""
        names = (*self.checks, *self.providers, *self.mechanisms)
        return self.components | {_component_of(each) for each in names}


def _component_of(path: str) -> str:
    return path.partition("/")[0]


def subjects_of(operation: Operation, filled: Callable[[Raw], Mapping[str, Any]] = dict) -> dict[str, Loss]:
    """Everything that can be taken away, by how it is called. filled: options with their settings filled in, such as
    ports, and secrets as references.
    """
    finder = _Finder(operation, filled)
    losses = [*finder.components(), *finder.shared(), *finder.people(), *finder.channels()]
    return {str(loss.subjects[0]): loss for loss in losses}


def find(known: Mapping[str, Loss], names: Iterable[str]) -> Loss | Refused:
    """What is gone when all of `names` are, or which of them nobody has, with the nearest that somebody has."""
    found = Loss()
    for name in names:
        loss = known.get(name) or known.get(name.removeprefix("component:").removeprefix("provider:"))
        if loss is None:
            return Refused("unknown_subject", f"there is no {name!r} to take away; {_nearest(name, known)}")
        found = found.with_also(loss)
    return found


def _nearest(name: str, known: Mapping[str, Loss]) -> str:
    """What somebody may have meant: among the subjects of the kind that was named, if it is one."""
    kind, separator, _ = name.partition(":")
    alike = sorted(each for each in known if separator and each.startswith(f"{kind}:"))
    prefix = f"{kind}:" if alike else ""
    candidates = [each.removeprefix(prefix) for each in alike or known]
    near = difflib.get_close_matches(name.removeprefix(prefix), candidates, n=1)
    if near:
        return f"did you mean {prefix}{near[0]}?"
    names = alike or [name for name, loss in known.items() if loss.subjects[0].kind is SubjectKind.COMPONENT]
    if not names:
        return "the workspace has nothing that could be taken away"
    more = f", and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"there are: {', '.join(names[:MOST_NAMED])}{more}"


class _Finder:
    """Looks through an operation for what it consists of, and for what several parts of it share."""

    def __init__(self, operation: Operation, filled: Callable[[Raw], Mapping[str, Any]]) -> None:
        self.operation = operation
        self.filled = filled

    def components(self) -> Iterator[Loss]:
        for component in self.operation.components.values():
            checks = [check for provider in component.providers for check in provider.checks]
            yield Loss(
                (Subject(SubjectKind.COMPONENT, component.id),),
                checks=dict.fromkeys(checks, Reason.TIMEOUT),
                components=frozenset({component.id}),
                providers=frozenset(f"{component.id}/{provider.id}" for provider in component.providers),
            )
            for provider in component.providers:
                name = f"{component.id}/{provider.id}"
                yield Loss(
                    (Subject(SubjectKind.PROVIDER, name),),
                    checks=dict.fromkeys(provider.checks, Reason.TIMEOUT),
                    providers=frozenset({name}),
                )

    def shared(self) -> Iterator[Loss]:
        """Hosts, credentials and zones, each with all that uses it."""
        checks: defaultdict[Subject, dict[str, Reason]] = defaultdict(dict)
        mechanisms: defaultdict[Subject, set[str]] = defaultdict(set)
        providers: defaultdict[Subject, set[str]] = defaultdict(set)
        for spec in self.operation.checks.values():
            if spec.component in self.operation.components:
                for subject, reason in self._used_by(spec.raw):
                    checks[subject][spec.id] = reason
        for component in self.operation.components.values():
            for what, call in _calls(component):
                for subject, _ in self._used_by(call.raw):
                    mechanisms[subject].add(f"{component.id}/{what}")
            for provider in component.providers:
                if zone := provider.values.get(ZONE):
                    subject = Subject(SubjectKind.ZONE, zone)
                    providers[subject].add(f"{component.id}/{provider.id}")
                    checks[subject].update(dict.fromkeys(provider.checks, Reason.TIMEOUT))
        for subject in sorted(checks.keys() | mechanisms.keys() | providers.keys()):
            yield Loss(
                (subject,),
                checks=checks[subject],
                providers=frozenset(providers[subject]),
                mechanisms=frozenset(mechanisms[subject]),
            )

    def _used_by(self, raw: Raw) -> Iterator[tuple[Subject, Reason]]:
        options = self.filled(raw)
        for host in addresses_in(options):
            yield Subject(SubjectKind.HOST, host), Reason.TIMEOUT
        for name in _references(options):
            yield Subject(SubjectKind.CREDENTIAL, name), Reason.AUTH

    def people(self) -> Iterator[Loss]:
        for person in self.operation.people:
            yield Loss((Subject(SubjectKind.PERSON, person),), people=frozenset({person}))

    def channels(self) -> Iterator[Loss]:
        for channel in self.operation.alarms.channels:
            yield Loss((Subject(SubjectKind.CHANNEL, channel),), channels=frozenset({channel}))


def _calls(component: Component) -> Iterator[tuple[str, ActionCall]]:
    """The actions of a component, and what each of them is to change: who serves, or a degraded mode."""
    if component.switch is not None:
        yield from ((PROVIDER, call) for call in _switch_calls(component.switch))
    for mode in component.modes.values():
        yield from ((mode.id, call) for call in (mode.enter, mode.leave, mode.read) if call is not None)


def _switch_calls(spec: SwitchSpec) -> Iterator[ActionCall]:
    yield spec.action
    if spec.read is not None:
        yield spec.read
    yield from (step.action for step in (*spec.before, *spec.after))


def _references(value: Any) -> Iterator[str]:
    """The names of what an option refers to outside the files: a variable, `file:PATH`, `cmd:PROGRAM`."""
    if isinstance(value, str):
        for match in _REFERENCE.finditer(value):
            if not match[0].startswith("$$"):
                yield match[1].partition(":-")[0]
    elif not isinstance(value, bytes):
        parts = value.values() if hasattr(value, "values") else value if isinstance(value, list | tuple) else ()
        for part in parts:
            yield from _references(part)
