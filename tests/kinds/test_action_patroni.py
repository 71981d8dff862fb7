"""Action kind `patroni`: clusters that switch, refuse, disagree, go on by themselves, and servers that are none."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from opsdash.kinds.actions import patroni as kind
from opsdash.kinds.actions.patroni import KIND, NO_LEADER, Options, ReadOptions, apply, manual, preflight, read, undo
from opsdash.kinds.base import ActionContext, ActionResult, Applied, Preflight, Reading
from opsdash.kinds.processes import run_program
from opsdash.kinds.resolver import Resolver
from tests.mechanisms.patroni_standin import Standin

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from tests.kinds.conftest import Authority, LoopbackServer

    Serve = Callable[..., Awaitable[LoopbackServer]]

LOGIN = ("ops", "sesame")
AUTH = {"basic": {"user": "ops", "password": "sesame"}}


@pytest.fixture
def cluster() -> Iterator[Standin]:
    """Three members, of whom pg0 leads."""
    with Standin(login=LOGIN).running() as standin:
        yield standin


def a_context(tmp_path: Path, **changes: Any) -> ActionContext:
    return ActionContext(
        **{
            "action_id": "db-failover-1",
            "deadline": 5.0,
            "workspace": tmp_path,
            "resolver": Resolver(),
            "wall": 1_780_000_000.0,
            **changes,
        }
    )


async def switch(
    cluster: Standin, tmp_path: Path, *, context: ActionContext | None = None, **keys: Any
) -> ActionResult:
    options = Options.model_validate({"urls": cluster.urls, "auth": AUTH, "candidate": "pg1", **keys})
    return await apply(options, context or a_context(tmp_path, expected="pg0"))


async def look(cluster: Standin, tmp_path: Path, **keys: Any) -> Reading:
    return await read(ReadOptions.model_validate({"urls": cluster.urls, **keys}), a_context(tmp_path))


async def could(cluster: Standin, tmp_path: Path, **keys: Any) -> Preflight:
    options = Options.model_validate({"urls": cluster.urls, "auth": AUTH, "candidate": "pg1", **keys})
    found = await preflight(options, a_context(tmp_path))
    assert cluster.posts == [], "a preflight changes nothing"
    return found


@pytest.fixture
def sent() -> list[str]:
    return []


@pytest.fixture
def telling(tmp_path: Path, sent: list[str]) -> Callable[..., ActionContext]:
    """A context that notes when something is sent."""

    def make(**changes: Any) -> ActionContext:
        return a_context(tmp_path, **{"expected": "pg0", "on_sent": lambda: sent.append("sent"), **changes})

    return make


# --- a switchover --------------------------------------------------------------------------------------------------


async def test_the_leader_steps_down_for_the_candidate(
    cluster: Standin, tmp_path: Path, telling: Callable[..., ActionContext], sent: list[str]
) -> None:
    result = await switch(cluster, tmp_path, context=telling())
    assert result.applied is Applied.APPLIED
    assert 'Successfully switched over to "pg1"' in result.detail
    assert result.prior == "pg0"
    assert sent == ["sent"]
    assert cluster.posts == [{"action": "switchover", "to": "pg0", "leader": "pg0", "candidate": "pg1"}]
    assert (await look(cluster, tmp_path)).value == "pg1"


async def test_another_leader_than_the_plan_was_made_for_is_refused_and_nothing_is_sent(
    cluster: Standin, tmp_path: Path, telling: Callable[..., ActionContext], sent: list[str]
) -> None:
    result = await switch(cluster, tmp_path, context=telling(expected="pg2"))
    assert result.applied is Applied.REFUSED
    assert "Patroni says pg0, where pg2 was expected" in result.detail
    assert (sent, cluster.posts) == ([], [])


async def test_who_leads_already_is_not_asked_to_again(
    cluster: Standin, tmp_path: Path, telling: Callable[..., ActionContext], sent: list[str]
) -> None:
    result = await switch(cluster, tmp_path, context=telling(expected="pg2"), candidate="pg0")
    assert (result.applied, result.detail) == (Applied.APPLIED, "pg0 leads already")
    assert (sent, cluster.posts) == ([], [])


async def test_somebody_who_is_faster_is_noticed_by_patroni_itself(cluster: Standin, tmp_path: Path) -> None:
    old = cluster.cluster()
    cluster.change(leader="pg2", members={"pg0": {"sees": old}})
    result = await switch(cluster, tmp_path, urls=cluster.urls[:1])
    assert result.applied is Applied.REFUSED
    assert "412 Precondition Failed: leader name does not match" in result.detail
    assert len(cluster.posts) == 1
    assert cluster.leader == "pg2"


async def test_without_an_expectation_it_steps_down_who_leads_now(cluster: Standin, tmp_path: Path) -> None:
    result = await switch(cluster, tmp_path, context=a_context(tmp_path))
    assert result.applied is Applied.APPLIED
    assert cluster.posts[0]["leader"] == "pg0"


async def test_success_to_another_member_is_told_and_the_next_read_says_who(cluster: Standin, tmp_path: Path) -> None:
    cluster.change(members={"pg1": {"stumbles": True}})
    result = await switch(cluster, tmp_path)
    assert result.applied is Applied.APPLIED
    assert "it went to pg2, not to pg1" in result.detail
    assert (await look(cluster, tmp_path)).value == "pg2"


async def test_what_patroni_drops_is_unknown_until_it_is_looked_at(cluster: Standin, tmp_path: Path) -> None:
    cluster.change(members={"pg1": {"lag": 5 << 20}})
    result = await switch(cluster, tmp_path)
    assert result.applied is Applied.UNKNOWN
    assert "503 Service Unavailable: Switchover failed" in result.detail
    assert (await look(cluster, tmp_path)).value == "pg0"


async def test_what_patroni_no_longer_waits_for_is_unknown_and_comes_about_later(
    cluster: Standin, tmp_path: Path
) -> None:
    cluster.change(looping=False, polls=3)
    result = await switch(cluster, tmp_path)
    assert result.applied is Applied.UNKNOWN
    assert "503 Service Unavailable: Switchover status unknown" in result.detail
    assert (await look(cluster, tmp_path)).value == "pg0"
    cluster.change(looping=True)
    await asyncio.to_thread(cluster.until_led_by, "pg1")
    assert (await look(cluster, tmp_path)).value == "pg1"
    assert len(cluster.posts) == 1


async def test_a_key_that_could_not_be_written_may_have_been_written(cluster: Standin, tmp_path: Path) -> None:
    cluster.change(store="read-only")
    lost = await switch(cluster, tmp_path)
    cluster.change(store="written")
    arrived = await switch(cluster, tmp_path)
    assert (lost.applied, arrived.applied) == (Applied.UNKNOWN, Applied.UNKNOWN)
    assert "failed to write failover key into DCS" in lost.detail
    cluster.change(store="up")
    await asyncio.to_thread(cluster.until_led_by, "pg1")


@pytest.mark.parametrize(
    ("canned", "applied", "words"),
    [
        ({"status": 202, "text": "Switchover scheduled"}, Applied.UNKNOWN, "patronictl flush"),
        ({"status": 500, "text": "oops"}, Applied.UNKNOWN, "500 Internal Server Error: oops"),
        ({"status": 200, "text": "<html>welcome</html>"}, Applied.UNKNOWN, "says nothing of what was done"),
        ({"status": 200, "text": "\x1b]0;evil\x07" + "x" * 100_000}, Applied.UNKNOWN, "says nothing"),
        ({"close": True}, Applied.UNKNOWN, "closed the connection without an answer"),
        ({"close": True, "effect": True}, Applied.UNKNOWN, "after the request had been sent"),
        ({"status": 400, "text": "no"}, Applied.REFUSED, "400 Bad Request: no"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_what_other_answers_are_worth(
    cluster: Standin, tmp_path: Path, canned: dict[str, Any], applied: Applied, words: str
) -> None:
    cluster.change(answers=[canned])
    result = await switch(cluster, tmp_path)
    assert result.applied is applied
    assert words in result.detail
    assert len(result.detail) < 500
    assert "\n" not in result.detail
    assert len(cluster.posts) == 1, "sent once, whatever the answer"


async def test_a_refusal_says_which_condition_the_candidate_fails(cluster: Standin, tmp_path: Path) -> None:
    cluster.change(members={"pg1": {"tags": {"nofailover": True}}})
    result = await switch(cluster, tmp_path)
    assert result.applied is Applied.REFUSED
    assert "no good candidates have been found; pg1 has the tag nofailover" in result.detail


async def test_a_wrong_password_changes_nothing(cluster: Standin, tmp_path: Path) -> None:
    result = await switch(cluster, tmp_path, auth={"basic": {"user": "ops", "password": "wrong-one"}})
    assert result.applied is Applied.REFUSED
    assert "401 Unauthorized: not authenticated; it wants another login" in result.detail
    assert "wrong-one" not in result.detail


# --- no answer -----------------------------------------------------------------------------------------------------


async def test_an_answer_that_does_not_come_leaves_it_unknown(
    cluster: Standin, tmp_path: Path, telling: Callable[..., ActionContext], sent: list[str]
) -> None:
    cluster.change(answers=[{"hang": True, "effect": True}])
    result = await switch(cluster, tmp_path, context=telling(deadline=2.0))
    assert result.applied is Applied.UNKNOWN
    assert "no answer in time (first_byte), after the request had been sent" in result.detail
    assert sent == ["sent"]
    assert cluster.leader == "pg1"
    assert len(cluster.posts) == 1


async def test_cancelling_after_it_was_sent_has_told_so_before(
    cluster: Standin, tmp_path: Path, telling: Callable[..., ActionContext], sent: list[str]
) -> None:
    cluster.change(answers=[{"hang": True}])
    task = asyncio.ensure_future(switch(cluster, tmp_path, context=telling()))
    await asyncio.to_thread(cluster.until, lambda: bool(cluster.posts))
    assert sent == ["sent"]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_members_that_do_not_answer_are_passed_over_and_it_is_sent_once(cluster: Standin, tmp_path: Path) -> None:
    cluster.change(ttl=0.0, members={"pg0": {"frozen": True}, "pg2": {"alive": False}})
    await asyncio.to_thread(cluster.until_led_by, "pg1")
    cluster.change(members={"pg2": {"alive": True}})
    await asyncio.to_thread(cluster.until_led_by, "pg1")
    context = a_context(tmp_path, expected="pg1")
    result = await switch(cluster, tmp_path, context=context, candidate="pg2")
    assert result.applied is Applied.APPLIED
    assert [post["to"] for post in cluster.posts] == ["pg1"]


async def test_where_nobody_answers_nothing_was_sent(
    cluster: Standin, tmp_path: Path, telling: Callable[..., ActionContext], sent: list[str]
) -> None:
    cluster.change(members={name: {"alive": False} for name in cluster.members})
    result = await switch(cluster, tmp_path, context=telling())
    assert result.applied is Applied.NOT_STARTED
    assert result.detail.count("connection refused") == 3
    assert sent == []


async def test_where_the_store_cannot_be_read_nothing_was_sent(
    cluster: Standin, tmp_path: Path, telling: Callable[..., ActionContext], sent: list[str]
) -> None:
    cluster.change(store="down")
    result = await switch(cluster, tmp_path, context=telling())
    assert result.applied is Applied.NOT_STARTED
    assert "closed the connection without an answer" in result.detail
    assert sent == []


async def test_a_member_that_breaks_off_before_anything_was_sent_leaves_it_to_the_next(
    cluster: Standin, tmp_path: Path, serve: Serve, http_answer: Callable[..., bytes]
) -> None:
    said = http_answer(json.dumps(cluster.cluster()))

    async def once(server: LoopbackServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        assert server.listener is not None
        server.listener.close()  # the next connection is refused
        writer.write(said)
        await writer.drain()

    going = await serve(once)
    result = await switch(cluster, tmp_path, urls=[f"http://{going.origin}", *cluster.urls[1:]])
    assert result.applied is Applied.APPLIED
    assert [post["to"] for post in cluster.posts] == ["pg1"]


async def test_a_member_that_falls_silent_before_anything_was_sent_leaves_time_for_the_next(
    cluster: Standin, tmp_path: Path, serve: Serve, http_answer: Callable[..., bytes]
) -> None:
    said = http_answer(json.dumps(cluster.cluster()))
    with contextlib.ExitStack() as silence:

        async def once(server: LoopbackServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            assert server.listener is not None
            server.listener.close()
            silence.enter_context(deaf(server.port))
            writer.write(said)
            await writer.drain()

        going = await serve(once)
        urls = [f"http://{going.origin}", *cluster.urls[1:]]
        context = a_context(tmp_path, expected="pg0", deadline=3.0)
        result = await switch(cluster, tmp_path, urls=urls, context=context)
    assert result.applied is Applied.APPLIED, result
    assert [post["to"] for post in cluster.posts] == ["pg1"]


@contextlib.contextmanager
def deaf(port: int = 0) -> Iterator[int]:
    """A port that somebody listens on, and nobody accepts from: the kernel answers no more."""
    with socket.socket() as listener, contextlib.ExitStack() as waiting:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(0)
        for _ in range(3):  # fills the queue
            other = waiting.enter_context(socket.socket())
            other.setblocking(False)
            other.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


async def test_a_member_that_never_accepts_is_passed_over(cluster: Standin, tmp_path: Path) -> None:
    with deaf() as port:
        urls = [f"http://127.0.0.1:{port}", *cluster.urls]
        assert (await switch(cluster, tmp_path, urls=urls)).applied is Applied.APPLIED
    assert [post["to"] for post in cluster.posts] == ["pg0"]


# --- without a leader ----------------------------------------------------------------------------------------------


async def leaderless(cluster: Standin) -> None:
    """The leader dies while the cluster is paused, so that nobody follows."""
    cluster.change(paused=True, ttl=0.0, members={"pg0": {"alive": False}})
    await asyncio.to_thread(cluster.until_led_by, None)
    await asyncio.to_thread(cluster.until, lambda: not cluster.lists("pg0"))


async def test_without_a_leader_nothing_is_done_unless_that_was_decided(
    cluster: Standin, tmp_path: Path, telling: Callable[..., ActionContext], sent: list[str]
) -> None:
    await leaderless(cluster)
    reading = await look(cluster, tmp_path)
    assert (reading.value, reading.serving) == (NO_LEADER, ())
    result = await switch(cluster, tmp_path, context=telling(expected=reading.value))
    assert result.applied is Applied.REFUSED
    assert "no leader to switch over from" in result.detail
    assert (sent, cluster.posts) == ([], [])


async def test_where_it_was_decided_the_candidate_is_promoted_as_it_is(cluster: Standin, tmp_path: Path) -> None:
    cluster.change(members={"pg1": {"lag": 5 << 20}})
    await leaderless(cluster)
    context = a_context(tmp_path, expected=NO_LEADER)
    result = await switch(cluster, tmp_path, context=context, when_leader_is_gone="failover")
    assert result.applied is Applied.APPLIED
    assert 'Successfully failed over to "pg1"' in result.detail
    assert cluster.posts == [{"action": "failover", "to": "pg1", "candidate": "pg1"}]
    reading = await look(cluster, tmp_path)
    assert (reading.value, reading.serving) == ("pg1", ("pg1",))
    assert "paused" in reading.detail


async def test_a_leader_that_is_back_is_not_failed_over_from(cluster: Standin, tmp_path: Path) -> None:
    context = a_context(tmp_path, expected=NO_LEADER)
    result = await switch(cluster, tmp_path, context=context, when_leader_is_gone="failover")
    assert result.applied is Applied.REFUSED
    assert "Patroni says pg0, where no leader was expected" in result.detail
    assert cluster.posts == []


async def test_a_leader_that_is_dead_and_still_holds_the_lock_is_switched_over_from(
    cluster: Standin, tmp_path: Path
) -> None:
    cluster.change(ttl=60.0, polls=100, members={"pg0": {"alive": False}})
    switching = asyncio.ensure_future(switch(cluster, tmp_path, candidate="pg2"))
    await asyncio.to_thread(cluster.until, lambda: cluster.failover is not None)
    cluster.change(ttl=0.0)
    result = await switching
    assert result.applied is Applied.APPLIED, result.detail
    assert cluster.posts[0]["action"] == "switchover"
    assert cluster.leader == "pg2", "it waited for the lock, and for nobody else"


# --- reading -------------------------------------------------------------------------------------------------------


async def test_who_leads_and_who_accepts_writes(cluster: Standin, tmp_path: Path) -> None:
    assert await look(cluster, tmp_path) == Reading("pg0", version="1", serving=("pg0",))
    assert cluster.posts == []
    assert all(asked.startswith("GET ") for _, asked, _ in cluster.requests)


async def test_two_primaries_are_seen(cluster: Standin, tmp_path: Path) -> None:
    cluster.change(paused=True, members={"pg2": {"postgres": "primary", "state": "running"}})
    reading = await look(cluster, tmp_path)
    assert (reading.value, reading.serving) == ("pg0", ("pg0", "pg2"))


async def test_of_a_member_that_does_not_answer_nobody_can_tell_until_its_key_has_expired(
    cluster: Standin, tmp_path: Path
) -> None:
    cluster.change(ttl=60.0, members={"pg0": {"alive": False}})
    reading = await look(cluster, tmp_path)
    assert (reading.value, reading.serving) == ("pg0", None)
    assert "whether pg0 accepts writes is not known: 127.0.0.1" in reading.detail
    assert "connection refused" in reading.detail
    cluster.change(ttl=0.0)
    await asyncio.to_thread(cluster.until_led_by, "pg1")
    await asyncio.to_thread(cluster.until, lambda: not cluster.lists("pg0"))
    reading = await look(cluster, tmp_path)
    assert (reading.value, reading.serving) == ("pg1", ("pg1",))


async def test_a_member_that_hangs_does_not_hold_up_the_others(
    cluster: Standin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kind, "LATE", 0.2)
    monkeypatch.setattr(kind, "SURVEY", 60.0)
    cluster.change(ttl=60.0, members={"pg2": {"frozen": True}})
    async with asyncio.timeout(30):
        reading = await read(ReadOptions.model_validate({"urls": cluster.urls}), a_context(tmp_path, deadline=90.0))
    assert (reading.value, reading.serving) == ("pg0", None)
    assert "no answer in time" in reading.detail


async def test_members_that_disagree_name_nobody(
    cluster: Standin, tmp_path: Path, telling: Callable[..., ActionContext], sent: list[str]
) -> None:
    old = cluster.cluster()
    await switch(cluster, tmp_path)
    cluster.change(posts=[], members={"pg2": {"sees": old}})
    reading = await look(cluster, tmp_path)
    assert reading.value is None
    places = [url.removeprefix("http://") for url in cluster.urls]
    for place, leader in zip(places, ("pg1", "pg1", "pg0"), strict=True):
        assert f"{place} says {leader}" in reading.detail
    result = await switch(cluster, tmp_path, context=telling(expected="pg1"), candidate="pg2")
    assert result.applied is Applied.REFUSED
    assert "disagree" in result.detail
    assert (sent, cluster.posts) == ([], [])
    assert (await could(cluster, tmp_path, candidate="pg2")).passed is False


async def test_urls_of_two_clusters_are_noticed(cluster: Standin, tmp_path: Path) -> None:
    cluster.change(members={"pg2": {"sees": {**cluster.cluster(), "scope": "other"}}})
    reading = await look(cluster, tmp_path)
    assert reading.value is None
    assert "different clusters" in reading.detail
    assert "says other" in reading.detail


async def test_members_beyond_urls_are_asked_at_their_own_address_and_never_see_the_password(
    cluster: Standin, tmp_path: Path
) -> None:
    cluster.change(paused=True, members={"pg2": {"postgres": "primary", "state": "running"}})
    reading = await look(cluster, tmp_path, urls=cluster.urls[:1], auth=AUTH)
    assert reading.serving == ("pg0", "pg2")
    with_login = {name: logged_in for name, _, logged_in in cluster.requests}
    assert with_login == {"pg0": True, "pg1": False, "pg2": False}


async def test_a_patroni_that_does_not_tell_its_name_is_known_by_its_address(tmp_path: Path) -> None:
    with Standin(name_in_status=False).running() as cluster:
        cluster.change(paused=True, members={"pg2": {"postgres": "primary", "state": "running"}})
        assert (await look(cluster, tmp_path)).serving == ("pg0", "pg2")
        assert (await look(cluster, tmp_path, urls=cluster.urls[1:2])).serving == ("pg0", "pg2")


async def test_in_a_standby_cluster_nobody_accepts_writes(cluster: Standin, tmp_path: Path) -> None:
    said = cluster.cluster()
    said["members"][0]["role"] = "standby_leader"
    cluster.change(
        leader=None,
        looping=False,
        members={
            "pg0": {"postgres": "standby_leader", "sees": said},
            "pg1": {"sees": said},
            "pg2": {"sees": said},
        },
    )
    reading = await look(cluster, tmp_path)
    assert (reading.value, reading.serving) == ("pg0", ())
    assert "standby cluster" in reading.detail


async def test_an_address_that_is_none_leaves_it_unknown(cluster: Standin, tmp_path: Path) -> None:
    said = cluster.cluster()
    said["members"].append({"name": "pg9", "role": "replica", "state": "running", "api_url": "file:///etc/passwd"})
    cluster.change(members={"pg0": {"sees": said}})
    reading = await look(cluster, tmp_path, urls=cluster.urls[:1])
    assert (reading.value, reading.serving) == ("pg0", None)
    assert "its api_url 'file:///etc/passwd' is none" in reading.detail


async def drip(_: LoopbackServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.0 200 OK\r\n\r\n")
    while True:
        writer.write(b"[")
        await writer.drain()
        await asyncio.sleep(0.02)


async def hang(_: LoopbackServer, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def close(_: LoopbackServer, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (b"\x00\xff garbage\r\n\r\n", "no valid HTTP"),
        (b"HTTP/1.0 200 OK\r\n\r\n", "no JSON"),
        (b"HTTP/1.0 200 OK\r\n\r\n{}", "not what Patroni says of a cluster"),
        (b"HTTP/1.0 200 OK\r\n\r\n" + b"[" * 50_000, "no JSON"),
        (b"HTTP/1.0 200 OK\r\n\r\n" + b" " * 100_000, "longer than 64 KiB"),
        (b"HTTP/1.0 404 Not Found\r\n\r\nnothing\nhere", "404 Not Found: nothing here"),
        (b'HTTP/1.0 200 OK\r\n\r\n{"members": [{"name": "\\ud800"}, {"name": "\\ud800"}]}', "names a member twice"),
        (drip, "no answer in time"),
        (hang, "no answer in time"),
        (close, "closed the connection without an answer"),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)[:30]),
)
async def test_what_is_no_patroni_says_nothing(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, behaviour: Any, words: str
) -> None:
    monkeypatch.setattr(kind, "SURVEY", 0.3)
    server = await serve(behaviour)
    url = f"http://{server.origin}"
    reading = await read(ReadOptions.model_validate({"urls": [url]}), a_context(tmp_path))
    assert reading.value is None
    assert words in reading.detail
    assert len(reading.detail) < 400
    options = Options.model_validate({"urls": [url], "candidate": "pg1"})
    result = await apply(options, a_context(tmp_path, expected="pg0"))
    assert result.applied is Applied.NOT_STARTED
    assert (await preflight(options, a_context(tmp_path))).passed is False


async def test_over_tls_the_authority_has_to_be_the_right_one(
    cluster: Standin, tmp_path: Path, serve: Serve, authority: Authority, http_answer: Callable[..., bytes]
) -> None:
    server = await serve(http_answer(json.dumps(cluster.cluster())), tls=authority.server())
    url = f"https://localhost:{server.port}"
    trusting = ReadOptions.model_validate({"urls": [url], "ca": "ca.pem"})
    assert (await read(trusting, a_context(tmp_path))).value == "pg0"
    doubting = await read(ReadOptions.model_validate({"urls": [url]}), a_context(tmp_path))
    assert doubting.value is None
    assert "certificate" in doubting.detail
    careless = ReadOptions.model_validate({"urls": [url], "verify_tls": False})
    assert (await read(careless, a_context(tmp_path))).value == "pg0"


# --- preflight -----------------------------------------------------------------------------------------------------


async def test_a_good_candidate_and_a_good_login_pass(cluster: Standin, tmp_path: Path) -> None:
    assert await could(cluster, tmp_path) == Preflight(True, "pg1 is streaming, 0 bytes behind pg0", True)
    assert cluster.probes == 1
    assert cluster.leader == "pg0"


@pytest.mark.parametrize(
    ("knobs", "passed", "words"),
    [
        ({"members": {"pg1": {"tags": {"nofailover": True}}}}, False, "pg1 has the tag nofailover"),
        ({"members": {"pg1": {"tags": {"failover_priority": 0}}}}, False, "pg1 has the tag nofailover"),
        ({"members": {"pg1": {"watchdog_failed": True}}}, False, "no working watchdog"),
        ({"members": {"pg1": {"lag": 5 << 20}}}, False, "pg1 lags 5 MiB behind, 1 MiB is the limit"),
        ({"members": {"pg1": {"lag": 1500}}}, True, "pg1 is streaming, 1.5 KiB behind pg0"),
        ({"members": {"pg1": {"lag": None}}}, None, "how far pg1 lags behind is not known"),
        ({"members": {"pg1": {"state": "start failed"}}}, False, "pg1 is start failed"),
        ({"members": {"pg1": {"state": "in archive recovery"}}}, None, "replays the archive"),
        ({"members": {"pg1": {"alive": False}}}, False, "pg1 does not answer, so Patroni would not promote it"),
        ({"members": {"pg0": {"timeline": 7}}, "timeline": 7, "looping": False}, None, "is on timeline 1, the leader"),
        ({"members": {"pg1": {"says": "starting"}}}, False, "pg1 is starting by now"),
        ({"members": {"pg1": {"says": "unknown"}}}, None, "Patroni on pg1 could not ask its PostgreSQL"),
        ({"paused": True}, True, "in maintenance mode (paused)"),
        ({"synchronous": "on", "sync_standbys": ["pg1"]}, True, "pg1 is streaming"),
        ({"synchronous": "on", "sync_standbys": ["pg2"]}, False, "not the synchronous standby (pg2 is); Patroni"),
        ({"synchronous": "on"}, False, "not the synchronous standby (nobody is)"),
        ({"synchronous": "quorum", "sync_standbys": ["pg2"]}, True, "pg1 is streaming"),
        (
            {"scheduled": {"at": "2026-12-31T00:00:00+00:00"}},
            False,
            "a switchover from the leader to any member at 2026",
        ),
        (
            {"paused": True, "members": {"pg1": {"postgres": "primary", "state": "running"}}},
            False,
            "pg1 accepts writes, while Patroni says pg0: two primaries",
        ),
        ({"members": {"pg2": {"alive": False}}}, True, "connection refused"),
        ({"store": "down"}, False, "no member answers"),
    ],
    ids=lambda value: str(value)[:50],
)
async def test_what_patroni_would_look_at_is_told_with_its_reason(
    cluster: Standin, tmp_path: Path, knobs: dict[str, Any], passed: bool | None, words: str
) -> None:
    cluster.change(ttl=60.0, **knobs)
    found = await could(cluster, tmp_path)
    assert found.passed is passed, found.detail
    assert words in found.detail


async def test_a_candidate_that_is_no_member_or_leads_already(cluster: Standin, tmp_path: Path) -> None:
    stranger = await could(cluster, tmp_path, candidate="pg9")
    assert stranger.passed is False
    assert "pg9 is no member of demo; there are: pg0, pg1, pg2" in stranger.detail
    assert await could(cluster, tmp_path, candidate="pg0") == Preflight(True, "pg0 leads already", True)


async def test_without_a_leader_the_preflight_says_what_would_be_lost(cluster: Standin, tmp_path: Path) -> None:
    await leaderless(cluster)
    refusing = await could(cluster, tmp_path)
    assert refusing.passed is False
    assert "no leader to switch over from" in refusing.detail
    decided = await could(cluster, tmp_path, when_leader_is_gone="failover")
    assert decided.passed is True
    assert "what it has not received is lost" in decided.detail
    cluster.change(members={"pg1": {"lag": 5 << 20}})
    assert (await could(cluster, tmp_path, when_leader_is_gone="failover")).passed is False
    far = await could(cluster, tmp_path, when_leader_is_gone="failover", max_lag="16MiB")
    assert far.passed is True
    cluster.change(members={"pg2": {"postgres": "primary", "state": "running"}})
    split = await could(cluster, tmp_path, when_leader_is_gone="failover", max_lag="16MiB")
    assert split.passed is False
    assert "pg2 accepts writes, while Patroni says no leader" in split.detail


async def test_patronis_own_limit_counts_where_it_is_smaller(cluster: Standin, tmp_path: Path) -> None:
    cluster.change(members={"pg1": {"lag": 5 << 20}})
    found = await could(cluster, tmp_path, max_lag="16MiB")
    assert found.passed is False
    assert "1 MiB is the limit" in found.detail


async def test_a_longer_loop_than_was_said_is_told(cluster: Standin, tmp_path: Path) -> None:
    found = await could(cluster, tmp_path, loop_wait="5s", ttl="20s")
    assert found.passed is True
    assert "Patroni's loop_wait is 10 s, longer than `loop_wait` says" in found.detail
    assert "Patroni's ttl is 30 s, longer than `ttl` says" in found.detail


@pytest.mark.parametrize(
    ("auth", "admitted", "words"),
    [
        (AUTH, True, "streaming"),
        (None, False, "401 Unauthorized: no auth header received"),
        ({"basic": {"user": "ops", "password": "wrong-one"}}, False, "401 Unauthorized: not authenticated"),
    ],
)
async def test_the_login_is_tried_by_a_request_that_can_do_nothing(
    cluster: Standin, tmp_path: Path, auth: Any, admitted: bool, words: str
) -> None:
    found = await could(cluster, tmp_path, auth=auth)
    assert (found.passed, found.credentials) == (admitted, admitted)
    assert words in found.detail
    assert cluster.probes == (1 if admitted else 0)


async def test_a_login_that_cannot_be_tried_is_not_known(
    cluster: Standin, tmp_path: Path, serve: Serve, http_answer: Callable[..., bytes]
) -> None:
    server = await serve(http_answer(json.dumps(cluster.cluster())))
    found = await could(cluster, tmp_path, urls=[f"http://{server.origin}"])
    assert (found.passed, found.credentials) == (None, None)
    assert "whether the login is accepted is not known" in found.detail


# --- for people, and at load ---------------------------------------------------------------------------------------


async def test_the_manual_command_does_the_same_as_the_action(cluster: Standin, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("sesame")
    raw = {
        "urls": cluster.urls,
        "auth": {"basic": {"user": "ops", "password": "${file:password}"}},
        "candidate": "pg1",
        "when_leader_is_gone": "failover",
    }
    finished = await run_program(["bash", "-c", manual(raw)], cwd=tmp_path, timeout=20)
    assert finished.exit_code == 0, finished.stderr
    assert finished.stdout == 'Successfully switched over to "pg1"'
    assert cluster.posts == [{"action": "switchover", "to": "pg0", "leader": "pg0", "candidate": "pg1"}]


def test_the_manual_command_is_one_line_with_references() -> None:
    raw = {
        "urls": ["https://a.example:8008/"],
        "auth": {"basic": {"user": "ops", "password": "${PATRONI_PASSWORD}"}},
        "candidate": "it's",
        "ca": "ca.pem",
    }
    command = manual(raw)
    assert '"$PATRONI_PASSWORD"' in command
    assert command.count("--cacert ca.pem") == 2
    assert command.endswith(" https://a.example:8008/switchover")
    assert "\n" not in command, "a plan shows it on one line"


def test_what_was_there_is_put_back_by_another_switchover() -> None:
    raw = {"urls": ["https://a.example:8008"], "candidate": "pg1"}
    assert undo(raw, "pg0") == {**raw, "candidate": "pg0"}


def test_abilities_follow_the_options() -> None:
    keys = {"urls": ["http://x:8008"], "candidate": "pg1"}
    careful = KIND.abilities_with(Options.model_validate({**keys, "loop_wait": "5s"}))
    assert careful.cas
    assert careful.settle == 40.0
    assert KIND.abilities_with(Options.model_validate({**keys, "ttl": "50s"})).settle == 70.0
    assert KIND.abilities == KIND.abilities_with(Options.model_validate(keys))
    assert not KIND.abilities_with(Options.model_validate({**keys, "when_leader_is_gone": "failover"})).cas


def test_secrets_are_not_shown() -> None:
    keys = {"urls": ["http://x:8008"], "candidate": "pg1", "auth": AUTH}
    assert "sesame" not in repr(Options.model_validate(keys))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"urls": []}, "at least 1 item"),
        ({"urls": ["x:8008"]}, "http:// or https://"),
        ({"urls": ["http://x:8008/patroni"]}, "https://host:port alone"),
        ({"urls": ["http://ops:pw@x:8008"]}, "put them under `auth`"),
        ({"candidate": ""}, "at least 1 character"),
        ({"when_leader_is_gone": "promote"}, "'refuse' or 'failover'"),
        ({"max_lag": "far"}, "no size"),
        ({"loop_wait": 10}, "no duration"),
        ({"auth": {"bearer": "x"}}, "basic"),
        ({"client_key": "key.pem"}, "without `client_cert`"),
        ({"leader": "pg0"}, "Extra inputs"),
    ],
)
def test_options_that_cannot_work_are_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Options.model_validate({"urls": ["http://x:8008"], "candidate": "pg1", **keys})
