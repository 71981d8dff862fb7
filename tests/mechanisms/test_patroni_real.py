"""Action kind `patroni` against the real thing: three members with PostgreSQL, and etcd. `make test-servers` runs it.

The members of the cluster change their roles from test to test; each begins with whoever leads.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from opsdash.kinds.actions.patroni import NO_LEADER, Options, ReadOptions, apply, manual, preflight, read
from opsdash.kinds.base import ActionContext, ActionResult, Applied, Preflight, Reading
from opsdash.kinds.processes import run_program
from opsdash.kinds.resolver import Resolver
from opsdash.model.switch import SwitchKind
from tests.engine.support import eventually, eventually_asked
from tests.mechanisms.patroni_server import LOGIN, ROOT, RealCluster, ask, real_patroni
from tests.mechanisms.patroni_shop import component, shop, truths
from tests.mechanisms.patroni_standin import Standin
from tests.mechanisms.support import binary, until
from tests.nonblocking import nothing_of_ours_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

AUTH = {"basic": {"user": LOGIN[0], "password": LOGIN[1]}}


@pytest.fixture(autouse=True)
def nothing_blocks() -> Iterator[None]:
    with nothing_of_ours_blocks():
        yield


@pytest.fixture(scope="module")
def real() -> Iterator[RealCluster]:
    with real_patroni() as cluster:
        yield cluster


@pytest.fixture
def cluster(real: RealCluster) -> RealCluster:
    """The cluster in good order."""
    for member in real.members.values():
        if member.server is None or member.server.process.poll() is not None:
            member.running.close()
            member.start()
    real.configure(pause=None)
    real.until_well()
    return real


def a_context(tmp_path: Path, **changes: Any) -> ActionContext:
    return ActionContext(
        **{
            "action_id": "db-failover-1",
            "deadline": 45.0,
            "workspace": tmp_path,
            "resolver": Resolver(),
            "wall": 1_780_000_000.0,
            **changes,
        }
    )


def ends(cluster: RealCluster) -> tuple[str, str]:
    """Who leads, and somebody who could."""
    leader = cluster.until_well()
    return leader, next(name for name in cluster.members if name != leader)


def raw(cluster: RealCluster, candidate: str, **keys: Any) -> dict[str, Any]:
    return {"urls": cluster.urls, "auth": AUTH, "candidate": candidate, "loop_wait": "1s", **keys}


async def switch(cluster: RealCluster, tmp_path: Path, candidate: str, expected: str, **keys: Any) -> ActionResult:
    options = Options.model_validate(raw(cluster, candidate, **keys))
    return await apply(options, a_context(tmp_path, expected=expected))


async def look(cluster: RealCluster, tmp_path: Path) -> Reading:
    return await read(ReadOptions.model_validate({"urls": cluster.urls}), a_context(tmp_path, deadline=10.0))


async def could(cluster: RealCluster, tmp_path: Path, candidate: str, **keys: Any) -> Preflight:
    options = Options.model_validate(raw(cluster, candidate, **keys))
    return await preflight(options, a_context(tmp_path, deadline=5.0))


async def test_the_leader_steps_down_for_the_candidate_and_nobody_else_writes(
    cluster: RealCluster, tmp_path: Path
) -> None:
    leader, candidate = ends(cluster)
    before = await look(cluster, tmp_path)
    assert (before.value, before.serving) == (leader, (leader,))
    found = await could(cluster, tmp_path, candidate)
    assert (found.passed, found.credentials) == (True, True), found
    assert f"{candidate} is streaming, 0 bytes behind {leader}" in found.detail
    result = await switch(cluster, tmp_path, candidate, leader)
    assert (result.applied, result.prior) == (Applied.APPLIED, leader), result
    after = await look(cluster, tmp_path)
    assert (after.value, after.serving) == (candidate, (candidate,))
    again = await switch(cluster, tmp_path, candidate, leader)
    assert (again.applied, again.detail) == (Applied.APPLIED, f"{candidate} leads already")
    cluster.until_well()
    timeline = (await look(cluster, tmp_path)).version
    assert timeline is not None
    assert before.version is not None
    assert int(timeline) == int(before.version) + 1


async def test_another_leader_is_refused_and_the_manual_command_does_the_same(
    cluster: RealCluster, tmp_path: Path
) -> None:
    leader, candidate = ends(cluster)
    result = await switch(cluster, tmp_path, candidate, "pg9")
    assert result.applied is Applied.REFUSED
    finished = await run_program(["bash", "-c", manual(raw(cluster, candidate))], cwd=tmp_path, timeout=60)
    assert finished.stdout == f'Successfully switched over to "{candidate}"', finished
    assert (await look(cluster, tmp_path)).value == candidate != leader


async def test_a_wrong_password_is_noticed_before_and_changes_nothing(cluster: RealCluster, tmp_path: Path) -> None:
    leader, candidate = ends(cluster)
    wrong = {"basic": {"user": LOGIN[0], "password": "wrong"}}
    found = await could(cluster, tmp_path, candidate, auth=wrong)
    assert (found.passed, found.credentials) == (False, False)
    result = await switch(cluster, tmp_path, candidate, leader, auth=wrong)
    assert result.applied is Applied.REFUSED
    assert cluster.leader() == leader


async def test_a_dead_leader_is_switched_over_from_as_soon_as_its_lock_expires(
    cluster: RealCluster, tmp_path: Path
) -> None:
    leader, candidate = ends(cluster)
    cluster.members[leader].kill()
    reading = await look(cluster, tmp_path)
    assert (reading.value, reading.serving) == (leader, None)
    assert f"whether {leader} accepts writes is not known" in reading.detail
    result = await switch(cluster, tmp_path, candidate, leader)
    # Patroni waits for 20 s, which is how long the lock of this cluster lives.
    assert result.applied in {Applied.APPLIED, Applied.UNKNOWN}, result

    async def moved() -> bool:
        found = await look(cluster, tmp_path)
        return (found.value, found.serving) == (candidate, (candidate,))

    await eventually_asked(moved, within=30)


async def test_without_a_leader_a_failover_takes_what_there_is(cluster: RealCluster, tmp_path: Path) -> None:
    leader, candidate = ends(cluster)
    cluster.configure(pause=True)
    cluster.members[leader].kill()

    async def gone() -> bool:
        return await look(cluster, tmp_path) == Reading(NO_LEADER, detail="in maintenance mode (paused)", serving=())

    await eventually_asked(gone, within=40)
    refused = await switch(cluster, tmp_path, candidate, NO_LEADER)
    assert refused.applied is Applied.REFUSED
    found = await could(cluster, tmp_path, candidate, when_leader_is_gone="failover")
    assert found.passed is True, found
    assert "what it has not received is lost" in found.detail
    result = await switch(cluster, tmp_path, candidate, NO_LEADER, when_leader_is_gone="failover")
    assert result.applied is Applied.APPLIED, result
    assert f'Successfully failed over to "{candidate}"' in result.detail


async def test_a_second_primary_is_seen_although_patroni_does_not_count_it(
    cluster: RealCluster, tmp_path: Path
) -> None:
    leader, other = ends(cluster)
    cluster.configure(pause=True)
    psql(cluster, other, "select pg_promote()")
    reading = await look(cluster, tmp_path)
    assert (reading.value, reading.serving) == (leader, tuple(sorted((leader, other))))
    found = await could(cluster, tmp_path, other)
    assert found.passed is False
    assert f"{other} accepts writes, while Patroni says {leader}: two primaries" in found.detail


def psql(cluster: RealCluster, member: str, statement: str) -> str:
    program = binary("psql", "postgresql-client")
    place = ["-h", "127.0.0.1", "-p", str(cluster.members[member].postgres), "-U", "postgres"]
    words = [program, "-XAtq", *place, "-c", statement]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


def who_writes(cluster: RealCluster, file: Path) -> None:
    """The script of docs/howto-switch-patroni.md, with the places of this cluster."""
    page = (ROOT / "docs/howto-switch-patroni.md").read_text(encoding="utf-8")
    text = page.partition('```sh title="bin/who-writes"\n')[2].partition("```")[0]
    assert "host=db-front.internal port=5000 dbname=orders user=opsdash" in text
    hosts, ports = (
        ",".join("127.0.0.1" for _ in cluster.members),
        ",".join(str(member.postgres) for member in cluster.members.values()),
    )
    place = f"host={hosts} port={ports} dbname=postgres user=postgres target_session_attrs=read-write"
    file.parent.mkdir()
    file.write_text(text.replace("host=db-front.internal port=5000 dbname=orders user=opsdash", place))
    file.chmod(0o755)


async def test_an_engine_switches_it_and_the_database_itself_says_who_wrote(
    cluster: RealCluster, tmp_path: Path
) -> None:
    leader, candidate = ends(cluster)
    psql(
        cluster,
        leader,
        "create schema if not exists opsdash; create table if not exists opsdash.written (at timestamptz)",
    )
    who_writes(cluster, tmp_path / "bin/who-writes")
    front_door = "{kind: command, argv: [bin/who-writes], facts: {member: output}}"
    urls = {name: cluster.members[name].url for name in (leader, *(each for each in cluster.members if each != leader))}
    text = component(urls, front_door, login=LOGIN, ttl="20s")
    async with shop(tmp_path, text, active=leader) as db:
        there = await db.carry_out(SwitchKind.FAILOVER, candidate, within=60)
        assert there["state"] == "committed", there
        assert truths(there) == {"A": "true", "B": "true", "C": "true", "D": "true"}
        cluster.until_well()
        back = await db.carry_out(SwitchKind.FAILBACK, leader, within=60)
        assert back["state"] == "committed", back
        cluster.until_well()
        cluster.members[leader].kill()
        await eventually_asked(lambda: moved_by_itself(cluster, leader), within=60)
        await db.look_again()
        await eventually(lambda: db.switch(back["id"])["state"] == "reverted")


async def moved_by_itself(cluster: RealCluster, leader: str) -> bool:
    now = await asyncio.to_thread(cluster.leader)
    return now not in {None, leader}


# --- the stand-in says the same --------------------------------------------------------------------------------------

REFUSALS: tuple[tuple[str, dict[str, str], tuple[str, str] | None], ...] = (
    ("switchover", {}, LOGIN),
    ("switchover", {}, None),
    ("switchover", {}, (LOGIN[0], "wrong")),
    ("switchover", {"leader": "pg9", "candidate": "{candidate}"}, LOGIN),
    ("switchover", {"leader": "{leader}", "candidate": "pg9"}, LOGIN),
    ("switchover", {"leader": "{leader}", "candidate": "{leader}"}, LOGIN),
    ("switchover", {"candidate": "{candidate}"}, LOGIN),
    ("failover", {"leader": "{leader}"}, LOGIN),
    ("failover", {"leader": "pg9", "candidate": "{candidate}"}, LOGIN),
    ("failover", {"candidate": "pg9"}, LOGIN),
    ("nonsense", {"candidate": "pg9"}, LOGIN),
)


def test_the_stand_in_refuses_as_the_real_one_does(cluster: RealCluster) -> None:
    leader, candidate = ends(cluster)
    with Standin((leader, candidate), login=LOGIN).running() as standin:
        for action, wanted, login in REFUSALS:
            said = {key: value.format(leader=leader, candidate=candidate) for key, value in wanted.items()}
            real, other = (
                ask("POST", f"{url}/{action}", said, login=login)
                for url in (cluster.members[candidate].url, standin[candidate].url)
            )
            assert other == real, (action, said)
    assert cluster.leader() == leader


def test_the_stand_in_describes_itself_as_the_real_one_does(cluster: RealCluster) -> None:
    leader, candidate = ends(cluster)
    own = {"database_system_identifier", "replication", "replication_state"}
    with Standin((leader, candidate), login=LOGIN).running() as standin:
        standin.until_led_by(leader)
        for path, only_real in (("primary", own), ("replica", own), ("health", own), ("config", {"postgresql"})):
            for name in (leader, candidate):
                status, wanted = answered(cluster.members[name].url, path)
                assert (standin_said := answered(standin[name].url, path))[0] == status, (path, name)
                assert set(standin_said[1]) <= set(wanted) <= set(standin_said[1]) | only_real, (path, name)
        told, wanted = answered(standin[leader].url, "cluster")[1], answered(cluster.members[leader].url, "cluster")[1]
        assert set(told) == set(wanted)
        members = {each["name"]: each for each in wanted["members"]}
        for each in told["members"]:
            real = members[each["name"]]
            assert set(each) == set(real)
            assert (each["role"], each["state"]) == (real["role"], real["state"])
            assert real["api_url"] == f"{cluster.members[each['name']].url}/patroni"


def answered(url: str, path: str) -> tuple[int, dict[str, Any]]:
    """Status and document, as soon as there is one of a server that runs: Patroni's own connection to PostgreSQL
    breaks at each restart, and the first who asks afterwards is told "unknown".
    """

    def said() -> tuple[int, dict[str, Any]] | None:
        status, text = ask("GET", f"{url}/{path}")
        document: dict[str, Any] = json.loads(text)
        return None if document.get("state") == "unknown" else (status, document)

    found: tuple[int, dict[str, Any]] = until(said, within=10, what=f"an answer to {path}")
    return found
