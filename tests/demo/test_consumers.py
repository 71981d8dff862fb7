"""The applications of the example operation: they follow switches and modes, and lose nothing."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.demo.conftest import Client


def point(file: Path, **content: str) -> None:
    """Replace a pointer file the way a switch does."""
    temporary = file.with_suffix(".new")
    temporary.write_text(json.dumps(content))
    temporary.replace(file)


def put_provider(client: Client, provider: str, **headers: str) -> int:
    return client.send("PUT", "MAILER_HTTP", "/provider", json.dumps({"provider": provider}), **headers).status


def delivered(client: Client, **facts: Any) -> Any:
    return client.until("MAILER_HTTP", "/last-delivery", lambda last: all(last[key] == facts[key] for key in facts))


def more_than(client: Client, count: int) -> Any:
    return client.until("MAILER_HTTP", "/last-delivery", lambda last: last["count"] > count)


# --- mail ---


def test_after_a_switch_mail_really_leaves_by_the_other_provider(client: Client) -> None:
    delivered(client, provider="pm-prod")
    assert client.get("SES_HTTP", "/messages").json["count"] == 0
    tag = client.get("MAILER_HTTP", "/provider").headers["ETag"]

    assert put_provider(client, "ses-eu", If_Match=tag) == 200

    delivered(client, provider="ses-eu")
    received = client.until("SES_HTTP", "/messages", lambda messages: messages["count"] > 2)
    assert received["last"]["subject"]


def test_whoever_was_slower_is_refused(client: Client) -> None:
    tag = client.get("MAILER_HTTP", "/provider").headers["ETag"]
    assert put_provider(client, "ses-eu", If_Match=tag) == 200

    assert put_provider(client, "pm-prod", If_Match=tag) == 412

    now = client.get("MAILER_HTTP", "/provider")
    assert now.json == {"provider": "ses-eu"}
    assert now.headers["ETag"] != tag


def test_there_and_back_again_is_noticed_too(client: Client) -> None:
    tag = client.get("MAILER_HTTP", "/provider").headers["ETag"]
    put_provider(client, "ses-eu")
    put_provider(client, "pm-prod")

    assert put_provider(client, "ses-eu", If_Match=tag) == 412


@pytest.mark.parametrize(
    ("body", "status"),
    [('{"provider": "mailgun"}', 422), ("ses-eu", 400), ('{"provider": 7}', 400), ("[]", 400), ("", 400)],
)
def test_a_provider_that_means_nothing_is_refused(client: Client, body: str, status: int) -> None:
    assert client.send("PUT", "MAILER_HTTP", "/provider", body).status == status
    assert client.get("MAILER_HTTP", "/provider").json == {"provider": "pm-prod"}


@pytest.mark.parametrize("fault", ["down", "hang", "reset", "500", "wrong-credentials", "garbage", "empty"])
def test_no_order_mail_is_lost_when_a_provider_breaks(client: Client, fault: str) -> None:
    delivered(client, provider="pm-prod")

    client.services.inject("postmark", fault)
    waiting = client.until("MAILER_HTTP", "/last-delivery", lambda last: last["waiting"] >= 2)
    assert waiting["provider"] == "pm-prod"
    assert waiting["error"]
    put_provider(client, "ses-eu")

    delivered(client, provider="ses-eu", waiting=0, error=None)


def test_a_deaf_mailer_says_yes_and_goes_on_as_before(client: Client) -> None:
    before = delivered(client, provider="pm-prod")["count"]
    client.services.inject("mailer", "deaf")

    assert put_provider(client, "ses-eu") == 200

    assert client.get("MAILER_HTTP", "/provider").json == {"provider": "ses-eu"}
    later = more_than(client, before + 3)
    assert later["provider"] == "pm-prod"


def test_a_limited_provider_is_content_once_newsletters_are_dropped(client: Client, state: Path) -> None:
    client.services.inject("postmark", "429")
    client.until("MAILER_HTTP", "/last-delivery", lambda last: "450" in str(last["error"]))
    client.until("POSTMARK_HTTP", "/account", lambda value: value == {"status": 429})

    point(state / "mailer-mode.json", mode="transactional-only")

    delivered(client, mode="transactional-only", waiting=0, error=None)
    client.until("POSTMARK_HTTP", "/account", lambda value: value.get("plan") == "demo")


def test_dropped_newsletters_come_back_with_the_mode(client: Client, state: Path) -> None:
    first = client.until("MAILER_HTTP", "/last-newsletter", lambda last: last["at"] is not None)
    point(state / "mailer-mode.json", mode="transactional-only")
    dropped = client.until("MAILER_HTTP", "/last-newsletter", lambda last: last["mode"] != "normal")
    count = client.get("MAILER_HTTP", "/last-delivery").json["count"]
    client.until("MAILER_HTTP", "/last-delivery", lambda last: last["count"] >= count + 3)

    assert client.get("MAILER_HTTP", "/last-newsletter").json["at"] == dropped["at"]

    point(state / "mailer-mode.json", mode="normal")
    client.until("MAILER_HTTP", "/last-newsletter", lambda last: last["at"] > dropped["at"] >= first["at"])


def test_a_torn_pointer_leaves_the_last_good_word_in_force(client: Client, state: Path) -> None:
    point(state / "mailer-mode.json", mode="transactional-only")
    delivered(client, mode="transactional-only")

    (state / "mailer-mode.json").write_text('{"mode": "nor')

    assert client.get("MAILER_HTTP", "/last-delivery").json["mode"] == "transactional-only"


def test_broken_social_media_leaves_email_alone(client: Client) -> None:
    for fault in ("down", "hang", "500", "stale"):
        client.services.inject("social", fault)
        before = client.get("MAILER_HTTP", "/last-delivery").json["count"]
        more_than(client, before)


# --- CRM and automation ---


def test_no_contact_is_lost_while_the_crm_is_away(client: Client, state: Path) -> None:
    client.until("CRM_INTAKE_HTTP", "/last-contact", lambda last: last["to"] == "crm")
    client.services.inject("crm", "down")
    client.until("CRM_INTAKE_HTTP", "/last-contact", lambda last: last["waiting"] > 0)

    point(state / "crm-mode.json", mode="outbox")
    client.until("CRM_INTAKE_HTTP", "/last-contact", lambda last: last["outbox"] > 1 and last["waiting"] == 0)
    client.services.inject("crm", "ok")
    point(state / "crm-mode.json", mode="normal")
    client.until("CRM_INTAKE_HTTP", "/last-contact", lambda last: last["to"] == "crm" and last["outbox"] == 0)

    filed = client.get("CRM_HTTP", "/contacts").json
    numbers = [contact["id"] for contact in filed["contacts"]]
    assert numbers == list(range(1, filed["total"] + 1))


def test_essential_flows_run_once_the_convenient_ones_are_dropped(client: Client, state: Path) -> None:
    client.services.inject("automation", "429")
    client.until("FLOW_RUNNER_HTTP", "/last-run", lambda last: last["error"] == "status 429")
    client.until("AUTOMATION_HTTP", "/runs", lambda value: value == {"status": 429})

    point(state / "automation-mode.json", mode="essential-flows-only")

    client.until("FLOW_RUNNER_HTTP", "/last-run", lambda last: last["waiting"] == 0 and not last["error"])
    client.until("AUTOMATION_HTTP", "/runs", lambda value: "runs" in value)


# --- data ---


@pytest.mark.parametrize("fault", ["wrong-schema", "down", "garbage", "gzip-bomb"])
def test_no_price_is_better_than_a_wrong_one_until_it_is_decided(client: Client, state: Path, fault: str) -> None:
    client.until("PRICING_CACHE_HTTP", "/last-quote", lambda last: last["served_by"] == "live")

    client.services.inject("pricing-api", fault)
    silent = client.until("PRICING_CACHE_HTTP", "/last-quote", lambda last: last["error"] is not None)
    point(state / "pricing-mode.json", mode="cached-prices")

    quoted = client.until("PRICING_CACHE_HTTP", "/last-quote", lambda last: last["served_by"] == "cache")
    assert quoted["at"] > silent["at"]
    assert quoted["prices_from"] == silent["prices_from"]
    assert quoted["items"] == 5


@pytest.mark.parametrize("fault", ["down", "empty", "garbage", "wrong-schema", "hostile"])
def test_quotes_come_from_the_feed_that_the_pointer_names(client: Client, state: Path, fault: str) -> None:
    client.until("MARKET_READER_HTTP", "/quotes", lambda last: last["source"] == "feed-a")

    client.services.inject("feed-a", fault)
    client.until("MARKET_READER_HTTP", "/quotes", lambda last: last["error"] is not None)
    point(state / "market-source.json", source="feed-b")

    quotes = client.until("MARKET_READER_HTTP", "/quotes", lambda last: last["source"] == "feed-b")
    assert quotes["usable"] == 20
    assert quotes["error"] is None


def test_stale_quotes_are_served_with_their_age(client: Client) -> None:
    client.services.inject("feed-a", "stale")

    client.until("MARKET_READER_HTTP", "/quotes", lambda last: last["usable"] == 20 and _hours_old(last) == 1)


def _hours_old(quotes: dict[str, str]) -> int:
    age = datetime.fromisoformat(quotes["at"]) - datetime.fromisoformat(quotes["data_at"])
    return round(age.total_seconds() / 3600)


def test_a_simple_report_is_made_from_what_can_still_be_reached(client: Client, state: Path) -> None:
    client.until("REPORTING_HTTP", "/last-report", lambda last: last["kind"] == "full")

    client.services.inject("warehouse", "down")
    client.services.inject("market-reader", "500")
    client.until("REPORTING_HTTP", "/last-report", lambda last: last["error"] is not None)
    point(state / "reporting-mode.json", mode="simple-report")

    report = client.until("REPORTING_HTTP", "/last-report", lambda last: last["kind"] == "simple")
    assert report["sections"] == ["mail", "leads"]
    assert report["missing"] == ["market", "revenue"]
    assert json.loads((state / "last-report.json").read_text())["kind"] == "simple"


@pytest.mark.parametrize("fault", ["stale", "hang"])
def test_a_full_report_needs_fresh_numbers(client: Client, fault: str) -> None:
    client.until("REPORTING_HTTP", "/last-report", lambda last: last["kind"] == "full")

    client.services.inject("warehouse", fault)

    client.until("REPORTING_HTTP", "/last-report", lambda last: last["error"] is not None)


# --- leads ---


def put_mode(client: Client, mode: str, **headers: str) -> int:
    return client.send("PUT", "LEAD_ROUTER_HTTP", "/mode", json.dumps({"mode": mode}), **headers).status


@pytest.mark.parametrize("fault", ["down", "garbage", "empty", "wrong-schema"])
def test_without_scores_leads_are_held_until_all_go_to_sales(client: Client, fault: str) -> None:
    client.until("LEAD_ROUTER_HTTP", "/last-lead", lambda last: last["scored_by"] == "leads-7")

    client.services.inject("scoring", fault)
    held = client.until("LEAD_ROUTER_HTTP", "/last-lead", lambda last: last["held"] >= 3)
    tag = client.get("LEAD_ROUTER_HTTP", "/mode").headers["ETag"]
    assert put_mode(client, "all-to-sales", If_Match=tag) == 200
    assert put_mode(client, "scored", If_Match=tag) == 412

    routed = client.until("LEAD_ROUTER_HTTP", "/last-lead", lambda last: last["held"] == 0)
    assert (routed["to"], routed["scored_by"], routed["mode"]) == ("sales", None, "all-to-sales")
    assert routed["routed"] >= held["routed"] + held["held"]


def test_held_leads_are_worked_off_by_score_when_the_model_is_back(client: Client) -> None:
    client.services.inject("scoring", "500")
    client.until("LEAD_ROUTER_HTTP", "/last-lead", lambda last: last["held"] >= 3)

    client.services.inject("scoring", "ok")

    client.until("LEAD_ROUTER_HTTP", "/last-lead", lambda last: last["held"] <= 1 and last["scored_by"])
