"""`dns_update` against real name servers: Knot and BIND, a secondary that lags behind, and whole switches."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import dns.message
import pytest

from opsdash.core import mechanisms
from opsdash.kinds.actions.dns_update import KIND, Options, ReadOptions, apply, manual, preflight, read
from opsdash.kinds.base import ActionContext, ActionResult, Applied, Preflight, Reading
from opsdash.kinds.processes import run_program
from opsdash.kinds.resolver import Resolver
from opsdash.model import inputs as i
from opsdash.model.switch import SwitchKind
from tests.engine.support import eventually, loaded_from, running, write_workspace
from tests.engine.support import serving as web_server
from tests.mechanisms.dns_update_server import (
    APP,
    BLUE,
    GREEN,
    MARKER,
    SECRETS,
    ZONE,
    NameServer,
    bind,
    blocks,
    free_name_port,
    knot,
    nsupdate,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from opsdash.engine.engine import Engine
    from opsdash.model.views import SwitchView

ID = "shop-failover-7"
PAGE = Path(__file__).parents[2] / "docs/howto-switch-dns_update.md"


@pytest.fixture(params=[knot, bind], ids=["knot", "bind"])
def server(request: pytest.FixtureRequest) -> Iterator[NameServer]:
    with request.param() as server:
        yield server


@pytest.fixture
def primary() -> Iterator[NameServer]:
    """One of them, where it does not matter which."""
    with knot() as server:
        yield server


def a_context(action_id: str = ID, **keys: Any) -> ActionContext:
    return ActionContext(action_id, keys.pop("deadline", 20.0), Path(), Resolver(), 0.0, **keys)


def place(server: NameServer, **keys: Any) -> dict[str, Any]:
    return {"server": server.address, "zone": ZONE, "name": APP, "servers": [server.address], **keys}


def to(at: NameServer, value: str = GREEN, key: str = "opsdash", secret: str = "", **keys: Any) -> Options:
    named = {"name": key, "secret": secret or SECRETS[key]}
    return Options.model_validate({"value": value, "ttl": "30s", "key": named, **place(at), **keys})


async def switched(at: NameServer, context: ActionContext, **keys: Any) -> ActionResult:
    return await apply(to(at, **keys), context)


async def seen(at: NameServer, *secondaries: NameServer, deadline: float = 20.0, **keys: Any) -> Reading:
    servers = {"servers": [each.address for each in secondaries]} if secondaries else {}
    return await read(ReadOptions.model_validate(place(at, **servers, **keys)), a_context("read", deadline=deadline))


async def tried(at: NameServer, **keys: Any) -> Preflight:
    return await preflight(to(at, **keys), a_context("preflight"))


# --- one server --------------------------------------------------------------------------------------------------


async def test_a_switch_and_the_way_back(server: NameServer) -> None:
    there = await switched(server, a_context(expected=BLUE))
    assert (there.applied, there.prior) == (Applied.APPLIED, BLUE)
    assert (server.ask(), server.ask(MARKER, "TXT")) == ([GREEN], [f'"opsdash-switch={ID}" "{GREEN}"'])
    found = await seen(server)
    assert (found.value, found.by, found.serving, found.version) == (GREEN, ID, (GREEN,), "2")
    again = await switched(server, a_context(expected=BLUE))
    assert (again.applied, again.prior) == (Applied.APPLIED, BLUE)
    assert "already" in again.detail
    assert server.serial() == 2, "nothing was sent"
    back = await switched(server, a_context("shop-failback-8", expected=GREEN), value=BLUE)
    assert (back.applied, back.prior) == (Applied.APPLIED, GREEN)
    found = await seen(server)
    assert (found.value, found.by) == (BLUE, "shop-failback-8")
    assert server.ask("other.example.net") == ["192.0.2.9"]


@pytest.mark.parametrize(
    ("keys", "before"),
    [
        ({"name": "six.example.net", "type": "AAAA", "value": "2001:db8::20"}, "2001:db8::10"),
        ({"name": "alias.example.net", "type": "CNAME", "value": "green.example.net"}, "blue.example.net"),
        ({"name": "many.example.net", "value": "203.0.113.20, 203.0.113.21"}, "203.0.113.9, 203.0.113.10"),
        ({"name": "unmarked.example.net", "marker": False}, BLUE),
    ],
    ids=["AAAA", "CNAME", "many", "unmarked"],
)
async def test_every_type_is_replaced_and_put_back(server: NameServer, keys: dict[str, Any], before: str) -> None:
    place = {key: value for key, value in keys.items() if key != "value"}
    assert (await tried(server, **keys)).passed is True
    result = await switched(server, a_context(expected=before), **keys)
    assert (result.applied, result.prior) == (Applied.APPLIED, before)
    found = await seen(server, **place)
    assert (found.value, found.by) == (keys.get("value", GREEN), None if "marker" in keys else ID)
    assert KIND.undo is not None
    undo = KIND.undo(keys, before)
    assert (await switched(server, a_context("undo-1"), **undo)).applied is Applied.APPLIED
    assert (await seen(server, **place)).value == before


@pytest.mark.parametrize(
    ("name", "rdtype", "value"),
    [(APP, "A", GREEN), ("six.example.net", "AAAA", "2001:db8::20"), ("alias.example.net", "CNAME", "b.example.net")],
)
async def test_the_preflight_changes_nothing(server: NameServer, name: str, rdtype: str, value: str) -> None:
    before = (server.serial(), server.ask(name, rdtype), server.ask(f"_opsdash.{name}", "TXT"))
    for _ in range(2):
        found = await tried(server, name=name, type=rdtype, value=value)
        assert (found.passed, found.credentials) == (True, True)
        assert found.detail.endswith("serial 1, TTL 30s; the key opsdash may change it")
    assert (server.serial(), server.ask(name, rdtype), server.ask(f"_opsdash.{name}", "TXT")) == before


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"name": "other.example.net", "value": "192.0.2.10"}, "knows the key opsdash, which may not change other."),
        ({"name": "unmarked.example.net"}, "but not _opsdash.unmarked.example.net TXT: allow it, or set `marker"),
        ({"key": "stranger"}, "stranger"),
        ({"key": "nobody", "secret": SECRETS["opsdash"]}, "does not know the key nobody"),
        ({"secret": SECRETS["stranger"]}, "has another secret for the key opsdash (BADSIG)"),
    ],
    ids=["outside its policy", "marker outside its policy", "no permission", "unknown key", "wrong secret"],
)
async def test_who_may_not_changes_nothing_and_is_told_why(
    server: NameServer, keys: dict[str, Any], words: str
) -> None:
    found = await tried(server, **keys)
    assert (found.passed, found.credentials) == (False, False)
    assert words in found.detail
    refused = await switched(server, a_context(), **keys)
    assert refused.applied is Applied.REFUSED
    name = keys.get("name", APP)
    assert f"; {name} A is {server.ask(name)[0]}" in refused.detail
    assert server.serial() == 1


async def test_a_zone_that_it_does_not_have_is_told(server: NameServer) -> None:
    result = await switched(server, a_context(), zone="example.org", name="app.example.org")
    assert result.applied is Applied.NOT_STARTED
    assert "answers REFUSED when asked for example.org" in result.detail


async def test_a_clock_that_is_wrong_is_told(server: NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns.message, "time", SimpleNamespace(time=lambda: time.time() + 3600))
    found = await tried(server)
    assert (found.passed, found.credentials) == (False, False)
    assert "does not accept our clock, which differs from its own by 1h (BADTIME)" in found.detail
    assert (await switched(server, a_context(expected=BLUE))).applied is Applied.REFUSED
    assert server.ask() == [BLUE]


async def test_whoever_is_faster_wins_and_the_marker_tells_who_it_was(server: NameServer) -> None:
    other = await switched(server, a_context(expected=BLUE, on_sent=lambda: server.by_hand("203.0.113.30")))
    assert other.applied is Applied.REFUSED
    assert "(NXRRSET); app.example.net A is 203.0.113.30" in other.detail
    server.by_hand(BLUE)

    def by_us(action_id: str) -> None:
        server.by_hand(GREEN)
        server.by_hand(f'"opsdash-switch={action_id}" "{GREEN}"', MARKER, "TXT")

    somebody = await switched(server, a_context(expected=BLUE, on_sent=lambda: by_us("shop-failover-8")))
    assert somebody.applied is Applied.REFUSED
    assert f"is {GREEN}, by shop-failover-8" in somebody.detail
    server.by_hand(BLUE)
    mine = await switched(server, a_context(expected=BLUE, on_sent=lambda: by_us(ID)))
    assert (mine.applied, mine.prior) == (Applied.APPLIED, BLUE)


async def test_of_many_at_once_exactly_one_is_carried_out(server: NameServer) -> None:
    values = [f"203.0.113.{number}" for number in range(100, 106)]
    results = await asyncio.gather(
        *(switched(server, a_context(f"a-{value}", expected=BLUE), value=value) for value in values)
    )
    applied = [value for value, result in zip(values, results, strict=True) if result.applied is Applied.APPLIED]
    assert len(applied) == 1
    assert {result.applied for result in results} == {Applied.APPLIED, Applied.REFUSED}
    found = await seen(server)
    assert (found.value, found.by) == (applied[0], f"a-{applied[0]}")
    assert server.serial() == 2


async def test_a_change_by_hand_is_nobodys(server: NameServer) -> None:
    await switched(server, a_context(expected=BLUE))
    server.by_hand("203.0.113.30")
    found = await seen(server)
    assert (found.value, found.by) == ("203.0.113.30", None)


async def test_a_server_that_hangs_leaves_it_open_and_may_still_do_it(server: NameServer) -> None:
    result = await switched(server, a_context(expected=BLUE, deadline=2.0, on_sent=server.freeze))
    assert result.applied is Applied.UNKNOWN
    assert "after the update had been sent" in result.detail
    assert (await seen(server, deadline=0.8)).detail.endswith("does not answer")
    assert (await switched(server, a_context(expected=BLUE, deadline=0.8))).applied is Applied.NOT_STARTED
    server.thaw()
    async with asyncio.timeout(5):
        while (found := await seen(server)).value != GREEN:
            assert found.value in {BLUE, None}
    assert found.by == ID


async def test_a_server_that_has_died_has_started_nothing(server: NameServer) -> None:
    server.server.kill()
    result = await switched(server, a_context(expected=BLUE, deadline=0.5))
    assert result.applied is Applied.NOT_STARTED
    assert result.detail == f"{server.address} does not answer; nothing was sent"
    assert (await seen(server, deadline=0.5)).value is None


async def test_the_manual_command_does_the_same_and_leaves_no_marker(server: NameServer, tmp_path: Path) -> None:
    path = nsupdate(tmp_path)
    (tmp_path / "secret").write_text(SECRETS["opsdash"])
    await switched(server, a_context(expected=BLUE))
    raw = place(server, value=BLUE, ttl="20s", key={"name": "opsdash", "secret": "${file:secret}"})
    finished = await run_program(["bash", "-c", manual(raw)], cwd=tmp_path, env={"PATH": path}, timeout=20)
    assert finished.exit_code == 0, finished.stderr
    assert (server.ask(), server.ask(MARKER, "TXT")) == ([BLUE], [])
    assert (await seen(server)).detail.endswith("TTL 20s")


# --- a secondary -------------------------------------------------------------------------------------------------


async def test_a_secondary_that_lags_behind_still_serves_the_old_one(primary: NameServer) -> None:
    with knot(primary=primary) as secondary:
        assert (await seen(primary, secondary)).value == BLUE
        assert (await tried(primary, servers=[secondary.address])).passed is True
        assert (await switched(primary, a_context(expected=BLUE))).applied is Applied.APPLIED
        found = await seen(primary, secondary)
        assert (found.value, found.serving, found.by) == (None, (GREEN, BLUE), None)
        assert f"{secondary.address} says it is {BLUE} (serial 1)" in found.detail
        lagging = await tried(primary, servers=[secondary.address], value=BLUE)
        assert (lagging.passed, lagging.credentials) == (False, True)
        secondary.refresh()
        found = await seen(primary, secondary)
        assert (found.value, found.serving, found.by) == (GREEN, (GREEN,), ID)


async def test_a_secondary_of_knot_passes_updates_on_and_compares_as_the_primary_does(primary: NameServer) -> None:
    with knot(primary=primary) as secondary:
        primary.by_hand("203.0.113.30")
        late = await switched(secondary, a_context(expected=BLUE))
        assert late.applied is Applied.REFUSED, "it does not know yet, and the primary does"
        secondary.refresh()
        assert (await switched(secondary, a_context(expected="203.0.113.30"))).applied is Applied.APPLIED
        assert primary.ask() == [GREEN]


# --- a switch of a component -------------------------------------------------------------------------------------

SHOP = """
tier: essential
defaults: {{every: 1s, timeout: 500ms, down_after: 1, up_after: 1}}
providers:
  blue: {{as: {blue}}}
  green: {{as: {green}}}
each:
  up: {{kind: http, url: "{url}/{{id}}"}}
checks:
  front: {{kind: dns, name: app.example.net, servers: [{front}], facts: {{address: "answers[0]"}}}}
switch:
  read: {{kind: dns_update, {place}}}
  action: {{kind: dns_update, {place}, value: "{{to.as}}", ttl: 1s, key: {{name: {key}, secret: "${{TSIG_SECRET}}"}}}}
  served_by: {{check: front, value: facts.address, times: 1}}
  old_out: mechanism
  verify: [front]
  deadline: 2s
modes:
  sorry-page:
    as: 203.0.113.99
    read: {{kind: dns_update, {place}}}
    enter: {{kind: dns_update, {place}, value: 203.0.113.99, ttl: 1s, key: {{name: {key}, secret: "${{TSIG_SECRET}}"}}}}
    verify: [front]
"""


@asynccontextmanager
async def a_shop(
    folder: Path, primary: NameServer, *secondaries: NameServer, key: str = "opsdash"
) -> AsyncIterator[Engine]:
    """An engine over a shop whose two sides are well, and whose record leads to blue."""
    servers = [each.address for each in secondaries] or [primary.address]
    where = f"server: {primary.address}, zone: {ZONE}, name: {APP}, servers: [{', '.join(servers)}]"
    async with web_server() as target:
        text = SHOP.format(blue=BLUE, green=GREEN, url=target.url, front=servers[0], place=where, key=key)
        write_workspace(folder, shop=text)
        async with running(folder, TSIG_SECRET=SECRETS[key]) as engine:
            for check in engine.loaded.operation.checks:
                engine.poller.poll(check)
            await eventually(lambda: row(engine)["status"] == "ok" and row(engine)["redundancy"] == "ready")
            await eventually(lambda: row(engine)["active"] == "blue")
            yield engine


def row(engine: Engine) -> Any:
    return engine.viewer().row("shop")


async def begun(engine: Engine, kind: SwitchKind, target: str | None = None, *, override: tuple[str, ...] = ()) -> str:
    """Confirm the plan as it stands; the id of the switch."""
    plan = await engine.plan("shop", kind, target)
    assert plan["refused"] is None, plan["refused"]
    assert set(plan["failed"]) == set(override), plan["guards"]
    intent = i.SwitchIntent(
        component="shop",
        kind=SwitchKind(plan["kind"]),
        generation=plan["generation"],
        source=plan["source"],
        target=plan["target"],
        reason="a test",
        overrides=override,
        typed="shop" if override else "",
    )
    verdict = await engine.submit(os.urandom(8).hex(), "maria", intent)
    assert verdict["refused"] is None, verdict["refused"]
    return verdict["subject"]


def view(engine: Engine, switch: str) -> SwitchView:
    return engine.viewer().switch(engine.runner.world.get("switches", switch))


async def carried_out(engine: Engine, kind: SwitchKind, target: str | None = None, **keys: Any) -> SwitchView:
    switch = await begun(engine, kind, target, **keys)
    await engine.wait_for_switch(switch)
    return view(engine, switch)


def truths(switch: SwitchView) -> dict[str, str]:
    return {fact["name"]: fact["truth"] for fact in switch["facts"]}


async def test_the_shop_goes_to_green_and_back(server: NameServer, tmp_path: Path) -> None:
    async with a_shop(tmp_path, server) as engine:
        there = await carried_out(engine, SwitchKind.FAILOVER)
        assert (there["state"], row(engine)["active"]) == ("committed", "green")
        assert truths(there) == {"A": "true", "B": "true", "C": "true", "D": "true"}
        assert server.ask(MARKER, "TXT") == [f'"opsdash-switch={there["id"]}" "{GREEN}"']
        back = await carried_out(engine, SwitchKind.FAILBACK)
        assert (back["state"], row(engine)["active"]) == ("committed", "blue")
        assert server.ask() == [BLUE]


async def test_a_switch_is_committed_only_when_every_server_has_it(primary: NameServer, tmp_path: Path) -> None:
    with knot(primary=primary) as slow:
        async with a_shop(tmp_path, primary, slow) as engine:
            switch = await begun(engine, SwitchKind.FAILOVER)
            await eventually(lambda: truths(view(engine, switch)).get("C") == "false")
            assert view(engine, switch)["state"] == "verifying"
            assert truths(view(engine, switch)) == {"A": "unknown", "B": "false", "C": "false", "D": "true"}
            slow.refresh()
            await engine.wait_for_switch(switch)
            assert view(engine, switch)["state"] == "committed"
            assert truths(view(engine, switch)) == {"A": "true", "B": "true", "C": "true", "D": "true"}


async def test_secondaries_that_are_told_follow_at_once(tmp_path: Path) -> None:
    port = free_name_port()
    with knot(tells=[port]) as primary, knot(primary=primary, port=port) as secondary:
        async with a_shop(tmp_path, primary, secondary) as engine:
            assert (await carried_out(engine, SwitchKind.FAILOVER))["state"] == "committed"
            assert secondary.ask() == [GREEN]


async def test_what_somebody_has_changed_by_hand_is_not_changed_again(primary: NameServer, tmp_path: Path) -> None:
    async with a_shop(tmp_path, primary) as engine:
        switch = await carried_out(engine, SwitchKind.FAILOVER)
        assert switch["state"] == "committed"
        primary.by_hand("203.0.113.77")
        back = await carried_out(engine, SwitchKind.FAILBACK, override=("preflight",))
        assert back["state"] == "refused", "the preflight has seen it already; a person may override that, and not this"
        assert f"the mechanism says '203.0.113.77', expected was '{GREEN}'" in back["detail"]
        await eventually(lambda: row(engine)["active"] is None)
        assert primary.ask() == ["203.0.113.77"]


async def test_a_switch_that_somebody_takes_back_by_hand_is_seen(
    primary: NameServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mechanisms, "READ_EVERY", 0.2)
    async with a_shop(tmp_path, primary) as engine:
        there = await carried_out(engine, SwitchKind.FAILOVER)
        primary.by_hand(BLUE)
        await eventually(lambda: row(engine)["active"] == "blue")
        assert view(engine, there["id"])["state"] == "reverted"
        again = await carried_out(engine, SwitchKind.FAILOVER)
        primary.by_hand(f'"opsdash-switch=theirs-failback-1" "{BLUE}"', MARKER, "TXT")
        primary.by_hand(BLUE)
        await eventually(lambda: view(engine, again["id"])["state"] == "reverted")
        assert "(it bears the mark 'theirs-failback-1')" in view(engine, again["id"])["detail"]


async def test_a_key_without_permission_fails_the_plan_and_the_switch(server: NameServer, tmp_path: Path) -> None:
    async with a_shop(tmp_path, server, key="stranger") as engine:
        switch = await carried_out(engine, SwitchKind.FAILOVER, override=("preflight", "credentials"))
        assert switch["state"] == "aborted"
        assert "stranger" in switch["detail"] or "(REFUSED)" in switch["detail"]
        assert (server.ask(), server.serial()) == ([BLUE], 1)


async def test_a_degraded_mode_is_left_by_putting_back_what_was_there(primary: NameServer, tmp_path: Path) -> None:
    async with a_shop(tmp_path, primary) as engine:
        assert (await carried_out(engine, SwitchKind.DEGRADE, "sorry-page"))["state"] == "committed"
        assert primary.ask() == ["203.0.113.99"]
        assert (await carried_out(engine, SwitchKind.RESTORE))["state"] == "committed"
        assert primary.ask() == [BLUE]


# --- the how-to --------------------------------------------------------------------------------------------------


def test_the_component_of_the_how_to_can_be_used_as_it_stands(tmp_path: Path) -> None:
    (component,) = blocks(PAGE.read_text(encoding="utf-8"), "yaml")
    (tmp_path / "tsig.secret").write_text(SECRETS["opsdash"])
    (tmp_path / "tsig.secret").chmod(0o600)
    loaded = loaded_from(write_workspace(tmp_path, shop=component))
    assert [str(problem) for problem in loaded.problems] == []
    spec = loaded.operation.components["shop"].switch
    assert spec is not None
    assert spec.abilities.marks
    assert spec.abilities.settle == 35


def test_what_the_how_to_permits_is_what_the_servers_in_here_permit(server: NameServer) -> None:
    permits = [block for block in blocks(PAGE.read_text(encoding="utf-8"), "text") if "_opsdash.app" in block]
    assert sum(block in server.configuration for block in permits) == 1
