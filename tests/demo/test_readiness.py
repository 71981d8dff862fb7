"""The readiness of the example operation, as its files say it: its gaps are known, and there is no other one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from opsdash.config.loader import load
from opsdash.core.draft import Draft
from opsdash.core.readiness import readiness
from opsdash.engine.readiness import facts_of
from opsdash.model.drill import DAY, Level
from opsdash.model.now import Now
from opsdash.model.operation import Tier
from opsdash.model.world import Live, World
from opsdash.storage.trust import Trust

if TYPE_CHECKING:
    from opsdash.model.readiness import Gap, Readiness

ROOT = Path(__file__).resolve().parents[2]
WALL = 1_795_000_000.0

DELIBERATE = {
    "one-owner automation": "only Lena knows how the flows are built, which its file says",
    "single-provider lead-routing": "the router is the one part that is essential, and has neither backup nor mode",
    "no-drill automation": "nobody but Lena could practise that she is away",
    "no-drill social": "posts are droppable: their failure is practised by nobody",
    "no-drill market-data": "that both sources are bad at once is left to the runbook",
    "no-anchors ": "anchors would be targets on other people's machines, which a demonstration does not ask",
    "no-dead-man ": "a demonstration is missed by nobody",
}
"""Gaps of the files, which are left open on purpose, so that there is something to see."""

UNTIL_SHOWN = {"backup-unproven", "mode-unproven", "never-red", "runbook-not-approved", "drill-never-run"}
"""Rules about what nobody has done yet in an operation that was never used."""

NOT_DRILLED = {"automation/expert-away", "market-data/no-good-data", "social/broken"}
"""Failure modes that nobody practises, on purpose."""


def found() -> Readiness:
    loaded = load(ROOT, {**os.environ, "USER": "maria"}, WALL)
    draft = Draft(World(loaded.operation), Live(), Now(WALL, 0.0, 0.0))
    return readiness(draft, facts_of(loaded, Trust(), measured=False))


def named(gap: Gap) -> str:
    return f"{gap.rule} {gap.component}"


def test_its_deliberate_gaps_are_named_and_no_other() -> None:
    of_the_files = {named(gap) for gap in found().gaps if gap.rule not in UNTIL_SHOWN}
    assert of_the_files == set(DELIBERATE)


def test_what_nobody_has_done_yet_is_named_for_each_backup_and_degraded_mode() -> None:
    gaps = found().gaps
    backups = {f"{gap.component}/{gap.subject}" for gap in gaps if gap.rule == "backup-unproven"}
    modes = {f"{gap.component}/{gap.subject}" for gap in gaps if gap.rule == "mode-unproven"}
    assert backups == {"email/ses", "market-data/feed-b"}
    assert modes == {
        "automation/essential-flows-only",
        "crm/outbox",
        "email/transactional-only",
        "lead-scoring/all-to-sales",
        "pricing-api/cached-prices",
        "reporting/simple-report",
    }


def test_that_only_one_person_knows_the_automation_platform_is_said_in_plain_words() -> None:
    (gap,) = (gap for gap in found().gaps if gap.rule == "one-owner")
    assert gap.text == "Lena Vogt is the only one who knows Automation platform"
    assert gap.file == "checks/automation.yaml"


def test_that_all_of_it_runs_on_this_machine_is_no_shared_fate() -> None:
    assert not {gap.rule for gap in found().gaps} & {"shared-fate", "hidden-coupling", "secret-inline"}


def test_every_failure_mode_has_a_drill_that_can_be_run_but_for_those_that_deliberately_have_none() -> None:
    gaps = found().gaps
    assert {f"{gap.component}/{gap.subject}" for gap in gaps if gap.rule == "no-drill"} == NOT_DRILLED
    assert not [gap for gap in gaps if gap.rule == "drill-off"]


def test_every_essential_component_has_its_drill_of_the_quarter() -> None:
    operation = load(ROOT, {**os.environ, "USER": "maria"}, WALL).operation
    essential = {
        component.id
        for component in operation.components.values()
        if Tier.ESSENTIAL in (component.tier, *(feature.tier for feature in component.features.values()))
    }
    quarterly = {each.component: each for each in operation.drills.values() if each.id.endswith("-quarterly")}
    assert set(quarterly) == essential
    for drill in quarterly.values():
        assert drill.schedule is not None
        assert drill.schedule.every == 90 * DAY
        assert drill.level is Level.CONTAINED


def test_there_is_a_drill_of_every_level_but_the_real_one() -> None:
    drills = load(ROOT, {**os.environ, "USER": "maria"}, WALL).operation.drills.values()
    assert {each.level for each in drills} == set(Level) - {Level.REAL}
