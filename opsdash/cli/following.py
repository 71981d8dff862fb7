"""Following a runbook in a plain terminal: one step at a time, everything recorded by the engine.

Nothing here is kept by this process. Leaving and coming back, here or on the board, goes on where the run is. A block
runs only when a person asks for it, and a dangerous one only after the component's name was typed.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from opsdash.cli import exits
from opsdash.cli.base import refusal
from opsdash.cli.terminal import Painted, Role, ask, bold, dim, out, say, sign

if TYPE_CHECKING:
    from opsdash.model.views import BlockView, RunView, StepView
    from opsdash.service.client import EngineSession

LOOK_EVERY = 0.2

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
    "unknown": Painted("? NOT KNOWN whether it ran", Role.UNKNOWN),
}
ANSWERS = {"d": "done", "f": "failed", "s": "skipped"}
HELP = "xN run block N · tN tick N · d done · s skip · f did not work · p previous · q leave (resumable)"


async def follow(session: EngineSession, runbook: str, component: str | None) -> int:
    """Follow a runbook until its last step is marked or the person leaves."""
    view = await session.runbook(runbook, component)
    if not view["id"]:
        verdict = await session.submit("open_run", {"runbook": runbook, "component": view["component"]})
        if verdict["refused"] is not None:
            say(Painted("refused: ", Role.DOWN), refusal(verdict["refused"]))
            return exits.REFUSED
        view = await session.runbook(runbook, component)
    return await _Conversation(session, runbook, component).go(view)


class _Conversation:
    """One person, one run."""

    def __init__(self, session: EngineSession, runbook: str, component: str | None) -> None:
        self._session = session
        self._runbook = runbook
        self._component = component

    async def go(self, view: RunView) -> int:
        out(bold(view["title"]), dim(f"  {view['id']}, {view['component']}"))
        for finding in view["findings"]:
            say(Painted(finding, Role.DEGRADED))
        if view["changed"]:
            say(Painted("the file was edited since this run began: blocks will not run", Role.DEGRADED))
        position = _first_open(view, 0)
        while position is not None:
            _show_step(view["steps"][position], position + 1, len(view["steps"]))
            say(dim(HELP))
            answer = ask(">").lower()
            if answer in {"q", ""}:
                say(f"left; `opsdash runbook run {self._runbook}` goes on")
                return exits.OK
            moved = await self._answer(view, position, answer)
            view = await self._look()
            position = max(0, position - 1) if answer == "p" else _first_open(view, position) if moved else position
        await self._submit("end_run", {"run": view["id"]})
        say(f"{view['id']} is closed: every step is marked")
        return exits.OK

    async def _look(self) -> RunView:
        return await self._session.runbook(self._runbook, self._component)

    async def _answer(self, view: RunView, position: int, answer: str) -> bool:
        """Do what was answered; whether the step is over."""
        step = view["steps"][position]
        if answer in ANSWERS:
            marked = await self._submit("mark_step", {"run": view["id"], "step": step["id"], "mark": ANSWERS[answer]})
            if answer == "f" and step["if_fails"]:
                out(Painted(f"  if this fails: {step['if_fails']}", Role.DEGRADED))
            return marked
        number = int(answer[1:]) - 1 if answer[1:].isdecimal() else -1
        if answer.startswith("t") and 0 <= number < len(step["ticks"]):
            tick = {"run": view["id"], "step": step["id"], "tick": number, "done": not step["ticks"][number][1]}
            await self._submit("tick", tick)
        elif answer.startswith("x") and 0 <= number < len(step["blocks"]):
            await self._run(view, step, step["blocks"][number])
        elif answer != "p":
            say(f"{answer!r} is none of these")
        return False

    async def _run(self, view: RunView, step: StepView, block: BlockView) -> None:
        given: dict[str, Any] = {"run": view["id"], "step": step["id"], "block": block["index"]}
        if block["danger"] or step["danger"]:
            given["typed"] = ask(Painted(f"this is dangerous; type {view['component']} to run it:", Role.DOWN))
        if not await self._submit("run_block", given):
            return
        while True:
            await asyncio.sleep(LOOK_EVERY)
            now = await self._look()
            steps = {each["id"]: each for each in now["steps"]}
            state = steps[step["id"]]["blocks"][block["index"]] if step["id"] in steps else block
            if state["state"] != "started":
                _show_block(state)
                return

    async def _submit(self, intent: str, given: dict[str, Any]) -> bool:
        verdict = await self._session.submit(intent, given)
        if verdict["refused"] is not None:
            say(Painted("refused: ", Role.DOWN), refusal(verdict["refused"]))
        return verdict["refused"] is None


def _first_open(view: RunView, since: int) -> int | None:
    """The next step without a mark, from `since` on and then from the beginning."""
    steps = view["steps"]
    order = [*range(since, len(steps)), *range(since)]
    return next((index for index in order if not steps[index]["mark"]), None)


def _show_step(step: StepView, number: int, count: int) -> None:
    out()
    facts = ", ".join(part for part in (step["time"], step["who"]) if part)
    out(bold(f"Step {number} of {count}: {step['title']}"), dim(f"  {facts}"), "  ", sign(MARKS, step["mark"]))
    lines = step["text"].splitlines()
    for line in lines[1:] if lines and lines[0].lstrip().startswith("#") else lines:
        out("  ", line.expandtabs(4))
    for index, (text, done) in enumerate(step["ticks"], 1):
        out(f"  t{index} [{'x' if done else ' '}] {text}")
    for block in step["blocks"]:
        _show_block(block)


def _show_block(block: BlockView) -> None:
    danger = Painted(" danger", Role.DOWN) if block["danger"] else ""
    out(f"  x{block['index'] + 1} {{{block['role']}}} ", sign(BLOCKS, block["state"]), danger, f"  {block['detail']}")
    for line in block["output"].splitlines():
        out("       │ ", line)
