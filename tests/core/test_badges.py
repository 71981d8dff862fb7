"""Whether one key would work, all year: the badge of each backup."""

from __future__ import annotations

from typing import Any

from opsdash.core.badges import best_badge
from opsdash.core.draft import Draft
from opsdash.core.evolve import evolve
from opsdash.model.inputs import PreflightDone
from opsdash.model.operation import Limit
from opsdash.model.records import Proved
from opsdash.testing import Timeline, component, email, mail_outside, mail_switch, operation

STANDBY = "email/ses/api"


def mail(*, proved: bool = True, tried: bool = True, **switch: Any) -> Timeline:
    """Email on its primary, all well."""
    timeline = Timeline(operation(email(switch=mail_switch(**switch))), outside=mail_outside())
    timeline.advance(1)
    timeline.all_ok()
    if tried:
        timeline.feed(PreflightDone("email/ses", True, "fine"))
    if proved:
        proof = Proved(timeline.clock.wall, "email", "ses", "drill-1", "sha of email")
        timeline.world.apply(evolve(timeline.world, proof))
    return timeline


def badge(timeline: Timeline) -> tuple[str, str]:
    found = best_badge(timeline.draft(), timeline.world.operation.components["email"])
    return found.state, found.why


def test_a_backup_of_which_everything_holds_is_ready_although_the_primary_is_fine() -> None:
    assert badge(mail()) == ("ready", "")


def test_a_backup_that_was_never_proved_is_stale() -> None:
    state, why = badge(mail(proved=False))
    assert state == "stale"
    assert "never proved" in why


def test_a_backup_whose_credentials_are_refused_is_not_ready_long_before_anybody_needs_it() -> None:
    timeline = mail()
    timeline.feed(PreflightDone("email/ses", False, "401 Unauthorized", credentials=False))
    state, why = badge(timeline)
    assert state == "not ready"
    assert "401 Unauthorized" in why


class Counting(Draft):
    """Counts how often something of `live` is looked at."""

    looks = 0

    def live(self, table: str, key: str) -> Any:
        self.looks += 1
        return super().live(table, key)


def test_however_many_components_there_are_a_badge_looks_at_its_own() -> None:
    """Each row of the wall has one, so a badge that looked at all others would cost their square."""

    def looks(others: int) -> int:
        more = [component(f"other-{number}", checks=["front"]) for number in range(others)]
        timeline = Timeline(operation(email(switch=mail_switch()), *more), outside=mail_outside())
        draft = Counting(timeline.world, timeline.live, timeline.clock())
        best_badge(draft, timeline.world.operation.components["email"])
        return draft.looks

    assert looks(50) == looks(5) > 0


def test_a_backup_that_does_not_work_is_not_ready() -> None:
    timeline = mail()
    timeline.down(STANDBY, times=3)
    assert badge(timeline)[0] == "not ready"


def test_a_backup_whose_data_falls_behind_is_not_ready() -> None:
    timeline = mail(lag=Limit("email/{to}/api", "facts.behind", 30.0))
    timeline.observe(STANDBY, facts={"behind": 31})
    assert badge(timeline)[0] == "not ready"
    timeline.observe(STANDBY, facts={"behind": 3})
    assert badge(timeline)[0] == "ready"


def test_what_was_never_tried_is_not_known() -> None:
    assert badge(mail(tried=False))[0] == "unknown"


def test_on_the_backup_the_primary_has_the_badge() -> None:
    timeline = mail()
    timeline.confirm("email")
    timeline.advance(10)
    timeline.feed(PreflightDone("email/postmark", True, "fine"))
    assert badge(timeline)[0] == "stale", "nobody has ever shown that the way back works"


def test_without_a_switch_there_is_no_badge() -> None:
    timeline = Timeline(operation(component("email", checks=("delivery",))))
    assert badge(timeline)[0] == "none"
