"""Runs of runbooks in the engine: by which text they go, whether that may be executed, and what is executing.

A run goes by the text it was started with. When its file is changed, its driver is shown the difference, and blocks
wait until he accepts the new text; when the file is gone, or is no longer one that can be executed, the run goes on by
the old one, and says so. Whichever it is, it has to be approved: see `opsdash.storage.trust`.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from opsdash.config.runbooks import parse
from opsdash.config.secrets import MIN_LENGTH, ReferenceProblem
from opsdash.core.chains import missing
from opsdash.core.runs import is_driver, is_silent
from opsdash.engine import tasks
from opsdash.engine.blocks import Blocks, Execution
from opsdash.engine.runviews import About, differences, run_view
from opsdash.errors import StorageError
from opsdash.kinds.identity import group_lives, still_runs
from opsdash.kinds.offload import in_thread
from opsdash.model import inputs as i
from opsdash.model.run import BlockResult, BlockState, RunMode
from opsdash.model.runbook import Language, used_names
from opsdash.model.switch import Refused
from opsdash.model.units import format_duration
from opsdash.storage.trust import Approval

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from opsdash.config.loader import Loaded
    from opsdash.engine.blocks import Command
    from opsdash.model.effects import CancelBlock, ReleaseBlock, RunBlock
    from opsdash.model.run import Run
    from opsdash.model.runbook import Block, Param, Runbook
    from opsdash.model.views import CheckView, LiveCheck, OutputView, RunView, StepDifference
    from opsdash.model.world import World
    from opsdash.storage.texts import Texts
    from opsdash.storage.trust import Trust

log = logging.getLogger(__name__)

SECRET_WITHIN = 15.0
MOST_DIFFERENCES = 16
"""Differences between two texts that are remembered; each is asked for again and again while somebody reads it."""

_Key = tuple[str, str, int]


class Standing(NamedTuple):
    """The text by which a run goes. changed: the file has another one, which nobody has accepted. note: what is odd."""

    runbook: Runbook
    changed: bool = False
    note: str = ""


class Runs:
    """What executes, and by which texts. `loaded`, `world` and `wall` give what holds now; `put` takes what happened.

    check: how a check is now.
    """

    def __init__(
        self,
        *,
        workspace: Path,
        loaded: Callable[[], Loaded],
        world: Callable[[], World],
        put: Callable[[i.Input], None],
        command: Command,
        mask: Callable[[str], str],
        trust: Trust,
        texts: Texts,
        wall: Callable[[], float],
        check: Callable[[str], CheckView],
    ) -> None:
        self._wall = wall
        self._check = check
        self.trust = trust
        self._texts = texts
        self._loaded = loaded
        self._world = world
        self._put = put
        self._mask = mask
        self._blocks = Blocks(workspace=workspace, command=command, mask=mask)
        self._pinned: dict[str, Runbook] = {}
        self._tasks: dict[_Key, asyncio.Task[Any]] = {}
        self._executions: dict[_Key, Execution] = {}
        self._sessions: dict[str, int] = {}
        self._approved: dict[str, Runbook] = {}
        self._differences: dict[tuple[str, str], list[StepDifference]] = {}

    # --- by which text ---------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Know the approvals, and the texts of the runs that are open. When the journal has been replayed."""
        await in_thread(("trust", id(self)), self._read)
        for trouble in self.trust.trouble:
            log.warning("%s", trouble)

    def _read(self) -> None:
        self.trust.load()
        loaded = self._loaded()
        for run in self._open():
            current = loaded.runbooks.get(run.runbook)
            data = None if current is not None and current.sha256 == run.sha256 else self._texts.get(run.sha256)
            if data is not None:
                path = current.path if current is not None else f"runbooks/{run.runbook}.md"
                self._pinned[run.sha256] = parse(run.runbook, data, path)[0]

    def _open(self) -> list[Run]:
        return list(self._world().tables["runs"].values())

    def files_change(self, before: Loaded) -> None:
        """The files are about to be others: what runs are pinned to stays known."""
        pinned = {run.sha256 for run in self._open()}
        self._pinned = {sha256: runbook for sha256, runbook in self._pinned.items() if sha256 in pinned}
        for runbook in before.runbooks.values():
            if runbook.sha256 in pinned:
                self._pinned[runbook.sha256] = runbook

    async def keep_text(self, sha256: str) -> None:
        """Keep the text of a runbook that somebody begins to follow. Raises StorageError."""
        found = (each.source for each in self._loaded().cache.runbooks.values() if each.runbook.sha256 == sha256)
        source = next(found, None)
        if source is not None:
            await in_thread(("texts", sha256), lambda: self._texts.keep(sha256, source.data))

    def standing(self, run: Run) -> Standing | None:
        """By which text a run goes, None where nothing is known of its runbook any more."""
        loaded = self._loaded()
        current = loaded.runbooks.get(run.runbook)
        if current is not None and current.sha256 == run.sha256:
            gone = run.runbook not in loaded.cache.runbooks
            return Standing(current, note="removed from the files, kept while somebody follows it" if gone else "")
        pinned = self._pinned.get(run.sha256)
        if pinned is None:
            return None if current is None else Standing(current, changed=True)
        if current is None or run.runbook not in loaded.cache.runbooks:
            return Standing(pinned, note="removed from the files, kept while somebody follows it")
        if not current.executable:
            note = "the file has problems since it was edited; this run goes on by the text it was started with"
            return Standing(pinned, note=note)
        return Standing(pinned, changed=True)

    def text(self, name: str, sha256: str) -> Runbook | None:
        """A runbook with that text, as the file has it or as an open run is pinned to it."""
        current = self._loaded().runbooks.get(name)
        if current is not None and current.sha256 == sha256:
            return current
        pinned = self._pinned.get(sha256)
        return pinned if pinned is not None and pinned.id == name else None

    def hindrance(self, run: Run, runbook: Runbook, *, changed: bool) -> Refused | None:
        """Why nothing of a run may be executed now."""
        if changed:
            reason = f"{runbook.path} was edited since this run began; look at the difference and accept it"
            return Refused("changed", reason)
        if not runbook.executable:
            reason = f"{runbook.path} has a problem that switches its execution off; see `opsdash runbook lint`"
            return Refused("not_executable", reason)
        if not self.trust.trusts(run.runbook, runbook.sha256):
            reason = f"nobody has approved {runbook.path} as it is now; read what it would execute, and approve it"
            return Refused("approval", reason)
        return None

    async def approve(self, name: str, sha256: str, who: str) -> None:
        """Keep the approval of a runbook of that text. Raises StorageError."""
        runbook = self.text(name, sha256)
        if runbook is None:
            raise StorageError(f"the text of {name} is not known any more; read it again")
        approval = Approval(name, sha256, runbook.text, who, self._wall())
        await in_thread(("trust", id(self)), lambda: self.trust.approve(approval))

    # --- who listens -----------------------------------------------------------------------------------------------

    def session_opened(self, session: str) -> None:
        """A client listens in this session."""
        self._sessions[session] = self._sessions.get(session, 0) + 1
        if self._sessions[session] == 1:
            self._put(i.SessionSeen(session, present=True))

    def session_closed(self, session: str) -> None:
        """It no longer does."""
        left = self._sessions.get(session, 1) - 1
        if left:
            self._sessions[session] = left
        else:
            self._sessions.pop(session, None)
            self._put(i.SessionSeen(session, present=False))

    # --- executing -------------------------------------------------------------------------------------------------

    def begin(self, effect: RunBlock) -> None:
        """Execute a block."""
        key = (effect.run, effect.step, effect.block)
        task = tasks.spawn(self._run(effect), f"run {effect.run}")
        self._tasks[key] = task
        task.add_done_callback(lambda _: self._ended(effect, task))

    def _ended(self, effect: RunBlock, task: asyncio.Task[Any]) -> None:
        key = (effect.run, effect.step, effect.block)
        if task.cancelled():  # before its first step: nobody else would say that it has ended
            self._put(i.BlockDone(effect.run, _not_begun(effect, "it was cancelled before it began")))
        if self._tasks.get(key) is task:
            del self._tasks[key]
            self._executions.pop(key, None)

    @property
    def running(self) -> set[asyncio.Task[Any]]:
        """What is executing."""
        return set(self._tasks.values())

    def release(self, effect: ReleaseBlock) -> None:
        """The number of a program is on record: it may begin."""
        execution = self._executions.get((effect.run, effect.step, effect.block))
        if execution is not None:
            execution.released.set()

    def cancel(self, effect: CancelBlock) -> None:
        """End a block, with its whole process group."""
        task = self._tasks.get((effect.run, effect.step, effect.block))
        if task is not None:
            task.cancel(effect.who)

    def execution(self, run: str, step: str, block: int) -> Execution | None:
        """A block that is executing."""
        return self._executions.get((run, step, block))

    async def _run(self, effect: RunBlock) -> None:
        run: Run | None = self._world().get("runs", effect.run)
        standing = None if run is None else self.standing(run)
        step = None if standing is None else standing.runbook.step(effect.step)
        key = (effect.run, effect.step, effect.block)
        captured: tuple[str, str] | None = None
        if run is None or standing is None or step is None or effect.block >= len(step.blocks):
            result = _not_begun(effect, "the runbook no longer has this block")
        elif refused := self.hindrance(run, standing.runbook, changed=standing.changed):
            result = _not_begun(effect, refused.reason)
        else:
            execution = Execution(effect, step.blocks[effect.block], self._mask)
            self._executions[key] = execution
            result = await self._executed(execution, run, standing.runbook)
            captured = execution.parameter
        self._put(i.BlockDone(effect.run, result, captured))

    async def _executed(self, execution: Execution, run: Run, runbook: Runbook) -> BlockResult:
        """The result of a block, whatever happens: one that nobody ends could never be run again."""
        effect, began = execution.effect, asyncio.get_running_loop().time()
        try:
            try:
                execution.variables, lacking = await self._variables(execution.block, run, runbook)
            except ReferenceProblem as error:
                return execution.result(False, f"could not be started: {error}")
            except TimeoutError:
                return execution.result(False, "could not be started: a secret could not be read in time")
            if execution.block.language is not Language.OPSDASH:
                execution.up = lambda pid, identity: self._put(
                    i.BlockUp(effect.run, effect.step, effect.block, pid, identity)
                )
            return _noting(await self._blocks.execute(execution), lacking)
        except asyncio.CancelledError as cancelled:
            after = format_duration(asyncio.get_running_loop().time() - began)
            if cancelled.args:
                return execution.result(None, f"cancelled by {cancelled.args[0]} after {after}")
            return execution.result(None, "the engine ended while it was running; check by hand what it did")
        except Exception as error:
            log.exception("a block of %s failed in a way that nobody foresaw", effect.runbook)
            return execution.result(None, f"{type(error).__name__}: {error}")

    async def _variables(self, block: Block, run: Run, runbook: Runbook) -> tuple[Mapping[str, str], str]:
        """The parameters of a block; secrets are read now, and masked from now on. Raises ReferenceProblem.

        Every program gets the secrets, since many find them by their name alone (`PGPASSWORD`). One that cannot be read
        is an obstacle where the block names it; elsewhere it is only told, in case the block does not work.
        """
        lacking = missing(runbook, run, block)
        if lacking:
            raise ReferenceProblem(f"it needs {', '.join(lacking)}, which nobody has given")
        given = {each.name: each.value for each in run.params}
        secrets = [param for param in runbook.params if param.secret is not None]
        if not secrets or block.language is Language.OPSDASH:
            return given, ""
        loaded = self._loaded()
        async with asyncio.timeout(SECRET_WITHIN):
            found, trouble = await in_thread(("secrets", run.id, block.line), lambda: _secrets(loaded, secrets))
        named = used_names(block)
        for name, problem in trouble.items():
            if name in named:
                raise problem
        return {**given, **found}, "; ".join(str(problem) for problem in trouble.values())

    # --- for clients -----------------------------------------------------------------------------------------------

    async def view(
        self, name: str, component: str | None, mode: RunMode | None, who: str, session: str
    ) -> RunView | None:
        """A runbook for a client, with its open run for that component if there is one."""
        loaded = self._loaded()
        current = loaded.runbooks.get(name)
        run = self._run_for(name, component or (current.component if current else "") or "", mode)
        standing = self.standing(run) if run is not None else Standing(current) if current is not None else None
        if standing is None:
            return None
        runbook = standing.runbook
        changed_to = current if standing.changed else None
        approval = self.trust.approval(name)
        wanted = (changed_to or runbook).sha256
        about = About(
            component=run.component if run is not None else component or runbook.component or "",
            findings=self._findings(name, standing),
            changed_to=changed_to,
            note=standing.note,
            yours=run is not None and is_driver(run, who, session),
            gone=run is not None and self._is_gone(run),
            approval=approval,
            approved=self.trust.trusts(name, wanted),
            approved_text=await self._approved_text(approval, wanted),
            runbooks=loaded.runbooks,
            times=lambda key: self._world().get("step_times", key),
            differences=self._difference,
            processes={} if run is None else await self.look_at_processes(run),
            output=lambda step, block: None if run is None else self._said(run.id, step, block),
            live=self._live,
        )
        return run_view(runbook, run, about)

    def _run_for(self, name: str, component: str, mode: RunMode | None) -> Run | None:
        """The open run: of that mode, or the one that is no rehearsal rather than the one that is."""
        found = [run for run in self._open() if run.runbook == name and component in ("", run.component)]
        wanted = [run for run in found if mode in (None, run.mode)]
        return min(wanted, key=lambda run: run.mode is RunMode.REHEARSE, default=None)

    def component_of(self, name: str) -> str:
        """The component of an open run, for a runbook that no longer says which one it is about."""
        return next((run.component for run in self._open() if run.runbook == name), "")

    def _findings(self, name: str, standing: Standing) -> list[str]:
        findings = [str(each) for each in self._loaded().findings.get(name, ())]
        return [*findings, f"{standing.runbook.path}: {standing.note}"] if standing.note else findings

    def _is_gone(self, run: Run) -> bool:
        absent = bool(run.session) and run.session not in self._sessions
        return absent or is_silent(run, self._wall())

    async def _approved_text(self, approval: Approval | None, wanted: str) -> Runbook | None:
        """What was approved, where that is not what is wanted now."""
        if approval is None or approval.sha256 == wanted:
            return None
        if approval.sha256 not in self._approved:
            parsed = await in_thread(
                ("approved", approval.sha256), lambda: parse(approval.runbook, approval.text, f"{approval.runbook}.md")
            )
            self._approved[approval.sha256] = parsed[0]
        return self._approved[approval.sha256]

    def _difference(self, old: Runbook, new: Runbook) -> list[StepDifference]:
        key = (old.sha256, new.sha256)
        if key not in self._differences:
            if len(self._differences) >= MOST_DIFFERENCES:
                self._differences.clear()
            self._differences[key] = differences(old, new)
        return self._differences[key]

    def _said(self, run: str, step: str, block: int) -> str | None:
        execution = self.execution(run, step, block)
        return None if execution is None else execution.output.text()

    def _live(self, check: str) -> LiveCheck | None:
        if check not in self._loaded().bindings:
            return None
        view = self._check(check)
        return {"check": check, "status": view["status"], "detail": view["detail"]}

    def output(self, run: Run, step: str, block: int, since: int) -> OutputView | None:
        """What a block has said, from the line `since` on; None where it was never executed."""
        result = run.block(step, block)
        if result is None:
            return None
        execution = self.execution(run.id, step, block)
        if execution is not None:
            following, lines = execution.output.since(since)
            dropped = execution.output.dropped
        else:
            every = result.output.split("\n") if result.output else []
            following, lines, dropped = len(every), every[since:], 0
        state, detail = result.state.value, result.detail
        return {"lines": lines, "next": following, "dropped": dropped, "state": state, "detail": detail}

    # --- after a crash ---------------------------------------------------------------------------------------------

    async def look_at_processes(self, run: Run) -> Mapping[tuple[str, int], str]:
        """What has become of the programs of blocks that are in doubt, in words, by step and block."""
        doubts = [block for block in run.in_doubt if block.pid is not None]
        if not doubts:
            return {}
        return await in_thread(("processes", run.id), lambda: {(b.step, b.block): _fate(b) for b in doubts})


def _noting(result: BlockResult, lacking: str) -> BlockResult:
    """A result with what may be the reason that it is no better."""
    if not lacking or result.state is BlockState.PASSED:
        return result
    return replace(result, detail="; ".join(filter(None, (result.detail, lacking))))


def _not_begun(effect: RunBlock, why: str) -> BlockResult:
    detail = f"nothing was executed: {why}"
    return BlockResult(effect.step, effect.block, BlockState.FAILED, 0.0, detail=detail, who=effect.who)


def _secrets(loaded: Loaded, params: list[Param]) -> tuple[dict[str, str], dict[str, ReferenceProblem]]:
    """The secrets that can be read, and what is wrong with the others."""
    values: dict[str, str] = {}
    trouble: dict[str, ReferenceProblem] = {}
    for param in params:
        try:
            values |= loaded.resolve({param.name: param.reference})
        except ReferenceProblem as problem:
            trouble[param.name] = problem
    for name, value in values.items():
        if len(value) < MIN_LENGTH:
            log.warning("the secret %s has fewer than %d characters, so it cannot be masked", name, MIN_LENGTH)
    loaded.secrets.add(*values.values())
    return values, trouble


def _fate(block: BlockResult) -> str:
    pid = block.pid or 0
    if still_runs(pid, block.identity):
        return f"it is still running, process group {pid}; `kill -- -{pid}` ends it"
    if group_lives(pid):
        return f"its program (process {pid}) is gone; others of its process group may still be running"
    return f"it is gone: no process of its group ({pid}) is running"
