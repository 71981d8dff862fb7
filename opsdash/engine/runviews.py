"""A runbook with its run, for a client."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from itertools import islice
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from opsdash.core.chains import current_step, missing
from opsdash.core.evolve_runs import times_key
from opsdash.core.step_times import usual
from opsdash.model.empty import nothing
from opsdash.model.run import BlockState, RunMode
from opsdash.model.runbook import MOST_STEPS, Role
from opsdash.model.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from opsdash.model.run import BlockResult, Run, StepTimes
    from opsdash.model.runbook import Block, Runbook, Step
    from opsdash.model.views import (
        BlockView,
        LiveCheck,
        ParameterView,
        RunbookLine,
        RunView,
        StepDifference,
        StepView,
        UsualView,
    )
    from opsdash.storage.trust import Approval

SHOWN_OUTPUT = 8 * 1024
"""Characters of a block's output in a view, the last ones; `opsdash.service` hands out all of it."""

MOST_DIFFERENCES = 50
MOST_LINES = 200
MOST_COMPARED = 2000


@dataclass(frozen=True, slots=True)
class About:
    """What is to be known of a runbook beside its text and its run.

    changed_to: the text that the file has now, where that is not the one the run goes by; note: what else is odd.
    yours, gone: about the driver of the run.  approval: the latest one; approved: it is of this text; approved_text: of
    another one.  times: of steps.  processes: what became of programs.
    output: what a block that is executing has said.  live: how a check of opsdash is now.
    """

    component: str = ""
    findings: Iterable[str] = ()
    changed_to: Runbook | None = None
    note: str = ""
    yours: bool = False
    gone: bool = False
    approval: Approval | None = None
    approved: bool = False
    approved_text: Runbook | None = None
    runbooks: Mapping[str, Runbook] = field(default_factory=nothing)
    times: Callable[[str], StepTimes | None] = lambda _: None
    differences: Callable[[Runbook, Runbook], list[StepDifference]] = lambda _old, _new: []
    processes: Mapping[tuple[str, int], str] = field(default_factory=dict)
    output: Callable[[str, int], str | None] = lambda _step, _block: None
    live: Callable[[str], LiveCheck | None] = lambda _: None


def run_view(runbook: Runbook, run: Run | None, about: About) -> RunView:
    """The runbook, step by step, with what has been done in `run`."""
    current = current_step(runbook, run)
    approval, other = about.approval, about.changed_to
    return {
        "id": run.id if run else "",
        "runbook": runbook.id,
        "title": runbook.title,
        "component": about.component or runbook.component or "",
        "components": _components(runbook, about.component),
        "owner": runbook.owner,
        "executable": runbook.executable,
        "mode": run.mode.value if run else RunMode.STEP.value,
        "changed": other is not None,
        "differences": about.differences(runbook, other) if other is not None else [],
        "note": about.note,
        "approved": about.approved,
        "approved_by": approval.who if approval else None,
        "approved_at": approval.at if approval else None,
        "unapproved": about.differences(about.approved_text, other or runbook) if about.approved_text else [],
        "sha256": (other or runbook).sha256,
        "findings": list(about.findings),
        "steps": [_step(runbook, step, run, about, is_current=step is current) for step in runbook.steps[:MOST_STEPS]],
        "current": current.id if current else "",
        "params": _params(runbook, run),
        "text": runbook.text,
        "who": run.who if run else "",
        "driver": run.driven_by if run else "",
        "driver_gone": about.gone,
        "active_at": (run.active_at or run.started_at) if run else None,
        "yours": about.yours,
        "started_at": run.started_at if run else None,
        "ended_at": run.ended_at if run else None,
    }


def _components(runbook: Runbook, about: str) -> list[str]:
    """The components that a runbook is about: its own, and all that its commands name."""
    named = (command.argv for step in runbook.steps for block in step.blocks for command in block.commands)
    others = (argv[1].partition("/")[0] for argv in named if len(argv) > 1)
    return [each for each in dict.fromkeys([about or runbook.component or "", *others]) if each]


def _params(runbook: Runbook, run: Run | None) -> list[ParameterView]:
    given = {each.name: each for each in run.params} if run else {}
    declared: list[ParameterView] = [
        {
            "name": param.name,
            "ask": param.ask or "",
            "default": param.default,
            "pattern": param.pattern,
            "secret": param.secret or "",
            "value": given[param.name].value if param.name in given else None,
            "source": given[param.name].source if param.name in given else "",
        }
        for param in runbook.params
    ]
    names = {param.name for param in runbook.params}
    others = sorted((runbook.captures | given.keys()) - names)
    return declared + [
        {
            "name": name,
            "ask": "",
            "default": None,
            "pattern": None,
            "secret": "",
            "value": given[name].value if name in given else None,
            "source": given[name].source if name in given else "",
        }
        for name in others
    ]


def _step(runbook: Runbook, step: Step, run: Run | None, about: About, *, is_current: bool) -> StepView:
    ticks = set(run.ticks) if run else set()
    return {
        "id": step.id,
        "title": step.title,
        "text": step.text,
        "ticks": [(tick.text, (step.id, index) in ticks) for index, tick in enumerate(step.ticks)],
        "blocks": [_block(runbook, step, index, run, about) for index in range(len(step.blocks))],
        "expect": step.expect or "",
        "time": format_duration(step.time) if step.time is not None else "",
        "who": step.who or "",
        "if_fails": step.if_fails,
        "goes_to": branch(runbook, step.if_fails, about.runbooks),
        "then": step.then,
        "then_to": branch(runbook, step.then, about.runbooks),
        "danger": step.danger,
        "mark": run.mark(step.id) if run else "",
        "usual": _usual(about.times(times_key(runbook.id, step.id)), step.sha256),
        "since": run.since if run and is_current else None,
    }


def _usual(times: StepTimes | None, sha256: str) -> UsualView | None:
    found = usual(times, sha256)
    return None if found is None else {"median": found.median, "p90": found.p90, "runs": found.runs}


def branch(runbook: Runbook, target: str | None, runbooks: Mapping[str, Runbook]) -> tuple[str, str] | None:
    """Where a link leads, as (runbook, step); the step is "" where it leads to the whole of another runbook."""
    if not target:
        return None
    path, _, anchor = target.partition("#")
    if not path:
        return (runbook.id, anchor) if runbook.step(anchor) else None
    parts: list[str] = []
    for part in (PurePosixPath(runbook.path).parent / path.partition("?")[0]).parts:
        if part == "..":
            parts = parts[:-1]
        else:
            parts.append(part)
    found = next((each for each in runbooks.values() if PurePosixPath(each.path).parts == tuple(parts)), None)
    return None if found is None else (found.id, anchor if found.step(anchor) else "")


def _block(runbook: Runbook, step: Step, index: int, run: Run | None, about: About) -> BlockView:
    block = step.blocks[index]
    result = run.block(step.id, index) if run else None
    running = about.output(step.id, index) if result is not None and result.state is BlockState.STARTED else None
    return {
        "index": index,
        "role": block.role.value,
        "language": block.language.value,
        "code": block.code,
        "danger": block.danger,
        "once": block.once,
        "host": block.host or "",
        "keeps_as": block.as_ or "",
        "typed": _typed(step, block, result),
        "needs": list(missing(runbook, run, block)),
        "state": result.state.value if result else "",
        "detail": result.detail if result else "",
        "output": _last_of(running if running is not None else result.output) if result else "",
        "at": (result.finished_at or result.started_at) if result else None,
        "started_at": result.started_at if result else None,
        "who": result.who if result else "",
        "in_doubt": result is not None and result.in_doubt,
        "decision": result.decision.value if result and result.decision else None,
        "process": about.processes.get((step.id, index), ""),
        "live": _live(block, about),
    }


def _typed(step: Step, block: Block, result: BlockResult | None) -> str:
    """Why the component's name has to be typed, "" if it has not."""
    if block.danger or (step.danger and block.role is not Role.CHECK):
        return "this step is dangerous"
    return "it is meant to be run only once, and was run" if block.once and result is not None else ""


def _live(block: Block, about: About) -> list[LiveCheck]:
    asked = [command.argv[1] for command in block.commands if command.argv[0] == "check" and len(command.argv) > 1]
    return [found for found in map(about.live, asked) if found is not None]


def _last_of(text: str) -> str:
    if len(text) <= SHOWN_OUTPUT:
        return text
    rest = text[-SHOWN_OUTPUT:]
    return f"… {len(text) - len(rest)} characters before\n{rest.partition(chr(10))[2] or rest}"


# --- differences ---------------------------------------------------------------------------------------------------


def differences(old: Runbook, new: Runbook) -> list[StepDifference]:
    """The steps whose text is another one in `new`, with how; what came and what went among them."""
    before = {step.id: step for step in old.steps}
    after = {step.id: step for step in new.steps}
    found: list[StepDifference] = []
    if _rest(old) != _rest(new):
        found.append({"step": "", "title": "outside of the steps", "lines": _unified(_rest(old), _rest(new))})
    for name in dict.fromkeys([*after, *before]):
        was, now = before.get(name), after.get(name)
        if was is not None and now is not None and was.sha256 == now.sha256:
            continue
        if len(found) >= MOST_DIFFERENCES:
            found.append({"step": "", "title": "…", "lines": ["and more steps than are shown here"]})
            break
        found.append({"step": name, "title": (now or was).title, "lines": _lines(was, now)})  # type: ignore[union-attr]
    return found


def _rest(runbook: Runbook) -> str:
    """What belongs to no step: the front matter above all, which may name where secrets come from."""
    lines = runbook.text.split("\n")
    for step in reversed(runbook.steps):
        del lines[step.line - 1 : step.end_line]
    return "\n".join(lines).strip()


def _lines(was: Step | None, now: Step | None) -> list[str]:
    return _unified("" if was is None else was.text, "" if now is None else now.text)


def _unified(was: str, now: str) -> list[str]:
    old, new = was.splitlines(), now.splitlines()
    if max(len(old), len(new)) > MOST_COMPARED:
        return [f"{len(old)} lines became {len(new)}: too many to be compared here"]
    lines = list(islice(difflib.unified_diff(old, new, lineterm="", n=2), 2, MOST_LINES + 3))
    return [*lines[:MOST_LINES], "…"] if len(lines) > MOST_LINES else lines


def runbook_line(runbook: Runbook, findings: int, *, approved: bool) -> RunbookLine:
    """A runbook in a list."""
    return {
        "id": runbook.id,
        "title": runbook.title,
        "component": runbook.component,
        "failures": list(runbook.failure_modes),
        "owner": runbook.owner,
        "reviewed": runbook.reviewed.isoformat() if runbook.reviewed else None,
        "executable": runbook.executable,
        "findings": findings,
        "approved": approved,
    }
