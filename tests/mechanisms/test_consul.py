"""Action kind `consul` on an agent: the stand-in, and a real one in development mode where this machine has it."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
from typing import TYPE_CHECKING, Any

import pytest

from opsdash.kinds.actions.consul import KIND, Options, ReadOptions, apply, manual, preflight, read
from opsdash.kinds.base import ActionContext, Applied
from opsdash.kinds.processes import run_program
from opsdash.kinds.resolver import Resolver
from opsdash.model.switch import SwitchKind
from tests.mechanisms.consul_server import Consul, consul
from tests.mechanisms.keyvalue_shop import shop, truths
from tests.mechanisms.support import freeze

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ID = "email:failover:7"
KEYS = ["mailer/provider", "mailer/by"]
OPS = "0b3e6c1c-56a8-4a1c-8d5e-7d6ad1a0f002"
LOOKER = "0b3e6c1c-56a8-4a1c-8d5e-7d6ad1a0f003"
STRANGER = "0b3e6c1c-56a8-4a1c-8d5e-7d6ad1a0f004"


@pytest.fixture(params=[False, True], ids=["stand-in", "real"])
def agent(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Consul]:
    """An agent in which postmark serves."""
    with consul(tmp_path, real=request.param) as agent:
        agent.put(KEYS[0], "postmark", flags=42)
        yield agent


@pytest.fixture(params=[False, True], ids=["stand-in", "real"])
def strict(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Consul]:
    """An agent in which postmark serves, and that wants tokens."""
    with consul(tmp_path, real=request.param, tokens=True) as agent:
        agent.put(KEYS[0], "postmark")
        agent.allow(OPS, "write", *KEYS)
        agent.allow(LOOKER, "read", *KEYS)
        yield agent


def a_context(folder: Path, **more: Any) -> ActionContext:
    return ActionContext(more.pop("action_id", ID), more.pop("deadline", 10.0), folder, Resolver(), 0.0, **more)


def raw(agent: Consul, **more: Any) -> dict[str, Any]:
    return {"endpoints": [agent.endpoint], "key": KEYS[0], "marker": KEYS[1], "value": "ses", **more}


def options(agent: Consul, **more: Any) -> Options:
    return Options.model_validate(raw(agent, **more))


def read_options(agent: Consul, **more: Any) -> ReadOptions:
    return ReadOptions.model_validate({"endpoints": [agent.endpoint], "key": KEYS[0], "marker": KEYS[1], **more})


def test_what_the_kind_relies_on_is_so(agent: Consul) -> None:
    row = agent.row(KEYS[0])
    assert row is not None
    index = row["ModifyIndex"]
    assert agent.ask("PUT", f"/v1/kv/{KEYS[0]}?cas={index + 1}", b"ses")[1].strip() == b"false"
    agent.put(KEYS[0], "postmark", flags=42)
    assert agent.row(KEYS[0]) == row, "an entry that is left as it was keeps its index"
    assert agent.ask("PUT", f"/v1/kv/{KEYS[0]}?cas={index}", b"ses")[1].strip() == b"true"
    changed = agent.row(KEYS[0])
    assert changed is not None
    assert (changed["Flags"], changed["CreateIndex"]) == (0, row["CreateIndex"])
    stale = {"Verb": "cas", "Key": KEYS[0], "Value": "", "Index": index}
    fresh = {"Verb": "cas", "Key": KEYS[1], "Value": "", "Index": 0}
    status, said = agent.ask("PUT", "/v1/txn", json.dumps([{"KV": fresh}, {"KV": stale}]).encode())
    assert status == 409
    assert json.loads(said)["Errors"] == [{"OpIndex": 1, "What": f'failed to set key "{KEYS[0]}", index is stale'}]
    assert agent.row(KEYS[1]) is None, "all of a transaction, or nothing"


async def test_value_and_marker_are_written_at_one_index_and_only_once(agent: Consul, tmp_path: Path) -> None:
    before = await read(read_options(agent), a_context(tmp_path))
    first = await apply(options(agent), a_context(tmp_path, expected="postmark", expected_version=before.version))
    assert (first.applied, first.prior) == (Applied.APPLIED, "postmark")
    rows = [agent.row(key) for key in KEYS]
    assert {str(row["ModifyIndex"]) for row in rows if row} == {first.version}
    assert [base64.b64decode(row["Value"]).decode() for row in rows if row] == ["ses", ID]
    assert [row["Flags"] for row in rows if row] == [42, 0]
    reading = await read(read_options(agent), a_context(tmp_path))
    assert (reading.value, reading.by, reading.version) == ("ses", ID, first.version)
    again = await apply(options(agent), a_context(tmp_path, expected="postmark"))
    assert "already (by this very action)" in again.detail
    assert agent.row(KEYS[0]) == rows[0]


async def test_a_key_that_is_not_there_is_read_as_none_and_not_made(agent: Consul, tmp_path: Path) -> None:
    assert (await read(read_options(agent, key="mailer/nothing"), a_context(tmp_path))).value is None
    result = await apply(options(agent, key="mailer/nothing"), a_context(tmp_path))
    assert result.applied is Applied.REFUSED
    assert "does not exist" in result.detail
    assert agent.get("mailer/nothing") is None


async def test_somebody_elses_write_wins_over_ours_and_over_our_undo(agent: Consul, tmp_path: Path) -> None:
    beaten = await apply(
        options(agent), a_context(tmp_path, expected="postmark", on_sent=lambda: agent.put(KEYS[0], "mailgun"))
    )
    assert (beaten.applied, agent.get(KEYS[0])) == (Applied.REFUSED, "mailgun")
    assert "says mailgun, where postmark was expected" in beaten.detail
    assert KIND.undo is not None
    back = Options.model_validate(KIND.undo(raw(agent), "postmark"))
    assert (await apply(back, a_context(tmp_path))).applied is Applied.REFUSED
    agent.put(KEYS[0], "ses")
    assert (await apply(back, a_context(tmp_path))).applied is Applied.APPLIED
    assert agent.get(KEYS[0]) == "postmark"


async def test_the_preflight_needs_the_right_to_write_and_writes_nothing(strict: Consul, tmp_path: Path) -> None:
    before = strict.row(KEYS[0])
    outcomes = {}
    for token in (OPS, LOOKER, STRANGER, None):
        found = await preflight(options(strict, token=token), a_context(tmp_path))
        outcomes[token] = (found.passed, found.credentials)
        assert ("Permission denied" in found.detail) == (token in {LOOKER, None})
    assert outcomes == {OPS: (True, True), LOOKER: (False, False), STRANGER: (False, False), None: (False, False)}
    other = await preflight(options(strict, token=OPS, marker="other"), a_context(tmp_path))
    assert (other.passed, other.credentials) == (False, False)
    assert (strict.row(KEYS[0]), strict.row(KEYS[1])) == (before, None)


async def test_a_token_may_do_what_its_policy_says_and_no_more(strict: Consul, tmp_path: Path) -> None:
    denied = await apply(options(strict, token=LOOKER), a_context(tmp_path))
    assert denied.applied is Applied.REFUSED
    assert "Permission denied" in denied.detail
    assert "nothing was written" in denied.detail
    stranger = await apply(options(strict, token=STRANGER), a_context(tmp_path))
    assert stranger.applied is Applied.REFUSED
    assert "ACL not found" in stranger.detail
    assert strict.get(KEYS[0]) == "postmark"
    assert (await apply(options(strict, token=OPS), a_context(tmp_path))).applied is Applied.APPLIED
    assert (await read(read_options(strict, token=LOOKER), a_context(tmp_path))).value == "ses"


async def test_an_agent_that_stands_still_with_our_change_leaves_it_unknown(agent: Consul, tmp_path: Path) -> None:
    pid = agent.server.pid
    context = a_context(tmp_path, deadline=1.0, on_sent=lambda: freeze(pid))
    result = await apply(options(agent), context)
    os.kill(pid, signal.SIGCONT)
    assert result.applied is Applied.UNKNOWN
    assert "after the request had been sent" in result.detail
    # Whether it still does it depends on what it sees first, our request or its end. One of the two it is.
    reading = await read(read_options(agent), a_context(tmp_path))
    assert (reading.value, reading.by) in {("ses", ID), ("postmark", None)}


async def test_an_agent_that_is_killed_with_our_change_leaves_it_unknown(agent: Consul, tmp_path: Path) -> None:
    result = await apply(options(agent), a_context(tmp_path, deadline=2.0, on_sent=agent.server.kill))
    assert result.applied is Applied.UNKNOWN


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed; apt-get install curl")
async def test_the_manual_command_does_the_same_as_the_action(strict: Consul, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(OPS)
    line = manual(raw(strict, token="${file:token}", value="@it is $HOME"))
    finished = await run_program(["bash", "-c", line], cwd=tmp_path, timeout=20)
    assert finished.exit_code == 0, finished.stderr
    assert strict.get(KEYS[0]) == "@it is $HOME"


# --- under an engine ------------------------------------------------------------------------------------------------


async def test_a_failover_is_verified_and_a_failback_too(agent: Consul, tmp_path: Path) -> None:
    call = {"kind": "consul", "endpoints": [agent.endpoint]}
    async with shop(tmp_path, agent, call, "mailer/") as there:
        plan = await there.plan(SwitchKind.FAILOVER)
        assert plan["manual"].startswith("curl ")
        assert plan["manual"].endswith("/v1/kv/mailer/provider")
        over = await there.carry_out(SwitchKind.FAILOVER)
        assert over["state"] == "committed"
        assert truths(over) == {"A": "true", "B": "true", "C": "stateless", "D": "true"}
        assert (await there.get("provider"), await there.get("switched-by")) == ("ses-eu", over["id"])
        back = await there.carry_out(SwitchKind.FAILBACK)
        assert back["state"] == "committed"
        assert (await there.get("provider"), await there.get("switched-by")) == ("pm-prod", back["id"])


async def test_who_writes_the_key_behind_our_back_is_noticed(agent: Consul, tmp_path: Path) -> None:
    call = {"kind": "consul", "endpoints": [agent.endpoint]}
    async with shop(tmp_path, agent, call, "mailer/") as there:
        await there.carry_out(SwitchKind.FAILOVER)
        await there.put("provider", "pm-prod")
        await there.look_again()
        assert there.active == "postmark"


async def test_a_degraded_mode_is_left_by_putting_back_what_was_there(agent: Consul, tmp_path: Path) -> None:
    call = {"kind": "consul", "endpoints": [agent.endpoint]}
    async with shop(tmp_path, agent, call, "mailer/") as there:
        entered = await there.carry_out(SwitchKind.DEGRADE, "orders-only")
        assert (entered["state"], await there.get("mode")) == ("committed", "orders-only")
        left = await there.carry_out(SwitchKind.RESTORE, "orders-only")
        assert (left["state"], await there.get("mode")) == ("committed", "normal")
