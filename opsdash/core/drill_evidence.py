"""Evidence of drills: whether it still counts, and one run as a document that stands for itself.

Evidence counts until it is older than its validity, or what it proves has changed: the component's definition, the
drill's, the runbook's text. A run that failed takes away what an earlier one has shown; one that was aborted,
interrupted or inconclusive shows nothing either way.

The document is made from the journal's records alone, and carries the entries that it was made from, as they were
written: whoever has it can reckon their hashes again, and whoever has the journal as well can see that nothing was left
out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from opsdash.core.markdown import cell, line
from opsdash.core.proofs import CHANGED, FAILED, FRESH, NEVER, OLD
from opsdash.core.telling import tell, who_of
from opsdash.model import records as r
from opsdash.model.drill import PROVES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from opsdash.model.drill import Drill, DrillEvidence, DrillPast, DrillRun
    from opsdash.model.operation import Operation
    from opsdash.model.records import Record

VERSION = 1
"""Of the document's shape."""


class Reader(Protocol):
    """What is needed of a world or draft."""

    operation: Operation

    def get(self, table: str, key: str) -> Any: ...


# --- whether it counts ---------------------------------------------------------------------------------------------


def latest(reader: Reader, drill: str) -> DrillPast | None:
    """The latest evidence of a drill, and the latest that proves something; None where it was never run."""
    found: DrillPast | None = reader.get("drill_past", drill)
    return found


def hashes_now(reader: Reader, drill: Drill, runbook_sha256: str = "") -> dict[str, str]:
    """Hashes of what evidence of a drill proves, as the files are now. Whoever reads the files knows the runbook's."""
    component = reader.operation.components.get(drill.component)
    found = {"drill": drill.sha256, "component": "" if component is None else component.sha256}
    return found | ({"runbook": runbook_sha256} if runbook_sha256 else {})


def counts(past: DrillPast | None, now: Mapping[str, str], wall: float) -> str:
    """Whether evidence counts: fresh, old, changed, never or failed. now: see `hashes_now`.

    A hash that either side does not have says nothing.
    """
    if past is None:
        return NEVER
    if past.failed is not None:
        return FAILED
    if past.proved is None:
        return NEVER
    if any(now[name] != sha256 for name, sha256 in past.proved.hashes.items() if sha256 and now.get(name)):
        return CHANGED
    return FRESH if wall < void_at(past.proved) else OLD


def void_at(evidence: DrillEvidence) -> float:
    """When evidence no longer counts by its age, in seconds since 1970 UTC."""
    return evidence.at + evidence.valid_for


def standing(reader: Reader, drill: Drill, wall: float, runbook_sha256: str = "") -> str:
    """Whether the evidence of a drill counts now: fresh, old, changed, never or failed."""
    return counts(latest(reader, drill.id), hashes_now(reader, drill, runbook_sha256), wall)


# --- the document --------------------------------------------------------------------------------------------------


def is_about(record: Record, run: str) -> bool:
    """Whether a record belongs to the evidence of a run. Those of its switches have evidence of their own."""
    if isinstance(record, r.DrillStarted | r.DrillEnded):
        return record.run.id == run
    if isinstance(record, r.Proved):
        return record.by == run
    return str(getattr(record, "run", "")) == run


def gather(records: Iterable[Record]) -> DrillRun | None:
    """The run as its last record has it; None where its end is not among them."""
    ended = [record.run for record in records if isinstance(record, r.DrillEnded)]
    return ended[-1] if ended else None


MEASURED: dict[str, tuple[str, str]] = {
    "detect": ("injected", "opened"),
    "acknowledge": ("opened", "acknowledged"),
    "decide": ("acknowledged", "decided"),
    "switch": ("decided", "switched"),
    "verify": ("switched", "verified"),
    "recovery": ("injected", "verified"),
    "restore": ("undone", "restored"),
    "exposure": ("switched", "restored"),
}
"""What is measured, as the span between two times of a run."""

TIMES = (
    "injected", "first_bad", "opened", "acknowledged", "decided", "switched", "verified", "undone", "restored",
)  # fmt: skip


def measured(run: DrillRun) -> dict[str, float]:
    """The spans of a run in seconds, those of which both ends are known."""
    ends = {name: (getattr(run.times, start), getattr(run.times, end)) for name, (start, end) in MEASURED.items()}
    return {name: max(0.0, end - start) for name, (start, end) in ends.items() if start is not None and end is not None}


def document(run: DrillRun, records: Sequence[Record], entries: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The evidence of a run as JSON.

    entries: the journal's entries behind `records`, as they were written.
    """
    drill, expect = run.drill, run.drill.expect
    ended = run.started_at if run.ended_at is None else run.ended_at
    return {
        "evidence": VERSION,
        "run": run.id,
        "drill": drill.id,
        "title": drill.title,
        "component": run.component,
        "failure_mode": drill.failure_mode,
        "level": drill.level.value,
        "verdict": None if run.verdict is None else run.verdict.value,
        "why": list(run.why),
        "who": {"driver": run.who, "approver": run.approved_by, "absent": list(drill.absent)},
        "cause": run.cause,
        "due": run.due,
        "reason": run.reason,
        "note": run.note,
        "overrides": list(run.overrides),
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "valid_until": ended + drill.valid_for,
        "hashes": dict(run.hashes),
        "times": {name: getattr(run.times, name) for name in TIMES},
        "measured": measured(run),
        "expected": {
            "detect": expect.detect,
            "acknowledge": expect.acknowledge,
            "recover": run.rto if expect.recover is None else expect.recover,
            "unaffected": list(expect.unaffected),
            "mode": expect.mode,
            "alarm": expect.alarm,
            "runbook": expect.runbook,
            "load": None if expect.load is None else {"times": expect.load.times, "failures": expect.load.failures},
        },
        "injections": [{"kind": each.kind, "target": each.target} for each in drill.injections],
        "samples": {"taken": run.samples, "missing": run.missing},
        "load": {"times": run.load[0], "failed": run.load[1]},
        "affected": list(run.affected),
        "undo": {"needed": run.faulty, "verified": run.undone, "by": run.undo_by},
        "stopped": run.stopped,
        "incident": run.incident,
        "switches": list(run.switches),
        "runbook_run": run.runbook_run,
        "states": [{"at": at, "state": state} for at, state in run.history],
        "history": [{"at": each.at, "who": who_of(each), "what": tell(each)} for each in records],
        "journal": list(entries),
    }


def markdown(found: Mapping[str, Any], moment: Callable[[float | None], str]) -> str:
    """The same for people. moment: a time in words, of UTC: evidence is read in other zones, too."""
    who, undo, samples = found["who"], found["undo"], found["samples"]
    people = line(who["driver"]) + (f", agreed by {line(who['approver'])}" if who["approver"] else "")
    absent = f"; absent on purpose: {', '.join(map(line, who['absent']))}" if who["absent"] else ""
    gone = {True: "verified to be gone", False: "found not to be gone", None: "not verified to be gone"}
    began = f"{moment(found['started_at'])} UTC"
    lines = [
        f"# Drill of {found['component']}: {line(found['title'])}",
        "",
        f"**{found['verdict'] or 'not ended'}**, level {found['level']}, `{found['run']}`, {began}",
        "",
        *(f"- {line(each)}" for each in found["why"]),
        f"- who: {people} ({found['cause']}){absent}",
    ]
    if found["verdict"] in PROVES:
        lines.append(f"- counts until {moment(found['valid_until'])} UTC, as long as what it proves does not change")
    lines += [f"- why it was run: {line(found['reason'])}"] if found["reason"] else []
    lines += [f"- note: {line(found['note'])}"] if found["note"] else []
    lines += [f"- overridden: {', '.join(found['overrides'])}"] if found["overrides"] else []
    lines += [f"- incident: {found['incident']}"] if found["incident"] else []
    lines += (
        [f"- the fault: {gone[undo['verified']]}, taken back by {undo['by'] or 'nobody'}"] if undo["needed"] else []
    )
    lines += [f"- samples of the steady checks: {samples['taken']}, missing: {samples['missing']}"]
    lines += ["", "## Times", "", "| what | when (UTC) |", "|---|---|"]
    lines += [f"| {name.replace('_', ' ')} | {moment(at)} |" for name, at in found["times"].items() if at is not None]
    lines += ["", "| measured | seconds | expected |", "|---|---|---|"]
    expected = {**found["expected"], "recovery": found["expected"]["recover"]}
    lines += [f"| {name} | {took:.1f} | {_limit(expected.get(name))} |" for name, took in found["measured"].items()]
    lines += ["", "## What happened", ""]
    lines += [f"- {moment(each['at'])} {each['who']}: {line(each['what'])}" for each in found["history"]]
    lines += ["", "## Hashes", "", "| of | sha256 |", "|---|---|"]
    lines += [f"| {cell(name)} | `{sha256}` |" for name, sha256 in found["hashes"].items()]
    lines += ["", "## Journal", "", "| entry | type | sha256 | of the one before |", "|---|---|---|---|"]
    lines += [f"| {each['seq']} | {each['type']} | `{each['hash']}` | `{each['prev']}` |" for each in found["journal"]]
    return "\n".join(lines) + "\n"


def _limit(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.0f}"
