"""Files are read again when they change: by difference, and what no longer loads goes on as it was."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from opsdash.config.loader import KEPT
from opsdash.model.operation import ResponseKind
from tests.config.conftest import options
from tests.config.test_problems import SOUND

if TYPE_CHECKING:
    from tests.config.conftest import Workspace

CRM = "checks: {port: {kind: tcp, host: crm.example, port: 443}}\n"


def test_a_workspace_that_did_not_change_gives_the_same_values(workspace: Workspace) -> None:
    workspace.component(SOUND)
    first = workspace.load()
    assert not first.changed()
    second = workspace.reload()
    assert second.operation == first.operation
    assert all(second.bindings[check] is first.bindings[check] for check in first.bindings)
    assert second.cache.components["email"] is first.cache.components["email"], "not parsed again"


def test_a_change_concerns_what_was_changed(workspace: Workspace) -> None:
    workspace.component(SOUND)
    workspace.component(CRM, "crm")
    first = workspace.load()
    workspace.component(SOUND.replace("port: 25", "port: 26"))
    assert first.changed()
    second = workspace.reload()
    changed = {check for check in first.bindings if second.bindings[check] is not first.bindings[check]}
    assert changed == {"email/newsletters"}
    assert second.cache.components["crm"] is first.cache.components["crm"]
    assert second.operation.sha256 != first.operation.sha256


def test_a_new_file_and_a_file_that_is_gone_are_a_change(workspace: Workspace) -> None:
    workspace.component(SOUND)
    first = workspace.load()
    path = workspace.component(CRM, "crm")
    assert first.changed()
    second = workspace.reload()
    assert second.operation.components.keys() == {"crm", "email"}
    path.unlink()
    assert second.changed()
    assert workspace.reload().operation.components.keys() == {"email"}


BROKEN = [
    ("port: 25", "port: smtp", "checks.newsletters.port", "checks/newsletters"),
    ("https://{host}/status", "https://{hots}/status", "each.api.url", "checks/postmark/api"),
    ("as: ses-eu", "as: [x]", "providers.ses.as", "providers/ses"),
    ("value: facts.provider", "value: facts.nobody", "switch.served_by.value", "switch"),
    ("drops: [news]", "drops: [newz]", "modes.orders-only.drops[0]", "modes/orders-only"),
    ("checks: [newsletters]", "checks: [newsletter]", "features.news.checks[0]", "features/news"),
    ("response: switch", "response: swich", "failures.unreachable.response", "failures/unreachable"),
    ("tier: essential\nowners", "tier: high\nowners", "tier", "tier"),
    ("{all: [postmark/api, ses/api]}", "{all: [postmark/apx, ses/api]}", "failures.nobody", "failures/nobody"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "path", "part"), BROKEN, ids=[case[3] for case in BROKEN])
def test_a_part_that_no_longer_loads_goes_on_in_its_last_good_version_and_the_problem_says_so(
    workspace: Workspace, old: str, new: str, path: str, part: str
) -> None:
    workspace.component(SOUND)
    good = workspace.load().operation.components["email"]
    workspace.component(SOUND.replace(old, new))
    for _ in range(2):  # and again, when something else has changed
        workspace.component(CRM, "crm")
        loaded = workspace.reload()
        email = loaded.operation.components["email"]
        assert part not in email.off
        assert (email.providers, email.switch, email.modes, email.failures) == (
            good.providers, good.switch, good.modes, good.failures,
        )  # fmt: skip
        assert (email.features, email.tier, email.checks) == (good.features, good.tier, good.checks)
        [problem] = {str(each) for each in loaded.problems if each.part == part}
        assert f": {path}" in problem
        assert problem.endswith(KEPT)
    workspace.component(SOUND)
    assert workspace.reload().problems == ()


def test_a_file_that_is_no_yaml_any_more_keeps_its_component_whole(workspace: Workspace) -> None:
    workspace.component(SOUND)
    first = workspace.load()
    workspace.component("title: [\n")
    second = workspace.reload()
    assert second.operation.components["email"] == first.operation.components["email"]
    assert second.bindings.keys() == first.bindings.keys()
    assert [str(problem).endswith(KEPT) for problem in second.problems] == [True]
    third = workspace.reload()
    assert third.problems == second.problems, "it is said as long as it is so"


def test_an_opsdash_yaml_that_is_broken_keeps_people_and_defaults(workspace: Workspace) -> None:
    workspace.write("opsdash.yaml", "people: {maria: {}, ken: {}}\ndefaults: {every: 7s}\n")
    workspace.component(SOUND)
    workspace.load()
    workspace.write("opsdash.yaml", "people: {maria: {\n")
    loaded = workspace.reload()
    assert loaded.operation.people.keys() == {"maria", "ken"}
    assert loaded.operation.checks["email/delivery"].every == 7
    assert [str(problem)[:13] for problem in loaded.problems] == ["opsdash.yaml:"]


def test_what_the_last_good_version_needs_may_be_gone_meanwhile(workspace: Workspace) -> None:
    workspace.component(SOUND)
    workspace.load()
    gone = SOUND.replace("verify: [delivery]", "verify: [delivry]").replace("  delivery: {kind", "  renamed: {kind")
    workspace.component(gone.replace("checks: [delivery]", "checks: [renamed]"))
    loaded = workspace.reload()
    email = loaded.operation.components["email"]
    assert email.switch is None, "it would verify by a check that is gone"
    assert "switch" in email.off
    assert email.failures["unreachable"].response.kind is ResponseKind.RUNBOOK


def test_removing_a_part_on_purpose_removes_it(workspace: Workspace) -> None:
    workspace.component(SOUND)
    workspace.load()
    workspace.component(SOUND[: SOUND.index("failures:")])
    email = workspace.reload().operation.components["email"]
    assert email.failures == {}
    assert email.off == {}


def test_a_variable_that_is_unset_at_a_reload_leaves_the_check_as_it_was(workspace: Workspace) -> None:
    workspace.component('checks: {a: {kind: tcp, host: "${HOST}", port: 1}}\n')
    workspace.load({"HOST": "one.example"})
    loaded = workspace.reload()
    assert options(loaded, "email/a").host == "one.example"
    assert loaded.problems[0].hint.endswith(KEPT)


def test_a_change_of_the_permissions_alone_is_a_change(workspace: Workspace) -> None:
    path = workspace.component(CRM, "crm")
    first = workspace.load()
    before = path.stat()
    path.chmod(0o666)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert first.changed()
    assert "everybody may write" in str(workspace.reload().problems[0])
    assert workspace.reload().operation.components["crm"].checks == ("crm/port",), "trusted when it was loaded"
