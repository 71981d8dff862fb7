"""What is active or in force survives its removal from the files, until it is no longer so."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from opsdash.core.views import Viewer
from opsdash.model import inputs as i
from opsdash.model.incident import IncidentKind
from opsdash.model.records import IncidentOpened
from opsdash.model.switch import Plan, SwitchKind, SwitchState
from opsdash.testing import Timeline, email, mail_outside, operation

if TYPE_CHECKING:
    from opsdash.model.operation import Component, Operation


def without(workspace: Operation, **changes: object) -> Operation:
    component: Component = replace(workspace.components["email"], **changes)  # type: ignore[arg-type]
    return replace(workspace, components={"email": component}, sha256="edited")


def on_the_backup() -> tuple[Timeline, Operation]:
    workspace = operation(email())
    story = Timeline(workspace, outside=mail_outside())
    story.all_ok()
    story.read("email", "ses-eu")
    assert story.state("email").active == "ses"
    return story, workspace


def test_a_backup_that_serves_survives_its_removal_from_the_file_and_can_be_left() -> None:
    story, workspace = on_the_backup()
    primary = workspace.components["email"].providers[0]

    story.reload(without(workspace, providers=(primary,)))

    assert story.state("email").active == "ses"
    component = story.world.operation.components["email"]
    assert component.held == ("providers/ses",)
    plan = story.plan("email", SwitchKind.FAILBACK)
    assert isinstance(plan, Plan)
    assert (plan.source, plan.target) == ("ses", "postmark")


def test_it_is_gone_when_the_files_are_read_after_it_was_left() -> None:
    story, workspace = on_the_backup()
    primary = workspace.components["email"].providers[0]
    edited = without(workspace, providers=(primary,))
    story.reload(edited)

    story.read("email", "pm-prod")
    story.reload(edited)

    component = story.world.operation.components["email"]
    assert [provider.id for provider in component.providers] == ["postmark"]
    assert component.held == ()


def test_the_end_of_a_switch_in_flight_survives_its_removal_from_the_file() -> None:
    workspace = operation(email())
    story = Timeline(workspace, outside=mail_outside())
    story.all_ok()
    story.read("email", "pm-prod")
    story.confirm("email")
    primary = workspace.components["email"].providers[0]

    story.reload(without(workspace, providers=(primary,)))

    assert story.world.operation.components["email"].held == ("providers/ses",)
    story.advance(60)
    assert story.switch("email").state is SwitchState.COMMITTED
    assert story.state("email").active == "ses"
    assert isinstance(story.plan("email", SwitchKind.FAILBACK), Plan)


def test_the_mode_that_a_switch_leads_to_survives_its_removal_from_the_file() -> None:
    workspace = operation(email())
    story = Timeline(workspace, outside=mail_outside())
    story.all_ok()
    story.read("email", "pm-prod")
    story.confirm("email", "degrade")

    story.reload(without(workspace, modes={}))

    assert story.world.operation.components["email"].held == ("modes/order-mail-only",)
    story.advance(60)
    assert story.state("email").mode == "order-mail-only"


def test_it_survives_a_restart_too() -> None:
    story, workspace = on_the_backup()
    primary = workspace.components["email"].providers[0]
    edited = without(workspace, providers=(primary,))
    story.reload(edited)

    again = Timeline(edited, replay=story.records)
    again.reload(edited)

    assert again.world.operation.components["email"].held == ("providers/ses",)


def test_the_component_page_says_that_the_part_was_removed() -> None:
    story, workspace = on_the_backup()
    story.reload(without(workspace, providers=workspace.components["email"].providers[:1]))

    page = Viewer(story.world, story.live, story.clock()).component("email")

    assert page is not None
    assert page["off"] == {"providers/ses": "removed from the file, kept while it is in use"}


def test_a_change_that_opsdash_did_not_make_is_not_forgotten() -> None:
    story, _ = on_the_backup()
    incident = story.incident("email")
    assert incident is None or incident.is_open
    story.read("email", "pm-prod")
    found = story.incident("email")
    assert found is not None
    assert "opsdash did not do that" in "".join(entry.text for entry in found.entries)


def test_a_failure_mode_of_an_open_incident_survives_its_removal_until_the_incident_is_resolved() -> None:
    story, workspace = on_the_backup()
    story.down("email/ses/api", times=3)
    found = story.incident("email")
    assert found is not None
    joined = found.failures
    assert joined
    edited = without(workspace, failures={})

    story.reload(edited)

    component = story.world.operation.components["email"]
    assert {*joined} <= component.failures.keys()
    assert {f"failures/{name}" for name in joined} <= {*component.held}
    assert {name for name, _ in story.state("email").failures} <= component.failures.keys()

    again = Timeline(edited, replay=story.records)
    assert {*joined} <= again.world.operation.components["email"].failures.keys()

    story.ok("email/ses/api", times=3)
    assert story.want(i.ResolveIntent(found.id, "over")) == ""
    story.reload(edited)
    assert story.world.operation.components["email"].failures == {}


def test_a_component_that_was_removed_says_that_nobody_checks_it_and_raises_no_alarm_about_it() -> None:
    story, workspace = on_the_backup()

    story.reload(replace(workspace, components={}, checks={}, sha256="edited"))

    page = Viewer(story.world, story.live, story.clock()).component("email")
    assert page is not None
    assert (page["row"]["status"], page["row"]["reason"], page["row"]["removed"]) == ("unknown", "config", True)
    assert "no longer run" in page["row"]["cause"]
    story.advance(3600)
    kinds = [record.kind for record in story.of(IncidentOpened)]
    assert IncidentKind.BLIND not in kinds, "whoever removed it knows that it is not watched"

    story.reload(workspace)
    story.all_ok()
    assert story.status("email") == "ok"
