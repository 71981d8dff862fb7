"""Everything about one incident, gathered from the journal's records: what a report is written from.

The records are folded as they were decided, so that what is told is what was known then: which proof there was when the
incident was opened, what a run had come to when it was closed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from opsdash.core.evolve import evolve
from opsdash.model import records as r
from opsdash.model.world import World

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opsdash.model.incident import Incident
    from opsdash.model.records import Record
    from opsdash.model.run import Run
    from opsdash.model.switch import Switch
    from opsdash.model.world import NearMisses, Proof


@dataclass(slots=True)
class Story:
    """One incident and what belongs to it.

    switches: in the order in which they were wanted, as they ended.  runs: as they were when they ended, or are now.
    proofs: of each provider or degraded mode, as `component/what`, when the incident was opened.
    raised, cleared: when its alarms were, by component.  near: near misses of its failure modes until now, as
    `component/failure`.
    """

    incident: Incident
    switches: dict[str, Switch] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    proofs: dict[str, Proof] = field(default_factory=dict)
    raised: dict[str, float] = field(default_factory=dict)
    cleared: dict[str, float] = field(default_factory=dict)
    near: dict[str, NearMisses] = field(default_factory=dict)


def gather(records: Iterable[Record], incident_id: str, world: World | None = None) -> Story | None:
    """The story of an incident; None where its opening is not among the records.

    world: as it was before the first record. It is changed.
    """
    world = World() if world is None else world
    story: Story | None = None
    for record in records:
        if story is not None and isinstance(record, r.RunEnded):
            _keep_run(story, world, record.run)
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
        story.raised.setdefault(record.component, record.at)
    elif isinstance(record, r.AlarmCleared) and record.incident == story.incident.id:
        story.cleared[record.component] = record.at
    name = getattr(record, "switch", None)
    if isinstance(name, str) and name in story.switches:
        story.switches[name] = world.get("switches", name) or story.switches[name]


def _lasts(story: Story) -> bool:
    return story.incident.closed_at is None and story.incident.cancelled_at is None


def _keep_run(story: Story, world: World, run_id: str) -> None:
    run: Run | None = world.get("runs", run_id)
    if run is not None and run.incident == story.incident.id:
        story.runs[run.id] = run


def _finish(story: Story, world: World) -> None:
    for key in world.keys("runs"):
        _keep_run(story, world, key)
    for name in story.incident.failures:
        key = name if "/" in name else f"{story.incident.component}/{name}"
        near = world.get("near_misses", key)
        if near is not None:
            story.near[key] = near
