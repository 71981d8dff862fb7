"""What can be told without an engine: the files, and the world as the journal left it.

The tool's own death blocks nobody: register, people, incidents, the last switch and every runbook can be read while
nothing runs. Nobody measures then, so nothing here says how anything *is*; for that there is `opsdash status`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from opsdash.config.loader import load
from opsdash.core.drill_views import DrillViewer
from opsdash.core.evolve import evolve
from opsdash.core.incident_views import incident_view
from opsdash.core.readiness import readiness
from opsdash.core.readiness_views import readiness_view
from opsdash.core.run_views import run_line
from opsdash.core.views import Viewer
from opsdash.engine.clock import system_clock
from opsdash.engine.drilling import by_hand
from opsdash.engine.guards import leftovers
from opsdash.engine.readiness import facts_of
from opsdash.engine.runviews import About, run_view, runbook_line
from opsdash.model.world import Live, World
from opsdash.service.places import places
from opsdash.storage.codec import decode, decode_world
from opsdash.storage.derived import practice_of
from opsdash.storage.segments import load as load_journal
from opsdash.storage.segments import read_entries
from opsdash.storage.trust import Trust

if TYPE_CHECKING:
    from pathlib import Path

    from opsdash.config.loader import Loaded
    from opsdash.model.views import (
        CoverageView,
        FailureView,
        IncidentView,
        PersonView,
        ReadinessView,
        RunbookLine,
        RunLine,
        RunView,
        SwitchView,
    )


class Offline:
    """A workspace without its engine."""

    def __init__(self, loaded: Loaded, world: World, as_of: float | None = None) -> None:
        self.loaded = loaded
        self.world = world
        self.as_of = as_of  # when the last record was written, None where there is none
        self.viewer = Viewer(world, Live(), system_clock())

    def register(self) -> list[FailureView]:
        """Every failure mode; none is active, since nobody looks."""
        return [{**entry, "active": False, "since": None} for entry in self.viewer.register()]

    def readiness(self, component: str | None) -> ReadinessView:
        """Scores and gaps; whether a backup is ready now is not known, since nobody looks."""
        trust = Trust.of(self.loaded.environment, self.loaded.workspace)
        trust.load()
        draft = self.viewer.draft
        found = readiness(draft, facts_of(self.loaded, trust, measured=False))
        return readiness_view(found, draft, component, measured=False)

    def drills(self) -> DrillViewer:
        """Drills as files, journal and guards have left them."""
        left = {each.run: (each.by_hand, each.guarded) for each in leftovers(places(self.loaded.workspace).state)}
        runbooks = {name: runbook.sha256 for name, runbook in self.loaded.runbooks.items()}
        return DrillViewer(self.viewer.draft, by_hand, left, runbooks, alone=True)

    def people(self) -> list[PersonView]:
        """All people."""
        return self.viewer.people()

    def cover(self) -> CoverageView:
        """Who stands behind which component, and the rotas."""
        return self.viewer.coverage()

    def incidents(self, *, closed: bool) -> list[IncidentView]:
        """Incidents that are not closed, newest first; with `closed` those of the last days, too."""
        found = [incident_view(each) for each in self.world.tables["incidents"].values()]
        wanted = [each for each in found if closed or each["state"] not in ("closed", "cancelled")]
        return sorted(wanted, key=lambda each: -each["opened_at"])

    def switch(self, component: str) -> SwitchView | None:
        """The last switch of a component, as the journal tells it."""
        known = self.viewer.components()
        if component not in known:
            from opsdash.cli.status import unknown_component

            raise unknown_component(component, known)
        switch = self.viewer.draft.switch(component)
        return self.viewer.switch(switch) if switch else None

    def runbooks(self) -> list[RunbookLine]:
        """All runbooks."""
        found = self.loaded.runbooks
        trust = Trust.of(self.loaded.environment, self.loaded.workspace)
        trust.load()
        return [
            runbook_line(
                found[name],
                len(self.loaded.findings.get(name, ())),
                approved=trust.trusts(name, found[name].sha256),
            )
            for name in sorted(found)
        ]

    def runs(self) -> list[RunLine]:
        """Runs that are open."""
        runbooks = self.loaded.runbooks
        found = self.world.tables["runs"].values()
        titles = {run.runbook: runbooks[run.runbook].title for run in found if run.runbook in runbooks}
        lines = [run_line(run, titles.get(run.runbook, run.runbook)) for run in found]
        return sorted(lines, key=lambda line: -line["started_at"])

    def runbook(self, name: str, component: str | None) -> RunView | None:
        """A runbook, with its open run for that component if there is one."""
        found = self.loaded.runbooks.get(name)
        if found is None:
            return None
        about = component or found.component or ""
        runs = self.world.tables["runs"].values()
        run = next((each for each in runs if (each.runbook, each.component) == (name, about)), None)
        findings = [str(each) for each in self.loaded.findings.get(name, ())]
        return run_view(found, run, About(component=about, findings=findings, runbooks=self.loaded.runbooks))


def read_files(workspace: Path) -> Loaded:
    """The workspace's files, read once."""
    return load(workspace, dict(os.environ), system_clock().wall)


def read_offline(workspace: Path) -> Offline:
    """Files and journal. Raises JournalError where the journal cannot be read."""
    loaded = read_files(workspace)
    replay = load_journal(places(workspace).journal).replay
    world = World() if replay.checkpoint is None else decode_world(replay.checkpoint)
    for entry in replay.entries:
        world.apply(evolve(world, decode(entry.type, entry.data)))
    if replay.checkpoint is not None and "practice" not in replay.checkpoint:
        world.tables["practice"] = practice_of(lambda types: read_entries(places(workspace).journal, types=types))
    world.operation = loaded.operation
    return Offline(loaded, world, replay.entries[-1].at.timestamp() if replay.entries else replay.at)
