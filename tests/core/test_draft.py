"""A decision in the making reads what it has decided so far, and touches nothing real."""

from __future__ import annotations

from opsdash.core.draft import Draft
from opsdash.model.effects import Poll
from opsdash.model.incident import IncidentKind
from opsdash.model.inputs import OpenRunIntent, PollIntent, TickIntent
from opsdash.model.now import Now
from opsdash.model.records import IncidentOpened, Paused, Resumed
from opsdash.model.switch import Refused
from opsdash.model.world import CheckLive, Live, World
from opsdash.testing import Timeline, component, email, operation

NOW = Now(1000.0, 10.0, 10.0)


def drafted() -> tuple[World, Live, Draft]:
    world, live = World(), Live()
    world.apply([("pauses", "there", object())])
    live.apply([("switches", "there", object()), ("checks", "a", CheckLive(runs=1))])
    return world, live, Draft(world, live, NOW)


def test_what_was_decided_is_read_and_the_world_is_as_it_was() -> None:
    world, _, draft = drafted()
    draft.emit(Paused(1.0, "shop", 2.0, "maria"))
    assert draft.get("pauses", "shop").who == "maria"
    assert draft.keys("pauses") == ["there", "shop"]
    assert world.keys("pauses") == ["there"]


def test_what_was_removed_is_gone_for_the_rest_of_the_decision() -> None:
    world, _, draft = drafted()
    draft.emit(Resumed(1.0, "there", "maria"))
    assert draft.get("pauses", "there") is None
    assert draft.keys("pauses") == []
    assert world.keys("pauses") == ["there"]


def test_changes_of_live_are_seen_at_once_and_come_out_as_a_patch() -> None:
    _, live, draft = drafted()
    draft.set_live("switches", "new", "progress")
    draft.set_live("switches", "there", None)
    assert draft.live_keys("switches") == ["new"]
    assert draft.live("switches", "there") is None
    assert draft.live_keys("checks") == ["a"], "other tables are not concerned"
    assert list(live.tables["switches"]) == ["there"]
    assert draft.decision().live_patch == [("switches", "new", "progress"), ("switches", "there", None)]


def test_records_of_one_decision_build_on_each_other() -> None:
    _, _, draft = drafted()
    for number in (1, 2):
        assert draft.life().incidents == number - 1
        draft.emit(IncidentOpened(1.0, f"INC-{number}", f"c{number}", IncidentKind.FAILURE, "x", "opsdash"))
    incident = draft.incident("c2")
    assert incident is not None
    assert incident.id == "INC-2"
    assert draft.keys("checks") == []


# --- what a client has to draw again ---


def test_a_component_that_looks_different_is_drawn_again_and_so_is_whoever_depends_on_it() -> None:
    timeline = Timeline(
        operation(
            component("dns", checks=["a"]), component("shop", checks=["a"], depends_on=("dns",)), component("crm")
        )
    )
    timeline.all_ok()
    timeline.touched.clear()
    timeline.down("dns/a", times=2)
    assert timeline.touched == {"dns"}
    timeline.down("dns/a")
    assert timeline.touched == {"dns", "shop"}


def test_what_people_do_is_drawn_at_once() -> None:
    timeline = Timeline(operation(component("shop", checks=["a"])))
    timeline.touched.clear()
    timeline.want(OpenRunIntent("book", "shop", "sha"))
    assert timeline.touched == {"shop"}
    timeline.touched.clear()
    timeline.want(TickIntent("RUN-1", "look", 0))
    assert timeline.touched == {"shop"}


# --- asking for a poll ---


def test_one_check_all_of_a_provider_or_all_of_a_component_are_polled_on_demand() -> None:
    timeline = Timeline(operation(email(), anchors=1))

    def polled(target: str) -> set[str]:
        timeline.effects.clear()
        assert timeline.want(PollIntent(target)) == ""
        return {poll.check for poll in timeline.take(Poll)}

    assert polled("email/delivery") == {"email/delivery"}
    assert polled("email/ses") == {"email/ses/api"}
    assert polled("email") == {"email/delivery", "email/newsletter", "email/postmark/api", "email/ses/api"}


def test_there_is_nothing_to_poll_where_there_is_no_check() -> None:
    timeline = Timeline(operation(email(), anchors=1))
    for target in ("fax", "anchors", "email/sendgrid"):
        refused = timeline.want(PollIntent(target))
        assert isinstance(refused, Refused)
        assert refused.rule == "unknown_check"
