"""Action kind `redis_sentinel` with real sentinels: coordinated, split, with nodes and sentinels frozen or killed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from opsdash.kinds.actions import redis_failover
from opsdash.kinds.actions.redis_sentinel import Options, ReadOptions, apply, manual, preflight, read
from opsdash.kinds.base import ActionContext, ActionResult, Applied, Preflight, Reading
from opsdash.kinds.processes import run_program
from opsdash.kinds.resolver import Resolver
from opsdash.model.switch import SwitchKind
from tests.engine.support import eventually
from tests.mechanisms.redis_server import GROUP, Group, Watch, redis_group, sentinels
from tests.mechanisms.redis_shop import problems_of_page, shop, truths, writing_to
from tests.mechanisms.support import binary, until
from tests.nonblocking import nothing_of_ours_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NODE_RIGHTS = ("+ping", "+role", "+info", "+failover", "+acl|whoami", "+acl|dryrun")
SENTINEL_RIGHTS = (
    "+ping",
    "+sentinel|get-master-addr-by-name",
    "+sentinel|master",
    "+sentinel|replicas",
    "+sentinel|ckquorum",
    "+sentinel|failover",
    "+acl|whoami",
    "+acl|dryrun",
)


@pytest.fixture(autouse=True)
def nothing_blocks() -> Iterator[None]:
    with nothing_of_ours_blocks():
        yield


@pytest.fixture
def group(tmp_path: Path) -> Iterator[Group]:
    """A primary, and two replicas that sentinels choose in their order."""
    with redis_group(tmp_path) as group:
        for number, node in enumerate(group.nodes, start=1):
            node("CONFIG", "SET", "replica-priority", 10 * number)
        yield group


@pytest.fixture
def watch(group: Group, tmp_path: Path) -> Iterator[Watch]:
    with sentinels(group, tmp_path) as watch:
        yield watch


def a_context(folder: Path, **keys: Any) -> ActionContext:
    keys = {"deadline": 6.0, "resolver": Resolver(), **keys}
    return ActionContext("orders:failover:7", workspace=folder, wall=0.0, **keys)


class Desk:
    """A group, its sentinels, and what opsdash does with them."""

    def __init__(self, group: Group, watch: Watch, folder: Path) -> None:
        self.group = group
        self.watch = watch
        self.folder = folder

    def options(self, target: int, **keys: Any) -> Options:
        raw = {"sentinels": self.watch.names, "master": GROUP, "target": self.group[target].name, **keys}
        return Options.model_validate(raw)

    async def switch(self, target: int, *, expected: int | None = 0, **keys: Any) -> ActionResult:
        name = None if expected is None else self.group[expected].name
        return await apply(self.options(target, **keys), a_context(self.folder, expected=name))

    async def look(self, **keys: Any) -> Reading:
        raw = {"sentinels": self.watch.names, "master": GROUP, **keys}
        return await read(ReadOptions.model_validate(raw), a_context(self.folder, deadline=2.0))

    async def ask(self, target: int, **keys: Any) -> Preflight:
        return await preflight(self.options(target, **keys), a_context(self.folder, deadline=5.0))


@pytest.fixture
def desk(group: Group, watch: Watch, tmp_path: Path) -> Desk:
    return Desk(group, watch, tmp_path)


async def test_under_writes_no_write_is_lost_and_never_are_there_two_primaries(desk: Desk) -> None:
    group = desk.group
    checked = await desk.ask(1)
    assert (checked.passed, checked.credentials) == (True, True), checked
    both: list[bool] = []

    async def watch_primaries() -> None:
        while True:  # the new one first: if the old one says so after it, there are two
            new = await asyncio.to_thread(lambda: group[1].role)
            both.append(new == "master" and await asyncio.to_thread(lambda: group[0].role) == "master")

    watching = asyncio.ensure_future(watch_primaries())
    with writing_to(group[0]) as writer:
        await eventually(lambda: len(writer.acknowledged) > 20)
        result = await desk.switch(1)
    watching.cancel()
    assert result.applied is Applied.APPLIED, result
    assert f"all sentinels name {group[1].name}" in result.detail
    assert both
    assert not any(both)
    assert writer.lost_on(group[1]) == []
    assert await desk.look() == Reading(group[1].name, serving=(group[1].name,))
    until(lambda: group.moved_to(group[1]), what="the sentinels pointing the third one to the new primary")


async def test_without_coordination_both_serve_until_the_old_one_is_demoted_and_writes_are_lost(desk: Desk) -> None:
    group = desk.group
    with writing_to(group[0]) as writer:
        await eventually(lambda: len(writer.acknowledged) > 20)
        result = await desk.switch(1, coordinated=False)
        assert result.applied is Applied.APPLIED, result
        assert "goes on taking writes until they demote it" in result.detail
        found = await desk.look()
        assert found.value == group[1].name
        assert set(found.serving or ()) == {group[0].name, group[1].name}, "both say so, and both take writes"
        until(lambda: group[0].role == "slave", what="the old one being demoted")
    found = await desk.look()
    assert (found.value, found.serving) == (group[1].name, (group[1].name,))
    until(lambda: group.moved_to(group[1]))
    assert writer.lost_on(group[1]), "acknowledged by the old one after its successor had been named"


async def test_a_killed_primary_is_replaced_before_the_sentinels_would_do_it(group: Group, tmp_path: Path) -> None:
    with sentinels(group, tmp_path, down_after=30_000) as watch:
        desk = Desk(group, watch, tmp_path)
        group[0].server.kill()
        until(lambda: all("disconnected" in watch.about(each)["flags"] for each in range(3)), what="its being missed")
        assert (await desk.ask(1)).passed is None
        result = await desk.switch(1)
        assert result.applied is Applied.APPLIED, result
        found = await desk.look()
        assert (found.value, found.serving) == (group[1].name, (group[1].name,))
        until(lambda: group[2].follows(group[1]))


async def test_sentinels_that_are_about_to_replace_it_are_left_to_do_it(group: Group, tmp_path: Path) -> None:
    with sentinels(group, tmp_path, down_after=2000) as watch:
        desk = Desk(group, watch, tmp_path)
        group[0].server.kill()
        until(lambda: all("disconnected" in watch.about(each)["flags"] for each in range(3)), what="its being missed")
        refused = await desk.switch(1)
        assert refused.applied is Applied.REFUSED
        assert "the sentinels replace it by themselves" in refused.detail
        # an election that nobody won is held again after twice their failover-timeout
        until(lambda: watch.says() == {group[1].name}, within=60, what="their doing so")
        found = await desk.look()
        assert (found.value, found.serving) == (group[1].name, (group[1].name,))


async def test_a_frozen_primary_is_replaced_once_the_sentinels_miss_it_and_seen_when_it_comes_back(
    group: Group, tmp_path: Path
) -> None:
    with sentinels(group, tmp_path, down_after=60_000) as watch:  # they do nothing by themselves
        desk = Desk(group, watch, tmp_path)
        group[0].freeze()
        refused = await desk.switch(1)
        assert refused.applied is Applied.REFUSED
        assert "the sentinels reach it" in refused.detail
        until(lambda: all(int(watch.about(each)["last-ok-ping-reply"]) > 3000 for each in range(3)))
        result = await desk.switch(1)
        assert result.applied is Applied.APPLIED, result
        found = await desk.look()
        assert found.value == group[1].name
        assert found.serving in {None, (group[1].name,)}, "silent: unknown, until most sentinels miss it again"

        group[0].thaw()
        both = {group[0].name, group[1].name}
        async with asyncio.timeout(5):
            while set((await desk.look()).serving or ()) != both:
                assert group[0].role == "master", "seen before it is demoted"
        until(lambda: group[0].role == "slave", what="its being demoted")
        assert (await desk.look()).serving == (group[1].name,)


async def test_a_failover_that_is_under_way_is_not_joined(desk: Desk) -> None:
    desk.watch[1]("SENTINEL", "FAILOVER", GROUP)
    result = await desk.switch(1)
    assert result.applied is Applied.REFUSED
    assert "in progress" in result.detail
    until(lambda: desk.watch.says() == {desk.group[1].name}, what="its being over")
    assert "already" in (await desk.switch(1)).detail


async def test_a_frozen_sentinel_has_no_say_and_two_frozen_ones_are_too_many(desk: Desk) -> None:
    group, watch = desk.group, desk.watch
    watch[0].freeze()
    result = await desk.switch(1)
    assert result.applied is Applied.APPLIED, result
    found = await desk.look()
    assert found.value == group[1].name
    assert f"{watch[0].name}: no answer in time" in found.detail
    watch[1].freeze()
    assert (await desk.look()).value is None
    refused = await desk.switch(0, expected=1)
    assert refused.applied is Applied.REFUSED
    assert "not enough sentinels agree" in refused.detail
    for sentinel in watch.nodes[:2]:
        sentinel.thaw()


async def test_equal_priorities_are_found_beforehand_and_refused(desk: Desk) -> None:
    group, watch = desk.group, desk.watch
    group[2]("CONFIG", "SET", "replica-priority", 20)
    until(lambda: all(watch.replicas(each)[group[2].name]["slave-priority"] == "20" for each in range(3)))
    checked = await desk.ask(1)
    assert checked.passed is False
    assert f"could choose {group[2].name} as well. Give {group[1].name} the smallest replica-priority" in checked.detail
    assert (await desk.switch(1)).applied is Applied.REFUSED
    assert (await desk.ask(1, coordinated=False)).passed is None
    assert group.primaries() == [group[0].name]


async def test_a_group_that_sentinels_watch_is_not_switched_behind_their_back(desk: Desk) -> None:
    options = redis_failover.Options(nodes=tuple(desk.group.names), target=desk.group[1].name)
    checked = await redis_failover.preflight(options, a_context(desk.folder))
    assert checked.passed is False
    assert "3 sentinels watch this group" in checked.detail
    refused = await redis_failover.apply(options, a_context(desk.folder))
    assert refused.applied is Applied.REFUSED
    assert desk.group.primaries() == [desk.group[0].name]


async def test_users_with_no_more_than_their_rights_can_do_it_all(desk: Desk) -> None:
    for nodes, rights in ((desk.group.nodes, NODE_RIGHTS), (desk.watch.nodes, SENTINEL_RIGHTS)):
        for node in nodes:
            node("ACL", "SETUSER", "opsdash", "on", ">s3cret", *rights)
    login = {"user": "opsdash", "password": "s3cret"}
    keys: dict[str, Any] = {"auth": login, "sentinel_auth": login}
    checked = await desk.ask(1, **keys)
    assert (checked.passed, checked.credentials) == (True, True), checked
    assert (await desk.switch(1, **keys)).applied is Applied.APPLIED
    until(lambda: desk.group.moved_to(desk.group[1]))
    for node in desk.watch.nodes:
        node("ACL", "SETUSER", "opsdash", "-sentinel|failover")
    checked = await desk.ask(0, **keys)
    assert (checked.passed, checked.credentials) == (False, False)
    assert checked.detail == f"opsdash lacks +sentinel|failover on {', '.join(desk.watch.names)}"
    wrong = await desk.ask(0, auth=login, sentinel_auth={"user": "opsdash", "password": "wrong"})
    assert (wrong.passed, wrong.credentials) == (False, False)
    assert "WRONGPASS" in wrong.detail


async def test_the_manual_command_does_the_same(desk: Desk) -> None:
    binary("redis-cli", "redis-tools")
    raw = {"sentinels": desk.watch.names, "master": GROUP, "target": desk.group[1].name}
    line = manual(raw).replace("sleep 3", "sleep 1")
    done = await run_program(("sh", "-c", line), cwd=desk.folder, env={}, timeout=10.0)
    assert done.stdout.split() == ["OK", "OK"], done
    until(lambda: desk.watch.says() == {desk.group[1].name}, what="all sentinels naming the new primary")


def test_the_component_of_its_page_is_valid(tmp_path: Path) -> None:
    secrets = ("redis-password", "sentinel-password")
    assert problems_of_page("howto-switch-redis_sentinel.md", tmp_path, *secrets) == []


# --- in an engine ------------------------------------------------------------------------------------------------


def calls(desk: Desk, **keys: str) -> tuple[str, str]:
    """`read` and `action` of a component."""
    where = f"kind: redis_sentinel, sentinels: {desk.watch.names}, master: {GROUP}"
    more = "".join(f", {key}: {value}" for key, value in keys.items())
    return f"{{{where}}}", f"{{{where}, target: '{{to.as}}'{more}}}"


async def test_a_failover_is_committed_a_drift_is_seen_and_a_failback_leads_home(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("opsdash.engine.preflights.FRESH", 0.0)
    group, watch = desk.group, desk.watch
    async with shop(desk.folder, group.nodes, *calls(desk)) as orders:
        plan = await orders.plan(target="b")
        assert f"SENTINEL FAILOVER {GROUP}" in plan["manual"]
        switch = await orders.carry_out(SwitchKind.FAILOVER, "b")
        assert (switch["state"], orders.active) == ("committed", "b"), str(switch)
        assert truths(switch)["A"] == "true"

        until(lambda: group.moved_to(group[1]) and watch.at_rest())
        switch = await orders.carry_out(SwitchKind.FAILBACK)
        assert (switch["state"], orders.active) == ("committed", "a"), str(switch)

        until(lambda: group.moved_to(group[0]) and watch.at_rest())
        watch[2]("SENTINEL", "FAILOVER", GROUP)
        until(lambda: watch.says() == {group[1].name}, what="all sentinels naming another one")
        await orders.active_is("b")
        assert "opsdash did not do that" in orders.notes


async def test_what_uncoordinated_costs_is_told_with_the_outcome(desk: Desk) -> None:
    async with shop(desk.folder, desk.group.nodes, *calls(desk, coordinated="false")) as orders:
        plan = await orders.plan(target="b")
        assert "goes on taking writes for about 10 s, which are lost" in str(plan["guards"])
        switch = await orders.carry_out(SwitchKind.FAILOVER, "b")
        assert switch["state"] == "committed", "by the word of the sentinels: who else serves is not asked for here"
        assert f"{desk.group[0].name} goes on taking writes" in switch["detail"]
