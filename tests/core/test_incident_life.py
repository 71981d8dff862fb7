"""The life of an incident: who looks after it, what becomes part of it, when it is mitigated, resolved, closed."""

from __future__ import annotations

from typing import Any

import pytest

from opsdash.core import incident_work
from opsdash.core.incidents import CLOSED_BY_ITSELF
from opsdash.core.severity import SEVERITIES, How
from opsdash.model import inputs as i
from opsdash.model import records as r
from opsdash.model.incident import EntryKind, Incident, IncidentRole, IncidentState
from opsdash.model.operation import Tier
from opsdash.model.run import Decision
from opsdash.model.status import Status
from opsdash.model.switch import Refused
from opsdash.testing import Timeline, component, email, failure, mail_outside, mail_switch, operation

PRIMARY, BACKUP, FRONT = "email/postmark/api", "email/ses/api", "email/delivery"


def chain() -> Timeline:
    """A site on a shop on a bank; a newsletter, droppable, on the bank as well."""
    timeline = Timeline(
        operation(
            component("bank", title="Bank", tier=Tier.ESSENTIAL, checks=["a"]),
            component("shop", title="Shop", checks=["a"], depends_on=("bank",),
                      failures={"no-bank": failure("no-bank", "shop/a")}),
            component("site", title="Site", checks=["a"], depends_on=("shop",)),
            component("letter", title="Letter", tier=Tier.DROPPABLE, checks=["a"], depends_on=("bank",)),
        )
    )  # fmt: skip
    timeline.all_ok()
    return timeline


def office(**settings: object) -> Timeline:
    given: dict[str, Any] = {"checks": ["a"], **settings}
    timeline = Timeline(operation(component("shop", title="Shop", **given)))
    timeline.all_ok()
    return timeline


def found(timeline: Timeline, name: str = "INC-1") -> Incident:
    incident: Incident = timeline.world.get("incidents", name)
    return incident


def rule(answer: Refused | str) -> str:
    assert isinstance(answer, Refused), f"accepted: {answer!r}"
    return answer.rule


# --- one outage, one incident ----------------------------------------------------------------------------------------


def test_what_fails_because_of_another_is_part_of_its_incident() -> None:
    timeline = chain()
    timeline.down("bank/a", times=3)
    timeline.down("shop/a", "site/a", times=3)

    assert [each.incident for each in timeline.of(r.IncidentOpened)] == ["INC-1"]
    incident = found(timeline)
    assert incident.components == ("bank", "shop", "site")
    assert incident.failures == ("shop/no-bank",)
    assert timeline.incident("site") == incident
    timeline.check_replay()


def test_that_a_child_was_noticed_first_makes_no_difference() -> None:
    timeline = chain()
    timeline.down("site/a", times=3)
    timeline.advance(60)
    timeline.down("bank/a", times=3)

    assert found(timeline, "INC-2").components == ("bank", "site")
    folded = found(timeline, "INC-1")
    assert (folded.state, folded.folded_into) == (IncidentState.CANCELLED, "INC-2")
    assert rule(timeline.want(i.AckIntent("INC-1"))) == "folded"
    assert timeline.want(i.NoteIntent("INC-1", "this was the bank")) == ""
    timeline.check_replay()


def test_what_was_noticed_long_before_has_a_cause_of_its_own() -> None:
    timeline = chain()
    timeline.down("shop/a", times=3)
    timeline.advance(400)
    timeline.down("bank/a", times=3)

    assert found(timeline, "INC-1").is_open
    assert found(timeline, "INC-2").components == ("bank",)


def test_it_is_mitigated_when_all_of_its_parts_work_again() -> None:
    timeline = chain()
    timeline.down("bank/a", times=3)
    timeline.down("shop/a", times=3)
    timeline.ok("bank/a", times=2)
    assert found(timeline).state is IncidentState.OPEN
    assert [each.text for each in found(timeline).entries][-1] == "bank: it works again"
    timeline.ok("shop/a", times=2)
    assert found(timeline).state is IncidentState.RESOLVED
    assert timeline.incident("bank") is None
    assert timeline.incident("shop") is None


def test_a_part_that_fails_again_is_part_of_it_again() -> None:
    timeline = chain()
    timeline.down("bank/a", times=3)
    timeline.down("shop/a", times=3)
    timeline.ok("shop/a", times=2)
    timeline.down("shop/a", times=3)
    timeline.ok("bank/a", times=2)
    assert found(timeline).well == ("bank",)
    assert found(timeline).is_open
    timeline.check_replay()


def test_a_droppable_part_makes_no_noise() -> None:
    timeline = chain()
    timeline.down("bank/a", times=3)
    timeline.down("letter/a", times=3)
    assert "letter" in found(timeline).folded
    assert timeline.world.get("alarms", "letter") is None


def test_an_essential_part_is_not_hidden_in_the_note_of_a_droppable_one() -> None:
    timeline = Timeline(
        operation(
            component("letter", tier=Tier.DROPPABLE, checks=["a"]),
            component("shop", tier=Tier.ESSENTIAL, checks=["a"], depends_on=("letter",)),
        )
    )
    timeline.all_ok()
    timeline.down("letter/a", times=3)
    timeline.down("shop/a", times=3)
    assert found(timeline, "INC-2").component == "shop"


def test_what_a_person_has_opened_stays_an_incident_of_its_own() -> None:
    timeline = chain()
    timeline.want(i.OpenIncidentIntent("shop", "orders arrive twice"))
    timeline.down("shop/a", times=3)
    timeline.down("bank/a", times=3)
    assert found(timeline, "INC-1").is_open


# --- mitigated, resolved, closed -------------------------------------------------------------------------------------


def test_on_a_backup_it_is_mitigated_and_resolved_only_when_a_backup_could_take_over_again() -> None:
    timeline = Timeline(operation(email()))
    timeline.all_ok()
    timeline.read("email", "pm-prod")
    timeline.down(PRIMARY, times=3)
    timeline.down(FRONT, times=3)
    assert found(timeline).state is IncidentState.OPEN
    timeline.read("email", "ses-eu")
    timeline.ok(FRONT, times=2)
    assert found(timeline).state is IncidentState.MITIGATED
    assert timeline.health("email").redundancy == "lost"
    timeline.advance(5)
    timeline.ok(PRIMARY, times=2)
    assert found(timeline).state is IncidentState.RESOLVED
    assert found(timeline).resolved_by == "opsdash"
    timeline.check_replay()


def test_it_can_be_ended_without_redundancy_if_somebody_says_why() -> None:
    timeline = Timeline(operation(email()))
    timeline.all_ok()
    timeline.read("email", "pm-prod")
    timeline.down(PRIMARY, times=3)
    timeline.down(FRONT, times=3)
    timeline.read("email", "ses-eu")
    timeline.ok(FRONT, times=2)
    assert rule(timeline.want(i.ResolveIntent("INC-1"))) == "not_redundant"
    assert timeline.want(i.ResolveIntent("INC-1", "the contract with Postmark has ended"), who="ken") == ""
    assert (found(timeline).resolved_by, found(timeline).state) == ("ken", IncidentState.CLOSED)


def test_one_that_nobody_closes_is_closed_after_a_month_and_says_so() -> None:
    timeline = office()
    timeline.down("shop/a", times=3)
    timeline.ok("shop/a", times=2)
    later = timeline.crash(seconds=CLOSED_BY_ITSELF - 60)
    assert found(later).state is IncidentState.RESOLVED
    later = later.crash(seconds=120)
    assert found(later).state is IncidentState.CLOSED
    assert "nobody has closed it" in found(later).entries[-1].text


def test_in_journals_from_before_there_was_a_difference_resolving_was_closing() -> None:
    timeline = office()
    timeline.down("shop/a", times=3)
    timeline.world.apply(r_evolve(timeline, r.IncidentResolved(timeline.clock().wall, "INC-1", "maria", "over")))
    assert found(timeline).state is IncidentState.CLOSED
    assert timeline.state("shop").incident is None


def r_evolve(timeline: Timeline, record: r.Record) -> list[tuple[str, str, object]]:
    from opsdash.core.evolve import evolve

    return evolve(timeline.world, record)


def test_one_that_was_none_is_cancelled_with_a_reason_but_not_while_it_fails() -> None:
    timeline = office()
    timeline.want(i.OpenIncidentIntent("shop", "somebody saw an empty page"))
    assert rule(timeline.want(i.CancelIncidentIntent("INC-1", " "))) == "empty"
    timeline.down("shop/a", times=3)
    assert rule(timeline.want(i.CancelIncidentIntent("INC-1", "it was my browser"))) == "still_failing"
    timeline.ok("shop/a", times=2)
    assert timeline.want(i.CancelIncidentIntent("INC-1", "it was my browser")) == ""
    assert found(timeline).state is IncidentState.CANCELLED
    assert timeline.incident("shop") is None


def test_one_that_is_not_over_after_all_is_reopened_and_nobody_is_on_it_any_more() -> None:
    timeline = office()
    timeline.down("shop/a", times=3)
    timeline.want(i.AckIntent("INC-1"))
    timeline.ok("shop/a", times=2)
    assert timeline.want(i.ReopenIntent("INC-1", "customers still see the old prices")) == ""
    incident = found(timeline)
    assert (incident.state, incident.reopened, incident.acknowledged_by) == (IncidentState.OPEN, 1, None)
    assert timeline.incident("shop") == incident
    timeline.ok("shop/a")
    assert found(timeline).is_open, "what a person has opened does not end by itself"
    assert rule(timeline.want(i.ReopenIntent("INC-1", "again"))) == "open"


@pytest.mark.parametrize("state", IncidentState)
def test_every_state_answers_every_wish(state: IncidentState) -> None:
    """A wish is carried out or refused with words for the state; none of them falls between."""
    assert state in incident_work.INSTEAD
    assert all(states <= frozenset(IncidentState) for states in incident_work.TAKES.values())


# --- looking after it ------------------------------------------------------------------------------------------------


def test_an_acknowledgement_runs_out_and_can_be_renewed_by_the_same_person() -> None:
    timeline = office()
    timeline.down("shop/a", times=3)
    timeline.want(i.AckIntent("INC-1"), who="maria")
    timeline.advance(1700)
    assert timeline.want(i.AckIntent("INC-1"), who="maria") == ""
    timeline.advance(1700)
    assert found(timeline).acknowledged_by == "maria"
    timeline.advance(200)
    assert found(timeline).state is IncidentState.OPEN
    assert found(timeline).acknowledged_at is not None, "that somebody once did is not forgotten"
    assert timeline.want(i.AckIntent("INC-1"), who="ken") == ""
    timeline.check_replay()


def test_it_runs_out_also_while_no_engine_runs() -> None:
    timeline = office()
    timeline.down("shop/a", times=3)
    timeline.want(i.AckIntent("INC-1"))
    later = timeline.crash(seconds=1900)
    later.advance(1)
    assert found(later).acknowledged_by is None


@pytest.mark.parametrize("seconds", [-5 * 3600.0, -60.0])
def test_a_clock_that_is_set_back_makes_it_no_longer(seconds: float) -> None:
    timeline = office()
    timeline.down("shop/a", times=3)
    timeline.want(i.AckIntent("INC-1"), who="maria")
    timeline.advance(600)
    timeline.clock.jump(seconds)
    timeline.feed(i.ClockJumped(seconds))
    timeline.advance(1190)
    assert found(timeline).acknowledged_by == "maria"
    timeline.advance(20)
    assert found(timeline).acknowledged_by is None
    timeline.check_replay()


def test_while_users_are_served_it_does_not_run_out() -> None:
    timeline = Timeline(operation(email()))
    timeline.all_ok()
    timeline.read("email", "pm-prod")
    timeline.down(PRIMARY, times=3)
    timeline.down(FRONT, times=3)
    timeline.want(i.AckIntent("INC-1"))
    timeline.read("email", "ses-eu")
    timeline.ok(FRONT, times=2)
    timeline.advance(1900)
    assert found(timeline).acknowledged_by == "maria"


def test_it_can_be_given_for_longer_or_taken_back() -> None:
    timeline = office()
    timeline.down("shop/a", times=3)
    assert rule(timeline.want(i.AckIntent("INC-1", back=True))) == "not_acknowledged"
    assert rule(timeline.want(i.AckIntent("INC-1", seconds=90000.0))) == "duration"
    timeline.want(i.AckIntent("INC-1", seconds=7200.0))
    timeline.advance(3600)
    assert found(timeline).acknowledged_by == "maria"
    timeline.want(i.AckIntent("INC-1", back=True))
    assert found(timeline).state is IncidentState.OPEN


def test_roles_are_intervals() -> None:
    timeline = office()
    timeline.down("shop/a", times=3)
    timeline.want(i.AckIntent("INC-1"), who="maria")
    assert found(timeline).lead == "maria"
    timeline.want(i.RoleIntent("INC-1", IncidentRole.LEAD, "ken"))
    timeline.advance(60)
    timeline.want(i.RoleIntent("INC-1", IncidentRole.LEAD, "lena"))
    assert found(timeline).lead == "lena"
    assert [(each.person, each.until is None) for each in found(timeline).roles] == [("ken", False), ("lena", True)]
    timeline.want(i.RoleIntent("INC-1", IncidentRole.LEAD, ""))
    assert found(timeline).lead == "maria"
    assert rule(timeline.want(i.RoleIntent("INC-1", IncidentRole.SCRIBE, ""))) == "same"


def test_a_handover_says_what_is_known_and_the_one_who_accepts_leads() -> None:
    timeline = Timeline(operation(email()), outside=mail_outside())
    timeline.advance(1)
    timeline.all_ok()
    timeline.down(PRIMARY, times=3)
    timeline.want(i.AckIntent("INC-1"), who="maria")
    timeline.want(i.NoteIntent("INC-1", "Postmark says: within the hour"), who="maria")
    assert rule(timeline.want(i.AcceptHandoverIntent("INC-1"), who="ken")) == "no_handover"
    assert timeline.want(i.OfferHandoverIntent("INC-1", "ken", "call Postmark at six"), who="maria") == ""

    note = found(timeline).handover
    assert note is not None
    for said in (
        "Conditions:", "INC-1 is acknowledged", "Postmark says: within the hour", "call Postmark at six",
        "the acknowledgement by maria runs out in", "Open risks:",
    ):  # fmt: skip
        assert said in note.text
    assert rule(timeline.want(i.AcceptHandoverIntent("INC-1"), who="lena")) == "not_yours"
    assert timeline.want(i.AcceptHandoverIntent("INC-1"), who="ken (claimed, root)") == "", "on a shared account"
    incident = found(timeline)
    assert (incident.lead, incident.acknowledged_by) == ("ken (claimed, root)", "ken (claimed, root)")
    assert rule(timeline.want(i.AcceptHandoverIntent("INC-1"), who="ken")) == "no_handover"
    timeline.check_replay()


def test_whoever_offered_a_handover_and_takes_it_back_keeps_the_incident() -> None:
    timeline = office()
    timeline.down("shop/a", times=3)
    timeline.want(i.OfferHandoverIntent("INC-1"), who="maria")
    timeline.want(i.AcceptHandoverIntent("INC-1"), who="maria")
    incident = found(timeline)
    assert incident.entries[-2].text == "keeps it: nobody has taken over"
    assert incident.lead == "maria"


def test_whoever_takes_an_incident_over_drives_its_runs_from_then_on() -> None:
    timeline = office()
    timeline.down("shop/a", times=3)
    timeline.want(i.OpenRunIntent("shop-down", "shop", "sha", (("look", "sha"),)), who="maria")
    timeline.want(i.OfferHandoverIntent("INC-1", "ken"), who="maria")
    timeline.want(i.AcceptHandoverIntent("INC-1"), who="ken")
    assert timeline.world.get("runs", "RUN-1").driven_by == "ken"
    assert timeline.of(r.RunTaken)[0].reason == "INC-1 was handed over"


def test_a_handover_says_at_which_step_a_run_is_and_what_is_still_to_be_decided() -> None:
    timeline = Timeline(operation(email()), outside=mail_outside())
    timeline.advance(1)
    timeline.all_ok()
    timeline.down(PRIMARY, times=3)
    steps, titles = (("look", "1"), ("switch", "2")), ("Look at the queue", "Switch by hand")
    timeline.want(i.OpenRunIntent("email-down", "email", "sha", steps, titles=titles), who="maria")
    timeline.want(i.MarkStepIntent("RUN-1", "look", "done"), who="maria")
    timeline.want(i.RunBlockIntent("RUN-1", "switch", 0, "failover email", "run"), who="maria")
    timeline = timeline.crash()
    timeline.want(i.OfferHandoverIntent("INC-1", "ken"), who="maria")
    offered = found(timeline).handover
    assert offered is not None
    assert "- RUN-1, runbook email-down, driven by maria: at “Switch by hand” (1 done)\n" in offered.text
    assert "- RUN-1: nobody knows what a block of “Switch by hand” has done; it has to be decided\n" in offered.text
    timeline.want(i.DecideBlockIntent("RUN-1", "switch", 0, Decision.DONE), who="maria")
    timeline.want(i.OfferHandoverIntent("INC-1", "ken"), who="maria")
    again = found(timeline).handover
    assert again is not None
    assert "nobody knows" not in again.text


def test_a_switch_that_has_ended_is_told_once_in_a_handover_with_what_came_of_it() -> None:
    outside = mail_outside()
    timeline = Timeline(operation(email(switch=mail_switch())), outside=outside)
    timeline.advance(1)
    timeline.all_ok()
    timeline.down(PRIMARY, times=3)
    outside.status[PRIMARY] = Status.DOWN  # for good

    def told() -> list[str]:
        timeline.want(i.OfferHandoverIntent("INC-1", "ken"), who="maria")
        offered = found(timeline).handover
        assert offered is not None
        return [line for line in offered.text.splitlines() if "failover from postmark to ses" in line]

    timeline.confirm("email")
    assert told() == ["- maria: failover from postmark to ses: Provider unreachable"]
    timeline.advance(10)
    assert told() == ["- maria: failover from postmark to ses: Provider unreachable → committed"]


def test_what_came_back_is_called_redundancy_only_where_there_was_some() -> None:
    timeline = office()
    timeline.down("shop/a", times=3)
    timeline.ok("shop/a", times=3)
    assert found(timeline).entries[-1].text == "resolved: everything is as it was"
    mail = Timeline(operation(email(switch=mail_switch())), outside=mail_outside())
    mail.advance(1)
    mail.all_ok()
    mail.down(PRIMARY, times=3)
    mail.ok(PRIMARY, times=3)
    assert "resolved: redundancy is back" in [entry.text for entry in found(mail).entries]


# --- what it is called -----------------------------------------------------------------------------------------------


def feed() -> Timeline:
    """A shop whose register has the specific way to fail before the vague one, and the vague one is seen first."""
    modes = {
        "old": failure("old", "shop/data", title="The data is old"),
        "gone": failure("gone", "shop/front", title="Something is wrong"),
    }
    return office(checks=["data", "front"], failures=modes)


def office_title(timeline: Timeline) -> tuple[str, str]:
    return found(timeline).title, timeline.world.get("alarms", "shop").title


def test_it_is_called_by_the_most_specific_failure_mode_of_the_register_and_so_is_its_alarm() -> None:
    timeline = feed()
    timeline.down("shop/front", times=3)
    assert found(timeline).title == "Something is wrong"
    timeline.down("shop/data", times=3)
    assert office_title(timeline) == ("The data is old", "The data is old")
    assert [each.text for each in found(timeline).entries[:2]] == ["Something is wrong", "The data is old"]
    timeline.check_replay()


def test_what_says_less_joins_without_a_new_name() -> None:
    timeline = feed()
    timeline.down("shop/data", times=3)
    timeline.down("shop/front", times=3)
    assert office_title(timeline) == ("The data is old", "The data is old")


def test_whoever_has_acknowledged_it_finds_it_by_the_same_name_again() -> None:
    timeline = feed()
    timeline.down("shop/front", times=3)
    timeline.want(i.AckIntent("INC-1"), who="maria")
    timeline.down("shop/data", times=3)
    assert found(timeline).title == "Something is wrong"
    assert found(timeline).failures == ("gone", "old")


def test_what_a_person_has_opened_keeps_the_name_that_the_person_gave_it() -> None:
    timeline = feed()
    timeline.want(i.OpenIncidentIntent("shop", "orders arrive twice"))
    timeline.down("shop/data", times=3)
    assert found(timeline).title == "orders arrive twice"


# --- what is written -------------------------------------------------------------------------------------------------


def test_a_line_can_be_corrected_and_what_it_was_is_kept() -> None:
    timeline = office()
    timeline.down("shop/a", times=3)
    timeline.want(i.NoteIntent("INC-1", "the disk is fill"), who="ken")
    line = len(found(timeline).entries) - 1
    noted = found(timeline).entries[line].at
    timeline.advance(60)
    assert timeline.want(i.EditEntryIntent("INC-1", line, text="the disk is full", happened=noted - 600.0)) == ""
    entry = found(timeline).entries[line]
    assert (entry.text, entry.at, entry.recorded) == ("the disk is full", noted - 600.0, noted)
    assert [(each.text, each.happened, each.who) for each in entry.edits] == [("the disk is fill", noted, "maria")]
    timeline.check_replay()


def test_what_opsdash_has_recorded_keeps_its_text() -> None:
    timeline = office()
    timeline.down("shop/a", times=3)
    assert rule(timeline.want(i.EditEntryIntent("INC-1", 0, text="nothing happened"))) == "not_a_note"
    assert rule(timeline.want(i.EditEntryIntent("INC-1", 99, text="?"))) == "unknown_entry"
    assert timeline.want(i.EditEntryIntent("INC-1", 0, pinned=True)) == ""
    assert found(timeline).entries[0].pinned


def test_nothing_happened_in_the_future() -> None:
    timeline = office()
    timeline.down("shop/a", times=3)
    later = timeline.clock().wall + 60
    assert rule(timeline.want(i.NoteIntent("INC-1", "soon", happened=later))) == "future"
    assert rule(timeline.want(i.TimeIntent("INC-1", "began", later))) == "future"


def test_when_it_began_can_be_stated_but_not_after_its_end() -> None:
    timeline = office()
    timeline.down("shop/a", times=3)
    timeline.ok("shop/a", times=2)
    incident = found(timeline)
    assert incident.recovered_at is not None
    assert rule(timeline.want(i.TimeIntent("INC-1", "birth"))) == "time"
    timeline.advance(60)
    assert rule(timeline.want(i.TimeIntent("INC-1", "began", incident.recovered_at + 1))) == "order"
    assert timeline.want(i.TimeIntent("INC-1", "began", incident.opened_at - 3600)) == ""
    assert found(timeline).began == incident.opened_at - 3600


def test_what_a_person_has_opened_is_mitigated_by_a_persons_word() -> None:
    timeline = office()
    timeline.want(i.OpenIncidentIntent("shop", "orders arrive twice"))
    timeline.advance(60)
    assert timeline.want(i.TimeIntent("INC-1", "mitigated")) == ""
    assert found(timeline).state is IncidentState.MITIGATED
    assert timeline.world.get("alarms", "shop") is None, "the alarm is over"


# --- severity --------------------------------------------------------------------------------------------------------


def test_every_tier_and_every_way_to_fail_has_a_severity() -> None:
    assert set(SEVERITIES) == {(tier, how) for tier in Tier for how in How}


def test_it_gets_worse_by_itself_and_never_better() -> None:
    timeline = Timeline(
        operation(
            component("shop", tier=Tier.ESSENTIAL, checks=["a", "b"], failures={"slow": failure("slow", "shop/b#slow")})
        )
    )
    timeline.all_ok()
    for _ in range(3):
        timeline.observe("shop/b", "degraded", "slow")
    assert found(timeline).severity == 2
    timeline.down("shop/a", times=3)
    assert found(timeline).severity == 1
    timeline.ok("shop/a", times=2)
    assert found(timeline).severity == 1


def test_what_a_person_has_set_stays() -> None:
    timeline = office()
    timeline.down("shop/a", times=3)
    assert rule(timeline.want(i.RateIntent("INC-1", 5))) == "severity"
    assert timeline.want(i.RateIntent("INC-1", 4, "nobody orders at night")) == ""
    timeline.down("shop/a", times=3)
    assert (found(timeline).severity, found(timeline).severity_by) == (4, "maria")
    assert found(timeline).entries[-1].kind is EntryKind.SEVERITY


def test_a_failure_mode_may_state_its_own() -> None:
    from dataclasses import replace

    mode = replace(failure("leak", "shop/a"), severity=1)
    timeline = office(failures={"leak": mode})
    timeline.down("shop/a", times=3)
    assert found(timeline).severity == 1


# --- began -----------------------------------------------------------------------------------------------------------


def test_it_began_with_the_first_result_that_was_not_good() -> None:
    timeline = office()
    first = timeline.clock().wall
    timeline.down("shop/a")
    timeline.advance(10)
    timeline.down("shop/a", times=2)
    began = found(timeline).began
    assert began is not None
    assert first <= began < found(timeline).opened_at
