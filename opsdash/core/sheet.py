"""The emergency sheet: one page for each component, for the day on which the host of opsdash is what failed.

A sheet is Markdown that reads as well on paper as on a code host: who can be asked, what users get, where each provider
is, the commands that a person types for what opsdash does on a key, what was decided for each failure, and the whole
text of the runbooks. It is made of values alone, so the same values give the same bytes; every time on it is one of
them.

The commands are those of plans. A plan leads away from where a component is; a sheet has to answer from wherever it may
be then, so plans are made for a copy of what is recorded in which that was assumed. Secrets are references in them.

Titles, names and contacts are other people's text: what Markdown would take for its own is escaped.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from opsdash.core import people, proofs
from opsdash.core.draft import Draft
from opsdash.core.markdown import code, fenced, text
from opsdash.core.sheet_text import RUNBOOKS, embedded, file_name, without_front
from opsdash.core.switch_views import commands_there, plan_view
from opsdash.model.now import Now
from opsdash.model.operation import TIER_ORDER, ResponseKind
from opsdash.model.switch import MAIN, SwitchKind
from opsdash.model.units import format_duration
from opsdash.model.world import ComponentState, Live, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from opsdash.core.switch_views import ByHand
    from opsdash.model.operation import Component, DegradedMode, Detection, FailureMode, Provider, Raw
    from opsdash.model.runbook import Runbook
    from opsdash.model.views import PlanView
    from opsdash.model.world import Proof

MARK = "<!-- A sheet of opsdash. It is written anew every day; what is changed here is lost. -->"
"""The first line of every sheet: files without it are nobody's to replace or remove."""

INDEX = "README.md"
"""The name of the index page: code hosts show it when somebody opens the folder."""

SHIFTS_TOLD = 5
"""Shifts of a rota that stand on a sheet: it is read on a later day than it was written."""

FORMER = "THE-FORMER-VALUE"
"""Stands in a command for what only a look at the mechanism can tell."""


@dataclass(frozen=True, slots=True)
class Sheets:
    """What sheets are made of.

    world: what is recorded, with the operation.  as_of: until when that was known, in seconds since 1970 UTC.
    by_hand: the command that a person types for an action, with secrets as references.  address: where the options of
    a check or an action lead, in a few words.  filled: a value with its settings filled in.  moment: a time in words.
    workspace: its path on the machine of opsdash.
    """

    world: World
    as_of: float
    runbooks: Mapping[str, Runbook]
    by_hand: ByHand
    address: Callable[[Raw], str]
    filled: Callable[[str], str]
    moment: Callable[[float], str]
    workspace: str = ""

    def all(self) -> Iterator[tuple[str, str]]:
        """Every file with its path, one after the other: the index, a sheet for each component, and the runbooks."""
        yield INDEX, self.index()
        for component in self.world.operation.components.values():
            yield f"{file_name(component.id)}.md", self.sheet(component)
        for name, runbook in sorted(self.runbooks.items()):
            yield f"{RUNBOOKS}/{name}.md", runbook.text

    def sheet(self, component: Component) -> str:
        """The page of one component."""
        page = _Page(self, component)
        return "\n".join(page.lines()).rstrip("\n") + "\n"

    def index(self) -> str:
        """The page that leads to the others: the components, what to save first at the top, and the people."""
        operation = self.world.operation
        ordered = sorted(operation.components.values(), key=lambda each: (TIER_ORDER[each.tier], each.id))
        lines = [
            MARK,
            f"# {text(operation.title)}: emergency sheets",
            "",
            f"As far as known on {self.moment(self.as_of)}.",
            "",
            "One page for each part of the operation: whom to ask, where it runs, the commands to type without",
            "opsdash, what was decided for each failure, and the runbooks.",
            "",
            "Where opsdash still runs, use it: it checks before it acts, and verifies afterwards.",
            "",
            "## Parts, what to save first at the top",
            "",
        ]
        for each in ordered:
            owners = ", ".join(text(self.name_of(owner)) for owner in self.owners(each)) or "nobody owns it"
            lines.append(f"- [{text(each.title)}]({file_name(each.id)}.md), {each.tier.value}: {owners}")
        lines += ["", "## People", ""]
        lines += [f"- {self.person(name)}" for name in sorted(operation.people)] or ["- Nobody is named."]
        return "\n".join(lines) + "\n"

    def owners(self, component: Component) -> list[str]:
        """Who owns a component, whoever was on duty when this was known included."""
        return people.owners_at(self.world, component, self.as_of)

    def duties(self, component: Component) -> list[str]:
        """Who is on duty in the days to come, by the rotas of a component."""
        rotas = (self.world.operation.rotas.get(name) for name in component.rotas)
        return [
            f"On duty ({text(rota.id)}): {text(self.name_of(shift.person))}, {self.moment(shift.start)} to "
            f"{self.moment(shift.end)}."
            for rota in rotas
            if rota is not None
            for shift in [each for each in rota.shifts if each.end > self.as_of][:SHIFTS_TOLD]
        ]

    def name_of(self, person: str) -> str:
        """What somebody is called; an id that nobody has stays as it is."""
        found = self.world.operation.people.get(person)
        return found.name if found else person

    def person(self, name: str) -> str:
        """Somebody with a contact, and whether they are there."""
        person = self.world.operation.people.get(name)
        if person is None:
            return f"{text(name)}: nobody of that name is in opsdash.yaml"
        contact = text(person.contact) if person.contact else "no contact is known"
        recorded = self.world.get("absences", name)
        if people.has_left(person, self.as_of):
            return f"{text(person.name)}: **has left**; {contact}"
        if not people.is_away(person, recorded, self.as_of):
            return f"{text(person.name)}: {contact}"
        ends = [each.end for each in (*person.away, recorded) if each is not None and each.covers(self.as_of)]
        until = "" if any(end is None for end in ends) else f" until {self.moment(max(end for end in ends if end))}"
        return f"{text(person.name)}: **away{until}**; {contact}"

    def plan(self, component: Component, assumed: ComponentState, kind: SwitchKind, target: str | None) -> PlanView:
        """What would be done from there."""
        tables = dict(self.world.tables)
        tables["components"] = {**tables["components"], component.id: assumed}
        draft = Draft(World(self.world.operation, tables), Live(), Now(self.as_of, 0.0, 0.0))
        return plan_view(draft, component.id, kind, target, self.by_hand)


class _Page:
    """One component's page."""

    def __init__(self, sheets: Sheets, component: Component) -> None:
        self._sheets = sheets
        self._component = component
        state: ComponentState | None = sheets.world.get("components", component.id)
        self._state = state or ComponentState()

    def lines(self) -> list[str]:
        component, sheets = self._component, self._sheets
        lines = [
            MARK,
            f"# {text(component.title)}",
            "",
            f"{code(component.id)}, {component.tier.value}, part of {text(sheets.world.operation.title)}.",
            f"As far as known on {sheets.moment(sheets.as_of)}.",
        ]
        if component.problem:
            lines += ["", f"**Its file could not be read:** {text(component.problem)}"]
        for heading, part in (
            ("Whom to ask", self._owners()),
            ("What users get", self._features()),
            ("Where it runs", self._providers()),
            ("By hand", self._by_hand()),
            ("What was decided", self._register()),
            ("What hangs together", self._neighbours()),
            ("Last proof", self._proofs()),
        ):
            if part:
                lines += ["", f"## {heading}", "", *part[: -1 if not part[-1] else None]]
        names = self._runbook_names()
        if any(block.commands for name in names for step in sheets.runbooks[name].steps for block in step.blocks):
            lines += [
                "",
                "In the runbooks below, `opsdash` blocks are commands of opsdash: what they would do is above.",
            ]
        for name in names:
            lines += ["", *self._runbook(name)]
        return lines

    # --- who, what, where --------------------------------------------------------------------------------------

    def _owners(self) -> list[str]:
        owners = self._sheets.owners(self._component)
        if not owners and not self._component.rotas:
            return ["Nobody owns it. See the people on [the index](README.md)."]
        lines = [f"{number}. {self._sheets.person(owner)}" for number, owner in enumerate(owners, 1)]
        duties = self._sheets.duties(self._component)
        if duties:
            return [*lines, "", *(f"- {duty}" for duty in duties)]
        if len(owners) == 1:
            lines += ["", "There is no second one."]
        return lines

    def _features(self) -> list[str]:
        return [
            f"- {text(each.title)} ({each.tier.value}), shown by "
            + (", ".join(self._check(check) for check in each.checks) or "the component as a whole")
            for each in self._component.features.values()
        ]

    def _check(self, check: str) -> str:
        return code(check.removeprefix(f"{self._component.id}/"))

    def _place(self, check: str) -> str:
        """A check and where it looks."""
        spec = self._sheets.world.operation.checks.get(check)
        if spec is None:
            return self._check(check)
        where = self._sheets.address(spec.raw)
        return f"{self._check(check)}: {spec.kind}{f' {code(where)}' if where else ''}"

    def _providers(self) -> list[str]:
        component = self._component
        lines = []
        if component.providers:
            lines += [self._serving(), ""]
        for number, provider in enumerate(component.providers):
            role = "primary" if number == 0 else "backup"
            given = ((key, self._sheets.filled(value)) for key, value in sorted(provider.values.items()))
            values = ", ".join(f"{text(key)} {code(value)}" for key, value in given)
            known_as = f", known as {code(provider.as_name)}" if provider.as_name != provider.id else ""
            lines.append(
                f"- **{text(provider.title)}** ({code(provider.id)}, {role}){known_as}{values and f': {values}'}"
            )
            lines += [f"  - {self._place(check)}" for check in provider.checks]
        if component.checks:
            lines += ["", "Whoever does it, it is done when these pass:", ""] if component.providers else []
            lines += [f"- {self._place(check)}" for check in component.checks]
        return lines

    def _serving(self) -> str:
        state = self._state
        at = self._sheets.moment(self._sheets.as_of)
        active = self._component.provider(state.active)
        if active is None:
            seen = f" (the mechanism said {code(state.seen)})" if state.seen else ""
            return f"Nobody could tell on {at} which one serves{seen}."
        since = f", on the backup since {self._sheets.moment(state.on_backup_since)}" if state.on_backup_since else ""
        mode = self._component.modes.get(state.mode or "")
        in_mode = f" The degraded mode {text(mode.title)} was in force." if mode else ""
        return f"**{text(active.title)}** served on {at}{since}.{in_mode}"

    # --- commands ----------------------------------------------------------------------------------------------

    def _by_hand(self) -> list[str]:
        """The commands to each provider and each degraded mode, and out of it."""
        component = self._component
        lines: list[str] = []
        if component.switch is not None:
            read = component.switch.read
            where = self._sheets.address(read.raw) if read else ""
            lines += [f"Who serves is said by {code(where)}.", ""] if where else []
            for target in (*component.providers[1:], *component.providers[:1]):
                lines += self._move(target)
        for mode in component.modes.values():
            lines += self._into(mode)
        off = {part: why for part, why in component.off.items() if part == "switch" or part.startswith("modes")}
        lines += [f"{code(part)} is switched off by a problem: {text(why)}" for part, why in sorted(off.items())]
        if lines:
            where = self._sheets.workspace
            lines = [
                "Nothing checks before these commands, and nothing verifies them: look yourself. Secrets are not here:",
                "where a command reads a file or a variable such as `$TOKEN`, it has to be there.",
                *([f"Paths that do not begin with a slash start at {code(where)}."] if where else []),
                "",
                *lines,
            ]
        return lines

    def _move(self, target: Provider) -> list[str]:
        component = self._component
        source = component.provider(self._state.active)
        if source is None or source.id == target.id:
            source = next((each for each in component.providers if each.id != target.id), None)
        if source is None:
            return []
        kind = SwitchKind.FAILBACK if target.id == component.primary else SwitchKind.FAILOVER
        assumed = replace(self._state, active=source.id, mode=None)
        plan = self._sheets.plan(component, assumed, kind, target.id)
        title = f"### {kind.value.capitalize()}: from {text(source.title)} to {text(target.title)}"
        after = list(component.switch.verify) if component.switch else []
        return [title, "", *self._commands(plan), *self._afterwards(after, plan)]

    def _into(self, mode: DegradedMode) -> list[str]:
        component = self._component
        calm = replace(self._state, mode=None, mode_prior=None)
        enter = self._sheets.plan(component, calm, SwitchKind.DEGRADE, mode.id)
        drops, keeps = (", ".join(self._feature(each) for each in names) for names in (mode.drops, mode.keeps))
        lines = [f"### Degrade: {text(mode.title)}", ""]
        lines += [f"Kept: {keeps or 'nothing is named'}. Given up: {drops or 'nothing is named'}.", ""]
        lines += [*self._commands(enter), *self._afterwards(list(mode.verify), enter)]
        in_force = self._state.mode == mode.id
        prior = self._state.mode_prior if in_force else None
        asks = mode.leave is None and prior is None
        within = replace(self._state, mode=mode.id, mode_prior=FORMER if asks else prior)
        leave = self._sheets.plan(component, within, SwitchKind.RESTORE, None)
        lines += [f"### Restore: out of {text(mode.title)}", ""]
        if asks:
            lines += [f"Put back what was there before; where {FORMER} stands, write that. Look before you enter.", ""]
        return [*lines, *self._commands(leave), *self._afterwards([], leave)]

    def _feature(self, name: str) -> str:
        """A feature of this component, or, as component/feature, of another one."""
        other, _, own = name.rpartition("/")
        component = self._sheets.world.operation.components.get(other) if other else self._component
        feature = component.features.get(own) if component else None
        return text(feature.title) if feature else code(name)

    def _commands(self, plan: PlanView) -> list[str]:
        if plan["refused"] is not None:
            return [f"No command is known: {text(plan['refused']['reason'])}.", ""]
        lines: list[str] = []
        steps = {step["name"]: step for step in plan["steps"]}
        for name, command in commands_there(plan):
            step = steps.get(name)
            if len(steps) > 0:
                what = "the switch itself" if name == MAIN else text(name)
                point = "; **there is no way back after it**" if step is not None and step["no_return"] else ""
                lines += [f"{what[0].upper()}{what[1:]}{point}:", ""]
            lines += [*fenced(command, "sh"), ""] if command else ["A person does this; no command is known.", ""]
            if step is not None and step["verify"]:
                lines += [f"Go on when: {'; '.join(text(each) for each in step['verify'])}.", ""]
        notes = [note for note in plan["notes"] if not note.startswith("no way back after")]
        return [*lines, *(f"Mind: {text(note)}." for note in notes), *([""] if notes else [])]

    def _afterwards(self, checks: list[str], plan: PlanView) -> list[str]:
        if plan["refused"] is not None or not checks:
            return []
        return ["Afterwards these have to pass:", "", *(f"- {self._place(check)}" for check in checks), ""]

    # --- decided, proved ---------------------------------------------------------------------------------------

    def _register(self) -> list[str]:
        lines: list[str] = []
        for failure in self._component.failures.values():
            rto = f", within {format_duration(failure.rto)}" if failure.rto else ""
            lines += [
                f"- **{text(failure.title)}** ({code(failure.id)})",
                f"  - noticed by: {_noticed(failure.detected_by)}",
                f"  - then: {self._response(failure)}{rto}",
                f"  - runbook: {self._runbook_link(failure.runbook)}",
            ]
        return lines

    def _response(self, failure: FailureMode) -> str:
        response = failure.response
        if response.kind is ResponseKind.SWITCH:
            return "switch to the other provider"
        if response.kind is ResponseKind.RUNBOOK:
            return "follow the runbook"
        other = self._sheets.world.operation.components.get(response.component)
        mode = other.modes.get(response.mode or "") if other else None
        named = text(mode.title) if mode else code(response.mode or "")
        if other is None or other.id == self._component.id:
            return f"degrade: {named}"
        return f"degrade [{text(other.title)}]({file_name(other.id)}.md): {named}"

    def _runbook_link(self, name: str | None) -> str:
        if name is None:
            return "none"
        found = self._sheets.runbooks.get(name)
        if found is None:
            return f"{code(name)}, which could not be read"
        return f"[{text(found.title)}]({RUNBOOKS}/{file_name(name)}.md), below"

    def _neighbours(self) -> list[str]:
        operation = self._sheets.world.operation
        lines = []
        for word, names in (
            ("It needs", self._component.depends_on),
            ("It is needed by", operation.dependents.get(self._component.id, ())),
        ):
            links = [
                f"[{text(operation.components[each].title)}]({file_name(each)}.md)"
                for each in names
                if each in operation.components
            ]
            lines.append(f"- {word}: {', '.join(links) or 'no other part'}")
        needs = self._component.switch.needs if self._component.switch else ()
        if needs:
            lines.append(f"- The switch itself needs: {', '.join(code(each) for each in needs)}")
        return lines

    def _proofs(self) -> list[str]:
        component = self._component
        names = [(each.id, each.title) for each in component.providers[1:]]
        names += [(f"mode:{each.id}", each.title) for each in component.modes.values()]
        return [f"- {text(title)}: {self._proof(what)}" for what, title in names]

    def _proof(self, what: str) -> str:
        sheets, component = self._sheets, self._component
        state, _ = proofs.proof_of(sheets.world, component, what, sheets.as_of)
        proof: Proof | None = sheets.world.get("proofs", f"{component.id}/{what}")
        if proof is None:
            return "was never shown to work"
        took = f", it took {proof.took:.1f} s" if proof.took else ""
        who = f" by {text(proof.who)}" if proof.who else ""
        stale = {proofs.OLD: "; that is long ago", proofs.CHANGED: "; its definition has changed since"}.get(state, "")
        return f"worked on {sheets.moment(proof.at)}{who}{took}{stale}"

    # --- runbooks ----------------------------------------------------------------------------------------------

    def _runbook_names(self) -> list[str]:
        component = self._component
        named = [component.runbook, *(failure.runbook for failure in component.failures.values())]
        return [name for name in dict.fromkeys(named) if name is not None and name in self._sheets.runbooks]

    def _runbook(self, name: str) -> list[str]:
        runbook = self._sheets.runbooks[name]
        facts = [
            f"owner {text(self._sheets.name_of(runbook.owner))}" if runbook.owner else "",
            f"reviewed {runbook.reviewed}" if runbook.reviewed else "",
            f"RTO {format_duration(runbook.rto)}" if runbook.rto else "",
        ]
        told = ", ".join(fact for fact in facts if fact)
        head = [f"## Runbook: {text(runbook.title)}", "", *([told[0].upper() + told[1:] + ".", ""] if told else [])]
        body = without_front(runbook.text)
        if not runbook.executable and runbook.steps:
            return [*head, "It has errors, so it stands here as it is.", "", *fenced(body, "markdown")]
        first, _, rest = body.partition("\n")
        if first.lstrip("# ").strip() == runbook.title:
            body = rest.lstrip("\n")
        return [*head, *embedded(body, file_name(name), self._sheets.runbooks)]


def _noticed(detection: Detection | None) -> str:
    """How a failure is noticed, in words."""
    if detection is None:
        return "nobody but people"
    if detection.away:
        return "the absence of all owners"
    signals = ", ".join(code(str(signal)) for signal in detection.signals)
    if detection.at_least == 1:
        return signals
    number = "all" if detection.at_least == len(detection.signals) else str(detection.at_least)
    return f"{number} of {signals}"
