"""`decide(world, live, input, now) -> Decision`: what follows from an input.

One table from input to handler. Whatever a handler decides it says as records, effects and changes of `live`; it looks
at one component and its neighbours, so that the cost of a decision does not grow with the operation.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from opsdash.core import (
    alarms,
    automatic,
    changes,
    delivery,
    drill_going,
    drill_samples,
    drill_schedule,
    drills,
    grouping,
    health,
    incident_work,
    life,
    maintenance,
    mechanisms,
    outbox,
    people,
    readiness_trend,
    reviews,
    run_blocks,
    runs,
    switching,
    ways_out,
)
from opsdash.core.draft import Decision, Draft
from opsdash.model import inputs as i
from opsdash.model.effects import Answer, Poll
from opsdash.model.operation import ANCHORS
from opsdash.model.records import RequestAccepted
from opsdash.model.switch import Refused
from opsdash.model.world import PreflightLive

if TYPE_CHECKING:
    from collections.abc import Callable

    from opsdash.model.inputs import Input
    from opsdash.model.now import Now
    from opsdash.model.world import Live, World


def decide(world: World, live: Live, event: Input, now: Now) -> Decision:
    """What follows from `event`."""
    draft = Draft(world, live, now)
    HANDLERS[type(event)](draft, event)
    if draft.touched:
        automatic.watch(draft)
        automatic.ended(draft)
    if draft.touched or draft.records:
        drill_going.follow(draft)
    if draft.records:
        for component in sorted(draft.touched):
            alarms.refresh_topics(draft, component)
    return draft.decision()


def _observed(draft: Draft, event: i.Observed) -> None:
    health.observed(draft, event)
    drill_samples.sampled(draft, event.observation)
    if draft.live_keys("switches"):
        switching.sampled(draft, event.observation)
    if draft.live_keys("alarms"):
        alarms.sampled(draft, event.observation.check)


def _timer(draft: Draft, event: i.TimerFired) -> None:
    what, *rest = event.key
    TIMERS[what](draft, *rest)


def _read_again(draft: Draft, component: str) -> None:
    found = draft.operation.components.get(component) or draft.component(component)
    if found is not None:
        mechanisms.read_all(draft, found)


def _preflight(draft: Draft, event: i.PreflightDone) -> None:
    draft.set_live(
        "preflights", event.key, PreflightLive(event.passed, event.detail, draft.now.mono, event.credentials)
    )
    draft.touch(event.key.partition("/")[0])


def _journal_state(draft: Draft, event: i.JournalState) -> None:
    draft.set_live("engine", "engine", replace(draft.engine(), journal_error=event.error))


def _wanted(draft: Draft, event: i.Wanted) -> None:
    draft.session = event.session
    answer = INTENTS[type(event.intent)](draft, event.who, event.intent)
    if isinstance(answer, Refused):
        draft.effect(Answer(event.id, refused=answer))
        return
    if event.repeatable and draft.records:
        draft.emit(RequestAccepted(draft.now.wall, event.id, event.who, answer or ""))
    draft.effect(Answer(event.id, subject=answer or ""))


def _poll(draft: Draft, who: str, intent: i.PollIntent) -> Refused | None:
    del who
    target = intent.target
    checks = [
        check
        for check, spec in draft.operation.checks.items()
        if spec.component != ANCHORS and target in (check, spec.component, f"{spec.component}/{spec.provider}")
    ]
    if not checks:
        return Refused("unknown_check", f"there is no check or component {target!r}")
    for check in checks:
        draft.effect(Poll(check))
    return None


HANDLERS: dict[type, Callable[[Draft, Any], None]] = {
    i.Started: life.started,
    i.Stopping: life.stopping,
    i.Loaded: life.loaded,
    i.Observed: _observed,
    i.Overdue: health.overdue,
    i.ClockJumped: health.clock_jumped,
    i.ReadinessSeen: readiness_trend.seen,
    i.WindowsOpen: maintenance.opened,
    i.TimerFired: _timer,
    i.ReadDone: switching.read_done,
    i.ApplyDone: switching.applied,
    i.PreflightDone: _preflight,
    i.BlockDone: run_blocks.block_done,
    i.BlockUp: run_blocks.block_up,
    i.SessionSeen: runs.session_seen,
    i.SendDone: delivery.sent,
    i.Beat: life.beat,
    i.JournalState: _journal_state,
    i.GuardArmed: drills.armed,
    i.Injected: drills.injected,
    i.Undone: drills.undone,
    i.GuardGone: drills.guard_gone,
    i.FaultFound: drills.fault_found,
    i.LoadDone: drills.load_done,
    i.DrillDates: drill_schedule.told,
    i.Wanted: _wanted,
}

TIMERS: dict[str, Callable[..., None]] = {
    "ack": incident_work.ack_expired,
    "alarm": alarms.timer,
    "alarms": delivery.look,
    "auto": automatic.consider,
    "blind": health.blind_for_long,
    "drill": drill_going.look,
    "group": grouping.timer,
    "maintenance": maintenance.over,
    "pause": health.pause_over,
    "people": people.look,
    "read": _read_again,
    "send": outbox.pump,
    "settle": switching.settled,
    "verify": switching.verify_deadline,
    "review": reviews.review,
}

INTENTS: dict[type, Callable[[Draft, str, Any], Refused | str | None]] = {
    i.SwitchIntent: switching.intend,
    i.UndoIntent: ways_out.undo,
    i.SettleIntent: ways_out.settle,
    i.TakeOverIntent: ways_out.take_over,
    i.AbortIntent: ways_out.abort,
    i.LiftBlockadeIntent: ways_out.lift_blockade,
    i.ResumeAutoIntent: automatic.resume,
    i.AckIntent: incident_work.acknowledge,
    i.NoteIntent: incident_work.write_note,
    i.EditEntryIntent: incident_work.edit_entry,
    i.ResolveIntent: incident_work.resolve,
    i.CancelIncidentIntent: incident_work.cancel,
    i.ReopenIntent: incident_work.reopen,
    i.RateIntent: incident_work.rate,
    i.TimeIntent: incident_work.set_time,
    i.RoleIntent: incident_work.give_role,
    i.OfferHandoverIntent: incident_work.offer,
    i.AcceptHandoverIntent: incident_work.accept,
    i.MarkIntent: changes.mark,
    i.OpenIncidentIntent: incident_work.open_by_hand,
    i.PauseIntent: health.pause,
    i.ResumeIntent: health.resume,
    i.MaintenanceIntent: maintenance.begin,
    i.EndMaintenanceIntent: maintenance.end,
    i.AlarmTestIntent: outbox.send_test,
    i.TellIntent: outbox.tell,
    i.PollIntent: _poll,
    i.AwayIntent: people.set_away,
    i.OpenRunIntent: run_blocks.open_run,
    i.TickIntent: runs.tick,
    i.MarkStepIntent: runs.mark,
    i.RunBlockIntent: run_blocks.run_block,
    i.EndRunIntent: runs.end_run,
    i.TakeRunIntent: runs.take,
    i.AcceptRunIntent: runs.accept,
    i.SetParameterIntent: runs.set_parameter,
    i.CancelBlockIntent: run_blocks.cancel,
    i.DecideBlockIntent: run_blocks.decide,
    i.RunChecksIntent: run_blocks.run_checks,
    i.ApproveRunbookIntent: runs.approve,
    i.StartDrillIntent: drills.start,
    i.StopDrillIntent: drills.abort,
    i.FinishDrillIntent: drills.finish,
    i.HaltDrillsIntent: drills.halt,
    i.AllowDrillsIntent: drills.allow,
    i.FaultGoneIntent: drills.fault_gone,
}
