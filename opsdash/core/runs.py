"""Following a runbook: opened, driven by one, watched by any number, ticked and marked, and all of it is recorded.

Whoever opens a run drives it; what others want of it is refused, with the way to take it over. A driver whose terminal
is gone, or who has been silent for two minutes, is offered to be relieved at once; that takes a reason in any case,
and no reason at all from the same person in another terminal.

What the blocks do is in `opsdash.core.run_blocks`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsdash.core import incidents
from opsdash.model.incident import EntryKind
from opsdash.model.records import (
    RunAccepted,
    RunbookApproved,
    RunEnded,
    RunParameterSet,
    RunStarted,
    RunTaken,
    RunTicked,
    StepMarked,
)
from opsdash.model.run import BlockState, Run, RunMode
from opsdash.model.switch import Refused
from opsdash.model.units import format_duration

if TYPE_CHECKING:
    from opsdash.core.draft import Draft
    from opsdash.model.inputs import (
        AcceptRunIntent,
        ApproveRunbookIntent,
        EndRunIntent,
        MarkStepIntent,
        OpenRunIntent,
        SessionSeen,
        SetParameterIntent,
        TakeRunIntent,
        TickIntent,
    )

MARKS = ("done", "failed", "skipped", "open")
MARK_WORDS = {"done": "done", "failed": "did not work", "skipped": "skipped", "open": "open again"}

SILENT = 120.0
"""Seconds after which a driver who does nothing may be somewhere else."""


def begin(draft: Draft, who: str, intent: OpenRunIntent) -> str:
    """Begin a run. Returns its id."""
    run = f"RUN-{draft.life().runs + 1}"
    incident = draft.state(intent.component).incident
    draft.emit(
        RunStarted(
            draft.now.wall, run, intent.runbook, intent.component, intent.sha256, who, incident,
            steps=intent.steps, mode=intent.mode, session=draft.session, titles=intent.titles,
        )
    )  # fmt: skip
    what = "began to rehearse" if intent.mode is RunMode.REHEARSE else "opened"
    incidents.note(draft, intent.component, EntryKind.RUNBOOK, f"{what} runbook {intent.runbook}", who)
    draft.touch(intent.component)
    return run


def open_run_of(draft: Draft, runbook: str, component: str, mode: RunMode = RunMode.STEP) -> Run | None:
    """The open run of a runbook for a component."""
    runs = (draft.get("runs", key) for key in draft.keys("runs"))
    return next((run for run in runs if (run.runbook, run.component, run.mode) == (runbook, component, mode)), None)


def find(draft: Draft, run: str) -> Run | Refused:
    """An open run."""
    found: Run | None = draft.get("runs", run)
    return found or Refused("unknown_run", f"there is no open run {run!r}; open the runbook again")


# --- who drives ----------------------------------------------------------------------------------------------------


def is_driver(run: Run, who: str, session: str) -> bool:
    """Whether somebody, in this terminal, drives a run. A client that names no terminal stands for the person."""
    return run.driven_by == who and (not session or not run.session or session == run.session)


def is_gone(draft: Draft, run: Run) -> bool:
    """Whether the terminal from which a run was driven no longer listens."""
    return bool(run.session) and draft.live("sessions", run.session) is None


def is_silent(run: Run, wall: float) -> bool:
    """Whether the driver has not done anything for so long that he may be somewhere else."""
    return wall - run.active_at >= SILENT


def driven(draft: Draft, who: str, name: str) -> Run | Refused:
    """A run that this person may go on with, here; who drives it, where that is somebody else."""
    run = find(draft, name)
    if isinstance(run, Refused) or is_driver(run, who, draft.session):
        return run
    if run.driven_by == who and (is_gone(draft, run) or is_silent(run, draft.now.wall)):
        hand_over(draft, run, who, "in another terminal")
        return find(draft, name)
    active = f"last active {format_duration(draft.now.wall - run.active_at)} ago"
    where = "you drive it in another terminal" if run.driven_by == who else f"{run.driven_by} drives it"
    gone = "; that terminal is gone" if is_gone(draft, run) else ""
    return Refused("driver", f"{where}, {active}{gone}; {run.id} can be taken over, with a reason")


def take(draft: Draft, who: str, intent: TakeRunIntent) -> Refused | None:
    """Drive a run from now on."""
    run = find(draft, intent.run)
    if isinstance(run, Refused):
        return run
    if is_driver(run, who, draft.session):
        return Refused("driver", f"you drive {run.id} already")
    if not intent.reason.strip():
        return Refused("empty", f"say why you take {run.id} over from {run.driven_by}")
    hand_over(draft, run, who, intent.reason.strip())
    return None


def hand_over(draft: Draft, run: Run, who: str, reason: str) -> None:
    """Somebody else drives a run from now on."""
    was = run.driven_by
    draft.emit(RunTaken(draft.now.wall, run.id, run.component, who, draft.session, was, reason))
    draft.set_live("runs", run.id, None)
    if was != who:
        text = f"took runbook {run.runbook} over from {was}: {reason}"
        incidents.note(draft, run.component, EntryKind.RUNBOOK, text, who)
    draft.touch(run.component)


def session_seen(draft: Draft, event: SessionSeen) -> None:
    """A client's terminal listens, or no longer does."""
    draft.set_live("sessions", event.session, draft.now.mono if event.present else None)
    for key in draft.keys("runs"):
        if draft.get("runs", key).session == event.session:
            draft.touch(draft.get("runs", key).component)


# --- steps ---------------------------------------------------------------------------------------------------------


def tick(draft: Draft, who: str, intent: TickIntent) -> Refused | None:
    """Set or take back a tick."""
    run = driven(draft, who, intent.run)
    if isinstance(run, Refused):
        return run
    draft.emit(RunTicked(draft.now.wall, run.id, intent.step, intent.tick, intent.done, who))
    draft.touch(run.component)
    return None


def mark(draft: Draft, who: str, intent: MarkStepIntent) -> Refused | None:
    """Call a step done, failed or skipped."""
    run = driven(draft, who, intent.run)
    if isinstance(run, Refused):
        return run
    if intent.mark not in MARKS:
        return Refused("mark", f"a step is {', '.join(MARKS)}; not {intent.mark!r}")
    draft.emit(StepMarked(draft.now.wall, run.id, intent.step, intent.mark, who, goto=intent.goto))
    text = f"{run.runbook}, {run.called(intent.step)}: {MARK_WORDS[intent.mark]}"
    incidents.note(draft, run.component, EntryKind.RUNBOOK, text, who)
    draft.touch(run.component)
    return None


def set_parameter(draft: Draft, who: str, intent: SetParameterIntent) -> Refused | None:
    """Give a parameter its value; whether it may have this one was found out before."""
    run = driven(draft, who, intent.run)
    if isinstance(run, Refused):
        return run
    draft.emit(RunParameterSet(draft.now.wall, run.id, intent.name, intent.value, who))
    draft.touch(run.component)
    return None


def accept(draft: Draft, who: str, intent: AcceptRunIntent) -> Refused | None:
    """Go on by the new text of the file."""
    run = driven(draft, who, intent.run)
    if isinstance(run, Refused):
        return run
    if run.sha256 == intent.sha256:
        return Refused("same", f"{run.id} goes by this text already")
    if any(block.state is BlockState.STARTED for block in run.blocks):
        return Refused("running", "a block of the old text is still running; cancel it, or wait for its end")
    draft.emit(RunAccepted(draft.now.wall, run.id, run.component, intent.sha256, intent.steps, who, intent.titles))
    draft.set_live("runs", run.id, None)
    text = f"goes on by the new text of runbook {run.runbook}"
    incidents.note(draft, run.component, EntryKind.RUNBOOK, text, who)
    draft.touch(run.component)
    return None


def end_run(draft: Draft, who: str, intent: EndRunIntent) -> Refused | None:
    """Close a run."""
    run = driven(draft, who, intent.run)
    if isinstance(run, Refused):
        return run
    if any(block.state is BlockState.STARTED for block in run.blocks):
        return Refused("running", "a block is still running; cancel it, or wait for its end")
    draft.emit(RunEnded(draft.now.wall, run.id, who))
    draft.set_live("runs", run.id, None)
    incidents.note(draft, run.component, EntryKind.RUNBOOK, f"closed runbook {run.runbook}", who)
    draft.touch(run.component)
    return None


def approve(draft: Draft, who: str, intent: ApproveRunbookIntent) -> None:
    """Somebody has read what a runbook would execute."""
    draft.emit(RunbookApproved(draft.now.wall, intent.runbook, intent.sha256, who))
