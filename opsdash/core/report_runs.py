"""The part of an incident's report that is about runbooks: how each was followed, and what it should learn from that.

What is proposed is a unified diff of the runbook's file, so that it can be read, and applied with `patch -p0`.
"""

from __future__ import annotations

import difflib
import math
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from opsdash.core.evolve_runs import times_key
from opsdash.core.markdown import cell, fenced, line
from opsdash.core.step_times import usual
from opsdash.model.run import BlockState, Decision
from opsdash.model.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from opsdash.core.step_times import Usual
    from opsdash.core.story import Story
    from opsdash.model.incident import Incident
    from opsdash.model.run import BlockResult, Run, StepMark, StepTimes
    from opsdash.model.runbook import Runbook, Step

WORDS = {"done": "done", "failed": "did not work", "skipped": "skipped", "": "not come to"}
DECIDED = {Decision.DONE: "it is done", Decision.REPEAT: "it is to be repeated", Decision.SKIP: "it is left out"}

OFF = 2.0
"""By how many times a step has to take longer or shorter than its author thought, for its time to be corrected."""

_TIME = re.compile(r"^(\s*\*\*Time:\*\*).*$")


def moment(at: float | None) -> str:
    """A time in UTC, to the second."""
    return "–" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")


def titles(runbook: Runbook | None) -> dict[str, str]:
    """The titles of a runbook's steps, by id."""
    return {step.id: step.title for step in runbook.steps} if runbook else {}


# --- how it was followed -------------------------------------------------------------------------------------------


def followed(story: Story, run: Run, runbook: Runbook | None) -> list[str]:
    """How a run went: who drove it, what became of each step and when, and what was cut short."""
    end = f", closed {moment(run.ended_at)}" if run.ended_at else ", not closed yet"
    lines = [f"- Runbook `{run.runbook}` ({run.id}), begun {moment(run.started_at)} by {line(run.who)}{end}:"]
    for taken in story.taken.get(run.id, ()):
        if taken.who != taken.was:
            why = f": {line(taken.reason)}" if taken.reason else ""
            lines.append(f"    - taken over from {line(taken.was)} by {line(taken.who)} at {moment(taken.at)}{why}")
    names = titles(runbook)
    lines += [f"    - {_trouble(block, names)}" for block in run.blocks if _is_trouble(block)]
    return [*lines, "", *_steps(story, run, runbook), ""]


def _is_trouble(block: BlockResult) -> bool:
    return block.state in (BlockState.FAILED, BlockState.UNKNOWN)


def _trouble(block: BlockResult, names: Mapping[str, str]) -> str:
    title = names.get(block.step, block.step)
    known = "failed" if block.state is BlockState.FAILED else "was cut short, and nobody knew what it had done"
    decided = f"; {line(block.decided_by)} decided: {DECIDED[block.decision]}" if block.decision else ""
    undecided = "; nobody has decided yet" if block.in_doubt else ""
    return f"a block of “{line(title)}” {known}: {line(block.detail) or 'no detail'}{decided}{undecided}"


def _steps(story: Story, run: Run, runbook: Runbook | None) -> Iterator[str]:
    """A table of all steps, in the order of the runbook. It is not indented, so that it reads well unrendered, too."""
    yield "| step | became | at (UTC) | by | took | thought | usually |"
    yield "|---|---|---|---|---|---|---|"
    marks = {mark.step: mark for mark in run.marks}
    known = {step.id: step for step in runbook.steps} if runbook else {}
    for name in dict.fromkeys([*known, *marks]):
        yield _row(name, known.get(name), marks.get(name), _usual(story.step_times, run.runbook, known.get(name)))


def _row(name: str, step: Step | None, mark: StepMark | None, times: Usual | None) -> str:
    cells = (
        cell(step.title) if step else f"`{name}`",
        WORDS.get(mark.mark if mark else "", mark.mark if mark else ""),
        moment(mark.at if mark else None),
        cell(mark.who) if mark else "–",
        "–" if mark is None or mark.seconds is None else format_duration(mark.seconds),
        "–" if step is None or step.time is None else format_duration(step.time),
        "–" if times is None else format_duration(times.median),
    )
    return f"| {' | '.join(cells)} |"


def _usual(times: Mapping[str, StepTimes], runbook: str, step: Step | None) -> Usual | None:
    return None if step is None else usual(times.get(times_key(runbook, step.id)), step.sha256)


# --- what it should learn ------------------------------------------------------------------------------------------


def proposals(story: Story, runbooks: Mapping[str, Runbook]) -> dict[str, list[str]]:
    """The lines of a diff for each runbook that was followed and should learn something, by its id."""
    found: dict[str, list[str]] = {}
    for run in story.runs.values():
        runbook = runbooks.get(run.runbook)
        changes = [] if runbook is None else propose(runbook, run, story.incident, story.step_times)
        if changes:
            found[run.runbook] = changes
    return found


def told(proposed: Mapping[str, list[str]]) -> list[str]:
    """The proposals as they stand in a report."""
    lines = [each for changes in proposed.values() for each in (*fenced("\n".join(changes), "diff"), "")]
    none = "None: no step on the way was skipped, none failed, and none usually takes twice or half as long as thought."
    return lines[:-1] if lines else [none]


def propose(runbook: Runbook, run: Run, incident: Incident, times: Mapping[str, StepTimes]) -> list[str]:
    """What following a runbook has taught, as a unified diff of its file; empty where nothing was learned."""
    marks = {mark.step: mark.mark for mark in run.marks}
    when = datetime.fromtimestamp(run.started_at, UTC).strftime("%Y-%m-%d")
    before = runbook.text.removesuffix("\n").split("\n")
    after = list(before)
    for number in reversed(range(len(runbook.steps))):
        step = runbook.steps[number]
        detour = number > 0 and runbook.steps[number - 1].then is not None
        remark = _remark(step, marks.get(step.id, ""), run, f"{incident.id}, {when}", detour=detour)
        if remark:
            after[step.end_line : step.end_line] = ["", f"> {remark}"]
        _correct_time(after, step, _usual(times, runbook.id, step))
    return list(difflib.unified_diff(before, after, runbook.path, runbook.path, lineterm="", n=2))


def _remark(step: Step, mark: str, run: Run, where: str, *, detour: bool) -> str:
    """detour: the way never leads into this step from the one before, so it is there for what did not happen."""
    if mark == "skipped" and not detour:
        return f"Skipped in {where}: is this step still needed?"
    if mark != "failed":
        return ""
    said = (block.detail for block in run.blocks if block.step == step.id and block.detail)
    return f"Did not work in {where}: {line(next(said, 'say here what happened'))}"


def _correct_time(lines: list[str], step: Step, times: Usual | None) -> None:
    """Replace the author's time of a step where it usually takes more than twice, or less than half, as long."""
    if times is None or not step.time or step.time / OFF <= times.median <= step.time * OFF:
        return
    for number in range(step.line - 1, min(step.end_line, len(lines))):
        if _TIME.match(lines[number]):
            lines[number] = _TIME.sub(rf"\g<1> {_estimate(times.median)}", lines[number])
            return


def _estimate(seconds: float) -> str:
    """A time as an author would write it: rounded up to ten seconds, or to minutes."""
    if seconds <= 60:
        return f"{max(10, math.ceil(seconds / 10) * 10)} s"
    return f"{math.ceil(seconds / 60)} min"
