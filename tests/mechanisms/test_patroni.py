"""A database under Patroni, switched by an engine: against the stand-in, which misbehaves when it is told to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from opsdash.model.switch import SwitchKind
from tests.engine.support import eventually, eventually_asked, loaded_from, write_workspace
from tests.mechanisms.patroni_server import LOGIN, ROOT, StandinServer, patroni
from tests.mechanisms.patroni_shop import Shop, component, shop, truths
from tests.nonblocking import nothing_of_ours_blocks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def nothing_blocks() -> Iterator[None]:
    with nothing_of_ours_blocks():
        yield


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[StandinServer]:
    with patroni(tmp_path) as standin:
        yield standin


def database(cluster: StandinServer, *, more: str = "") -> str:
    urls = dict(zip(("pg0", "pg1", "pg2"), cluster.urls, strict=True))
    front_door = f"{{kind: http, url: '{cluster.front_door}', facts: {{member: json.member}}}}"
    return component(urls, front_door, login=LOGIN, more=more)


@pytest.fixture
async def db(tmp_path: Path, cluster: StandinServer) -> AsyncIterator[Shop]:
    async with shop(tmp_path / "workspace", database(cluster)) as made:
        yield made


async def test_there_and_back_with_all_that_is_declared_verified(db: Shop, cluster: StandinServer) -> None:
    there = await db.carry_out(SwitchKind.FAILOVER)
    assert there["state"] == "committed", there
    assert truths(there) == {"A": "true", "B": "true", "C": "true", "D": "true"}
    assert 'Successfully switched over to "pg1"' in there["detail"]
    assert (db.active, cluster.leader) == ("pg1", "pg1")
    await eventually_asked(lambda: could_be_carried_out(db, SwitchKind.FAILBACK), hint=cluster.told)
    back = await db.carry_out(SwitchKind.FAILBACK)
    assert back["state"] == "committed", back
    assert (db.active, cluster.leader) == ("pg0", "pg0")
    assert [(post["leader"], post["candidate"]) for post in cluster.told()["posts"]] == [("pg0", "pg1"), ("pg1", "pg0")]


async def could_be_carried_out(db: Shop, kind: SwitchKind) -> bool:
    """Whether the preflight has passed: a member that was a primary until now starts anew as a replica."""
    guards = (await db.plan(kind))["guards"]
    return any(guard["rule"] == "preflight" and guard["result"] == "pass" for guard in guards)


async def test_a_failover_of_patronis_own_is_noticed_as_nobodys_here(db: Shop, cluster: StandinServer) -> None:
    switch = await db.carry_out(SwitchKind.FAILOVER)
    assert switch["state"] == "committed"
    cluster.change(ttl=0.0, members={"pg1": {"alive": False}})
    await eventually(lambda: cluster.leader == "pg0")
    await db.look_again()
    assert db.active == "pg0"
    last = db.switch(switch["id"])
    assert last["state"] == "reverted"
    assert "and db-failover-1 had led it to 'pg1'" in last["detail"], "as pg0, or before that, without a leader"


async def test_success_to_the_wrong_member_is_no_success(tmp_path: Path, cluster: StandinServer) -> None:
    cluster.change(members={"pg1": {"stumbles": True}})
    async with shop(tmp_path / "workspace", database(cluster).replace("deadline: 5s", "deadline: 2s")) as db:
        switch = await db.carry_out(SwitchKind.FAILOVER)
        assert switch["state"] == "no_effect"
        assert "it went to pg2, not to pg1" in switch["detail"]
        assert truths(switch)["A"] == "false"
        await eventually(lambda: db.active == "pg2")


async def test_what_patroni_no_longer_waits_for_is_committed_when_it_comes_about(
    db: Shop, cluster: StandinServer
) -> None:
    cluster.change(looping=False, polls=2)
    plan = await db.plan(SwitchKind.FAILOVER)
    verdict = await db.confirm(plan)
    await eventually(lambda: db.switch(verdict["subject"])["state"] == "verifying")
    assert "503 Service Unavailable: Switchover status unknown" in db.switch(verdict["subject"])["detail"]
    cluster.change(looping=True)
    assert (await db.ended(verdict["subject"]))["state"] == "committed"
    assert len(cluster.told()["posts"]) == 1, "it was not sent again"


async def test_what_patroni_would_not_do_is_known_before_anybody_confirms(db: Shop, cluster: StandinServer) -> None:
    cluster.change(members={"pg1": {"tags": {"nofailover": True}}})
    plan = await db.plan(SwitchKind.FAILOVER)
    assert plan["failed"] == ["preflight"]
    evidence = {guard["rule"]: guard["evidence"] for guard in plan["guards"]}
    assert evidence["preflight"].startswith("pg1 has the tag nofailover")
    refused = await db.confirm(plan)
    assert refused["refused"]["rule"] == "preflight"
    switch = await db.carry_out(SwitchKind.FAILOVER, overrides=["preflight"])
    assert switch["state"] == "aborted"
    assert "no good candidates have been found" in switch["detail"]
    assert cluster.leader == "pg0"


async def test_without_a_leader_a_named_member_is_promoted_where_that_was_decided(
    tmp_path: Path, cluster: StandinServer
) -> None:
    text = database(cluster, more="    when_leader_is_gone: failover")
    async with shop(tmp_path / "workspace", text) as db:
        cluster.change(paused=True, ttl=0.0, members={"pg0": {"alive": False}})
        await eventually(lambda: cluster.leader is None)
        await db.look_again()
        await eventually(lambda: db.active is None)
        plan = await db.plan(SwitchKind.FAILOVER, "pg1")
        assert plan["failed"] == [], plan["guards"]
        assert "what it has not received is lost" in str(plan["guards"])
        switch = await db.carry_out(SwitchKind.FAILOVER, "pg1")
        assert switch["state"] == "committed", switch
        assert truths(switch)["C"] == "true", "nobody but the new side accepts writes"
        assert (db.active, cluster.leader) == ("pg1", "pg1")


def test_the_component_of_the_how_to_is_a_valid_one(tmp_path: Path) -> None:
    page = (ROOT / "docs/howto-switch-patroni.md").read_text(encoding="utf-8")
    text = page.partition('```yaml title="checks/orders-db.yaml"\n')[2].partition("\n```")[0]
    assert "kind: patroni" in text
    settings = "people: {maria: {name: Maria}, ken: {name: Ken}}\n"
    folder = write_workspace(tmp_path, settings=settings, orders_db=text)
    (folder / "patroni-password").write_text("sesame")
    (folder / "patroni-password").chmod(0o600)
    (folder / "runbooks").mkdir()
    (folder / "runbooks/orders-db-down.md").write_text("# The database is down\n\n## 1. Look\n\nLook.\n")
    loaded = loaded_from(folder)
    assert [str(problem) for problem in loaded.problems] == []
    switch = loaded.operation.components["orders-db"].switch
    assert switch is not None
    assert switch.abilities.cas
    assert switch.deadline == 50.0
