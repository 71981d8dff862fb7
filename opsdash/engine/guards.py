"""The engine's side of the guard: arm one, inject, have it undone, notice its death, find what was left.

    guard = await arm(arming, state, hands, told)      ArmingError: nothing was injected, and nothing will be
    results = await guard.inject()                     one ActionResult for each injection that was tried, in order
    outcome = await guard.undo("the drill is over")    Outcome(verified, by, detail)
    outcome = await guard.ended()                      the same, whoever undid and why: also without being asked
    guard.let_go()                                     the engine ends: the guard undoes what is not undone, alone

`told` is called in the event loop with each `GuardEvent`, for records. The order that makes it safe is in here, so that
nobody can get it wrong: `armed.json` is on the disk, the guard runs and has said READY, it has written `injecting`, and
only then `inject` touches anything. `inject` stops at the first injection that did not come about; whether to go on is
the drill's business, and so is calling `undo` then.

The guard undoes by itself when the limit has come, when the engine is gone, and when drills are halted (`lever`). When
the guard dies the engine undoes at once in its place, and says so (`by` is `engine`). Both at once do no harm: undoing
is idempotent, and one lock keeps them apart.

After a start: `leftovers(state)` are the runs whose faults may still be there, each with what undoes it by hand;
`await take_back(leftover, hands, told)` sets a new guard on one, which undoes it. `settle` writes down that a person or
the drill's own checks found it gone. `leftovers` and `settle` read and write files: from an event loop they
are called in a thread, as is the lever.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from opsdash.engine import guardfiles as files
from opsdash.engine import lever
from opsdash.engine.guardfiles import Arming, ArmingError
from opsdash.engine.tasks import cancel, spawn
from opsdash.engine.undoing import (
    Account,
    UnusableError,
    context_for,
    flaws,
    inject,
    make_ready,
    manual_undo,
    said,
)
from opsdash.engine.undoing import (
    take_back as take_one_back,
)
from opsdash.kinds.base import ActionResult, Applied
from opsdash.kinds.offload import in_thread
from opsdash.model.text import clean

if TYPE_CHECKING:
    from pathlib import Path

    from opsdash.engine.clock import Clock
    from opsdash.engine.undoing import Ready
    from opsdash.kinds.resolver import Resolver

__all__ = [
    "Arming",
    "ArmingError",
    "Guard",
    "GuardEvent",
    "Hands",
    "Leftover",
    "Outcome",
    "arm",
    "leftovers",
    "settle",
    "take_back",
]

log = logging.getLogger(__name__)

READY_WITHIN: Final = 90.0
"""Seconds in which a guard has to be ready: secrets may take ten each, and each preflight its own time."""

ANSWER_WITHIN: Final = 10.0
"""Seconds in which a guard has to answer. One that does not is taken for dead, and ended."""

LOCK_WITHIN: Final = 10.0
"""Seconds beyond a try for which the engine waits for somebody else who is undoing; then it undoes, too."""

LOOK_EVERY: Final = 0.1
NOTHING_INJECTED: Final = "nothing had been injected"


@dataclass(frozen=True, slots=True)
class Hands:
    """What the engine injects and undoes with.

    resolve: fills the secrets into raw options; may block.  variables: `vars` of opsdash.yaml, told to the guard.
    """

    workspace: Path
    resolver: Resolver
    clock: Clock
    resolve: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    mask: Callable[[str], str]
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GuardEvent:
    """Something that the guard did, or that happened to it: the lines of `guard.jsonl`, and `gone` for its death.

    detail: for people, sanitised and masked.  verified: of `tried` and `undone`.  by: who undoes, `guard` or `engine`.
    """

    run: str
    event: str
    detail: str = ""
    verified: bool | None = None
    by: str = "guard"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the faults. verified: gone, not gone, or (None) nobody can tell."""

    verified: bool | None
    by: str
    detail: str


@dataclass(frozen=True, slots=True)
class Leftover:
    """A run whose faults may still be in place.

    by_hand: what undoes each of them, in the order in which that should be done.  problem: why opsdash cannot do it.
    guarded: whether a guard of before is still at work on it.
    """

    run: str
    drill: str
    folder: Path
    since: float
    by_hand: tuple[str, ...]
    guarded: bool
    problem: str = ""


Told = Callable[[GuardEvent], None]

_alive: list[subprocess.Popen[bytes]] = []
"""Guards that were not seen to end: one outlives the engine that ends, and is nobody's to be waited for."""


async def arm(arming: Arming, state: Path, hands: Hands, told: Told) -> Guard:
    """Arm a guard in `<state>/drills/<run>/` and wait until it is ready. Raises ArmingError: nothing was injected."""
    if not arming.run.replace("-", "").replace("_", "").isalnum():
        raise ArmingError(f"{arming.run!r} is no name of a run")
    folder = state / files.DRILLS / arming.run
    try:
        arming, ready = await in_thread(("guard", folder), lambda: _written(arming, state, folder, hands))
        guard = Guard(arming, folder, hands, told, ready)
        await guard.start()
    except UnusableError as error:
        raise ArmingError(said(hands.mask, str(error))) from error
    except OSError as error:
        words = "there is a run of that name" if isinstance(error, FileExistsError) else error.strerror or str(error)
        raise ArmingError(f"the guard could not be armed in {folder}: {words}; nothing was injected") from error
    await guard.ready()
    return guard


async def take_back(leftover: Leftover, hands: Hands, told: Told) -> Guard:
    """Set a new guard on a run whose faults may still be there; it undoes them at once. Raises ArmingError."""
    folder = leftover.folder
    try:
        arming = await in_thread(("guard", folder), lambda: files.read_arming(folder))
        ready = await in_thread(("guard", folder), lambda: _all_ready(arming, hands))
        guard = Guard(arming, folder, hands, told, ready)
        await guard.start()
    except UnusableError as error:
        raise ArmingError(said(hands.mask, str(error))) from error
    except OSError as error:
        raise ArmingError(f"no guard could be set on {folder}: {error.strerror or error}") from error
    guard.broken = True
    return guard


def _written(arming: Arming, state: Path, folder: Path, hands: Hands) -> tuple[Arming, list[Ready]]:
    """Have `armed.json` on the disk, if everything is there that it takes."""
    why = lever.halted(state)
    if why is not None:
        raise ArmingError(f"drills are halted: {why}")
    ready = _all_ready(arming, hands)
    arming = replace(arming, manual=tuple(manual_undo(each) for each in arming.injections))
    files.write_arming(folder, arming)
    return arming, ready


def _all_ready(arming: Arming, hands: Hands) -> list[Ready]:
    return [make_ready(each, hands.resolve) for each in arming.injections]


class Guard:
    """A guard process, as the engine sees it. broken: whether something may have been injected."""

    def __init__(self, arming: Arming, folder: Path, hands: Hands, told: Told, ready: list[Ready]) -> None:
        self.arming = arming
        self.folder = folder
        self.broken = False
        self._hands = hands
        self._told = told
        self._injections = ready
        self._process: subprocess.Popen[bytes] | None = None
        loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[str] = loop.create_future()
        self._may_inject: asyncio.Future[str] = loop.create_future()
        self._outcome: asyncio.Future[Outcome] = loop.create_future()
        self._began_to_undo = asyncio.Event()
        self._taking_over = asyncio.Lock()
        self._at_the_target = asyncio.Lock()
        self._transport: asyncio.ReadTransport | None = None
        self._listening: asyncio.Task[None] | None = None

    # --- life ----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start the process and tell it what it has to know first. Raises OSError."""
        self._process = process = await in_thread(("guard", self.folder), self._launch)
        reader = asyncio.StreamReader(limit=1 << 20)
        loop = asyncio.get_running_loop()
        assert process.stdout is not None  # noqa: S101 - it was asked for
        protocol = asyncio.StreamReaderProtocol(reader)
        self._transport, _ = await loop.connect_read_pipe(lambda: protocol, process.stdout)
        self._listening = spawn(self._listen(reader), f"guard of {self.arming.run}")
        self._say({"variables": dict(self._hands.variables)})

    def _launch(self) -> subprocess.Popen[bytes]:
        with open(self.folder / "guard.log", "ab", opener=files.owner_only) as broken:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "opsdash.engine.guardian", str(self.folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=broken,
                bufsize=0,
                start_new_session=True,
            )
        _alive[:] = [*(each for each in _alive if each.poll() is None), process]
        return process

    @property
    def pid(self) -> int:
        """Of its process."""
        assert self._process is not None  # noqa: S101 - it has been started
        return self._process.pid

    @property
    def is_over(self) -> bool:
        """Whether the faults are taken back, or given up."""
        return self._outcome.done()

    async def ready(self) -> None:
        """Wait until it is. Raises ArmingError, after which the process is gone."""
        try:
            async with asyncio.timeout(READY_WITHIN):
                refusal = await asyncio.shield(self._ready)
        except TimeoutError:
            refusal = f"it was not ready within {READY_WITHIN:.0f} s"
        if refusal:
            await self.dismiss()
            raise ArmingError(f"the guard could not be armed: {refusal}; nothing was injected")

    def _say(self, order: Mapping[str, Any]) -> bool:
        """Whether the guard was there to be told."""
        process = self._process
        if process is None or process.stdin is None or process.stdin.closed:
            return False
        try:
            process.stdin.write(json.dumps(order).encode() + b"\n")
        except OSError:
            return False
        return True

    async def dismiss(self) -> None:
        """End the process by force; nothing is undone. For one that was never ready, or does not answer."""
        process = self._process
        if process is None:
            return
        process.kill()
        await in_thread(("reap", process.pid), process.wait)
        if not self._outcome.done():
            await cancel(self._listening)
        self._close()

    def let_go(self) -> None:
        """The engine ends: the pipe closes, and the guard undoes what is not undone."""
        self._close()
        if self._listening is not None:
            self._listening.cancel()

    def _close(self) -> None:
        process = self._process
        if process is not None and process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
        if self._transport is not None:
            self._transport.close()

    # --- what it says --------------------------------------------------------------------------------------------

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        while line := await self._line(reader):
            with contextlib.suppress(ValueError, AttributeError, TypeError):
                self._heard(json.loads(line))
        process = self._process
        assert process is not None  # noqa: S101 - it has been started
        await in_thread(("reap", process.pid), process.wait)
        self._close()
        if not self._ready.done():
            why = f"it ended by itself; see {self.folder / 'guard.log'}"
            self._ready.set_result(why)
            _settle(self._outcome, Outcome(None, "", why))
        elif not self._outcome.done():
            await self._replace(f"the guard died ({_ending(process.returncode)})")

    @staticmethod
    async def _line(reader: asyncio.StreamReader) -> bytes:
        try:
            return await reader.readline()
        except (ValueError, OSError):  # a line without end: no guard of ours says so
            return b""

    def _heard(self, entry: dict[str, Any]) -> None:
        event = str(entry.get("event"))
        detail = clean(self._hands.mask(str(entry.get("detail") or entry.get("why") or "")))
        verified = entry.get("verified") if isinstance(entry.get("verified"), bool) else None
        if event == "ready":
            _settle(self._ready, "")
            return
        if event == "refused":
            _settle(self._ready, detail)
            _settle(self._outcome, Outcome(None, "", detail))
            return
        if event in {"injecting", "not_injecting"}:
            _settle(self._may_inject, detail if event == "not_injecting" else "")
        elif event == "undoing":
            self._began_to_undo.set()
            _settle(self._may_inject, f"the guard is undoing already: {detail}")
        if event in {"undone", "given_up"}:
            gone = verified if event == "undone" else False
            _settle(self._outcome, Outcome(gone, "guard", detail))
        self._told(GuardEvent(self.arming.run, event, detail, verified))

    # --- injecting -----------------------------------------------------------------------------------------------

    async def inject(self) -> tuple[ActionResult, ...]:
        """Have the guard write that faults are being made, then make them. It stops at the first that does not come
        about, which is the last in what it returns.
        """
        refusal = await self._ask_whether_to_inject()
        if refusal:
            return (ActionResult(Applied.NOT_STARTED, f"{refusal}; nothing was injected"),)
        self.broken = True
        results: list[ActionResult] = []
        for ready in self._injections:
            if self._began_to_undo.is_set():
                results.append(ActionResult(Applied.NOT_STARTED, "the guard is undoing already"))
                break
            async with self._at_the_target:
                context = context_for(self.arming, self.folder, self._hands.resolver, self._hands.clock().wall)
                done = await inject(ready, context)
            results.append(replace(done, detail=said(self._hands.mask, done.detail)))
            if done.applied is not Applied.APPLIED:
                break
        if self._began_to_undo.is_set() and any(done.applied is not Applied.NOT_STARTED for done in results):
            await self._undo_what_came_late()
        return tuple(results)

    async def _undo_what_came_late(self) -> None:
        """The guard began to undo while something was being injected, which may have come after its undo."""
        before = await self.ended()
        if before.by != "engine":
            await self._undo_here("something was injected while it was being undone", again=True)

    async def _ask_whether_to_inject(self) -> str:
        """Why nothing may be injected; mostly nothing."""
        if self._outcome.done() or self._began_to_undo.is_set() or not self._say({"do": "injecting"}):
            return "the guard is not there any more"
        waiting: set[asyncio.Future[Any]] = {self._may_inject, self._outcome}
        await asyncio.wait(waiting, timeout=ANSWER_WITHIN, return_when=asyncio.FIRST_COMPLETED)
        if self._may_inject.done():
            return self._may_inject.result()
        if not self._outcome.done():  # it may be about to write that faults are made, and none will be
            await self._replace("the guard did not answer and was ended", by_force=True)
        return "the guard is not there any more"

    async def flaws(self) -> str:
        """What of the faults turned out not to have come about, once they are undone; mostly nothing."""
        context = context_for(self.arming, self.folder, self._hands.resolver, self._hands.clock().wall)
        found = [await flaws(ready, context) for ready in self._injections]
        return said(self._hands.mask, "; ".join(filter(None, found)))

    # --- undoing -------------------------------------------------------------------------------------------------

    async def undo(self, why: str) -> Outcome:
        """Have it undone by the guard, or do it where the guard is not able to. It never raises."""
        if not self._outcome.done() and not self._began_to_undo.is_set():
            self._say({"do": "undo", "why": why})
            began = asyncio.ensure_future(self._began_to_undo.wait())
            waiting: set[asyncio.Future[Any]] = {began, self._outcome}
            await asyncio.wait(waiting, timeout=ANSWER_WITHIN, return_when=asyncio.FIRST_COMPLETED)
            began.cancel()
            if not self._began_to_undo.is_set() and not self._outcome.done():
                await self._replace("the guard did not answer and was ended", by_force=True)
        return await self.ended()

    async def ended(self) -> Outcome:
        """Wait until the faults are taken back, or given up, and the guard is gone."""
        outcome = await asyncio.shield(self._outcome)
        if self._listening is not None:
            await asyncio.wait({self._listening}, timeout=ANSWER_WITHIN)
        self._close()
        return outcome

    async def _replace(self, why: str, *, by_force: bool = False) -> None:
        """Undo in the guard's place, once."""
        async with self._taking_over:
            if self._outcome.done():
                return
            if by_force and self._process is not None:
                self._process.kill()  # a child that was not reaped yet: the number is still its own
            self._event("gone", why)
            self._began_to_undo.set()
            _settle(self._may_inject, why)
            log.error("guard of %s: %s; the engine undoes in its place", self.folder, why)
            _settle(self._outcome, await self._undo_here(why))

    async def _undo_here(self, why: str, *, again: bool = False) -> Outcome:
        """Undo in this process. again: although it was undone before, since something came late."""
        lines = await self._open_log()
        lock = await self._locked()
        try:
            await self._note(lines, "undoing", why, why=why)
            if not self.broken:
                await self._note(lines, "undone", NOTHING_INJECTED, verified=True)
                return Outcome(True, "engine", NOTHING_INJECTED)
            log_says = await in_thread(("guard", self.folder), lambda: files.read_log(self.folder))
            if not again and log_says and not files.may_be_broken(log_says):  # one that cannot be read says nothing
                return Outcome(True, "guard", "it was undone before the guard died")
            async with self._at_the_target:  # what is just being injected must not come after its undo
                pass
            account = Account(tuple(each.kind for each in self.arming.injections))
            for pause in self.arming.pauses:
                if again:
                    await asyncio.sleep(pause)
                elif not await self._is_worth_a_try_after(pause):
                    await self._note(lines, "undone", files.SETTLED, verified=True)
                    return Outcome(True, "engine", files.SETTLED)
                for index in account.to_try():
                    context = context_for(self.arming, self.folder, self._hands.resolver, self._hands.clock().wall)
                    tried = await take_one_back(self._injections[index], context)
                    tried = replace(tried, detail=said(self._hands.mask, tried.detail))
                    account.took(index, tried)
                    await self._note(
                        lines, "tried", tried.detail, kind=account.kinds[index], verified=tried.verified,
                        applied=tried.applied.value,
                    )  # fmt: skip
                if not account.left:
                    await self._note(lines, "undone", account.detail, verified=account.verified)
                    return Outcome(account.verified, "engine", account.detail)
            await self._note(lines, "given_up", account.detail)
            return Outcome(False, "engine", account.detail)
        finally:
            if lines is not None:
                lines.close()
            if lock is not None:
                os.close(lock)

    async def _is_worth_a_try_after(self, pause: float) -> bool:
        """As the guard does: wait before the next try, unless somebody says meanwhile that the fault is gone."""
        until = self._hands.clock().mono + pause
        while not files.is_settled(await in_thread(("guard", self.folder), lambda: files.read_log(self.folder))):
            left = until - self._hands.clock().mono
            if left <= 0:
                return True
            await asyncio.sleep(min(left, LOOK_EVERY))  # what somebody writes into a file tells nobody
        return False

    async def _open_log(self) -> files.GuardLog | None:
        try:
            return await in_thread(("guard", self.folder), lambda: files.GuardLog(self.folder))
        except OSError:
            return None

    async def _locked(self) -> int | None:
        """The run's lock, or None where somebody keeps it for longer than a try may take."""
        try:
            lock = files.open_lock(self.folder)
        except OSError:
            return None
        until = self._hands.clock().mono + 2 * self.arming.try_deadline + LOCK_WITHIN
        while not files.try_lock(lock):
            if self._hands.clock().mono > until:
                os.close(lock)
                return None
            await asyncio.sleep(LOOK_EVERY)  # nothing tells that a lock is free
        return lock

    async def _note(self, lines: files.GuardLog | None, event: str, detail: str, **more: Any) -> None:
        told = {"detail": detail, "by": "engine", **more}
        if lines is not None:
            await in_thread(("guard", self.folder), lambda: lines.write_if_possible(event, **told))
        self._event(event, detail, more.get("verified"))

    def _event(self, event: str, detail: str, verified: bool | None = None) -> None:
        self._told(GuardEvent(self.arming.run, event, detail, verified, by="engine"))


def _settle(future: asyncio.Future[Any], value: Any) -> None:
    if not future.done():
        future.set_result(value)


def _ending(code: int | None) -> str:
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"


# --- after a start -------------------------------------------------------------------------------------------------


def leftovers(state: Path) -> tuple[Leftover, ...]:
    """The runs whose faults may still be in place, the oldest first; one that cannot be read is among them."""
    folder = state / files.DRILLS
    try:
        with os.scandir(folder) as entries:
            names = sorted(each.name for each in entries if each.is_dir(follow_symlinks=False))
    except OSError:
        return ()
    found = [left for name in names if (left := _leftover(folder / name)) is not None]
    return tuple(sorted(found, key=lambda left: left.since))


def _leftover(folder: Path) -> Leftover | None:
    lines = files.read_log(folder)
    if not files.may_be_broken(lines):
        return None
    begun = next((line["at"] for line in lines if line["event"] == "injecting"), 0.0)
    since = float(begun) if isinstance(begun, int | float) else 0.0
    guarded = files.is_guarded(folder)
    try:
        arming = files.read_arming(folder)
    except ArmingError as error:
        return Leftover(folder.name, "", folder, since, (), guarded, clean(str(error)))
    by_hand = tuple(clean(each) for each in reversed(arming.manual))
    return Leftover(arming.run, clean(arming.drill), folder, since, by_hand, guarded)


def settle(state: Path, run: str, who: str, reason: str) -> None:
    """Write down that the faults of a run are gone, as a person or the drill's own checks found. Raises OSError."""
    lines = files.GuardLog(state / files.DRILLS / run)
    try:
        lines.write("settled", who=clean(who, files.REASON_LIMIT), detail=clean(reason, files.REASON_LIMIT))
    finally:
        lines.close()
