"""Action kind `haproxy` against a real HAProxy, with real servers behind it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from opsdash.core import mechanisms
from opsdash.kinds.actions.haproxy import Options, ReadOptions, apply, manual, preflight, read, undo
from opsdash.kinds.base import ActionContext, ActionResult, Applied, Preflight, Reading
from opsdash.kinds.processes import run_program
from opsdash.kinds.resolver import Resolver
from opsdash.model import inputs as i
from opsdash.model.switch import SwitchKind
from tests.engine.support import eventually, loaded_from, running, write_workspace
from tests.mechanisms.haproxy_server import ACTIVE_AND_BACKUP, haproxy
from tests.mechanisms.support import binary, freeze, until
from tests.nonblocking import nothing_of_ours_blocks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from opsdash.engine.engine import Engine
    from opsdash.model.views import SwitchView, WallRow
    from tests.mechanisms.haproxy_server import HAProxy

UNCHECKED = "server primary {primary}\n  server standby {standby} disabled\n"
BOTH_CHECKED = "server primary {primary} check\n  server standby {standby} check\n"
THREE = "server primary {primary} check\n  server standby {standby} check backup\n  server third {third} check backup\n"


@pytest.fixture(autouse=True)
def nothing_blocks() -> Iterator[None]:
    with nothing_of_ours_blocks():
        yield


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[HAProxy]:
    """HAProxy with the primary in, and the standby in maint."""
    with haproxy(tmp_path) as running_one:
        yield running_one


def a_context(proxy: HAProxy, **keys: Any) -> ActionContext:
    return ActionContext("shop:failover:7", keys.pop("deadline", 10.0), proxy.folder, Resolver(), 0.0, **keys)


def options(proxy: HAProxy, to: str, *out: str, **keys: Any) -> Options:
    raw = {"socket": str(proxy.socket), "backend": "shop", "server": to, "out": list(out), **keys}
    return Options.model_validate(raw)


async def move(proxy: HAProxy, to: str, *out: str, context: ActionContext | None = None, **keys: Any) -> ActionResult:
    return await apply(options(proxy, to, *out, **keys), context or a_context(proxy))


async def look(proxy: HAProxy, **keys: Any) -> Reading:
    keys = keys or {"backend": "shop"}
    return await read(ReadOptions.model_validate({"socket": str(proxy.socket), **keys}), a_context(proxy))


async def ask_first(proxy: HAProxy, to: str, *out: str, **keys: Any) -> Preflight:
    return await preflight(options(proxy, to, *out, **keys), a_context(proxy))


@contextmanager
def asked_all_the_while(proxy: HAProxy) -> Iterator[list[tuple[int, str]]]:
    """Users, one after the other without a pause; what they got."""
    answers: list[tuple[int, str]] = []
    stop = threading.Event()

    def keep_asking() -> None:
        while not stop.is_set():
            answers.append(proxy.get())

    users = threading.Thread(target=keep_asking)
    users.start()
    try:
        yield answers
    finally:
        stop.set()
        users.join()


# --- there and back ----------------------------------------------------------------------------------------------


async def test_traffic_moves_and_comes_back_and_no_user_notices(proxy: HAProxy) -> None:
    assert (await look(proxy)) == Reading("primary", serving=("primary",))
    sent: list[str] = []
    with asked_all_the_while(proxy) as answers:
        there = await move(
            proxy, "standby", "primary", context=a_context(proxy, expected="primary", on_sent=lambda: sent.append("s"))
        )
        assert (there.applied, there.prior) == (Applied.APPLIED, "primary"), there.detail
        assert "standby passed a check first (L7OK)" in there.detail
        assert proxy.answered_by() == {"standby"}
        assert await look(proxy) == Reading("standby", serving=("standby",))
        back = await move(proxy, "primary", "standby", context=a_context(proxy, expected="standby"))
        assert back.applied is Applied.APPLIED
        assert proxy.answered_by() == {"primary"}
    assert sent == ["s"]
    assert {status for status, _ in answers} == {200}
    assert (proxy.state("primary"), proxy.state("standby")) == ("UP", "MAINT")


async def test_applying_twice_changes_nothing_the_second_time(proxy: HAProxy) -> None:
    assert (await move(proxy, "standby", "primary")).applied is Applied.APPLIED
    sent: list[str] = []
    context = a_context(proxy, expected="primary", on_sent=lambda: sent.append("sent"))
    again = await move(proxy, "standby", "primary", context=context)
    assert (again.applied, again.detail) == (
        Applied.APPLIED,
        "already so: standby takes the traffic of shop, primary is MAINT",
    )
    assert sent == []


async def test_what_is_not_as_expected_is_left_alone(proxy: HAProxy) -> None:
    sent: list[str] = []
    context = a_context(proxy, expected="third", on_sent=lambda: sent.append("sent"))
    result = await move(proxy, "standby", "primary", context=context)
    assert result.applied is Applied.REFUSED
    assert "primary takes the traffic, where third was expected" in result.detail
    assert sent == []
    assert (proxy.state("primary"), proxy.state("standby")) == ("UP", "MAINT")


async def test_a_move_that_got_stuck_halfway_can_be_brought_to_its_end_or_taken_back(tmp_path: Path) -> None:
    with haproxy(tmp_path, servers=BOTH_CHECKED) as proxy:
        assert (await look(proxy)).value == "primary+standby"
        forward = await move(proxy, "standby", "primary", context=a_context(proxy, expected="primary"))
        assert forward.applied is Applied.APPLIED
        assert proxy.answered_by() == {"standby"}
        proxy.ask("set server shop/primary state ready")
        back = await move(proxy, "primary", "standby")
        assert back.applied is Applied.APPLIED
        assert proxy.answered_by() == {"primary"}


async def test_a_server_that_nobody_mentioned_and_that_goes_on_is_an_obstacle(tmp_path: Path) -> None:
    servers = BOTH_CHECKED + "  server third {third} check\n"
    with haproxy(tmp_path, servers=servers) as proxy:
        result = await move(proxy, "standby", "primary")
        assert result.applied is Applied.REFUSED
        assert "third would go on taking traffic; name it in `out` as well" in result.detail
        assert (await ask_first(proxy, "standby", "primary")).passed is False
        assert (await move(proxy, "standby", "primary", "third", "standby")).applied is Applied.APPLIED
        assert proxy.answered_by() == {"standby"}


# --- the trial ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("counts", ["rise 2 fall 2", "rise 1 fall 1", "rise 3 fall 1"])
async def test_a_dead_server_is_not_brought_back_by_what_its_check_said_before_maint(
    tmp_path: Path, counts: str
) -> None:
    with haproxy(tmp_path, servers=BOTH_CHECKED, default_server=counts) as proxy:
        await move(proxy, "standby", "primary")
        proxy.identities["primary"].die()
        with asked_all_the_while(proxy) as answers:
            back = await move(proxy, "primary", "standby", trial_for="600ms")
            assert back.applied is Applied.REFUSED
            assert "primary passed no check within 600ms: DOWN (L4CON" in back.detail
            assert "it was put back, and is MAINT" in back.detail
            proxy.identities["primary"].live()
            assert (await move(proxy, "primary", "standby")).applied is Applied.APPLIED
        assert {status for status, _ in answers} == {200}
        assert proxy.answered_by() == {"primary"}


async def test_a_server_whose_health_page_says_no_is_not_brought_back(proxy: HAProxy) -> None:
    await move(proxy, "standby", "primary")
    proxy.identities["primary"].healthy = False
    back = await move(proxy, "primary", "standby", trial_for="300ms")
    assert back.applied is Applied.REFUSED
    assert "L7STS" in back.detail
    assert proxy.state("primary") == "MAINT"
    assert proxy.answered_by() == {"standby"}


async def test_a_server_that_becomes_well_during_its_trial_is_taken(proxy: HAProxy) -> None:
    standby = proxy.identities["standby"]
    standby.die()
    moving = asyncio.ensure_future(move(proxy, "standby", "primary"))
    await eventually(lambda: proxy.state("standby") == "DOWN")
    standby.live()
    assert (await moving).applied is Applied.APPLIED
    assert proxy.answered_by() == {"standby"}


async def test_a_server_without_a_check_is_not_tried_and_that_is_said(tmp_path: Path) -> None:
    with haproxy(tmp_path, servers=UNCHECKED) as proxy:
        found = await ask_first(proxy, "standby", "primary")
        assert found.passed is None
        assert "has no check of its own, so it cannot be tried first" in found.detail
        result = await move(proxy, "standby", "primary")
        assert result.applied is Applied.APPLIED
        assert "standby has no check, so it could not be tried" in result.detail
        assert proxy.answered_by() == {"standby"}


async def test_a_server_that_is_down_is_not_brought_in_and_the_other_is_left(tmp_path: Path) -> None:
    with haproxy(tmp_path, servers=ACTIVE_AND_BACKUP) as proxy:
        proxy.identities["standby"].die()
        proxy.until_state("standby", "DOWN")
        sent: list[str] = []
        result = await move(proxy, "standby", "primary", context=a_context(proxy, on_sent=lambda: sent.append("sent")))
        assert result.applied is Applied.REFUSED
        assert "HAProxy gives standby no traffic: it is DOWN (L4CON" in result.detail
        assert sent == []
        assert (await ask_first(proxy, "standby", "primary")).passed is False
        assert proxy.answered_by() == {"primary"}


# --- how it is taken out -----------------------------------------------------------------------------------------


async def test_by_drain_a_request_under_way_is_answered_and_the_server_still_serves_until_then(proxy: HAProxy) -> None:
    primary = proxy.identities["primary"]
    under_way = asyncio.ensure_future(asyncio.to_thread(proxy.get, "/slow"))
    await asyncio.to_thread(primary.arrived.wait, 5)
    result = await move(proxy, "standby", "primary", by="drain")
    assert result.applied is Applied.APPLIED
    assert "primary is DRAIN (L7OK) (with 1 session still open)" in result.detail
    assert proxy.answered_by() == {"standby"}
    assert await look(proxy) == Reading("standby", serving=("primary", "standby"))
    primary.gate.set()
    assert await under_way == (200, "primary")
    await eventually(lambda: proxy.state("primary") == "DRAIN")
    assert (await look(proxy)).serving == ("standby",)
    assert (await ask_first(proxy, "primary", "standby", by="drain")).detail == "primary is DRAIN (L7OK)"
    assert (await move(proxy, "primary", "standby", by="drain")).applied is Applied.APPLIED
    assert proxy.answered_by() == {"primary"}


async def test_sessions_of_the_old_server_are_ended_where_that_is_wanted(proxy: HAProxy) -> None:
    under_way = asyncio.ensure_future(asyncio.to_thread(proxy.get, "/slow"))
    await asyncio.to_thread(proxy.identities["primary"].arrived.wait, 5)
    result = await move(proxy, "standby", "primary", end_sessions=True)
    assert result.applied is Applied.APPLIED
    assert "still open" not in result.detail
    assert (await under_way)[0] == 502
    assert (await look(proxy)).serving == ("standby",)


async def test_by_weight_the_old_server_keeps_its_state_and_gets_its_weight_back(tmp_path: Path) -> None:
    servers = "server primary {primary} check weight 30\n  server standby {standby} check weight 30\n"
    with haproxy(tmp_path, servers=servers) as proxy:
        proxy.ask("set server shop/standby weight 0")
        assert (await look(proxy)).value == "primary"
        there = await move(proxy, "standby", "primary", by="weight", weight=20)
        assert there.applied is Applied.APPLIED, there.detail
        assert proxy.answered_by() == {"standby"}
        assert proxy.ask("get weight shop/standby").startswith("20 (initial 30)")
        assert proxy.state("primary") == "UP"
        assert (await move(proxy, "primary", "standby", by="weight")).applied is Applied.APPLIED
        assert proxy.ask("get weight shop/primary").startswith("30 (initial 30)")
        assert proxy.answered_by() == {"primary"}


async def test_half_of_weight_one_is_nothing_and_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    with haproxy(tmp_path, servers=BOTH_CHECKED) as proxy:
        assert proxy.ask("set server shop/standby weight 50%") == "\n", "HAProxy takes it without a word"
        assert proxy.answered_by() == {"primary"}
        by_weight: dict[str, Any] = {"by": "weight", "weight": "50%"}
        words = "50% of the weight 1 that standby has in HAProxy's configuration is 0"
        assert words in (await ask_first(proxy, "standby", "primary", **by_weight)).detail
        result = await move(proxy, "standby", "primary", **by_weight)
        assert result.applied is Applied.REFUSED
        assert words in result.detail
        assert "its weight is 0" in (await move(proxy, "standby", "primary")).detail
        assert proxy.answered_by() == {"primary"}


async def test_a_static_algorithm_takes_only_all_or_nothing_as_a_weight(tmp_path: Path) -> None:
    servers = "server primary {primary} weight 4 check\n  server standby {standby} weight 4 check disabled\n"
    with haproxy(tmp_path, servers=servers, backend_lines="balance static-rr") as proxy:
        result = await move(proxy, "standby", "primary", by="weight", weight="50%")
        assert result.applied is Applied.REFUSED
        assert "Backend is using a static LB algorithm" in result.detail
        assert "it was put back, and is MAINT" in result.detail
        assert proxy.answered_by() == {"primary"}
        assert (await move(proxy, "standby", "primary", by="weight")).applied is Applied.APPLIED
        assert proxy.answered_by() == {"standby"}


# --- servers in reserve ------------------------------------------------------------------------------------------


async def test_when_haproxy_fails_over_by_itself_that_is_seen_and_a_failback_leaves_the_reserve_in_reserve(
    tmp_path: Path,
) -> None:
    with haproxy(tmp_path, servers=ACTIVE_AND_BACKUP) as proxy:
        assert (await look(proxy)).value == "primary"
        proxy.identities["primary"].die()
        proxy.until_state("primary", "DOWN")
        assert await look(proxy) == Reading("standby", serving=("standby",))
        pinned = await move(proxy, "standby", "primary", context=a_context(proxy, expected="primary"))
        assert pinned.applied is Applied.APPLIED
        proxy.identities["primary"].live()
        assert proxy.state("primary") == "MAINT"
        back = await move(proxy, "primary", "standby", context=a_context(proxy, expected="standby"))
        assert back.applied is Applied.APPLIED, back.detail
        assert proxy.answered_by() == {"primary"}
        assert proxy.state("standby") == "UP", "HAProxy can still fail over by itself"


@pytest.mark.parametrize(("lines", "value"), [("", "standby"), ("option allbackups", "standby+third")])
async def test_of_several_in_reserve_the_first_serves_unless_the_backend_uses_all(
    tmp_path: Path, lines: str, value: str
) -> None:
    with haproxy(tmp_path, servers=THREE, backend_lines=lines) as proxy:
        proxy.ask("set server shop/primary state maint")
        assert (await look(proxy)).value == value
        assert proxy.answered_by() == set(value.split("+"))


async def test_if_nobody_is_up_the_value_is_who_should_be_and_the_reading_says_so(proxy: HAProxy) -> None:
    proxy.identities["primary"].die()
    proxy.until_state("primary", "DOWN")
    until(lambda: proxy.last_check("primary") == "L4CON", what="a check that began after the server was gone")
    reading = await look(proxy)
    assert (reading.value, reading.serving) == ("primary", ())
    assert reading.detail.startswith("nobody takes traffic: primary is DOWN (L4CON")
    assert reading.detail.endswith("), standby is MAINT")
    result = await move(proxy, "standby", "primary", context=a_context(proxy, expected="primary"))
    assert result.applied is Applied.APPLIED
    proxy.ask("set server shop/standby state maint")
    assert (await look(proxy)).value is None


# --- who may, and who answers ------------------------------------------------------------------------------------


async def test_a_socket_of_level_operator_is_found_out_by_the_preflight_and_changes_nothing(proxy: HAProxy) -> None:
    socket: dict[str, Any] = {"socket": str(proxy.operator)}
    found = await ask_first(proxy, "standby", "primary", **socket)
    assert (found.passed, found.credentials) == (False, False)
    assert "is of level operator; moving servers needs level admin" in found.detail
    result = await move(proxy, "standby", "primary", **socket)
    assert result.applied is Applied.REFUSED
    assert "Permission denied" in result.detail
    assert (proxy.state("primary"), proxy.state("standby")) == ("UP", "MAINT")


async def test_the_stats_socket_may_be_on_tcp(proxy: HAProxy) -> None:
    socket: dict[str, Any] = {"socket": f"127.0.0.1:{proxy.tcp}"}
    assert (await ask_first(proxy, "standby", "primary", **socket)).credentials is True
    assert (await move(proxy, "standby", "primary", **socket)).applied is Applied.APPLIED
    assert (await look(proxy, backend="shop", **socket)).value == "standby"


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"server": "nosuch"}, "the backend shop has no server nosuch; it has: primary, standby"),
        ({"out": ["nosuch", "other"]}, "has no server nosuch and no other"),
        ({"backend": "nowhere"}, "there is no backend nowhere"),
    ],
)
async def test_what_haproxy_does_not_have_is_named(proxy: HAProxy, keys: dict[str, Any], words: str) -> None:
    asked = options(proxy, "standby", "primary").model_copy(update=keys)
    found = await preflight(asked, a_context(proxy))
    assert found.passed is False
    assert words in found.detail
    result = await apply(asked, a_context(proxy))
    assert result.applied is Applied.REFUSED
    assert words in result.detail


async def test_a_stopped_haproxy_is_not_started_and_does_nothing_when_it_wakes_up(proxy: HAProxy) -> None:
    worker = proxy.worker
    freeze(worker)
    try:
        result = await move(proxy, "standby", "primary", context=a_context(proxy, deadline=0.6))
        found = await preflight(options(proxy, "standby", "primary"), a_context(proxy, deadline=0.6))
    finally:
        os.kill(worker, signal.SIGCONT)
    assert result.applied is Applied.NOT_STARTED
    assert "no answer in time; nothing was sent" in result.detail
    assert (found.passed, found.credentials) == (False, None)
    assert (proxy.state("primary"), proxy.state("standby")) == ("UP", "MAINT")


async def test_a_haproxy_that_dies_before_it_answers_leaves_it_unknown(proxy: HAProxy) -> None:
    worker = proxy.worker
    context = a_context(proxy, on_sent=lambda: os.kill(worker, signal.SIGKILL))
    result = await move(proxy, "standby", "primary", context=context)
    assert result.applied is Applied.UNKNOWN
    assert "sent, and not known whether done: set server shop/standby state drain" in result.detail
    gone = await move(proxy, "standby", "primary")
    assert gone.applied is Applied.NOT_STARTED
    assert (await look(proxy)).value is None


# --- a reload ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("keep_states", "after"), [(False, "primary"), (True, "standby")])
async def test_a_reload_forgets_the_switch_unless_the_states_are_kept(
    tmp_path: Path, keep_states: bool, after: str
) -> None:
    with haproxy(tmp_path, keep_states=keep_states) as proxy:
        await move(proxy, "standby", "primary")
        proxy.save_states()
        proxy.reload()
        assert (await look(proxy)).value == after
        assert proxy.answered_by() == {after}


async def test_a_reload_forgets_the_entry_of_a_map_unless_its_file_says_the_same(proxy: HAProxy) -> None:
    entry = {"map": str(proxy.map), "key": "shop"}
    await apply(map_options(proxy, "green"), a_context(proxy))
    proxy.reload()
    assert (await look(proxy, **entry)).value == "blue"
    await apply(map_options(proxy, "green"), a_context(proxy))
    proxy.map.write_text("shop green\n")
    proxy.reload()
    assert (await look(proxy, **entry)).value == "green"


# --- maps --------------------------------------------------------------------------------------------------------


def map_options(proxy: HAProxy, value: str, **keys: Any) -> Options:
    raw = {"socket": str(proxy.socket), "map": str(proxy.map), "key": "shop", "value": value, **keys}
    return Options.model_validate(raw)


async def test_the_entry_of_a_map_says_where_traffic_goes(proxy: HAProxy) -> None:
    entry = {"map": str(proxy.map), "key": "shop"}
    assert (await look(proxy, **entry)).value == "blue"
    assert proxy.answered_by(path="/by-map") == {"primary"}
    found = await preflight(map_options(proxy, "green", backend="green"), a_context(proxy))
    assert (found.passed, found.credentials) == (True, True)
    assert found.detail == f"shop of the map {proxy.map} is blue; standby can take the traffic"

    result = await apply(map_options(proxy, "green", backend="green"), a_context(proxy, expected="blue"))
    assert (result.applied, result.prior) == (Applied.APPLIED, "blue")
    assert proxy.answered_by(path="/by-map") == {"standby"}
    again = await apply(map_options(proxy, "green"), a_context(proxy, expected="blue"))
    assert (again.applied, again.detail) == (Applied.APPLIED, f"shop of the map {proxy.map} is green already")
    late = await apply(map_options(proxy, "red"), a_context(proxy, expected="blue"))
    assert late.applied is Applied.REFUSED
    assert "is green, where blue was expected" in late.detail

    raw = undo(map_options(proxy, "green").model_dump(exclude_unset=True), "blue")
    assert (await apply(Options.model_validate(raw), a_context(proxy))).applied is Applied.APPLIED
    assert proxy.answered_by(path="/by-map") == {"primary"}


async def test_an_entry_that_is_not_there_is_added(proxy: HAProxy) -> None:
    entry = {"map": str(proxy.map), "key": "checkout"}
    assert (await look(proxy, **entry)).detail == f"the map {proxy.map} has no value for checkout"
    result = await apply(map_options(proxy, "off", key="checkout"), a_context(proxy))
    assert result.applied is Applied.APPLIED
    assert (await look(proxy, **entry)).value == "off"


async def test_no_entry_leads_where_nobody_works_and_no_other_map_is_made(proxy: HAProxy) -> None:
    proxy.until_state("dead", "DOWN", "nobody")
    dead = map_options(proxy, "nobody", backend="nobody")
    assert (await preflight(dead, a_context(proxy))).passed is False
    result = await apply(dead, a_context(proxy))
    assert result.applied is Applied.REFUSED
    assert "no server of the backend nobody takes traffic: dead is DOWN" in result.detail
    other = await apply(map_options(proxy, "green", map="/etc/other.map"), a_context(proxy))
    assert other.applied is Applied.REFUSED
    assert "HAProxy uses no map /etc/other.map" in other.detail
    assert (await look(proxy, map=str(proxy.map), key="shop")).value == "blue"


# --- by hand -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "states"),
    [({}, ("MAINT", "UP")), ({"by": "drain"}, ("DRAIN", "UP")), ({"by": "weight"}, ("UP", "UP"))],
)
async def test_the_manual_command_does_the_same_as_the_action(
    tmp_path: Path, keys: dict[str, str], states: tuple[str, str]
) -> None:
    binary("socat", "socat")
    servers = BOTH_CHECKED if keys else "server primary {primary} check\n  server standby {standby} check disabled\n"
    with haproxy(tmp_path, servers=servers) as proxy:
        raw = {"socket": str(proxy.socket), "backend": "shop", "server": "standby", "out": "primary", **keys}
        line = manual(raw).replace("sleep 3", "sleep 0.3")
        finished = await run_program(["sh", "-c", line], cwd=tmp_path, timeout=20)
        assert finished.exit_code == 0, finished.stderr
        assert (proxy.state("primary"), proxy.state("standby")) == states
        assert proxy.answered_by() == {"standby"}


async def test_the_manual_command_for_a_map_and_for_a_server_that_is_dead(proxy: HAProxy) -> None:
    binary("socat", "socat")
    entry = {"socket": f"127.0.0.1:{proxy.tcp}", "map": str(proxy.map), "key": "shop", "value": "green"}
    finished = await run_program(["sh", "-c", manual(entry)], cwd=proxy.folder, timeout=20)
    assert finished.exit_code == 0, finished.stderr
    assert (await look(proxy, map=str(proxy.map), key="shop")).value == "green"
    proxy.identities["standby"].die()
    raw = {"socket": str(proxy.socket), "backend": "shop", "server": "standby", "out": "primary"}
    line = manual(raw).replace("sleep 3", "sleep 0.3")
    finished = await run_program(["sh", "-c", line], cwd=proxy.folder, timeout=20)
    assert finished.exit_code != 0
    assert proxy.answered_by() == {"primary"}


# --- a whole operation: the component of the how-to ----------------------------------------------------------------

HOWTO = Path(__file__).parents[2] / "docs" / "howto-switch-haproxy.md"
SETTINGS = "people:\n  maria: {name: Maria}\n  ken: {name: Ken}\n"
RUNBOOK = """---
title: The shop is down
owner: maria
reviewed: 2026-11-01
---

## Steps

### Look {#look}

Look at the board.
"""


def shown(fence: str) -> str:
    """A block of the how-to."""
    found = re.search(rf"^```{fence}\n(.*?)^```$", HOWTO.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def component() -> str:
    """The component file of the how-to."""
    return shown('yaml title="checks/shop.yaml"')


def workspace(folder: Path, text: str) -> Path:
    (folder / "runbooks").mkdir(parents=True)
    (folder / "runbooks" / "shop-down.md").write_text(RUNBOOK)
    return write_workspace(folder, settings=SETTINGS, shop=text)


def test_the_component_of_the_howto_is_valid(tmp_path: Path) -> None:
    loaded = loaded_from(workspace(tmp_path, component()))
    assert loaded.problems == ()
    switch = loaded.operation.components["shop"].switch
    assert switch is not None
    assert (switch.action.kind, switch.abilities.trial) == ("haproxy", True)


def test_the_switch_by_a_map_of_the_howto_is_valid_and_a_mode_by_a_map_needs_no_leave(tmp_path: Path) -> None:
    before, _, after = component().partition("switch:\n")
    by_map = shown('yaml title="switch"')
    entry = "kind: haproxy, socket: /s, map: /m, key: shop"
    mode = f"modes:\n  sorry: {{read: {{{entry}}}, enter: {{{entry}, value: sorry}}}}\n"
    text = f"{before}{by_map}{mode}{after[after.index('failures:') :]}"
    loaded = loaded_from(workspace(tmp_path, text))
    assert loaded.problems == ()
    assert loaded.operation.components["shop"].modes["sorry"].restores


def test_haproxy_accepts_the_configuration_of_the_howto(tmp_path: Path) -> None:
    file = tmp_path / "haproxy.cfg"
    file.write_text(shown("").replace("group opsdash", ""))
    argv = [binary("haproxy", "haproxy"), "-c", "-f", str(file)]
    checked = subprocess.run(argv, check=False, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


@pytest.fixture
async def shop(proxy: HAProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Engine]:
    """An engine over the component of the how-to. It looks often, and not at what HAProxy's check looks at."""
    monkeypatch.setattr(mechanisms, "READ_EVERY", 0.2)
    text = component()
    for shown, real in (
        ("/run/haproxy/admin.sock", str(proxy.socket)),
        ("https://shop.example", f"http://127.0.0.1:{proxy.front}"),
        ("http://10.0.1.10:8080", f"http://127.0.0.1:{proxy.identities['primary'].port}"),
        ("http://10.0.2.10:8080", f"http://127.0.0.1:{proxy.identities['standby'].port}"),
        ("{url}/health", "{url}/alive"),
        ('out: "{from.as}"', 'out: "{from.as}", trial_for: 1s'),
        ("verify: [front]", "verify: [front]\n  deadline: 2s"),
        ("owners:", "defaults: {every: 200ms, timeout: 500ms, down_after: 1, up_after: 1}\nowners:"),
    ):
        assert shown in text
        text = text.replace(shown, real)
    async with running(workspace(tmp_path / "workspace", text)) as engine:
        await eventually(lambda: row(engine)["redundancy"] == "ready" and row(engine)["active"] == "primary")
        yield engine


def row(engine: Engine) -> WallRow:
    found = engine.viewer().row("shop")
    assert found is not None
    return found


async def switched(engine: Engine, kind: SwitchKind) -> SwitchView:
    """What became of a switch that was wanted, with its plan confirmed."""
    plan = await engine.plan("shop", kind, None)
    assert plan["refused"] is None, plan["refused"]
    intent = i.SwitchIntent(
        component="shop",
        kind=kind,
        generation=plan["generation"],
        source=plan["source"],
        target=plan["target"],
        reason="test",
    )
    verdict = await engine.submit(os.urandom(8).hex(), "maria", intent)
    assert verdict["refused"] is None, verdict["refused"]
    await engine.wait_for_switch(verdict["subject"])
    return engine.viewer().switch(engine.runner.world.get("switches", verdict["subject"]))


def truths(switch: SwitchView) -> dict[str, str]:
    return {fact["name"]: fact["truth"] for fact in switch["facts"]}


async def test_a_failover_is_verified_and_a_reload_that_undoes_it_is_noticed(proxy: HAProxy, shop: Engine) -> None:
    there = await switched(shop, SwitchKind.FAILOVER)
    assert (there["state"], truths(there)) == ("committed", dict.fromkeys("ABCD", "true")), there
    assert row(shop)["active"] == "standby"
    await asyncio.to_thread(proxy.reload)
    await eventually(lambda: row(shop)["active"] == "primary")
    incident = shop.runner.world.get("incidents", row(shop)["incident"] or "")
    assert "the mechanism now says 'primary'; opsdash did not do that" in incident.title
    assert (await switched(shop, SwitchKind.FAILOVER))["state"] == "committed"
    back = await switched(shop, SwitchKind.FAILBACK)
    assert (back["state"], truths(back)) == ("committed", dict.fromkeys("ABCD", "true"))
    assert await asyncio.to_thread(proxy.answered_by) == {"primary"}


async def test_a_failback_to_a_server_that_only_haproxy_knows_to_be_ill_is_refused(
    proxy: HAProxy, shop: Engine
) -> None:
    assert (await switched(shop, SwitchKind.FAILOVER))["state"] == "committed"
    proxy.identities["primary"].healthy = False
    back = await switched(shop, SwitchKind.FAILBACK)
    assert back["state"] == "aborted"
    assert "it was put back, and is MAINT" in back["detail"]
    assert row(shop)["active"] == "standby"
    assert await asyncio.to_thread(proxy.answered_by) == {"standby"}


async def test_users_who_are_still_on_the_old_server_make_it_a_split_until_they_are_done(
    proxy: HAProxy, shop: Engine
) -> None:
    primary = proxy.identities["primary"]
    under_way = asyncio.ensure_future(asyncio.to_thread(proxy.get, "/slow"))
    await asyncio.to_thread(primary.arrived.wait, 5)
    there = await switched(shop, SwitchKind.FAILOVER)
    assert (there["state"], truths(there)) == ("split", {"A": "true", "B": "true", "C": "false", "D": "true"})
    primary.gate.set()
    assert await under_way == (200, "primary")
    verdict = await shop.submit("again", "maria", i.TakeOverIntent("shop", "they are done"))
    await shop.wait_for_switch(verdict["subject"])
    assert shop.viewer().switch(shop.runner.world.get("switches", verdict["subject"]))["state"] == "committed"


async def test_a_haproxy_that_dies_during_the_trial_leaves_the_switch_in_doubt(proxy: HAProxy, shop: Engine) -> None:
    worker = proxy.worker
    proxy.identities["standby"].healthy = False

    def die_when_tried() -> None:
        until(lambda: proxy.state("standby") != "MAINT", within=5, what="the trial")
        proxy.server.kill()
        os.kill(worker, signal.SIGKILL)

    dying = asyncio.ensure_future(asyncio.to_thread(die_when_tried))
    switch = await switched(shop, SwitchKind.FAILOVER)
    await dying
    assert switch["state"] == "unknown"
    assert "done: set server shop/standby state drain" in switch["detail"]
    assert truths(switch)["A"] == "unknown"
