"""A year and more of an operation with six quarterly drills, on the core alone: what is due is run, said, or missed."""

from __future__ import annotations

from dataclasses import replace

from opsdash.core import drill_evidence
from opsdash.core.evolve import evolve
from opsdash.model.drill import DrillRun, DrillState, DrillTimes, Level, Responder, Schedule, Verdict
from opsdash.model.records import DrillEnded, DrillMissed, DrillOverdue, DrillReminded, DrillStarted
from opsdash.testing import NEW_YEAR, component, operation
from opsdash.testing_drills import DrillTimeline, drill, with_drills
from tests.core.test_drill_schedule import told

DAY, HOUR = 86400.0, 3600.0
DAYS = 400
PARTS = ("crm", "email", "fax", "leads", "shop", "social")

QUARTERLY = {
    f"{name}-quarterly": drill(
        f"{name}-quarterly",
        component=name,
        failure_mode="",
        level=Level.TABLETOP,
        responder=Responder.PEOPLE,
        schedule=Schedule(cron=f"0 10 {3 + place} 2,5,8,11 *") if place % 2 else Schedule(every=91 * DAY),
    )
    for place, name in enumerate(PARTS)
}


def year() -> DrillTimeline:
    parts = [component(name, checks=["page"]) for name in PARTS]
    return DrillTimeline(with_drills(operation(*parts), *QUARTERLY.values()))


def run(timeline: DrillTimeline, name: str) -> None:
    """A person runs a drill that is due, and it passes."""
    known = timeline.world.get("drill_dues", name)
    each = timeline.world.operation.drills[name]
    number = timeline.draft().life().drills + 1
    begun = DrillRun(
        f"DRILL-{number}",
        each,
        DrillState.RUNNING,
        "maria",
        timeline.clock.wall,
        due=known.due,
        hashes=drill_evidence.hashes_now(timeline.world, each),
        times=DrillTimes(injected=timeline.clock.wall),
    )
    ended = replace(begun, state=DrillState.ENDED, ended_at=timeline.clock.wall, verdict=Verdict.PASSED)
    for record in (DrillStarted(timeline.clock.wall, begun), DrillEnded(timeline.clock.wall, ended)):
        timeline.records.append(record)
        timeline.world.apply(evolve(timeline.world, record))


def standing(timeline: DrillTimeline, name: str) -> str:
    each = timeline.world.operation.drills[name]
    return drill_evidence.standing(timeline.world, each, timeline.clock.wall)


def due_now(timeline: DrillTimeline) -> list[str]:
    wall, dues = timeline.clock.wall, timeline.world.tables["drill_dues"]
    return sorted(name for name, each in dues.items() if each.due <= wall and not each.claimed)


def test_with_people_who_run_what_is_due_no_quarterly_drill_is_ever_late_by_design() -> None:
    timeline = year()
    for day in range(DAYS):
        timeline.clock.advance(DAY)
        told(timeline)
        for name in due_now(timeline):
            run(timeline, name)
        told(timeline)
        if day > 120:
            assert [standing(timeline, name) for name in QUARTERLY] == ["fresh"] * 6, f"day {day}"
    assert timeline.of(DrillMissed) == []
    assert timeline.of(DrillOverdue) == []
    runs = {name: sum(each.run.drill.id == name for each in timeline.of(DrillStarted)) for name in QUARTERLY}
    assert all(4 <= count <= 5 for count in runs.values()), runs
    dues = [(each.run.drill.id, each.run.due) for each in timeline.of(DrillStarted)]
    assert len(dues) == len(set(dues)), "each due time is claimed once"
    assert {each.name for each in timeline.of(DrillReminded)} >= {"7d", "24h"}
    timeline.check_replay()


def test_what_nobody_runs_is_overdue_once_for_each_date_and_its_evidence_runs_out() -> None:
    timeline = year()
    timeline.clock.advance(DAY)
    told(timeline)
    run(timeline, "crm-quarterly")
    seen = []
    for _ in range(DAYS):
        timeline.clock.advance(DAY)
        told(timeline)
        seen.append(standing(timeline, "crm-quarterly"))
    assert [seen[90], seen[110]] == ["fresh", "old"]
    proof = [each for each in timeline.of(DrillReminded) if each.name == "proof" and each.drill == "crm-quarterly"]
    assert [round((each.at - NEW_YEAR) / DAY) for each in proof] == [76]
    overdue = [each.drill for each in timeline.of(DrillOverdue)]
    assert overdue.count("crm-quarterly") == 1
    assert overdue.count("email-quarterly") >= 4, "each date that passes is said"
    missed = [each.drill for each in timeline.of(DrillMissed)]
    assert missed.count("email-quarterly") >= 3
    timeline.check_replay()


def test_an_outage_over_a_date_is_said_and_the_drill_is_still_due() -> None:
    timeline = year()
    for _ in range(20):
        timeline.clock.advance(DAY)
        told(timeline)
        for name in due_now(timeline):
            run(timeline, name)
    later = timeline.crash(seconds=40 * DAY)
    told(later)
    off = [each for each in later.of(DrillOverdue) if each.why == "no engine ran at that time"]
    assert sorted(each.drill for each in off) == ["email-quarterly", "leads-quarterly", "social-quarterly"]
    assert due_now(later) == ["email-quarterly", "leads-quarterly", "social-quarterly"]
    for name in due_now(later):
        run(later, name)
    told(later)
    assert due_now(later) == []
