"""Action kind `systemd`: services that start, fail a moment later, flap, and do not stop.

What systemctl itself may do wrong is in tests/kinds/test_action_systemd.py.
"""

from __future__ import annotations

import json
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from opsdash.kinds.actions.systemd import Options, ReadOptions, apply, manual, preflight, read
from opsdash.kinds.base import ActionContext, ActionResult, Applied, Preflight, Reading
from opsdash.kinds.processes import run_program
from opsdash.kinds.resolver import Resolver
from opsdash.model.switch import SwitchKind
from tests.engine.support import http, loaded_from, serving
from tests.mechanisms.duty import on_duty, truths
from tests.mechanisms.howtos import workspace_of
from tests.mechanisms.systemd_server import DEAF, FAILS, FLAPS, NEVER_READY, RESTARTS, systemd
from tests.nonblocking import nothing_of_ours_blocks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.engine.support import Request
    from tests.mechanisms.duty import Duty
    from tests.mechanisms.systemd_server import Systemd

BOTH = ("mailer-a", "mailer-b.service")


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Systemd]:
    """Two services, of which the first runs."""
    with systemd(tmp_path) as found, nothing_of_ours_blocks():
        yield found


def a_context(manager: Systemd, **keys: Any) -> ActionContext:
    return ActionContext("mail:failover:3", keys.pop("deadline", 10.0), manager.folder, Resolver(), 0.0, **keys)


async def switch(
    manager: Systemd, unit: str = "mailer-b.service", *, expected: str | None = "mailer-a", **keys: Any
) -> ActionResult:
    context = a_context(manager, expected=expected, deadline=keys.pop("deadline", 10.0))
    raw = {"program": ["./systemctl"], "unit": unit, "out": BOTH, "steady": "300ms", **keys}
    return await apply(Options.model_validate(raw), context)


async def look(manager: Systemd) -> Reading:
    return await read(ReadOptions(units=BOTH, program=("./systemctl",)), a_context(manager))


async def check(manager: Systemd, **keys: Any) -> Preflight:
    raw = {"program": ["./systemctl"], "out": BOTH, **keys}
    return await preflight(Options.model_validate(raw), a_context(manager))


async def test_the_new_unit_is_started_and_then_the_old_one_stopped(manager: Systemd) -> None:
    before = await look(manager)
    assert (before.value, before.serving) == ("mailer-a", ("mailer-a",))
    result = await switch(manager)
    assert result.applied is Applied.APPLIED
    assert result.detail == "mailer-b.service is active; mailer-a was stopped"
    reading = await look(manager)
    assert (reading.value, reading.serving) == ("mailer-b.service", ("mailer-b.service",))
    assert reading.detail == "mailer-a is inactive (dead), mailer-b.service is active (running)"
    again = await switch(manager)
    assert again.applied is Applied.APPLIED
    assert "already" in again.detail
    assert manager.changes() == ["start mailer-b.service", "stop mailer-a"]
    assert (await switch(manager, "mailer-a", expected="mailer-b.service")).applied is Applied.APPLIED
    assert (await look(manager)).value == "mailer-a"


@pytest.mark.parametrize(
    ("does", "words"),
    [
        (FAILS, "then it is failed (failed)"),
        (FLAPS, "then it is activating (auto-restart)"),
        (RESTARTS, "then it was restarted"),
    ],
)
async def test_a_service_that_does_not_stay_up_leaves_the_old_one_running(
    manager: Systemd, does: str, words: str
) -> None:
    manager.write("mailer-b", does)
    result = await switch(manager)
    assert result.applied is Applied.UNKNOWN, "systemctl said that it was started"
    assert result.detail == f"mailer-b.service was started, but {words}; mailer-a was left as it was"
    assert manager.state("mailer-a") == "active"
    assert manager.changes() == ["start mailer-b.service"]


async def test_a_service_that_is_never_ready_is_not_waited_for_beyond_the_deadline(manager: Systemd) -> None:
    manager.write("mailer-b", NEVER_READY)
    result = await switch(manager, deadline=1.6)
    assert result.applied is Applied.UNKNOWN
    assert result.detail.startswith("start mailer-b.service: ./systemctl was killed after")
    reading = await look(manager)
    assert (reading.value, reading.serving) == ("mailer-a", ("mailer-a",))


async def test_an_old_unit_that_does_not_stop_still_serves(manager: Systemd) -> None:
    manager.write("mailer-a", DEAF)
    result = await switch(manager, deadline=3.0)
    assert result.applied is Applied.UNKNOWN
    assert result.detail.startswith("mailer-b.service is active; stop mailer-a: ./systemctl was killed after")
    reading = await look(manager)
    assert (reading.value, reading.serving) == ("mailer-b.service", BOTH)


async def test_what_must_not_run_twice_is_not_started_before_the_old_one_has_ended(manager: Systemd) -> None:
    assert (await switch(manager, first="stop")).detail == "mailer-a was stopped; mailer-b.service is active"
    assert manager.changes() == ["stop mailer-a", "start mailer-b.service"]
    manager.write("mailer-b", DEAF)
    result = await switch(manager, "mailer-a", expected="mailer-b", first="stop", deadline=1.6)
    assert result.applied is Applied.UNKNOWN
    assert manager.state("mailer-a") == "inactive"


async def test_a_unit_that_has_crashed_is_still_the_one_in_force_and_can_be_left(manager: Systemd) -> None:
    manager.put("mailer-a", "failed", "failed")
    manager.write("mailer-a", last="5")
    reading = await look(manager)
    assert (reading.value, reading.serving) == ("mailer-a", ())
    assert (await switch(manager, out="mailer-a")).applied is Applied.APPLIED
    assert (await look(manager)).value == "mailer-b.service"
    manager.put("mailer-b", "failed", "failed")
    manager.write("mailer-b", last="6")
    assert (await look(manager)).value == "mailer-b.service", "the one that has failed last"
    assert (await switch(manager, "mailer-a", expected="mailer-b")).applied is Applied.APPLIED


async def test_units_that_were_stopped_on_purpose_are_nobody(manager: Systemd) -> None:
    manager.put("mailer-a", "inactive", "dead")
    reading = await look(manager)
    assert (reading.value, reading.serving) == ("none", ())
    assert (await switch(manager, "mailer-a", expected="none")).applied is Applied.APPLIED


async def test_two_at_once_are_nobody_and_the_one_that_is_named_remains(manager: Systemd) -> None:
    manager.put("mailer-b", "active", "running")
    reading = await look(manager)
    assert (reading.value, reading.serving) == ("mailer-a, mailer-b.service", BOTH)
    refused = await switch(manager)
    assert refused.applied is Applied.REFUSED, "somebody else has started it meanwhile"
    assert (await switch(manager, expected=reading.value)).applied is Applied.APPLIED
    assert (await look(manager)).serving == ("mailer-b.service",)


async def test_what_was_not_expected_is_left_as_it_is(manager: Systemd) -> None:
    sent: list[str] = []
    options = Options.model_validate({"program": ["./systemctl"], "unit": "mailer-b", "out": ["mailer-c"]})
    result = await apply(options, a_context(manager, expected="mailer-c", on_sent=lambda: sent.append("sent")))
    assert result.applied is Applied.REFUSED
    assert "where mailer-c was expected" in result.detail
    assert (sent, manager.changes()) == ([], [])


async def test_with_enable_the_switch_outlives_a_reboot(manager: Systemd) -> None:
    manager.write("mailer-a", file="enabled")
    assert (await switch(manager, enable=True)).applied is Applied.APPLIED
    assert manager.changes()[2:] == ["enable mailer-b.service", "disable mailer-a"]
    manager.forget()
    assert "already" in (await switch(manager, enable=True)).detail
    assert manager.changes() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="whether others may is known only when they try")
async def test_the_preflight_looks_at_the_units_and_starts_none(manager: Systemd) -> None:
    good = await check(manager, unit="mailer-b.service")
    assert (good.passed, good.credentials) == (True, True)
    assert good.detail == "mailer-b.service is inactive (dead), mailer-a is active (running); we are root"
    masked = 'org.freedesktop.systemd1.UnitMasked "Unit masked.service is masked."'
    manager.write("masked", load="masked", error=masked)
    manager.write("static", file="static")
    for keys, words in (
        ({"unit": "gone"}, "gone is not-found: Unit gone.service not found."),
        ({"unit": "masked"}, "masked is masked: Unit masked.service is masked."),
        ({"unit": "static", "enable": True}, "cannot be enabled: its unit file is static"),
        ({"unit": "mailer-b", "program": ["no-systemctl"]}, "no-systemctl is not on the path"),
    ):
        failed = await check(manager, **keys)
        assert failed.passed is False
        assert words in failed.detail
    assert (await switch(manager, "gone")).applied is Applied.REFUSED
    assert manager.changes() == []


@pytest.mark.parametrize("first", ["start", "stop"])
async def test_the_manual_lines_have_the_same_effect(manager: Systemd, first: str) -> None:
    raw = {"program": ["./systemctl"], "unit": "mailer-b.service", "out": list(BOTH), "first": first, "enable": True}
    finished = await run_program(["bash", "-c", manual(raw)], cwd=manager.folder, timeout=10)
    assert finished.exit_code == 0, finished.stderr
    assert (await look(manager)).value == "mailer-b.service"


# --- the operation of the how-to ---------------------------------------------------------------------------------

PAGE = "howto-switch-systemd.md"


def test_the_component_of_the_page_is_valid(tmp_path: Path) -> None:
    loaded = loaded_from(workspace_of(PAGE, tmp_path))
    assert loaded.problems == ()
    switch = loaded.operation.components["mail"].switch
    assert switch is not None
    assert "boots" in switch.abilities.self_reverts


@asynccontextmanager
async def gateway(manager: Systemd, folder: Path) -> AsyncIterator[Duty]:
    """The operation of the page. The front door is answered by whichever unit is active."""

    async def health(_: Request) -> bytes:
        active = [unit for unit in ("mailer-a", "mailer-b") if manager.state(unit) == "active"]
        return http(json.dumps({"unit": f"{active[-1]}.service"})) if active else http("{}", status=503)

    async with serving(health=health) as target:
        systemctl = manager.folder / "systemctl"
        changes = {
            "kind: systemd,": f"kind: systemd, program: [{systemctl}],",
            "argv: [systemctl,": f"argv: [{systemctl},",
            ", sudo: true": ", steady: 200ms",
            "http://127.0.0.1:8025": target.url,
            "  verify: [delivery]": "  verify: [delivery]\n  deadline: 2s",
            "providers:\n": "defaults: {every: 1s, timeout: 2s, down_after: 2, up_after: 1}\nproviders:\n",
        }
        async with on_duty(workspace_of(PAGE, folder / "workspace", changes), "mail") as duty:
            yield duty


async def test_a_failover_is_committed_and_a_unit_started_by_hand_is_drift(manager: Systemd, tmp_path: Path) -> None:
    async with gateway(manager, tmp_path) as duty:
        over = await duty.carry_out(SwitchKind.FAILOVER)
        assert over["state"] == "committed"
        assert truths(over) == {"A": "true", "B": "true", "C": "true", "D": "true"}
        assert duty.active == "b"
        manager.put("mailer-a", "active", "running")
        await duty.look_again()
        assert duty.active is None, "two of them are nobody"
        manager.put("mailer-a", "inactive", "dead")
        await duty.look_again()
        assert duty.active == "b"
        back = await duty.carry_out(SwitchKind.FAILBACK)
        assert (back["state"], manager.state("mailer-a"), manager.state("mailer-b")) == (
            "committed",
            "active",
            "inactive",
        )


async def test_a_primary_that_has_crashed_is_left_by_the_same_key(manager: Systemd, tmp_path: Path) -> None:
    async with gateway(manager, tmp_path) as duty:
        manager.put("mailer-a", "failed", "failed")
        manager.write("mailer-a", last="7")
        await duty.look_again()
        assert duty.active == "a"
        assert (await duty.carry_out(SwitchKind.FAILOVER))["state"] == "committed"


async def test_a_backup_that_does_not_stay_up_is_no_switch_and_users_notice_nothing(
    manager: Systemd, tmp_path: Path
) -> None:
    async with gateway(manager, tmp_path) as duty:
        manager.write("mailer-b", FAILS)
        over = await duty.carry_out(SwitchKind.FAILOVER)
        assert over["state"] == "no_effect"
        assert truths(over)["A"] == "false"
        assert (duty.active, manager.state("mailer-a")) == ("a", "active")
