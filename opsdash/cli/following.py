"""Following a runbook in a plain terminal: one step at a time, everything recorded by the engine.

Nothing here is kept by this process. Leaving and coming back, here or on the board, goes on where the run is. A block
runs only when a person asks for it, and a dangerous one only after the component's name was typed. What was cut short
is decided about before anything else.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING, Any

from opsdash.cli import exits
from opsdash.cli.base import refusal
from opsdash.cli.conversation import INTERRUPTED, Person
from opsdash.cli.step_lines import show_block, show_blocks, show_differences, show_step
from opsdash.cli.terminal import Painted, Role, ago, bold, dim, out, say
from opsdash.service.session import SessionError

if TYPE_CHECKING:
    from opsdash.model.views import BlockView, ParameterView, RunView, StepView
    from opsdash.service.client import EngineSession

LOOK_EVERY = 0.2
WATCH_EVERY = 0.5

ANSWERS = {"d": "done", "f": "failed", "s": "skipped"}
DECISIONS = {"d": "done", "r": "repeat", "s": "skip"}
HELP = (
    "xN run block N · tN tick N · d done · s skip · f did not work · a coming checks · p previous · q leave (resumable)"
)
AGAIN = "`opsdash runbook run {}` goes on"


async def follow(session: EngineSession, runbook: str, component: str | None, *, rehearse: bool = False) -> int:
    """Follow a runbook until its last step is marked or the person leaves."""
    person = Person()
    present = asyncio.ensure_future(_be_present(session))
    try:
        with person.listening():
            return await _Conversation(session, person, runbook, component, rehearse=rehearse).go()
    finally:
        present.cancel()
        await asyncio.gather(present, return_exceptions=True)


async def _be_present(session: EngineSession) -> None:
    """Listen to the engine, so that it knows that this terminal is there."""
    async for _ in session.events():
        pass


class _Conversation:
    """One person, one run."""

    def __init__(
        self, session: EngineSession, person: Person, runbook: str, component: str | None, *, rehearse: bool
    ) -> None:
        self._session = session
        self._person = person
        self._runbook = runbook
        self._component = component
        self._mode = "rehearse" if rehearse else "step"

    async def go(self) -> int:
        if not await self._opened():
            return exits.REFUSED
        view = await self._look()
        self._introduce(view)
        if not view["yours"] and not await self._take_over(view):
            return await self._watch()
        if not await self._read_text():
            return self._left()
        if not await self._decide():
            return self._left()
        return await self._steps()

    async def _opened(self) -> bool:
        arguments = {"runbook": self._runbook, "component": self._component or "", "mode": self._mode}
        return await self._submit("open_run", arguments)

    async def _look(self) -> RunView:
        return await self._session.runbook(self._runbook, self._component, self._mode)

    def _left(self) -> int:
        say(f"left; {AGAIN.format(self._runbook)}")
        return exits.OK

    @staticmethod
    def _introduce(view: RunView) -> None:
        mode = "  REHEARSAL: nothing is changed" if view["mode"] == "rehearse" else ""
        out(bold(view["title"]), dim(f"  {view['id']}, {view['component']}"), Painted(mode, Role.BUSY))
        for finding in view["findings"]:
            say(Painted(finding, Role.DEGRADED))

    # --- whose run, and which text ---------------------------------------------------------------------------------

    async def _take_over(self, view: RunView) -> bool:
        """Whether the run is driven from here now; otherwise it is watched."""
        gone = ", and is gone or silent" if view["driver_gone"] else ""
        last = "" if view["active_at"] is None else f", last active {await self._since(view['active_at'])} ago"
        say(Painted(f"{view['driver']} drives {view['id']}{last}{gone}", Role.DEGRADED))
        reason = await self._person.ask("why do you take it over? (nothing: only watch)")
        return bool(reason) and await self._submit("take_run", {"run": view["id"], "reason": reason})

    async def _since(self, at: float) -> str:
        return ago(at, (await self._session.snapshot())["at"])

    async def _read_text(self) -> bool:
        """Show what changed and what nobody has approved; whether to go on."""
        view = await self._look()
        if view["changed"]:
            say(
                Painted(
                    "the file was edited since this run began: blocks wait until you accept the new text", Role.DEGRADED
                )
            )
            show_differences(view["differences"])
            answer = await self._person.ask("accept it and go on by it? (y, or Enter to go on by the old text)")
            if answer is INTERRUPTED:
                return False
            if answer == "y":
                await self._submit("accept_run", {"run": view["id"], "sha256": view["sha256"]})
        return await self._approve() is not INTERRUPTED

    async def _approve(self) -> bool | None:
        """Ask for the approval of what would be executed; None for Ctrl-C."""
        view = await self._look()
        if view["approved"] or not view["executable"] or not any(step["blocks"] for step in view["steps"]):
            return True
        say(
            Painted(
                "nobody has approved this runbook as it is now: it can be read and ticked, not executed", Role.DEGRADED
            )
        )
        if view["unapproved"]:
            show_differences(view["unapproved"])
        else:
            show_blocks(view)
        answer = await self._person.ask("approve it? (y, or Enter to go on without)")
        if answer is INTERRUPTED:
            return None
        if answer != "y":
            return False
        return await self._submit("approve_runbook", {"runbook": self._runbook, "sha256": view["sha256"]})

    # --- what was cut short ----------------------------------------------------------------------------------------

    async def _decide(self) -> bool:
        """Have it decided what blocks that are in doubt have done; False for Ctrl-C."""
        await self._until_checks_have_ended()
        view = await self._look()
        for step in view["steps"]:
            for block in step["blocks"]:
                if block["in_doubt"] and not await self._decide_block(view, step, block):
                    return False
        return True

    async def _until_checks_have_ended(self) -> None:
        """The checks of what is in doubt run by themselves when a run is opened again."""
        while not self._person.interrupted.is_set():
            view = await self._look()
            steps = [step for step in view["steps"] if any(block["in_doubt"] for block in step["blocks"])]
            checks = [block for step in steps for block in step["blocks"] if block["role"] == "check"]
            if not any(block["state"] == "started" for block in checks):
                return
            await asyncio.sleep(LOOK_EVERY)

    async def _decide_block(self, view: RunView, step: StepView, block: BlockView) -> bool:
        out()
        out(bold(step["title"]), "  ", Painted("a block of this step was cut short", Role.UNKNOWN))
        for each in step["blocks"]:
            if each is block or each["role"] == "check":
                show_block(each)
        if block["process"]:
            say("  ", block["process"])
        answer = await self._person.ask("d it is done · r to be repeated (nothing runs yet) · s skip it · Enter later:")
        if answer in DECISIONS:
            arguments = {"run": view["id"], "step": step["id"], "block": block["index"], "decision": DECISIONS[answer]}
            await self._submit("decide_block", arguments)
        return answer is not INTERRUPTED

    # --- step by step ----------------------------------------------------------------------------------------------

    async def _steps(self) -> int:
        view = await self._look()
        position = _current(view)
        while position is not None:
            step = view["steps"][position]
            now = (await self._session.snapshot())["at"]
            show_step(step, position + 1, len(view["steps"]), now)
            say(dim(HELP))
            answer = await self._person.ask(">")
            if answer is INTERRUPTED or answer in {"q", ""}:
                return self._left()
            answer = answer.lower()
            moved = await self._answer(view, step, answer)
            if moved == "elsewhere":
                return exits.OK
            view = await self._look()
            if not view["yours"]:
                say(Painted(f"{view['driver']} has taken {view['id']} over", Role.DEGRADED))
                return await self._watch()
            position = max(0, position - 1) if answer == "p" else _current(view) if moved else position
        await self._submit("end_run", {"run": view["id"]})
        say(f"{view['id']} is closed: every step is marked")
        return exits.OK

    async def _answer(self, view: RunView, step: StepView, answer: str) -> str:
        """Do what was answered. "moved": the step is over; "elsewhere": another runbook was followed instead."""
        if answer in ANSWERS:
            return await self._mark(view, step, ANSWERS[answer])
        if answer == "a":
            await self._run_checks(view)
            return "moved"
        number = int(answer[1:]) - 1 if answer[1:].isdecimal() else -1
        if answer.startswith("t") and 0 <= number < len(step["ticks"]):
            tick = {"run": view["id"], "step": step["id"], "tick": number, "done": not step["ticks"][number][1]}
            await self._submit("tick", tick)
        elif answer.startswith("x") and 0 <= number < len(step["blocks"]):
            await self._execute(view, step, step["blocks"][number])
        elif answer != "p":
            say(f"{answer!r} is none of these")
        return ""

    async def _mark(self, view: RunView, step: StepView, mark: str) -> str:
        marked = await self._submit("mark_step", {"run": view["id"], "step": step["id"], "mark": mark})
        if marked and mark == "failed" and step["if_fails"]:
            out(Painted(f"  if this fails: {step['if_fails']}", Role.DEGRADED))
            other = step["goes_to"][0] if step["goes_to"] else self._runbook
            if other != self._runbook:
                answer = await self._person.ask(f"follow {other} now? (y; this run stays open)")
                if answer == "y":
                    rehearse = self._mode == "rehearse"
                    there = _Conversation(self._session, self._person, other, self._component, rehearse=rehearse)
                    await there.go()
                    say(f"back: {AGAIN.format(self._runbook)}")
                    return "elsewhere"
        return "moved" if marked else ""

    # --- blocks ----------------------------------------------------------------------------------------------------

    async def _execute(self, view: RunView, step: StepView, block: BlockView) -> None:
        if view["mode"] == "rehearse" and block["role"] in ("run", "undo"):
            say(Painted("a rehearsal: this is shown, and would be run now", Role.BUSY))
            return
        if not view["approved"] and not await self._approve():
            return
        if block["in_doubt"]:
            await self._decide_block(view, step, block)
            block = await self._block(step["id"], block["index"]) or block
            if block["decision"] != "repeat":
                return
        if not await self._parameters(view, block):
            return
        given: dict[str, Any] = {"run": view["id"], "step": step["id"], "block": block["index"]}
        if block["typed"]:
            question = Painted(f"{block['typed']}; type {view['component']} to run it:", Role.DOWN)
            given["typed"] = await self._person.ask(question) or ""
        if await self._submit("run_block", given):
            await self._stream(view["id"], step["id"], block["index"])

    async def _block(self, step: str, index: int) -> BlockView | None:
        steps = {each["id"]: each for each in (await self._look())["steps"]}
        return steps[step]["blocks"][index] if step in steps and index < len(steps[step]["blocks"]) else None

    async def _parameters(self, view: RunView, block: BlockView) -> bool:
        """Ask for what a block still needs."""
        known = {each["name"]: each for each in view["params"]}
        for name in block["needs"]:
            while not await self._parameter(view["id"], name, known.get(name)):
                answer = await self._person.ask("once more? (Enter; n leaves it)")
                if answer is INTERRUPTED or answer == "n":
                    return False
        return True

    async def _parameter(self, run: str, name: str, param: ParameterView | None) -> bool:
        default = param["default"] if param and param["default"] is not None else ""
        question = (param and param["ask"]) or f"{name}:"
        answer = await self._person.ask(question, dim(f"({name}{', Enter: ' + default if default else ''})"))
        if answer is INTERRUPTED:
            return False
        return await self._submit("set_parameter", {"run": run, "name": name, "value": answer or default})

    async def _run_checks(self, view: RunView) -> None:
        """The coming checks, each with its output, up to the first that does not pass."""
        if not view["approved"] and not await self._approve():
            return
        if not await self._submit("run_checks", {"run": view["id"]}):
            return
        seen: set[tuple[str, int, float | None]] = set()
        while True:
            now = await self._look()
            blocks = [(step, block) for step in now["steps"] for block in step["blocks"] if block["state"] == "started"]
            fresh = [pair for pair in blocks if (pair[0]["id"], pair[1]["index"], pair[1]["started_at"]) not in seen]
            if not fresh:
                if blocks:
                    await asyncio.sleep(LOOK_EVERY)
                    continue
                return
            for step, block in fresh:
                seen.add((step["id"], block["index"], block["started_at"]))
                out(bold(step["title"]))
                await self._stream(now["id"], step["id"], block["index"])

    async def _stream(self, run: str, step: str, block: int) -> None:
        """What a block says, as it comes. Ctrl-C asks what is meant."""
        following = 0
        lost = False
        while True:
            try:
                said = await self._session.output(run, step, block, following)
            except SessionError:  # the engine may be restarting; the run goes on there
                if not lost:
                    say(
                        Painted(
                            "       the engine does not answer; waiting for it, and for what is known then", Role.BUSY
                        )
                    )
                lost = True
            else:
                for line in said["lines"]:
                    out("       │ ", line)
                following = said["next"]
                if said["state"] != "started":
                    break
                lost = False
            if self._person.interrupted.is_set() and not await self._interrupted(run, step, block):
                return
            await asyncio.sleep(LOOK_EVERY)
        ended = await self._block(step, block)
        if ended is not None:
            show_block({**ended, "output": ""})

    async def _interrupted(self, run: str, step: str, block: int) -> bool:
        """Whether to go on looking at a block that runs."""
        answer = await self._person.ask("the block is running: c cancel it · l leave it running · Enter go on looking:")
        if answer == "c":
            await self._submit("cancel_block", {"run": run, "step": step, "block": block})
        return answer not in ("l", INTERRUPTED)

    # --- watching --------------------------------------------------------------------------------------------------

    async def _watch(self) -> int:
        """Tell what the driver does, until Ctrl-C or the end of the run."""
        say("watching; Ctrl-C leaves")
        told: dict[str, str] = {}
        self._person.interrupted.clear()
        while not self._person.interrupted.is_set():
            view = await self._look()
            if not view["id"]:
                say("the run is closed")
                return exits.OK
            for key, text in _states(view).items():
                if told.get(key) != text:
                    out(text)
                told[key] = text
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(WATCH_EVERY):
                    await self._person.interrupted.wait()
        return self._left()

    async def _submit(self, intent: str, given: dict[str, Any]) -> bool:
        verdict = await self._session.submit(intent, given, os.urandom(12).hex())
        if verdict["refused"] is not None:
            say(Painted("refused: ", Role.DOWN), refusal(verdict["refused"]))
        return verdict["refused"] is None


def _current(view: RunView) -> int | None:
    """The step that is to be done now, None where all are marked."""
    steps = view["steps"]
    named = next((index for index, step in enumerate(steps) if step["id"] == view["current"]), None)
    if named is not None:
        return named
    return next((index for index, step in enumerate(steps) if not step["mark"]), None)


def _states(view: RunView) -> dict[str, str]:
    """All that a watcher is told, by what it is about."""
    found = {"driver": f"{view['driver']} drives {view['id']}"}
    for step in view["steps"]:
        if step["id"] == view["current"]:
            found["current"] = f"now: {step['title']}"
        if step["mark"]:
            found[step["id"]] = f"{step['title']}: {step['mark']}"
        for index, (text, done) in enumerate(step["ticks"]):
            if done:
                found[f"{step['id']} tick {index}"] = f"  [x] {text}"
        for block in step["blocks"]:
            if block["state"]:
                detail = f": {block['detail']}" if block["detail"] else ""
                found[f"{step['id']} block {block['index']}"] = f"  {{{block['role']}}} {block['state']}{detail}"
    return found
