"""Action kind `etcd` on a real etcd: alone, as a cluster with ill members, with users, and under an engine."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from typing import TYPE_CHECKING, Any

import pytest

from opsdash.kinds.actions.etcd import KIND, Options, ReadOptions, apply, manual, preflight, read
from opsdash.kinds.base import ActionContext, Applied
from opsdash.kinds.processes import run_program
from opsdash.kinds.resolver import Resolver
from opsdash.model.switch import SwitchKind
from tests.kinds.stores import a_dead_endpoint
from tests.mechanisms.etcd_server import Etcd, etcd
from tests.mechanisms.keyvalue_shop import shop, truths
from tests.mechanisms.support import binary, freeze

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ID = "email:failover:7"
KEYS = ["/mailer/provider", "/mailer/by"]
OPS = {"user": "opsdash", "password": "ops-secret"}
LOOKER = {"user": "looker", "password": "look-secret"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Etcd]:
    """An etcd in which postmark serves."""
    with etcd(tmp_path) as server:
        server.put(KEYS[0], "postmark")
        yield server


def a_context(folder: Path, **more: Any) -> ActionContext:
    return ActionContext(more.pop("action_id", ID), more.pop("deadline", 10.0), folder, Resolver(), 0.0, **more)


def raw(server: Etcd, **more: Any) -> dict[str, Any]:
    return {"endpoints": server.endpoints, "key": KEYS[0], "marker": KEYS[1], "value": "ses", **more}


def options(server: Etcd, **more: Any) -> Options:
    return Options.model_validate(raw(server, **more))


def read_options(server: Etcd, **more: Any) -> ReadOptions:
    return ReadOptions.model_validate({"endpoints": server.endpoints, "key": KEYS[0], "marker": KEYS[1], **more})


async def test_value_and_marker_are_written_in_one_revision_and_only_once(server: Etcd, tmp_path: Path) -> None:
    before = await read(read_options(server), a_context(tmp_path))
    first = await apply(options(server), a_context(tmp_path, expected="postmark", expected_version=before.version))
    assert (first.applied, first.prior) == (Applied.APPLIED, "postmark")
    rows = [server.row(key) for key in KEYS]
    assert {row["mod_revision"] for row in rows if row} == {first.version}
    reading = await read(read_options(server), a_context(tmp_path))
    assert (reading.value, reading.by, reading.version) == ("ses", ID, first.version)
    again = await apply(options(server), a_context(tmp_path, expected="postmark"))
    assert "already (by this very action)" in again.detail
    assert server.revision() == first.version


async def test_somebody_elses_write_wins_over_ours_and_over_our_undo(server: Etcd, tmp_path: Path) -> None:
    beaten = await apply(
        options(server), a_context(tmp_path, expected="postmark", on_sent=lambda: server.put(KEYS[0], "mailgun"))
    )
    assert (beaten.applied, server.get(KEYS[0])) == (Applied.REFUSED, "mailgun")
    assert "says mailgun, where postmark was expected" in beaten.detail
    assert KIND.undo is not None
    back = Options.model_validate(KIND.undo(raw(server), "postmark"))
    assert (await apply(back, a_context(tmp_path))).applied is Applied.REFUSED
    server.put(KEYS[0], "ses")
    assert (await apply(back, a_context(tmp_path))).applied is Applied.APPLIED
    assert server.get(KEYS[0]) == "postmark"


async def test_a_lease_stays_with_its_key(server: Etcd, tmp_path: Path) -> None:
    lease = server.ask("/v3/lease/grant", {"TTL": "60"})["ID"]
    server.put(KEYS[0], "postmark", lease=lease)
    assert (await apply(options(server), a_context(tmp_path))).applied is Applied.APPLIED
    row = server.row(KEYS[0])
    assert row is not None
    assert row["lease"] == lease


async def test_the_preflight_needs_the_right_to_write_and_writes_nothing(server: Etcd, tmp_path: Path) -> None:
    server.switch_on_users(opsdash=(OPS["password"], "READWRITE", KEYS), looker=(LOOKER["password"], "READ", KEYS))
    before = server.revision()
    outcomes = []
    for auth in (OPS, LOOKER, {**OPS, "password": "wrong"}, None):
        found = await preflight(options(server, auth=auth), a_context(tmp_path))
        outcomes.append((found.passed, found.credentials, found.detail.rpartition("etcdserver: ")[2]))
    assert outcomes == [
        (True, True, "/mailer/provider can be written; it says postmark"),
        (False, False, "permission denied"),
        (False, False, "authentication failed, invalid user ID or password"),
        (False, False, "user name is empty; it wants a login, see `auth`"),
    ]
    other = await preflight(options(server, auth=OPS, marker="/other"), a_context(tmp_path))
    assert (other.passed, other.credentials) == (False, False)
    assert server.revision() == before


async def test_a_user_may_do_what_the_role_says_and_no_more(server: Etcd, tmp_path: Path) -> None:
    server.switch_on_users(opsdash=(OPS["password"], "READWRITE", KEYS), looker=(LOOKER["password"], "READ", KEYS))
    denied = await apply(options(server, auth=LOOKER), a_context(tmp_path))
    assert denied.applied is Applied.REFUSED
    assert "permission denied; nothing was written" in denied.detail
    assert server.get(KEYS[0]) == "postmark"
    assert (await apply(options(server, auth=OPS), a_context(tmp_path))).applied is Applied.APPLIED
    assert (await read(read_options(server, auth=LOOKER), a_context(tmp_path))).value == "ses"


async def test_a_login_does_no_harm_where_none_is_asked_for(server: Etcd, tmp_path: Path) -> None:
    found = await preflight(options(server, auth=OPS), a_context(tmp_path))
    assert (found.passed, found.credentials) == (True, None)
    assert (await apply(options(server, auth=OPS), a_context(tmp_path))).applied is Applied.APPLIED


async def test_a_store_without_room_is_seen_by_the_preflight_and_refuses(server: Etcd, tmp_path: Path) -> None:
    member = server.ask("/v3/cluster/member/list", {})["members"][0]["ID"]
    server.ask("/v3/maintenance/alarm", {"action": "ACTIVATE", "memberID": member, "alarm": "NOSPACE"})
    found = await preflight(options(server), a_context(tmp_path))
    assert found.passed is False
    assert '"health":"false"' in found.detail
    result = await apply(options(server), a_context(tmp_path))
    assert result.applied is Applied.REFUSED
    assert "database space exceeded; nothing was written" in result.detail
    assert server.get(KEYS[0]) == "postmark"


async def test_a_server_that_stands_still_with_our_change_leaves_it_unknown(server: Etcd, tmp_path: Path) -> None:
    pid = server.members[0].pid
    context = a_context(tmp_path, deadline=1.0, on_sent=lambda: freeze(pid))
    result = await apply(options(server), context)
    os.kill(pid, signal.SIGCONT)
    assert result.applied is Applied.UNKNOWN
    assert "after the request had been sent" in result.detail
    # Whether it still does it depends on what it sees first, our request or its end. One of the two it is.
    reading = await read(read_options(server), a_context(tmp_path))
    assert (reading.value, reading.by) in {("ses", ID), ("postmark", None)}


async def test_a_server_that_is_killed_with_our_change_leaves_it_unknown(server: Etcd, tmp_path: Path) -> None:
    result = await apply(options(server), a_context(tmp_path, deadline=2.0, on_sent=server.members[0].kill))
    assert result.applied is Applied.UNKNOWN


async def test_of_three_members_one_dead_and_one_frozen_are_passed_over(tmp_path: Path) -> None:
    with etcd(tmp_path, members=3) as cluster, contextlib.ExitStack() as stack:
        cluster.put(KEYS[0], "postmark")
        dead = a_dead_endpoint(stack)
        frozen = cluster.members[0].pid
        freeze(frozen)
        stack.callback(os.kill, frozen, signal.SIGCONT)
        made = options(cluster, endpoints=[dead, *cluster.endpoints])
        # The frozen one may have been the leader: the other two elect another within half a second.
        result = await apply(made, a_context(tmp_path, expected="postmark", deadline=5.0))
        assert result.applied is Applied.APPLIED, result.detail
        found = await preflight(made, a_context(tmp_path, deadline=3.0))
        assert found.passed, found.detail
        assert "2 of 4 endpoints are well" in found.detail


async def test_a_member_that_has_lost_the_others_is_not_believed(tmp_path: Path) -> None:
    with etcd(tmp_path, members=3) as cluster:
        cluster.put(KEYS[0], "postmark")
        for member in cluster.members[1:]:
            member.kill()
        alone = {"endpoints": cluster.endpoints[:1]}
        reading = await read(read_options(cluster, **alone), a_context(tmp_path, deadline=1.0))
        assert reading.value is None
        result = await apply(options(cluster, **alone), a_context(tmp_path, deadline=1.0))
        assert result.applied is Applied.NOT_STARTED
        found = await preflight(options(cluster, **alone), a_context(tmp_path, deadline=2.0))
        assert found.passed is False


async def test_the_manual_command_does_the_same_as_the_action(server: Etcd, tmp_path: Path) -> None:
    shutil.copy(binary("etcdctl", "etcd-client"), tmp_path / "etcdctl")
    server.switch_on_users(opsdash=(OPS["password"], "READWRITE", KEYS))
    (tmp_path / "password").write_text(OPS["password"])
    auth = {"user": "opsdash", "password": "${file:password}"}
    line = f"PATH=.:$PATH ETCDCTL_API=3 {manual(raw(server, auth=auth, value='-it is $HOME'))}"
    finished = await run_program(["bash", "-c", line], cwd=tmp_path, timeout=20)
    assert finished.exit_code == 0, finished.stderr
    assert server.get(KEYS[0]) == "-it is $HOME"


# --- under an engine ------------------------------------------------------------------------------------------------


async def test_a_failover_is_verified_and_a_failback_too(server: Etcd, tmp_path: Path) -> None:
    call = {"kind": "etcd", "endpoints": server.endpoints}
    async with shop(tmp_path, server, call, "/mailer/") as there:
        plan = await there.plan(SwitchKind.FAILOVER)
        assert plan["manual"].startswith("etcdctl --endpoints http://127.0.0.1:")
        assert plan["manual"].endswith("put -- /mailer/provider ses-eu")
        over = await there.carry_out(SwitchKind.FAILOVER)
        assert over["state"] == "committed"
        assert truths(over) == {"A": "true", "B": "true", "C": "stateless", "D": "true"}
        assert (await there.get("provider"), await there.get("switched-by")) == ("ses-eu", over["id"])
        back = await there.carry_out(SwitchKind.FAILBACK)
        assert back["state"] == "committed"
        assert (await there.get("provider"), await there.get("switched-by")) == ("pm-prod", back["id"])


async def test_who_writes_the_key_behind_our_back_is_noticed(server: Etcd, tmp_path: Path) -> None:
    call = {"kind": "etcd", "endpoints": server.endpoints}
    async with shop(tmp_path, server, call, "/mailer/") as there:
        plan = await there.plan(SwitchKind.FAILOVER)
        await there.put("provider", "ses-eu")
        ended = await there.confirm(plan)
        assert ended["state"] == "refused"
        assert "says 'ses-eu' already" in ended["detail"]
        assert there.active == "ses"
        await there.put("provider", "nobody-we-know")
        await there.look_again()
        assert there.active is None


async def test_a_degraded_mode_is_left_by_putting_back_what_was_there(server: Etcd, tmp_path: Path) -> None:
    call = {"kind": "etcd", "endpoints": server.endpoints}
    async with shop(tmp_path, server, call, "/mailer/") as there:
        entered = await there.carry_out(SwitchKind.DEGRADE, "orders-only")
        assert (entered["state"], await there.get("mode")) == ("committed", "orders-only")
        left = await there.carry_out(SwitchKind.RESTORE, "orders-only")
        assert (left["state"], await there.get("mode")) == ("committed", "normal")
