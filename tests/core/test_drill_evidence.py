"""Evidence of drills: when it counts, when it is void, and the document that stands for itself."""

from __future__ import annotations

import json
from typing import Any

import pytest

from opsdash.core import drill_evidence, proofs
from opsdash.core.drill_evidence import counts, document, gather, hashes_now, is_about, latest, markdown, measured
from opsdash.core.evolve_drills import evidence_of
from opsdash.model.drill import DrillEvidence, DrillPast, Level, Verdict
from opsdash.model.records import DrillEnded, DrillStarted, Proved
from opsdash.model.status import Status
from opsdash.storage.codec import encode
from opsdash.testing import Timeline, component, email, operation
from opsdash.testing_drills import DrillTimeline, Faults, drill, with_drills
from tests.core.test_drill_runs import PRIMARY, D, begun, office

DAY = 86400.0


def evidence(verdict: Verdict = Verdict.PASSED, at: float = 0.0, **hashes: str) -> DrillEvidence:
    return DrillEvidence("DRILL-1", D, "email", Level.CONTAINED, at, verdict, hashes=hashes or {"component": "a"})


def past(*runs: DrillEvidence) -> DrillPast:
    """What is left of these runs, as the world keeps it."""
    timeline = office(drill())
    kept: DrillPast | None = None
    for each in runs:
        proved = each if each.verdict in (Verdict.PASSED, Verdict.LATE) else None if kept is None else kept.proved
        failed = each if each.verdict is Verdict.FAILED else None if proved is each or kept is None else kept.failed
        kept = DrillPast(each, proved, failed)
    assert kept is not None
    assert timeline.records
    return kept


@pytest.mark.parametrize(
    ("runs", "wall", "expected"),
    [
        ([evidence()], 99 * DAY, "fresh"),
        ([evidence(Verdict.LATE)], 99 * DAY, "fresh"),
        ([evidence()], 101 * DAY, "old"),
        ([evidence(component="b")], 1.0, "changed"),
        ([evidence(component="a", runbook="old")], 1.0, "changed"),
        ([evidence(component="a", drill="")], 1.0, "fresh"),
        ([evidence(Verdict.FAILED)], 1.0, "failed"),
        ([evidence(), evidence(Verdict.FAILED)], 1.0, "failed"),
        ([evidence(Verdict.FAILED), evidence(Verdict.ABORTED)], 1.0, "failed"),
        ([evidence(Verdict.FAILED), evidence()], 1.0, "fresh"),
        ([evidence(), evidence(Verdict.ABORTED)], 1.0, "fresh"),
        ([evidence(), evidence(Verdict.INCONCLUSIVE)], 1.0, "fresh"),
        ([evidence(Verdict.INTERRUPTED)], 1.0, "never"),
    ],
)
def test_evidence_counts_as_long_as_it_is_young_and_nothing_has_changed(
    runs: list[DrillEvidence], wall: float, expected: str
) -> None:
    now = {"component": "a", "runbook": "new", "drill": "d"}
    assert counts(past(*runs), now, wall) == expected


def test_without_a_run_there_never_was_any() -> None:
    assert counts(None, {}, 0.0) == "never"


def test_a_run_leaves_its_evidence_and_a_change_of_the_files_takes_it_away() -> None:
    timeline = begun(drill())
    run = timeline.until_ended(D)
    kept = latest(timeline.world, D)
    assert kept is not None
    assert kept.latest == evidence_of(run, run.ended_at or 0.0) == kept.proved
    assert kept.latest.took > 0
    standing = drill_evidence.standing(timeline.world, drill(), timeline.clock.wall)
    assert standing == "fresh"
    parts = operation(email(sha256="another"), component("crm", checks=["api"]))
    timeline.reload(with_drills(parts, drill()))
    assert drill_evidence.standing(timeline.world, drill(), timeline.clock.wall) == "changed"
    mail = timeline.world.operation.components["email"]
    assert proofs.proof_of(timeline.world, mail, "ses", timeline.clock.wall)[0] == "changed"


def test_a_run_says_which_runbook_it_proves() -> None:
    timeline = office(drill())
    timeline.begin(D, runbook_sha256="book")
    run = timeline.until_ended(D)
    assert run.hashes == {"component": "sha of email", "drill": f"sha of {D}", "runbook": "book"}
    assert hashes_now(timeline.world, drill(), "book") == run.hashes
    assert drill_evidence.standing(timeline.world, drill(), timeline.clock.wall, "another") == "changed"


def test_a_proof_counts_as_long_as_its_drill_says() -> None:
    timeline = begun(drill(valid_for=10 * DAY))
    timeline.until_ended(D)
    mail = timeline.world.operation.components["email"]
    proof = timeline.of(Proved)[-1]
    assert (proof.by, proof.what, proof.valid_for) == ("DRILL-1", "ses", 10 * DAY)
    at = timeline.clock.wall
    assert proofs.proof_of(timeline.world, mail, "ses", at + 9 * DAY)[0] == proofs.FRESH
    assert proofs.proof_of(timeline.world, mail, "ses", at + 11 * DAY)[0] == proofs.OLD


@pytest.mark.parametrize("level", [Level.SYNTHETIC, Level.TABLETOP])
def test_below_a_switch_a_drill_proves_no_backup_by_itself(level: Level) -> None:
    timeline = office(drill(level=level))
    timeline.begin(D)
    timeline.live_on(90)
    assert [each.by for each in timeline.of(Proved) if each.by.startswith("DRILL")] == []


def test_what_failed_proves_nothing() -> None:
    timeline = begun(drill(), faults=Faults(breaks={PRIMARY: Status.DOWN}, undone=False))
    timeline.until_ended(D)
    assert [each.by for each in timeline.of(Proved) if each.by.startswith("DRILL")] == []


def told(timeline: DrillTimeline) -> tuple[dict[str, Any], str]:
    records = [each for each in timeline.records if is_about(each, "DRILL-1")]
    assert isinstance(records[0], DrillStarted)
    run = gather(records)
    assert run is not None
    entries = [
        {"seq": n, "at": each.at, "type": encode(each)[0], "hash": f"hash {n}", "prev": f"hash {n - 1}"}
        for n, each in enumerate(records)
    ]
    found = document(run, records, entries)
    return found, markdown(found, lambda at: "" if at is None else f"{at:.0f}")


def test_the_document_has_everything_that_the_verdict_rests_on() -> None:
    timeline = begun(drill(steady=("crm/api",)))
    run = timeline.until_ended(D)
    found, text = told(timeline)
    assert json.loads(json.dumps(found)) == found
    assert (found["verdict"], found["level"], found["run"]) == ("passed", "contained", "DRILL-1")
    assert found["who"] == {"driver": "maria", "approver": None, "absent": []}
    assert found["samples"] == {"taken": run.samples, "missing": 0}
    assert found["undo"] == {"needed": True, "verified": True, "by": "guard"}
    assert set(found["measured"]) == {"detect", "switch", "verify", "recovery", "restore", "exposure"}
    assert found["hashes"]["component"] == "sha of email"
    assert next(each["type"] for each in found["journal"]) == "drill_started"
    assert [each["type"] for each in found["journal"]][-1] == "proved"
    assert found["valid_until"] == (run.ended_at or 0.0) + 100 * DAY
    for part in ("**passed**", "## Times", "## Hashes", "| recovery |", "verified to be gone", "`hash 0`"):
        assert part in text


def test_the_document_says_what_went_wrong() -> None:
    timeline = begun(drill(), faults=Faults(breaks={PRIMARY: Status.DOWN}, undone=False, stuck=True))
    timeline.until_ended(D)
    found, text = told(timeline)
    assert found["undo"]["verified"] is False
    assert "found not to be gone" in text
    assert "**failed**" in text


def test_text_from_outside_stays_text_in_the_document() -> None:
    timeline = office(drill(title="a | b <script>\n# c"))
    timeline.begin(D, reason="line\n# heading | cell")
    timeline.until_ended(D)
    _, text = told(timeline)
    assert "\n# heading" not in text
    assert "\n# c" not in text


def test_without_its_end_there_is_no_evidence() -> None:
    timeline = begun(drill())
    assert gather([each for each in timeline.records if is_about(each, "DRILL-1")]) is None
    timeline.until_ended(D)
    assert len(timeline.of(DrillEnded)) == 1
    assert measured(timeline.ended(D))["recovery"] > 0
    assert isinstance(timeline, Timeline)
