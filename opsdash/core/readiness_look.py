"""What the rules of readiness look at: the operation, what is recorded, and a few tables made once for all of them.

Every table is made in one pass over the operation, when a rule first asks for it. So the cost of all rules together
grows with the size of the files, and not with the number of pairs in them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from opsdash.core.drill_plans import goal_of, resolved
from opsdash.core.hosts import domain_of, hosts_in, is_loopback
from opsdash.model.drill import Level, Responder
from opsdash.model.operation import ANCHORS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from opsdash.core.draft import Draft
    from opsdash.model.drill import Drill, Goal
    from opsdash.model.operation import Component, DegradedMode, Operation, Provider, Raw, SwitchSpec
    from opsdash.model.readiness import Facts

PROVES = (Level.SWITCH, Level.CONTAINED, Level.REAL)
"""Levels at which a response is really carried out, the least first."""

HOUSE_AT_LEAST = 4
"""A domain to which so many components go, and at least half of all that go anywhere, is the house's own. That they
share it says nothing: it is that of the company."""

_CREDENTIAL_KEY = re.compile(
    r"pass(word|wd|phrase)?|(client[_-]?|shared[_-]?)?secret|(access[_-]?|auth[_-]?|bot[_-]?)?token|bearer"
    r"|(x[_-])?api[_-]?key|private[_-]?key|(proxy-)?authorization|credentials?",
    re.IGNORECASE,
)
_REFERENCE = re.compile(r"(?<!\$)\$\{([^{}]+)\}")
_SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSW|PASSPHRASE|CREDENTIAL|API_?KEY|PRIVATE|AUTH", re.IGNORECASE)
_LOGIN_IN_URL = re.compile(r"^[a-z][a-z0-9+.-]*://[^/\s:@]*:(?P<password>[^/\s@]+)@", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Found:
    """What a rule has found: see `Gap`. share: how much of the rule's cost it has, from 0 to 1."""

    text: str
    close: str
    subject: str = ""
    command: str = ""
    file: str | None = None
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Ground:
    """What a component stands on, as far as its files say: hosts of its checks and actions, and what it logs in with.

    credentials: references, never values.
    """

    hosts: frozenset[str]
    credentials: frozenset[str]


class Look:
    """One look at an operation."""

    def __init__(self, draft: Draft, facts: Facts) -> None:
        self.draft = draft
        self.facts = facts
        self.operation: Operation = draft.operation
        self.wall = draft.now.wall
        self._grounds: dict[str, Ground] = {}
        self._ancestors: dict[str, frozenset[str]] = {}
        self._sharing: dict[tuple[str, str], dict[str, None]] = {}

    # --- drills ------------------------------------------------------------------------------------------------

    @cached_property
    def drills(self) -> Mapping[tuple[str, str], list[Drill]]:
        """Drills by component and failure mode, "" for those that answer none."""
        found: defaultdict[tuple[str, str], list[Drill]] = defaultdict(list)
        for drill in self.operation.drills.values():
            found[drill.component, drill.failure_mode].append(drill)
        return found

    @cached_property
    def proving(self) -> Mapping[Goal, Drill]:
        """For where a response leads, the drill that would prove it: what touches least, and needs nobody to answer."""
        drills = (each for each in self.operation.drills.values() if not each.off and each.level in PROVES)
        found: dict[Goal, Drill] = {}
        for drill in sorted(drills, key=_effort):
            goal = resolved(self.draft, goal_of(self.draft, drill))
            if goal is not None:
                found.setdefault(goal, drill)
        return found

    # --- what is shared ----------------------------------------------------------------------------------------

    def ground(self, component: Component) -> Ground:
        """What a component stands on."""
        if component.id not in self._grounds:
            raws = [self.facts.fill(raw) for _, raw in self.raws(component)]
            self._grounds[component.id] = _ground(raws)
        return self._grounds[component.id]

    def ground_of(self, provider: Provider) -> Ground:
        """What a provider stands on: its checks, and the values that its templates are filled with."""
        specs = (self.operation.checks.get(check) for check in provider.checks)
        return _ground([*(self.facts.fill(spec.raw) for spec in specs if spec is not None), provider.values])

    def raws(self, component: Component) -> Iterator[tuple[str, Raw]]:
        """All options of a component's checks and actions, as written, each with its place in the file."""
        own = [*component.checks, *(check for provider in component.providers for check in provider.checks)]
        for check in own:
            spec = self.operation.checks.get(check)
            if spec is not None:
                yield f"check {check.removeprefix(f'{component.id}/')}", spec.raw
        if component.switch is not None:
            yield from _of_switch(component.switch)
        for mode in component.modes.values():
            yield from _of_mode(mode)

    @cached_property
    def by_host(self) -> Mapping[str, list[str]]:
        """Components by the hosts that they go to."""
        return self._by(lambda ground: ground.hosts)

    @cached_property
    def by_credential(self) -> Mapping[str, list[str]]:
        """Components by what they log in with."""
        return self._by(lambda ground: ground.credentials)

    @cached_property
    def by_domain(self) -> Mapping[str, list[str]]:
        """Components by the registrable domains that they go to; the house's own are left out."""
        found = self._by(domains_of)
        going = sum(bool(domains_of(self.ground(each))) for each in self.operation.components.values())
        return {
            domain: components
            for domain, components in found.items()
            if len(components) < HOUSE_AT_LEAST or 2 * len(components) < going
        }

    def is_house(self, domain: str) -> bool:
        """Whether a domain is the house's own."""
        return domain not in self.by_domain

    def _by(self, things: Any) -> dict[str, list[str]]:
        found: defaultdict[str, list[str]] = defaultdict(list)
        for component in self.operation.components.values():
            for thing in sorted(things(self.ground(component))):
                found[thing].append(component.id)
        return dict(found)

    def sharing(self, word: str, thing: str) -> Mapping[str, None]:
        """Who shares a host, credential or domain with nothing in the files that says so: components, in order.

        Those that depend on another one that shares it are left out, so that a database and the applications which ask
        it are one, and two applications on one machine are two.
        """
        if (word, thing) not in self._sharing:
            table = {"host": self.by_host, "credential": self.by_credential, "domain": self.by_domain}[word]
            group = table.get(thing, [])
            inside = set(group)
            self._sharing[word, thing] = {each: None for each in group if not (self.ancestors(each) & inside)}
        return self._sharing[word, thing]

    def ancestors(self, component: str) -> frozenset[str]:
        """All that a component and its switch depend on by what the files say, itself left out."""
        if component not in self._ancestors:
            found: set[str] = set()
            waiting = [component]
            while waiting:
                one = self.operation.components.get(waiting.pop())
                for parent in _parents(one):
                    if parent not in found:
                        found.add(parent)
                        waiting.append(parent)
            self._ancestors[component] = frozenset(found - {component})
        return self._ancestors[component]

    @cached_property
    def dropped_elsewhere(self) -> frozenset[str]:
        """Components of which a degraded mode of another one drops something."""
        modes = (mode for each in self.operation.components.values() for mode in each.modes.values())
        return frozenset(name.partition("/")[0] for mode in modes for name in mode.drops if "/" in name)

    @cached_property
    def hosts_of_checks(self) -> Mapping[str, set[str]]:
        """The hosts at which the checks of each component look, where any channel goes through one."""
        if not any(channel.hosts for channel in self.operation.alarms.channels.values()):
            return {}
        found: dict[str, set[str]] = {}
        for check in self.operation.checks.values():
            if check.component != ANCHORS:
                found.setdefault(check.component, set()).update(hosts_in(self.facts.fill(check.raw)))
        return found


def _parents(component: Component | None) -> tuple[str, ...]:
    if component is None:
        return ()
    return (*component.depends_on, *(component.switch.needs if component.switch is not None else ()))


def domains_of(ground: Ground) -> frozenset[str]:
    """The registrable domains of what something stands on."""
    return frozenset(domain for host in ground.hosts if (domain := domain_of(host)) is not None)


def _effort(drill: Drill) -> tuple[int, bool, str]:
    return PROVES.index(drill.level), drill.responder is Responder.PEOPLE, drill.id


def _of_switch(spec: SwitchSpec) -> Iterator[tuple[str, Raw]]:
    yield "switch", spec.action.raw
    if spec.read is not None:
        yield "switch/read", spec.read.raw
    for step in (*spec.before, *spec.after):
        yield f"step {step.name}", step.action.raw
        if step.undo is not None:
            yield f"undo of step {step.name}", step.undo.raw


def _of_mode(mode: DegradedMode) -> Iterator[tuple[str, Raw]]:
    for what, call in (("enter", mode.enter), ("leave", mode.leave), ("read", mode.read)):
        if call is not None:
            yield f"degraded mode {mode.id}, {what}", call.raw


def _ground(raws: Iterable[Raw]) -> Ground:
    hosts: set[str] = set()
    credentials: set[str] = set()
    for raw in raws:
        hosts |= {host for host in hosts_in(raw) if not is_loopback(host)}
        credentials |= _credentials(raw)
    return Ground(frozenset(hosts), frozenset(credentials))


def _credentials(raw: Any, *, named: bool = False) -> set[str]:
    """References to secrets: whatever is read from a file or a program, and variables of a secret's place or name."""
    if isinstance(raw, str):
        references = _REFERENCE.findall(raw) if "${" in raw else ()
        return {
            f"${{{name}}}"
            for name in references
            if named or name.startswith(("file:", "cmd:")) or _SECRET_NAME.search(name)
        }
    if isinstance(raw, Mapping):
        nested = (_credentials(each, named=named or is_credential(key)) for key, each in raw.items())
        return set().union(*nested)
    if isinstance(raw, list | tuple):
        return set().union(*(_credentials(each, named=named) for each in raw))
    return set()


def is_credential(key: object) -> bool:
    """Whether what stands under this key is a secret."""
    return isinstance(key, str) and _CREDENTIAL_KEY.fullmatch(key) is not None


def inline_secrets(raw: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    """The keys under which a secret itself stands, where a reference should."""
    if isinstance(raw, str):
        login = _LOGIN_IN_URL.match(raw)
        if path and is_credential(path[-1]):
            if raw.strip() and "${" not in raw and "{" not in raw:
                yield "/".join(path)
        elif login is not None and "${" not in login["password"] and "{" not in login["password"]:
            yield "/".join(path)
    elif isinstance(raw, Mapping):
        for key, each in raw.items():
            yield from inline_secrets(each, (*path, str(key)))
    elif isinstance(raw, list | tuple):
        for each in raw:
            yield from inline_secrets(each, path)
