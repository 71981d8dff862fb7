"""Gaps of the register: failure modes that nobody notices, answers or practises, and what is wrong with their runbooks.

Each function looks at one component and yields what it finds; `core.readiness_rules` lists them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsdash.core import drill_evidence, proofs
from opsdash.core.readiness_look import Found
from opsdash.model.operation import ResponseKind
from opsdash.model.status import Status
from opsdash.model.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opsdash.core.readiness_look import Look
    from opsdash.model.drill import Drill
    from opsdash.model.operation import Component, FailureMode
    from opsdash.model.readiness import RunbookFacts

FEW = 4
"""Names that a sentence lists; the others are counted."""

SEEN_RED = "seen_red"
"""The table of the world that says when each check was last confirmed not to be ok."""


def count_of(number: int, thing: str) -> str:
    """A number of things, in words."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def named(names: list[str]) -> str:
    """A list of names, the first few of it."""
    return ", ".join(names[:FEW]) + (f" and {len(names) - FEW} more" if len(names) > FEW else "")


# --- the file ------------------------------------------------------------------------------------------------------


def unreadable(_look: Look, component: Component) -> Iterator[Found]:
    """Its file could not be read at all."""
    if component.problem is not None:
        yield Found(
            f"{component.title} shows nothing, since its file cannot be read: {component.problem}",
            "correct the file; `opsdash validate` names line and key",
            command="opsdash validate",
        )


def switched_off(_look: Look, component: Component) -> Iterator[Found]:
    """A problem has switched off a part of its file."""
    for part, why in component.off.items():
        yield Found(
            f"{part} of {component.title} is switched off by a problem: {why}",
            "correct the file; `opsdash validate` names line and key",
            subject=part,
            command="opsdash validate",
            share=1 / len(component.off),
        )


# --- failure modes -------------------------------------------------------------------------------------------------


def no_failure_modes(_look: Look, component: Component) -> Iterator[Found]:
    """Nobody has written down how it can fail. One whose failure modes are all off is told of as such."""
    if not component.failures and not any(part.startswith("failures") for part in component.off):
        yield Found(
            f"nothing says how {component.title} can fail, nor what is done then",
            "write down its failure modes, under `failures:`",
        )


def no_detection(_look: Look, component: Component) -> Iterator[Found]:
    """No check detects a failure mode."""
    for failure, share in _shared(component):
        if failure.detected_by is None:
            yield Found(
                f"no check notices when this happens: {failure.title}",
                f"name the checks that do, as `detected_by` of failures/{failure.id}",
                subject=failure.id,
                share=share,
            )


def no_response(_look: Look, component: Component) -> Iterator[Found]:
    """The response is to follow a runbook, and there is none."""
    for failure, share in _without_runbook(component):
        if failure.response.kind is ResponseKind.RUNBOOK:
            yield Found(
                f"nothing was decided for this: {failure.title}",
                f"write a runbook, and name it as `runbook` of failures/{failure.id}",
                subject=failure.id,
                share=share,
            )


def no_runbook(_look: Look, component: Component) -> Iterator[Found]:
    """There is a response on a key, and nothing to follow where that does not help."""
    for failure, share in _without_runbook(component):
        if failure.response.kind is not ResponseKind.RUNBOOK:
            yield Found(
                f"there is no runbook for the day on which the key does not help: {failure.title}",
                f"write a runbook, and name it as `runbook` of failures/{failure.id}, or for the whole component",
                subject=failure.id,
                share=share,
            )


def _without_runbook(component: Component) -> Iterator[tuple[FailureMode, float]]:
    """Failure modes without runbook; one that is named and switched off is told of as such."""
    for failure, share in _shared(component):
        off = {"runbook", f"failures/{failure.id}/runbook"} & component.off.keys()
        if failure.runbook is None and not off:
            yield failure, share


def never_red(look: Look, component: Component) -> Iterator[Found]:
    """A check that nobody has ever seen fail may be one that cannot fail."""
    own = [*component.checks, *(check for provider in component.providers for check in provider.checks)]
    unseen = [check for check in own if not _was_red(look, check)]
    if not own:
        yield Found(f"no check looks at {component.title}", "declare `checks:`")
    elif unseen:
        names = named([check.removeprefix(f"{component.id}/") for check in unseen])
        yield Found(
            f"{len(unseen)} of {count_of(len(own), 'check')} of {component.title} never seen to fail: {names}",
            "break what they look at in a drill, so that it is known that they can tell",
            share=len(unseen) / len(own),
        )


def _was_red(look: Look, check: str) -> bool:
    if look.draft.get(SEEN_RED, check) is not None:
        return True
    now = look.draft.confirmed(check)
    return now is not None and now.status in (Status.DOWN, Status.DEGRADED)


def _shared(component: Component) -> Iterator[tuple[FailureMode, float]]:
    """Each failure mode, with the share that it has of a rule's cost."""
    for failure in component.failures.values():
        yield failure, 1 / len(component.failures)


# --- runbooks ------------------------------------------------------------------------------------------------------


def runbook_broken(look: Look, component: Component) -> Iterator[Found]:
    """A runbook that is gone, or that cannot be followed step by step."""
    for name, share in _runbooks(component):
        facts = _facts(look, name)
        if look.facts.runbooks is not None and facts is None:
            yield Found(
                f"the runbook {name} is named, and there is no such file",
                f"write runbooks/{name}.md",
                subject=name,
                file=f"runbooks/{name}.md",
                share=share,
            )
        elif facts is not None and facts.broken:
            yield Found(
                f"the runbook {name} can be read, but not followed step by step: {facts.broken}",
                "correct it",
                subject=name,
                command=f"opsdash runbook lint {name}",
                file=facts.path,
                share=share,
            )


def runbook_not_approved(look: Look, component: Component) -> Iterator[Found]:
    """A runbook whose blocks wait for somebody to approve them."""

    def is_so(facts: RunbookFacts) -> bool:
        return facts.approved is False and not facts.broken

    for name, share, _facts_of in _with(look, component, is_so):
        yield Found(
            f"the runbook {name} would execute what nobody has approved as it is now",
            "read what it would execute, and approve it",
            subject=name,
            command=f"opsdash runbook run {name}",
            file="",
            share=share,
        )


def runbook_overdue(look: Look, component: Component) -> Iterator[Found]:
    """A runbook that was to be read again by now."""

    def is_so(facts: RunbookFacts) -> bool:
        return facts.review_due is not None and facts.review_due < look.wall

    for name, share, facts in _with(look, component, is_so):
        late = format_duration(look.wall - (facts.review_due or 0.0))
        yield Found(
            f"the review of the runbook {name} is overdue since {late}",
            "read it against what is there today, correct it, and set `reviewed`",
            subject=name,
            file=facts.path,
            share=share,
        )


def _runbooks(component: Component) -> Iterator[tuple[str, float]]:
    """Each runbook that a component's failure modes name, with its share."""
    names = list(dict.fromkeys(each.runbook for each in component.failures.values() if each.runbook))
    for name in names:
        yield name, 1 / len(names)


def _facts(look: Look, name: str) -> RunbookFacts | None:
    return None if look.facts.runbooks is None else look.facts.runbooks.get(name)


def _with(
    look: Look, component: Component, is_so: Callable[[RunbookFacts], bool]
) -> Iterator[tuple[str, float, RunbookFacts]]:
    for name, share in _runbooks(component):
        facts = _facts(look, name)
        if facts is not None and is_so(facts):
            yield name, share, facts


# --- drills --------------------------------------------------------------------------------------------------------

BEST_FIRST = (proofs.FRESH, proofs.OLD, proofs.CHANGED, proofs.FAILED, proofs.NEVER, "off")
"""Of several drills of a failure mode the best one counts."""


def no_drill(look: Look, component: Component) -> Iterator[Found]:
    """Nobody practises a failure mode."""
    for failure, share in _shared(component):
        if not look.drills.get((component.id, failure.id)):
            yield Found(
                f"nobody practises this: {failure.title}",
                f"write a drill with `failure_mode: {component.id}/{failure.id}`; a tabletop one touches nothing",
                subject=failure.id,
                file=f"drills/{component.id}-{failure.id}.yaml",
                share=share,
            )


def drill_off(look: Look, component: Component) -> Iterator[Found]:
    """The only drill is switched off by a problem of its file."""
    for failure, share, drill, _ in _drilled(look, component, "off"):
        yield Found(
            f"the drill {drill.id} cannot be run, and no other practises this: {failure.title}; {drill.off}",
            "correct its file; `opsdash validate` names line and key",
            subject=failure.id,
            command="opsdash validate",
            file=drill.file,
            share=share,
        )


def drill_never_run(look: Look, component: Component) -> Iterator[Found]:
    """There is a drill that was never run to its end."""
    for failure, share, drill, _ in _drilled(look, component, proofs.NEVER):
        yield _run(drill, failure, f"the drill {drill.id} has never been run: {failure.title}", share)


def drill_failed(look: Look, component: Component) -> Iterator[Found]:
    """The latest run of a drill has failed."""
    for failure, share, drill, at in _drilled(look, component, proofs.FAILED):
        text = f"the drill {drill.id} failed {_ago(look, at)} ago, and was not passed since: {failure.title}"
        yield _run(drill, failure, text, share)


def drill_old(look: Look, component: Component) -> Iterator[Found]:
    """The evidence of a drill no longer counts, by its age."""
    for failure, share, drill, at in _drilled(look, component, proofs.OLD):
        text = f"the drill {drill.id} was last passed {_ago(look, at)} ago, which no longer counts: {failure.title}"
        yield _run(drill, failure, text, share)


def drill_changed(look: Look, component: Component) -> Iterator[Found]:
    """The evidence of a drill no longer counts, since what it proved is not there any more."""
    for failure, share, drill, at in _drilled(look, component, proofs.CHANGED):
        text = f"what the drill {drill.id} proved {_ago(look, at)} ago has changed since: {failure.title}"
        yield _run(drill, failure, text, share)


def _standing(look: Look, drill: Drill) -> tuple[str, float | None]:
    """Whether the evidence of a drill counts, and since when it is so."""
    past = drill_evidence.latest(look.draft, drill.id)
    shown = None if past is None else past.failed or past.proved
    return drill_evidence.standing(look.draft, drill, look.wall), None if shown is None else shown.at


def _run(drill: Drill, failure: FailureMode, text: str, share: float) -> Found:
    command = f"opsdash drill run {drill.id}"
    return Found(text, "run the drill", subject=failure.id, command=command, file="", share=share)


def _ago(look: Look, at: float | None) -> str:
    return format_duration(max(0.0, look.wall - (at or look.wall)))


def _drilled(look: Look, component: Component, wanted: str) -> Iterator[tuple[FailureMode, float, Drill, float | None]]:
    """Failure modes whose best drill is in that state."""
    for failure, share in _shared(component):
        judged = [
            (("off", None) if drill.off else _standing(look, drill), drill)
            for drill in look.drills.get((component.id, failure.id), ())
        ]
        if judged:
            (state, at), drill = min(judged, key=lambda each: (BEST_FIRST.index(each[0][0]), each[1].id))
            if state == wanted:
                yield failure, share, drill, at
