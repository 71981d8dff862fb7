"""The nine failures that the example operation promises to show and to answer, from the fault to "it is over"."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from opsdash.model import inputs as i
from opsdash.model.run import BlockState
from opsdash.model.switch import SwitchKind

if TYPE_CHECKING:
    from tests.operation.desk import Desk

pytestmark = pytest.mark.asyncio(loop_scope="module")


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

        desk.inject("postmark", "ok")
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

        desk.inject("crm", "ok")
        await desk.until("the CRM is back", lambda: desk.row("crm")["hint"] == "g restore")
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

        desk.inject("automation", "ok")
        await desk.until("the limit is gone", lambda: desk.row("automation")["hint"] == "g restore")
        left = await runbook.execute("run-everything-again")
        assert left.state is BlockState.PASSED, left.output
        await runbook.close()
        await desk.resolve("automation")
        await desk.all_is_well()


