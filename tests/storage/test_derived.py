"""Documents made anew from the journal are the ones that the engine wrote as it went."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from opsdash.model.inputs import NoteIntent, ResolveIntent
from opsdash.model.switch import SwitchKind
from opsdash.storage.codec import encode, encode_world
from opsdash.storage.derived import documents_of, practice_of, rebuild
from opsdash.storage.journal import Journal
from opsdash.testing import Timeline, email, mail_outside, operation

if TYPE_CHECKING:
    from pathlib import Path


def a_failover_and_a_resolved_incident() -> Timeline:
    story = Timeline(operation(email()), outside=mail_outside())
    story.advance(1)
    story.all_ok()
    story.down("email/postmark/api", times=3)
    assert story.confirm("email", SwitchKind.FAILOVER) == "email-failover-1"
    story.advance(60)
    story.want(ResolveIntent("INC-1", "mail leaves by the other provider"))
    return story


def test_a_rebuilt_collection_holds_what_followed_from_each_record(tmp_path: Path) -> None:
    story = a_failover_and_a_resolved_incident()
    journal = Journal.open(tmp_path)
    journal.append([encode(record) for record in story.records], datetime(2026, 11, 23, tzinfo=UTC))

    collections = rebuild(journal.entries())

    assert [stored.id for stored in collections["switches"]] == ["email-failover-1"]
    assert [stored.id for stored in collections["incidents"]] == ["INC-1"]
    assert [stored.id for stored in collections["evidence"]] == ["email/ses/email-failover-1"]
    [switch] = collections["switches"]
    assert switch.document["switch"]["state"] == "committed"
    assert switch.document["times"]["total"] > 0


def test_what_is_written_into_an_incident_that_is_over_is_in_its_document(tmp_path: Path) -> None:
    story = a_failover_and_a_resolved_incident()
    story.clock.advance(40 * 86400)
    story.want(NoteIntent("INC-1", "the provider has written a post-mortem"))
    journal = Journal.open(tmp_path)
    journal.append([encode(record) for record in story.records], datetime(2026, 11, 23, tzinfo=UTC))

    [incident] = rebuild(journal.entries())["incidents"]

    assert incident.document["entries"][-1]["text"] == "the provider has written a post-mortem"


def test_a_record_that_nobody_looks_up_makes_no_document() -> None:
    story = Timeline(operation(email()))
    assert [document for record in story.records for document in documents_of(record, story.world)] == []


def test_who_has_done_what_before_an_upgrade_stands_in_the_journal(tmp_path: Path) -> None:
    story = a_failover_and_a_resolved_incident()
    world = encode_world(story.world)
    del world["practice"]
    journal = Journal.open(tmp_path)
    journal.append([encode(record) for record in story.records], datetime(2026, 11, 23, tzinfo=UTC))
    journal.checkpoint(world, datetime(2026, 12, 1, tzinfo=UTC))

    learned = practice_of(lambda types: journal.entries(types=types))

    assert learned == story.world.tables["practice"]
    assert [(each.who, each.what) for each in learned["email"].done] == [("maria", "ses")]
