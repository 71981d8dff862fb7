"""The report of an incident, in Markdown: filled with everything that opsdash knows, with marks where a person writes.

It follows the sections that PagerDuty's and Flutter's templates have in common, and adds what only opsdash can answer:
what had been decided in advance, and whether it held.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from opsdash.core.figures import DEFINITIONS, figures
from opsdash.core.incident_views import incident_view
from opsdash.core.markdown import cell, fenced, line
from opsdash.core.proofs import REMIND_AFTER, VALID_FOR
from opsdash.core.reader import OPSDASH
from opsdash.core.report_runs import followed, moment, proposals, titles, told
from opsdash.core.run_blocks import ROUTINE
from opsdash.core.severity import WORDS
from opsdash.core.switch_views import switch_times
from opsdash.core.telling import tell
from opsdash.model.alarm import parts_of
from opsdash.model.incident import EntryKind, IncidentRole, TimelineEntry
from opsdash.model.message import MessageState
from opsdash.model.switch import MOVES_PROVIDER, SwitchState
from opsdash.model.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from opsdash.core.story import Story
    from opsdash.model.incident import Incident
    from opsdash.model.message import Outgoing
    from opsdash.model.operation import Component, FailureMode, Operation
    from opsdash.model.runbook import Runbook
    from opsdash.model.switch import Switch

WRITE = "_To be written:_"
"""Where a person has to."""

TOLD = frozenset({
    EntryKind.DETECTED, EntryKind.FAILURE_MODE, EntryKind.SWITCH, EntryKind.RESOLVED, EntryKind.HANDOVER,
    EntryKind.MESSAGE, EntryKind.SEVERITY, EntryKind.ACK, EntryKind.STATUS, EntryKind.RUNBOOK,
})  # fmt: skip
"""Lines of opsdash's own that belong to the story; the rest is folded away, unless somebody has pinned it."""

LATE_ACK = 900.0
"""Seconds to an acknowledgement after which the report asks why."""


@dataclass(frozen=True, slots=True)
class Decided:
    """A failure mode that happened, with the component whose register had it; None: the register no longer has it."""

    component: Component | None
    failure: FailureMode | None
    name: str


def report(story: Story, operation: Operation, runbooks: Mapping[str, Runbook], now: float) -> str:
    """The report of an incident as it stands at `now`."""
    incident = story.incident
    decided = _decided(incident, operation)
    proposed = proposals(story, runbooks)
    parts: list[list[str]] = [
        [f"# {incident.id}: {line(incident.title)}"],
        _header(story, operation, decided, now),
        ["## Summary", "", f"{WRITE} what happened, in three sentences that a customer would understand."],
        ["## Impact", "", *_impact(story, operation, now)],
        ["## Timeline", "", *_timeline(story)],
        ["## Who was told", "", *_who_was_told(story, operation)],
        ["## Contributing factors", "", *_factors(story)],
        ["## What had been decided in advance, and did it hold?", "", *_held(story, decided, runbooks, now)],
        ["## What went well", "", *_went_well(story, operation, now)],
        ["## What did not go well", "", *_went_badly(story, decided, runbooks, now)],
        ["## Where we were lucky", "", *_lucky(story)],
        ["## Actions", "", *_actions(story, decided, runbooks, proposed)],
        ["## Proposed changes of runbooks", "", *told(proposed)],
        ["## Next drill", "", *_next_drill(story, operation, now)],
        ["## Figures", "", *_figures(incident, now)],
    ]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def _decided(incident: Incident, operation: Operation) -> list[Decided]:
    """The failure modes of an incident, the one by which it is called first."""
    found = []
    for name in incident.failures:
        component_id, _, failure_id = name.rpartition("/")
        component = operation.components.get(component_id or incident.component)
        failure = component.failures.get(failure_id) if component else None
        found.append(Decided(component, failure, f"{component_id or incident.component}/{failure_id}"))
    return sorted(found, key=lambda each: each.failure is None or each.failure.title != incident.title)


def _span(seconds: float | None) -> str:
    return "–" if seconds is None else format_duration(seconds)


# --- header, impact, timeline --------------------------------------------------------------------------------------


def _header(story: Story, operation: Operation, decided: list[Decided], now: float) -> list[str]:
    incident = story.incident
    rto = min((each.failure.rto for each in decided if each.failure and each.failure.rto), default=None)
    rows = {
        "state": incident.state.value + (f", reopened {incident.reopened} ×" if incident.reopened else ""),
        "severity": f"{incident.severity} ({WORDS.get(incident.severity, '–')})"
        + (f", set by {incident.severity_by}" if incident.severity_by else ""),
        "component": ", ".join(_title(operation, each) for each in incident.components),
        "failure mode": _names(decided) or "none of the register",
        "began": moment(incident.began or incident.opened_at),
        "detected": moment(incident.opened_at),
        "acknowledged": moment(incident.acknowledged_at),
        "mitigated": moment(incident.recovered_at),
        "resolved": moment(incident.resolved_at),
        "closed": moment(incident.closed_at),
        "promised (RTO)": _promise(incident, rto),
        "lead": _lead(incident),
        "report as of": moment(now),
    }  # fmt: skip
    kind = "drill" if incident.drill else "incident"
    return [f"| {kind} | (times in UTC) |", "|---|---|", *(f"| {name} | {cell(said)} |" for name, said in rows.items())]


def _lead(incident: Incident) -> str:
    """Who led it, one after the other."""
    led = [each.person for each in incident.roles if each.role is IncidentRole.LEAD]
    offered = incident.handover
    first = [offered.who] if offered is not None and offered.accepted_at is not None else []
    names = list(dict.fromkeys([*first, *led])) if led else [incident.lead] if incident.lead else []
    return ", then ".join(names) or "nobody"


def _names(decided: list[Decided]) -> str:
    return ", ".join(each.failure.title if each.failure else each.name for each in decided)


def _promise(incident: Incident, rto: float | None) -> str:
    took = figures(incident_view(incident)).mitigate
    if rto is None:
        return "nothing was promised"
    if took is None:
        return f"{format_duration(rto)}, not mitigated yet"
    return f"{format_duration(rto)}, {'kept' if took <= rto else 'missed'}: {format_duration(took)}"


def _title(operation: Operation, component_id: str) -> str:
    component = operation.components.get(component_id)
    return component.title if component else component_id


def _impact(story: Story, operation: Operation, now: float) -> list[str]:
    incident = story.incident
    began = incident.began or incident.opened_at
    end = incident.recovered_at
    lasted = format_duration((now if end is None else end) - began)
    lines = [f"- Users were concerned from {moment(began)} to {moment(end) if end else 'now'}: {lasted}."]
    for component_id in incident.components:
        component = operation.components.get(component_id)
        if component is not None:
            features = ", ".join(f"{each.title} ({each.tier.value})" for each in component.features.values())
            lines.append(
                f"- {line(component.title)} ({component.tier.value}): {line(features) or 'no features declared'}."
            )
    lines += [
        f"- While in {switch.plan.target}, users did without {', '.join(switch.plan.drops)}."
        for switch in story.switches.values()
        if switch.plan.drops
    ]
    exposure = figures(incident_view(incident), now).exposure
    if exposure:
        lines.append(f"- For {format_duration(exposure)} it ran without a backup.")
    return [*lines, f"- {WRITE} how many users, orders, letters."]


def _timeline(story: Story) -> list[str]:
    entries = sorted([*story.incident.entries, *_interruptions(story)], key=lambda entry: entry.at)
    main = [entry for entry in entries if _belongs(entry)]
    rest = [entry for entry in entries if not _belongs(entry)]
    lines = ["| time (UTC) | who | what |", "|---|---|---|", *map(_entry, main)]
    for entry in main:
        if entry.kind is EntryKind.HANDOVER and "\n" in entry.text:
            title, _, text = entry.text.partition("\n")
            lines += ["", f"{moment(entry.at)}, {line(entry.who)} {line(title)}:", "", *fenced(text)]
    if rest:
        lines += ["", f"<details><summary>{len(rest)} more line{'' if len(rest) == 1 else 's'}</summary>", ""]
        lines += ["| time (UTC) | who | what |", "|---|---|---|", *map(_entry, rest), "", "</details>"]
    return lines


def _belongs(entry: TimelineEntry) -> bool:
    """Whether a line belongs to the story."""
    if entry.kind is EntryKind.RUNBOOK and entry.text.endswith(ROUTINE):
        return entry.pinned
    return entry.pinned or entry.who != OPSDASH or entry.kind in TOLD


def _interruptions(story: Story) -> Iterator[TimelineEntry]:
    for each in story.interruptions:
        gap = format_duration(each.until - each.since)
        how = "was stopped" if each.said_so else "ended without saying so, at this time or later"
        text = f"the engine {how}; the next one began {gap} after that, and nothing was watched in between"
        yield TimelineEntry(each.since, each.since, OPSDASH, EntryKind.STATUS, text)
    for jump in story.jumps:
        text = f"{tell(jump)}: times before and after this do not compare"
        yield TimelineEntry(jump.at, jump.at, OPSDASH, EntryKind.STATUS, text)


def _entry(entry: TimelineEntry) -> str:
    late = f" (written {moment(entry.recorded)})" if entry.recorded - entry.at > 60 else ""
    edited = f" (edited by {entry.edits[-1].who})" if entry.edits else ""
    text = entry.text.partition("\n")[0] if entry.kind is EntryKind.HANDOVER else entry.text
    return f"| {moment(entry.at)} | {cell(entry.who)} | {cell(text + late + edited)} |"


def _who_was_told(story: Story, operation: Operation) -> list[str]:
    lines = []
    for key, raised in story.raised.items():
        component, topic = parts_of(key)
        about = f"{line(_title(operation, component))}{f' ({topic})' if topic else ''}"
        over = story.cleared.get(key)
        end = f"over {moment(over)}" if over is not None and over >= raised else "not over yet"
        lines.append(f"- Alarm of {about}: raised {moment(raised)}, {end}.")
    if not lines:
        lines.append("- No alarm was raised.")
    if not story.messages:
        return [*lines, "- No message was sent."]
    rows = [_message(each) for each in story.messages.values()]
    return [*lines, "", "| message | made (UTC) | over | what it said | arrived |", "|---|---|---|---|---|", *rows]


def _message(item: Outgoing) -> str:
    message = item.message
    tries = f", {item.tries} attempts" if item.tries > 1 else ""
    match item.state:
        case MessageState.DELIVERED:
            took = format_duration(max(0.0, item.since - message.created_at))
            arrived = f"after {took}{tries}"
        case MessageState.GIVEN_UP:
            arrived = f"given up{tries}: {line(item.why)}"
        case _:
            arrived = f"not yet{tries}"
    said = f"{message.kind.value}: {cell(message.title)}"
    return f"| {message.id} | {moment(message.created_at)} | {cell(message.channel)} | {said} | {cell(arrived)} |"


def _factors(story: Story) -> list[str]:
    changed = [entry for entry in story.incident.entries if entry.kind is EntryKind.CHANGE]
    lines = [f"- {moment(entry.at)} {line(entry.text)} ({line(entry.who)})" for entry in changed]
    if not lines:
        lines = ["- No change is known from the hours before."]
    for name, near in story.near.items():
        lines.append(f"- `{name}` was near {near.count} × before without happening, last {moment(near.last)}.")
    return [*lines, f"- {WRITE} why it could happen, and why it was not noticed earlier."]


# --- what had been decided -----------------------------------------------------------------------------------------


def _held(story: Story, decided: list[Decided], runbooks: Mapping[str, Runbook], now: float) -> list[str]:
    lines: list[str] = []
    for each in decided:
        lines += _mode_held(each)
    if not decided:
        lines.append("- No failure mode of the register fits: this way to fail had not been thought of.")
    for switch in story.switches.values():
        lines.append(_switch_held(story, switch, now))
    if not story.switches and any(each.failure and each.failure.response.kind.value != "runbook" for each in decided):
        lines.append("- The response was not carried out.")
    for run in story.runs.values():
        lines += followed(story, run, runbooks.get(run.runbook))
    if not story.runs:
        lines.append("- No runbook was followed.")
    return lines if lines[-1] else lines[:-1]


def _mode_held(each: Decided) -> list[str]:
    if each.failure is None:
        return [f"- `{each.name}` is no longer in the register."]
    rto = f", within {format_duration(each.failure.rto)}" if each.failure.rto else ""
    return [f"- `{each.name}` ({line(each.failure.title)}): decided was **{each.failure.response}**{rto}."]


def _switch_held(story: Story, switch: Switch, now: float) -> str:
    plan = switch.plan
    what = plan.target if plan.kind in MOVES_PROVIDER else f"mode:{plan.target or plan.source}"
    proof = story.proofs.get(f"{plan.component}/{what}")
    known = f"proved {format_duration(switch.intended_at - proof.at)} before" if proof else "never proved before"
    took = switch_times(switch, now).get("total")
    times = f" in {took:.1f} s" if took is not None and switch.state is SwitchState.COMMITTED else ""
    held = "held" if switch.state is SwitchState.COMMITTED else "did not hold"
    return (
        f"- {plan.kind.value} of {plan.component} to {plan.target or 'normal operation'} by {line(switch.who)}: "
        f"{switch.state.value}{times}, {known}. It {held}."
    )


# --- well, badly, lucky --------------------------------------------------------------------------------------------


def _went_well(story: Story, operation: Operation, now: float) -> list[str]:
    found = [f"- {each}" for each in _good(story, operation, now)]
    return [*found, f"- {WRITE} what people did well."]


def _good(story: Story, operation: Operation, now: float) -> Iterator[str]:
    incident, times = story.incident, figures(incident_view(story.incident))
    if incident.kind.value != "manual" and times.detect is not None:
        yield f"A check found it {format_duration(times.detect)} after it began, before a person told us."
    for switch in story.switches.values():
        took = switch_times(switch, now).get("total")
        if switch.state is SwitchState.COMMITTED and took is not None:
            title = line(_title(operation, switch.plan.component))
            yield f"The {switch.plan.kind.value} of {title} was verified after {took:.1f} s."
    if incident.handover is not None and incident.handover.accepted_by not in (None, incident.handover.who):
        yield f"It was handed over from {line(incident.handover.who)} to {line(incident.handover.accepted_by)}."
    if any(mark.mark == "done" for run in story.runs.values() for mark in run.marks):
        yield "There was a runbook, and it was followed."


def _went_badly(story: Story, decided: list[Decided], runbooks: Mapping[str, Runbook], now: float) -> list[str]:
    found = [f"- {each}" for each in (*_bad(story, decided, now), *_bad_runs(story, runbooks))]
    return [*found, f"- {WRITE} what was slow, missing or confusing."]


def _bad(story: Story, decided: list[Decided], now: float) -> Iterator[str]:
    incident, times = story.incident, figures(incident_view(story.incident), now)
    if incident.kind.value == "manual":
        yield "No check found it: a person did."
    if times.acknowledge is None:
        yield "Nobody acknowledged it."
    elif times.acknowledge > LATE_ACK:
        yield f"It took {format_duration(times.acknowledge)} until somebody looked after it."
    for each in decided:
        rto = each.failure.rto if each.failure else None
        if rto is not None and times.mitigate is not None and times.mitigate > rto:
            took = format_duration(times.mitigate)
            yield f"{format_duration(rto)} had been promised for `{each.name}`; it took {took}."
    for switch in story.switches.values():
        if switch.state is not SwitchState.COMMITTED:
            detail = f": {line(switch.detail)}" if switch.detail else ""
            yield f"The {switch.plan.kind.value} of {switch.plan.component} ended {switch.state.value}{detail}."
        for rule in switch.overrides:
            yield f"The rule `{rule}` was overridden: {line(switch.reason) or 'without a reason'}."
    if incident.reopened:
        yield f"It came back {incident.reopened} × after it had been resolved."
    for gap in story.interruptions:
        how = "was stopped" if gap.said_so else "ended without saying so"
        yield f"The engine {how}, and for {format_duration(gap.until - gap.since)} opsdash watched nothing."


def _bad_runs(story: Story, runbooks: Mapping[str, Runbook]) -> Iterator[str]:
    for run in story.runs.values():
        names = titles(runbooks.get(run.runbook))
        for mark in run.marks:
            if mark.mark == "failed":
                yield f"Step “{line(names.get(mark.step, mark.step))}” of runbook `{run.runbook}` did not work."


def _lucky(story: Story) -> list[str]:
    incident = story.incident
    lines = []
    if incident.recovered_at is not None and not story.switches and not story.runs:
        lines.append("- It recovered without anybody having switched anything or followed a runbook.")
    for switch in story.switches.values():
        what = switch.plan.target if switch.plan.kind in MOVES_PROVIDER else f"mode:{switch.plan.target}"
        if switch.state is SwitchState.COMMITTED and f"{switch.plan.component}/{what}" not in story.proofs:
            lines.append(f"- `{switch.plan.component}/{what}` had never been tried before, and worked.")
    return [*lines, f"- {WRITE} what helped that nobody had foreseen."]


# --- what follows --------------------------------------------------------------------------------------------------


def _actions(
    story: Story, decided: list[Decided], runbooks: Mapping[str, Runbook], proposed: Iterable[str]
) -> list[str]:
    found = _proposed_actions(story, decided, runbooks, proposed)
    rows = [f"| {kind} | {cell(text)} | | |" for kind, text in found]
    return ["| to | what | owner | due |", "|---|---|---|---|", *rows, f"| | {WRITE} | | |"]


def _proposed_actions(
    story: Story, decided: list[Decided], runbooks: Mapping[str, Runbook], proposed: Iterable[str]
) -> Iterator[tuple[str, str]]:
    if not decided:
        yield "prevent", f"put this way to fail into the register of {story.incident.component}, with a response"
    if story.incident.kind.value == "manual":
        yield "detect", f"write a check that would have found {story.incident.id}"
    for each in decided:
        if each.failure is not None and each.failure.runbook not in runbooks:
            yield "mitigate", f"write the runbook of {each.name}"
    if any(not each.said_so for each in story.interruptions):
        yield "detect", "find out why the engine ended; its log and the journal of the system may say"
    for name in proposed:
        yield "procedure", f"go through the proposed changes of runbook {name} below"
    for name in story.near:
        yield "detect", f"look at the near misses of {name}: is its threshold right?"


def _next_drill(story: Story, operation: Operation, now: float) -> list[str]:
    lines = []
    for component_id in story.incident.components:
        component = operation.components.get(component_id)
        for provider in component.providers[1:] if component else ():
            committed = [
                switch.ended_at
                for switch in story.switches.values()
                if switch.plan.component == component_id
                and switch.plan.target == provider.id
                and switch.state is SwitchState.COMMITTED
            ]
            proof = story.proofs.get(f"{component_id}/{provider.id}")
            at = max((each for each in committed if each is not None), default=proof.at if proof else None)
            lines.append(_drill_of(f"{component_id}/{provider.id}", at, now))
    return lines or ["Nothing of what failed has a backup that could be drilled."]


def _drill_of(name: str, at: float | None, now: float) -> str:
    if at is None:
        return f"- `{name}` was never proved: drill it now."
    due, void = at + REMIND_AFTER, at + VALID_FOR
    if now >= void:
        return f"- `{name}`: the proof of {moment(at)[:10]} no longer counts; drill it now."
    return f"- `{name}`: proved {moment(at)[:10]}; drill it again by {moment(due)[:10]}, before {moment(void)[:10]}."


def _figures(incident: Incident, now: float) -> list[str]:
    found = figures(incident_view(incident), now)
    return [
        "| figure | time | definition |",
        "|---|---|---|",
        *(
            f"| time to {name} | {_span(found[name])} | {text} |"
            for name, text in DEFINITIONS.items()
            if name != "exposure"
        ),
        f"| exposure | {_span(found.exposure)} | {DEFINITIONS['exposure']} |",
    ]
