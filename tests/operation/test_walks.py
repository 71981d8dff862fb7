"""Each runbook of the example is followed while the failure lasts for which it was written, and leads to its end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from opsdash.config.loader import load
from opsdash.demo.example import example
from opsdash.model import inputs as i
from tests.operation.walks import PASSED, Walk, Walker, served, steps_of

if TYPE_CHECKING:
    from tests.operation.desk import Desk

pytestmark = pytest.mark.asyncio(loop_scope="package")

# Each wave is followed at the same time, by as many people: its runbooks are of parts that do not depend on each other.
WAVES: dict[str, tuple[Walk, ...]] = {
    "vendors that do not answer": (
        Walk(
            runbook="email-down",
            failure="email/provider-unreachable",
            faults=(("postmark", "down"),),
            mended="go-back-when-it-is-well",
            works=("email/order-confirmations", "email/newsletters"),
        ),
        Walk(
            runbook="crm-unreachable",
            failure="crm/unreachable",
            faults=(("crm", "hang"),),
            mended="file-what-was-kept",
            works=("crm/new-contacts-kept", "crm/contact-lookup"),
        ),
        Walk(
            runbook="automation-down",
            failure="automation/platform-down",
            faults=(("automation", "down"),),
            mended="see-that-invoices-are-made",
            works=("automation/orders-become-invoices", "automation/weekly-digest"),
        ),
        Walk(
            runbook="market-data-bad",
            failure="market-data/bad-data",
            faults=(("feed-a", "stale"),),
            mended="go-back-when-it-is-good",
            works=("market-data/quotes",),
        ),
        Walk(
            runbook="pricing-down",
            failure="pricing-api/api-down",
            faults=(("pricing-api", "down"),),
            mended="use-live-prices-again",
            works=("pricing-api/customers-get-a-price", "pricing-api/live-prices"),
        ),
        Walk(
            runbook="lead-scoring-down",
            failure="lead-scoring/model-unavailable",
            faults=(("scoring", "down"),),
            mended="bring-the-model-back",
            works=("lead-scoring/lead-priority", "lead-routing/leads-reach-sales"),
        ),
        Walk(
            runbook="social-broken",
            failure="social/broken",
            faults=(("social", "500"),),
            mended="start-the-scheduler-again",
            works=("social/posts",),
        ),
    ),
    "vendors that refuse, or changed something": (
        Walk(
            runbook="email-credentials",
            failure="email/credentials-refused",
            faults=(("postmark", "wrong-credentials"),),
            mended="give-the-mailer-a-new-key",
            works=("email/order-confirmations", "email/newsletters"),
            active="ses",
        ),
        Walk(
            runbook="crm-credentials",
            failure="crm/credentials-refused",
            faults=(("crm", "wrong-credentials"),),
            mended="give-it-to-the-intake",
            works=("crm/new-contacts-kept", "crm/contact-lookup"),
        ),
        Walk(
            runbook="automation-rate-limited",
            failure="automation/rate-limited",
            faults=(("automation", "429"),),
            blocks={("run-essential-flows-only", 1): PASSED},  # the limit is gone as soon as nothing exceeds it
            mended="run-everything-again",
            works=("automation/orders-become-invoices", "automation/weekly-digest"),
        ),
        Walk(
            runbook="market-data-none",
            failure="market-data/no-good-data",
            faults=(("feed-a", "garbage"), ("feed-b", "empty")),
            blocks={("make-reports-without-market-data", 1): PASSED},  # what reporting itself needs is there
            mended="wait-for-the-first-one-to-come-back",
            works=("market-data/quotes", "reporting/morning-numbers", "reporting/full-report"),
        ),
        Walk(
            runbook="pricing-schema-changed",
            failure="pricing-api/schema-changed",
            faults=(("pricing-api", "wrong-schema"),),
            mended="use-live-prices-again",
            works=("pricing-api/customers-get-a-price", "pricing-api/live-prices"),
        ),
        Walk(
            runbook="lead-routing-down",
            failure="lead-routing/leads-held-back",
            faults=(("lead-router", "stale"),),
            mended="start-the-router-again",
            works=("lead-routing/leads-reach-sales",),
        ),
    ),
    "our own applications": (
        Walk(
            runbook="email-rate-limited",
            failure="email/rate-limited",
            faults=(("postmark", "429"),),
            blocks={("send-order-mail-only", 1): PASSED},
            mended="send-everything-again",
            works=("email/order-confirmations", "email/newsletters"),
        ),
        Walk(
            runbook="crm-intake-stopped",
            failure="crm/intake-stopped",
            faults=(("crm-intake", "stale"),),
            fails=frozenset({"look-at-the-intake"}),
            mended="start-the-intake-again",
            works=("crm/new-contacts-kept", "crm/contact-lookup"),
        ),
        Walk(
            runbook="automation-down",
            failure="automation/flows-stopped",
            faults=(("flow-runner", "stale"),),
            fails=frozenset({"see-whose-fault-it-is"}),
            mended="start-the-flow-runner-again",
            works=("automation/orders-become-invoices", "automation/weekly-digest"),
        ),
        Walk(
            runbook="market-data-quotes-stopped",
            failure="market-data/quotes-stopped",
            faults=(("market-reader", "stale"),),
            mended="start-the-reader-again",
            works=("market-data/quotes",),
        ),
        Walk(
            runbook="pricing-quotes-stopped",
            failure="pricing-api/quotes-stopped",
            faults=(("pricing-cache", "stale"),),
            mended="start-the-reader-again",
            works=("pricing-api/customers-get-a-price", "pricing-api/live-prices"),
        ),
    ),
    "others, and people": (
        Walk(
            runbook="email-stuck",
            failure="email/mail-stuck",
            faults=(("mailer", "stale"),),
            mended="start-the-mailer-again",
            works=("email/order-confirmations", "email/newsletters"),
        ),
        Walk(
            runbook="crm-intake-stopped",
            failure="crm/unreachable",
            faults=(("crm", "500"),),
            works=("crm/new-contacts-kept",),
            mode="outbox",
        ),
        Walk(
            runbook="automation-owner-away",
            failure="automation/expert-away",
            away="lena",
            works=("automation/orders-become-invoices", "automation/weekly-digest"),
            who="ken",
        ),
        Walk(
            runbook="reporting-down",
            failure="reporting/no-full-report",
            faults=(("warehouse", "down"),),
            mended="bring-the-warehouse-back",
            works=("reporting/morning-numbers", "reporting/full-report"),
        ),
    ),
    "all of it at once": (
        Walk(
            runbook="email-all-down",
            failure="email/nobody-delivers",
            faults=(("postmark", "down"), ("ses", "hang")),
            mended="wait-for-the-first-one-to-come-back",
            works=("email/order-confirmations", "email/newsletters"),
        ),
        Walk(
            runbook="reporting-gone",
            failure="reporting/application-gone",
            faults=(("reporting", "down"),),
            mended="start-it-again",
            works=("reporting/morning-numbers", "reporting/full-report"),
        ),
    ),
}


@pytest.mark.parametrize("wave", WAVES)
async def test_a_runbook_that_is_followed_leads_to_its_end(desk: Desk, wave: str) -> None:
    walks = WAVES[wave]
    for service, fault in [each for walk in walks for each in walk.faults]:
        desk.inject(service, fault)
    for walk in walks:
        if walk.away:
            verdict = await desk.submit(i.AwayIntent(walk.away, desk.engine.now().wall + 86_400))
            assert verdict["refused"] is None
    async with served(desk, *{walk.who for walk in walks}) as sessions:
        walkers = [Walker(desk, sessions[walk.who], walk) for walk in walks]
        ended = await asyncio.gather(*(walker.go() for walker in walkers), return_exceptions=True)
    problems = [str(each) or repr(each) for each in ended if each is not None]
    assert not problems, "\n".join(problems)


async def test_every_runbook_is_followed_and_each_of_its_blocks_is_executed() -> None:
    runbooks = load(example(), {}, 0.0).runbooks
    walked = [(runbooks[walk.runbook], walk) for walks in WAVES.values() for walk in walks]
    blocks = {
        (runbook.id, step.id, number)
        for runbook, walk in walked
        for step in steps_of(runbook, walk)
        for number in range(len(step.blocks))
    }

    assert {runbook.id for runbook, _ in walked} == set(runbooks)
    assert blocks == {
        (runbook.id, step.id, number)
        for runbook in runbooks.values()
        for step in runbook.steps
        for number in range(len(step.blocks))
    }


async def test_the_failures_of_a_wave_are_of_parts_that_do_not_disturb_each_other() -> None:
    for walks in WAVES.values():
        assert len({walk.component for walk in walks}) == len(walks)
