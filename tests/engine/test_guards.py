"""The guard of a drill, as the engine sees it: armed before anything breaks, and undone whoever dies."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from opsdash.engine import guardian, guards, lever
from opsdash.engine.guards import Outcome
from opsdash.kinds.base import Applied
from opsdash.model.drill import Injection
from opsdash.model.now import Now
from tests.engine.faults import Desk, Thing, ended
from tests.engine.support import eventually, eventually_asked, http, serving

if TYPE_CHECKING:
    from pathlib import Path

    from tests.engine.support import Request


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    (tmp_path / ".opsdash").mkdir()
    return Desk(tmp_path)


@pytest.fixture
def thing(tmp_path: Path) -> Thing:
    return Thing(tmp_path)


async def test_a_fault_is_made_after_the_guard_has_written_it_down_and_is_undone_when_told(
    desk: Desk, thing: Thing
) -> None:
    guard = await desk.arm(thing.injection())
    assert desk.events() == ["armed"]
    assert thing.calls() == []
    [done] = await guard.inject()
    assert done.applied is Applied.APPLIED
    assert thing.is_broken
    assert desk.events() == ["armed", "injecting"]
    outcome = await guard.undo("the drill is over")
    assert (outcome.verified, outcome.by) == (True, "guard")
    assert not thing.is_broken
    assert desk.events() == ["armed", "injecting", "undoing", "tried", "undone"]
    assert [event.event for event in desk.told] == ["injecting", "undoing", "tried", "undone"]
    assert desk.told[1].detail == "the drill is over"
    assert await desk.leftovers() == ()


async def test_an_undo_that_was_never_needed_touches_nothing(desk: Desk, thing: Thing) -> None:
    guard = await desk.arm(thing.injection())
    outcome = await guard.undo("not begun")
    assert outcome.verified is True
    assert thing.calls() == []


async def test_an_undo_that_fails_twice_is_tried_a_third_time(desk: Desk, thing: Thing) -> None:
    thing.misbehave("failures", "one\ntwo\n")
    guard = await desk.arm(thing.injection())
    await guard.inject()
    outcome = await guard.undo("over")
    assert outcome.verified is True
    assert thing.calls().count("mend") == 3
    assert [entry["verified"] for entry in desk.log() if entry["event"] == "tried"] == [False, False, True]


async def test_an_undo_that_hangs_is_ended_and_tried_again(desk: Desk, thing: Thing) -> None:
    thing.misbehave("hang")
    guard = await desk.arm(thing.injection(), try_deadline=2.0)
    await guard.inject()
    outcome = await guard.undo("over")
    assert outcome.verified is True
    assert not thing.is_broken
    assert thing.calls().count("mend") >= 2


async def test_an_undo_without_effect_is_given_up_and_a_person_is_told_what_to_do(desk: Desk, thing: Thing) -> None:
    thing.misbehave("deaf")
    guard = await desk.arm(thing.injection())
    await guard.inject()
    outcome = await guard.undo("over")
    assert outcome.verified is False
    assert thing.calls().count("mend") == 5
    assert desk.log()[-1]["by_hand"] == ["thing/fault mend"]
    [left] = await desk.leftovers()
    assert left.by_hand == ("thing/fault mend",)


@pytest.mark.parametrize("by", ["guard", "engine"])
async def test_what_a_person_says_to_be_gone_is_not_undone_any_more(desk: Desk, thing: Thing, by: str) -> None:
    thing.misbehave("deaf")
    guard = await desk.arm(thing.injection(), pauses=(0.0, 3600.0))
    await guard.inject()
    if by == "engine":
        os.kill(guard.pid, signal.SIGKILL)
    undoing = asyncio.create_task(guard.undo("over"))
    await eventually(lambda: "tried" in desk.events())
    await asyncio.to_thread(guards.settle, desk.state, "run-1", "maria", "the shop answers again")
    assert await undoing == Outcome(True, by, "it was said to be gone")
    assert thing.calls().count("mend") == 1


async def test_an_undo_that_cannot_be_verified_is_not_called_verified(desk: Desk, thing: Thing) -> None:
    thing.misbehave("unclear")
    guard = await desk.arm(thing.injection())
    await guard.inject()
    outcome = await guard.undo("over")
    assert outcome.verified is None
    assert len(await desk.leftovers()) == 1
    await asyncio.to_thread(guards.settle, desk.state, "run-1", "maria", "the shop answers again")
    assert await desk.leftovers() == ()


async def test_several_faults_are_undone_in_reverse_and_one_that_stays_holds_up_no_other(
    desk: Desk, thing: Thing, tmp_path: Path
) -> None:
    other = Thing(tmp_path, "other")
    other.misbehave("deaf")
    guard = await desk.arm(thing.injection(), other.injection())
    assert len(await guard.inject()) == 2
    outcome = await guard.undo("over")
    assert outcome.verified is False
    assert not thing.is_broken
    assert [entry["kind"] for entry in desk.log() if entry["event"] == "tried"] == ["command"] * 6
    assert len(desk.log()[-1]["by_hand"]) == 1


async def test_injecting_stops_at_what_does_not_come_about(desk: Desk, thing: Thing) -> None:
    broken = Injection("command", {"argv": ["/bin/false"]}, {"argv": ["/bin/true"]})
    guard = await desk.arm(broken, thing.injection())
    [done] = await guard.inject()
    assert done.applied is Applied.UNKNOWN
    assert not thing.is_broken
    await guard.undo("it did not come about")


async def test_at_the_limit_the_guard_undoes_by_itself(desk: Desk, thing: Thing) -> None:
    guard = await desk.arm(thing.injection(), limit=1.0)
    await guard.inject()
    outcome = await ended(guard)
    assert outcome.verified is True
    assert "limit of 1s" in desk.told[1].detail
    assert not thing.is_broken


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_guard_that_is_told_to_end_undoes_first(desk: Desk, thing: Thing, number: signal.Signals) -> None:
    guard = await desk.arm(thing.injection())
    await guard.inject()
    os.kill(guard.pid, signal.SIGHUP)
    os.kill(guard.pid, number)
    outcome = await ended(guard)
    assert (outcome.verified, outcome.by) == (True, "guard")


async def test_when_drills_are_halted_every_guard_undoes_and_none_is_armed(desk: Desk, thing: Thing) -> None:
    guard = await desk.arm(thing.injection())
    await guard.inject()
    await asyncio.to_thread(lever.halt, desk.state, "maria", "the shop is really down")
    assert (await ended(guard)).verified is True
    assert not thing.is_broken
    with pytest.raises(guards.ArmingError, match=r"halted: the shop is really down \(maria\)"):
        await desk.arm(thing.injection(), run="run-2")
    await asyncio.to_thread(lever.allow, desk.state)
    await (await desk.arm(thing.injection(), run="run-3")).undo("over")


async def test_when_the_guard_is_killed_the_engine_undoes_and_says_so(desk: Desk, thing: Thing) -> None:
    guard = await desk.arm(thing.injection())
    await guard.inject()
    os.kill(guard.pid, signal.SIGKILL)
    outcome = await ended(guard)
    assert (outcome.verified, outcome.by) == (True, "engine")
    assert not thing.is_broken
    gone = next(event for event in desk.told if event.event == "gone")
    assert "signal 9" in gone.detail
    assert desk.log()[-1]["by"] == "engine"
    assert await desk.leftovers() == ()


async def test_a_guard_that_stands_still_is_ended_and_the_engine_undoes(
    desk: Desk, thing: Thing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guards, "ANSWER_WITHIN", 1.0)
    guard = await desk.arm(thing.injection())
    await guard.inject()
    os.kill(guard.pid, signal.SIGSTOP)
    outcome = await guard.undo("over")
    assert (outcome.verified, outcome.by) == (True, "engine")
    assert not thing.is_broken


async def test_after_a_guard_that_died_nothing_is_injected(desk: Desk, thing: Thing) -> None:
    guard = await desk.arm(thing.injection())
    os.kill(guard.pid, signal.SIGKILL)
    await ended(guard)
    [done] = await guard.inject()
    assert done.applied is Applied.NOT_STARTED
    assert thing.calls() == []


async def test_an_engine_that_ends_leaves_the_undo_to_the_guard(desk: Desk, thing: Thing) -> None:
    guard = await desk.arm(thing.injection())
    await guard.inject()
    guard.let_go()
    await eventually(lambda: "undone" in desk.events(), within=60)
    assert not thing.is_broken
    assert next(entry["why"] for entry in desk.log() if entry["event"] == "undoing") == "the engine is gone"


async def test_a_program_that_is_about_to_break_something_is_ended_before_it_is_undone(
    desk: Desk, thing: Thing
) -> None:
    held = ": >thing/waits; while [ ! -e thing/go ]; do sleep 0.05; done; thing/fault break"
    slow = Injection("command", {"argv": ["/bin/sh", "-c", held]}, thing.injection().undo)
    guard = await desk.arm(slow, try_deadline=30.0)
    injecting = asyncio.ensure_future(guard.inject())
    await eventually((thing.folder / "waits").exists, within=30)
    assert (await guard.undo("stopped")).verified is True
    (thing.folder / "go").touch()
    [done] = await injecting
    assert done.applied is Applied.UNKNOWN
    assert "was ended by SIGTERM" in done.detail
    first = next(entry for entry in desk.log() if entry["event"] == "tried")
    assert "what was still making the fault was ended" in first["detail"]
    assert "break" not in thing.calls()
    assert not thing.is_broken


async def test_what_came_while_it_was_being_undone_is_undone_again(desk: Desk) -> None:
    arrived, may_go, broken = asyncio.Event(), asyncio.Event(), False

    async def told(request: Request) -> bytes:
        nonlocal broken
        if request.method == "PUT":
            wanted = json.loads(request.body)["broken"]
            if wanted:
                arrived.set()
                await may_go.wait()
            broken = wanted
        return http(status=409 if broken else 200)

    async with serving(fault=told) as server:
        url = f"{server.url}/fault"
        raw = {"method": "PUT", "url": url, "ok": [200, 409]}
        undo = {**raw, "json": {"broken": False}, "gone_url": url}
        guard = await desk.arm(Injection("http", {**raw, "json": {"broken": True}}, undo), try_deadline=30.0)
        injecting = asyncio.ensure_future(guard.inject())
        await asyncio.wait_for(arrived.wait(), 30)
        assert (await guard.undo("stopped")).verified is True
        may_go.set()
        [done] = await injecting
        assert done.applied is Applied.APPLIED
        assert not broken


@pytest.mark.parametrize(("wall", "mono"), [(3600.0, 0.5), (-3600.0, 61.0), (0.0, 61.0)])
def test_a_clock_that_jumps_or_stands_still_puts_the_limit_off_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wall: float, mono: float
) -> None:
    now = Now(wall=1_800_000_000.0, mono=5.0, boot=5.0)
    guard = guardian.Guardian(tmp_path / "run-1")
    guard._arming = Desk(tmp_path).arming(limit=60.0)
    monkeypatch.setattr(guardian, "system_clock", lambda: now)
    guard._start_limit()
    now = Now(wall=now.wall + 59, mono=now.mono + 59, boot=now.boot + 59)
    assert guard._reason() == ""
    now = Now(wall=1_800_000_000.0 + wall, mono=5.0 + mono, boot=5.0)
    assert guard._reason() == "the limit of 1m has come"


BLOCKS = """
import time, sys
from pathlib import Path
from opsdash.engine import guardian
guardian.HARD_LIMIT = 0.2

async def blocks():
    time.sleep(60)

print(guardian.Guardian(Path("."))._in_fork(blocks, 0.3))
"""


async def test_a_try_that_blocks_everything_is_killed_from_outside() -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", BLOCKS, stdout=asyncio.subprocess.PIPE)
    async with asyncio.timeout(30):
        said, _ = await process.communicate()
    assert said == b"None\n"


@pytest.mark.skipif(not hasattr(fcntl, "F_SETPIPE_SZ"), reason="the size of a pipe can be set on Linux alone")
async def test_an_engine_that_reads_nothing_does_not_hold_up_the_undo(desk: Desk, thing: Thing) -> None:
    thing.misbehave("failures", "again\n" * 20)  # of which the guard tells in more than a page
    guard = await desk.arm(thing.injection(), pauses=(0.0,) * 21, limit=0.5)
    deaf = guard._transport
    assert deaf is not None
    fcntl.fcntl(deaf.get_extra_info("pipe").fileno(), fcntl.F_SETPIPE_SZ, 4096)
    await guard.inject()
    deaf.pause_reading()
    await eventually(lambda: "undone" in desk.events(), within=60)
    assert not thing.is_broken
    deaf.resume_reading()
    assert (await ended(guard)).verified is True


# --- arming ------------------------------------------------------------------------------------------------------


async def test_a_fault_that_cannot_be_undone_is_not_armed(desk: Desk) -> None:
    missing = Injection("command", {"argv": ["/bin/true"]}, {"argv": ["nowhere/mend"]})
    with pytest.raises(guards.ArmingError, match=r"nowhere/mend does not exist; nothing was injected"):
        await desk.arm(missing)
    with pytest.raises(guards.ArmingError, match="does not know its own way back"):
        await desk.arm(Injection("command", {"argv": ["/bin/true"]}), run="run-2")
    with pytest.raises(guards.ArmingError, match="'nonsense'"):
        await desk.arm(Injection("nonsense", {}), run="run-3")
    assert await desk.leftovers() == ()


async def test_a_run_is_armed_once(desk: Desk, thing: Thing) -> None:
    guard = await desk.arm(thing.injection())
    with pytest.raises(guards.ArmingError, match="there is a run of that name"):
        await desk.arm(thing.injection())
    await guard.undo("over")


async def test_no_secret_is_written_down_and_the_guard_has_it_all_the_same(desk: Desk, thing: Thing) -> None:
    (desk.workspace / "token").write_text("s3cret-of-a-file\n")
    desk.variables = {"SHOP_TOKEN": "s3cret-of-vars"}
    show = 'echo "$ONE $TWO" >thing/seen; echo "$ONE"; thing/fault mend'
    undo = {
        "argv": ["/bin/sh", "-c", show],
        "verify": ["thing/fault", "gone"],
        "env": {"ONE": "${file:token}", "TWO": "${SHOP_TOKEN}"},
    }
    guard = await desk.arm(Injection("command", thing.injection().raw, undo))
    (desk.workspace / "token").unlink()
    await guard.inject()
    assert (await guard.undo("over")).verified is True
    assert (thing.folder / "seen").read_text() == "s3cret-of-a-file s3cret-of-vars\n"
    folder = desk.state / "drills/run-1"
    written = b"".join(path.read_bytes() for path in folder.iterdir())
    assert b"s3cret" not in written
    assert b"${file:token}" in written
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "armed.json").stat().st_mode & 0o777 == 0o600
    assert not any("s3cret" in event.detail for event in desk.told)


# --- leftovers ---------------------------------------------------------------------------------------------------


async def test_what_two_dead_guards_left_is_found_and_taken_back_by_new_ones(desk: Desk, tmp_path: Path) -> None:
    things = [Thing(tmp_path, name) for name in ("first", "second")]
    for number, thing in enumerate(things):
        await left_behind(desk, thing, f"run-{number}")
    found = await desk.leftovers()
    assert [left.run for left in found] == ["run-0", "run-1"]
    assert [left.by_hand for left in found] == [("first/fault mend",), ("second/fault mend",)]
    for left in found:
        guard = await guards.take_back(left, desk.hands(), desk.told.append)
        assert (await ended(guard)).verified is True
    assert not any(thing.is_broken for thing in things)
    assert await desk.leftovers() == ()


async def left_behind(desk: Desk, thing: Thing, run: str) -> None:
    """A fault, a guard that was killed, and an engine that was gone by then."""
    guard = await desk.arm(thing.injection(), run=run)
    await guard.inject()
    guard.let_go()
    os.kill(guard.pid, signal.SIGKILL)

    async def alone() -> bool:
        return not (await desk.leftovers())[-1].guarded

    await eventually_asked(alone, within=60)
    if not thing.is_broken:  # the guard was faster than the signal
        (thing.folder / "broken").touch()
        log = desk.state / "drills" / run / "guard.jsonl"
        log.write_text("".join(line + "\n" for line in log.read_text().splitlines()[:2]))


async def test_a_leftover_that_cannot_be_read_is_shown_all_the_same(desk: Desk, thing: Thing) -> None:
    await left_behind(desk, thing, "run-1")
    (desk.state / "drills/run-1/armed.json").write_text("{")
    [left] = await desk.leftovers()
    assert "undo the drill by hand" in left.problem
    with pytest.raises(guards.ArmingError, match="undo the drill by hand"):
        await guards.take_back(left, desk.hands(), desk.told.append)


async def test_a_torn_line_of_the_log_counts_for_nothing(desk: Desk, thing: Thing) -> None:
    await left_behind(desk, thing, "run-1")
    with (desk.state / "drills/run-1/guard.jsonl").open("a") as log:
        log.write(json.dumps({"at": 1, "event": "undone", "verified": True})[:-4])
    assert [left.run for left in await desk.leftovers()] == ["run-1"]


def test_without_drills_nothing_is_left(tmp_path: Path) -> None:
    assert guards.leftovers(tmp_path) == ()
    assert lever.halted(tmp_path) is None
