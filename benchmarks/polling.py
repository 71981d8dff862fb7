"""CPU per check, lateness and memory of an engine that polls; and what a sick third of the targets does to the rest."""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.certificates import make_certificates
from benchmarks.engines import PATH, RunningEngine, Web, engine, write_workspace
from benchmarks.measure import Bar, BenchmarkError, Result, Table, Window, ms
from benchmarks.observed_engine import HANGS
from benchmarks.targets import ADDRESS, Targets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.certificates import Certificates
    from benchmarks.scale import Scale

TITLE = "Polling"
EVERY = 10.0
TICK = 0.1
RATE_WITHIN = 0.02
SICK = ("hang", "drip", "dns")
AMONG = 10
"""One in so many targets has each of the illnesses."""

LATENESS_BAR = TICK + 0.010
MEMORY_BAR = 80.0
MOVES_BAR = 0.010


@dataclass(frozen=True, slots=True)
class Case:
    """What is polled: so many checks, each on an origin of its own."""

    checks: int
    tls: bool = False
    names: bool = False
    sick: tuple[str, ...] = ()

    def __str__(self) -> str:
        scheme = "https" if self.tls else "http"
        how = [scheme, *(["by name"] if self.names else []), *(f"1 in {AMONG} {SAYS[sick]}" for sick in self.sick)]
        return f"{self.checks:,} {', '.join(how)}"


SAYS = {"hang": "never answers", "drip": "drips", "dns": "has a name that is never found"}


def cases(scale: Scale) -> list[Case]:
    """What is measured. The short form has what the bars speak of."""
    short = [Case(100), Case(1000), Case(5000), Case(1000, tls=True), Case(1000, sick=SICK)]
    if not scale.long:
        return short
    more = [Case(1000, names=True), Case(100, tls=True), Case(5000, tls=True)]
    return [*short, *more, *(Case(1000, sick=(sick,)) for sick in SICK)]


def run(scale: Scale) -> Result:
    found = {case: measure(case, scale.window(10)) for case in cases(scale)}
    result = Result("polling", TITLE, raw={str(case): figures for case, figures in found.items()})
    columns = ("checks, every 10 s", "CPU per check", "of a core", "start late p50", "p99", "memory")
    result.tables.append(Table("", columns, [_row(case, each) for case, each in found.items()]))
    result.bars += _bars(found)
    result.notes.append(
        "The whole engine process: polling over a new connection each time, expectations, decisions, history, journal "
        "and the service that boards attach to. Every target is an origin of its own. A run is late by the time from "
        f"its slot to its start; slots are released in ticks of {ms(TICK)}. Where some targets are sick, every "
        "component whose target is well was ok at the end, and every other one down."
    )
    return result


def _row(case: Case, figures: Mapping[str, Any]) -> list[str]:
    return [
        str(case),
        ms(figures["cpu_per_check"], 3),
        f"{figures['core']:.1%}",
        ms(figures["late_p50"], 1),
        ms(figures["late_p99"], 1),
        f"{figures['memory']:.0f} MB",
    ]


def _bars(found: Mapping[Case, Mapping[str, Any]]) -> list[Bar]:
    plain = found[Case(1000)]
    late = max(found.items(), key=lambda each: each[1]["late_p99"] if not each[0].sick else 0.0)
    bars = [
        Bar(
            "start of a check after its slot, p99",
            f"at most {ms(LATENESS_BAR)}",
            f"{ms(late[1]['late_p99'])} ({late[0]})",
            late[1]["late_p99"] <= LATENESS_BAR,
        ),
        Bar(
            "memory at 1,000 checks",
            f"at most {MEMORY_BAR:.0f} MB",
            f"{plain['memory']:.0f} MB",
            plain["memory"] <= MEMORY_BAR,
        ),
    ]
    for case, figures in found.items():
        if case.sick:
            moved = figures["late_p99"] - plain["late_p99"]
            what = " and ".join(SAYS[each] for each in case.sick)
            bars.append(
                Bar(
                    f"1 in {AMONG} targets {what}: the others",
                    f"all ok, start p99 moves by less than {ms(MOVES_BAR)}",
                    f"all ok, {moved * 1000:+.1f} ms",
                    moved < MOVES_BAR,
                )
            )
    return bars


def measure(case: Case, seconds: float) -> dict[str, Any]:
    """One engine over one set of targets. Raises BenchmarkError when anything has another status than it should."""
    with tempfile.TemporaryDirectory(prefix="opsdash-bench-") as temporary, ExitStack() as stack:
        folder = Path(temporary)
        certificates = make_certificates(folder) if case.tls else None
        targets = stack.enter_context(Targets(case.checks, certificates))
        illness = {
            origin: case.sick[origin % AMONG] for origin in range(case.checks) if origin % AMONG < len(case.sick)
        }
        for behaviour in ("hang", "drip"):
            targets.set(behaviour, [origin for origin, sick in illness.items() if sick == behaviour])
        components = [
            Web(f"web-{origin:04}", f"Web {origin:04}", _url(case, origin, port, illness), _more(certificates))
            for origin, port in enumerate(targets.ports)
        ]
        workspace = folder / "workspace"
        write_workspace(workspace, components, f"every: {EVERY:g}s, timeout: 5s, down_after: 1")
        expected = {each.id: "down" if origin in illness else "ok" for origin, each in enumerate(components)}
        running = stack.enter_context(engine(workspace))
        running.await_statuses(expected, within=60)
        time.sleep(2)
        return _window(running, expected, case.checks / EVERY, seconds)


def _url(case: Case, origin: int, port: int, illness: Mapping[int, str]) -> str:
    host = "localhost" if case.names else ADDRESS
    if illness.get(origin) == "dns":
        host = f"target-{origin}{HANGS}"
    return f"{'https' if case.tls else 'http'}://{host}:{port}{PATH}"


def _more(certificates: Certificates | None) -> str:
    return "" if certificates is None else f', ca: "{certificates.authority}"'


def _window(running: RunningEngine, expected: Mapping[str, str], rate: float, seconds: float) -> dict[str, Any]:
    running.report()
    with Window(running.pid) as window:
        time.sleep(seconds)
    counted = running.report()
    if wrong := running.wrong(expected):
        raise BenchmarkError(wrong)
    achieved = counted["starts"] / window.seconds / rate
    if abs(achieved - 1) > RATE_WITHIN:
        raise BenchmarkError(f"{achieved:.1%} of the wanted checks were started")
    return {
        "cpu_per_check": window.cpu / counted["runs"],
        "core": window.share,
        "memory": window.memory,
        "rate": achieved,
        "seconds": window.seconds,
        **counted,
    }
