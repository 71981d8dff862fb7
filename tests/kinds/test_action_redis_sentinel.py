"""Action kind `redis_sentinel`: sentinels that obey, disagree, choose somebody else, and keep silent."""

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

from opsdash.kinds.actions.redis_sentinel import KIND, Options, ReadOptions, apply, manual, preflight, read
from opsdash.kinds.base import ActionContext, ActionResult, Applied, Preflight, Reading
from opsdash.kinds.processes import run_program
from opsdash.kinds.resolver import Resolver
from tests.kinds.fake_redis import (
    CLOSE,
    GROUP,
    HANG,
    OK,
    Fake,
    No,
    Raw,
    Word,
    a_node,
    a_sentinel,
    master,
    row,
    slave,
    started,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Realm:
    """A primary `a`, replicas `b` and `c`, and three sentinels that would choose `b`.

    chosen: whom the sentinels name after SENTINEL FAILOVER.
    """

    def __init__(self, nodes: list[Fake], sentinels: list[Fake]) -> None:
        self.a, self.b, self.c = nodes
        self.sentinels = sentinels
        self.chosen = self.b
        self.a.replies |= {"ROLE": master(self.b, self.c), "FAILOVER": self._hand_over}
        self.b.replies["ROLE"] = slave(self.a)
        self.c.replies["ROLE"] = slave(self.a)
        self.know(b={"slave_priority": 10})
        for sentinel in sentinels:
            sentinel.replies["SENTINEL FAILOVER"] = self._fail_over

    @property
    def nodes(self) -> list[Fake]:
        return [self.a, self.b, self.c]

    def know(self, *, flags: str = "master", a: Any = None, b: Any = None, c: Any = None, only: int = 3) -> None:
        """What the first `only` sentinels know from now on."""
        for sentinel in self.sentinels[:only]:
            told = a_sentinel(self.a, row(self.b, **(b or {})), row(self.c, **(c or {})), flags=flags)
            told.replies["SENTINEL MASTER"] = row(self.a, **{"flags": flags, **(a or {})})
            sentinel.replies |= told.replies

    def name(self, node: Fake, *, only: int = 3) -> None:
        """Whom the first `only` sentinels name from now on."""
        for sentinel in self.sentinels[:only]:
            sentinel.replies["SENTINEL GET-MASTER-ADDR-BY-NAME"] = ["127.0.0.1", str(node.port)]

    def _hand_over(self, _: list[str]) -> Word:
        self.a.replies["ROLE"] = slave(self.b)
        self.b.replies["ROLE"] = master(self.a)
        return OK

    def _fail_over(self, _: list[str]) -> Word:
        self.name(self.chosen)
        if self.a.replies["ROLE"][0] == "master":
            self.chosen.replies["ROLE"] = master()
        return OK

    @property
    def changes(self) -> list[str]:
        """The commands that change anything, wherever they went."""
        return [line for fake in (*self.nodes, *self.sentinels) for line in fake.changes]

    @property
    def hand_over(self) -> str:
        return f"FAILOVER TO 127.0.0.1 {self.b.port} TIMEOUT 5000"


TELL = f"SENTINEL FAILOVER {GROUP}"


@pytest.fixture
async def realm(serve: Callable[..., Any]) -> Realm:
    nodes = [await started(a_node(), serve) for _ in range(3)]
    return Realm(nodes, [await started(Fake(), serve) for _ in range(3)])


@pytest.fixture
def dead(realm: Realm) -> Realm:
    """The primary is gone; replicas and sentinels know it."""
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    realm.a.port = taken.getsockname()[1]
    taken.close()
    realm.b.replies["ROLE"] = slave(realm.a, "connect")
    realm.c.replies["ROLE"] = slave(realm.a, "connect")
    realm.know(flags="master,disconnected", b={"slave_priority": 10})
    return realm


def a_context(folder: Path, **keys: Any) -> ActionContext:
    keys = {"deadline": 10.0, "resolver": Resolver(), **keys}
    return ActionContext("orders:failover:7", workspace=folder, wall=0.0, **keys)


def options(realm: Realm, **keys: Any) -> Options:
    names = [sentinel.name for sentinel in realm.sentinels]
    return Options.model_validate({"sentinels": names, "master": GROUP, "target": realm.b.name, **keys})


async def switch(realm: Realm, folder: Path, *, context: ActionContext | None = None, **keys: Any) -> ActionResult:
    return await apply(options(realm, **keys), context or a_context(folder, expected=realm.a.name))


async def look(realm: Realm, folder: Path, *, deadline: float = 10.0, **keys: Any) -> Reading:
    names = [sentinel.name for sentinel in realm.sentinels]
    wanted = ReadOptions.model_validate({"sentinels": names, "master": GROUP, **keys})
    return await read(wanted, a_context(folder, deadline=deadline))


async def ask(realm: Realm, folder: Path, **keys: Any) -> Preflight:
    return await preflight(options(realm, **keys), a_context(folder, deadline=5.0))


# --- with a primary that answers ---------------------------------------------------------------------------------


async def test_the_primary_hands_over_and_then_one_sentinel_is_told_once(realm: Realm, tmp_path: Path) -> None:
    sent: list[int] = []
    context = a_context(tmp_path, expected=realm.a.name, on_sent=lambda: sent.append(realm.a.got("FAILOVER")))
    result = await switch(realm, tmp_path, context=context)
    assert result.applied is Applied.APPLIED, result
    assert f"{realm.b.name} is the primary, {realm.a.name} follows it" in result.detail
    assert f"all sentinels name {realm.b.name}" in result.detail
    assert result.prior == realm.a.name
    assert realm.changes == [realm.hand_over, TELL]
    assert sent == [0], "told once, before the first of both left"


async def test_writes_are_held_for_no_longer_than_the_sentinels_can_bear(realm: Realm, tmp_path: Path) -> None:
    realm.know(a={"down_after_milliseconds": 5000}, b={"slave_priority": 10})
    assert (await ask(realm, tmp_path)).passed is True
    assert (await switch(realm, tmp_path)).applied is Applied.APPLIED
    assert realm.changes[0] == f"FAILOVER TO 127.0.0.1 {realm.b.port} TIMEOUT 2500"


async def test_sentinels_that_bear_little_are_told_of_beforehand(realm: Realm, tmp_path: Path) -> None:
    realm.know(a={"down_after_milliseconds": 1000}, b={"slave_priority": 10}, only=1)
    checked = await ask(realm, tmp_path)
    assert checked.passed is None
    assert "writes may be held for 0.5 s only" in checked.detail


async def test_without_coordination_the_sentinels_are_told_alone_and_the_price_is_named(
    realm: Realm, tmp_path: Path
) -> None:
    sent: list[str] = []
    context = a_context(tmp_path, expected=realm.a.name, on_sent=lambda: sent.append("sent"))
    result = await switch(realm, tmp_path, context=context, coordinated=False)
    assert result.applied is Applied.APPLIED
    assert f"{realm.a.name} goes on taking writes until they demote it, about 10 s, and these are lost" in result.detail
    assert realm.changes == [TELL]
    assert sent == ["sent"]


async def test_while_the_old_primary_takes_writes_both_serve(realm: Realm, tmp_path: Path) -> None:
    await switch(realm, tmp_path, coordinated=False)
    found = await look(realm, tmp_path)
    assert found.value == realm.b.name
    assert found.serving == (realm.b.name, realm.a.name) or set(found.serving or ()) == {realm.a.name, realm.b.name}
    assert f"{realm.a.name} says it is the primary" in found.detail


async def test_another_choice_than_the_one_asked_for_is_told(realm: Realm, tmp_path: Path) -> None:
    realm.chosen = realm.c
    result = await switch(realm, tmp_path, coordinated=False)
    assert result.applied is Applied.APPLIED, "something was changed, and the facts will say what"
    assert f"the sentinels chose {realm.c.name} instead of {realm.b.name}" in result.detail


async def test_whoever_is_the_primary_already_is_left_alone(realm: Realm, tmp_path: Path) -> None:
    realm._hand_over([])
    realm.name(realm.b)
    result = await switch(realm, tmp_path)
    assert result.applied is Applied.APPLIED
    assert "already" in result.detail
    assert realm.changes == []


async def test_a_name_that_is_no_working_primary_is_not_taken_for_done(realm: Realm, tmp_path: Path) -> None:
    realm.name(realm.b)  # which says that it follows a
    result = await switch(realm, tmp_path)
    assert result.applied is Applied.REFUSED
    assert "which is not a working primary" in result.detail


async def test_another_primary_than_expected_is_left_alone(realm: Realm, tmp_path: Path) -> None:
    result = await switch(realm, tmp_path, context=a_context(tmp_path, expected=realm.c.name))
    assert result.applied is Applied.REFUSED
    assert f"the sentinels name {realm.a.name}, where {realm.c.name} was expected" in result.detail
    assert realm.changes == []


async def test_who_changed_their_mind_since_is_not_told(realm: Realm, tmp_path: Path) -> None:
    def second_thoughts(_: list[str]) -> list[str]:
        asked = realm.sentinels[0].got("SENTINEL", "GET-MASTER-ADDR-BY-NAME")
        return ["127.0.0.1", str((realm.a if asked == 1 else realm.c).port)]

    realm.sentinels[0].replies["SENTINEL GET-MASTER-ADDR-BY-NAME"] = second_thoughts
    result = await switch(realm, tmp_path, coordinated=False)
    assert result.applied is Applied.REFUSED
    assert f"names {realm.c.name} now" in result.detail
    assert realm.changes == []


NOBODY = No("ERR No such master with that name")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda r: r.know(flags="master,failover_in_progress", b={"slave_priority": 10}, only=1), "is in progress"),
        (lambda r: r.know(flags="master,s_down", b={"slave_priority": 10}, only=1), "may replace it at any moment"),
        (lambda r: r.know(b={"slave_priority": 10, "flags": "slave,s_down"}), "gets no answer from"),
        (lambda r: r.know(b={"slave_priority": 10, "flags": "slave,disconnected"}, only=1), "gets no answer from"),
        (lambda r: r.know(b={"slave_priority": 10, "last_ok_ping_reply": 9000}), "gets no answer from"),
        (lambda r: r.know(b={"slave_priority": 0}), "replica-priority 0"),
        (lambda r: r.know(b={"slave_priority": 20}, c={"slave_priority": 10}), "would choose .*Give .* smallest"),
        (lambda r: r.know(), "could choose .* as well. Give .* the smallest replica-priority"),
        (lambda r: r.know(c={"flags": "slave,s_down"}), "could choose .* as well"),
        (lambda r: r.sentinels[1].replies.update({"SENTINEL REPLICAS": [row(r.c)]}), "does not know .* as a replica"),
        (lambda r: r.b.replies.update(ROLE=slave(r.a, "sync")), "state 'sync'"),
        (lambda r: r.b.replies.update(ROLE=CLOSE), "closed the connection"),
        (lambda r: r.a.replies.update(ROLE=master(r.b, r.c, offset=9_000_000)), "8999000 bytes behind"),
        (
            lambda r: r.a.replies.update(ROLE=No("BUSY Redis is busy")),
            "cannot hand over .BUSY Redis is busy., which does not",
        ),
        (lambda r: r.a.replies.update(ROLE=No("LOADING Redis is loading")), "which does not mean that it is dead"),
        (lambda r: r.a.replies.update(ROLE=slave(r.b)), "which says that it is a replica"),
        (lambda r: r.c.replies.update(ROLE=master()), "the nodes do not agree with them"),
        (lambda r: r.name(r.c, only=1), "not enough sentinels agree"),
        (
            lambda r: [each.replies.update({"SENTINEL CKQUORUM": No("NOQUORUM 1 usable")}) for each in r.sentinels[:2]],
            "NOQUORUM 1 usable",
        ),
        (
            lambda r: [each.replies.update({"SENTINEL MASTER": NOBODY}) for each in r.sentinels[:2]],
            "No such master with that name",
        ),
    ],
)
async def test_what_cannot_go_well_is_not_begun(
    realm: Realm, tmp_path: Path, change: Callable[[Realm], None], told: str
) -> None:
    change(realm)
    checked = await ask(realm, tmp_path)
    assert checked.passed is False, checked
    assert re.search(told, checked.detail), checked.detail
    result = await switch(realm, tmp_path)
    assert result.applied is Applied.REFUSED
    assert re.search(told, result.detail), result.detail
    assert realm.changes == []


async def test_one_sentinel_in_three_may_be_missing(realm: Realm, tmp_path: Path) -> None:
    realm.sentinels[0].replies = {"SENTINEL": HANG}
    context = a_context(tmp_path, expected=realm.a.name, deadline=4.0)
    result = await switch(realm, tmp_path, context=context)
    assert result.applied is Applied.APPLIED, result
    assert [line.split()[0] for line in realm.changes] == ["FAILOVER", "SENTINEL"]
    found = await look(realm, tmp_path, deadline=2.4)
    assert found.value == realm.b.name
    assert f"{realm.sentinels[0].name}: no answer in time" in found.detail


async def test_two_in_three_may_not(realm: Realm, tmp_path: Path) -> None:
    for sentinel in realm.sentinels[:2]:
        sentinel.replies = {"SENTINEL": CLOSE}
    assert (await look(realm, tmp_path)).value is None
    result = await switch(realm, tmp_path)
    assert result.applied is Applied.REFUSED
    assert "not enough sentinels" in result.detail
    realm.sentinels[2].replies = {"SENTINEL": CLOSE}
    assert (await switch(realm, tmp_path)).applied is Applied.NOT_STARTED


@pytest.mark.parametrize(
    ("reply", "applied"),
    [
        (No("ERR FAILOVER target replica is not online."), Applied.REFUSED),
        (No("NOPERM no permissions to run the 'failover' command"), Applied.REFUSED),
        (CLOSE, Applied.UNKNOWN),
        (No("ERR what?"), Applied.UNKNOWN),
    ],
)
async def test_where_the_hand_over_fails_no_sentinel_is_told(
    realm: Realm, tmp_path: Path, reply: Any, applied: Applied
) -> None:
    realm.a.replies["FAILOVER"] = reply
    assert (await switch(realm, tmp_path)).applied is applied
    assert realm.changes == [realm.hand_over]


ANSWERS = [
    (No("INPROG Failover already in progress"), Applied.REFUSED),
    (No("NOGOODSLAVE No suitable replica to promote"), Applied.REFUSED),
    (NOBODY, Applied.REFUSED),
    (No("NOPERM this user has no permissions to run the 'sentinel|failover' command"), Applied.REFUSED),
    (No("NOAUTH Authentication required."), Applied.REFUSED),
    (No("BUSY busy"), Applied.REFUSED),
    (No("ERR something new"), Applied.UNKNOWN),
    (Word("QUEUED"), Applied.UNKNOWN),
    (Raw(b"\x00\x01\x02\r\n"), Applied.UNKNOWN),
    (Raw(b"+O", then=CLOSE), Applied.UNKNOWN),
    (CLOSE, Applied.UNKNOWN),
]


@pytest.mark.parametrize(("reply", "applied"), ANSWERS)
async def test_what_an_answer_of_a_sentinel_is_worth(
    realm: Realm, tmp_path: Path, reply: Any, applied: Applied
) -> None:
    for sentinel in realm.sentinels:
        sentinel.replies["SENTINEL FAILOVER"] = reply
    context = a_context(tmp_path, expected=realm.a.name, deadline=2.0)
    result = await switch(realm, tmp_path, context=context, coordinated=False)
    assert result.applied is applied, result
    assert realm.changes == [TELL], "one sentinel, once, whatever the answer"


@pytest.mark.parametrize(("reply", "alone"), ANSWERS)
async def test_after_the_hand_over_it_is_never_said_that_nothing_was_changed(
    realm: Realm, tmp_path: Path, reply: Any, alone: Applied
) -> None:
    for sentinel in realm.sentinels:
        sentinel.replies["SENTINEL FAILOVER"] = reply
    context = a_context(tmp_path, expected=realm.a.name, deadline=4.0)
    result = await switch(realm, tmp_path, context=context)
    assert result.applied is {Applied.REFUSED: Applied.APPLIED}.get(alone, alone)
    assert f"{realm.b.name} is the primary" in result.detail
    assert "nothing was changed" not in result.detail
    assert len(realm.changes) == 2
    if alone is Applied.REFUSED:
        assert "were not told" in result.detail
        assert "follow by themselves" in result.detail


async def test_no_answer_of_a_sentinel_is_unknown_in_time_and_no_other_is_told(realm: Realm, tmp_path: Path) -> None:
    realm.sentinels[0].replies["SENTINEL FAILOVER"] = HANG
    context = a_context(tmp_path, expected=realm.a.name, deadline=1.2)
    async with asyncio.timeout(1.2):
        result = await switch(realm, tmp_path, context=context, coordinated=False)
    assert result.applied is Applied.UNKNOWN
    assert "no answer in time, after SENTINEL FAILOVER had been sent" in result.detail
    assert realm.changes == [TELL]


async def test_a_yes_without_effect_is_applied_and_what_is_seen_is_told(realm: Realm, tmp_path: Path) -> None:
    for sentinel in realm.sentinels:
        sentinel.replies["SENTINEL FAILOVER"] = OK
    context = a_context(tmp_path, expected=realm.a.name, deadline=1.2)
    result = await switch(realm, tmp_path, context=context, coordinated=False)
    assert result.applied is Applied.APPLIED
    assert "do not agree yet on another primary" in result.detail
    assert (await look(realm, tmp_path)).value == realm.a.name


# --- with a primary that does not answer -------------------------------------------------------------------------


async def test_a_dead_primary_is_replaced_by_the_sentinels_alone(dead: Realm, tmp_path: Path) -> None:
    checked = await ask(dead, tmp_path)
    assert checked.passed is None, "it can be done, and something is lost"
    assert f"{dead.a.name} answers neither us nor them" in checked.detail
    dead.a.replies["ROLE"] = slave(dead.b)
    result = await switch(dead, tmp_path)
    assert result.applied is Applied.APPLIED
    assert f"all sentinels name {dead.b.name}" in result.detail
    assert "goes on taking writes" not in result.detail
    assert dead.changes == [TELL]


async def test_an_equal_replica_is_no_obstacle_then_but_is_told_beforehand(dead: Realm, tmp_path: Path) -> None:
    dead.know(flags="master,disconnected")
    checked = await ask(dead, tmp_path)
    assert checked.passed is None
    assert f"could choose {dead.c.name} as well" in checked.detail
    dead.a.replies["ROLE"] = slave(dead.b)
    assert (await switch(dead, tmp_path)).applied is Applied.APPLIED


@pytest.mark.parametrize(
    ("facts", "begun"),
    [
        ({"flags": "master,disconnected", "last_ok_ping_reply": 10_000}, True),
        ({"flags": "master,disconnected", "last_ok_ping_reply": 26_000}, False),
        ({"flags": "master,s_down", "last_ok_ping_reply": 31_000, "s_down_time": 1000}, False),
        ({"flags": "master,s_down,o_down", "s_down_time": 9000, "o_down_time": 8000}, False),
        ({"flags": "master,s_down,o_down", "s_down_time": 60_000, "o_down_time": 59_000}, True),
        ({"flags": "master,s_down", "s_down_time": "garbage"}, False),
    ],
)
async def test_sentinels_that_are_about_to_replace_it_by_themselves_are_not_told_to(
    dead: Realm, tmp_path: Path, facts: dict[str, Any], begun: bool
) -> None:
    dead.know(a=facts, b={"slave_priority": 10})
    assert (await ask(dead, tmp_path)).passed is (None if begun else False)
    dead.a.replies["ROLE"] = slave(dead.b)
    result = await switch(dead, tmp_path)
    assert result.applied is (Applied.APPLIED if begun else Applied.REFUSED), result
    assert dead.changes == ([TELL] if begun else [])
    if not begun:
        assert "the sentinels replace it by themselves" in result.detail
        assert (await switch(dead, tmp_path, coordinated=False)).applied is Applied.REFUSED


async def test_a_primary_that_only_we_do_not_reach_is_not_replaced(dead: Realm, tmp_path: Path) -> None:
    dead.know(b={"slave_priority": 10})
    dead.know(flags="master,disconnected", b={"slave_priority": 10}, only=1)  # one in three is not most of them
    result = await switch(dead, tmp_path)
    assert result.applied is Applied.REFUSED
    assert "the sentinels reach it" in result.detail
    assert "`coordinated: false`" in result.detail
    assert dead.changes == []
    assert (await ask(dead, tmp_path)).passed is False
    dead.a.replies["ROLE"] = slave(dead.b)
    assert (await switch(dead, tmp_path, coordinated=False)).applied is Applied.APPLIED


async def test_of_a_dead_primarys_replicas_one_that_lacks_much_is_not_made_the_primary(
    dead: Realm, tmp_path: Path
) -> None:
    dead.c.offset = 9_000_000
    result = await switch(dead, tmp_path)
    assert result.applied is Applied.REFUSED
    assert "8999000 bytes behind" in result.detail


# --- reading -----------------------------------------------------------------------------------------------------


async def test_what_all_agree_on_needs_no_words(realm: Realm, tmp_path: Path) -> None:
    assert await look(realm, tmp_path) == Reading(realm.a.name, serving=(realm.a.name,))


async def test_sentinels_that_disagree_name_nobody(realm: Realm, tmp_path: Path) -> None:
    realm.name(realm.b, only=1)
    found = await look(realm, tmp_path)
    assert found.value is None
    assert (
        f"{realm.sentinels[0].name} names {realm.b.name}; {realm.sentinels[1].name} names {realm.a.name}"
        in found.detail
    )
    assert found.serving == (realm.a.name,)


async def test_what_sentinels_name_and_who_serves_are_two_things(realm: Realm, tmp_path: Path) -> None:
    realm._hand_over([])
    found = await look(realm, tmp_path)
    assert (found.value, found.serving) == (realm.a.name, (realm.b.name,))


@pytest.mark.parametrize(("flags", "serving"), [("slave,s_down", True), ("slave", False)])
async def test_a_silent_old_primary_is_out_when_most_sentinels_miss_it_too(
    realm: Realm, tmp_path: Path, flags: str, serving: bool
) -> None:
    realm.a.replies["ROLE"] = HANG
    realm.b.replies["ROLE"] = master(realm.c)
    realm.c.replies["ROLE"] = slave(realm.b)
    for sentinel in realm.sentinels:
        sentinel.replies |= a_sentinel(realm.b, row(realm.a, flags=flags), row(realm.c)).replies
    found = await look(realm, tmp_path, deadline=2.4)
    assert found.value == realm.b.name
    assert found.serving == ((realm.b.name,) if serving else None)


async def test_an_old_primary_that_answers_nonsense_is_not_out(realm: Realm, tmp_path: Path) -> None:
    realm.a.replies["ROLE"] = No("BUSY Redis is busy running a script.")
    realm.b.replies["ROLE"] = master(realm.c)
    realm.c.replies["ROLE"] = slave(realm.b)
    for sentinel in realm.sentinels:
        sentinel.replies |= a_sentinel(realm.b, row(realm.a, flags="slave,s_down"), row(realm.c)).replies
    assert (await look(realm, tmp_path)).serving is None


async def test_with_nodes_they_have_their_own_names_and_no_other_server_is_talked_to(
    realm: Realm, tmp_path: Path
) -> None:
    hosts = {"redis-a": "127.0.0.1", "redis-b": "127.0.0.1"}
    resolver = Resolver(lambda host, *_, **__: [(socket.AF_INET, 0, 0, "", (hosts[host], 0))])
    nodes = [f"redis-a:{realm.a.port}", f"redis-b:{realm.b.port}"]
    wanted = options(realm, nodes=nodes, target=nodes[1], coordinated=False)
    context = a_context(tmp_path, resolver=resolver, expected=nodes[0])
    result = await apply(wanted, context)
    assert result.applied is Applied.APPLIED
    assert f"all sentinels name {nodes[1]}" in result.detail
    assert realm.c.heard == []
    names = tuple(sentinel.name for sentinel in realm.sentinels)
    found = await read(ReadOptions(sentinels=names, master=GROUP, nodes=tuple(nodes)), context)
    assert found.value == nodes[1]
    assert set(found.serving or ()) == set(nodes)


async def test_a_target_by_another_name_than_the_sentinels_use_is_not_guessed(realm: Realm, tmp_path: Path) -> None:
    checked = await ask(realm, tmp_path, target=f"redis-b:{realm.b.port}")
    assert checked.passed is False
    assert (
        f"does not know redis-b:{realm.b.port} as a replica (it knows: {realm.b.name}, {realm.c.name})"
        in checked.detail
    )


GARBAGE = [
    Raw(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    Raw(b"*2\r\n$9\r\n127.0.0", then=CLOSE),
    ["", "0"],
    ["127.0.0.1", "x"],
    ["127.0.0.1", "123456"],
    ["127.0.0.1", "٣"],
    "127.0.0.1:1",
    None,
    7,
    CLOSE,
    HANG,
]


@pytest.mark.parametrize("reply", GARBAGE)
@pytest.mark.parametrize("command", ["GET-MASTER-ADDR-BY-NAME", "MASTER", "REPLICAS"])
async def test_a_sentinel_that_talks_nonsense_has_no_say(
    realm: Realm, tmp_path: Path, command: str, reply: Any
) -> None:
    realm.sentinels[0].replies[f"SENTINEL {command}"] = [reply] if command == "REPLICAS" and reply != HANG else reply
    if isinstance(reply, Raw) or reply == CLOSE:
        realm.sentinels[0].replies[f"SENTINEL {command}"] = reply
    found = await look(realm, tmp_path, deadline=2.4)
    assert found.value == realm.a.name
    assert realm.sentinels[0].name in found.detail


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.dictionaries(st.sampled_from(sorted({*row(Fake())[::2]})), st.text(max_size=12)), st.binary(max_size=30))
async def test_whatever_a_sentinel_says_of_a_server_breaks_nothing(
    realm: Realm, tmp_path: Path, facts: dict[str, str], data: bytes
) -> None:
    realm.sentinels[0].replies["SENTINEL MASTER"] = row(realm.a, **facts)
    realm.sentinels[1].replies["SENTINEL REPLICAS"] = Raw(b"*1\r\n" + data, then=CLOSE)
    realm.sentinels[2].replies["SENTINEL REPLICAS"] = [row(realm.b, **facts)]
    checked = await preflight(options(realm), a_context(tmp_path, deadline=2.0))
    assert checked.detail
    await look(realm, tmp_path, deadline=2.0)


async def test_many_nodes_of_a_sentinel_are_not_all_talked_to(realm: Realm, tmp_path: Path) -> None:
    crowd = []
    for port in range(1, 60):
        stranger = Fake()
        stranger.port = port
        crowd.append(row(stranger))
    for sentinel in realm.sentinels:
        sentinel.replies["SENTINEL REPLICAS"] = crowd
    found = await look(realm, tmp_path, deadline=3.0)
    assert found.value == realm.a.name
    assert found.detail.count("connection refused") < 33


# --- preflight ---------------------------------------------------------------------------------------------------


async def test_what_is_well_is_told_and_nothing_is_changed(realm: Realm, tmp_path: Path) -> None:
    checked = await ask(realm, tmp_path)
    assert checked == Preflight(True, f"{realm.b.name} is 0 bytes behind {realm.a.name}", credentials=True)
    assert (await ask(realm, tmp_path, target=realm.a.name)).passed is True
    assert realm.changes == []


async def test_without_coordination_the_price_is_told_beforehand(realm: Realm, tmp_path: Path) -> None:
    realm.know()
    checked = await ask(realm, tmp_path, coordinated=False)
    assert checked.passed is None
    assert "goes on taking writes for about 10 s" in checked.detail
    assert f"could choose {realm.c.name} as well" in checked.detail


async def test_a_longer_failover_timeout_than_is_waited_for_is_told_beforehand(realm: Realm, tmp_path: Path) -> None:
    realm.know(a={"failover_timeout": 300_000}, b={"slave_priority": 10})
    checked = await ask(realm, tmp_path)
    assert checked.passed is None
    assert "write `failover_timeout: 5m`" in checked.detail
    assert (await ask(realm, tmp_path, failover_timeout="5m")).passed is True


@pytest.mark.parametrize(
    ("where", "key", "reply"),
    [
        ("sentinel", "SENTINEL GET-MASTER-ADDR-BY-NAME", "NOAUTH Authentication required."),
        ("sentinel", "SENTINEL REPLICAS", "NOPERM this user has no permissions to run the 'sentinel|replicas' command"),
        ("node", "ROLE", "NOAUTH Authentication required."),
    ],
)
async def test_who_does_not_let_us_in_is_found_beforehand(
    realm: Realm, tmp_path: Path, where: str, key: str, reply: str
) -> None:
    fake = realm.sentinels[1] if where == "sentinel" else realm.c
    fake.replies[key] = No(reply)
    checked = await ask(realm, tmp_path)
    assert (checked.passed, checked.credentials) == (False, False)
    assert f"{fake.name}: {reply}" in checked.detail


async def test_sentinels_and_nodes_get_a_login_each(realm: Realm, tmp_path: Path) -> None:
    for fake in (*realm.nodes, *realm.sentinels):
        fake.replies["AUTH"] = OK
    keys: dict[str, Any] = {"auth": {"user": "ops", "password": "n0de"}, "sentinel_auth": {"password": "s3ntinel"}}
    assert (await switch(realm, tmp_path, **keys)).applied is Applied.APPLIED
    assert {tuple(words) for node in realm.nodes for words in node.heard if words[0] == "AUTH"} == {
        ("AUTH", "ops", "n0de")
    }
    assert {tuple(words) for each in realm.sentinels for words in each.heard if words[0] == "AUTH"} == {
        ("AUTH", "s3ntinel")
    }
    for sentinel in realm.sentinels:
        sentinel.replies["AUTH"] = No("WRONGPASS invalid username-password pair or user is disabled.")
    checked = await ask(realm, tmp_path, **keys)
    assert (checked.passed, checked.credentials) == (False, False)
    assert "s3ntinel" not in checked.detail


async def test_what_our_user_may_not_do_is_found_beforehand(realm: Realm, tmp_path: Path) -> None:
    words = "This user has no permissions to run the 'sentinel|failover' command"
    realm.sentinels[2].replies["ACL DRYRUN default SENTINEL FAILOVER"] = words
    checked = await ask(realm, tmp_path)
    assert (checked.passed, checked.credentials) == (False, False)
    assert checked.detail == f"default lacks +sentinel|failover on {realm.sentinels[2].name}"
    realm.sentinels[2].replies["ACL DRYRUN default SENTINEL FAILOVER"] = OK
    realm.a.replies["ACL DRYRUN default FAILOVER"] = "This user has no permissions to run the 'failover' command"
    assert (await ask(realm, tmp_path)).credentials is False
    assert (await ask(realm, tmp_path, coordinated=False)).credentials is True


async def test_where_no_sentinel_answers_nothing_is_known_of_our_rights(realm: Realm, tmp_path: Path) -> None:
    for sentinel in realm.sentinels:
        sentinel.replies = {}
    checked = await ask(realm, tmp_path, nodes=[node.name for node in realm.nodes])
    assert (checked.passed, checked.credentials) == (False, None)
    assert checked.detail.count(realm.sentinels[0].name) == 1


async def test_what_our_user_may_do_cannot_always_be_told(realm: Realm, tmp_path: Path) -> None:
    realm.a.replies["ACL WHOAMI"] = No("NOPERM no")
    checked = await ask(realm, tmp_path)
    assert (checked.passed, checked.credentials) == (True, None)


# --- options, abilities, and what a person would do ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"nodes": ["a:1"], "target": "b:1"}, "none of the `nodes`"),
        ({"sentinels": []}, "at least 1"),
        ({"sentinels": ["s:1", "s:1"]}, "stands there twice"),
        ({"master": "my orders"}, "should match pattern"),
        ({"master": ""}, "should match pattern"),
        ({"failover_timeout": "180"}, "is no duration"),
        ({"failover_timeout": "0"}, "greater than or equal"),
        ({"retry": 3}, "Extra inputs"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(keys: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Options.model_validate({"sentinels": ["s:1"], "master": "orders", "target": "b:1", **keys})


def test_the_effect_is_awaited_for_as_long_as_sentinel_may_take() -> None:
    plain = Options(sentinels=("s:1",), master="orders", target="b:1")
    assert KIND.abilities.settle == 185
    assert KIND.abilities_with(plain) == KIND.abilities
    assert KIND.abilities_with(plain.model_copy(update={"failover_timeout": 60.0})).settle == 65
    assert not KIND.abilities.cas
    assert not KIND.abilities.idempotent
    assert KIND.abilities.self_reverts


def test_the_manual_command_has_references_in_place_of_secrets() -> None:
    raw = {
        "sentinels": ["s1:26379", "s2:26379"],
        "master": "orders",
        "target": "10.0.0.2:6379",
        "auth": {"user": "ops", "password": "${REDIS}"},
        "sentinel_auth": {"password": "${file:/run/secrets/sentinel}"},
    }
    sentinel = 'REDISCLI_AUTH="$(cat /run/secrets/sentinel)" redis-cli -h s1 -p 26379 SENTINEL'
    assert manual(raw) == (
        f"set -- $({sentinel} GET-MASTER-ADDR-BY-NAME orders); "
        'REDISCLI_AUTH="$REDIS" redis-cli --user ops -h $1 -p $2 FAILOVER TO 10.0.0.2 6379 TIMEOUT 2000; '
        f"sleep 3; {sentinel} FAILOVER orders"
    )
    assert manual({**raw, "coordinated": False}) == f"{sentinel} FAILOVER orders"


@pytest.mark.skipif(shutil.which("redis-cli") is None, reason="redis-cli is not installed; apt-get install redis-tools")
async def test_the_manual_command_sends_the_same(realm: Realm, tmp_path: Path) -> None:
    raw = {"sentinels": [each.name for each in realm.sentinels], "master": GROUP, "target": realm.b.name}
    line = manual(raw).replace("sleep 3", "true")
    done = await run_program(("sh", "-c", line), cwd=tmp_path, env={}, timeout=5.0)
    assert done.stdout.split() == ["OK", "OK"], done
    assert realm.changes == [f"FAILOVER TO 127.0.0.1 {realm.b.port} TIMEOUT 2000", TELL]
