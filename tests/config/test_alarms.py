"""Channels and routes of opsdash.yaml: strict, and nothing that is wrong makes an alarm go nowhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from opsdash.model.channel import Alarming, Audience, Escalation, Route
from tests.post_notifier import installed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.config.conftest import Workspace

WEB = "checks: {api: {kind: tcp, host: mail.example, port: 80}}\n"
CHANNELS = """\
people:
  maria: {alarms: [pager]}
  ken: {}
alarms:
  channels:
    pager: {kind: post, url: "https://push.example/x", secret: "${TOKEN:-none-at-all}"}
    page: {kind: post, url: "https://status.example/x", audience: customers}
"""


@pytest.fixture(autouse=True)
def kind(tmp_path: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    del tmp_path
    with installed(tmp_path_factory.mktemp("kind")):
        yield


def office(workspace: Workspace, settings: str) -> list[str]:
    workspace.write("opsdash.yaml", settings)
    workspace.component(WEB, "crm")
    workspace.component(f"tags: [web]\ntier: essential\n{WEB.replace('mail', 'shop')}", "shop")
    return workspace.problems()


def found(workspace: Workspace) -> Alarming:
    assert workspace.loaded is not None
    return workspace.loaded.operation.alarms


def test_two_lines_are_enough_and_everything_goes_to_every_channel(workspace: Workspace) -> None:
    assert office(workspace, 'alarms:\n  channels: {pager: {kind: post, url: "https://push.example/x"}}\n') == []
    alarms = found(workspace)
    assert list(alarms.channels) == ["pager"]
    assert (alarms.routes, alarms.group_wait) == ((), 5.0)


def test_channels_and_routes_say_all_that_they_can(workspace: Workspace) -> None:
    text = f"""\
{CHANNELS}    slow: {{kind: post, url: "https://slow.example/x", timeout: 40s, depends_on: [crm]}}
  group_wait: 20s
  runbooks_at: "https://git.example/ops/src/main/runbooks/"
  routes:
    - {{tiers: [essential], tags: [web], severity: 2, to: [owner, pager], remind: 30m,
       escalate: {{after: 10m, to: second}}}}
    - to: maria
      escalate:
        - {{after: 1h, to: [owners]}}
        - {{after: 10m, to: [slow]}}
    - {{components: [crm], to: []}}
"""
    assert office(workspace, text) == []
    alarms = found(workspace)
    assert (alarms.group_wait, alarms.runbooks_at) == (20.0, "https://git.example/ops/src/main/runbooks")
    slow, page = alarms.channels["slow"], alarms.channels["page"]
    assert (slow.timeout, slow.depends_on, slow.audience) == (40.0, ("crm",), Audience.TEAM)
    assert page.audience is Audience.CUSTOMERS
    assert alarms.channels["pager"].raw["secret"] == "${TOKEN:-none-at-all}", "a secret stays a reference"
    first, second, third = alarms.routes
    assert first == Route(
        ("essential",), (), ("web",), 2, ("owner", "pager"), (Escalation(600.0, ("second",)),), 1800.0
    )
    assert [step.after for step in second.escalate] == [600.0, 3600.0], "in the order of time"
    assert third.to == ()
    assert workspace.loaded is not None
    assert workspace.loaded.operation.people["maria"].alarms == ("pager",)


WRONG = [
    ("  routes: [{to: [pagr]}]", "alarms.routes[0].to[0]: 'pagr' is no channel and no person; did you mean \"pager\"?"),
    ("  routes: [{to: [page]}]", "alarms.routes[0].to[0]: the channel 'page' is for customers; a route needs one"),
    ("  routes: [{to: [ken]}]", "warning: alarms.routes[0].to[0]: ken has no channel; write people: {ken: {alarms:"),
    ("  routes: [{to: [pager], tier: [x]}]", 'alarms.routes[0].tier: unknown key; did you mean "tiers"?'),
    ("  routes: [{to: [pager], tiers: [essentail]}]", 'did you mean "essential"?'),
    ("  routes: [{to: [pager], components: [crn]}]", "alarms.routes[0].components[0]: there is no component 'crn'"),
    ("  routes: [{to: [pager], tags: [wob]}]", "warning: alarms.routes[0].tags[0]: no component has the tag 'wob'"),
    ("  routes: [{components: [crm]}]", "alarms.routes[0].to: the key is missing"),
    ("  routes: [{to: [pager], remind: 5s}]", "alarms.routes[0].remind: must be greater than or equal to 60"),
    ("  routes: [{to: [pager], severity: 7}]", "alarms.routes[0].severity: must be less than or equal to 4"),
    ("  routes: [{to: [pager], escalate: {after: 5m, to: [lena]}}]", "alarms.routes[0].escalate.to[0]: 'lena' is no"),
    ("  routes: [{to: maria, escalate: [{after: 5m, to: pager}, {after: 9m, to: x}]}]", "escalate[1].to[0]: 'x' is no"),
    ("  group_wait: 1h", "alarms.group_wait: must be less than or equal to 300"),
    ("  runbooks_at: git.example/ops", "alarms.runbooks_at: must be the address of a folder"),
    ("  chanels: {}", 'alarms.chanels: unknown key; did you mean "channels"?'),
]  # fmt: skip


@pytest.mark.parametrize(("line", "said"), WRONG)
def test_what_is_wrong_is_said_with_the_nearest_name(workspace: Workspace, line: str, said: str) -> None:
    problems = office(workspace, f"{CHANNELS}{line}\n")
    assert len(problems) == 1, problems
    assert said in problems[0]


@pytest.mark.parametrize(
    ("channel", "said"),
    [
        ("{kind: pots, url: x}", "there is no notifier kind 'pots'; did you mean \"post\"?"),
        ("{kind: post}", "alarms.channels.bad.url: the key is missing"),
        ("{kind: post, url: 'https://x.example', tok: y}", "alarms.channels.bad.tok: unknown key"),
        ("{kind: post, url: ftp}", "alarms.channels.bad: it posts to http only; write http://…"),
        ("{kind: post, url: '${NOWHERE}'}", "NOWHERE"),
        ("{kind: post, url: 'https://x.example', timeout: 0s}", "must be longer than 0"),
        ("{kind: post, url: 'https://x.example', audience: all}", "'all' is not possible"),
    ],
)
def test_a_channel_that_is_wrong_loses_only_itself(workspace: Workspace, channel: str, said: str) -> None:
    text = f"{CHANNELS}    bad: {channel}\n  routes: [{{to: [pager, bad]}}]\n"
    problems = office(workspace, text)
    assert len(problems) == 1, problems
    assert said in problems[0]
    assert sorted(found(workspace).channels) == ["page", "pager"]
    assert len(found(workspace).routes) == 1


@pytest.mark.parametrize("name", ["owner", "maria"])
def test_a_channel_has_a_name_of_its_own(workspace: Workspace, name: str) -> None:
    (problem, *_) = office(workspace, f"{CHANNELS}    {name}: {{kind: post, url: 'https://x.example'}}\n")
    assert "rename the channel" in problem


def test_a_person_is_reached_only_by_channels_that_there_are(workspace: Workspace) -> None:
    (problem,) = office(
        workspace, CHANNELS.replace("alarms: [pager]", "alarms: [pagerr, page]").replace("page]", "pager]")
    )
    assert "people.maria.alarms[0]: there is no channel 'pagerr'; did you mean \"pager\"?" in problem
    assert workspace.loaded is not None
    assert workspace.loaded.operation.people["maria"].alarms == ("pager",)


def test_a_route_that_names_nobody_does_not_swallow_alarms(workspace: Workspace) -> None:
    office(workspace, f"{CHANNELS}  routes: [{{to: [nobody-here]}}]\n")
    assert found(workspace).routes == ()
    office(workspace, f"{CHANNELS}  routes: [{{components: [nothing], to: [pager]}}]\n")
    assert found(workspace).routes == (), "one of no component is not one of all"


def test_what_no_longer_loads_goes_on_as_it_was_last_good(workspace: Workspace) -> None:
    good = f"{CHANNELS}  routes: [{{to: [maria]}}]\n"
    assert office(workspace, good) == []
    before = found(workspace)
    for old, new in (('kind: post, url: "https://push', 'kind: psot, url: "https://push'), ("[maria]", "[mraia]")):
        workspace.write("opsdash.yaml", good.replace(old, new))
        (problem,) = workspace.reload().problems
        assert found(workspace) == before
        assert "the last good version stays in use" in problem.hint or "did you mean" in problem.hint
    workspace.write(
        "opsdash.yaml",
        good.replace("alarms:\n", "alarsm:\n", 1).replace("  maria: {alarms: [pager]}", "  maria: {alarms: [pager]}"),
    )
    workspace.reload()
    assert found(workspace).channels == before.channels


def test_a_channel_that_goes_through_what_it_reports_on_is_warned_of(workspace: Workspace) -> None:
    by_host = "alarms:\n  channels: {mail: {kind: post, url: 'https://mail.example/x'}}\n"
    (problem,) = office(workspace, by_host)
    assert "warning: alarms.channels.mail: it reports on crm, and goes through mail.example" in problem
    declared = "alarms:\n  channels: {mail: {kind: post, url: 'https://x.example/x', depends_on: [shop]}}\n"
    (problem,) = office(workspace, declared)
    assert "it reports on shop, and depends on it; add a channel to its route that works without shop" in problem
    both = declared.replace("{mail:", "{other: {kind: post, url: 'https://y.example'}, mail:")
    assert office(workspace, both) == [], "another channel reports on it"
    routed = f"{both}  routes: [{{components: [shop], to: [mail]}}, {{to: [other]}}]\n"
    (problem,) = office(workspace, routed)
    assert "it reports on shop" in problem


def test_quiet_hours_are_windows_for_tiers(workspace: Workspace) -> None:
    text = 'windows:\n  night: {kind: quiet, cron: "0 22 * * *", for: 8h, tiers: [important, droppable]}\n'
    assert office(workspace, text) == []
    assert workspace.loaded is not None
    night = workspace.loaded.operation.windows["night"]
    shop, crm = (workspace.loaded.operation.components[name] for name in ("shop", "crm"))
    assert (night.covers(shop), night.covers(crm)) == (False, True)
    (problem,) = office(workspace, text.replace("droppable", "dropable"))
    assert 'did you mean "droppable"?' in problem


def test_other_words_for_customers_leave_every_proof_in_force(workspace: Workspace) -> None:
    hashes = set()
    for words in ("Soon.", "Very soon."):
        failures = f"failures: {{gone: {{detected_by: [api], runbook: email-down, status_text: {words}}}}}\n"
        workspace.component(f"{WEB}{failures}", "crm")
        workspace.load()
        assert workspace.loaded is not None
        hashes.add(workspace.loaded.operation.components["crm"].sha256)
    assert len(hashes) == 1


def test_a_failure_mode_may_have_a_text_for_customers_ready(workspace: Workspace) -> None:
    workspace.component(
        f"{WEB}failures: {{gone: {{detected_by: [api], runbook: email-down, status_text: Soon.}}}}\n", "crm"
    )
    workspace.load()
    assert workspace.loaded is not None
    assert workspace.loaded.operation.components["crm"].failures["gone"].status_text == "Soon."
