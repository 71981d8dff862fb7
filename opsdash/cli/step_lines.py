"""Steps and blocks of a run as lines of a plain terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsdash.cli.terminal import Painted, Role, bold, dim, out, sign
from opsdash.model.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opsdash.model.views import BlockView, RunView, StepDifference, StepView

MARKS: dict[str, Painted] = {
    "": Painted("  open", Role.DIM),
    "done": Painted("✓ done", Role.OK),
    "failed": Painted("✗ did not work", Role.DOWN),
    "skipped": Painted("- skipped", Role.DIM),
}
BLOCKS: dict[str, Painted] = {
    "": Painted("  not run", Role.DIM),
    "started": Painted("▸ running", Role.BUSY),
    "passed": Painted("✓ passed", Role.OK),
    "failed": Painted("✗ FAILED", Role.DOWN),
    "unknown": Painted("? NOT KNOWN what it did", Role.UNKNOWN),
}
DECIDED = {"done": "decided: it is done", "repeat": "decided: to be repeated", "skip": "decided: left out"}


def show_step(step: StepView, number: int, count: int, now: float) -> None:
    """A step with its text, ticks and blocks."""
    out()
    facts = ", ".join(part for part in (time_of(step, now), step["who"]) if part)
    out(bold(f"Step {number} of {count}: {step['title']}"), dim(f"  {facts}"), "  ", sign(MARKS, step["mark"]))
    lines = step["text"].splitlines()
    for line in lines[1:] if lines and lines[0].lstrip().startswith("#") else lines:
        out("  ", line.expandtabs(4))
    for index, (text, done) in enumerate(step["ticks"], 1):
        out(f"  t{index} [{'x' if done else ' '}] {text}")
    for block in step["blocks"]:
        show_block(block)


def time_of(step: StepView, now: float) -> str:
    """What the author thought, what is usual, and how long it has been: `2m · usually 40s, 90 % within 3m · now 1m`."""
    usual = step["usual"]
    parts = [
        step["time"],
        f"usually {format_duration(usual['median'])}, 90 % within {format_duration(usual['p90'])}" if usual else "",
        f"now {format_duration(max(0.0, now - step['since']))}" if step["since"] is not None else "",
    ]
    return " · ".join(part for part in parts if part)


def show_block(block: BlockView) -> None:
    """A block and what came of it."""
    danger = Painted(" danger", Role.DOWN) if block["danger"] else ""
    where = f" on {block['host']}" if block["host"] else ""
    decided = f"  {DECIDED[block['decision']]}" if block["decision"] else ""
    head = f"  x{block['index'] + 1} {{{block['role']}}}{where} "
    out(head, sign(BLOCKS, block["state"]), danger, f"  {block['detail']}{decided}")
    for line in block["output"].splitlines():
        out("       │ ", line)


def show_blocks(view: RunView) -> None:
    """All that a runbook would execute, and where its secrets come from."""
    for step in view["steps"]:
        for block in step["blocks"]:
            where = f" on {block['host']}" if block["host"] else ""
            out(bold(step["title"]), dim(f"  {{{block['role']}}} {block['language']}{where}"))
            for line in block["code"].splitlines():
                out("  │ ", line.expandtabs(4))
    for param in view["params"]:
        if param["secret"]:
            out(bold(param["name"]), f"  from {param['secret']}")


def show_differences(differences: Iterable[StepDifference]) -> None:
    """How steps became others."""
    roles = {"+": Role.OK, "-": Role.DOWN, "@": Role.DIM}
    for each in differences:
        out(bold(each["title"]))
        for line in each["lines"]:
            out("  ", Painted(line, roles.get(line[:1], Role.PLAIN)))
