"""What the interface answers beyond the live views: documents, journal, runbooks, history."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from opsdash import __version__
from opsdash.core.incident_views import incident_view
from opsdash.core.progress import obstacles
from opsdash.core.run_views import line_of_document, run_document, run_line
from opsdash.core.telling import NO_NEWS
from opsdash.engine.hub import line
from opsdash.engine.runviews import runbook_line
from opsdash.engine.verdicts import refusal
from opsdash.errors import JournalTooNew, StorageError
from opsdash.model.inputs import AcceptRunIntent, ApproveRunbookIntent, OpenRunIntent
from opsdash.model.switch import Refused
from opsdash.model.text import clean
from opsdash.service.places import API
from opsdash.storage.codec import decode
from opsdash.storage.derived import RUNS
from opsdash.storage.entries import CHECKPOINT

if TYPE_CHECKING:
    from opsdash.engine.engine import Engine
    from opsdash.model.inputs import Intent
    from opsdash.model.views import (
        IncidentView,
        JournalLine,
        ProblemView,
        RunbookLine,
        RunLine,
        Verdict,
    )
    from opsdash.storage.entries import Entry

READ_AT_ONCE = 2000
"""Journal entries that are looked through in one go when some of them are to be skipped."""


def cleaned(text: str) -> str:
    """Text from a client, made harmless."""
    return clean(text, 500)


async def submit(
    engine: Engine, key: str, who: str, parsed: Intent | Refused, session: str = "", *, repeatable: bool = False
) -> Verdict:
    """The verdict on an intent. What a record needs outside of the journal is written before it, or right after it.

    repeatable: the key is the client's own, by which it may ask again.
    """
    if isinstance(parsed, Refused):  # by what became of it, perhaps, when it was accepted the first time
        return await engine.again(key) or refusal(key, parsed)
    try:
        if isinstance(parsed, OpenRunIntent | AcceptRunIntent):
            await engine.runs.keep_text(parsed.sha256)
        verdict = await engine.submit(key, who, parsed, session, repeatable=repeatable)
        if isinstance(parsed, ApproveRunbookIntent) and verdict["accepted"]:
            await engine.runs.approve(parsed.runbook, parsed.sha256, who)
    except StorageError as error:
        return refusal(key, Refused("storage", str(error)))
    return verdict


async def incidents(engine: Engine, *, closed: bool) -> list[IncidentView]:
    """Incidents that are not closed, newest first; with `closed` those of the last days, too."""
    await engine.written()
    found = [incident_view(each) for each in engine.runner.world.tables["incidents"].values()]
    wanted = [each for each in found if closed or each["state"] not in ("closed", "cancelled")]
    return sorted(wanted, key=lambda each: -each["opened_at"])


async def journal(engine: Engine, before: int | None, limit: int, component: str | None) -> list[JournalLine]:
    """Journal entries, newest first."""
    return await engine.remembered.journal(lambda port: _journal(port, before, limit, component))


def _journal(port: Any, before: int | None, limit: int, component: str | None) -> list[JournalLine]:
    latest = port.tail(1)
    if not latest:
        return []
    upto = latest[0].seq if before is None else min(before - 1, latest[0].seq)
    found: list[JournalLine] = []
    while upto > 0 and len(found) < limit:
        since = max(0, upto - (limit if component is None else READ_AT_ONCE))
        chunk = []
        for entry in port.entries(since):
            if entry.seq > upto:
                break
            if entry.type != CHECKPOINT and entry.type not in NO_NEWS:
                chunk.append(_line(entry))
        found += [each for each in reversed(chunk) if component in (None, each["component"])]
        upto = since
    return found[:limit]


def _line(entry: Entry) -> JournalLine:
    """An entry for a client; one that another version wrote is shown as what it is, a line that cannot be told."""
    try:
        return line(entry, decode(entry.type, entry.data))
    except JournalTooNew:
        text = f"a {clean(entry.type, 40)} that this version cannot read; see `opsdash journal export`"
        at = entry.at.timestamp()
        return {"seq": entry.seq, "at": at, "type": entry.type, "component": None, "who": "", "text": text, "data": {}}


def runbooks(engine: Engine) -> list[RunbookLine]:
    """All runbooks."""
    found, trust = engine.loaded.runbooks, engine.runs.trust
    return [
        runbook_line(
            found[key], len(engine.loaded.findings.get(key, ())), approved=trust.trusts(key, found[key].sha256)
        )
        for key in sorted(found)
    ]


async def runs(engine: Engine, limit: int) -> list[RunLine]:
    """Open runs and the latest that were closed, newest first."""
    titles: dict[str, str] = {key: runbook.title for key, runbook in engine.loaded.runbooks.items()}
    await engine.written()
    kept = await engine.remembered.documents(lambda documents: documents.find(RUNS, limit=limit))
    tables = engine.runner.world.tables
    found = {
        run.id: run_line(run, titles.get(run.runbook, run.runbook))
        for run in (*tables["last_runs"].values(), *tables["runs"].values())  # a document is written a moment later
    }
    for each in kept:
        title = titles.get(each.document["runbook"]) or str(each.document["runbook"])
        found[each.document["id"]] = line_of_document(each.document, title)
    return sorted(found.values(), key=lambda each: -each["started_at"])[:limit]


async def run(engine: Engine, name: str) -> dict[str, Any] | None:
    """Everything about a run, open or closed."""
    await engine.written()
    tables = engine.runner.world.tables
    known = {run.id: run for run in (*tables["last_runs"].values(), *tables["runs"].values())}
    if name in known:
        return run_document(known[name])
    kept = await engine.remembered.documents(lambda documents: documents.get(RUNS, name))
    return None if kept is None else dict(kept.document)


def problems(engine: Engine) -> list[ProblemView]:
    """Problems of the workspace's files."""
    return [problem.view() for problem in engine.loaded.problems]


async def history(engine: Engine, component: str, hours: float) -> dict[str, Any]:
    """Uptime, latency percentiles and changes of a component's checks, over the last `hours`."""
    checks = [spec for spec in engine.loaded.operation.checks.values() if spec.component == component]
    return await engine.remembered.history(component, checks, min(max(hours, 0.1), 24 * 400.0))


async def couplings(engine: Engine, hours: float) -> dict[str, Any]:
    """Components that failed together over the last `hours`."""
    return await engine.remembered.couplings(engine.loaded.operation.components, min(max(hours, 0.1), 24 * 400.0))


def about(engine: Engine) -> dict[str, Any]:
    """The engine itself."""
    stats = engine.poller.stats
    late = sorted(stats.lateness)
    return {
        "pid": os.getpid(),
        "version": __version__,
        "api": API,
        "workspace": str(engine.workspace),
        "checks": len(engine.loaded.bindings),
        "runs": stats.runs,
        "skipped": stats.skipped,
        "in_flight": engine.poller.in_flight(),
        "lateness_p99": late[int(len(late) * 0.99)] if late else 0.0,
        "clients": engine.hub.subscribers,
        "busy": engine.in_flight,
        "demo": engine.demo,
        "hindrances": [obstacle.text for obstacle in obstacles(engine.signs())],
        "dead_man": engine.dead_man.about(),
        "held_loop": engine.poller.isolation.listing(),
        "held_by_others": {
            "times": engine.loop_watch.others.times,
            "longest": engine.loop_watch.others.longest,
            "place": engine.loop_watch.others.place,
        },
    }


def demo(control: int) -> dict[str, Any]:
    """The demo's services with their faults, and the one that each has now."""
    from opsdash.demo.process import catalog, current_faults

    return {
        "services": {
            service.name: [{"fault": entry.fault.value, "description": entry.description} for entry in service.faults]
            for service in catalog()
        },
        "current": current_faults(control),
    }
