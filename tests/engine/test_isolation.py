"""Checks that hold up the event loop go to processes of their own, where they are measured as before."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from opsdash.engine import isolation
from opsdash.engine.isolation import MOVES_AT, Isolation
from opsdash.engine.loopwatch import Held
from opsdash.engine.measuring import measure
from opsdash.kinds.base import CheckContext, CheckKind, CheckOptions, HeartbeatState, Sample
from opsdash.kinds.expectations import compile_judge
from opsdash.kinds.resolver import Resolver
from opsdash.model.status import Reason, Status
from tests.engine.blocker import LINE_THAT_BLOCKS, component, gone, installed
from tests.engine.support import (
    eventually,
    hang,
    http,
    loaded_from,
    reason,
    running,
    serving,
    status,
    web,
    write_workspace,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from opsdash.config.loader import Binding
    from opsdash.engine.engine import Engine
    from opsdash.model.observation import Observation


@pytest.fixture
def nothing_blocks() -> None:
    """Here something does: it is what the tests are about."""


STARTING = 30.0
"""Seconds within which a process of a check has come up on a busy machine."""


@pytest.fixture(autouse=True)
def kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with installed(tmp_path / "site", monkeypatch) as file:
        yield file


# --- in an engine ------------------------------------------------------------------------------------------------


def seen_by(engine: Engine) -> list[Observation]:
    """Every observation from now on."""
    seen: list[Observation] = []
    report = engine.poller._report

    def noted(observation: Observation) -> None:
        seen.append(observation)
        report(observation)

    engine.poller._report = noted
    return seen


def known(engine: Engine, check: str = "slow/block") -> dict[str, Any]:
    """What is known of a check that held the loop."""
    return next((each for each in engine.poller.isolation.listing() if each["check"] == check), {})


async def until_moved(engine: Engine, check: str = "slow/block") -> int:
    """The number of its process."""
    await eventually(lambda: known(engine, check).get("pid"), within=STARTING, hint=lambda: known(engine, check))
    pid: int = known(engine, check)["pid"]
    return pid


async def test_a_check_that_blocks_is_named_then_moved_and_the_others_go_on(
    tmp_path: Path, kind: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(home=http()) as target:
        folder = write_workspace(
            tmp_path / "w", slow=component(seconds=0.8), shop=web(f"{target.url}/home", every="200ms")
        )
        async with running(folder) as engine:
            seen = seen_by(engine)
            await eventually(lambda: "check slow/block held up the event loop" in caplog.text)
            place = f"{kind}:{LINE_THAT_BLOCKS} in sleep"
            assert f"at {place}" in caplog.text
            assert not known(engine)["own_process"]

            pid = await until_moved(engine)
            assert "from now on it runs in a process of its own" in caplog.text
            assert pid != os.getpid()
            slow = (await eventually(lambda: [o for o in seen if o.facts.get("pid") == pid], within=STARTING))[0]
            assert slow.status is Status.OK
            assert slow.finished - slow.requested >= 0.8

            def meanwhile() -> bool:
                """Whether another check has begun and ended while this one blocked."""
                blocked = [o for o in seen if o.facts.get("pid") == pid]
                shop = [o for o in seen if o.check == "shop/home"]
                return any(b.requested < o.requested and o.finished < b.finished for b in blocked for o in shop)

            await eventually(meanwhile)
            assert known(engine)["times"] == MOVES_AT
            assert known(engine)["place"] == place
            assert status(engine, "slow") == "ok"


async def moved(engine: Engine, check: str = "slow/block") -> int:
    """Move a check as if it had held the loop, and wait for its process."""
    for _ in range(MOVES_AT):
        engine.poller.held(Held(check, 1.0, "somewhere"))
    engine.poller.poll(check)
    return await until_moved(engine, check)


async def test_a_process_that_is_killed_says_nothing_of_the_target_and_the_next_run_has_another(
    tmp_path: Path,
) -> None:
    folder = write_workspace(tmp_path / "w", slow=component("wait", every="600s", seconds=600, timeout="1000s"))
    async with running(folder) as engine:
        await eventually((folder / "begun").exists)
        seen = seen_by(engine)
        (folder / "begun").unlink()
        engine.poller.configure({}, {})
        engine.poller.configure(engine.loaded.operation.checks, engine.loaded.bindings)
        pid = await moved(engine)
        await eventually(lambda: (folder / "begun").exists() and (folder / "begun").read_text() == str(pid))
        os.kill(pid, signal.SIGKILL)
        await eventually(lambda: seen)
        first = seen[0]
        assert (first.status, first.reason) == (Status.UNKNOWN, Reason.PROBE_ERROR)
        assert "its process was ended by SIGKILL" in first.detail
        assert gone(pid)
        engine.poller.poll("slow/block")
        another = await until_moved(engine)
        await eventually(lambda: (folder / "begun").read_text() == str(another))
        assert another != pid


async def test_a_process_that_is_killed_between_two_runs_is_not_noticed(tmp_path: Path) -> None:
    folder = write_workspace(tmp_path / "w", slow=component("nothing", every="600s"))
    async with running(folder) as engine:
        await engine.observe("slow/block")
        pid = await moved(engine)
        await engine.observe("slow/block")
        os.kill(pid, signal.SIGKILL)
        await eventually(lambda: known(engine)["pid"] is None)
        seen = await engine.observe("slow/block")
        assert seen.status is Status.OK
        assert seen.facts["pid"] not in {pid, os.getpid()}


async def test_a_check_that_is_dropped_or_becomes_another_one_needs_no_process_any_more(tmp_path: Path) -> None:
    folder = write_workspace(tmp_path / "w", slow=component("nothing"), idle=component("wait", seconds=600))
    async with running(folder) as engine:
        slow, idle = await moved(engine), await moved(engine, "idle/block")
        write_workspace(tmp_path / "w", slow=component("nothing", word="other"))
        (folder / "checks" / "idle.yaml").unlink()
        engine.reload(loaded_from(folder))
        assert engine.poller.isolation.listing() == []
        await eventually(lambda: gone(slow) and gone(idle))
        assert (await engine.observe("slow/block")).facts["pid"] == os.getpid()
        assert status(engine, "slow") == "ok"


async def test_a_check_whose_definition_stands_keeps_its_process(tmp_path: Path) -> None:
    folder = write_workspace(tmp_path / "w", slow=component("nothing"))
    async with running(folder) as engine:
        pid = await moved(engine)
        write_workspace(tmp_path / "w", slow=component("nothing"), more=component("nothing"))
        engine.reload(loaded_from(folder))
        assert (await engine.observe("slow/block")).facts["pid"] == pid


async def test_a_secret_that_is_another_one_now_is_used_in_the_next_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_workspace(tmp_path / "w", slow=component("raise", word="'${WORD}'"))
    async with running(folder, WORD="the-first-secret") as engine:
        await moved(engine)
        await eventually(lambda: reason(engine, "slow") == "probe_error")
        engine.reload(loaded_from(folder, WORD="the-second-secret"))
        engine.poller.poll("slow/block")
        await eventually(lambda: "the-second-secret" in caplog.text, within=STARTING)


async def test_the_end_of_the_engine_is_the_end_of_the_processes(tmp_path: Path) -> None:
    folder = write_workspace(tmp_path / "w", slow=component("sleep", seconds=600), idle=component("nothing"))
    async with running(folder, loaded=None, stop=False) as engine:
        engine.poller.configure({}, {})
        engine.poller.held(Held("slow/block", 1.0, "somewhere"))  # of a check that is gone: nothing comes of it
        assert engine.poller.isolation.listing() == []
        checks = {c: s for c, s in engine.loaded.operation.checks.items() if c == "idle/block"}
        engine.poller.configure(checks, engine.loaded.bindings)
        pid = await moved(engine, "idle/block")
        await engine.stop("the test is over")
        assert gone(pid)


async def test_there_are_not_more_processes_than_may_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(isolation, "MOST", 1)
    folder = write_workspace(tmp_path / "w", slow=component("nothing"), late=component("nothing"))
    async with running(folder) as engine:
        await moved(engine)
        for _ in range(2 * MOVES_AT):
            engine.poller.held(Held("late/block", 1.0, "somewhere"))
        assert "no more may have one" in known(engine, "late/block")["stays"]
        assert caplog.text.count("it goes on in the engine") == 1
        assert (await engine.observe("late/block")).facts["pid"] == os.getpid()
        (folder / "checks" / "slow.yaml").unlink()
        engine.reload(loaded_from(folder))
        engine.poller.held(Held("late/block", 1.0, "somewhere"))
        assert (await engine.observe("late/block")).facts["pid"] != os.getpid()
        assert known(engine, "late/block")["stays"] == ""


async def test_what_a_kind_prints_in_its_process_is_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_workspace(tmp_path / "w", slow=component("say", word="one two three"))
    async with running(folder) as engine:
        await moved(engine)
        await eventually(lambda: "check slow/block, in its own process, said: one two three" in caplog.text)


# --- one run -----------------------------------------------------------------------------------------------------


class Bench:
    """A check of a workspace, run in this process and in one of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.isolation = Isolation(folder)
        self.resolver = Resolver()
        self.failures: list[str] = []

    def binding(self, text: str) -> Binding:
        loaded = loaded_from(write_workspace(self.folder, it=text))
        assert not loaded.problems
        return next(iter(loaded.bindings.values()))

    def context(self, binding: Binding, **more: Any) -> CheckContext:
        settings = {"deadline": binding.check.timeout, "wall": 1_780_000_000.0, **more}
        return CheckContext(binding.check.id, workspace=self.folder, resolver=self.resolver, **settings)

    async def here(self, binding: Binding, **more: Any) -> Sample:
        return await measure(binding.kind, binding.options, self.context(binding, **more))

    async def there(self, binding: Binding, **more: Any) -> Sample:
        for _ in range(MOVES_AT):
            self.isolation.note(Held(binding.check.id, 1.0, "somewhere"))
        sample = await self.isolation.measure(binding, self.context(binding, **more), self.failures.append)
        assert sample is not None
        return sample


@asynccontextmanager
async def bench(folder: Path) -> AsyncIterator[Bench]:
    made = Bench(folder)
    try:
        yield made
    finally:
        await made.isolation.close()
        made.resolver.close()


async def test_a_sample_is_the_same_as_in_the_engine_and_as_plain_as_it_can_be(tmp_path: Path) -> None:
    async with bench(tmp_path / "w") as b:
        binding = b.binding(component("refuse"))
        here, there = await b.here(binding), await b.there(binding)
        same = ("status", "reason", "detail", "latency", "phases", "retry_after", "soft")
        assert [getattr(here, name) for name in same] == [getattr(there, name) for name in same]
        assert there.values["pid"] not in {here.values["pid"], os.getpid()}
        plain = {name: value for name, value in here.values.items() if name not in {"pid", "odd"}}
        assert {name: value for name, value in there.values.items() if name != "pid"} == plain
        assert type(there.values["colour"]) is str


async def test_a_kind_finds_its_previous_sample_there(tmp_path: Path) -> None:
    async with bench(tmp_path / "w") as b:
        binding = b.binding(component("nothing"))
        here = await b.here(binding)
        runs = [(await b.there(binding, previous=here)).values["runs"] for _ in range(3)]
        assert runs == [2, 3, 4]


async def test_a_kind_is_told_there_what_it_is_told_in_the_engine(tmp_path: Path) -> None:
    beaten = HeartbeatState(last=1_779_999_000.0, due=1_779_999_900.0, detail="backup 7 of 7")
    async with bench(tmp_path / "w") as b:
        wanted = b.binding(component("nothing"))
        assert (await b.there(wanted, wants_json=False)).values["json"] == {"wanted": False}
        assert (await b.there(wanted, wants_json=True)).values["json"] == {"wanted": True}
        beat = b.binding("checks: {backup: {kind: heartbeat, every: 15m, grace: 1h}}\n")
        assert await b.there(beat, heartbeat=beaten) == await b.here(beat, heartbeat=beaten)


async def test_an_http_check_sees_there_what_it_sees_in_the_engine(tmp_path: Path) -> None:
    async with serving(home=http('{"healthy": true}'), hang=hang) as target, bench(tmp_path / "w") as b:
        good = b.binding(web(f"{target.url}/home".replace("127.0.0.1", "localhost"), timeout="20s"))
        here, there = await b.here(good), await b.there(good)
        assert (there.status, there.values["status"], there.values["json"]) == (Status.OK, 200, {"healthy": True})
        assert there.phases.keys() == here.phases.keys()
        hung = b.binding(web(f"{target.url}/hang"))
        there = await b.there(hung)
        assert (there.status, there.reason) == (Status.DOWN, Reason.TIMEOUT)
        assert there.detail == (await b.here(hung)).detail == "no answer within 500ms, while waiting for first byte"


async def test_a_large_answer_comes_through(tmp_path: Path) -> None:
    body = '{"rows": [' + ", ".join('{"n": 1234567}' for _ in range(50_000)) + "]}"
    async with serving(home=http(body)) as target, bench(tmp_path / "w") as b:
        binding = b.binding(web(f"{target.url}/home", timeout="20s"))
        assert len((await b.there(binding)).values["json"]["rows"]) == 50_000


async def test_a_program_that_hangs_is_ended_at_the_deadline_with_its_group(tmp_path: Path) -> None:
    folder = tmp_path / "w"
    script = "echo $$ > program; sleep 600 & wait"
    async with bench(folder) as b:
        binding = b.binding(f"checks: {{it: {{kind: command, argv: [sh, -c, '{script}'], timeout: 1s}}}}\n")
        sample = await b.there(binding)
        assert (sample.status, sample.reason) == (Status.DOWN, Reason.TIMEOUT)
        assert sample.detail.startswith("no answer within 1s, while waiting for run")
        await eventually(lambda: gone(int((folder / "program").read_text())))
        assert (await b.there(binding)).reason is Reason.TIMEOUT


async def test_a_run_that_blocks_beyond_its_deadline_is_killed_with_its_process_group(tmp_path: Path) -> None:
    async with bench(tmp_path / "w") as b:
        binding = b.binding(component("block_with_a_child", seconds=600, timeout="500ms"))
        sample = await b.there(binding)
        assert (sample.status, sample.reason) == (Status.DOWN, Reason.TIMEOUT)
        assert sample.detail.startswith("no answer within 500ms")
        pids = [int((tmp_path / "w" / name).read_text()) for name in ("begun", "grandchild")]
        await eventually(lambda: all(gone(pid) for pid in pids))


@pytest.mark.parametrize(
    ("does", "ended"), [("leave", "its process exited with 3"), ("crash", "its process was ended by SIGSEGV")]
)
async def test_a_kind_that_ends_its_process_is_unknown_and_the_next_run_has_another(
    tmp_path: Path, does: str, ended: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with bench(tmp_path / "w") as b:
        binding = b.binding(component(does))
        for _ in range(2):
            sample = await b.there(binding)
            assert (sample.status, sample.reason) == (Status.UNKNOWN, Reason.PROBE_ERROR)
            assert ended in sample.detail
        assert b.failures == [ended, ended]
        if does == "crash":
            assert "Segmentation fault" in caplog.text


async def test_what_a_kind_did_not_foresee_is_told_with_its_traceback(tmp_path: Path) -> None:
    async with bench(tmp_path / "w") as b:
        binding = b.binding(component("raise", word="odd"))
        here, there = await b.here(binding), await b.there(binding)
        assert there == here
        assert (there.status, there.reason) == (Status.UNKNOWN, Reason.PROBE_ERROR)
        assert "in raise_it" in b.failures[0]


async def test_a_run_that_is_given_up_leaves_nothing_running(tmp_path: Path) -> None:
    folder = tmp_path / "w"
    async with bench(folder) as b:
        binding = b.binding("checks: {it: {kind: command, argv: [sh, -c, 'echo $$ > program; sleep 600']}}\n")
        run = asyncio.ensure_future(b.there(binding))
        await eventually(lambda: (folder / "program").exists() and (folder / "program").read_text(), within=STARTING)
        pid = known_pid(b)
        run.cancel()
        await asyncio.wait([run])
        await b.isolation.close()
        assert gone(pid)
        assert gone(int((folder / "program").read_text()))


def known_pid(b: Bench) -> int:
    pid: int = b.isolation.listing()[0]["pid"]
    return pid


async def test_a_kind_that_cannot_be_had_elsewhere_goes_on_in_the_engine(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def run(_: CheckOptions, __: CheckContext) -> Sample:
        return Sample(Status.OK)

    caplog.set_level(logging.WARNING)
    async with bench(tmp_path / "w") as b:
        found = b.binding(component("nothing"))
        unknown = CheckKind("nobodys", "", CheckOptions, run, {})
        binding = type(found)(found.check, unknown, CheckOptions(), compile_judge([], [], {}))
        for _ in range(2):
            with pytest.raises(AssertionError):
                await b.there(binding)
        (listed,) = b.isolation.listing()
        assert listed["stays"] == "there is no check kind 'nobodys'"
        assert not listed["own_process"]
        assert caplog.text.count("goes on in the engine: there is no check kind 'nobodys'") == 1
