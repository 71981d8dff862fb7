"""The poller: every check has its slot, and what hangs, drips or crashes harms nobody else."""

from __future__ import annotations

import asyncio
import math
import socket
import threading
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from opsdash.config.loader import Binding
from opsdash.engine import poller as poller_module
from opsdash.engine.clock import system_clock
from opsdash.engine.poller import Poller
from opsdash.engine.tasks import cancel, spawn
from opsdash.kinds.base import CheckContext, CheckKind, CheckOptions, Sample
from opsdash.kinds.expectations import compile_judge
from opsdash.kinds.registry import check_kind
from opsdash.kinds.resolver import Resolver
from opsdash.model.operation import CheckSpec
from opsdash.model.status import Reason, Status
from opsdash.testing import FakeClock
from tests.engine.support import drip, eventually, hang, http, serving, turn_loop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from opsdash.engine.clock import Clock
    from opsdash.model.observation import Observation

SECRET = "hunter2-hunter2"


class Script:
    """A kind whose runs do what the test says, by check: a sample, an error to raise, or an event to wait for."""

    def __init__(self) -> None:
        self.does: dict[str, Any] = {}
        self.begun: Counter[str] = Counter()
        self.cancelled: Counter[str] = Counter()
        self.previous: dict[str, Sample | None] = {}
        self.kind = CheckKind("scripted", "", CheckOptions, self._run, {})

    async def _run(self, _: Any, context: CheckContext) -> Sample:
        check = context.check
        self.begun[check] += 1
        self.previous[check] = context.previous
        what = self.does.get(check, Sample(Status.OK, latency=0.001))
        if isinstance(what, asyncio.Event):
            context.stage = "first_byte"
            try:
                await what.wait()
            except asyncio.CancelledError:
                self.cancelled[check] += 1
                raise
            return Sample(Status.OK)
        if isinstance(what, Exception):
            raise what
        assert isinstance(what, Sample)
        return what

    def binding(self, spec: CheckSpec, **facts: str) -> Binding:
        return Binding(spec, self.kind, CheckOptions(), compile_judge([], [], facts))


def spec(check: str, every: float = 10.0, timeout: float = 5.0, **settings: Any) -> CheckSpec:
    component, *_, name = check.split("/")
    return CheckSpec(check, component, None, name, "scripted", {}, every=every, timeout=timeout, **settings)


class Bench:
    """A poller whose slots are released by hand, on a clock that stands still until it is moved."""

    def __init__(self, folder: Path, clock: Clock, resolver: Resolver) -> None:
        self.script = Script()
        self.seen: list[Observation] = []
        self.poller = Poller(
            clock=clock,
            report=self.seen.append,
            resolver=resolver,
            workspace=folder,
            heartbeat=lambda _: None,
            mask=lambda text: text.replace(SECRET, "***"),
        )

    def configure(self, *specs: CheckSpec, **facts: str) -> None:
        self.poller.configure({s.id: s for s in specs}, {s.id: self.script.binding(s, **facts) for s in specs})

    def of(self, check: str) -> list[Observation]:
        return [seen for seen in self.seen if seen.check == check]

    async def until_seen(self, check: str, count: int = 1) -> Observation:
        await eventually(lambda: len(self.of(check)) >= count, hint=lambda: self.seen)
        return self.of(check)[-1]


class SlowClock(FakeClock):
    """A clock that is moved together with the slots of a poller."""

    async def pass_time(self, bench: Bench, seconds: float) -> None:
        """Let `seconds` go by in ticks, and what was started get as far as it can."""
        for _ in range(round(seconds / poller_module.TICK)):
            self.advance(poller_module.TICK)
            bench.poller.release(self.mono)
            await turn_loop(3)


@asynccontextmanager
async def bench(folder: Path, clock: Clock) -> AsyncIterator[Bench]:
    resolver = Resolver()
    made = Bench(folder, clock, resolver)
    try:
        yield made
    finally:
        await made.poller.close()
        resolver.close()


# --- slots -------------------------------------------------------------------------------------------------------


async def test_after_a_start_every_check_runs_once_within_two_seconds(tmp_path: Path) -> None:
    clock = SlowClock()
    async with bench(tmp_path, clock) as b:
        b.configure(*(spec(f"c{n}/x", every=60) for n in range(300)))
        await clock.pass_time(b, 2.1)
        assert len(b.script.begun) == 300


async def test_after_the_start_the_checks_spread_over_their_interval(tmp_path: Path) -> None:
    clock = SlowClock()
    async with bench(tmp_path, clock) as b:
        b.configure(*(spec(f"c{n}/x", every=20) for n in range(200)))
        await clock.pass_time(b, 2.1)
        b.seen.clear()
        busiest = 0
        for _ in range(20):
            before = len(b.seen)
            await clock.pass_time(b, 1)
            busiest = max(busiest, len(b.seen) - before)
        assert busiest < 30  # ten on average; two hundred if all had kept the slot of the start
        await clock.pass_time(b, 20)
        assert min(b.script.begun.values()) >= 2


async def test_no_check_waits_longer_than_its_interval_for_its_second_run(tmp_path: Path) -> None:
    clock = SlowClock()
    async with bench(tmp_path, clock) as b:
        b.configure(*(spec(f"c{n}/x", every=10) for n in range(50)))
        await clock.pass_time(b, 26)
        for n in range(50):
            first, second, *_ = b.of(f"c{n}/x")
            assert 2.3 <= second.requested - first.requested <= 12.6


async def test_more_than_five_hundred_checks_begin_within_ten_seconds(tmp_path: Path) -> None:
    clock = SlowClock()
    async with bench(tmp_path, clock) as b:
        b.configure(*(spec(f"c{n}/x", every=60) for n in range(600)))
        await clock.pass_time(b, 2.1)
        assert 60 < len(b.script.begun) < 240
        await clock.pass_time(b, 8.1)
        assert len(b.script.begun) == 600


async def test_a_run_that_is_still_going_at_its_next_slot_skips_and_counts_it(tmp_path: Path) -> None:
    clock = SlowClock()
    async with bench(tmp_path, clock) as b:
        b.script.does["a/x"] = gate = asyncio.Event()
        b.configure(spec("a/x", every=1))
        await clock.pass_time(b, 5)
        assert b.script.begun["a/x"] == 1
        skipped = b.poller.stats.skipped
        assert skipped >= 3
        gate.set()
        await b.until_seen("a/x")
        await clock.pass_time(b, 1.1)
        assert b.script.begun["a/x"] == 2
        assert b.poller.stats.skipped == skipped


async def test_slots_that_passed_while_the_loop_stood_still_are_not_made_up_for(tmp_path: Path) -> None:
    clock = SlowClock()
    async with bench(tmp_path, clock) as b:
        b.configure(spec("a/x", every=1))
        await clock.pass_time(b, 3)
        runs = b.script.begun["a/x"]
        clock.advance(10)
        b.poller.release(clock.mono)
        await turn_loop()
        assert b.script.begun["a/x"] == runs + 1
        assert b.poller.stats.skipped in {9, 10}
        await clock.pass_time(b, 1)
        assert b.script.begun["a/x"] == runs + 2


async def test_a_wall_clock_that_is_set_moves_no_slot(tmp_path: Path) -> None:
    clock = SlowClock()
    async with bench(tmp_path, clock) as b:
        b.configure(spec("a/x", every=1))
        await clock.pass_time(b, 3)
        runs = b.script.begun["a/x"]
        clock.jump(-3600)
        await clock.pass_time(b, 3)
        clock.jump(+7200)
        await clock.pass_time(b, 3)
        assert b.script.begun["a/x"] == runs + 6


# --- bulkheads ---------------------------------------------------------------------------------------------------


async def test_a_component_whose_checks_hang_delays_no_other(tmp_path: Path) -> None:
    clock = SlowClock()
    async with bench(tmp_path, clock) as b:
        names = [f"hung/x{n}" for n in range(6)]
        b.script.does |= dict.fromkeys(names, asyncio.Event())
        b.configure(*(spec(name, every=1) for name in names), *(spec(f"well/x{n}", every=1) for n in range(3)))
        await clock.pass_time(b, 4)
        assert sum(b.script.begun[name] for name in names) == poller_module.LANE
        assert all(b.script.begun[f"well/x{n}"] >= 3 for n in range(3))
        assert not any(seen.check.startswith("hung") for seen in b.seen)


async def test_what_waits_for_its_lane_runs_when_a_place_is_free(tmp_path: Path) -> None:
    clock = SlowClock()
    async with bench(tmp_path, clock) as b:
        gates = {f"hung/x{n}": asyncio.Event() for n in range(5)}
        b.script.does |= gates
        b.configure(*(spec(name, every=60) for name in gates))
        await clock.pass_time(b, 2.1)
        (waiting,) = [name for name in gates if not b.script.begun[name]]
        first = next(name for name in gates if b.script.begun[name])
        gates[first].set()
        await eventually(lambda: b.script.begun[waiting])


async def test_what_somebody_waits_for_finds_room_in_a_lane_that_hangs(tmp_path: Path) -> None:
    clock = SlowClock()
    async with bench(tmp_path, clock) as b:
        hung = [spec(f"mail/x{n}", every=60, timeout=60) for n in range(6)]
        b.script.does |= {each.id: asyncio.Event() for each in hung}
        b.configure(*hung)
        await clock.pass_time(b, 2.1)
        b.configure(*hung, spec("mail/delivery", every=600), spec("mail/queue", every=600))
        await clock.pass_time(b, 2.1)
        assert b.poller.in_flight() == poller_module.LANE
        assert b.seen == []
        b.poller.poll("mail/queue", 5.0)
        b.poller.poll("mail/delivery")
        await b.until_seen("mail/delivery")
        assert b.of("mail/queue") == []


async def test_a_run_ends_at_its_deadline_and_says_what_it_waited_for(tmp_path: Path) -> None:
    async with bench(tmp_path, system_clock) as b:
        b.script.does["a/x"] = asyncio.Event()
        b.configure(spec("a/x", timeout=0.05))
        b.poller.poll("a/x")
        seen = await b.until_seen("a/x")
        assert (seen.status, seen.reason) == (Status.DOWN, Reason.TIMEOUT)
        assert seen.detail == "no answer within 50ms, while waiting for first byte"
        assert b.script.cancelled["a/x"] == 1


@pytest.mark.parametrize("error", [ZeroDivisionError("by zero"), TimeoutError("not ours"), OSError(5, "odd")])
async def test_what_a_kind_did_not_foresee_is_unknown_and_never_down(tmp_path: Path, error: Exception) -> None:
    async with bench(tmp_path, system_clock) as b:
        b.script.does["a/x"] = error
        b.configure(spec("a/x"))
        b.poller.poll("a/x")
        seen = await b.until_seen("a/x")
        assert (seen.status, seen.reason) == (Status.UNKNOWN, Reason.PROBE_ERROR)
        assert type(error).__name__ in seen.detail


async def test_a_probe_that_goes_on_failing_fills_no_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with bench(tmp_path, system_clock) as b:
        b.script.does["a/x"] = ZeroDivisionError("by zero")
        b.configure(spec("a/x"))
        for count in range(1, 4):
            b.poller.poll("a/x")
            await b.until_seen("a/x", count)
        assert caplog.text.count("the probe itself failed") == 1
        b.script.does["a/x"] = ZeroDivisionError("something else")
        b.poller.poll("a/x")
        await b.until_seen("a/x", 4)
        assert caplog.text.count("the probe itself failed") == 2


class Odd(dict[str, Any]):
    """Values in which nothing can be looked up."""

    def __getitem__(self, key: str) -> Any:
        raise RuntimeError(f"{key} is odd")


async def test_values_that_no_expectation_can_be_applied_to_are_unknown(tmp_path: Path) -> None:
    async with bench(tmp_path, system_clock) as b:
        b.script.does["a/x"] = Sample(Status.OK, values=Odd(size=7))
        b.configure(spec("a/x"), size="size")
        b.poller.poll("a/x")
        seen = await b.until_seen("a/x")
        assert (seen.status, seen.reason) == (Status.UNKNOWN, Reason.PROBE_ERROR)


# --- extra runs --------------------------------------------------------------------------------------------------


async def test_a_run_wanted_while_one_is_going_on_follows_it_and_is_requested_later(tmp_path: Path) -> None:
    async with bench(tmp_path, system_clock) as b:
        b.script.does["a/x"] = gate = asyncio.Event()
        b.configure(spec("a/x"))
        b.poller.poll("a/x")
        await eventually(lambda: b.script.begun["a/x"])
        wanted = system_clock().mono
        b.poller.poll("a/x")
        b.poller.poll("a/x")
        gate.set()
        again = await b.until_seen("a/x", 2)
        first = b.of("a/x")[0]
        assert first.requested < wanted <= again.requested
        await turn_loop(20)
        assert b.script.begun["a/x"] == 2


async def test_a_delayed_run_comes_later(tmp_path: Path) -> None:
    async with bench(tmp_path, system_clock) as b:
        b.configure(spec("a/x"))
        asked = system_clock().mono
        b.poller.poll("a/x", 0.1)
        seen = await b.until_seen("a/x")
        assert seen.requested - asked >= 0.099


async def test_retry_after_moves_the_next_run_and_its_due_time(tmp_path: Path) -> None:
    clock = SlowClock()
    async with bench(tmp_path, clock) as b:
        b.script.does["a/x"] = Sample(Status.DEGRADED, Reason.RATE_LIMITED, retry_after=30)
        b.configure(spec("a/x", every=1))
        await clock.pass_time(b, 1.2)
        (seen,) = b.of("a/x")
        assert seen.due >= seen.finished + 30
        assert seen.retry_after == 30
        b.poller.poll("a/x")
        await clock.pass_time(b, 29 - (clock.mono - seen.finished))
        assert len(b.of("a/x")) == 1
        assert "asked not to be called again for" in b.poller.hindrance("a/x")
        assert b.poller.stats.skipped == 0
        await clock.pass_time(b, 2.5)
        assert len(b.of("a/x")) == 2
        assert b.poller.hindrance("a/x") != ""


async def test_a_target_cannot_silence_its_check_for_ever(tmp_path: Path) -> None:
    clock = SlowClock()
    async with bench(tmp_path, clock) as b:
        b.script.does["a/x"] = Sample(Status.DEGRADED, Reason.RATE_LIMITED, retry_after=1e12)
        b.configure(spec("a/x", every=1))
        await clock.pass_time(b, 1.2)
        (seen,) = b.of("a/x")
        assert seen.due <= seen.finished + 3600


async def test_a_suspended_component_is_left_alone_until_it_is_resumed(tmp_path: Path) -> None:
    clock = SlowClock()
    async with bench(tmp_path, clock) as b:
        gates = {f"a/x{n}": asyncio.Event() for n in range(poller_module.LANE + 1)}
        b.script.does |= gates
        b.configure(*(spec(name, every=1) for name in gates), spec("b/x", every=1))
        await clock.pass_time(b, 1.2)
        b.poller.suspend("a", suspended=True)
        assert "paused" in b.poller.hindrance("a/x0")
        begun = Counter(b.script.begun)
        for gate in gates.values():
            gate.set()
        b.poller.poll("a/x0")
        await clock.pass_time(b, 3)
        assert all(b.script.begun[name] == begun[name] for name in gates)
        assert b.script.begun["b/x"] >= 3
        b.poller.suspend("a", suspended=False)
        await clock.pass_time(b, 1.2)
        assert all(b.script.begun[name] > begun[name] for name in gates)


# --- other files -------------------------------------------------------------------------------------------------


async def test_what_a_run_remembers_of_the_one_before_is_its_state_and_not_a_whole_body(tmp_path: Path) -> None:
    clock = SlowClock()
    async with bench(tmp_path, clock) as b:
        b.script.does["a/x"] = Sample(Status.DEGRADED, detail="slow", values={"body": "x" * 10_000}, state="so far")
        b.configure(spec("a/x", every=1))
        await clock.pass_time(b, 3)
        assert b.script.previous["a/x"] == Sample(Status.DEGRADED, detail="slow", state="so far")


async def test_a_check_whose_definition_stands_keeps_its_slot_and_its_memory(tmp_path: Path) -> None:
    clock = SlowClock()
    async with bench(tmp_path, clock) as b:
        b.configure(spec("a/x", every=10))
        await clock.pass_time(b, 13)
        due = b.of("a/x")[-1].due
        b.configure(spec("a/x", every=10), spec("b/x", every=10))
        await clock.pass_time(b, due - clock.mono + 0.2)
        assert b.script.previous["a/x"] is not None
        last = b.of("a/x")[-1].requested
        assert due <= last <= due + 0.2


async def test_a_check_that_is_no_longer_in_the_files_is_cut_short(tmp_path: Path) -> None:
    clock = SlowClock()
    async with bench(tmp_path, clock) as b:
        b.script.does["a/x"] = asyncio.Event()
        b.configure(spec("a/x", every=1))
        await clock.pass_time(b, 1.2)
        b.configure()
        await clock.pass_time(b, 3)
        assert b.script.cancelled["a/x"] == 1
        assert b.script.begun["a/x"] == 1
        assert b.seen == []


async def test_what_an_old_definition_measured_says_nothing_of_the_new_one(tmp_path: Path) -> None:
    clock = SlowClock()
    async with bench(tmp_path, clock) as b:
        b.script.does["a/x"] = gate = asyncio.Event()
        b.configure(spec("a/x"))
        await clock.pass_time(b, 2.1)
        assert b.script.begun["a/x"] == 1
        b.script.does["a/x"] = Sample(Status.DOWN, Reason.STATUS)
        b.configure(spec("a/x", expect=("status == 201",)))
        gate.set()
        seen = await b.until_seen("a/x")
        assert seen.status is Status.DOWN
        assert len(b.seen) == 1
        assert b.script.previous["a/x"] is None


async def test_a_check_with_another_interval_gets_other_slots(tmp_path: Path) -> None:
    clock = SlowClock()
    async with bench(tmp_path, clock) as b:
        b.configure(spec("a/x", every=60))
        await clock.pass_time(b, 3)
        b.configure(spec("a/x", every=1))
        await clock.pass_time(b, 5)
        assert b.script.begun["a/x"] >= 5


# --- what comes from outside -------------------------------------------------------------------------------------


async def report(b: Bench, sample: Sample, **facts: str) -> Observation:
    b.script.does["a/x"] = sample
    b.configure(spec("a/x"), **facts)
    b.poller.poll("a/x")
    return await b.until_seen("a/x")


async def test_details_and_facts_are_made_harmless(tmp_path: Path) -> None:
    evil = "\x1b]52;c;ZXZpbA==\x07\x1b[2J\u202egreen\r\nok"
    async with bench(tmp_path, system_clock) as b:
        seen = await report(b, Sample(Status.DOWN, detail=evil, values={"says": evil}), says="says")
        for text in (seen.detail, str(seen.facts["says"])):
            assert text.isprintable()
            assert "ZXZpbA" not in text


@pytest.mark.parametrize(
    "text",
    [
        f"refused: {SECRET}",
        "x" * (poller_module.DETAIL_LIMIT - 6) + SECRET,
        f"{SECRET[:5]}\x1b]0;title\x07{SECRET[5:]}",
    ],
    ids=["plain", "cut off at the limit", "hidden behind a control sequence"],
)
async def test_no_part_of_a_secret_is_in_what_is_reported(tmp_path: Path, text: str) -> None:
    async with bench(tmp_path, system_clock) as b:
        seen = await report(b, Sample(Status.DOWN, detail=text, values={"says": text}), says="says")
        for shown in (seen.detail, str(seen.facts["says"])):
            assert SECRET[:5] not in shown


async def test_facts_are_capped_and_are_numbers_that_json_knows(tmp_path: Path) -> None:
    values = {"long": "x" * 10_000, "nan": math.nan, "list": list(range(10_000)), "n": 3, "yes": True, "none": None}
    async with bench(tmp_path, system_clock) as b:
        seen = await report(b, Sample(Status.OK, values=values), **{name: name for name in values})
        facts = dict(seen.facts)
        assert (facts["n"], facts["yes"], facts["none"]) == (3, True, None)
        assert facts["nan"] == "nan"
        assert len(facts["long"]) == len(facts["list"]) == poller_module.DETAIL_LIMIT


# --- connections that are kept from run to run -------------------------------------------------------------------


class Keeper:
    """A server that answers request after request on each connection, and counts what is open."""

    def __init__(self) -> None:
        self.accepted = 0
        self.open = 0
        self.asked = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self.open += 1
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                self.asked += 1
                await self.gate.wait()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()
        finally:
            self.open -= 1


@asynccontextmanager
async def keeping(folder: Path) -> AsyncIterator[tuple[Bench, Keeper, Callable[..., None]]]:
    """A poller, a server, and what configures a check of it that keeps its connection."""
    keeper = Keeper()
    server = await asyncio.start_server(keeper.handle, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    kind = check_kind("http")
    async with bench(folder, system_clock) as b:

        def configure(path: str = "", every: float = 60, **settings: Any) -> None:
            options = kind.options.model_validate({"url": url + path, "connection": "keep"})
            s = replace(spec("c/x", every=every, **settings), raw={"url": url + path})
            b.poller.configure({"c/x": s}, {"c/x": Binding(s, kind, options, compile_judge([], [], {}))})

        configure()
        for count in (1, 2):
            b.poller.poll("c/x")
            await b.until_seen("c/x", count)
        assert (keeper.accepted, keeper.open) == (1, 1)
        yield b, keeper, configure
    await eventually(lambda: keeper.open == 0)
    server.close()


async def test_a_kept_connection_ends_with_the_engine(tmp_path: Path) -> None:
    async with keeping(tmp_path) as (b, keeper, _):
        await b.poller.close()
        await eventually(lambda: keeper.open == 0)


async def test_a_kept_connection_ends_with_its_check(tmp_path: Path) -> None:
    async with keeping(tmp_path) as (b, keeper, _):
        b.configure()
        await eventually(lambda: keeper.open == 0)


@pytest.mark.parametrize("change", [{"path": "other"}, {"every": 30}])
async def test_a_kept_connection_ends_with_the_definition_it_was_made_for(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    async with keeping(tmp_path) as (b, keeper, configure):
        configure(**change)
        await eventually(lambda: keeper.open == 0)
        b.poller.poll("c/x")
        await b.until_seen("c/x", 3)
        assert keeper.accepted == 2


async def test_a_kept_connection_outlives_a_reload_that_does_not_concern_it(tmp_path: Path) -> None:
    async with keeping(tmp_path) as (b, keeper, configure):
        configure(up_after=5)
        b.poller.poll("c/x")
        await b.until_seen("c/x", 3)
        assert keeper.accepted == 1


@pytest.mark.parametrize("drop", [False, True], ids=["redefined", "dropped"])
async def test_a_run_in_flight_does_not_leave_a_connection_to_what_it_no_longer_belongs_to(
    tmp_path: Path, drop: bool
) -> None:
    async with keeping(tmp_path) as (b, keeper, configure):
        keeper.gate.clear()
        b.poller.poll("c/x")
        await eventually(lambda: keeper.asked == 3)
        if drop:
            b.configure()
        else:
            configure("other")
        keeper.gate.set()
        left = (1, 0) if drop else (2, 1)  # the new definition is run at once
        await eventually(lambda: (keeper.accepted, keeper.open) == left)


# --- an operation of which a part is sick ------------------------------------------------------------------------


async def test_hung_dripping_and_unresolvable_targets_leave_every_healthy_one_ok(tmp_path: Path) -> None:
    """10 % of 60 targets each; the lookups that hang hold their threads for longer than the test."""
    never = threading.Event()

    def lookup(host: str, *_: Any, **__: Any) -> list[tuple[Any, ...]]:
        if host.startswith("hanging"):
            never.wait(20)
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]

    kind = check_kind("http")
    resolver = Resolver(lookup)
    seen: list[Observation] = []
    poller = Poller(
        clock=system_clock,
        report=seen.append,
        resolver=resolver,
        workspace=tmp_path,
        heartbeat=lambda _: None,
        mask=str,
    )
    async with serving(hang=hang, drip=drip, ok=http()) as target:

        def address(number: int) -> str:
            if number < 6:
                return f"http://hanging{number}.example:{target.port}/ok"
            path = "hang" if number < 12 else "drip" if number < 18 else "ok"
            return f"http://host{number}.example:{target.port}/{path}"

        specs = {f"c{n}/x": spec(f"c{n}/x", every=0.5, timeout=0.4) for n in range(60)}
        bindings = {
            name: Binding(s, kind, kind.options.model_validate({"url": address(n)}), compile_judge([], [], {}))
            for n, (name, s) in enumerate(specs.items())
        }
        poller.configure(specs, bindings)
        task = spawn(poller.run(), "poller")
        try:
            sick = [f"c{n}/x" for n in range(18)]
            await eventually(lambda: all(sum(o.check == name for o in seen) >= 2 for name in specs), within=15)
            healthy = [o for o in seen if o.check not in sick]
            assert {o.status for o in healthy} == {Status.OK}, _bad(healthy)
            assert {o.status for o in seen if o.check in sick} == {Status.DOWN}
            assert {o.reason for o in seen if o.check in sick[:6]} == {Reason.DNS}
            assert {o.reason for o in seen if o.check in sick[6:]} == {Reason.TIMEOUT}
            late = sorted(poller.stats.lateness)
            assert late[int(len(late) * 0.95)] < poller_module.TICK + 0.2
        finally:
            never.set()
            await cancel(task)
            await poller.close()
            resolver.close()


def _bad(seen: list[Observation]) -> Callable[[], str] | str:
    return "; ".join(f"{o.check}: {o.detail}" for o in seen if o.status is not Status.OK)
