"""Action kind `redis_failover` with real servers: under writes, frozen, killed, restarted, and moved by others."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

import pytest

from opsdash.kinds.actions.redis_failover import Options, ReadOptions, apply, manual, preflight, read
from opsdash.kinds.base import ActionContext, ActionResult, Applied, Preflight, Reading
from opsdash.kinds.processes import run_program
from opsdash.kinds.resolver import Resolver
from opsdash.model.switch import SwitchKind
from tests.engine.support import eventually
from tests.mechanisms.redis_server import Client, Group, redis_group, redis_node
from tests.mechanisms.redis_shop import problems_of_page, shop, truths, writing_to
from tests.mechanisms.support import binary, until
from tests.nonblocking import nothing_of_ours_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RIGHTS = ("+ping", "+role", "+info", "+failover", "+replicaof", "+config|rewrite", "+pubsub|numsub")
TELLING = ("+acl|whoami", "+acl|dryrun")


@pytest.fixture(autouse=True)
def nothing_blocks() -> Iterator[None]:
    with nothing_of_ours_blocks():
        yield


@pytest.fixture
def group(tmp_path: Path) -> Iterator[Group]:
    with redis_group(tmp_path) as group:
        yield group


def a_context(folder: Path, **keys: Any) -> ActionContext:
    keys = {"deadline": 5.0, "resolver": Resolver(), **keys}
    return ActionContext("orders:failover:7", workspace=folder, wall=0.0, **keys)


async def switch(group: Group, target: int, folder: Path, *, expected: int | None = None, **keys: Any) -> ActionResult:
    options = Options.model_validate({"nodes": group.names, "target": group[target].name, **keys})
    return await apply(options, a_context(folder, expected=None if expected is None else group[expected].name))


async def look(group: Group, folder: Path) -> Reading:
    return await read(ReadOptions(nodes=tuple(group.names)), a_context(folder, deadline=2.0))


async def ask(group: Group, target: int, folder: Path, **keys: Any) -> Preflight:
    options = Options.model_validate({"nodes": group.names, "target": group[target].name, **keys})
    return await preflight(options, a_context(folder, deadline=5.0))


async def test_under_writes_the_role_moves_without_losing_one(group: Group, tmp_path: Path) -> None:
    with writing_to(group[0]) as writer:
        await eventually(lambda: len(writer.acknowledged) > 20)
        result = await switch(group, 1, tmp_path, expected=0)
        ended = time.monotonic()
    assert result.applied is Applied.APPLIED, result
    assert group.primaries() == [group[1].name], "the old one is out at once"
    assert await look(group, tmp_path) == Reading(group[1].name, serving=(group[1].name,))
    until(lambda: group.moved_to(group[1]), what="the third one following the new primary")
    assert max(writer.acknowledged.values()) < ended
    assert writer.lost_on(group[1]) == []


async def test_what_was_switched_outlives_a_restart_of_both(group: Group, tmp_path: Path) -> None:
    assert (await switch(group, 1, tmp_path, expected=0)).applied is Applied.APPLIED
    until(lambda: group.moved_to(group[1]))
    with contextlib.ExitStack() as stack:
        for node in group.nodes[:2]:
            node.server.kill()
            node.server = stack.enter_context(redis_node(tmp_path, port=node.port)).server
        until(lambda: group.moved_to(group[1]), what="everybody being what they were")


async def test_there_and_back_and_twice_is_once(group: Group, tmp_path: Path) -> None:
    assert (await switch(group, 1, tmp_path, expected=0)).applied is Applied.APPLIED
    assert "already" in (await switch(group, 1, tmp_path, expected=0)).detail
    refused = await switch(group, 2, tmp_path, expected=0)
    assert refused.applied is Applied.REFUSED
    until(lambda: group.moved_to(group[1]))
    assert (await switch(group, 0, tmp_path, expected=1)).applied is Applied.APPLIED
    until(lambda: group.moved_to(group[0]))


async def test_a_frozen_primary_is_not_taken_for_dead_until_its_replicas_lose_it(tmp_path: Path) -> None:
    with redis_group(tmp_path, settings={"repl-timeout": "2"}) as group:
        group[0].freeze()
        found = await look(group, tmp_path)
        assert (found.value, found.serving) == (group[0].name, None), "it may go on taking writes"
        result = await switch(group, 1, tmp_path, promote="if_primary_dead")
        assert result.applied is Applied.REFUSED
        assert "still has a connection to it" in result.detail

        until(lambda: all(node("ROLE")[3] != "connected" for node in group.nodes[1:]), what="the links going down")
        assert (await switch(group, 1, tmp_path)).applied is Applied.REFUSED
        result = await switch(group, 1, tmp_path, promote="if_primary_dead")
        assert result.applied is Applied.APPLIED, result
        until(lambda: group[2].follows(group[1]))

        group[0].thaw()
        until(lambda: group[0].role == "master")
        found = await look(group, tmp_path)
        assert found.value is None, "two say that they are the primary"
        assert set(found.serving or ()) == {group[0].name, group[1].name}
        assert (await ask(group, 1, tmp_path)).passed is False


async def test_a_killed_primary_is_replaced_only_where_that_is_allowed(group: Group, tmp_path: Path) -> None:
    group[0].server.kill()
    until(lambda: all(node("ROLE")[3] != "connected" for node in group.nodes[1:]), what="the links going down")
    found = await look(group, tmp_path)
    assert (found.value, found.serving) == (group[0].name, ())
    refused = await switch(group, 1, tmp_path, expected=0)
    assert refused.applied is Applied.REFUSED
    assert "by hand: REPLICAOF NO ONE" in refused.detail
    assert (await ask(group, 1, tmp_path)).passed is False
    assert (await ask(group, 1, tmp_path, promote="if_primary_dead")).passed is None

    result = await switch(group, 1, tmp_path, expected=0, promote="if_primary_dead")
    assert result.applied is Applied.APPLIED, result
    until(lambda: group[2].follows(group[1]))
    found = await look(group, tmp_path)
    assert (found.value, found.serving) == (group[1].name, (group[1].name,))


async def test_of_a_dead_primarys_replicas_the_one_that_lacks_much_is_not_promoted(
    group: Group, tmp_path: Path
) -> None:
    group[1].freeze()
    with contextlib.closing(Client(group[0].port)) as client:
        for number in range(30):  # more than the buffers of the system hold for the frozen one
            client("SET", f"key:{number}", "x" * 1_000_000)
    until(lambda: group[2]("ROLE")[4] > 30_000_000, what="the other one having it all")
    group[0].server.kill()
    group[1].thaw()
    until(lambda: all(node("ROLE")[3] != "connected" for node in group.nodes[1:]), what="the links going down")
    behind = group[2].offset - group[1].offset
    refused = await switch(group, 1, tmp_path, promote="if_primary_dead", max_lag=behind - 1)
    assert refused.applied is Applied.REFUSED
    assert f"{group[1].name} is {behind} bytes behind" in refused.detail
    assert (await switch(group, 2, tmp_path, promote="if_primary_dead", max_lag=0)).applied is Applied.APPLIED


async def test_a_target_that_freezes_is_left_alone(group: Group, tmp_path: Path) -> None:
    group[1].freeze()
    result = await switch(group, 1, tmp_path, expected=0)
    assert result.applied is Applied.REFUSED
    assert "no answer within" in result.detail
    assert group[0].role == "master"
    group[1].thaw()


async def test_a_primary_that_is_busy_is_neither_switched_nor_dead(group: Group, tmp_path: Path) -> None:
    group[0]("CONFIG", "SET", "busy-reply-threshold", "50")
    with contextlib.closing(Client(group[0].port)) as client:
        client.send("EVAL", "while true do end", "0")
        until(lambda: "BUSY" in group[0].error("PING"), what="it being busy")
        found = await look(group, tmp_path)
        assert (found.value, found.serving) == (group[0].name, None)
        assert "BUSY" in found.detail
        result = await switch(group, 1, tmp_path, expected=0, promote="if_primary_dead")
        assert result.applied is Applied.REFUSED
        assert "which does not mean that it is dead" in result.detail
        group[0]("SCRIPT", "KILL")


async def test_a_user_with_no_more_than_its_rights_can_do_it_all(group: Group, tmp_path: Path) -> None:
    for node in group.nodes:
        node("ACL", "SETUSER", "opsdash", "on", ">s3cret", *RIGHTS, *TELLING)
    login = {"user": "opsdash", "password": "s3cret"}
    checked = await ask(group, 1, tmp_path, auth=login)
    assert (checked.passed, checked.credentials) == (True, True), checked
    assert (await switch(group, 1, tmp_path, auth=login)).applied is Applied.APPLIED
    until(lambda: group.moved_to(group[1]))

    for node in group.nodes:
        node("ACL", "SETUSER", "opsdash", "-acl")
    assert (await ask(group, 0, tmp_path, auth=login)).credentials is None
    for node in group.nodes:
        node("ACL", "SETUSER", "opsdash", *TELLING, "-failover")
    checked = await ask(group, 0, tmp_path, auth=login)
    assert (checked.passed, checked.credentials) == (False, False)
    assert checked.detail == f"opsdash lacks +failover on {', '.join(group.names)}"
    refused = await switch(group, 0, tmp_path, auth=login)
    assert refused.applied is Applied.REFUSED
    assert "NOPERM" in refused.detail
    wrong = await ask(group, 0, tmp_path, auth={"user": "opsdash", "password": "wrong"})
    assert (wrong.passed, wrong.credentials) == (False, False)
    assert "WRONGPASS" in wrong.detail


async def test_the_manual_command_does_the_same(group: Group, tmp_path: Path) -> None:
    binary("redis-cli", "redis-tools")
    line = manual({"nodes": group.names, "target": group[2].name})
    done = await run_program(("sh", "-c", line), cwd=tmp_path, env={}, timeout=10.0)
    assert done.stdout.strip() == "OK", done
    until(lambda: group[2].role == "master")


async def test_a_group_with_one_password_for_everybody_is_switched_by_it(tmp_path: Path) -> None:
    settings = {"requirepass": "s3cret", "masterauth": "s3cret"}
    with redis_group(tmp_path, replicas=1, settings=settings, login=("s3cret",)) as group:
        assert (await ask(group, 1, tmp_path)).credentials is False
        refused = await switch(group, 1, tmp_path)
        assert refused.applied is Applied.NOT_STARTED
        assert "NOAUTH" in refused.detail
        login = {"password": "s3cret"}
        checked = await ask(group, 1, tmp_path, auth=login)
        assert (checked.passed, checked.credentials) == (True, True), checked
        assert (await switch(group, 1, tmp_path, auth=login)).applied is Applied.APPLIED
        until(lambda: group.moved_to(group[1]), what="the old primary having logged in to the new one")


def test_the_component_of_its_page_is_valid(tmp_path: Path) -> None:
    assert problems_of_page("howto-switch-redis_failover.md", tmp_path, "redis-password") == []


# --- in an engine ------------------------------------------------------------------------------------------------


async def test_a_failover_is_committed_a_drift_is_seen_and_a_failback_leads_home(
    group: Group, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("opsdash.engine.preflights.FRESH", 0.0)
    nodes = f"nodes: {group.names}"
    action = f"{{kind: redis_failover, {nodes}, target: '{{to.as}}'}}"
    async with shop(tmp_path, group.nodes, f"{{kind: redis_failover, {nodes}}}", action) as orders:
        plan = await orders.plan(target="b")
        assert plan["failed"] == []
        assert f"FAILOVER TO 127.0.0.1 {group[1].port} TIMEOUT 5000" in plan["manual"]

        switch = await orders.carry_out(SwitchKind.FAILOVER, "b")
        assert (switch["state"], orders.active) == ("committed", "b"), str(switch)
        assert truths(switch)["A"] == "true"
        assert f"{group[1].name} is the primary, {group[0].name} follows it" in switch["detail"]

        until(lambda: group.moved_to(group[1]))
        group[1]("FAILOVER", "TO", "127.0.0.1", group[0].port, "TIMEOUT", 2000)
        await orders.active_is("a")
        assert "opsdash did not do that" in orders.notes, "somebody else has moved it"

        group[0]("FAILOVER", "TO", "127.0.0.1", group[1].port, "TIMEOUT", 2000)
        await orders.active_is("b")
        until(lambda: group[0].follows(group[1]))
        switch = await orders.carry_out(SwitchKind.FAILBACK)
        assert (switch["state"], orders.active) == ("committed", "a"), str(switch)


async def test_a_dead_primary_fails_the_plan_with_what_to_do_by_hand_unless_promotion_is_allowed(
    group: Group, tmp_path: Path
) -> None:
    nodes = f"nodes: {group.names}"
    read_it = f"{{kind: redis_failover, {nodes}}}"
    action = f"{{kind: redis_failover, {nodes}, target: '{{to.as}}'"
    async with shop(tmp_path / "careful", group.nodes, read_it, f"{action}}}") as orders:
        group[0].server.kill()
        until(lambda: all(node("ROLE")[3] != "connected" for node in group.nodes[1:]), what="the links going down")
        plan = await orders.plan(target="b")
        assert "REPLICAOF NO ONE on" in str(plan["guards"])
        assert await orders.refused(SwitchKind.FAILOVER, "b")
    async with shop(tmp_path / "bold", group.nodes, read_it, f"{action}, promote: if_primary_dead}}") as orders:
        switch = await orders.carry_out(SwitchKind.FAILOVER, "b")
        assert (switch["state"], orders.active) == ("committed", "b"), str(switch)
        assert "was promoted alone" in switch["detail"]
        until(lambda: group[2].follows(group[1]))
