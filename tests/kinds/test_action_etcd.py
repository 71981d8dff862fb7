"""Action kind `etcd`: what is etcd's own. What it has in common with `consul` is in test_action_keyvalue.py."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from opsdash.kinds.actions.etcd import KIND, Options, ReadOptions, apply, manual, preflight, read
from opsdash.kinds.base import ActionContext, ActionResult, Applied
from opsdash.kinds.resolver import Resolver
from tests.kinds.stores import Answer, FakeEtcd, serving_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

LOGIN = {"user": "opsdash", "password": "s3cret-pass"}


@pytest.fixture
async def etcd() -> AsyncIterator[FakeEtcd]:
    store = FakeEtcd()
    async with serving_store(store):
        store.put(provider="postmark")
        yield store


def options(etcd: FakeEtcd, **more: Any) -> Options:
    raw = {"endpoints": [etcd.url], "key": "/mailer/provider", "marker": "/mailer/by", "value": "ses", **more}
    return Options.model_validate(raw)


def read_options(etcd: FakeEtcd, **more: Any) -> ReadOptions:
    return ReadOptions.model_validate({"endpoints": [etcd.url], "key": "/mailer/provider", **more})


def a_context(folder: Path, **more: Any) -> ActionContext:
    return ActionContext("email:failover:7", more.pop("deadline", 10.0), folder, Resolver(), 0.0, **more)


async def put(etcd: FakeEtcd, folder: Path, **more: Any) -> ActionResult:
    return await apply(options(etcd, **more), a_context(folder, expected="postmark"))


def error(status: int, code: int, message: str) -> Answer:
    """An error as etcd 3.4 and 3.5 tell it."""
    return status, "application/json", json.dumps({"error": message, "message": message, "code": code}).encode()


# --- logging in -----------------------------------------------------------------------------------------------------


async def test_the_token_of_a_login_goes_with_every_request_after_it(etcd: FakeEtcd, tmp_path: Path) -> None:
    assert (await put(etcd, tmp_path, auth=LOGIN)).applied is Applied.APPLIED
    assert etcd.questions == ["POST /v3/auth/authenticate", "POST /v3/kv/txn"]
    assert [headers.get("Authorization") for headers in etcd.headers] == [None, "secret-token.9", "secret-token.9"]
    assert (await preflight(options(etcd, auth=LOGIN), a_context(tmp_path))).credentials is True


async def test_a_client_certificate_that_lets_us_in_is_a_credential_that_works(etcd: FakeEtcd, tmp_path: Path) -> None:
    found = await preflight(options(etcd, client_cert="me.pem"), a_context(tmp_path))
    assert (found.passed, found.credentials) == (True, True)


async def test_where_logging_in_is_switched_off_everybody_is_let_in(etcd: FakeEtcd, tmp_path: Path) -> None:
    for status in (400, 412):  # it varies between versions
        etcd.refusals["/v3/auth/authenticate"] = error(status, 9, "etcdserver: authentication is not enabled")
        found = await preflight(options(etcd, auth=LOGIN), a_context(tmp_path))
        assert (found.passed, found.credentials) == (True, None)
    assert (await put(etcd, tmp_path, auth=LOGIN)).applied is Applied.APPLIED
    assert not any("Authorization" in headers for headers in etcd.headers)


@pytest.mark.parametrize(
    ("path", "answer", "words"),
    [
        (
            "/v3/auth/authenticate",
            error(400, 3, "etcdserver: authentication failed, invalid user ID or password"),
            "fail",
        ),
        ("/v3/kv/txn", error(400, 3, "etcdserver: user name is empty"), "see `auth`"),
        ("/v3/kv/txn", error(403, 7, "etcdserver: permission denied"), "permission denied"),
        ("/v3/kv/txn", error(401, 16, "etcdserver: invalid auth token"), "invalid auth token"),
        # etcd 3.6
        ("/v3/kv/txn", (403, "application/json", b'{"code":7,"message":"no way","details":[]}'), "no way"),
    ],
)
async def test_who_is_not_let_in_is_told_so_and_asks_no_other_member(
    etcd: FakeEtcd, tmp_path: Path, path: str, answer: Answer, words: str
) -> None:
    async with serving_store(FakeEtcd()) as other:
        etcd.refusals[path] = answer
        both = [etcd.url, other.url]
        result = await put(etcd, tmp_path, auth=LOGIN, endpoints=both)
        assert result.applied is Applied.REFUSED
        assert words in result.detail
        assert "nothing was sent" in result.detail
        assert other.questions == []
        found = await preflight(options(etcd, auth=LOGIN, endpoints=both), a_context(tmp_path))
        assert (found.passed, found.credentials) == (False, False)
        reading = await read(read_options(etcd, auth=LOGIN), a_context(tmp_path))
        assert reading.value is None
        assert words in reading.detail


@pytest.mark.parametrize("token", [7, None, "a\r\nX-Evil: 1"])
async def test_a_token_that_is_none_is_not_used(etcd: FakeEtcd, tmp_path: Path, token: Any) -> None:
    said = json.dumps({"header": {"revision": "3"}, "token": token}).encode()
    etcd.refusals["/v3/auth/authenticate"] = (200, "application/json", said)
    result = await put(etcd, tmp_path, auth=LOGIN)
    assert result.applied is Applied.NOT_STARTED
    assert "without giving a token" in result.detail


def test_a_password_is_not_shown(etcd: FakeEtcd) -> None:
    assert "s3cret" not in repr(options(etcd, auth=LOGIN))


# --- what an answer is worth ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "applied"),
    [
        (error(403, 7, "etcdserver: permission denied"), Applied.REFUSED),
        (error(401, 16, "etcdserver: invalid auth token"), Applied.REFUSED),
        (error(400, 3, "etcdserver: revision of auth store is old"), Applied.REFUSED),
        (error(429, 8, "etcdserver: mvcc: database space exceeded"), Applied.REFUSED),
        (error(429, 8, "etcdserver: too many requests"), Applied.REFUSED),
        (error(429, 8, "grpc: received message larger than max"), Applied.UNKNOWN),
        (error(503, 14, "etcdserver: request timed out"), Applied.UNKNOWN),
        (error(503, 14, "etcdserver: leader changed"), Applied.UNKNOWN),
        (error(504, 4, "context deadline exceeded"), Applied.UNKNOWN),
        (error(500, 2, "etcdserver: corrupt cluster"), Applied.UNKNOWN),
        (error(499, 1, "context canceled"), Applied.UNKNOWN),
        ((500, "application/json", b'{"code": "7", "message": "permission denied"}'), Applied.UNKNOWN),
        ((403, "application/json", b'{"code": 7}'), Applied.UNKNOWN),
    ],
)
async def test_only_an_error_that_says_that_nothing_was_written_is_a_refusal(
    etcd: FakeEtcd, tmp_path: Path, answer: Answer, applied: Applied
) -> None:
    etcd.answers["error"], etcd.mood = answer, "error"
    result = await put(etcd, tmp_path)
    assert result.applied is applied
    assert len(etcd.changes) == 1


@pytest.mark.parametrize(
    "answer",
    [
        {"header": {"revision": "9"}, "succeeded": True},
        {"header": {"revision": "9"}, "succeeded": True, "responses": []},
        {"header": {"revision": "9"}, "succeeded": True, "responses": [{"response_put": {}}]},
        {"header": {"revision": "9"}, "succeeded": True, "responses": [{"response_put": {}}, 7]},
        {"header": {"revision": "9"}, "succeeded": True, "responses": [{"response_range": {}}] * 2},
        {"header": {"revision": 9}, "succeeded": True, "responses": [{"response_put": {}}] * 2},
        {"header": {"revision": "nine"}, "succeeded": True, "responses": [{"response_put": {}}] * 2},
        {"header": [], "succeeded": True, "responses": [{"response_put": {}}] * 2},
        {"succeeded": True, "responses": [{"response_put": {}}] * 2},
        {"header": {"revision": "9"}, "succeeded": "true", "responses": [{"response_put": {}}] * 2},
        {"header": {"revision": "9"}, "responses": [{"response_range": {"kvs": [{"key": "eA=="}]}}] * 2},
        {"header": {"revision": "9"}, "responses": [{"response_range": {"kvs": 7}}] * 2},
    ],
)
async def test_a_success_that_does_not_say_in_what_is_none(
    etcd: FakeEtcd, tmp_path: Path, answer: dict[str, Any]
) -> None:
    etcd.answers["odd"], etcd.mood = (200, "application/json", json.dumps(answer).encode()), "odd"
    assert (await put(etcd, tmp_path)).applied is Applied.UNKNOWN


async def test_a_condition_that_did_not_hold_may_say_so(etcd: FakeEtcd, tmp_path: Path) -> None:
    # 3.4 leaves `succeeded` out, and others need not.
    etcd.spells_out = True
    result = await apply(options(etcd), a_context(tmp_path, on_sent=lambda: etcd.put(provider="mailgun")))
    assert result.applied is Applied.REFUSED
    assert etcd.get("provider") == "mailgun"


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"key": "eA==", "mod_revision": "3", "value": "c2Vz"}, "about this key"),
        ({"mod_revision": 3, "value": "c2Vz"}, "no value and version"),
        ({"mod_revision": "-3", "value": "c2Vz"}, "no value and version"),
        ({"value": "c2Vz"}, "no value and version"),
        ({"mod_revision": "3", "value": 7}, "no value and version"),
        ({"mod_revision": "3", "value": "c2V"}, "no base64"),
        ({"mod_revision": "3", "value": "ß"}, "no base64"),
    ],
)
async def test_an_entry_that_is_none_is_not_read(
    etcd: FakeEtcd, tmp_path: Path, row: dict[str, Any], words: str
) -> None:
    kvs = [{"key": "L21haWxlci9wcm92aWRlcg==", **row}]
    said = {"header": {"revision": "9"}, "succeeded": True, "responses": [{"response_range": {"kvs": kvs}}]}
    etcd.refusals["/v3/kv/txn"] = (200, "application/json", json.dumps(said).encode())
    reading = await read(read_options(etcd), a_context(tmp_path))
    assert reading.value is None
    assert words in reading.detail


# --- members that are not well --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "answer", "words"),
    [
        ("/health", (503, "text/plain", b'{"health":"false","reason":"RAFT NO LEADER"}'), "RAFT NO LEADER"),
        ("/health", (200, "text/plain", b'{"health":true}'), "is not well"),
        ("/version", (200, "application/json", b'{"etcdserver":"3.3.27"}'), "is etcd 3.3.27"),
        ("/version", (200, "application/json", b'{"etcdserver":"2.3"}'), "is etcd 2.3"),
        ("/version", (200, "application/json", b'{"etcdserver":"soon"}'), "which version"),
        ("/version", (200, "application/json", b"{}"), "which version"),
    ],
)
async def test_the_preflight_says_what_is_wrong_with_a_member(
    etcd: FakeEtcd, tmp_path: Path, path: str, answer: Answer, words: str
) -> None:
    etcd.refusals[path] = answer
    found = await preflight(options(etcd), a_context(tmp_path))
    assert found.passed is False
    assert words in found.detail
    assert not any("/v3/" in question for question in etcd.questions)


@pytest.mark.parametrize("version", ["3.4.0", "3.10.2", "3.6.0-rc.1", "4.0"])
async def test_newer_versions_will_do(etcd: FakeEtcd, tmp_path: Path, version: str) -> None:
    etcd.etcd_version = version
    assert (await preflight(options(etcd), a_context(tmp_path))).passed


async def test_a_store_that_carries_out_what_is_impossible_is_not_trusted(etcd: FakeEtcd, tmp_path: Path) -> None:
    etcd.carries_out_anything = True
    found = await preflight(options(etcd), a_context(tmp_path))
    assert found.passed is False
    assert "cannot hold" in found.detail
    assert etcd.get("provider") == "postmark"


# --- for people -----------------------------------------------------------------------------------------------------


def test_the_manual_command_shows_references_and_no_secret() -> None:
    command = manual(
        {
            "kind": "etcd",
            "endpoints": ["https://10.0.0.1:2379", "https://10.0.0.2:2379"],
            "prefix": "/mailer/",
            "key": "provider",
            "value": "ses",
            "auth": {"user": "opsdash", "password": "${file:/etc/opsdash/etcd}"},
            "ca": "ca.pem",
            "client_cert": "me.pem",
        }
    )
    assert command == (
        "etcdctl --endpoints https://10.0.0.1:2379,https://10.0.0.2:2379 --cacert ca.pem --cert me.pem --key me.pem"
        ' --user opsdash --password "$(cat /etc/opsdash/etcd)" put -- /mailer/provider ses'
    )


def test_the_abilities_are_those_of_a_transaction() -> None:
    abilities = KIND.abilities
    assert abilities.cas
    assert abilities.idempotent
    assert abilities.read_back
    assert abilities.restores
