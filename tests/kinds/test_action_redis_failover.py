"""Action kind `redis_failover`: groups that hand over, refuse, hang, lie, and fall apart."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from opsdash.kinds.actions.redis_failover import KIND, Options, ReadOptions, apply, manual, preflight, read, undo
from opsdash.kinds.base import ActionContext, ActionResult, Applied, Preflight, Reading
from opsdash.kinds.processes import run_program
from opsdash.kinds.resolver import Resolver
from tests.kinds.fake_redis import (
    CLOSE,
    HANG,
    HELLO,
    OK,
    Fake,
    No,
    Raw,
    Word,
    a_node,
    info,
    master,
    slave,
    started,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Trio:
    """A primary `a` and its replicas `b` and `c`, which obey as Redis does."""

    def __init__(self, a: Fake, b: Fake, c: Fake) -> None:
        self.a, self.b, self.c = a, b, c
        a.replies |= {"ROLE": master(b, c), "FAILOVER": self._hand_over}
        b.replies |= {"ROLE": slave(a), "REPLICAOF NO ONE": self._promote}
        c.replies |= {"ROLE": slave(a)}

    @property
    def nodes(self) -> list[Fake]:
        return [self.a, self.b, self.c]

    def _hand_over(self, _: list[str]) -> Word:
        self.a.replies["ROLE"] = slave(self.b)
        self.b.replies["ROLE"] = master(self.a)
        return OK

    def _promote(self, _: list[str]) -> Word:
        self.b.replies["ROLE"] = master()
        return OK

    @property
    def changes(self) -> list[list[str]]:
        return [node.changes for node in self.nodes]


UNTOUCHED: list[list[str]] = [[], [], []]


@pytest.fixture
async def trio(serve: Callable[..., Any]) -> Trio:
    return Trio(*[await started(a_node(), serve) for _ in range(3)])


def a_context(folder: Path, **keys: Any) -> ActionContext:
    keys = {"deadline": 10.0, "resolver": Resolver(), **keys}
    return ActionContext("orders:failover:7", workspace=folder, wall=0.0, **keys)


def options(trio: Trio, **keys: Any) -> Options:
    return Options.model_validate({"nodes": [node.name for node in trio.nodes], "target": trio.b.name, **keys})


async def switch(trio: Trio, folder: Path, *, context: ActionContext | None = None, **keys: Any) -> ActionResult:
    return await apply(options(trio, **keys), context or a_context(folder, expected=trio.a.name))


async def look(trio: Trio, folder: Path, **keys: Any) -> Reading:
    return await read(ReadOptions(nodes=tuple(node.name for node in trio.nodes)), a_context(folder, **keys))


async def ask(trio: Trio, folder: Path, **keys: Any) -> Preflight:
    return await preflight(options(trio, **keys), a_context(folder, deadline=5.0))


async def dead(serve: Callable[..., Any], node: Fake) -> None:
    """Somebody has taken its port and does not listen."""
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    node.port = taken.getsockname()[1]
    taken.close()


# --- handing over ------------------------------------------------------------------------------------------------


async def test_the_primary_is_told_once_and_the_group_follows(trio: Trio, tmp_path: Path) -> None:
    sent: list[int] = []
    context = a_context(tmp_path, expected=trio.a.name, on_sent=lambda: sent.append(trio.a.got("FAILOVER")))
    result = await switch(trio, tmp_path, context=context)
    assert result.applied is Applied.APPLIED, result
    assert f"{trio.b.name} is the primary, {trio.a.name} follows it" in result.detail
    assert result.prior == trio.a.name
    assert sent == [0], "told before it left"
    assert trio.changes == [
        [f"FAILOVER TO 127.0.0.1 {trio.b.port} TIMEOUT 5000", "CONFIG REWRITE"],
        ["CONFIG REWRITE"],
        [f"REPLICAOF 127.0.0.1 {trio.b.port}", "CONFIG REWRITE"],
    ]


async def test_the_files_are_left_alone_where_that_is_wanted(trio: Trio, tmp_path: Path) -> None:
    assert (await switch(trio, tmp_path, persist=False)).applied is Applied.APPLIED
    assert trio.changes[1] == []


async def test_what_did_not_work_afterwards_is_told(trio: Trio, tmp_path: Path) -> None:
    trio.c.replies["REPLICAOF"] = No("NOPERM no permissions")
    trio.a.replies["CONFIG REWRITE"] = trio.b.replies["CONFIG REWRITE"] = No(
        "ERR The server is running without a config file"
    )
    result = await switch(trio, tmp_path)
    assert result.applied is Applied.APPLIED
    assert f"not pointed to the new primary: NOPERM no permissions (on {trio.c.name})" in result.detail
    assert f"without a config file (on {trio.a.name}, {trio.b.name})" in result.detail


async def test_who_is_the_primary_already_is_left_alone(trio: Trio, tmp_path: Path) -> None:
    trio._hand_over([])
    trio.c.replies["ROLE"] = slave(trio.a)  # a chain is an agreement
    result = await switch(trio, tmp_path)
    assert result.applied is Applied.APPLIED
    assert "already" in result.detail
    assert trio.changes == UNTOUCHED


@pytest.mark.parametrize("expected", ["c", "b"])
async def test_another_primary_than_expected_is_left_alone(trio: Trio, tmp_path: Path, expected: str) -> None:
    trio.a.replies["ROLE"], trio.b.replies["ROLE"] = slave(trio.c), slave(trio.c)
    trio.c.replies["ROLE"] = master(trio.a, trio.b)
    sent: list[str] = []
    name = {"c": trio.a.name, "b": trio.b.name}[expected]
    result = await switch(
        trio, tmp_path, context=a_context(tmp_path, expected=name, on_sent=lambda: sent.append("sent"))
    )
    assert result.applied is Applied.REFUSED
    assert f"the primary is {trio.c.name}, where {name} was expected" in result.detail
    assert trio.changes == UNTOUCHED
    assert sent == []


async def test_without_an_expectation_whoever_is_the_primary_hands_over(trio: Trio, tmp_path: Path) -> None:
    result = await switch(trio, tmp_path, context=a_context(tmp_path))
    assert result.applied is Applied.APPLIED
    assert result.prior == trio.a.name


@pytest.mark.parametrize(
    ("reply", "applied"),
    [
        (No("ERR FAILOVER not allowed in cluster mode."), Applied.REFUSED),
        (No("ERR FAILOVER already in progress."), Applied.REFUSED),
        (No("ERR FAILOVER is not valid when server is a replica."), Applied.REFUSED),
        (No("ERR FAILOVER requires connected replicas."), Applied.REFUSED),
        (No("ERR FAILOVER target HOST and PORT is not a replica."), Applied.REFUSED),
        (No("ERR FAILOVER target replica is not online."), Applied.REFUSED),
        (No("ERR unknown command 'FAILOVER', with args beginning with: "), Applied.REFUSED),
        (No("ERR syntax error"), Applied.REFUSED),
        (No("NOPERM this user has no permissions to run the 'failover' command"), Applied.REFUSED),
        (No("NOAUTH Authentication required."), Applied.REFUSED),
        (No("LOADING Redis is loading the dataset in memory"), Applied.REFUSED),
        (No("BUSY Redis is busy running a script."), Applied.REFUSED),
        (No("READONLY You can't write against a read only replica."), Applied.REFUSED),
        (No("INPROG Failover already in progress"), Applied.REFUSED),
        (No("NOREPLICAS Not enough good replicas to write."), Applied.REFUSED),
        (No("ERR something that nobody has heard of"), Applied.UNKNOWN),
        (No("FAILOVER requires connected replicas."), Applied.UNKNOWN),
        (No("WAT"), Applied.UNKNOWN),
        (Word("QUEUED"), Applied.UNKNOWN),
        (7, Applied.UNKNOWN),
        ([OK, OK], Applied.UNKNOWN),
        (Raw(b"HTTP/1.1 200 OK\r\n\r\n"), Applied.UNKNOWN),
        (Raw(b"$99999999\r\n"), Applied.UNKNOWN),
        (Raw(b"+O", then=CLOSE), Applied.UNKNOWN),
        (CLOSE, Applied.UNKNOWN),
    ],
)
async def test_what_an_answer_to_failover_is_worth(trio: Trio, tmp_path: Path, reply: Any, applied: Applied) -> None:
    trio.a.replies["FAILOVER"] = reply
    result = await switch(trio, tmp_path)
    assert result.applied is applied, result
    assert trio.a.got("FAILOVER") == 1, "sent once, whatever the answer"
    assert trio.changes == [[f"FAILOVER TO 127.0.0.1 {trio.b.port} TIMEOUT 5000"], [], []]
    assert "\n" not in result.detail
    assert len(result.detail) < 500


async def test_no_answer_to_failover_is_unknown_in_time_and_a_person_is_told_the_way_back(
    trio: Trio, tmp_path: Path
) -> None:
    trio.a.replies["FAILOVER"] = HANG
    sent: list[str] = []
    context = a_context(tmp_path, expected=trio.a.name, deadline=1.6, on_sent=lambda: sent.append("sent"))
    async with asyncio.timeout(1.6):
        result = await switch(trio, tmp_path, context=context)
    assert result.applied is Applied.UNKNOWN
    assert "no answer in time" in result.detail
    assert f"FAILOVER ABORT on {trio.a.name}" in result.detail
    assert sent == ["sent"]
    assert trio.a.heard[-1][:2] == ["FAILOVER", "TO"], "nothing follows, least of all an abort"


async def test_a_hand_over_that_does_not_end_is_unknown_and_is_not_aborted(trio: Trio, tmp_path: Path) -> None:
    trio.a.replies |= {"FAILOVER": OK, "INFO replication": info("waiting-for-sync")}
    result = await switch(trio, tmp_path, context=a_context(tmp_path, deadline=1.6))
    assert result.applied is Applied.UNKNOWN
    assert "waiting-for-sync" in result.detail
    assert trio.a.got("FAILOVER") == 1
    assert trio.a.got("FAILOVER", "ABORT") == 0


async def test_a_target_that_does_not_take_the_role_leaves_it_unknown(trio: Trio, tmp_path: Path) -> None:
    def half(_: list[str]) -> Word:
        trio.a.replies["ROLE"] = slave(trio.b, "connect")
        return OK  # and stays there

    trio.a.replies["FAILOVER"] = half
    result = await switch(trio, tmp_path, context=a_context(tmp_path, deadline=1.6))
    assert result.applied is Applied.UNKNOWN
    assert f"{trio.b.name} has not taken it" in result.detail


async def test_a_primary_that_gives_up_by_itself_has_changed_nothing(trio: Trio, tmp_path: Path) -> None:
    trio.a.replies["FAILOVER"] = OK  # and its state is no-failover, and it is the primary
    result = await switch(trio, tmp_path)
    assert result.applied is Applied.REFUSED
    assert "gave up by itself" in result.detail


@pytest.mark.parametrize("asked", [1, 2, 3])
async def test_a_hand_over_that_ends_between_two_questions_is_no_giving_up(
    trio: Trio, tmp_path: Path, asked: int
) -> None:
    def begin(_: list[str]) -> Word:
        questions = 0

        def while_it_goes_on(words: list[str]) -> Any:
            nonlocal questions
            questions += 1
            if questions > asked:
                trio._hand_over([])
                trio.a.replies["INFO replication"] = info("no-failover", "slave")
            if words[0] == "INFO":
                return info("no-failover", "slave") if questions > asked else info("waiting-for-sync")
            return slave(trio.b) if questions > asked else master(trio.b, trio.c)

        trio.a.replies |= {"ROLE": while_it_goes_on, "INFO replication": while_it_goes_on}
        return OK

    trio.a.replies["FAILOVER"] = begin
    assert (await switch(trio, tmp_path)).applied is Applied.APPLIED


async def test_without_a_look_at_its_state_it_is_waited_for_and_never_said_to_have_given_up(
    trio: Trio, tmp_path: Path
) -> None:
    trio.a.replies |= {"INFO replication": No("NOPERM no"), "FAILOVER": OK}
    result = await switch(trio, tmp_path, context=a_context(tmp_path, deadline=1.6))
    assert result.applied is Applied.UNKNOWN
    trio.a.replies["FAILOVER"] = trio._hand_over
    assert (await switch(trio, tmp_path)).applied is Applied.APPLIED


async def test_a_node_that_breaks_while_it_hands_over_leaves_it_unknown(trio: Trio, tmp_path: Path) -> None:
    def begin(_: list[str]) -> Word:
        trio.a.replies["INFO replication"] = Raw(b"$300\r\nrole:mas", then=CLOSE)
        return OK

    trio.a.replies["FAILOVER"] = begin
    result = await switch(trio, tmp_path)
    assert result.applied is Applied.UNKNOWN
    assert "in the middle of its reply" in result.detail


async def test_with_too_little_time_nothing_is_begun(trio: Trio, tmp_path: Path) -> None:
    result = await switch(trio, tmp_path, context=a_context(tmp_path, deadline=1.0))
    assert result.applied is Applied.NOT_STARTED
    assert trio.changes == UNTOUCHED


async def test_writes_wait_no_longer_than_the_deadline_allows(trio: Trio, tmp_path: Path) -> None:
    await switch(trio, tmp_path, context=a_context(tmp_path, deadline=3.0))
    assert 1000 < int(_failover(trio.a)[-1]) <= 2000


def _failover(node: Fake) -> list[str]:
    return next(words for words in node.heard if words[0] == "FAILOVER")


# --- a target that cannot take over ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda t: t.b.replies.update(ROLE=slave(t.a, "sync")), "its link to .* is in state 'sync'"),
        (lambda t: t.b.replies.update(ROLE=slave(t.c)), "it follows .*, and .* is the primary"),
        (lambda t: t.b.replies.update(ROLE=No("BUSY Redis is busy")), "BUSY"),
        (lambda t: t.b.replies.update(ROLE=["sentinel", ["orders"]]), "is a sentinel"),
        (lambda t: t.b.replies.update(ROLE=Raw(b"\x1b]52;c;aGk=\x07\r\n")), "does not speak Redis's protocol"),
        (lambda t: t.b.replies.update(ROLE=CLOSE), "closed the connection instead of answering"),
        (lambda t: t.a.replies.update(ROLE=master(t.c)), "does not know it as a connected replica"),
        (lambda t: t.a.replies.update(ROLE=master(t.b, t.c, offset=5_000_000)), "4999000 bytes behind"),
        (lambda t: t.a.replies.update({"PUBSUB NUMSUB": [HELLO, 3]}), "3 sentinels watch this group"),
        (lambda t: t.a.replies.update({"PUBSUB NUMSUB": [HELLO, 1]}), "a sentinel watches this group"),
    ],
)
async def test_a_target_that_cannot_take_over_is_not_made_to(
    trio: Trio, tmp_path: Path, change: Callable[[Trio], None], told: str
) -> None:
    change(trio)
    result = await switch(trio, tmp_path)
    assert result.applied is Applied.REFUSED
    assert re.search(told, result.detail), result.detail
    assert trio.changes == UNTOUCHED
    checked = await ask(trio, tmp_path)
    assert checked.passed is False
    assert re.search(told, checked.detail), checked.detail


async def test_how_far_it_may_be_behind_can_be_said(trio: Trio, tmp_path: Path) -> None:
    trio.a.replies["ROLE"] = master(trio.b, trio.c, offset=5_000_000)
    assert (await switch(trio, tmp_path, max_lag="10MB")).applied is Applied.APPLIED


async def test_whether_sentinels_watch_may_be_hidden_from_us(trio: Trio, tmp_path: Path) -> None:
    trio.a.replies["PUBSUB NUMSUB"] = No("NOPERM this user has no permissions")
    assert (await switch(trio, tmp_path)).applied is Applied.APPLIED


# --- a primary that does not answer ------------------------------------------------------------------------------


@pytest.fixture
async def orphans(trio: Trio, serve: Callable[..., Any]) -> Trio:
    """The primary is gone, and its replicas know it."""
    await dead(serve, trio.a)
    trio.b.replies["ROLE"] = slave(trio.a, "connect")
    trio.c.replies["ROLE"] = slave(trio.a, "connecting")
    trio.c.offset = 1010
    return trio


async def test_a_dead_primary_is_left_to_a_person_unless_allowed(orphans: Trio, tmp_path: Path) -> None:
    result = await switch(orphans, tmp_path)
    assert result.applied is Applied.REFUSED
    assert f"{orphans.a.name} does not answer (connection refused), so it cannot hand over" in result.detail
    assert f"REPLICAOF NO ONE on {orphans.b.name}, REPLICAOF 127.0.0.1 {orphans.b.port} on the others" in result.detail
    assert orphans.changes == UNTOUCHED
    assert (await ask(orphans, tmp_path)).passed is False


async def test_where_it_is_allowed_the_target_is_promoted_alone(orphans: Trio, tmp_path: Path) -> None:
    sent: list[str] = []
    context = a_context(tmp_path, expected=orphans.a.name, on_sent=lambda: sent.append("sent"))
    checked = await ask(orphans, tmp_path, promote="if_primary_dead")
    assert checked.passed is None, "it can be done, and something is lost"
    assert "what it has not got is lost" in checked.detail
    result = await switch(orphans, tmp_path, context=context, promote="if_primary_dead")
    assert result.applied is Applied.APPLIED
    assert f"{orphans.a.name} must become its replica before it serves again" in result.detail
    assert sent == ["sent"]
    assert orphans.changes[1:] == [
        ["REPLICAOF NO ONE", "CONFIG REWRITE"],
        [f"REPLICAOF 127.0.0.1 {orphans.b.port}", "CONFIG REWRITE"],
    ]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda t: t.c.replies.update(ROLE=slave(t.a)), "still has a connection to it"),
        (lambda t: t.b.replies.update(ROLE=slave(t.a, "sync")), "still has a connection to it"),
        (lambda t: setattr(t.c, "offset", 9_000_000), "8999000 bytes behind"),
        (lambda t: t.b.replies.update({"INFO replication": No("NOPERM no")}), "does not tell how much"),
        (lambda t: t.b.replies.update({"INFO replication": "slave_repl_offset:-1\r\n"}), "does not tell how much"),
        (lambda t: t.b.replies.update(ROLE=HANG), "cannot take over: no answer within"),
        (lambda t: t.b.replies.update({"PUBSUB NUMSUB": [HELLO, 3]}), "3 sentinels watch"),
    ],
)
async def test_it_is_not_promoted_where_a_second_witness_is_missing(
    orphans: Trio, tmp_path: Path, change: Callable[[Trio], None], told: str
) -> None:
    change(orphans)
    context = a_context(tmp_path, expected=orphans.a.name, deadline=2.0)
    result = await switch(orphans, tmp_path, context=context, promote="if_primary_dead")
    assert result.applied is Applied.REFUSED
    assert told in result.detail
    assert orphans.changes == UNTOUCHED
    assert (await ask(orphans, tmp_path, promote="if_primary_dead")).passed is False


@pytest.mark.parametrize(
    "reply",
    [No("LOADING Redis is loading the dataset"), No("BUSY Redis is busy"), No("NOAUTH Authentication required."), 7],
)
async def test_a_primary_that_answers_anything_is_not_dead(trio: Trio, tmp_path: Path, reply: Any) -> None:
    trio.a.replies["ROLE"] = reply
    trio.b.replies["ROLE"] = slave(trio.a, "connect")
    trio.c.replies["ROLE"] = slave(trio.a, "connect")
    result = await switch(trio, tmp_path, promote="if_primary_dead")
    assert result.applied is Applied.REFUSED
    assert "which does not mean that it is dead" in result.detail
    assert trio.changes == UNTOUCHED


async def test_a_name_that_is_not_found_is_no_death(orphans: Trio, tmp_path: Path) -> None:
    def nobody(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    context = a_context(tmp_path, resolver=Resolver(nobody))
    name = f"redis-a:{orphans.a.port}"
    orphans.b.replies["ROLE"] = ["slave", "redis-a", orphans.a.port, "connect", -1]
    orphans.c.replies["ROLE"] = ["slave", "redis-a", orphans.a.port, "connect", -1]
    nodes = [name, orphans.b.name, orphans.c.name]
    result = await apply(options(orphans, nodes=nodes, promote="if_primary_dead"), context)
    assert result.applied is Applied.REFUSED
    assert "which does not mean that it is dead" in result.detail
    assert orphans.changes == UNTOUCHED


async def test_a_primary_that_answers_the_second_time_is_not_dead(trio: Trio, tmp_path: Path) -> None:
    trio.a.replies["ROLE"] = lambda _: HANG if trio.a.got("ROLE") == 1 else master(trio.b, trio.c)
    trio.b.replies["ROLE"] = slave(trio.a, "connect")
    trio.c.replies["ROLE"] = slave(trio.a, "connect")
    context = a_context(tmp_path, expected=trio.a.name, deadline=3.0)
    result = await switch(trio, tmp_path, context=context, promote="if_primary_dead")
    assert result.applied is Applied.REFUSED
    assert "answers again" in result.detail
    assert trio.changes == UNTOUCHED


@pytest.mark.parametrize(
    ("reply", "applied"),
    [
        (No("NOPERM no permissions to run the 'replicaof' command"), Applied.REFUSED),
        (No("ERR REPLICAOF not allowed in cluster mode."), Applied.REFUSED),
        (No("ERR what?"), Applied.UNKNOWN),
        (OK, Applied.UNKNOWN),  # and its ROLE is as before
        (CLOSE, Applied.UNKNOWN),
        (HANG, Applied.UNKNOWN),
    ],
)
async def test_what_an_answer_to_the_promotion_is_worth(
    orphans: Trio, tmp_path: Path, reply: Any, applied: Applied
) -> None:
    orphans.b.replies["REPLICAOF NO ONE"] = reply
    context = a_context(tmp_path, expected=orphans.a.name, deadline=2.0)
    result = await switch(orphans, tmp_path, context=context, promote="if_primary_dead")
    assert result.applied is applied
    assert orphans.b.got("REPLICAOF") == 1
    assert orphans.c.got("REPLICAOF") == 0


# --- reading -----------------------------------------------------------------------------------------------------


async def test_all_that_answer_agree(trio: Trio, tmp_path: Path) -> None:
    assert await look(trio, tmp_path) == Reading(trio.a.name, serving=(trio.a.name,))


async def test_two_primaries_both_serve_and_nobody_is_in_force(trio: Trio, tmp_path: Path) -> None:
    trio.b.replies["ROLE"] = master()
    found = await look(trio, tmp_path)
    assert found.value is None
    assert found.serving == (trio.a.name, trio.b.name)
    assert f"{trio.a.name} says it is the primary; {trio.b.name} says it is the primary" in found.detail
    result = await switch(trio, tmp_path)
    assert result.applied is Applied.REFUSED
    assert "do not agree" in result.detail
    assert (await ask(trio, tmp_path)).passed is False


async def test_a_replica_of_somebody_else_is_a_disagreement(trio: Trio, tmp_path: Path) -> None:
    stranger = a_node()
    stranger.port = 1
    trio.c.replies["ROLE"] = slave(stranger, "connect")
    found = await look(trio, tmp_path)
    assert found.value is None
    assert f"{trio.c.name} follows 127.0.0.1:1 (link: connect)" in found.detail
    assert found.serving == (trio.a.name,)


async def test_two_that_follow_each_other_have_no_primary(trio: Trio, tmp_path: Path) -> None:
    trio.a.replies["ROLE"] = slave(trio.b)
    found = await look(trio, tmp_path)
    assert (found.value, found.serving) == (None, ())


async def test_a_dead_primary_is_still_the_one_that_all_name_and_serves_nobody(orphans: Trio, tmp_path: Path) -> None:
    found = await look(orphans, tmp_path)
    assert (found.value, found.serving) == (orphans.a.name, ())
    assert "connection refused" in found.detail


@pytest.mark.parametrize("reply", [HANG, No("BUSY Redis is busy"), No("NOAUTH Authentication required."), "garbage"])
async def test_an_old_primary_that_says_nothing_may_still_be_taking_writes(
    trio: Trio, tmp_path: Path, reply: Any
) -> None:
    trio.a.replies["ROLE"] = reply
    trio.b.replies["ROLE"] = master(trio.c)
    trio.c.replies["ROLE"] = slave(trio.b)
    found = await look(trio, tmp_path, deadline=2.0)
    assert found.value == trio.b.name
    assert found.serving is None, "nobody can tell"
    assert trio.a.name in found.detail


async def test_a_replica_that_hangs_serves_nobody_as_its_primary_knows(trio: Trio, tmp_path: Path) -> None:
    trio.c.replies["ROLE"] = HANG
    found = await look(trio, tmp_path, deadline=2.0)
    assert (found.value, found.serving) == (trio.a.name, (trio.a.name,))
    assert "no answer within" in found.detail


async def test_names_of_hosts_are_the_addresses_that_servers_tell(trio: Trio, tmp_path: Path) -> None:
    hosts = {"redis-a": "127.0.0.1", "redis-b": "127.0.0.1", "elsewhere": "127.0.0.9"}
    resolver = Resolver(lambda host, *_, **__: [(socket.AF_INET, 0, 0, "", (hosts[host], 0))])
    trio.c.replies["ROLE"] = ["slave", "redis-a", trio.a.port, "connected", 1000]
    names = (f"redis-a:{trio.a.port}", f"redis-b:{trio.b.port}", trio.c.name)
    context = a_context(tmp_path, resolver=resolver)
    assert (await read(ReadOptions(nodes=names), context)).value == names[0]
    wanted = Options(nodes=names, target=names[1])
    result = await apply(wanted, a_context(tmp_path, resolver=resolver, expected=names[0]))
    assert result.applied is Applied.APPLIED
    assert _failover(trio.a)[2:4] == ["127.0.0.1", str(trio.b.port)], "as the primary knows it"
    trio.c.replies["ROLE"] = ["slave", "nowhere.invalid", trio.a.port, "connected", 1000]
    assert (await read(ReadOptions(nodes=names), context)).value is None


async def test_nobody_there_is_told(trio: Trio, tmp_path: Path, serve: Callable[..., Any]) -> None:
    for node in trio.nodes:
        await dead(serve, node)
    found = await look(trio, tmp_path)
    assert found.value is None
    assert "connection refused" in found.detail
    result = await switch(trio, tmp_path)
    assert result.applied is Applied.NOT_STARTED
    assert "no node says" in result.detail


async def test_a_node_that_tells_of_thousands_does_not_have_them_all_looked_up(trio: Trio, tmp_path: Path) -> None:
    asked: list[str] = []

    def nobody(host: str, *_: Any, **__: Any) -> Any:
        asked.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    trio.a.replies["ROLE"] = ["master", 1, [[f"host-{number}", "1", "1"] for number in range(1500)]]
    names = tuple(node.name for node in trio.nodes)
    found = await read(ReadOptions(nodes=names), a_context(tmp_path, resolver=Resolver(nobody)))
    assert found.value == trio.a.name
    assert 0 < len(asked) <= 64


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=60))
async def test_garbage_from_a_node_hides_that_node_alone(trio: Trio, tmp_path: Path, data: bytes) -> None:
    trio.c.replies["ROLE"] = Raw(data, then=CLOSE)
    assert (await look(trio, tmp_path, deadline=2.0)).value == trio.a.name
    trio.a.replies["ROLE"] = Raw(b"*3\r\n$6\r\nmaster\r\n:5\r\n" + data, then=CLOSE)
    await look(trio, tmp_path, deadline=2.0)
    trio.a.replies["ROLE"] = master(trio.b, trio.c)


# --- preflight ---------------------------------------------------------------------------------------------------


async def test_what_is_well_is_told_and_nothing_is_changed(trio: Trio, tmp_path: Path) -> None:
    checked = await ask(trio, tmp_path)
    assert checked == Preflight(True, f"{trio.b.name} follows {trio.a.name}, 0 bytes behind", credentials=True)
    assert trio.changes == UNTOUCHED
    assert (await preflight(options(trio, target=trio.a.name), a_context(tmp_path))).passed is True


@pytest.mark.parametrize(
    "reply", ["NOAUTH Authentication required.", "NOPERM this user has no permissions to run the 'role' command"]
)
async def test_a_node_that_does_not_let_us_in_is_found_beforehand(trio: Trio, tmp_path: Path, reply: str) -> None:
    trio.c.replies["ROLE"] = No(reply)
    checked = await ask(trio, tmp_path)
    assert (checked.passed, checked.credentials) == (False, False)
    assert f"{trio.c.name}: {reply}" in checked.detail


async def test_a_wrong_password_is_found_beforehand_and_is_in_no_text(trio: Trio, tmp_path: Path) -> None:
    for node in trio.nodes:
        node.replies["AUTH"] = No("WRONGPASS invalid username-password pair or user is disabled.")
    login = {"user": "ops", "password": "hunter2"}
    checked = await ask(trio, tmp_path, auth=login)
    assert (checked.passed, checked.credentials) == (False, False)
    result = await switch(trio, tmp_path, auth=login)
    assert result.applied is Applied.NOT_STARTED
    assert "WRONGPASS" in result.detail
    assert "hunter2" not in result.detail + checked.detail


@pytest.mark.parametrize("command", ["FAILOVER", "REPLICAOF", "CONFIG"])
async def test_what_our_user_may_not_do_is_found_beforehand(trio: Trio, tmp_path: Path, command: str) -> None:
    words = f"This user has no permissions to run the '{command.lower()}' command"
    trio.b.replies[f"ACL DRYRUN default {command}"] = words
    checked = await ask(trio, tmp_path)
    assert (checked.passed, checked.credentials) == (False, False)
    assert checked.detail == f"default lacks +{command.lower()} on {trio.b.name}"


@pytest.mark.parametrize("reply", [No("NOPERM no"), No("ERR unknown command 'ACL'"), 7])
async def test_what_our_user_may_do_cannot_always_be_told(trio: Trio, tmp_path: Path, reply: Any) -> None:
    trio.a.replies["ACL WHOAMI"] = reply
    checked = await ask(trio, tmp_path)
    assert (checked.passed, checked.credentials) == (True, None)
    assert "+acl|dryrun" in checked.detail


async def test_what_would_not_outlive_a_restart_is_told_beforehand(trio: Trio, tmp_path: Path) -> None:
    trio.b.replies["INFO server"] = "config_file:\r\n"
    assert f"so that a restart undoes it: {trio.b.name}" in (await ask(trio, tmp_path)).detail
    assert trio.b.name + ";" not in (await ask(trio, tmp_path, persist=False)).detail


async def test_a_hand_over_that_is_under_way_is_told_beforehand(trio: Trio, tmp_path: Path) -> None:
    trio.a.replies["INFO replication"] = info("waiting-for-sync")
    checked = await ask(trio, tmp_path)
    assert checked.passed is False
    assert "handing over already (waiting-for-sync)" in checked.detail


async def test_a_node_that_hangs_does_not_hold_up_the_preflight(trio: Trio, tmp_path: Path) -> None:
    trio.c.replies["ROLE"] = HANG
    async with asyncio.timeout(2.4):
        checked = await preflight(options(trio), a_context(tmp_path, deadline=2.4))
    assert checked.passed is True
    assert f"{trio.c.name}: no answer within" in checked.detail


# --- options, abilities, and what a person would do ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"target": "c:1"}, "none of the `nodes`"),
        ({"nodes": ["a:1"]}, "at least 2"),
        ({"nodes": ["a:1", "A:1"]}, "stands there twice"),
        ({"nodes": [f"a:{port}" for port in range(1, 40)]}, "at most 32"),
        ({"nodes": ["a:1", "b"]}, "write host:port"),
        ({"max_pause": "0"}, "greater than or equal"),
        ({"max_pause": "2m"}, "less than or equal"),
        ({"promote": "always"}, "if_primary_dead"),
        ({"force": True}, "Extra inputs"),
        ({"ca": "ca.pem"}, "add `tls: true`"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(keys: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Options.model_validate({"nodes": ["a:1", "b:1"], "target": "b:1", **keys})


def test_abilities_follow_from_the_options() -> None:
    plain = Options(nodes=("a:1", "b:1"), target="b:1")
    assert KIND.abilities_with(plain) == KIND.abilities
    assert KIND.abilities.cas
    alone = plain.model_copy(update={"promote": "if_primary_dead", "persist": False})
    assert not KIND.abilities_with(alone).cas, "a promotion compares nothing"
    assert "restarts" in KIND.abilities_with(alone).self_reverts


def test_undone_it_goes_to_whom_it_was_before() -> None:
    assert undo({"target": "b:1", "nodes": ["a:1", "b:1"]}, "a:1") == {"target": "a:1", "nodes": ["a:1", "b:1"]}


def test_the_manual_command_has_references_in_place_of_secrets() -> None:
    raw = {
        "nodes": ["redis-a:6379", "redis-b:6379"],
        "target": "redis-b:6379",
        "auth": {"user": "ops", "password": "${file:/run/secrets/redis}"},
        "tls": True,
        "ca": "tls/ca.pem",
    }
    line = manual(raw)
    assert (
        'REDISCLI_AUTH="$(cat /run/secrets/redis)" redis-cli --user ops --tls --cacert tls/ca.pem -h $1 -p $2' in line
    )
    assert 'FAILOVER TO "$(getent ahostsv4 redis-b' in line


@pytest.mark.skipif(shutil.which("redis-cli") is None, reason="redis-cli is not installed; apt-get install redis-tools")
async def test_the_manual_command_sends_the_same(trio: Trio, tmp_path: Path) -> None:
    raw = {"nodes": [node.name for node in trio.nodes], "target": trio.b.name}
    done = await run_program(("sh", "-c", manual(raw)), cwd=tmp_path, env={}, timeout=5.0)
    assert done.stdout.strip() == "OK", done
    assert trio.changes[0] == [f"FAILOVER TO 127.0.0.1 {trio.b.port} TIMEOUT 5000"]
