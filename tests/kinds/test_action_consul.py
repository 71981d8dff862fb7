"""Action kind `consul`: what is Consul's own. What it has in common with `etcd` is in test_action_keyvalue.py."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from opsdash.kinds.actions.consul import KIND, Options, ReadOptions, apply, manual, preflight, read
from opsdash.kinds.base import ActionContext, ActionResult, Applied
from opsdash.kinds.resolver import Resolver
from tests.kinds.stores import Answer, FakeConsul, Row, serving_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

NO_LEADER: Answer = (500, "text/plain", b"No cluster leader")
DENIED: Answer = (403, "text/plain", b"Permission denied: token with AccessorID '0' lacks permission 'key:read'")
NO_TOKEN: Answer = (403, "text/plain", b"rpc error making call: ACL not found")


@pytest.fixture
async def consul() -> AsyncIterator[FakeConsul]:
    store = FakeConsul()
    async with serving_store(store):
        store.put(provider="postmark")
        yield store


def options(consul: FakeConsul, **more: Any) -> Options:
    raw = {"endpoints": [consul.url], "key": "mailer/provider", "marker": "mailer/by", "value": "ses", **more}
    return Options.model_validate(raw)


def read_options(consul: FakeConsul, **more: Any) -> ReadOptions:
    return ReadOptions.model_validate({"endpoints": [consul.url], "key": "mailer/provider", **more})


def a_context(folder: Path, **more: Any) -> ActionContext:
    return ActionContext("email:failover:7", more.pop("deadline", 10.0), folder, Resolver(), 0.0, **more)


async def put(consul: FakeConsul, folder: Path, **more: Any) -> ActionResult:
    return await apply(options(consul, **more), a_context(folder, expected="postmark"))


def rolled_back(*what: str) -> Answer:
    errors = [{"OpIndex": number, "What": each} for number, each in enumerate(what)]
    return 409, "application/json", json.dumps({"Results": None, "Errors": errors}).encode()


# --- requests -------------------------------------------------------------------------------------------------------


async def test_token_and_datacenter_go_with_every_request(consul: FakeConsul, tmp_path: Path) -> None:
    made = {"token": "t0ken", "datacenter": "eu 1"}
    found = await preflight(options(consul, **made), a_context(tmp_path))
    assert (found.passed, found.credentials) == (True, True)
    assert (await put(consul, tmp_path, **made)).applied is Applied.APPLIED
    assert {headers["X-Consul-Token"] for headers in consul.headers} == {"t0ken"}
    asked = [question for question in consul.questions if "/status/" not in question]
    assert all("dc=eu+1" in question for question in asked)
    assert "t0ken" not in repr(options(consul, **made))


async def test_flags_of_an_entry_stay(consul: FakeConsul, tmp_path: Path) -> None:
    consul.rows["mailer/provider"] = Row(b"postmark", 5, flags=42)
    assert (await put(consul, tmp_path)).applied is Applied.APPLIED
    assert consul.rows["mailer/provider"].flags == 42


async def test_a_key_may_hold_what_a_url_may_not(consul: FakeConsul, tmp_path: Path) -> None:
    odd = "mailer/who serves?#1 100%/é"
    consul.rows[odd] = Row(b"postmark", 5)
    assert (await put(consul, tmp_path, key=odd)).applied is Applied.APPLIED
    assert consul.rows[odd].value == b"ses"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"key": "/mailer/provider"}, "write mailer/provider"),
        ({"marker": "/mailer/by"}, "write mailer/by"),
        ({"prefix": "/mailer/", "key": "provider"}, "write mailer/provider"),
        ({"token": "a\nb"}, "line break"),
        ({"datacenter": ""}, "at least 1 character"),
    ],
)
def test_options_that_cannot_work_are_refused(consul: FakeConsul, keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        options(consul, **keys)


# --- what an answer is worth ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "applied", "words"),
    [
        (NO_LEADER, Applied.UNKNOWN, "No cluster leader"),
        ((500, "text/plain", b"leadership lost while committing log"), Applied.UNKNOWN, "leadership lost"),
        ((503, "text/plain", b"rate limit exceeded"), Applied.UNKNOWN, "503"),
        ((429, "text/plain", b""), Applied.UNKNOWN, "429"),
        (DENIED, Applied.REFUSED, "Permission denied"),
        (NO_TOKEN, Applied.REFUSED, "ACL not found"),
        ((400, "text/plain", b"Failed to parse body: EOF"), Applied.REFUSED, "Failed to parse"),
        ((413, "text/plain", b"Request body too large, max size: 1 bytes"), Applied.REFUSED, "too large"),
        ((413, "text/html", b"<h1>413 Payload</h1>"), Applied.UNKNOWN, "413"),
        (rolled_back("Permission denied: lacks permission 'key:write'"), Applied.REFUSED, "Permission denied"),
        (rolled_back("failed to lock key due to lock delay"), Applied.REFUSED, "lock delay"),
        ((409, "application/json", b'{"Errors": []}'), Applied.UNKNOWN, "409"),
        ((409, "application/json", b'{"Errors": [{"What": 7}]}'), Applied.UNKNOWN, "409"),
        ((200, "application/json", b"true"), Applied.UNKNOWN, "not in what"),
        ((200, "application/json", b'{"Results": null, "Errors": null}'), Applied.UNKNOWN, "not in what"),
        ((200, "application/json", b'{"Results": [7, 8]}'), Applied.UNKNOWN, "not in what"),
        ((200, "application/json", b'{"Results": [{"KV": {"Key": "x"}}]}'), Applied.UNKNOWN, "not in what"),
        ((200, "application/json", b'{"Results": [], "Errors": [{"OpIndex": 0}]}'), Applied.UNKNOWN, "not in what"),
    ],
)
async def test_only_an_answer_that_says_that_nothing_was_written_is_a_refusal(
    consul: FakeConsul, tmp_path: Path, answer: Answer, applied: Applied, words: str
) -> None:
    consul.answers["said"], consul.mood = answer, "said"
    result = await put(consul, tmp_path)
    assert result.applied is applied
    assert words in result.detail
    assert len(consul.changes) == 1


async def test_who_was_faster_is_named_only_if_it_can_be_read(consul: FakeConsul, tmp_path: Path) -> None:
    def somebody_writes() -> None:
        consul.put(provider="mailgun")
        consul.question_mood = "html"

    result = await apply(options(consul), a_context(tmp_path, expected="postmark", on_sent=somebody_writes))
    assert result.applied is Applied.REFUSED
    assert "written by somebody else at this very moment, and cannot be read" in result.detail
    assert consul.get("provider") == "mailgun"


@pytest.mark.parametrize(("answer", "words"), [(DENIED, "lacks permission"), (NO_TOKEN, "ACL not found")])
async def test_who_is_not_let_in_is_told_so_and_asks_no_other_agent(
    consul: FakeConsul, tmp_path: Path, answer: Answer, words: str
) -> None:
    async with serving_store(FakeConsul()) as other:
        consul.refusals["/v1/kv/mailer/provider"] = answer
        both = [consul.url, other.url]
        result = await put(consul, tmp_path, endpoints=both)
        assert result.applied is Applied.REFUSED
        assert words in result.detail
        assert "nothing was sent" in result.detail
        assert other.questions == []
        found = await preflight(options(consul, endpoints=both), a_context(tmp_path))
        assert (found.passed, found.credentials) == (False, False)


async def test_who_may_read_and_not_write_learns_it_from_the_preflight(consul: FakeConsul, tmp_path: Path) -> None:
    for answer in (rolled_back("Permission denied", 'failed to set key "x", index is stale'), NO_TOKEN):
        consul.refusals["/v1/txn"] = answer
        found = await preflight(options(consul, token="t0ken"), a_context(tmp_path))
        assert (found.passed, found.credentials) == (False, False)


@pytest.mark.parametrize(
    "answer",
    [rolled_back("the moon is full"), rolled_back("index is stale"), (200, "application/json", b"{}"), NO_LEADER],
)
async def test_a_rehearsal_with_another_end_than_the_known_ones_proves_nothing(
    consul: FakeConsul, tmp_path: Path, answer: Answer
) -> None:
    consul.refusals["/v1/txn"] = answer
    found = await preflight(options(consul), a_context(tmp_path))
    assert (found.passed, found.credentials) == (False, None)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"Key": "mailer/provider2"}, "about mailer/provider"),
        ({"ModifyIndex": "9"}, "no value and index"),
        ({"ModifyIndex": 0}, "no value and index"),
        ({"ModifyIndex": True}, "no value and index"),
        ({"Flags": "x"}, "no value and index"),
        ({"Value": 7}, "no value and index"),
        ({"Value": "c2V"}, "no base64"),
    ],
)
async def test_an_entry_that_is_none_is_not_read(
    consul: FakeConsul, tmp_path: Path, row: dict[str, Any], words: str
) -> None:
    said = [{"Key": "mailer/provider", "Value": "c2Vz", "Flags": 0, "ModifyIndex": 9, **row}]
    consul.refusals["/v1/kv/mailer/provider"] = (200, "application/json", json.dumps(said).encode())
    reading = await read(read_options(consul), a_context(tmp_path))
    assert reading.value is None
    assert words in reading.detail


# --- agents that are not well ---------------------------------------------------------------------------------------


async def test_without_a_leader_nothing_is_sent(consul: FakeConsul, tmp_path: Path) -> None:
    consul.question_mood = "said"
    consul.answers["said"] = NO_LEADER
    result = await put(consul, tmp_path)
    assert result.applied is Applied.NOT_STARTED
    assert "No cluster leader" in result.detail
    assert consul.changes == []
    consul.question_mood, consul.leader = "obedient", ""
    found = await preflight(options(consul), a_context(tmp_path))
    assert found.passed is False
    assert "knows no cluster leader" in found.detail


# --- for people -----------------------------------------------------------------------------------------------------


def test_the_manual_command_shows_references_and_no_secret() -> None:
    command = manual(
        {
            "kind": "consul",
            "endpoints": ["https://10.0.0.1:8501/", "https://10.0.0.2:8501"],
            "key": "mailer/who serves",
            "value": "ses",
            "token": "${CONSUL_TOKEN}",
            "datacenter": "eu",
            "ca": "ca.pem",
        }
    )
    assert command == (
        "curl --silent --show-error --fail --globoff --request PUT --header 'X-Consul-Token: '\"$CONSUL_TOKEN\""
        " --cacert ca.pem --data-raw ses 'https://10.0.0.1:8501/v1/kv/mailer/who%20serves?dc=eu'"
    )


def test_the_abilities_are_those_of_a_transaction() -> None:
    abilities = KIND.abilities
    assert abilities.cas
    assert abilities.idempotent
    assert abilities.read_back
    assert abilities.restores
