"""The register says the truth: each failure mode can happen, is named when it does, and offers what was decided."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from opsdash.model.switch import SwitchKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opsdash.model.views import FailureView
    from tests.operation.desk import Desk

pytestmark = pytest.mark.asyncio(loop_scope="package")

Faults = tuple[tuple[str, str], ...]

# Each wave breaks several components at once, and each of them has to see its own failure.
WAVES: Mapping[str, Mapping[str, Faults]] = {
    "our own applications": {
        "email/mail-stuck": (("mailer", "stale"),),
        "crm/intake-stopped": (("crm-intake", "stale"),),
        "automation/flows-stopped": (("flow-runner", "stale"),),
        "market-data/quotes-stopped": (("market-reader", "stale"),),
        "pricing-api/quotes-stopped": (("pricing-cache", "stale"),),
        "lead-routing/leads-held-back": (("lead-router", "stale"),),
        "lead-scoring/senseless-scores": (("scoring", "garbage"),),
        "reporting/application-gone": (("reporting", "down"),),
        "social/broken": (("social", "hang"),),
    },
    "vendors, and their backups": {
        "email/nobody-delivers": (("postmark", "down"), ("ses", "500")),
        "crm/credentials-refused": (("crm", "wrong-credentials"),),
        "automation/platform-down": (("automation", "reset"),),
        "market-data/no-good-data": (("feed-a", "garbage"), ("feed-b", "empty")),
        "pricing-api/api-down": (("pricing-api", "stale"),),
        "lead-scoring/model-unavailable": (("scoring", "drip"),),
        "reporting/no-full-report": (("warehouse", "stale"),),
    },
    "vendors that refuse": {
        "email/credentials-refused": (("postmark", "wrong-credentials"),),
        "crm/unreachable": (("crm", "down"),),
        "automation/rate-limited": (("automation", "429"),),
        "market-data/feed-down": (("feed-a", "down"),),
        "pricing-api/schema-changed": (("pricing-api", "wrong-schema"),),
    },
}

SHOWN_ELSEWHERE = {
    "email/provider-unreachable",  # test_nine_failures
    "email/rate-limited",  # below
    "market-data/bad-data",  # test_nine_failures
    "automation/expert-away",  # test_nine_failures
}


async def test_each_failure_mode_is_shown_by_some_test(desk: Desk) -> None:
    register = {f"{each['component']}/{each['id']}" for each in desk.engine.viewer().register()}

    assert {failure for wave in WAVES.values() for failure in wave} | SHOWN_ELSEWHERE == register


async def test_each_failure_mode_has_a_runbook_an_owner_and_a_detection(desk: Desk) -> None:
    for failure in desk.engine.viewer().register():
        assert failure["runbook"] in desk.engine.loaded.runbooks, failure["id"]
        assert failure["detected_by"], failure["id"]
        gaps = set(failure["gaps"]) - {"never proved", "proof old"}
        assert gaps == ({"one owner only"} if failure["component"] == "automation" else set()), failure["id"]


@pytest.mark.parametrize("wave", WAVES)
async def test_a_failure_is_named_and_its_response_is_offered(desk: Desk, wave: str) -> None:
    register = {f"{each['component']}/{each['id']}": each for each in desk.engine.viewer().register()}
    broken = {failure.split("/")[0] for failure in WAVES[wave]}
    with desk.nobody_else_than(*broken, "reporting", "lead-routing"):
        for service, fault in [each for faults in WAVES[wave].values() for each in faults]:
            desk.inject(service, fault)

        for failure in WAVES[wave]:
            row = await desk.recognised(*failure.split("/"))
            assert row["hint"] == hint(register[failure])
            assert row["failure"] == register[failure]["title"]
            assert row["status"] in {"down", "degraded"}


def hint(failure: FailureView) -> str:
    """The key for a response, in the words of the wall."""
    match failure["response_kind"]:
        case "switch":
            return "f fail over"
        case "degrade":
            return f"g {failure['mode']}"
        case _:
            return f"r {failure['runbook']}"


async def test_with_no_provider_left_a_failover_is_refused_with_each_ones_reason(desk: Desk) -> None:
    desk.inject("postmark", "down")
    desk.inject("ses", "hang")
    await desk.recognised("email", "nobody-delivers")

    plan = await desk.plan(SwitchKind.FAILOVER, "email")

    assert plan["refused"] is not None
    assert plan["refused"]["rule"] == "none_ready"
    assert "no answer within 1s" in plan["refused"]["reason"]


async def test_a_mode_that_drops_output_can_be_left_however_long_it_was_in_force(desk: Desk) -> None:
    with desk.nobody_else_than("email", "automation"):
        desk.inject("postmark", "429")
        row = await desk.recognised("email", "rate-limited")
        assert (row["status"], row["hint"]) == ("degraded", "g transactional-only")

        assert (await desk.carry_out(SwitchKind.DEGRADE, "email"))["state"] == "committed"
        assert (await desk.carry_out(SwitchKind.DEGRADE, "automation"))["state"] == "committed"
        await desk.heal("postmark")
        assert desk.works("email/order-confirmations") == "yes"
        assert desk.works("email/newsletters") == "dropped"

        def no_newsletter_for_long() -> bool:
            newsletters = desk.check("email/newsletters")
            return (
                newsletters["facts"]["mode"] == "transactional-only"
                and desk.age_of(newsletters["facts"]["sent_at"]) > 7
            )

        await desk.until("newsletters are long gone", no_newsletter_for_long)
        await desk.until("the limit is gone", lambda: desk.row("email")["hint"] == "g restore")
        assert (await desk.carry_out(SwitchKind.RESTORE, "email"))["state"] == "committed"
        assert (await desk.carry_out(SwitchKind.RESTORE, "automation"))["state"] == "committed"
        await desk.resolve("email")
        await desk.all_is_well()
    assert desk.works("email/newsletters") == "yes"
