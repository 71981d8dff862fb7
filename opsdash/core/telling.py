"""Records told in a sentence, for journal screens, timelines and logs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opsdash.core.reader import OPSDASH
from opsdash.model import records as r
from opsdash.model.alarm import alarm_key, hold_words
from opsdash.model.message import Delivery
from opsdash.model.now import timestamp
from opsdash.model.run import RunMode
from opsdash.model.status import Status
from opsdash.model.switch import MOVES_PROVIDER, SwitchKind
from opsdash.model.text import clean
from opsdash.model.units import format_duration
from opsdash.model.window import COMPONENT_KEY

if TYPE_CHECKING:
    from collections.abc import Callable

    from opsdash.model.records import Record

NO_NEWS = frozenset({"request_accepted"})
"""Records, by their names, that lists leave out: what followed from the request stands there."""

FEW = 5
"""Names that a sentence lists; the others are counted."""


def _check_changed(record: r.CheckChanged) -> str:
    why = f" ({record.reason.value})" if record.reason and record.status is not Status.OK else ""
    detail = f": {record.detail}" if record.detail and record.status is not Status.OK else ""
    return f"check {record.check} is {record.status.value}{why}, was {record.was.value}{detail}"


def _component_changed(record: r.ComponentChanged) -> str:
    why = f" ({record.reason.value}, {record.cause})" if record.reason and record.status is not Status.OK else ""
    return f"{record.component} is {record.status.value}{why}, was {record.was.value}"


def _switch_intended(record: r.SwitchIntended) -> str:
    switch, plan = record.switch, record.switch.plan
    if plan.kind in MOVES_PROVIDER:
        what = f"{plan.kind.value} of {plan.component} from {plan.source or 'unknown'} to {plan.target}"
    elif plan.kind is SwitchKind.DEGRADE:
        what = f"degraded mode {plan.target} of {plan.component}"
    else:
        what = f"{plan.component} back to normal from {plan.source}"
    overridden = f", overriding {', '.join(switch.overrides)}" if switch.overrides else ""
    return f"{what} wanted by {switch.who}{overridden}" + (f": {switch.reason}" if switch.reason else "")


def _switch_ended(record: r.SwitchEnded) -> str:
    facts = ", ".join(f"{fact.name.value} {fact.truth.value}" for fact in record.facts)
    detail = f": {record.detail}" if record.detail else ""
    return f"switch {record.switch} ended {record.state.value}" + (f" ({facts})" if facts else "") + detail


def _active_changed(record: r.ActiveChanged) -> str:
    if record.provider is None:
        return f"{record.component}: nobody can tell which provider serves ({record.seen or 'it cannot be read'})"
    return f"{record.component} is served by {record.provider}, was {record.was or 'not known'}"


def _engine_started(record: r.EngineStarted) -> str:
    if record.stopped_at is None:
        return f"engine {record.version} started (pid {record.pid}); the one before did not say goodbye"
    gap = format_duration(record.at - record.stopped_at)
    return f"engine {record.version} started (pid {record.pid}), after {gap} without one"


def _incident_folded(record: r.IncidentFolded) -> str:
    was = f" (was {record.was})" if record.was else ""
    return f"{record.incident}: {record.component} is part of it{was}: {record.title}"


def _incident_recovered(record: r.IncidentRecovered) -> str:
    name = f" {record.component}" if record.component else ""
    return f"{record.incident}:{name} {'fails again' if record.again else 'recovered'}"


def _ended(record: r.IncidentResolved | r.IncidentClosed | r.IncidentCancelled, how: str, text: str) -> str:
    return f"{record.incident} {how} by {record.who}" + (f": {text}" if text else "")


def _incident_joined(record: r.IncidentJoined) -> str:
    return f"{record.incident}: {record.title}" + (f" ({record.failure}) joined" if record.failure else "")


def _mode_seen(record: r.ModeSeen) -> str:
    if record.mode is None:
        return f"{record.component}: degraded mode {record.was} is no longer in force; opsdash did not end it"
    return f"{record.component}: degraded mode {record.mode} is in force; opsdash did not enter it"


def _away(record: r.AwaySet) -> str:
    if record.back:
        return f"{record.person} is back"
    return f"{record.person} is away" + (
        "" if record.until is None else f" for {format_duration(record.until - record.at)}"
    )


def _alarm_raised(record: r.AlarmRaised) -> str:
    held = f" after {format_duration(record.at - record.due)} ({hold_words(record.after)})" if record.after else ""
    note = f"; {record.note}" if record.note else ""
    return f"alarm for {_of(record)} raised{held}: {record.title}{note}"


def _of(record: r.AlarmHeld | r.AlarmRaised | r.AlarmDropped | r.AlarmCleared) -> str:
    return alarm_key(record.component, record.topic)


def _message_tried(record: r.MessageTried) -> str:
    said = f": {record.attempt.detail}" if record.attempt.detail else ""
    if record.attempt.outcome is Delivery.DELIVERED:
        return f"{record.message} delivered over {record.channel}{said}"
    return f"{record.message} over {record.channel} {record.attempt.outcome.value}{said}; again in " + format_duration(
        record.waits
    )


def _alarms_deferred(record: r.AlarmsDeferred) -> str:
    why = f"quiet hours ({record.window})" if record.window else "an earlier message still waits"
    return f"{record.channel} is told later of {_some(record.alarms)}: {why}"


def _some(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:FEW])
    return f"{shown} and {len(names) - FEW} others" if len(names) > FEW else shown


def _drill_started(record: r.DrillStarted) -> str:
    run = record.run
    agreed = f", agreed by {run.approved_by}" if run.approved_by else ""
    overridden = f", overriding {', '.join(run.overrides)}" if run.overrides else ""
    reason = f": {run.reason}" if run.reason else ""
    return f"{run.id}: drill {run.drill.id} ({run.drill.level.value}) begun by {run.who}{agreed}{overridden}{reason}"


def _drill_undone(record: r.DrillUndone) -> str:
    gone = {True: "verified to be gone", False: "not gone", None: "taken back, and nobody can verify that it is gone"}
    said = f": {record.detail}" if record.detail else ""
    return f"{record.run}: the fault is {gone[record.verified]} ({record.by}){said}"


def _drill_ended(record: r.DrillEnded) -> str:
    verdict = "ended" if record.run.verdict is None else record.run.verdict.value
    return f"{record.run.id}: drill {record.run.drill.id} {verdict}: {'; '.join(record.run.why)}"


def _drill_due(record: r.DrillDueSet) -> str:
    if record.due is None:
        return f"drill {record.drill} has no date any more"
    return f"drill {record.drill} is due {timestamp(record.due)[:10]}"


def _maintenance_set(record: r.MaintenanceSet) -> str:
    span = format_duration(record.until - record.at)
    why = f": {record.reason}" if record.reason else ""
    return f"maintenance of {_target(record.target)} set by {record.who} for {span}{why}"


def _maintenance_ended(record: r.MaintenanceEnded) -> str:
    how = "its time has passed" if record.who == OPSDASH else f"ended by {record.who}"
    return f"maintenance of {_target(record.target)} is over: {how}"


def _target(key: str) -> str:
    return key.removeprefix(COMPONENT_KEY)


TELL: dict[type, Callable[[Any], str]] = {
    r.EngineStarted: _engine_started,
    r.EngineStopped: lambda record: f"engine stopped: {record.why}",
    r.ClockMoved: lambda record: (
        f"the clock moved by {'-' if record.seconds < 0 else '+'}{format_duration(abs(record.seconds))}"
    ),
    r.Configured: lambda record: (
        f"files read: {record.components} components, {record.checks} checks, {record.problems} problems"
    ),
    r.CheckChanged: _check_changed,
    r.ComponentChanged: _component_changed,
    r.RedundancyChanged: lambda record: f"redundancy of {record.component} is {record.redundancy}, was {record.was}",
    r.ActiveChanged: _active_changed,
    r.ModeSeen: _mode_seen,
    r.FailureActive: lambda record: f"failure mode {record.component}/{record.failure}: {record.title}",
    r.FailureCleared: lambda record: f"failure mode {record.component}/{record.failure} no longer applies",
    r.IncidentOpened: lambda record: f"{record.incident} opened for {record.component}: {record.title}",
    r.IncidentJoined: _incident_joined,
    r.IncidentFolded: _incident_folded,
    r.IncidentNoted: lambda record: f"{record.incident}: {record.text}",
    r.EntryEdited: lambda record: f"{record.incident}: line {record.entry} changed by {record.who}",
    r.IncidentRecovered: _incident_recovered,
    r.IncidentAcknowledged: lambda record: f"{record.incident} acknowledged by {record.who}",
    r.IncidentUnacknowledged: lambda record: (
        f"{record.incident}: the acknowledgement by {record.was} "
        + ("has expired" if record.who == OPSDASH else f"was taken back by {record.who}")
    ),
    r.IncidentResolved: lambda record: _ended(record, "resolved", record.text),
    r.IncidentClosed: lambda record: _ended(record, "closed", record.text),
    r.IncidentCancelled: lambda record: _ended(record, "cancelled", record.reason),
    r.IncidentReopened: lambda record: f"{record.incident} reopened by {record.who}: {record.title}",
    r.IncidentRated: lambda record: f"{record.incident}: severity {record.severity} set by {record.who}",
    r.IncidentTimed: lambda record: f"{record.incident}: time {record.what!r} set by {record.who}",
    r.RoleGiven: lambda record: f"{record.incident}: {record.role.value} is {record.person or 'nobody'}",
    r.HandoverOffered: lambda record: f"{record.incident}: {record.who} hands over to {record.to or 'whoever comes'}",
    r.HandoverAccepted: lambda record: f"{record.incident}: {record.who} has taken over",
    r.NearMissed: lambda record: (
        f"near miss: {record.component}/{record.failure}, {record.check} was not well for "
        f"{format_duration(record.at - record.since)}"
    ),
    r.Marked: lambda record: (
        f"{record.who} marked{f' for {record.component}' if record.component else ''}: {record.text}"
        + (f" ({record.version})" if record.version else "")
    ),
    r.VersionChanged: lambda record: (
        f"{record.check} reports version {record.version}" + (f", was {record.was}" if record.was else "")
    ),
    r.Paused: lambda record: (
        f"{record.component} paused by {record.who} for {format_duration(record.until - record.at)}"
        + (f": {record.reason}" if record.reason else "")
    ),
    r.Resumed: lambda record: f"{record.component} is polled again",
    r.AlarmHeld: lambda record: f"alarm for {_of(record)} held: {hold_words(record.hold)} ({record.title})",
    r.AlarmRaised: _alarm_raised,
    r.AlarmDropped: lambda record: f"alarm for {_of(record)} dropped: it is over, and was never raised",
    r.AlarmCleared: lambda record: (
        f"alarm for {_of(record)} cleared after {format_duration(record.at - record.raised)}"
    ),
    r.MessageQueued: lambda record: (
        f"{record.message.id} for {record.message.channel} ({record.message.kind.value}): {record.message.title}"
    ),
    r.MessageTrying: lambda record: f"{record.message} is being sent over {record.channel}",
    r.MessageTried: _message_tried,
    r.MessageGivenUp: lambda record: f"{record.message} over {record.channel} given up: {record.why}",
    r.AlarmsDeferred: _alarms_deferred,
    r.FlappingBegan: lambda record: f"check {record.check} is flapping ({record.percent} %)",
    r.FlappingEnded: lambda record: f"check {record.check} is no longer flapping",
    r.MaintenanceSet: _maintenance_set,
    r.MaintenanceEnded: _maintenance_ended,
    r.WindowBegan: lambda record: (
        f"{record.kind.value} {record.window} began: {record.title}, for {format_duration(record.until - record.at)}"
    ),
    r.WindowEnded: lambda record: f"{record.kind.value} {record.window} is over",
    r.HeartbeatReceived: lambda record: f"heartbeat {record.check}: {record.signal}",
    r.AwaySet: _away,
    r.ReadinessNoted: lambda record: f"readiness is {record.score} of 100, with {record.gaps} gaps",
    r.ReviewPassed: lambda record: f"{record.component}: review time of {record.what} has passed",
    r.SwitchIntended: _switch_intended,
    r.SwitchAdvanced: lambda record: (
        f"switch {record.switch} is {record.state.value}"
        + (f" ({record.step})" if record.step else "")
        + (f": {record.detail}" if record.detail else "")
    ),
    r.SwitchAbortAsked: lambda record: (
        f"{record.who} asked for switch {record.switch} to be called off"
        + (f": {record.reason}" if record.reason else "")
    ),
    r.SwitchBlocked: lambda record: (
        f"{record.kind.value} of {record.component} wanted by {record.who}, not begun: {record.reason}"
    ),
    r.SwitchReverted: lambda record: f"switch {record.switch} was reverted by somebody else: {record.detail}",
    r.WouldSwitch: lambda record: (
        f"in shadow: opsdash would have switched {record.component} from {record.source} to {record.target}"
    ),
    r.ShadowScored: lambda record: f"in shadow: {record.component}: {record.verdict}",
    r.AutoStopped: lambda record: f"opsdash no longer switches by itself: {record.why}",
    r.AutoResumed: lambda record: f"{record.who} lets opsdash switch by itself again: {record.reason}",
    r.BlockadeLifted: lambda record: f"blockade of {record.component} ended by {record.who}: {record.reason}",
    r.ApprovalAsked: lambda record: (
        f"{record.kind.value} of {record.component} asked for by {record.who}; it takes a second person"
    ),
    r.SwitchEnded: _switch_ended,
    r.Proved: lambda record: f"{record.component}/{record.what} proved by {record.by}",
    r.RunStarted: lambda record: (
        f"{record.run}: {record.who} {'rehearses' if record.mode is RunMode.REHEARSE else 'opened'} "
        f"runbook {record.runbook}"
    ),
    r.RunTaken: lambda record: f"{record.run}: {record.who} drives instead of {record.was}: {record.reason}",
    r.RunAccepted: lambda record: f"{record.run}: {record.who} goes on by the new text of the runbook",
    r.RunParameterSet: lambda record: f"{record.run}: {record.name} is {clean(record.value, 80)} ({record.source})",
    r.RunTicked: lambda record: (
        f"{record.run}: tick {record.tick + 1} of {record.step} {'set' if record.done else 'taken back'}"
    ),
    r.StepMarked: lambda record: (
        f"{record.run}: step {record.step} {record.mark}" + (", its checks passed" if record.automatic else "")
    ),
    r.BlockStarted: lambda record: f"{record.run}: step {record.step} runs: {record.text}",
    r.BlockSpawned: lambda record: f"{record.run}: step {record.step} is process {record.pid}",
    r.BlockCancelAsked: lambda record: f"{record.run}: {record.who} cancels step {record.step}",
    r.BlockDecided: lambda record: (
        f"{record.run}: {record.who} says of step {record.step}, which was cut short: {record.decision.value}"
    ),
    r.BlockFinished: lambda record: (
        f"{record.run}: step {record.result.step} {record.result.state.value}"
        + (f": {record.result.detail}" if record.result.detail else "")
    ),
    r.RunEnded: lambda record: f"{record.run} closed by {record.who}",
    r.RunbookApproved: lambda record: (
        f"{record.who} approved runbook {record.runbook} as it is now (sha256 {record.sha256[:12]}…)"
    ),
    r.DrillStarted: _drill_started,
    r.DrillAdvanced: lambda record: (
        f"{record.run} is {record.state.value}" + (f": {record.detail}" if record.detail else "")
    ),
    r.DrillSaw: lambda record: f"{record.run}: {record.what.value}" + (f": {record.subject}" if record.subject else ""),
    r.DrillUndone: _drill_undone,
    r.DrillLoaded: lambda record: (
        f"{record.run}: the load ran {record.times} times, {record.failed} failed"
        + (f": {record.detail}" if record.detail else "")
    ),
    r.DrillEnded: _drill_ended,
    r.DrillFaultFound: lambda record: (
        f"a fault of {record.run} (drill {record.drill}) may still be in place: {record.detail}"
    ),
    r.DrillFaultGone: lambda record: f"{record.who} states that the fault of {record.run} is gone: {record.reason}",
    r.DrillsHalted: lambda record: f"drills halted by {record.who}: {record.reason}",
    r.DrillsAllowed: lambda record: f"drills allowed again by {record.who}: {record.reason}",
    r.DrillApprovalAsked: lambda record: f"drill {record.drill} asked for by {record.who}; it takes a second person",
    r.DrillDueSet: _drill_due,
    r.DrillReminded: lambda record: (
        f"{record.who or 'everybody'} was reminded of drill {record.drill} ({record.name}), "
        f"due {timestamp(record.due)[:10]}"
    ),
    r.DrillOverdue: lambda record: (
        f"drill {record.drill} is overdue since {timestamp(record.due)[:10]}"
        + (f": {record.why}" if record.why else "")
    ),
    r.DrillMissed: lambda record: f"drill {record.drill} of {timestamp(record.due)[:10]} was missed: {record.why}",
    r.RequestAccepted: lambda record: (
        f"request {record.key} of {record.who} was accepted" + (f": {record.subject}" if record.subject else "")
    ),
}


def tell(record: Record) -> str:
    """The record in a sentence, without its time."""
    return TELL[type(record)](record)


def component_of(record: Record) -> str | None:
    """The component that a record is about, None for the whole operation."""
    if isinstance(record, r.SwitchIntended):
        return record.switch.plan.component
    if isinstance(record, r.DrillStarted | r.DrillEnded):
        return record.run.component
    if isinstance(record, r.CheckChanged | r.VersionChanged | r.HeartbeatReceived | r.FlappingBegan | r.FlappingEnded):
        return record.check.partition("/")[0]
    if isinstance(record, r.MaintenanceSet | r.MaintenanceEnded):
        return record.target.removeprefix(COMPONENT_KEY) if record.target.startswith(COMPONENT_KEY) else None
    found: str | None = getattr(record, "component", None)
    return found or None


def who_of(record: Record) -> str:
    """Who caused it: a person, or opsdash."""
    if isinstance(record, r.SwitchIntended):
        return record.switch.who
    if isinstance(record, r.DrillStarted):
        return record.run.who
    if isinstance(record, r.BlockFinished):
        return record.result.who or OPSDASH
    return getattr(record, "who", None) or OPSDASH
