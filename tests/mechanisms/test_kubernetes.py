"""Action kind `kubernetes`: the real kubectl, against a small API server that can misbehave."""

from __future__ import annotations

import json
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from opsdash.kinds.actions.kubernetes import Options, ReadOptions, apply, manual, preflight, read, undo
from opsdash.kinds.base import ActionContext, ActionResult, Applied, Preflight, Reading
from opsdash.kinds.processes import run_program
from opsdash.kinds.resolver import Resolver
from opsdash.model.switch import SwitchKind
from tests.engine.support import http, loaded_from, serving
from tests.mechanisms.duty import on_duty, truths
from tests.mechanisms.howtos import workspace_of
from tests.mechanisms.kubernetes_server import MisbehaveError, as_it_should, kubernetes
from tests.mechanisms.support import binary
from tests.nonblocking import nothing_of_ours_blocks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.engine.support import Request
    from tests.mechanisms.duty import Duty
    from tests.mechanisms.kubernetes_server import Cluster

SERVICE = {"service": "mail", "key": "example.org/side"}
GREEN = {**SERVICE, "value": "green"}
DEPLOYMENTS = ("mail-blue", "mail-green")
TO_GREEN: dict[str, Any] = {"deployment": "mail-green", "replicas": 2, "out": list(DEPLOYMENTS)}
BUSY = b"HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
EMPTY_LIST = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]"


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """Blue serves: by the service's selector, and as the deployment that has pods."""
    binary("kubectl", "kubernetes-client")
    monkeypatch.setenv("HOME", str(tmp_path))  # where kubectl keeps what it has learned of a server
    with kubernetes(tmp_path) as found, nothing_of_ours_blocks():
        found.service("mail", {"app": "mail", "example.org/side": "blue"})
        for side in ("blue", "green"):
            found.pod(f"mail-{side}-1", {"app": "mail", "example.org/side": side})
        found.deployment("mail-blue", 2)
        found.deployment("mail-green", 0)
        yield found


def a_context(cluster: Cluster, **keys: Any) -> ActionContext:
    return ActionContext("mail:failover:3", keys.pop("deadline", 20.0), cluster.folder, Resolver(), 0.0, **keys)


async def act(cluster: Cluster, raw: dict[str, Any], **keys: Any) -> ActionResult:
    return await apply(Options.model_validate({"kubeconfig": "kubeconfig", **raw}), a_context(cluster, **keys))


async def look(cluster: Cluster, raw: dict[str, Any] = SERVICE, **keys: Any) -> Reading:
    return await read(ReadOptions.model_validate({"kubeconfig": "kubeconfig", **raw}), a_context(cluster, **keys))


async def running(cluster: Cluster) -> Reading:
    return await look(cluster, {"deployments": DEPLOYMENTS})


async def check(cluster: Cluster, raw: dict[str, Any]) -> Preflight:
    return await preflight(Options.model_validate({"kubeconfig": "kubeconfig", **raw}), a_context(cluster))


# --- a service ---------------------------------------------------------------------------------------------------


async def test_a_service_is_pointed_at_other_pods_by_one_patch_and_back(cluster: Cluster) -> None:
    before = await look(cluster)
    assert (before.value, before.by) == ("blue", None)
    result = await act(cluster, GREEN, expected="blue")
    assert (result.applied, result.prior) == (Applied.APPLIED, "blue")
    assert result.detail == "service mail has example.org/side=green"
    found = cluster.of("services", "mail")
    assert found["spec"]["selector"] == {"app": "mail", "example.org/side": "green"}
    assert found["metadata"]["annotations"] == {"opsdash/action": "mail:failover:3", "opsdash/value": "green"}
    reading = await look(cluster)
    assert (reading.value, reading.by) == ("green", "mail:failover:3")
    assert reading.version == found["metadata"]["resourceVersion"] != before.version
    back = dict(undo({"kubeconfig": "kubeconfig", **GREEN}, result.prior or ""))
    assert (await act(cluster, back, expected="green")).applied is Applied.APPLIED
    assert (await look(cluster)).value == "blue"
    assert len(cluster.patches()) == 2


async def test_applying_twice_has_the_effect_of_once(cluster: Cluster) -> None:
    for prior in ("blue", "blue"):
        result = await act(cluster, GREEN, expected="blue")
        assert (result.applied, result.prior) == (Applied.APPLIED, prior)
    assert len(cluster.patches()) == 1


async def test_what_was_not_expected_is_left_as_it_is(cluster: Cluster) -> None:
    cluster.edit("services", "mail", lambda found: found["spec"]["selector"].update({"example.org/side": "red"}))
    sent: list[str] = []
    result = await act(cluster, GREEN, expected="blue", on_sent=lambda: sent.append("sent"))
    assert result.applied is Applied.REFUSED
    assert result.detail == "service mail has example.org/side=red, where blue was expected"
    assert (cluster.patches(), sent) == ([], [])


def just_before_the_patch(cluster: Cluster, side: str) -> None:
    """Somebody else changes the service when the patch is on its way."""

    def change(method: str, path: str) -> None:
        if method == "PATCH":
            cluster.edit("services", "mail", lambda found: found["spec"]["selector"].update({"example.org/side": side}))

    cluster.before = change


async def test_somebody_who_was_faster_has_it_refused_by_the_server(cluster: Cluster) -> None:
    just_before_the_patch(cluster, "red")
    result = await act(cluster, GREEN, expected="blue")
    assert result.applied is Applied.REFUSED
    assert "is invalid" in result.detail
    assert result.detail.endswith("by now it has red instead of blue")
    assert (await look(cluster)).value == "red"


async def test_annotations_of_others_stay_also_those_made_at_the_same_time(cluster: Cluster) -> None:
    def note(found: dict[str, Any]) -> None:
        found["metadata"]["annotations"] = {"team": "shop"}

    def noted_meanwhile(method: str, path: str) -> None:
        if method == "PATCH" and len(cluster.patches()) == 1:
            cluster.edit("services", "mail", note)

    cluster.before = noted_meanwhile
    assert (await act(cluster, GREEN)).applied is Applied.REFUSED
    assert (await act(cluster, GREEN)).applied is Applied.APPLIED
    assert cluster.of("services", "mail")["metadata"]["annotations"]["team"] == "shop"


async def test_a_mark_says_nothing_of_a_value_that_somebody_else_put_there(cluster: Cluster) -> None:
    await act(cluster, GREEN)
    cluster.edit("services", "mail", lambda found: found["spec"]["selector"].update({"example.org/side": "blue"}))
    reading = await look(cluster)
    assert (reading.value, reading.by) == ("blue", None)


@pytest.mark.parametrize("how", ["close", "hang", b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", b"garbage"])
async def test_a_server_that_falls_silent_over_the_patch_leaves_it_unknown(cluster: Cluster, how: str | bytes) -> None:
    def misbehave(method: str, path: str) -> None:
        if method == "PATCH":
            raise MisbehaveError(how)

    cluster.after = misbehave  # the patch has been carried out by then
    sent: list[str] = []
    result = await act(cluster, GREEN, deadline=3.0, on_sent=lambda: sent.append("sent"))
    assert result.applied is Applied.UNKNOWN, result.detail
    assert sent == ["sent"]
    assert len(cluster.patches()) == 1, "it is not sent twice"
    cluster.after = as_it_should
    assert (await look(cluster)).by == "mail:failover:3", "the mark says whose it was"


async def test_a_try_that_was_answered_by_nobody_is_recognised_when_kubectl_repeats_it(cluster: Cluster) -> None:
    def busy_once(method: str, path: str) -> None:
        if method == "PATCH" and len(cluster.patches()) == 1:
            raise MisbehaveError(
                b"HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )

    cluster.after = busy_once
    result = await act(cluster, GREEN, expected="blue")
    assert result.applied is Applied.APPLIED, result.detail
    assert len(cluster.patches()) == 2, "kubectl, told to try again, has sent it twice"
    assert (await look(cluster)).by == "mail:failover:3"


@pytest.mark.parametrize(
    ("denied", "applied", "words"),
    [
        ("patch services/mail", Applied.REFUSED, 'cannot patch resource "services"'),
        ("get services/mail", Applied.NOT_STARTED, 'cannot get resource "services"'),
    ],
)
async def test_what_we_may_not_is_told_and_changes_nothing(
    cluster: Cluster, denied: str, applied: Applied, words: str
) -> None:
    cluster.denied.add(denied)
    result = await act(cluster, GREEN)
    assert result.applied is applied
    assert words in result.detail
    assert cluster.of("services", "mail")["spec"]["selector"]["example.org/side"] == "blue"


@pytest.mark.parametrize(
    "how", ["close", "hang", "drip", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", b"\x16\x03"]
)
async def test_a_server_that_makes_no_sense_is_not_believed(cluster: Cluster, how: str | bytes) -> None:
    def misbehave(method: str, path: str) -> None:
        raise MisbehaveError(how)

    cluster.before = misbehave
    reading = await look(cluster, deadline=1.0)
    assert reading.value is None
    assert reading.detail
    result = await act(cluster, GREEN, deadline=1.0)
    assert result.applied is Applied.NOT_STARTED


async def test_a_server_that_is_not_there_is_told(cluster: Cluster) -> None:
    file = cluster.folder / "kubeconfig"
    file.write_text(file.read_text().replace(str(cluster.port), "1"))
    assert "was refused" in (await look(cluster)).detail
    assert (await act(cluster, GREEN)).applied is Applied.NOT_STARTED
    assert (await check(cluster, GREEN)).passed is False


async def test_the_preflight_looks_for_pods_and_rights(cluster: Cluster) -> None:
    good = await check(cluster, GREEN)
    assert (good.passed, good.credentials) == (True, True)
    assert good.detail == (
        "service mail has example.org/side=blue; ready pods with app=mail,example.org/side=green: 1; we may"
    )
    nobody = await check(cluster, {**GREEN, "value": "red"})
    assert nobody.passed is False
    assert "no pod with app=mail,example.org/side=red is ready, so it would reach nobody" in nobody.detail
    cluster.denied.add("list pods")
    blind = await check(cluster, GREEN)
    assert blind.passed is True
    assert "its pods cannot be seen" in blind.detail
    cluster.denied.add("patch services/mail")
    denied = await check(cluster, GREEN)
    assert (denied.passed, denied.credentials) == (False, False)
    assert denied.detail.endswith("we may not patch service/mail")
    for raw, words in (
        ({**GREEN, "service": "gone"}, 'services "gone" not found'),
        ({**GREEN, "key": "side"}, "service mail has no side in its selector"),
        ({**GREEN, "program": ["no-kubectl"]}, "no-kubectl is not on the path"),
    ):
        failed = await check(cluster, raw)
        assert failed.passed is False
        assert words in failed.detail
    assert cluster.patches() == []


# --- deployments -------------------------------------------------------------------------------------------------


async def test_the_new_deployment_is_scaled_up_and_then_the_old_one_down(cluster: Cluster) -> None:
    before = await running(cluster)
    assert (before.value, before.serving) == ("mail-blue", ("mail-blue",))
    result = await act(cluster, TO_GREEN, expected="mail-blue")
    assert result.applied is Applied.APPLIED
    assert result.detail == "mail-green was scaled to 2; its 2 pods are available; mail-blue was scaled to 0"
    assert [request.rpartition("/")[2] for request in cluster.patches()] == ["mail-green", "mail-blue"]
    reading = await running(cluster)
    assert (reading.value, reading.by) == ("mail-green", "mail:failover:3")
    again = await act(cluster, TO_GREEN, expected="mail-blue")
    assert again.applied is Applied.APPLIED
    assert "already" in again.detail


async def test_pods_that_do_not_come_up_leave_the_old_ones_running(cluster: Cluster) -> None:
    cluster.stuck.add("mail-green")
    result = await act(cluster, TO_GREEN, deadline=5.0)
    assert result.applied is Applied.UNKNOWN
    assert "mail-green was scaled to 2; its pods did not come up" in result.detail
    reading = await running(cluster)
    assert (reading.value, reading.serving, reading.by) == ("mail-blue, mail-green", ("mail-blue",), None)
    assert cluster.of("deployments", "mail-blue")["spec"]["replicas"] == 2


async def test_an_old_deployment_that_cannot_be_scaled_down_is_no_success(cluster: Cluster) -> None:
    cluster.denied.add("patch deployments/mail-blue")
    result = await act(cluster, TO_GREEN)
    assert result.applied is Applied.UNKNOWN, "the new one has its pods by now"
    assert "cannot patch" in result.detail
    cluster.denied = {"patch deployments/mail-green"}
    cluster.edit("deployments", "mail-green", lambda found: found["spec"].update({"replicas": 0}))
    assert (await act(cluster, TO_GREEN)).applied is Applied.REFUSED


async def test_several_at_once_and_none_at_all_are_nobody(cluster: Cluster) -> None:
    cluster.edit("deployments", "mail-green", lambda found: found["spec"].update({"replicas": 1}))
    both = await running(cluster)
    assert both.value == "mail-blue, mail-green"
    assert (await act(cluster, TO_GREEN, expected="mail-blue")).applied is Applied.REFUSED
    assert (await act(cluster, TO_GREEN, expected=both.value)).applied is Applied.APPLIED
    cluster.edit("deployments", "mail-green", lambda found: found["spec"].update({"replicas": 0}))
    assert (await running(cluster)).value == "none"
    assert (await act(cluster, TO_GREEN, expected="none")).applied is Applied.APPLIED


async def test_one_that_is_not_there_makes_all_of_them_unreadable(cluster: Cluster) -> None:
    reading = await look(cluster, {"deployments": ["mail-blue", "mail-red"]})
    assert reading.value is None
    assert reading.detail.endswith('deployments "mail-red" not found')
    assert (await act(cluster, {**TO_GREEN, "deployment": "mail-red"})).applied is Applied.NOT_STARTED


async def test_the_preflight_of_deployments_asks_for_each_right(cluster: Cluster) -> None:
    good = await check(cluster, TO_GREEN)
    assert (good.passed, good.credentials) == (True, True)
    assert good.detail == "mail-green has 0 of 0 pods, mail-blue has 2 of 2 pods; we may"
    for denied, words in (
        ("patch deployments/mail-blue", "we may not patch deployment.apps/mail-blue"),
        ("watch deployments", "we may not watch deployments.apps"),
    ):
        cluster.denied = {denied}
        tried = await check(cluster, TO_GREEN)
        assert (tried.passed, tried.credentials) == (False, False)
        assert tried.detail.endswith(words)
    assert cluster.patches() == []


# --- by hand -----------------------------------------------------------------------------------------------------


async def test_the_manual_patch_has_the_same_effect(cluster: Cluster) -> None:
    line = manual({"kubeconfig": "kubeconfig", **GREEN})
    finished = await run_program(["bash", "-c", line], cwd=cluster.folder, env={"HOME": os.environ["HOME"]}, timeout=20)
    assert finished.exit_code == 0, finished.stderr
    assert (await look(cluster)).value == "green"


def test_the_manual_lines_for_deployments_keep_their_order() -> None:
    raw = {"namespace": "${NAMESPACE:-shop}", "context": "prod", "env": {"TOKEN": "${file:token}"}, **TO_GREEN}
    lines = manual(raw).split(" && ")
    front = 'env TOKEN="$(cat token)" kubectl --context prod --namespace "${NAMESPACE:-shop}"'
    assert lines == [
        f"{front} scale deployment/mail-green --replicas=2",
        f"{front} rollout status deployment/mail-green --timeout=180s",
        f"{front} scale deployment/mail-blue --replicas=0",
    ]
    patch = json.dumps([{"op": "replace", "path": "/spec/selector/example.org~1side", "value": "green"}])
    assert manual(GREEN) == f"kubectl patch service mail --type=json '--patch={patch}'"


# --- the operation of the how-to ---------------------------------------------------------------------------------

PAGE = "howto-switch-kubernetes.md"


def test_the_component_of_the_page_is_valid(tmp_path: Path) -> None:
    loaded = loaded_from(workspace_of(PAGE, tmp_path))
    assert loaded.problems == ()
    switch = loaded.operation.components["mail"].switch
    assert switch is not None
    assert (switch.abilities.cas, switch.abilities.restores) == (True, True)


@asynccontextmanager
async def gateway(cluster: Cluster, folder: Path) -> AsyncIterator[Duty]:
    """The operation of the page. The front door is answered by the side to which the service sends."""
    cluster.service("mail", {"app": "mail", "version": "blue"})
    for side in ("blue", "green"):
        cluster.pod(f"{side}-1", {"app": "mail", "version": side})

    async def health(_: Request) -> bytes:
        return http(json.dumps({"side": cluster.of("services", "mail")["spec"]["selector"]["version"]}))

    async with serving(health=health) as target:
        changes = {
            "kubeconfig: /etc/opsdash/kubeconfig, context: prod": f"kubeconfig: {cluster.folder}/kubeconfig",
            "https://mail.example": target.url,
            "http://{host}": target.url,
            "  verify: [front]": "  verify: [front]\n  deadline: 10s",
            "providers: ": "defaults: {every: 1s, timeout: 2s, down_after: 2, up_after: 1}\nproviders: ",
        }
        async with on_duty(workspace_of(PAGE, folder / "workspace", changes), "mail") as duty:
            yield duty


async def test_a_failover_is_committed_and_manifests_applied_again_are_drift(cluster: Cluster, tmp_path: Path) -> None:
    async with gateway(cluster, tmp_path) as duty:
        over = await duty.carry_out(SwitchKind.FAILOVER)
        assert over["state"] == "committed"
        assert truths(over) == {"A": "true", "B": "true", "C": "stateless", "D": "true"}
        assert duty.active == "green"
        cluster.edit("services", "mail", lambda found: found["spec"]["selector"].update({"version": "blue"}))
        await duty.look_again()
        assert duty.active == "blue"


async def test_a_patch_whose_answer_is_lost_is_observed_and_not_sent_again(cluster: Cluster, tmp_path: Path) -> None:
    async with gateway(cluster, tmp_path) as duty:

        def lost(method: str, path: str) -> None:
            if method == "PATCH":
                raise MisbehaveError("close")

        cluster.after = lost
        over = await duty.carry_out(SwitchKind.FAILOVER)
        assert over["state"] == "committed", "the facts say that it took effect"
        assert len(cluster.patches()) == 1
        cluster.after = as_it_should
        back = await duty.carry_out(SwitchKind.FAILBACK)
        assert (back["state"], duty.active) == ("committed", "blue")
