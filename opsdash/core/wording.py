"""What messages say. One that tells of many lists the worst, and counts the rest."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from opsdash.core import acknowledging
from opsdash.model.message import MessageKind
from opsdash.model.operation import ResponseKind
from opsdash.model.text import clean, clean_lines
from opsdash.model.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opsdash.core.draft import Draft
    from opsdash.core.routing import Subject
    from opsdash.model.message import KnownAlarm
    from opsdash.model.operation import Component, FailureMode

LISTED = 10
"""Alarms that a message lists; the others are counted."""

NAMED = 3
"""Alarms that a title names."""

TITLE_LIMIT = 200
LINE_LIMIT = 300
STATUS_LIMIT = 2000

DRILL = "[DRILL] "


@dataclass(frozen=True, slots=True)
class News:
    """What a message is to tell, each list worst first.

    began: alarms of which the channel has not been told.  over: those of which it has been told and that are over.
    missed: those that were deferred and are over by now.  still: how many others it knows that are not over.
    notes: how it was decided who is told.
    """

    began: Sequence[Subject] = ()
    over: Sequence[KnownAlarm] = ()
    missed: Sequence[KnownAlarm] = ()
    still: int = 0
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Text:
    """Title and body of a message. link: to the runbook of what fails, "" where there is none to be read."""

    title: str
    body: str
    link: str = ""


def news(draft: Draft, kind: MessageKind, told: News) -> Text:
    """A message about alarms that began, are over, or were missed."""
    if told.began:
        title = _began_title(kind, told.began)
    elif told.over:
        title = _over_title(told)
    else:
        title = _missed_title(told.missed)
    began = [_began_line(draft, each) for each in told.began[:LISTED]]
    sections = [
        began + _more(told.began),
        _advice(draft, told.began),
        _section("works again:", [_over_line(draft, each) for each in told.over[:LISTED]] + _more(told.over)),
        _section(
            "was held back, and is over:",
            [_over_line(draft, each) for each in told.missed[:LISTED]] + _more(told.missed),
        ),
        [f"{told.still} of which you were told before still {_verb(told.still, 'fail')}"] if told.still else [],
        list(told.notes),
    ]
    return _text(title, sections, _link(draft, told.began))


def reminder(draft: Draft, subjects: Sequence[Subject]) -> Text:
    """A message about alarms that nobody has acknowledged."""
    expired = [who for each in subjects if (who := acknowledging.until_lately(each.incident))]
    first = subjects[0].alarm.title
    title = f"still: {first}" + (f" and {len(subjects) - 1} more" if len(subjects) > 1 else "")
    why = "nobody has acknowledged it" if len(subjects) == 1 else "nobody has acknowledged them"
    if expired:
        why = f"the acknowledgement of {expired[0]} has expired"
    lines = [_began_line(draft, each) for each in subjects[:LISTED]]
    return _text(title, [lines + _more(subjects), [why], _advice(draft, subjects)], _link(draft, subjects))


def test(channel: str, who: str) -> Text:
    """A message that says that it is a test."""
    said = f"Nothing has happened. {who} tests whether alarms arrive here: they do."
    return _text(f"test of channel {channel}", [[said]])


def status(operation: str, text: str) -> Text:
    """What customers are told: the words of a person, and nothing else."""
    return Text(clean(operation, TITLE_LIMIT), clean_lines(text, STATUS_LIMIT))


def marked(text: Text, *, drill: bool) -> Text:
    """With the mark of a drill in the title, where it is about nothing else."""
    return replace(text, title=DRILL + text.title.removeprefix(DRILL)) if drill else text


# --- titles ----------------------------------------------------------------------------------------------------------


def _began_title(kind: MessageKind, began: Sequence[Subject]) -> str:
    escalated = "not acknowledged: " if kind is MessageKind.ESCALATION else ""
    if len(began) == 1:
        return escalated + began[0].alarm.title
    return f"{escalated}{len(began)} alarms: {_named([_name(each) for each in began])}"


def _over_title(told: News) -> str:
    if len(told.over) == 1:
        return f"over: {told.over[0].title}"
    every = "all " if not told.still else ""
    return f"{every}{len(told.over)} alarms are over: {_named([each.alarm for each in told.over])}"


def _missed_title(missed: Sequence[KnownAlarm]) -> str:
    if len(missed) == 1:
        return f"was held back, and is over: {missed[0].title}"
    return f"{len(missed)} alarms were held back, and are over: {_named([each.alarm for each in missed])}"


def _named(names: Sequence[str]) -> str:
    rest = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {rest} {'others' if rest > 1 else 'other'}" if rest > 0 else "")


def _name(about: Subject) -> str:
    return about.key


# --- lines -----------------------------------------------------------------------------------------------------------


def _began_line(draft: Draft, about: Subject) -> str:
    facts = [f"for {format_duration(draft.now.wall - about.alarm.due)}"]
    if about.incident is not None:
        facts.insert(0, about.incident.id)
        who = acknowledging.looked_after_by(about.incident, draft.now.wall)
        if who:
            facts.append(f"acknowledged by {who}")
    if about.alarm.note:
        facts.append(about.alarm.note)
    return f"{DRILL if about.drill else ''}{about.alarm.title} ({', '.join(facts)})"


def _over_line(draft: Draft, known: KnownAlarm) -> str:
    took = format_duration(draft.now.wall - known.at)
    incident = f"{known.incident}, " if known.incident else ""
    return f"{DRILL if known.drill else ''}{known.title} ({incident}first noted {took} ago)"


def _more(items: Sequence[object]) -> list[str]:
    rest = len(items) - LISTED
    return [f"and {rest} more"] if rest > 0 else []


def _section(head: str, lines: list[str]) -> list[str]:
    return [head, *lines] if lines else []


def _verb(count: int, verb: str) -> str:
    return f"{verb}s" if count == 1 else verb


def _advice(draft: Draft, subjects: Sequence[Subject]) -> list[str]:
    """What was decided for it, and how to say that one looks after it; only where there is one thing to do."""
    if len(subjects) != 1:
        return []
    about, lines = subjects[0], []
    failure = None if about.component is None or about.topic else _failure(draft, about.component)
    if failure is not None:
        lines.append(_decided(failure))
    if about.incident is not None and about.incident.is_open:
        lines.append(f"acknowledge: opsdash incident ack {about.incident.id}")
    return lines


def _failure(draft: Draft, component: Component) -> FailureMode | None:
    active = {failure for failure, _ in draft.state(component.id).failures}
    return next((each for each in component.failures.values() if each.id in active), None)


def _decided(failure: FailureMode) -> str:
    runbook = f"runbook {failure.runbook}" if failure.runbook else ""
    if failure.response.kind is ResponseKind.RUNBOOK:
        return f"decided in advance: {runbook or 'follow the runbook'}"
    return f"decided in advance: {failure.response}" + (f"; {runbook}" if runbook else "")


def _link(draft: Draft, subjects: Sequence[Subject]) -> str:
    """Where the runbook of the worst of them can be read without opsdash."""
    at = draft.operation.alarms.runbooks_at
    about = subjects[0] if subjects else None
    if not at or about is None or about.component is None or about.topic:
        return ""
    failure = _failure(draft, about.component)
    runbook = (failure.runbook if failure is not None else None) or about.component.runbook
    return f"{at}/{runbook}.md" if runbook else ""


def _text(title: str, sections: Sequence[Sequence[str]], link: str = "") -> Text:
    body = "\n\n".join("\n".join(clean(line, LINE_LIMIT) for line in section) for section in sections if section)
    return Text(clean(title, TITLE_LIMIT), body, link)
