"""Running a drill from a plain terminal: its plan, the question, then following it live to the verdict.

The engine runs it; this only asks and watches. Ctrl-C asks what is meant: stop it and undo what it has broken, or leave
it running. Where nobody can be asked, Ctrl-C stops and undoes it: nothing stays broken because nobody looks any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING

from opsdash.cli import exits
from opsdash.cli.base import UsageError, refusal, with_engine, with_files_or_engine
from opsdash.cli.conversation import INTERRUPTED, Person
from opsdash.cli.drill import plan_of, run_meant, show_faults, show_plan, show_run
from opsdash.cli.terminal import Painted, Role, ask, bold, can_ask, dim, out_json, say
from opsdash.service.session import SessionError

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from opsdash.model.views import DrillPlanView, DrillRunView, DrillView
    from opsdash.service.client import EngineSession

LOOK_EVERY = 0.2
LOST_FOR = 60.0
"""Seconds for which a lost engine is waited for."""

STATES = {
    "arming": "the guard is being armed",
    "injecting": "the fault is being made",
    "running": "it is there; waiting for what is expected",
    "undoing": "it is being undone, and that is verified",
    "restoring": "going back to normal operation",
    "ended": "over",
}
TIMES = {
    "first_bad": "the first bad result",
    "opened": "detected: the incident is open",
    "acknowledged": "a person looks after it",
    "decided": "the response was begun",
    "switched": "the switch was carried out",
    "verified": "service is verified",
    "undone": "the fault is verified to be gone",
    "restored": "everything is as before",
}


def run(arguments: argparse.Namespace) -> int:
    """Plan it, ask, begin it, and follow it."""
    return with_engine(arguments, lambda session: _drill(session, arguments))


def watch(arguments: argparse.Namespace) -> int:
    """Follow a run that somebody has begun. Ctrl-C ends the following, and nothing else."""

    async def work(session: EngineSession) -> int:
        run_id = await run_meant(session, arguments)
        found = await session.drill(run_id)
        if found is None or found["run"] is None or found["run"]["id"] != run_id:
            raise UsageError(f"there is no run {run_id!r}; `opsdash drill history` lists those that have ended")
        return await _Follower(session, arguments, run_id, ours=False).follow()

    return with_files_or_engine(arguments, work, _no_engine)


def _no_engine(_workspace: Path) -> int:
    raise UsageError("no engine runs, so no drill does; `opsdash drill history` lists those that have ended")


async def _drill(session: EngineSession, arguments: argparse.Namespace) -> int:
    plan = await plan_of(session, arguments.drill)
    if plan["refused"] is not None:
        return _refused(arguments, plan, refusal(plan["refused"]))
    show_plan(plan, to_stderr=True)
    obstacle = _obstacle(arguments, plan)
    if obstacle:
        await _say_who_was_first(session)
        return _refused(arguments, plan, obstacle)
    typed = ""
    if arguments.yes:
        typed = plan["component"]
    elif not can_ask():
        return _refused(arguments, plan, "nobody can be asked here: look at the plan, then add --yes")
    else:
        typed = _confirmed(plan)
        if not typed:
            say("Nothing was done.")
            return exits.NOT_DONE
    given = {
        "drill": plan["drill"], "latest": plan["latest"], "due": plan["due"], "reason": arguments.reason,
        "overrides": arguments.override, "typed": typed,
    }  # fmt: skip
    try:
        verdict = await session.submit("start_drill", given, os.urandom(12).hex())
    except SessionError as error:
        say(Painted("? NOT KNOWN: ", Role.UNKNOWN), f"whether the request arrived: {error}")
        say("look with `opsdash drill list` before you do anything again")
        return exits.FAULT_LEFT
    if verdict["refused"] is not None:
        await _say_who_was_first(session)
        return _refused(arguments, plan, refusal(verdict["refused"]))
    if arguments.no_wait:
        say(f"{verdict['subject']} has begun; `opsdash drill watch {verdict['subject']}` follows it")
        if arguments.json:
            out_json({"component": plan["component"], "status": "begun", "reason": None, "run": verdict["subject"]})
        return exits.OK
    return await _Follower(session, arguments, verdict["subject"]).follow()


async def _say_who_was_first(session: EngineSession) -> None:
    """One drill at a time: whoever comes second is told how to see the first one."""
    with contextlib.suppress(SessionError):
        running = (await session.drills())["running"]
        if running:
            say(f"{running} is running; `opsdash drill watch {running}` follows it")


def _obstacle(arguments: argparse.Namespace, plan: DrillPlanView) -> str:
    """What forbids it, as the command line stands; "" if nothing does. A second person is asked for by beginning it."""
    failed = [each for each in plan["guards"] if each["result"] == "fail" and each["rule"] != "approval"]
    hard = [each for each in failed if not each["overridable"]]
    if hard:
        return "; ".join(f"{each['title']}: {each['evidence']} [{each['rule']}]" for each in hard)
    missing = [each for each in failed if each["rule"] not in arguments.override]
    if missing:
        said = "; ".join(f"{each['title']}: {each['evidence']} [{each['rule']}]" for each in missing)
        rules = " ".join(f"--override {each['rule']}" for each in missing)
        return f"{said}; to go ahead all the same: {rules} --reason TEXT"
    if failed and not arguments.reason.strip():
        return f"overriding {', '.join(each['rule'] for each in failed)} needs a reason: --reason TEXT"
    return ""


def _refused(arguments: argparse.Namespace, plan: DrillPlanView, why: str) -> int:
    if arguments.json:
        out_json({"component": plan["component"], "status": "refused", "reason": why, "plan": plan})
    say(Painted("refused: ", Role.DOWN), why)
    return exits.REFUSED


def _confirmed(plan: DrillPlanView) -> str:
    """What was typed that lets it begin, "" if nothing did. Enter alone never does."""
    if plan["needs"] == "typed":
        name = plan["component"]
        question = Painted(f"This breaks {name} for its users. Type {name} to begin:", Role.DEGRADED)
        return name if ask(question) == name else ""
    answer = ask(bold("Begin? y, or anything else to leave:")).lower()
    return plan["component"] if answer in {"y", "yes"} else ""


class _Follower:
    """Follows one run, and tells what is new about it on standard error. ours: whether it was begun here."""

    def __init__(self, session: EngineSession, arguments: argparse.Namespace, run: str, *, ours: bool = True) -> None:
        self._session = session
        self._arguments = arguments
        self._run = run
        self._ours = ours
        self._person = Person()
        self._told: set[tuple[str, str]] = set()
        self._seen: DrillRunView | None = None
        self._leave = False

    async def follow(self) -> int:
        """Until it has a verdict. Returns the exit code."""
        with self._person.listening():
            return await self._watch()

    async def _watch(self) -> int:
        loop = asyncio.get_running_loop()
        heard = loop.time()
        while True:
            try:
                view = await self._session.drill(self._run)
            except SessionError as error:
                if loop.time() - heard > LOST_FOR:
                    return self._lost(str(error))
                view = None
            else:
                heard = loop.time()
            if view is not None and view["run"] is not None and view["run"]["id"] == self._run:
                self._seen = view["run"]
                self._tell(view["run"])
                if not view["run"]["live"]:
                    return self._ended(view)
            if self._person.interrupted.is_set():
                await self._interrupted()
            if self._leave:
                return self._left()
            await asyncio.sleep(LOOK_EVERY)

    def _tell(self, view: DrillRunView) -> None:
        began = view["times"].get("injected", view["started_at"])
        news = [
            (each["at"], ("state", each["state"]), STATES.get(each["state"], each["state"])) for each in view["steps"]
        ]
        news += [(at, ("time", name), TIMES[name]) for name, at in view["times"].items() if name in TIMES]
        news += [(view["started_at"], ("affected", each), f"{each} HAS CHANGED") for each in view["affected"]]
        for at, key, text in sorted(news):
            if key not in self._told and key != ("state", "ended"):
                self._told.add(key)
                busy = key[0] == "state"
                mark = Painted(f"▸ {text}", Role.BUSY) if busy else Painted(f"  {text}", Role.PLAIN)
                say(dim(f"{at - began:+6.1f}s "), mark)
        if view["waits"] and ("waits", view["waits"]) not in self._told:
            self._told.add(("waits", view["waits"]))
            say(Painted(f"         waits: {view['waits']}", Role.DEGRADED))

    async def _interrupted(self) -> None:
        """Ctrl-C: what is meant? A second one, like Enter, stops and undoes."""
        self._person.interrupted.clear()
        if not self._ours:
            self._leave = True
            return
        answer: str | None = ""
        if can_ask():
            answer = await self._person.ask(
                bold("Stop it and undo what it has broken (Enter), l leave it running, c go on following?")
            )
        if answer is not INTERRUPTED and answer.lower() == "c":
            return
        if answer is not INTERRUPTED and answer.lower() == "l":
            self._leave = True
            return
        try:
            verdict = await self._session.submit("stop_drill", {"run": self._run, "reason": "Ctrl-C"})
        except SessionError as error:
            say(
                Painted(f"the engine could not be told: {error}; ", Role.DOWN), "`opsdash drill halt REASON` needs none"
            )
            return
        if verdict["refused"] is not None:
            say(refusal(verdict["refused"]))

    def _left(self) -> int:
        say(f"{self._run} goes on without this window; `opsdash drill watch {self._run}` follows it")
        faulty = self._seen is not None and self._seen["faulty"] and self._seen["undone"] is not True
        return exits.FAULT_LEFT if faulty else exits.NOT_PASSED

    def _lost(self, why: str) -> int:
        say(Painted("? NOT KNOWN: ", Role.UNKNOWN), f"the engine is lost: {why}; the guard undoes what was broken")
        say("look with `opsdash drill list`, which needs no engine")
        if self._arguments.json:
            out_json({"component": None, "status": "unknown", "reason": why, "run": self._run})
        return exits.FAULT_LEFT

    def _ended(self, view: DrillView) -> int:
        found = view["run"]
        assert found is not None  # noqa: S101 - it was just seen
        if self._arguments.json:
            reason = "; ".join(found["why"]) or None
            out_json({"component": found["component"], "status": found["verdict"], "reason": reason, "run": found})
        else:
            show_run(found)
        if found["faulty"] and found["undone"] is not True:
            if not self._arguments.json:
                show_faults([view["fault"]] if view["fault"] is not None else [])
            return exits.FAULT_LEFT
        return exits.OK if found["verdict"] == "passed" else exits.NOT_PASSED
