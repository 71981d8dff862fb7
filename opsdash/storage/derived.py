"""Documents as they follow from records: what screens and reports look up, and can be made anew at any time.

A function of a record and the world after it, so that the engine writes them as it goes, and `opsdash journal rebuild`
gets the same ones out of the journal.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from opsdash.core.evolve import evolve
from opsdash.core.incident_views import incident_view
from opsdash.core.run_views import run_document
from opsdash.core.switch_views import switch_times
from opsdash.model import records as r
from opsdash.model.world import World
from opsdash.storage.codec import decode, decode_world, encode, record_name
from opsdash.storage.documents import Stored
from opsdash.storage.entries import CHECKPOINT

if TYPE_CHECKING:
    from opsdash.model.practice import Practice
    from opsdash.model.records import Record
    from opsdash.storage.entries import Entry

SWITCHES = "switches"
INCIDENTS = "incidents"
EVIDENCE = "evidence"
RUNS = "runs"


OF_AN_INCIDENT = (
    r.IncidentResolved,
    r.IncidentClosed,
    r.IncidentCancelled,
    r.IncidentReopened,
    r.IncidentNoted,
    r.EntryEdited,
    r.IncidentRated,
    r.IncidentTimed,
    r.RoleGiven,
)
"""Records after which the document of an incident that is over is another one."""


class Document(NamedTuple):
    """One document: its collection, its id, and the month in which it belongs."""

    collection: str
    id: str
    document: dict[str, Any]
    period: str


def documents_of(record: Record, world: World) -> list[Document]:
    """What is to be stored after `record`, which `world` already contains."""
    month = datetime.fromtimestamp(record.at, UTC).strftime("%Y-%m")
    if isinstance(record, r.SwitchEnded):
        switch = world.get("switches", record.switch)
        if switch is None:
            return []
        data = encode(r.SwitchIntended(record.at, switch))[1]
        data["times"] = switch_times(switch, record.at)
        return [Document(SWITCHES, switch.id, data, month)]
    if isinstance(record, OF_AN_INCIDENT):
        incident = world.get("incidents", record.incident)
        # what is written into one that is over belongs to it, and so does that it was not over after all
        if incident is None or (incident.is_open and not isinstance(record, r.IncidentReopened)):
            return []
        opened = datetime.fromtimestamp(incident.opened_at, UTC).strftime("%Y-%m")
        return [Document(INCIDENTS, incident.id, dict(incident_view(incident)), opened)]
    if isinstance(record, r.RunEnded):
        return [
            Document(RUNS, run.id, run_document(run), month)
            for run in world.tables["last_runs"].values()
            if run.id == record.run
        ]
    if isinstance(record, r.Proved):
        return [Document(EVIDENCE, f"{record.component}/{record.what}/{record.by}", encode(record)[1], month)]
    return []


def rebuild(entries: Iterable[Entry]) -> Mapping[str, list[Stored]]:
    """All documents of a whole journal, oldest entry first, by collection. Raises JournalTooNew."""
    world = World()
    found: dict[str, dict[tuple[str, str], Stored]] = {SWITCHES: {}, INCIDENTS: {}, EVIDENCE: {}, RUNS: {}}
    for number, entry in enumerate(entries):
        if entry.type == CHECKPOINT:
            state = entry.data.get("state", entry.data)
            if number == 0 and isinstance(state, Mapping) and state:
                world = decode_world(state)
            continue
        record = decode(entry.type, entry.data)
        world.apply(evolve(world, record))
        for collection, name, document, period in documents_of(record, world):
            found[collection][name, period] = Stored(name, period, document)
    return {collection: list(documents.values()) for collection, documents in found.items()}


OF_PRACTICE = (
    r.SwitchIntended,
    r.SwitchAdvanced,
    r.SwitchEnded,
    r.RunStarted,
    r.RunTaken,
    r.RunAccepted,
    r.StepMarked,
    r.RunEnded,
    r.EngineStarted,
)
"""Records from which it follows who has done what."""


def practice_of(entries: Callable[[Collection[str]], Iterable[Entry]]) -> dict[str, Practice]:
    """Who has done what with which component, out of a whole journal, oldest entry first.

    For a world whose checkpoint is of a version that did not keep it: what people did before the upgrade counts, too.
    entries: those of the given types.  Raises JournalTooNew.
    """
    world = World()
    first = True
    for entry in entries({CHECKPOINT, *(record_name(each) for each in OF_PRACTICE)}):
        if entry.type == CHECKPOINT:
            state = entry.data.get("state", entry.data)
            if first and isinstance(state, Mapping) and state:
                world = decode_world(state)
        else:
            record = decode(entry.type, entry.data)
            world.apply(evolve(world, record))
        first = False
    return world.tables["practice"]
