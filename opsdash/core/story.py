"""Everything about one incident, gathered from the journal's records: what a report is written from.

The records are folded as they were decided, so that what is told is what was known then: which proof there was when the
incident was opened, what a run had come to when it was closed.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from opsdash.core.evolve import evolve
from opsdash.model import records as r
from opsdash.model.alarm import alarm_key
from opsdash.model.run import RunMode
from opsdash.model.world import World

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opsdash.model.incident import Incident
    from opsdash.model.message import Outgoing
    from opsdash.model.records import Record
    from opsdash.model.run import Run, StepTimes
    from opsdash.model.switch import Switch
    from opsdash.model.world import NearMisses, Proof


@dataclass(frozen=True, slots=True)
class Interruption:
    """A time without an engine. since: when it stopped, or, where it did not say so, of the last thing it recorded."""

    since: float
    until: float
    said_so: bool


@dataclass(slots=True)
class Story:
    """One incident and what belongs to it.

    switches: in the order in which they were wanted, as they ended.  runs: as they were when they ended, or are now,
    rehearsals left out; taken: who took one over, by run.  step_times: what is known by now of how long steps take.
    proofs: of each provider or degraded mode, as `component/what`, when the incident was opened.
    raised, cleared: when its alarms were, by their keys.  messages: that told of it, as they are now, by id.
    near: near misses of its failure modes until now, as `component/failure`.
    interruptions: when no engine ran between its beginning and its end.  jumps: when the clock moved meanwhile.
    """

    incident: Incident
    switches: dict[str, Switch] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    taken: dict[str, list[r.RunTaken]] = field(default_factory=dict)
    step_times: dict[str, StepTimes] = field(default_factory=dict)
    proofs: dict[str, Proof] = field(default_factory=dict)
    raised: dict[str, float] = field(default_factory=dict)
    cleared: dict[str, float] = field(default_factory=dict)
    messages: dict[str, Outgoing] = field(default_factory=dict)
    near: dict[str, NearMisses] = field(default_factory=dict)
    interruptions: list[Interruption] = field(default_factory=list)
    jumps: list[r.ClockMoved] = field(default_factory=list)


def gather(records: Iterable[Record], incident_id: str, world: World | None = None) -> Story | None:
    """The story of an incident; None where its opening is not among the records.

    world: as it was before the first record. It is changed.
    """
    world = World() if world is None else world
    story: Story | None = None
    last = 0.0
    for record in records:
        if story is not None and isinstance(record, r.RunEnded):
            _keep_run(story, world, record.run, record.at)
        if story is not None and isinstance(record, r.EngineStarted) and _lasts(story):
            since = last if record.stopped_at is None else record.stopped_at
            story.interruptions.append(Interruption(since, record.at, record.stopped_at is not None))
        last = record.at
        world.apply(evolve(world, record))
        if isinstance(record, r.IncidentOpened) and record.incident == incident_id:
            proofs = {key: world.get("proofs", key) for key in world.keys("proofs")}
            story = Story(world.get("incidents", incident_id), proofs=proofs)
        elif story is not None:
            story.incident = world.get("incidents", incident_id) or story.incident
            _note(story, world, record)
    if story is not None:
        _finish(story, world)
    return story


def _note(story: Story, world: World, record: Record) -> None:
    if isinstance(record, r.SwitchIntended):
        belongs = record.switch.incident == story.incident.id
        if belongs or (record.switch.plan.component in story.incident.components and _lasts(story)):
            story.switches[record.switch.id] = record.switch
    elif isinstance(record, r.AlarmRaised) and record.incident == story.incident.id:
        story.raised.setdefault(alarm_key(record.component, record.topic), record.at)
    elif isinstance(record, r.AlarmCleared) and record.incident == story.incident.id:
        story.cleared[alarm_key(record.component, record.topic)] = record.at
    elif isinstance(record, r.ClockMoved) and _lasts(story):
        story.jumps.append(record)
    elif isinstance(record, r.RunTaken):
        story.taken.setdefault(record.run, []).append(record)
    elif isinstance(record, r.MessageQueued) and story.incident.id in record.message.incidents:
        story.messages[record.message.id] = world.get("messages", record.message.id)
    elif isinstance(record, r.MessageTried | r.MessageGivenUp) and record.message in story.messages:
        story.messages[record.message] = world.get("messages", record.message) or story.messages[record.message]
    name = getattr(record, "switch", None)
    if isinstance(name, str) and name in story.switches:
        story.switches[name] = world.get("switches", name) or story.switches[name]


def _lasts(story: Story) -> bool:
    return story.incident.closed_at is None and story.incident.cancelled_at is None


def _keep_run(story: Story, world: World, run_id: str, ended_at: float | None = None) -> None:
    run: Run | None = world.get("runs", run_id)
    if run is not None and run.incident == story.incident.id and run.mode is not RunMode.REHEARSE:
        story.runs[run.id] = replace(run, ended_at=ended_at)


def _finish(story: Story, world: World) -> None:
    for key in world.keys("runs"):
        _keep_run(story, world, key)
    story.step_times = {key: world.get("step_times", key) for key in world.keys("step_times")}
    for name in story.incident.failures:
        key = name if "/" in name else f"{story.incident.component}/{name}"
        near = world.get("near_misses", key)
        if near is not None:
            story.near[key] = near
