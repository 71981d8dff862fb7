"""What people must be told of besides failures: each topic raised once, and over when it is over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opsdash.core.evolve import evolve
from opsdash.core.topics import RULES
from opsdash.model import inputs as i
from opsdash.model.operation import Auto, OldOut
from opsdash.model.records import AlarmCleared, AlarmHeld, AlarmRaised, Proved
from opsdash.model.status import Status
from opsdash.model.switch import SwitchState
from opsdash.testing import Timeline, component, email, mail_outside, mail_switch, operation

if TYPE_CHECKING:
    from opsdash.model.alarm import Alarm

DAY = 86400.0


def told(timeline: Timeline, topic: str) -> list[str]:
    """What was decided about a topic, in short."""
    kinds = (AlarmHeld, AlarmRaised, AlarmCleared)
    found = (each for each in timeline.records if isinstance(each, kinds) and each.topic == topic)
    return [type(each).__name__.removeprefix("Alarm").lower() for each in found]


def alarm(timeline: Timeline, topic: str) -> Alarm:
    found: Alarm | None = timeline.world.get("alarms", f"email#{topic}")
    assert found is not None
    return found


def on_backup(**settings: Any) -> Timeline:
    timeline = Timeline(operation(email(switch=mail_switch(**settings)), anchors=1), outside=mail_outside())
    timeline.advance(1)
    timeline.all_ok()
    timeline.confirm("email")
    timeline.advance(10)
    assert timeline.switch("email").state is SwitchState.COMMITTED
    return timeline


def test_a_review_time_that_has_passed_is_alarmed_until_it_is_no_longer_so() -> None:
    timeline = on_backup()
    timeline.advance(3 * DAY + 1)
    assert told(timeline, "review-backup") == ["raised"]
    assert alarm(timeline, "review-backup").title.endswith("it is still on its backup after 3d")
    timeline.advance(DAY)
    timeline.confirm("email", "failback", overrides=["blockade"], reason="done")
    timeline.advance(10)
    assert told(timeline, "review-backup") == ["raised", "cleared"]


def test_a_degraded_mode_that_is_forgotten_is_alarmed() -> None:
    timeline = Timeline(operation(email()), outside=mail_outside())
    timeline.advance(1)
    timeline.all_ok()
    timeline.confirm("email", "degrade", "order-mail-only")
    timeline.advance(DAY + 60)
    assert told(timeline, "review-mode") == ["raised"]
    assert "degraded mode order-mail-only is still in force" in alarm(timeline, "review-mode").title
    timeline.confirm("email", "restore")
    timeline.advance(10)
    assert told(timeline, "review-mode") == ["raised", "cleared"]


def test_what_somebody_else_reverts_is_alarmed_until_a_person_has_looked_into_it() -> None:
    timeline = on_backup()
    timeline.read("email", "pm-prod", by="terraform")
    assert told(timeline, "reverted") == ["raised"]
    assert "it bears the mark 'terraform'" in alarm(timeline, "reverted").title
    timeline.advance(3600)
    assert told(timeline, "reverted") == ["raised"]
    incident = timeline.incident("email")
    assert incident is not None
    timeline.want(i.ResolveIntent(incident.id, "it was the nightly apply"))
    assert told(timeline, "reverted") == ["raised", "cleared"]


def test_a_switch_that_follows_takes_the_alarm_of_a_reverted_one_away() -> None:
    timeline = on_backup()
    timeline.read("email", "pm-prod")
    timeline.confirm("email", overrides=["blockade"], reason="again")
    assert told(timeline, "reverted") == ["raised", "cleared"]


def watched() -> Timeline:
    """Email whose mechanism sees who serves."""
    spec = mail_switch(old_out=OldOut(stateless=False, mechanism=True))
    timeline = Timeline(operation(email(switch=spec)))
    timeline.read("email", "pm-prod", serving=("pm-prod",))
    timeline.all_ok()
    return timeline


def test_two_sides_that_serve_at_once_on_two_reads_are_alarmed_and_it_is_essential() -> None:
    timeline = watched()
    timeline.read("email", "pm-prod", serving=("pm-prod", "ses-eu"))
    assert told(timeline, "split") == [], "in the middle of somebody's switch one read may see it"
    timeline.read("email", "pm-prod", serving=("ses-eu", "pm-prod"))
    assert told(timeline, "split") == ["raised"]
    assert alarm(timeline, "split").title == "Transactional email: pm-prod and ses-eu serve at once"
    timeline.read("email", None)
    timeline.read("email", "pm-prod", serving=("ses-eu", "pm-prod"))
    assert told(timeline, "split") == ["raised"]
    timeline.read("email", "pm-prod", serving=("pm-prod", "somebody"))
    assert told(timeline, "split") == ["raised", "cleared"], "who is no provider is nobody's other side"


def test_where_both_may_be_up_nobody_is_told_that_they_are() -> None:
    timeline = Timeline(operation(email()))
    for _ in range(3):
        timeline.read("email", "pm-prod", serving=("pm-prod", "ses-eu"))
    assert told(timeline, "split") == []


def test_a_restart_does_not_end_what_nobody_has_seen_the_end_of() -> None:
    timeline = watched()
    for _ in range(2):
        timeline.read("email", "pm-prod", serving=("pm-prod", "ses-eu"))
    later = timeline.crash()
    assert told(later, "split") == ["raised"]
    later.read("email", "pm-prod", serving=("pm-prod",))
    assert told(later, "split") == ["raised", "cleared"]


def test_when_opsdash_no_longer_switches_by_itself_somebody_is_told_until_a_person_lets_it() -> None:
    spec = mail_switch(auto=Auto.ALWAYS)
    timeline = Timeline(operation(email(switch=spec), anchors=3), outside=mail_outside())
    timeline.advance(1)
    timeline.all_ok()
    timeline.feed(i.PreflightDone("email/ses", True, "fine"))
    sha256 = timeline.world.operation.components["email"].sha256
    record = Proved(timeline.clock.wall, "email", "ses", "drill-1", sha256)
    timeline.records.append(record)
    timeline.world.apply(evolve(timeline.world, record))
    assert timeline.outside is not None
    timeline.outside.status |= {"email/delivery": Status.UNKNOWN, "email/postmark/api": Status.DOWN}
    timeline.outside.facts.clear()
    timeline.down("email/postmark/api", times=3)
    for _ in range(30):
        timeline.advance(5)
        timeline.ok("anchors/1", "anchors/2", "anchors/3", "email/ses/api")
    assert told(timeline, "auto") == ["raised"]
    assert alarm(timeline, "auto").title.startswith("opsdash no longer switches by itself: email-failover-1 ended")
    timeline.want(i.ResumeAutoIntent("the check was wrong"))
    assert told(timeline, "auto") == ["raised", "cleared"]


def test_while_opsdash_is_offline_a_topic_waits() -> None:
    timeline = on_backup()
    timeline.observe("anchors/1", Status.DOWN, "timeout")
    timeline.read("email", "pm-prod")
    assert told(timeline, "reverted") == ["held"]
    timeline.ok("anchors/1")
    assert told(timeline, "reverted") == ["held", "raised"]


def test_a_pause_holds_a_topic_and_its_end_lets_it_go() -> None:
    timeline = on_backup()
    timeline.want(i.PauseIntent("email", 3600.0))
    timeline.read("email", "pm-prod")
    assert told(timeline, "reverted") == ["held"]
    timeline.want(i.ResumeIntent("email"))
    assert told(timeline, "reverted") == ["held", "raised"]


def test_a_component_about_which_there_is_nothing_to_tell_has_no_topic() -> None:
    timeline = Timeline(operation(component("crm", checks=["api"])))
    timeline.all_ok()
    assert [told(timeline, topic) for topic in RULES] == [[] for _ in RULES]
