"""The story of docs/example-incident.md, played for real, and what must hold of it whatever the times are."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest

from opsdash.cli.example import running
from opsdash.cli.incident_report import read_records
from opsdash.model import records as r
from opsdash.model.run import BlockState, Decision
from opsdash.model.units import format_duration
from opsdash.service.places import is_locked, places
from opsdash.storage.segments import read_entries
from tests.core.test_report import SECTIONS
from tools.example_incident import RUNBOOK, STEP, Story, Told, page

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opsdash.model.records import Record
    from opsdash.storage.entries import Entry

T = TypeVar("T")

pytestmark = pytest.mark.timeout(240)


@dataclass(frozen=True)
class Played:
    """What is told of the story, and the journal that it has left."""

    told: Told
    entries: list[Entry]
    records: list[Record]

    def all(self, kind: type[T]) -> list[T]:
        return [each for each in self.records if isinstance(each, kind)]


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary folder of our own, so that whatever is left behind is seen. Its path is short, for the sockets."""
    with tempfile.TemporaryDirectory(prefix="opsdash-t-") as name:
        monkeypatch.setattr("tempfile.tempdir", name)
        monkeypatch.setenv("XDG_STATE_HOME", f"{name}/state")
        yield Path(name)


def test_an_incident_is_followed_to_its_report_by_two_people_and_two_engines(folder: Path) -> None:
    with running() as example:
        told = Story(example).go()
        where = places(example.workspace)
        played = Played(told, list(read_entries(where.journal)), list(read_records(where.journal)[1]))
    assert not is_locked(where)
    assert list(folder.glob("opsdash-demo-*")) == []

    nothing_that_the_engine_had_said_yes_to_is_lost_by_its_death(played)
    the_block_in_which_it_died_is_not_repeated_by_itself(played)
    all_that_was_queued_has_arrived_once(played)
    both_people_stand_beside_what_they_did(played)
    the_report_tells_all_of_it(told)
    its_figures_are_those_of_the_journal(played)
    the_page_says_nothing_of_this_machine(told, str(folder))


def nothing_that_the_engine_had_said_yes_to_is_lost_by_its_death(played: Played) -> None:
    starts = [number for number, entry in enumerate(played.entries) if entry.type == "engine_started"]
    assert len(starts) == 2, "one engine was killed, one more began"
    kept = Counter(entry.type for entry in played.entries[: starts[1]])
    assert "engine_stopped" not in kept, "it was killed"
    acknowledged = played.told.acknowledged
    assert acknowledged
    assert {kind: kept[kind] for kind in acknowledged} == acknowledged


def the_block_in_which_it_died_is_not_repeated_by_itself(played: Played) -> None:
    begun = [each for each in played.all(r.BlockStarted) if each.step == STEP]
    ended = next(each for each in played.all(r.BlockFinished) if each.result.step == STEP)
    (decided,) = played.all(r.BlockDecided)
    assert ended.result.state is BlockState.UNKNOWN
    assert ended.at < decided.at
    again = begun[1:]
    assert not again or (decided.decision is Decision.REPEAT and again[0].at > decided.at)


def all_that_was_queued_has_arrived_once(played: Played) -> None:
    queued = [each.message.id for each in played.all(r.MessageQueued)]
    assert [line.split("  ")[1] for line in played.told.alarms] == queued
    assert "  problem  severity 2  Our main data source delivers bad data  " in played.told.alarms[0]


def both_people_stand_beside_what_they_did(played: Played) -> None:
    marks = [(each.step, each.mark, each.who.partition(" ")[0]) for each in played.all(r.StepMarked)]
    assert marks == [
        ("see-what-is-wrong-with-it", "done", "maria"),
        ("see-that-the-other-one-is-good", "done", "maria"),
        ("read-the-other-source", "done", "maria"),
        ("see-what-the-shop-got", "done", "sam"),
        ("go-back-when-it-is-good", "done", "sam"),
        ("switch-by-hand", "skipped", "sam"),
    ]
    assert [each.who.partition(" ")[0] for each in played.all(r.IncidentClosed)] == ["sam"]


def the_report_tells_all_of_it(told: Told) -> None:
    assert tuple(re.findall(r"(?m)^## (.*)$", told.report)) == SECTIONS
    for said in (
        "# INC-1: Our main data source delivers bad data",
        "| failure mode | Our main data source delivers bad data, ",
        "| lead | maria, then sam (claimed, shop) |",
        "`market-data/bad-data` (Our main data source delivers bad data): decided was **switch**, within 15m.",
        "changed before: market-data: vendor of feed A: new version of its API (5.0) (maria)",
        f"- Runbook `{RUNBOOK}` (RUN-1), begun ",
        "    - taken over from maria by sam (claimed, shop) at ",
        "a block of “Read the other source” was cut short, and nobody knew what it had done",
        "| Read the other source | done | ",
        "| Switch by hand | skipped | ",
        "- The engine ended without saying so, and for ",
        "| maria | hands over to sam |",
        "| sam (claimed, shop) | has taken over from maria |",
        "| problem: Our main data source delivers bad data | after ",
        told.handover,
    ):
        assert said in told.report, said
    switched = r"failover of market-data to feed-b by maria: committed in [\d.]+ s, proved [\dms]+ before\. It held\."
    assert re.search(switched, told.report)


def its_figures_are_those_of_the_journal(played: Played) -> None:
    opened, acknowledged = played.all(r.IncidentOpened)[0], played.all(r.IncidentAcknowledged)[0]
    mitigated, resolved = played.all(r.IncidentRecovered)[-1], played.all(r.IncidentResolved)[-1]
    assert opened.began is not None
    figures = dict(re.findall(r"(?m)^\| (time to \w+|exposure) \| (\S+) \|", played.told.report))
    assert figures == {
        "time to detect": format_duration(opened.at - opened.began),
        "time to acknowledge": format_duration(acknowledged.at - opened.at),
        "time to mitigate": format_duration(mitigated.at - opened.began),
        "time to resolve": format_duration(resolved.at - opened.began),
        "exposure": format_duration(resolved.at - mitigated.at),
    }


def the_page_says_nothing_of_this_machine(told: Told, folder: str) -> None:
    text = page(told, "2026-11-23 10:00 UTC", "abc")
    assert folder not in text
    assert "opsdash-demo-" not in text
    assert "\n$ opsdash incident report INC-1 -o INC-1.md\n" in text
