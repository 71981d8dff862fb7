"""Each fault, seen by a client that has nothing but a socket."""

from __future__ import annotations

import json
import re
import time
import zlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from opsdash.demo.catalog import Fault, catalog

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from tests.demo.conftest import Client

PATHS = {
    "POSTMARK_HTTP": "/status",
    "SES_HTTP": "/status",
    "MAILER_HTTP": "/last-delivery",
    "CRM_HTTP": "/health",
    "CRM_INTAKE_HTTP": "/last-contact",
    "AUTOMATION_HTTP": "/status",
    "FLOW_RUNNER_HTTP": "/last-run",
    "PRICING_API_HTTP": "/v1/prices",
    "PRICING_CACHE_HTTP": "/last-quote",
    "FEED_A_HTTP": "/rows",
    "FEED_B_HTTP": "/rows",
    "MARKET_READER_HTTP": "/quotes",
    "SCORING_HTTP": "/score?lead=1",
    "LEAD_ROUTER_HTTP": "/last-lead",
    "WAREHOUSE_HTTP": "/rollup",
    "REPORTING_HTTP": "/last-report",
    "SOCIAL_HTTP": "/last-post",
}
QUIET = 0.15
TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")


def broken(client: Client, fault: Fault, *, shown_otherwise: frozenset[str] = frozenset()) -> Iterator[str]:
    """Inject the fault into each service that offers it; gives the variable of its HTTP port."""
    for service in catalog():
        if service.offers(fault) and service.name not in shown_otherwise:
            client.services.inject(service.name, fault)
            yield service.variables[0]
            client.services.inject(service.name, "ok")


def body_of(reply: bytes) -> bytes:
    return reply.partition(b"\r\n\r\n")[2]


def test_while_nothing_is_injected_everything_answers_with_data(client: Client) -> None:
    for variable, path in PATHS.items():
        reply = client.raw(variable, path)

        assert reply.startswith(b"HTTP/1.1 200 OK\r\n")
        assert body_of(reply)


def test_down_refuses_connections_and_keeps_the_port(client: Client) -> None:
    for variable in broken(client, Fault.DOWN):
        with pytest.raises(ConnectionRefusedError):
            client.connect(variable)
    for variable, path in PATHS.items():
        assert client.get(variable, path).status == 200


def test_down_cuts_connections_that_are_open(client: Client) -> None:
    with client.connect("POSTMARK_SMTP") as connection:
        assert connection.recv(100).startswith(b"220 ")

        client.services.inject("postmark", "down")

        with pytest.raises(ConnectionRefusedError):
            client.connect("POSTMARK_SMTP")
        assert _rest(connection) == b""


def test_hang_accepts_and_never_answers_until_it_is_healed(client: Client) -> None:
    for variable in broken(client, Fault.HANG):
        with client.connect(variable, timeout=QUIET) as connection:
            connection.sendall(f"GET {PATHS[variable]} HTTP/1.1\r\n\r\n".encode())
            with pytest.raises(TimeoutError):
                connection.recv(1)


def test_drip_sends_one_byte_at_a_time(client: Client) -> None:
    for variable in ("POSTMARK_HTTP", "POSTMARK_SMTP"):
        client.services.inject("postmark", "drip")
        with client.connect(variable) as connection:
            connection.sendall(b"GET /status HTTP/1.1\r\n\r\n")
            begun = time.monotonic()
            parts = [connection.recv(100) for _ in range(4)]

            assert [len(part) for part in parts] == [1, 1, 1, 1]
            assert time.monotonic() - begun > 0.5


def test_reset_resets(client: Client) -> None:
    for variable in broken(client, Fault.RESET):
        with pytest.raises(ConnectionResetError):
            client.raw(variable, PATHS[variable])


def test_500_and_401_are_told_apart(client: Client) -> None:
    for variable in broken(client, Fault.ERROR):
        assert client.get(variable, PATHS[variable]).status == 500
    for variable in broken(client, Fault.WRONG_CREDENTIALS):
        answer = client.get(variable, PATHS[variable])
        assert answer.status == 401
        assert "WWW-Authenticate" in answer.headers


def test_empty_is_a_success_without_a_body(client: Client) -> None:
    for variable in broken(client, Fault.EMPTY, shown_otherwise=frozenset({"feed-a", "feed-b"})):
        answer = client.get(variable, PATHS[variable])
        assert (answer.status, answer.body) == (200, b"")


def test_garbage_is_a_page_for_people(client: Client) -> None:
    other = frozenset({"feed-a", "feed-b", "scoring"})
    for variable in broken(client, Fault.GARBAGE, shown_otherwise=other):
        answer = client.get(variable, PATHS[variable])
        assert answer.status == 200
        assert answer.body.startswith(b"<!doctype html>")


def test_wrong_schema_wraps_json_and_renames_columns(client: Client) -> None:
    for variable in broken(client, Fault.WRONG_SCHEMA):
        answer = client.get(variable, PATHS[variable])
        if variable == "FEED_B_HTTP":
            assert answer.body.startswith(b"col_symbol;col_price;")
        else:
            assert set(answer.json) == {"apiVersion", "data"}


def test_wrong_schema_turns_prices_into_text(client: Client) -> None:
    client.services.inject("pricing-api", "wrong-schema")

    prices = client.get("PRICING_API_HTTP", "/v1/prices").json["data"]["prices"]

    assert isinstance(prices[0]["amount"], str)


def test_stale_shows_times_that_are_an_hour_old(client: Client) -> None:
    for variable in broken(client, Fault.STALE):
        newest = max(client.until_found(variable, PATHS[variable], TIME))
        age = datetime.now(UTC) - datetime.fromisoformat(newest)
        assert timedelta(minutes=59) < age < timedelta(minutes=62)


def test_hostile_attacks_the_screen_in_headers_and_bodies(client: Client) -> None:
    for variable in broken(client, Fault.HOSTILE):
        replies = [client.raw(variable, PATHS[variable]) for _ in range(2)]
        everything = b"".join(replies)
        heads = b"".join(reply.partition(b"\r\n\r\n")[0] for reply in replies)

        assert b"\x1b]52;c;" in body_of(replies[0]) + body_of(replies[1])
        assert b"\x1b]52;c;" in heads
        assert b"\xff\xfe" in heads
        assert "\u202e".encode() in everything
        assert b"[/nope]" in everything


def test_hostile_is_valid_json_every_other_time(client: Client) -> None:
    client.services.inject("mailer", "hostile")

    bodies = [body_of(client.raw("MAILER_HTTP", "/provider")) for _ in range(2)]
    parsed = [value for body in bodies if (value := _as_json(body)) is not None]

    assert len(parsed) == 1
    assert parsed[0]["provider"].startswith("\x1b]52;c;")


def test_a_gzip_bomb_is_small_on_the_wire_and_huge_when_unpacked(client: Client) -> None:
    client.services.inject("crm", "gzip-bomb")

    reply = client.raw("CRM_HTTP", "/health")

    assert b"Content-Encoding: gzip\r\n" in reply
    assert len(reply) < 64 * 1024
    assert len(zlib.decompress(body_of(reply), wbits=31)) == 48 * 1024 * 1024


@pytest.mark.parametrize(("service", "path"), [("postmark", "/account"), ("ses", "/account"), ("automation", "/runs")])
def test_429_says_when_to_come_back_and_that_nothing_is_left(client: Client, service: str, path: str) -> None:
    variable = f"{service.upper()}_HTTP"
    normal = client.get(variable, path)
    assert normal.status == 200
    assert "Retry-After" not in normal.headers
    assert re.fullmatch(r'"default";r=\d+;t=5', normal.headers["RateLimit"])

    client.services.inject(service, "429")

    client.until(variable, path, lambda value: value == {"status": 429})
    limited = client.get(variable, path)
    assert limited.headers["Retry-After"] == "2"
    assert limited.headers["RateLimit"] == '"default";r=0;t=5'
    assert client.get(variable, "/status").status == 200


def test_a_feed_without_rows_is_still_a_feed(client: Client) -> None:
    client.services.inject("feed-a", "empty")
    client.services.inject("feed-b", "empty")

    assert client.get("FEED_A_HTTP", "/rows").json == {"rows": []}
    assert client.get("FEED_B_HTTP", "/rows").body == b"symbol,price,volume,at\n"


def test_a_feed_of_garbage_has_rows_of_which_none_is_usable(client: Client) -> None:
    client.services.inject("feed-a", "garbage")

    rows = client.get("FEED_A_HTTP", "/rows").json["rows"]

    assert len(rows) == 20
    assert all(row["price"] is None or row["price"] < 0 for row in rows)


def test_garbage_of_the_model_is_a_score_out_of_range(client: Client) -> None:
    client.services.inject("scoring", "garbage")

    assert client.get("SCORING_HTTP", "/score?lead=1").json["score"] == -9999.0


# --- SMTP ---


def talk(client: Client, *lines: str) -> list[str]:
    """The replies of the primary provider to each line, the greeting first."""
    with client.connect("POSTMARK_SMTP") as connection, connection.makefile("rwb") as stream:
        replies = [stream.readline().decode("latin-1").strip()]
        for line in lines:
            stream.write(line.encode() + b"\r\n")
            stream.flush()
            reply = stream.readline()
            while reply[3:4] == b"-":
                reply = stream.readline()
            replies.append(reply.decode("latin-1").strip())
    return replies


DELIVERY = ("EHLO x", "MAIL FROM:<a@x>", "RCPT TO:<b@x>", "DATA", "Subject: hello\r\n\r\ntext\r\n.", "QUIT")


def test_smtp_accepts_a_mail_and_says_who_took_it(client: Client) -> None:
    replies = talk(client, *DELIVERY)

    assert [reply[:3] for reply in replies] == ["220", "250", "250", "250", "354", "250", "221"]
    assert replies[5].endswith(" by pm-prod")


def test_smtp_knows_both_ways_to_sign_in(client: Client) -> None:
    replies = talk(client, "EHLO x", "AUTH PLAIN AHNob3AAZGVtbw==", "AUTH LOGIN", "c2hvcA==", "ZGVtbw==", "NOOP")

    assert [reply[:3] for reply in replies] == ["220", "250", "235", "334", "334", "235", "250"]


def test_smtp_refuses_wrong_credentials(client: Client) -> None:
    client.services.inject("postmark", "wrong-credentials")

    replies = talk(client, "EHLO x", "AUTH PLAIN AHNob3AAZGVtbw==", "MAIL FROM:<a@x>")

    assert [reply[:3] for reply in replies] == ["220", "250", "535", "530"]


def test_smtp_says_no_in_the_greeting_when_the_provider_is_broken(client: Client) -> None:
    client.services.inject("postmark", "500")

    assert talk(client)[0].startswith("421 ")


def test_smtp_can_be_noise_silence_or_an_attack(client: Client) -> None:
    client.services.inject("postmark", "garbage")
    with client.connect("POSTMARK_SMTP") as connection:
        assert connection.recv(1000).startswith(bytes(range(32)))
    client.services.inject("postmark", "empty")
    with client.connect("POSTMARK_SMTP") as connection:
        assert _rest(connection) == b""
    client.services.inject("postmark", "hostile")
    with client.connect("POSTMARK_SMTP") as connection:
        assert connection.recv(1000).startswith(b"220 \x1b]52;c;")


def test_smtp_refuses_recipients_beyond_the_limit(client: Client) -> None:
    client.services.inject("postmark", "429")

    replies = talk(client, "EHLO x", "MAIL FROM:<a@x>", *["RCPT TO:<b@x>"] * 25)

    assert replies[-1].startswith("450 4.7.1")


def test_nonsense_gets_400_and_wrong_methods_405(client: Client) -> None:
    with client.connect("CRM_HTTP") as connection:
        connection.sendall(b"hello\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 400 ")
    assert client.send("DELETE", "CRM_HTTP", "/health").status == 405
    assert client.get("CRM_HTTP", "/nothing").status == 404


def _rest(connection: socket.socket) -> bytes:
    """What is left on a connection that the other side ends, politely or not."""
    try:
        return b"".join(iter(lambda: connection.recv(1000), b""))
    except ConnectionResetError:
        return b""


def _as_json(body: bytes) -> dict[str, str] | None:
    try:
        value: dict[str, str] = json.loads(body)
    except ValueError:
        return None
    return value


def test_a_fault_that_is_given_a_time_ends_by_itself(client: Client) -> None:
    answer = client.send("PUT", "DEMO_CONTROL", "/faults/crm", '{"fault": "down", "for": 1}')
    assert (answer.status, answer.json["crm"]) == (200, "down")
    assert client.get("DEMO_CONTROL", "/healthy/crm").status == 409
    client.until("DEMO_CONTROL", "/faults", lambda faults: faults["crm"] == "ok")
    assert client.get("DEMO_CONTROL", "/healthy/crm").status == 200
    assert client.get("CRM_HTTP", "/health").status == 200


def test_a_fault_that_is_set_anew_no_longer_ends_with_the_one_before(client: Client) -> None:
    client.send("PUT", "DEMO_CONTROL", "/faults/crm", '{"fault": "down", "for": 0.2}')
    client.send("PUT", "DEMO_CONTROL", "/faults/crm", '{"fault": "hang"}')
    client.send("PUT", "DEMO_CONTROL", "/faults/social", '{"fault": "down", "for": 0.5}')
    client.until("DEMO_CONTROL", "/faults", lambda faults: faults["social"] == "ok")
    assert client.get("DEMO_CONTROL", "/faults").json["crm"] == "hang"


def test_a_time_that_makes_no_sense_is_refused(client: Client) -> None:
    for lasts in ("-1", "NaN", '"soon"', "1e9"):
        answer = client.send("PUT", "DEMO_CONTROL", "/faults/crm", f'{{"fault": "down", "for": {lasts}}}')
        assert answer.status in (400, 422), lasts
    assert client.get("DEMO_CONTROL", "/healthy/nobody").status == 404


def test_the_mailer_takes_more_orders_as_long_as_mail_is_accepted(client: Client) -> None:
    assert client.send("POST", "MAILER_HTTP", "/mails").status == 202
    client.services.inject("postmark", "down")
    client.until("MAILER_HTTP", "/last-delivery", lambda last: last["error"])
    assert client.send("POST", "MAILER_HTTP", "/mails").status == 503
