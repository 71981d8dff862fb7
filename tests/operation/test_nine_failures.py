"""The nine failures that the example operation promises to show and to answer, from the fault to "it is over"."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from opsdash.model import inputs as i
from opsdash.model.run import BlockState
from opsdash.model.switch import SwitchKind

if TYPE_CHECKING:
    from tests.operation.desk import Desk

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def test_email_goes_on_by_the_other_provider(desk: Desk) -> None:
    with desk.nobody_else_than("email"):
        desk.inject("postmark", "down")

        row = await desk.recognised("email", "provider-unreachable", within=5.0)
        assert (row["status"], row["active"], row["hint"]) == ("degraded", "postmark", "f fail over")
        assert desk.named("email") == ["provider-unreachable"]

        switch = await desk.carry_out(SwitchKind.FAILOVER, "email")
        assert (switch["state"], switch["target"]) == ("committed", "ses")
        assert {fact["name"]: fact["truth"] for fact in switch["facts"]} == {
            "A": "true",
            "B": "true",
            "C": "stateless",
            "D": "true",
        }
        assert switch["times"]["total"] < 3.0
        assert desk.works("email/order-confirmations") == "yes"
        row = desk.row("email")
        assert (row["status"], row["active"], row["redundancy"], row["hint"]) == ("ok", "ses", "lost", "F fail back")

        await desk.heal("postmark")
        await desk.until("there is a backup again", lambda: desk.row("email")["redundancy"] == "ready")
        back = await desk.carry_out(SwitchKind.FAILBACK, "email")
        assert (back["state"], back["target"]) == ("committed", "postmark")
        await desk.resolve("email")
        await desk.all_is_well()


async def test_no_contact_is_lost_while_the_crm_is_away(desk: Desk) -> None:
    with desk.nobody_else_than("crm"):
        desk.inject("crm", "hang")

        row = await desk.recognised("crm", "unreachable")
        assert (row["status"], row["hint"]) == ("down", "g outbox")

        runbook = await desk.open_runbook("crm-unreachable", "crm")
        entered = await runbook.execute("keep-new-contacts-in-the-outbox")
        assert entered.state is BlockState.PASSED, entered.output
        seen = await runbook.execute("see-that-no-contact-is-lost")
        assert seen.state is BlockState.PASSED, seen.output
        assert desk.works("crm/new-contacts-kept") == "yes"
        assert desk.works("crm/contact-lookup") == "dropped"
        row = desk.row("crm")
        assert (row["status"], row["reason"], row["mode"]) == ("degraded", "mode", "outbox")
        assert row["hint"] == "r crm-unreachable"

        await desk.heal("crm")
        await desk.until("the CRM is back", lambda: desk.row("crm")["hint"] == "g restore")
        await desk.until_possible(SwitchKind.RESTORE, "crm")
        left = await runbook.execute("file-what-was-kept")
        assert left.state is BlockState.PASSED, left.output
        filed = await runbook.execute("file-what-was-kept", 1)
        assert filed.state is BlockState.PASSED, filed.output
        await runbook.close()
        await desk.resolve("crm")
        await desk.all_is_well()
    assert desk.works("crm/contact-lookup") == "yes"


async def test_invoices_are_made_while_the_platform_limits_us(desk: Desk) -> None:
    with desk.nobody_else_than("automation"):
        desk.inject("automation", "429")

        row = await desk.recognised("automation", "rate-limited")
        assert (row["status"], row["hint"]) == ("degraded", "g essential-flows-only")

        runbook = await desk.open_runbook("automation-rate-limited", "automation")
        entered = await runbook.execute("run-essential-flows-only")
        assert entered.state is BlockState.PASSED, entered.output
        limit = await runbook.execute("see-that-the-limit-is-gone", within=20.0)
        assert limit.state is BlockState.PASSED, limit.output
        invoices = await runbook.execute("see-that-invoices-are-made")
        assert invoices.state is BlockState.PASSED, invoices.output
        assert desk.works("automation/orders-become-invoices") == "yes"
        assert desk.works("automation/weekly-digest") == "dropped"

        await desk.heal("automation")
        await desk.until("the limit is gone", lambda: desk.row("automation")["hint"] == "g restore")
        await desk.until_possible(SwitchKind.RESTORE, "automation")
        left = await runbook.execute("run-everything-again")
        assert left.state is BlockState.PASSED, left.output
        await runbook.close()
        await desk.resolve("automation")
        await desk.all_is_well()


async def test_the_shop_quotes_from_the_last_good_list_when_the_api_has_changed(desk: Desk) -> None:
    with desk.nobody_else_than("pricing-api"):
        desk.inject("pricing-api", "wrong-schema")

        row = await desk.recognised("pricing-api", "schema-changed")
        assert (row["status"], row["hint"]) == ("down", "g cached-prices")
        contract = desk.check("pricing-api/contract")
        assert (contract["status"], contract["reason"]) == ("down", "schema_changed")
        assert "required" in contract["detail"]

        entered = await desk.carry_out(SwitchKind.DEGRADE, "pricing-api", "cached-prices")
        assert entered["state"] == "committed"
        assert desk.works("pricing-api/customers-get-a-price") == "yes"
        assert desk.works("pricing-api/live-prices") == "dropped"
        await desk.until_fact("pricing-api/quote", "served_by", "cache")
        assert desk.row("pricing-api")["status"] == "degraded"

        await desk.heal("pricing-api")
        await desk.until("the API is as agreed", lambda: desk.row("pricing-api")["hint"] == "g restore")
        await desk.until_possible(SwitchKind.RESTORE, "pricing-api")
        assert (await desk.carry_out(SwitchKind.RESTORE, "pricing-api"))["state"] == "committed"
        await desk.until_fact("pricing-api/quote", "served_by", "live")
        await desk.resolve("pricing-api")
        await desk.all_is_well()


async def test_the_shop_reads_the_other_source_when_the_main_one_is_bad(desk: Desk) -> None:
    with desk.nobody_else_than("market-data"):
        desk.inject("feed-a", "stale")

        row = await desk.recognised("market-data", "bad-data")
        assert row["hint"] == "f fail over"
        for fault in ("stale", "empty", "garbage"):
            desk.inject("feed-a", fault)
            assert (await desk.engine.observe("market-data/feed-a/data")).reason == fault
            assert desk.row("market-data")["failure_id"] == "bad-data"

        switch = await desk.carry_out(SwitchKind.FAILOVER, "market-data")
        assert (switch["state"], switch["target"]) == ("committed", "feed-b")
        assert {fact["name"] for fact in switch["facts"] if fact["truth"] == "true"} == {"A", "B", "D"}
        assert desk.works("market-data/quotes") == "yes"
        await desk.until_fact("market-data/quotes", "source", "feed-b")
        row = desk.row("market-data")
        assert (row["status"], row["on_backup"], row["redundancy"]) == ("ok", True, "lost")

        await desk.heal("feed-a")
        await desk.until("there is a backup again", lambda: desk.row("market-data")["redundancy"] == "ready")
        assert (await desk.carry_out(SwitchKind.FAILBACK, "market-data"))["state"] == "committed"
        await desk.resolve("market-data")
        await desk.all_is_well()


async def test_every_lead_goes_to_sales_when_the_model_is_gone(desk: Desk) -> None:
    with desk.nobody_else_than("lead-scoring", "lead-routing"):
        desk.inject("scoring", "down")

        row = await desk.recognised("lead-scoring", "model-unavailable")
        assert (row["status"], row["hint"]) == ("down", "g all-to-sales")
        row = await desk.recognised("lead-routing", "leads-held-back")
        assert (row["status"], row["explained_by"]) == ("down", ["lead-scoring"])
        assert desk.works("lead-routing/leads-reach-sales") == "no"

        runbook = await desk.open_runbook("lead-scoring-down", "lead-scoring")
        entered = await runbook.execute("send-every-lead-to-sales")
        assert entered.state is BlockState.PASSED, entered.output
        seen = await runbook.execute("see-that-leads-reach-sales")
        assert seen.state is BlockState.PASSED, seen.output
        await desk.until_fact("lead-routing/routing", "to", "sales")
        assert desk.works("lead-scoring/lead-priority") == "dropped"
        await desk.resolve("lead-routing")
        assert desk.works("lead-routing/leads-reach-sales") == "yes"

        await desk.heal("scoring")
        await desk.until("the model is back", lambda: desk.row("lead-scoring")["hint"] == "g restore")
        await desk.until_possible(SwitchKind.RESTORE, "lead-scoring")
        left = await runbook.execute("score-leads-again")
        assert left.state is BlockState.PASSED, left.output
        await runbook.close()
        await desk.resolve("lead-scoring")
        await desk.all_is_well()


async def test_a_simple_report_is_made_when_no_full_one_can_be(desk: Desk) -> None:
    with desk.nobody_else_than("reporting"):
        desk.inject("warehouse", "down")

        row = await desk.recognised("reporting", "no-full-report")
        assert (row["status"], row["hint"]) == ("down", "g simple-report")

        entered = await desk.carry_out(SwitchKind.DEGRADE, "reporting", "simple-report")
        assert entered["state"] == "committed"
        await desk.until_fact("reporting/report", "kind", "simple")
        assert "revenue" in str(desk.check("reporting/report")["facts"]["missing"])
        assert desk.works("reporting/morning-numbers") == "yes"
        assert desk.works("reporting/full-report") == "dropped"

        await desk.heal("warehouse")
        await desk.until("the warehouse is back", lambda: desk.row("reporting")["hint"] == "g restore")
        await desk.until_possible(SwitchKind.RESTORE, "reporting")
        assert (await desk.carry_out(SwitchKind.RESTORE, "reporting"))["state"] == "committed"
        await desk.until_fact("reporting/report", "kind", "full")
        await desk.resolve("reporting")
        await desk.all_is_well()


async def test_broken_social_media_leaves_email_and_all_others_alone(desk: Desk) -> None:
    with desk.nobody_else_than("social"):
        desk.inject("social", "500")

        row = await desk.recognised("social", "broken")
        assert (row["status"], row["hint"]) == ("down", "r social-broken")
        assert desk.incident("social")["kind"] == "note"

        runbook = await desk.open_runbook("social-broken", "social")
        shown = await runbook.execute("see-that-it-is-only-this")
        assert shown.state is BlockState.PASSED
        posting, delivery = shown.output.splitlines()
        assert posting.startswith("check social/posting: down, 500")
        assert delivery == "check email/delivery: ok, 200 OK"
        assert desk.works("social/posts") == "no"
        assert desk.works("email/order-confirmations") == "yes"

        await desk.heal("social")  # stands for `systemctl restart` in that step
        restarted = await runbook.execute("start-the-scheduler-again")
        assert restarted.state is BlockState.PASSED, restarted.output
        await runbook.close()
        await desk.resolve("social")
        assert desk.works("social/posts") == "yes"
        await desk.all_is_well()


async def test_somebody_else_learns_it_while_the_one_who_knows_is_away(desk: Desk) -> None:
    with desk.nobody_else_than("automation"):
        tomorrow = desk.engine.now().wall + 86_400
        away = await desk.submit(i.AwayIntent("lena", tomorrow))
        assert away["refused"] is None

        row = await desk.until("it is flagged", lambda: desk.flagged("automation", "expert-away"))
        assert (row["status"], row["hint"], row["covered"]) == ("ok", "r automation-owner-away", False)
        assert row["incident"] is None, "nothing is broken"
        assert desk.engine.hub.snapshot()["summary"]["uncovered"] == ["automation"]

        runbook = await desk.open_runbook("automation-owner-away", "automation", who="ken")
        for step in ("let-the-stand-in-do-it-once", "leave-the-mode"):
            done = await runbook.execute(step)
            assert done.state is BlockState.PASSED, done.output
            assert done.who == "ken"
        assert desk.last_switch("automation")["who"] == "ken"
        await runbook.close()

        back = await desk.submit(i.AwayIntent("lena", None, back=True))
        assert back["refused"] is None
        await desk.until("nobody is missing", lambda: desk.row("automation")["failure"] is None)
        await desk.all_is_well()
    assert desk.engine.hub.snapshot()["summary"]["uncovered"] == []
