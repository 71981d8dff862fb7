"""Injections into servers of others: a real HAProxy, stand-ins for systemd and Toxiproxy; and a whole guard on one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from opsdash.kinds.base import Applied
from opsdash.kinds.injecting import InjectionContext
from opsdash.kinds.registry import injection_kind
from opsdash.kinds.resolver import Resolver
from opsdash.model.drill import Injection
from tests.engine.faults import Desk, ended
from tests.mechanisms.haproxy_server import haproxy
from tests.mechanisms.support import until
from tests.mechanisms.systemd_server import DEAF, systemd
from tests.mechanisms.toxiproxy_server import toxiproxy
from tests.nonblocking import nothing_of_ours_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from opsdash.kinds.injecting import InjectionKind
    from tests.mechanisms.haproxy_server import HAProxy
    from tests.mechanisms.systemd_server import Systemd
    from tests.mechanisms.toxiproxy_server import Toxiproxy

BOTH = "  server primary {primary} check\n  server standby {standby} check\n"


def a_context(folder: Path, deadline: float = 10.0) -> InjectionContext:
    return InjectionContext("run-1", deadline, folder, Resolver(), 0.0, limit=600.0, folder=folder)


def made(kind: InjectionKind, raw: dict[str, Any]) -> tuple[Any, Any]:
    """Its options, and those of the way back."""
    return kind.options.model_validate(raw), kind.options.model_validate(kind.undo_options(raw, None))


# --- haproxy -----------------------------------------------------------------------------------------------------


@pytest.fixture
def balancer(tmp_path: Path) -> Iterator[HAProxy]:
    with haproxy(tmp_path / "haproxy", servers=BOTH) as found:
        for name in ("primary", "standby"):
            found.until_state(name, "UP")
        yield found


@pytest.mark.parametrize("state", ["maint", "drain"])
async def test_a_server_in_maint_or_drain_gets_nothing_until_it_is_undone(balancer: HAProxy, state: str) -> None:
    kind, context = injection_kind("haproxy"), a_context(balancer.folder)
    run, undo = made(kind, {"socket": str(balancer.socket), "backend": "shop", "server": "primary", "state": state})
    with nothing_of_ours_blocks():
        assert (await kind.preflight(run, context)).passed is True
        assert (await kind.inject(run, context)).applied is Applied.APPLIED
        assert (await kind.verify_undone(undo, context))[0] is False
    assert balancer.answered_by() == {"standby"}
    found = await kind.preflight(run, context)
    assert found.detail == f"primary is in {state} already, which is not the drill's to take back"
    for _ in range(2):
        assert (await kind.undo(undo, context)).applied is Applied.APPLIED
        assert (await kind.verify_undone(undo, context))[0] is True
    balancer.until_state("primary", "UP")
    assert balancer.answered_by() == {"primary", "standby"}


async def test_haproxy_that_does_not_permit_it_or_is_not_there_is_said_before(balancer: HAProxy) -> None:
    kind, context = injection_kind("haproxy"), a_context(balancer.folder)
    raw = {"backend": "shop", "server": "primary"}
    for socket, server, words in (
        (balancer.operator, "primary", "is of level operator; this needs level admin"),
        (balancer.folder / "nowhere", "primary", "there is no such socket"),
        (balancer.socket, "fourth", "has no server fourth"),
    ):
        run, undo = made(kind, {**raw, "socket": str(socket), "server": server})
        found = await kind.preflight(run, context)
        assert found.passed is False
        assert words in found.detail
        assert (await kind.undo(undo, context)).applied is not Applied.APPLIED or socket == balancer.operator
    with pytest.raises(ValidationError):
        kind.options.model_validate({**raw, "socket": "s", "server": "primary; shutdown"})


async def test_a_guard_takes_a_server_out_of_maint_when_the_engine_is_gone(balancer: HAProxy, tmp_path: Path) -> None:
    (tmp_path / ".opsdash").mkdir()
    desk = Desk(tmp_path)
    raw = {"socket": str(balancer.socket), "backend": "shop", "server": "primary"}
    guard = await desk.arm(Injection("haproxy", raw))
    assert [done.applied for done in await guard.inject()] == [Applied.APPLIED]
    assert balancer.state("primary") == "MAINT"
    guard.let_go()
    await asyncio.to_thread(balancer.until_state, "primary", "UP")
    await asyncio.to_thread(until, lambda: "undone" in desk.events(), what="the guard's last line")
    again = await desk.arm(Injection("haproxy", raw), run="run-2", limit=1.0)
    await again.inject()
    assert (await ended(again)).verified is True


# --- systemd -----------------------------------------------------------------------------------------------------


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Systemd]:
    with systemd(tmp_path) as found:
        yield found


def unit(**more: Any) -> dict[str, Any]:
    return {"unit": "mailer-a", "program": ["./systemctl"], "timer": ["./systemd-run"], **more}


async def test_a_unit_is_stopped_after_its_start_was_laid_down_on_the_target(manager: Systemd) -> None:
    kind, context = injection_kind("systemd"), a_context(manager.folder)
    run, undo = made(kind, unit())
    with nothing_of_ours_blocks():
        assert (await kind.preflight(run, context)).passed is True
        done = await kind.inject(run, context)
    assert done.applied is Applied.APPLIED
    assert "the target undoes it by itself after 600 s" in done.detail
    assert manager.state("mailer-a") == "inactive"
    timer = "opsdash-drill-mailer-a.service"
    [armed] = (manager.folder / "timers").read_text().splitlines()
    assert armed == f"--on-active=600s --unit={timer} --collect systemctl start mailer-a"
    assert (await kind.verify_undone(undo, context))[0] is False
    assert (await kind.preflight(run, context)).passed is False
    for _ in range(2):
        assert (await kind.undo(undo, context)).applied is Applied.APPLIED
        assert (await kind.verify_undone(undo, context))[0] is True
    assert manager.state("mailer-a") == "active"
    assert f"stop {timer}.timer" in manager.changes()


async def test_where_the_undo_cannot_be_laid_down_nothing_is_stopped(manager: Systemd) -> None:
    kind, context = injection_kind("systemd"), a_context(manager.folder)
    (manager.folder / "no-timers").touch()
    run, _ = made(kind, unit())
    done = await kind.inject(run, context)
    assert done.applied is Applied.NOT_STARTED
    assert "Access denied" in done.detail
    assert manager.state("mailer-a") == "active"
    run, _ = made(kind, unit(timer=["./nowhere"]))
    assert "write `timer: null` to do without" in (await kind.preflight(run, context)).detail
    run, undo = made(kind, unit(timer=None))
    assert (await kind.inject(run, context)).applied is Applied.APPLIED
    assert (await kind.undo(undo, context)).applied is Applied.APPLIED


async def test_a_unit_can_be_started_as_a_fault_and_one_that_does_not_stop_is_not_undone(manager: Systemd) -> None:
    kind, context = injection_kind("systemd"), a_context(manager.folder, deadline=3.0)
    run, undo = made(kind, unit(unit="mailer-b", do="start"))
    assert (await kind.preflight(run, context)).passed is True
    assert (await kind.inject(run, context)).applied is Applied.APPLIED
    manager.write("mailer-b", DEAF)
    assert (await kind.undo(undo, context)).applied is Applied.UNKNOWN
    assert (await kind.verify_undone(undo, context))[0] is False
    assert (await kind.preflight(kind.options.model_validate(unit(unit="nobody")), context)).passed is False
    assert kind.manual_command(unit(do="start", sudo=True)) == "sudo ./systemctl stop mailer-a"


# --- toxiproxy ---------------------------------------------------------------------------------------------------


@pytest.fixture
def toxic() -> Iterator[Toxiproxy]:
    with toxiproxy() as found:
        yield found


@pytest.mark.parametrize("kind_of_toxic", ["latency", "down"])
async def test_a_toxic_is_added_and_taken_away_and_others_stay(
    toxic: Toxiproxy, tmp_path: Path, kind_of_toxic: str
) -> None:
    kind, context = injection_kind("toxiproxy"), a_context(tmp_path)
    toxic.proxies["db"]["toxics"].append({"name": "somebody's", "type": "slicer"})
    attributes = {"latency": 2000} if kind_of_toxic == "latency" else {}
    raw = {"api": toxic.url, "proxy": "db", "toxic": kind_of_toxic, "attributes": attributes}
    run, undo = made(kind, raw)
    with nothing_of_ours_blocks():
        assert (await kind.preflight(run, context)).passed is True
        assert (await kind.inject(run, context)).applied is Applied.APPLIED
        assert (await kind.verify_undone(undo, context))[0] is False
        assert (await kind.preflight(run, context)).passed is False
        for _ in range(2):
            assert (await kind.undo(undo, context)).applied is Applied.APPLIED
            assert (await kind.verify_undone(undo, context))[0] is True
    assert toxic.proxies["db"]["enabled"] is True
    assert [each["name"] for each in toxic.proxies["db"]["toxics"]] == ["somebody's"]
    assert kind.manual_command(raw).startswith("curl --silent --show-error --fail --request ")


async def test_toxiproxy_that_errs_or_is_gone_leaves_it_open(toxic: Toxiproxy, tmp_path: Path) -> None:
    kind, context = injection_kind("toxiproxy"), a_context(tmp_path)
    run, undo = made(kind, {"api": toxic.url, "proxy": "db"})
    missing, _ = made(kind, {"api": toxic.url, "proxy": "nobody"})
    assert "there is no proxy nobody" in (await kind.preflight(missing, context)).detail
    assert (await kind.inject(missing, context)).applied is Applied.REFUSED
    toxic.trouble = 500
    assert (await kind.undo(undo, context)).applied is Applied.UNKNOWN
    assert (await kind.verify_undone(undo, context))[0] is None
    gone, _ = made(kind, {"api": "http://127.0.0.1:9", "proxy": "db"})
    assert (await kind.inject(gone, context)).applied is Applied.NOT_STARTED
    assert (await kind.inject(run, context)).applied is Applied.UNKNOWN
