"""Action kind `systemd`: a systemctl that lies, hangs, talks without end, or may not do it.

How services themselves may misbehave is in tests/mechanisms/test_systemd.py.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from opsdash.kinds.actions.systemd import KIND, Options, ReadOptions, apply, manual, preflight, read
from opsdash.kinds.base import ActionContext, ActionResult, Applied, Preflight, Reading
from opsdash.kinds.resolver import Resolver
from tests.mechanisms.systemd_server import systemd

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.mechanisms.systemd_server import Systemd


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Systemd]:
    """`mailer-a` is active, `mailer-b` is not."""
    with systemd(tmp_path) as found:
        yield found


def a_context(manager: Systemd, **keys: Any) -> ActionContext:
    return ActionContext("mail:failover:3", keys.pop("deadline", 10.0), manager.folder, Resolver(), 0.0, **keys)


async def switch(manager: Systemd, *, expected: str | None = "mailer-a", **keys: Any) -> ActionResult:
    raw = {"unit": "mailer-b", "out": "mailer-a", "program": ["./systemctl"], "steady": "100ms"}
    contexts = {key: keys.pop(key) for key in ("deadline", "on_sent") if key in keys}
    return await apply(Options.model_validate({**raw, **keys}), a_context(manager, expected=expected, **contexts))


async def look(manager: Systemd, *units: str, deadline: float = 10.0) -> Reading:
    options = ReadOptions(units=units or ("mailer-a", "mailer-b"), program=("./systemctl",))
    return await read(options, a_context(manager, deadline=deadline))


async def check(manager: Systemd, **keys: Any) -> Preflight:
    raw = {"unit": "mailer-b", "out": "mailer-a", "program": ["./systemctl"]}
    return await preflight(Options.model_validate({**raw, **keys}), a_context(manager))


async def test_each_job_is_one_plain_call(manager: Systemd) -> None:
    assert (await switch(manager)).applied is Applied.APPLIED
    assert manager.changes() == ["start mailer-b", "stop mailer-a"]
    manager.forget()
    result = await switch(manager, unit="mailer-a", out="mailer-b", first="stop", expected="mailer-b.service")
    assert result.applied is Applied.APPLIED
    assert manager.changes() == ["stop mailer-b", "start mailer-a"]


@pytest.mark.parametrize(
    ("script", "applied", "words"),
    [
        ("echo 'Failed to start: Access denied' >&2; exit 4", Applied.REFUSED, "Access denied"),
        ("echo 'Unit not found' >&2; exit 5", Applied.REFUSED, "not found"),
        ("echo 'Job for mailer-b failed' >&2; exit 1", Applied.UNKNOWN, "exited with 1: Job for mailer-b failed"),
        ("exit 7", Applied.UNKNOWN, "exited with 7"),
        ("kill -9 $$", Applied.UNKNOWN, "SIGKILL"),
        ("exec sleep 60", Applied.UNKNOWN, "was killed after"),
        ("trap '' TERM; sleep 60 & while :; do sleep 0.05; done", Applied.UNKNOWN, "was killed after"),
        ("yes | head -c 50000000; exit 1", Applied.UNKNOWN, "exited with 1: y y y"),
        ("printf '\\033]52;c;eA==\\a\\377'; exit 1", Applied.UNKNOWN, "exited with 1"),
        (":", Applied.UNKNOWN, "then it is inactive (dead)"),
    ],
)
async def test_a_start_that_does_not_end_well_leaves_the_old_one_alone(
    manager: Systemd, script: str, applied: Applied, words: str
) -> None:
    manager.but("start", script)
    result = await switch(manager, deadline=2.0)
    assert result.applied is applied, result.detail
    assert words in result.detail
    assert len(result.detail) < 500
    assert manager.changes() == ["start mailer-b"]
    assert manager.state("mailer-a") == "active"


async def test_a_child_that_systemctl_leaves_behind_holds_nobody_up(manager: Systemd) -> None:
    manager.but("start", "sleep 60 & echo 'active=active sub=running' >>units/$1.service")
    assert (await switch(manager)).applied is Applied.APPLIED


@pytest.mark.parametrize(
    ("script", "words"),
    [("exit 4", "stop mailer-a: ./systemctl exited with 4"), (":", "mailer-a was stopped, but mailer-a is active")],
)
async def test_an_old_one_that_does_not_stop_is_no_success(manager: Systemd, script: str, words: str) -> None:
    manager.but("stop", script)
    result = await switch(manager)
    assert result.applied is Applied.UNKNOWN, "the new one runs by now"
    assert words in result.detail
    manager.put("mailer-b", "inactive", "dead")
    first = await switch(manager, first="stop")
    assert first.applied is (Applied.REFUSED if script == "exit 4" else Applied.UNKNOWN)
    assert manager.state("mailer-b") == "inactive", "it is not started beside the old one"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo 'Failed to connect to bus: Host is down' >&2; exit 1", "Failed to connect to bus"),
        ("echo", "told of 0 units"),
        ("echo ActiveState=active", "told of 1 units"),
        ("printf 'ActiveState=up\\n\\nActiveState=up\\n'", "'up', which is no known state"),
        ("printf 'a\\n\\nb\\n'", "None, which is no known state"),
        ("head -c 3000 /dev/urandom", ""),
        ("yes | head -c 50000000", ""),
        ("exec sleep 60", "was killed after"),
        ("while :; do echo ActiveState=active; sleep 0.05; done", "was killed after"),
    ],
)
async def test_what_cannot_be_understood_is_not_believed_and_nothing_is_done(
    manager: Systemd, script: str, words: str
) -> None:
    manager.but("show", script)
    reading = await look(manager, deadline=1.0)
    assert (reading.value, reading.serving) == (None, None)
    assert words in reading.detail
    sent: list[str] = []
    result = await switch(manager, deadline=1.0, on_sent=lambda: sent.append("sent"))
    assert result.applied is Applied.NOT_STARTED
    assert (manager.changes(), sent) == ([], [])


async def test_a_program_that_is_not_there_changed_nothing(manager: Systemd) -> None:
    (manager.folder / "systemctl").unlink()
    assert (await switch(manager)).applied is Applied.NOT_STARTED
    assert (await look(manager)).value is None
    assert (await check(manager)).detail == "./systemctl does not exist"


async def test_after_the_first_job_was_sent_a_systemctl_that_falls_silent_leaves_it_unknown(manager: Systemd) -> None:
    manager.but("start", "rm systemctl; echo 'active=active sub=running' >>units/$1.service")
    sent: list[str] = []
    result = await switch(manager, on_sent=lambda: sent.append("sent"))
    assert result.applied is Applied.UNKNOWN
    assert "could not be started" in result.detail
    assert sent == ["sent"]


async def test_states_between_are_told_as_what_they_are(manager: Systemd) -> None:
    for a, b, value, serving in (
        ("reloading reload", "inactive dead", "mailer-a", ("mailer-a",)),
        ("deactivating stop-sigterm", "active running", "mailer-b", ("mailer-a", "mailer-b")),
        ("activating start", "inactive dead", "mailer-a", ()),
        ("failed failed", "activating auto-restart", "mailer-b", ()),
        ("inactive dead", "inactive dead", "none", ()),
    ):
        manager.put("mailer-a", *a.split())
        manager.put("mailer-b", *b.split())
        reading = await look(manager)
        assert (reading.value, reading.serving) == (value, serving)


@pytest.mark.skipif(os.geteuid() != 0, reason="what others may is known only when they try")
async def test_root_may(manager: Systemd) -> None:
    tried = await check(manager)
    assert (tried.passed, tried.credentials) == (True, True)
    assert tried.detail == "mailer-b is inactive (dead), mailer-a is active (running); we are root"


async def test_sudo_is_asked_before_and_used_for_what_needs_it(
    manager: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{manager.folder}:{os.environ['PATH']}")
    sudo = manager.folder / "sudo"
    sudo.write_text(
        '#!/bin/sh\necho "$*" >>asked\nshift\n[ "$1" = -l ] && { [ "$4" != mailer-x ]; exit; }\nexec "$@"\n'
    )
    sudo.chmod(0o755)
    tried = await check(manager, sudo=True)
    assert (tried.passed, tried.credentials) == (True, True)
    manager.write("mailer-x")
    denied = await check(manager, sudo=True, unit="mailer-x")
    assert (denied.passed, denied.credentials) == (False, False)
    assert denied.detail.endswith("start mailer-x is not permitted: sudo exited with 1")
    assert (await switch(manager, sudo=True)).applied is Applied.APPLIED
    assert (manager.folder / "asked").read_text().splitlines()[-2:] == [
        "-n ./systemctl start mailer-b",
        "-n ./systemctl stop mailer-a",
    ]
    line = manual({"unit": "mailer-b", "out": "mailer-a", "sudo": True})
    assert line == "sudo systemctl start mailer-b && systemctl is-active mailer-b && sudo systemctl stop mailer-a"


def test_what_a_reboot_does_is_told_unless_units_are_enabled() -> None:
    assert "boots" in KIND.abilities_with(Options(unit="a")).self_reverts
    assert not KIND.abilities_with(Options(unit="a", enable=True)).self_reverts
    assert not KIND.abilities_with(Options(unit="a")).cas, "systemctl has no such thing"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"unit": "--now"}, "no name of a unit"),
        ({"unit": "mailer*"}, "no name of a unit"),
        ({"unit": "a b"}, "no name of a unit"),
        ({"unit": "$(id)"}, "no name of a unit"),
        ({"unit": "a", "out": ["../b"]}, "no name of a unit"),
        ({"unit": "a", "scope": "global"}, "user"),
        ({"unit": "a", "program": "systemctl"}, "as a list"),
        ({"unit": "a", "scope": "user", "sudo": True}, "need no `sudo`"),
    ],
)
def test_options_that_cannot_work_are_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Options.model_validate(keys)
