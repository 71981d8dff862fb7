"""The command line of the benchmarks; see the package's docstring."""

from __future__ import annotations

import argparse
import sys
import time
from importlib import import_module
from typing import TYPE_CHECKING

import benchmarks
from benchmarks import report
from benchmarks.measure import BenchmarkError, Bystanders, machine
from benchmarks.scale import Scale

if TYPE_CHECKING:
    from benchmarks.measure import Result

PARTS = {
    "polling": "benchmarks.polling",
    "board": "benchmarks.boards",
    "starting": "benchmarks.starting",
    "switching": "benchmarks.switching",
    "decisions": "benchmarks.decisions",
    "readiness": "benchmarks.readiness",
    "whatif": "benchmarks.whatifs",
}
BY_HAND = {"peers": "benchmarks.peers"}
README = "readme"


def main(argv: list[str]) -> int:
    """Measure what is asked for. 0 if what was measured is what was meant to be measured, whatever came out."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=benchmarks.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [*PARTS, *BY_HAND, README]
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(names)}; all but the last two by default")
    parser.add_argument("--long", action="store_true", help="longer windows, more cases")
    parser.add_argument("--repeats", type=int, help="rounds of the comparison with peers")
    parser.add_argument("--https", action="store_true", help="peers: over TLS, a new handshake each time")
    arguments = parser.parse_args(argv)
    wanted = arguments.parts or list(PARTS)
    if unknown := [name for name in wanted if name not in names]:
        parser.error(f"there is no {', '.join(unknown)}; there are {', '.join(names)}")
    scale = Scale(long=arguments.long, repeats=arguments.repeats, https=arguments.https)
    command = ["python", "-m", "benchmarks", *argv]
    failed = [name for name in wanted if name != README and not _measure(name, scale, command)]
    print(f"written: {report.write_page()}", file=sys.stderr)
    if README in wanted:
        print(f"written: {report.write_readme()}", file=sys.stderr)
    if failed:
        print(f"not measured: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _measure(name: str, scale: Scale, command: list[str]) -> bool:
    """Run one part, print what came out, and keep it."""
    module = import_module({**PARTS, **BY_HAND}[name])
    print(f"{module.TITLE} …", file=sys.stderr)
    began, others = time.monotonic(), Bystanders()
    try:
        result: Result = module.run(scale)
    except BenchmarkError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return False
    busy = others.share()
    _print(result, time.monotonic() - began, busy)
    print(f"written: {report.save(result, command=command, machine=machine(), others=busy)}", file=sys.stderr)
    return True


def _print(result: Result, seconds: float, busy: float) -> None:
    print(f"\n## {result.title} ({seconds:.0f} s; others used {busy:.0%} of the machine)\n")
    for each in result.tables:
        print(*([f"{each.title}\n"] if each.title else []), report.table(each.columns, each.rows), "", sep="\n")
    for bar in result.bars:
        print(f"{'✓' if bar.met else '✗'} {bar.what}: {bar.measured} ({bar.bar})")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
