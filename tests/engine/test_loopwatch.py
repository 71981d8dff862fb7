"""The watcher of the event loop: it names who held it and where, and blames nobody for what was nobody's doing."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import re
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from opsdash.engine import loopwatch
from opsdash.engine.loopwatch import Held, LoopWatch, _Reading, _Stall, running_check
from opsdash.engine.tasks import cancel, spawn
from tests.engine.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable


@pytest.fixture
def nothing_blocks() -> None:
    """Here something does: it is what the tests are about."""


BEAT = 0.05
LONG = 3 * loopwatch.HOLD


class Watched:
    """A watched loop, and what was told of it."""

    def __init__(self) -> None:
        self.turned = 0.0
        self.told: list[Held] = []
        self.watch = LoopWatch(turned=lambda: self.turned, every=BEAT, held=self.told.append)

    async def beat(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self.turned = loop.time()
            await asyncio.sleep(BEAT)

    async def as_check(self, check: str, run: Callable[[], Awaitable[Any]]) -> None:
        token = running_check.set(check)
        try:
            await run()
        finally:
            running_check.reset(token)

    async def all_told(self) -> None:
        """Hold the loop by no check; once that is known, everything before it is."""
        before = self.watch.others.times
        await asyncio.sleep(BEAT)
        block(LONG)
        await eventually(lambda: self.watch.others.times > before)


@asynccontextmanager
async def watched() -> AsyncIterator[Watched]:
    made = Watched()
    beating = spawn(made.beat(), "beat")
    await asyncio.sleep(0)
    made.watch.start()
    try:
        yield made
    finally:
        made.watch.stop()
        await cancel(beating)


def block(seconds: float) -> None:
    """Hold the loop without using a processor."""
    time.sleep(seconds)


async def sleeps() -> None:
    block(LONG)


async def computes() -> None:
    until = time.thread_time() + LONG
    while time.thread_time() < until:
        hashlib.md5(b"x", usedforsecurity=False)


async def keeps_the_lock() -> None:
    """One call that computes for long and lets no other thread run meanwhile."""
    pattern, text, taken = re.compile(r"(a+)+$"), "a" * 18 + "b", 0.0
    while taken < LONG:
        text = "a" + text
        begun = time.thread_time()
        pattern.match(text)
        taken = time.thread_time() - begun


async def in_a_task_of_its_own() -> None:
    await asyncio.gather(sleeps(), asyncio.sleep(0))


async def in_a_callback() -> None:
    called = asyncio.Event()

    def callback() -> None:
        block(LONG)
        called.set()

    asyncio.get_running_loop().call_soon(callback)
    await called.wait()


@pytest.mark.parametrize("run", [sleeps, computes, keeps_the_lock, in_a_task_of_its_own, in_a_callback])
async def test_a_check_that_holds_the_loop_is_named_with_the_place(run: Callable[[], Awaitable[None]]) -> None:
    async with watched() as w:
        await w.as_check("shop/slow", run)
        await eventually(lambda: w.told)
        held = w.told[-1]
        assert held.check == "shop/slow"
        assert held.seconds >= loopwatch.HOLD
        assert re.match(rf"{re.escape(__file__)}:\d+ in ", held.place)
        assert w.watch.others.times == 0


async def test_a_call_into_the_standard_library_is_placed_where_it_was_made() -> None:
    import subprocess

    async def run() -> None:
        subprocess.run(["sleep", str(LONG)], check=True)  # noqa: ASYNC221 - the point of it

    async with watched() as w:
        await w.as_check("shop/slow", run)
        await eventually(lambda: w.told)
        assert w.told[0].place.endswith(" in run")


async def test_what_is_no_check_is_placed_and_nobody_is_blamed(caplog: pytest.LogCaptureFixture) -> None:
    async with watched() as w:
        await asyncio.sleep(BEAT)
        block(LONG)
        await eventually(lambda: w.watch.others.times)
        assert w.told == []
        assert f"{__file__}:" in w.watch.others.place
        assert "by no check, at " in caplog.text


async def test_a_check_whose_run_is_over_is_not_blamed_for_what_follows() -> None:
    async def run() -> None:
        token = running_check.set("shop/quick")
        await asyncio.sleep(0)
        running_check.reset(token)
        block(LONG)

    async with watched() as w:
        await run()
        await eventually(lambda: w.watch.others.times)
        assert w.told == []


async def test_many_that_hold_the_loop_together_and_none_for_long_are_not_blamed() -> None:
    async def run() -> None:
        block(loopwatch.HOLD / 4)

    async with watched() as w:
        await asyncio.sleep(BEAT)
        await asyncio.gather(*(w.as_check(f"shop/x{n}", run) for n in range(12)))
        await w.all_told()
        assert w.told == []


class Witness(LoopWatch):
    """A watch whose other thread is as the test says."""

    def __init__(self, *, asleep: bool, queued: float = 0.0) -> None:
        super().__init__(turned=lambda: 0.0, every=BEAT, held=lambda _: None)
        self.asleep, self.queued = asleep, queued

    def _asleep(self) -> bool:
        return self.asleep

    def _queued(self) -> float:
        return self.queued


@pytest.mark.parametrize(
    ("passed", "used", "collecting", "other", "counts"),
    [
        pytest.param(0.025, 0.0, 0.0, Witness(asleep=True), 0.025, id="it blocks"),
        pytest.param(0.025, 0.025, 0.0, Witness(asleep=True), 0.025, id="it computes, and waits for our lock"),
        pytest.param(0.025, 0.001, 0.0, Witness(asleep=False), 0.001, id="it could run and gets no processor"),
        pytest.param(0.025, 0.004, 0.0, Witness(asleep=True, queued=0.02), 0.005, id="it got none most of the time"),
        pytest.param(3.0, 2.9, 0.0, Witness(asleep=True), 2.9, id="it kept the lock, and we waited too"),
        pytest.param(3.0, 2.9, 2.8, Witness(asleep=True), 0.1, id="most of that was garbage collection"),
        pytest.param(5.0, 0.0, 0.0, Witness(asleep=True), 0.0, id="the process was stopped"),
        pytest.param(5.0, 0.0, 0.0, Witness(asleep=False), 0.0, id="the process was stopped, and it can go on"),
    ],
)
def test_only_time_in_which_it_was_surely_at_it_counts(
    passed: float, used: float, collecting: float, other: Witness, counts: float
) -> None:
    before, now = _Reading(100.0, 7.0, 1.0), _Reading(100.0 + passed, 7.0 + used, 1.0 + collecting)
    stall = _Stall(turned=99.0, check="shop/slow", queued=0.0)
    assert other._at_it(stall, before, now, loopwatch.LOOK_CLOSELY) == pytest.approx(counts)


def test_what_was_before_the_first_look_counts_in_part() -> None:
    stall = _Stall(turned=99.0, check="shop/slow")
    before, now = _Reading(100.0, 7.0, 1.0), _Reading(100.0 + loopwatch.LOOK, 7.0, 1.0)
    assert Witness(asleep=True)._at_it(stall, before, now, loopwatch.LOOK) == loopwatch.UNSEEN


async def test_garbage_collection_is_nobodys() -> None:
    keep = [[] for _ in range(300_000)]  # type: ignore[var-annotated]  # something to look through

    async def run() -> None:
        until = time.monotonic() + LONG
        while time.monotonic() < until:
            gc.collect()

    async with watched() as w:
        await w.as_check("shop/quick", run)
        await w.all_told()
        assert w.told == []
    assert len(keep) == 300_000


async def test_a_loop_that_turns_gives_no_cause_for_a_word(caplog: pytest.LogCaptureFixture) -> None:
    async with watched() as w:
        for _ in range(10):
            await asyncio.sleep(BEAT)
        await w.all_told()
        assert w.told == []
        assert w.watch.others.times == 1


async def test_a_hold_that_may_never_end_is_told_while_it_lasts(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loopwatch, "STILL", loopwatch.HOLD)
    said: list[str] = []

    async def run() -> None:
        until = time.monotonic() + 20
        while "so far" not in caplog.text and time.monotonic() < until:
            block(0.01)
        said.append(caplog.text)

    async with watched() as w:
        await w.as_check("shop/endless", run)
        assert "check shop/endless holds up the event loop" in said[0]
        await eventually(lambda: w.told)


async def test_what_goes_on_fills_no_log(caplog: pytest.LogCaptureFixture) -> None:
    async with watched() as w:
        for _ in range(2):
            await w.all_told()
        assert w.watch.others.times == 2
        assert caplog.text.count("by no check") == 1


async def test_a_watch_that_has_ended_leaves_nothing_behind() -> None:
    before = list(gc.callbacks)
    async with watched():
        assert len(gc.callbacks) == len(before) + 2
    assert gc.callbacks == before


async def test_what_others_do_when_garbage_is_collected_is_part_of_it() -> None:
    def slow(phase: str, _: dict[str, int]) -> None:
        until = time.monotonic() + 0.02
        while phase == "start" and time.monotonic() < until:
            pass

    async def run() -> None:
        until = time.monotonic() + LONG
        while time.monotonic() < until:
            gc.collect(0)

    gc.callbacks.append(slow)
    try:
        async with watched() as w:
            await w.as_check("shop/quick", run)
            await w.all_told()
            assert w.told == []
    finally:
        gc.callbacks.remove(slow)
